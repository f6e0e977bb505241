/*
 * The connection of an asker to one shard. Requests form a queue; the one that was at its head runs.
 *
 *     CLOSED   -> OPENING  [work]      a request waits
 *     OPENING  -> SETUP    [opened]    the session's settings are sent
 *     OPENING  -> CLOSED   [opened]    no connection: all that wait are answered as lost
 *     SETUP    -> IDLE     [finished]
 *     IDLE     -> RUNNING  [work]      the head of the queue is sent
 *     RUNNING  -> IDLE     [finished]  answered
 *     RUNNING  -> TIDYING  [finished]  answered, but a transaction is open: ROLLBACK is sent, so that no
 *                                      request meets what another one left
 *     TIDYING  -> IDLE     [finished]
 *     SETUP    -> CLOSED   [line_broke] all that wait are answered as lost
 *     any      -> CLOSED   [line_close] lost, timed out, idle for long, or opened under an older definition
 *
 * true in RUNNING: `running` is the request that was sent; in all other states it is NULL
 *         SETUP, RUNNING, TIDYING: one Query is outstanding at the server, and sink collects its answer
 *         SETUP, IDLE, RUNNING, TIDYING: server is set
 *         OPENING: dial is set, server is not
 *
 * Not responsible for: asking again. A query whose answer was lost may have been executed.
 */
#include "asker_private.h"
#include "base/arena.h"
#include "base/log.h"
#include "wire/message.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_US UINT64_C(30000000)

static const char setup_sql[] = "SET search_path TO pg_catalog;SET statement_timeout TO 0;"
                                "SET idle_in_transaction_session_timeout TO 0;"
                                "SET default_transaction_read_only TO off;"
                                "SET default_transaction_isolation TO 'read committed'";

static void line_set_state(struct line *l, enum line_state to)
{
    static const char *const names[] = {
        [LINE_CLOSED] = "closed", [LINE_OPENING] = "opening", [LINE_SETUP] = "set up",
        [LINE_IDLE] = "idle",     [LINE_RUNNING] = "running", [LINE_TIDYING] = "tidying",
    };
    static const unsigned legal[] = {
        [LINE_CLOSED] = 1u << LINE_OPENING | 1u << LINE_CLOSED,
        [LINE_OPENING] = 1u << LINE_SETUP | 1u << LINE_CLOSED,
        [LINE_SETUP] = 1u << LINE_IDLE | 1u << LINE_CLOSED,
        [LINE_IDLE] = 1u << LINE_RUNNING | 1u << LINE_CLOSED,
        [LINE_RUNNING] = 1u << LINE_IDLE | 1u << LINE_TIDYING | 1u << LINE_CLOSED,
        [LINE_TIDYING] = 1u << LINE_IDLE | 1u << LINE_CLOSED,
    };
    assert((legal[l->state] >> to) & 1);
    if (l->state != to)
        log_debug("control connection to shard \"%s\": %s -> %s", l->shard, names[l->state], names[to]);
    l->state = to;
    assert((l->running != NULL) == (to == LINE_RUNNING));
    assert((l->server != NULL) == (to != LINE_CLOSED && to != LINE_OPENING));
}

/* The request that runs is answered as lost; the others wait for the next connection. */
void line_close(struct line *l, const struct error *why)
{
    struct request *r = l->running;
    rows_sink_destroy(&l->sink);
    loop_timer_stop(l->idle_timer);
    dial_cancel(&l->dial);
    if (l->server)
        server_close(&l->server);
    l->running = NULL;
    line_set_state(l, LINE_CLOSED);
    if (!list_empty(&l->queue))
        loop_defer(l->asker->loop, &l->work);
    if (r)
        request_answer_lost(r, why);
}

static void line_refuse_queue(struct line *l, const struct error *why)
{
    struct error copy = *why;
    for (size_t n = l->queue.count; n > 0 && l->queue.count > 0; n--)
        request_answer_lost(list_entry(list_pop_front(&l->queue), struct request, node), &copy);
}

static void line_broke(struct line *l, const struct error *why)
{
    bool was_setup = l->state == LINE_SETUP;
    line_close(l, why);
    if (was_setup)
        line_refuse_queue(l, why); /* another connection would fare no better */
}

/* --- one message ------------------------------------------------------------------------------ */

static void send_sql(struct line *l, const char *sql)
{
    struct buf b;
    rows_sink_destroy(&l->sink);
    l->sink = rows_sink_create(ASKER_MAX_BYTES);
    buf_init(&b);
    message_query(&b, slice_str(sql));
    server_expect(l->server, EXPECT_QUERY, SINK_MESSAGE, 0, NULL);
    server_write(l->server, buf_head(&b), buf_len(&b));
    buf_free(&b);
}

static void line_idle(struct line *l)
{
    line_set_state(l, LINE_IDLE);
    if (list_empty(&l->queue))
        loop_timer_start(l->idle_timer, IDLE_US);
    else
        loop_defer(l->asker->loop, &l->work);
}

/* Of SETUP and TIDYING. */
static void own_finished(struct line *l, const struct rows *rows)
{
    struct error why;
    if (rows->ok && rows->txn_status == 'I') {
        line_idle(l);
        return;
    }
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" did not end a transaction", l->shard);
    if (rows->error)
        why = *rows->error;
    line_broke(l, &why);
}

/* The answer is there. It leaves the line first: done() may destroy the asker. */
static void finished(struct line *l)
{
    struct rows_sink *sink = l->sink;
    struct rows rows = rows_sink_rows(sink);
    struct request *r = l->running;
    l->sink = NULL;
    l->running = NULL;
    if (!r) {
        own_finished(l, &rows);
        rows_sink_destroy(&sink);
        return;
    }
    if (rows.txn_status == 'I')
        line_idle(l);
    else
        line_set_state(l, LINE_TIDYING);
    request_answer(r, &rows);
    rows_sink_destroy(&sink);
    if (l->state == LINE_TIDYING)
        send_sql(l, "ROLLBACK");
}

/* --- what the server says --------------------------------------------------------------------- */

static void log_notice(const struct line *l, const struct frame *f)
{
    struct error said, bad;
    if (message_read_error(f, &said, &bad) == STATUS_OK)
        log_debug("shard \"%s\" says: %s", l->shard, said.message);
}

/* What the sink does not take: the server goes. */
static void refuse(struct line *l, const struct frame *f, const struct error *why)
{
    struct error e;
    if (strcmp(why->sqlstate, SQLSTATE_PROTOCOL_VIOLATION) == 0) {
        server_violation(l->server, f->type, why->message);
        return;
    }
    (void)error_set(&e, why->sqlstate, "shard \"%s\": %s", l->shard, why->message);
    server_fail(l->server, &e);
}

static void message(void *owner, struct server *s, const struct expect *e, const struct frame *f)
{
    struct line *l = owner;
    struct error why;
    (void)s;
    if (f->type == MSG_NOTICE)
        log_notice(l, f);
    if (!e || !l->sink)
        return; /* nothing that was asked for */
    switch (rows_sink_take(l->sink, f, &why)) {
    case ROWS_MORE:
        return;
    case ROWS_END:
        finished(l);
        return;
    case ROWS_BAD:
        refuse(l, f, &why);
        return;
    }
}

/* Its last words tell more than that it ended. */
static void lost(void *owner, struct server *s, const struct error *why)
{
    struct line *l = owner;
    struct error e = *why;
    (void)s;
    if (l->sink && rows_sink_error(l->sink))
        e = *rows_sink_error(l->sink);
    else if (strcmp(why->sqlstate, SQLSTATE_CONNECTION_FAILURE) == 0)
        (void)error_set(&e, SQLSTATE_CONNECTION_FAILURE, "lost the control connection to shard \"%s\": %s",
                        l->shard, why->message);
    line_broke(l, &e);
}

static const struct server_owner_ops owner_ops = {
    .forward = server_forward_nothing, .message = message, .lost = lost};

/* --- connections ------------------------------------------------------------------------------ */

static void opened(void *arg, struct backend_conn *conn, const struct error *why)
{
    struct line *l = arg;
    l->dial = NULL;
    if (!conn) {
        line_set_state(l, LINE_CLOSED);
        line_refuse_queue(l, why);
        return;
    }
    l->server = server_create(l->asker->loop, l->asker->cancels, conn, NULL);
    server_set_owner(l->server, &owner_ops, l);
    server_set_longest(l->server, ASKER_MAX_BYTES);
    line_set_state(l, LINE_SETUP);
    send_sql(l, setup_sql);
}

static const struct shard_def *shard_by_name(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->topology.n_shards; i++) {
        if (strcmp(config->topology.shards[i].name, name) == 0)
            return &config->topology.shards[i];
    }
    return NULL;
}

/* The shard's admin_user, else its user, else the first of admin_users as auth_file knows him. */
static void control_role(const struct config *config, const struct shard_def *shard,
                         struct dial_params *params, char *name, size_t size)
{
    if (shard->admin_user && shard->admin_user[0]) {
        params->user = shard->admin_user;
        params->password = shard->admin_password;
        return;
    }
    if (shard->user && shard->user[0]) {
        params->user = shard->user;
        params->password = shard->password;
        return;
    }
    const char *first = config->settings.admin_users + strspn(config->settings.admin_users, " ,");
    snprintf(name, size, "%.*s", (int)strcspn(first, " ,"), first);
    const struct user *user = userlist_find(&config->users, name);
    params->user = name;
    params->password = user && user->kind == SECRET_PLAIN ? user->secret : NULL;
}

static void line_open(struct line *l)
{
    struct asker *a = l->asker;
    const struct shard_def *shard = shard_by_name(a->config, l->shard);
    if (!shard) {
        struct error why;
        (void)error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "shard \"%s\" is no longer configured", l->shard);
        line_refuse_queue(l, &why);
        return;
    }
    char name[64];
    struct dial_params params = {
        .shard = shard, .settings = &a->config->settings, .application_name = "pgunison control"};
    control_role(a->config, shard, &params, name, sizeof(name));
    line_set_state(l, LINE_OPENING);
    l->opened_under = a->config;
    l->dial = dial_start(a->loop, &params, opened, l);
}

/* The deferred step: whatever the state allows for the queue. */
static void work(void *arg)
{
    struct line *l = arg;
    if (l->state == LINE_IDLE && l->opened_under != l->asker->config)
        line_close(l, NULL); /* the definition may be another one now */
    if (list_empty(&l->queue))
        return;
    switch (l->state) {
    case LINE_CLOSED:
        line_open(l);
        return;
    case LINE_IDLE:
        loop_timer_stop(l->idle_timer);
        l->running = list_entry(list_pop_front(&l->queue), struct request, node);
        line_set_state(l, LINE_RUNNING);
        send_sql(l, l->running->sql);
        return;
    case LINE_OPENING:
    case LINE_SETUP:
    case LINE_RUNNING:
    case LINE_TIDYING:
        return; /* their end brings us back */
    }
}

static void idle_for_long(void *arg)
{
    struct line *l = arg;
    if (l->state == LINE_IDLE)
        line_close(l, NULL);
}

void line_init(struct line *l)
{
    l->idle_timer = loop_timer_create(l->asker->loop, idle_for_long, l);
    l->work = (struct deferred){.run = work, .arg = l};
    list_init(&l->queue);
}

void line_free(struct line *l, const struct error *why)
{
    line_close(l, why);
    line_refuse_queue(l, why);
    loop_undefer(l->asker->loop, &l->work);
    loop_timer_destroy(&l->idle_timer);
    free(l->shard);
    loop_doom(l->asker->loop, l, NULL);
}
