/*
 * Streams: one non-blocking socket, an output queue, and callbacks to one owner.
 *
 * A plain socket is a channel: the poller receives and sends. With TLS OpenSSL reads and writes the socket itself, so that it is
 * only watched; each of its operations may wait for the opposite direction (send_waits, recv_waits).
 *
 * Registration. Bytes are wanted from the creation on. With TLS, as with plain sockets, taking reading off is lazy: that goes
 * when bytes come that nobody wants. The socket is waited for to become writable only while something waits for it.
 *
 * Callbacks are made from the loop only: by an event, or from deferred work. Any of them may destroy or
 * detach the stream, so after each the stream is touched only if loop_call() says that it is still there.
 *
 * Not responsible for: output (stream_send.c), what the bytes mean.
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

/* ---- what is waited for
 * ------------------------------------------------------------------------------------- */

static bool wants_bytes(const struct stream *s)
{
    return s->reading && s->phase == PHASE_OPEN;
}

static bool tls_wants_read(const struct stream *s)
{
    return (wants_bytes(s) && s->recv_waits == WAIT_NOTHING) || s->send_waits == WAIT_READABLE;
}

static bool tls_wants_write(const struct stream *s)
{
    return s->send_waits == WAIT_WRITABLE || s->recv_waits == WAIT_WRITABLE;
}

/* Readiness to read that is no longer wanted is left to tls_readable(). */
static bool tls_arm(struct stream *s)
{
    struct source *source = &s->channel.source;
    int what = (source->what & WATCH_READ) || tls_wants_read(s) ? WATCH_READ : 0;
    return source_set(s->loop->poller, source, what | (tls_wants_write(s) ? WATCH_WRITE : 0));
}

/* A socket that cannot be waited for is as good as broken: nobody would ever hear of it again. */
void stream_arm(struct stream *s)
{
    struct poller *p = s->loop->poller;
    if (s->phase == PHASE_BROKEN)
        return;
    if (s->ssl ? tls_arm(s) : p->kind->receive(p, &s->channel, wants_bytes(s)))
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

static void leave_poller(struct stream *s)
{
    struct poller *p = s->loop->poller;
    p->kind->release(p, &s->channel);
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
void stream_break(struct stream *s, const struct error *why)
{
    assert(s->phase != PHASE_BROKEN);
    s->phase = PHASE_BROKEN;
    s->reading = false;
    s->send_waits = s->recv_waits = WAIT_NOTHING;
    s->failure = xmalloc(sizeof(*s->failure));
    *s->failure = (struct stream_failure){.why = *why, .report = {.run = report_failure, .arg = s}};
    leave_poller(s);
    stream_drop_queue(s);
    undefer_read(s);
    loop_defer(s->loop, &s->failure->report);
}

static void on_broken(struct channel *ch, const struct error *why)
{
    stream_break(list_entry(ch, struct stream, channel), why);
}

/* ---- receiving
 * --------------------------------------------------------------------------------------------- */

/* As loop_call(), for a callback after which the stream is not touched. */
static inline struct loop *begin_callback(struct stream *s)
{
    assert(!s->loop->current);
    s->loop->current = s;
    return s->loop;
}

static void on_received(struct channel *ch, const uint8_t *bytes, size_t n)
{
    struct stream *s = list_entry(ch, struct stream, channel);
    struct loop *loop = begin_callback(s);
    s->events->received(s->owner, bytes, n);
    loop->current = NULL;
}

static void on_ended(struct channel *ch, const struct error *why)
{
    struct stream *s = list_entry(ch, struct stream, channel);
    struct loop *loop = begin_callback(s);
    s->reading = false;
    s->events->ended(s->owner, why);
    loop->current = NULL;
}

static uint8_t *on_room(struct channel *ch, size_t *cap_r)
{
    struct stream *s = list_entry(ch, struct stream, channel);
    return s->events->room ? s->events->room(s->owner, cap_r) : NULL;
}

static const struct channel_events on_channel = {
    .received = on_received, .ended = on_ended, .sent = stream_sent, .broken = on_broken, .room = on_room};

static void defer_read_if_pending(struct stream *s)
{
    if (s->ssl && wants_bytes(s) && SSL_has_pending(s->ssl))
        loop_defer(s->loop, s->pending_read);
}

void stream_set_reading(struct stream *s, bool on)
{
    if (s->reading == on)
        return;
    s->reading = on;
    if (!s->loop)
        return;
    if (on || !s->ssl)
        stream_arm(s);
    if (on)
        defer_read_if_pending(s);
}

/* ---- TLS
 * --------------------------------------------------------------------------------------------------- */

/* At most one record. Bytes that wait in the SSL object are not announced by the socket again. */
static void tls_receive(struct stream *s)
{
    size_t n = 0;
    struct error why;
    s->recv_waits = WAIT_NOTHING;
    enum io r = tls_read(s, poller_lent, LENT_BYTES, &n, &why);
    if (r == IO_OK)
        defer_read_if_pending(s);
    stream_arm(s);
    if (s->phase == PHASE_BROKEN)
        return;
    switch (r) {
    case IO_OK:
        on_received(&s->channel, poller_lent, n);
        break;
    case IO_AGAIN:
        break;
    case IO_EOF:
        on_ended(&s->channel, NULL);
        break;
    case IO_ERROR:
        on_ended(&s->channel, &why);
        break;
    }
}

void stream_deliver_pending_read(void *arg)
{
    struct stream *s = arg;
    if (wants_bytes(s))
        tls_receive(s);
}

/* False: the stream is gone. */
static bool continue_handshake(struct stream *s)
{
    struct error why;
    switch (tls_continue_handshake(s, &why)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        stream_arm(s);
        return true;
    case IO_EOF:
    case IO_ERROR:
        stream_break(s, &why);
        return true;
    }
    s->phase = PHASE_OPEN;
    stream_arm(s);
    if (s->events->tls_ready && !loop_call(s->loop, s, s->events->tls_ready, s->owner))
        return false;
    if (s->phase != PHASE_OPEN)
        return true;
    defer_read_if_pending(s);
    /* What was written during the handshake; tls_ready() may have flushed it. */
    if (s->send_waits != WAIT_NOTHING || stream_queue_empty(s) || stream_push(s) != IO_OK)
        return true;
    return stream_call_drained(s);
}

/* What sending waited for has come true. False: the stream is gone. */
static bool tls_continue_sending(struct stream *s)
{
    s->send_waits = WAIT_NOTHING;
    if (s->phase == PHASE_HANDSHAKE)
        return continue_handshake(s);
    if (stream_push(s) != IO_OK)
        return true;
    stream_arm(s);
    return stream_call_drained(s);
}

static void tls_readable(struct stream *s)
{
    if (!tls_wants_read(s)) {
        struct source *source = &s->channel.source;
        (void)source_set(s->loop->poller, source, source->what & ~WATCH_READ);
        return;
    }
    if (s->send_waits == WAIT_READABLE) {
        if (!tls_continue_sending(s))
            return;
        /* TLS may have taken the bytes in already; the socket or SSL_has_pending() brings us back for others.
         */
        defer_read_if_pending(s);
        return;
    }
    tls_receive(s);
}

/* False: the stream is gone. */
static bool tls_writable(struct stream *s)
{
    if (s->send_waits == WAIT_WRITABLE && !tls_continue_sending(s))
        return false;
    if (s->recv_waits != WAIT_WRITABLE)
        return true;
    s->recv_waits = WAIT_NOTHING;
    stream_arm(s);
    if (!wants_bytes(s))
        return true;
    tls_receive(s);
    return false; /* it may be */
}

static void tls_ready(struct poller *p, struct source *source, int what)
{
    (void)p;
    struct stream *s = list_entry(list_entry(source, struct channel, source), struct stream, channel);
    if ((what & WATCH_WRITE) && !tls_writable(s))
        return;
    if (what & WATCH_READ)
        tls_readable(s);
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
    leave_poller(s);
    s->channel.source.ready = tls_ready;
    s->phase = PHASE_HANDSHAKE;
    s->send_waits = tls_context_is_client(ctx) ? WAIT_WRITABLE : WAIT_READABLE; /* the client speaks first */
    stream_arm(s);
}

bool stream_is_tls(const struct stream *s)
{
    return s->ssl != NULL;
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
    s->channel = (struct channel){.source.fd = fd, .events = &on_channel};
    s->owns = owns;
    s->phase = PHASE_OPEN;
    s->reading = true;
    buf_init(&s->out);
    set_socket_options(fd, owns);
    if (ssl) {
        tls_take_over(s, ssl);
        s->channel.source.ready = tls_ready;
    }
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
    stream_arm(s);
    defer_read_if_pending(s);
    if (s->failure && !s->failure->reported)
        loop_defer(loop, &s->failure->report);
}

static void leave_loop(struct stream *s)
{
    leave_poller(s);
    if (list_linked(&s->unsent))
        list_remove(&s->loop->unsent, &s->unsent);
    undefer_read(s);
    if (s->failure)
        loop_undefer(s->loop, &s->failure->report);
    stream_drop_queue(s);
    loop_forget(s->loop, s);
}

void stream_detach(struct stream *s)
{
    assert(s->phase != PHASE_HANDSHAKE && stream_queue_empty(s));
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
    if (s->ssl)
        tls_close(s);
    if (s->owns)
        close(s->channel.source.fd);
    if (loop)
        loop_doom(loop, s, free_stream);
    else
        free_stream(s);
}

int stream_fd(const struct stream *s)
{
    return s->channel.source.fd;
}
