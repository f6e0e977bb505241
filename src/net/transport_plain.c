/* Streams over plain sockets: one system call an operation. */
#include "stream_private.h"
#include "syscalls.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static enum io read_plain(struct stream *s, void *buf, size_t cap, size_t *n_r, struct error *error_r)
{
    ssize_t n;
    do
        n = plain_recv(s->source.fd, buf, cap);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *n_r = (size_t)n;
        return IO_OK;
    }
    if (n == 0)
        return IO_EOF;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return IO_AGAIN;
    (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "could not receive data: %s", strerror(errno));
    return IO_ERROR;
}

static enum io send_plain(struct stream *s, const struct slice *parts, int n_parts, size_t *sent_r,
                          struct error *error_r)
{
    struct iovec iov[2];
    size_t total = 0;
    for (int i = 0; i < n_parts; i++) {
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)parts[i].data, .iov_len = parts[i].len};
        total += parts[i].len;
    }
    ssize_t n;
    do {
        if (n_parts == 1) {
            n = plain_send(s->source.fd, parts[0].data, parts[0].len, MSG_NOSIGNAL);
        } else {
            struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n_parts};
            n = sendmsg(s->source.fd, &msg, MSG_NOSIGNAL);
        }
    } while (n < 0 && errno == EINTR);

    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "could not send data: %s", strerror(errno));
        return IO_ERROR;
    }
    *sent_r = n < 0 ? 0 : (size_t)n;
    if (*sent_r == total)
        return IO_OK;
    s->send_waits = WAIT_WRITABLE;
    return IO_AGAIN;
}

static bool pending_plain(const struct stream *s)
{
    (void)s;
    return false;
}

static void close_plain(struct stream *s)
{
    (void)s;
}

const struct transport transport_plain = {
    .read = read_plain, .send = send_plain, .pending = pending_plain, .close = close_plain};
