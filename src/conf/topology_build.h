/* Private to conf: what the files that build a topology share. */
#ifndef PGUNISON_CONF_TOPOLOGY_BUILD_H
#define PGUNISON_CONF_TOPOLOGY_BUILD_H

#include "load.h"

enum section_kind {
    SECTION_PGUNISON,
    SECTION_DATABASE,
    SECTION_SHARD,
    SECTION_BUCKETS,
    SECTION_TABLES,
    SECTION_RANGES,
    SECTION_LISTS,
};

/* A section whose heading was understood. */
struct section_ref {
    enum section_kind kind;
    const struct ini_section *section;
    const char *name;   /* SHARD: as written; else the database */
    const char *schema; /* RANGES, LISTS: NULL if not written */
    const char *table;  /* RANGES, LISTS */
};

/* What is known of a database only while it is being built; beside topology->databases. */
struct database_build {
    bool shards_bad;  /* its list of shards is wrong: names that are not in it are not reported again */
    bool buckets_bad; /* its number of buckets is not known */
};

struct topology_build {
    const struct load *l;
    struct topology *t;
    struct section_ref *refs;
    size_t n_refs;
    struct database_build *databases;
    int *shard_lines; /* of topology->shards */
    bool *shard_used; /* by a database */
};

/* Fills refs; reports headings that cannot be understood or stand twice. */
void sections_classify(struct topology_build *b);

void shards_load(struct topology_build *b);
/* After the databases are known: default names, two shards that are one, shards nobody uses. */
void shards_check(struct topology_build *b);

void databases_load(struct topology_build *b);
void buckets_load(struct topology_build *b);
void tables_load(struct topology_build *b);
/* [ranges] and [lists] */
void bounds_load(struct topology_build *b);

/* NULL after an error at the section's line: there is no such database. */
struct database_def *build_database(struct topology_build *b, const struct section_ref *ref);
/* The shard's index in the database; -1 after an error. */
int build_shard_index(struct topology_build *b, const struct database_def *db, const char *name, int line);
/* Key of tables_by_name and of sections: parts joined by zero bytes; schema NULL is public. */
struct slice build_table_key(struct arena *a, const char *schema, const char *table);
/* "public.t" without quotes, as messages name it. */
const char *build_table_text(const struct load *l, const char *schema, const char *table);

#endif
