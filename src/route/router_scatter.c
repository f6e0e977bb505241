/*
 * Whether every shard can compute its part of a block alone, so that the parts, put together, are the block's
 * result.
 *
 * Each part of a FROM carries the terms that its rows are located by: a row of (a JOIN b ON a.k = b.k) is on
 * the shard of a.k. Two sharded parts may be joined if terms that locate them must be equal; then a pair that
 * matches meets on one shard, and a row without a match has none on any shard. A term is firm if no outer
 * join can have made it NULL: only such a one may be grouped by (the NULL group would come from every shard).
 *
 * Tables that are not sharded are alike on every shard. They may be joined, but their own unmatched rows must
 * not be kept.
 *
 * A subquery in an expression may do anything, if all rows of it that matter for a row outside live where
 * that row lives.
 */
#include "router_private.h"

static const char hint_join[] =
    "Join the tables on their key columns, give the key in WHERE, or make one of them a reference table.";

bool leaves_agree(const struct leaf *a, const struct leaf *b)
{
    if (!a->map || !b->map || !types_agree(a->key_type, b->key_type))
        return false;
    if (a->map->method == TABLE_HASH && b->map->method == TABLE_HASH)
        return hash_family_of(a->key_type) != HASH_NONE;
    return a->map == b->map;
}

/* t: the class of a term in env. NULL: none of them has it. */
static const struct located *find_located(struct router *r, struct eqset *env, const struct located *l,
                                          const struct term *t, const struct leaf *leaf, bool firm)
{
    while (l && (l->firm || !firm) && !router_spend(r, 1)) {
        if (!l->left) {
            struct term class = eqset_class(r, env, l->term);
            return (!leaf || leaves_agree(l->leaf, leaf)) && same_term(&class, t) ? l : NULL;
        }
        const struct located *found = find_located(r, env, l->right, t, leaf, firm);
        if (found)
            return found;
        l = l->left;
    }
    return NULL;
}

bool located_has(struct router *r, struct eqset *env, const struct located *l, struct term term,
                 const struct leaf *leaf, bool firm)
{
    if (!l || !term.leaf)
        return false;
    struct term class = eqset_class(r, env, term);
    return find_located(r, env, l, &class, leaf, firm) != NULL;
}

static struct parts cannot(const char *why, const char *hint)
{
    return (struct parts){.sharded = true, .why = why, .hint = hint};
}

static const struct located *located_both(struct router *r, const struct located *a, const struct located *b,
                                          bool firm)
{
    if (!b && firm)
        return a;
    if (!a && (firm || !b))
        return b;
    struct located *l = arena_zalloc(r->arena, sizeof(*l));
    l->left = a ? a : b;
    l->right = a ? b : NULL;
    l->firm = firm;
    return l;
}

static void locate(struct router *r, struct parts *p, struct term term, const struct leaf *leaf, bool firm)
{
    struct located *l = arena_zalloc(r->arena, sizeof(*l));
    *l = (struct located){.term = term, .leaf = leaf, .firm = firm};
    p->located = p->located ? located_both(r, p->located, l, true) : l;
}

/* --- leaves below ----------------------------------------------------------------------------- */

/* True if f is for every KEYED leaf in the block. */
typedef bool leaf_test(struct router *r, const struct leaf *leaf, const struct located *l);

static bool all_leaves(struct router *r, const struct block *b, leaf_test *f, const struct located *l);

static bool all_leaves_of_node(struct router *r, const struct from_node *node, leaf_test *f,
                               const struct located *l)
{
    if (node->from->kind == SQL_FROM_JOIN)
        return all_leaves_of_node(r, node->left, f, l) && all_leaves_of_node(r, node->right, f, l);
    if (node->block)
        return all_leaves(r, node->block, f, l);
    return !node->leaf || node->leaf->place != PLACE_KEYED || f(r, node->leaf, l);
}

static bool all_leaves(struct router *r, const struct block *b, leaf_test *f, const struct located *l)
{
    if (b->target && b->target->place == PLACE_KEYED && !f(r, b->target, l))
        return false;
    for (uint32_t i = 0; i < b->n_from; i++)
        if (!all_leaves_of_node(r, b->from[i], f, l))
            return false;
    for (const struct sublink *s = b->sublinks; s; s = s->next)
        if (!all_leaves(r, s->block, f, l))
            return false;
    return (!b->left || all_leaves(r, b->left, f, l)) && (!b->right || all_leaves(r, b->right, f, l)) &&
           (!b->source || all_leaves(r, b->source, f, l));
}

static bool no_leaf(struct router *r, const struct leaf *leaf, const struct located *l)
{
    (void)r;
    (void)leaf;
    (void)l;
    return false;
}

static bool leaf_follows(struct router *r, const struct leaf *leaf, const struct located *l)
{
    struct term key = {.leaf = leaf, .column = leaf->key, .type_oid = leaf->key_type};
    return located_has(r, leaf->env, l, key, leaf, false);
}

bool block_reads_keyed(const struct block *b)
{
    return !all_leaves(NULL, b, no_leaf, NULL);
}

/* --- FROM ------------------------------------------------------------------------------------- */

static void rename_located(struct router *r, const struct from_node *node, const struct located *l, bool firm,
                           struct parts *p)
{
    for (; l && l->left; l = l->left) {
        firm &= l->firm;
        rename_located(r, node, l->right, firm, p);
    }
    for (uint32_t i = 0; l && i < node->n_outputs && !router_spend(r, 1); i++)
        if (node->outputs[i].term.leaf && node->block->outputs[i].term.leaf &&
            same_term(&node->block->outputs[i].term, &l->term))
            locate(r, p, node->outputs[i].term, l->leaf, l->firm && firm);
}

/* What locates a derived table's rows, in terms of its columns. */
static struct parts derived_parts(struct router *r, const struct from_node *node)
{
    struct parts inner = scatter_block(r, node->block, false);
    if (!inner.sharded || inner.why)
        return inner;
    if (node->recursive)
        return cannot("WITH RECURSIVE over several shards is not supported",
                      "Give the key in every part of the recursive query.");
    if (node->block->passes_through)
        return inner;
    struct parts p = {.sharded = true};
    rename_located(r, node, inner.located, true, &p);
    return p;
}

static struct parts leaf_parts(struct router *r, struct leaf *leaf)
{
    struct parts p = {0};
    if (leaf->place == PLACE_KEYED) {
        p.sharded = true;
        locate(r, &p, (struct term){.leaf = leaf, .column = leaf->key, .type_oid = leaf->key_type}, leaf,
               true);
    }
    return p;
}

static bool any_located_in(struct router *r, struct eqset *env, const struct parts *a,
                           const struct located *l)
{
    for (; l && l->left; l = l->left)
        if (any_located_in(r, env, a, l->right))
            return true;
    return l && located_has(r, env, a->located, l->term, l->leaf, false);
}

static bool parts_meet(struct router *r, struct eqset *env, const struct parts *a, const struct parts *b)
{
    return any_located_in(r, env, a, b->located);
}

static struct parts join_parts(struct router *r, struct eqset *env, const struct parts *a,
                               const struct parts *b, enum sql_join join)
{
    struct parts p = {.sharded = a->sharded || b->sharded, .unstable = a->unstable || b->unstable};
    bool keeps_left = join == SQL_JOIN_LEFT || join == SQL_JOIN_FULL,
         keeps_right = join == SQL_JOIN_RIGHT || join == SQL_JOIN_FULL;
    if (!p.sharded)
        return p;
    if (a->why || b->why)
        return a->why ? *a : *b;
    if (p.unstable)
        return cannot("LIMIT in a subquery over several shards is not supported",
                      "Give the key in WHERE, or take the LIMIT out of the subquery.");
    if ((keeps_left && !a->sharded) || (keeps_right && !b->sharded))
        return cannot("an outer join that keeps the rows of a table that is not sharded is not supported "
                      "over several shards",
                      "Turn the join around so that the sharded table's rows are kept, or give the key in "
                      "the join condition.");
    if (a->sharded && b->sharded && !parts_meet(r, env, a, b))
        return cannot(
            "a join of sharded tables that is not on their keys is not supported over several shards",
            hint_join);
    const struct located *left = keeps_right ? located_both(r, a->located, NULL, false) : a->located;
    const struct located *right = keeps_left ? located_both(r, b->located, NULL, false) : b->located;
    p.located = located_both(r, left, right, true);
    return p;
}

/* LATERAL: its rows that matter live where the rows beside it live. */
static bool follows(struct router *r, const struct from_node *node, const struct parts *beside)
{
    return node->block && node->from->lateral && beside->sharded && !beside->why &&
           all_leaves(r, node->block, leaf_follows, beside->located);
}

static struct parts node_parts(struct router *r, struct from_node *node, const struct parts *before);

static struct parts join_node_parts(struct router *r, struct from_node *node, const struct parts *before)
{
    struct parts a = node_parts(r, node->left, before);
    enum sql_join join = node->from->join;
    struct eqset *env = join == SQL_JOIN_INNER ? node->left->env : node->pairs;
    if ((join == SQL_JOIN_INNER || join == SQL_JOIN_LEFT) && follows(r, node->right, &a))
        return a;
    struct parts b = node_parts(r, node->right, before);
    return join_parts(r, env, &a, &b, join);
}

static struct parts node_parts(struct router *r, struct from_node *node, const struct parts *before)
{
    if (node->from->kind == SQL_FROM_JOIN)
        return join_node_parts(r, node, before);
    if (node->block && follows(r, node, before))
        return (struct parts){0};
    if (node->block)
        return derived_parts(r, node);
    if (node->leaf)
        return leaf_parts(r, node->leaf);
    return (struct parts){0};
}

static struct parts from_parts(struct router *r, struct block *b)
{
    struct parts p = {0};
    if (b->target)
        p = leaf_parts(r, b->target);
    for (uint32_t i = 0; i < b->n_from; i++) {
        struct parts next = node_parts(r, b->from[i], &p);
        p = i == 0 && !b->target ? next : join_parts(r, b->env, &p, &next, SQL_JOIN_INNER);
    }
    for (const struct sublink *s = b->sublinks; s && !p.why; s = s->next)
        if (block_reads_keyed(s->block) && !all_leaves(r, s->block, leaf_follows, p.located))
            return cannot("a subquery over a sharded table that is not tied to the outer key is not "
                          "supported over several shards",
                          "Compare its key column with the outer table's key column, or give the key in both "
                          "WHERE clauses.");
    return p;
}

/* --- SELECT ----------------------------------------------------------------------------------- */

/* What a GROUP BY or DISTINCT ON entry means: a position, an input column, an output name. */
static bool entry_term(struct router *r, struct block *b, const struct sql_expr *e, struct term *term_r)
{
    if (e->kind == SQL_EXPR_LITERAL && e->text) {
        uint32_t position = 0;
        for (const char *p = e->text; *p >= '0' && *p <= '9' && position < 10000; p++)
            position = position * 10 + (uint32_t)(*p - '0');
        if (e->number != SQL_NO_LITERAL)
            plan_pin(r, e->number);
        if (!b->outputs_known || position == 0 || position > b->n_outputs)
            return false;
        *term_r = b->outputs[position - 1].term;
        return term_r->leaf != NULL;
    }
    if (resolve_column(r, e, &b->scope, term_r))
        return true;
    for (uint32_t i = 0; e->kind == SQL_EXPR_COLUMN && e->n_names == 1 && i < b->n_outputs; i++)
        if (b->outputs[i].name && strcmp(b->outputs[i].name, e->names[0]) == 0) {
            *term_r = b->outputs[i].term;
            return term_r->leaf != NULL;
        }
    return false;
}

/* The located terms that are among these expressions, firm ones only. */
static struct parts keep_listed(struct router *r, struct block *b, const struct parts *p,
                                struct sql_expr **list, uint32_t n)
{
    struct parts kept = {.sharded = true};
    for (uint32_t i = 0; i < n; i++) {
        struct term term;
        if (!entry_term(r, b, list[i], &term))
            continue;
        struct term class = eqset_class(r, b->env, term);
        const struct located *l = find_located(r, b->env, p->located, &class, NULL, true);
        if (l && types_agree(term.type_oid, l->leaf->key_type))
            locate(r, &kept, term, l->leaf, true);
    }
    return kept;
}

static bool outputs_have_key(struct router *r, struct block *b, const struct parts *p)
{
    for (uint32_t i = 0; i < b->n_outputs; i++)
        if (b->outputs[i].term.leaf && located_has(r, b->env, p->located, b->outputs[i].term, NULL, true))
            return true;
    return false;
}

static struct parts select_parts(struct router *r, struct block *b, bool top)
{
    const struct sql_query *q = b->query;
    struct parts p = from_parts(r, b);
    if (!p.sharded) {
        p.unstable |= q->limit || q->offset || q->n_distinct_on > 0 || b->has_windows;
        return p;
    }
    if (p.why)
        return p;
    if (b->has_windows || q->n_windows > 0)
        return cannot("window functions over several shards are not supported",
                      "Give the key in WHERE, so that one shard has all the rows.");
    if (q->n_group > 0) {
        p = keep_listed(r, b, &p, q->group, q->n_group);
        if (!p.located)
            return cannot("GROUP BY without the key over several shards is not supported",
                          "Add the key column to GROUP BY, or give the key in WHERE.");
    } else if (b->has_aggregates && !top) {
        return cannot("aggregates in a subquery over several shards are not supported",
                      "Give the key in the subquery's WHERE.");
    }
    if (q->n_distinct_on > 0 && !keep_listed(r, b, &p, q->distinct_on, q->n_distinct_on).located)
        return cannot("DISTINCT ON without the key over several shards is not supported",
                      "Add the key column to DISTINCT ON, or give the key in WHERE.");
    if (q->distinct && q->n_distinct_on == 0 && !outputs_have_key(r, b, &p) &&
        !(top && b->has_aggregates && q->n_group == 0))
        return cannot("DISTINCT without the key over several shards is not supported",
                      "Add the key column to the select list, or give the key in WHERE.");
    if (!top && (q->limit || q->offset))
        return cannot("LIMIT in a subquery over several shards is not supported",
                      "Give the key in the subquery's WHERE.");
    return p;
}

static struct parts setop_parts(struct router *r, struct block *b)
{
    struct parts left = scatter_block(r, b->left, false), right = scatter_block(r, b->right, false);
    if (!left.sharded && !right.sharded)
        return (struct parts){.unstable =
                                  left.unstable || right.unstable || b->query->limit || b->query->offset};
    if (left.why || right.why)
        return left.why ? left : right;
    return cannot("set operations over several shards are not supported",
                  "Give the key in every branch, or run the branches one by one.");
}

struct parts scatter_block(struct router *r, struct block *b, bool top)
{
    switch (b->query->kind) {
    case SQL_SETOP:
        return setop_parts(r, b);
    case SQL_SELECT:
        return select_parts(r, b, top);
    case SQL_VALUES:
    case SQL_UPDATE:
    case SQL_DELETE:
        return from_parts(r, b);
    case SQL_INSERT:
    case SQL_MERGE:
        break;
    }
    return cannot("this statement over several shards is not supported",
                  "Give the key, so that one shard has all the rows.");
}
