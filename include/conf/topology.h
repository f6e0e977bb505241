/*
 * Which databases there are, on which shards their rows live, and how tables are cut. Immutable once loaded;
 * shared by all threads by reference count; replaced whole on reload.
 *
 * Names of databases, schemas, tables and columns are folded as SQL folds them when the file is read:
 * unquoted to lower case, "quoted" as they stand. Names of shards stand as written.
 */
#ifndef PGUNISON_CONF_TOPOLOGY_H
#define PGUNISON_CONF_TOPOLOGY_H

#include "base/bitset.h"
#include "base/hashmap.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct shard_def {
    const char *name;
    const char *host; /* as written: may be a comma-separated list, as in libpq */
    const char *port; /* as written, likewise */
    const char *dbname;
    const char *user, *password;             /* NULL: the client's own */
    const char *admin_user, *admin_password; /* for resolution and catalog reads; NULL: user/password, else
                                                auth_file's first admin_users entry */
    const char *sslmode, *sslrootcert, *sslcert, *sslkey; /* NULL: server_tls_* of [pgunison] */
    const char *target_session_attrs;                     /* NULL: read-write when several hosts, else any */
    int connect_timeout_s;                                /* 0: server_connect_timeout */
    int pool_size;                                        /* 0: the database's */
    unsigned
        id; /* index in topology->shards, unique over the process's databases; not stable across reloads */
};

enum table_method { TABLE_HASH, TABLE_RANGE, TABLE_LIST, TABLE_REFERENCE, TABLE_SINGLE };

struct range_def {
    const char *lower, *upper; /* NULL: MINVALUE / MAXVALUE; lower in, upper out; text as written */
    unsigned shard;            /* index in database_def.shards */
};
struct list_def {
    const char *value; /* NULL: DEFAULT */
    unsigned shard;
};

struct table_map {
    const char *schema; /* NULL: written without a schema: means the schema public */
    const char *name;   /* NULL: the wildcard, which is not among database_def.tables */
    enum table_method method;
    const char *column;       /* HASH, RANGE, LIST */
    unsigned single_shard;    /* SINGLE: index in database_def.shards */
    struct range_def *ranges; /* RANGE: in the order of the file; checked for gaps and overlaps when the
                                 column's type is known (route/bucket_map.h) */
    size_t n_ranges;
    struct list_def *lists;
    size_t n_lists;
    const char *file; /* where it was written, for messages */
    int line;
};

enum pool_mode { POOL_SESSION, POOL_TRANSACTION, POOL_STATEMENT };

#define DATABASE_SLOTS 64

struct database_def {
    const char *name;
    const struct shard_def *
        *shards; /* 1 .. SHARD_SET_MAX; a shard's index here is what shard_set and table_map count in */
    unsigned n_shards;
    unsigned home;         /* index in shards */
    uint32_t buckets;      /* a power of two, 1 .. 65536 */
    uint8_t *bucket_shard; /* [buckets] -> index in shards */
    struct table_map *tables;
    size_t n_tables;
    const struct table_map *wildcard; /* `* = hash(column)`, or NULL */
    struct shard_set all_shards;
    int pool_size, reserve_pool_size; /* -1: the settings' */
    int max_db_connections;           /* 0: no limit */
    int pool_mode;                    /* -1: the settings'; else enum pool_mode */
    int routing_hints;                /* -1: the settings'; 0: off; 1: on */
    unsigned index;                   /* in topology->databases */
    unsigned slot;                    /* of its name: 0 .. DATABASE_SLOTS - 1; others may have the same */
    /* private: */
    struct hashmap tables_by_name; /* "schema\0name" */
};

struct topology {
    struct database_def *databases;
    size_t n_databases;
    struct shard_def *shards;
    size_t n_shards;
};

const struct database_def *topology_database(const struct topology *t, const char *name); /* NULL: unknown */
/* Whether what changes in one may be seen in the other: a shard's dbname of one is one of the other's. */
bool topology_databases_meet(const struct database_def *a, const struct database_def *b);
/* Index in db->shards of a shard by its name; -1: not one of this database's. */
int topology_shard_index(const struct database_def *db, const char *name);
/* schema NULL or empty: not qualified. NULL: not listed by name (the wildcard is the caller's affair: it
 * needs the catalog). */
const struct table_map *topology_table(const struct database_def *db, const char *schema, const char *name);

#endif
