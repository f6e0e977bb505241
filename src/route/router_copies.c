/*
 * Which locks keep the copies of reference tables the same: plan->copies (session/ordered.c says why).
 *
 * A table that is written is locked alone, unless rows are only added: those writes may come in any order. One
 * that is read by the write shares the lock, which keeps its writers away.
 */
#include "router_private.h"

#include <stdlib.h>

/* FNV-1a: the same number in every proxy, however the name is written in a statement. */
static uint32_t hash_text(uint32_t h, const char *s)
{
    do
        h = (h ^ (uint8_t)*s) * 16777619u;
    while (*s++);
    return h;
}

static int by_key(const void *a, const void *b)
{
    const struct copies_lock *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : x->shared - y->shared;
}

void plan_lock_copies(struct router *r, bool adds_only)
{
    struct copies_lock *locks = arena_alloc(r->keep, (r->n_leaves + 1) * sizeof *locks);
    uint32_t n = 0, kept = 0;
    for (uint32_t i = 0; i < r->n_leaves; i++) {
        const struct leaf *leaf = r->leaves[i];
        if (leaf->place != PLACE_REFERENCE || !leaf->info)
            continue;
        locks[n].key = hash_text(hash_text(2166136261u, leaf->info->schema), leaf->info->name);
        locks[n++].shared = !leaf->written || adds_only;
    }
    qsort(locks, n, sizeof *locks,
          by_key);                   /* the same order for all: they cannot wait for each other in a circle */
    for (uint32_t i = 0; i < n; i++) /* of equal keys the one that locks more comes first */
        if (kept == 0 || locks[i].key != locks[kept - 1].key)
            locks[kept++] = locks[i];
    r->plan->copies = locks;
    r->plan->n_copies = kept;
}
