/*
 * The decision on its way to the decider: its INSERT and COMMIT as statements that each server has prepared,
 * which saves the shard parsing and planning them for every commit.
 *
 *     [Close what had to make room]  [Parse INSERT]  [Parse COMMIT]  Bind Execute  Bind Execute  Sync
 *
 * If one fails, the shard skips the rest up to Sync: no COMMIT follows an INSERT that failed. Where a server
 * may not keep two more statements, or a function may have made others of their names, they are parsed each time, without a name. Never as one simple Query: its text,
 * with the proof in it, could be read in pg_stat_activity by sessions of the same role while it runs.
 *
 * A session that has row_security off (every dump sets it) could not insert where there are row policies: there it is
 * turned on again for what is left of the transaction, in front of the rest.
 *
 * Not responsible for: what the answer means (txn/coordinator).
 */
#include "session.h"

#include "sql/effects.h"
#include "txn/decision.h"
#include "wire/datum.h"

#include <stdio.h>
#include <string.h>

static const uint32_t text_oids[] = {OID_TEXT, OID_TEXT, OID_TEXT};

/* Known to no registry, and never forgotten: the environment's own reference stays. */
static struct statement_def own_statement(uint64_t id, const char *name, const char *sql, uint16_t n_params)
{
    struct statement_def def = {
        .id = id, .refs = 1, .sql = slice_str(sql), .n_oids = n_params, .oids = text_oids};
    snprintf(def.server_name, sizeof def.server_name, "pgunison_%s", name);
    return def;
}

void decide_init(struct session_env *env)
{
    env->decide[0] = own_statement(UINT64_MAX, "decide", decision_insert_sql, 3);
    env->decide[1] = own_statement(UINT64_MAX - 1, "commit", "COMMIT", 0);
}

static void prepare(struct link *l, struct buf *b)
{
    struct server *s = l->server;
    struct statement_def *defs = l->client->env->decide;
    bool missing[2];
    struct prepared_close close[2];
    for (int i = 0; i < 2; i++) { /* first, so that no error can skip a Close */
        missing[i] = !prepared_set_use(s->prepared, &defs[i]);
        if (!missing[i])
            continue;
        prepared_set_add(s->prepared, &defs[i], close);
        for (size_t j = 0; j < 2 && close[j].name[0]; j++) {
            message_close(b, 'S', close[j].name);
            server_expect(s, EXPECT_CLOSE, SINK_DROP, TAG_TWO_PHASE, NULL);
            if (close[j].id) /* nothing can skip it */
                prepared_set_closed(s->prepared, close[j].id, true);
        }
    }
    for (int i = 0; i < 2; i++)
        if (missing[i]) {
            message_parse(b, defs[i].server_name, defs[i].sql, defs[i].n_oids, defs[i].oids);
            server_expect(s, EXPECT_PARSE, SINK_MESSAGE, TAG_TWO_PHASE, &defs[i]);
        }
}

static void bind_and_execute(struct link *l, struct buf *b, const char *name, uint16_t n,
                             const char *const *values)
{
    message_bind_text(b, name, n, values);
    message_execute(b, "", 0);
    server_expect(l->server, EXPECT_BIND, SINK_MESSAGE, TAG_TWO_PHASE, NULL);
    server_expect(l->server, EXPECT_EXECUTE, SINK_MESSAGE, TAG_TWO_PHASE, NULL);
}

/* Without a name, and for once. */
static void parse_and_execute(struct link *l, struct buf *b, struct slice sql, uint16_t n,
                              const char *const *values)
{
    message_parse(b, "", sql, n, text_oids);
    server_expect(l->server, EXPECT_PARSE, SINK_MESSAGE, TAG_TWO_PHASE, NULL);
    l->server->unnamed_statement = 0;
    bind_and_execute(l, b, "", n, values);
}

/* Maybe: what a SET LOCAL says is looked for in its text. */
static bool row_security_off(struct client *c)
{
    const char *value = c->vars ? varset_get(c->vars, "row_security") : NULL;
    if (value && strcmp(value, "on") != 0)
        return true;
    list_foreach(&c->txn.replay, node, next) if (strcasestr(list_entry(node, struct replay, node)->sql,
                                                            "row_security")) return true;
    return false;
}

/* A function that this session called may have put others in their place, which nobody has looked for yet, or which went
   with the session's own (state.c). */
static bool names_are_ours(const struct link *l)
{
    return !(l->effects & EFFECT_PREPARED) && !l->server->closes_after;
}

void decide_send(struct link *l, const struct txn_decision *d)
{
    struct statement_def *defs = l->client->env->decide;
    const char *const values[] = {d->txid, d->shards, d->proof};
    struct buf b;
    buf_init(&b);
    if (row_security_off(l->client))
        parse_and_execute(l, &b, slice_str("SET LOCAL row_security = on"), 0, NULL);
    if (l->client->config->settings.max_prepared_statements < 4 || !names_are_ours(l)) {
        parse_and_execute(l, &b, defs[0].sql, 3, values);
        parse_and_execute(l, &b, defs[1].sql, 0, NULL);
    } else {
        prepare(l, &b);
        bind_and_execute(l, &b, defs[0].server_name, 3, values);
        bind_and_execute(l, &b, defs[1].server_name, 0, NULL);
    }
    message_empty(&b, MSG_SYNC);
    server_set_reading(l->server, true);
    server_write(l->server, buf_head(&b), buf_len(&b));
    server_expect(l->server, EXPECT_SYNC, SINK_MESSAGE, TAG_TWO_PHASE, NULL);
    buf_free(&b);
}

void decide_failed(struct link *l, const struct expect *e, const struct error *why)
{
    struct statement_def *defs = l->client->env->decide;
    if (e->kind == EXPECT_PARSE && e->arg)
        prepared_set_remove(l->server->prepared, e->arg);
    else if (e->kind == EXPECT_BIND && why && strcmp(why->sqlstate, SQLSTATE_INVALID_STATEMENT_NAME) == 0)
        for (int i = 0; i < 2; i++) /* a function of the application's did away with it */
            prepared_set_remove(l->server->prepared, &defs[i]);
}
