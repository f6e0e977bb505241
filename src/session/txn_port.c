/*
 * The commit protocol's port to the world: what txn/coordinator asks for is done on the session's links and
 * on control connections.
 *
 * A commit outlives its client if it must. Its participants' links belong to it (link.coordinator_has) until
 * released() or drop(). Events of the coordinator are never delivered from inside a call of its own: they
 * come from the loop, or are deferred.
 *
 * Not responsible for: the protocol (txn), readers (they are committed here beside it, before the first
 * message of the protocol).
 */
#include "session.h"

#include "base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* A question whether a shard is still there, while it owes an answer. */
struct probe {
    struct part *part;
    unsigned about; /* the part's n_sent when it was found outstanding, and when it was asked */
    bool due;
};

struct part {
    struct txn_commit *commit;
    unsigned n_sent;
    struct probe probe;
    struct link *link; /* NULL: released or dropped */
    const struct shard_def *shard;
    unsigned index;
    bool outstanding; /* a message was sent, its answer is due */
    bool lost_due;    /* ... and will not come: to be reported from the loop */
    char tag[64];
    char value[24]; /* the first column of the last row of what is outstanding; "" */
    bool failed;
    struct error *error; /* failed or lost: why */
};

struct txn_commit {
    struct client *client;
    struct coordinator *coordinator;
    struct config *config; /* a reference: shard definitions are used until the end */
    struct varset *vars;   /* the session's at COMMIT */
    char txid[TXID_MAX_BYTES + 1];
    struct loop_timer *timer, *probe_timer;
    struct deferred finish, lost;
    bool answered;
    unsigned n;
    struct part parts[];
};

static struct client *client_of(void *port)
{
    return ((struct txn_commit *)port)->client;
}

/* --- actions of the coordinator --------------------------------------------------------------- */

/* The link that a message is about to go to; NULL if it was lost meanwhile, which is then reported. */
static struct link *begin_send(struct txn_commit *t, struct part *part)
{
    assert(part->link);
    part->tag[0] = part->value[0] = 0;
    part->failed = false;
    part->outstanding = true;
    part->n_sent++;
    if (part->link->lost) {
        part->lost_due = true;
        struct error lost;
        error_set(&lost, SQLSTATE_CONNECTION_FAILURE, "the connection to shard \"%s\" was lost",
                  part->shard->name);
        error_keep(&part->error, &lost);
        loop_defer(t->client->env->loop, &t->lost);
        return NULL;
    }
    if (part->link->open_pipeline)
        link_sync(part->link);
    return part->link;
}

static void port_send(void *port, unsigned p, const char *sql)
{
    struct txn_commit *t = port;
    struct link *l = begin_send(t, &t->parts[p]);
    if (l)
        link_query(l, slice_str(sql), SINK_MESSAGE, TAG_TWO_PHASE);
}

static void port_decide(void *port, unsigned p, const struct txn_decision *d)
{
    struct txn_commit *t = port;
    struct link *l = begin_send(t, &t->parts[p]);
    if (l)
        decide_send(l, d);
}

static void control_done(void *arg, const struct rows *r)
{
    struct part *part = arg;
    struct txn_reply reply = {
        .kind = r->ok     ? TXN_REPLY_OK
                : r->lost ? TXN_REPLY_LOST
                          : TXN_REPLY_ERROR,
        .tag = r->tag,
        .error = r->error,
        .txn_status = r->txn_status,
        .n_rows = r->n_rows,
        .n_columns = r->n_columns,
        .rows = rows_texts(r),
    };
    coordinator_control_reply(part->commit->coordinator, part->index, &reply);
}

#define CONTROL_TIMEOUT_US 10000000

static void port_control(void *port, unsigned p, const char *sql)
{
    struct txn_commit *t = port;
    asker_query(t->client->env->control, t->parts[p].shard, sql, CONTROL_TIMEOUT_US, control_done,
                &t->parts[p]);
}

/* Whatever was still due on it is nobody's business any more. */
static struct link *part_gives_link(struct part *part)
{
    struct link *l = part->link;
    part->link = NULL;
    part->outstanding = part->lost_due = false;
    l->coordinator_has = false;
    return l;
}

static void port_released(void *port, unsigned p)
{
    struct txn_commit *t = port;
    struct link *l = part_gives_link(&t->parts[p]);
    if (t->answered || l->client->state == CLIENT_CLOSING) {
        link_put(l, !l->lost);
        client_resume(t->client);
    } /* else: txn_ended() puts all links back once the client has been answered */
}

static void port_drop(void *port, unsigned p)
{
    struct txn_commit *t = port;
    struct link *l = part_gives_link(&t->parts[p]);
    link_put(l, false);
}

static void lost_run(void *arg)
{
    struct txn_commit *t = arg;
    for (unsigned i = 0; i < t->n; i++)
        if (t->parts[i].lost_due) {
            struct txn_reply reply = {.kind = TXN_REPLY_LOST, .error = t->parts[i].error};
            t->parts[i].lost_due = t->parts[i].outstanding = false;
            coordinator_reply(t->coordinator, i, &reply);
        }
}

/* --- is anybody there? ------------------------------------------------------------------------ */

/*
 * A network that drops packets closes no connection: TCP alone notices after minutes or hours, with locks
 * held and others prepared. So a shard that owes an answer for long is asked something on its control
 * connection. Any answer there, an error even, means that it is at work (a deferred constraint, a synchronous
 * standby), and we wait on; none means that the connection is as good as lost.
 */
static void probe_done(void *arg, const struct rows *r)
{
    struct probe *probe = arg;
    struct part *part = probe->part;
    struct error error;
    probe->due = false;
    if (!r->lost || !part->outstanding || part->lost_due || probe->about != part->n_sent)
        return;
    error_set(&error, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" does not answer", part->shard->name);
    if (r->error)
        error_detail(&error, "%s", r->error->message);
    log_warning("shard \"%s\" does not answer during COMMIT of %s: its connection is given up",
                part->shard->name, part->commit->txid);
    struct txn_reply reply = {.kind = TXN_REPLY_LOST, .error = &error};
    part->outstanding = false;
    coordinator_reply(part->commit->coordinator, part->index, &reply);
}

static uint64_t probe_timeout_us(const struct txn_commit *t)
{
    uint64_t us = t->config->settings.commit_resolve_timeout_us;
    return us > 1000000 ? us : 1000000;
}

static void probe_start(struct txn_commit *t)
{
    loop_timer_start(t->probe_timer, probe_timeout_us(t) / 2);
}

static void probe_fired(void *arg)
{
    struct txn_commit *t = arg;
    for (unsigned i = 0; i < t->n; i++) {
        struct part *part = &t->parts[i];
        bool long_since = part->outstanding && part->probe.about == part->n_sent;
        if (long_since && !part->probe.due) {
            part->probe.due = true;
            asker_query(t->client->env->control, part->shard, "SELECT 1", probe_timeout_us(t), probe_done,
                        &part->probe);
        }
        if (!part->probe.due)
            part->probe.about = part->n_sent;
    }
    probe_start(t);
}

static void timer_fired(void *arg)
{
    struct txn_commit *t = arg;
    coordinator_timer(t->coordinator);
}

static void port_timer(void *port, uint64_t after_us)
{
    struct txn_commit *t = port;
    if (after_us == 0) {
        if (t->timer)
            loop_timer_stop(t->timer);
        return;
    }
    if (!t->timer)
        t->timer = loop_timer_create(t->client->env->loop, timer_fired, t);
    loop_timer_start(t->timer, after_us);
}

static uint64_t port_now(void *port)
{
    return loop_now_us(client_of(port)->env->loop);
}

static void warn_torn(struct txn_commit *t, const struct txn_result *r)
{
    bool committed = r->outcome == TXN_COMMITTED;
    struct error w;
    error_set(&w, "01000", "the transaction is torn: it is %s, but not on every shard",
              committed ? "committed" : "rolled back");
    error_detail(&w, "Shards that %s: %s. Transaction: %s.", committed ? "rolled it back" : "committed it",
                 r->torn, t->txid);
    error_hint(
        &w, "Somebody ended what was prepared there. The data must be mended by hand; SHOW UNRESOLVED on the "
            "console tells.");
    client_send_warning(t->client, &w);
}

static void port_answer(void *port, const struct txn_result *r)
{
    struct txn_commit *t = port;
    struct client *c = t->client;
    struct session_shared *shared = c->env->shared;
    t->answered = true;
    if (r->prepare_us)
        session_times_add(&shared->prepare, r->prepare_us);
    if (r->decide_us)
        session_times_add(&shared->decide, r->decide_us);
    if (r->apply_us)
        session_times_add(&shared->apply, r->apply_us);
    if (r->outcome == TXN_OUTCOME_UNKNOWN || (r->outcome == TXN_COMMITTED && r->unapplied))
        stats_add(&c->env->stats.in_doubt, 1);
    if (c->state == CLIENT_CLOSING)
        return;
    if (r->torn)
        warn_torn(t, r);
    if (r->outcome == TXN_COMMITTED) {
        stats_add(&c->env->stats.two_phase, 1);
        if (r->unapplied) {
            struct error w;
            error_set(&w, "01000", "the transaction is committed, but not yet applied on every shard");
            error_detail(&w, "Shards: %s. Transaction: %s.", r->unapplied, t->txid);
            error_hint(&w,
                       "It is applied as soon as they can be reached; SHOW UNRESOLVED on the console tells.");
            client_send_warning(c, &w);
        }
        txn_ended(c, true, NULL);
        return;
    }
    if (!r->prepare_us)
        stats_add(&c->env->stats.prepare_failed, 1);
    struct error error = *r->error;
    if (r->error_participant < t->n)
        run_error_add_shard(&error, t->parts[r->error_participant].shard->name);
    txn_ended(c, false, &error);
}

static void port_torn(void *port, unsigned p, bool committed)
{
    struct txn_commit *t = port;
    const char *shard = t->parts[p].shard->name;
    if (session_report_torn(t->client->env->shared, t->txid, shard))
        log_error("transaction %s is torn: it is %s, and shard \"%s\" %s its part, which somebody else must "
                  "have ended",
                  t->txid, committed ? "committed" : "rolled back", shard,
                  committed ? "rolled back" : "committed");
}

static void control_forget_all(struct txn_commit *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        asker_forget(t->client->env->control, &t->parts[i]);
        asker_forget(t->client->env->control, &t->parts[i].probe);
    }
}

static void finish_run(void *arg)
{
    struct txn_commit *t = arg;
    struct client *c = t->client;
    struct session_shared *shared = c->env->shared;
    pthread_mutex_lock(&shared->owned_lock);
    hashmap_remove(&shared->owned, slice_str(t->txid));
    pthread_mutex_unlock(&shared->owned_lock);
    loop_undefer(c->env->loop, &t->lost);
    control_forget_all(t);
    coordinator_destroy(&t->coordinator);
    for (unsigned i = 0; i < t->n; i++)
        error_drop(&t->parts[i].error);
    if (t->timer)
        loop_timer_destroy(&t->timer);
    loop_timer_destroy(&t->probe_timer);
    config_unref(&t->config);
    varset_unref(&t->vars);
    c->commit = NULL;
    free(t);
    if (c->state == CLIENT_CLOSING)
        client_free_if_done(c);
    else
        client_resume(c);
}

static void port_done(void *port)
{
    struct txn_commit *t = port;
    loop_defer(t->client->env->loop, &t->finish);
}

static const struct coordinator_ops ops = {
    .send = port_send,
    .decide = port_decide,
    .control = port_control,
    .released = port_released,
    .drop = port_drop,
    .timer = port_timer,
    .now_us = port_now,
    .torn = port_torn,
    .answer = port_answer,
    .done = port_done,
};

/* --- events ----------------------------------------------------------------------------------- */

static struct part *part_of(struct client *c, struct link *l)
{
    return &c->commit->parts[l->participant];
}

/* What was SET in the transaction stays on a server from its COMMIT or PREPARE TRANSACTION on, whatever
 * becomes of what it prepared. */
static void note_vars(struct txn_commit *t, const struct part *part)
{
    if (part->failed || (strcmp(part->tag, "COMMIT") != 0 && strcmp(part->tag, "PREPARE TRANSACTION") != 0))
        return;
    link_note_variables(part->link, t->vars);
}

/* One that is too long is none that matters. */
static void note_tag(struct part *part, const char *tag)
{
    size_t len = strlen(tag);
    if (len >= sizeof part->tag)
        len = 0;
    memcpy(part->tag, tag, len);
    part->tag[len] = 0;
}

/* One that is too long is none that matters, either. */
static void note_value(struct part *part, const struct frame *f)
{
    struct slice values[4];
    uint16_t n;
    struct error bad;
    part->value[0] = 0;
    if (message_read_data_row(f, values, 4, &n, &bad) == STATUS_OK && n > 0 && values[0].data &&
        values[0].len < sizeof part->value) {
        memcpy(part->value, values[0].data, values[0].len);
        part->value[values[0].len] = 0;
    }
}

/* Nothing can fail behind these: a server that says so is not believed in either. The coordinator finds out. */
static bool is_final(const char *tag)
{
    static const char *const tags[] = {"COMMIT", "PREPARE TRANSACTION", "COMMIT PREPARED",
                                       "ROLLBACK PREPARED"};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        if (strcmp(tag, tags[i]) == 0)
            return true;
    return false;
}

void txn_commit_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f)
{
    struct error why, bad;
    const char *tag;
    int64_t rows;
    if (!c->commit || !l->coordinator_has)
        return;
    struct part *part = part_of(c, l);
    switch (f->type) {
    case MSG_ERROR:
        if (is_final(part->tag)) {
            server_violation(l->server, f->type, "It comes behind the end of a transaction.");
            return;
        }
        part->failed = true;
        error_keep(&part->error, message_read_error(f, &why, &bad) == STATUS_OK ? &why : &bad);
        decide_failed(l, e, part->error);
        return;
    case MSG_COMMAND_COMPLETE:
        if (message_read_tag(f, &tag, &rows, &bad) == STATUS_OK)
            note_tag(part, tag);
        return;
    case MSG_DATA_ROW:
        note_value(part, f);
        return;
    case MSG_NOTICE:
        if (c->state != CLIENT_CLOSING && !c->commit->answered)
            notice_of_end(c, l, f);
        return;
    case MSG_READY:
        break;
    default:
        return;
    }
    part->outstanding = false;
    note_vars(c->commit, part);
    struct txn_reply reply = {
        .kind = part->failed ? TXN_REPLY_ERROR : TXN_REPLY_OK,
        .tag = part->tag,
        .error = part->error,
        .txn_status = l->server->txn_status,
    };
    const char *const first[] = {part->value}, *const *const one_row[] = {first};
    if (part->value[0]) {
        reply.n_rows = reply.n_columns = 1;
        reply.rows = one_row;
    }
    coordinator_reply(c->commit->coordinator, part->index, &reply);
}

void txn_commit_lost(struct client *c, struct link *l, const struct error *why)
{
    struct part *part = part_of(c, l);
    if (!part->outstanding || part->lost_due)
        return; /* the coordinator hears of it when it sends there next */
    struct txn_reply reply = {.kind = TXN_REPLY_LOST, .error = why};
    part->outstanding = false;
    coordinator_reply(c->commit->coordinator, part->index, &reply);
}

void txn_commit_client_gone(struct client *c)
{
    coordinator_cancel(c->commit->coordinator);
}

void txn_commit_cancel(struct client *c)
{
    coordinator_cancel(c->commit->coordinator);
}

const char *txn_commit_txid(const struct client *c)
{
    return c->commit ? c->commit->txid : NULL;
}

const char *txn_commit_state(const struct client *c)
{
    return c->commit ? coordinator_state_name(c->commit->coordinator) : NULL;
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void make_txid(struct txn_commit *t, uint8_t secret_r[TXID_SECRET_BYTES])
{
    struct session_shared *shared = t->client->env->shared;
    if (getrandom(secret_r, TXID_SECRET_BYTES, 0) != TXID_SECRET_BYTES)
        abort();
    txid_make(shared->proxy_id, atomic_fetch_add_explicit(&shared->txid_counter, 1, memory_order_relaxed),
              secret_r, t->txid);
}

/* Readers are released beside the first phase: what they read cannot change the outcome, and they keep no
   locks that matter (a row lock counts as a write). Their answers go nowhere, but their links are put back
   only when all is over. */
static void readers_commit(struct client *c)
{
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->in_txn || l->writer || l->lost)
            continue;
        if (l->open_pipeline)
            link_sync(l);
        link_query(l, slice_str("COMMIT"), SINK_DROP, TAG_READER);
        l->ending = true;
        l->in_txn = false; /* as far as this client's next transaction is concerned */
        link_note_variables(l, c->vars);
    }
}

bool txn_commit_two_phase(struct client *c, struct error *error_r)
{
    struct session_shared *shared = c->env->shared;
    const struct settings *s = &c->config->settings;
    struct txn_participant participants[SHARD_SET_MAX];
    struct txn_commit *t = xcalloc(1, sizeof *t + c->n_links * sizeof t->parts[0]);
    t->client = c;
    t->lost = (struct deferred){.run = lost_run, .arg = t};
    t->finish = (struct deferred){.run = finish_run, .arg = t};
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->in_txn || !l->writer)
            continue;
        struct part *part = &t->parts[t->n];
        *part = (struct part){.commit = t, .link = l, .shard = c->db->shards[l->shard], .index = t->n};
        part->probe.part = part;
        participants[t->n] = (struct txn_participant){.shard = part->shard->name,
                                                      .cannot_prepare = l->cannot_prepare,
                                                      .may_lack_xid = !l->server->wrote_rows};
        l->participant = t->n++;
    }
    unsigned decider_hint =
        (unsigned)atomic_fetch_add_explicit(&shared->decider_counter, 1, memory_order_relaxed);
    /* A session that keeps its server keeps something there, maybe temporary tables, which may have been used
       unseen: that shard is the better decider. */
    for (unsigned i = 0; i < t->n; i++)
        if (t->parts[i].link->pinned)
            decider_hint = i;
    struct coordinator_options options = {
        .cluster = s->cluster,
        .txid = t->txid,
        .decider_hint = decider_hint,
        .ack_decided = s->commit_ack == COMMIT_ACK_DECIDED,
        .resolve_timeout_us = s->commit_resolve_timeout_us,
        .retry_us = 200000,
        .apply_timeout_us = s->commit_resolve_timeout_us,
    };
    make_txid(t, options.secret);
    t->coordinator = coordinator_create(&options, participants, t->n, &ops, t, error_r);
    if (!t->coordinator) {
        free(t);
        return false;
    }
    t->config = config_ref(c->config);
    t->vars = c->vars ? varset_ref(c->vars) : NULL;
    for (unsigned i = 0; i < t->n; i++)
        t->parts[i].link->coordinator_has = true;
    pthread_mutex_lock(&shared->owned_lock);
    hashmap_put(&shared->owned, slice_str(t->txid), t);
    pthread_mutex_unlock(&shared->owned_lock);
    c->commit = t;
    t->probe_timer = loop_timer_create(c->env->loop, probe_fired, t);
    probe_start(t);
    readers_commit(c);
    coordinator_start(t->coordinator);
    return true;
}
