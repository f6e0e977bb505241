/* Who is refused more above memory_limit: the largest client of all workers, as large as it is by now. No loop runs between
   what is asked here, so the janitor never looks. */
#include "../../../src/session/session.h"
#include "../loop_of_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MB      ((size_t)1 << 20)
#define WORKERS 2

static struct worker {
    struct session_env env;
    struct loop *loop;
    struct mailbox *mailbox;
    struct loop_timer *watch;
} workers[WORKERS];
static struct session_shared shared;
static struct config *config;
static struct pool_limits *limits;

static void load_config(void)
{
    char path[] = "/tmp/pgunison-memory-XXXXXX";
    struct problems problems;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char ini[] = "[pgunison]\nauth_type = any\nmemory_limit = 64MB\n"
                              "[database shop]\nshards = s0\n[shard s0]\nhost = 127.0.0.1\n";
    assert_int_equal(write(fd, ini, sizeof ini - 1), sizeof ini - 1);
    close(fd);
    config = config_load(path, &problems);
    unlink(path);
    assert_non_null(config);
    problems_free(&problems);
}

static int set_up(void **state)
{
    (void)state;
    load_config();
    session_shared_init(&shared);
    limits = pool_limits_create();
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &workers[i];
        w->loop = worker_loop_create();
        session_env_init(&w->env, w->loop, i, config, &shared);
        w->mailbox = mailbox_create(w->loop, &w->env);
        w->env.pools = pool_manager_create(w->loop, i, w->mailbox, limits, config);
    }
    return 0;
}

static void stop_without_clients(void *arg)
{
    struct worker *w = arg;
    if (w->env.clients.count == 0)
        loop_stop(w->loop);
    else
        loop_timer_start(w->watch, 1000);
}

static void close_clients(struct worker *w)
{
    client_close_all(&w->env, true);
    w->watch = loop_timer_create(w->loop, stop_without_clients, w);
    loop_timer_start(w->watch, 1);
    loop_run(w->loop);
    loop_timer_destroy(&w->watch);
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &workers[i];
        close_clients(w);
        session_env_deinit(&w->env);
        pool_manager_destroy(&w->env.pools);
        mailbox_destroy(&w->mailbox);
        loop_destroy(&w->loop);
    }
    pool_limits_destroy(&limits);
    session_shared_deinit(&shared);
    config_unref(&config);
    return 0;
}

struct hoarder {
    struct client *client;
    int fd;
};

static struct hoarder connect_hoarder(unsigned worker)
{
    int fds[2];
    struct peer_address peer = {0};
    struct session_env *env = &workers[worker].env;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    client_accept(env, fds[0], &peer);
    return (struct hoarder){.client = list_entry(env->clients.head.prev, struct client, node), .fd = fds[1]};
}

static void leave(struct hoarder *h)
{
    h->client->txn.replay_bytes = 0;
    close(h->fd);
}

/* Whether it may have so much, as what it replays; it asks in steps, as statements come. */
static bool takes(struct hoarder *h, size_t bytes)
{
    struct error e;
    while (h->client->txn.replay_bytes < bytes) {
        if (memory_admits(h->client, MB, &e) != STATUS_OK) {
            assert_string_equal(e.sqlstate, SQLSTATE_OUT_OF_MEMORY);
            return false;
        }
        h->client->txn.replay_bytes += MB;
    }
    return true;
}

static void the_largest_is_refused_and_nobody_else(unsigned worker_of_largest, unsigned worker_of_other)
{
    struct hoarder other = connect_hoarder(worker_of_other), largest = connect_hoarder(worker_of_largest);
    assert_true(takes(&largest, 40 * MB));
    assert_true(takes(&other, 35 * MB));
    assert_false(takes(&largest, 41 * MB));
    assert_true(takes(&other, 38 * MB));
    leave(&largest);
    leave(&other);
}

static void of_the_same_worker(void **state)
{
    (void)state;
    the_largest_is_refused_and_nobody_else(0, 0);
}

static void of_a_worker_before(void **state)
{
    (void)state;
    the_largest_is_refused_and_nobody_else(0, 1);
}

static void of_a_worker_behind(void **state)
{
    (void)state;
    the_largest_is_refused_and_nobody_else(1, 0);
}

static void who_outgrows_the_largest_is_refused(void **state)
{
    (void)state;
    struct hoarder first = connect_hoarder(0), second = connect_hoarder(1);
    assert_true(takes(&first, 40 * MB));
    assert_true(takes(&second, 39 * MB)); /* MB more, and it has as much */
    assert_false(takes(&second, 42 * MB));
    leave(&first);
    leave(&second);
}

static void who_commits_is_not_told_of(void **state)
{
    (void)state;
    struct hoarder commits = connect_hoarder(0), other = connect_hoarder(1);
    commits.client->run = RUN_ENDING;
    commits.client->committing = true;
    assert_true(takes(&commits, 40 * MB));
    assert_int_equal(budget_largest(&shared.budget), 0);
    assert_false(takes(&other, 35 * MB)); /* of those that can be ended it is the largest */
    commits.client->run = RUN_NONE;
    commits.client->committing = false;
    leave(&commits);
    leave(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_the_same_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_worker_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_worker_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_outgrows_the_largest_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_commits_is_not_told_of, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
