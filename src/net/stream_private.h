/* A stream: its parts, and what its files share. */
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
 *     phase      owner's bytes        received()   what is due
 *     OPEN       flow                 if reading
 *     HANDSHAKE  are queued           no           tls_ready() or failed()
 *     BROKEN     are dropped          no           failed(), once
 */
enum __attribute__((packed)) stream_phase { PHASE_OPEN, PHASE_HANDSHAKE, PHASE_BROKEN };

/* What must happen before an operation can go on. In TLS sending may wait for bytes to read. SENT: the head of the queue
   is lent to the poller. */
enum __attribute__((packed)) wait { WAIT_NOTHING, WAIT_READABLE, WAIT_WRITABLE, WAIT_SENT };

struct stream_failure {
    struct error why;
    bool reported;
    struct deferred report;
};

/* Large bytes in the queue that are referred to, and what was written behind them. Without a blob: no bytes, so that what is
   written while `out` is lent has a place. */
struct stream_part {
    struct stream_part *next;
    struct blob *blob;  /* may be NULL */
    struct slice bytes; /* still to be sent */
    struct buf behind;  /* becomes the stream's `out` when they are */
};

/* There is one for each connection that idles, so that what few need is apart. */
struct stream {
    struct loop *loop; /* NULL between detach and attach */
    const struct stream_events *events;
    void *owner;
    SSL *ssl;               /* NULL: plain */
    struct channel channel; /* with TLS only watched */

    bool owns;    /* the descriptor and ssl */
    bool reading; /* the owner wants received() */
    enum stream_phase phase;
    enum wait send_waits; /* not WAIT_NOTHING: the queue waits, or the handshake does */
    enum wait recv_waits; /* WAIT_WRITABLE or WAIT_NOTHING */

    struct buf out;                 /* owns memory only while it holds bytes */
    struct stream_part *parts;      /* what is queued behind out; NULL most of the time */
    struct list_node unsent;        /* linked in loop->unsent: written to since that was emptied */
    struct stream_failure *failure; /* not NULL <=> BROKEN */
    struct deferred *pending_read;  /* NULL: plain */
};
static_assert(sizeof(struct stream) <= 160, "the stream of an idle client is small");

/* stream.c */
void stream_break(struct stream *s, const struct error *why);
void stream_arm(struct stream *s);
void stream_deliver_pending_read(void *stream); /* what pending_read runs */

/* stream_send.c */
bool stream_queue_empty(const struct stream *s);
void stream_drop_queue(struct stream *s);
/* Sends the queue; what is waited for changes only if not all is taken. */
enum io stream_push(struct stream *s);
bool stream_call_drained(struct stream *s); /* false: the stream is gone */
bool stream_sent(struct channel *ch, size_t n, size_t left);

/* transport_tls.c. IO_AGAIN: send_waits is set. */
bool tls_begin(struct stream *s, struct tls_context *ctx, struct error *error_r);
void tls_take_over(struct stream *s, SSL *ssl); /* sets ssl and pending_read */
enum io tls_continue_handshake(struct stream *s, struct error *error_r);
enum io tls_read(struct stream *s, void *buf, size_t cap, size_t *n_r, struct error *error_r);
/* Sends the parts one after the other. IO_OK: all; IO_AGAIN: *sent_r bytes. */
enum io tls_send(struct stream *s, const struct slice *parts, int n_parts, size_t *sent_r,
                 struct error *error_r);
/* Says goodbye, and frees what it holds. */
void tls_close(struct stream *s);
/* tls.c: OpenSSL's reason for the last failure of this thread, as text. */
const char *tls_reason(char *buf, size_t size);
SSL *tls_context_new_ssl(struct tls_context *ctx); /* its side is set; NULL: OpenSSL failed */
bool tls_context_is_client(const struct tls_context *ctx);

#endif
