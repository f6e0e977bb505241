/*
 * What is known of a relation of the shards: backend/catalog.h loads it, the router plans with it. A relation and its texts
 * belong to the catalog that loaded it, and live as long as that one says.
 */
#ifndef PGUNISON_MODEL_RELATION_H
#define PGUNISON_MODEL_RELATION_H

#include "base/error.h"
#include "conf/topology.h"

struct relation_column {
    const char *name;
    uint32_t type_oid;      /* of a domain: the base type's */
    uint32_t collation_oid; /* 0: none */
    int32_t typmod;         /* pg_attribute.atttypmod; of a domain: the domain's */
    bool c_collation;       /* sorts by bytes (C, POSIX, or the database's default is C) */
    bool deterministic;
    bool has_default;      /* or identity, or generated */
    bool constant_default; /* has_default, and it is the same on every shard: immutable; unknown: false */
    bool not_null;
    /* GENERATED ALWAYS AS (...) STORED: not among the columns of a COPY without a list */
    bool generated;
};

struct bucket_map; /* route/bucket_map.h */

struct relation {
    const char *schema, *name; /* as found; as asked when it does not exist */
    bool exists, temporary;
    char relkind; /* pg_class.relkind */
    /* "schema.name" of a listed, sharded table that a view reads, directly or through other views; NULL: none */
    const char *view_of;
    /* the same for a reference table: such a view may be read on one shard, not written through */
    const char *view_of_reference;
    /* NULL: not listed, lives on the home shard. Wildcard applied; an index has its table's; a partition (or inheritance
       child) that is not listed has its nearest listed ancestor's. Of a relation that does not exist: by the schema in
       which it would be created. */
    const struct table_map *map;
    struct relation_column *columns; /* in attribute order, dropped ones left out; an index has its table's */
    uint16_t n_columns;
    /* enum effect of the code behind it: views, policies; with triggers, defaults, checks, rules */
    uint16_t effects_read, effects_written;
    /* Derived from it and its map by bucket_map_place(), and freed by bucket_map_unplace(). */
    bool placed;
    struct bucket_map *buckets; /* HASH, RANGE, LIST with an existing table; NULL otherwise */
    struct error *map_error;    /* why buckets could not be made; NULL: none */
};

/* NULL: it has no such column, or r is NULL. *index_r (may be NULL): its place in `columns`. */
const struct relation_column *relation_column(const struct relation *r, const char *name, uint32_t *index_r);

/* What of the application's own a statement may use without a call that shows it. */
enum own_kind {
    OWN_ANYWHERE, /* any statement may use it: it has no name */
    OWN_NAME,     /* an operator, a type, a function of a row: those in whose text the name stands */
    OWN_FUNCTION  /* a call by this name, one of PostgreSQL's, may mean another function that does more */
};
struct own_code {
    enum own_kind kind;
    const char *name;
    uint16_t effects; /* enum effect */
};

#endif
