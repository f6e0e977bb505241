/*
 * Events, connections and faults.
 *
 * A message that is sent counts as one step; a plan names steps, a random run draws at each. What a fault
 * does is decided when the message is sent, and carried out by events, so nothing here ever calls back into
 * src/txn from inside one of its calls.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define SECOND        UINT64_C(1000000)
#define END_OF_FAULTS (60 * SECOND)
#define END_OF_RUN    (400 * SECOND)

static const char *const fault_names[] = {
    [FAULT_NONE] = "none",
    [LOSE_BEFORE] = "lose_before",
    [LOSE_AFTER] = "lose_after",
    [LOSE_LATE] = "lose_late",
    [FAIL] = "fail",
    [FAIL_COMMIT] = "fail_commit",
    [VANISH] = "vanish",
    [SLOW] = "slow",
    [DUPLICATE] = "duplicate",
    [STALL] = "stall",
    [STALL_LOST] = "stall_lost",
    [CRASH_BEFORE] = "crash_before",
    [CRASH_AFTER] = "crash_after",
    [PROXY_CRASH_BEFORE] = "proxy_crash_before",
    [PROXY_CRASH_AFTER] = "proxy_crash_after",
    [PAUSE_BEFORE] = "pause_before",
    [PAUSE_AFTER] = "pause_after",
    [HAND_COMMIT] = "hand_commit",
    [HAND_ROLLBACK] = "hand_rollback",
    [FORGE] = "forge",
    [FORGE_FENCE] = "forge_fence",
};

const char *fault_name(enum fault_kind kind)
{
    return fault_names[kind];
}

void world_trace(struct world *w, const char *fmt, ...)
{
    if (!w->trace)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%10.3f ms  ", (double)w->now_us / 1e3);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

void world_fail(struct world *w, const char *fmt, ...)
{
    if (w->failed)
        return;
    w->failed = true;
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->why, sizeof w->why, fmt, args);
    va_end(args);
    world_trace(w, "FAILED: %s", w->why);
}

uint64_t world_random(struct world *w, uint64_t below)
{
    w->random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = w->random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

uint64_t world_latency(struct world *w)
{
    if (!w->scenario.random)
        return 1000;
    return world_random(w, 20) == 0 ? 1 + world_random(w, 2 * SECOND) : 1 + world_random(w, 5000);
}

/* Long enough that resolvers act, and mostly that rows and fences are collected. */
uint64_t world_long(struct world *w)
{
    static const uint64_t choices[] = {50000, SECOND, 4 * SECOND, 12 * SECOND, 25 * SECOND};
    if (w->scenario.random)
        return choices[world_random(w, 5)] + world_random(w, 100000);
    return w->scenario.briefly ? 4 * SECOND : 25 * SECOND;
}

/* --- the queue -------------------------------------------------------------------------------- */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static bool must_happen(enum event_kind kind)
{
    return kind != EVENT_SWEEP && kind != EVENT_WAKE && kind != EVENT_LOCK_TIMEOUT && kind != EVENT_TIMER;
}

void world_at(struct world *w, uint64_t after_us, struct event e)
{
    e.at_us = w->now_us + after_us;
    e.order = w->order++;
    w->unsettled += must_happen(e.kind);
    if (w->n_queue == w->queue_cap) {
        w->queue_cap = w->queue_cap ? 2 * w->queue_cap : 64;
        w->queue = xrealloc(w->queue, w->queue_cap * sizeof *w->queue);
    }
    size_t at = w->n_queue++;
    while (at > 0 && earlier(&e, &w->queue[(at - 1) / 2])) {
        w->queue[at] = w->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->queue[at] = e;
}

static struct event take(struct world *w)
{
    struct event first = w->queue[0], last = w->queue[--w->n_queue];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->n_queue)
            break;
        if (child + 1 < w->n_queue && earlier(&w->queue[child + 1], &w->queue[child]))
            child++;
        if (!earlier(&w->queue[child], &last))
            break;
        w->queue[at] = w->queue[child];
        at = child;
    }
    w->queue[at] = last;
    w->unsettled -= must_happen(first.kind);
    return first;
}

/* --- connections ------------------------------------------------------------------------------ */

struct conn *world_connect(struct world *w, unsigned proxy, unsigned shard, struct txn *txn, unsigned part,
                           bool control)
{
    struct conn *c = arena_zalloc(&w->arena, sizeof *c);
    c->w = w;
    c->id = w->n_conns++;
    c->shard = shard;
    c->proxy = proxy;
    c->incarnation = w->proxies[proxy].incarnation;
    c->txn = txn;
    c->part = part;
    c->control = control;
    c->usable = true;
    c->alive = w->shards[shard].up;
    c->status = 'I';
    c->next = w->conns;
    w->conns = c;
    return c;
}

static struct reply *new_reply(struct world *w, enum txn_reply_kind kind)
{
    struct reply *r = arena_zalloc(&w->arena, sizeof *r);
    r->txn.kind = kind;
    r->txn.txn_status = 'I';
    return r;
}

/* The proxy learns that the connection is gone; the session learns it after the message it has, if it has
 * one. */
static void lose(struct conn *c, uint64_t after_us)
{
    c->usable = false;
    world_at(c->w, after_us,
             (struct event){.kind = EVENT_REPLY, .conn = c, .reply = new_reply(c->w, TXN_REPLY_LOST)});
    world_at(c->w, after_us, (struct event){.kind = EVENT_EOF, .conn = c});
}

void world_close(struct conn *c)
{
    c->usable = false;
    c->waiting = false;
    world_at(c->w, world_latency(c->w), (struct event){.kind = EVENT_EOF, .conn = c});
}

void world_answer(struct conn *c)
{
    struct world *w = c->w;
    c->pending = false;
    c->wait = WAIT_NONE;
    if (c->fault == CRASH_AFTER) {
        world_at(w, 0, (struct event){.kind = EVENT_SHARD_CRASH, .index = c->shard});
        return;
    }
    if (c->eof) {
        model_end_session(c);
        return;
    }
    if (c->fault == LOSE_AFTER) {
        lose(c, world_latency(w));
        return;
    }
    bool dull = c->building->txn.kind == TXN_REPLY_OK && c->building->txn.n_rows == 0 &&
                strstr(c->sql, "pg_prepared_xacts");
    if (!dull)
        world_trace(w, "  shard %u, connection %u: %s", c->shard, c->id,
                    c->building->txn.kind == TXN_REPLY_OK ? c->building->txn.tag
                                                          : c->building->error.message);
    world_at(w, world_latency(w), (struct event){.kind = EVENT_REPLY, .conn = c, .reply = c->building});
}

/* --- sending, and what may happen to it ------------------------------------------------------- */

unsigned fault_side(enum fault_kind k)
{
    return k >= HAND_COMMIT ? SIDE_OTHERS : k >= PROXY_CRASH_BEFORE ? SIDE_PROXY : SIDE_MESSAGE;
}

static void planned_faults(struct world *w, unsigned step, enum fault_kind faults[N_SIDES])
{
    for (unsigned i = 0; i < w->scenario.n_faults; i++)
        if (w->scenario.faults[i].step == step)
            faults[fault_side(w->scenario.faults[i].kind)] = w->scenario.faults[i].kind;
    if (!w->scenario.random || w->now_us > END_OF_FAULTS)
        return;
    uint64_t threshold = (uint64_t)(w->scenario.fault_rate * 1e6);
    if (world_random(w, 1000000) < threshold)
        faults[SIDE_MESSAGE] = (enum fault_kind)(1 + world_random(w, PROXY_CRASH_BEFORE - 1));
    if (world_random(w, 1000000) < threshold / 3)
        faults[SIDE_PROXY] =
            (enum fault_kind)(PROXY_CRASH_BEFORE + world_random(w, N_FAULTS - PROXY_CRASH_BEFORE));
    if (world_random(w, 1000000) < threshold / 3)
        faults[SIDE_OTHERS] = (enum fault_kind)(HAND_COMMIT + world_random(w, N_KINDS - HAND_COMMIT));
}

static void crash_proxy(struct world *w, struct proxy *p)
{
    p->dying = true;
    world_at(w, 0,
             (struct event){.kind = EVENT_PROXY_CRASH, .index = p->index, .incarnation = p->incarnation});
}

/* True: the message goes out, after *delay_us_r. */
static bool apply_proxy_fault(struct world *w, struct proxy *p, enum fault_kind fault, uint64_t *delay_us_r)
{
    if (fault == PAUSE_BEFORE || fault == PAUSE_AFTER) {
        uint64_t until = w->now_us + world_long(w);
        if (until > p->paused_until_us)
            p->paused_until_us = until;
        p->holding = p->holding || fault == PAUSE_BEFORE;
    }
    if (p->dying || fault == PROXY_CRASH_BEFORE) {
        if (!p->dying)
            crash_proxy(w, p);
        return false;
    }
    if (fault == PROXY_CRASH_AFTER)
        crash_proxy(w, p);
    *delay_us_r = world_latency(w) +
                  (p->holding && p->paused_until_us > w->now_us ? p->paused_until_us - w->now_us : 0);
    return true;
}

/* Nobody listens to what a message that came twice is answered the second time. */
static void send_again(const struct conn *c, uint64_t after_us)
{
    struct conn *again = world_connect(c->w, c->proxy, c->shard, c->txn, c->part, c->control);
    again->usable = false;
    again->eof = again->pending = true;
    again->sql = again->at = c->sql;
    world_at(c->w, after_us, (struct event){.kind = EVENT_EXECUTE, .conn = again});
}

static void apply_message_fault(struct conn *c, uint64_t delay_us)
{
    struct world *w = c->w;
    struct event execute = {.kind = EVENT_EXECUTE, .conn = c};
    switch (c->fault) {
    case LOSE_BEFORE:
        c->pending = false;
        lose(c, delay_us);
        return;
    case LOSE_LATE:
        lose(c, delay_us);
        world_at(w, delay_us + world_long(w), execute);
        return;
    case STALL_LOST:
        lose(c, delay_us + world_latency(w));
        world_at(w, delay_us, execute);
        return;
    case SLOW:
        world_at(w, delay_us + world_long(w), execute);
        return;
    case DUPLICATE:
        world_at(w, delay_us, execute);
        send_again(c, delay_us + world_long(w));
        return;
    case CRASH_BEFORE:
        world_at(w, delay_us, (struct event){.kind = EVENT_SHARD_CRASH, .index = c->shard});
        return;
    case FAULT_NONE:
    case LOSE_AFTER:
    case FAIL:
    case FAIL_COMMIT:
    case VANISH:
    case STALL:
    case CRASH_AFTER:
    case PROXY_CRASH_BEFORE:
    case PROXY_CRASH_AFTER:
    case PAUSE_BEFORE:
    case PAUSE_AFTER:
    case HAND_COMMIT:
    case HAND_ROLLBACK:
    case FORGE:
    case FORGE_FENCE:
    case N_KINDS:
        world_at(w, delay_us, execute);
        return;
    }
}

void world_send(struct conn *c, const char *sql)
{
    struct world *w = c->w;
    struct proxy *p = &w->proxies[c->proxy];
    bool listing = !w->scenario.listings && strstr(sql, "pg_prepared_xacts") != NULL;
    enum fault_kind faults[N_SIDES] = {FAULT_NONE};
    if (c->waiting)
        world_fail(w, "a second message on connection %u before the first was answered", c->id);
    if (!listing || w->scenario.random)
        planned_faults(w, listing ? UINT32_MAX : w->steps, faults);
    enum fault_kind message = faults[SIDE_MESSAGE], proxy = faults[SIDE_PROXY], others = faults[SIDE_OTHERS];
    const char *shown = strstr(sql, "INSERT")       ? strstr(sql, "INSERT")
                        : strstr(sql, "PREPARE TR") ? strstr(sql, "PREPARE TR")
                                                    : sql;
    if (!listing)
        world_trace(w, "step %u%s%s%s%s: proxy %u -> shard %u, connection %u: %.110s", w->steps,
                    message || proxy ? " " : "", message ? fault_names[message] : "",
                    message && proxy ? "+" : "", proxy ? fault_names[proxy] : "", c->proxy, c->shard, c->id,
                    shown);
    w->steps += !listing;
    w->n_faulted += message != FAULT_NONE || proxy != FAULT_NONE || others != FAULT_NONE;
    if (others != FAULT_NONE)
        world_at(w, 0, (struct event){.kind = EVENT_OTHERS, .index = c->shard, .generation = others});

    uint64_t delay_us;
    c->waiting = true;
    if (!apply_proxy_fault(w, p, proxy, &delay_us))
        return;
    c->sql = c->at = arena_strdup(&w->arena, sql);
    c->fault = message;
    c->stalled_once = false;
    if (!c->usable || !c->alive) {
        lose(c, delay_us);
        return;
    }
    c->pending = true;
    apply_message_fault(c, delay_us);
}

/* --- what became of transactions -------------------------------------------------------------- */

void world_part(struct txn *t, unsigned part, enum part_state to)
{
    static const char *const names[] = {"open", "prepared", "committed", "rolled back"};
    struct world *w = t->w;
    enum part_state from = t->part[part];
    world_trace(w, "  txn %u, part %u: %s", t->index, part, names[to]);
    if (from == PART_COMMITTED || from == PART_ABORTED)
        world_fail(w, "part %u of txn %u was %s and is now %s", part, t->index, names[from], names[to]);
    t->part[part] = to;
    if (part == t->decider && to == PART_COMMITTED && t->said_rolled_back)
        world_fail(w, "txn %u is said to be torn, and to be rolled back, and commits", t->index);
    for (unsigned p = 0; p < t->n_parts; p++) {
        bool differ = (to == PART_COMMITTED && t->part[p] == PART_ABORTED) ||
                      (to == PART_ABORTED && t->part[p] == PART_COMMITTED);
        if (t->by_hand[part] || t->by_hand[p]) { /* to be noticed; nobody can prevent it */
            w->n_torn += differ && !t->torn;
            t->torn = t->torn || differ;
            continue;
        }
        if (to == PART_COMMITTED && t->part[p] == PART_ABORTED)
            world_fail(w, "txn %u: part %u is committed, part %u was rolled back", t->index, part, p);
        if (to == PART_ABORTED && t->part[p] == PART_COMMITTED)
            world_fail(w, "txn %u: part %u is rolled back, part %u was committed", t->index, part, p);
    }
    if (t->by_hand[part])
        return;
    if (t->answered && t->outcome == TXN_COMMITTED && to == PART_ABORTED)
        world_fail(w, "txn %u was acknowledged and is lost", t->index);
    if (t->answered && t->outcome == TXN_ROLLED_BACK && to == PART_COMMITTED)
        world_fail(w, "txn %u was reported rolled back and commits", t->index);
}

void world_reported(struct world *w, const char *txid, const char *shard, bool suspected)
{
    struct txn *t = world_find(w, txid);
    for (unsigned p = 0; t && p < t->n_parts; p++) {
        if (strcmp(t->shard_name[p], shard) != 0)
            continue;
        /* A decider that is open yet may be known to fail. */
        bool committed = t->part[t->decider] == PART_COMMITTED;
        if (!suspected && t->part[p] != (committed ? PART_ABORTED : PART_COMMITTED))
            world_fail(w, "txn %u is said to be torn by part %u, and is not", t->index, p);
        t->said_rolled_back = t->said_rolled_back || (!suspected && !committed);
        t->reported = true;
        return;
    }
    world_fail(w, "something unknown is said to be torn: %s on %s", txid, shard);
}

static const struct txn *world_find_const(const struct world *w, const char *txid)
{
    for (unsigned i = 0; i < w->scenario.n_txns; i++)
        if (strcmp(w->txns[i].txid, txid) == 0)
            return &w->txns[i];
    return NULL;
}

struct txn *world_find(struct world *w, const char *txid)
{
    const struct txn *t = world_find_const(w, txid);
    return t ? &w->txns[t->index] : NULL;
}

/* --- running ---------------------------------------------------------------------------------- */

static void crash_shard(struct world *w, unsigned shard)
{
    if (!w->shards[shard].up)
        return;
    world_trace(w, "shard %u crashes", shard);
    model_crash(w, shard);
    for (struct conn *c = w->conns; c; c = c->next)
        if (c->shard == shard && c->usable && c->waiting)
            lose(c, world_latency(w));
    world_at(w, 3 * SECOND, (struct event){.kind = EVENT_SHARD_UP, .index = shard});
}

/* Who is to roll back what he knows to have been prepared, and finds it gone, has to ask how it ended, and to say so if
 * it was the other way. */
static void note_gone(struct world *w, const struct conn *c, const struct reply *reply)
{
    struct gid gid;
    if (!c->sql || strncmp(c->sql, "ROLLBACK PREPARED '", 19) != 0 || reply->txn.kind != TXN_REPLY_ERROR ||
        strcmp(reply->txn.error->sqlstate, SQLSTATE_UNDEFINED_OBJECT) != 0 ||
        !gid_parse(slice_of(c->sql + 19, strlen(c->sql) - 20), &gid))
        return;
    struct txn *t = world_find(w, gid.txid);
    for (unsigned p = 0; t && p < t->n_parts; p++) {
        if (strcmp(t->shard_name[p], gid.participant) != 0 || t->part[p] != PART_COMMITTED)
            continue;
        t->told_gone = true;
        t->n_faulted_then = w->n_faulted;
    }
}

static void to_proxy(struct world *w, struct event *e)
{
    unsigned index = e->conn ? e->conn->proxy : e->txn ? e->txn->proxy : e->index;
    unsigned incarnation = e->conn ? e->conn->incarnation : e->txn ? e->txn->incarnation : e->incarnation;
    struct proxy *p = &w->proxies[index];
    if (!p->up || p->dying || p->incarnation != incarnation)
        return;
    if (p->paused_until_us > w->now_us) {
        world_at(w, p->paused_until_us - w->now_us, *e);
        return;
    }
    p->holding = false;
    if (e->kind == EVENT_REPLY && e->conn->waiting) {
        e->conn->waiting = false;
        note_gone(w, e->conn, e->reply);
        proxy_reply(e->conn, e->reply);
    } else if (e->kind == EVENT_TIMER && e->txn->coordinator && e->generation == e->txn->timer_generation) {
        coordinator_timer(e->txn->coordinator);
    } else if (e->kind == EVENT_CANCEL && e->txn->coordinator && !e->txn->done) {
        coordinator_cancel(e->txn->coordinator);
    } else if (e->kind == EVENT_WAKE) {
        proxy_wake(w, index);
    } else if (e->kind == EVENT_SWEEP) {
        proxy_sweep(w, index);
    }
}

static void resume(struct conn *c, const struct event *e, bool timed_out)
{
    if (!c->alive || c->wait == WAIT_NONE || c->wait_generation != e->generation)
        return;
    c->wait = WAIT_NONE;
    if (timed_out)
        model_lock_timeout(c);
    else
        model_execute(c);
}

static void happen(struct world *w, struct event *e)
{
    struct conn *c = e->conn;
    switch (e->kind) {
    case EVENT_START:
        txn_start(e->txn);
        return;
    case EVENT_EXECUTE:
        if (!c->alive)
            return;
        c->building = new_reply(w, TXN_REPLY_OK);
        model_execute(c);
        return;
    case EVENT_RESUME:
        resume(c, e, false);
        return;
    case EVENT_LOCK_TIMEOUT:
        resume(c, e, true);
        return;
    case EVENT_EOF:
        c->eof = true;
        if (!c->pending)
            model_end_session(c);
        return;
    case EVENT_SHARD_CRASH:
        crash_shard(w, e->index);
        return;
    case EVENT_SHARD_UP:
        world_trace(w, "shard %u is up", e->index);
        w->shards[e->index].up = true;
        return;
    case EVENT_PROXY_CRASH:
        if (w->proxies[e->index].incarnation == e->incarnation)
            proxy_crash(w, e->index);
        return;
    case EVENT_PROXY_UP:
        proxy_start(w, e->index);
        return;
    case EVENT_OTHERS:
        if (e->generation == HAND_COMMIT || e->generation == HAND_ROLLBACK)
            model_hand(w, e->index, e->generation == HAND_COMMIT);
        else
            model_forge(w, e->generation == FORGE ? 'c' : 'a');
        return;
    case EVENT_REPLY:
    case EVENT_TIMER:
    case EVENT_CANCEL:
    case EVENT_WAKE:
    case EVENT_SWEEP:
        to_proxy(w, e);
        return;
    }
}

/* The rows of transactions that are torn stay, to be looked at. Nothing may stay of others. */
static bool rows_settled(const struct world *w, const struct model_shard *s)
{
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct txn *t = world_find_const(w, s->rows[i].txid);
        if (!t || !t->torn || s->rows[i].outcome != 'c' || !t->reported)
            return false;
    }
    return true;
}

/* A transaction that its decider committed has a row, which tells whoever looks. Of one that it rolled back only
 * those know who had seen it prepared. */
static void check_reports(struct world *w)
{
    for (unsigned i = 0; i < w->scenario.n_txns; i++) {
        const struct txn *t = &w->txns[i];
        if (!t->torn || t->reported)
            continue;
        bool committed = t->part[t->decider] == PART_COMMITTED;
        if (committed ||
            (t->told_gone && t->n_faulted_then == w->n_faulted && t->outcome != TXN_OUTCOME_UNKNOWN))
            world_fail(w, "txn %u is torn, and nobody said so", i);
    }
}

/* Nothing is left to do: every client answered, nothing prepared or open, no rows. */
static bool settled(const struct world *w)
{
    if (w->unsettled > 0)
        return false;
    for (unsigned i = 0; i < w->scenario.n_txns; i++) {
        const struct txn *t = &w->txns[i];
        if (!t->started || (!t->done && !t->orphaned))
            return false;
        for (unsigned p = 0; p < t->n_parts; p++)
            if (t->part[p] == PART_OPEN || t->part[p] == PART_PREPARED)
                return false;
    }
    for (unsigned s = 0; s < w->scenario.n_shards; s++)
        if (w->shards[s].n_prepared || !rows_settled(w, &w->shards[s]))
            return false;
    return true;
}

void world_run(struct world *w)
{
    while (!w->failed && w->n_queue > 0) {
        struct event e = take(w);
        w->now_us = e.at_us;
        happen(w, &e);
        if (settled(w))
            break;
        if (w->now_us > END_OF_RUN)
            world_fail(w, "not everything was resolved and collected");
    }
    if (!w->failed && !settled(w))
        world_fail(w, "the world stopped before everything was resolved and collected");
    if (!w->failed)
        check_reports(w);
    if (!w->failed && !w->scenario.random && w->n_faulted == 0)
        for (unsigned i = 0; i < w->scenario.n_txns; i++)
            if (w->txns[i].outcome != TXN_COMMITTED)
                world_fail(w, "txn %u did not commit although nothing was wrong", i);
}

void world_init(struct world *w, const struct scenario *s, bool trace)
{
    memset(w, 0, sizeof *w);
    arena_init(&w->arena);
    w->scenario = *s;
    w->trace = trace;
    w->random_state = s->seed * UINT64_C(0x5851f42d4c957f2d) + 1;
    for (unsigned i = 0; i < s->n_shards; i++) {
        struct model_shard *m = &w->shards[i];
        snprintf(m->name, sizeof m->name, "s%u", i);
        w->shard_names[i] = m->name;
        m->up = true;
        m->next_xid = FIRST_XID;
    }
    for (unsigned i = 0; i < s->n_proxies; i++) {
        w->proxies[i].w = w;
        w->proxies[i].index = i;
        w->proxies[i].cluster = s->two_clusters && i == s->n_proxies - 1 ? "beta" : "main";
        proxy_start(w, i);
    }
    for (unsigned i = 0; i < s->n_txns; i++) {
        w->txns[i].w = w;
        w->txns[i].index = i;
        uint64_t after_us = s->random ? world_random(w, 10 * SECOND) : 1000 + (s->n_txns - 1 - i) * 900;
        world_at(w, after_us, (struct event){.kind = EVENT_START, .txn = &w->txns[i]});
    }
}

void world_free(struct world *w)
{
    for (unsigned i = 0; i < w->scenario.n_proxies; i++)
        if (w->proxies[i].up)
            proxy_crash(w, i);
    for (unsigned i = 0; i < w->scenario.n_shards; i++)
        free(w->shards[i].committed);
    free(w->queue);
    arena_free(&w->arena);
}
