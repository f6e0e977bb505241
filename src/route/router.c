/*
 * From a template to a plan: parses, then sorts the statement by its kind. What each kind needs is in
 * router_query.c, router_write.c, router_copy.c and router_ddl.c; router_private.h tells how they work
 * together.
 *
 * Not responsible for: transactions, sessions, sending anything.
 */
#include "router_private.h"

#include "base/stack.h"
#include "sql/shorten.h"
#include <stdlib.h>

/* What planning a statement may cost beyond its size, in steps of some ten nanoseconds. */
#define EFFORT_FREE     UINT64_C(5000000)
#define EFFORT_PER_BYTE UINT64_C(64)

static void plan_local(struct router *r, enum plan_verb verb)
{
    r->plan->verb = verb;
    r->plan->kind = PLAN_LOCAL;
}

static bool one_shard_only(const struct router *r)
{
    return shard_set_count(&r->in->db->all_shards) <= 1;
}

/* --- variables -------------------------------------------------------------------------------- */

static void plan_set(struct router *r, const struct sql_statement *stmt)
{
    struct plan *p = r->plan;
    bool ours = stmt->name && strncmp(stmt->name, "pgunison.", 9) == 0;
    p->name = keep_string(r, stmt->name);
    p->value = stmt->value_default ? NULL : keep_string(r, stmt->value);
    p->value_default = stmt->value_default;
    p->local = stmt->local;
    p->modes =
        (struct transaction_modes){stmt->modes.isolation, stmt->modes.read_only, stmt->modes.deferrable};
    /* The value is in the text: the plan holds for it alone. */
    for (uint32_t i = 0; i < r->t->n_literals; i++)
        plan_pin(r, i);
    plan_local(r, ours ? VERB_SET_PGUNISON : stmt->local ? VERB_SET_LOCAL : VERB_SET);
}

static void plan_show(struct router *r, const struct sql_statement *stmt)
{
    r->plan->name = keep_string(r, stmt->name);
    plan_local(r, VERB_SHOW);
    if (!stmt->name || strncmp(stmt->name, "pgunison.", 9) != 0)
        plan_home(r);
}

static void plan_discard(struct router *r, const struct sql_statement *stmt)
{
    if (strcmp(stmt->name, "ALL") == 0) {
        plan_local(r, VERB_DISCARD_ALL);
        return;
    }
    plan_home(r);
    r->plan->writes = strcmp(stmt->name, "TEMP") == 0;
}

/* --- queries and what holds them -------------------------------------------------------------- */

static void plan_query_statement(struct router *r, const struct sql_statement *stmt)
{
    if (stmt == r->stmt && plan_set_config(r, stmt->query))
        return;
    struct block *b = bind_statement(r, stmt->query);
    if (b)
        plan_query(r, b);
    hint_query(r);
}

/* The inner statement must be for one shard: what holds it cannot be merged. */
static void require_one_shard(struct router *r, const char *what, const char *hint)
{
    struct plan *p = r->plan;
    if (p->kind != PLAN_SCATTER && p->kind != PLAN_BROADCAST && p->kind != PLAN_SPLIT)
        return;
    if (p->kind == PLAN_SPLIT) { /* its keys are the rows' */
        p->keys = arena_alloc(r->keep, p->split.n_rows * sizeof(*p->keys));
        p->n_keys = p->split.n_rows;
        for (uint32_t i = 0; i < p->split.n_rows; i++)
            p->keys[i] = p->split.rows[i].key;
    }
    p->has_rewrite = false;
    p->tag_of_one = false;
    memset(&p->merge, 0, sizeof(p->merge));
    memset(&p->split, 0, sizeof(p->split));
    plan_refuse_if_several(r, hint, "%s of a statement over several shards is not supported", what);
}

/* The inner statement's span: behind EXPLAIN's options. */
static bool find_inner(struct router *r)
{
    struct sql_tokens tokens;
    struct error e;
    uint32_t i = 1, depth = 0;
    if (sql_scan(r->t->statement, r->arena, &tokens, &e) != STATUS_OK || tokens.count < 3)
        return false;
    do {
        depth += tokens.items[i].c == '(';
        depth -= tokens.items[i].c == ')';
        i++;
    } while (i < tokens.count && depth > 0);
    if (i >= tokens.count)
        return false;
    r->plan->inner_from = rewrite_template_offset(r->t, tokens.items[i].from);
    r->plan->inner_to = (uint32_t)buf_len(&r->t->text);
    return rewrite_span_fits(r->t, r->plan->inner_from, r->plan->inner_to);
}

static void plan_explain(struct router *r, const struct sql_statement *stmt)
{
    if (stmt->explain_route) {
        plan_local(r, VERB_EXPLAIN_ROUTE);
        if (!find_inner(r))
            plan_refuse(r, SQLSTATE_SYNTAX_ERROR, "Write EXPLAIN (ROUTE) statement.",
                        "EXPLAIN (ROUTE) cannot be read");
        return;
    }
    plan_statement(r, stmt->inner);
    r->plan->command = "EXPLAIN";
    require_one_shard(r, "EXPLAIN",
                      "EXPLAIN (ROUTE) shows what the proxy does; give the key for one shard's plan.");
    if (!stmt->explain_analyze) {
        r->plan->writes = code_writes(r) || statement_calls_unknown(r); /* planning runs what is immutable */
        r->plan->changes_catalog = r->plan->cannot_prepare = false;
        r->plan->stores_keys = false;
    }
}

static void plan_declare(struct router *r, const struct sql_statement *stmt)
{
    struct plan *p = r->plan;
    plan_statement(r, stmt->inner);
    p->verb = VERB_DECLARE_CURSOR;
    p->command = "DECLARE CURSOR";
    p->name = keep_string(r, stmt->name);
    p->cannot_prepare |= stmt->hold;
    require_one_shard(r, "DECLARE CURSOR", "Give the key in WHERE, or run the query without a cursor.");
}

/* What the session does by itself, with no more than a name. */
static void plan_named(struct router *r, const struct sql_statement *stmt)
{
    static const enum plan_verb verbs[] = {
        [SQL_STMT_BEGIN] = VERB_BEGIN,
        [SQL_STMT_COMMIT] = VERB_COMMIT,
        [SQL_STMT_ROLLBACK] = VERB_ROLLBACK,
        [SQL_STMT_SAVEPOINT] = VERB_SAVEPOINT,
        [SQL_STMT_RELEASE] = VERB_RELEASE,
        [SQL_STMT_ROLLBACK_TO] = VERB_ROLLBACK_TO,
        [SQL_STMT_SET_TRANSACTION] = VERB_SET_TRANSACTION,
        [SQL_STMT_DEALLOCATE] = VERB_DEALLOCATE,
        [SQL_STMT_FETCH] = VERB_FETCH,
        [SQL_STMT_CLOSE] = VERB_CLOSE_CURSOR,
    };
    r->plan->name = keep_string(r, stmt->name);
    plan_local(r, verbs[stmt->kind]);
}

static void plan_prepare(struct router *r)
{
    if (one_shard_only(r)) {
        plan_home(r);
        r->plan->writes = true;
        return;
    }
    plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "Use the protocol's prepared statements: drivers do that by themselves.",
                "PREPARE and EXECUTE as SQL statements are not supported");
}

static void plan_notify(struct router *r)
{
    plan_home(r);
    r->plan->writes = r->plan->cannot_prepare = true;
}

static void plan_code(struct router *r, const struct sql_statement *stmt)
{
    r->plan->writes = true;
    if (has_hint(r)) {
        hint_code(r);
        return;
    }
    plan_home(r);
    if (!one_shard_only(r))
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Say where it is to run: /* pgunison: shard=NAME */ before the statement.",
                    "%s is not supported without saying on which shard: its code could use any table",
                    stmt->command);
}

static void plan_control(struct router *r, const struct sql_statement *stmt)
{
    struct plan *p = r->plan;
    plan_named(r, stmt);
    p->chain = stmt->chain;
    p->modes =
        (struct transaction_modes){stmt->modes.isolation, stmt->modes.read_only, stmt->modes.deferrable};
}

static void plan_set_transaction(struct router *r, const struct sql_statement *stmt)
{
    plan_control(r, stmt);
    for (uint32_t i = 0; i < r->t->n_literals; i++)
        plan_pin(r, i);
    r->plan->value_default = stmt->value_default;
    if (stmt->message && !one_shard_only(r))
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED, stmt->hint, "%s", stmt->message);
}

/* Two phases belong to the proxy: nobody else may end, or make, what its commits stand on, however it is routed. A
 * client's own prepared transaction, where that is allowed, stays on one shard and out of the proxy's names. */
static void plan_prepared_transaction(struct router *r, const struct sql_statement *stmt)
{
    static const char ours[] = "pgunison/";
    for (uint32_t i = 0; i < r->t->n_literals; i++)
        plan_pin(r, i);
    if (!r->in->client_two_phase) {
        plan_refuse(
            r, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "Use COMMIT: it is atomic over all shards. client_two_phase = on allows them on one shard.",
            "PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED are not supported");
        return;
    }
    if (!stmt->name || strncmp(stmt->name, ours, sizeof(ours) - 1) == 0) {
        plan_refuse(r, SQLSTATE_RESERVED_NAME, "Use a name that does not begin with \"pgunison/\".",
                    "transaction identifier \"%s\" is reserved for the proxy", stmt->name ? stmt->name : "");
        return;
    }
    r->plan->name = keep_string(r, stmt->name);
    if (strcmp(stmt->command, "PREPARE TRANSACTION") == 0) {
        plan_local(r, VERB_PREPARE_TRANSACTION);
        return;
    }
    r->plan->writes = true;
    if (has_hint(r))
        hint_code(r);
    else if (one_shard_only(r))
        plan_home(r);
    else
        plan_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                    "Use SET pgunison.shard, or /* pgunison: shard=NAME */ before the statement.",
                    "%s must say on which shard the transaction was prepared", stmt->command);
}

void plan_statement(struct router *r, const struct sql_statement *stmt)
{
    r->plan->command = stmt->command;
    r->plan->verb = VERB_QUERY;
    switch (stmt->kind) {
    case SQL_STMT_EMPTY:
        plan_local(r, VERB_EMPTY);
        return;
    case SQL_STMT_QUERY:
        plan_query_statement(r, stmt);
        return;
    case SQL_STMT_BEGIN:
    case SQL_STMT_COMMIT:
    case SQL_STMT_ROLLBACK:
    case SQL_STMT_SAVEPOINT:
    case SQL_STMT_RELEASE:
    case SQL_STMT_ROLLBACK_TO:
        plan_control(r, stmt);
        return;
    case SQL_STMT_SET_TRANSACTION:
        plan_set_transaction(r, stmt);
        return;
    case SQL_STMT_PREPARED_TRANSACTION:
        plan_prepared_transaction(r, stmt);
        return;
    case SQL_STMT_SET:
    case SQL_STMT_RESET:
        plan_set(r, stmt);
        return;
    case SQL_STMT_RESET_ALL:
        plan_local(r, VERB_RESET_ALL);
        return;
    case SQL_STMT_SHOW:
        plan_show(r, stmt);
        return;
    case SQL_STMT_DISCARD:
        plan_discard(r, stmt);
        return;
    case SQL_STMT_PREPARE:
    case SQL_STMT_EXECUTE:
        plan_prepare(r);
        return;
    case SQL_STMT_DEALLOCATE:
    case SQL_STMT_FETCH:
    case SQL_STMT_CLOSE:
        plan_named(r, stmt);
        return;
    case SQL_STMT_DECLARE:
        plan_declare(r, stmt);
        return;
    case SQL_STMT_EXPLAIN:
        plan_explain(r, stmt);
        return;
    case SQL_STMT_LISTEN:
    case SQL_STMT_NOTIFY:
        plan_notify(r);
        return;
    case SQL_STMT_DO:
        plan_code(r, stmt);
        return;
    case SQL_STMT_COPY:
        plan_copy(r, stmt);
        return;
    case SQL_STMT_CREATE_TABLE_AS:
        plan_create_as(r, stmt);
        return;
    case SQL_STMT_TABLES:
    case SQL_STMT_CREATE_TABLE:
    case SQL_STMT_CREATE_VIEW:
    case SQL_STMT_HOME:
    case SQL_STMT_EVERYWHERE:
        plan_ddl(r, stmt);
        return;
    case SQL_STMT_REFUSED:
        plan_refuse(r, stmt->sqlstate ? stmt->sqlstate : SQLSTATE_FEATURE_NOT_SUPPORTED, stmt->hint, "%s",
                    stmt->message);
        return;
    }
}

/* Strings in the statement's tree are of the arena that dies with this call, or literals in the code. */
static void keep_strings(struct router *r)
{
    r->plan->command = keep_string(r, r->plan->command);
    r->plan->n_params = r->stmt->n_params;
}

/* Whoever runs a plan counts on it that there is a shard: what comes without one goes to the home shard, and the
   server says what is wrong with it. */
static void check_places(struct router *r)
{
    struct plan *p = r->plan;
    if (p->kind == PLAN_LOCAL || p->kind == PLAN_REFUSE || p->kind == PLAN_SPLIT || p->n_keys > 0 ||
        shard_set_count(&p->fixed) > 0)
        return;
    plan_home(r);
    p->tag_of_one = false;
}

static enum router_result make_plan(struct router *r, struct error *error_r)
{
    struct sql_statement *stmt;
    if (r->t->several) {
        error_set(error_r, SQLSTATE_SYNTAX_ERROR, "the text holds several statements");
        return ROUTER_ERROR;
    }
    if (sql_parse(r->t, r->arena, &stmt, error_r) != STATUS_OK)
        return ROUTER_ERROR;
    r->stmt = stmt;
    r->functions = stmt->functions;
    r->n_functions = stmt->n_functions;
    r->param_good = arena_zalloc(r->arena, (stmt->n_params + 1U) * sizeof(*r->param_good));
    r->good_uses = arena_zalloc(r->arena, (stmt->n_param_exprs + 1U) * sizeof(*r->good_uses));
    r->sublinks = arena_zalloc(r->arena, (stmt->n_sublinks + 1U) * sizeof(struct sublink *));
    r->stack_floor = stack_left() / 3 * 2;
    r->effort_limit = EFFORT_FREE + EFFORT_PER_BYTE * r->t->statement.len;
    plan_own(r, stmt);
    if (r->needs_catalog)
        return ROUTER_NEEDS_CATALOG;
    plan_statement(r, stmt);
    if (plan_beyond_limits(r) || !r->needs_catalog)
        plan_effects(r, stmt);
    if (!plan_beyond_limits(r) && r->needs_catalog)
        return ROUTER_NEEDS_CATALOG;
    check_places(r);
    finish_pins(r);
    keep_strings(r);
    return ROUTER_OK;
}

static enum router_result plan_text(const struct router_input *in, const struct template *t,
                                    struct plan **plan_r, struct error *error_r)
{
    struct arena arena;
    arena_init(&arena);
    struct plan *plan = xcalloc(1, sizeof(*plan));
    arena_init(&plan->arena);
    plan->modes = (struct transaction_modes){-1, -1, -1};
    struct router r = {.in = in, .t = t, .arena = &arena, .plan = plan, .keep = &plan->arena};
    enum router_result result = make_plan(&r, error_r);
    arena_free(&arena);
    if (result == ROUTER_OK)
        *plan_r = plan;
    else
        plan_destroy(plan);
    return result;
}

static bool depends_on_changed(const struct plan *p, const struct shortened *s)
{
    for (size_t i = 0; i < p->n_pinned; i++)
        if (shorten_changed(s, p->pinned[i]))
            return true;
    return false;
}

/* Long literals are planned as short ones, unless the plan depends on what they say. */
enum router_result router_plan(const struct router_input *in, const struct template *t, struct plan **plan_r,
                               struct error *error_r)
{
    struct shortened s;
    if (!shorten_begin(&s, t))
        return plan_text(in, t, plan_r, error_r);
    enum router_result result = plan_text(in, &s.t, plan_r, error_r);
    bool again = result == ROUTER_OK && depends_on_changed(*plan_r, &s);
    if (again)
        plan_destroy(*plan_r);
    shorten_end(&s);
    return again ? plan_text(in, t, plan_r, error_r) : result;
}
