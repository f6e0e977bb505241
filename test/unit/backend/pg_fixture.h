/*
 * A PostgreSQL server of the test's own: made under /tmp, run as user postgres when the test is root, gone
 * afterwards (also when the test dies: the server gets SIGINT then). Users: postgres (superuser; by socket
 * and TCP), trusted, scram (password "sesame"), tlsonly. TLS with a self-signed certificate in
 * <dir>/server.crt.
 *
 * And a loop that runs until something has happened, or fails the test after a while.
 */
#ifndef PGUNISON_TEST_PG_FIXTURE_H
#define PGUNISON_TEST_PG_FIXTURE_H

#include "base/arena.h"
#include "conf/config.h"
#include "net/loop.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE __attribute__((unused)) static /* not every test uses everything here */

struct pg_fixture {
    char dir[64];
    char port[8];
    pid_t pid;
};

FIXTURE void pg_become_user(void)
{
    struct passwd *pw = getpwnam("postgres");
    if (geteuid() == 0 && (!pw || initgroups("postgres", pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 ||
                           setuid(pw->pw_uid) != 0))
        _exit(126);
}

/* Newest installed first. */
FIXTURE const char *pg_bindir(void)
{
    static char dir[64];
    for (int v = 20; v >= 13; v--) {
        snprintf(dir, sizeof(dir), "/usr/lib/postgresql/%d/bin", v);
        char initdb[80];
        snprintf(initdb, sizeof(initdb), "%s/initdb", dir);
        if (access(initdb, X_OK) == 0)
            return dir;
    }
    fail_msg("no PostgreSQL server is installed");
    return NULL;
}

FIXTURE pid_t pg_spawn(const char *dir, char *const argv[], const char *log)
{
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    pg_become_user();
    prctl(PR_SET_PDEATHSIG, SIGINT);
    if (getppid() != parent || chdir(dir) != 0)
        _exit(126);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    for (int i = 3; i < 256; i++)
        close(i);
    execv(argv[0], argv);
    _exit(127);
}

FIXTURE void pg_run(const char *dir, const char *command)
{
    char *argv[] = {"/bin/sh", "-c", (char *)command, NULL};
    int status;
    pid_t pid = pg_spawn(dir, argv, "setup.log");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("failed in %s (see setup.log there): %s", dir, command);
}

FIXTURE int pg_free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

FIXTURE void pg_launch(struct pg_fixture *pg)
{
    char program[96];
    snprintf(program, sizeof(program), "%s/postgres", pg_bindir());
    char *argv[] = {program, "-D", "data", "-p", pg->port, "-k", pg->dir, NULL};
    pg->pid = pg_spawn(pg->dir, argv, "server.log");
    char conninfo[160];
    snprintf(conninfo, sizeof(conninfo), "host=%s port=%s user=postgres dbname=postgres", pg->dir, pg->port);
    for (int i = 0; PQping(conninfo) != PQPING_OK; i++) { /* waits for another process, which tells nobody */
        assert_true(i < 1000);
        poll(NULL, 0, 20);
    }
}

FIXTURE void pg_halt(struct pg_fixture *pg)
{
    if (pg->pid <= 0)
        return;
    kill(pg->pid, SIGQUIT);
    waitpid(pg->pid, NULL, 0);
    pg->pid = 0;
}

FIXTURE PGconn *pg_connect(const struct pg_fixture *pg, const char *dbname)
{
    char conninfo[200];
    snprintf(conninfo, sizeof(conninfo), "host=%s port=%s user=postgres dbname=%s application_name=fixture",
             pg->dir, pg->port, dbname);
    PGconn *c = PQconnectdb(conninfo);
    if (PQstatus(c) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(c));
    return c;
}

/* The first value of the last result, in a static buffer; "" when there is none. */
FIXTURE const char *pg_query(PGconn *c, const char *sql)
{
    static char value[256];
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(c));
    snprintf(value, sizeof(value), "%s", PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    return value;
}

FIXTURE void pg_start(struct pg_fixture *pg)
{
    *pg = (struct pg_fixture){0};
    strcpy(pg->dir, "/tmp/pgunison-unit-XXXXXX");
    assert_non_null(mkdtemp(pg->dir));
    struct passwd *pw = getpwnam("postgres");
    if (geteuid() == 0 && pw)
        assert_int_equal(chown(pg->dir, pw->pw_uid, pw->pw_gid), 0);
    snprintf(pg->port, sizeof(pg->port), "%d", pg_free_port());
    char command[512];
    snprintf(command, sizeof(command),
             "%s/initdb -D data -U postgres -A trust -N --no-instructions --encoding=UTF8 --locale=C",
             pg_bindir());
    pg_run(pg->dir, command);
    pg_run(pg->dir,
           "openssl req -new -x509 -days 2 -nodes -subj /CN=localhost -out server.crt -keyout server.key && "
           "chmod 0600 server.key && chmod 0755 . && chmod 0644 server.crt");
    pg_run(pg->dir, "cat > data/pg_hba.conf <<END\n"
                    "local all all trust\n"
                    "host all postgres,trusted 127.0.0.1/32 trust\n"
                    "host all scram 127.0.0.1/32 scram-sha-256\n"
                    "hostssl all tlsonly 127.0.0.1/32 trust\n"
                    "END\n"
                    "cat >> data/postgresql.conf <<END\n"
                    "listen_addresses = '127.0.0.1'\nfsync = off\nssl = on\nssl_cert_file = '../server.crt'\n"
                    "ssl_key_file = '../server.key'\nmax_connections = 40\nmax_prepared_transactions = 10\n"
                    "shared_buffers = 16MB\nautovacuum = off\npassword_encryption = 'scram-sha-256'\nEND\n");
    pg_launch(pg);
    PGconn *c = pg_connect(pg, "postgres");
    pg_query(
        c, "CREATE ROLE trusted LOGIN; CREATE ROLE scram LOGIN PASSWORD 'sesame'; CREATE ROLE tlsonly LOGIN");
    PQfinish(c);
}

FIXTURE void pg_stop(struct pg_fixture *pg)
{
    pg_halt(pg);
    if (strncmp(pg->dir, "/tmp/pgunison-unit-", 19) == 0) {
        char command[100];
        snprintf(command, sizeof(command), "rm -rf '%s'", pg->dir);
        assert_int_equal(system(command), 0);
    }
}

/* --- loops ------------------------------------------------------------------------------------ */

FIXTURE void fixture_too_late(void *arg)
{
    (void)arg;
    fprintf(stderr, "nothing happened for 20 seconds\n");
    abort();
}

/* Runs the loop until a callback calls loop_stop(). */
FIXTURE void run_loop(struct loop *loop)
{
    struct loop_timer *guard = loop_timer_create(loop, fixture_too_late, NULL);
    loop_timer_start(guard, 20000000);
    loop_run(loop);
    loop_timer_destroy(&guard);
}

/* --- definitions ------------------------------------------------------------------------------ */

/* Texts are empty, not NULL, as conf gives them. */
FIXTURE void fixture_settings(struct settings *s)
{
    *s = (struct settings){.default_pool_size = 2,
                           .server_connect_timeout_us = 15000000,
                           .server_login_retry_us = 15000000,
                           .server_lifetime_us = 3600000000,
                           .server_idle_timeout_us = 600000000,
                           .server_check_delay_us = 30000000,
                           .query_wait_timeout_us = 120000000,
                           .max_prepared_statements = 10,
                           .server_tls_sslmode = TLS_PREFER,
                           .server_check_query = "",
                           .server_reset_query = "DISCARD ALL",
                           .server_tls_ca_file = "",
                           .server_tls_cert_file = "",
                           .server_tls_key_file = "",
                           .server_tls_protocols = "secure",
                           .server_tls_ciphers = "",
                           .admin_users = "postgres",
                           .tcp_keepalive = true,
                           .tcp_keepidle = 60};
}

#endif
