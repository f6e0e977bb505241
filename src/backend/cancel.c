/*
 * A cancel request on its way: a connection of its own, 16 bytes, and the server's closing it.
 *
 *     CONNECTING -> SENDING    [begin]      without TLS: the request is queued, and leaves when the socket is connected
 *     CONNECTING -> ASKING     [begin]      the server connection has TLS: SSLRequest is queued instead
 *     ASKING     -> HANDSHAKE  [asked]      the server has said S
 *     HANDSHAKE  -> SENDING    [tls_ready]  the peer is the server connection's: the request is queued
 *     SENDING    -> SENT       [send_request, drained] the kernel has all of it
 *     any        -> ENDED      [request_free] the server closed the connection; it broke; timed out
 *
 * A request that ends before SENT never arrives: a part of it is none. From SENT on it may, until the server has closed
 * the connection.
 *
 * Nothing of the server connection is needed once the request has begun: it may be closed meanwhile.
 *
 * Not responsible for: which request is due, and what waits for it.
 */
#include "cancel.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "conn.h"
#include "net/stream.h"
#include "wire/startup.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum cancel_state {
    CANCEL_CONNECTING,
    CANCEL_ASKING,
    CANCEL_HANDSHAKE,
    CANCEL_SENDING,
    CANCEL_SENT,
    CANCEL_ENDED
};

struct cancels {
    struct loop *loop;
    struct list requests;
};

/* On their way from one loop at once: each takes a descriptor, and clients that leave ask for one each. */
#define MAX_REQUESTS 256

struct cancel_request {
    struct list_node node;
    struct cancels *all;
    enum cancel_state state;
    struct stream *stream;
    struct tls_context *tls; /* NULL: in plain text */
    struct loop_timer *timer;
    char *shard, *name; /* name: whom the certificate must be made out to; NULL: to anybody */
    uint32_t pid, key;
    void (*done)(void *arg, bool through); /* NULL: forgotten */
    void *arg;
};

static void cancel_set_state(struct cancel_request *r, enum cancel_state to)
{
    static const unsigned legal[] = {
        [CANCEL_CONNECTING] = 1u << CANCEL_SENDING | 1u << CANCEL_ASKING | 1u << CANCEL_ENDED,
        [CANCEL_ASKING] = 1u << CANCEL_HANDSHAKE | 1u << CANCEL_ENDED,
        [CANCEL_HANDSHAKE] = 1u << CANCEL_SENDING | 1u << CANCEL_ENDED,
        [CANCEL_SENDING] = 1u << CANCEL_SENT | 1u << CANCEL_ENDED,
        [CANCEL_SENT] = 1u << CANCEL_ENDED,
        [CANCEL_ENDED] = 0,
    };
    assert((legal[r->state] >> to) & 1);
    r->state = to;
}

static void log_failure(const char *shard, uint32_t pid, const char *why)
{
    log_warning("could not cancel what backend %u of shard \"%s\" runs: %s", pid, shard, why);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void request_free(struct cancel_request *r)
{
    cancel_set_state(r, CANCEL_ENDED);
    list_remove(&r->all->requests, &r->node);
    stream_destroy(&r->stream);
    tls_context_destroy(&r->tls);
    loop_timer_destroy(&r->timer);
    free(r->shard);
    free(r->name);
    loop_doom(r->all->loop, r, NULL);
}

static void finish(struct cancel_request *r, bool through)
{
    void (*done)(void *, bool) = r->done;
    void *arg = r->arg;
    request_free(r);
    if (done)
        done(arg, through);
}

/* why NULL: the server has closed the connection. */
static void end(struct cancel_request *r, const char *why)
{
    bool sent = r->state == CANCEL_SENT;
    if (why || !sent)
        log_failure(r->shard, r->pid, why ? why : "the server closed the connection");
    finish(r, !sent || !why);
}

/* --- the way ---------------------------------------------------------------------------------- */

static void send_request(struct cancel_request *r)
{
    struct buf b;
    buf_init(&b);
    startup_cancel_request(&b, r->pid, r->key);
    cancel_set_state(r, CANCEL_SENDING);
    stream_write(r->stream, buf_head(&b), buf_len(&b));
    buf_free(&b);
    if (stream_flush(r->stream) == IO_OK)
        cancel_set_state(r, CANCEL_SENT);
}

static void ask_for_tls(struct cancel_request *r)
{
    struct buf b;
    buf_init(&b);
    startup_ssl_request(&b);
    cancel_set_state(r, CANCEL_ASKING);
    stream_write(r->stream, buf_head(&b), buf_len(&b));
    buf_free(&b);
}

/* One byte and no more has come: bytes behind it could pass for encrypted ones. */
static void asked(struct cancel_request *r, char answer)
{
    if (answer != 'S') {
        end(r, "the server does not take TLS here, as it did for the connection");
        return;
    }
    cancel_set_state(r, CANCEL_HANDSHAKE);
    stream_start_tls(r->stream, r->tls);
}

static void tls_ready(void *arg)
{
    struct cancel_request *r = arg;
    if (r->name && !tls_peer_is_the_same(r->stream, r->tls, r->name))
        end(r, "the server's certificate is another one, and not made out to its host");
    else
        send_request(r);
}

static void received(void *arg, const uint8_t *bytes, size_t n)
{
    struct cancel_request *r = arg;
    if (r->state != CANCEL_ASKING)
        return; /* what it says does not matter, that it ends does */
    if (n == 1)
        asked(r, (char)bytes[0]);
    else
        end(r, "the server said more than whether it takes TLS");
}

static void ended(void *arg, const struct error *why)
{
    end(arg, why ? why->message : NULL);
}

static void failed(void *arg, const struct error *why)
{
    end(arg, why->message);
}

static void drained(void *arg)
{
    struct cancel_request *r = arg;
    if (r->state == CANCEL_SENDING)
        cancel_set_state(r, CANCEL_SENT);
}

static const struct stream_events events = {
    .received = received, .ended = ended, .drained = drained, .failed = failed, .tls_ready = tls_ready};

static void timed_out(void *arg)
{
    end(arg, "it does not answer in time");
}

/* --- the beginning ---------------------------------------------------------------------------- */

/* -1: errno says why. */
static int connect_to(const struct cancel_target *t)
{
    int fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&t->address, t->address_len) == 0 || errno == EINPROGRESS)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static uint64_t longest_us(const struct cancel_target *t)
{
    const uint64_t most = CANCEL_SECONDS * (uint64_t)1000000;
    return t->timeout_us > 0 && t->timeout_us < most ? t->timeout_us : most;
}

static struct cancel_request *begin(struct cancels *c, const struct backend_conn *conn, int fd)
{
    const struct cancel_target *t = backend_conn_cancel_target(conn);
    void *ssl = backend_conn_ssl(conn);
    struct cancel_request *r = xcalloc(1, sizeof *r);
    r->all = c;
    r->state = CANCEL_CONNECTING;
    r->shard = xstrdup(backend_conn_shard(conn));
    r->name = t->name ? xstrdup(t->name) : NULL;
    r->pid = t->pid;
    r->key = t->key;
    r->tls = ssl ? tls_client_context_create(ssl) : NULL;
    r->stream = stream_create(c->loop, fd, &events, r);
    r->timer = loop_timer_create(c->loop, timed_out, r);
    loop_timer_start(r->timer, longest_us(t));
    list_push_back(&c->requests, &r->node);
    if (r->tls)
        ask_for_tls(r);
    else
        send_request(r);
    return r;
}

struct cancel_request *cancel_send(struct cancels *c, const struct backend_conn *conn,
                                   void (*done)(void *arg, bool through), void *arg)
{
    const struct cancel_target *t = backend_conn_cancel_target(conn);
    bool room = c->requests.count < MAX_REQUESTS;
    int fd = room && t->has_key && t->address_len ? connect_to(t) : -1;
    if (fd < 0) {
        log_failure(backend_conn_shard(conn), t->pid,
                    !room             ? "too many others are on their way"
                    : !t->has_key     ? "the server has given no key for it"
                    : !t->address_len ? "the connection is gone"
                                      : strerror(errno));
        return NULL;
    }
    struct cancel_request *r = begin(c, conn, fd);
    r->done = done;
    r->arg = arg;
    return r;
}

void cancel_forget(struct cancel_request **rp)
{
    if (*rp)
        (*rp)->done = NULL;
    *rp = NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

struct cancels *cancels_create(struct loop *loop)
{
    struct cancels *c = xcalloc(1, sizeof *c);
    c->loop = loop;
    list_init(&c->requests);
    return c;
}

void cancels_destroy(struct cancels **cp)
{
    struct cancels *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    while (!list_empty(&c->requests))
        request_free(list_entry(list_first(&c->requests), struct cancel_request, node));
    loop_doom(c->loop, c, NULL);
}
