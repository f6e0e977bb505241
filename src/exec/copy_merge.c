/*
 * Several COPY TO STDOUT streams as one.
 *
 * State of a source [who moves it]:
 *     EXPECTED -> HEADER  [copy_merge_response, if a header is to come], ROWS [else]
 *     HEADER   -> ROWS    [copy_merge_data]
 *     ROWS     -> TRAILED [copy_merge_data: the binary trailer], DONE [copy_merge_done: text and CSV]
 *     TRAILED  -> DONE    [copy_merge_done]
 *
 * A header is written when the first row is, or at the end if there is none; so it always comes first,
 * whichever source was fastest. Binary messages are walked through tuple by tuple: a trailer in the middle of
 * the result would make the client drop the rest without a word.
 *
 * Not responsible for: order (the rows of COPY have none), COPY FROM.
 */
#include "exec/copy_merge.h"

#include "base/arena.h"
#include "copy_private.h"
#include "wire/message.h"
#include <assert.h>
#include <stdlib.h>

enum source_state { SOURCE_EXPECTED, SOURCE_HEADER, SOURCE_ROWS, SOURCE_TRAILED, SOURCE_DONE };

struct copy_merge {
    struct copy_spec spec;
    unsigned n_sources, n_done;
    enum source_state *states;
    struct buf response; /* body of the CopyOutResponse that went out */
    struct buf header;   /* the first one that came */
    bool header_sent;
    int64_t rows;
};

struct copy_merge *copy_merge_create(const struct copy_spec *spec, unsigned n_sources)
{
    assert(n_sources >= 1);
    struct copy_merge *m = xcalloc(1, sizeof(*m));
    m->spec = *spec;
    m->n_sources = n_sources;
    m->states = xcalloc(n_sources, sizeof(*m->states));
    m->header_sent = spec->format != COPY_BINARY && !spec->header;
    return m;
}

void copy_merge_destroy(struct copy_merge **m)
{
    if (!*m)
        return;
    free((*m)->states);
    buf_free(&(*m)->response);
    buf_free(&(*m)->header);
    free(*m);
    *m = NULL;
}

static enum status out_of_turn(struct error *error_r)
{
    return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "a shard's COPY data came out of turn");
}

enum status copy_merge_response(struct copy_merge *m, unsigned source, const struct frame *f, struct buf *out,
                                struct error *error_r)
{
    assert(source < m->n_sources);
    if (m->states[source] != SOURCE_EXPECTED || f->body.len < 3)
        return out_of_turn(error_r);
    bool has_header = m->spec.format == COPY_BINARY || m->spec.header;
    m->states[source] = has_header ? SOURCE_HEADER : SOURCE_ROWS;
    if (buf_len(&m->response) == 0) {
        if ((f->body.data[0] == 1) != (m->spec.format == COPY_BINARY))
            return out_of_turn(error_r);
        buf_slice_append(&m->response, f->body);
        buf_slice_append(out, f->whole);
        return STATUS_OK;
    }
    if (slice_eq(buf_slice(&m->response), f->body))
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "shards return different columns for this COPY");
    error_hint(error_r, "Make the definition of the table the same on every shard.");
    return STATUS_ERROR;
}

static enum status keep_header(struct copy_merge *m, struct slice header, struct error *error_r)
{
    if (buf_len(&m->header) == 0) {
        buf_slice_append(&m->header, header);
        return STATUS_OK;
    }
    if (slice_eq(buf_slice(&m->header), header))
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "shards return different headers for this COPY");
    error_hint(error_r, "Make the definition of the table the same on every shard.");
    return STATUS_ERROR;
}

/* A CopyData with these bytes; the header in front, in a message of its own in text and CSV as a server
 * would. */
static void emit(struct copy_merge *m, struct slice bytes, struct buf *out)
{
    bool with_header = !m->header_sent;
    m->header_sent = true;
    if (with_header && m->spec.format != COPY_BINARY) {
        size_t begun = message_begin(out, MSG_COPY_DATA);
        buf_slice_append(out, buf_slice(&m->header));
        message_end(out, begun);
        with_header = false;
    }
    if (bytes.len == 0)
        return;
    size_t begun = message_begin(out, MSG_COPY_DATA);
    if (with_header)
        buf_slice_append(out, buf_slice(&m->header));
    buf_slice_append(out, bytes);
    message_end(out, begun);
}

static enum status lines(struct copy_merge *m, unsigned source, const struct frame *f, struct buf *out,
                         struct error *error_r)
{
    if (m->states[source] == SOURCE_HEADER) {
        m->states[source] = SOURCE_ROWS;
        return keep_header(m, f->body, error_r);
    }
    if (m->states[source] != SOURCE_ROWS)
        return out_of_turn(error_r);
    m->rows++;
    if (m->header_sent)
        buf_slice_append(out, f->whole);
    else
        emit(m, f->body, out);
    return STATUS_OK;
}

/* The tuples in a message, *rows_r of them *len_r bytes long; a trailer may follow. */
static enum status count_tuples(struct slice bytes, const struct copy_spec *spec, size_t *len_r,
                                int64_t *rows_r, bool *trailer_r, struct error *error_r)
{
    struct tuple_walker w;
    *len_r = 0;
    *rows_r = 0;
    *trailer_r = false;
    while (*len_r < bytes.len) {
        struct slice rest = slice_of(bytes.data + *len_r, bytes.len - *len_r);
        tuple_next(&w);
        enum tuple_event event = tuple_walk(&w, spec, rest, error_r);
        if (event == TUPLE_FAILED)
            return STATUS_ERROR;
        if (event == TUPLE_END && w.at == rest.len) {
            *trailer_r = true;
            return STATUS_OK;
        }
        if (event != TUPLE_ROW)
            return error_set(error_r, SQLSTATE_BAD_COPY_FORMAT,
                             "a shard's COPY data does not end with a row");
        *len_r += w.at;
        ++*rows_r;
    }
    return STATUS_OK;
}

static enum status strip_header(struct copy_merge *m, unsigned source, struct slice *bytes,
                                struct error *error_r)
{
    struct tuple_walker w;
    tuple_walker_init(&w);
    enum tuple_event event = tuple_walk(&w, &m->spec, *bytes, error_r);
    if (event == TUPLE_FAILED)
        return STATUS_ERROR;
    if (event != TUPLE_HEADER)
        return error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "COPY file signature not recognized");
    m->states[source] = SOURCE_ROWS;
    struct slice header = slice_of(bytes->data, w.at);
    bytes->data += w.at;
    bytes->len -= w.at;
    return keep_header(m, header, error_r);
}

static enum status tuples(struct copy_merge *m, unsigned source, const struct frame *f, struct buf *out,
                          struct error *error_r)
{
    struct slice bytes = f->body;
    if (m->states[source] == SOURCE_HEADER && strip_header(m, source, &bytes, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (m->states[source] != SOURCE_ROWS)
        return out_of_turn(error_r);
    struct copy_spec spec = {.format = COPY_BINARY, .n_columns = load_u16(buf_head(&m->response) + 1)};
    size_t len;
    int64_t rows;
    bool trailer;
    if (count_tuples(bytes, &spec, &len, &rows, &trailer, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (trailer)
        m->states[source] = SOURCE_TRAILED;
    m->rows += rows;
    if (len == f->body.len && m->header_sent)
        buf_slice_append(out, f->whole);
    else if (len)
        emit(m, slice_of(bytes.data, len), out);
    return STATUS_OK;
}

enum status copy_merge_data(struct copy_merge *m, unsigned source, const struct frame *f, struct buf *out,
                            struct error *error_r)
{
    assert(source < m->n_sources);
    if (m->spec.format == COPY_BINARY)
        return tuples(m, source, f, out, error_r);
    return lines(m, source, f, out, error_r);
}

enum status copy_merge_done(struct copy_merge *m, unsigned source, struct buf *out, bool *finished_r,
                            struct error *error_r)
{
    static const uint8_t trailer[2] = {0xff, 0xff};
    assert(source < m->n_sources);
    bool binary = m->spec.format == COPY_BINARY;
    *finished_r = false;
    if (m->states[source] != (binary ? SOURCE_TRAILED : SOURCE_ROWS))
        return out_of_turn(error_r);
    m->states[source] = SOURCE_DONE;
    if (++m->n_done < m->n_sources)
        return STATUS_OK;
    if (binary)
        emit(m, slice_of(trailer, sizeof(trailer)), out);
    else if (!m->header_sent)
        emit(m, slice_of(NULL, 0), out);
    message_empty(out, MSG_COPY_DONE);
    *finished_r = true;
    return STATUS_OK;
}

int64_t copy_merge_rows(const struct copy_merge *m)
{
    return m->rows;
}
