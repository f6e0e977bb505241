/*
 * COPY's binary format (PostgreSQL documentation, COPY, "Binary Format"):
 *
 *     "PGCOPY\n\377\r\n\0"  flags (4)  extension length (4)  extension
 *     { field count (2)  { length (4; -1: NULL)  value } ... } ...
 *     -1 (2)
 *
 * The walker knows how many bytes it needs for its next step, so that a value that comes in a thousand pieces
 * is looked at once.
 *
 * Not responsible for: collecting the bytes, limits.
 */
#include "copy_private.h"

#define SIGNATURE_BYTES 11
static const uint8_t signature[SIGNATURE_BYTES] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};

void tuple_walker_init(struct tuple_walker *w)
{
    *w = (struct tuple_walker){.state = TUPLE_SIGNATURE, .need = SIGNATURE_BYTES + 8};
}

void tuple_next(struct tuple_walker *w)
{
    *w = (struct tuple_walker){.state = TUPLE_COUNT, .need = 2};
}

static enum tuple_event fail(struct error *error_r, const char *message)
{
    error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "%s", message);
    return TUPLE_FAILED;
}

static enum tuple_event read_header(struct tuple_walker *w, const uint8_t *p, struct error *error_r)
{
    if (memcmp(p, signature, SIGNATURE_BYTES) != 0)
        return fail(error_r, "COPY file signature not recognized");
    uint32_t flags = load_u32(p + SIGNATURE_BYTES), extension = load_u32(p + SIGNATURE_BYTES + 4);
    if (flags & (UINT32_C(1) << 16))
        return fail(error_r, "invalid COPY file header (WITH OIDS)");
    if (flags >> 16)
        return fail(error_r, "unrecognized critical flags in COPY file header");
    if (extension > INT32_MAX)
        return fail(error_r, "invalid COPY file header (missing length)");
    w->state = TUPLE_EXTENSION;
    w->need = extension;
    return TUPLE_MORE;
}

static enum tuple_event read_count(struct tuple_walker *w, const struct copy_spec *spec, const uint8_t *p,
                                   struct error *error_r)
{
    int n = (int16_t)load_u16(p);
    if (n == -1) {
        w->state = TUPLE_TRAILER;
        w->need = 1;
        return TUPLE_END;
    }
    if (n != spec->n_columns) {
        error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "row field count is %d, expected %d", n,
                  spec->n_columns);
        return TUPLE_FAILED;
    }
    w->n_fields = n;
    w->state = TUPLE_FIELD;
    w->need = n ? 4 : 0;
    return n ? TUPLE_MORE : TUPLE_ROW;
}

/* Behind a field's value, or its NULL. */
static enum tuple_event next_field(struct tuple_walker *w)
{
    w->field++;
    w->state = TUPLE_FIELD;
    w->need = 4;
    return w->field == w->n_fields ? TUPLE_ROW : TUPLE_MORE;
}

static enum tuple_event read_field(struct tuple_walker *w, const struct copy_spec *spec, const uint8_t *p,
                                   struct error *error_r)
{
    uint32_t len = load_u32(p);
    if (len != UINT32_MAX && len > INT32_MAX)
        return fail(error_r, "invalid field size");
    if (w->field == spec->key_column) {
        w->key_null = len == UINT32_MAX;
        w->key_at = w->at;
        w->key_len = w->key_null ? 0 : len;
    }
    if (len == UINT32_MAX)
        return next_field(w);
    w->state = TUPLE_VALUE;
    w->need = len;
    return TUPLE_MORE;
}

enum tuple_event tuple_walk(struct tuple_walker *w, const struct copy_spec *spec, struct slice bytes,
                            struct error *error_r)
{
    for (;;) {
        if (bytes.len - w->at < w->need)
            return TUPLE_MORE;
        const uint8_t *p = bytes.data + w->at;
        w->at += w->need;
        enum tuple_event event = TUPLE_MORE;
        switch (w->state) {
        case TUPLE_SIGNATURE:
            event = read_header(w, p, error_r);
            break;
        case TUPLE_EXTENSION:
            event = TUPLE_HEADER;
            break;
        case TUPLE_COUNT:
            event = read_count(w, spec, p, error_r);
            break;
        case TUPLE_FIELD:
            event = read_field(w, spec, p, error_r);
            break;
        case TUPLE_VALUE:
            event = next_field(w);
            break;
        case TUPLE_TRAILER:
            event = fail(error_r, "received copy data after EOF marker");
            break;
        }
        if (event != TUPLE_MORE)
            return event;
    }
}
