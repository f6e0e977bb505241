/*
 * A connected non-blocking socket, plain or TLS, with an output queue.
 *
 *   received()        bytes came: at most one recv (plain) or one record (TLS) a turn. They are lent, not given.
 *   stream_write()    queues a copy, which is sent at the end of the turn, together with all that is written until then
 *   stream_flush()    at most one send per call for what is queued; what the kernel does not take stays
 * queued, and goes out when the socket is writable, then drained() is called once the queue is empty
 *   stream_forward()  as write + flush, but without a copy of what the kernel takes at once
 *
 * Reading is wanted at creation; stream_set_reading(false) stops received() (back-pressure) and costs a
 * system call only when bytes come nevertheless. Callbacks may destroy the stream they are
 * called for. Output memory is held only while something is queued. A failed send makes every later flush and
 * forward return IO_ERROR, stops received(), and reports failed() once, from the loop, never from inside a
 * call that the owner made.
 *
 * Not responsible for: message framing, timeouts.
 */
#ifndef PGUNISON_NET_STREAM_H
#define PGUNISON_NET_STREAM_H

#include "base/error.h"
#include "base/slice.h"
#include "net/loop.h"
#include "net/tls.h"

enum io { IO_OK, IO_AGAIN, IO_EOF, IO_ERROR };

struct stream;
struct stream_events {
    /* n > 0 bytes. They lie where room() said, or in memory that others use once this returns. */
    void (*received)(void *owner, const uint8_t *bytes, size_t n);
    /* No more will come. NULL: an orderly end; else why the connection is lost. Reading has been switched off. */
    void (*ended)(void *owner, const struct error *why);
    /* May be NULL. Where the next bytes shall land, so that many of them need not be copied; NULL: anywhere. Asked only if the last
       ones were as many as fit. received() follows at once, or nothing has come. */
    uint8_t *(*room)(void *owner, size_t *cap_r);
    void (*drained)(void *owner); /* the output queue became empty after it was not */
    /* at the end of a turn in which it was written to: not everything could be sent. Must not write. May be NULL */
    void (*behind)(void *owner);
    void (*failed)(void *owner, const struct error *why); /* broken for writing; destroy it */
    void (*tls_ready)(void *owner);                       /* the handshake is done; may be NULL */
};

/* Takes the descriptor over: sets it non-blocking, TCP_NODELAY, and closes it when destroyed. */
struct stream *stream_create(struct loop *loop, int fd, const struct stream_events *events, void *owner);
/* As above for a descriptor and an established SSL* that belong to someone else (a PGconn): neither is closed
   or freed by stream_destroy(). ssl may be NULL. */
struct stream *stream_adopt(struct loop *loop, int fd, void *ssl, const struct stream_events *events,
                            void *owner);
/* Closes at once; queued output is lost unless it was flushed. Safe inside the stream's own callbacks. */
void stream_destroy(struct stream **stream);
/* Hands the stream to another loop: takes it off this one (to be called on the old loop's thread) and puts it
   on the other (to be called on the new loop's thread). Nothing may be queued. */
void stream_detach(struct stream *stream);
void stream_attach(struct stream *stream, struct loop *loop, const struct stream_events *events, void *owner);

/* On the side that ctx is of. tls_ready() follows. */
void stream_start_tls(struct stream *stream, struct tls_context *ctx);
bool stream_is_tls(const struct stream *stream);
int stream_fd(const struct stream *stream);

/* Off takes effect at once, but the system call is made only when bytes come that are not wanted. */
void stream_set_reading(struct stream *stream, bool on);

/* Many bytes that lie in a blob (base/blob.h) are not copied: the queue refers to them. */
void stream_write(struct stream *stream, const void *data, size_t len);
/* IO_OK: all sent; IO_AGAIN: some left; IO_ERROR */
enum io stream_flush(struct stream *stream);
enum io stream_forward(struct stream *stream, const void *data, size_t len); /* same results */
/* bytes not yet taken by the kernel */
size_t stream_queued(const struct stream *stream);
/* what the queue takes; of a blob its share (blob_share) */
size_t stream_memory(const struct stream *stream);
/* those of them that it would not take: drained() follows. Whoever stops until there is room must go by this: what is
   merely queued may leave without any event. */
size_t stream_backlog(const struct stream *stream);

#endif
