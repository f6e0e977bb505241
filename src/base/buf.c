/*
 * Growable byte buffers; the header draws the three offsets. Room is found in this order: behind the write
 * end; by moving the unread bytes to the front, if at least as much was read as must be moved (so that moving
 * costs at most one copy a byte); by doubling.
 *
 * Not responsible for: limits. Whoever appends a peer's bytes bounds them first.
 */
#include "base/buf.h"

#include "base/arena.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SMALLEST ((size_t)256)
#define LARGE    ((size_t)1 << 20)

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_free(struct buf *b)
{
    free(b->data);
    buf_init(b);
}

void buf_check(const struct buf *b)
{
    assert(b->start <= b->end);
    assert(b->end <= b->cap);
    assert((b->data == NULL) == (b->cap == 0));
    (void)b;
}

uint8_t *buf_make_room(struct buf *b, size_t n)
{
    buf_check(b);
    if (n == 0)
        return NULL; /* reached only without any memory */

    size_t len = buf_len(b);
    if (b->start >= len && n <= b->cap - len) {
        memcpy(b->data, b->data + b->start, len);
        b->start = 0;
        b->end = len;
        return b->data + len;
    }
    if (n > SIZE_MAX / 4 || b->cap > SIZE_MAX / 4) {
        fprintf(stderr, "pgunison: buffer of %zu bytes cannot grow by %zu\n", b->cap, n);
        abort();
    }
    size_t cap = b->cap ? b->cap : SMALLEST;
    while (cap - len < n)
        cap *= 2;
    if (b->start == 0 && b->cap >= LARGE) {
        /* A mapping of its own: the system moves its pages, and what was never written costs nothing. */
        *b = (struct buf){.data = xrealloc(b->data, cap), .end = len, .cap = cap};
        return b->data + len;
    }
    /* Not realloc(): it would copy what was read already, and what was never written. */
    uint8_t *data = xmalloc(cap);
    if (len)
        memcpy(data, b->data + b->start, len);
    free(b->data);
    *b = (struct buf){.data = data, .end = len, .cap = cap};
    return b->data + len;
}

void buf_reserve_exactly(struct buf *b, size_t n)
{
    size_t len = buf_len(b);
    if (n == 0 || n <= b->cap - b->end)
        return;
    uint8_t *data = xmalloc(len + n);
    if (len)
        memcpy(data, b->data + b->start, len);
    free(b->data);
    *b = (struct buf){.data = data, .end = len, .cap = len + n};
}

void buf_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_cstr(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s) + 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    /* Most texts fit the room that is there anyway; vsnprintf() needs one byte more for its NUL. */
    char *at = (char *)buf_reserve(b, 64);
    int len = vsnprintf(at, b->cap - b->end, fmt, args);
    va_end(args);
    assert(len >= 0);
    if ((size_t)len >= b->cap - b->end) {
        at = (char *)buf_reserve(b, (size_t)len + 1);
        vsnprintf(at, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    b->end += (size_t)len;
}

void buf_decimal(struct buf *b, uint64_t v)
{
    char digits[20], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + v % 10);
    while (v /= 10);
    buf_append(b, at, (size_t)(digits + sizeof digits - at));
}

void buf_u8(struct buf *b, uint8_t v)
{
    *buf_reserve(b, 1) = v;
    b->end += 1;
}

void buf_u16(struct buf *b, uint16_t v)
{
    uint8_t *p = buf_reserve(b, 2);
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    b->end += 2;
}

void buf_u32(struct buf *b, uint32_t v)
{
    store_u32(buf_reserve(b, 4), v);
    b->end += 4;
}

void buf_put_u32(struct buf *b, size_t at, uint32_t v)
{
    assert(buf_len(b) >= 4 && at <= buf_len(b) - 4);
    store_u32(b->data + b->start + at, v);
}
