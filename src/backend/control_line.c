/*
 * A control connection to one shard. Requests form a queue; the one that was at its head runs.
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
 *     SETUP    -> CLOSED   [line_lost] all that wait are answered as lost
 *     any      -> CLOSED   [line_close] lost, timed out, idle for long, or opened under an older definition
 *
 * true in RUNNING: `running` is the request that was sent; in all other states it is NULL
 *         SETUP, RUNNING, TIDYING: the connection waits for results
 *         OPENING: dial is set, conn is not
 *
 * Not responsible for: asking again. A query whose answer was lost may have been executed.
 */
#include "base/arena.h"
#include "base/log.h"
#include "control_private.h"
#include <assert.h>
#include <errno.h>
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
    static const unsigned legal[] = {
        [LINE_CLOSED] = 1u << LINE_OPENING | 1u << LINE_CLOSED,
        [LINE_OPENING] = 1u << LINE_SETUP | 1u << LINE_CLOSED,
        [LINE_SETUP] = 1u << LINE_IDLE | 1u << LINE_CLOSED,
        [LINE_IDLE] = 1u << LINE_RUNNING | 1u << LINE_CLOSED,
        [LINE_RUNNING] = 1u << LINE_IDLE | 1u << LINE_TIDYING | 1u << LINE_CLOSED,
        [LINE_TIDYING] = 1u << LINE_IDLE | 1u << LINE_CLOSED,
    };
    assert((legal[l->state] >> to) & 1);
    l->state = to;
    assert((l->running != NULL) == (to == LINE_RUNNING));
}

/* The request that runs is answered as lost; the others wait for the next connection. */
void line_close(struct line *l, const struct error *why)
{
    struct request *r = l->running;
    results_forget(l);
    loop_watch_destroy(&l->watch);
    loop_timer_stop(l->idle_timer);
    dial_cancel(&l->dial);
    backend_conn_close(&l->conn);
    l->running = NULL;
    line_set_state(l, LINE_CLOSED);
    if (!list_empty(&l->queue))
        loop_defer(l->control->loop, &l->work);
    if (r)
        request_answer_lost(r, why);
}

void line_refuse_queue(struct line *l, const struct error *why)
{
    struct error copy = *why;
    for (size_t n = l->queue.count; n > 0 && l->queue.count > 0; n--)
        request_answer_lost(list_entry(list_pop_front(&l->queue), struct request, node), &copy);
}

static char status_letter(PGTransactionStatusType status)
{
    switch (status) {
    case PQTRANS_IDLE:
        return 'I';
    case PQTRANS_INERROR:
        return 'E';
    case PQTRANS_INTRANS:
    case PQTRANS_ACTIVE:
    case PQTRANS_UNKNOWN:
        break;
    }
    return 'T';
}

/* --- one message ------------------------------------------------------------------------------ */

static PGconn *pq_of(const struct line *l)
{
    return backend_conn_pq(l->conn);
}

static void line_broke(struct line *l, const struct error *why)
{
    bool was_setup = l->state == LINE_SETUP;
    line_close(l, why);
    if (was_setup)
        line_refuse_queue(l, why); /* another connection would fare no better */
}

static void line_lost(struct line *l)
{
    struct error why;
    if (l->last && PQresultStatus(l->last) == PGRES_FATAL_ERROR) {
        results_error(l->last, &why); /* its last words */
    } else {
        const char *text = PQerrorMessage(pq_of(l));
        (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE,
                        "lost the control connection to shard \"%s\": %.*s", l->shard,
                        (int)strcspn(text, "\n"), text);
    }
    line_broke(l, &why);
}

/* False: the connection is gone. */
static bool flush(struct line *l)
{
    int rc = PQflush(pq_of(l));
    if (rc < 0) {
        line_lost(l);
        return false;
    }
    if (loop_watch_set(l->watch, rc == 0 ? WATCH_READ : WATCH_READ | WATCH_WRITE))
        return true;
    struct error why;
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE,
                    "could not wait for the control connection to shard \"%s\": %s", l->shard,
                    strerror(errno));
    line_broke(l, &why);
    return false;
}

static void send_sql(struct line *l, const char *sql)
{
    backend_conn_set_clean(l->conn, false);
    if (!PQsendQuery(pq_of(l), sql))
        line_lost(l);
    else
        (void)flush(l);
}

static void line_idle(struct line *l)
{
    backend_conn_set_clean(l->conn, true);
    line_set_state(l, LINE_IDLE);
    if (list_empty(&l->queue))
        loop_timer_start(l->idle_timer, IDLE_US);
    else
        loop_defer(l->control->loop, &l->work);
}

/* All results of a message are there. */
static void finished(struct line *l)
{
    if (PQstatus(pq_of(l)) == CONNECTION_BAD) {
        line_lost(l); /* a FATAL error: what was executed is not known */
        return;
    }
    char status = status_letter(PQtransactionStatus(pq_of(l)));
    struct request *r = l->running;
    if (!r) { /* SETUP, TIDYING */
        if (status != 'I' || !l->last || PQresultStatus(l->last) == PGRES_FATAL_ERROR) {
            line_lost(l);
            return;
        }
        results_forget(l);
        line_idle(l);
        return;
    }
    l->running = NULL;
    if (status == 'I') {
        line_idle(l);
    } else {
        line_set_state(l, LINE_TIDYING);
    }
    results_answer(l, r, status);
    if (l->state == LINE_TIDYING)
        send_sql(l, "ROLLBACK");
}

static void socket_ready(void *arg, int what)
{
    struct line *l = arg;
    PGconn *pq = pq_of(l);
    if ((what & WATCH_READ) && !PQconsumeInput(pq)) {
        line_lost(l);
        return;
    }
    if (!flush(l))
        return;
    while (l->state != LINE_IDLE && !PQisBusy(pq)) {
        PGresult *result = PQgetResult(pq);
        if (!result) {
            finished(l);
            return;
        }
        if (!results_keep(l, result)) {
            struct error why;
            (void)error_set(&why, SQLSTATE_FEATURE_NOT_SUPPORTED, "COPY cannot run on a control connection");
            line_close(l, &why);
            return;
        }
    }
    if (l->state == LINE_IDLE && PQstatus(pq) == CONNECTION_BAD)
        line_lost(l);
}

/* --- connections ------------------------------------------------------------------------------ */

static void log_notice(void *arg, const PGresult *result)
{
    struct line *l = arg;
    log_debug("shard \"%s\" says: %s", l->shard, PQresultErrorMessage(result));
}

static void opened(void *arg, struct backend_conn *conn, const struct error *why)
{
    struct line *l = arg;
    l->dial = NULL;
    if (!conn) {
        line_set_state(l, LINE_CLOSED);
        line_refuse_queue(l, why);
        return;
    }
    l->conn = conn;
    PQsetNoticeReceiver(pq_of(l), log_notice, l);
    l->watch = loop_watch_create(l->control->loop, backend_conn_fd(conn), socket_ready, l);
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
    struct control *c = l->control;
    const struct shard_def *shard = shard_by_name(c->config, l->shard);
    if (!shard) {
        struct error why;
        (void)error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "shard \"%s\" is no longer configured", l->shard);
        line_refuse_queue(l, &why);
        return;
    }
    char name[64];
    struct dial_params params = {
        .shard = shard, .settings = &c->config->settings, .application_name = "pgunison control"};
    control_role(c->config, shard, &params, name, sizeof(name));
    line_set_state(l, LINE_OPENING);
    l->opened_under = c->config;
    l->dial = dial_start(c->loop, &params, opened, l);
}

/* The deferred step: whatever the state allows for the queue. */
static void work(void *arg)
{
    struct line *l = arg;
    if (l->state == LINE_IDLE && l->opened_under != l->control->config)
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
    l->idle_timer = loop_timer_create(l->control->loop, idle_for_long, l);
    l->work = (struct deferred){.run = work, .arg = l};
    list_init(&l->queue);
}
