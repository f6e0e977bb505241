/*
 * SELECT set_config(name, value, is_local), ...: a SET in the shape of a query. It is one when calls of the function are
 * all that there is, and their arguments are constants or parameters; then the session follows it. Anywhere else
 * (a value from a table, a condition, another function around it) nobody knows what it does.
 */
#include "router_private.h"

enum { OID_BOOL = 16, OID_TEXT = 25, OID_UNKNOWN = 705, OID_VARCHAR = 1043 };

static bool is_bare(const struct sql_query *q)
{
    return q->kind == SQL_SELECT && q->n_targets > 0 && !q->n_ctes && !q->distinct && !q->n_distinct_on &&
           !q->n_from && !q->where && !q->n_group && !q->having && !q->n_windows && !q->n_sort && !q->limit &&
           !q->offset && !q->limit_one && !q->locks_rows && !q->into;
}

static bool is_set_config(const struct sql_expr *e)
{
    const struct sql_call *c = &e->call;
    return e->kind == SQL_EXPR_FUNCTION && e->n_args == 3 && strcmp(function_name(e), "set_config") == 0 &&
           (e->n_names == 1 || (e->n_names == 2 && strcmp(e->names[0], "pg_catalog") == 0)) && !c->star &&
           !c->distinct && !c->ordered && !c->within_group && !c->variadic && !c->over && !c->filter;
}

/* Of a type whose values, as text, are what the function gets. */
static bool param_type_good(const struct router *r, uint32_t number, uint32_t wanted)
{
    uint32_t type = number <= r->in->n_param_types ? r->in->param_types[number - 1] : 0;
    return type == 0 || type == wanted ||
           (wanted == OID_TEXT && (type == OID_UNKNOWN || type == OID_VARCHAR));
}

static bool is_string(const struct router *r, const struct sql_expr *e)
{
    if (e->number == SQL_NO_LITERAL || !e->text)
        return false;
    uint8_t kind = r->t->literals[e->number].kind;
    return kind == LITERAL_STRING || kind == LITERAL_ESTRING || kind == LITERAL_DOLLAR;
}

static bool read_arg(struct router *r, const struct sql_expr *e, bool boolean, struct config_arg *a)
{
    uint32_t wanted = boolean ? OID_BOOL : OID_TEXT;
    while (e->kind == SQL_EXPR_CAST && e->type_oid == wanted && !e->type_array)
        e = e->args[0];
    switch (e->kind) {
    case SQL_EXPR_LITERAL:
        if (!is_string(r, e))
            return false;
        *a = (struct config_arg){.source = CONFIG_TEXT, .text = keep_string(r, e->text)};
        return true;
    case SQL_EXPR_BOOL:
        *a = (struct config_arg){.source = CONFIG_TEXT, .text = e->negative ? "false" : "true"};
        return boolean;
    case SQL_EXPR_NULL:
        *a = (struct config_arg){.source = CONFIG_NULL};
        return true;
    case SQL_EXPR_PARAM:
        *a = (struct config_arg){.source = CONFIG_PARAM, .param = e->number - 1};
        return param_type_good(r, e->number, wanted);
    default:
        return false;
    }
}

bool plan_set_config(struct router *r, const struct sql_query *q)
{
    struct plan *p = r->plan;
    if (!is_bare(q))
        return false;
    struct config_call *calls = arena_zalloc(r->keep, q->n_targets * sizeof *calls);
    for (uint32_t i = 0; i < q->n_targets; i++) {
        const struct sql_expr *e = q->targets[i].value;
        if (!e || !is_set_config(e) || !read_arg(r, e->args[0], false, &calls[i].name) ||
            !read_arg(r, e->args[1], false, &calls[i].value) ||
            !read_arg(r, e->args[2], true, &calls[i].local))
            return false;
        calls[i].column = q->targets[i].name ? keep_string(r, q->targets[i].name) : "set_config";
    }
    for (uint32_t i = 0; i < r->t->n_literals; i++)
        plan_pin(r, i);
    p->configs = calls;
    p->n_configs = q->n_targets;
    p->verb = VERB_SET_CONFIG;
    p->kind = PLAN_LOCAL;
    return true;
}
