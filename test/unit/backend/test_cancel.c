/* src/backend/cancel.h, against a real server */
#include "pg_fixture.h"

#include "../../../src/backend/cancel.h"
#include "backend/dial.h"
#include "base/log.h"

static struct pg_fixture pg;
static struct loop *loop;
static struct cancels *cancels;
static struct settings settings;
static PGconn *admin;

static int begin(void **state)
{
    (void)state;
    loop = loop_create();
    cancels = cancels_create(loop);
    fixture_settings(&settings);
    admin = pg_connect(&pg, "postgres");
    return 0;
}

static int end(void **state)
{
    (void)state;
    PQfinish(admin);
    cancels_destroy(&cancels);
    loop_destroy(&loop);
    return 0;
}

/* --- connections that run something ----------------------------------------------------------- */

static void dialled(void *arg, struct backend_conn *conn, const struct error *why)
{
    if (!conn)
        fail_msg("%s: %s", why->message, why->detail);
    *(struct backend_conn **)arg = conn;
    loop_stop(loop);
}

static struct backend_conn *dial(const char *host, const char *port, const char *sslmode)
{
    char ca[100];
    snprintf(ca, sizeof ca, "%s/server.crt", pg.dir);
    struct shard_def shard = {
        .name = "s1", .host = host, .port = port, .dbname = "postgres", .sslmode = sslmode};
    struct dial_params params = {.shard = &shard, .settings = &settings, .user = "postgres"};
    struct backend_conn *conn = NULL;
    if (strncmp(sslmode, "verify", 6) == 0)
        shard.sslrootcert = ca;
    dial_start(loop, &params, dialled, &conn);
    run_loop(loop);
    return conn;
}

static bool is_active(uint32_t pid)
{
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %u AND state = 'active'",
             pid);
    return strcmp(pg_query(admin, sql), "1") == 0;
}

/* The query is on its way when this returns: the server runs it. */
static void sleep_there(struct backend_conn *conn)
{
    PGconn *pq = backend_conn_pq(conn);
    PQsetnonblocking(pq, 0);
    assert_int_equal(PQsendQuery(pq, "SELECT pg_sleep(60)"), 1);
    for (int i = 0; !is_active(backend_conn_pid(conn)); i++)
        assert_true(i < 10000);
}

static void must_be_cancelled(struct backend_conn *conn)
{
    PGconn *pq = backend_conn_pq(conn);
    PGresult *r = PQgetResult(pq);
    assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014");
    PQclear(r);
    assert_null(PQgetResult(pq));
}

/* --- requests --------------------------------------------------------------------------------- */

static int reports;
static bool was_through;

static void done(void *arg, bool through)
{
    assert_ptr_equal(arg, &reports);
    reports++;
    was_through = through;
    loop_stop(loop);
}

/* Whether it is through. */
static bool cancel(const struct backend_conn *conn)
{
    reports = 0;
    assert_non_null(cancel_send(cancels, conn, done, &reports));
    assert_int_equal(reports, 0); /* never from inside */
    run_loop(loop);
    assert_int_equal(reports, 1);
    return was_through;
}

static void reaches_what_runs_by_socket_tcp_and_tls(void **state)
{
    (void)state;
    const struct {
        const char *host, *sslmode;
    } ways[] = {{pg.dir, "prefer"},
                {"127.0.0.1", "disable"},
                {"127.0.0.1", "require"},
                {"127.0.0.1", "verify-ca"},
                {"localhost", "verify-full"}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct backend_conn *conn = dial(ways[i].host, pg.port, ways[i].sslmode);
        assert_int_equal(backend_conn_ssl(conn) != NULL, i >= 2);
        for (int again = 0; again < 2; again++) {
            sleep_there(conn);
            assert_true(cancel(conn));
            must_be_cancelled(conn);
        }
        backend_conn_close(&conn);
    }
}

static void look_again(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void a_forgotten_request_outlives_its_connection(void **state)
{
    (void)state;
    for (int tls = 0; tls <= 1; tls++) {
        struct backend_conn *conn = dial("127.0.0.1", pg.port, tls ? "require" : "disable");
        uint32_t pid = backend_conn_pid(conn);
        sleep_there(conn);
        struct cancel_request *r = cancel_send(cancels, conn, done, &reports);
        cancel_forget(&r);
        assert_null(r);
        backend_conn_close(&conn);
        reports = 0;
        struct loop_timer *t = loop_timer_create(loop, look_again, NULL);
        for (int i = 0; is_active(pid); i++) {
            assert_true(i < 10000);
            loop_timer_start(t, 1000);
            run_loop(loop);
        }
        loop_timer_destroy(&t);
        assert_int_equal(reports, 0);
    }
}

static void what_is_on_its_way_at_the_end_is_dropped(void **state)
{
    (void)state;
    struct backend_conn *conn = dial("127.0.0.1", pg.port, "require");
    reports = 0;
    assert_non_null(cancel_send(cancels, conn, done, &reports));
    cancels_destroy(&cancels);
    assert_int_equal(reports, 0);
    backend_conn_close(&conn);
    cancels = cancels_create(loop);
}

/* --- places that do not answer ---------------------------------------------------------------- */

static void copy_some(int from, int to)
{
    char bytes[4096];
    ssize_t n = read(from, bytes, sizeof bytes);
    if (n <= 0 || write(to, bytes, (size_t)n) != n)
        _exit(0);
}

/* Brings the first connection to the server; all others are accepted by the kernel alone. */
static pid_t relay_one(char port[8])
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 10), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    snprintf(port, 8, "%d", ntohs(a.sin_port));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        close(listener);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int client = accept(listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_port = htons((uint16_t)atoi(pg.port));
    if (connect(server, (struct sockaddr *)&a, sizeof a) != 0)
        _exit(1);
    for (;;) {
        struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        poll(p, 2, -1);
        if (p[0].revents)
            copy_some(client, server);
        if (p[1].revents)
            copy_some(server, client);
    }
}

static void a_silent_place_is_given_up_in_time(void **state)
{
    (void)state;
    for (int tls = 0; tls <= 1; tls++) {
        char port[8];
        pid_t relay = relay_one(port);
        struct backend_conn *conn = dial("127.0.0.1", port, tls ? "require" : "disable");
        backend_conn_close(&conn);
        kill(relay, SIGKILL);
        waitpid(relay, NULL, 0);
        relay = relay_one(port);
        settings.server_connect_timeout_us = 1500000;
        conn = dial("127.0.0.1", port, tls ? "require" : "disable");
        /* Without TLS it was sent, and who knows. With TLS it was not, and never will be. */
        assert_int_equal(cancel(conn), tls);
        backend_conn_close(&conn);
        kill(relay, SIGKILL);
        waitpid(relay, NULL, 0);
    }
}

static void a_refused_connection_sends_nothing(void **state)
{
    (void)state;
    char port[8];
    pid_t relay = relay_one(port);
    struct backend_conn *conn = dial("127.0.0.1", port, "disable");
    kill(relay, SIGKILL); /* the listener with it */
    waitpid(relay, NULL, 0);
    assert_true(cancel(conn));
    backend_conn_close(&conn);
}

/* --- certificates ----------------------------------------------------------------------------- */

/* A new one for the server, signed by the first one. */
static void replace_certificate(const char *common_name)
{
    char command[600], reloaded[300];
    snprintf(command, sizeof command,
             "[ -f ca.crt ] || { cp -p server.crt ca.crt && cp -p server.key ca.key; }; "
             "openssl req -new -nodes -subj /O=pgunison/CN=%s -out new.csr -keyout new.key && "
             "openssl x509 -req -days 2 -in new.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out new.crt && "
             "chmod 0600 new.key && mv new.crt data/new.crt && mv new.key data/new.key",
             common_name);
    pg_run(pg.dir, command);
    pg_query(admin, "ALTER SYSTEM SET ssl_cert_file = 'new.crt'");
    pg_query(admin, "ALTER SYSTEM SET ssl_key_file = 'new.key'");
    snprintf(reloaded, sizeof reloaded, "SELECT pg_reload_conf()");
    pg_query(admin, reloaded);
}

static void wait_until_shown(const char *common_name)
{
    char conninfo[200];
    snprintf(conninfo, sizeof conninfo,
             "host=%s hostaddr=127.0.0.1 port=%s user=postgres dbname=postgres sslmode=verify-full "
             "sslrootcert=%s/server.crt",
             common_name, pg.port, pg.dir);
    for (int i = 0;; i++) {
        PGconn *c = PQconnectdb(conninfo);
        bool ok = PQstatus(c) == CONNECTION_OK;
        if (i == 1000)
            fail_msg("%s", PQerrorMessage(c));
        PQfinish(c);
        if (ok)
            return;
    }
}

static void another_certificate_is_judged_as_sslmode_says(void **state)
{
    (void)state;
    const char *modes[] = {"require", "verify-ca", "verify-full"};
    struct backend_conn *conns[3];
    for (int i = 0; i < 3; i++) {
        conns[i] = dial("localhost", pg.port, modes[i]);
        sleep_there(conns[i]);
    }
    replace_certificate("elsewhere");
    wait_until_shown("elsewhere");
    for (int i = 0; i < 3; i++) {
        assert_true(cancel(conns[i])); /* or not sent */
        if (i < 2)
            must_be_cancelled(conns[i]);
    }
    assert_true(is_active(backend_conn_pid(conns[2])));
    replace_certificate("localhost"); /* another one still, but its own */
    wait_until_shown("localhost");
    assert_true(cancel(conns[2]));
    must_be_cancelled(conns[2]);
    for (int i = 0; i < 3; i++)
        backend_conn_close(&conns[i]);
}

static void an_unknown_authority_is_refused(void **state)
{
    (void)state;
    struct backend_conn *verified = dial("localhost", pg.port, "verify-ca"),
                        *any = dial("localhost", pg.port, "require");
    sleep_there(verified);
    sleep_there(any);
    pg_run(
        pg.dir,
        "openssl req -new -x509 -days 2 -nodes -subj /CN=stranger -out data/new.crt -keyout data/new.key && "
        "chmod 0600 data/new.key && cp data/new.crt stranger.crt && chmod 0644 stranger.crt");
    pg_query(admin, "ALTER SYSTEM SET ssl_cert_file = 'new.crt'");
    pg_query(admin, "ALTER SYSTEM SET ssl_key_file = 'new.key'");
    pg_query(admin, "SELECT pg_reload_conf()");
    char conninfo[200];
    snprintf(
        conninfo, sizeof conninfo,
        "host=127.0.0.1 port=%s user=postgres dbname=postgres sslmode=verify-ca sslrootcert=%s/stranger.crt",
        pg.port, pg.dir);
    for (int i = 0;; i++) {
        PGconn *c = PQconnectdb(conninfo);
        bool ok = PQstatus(c) == CONNECTION_OK;
        PQfinish(c);
        if (ok)
            break;
        assert_true(i < 1000);
    }
    assert_true(cancel(any));
    must_be_cancelled(any);
    assert_true(cancel(verified)); /* not sent */
    assert_true(is_active(backend_conn_pid(verified)));
    backend_conn_close(&verified);
    backend_conn_close(&any);
}

static int group_setup(void **state)
{
    (void)state;
    log_set_stderr(false);
    signal(SIGPIPE, SIG_IGN);
    dial_init();
    pg_start(&pg);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    dial_deinit();
    pg_stop(&pg);
    return 0;
}

#define CANCEL_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CANCEL_TEST(reaches_what_runs_by_socket_tcp_and_tls),
        CANCEL_TEST(a_forgotten_request_outlives_its_connection),
        CANCEL_TEST(what_is_on_its_way_at_the_end_is_dropped),
        CANCEL_TEST(a_silent_place_is_given_up_in_time),
        CANCEL_TEST(a_refused_connection_sends_nothing),
        CANCEL_TEST(another_certificate_is_judged_as_sslmode_says),
        CANCEL_TEST(an_unknown_authority_is_refused),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
