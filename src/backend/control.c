/*
 * The proxy's own queries, one connection a shard. Requests to a shard form a queue; the one at its head
 * runs.
 *
 *     CLOSED   -> OPENING  [work]      a request waits
 *     OPENING  -> SETUP    [opened]    the session's settings are sent
 *     OPENING  -> CLOSED   [opened]    no connection: all that wait are answered as lost
 *     SETUP    -> IDLE     [finished]
 *     IDLE     -> RUNNING  [work]      the head of the queue is sent
 *     RUNNING  -> IDLE     [finished]  answered
 *     RUNNING  -> TIDYING  [finished]  answered, but a transaction is open: ROLLBACK is sent, so that no
 * request meets what another one left TIDYING  -> IDLE     [finished] any      -> CLOSED   [line_close] lost,
 * timed out, idle for long, or opened under an older definition
 *
 * true in RUNNING: `running` is the request that was sent; it is not in the queue. In all other states it is
 * NULL. SETUP, RUNNING, TIDYING: the connection waits for results. OPENING: dial is set, conn is not.
 *
 * Answers are given from the loop. done() may call control_query() and control_forget().
 *
 * Not responsible for: asking again. A query whose answer was lost may have been executed.
 */
#include "backend/control.h"

#include "base/arena.h"
#include "base/log.h"
#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#define IDLE_US UINT64_C(30000000)

static const char setup_sql[] = "SET search_path TO pg_catalog;SET statement_timeout TO 0;"
                                "SET idle_in_transaction_session_timeout TO 0;"
                                "SET default_transaction_read_only TO off;"
                                "SET default_transaction_isolation TO 'read committed'";

enum line_state { LINE_CLOSED, LINE_OPENING, LINE_SETUP, LINE_IDLE, LINE_RUNNING, LINE_TIDYING };

struct request {
    struct list_node node; /* in the line's queue, unless it runs */
    struct line *line;
    char *sql;
    struct loop_timer *timer;
    uint64_t timeout_us;
    void (*done)(void *arg, const struct control_result *r); /* NULL: forgotten */
    void *arg;
};

struct line { /* to one shard */
    struct control *control;
    char *shard;
    enum line_state state;
    struct dial *dial;
    struct backend_conn *conn;
    const struct config *opened_under; /* compared only, never followed */
    struct loop_watch *watch;
    struct loop_timer *idle_timer;
    struct deferred work;
    struct list queue;
    struct request *running;
    PGresult *rows,
        *last; /* of the message under way: last that returned rows; last of all, or the first error */
};

struct control {
    struct loop *loop;
    struct config *config;
    struct hashmap lines; /* by the shard's name */
};

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

/* ---- answering ------------------------------------------------------------------------------- */

static void request_free(struct request *r)
{
    loop_timer_destroy(&r->timer);
    free(r->sql);
    free(r);
}

/* r is in no list any more. */
static void answer(struct request *r, const struct control_result *result)
{
    if (r->done)
        r->done(r->arg, result);
    request_free(r);
}

static void answer_lost(struct request *r, const struct error *why)
{
    answer(r, &(struct control_result){.lost = true, .error = why});
}

static void forget_results(struct line *l)
{
    PQclear(l->rows);
    if (l->last != l->rows)
        PQclear(l->last);
    l->rows = l->last = NULL;
}

/* The request that runs is answered as lost; the others wait for the next connection. */
static void line_close(struct line *l, const struct error *why)
{
    struct request *r = l->running;
    forget_results(l);
    loop_watch_destroy(&l->watch);
    loop_timer_stop(l->idle_timer);
    dial_cancel(&l->dial);
    backend_conn_close(&l->conn);
    l->running = NULL;
    line_set_state(l, LINE_CLOSED);
    if (!list_empty(&l->queue))
        loop_defer(l->control->loop, &l->work);
    if (r)
        answer_lost(r, why);
}

static void refuse_queue(struct line *l, const struct error *why)
{
    struct error copy = *why;
    for (size_t n = l->queue.count; n > 0 && l->queue.count > 0; n--)
        answer_lost(list_entry(list_pop_front(&l->queue), struct request, node), &copy);
}

static void result_error(const PGresult *result, struct error *error_r)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    (void)error_set(error_r, sqlstate ? sqlstate : SQLSTATE_CONNECTION_FAILURE, "%s",
                    message ? message : PQresultErrorMessage(result));
    if (detail)
        error_detail(error_r, "%s", detail);
    if (hint)
        error_hint(error_r, "%s", hint);
}

/* rows[i][j], in one allocation. */
static const char *const *const *build_rows(const PGresult *result, size_t n, size_t columns)
{
    const char ***rows = xmalloc(n * sizeof(*rows) + n * columns * sizeof(**rows) + 1);
    const char **cells = (const char **)(rows + n);
    for (size_t i = 0; i < n; i++) {
        rows[i] = cells + i * columns;
        for (size_t j = 0; j < columns; j++)
            rows[i][j] = PQgetisnull(result, (int)i, (int)j) ? NULL : PQgetvalue(result, (int)i, (int)j);
    }
    return (const char *const *const *)rows;
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

/* The results leave the line first: done() may make it send the next. */
static void answer_results(struct line *l, struct request *r, char txn_status)
{
    PGresult *rows = l->rows, *last = l->last;
    l->rows = l->last = NULL;
    struct error why;
    struct control_result result = {.ok = last && PQresultStatus(last) != PGRES_FATAL_ERROR,
                                    .txn_status = txn_status};
    if (!result.ok) {
        if (last)
            result_error(last, &why);
        else
            (void)error_set(&why, SQLSTATE_PROTOCOL_VIOLATION, "shard \"%s\" answered nothing", l->shard);
        result.error = &why;
    } else {
        result.tag = PQcmdStatus(last);
        if (rows) {
            result.n_rows = (size_t)PQntuples(rows);
            result.n_columns = (size_t)PQnfields(rows);
            result.rows = build_rows(rows, result.n_rows, result.n_columns);
        }
    }
    answer(r, &result);
    free((void *)(uintptr_t)result.rows);
    PQclear(rows);
    if (last != rows)
        PQclear(last);
}

/* ---- one message ----------------------------------------------------------------------------- */

static PGconn *pq_of(const struct line *l)
{
    return backend_conn_pq(l->conn);
}

static void line_lost(struct line *l)
{
    struct error why;
    if (l->last && PQresultStatus(l->last) == PGRES_FATAL_ERROR) {
        result_error(l->last, &why); /* its last words */
    } else {
        const char *text = PQerrorMessage(pq_of(l));
        (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE,
                        "lost the control connection to shard \"%s\": %.*s", l->shard,
                        (int)strcspn(text, "\n"), text);
    }
    bool was_setup = l->state == LINE_SETUP;
    line_close(l, &why);
    if (was_setup)
        refuse_queue(l, &why); /* another connection would fare no better */
}

/* False: the connection is gone. */
static bool flush(struct line *l)
{
    int rc = PQflush(pq_of(l));
    if (rc < 0) {
        line_lost(l);
        return false;
    }
    loop_watch_set(l->watch, rc == 0 ? WATCH_READ : WATCH_READ | WATCH_WRITE);
    return true;
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
        forget_results(l);
        line_idle(l);
        return;
    }
    l->running = NULL;
    if (status == 'I') {
        line_idle(l);
    } else {
        line_set_state(l, LINE_TIDYING);
    }
    answer_results(l, r, status);
    if (l->state == LINE_TIDYING)
        send_sql(l, "ROLLBACK");
}

/* Keeps what the answer needs. False: copying, which nobody here can serve. */
static bool keep_result(struct line *l, PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        PQclear(result);
        return false;
    default:
        break;
    }
    if (l->last && PQresultStatus(l->last) == PGRES_FATAL_ERROR) {
        PQclear(result); /* the first error tells why */
        return true;
    }
    if (l->last && l->last != l->rows)
        PQclear(l->last);
    l->last = result;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        PQclear(l->rows);
        l->rows = result;
    }
    return true;
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
        if (!keep_result(l, result)) {
            struct error why;
            (void)error_set(&why, SQLSTATE_FEATURE_NOT_SUPPORTED, "COPY cannot run on a control connection");
            line_close(l, &why);
            return;
        }
    }
    if (l->state == LINE_IDLE && PQstatus(pq) == CONNECTION_BAD)
        line_lost(l);
}

/* ---- connections ----------------------------------------------------------------------------- */

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
        refuse_queue(l, why);
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
        refuse_queue(l, &why);
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

static struct line *line_to(struct control *c, const char *shard)
{
    struct line *l = hashmap_get(&c->lines, slice_str(shard));
    if (l)
        return l;
    l = xcalloc(1, sizeof(*l));
    l->control = c;
    l->shard = xstrdup(shard);
    l->idle_timer = loop_timer_create(c->loop, idle_for_long, l);
    l->work = (struct deferred){.run = work, .arg = l};
    list_init(&l->queue);
    hashmap_put(&c->lines, slice_str(shard), l);
    return l;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void timed_out(void *arg)
{
    struct request *r = arg;
    struct line *l = r->line;
    struct error why;
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" did not answer in %g s", l->shard,
                    (double)r->timeout_us / 1e6);
    if (l->running == r) {
        backend_conn_cancel(l->conn); /* what it runs would go on without us */
        line_close(l, &why);
        return;
    }
    list_remove(&l->queue, &r->node);
    answer_lost(r, &why);
}

void control_query(struct control *c, const struct shard_def *shard, const char *sql, uint64_t timeout_us,
                   void (*done)(void *arg, const struct control_result *r), void *arg)
{
    struct line *l = line_to(c, shard->name);
    struct request *r = xcalloc(1, sizeof(*r));
    *r = (struct request){.line = l, .sql = xstrdup(sql), .timeout_us = timeout_us, .done = done, .arg = arg};
    if (timeout_us > 0) {
        r->timer = loop_timer_create(c->loop, timed_out, r);
        loop_timer_start(r->timer, timeout_us);
    }
    list_push_back(&l->queue, &r->node);
    loop_defer(c->loop, &l->work);
}

/* What has been sent runs to its end; only the answer is not wanted. */
void control_forget(struct control *c, void *arg)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&c->lines, &it); hashmap_next(&c->lines, &it, &key, &value);) {
        struct line *l = value;
        if (l->running && l->running->arg == arg)
            l->running->done = NULL;
        list_foreach(&l->queue, node, next)
        {
            struct request *r = list_entry(node, struct request, node);
            if (r->arg != arg)
                continue;
            list_remove(&l->queue, node);
            request_free(r);
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct control *control_create(struct loop *loop, struct config *config)
{
    struct control *c = xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->config = config_ref(config);
    hashmap_init(&c->lines);
    return c;
}

void control_reconfigure(struct control *c, struct config *config)
{
    struct config *old = c->config;
    c->config = config_ref(config);
    config_unref(&old);
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&c->lines, &it); hashmap_next(&c->lines, &it, &key, &value);) {
        struct line *l = value;
        l->opened_under = NULL; /* an address may come again */
        loop_defer(c->loop, &l->work);
    }
}

static void line_destroy(struct line *l, const struct error *why)
{
    line_close(l, why);
    refuse_queue(l, why);
    loop_undefer(l->control->loop, &l->work);
    loop_timer_destroy(&l->idle_timer);
    free(l->shard);
    loop_doom(l->control->loop, l, NULL);
}

void control_destroy(struct control **cp)
{
    struct control *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    struct error why;
    (void)error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "the proxy is shutting down");
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&c->lines, &it); hashmap_next(&c->lines, &it, &key, &value);)
        line_destroy(value, &why);
    hashmap_free(&c->lines, NULL);
    config_unref(&c->config);
    loop_doom(c->loop, c, NULL);
}
