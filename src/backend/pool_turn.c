/*
 * A pool's turn: the one place where waits, idle servers and free places come together. It runs once at the
 * end of a loop turn in which something happened to the pool, however much that was.
 *
 *     finish tasks -> serve waits from idle -> give idle to others -> refuse -> open -> mark as waiting
 *
 * Between workers, who has waited longest is served, with some patience: moving a server costs its prepared
 * statements, closing one for another user costs a connection, so a local wait goes first unless the remote
 * one is older by more than that.
 *
 * Not responsible for: timeouts (pool_manager.c), why no wake-up is lost (quota.c).
 */
#include "pool_private.h"

#include "base/arena.h"
#include "base/log.h"
#include <stdlib.h>

#define MAX_OPENINGS 8 /* at a time, per pool and worker */
#define MIN_RETRY_US UINT64_C(100000)
/* Instead of server_login_retry, while nobody is there: a promotion is to be noticed within two seconds. */
#define FAILOVER_RETRY_US UINT64_C(200000)
#define DOWN_RETRY_US     UINT64_C(1000000)
#define LOG_AGAIN_US      UINT64_C(1000000)

static const uint64_t patience_us[QUOTA_LEVELS] = {
    [QUOTA_POOL] = 5000, [QUOTA_DATABASE] = 1000000, [QUOTA_USER] = 1000000};

/* A wait since then, elsewhere, is older by more than our patience than one of ours since since_us. */
static uint64_t elder_before_us(enum quota_level level, uint64_t since_us)
{
    if (since_us == UINT64_MAX)
        return since_us;
    return since_us > patience_us[level] ? since_us - patience_us[level] : 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

struct opening {
    struct list_node node;
    uint64_t since_us;
    struct server_pool *pool;
    struct dial *dial;
};

static void opening_end(struct opening *o)
{
    list_remove(&o->pool->openings, &o->node);
    free(o);
}

static bool has_several_hosts(const struct server_pool *p)
{
    return p->shard->host && strchr(p->shard->host, ',') != NULL;
}

/* Nobody is there who could log us in; it may be otherwise at any moment, after a restart or a promotion. */
static bool is_unreachable(const struct error *why)
{
    return strcmp(why->sqlstate, SQLSTATE_CONNECTION_FAILURE) == 0 || strcmp(why->sqlstate, "57P03") == 0 ||
           strcmp(why->sqlstate, SQLSTATE_ADMIN_SHUTDOWN) == 0;
}

static void opening_failed(struct server_pool *p, uint64_t since_us, const struct error *why)
{
    uint64_t now = pool_now_us(p), retry = pool_settings(p)->server_login_retry_us;
    uint64_t most = !is_unreachable(why) ? retry : has_several_hosts(p) ? FAILOVER_RETRY_US : DOWN_RETRY_US;
    if (retry > most)
        retry = most;
    if (retry < MIN_RETRY_US)
        retry = MIN_RETRY_US; /* those that wait now must hear of it, and a full server must not be stormed */
    if (now - p->logged_us >= LOG_AGAIN_US || strcmp(p->last_error.message, why->message) != 0) {
        log_warning("%s%s%s", why->message, why->detail[0] ? ": " : "", why->detail);
        p->logged_us = now;
    }
    p->last_error = *why;
    p->tried_us = since_us;
    if (!p->down_since_us)
        p->down_since_us = now;
    p->retry_at_us = now + retry;
    pool_wake_at(p->manager, p->retry_at_us);
    port_give(p->port);
}

static void opened(void *arg, struct backend_conn *conn, const struct error *why)
{
    struct opening *o = arg;
    struct server_pool *p = o->pool;
    struct pool_manager *m = p->manager;
    uint64_t since_us = o->since_us;
    opening_end(o);
    pool_turn_later(p);
    if (!conn) {
        opening_failed(p, since_us, why);
        return;
    }
    p->last_error = (struct error){0};
    p->compare = false; /* it has been, by this one */
    p->retry_at_us = p->down_since_us = 0;
    struct prepared_set *prepared =
        prepared_set_create(m->statements, (unsigned)m->config->settings.max_prepared_statements);
    struct server *s = server_create(m->loop, m->cancels, conn, prepared);
    s->pool = p;
    s->idle_lost = pool_server_lost;
    list_push_back(&p->servers, &s->pool_node);
    log_debug("opened a connection to shard \"%s\" as \"%s\", backend %u", p->shard_name, p->user,
              backend_conn_pid(conn));
    pool_add_idle(p, s);
}

/* The place in the quotas has been taken. */
static void open_one(struct server_pool *p)
{
    struct opening *o = xcalloc(1, sizeof(*o));
    o->pool = p;
    o->since_us = pool_now_us(p);
    list_push_back(&p->openings, &o->node);
    struct dial_params params = {
        .shard = p->shard,
        .settings = pool_settings(p),
        .user = p->user,
        .password = p->shard->user && p->shard->user[0] ? p->shard->password : p->password,
    };
    o->dial = dial_start(p->manager->loop, &params, opened, o);
}

void pool_cancel_openings(struct server_pool *p)
{
    list_foreach(&p->openings, node, next)
    {
        struct opening *o = list_entry(node, struct opening, node);
        dial_cancel(&o->dial);
        opening_end(o);
        port_give(p->port);
    }
}

/* --- limits ----------------------------------------------------------------------------------- */

static unsigned positive(int n)
{
    return n > 0 ? (unsigned)n : 0;
}

static void limits_of(const struct server_pool *p, bool with_reserve, unsigned limits_r[QUOTA_LEVELS])
{
    const struct settings *settings = pool_settings(p);
    int size = p->shard->pool_size > 0 ? p->shard->pool_size
               : p->db->pool_size > 0  ? p->db->pool_size
                                       : settings->default_pool_size;
    int reserve = p->db->reserve_pool_size >= 0 ? p->db->reserve_pool_size : settings->reserve_pool_size;
    limits_r[QUOTA_POOL] = (size > 0 ? (unsigned)size : 1) + (with_reserve ? positive(reserve) : 0);
    limits_r[QUOTA_DATABASE] =
        positive(p->db->max_db_connections > 0 ? p->db->max_db_connections : settings->max_db_connections);
    limits_r[QUOTA_USER] = positive(settings->max_user_connections);
}

/* Whether the next connection may come from the reserve. `covered` waits are seen to already. */
static bool may_use_reserve(const struct server_pool *p, size_t covered)
{
    if (covered < p->waits[WAIT_PRIVILEGED].count)
        return true;
    uint64_t timeout = pool_settings(p)->reserve_pool_timeout_us, oldest = pool_oldest_wait_us(p);
    return timeout > 0 && oldest != UINT64_MAX && pool_now_us(p) - oldest >= timeout;
}

/* A place that became free is left to a pool of another user that has waited much longer. */
static bool must_hold_back(struct server_pool *p, enum quota_level *level_r)
{
    uint64_t since = pool_claim_us(p);
    for (int i = QUOTA_DATABASE; i <= QUOTA_USER; i++) {
        enum quota_level level = (enum quota_level)i;
        if (port_contended(p->port, level) && port_has_elder(p->port, level, elder_before_us(level, since))) {
            *level_r = level;
            return true;
        }
    }
    return false;
}

static size_t covered(const struct server_pool *p)
{
    return p->openings.count + p->returning;
}

/* Opens for each wait that nothing is under way for. Returns where it stopped: -1: all are seen to. */
static int open_for_waits(struct server_pool *p)
{
    while (pool_waiting(p) > covered(p)) {
        enum quota_level full;
        unsigned limits[QUOTA_LEVELS];
        if (p->openings.count >= MAX_OPENINGS)
            return -1; /* each one's end brings the next turn */
        limits_of(p, may_use_reserve(p, covered(p)), limits);
        if (must_hold_back(p, &full) || !port_take(p->port, limits, &full))
            return (int)full;
        open_one(p);
    }
    return -1;
}

void pool_fill(struct server_pool *p)
{
    unsigned limits[QUOTA_LEVELS], min = positive(pool_settings(p)->min_pool_size);
    enum quota_level full;
    if (p->stale || min == 0 || p->retry_at_us > pool_now_us(p) || !list_empty(&p->openings))
        return;
    limits_of(p, false, limits);
    if (min < limits[QUOTA_POOL])
        limits[QUOTA_POOL] = min;
    if (port_take(p->port, limits, &full))
        open_one(p);
}

/* --- the parts of a turn ---------------------------------------------------------------------- */

/* Lets go of an idle server for whoever waits elsewhere, if they have waited since before ours (since_us) by
   more than patience; the server is the caller's if not. */
static bool give_away(struct server_pool *p, struct server *s, uint64_t since_us)
{
    for (int i = 0; i < QUOTA_LEVELS; i++) {
        enum quota_level level = (enum quota_level)i;
        if (!port_contended(p->port, level) ||
            !port_promise(p->port, level, elder_before_us(level, since_us)))
            continue;
        if (level == QUOTA_POOL)
            pool_move(p, s);
        else
            pool_drop_server(p, s); /* its place is what is wanted */
        return true;
    }
    return false;
}

/* One that was idle for long is checked first, but no more of them than there are waits. */
static bool check_first(struct server_pool *p, struct server *s)
{
    if (!pool_needs_check(p, s))
        return false;
    if (p->returning < pool_waiting(p))
        pool_task_start(p, s, TASK_CHECK);
    else
        list_push_back(&p->idle, &s->node);
    return true;
}

static void serve_waits(struct server_pool *p)
{
    struct server *s;
    while (pool_waiting(p) > 0 && (s = pool_take_idle(p))) {
        if (give_away(p, s, pool_claim_us(p)))
            continue;
        bool enough = p->returning >= pool_waiting(p);
        if (check_first(p, s)) {
            if (enough)
                return;
            continue;
        }
        struct server_wait *w = pool_first_wait(p);
        list_remove(&p->waits[w->privileged ? WAIT_PRIVILEGED : WAIT_ORDINARY], &w->node);
        s->used_us = pool_now_us(p);
        w->granted(w, s);
    }
}

/* The least recently used goes first. */
static void serve_others(struct server_pool *p)
{
    struct list_node *node;
    while (pool_waiting(p) == 0 && (node = list_pop_back(&p->idle))) {
        struct server *s = list_entry(node, struct server, node);
        if (!give_away(p, s, UINT64_MAX)) {
            list_push_back(&p->idle, node);
            return;
        }
    }
}

/* Each that waits now; those that come meanwhile are another turn's. */
static void refuse_all(struct server_pool *p, const struct error *why)
{
    struct error copy = *why;
    for (size_t n = pool_waiting(p); n > 0 && pool_waiting(p) > 0; n--)
        pool_wait_failed(pool_first_wait(p), &copy);
}

/* A shard of several hosts is failing over: who holds nothing yet waits for the one that is promoted, as long as
 * server_failover_timeout says. Has it been down for longer than that, the next failure is everybody's answer. */
static void refuse_some(struct server_pool *p)
{
    uint64_t now = pool_now_us(p), timeout = pool_settings(p)->server_failover_timeout_us;
    bool long_down = now - p->down_since_us >= timeout;
    struct list_node *node;
    struct error copy = p->last_error;
    for (size_t n = p->waits[WAIT_PRIVILEGED].count; n > 0 && pool_waiting(p) > 0 && n--;)
        if ((node = list_first(&p->waits[WAIT_PRIVILEGED])))
            pool_wait_failed(list_entry(node, struct server_wait, node), &copy);
    while (!p->paused && (node = list_first(&p->waits[WAIT_ORDINARY]))) {
        struct server_wait *w = list_entry(node, struct server_wait, node);
        if (now - w->since_us < timeout && !(long_down && w->since_us <= p->tried_us))
            return;
        pool_wait_failed(w, &copy);
    }
}

/* True: the shard could not be reached a moment ago, and nothing is to be opened now. */
static bool refuse_while_unreachable(struct server_pool *p)
{
    if (p->retry_at_us != 0 && has_several_hosts(p) && is_unreachable(&p->last_error)) {
        refuse_some(p);
        return pool_now_us(p) < p->retry_at_us;
    }
    if (p->retry_at_us == 0 || pool_now_us(p) >= p->retry_at_us)
        return false;
    /* A server that is full is no reason to refuse while we have connections there that will come back. */
    bool full = strcmp(p->last_error.sqlstate, SQLSTATE_TOO_MANY_CONNECTIONS) == 0;
    if (!full || atomic_load(&p->port->quotas[QUOTA_POOL]->used) == 0)
        refuse_all(p, &p->last_error);
    return true;
}

static void unmark(struct server_pool *p)
{
    if (p->waits_at >= 0)
        port_unwait(p->port, (enum quota_level)p->waits_at);
    p->waits_at = -1;
}

/* Opens what may be opened, and has the port marked as waiting exactly if that was not enough. */
static void open_or_mark(struct server_pool *p)
{
    int full = open_for_waits(p);
    while (full >= 0) {
        if (p->waits_at != full)
            unmark(p);
        unsigned wanted = (unsigned)(pool_waiting(p) - covered(p));
        p->waits_at = full;
        if (!port_wait(p->port, (enum quota_level)full, wanted, pool_claim_us(p)))
            return;
        full = open_for_waits(p); /* once more: see quota.c, observation 1 */
    }
    unmark(p);
}

static void turn_of_stale(struct server_pool *p)
{
    struct error gone;
    struct server *s;
    pool_tasks_finish(p);
    while ((s = pool_take_idle(p)))
        pool_drop_server(p, s);
    (void)error_set(&gone, SQLSTATE_ADMIN_SHUTDOWN, "shard \"%s\" is no longer configured", p->shard_name);
    refuse_all(p, &gone);
    if (list_empty(&p->servers) && p->config) {
        p->db = NULL;
        p->shard = NULL;
        config_unref(&p->config);
    }
}

void pool_turn(void *arg)
{
    struct server_pool *p = arg;
    if (p->stale) {
        turn_of_stale(p);
        return;
    }
    pool_tasks_finish(p);
    serve_waits(p);
    serve_others(p);
    if (refuse_while_unreachable(p)) {
        unmark(p);
        /* A full server: what other workers give back is wanted nevertheless. */
        if (pool_waiting(p) > covered(p)) {
            p->waits_at = QUOTA_POOL;
            (void)port_wait(p->port, QUOTA_POOL, (unsigned)(pool_waiting(p) - covered(p)), pool_claim_us(p));
        }
        return;
    }
    open_or_mark(p);
}
