/*
 * Names: which relation a name means, whose column a column is, and what each condition states.
 *
 * A column whose relation is not certain is no term, and its conditions say nothing. CTEs are bound anew at
 * every reference, as if they were written there, so that each reference may be narrowed by its own
 * surroundings; a CTE that writes is bound once.
 *
 * Columns of derived tables: when filters on the output may as well be applied inside (no grouping, LIMIT,
 * DISTINCT, window or set operation), an output column *is* the inner column's term. Otherwise the derived
 * table has terms of its own.
 */
#include "router_private.h"

#include "base/stack.h"

static void bind_expr(struct router *r, struct block *b, const struct sql_expr *e,
                      const struct from_node *join, struct scope *scope);

/* WITH queries add up: what refers to one is as deep as it is, and more. What looks at the blocks afterwards takes no more of
 * the stack than this file does, which leaves two thirds of it. */
static bool router_is_deep(struct router *r)
{
    r->too_deep |= stack_left() < r->stack_floor;
    return r->too_deep;
}

/* --- FROM ------------------------------------------------------------------------------------- */

/* Gives a derived table's columns their names, and terms of its own where they are not passed through. */
static void name_outputs(struct router *r, struct from_node *node, const char **columns, uint32_t n_columns)
{
    const struct block *b = node->block;
    if (!b)
        return;
    node->n_outputs = b->n_outputs;
    node->outputs_known = b->outputs_known;
    node->outputs = arena_zalloc(r->arena, (b->n_outputs + 1) * sizeof(*node->outputs));
    node->leaf = arena_zalloc(r->arena, sizeof(*node->leaf));
    node->leaf->place = PLACE_DERIVED;
    for (uint32_t i = 0; i < b->n_outputs; i++) {
        struct output *o = &node->outputs[i];
        *o = b->outputs[i];
        if (i < n_columns)
            o->name = columns[i];
        if (b->passes_through && o->term.leaf)
            continue;
        uint32_t type = b->outputs[i].term.type_oid;
        if (o->is_value)
            type = o->value.type_oid ? o->value.type_oid : 0;
        o->term =
            (struct term){.leaf = type && o->name ? node->leaf : NULL, .column = o->name, .type_oid = type};
    }
}

static struct bound_cte *find_cte(struct router *r, const struct sql_relation *rel)
{
    if (rel->schema)
        return NULL;
    for (struct bound_cte *c = r->ctes; c && !router_spend(r, 1); c = c->next)
        if (strcmp(c->cte->name, rel->name) == 0)
            return c;
    return NULL;
}

static struct block *bind_cte_query(struct router *r, struct bound_cte *c)
{
    struct bound_cte *saved = r->ctes;
    r->ctes = c->visible;
    bool binding = c->binding;
    c->binding = true;
    struct block *b = bind_query(r, c->cte->query, c->scope);
    c->binding = binding;
    r->ctes = saved;
    return b;
}

static void bind_cte_reference(struct router *r, struct from_node *node, struct bound_cte *c)
{
    const struct sql_relation *rel = &node->from->relation;
    c->n_references++;
    node->recursive = c->recursive;
    if (c->binding || r->too_many) /* a recursive query's reference to itself: columns unknown */
        return;
    if (c->writes && c->block) {
        node->block = c->block;
    } else {
        node->block = bind_cte_query(r, c);
        node->own_block = true;
    }
    if (c->recursive)
        node->block->passes_through = false;
    name_outputs(r, node, rel->n_columns ? rel->columns : c->cte->columns,
                 rel->n_columns ? rel->n_columns : c->cte->n_columns);
}

static struct from_node *bind_from(struct router *r, struct block *b, const struct sql_from *from);

/* The column of this name in what is under a join; its column is NULL if there is none. */
static struct term term_under(struct router *r, const struct from_node *node, const char *name, bool *unsure)
{
    struct term term = {0};
    if (router_spend(r, 1))
        return term;
    if (node->from->kind != SQL_FROM_JOIN) {
        int found = column_of_node(node, name, &term);
        *unsure |= found < 0;
        if (found == 1 && !term.column)
            term.column = name;
        return term;
    }
    term = term_under(r, node->left, name, unsure);
    return term.column ? term : term_under(r, node->right, name, unsure);
}

static void merge_column(struct router *r, struct scope *scope, struct from_node *node, const char *name)
{
    struct merged_column *m = arena_zalloc(r->arena, sizeof(*m));
    bool unsure = false;
    struct term left = term_under(r, node->left, name, &unsure),
                right = term_under(r, node->right, name, &unsure);
    m->name = name;
    m->next = scope->merged;
    scope->merged = m;
    if (unsure)
        return;
    if (node->from->join == SQL_JOIN_INNER || node->from->join == SQL_JOIN_LEFT)
        m->term = left;
    else if (node->from->join == SQL_JOIN_RIGHT)
        m->term = right;
    eqset_add(r, node->on, left, right);
}

/* NATURAL: the names that a table on the left shares with something on the right. */
static void merge_natural(struct router *r, struct scope *scope, struct from_node *node,
                          const struct from_node *left)
{
    bool unsure = false;
    if (left->from->kind == SQL_FROM_JOIN) {
        merge_natural(r, scope, node, left->left);
        merge_natural(r, scope, node, left->right);
        return;
    }
    if (!left->leaf || !left->leaf->info || left->from->relation.n_columns > 0) {
        scope->opaque = true;
        return;
    }
    for (uint16_t i = 0; i < left->leaf->info->n_columns; i++) {
        const char *name = left->leaf->info->columns[i].name;
        if (term_under(r, node->right, name, &unsure).column)
            merge_column(r, scope, node, name);
    }
    scope->opaque |= unsure;
}

/* ON sees the tables of its own join only; they were added to the block's scope since `first`. */
static struct scope *join_scope(struct router *r, struct block *b, uint32_t first,
                                struct merged_column *merged_before)
{
    struct scope *s = arena_zalloc(r->arena, sizeof(*s));
    *s = b->scope;
    s->n_nodes = s->cap_nodes =
        b->scope.n_nodes - first; /* adding to the block's scope leaves these where they are */
    s->nodes = b->scope.nodes ? b->scope.nodes + first : NULL;
    s->first = first;
    s->merged_end = merged_before;
    s->memo = NULL;
    return s;
}

static struct from_node *bind_join(struct router *r, struct block *b, struct from_node *node)
{
    const struct sql_from *from = node->from;
    uint32_t first = b->scope.n_nodes;
    struct merged_column *merged_before = b->scope.merged;
    node->on = eqset_new(r);
    node->left = bind_from(r, b, from->left);
    node->right = bind_from(r, b, from->right);
    if (from->on) {
        struct scope *scope = join_scope(r, b, first, merged_before);
        collect_equalities(r, from->on, scope, node->on);
        bind_expr(r, b, from->on, node, scope);
    }
    for (uint32_t i = 0; i < from->n_using; i++)
        merge_column(r, &b->scope, node, from->using_names[i]);
    if (from->natural)
        merge_natural(r, &b->scope, node, node->left);
    return node;
}

static struct from_node *bind_from(struct router *r, struct block *b, const struct sql_from *from)
{
    struct from_node *node = arena_zalloc(r->arena, sizeof(*node));
    node->from = from;
    if (from->kind == SQL_FROM_JOIN)
        return bind_join(r, b, node);
    r->too_many |= ++r->n_nodes > ROUTER_MAX_NODES;
    if (from->kind == SQL_FROM_QUERY && from->query) {
        node->block = bind_query(r, from->query, from->lateral ? &b->scope : b->scope.outer);
        node->own_block = true;
        name_outputs(r, node, from->relation.columns, from->relation.n_columns);
    } else if (from->kind == SQL_FROM_TABLE) {
        struct bound_cte *c = find_cte(r, &from->relation);
        if (c)
            bind_cte_reference(r, node, c);
        else
            node->leaf = bind_relation(r, &from->relation);
    }
    bind_expr(r, b, from->expr, NULL, &b->scope); /* function arguments may refer to tables before it */
    scope_add(r, &b->scope, node);
    return node;
}

/* --- expressions ------------------------------------------------------------------------------ */

static void bind_sublink(struct router *r, struct block *b, const struct sql_expr *e,
                         const struct from_node *join, struct scope *scope)
{
    if (!e->query)
        return;
    struct sublink *s = arena_zalloc(r->arena, sizeof(*s));
    s->block = bind_query(r, e->query, scope);
    s->join = join;
    s->expr = e;
    r->sublinks[e->use] = s;
    s->next = b->sublinks;
    b->sublinks = s;
}

static void bind_expr(struct router *r, struct block *b, const struct sql_expr *e,
                      const struct from_node *join, struct scope *scope)
{
    if (!e || router_is_deep(r) || router_spend(r, 1))
        return;
    r->current_of |= e->kind == SQL_EXPR_CURRENT_OF;
    for (uint32_t i = 0; i < e->n_args; i++)
        bind_expr(r, b, e->args[i], join, scope);
    if (e->kind == SQL_EXPR_SUBLINK)
        bind_sublink(r, b, e, join, scope);
}

/* x IN (SELECT y ...), required to be true: then rows with another y do not matter inside. */
static void bind_required_in(struct router *r, struct block *b, const struct sql_expr *e)
{
    struct term term;
    if (!e)
        return;
    for (uint32_t i = 0; e->kind == SQL_EXPR_AND && i < e->n_args; i++)
        bind_required_in(r, b, e->args[i]);
    if (e->kind != SQL_EXPR_SUBLINK || e->sublink != SQL_SUBLINK_IN || e->n_args == 0)
        return;
    struct sublink *s = r->sublinks[e->use]; /* of this block: its WHERE was bound a moment ago */
    if (!s || s->expr != e || s->join)
        return;
    s->extra = eqset_new(r);
    if (s->block->passes_through && s->block->n_outputs == 1 &&
        resolve_column(r, e->args[0], &b->scope, &term))
        eqset_add(r, s->extra, term, s->block->outputs[0].term);
}

/* --- blocks ----------------------------------------------------------------------------------- */

static void keep_cte_block(struct router *r, struct block *b)
{
    if (r->n_cte_blocks == r->cap_cte_blocks) {
        uint32_t cap = r->cap_cte_blocks ? r->cap_cte_blocks * 2 : 8;
        struct block **grown = arena_alloc(r->arena, cap * sizeof(struct block *));
        if (r->n_cte_blocks)
            memcpy(grown, r->cte_blocks, r->n_cte_blocks * sizeof(struct block *));
        r->cte_blocks = grown;
        r->cap_cte_blocks = cap;
    }
    r->cte_blocks[r->n_cte_blocks++] = b;
}

static void bind_ctes(struct router *r, const struct sql_query *q, struct block *b)
{
    for (uint32_t i = 0; i < q->n_ctes; i++) {
        struct bound_cte *c = arena_zalloc(r->arena, sizeof(*c));
        c->cte = &q->ctes[i];
        c->scope = b->scope.outer;
        c->recursive = q->recursive;
        c->next = r->ctes;
        c->visible = q->recursive ? c : r->ctes;
        if (!c->cte->query)
            continue;
        c->writes = c->cte->query->kind >= SQL_INSERT;
        if (q->recursive) /* all of WITH RECURSIVE see each other; forward references are an error of the
                             server's */
            c->visible = c;
        r->ctes = c;
        if (c->writes) {
            r->writing_cte = true;
            c->block = bind_cte_query(r, c);
            keep_cte_block(r, c->block);
        }
    }
}

/* A CTE that nothing refers to is not executed, but its tables must exist and its writes happen. */
static void bind_unused_ctes(struct router *r, const struct bound_cte *outside)
{
    for (struct bound_cte *c = r->ctes; c != outside; c = c->next)
        if (c->n_references == 0 && !c->writes && c->cte->query)
            keep_cte_block(r, bind_cte_query(r, c));
}

/* The next output of a block; NULL: a server takes no more of them. */
static struct output *add_output(struct router *r, struct block *b)
{
    if (b->n_outputs >= ROUTER_MAX_COLUMNS || router_spend(r, 1)) {
        b->outputs_known = false;
        return NULL;
    }
    if (b->n_outputs == b->cap_outputs) {
        uint32_t cap = b->cap_outputs ? b->cap_outputs * 2 : 4;
        struct output *grown = arena_zalloc(r->arena, cap * sizeof(*grown));
        if (b->n_outputs)
            memcpy(grown, b->outputs, b->n_outputs * sizeof(*grown));
        b->outputs = grown;
        b->cap_outputs = cap;
    }
    return &b->outputs[b->n_outputs++];
}

/* The columns of a star: of all tables and derived tables in order, if all are known and none are merged. */
static void add_star(struct router *r, struct block *b, const struct sql_expr *star)
{
    for (uint32_t i = 0; i < b->scope.n_nodes && !router_spend(r, 1); i++) {
        const struct from_node *node = b->scope.nodes[i];
        struct sql_expr column = {
            .names = (const char *[]){star->n_names ? star->names[star->n_names - 1] : "", ""}, .n_names = 2};
        if (star->n_names > 0 && !node_is_called(node, &column))
            continue;
        bool table = node->from->kind == SQL_FROM_TABLE && node->leaf && node->leaf->place != PLACE_DERIVED;
        uint32_t n = table ? (node->leaf->info ? node->leaf->info->n_columns : 0) : node->n_outputs;
        if (table ? !node->leaf->info : !node->outputs_known)
            b->outputs_known = false;
        for (uint32_t c = 0; c < n; c++) {
            struct output *o = add_output(r, b);
            if (!o)
                return;
            if (!table) {
                *o = node->outputs[c];
                continue;
            }
            const struct sql_relation *rel =
                node->from->relation.n_columns > c ? &node->from->relation : NULL;
            o->name = rel ? rel->columns[c] : node->leaf->info->columns[c].name;
            if (rel)
                column_of_node(node, o->name, &o->term);
            else
                o->term = term_of_column(node->leaf, c);
        }
    }
    if (b->scope.merged || b->scope.opaque) /* USING and NATURAL change the order */
        b->outputs_known = false;
}

static void name_targets(struct router *r, struct block *b, const struct sql_target *targets, uint32_t n)
{
    b->outputs_known = true;
    for (uint32_t i = 0; i < n; i++) {
        const struct sql_expr *e = targets[i].value;
        if (e && e->kind == SQL_EXPR_STAR) {
            add_star(r, b, e);
            continue;
        }
        struct output *o = add_output(r, b);
        if (!o)
            return;
        if (!e)
            continue;
        o->name = targets[i].name ? targets[i].name : output_name(e);
        if (!resolve_column(r, e, &b->scope, &o->term) && e->kind == SQL_EXPR_CAST && e->type_oid)
            o->is_value = constant_of(r, e, e->type_oid, &o->value);
    }
}

static void bind_targets(struct router *r, struct block *b, const struct sql_target *targets, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        bind_expr(r, b, targets[i].value, NULL, &b->scope);
}

static void bind_list(struct router *r, struct block *b, struct sql_expr **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        bind_expr(r, b, list[i], NULL, &b->scope);
}

static void bind_select(struct router *r, struct block *b)
{
    const struct sql_query *q = b->query;
    bind_targets(r, b, q->targets, q->n_targets);
    bind_list(r, b, q->distinct_on, q->n_distinct_on);
    bind_list(r, b, q->group, q->n_group);
    bind_list(r, b, q->windows, q->n_windows);
    bind_expr(r, b, q->having, NULL, &b->scope);
    name_targets(r, b, q->targets, q->n_targets);
    classify_functions(b);
    b->passes_through = !q->distinct && q->n_group == 0 && !q->having && q->n_windows == 0 && !q->limit &&
                        !q->offset && !q->locks_rows && !b->has_aggregates && !b->has_windows;
}

static void bind_values(struct router *r, struct block *b)
{
    const struct sql_query *q = b->query;
    uint32_t n = q->n_rows ? q->rows[0].n_values : 0;
    for (uint32_t i = 0; i < q->n_rows; i++)
        bind_list(r, b, q->rows[i].values, q->rows[i].n_values);
    b->outputs_known = true;
    b->n_outputs = n;
    b->outputs = arena_zalloc(r->arena, (n + 1) * sizeof(*b->outputs));
    for (uint32_t i = 0; i < n; i++)
        b->outputs[i].name = arena_printf(r->arena, "column%u", i + 1);
}

/* The written relation is in scope like one of FROM; ON CONFLICT also knows it as excluded. */
static void bind_target(struct router *r, struct block *b)
{
    struct sql_from *from = arena_zalloc(r->arena, sizeof(*from));
    from->relation = *b->query->relation;
    b->target_node = arena_zalloc(r->arena, sizeof(*b->target_node));
    b->target_node->from = from;
    b->target = bind_relation(r, &from->relation);
    b->target->written = true;
    b->target_node->leaf = b->target;
    scope_add(r, &b->scope, b->target_node);
}

static void bind_insert(struct router *r, struct block *b)
{
    const struct sql_query *q = b->query;
    if (q->source)
        b->source = bind_query(r, q->source, b->scope.outer);
    bind_target(r, b);
    bind_targets(r, b, q->conflict_set, q->n_conflict_set);
    b->insert_key = UINT32_MAX;
    if (b->target->place != PLACE_KEYED)
        return;
    uint32_t index;
    for (uint32_t i = 0; i < q->n_targets; i++)
        if (strcmp(q->targets[i].name, b->target->key) == 0)
            b->insert_key = i;
    if (q->n_targets == 0 && relation_column(b->target->info, b->target->key, &index))
        b->insert_key = index;
}

static void bind_setop(struct router *r, struct block *b)
{
    b->left = bind_query(r, b->query->left, b->scope.outer);
    b->right = bind_query(r, b->query->right, b->scope.outer);
    b->n_outputs = b->left->n_outputs;
    b->outputs_known = b->left->outputs_known;
    b->outputs = arena_zalloc(r->arena, (b->n_outputs + 1) * sizeof(*b->outputs));
    for (uint32_t i = 0; i < b->n_outputs; i++)
        b->outputs[i].name = b->left->outputs[i].name;
}

struct block *bind_query(struct router *r, const struct sql_query *q, struct scope *outer)
{
    static const struct sql_query nothing = {.kind = SQL_SELECT};
    struct block *b = arena_zalloc(r->arena, sizeof(*b));
    struct bound_cte *outside = r->ctes;
    if (router_is_deep(r) || r->too_many || router_spend(r, 1))
        q = &nothing;
    b->query = q;
    b->scope.outer = outer;
    b->where = eqset_new(r);
    r->locks_rows |= q->locks_rows;
    r->writes |= q->kind >= SQL_INSERT;
    bind_ctes(r, q, b);
    if (q->kind == SQL_SETOP)
        bind_setop(r, b);
    else if (q->kind == SQL_INSERT)
        bind_insert(r, b);
    else if (q->relation)
        bind_target(r, b);
    b->from = arena_alloc(r->arena, (q->n_from + 1) * sizeof(struct from_node *));
    for (uint32_t i = 0; i < q->n_from; i++)
        b->from[b->n_from++] = bind_from(r, b, q->from[i]);
    collect_equalities(r, q->where, &b->scope, b->where);
    bind_expr(r, b, q->where, NULL, &b->scope);
    bind_required_in(r, b, q->where);
    if (q->kind == SQL_SELECT)
        bind_select(r, b);
    else if (q->kind == SQL_VALUES)
        bind_values(r, b);
    else if (q->kind == SQL_UPDATE)
        bind_targets(r, b, q->targets, q->n_targets);
    bind_list(r, b, q->others, q->n_others);
    bind_targets(r, b, q->returning, q->n_returning);
    if (q->n_returning)
        name_targets(r, b, q->returning, q->n_returning);
    for (uint32_t i = 0; i < q->n_sort; i++)
        bind_expr(r, b, q->sort[i].expr, NULL, &b->scope);
    bind_expr(r, b, q->limit, NULL, &b->scope);
    bind_expr(r, b, q->offset, NULL, &b->scope);
    bind_unused_ctes(r, outside);
    r->ctes = outside;
    return b;
}
