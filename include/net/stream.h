/*
 * A connected non-blocking socket, plain or TLS, with an output queue.
 *
 *   stream_read()     at most one recv (plain) per call
 *   stream_write()    queues a copy, which is sent at the end of the turn, together with all that is written until then
 *   stream_flush()    at most one send per call for what is queued; what the kernel does not take stays
 * queued, and goes out when the socket is writable, then drained() is called once the queue is empty
 *   stream_forward()  as write + flush, but without a copy of what the kernel takes at once
 *
 * Reading is wanted at creation; stream_set_reading(false) stops readable() (back-pressure) and costs a
 * system call only when it changes something. The read and write callbacks may destroy the stream they are
 * called for. Output memory is held only while something is queued. A failed send makes every later flush and
 * forward return IO_ERROR, stops readable(), and reports failed() once, from the loop, never from inside a
 * call that the owner made. In failed() the owner may still stream_read() the last words of the peer, if any
 * came.
 *
 * Not responsible for: message framing, timeouts, who owns the bytes that were read.
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
    void (*readable)(void *owner); /* something to read, or the end */
    void (*drained)(void *owner);  /* the output queue became empty after it was not */
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

/* IO_OK: *n_r > 0 bytes. IO_AGAIN: nothing now. IO_EOF: orderly end. IO_ERROR: error_r says why.
   TLS only: when decrypted bytes wait inside the SSL object, for which no readable() would come from the
   socket, the stream itself defers readable() to the end of the turn (of the next one, if it did so in this
   one already). */
enum io stream_read(struct stream *stream, void *buf, size_t cap, size_t *n_r,
                    struct error *error_r) MUST_CHECK;
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
