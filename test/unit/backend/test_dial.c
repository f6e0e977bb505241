/* backend/dial.h, against a real server */
#include "../loop_of_test.h"
#include "dns_fixture.h"
#include "pg_fixture.h"

#include "backend/dial.h"

static struct pg_fixture pg;

struct outcome {
    struct loop *loop;
    struct backend_conn *conn;
    struct error why;
    int calls;
};

static void dialled(void *arg, struct backend_conn *conn, const struct error *why)
{
    struct outcome *o = arg;
    o->calls++;
    o->conn = conn;
    if (why)
        o->why = *why;
    assert_true((conn == NULL) == (why != NULL));
    loop_stop(o->loop);
}

static struct shard_def shard_at(const char *host, const char *port)
{
    return (struct shard_def){.name = "s1", .host = host, .port = port, .dbname = "postgres"};
}

static struct outcome dial_with(const struct shard_def *shard, const struct settings *settings,
                                const char *user, const char *password)
{
    struct outcome o = {.loop = worker_loop_create()};
    struct dial_params params = {.shard = shard, .settings = settings, .user = user, .password = password};
    struct dial *d = dial_start(o.loop, &params, dialled, &o);
    assert_non_null(d);
    assert_int_equal(o.calls, 0);
    run_loop(o.loop);
    assert_int_equal(o.calls, 1);
    loop_destroy(&o.loop);
    return o;
}

static struct outcome dial_as(const struct shard_def *shard, const char *user, const char *password)
{
    struct settings settings;
    fixture_settings(&settings);
    return dial_with(shard, &settings, user, password);
}

static void opens_by_socket_and_by_tcp(void **state)
{
    (void)state;
    const char *hosts[] = {pg.dir, "127.0.0.1", "localhost"};
    for (int i = 0; i < 3; i++) {
        struct shard_def shard = shard_at(hosts[i], pg.port);
        struct outcome o = dial_as(&shard, "postgres", NULL);
        if (!o.conn)
            fail_msg("%s: %s %s", hosts[i], o.why.message, o.why.detail);
        assert_true(backend_conn_fd(o.conn) >= 0);
        assert_true(backend_conn_pid(o.conn) > 0);
        assert_true(backend_conn_version(o.conn) >= 130000);
        assert_string_equal(backend_conn_parameter(o.conn, "server_encoding"), "UTF8");
        assert_string_equal(backend_conn_parameter(o.conn, "application_name"), "pgunison");
        assert_null(backend_conn_parameter(o.conn, "no_such_parameter"));
        assert_int_equal(backend_conn_ssl(o.conn) != NULL, i > 0); /* sslmode = prefer */
        backend_conn_close(&o.conn);
        assert_null(o.conn);
    }
}

static void scram_password_is_used_and_never_shown(void **state)
{
    (void)state;
    struct shard_def shard = shard_at("127.0.0.1", pg.port);
    struct outcome o = dial_as(&shard, "scram", "sesame");
    assert_non_null(o.conn);
    backend_conn_close(&o.conn);
    o = dial_as(&shard, "scram", "open-barley");
    assert_null(o.conn);
    assert_string_equal(o.why.sqlstate, "28P01");
    assert_string_equal(o.why.message, "password authentication failed for user \"scram\"");
    assert_null(strstr(o.why.detail, "barley"));
    o = dial_as(&shard, "nobody_knows", NULL);
    assert_string_equal(o.why.sqlstate, "28000");
}

static void tls_as_the_shard_wants_it(void **state)
{
    (void)state;
    char ca[100];
    snprintf(ca, sizeof(ca), "%s/server.crt", pg.dir);
    struct shard_def shard = shard_at("localhost", pg.port);
    shard.sslmode = "verify-full";
    shard.sslrootcert = ca;
    struct outcome o = dial_as(&shard, "tlsonly", NULL);
    if (!o.conn)
        fail_msg("%s", o.why.message);
    assert_non_null(backend_conn_ssl(o.conn));
    backend_conn_close(&o.conn);
    shard.host = "127.0.0.1"; /* not the certificate's name */
    o = dial_as(&shard, "tlsonly", NULL);
    assert_null(o.conn);
    assert_string_equal(o.why.sqlstate, "08006");
    shard.sslmode = "disable";
    o = dial_as(&shard, "tlsonly", NULL);
    assert_null(o.conn);
    assert_string_equal(o.why.sqlstate, "28000");
}

static void missing_database_is_told_with_the_shard(void **state)
{
    (void)state;
    struct shard_def shard = shard_at(pg.dir, pg.port);
    shard.dbname = "nope";
    struct outcome o = dial_as(&shard, "postgres", NULL);
    assert_string_equal(o.why.sqlstate, "3D000");
    assert_string_equal(o.why.message, "could not connect to shard \"s1\": database \"nope\" does not exist");
}

static void unreachable_and_unknown_hosts(void **state)
{
    (void)state;
    char port[8];
    snprintf(port, sizeof(port), "%d", pg_free_port());
    struct shard_def shard = shard_at("127.0.0.1", port);
    struct outcome o = dial_as(&shard, "postgres", NULL);
    assert_string_equal(o.why.sqlstate, "08006");
    assert_non_null(strstr(o.why.message, "could not connect to shard \"s1\": "));
    assert_non_null(strstr(o.why.message, "refused"));
    shard.host = "no-such-host.invalid";
    o = dial_as(&shard, "postgres", NULL);
    assert_string_equal(o.why.sqlstate, "08006");
    assert_non_null(strstr(o.why.message, "no-such-host.invalid"));
    shard.host = "127.0.0.1,127.0.0.1,127.0.0.1";
    shard.port = "1,2";
    o = dial_as(&shard, "postgres", NULL);
    assert_string_equal(o.why.sqlstate, "08006");
}

static int silent_listener(char port[8])
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(port, 8, "%d", ntohs(a.sin_port));
    return fd;
}

static void silent_host_costs_its_share_of_the_time_only(void **state)
{
    (void)state;
    char silent[8], ports[20];
    int fd = silent_listener(silent);
    struct settings settings;
    fixture_settings(&settings);
    settings.server_connect_timeout_us = 400000;
    struct shard_def shard = shard_at("127.0.0.1", silent);
    struct outcome o = dial_with(&shard, &settings, "postgres", NULL);
    assert_null(o.conn);
    assert_string_equal(o.why.sqlstate, "08006");
    assert_string_equal(o.why.message, "could not connect to shard \"s1\": timeout expired");
    settings.server_connect_timeout_us = 2000000;
    snprintf(ports, sizeof(ports), "%s,%s", silent, pg.port);
    shard = shard_at("127.0.0.1,localhost", ports);
    o = dial_with(&shard, &settings, "postgres", NULL);
    if (!o.conn)
        fail_msg("%s: %s", o.why.message, o.why.detail);
    backend_conn_close(&o.conn);
    close(fd);
}

static void writable_host_is_chosen_among_several(void **state)
{
    (void)state;
    PGconn *c = pg_connect(&pg, "postgres");
    pg_query(c, "CREATE DATABASE read_only");
    pg_query(c, "ALTER DATABASE read_only SET default_transaction_read_only = on");
    struct shard_def shard = shard_at(pg.dir, pg.port);
    shard.dbname = "read_only";
    struct outcome o = dial_as(&shard, "postgres", NULL); /* one host: any will do */
    assert_non_null(o.conn);
    backend_conn_close(&o.conn);
    char hosts[200];
    snprintf(hosts, sizeof(hosts), "%s,127.0.0.1", pg.dir);
    shard.host = hosts;
    o = dial_as(&shard, "postgres", NULL);
    assert_null(o.conn);
    assert_string_equal(o.why.sqlstate, "08006");
    assert_non_null(strstr(o.why.message, "read-only"));
    shard.target_session_attrs = "read-only";
    o = dial_as(&shard, "postgres", NULL);
    assert_non_null(o.conn);
    backend_conn_close(&o.conn);
    shard.target_session_attrs = "prefer-standby"; /* none is: the second pass takes any */
    o = dial_as(&shard, "postgres", NULL);
    assert_non_null(o.conn);
    backend_conn_close(&o.conn);
    PQfinish(c);
}

static void stop_now(void *arg)
{
    loop_stop(arg);
}

static void a_cancelled_dial_is_never_reported(void **state)
{
    (void)state;
    struct settings settings;
    fixture_settings(&settings);
    const char *hosts[] = {"127.0.0.1", "localhost", "no-such-host.invalid"};
    for (int i = 0; i < 3; i++) {
        struct outcome o = {.loop = worker_loop_create()};
        struct shard_def shard = shard_at(hosts[i], pg.port);
        struct dial_params params = {.shard = &shard, .settings = &settings, .user = "postgres"};
        struct dial *d = dial_start(o.loop, &params, dialled, &o);
        if (i > 0) { /* after some turns */
            struct loop_timer *t = loop_timer_create(o.loop, stop_now, o.loop);
            loop_timer_start(t, 1);
            run_loop(o.loop);
            loop_timer_destroy(&t);
        }
        if (o.calls == 0)
            dial_cancel(&d);
        int calls = o.calls;
        struct loop_timer *t = loop_timer_create(o.loop, stop_now, o.loop);
        loop_timer_start(t, 50000);
        run_loop(o.loop);
        loop_timer_destroy(&t);
        assert_int_equal(o.calls, calls);
        if (o.conn)
            backend_conn_close(&o.conn);
        loop_destroy(&o.loop);
    }
}

static void a_dirty_connection_ends_without_a_terminate(void **state)
{
    (void)state;
    struct shard_def shard = shard_at(pg.dir, pg.port);
    struct outcome o = dial_as(&shard, "postgres", NULL);
    PGconn *c = pg_connect(&pg, "postgres");
    pg_query(c, "DROP TABLE IF EXISTS t; CREATE TABLE t (x text)");
    /* A Query whose last two bytes are missing: a Terminate would complete it. */
    static const char sql[] = "INSERT INTO t VALUES ('lost'); --12345";
    uint8_t message[5 + sizeof(sql)] = {'Q', 0, 0, 0, 4 + sizeof(sql)};
    memcpy(message + 5, sql, sizeof(sql));
    uint32_t pid = backend_conn_pid(o.conn);
    assert_int_equal(write(backend_conn_fd(o.conn), message, sizeof(message) - 2), sizeof(message) - 2);
    backend_conn_close(&o.conn);
    char gone[200];
    snprintf(gone, sizeof(gone), "SELECT count(*) FROM pg_stat_activity WHERE pid = %u", pid);
    for (int i = 0; strcmp(pg_query(c, gone), "0") != 0; i++)
        assert_true(i < 10000);
    assert_string_equal(pg_query(c, "SELECT count(*) FROM t"), "0");
    PQfinish(c);
}

static int group_setup(void **state)
{
    (void)state;
    dial_init(dns_service_start());
    pg_start(&pg);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    dial_deinit();
    dns_service_end();
    pg_stop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_by_socket_and_by_tcp),
        cmocka_unit_test(scram_password_is_used_and_never_shown),
        cmocka_unit_test(tls_as_the_shard_wants_it),
        cmocka_unit_test(missing_database_is_told_with_the_shard),
        cmocka_unit_test(unreachable_and_unknown_hosts),
        cmocka_unit_test(silent_host_costs_its_share_of_the_time_only),
        cmocka_unit_test(writable_host_is_chosen_among_several),
        cmocka_unit_test(a_cancelled_dial_is_never_reported),
        cmocka_unit_test(a_dirty_connection_ends_without_a_terminate),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
