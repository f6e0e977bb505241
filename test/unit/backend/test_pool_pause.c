/* PAUSE, RESUME and RECONNECT of a worker's pools. */
#include "pool_fixture.h"

static struct pg_fixture pg;
static struct worker w;
static struct pool_limits *limits;

static void open_worker(void)
{
    worker_open(&w, 0, limits, pool_config(&pg, "default_pool_size = 2\nreserve_pool_size = 0", ""));
}

static void close_worker(void)
{
    worker_close(&w);
    config_unref(&w.config);
}

static void get(struct client *c, struct server_pool *p)
{
    if (!client_acquire(c, &w, p, false))
        worker_run(&w, 1);
    assert_non_null(c->server);
}

static void paused_pools_wait_but_for_those_that_hold_a_server(void **state)
{
    (void)state;
    open_worker();
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0}, c = {0};
    get(&a, p);
    client_release(&a);
    assert_int_equal(worker_stats(&w).idle, 1);

    pool_manager_pause(w.manager, NULL, true);
    assert_false(client_acquire(&a, &w, p, false));
    worker_settle(&w);
    assert_null(a.server);
    assert_int_equal(worker_stats(&w).waiting, 1);
    assert_int_equal(worker_stats(&w).opening, 0);
    assert_true(client_acquire(&b, &w, p, true)); /* the one that is idle */
    assert_false(client_acquire(&c, &w, p, true));
    worker_run(&w, 1); /* opened */
    assert_non_null(c.server);
    assert_null(a.server);
    client_release(&b);
    client_release(&c);
    worker_settle(&w);
    assert_null(a.server);

    pool_manager_pause(w.manager, NULL, false);
    worker_run(&w, 1);
    assert_non_null(a.server);
    client_release(&a);
    close_worker();
}

static void one_database_may_be_paused_and_new_pools_are_too(void **state)
{
    (void)state;
    open_worker();
    struct client a = {0};
    pool_manager_pause(w.manager, "another", true);
    get(&a, worker_pool(&w, "postgres", 0));
    client_release(&a);
    pool_manager_pause(w.manager, "shop", true);
    assert_false(client_acquire(&a, &w, worker_pool(&w, "trusted", 0), false)); /* a pool made just now */
    worker_settle(&w);
    assert_null(a.server);
    pool_manager_pause(w.manager, NULL, true);
    pool_manager_pause(w.manager, "shop", false);
    worker_settle(&w);
    assert_null(a.server); /* all of them are paused still */
    pool_manager_pause(w.manager, NULL, false);
    worker_run(&w, 1);
    assert_non_null(a.server);
    client_release(&a);
    close_worker();
}

static void a_paused_wait_can_be_given_up(void **state)
{
    (void)state;
    open_worker();
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0};
    pool_manager_pause(w.manager, "shop", true);
    assert_false(client_acquire(&a, &w, p, false));
    pool_cancel_wait(&a.wait);
    pool_manager_pause(w.manager, "shop", false);
    worker_settle(&w);
    assert_null(a.server);
    assert_int_equal(worker_stats(&w).opening, 0);
    close_worker();
}

static void count_server(void *arg, const struct pool_stats *stats, const struct server *s)
{
    unsigned *n = arg;
    (void)stats;
    (void)s;
    ++*n;
}

static unsigned servers(void)
{
    unsigned n = 0;
    pool_manager_each_server(w.manager, count_server, &n);
    return n;
}

static void reconnecting_closes_the_idle_now_and_the_others_when_they_come_back(void **state)
{
    (void)state;
    open_worker();
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    char before[64];
    get(&a, p);
    get(&b, p);
    snprintf(before, sizeof before, "%s", client_query(&a, "SELECT pg_backend_pid()"));
    client_release(&b);
    assert_int_equal(servers(), 2);
    pool_manager_reconnect(w.manager, "another");
    worker_settle(&w);
    assert_int_equal(servers(), 2);
    pool_manager_reconnect(w.manager, "shop");
    worker_settle(&w);
    assert_int_equal(servers(), 1);
    assert_string_equal(client_query(&a, "SELECT pg_backend_pid()"), before);
    client_release(&a);
    assert_int_equal(servers(), 0);
    get(&a, p); /* an old pointer leads to the new pool */
    assert_string_not_equal(client_query(&a, "SELECT pg_backend_pid()"), before);
    client_release(&a);
    close_worker();
}

static void waits_survive_reconnecting_while_paused(void **state)
{
    (void)state;
    open_worker();
    struct client a = {0};
    pool_manager_pause(w.manager, "shop", true);
    assert_false(client_acquire(&a, &w, worker_pool(&w, "postgres", 0), false));
    pool_manager_reconnect(w.manager, NULL);
    worker_settle(&w);
    assert_false(a.failed);
    assert_null(a.server);
    pool_manager_pause(w.manager, "shop", false);
    worker_run(&w, 1);
    assert_non_null(a.server);
    client_release(&a);
    close_worker();
}

static int group_setup(void **state)
{
    (void)state;
    log_set_stderr(false);
    dial_init(NULL);
    pg_start(&pg);
    limits = pool_limits_create();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    pool_limits_destroy(&limits); /* asserts that every place was given back */
    dial_deinit();
    pg_stop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paused_pools_wait_but_for_those_that_hold_a_server),
        cmocka_unit_test(one_database_may_be_paused_and_new_pools_are_too),
        cmocka_unit_test(a_paused_wait_can_be_given_up),
        cmocka_unit_test(reconnecting_closes_the_idle_now_and_the_others_when_they_come_back),
        cmocka_unit_test(waits_survive_reconnecting_while_paused),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
