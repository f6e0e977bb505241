/*
 * Template -> plan, per worker, with a byte limit (least recently used goes first). Plans are opaque here. A
 * plan may depend on some literals' values (LIMIT, OFFSET, ORDER BY 2): those are pinned, and the cache
 * compares them too. So it does with the context, which is whatever else a plan depends on.
 *
 * The limit is for all that the cache takes: plans, keys, tables, and what the heap adds to each.
 */
#ifndef PGUNISON_SQL_PLAN_CACHE_H
#define PGUNISON_SQL_PLAN_CACHE_H

#include "sql/template.h"

/* Two contexts are one if all of this is equal: the caller gives numbers that are never used for two things. */
#define PLAN_CONTEXT_NUMBERS 5
struct plan_context {
    uint64_t numbers[PLAN_CONTEXT_NUMBERS]; /* database, catalog, user, search_path and role, shard by
                                               hand */
    struct slice hint;                      /* comment that routes by hand */
    const uint32_t *types;                  /* of parameters */
    uint32_t n_types;
};

struct plan_cache;
struct plan_cache *plan_cache_create(size_t max_bytes, void (*destroy_plan)(void *plan));
void plan_cache_destroy(struct plan_cache **c);
/* NULL: a miss. Does not allocate. The plan is valid until it is unpinned: get pins it (a counter),
 * plan_cache_unpin() lets go; eviction waits for that. */
void *plan_cache_get(struct plan_cache *c, const struct template *t, const struct plan_context *context);
/* pinned: indexes of literals whose values matter, ascending. The cache owns the plan from here; returned
 * pinned once. */
void plan_cache_put(struct plan_cache *c, const struct template *t, const struct plan_context *context,
                    const uint32_t *pinned, size_t n_pinned, void *plan, size_t plan_bytes);
/* A plan that no look-up finds: it takes nobody's place, and ends when it is unpinned. */
void plan_cache_put_once(struct plan_cache *c, void *plan, size_t plan_bytes);
void plan_cache_unpin(struct plan_cache *c, void *plan);
void plan_cache_clear(struct plan_cache *c);
/* Those in whose context the number at that place is *number; NULL: all. */
void plan_cache_drop(struct plan_cache *c, size_t i_number, const uint64_t *number);
void plan_cache_limit(struct plan_cache *c, size_t max_bytes); /* evicts down to it; plans in use stay */
struct plan_cache_stats {
    uint64_t hits, misses, evictions;
    size_t entries, bytes; /* bytes: what the limit is for */
};
void plan_cache_get_stats(const struct plan_cache *c, struct plan_cache_stats *s_r);

#endif
