/*
 * A server's variables: making them the session's before it is used.
 *
 *     server->vars == what the session has   nothing (one comparison of pointers)
 *     only application_name differs          Q "SET application_name TO .." goes along with what follows
 *     others differ                          P "SELECT set_config($1, $2, false)", B E for each, S; answer is awaited
 *     server->vars is unknown                B E of RESET SESSION AUTHORIZATION and RESET ALL come before
 *     the server has a custom variable that the session never had: it is closed, and another one is taken
 *
 * Values are parameters: nothing that a client says is SQL of ours. All of a set is one implicit transaction: it
 * is there, or nothing of it.
 *
 * Not responsible for: what the session has set (vars.c).
 */
#include "session.h"

#include "base/log.h"

/* --- sending ---------------------------------------------------------------------------------- */

struct sending {
    struct server *server;
    struct buf messages;
};

static void expect_step(struct server *s)
{
    server_expect(s, EXPECT_BIND, SINK_DROP, TAG_VARIABLES, NULL);
    server_expect(s, EXPECT_EXECUTE, SINK_DROP, TAG_VARIABLES, NULL);
}

static void send_parse(struct sending *x, const char *sql)
{
    static const uint32_t text_oids[2] = {25, 25};
    message_parse(&x->messages, "", slice_str(sql), strchr(sql, '$') ? 2 : 0, text_oids);
    server_expect(x->server, EXPECT_PARSE, SINK_DROP, TAG_VARIABLES, NULL);
}

static void send_command(struct sending *x, const char *sql)
{
    send_parse(x, sql);
    message_bind_text(&x->messages, "", 0, NULL);
    message_execute(&x->messages, "", 0);
    expect_step(x->server);
}

static void send_change(void *arg, const char *name, const char *value)
{
    struct sending *x = arg;
    message_bind_text(&x->messages, "", 2, (const char *const[]){name, value});
    message_execute(&x->messages, "", 0);
    expect_step(x->server);
}

static void send_all(struct link *l, const struct varset *wanted)
{
    struct server *s = l->server;
    struct sending x = {.server = s};
    buf_init(&x.messages);
    server_set_reading(s, true);
    if (s->vars && s->vars->unknown) {
        send_command(&x, "RESET SESSION AUTHORIZATION");
        send_command(&x, "RESET ALL");
    }
    send_parse(&x, "SELECT pg_catalog.set_config($1, $2, false)");
    (void)varset_diff(s->vars, wanted, vars_named(l->client), send_change, &x);
    message_empty(&x.messages, MSG_SYNC);
    server_expect(s, EXPECT_SYNC, SINK_DROP, TAG_VARIABLES, NULL);
    s->unnamed_statement = 0;
    server_write(s, buf_head(&x.messages), buf_len(&x.messages));
    buf_free(&x.messages);
}

/* NULL: it is not set, and the server has the name of whoever opened it. */
static void send_application_name(struct link *l, const struct varset *wanted)
{
    struct buf *b = client_scratch(l->client);
    varset_set_sql(b, "application_name", varset_get(wanted, "application_name"), false);
    link_query(l, buf_slice(b), SINK_DROP, TAG_VARIABLES);
}

static bool only_name_differs(const struct varset *a, const struct varset *b)
{
    if ((a && a->unknown) || (b && b->unknown))
        return false;
    struct varset *x = varset_with(a, "application_name", NULL),
                  *y = varset_with(b, "application_name", NULL);
    bool same = varset_equal(x, y);
    varset_unref(&x);
    varset_unref(&y);
    return same;
}

static struct varset *share(const struct link *l, struct varset *v)
{
    return varset_share(l->client->env->varsets, v);
}

/* What the server has when it has been set to `wanted`: the names of custom variables stay. */
static struct varset *set_to(const struct link *l, const struct varset *wanted)
{
    struct varset *v = (struct varset *)(uintptr_t)wanted; /* counted, not changed */
    return share(l, varset_with_customs(v, l->server->vars));
}

static void note_sent(struct link *l, const struct varset *wanted)
{
    struct varset *now = set_to(l, wanted);
    varset_unref(&l->vars_before);
    l->vars_before = l->server->vars;
    l->server->vars = now;
}

/* What a server that joins the client's transaction, or runs a statement outside one, is to be set to first. */
static struct varset *vars_wanted(const struct client *c)
{
    return c->txn.state == TXN_NONE ? c->vars : c->txn.vars_before;
}

static bool is_set(struct link *l, struct varset *wanted)
{
    struct varset *has = l->server->vars;
    if (has == wanted)
        return true;
    if (varset_equal(has, wanted)) {
        varset_unref(&l->server->vars);
        l->server->vars = varset_ref(wanted); /* the next comparison is of pointers */
        return true;
    }
    if (!has || !has->customs || has->unknown)
        return false;
    struct varset *and_names = varset_with_customs(wanted, has); /* of the statement at hand: tolerated */
    bool same = varset_equal(has, and_names);
    varset_unref(&and_names);
    return same;
}

bool link_suits(struct link *l)
{
    struct client *c = l->client;
    if (l->in_txn || l->open_pipeline || l->vars_due || l->pinned || !l->server->vars)
        return true;
    return varset_diff(l->server->vars, vars_wanted(c), vars_named(c), NULL, NULL);
}

/* A statement must not be sent behind a SET that may fail: it would run under the wrong search_path or role.
   Outside a transaction it would commit; in one, what no rollback undoes would be done (nextval, a COPY that
   waits for data), and of a cancel that hit the SET the statement would know nothing. So the answer is waited
   for, when there is something to be set at all. application_name cannot fail. */
bool link_waits_for_variables(struct link *l)
{
    struct varset *wanted = vars_wanted(l->client);
    if (l->vars_due)
        return true;
    if (l->in_txn || l->open_pipeline || is_set(l, wanted) || only_name_differs(l->server->vars, wanted))
        return false;
    send_all(l, wanted);
    note_sent(l, wanted);
    l->vars_due = true;
    return true;
}

void link_set_name(struct link *l)
{
    struct varset *wanted = vars_wanted(l->client);
    if (is_set(l, wanted))
        return;
    send_application_name(l, wanted);
    note_sent(l, wanted);
}

/* --- answers ---------------------------------------------------------------------------------- */

void link_variables_failed(struct link *l, const struct error *why)
{
    struct client *c = l->client;
    varset_unref(&l->server->vars);
    l->server->vars = l->vars_before;
    l->vars_before = NULL;
    if (strcmp(why->sqlstate, SQLSTATE_QUERY_CANCELED) == 0) {
        /* A cancel, or the client's statement_timeout, hit the SET instead of the statement. */
        if (l->vars_due) {
            l->vars_canceled = true;
            error_keep(&c->acquire_error, why);
        } else {
            l->name_unknown = l->in_txn;
            server_cancel(l->server); /* only application_name is set so; the statement is yet to be hit */
        }
        return;
    }
    /* A variable that the client gave at its start, or one that this shard refuses: as PostgreSQL does at
     * start-up. */
    log_warning("client pid %u: shard \"%s\" refused the session's variables: %s", c->pid,
                c->db->shards[l->shard]->name, why->message);
    l->lost = true;
    client_fatal(c, why);
}

/* The answer to what was sent ahead: the statement is tried again. */
void link_variables_ready(struct link *l)
{
    struct client *c = l->client;
    struct error why;
    l->vars_due = false;
    if (l->vars_canceled && error_take(&c->acquire_error, &why)) {
        l->vars_canceled = false;
        link_acquire_failed(c, &why);
        return;
    }
    if (l->vars_canceled) {
        l->vars_canceled = false;
        link_put(l, true); /* the statement was answered meanwhile */
    }
    client_resume(c);
}

/* The shard was lost while it was to set them: nothing of the statement has been sent, of the transaction to
   this shard neither. */
void link_variables_lost(struct link *l, const struct error *why)
{
    struct client *c = l->client;
    struct error e;
    link_lost_error(l, why, &e);
    bool told = l->vars_canceled && !c->acquire_error;
    link_put(l, false);
    if (!told)
        link_acquire_failed(c, &e);
    if (c->run == RUN_PIPELINE)
        pipeline_answered(c, NULL); /* an order that is void may have waited for this answer */
    client_resume(c);
}

void link_note_variables(struct link *l, const struct varset *vars)
{
    struct varset *has = l->server->vars;
    if (has && has->unknown)
        return; /* until all is set anew */
    struct varset *now = set_to(l, vars);
    if (l->name_unknown) { /* no value: it is set again */
        struct varset *other = varset_with(now, "application_name", "\x01");
        varset_unref(&now);
        now = other;
    }
    varset_unref(&l->server->vars);
    l->server->vars = now;
    l->name_unknown = false;
}
