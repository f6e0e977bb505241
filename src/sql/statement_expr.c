/*
 * Expressions of libpg_query's tree as struct sql_expr.
 *
 * Kinds that routing looks at are taken over one by one. Every other node becomes SQL_EXPR_OTHER, whose
 * arguments are found by walking the protobuf message by its own description: a node type that this file has
 * never heard of still gives up the tables, functions and parameters inside it. That is the invariant of the
 * file: nothing is skipped because it is unknown.
 */
#include "statement_private.h"
#include <stdlib.h>

/* Types that a sharding key may have, by their names in pg_catalog (pg_type.dat). Not in wire/datum.h's enum:
 * neighbours. */
static const struct {
    const char *name;
    uint32_t oid;
} key_types[] = {{"bool", 16},      {"bytea", 17},  {"int8", 20},        {"int2", 21},
                 {"int4", 23},      {"text", 25},   {"oid", 26},         {"bpchar", 1042},
                 {"varchar", 1043}, {"date", 1082}, {"timestamp", 1114}, {"timestamptz", 1184},
                 {"uuid", 2950}};

const char *convert_string(struct convert *c, const char *s)
{
    return s && *s ? arena_strdup(c->arena, s) : NULL;
}

/* Of a String node; NULL: it is none. */
static const char *name_of(struct convert *c, const PgQuery__Node *node)
{
    if (!node || node->node_case != PG_QUERY__NODE__NODE_STRING)
        return NULL;
    return arena_strdup(c->arena, node->string->sval);
}

const char **convert_names(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r)
{
    const char **names = arena_alloc(c->arena, (n + 1) * sizeof(*names));
    *n_r = 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = name_of(c, nodes[i]);
        if (name)
            names[(*n_r)++] = name;
    }
    return names;
}

struct sql_expr *convert_new_expr(struct convert *c, enum sql_expr_kind kind, int32_t at)
{
    struct sql_expr *e = arena_zalloc(c->arena, sizeof(*e));
    e->kind = kind;
    e->at = at;
    e->number = kind == SQL_EXPR_LITERAL ? SQL_NO_LITERAL : 0;
    return e;
}

struct sql_expr **convert_exprs(struct convert *c, PgQuery__Node **nodes, size_t n, uint32_t *n_r)
{
    struct sql_expr **exprs = arena_alloc(c->arena, (n + 1) * sizeof(struct sql_expr *));
    *n_r = 0;
    for (size_t i = 0; i < n; i++) {
        struct sql_expr *e = convert_expr(c, nodes[i]);
        if (e)
            exprs[(*n_r)++] = e;
    }
    return exprs;
}

static void add_arg(struct convert *c, struct sql_expr *e, struct sql_expr *arg)
{
    if (!arg)
        return;
    if ((e->n_args & (e->n_args - 1)) == 0) { /* full at each power of two */
        uint32_t cap = e->n_args ? e->n_args * 2 : 1;
        struct sql_expr **grown = arena_alloc(c->arena, cap * sizeof(struct sql_expr *));
        if (e->n_args)
            memcpy(grown, e->args, e->n_args * sizeof(struct sql_expr *));
        e->args = grown;
    }
    e->args[e->n_args++] = arg;
}

static void add_args(struct convert *c, struct sql_expr *e, PgQuery__Node **nodes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_arg(c, e, convert_expr(c, nodes[i]));
}

/* --- literals --------------------------------------------------------------------------------- */

/* The literal that begins at `at`, or, when a minus sign stands there, the first one after it. */
static uint32_t literal_at(const struct template *t, int32_t at, bool after)
{
    uint32_t low = 0, high = t->n_literals;
    if (at < 0)
        return SQL_NO_LITERAL;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->literals[middle].at < (uint32_t)at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == t->n_literals || (!after && t->literals[low].at != (uint32_t)at))
        return SQL_NO_LITERAL;
    return low;
}

static struct sql_expr *convert_const(struct convert *c, const PgQuery__AConst *k)
{
    if (k->isnull)
        return convert_new_expr(c, SQL_EXPR_NULL, k->location);
    if (k->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL) {
        struct sql_expr *e = convert_new_expr(c, SQL_EXPR_BOOL, k->location);
        e->negative = !k->boolval->boolval;
        return e;
    }
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_LITERAL, k->location);
    switch (k->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL:
        e->text = arena_printf(c->arena, "%d", k->ival->ival);
        e->negative = k->ival->ival < 0;
        break;
    case PG_QUERY__A__CONST__VAL_FVAL:
        e->text = arena_strdup(c->arena, k->fval->fval);
        e->negative = e->text[0] == '-';
        break;
    case PG_QUERY__A__CONST__VAL_SVAL:
        e->text = arena_strdup(c->arena, k->sval->sval);
        break;
    default: /* bit strings */
        e->text = "";
        break;
    }
    /* The location of "- 5" is the sign's, also of "- - 5", whose value is positive again. */
    bool signed_text = k->location >= 0 && (size_t)k->location < c->t->statement.len &&
                       c->t->statement.data[k->location] == '-';
    e->number = literal_at(c->t, k->location, signed_text);
    return e;
}

static struct sql_expr *convert_param(struct convert *c, const PgQuery__ParamRef *p)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_PARAM, p->location);
    struct sql_statement *s = c->stmt;
    e->number = p->number > 0 ? (uint32_t)p->number : 0;
    e->use = s->n_param_exprs++;
    if (e->number == 0 || e->number > 65535)
        return e; /* the protocol has no more of them: the server will say so */
    if (e->number > c->cap_params) {
        uint32_t cap = e->number < 8 ? 16 : 2 * e->number;
        uint32_t *uses = arena_zalloc(c->arena, cap * sizeof(*uses));
        if (s->n_params)
            memcpy(uses, s->param_uses, s->n_params * sizeof(*uses));
        s->param_uses = uses;
        c->cap_params = cap;
    }
    if (e->number > s->n_params)
        s->n_params = e->number;
    s->param_uses[e->number - 1]++;
    return e;
}

/* --- the rest --------------------------------------------------------------------------------- */

void *convert_room(struct convert *c, void *list, uint32_t n, uint32_t *cap)
{
    if (n < *cap)
        return list;
    *cap = *cap ? *cap * 2 : 8;
    void *grown = arena_alloc(c->arena, *cap * sizeof(void *));
    if (n)
        memcpy(grown, list, n * sizeof(void *));
    return grown;
}

static void remember_attribute(struct convert *c, struct sql_expr *e)
{
    struct sql_statement *s = c->stmt;
    s->attributes = convert_room(c, s->attributes, s->n_attributes, &s->cap_attributes);
    s->attributes[s->n_attributes++] = e;
}

static struct sql_expr *convert_column(struct convert *c, const PgQuery__ColumnRef *ref)
{
    bool star = ref->n_fields > 0 && ref->fields[ref->n_fields - 1]->node_case == PG_QUERY__NODE__NODE_A_STAR;
    struct sql_expr *e = convert_new_expr(c, star ? SQL_EXPR_STAR : SQL_EXPR_COLUMN, ref->location);
    e->names = convert_names(c, ref->fields, ref->n_fields, &e->n_names);
    if (!star && e->n_names > 1)
        remember_attribute(c, e);
    return e;
}

static struct sql_expr *convert_cast(struct convert *c, const PgQuery__TypeCast *cast)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_CAST, cast->location);
    add_arg(c, e, convert_expr(c, cast->arg));
    const PgQuery__TypeName *type = cast->type_name;
    if (!type)
        return e;
    e->names = convert_names(c, type->names, type->n_names, &e->n_names);
    bool built_in = e->n_names == 1 || (e->n_names == 2 && strcmp(e->names[0], "pg_catalog") == 0);
    if (!built_in || type->n_typmods > 0 || type->pct_type || type->n_array_bounds > 1)
        return e;
    for (size_t i = 0; i < sizeof(key_types) / sizeof(key_types[0]); i++)
        if (strcmp(key_types[i].name, e->names[e->n_names - 1]) == 0)
            e->type_oid = key_types[i].oid;
    e->type_array = type->n_array_bounds == 1;
    return e;
}

static struct sql_expr *convert_operator(struct convert *c, const PgQuery__AExpr *a)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_OPERATOR, a->location);
    e->names = convert_names(c, a->name, a->n_name, &e->n_names);
    const char *name = e->n_names ? e->names[e->n_names - 1] : "";
    bool plain = e->n_names == 1 || (e->n_names == 2 && strcmp(e->names[0], "pg_catalog") == 0);
    bool equal = plain && strcmp(name, "=") == 0;
    switch (a->kind) {
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
        if (!plain)
            e->kind = SQL_EXPR_OTHER;
        break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_IN: /* name "<>" is NOT IN */
        e->kind = equal ? SQL_EXPR_IN : SQL_EXPR_OTHER;
        break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY:
        e->kind = equal ? SQL_EXPR_ANY_ARRAY : SQL_EXPR_OTHER;
        break;
    default:
        e->kind = SQL_EXPR_OTHER;
        break;
    }
    if (e->kind ==
        SQL_EXPR_OTHER) /* kinds share operator names: keep them apart when expressions are compared */
        e->number = (uint32_t)a->kind;
    add_arg(c, e, convert_expr(c, a->lexpr));
    if (a->rexpr && a->rexpr->node_case == PG_QUERY__NODE__NODE_LIST)
        add_args(c, e, a->rexpr->list->items, a->rexpr->list->n_items);
    else
        add_arg(c, e, convert_expr(c, a->rexpr));
    return e;
}

static struct sql_expr *convert_bool(struct convert *c, const PgQuery__BoolExpr *b)
{
    enum sql_expr_kind kind = b->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR  ? SQL_EXPR_AND
                              : b->boolop == PG_QUERY__BOOL_EXPR_TYPE__OR_EXPR ? SQL_EXPR_OR
                                                                               : SQL_EXPR_NOT;
    struct sql_expr *e = convert_new_expr(c, kind, b->location);
    add_args(c, e, b->args, b->n_args);
    return e;
}

static void remember_function(struct convert *c, struct sql_expr *call)
{
    struct sql_statement *s = c->stmt;
    s->functions = convert_room(c, s->functions, s->n_functions, &s->cap_functions);
    s->functions[s->n_functions++] = call;
}

static struct sql_expr *convert_function(struct convert *c, const PgQuery__FuncCall *f)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_FUNCTION, f->location);
    e->names = convert_names(c, f->funcname, f->n_funcname, &e->n_names);
    remember_function(c, e);
    e->call.star = f->agg_star;
    e->call.distinct = f->agg_distinct;
    e->call.ordered = f->n_agg_order > 0;
    e->call.within_group = f->agg_within_group;
    e->call.variadic = f->func_variadic;
    e->call.over = f->over != NULL;
    e->call.filter = f->agg_filter != NULL;
    add_args(c, e, f->args, f->n_args);
    add_args(c, e, f->agg_order, f->n_agg_order);
    if (f->over)
        add_arg(c, e, convert_message(c, &f->over->base));
    add_arg(c, e, convert_expr(c, f->agg_filter));
    return e;
}

void convert_call(struct convert *c, const PgQuery__FuncCall *f)
{
    if (f)
        (void)convert_function(c, f);
}

static struct sql_expr *convert_sublink(struct convert *c, const PgQuery__SubLink *s)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_SUBLINK, s->location);
    uint32_t n_names;
    const char **names = convert_names(c, s->oper_name, s->n_oper_name, &n_names);
    e->use = c->stmt->n_sublinks++;
    bool equal = n_names == 0 || strcmp(names[n_names - 1], "=") == 0;
    e->sublink = SQL_SUBLINK_OTHER;
    if (s->sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK)
        e->sublink = SQL_SUBLINK_EXISTS;
    else if (s->sub_link_type == PG_QUERY__SUB_LINK_TYPE__ANY_SUBLINK && equal)
        e->sublink = SQL_SUBLINK_IN;
    add_arg(c, e, convert_expr(c, s->testexpr));
    e->query = convert_query(c, s->subselect);
    return e;
}

static struct sql_expr *convert_list_kind(struct convert *c, enum sql_expr_kind kind, int32_t at,
                                          PgQuery__Node **nodes, size_t n)
{
    struct sql_expr *e = convert_new_expr(c, kind, at);
    add_args(c, e, nodes, n);
    return e;
}

static struct sql_expr *convert_collate(struct convert *c, const PgQuery__CollateClause *k)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_COLLATE, k->location);
    add_arg(c, e, convert_expr(c, k->arg));
    e->names = convert_names(c, k->collname, k->n_collname, &e->n_names);
    return e;
}

static struct sql_expr *query_expr(struct convert *c, struct sql_query *query)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_SUBLINK, -1);
    e->sublink = SQL_SUBLINK_OTHER;
    e->use = c->stmt->n_sublinks++;
    e->query = query;
    return e;
}

/* A relation in a place where none was expected: as if a subquery read it, so that it is not overlooked. */
static struct sql_expr *relation_expr(struct convert *c, const PgQuery__RangeVar *rv)
{
    struct sql_from *from = arena_zalloc(c->arena, sizeof(*from));
    convert_relation(c, rv, &from->relation);
    struct sql_query *query = arena_zalloc(c->arena, sizeof(*query));
    query->from = arena_alloc(c->arena, sizeof(struct sql_from *));
    query->from[query->n_from++] = from;
    return query_expr(c, query);
}

static void add_child(struct convert *c, struct sql_expr *e, const ProtobufCMessage *child)
{
    if (!child)
        return;
    if (child->descriptor == &pg_query__node__descriptor)
        add_arg(c, e, convert_expr(c, (const PgQuery__Node *)child));
    else if (child->descriptor == &pg_query__select_stmt__descriptor)
        add_arg(c, e, query_expr(c, convert_select(c, (const PgQuery__SelectStmt *)child)));
    else if (child->descriptor == &pg_query__range_var__descriptor)
        add_arg(c, e, relation_expr(c, (const PgQuery__RangeVar *)child));
    else
        add_arg(c, e, convert_message(c, child));
}

struct sql_expr *convert_message(struct convert *c, const ProtobufCMessage *message)
{
    struct sql_expr *e = convert_new_expr(c, SQL_EXPR_OTHER, -1);
    e->text = arena_strdup(c->arena, message->descriptor->short_name);
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const char *base = (const char *)message;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n;
            ProtobufCMessage **children;
            memcpy(&n, base + field->quantifier_offset, sizeof(n));
            memcpy(&children, base + field->offset, sizeof(ProtobufCMessage **));
            for (size_t k = 0; k < n; k++)
                add_child(c, e, children[k]);
            continue;
        }
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            uint32_t which;
            memcpy(&which, base + field->quantifier_offset, sizeof(which));
            if (which != field->id)
                continue;
        }
        const ProtobufCMessage *child;
        memcpy(&child, base + field->offset, sizeof(ProtobufCMessage *));
        add_child(c, e, child);
    }
    return e;
}

struct sql_expr *convert_expr(struct convert *c, const PgQuery__Node *node)
{
    if (!node || node->node_case == PG_QUERY__NODE__NODE__NOT_SET)
        return NULL;
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_COLUMN_REF:
        return convert_column(c, node->column_ref);
    case PG_QUERY__NODE__NODE_A_CONST:
        return convert_const(c, node->a_const);
    case PG_QUERY__NODE__NODE_PARAM_REF:
        return convert_param(c, node->param_ref);
    case PG_QUERY__NODE__NODE_TYPE_CAST:
        return convert_cast(c, node->type_cast);
    case PG_QUERY__NODE__NODE_A_EXPR:
        return convert_operator(c, node->a_expr);
    case PG_QUERY__NODE__NODE_BOOL_EXPR:
        return convert_bool(c, node->bool_expr);
    case PG_QUERY__NODE__NODE_FUNC_CALL:
        return convert_function(c, node->func_call);
    case PG_QUERY__NODE__NODE_SUB_LINK:
        return convert_sublink(c, node->sub_link);
    case PG_QUERY__NODE__NODE_A_ARRAY_EXPR:
        return convert_list_kind(c, SQL_EXPR_ARRAY, node->a_array_expr->location,
                                 node->a_array_expr->elements, node->a_array_expr->n_elements);
    case PG_QUERY__NODE__NODE_ROW_EXPR:
        return convert_list_kind(c, SQL_EXPR_ROW, node->row_expr->location, node->row_expr->args,
                                 node->row_expr->n_args);
    case PG_QUERY__NODE__NODE_GROUPING_SET:
        return convert_list_kind(c, SQL_EXPR_GROUPING_SETS, node->grouping_set->location,
                                 node->grouping_set->content, node->grouping_set->n_content);
    case PG_QUERY__NODE__NODE_COLLATE_CLAUSE:
        return convert_collate(c, node->collate_clause);
    case PG_QUERY__NODE__NODE_SET_TO_DEFAULT:
        return convert_new_expr(c, SQL_EXPR_DEFAULT, node->set_to_default->location);
    case PG_QUERY__NODE__NODE_SQLVALUE_FUNCTION:
        c->stmt->has_value_function = true;
        return convert_new_expr(c, SQL_EXPR_VALUE_FUNCTION, node->sqlvalue_function->location);
    case PG_QUERY__NODE__NODE_CURRENT_OF_EXPR: {
        struct sql_expr *e = convert_new_expr(c, SQL_EXPR_CURRENT_OF, -1);
        return e;
    }
    case PG_QUERY__NODE__NODE_SELECT_STMT:
    case PG_QUERY__NODE__NODE_INSERT_STMT:
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
    case PG_QUERY__NODE__NODE_DELETE_STMT:
    case PG_QUERY__NODE__NODE_MERGE_STMT:
        return query_expr(c, convert_query(c, node));
    case PG_QUERY__NODE__NODE_A_INDIRECTION: { /* (x).field, x[1] */
        struct sql_expr *e = convert_message(c, &node->base);
        e->names = convert_names(c, node->a_indirection->indirection, node->a_indirection->n_indirection,
                                 &e->n_names);
        if (e->n_names > 0)
            remember_attribute(c, e);
        return e;
    }
    case PG_QUERY__NODE__NODE_STRING: /* a name inside something: no expression */
    case PG_QUERY__NODE__NODE_A_STAR:
        return NULL;
    default:
        return convert_message(c, &node->base);
    }
}
