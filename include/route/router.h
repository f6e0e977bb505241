/*
 * Makes plans (slow: parses), and finds the shards of one execution (fast: hashes).
 */
#ifndef PGUNISON_ROUTE_ROUTER_H
#define PGUNISON_ROUTE_ROUTER_H

#include "route/bucket_map.h"
#include "route/plan.h"
#include "sql/template.h"

/* What the router knows of a relation. Whoever fills it (backend/catalog.h through the session) keeps it
 * alive as long as plans made with it. */
struct table_column {
    const char *name;
    uint32_t type_oid;      /* of a domain: the base type's */
    uint32_t collation_oid; /* 0: none */
    bool c_collation;       /* sorts by bytes (C, POSIX, or the database's default is C) */
    bool deterministic;
    bool has_default;      /* or identity, or generated */
    bool constant_default; /* has_default, and it is the same on every shard: immutable; unknown: false */
    bool not_null;
    /* GENERATED ALWAYS AS (...) STORED: not among the columns of a COPY without a list */
    bool generated;
};
struct table_info {
    const char *schema, *name;
    bool exists;
    char relkind; /* pg_class.relkind */
    bool temporary;
    /* a view or materialized view: a sharded table that it reads, directly or not; NULL: none */
    const char *view_of;
    /* the same for a reference table: such a view may be read on one shard, not written through */
    const char *view_of_reference;
    struct table_column *columns; /* in attribute order, dropped ones left out */
    uint16_t n_columns;
    const struct table_map *map; /* NULL: not listed, lives on the home shard */
    struct bucket_map *buckets;  /* HASH/RANGE/LIST with an existing table; NULL otherwise */
    struct error map_error;      /* why buckets could not be made: sqlstate[0] == 0: fine */
    /* enum effect of the code behind it: views, policies; with triggers, defaults, checks, rules */
    uint16_t effects_read, effects_written;
};

/* What of the application's own a statement may use without a call that shows it. */
enum own_kind {
    OWN_END,      /* there are no more */
    OWN_UNKNOWN,  /* not known yet; noted, as with relations */
    OWN_ANYWHERE, /* any statement may use it */
    OWN_NAME,     /* those in whose text the name stands */
    OWN_FUNCTION  /* a call by this name, one of PostgreSQL's, may mean another function that does more */
};
struct own_code {
    const char *name;
    uint16_t effects; /* enum effect */
};

struct router_input {
    const struct database_def *db;
    /* Looks a relation up by schema ("" if unqualified) and name. NULL: not known yet, and the name has been
       noted: the router gives up with ROUTER_NEEDS_CATALOG, the session loads it and asks again. */
    const struct table_info *(*table)(void *arg, const char *schema, const char *name);
    /* The same for what functions that are not built in may leave in a session (enum effect): false: not known yet.
       NULL: they may leave anything. */
    bool (*function)(void *arg, const char *schema, const char *name, uint16_t *effects_r);
    /* The i-th of what is the application's own. NULL: there is nothing. */
    enum own_kind (*own)(void *arg, size_t i, struct own_code *own_r);
    void *arg;
    uint32_t n_param_types;
    const uint32_t *param_types; /* from Parse; 0: unspecified */
    /* Routing by hand for every statement, as SET pgunison.shard and pgunison.key leave it: "shard=s1" or
       "key=42"; empty: none. A hint comment in the statement goes before it. Both are part of what a plan
       depends on: fold them into the plan cache's context. */
    struct slice routing;
    bool client_two_phase; /* the setting: clients may prepare transactions themselves */
    bool no_hints;         /* routing_hints = off: statements with hints are refused */
};
enum router_result { ROUTER_OK, ROUTER_NEEDS_CATALOG, ROUTER_ERROR /* syntax error and the like: error_r */ };

/* t has been lexed from one statement (t->several: 42601). *plan_r from malloc, for plan_destroy(). */
enum router_result router_plan(const struct router_input *in, const struct template *t, struct plan **plan_r,
                               struct error *error_r);

/* Parameters of one execution, as Bind carries them. */
struct route_params {
    uint32_t n;
    void (*get)(const void *arg, uint32_t i, struct slice *value_r, int16_t *format_r, uint32_t *type_oid_r);
    const void *arg;
};
/* The shards of one execution; bucket_r: the one bucket if there is exactly one, else -1. For SPLIT,
   row_shards (room for n_rows) gets each row's shard when given. A key that is NULL: reads and updates get
   any one shard (no row can match), inserts the error 23502. */
enum status route_resolve(const struct plan *plan, const struct database_def *db, const struct template *t,
                          const struct route_params *params, struct shard_set *shards_r, int32_t *bucket_r,
                          uint8_t *row_shards, struct error *error_r) MUST_CHECK;
/* The integer that a LIMIT or OFFSET reference gives in this execution; -1: NULL (no limit). */
enum status route_limit_value(const struct key_ref *ref, const struct template *t,
                              const struct route_params *params, int64_t *v_r,
                              struct error *error_r) MUST_CHECK;
/* The text for one shard of a SPLIT, with its rows alone, piece by piece. */
void route_split_pieces(const struct plan *plan, const struct template *t, const uint8_t *row_shards,
                        unsigned shard, const struct text_sink *sink);

/* EXPLAIN (ROUTE): rows of (step, kind, shards, key, bucket, merge, commit, why); route/explain.c. */
struct explain_sink {
    void (*row)(void *arg, const char *const *values /* NULL: SQL NULL */);
    void *arg;
};
extern const char *const explain_columns[];
extern const int explain_n_columns;
void route_explain(const struct plan *plan, const struct database_def *db, const struct template *t,
                   const struct route_params *params, const struct explain_sink *sink);

#endif
