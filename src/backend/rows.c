/*
 * Collecting an answer.
 *
 *     OPEN   -> OPEN    [take]  RowDescription: rows of the statement before go; DataRow: kept; CommandComplete: its tag
 *     OPEN   -> FAILED  [take]  ErrorResponse: kept, and the rows go
 *     FAILED -> FAILED  [take]  nothing is kept any more
 *     OPEN, FAILED -> ENDED [take] ReadyForQuery
 *     any    -> OPEN    [rows_sink_clear]
 *
 * Values lie one behind the other in `text`, each with a zero byte behind it, in the order of `cells`. While rows come
 * text may move, so that a cell says where its value begins; slices are made at the end.
 *
 * Invariant (sink_check): n_cells == n_rows * n_columns between two messages; rows are there in OPEN and ENDED only, and not
 * beside an error.
 */
#include "backend/rows.h"

#include "base/arena.h"
#include "base/buf.h"
#include "wire/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum collect_state { COLLECT_OPEN, COLLECT_FAILED, COLLECT_ENDED };

#define NO_VALUE UINT32_MAX /* a length: SQL NULL */
struct cell {
    uint32_t at, len; /* in text */
};

struct rows_sink {
    enum collect_state state;
    size_t max_bytes;
    struct buf text;
    struct cell *cells;
    size_t n_cells, cap_cells;
    size_t n_rows;
    uint16_t n_columns;
    char *tag; /* NULL: none has come */
    struct error *error;
    char txn_status;
    struct slice *values; /* made at the end */
    const char ***texts;  /* made when asked for */
};

static void set_state(struct rows_sink *k, enum collect_state to)
{
    static const unsigned legal[] = {
        [COLLECT_OPEN] = 1u << COLLECT_FAILED | 1u << COLLECT_ENDED,
        [COLLECT_FAILED] = 1u << COLLECT_ENDED,
        [COLLECT_ENDED] = 0,
    };
    assert((legal[k->state] >> to) & 1);
    k->state = to;
}

static void sink_check(const struct rows_sink *k)
{
    assert(k->n_cells == k->n_rows * k->n_columns);
    assert(!k->error || k->n_rows == 0);
    assert((k->error != NULL) || k->state != COLLECT_FAILED);
}

static void forget_rows(struct rows_sink *k)
{
    buf_free(&k->text);
    buf_init(&k->text);
    free(k->cells);
    free(k->values);
    free((void *)k->texts);
    k->cells = NULL;
    k->values = NULL;
    k->texts = NULL;
    k->n_cells = k->cap_cells = k->n_rows = 0;
    k->n_columns = 0;
}

/* --- taking ----------------------------------------------------------------------------------- */

static enum rows_progress malformed(const char *what, struct error *error_r)
{
    (void)error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "%s", what);
    return ROWS_BAD;
}

/* Its content has been looked at (reply_content_fits). */
static enum rows_progress take_description(struct rows_sink *k, const struct frame *f)
{
    forget_rows(k);
    k->n_columns = load_u16(f->body.data);
    return ROWS_MORE;
}

static void add_cell(struct rows_sink *k, struct slice value)
{
    if (k->n_cells == k->cap_cells) {
        k->cap_cells = k->cap_cells ? k->cap_cells * 2 : 64;
        k->cells = xrealloc(k->cells, k->cap_cells * sizeof *k->cells);
    }
    k->cells[k->n_cells++] =
        (struct cell){.at = (uint32_t)buf_len(&k->text), .len = value.data ? (uint32_t)value.len : NO_VALUE};
    if (!value.data)
        return;
    buf_slice_append(&k->text, value);
    buf_u8(&k->text, 0);
}

/* Also of rows without values. */
static bool has_room(const struct rows_sink *k, const struct frame *row)
{
    size_t taken = buf_len(&k->text) + (k->n_cells + k->n_rows) * sizeof(struct slice);
    size_t more = row->whole.len + (k->n_columns + 1u) * sizeof(struct slice);
    return more <= k->max_bytes && taken <= k->max_bytes - more;
}

static bool next_value(struct slice *rest, struct slice *value_r)
{
    if (rest->len < 4)
        return false;
    uint32_t len = load_u32(rest->data);
    bool null = len == NO_VALUE;
    size_t taken = null ? 4 : 4 + (size_t)len;
    if (taken > rest->len)
        return false;
    *value_r = null ? slice_of(NULL, 0) : slice_of(rest->data + 4, len);
    *rest = slice_of(rest->data + taken, rest->len - taken);
    return true;
}

static enum rows_progress take_row(struct rows_sink *k, const struct frame *f, struct error *error_r)
{
    size_t left = f->body.len;
    const uint8_t *at = f->body.data;
    if (left < 2 || load_u16(at) != k->n_columns)
        return malformed("It has not as many values as were described.", error_r);
    if (!has_room(k, f)) {
        (void)error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "an answer takes more than %zu bytes", k->max_bytes);
        return ROWS_BAD;
    }
    struct slice rest = slice_of(at + 2, left - 2);
    for (unsigned i = 0; i < k->n_columns; i++) {
        struct slice value;
        if (!next_value(&rest, &value))
            return malformed("It is too short for its values.", error_r);
        if (value.data && memchr(value.data, 0, value.len))
            return malformed("A text holds a zero byte.", error_r);
        add_cell(k, value);
    }
    if (rest.len > 0)
        return malformed("It is too long for its values.", error_r);
    k->n_rows++;
    return ROWS_MORE;
}

static enum rows_progress take_tag(struct rows_sink *k, const struct frame *f, struct error *error_r)
{
    const char *tag;
    int64_t count;
    if (message_read_tag(f, &tag, &count, error_r) != STATUS_OK)
        return ROWS_BAD;
    free(k->tag);
    k->tag = xstrdup(tag);
    return ROWS_MORE;
}

static enum rows_progress take_error(struct rows_sink *k, const struct frame *f, struct error *error_r)
{
    struct error said;
    if (message_read_error(f, &said, error_r) != STATUS_OK)
        return ROWS_BAD;
    forget_rows(k);
    error_keep(&k->error, &said);
    set_state(k, COLLECT_FAILED);
    return ROWS_MORE;
}

static enum rows_progress take_ready(struct rows_sink *k, const struct frame *f)
{
    k->txn_status = (char)f->body.data[0];
    set_state(k, COLLECT_ENDED);
    return ROWS_END;
}

enum rows_progress rows_sink_take(struct rows_sink *k, const struct frame *f, struct error *error_r)
{
    enum rows_progress progress = ROWS_MORE;
    assert(k->state != COLLECT_ENDED);
    if (f->type == MSG_READY)
        progress = take_ready(k, f);
    else if (k->state == COLLECT_FAILED)
        return ROWS_MORE;
    else if (f->type == MSG_ROW_DESCRIPTION)
        progress = take_description(k, f);
    else if (f->type == MSG_DATA_ROW)
        progress = take_row(k, f, error_r);
    else if (f->type == MSG_COMMAND_COMPLETE)
        progress = take_tag(k, f, error_r);
    else if (f->type == MSG_ERROR)
        progress = take_error(k, f, error_r);
    if (progress != ROWS_BAD)
        sink_check(k);
    return progress;
}

/* --- what was taken --------------------------------------------------------------------------- */

const struct error *rows_sink_error(const struct rows_sink *k)
{
    return k->error;
}

static void make_values(struct rows_sink *k)
{
    const uint8_t *text = buf_head(&k->text);
    k->values = xmalloc((k->n_cells + 1) * sizeof *k->values);
    for (size_t i = 0; i < k->n_cells; i++)
        k->values[i] = k->cells[i].len == NO_VALUE ? slice_of(NULL, 0)
                                                   : slice_of(text + k->cells[i].at, k->cells[i].len);
}

struct rows rows_sink_rows(struct rows_sink *k)
{
    assert(k->state == COLLECT_ENDED);
    if (!k->values)
        make_values(k);
    return (struct rows){
        .ok = !k->error,
        .error = k->error,
        .tag = k->tag ? k->tag : "",
        .txn_status = k->txn_status,
        .n_rows = k->n_rows,
        .n_columns = k->n_columns,
        .values = k->values,
        .sink = k,
    };
}

const char *const *const *rows_texts(const struct rows *r)
{
    if (!r->sink)
        return NULL;
    struct rows_sink *k = r->sink;
    if (!k->texts) {
        size_t width = r->n_columns + 1;
        k->texts = xmalloc((r->n_rows + 1) * sizeof *k->texts + r->n_rows * width * sizeof **k->texts);
        const char **cells = (const char **)(k->texts + r->n_rows + 1);
        for (size_t i = 0; i < r->n_rows; i++) {
            k->texts[i] = cells + i * width;
            for (size_t j = 0; j < r->n_columns; j++)
                k->texts[i][j] = rows_text(r, i, j);
            k->texts[i][r->n_columns] = NULL;
        }
        k->texts[r->n_rows] = NULL;
    }
    return (const char *const *const *)k->texts;
}

/* --- life ------------------------------------------------------------------------------------- */

struct rows_sink *rows_sink_create(size_t max_bytes)
{
    assert(max_bytes < NO_VALUE);
    struct rows_sink *k = xcalloc(1, sizeof *k);
    k->max_bytes = max_bytes;
    buf_init(&k->text);
    return k;
}

void rows_sink_clear(struct rows_sink *k)
{
    forget_rows(k);
    free(k->tag);
    k->tag = NULL;
    error_drop(&k->error);
    k->txn_status = 0;
    k->state = COLLECT_OPEN;
}

void rows_sink_destroy(struct rows_sink **kp)
{
    struct rows_sink *k = *kp;
    *kp = NULL;
    if (!k)
        return;
    rows_sink_clear(k);
    free(k);
}
