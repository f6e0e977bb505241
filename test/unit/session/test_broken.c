/* A session whose machines are lost is closed; the worker and its other sessions go on. */
#include "../../../src/session/session.h"
#include "../loop_of_test.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct session_shared shared;
static struct session_env env;
static struct loop *loop;
static struct config *config;
static struct mailbox *mailbox;
static struct pool_limits *limits;

static int set_up(void **state)
{
    char path[] = "/tmp/pgunison-broken-XXXXXX";
    struct problems problems;
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    static const char ini[] =
        "[pgunison]\nauth_type = any\n[database shop]\nshards = s0\n[shard s0]\nhost = 127.0.0.1\n";
    assert_int_equal(write(fd, ini, sizeof ini - 1), sizeof ini - 1);
    close(fd);
    config = config_load(path, &problems);
    unlink(path);
    assert_non_null(config);
    problems_free(&problems);
    loop = worker_loop_create();
    assert_non_null(loop);
    session_shared_init(&shared);
    session_env_init(&env, loop, 0, config, &shared);
    mailbox = mailbox_create(loop, &env);
    limits = pool_limits_create();
    env.pools = pool_manager_create(loop, 0, mailbox, limits, config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    session_env_deinit(&env);
    pool_manager_destroy(&env.pools);
    mailbox_destroy(&mailbox);
    pool_limits_destroy(&limits);
    session_shared_deinit(&shared);
    loop_destroy(&loop);
    config_unref(&config);
    return 0;
}

/* A client of the worker's; the other end's descriptor. */
static int connect_client(struct client **c_r)
{
    int fds[2];
    struct peer_address peer = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    client_accept(&env, fds[0], &peer);
    *c_r = list_entry(env.clients.head.prev, struct client, node);
    return fds[1];
}

static bool ended(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

struct watch {
    int fd;
    struct loop_timer *timer;
};

static void look(void *arg)
{
    struct watch *w = arg;
    if (ended(w->fd))
        loop_stop(loop);
    else
        loop_timer_start(w->timer, 1000);
}

static void run_until_ended(int fd)
{
    struct watch w = {.fd = fd};
    w.timer = loop_timer_create(loop, look, &w);
    loop_timer_start(w.timer, 1);
    loop_run(loop);
    loop_timer_destroy(&w.timer);
}

static void a_broken_session_is_closed_and_no_other(void **state)
{
    struct client *broken, *other;
    char answer[256];
    (void)state;
    int fd = connect_client(&broken), other_fd = connect_client(&other);
    assert_int_equal(env.clients.count, 2);
    client_broken(broken, "test");
    client_broken(broken, "test");
    run_until_ended(fd);
    ssize_t n = read(fd, answer, sizeof answer);
    assert_true(n > 0);
    assert_int_equal(answer[0], 'E');
    assert_non_null(memmem(answer, (size_t)n, "SFATAL", 7));
    assert_non_null(memmem(answer, (size_t)n, "CXX000", 7));
    assert_int_equal(read(fd, answer, sizeof answer), 0);
    assert_false(ended(other_fd));
    assert_int_equal(env.clients.count, 1);
    client_close_all(&env, true);
    run_until_ended(other_fd);
    close(fd);
    close(other_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_broken_session_is_closed_and_no_other, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
