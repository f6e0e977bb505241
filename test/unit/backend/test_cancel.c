/* src/backend/cancel.h, against a real server */
#include "../loop_of_test.h"
#include "dns_fixture.h"
#include "pg_fixture.h"

#include "../../../src/backend/cancel.h"
#include "backend/dial.h"
#include "backend/server.h"
#include "base/log.h"
#include "wire/message.h"

static struct pg_fixture pg;
static struct loop *loop;
static struct cancels *cancels;
static struct settings settings;
static PGconn *admin;

static int begin(void **state)
{
    (void)state;
    loop = worker_loop_create();
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

/* A connection, and the server that runs something on it. */
struct sleeper {
    struct server *server;
    struct backend_conn *conn; /* the server's */
    char sqlstate[6];
    bool ready;
};

static void heard(void *owner, struct server *s, const struct expect *e, const struct frame *f)
{
    struct sleeper *z = owner;
    struct error said, bad;
    (void)s;
    (void)e;
    if (f->type == MSG_ERROR) {
        assert_int_equal(message_read_error(f, &said, &bad), STATUS_OK);
        memcpy(z->sqlstate, said.sqlstate, sizeof z->sqlstate);
    } else if (f->type == MSG_READY) {
        z->ready = true;
        loop_stop(loop);
    }
}

static void lost(void *owner, struct server *s, const struct error *why)
{
    (void)owner;
    (void)s;
    fail_msg("%s", why->message);
}

static const struct server_owner_ops owner_ops = {.message = heard, .lost = lost};

static void sleeper_open(struct sleeper *z, const char *host, const char *port, const char *sslmode)
{
    *z = (struct sleeper){.conn = dial(host, port, sslmode)};
    z->server = server_create(loop, cancels, z->conn, NULL);
    server_set_owner(z->server, &owner_ops, z);
}

static void sleeper_close(struct sleeper *z)
{
    server_destroy(&z->server);
}

static void look_again(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void await_active(uint32_t pid, bool active)
{
    struct loop_timer *t = loop_timer_create(loop, look_again, NULL);
    for (int i = 0; is_active(pid) != active; i++) {
        assert_true(i < 10000);
        loop_timer_start(t, 1000);
        run_loop(loop);
    }
    loop_timer_destroy(&t);
}

/* The server runs it when this returns. */
static void sleep_there(struct sleeper *z)
{
    struct buf b;
    buf_init(&b);
    message_query(&b, slice_str("SELECT pg_sleep(60)"));
    server_expect(z->server, EXPECT_QUERY, SINK_MESSAGE, 0, NULL);
    server_write(z->server, buf_head(&b), buf_len(&b));
    buf_free(&b);
    z->ready = false;
    z->sqlstate[0] = '\0';
    await_active(backend_conn_pid(z->conn), true);
    assert_false(z->ready);
}

static void must_be_cancelled(struct sleeper *z)
{
    while (!z->ready)
        run_loop(loop);
    assert_string_equal(z->sqlstate, "57014");
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
    while (!reports)              /* the answer may come before it */
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
        struct sleeper z;
        sleeper_open(&z, ways[i].host, pg.port, ways[i].sslmode);
        assert_int_equal(backend_conn_ssl(z.conn) != NULL, i >= 2);
        for (int again = 0; again < 2; again++) {
            sleep_there(&z);
            assert_true(cancel(z.conn));
            must_be_cancelled(&z);
        }
        sleeper_close(&z);
    }
}

static void a_forgotten_request_outlives_its_connection(void **state)
{
    (void)state;
    static const char *const modes[] = {"disable", "require", "verify-full"};
    for (int i = 0; i < 3; i++) {
        struct sleeper z;
        sleeper_open(&z, "localhost", pg.port, modes[i]);
        uint32_t pid = backend_conn_pid(z.conn);
        sleep_there(&z);
        struct cancel_request *r = cancel_send(cancels, z.conn, done, &reports);
        cancel_forget(&r);
        assert_null(r);
        sleeper_close(&z);
        reports = 0;
        await_active(pid, false);
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
    assert_int_equal(listen(listener, 0), 0);
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
        settings.server_connect_timeout_us = 1500000;
        struct backend_conn *conn = dial("127.0.0.1", port, tls ? "require" : "disable");
        /* Without TLS it was sent, and who knows. With TLS it was not, and never will be. */
        assert_int_equal(cancel(conn), tls);
        backend_conn_close(&conn);
        kill(relay, SIGKILL);
        waitpid(relay, NULL, 0);
    }
}

/* Those that the kernel keeps for the listener are as many as it may: a further one is not even answered. */
static void a_request_that_cannot_connect_is_not_sent(void **state)
{
    (void)state;
    char port[8];
    int waiting[8];
    pid_t relay = relay_one(port);
    settings.server_connect_timeout_us = 1500000;
    struct backend_conn *conn = dial("127.0.0.1", port, "disable");
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)atoi(port))};
    for (int i = 0; i < 8; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (struct sockaddr *)&a, sizeof a);
    }
    assert_true(cancel(conn));
    for (int i = 0; i < 8; i++)
        close(waiting[i]);
    backend_conn_close(&conn);
    kill(relay, SIGKILL);
    waitpid(relay, NULL, 0);
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

static void use_new_certificate(void)
{
    pg_query(admin, "ALTER SYSTEM SET ssl_cert_file = 'new.crt'");
    pg_query(admin, "ALTER SYSTEM SET ssl_key_file = 'new.key'");
    pg_query(admin, "SELECT pg_reload_conf()");
}

/* A new one for the server, signed by the first one. */
static void replace_certificate(const char *common_name)
{
    char command[600];
    snprintf(command, sizeof command,
             "[ -f ca.crt ] || { cp -p server.crt ca.crt && cp -p server.key ca.key; }; "
             "openssl req -new -nodes -subj /O=pgunison/CN=%s -out new.csr -keyout new.key && "
             "openssl x509 -req -days 2 -in new.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out new.crt && "
             "chmod 0600 new.key && mv new.crt data/new.crt && mv new.key data/new.key",
             common_name);
    pg_run(pg.dir, command);
    use_new_certificate();
}

/* The reload is not waited for by who asked for it. */
static void wait_until_shown(const char *host, const char *sslmode, const char *ca)
{
    char conninfo[300];
    snprintf(conninfo, sizeof conninfo,
             "host=%s hostaddr=127.0.0.1 port=%s user=postgres dbname=postgres sslmode=%s sslrootcert=%s/%s",
             host, pg.port, sslmode, pg.dir, ca);
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
    struct sleeper z[3];
    for (int i = 0; i < 3; i++) {
        sleeper_open(&z[i], "localhost", pg.port, modes[i]);
        sleep_there(&z[i]);
    }
    replace_certificate("elsewhere");
    wait_until_shown("elsewhere", "verify-full", "server.crt");
    for (int i = 0; i < 3; i++) {
        assert_true(cancel(z[i].conn)); /* or not sent */
        if (i < 2)
            must_be_cancelled(&z[i]);
    }
    assert_true(is_active(backend_conn_pid(z[2].conn)));
    replace_certificate("localhost"); /* another one still, but its own */
    wait_until_shown("localhost", "verify-full", "server.crt");
    assert_true(cancel(z[2].conn));
    must_be_cancelled(&z[2]);
    for (int i = 0; i < 3; i++)
        sleeper_close(&z[i]);
}

static void an_unknown_authority_is_refused(void **state)
{
    (void)state;
    struct sleeper verified, any;
    sleeper_open(&verified, "localhost", pg.port, "verify-ca");
    sleeper_open(&any, "localhost", pg.port, "require");
    sleep_there(&verified);
    sleep_there(&any);
    pg_run(
        pg.dir,
        "openssl req -new -x509 -days 2 -nodes -subj /CN=stranger -out data/new.crt -keyout data/new.key && "
        "chmod 0600 data/new.key && cp data/new.crt stranger.crt && chmod 0644 stranger.crt");
    use_new_certificate();
    wait_until_shown("localhost", "verify-ca", "stranger.crt");
    assert_true(cancel(any.conn));
    must_be_cancelled(&any);
    assert_true(cancel(verified.conn)); /* not sent */
    assert_true(is_active(backend_conn_pid(verified.conn)));
    sleeper_close(&verified);
    sleeper_close(&any);
}

static int group_setup(void **state)
{
    (void)state;
    log_set_stderr(false);
    signal(SIGPIPE, SIG_IGN);
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

#define CANCEL_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CANCEL_TEST(reaches_what_runs_by_socket_tcp_and_tls),
        CANCEL_TEST(a_forgotten_request_outlives_its_connection),
        CANCEL_TEST(what_is_on_its_way_at_the_end_is_dropped),
        CANCEL_TEST(a_silent_place_is_given_up_in_time),
        CANCEL_TEST(a_request_that_cannot_connect_is_not_sent),
        CANCEL_TEST(a_refused_connection_sends_nothing),
        CANCEL_TEST(another_certificate_is_judged_as_sslmode_says),
        CANCEL_TEST(an_unknown_authority_is_refused),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
