/* Streams over plain sockets: one system call an operation. */
#include "stream_private.h"
#include "syscalls.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static enum io read_plain(struct stream *s, void *buf, size_t cap, size_t *n_r, struct error *error_r);

/* Apart, as below: what seldom happens needs registers that the usual case would have to save. */
static __attribute__((noinline, cold)) enum io nothing_read(struct stream *s, void *buf, size_t cap,
                                                            ssize_t n, size_t *n_r, struct error *error_r)
{
    if (n == 0)
        return IO_EOF;
    if (errno == EINTR)
        return read_plain(s, buf, cap, n_r, error_r);
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return IO_AGAIN;
    (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "could not receive data: %s", strerror(errno));
    return IO_ERROR;
}

static enum io read_plain(struct stream *s, void *buf, size_t cap, size_t *n_r, struct error *error_r)
{
    ssize_t n = plain_recv(s->source.fd, buf, cap);
    if (n <= 0)
        return nothing_read(s, buf, cap, n, n_r, error_r);
    *n_r = (size_t)n;
    return IO_OK;
}

/* n bytes were sent, which is not all. */
static __attribute__((noinline, cold)) enum io not_all_sent(struct stream *s, ssize_t n, size_t *sent_r,
                                                            struct error *error_r)
{
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        (void)error_set(error_r, SQLSTATE_CONNECTION_FAILURE, "could not send data: %s", strerror(errno));
        return IO_ERROR;
    }
    *sent_r = n < 0 ? 0 : (size_t)n;
    s->send_waits = WAIT_WRITABLE;
    return IO_AGAIN;
}

static __attribute__((noinline)) enum io send_two(struct stream *s, const struct slice parts[2],
                                                  size_t *sent_r, struct error *error_r)
{
    struct iovec iov[2];
    for (int i = 0; i < 2; i++)
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)parts[i].data, .iov_len = parts[i].len};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t n;
    do
        n = sendmsg(s->source.fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 || (size_t)n != parts[0].len + parts[1].len)
        return not_all_sent(s, n, sent_r, error_r);
    *sent_r = (size_t)n;
    return IO_OK;
}

static enum io send_plain(struct stream *s, const struct slice *parts, int n_parts, size_t *sent_r,
                          struct error *error_r)
{
    if (n_parts == 2)
        return send_two(s, parts, sent_r, error_r);
    ssize_t n;
    do
        n = plain_send(s->source.fd, parts->data, parts->len, MSG_NOSIGNAL);
    while (__builtin_expect(n < 0, 0) && errno == EINTR);
    if (n < 0 || (size_t)n != parts->len)
        return not_all_sent(s, n, sent_r, error_r);
    *sent_r = (size_t)n;
    return IO_OK;
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
