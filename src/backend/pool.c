/*
 * One pool: borrowing and giving back. What cannot be done on the spot is left to the pool's turn
 * (pool_turn.c), which runs at the end of the loop's turn, when no callback of a server or a session is under
 * way.
 *
 *     servers = borrowed + idle + at a task of the pool's own (check, reset, move)
 *
 *     idle:  most recently used first, so that what is not needed grows old at the other end
 *     waits: those whose transaction holds a server already, then the others, each as they came
 *
 * Invariants: an idle server has no owner, nothing outstanding, status 'I' and no pinned state. When somebody
 * waits, an idle server is not handed out past them. Each server, and each connection being opened, has one
 * place in the port's quotas.
 *
 * Not responsible for: who may use which pool, what sessions set on a server.
 */
#include "pool_private.h"

#include "base/arena.h"
#include "base/log.h"
#include <assert.h>

/* --- borrowing -------------------------------------------------------------------------------- */

/* A stale pool's sessions have yet to hear of the new configuration. */
static struct server_pool *current_pool(struct server_pool *p)
{
    struct pool_manager *m = p->manager;
    if (!p->stale)
        return p;
    const struct database_def *db = topology_database(&m->config->topology, p->db_name);
    int shard = db ? topology_shard_index(db, p->shard_name) : -1;
    if (shard < 0)
        return p; /* its turn refuses */
    return pool_find(m, p->user, p->password, db, (unsigned)shard);
}

static void enqueue(struct server_pool *p, struct server_wait *w)
{
    const struct settings *settings = pool_settings(p);
    w->pool = p;
    list_push_back(&p->waits[w->privileged ? WAIT_PRIVILEGED : WAIT_ORDINARY], &w->node);
    if (settings->query_wait_timeout_us > 0)
        pool_wake_at(p->manager, w->since_us + settings->query_wait_timeout_us);
    if (settings->reserve_pool_timeout_us > 0)
        pool_wake_at(p->manager, w->since_us + settings->reserve_pool_timeout_us);
    pool_turn_later(p);
}

struct server *pool_acquire(struct server_pool *p, struct server_wait *w)
{
    p = current_pool(p);
    w->since_us = pool_now_us(p);
    w->node = (struct list_node){0};
    w->pool = p;
    bool ahead = pool_waiting(p) == 0 || (w->privileged && list_empty(&p->waits[WAIT_PRIVILEGED]));
    if (p->paused && !w->privileged)
        ahead = false;
    struct server *s = ahead && !p->stale ? pool_take_idle(p) : NULL;
    if (s && !pool_needs_check(p, s)) {
        s->used_us = w->since_us;
        return s;
    }
    if (s)
        pool_task_start(p, s, TASK_CHECK);
    enqueue(p, w);
    return NULL;
}

void pool_cancel_wait(struct server_wait *w)
{
    if (!list_linked(&w->node))
        return;
    list_remove(&w->pool->waits[w->privileged ? WAIT_PRIVILEGED : WAIT_ORDINARY], &w->node);
    pool_turn_later(w->pool); /* the others need not keep one for us */
}

/* --- giving back ------------------------------------------------------------------------------ */

void pool_discard(struct server *s)
{
    pool_drop_server(s->pool, s);
}

void pool_reset_and_release(struct server *s)
{
    struct server_pool *p = s->pool;
    bool can_reset = pool_settings(p)->server_reset_query[0] != '\0';
    if (p->stale || !server_is_quiet(s) || s->txn_status != 'I' || (s->pinned_state && !can_reset)) {
        pool_drop_server(p, s);
        return;
    }
    server_set_owner(s, NULL, NULL);
    if (can_reset) {
        pool_task_start(p, s, TASK_RESET);
        return;
    }
    s->used_us = pool_now_us(p);
    pool_add_idle(p, s);
}

void pool_release(struct server *s)
{
    struct server_pool *p = s->pool;
    const struct settings *settings = pool_settings(p);
    assert(!list_linked(&s->node));
    if (s->pinned_state || (settings->server_reset_query_always && settings->server_reset_query[0] != '\0')) {
        pool_reset_and_release(s);
        return;
    }
    if (!server_is_quiet(s) || s->txn_status != 'I') {
        log_warning("a connection to shard \"%s\" was given back in the middle of something; closing it",
                    p->shard_name);
        pool_drop_server(p, s);
        return;
    }
    server_set_owner(s, NULL, NULL);
    server_set_reading(s, true);
    s->used_us = pool_now_us(p);
    if (p->stale || settings->server_lifetime_us == 0 || pool_is_expired(p, s)) {
        pool_drop_server(p, s);
        return;
    }
    pool_add_idle(p, s);
}
