/*
 * Which rows matter. From the top down, every leaf gets the equalities that hold for those of its rows that
 * can have an effect on the statement; a leaf whose key equals a constant there is pinned to that constant's
 * shard.
 *
 *   place                         what comes down to it
 *   WHERE, FROM a, b              what holds outside, WHERE, and what holds for all rows of a and of b
 *   a JOIN b ON c                 to both: the same, and c
 *   a LEFT JOIN b ON c            to a: the same without c (all rows of a matter); to b: with c, and what holds for a
 *   a FULL JOIN b ON c            to both: the same without c
 *   subquery in an expression     what holds for the rows around it; it gives nothing back
 *   derived table, CTE            what holds outside; it gives back what holds for its output columns
 *
 * Equalities are strict, so one that stands above an outer join drops the rows that the join has filled with
 * NULLs: removing rows that break it from below the join changes nothing.
 */
#include "router_private.h"

/* NULL parts say nothing. */
static struct eqset *join_sets(struct router *r, struct eqset *a, struct eqset *b, struct eqset *c)
{
    if (!b && !c)
        return a;
    struct eqset *set = eqset_new(r);
    set->parts[0] = a;
    set->parts[1] = b;
    set->parts[2] = c;
    return set;
}

/* What holds outside, and more. */
static struct eqset *narrow(struct router *r, struct eqset *outside, struct eqset *a, struct eqset *b,
                            struct eqset *c)
{
    if (!a && !b && !c)
        return outside;
    struct eqset *set = join_sets(r, a, b, c);
    if (set == a) { /* somebody else's */
        struct eqset *own = eqset_new(r);
        own->parts[0] = set;
        set = own;
    }
    set->base = outside;
    return set;
}

/* --- upward: what holds for every row that comes out ------------------------------------------ */

static void valid_block(struct router *r, struct block *b);

static struct values *value_of_output(struct router *r, const struct output *o)
{
    return values_of(r, &o->value, 1);
}

/* Columns of a derived table that are not passed through: constants and equalities among them come out. */
static struct eqset *valid_outputs(struct router *r, const struct from_node *node)
{
    const struct block *b = node->block;
    if (b->passes_through && !node->recursive)
        return b->valid;
    struct eqset *set = eqset_new(r);
    struct term_map classes = {0};
    struct term *firsts = arena_alloc(r->arena, (b->n_outputs + 1) * sizeof(*firsts));
    for (uint32_t i = 0; i < b->n_outputs; i++) {
        const struct output *in = &b->outputs[i], *out = &node->outputs[i];
        if (!out->term.leaf || node->recursive)
            continue;
        if (in->is_value)
            eqset_add_values(r, set, out->term, value_of_output(r, in));
        if (!in->term.leaf)
            continue;
        const struct eq *best = eqset_values(r, b->valid, in->term);
        if (best)
            eqset_add_values(r, set, out->term, best->values);
        struct term class = eqset_class(r, b->valid, in->term);
        uint32_t known = classes.n, number = term_map_add(r, &classes, &class);
        if (number == known)
            firsts[number] = out->term;
        else
            eqset_add(r, set, out->term, firsts[number]);
    }
    return set;
}

static struct eqset *valid_constants(struct router *r, const struct from_node *node)
{
    struct eqset *set = eqset_new(r);
    for (uint32_t i = 0; i < node->n_outputs; i++)
        if (node->outputs[i].is_value && node->outputs[i].term.leaf)
            eqset_add_values(r, set, node->outputs[i].term, value_of_output(r, &node->outputs[i]));
    return set->eqs ? set : NULL;
}

static void valid_node(struct router *r, struct from_node *node)
{
    if (node->from->kind == SQL_FROM_JOIN) {
        valid_node(r, node->left);
        valid_node(r, node->right);
        switch (node->from->join) {
        case SQL_JOIN_INNER:
            node->valid = join_sets(r, node->left->valid, node->right->valid, node->on);
            return;
        case SQL_JOIN_LEFT:
            node->valid = node->left->valid;
            return;
        case SQL_JOIN_RIGHT:
            node->valid = node->right->valid;
            return;
        case SQL_JOIN_FULL:
            return;
        }
    }
    if (node->block) {
        if (node->own_block)
            valid_block(r, node->block);
        node->valid = join_sets(r, valid_outputs(r, node), valid_constants(r, node), NULL);
    }
}

static void valid_block(struct router *r, struct block *b)
{
    struct eqset *all = b->where;
    for (uint32_t i = 0; i < b->n_from; i++) {
        valid_node(r, b->from[i]);
        all = join_sets(r, all, b->from[i]->valid, NULL);
    }
    if (b->query->kind == SQL_MERGE) /* rows of the source that match nothing matter too */
        all = b->n_from ? b->from[0]->valid : NULL;
    b->valid = all;
    if (b->left)
        valid_block(r, b->left);
    if (b->right)
        valid_block(r, b->right);
    if (b->source)
        valid_block(r, b->source);
}

/* --- downward --------------------------------------------------------------------------------- */

/* has_valid: env says already what holds for all rows of the node. So the tables of inner joins share one env, and with it
 * its classes. */
static void flow_block(struct router *r, struct block *b, struct eqset *env);

static void flow_node(struct router *r, struct from_node *node, struct eqset *env, bool has_valid);

static void flow_join(struct router *r, struct from_node *node, struct eqset *env, bool has_valid)
{
    struct from_node *left = node->left, *right = node->right;
    struct eqset *pairs = env;
    node->pairs = join_sets(r, node->on, left->valid, right->valid);
    switch (node->from->join) {
    case SQL_JOIN_INNER:
        if (!has_valid)
            pairs = narrow(r, env, node->on, left->valid, right->valid);
        flow_node(r, left, pairs, true);
        flow_node(r, right, pairs, true);
        return;
    case SQL_JOIN_LEFT:
        pairs = narrow(r, env, node->on, has_valid ? NULL : left->valid, right->valid);
        flow_node(r, left, env, has_valid);
        flow_node(r, right, pairs, true);
        return;
    case SQL_JOIN_RIGHT:
        pairs = narrow(r, env, node->on, left->valid, has_valid ? NULL : right->valid);
        flow_node(r, left, pairs, true);
        flow_node(r, right, env, has_valid);
        return;
    case SQL_JOIN_FULL:
        flow_node(r, left, env, false);
        flow_node(r, right, env, false);
        return;
    }
}

static void flow_inside(struct router *r, struct block *b, struct eqset *env, bool has_valid);

static void flow_node(struct router *r, struct from_node *node, struct eqset *env, bool has_valid)
{
    node->env = env;
    if (node->from->kind == SQL_FROM_JOIN)
        flow_join(r, node, env, has_valid);
    else if (node->block && node->own_block)
        flow_inside(r, node->block, env, has_valid && node->block->passes_through && !node->recursive);
    else if (node->leaf)
        node->leaf->env = env;
}

static void flow_insert(struct router *r, struct block *b, struct eqset *env)
{
    b->target->env = NULL;
    if (b->source)
        flow_block(r, b->source, env);
}

static void flow_from(struct router *r, struct block *b, struct eqset *env)
{
    if (b->query->kind == SQL_MERGE) {
        struct eqset *source = narrow(r, env, b->valid, NULL, NULL);
        b->target->env = b->env;
        for (uint32_t i = 0; i < b->n_from; i++)
            flow_node(r, b->from[i], source, i == 0);
        return;
    }
    if (b->query->kind == SQL_INSERT)
        flow_insert(r, b, env);
    else if (b->target)
        b->target->env = b->env;
    for (uint32_t i = 0; i < b->n_from; i++)
        flow_node(r, b->from[i], b->env, true);
}

static void flow_inside(struct router *r, struct block *b, struct eqset *env, bool has_valid)
{
    if (!b->valid)
        valid_block(r, b);
    b->env = has_valid && b->query->kind != SQL_MERGE ? env : narrow(r, env, b->valid, b->where, NULL);
    flow_from(r, b, env);
    if (b->left)
        flow_block(r, b->left, env);
    if (b->right)
        flow_block(r, b->right, env);
    for (struct sublink *s = b->sublinks; s; s = s->next) {
        struct eqset *around = b->query->kind == SQL_MERGE ? env
                               : s->join                   ? narrow(r, env, s->join->pairs, NULL, NULL)
                                                           : b->env;
        flow_block(r, s->block, narrow(r, around, s->extra, NULL, NULL));
    }
}

static void flow_block(struct router *r, struct block *b, struct eqset *env)
{
    flow_inside(r, b, env, false);
}

/* --- pins ------------------------------------------------------------------------------------- */

static void pin(struct router *r, struct leaf *leaf, struct values *values)
{
    leaf->pinned = true;
    leaf->pins = values_list(r, values);
    leaf->n_pins = values->n;
}

static void pin_leaf(struct router *r, struct leaf *leaf)
{
    if (leaf->place != PLACE_KEYED || leaf->pinned || leaf->key_type == 0)
        return;
    struct term key = {.leaf = leaf, .column = leaf->key, .type_oid = leaf->key_type};
    if (!relation_column(leaf->info, leaf->key, NULL))
        return;
    const struct eq *best = eqset_values(r, leaf->env, key);
    if (best)
        pin(r, leaf, best->values);
}

/* INSERT ... SELECT 42, ...: what is not cast is read as the column's type, as in VALUES. */
static bool pin_selected_value(struct router *r, struct block *b)
{
    const struct sql_query *q = b->source->query;
    struct key_ref ref;
    for (uint32_t i = 0; i < q->n_targets && i <= b->insert_key; i++)
        if (q->targets[i].value->kind == SQL_EXPR_STAR)
            return false;
    if (q->kind != SQL_SELECT || b->insert_key >= q->n_targets ||
        !constant_of(r, q->targets[b->insert_key].value, b->target->key_type, &ref))
        return false;
    struct key_ref *kept = arena_alloc(r->arena, sizeof(*kept));
    *kept = ref;
    pin(r, b->target, values_of(r, kept, 1));
    return true;
}

/* An INSERT's rows pin its target: the keys of VALUES, or what the source's output column equals. */
static void pin_insert(struct router *r, struct block *b)
{
    struct leaf *leaf = b->target;
    const struct block *source = b->source;
    if (leaf->place != PLACE_KEYED || !source || b->insert_key == UINT32_MAX)
        return;
    if (source->query->kind == SQL_VALUES) {
        struct key_ref *pins = arena_alloc(r->arena, (source->query->n_rows + 1) * sizeof(*pins));
        leaf->pins = pins;
        for (uint32_t i = 0; i < source->query->n_rows; i++) {
            const struct sql_row *row = &source->query->rows[i];
            if (b->insert_key >= row->n_values ||
                !constant_of(r, row->values[b->insert_key], leaf->key_type, &pins[i]))
                return;
            leaf->n_pins = i + 1;
        }
        leaf->pinned = true;
        return;
    }
    if (!source->outputs_known || b->insert_key >= source->n_outputs)
        return;
    if (pin_selected_value(r, b))
        return;
    const struct output *o = &source->outputs[b->insert_key];
    if (!o->term.leaf || !types_agree(leaf->key_type, o->term.type_oid) || source->query->kind != SQL_SELECT)
        return;
    const struct eq *best = eqset_values(r, source->valid, o->term);
    if (best)
        pin(r, leaf, best->values);
}

static void pin_inserts(struct router *r, struct block *b)
{
    if (b->query->kind == SQL_INSERT)
        pin_insert(r, b);
}

void flow_statement(struct router *r, struct block *b)
{
    for (uint32_t i = 0; i < r->n_cte_blocks; i++)
        flow_block(r, r->cte_blocks[i], NULL);
    if (b)
        flow_block(r, b, NULL);
    for (uint32_t i = 0; i < r->n_cte_blocks; i++)
        pin_inserts(r, r->cte_blocks[i]);
    if (b)
        pin_inserts(r, b);
    for (uint32_t i = 0; i < r->n_leaves; i++)
        pin_leaf(r, r->leaves[i]);
}
