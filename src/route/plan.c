/* A plan's end. */
#include "route/plan.h"
#include <stdlib.h>

void plan_destroy(void *plan)
{
    struct plan *p = plan;
    if (!p)
        return;
    arena_free(&p->arena);
    free(p);
}
