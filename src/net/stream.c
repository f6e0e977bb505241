/*
 * Streams: one non-blocking socket, an output queue, and callbacks to one owner.
 *
 * Registration. The socket is waited for to become readable from its creation on; in the steady state no
 * epoll_ctl() is made. Taking reading off is lazy: that goes when bytes come that nobody wants. It is waited for to
 * become writable only while something waits for the socket to take more.
 *
 *     queue (out)   send_waits      what happens
 *     empty         WAIT_NOTHING    write queues, flush has nothing to do, forward sends at once
 *     bytes         WAIT_NOTHING    written since the last flush: sent at the end of the turn, or by flush and forward
 *     bytes         WAIT_*          the socket was full: everything is queued behind, no send is tried until
 * it is ready; then the queue goes out and drained() follows when it is empty
 *
 * Invariant: out owns memory <=> out holds bytes. (In HANDSHAKE send_waits may be set with an empty queue.)
 *
 * Large bytes in a blob are referred to. Then the queue is
 *
 *     out -> part: bytes by reference, behind -> part: bytes by reference, behind
 *
 * and what is written goes to the last `behind`.
 *
 * Callbacks are made from the loop only: by an event, or from deferred work. Any of them may destroy or
 * detach the stream, so after each the stream is touched only if loop_call() says that it is still there.
 *
 * Not responsible for: what the bytes mean, how many may be queued, how long anything may take.
 */
#include "net/stream.h"

#include "base/arena.h"
#include "stream_private.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what the socket is asked to report
 * -------------------------------------------------------------------- */

static bool wants_read_event(const struct stream *s)
{
    return (s->reading && s->recv_waits == WAIT_NOTHING && s->phase == PHASE_OPEN) ||
           s->send_waits == WAIT_READABLE;
}

static bool wants_write_event(const struct stream *s)
{
    return s->send_waits == WAIT_WRITABLE || s->recv_waits == WAIT_WRITABLE;
}

static void stream_break(struct stream *s, const struct error *why);

/* Readiness to read that is no longer wanted is left to on_readable(). A socket that cannot be waited for is as good as
   broken: nobody would ever hear of it again. */
static void arm(struct stream *s)
{
    int what = (s->source.what & WATCH_READ) || wants_read_event(s) ? WATCH_READ : 0;
    if (source_set(s->loop, &s->source, what | (wants_write_event(s) ? WATCH_WRITE : 0)) ||
        s->phase == PHASE_BROKEN)
        return;
    struct error why;
    (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "could not wait for data: %s", strerror(errno));
    stream_break(s, &why);
}

static void undefer_read(struct stream *s)
{
    if (s->pending_read)
        loop_undefer(s->loop, s->pending_read);
}

/* ---- failing
 * ----------------------------------------------------------------------------------------------- */

static void call_failed(void *arg)
{
    struct stream *s = arg;
    s->failure->reported = true;
    s->events->failed(s->owner, &s->failure->why);
}

static void report_failure(void *arg)
{
    struct stream *s = arg;
    (void)loop_call(s->loop, s, call_failed, s);
}

/* Reported at the end of the turn: the owner may be in the middle of a call to us. */
static void drop_part(struct stream *s)
{
    struct stream_part *p = s->parts;
    s->parts = p->next;
    blob_unref(&p->blob);
    loop_return_buf(s->loop, &p->behind);
    free(p);
}

static void drop_queue(struct stream *s)
{
    while (s->parts)
        drop_part(s);
    loop_return_buf(s->loop, &s->out);
}

static void stream_break(struct stream *s, const struct error *why)
{
    assert(s->phase != PHASE_BROKEN);
    s->phase = PHASE_BROKEN;
    s->reading = false;
    s->send_waits = s->recv_waits = WAIT_NOTHING;
    s->failure = xmalloc(sizeof(*s->failure));
    *s->failure = (struct stream_failure){.why = *why, .report = {.run = report_failure, .arg = s}};
    drop_queue(s);
    undefer_read(s);
    arm(s);
    loop_defer(s->loop, &s->failure->report);
}

/* ---- reading
 * ----------------------------------------------------------------------------------------------- */

static bool call_readable(struct stream *s)
{
    return loop_call(s->loop, s, s->events->readable, s->owner);
}

void stream_deliver_pending_read(void *arg)
{
    struct stream *s = arg;
    if (s->reading && s->phase == PHASE_OPEN)
        (void)call_readable(s);
}

static void defer_read_if_pending(struct stream *s)
{
    if (s->ssl && s->reading && s->phase == PHASE_OPEN && s->transport->pending(s))
        loop_defer(s->loop, s->pending_read);
}

enum io stream_read(struct stream *s, void *buf, size_t cap, size_t *n_r, struct error *error_r)
{
    assert(cap > 0); /* recv() of no bytes looks like the end */
    assert(s->phase != PHASE_HANDSHAKE);
    s->recv_waits = WAIT_NOTHING;
    enum io r = s->transport->read(s, buf, cap, n_r, error_r);
    if (s->ssl) {
        if (r == IO_OK)
            defer_read_if_pending(s);
        arm(s);
    }
    return r;
}

void stream_set_reading(struct stream *s, bool on)
{
    if (s->reading == on)
        return;
    s->reading = on;
    if (on && s->loop) {
        arm(s);
        defer_read_if_pending(s);
    }
}

/* ---- sending
 * ----------------------------------------------------------------------------------------------- */

static bool queue_empty(const struct stream *s)
{
    return buf_len(&s->out) == 0 && !s->parts;
}

/* False: they lie in no blob. */
static __attribute__((noinline)) bool queue_by_reference(struct stream *s, struct slice bytes)
{
    struct blob *blob = blob_of(bytes.data, bytes.len);
    if (!blob)
        return false;
    struct stream_part *p = xcalloc(1, sizeof(*p)), **at = &s->parts;
    p->blob = blob;
    p->bytes = bytes;
    buf_init(&p->behind);
    while (*at)
        at = &(*at)->next;
    *at = p;
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

/* Sends out and the first part, which then is done: what is behind it is out. */
static enum io push_part(struct stream *s)
{
    struct stream_part *p = s->parts;
    struct slice both[2];
    int n = 0;
    size_t queued = buf_len(&s->out), sent = 0;
    struct error why;
    if (queued)
        both[n++] = buf_slice(&s->out);
    both[n++] = p->bytes;
    enum io r = s->transport->send(s, both, n, &sent, &why);
    if (r == IO_ERROR) {
        stream_break(s, &why);
        return IO_ERROR;
    }
    if (queued)
        buf_consume(&s->out, sent < queued ? sent : queued);
    if (buf_len(&s->out) == 0)
        loop_return_buf(s->loop, &s->out);
    size_t of_part = sent > queued ? sent - queued : 0;
    p->bytes = slice_of(p->bytes.data + of_part, p->bytes.len - of_part);
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
            arm(s);
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
    enum io r = s->transport->send(s, parts, n_parts, &sent, &why);
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
    if (r != IO_OK)
        arm(s);
    return r;
}

static __attribute__((noinline, cold)) enum io push_stopped(struct stream *s, enum io r, size_t sent,
                                                            const struct error *why)
{
    if (r == IO_ERROR) {
        stream_break(s, why);
    } else {
        buf_consume(&s->out, sent);
        arm(s);
    }
    return r;
}

/* push() of what is most often there: out alone. */
static enum io push_out(struct stream *s)
{
    struct slice bytes = buf_slice(&s->out);
    struct error why;
    size_t sent = 0;
    enum io r = s->transport->send(s, &bytes, 1, &sent, &why);
    if (r != IO_OK)
        return push_stopped(s, r, sent, &why);
    loop_return_buf(s->loop, &s->out);
    return IO_OK;
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
        return queue_empty(s) ? IO_OK : IO_AGAIN;
    if (s->parts)
        return push(s, slice_of(NULL, 0));
    return buf_len(&s->out) == 0 ? IO_OK : push_out(s);
}

enum io stream_forward(struct stream *s, const void *data, size_t len)
{
    if (s->phase == PHASE_BROKEN)
        return IO_ERROR;
    if (s->send_waits != WAIT_NOTHING || s->phase == PHASE_HANDSHAKE) {
        queue(s, slice_of(data, len));
        return queue_empty(s) ? IO_OK : IO_AGAIN;
    }
    if (s->ssl && !queue_empty(s)) { /* one record is cheaper than two */
        queue(s, slice_of(data, len));
        return push(s, slice_of(NULL, 0));
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
        if (queue_empty(s))
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
        n += sizeof(*p) + blob_share(p->blob) + p->behind.cap;
    return n;
}

/* ---- events
 * ------------------------------------------------------------------------------------------------ */

/* False: the stream is gone. */
static bool continue_handshake(struct stream *s)
{
    struct error why;
    switch (tls_continue_handshake(s, &why)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        arm(s);
        return true;
    case IO_EOF:
    case IO_ERROR:
        stream_break(s, &why);
        return true;
    }
    s->phase = PHASE_OPEN;
    arm(s);
    if (s->events->tls_ready && !loop_call(s->loop, s, s->events->tls_ready, s->owner))
        return false;
    if (s->phase != PHASE_OPEN)
        return true;
    defer_read_if_pending(s);
    /* What was written during the handshake; tls_ready() may have flushed it. */
    if (s->send_waits != WAIT_NOTHING || queue_empty(s) || push(s, slice_of(NULL, 0)) != IO_OK)
        return true;
    return loop_call(s->loop, s, s->events->drained, s->owner);
}

/* What sending waited for has come true. False: the stream is gone. */
static bool continue_sending(struct stream *s)
{
    s->send_waits = WAIT_NOTHING;
    if (s->phase == PHASE_HANDSHAKE)
        return continue_handshake(s);
    if (push(s, slice_of(NULL, 0)) != IO_OK)
        return true;
    arm(s);
    return loop_call(s->loop, s, s->events->drained, s->owner);
}

static void on_readable(struct stream *s)
{
    if (!wants_read_event(s)) {
        source_set(s->loop, &s->source, s->source.what & ~WATCH_READ);
        return;
    }
    if (s->send_waits == WAIT_READABLE) {
        if (!continue_sending(s))
            return;
        /* TLS may have taken the bytes in already; the socket or SSL_has_pending() brings us back for others.
         */
        defer_read_if_pending(s);
        return;
    }
    (void)call_readable(s);
}

/* False: the stream is gone. */
static bool on_writable(struct stream *s)
{
    if (s->send_waits == WAIT_WRITABLE && !continue_sending(s))
        return false;
    if (s->recv_waits != WAIT_WRITABLE)
        return true;
    s->recv_waits = WAIT_NOTHING;
    arm(s);
    return !s->reading || s->phase != PHASE_OPEN || call_readable(s);
}

static void on_ready(struct source *source, int what)
{
    struct stream *s = list_entry(source, struct stream, source);
    if ((what & WATCH_WRITE) && !on_writable(s))
        return;
    if (what & WATCH_READ)
        on_readable(s);
}

/* ---- life
 * -------------------------------------------------------------------------------------------------- */

static void set_socket_options(int fd, bool nodelay)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    int on = 1;
    if (nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                   sizeof(on)); /* fails on Unix sockets, which need none */
}

static struct stream *create(struct loop *loop, int fd, SSL *ssl, bool owns,
                             const struct stream_events *events, void *owner)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->transport = &transport_plain;
    s->source = (struct source){.fd = fd, .ready = on_ready};
    s->owns = owns;
    s->phase = PHASE_OPEN;
    s->reading = true;
    buf_init(&s->out);
    set_socket_options(fd, owns);
    if (ssl)
        tls_take_over(s, ssl);
    stream_attach(s, loop, events, owner);
    return s;
}

struct stream *stream_create(struct loop *loop, int fd, const struct stream_events *events, void *owner)
{
    return create(loop, fd, NULL, true, events, owner);
}

struct stream *stream_adopt(struct loop *loop, int fd, void *ssl, const struct stream_events *events,
                            void *owner)
{
    return create(loop, fd, ssl, false, events, owner);
}

void stream_attach(struct stream *s, struct loop *loop, const struct stream_events *events, void *owner)
{
    assert(!s->loop);
    s->loop = loop;
    s->events = events;
    s->owner = owner;
    /* A turn of the old loop means nothing here. */
    if (s->pending_read)
        s->pending_read->ran_in_turn = 0;
    if (s->failure)
        s->failure->report.ran_in_turn = 0;
    arm(s);
    defer_read_if_pending(s);
    if (s->failure && !s->failure->reported)
        loop_defer(loop, &s->failure->report);
}

static void leave_loop(struct stream *s)
{
    source_set(s->loop, &s->source, 0);
    if (list_linked(&s->unsent))
        list_remove(&s->loop->unsent, &s->unsent);
    undefer_read(s);
    if (s->failure)
        loop_undefer(s->loop, &s->failure->report);
    drop_queue(s);
    loop_forget(s->loop, s);
}

void stream_detach(struct stream *s)
{
    assert(s->phase != PHASE_HANDSHAKE && queue_empty(s));
    leave_loop(s);
    s->loop = NULL;
}

static void free_stream(void *arg)
{
    struct stream *s = arg;
    free(s->failure);
    free(s->pending_read);
    free(s);
}

void stream_destroy(struct stream **stream)
{
    struct stream *s = *stream;
    if (!s)
        return;
    *stream = NULL;
    struct loop *loop = s->loop;
    if (loop)
        leave_loop(s);
    s->transport->close(s);
    if (s->owns)
        close(s->source.fd);
    if (loop)
        loop_doom(loop, s, free_stream);
    else
        free_stream(s);
}

void stream_start_tls(struct stream *s, struct tls_context *ctx)
{
    assert(s->phase == PHASE_OPEN && !s->ssl);
    struct error why;
    if (stream_flush(s) != IO_OK) {
        if (s->phase == PHASE_BROKEN)
            return;
        (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "could not start TLS: the peer takes no data");
        stream_break(s, &why);
        return;
    }
    if (!tls_begin(s, ctx, &why)) {
        stream_break(s, &why);
        return;
    }
    s->phase = PHASE_HANDSHAKE;
    s->send_waits = tls_context_is_client(ctx) ? WAIT_WRITABLE : WAIT_READABLE; /* the client speaks first */
    arm(s);
}

bool stream_is_tls(const struct stream *s)
{
    return s->ssl != NULL;
}

int stream_fd(const struct stream *s)
{
    return s->source.fd;
}
