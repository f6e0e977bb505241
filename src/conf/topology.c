/* Look-ups in a topology that topology_load.c has built. */
#include "conf/topology.h"

#include "load.h"

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

bool topology_databases_meet(const struct database_def *a, const struct database_def *b)
{
    for (unsigned i = 0; i < a->n_shards; i++)
        for (unsigned j = 0; j < b->n_shards; j++)
            if (strcmp(a->shards[i]->dbname, b->shards[j]->dbname) == 0)
                return true; /* servers have several names */
    return false;
}
