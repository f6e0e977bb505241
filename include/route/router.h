/*
 * Makes plans (slow: parses), and finds the shards of one execution (fast: hashes).
 */
#ifndef PGUNISON_ROUTE_ROUTER_H
#define PGUNISON_ROUTE_ROUTER_H

#include "model/relation.h"
#include "route/bucket_map.h"
#include "route/plan.h"
#include "sql/template.h"

struct router_input {
    const struct database_def *db;
    /* Looks a relation up by schema ("" if unqualified) and name. NULL: not known yet, and the name has been
       noted: the router gives up with ROUTER_NEEDS_CATALOG, the session loads it and asks again. Whoever has it keeps it alive
       as long as plans made with it. */
    const struct relation *(*relation)(void *arg, const char *schema, const char *name);
    /* The same for what functions that are not built in may leave in a session (enum effect): false: not known yet.
       NULL: they may leave anything. */
    bool (*function)(void *arg, const char *schema, const char *name, uint16_t *effects_r);
    /* What is the application's own: false: not known yet; noted, as with relations. NULL: there is nothing. */
    bool (*own)(void *arg, const struct own_code **items_r, size_t *n_r);
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
