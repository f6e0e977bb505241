/* Clients above max_client_conn. */
#include "../../../src/app/refuse.h"
#include "../loop_of_test.h"
#include "base/buf.h"
#include "wire/message.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct loop *loop;
static struct refuser *refuser;
static int console_fd;
static bool console_taken;
static uint32_t cancel_pid, cancel_secret;

static void cancel(void *arg, uint32_t pid, uint32_t secret)
{
    (void)arg;
    cancel_pid = pid;
    cancel_secret = secret;
}

static bool console(void *arg, int fd, const struct peer_address *peer)
{
    (void)arg;
    (void)peer;
    console_fd = fd;
    return console_taken;
}

static const struct refuser_ops ops = {.cancel = cancel, .console = console};

static int setup(void **state)
{
    (void)state;
    loop = worker_loop_create();
    refuser = refuser_create(loop, &ops, NULL);
    console_fd = -1;
    console_taken = false;
    cancel_pid = cancel_secret = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    refuser_destroy(&refuser);
    loop_destroy(&loop);
    return 0;
}

/* The client's end; the other one is the refuser's. */
static int connect_client(void)
{
    int fds[2];
    struct peer_address peer = {.host = "unix", .is_unix = true};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    refuser_add(refuser, fds[1], &peer);
    return fds[0];
}

static void turn_over(void *arg)
{
    loop_stop(arg);
}

/* Two turns at least: what is readable now is dealt with in the first. */
static void turn(void)
{
    struct loop_timer *t = loop_timer_create(loop, turn_over, loop);
    loop_timer_start(t, 1000);
    loop_run(loop);
    loop_timer_destroy(&t);
}

static void put(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

static size_t startup(uint8_t packet[128], const char *database)
{
    struct buf b;
    buf_init(&b);
    buf_u32(&b, 0);
    buf_u32(&b, 196608);
    buf_cstr(&b, "user");
    buf_cstr(&b, "joe");
    buf_cstr(&b, "database");
    buf_cstr(&b, database);
    buf_u8(&b, 0);
    buf_put_u32(&b, 0, (uint32_t)buf_len(&b));
    size_t len = buf_len(&b);
    memcpy(packet, buf_head(&b), len);
    buf_free(&b);
    return len;
}

static void expect_refusal(int fd)
{
    uint8_t bytes[1024];
    struct frame f = {0};
    struct error e, bad;
    size_t need;
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    assert_true(n > 0);
    assert_int_equal(frame_next(slice_of(bytes, (size_t)n), 4096, &f, &need), FRAME_OK);
    assert_int_equal(f.type, 'E');
    assert_int_equal(message_read_error(&f, &e, &bad), STATUS_OK);
    assert_string_equal(e.sqlstate, "53300");
    assert_string_equal(e.message, "sorry, too many clients already");
    assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), 0);
}

static const uint8_t ssl_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
static const uint8_t gss_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30};

static void a_startup_packet_is_answered_and_the_connection_closed(void **state)
{
    (void)state;
    uint8_t packet[128];
    int fd = connect_client();
    turn();
    assert_int_equal(refuser_count(refuser), 1); /* nothing was said yet */
    put(fd, packet, startup(packet, "shop"));
    turn();
    expect_refusal(fd);
    assert_int_equal(refuser_count(refuser), 0);
    close(fd);
}

static void requests_for_encryption_are_declined_first(void **state)
{
    (void)state;
    uint8_t packet[128], answer;
    int fd = connect_client();
    put(fd, ssl_request, sizeof ssl_request);
    turn();
    assert_int_equal(recv(fd, &answer, 1, MSG_DONTWAIT), 1);
    assert_int_equal(answer, 'N');
    put(fd, gss_request, sizeof gss_request);
    turn();
    assert_int_equal(recv(fd, &answer, 1, MSG_DONTWAIT), 1);
    assert_int_equal(answer, 'N');
    put(fd, packet, startup(packet, "shop"));
    turn();
    expect_refusal(fd);
    close(fd);
}

static void a_packet_in_parts_is_put_together(void **state)
{
    (void)state;
    uint8_t packet[128], answer;
    size_t len = startup(packet, "pgunison");
    console_taken = true;
    int fd = connect_client();
    put(fd, ssl_request, 3);
    turn();
    put(fd, ssl_request + 3, 5);
    turn();
    assert_int_equal(recv(fd, &answer, 1, MSG_DONTWAIT), 1);
    for (size_t i = 0; i < len; i++) {
        put(fd, packet + i, 1);
        turn();
    }
    expect_refusal(fd); /* what was taken cannot be handed over */
    assert_int_equal(console_fd, -1);
    close(fd);
}

static void the_console_gets_its_packet_unread(void **state)
{
    (void)state;
    uint8_t packet[128], got[128], answer;
    size_t len = startup(packet, "pgunison");
    console_taken = true;
    int fd = connect_client();
    put(fd, ssl_request, sizeof ssl_request);
    turn();
    assert_int_equal(recv(fd, &answer, 1, MSG_DONTWAIT), 1);
    put(fd, packet, len);
    turn();
    assert_true(console_fd >= 0);
    assert_int_equal(refuser_count(refuser), 0);
    assert_int_equal(recv(console_fd, got, sizeof got, MSG_DONTWAIT), len);
    assert_memory_equal(got, packet, len);
    close(console_fd);
    close(fd);
}

static void the_console_is_refused_when_there_is_no_place_for_it_either(void **state)
{
    (void)state;
    uint8_t packet[128];
    int fd = connect_client();
    put(fd, packet, startup(packet, "pgbouncer"));
    turn();
    expect_refusal(fd);
    close(fd);
}

static void cancel_requests_pass(void **state)
{
    (void)state;
    static const uint8_t request[16] = {0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 1, 2, 3, 4, 5, 6};
    uint8_t byte;
    int fd = connect_client();
    put(fd, request, sizeof request);
    turn();
    assert_int_equal(cancel_pid, 0x0102);
    assert_int_equal(cancel_secret, 0x03040506);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    close(fd);
}

static void rubbish_and_silence_end(void **state)
{
    (void)state;
    uint8_t byte;
    int a = connect_client(), b = connect_client();
    put(a, "GET / HTTP/1.1\r\n\r\n", 18);
    close(b);
    turn();
    assert_int_equal(refuser_count(refuser), 0);
    ssize_t n = recv(a, &byte, 1, MSG_DONTWAIT);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(a);
}

static void a_flood_is_answered_at_once(void **state)
{
    (void)state;
    enum { MANY = 300 };
    int fds[MANY];
    for (int i = 0; i < MANY; i++)
        fds[i] = connect_client();
    unsigned waiting = refuser_count(refuser);
    assert_true(waiting < MANY);
    for (unsigned i = waiting; i < MANY; i++)
        expect_refusal(fds[i]);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    for (int i = 0; i < MANY && refuser_count(refuser) > 0; i++)
        turn(); /* a turn delivers some dozens of events */
    assert_int_equal(refuser_count(refuser), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_startup_packet_is_answered_and_the_connection_closed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(requests_for_encryption_are_declined_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_packet_in_parts_is_put_together, setup, teardown),
        cmocka_unit_test_setup_teardown(the_console_gets_its_packet_unread, setup, teardown),
        cmocka_unit_test_setup_teardown(the_console_is_refused_when_there_is_no_place_for_it_either, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(cancel_requests_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(rubbish_and_silence_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_is_answered_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
