/* A plan's end. */
#include "route/plan.h"

#include "route/bucket_map.h"

#include <stdlib.h>

static void let_go(const struct bucket_map *m)
{
    struct bucket_map *map = (struct bucket_map *)(uintptr_t)m;
    bucket_map_unref(&map);
}

void plan_destroy(void *plan)
{
    struct plan *p = plan;
    if (!p)
        return;
    let_go(p->map);
    for (uint8_t i = 0; i < p->n_more_maps; i++)
        let_go(p->more_maps[i]);
    arena_free(&p->arena);
    free(p);
}
