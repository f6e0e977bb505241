/*
 * What a pool itself asks of a server: is it alive (CHECK), be as new (RESET), forget what is prepared
 * (MOVE). The pool is the owner meanwhile. Callbacks only record how it went; the pool's turn acts, because a
 * server may leave this thread (MOVE) only when none of its callbacks is under way.
 *
 *     RUNNING -> DONE    [task_message] the last ReadyForQuery, without an error before it
 *     RUNNING -> FAILED  [task_message] ErrorResponse;  [pool_tasks_expire] no answer in time
 *     RUNNING -> gone    [task_lost]
 *
 * Not responsible for: when to do any of this.
 */
#include "pool_private.h"

#include "base/arena.h"
#include "base/log.h"
#include "wire/message.h"
#include <stdlib.h>
#include <strings.h>

#define DEFAULT_TASK_TIMEOUT_US UINT64_C(15000000)

enum task_state { TASK_RUNNING, TASK_DONE, TASK_FAILED };

struct pool_task {
    struct list_node node;
    struct server_pool *pool;
    struct server *server;
    enum task_kind kind;
    enum task_state state;
    bool reset_is_full; /* RESET: DISCARD ALL and nothing else */
    uint64_t deadline_us;
};

static bool returns(enum task_kind kind)
{
    switch (kind) {
    case TASK_CHECK:
    case TASK_RESET:
        return true;
    case TASK_MOVE:
        return false;
    }
    return false;
}

/* The server is the caller's. */
static struct server *task_end(struct pool_task *t)
{
    struct server_pool *p = t->pool;
    struct server *s = t->server;
    list_remove(&p->tasks, &t->node);
    p->returning -= returns(t->kind);
    server_set_owner(s, NULL, NULL);
    free(t);
    return s;
}

/* --- as an owner ------------------------------------------------------------------------------ */

static void task_message(void *owner, struct server *s, const struct expect *e, const struct frame *f)
{
    struct pool_task *t = owner;
    (void)e;
    if (f->type == MSG_ERROR) {
        struct error why, bad;
        if (message_read_error(f, &why, &bad) != STATUS_OK)
            why = bad;
        log_warning("shard \"%s\" refused a statement of the pool's own: %s", t->pool->shard_name,
                    why.message);
        t->state = TASK_FAILED;
        pool_turn_later(t->pool);
    } else if (f->type == MSG_READY && server_outstanding(s) == 0 && t->state == TASK_RUNNING) {
        t->state = s->txn_status == 'I' ? TASK_DONE : TASK_FAILED;
        pool_turn_later(t->pool);
    }
}

static void task_lost(void *owner, struct server *s, const struct error *why)
{
    struct pool_task *t = owner;
    struct server_pool *p = t->pool;
    log_info("lost a connection to shard \"%s\": %s", p->shard_name, why->message);
    (void)task_end(t);
    pool_drop_server(p, s);
    pool_turn_later(p); /* somebody may have counted on it */
}

static const struct server_owner_ops task_ops = {
    .forward = server_forward_nothing,
    .message = task_message,
    .lost = task_lost,
};

/* --- life of a task --------------------------------------------------------------------------- */

static void send_query(struct server *s, const char *sql)
{
    struct buf b;
    buf_init(&b);
    message_query(&b, slice_str(sql));
    server_expect(s, EXPECT_QUERY, SINK_DROP, 0, NULL);
    server_write(s, buf_head(&b), buf_len(&b));
    buf_free(&b);
}

static bool is_discard_all(const char *sql)
{
    static const char discard_all[] = "discard all";
    sql += strspn(sql, " ");
    size_t n = sizeof(discard_all) - 1;
    return strncasecmp(sql, discard_all, n) == 0 && sql[n + strspn(sql + n, " ;")] == '\0';
}

/* After a reset query of the operator's own nobody knows what is left, so what is recorded (settings,
   prepared statements) is reset as well; in a message of its own, since the operator's may not be allowed in
   a transaction block. */
static void send_reset(struct pool_task *t, const char *sql)
{
    t->reset_is_full = is_discard_all(sql);
    send_query(t->server, sql);
    if (!t->reset_is_full)
        send_query(t->server, "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;DEALLOCATE ALL");
}

void pool_task_start(struct server_pool *p, struct server *s, enum task_kind kind)
{
    const struct settings *settings = pool_settings(p);
    struct pool_task *t = xcalloc(1, sizeof(*t));
    *t = (struct pool_task){.pool = p, .server = s, .kind = kind, .state = TASK_RUNNING};
    uint64_t timeout = settings->server_connect_timeout_us;
    t->deadline_us = pool_now_us(p) + (timeout > 0 ? timeout : DEFAULT_TASK_TIMEOUT_US);
    list_push_back(&p->tasks, &t->node);
    p->returning += returns(kind);
    server_set_owner(s, &task_ops, t);
    server_set_reading(s, true);
    switch (kind) {
    case TASK_CHECK:
        send_query(s, settings->server_check_query);
        break;
    case TASK_RESET:
        send_reset(t, settings->server_reset_query);
        break;
    case TASK_MOVE:
        send_query(s, "DEALLOCATE ALL");
        break;
    }
    pool_wake_at(p->manager, t->deadline_us);
}

static void forget_session(struct server *s)
{
    varset_unref(&s->vars);
    prepared_set_clear(s->prepared);
    s->unnamed_statement = 0;
    s->pinned_state = false;
}

static void finish(struct pool_task *t)
{
    struct server_pool *p = t->pool;
    enum task_kind kind = t->kind;
    bool ok = t->state == TASK_DONE;
    struct server *s = task_end(t);
    if (!ok || p->stale) {
        pool_drop_server(p, s);
        return;
    }
    switch (kind) {
    case TASK_CHECK:
        break;
    case TASK_RESET:
        forget_session(s);
        if (pool_settings(p)->server_lifetime_us == 0) {
            pool_drop_server(p, s);
            return;
        }
        break;
    case TASK_MOVE:
        prepared_set_clear(s->prepared);
        s->unnamed_statement = 0;
        pool_move(p, s);
        return;
    }
    s->used_us = pool_now_us(p);
    pool_add_idle(p, s);
}

void pool_tasks_finish(struct server_pool *p)
{
    list_foreach(&p->tasks, node, next)
    {
        struct pool_task *t = list_entry(node, struct pool_task, node);
        if (t->state != TASK_RUNNING)
            finish(t);
    }
}

void pool_tasks_expire(struct server_pool *p, uint64_t now_us)
{
    list_foreach(&p->tasks, node, next)
    {
        struct pool_task *t = list_entry(node, struct pool_task, node);
        if (t->state == TASK_RUNNING && now_us >= t->deadline_us) {
            log_warning("shard \"%s\" did not answer the pool in time; closing the connection",
                        p->shard_name);
            t->state = TASK_FAILED;
            pool_turn_later(p);
        }
    }
}

void pool_tasks_drop(struct server_pool *p)
{
    list_foreach(&p->tasks, node, next)
        pool_drop_server(p, task_end(list_entry(node, struct pool_task, node)));
}

/* --- moving to another worker ----------------------------------------------------------------- */

/* Statements are known by another worker's registry under other names, so a server travels without any. Its
   variables travel in a copy: counts are not atomic, and sessions here go on using the original. */
void pool_move(struct server_pool *p, struct server *s)
{
    if (!prepared_set_empty(s->prepared)) {
        pool_task_start(p, s, TASK_MOVE);
        return;
    }
    struct parcel *parcel = xcalloc(1, sizeof(*parcel));
    struct varset *vars = s->vars ? varset_copy(s->vars) : NULL;
    varset_unref(&s->vars);
    s->vars = vars;
    prepared_set_destroy(&s->prepared);
    list_remove(&p->servers, &s->pool_node);
    server_detach(s);
    parcel->server = s;
    if (port_send(p->port, parcel))
        return; /* another thread's now */
    free(parcel);
    pool_receive(p, s); /* nobody waits any more */
}
