/*
 * What is to be done with a statement. Immutable; lives in the worker's plan cache; made by route/router.h.
 * A plan holds for every statement of its template (pinned literals aside); route_resolve() finds the shards
 * of one execution.
 */
#ifndef PGUNISON_ROUTE_PLAN_H
#define PGUNISON_ROUTE_PLAN_H

#include "base/arena.h"
#include "base/bitset.h"
#include "conf/topology.h"
#include "sql/rewrite.h"
#include "sql/statement.h"

/* What the session does with the statement. */
enum plan_verb {
    VERB_EMPTY,    /* no statement at all */
    VERB_QUERY,    /* anything that runs on shards and needs no more than that */
    VERB_COPY_IN,  /* COPY ... FROM STDIN: plan->copy says how to split when several shards may get rows */
    VERB_COPY_OUT, /* COPY ... TO STDOUT */
    VERB_BEGIN,    /* BEGIN, START TRANSACTION: plan->modes */
    VERB_COMMIT,   /* COMMIT, END; plan->chain */
    VERB_ROLLBACK, /* ROLLBACK, ABORT; plan->chain */
    VERB_PREPARE_TRANSACTION, /* of the client's own, with client_two_phase */
    VERB_SAVEPOINT,           /* plan->name, folded; so in the next two */
    VERB_RELEASE,
    VERB_ROLLBACK_TO,
    VERB_SET_TRANSACTION, /* SET TRANSACTION, plan->modes; the client's text runs on every participant and is
                             replayed for later ones */
    VERB_SET, /* SET name = ..., not LOCAL: plan->name (folded), plan->value_default when SET .. TO DEFAULT or
                 RESET name; name NULL: SET SESSION CHARACTERISTICS, plan->modes */
    VERB_SET_LOCAL,
    VERB_RESET_ALL,    /* RESET ALL */
    VERB_DISCARD_ALL,  /* DISCARD ALL */
    VERB_SHOW,         /* SHOW name: home shard, or the proxy itself for pgunison.* */
    VERB_SET_CONFIG,   /* SELECT set_config(...), ... alone, with values that are known: plan->configs */
    VERB_SET_PGUNISON, /* SET [LOCAL] pgunison.name = plan->value: routing by hand; plan->local */
    VERB_DECLARE_CURSOR,
    VERB_FETCH,         /* FETCH, MOVE: plan->name */
    VERB_CLOSE_CURSOR,  /* plan->name; NULL: CLOSE ALL */
    VERB_DEALLOCATE,    /* plan->name; NULL: ALL. Statements that this client prepared by the protocol */
    VERB_EXPLAIN_ROUTE, /* EXPLAIN (ROUTE) statement: plan->inner_from and inner_to are its span */
    VERB_PER_SHARD      /* cannot run in a transaction block: VACUUM, CREATE INDEX CONCURRENTLY, ...: plain
                           autocommit on each shard in turn */
};

enum plan_kind {
    PLAN_LOCAL,     /* no shard needed (BEGIN and so on) */
    PLAN_SINGLE,    /* exactly one shard, by keys or `fixed`: the text is sent as it came */
    PLAN_SCATTER,   /* reads several shards: plan->merge */
    PLAN_BROADCAST, /* runs the same text on several shards: counts are summed unless tag_of_one */
    PLAN_SPLIT,     /* INSERT ... VALUES with rows for several shards: plan->split */
    PLAN_REFUSE     /* plan->refusal */
};

enum key_source {
    KEY_LITERAL,
    KEY_PARAM,
    KEY_PARAM_ARRAY /* = ANY($1) */,
    KEY_LITERAL_ARRAY /* = ANY('{1,2}') */,
    KEY_NULL,
    KEY_TRUE,
    KEY_FALSE
};
struct key_ref {
    uint8_t source;    /* enum key_source */
    bool negate;       /* -literal */
    uint32_t index;    /* literal's number in the template, or parameter number - 1 */
    uint32_t type_oid; /* type that a cast gives it, 0: as the column; of arrays: the elements' */
    /* PARAM: no type was given, and the server may have found another than the column's: only text format is
     * read */
    bool untyped;
    uint8_t map; /* 0: plan->map; else plan->more_maps[map - 1] */
};

enum aggregate_func { AGG_COUNT, AGG_SUM, AGG_MIN, AGG_MAX, AGG_AVG, AGG_BOOL_AND, AGG_BOOL_OR };
struct merge_aggregate {
    uint8_t func;          /* enum aggregate_func */
    uint16_t shard_column; /* column of the shards' row; AVG: the sum, the count is shard_column + 1 */
    const char *name;      /* output column name, as the server would name it */
    bool c_collated;       /* MIN, MAX: as in merge_sort_key */
    const char *collation; /* MIN, MAX: the argument's collation as COLLATE takes it: pg_catalog."C",
                              pg_catalog."default"; NULL: not known, then character types are refused when the
                              shards describe them */
};
struct merge_sort_key {
    uint16_t column; /* of the shards' rows, 0-based */
    bool descending, nulls_first;
    /* known to be sorted by bytes (COLLATE "C", or the column's collation is C/POSIX); text types need it */
    bool c_collated;
};
struct merge_spec {
    struct merge_sort_key *sort;
    uint16_t n_sort;
    /* of the shards' rows, when sort keys count on it (another number means that the catalog was stale); 0:
     * any */
    uint16_t n_columns;
    /* trailing columns of the shards' rows that the client must not see (sort keys not in its list) */
    uint16_t n_hidden;
    struct merge_aggregate *aggregates; /* every output column, when it is an ungrouped aggregate query */
    uint16_t n_aggregates;
    bool has_limit, has_offset;
    /* for route_limit_value(): LITERAL, PARAM, or TRUE, which is 1 (FETCH FIRST ROW ONLY); a NULL or missing
     * limit: all. The shards' text already asks for limit + offset rows */
    struct key_ref limit, offset;
};

struct split_row {
    uint32_t from, to; /* span "( ... )" in the template's text */
    struct key_ref key;
};
struct split_spec {
    struct split_row *rows;
    uint32_t n_rows;
    uint32_t list_from, list_to; /* span of all the rows with their commas */
};

enum copy_format { COPY_TEXT, COPY_CSV, COPY_BINARY };
struct copy_spec {
    uint8_t format; /* enum copy_format */
    uint8_t delimiter, quote, escape;
    const char *null_string;
    bool header;         /* HEADER on (CSV and text) */
    uint16_t n_columns;  /* in a row */
    uint16_t key_column; /* 0-based position of the key in a row */
    bool key_force_null, key_force_not_null;
    bool replicate; /* reference table: every row goes to every shard */
};

/* A call of set_config(name, value, is_local). */
enum config_source { CONFIG_TEXT, CONFIG_NULL, CONFIG_PARAM };
struct config_arg {
    uint8_t source;   /* enum config_source */
    uint32_t param;   /* PARAM: its number - 1 */
    const char *text; /* TEXT; of is_local: "true" or "false" */
};
struct config_call {
    struct config_arg name, value, local;
    const char *column; /* what the result is called */
};

struct transaction_modes { /* -1: not given */
    int isolation;         /* 0 read uncommitted, 1 read committed, 2 repeatable read, 3 serializable */
    int read_only;
    int deferrable;
};

struct copies_lock { /* of one reference table */
    uint32_t key;    /* of its name */
    bool shared;     /* the table is only read, or rows are only added to it */
};

struct plan {
    enum plan_verb verb;
    /* When the keys of one execution leave one shard only, it runs as SINGLE whatever kind says (but not REFUSE). */
    enum plan_kind kind;
    /* has, or may have, an effect that COMMIT must keep: anything but provably reading (locks taken count) */
    bool writes;
    bool cannot_prepare;       /* temporary table, LISTEN/NOTIFY, WITH HOLD: its shard must decide */
    bool temporary;            /* makes, changes or drops temporary objects by its own words */
    bool names_relations;      /* others than the system's */
    bool sets_config;          /* calls set_config(): a SET that nobody can follow */
    bool changes_catalog;      /* DDL: what is known of relations has to be asked anew afterwards */
    enum sql_role defaults_of; /* EFFECT_DEFAULTS */
    const char *defaults_role; /* SQL_ROLE_NAMED */
    uint16_t effects; /* enum effect: what may be left in the session of its server, or be ended there */
    /* BROADCAST: the command tag of one shard is the answer (DDL, reference tables); else counts are summed
     */
    bool tag_of_one;
    /* A write to a reference table: locks that put such writes in one order on every shard; by key */
    const struct copies_lock *copies;
    uint32_t n_copies;
    /* only reference tables: any one shard of `fixed` does; prefer one that is a participant already */
    bool read_any_shard;
    /* Shards. With keys: each execution's keys name them; without: `fixed`. */
    const struct table_map *table;       /* whose keys; NULL: none */
    const struct bucket_map *map;        /* a reference of the plan's own */
    const struct bucket_map **more_maps; /* the same, of further tables with another kind of key */
    uint8_t n_more_maps;
    /* INSERT: a NULL key, or one that no shard has, is an error; else it only means that no row matches */
    bool stores_keys;
    /* shards = union over keys; for SPLIT the rows' keys are used instead */
    struct key_ref *keys;
    uint32_t n_keys;
    struct shard_set fixed;
    uint16_t by_hand; /* a hint names this shard + 1: keys of another are refused; 0: no hint */
    struct merge_spec merge;
    struct split_spec split;
    struct copy_spec copy;
    bool has_rewrite;
    /* the text for shards when several are asked (SCATTER); has_rewrite false: the client's text */
    struct rewrite rewrite;
    const char *name;  /* savepoint, cursor, variable, statement */
    const char *value; /* VERB_SET_PGUNISON; NULL: DEFAULT */
    bool value_default, local, chain;
    struct transaction_modes modes;
    struct config_call *configs; /* VERB_SET_CONFIG */
    uint32_t n_configs;
    uint32_t inner_from, inner_to; /* EXPLAIN_ROUTE: the inner statement's span in the template text */
    /* REFUSE, and for plans that are refused only when several shards are involved */
    struct error *refusal;
    bool refuse_if_several; /* kind is what to do on one shard; with several, `refusal` */
    const char *why;        /* for EXPLAIN (ROUTE): why it was not cheaper, or NULL */
    const char *command;    /* "SELECT", "INSERT", ... for logs and EXPLAIN */
    uint32_t n_params;      /* highest $n */
    uint32_t *pinned;       /* literals whose values the plan depends on */
    size_t n_pinned;
    void *scope;        /* the session's: what the plan was made with and must outlive it */
    struct arena arena; /* holds all of the above */
};

void plan_destroy(void *plan); /* struct plan * */

#endif
