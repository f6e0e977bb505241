/*
 * What a pool has: its servers and those who wait for one. Every other file of the pool works through these
 * functions, and this one calls none of them.
 *
 * Not responsible for: who gets which server (pool_turn.c), borrowing and giving back (pool.c).
 */
#include "pool_private.h"

#include "base/log.h"
#include <assert.h>

/* --- waits ------------------------------------------------------------------------------------ */

struct server_wait *pool_first_wait(const struct server_pool *p)
{
    for (int i = 0; i < (p->paused ? WAIT_ORDINARY : WAIT_CLASSES); i++) {
        struct list_node *node = list_first(&p->waits[i]);
        if (node)
            return list_entry(node, struct server_wait, node);
    }
    return NULL;
}

uint64_t pool_oldest_wait_us(const struct server_pool *p)
{
    uint64_t oldest = UINT64_MAX;
    for (int i = 0; i < WAIT_CLASSES; i++) {
        struct list_node *node = list_first(&p->waits[i]);
        if (node && list_entry(node, struct server_wait, node)->since_us < oldest)
            oldest = list_entry(node, struct server_wait, node)->since_us;
    }
    return oldest;
}

uint64_t pool_claim_us(const struct server_pool *p)
{
    const uint64_t head_start_us = UINT64_C(3600000000);
    struct list_node *node = list_first(&p->waits[WAIT_PRIVILEGED]);
    if (!node)
        return pool_oldest_wait_us(p);
    uint64_t since_us = list_entry(node, struct server_wait, node)->since_us;
    return since_us > head_start_us ? since_us - head_start_us : 0;
}

void pool_wait_failed(struct server_wait *w, const struct error *why)
{
    list_remove(&w->pool->waits[w->privileged ? WAIT_PRIVILEGED : WAIT_ORDINARY], &w->node);
    w->failed(w, why);
}

/* --- time ------------------------------------------------------------------------------------- */

void pool_turn_later(struct server_pool *p)
{
    loop_defer(p->manager->loop, &p->turn);
}

void pool_wake_at(struct pool_manager *m, uint64_t at_us)
{
    uint64_t now = loop_now_us(m->loop);
    if (m->timer_due_us <= at_us)
        return;
    m->timer_due_us = at_us;
    loop_timer_start(m->timer, at_us > now ? at_us - now : 0);
}

/* --- servers ---------------------------------------------------------------------------------- */

void pool_drop_server(struct server_pool *p, struct server *s)
{
    assert(!list_linked(&s->node));
    list_remove(&p->servers, &s->pool_node);
    server_set_owner(s, NULL, NULL);
    server_close(&s);
    port_give(p->port);
    if (pool_waiting(p) > 0 || p->stale)
        pool_turn_later(p);
}

void pool_add_idle(struct server_pool *p, struct server *s)
{
    list_push_front(&p->idle, &s->node);
    if (pool_waiting(p) > 0)
        pool_turn_later(p);
    for (int i = 0; i < QUOTA_LEVELS; i++) {
        if (port_contended(p->port, (enum quota_level)i))
            pool_turn_later(p);
    }
}

bool pool_is_expired(const struct server_pool *p, const struct server *s)
{
    uint64_t lifetime = pool_settings(p)->server_lifetime_us;
    return s->dead || (lifetime > 0 && pool_now_us(p) - s->created_us >= lifetime) ||
           defaults_are_old(s->begun);
}

struct server *pool_take_idle(struct server_pool *p)
{
    bool round_robin = pool_settings(p)->server_round_robin;
    struct list_node *node;
    while ((node = round_robin ? list_pop_back(&p->idle) : list_pop_front(&p->idle))) {
        struct server *s = list_entry(node, struct server, node);
        if (!pool_is_expired(p, s) && !p->compare)
            return s;
        p->compare = false;
        pool_drop_server(p, s);
    }
    return NULL;
}

bool pool_needs_check(const struct server_pool *p, const struct server *s)
{
    const struct settings *settings = pool_settings(p);
    return settings->server_check_query[0] != '\0' &&
           pool_now_us(p) - s->used_us > settings->server_check_delay_us;
}

void pool_server_lost(struct server *s, const struct error *why)
{
    struct server_pool *p = s->pool;
    log_info("lost an idle connection to shard \"%s\": %s", p->shard_name, why->message);
    assert(list_linked(&s->node));
    list_remove(&p->idle, &s->node);
    pool_drop_server(p, s);
}

/* --- from other workers ----------------------------------------------------------------------- */

void pool_receive(struct server_pool *p, struct server *s)
{
    struct pool_manager *m = p->manager;
    s->pool = p;
    s->prepared = prepared_set_create(m->statements, (unsigned)m->config->settings.max_prepared_statements);
    s->unnamed_statement = 0;
    server_attach(s, m->loop, m->cancels);
    list_push_back(&p->servers, &s->pool_node);
    log_debug("worker %u took over a connection to shard \"%s\"", m->worker, p->shard_name);
    if (p->stale || s->created_us < p->no_older_us)
        pool_drop_server(p, s);
    else
        pool_add_idle(p, s);
}
