/* SELECT over whatever tables, and the fork to the writes. */
#include "router_private.h"

static const char hint_fixed[] = "Make it a reference table, or shard it by the same key.";

struct block *bind_statement(struct router *r, const struct sql_query *query)
{
    struct block *b = bind_query(r, query, NULL);
    if (r->needs_catalog)
        return NULL;
    plan_attributes(r);
    r->plan->writes =
        statement_writes_by_function(r, r->plan) || r->writes || r->locks_rows || code_writes(r);
    for (uint32_t i = 0; i < r->n_leaves; i++)
        if (r->leaves[i]->info && r->leaves[i]->info->temporary)
            r->plan->cannot_prepare = true;
    if (plan_obstacles(r))
        return NULL;
    flow_statement(r, b);
    return b;
}

/* No table is sharded by key, and no reference table is written. */
static void plan_unkeyed(struct router *r, const struct census *c)
{
    if (shard_set_count(&c->fixed) > 1) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, hint_fixed,
                    "table \"%s\" lives on another shard than the other tables of the statement",
                    leaf_name(c->a_fixed));
        return;
    }
    if (shard_set_count(&c->fixed) == 1) {
        plan_single(r, &c->fixed);
        return;
    }
    if (c->reference == 0 ||
        r->plan->writes) { /* a row lock on a reference table is taken where all take it */
        plan_home(r);
        return;
    }
    plan_single(r, &r->in->db->all_shards);
    r->plan->read_any_shard = true;
}

static void plan_select(struct router *r, struct block *b, bool all_pinned)
{
    struct plan *p = r->plan;
    const char *why = NULL, *hint = NULL, *name = statement_home_function(r);
    if (r->writing_cte) {
        plan_refuse_if_several(
            r, "Give the key, so that one shard has all the rows, or run the statements one by one.",
            "WITH queries that write over several shards are not supported");
        return;
    }
    if (name) {
        plan_refuse_if_several(r, "Call the function in a statement of its own.",
                               "function %s() over several shards is not supported", name);
        return;
    }
    struct parts parts = scatter_block(r, b, true);
    if (!parts.sharded &&
        !parts.why) { /* only WITH queries that nothing refers to, so never run, name sharded tables */
        struct shard_set first;
        shard_set_clear(&first);
        shard_set_add(&first, (unsigned)shard_set_next(&p->fixed, 0));
        p->n_keys = 0;
        plan_single(r, &first);
        return;
    }
    if (!parts.why && b->query->kind != SQL_SELECT)
        parts = (struct parts){.why = "this statement over several shards is not supported",
                               .hint = "Give the key in every part of it."};
    if (parts.why) {
        plan_refuse_if_several(r, parts.hint, "%s", parts.why);
        return;
    }
    if (!plan_merge(r, b, &why, &hint)) {
        plan_refuse_if_several(r, hint, "%s", why);
        if (r->merge_beyond_limits)
            memcpy(p->refusal->sqlstate, SQLSTATE_PROGRAM_LIMIT, sizeof(p->refusal->sqlstate));
        return;
    }
    p->kind = PLAN_SCATTER;
    p->why = all_pinned ? NULL : "the key of every sharded table is not given";
}

void plan_query(struct router *r, struct block *b)
{
    struct census c;
    bool all_pinned;
    take_census(r, &c);
    if (c.reference_written > 0) {
        plan_write(r, b, &c, (struct key_state){0});
        return;
    }
    if (c.keyed == 0) {
        plan_unkeyed(r, &c);
        return;
    }
    if (refuse_key_assignments(r, b))
        return;
    r->plan->fixed = c.fixed;
    bool one_shard = plan_keys(r, &all_pinned);
    if (shard_set_count(&c.fixed) > 0 && shard_set_count(&r->plan->fixed) > 1) {
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, hint_fixed,
                    "\"%s\" lives on one shard only and cannot be joined with the sharded table \"%s\"",
                    leaf_name(c.a_fixed), leaf_name(c.a_keyed));
        return;
    }
    if (b->target) {
        plan_write(r, b, &c, (struct key_state){.all_pinned = all_pinned, .one_shard = one_shard});
        return;
    }
    if (one_shard)
        return;
    if (r->current_of) {
        plan_refuse_if_several(r, "Use the key instead of the cursor.",
                               "WHERE CURRENT OF over several shards is not supported");
        return;
    }
    plan_select(r, b, all_pinned);
}
