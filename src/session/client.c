/*
 * A client's connection: input, output, the end.
 *
 * Input is walked message by message. A message that cannot begin yet (DISPATCH_AGAIN) stays where it is and
 * is dispatched again when client_resume() says so. In steady state a read lands in a buffer that all clients
 * of the thread share, whole messages are dispatched from there, and the client owns no input memory; only
 * what is left over is kept in c->in.
 *
 * Output, to the client and to shards, goes out in one send each at the end of the loop's turn: all
 * sockets that are ready are read first. So answers that come together leave together, and code stays in the
 * processor's cache over many clients instead of taking turns with the kernel's.
 *
 * Not responsible for: what messages mean.
 */
#include "session.h"

#include "base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A message longer than that is read into memory of its size, and shared by those whom it goes to. */
#define LARGE_MESSAGE_BYTES (4 * BLOB_MIN_BYTES)
/* Room behind it for what belongs to it: the Bind, Execute and Sync of a Parse. */
#define LARGE_AHEAD_BYTES ((size_t)8192)
#define LARGE_READ_BYTES  ((size_t)256 * 1024)

static void client_received(void *arg, const uint8_t *bytes, size_t n);
static void client_ended(void *arg, const struct error *why);
static uint8_t *client_room(void *arg, size_t *cap_r);
static void client_drained(void *arg);
static void client_behind(void *arg);
static void client_failed(void *arg, const struct error *why);
static void client_tls_ready(void *arg);
static void pump_run(void *arg);

static const struct stream_events client_stream_events = {
    .received = client_received,
    .ended = client_ended,
    .room = client_room,
    .drained = client_drained,
    .behind = client_behind,
    .failed = client_failed,
    .tls_ready = client_tls_ready,
};

/* --- beginning and end ------------------------------------------------------------------------ */

void client_accept(struct session_env *env, int fd, const struct peer_address *peer)
{
    struct client *c = xcalloc(1, sizeof *c);
    c->env = env;
    c->config = config_ref(env->config);
    c->peer = *peer;
    c->state = CLIENT_STARTUP;
    c->reading = true;
    c->connected_us = c->request_us = loop_now_us(env->loop);
    c->style = (struct datum_style){.iso = true};
    c->pump = (struct deferred){.run = pump_run, .arg = c};
    buf_init(&c->in);
    buf_init(&c->held);
    list_init(&c->txn.replay);
    list_push_back(&env->clients, &c->node);
    atomic_fetch_add_explicit(&env->stats.clients, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&env->stats.clients_total, 1, memory_order_relaxed);
    c->stream = stream_create(env->loop, fd, &client_stream_events, c);
    /* Whoever accepted it has counted it in shared->clients; one too many is told so once its startup packet is read. */
}

/* --- input that waits ------------------------------------------------------------------------- */

static void input_drop(struct client *c)
{
    if (c->in_blob)
        buf_init(&c->in); /* the memory is the blob's */
    blob_unref(&c->in_blob);
    buf_free(&c->in);
}

/* Out of the blob, which others may go on holding. */
static void input_leave_blob(struct client *c, size_t room)
{
    struct buf own;
    buf_init(&own);
    buf_reserve_exactly(&own, buf_len(&c->in) + room);
    buf_slice_append(&own, buf_slice(&c->in));
    input_drop(c);
    c->in = own;
}

/* For exactly n more bytes. */
static void input_make_room(struct client *c, size_t n)
{
    if (c->in.data && n <= c->in.cap - c->in.end)
        return;
    if (c->in_blob)
        input_leave_blob(c, n);
    else
        buf_reserve_exactly(&c->in, n);
}

static void input_append(struct client *c, const uint8_t *bytes, size_t n)
{
    if (c->in_blob)
        input_make_room(c, n);
    buf_append(&c->in, bytes, n);
}

/* Messages up to here have been dispatched. */
static void input_consume(struct client *c, size_t n)
{
    buf_consume(&c->in, n);
    if (buf_len(&c->in) == 0 && c->in.cap)
        input_drop(c);
    else if (c->in_blob && buf_len(&c->in) < BLOB_MIN_BYTES)
        input_leave_blob(c, 0); /* the rest is small: it does not keep the large message */
}

void client_drop_memory(struct client *c)
{
    extended_deinit(c);
    session_replay_clear(c);
    plan_catalog_free(c);
    plan_own_drop(c);
    input_drop(c);
    buf_free(&c->held);
    memory_refused_free(c);
    free((void *)(uintptr_t)c->query_rest.data);
    c->query_rest = slice_of(NULL, 0);
    free(c->part_ends);
    c->part_ends = NULL;
    memory_left(c);
}

static void client_free(void *arg)
{
    struct client *c = arg;
    client_drop_memory(c);
    varset_unref(&c->vars);
    varset_unref(&c->reported);
    varset_unref(&c->began);
    varset_unref(&c->guc_pgunison);
    varset_unref(&c->guc_kept);
    varset_unref(&c->txn.guc_before);
    varset_unref(&c->vars_startup);
    vars_set_free(c);
    plan_defaults_kept(c);
    varset_unref(&c->txn.vars_before);
    if (c->auth)
        auth_destroy(&c->auth);
    memory_forget(c);
    free(c->user);
    free(c->database);
    free(c->password);
    free(c->last_txid);
    error_drop(&c->plan_error);
    error_drop(&c->acquire_error);
    error_drop(&c->run_error);
    free(c->links);
    free(c->pools);
    config_unref(&c->config);
    free(c);
}

void client_free_if_done(struct client *c)
{
    if (c->state == CLIENT_CLOSING && !c->commit && c->n_links == 0 && !c->freed) {
        c->freed = true;
        loop_undefer(c->env->loop, &c->pump);
        loop_doom(c->env->loop, c, client_free);
    }
}

void client_close(struct client *c)
{
    struct session_env *env = c->env;
    if (c->state == CLIENT_CLOSING)
        return;
    if (c->config->settings.log_disconnections)
        log_info("client %s:%d pid %u user \"%s\" database \"%s\" disconnected", c->peer.host, c->peer.port,
                 c->pid, c->user ? c->user : "", c->database ? c->database : "");
    c->state = CLIENT_CLOSING;
    memory_leaves(c);
    list_remove(&env->clients, &c->node);
    atomic_fetch_sub_explicit(&env->stats.clients, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&env->shared->clients, 1, memory_order_relaxed);
    cancel_unregister(c);
    if (c->console_waiting)
        env->console->gone(env->console->arg, c);
    (void)stream_flush(c->stream);
    stream_destroy(&c->stream);
    plan_catalog_abort(c);
    copy_in_free(c);
    ordered_free(c);
    if (c->scatter)
        scatter_destroy(&c->scatter);
    session_unplan(c, &c->plan);
    if (c->commit)
        txn_commit_client_gone(c);
    links_abandon(c);
    client_free_if_done(c);
    if (!c->freed)
        loop_defer(env->loop, &c->pump); /* client_drop_memory(), once nobody looks at its input */
}

void client_fatal(struct client *c, const struct error *e)
{
    if (c->state == CLIENT_CLOSING)
        return;
    struct buf *b = client_scratch(c);
    message_error(b, e, true);
    client_send(c, b);
    if (c->config->settings.log_pooler_errors)
        log_info("client %s:%d user \"%s\" database \"%s\": closed: %s", c->peer.host, c->peer.port,
                 c->user ? c->user : "", c->database ? c->database : "", e->message);
    client_close(c);
}

void client_end(struct client *c, const struct error *why)
{
    struct error e = *why;
    const char *open = txn_open_outcome(c);
    if (open) {
        error_set(&e, SQLSTATE_OUTCOME_UNKNOWN, "%s", why->message);
        error_detail(&e, "%s%sIt is not known %s.", why->detail, why->detail[0] ? " " : "", open);
        error_hint(&e, "Look at what it wrote before it is tried again.");
    }
    link_cancel_all(c);
    client_fatal(c, &e);
}

void client_fatal_torn(struct client *c, const struct error *e)
{
    log_warning("client pid %u: closed within an answer: %s", c->pid, e->message);
    client_close(c);
}

/* --- output ----------------------------------------------------------------------------------- */

struct buf *client_scratch(struct client *c)
{
    buf_clear(&c->env->scratch);
    return &c->env->scratch;
}

void client_write(struct client *c, const void *data, size_t len)
{
    if (c->state == CLIENT_CLOSING)
        return;
    stream_write(c->stream, data, len);
    stats_add(&c->env->stats.bytes_sent, len);
}

void client_send(struct client *c, const struct buf *b)
{
    client_write(c, buf_head(b), buf_len(b));
}

/* A message that has no body: ParseComplete, BindComplete, CloseComplete, NoData. */
void client_send_empty(struct client *c, uint8_t type)
{
    uint8_t m[5] = {type, 0, 0, 0, 4};
    client_write(c, m, sizeof m);
}

void client_command_complete(struct client *c, const char *tag)
{
    if (simple_holds_tag(c)) {
        buf_clear(&c->held);
        message_command_complete(&c->held, tag);
        return;
    }
    struct buf *b = client_scratch(c);
    message_command_complete(b, tag);
    client_send(c, b);
}

void client_send_error(struct client *c, const struct error *e)
{
    struct buf *b = client_scratch(c);
    message_error(b, e, false);
    client_send(c, b);
    if (c->config->settings.log_pooler_errors)
        log_info("client %s:%d user \"%s\" database \"%s\": %s: %s", c->peer.host, c->peer.port,
                 c->user ? c->user : "", c->database ? c->database : "", e->sqlstate, e->message);
}

void client_send_warning(struct client *c, const struct error *e)
{
    if (notice_hides_warnings(c))
        return;
    struct buf *b = client_scratch(c);
    message_notice(b, "WARNING", e);
    client_send(c, b);
}

char client_txn_status(const struct client *c)
{
    switch (c->txn.state) {
    case TXN_OPEN:
        return 'T';
    case TXN_FAILED:
        return 'E';
    case TXN_NONE:
    case TXN_IMPLICIT:
    case TXN_IMPLICIT_FAILED:
    case TXN_ENDING:
        return 'I';
    }
    return 'I';
}

/* One answered request is one query to SHOW STATS (a pipeline is one); what ends outside a block is a
 * transaction. */
static void count_request(struct client *c, uint64_t now)
{
    struct session_stats *s = &c->env->stats;
    if (c->in_request) {
        stats_add(&s->queries, 1);
        stats_add(&s->query_us, now - c->request_us);
    }
    if (c->in_request && c->txn.state == TXN_NONE) {
        stats_add(&s->transactions, 1);
        stats_add(&s->transaction_us, now - (c->txn.began_us ? c->txn.began_us : c->request_us));
        c->txn.began_us = 0;
    }
    c->in_request = false;
}

void client_ready(struct client *c)
{
    uint8_t z[6] = {MSG_READY, 0, 0, 0, 5, (uint8_t)client_txn_status(c)};
    client_write(c, z, sizeof z);
    uint64_t now = loop_now_us(c->env->loop);
    count_request(c, now);
    c->request_us = now;
    c->simple_open = false;
    if ((c->txn.catalog_apart | c->temporary_unsettled) && c->txn.state == TXN_NONE) {
        plan_temporary_settles(c);
        if (c->txn.catalog_apart)
            plan_catalog_free(c);
    }
    if (c->txn.state == TXN_NONE && c->config != c->env->config && c->state == CLIENT_READY)
        client_reconfigure(c);
}

/* Whoever stopped because the output was full goes on once it is not: when the kernel has taken it here, or
 * in client_drained(). */
static void output_room(struct client *c)
{
    if (!c->output_full || stream_queued(c->stream) >= BACKPRESSURE_BYTES)
        return;
    c->output_full = false;
    run_client_drained(c);
}

static void client_make_room(struct client *c)
{
    (void)stream_flush(c->stream); /* failure: client_failed() */
    output_room(c);
}

void client_output_full(struct client *c)
{
    if (c->state == CLIENT_CLOSING)
        return;
    c->output_full = true;
    loop_defer(c->env->loop, &c->pump);
}

static void client_drained(void *arg)
{
    struct client *c = arg;
    output_room(c);
    client_resume(c);
    client_update_reading(c);
}

static void client_behind(void *arg)
{
    client_update_reading(arg);
}

static void client_failed(void *arg, const struct error *why)
{
    struct client *c = arg;
    log_debug("client %s:%d: %s", c->peer.host, c->peer.port, why->message);
    client_close(c);
}

/* --- input ------------------------------------------------------------------------------------ */

/* Back-pressure, both ways: a client that does not read what it asked for, that runs far ahead of what is
   dispatched, or whose copy data a shard cannot take yet, is not read from. Its end is then noticed when
   reading goes on. */
void client_update_reading(struct client *c)
{
    if (c->state == CLIENT_CLOSING)
        return;
    bool want =
        stream_backlog(c->stream) < BACKPRESSURE_BYTES && buf_len(&c->in) < c->need_input + INPUT_AHEAD_BYTES;
    for (unsigned i = 0; want && i < c->n_links; i++)
        if (c->links[i]->server && server_backlog(c->links[i]->server) >= BACKPRESSURE_BYTES)
            want = false;
    if (want != c->reading) {
        c->reading = want;
        stream_set_reading(c->stream, want);
    }
}

static __attribute__((noinline, cold)) enum dispatch function_call(struct client *c)
{
    struct error e;
    if (c->extended_open && c->skip_till_sync)
        return extended_skips_query(c);
    if (c->sync_pending || (c->extended_open && !extended_close_pipeline(c)) || c->run != RUN_NONE ||
        c->multi)
        return DISPATCH_AGAIN;
    error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "function calls by the fast-path interface are not supported");
    error_hint(&e, "Call the function in a SELECT.");
    client_send_error(c, &e);
    txn_fail(c);
    client_ready(c);
    return DISPATCH_DONE;
}

static __attribute__((noinline, cold)) enum dispatch unknown_type(struct client *c, uint8_t type)
{
    struct error e;
    error_set(&e, SQLSTATE_PROTOCOL_VIOLATION, "invalid frontend message type %u", (unsigned)type);
    client_fatal(c, &e);
    return DISPATCH_DONE;
}

/* What needs an error's memory is apart: this is for each message, and calls what comes last in it without a return. */
static enum dispatch dispatch(struct client *c, const struct frame *f)
{
    if (c->looks && f->type != MSG_TERMINATE)
        return DISPATCH_AGAIN;
    if ((c->copy || c->copy_pass == COPY_PASS_DATA) && !copy_in_allows(c, f->type))
        return DISPATCH_DONE;
    switch (f->type) {
    case MSG_QUERY:
        return simple_query(c, f);
    case MSG_PARSE:
    case MSG_BIND:
    case MSG_DESCRIBE:
    case MSG_EXECUTE:
    case MSG_CLOSE:
    case MSG_FLUSH:
    case MSG_SYNC:
        return extended_message(c, f);
    case MSG_COPY_DATA:
    case MSG_COPY_DONE:
    case MSG_COPY_FAIL:
        return copy_in_message(c, f);
    case MSG_TERMINATE:
        client_close(c);
        return DISPATCH_DONE;
    case MSG_FUNCTION_CALL:
        return function_call(c);
    default:
        return unknown_type(c, f->type);
    }
}

/* A message of which only a part is there: what it cannot be is refused now, as PostgreSQL does by the type alone
   (src/backend/tcop/postgres.c SocketBackend(), src/backend/libpq/auth.c), instead of being waited for by its length. */
static bool refuse_type(struct client *c, uint8_t type)
{
    static const char known[] = {MSG_QUERY,     MSG_PARSE,     MSG_BIND,         MSG_DESCRIBE,  MSG_EXECUTE,
                                 MSG_CLOSE,     MSG_FLUSH,     MSG_SYNC,         MSG_COPY_DATA, MSG_COPY_DONE,
                                 MSG_COPY_FAIL, MSG_TERMINATE, MSG_FUNCTION_CALL};
    struct error e;
    bool password = c->state == CLIENT_AUTH;
    if (password ? type == MSG_PASSWORD : memchr(known, type, sizeof known) != NULL)
        return false;
    error_set(&e, SQLSTATE_PROTOCOL_VIOLATION,
              password ? "expected password response, got message type %u"
                       : "invalid frontend message type %u",
              (unsigned)type);
    client_fatal(c, &e);
    return true;
}

/* The large message under way, of which `input` is there, may be more than the client can have: then that is done
   with, and its length is returned; else 0. */
static size_t input_refuse(struct client *c, struct slice input, size_t more)
{
    struct error e;
    if (memory_admits(c, more, &e) == STATUS_OK)
        return 0;
    memory_refuse(c, input.data[0], &e);
    c->need_input -= input.len;
    return input.len;
}

/* Bytes of a message that is not taken, and, when there are no more of them, its answer. Returns how many they were;
   *go_on_r: what follows them can be dispatched. */
static __attribute__((noinline)) size_t input_skip(struct client *c, size_t n, bool *go_on_r)
{
    size_t used = n < c->need_input ? n : c->need_input;
    c->need_input -= used;
    *go_on_r = c->need_input == 0 && memory_refused(c) == DISPATCH_DONE;
    return used;
}

/* A message is not whole yet, or cannot be. How many bytes of it are done with. */
static __attribute__((noinline)) size_t input_stops(struct client *c, struct slice input, enum frame_result r,
                                                    uint32_t max, size_t need)
{
    struct error e;
    if (refuse_type(c, input.data[0]))
        return 0;
    if (r == FRAME_PARTIAL) {
        c->need_input = need;
        return need > LARGE_MESSAGE_BYTES ? input_refuse(c, input, c->in.end ? need - input.len : need) : 0;
    }
    error_set(&e, SQLSTATE_PROTOCOL_VIOLATION, "invalid message length");
    error_detail(&e, "The length is below 4 or above max_message_bytes (%u bytes).", max);
    client_fatal(c, &e);
    return 0;
}

/* Dispatches whole messages; returns how many bytes they took. */
static size_t client_walk(struct client *c, const uint8_t *p, size_t n)
{
    size_t at = 0;
    bool go_on = true;
    if (c->refused)
        at = input_skip(c, n, &go_on);
    if (!go_on)
        return at;
    c->need_input = 0;
    while (c->state == CLIENT_READY || c->state == CLIENT_AUTH) {
        if (c->query_rest.data) {
            simple_go_on(c);
            if (c->state == CLIENT_CLOSING)
                break;
        }
        if (at == n) {
            c->need_input = FRAME_HEADER_BYTES;
            break;
        }
        struct frame f;
        size_t need = FRAME_HEADER_BYTES;
        uint32_t max = c->state == CLIENT_AUTH ? 65536 : client_max_message(c);
        enum frame_result r = frame_next(slice_of(p + at, n - at), max, &f, &need);
        if (r != FRAME_OK) {
            at += input_stops(c, slice_of(p + at, n - at), r, max, need);
            break;
        }
        c->rest = slice_of(p + at + f.whole.len, n - at - f.whole.len);
        enum dispatch d = c->state == CLIENT_AUTH ? login_password(c, &f) : dispatch(c, &f);
        if (d == DISPATCH_AGAIN)
            break;
        at += f.whole.len;
    }
    return at;
}

/* Whether there is anything to go on with: a message, the rest of a query, or a step of the login. */
static bool input_waits(const struct client *c)
{
    return c->state != CLIENT_READY || buf_len(&c->in) > 0 || c->query_rest.data || c->refused;
}

/* After the dispatching of messages that waited: what was deferred for them is done. */
static void client_finish_batch(struct client *c)
{
    if (c->state == CLIENT_CLOSING)
        return;
    if (!input_waits(c))
        c->resumed = false;
    if (!c->resumed)
        loop_undefer(c->env->loop, &c->pump); /* first: room in the output may make more of it */
    if (c->output_full)
        client_make_room(c);
    client_update_reading(c);
}

static void client_pump(struct client *c)
{
    if (c->state == CLIENT_STARTUP && login_read(c) == DISPATCH_AGAIN) {
        client_finish_batch(c);
        return;
    }
    if (c->state == CLIENT_WELCOME)
        (void)login_wait(c);
    if (c->state == CLIENT_READY || c->state == CLIENT_AUTH) {
        if (!c->in_blob && buf_len(&c->in) >= LARGE_MESSAGE_BYTES)
            c->in_blob = blob_create(&c->in);
        size_t used = client_walk(c, buf_head(&c->in), buf_len(&c->in));
        if (c->state == CLIENT_CLOSING)
            return;
        input_consume(c, used);
    }
    if (c->state == CLIENT_CLOSING)
        return;
    if (buf_len(&c->in) == 0 && c->in.cap)
        input_drop(c);
    client_finish_batch(c);
}

static void pump_run(void *arg)
{
    struct client *c = arg;
    if (c->state == CLIENT_CLOSING) {
        client_drop_memory(c);
        return;
    }
    if (!c->resumed || !input_waits(c)) {
        client_finish_batch(c);
        return;
    }
    c->resumed = false;
    client_pump(c);
}

void client_resume(struct client *c)
{
    if (c->state == CLIENT_CLOSING || (!c->walking && !input_waits(c) && c->reading))
        return; /* there is nothing to go on with */
    c->resumed = true;
    loop_defer(c->env->loop, &c->pump);
}

static bool large_waits(const struct client *c)
{
    return c->need_input > LARGE_MESSAGE_BYTES && c->state == CLIENT_READY &&
           buf_len(&c->in) < c->need_input && !c->refused;
}

/* The rest of a large message lands where it stays. */
static uint8_t *client_room(void *arg, size_t *cap_r)
{
    struct client *c = arg;
    if (!large_waits(c))
        return NULL;
    input_make_room(c, c->need_input - buf_len(&c->in) + LARGE_AHEAD_BYTES);
    size_t room = c->in.cap - c->in.end;
    *cap_r = room < LARGE_READ_BYTES ? room : LARGE_READ_BYTES;
    return c->in.data + c->in.end;
}

static void large_received(struct client *c, const uint8_t *bytes, size_t n)
{
    if (!c->in.data || bytes != c->in.data + c->in.end) {
        size_t room = c->need_input - buf_len(&c->in) + LARGE_AHEAD_BYTES;
        input_make_room(c, room > n ? room : n);
        memcpy(c->in.data + c->in.end, bytes, n);
    }
    buf_added(&c->in, n);
    if (buf_len(&c->in) >= c->need_input)
        client_pump(c);
    else if (input_refuse(c, buf_slice(&c->in), 0))
        input_drop(c);
}

static void client_received(void *arg, const uint8_t *bytes, size_t n)
{
    struct client *c = arg;
    stats_add(&c->env->stats.bytes_received, n);
    if (__builtin_expect(large_waits(c), 0)) {
        large_received(c, bytes, n);
        return;
    }
    if (c->state != CLIENT_READY || buf_len(&c->in) != 0) {
        input_append(c, bytes, n);
        client_pump(c);
        return;
    }
    c->walking = true;
    size_t used = client_walk(c, bytes, n);
    c->walking = false;
    if (used == n || c->state == CLIENT_CLOSING)
        return;
    input_append(c, bytes + used, n - used);
    client_update_reading(c);
}

static void client_ended(void *arg, const struct error *why)
{
    (void)why;
    client_close(arg);
}

static void client_tls_ready(void *arg)
{
    struct client *c = arg;
    if (c->state == CLIENT_TLS)
        c->state = CLIENT_STARTUP;
    client_resume(c);
}

/* --- for others ------------------------------------------------------------------------------- */

/* Between transactions: the session goes over to the configuration that the worker runs under now. */
void client_reconfigure(struct client *c)
{
    struct config *now = c->env->config;
    const struct database_def *db = c->console ? NULL : topology_database(&now->topology, c->database);
    if (c->n_links != 0)
        return; /* pinned servers: their shards' indexes belong to the old topology; after they are gone */
    if (!c->console && !db) {
        struct error e;
        error_set(&e, SQLSTATE_ADMIN_SHUTDOWN, "database \"%s\" was removed from the configuration",
                  c->database);
        client_fatal(c, &e);
        return;
    }
    struct config *old = c->config;
    plan_catalog_free(c); /* one of its own, under the old topology: session_plan() */
    plan_own_drop(c);
    if (c->names)
        hashmap_free(&c->names->cursors, NULL); /* of servers that are not its own any more, by old numbers */
    c->config = config_ref(now);
    c->db = db;
    free(c->pools);
    c->pools = NULL;
    config_unref(&old);
}

void client_close_all(struct session_env *env, bool now)
{
    struct error e;
    error_set(&e, SQLSTATE_ADMIN_SHUTDOWN, "terminating connection due to administrator command");
    list_foreach(&env->clients, node, next)
    {
        struct client *c = list_entry(node, struct client, node);
        bool idle = c->state != CLIENT_READY ||
                    (c->run == RUN_NONE && c->txn.state == TXN_NONE && c->n_links == 0 && !c->multi);
        if (now || idle)
            client_fatal(c, &e);
    }
}

void client_kill_database(struct session_env *env, const char *database)
{
    struct error e;
    error_set(&e, SQLSTATE_ADMIN_SHUTDOWN, "terminating connection due to administrator command");
    list_foreach(&env->clients, node, next)
    {
        struct client *c = list_entry(node, struct client, node);
        if (!c->console && c->database && (!database || strcmp(c->database, database) == 0))
            client_fatal(c, &e);
    }
}

bool client_is_admin(const struct client *c)
{
    return c->admin;
}

void client_console_reply(struct client *c, struct slice messages)
{
    if (c->state == CLIENT_CLOSING)
        return;
    c->console_waiting = false;
    client_write(c, messages.data, messages.len);
    console_replied(c);
    client_resume(c);
}
