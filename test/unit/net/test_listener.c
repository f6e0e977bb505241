/* net/listener.h */
#include "net/listener.h"
#include "net_test.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define MAX_GOT 1000

static atomic_int accept_calls;
int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    accept_calls++;
    return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

static struct loop *loop;
static struct listener *listener;
static struct acceptor *acceptor;
static int got[MAX_GOT], n_got, stop_at, destroy_at;
static struct peer_address last_peer;
static struct error err;

static void accepted(void *arg, int fd, const struct peer_address *peer)
{
    assert_ptr_equal(arg, &n_got);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    got[n_got++] = fd;
    last_peer = *peer;
    if (n_got == destroy_at)
        acceptor_destroy(&acceptor);
    if (n_got == stop_at)
        loop_stop(loop);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_create(poller_of_test);
    n_got = stop_at = destroy_at = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < n_got; i++)
        close(got[i]);
    acceptor_destroy(&acceptor);
    listener_close(&listener);
    loop_destroy(&loop);
    return 0;
}

static int connect_tcp(int family, int port)
{
    int fd = socket(family, SOCK_STREAM, 0);
    int rc;
    if (family == AF_INET) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
    } else {
        struct sockaddr_in6 a = {
            .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback};
        rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
    }
    if (rc != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int connect_unix(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void begin_to_accept(void)
{
    acceptor = acceptor_create(loop, listener, accepted, &n_got);
    acceptor_start(acceptor);
}

static void listen_local(void)
{
    listener = listener_create_tcp("127.0.0.1", 0, 128, 0, &err);
    assert_non_null(listener);
    assert_in_range(listener_port(listener), 1, 65535);
    begin_to_accept();
}

static void accepts_a_batch_in_one_turn(void **state)
{
    (void)state;
    listen_local();
    int fds[20];
    for (int i = 0; i < 20; i++)
        assert_true((fds[i] = connect_tcp(AF_INET, listener_port(listener))) >= 0);
    run_turns(loop, 1);
    assert_int_equal(n_got, 20);
    assert_string_equal(last_peer.host, "127.0.0.1");
    assert_false(last_peer.is_unix);
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    assert_int_equal(getsockname(fds[19], (struct sockaddr *)&a, &len), 0);
    assert_int_equal(last_peer.port, ntohs(a.sin_port));
    for (int i = 0; i < 20; i++)
        close(fds[i]);
}

static void connections_wait_until_an_acceptor_starts(void **state)
{
    (void)state;
    listener = listener_create_tcp("127.0.0.1", 0, 128, 0, &err);
    acceptor = acceptor_create(loop, listener, accepted, &n_got);
    int a = connect_tcp(AF_INET, listener_port(listener)), b = connect_tcp(AF_INET, listener_port(listener));
    run_turns(loop, 3);
    assert_int_equal(n_got, 0);
    destroy_at = 1; /* from inside the callback: the second goes on waiting */
    acceptor_start(acceptor);
    run_turns(loop, 3);
    assert_int_equal(n_got, 1);
    assert_null(acceptor);
    begin_to_accept();
    run_turns(loop, 3);
    assert_int_equal(n_got, 2);
    close(a);
    close(b);
}

/* Refused, or taken and dropped at once: in no case served. */
static void assert_not_served(int fd)
{
    char c;
    if (fd >= 0)
        assert_true(recv(fd, &c, 1, 0) <= 0);
}

static void nobody_is_served_after_the_listener_was_closed(void **state)
{
    (void)state;
    listen_local();
    int port = listener_port(listener);
    int waits = connect_tcp(AF_INET, port);
    listener_close(&listener);
    assert_null(listener);
    int late = connect_tcp(AF_INET, port);
    assert_int_equal(late, -1);
    run_turns(loop, 3); /* the acceptor is still there */
    assert_int_equal(n_got, 0);
    assert_not_served(waits);
    acceptor_destroy(&acceptor);
    run_turns(loop, 1);
    listener = listener_create_tcp("127.0.0.1", port, 16, 0, &err); /* the port is free */
    assert_non_null(listener);
    close(waits);
}

/* As many loops as like; each connection goes to one of them. */
static int of_second;

static void accepted_by_second(void *arg, int fd, const struct peer_address *peer)
{
    (void)arg;
    (void)peer;
    of_second++;
    close(fd);
}

static void several_loops_share_a_listener(void **state)
{
    (void)state;
    listen_local();
    struct loop *second = loop_create(poller_of_test);
    struct acceptor *other = acceptor_create(second, listener, accepted_by_second, NULL);
    acceptor_start(other);
    of_second = 0;
    int a = connect_tcp(AF_INET, listener_port(listener));
    run_turns(second, 2);
    assert_int_equal(of_second, 1);
    run_turns(loop, 2);
    assert_int_equal(n_got, 0);
    int b = connect_tcp(AF_INET, listener_port(listener));
    run_turns(loop, 2);
    assert_int_equal(n_got, 1);
    listener_close(&listener); /* the acceptors' hold it */
    run_turns(second, 2);
    assert_int_equal(of_second, 1);
    acceptor_destroy(&other);
    loop_destroy(&second);
    close(a);
    close(b);
}

/* Loops on threads of their own, which wait in the kernel: every connection wakes one of them, and none is left over. */
#define LOOPS        4
#define CONNECTIONS  2000
#define MOST_AT_ONCE 32

struct door {
    struct loop *loop;
    struct acceptor *acceptor;
    pthread_t thread;
    int taken;
};

static void greet(void *arg, int fd, const struct peer_address *peer)
{
    struct door *d = arg;
    (void)peer;
    d->taken += write(fd, "h", 1) == 1;
    close(fd);
}

static void *run_door(void *arg)
{
    struct door *d = arg;
    acceptor_start(d->acceptor);
    loop_run(d->loop);
    acceptor_destroy(&d->acceptor);
    return NULL;
}

static void no_connection_is_left_waiting_by_loops_on_threads(void **state)
{
    (void)state;
    struct door doors[LOOPS];
    listener = listener_create_tcp("127.0.0.1", 0, 128, 0, &err);
    assert_non_null(listener);
    for (int i = 0; i < LOOPS; i++) {
        doors[i] = (struct door){.loop = loop_create(poller_of_test)};
        doors[i].acceptor = acceptor_create(doors[i].loop, listener, greet, &doors[i]);
        pthread_create(&doors[i].thread, NULL, run_door, &doors[i]);
    }
    for (int n = 0;
         n < CONNECTIONS;) { /* one at a time, then some at once: each is answered, or alarm() ends this */
        int fds[MOST_AT_ONCE], at_once = n % 3 ? MOST_AT_ONCE : 1;
        char c;
        for (int i = 0; i < at_once; i++)
            assert_true((fds[i] = connect_tcp(AF_INET, listener_port(listener))) >= 0);
        for (int i = 0; i < at_once; i++) {
            assert_int_equal(recv(fds[i], &c, 1, 0), 1);
            close(fds[i]);
        }
        n += at_once;
    }
    int late = connect_tcp(AF_INET, listener_port(listener)), port = listener_port(listener);
    listener_close(&listener); /* while the others accept */
    assert_int_equal(connect_tcp(AF_INET, port), -1);
    close(late);
    int taken = 0;
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(doors[i].loop);
        pthread_join(doors[i].thread, NULL);
        taken += doors[i].taken;
        loop_destroy(&doors[i].loop);
    }
    assert_in_range(taken, CONNECTIONS, CONNECTIONS + MOST_AT_ONCE);
}

static void star_listens_on_every_family_with_one_port(void **state)
{
    (void)state;
    listener = listener_create_tcp("*", 0, 16, 0, &err);
    assert_non_null(listener);
    begin_to_accept();
    int a = connect_tcp(AF_INET, listener_port(listener));
    assert_true(a >= 0);
    run_turns(loop, 2);
    assert_int_equal(n_got, 1);
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    bool has_ipv6 = probe >= 0 && bind(probe, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;
    close(probe);
    if (has_ipv6) {
        int b = connect_tcp(AF_INET6, listener_port(listener));
        assert_true(b >= 0);
        run_turns(loop, 2);
        assert_int_equal(n_got, 2);
        assert_string_equal(last_peer.host, "::1");
        close(b);
    }
    close(a);
}

static void taken_port_is_an_error_with_a_hint(void **state)
{
    (void)state;
    listen_local();
    struct listener *other = listener_create_tcp("127.0.0.1", listener_port(listener), 16, 0, &err);
    assert_null(other);
    assert_string_equal(err.sqlstate, SQLSTATE_CONFIG);
    assert_non_null(strstr(err.message, "in use"));
    assert_true(err.hint[0] != '\0');
    assert_null(listener_create_tcp("no.such.host.invalid", 0, 16, 0, &err));
    assert_non_null(strstr(err.message, "no.such.host.invalid"));
    assert_null(listener_create_tcp("192.0.2.1", 0, 16, 0, &err)); /* nobody's address */
    assert_non_null(strstr(err.message, "192.0.2.1"));
}

static void listener_rests_when_descriptors_run_out(void **state)
{
    (void)state;
    listen_local();
    int client = connect_tcp(AF_INET, listener_port(listener));
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    low.rlim_cur = (rlim_t)client + 1; /* every number below is taken */
    int hog[64], n_hog = 0;
    setrlimit(RLIMIT_NOFILE, &low);
    while (n_hog < 64 && (hog[n_hog] = dup(client)) >= 0)
        n_hog++;
    accept_calls = 0;
    run_turns(loop, 100);
    assert_int_equal(n_got, 0);
    assert_in_range(accept_calls, 1, 20); /* one, but for a machine that stood still */
    setrlimit(RLIMIT_NOFILE, &old);
    for (int i = 0; i < n_hog; i++)
        close(hog[i]);
    stop_at = 1;
    loop_run(loop);
    assert_int_equal(n_got, 1);
    close(client);
}

static void a_deferred_connection_comes_with_its_first_byte(void **state)
{
    (void)state;
    listener = listener_create_tcp("127.0.0.1", 0, 16, 30, &err);
    assert_non_null(listener);
    begin_to_accept();
    int fd = connect_tcp(AF_INET, listener_port(listener));
    run_turns(loop, 3);
    assert_int_equal(n_got, 0);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    stop_at = 1;
    loop_run(loop);
    char c;
    assert_int_equal(recv(got[0], &c, 1, 0), 1); /* it does not block */
    close(fd);
}

/* ---- Unix sockets ---- */

static char dir[sizeof("/tmp/test_listener.XXXXXX")], path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(strcpy(dir, "/tmp/test_listener.XXXXXX")))
        return -1;
    snprintf(path, sizeof(path), "%s/.s.PGSQL.7654", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* fails if a listener left its socket */
}

static struct listener *listen_unix(unsigned mode)
{
    return listener_create_unix(dir, 7654, mode, 16, &err);
}

static void unix_socket_has_the_mode_and_goes_with_its_listener(void **state)
{
    (void)state;
    listener = listen_unix(0770);
    assert_non_null(listener);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0770);
    begin_to_accept();
    int fd = connect_unix(path);
    assert_true(fd >= 0);
    run_turns(loop, 2);
    assert_int_equal(n_got, 1);
    assert_string_equal(last_peer.host, "unix");
    assert_true(last_peer.is_unix);
    assert_int_equal(last_peer.port, 0);
    int waits = connect_unix(path);
    assert_true(waits >= 0);
    listener_close(&listener);
    assert_int_equal(stat(path, &st), -1);
    run_turns(loop, 2);
    assert_int_equal(n_got, 1);
    acceptor_destroy(&acceptor);
    run_turns(loop, 1);
    assert_not_served(waits);
    close(waits);
    close(fd);
}

static void live_socket_is_respected_and_stale_one_replaced(void **state)
{
    (void)state;
    listener = listen_unix(0777);
    assert_non_null(listener);
    assert_null(listen_unix(0777));
    assert_non_null(strstr(err.message, "in use"));
    int fd = connect_unix(path); /* the live one still works */
    assert_true(fd >= 0);
    close(fd);
    listener_close(&listener);

    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    assert_int_equal(bind(dead, (struct sockaddr *)&a, sizeof(a)), 0);
    close(dead); /* the file stays, nobody answers */
    listener = listen_unix(0777);
    assert_non_null(listener);
    fd = connect_unix(path);
    assert_true(fd >= 0);
    close(fd);
}

static void a_successors_socket_is_not_removed(void **state)
{
    (void)state;
    listener = listen_unix(0777);
    assert_int_equal(unlink(path), 0);
    struct listener *successor = listen_unix(0777);
    assert_non_null(successor);
    listener_close(&listener);
    int fd = connect_unix(path);
    assert_true(fd >= 0);
    close(fd);
    listener_close(&successor);
}

static void other_files_are_not_touched(void **state)
{
    (void)state;
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_null(listen_unix(0777));
    assert_non_null(strstr(err.message, "not a socket"));
    assert_int_equal(unlink(path), 0);
    char deep[200];
    memset(deep, 'x', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_null(listener_create_unix(deep, 1, 0777, 16, &err));
    assert_non_null(strstr(err.message, "too long"));
    assert_null(listener_create_unix("/nonexistent", 1, 0777, 16, &err));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(accepts_a_batch_in_one_turn),
        T(connections_wait_until_an_acceptor_starts),
        T(nobody_is_served_after_the_listener_was_closed),
        T(several_loops_share_a_listener),
        T(no_connection_is_left_waiting_by_loops_on_threads),
        T(star_listens_on_every_family_with_one_port),
        T(taken_port_is_an_error_with_a_hint),
        T(listener_rests_when_descriptors_run_out),
        T(a_deferred_connection_comes_with_its_first_byte),
        T(unix_socket_has_the_mode_and_goes_with_its_listener),
        T(live_socket_is_respected_and_stale_one_replaced),
        T(a_successors_socket_is_not_removed),
        T(other_files_are_not_touched),
    };
    alarm(60);
    return run_on_each_poller(tests, make_dir, remove_dir);
}
