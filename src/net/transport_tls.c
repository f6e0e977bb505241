/*
 * Streams over TLS. OpenSSL reads and writes the socket itself; each of its operations may have to wait for
 * the opposite direction, which is handed up as send_waits or recv_waits.
 *
 * Rules of OpenSSL that this file keeps:
 *  - A write that could not finish must be repeated with the same bytes. They may have moved
 *    (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER) and others may follow. So an unfinished write's bytes stay at the
 * head of the stream's queue until they are taken, and nothing is sent before them.
 *  - Its error queue belongs to the thread, so it is emptied before each operation that will be asked about.
 */
#include "base/arena.h"
#include "stream_private.h"
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

/* The peer closed the socket without a word. Clients of PostgreSQL do so; framing tells whether something is
 * missing. */
static bool is_bare_eof(int ssl_error)
{
    if (ssl_error == SSL_ERROR_SYSCALL)
        return ERR_peek_error() == 0 && errno == 0;
    return ssl_error == SSL_ERROR_SSL &&
           ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static void set_tls_error(struct error *error_r, const char *what, int ssl_error)
{
    char reason[256];
    int saved_errno = errno;
    if (ssl_error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0)
        (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "%s: %s", what,
                        saved_errno ? strerror(saved_errno) : "the peer closed the connection");
    else
        (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "%s: %s", what,
                        tls_reason(reason, sizeof(reason)));
    ERR_clear_error();
}

enum io tls_read(struct stream *s, void *buf, size_t cap, size_t *n_r, struct error *error_r)
{
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(s->ssl, buf, cap, n_r))
        return IO_OK;
    int e = SSL_get_error(s->ssl, 0);
    switch (e) {
    case SSL_ERROR_WANT_READ:
        return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->recv_waits = WAIT_WRITABLE;
        return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return IO_EOF;
    default:
        if (is_bare_eof(e)) {
            ERR_clear_error();
            return IO_EOF;
        }
        set_tls_error(error_r, "could not receive data over TLS", e);
        return IO_ERROR;
    }
}

/* Sends one part; a record of at most 16 kB goes out with each SSL_write_ex(). */
static enum io send_part(struct stream *s, struct slice part, size_t *sent, struct error *error_r)
{
    for (size_t done = 0; done < part.len;) {
        size_t n;
        ERR_clear_error();
        errno = 0;
        if (SSL_write_ex(s->ssl, part.data + done, part.len - done, &n)) {
            done += n;
            *sent += n;
            continue;
        }
        int e = SSL_get_error(s->ssl, 0);
        switch (e) {
        case SSL_ERROR_WANT_READ:
            s->send_waits = WAIT_READABLE;
            return IO_AGAIN;
        case SSL_ERROR_WANT_WRITE:
            s->send_waits = WAIT_WRITABLE;
            return IO_AGAIN;
        default:
            set_tls_error(error_r, "could not send data over TLS", e);
            return IO_ERROR;
        }
    }
    return IO_OK;
}

enum io tls_send(struct stream *s, const struct slice *parts, int n_parts, size_t *sent_r,
                 struct error *error_r)
{
    *sent_r = 0;
    for (int i = 0; i < n_parts; i++) {
        enum io r = send_part(s, parts[i], sent_r, error_r);
        if (r != IO_OK)
            return r;
    }
    return IO_OK;
}

void tls_close(struct stream *s)
{
    if (!s->owns)
        return;
    if (s->phase == PHASE_OPEN) {
        ERR_clear_error();
        SSL_shutdown(s->ssl); /* one try; nobody waits for the answer */
    }
    SSL_free(s->ssl);
    s->ssl = NULL;
    ERR_clear_error();
}

void tls_take_over(struct stream *s, SSL *ssl)
{
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    s->ssl = ssl;
    s->pending_read = xmalloc(sizeof(*s->pending_read));
    *s->pending_read = (struct deferred){.run = stream_deliver_pending_read, .arg = s};
}

bool tls_begin(struct stream *s, struct tls_context *ctx, struct error *error_r)
{
    ERR_clear_error();
    SSL *ssl = tls_context_new_ssl(ctx);
    if (!ssl || SSL_set_fd(ssl, s->channel.source.fd) != 1) {
        SSL_free(ssl);
        set_tls_error(error_r, "could not start TLS", SSL_ERROR_SSL);
        return false;
    }
    tls_take_over(s, ssl);
    return true;
}

enum io tls_continue_handshake(struct stream *s, struct error *error_r)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(s->ssl);
    if (rc == 1)
        return IO_OK;
    int e = SSL_get_error(s->ssl, rc);
    switch (e) {
    case SSL_ERROR_WANT_READ:
        s->send_waits = WAIT_READABLE;
        return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->send_waits = WAIT_WRITABLE;
        return IO_AGAIN;
    default:
        set_tls_error(error_r, "TLS handshake failed", e);
        return IO_ERROR;
    }
}
