/*
 * A borrowed run of bytes. A slice never owns what it points to; whoever hands one out says how long the
 * bytes live. Not NUL-terminated.
 */
#ifndef PGUNISON_BASE_SLICE_H
#define PGUNISON_BASE_SLICE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = len};
}

static inline struct slice slice_str(const char *s)
{
    return slice_of(s, strlen(s));
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    if (a.len != b.len || a.len == 0)
        return a.len == b.len;
    assert(a.data && b.data);
    return memcmp(a.data, b.data, a.len) == 0;
}

static inline bool slice_eq_str(struct slice a, const char *s)
{
    return slice_eq(a, slice_str(s));
}

#endif
