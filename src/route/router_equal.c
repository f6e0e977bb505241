/*
 * Equalities: what WHERE and ON say about keys, and what follows from it.
 *
 * A constant pins a key only when the server's comparison is equality within the key's own hash family and
 * the proxy can read the very value: `id = 42`, `id = '42'::int8`, `id = $1`. `id = 42.0` compares as
 * numeric, `name = 'x'::char(3)` trims: such conditions are left alone, which can only make a statement ask
 * more shards than it must.
 */
#include "router_private.h"
#include "wire/datum.h"

/* --- sets ------------------------------------------------------------------------------------- */

struct eqset *eqset_new(struct router *r)
{
    return arena_zalloc(r->arena, sizeof(struct eqset));
}

static struct eq *add_eq(struct router *r, struct eqset *set)
{
    struct eq *e = arena_zalloc(r->arena, sizeof(*e));
    e->number = r->n_eqs++;
    e->next = set->eqs;
    set->eqs = e;
    return e;
}

bool types_agree(uint32_t a, uint32_t b)
{
    return a != 0 && b != 0 &&
           (a == b || (hash_family_of(a) != HASH_NONE && hash_family_of(a) == hash_family_of(b)));
}

void eqset_add(struct router *r, struct eqset *set, struct term a, struct term b)
{
    if (!a.leaf || !b.leaf || !types_agree(a.type_oid, b.type_oid))
        return;
    struct eq *e = add_eq(r, set);
    e->a = a;
    e->b = b;
}

void eqset_add_values(struct router *r, struct eqset *set, struct term a, struct values *values)
{
    struct eq *e = add_eq(r, set);
    e->a = a;
    e->values = values;
}

bool same_term(const struct term *a, const struct term *b)
{
    return a->leaf == b->leaf && strcmp(a->column, b->column) == 0;
}

/* --- lists of values -------------------------------------------------------------------------- */

/* An array's length is not known: any written list is better. */
#define ARRAY_WEIGHT 10000

struct values *values_of(struct router *r, const struct key_ref *list, uint32_t n)
{
    struct values *v = arena_zalloc(r->arena, sizeof(*v));
    v->n = n;
    v->weight = n;
    v->list = list;
    v->first = n ? list : NULL;
    for (uint32_t i = 0; i < n; i++)
        if (list[i].source == KEY_PARAM_ARRAY || list[i].source == KEY_LITERAL_ARRAY)
            v->weight += ARRAY_WEIGHT;
    return v;
}

static struct values *one_value(struct router *r, struct key_ref ref)
{
    struct key_ref *list = arena_alloc(r->arena, sizeof(*list));
    *list = ref;
    return values_of(r, list, 1);
}

/* Lists are not copied to be put together: an OR has them of all its branches, an OR around it those again. */
static struct values *values_joined(struct router *r, struct values *a, struct values *b)
{
    if (!a || !b)
        return a ? a : b;
    struct values *v = arena_zalloc(r->arena, sizeof(*v));
    v->n = a->n + b->n;
    v->weight = a->weight + b->weight;
    v->first = a->first ? a->first : b->first;
    v->left = a;
    v->right = b;
    return v;
}

/* From behind: lists lean to the left, so that only nested ORs recurse. */
static void copy_values(struct key_ref *end, const struct values *v)
{
    while (!v->list) {
        copy_values(end, v->right);
        end -= v->right->n;
        v = v->left;
    }
    memcpy(end - v->n, v->list, v->n * sizeof(*end));
}

const struct key_ref *values_list(struct router *r, struct values *v)
{
    if (v->list)
        return v->list;
    struct key_ref *list = arena_alloc(r->arena, (v->n + 1) * sizeof(*list));
    copy_values(list + v->n, v);
    v->list = list;
    return list;
}

/* --- constants -------------------------------------------------------------------------------- */

/* Element type of an array type; 0: not of a key type. */
static uint32_t array_element(uint32_t array_oid)
{
    static const struct {
        uint32_t array, element;
    } types[] = {{1000, OID_BOOL}, {1001, OID_BYTEA},  {1005, OID_INT2},      {1007, OID_INT4},
                 {1009, OID_TEXT}, {1014, OID_BPCHAR}, {1015, OID_VARCHAR},   {1016, OID_INT8},
                 {1028, OID_OID},  {1182, OID_DATE},   {1115, OID_TIMESTAMP}, {1185, OID_TIMESTAMPTZ},
                 {2951, OID_UUID}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].array == array_oid)
            return types[i].element;
    return 0;
}

static bool literal_fits(const struct router *r, const struct sql_expr *e, uint32_t type)
{
    if (e->number == SQL_NO_LITERAL)
        return false;
    switch (r->t->literals[e->number].kind) {
    case LITERAL_INTEGER:
        return hash_family_of(type) == HASH_INT;
    case LITERAL_STRING:
    case LITERAL_ESTRING:
    case LITERAL_DOLLAR:
        return true;
    default:
        return false;
    }
}

/* Conditions may be looked at more than once, each place in the text counts once. */
static void note_good_use(struct router *r, const struct sql_expr *e)
{
    if (r->good_uses[e->use])
        return;
    r->good_uses[e->use] = true;
    r->param_good[e->number - 1]++;
}

/* cast: the type that the parameter is cast to, 0: none. array: as the argument of ANY. */
static bool param_ref(struct router *r, const struct sql_expr *e, uint32_t column_type, uint32_t cast,
                      bool array, struct key_ref *ref_r)
{
    uint32_t declared =
        e->number <= r->in->n_param_types && e->number > 0 ? r->in->param_types[e->number - 1] : 0;
    if (e->number == 0 || e->number > r->stmt->n_params)
        return false;
    if (declared != 0 && array && !(declared = array_element(declared)))
        return false;
    if (declared == OID_UNKNOWN)
        declared = 0;
    if (cast != 0 && !types_agree(column_type, cast))
        return false;
    if (declared != 0 && (!types_agree(column_type, declared) || (cast != 0 && !types_agree(cast, declared))))
        return false;
    uint32_t type = declared ? declared : cast ? cast : column_type;
    *ref_r = (struct key_ref){
        .source = array ? KEY_PARAM_ARRAY : KEY_PARAM, .index = e->number - 1, .type_oid = type};
    if (declared == 0) {
        /* The server takes an unspecified type from the parameter's first use that it analyses. If there are
           other uses than as this key, that may be another one: values in binary are not read then
           (route/resolve.c). */
        ref_r->untyped = true;
        note_good_use(r, e);
    }
    return true;
}

static bool scalar_ref(struct router *r, const struct sql_expr *e, uint32_t column_type, uint32_t cast,
                       struct key_ref *ref_r)
{
    uint32_t type = cast ? cast : column_type;
    if (cast != 0 && !types_agree(column_type, cast))
        return false;
    *ref_r = (struct key_ref){.type_oid = cast};
    switch (e->kind) {
    case SQL_EXPR_LITERAL:
        ref_r->source = KEY_LITERAL;
        ref_r->index = e->number;
        ref_r->negate = e->negative;
        return literal_fits(r, e, type);
    case SQL_EXPR_PARAM:
        return param_ref(r, e, column_type, cast, false, ref_r);
    case SQL_EXPR_NULL:
        ref_r->source = KEY_NULL;
        return true;
    case SQL_EXPR_BOOL:
        ref_r->source = e->negative ? KEY_FALSE : KEY_TRUE;
        return type == OID_BOOL;
    default:
        return false;
    }
}

bool constant_of(struct router *r, const struct sql_expr *e, uint32_t column_type, struct key_ref *ref_r)
{
    if (e->kind != SQL_EXPR_CAST)
        return scalar_ref(r, e, column_type, 0, ref_r);
    if (e->type_oid == 0 || e->type_array || e->n_args != 1)
        return false;
    return scalar_ref(r, e->args[0], column_type, e->type_oid, ref_r);
}

/* The members of what ANY is given: a parameter, '{1,2}', ARRAY[...], each perhaps cast to an array type. */
static bool array_values(struct router *r, const struct sql_expr *e, uint32_t column_type,
                         struct key_ref **values_r, uint32_t *n_r)
{
    uint32_t cast = 0;
    if (e->kind == SQL_EXPR_CAST) {
        if (e->type_oid == 0 || !e->type_array || e->n_args != 1)
            return false;
        cast = e->type_oid;
        e = e->args[0];
    }
    if (cast != 0 && !types_agree(column_type, cast))
        return false;
    struct key_ref *values = arena_zalloc(r->arena, (e->n_args + 1) * sizeof(*values));
    *values_r = values;
    *n_r = 1;
    if (e->kind == SQL_EXPR_PARAM)
        return param_ref(r, e, column_type, cast, true, &values[0]);
    if (e->kind == SQL_EXPR_LITERAL) {
        values[0] = (struct key_ref){.source = KEY_LITERAL_ARRAY, .index = e->number, .type_oid = cast};
        return e->number != SQL_NO_LITERAL && r->t->literals[e->number].kind != LITERAL_INTEGER &&
               literal_fits(r, e, cast ? cast : column_type);
    }
    if (e->kind != SQL_EXPR_ARRAY)
        return false;
    *n_r = e->n_args;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (cast ? !scalar_ref(r, e->args[i], column_type, cast, &values[i])
                 : !constant_of(r, e->args[i], column_type, &values[i]))
            return false;
    return true;
}

/* --- conditions ------------------------------------------------------------------------------- */

static void add_pair(struct router *r, const struct sql_expr *a, const struct sql_expr *b,
                     const struct scope *scope, struct eqset *set)
{
    struct term ta, tb;
    struct key_ref ref;
    if (a->kind == SQL_EXPR_ROW && b->kind == SQL_EXPR_ROW) {
        for (uint32_t i = 0; a->n_args == b->n_args && i < a->n_args; i++)
            add_pair(r, a->args[i], b->args[i], scope, set);
        return;
    }
    bool has_a = resolve_column(r, a, scope, &ta), has_b = resolve_column(r, b, scope, &tb);
    if (has_a && has_b)
        eqset_add(r, set, ta, tb);
    else if (has_a && constant_of(r, b, ta.type_oid, &ref))
        eqset_add_values(r, set, ta, one_value(r, ref));
    else if (has_b && constant_of(r, a, tb.type_oid, &ref))
        eqset_add_values(r, set, tb, one_value(r, ref));
}

static void add_in(struct router *r, const struct sql_expr *e, const struct scope *scope, struct eqset *set)
{
    const struct sql_expr *left = e->args[0];
    uint32_t width = left->kind == SQL_EXPR_ROW ? left->n_args : 1;
    for (uint32_t column = 0; column < width; column++) {
        struct term term;
        struct key_ref *values;
        if (!resolve_column(r, left->kind == SQL_EXPR_ROW ? left->args[column] : left, scope, &term))
            continue;
        bool all = true;
        values = arena_alloc(r->arena, e->n_args * sizeof(*values));
        for (uint32_t i = 1; i < e->n_args && all; i++) {
            const struct sql_expr *value = e->args[i];
            if (left->kind == SQL_EXPR_ROW)
                value = value->kind == SQL_EXPR_ROW && value->n_args == width ? value->args[column] : NULL;
            all = value && constant_of(r, value, term.type_oid, &values[i - 1]);
        }
        if (all)
            eqset_add_values(r, set, term, values_of(r, values, e->n_args - 1));
    }
}

/* What an OR's branches have said so far of the terms that its first branch speaks of. */
struct or_terms {
    struct term_map map;
    struct or_term {
        uint32_t n_branches; /* that speak of it, the first one included, without a gap */
        struct values *rest; /* of the branches behind the first */
    } * terms;
};

static void begin_or(struct router *r, const struct eqset *first, struct or_terms *o)
{
    for (const struct eq *e = first->eqs; e; e = e->next)
        if (!e->b.leaf)
            term_map_add(r, &o->map, &e->a);
    o->terms = arena_zalloc(r->arena, (o->map.n + 1) * sizeof(*o->terms));
    for (uint32_t i = 0; i < o->map.n; i++)
        o->terms[i].n_branches = 1;
}

static void add_branch(struct router *r, const struct eqset *branch, uint32_t number, struct or_terms *o)
{
    for (const struct eq *e = branch->eqs; e; e = e->next) {
        uint32_t i = e->b.leaf ? UINT32_MAX : term_map_find(&o->map, &e->a);
        if (i == UINT32_MAX || o->terms[i].n_branches != number)
            continue; /* of two equalities of one term one is enough */
        o->terms[i].rest = values_joined(r, o->terms[i].rest, e->values);
        o->terms[i].n_branches++;
    }
}

/* What all branches of an OR say of one term: the values of all of them. */
static void add_or(struct router *r, const struct sql_expr *e, const struct scope *scope, struct eqset *set)
{
    struct or_terms o = {0};
    struct eqset *first = eqset_new(r);
    collect_equalities(r, e->args[0], scope, first);
    if (!first->eqs)
        return;
    begin_or(r, first, &o);
    for (uint32_t i = 1; i < e->n_args; i++) {
        struct eqset branch = {0};
        collect_equalities(r, e->args[i], scope, &branch);
        if (!branch.eqs)
            return;
        add_branch(r, &branch, i, &o);
    }
    for (const struct eq *f = first->eqs; f; f = f->next) {
        uint32_t i = f->b.leaf ? UINT32_MAX : term_map_find(&o.map, &f->a);
        if (i != UINT32_MAX && o.terms[i].n_branches == e->n_args)
            eqset_add_values(r, set, f->a, values_joined(r, f->values, o.terms[i].rest));
    }
}

void collect_equalities(struct router *r, const struct sql_expr *e, const struct scope *scope,
                        struct eqset *set)
{
    struct term term;
    struct key_ref *values;
    uint32_t n;
    if (!e)
        return;
    switch (e->kind) {
    case SQL_EXPR_AND:
        for (uint32_t i = 0; i < e->n_args; i++)
            collect_equalities(r, e->args[i], scope, set);
        return;
    case SQL_EXPR_OR:
        add_or(r, e, scope, set);
        return;
    case SQL_EXPR_OPERATOR:
        if (e->n_args == 2 && strcmp(e->names[e->n_names - 1], "=") == 0)
            add_pair(r, e->args[0], e->args[1], scope, set);
        return;
    case SQL_EXPR_IN:
        if (e->n_args > 1)
            add_in(r, e, scope, set);
        return;
    case SQL_EXPR_ANY_ARRAY:
        if (e->n_args == 2 && resolve_column(r, e->args[0], scope, &term) &&
            array_values(r, e->args[1], term.type_oid, &values, &n))
            eqset_add_values(r, set, term, values_of(r, values, n));
        return;
    case SQL_EXPR_COLUMN: /* WHERE flag */
    case SQL_EXPR_NOT:    /* WHERE NOT flag */
        if (resolve_column(r, e->kind == SQL_EXPR_NOT ? e->args[0] : e, scope, &term) &&
            term.type_oid == OID_BOOL) {
            struct key_ref ref = {.source = e->kind == SQL_EXPR_NOT ? KEY_FALSE : KEY_TRUE};
            eqset_add_values(r, set, term, one_value(r, ref));
        }
        return;
    default:
        return;
    }
}
