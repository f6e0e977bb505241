/*
 * Reading a message body from its front, for the files of this layer. Failure is sticky: after the first
 * field that does not fit, every later one reads as zero or empty and `bad` stays set, so a message's layout
 * can be written down as a plain list of fields and judged once, by reader_finish().
 *
 * Nothing is read at or beyond at + left. What reader_cstr() and reader_bytes() return points into the body.
 */
#ifndef PGUNISON_SRC_WIRE_READER_H
#define PGUNISON_SRC_WIRE_READER_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static inline struct reader reader_of(struct slice body)
{
    return (struct reader){.at = body.data, .left = body.len, .bad = false};
}

static inline void reader_fail(struct reader *r)
{
    r->bad = true;
    r->left = 0;
}

/* n bytes, or NULL when there are not as many. For n == 0 the place where they would be. */
static inline const uint8_t *reader_bytes(struct reader *r, size_t n)
{
    const uint8_t *p = r->at;

    if (r->bad || r->left < n) {
        reader_fail(r);
        return NULL;
    }
    if (n > 0) {
        r->at += n;
        r->left -= n;
    }
    return p;
}

static inline uint8_t reader_u8(struct reader *r)
{
    const uint8_t *p = reader_bytes(r, 1);
    return p ? *p : 0;
}

static inline uint16_t reader_u16(struct reader *r)
{
    const uint8_t *p = reader_bytes(r, 2);
    return p ? load_u16(p) : 0;
}

static inline uint32_t reader_u32(struct reader *r)
{
    const uint8_t *p = reader_bytes(r, 4);
    return p ? load_u32(p) : 0;
}

/* A NUL-terminated string; "" when there is no terminator. */
static inline const char *reader_cstr(struct reader *r)
{
    const uint8_t *nul = NULL;

    if (!r->bad && r->left > 0) /* most names are empty */
        nul = *r->at == 0 ? r->at : memchr(r->at, 0, r->left);
    if (!nul) {
        reader_fail(r);
        return "";
    }
    const char *s = (const char *)r->at;
    r->left -= (size_t)(nul + 1 - r->at);
    r->at = nul + 1;
    return s;
}

/* A value as Bind and DataRow carry it: a 32-bit length and the bytes; length -1 is SQL NULL (data NULL). */
static inline struct slice reader_value(struct reader *r)
{
    uint32_t len = reader_u32(r);
    const uint8_t *p;

    if (r->bad || len == UINT32_MAX)
        return slice_of(NULL, 0);
    p = len > INT32_MAX ? NULL : reader_bytes(r, len);
    if (!p) {
        reader_fail(r);
        return slice_of(NULL, 0);
    }
    return slice_of(p, len);
}

/* Every field was there, and nothing is left over. */
static inline bool reader_done(const struct reader *r)
{
    return !r->bad && r->left == 0;
}

static inline enum status reader_finish(const struct reader *r, const char *message_name,
                                        struct error *error_r)
{
    if (reader_done(r))
        return STATUS_OK;
    return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "invalid %s message format", message_name);
}

#endif
