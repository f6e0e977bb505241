/*
 * INSERT, UPDATE, DELETE and MERGE on tables that are on several shards.
 *
 * What runs on several shards is evaluated there once each, so it must come to the same everywhere: functions
 * that are not immutable are refused in writes to reference tables and in UPDATE and DELETE without a key.
 * The rows of one INSERT are each stored once, so functions in them are fine.
 */
#include "router_private.h"

static const char hint_function[] = "Compute the value in the application and pass it as a parameter.";
static const char hint_key[] = "Give the key column's value as a literal or a parameter.";

static bool several_shards(const struct router *r)
{
    return shard_set_count(&r->in->db->all_shards) > 1;
}

/* --- assignments to the key ------------------------------------------------------------------- */

static bool is_same_value(struct router *r, const struct block *b, const struct sql_expr *e)
{
    const struct leaf *leaf = b->target;
    struct term term;
    struct key_ref ref;
    if (!e)
        return false;
    if (resolve_column(r, e, &b->scope, &term) && term.leaf == leaf && strcmp(term.column, leaf->key) == 0)
        return true;
    return b->query->kind == SQL_UPDATE && leaf->n_pins == 1 && constant_of(r, e, leaf->key_type, &ref) &&
           ref.source == KEY_PARAM && leaf->pins[0].source == KEY_PARAM && ref.index == leaf->pins[0].index;
}

/* SET key = EXCLUDED.key, the conflict being one of the key. */
static bool is_excluded_key(const struct block *b, const struct sql_expr *e)
{
    bool names_key = false;
    if (!e || e->kind != SQL_EXPR_COLUMN || e->n_names != 2 || strcmp(e->names[0], "excluded") != 0 ||
        strcmp(e->names[1], b->target->key) != 0)
        return false;
    for (uint32_t i = 0; i < b->query->n_conflict_columns; i++)
        names_key |=
            b->query->conflict_columns[i] && strcmp(b->query->conflict_columns[i], b->target->key) == 0;
    return names_key;
}

static bool refuse_assignments(struct router *r, const struct block *b, const struct sql_target *set,
                               uint32_t n)
{
    const struct leaf *leaf = b->target;
    struct shard_set shards;
    if (!leaf || leaf->place != PLACE_KEYED)
        return false;
    table_shards(r->in->db, leaf->map, &shards);
    for (uint32_t i = 0; i < n && shard_set_count(&shards) > 1; i++) {
        if (!set[i].name || strcmp(set[i].name, leaf->key) != 0 ||
            router_spend(r, b->query->n_conflict_columns))
            continue;
        if (is_same_value(r, b, set[i].value) || is_excluded_key(b, set[i].value))
            continue;
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Delete the row and insert it with the new key, in one transaction.",
                    "changing the key column \"%s\" of the sharded table \"%s\" is not supported", leaf->key,
                    leaf_name(leaf));
        return true;
    }
    return false;
}

static bool refuse_block_assignments(struct router *r, const struct block *b)
{
    const struct sql_query *q = b->query;
    if (q->kind == SQL_UPDATE)
        return refuse_assignments(r, b, q->targets, q->n_targets);
    if (q->kind == SQL_INSERT)
        return refuse_assignments(r, b, q->conflict_set, q->n_conflict_set);
    return false;
}

bool refuse_key_assignments(struct router *r, struct block *b)
{
    for (uint32_t i = 0; i < r->n_cte_blocks; i++)
        if (refuse_block_assignments(r, r->cte_blocks[i]))
            return true;
    return refuse_block_assignments(r, b);
}

/* --- reference tables ------------------------------------------------------------------------- */

static bool limits_inside(const struct block *b)
{
    if (b->query->limit || b->query->offset || b->query->n_distinct_on > 0)
        return true;
    for (uint32_t i = 0; i < b->n_from; i++)
        if (b->from[i]->block && limits_inside(b->from[i]->block))
            return true;
    for (const struct sublink *s = b->sublinks; s; s = s->next)
        if (limits_inside(s->block))
            return true;
    return (b->source && limits_inside(b->source)) || (b->left && limits_inside(b->left)) ||
           (b->right && limits_inside(b->right));
}

static bool gives_column(const struct sql_query *q, uint32_t index, const char *name)
{
    if (q->n_targets == 0 && q->source && q->source->kind == SQL_VALUES && q->source->n_rows > 0)
        return index < q->source->rows[0].n_values;
    for (uint32_t i = 0; i < q->n_targets; i++)
        if (strcmp(q->targets[i].name, name) == 0)
            return true;
    return q->n_targets == 0 && q->source && q->source->kind != SQL_VALUES;
}

static bool uses_default_keyword(const struct sql_query *q)
{
    for (uint32_t i = 0; q->source && i < q->source->n_rows; i++)
        for (uint32_t k = 0; k < q->source->rows[i].n_values; k++)
            if (q->source->rows[i].values[k]->kind == SQL_EXPR_DEFAULT)
                return true;
    return false;
}

/* A default like now() or nextval() that each shard would evaluate for itself; NULL: none. */
static const char *varying_default(struct router *r, const struct block *b)
{
    const struct leaf *leaf = b->target;
    if (b->query->kind != SQL_INSERT || leaf->place != PLACE_REFERENCE)
        return NULL;
    bool keyword = uses_default_keyword(b->query);
    for (uint16_t i = 0; i < leaf->info->n_columns; i++) {
        const struct relation_column *column = &leaf->info->columns[i];
        if (!column->has_default || column->constant_default || column->generated)
            continue;
        if (keyword || router_spend(r, 1 + b->query->n_targets / 4) ||
            !gives_column(b->query, i, column->name))
            return column->name;
    }
    return NULL;
}

static void plan_reference_write(struct router *r, struct block *b, const struct census *c)
{
    struct plan *p = r->plan;
    const char *function = statement_not_immutable(r);
    p->fixed = r->in->db->all_shards;
    p->kind = PLAN_BROADCAST;
    p->tag_of_one = true;
    if (!several_shards(r)) {
        plan_single(r, &r->in->db->all_shards);
        return;
    }
    if (c->keyed > 0 || shard_set_count(&c->fixed) > 0) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Read the rows first, and write them with literals or parameters.",
                    "a write to the reference table \"%s\" cannot read \"%s\", which is not on every shard",
                    leaf_name(c->a_reference), leaf_name(c->keyed > 0 ? c->a_keyed : c->a_fixed));
        return;
    }
    if (function) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, hint_function,
                    "a write to a reference table cannot use %s, which each shard would evaluate differently",
                    function);
        return;
    }
    if (limits_inside(b)) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Read the rows first, and write them with literals or parameters.",
                    "LIMIT and DISTINCT ON in a write to a reference table are not supported");
        return;
    }
    const char *column = b->target ? varying_default(r, b) : NULL;
    for (uint32_t i = 0; i < r->n_cte_blocks && !column; i++)
        column = r->cte_blocks[i]->target ? varying_default(r, r->cte_blocks[i]) : NULL;
    if (column) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, "Give the column's value in the INSERT.",
                    "the default of column \"%s\" of the reference table \"%s\" may differ between shards",
                    column, leaf_name(c->a_reference));
        return;
    }
    p->why = "a reference table is written on every shard";
    const struct sql_query *q = b->query;
    bool adds_only = q->kind == SQL_INSERT && q->conflict == SQL_CONFLICT_NONE && q->source &&
                     q->source->kind == SQL_VALUES;
    plan_lock_copies(r, adds_only && !b->sublinks && r->n_cte_blocks == 0);
}

/* --- INSERT ----------------------------------------------------------------------------------- */

static void refuse_missing_key(struct router *r, const struct leaf *leaf)
{
    const struct relation_column *column = relation_column(leaf->info, leaf->key, NULL);
    if (column && column->has_default)
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Give the key in the INSERT: the row's shard is chosen before the server could apply the "
                    "default.",
                    "INSERT into the sharded table \"%s\" leaves its key column \"%s\" to the default",
                    leaf_name(leaf), leaf->key);
    else
        plan_refuse(r, SQLSTATE_NOT_NULL_VIOLATION, hint_key,
                    "INSERT into the sharded table \"%s\" gives no value for its key column \"%s\"",
                    leaf_name(leaf), leaf->key);
}

/* The rows of VALUES in the text: "( ... ), ( ... )" behind the table's name. */
static bool find_rows(struct router *r, const struct block *b, struct split_spec *split)
{
    struct error e;
    struct sql_tokens tokens;
    const uint32_t n_rows = b->source->query->n_rows;
    struct rewrite_cursor cursor = {.t = r->t};
    uint32_t i = 0, found = 0, depth = 0;
    if (sql_scan(r->t->statement, r->arena, &tokens, &e) != STATUS_OK || b->query->relation->at < 0)
        return false;
    for (i = sql_token_from(&tokens, (uint32_t)b->query->relation->at) + 1;
         i + 1 < tokens.count && tokens.items[i].c == '.'; i += 2)
        ;
    while (i + 1 < tokens.count && !(sql_token_is(&tokens, i, "VALUES") && tokens.items[i + 1].c == '('))
        i++;
    split->rows = arena_alloc(r->keep, (n_rows + 1) * sizeof(*split->rows));
    for (i++; i < tokens.count; i++) {
        const struct sql_token *token = &tokens.items[i];
        if (token->c == '(') {
            if (depth++ == 0) {
                if (found == n_rows)
                    return false;
                split->rows[found].from = rewrite_cursor_offset(&cursor, token->from);
            }
        } else if (token->c == ')') {
            if (depth == 0)
                return false;
            if (--depth == 0) {
                split->rows[found].to = rewrite_cursor_offset(&cursor, token->from) + 1;
                if (!rewrite_span_fits(r->t, split->rows[found].from, split->rows[found].to))
                    return false;
                split->rows[found].key = r->plan->keys[0];
                found++;
            }
        } else if (depth == 0 && token->c != ',') {
            break;
        }
    }
    split->n_rows = found;
    split->list_from = split->rows[0].from;
    split->list_to = found ? split->rows[found - 1].to : 0;
    return found == n_rows && depth == 0;
}

static void plan_values(struct router *r, struct block *b, const struct census *c)
{
    struct plan *p = r->plan;
    const struct sql_query *values = b->source->query;
    if (values->n_rows == 1 && c->keyed == 1)
        return; /* SINGLE by its key */
    bool plain = values->n_ctes == 0 && b->query->n_ctes == 0 && !values->limit && !values->offset &&
                 values->n_sort == 0 && c->keyed == 1;
    if (!plain || !find_rows(r, b, &p->split)) {
        plan_refuse_if_several(r, "Insert the rows with one statement each, or without subqueries.",
                               "this INSERT has rows for several shards, and cannot be split");
        return;
    }
    p->kind = PLAN_SPLIT;
    for (uint32_t i = 0; i < p->split.n_rows; i++) {
        struct key_ref ref = b->target->pins[i];
        if (ref.untyped)
            ref.untyped = r->param_good[ref.index] < r->stmt->param_uses[ref.index];
        p->split.rows[i].key = ref;
    }
}

/* INSERT ... SELECT whose rows stay on the shard that they come from. */
static bool stays_in_place(struct router *r, struct block *b)
{
    const struct block *source = b->source;
    if (b->insert_key == UINT32_MAX || !source->outputs_known || b->insert_key >= source->n_outputs)
        return false;
    struct parts parts = scatter_block(r, b->source, false);
    struct term term = source->outputs[b->insert_key].term;
    return parts.sharded && !parts.why && term.leaf &&
           located_has(r, source->env, parts.located, term, b->target, true);
}

/* On the one shard of a routing hint a function is evaluated once. */
static const char *broadcast_obstacle(struct router *r)
{
    if (has_hint(r))
        return NULL;
    const char *function = statement_home_function(r);
    return function ? function : statement_not_immutable(r);
}

static void plan_insert_select(struct router *r, struct block *b, struct key_state keys)
{
    const char *function = broadcast_obstacle(r);
    if (keys.one_shard)
        return;
    if (r->writing_cte || !stays_in_place(r, b)) {
        plan_refuse_if_several(r,
                               "Select rows of one shard (by their key) into the same key, or read them "
                               "first and insert them with VALUES.",
                               "INSERT ... SELECT over several shards is not supported");
        return;
    }
    if (function) {
        plan_refuse_if_several(r, hint_function,
                               "INSERT ... SELECT over several shards cannot use %s, which each shard would "
                               "evaluate differently",
                               function);
        return;
    }
    r->plan->kind = PLAN_BROADCAST;
    r->plan->why = "rows are copied on every shard";
}

static void plan_insert(struct router *r, struct block *b, const struct census *c, struct key_state keys)
{
    const struct leaf *leaf = b->target;
    struct shard_set shards;
    table_shards(r->in->db, leaf->map, &shards);
    r->plan->stores_keys = leaf->place == PLACE_KEYED;
    if (leaf->place != PLACE_KEYED || shard_set_count(&shards) <= 1) {
        if (!keys.one_shard)
            plan_refuse_if_several(r, "Give the key, so that one shard has all the rows that are read.",
                                   "INSERT from several shards into \"%s\" is not supported",
                                   leaf_name(leaf));
        return;
    }
    if (!b->source || b->insert_key == UINT32_MAX) {
        refuse_missing_key(r, leaf);
        return;
    }
    if (b->source->query->kind != SQL_VALUES) {
        plan_insert_select(r, b, keys);
        return;
    }
    for (uint32_t i = 0; i < b->source->query->n_rows; i++) {
        const struct sql_row *row = &b->source->query->rows[i];
        if (b->insert_key >= row->n_values || row->values[b->insert_key]->kind == SQL_EXPR_DEFAULT) {
            refuse_missing_key(r, leaf);
            return;
        }
    }
    if (!leaf->pinned) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, hint_key,
                    "the key column \"%s\" of the sharded table \"%s\" is given by an expression", leaf->key,
                    leaf_name(leaf));
        return;
    }
    if (keys.all_pinned)
        plan_values(r, b, c);
    else
        plan_refuse_if_several(r, "Read the rows first, and insert them with literals or parameters.",
                               "INSERT with a subquery over several shards is not supported");
}

/* --- UPDATE, DELETE --------------------------------------------------------------------------- */

/* A subquery over tables that every shard has may come to another row on each, with LIMIT. */
static bool limits_shared_rows(const struct router *r, const struct block *b)
{
    if (has_hint(r))
        return false;
    for (const struct sublink *s = b->sublinks; s; s = s->next)
        if (!block_reads_keyed(s->block) && limits_inside(s->block))
            return true;
    return false;
}

static void plan_change(struct router *r, struct block *b, struct key_state keys)
{
    const char *function = broadcast_obstacle(r);
    struct parts parts;
    if (keys.one_shard)
        return;
    if (r->current_of || r->writing_cte) {
        plan_refuse_if_several(r, "Give the key, so that one shard has all the rows.",
                               r->current_of
                                   ? "WHERE CURRENT OF over several shards is not supported"
                                   : "WITH queries that write over several shards are not supported");
        return;
    }
    parts = scatter_block(r, b, true);
    if (b->target->place != PLACE_KEYED && !parts.why)
        parts = (struct parts){.why = "a write that reads several shards is not supported",
                               .hint = "Give the key of the tables that are read."};
    if (parts.why) {
        plan_refuse_if_several(r, parts.hint, "%s", parts.why);
        return;
    }
    if (limits_shared_rows(r, b)) {
        plan_refuse_if_several(r, "Read the value first, and pass it as a parameter.",
                               "LIMIT in a subquery of a write over several shards is not supported");
        return;
    }
    if (function) {
        plan_refuse_if_several(
            r, hint_function,
            "%s over several shards cannot use %s, which each shard would evaluate differently",
            r->plan->command, function);
        return;
    }
    r->plan->kind = PLAN_BROADCAST;
    r->plan->why = keys.all_pinned ? NULL : "the key is not given";
}

void plan_write(struct router *r, struct block *b, const struct census *c, struct key_state keys)
{
    if (c->reference_written > 0) {
        plan_reference_write(r, b, c);
        return;
    }
    switch (b->query->kind) {
    case SQL_INSERT:
        plan_insert(r, b, c, keys);
        return;
    case SQL_UPDATE:
    case SQL_DELETE:
        plan_change(r, b, keys);
        return;
    default:
        break;
    }
    /* MERGE may insert rows under keys that its source gives: only where no other shard could be meant. */
    if (shard_set_count(&r->plan->fixed) > 1)
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Use INSERT ... ON CONFLICT, or UPDATE and INSERT in one transaction.",
                    "MERGE over sharded tables is not supported");
}
