/*
 * Template -> plan, per worker, with a byte limit (least recently used goes first). Plans are opaque here. A
 * plan may depend on some literals' values (LIMIT, OFFSET, ORDER BY 2): those are pinned, and the cache
 * compares them too. `context` is whatever else the plan depends on, folded into one number by the caller
 * (database, topology generation, catalog generation, parameter types, search_path).
 */
#ifndef PGUNISON_SQL_PLAN_CACHE_H
#define PGUNISON_SQL_PLAN_CACHE_H

#include "sql/template.h"

struct plan_cache;
struct plan_cache *plan_cache_create(size_t max_bytes, void (*destroy_plan)(void *plan));
void plan_cache_destroy(struct plan_cache **c);
/* NULL: a miss. Does not allocate. The plan is valid until it is unpinned: get pins it (a counter),
 * plan_cache_unpin() lets go; eviction waits for that. */
void *plan_cache_get(struct plan_cache *c, const struct template *t, uint64_t context);
/* pinned: indexes of literals whose values matter, ascending. The cache owns the plan from here; returned
 * pinned once. */
void plan_cache_put(struct plan_cache *c, const struct template *t, uint64_t context, const uint32_t *pinned,
                    size_t n_pinned, void *plan, size_t plan_bytes);
void plan_cache_unpin(struct plan_cache *c, void *plan);
void plan_cache_clear(struct plan_cache *c);
struct plan_cache_stats {
    uint64_t hits, misses, evictions;
    size_t entries, bytes;
};
void plan_cache_get_stats(const struct plan_cache *c, struct plan_cache_stats *s_r);

#endif
