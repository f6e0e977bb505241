/* net/stream.h over plain sockets. System calls are counted: the header makes promises about them. */
#include "../../../src/net/stream_private.h"
#include "net_test.h"
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static struct {
    int epoll_ctl, recv, send;
} calls;
static bool no_room; /* in the kernel's interest lists: fs.epoll.max_user_watches */

int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    calls.epoll_ctl++;
    if (no_room && op == EPOLL_CTL_ADD) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, ep, op, fd, ev);
}

/* Receiving and sending go past libc: this test has a readiness.c of its own, the same source, which counts. */
#define plain_recv uncounted_recv
#define plain_send uncounted_send
#include "../../../src/net/syscalls.h"
#undef plain_recv
#undef plain_send

static ssize_t plain_recv(int fd, void *buf, size_t cap)
{
    calls.recv++;
    return uncounted_recv(fd, buf, cap);
}

static ssize_t plain_send(int fd, const void *data, size_t len, int flags)
{
    calls.send++;
    return uncounted_send(fd, data, len, flags);
}
#include "../../../src/net/readiness.c"

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    calls.send++;
    return syscall(SYS_sendmsg, fd, msg, flags);
}

static struct loop *loop;
static int far; /* the other end: a plain non-blocking descriptor */
static struct {
    struct stream *stream;
    int received, drained, behind, failed, ended;
    char got[4096];
    size_t n_got;
    bool destroy_in_received, destroy_in_drained, destroy_in_failed, detach_in_received;
    struct error why; /* of failed() and ended(); no message: an orderly end */
} near;

static void on_near_received(void *owner, const uint8_t *bytes, size_t n)
{
    assert_ptr_equal(owner, &near);
    near.received++;
    assert_in_range(n, 1, sizeof(near.got) - near.n_got);
    memcpy(near.got + near.n_got, bytes, n);
    near.n_got += n;
    if (near.destroy_in_received)
        stream_destroy(&near.stream);
    else if (near.detach_in_received)
        stream_detach(near.stream);
}

static void on_near_ended(void *owner, const struct error *why)
{
    assert_ptr_equal(owner, &near);
    near.ended++;
    near.why = why ? *why : (struct error){0};
}

static void on_drained(void *owner)
{
    (void)owner;
    near.drained++;
    if (near.destroy_in_drained)
        stream_destroy(&near.stream);
}

static void on_behind(void *owner)
{
    (void)owner;
    assert_true(stream_queued(near.stream) > 0);
    near.behind++;
}

static void on_failed(void *owner, const struct error *why)
{
    (void)owner;
    near.failed++;
    near.why = *why;
    if (near.destroy_in_failed)
        stream_destroy(&near.stream);
}

static const struct stream_events events = {.received = on_near_received,
                                            .ended = on_near_ended,
                                            .drained = on_drained,
                                            .behind = on_behind,
                                            .failed = on_failed};

static int setup(void **state)
{
    (void)state;
    memset(&near, 0, sizeof(near));
    loop = loop_create(poller_of_test);
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return -1;
    far = fds[1];
    near.stream = stream_create(loop, fds[0], &events, &near);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stream_destroy(&near.stream);
    if (far >= 0)
        close(far);
    loop_destroy(&loop);
    return 0;
}

static void far_sends(const char *text)
{
    assert_int_equal(write(far, text, strlen(text)), strlen(text));
}

/* What has arrived at the far end, without waiting. */
static size_t far_takes(void *buf, size_t cap)
{
    size_t total = 0;
    while (total < cap) {
        ssize_t n = recv(far, (char *)buf + total, cap - total, MSG_DONTWAIT);
        if (n <= 0)
            break;
        total += (size_t)n;
    }
    return total;
}

static void assert_far_gets(const char *want)
{
    char buf[256];
    size_t n = far_takes(buf, sizeof(buf) - 1);
    buf[n] = '\0';
    assert_string_equal(buf, want);
}

/* Byte i of an endless pattern. */
static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 31 + i / 251);
}

static uint8_t *pattern_bytes(size_t from, size_t n)
{
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = pattern(from + i);
    return p;
}

/* Turns the loop and reads the far end until `n` bytes of the pattern came; then nothing more may be there.
 */
static void far_gets_pattern(size_t n)
{
    uint8_t buf[65536];
    for (size_t at = 0; at < n;) {
        size_t k = far_takes(buf, sizeof(buf));
        for (size_t i = 0; i < k; i++)
            assert_int_equal(buf[i], pattern(at + i));
        at += k;
        run_turns(loop, 1);
    }
    assert_int_equal(far_takes(buf, sizeof(buf)), 0);
}

/* ---- reading ---- */

static void bytes_come_and_then_the_end(void **state)
{
    (void)state;
    run_turns(loop, 2);
    assert_int_equal(near.received, 0);
    far_sends("hello");
    run_turns(loop, 2);
    assert_int_equal(near.n_got, 5);
    assert_memory_equal(near.got, "hello", 5);
    run_turns(loop, 2);
    assert_int_equal(near.received, 1);
    close(far);
    far = -1;
    run_turns(loop, 4);
    assert_int_equal(near.ended, 1);
    assert_string_equal(near.why.message, "");
    stream_set_reading(near.stream, true); /* whoever asks again hears it again */
    run_turns(loop, 4);
    assert_int_equal(near.ended, 2);
    assert_int_equal(near.received, 1);
}

/* Bytes by the megabyte land where the owner says, once it is seen that there are many. */
static struct {
    struct stream *stream;
    uint8_t *memory;
    size_t n, cap, in_place;
} hoard;

static void hoard_received(void *owner, const uint8_t *bytes, size_t n)
{
    (void)owner;
    if (bytes == hoard.memory + hoard.n)
        hoard.in_place += n;
    else
        memcpy(hoard.memory + hoard.n, bytes, n);
    hoard.n += n;
}

static uint8_t *hoard_room(void *owner, size_t *cap_r)
{
    (void)owner;
    *cap_r = hoard.cap - hoard.n < 200000 ? hoard.cap - hoard.n : 200000;
    return hoard.n < 1000000 ? hoard.memory + hoard.n : NULL;
}

static void many_bytes_land_where_there_is_room_for_them(void **state)
{
    (void)state;
    static const struct stream_events hoard_events = {.received = hoard_received,
                                                      .ended = on_near_ended,
                                                      .room = hoard_room,
                                                      .drained = on_drained,
                                                      .failed = on_failed};
    enum { N = 2000000 };
    int fds[2], size = 1 << 20;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    hoard.memory = malloc(N);
    hoard.cap = N;
    hoard.n = hoard.in_place = 0;
    hoard.stream = stream_create(loop, fds[0], &hoard_events, &near);
    uint8_t *data = pattern_bytes(0, N);
    for (size_t sent = 0; hoard.n < N;) {
        ssize_t n = send(fds[1], data + sent, N - sent, MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        run_turns(loop, 1);
    }
    assert_memory_equal(hoard.memory, data, N);
    assert_in_range(hoard.in_place, 1, N / 2 + 200000);
    stream_destroy(&hoard.stream);
    free(hoard.memory);
    free(data);
    close(fds[1]);
}

static void paused_reading_delivers_nothing_until_resumed(void **state)
{
    (void)state;
    stream_set_reading(near.stream, false);
    far_sends("abc");
    run_turns(loop, 4);
    assert_int_equal(near.received, 0);
    stream_set_reading(near.stream, true);
    run_turns(loop, 2);
    assert_int_equal(near.n_got, 3);
}

static void pausing_costs_system_calls_only_if_unwanted_bytes_come(void **state)
{
    (void)state;
    run_turns(loop, 2);
    int before = calls.epoll_ctl;
    for (int i = 0; i < 100; i++) {
        stream_set_reading(near.stream, i % 2);
        run_turns(loop, 1);
    }
    assert_int_equal(calls.epoll_ctl, before);
    stream_set_reading(near.stream, false);
    far_sends("x");
    run_turns(loop, 5);
    stream_set_reading(near.stream, true);
    assert_int_equal(calls.epoll_ctl, before + 2); /* off and on */
}

static void steady_state_is_one_recv_and_one_send(void **state)
{
    (void)state;
    run_turns(loop, 2);
    memset(&calls, 0, sizeof(calls));
    for (int i = 0; i < 50; i++) {
        near.n_got = 0;
        far_sends("question");
        run_turns(loop, 1);
        assert_int_equal(near.n_got, 8);
        stream_write(near.stream, "ans", 3);
        stream_write(near.stream, "wer", 3);
        assert_int_equal(stream_flush(near.stream), IO_OK);
        assert_far_gets("answer");
        assert_int_equal(stream_forward(near.stream, "more", 4), IO_OK);
        assert_far_gets("more");
    }
    assert_int_equal(calls.recv, 50);
    assert_int_equal(calls.send, 100);
    assert_int_equal(calls.epoll_ctl, 0);
    assert_int_equal(loop->n_spare, 1); /* one piece of memory served them all */
}

/* ---- sending ---- */

static void what_is_written_leaves_in_one_send_at_the_end_of_the_turn(void **state)
{
    (void)state;
    stream_write(near.stream, "ab", 2);
    stream_write(near.stream, "c", 1);
    stream_write(near.stream, "", 0);
    assert_far_gets("");
    assert_int_equal(stream_queued(near.stream), 3);
    assert_non_null(near.stream->out.data);
    calls.send = 0;
    run_turns(loop, 1);
    assert_int_equal(calls.send, 1);
    assert_far_gets("abc");
    assert_int_equal(stream_queued(near.stream), 0);
    assert_null(near.stream->out.data); /* memory only while something is queued */
    assert_int_equal(near.drained, 0);  /* nobody had to wait */
    assert_int_equal(near.behind, 0);

    stream_write(near.stream, "now", 3);
    assert_int_equal(stream_flush(near.stream), IO_OK);
    assert_far_gets("now");
    assert_int_equal(stream_flush(near.stream), IO_OK);
    run_turns(loop, 1);
    assert_int_equal(calls.send, 2);
}

/* Written by deferred work of the turn, and before the loop ran at all. */
static void write_late(void *arg)
{
    stream_write(near.stream, arg, strlen(arg));
}

static void writes_of_deferred_work_leave_in_the_same_turn(void **state)
{
    (void)state;
    struct deferred late = {.run = write_late, .arg = "late"};
    loop_defer(loop, &late);
    run_turns(loop, 1);
    assert_far_gets("late");
}

/* Told once in each turn in which more was written. */
static void who_writes_to_a_full_socket_is_told(void **state)
{
    (void)state;
    enum { N = 3000000 };
    uint8_t *data = pattern_bytes(0, N);
    stream_write(near.stream, data, N - 2000);
    run_turns(loop, 1);
    assert_int_equal(near.behind, 1);
    run_turns(loop, 3);
    assert_int_equal(near.behind, 1);
    stream_write(near.stream, data + N - 2000, 1000);
    stream_write(near.stream, data + N - 1000, 1000);
    run_turns(loop, 1);
    assert_int_equal(near.behind, 2);
    far_gets_pattern(N);
    run_turns(loop, 2);
    assert_int_equal(near.behind, 2);
    assert_int_equal(near.drained, 1);
    free(data);

    /* A stream that goes away with something to send is not looked at. */
    stream_write(near.stream, "x", 1);
    stream_destroy(&near.stream);
    run_turns(loop, 1);
}

static void forward_goes_behind_what_was_written(void **state)
{
    (void)state;
    stream_write(near.stream, "first ", 6);
    calls.send = 0;
    assert_int_equal(stream_forward(near.stream, "second", 6), IO_OK);
    assert_int_equal(calls.send, 1);
    assert_far_gets("first second");
    assert_int_equal(stream_forward(near.stream, NULL, 0), IO_OK);
}

static void full_socket_queues_then_drains_in_order(void **state)
{
    (void)state;
    enum { N = 3000000 };
    uint8_t *data = pattern_bytes(0, N);
    stream_write(near.stream, data, 1000);
    assert_int_equal(stream_forward(near.stream, data + 1000, 1000000), IO_AGAIN);
    size_t queued = stream_queued(near.stream);
    assert_in_range(queued, 1, 1001000 - 1);

    /* While the socket is full nobody tries it. */
    calls.send = 0;
    assert_int_equal(stream_forward(near.stream, data + 1001000, 500000), IO_AGAIN);
    stream_write(near.stream, data + 1501000, N - 1501000);
    assert_int_equal(stream_flush(near.stream), IO_AGAIN);
    run_turns(loop, 3);
    assert_int_equal(calls.send, 0);
    assert_int_equal(stream_queued(near.stream), queued + N - 1001000);
    assert_int_equal(near.drained, 0);

    far_gets_pattern(N);
    run_turns(loop, 2);
    assert_int_equal(near.drained, 1);
    assert_int_equal(stream_queued(near.stream), 0);
    assert_null(near.stream->out.data);

    /* The write event is gone: an idle loop makes no turns for it. */
    int before = calls.epoll_ctl;
    assert_int_equal(stream_forward(near.stream, data, 10), IO_OK);
    assert_int_equal(calls.epoll_ctl, before);
    free(data);
}

/* Large bytes of a blob are referred to: order and content stay, memory does not grow, the blob goes when they are
   sent. */
static void bytes_of_a_blob_are_not_copied(void **state)
{
    (void)state;
    enum { N = 3000000, FIRST = 1000, BIG = 2000000 };
    uint8_t *data = pattern_bytes(0, N);
    struct buf in = {.data = data, .end = N, .cap = N};
    struct blob *blob = blob_create(&in);
    stream_write(near.stream, data, FIRST);
    stream_write(near.stream, data + FIRST, BIG);
    stream_write(near.stream, data + FIRST + BIG, 500); /* little, behind it */
    stream_write(near.stream, data + FIRST + BIG + 500, N - FIRST - BIG - 500);
    assert_int_equal(stream_queued(near.stream), N);
    assert_int_equal(stream_flush(near.stream), IO_AGAIN);
    size_t kept = stream_memory(near.stream);
    assert_in_range(kept, blob_share(blob), 2 * blob_share(blob) + 100000);
    blob_unref(&blob); /* the queue has it still */
    far_gets_pattern(N);
    run_turns(loop, 2);
    assert_int_equal(near.drained, 1);
    assert_int_equal(stream_queued(near.stream), 0);
    assert_int_equal(stream_memory(near.stream), 0);
    assert_null(blob_of(data, BIG));
}

static void a_stream_that_goes_lets_its_blobs_go(void **state)
{
    (void)state;
    enum { N = 2000000 };
    uint8_t *data = pattern_bytes(0, N);
    struct buf in = {.data = data, .end = N, .cap = N};
    struct blob *blob = blob_create(&in);
    stream_write(near.stream, data, N);
    assert_int_equal(stream_flush(near.stream), IO_AGAIN);
    stream_write(near.stream, data, N);
    blob_unref(&blob);
    stream_destroy(&near.stream);
    assert_null(blob_of(data, N));
}

static void stream_may_be_destroyed_in_drained(void **state)
{
    (void)state;
    uint8_t *data = pattern_bytes(0, 1000000);
    near.destroy_in_drained = true;
    assert_int_equal(stream_forward(near.stream, data, 1000000), IO_AGAIN);
    free(data);
    far_gets_pattern(1000000);
    run_turns(loop, 2);
    assert_int_equal(near.drained, 1);
    assert_null(near.stream);
}

/* ---- destroying and failing ---- */

static void stream_may_be_destroyed_in_received(void **state)
{
    (void)state;
    near.destroy_in_received = true;
    far_sends("x");
    run_turns(loop, 3);
    assert_int_equal(near.received, 1);
    assert_null(near.stream);
    char c;
    assert_int_equal(read(far, &c, 1), 0);
}

static void failure_is_reported_once_and_from_the_loop(void **state)
{
    (void)state;
    stream_set_reading(near.stream, false);
    close(far);
    far = -1;
    stream_write(near.stream, "x", 1);
    assert_int_equal(stream_flush(near.stream), IO_ERROR);
    assert_int_equal(near.failed, 0);
    assert_int_equal(stream_flush(near.stream), IO_ERROR);
    assert_int_equal(stream_forward(near.stream, "y", 1), IO_ERROR);
    stream_write(near.stream, "z", 1);
    assert_int_equal(stream_queued(near.stream), 0);
    run_turns(loop, 3);
    assert_int_equal(near.failed, 1);
    assert_string_equal(near.why.sqlstate, SQLSTATE_CONNECTION_FAILURE);
    assert_non_null(strstr(near.why.message, "could not send data"));
    assert_int_equal(near.received, 0);
}

static void failure_while_queue_drains_is_reported(void **state)
{
    (void)state;
    near.destroy_in_failed = true;
    stream_set_reading(near.stream, false); /* else the end may be heard of first */
    uint8_t *data = pattern_bytes(0, 1000000);
    assert_int_equal(stream_forward(near.stream, data, 1000000), IO_AGAIN);
    free(data);
    close(far);
    far = -1;
    run_turns(loop, 3);
    assert_int_equal(near.failed, 1);
    assert_int_equal(near.drained, 0);
    assert_null(near.stream);
}

static void destroyed_stream_reports_no_failure(void **state)
{
    (void)state;
    close(far);
    far = -1;
    assert_int_equal(stream_forward(near.stream, "x", 1), IO_ERROR);
    stream_destroy(&near.stream);
    run_turns(loop, 2);
    assert_int_equal(near.failed, 0);
}

static void reset_is_an_end_with_a_reason(void **state)
{
    (void)state;
    assert_int_equal(stream_forward(near.stream, "x", 1), IO_OK);
    close(far); /* with a byte unread */
    far = -1;
    run_turns(loop, 3);
    assert_int_equal(near.ended, 1);
    assert_string_equal(near.why.sqlstate, SQLSTATE_CONNECTION_FAILURE);
    assert_int_equal(near.failed, 0);
}

/* Where the queue's bytes lie is the poller's to know while they are under way: nothing that is written meanwhile moves them. */
static void lent_bytes_stay_where_they_are(void **state)
{
    (void)state;
    enum { N = 3000000, FIRST = 1000000 };
    uint8_t *data = pattern_bytes(0, N);
    assert_int_equal(stream_forward(near.stream, data, FIRST), IO_AGAIN);
    const uint8_t *lies_at = buf_head(&near.stream->out);
    size_t lent = buf_len(&near.stream->out);
    for (size_t at = FIRST; at < N; at += 1000)
        stream_write(near.stream, data + at, 1000);
    run_turns(loop, 2);
    assert_ptr_equal(buf_head(&near.stream->out), lies_at);
    assert_int_equal(buf_len(&near.stream->out), lent);
    far_gets_pattern(N);
    run_turns(loop, 2);
    assert_int_equal(near.drained, 1);
    assert_int_equal(stream_memory(near.stream), 0);
    free(data);
}

static void stop(void *arg)
{
    loop_stop(arg);
}

/* Each turn is one wait. */
static uint64_t waits_in_20_ms(void)
{
    uint64_t before = loop->turn;
    struct loop_timer *t = loop_timer_create(loop, stop, loop);
    loop_timer_start(t, 20000);
    loop_run(loop);
    loop_timer_destroy(&t);
    return loop->turn - before;
}

/* The kernel reports a hang-up whatever it was asked for, again and again. */
static void a_hang_up_that_nobody_reads_does_not_keep_the_loop_busy(void **state)
{
    (void)state;
    stream_set_reading(near.stream, false);
    far_sends("unread");
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    assert_in_range(waits_in_20_ms(), 1, 4);
    uint8_t *data = pattern_bytes(0, 1000000);
    assert_int_equal(stream_forward(near.stream, data, 1000000), IO_AGAIN); /* it waits to become writable */
    free(data);
    assert_in_range(waits_in_20_ms(), 1, 4);
    close(far);
    far = -1;
    assert_in_range(waits_in_20_ms(), 1, 4);
    assert_int_equal(near.failed, 1);
    assert_int_equal(near.received, 0);
}

static void a_descriptor_that_cannot_be_waited_for_is_a_failure(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    no_room = true;
    struct stream *s = stream_create(loop, fds[0], &events, &near);
    no_room = false;
    assert_int_equal(near.failed, 0);
    run_turns(loop, 1);
    assert_int_equal(near.failed, 1);
    assert_non_null(strstr(near.why.message, strerror(ENOSPC)));
    assert_int_equal(stream_forward(s, "x", 1), IO_ERROR);
    stream_destroy(&s);

    stream_set_reading(near.stream, false); /* reading on again finds no room */
    far_sends("x");
    run_turns(loop, 1);
    no_room = true;
    stream_set_reading(near.stream, true);
    no_room = false;
    run_turns(loop, 1);
    assert_int_equal(near.failed, 2);
    assert_int_equal(near.received, 0);
    close(fds[1]);
}

/* ---- owning and moving ---- */

static void adopted_descriptor_survives_its_stream(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct stream *s = stream_adopt(loop, fds[0], NULL, &events, &near);
    assert_false(stream_is_tls(s));
    assert_int_equal(stream_fd(s), fds[0]);
    assert_int_equal(stream_forward(s, "hi", 2), IO_OK);
    stream_destroy(&s);
    run_turns(loop, 2);
    char buf[8];
    assert_int_equal(read(fds[1], buf, sizeof(buf)), 2);
    assert_int_equal(write(fds[0], "x", 1), 1);
    close(fds[0]);
    close(fds[1]);
}

static void *serve_on_other_loop(void *arg)
{
    struct loop *other = arg;
    stream_attach(near.stream, other, &events, &near);
    run_turns(other, 3);
    assert_int_equal(stream_forward(near.stream, "from there", 10), IO_OK);
    stream_detach(near.stream);
    return NULL;
}

static void stream_moves_between_loops(void **state)
{
    (void)state;
    near.detach_in_received = true;
    far_sends("first");
    run_turns(loop, 3);
    assert_int_equal(near.received, 1);
    assert_int_equal(near.n_got, 5);
    near.detach_in_received = false;
    near.n_got = 0;
    far_sends("for the other");
    run_turns(loop, 2);
    assert_int_equal(near.n_got, 0);

    struct loop *other = loop_create(poller_of_test);
    pthread_t t;
    pthread_create(&t, NULL, serve_on_other_loop, other);
    pthread_join(t, NULL);
    assert_int_equal(near.n_got, 13);
    assert_far_gets("from there");
    loop_destroy(&other);

    far_sends("back");
    run_turns(loop, 2);
    assert_int_equal(near.n_got, 13);
    stream_attach(near.stream, loop, &events, &near);
    run_turns(loop, 2);
    assert_int_equal(near.n_got, 17);
}

static void detached_stream_can_be_destroyed(void **state)
{
    (void)state;
    stream_detach(near.stream);
    stream_destroy(&near.stream);
    char c;
    assert_int_equal(read(far, &c, 1), 0);
}

/* Two ends of one loop talk both ways at once under back-pressure: nothing is lost, doubled or reordered. */
static void echo_received(void *owner, const uint8_t *bytes, size_t n)
{
    struct stream **stream = owner;
    if (stream_forward(*stream, bytes, n) == IO_AGAIN)
        stream_set_reading(*stream, false);
}

static void echo_drained(void *owner)
{
    stream_set_reading(*(struct stream **)owner, true);
}

static void echo_under_back_pressure_is_exact_and_bounded(void **state)
{
    (void)state;
    static const struct stream_events echo_events = {
        .received = echo_received, .ended = on_near_ended, .drained = echo_drained, .failed = on_failed};
    enum { N = 4000000 };
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct stream *echo;
    echo = stream_create(loop, fds[0], &echo_events, &echo);
    uint8_t *data = pattern_bytes(0, N);
    uint8_t back[4096];
    size_t sent = 0, received = 0, most_queued = 0;
    while (received < N) {
        if (sent < N) {
            ssize_t n = send(fds[1], data + sent, N - sent, MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
        }
        run_turns(loop, 1);
        if (stream_queued(echo) > most_queued)
            most_queued = stream_queued(echo);
        ssize_t n = recv(fds[1], back, sizeof(back), MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(back[i], pattern(received + (size_t)i));
        received += n > 0 ? (size_t)n : 0;
    }
    assert_in_range(most_queued, 1, LENT_BYTES);
    free(data);
    stream_destroy(&echo);
    close(fds[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(bytes_come_and_then_the_end),
        T(many_bytes_land_where_there_is_room_for_them),
        T(paused_reading_delivers_nothing_until_resumed),
        T(pausing_costs_system_calls_only_if_unwanted_bytes_come),
        T(steady_state_is_one_recv_and_one_send),
        T(what_is_written_leaves_in_one_send_at_the_end_of_the_turn),
        T(writes_of_deferred_work_leave_in_the_same_turn),
        T(who_writes_to_a_full_socket_is_told),
        T(forward_goes_behind_what_was_written),
        T(full_socket_queues_then_drains_in_order),
        T(bytes_of_a_blob_are_not_copied),
        T(a_stream_that_goes_lets_its_blobs_go),
        T(stream_may_be_destroyed_in_drained),
        T(stream_may_be_destroyed_in_received),
        T(failure_is_reported_once_and_from_the_loop),
        T(failure_while_queue_drains_is_reported),
        T(destroyed_stream_reports_no_failure),
        T(lent_bytes_stay_where_they_are),
        T(reset_is_an_end_with_a_reason),
        T(a_hang_up_that_nobody_reads_does_not_keep_the_loop_busy),
        T(a_descriptor_that_cannot_be_waited_for_is_a_failure),
        T(adopted_descriptor_survives_its_stream),
        T(stream_moves_between_loops),
        T(detached_stream_can_be_destroyed),
        T(echo_under_back_pressure_is_exact_and_bounded),
    };
    alarm(120);
    return run_on_each_poller(tests, NULL, NULL);
}
