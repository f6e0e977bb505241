/*
 * When to sweep, and the port between the recovery machine and control connections.
 *
 *     IDLE --timer, request--> SWEEPING --sweep_done--> IDLE
 *
 * The timer: resolve_interval, or less if something that was seen falls due before (recovery_rest_us()); at once if
 * somebody asked meanwhile.
 *
 * A request is served by a sweep that began after it. A reload throws a running sweep away: a resolver may
 * end anywhere, what it has begun is found by the next one.
 *
 * Not responsible for: what a sweep does (txn/recovery.c), transactions of living coordinators (session).
 */
#include "resolver.h"

#include "base/arena.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than what its statements allow themselves (statement_timeout 5 s), and time to connect. */
#define QUERY_TIMEOUT_US ((uint64_t)10 * 1000 * 1000)
#define FENCE_KEEP_US    ((uint64_t)24 * 3600 * 1000 * 1000)
#define COLLECT_BATCH    1000
#define HELPERS          RECOVERY_HELPERS_MAX
#define HELPERS_FROM     8
/* What falls due while a sweep runs waits for the next one. So twice the spread, and work that is slow, stay within
   two seconds. */
#define SPREAD_US ((uint64_t)800 * 1000)
#define STEP_US   ((uint64_t)2 * 1000)
#define TICK_US   ((uint64_t)10 * 1000)

struct request {
    struct list_node node;
    char txid[TXID_MAX_BYTES + 1]; /* "": all that are due */
    void (*done)(void *arg, bool ok);
    void *arg;
};

struct shard_port {
    struct resolver *resolver;
    unsigned shard;
    struct helper_port {
        struct shard_port *port;
        unsigned helper;
    } helpers[HELPERS];
};

struct resolver {
    struct loop *loop;
    struct config *config;
    struct asker *control, *helpers[HELPERS]; /* helpers connect when they are asked, and not for long */
    struct session_shared *shared;
    struct recovery *recovery;
    struct shard_port *ports;
    size_t n_ports;
    struct loop_timer *timer, *tick;
    struct deferred go;           /* sweeps begin here: never from inside the recovery's own calls */
    struct list waiting, serving; /* requests: for a sweep to come; of the one that runs */
};

/* --- the port --------------------------------------------------------------------------------- */

static struct txn_reply reply_of(const struct rows *rows)
{
    return (struct txn_reply){
        .kind = rows->ok     ? TXN_REPLY_OK
                : rows->lost ? TXN_REPLY_LOST
                             : TXN_REPLY_ERROR,
        .tag = rows->tag,
        .error = rows->error,
        .txn_status = rows->txn_status,
        .n_rows = rows->n_rows,
        .n_columns = rows->n_columns,
        .rows = rows_texts(rows),
    };
}

static void control_done(void *arg, const struct rows *rows)
{
    const struct shard_port *p = arg;
    struct txn_reply reply = reply_of(rows);
    recovery_reply(p->resolver->recovery, p->shard, &reply);
}

static void helper_done(void *arg, const struct rows *rows)
{
    const struct helper_port *h = arg;
    struct txn_reply reply = reply_of(rows);
    recovery_helper_reply(h->port->resolver->recovery, h->port->shard, h->helper, &reply);
}

static void port_control(void *port, unsigned s, const char *sql)
{
    struct resolver *r = port;
    asker_query(r->control, &r->config->topology.shards[s], sql, QUERY_TIMEOUT_US, control_done,
                &r->ports[s]);
}

static void port_helper(void *port, unsigned s, unsigned helper, const char *sql)
{
    struct resolver *r = port;
    asker_query(r->helpers[helper], &r->config->topology.shards[s], sql, QUERY_TIMEOUT_US, helper_done,
                &r->ports[s].helpers[helper]);
}

static bool port_owned(void *port, const char *txid)
{
    struct resolver *r = port;
    return session_owns_txid(r->shared, txid);
}

static uint64_t port_now_us(void *port)
{
    struct resolver *r = port;
    return loop_now_us(r->loop);
}

static void port_wake(void *port, uint64_t after_us)
{
    struct resolver *r = port;
    loop_timer_start(r->tick, after_us);
}

static void tick(void *arg)
{
    struct resolver *r = arg;
    recovery_tick(r->recovery);
}

static void port_log(void *port, const char *text)
{
    (void)port;
    log_warning("resolver: %s", text);
}

static void port_torn(void *port, const char *txid, const char *shard, bool suspected, const char *text)
{
    struct resolver *r = port;
    if (suspected)
        log_error("resolver: %s", text);
    else if (session_report_torn(r->shared, txid, shard))
        log_error("resolver: %s", text);
}

static void port_resolved(void *port, const char *txid, const char *shard, bool committed)
{
    struct resolver *r = port;
    atomic_fetch_add_explicit(committed ? &r->shared->resolved_commit : &r->shared->resolved_abort, 1,
                              memory_order_relaxed);
    session_remember_resolved(r->shared, txid, committed);
    log_info("resolver: transaction %s %s on shard \"%s\"", txid, committed ? "committed" : "rolled back",
             shard);
}

static void finish(struct list *requests, bool ok)
{
    struct list_node *n;
    while ((n = list_pop_front(requests))) {
        struct request *q = list_entry(n, struct request, node);
        q->done(q->arg, ok);
        free(q);
    }
}

static void port_sweep_done(void *port)
{
    struct resolver *r = port;
    finish(&r->serving, true);
    loop_timer_start(r->timer, recovery_rest_us(r->recovery, r->config->settings.resolve_interval_us));
    if (!list_empty(&r->waiting))
        loop_defer(r->loop, &r->go);
}

static const struct recovery_ops ops = {
    .control = port_control,
    .helper = port_helper,
    .owned = port_owned,
    .now_us = port_now_us,
    .wake = port_wake,
    .log = port_log,
    .torn = port_torn,
    .resolved = port_resolved,
    .sweep_done = port_sweep_done,
};

/* --- sweeps ----------------------------------------------------------------------------------- */

/* The requests that one sweep can serve: all without a txid, or those for the first one's. */
static const char *take_requests(struct resolver *r, char txid_r[TXID_MAX_BYTES + 1])
{
    struct list_node *first = list_first(&r->waiting);
    if (!first)
        return NULL;
    memcpy(txid_r, list_entry(first, struct request, node)->txid, TXID_MAX_BYTES + 1);
    list_foreach(&r->waiting, node, next)
    {
        struct request *q = list_entry(node, struct request, node);
        if (strcmp(q->txid, txid_r) == 0) {
            list_remove(&r->waiting, node);
            list_push_back(&r->serving, node);
        }
    }
    return txid_r[0] ? txid_r : NULL;
}

static void go(void *arg)
{
    struct resolver *r = arg;
    char txid[TXID_MAX_BYTES + 1];
    if (recovery_sweeping(r->recovery))
        return; /* its end brings us here again */
    loop_timer_stop(r->timer);
    const char *only = take_requests(r, txid);
    if (!recovery_sweep(r->recovery, only)) {
        finish(&r->serving, false);
        loop_timer_start(r->timer, r->config->settings.resolve_interval_us);
        if (!list_empty(&r->waiting))
            loop_defer(r->loop, &r->go);
    }
}

void resolver_request(struct resolver *r, const char *txid, void (*done)(void *arg, bool ok), void *arg)
{
    struct request *q = xcalloc(1, sizeof *q);
    q->done = done;
    q->arg = arg;
    /* A name that does not fit cannot be a transaction's: a character that none has makes the sweep refuse
     * it. */
    bool fits = !txid || (*txid && strlen(txid) <= TXID_MAX_BYTES);
    snprintf(q->txid, sizeof q->txid, "%s", txid ? (fits ? txid : "?") : "");
    list_push_back(&r->waiting, &q->node);
    loop_defer(r->loop, &r->go);
}

size_t resolver_entries(const struct resolver *r, const struct recovery_entry **entries_r)
{
    return recovery_entries(r->recovery, entries_r);
}

const struct recovery_shard *resolver_shard(const struct resolver *r, unsigned shard)
{
    return shard < r->n_ports ? recovery_shard_state(r->recovery, shard) : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

static void begin(struct resolver *r, struct config *config)
{
    const struct settings *s = &config->settings;
    const struct topology *t = &config->topology;
    struct recovery_options options = {
        .cluster = s->cluster,
        .resolve_after_us = s->resolve_after_us,
        .fence_keep_us = FENCE_KEEP_US,
        .collect_batch = COLLECT_BATCH,
        .helpers = HELPERS,
        .helpers_from = HELPERS_FROM,
        .spread_us = SPREAD_US,
        .step_us = STEP_US,
        .tick_us = TICK_US,
    };
    r->config = config_ref(config);
    r->n_ports = t->n_shards;
    r->ports = xcalloc(t->n_shards + 1, sizeof *r->ports);
    const char **names = xcalloc(t->n_shards + 1, sizeof *names);
    for (unsigned i = 0; i < t->n_shards; i++) {
        names[i] = t->shards[i].name;
        r->ports[i] = (struct shard_port){.resolver = r, .shard = i};
        for (unsigned k = 0; k < HELPERS; k++)
            r->ports[i].helpers[k] = (struct helper_port){.port = &r->ports[i], .helper = k};
    }
    r->recovery = recovery_create(&options, names, (unsigned)t->n_shards, &ops, r);
    free(names);
    loop_defer(r->loop, &r->go);
}

static void leave(struct resolver *r)
{
    for (size_t i = 0; i < r->n_ports; i++) {
        asker_forget(r->control, &r->ports[i]);
        for (unsigned k = 0; k < HELPERS; k++)
            asker_forget(r->helpers[k], &r->ports[i].helpers[k]);
    }
    loop_timer_stop(r->tick);
    recovery_destroy(&r->recovery);
    free(r->ports);
    config_unref(&r->config);
}

struct resolver *resolver_create(struct loop *loop, struct config *config, struct asker *control,
                                 struct session_shared *shared)
{
    struct resolver *r = xcalloc(1, sizeof *r);
    r->loop = loop;
    r->control = control;
    r->shared = shared;
    list_init(&r->waiting);
    list_init(&r->serving);
    r->go = (struct deferred){.run = go, .arg = r};
    r->timer = loop_timer_create(loop, go, r);
    r->tick = loop_timer_create(loop, tick, r);
    for (unsigned i = 0; i < HELPERS; i++)
        r->helpers[i] = asker_create(loop, config);
    begin(r, config);
    /* The first sweep comes after the checks have had time to make the decision tables. */
    loop_undefer(loop, &r->go);
    loop_timer_start(r->timer, config->settings.resolve_interval_us);
    return r;
}

void resolver_reconfigure(struct resolver *r, struct config *config)
{
    leave(r);
    list_move_all(&r->waiting, &r->serving);
    for (unsigned i = 0; i < HELPERS; i++)
        asker_reconfigure(r->helpers[i], config);
    begin(r, config);
}

void resolver_destroy(struct resolver **rr)
{
    struct resolver *r = *rr;
    if (!r)
        return;
    *rr = NULL;
    leave(r);
    list_move_all(&r->waiting, &r->serving);
    struct list_node *n;
    while ((n = list_pop_front(&r->waiting)))
        free(list_entry(n, struct request, node));
    for (unsigned i = 0; i < HELPERS; i++)
        asker_destroy(&r->helpers[i]);
    loop_timer_destroy(&r->timer);
    loop_timer_destroy(&r->tick);
    loop_undefer(r->loop, &r->go);
    free(r);
}
