/*
 * A growable byte buffer with a read end and a write end:
 *
 *     data            start           end             cap
 *      | already read  | to be read    | room           |
 *
 * buf_check() asserts 0 <= start <= end <= cap. Growing aborts the process when memory is out (as
 * base/arena.h does): callers bound what they append beforehand. Integers are big-endian (protocol chapter
 * "Message Data Types").
 */
#ifndef PGUNISON_BASE_BUF_H
#define PGUNISON_BASE_BUF_H

#include "base/error.h"
#include "base/slice.h"

struct buf {
    uint8_t *data;
    size_t start, end, cap;
};

void buf_init(struct buf *b); /* owns nothing yet */
void buf_free(struct buf *b); /* back to the state after buf_init */
void buf_check(const struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}
static inline uint8_t *buf_head(const struct buf *b)
{
    return b->data + b->start;
}
static inline struct slice buf_slice(const struct buf *b)
{
    assert(b->data || buf_len(b) == 0);
    return slice_of(b->data ? b->data + b->start : NULL, b->end - b->start);
}

/* Room for exactly n more bytes, when their number is known: doubling would take up to twice of it. */
void buf_reserve_exactly(struct buf *b, size_t n);

/* buf_reserve() when there is no room behind the write end. */
uint8_t *buf_make_room(struct buf *b, size_t n);

/* Makes room for n more bytes and returns where they go; buf_added() tells how many were written there. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
    assert(b->start <= b->end && b->end <= b->cap);
    return n <= b->cap - b->end && b->data ? b->data + b->end : buf_make_room(b, n);
}
static inline void buf_added(struct buf *b, size_t n)
{
    assert(n <= b->cap - b->end);
    b->end += n;
}
/* Drops n bytes from the read end; an emptied buffer rewinds to its beginning. */
static inline void buf_consume(struct buf *b, size_t n)
{
    assert(n <= buf_len(b));
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}
static inline void buf_clear(struct buf *b)
{
    b->start = b->end = 0;
}

static inline void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    assert(data);
    memcpy(buf_reserve(b, len), data, len);
    b->end += len;
}
static inline void buf_slice_append(struct buf *b, struct slice s)
{
    buf_append(b, s.data, s.len);
}
void buf_str(struct buf *b, const char *s);  /* without its NUL */
void buf_cstr(struct buf *b, const char *s); /* with its NUL */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_decimal(struct buf *b, uint64_t v); /* its digits; what buf_printf() does with more instructions */
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
/* Overwrites the 32-bit integer that begins `at` bytes after the read end. */
void buf_put_u32(struct buf *b, size_t at, uint32_t v);

static inline uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}
static inline void store_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline uint32_t load_u32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}
static inline uint64_t load_u64(const uint8_t *p)
{
    return ((uint64_t)load_u32(p) << 32) | load_u32(p + 4);
}

#endif
