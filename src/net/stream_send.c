/*
 * The output of a stream: a queue, and when it is sent.
 *
 *     queue         send_waits      what happens
 *     empty         WAIT_NOTHING    write queues, flush has nothing to do, forward sends at once
 *     bytes         WAIT_NOTHING    written since the last flush: sent at the end of the turn, or by flush and forward
 *     bytes         WAIT_*          the socket was full: everything is queued behind, no send is tried until
 *                                   what waited has been sent; then the queue goes out and drained() follows when it is empty
 *
 * Invariants: out owns memory <=> out holds bytes. WAIT_SENT: out and the bytes of the first part are lent to the poller, and
 * there is a part, so that nothing is written to out. (In HANDSHAKE send_waits may be set with an empty queue.)
 *
 * Large bytes in a blob are referred to. Then the queue is
 *
 *     out -> part: bytes by reference, behind -> part: bytes by reference, behind
 *
 * and what is written goes to the last `behind`.
 *
 * Not responsible for: how many bytes may be queued, how long anything may take.
 */
#include "base/arena.h"
#include "stream_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the queue
 * -------------------------------------------------------------------------------------------- */

static void drop_part(struct stream *s)
{
    struct stream_part *p = s->parts;
    s->parts = p->next;
    blob_unref(&p->blob);
    loop_return_buf(s->loop, &p->behind);
    free(p);
}

void stream_drop_queue(struct stream *s)
{
    while (s->parts)
        drop_part(s);
    loop_return_buf(s->loop, &s->out);
}

bool stream_queue_empty(const struct stream *s)
{
    return buf_len(&s->out) == 0 && !s->parts;
}

static void add_part(struct stream *s, struct blob *blob, struct slice bytes)
{
    struct stream_part *p = xcalloc(1, sizeof(*p)), **at = &s->parts;
    p->blob = blob;
    p->bytes = bytes;
    buf_init(&p->behind);
    while (*at)
        at = &(*at)->next;
    *at = p;
}

/* False: they lie in no blob. */
static __attribute__((noinline)) bool queue_by_reference(struct stream *s, struct slice bytes)
{
    struct blob *blob = blob_of(bytes.data, bytes.len);
    if (!blob)
        return false;
    add_part(s, blob, bytes);
    return true;
}

/* Where bytes that are copied go. */
static __attribute__((noinline)) struct buf *queue_end(struct stream *s)
{
    struct stream_part *p = s->parts;
    while (p && p->next)
        p = p->next;
    return p ? &p->behind : &s->out;
}

static __attribute__((noinline)) void queue_large(struct stream *s, struct slice bytes)
{
    if (bytes.len < BLOB_MIN_BYTES || !queue_by_reference(s, bytes)) {
        struct buf *to = s->parts ? queue_end(s) : &s->out;
        if (!to->data)
            loop_borrow_buf(s->loop, to);
        buf_slice_append(to, bytes);
    }
}

static inline void queue(struct stream *s, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    if (bytes.len >= BLOB_MIN_BYTES || s->parts) {
        queue_large(s, bytes);
    } else {
        if (!s->out.data)
            loop_borrow_buf(s->loop, &s->out);
        buf_slice_append(&s->out, bytes);
    }
    if (!list_linked(&s->unsent))
        list_push_back(&s->loop->unsent, &s->unsent);
}

/* ---- sending
 * ----------------------------------------------------------------------------------------------- */

static inline enum io send_now(struct stream *s, const struct slice *parts, int n_parts, size_t *sent_r,
                               struct error *error_r)
{
    struct poller *p = s->loop->poller;
    if (s->ssl)
        return tls_send(s, parts, n_parts, sent_r, error_r);
    return p->kind->send_now(p, &s->channel, parts, n_parts, sent_r, error_r);
}

/* Not everything could be sent. What is at the head of the queue is lent until it has been; what is written from now on is queued
   behind it. */
static __attribute__((noinline, cold)) enum io wait_to_send(struct stream *s)
{
    if (s->ssl) {
        stream_arm(s);
        return s->phase == PHASE_BROKEN ? IO_ERROR : IO_AGAIN;
    }
    struct poller *p = s->loop->poller;
    struct slice head[2];
    int n = 0;
    if (buf_len(&s->out))
        head[n++] = buf_slice(&s->out);
    if (!s->parts)
        add_part(s, NULL, slice_of(NULL, 0));
    if (s->parts->bytes.len)
        head[n++] = s->parts->bytes;
    if (p->kind->send(p, &s->channel, head, n)) {
        s->send_waits = WAIT_SENT;
        return IO_AGAIN;
    }
    struct error why;
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "could not wait to send data: %s", strerror(errno));
    stream_break(s, &why);
    return IO_ERROR;
}

/* n bytes of out and the first part have been sent. */
static void consume(struct stream *s, size_t n)
{
    size_t queued = buf_len(&s->out), of_out = n < queued ? n : queued;
    if (of_out)
        buf_consume(&s->out, of_out);
    if (buf_len(&s->out) == 0)
        loop_return_buf(s->loop, &s->out);
    struct stream_part *p = s->parts;
    if (p && n > of_out)
        p->bytes = slice_of(p->bytes.data + (n - of_out), p->bytes.len - (n - of_out));
}

/* Sends out and the first part, which then is done: what is behind it is out. IO_AGAIN: to be followed by wait_to_send(). */
static enum io push_part(struct stream *s)
{
    struct stream_part *p = s->parts;
    struct slice both[2];
    int n = 0;
    size_t sent = 0;
    struct error why;
    if (buf_len(&s->out))
        both[n++] = buf_slice(&s->out);
    if (p->bytes.len)
        both[n++] = p->bytes;
    enum io r = n ? send_now(s, both, n, &sent, &why) : IO_OK;
    if (r == IO_ERROR) {
        stream_break(s, &why);
        return IO_ERROR;
    }
    consume(s, sent);
    if (r != IO_OK)
        return r;
    s->out = p->behind;
    buf_init(&p->behind);
    drop_part(s);
    return IO_OK;
}

/* IO_OK: nothing but out is left. Otherwise `more` has been queued. */
static __attribute__((noinline)) enum io push_parts(struct stream *s, struct slice more)
{
    while (s->parts) {
        enum io stopped = push_part(s);
        if (stopped == IO_OK)
            continue;
        if (stopped == IO_AGAIN) {
            queue(s, more);
            return wait_to_send(s);
        }
        return stopped;
    }
    return IO_OK;
}

/* Sends the queue and, behind it, `more`, whose rest is queued. What is waited for changes only if not all is taken. */
static __attribute__((noinline)) enum io push(struct stream *s, struct slice more)
{
    if (s->parts) {
        enum io r = push_parts(s, more);
        if (r != IO_OK)
            return r;
    }
    struct slice parts[2];
    int n_parts = 0;
    size_t queued = buf_len(&s->out);
    if (queued)
        parts[n_parts++] = buf_slice(&s->out);
    if (more.len)
        parts[n_parts++] = more;
    if (n_parts == 0)
        return IO_OK;

    size_t sent = 0;
    struct error why;
    enum io r = send_now(s, parts, n_parts, &sent, &why);
    if (r == IO_ERROR) {
        stream_break(s, &why);
        return IO_ERROR;
    }
    if (queued)
        buf_consume(&s->out, sent < queued ? sent : queued);
    size_t of_more = sent > queued ? sent - queued : 0;
    queue(s, slice_of(more.data ? more.data + of_more : NULL, more.len - of_more));
    if (buf_len(&s->out) == 0)
        loop_return_buf(s->loop, &s->out);
    return r == IO_OK ? IO_OK : wait_to_send(s);
}

enum io stream_push(struct stream *s)
{
    return push(s, slice_of(NULL, 0));
}

static __attribute__((noinline, cold)) enum io push_stopped(struct stream *s, enum io r, size_t sent,
                                                            const struct error *why)
{
    if (r == IO_ERROR) {
        stream_break(s, why);
        return IO_ERROR;
    }
    buf_consume(&s->out, sent);
    return wait_to_send(s);
}

/* push() of what is most often there: out alone. */
static enum io push_out(struct stream *s)
{
    struct slice bytes = buf_slice(&s->out);
    struct error why;
    size_t sent = 0;
    enum io r = send_now(s, &bytes, 1, &sent, &why);
    if (__builtin_expect(r != IO_OK, 0))
        return push_stopped(s, r, sent, &why);
    loop_return_buf(s->loop, &s->out);
    return IO_OK;
}

static void call_drained(void *arg)
{
    struct stream *s = arg;
    s->events->drained(s->owner);
}

bool stream_call_drained(struct stream *s)
{
    return loop_call(s->loop, s, call_drained, s);
}

bool stream_sent(struct channel *ch, size_t n, size_t left)
{
    struct stream *s = list_entry(ch, struct stream, channel);
    consume(s, n);
    if (left > 0)
        return true;
    s->send_waits = WAIT_NOTHING;
    switch (stream_push(s)) {
    case IO_OK:
        return stream_call_drained(s);
    case IO_AGAIN:
        return true;
    case IO_EOF:
    case IO_ERROR:
        break;
    }
    return false;
}

void stream_write(struct stream *s, const void *data, size_t len)
{
    if (s->phase != PHASE_BROKEN)
        queue(s, slice_of(data, len));
}

enum io stream_flush(struct stream *s)
{
    if (s->phase == PHASE_BROKEN)
        return IO_ERROR;
    if (s->send_waits != WAIT_NOTHING || s->phase == PHASE_HANDSHAKE)
        return stream_queue_empty(s) ? IO_OK : IO_AGAIN;
    if (s->parts)
        return stream_push(s);
    return buf_len(&s->out) == 0 ? IO_OK : push_out(s);
}

enum io stream_forward(struct stream *s, const void *data, size_t len)
{
    if (s->phase == PHASE_BROKEN)
        return IO_ERROR;
    if (s->send_waits != WAIT_NOTHING || s->phase == PHASE_HANDSHAKE) {
        queue(s, slice_of(data, len));
        return stream_queue_empty(s) ? IO_OK : IO_AGAIN;
    }
    if (s->ssl && !stream_queue_empty(s)) { /* one record is cheaper than two */
        queue(s, slice_of(data, len));
        return stream_push(s);
    }
    return push(s, slice_of(data, len));
}

static void call_behind(void *arg)
{
    struct stream *s = arg;
    s->events->behind(s->owner);
}

void streams_send(struct loop *loop)
{
    /* Those that are there now: what is written from now on leaves in the next turn, which comes at once. */
    struct list_node *n;
    for (size_t left = loop->unsent.count; left > 0 && (n = list_pop_front(&loop->unsent)) != NULL; left--) {
        struct stream *s = list_entry(n, struct stream, unsent);
        if (stream_queue_empty(s))
            continue; /* somebody has flushed it */
        if (stream_flush(s) == IO_AGAIN && s->phase == PHASE_OPEN && s->events->behind)
            (void)loop_call(loop, s, call_behind, s);
    }
}

size_t stream_queued(const struct stream *s)
{
    size_t n = buf_len(&s->out);
    for (const struct stream_part *p = s->parts; p; p = p->next)
        n += p->bytes.len + buf_len(&p->behind);
    return n;
}

size_t stream_backlog(const struct stream *s)
{
    return s->send_waits == WAIT_NOTHING ? 0 : stream_queued(s);
}

size_t stream_memory(const struct stream *s)
{
    size_t n = s->out.cap;
    for (const struct stream_part *p = s->parts; p; p = p->next)
        n += sizeof(*p) + (p->blob ? blob_share(p->blob) : 0) + p->behind.cap;
    return n;
}
