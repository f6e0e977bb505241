/*
 * Refusing clients politely and cheaply.
 *
 * PostgreSQL reads the startup packet before it says that there are too many clients; libpq sends an
 * SSLRequest before it, and takes an error in place of its one-byte answer badly. So each one is read up to
 * its startup packet, without ever waiting for it, for at most PATIENCE_US. At most MAX_PENDING are dealt
 * with at a time: beyond that, or when the kernel cannot wait for one more, the error is sent at once and the
 * connection closed, whatever the client has said so far, so that a flood costs a fixed amount of memory.
 *
 * Two kinds are not refused: cancel requests, and clients of the console (an operator must get in when all is
 * full). The latter are only looked at (MSG_PEEK), so that their worker reads what they said.
 */
#include "refuse.h"

#include "base/arena.h"
#include "base/buf.h"
#include "wire/message.h"
#include "wire/startup.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_US ((uint64_t)5 * 1000 * 1000)
#define MAX_PENDING 256

struct refused {
    struct list_node node; /* in the order of arrival, which is that of their deadlines */
    struct refuser *refuser;
    struct loop_watch *watch;
    struct peer_address peer;
    uint64_t until_us;
    int fd;
    struct buf taken; /* a packet that came in parts */
};

struct refuser {
    struct loop *loop;
    const struct refuser_ops *ops;
    void *arg;
    struct list pending;
    struct loop_timer *timer;
};

static void end(struct refused *c, bool close_it)
{
    struct loop *loop = c->refuser->loop;
    list_remove(&c->refuser->pending, &c->node);
    loop_watch_destroy(&c->watch);
    if (close_it)
        close(c->fd);
    buf_free(&c->taken);
    loop_doom(loop, c, NULL);
}

static void send_refusal(int fd)
{
    struct error e;
    struct buf b;
    (void)error_set(&e, SQLSTATE_TOO_MANY_CONNECTIONS, "sorry, too many clients already");
    error_detail(&e, "max_client_conn connections are open.");
    buf_init(&b);
    message_error(&b, &e, true);
    /* A fresh socket takes these few bytes; if not, the client sees its connection closed. */
    ssize_t n = send(fd, buf_head(&b), buf_len(&b), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n;
    buf_free(&b);
}

/* Without a word of theirs. */
static void refuse_at_once(int fd)
{
    send_refusal(fd);
    close(fd);
}

static bool is_console(const struct startup *s)
{
    return s->database && (strcmp(s->database, "pgunison") == 0 || strcmp(s->database, "pgbouncer") == 0);
}

static void consume(int fd, size_t n)
{
    uint8_t sink[STARTUP_MAX_BYTES];
    ssize_t got = recv(fd, sink, n < sizeof sink ? n : sizeof sink, MSG_DONTWAIT);
    (void)got;
}

/* One packet. False: c is gone. */
static bool refuse_packet(struct refused *c, const struct startup *s, bool peeked)
{
    switch (s->kind) {
    case STARTUP_SSL:
    case STARTUP_GSSENC:
        if (send(c->fd, "N", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
            return true;
        break;
    case STARTUP_CANCEL:
        if (peeked)
            consume(c->fd, s->used_bytes);
        c->refuser->ops->cancel(c->refuser->arg, s->cancel_pid, s->cancel_secret);
        break;
    case STARTUP_PACKET:
        if (peeked && is_console(s) && c->refuser->ops->console(c->refuser->arg, c->fd, &c->peer)) {
            end(c, false);
            return false;
        }
        if (peeked)
            consume(c->fd, s->used_bytes); /* closing with unread bytes would reset the connection, and lose
                                              the answer */
        send_refusal(c->fd);
        break;
    case STARTUP_BAD:
    case STARTUP_PARTIAL:
        break;
    }
    end(c, true);
    return false;
}

/* What is there, without the parts that were taken before. The result is false when c is gone. */
static bool look(struct refused *c)
{
    uint8_t bytes[STARTUP_MAX_BYTES];
    struct arena arena;
    struct startup s;
    struct error e;
    bool peeked = buf_len(&c->taken) == 0, again = false;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT | (peeked ? MSG_PEEK : 0));
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (n <= 0) {
        end(c, true);
        return false;
    }
    if (!peeked)
        buf_append(&c->taken, bytes, (size_t)n);
    arena_init(&arena);
    startup_read(peeked ? slice_of(bytes, (size_t)n) : buf_slice(&c->taken), &arena, &s, &e);
    if (s.kind == STARTUP_PARTIAL) {
        if (peeked) {
            buf_append(&c->taken, bytes, (size_t)n);
            consume(c->fd, (size_t)n);
        }
    } else {
        bool request = s.kind == STARTUP_SSL || s.kind == STARTUP_GSSENC;
        if (request && peeked)
            consume(c->fd, s.used_bytes);
        else if (request)
            buf_consume(&c->taken, s.used_bytes);
        again = refuse_packet(c, &s, peeked);
    }
    arena_free(&arena);
    return again;
}

static void readable(void *arg, int what)
{
    (void)what;
    /* SSLRequest, GSSENCRequest, startup packet: no honest client sends more. */
    for (int i = 0; i < 4; i++)
        if (!look(arg))
            return;
    end(arg, true);
}

static void expire(void *arg)
{
    struct refuser *r = arg;
    struct list_node *n;
    uint64_t now = loop_now_us(r->loop);
    while ((n = list_first(&r->pending))) {
        struct refused *c = list_entry(n, struct refused, node);
        if (c->until_us > now) {
            loop_timer_start(r->timer, c->until_us - now);
            return;
        }
        end(c, true);
    }
}

void refuser_add(struct refuser *r, int fd, const struct peer_address *peer)
{
    if (r->pending.count >= MAX_PENDING) {
        refuse_at_once(fd);
        return;
    }
    struct refused *c = xcalloc(1, sizeof *c);
    c->refuser = r;
    c->fd = fd;
    c->peer = *peer;
    c->until_us = loop_now_us(r->loop) + PATIENCE_US;
    buf_init(&c->taken);
    c->watch = loop_watch_create(r->loop, fd, readable, c);
    list_push_back(&r->pending, &c->node);
    if (!loop_watch_set(c->watch, WATCH_READ)) { /* nobody would hear of what it says */
        end(c, false);
        refuse_at_once(fd);
        return;
    }
    if (!loop_timer_pending(r->timer))
        loop_timer_start(r->timer, PATIENCE_US);
}

unsigned refuser_count(const struct refuser *r)
{
    return (unsigned)r->pending.count;
}

struct refuser *refuser_create(struct loop *loop, const struct refuser_ops *ops, void *arg)
{
    struct refuser *r = xcalloc(1, sizeof *r);
    r->loop = loop;
    r->ops = ops;
    r->arg = arg;
    list_init(&r->pending);
    r->timer = loop_timer_create(loop, expire, r);
    return r;
}

void refuser_destroy(struct refuser **rr)
{
    struct refuser *r = *rr;
    if (!r)
        return;
    *rr = NULL;
    struct list_node *n;
    while ((n = list_first(&r->pending)))
        end(list_entry(n, struct refused, node), true);
    loop_timer_destroy(&r->timer);
    loop_doom(r->loop, r, NULL);
}
