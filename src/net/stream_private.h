/*
 * A stream and its two transports. Plain sockets and TLS differ in the four functions of struct transport
 * alone.
 */
#ifndef PGUNISON_NET_STREAM_PRIVATE_H
#define PGUNISON_NET_STREAM_PRIVATE_H

#include "base/blob.h"
#include "loop_private.h"
#include "net/stream.h"
#include <assert.h>
#include <openssl/ssl.h>

/*
 *     OPEN -> HANDSHAKE        [stream_start_tls]
 *     HANDSHAKE -> OPEN        [continue_handshake]
 *     OPEN, HANDSHAKE -> BROKEN [stream_break]      final
 *
 *     phase      owner's bytes        readable()   what is due
 *     OPEN       flow                 if reading
 *     HANDSHAKE  are queued           no           tls_ready() or failed()
 *     BROKEN     are dropped          no           failed(), once
 */
enum stream_phase { PHASE_OPEN, PHASE_HANDSHAKE, PHASE_BROKEN };

/* What must come true of the socket before an operation can go on. In TLS sending may wait for bytes to read.
 */
enum wait { WAIT_NOTHING, WAIT_READABLE, WAIT_WRITABLE };

struct transport {
    enum io (*read)(struct stream *s, void *buf, size_t cap, size_t *n_r, struct error *error_r);
    /* Sends the parts one after the other. IO_OK: all; IO_AGAIN: *sent_r bytes, and send_waits is set. */
    enum io (*send)(struct stream *s, const struct slice *parts, int n_parts, size_t *sent_r,
                    struct error *error_r);
    /* Bytes were received that the socket will not announce again. */
    bool (*pending)(const struct stream *s);
    /* Says goodbye as far as the transport has a word for it, and frees what it holds. */
    void (*close)(struct stream *s);
};
extern const struct transport transport_plain, transport_tls;

struct stream_failure {
    struct error why;
    bool reported;
    struct deferred report;
};

/* Large bytes in the queue that are referred to, and what was written behind them. */
struct stream_part {
    struct stream_part *next;
    struct blob *blob;
    struct slice bytes; /* still to be sent */
    struct buf behind;  /* becomes the stream's `out` when they are */
};

/* There is one for each connection that idles, so that what few need is apart. */
struct stream {
    struct loop *loop; /* NULL between detach and attach */
    const struct transport *transport;
    const struct stream_events *events;
    void *owner;
    SSL *ssl; /* NULL: plain */
    struct source source;
    bool owns; /* the descriptor and ssl */

    enum stream_phase phase;
    bool reading;         /* the owner wants readable() */
    enum wait send_waits; /* not WAIT_NOTHING: the queue waits, or the handshake does */
    enum wait recv_waits; /* WAIT_WRITABLE or WAIT_NOTHING */

    struct buf out;                 /* owns memory only while it holds bytes */
    struct stream_part *parts;      /* what is queued behind out; NULL most of the time */
    struct list_node unsent;        /* linked in loop->unsent: written to since that was emptied */
    struct stream_failure *failure; /* not NULL <=> BROKEN */
    struct deferred *pending_read;  /* NULL: plain */
};
static_assert(sizeof(struct stream) <= 160, "the stream of an idle client is small");

/* What pending_read runs. */
void stream_deliver_pending_read(void *stream);

/* TLS (transport_tls.c). IO_AGAIN: send_waits is set. */
bool tls_begin(struct stream *s, struct tls_context *ctx, struct error *error_r);
void tls_take_over(struct stream *s, SSL *ssl); /* sets ssl, pending_read and transport */
enum io tls_continue_handshake(struct stream *s, struct error *error_r);
/* tls.c: OpenSSL's reason for the last failure of this thread, as text. */
const char *tls_reason(char *buf, size_t size);
SSL *tls_context_new_ssl(struct tls_context *ctx); /* its side is set; NULL: OpenSSL failed */
bool tls_context_is_client(const struct tls_context *ctx);

#endif
