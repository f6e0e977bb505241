/*
 * Collecting the rows of a COPY. A row that lies whole in one payload is handed out where it is; only what is
 * cut by a payload's end is copied:
 *
 *     pending [ beginning of a row ]   payload [ its rest | row | row | beginning of the next ]
 *
 *     READING -> ENDED  [end-of-copy marker, binary trailer]
 *     READING, ENDED -> FAILED [any error], FINISHED [copy_split_finish]
 *
 * Invariant while READING: pending holds the bytes of the row at hand that earlier payloads brought, and the
 * scanner (text, CSV) or the walker (binary) has looked at each of them once.
 *
 * Not responsible for: where rows go, the sockets' pace (feed only as fast as the shards take).
 */
#include "exec/copy_split.h"

#include "base/arena.h"
#include "base/blob.h"
#include "copy_private.h"
#include <stdlib.h>

enum stage { STAGE_READING, STAGE_ENDED, STAGE_FINISHED, STAGE_FAILED };

struct copy_split {
    enum stage stage;
    struct copy_spec spec; /* resolved */
    size_t max_row_bytes;
    struct copy_sink sink;
    struct buf pending, scratch;
    uint64_t line;
    bool header_due;  /* text and CSV: the next line is the header */
    bool header_sent; /* binary */
    struct line_scanner scanner;
    struct tuple_walker walker;
};

/* The options with the format's defaults filled in. */
static struct copy_spec copy_spec_resolved(const struct copy_spec *spec)
{
    struct copy_spec s = *spec;
    bool csv = s.format == COPY_CSV;
    if (!s.delimiter)
        s.delimiter = csv ? ',' : '\t';
    if (!s.quote)
        s.quote = '"';
    if (!s.escape)
        s.escape = s.quote;
    if (!s.null_string)
        s.null_string = csv ? "" : "\\N";
    return s;
}

struct copy_split *copy_split_create(const struct copy_split_options *o)
{
    struct copy_split *s = xcalloc(1, sizeof(*s));
    s->spec = copy_spec_resolved(o->spec);
    s->max_row_bytes = o->max_row_bytes;
    s->sink = o->sink;
    s->line = 1;
    s->header_due = s->spec.header && s->spec.format != COPY_BINARY;
    buf_init(&s->pending);
    buf_init(&s->scratch);
    line_scanner_init(&s->scanner, &s->spec, o->csv_end_marker, &s->line);
    tuple_walker_init(&s->walker);
    return s;
}

void copy_split_destroy(struct copy_split **s)
{
    if (!*s)
        return;
    buf_free(&(*s)->pending);
    buf_free(&(*s)->scratch);
    free(*s);
    *s = NULL;
}

size_t copy_split_memory(const struct copy_split *s)
{
    return s->pending.end + s->scratch.end; /* what was written to; see base/buf.c on large ones */
}

/* For errors found here; the sink's own come through as they are, but for the line. */
static enum status fail(struct copy_split *s, struct error *error)
{
    s->stage = STAGE_FAILED;
    if (!error->detail[0])
        error_detail(error, "COPY line %llu.", (unsigned long long)s->line);
    return STATUS_ERROR;
}

static enum status too_long(struct copy_split *s, struct error *error_r)
{
    error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "COPY row is longer than %zu bytes", s->max_row_bytes);
    return fail(s, error_r);
}

/* A large row that came in pieces is handed on without a copy: its memory becomes a blob, which whoever sends it keeps. */
static struct blob *pending_share(struct copy_split *s)
{
    return buf_len(&s->pending) >= BLOB_MIN_BYTES ? blob_create(&s->pending) : NULL;
}

static void pending_done(struct copy_split *s, struct blob *shared)
{
    if (shared)
        buf_init(&s->pending);
    else
        buf_clear(&s->pending);
    blob_unref(&shared);
}

/* --- text and CSV ----------------------------------------------------------------------------- */

/* A line with its end. content_bytes: without. */
static enum status take_line(struct copy_split *s, struct slice whole, size_t content_bytes,
                             struct error *error_r)
{
    struct copy_row row = {.bytes = whole, .line = s->line};
    if (s->header_due) {
        s->header_due = false;
        s->sink.every_shard(s->sink.arg, whole);
    } else {
        if (!s->spec.replicate && copy_line_key(&s->spec, slice_of(whole.data, content_bytes), &s->scratch,
                                                &row.key, error_r) != STATUS_OK)
            return fail(s, error_r);
        if (s->sink.row(s->sink.arg, &row, error_r) != STATUS_OK)
            return fail(s, error_r);
    }
    s->line++;
    return STATUS_OK;
}

/* The line's last bytes; what came before is pending. */
static enum status take_line_end(struct copy_split *s, struct slice rest, struct error *error_r)
{
    struct slice whole = rest;
    struct blob *shared = NULL;
    if (buf_len(&s->pending)) {
        buf_slice_append(&s->pending, rest);
        whole = buf_slice(&s->pending);
        shared = pending_share(s);
    }
    enum status status = take_line(s, whole, whole.len - line_eol_bytes(&s->scanner), error_r);
    pending_done(s, shared);
    return status;
}

static enum status feed_lines(struct copy_split *s, struct slice payload, struct error *error_r)
{
    while (payload.len) {
        size_t consumed = 0;
        enum line_event event = line_scan(&s->scanner, payload, &consumed, error_r);
        struct slice seen = slice_of(payload.data, consumed);
        if (event == LINE_FAILED)
            return fail(s, error_r);
        if (event == LINE_DONE) {
            buf_clear(&s->pending);
            s->stage = STAGE_ENDED;
            return STATUS_OK;
        }
        if (buf_len(&s->pending) + seen.len > s->max_row_bytes)
            return too_long(s, error_r);
        if (event == LINE_MORE) {
            buf_slice_append(&s->pending, seen);
            return STATUS_OK;
        }
        if (take_line_end(s, seen, error_r) != STATUS_OK)
            return STATUS_ERROR;
        payload.data += consumed;
        payload.len -= consumed;
    }
    return STATUS_OK;
}

/* A last line without an end gets one. The server makes nothing of a backslash at the very end; before an end
   of line it would take away its meaning. */
static void complete_last_line(struct copy_split *s)
{
    if (s->scanner.state == LINE_BACKSLASH)
        s->pending.end--;
    if (s->scanner.eol == EOL_UNKNOWN)
        s->scanner.eol = EOL_NL;
    if (s->scanner.eol != EOL_NL)
        buf_u8(&s->pending, '\r');
    if (s->scanner.eol != EOL_CR)
        buf_u8(&s->pending, '\n');
}

static enum status finish_lines(struct copy_split *s, struct error *error_r)
{
    bool eol_missing = false;
    if (s->stage == STAGE_ENDED || buf_len(&s->pending) == 0)
        return STATUS_OK;
    if (line_scan_end(&s->scanner, &eol_missing, error_r) == LINE_FAILED)
        return fail(s, error_r);
    if (eol_missing)
        complete_last_line(s);
    return take_line_end(s, slice_of(NULL, 0), error_r);
}

/* --- binary ----------------------------------------------------------------------------------- */

/* A whole header or row of s->walker.at bytes at data. */
static enum status take_tuple(struct copy_split *s, enum tuple_event event, const uint8_t *data,
                              struct error *error_r)
{
    const struct tuple_walker *w = &s->walker;
    struct slice whole = slice_of(data, w->at);
    if (event == TUPLE_HEADER) {
        s->header_sent = true;
        s->sink.every_shard(s->sink.arg, whole);
        return STATUS_OK;
    }
    struct copy_row row = {.bytes = whole, .key_format = 1, .line = s->line};
    if (!s->spec.replicate && !w->key_null)
        row.key = slice_of(data + w->key_at, w->key_len);
    if (s->sink.row(s->sink.arg, &row, error_r) != STATUS_OK)
        return fail(s, error_r);
    s->line++;
    return STATUS_OK;
}

/* Moves to pending what the walker needs for its next step, as far as the payload has it. False: it has not.
 */
static bool collect(struct copy_split *s, struct slice *payload)
{
    size_t missing = s->walker.at + s->walker.need - buf_len(&s->pending);
    size_t n = missing < payload->len ? missing : payload->len;
    buf_append(&s->pending, payload->data, n);
    payload->data += n;
    payload->len -= n;
    return n == missing;
}

static enum status feed_tuples(struct copy_split *s, struct slice payload, struct error *error_r)
{
    for (;;) {
        bool whole = buf_len(&s->pending) == 0;
        if (!whole && !collect(s, &payload))
            return STATUS_OK;
        struct slice bytes = whole ? payload : buf_slice(&s->pending);
        enum tuple_event event = tuple_walk(&s->walker, &s->spec, bytes, error_r);
        if (event == TUPLE_FAILED)
            return fail(s, error_r);
        if (s->walker.at > s->max_row_bytes || s->walker.need > s->max_row_bytes - s->walker.at)
            return too_long(s, error_r);
        if (event == TUPLE_MORE && whole) { /* the beginning of a row, or nothing */
            buf_slice_append(&s->pending, payload);
            return STATUS_OK;
        }
        if (event == TUPLE_MORE)
            continue;
        struct blob *shared = event != TUPLE_END && !whole ? pending_share(s) : NULL;
        enum status status = event != TUPLE_END ? take_tuple(s, event, bytes.data, error_r) : STATUS_OK;
        if (status != STATUS_OK) {
            pending_done(s, shared);
            return STATUS_ERROR;
        }
        if (whole) {
            payload.data += s->walker.at;
            payload.len -= s->walker.at;
        }
        pending_done(s, shared);
        if (event == TUPLE_END) {
            s->stage = STAGE_ENDED;
            break;
        }
        tuple_next(&s->walker);
    }
    if (payload.len == 0)
        return STATUS_OK;
    error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "received copy data after EOF marker");
    return fail(s, error_r);
}

static enum status finish_tuples(struct copy_split *s, struct error *error_r)
{
    static const uint8_t trailer[2] = {0xff, 0xff};
    if (!s->header_sent) {
        error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "COPY file signature not recognized");
        return fail(s, error_r);
    }
    if (buf_len(&s->pending)) {
        error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "unexpected EOF in COPY data");
        return fail(s, error_r);
    }
    s->sink.every_shard(s->sink.arg, slice_of(trailer, sizeof(trailer)));
    return STATUS_OK;
}

/* --- both ------------------------------------------------------------------------------------- */

static enum status out_of_turn(struct error *error_r)
{
    return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "COPY data came behind the end of a COPY");
}

enum status copy_split_feed(struct copy_split *s, struct slice payload, struct error *error_r)
{
    if (s->stage != STAGE_READING && s->stage != STAGE_ENDED)
        return out_of_turn(error_r);
    bool binary = s->spec.format == COPY_BINARY;
    if (payload.len == 0)
        return STATUS_OK;
    if (s->stage == STAGE_ENDED) {
        if (!binary)
            return STATUS_OK;
        error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "received copy data after EOF marker");
        return fail(s, error_r);
    }
    return binary ? feed_tuples(s, payload, error_r) : feed_lines(s, payload, error_r);
}

enum status copy_split_finish(struct copy_split *s, struct error *error_r)
{
    if (s->stage != STAGE_READING && s->stage != STAGE_ENDED)
        return out_of_turn(error_r);
    enum status status = s->spec.format == COPY_BINARY ? finish_tuples(s, error_r) : finish_lines(s, error_r);
    if (status == STATUS_OK)
        s->stage = STAGE_FINISHED;
    return status;
}
