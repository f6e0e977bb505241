/*
 * Arenas: a list of blocks, the newest first; allocation moves a mark through the newest one.
 *
 *     blocks -> [ header | handed out ... | room ] -> [ header | handed out ] -> ...
 *
 * Blocks double from FIRST_BLOCK to LARGEST_BLOCK, so that a short life costs little and a long one few
 * calls. An allocation that does not fit a block of the largest size gets one of its own, behind the newest,
 * whose room is not given up for it. Under AddressSanitizer what has not been handed out is poisoned, so that
 * the use of something after arena_reset() is found.
 *
 * Not responsible for: locking (an arena belongs to one thread) and single frees.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define ALIGNMENT     ((size_t)16)
#define FIRST_BLOCK   ((size_t)1024) /* room, without the header */
#define LARGEST_BLOCK ((size_t)64 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t cap, used;
    size_t padding; /* keeps data[] aligned */
    uint8_t data[];
};
_Static_assert(offsetof(struct arena_block, data) % 16 == 0, "block data must be 16-byte aligned");

static void __attribute__((noreturn)) out_of_memory(size_t n)
{
    fprintf(stderr, "pgunison: out of memory (asked for %zu bytes)\n", n);
    abort();
}

static struct arena_block *block_create(size_t cap)
{
    struct arena_block *b = xmalloc(sizeof(*b) + cap);
    b->next = NULL;
    b->cap = cap;
    b->used = 0;
    ASAN_POISON_MEMORY_REGION(b->data, cap);
    return b;
}

static void block_free(struct arena_block *b)
{
    ASAN_UNPOISON_MEMORY_REGION(b->data, b->cap);
    free(b);
}

void arena_init(struct arena *a)
{
    a->blocks = NULL;
    a->used_bytes = 0;
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->blocks; b;) {
        struct arena_block *next = b->next;
        block_free(b);
        b = next;
    }
    arena_init(a);
}

size_t arena_bytes(const struct arena *a)
{
    size_t bytes = 0;
    for (const struct arena_block *b = a->blocks; b; b = b->next)
        bytes += heap_bytes(sizeof(*b) + b->cap);
    return bytes;
}

/* Keeps the largest block of an ordinary size: an oversized one would pin the memory of one odd statement. */
void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;
    for (struct arena_block *b = a->blocks; b;) {
        struct arena_block *next = b->next;
        if (b->cap <= LARGEST_BLOCK && (!keep || b->cap > keep->cap)) {
            if (keep)
                block_free(keep);
            keep = b;
        } else {
            block_free(b);
        }
        b = next;
    }
    arena_init(a);
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
        ASAN_POISON_MEMORY_REGION(keep->data, keep->cap);
        a->blocks = keep;
    }
}

/* A block with room for n bytes; it is the newest unless it was made for this allocation alone. */
static struct arena_block *block_with_room(struct arena *a, size_t n)
{
    struct arena_block *newest = a->blocks;
    if (newest && n <= newest->cap - newest->used)
        return newest;

    if (n > LARGEST_BLOCK) {
        struct arena_block *own = block_create(n);
        if (newest) {
            own->next = newest->next;
            newest->next = own;
        } else {
            a->blocks = own;
        }
        return own;
    }
    size_t cap = newest && newest->cap <= LARGEST_BLOCK / 2 ? newest->cap * 2 : LARGEST_BLOCK;
    if (!newest)
        cap = FIRST_BLOCK;
    while (cap < n)
        cap *= 2;
    struct arena_block *b = block_create(cap);
    b->next = newest;
    a->blocks = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        out_of_memory(n);
    size_t rounded = (n + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (rounded == 0)
        rounded = ALIGNMENT; /* every allocation has an address of its own */

    struct arena_block *b = block_with_room(a, rounded);
    void *p = b->data + b->used;
    b->used += rounded;
    a->used_bytes += rounded;
    ASAN_UNPOISON_MEMORY_REGION(p, n);
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

char *arena_strndup(struct arena *a, const void *s, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    if (n)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

struct slice arena_slice(struct arena *a, struct slice s)
{
    uint8_t *copy = arena_alloc(a, s.len);
    if (s.len)
        memcpy(copy, s.data, s.len);
    return slice_of(copy, s.len);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    assert(len >= 0);
    char *s;
    if ((size_t)len < sizeof(small)) {
        s = arena_strndup(a, small, (size_t)len);
    } else {
        s = arena_alloc(a, (size_t)len + 1);
        vsnprintf(s, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    return s;
}

void *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory(n * size);
    return p;
}

void *xrealloc(void *p, size_t n)
{
    void *moved = realloc(p, n ? n : 1);
    if (!moved)
        out_of_memory(n);
    return moved;
}

char *xstrndup(const void *s, size_t n)
{
    char *copy = xmalloc(n + 1);
    if (n)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}
