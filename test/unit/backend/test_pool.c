/* backend/pool.h, one worker, against a real server */
#include "dns_fixture.h"
#include "pool_fixture.h"

static struct pg_fixture pg;
static struct pool_limits *limits;
static struct worker w;

static void open_worker(const char *settings, const char *shard)
{
    struct config *config = pool_config(&pg, settings, shard);
    worker_open(&w, 0, limits, config);
}

static void close_worker(void)
{
    worker_close(&w);
    config_unref(&w.config);
}

static void must_wait(struct client *c, struct server_pool *p)
{
    assert_false(client_acquire(c, &w, p, false));
}

static void get(struct client *c, struct server_pool *p)
{
    if (!client_acquire(c, &w, p, false))
        worker_run(&w, 1);
    if (!c->server)
        fail_msg("%s", c->why.message);
}

static void opens_on_demand_and_reuses_the_latest(void **state)
{
    (void)state;
    open_worker("", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    assert_ptr_equal(p, worker_pool(&w, "postgres", 0));
    assert_ptr_not_equal(p, worker_pool(&w, "trusted", 0));
    struct client a = {0}, b = {0};
    must_wait(&a, p);
    assert_null(a.server); /* never from inside */
    worker_run(&w, 1);
    must_wait(&b, p);
    worker_run(&w, 1);
    assert_string_equal(client_query(&a, "SELECT 'hello'"), "hello");
    assert_string_equal(server_shard(a.server), "s1");
    assert_int_equal(worker_stats(&w).active, 2);
    struct server *sa = a.server, *sb = b.server;
    client_release(&a);
    client_release(&b);
    assert_int_equal(worker_stats(&w).idle, 2);
    assert_true(client_acquire(&a, &w, p, false));
    assert_ptr_equal(a.server, sb);
    assert_true(client_acquire(&b, &w, p, false));
    assert_ptr_equal(b.server, sa);
    client_release(&a);
    client_release(&b);
    close_worker();
}

static void round_robin_takes_the_oldest(void **state)
{
    (void)state;
    open_worker("server_round_robin = 1", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    get(&b, p);
    struct server *sa = a.server;
    client_release(&a);
    client_release(&b);
    assert_true(client_acquire(&a, &w, p, false));
    assert_ptr_equal(a.server, sa);
    client_release(&a);
    close_worker();
}

static void a_cancel_request_does_not_overtake_the_statement(void **state)
{
    (void)state;
    open_worker("", "");
    struct client a = {0};
    get(&a, worker_pool(&w, "postgres", 0));
    client_send(&a, "SELECT 1");
    assert_int_not_equal(server_queued(a.server), 0); /* leaves at the end of the turn */
    server_cancel(a.server);
    assert_int_equal(server_queued(a.server), 0);
    worker_run(&w, 1);
    assert_int_equal(server_outstanding(a.server), 0);
    client_release(&a);
    close_worker();
}

static void waits_are_served_in_order_and_privileged_ones_first(void **state)
{
    (void)state;
    open_worker("default_pool_size = 1\nreserve_pool_size = 0", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client first = {0}, c[4] = {0};
    int order[4], n = 0;
    get(&first, p);
    for (int i = 0; i < 4; i++) {
        c[i] = (struct client){.number = i, .order = order, .n_order = &n};
        assert_false(client_acquire(&c[i], &w, p, i == 2));
    }
    worker_settle(&w);
    assert_int_equal(worker_stats(&w).waiting, 4);
    assert_int_equal(n, 0);
    pool_cancel_wait(&c[1].wait);
    pool_cancel_wait(&c[1].wait);
    static const int expected[] = {2, 0, 3};
    for (int i = 0; i < 3; i++) {
        client_release(i == 0 ? &first : &c[expected[i - 1]]);
        if (i == 0) { /* nobody gets past those that wait */
            assert_false(client_acquire(&first, &w, p, false));
            pool_cancel_wait(&first.wait);
        }
        worker_run(&w, 1);
        assert_int_equal(order[i], expected[i]);
    }
    client_release(&c[3]);
    close_worker();
}

static void reserve_is_for_the_privileged_and_for_long_waits(void **state)
{
    (void)state;
    open_worker("default_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = 200ms", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    assert_false(client_acquire(&b, &w, p, true));
    worker_run(&w, 1);
    assert_non_null(b.server);
    pool_discard(b.server);
    uint64_t before = loop_now_us(w.loop);
    must_wait(&b, p);
    worker_run(&w, 1);
    assert_non_null(b.server);
    assert_true(loop_now_us(w.loop) - before >= 200000);
    client_release(&a);
    client_release(&b);
    close_worker();
}

static void a_wait_ends_by_query_wait_timeout(void **state)
{
    (void)state;
    open_worker("default_pool_size = 1\nreserve_pool_size = 0\nquery_wait_timeout = 100ms", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    must_wait(&b, p);
    worker_run(&w, 1);
    assert_true(b.failed);
    assert_string_equal(b.why.sqlstate, "53300");
    assert_string_equal(b.why.message, "no connection to shard \"s1\" became free in 0.1 s");
    client_release(&a);
    assert_true(client_acquire(&b, &w, p, false));
    client_release(&b);
    close_worker();
}

static void unreachable_shard_refuses_at_once_and_others_go_on(void **state)
{
    (void)state;
    open_worker("", "");
    struct server_pool *up = worker_pool(&w, "postgres", 0), *down = worker_pool(&w, "postgres", 1);
    struct client a = {0}, b = {0}, c = {0};
    must_wait(&a, down);
    must_wait(&b, down);
    worker_run(&w, 2);
    assert_true(a.failed && b.failed);
    assert_string_equal(a.why.sqlstate, "08006");
    assert_non_null(strstr(a.why.message, "could not connect to shard \"s2\": "));
    uint64_t before = loop_now_us(w.loop);
    must_wait(&b, down); /* server_login_retry has not passed: the same error, without another attempt */
    worker_run(&w, 1);
    assert_true(b.failed);
    assert_string_equal(b.why.message, a.why.message);
    assert_true(loop_now_us(w.loop) - before < 5000000);
    get(&c, up);
    assert_string_equal(client_query(&c, "SELECT 1"), "1");
    client_release(&c);
    close_worker();
}

static void a_shard_that_comes_back_is_found_after_login_retry(void **state)
{
    (void)state;
    open_worker("server_login_retry = 300ms", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    get(&b, p);
    client_release(&b); /* idle when the shard goes */
    pg_halt(&pg);
    a.worker = &w;
    server_set_owner(a.server, &client_ops, &a);
    worker_run(&w, 1);
    assert_true(a.lost);
    worker_settle(&w);
    struct pool_stats stats = worker_stats(&w);
    assert_int_equal(stats.idle + stats.active, 0);
    must_wait(&a, p);
    worker_run(&w, 1);
    assert_true(a.failed);
    assert_string_equal(a.why.sqlstate, "08006");
    pg_launch(&pg);
    while (!a.server) { /* clients that try again */
        must_wait(&a, p);
        worker_run(&w, 1);
    }
    assert_string_equal(client_query(&a, "SELECT 1"), "1");
    client_release(&a);
    assert_string_equal(worker_stats(&w).last_error, "");
    close_worker();
}

static void refused_login_is_reported_as_the_server_worded_it(void **state)
{
    (void)state;
    open_worker("", "host = 127.0.0.1");
    struct client a = {0};
    const struct database_def *db = topology_database(&w.config->topology, "shop");
    must_wait(&a, pool_find(w.manager, "scram", "wrong", db, 0));
    worker_run(&w, 1);
    assert_true(a.failed);
    assert_string_equal(a.why.sqlstate, "28P01");
    assert_string_equal(a.why.message, "password authentication failed for user \"scram\"");
    get(&a, pool_find(w.manager, "scram", "sesame", db, 0)); /* another password is another attempt */
    assert_string_equal(client_query(&a, "SELECT current_user"), "scram");
    client_release(&a);
    close_worker();
}

static void forced_user_shares_one_pool(void **state)
{
    (void)state;
    open_worker("", "user = trusted");
    struct server_pool *p = worker_pool(&w, "alice", 0);
    assert_ptr_equal(p, worker_pool(&w, "bob", 0));
    struct client a = {0};
    get(&a, p);
    assert_string_equal(client_query(&a, "SELECT session_user"), "trusted");
    client_release(&a);
    close_worker();
}

static void discarding_frees_the_place(void **state)
{
    (void)state;
    open_worker("default_pool_size = 1\nreserve_pool_size = 0", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    must_wait(&b, p);
    worker_settle(&w);
    assert_null(b.server);
    pool_discard(a.server);
    worker_run(&w, 1);
    assert_non_null(b.server);
    client_send(&b, "SELECT pg_sleep(60)"); /* given back in the middle of something: closed */
    client_release(&b);
    struct pool_stats stats = worker_stats(&w);
    assert_int_equal(stats.idle + stats.active, 0);
    get(&a, p);
    client_query(&a, "BEGIN");
    client_release(&a);
    assert_int_equal(worker_stats(&w).idle, 0);
    close_worker();
}

static void backend_gone(PGconn *c, uint32_t pid)
{
    char sql[100];
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%u)", pid);
    pg_query(c, sql);
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_stat_activity WHERE pid = %u", pid);
    for (int i = 0; strcmp(pg_query(c, sql), "0") != 0; i++)
        assert_true(i < 10000);
}

static void lost_idle_connections_are_forgotten(void **state)
{
    (void)state;
    open_worker("", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0};
    PGconn *c = pg_connect(&pg, "postgres");
    get(&a, p);
    uint32_t pid = backend_conn_pid(a.server->conn);
    client_release(&a);
    backend_gone(c, pid);
    while (worker_stats(&w).idle > 0)
        worker_settle(&w);
    get(&a, p);
    assert_int_not_equal(backend_conn_pid(a.server->conn), pid);
    client_release(&a);
    PQfinish(c);
    close_worker();
}

static void old_connections_are_checked_before_use(void **state)
{
    (void)state;
    open_worker("server_check_query = select 1\nserver_check_delay = 0", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    uint32_t pid = backend_conn_pid(a.server->conn);
    client_release(&a);
    worker_settle(&w);
    must_wait(&a, p); /* the check first */
    worker_run(&w, 1);
    assert_int_equal(backend_conn_pid(a.server->conn), pid);
    client_release(&a);
    /* It dies, and nobody has looked at its socket when it is borrowed: the check finds out. */
    PGconn *c = pg_connect(&pg, "postgres");
    worker_settle(&w);
    backend_gone(c, pid);
    must_wait(&a, p);
    must_wait(&b, p);
    worker_run(&w, 2);
    assert_int_not_equal(backend_conn_pid(a.server->conn), pid);
    assert_int_not_equal(backend_conn_pid(b.server->conn), pid);
    client_release(&a);
    client_release(&b);
    PQfinish(c);
    close_worker();
}

static void reset_leaves_nothing_behind(void **state)
{
    (void)state;
    static const char *const queries[] = {"DISCARD ALL", " discard all ; ", "SELECT 1"};
    for (int i = 0; i < 3; i++) {
        char settings[200];
        snprintf(settings, sizeof(settings),
                 "default_pool_size = 1\nreserve_pool_size = 0\nserver_reset_query = %s", queries[i]);
        open_worker(settings, "");
        struct server_pool *p = worker_pool(&w, "postgres", 0);
        struct client a = {0}, b = {0};
        get(&a, p);
        client_query(&a, "PREPARE p AS SELECT 1; SET work_mem TO '3MB'; SET ROLE trusted");
        a.server->vars = varset_with(NULL, "work_mem", "'3MB'");
        a.server->unnamed_statement = 7;
        a.server->pinned_state = true;
        struct server *s = a.server;
        must_wait(&b, p);
        pool_release(a.server); /* pinned state: reset without being asked */
        worker_run(&w, 1);
        assert_ptr_equal(b.server, s);
        assert_true(varset_equal(s->vars, NULL));
        assert_false(s->pinned_state);
        assert_int_equal(s->unnamed_statement, 0);
        assert_string_equal(
            client_query(&b, "SELECT current_user || current_setting('work_mem') || (SELECT count(*) FROM "
                             "pg_prepared_statements)"),
            "postgres4MB0");
        client_release(&b);
        close_worker();
    }
}

static void a_failed_reset_closes_the_connection(void **state)
{
    (void)state;
    open_worker("server_reset_query = SELECT nonsense", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0};
    get(&a, p);
    pool_reset_and_release(a.server);
    while (worker_stats(&w).idle + worker_stats(&w).active > 0)
        worker_settle(&w);
    close_worker();
    open_worker("server_reset_query =", "");
    p = worker_pool(&w, "postgres", 0);
    get(&a, p);
    a.server->pinned_state = true; /* and no way to clean it */
    pool_release(a.server);
    assert_int_equal(worker_stats(&w).idle, 0);
    close_worker();
}

static void idle_timeout_and_lifetime_close(void **state)
{
    (void)state;
    static const char *const settings[] = {"server_idle_timeout = 300ms", "server_lifetime = 300ms"};
    for (int i = 0; i < 2; i++) {
        open_worker(settings[i], "");
        struct client a = {0};
        get(&a, worker_pool(&w, "postgres", 0));
        client_release(&a);
        assert_int_equal(worker_stats(&w).idle, 1);
        while (worker_stats(&w).idle > 0)
            worker_settle(&w);
        close_worker();
    }
    open_worker("server_lifetime = 0", ""); /* used once only */
    struct client a = {0};
    get(&a, worker_pool(&w, "postgres", 0));
    assert_string_equal(client_query(&a, "SELECT 1"), "1");
    client_release(&a);
    assert_int_equal(worker_stats(&w).idle, 0);
    close_worker();
}

static void min_pool_size_is_kept_open(void **state)
{
    (void)state;
    open_worker("min_pool_size = 2\nserver_idle_timeout = 100ms", "");
    (void)worker_pool(&w, "postgres", 0);
    while (worker_stats(&w).idle < 2)
        worker_settle(&w);
    uint64_t before = loop_now_us(w.loop);
    while (loop_now_us(w.loop) - before < 1500000) { /* longer than a tick */
        worker_settle(&w);
        assert_int_equal(worker_stats(&w).idle, 2);
    }
    close_worker();
}

static void database_and_user_limits_close_what_is_idle_elsewhere(void **state)
{
    (void)state;
    open_worker("max_db_connections = 1", "");
    struct client a = {0}, b = {0};
    get(&a, worker_pool(&w, "postgres", 0));
    must_wait(&b, worker_pool(&w, "trusted", 0));
    worker_settle(&w);
    assert_null(b.server);
    client_release(&a); /* another user's: closed, and its place passes on */
    worker_run(&w, 1);
    assert_string_equal(client_query(&b, "SELECT current_user"), "trusted");
    client_release(&b); /* idle now: closed for the next */
    must_wait(&a, worker_pool(&w, "postgres", 0));
    worker_run(&w, 1);
    assert_non_null(a.server);
    client_release(&a);
    close_worker();
    open_worker("max_user_connections = 1", "");
    get(&a, worker_pool(&w, "postgres", 0));
    must_wait(&b, worker_pool(&w, "postgres", 0));
    worker_settle(&w);
    assert_null(b.server);
    client_release(&a);
    worker_run(&w, 1);
    client_release(&b);
    close_worker();
}

static void reload_with(const char *settings, const char *shard)
{
    struct config *old = w.config;
    w.config = pool_config(&pg, settings, shard);
    pool_manager_reconfigure(w.manager, w.config);
    config_unref(&old);
}

static void a_reload_keeps_what_did_not_change(void **state)
{
    (void)state;
    open_worker("default_pool_size = 1\nreserve_pool_size = 0", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    must_wait(&b, p);
    worker_settle(&w);
    assert_null(b.server);
    reload_with("default_pool_size = 2\nreserve_pool_size = 0", "");
    assert_ptr_equal(p, worker_pool(&w, "postgres", 0));
    worker_run(&w, 1); /* the wider limit serves the wait */
    assert_non_null(b.server);
    assert_string_equal(client_query(&a, "SELECT 1"), "1");
    client_release(&a);
    client_release(&b);
    assert_int_equal(worker_stats(&w).idle, 2);
    close_worker();
}

static void a_changed_shard_gets_new_connections(void **state)
{
    (void)state;
    open_worker("default_pool_size = 2\nreserve_pool_size = 0", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0}, b = {0}, c = {0};
    get(&a, p);
    get(&b, p);
    must_wait(&c, p);
    client_release(&b); /* goes to c at the end of the turn, were it not for the reload */
    reload_with("default_pool_size = 2\nreserve_pool_size = 0", "user = trusted\nconnect_timeout = 7");
    struct server_pool *successor = worker_pool(&w, "postgres", 0);
    assert_ptr_not_equal(successor, p);
    assert_string_equal(client_query(&a, "SELECT current_user"), "postgres"); /* what is borrowed goes on */
    while (!c.server)
        worker_settle(&w);
    assert_string_equal(client_query(&c, "SELECT current_user"), "trusted");
    client_release(&a);
    client_release(&c);
    get(&a, p); /* an old pointer leads to the new pool */
    assert_string_equal(client_query(&a, "SELECT current_user"), "trusted");
    client_release(&a);
    close_worker();
}

static void a_shard_that_is_gone_refuses(void **state)
{
    (void)state;
    open_worker("", "");
    struct server_pool *p = worker_pool(&w, "postgres", 0);
    struct client a = {0};
    get(&a, p);
    struct config *old = w.config;
    char path[100];
    snprintf(path, sizeof(path), "%s/unit.ini", pg.dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "[pgunison]\nauth_type = trust\n[database shop]\nshards = s9\n[shard s9]\nhost = /tmp\nport = "
               "1\ndbname = x\n");
    fclose(f);
    struct problems problems;
    w.config = config_load(path, &problems);
    problems_free(&problems);
    assert_non_null(w.config);
    pool_manager_reconfigure(w.manager, w.config);
    assert_string_equal(server_shard(a.server), "s1");
    assert_string_equal(client_query(&a, "SELECT 1"), "1");
    client_release(&a);
    worker_settle(&w);
    must_wait(&a, p);
    worker_run(&w, 1);
    assert_true(a.failed);
    assert_string_equal(a.why.sqlstate, "57P01");
    /* a session that still works under the old configuration */
    must_wait(&a, pool_find(w.manager, "postgres", NULL, topology_database(&old->topology, "shop"), 0));
    config_unref(&old);
    worker_run(&w, 1);
    assert_true(a.failed);
    assert_string_equal(a.why.sqlstate, "57P01");
    close_worker();
}

static void a_full_server_is_waited_for_while_we_have_connections_there(void **state)
{
    (void)state;
    PGconn *c = pg_connect(&pg, "postgres");
    pg_query(c, "ALTER ROLE trusted CONNECTION LIMIT 1");
    open_worker("server_login_retry = 100ms", "");
    struct server_pool *p = worker_pool(&w, "trusted", 0);
    struct client a = {0}, b = {0};
    get(&a, p);
    must_wait(&b, p);
    while (worker_stats(&w).last_error[0] == '\0')
        worker_settle(&w);
    worker_settle(&w);
    assert_false(b.failed);
    client_release(&a);
    worker_run(&w, 1);
    assert_non_null(b.server);
    client_release(&b);
    close_worker();
    pg_query(c, "ALTER ROLE trusted CONNECTION LIMIT 0");
    open_worker("", "");
    must_wait(&a, worker_pool(&w, "trusted", 0));
    worker_run(&w, 1);
    assert_true(a.failed);
    assert_string_equal(a.why.sqlstate, "53300");
    close_worker();
    pg_query(c, "ALTER ROLE trusted CONNECTION LIMIT -1");
    PQfinish(c);
}

static void a_manager_may_die_while_connections_are_being_opened(void **state)
{
    (void)state;
    open_worker("", "host = localhost");
    struct client a = {0};
    must_wait(&a, worker_pool(&w, "postgres", 0));
    worker_settle(&w);
    if (a.server)
        client_release(&a);
    else
        pool_cancel_wait(&a.wait);
    close_worker();
}

static int group_setup(void **state)
{
    (void)state;
    log_set_stderr(false);
    dial_init(dns_service_start());
    pg_start(&pg);
    limits = pool_limits_create();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    pool_limits_destroy(&limits); /* asserts that every place was given back */
    dial_deinit();
    dns_service_end();
    pg_stop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_on_demand_and_reuses_the_latest),
        cmocka_unit_test(round_robin_takes_the_oldest),
        cmocka_unit_test(a_cancel_request_does_not_overtake_the_statement),
        cmocka_unit_test(waits_are_served_in_order_and_privileged_ones_first),
        cmocka_unit_test(reserve_is_for_the_privileged_and_for_long_waits),
        cmocka_unit_test(a_wait_ends_by_query_wait_timeout),
        cmocka_unit_test(unreachable_shard_refuses_at_once_and_others_go_on),
        cmocka_unit_test(a_shard_that_comes_back_is_found_after_login_retry),
        cmocka_unit_test(refused_login_is_reported_as_the_server_worded_it),
        cmocka_unit_test(forced_user_shares_one_pool),
        cmocka_unit_test(discarding_frees_the_place),
        cmocka_unit_test(lost_idle_connections_are_forgotten),
        cmocka_unit_test(old_connections_are_checked_before_use),
        cmocka_unit_test(reset_leaves_nothing_behind),
        cmocka_unit_test(a_failed_reset_closes_the_connection),
        cmocka_unit_test(idle_timeout_and_lifetime_close),
        cmocka_unit_test(min_pool_size_is_kept_open),
        cmocka_unit_test(database_and_user_limits_close_what_is_idle_elsewhere),
        cmocka_unit_test(a_reload_keeps_what_did_not_change),
        cmocka_unit_test(a_changed_shard_gets_new_connections),
        cmocka_unit_test(a_shard_that_is_gone_refuses),
        cmocka_unit_test(a_full_server_is_waited_for_while_we_have_connections_there),
        cmocka_unit_test(a_manager_may_die_while_connections_are_being_opened),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
