/*
 * Links: the shards that a client uses now.
 *
 * A link is made when a statement needs a shard, with a server from the pool. What is then sent first depends
 * on the transaction:
 *
 *     server has other variables than the session had before its transaction:  link_vars.c
 *     in a transaction that this shard has not joined:  P B E "BEGIN ..", P B E "SAVEPOINT a", ..., no Sync
 *     then the statement
 *
 * BEGIN goes out with the statement in one write; without Sync, because a shard that cannot join then ignores
 * the statement as well. It would not ignore it behind a SET that failed, which is a Query of its own, so that
 * it outlives a rollback: the answer to that is waited for [link_waits_for_variables].
 *
 * After the transaction a link gives its server back, unless it is pinned (session pooling, temporary tables,
 * LISTEN ...).
 *
 * Not responsible for: the answers' meaning (run.c, txn.c, txn_port.c, plan.c); it only hands them on by tag.
 */
#include "session.h"

#include "sql/effects.h"

#include "backend/dial.h"
#include "base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SQLSTATE_READ_ONLY "25006"

static void wait_granted(struct server_wait *w, struct server *s);
static void wait_failed(struct server_wait *w, const struct error *why);

/* --- making and dropping ---------------------------------------------------------------------- */

struct link *link_find(struct client *c, unsigned shard)
{
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->shard == shard)
            return c->links[i];
    return NULL;
}

static struct link *link_create(struct client *c, unsigned shard)
{
    struct list_node *node = list_pop_front(&c->env->links_free);
    struct link *l = node ? list_entry(node, struct link, node) : xmalloc(sizeof *l);
    *l = (struct link){.client = c, .shard = shard};
    l->wait.granted = wait_granted;
    l->wait.failed = wait_failed;
    l->wait.arg = l;
    if (c->n_links == c->cap_links) {
        c->cap_links = c->cap_links ? c->cap_links * 2 : 2;
        c->links = xrealloc(c->links, c->cap_links * sizeof(struct link *));
    }
    c->links[c->n_links++] = l;
    return l;
}

static void link_remove(struct link *l)
{
    struct client *c = l->client;
    unsigned at = 0;
    while (c->links[at] != l)
        at++;
    for (c->n_links--; at < c->n_links; at++)
        c->links[at] = c->links[at + 1];
    if (c->run_link == l)
        c->run_link = NULL;
    if (c->turn == l)
        c->turn = NULL;
    if (c->multi_first == l)
        c->multi_first = NULL;
    if (c->unnamed_portal || c->names)
        extended_forget_portals_of(c, l); /* the memory will be another client's link */
    if (l->vars_before || l->found_vars) {
        varset_unref(&l->vars_before);
        varset_unref(&l->found_vars);
    }
    list_push_front(&c->env->links_free, &l->node);
}

static bool session_pooling(const struct client *c)
{
    int mode = c->db->pool_mode >= 0 ? c->db->pool_mode : c->config->settings.pool_mode;
    return mode == POOL_SESSION;
}

bool link_keeps_server(const struct link *l)
{
    return l->pinned || session_pooling(l->client);
}

static __attribute__((noinline, cold)) void link_put_waiting(struct link *l)
{
    if (l->waiting)
        pool_cancel_wait(&l->wait);
    link_remove(l);
}

void link_put(struct link *l, bool clean)
{
    struct server *s = l->server;
    if (!s) {
        link_put_waiting(l);
        return;
    }
    if (l->looking && clean)
        return; /* goes back when it has answered */
    if (!clean || s->dead || s->txn_status != 'I' || server_outstanding(s) != 0) {
        server_set_owner(s, NULL, NULL);
        pool_discard(s);
        link_remove(l);
        return;
    }
    bool session = session_pooling(l->client), closing = l->client->state == CLIENT_CLOSING;
    if (l->effects && !closing && !session && state_ask(l))
        return;
    if (!closing && (l->pinned || session)) {
        l->in_txn = l->writer = l->own_part = l->used = l->bound = l->cannot_prepare = l->open_pipeline =
            l->flush_sent = false;
        l->name_unknown = l->sequence_used = false;
        s->wrote_rows = false;
        return;
    }
    server_set_owner(s, NULL, NULL);
    if (s->cancel_lost || s->closes_after || state_unasked(l))
        pool_discard(s);
    else if (l->pinned || session)
        pool_reset_and_release(s);
    else
        pool_release(s);
    link_remove(l);
}

void link_put_reset(struct link *l)
{
    struct server *s = l->server;
    server_set_owner(s, NULL, NULL);
    if (s->cancel_lost || s->closes_after || state_unasked(l))
        pool_discard(s);
    else
        pool_reset_and_release(s);
    link_remove(l);
}

void links_put_idle(struct client *c)
{
    for (unsigned i = c->n_links; i-- > 0;) {
        struct link *l = c->links[i];
        if (l->coordinator_has || l->ending)
            continue;
        if (!l->open_pipeline || l->lost)
            link_put(l, !l->lost);
    }
}

/* The client is gone. Servers that are clean go back; one that is idle within a transaction is rolled back
   first; one that is busy is cancelled and closed, which rolls back as well. Links of a two-phase commit stay
   until it is through. */
void links_abandon(struct client *c)
{
    for (unsigned i = c->n_links; i-- > 0;) {
        struct link *l = c->links[i];
        if (l->coordinator_has || l->ending)
            continue;
        if (l->looking)
            continue;                                        /* goes back when it has answered */
        if (l->committed && !SEEDED_BUG(BUG_VARS_OF_GONE)) { /* it has answered COMMIT, others have not */
            link_note_variables(l, c->vars);
            l->in_txn = false;
        }
        if (l->server && !l->lost && server_outstanding(l->server) == 0 && l->in_txn && !l->open_pipeline) {
            link_query(l, slice_str("ROLLBACK"), SINK_DROP, TAG_CLEANUP);
            continue; /* goes back when ReadyForQuery says so */
        }
        if (l->server && !l->lost && server_outstanding(l->server) != 0)
            server_cancel(l->server);
        link_put(l, !l->in_txn && !l->open_pipeline);
    }
}

/* --- acquiring -------------------------------------------------------------------------------- */

static struct server_pool *pool_of(struct client *c, unsigned shard)
{
    if (!c->pools)
        c->pools = xcalloc(c->db->n_shards, sizeof(struct server_pool *));
    if (!c->pools[shard])
        c->pools[shard] = pool_find(c->env->pools, c->user, c->password, c->db, shard);
    return c->pools[shard];
}

/* Another session's custom variables are there for good. */
static void link_refuse(struct link *l)
{
    struct server *s = l->server;
    l->server = NULL;
    server_set_owner(s, NULL, NULL);
    pool_discard(s);
}

static void link_attach(struct link *l, struct server *s)
{
    l->server = s;
    l->waiting = false;
    s->wrote_rows = false;
    server_set_owner(s, &link_ops, l);
    if (s->begun->told != l->client->told)
        vars_keep_told(l->client, s);
}

/* Whether a transaction would come to more than one shard. */
static bool would_span(struct client *c, const struct shard_set *shards)
{
    struct shard_set all = *shards;
    for (unsigned i = 0; i < c->n_links; i++)
        if (c->links[i]->in_txn)
            shard_set_add(&all, c->links[i]->shard);
    return shard_set_count(&all) > 1;
}

/* A server for l that is, or can become, what the session wants; the pool's others are closed one by one. */
static __attribute__((noinline)) enum acquire link_settle(struct link *l)
{
    for (;;) {
        if (!l->server) {
            struct server *s = pool_acquire(pool_of(l->client, l->shard), &l->wait);
            if (!s) {
                l->waiting = true;
                return ACQUIRE_WAIT;
            }
            link_attach(l, s);
        }
        if (link_is_set(l))
            return ACQUIRE_READY;
        if (link_suits(l))
            return link_waits_for_variables(l) ? ACQUIRE_WAIT : ACQUIRE_READY;
        link_refuse(l);
    }
}

static enum acquire link_acquire(struct client *c, unsigned shard, struct error *error_r)
{
    struct link *l = link_find(c, shard);
    if (!l) {
        bool holds = c->n_links > 0;
        l = link_create(c, shard);
        l->wait.privileged = holds;
        struct server *s = pool_acquire(pool_of(c, shard), &l->wait);
        if (!s) {
            l->waiting = true;
            return ACQUIRE_WAIT;
        }
        link_attach(l, s);
        return link_is_set(l) ? ACQUIRE_READY : link_settle(l);
    }
    if (l->coordinator_has || l->ending)
        return ACQUIRE_WAIT; /* an earlier transaction of this client is not yet applied there */
    if (l->looking)
        return ACQUIRE_WAIT;
    if (l->lost) {
        error_set(error_r, SQLSTATE_CONNECTION_FAILURE,
                  "the connection to shard \"%s\" was lost in this transaction", c->db->shards[shard]->name);
        return ACQUIRE_FAILED;
    }
    if (!l->server)
        return ACQUIRE_WAIT;
    return link_is_set(l) ? ACQUIRE_READY : link_settle(l);
}

enum acquire links_acquire(struct client *c, const struct shard_set *shards, struct error *error_r)
{
    if (error_take(&c->acquire_error, error_r))
        return ACQUIRE_FAILED;
    if (c->txn.state != TXN_NONE && would_span(c, shards) && !txn_may_span(c, error_r))
        return ACQUIRE_FAILED;
    int only = shard_set_single(shards);
    if (only >= 0)
        return link_acquire(c, (unsigned)only, error_r);
    for (int i = shard_set_next(shards, 0); i >= 0; i = shard_set_next(shards, i + 1)) {
        enum acquire r = link_acquire(c, (unsigned)i, error_r);
        if (r != ACQUIRE_READY)
            return r;
    }
    return ACQUIRE_READY;
}

static void wait_granted(struct server_wait *w, struct server *s)
{
    struct link *l = w->arg;
    struct client *c = l->client;
    link_attach(l, s);
    stats_add(&c->env->stats.wait_us, loop_now_us(c->env->loop) - w->since_us);
    client_resume(c);
}

void link_acquire_failed(struct client *c, const struct error *why)
{
    error_keep(&c->acquire_error, why);
    /* Links that were made for this statement alone go; those of the transaction stay. */
    for (unsigned i = c->n_links; i-- > 0;) {
        struct link *l = c->links[i];
        if (l->coordinator_has || l->ending)
            continue;
        if (!l->server) {
            l->waiting = false;
            link_remove(l);
        } else if (!l->in_txn && !l->open_pipeline && server_outstanding(l->server) == 0) {
            link_put(l, true);
        }
    }
    client_resume(c);
}

static void wait_failed(struct server_wait *w, const struct error *why)
{
    struct link *l = w->arg;
    l->waiting = false;
    link_acquire_failed(l->client, why);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void query_begin(struct link *l, size_t len)
{
    uint8_t head[5] = {MSG_QUERY};
    store_u32(head + 1, (uint32_t)len + 5);
    server_set_reading(l->server, true); /* its last answer may have been too much for the client */
    server_write(l->server, head, sizeof head);
}

static void query_end(struct link *l, enum expect_sink sink, uint16_t tag)
{
    server_write(l->server, "", 1);
    server_expect(l->server, EXPECT_QUERY, sink, tag, NULL);
}

void link_query(struct link *l, struct slice sql, enum expect_sink sink, uint16_t tag)
{
    query_begin(l, sql.len);
    server_write(l->server, sql.data, sql.len);
    query_end(l, sink, tag);
}

void link_write_rope(struct link *l, const struct rope *r, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct slice piece = rope_piece(r, i);
        server_write(l->server, piece.data, piece.len);
    }
}

void link_query_rope(struct link *l, const struct rope *r, size_t from, size_t to, enum expect_sink sink,
                     uint16_t tag)
{
    query_begin(l, rope_len(r, from, to));
    link_write_rope(l, r, from, to);
    query_end(l, sink, tag);
}

static const uint8_t sync_message[5] = {MSG_SYNC, 0, 0, 0, 4};
static const uint8_t flush_message[5] = {MSG_FLUSH, 0, 0, 0, 4};

void link_sync(struct link *l)
{
    server_write(l->server, sync_message, sizeof sync_message);
    server_expect(l->server, EXPECT_SYNC, SINK_DROP, TAG_SYNC_INNER, NULL);
    l->open_pipeline = l->flush_sent = false;
}

void link_append_modes(struct buf *b, const struct transaction_modes *m)
{
    static const char *const levels[] = {"READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ",
                                         "SERIALIZABLE"};
    if (m->isolation >= 0)
        buf_printf(b, " ISOLATION LEVEL %s", levels[m->isolation]);
    if (m->read_only >= 0)
        buf_str(b, m->read_only ? " READ ONLY" : " READ WRITE");
    if (m->deferrable >= 0)
        buf_str(b, m->deferrable ? " DEFERRABLE" : " NOT DEFERRABLE");
}

/* One statement of the preamble, as extended messages without Sync: if it fails, the shard ignores all that
   follows, the client's statement above all, which must not run outside its transaction. */
static void join_step(struct link *l, struct slice sql)
{
    uint8_t parse[FRAME_HEADER_BYTES + 1] = {MSG_PARSE}; /* of the unnamed statement */
    static const uint8_t behind[] = {
        0,           0, 0,                                /* the text's end; no types */
        MSG_BIND,    0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, /* of no parameters to the unnamed portal */
        MSG_EXECUTE, 0, 0, 0, 9,  0, 0, 0, 0, 0,          /* all of it */
    };
    store_u32(parse + 1, (uint32_t)(4 + 1 + sql.len + 1 + 2));
    server_write(l->server, parse, sizeof parse);
    server_write(l->server, sql.data, sql.len);
    server_write(l->server, behind, sizeof behind);
    server_expect(l->server, EXPECT_PARSE, SINK_DROP, TAG_BEGIN, NULL);
    server_expect(l->server, EXPECT_BIND, SINK_DROP, TAG_BEGIN, NULL);
    server_expect(l->server, EXPECT_EXECUTE, SINK_DROP, TAG_BEGIN, NULL);
}

/* A replayed text may be several statements (RESET ALL). */
static void join_replay(struct link *l, const char *sql)
{
    struct slice *parts;
    struct error e;
    size_t n;
    if (sql_split(slice_str(sql), &parts, &n, &e) != STATUS_OK) {
        join_step(l, slice_str(sql)); /* the shard says what is wrong with it */
        return;
    }
    for (size_t i = 0; i < n; i++)
        join_step(l, parts[i]);
    free(parts);
}

static void link_join(struct link *l)
{
    struct client *c = l->client;
    struct buf *b = client_scratch(c);
    buf_str(b, "BEGIN");
    link_append_modes(b, &c->txn.modes);
    join_step(l, buf_slice(b));
    list_foreach(&c->txn.replay, node, next) join_replay(l, list_entry(node, struct replay, node)->sql);
    l->in_txn = true;
    l->server->unnamed_statement = 0;
    l->server->wrote_rows = false;
}

void link_prepare(struct link *l)
{
    struct client *c = l->client;
    if (l->in_txn || l->open_pipeline)
        return;
    if (!link_is_set(l)) /* nothing but application_name can still differ */
        link_set_name(l);
    if (c->txn.state != TXN_NONE)
        link_join(l);
}

/* A pipeline spreads to a second shard: what the first did in the server's implicit transaction becomes part
   of a block (BEGIN within an implicit transaction keeps what was done, src/backend/access/transam/xact.c
   BeginTransactionBlock). Nothing may be outstanding. As in link_join(), a shard whose BEGIN fails ignores what
   follows; as nothing need follow here, Flush brings the answer. */
void link_begin_implicit(struct client *c)
{
    assert(c->txn.state == TXN_NONE);
    txn_begin_implicit(c);
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (!l->open_pipeline || l->lost)
            continue;
        assert(server_outstanding(l->server) == 0);
        join_step(l, slice_str("BEGIN"));
        server_write(l->server, flush_message, sizeof flush_message);
        l->server->unnamed_statement = 0;
        l->in_txn = true;
        l->open_pipeline = l->flush_sent = false; /* a Sync would end what a failed BEGIN makes it ignore */
    }
}

void link_mark(struct link *l, const struct plan *p)
{
    l->writer |= p->writes;
    l->own_part |= p->writes && !p->tag_of_one;
    l->used = true;
    l->cannot_prepare |= p->cannot_prepare;
    if (p->effects)
        state_mark(l, p->effects);
    if (p->effects & EFFECT_TEMPORARY)
        plan_temporary_changed(l, p);
    if (p->effects & EFFECT_DEFAULTS)
        plan_defaults_change(l, p);
}

/* The key's class: "pgun" in ASCII. Two-part keys and one-part keys never meet. */
#define COPIES_LOCK_CLASS 1885828462

void link_lock_copies(struct link *l, const struct plan *p)
{
    char sql[96];
    for (uint32_t i = 0; i < p->n_copies; i++) {
        snprintf(sql, sizeof sql, "SELECT pg_catalog.pg_advisory_xact_lock%s(%d, %d)",
                 p->copies[i].shared ? "_shared" : "", COPIES_LOCK_CLASS, (int32_t)p->copies[i].key);
        join_step(l, slice_str(sql));
        l->server->unnamed_statement = 0;
    }
}

void link_expect_spread(struct link *l)
{
    l->server->unnamed_statement = 0;
    server_expect(l->server, EXPECT_PARSE, SINK_MESSAGE, TAG_STATEMENT, NULL);
    server_expect(l->server, EXPECT_BIND, SINK_MESSAGE, TAG_STATEMENT, NULL);
    server_expect(l->server, EXPECT_DESCRIBE_PORTAL, SINK_MESSAGE, TAG_STATEMENT, NULL);
    server_expect(l->server, EXPECT_EXECUTE, SINK_MESSAGE, TAG_STATEMENT, NULL);
    server_expect(l->server, EXPECT_SYNC, SINK_MESSAGE, TAG_STATEMENT, NULL);
}

void link_cancel_all(struct client *c)
{
    ordered_cancel(c);
    for (unsigned i = 0; i < c->n_links; i++) {
        struct link *l = c->links[i];
        if (l->coordinator_has || l->ending || l->looking)
            continue; /* of the commit before, which has been answered */
        if (l->server && !l->lost && server_outstanding(l->server))
            server_cancel(l->server);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

/* How many Queries are due. If the first message that ends what is due is a Sync, sent or to come, they are none of those that
   the server ignores. */
static unsigned queries_ignored(const struct server *s)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < server_outstanding(s); i++) {
        const struct expect *e = server_expectation(s, i);
        if (e->kind == EXPECT_SYNC && n == 0)
            return 0;
        n += e->kind == EXPECT_QUERY;
    }
    return n;
}

/* The proxy's own words before the statement failed on the shard. */
static void preamble_failed(struct link *l, const struct expect *e, const struct frame *f)
{
    struct client *c = l->client;
    struct error why, bad;
    if (message_read_error(f, &why, &bad) != STATUS_OK)
        why = bad;
    if (e->tag == TAG_VARIABLES) {
        link_variables_failed(l, &why);
        return;
    }
    run_preamble_error(c, l, f);
    unsigned queries = queries_ignored(l->server);
    if (queries) {
        /* What is behind it is ignored: the answer to a Sync ends each Query. */
        for (unsigned i = 0; i < (SEEDED_BUG(BUG_ONE_SYNC) ? 1 : queries); i++)
            server_write(l->server, sync_message, sizeof sync_message);
    } else if (!server_sync_due(l->server)) {
        l->open_pipeline = true; /* whatever comes next is ignored without a Sync before it */
    }
}

/* The server cannot be written to: it was demoted, and this connection is from before, or its configuration says so now. It is
   not used again; the next one is opened where writing is possible. Unless it is the client who wants to read only, or it was
   so when it was opened: by a default of the role, as a rule, which the next one has as well. */
static bool reads_by_default(const struct link *l)
{
    const char *began = backend_conn_parameter(l->server->conn, "default_transaction_read_only");
    return began && strcmp(began, "on") == 0;
}

static bool txn_reads_only(struct client *c)
{
    if (c->txn.state != TXN_NONE && c->txn.modes.read_only > 0)
        return true;
    list_foreach(&c->txn.replay, node, next)
    {
        const char *sql = list_entry(node, struct replay, node)->sql;
        if (strcasestr(sql, "transaction_read_only") || strcasestr(sql, "read only"))
            return true;
    }
    return false;
}

static void note_demotion(struct link *l, const struct frame *f)
{
    struct client *c = l->client;
    struct error why, bad;
    if (message_read_error(f, &why, &bad) != STATUS_OK || strcmp(why.sqlstate, SQLSTATE_READ_ONLY) != 0)
        return;
    const char *wanted = c->vars ? varset_get(c->vars, "default_transaction_read_only") : NULL;
    if (!txn_reads_only(c) && !reads_by_default(l) && !(wanted && strcmp(wanted, "off") != 0))
        l->server->closes_after = true;
}

/* A Sync of the proxy's own, ahead of what is to run now, met a timer that had run out: see error_between(). */
static void inner_sync_failed(struct link *l, const struct frame *f)
{
    struct client *c = l->client;
    if (c->run == RUN_ENDING) {
        txn_end_failed(c, l, f);
        return;
    }
    run_preamble_error(c, l, f);
    if (c->run != RUN_NONE)
        run_failed_by_shard(c);
}

/* Nothing is awaited, and the shard says that something failed. What is due to PostgreSQL itself is told where
 *
 *     Flush was what it read last: a timer had run out meanwhile (statement_timeout runs from Parse and Bind on, and while
 *     a portal is suspended), and it says so as it reads the next message, whatever that is
 *
 * and it ignores everything from there on up to Sync. An error that cannot be told to be of the client's messages ends the
 * connection: nobody knows what the shard has undone. So does a FATAL one, as the shard is about to close it. */
static void error_between(struct link *l, const struct frame *f)
{
    struct client *c = l->client;
    struct server *s = l->server;
    struct error why, said, bad;
    bool fatal = message_is_fatal(f);
    if (!fatal && pipeline_error_between(c, l, f))
        return;
    bool read = message_read_error(f, &said, &bad) == STATUS_OK;
    error_set(&why, SQLSTATE_CONNECTION_FAILURE,
              fatal ? "shard \"%s\" ends the connection: %s"
                    : "shard \"%s\" reports an error that no statement had: %s",
              server_shard(s), read ? said.message : bad.message);
    server_fail(s, &why);
}

static void link_message(void *owner, struct server *s, const struct expect *e, const struct frame *f)
{
    struct link *l = owner;
    struct client *c = l->client;
    if (!e) {
        if (c->state == CLIENT_CLOSING)
            return;
        if (f->type == MSG_PARAMETER_STATUS)
            vars_parameter_status(c, l, f);
        else if (f->type == MSG_NOTIFICATION)
            client_write(c, f->whole.data, f->whole.len);
        else if (f->type == MSG_ERROR && !l->lost)
            error_between(l, f);
        return;
    }
    if (f->type == MSG_ERROR)
        note_demotion(l, f);
    switch ((enum link_tag)e->tag) {
    case TAG_STATE:
        state_message(l, f);
        return;
    case TAG_CLEANUP:
        if (f->type == MSG_READY)
            link_put(l, true), client_free_if_done(c);
        return;
    case TAG_READER:
        if (f->type == MSG_ERROR && !SEEDED_BUG(BUG_READER_BELIEVED))
            server_forget_variables(s); /* it was taken for one that has what the transaction has SET */
        if (f->type == MSG_READY) {
            l->ending = false;
            if (c->txn.state != TXN_ENDING || c->state == CLIENT_CLOSING)
                link_put(l, true), client_free_if_done(c), client_resume(c);
        }
        return;
    case TAG_TWO_PHASE:
        txn_commit_message(c, l, e, f);
        return;
    case TAG_VARIABLES:
        if (f->type == MSG_READY && l->vars_due) {
            link_variables_ready(l);
            return;
        }
        /* fall through */
    case TAG_BEGIN:
    case TAG_SEQUENCES:
        if (f->type == MSG_ERROR && e->tag == TAG_SEQUENCES)
            sequences_not_discarded(s);
        if (f->type == MSG_ERROR && e->kind == EXPECT_QUERY && e->tag == TAG_SEQUENCES)
            server_cancel(s); /* it was meant for the statement */
        else if (f->type == MSG_ERROR && c->state != CLIENT_CLOSING)
            preamble_failed(l, e, f);
        return;
    case TAG_CATALOG:
        plan_catalog_message(c, l, f);
        return;
    case TAG_END:
        txn_message(c, l, e, f);
        return;
    case TAG_SYNC_INNER:
        if (f->type == MSG_ERROR && c->state != CLIENT_CLOSING)
            inner_sync_failed(l, f);
        return;
    case TAG_CLOSE:
        if (f->type != MSG_CLOSE_COMPLETE)
            break;
        prepared_set_closed(s->prepared, (uint64_t)(uintptr_t)e->arg, true);
        return;
    case TAG_STATEMENT:
    case TAG_SYNC:
    case TAG_PARSE:
    case TAG_PARSE_UNNAMED:
    case TAG_PARSE_AGAIN:
    case TAG_BIND_ACK:
    case TAG_CONTROL:
    case TAG_READ:
    case TAG_FINAL:
        break;
    }
    run_message(c, l, e, f);
}

static void link_forward(void *owner, struct server *s, const uint8_t *bytes, size_t len)
{
    struct link *l = owner;
    (void)s;
    run_forward(l->client, l, bytes, len);
}

static void link_skipped(void *owner, struct server *s, const struct expect *e)
{
    struct link *l = owner;
    if (e->tag == TAG_SEQUENCES)
        sequences_not_discarded(s);
    else if (e->tag == TAG_TWO_PHASE)
        decide_failed(l, e, NULL);
    else if (l->client->state != CLIENT_CLOSING)
        extended_parse_skipped(l->client, l, e);
}

static void link_end_of_read(void *owner, struct server *s)
{
    struct link *l = owner;
    (void)s;
    if (l->client->state != CLIENT_CLOSING)
        run_end_of_read(l->client, l);
}

void link_lost_error(const struct link *l, const struct error *why, struct error *e_r)
{
    if (link_violated(why)) {
        *e_r = *why; /* names the shard */
        return;
    }
    error_set(e_r, SQLSTATE_CONNECTION_FAILURE, "lost connection to shard \"%s\"",
              l->client->db->shards[l->shard]->name);
    error_detail(e_r, "%s", why->message);
}

bool link_violated(const struct error *why)
{
    return strcmp(why->sqlstate, SQLSTATE_PROTOCOL_VIOLATION) == 0;
}

/* The client may have half of the answer: nothing can follow it. What a COMMIT came to is for those to say who know. */
static bool ends_session(const struct link *l, const struct error *why)
{
    const struct client *c = l->client;
    return link_violated(why) && !(c->run == RUN_ENDING && c->committing);
}

static void link_lost(void *owner, struct server *s, const struct error *why)
{
    struct link *l = owner;
    struct client *c = l->client;
    (void)s;
    log_warning("client pid %u: lost shard \"%s\": %s%s%s", c->pid, c->db->shards[l->shard]->name,
                why->message, why->detail[0] ? ": " : "", why->detail);
    l->lost = true;
    if (l->looking) {
        state_lost(l, why);
        return;
    }
    if (l->coordinator_has) {
        txn_commit_lost(c, l, why);
        return;
    }
    if (l->ending) {
        l->ending = false;
        if (c->txn.state != TXN_ENDING)
            link_put(l, false), client_free_if_done(c), client_resume(c);
        return;
    }
    if (c->state == CLIENT_CLOSING) {
        link_put(l, false);
        client_free_if_done(c);
        return;
    }
    if (ends_session(l, why))
        client_fatal(c, why);
    else if (l->vars_due && !l->pinned && !session_pooling(c))
        link_variables_lost(l, why);
    else
        run_link_lost(c, l, why);
}

static void link_drained(void *owner, struct server *s)
{
    struct link *l = owner;
    (void)s;
    if (l->client->state != CLIENT_CLOSING) {
        client_resume(l->client);
        client_update_reading(l->client);
    }
}

static void link_behind(void *owner, struct server *s)
{
    struct link *l = owner;
    (void)s;
    client_update_reading(l->client);
}

const struct server_owner_ops link_ops = {
    .forward = link_forward,
    .message = link_message,
    .skipped = link_skipped,
    .end_of_read = link_end_of_read,
    .lost = link_lost,
    .behind = link_behind,
    .drained = link_drained,
};
