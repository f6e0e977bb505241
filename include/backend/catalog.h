/*
 * What the router must know of relations (route/router.h declares the shapes it needs; this layer does not
 * know it, so the shapes here are plain and the session hands them over). Loaded on demand through the
 * client's own connection, so that search_path, rights and uncommitted DDL are the client's.
 */
#ifndef PGUNISON_BACKEND_CATALOG_H
#define PGUNISON_BACKEND_CATALOG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/hashmap.h"
#include "conf/topology.h"

struct catalog_column {
    const char *name;
    uint32_t type_oid; /* domains resolved to their base type */
    uint32_t collation_oid;
    int32_t typmod; /* pg_attribute.atttypmod; of a domain: the domain's */
    bool c_collation, deterministic, not_null;
    bool has_default;      /* or identity, or generated */
    bool constant_default; /* the same on every shard */
    bool generated;
};
struct catalog_relation {
    const char *schema, *name; /* as found; as asked when it does not exist */
    bool exists, temporary;
    char relkind;
    /* "schema.name" of a listed, sharded table that a view reads, directly or through other views; NULL */
    const char *view_of;
    /* the same for a reference table: reading such a view on one shard is right, writing through it is not */
    const char *view_of_reference;
    const char *index_of_schema, *index_of_name; /* relkind i, I: its table; NULL otherwise */
    /* NULL: not listed. Wildcard applied; an index has its table's; a partition (or inheritance child) that
       is not listed has its nearest listed ancestor's. Of a relation that does not exist: by the schema in
       which it would be created. */
    const struct table_map *map;
    struct catalog_column *columns; /* an index has its table's */
    uint16_t n_columns;
    /* enum effect of the code behind it, when it is only read, and when it is written */
    uint16_t effects_read, effects_written;
    const void *wanted_by; /* who asked for it last: the session's */
    void *extra;           /* the session's: the router's view of it */
    void (*free_extra)(void *extra);
};

struct catalog;
struct catalog *catalog_create(const struct database_def *db);
void catalog_destroy(struct catalog **c);
void catalog_clear(struct catalog *c);
/* Entries of relations that did not exist, of those that he asked for last: others may make them at any moment. They die,
 * and what plans keep of them. */
void catalog_forget_missing(struct catalog *c, const void *wanted_by);
/* What it takes of memory; catalog_derived() adds what the relation's owner keeps in `extra`. */
size_t catalog_bytes(const struct catalog *c);
void catalog_derived(struct catalog_relation *r, size_t bytes);
size_t catalog_count(const struct catalog *c);
/* context: what else the meaning of a name depends on (user and search_path). schema "": not qualified. NULL:
 * not loaded, or forgotten. It is there until the next catalog_load_finish(), which may forget it. */
struct catalog_relation *catalog_find(struct catalog *c, const char *context, const char *schema,
                                      const char *name);

/* False: not loaded. Effects (enum effect) of all functions of that name, in any schema if that is "". */
bool catalog_function(struct catalog *c, const char *schema, const char *name, uint16_t *effects_r);
/* What of the application's own a statement may use without a call that shows it. */
enum catalog_own_kind {
    CATALOG_OWN_ANYWHERE, /* any statement may: it has no name */
    CATALOG_OWN_NAME,     /* an operator, a type, a function of a row: where the name stands in the text */
    CATALOG_OWN_FUNCTION  /* has a name of PostgreSQL's, and may do more than what that one does */
};
struct catalog_own {
    enum catalog_own_kind kind;
    const char *name;
    uint16_t effects; /* enum effect */
};
/* False: not loaded. */
bool catalog_own(const struct catalog *c, const struct catalog_own **items_r, size_t *n_r);
/* Custom variables that functions known here set; NULL past the end. Never forgotten, as servers do not either. */
const char *catalog_custom_name(const struct catalog *c, size_t i);

/* Loading one relation: the SQL to run on a shard that has it, then its rows, then finish. */
/* The shard to ask (index in db->shards): the relation's own, else home. */
unsigned catalog_load_shard(const struct database_def *db, const char *schema, const char *name);
/* SQL with everything qualified by pg_catalog, one result set of text columns; relation names quoted as
 * literals. */
void catalog_load_sql(const struct database_def *db, const char *schema, const char *name, struct buf *sql);
/* The same for a function, on the home shard: NULL context. */
void catalog_function_sql(const char *schema, const char *name, struct buf *sql);
/* The same for what is the application's own. */
void catalog_own_sql(struct buf *sql);
struct catalog_load *catalog_load_begin_own(struct catalog *c);
struct catalog_load *catalog_load_begin_function(struct catalog *c, const char *schema, const char *name);
/* Rows come in the order of the result. Refuses (0A000) an unqualified name that might mean another table on
   another shard: a search_path with several schemas and a single(...) table of that name. */
struct catalog_load;
struct catalog_load *catalog_load_begin(struct catalog *c, const char *context, const char *schema,
                                        const char *name);
enum status catalog_load_row(struct catalog_load *l, const struct slice *values, size_t n,
                             struct error *error_r) MUST_CHECK;
/* stores it; if another load was first, gives that one's; of a function, of the application's own: NULL */
struct catalog_relation *catalog_load_finish(struct catalog_load **l);
void catalog_load_abort(struct catalog_load **l);

#endif
