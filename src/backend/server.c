/*
 * A shard's connection, taken over raw: reading replies and handing them to whoever borrowed the server.
 *
 * One read (at most one recv, into a buffer that the thread's servers share) is walked message by message.
 * Messages that may pass are not looked at one by one by the owner: they grow a run, which is forwarded when
 * something else comes or the read ends.
 *
 *     rest of a message    goes the way its beginning went: forward_left, drop_left
 *     whole messages       a run, forwarded at once
 *     E, Z and the like    message()
 *     a message's begin    forwarded too, forward_left counting the rest; or kept in s->in
 *                          until it is whole, if somebody must look at it
 *
 * While a cancel request is under way, ReadyForQuery waits in s->in (ready_held): see backend/server.h. So does
 * everything while a HOLD is at the ring's head; above HOLD_BYTES the socket is not read any more.
 *
 * Invariants (server_check): at most one of forward_left, drop_left, buf_len(in) is not zero between reads;
 * the ring's head is the expectation that the next message answers.
 *
 * Not responsible for: when to send what, the transaction's fate, pooling.
 */
#include "backend/server.h"

#include "base/arena.h"
#include "base/log.h"
#include "cancel.h"
#include "replies.h"
#include "wire/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Kept of answers whose turn has not come; what one read brings may come on top. */
#define HOLD_BYTES 65536u
/* Kept as expectation rings between uses; deep pipelines give theirs back. */
#define RING_KEEP 64

static void server_received(void *arg, const uint8_t *bytes, size_t n);
static void server_ended(void *arg, const struct error *why);
static void server_drained(void *arg);
static void server_behind(void *arg);
static void server_failed(void *arg, const struct error *why);

static const struct stream_events server_stream_events = {
    .received = server_received,
    .ended = server_ended,
    .drained = server_drained,
    .behind = server_behind,
    .failed = server_failed,
};

static void server_check(const struct server *s)
{
    assert((s->forward_left != 0) + (s->drop_left != 0) + (buf_len(&s->in) != 0) <= 1);
    assert(s->ring_count <= s->ring_cap);
}

struct server *server_create(struct loop *loop, struct cancels *cancels, struct backend_conn *conn,
                             struct prepared_set *prepared)
{
    struct server *s = xcalloc(1, sizeof *s);
    s->loop = loop;
    s->cancels = cancels;
    s->conn = conn;
    s->begun = backend_conn_begun(conn);
    s->prepared = prepared;
    s->txn_status = 'I';
    s->reply_state = REPLY_NONE;
    s->longest = SIZE_MAX;
    s->created_us = s->used_us = loop_now_us(loop);
    buf_init(&s->in);
    s->stream = stream_adopt(loop, backend_conn_fd(conn), backend_conn_ssl(conn), &server_stream_events, s);
    return s;
}

static void server_free(void *arg)
{
    struct server *s = arg;
    free(s->ring);
    free(s);
}

void server_destroy(struct server **sp)
{
    struct server *s = *sp;
    *sp = NULL;
    s->dead = true;
    s->ops = NULL;
    cancel_forget(&s->cancel);
    stream_destroy(&s->stream);
    backend_conn_close(&s->conn);
    buf_free(&s->in);
    varset_unref(&s->vars);
    if (s->prepared)
        prepared_set_destroy(&s->prepared);
    loop_doom(s->loop, s, server_free);
}

bool server_is_quiet(const struct server *s)
{
    return !s->dead && s->ring_count == 0 && server_queued(s) == 0 && buf_len(&s->in) == 0 &&
           s->forward_left == 0 && s->drop_left == 0;
}

void server_close(struct server **s)
{
    backend_conn_set_clean((*s)->conn, server_is_quiet(*s) && (*s)->txn_status == 'I');
    server_destroy(s);
}

struct backend_conn *server_give_back(struct server **s)
{
    struct backend_conn *conn = (*s)->conn;
    assert(server_is_quiet(*s) && !(*s)->cancel);
    (*s)->conn = NULL;
    server_destroy(s);
    return conn;
}

void server_set_owner(struct server *s, const struct server_owner_ops *ops, void *owner)
{
    s->ops = ops;
    s->owner = owner;
}

void server_detach(struct server *s)
{
    assert(s->ring_count == 0 && s->ops == NULL && !s->cancel);
    stream_detach(s->stream);
    s->loop = NULL;
    s->cancels = NULL;
}

void server_attach(struct server *s, struct loop *loop, struct cancels *cancels)
{
    s->loop = loop;
    s->cancels = cancels;
    stream_attach(s->stream, loop, &server_stream_events, s);
}

void server_forget_variables(struct server *s)
{
    struct varset *unknown = varset_unknown(s->vars);
    varset_unref(&s->vars);
    s->vars = unknown;
}

const char *server_shard(const struct server *s)
{
    return backend_conn_shard(s->conn);
}

/* --- expectations ----------------------------------------------------------------------------- */

__attribute__((cold, noinline)) static void ring_grow(struct server *s)
{
    uint32_t cap = s->ring_cap ? s->ring_cap * 2 : 16;
    struct expect *ring = xmalloc(cap * sizeof *ring);
    for (uint32_t i = 0; i < s->ring_count; i++)
        ring[i] = s->ring[(s->ring_head + i) & (s->ring_cap - 1)];
    free(s->ring);
    s->ring = ring;
    s->ring_cap = cap;
    s->ring_head = 0;
}

/* The head is another one now, or there is none. */
static void begin_reply(struct server *s)
{
    s->reply_state = s->ring_count ? s->ring[s->ring_head].first_state : REPLY_NONE;
}

void server_expect(struct server *s, enum expect_kind kind, enum expect_sink sink, uint16_t tag, void *arg)
{
    if (__builtin_expect(s->ring_count == s->ring_cap, 0))
        ring_grow(s);
    uint8_t first = reply_first(kind, EXPECT_NO_COPY);
    s->ring[(s->ring_head + s->ring_count) & (s->ring_cap - 1)] = (struct expect){
        .kind = (uint8_t)kind, .sink = (uint8_t)sink, .tag = tag, .first_state = first, .arg = arg};
    if (s->ring_count++ == 0)
        s->reply_state = first;
    if (kind == EXPECT_QUERY)
        s->unnamed_statement = 0; /* a simple Query drops it */
}

void server_expect_copy(struct server *s, enum expect_copy copy)
{
    struct expect *last = server_expectation(s, s->ring_count - 1);
    last->first_state = reply_first(last->kind, copy);
    if (s->ring_count == 1)
        begin_reply(s);
}

static struct expect *ring_first(struct server *s)
{
    return s->ring_count ? &s->ring[s->ring_head] : NULL;
}

__attribute__((cold, noinline)) static void ring_shrink(struct server *s)
{
    free(s->ring);
    s->ring = NULL;
    s->ring_cap = 0;
}

static inline __attribute__((always_inline)) void ring_pop(struct server *s)
{
    if (--s->ring_count > 0) {
        s->ring_head = (s->ring_head + 1) & (s->ring_cap - 1);
        s->reply_state = s->ring[s->ring_head].first_state;
        return;
    }
    s->ring_head = 0;
    s->reply_state = REPLY_NONE;
    if (__builtin_expect(s->ring_cap > RING_KEEP, 0))
        ring_shrink(s);
}

bool server_sync_due(const struct server *s)
{
    for (uint32_t i = 0; i < s->ring_count; i++)
        if (server_expectation(s, i)->kind == EXPECT_SYNC)
            return true;
    return false;
}

void server_unhold(struct server *s)
{
    uint32_t kept = 0;
    bool held = server_holds(s);
    for (uint32_t i = 0; i < s->ring_count; i++)
        if (server_expectation(s, i)->sink != SINK_HOLD)
            *server_expectation(s, kept++) = *server_expectation(s, i);
    s->ring_count = kept;
    if (held)
        begin_reply(s);
}

void server_forget_replies(struct server *s)
{
    assert(s->dead);
    s->ring_count = 0;
    begin_reply(s);
}

/* What a message's type says: whether somebody must look at it, whatever the sink, and whether it may come at any
   time. */
#define MUST_BE_SEEN 1u
#define ASYNCHRONOUS 2u

static const uint8_t type_facts[256] = {
    [MSG_READY] = MUST_BE_SEEN,
    [MSG_ERROR] = MUST_BE_SEEN,
    [MSG_PARAMETER_STATUS] = MUST_BE_SEEN | ASYNCHRONOUS,
    [MSG_NOTIFICATION] = MUST_BE_SEEN | ASYNCHRONOUS,
    [MSG_COPY_IN_RESPONSE] = MUST_BE_SEEN,
    [MSG_COPY_OUT_RESPONSE] = MUST_BE_SEEN,
};

static bool must_be_seen(uint8_t type)
{
    return type_facts[type] & MUST_BE_SEEN;
}

static bool is_asynchronous(uint8_t type)
{
    return type_facts[type] & ASYNCHRONOUS;
}

/* --- sending ---------------------------------------------------------------------------------- */

void server_write(struct server *s, const void *data, size_t len)
{
    if (!s->dead)
        stream_write(s->stream, data, len);
}

void server_set_reading(struct server *s, bool on)
{
    if (!s->dead)
        stream_set_reading(s->stream, on);
}

size_t server_queued(const struct server *s)
{
    return s->dead ? 0 : stream_queued(s->stream);
}

size_t server_backlog(const struct server *s)
{
    return s->dead ? 0 : stream_backlog(s->stream);
}

/* --- receiving -------------------------------------------------------------------------------- */

static void server_lose(struct server *s, const struct error *why)
{
    if (s->dead)
        return;
    s->dead = true;
    stream_set_reading(s->stream, false);
    if (s->ops)
        s->ops->lost(s->owner, s, why);
    else
        s->idle_lost(s, why);
}

static void server_failed(void *arg, const struct error *why)
{
    server_lose(arg, why);
}

void server_fail(struct server *s, const struct error *why)
{
    server_lose(s, why);
}

static void server_drained(void *arg)
{
    struct server *s = arg;
    if (s->ops && s->ops->drained)
        s->ops->drained(s->owner, s);
}

static void server_behind(void *arg)
{
    struct server *s = arg;
    if (s->ops && s->ops->behind)
        s->ops->behind(s->owner, s);
}

/* After ErrorResponse in the extended protocol nothing is answered until Sync. The expectation at the head
   failed, the others up to Sync are reported; a copy of the head has been handed to message() by then. */
__attribute__((cold, noinline)) static void skip_to_sync(struct server *s)
{
    struct expect *e = ring_first(s);
    if (!e || e->kind == EXPECT_QUERY || e->kind == EXPECT_SYNC)
        return;
    ring_pop(s);
    while (!s->dead && (e = ring_first(s)) && e->kind != EXPECT_SYNC && e->kind != EXPECT_QUERY) {
        struct expect skipped = *e;
        ring_pop(s);
        if (s->ops && s->ops->skipped)
            s->ops->skipped(s->owner, s, &skipped);
    }
    if (!e)
        return;
    s->reply_state = REPLY_FAILED; /* a Query is ignored as well: what ends it is the answer to a Sync */
    for (uint32_t i = 0; i < s->ring_count; i++) /* ... and so are those that were sent behind it */
        if (server_expectation(s, i)->kind == EXPECT_QUERY)
            server_expectation(s, i)->first_state = REPLY_FAILED;
}

__attribute__((cold, noinline)) void server_violation(struct server *s, uint8_t type, const char *what)
{
    struct error e;
    char name[64];
    reply_name(type, name, sizeof name);
    error_set(&e, SQLSTATE_PROTOCOL_VIOLATION, "protocol violation by shard \"%s\"", server_shard(s));
    error_detail(&e, "Message: %s. %s", name, what);
    error_hint(&e, "Check that PostgreSQL is what answers there.");
    server_lose(s, &e);
}

/* Nobody has asked, nobody is to be told: what the pool keeps is not to be given to anybody any more. */
__attribute__((cold, noinline)) static void idle_message(struct server *s, const struct frame *f)
{
    struct error why, said, bad;
    if (f->type ==
        MSG_PARAMETER_STATUS) { /* by a reload of the shard's configuration; clients would not know */
        error_set(&why, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" changed a setting", server_shard(s));
        server_lose(s, &why);
    } else if (f->type == MSG_ERROR) {
        bool read = message_read_error(f, &said, &bad) == STATUS_OK;
        error_set(&why, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" ends the connection: %s", server_shard(s),
                  read ? said.message : bad.message);
        server_lose(s, &why);
    }
}

/* CommandComplete: whether rows were written, which takes a transaction id. "UPDATE 0" wrote none; tags that
 * are not of this form prove nothing. */
static void note_tag(struct server *s, const uint8_t *whole, size_t total)
{
    const uint8_t *tag = whole + FRAME_HEADER_BYTES, *last = whole + total - 2; /* before the NUL */
    if (total < FRAME_HEADER_BYTES + 8 || *last < '0' || *last > '9' || (*last == '0' && last[-1] == ' '))
        return;
    if (memcmp(tag, "UPDATE", 6) == 0 || memcmp(tag, "INSERT", 6) == 0 || memcmp(tag, "DELETE", 6) == 0)
        s->wrote_rows = true;
}

/* Hands one whole message over, which may come now, and advances the expectations. False when the server died
   meanwhile. */
static bool deliver(struct server *s, const struct frame *f, uint8_t next)
{
    struct expect *head = ring_first(s);
    struct expect e;
    uint8_t before = s->reply_state;
    bool have = head != NULL && !is_asynchronous(f->type);
    if (f->type != MSG_DATA_ROW && __builtin_expect(!reply_well_formed(f), 0)) {
        server_violation(s, f->type, "It is malformed.");
        return false;
    }
    if (have)
        e = *head;
    if (f->type == MSG_READY)
        s->txn_status = (char)f->body.data[0];
    else if (f->type == MSG_COMMAND_COMPLETE)
        note_tag(s, f->whole.data, f->whole.len);
    /* The expectation leaves the queue before the owner hears of its end: it may give the server back inside.
     */
    if (next == REPLY_END)
        ring_pop(s);
    else if (next != REPLY_SKIP)
        s->reply_state = next;
    if (!s->ops) {
        idle_message(s, f);
    } else if (f->type == MSG_ERROR && before == REPLY_FAILED) {
        log_debug("shard \"%s\": an error after the error", server_shard(s)); /* one is told */
    } else if (must_be_seen(f->type) || (have && e.sink == SINK_MESSAGE)) {
        s->ops->message(s->owner, s, have ? &e : NULL, f);
    }
    if (s->dead)
        return false;
    if (next == REPLY_SKIP)
        skip_to_sync(s);
    return !s->dead;
}

/* What becomes of a message that is not whole yet, or need not be assembled. */
enum way { WAY_FORWARD, WAY_DROP, WAY_DELIVER, WAY_HOLD };

static enum way way_of(struct server *s, uint8_t type)
{
    struct expect *e = ring_first(s);
    if (must_be_seen(type))
        return e && e->sink == SINK_HOLD ? WAY_HOLD : WAY_DELIVER;
    if (!e || !s->ops)
        return WAY_DROP;
    if (e->sink == SINK_FORWARD)
        return WAY_FORWARD;
    if (e->sink == SINK_MESSAGE)
        return WAY_DELIVER;
    return e->sink == SINK_HOLD ? WAY_HOLD : WAY_DROP;
}

void server_forward_nothing(void *owner, struct server *s, const uint8_t *bytes, size_t len)
{
    (void)owner;
    (void)s;
    (void)bytes;
    (void)len;
}

static void forward_run(struct server *s, const uint8_t *from, const uint8_t *to)
{
    if (to > from && s->ops && !s->dead)
        s->ops->forward(s->owner, s, from, (size_t)(to - from));
}

/* The rest of a message whose beginning went its way already. Returns how many bytes it took. */
static size_t continue_message(struct server *s, const uint8_t *p, size_t n)
{
    if (s->forward_left) {
        size_t take = s->forward_left < n ? s->forward_left : n;
        s->forward_left -= take;
        forward_run(s, p, p + take);
        return take;
    }
    if (s->drop_left) {
        size_t take = s->drop_left < n ? s->drop_left : n;
        s->drop_left -= take;
        return take;
    }
    return 0;
}

/* Walks one read's bytes. Returns how many were used; what is left is the beginning of a message that must be
 * whole first. */
static size_t walk(struct server *s, const uint8_t *p, size_t n)
{
    const uint8_t *at = p + continue_message(s, p, n), *end = p + n, *run = at;
    while (!s->dead && (size_t)(end - at) >= FRAME_HEADER_BYTES) {
        uint32_t len = load_u32(at + 1);
        size_t total = (size_t)len + 1, have = (size_t)(end - at);
        enum way way = way_of(s, *at);
        uint8_t next = reply_next(s->reply_state, *at);
        if (__builtin_expect(next == REPLY_VIOLATION && way != WAY_HOLD, 0) ||
            __builtin_expect(!reply_length_fits(*at, len), 0)) {
            forward_run(s, run, at);
            if (!s->dead)
                server_violation(s, *at, next ? "Its length cannot be." : "It cannot come now.");
            return n;
        }
        if (way == WAY_FORWARD) {
            if (*at == MSG_COMMAND_COMPLETE && have >= total)
                note_tag(s, at, total);
            if (next == REPLY_END) {
                if (have < total)
                    break; /* small: assembled, so that the expectation ends when its message does */
                ring_pop(s);
            } else {
                s->reply_state = next;
            }
            if (have < total) {
                s->forward_left = total - have;
                at = end;
                break;
            }
            at += total;
            continue;
        }
        forward_run(s, run, at);
        run = at;
        if (s->dead)
            return n;
        if (way == WAY_HOLD)
            break;
        if (way == WAY_DROP) {
            if (have < total && next == REPLY_END)
                break;
            if (next == REPLY_END)
                ring_pop(s);
            else
                s->reply_state = next;
            if (have < total) {
                s->drop_left = total - have;
                return n;
            }
            at += total;
            run = at;
            continue;
        }
        if (have < total) {
            if (__builtin_expect(total > s->longest, 0))
                server_violation(s, *at, "It is longer than what is asked for can be.");
            break;
        }
        if (*at == MSG_READY && s->cancel) {
            s->ready_held = true;
            break;
        }
        struct frame f = {.type = *at, .body = slice_of(at + 5, total - 5), .whole = slice_of(at, total)};
        at += total;
        run = at;
        if (!deliver(s, &f, next))
            return n;
    }
    if (!s->dead)
        forward_run(s, run, at);
    return s->dead ? n : (size_t)(at - p);
}

/* What comes is kept as it is: its turn has not come, or ReadyForQuery waits for a cancel request. */
static bool is_held(const struct server *s)
{
    return server_holds(s) || (s->ready_held && s->cancel);
}

static void process_read(struct server *s, const uint8_t *p, size_t n)
{
    if (buf_len(&s->in) == 0) {
        size_t used = walk(s, p, n);
        if (!s->dead && used < n)
            buf_append(&s->in, p + used, n - used);
        return;
    }
    buf_append(&s->in, p, n);
    if (is_held(s))
        return;
    if (buf_len(&s->in) >= FRAME_HEADER_BYTES) {
        const uint8_t *head = buf_head(&s->in);
        uint32_t len = load_u32(head + 1);
        uint8_t next = reply_next(s->reply_state, *head);
        bool whole_first = way_of(s, *head) == WAY_DELIVER || next == REPLY_END; /* as walk() has it */
        if (buf_len(&s->in) < (size_t)len + 1 && reply_length_fits(*head, len) && next != REPLY_VIOLATION &&
            whole_first && len < s->longest)
            return; /* a large message in the making: do not walk it once a read */
    }
    /* The callbacks may destroy the server, and the buffer with it: walk bytes of our own. */
    struct buf in = s->in;
    buf_init(&s->in);
    size_t used = walk(s, buf_head(&in), buf_len(&in));
    if (!s->dead && used < buf_len(&in)) {
        buf_consume(&in, used);
        buf_append(&s->in, buf_head(&in), buf_len(&in));
    }
    buf_free(&in);
}

static void end_read(struct server *s)
{
    if (s->dead)
        return;
    server_check(s);
    if (buf_len(&s->in) >= HOLD_BYTES && is_held(s))
        stream_set_reading(s->stream, false);
    if (s->ops && s->ops->end_of_read)
        s->ops->end_of_read(s->owner, s);
}

void server_go_on(struct server *s)
{
    if (s->dead)
        return;
    stream_set_reading(s->stream, true);
    if (buf_len(&s->in))
        process_read(s, NULL, 0);
}

void server_pass(struct server *s)
{
    assert(server_holds(s));
    ring_pop(s);
    server_go_on(s);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void cancel_done(void *arg, bool through)
{
    struct server *s = arg;
    s->cancel = NULL;
    if (!through)
        s->cancel_lost = true;
    if (s->dead)
        return;
    bool again =
        s->cancel_again && (!s->ready_held || s->ring_count > 1); /* something runs, behind what was hit */
    s->cancel_again = false;
    if (again)
        server_cancel(s);
    if (s->cancel || s->dead || !s->ready_held)
        return; /* what is held waits for the other request, if that could be sent */
    s->ready_held = false;
    stream_set_reading(s->stream, true);
    process_read(s, NULL, 0);
    end_read(s);
}

void server_cancel(struct server *s)
{
    if (s->dead || s->ring_count == 0)
        return;
    (void)stream_flush(s->stream); /* a request that overtook what it is meant for would hit nothing */
    if (s->cancel)
        s->cancel_again = true;
    else
        s->cancel = cancel_send(s->cancels, s->conn, cancel_done, s);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void server_received(void *arg, const uint8_t *bytes, size_t n)
{
    struct server *s = arg;
    if (s->dead)
        return;
    s->heard++;
    process_read(s, bytes, n);
    end_read(s);
}

static void server_ended(void *arg, const struct error *why)
{
    struct server *s = arg;
    struct error e;
    if (s->dead)
        return;
    if (!why) {
        error_set(&e, SQLSTATE_CONNECTION_FAILURE, "shard \"%s\" closed the connection", server_shard(s));
        why = &e;
    }
    server_lose(s, why);
}
