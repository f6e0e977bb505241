/*
 * Bump allocation by lifetime (statement, transaction, session, plan): everything in an arena dies at once.
 * Nothing that lives in a shorter arena may be kept in a longer one. Out of memory aborts the process.
 * Allocations are 16-byte aligned and not zeroed unless it says so.
 */
#ifndef PGUNISON_BASE_ARENA_H
#define PGUNISON_BASE_ARENA_H

#include "base/error.h"
#include "base/slice.h"

struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t used_bytes; /* handed out since init or reset */
};

void arena_init(struct arena *a);
void arena_free(struct arena *a);  /* gives all memory back; usable again */
void arena_reset(struct arena *a); /* empties it, keeps one block for reuse */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const void *s, size_t n); /* NUL added */
struct slice arena_slice(struct arena *a, struct slice s);     /* a copy */
size_t arena_bytes(const struct arena *a);                     /* what its blocks take of the heap */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What an allocation of n bytes takes of the heap: accounts count this, not what was asked for. */
static inline size_t heap_bytes(size_t n)
{
    size_t chunk = (n + sizeof(size_t) + 15) & ~(size_t)15; /* glibc's chunks: a size word, rounded to 16 */
    return chunk < 32 ? 32 : chunk;
}

/* Heap allocation that never returns NULL. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const void *s, size_t n);

#endif
