/*
 * What a question is answered with: columns and rows, an end or an error. Private to admin.
 *
 * Whoever answers calls these functions in this order: answer_columns(), the values of a row and answer_row() for each
 * row, answer_done(). How that is written is the renderer's business: render_console.c writes messages of the
 * protocol.
 */
#ifndef PGUNISON_ADMIN_ANSWER_H
#define PGUNISON_ADMIN_ANSWER_H

#include "base/buf.h"
#include "base/error.h"

#define ANSWER_MAX_COLUMNS 24

enum answer_type {
    ANSWER_TEXT = 25,
    ANSWER_INT = 23,
    ANSWER_BIGINT = 20,
    ANSWER_FLOAT = 701
}; /* pg_type.oid */

struct answer_column {
    const char *name;
    enum answer_type type;
};

struct answer {
    const struct renderer *renderer;
    struct buf out; /* what has been rendered so far */
    const struct answer_column *columns;
    int n_columns;
    /* the row that is being put together */
    const char *values[ANSWER_MAX_COLUMNS]; /* NULL: SQL NULL */
    char numbers[ANSWER_MAX_COLUMNS][32];
    int n;
};

/* Each appends to answer->out. */
struct renderer {
    void (*columns)(struct answer *a);
    void (*row)(struct answer *a);
    void (*notice)(struct answer *a, const struct error *e);
    void (*done)(struct answer *a, const char *tag);
    void (*error)(struct answer *a, const struct error *e);
};

extern const struct renderer render_console;

void answer_init(struct answer *a, const struct renderer *renderer);
void answer_free(struct answer *a);
void answer_columns(struct answer *a, const struct answer_column *columns, int n);
/* Values in the order of the columns; texts are borrowed until answer_row(). */
void answer_text(struct answer *a, const char *text); /* NULL: SQL NULL */
void answer_null(struct answer *a);
void answer_int(struct answer *a, int64_t v);
void answer_unsigned(struct answer *a, uint64_t v);
void answer_unsigned_or_null(struct answer *a, uint64_t v); /* 0: NULL */
void answer_seconds(struct answer *a, double s);
void answer_time(struct answer *a, uint64_t wall_us); /* 2026-01-31 12:34:56 UTC */
void answer_row(struct answer *a);                    /* ends the row: each column has its value */
void answer_notice(struct answer *a, const struct error *e);
void answer_done(struct answer *a, const char *tag);        /* NULL: there was no command in the text */
void answer_error(struct answer *a, const struct error *e); /* in place of everything that was written */

#endif
