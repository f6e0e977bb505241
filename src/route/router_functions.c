/*
 * What is known of functions by their names: PostgreSQL's built-in ones (builtin_functions.inc, generated). Any other
 * function may do anything; so may one that is not called by a name of pg_catalog, if the database has a function of that
 * name which may do more than the built-in one (router_own.c).
 */
#include "router_private.h"
#include <stdlib.h>

static const struct builtin {
    const char *name;
    char kind; /* see builtin_functions.sql */
} builtins[] = {
#include "builtin_functions.inc"
};

/* Functions that are about state of one server, which for the whole system is the home shard: sequences,
 * advisory locks, large objects. */
static const char *const home_prefixes[] = {"pg_advisory_", "pg_try_advisory_", "lo_", "pg_logical_emit",
                                            "pg_replication_"};
static const char *const home_names[] = {"nextval", "setval",     "currval",
                                         "lastval", "set_config", "pg_notify",
                                         "loread",  "lowrite",    "pg_export_snapshot",
                                         "setseed"};

const char *function_name(const struct sql_expr *call)
{
    return call->n_names ? call->names[call->n_names - 1] : "";
}

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const struct builtin *)element)->name);
}

/* 0: not built in. */
static char builtin_kind(const struct sql_expr *call)
{
    if (call->n_names == 2 && strcmp(call->names[0], "pg_catalog") != 0)
        return 0;
    if (call->n_names > 2 || call->call.own)
        return 0;
    const struct builtin *b = bsearch(function_name(call), builtins, sizeof(builtins) / sizeof(builtins[0]),
                                      sizeof(builtins[0]), compare_name);
    return b ? b->kind : 0;
}

enum function_class function_class(const struct sql_expr *call)
{
    switch (builtin_kind(call)) {
    case 'a':
    case 'w':
    case 'i':
        return FUNCTION_IMMUTABLE;
    case 's':
        return FUNCTION_STABLE;
    case 'r':
    case 'v':
        return FUNCTION_VOLATILE;
    default:
        return FUNCTION_UNKNOWN;
    }
}

/* A built-in one. */
static bool function_is_aggregate(const struct sql_expr *call)
{
    return !call->call.over && (builtin_kind(call) == 'a' || call->call.star || call->call.distinct ||
                                call->call.ordered || call->call.within_group || call->call.filter);
}

bool function_reads_only(const struct sql_expr *call)
{
    char kind = builtin_kind(call);
    return kind != 0 && kind != 'v';
}

static bool is_home_function(const struct sql_expr *call)
{
    const char *name = function_name(call);
    for (size_t i = 0; i < sizeof(home_prefixes) / sizeof(home_prefixes[0]); i++)
        if (strncmp(name, home_prefixes[i], strlen(home_prefixes[i])) == 0)
            return true;
    for (size_t i = 0; i < sizeof(home_names) / sizeof(home_names[0]); i++)
        if (strcmp(name, home_names[i]) == 0)
            return true;
    return false;
}

const char *statement_home_function(const struct router *r)
{
    for (uint32_t i = 0; i < r->n_functions; i++)
        if (is_home_function(r->functions[i]))
            return function_name(r->functions[i]);
    return NULL;
}

bool statement_writes_by_function(const struct router *r, struct plan *plan)
{
    bool writes = false;
    for (uint32_t i = 0; i < r->n_functions; i++) {
        const struct sql_expr *call = r->functions[i];
        writes |= !function_reads_only(call);
        plan->cannot_prepare |= strcmp(function_name(call), "pg_notify") == 0;
        plan->sets_config |= strcmp(function_name(call), "set_config") == 0;
    }
    return writes;
}

bool statement_calls_unknown(const struct router *r)
{
    for (uint32_t i = 0; i < r->n_functions; i++)
        if (function_class(r->functions[i]) == FUNCTION_UNKNOWN)
            return true;
    return false;
}

const char *statement_not_immutable(const struct router *r)
{
    for (uint32_t i = 0; i < r->n_functions; i++)
        if (function_class(r->functions[i]) != FUNCTION_IMMUTABLE)
            return function_name(r->functions[i]);
    return r->stmt->has_value_function ? "CURRENT_TIMESTAMP" : NULL;
}

/* --- aggregates ------------------------------------------------------------------------------- */

struct calls {
    bool aggregate, window;
    bool maybe;  /* a function that is not built in, without OVER */
    bool column; /* a column outside of such functions and of aggregates */
};

static bool is_aggregate_name(const char *const *name)
{
    const struct sql_expr call = {.kind = SQL_EXPR_FUNCTION, .names = (const char **)name, .n_names = 1};
    return builtin_kind(&call) == 'a';
}

/* A function in FROM may be its bare value, a row has no aggregates' names for columns that it does not have. */
static bool is_column_of(const struct from_node *node, const char *name)
{
    const struct sql_relation *rel = &node->from->relation;
    struct term term;
    if (node->from->kind != SQL_FROM_FUNCTION)
        return column_of_node(node, name, &term) != 0;
    return rel->n_columns > 0 ? names_have(rel->columns, rel->n_columns, name)
                              : rel->alias && strcmp(rel->alias, name) == 0;
}

/* (value).max, x.count: an aggregate, unless it is a field or column of that name. */
static bool is_aggregate_attribute(const struct block *b, const struct sql_expr *e)
{
    if (e->kind == SQL_EXPR_OTHER) {
        for (uint32_t i = 0; i < e->n_names; i++)
            if (is_aggregate_name(&e->names[i]))
                return true;
        return false;
    }
    if (e->kind != SQL_EXPR_COLUMN || e->n_names < 2 || !is_aggregate_name(&e->names[e->n_names - 1]))
        return false;
    for (const struct scope *s = &b->scope; s; s = s->outer)
        for (uint32_t i = 0; i < s->n_nodes; i++)
            if (node_is_called(s->nodes[i], e))
                return !is_column_of(s->nodes[i], e->names[e->n_names - 1]);
    return true;
}

static void look_for_calls(const struct block *b, const struct sql_expr *e, struct calls *c, bool inside)
{
    if (!e)
        return;
    if (is_aggregate_attribute(b, e)) {
        c->aggregate = true;
        return;
    }
    if (e->kind == SQL_EXPR_COLUMN || e->kind == SQL_EXPR_STAR)
        c->column |= !inside;
    if (e->kind == SQL_EXPR_FUNCTION) {
        bool unknown = builtin_kind(e) == 0 && !e->call.over;
        c->window |= e->call.over;
        c->aggregate |= function_is_aggregate(e);
        c->maybe |= unknown;
        inside |= unknown || function_is_aggregate(e);
    }
    for (uint32_t i = 0; i < e->n_args; i++)
        look_for_calls(b, e->args[i], c, inside);
}

/* A function that nobody knows may be an aggregate, unless a bare column stands beside it: without GROUP BY
 * the server would refuse that. */
void classify_functions(struct block *b)
{
    const struct sql_query *q = b->query;
    struct calls c = {0};
    for (uint32_t i = 0; i < q->n_targets; i++)
        look_for_calls(b, q->targets[i].value, &c, false);
    for (uint32_t i = 0; i < q->n_sort; i++)
        look_for_calls(b, q->sort[i].expr, &c, false);
    for (uint32_t i = 0; i < q->n_distinct_on; i++)
        look_for_calls(b, q->distinct_on[i], &c, false);
    bool column = c.column;
    look_for_calls(b, q->having, &c, false);
    b->has_aggregates = c.aggregate || q->having || (c.maybe && !column);
    b->has_windows = c.window;
}
