/*
 * Attribute notation: (value).name calls the one-argument function of that name where the value has no such field, and so
 * does x.name where x in FROM has no such column.
 *
 * Types are not known here, so what may be a call counts as one if there is a function of that name that could do anything:
 * one of PostgreSQL's that is volatile, or one of the application's of whose code the catalog says so. Names of fields cost
 * a question to the catalog each, once.
 *
 * x.name has few meanings. Rows have functions of the application's only, whose names count wherever they stand
 * (router_own.c), or PostgreSQL's that a cast leads to. A function in FROM may be its bare value.
 */
#include "router_private.h"

#include "sql/effects.h"

static bool is_called(const struct sql_relation *rel, const char *name)
{
    return strcmp(rel->alias ? rel->alias : rel->name ? rel->name : "", name) == 0;
}

/* Of all tables and views that are called so, in whatever part of the statement. */
static bool is_column_of_leaves(struct router *r, const char *of, const char *name)
{
    bool any = false;
    for (uint32_t i = 0; i < r->n_leaves && !router_spend(r, 1); i++) {
        if (!is_called(r->leaves[i]->relation, of))
            continue;
        if (!leaf_has_column(r->leaves[i], name))
            return false;
        any = true;
    }
    return any;
}

/* The function that a function in FROM is called by; NULL: something else, which has a name of the grammar's. */
static const char *called_by(const struct sql_expr *e)
{
    while (e && e->kind == SQL_EXPR_OTHER && e->n_args > 0 && e->text &&
           (strcmp(e->text, "RangeFunction") == 0 || strcmp(e->text, "List") == 0))
        e = e->args[0];
    return e && e->kind == SQL_EXPR_FUNCTION ? function_name(e) : NULL;
}

static bool may_be_value(struct router *r, const char *of, const char *name)
{
    const struct sql_statement *s = r->stmt;
    for (uint32_t i = 0; i < s->n_from_functions && !router_spend(r, 1); i++) {
        const struct sql_relation *rel = &s->from_functions[i]->relation;
        const char *called = rel->alias ? rel->alias : called_by(s->from_functions[i]->expr);
        bool is_column =
            rel->n_columns ? names_have(rel->columns, rel->n_columns, name) : strcmp(of, name) == 0;
        if ((!called || strcmp(called, of) == 0) && !is_column)
            return true;
    }
    return false;
}

static bool may_call(struct router *r, const struct sql_expr *e, struct sql_expr *call, bool column)
{
    const char *name = function_name(call);
    bool builtin = effects_of_builtin(name) != 0 ||
                   (function_class(call) == FUNCTION_VOLATILE && !function_reads_only(call));
    uint16_t effects = 0;
    if (column) {
        const char *of = e->names[e->n_names - 2];
        bool value = may_be_value(r, of, name);
        if (!value && (!builtin || is_column_of_leaves(r, of, name)))
            return false;
    }
    if (builtin)
        return true;
    call->call.own = own_bears_name(r, name);
    if (function_class(call) != FUNCTION_UNKNOWN || !r->in->function)
        return false;
    if (!r->in->function(r->in->arg, "", name, &effects))
        r->needs_catalog = true;
    return effects != 0;
}

static void add_call(struct router *r, const struct sql_expr *call)
{
    if (r->functions == r->stmt->functions || (r->n_functions & (r->n_functions - 1)) == 0) {
        struct sql_expr **grown = arena_alloc(r->arena, (2 * r->n_functions + 1) * sizeof(struct sql_expr *));
        if (r->n_functions)
            memcpy(grown, r->functions, r->n_functions * sizeof(struct sql_expr *));
        r->functions = grown;
    }
    struct sql_expr *kept = arena_alloc(r->arena, sizeof(*kept));
    *kept = *call;
    r->functions[r->n_functions++] = kept;
}

void plan_attributes(struct router *r)
{
    const struct sql_statement *s = r->stmt;
    if (r->attributes_seen)
        return;
    r->attributes_seen = true;
    for (uint32_t i = 0; i < s->n_attributes && !router_spend(r, 1); i++) {
        const struct sql_expr *e = s->attributes[i];
        bool column = e->kind == SQL_EXPR_COLUMN;
        for (uint32_t k = column ? e->n_names - 1 : 0; k < e->n_names; k++) {
            struct sql_expr call = {
                .kind = SQL_EXPR_FUNCTION, .at = e->at, .names = &e->names[k], .n_names = 1};
            if (may_call(r, e, &call, column))
                add_call(r, &call);
        }
    }
}
