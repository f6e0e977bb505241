/*
 * Reads a topology from its sections. The order matters, because each step needs the one before:
 *
 * headings -> [shard] -> [database] -> [buckets] -> [tables] -> [ranges], [lists] -> shards_check
 *
 * Not responsible for: whether the shards can be reached, or have the tables and columns named here.
 */
#include "conf/topology.h"

#include "topology_build.h"

void topology_load(const struct load *l, struct topology *topology_r)
{
    struct topology_build b = {.l = l, .t = topology_r};
    memset(topology_r, 0, sizeof *topology_r);
    sections_classify(&b);
    shards_load(&b);
    databases_load(&b);
    buckets_load(&b);
    tables_load(&b);
    bounds_load(&b);
    shards_check(&b);
}
