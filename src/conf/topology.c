/*
 * The topology: read from its sections in this order, because each needs the one before:
 *
 *   headings -> [shard] -> [database] -> [buckets] -> [tables] -> [ranges], [lists] -> what holds over all of
 * them
 *
 * Not responsible for: whether the shards can be reached, or have the tables and columns named here.
 */
#include "conf/topology.h"

#include "topology_build.h"

void topology_load(const struct load *l, struct topology *topology_r)
{
    static atomic_uint_least64_t generations;
    struct topology_build b = {.l = l, .t = topology_r};
    memset(topology_r, 0, sizeof *topology_r);
    topology_r->generation = atomic_fetch_add(&generations, 1) + 1;
    sections_classify(&b);
    shards_load(&b);
    databases_load(&b);
    buckets_load(&b);
    tables_load(&b);
    bounds_load(&b);
    shards_check(&b);
}

void topology_free(struct topology *t)
{
    for (size_t i = 0; i < t->n_databases; i++)
        hashmap_free(&t->databases[i].tables_by_name, NULL);
}

const struct database_def *topology_database(const struct topology *t, const char *name)
{
    for (size_t i = 0; i < t->n_databases; i++)
        if (strcmp(t->databases[i].name, name) == 0)
            return &t->databases[i];
    return NULL;
}

int topology_shard_index(const struct database_def *db, const char *name)
{
    for (unsigned i = 0; i < db->n_shards; i++)
        if (strcmp(db->shards[i]->name, name) == 0)
            return (int)i;
    return -1;
}

const struct table_map *topology_table(const struct database_def *db, const char *schema, const char *name)
{
    char key[256]; /* names here have at most 63 bytes: a longer one is in no topology */
    if (!schema || !*schema)
        schema = "public";
    size_t ls = strlen(schema), lt = strlen(name);
    if (ls + 1 + lt > sizeof key)
        return NULL;
    memcpy(key, schema, ls + 1);
    memcpy(key + ls + 1, name, lt);
    return hashmap_get(&db->tables_by_name, slice_of(key, ls + 1 + lt));
}
