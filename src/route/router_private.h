/*
 * Inside the router (src/route/router*.c). One router_plan() call, in this order:
 *
 *   bind     router_bind.c     names to relations: blocks, leaves, terms, and the equalities that each WHERE and ON
 *                              states
 *   flow     router_flow.c     which equalities hold for the rows of each leaf that can matter; the keys that pin it
 *   scatter  router_scatter.c  whether each shard can compute its part of a block alone
 *   decide   router.c, router_query.c, router_write.c, router_ddl.c and others: the plan
 *
 * A leaf is one occurrence of a relation. A term is a column of a leaf (or of a derived table whose columns
 * are not simply those of a leaf). Equalities are strict: they are true only if both sides are not NULL.
 */
#ifndef PGUNISON_SRC_ROUTE_ROUTER_PRIVATE_H
#define PGUNISON_SRC_ROUTE_ROUTER_PRIVATE_H

#include "route/hash.h"
#include "route/router.h"
#include "sql/parse.h"

#define ROUTER_MAX_LEAVES  1000  /* occurrences of relations; CTEs count once a reference */
#define ROUTER_MAX_NODES   10000 /* entries of FROM, counted alike */
#define ROUTER_MAX_COLUMNS 1664  /* of a select list, as in the server (MaxTupleAttributeNumber) */

enum place {
    PLACE_HOME,
    PLACE_SINGLE,
    PLACE_REFERENCE,
    PLACE_KEYED,
    PLACE_DERIVED /* no relation: a term's owner only */
};

struct eqset;
struct leaf {
    enum place place;
    const struct sql_relation *relation;
    const struct relation *info; /* NULL: a system catalog, or DERIVED */
    const struct table_map *map; /* NULL: unlisted */
    const char *key;             /* KEYED: the key column */
    uint32_t key_type;
    bool written;
    struct eqset *env;          /* what holds for its rows that matter */
    const struct key_ref *pins; /* the keys they can have; leaves of one class have the same list */
    uint32_t n_pins;
    bool pinned;
};

struct term {
    const struct leaf *leaf; /* NULL: unknown */
    const char *column;
    uint32_t type_oid; /* 0: unknown */
};

/* A list of values, or two such lists, one behind the other. */
struct values {
    uint32_t n;
    uint64_t weight;             /* the smaller, the better a list says where to look */
    const struct key_ref *first; /* NULL: there is none */
    const struct key_ref *list;  /* NULL: not put together yet */
    struct values *left, *right;
};

/* term = other, or term = one of values */
struct eq {
    struct eq *next;
    struct term a, b; /* b.leaf NULL: values */
    struct values *values;
    uint32_t number; /* in the order in which they were stated */
};

/* What holds: equalities of its own, and those of other sets. */
struct eqset {
    struct eq *eqs;
    struct eqset *base; /* what holds outside; NULL: nothing */
    struct eqset *parts[3];
    struct classes *classes; /* made when first asked for */
    uint32_t seen;           /* the last walk that was here */
};

struct output {
    const char *name; /* NULL: unknown or none */
    struct term term;
    bool is_value; /* a literal or parameter: value */
    struct key_ref value;
};

struct block;
struct bound_cte {
    const struct sql_cte *cte;
    struct bound_cte *next;    /* outward */
    struct bound_cte *visible; /* to its own query */
    struct scope *scope;       /* its query's outer scope */
    bool recursive, writes;
    bool binding;        /* its query is just being bound: a reference is to itself */
    struct block *block; /* the one of a writing CTE; else the latest */
    uint32_t n_references;
};

struct from_node {
    const struct sql_from *from;
    struct leaf *leaf;   /* TABLE; a derived table's own leaf when its columns are not passed through */
    struct block *block; /* QUERY, or a CTE; NULL: none, or a recursive reference */
    bool own_block;      /* the block is flowed from here (not a writing CTE's) */
    bool recursive;      /* a recursive CTE, or its reference to itself */
    struct from_node *left, *right;
    uint32_t position;             /* among its block's nodes */
    struct from_node *next_called; /* of the same name, in the same block */
    struct eqset *on;              /* JOIN */
    struct output *outputs;        /* of a block or function: renamed by the alias */
    uint32_t n_outputs;
    bool outputs_known;
    /* flow */
    struct eqset *valid; /* holds for every row that comes out */
    struct eqset *env;
    struct eqset *pairs; /* JOIN: holds for every pair that matches */
};

/* USING (c): what the bare name c means. */
struct merged_column {
    struct merged_column *next;
    const char *name;
    struct term term;
};

struct scope {
    struct scope *outer;
    struct from_node **nodes; /* tables, queries and functions, no joins */
    uint32_t n_nodes, cap_nodes;
    struct merged_column *merged;
    const struct merged_column *merged_end; /* where the list ends for this scope */
    bool opaque; /* bare names are not certain: NATURAL RIGHT JOIN of unknown columns and the like */
    struct callers *callers; /* shared by the scopes of a block's joins; NULL: none yet */
    uint32_t first;          /* the number among the block's nodes of this scope's first one */
    struct name_memo *memo;
};

struct sublink {
    struct sublink *next;
    struct block *block;
    const struct sql_expr *expr;
    const struct from_node *join; /* it stands in this join's ON; NULL: elsewhere */
    struct eqset *extra;          /* term IN (SELECT term): when false means no row */
};

struct block {
    const struct sql_query *query;
    struct scope scope;
    struct leaf *target; /* of INSERT, UPDATE, DELETE, MERGE */
    struct from_node *target_node;
    struct from_node **from;
    uint32_t n_from;
    struct eqset *where;
    struct output *outputs;
    uint32_t n_outputs, cap_outputs;
    bool outputs_known;
    struct sublink *sublinks;
    struct block *left, *right; /* SETOP */
    struct block *source;       /* INSERT */
    uint32_t insert_key; /* INSERT into a KEYED table: the key's position in its rows; UINT32_MAX: not among
                            them */
    bool passes_through; /* its outputs are terms of its own leaves, and filters on them may be applied inside
                          */
    bool has_aggregates; /* aggregates, or functions that may be */
    bool has_windows;
    struct eqset *valid, *env;
};

/* Where rows of a result live: each row is on the shard of term's value, which is of leaf's kind of key. A tree: two such,
 * or one. */
struct located {
    const struct located *left, *right; /* NULL: one */
    struct term term;
    const struct leaf *leaf;
    bool firm; /* term is never NULL because of an outer join; of two: those below are as firm as they say */
};
struct parts {
    bool sharded;    /* reads KEYED tables */
    bool unstable;   /* not sharded, but shards may each come to another result: LIMIT */
    const char *why; /* NULL: the parts of the shards, put together, are the result */
    const char *hint;
    const struct located *located;
};

struct text_edit {
    uint32_t at, len; /* in the statement */
    uint32_t number;  /* edits at one place stay in the order they came in */
    struct slice insert;
};

struct router {
    const struct router_input *in;
    const struct template *t;
    const struct sql_statement *stmt;
    struct sql_expr **functions; /* the statement's calls; once it is bound, those written as columns too */
    uint32_t n_functions;
    bool attributes_seen;
    struct arena *arena; /* of this call */
    struct plan *plan;
    struct arena *keep; /* the plan's */
    bool needs_catalog;
    uint16_t own_effects; /* of what is the application's own, operators and the like: router_own.c */
    bool too_many, too_deep, too_complex; /* the plan is a refusal, whatever else comes of it */
    size_t stack_floor;                   /* names are not bound below this */
    bool merge_beyond_limits;             /* plan_merge() says no because of a limit */
    uint64_t effort, effort_limit;
    uint32_t n_nodes, n_eqs, n_walks;
    const struct leaf *missing; /* a relation that does not exist */
    struct error *map_error;
    const struct leaf *view; /* a view over sharded tables */
    struct leaf **leaves;
    uint32_t n_leaves, cap_leaves;
    struct bound_cte *ctes;
    struct block **cte_blocks; /* writing ones, and those that nothing refers to */
    uint32_t n_cte_blocks, cap_cte_blocks;
    bool writing_cte, current_of;
    bool writes, locks_rows;   /* somewhere in the statement */
    uint32_t *param_good;      /* uses of an untyped parameter that give it the key's type */
    bool *good_uses;           /* per use: has been counted */
    struct sublink **sublinks; /* per sublink of the statement: the latest that was bound of it */
    bool *pinned_literals;     /* NULL: none */
    struct text_edit *edits;
    uint32_t n_edits, cap_edits;
    const struct leaf *first_keyed; /* whose map is plan->map */
};

/* router_plan.c: what every file below puts plans together from. */
/* Counts work that may grow faster than the statement. True: that was enough of it. */
bool router_spend(struct router *r, uint64_t steps);
void *keep_copy(struct router *r, const void *data, size_t n); /* into the plan's arena */
const char *keep_string(struct router *r, const char *s);      /* NULL stays NULL */
void plan_single(struct router *r, const struct shard_set *shards);
void plan_home(struct router *r);
void plan_pin(struct router *r, uint32_t literal);
void finish_pins(struct router *r);        /* to plan->pinned */
bool plan_beyond_limits(struct router *r); /* true: the statement is, and the plan says so */
void plan_refuse(struct router *r, const char *sqlstate, const char *hint, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Fine on one shard, refused on several; a refusal at once if the plan has no keys and several shards. */
void plan_refuse_if_several(struct router *r, const char *hint, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* router_names.c */
bool names_have(const char **names, uint32_t n, const char *name);
void scope_add(struct router *r, struct scope *s, struct from_node *node);
/* 1: found (the term's leaf is NULL if nothing is known of it); 0: this node has no such column; -1: it
 * might. */
int column_of_node(const struct from_node *node, const char *name, struct term *term_r);
struct term term_of_column(const struct leaf *leaf, uint32_t index); /* the relation's column */
bool node_is_called(const struct from_node *node, const struct sql_expr *e);
bool leaf_has_column(const struct leaf *leaf, const char *name); /* surely */

/* router_bind.c */
struct block *bind_query(struct router *r, const struct sql_query *query, struct scope *outer);
struct leaf *bind_relation(struct router *r, const struct sql_relation *relation);
bool resolve_column(struct router *r, const struct sql_expr *e, const struct scope *scope,
                    struct term *term_r);
const char *output_name(const struct sql_expr *e); /* as the server names a column; NULL: not known here */

/* router_equal.c: equalities of conditions. */
struct eqset *eqset_new(struct router *r);
void eqset_add(struct router *r, struct eqset *set, struct term a, struct term b);
void eqset_add_values(struct router *r, struct eqset *set, struct term a, struct values *values);
struct values *values_of(struct router *r, const struct key_ref *list, uint32_t n); /* the list is kept */
const struct key_ref *values_list(struct router *r, struct values *v);              /* v->n of them */
void collect_equalities(struct router *r, const struct sql_expr *condition, const struct scope *scope,
                        struct eqset *set);
bool constant_of(struct router *r, const struct sql_expr *e, uint32_t column_type, struct key_ref *ref_r);
bool types_agree(uint32_t a, uint32_t b);
bool same_term(const struct term *a, const struct term *b);

/* router_classes.c: what follows from equalities. */
struct term eqset_class(struct router *r, struct eqset *set,
                        struct term t); /* the same term for all that are equal */
const struct eq *eqset_values(struct router *r, struct eqset *set,
                              struct term t); /* the best list that it is in; NULL: none */
/* Terms and their numbers, in the order in which they came. */
struct term_map {
    struct term *terms;
    uint32_t n, cap;
    uint32_t *slots, n_slots;
};
uint32_t term_map_find(const struct term_map *m, const struct term *t); /* UINT32_MAX: not there */
uint32_t term_map_add(struct router *r, struct term_map *m, const struct term *t);

/* router_flow.c */
void flow_statement(struct router *r, struct block *b); /* and its CTEs; then pins */

/* router_scatter.c */
/* top: LIMIT, OFFSET, ORDER BY and ungrouped aggregates are the caller's affair. */
struct parts scatter_block(struct router *r, struct block *b, bool top);
bool leaves_agree(const struct leaf *a, const struct leaf *b); /* equal keys live on one shard */
bool located_has(struct router *r, struct eqset *env, const struct located *l, struct term term,
                 const struct leaf *leaf, bool firm);
bool block_reads_keyed(const struct block *b);

/* router_functions.c */
enum function_class { FUNCTION_IMMUTABLE, FUNCTION_STABLE, FUNCTION_VOLATILE, FUNCTION_UNKNOWN };
enum function_class function_class(const struct sql_expr *call);
void classify_functions(struct block *b);
bool function_reads_only(const struct sql_expr *call);
const char *function_name(const struct sql_expr *call);
bool statement_writes_by_function(const struct router *r, struct plan *plan); /* and what else they do */
bool statement_calls_unknown(const struct router *r); /* functions that are not built in */
const char *
statement_not_immutable(const struct router *r); /* the function to blame; NULL: all is immutable */
const char *
statement_home_function(const struct router *r); /* sequences, advisory locks: state of the home shard */

/* router_place.c */
void table_shards(const struct database_def *db, const struct table_map *map, struct shard_set *shards_r);
bool plan_obstacles(struct router *r); /* true: unknown relations, broken maps, views: the plan is made */
/* Keys and shards of all KEYED leaves; all_pinned_r: each has keys, so plan->keys are set. True: surely one
 * shard, which is planned. */
bool plan_keys(struct router *r, bool *all_pinned_r);
struct census {
    uint32_t keyed, reference, reference_written;
    struct shard_set fixed; /* of home and single tables */
    const struct leaf *a_keyed, *a_fixed, *a_reference;
};
void take_census(const struct router *r, struct census *c_r);
const char *leaf_name(const struct leaf *leaf);

/* router.c */
void plan_statement(struct router *r, const struct sql_statement *stmt);
/* router_hint.c: routing by hand. What the hint does to the plan that was made without it. */
bool has_hint(const struct router *r);
void hint_query(struct router *r);
void hint_copy(struct router *r, bool from);
void hint_code(struct router *r); /* there is a hint: makes the plan */
/* shards: of the table that is made; there is a hint */
void hint_create_as(struct router *r, const struct shard_set *shards, bool temporary);
void hint_ddl(struct router *r, const struct sql_statement *stmt);
/* router_config.c: SELECT set_config(...); true: the plan is made. */
bool plan_set_config(struct router *r, const struct sql_query *q);
/* router_copy.c, router_ddl.c */
void plan_copy(struct router *r, const struct sql_statement *stmt);
void plan_ddl(struct router *r, const struct sql_statement *stmt);
void plan_create_as(struct router *r, const struct sql_statement *stmt);

/* router_query.c */
void plan_query(struct router *r, struct block *b); /* bound and flowed */
struct block *
bind_statement(struct router *r,
               const struct sql_query *query); /* NULL: a plan, or the wish for the catalog, is made */

/* router_write.c */
struct key_state {
    bool all_pinned, one_shard; /* of plan_keys() */
};
/* Reference tables that a write to one of them names: plan->copies. adds_only: it reads none of their rows. */
void plan_lock_copies(struct router *r, bool adds_only);
void plan_write(struct router *r, struct block *b, const struct census *c, struct key_state keys);
bool refuse_key_assignments(struct router *r, struct block *b);

/* router_text.c: the clauses of a top-level SELECT in the statement's text, as token numbers; UINT32_MAX: not
 * there. */
struct clauses {
    struct sql_tokens tokens;
    uint32_t select, from, order, limit, offset, fetch, locking, end;
};
bool find_clauses(struct router *r, struct clauses *c_r);
/* The sort expressions: tokens [from, to) of each; false if there are not exactly n. */
struct token_span {
    uint32_t from, to;
};
bool find_sort_items(const struct clauses *c, struct token_span *items, uint32_t n);
uint32_t clause_end(const struct clauses *c, uint32_t clause);
bool find_call(const struct clauses *c, int32_t at, uint32_t *name_r, uint32_t *open_r, uint32_t *close_r,
               uint32_t *end_r);
void edit_text(struct router *r, uint32_t at, uint32_t len,
               struct slice insert); /* insert: kept by the caller in the plan's arena */
/* Text of tokens [from, to) as it stands, its literals pinned. */
struct slice token_text(struct router *r, const struct clauses *c, struct token_span span);
void finish_edits(struct router *r); /* to plan->rewrite */

/* router_effects.c: plan->effects, when the statement is planned. */
void plan_effects(struct router *r, const struct sql_statement *stmt);
/* What the statement reads, or uses of the application's own, has code behind it that may write. When it is bound. */
bool code_writes(const struct router *r);

/* router_attributes.c: adds to r->functions what is written as a column and may be a call. When the statement is bound. */
void plan_attributes(struct router *r);
/* router_own.c: before anything is asked about functions. */
bool own_bears_name(const struct router *r, const char *name); /* a function of the application's bears it */
void plan_own(struct router *r, const struct sql_statement *stmt);

/* router_limit.c */
bool plan_limit(struct router *r, const struct sql_query *q, const struct clauses *c, const char **why_r,
                const char **hint_r);

/* router_merge.c: fills plan->merge and plan->rewrite; false: why_r and hint_r say what cannot be merged. */
bool plan_merge(struct router *r, struct block *b, const char **why_r, const char **hint_r);

#endif
