/*
 * Which rows matter. From the top down, every leaf gets the equalities that hold for those of its rows that
 * can have an effect on the statement; a leaf whose key equals a constant there is pinned to that constant's
 * shard.
 *
 *   place                         what comes down to it
 *   WHERE, FROM a, b              what holds outside, WHERE, and what holds for all rows of a and of b
 *   a JOIN b ON c                 to both: the same, and c
 *   a LEFT JOIN b ON c            to a: the same without c (all rows of a matter); to b: with c, and what
 * holds for a a FULL JOIN b ON c            to both: the same without c subquery in an expression     what
 * holds for the rows around it; it gives nothing back derived table, CTE            what holds outside; it
 * gives back what holds for its output columns
 *
 * Equalities are strict, so one that stands above an outer join drops the rows that the join has filled with
 * NULLs: removing rows that break it from below the join changes nothing.
 */
#include "router_private.h"

static const struct eqset *join_sets(struct router *r, const struct eqset *a, const struct eqset *b,
                                     const struct eqset *c)
{
    struct eqset *set = eqset_new(r);
    set->parts[0] = a;
    set->parts[1] = b;
    set->parts[2] = c;
    return set;
}

/* --- upward: what holds for every row that comes out ------------------------------------------ */

static void valid_block(struct router *r, struct block *b);

/* Columns of a derived table that are not passed through: constants and equalities among them come out. */
static const struct eqset *valid_outputs(struct router *r, const struct from_node *node)
{
    const struct block *b = node->block;
    if (b->passes_through && !node->recursive)
        return b->valid;
    struct eqset *set = eqset_new(r);
    for (uint32_t i = 0; i < b->n_outputs; i++) {
        struct closure c;
        const struct output *in = &b->outputs[i], *out = &node->outputs[i];
        if (!out->term.leaf || node->recursive)
            continue;
        if (in->is_value)
            eqset_add_values(r, set, out->term, &in->value, 1);
        if (!in->term.leaf)
            continue;
        eqset_closure(r, b->valid, in->term, &c);
        if (c.values)
            eqset_add_values(r, set, out->term, c.values->values, c.values->n_values);
        for (uint32_t k = 0; k < i; k++)
            if (b->outputs[k].term.leaf && node->outputs[k].term.leaf &&
                eqset_relates(r, b->valid, in->term, b->outputs[k].term))
                eqset_add(r, set, out->term, node->outputs[k].term);
    }
    return set;
}

static const struct eqset *valid_constants(struct router *r, const struct from_node *node)
{
    struct eqset *set = eqset_new(r);
    for (uint32_t i = 0; i < node->n_outputs; i++)
        if (node->outputs[i].is_value && node->outputs[i].term.leaf)
            eqset_add_values(r, set, node->outputs[i].term, &node->outputs[i].value, 1);
    return set;
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
    const struct eqset *all = b->where;
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

static void flow_node(struct router *r, struct from_node *node, const struct eqset *env)
{
    node->env = env;
    if (node->from->kind != SQL_FROM_JOIN) {
        if (node->block && node->own_block)
            flow_block(r, node->block, env);
        else if (node->leaf)
            node->leaf->env = env;
        return;
    }
    struct from_node *left = node->left, *right = node->right;
    const struct eqset *pairs = join_sets(r, join_sets(r, env, node->on, NULL), left->valid, right->valid);
    node->pairs = join_sets(r, node->on, left->valid, right->valid);
    switch (node->from->join) {
    case SQL_JOIN_INNER:
        flow_node(r, left, pairs);
        flow_node(r, right, pairs);
        return;
    case SQL_JOIN_LEFT:
        flow_node(r, left, env);
        flow_node(r, right, pairs);
        return;
    case SQL_JOIN_RIGHT:
        flow_node(r, left, pairs);
        flow_node(r, right, env);
        return;
    case SQL_JOIN_FULL:
        flow_node(r, left, env);
        flow_node(r, right, env);
        return;
    }
}

static void flow_insert(struct router *r, struct block *b, const struct eqset *env)
{
    b->target->env = NULL;
    if (b->source)
        flow_block(r, b->source, env);
}

void flow_block(struct router *r, struct block *b, const struct eqset *env)
{
    if (!b->valid)
        valid_block(r, b);
    b->env = join_sets(r, env, b->valid, b->where);
    if (b->query->kind == SQL_MERGE) {
        const struct eqset *source = join_sets(r, env, b->valid, NULL);
        b->target->env = b->env;
        for (uint32_t i = 0; i < b->n_from; i++)
            flow_node(r, b->from[i], source);
    } else {
        if (b->query->kind == SQL_INSERT)
            flow_insert(r, b, env);
        else if (b->target)
            b->target->env = b->env;
        for (uint32_t i = 0; i < b->n_from; i++)
            flow_node(r, b->from[i], b->env);
    }
    if (b->left)
        flow_block(r, b->left, env);
    if (b->right)
        flow_block(r, b->right, env);
    for (struct sublink *s = b->sublinks; s; s = s->next) {
        const struct eqset *around = b->query->kind == SQL_MERGE ? env
                                     : s->join                   ? join_sets(r, env, s->join->pairs, NULL)
                                                                 : b->env;
        flow_block(r, s->block, join_sets(r, around, s->extra, NULL));
    }
}

/* --- pins ------------------------------------------------------------------------------------- */

static void pin_leaf(struct router *r, struct leaf *leaf)
{
    struct closure c;
    if (leaf->place != PLACE_KEYED || leaf->pinned || leaf->key_type == 0)
        return;
    struct term key = {.leaf = leaf, .column = leaf->key, .type_oid = leaf->key_type};
    if (!find_column(leaf->info, leaf->key, NULL))
        return;
    eqset_closure(r, leaf->env, key, &c);
    if (!c.values)
        return;
    leaf->pinned = true;
    leaf->pins = c.values->values;
    leaf->n_pins = c.values->n_values;
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
    b->target->pins = arena_alloc(r->arena, sizeof(ref));
    b->target->pins[0] = ref;
    b->target->n_pins = 1;
    b->target->pinned = true;
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
        leaf->pins = arena_alloc(r->arena, (source->query->n_rows + 1) * sizeof(*leaf->pins));
        for (uint32_t i = 0; i < source->query->n_rows; i++) {
            const struct sql_row *row = &source->query->rows[i];
            if (b->insert_key >= row->n_values ||
                !constant_of(r, row->values[b->insert_key], leaf->key_type, &leaf->pins[i]))
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
    struct closure c;
    if (!o->term.leaf || !types_agree(leaf->key_type, o->term.type_oid) || source->query->kind != SQL_SELECT)
        return;
    eqset_closure(r, source->valid, o->term, &c);
    if (!c.values)
        return;
    leaf->pins = c.values->values;
    leaf->n_pins = c.values->n_values;
    leaf->pinned = true;
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
