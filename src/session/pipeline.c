/*
 * A pipeline over shards: which of them messages go to, and which of them may answer.
 *
 * Answers leave in the order of messages. While a pipeline stays on one shard that is the order in which they
 * come. When it changes to another shard, either everything must have been answered before (Flush makes the
 * shard answer, and the message waits), or both shards work at once and speak in turns. Turns are written into
 * the servers' queues of what is due, as HOLDs; a HOLD's arg is the link whose turn follows:
 *
 *     messages   a1 a2 | b1 | a3 | b2
 *     due on A   a1 a2 HOLD>B a3 HOLD>B         A is c->turn; at its HOLD, B's first one is taken away
 *     due on B   HOLD b1 HOLD>A b2              B is c->run_link: where further messages go
 *
 *     ONE    nobody but run_link has an answer due to the client, a ReadyForQuery aside
 *     TURNS  c->turn speaks; every other link of the pipeline has a HOLD at its head
 *     VOID   an error was told: everything outstanding is read and dropped
 *
 *     ONE   -> TURNS  another shard, and something is outstanding   [pipeline_turn_to]
 *     TURNS -> ONE    the last turn, which is run_link's, has come  [last_turn]
 *     TURNS -> VOID   an error, a shard lost; ONE, where another answers  [pipeline_void]
 *     VOID  -> ONE    nothing is outstanding                        [void_go_on, extended.c end_cycle]
 *
 * Only with pipeline_ahead, and only statements that provably read, run ahead of others' answers (client.reads_only:
 * there has been nothing else since the last Sync). A write would take its locks in another order than the messages say: clients that
 * lock in the same order could wait for each other in a circle, over shards, where nobody sees it. What reads
 * behind a write, or a lock, means to see what was there once that was done. And reads need no common
 * transaction: what a failing one leaves behind on other shards is nothing, so each shard keeps its own implicit
 * one, and Sync ends them all at once. Where something else than a read follows, everything is waited for, and
 * they become blocks (link_begin_implicit).
 *
 * Not responsible for: what messages mean (extended.c), what a server keeps while it may not speak
 * (backend/server.c).
 */
#include "session.h"

/* --- what is due ------------------------------------------------------------------------------ */

static void flush_link(struct link *l)
{
    static const uint8_t flush[5] = {MSG_FLUSH, 0, 0, 0, 4};
    if (l->flush_sent)
        return;
    server_write(l->server, flush, sizeof flush);
    l->flush_sent = true;
}

static void flush_all(struct client *c)
{
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->open_pipeline && !c->links[i]->lost)
            flush_link(c->links[i]);
}

void pipeline_flush(struct client *c)
{
    for (unsigned i = 0; i < c->n_links; i++)
        c->links[i]->flush_sent = false;
    flush_all(c);
}

bool pipeline_drained(struct client *c)
{
    if (c->run == RUN_NONE)
        return true;
    if (c->run != RUN_PIPELINE || c->sync_pending)
        return false;
    if (c->order != ORDER_ONE)
        flush_all(c);
    else if (c->run_link)
        flush_link(c->run_link);
    return false;
}

bool pipeline_owes(const struct link *l)
{
    for (uint32_t i = 0; i < server_outstanding(l->server); i++)
        if (server_expectation(l->server, i)->sink != SINK_HOLD)
            return true;
    return false;
}

/* --- sending ---------------------------------------------------------------------------------- */

void pipeline_on(struct client *c, struct link *l)
{
    if (c->run == RUN_NONE)
        c->run_failed = c->preamble_failed = false;
    c->run = RUN_PIPELINE;
    c->run_link = l;
    l->open_pipeline = true;
    l->flush_sent = false;
}

bool pipeline_alone(struct client *c)
{
    c->reads_only = false;
    return c->order == ORDER_ONE || pipeline_drained(c);
}

static bool last_is_hold(const struct server *s)
{
    return server_expectation(s, server_outstanding(s) - 1)->sink == SINK_HOLD;
}

bool pipeline_turn_to(struct client *c, struct link *to)
{
    struct link *from = c->run_link;
    if (c->run == RUN_NONE || (c->run == RUN_PIPELINE && from == to))
        return true;
    if (c->run != RUN_PIPELINE || c->sync_pending || !c->reads_only || c->order == ORDER_VOID || !from)
        return pipeline_drained(c);
    if (server_outstanding(from->server) == 0)
        return pipeline_drained(c);
    if (server_outstanding(to->server) > 0 && !last_is_hold(to->server))
        return pipeline_drained(c); /* it has yet to answer what has nothing to do with this */
    server_expect(from->server, EXPECT_TURN, SINK_HOLD, TAG_STATEMENT, to);
    if (server_outstanding(to->server) == 0)
        server_expect(to->server, EXPECT_TURN, SINK_HOLD, TAG_STATEMENT, NULL);
    if (c->order == ORDER_ONE) {
        c->order = ORDER_TURNS;
        c->turn = from;
        c->turns_left = 0;
    }
    c->turns_left++;
    pipeline_on(c, to);
    return true;
}

/* Shards' own implicit transactions are enough for reads, where one over all would be allowed. */
static bool may_stay_apart(const struct client *c)
{
    struct error unused;
    return c->reads_only && txn_may_span(c, &unused);
}

struct link *pipeline_target(struct client *c, unsigned shard, enum acquire *result_r, struct error *error_r)
{
    struct shard_set one;
    *result_r = ACQUIRE_WAIT;
    if (c->sync_pending || (c->run != RUN_NONE && c->run != RUN_PIPELINE))
        return NULL;
    bool changes = c->run == RUN_PIPELINE && c->run_link && c->run_link->shard != shard;
    if (changes && !c->reads_only)
        return (void)pipeline_drained(c), NULL;
    for (unsigned i = 0; c->txn.state == TXN_NONE && i < c->n_links; i++)
        if (c->links[i]->open_pipeline && c->links[i]->shard != shard) {
            if (may_stay_apart(c))
                break;
            if (c->commit || !pipeline_drained(c))
                return NULL;
            link_begin_implicit(c);
        }
    shard_set_clear(&one);
    shard_set_add(&one, shard);
    *result_r = links_acquire(c, &one, error_r);
    if (*result_r == ACQUIRE_FAILED && !pipeline_drained(c)) { /* told when it is its turn */
        error_keep(&c->acquire_error, error_r);
        *result_r = ACQUIRE_WAIT;
    } else if (*result_r == ACQUIRE_WAIT) {
        (void)pipeline_drained(c); /* the client need not wait for what came before */
    }
    if (*result_r != ACQUIRE_READY)
        return NULL;
    struct link *l = link_find(c, shard);
    bool was_open = l->open_pipeline;
    if (changes && !pipeline_turn_to(c, l))
        return *result_r = ACQUIRE_WAIT, NULL;
    l->open_pipeline = was_open;
    link_prepare(l);
    l->open_pipeline |= changes;
    return l;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void lost_in_turn(struct client *c, struct link *l)
{
    struct error e;
    error_set(&e, SQLSTATE_CONNECTION_FAILURE, "lost connection to shard \"%s\"",
              c->db->shards[l->shard]->name);
    extended_link_lost(c, l, &e);
}

/* run_link's last turn: there are no others. What they may still have to say is a Sync's answer. */
static void last_turn(struct client *c, struct link *l)
{
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i] != l && c->links[i]->server)
            server_unhold(c->links[i]->server);
    c->order = ORDER_ONE;
    c->turn = NULL;
    if (l->lost)
        lost_in_turn(c, l);
    else
        server_pass(l->server);
    for (unsigned i = c->n_links; c->state != CLIENT_CLOSING && i-- > 0;) {
        struct link *other = i < c->n_links ? c->links[i] : NULL;
        if (!other || other == l || !other->server)
            continue;
        if (!other->lost)
            server_go_on(other->server);
        else if (c->sync_pending && server_sync_due(other->server))
            lost_in_turn(c, other);
    }
}

static void next_turn(struct client *c)
{
    struct link *l = server_expectation(c->turn->server, 0)->arg;
    if (!l->lost && !server_holds(l->server)) {
        client_broken(c, "order of a pipeline's answers");
        return;
    }
    c->turn = l;
    if (--c->turns_left == 0)
        last_turn(c, l);
    else if (l->lost)
        lost_in_turn(c, l);
    else
        server_pass(l->server);
}

void pipeline_void(struct client *c, struct link *failed)
{
    bool others = c->order == ORDER_ONE && c->run == RUN_PIPELINE && c->run_link && c->run_link != failed;
    if (c->order != ORDER_TURNS && !(others && server_outstanding(c->run_link->server)))
        return;
    c->order = ORDER_VOID;
    c->turn = NULL;
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->server)
            continue;
        server_unhold(l->server);
        if (l == failed)
            continue; /* the shard itself ignores what follows */
        for (uint32_t k = 0; k < server_outstanding(l->server); k++)
            extended_forget_answer(c, l, server_expectation(l->server, k));
    }
}

bool pipeline_error_between(struct client *c, struct link *l, const struct frame *f)
{
    bool speaks = c->run == RUN_NONE || (c->run == RUN_PIPELINE && c->order == ORDER_ONE && c->run_link == l);
    if (!c->extended_open || c->sync_pending || (!l->open_pipeline && !l->in_txn))
        return false;
    if (c->skip_till_sync) { /* an error has been told */
        l->open_pipeline = true;
        return true;
    }
    if (!speaks)
        return false;
    run_shard_error(c, l, f);
    c->run_failed = c->skip_till_sync = true;
    c->copy_pass = COPY_PASS_NONE;
    c->query_syncs = c->query_flushes;
    l->open_pipeline = true;
    client_resume(c);
    return true;
}

void pipeline_take_back(struct client *c)
{
    bool wrote = false;
    for (unsigned i = 0; !c->reads_only && i < c->n_links; i++)
        wrote |= c->links[i]->open_pipeline && !c->links[i]->lost;
    if (wrote && c->txn.state == TXN_NONE && c->run == RUN_NONE)
        link_begin_implicit(c);
}

static void void_go_on(struct client *c)
{
    bool due = false;
    for (unsigned i = c->n_links; c->order == ORDER_VOID && i-- > 0;) {
        struct link *l = i < c->n_links ? c->links[i] : NULL;
        if (!l || !l->server || server_outstanding(l->server) == 0)
            continue;
        if (l->lost)
            lost_in_turn(c, l);
        else
            server_go_on(l->server);
    }
    for (unsigned i = 0; i < c->n_links; i++)
        due |= c->links[i]->server && !c->links[i]->lost && server_outstanding(c->links[i]->server) > 0;
    if (due || c->order != ORDER_VOID || c->sync_pending)
        return;
    c->order = ORDER_ONE;
    c->run = RUN_NONE;
    c->run_link = NULL;
    client_resume(c);
}

/* Whoever may speak now does, with what has been kept. */
static void go_on(struct client *c)
{
    while (c->state != CLIENT_CLOSING && !c->broken && c->order == ORDER_TURNS &&
           server_holds(c->turn->server))
        next_turn(c);
    if (c->state != CLIENT_CLOSING && c->order == ORDER_VOID)
        void_go_on(c);
}

void pipeline_answered(struct client *c, const struct link *l)
{
    if (c->order != ORDER_ONE) {
        if (c->order == ORDER_TURNS && l != c->turn && !c->sync_pending)
            flush_all(c); /* it waits for the others' answers: nothing may keep those back */
        go_on(c);
    }
    if (c->state != CLIENT_CLOSING && c->run == RUN_PIPELINE && c->order == ORDER_ONE && c->run_link &&
        !c->sync_pending && server_outstanding(c->run_link->server) == 0) {
        c->run = RUN_NONE;
        c->copy_pass = COPY_PASS_NONE;
        client_resume(c);
    }
}

bool pipeline_lost(struct client *c, struct link *l, const struct error *e)
{
    bool due = (l->open_pipeline || c->sync_pending) && pipeline_owes(l);
    if (c->order == ORDER_TURNS && l != c->turn && due)
        return true; /* it will be told in its turn */
    if (l == c->run_link || l == c->turn || due) {
        extended_link_lost(c, l, e);
        go_on(c);
        return true;
    }
    if (c->txn.state == TXN_NONE && l->open_pipeline && !l->pinned) {
        extended_forget_portals(c); /* what it has read was told */
        return true;
    }
    return false;
}
