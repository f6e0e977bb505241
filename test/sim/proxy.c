/* Proxies: the ports of src/txn over the world's connections. */
#include "sim.h"

#include "txn/coordinator_private.h"

#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000)

/* --- coordinators ----------------------------------------------------------------------------- */

static void port_send(void *port, unsigned p, const char *sql)
{
    struct txn *t = port;
    if (t->own_returned[p])
        world_fail(t->w, "txn %u uses the connection of part %u after it gave it back", t->index, p);
    else
        world_send(t->own[p], sql);
}

/* What the server makes of the two statements and their values. */
static void port_decide(void *port, unsigned p, const struct txn_decision *d)
{
    const char *const values[] = {d->txid, d->shards, d->proof};
    struct txn *t = port;
    struct buf b;
    buf_init(&b);
    for (const char *at = decision_insert_sql; *at; at++) {
        if (*at == '$') {
            buf_printf(&b, "'%s'", values[*++at - '1']);
            continue;
        }
        buf_u8(&b, (uint8_t)*at);
    }
    buf_append(&b, "; COMMIT", sizeof "; COMMIT");
    const char *sql = arena_strdup(&t->w->arena, (const char *)buf_head(&b));
    buf_free(&b);
    port_send(port, p, sql);
}

static void port_control(void *port, unsigned p, const char *sql)
{
    struct txn *t = port;
    if (!t->control[p] || !t->control[p]->usable || !t->control[p]->alive)
        t->control[p] = world_connect(t->w, t->proxy, t->shard[p], t, p, true);
    world_send(t->control[p], sql);
}

static void give_back(struct txn *t, unsigned p)
{
    if (t->own_returned[p])
        world_fail(t->w, "txn %u gives the connection of part %u back twice", t->index, p);
    t->own_returned[p] = true;
}

static void port_released(void *port, unsigned p)
{
    struct txn *t = port;
    const struct conn *c = t->own[p];
    give_back(t, p);
    if (c->waiting || (c->usable && c->alive && (c->status != 'I' || c->pending)))
        world_fail(t->w, "txn %u gives the connection of part %u back in a transaction", t->index, p);
}

static void port_drop(void *port, unsigned p)
{
    struct txn *t = port;
    give_back(t, p);
    world_close(t->own[p]);
}

static void port_timer(void *port, uint64_t after_us)
{
    struct txn *t = port;
    t->timer_generation++;
    if (after_us)
        world_at(t->w, after_us,
                 (struct event){.kind = EVENT_TIMER, .txn = t, .generation = t->timer_generation});
}

static uint64_t port_now(void *port)
{
    return ((struct txn *)port)->w->now_us;
}

static void port_answer(void *port, const struct txn_result *result)
{
    static const char *const names[] = {"committed", "rolled back", "unknown"};
    struct txn *t = port;
    struct world *w = t->w;
    world_trace(w, "txn %u: the client hears: %s%s%s", t->index, names[result->outcome],
                result->error ? ": " : "", result->error ? result->error->message : "");
    if (t->answered)
        world_fail(w, "txn %u is answered twice", t->index);
    t->answered = true;
    t->outcome = result->outcome;
    w->outcomes[result->outcome]++;
    for (unsigned p = 0; p < t->n_parts; p++) {
        if (result->outcome == TXN_ROLLED_BACK && t->part[p] == PART_COMMITTED && !t->by_hand[p])
            world_fail(w, "txn %u is reported rolled back, part %u is committed", t->index, p);
        if (result->outcome == TXN_COMMITTED && p == t->decider && t->part[p] != PART_COMMITTED)
            world_fail(w, "txn %u is reported committed, its decider is not", t->index);
        if (result->outcome == TXN_COMMITTED && result->applied_everywhere && !w->scenario.ack_decided &&
            t->part[p] != PART_COMMITTED)
            world_fail(w, "txn %u is reported applied, part %u is not", t->index, p);
    }
    if ((result->outcome == TXN_COMMITTED) != (result->error == NULL))
        world_fail(w, "txn %u: outcome and error do not agree", t->index);
}

static void port_torn(void *port, unsigned p, bool committed)
{
    struct txn *t = port;
    world_trace(t->w, "txn %u: its coordinator says that it is torn by part %u", t->index, p);
    if (committed != (t->part[t->decider] == PART_COMMITTED))
        world_fail(t->w, "txn %u is said to be torn the other way round", t->index);
    world_reported(t->w, t->txid, t->shard_name[p], false);
}

static void port_done(void *port)
{
    struct txn *t = port;
    if (!t->answered)
        world_fail(t->w, "txn %u is done without an answer", t->index);
    for (unsigned p = 0; p < t->n_parts; p++)
        if (!t->own_returned[p])
            world_fail(t->w, "txn %u is done and keeps the connection of part %u", t->index, p);
    t->done = true;
    for (unsigned p = 0; p < t->n_parts; p++)
        if (t->own[p]->usable)
            world_close(t->own[p]);
    for (unsigned p = 0; p < t->n_parts; p++)
        if (t->control[p] && t->control[p]->usable)
            world_close(t->control[p]);
}

static const struct coordinator_ops coordinator_ops = {.send = port_send,
                                                       .decide = port_decide,
                                                       .control = port_control,
                                                       .released = port_released,
                                                       .drop = port_drop,
                                                       .timer = port_timer,
                                                       .now_us = port_now,
                                                       .answer = port_answer,
                                                       .torn = port_torn,
                                                       .done = port_done};

/* The application's part, before COMMIT: open on every participant, and written unless it says otherwise. */
static void open_parts(struct txn *t, struct txn_participant *participants)
{
    struct world *w = t->w;
    for (unsigned p = 0; p < t->n_parts; p++) {
        participants[p].shard = t->shard_name[p];
        participants[p].may_lack_xid =
            w->scenario.lacks_xid || (w->scenario.random && world_random(w, 4) == 0);
        struct conn *c = t->own[p] = world_connect(w, t->proxy, t->shard[p], t, p, false);
        t->part[p] = c->alive ? PART_OPEN : PART_ABORTED;
        c->status = 'T';
        c->app = c->alive;
        c->lock_timeout_us = 1000;
        if (!participants[p].may_lack_xid)
            c->xid = w->shards[c->shard].next_xid++;
    }
}

void txn_start(struct txn *t)
{
    struct world *w = t->w;
    const struct scenario *s = &w->scenario;
    struct txn_participant participants[MAX_SHARDS] = {0};
    struct error error;
    t->started = true;
    t->proxy = s->random ? (unsigned)world_random(w, s->n_proxies) : 0;
    struct proxy *proxy = &w->proxies[t->proxy];
    if (!proxy->up || proxy->dying || proxy->paused_until_us > w->now_us) {
        t->started = false; /* the client connects again later */
        world_at(w, SECOND, (struct event){.kind = EVENT_START, .txn = t});
        return;
    }
    t->incarnation = proxy->incarnation;
    t->n_parts = s->random ? 2 + (unsigned)world_random(w, s->n_shards - 1) : s->several ? 2 : s->n_shards;
    unsigned first = s->random ? (unsigned)world_random(w, s->n_shards) : 0;
    for (unsigned p = 0; p < t->n_parts; p++) {
        t->shard[p] = s->several && p ? 1 + t->index % (s->n_shards - 1) : (first + p) % s->n_shards;
        t->shard_name[p] = w->shard_names[t->shard[p]];
    }
    open_parts(t, participants);

    struct coordinator_options options = {.cluster = proxy->cluster,
                                          .txid = t->txid,
                                          .decider_hint = s->random ? (unsigned)world_random(w, 8) : 0,
                                          .ack_decided = s->ack_decided,
                                          .resolve_timeout_us = 3 * SECOND,
                                          .retry_us = 200000,
                                          .apply_timeout_us = 2 * SECOND};
    for (int i = 0; i < TXID_SECRET_BYTES; i++)
        options.secret[i] = (uint8_t)world_random(w, 256);
    txid_make(t->proxy, t->index, options.secret, t->txid);
    t->coordinator = coordinator_create(&options, participants, t->n_parts, &coordinator_ops, t, &error);
    if (!t->coordinator) {
        world_fail(w, "create: %s", error.message);
        return;
    }
    t->decider = coordinator_decider(t->coordinator);
    coordinator_start(t->coordinator);
    if (s->random && world_random(w, 10) == 0)
        world_at(w, world_latency(w), (struct event){.kind = EVENT_CANCEL, .txn = t});
}

/* --- resolvers -------------------------------------------------------------------------------- */

static void resolver_send(struct proxy *p, unsigned s, unsigned helper, const char *sql)
{
    struct conn **c = &p->conn[s][helper];
    if (!*c || !(*c)->usable || !(*c)->alive) {
        *c = world_connect(p->w, p->index, s, NULL, 0, true);
        (*c)->helper = helper;
    }
    world_send(*c, sql);
}

static void port_resolver_control(void *port, unsigned s, const char *sql)
{
    resolver_send(port, s, 0, sql);
}

static void port_helper(void *port, unsigned s, unsigned helper, const char *sql)
{
    resolver_send(port, s, 1 + helper, sql);
}

static bool port_owned(void *port, const char *txid)
{
    struct proxy *p = port;
    struct txn *t = world_find(p->w, txid);
    return t && t->proxy == p->index && t->incarnation == p->incarnation && !t->done;
}

static uint64_t port_resolver_now(void *port)
{
    return ((struct proxy *)port)->w->now_us;
}

static void port_wake(void *port, uint64_t after_us)
{
    struct proxy *p = port;
    world_at(p->w, after_us,
             (struct event){.kind = EVENT_WAKE, .index = p->index, .incarnation = p->incarnation});
}

static void port_log(void *port, const char *text)
{
    struct proxy *p = port;
    world_trace(p->w, "  proxy %u logs: %s", p->index, text);
}

static void port_resolver_torn(void *port, const char *txid, const char *shard, bool suspected,
                               const char *text)
{
    struct proxy *p = port;
    world_trace(p->w, "  proxy %u says: %s", p->index, text);
    world_reported(p->w, txid, shard, suspected);
}

static void port_resolved(void *port, const char *txid, const char *shard, bool committed)
{
    struct proxy *p = port;
    struct txn *t = world_find(p->w, txid);
    for (unsigned i = 0; t && i < t->n_parts; i++)
        if (strcmp(t->shard_name[i], shard) == 0 && t->part[i] != (committed ? PART_COMMITTED : PART_ABORTED))
            world_fail(p->w, "the resolver reports part %u of txn %u wrongly", i, t->index);
}

static void port_sweep_done(void *port)
{
    struct proxy *p = port;
    uint64_t after_us = recovery_rest_us(p->recovery, SECOND) +
                        (p->w->scenario.random ? world_random(p->w, SECOND / 2) : p->index * 100000);
    world_at(p->w, after_us,
             (struct event){.kind = EVENT_SWEEP, .index = p->index, .incarnation = p->incarnation});
}

static const struct recovery_ops recovery_ops = {.control = port_resolver_control,
                                                 .helper = port_helper,
                                                 .owned = port_owned,
                                                 .now_us = port_resolver_now,
                                                 .wake = port_wake,
                                                 .log = port_log,
                                                 .torn = port_resolver_torn,
                                                 .resolved = port_resolved,
                                                 .sweep_done = port_sweep_done};

void proxy_sweep(struct world *w, unsigned index)
{
    struct proxy *p = &w->proxies[index];
    if (!recovery_sweep(p->recovery, NULL))
        world_fail(w, "proxy %u is asked to sweep while it does", index);
}

void proxy_wake(struct world *w, unsigned index)
{
    recovery_tick(w->proxies[index].recovery);
}

void proxy_start(struct world *w, unsigned index)
{
    struct proxy *p = &w->proxies[index];
    struct recovery_options options = {.cluster = p->cluster,
                                       .resolve_after_us = 2 * SECOND,
                                       .fence_keep_us = 4 * SECOND,
                                       .collect_batch = 8,
                                       .helpers = 2,
                                       .helpers_from = 1,
                                       .spread_us = 3 * SECOND,
                                       .step_us = SECOND,
                                       .tick_us = 300000};
    world_trace(w, "proxy %u starts", index);
    p->up = true;
    p->dying = p->holding = false;
    p->paused_until_us = 0;
    p->incarnation++;
    memset(p->conn, 0, sizeof p->conn);
    p->recovery = recovery_create(&options, w->shard_names, w->scenario.n_shards, &recovery_ops, p);
    world_at(w, 300000 * (index + 1),
             (struct event){.kind = EVENT_SWEEP, .index = index, .incarnation = p->incarnation});
}

void proxy_crash(struct world *w, unsigned index)
{
    struct proxy *p = &w->proxies[index];
    world_trace(w, "proxy %u crashes", index);
    p->up = false;
    recovery_destroy(&p->recovery);
    for (unsigned i = 0; i < w->scenario.n_txns; i++) {
        struct txn *t = &w->txns[i];
        if (!t->coordinator || t->proxy != index || t->incarnation != p->incarnation)
            continue;
        t->orphaned = !t->done;
        coordinator_abandon(&t->coordinator);
    }
    for (struct conn *c = w->conns; c; c = c->next)
        if (c->proxy == index && c->incarnation == p->incarnation && c->usable)
            world_close(c);
    world_at(w, 2 * SECOND, (struct event){.kind = EVENT_PROXY_UP, .index = index});
}

void proxy_reply(struct conn *c, const struct reply *reply)
{
    struct world *w = c->w;
    if (!c->txn && c->helper)
        recovery_helper_reply(w->proxies[c->proxy].recovery, c->shard, c->helper - 1, &reply->txn);
    else if (!c->txn)
        recovery_reply(w->proxies[c->proxy].recovery, c->shard, &reply->txn);
    else if (c->control)
        coordinator_control_reply(c->txn->coordinator, c->part, &reply->txn);
    else
        coordinator_reply(c->txn->coordinator, c->part, &reply->txn);
}
