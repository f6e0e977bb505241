/*
 * Completions made of readiness: when a socket is ready, it is received from, sent to, or accepted from, and the owner hears of
 * the result. One system call each.
 *
 * Registration. A channel is waited for to become readable from the first receive() on; in the steady state nothing is
 * registered or taken off. Taking receiving off is lazy: that goes when bytes come that nobody wants. A channel is waited for
 * to become writable only while a send() is under way.
 *
 * Accepting goes on until the queue is empty, but not beyond ACCEPTS_A_TURN, so that a flood of connections leaves those
 * that are there their turn.
 */
#include "readiness.h"

#include "base/arena.h"
#include "base/list.h"
#include "syscalls.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define ACCEPTS_A_TURN 256

/* What is lent: [at, n) of the parts. */
struct transfer {
    struct iovec parts[2];
    int at, n;
};

_Thread_local uint8_t poller_lent[LENT_BYTES];

/* ---- receiving
 * --------------------------------------------------------------------------------------------- */

/* Apart, as others below: what seldom happens needs registers that the usual case would have to save. */
static __attribute__((noinline, cold)) void nothing_received(struct channel *ch, ssize_t n)
{
    struct error why;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    ch->receiving = false;
    if (n < 0)
        (void)error_set(&why, SQLSTATE_CONNECTION_FAILURE, "could not receive data: %s", strerror(errno));
    ch->events->ended(ch, n < 0 ? &why : NULL);
}

static __attribute__((noinline)) uint8_t *ask_for_room(struct channel *ch, size_t *cap)
{
    size_t room = 0;
    uint8_t *to = ch->events->room ? ch->events->room(ch, &room) : NULL;
    if (!to || room == 0)
        return poller_lent;
    *cap = room;
    return to;
}

static inline void take_in(struct poller *p, struct channel *ch)
{
    if (__builtin_expect(!ch->receiving, 0)) {
        (void)source_set(p, &ch->source, ch->source.what & ~WATCH_READ);
        return;
    }
    size_t cap = LENT_BYTES;
    uint8_t *to = __builtin_expect(ch->filled, 0) ? ask_for_room(ch, &cap) : poller_lent;
    ssize_t n = plain_recv(ch->source.fd, to, cap);
    if (__builtin_expect(n <= 0, 0)) {
        nothing_received(ch, n);
        return;
    }
    ch->filled = (size_t)n == cap;
    ch->events->received(ch, to, (size_t)n);
}

/* ---- sending
 * ----------------------------------------------------------------------------------------------- */

static __attribute__((noinline, cold)) enum io not_all_sent(ssize_t n, size_t *sent_r, struct error *error_r)
{
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "could not send data: %s", strerror(errno));
        return IO_ERROR;
    }
    *sent_r = n < 0 ? 0 : (size_t)n;
    return IO_AGAIN;
}

static ssize_t send_vector(int fd, struct iovec *parts, int n_parts)
{
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = (size_t)n_parts};
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

static struct iovec iovec_of(struct slice s)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)s.data, .iov_len = s.len};
}

static __attribute__((noinline)) enum io send_two(int fd, const struct slice parts[2], size_t *sent_r,
                                                  struct error *error_r)
{
    struct iovec both[2] = {iovec_of(parts[0]), iovec_of(parts[1])};
    ssize_t n = send_vector(fd, both, 2);
    if (n < 0 || (size_t)n != parts[0].len + parts[1].len)
        return not_all_sent(n, sent_r, error_r);
    *sent_r = (size_t)n;
    return IO_OK;
}

enum io readiness_send_now(struct poller *p, struct channel *ch, const struct slice *parts, int n_parts,
                           size_t *sent_r, struct error *error_r)
{
    (void)p;
    if (n_parts == 2)
        return send_two(ch->source.fd, parts, sent_r, error_r);
    ssize_t n;
    do
        n = plain_send(ch->source.fd, parts->data, parts->len, MSG_NOSIGNAL);
    while (__builtin_expect(n < 0, 0) && errno == EINTR);
    if (n < 0 || (size_t)n != parts->len)
        return not_all_sent(n, sent_r, error_r);
    *sent_r = (size_t)n;
    return IO_OK;
}

/* Takes n bytes off the parts; returns how many are left. */
static size_t advance(struct transfer *t, size_t n)
{
    size_t left = 0;
    for (int i = t->at; i < t->n; i++) {
        struct iovec *part = &t->parts[i];
        size_t of_part = n < part->iov_len ? n : part->iov_len;
        part->iov_base = (uint8_t *)part->iov_base + of_part;
        part->iov_len -= of_part;
        n -= of_part;
        left += part->iov_len;
        if (part->iov_len == 0)
            t->at = i + 1;
    }
    return left;
}

static void end_transfer(struct channel *ch)
{
    free(ch->transfer);
    ch->transfer = NULL;
}

/* False: the channel has been released. */
static __attribute__((noinline)) bool continue_sending(struct poller *p, struct channel *ch)
{
    struct transfer *t = ch->transfer;
    size_t n = 0, left = 1;
    struct error why;
    if (t) {
        ssize_t sent = send_vector(ch->source.fd, t->parts + t->at, t->n - t->at);
        if (sent < 0 && not_all_sent(sent, &n, &why) == IO_ERROR) {
            ch->events->broken(ch, &why);
            return false;
        }
        n = sent < 0 ? 0 : (size_t)sent;
        left = advance(t, n);
        if (left == 0)
            end_transfer(ch);
        if (n > 0 && !ch->events->sent(ch, n, left))
            return false;
    }
    if (!ch->transfer)
        (void)source_set(p, &ch->source, ch->source.what & ~WATCH_WRITE);
    return true;
}

static void channel_ready(struct poller *p, struct source *source, int what)
{
    struct channel *ch = list_entry(source, struct channel, source);
    if (__builtin_expect(what & WATCH_WRITE, 0) && !continue_sending(p, ch))
        return;
    if (what & WATCH_READ)
        take_in(p, ch);
}

/* ---- channels
 * ---------------------------------------------------------------------------------------------- */

bool readiness_receive(struct poller *p, struct channel *ch, bool on)
{
    ch->source.ready = channel_ready;
    if (on && !source_set(p, &ch->source, ch->source.what | WATCH_READ))
        return false;
    ch->receiving = on;
    return true;
}

bool readiness_send(struct poller *p, struct channel *ch, const struct slice *parts, int n_parts)
{
    ch->source.ready = channel_ready;
    if (!source_set(p, &ch->source, ch->source.what | WATCH_WRITE))
        return false;
    struct transfer *t = xmalloc(sizeof(*t));
    t->at = 0;
    t->n = n_parts;
    for (int i = 0; i < n_parts; i++)
        t->parts[i] = iovec_of(parts[i]);
    ch->transfer = t;
    return true;
}

void readiness_release(struct poller *p, struct channel *ch)
{
    (void)source_set(p, &ch->source, 0);
    ch->receiving = false;
    end_transfer(ch);
}

/* ---- intakes
 * ----------------------------------------------------------------------------------------------- */

static void intake_ready(struct poller *p, struct source *source, int what)
{
    (void)p;
    (void)what;
    struct intake *in = list_entry(source, struct intake, source);
    for (int i = 0; i < ACCEPTS_A_TURN && source->what; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        int fd = accept4(source->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            in->accepted(in, fd, &from); /* it may go away; then it waits for nothing */
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        else
            in->failed(in, errno);
    }
}

bool readiness_accept(struct poller *p, struct intake *in, bool on)
{
    in->source.ready = intake_ready;
    return source_set(p, &in->source, on ? WATCH_READ | WATCH_EXCLUSIVE : 0);
}
