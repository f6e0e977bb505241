/*
 * How the rows of several shards become one result: concatenated, merged on ORDER BY, cut by LIMIT, or, for a
 * select list of plain aggregates without GROUP BY, combined into one row.
 *
 * A sort key is a column of the shards' rows: one of the select list, or an expression of ORDER BY that is
 * not in it and is added behind it in the text for the shards; those columns are hidden from the client.
 */
#include "router_private.h"

#include "base/hashmap.h"

struct merging {
    struct router *r;
    struct block *b;
    struct clauses text;
    bool has_text, has_spans; /* of the clauses; of the sort expressions */
    uint32_t first_star;      /* in the select list; its length: there is none */
    uint64_t *hashes;         /* of the select list's expressions; NULL: not made yet */
    const char *why, *hint;
};

static bool cannot(struct merging *m, const char *why, const char *hint)
{
    m->why = why;
    m->hint = hint;
    return false;
}

/* Rows have no more columns on a server either, and specifications no more sort keys. */
static bool too_many(struct merging *m, const char *why, const char *hint)
{
    m->r->merge_beyond_limits = true;
    return cannot(m, why, hint);
}

/* --- collations ------------------------------------------------------------------------------- */

struct collations {
    bool sorted_by_bytes, other;
};

static void look_at_collations(struct merging *m, const struct sql_expr *e, struct collations *c)
{
    struct term term;
    if (e->kind == SQL_EXPR_COLUMN) {
        const struct relation_column *column = resolve_column(m->r, e, &m->b->scope, &term)
                                                   ? relation_column(term.leaf->info, term.column, NULL)
                                                   : NULL;
        if (!column)
            c->other = true;
        else if (column->collation_oid != 0)
            *(column->c_collation ? &c->sorted_by_bytes : &c->other) = true;
        return;
    }
    c->other |= e->kind == SQL_EXPR_CAST || e->kind == SQL_EXPR_SUBLINK || e->kind == SQL_EXPR_COLLATE ||
                e->kind == SQL_EXPR_OTHER;
    for (uint32_t i = 0; i < e->n_args; i++)
        look_at_collations(m, e->args[i], c);
}

/* Whether, if it is text, it is surely compared by bytes. */
static bool is_c_collated(struct merging *m, const struct sql_expr *e)
{
    struct collations c = {0};
    if (e->kind == SQL_EXPR_COLLATE && e->n_names > 0) {
        const char *name = e->names[e->n_names - 1];
        return strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0 || strcmp(name, "ucs_basic") == 0;
    }
    look_at_collations(m, e, &c);
    return c.sorted_by_bytes && !c.other;
}

/* The same of an output column that is known by its term only (of a star). */
static bool term_is_c_collated(const struct term *term)
{
    const struct relation_column *column =
        term->leaf ? relation_column(term->leaf->info, term->column, NULL) : NULL;
    return column && column->c_collation;
}

/* --- sort keys -------------------------------------------------------------------------------- */

static bool same_names(const struct sql_expr *a, const struct sql_expr *b)
{
    if (a->n_names != b->n_names)
        return false;
    for (uint32_t i = 0; i < a->n_names; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    return true;
}

static bool is_plain_call(const struct sql_expr *e)
{
    return !e->call.distinct && !e->call.ordered && !e->call.within_group && !e->call.variadic &&
           !e->call.over && !e->call.filter;
}

/* Surely the same expression; false may be wrong. */
static bool same_expr(struct merging *m, const struct sql_expr *a, const struct sql_expr *b)
{
    struct term ta, tb;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case SQL_EXPR_COLUMN:
        return resolve_column(m->r, a, &m->b->scope, &ta) && resolve_column(m->r, b, &m->b->scope, &tb) &&
               same_term(&ta, &tb);
    case SQL_EXPR_PARAM:
        return a->number == b->number;
    case SQL_EXPR_FUNCTION:
        if (!is_plain_call(a) || !is_plain_call(b) || a->call.star != b->call.star)
            return false;
        break;
    case SQL_EXPR_OPERATOR:
        break;
    case SQL_EXPR_CAST:
        if (a->type_oid == 0 || a->type_oid != b->type_oid || a->type_array != b->type_array)
            return false;
        break;
    default:
        return false;
    }
    if (!same_names(a, b) || a->n_args != b->n_args)
        return false;
    for (uint32_t i = 0; i < a->n_args; i++)
        if (!same_expr(m, a->args[i], b->args[i]))
            return false;
    return true;
}

/* The select list's entry i as an expression, if no star stands before or at it. */
static const struct sql_expr *target_expr(const struct merging *m, uint32_t i)
{
    return i < m->first_star ? m->b->query->targets[i].value : NULL;
}

static uint64_t mixed(uint64_t h, uint64_t with)
{
    h = (h ^ with) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

/* The same for expressions that same_expr() finds the same; 0: it finds none. */
static uint64_t expr_hash(struct merging *m, const struct sql_expr *e)
{
    struct term term;
    uint64_t h = (uint64_t)e->kind + 1;
    router_spend(m->r, 1);
    if (e->kind == SQL_EXPR_COLUMN) {
        if (!resolve_column(m->r, e, &m->b->scope, &term))
            return 0;
        return mixed(mixed(h, (uint64_t)(uintptr_t)term.leaf),
                     hash_bytes64(term.column, strlen(term.column))) |
               1;
    }
    if (e->kind == SQL_EXPR_PARAM)
        return mixed(h, e->number) | 1;
    if (e->kind != SQL_EXPR_FUNCTION && e->kind != SQL_EXPR_OPERATOR && e->kind != SQL_EXPR_CAST)
        return 0;
    for (uint32_t i = 0; i < e->n_names; i++)
        h = mixed(h, hash_bytes64(e->names[i], strlen(e->names[i])));
    for (uint32_t i = 0; i < e->n_args; i++) {
        uint64_t arg = expr_hash(m, e->args[i]);
        if (arg == 0)
            return 0;
        h = mixed(h, arg);
    }
    return h | 1;
}

static const uint64_t *target_hashes(struct merging *m)
{
    if (m->hashes)
        return m->hashes;
    m->hashes = arena_alloc(m->r->arena, (m->first_star + 1) * sizeof(*m->hashes));
    for (uint32_t i = 0; i < m->first_star; i++)
        m->hashes[i] = expr_hash(m, m->b->query->targets[i].value);
    return m->hashes;
}

static void use_output(struct merging *m, uint32_t i, struct merge_sort_key *key)
{
    const struct sql_expr *e = target_expr(m, i);
    key->column = (uint16_t)i;
    key->c_collated = e ? is_c_collated(m, e) : term_is_c_collated(&m->b->outputs[i].term);
}

/* Whether the server might give an entry without a name of its own this one: it takes it from inside, or from
 * a short list. */
static bool may_be_named(struct router *r, const struct sql_expr *e, const char *name)
{
    static const char *const made_up[] = {
        "array", "bool",    "case",         "coalesce",     "exists",     "greatest",   "grouping",
        "least", "nullif",  "row",          "xmlconcat",    "xmlelement", "xmlforest",  "xmlparse",
        "xmlpi", "xmlroot", "xmlserialize", "merge_action", "json_array", "json_object"};
    for (size_t i = 0; i < sizeof(made_up) / sizeof(made_up[0]); i++)
        if (strcmp(made_up[i], name) == 0)
            return true;
    if (!e || router_spend(r, 1))
        return true;
    if (strncmp(name, "current_", 8) == 0 || strncmp(name, "local", 5) == 0 || strstr(name, "user"))
        return true;
    for (uint32_t i = 0; i < e->n_names; i++)
        if (strcmp(e->names[i], name) == 0)
            return true;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (may_be_named(r, e->args[i], name))
            return true;
    for (uint32_t i = 0; e->query && i < e->query->n_targets; i++) {
        const struct sql_target *t = &e->query->targets[i];
        if ((t->name && strcmp(t->name, name) == 0) || t->value->kind == SQL_EXPR_STAR ||
            may_be_named(r, t->value, name))
            return true;
    }
    return e->query && e->query->kind != SQL_SELECT;
}

/* A position, or a bare name of an output column: 1 found, 0 neither, -1 not certain. */
static int find_listed(struct merging *m, const struct sql_expr *e, uint32_t *index_r)
{
    const struct block *b = m->b;
    if (e->kind == SQL_EXPR_LITERAL) {
        uint32_t position = 0;
        for (const char *p = e->text; *p >= '0' && *p <= '9' && position < 10000; p++)
            position = position * 10 + (uint32_t)(*p - '0');
        if (e->number == SQL_NO_LITERAL || position == 0 || position > b->n_outputs)
            return -1;
        plan_pin(m->r, e->number);
        *index_r = position - 1;
        return 1;
    }
    if (e->kind != SQL_EXPR_COLUMN || e->n_names != 1)
        return 0;
    bool nameless = false;
    for (uint32_t i = 0; i < b->n_outputs && !router_spend(m->r, 1); i++) {
        if (b->outputs[i].name && strcmp(b->outputs[i].name, e->names[0]) == 0) {
            *index_r = i;
            return 1;
        }
        nameless |= !b->outputs[i].name && may_be_named(m->r, target_expr(m, i), e->names[0]);
    }
    return nameless ? -1 : 0;
}

static bool find_same(struct merging *m, const struct sql_expr *e, uint32_t *index_r)
{
    const struct block *b = m->b;
    struct term term;
    bool column = resolve_column(m->r, e, &b->scope, &term);
    const uint64_t *hashes = target_hashes(m);
    uint64_t hash = expr_hash(m, e);
    for (uint32_t i = 0; i < b->n_outputs && !router_spend(m->r, 1); i++) {
        const struct sql_expr *target = target_expr(m, i);
        if ((column && b->outputs[i].term.leaf && same_term(&term, &b->outputs[i].term)) ||
            (target && hash != 0 && hash == hashes[i] && same_expr(m, e, target))) {
            *index_r = i;
            return true;
        }
    }
    return false;
}

static bool add_hidden(struct merging *m, const struct sql_expr *e, struct token_span span,
                       struct merge_sort_key *key)
{
    struct merge_spec *spec = &m->r->plan->merge;
    if (m->b->query->distinct && m->b->query->n_distinct_on == 0)
        return cannot(m, "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                      "Add them to the select list.");
    if (!m->has_spans)
        return cannot(
            m, "ORDER BY of this form over several shards is not supported",
            "Add what is sorted by to the select list, or write the query without parentheses around it.");
    struct slice text = token_text(m->r, &m->text, span);
    char *insert = arena_printf(m->r->keep, ", %.*s ", (int)text.len, (const char *)text.data);
    edit_text(m->r, m->text.tokens.items[m->text.from].from, 0, slice_str(insert));
    key->column = (uint16_t)(m->b->n_outputs + spec->n_hidden);
    key->c_collated = is_c_collated(m, e);
    spec->n_hidden++;
    return true;
}

static bool plan_sort_key(struct merging *m, const struct sql_sort *sort, struct token_span span,
                          struct merge_sort_key *key)
{
    uint32_t index;
    if (sort->by_operator)
        return cannot(m, "ORDER BY ... USING over several shards is not supported", "Use ASC or DESC.");
    key->descending = sort->descending;
    key->nulls_first = sort->nulls_first;
    int listed = find_listed(m, sort->expr, &index);
    if (listed < 0)
        return cannot(m, "this ORDER BY over several shards is not supported",
                      "Give every column of the select list a name with AS.");
    if (listed > 0 || find_same(m, sort->expr, &index)) {
        use_output(m, index, key);
        return true;
    }
    return add_hidden(m, sort->expr, span, key);
}

static bool plan_sort(struct merging *m)
{
    const struct sql_query *q = m->b->query;
    struct merge_spec *spec = &m->r->plan->merge;
    struct token_span *spans = arena_alloc(m->r->arena, (q->n_sort + 1) * sizeof(*spans));
    if (q->n_sort == 0)
        return true;
    if (q->n_sort > ROUTER_MAX_COLUMNS)
        return too_many(m, "ORDER BY over several shards has more than 1664 entries",
                        "Sort by fewer expressions.");
    m->has_spans = m->has_text && find_sort_items(&m->text, spans, q->n_sort);
    if (!m->b->outputs_known || m->b->n_outputs == 0 || m->b->n_outputs > 1600)
        return cannot(m, "ORDER BY with * over these tables and several shards is not supported",
                      "List the columns instead of *.");
    spec->sort = arena_zalloc(m->r->keep, q->n_sort * sizeof(*spec->sort));
    for (uint32_t i = 0; i < q->n_sort; i++)
        if (!plan_sort_key(m, &q->sort[i], m->has_spans ? spans[i] : (struct token_span){0}, &spec->sort[i]))
            return false;
    if (m->b->n_outputs + spec->n_hidden > ROUTER_MAX_COLUMNS)
        return too_many(m,
                        "select list and ORDER BY over several shards have more than 1664 columns together",
                        "Sort by fewer expressions, or by columns of the select list.");
    spec->n_sort = (uint16_t)q->n_sort;
    spec->n_columns = (uint16_t)(m->b->n_outputs + spec->n_hidden);
    return true;
}

/* --- aggregates ------------------------------------------------------------------------------- */

static bool aggregate_func(const struct sql_expr *e, uint8_t *func_r)
{
    static const struct {
        const char *name;
        enum aggregate_func func;
    } known[] = {{"count", AGG_COUNT},    {"sum", AGG_SUM},        {"min", AGG_MIN},
                 {"max", AGG_MAX},        {"avg", AGG_AVG},        {"bool_and", AGG_BOOL_AND},
                 {"every", AGG_BOOL_AND}, {"bool_or", AGG_BOOL_OR}};
    bool built_in = e->n_names == 1 || (e->n_names == 2 && strcmp(e->names[0], "pg_catalog") == 0);
    bool plain =
        !e->call.distinct && !e->call.ordered && !e->call.within_group && !e->call.variadic && !e->call.over;
    if (e->kind != SQL_EXPR_FUNCTION || !built_in || !plain ||
        e->n_args != (e->call.star ? 0U : 1U) + (e->call.filter ? 1U : 0U))
        return false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].name, function_name(e)) == 0) {
            *func_r = (uint8_t)known[i].func;
            return true;
        }
    return false;
}

/* avg(x) FILTER (...)  ->  sum(x) FILTER (...), count(x) FILTER (...) */
static bool split_avg(struct merging *m, const struct sql_expr *e)
{
    uint32_t name, open, close, end;
    if (!m->has_text || !find_call(&m->text, e->at, &name, &open, &close, &end))
        return cannot(m, "avg() of this form over several shards is not supported",
                      "Write the query without parentheses around it.");
    const struct sql_token *t = m->text.tokens.items;
    struct slice rest = token_text(m->r, &m->text, (struct token_span){open, end + 1});
    char *count = arena_printf(m->r->keep, ", pg_catalog.count%.*s", (int)rest.len, (const char *)rest.data);
    edit_text(m->r, t[name].from, t[open].from - t[name].from, slice_str("pg_catalog.sum"));
    edit_text(m->r, t[end].to, 0, slice_str(count));
    return true;
}

static bool plan_aggregate_limit(struct merging *m)
{
    const struct sql_query *q = m->b->query;
    if (!q->limit && !q->offset)
        return true;
    bool harmless = !q->offset && q->limit->kind == SQL_EXPR_LITERAL && q->limit->number != SQL_NO_LITERAL &&
                    !q->limit->negative && q->limit->text[0] >= '1' && q->limit->text[0] <= '9' &&
                    !q->with_ties;
    if (!harmless)
        return cannot(m, "LIMIT and OFFSET with aggregates over several shards are not supported",
                      "There is one row: leave them away.");
    plan_pin(m->r, q->limit->number);
    return true;
}

static bool plan_aggregates(struct merging *m)
{
    static const char hint[] = "Select only count, sum, min, max, avg, bool_and and bool_or of expressions, "
                               "or give the key in WHERE.";
    const struct sql_query *q = m->b->query;
    struct merge_spec *spec = &m->r->plan->merge;
    uint16_t column = 0;
    if (q->having || q->distinct || q->n_sort > 0 || q->locks_rows)
        return cannot(
            m, "HAVING, DISTINCT and ORDER BY with aggregates over several shards are not supported", hint);
    if (!plan_aggregate_limit(m))
        return false;
    if (q->n_targets > ROUTER_MAX_COLUMNS / 2) /* avg() takes two columns of a shard's row */
        return too_many(m, "more than 832 aggregates over several shards are not supported",
                        "Select fewer aggregates at a time, or give the key in WHERE.");
    spec->aggregates = arena_zalloc(m->r->keep, (q->n_targets + 1U) * sizeof(*spec->aggregates));
    for (uint32_t i = 0; i < q->n_targets; i++) {
        const struct sql_expr *e = q->targets[i].value;
        struct merge_aggregate *a = &spec->aggregates[i];
        if (!aggregate_func(e, &a->func))
            return cannot(m, "aggregates of this form over several shards are not supported", hint);
        a->shard_column = column;
        a->name = keep_string(m->r, q->targets[i].name ? q->targets[i].name : function_name(e));
        a->c_collated = !e->call.star && is_c_collated(m, e->args[0]);
        column = (uint16_t)(column + (a->func == AGG_AVG ? 2 : 1));
        if (a->func == AGG_AVG && !split_avg(m, e))
            return false;
    }
    spec->n_aggregates = (uint16_t)q->n_targets;
    spec->n_columns = column;
    return true;
}

bool plan_merge(struct router *r, struct block *b, const char **why_r, const char **hint_r)
{
    struct merging m = {.r = r, .b = b};
    bool ok;
    while (m.first_star < b->query->n_targets && m.first_star < b->n_outputs &&
           b->query->targets[m.first_star].value->kind != SQL_EXPR_STAR)
        m.first_star++;
    m.has_text = find_clauses(r, &m.text);
    if (b->has_aggregates && b->query->n_group == 0)
        ok = plan_aggregates(&m);
    else
        ok = plan_sort(&m) && plan_limit(r, b->query, &m.text, &m.why, &m.hint);
    *why_r = m.why;
    *hint_r = m.hint;
    if (ok)
        finish_edits(r);
    else
        memset(&r->plan->merge, 0, sizeof(r->plan->merge));
    return ok;
}
