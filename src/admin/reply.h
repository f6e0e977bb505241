/* Answers of the console, put together row by row. Private to admin. */
#ifndef PGUNISON_ADMIN_REPLY_H
#define PGUNISON_ADMIN_REPLY_H

#include "base/buf.h"
#include <stdbool.h>

#define REPLY_MAX_COLUMNS 24

enum { REPLY_TEXT = 25, REPLY_INT = 23, REPLY_BIGINT = 20, REPLY_FLOAT = 701 }; /* pg_type.oid */

struct reply_column {
    const char *name;
    uint32_t type;
};

#define REPLY_COLUMNS(a) (a), (int)(sizeof(a) / sizeof((a)[0]))

struct reply_row {
    const char *values[REPLY_MAX_COLUMNS];
    char numbers[REPLY_MAX_COLUMNS][32];
    int n;
};

void reply_columns(struct buf *b, const struct reply_column *columns, int n);
/* Values in the order of the columns; texts are borrowed until row_end(), which empties the row. */
void row_text(struct reply_row *r, const char *text); /* NULL: SQL NULL */
void row_int(struct reply_row *r, int64_t v);
void row_unsigned(struct reply_row *r, uint64_t v);
void row_seconds(struct reply_row *r, double s);
void row_time(struct reply_row *r, uint64_t wall_us); /* 2026-01-31 12:34:56 UTC */
void row_end(struct reply_row *r, struct buf *b);
void reply_done(struct buf *b, const char *tag);
void reply_error(struct buf *b, const struct error *e); /* in place of everything else */

#endif
