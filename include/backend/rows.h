/*
 * The answer to a Query of the proxy's own, and the sink that collects it from what a server hands over whole
 * (SINK_MESSAGE). The Query may hold several statements: the tag is the last one's, the rows are those of the last that
 * returned any, the first error ends it.
 *
 * What may come when is for the server's table of replies to say (src/backend/replies.h). Looked at here are the rows:
 * each has as many values as were described, and none holds a zero byte, so that a text is all of a value. What is kept
 * is bounded.
 *
 * Not responsible for: connections, sending, time (asker.h).
 */
#ifndef PGUNISON_BACKEND_ROWS_H
#define PGUNISON_BACKEND_ROWS_H

#include "base/error.h"
#include "base/slice.h"
#include "wire/frame.h"

struct rows {
    bool ok;                   /* every statement ran */
    bool lost;                 /* no answer, and none will come; else error is the shard's own */
    const struct error *error; /* !ok */
    const char *tag;           /* ok; "": there was no statement */
    char txn_status;           /* !lost: of ReadyForQuery */
    size_t n_rows, n_columns;
    const struct slice *values; /* row after row, as text; data NULL: SQL NULL; a zero byte follows each */
    struct rows_sink *sink;     /* NULL: there are no values */
};

static inline struct slice rows_value(const struct rows *r, size_t row, size_t column)
{
    return r->values[row * r->n_columns + column];
}
/* NULL: SQL NULL. */
static inline const char *rows_text(const struct rows *r, size_t row, size_t column)
{
    return (const char *)rows_value(r, row, column).data;
}
/* All of them, texts[row][column]; a NULL ends each row. They live as long as the rows. */
const char *const *const *rows_texts(const struct rows *r);

/* max_bytes: what values may take, beginnings and lengths included. */
struct rows_sink *rows_sink_create(size_t max_bytes);
void rows_sink_destroy(struct rows_sink **sink);
/* For the next Query. Gives memory back. */
void rows_sink_clear(struct rows_sink *sink);

enum rows_progress {
    ROWS_MORE,
    ROWS_END, /* ReadyForQuery has come */
    ROWS_BAD /* the server is not to be listened to any more. error_r: 08P01, with what is wrong with the message in a
                 sentence, or 54000 */
};
/* f: of the answer under way. */
enum rows_progress rows_sink_take(struct rows_sink *sink, const struct frame *f,
                                  struct error *error_r) MUST_CHECK;
/* The shard's error that has come, or NULL. */
const struct error *rows_sink_error(const struct rows_sink *sink);
/* After ROWS_END. What it points to is the sink's, until it is cleared. */
struct rows rows_sink_rows(struct rows_sink *sink);

#endif
