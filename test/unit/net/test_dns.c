/* net/dns.h, against files and a DNS server of the test's own */
#include "base/list.h"
#include "net/dns.h"
#include "net_test.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

static char dir[sizeof("/tmp/test_dns.XXXXXX")], hosts[64], resolv[64];
static struct loop *loop; /* of DNS */
static struct dns *dns;

/* ---- a server that knows a few names, and says nothing for others ---- */

static struct {
    int fd, port;
    pthread_t thread;
    atomic_int asked;
} server;

/* The name of the question at p, in lower case, with dots; returns where it ends. */
static const uint8_t *question_name(const uint8_t *p, char *name)
{
    while (*p) {
        for (int i = 1; i <= *p; i++)
            *name++ = (char)tolower(p[i]);
        *name++ = '.';
        p += *p + 1;
    }
    name[-1] = '\0';
    return p + 1;
}

static uint8_t *put_record(uint8_t *p, int type, const char *address)
{
    static const uint8_t ttl[] = {0, 0, 0, 60};
    int len = type == 1 ? 4 : 16;
    *p++ = 0xc0; /* the name of the question */
    *p++ = 12;
    *p++ = 0;
    *p++ = (uint8_t)type;
    *p++ = 0;
    *p++ = 1;
    memcpy(p, ttl, 4);
    p += 4;
    *p++ = 0;
    *p++ = (uint8_t)len;
    assert_int_equal(inet_pton(type == 1 ? AF_INET : AF_INET6, address, p), 1);
    return p + len;
}

/* 0: no answer. */
static size_t answer(uint8_t *m, size_t n)
{
    char name[256];
    const uint8_t *type_at = question_name(m + 12, name);
    int type = type_at[1], count = 0, code = 0;
    uint8_t *p = m + n;
    if (strncmp(name, "silent", 6) == 0)
        return 0;
    if (strcmp(name, "two.test") == 0 && type == 1) {
        p = put_record(p, 1, "192.0.2.1");
        p = put_record(p, 1, "192.0.2.2");
        count = 2;
    } else if (strcmp(name, "two.test") == 0 && type == 28) {
        p = put_record(p, 28, "2001:db8::1");
        count = 1;
    } else if (strcmp(name, "short.search.test") == 0 && type == 1) {
        p = put_record(p, 1, "192.0.2.3");
        count = 1;
    } else if (strcmp(name, "two.test") != 0 && strcmp(name, "short.search.test") != 0) {
        code = 3; /* there is no such name */
    }
    m[2] = 0x81;
    m[3] = (uint8_t)(0x80 | code);
    m[7] = (uint8_t)count;
    return (size_t)(p - m);
}

static void *serve(void *arg)
{
    uint8_t m[1024];
    struct sockaddr_in from;
    for (;;) {
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(server.fd, m, 512, 0, (struct sockaddr *)&from, &len);
        if (n <= 1)
            return arg; /* the test ends it */
        server.asked++;
        size_t size = answer(m, (size_t)n);
        if (size)
            sendto(server.fd, m, size, 0, (struct sockaddr *)&from, len);
    }
}

static struct sockaddr_in server_address(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)server.port);
    return a;
}

static void write_file(const char *path, const char *format, ...)
{
    char next[80];
    snprintf(next, sizeof(next), "%s.next", path);
    FILE *f = fopen(next, "w");
    va_list args;
    va_start(args, format);
    vfprintf(f, format, args);
    va_end(args);
    fclose(f);
    assert_int_equal(rename(next, path), 0);
}

static int start_server(void **state)
{
    (void)state;
    struct sockaddr_in a = server_address();
    socklen_t len = sizeof(a);
    if (!mkdtemp(strcpy(dir, "/tmp/test_dns.XXXXXX")))
        return -1;
    snprintf(hosts, sizeof(hosts), "%s/hosts", dir);
    snprintf(resolv, sizeof(resolv), "%s/resolv.conf", dir);
    server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    a.sin_port = 0;
    if (bind(server.fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
        getsockname(server.fd, (struct sockaddr *)&a, &len) != 0)
        return -1;
    server.port = ntohs(a.sin_port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int end_server(void **state)
{
    (void)state;
    struct sockaddr_in a = server_address();
    sendto(server.fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a));
    pthread_join(server.thread, NULL);
    close(server.fd);
    unlink(hosts);
    unlink(resolv);
    return rmdir(dir);
}

static int setup(void **state)
{
    (void)state;
    write_file(hosts, "# comment\n127.0.0.1 localhost\n10.1.2.3 db1 db1.example # more\n2001:db8::5 db1\n");
    write_file(resolv, "nameserver 127.0.0.1:%d\nsearch search.test\noptions timeout:1 attempts:1\n",
               server.port);
    loop = loop_create(POLLER_LIBEVENT);
    dns = dns_create(loop, hosts, resolv);
    server.asked = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_destroy(&dns);
    loop_destroy(&loop);
    return 0;
}

/* ---- asking ---- */

struct asker {
    struct loop *loop;
    struct dns_answer answer;
    int calls;
    bool goes_on; /* does not stop the loop */
};

static void answered(void *arg, const struct dns_answer *a)
{
    struct asker *asker = arg;
    asker->answer = *a;
    asker->calls++;
    if (!asker->goes_on)
        loop_stop(asker->loop);
}

static struct dns_answer ask(const char *name)
{
    struct asker a = {.loop = loop};
    (void)dns_ask(dns, loop, name, answered, &a);
    assert_int_equal(a.calls, 0);
    loop_run(loop);
    assert_int_equal(a.calls, 1);
    return a.answer;
}

static void assert_answer(const char *name, const char *first, const char *second, const char *third)
{
    const char *expected[] = {first, second, third};
    struct dns_answer a = ask(name);
    int n = 0;
    while (n < 3 && expected[n])
        n++;
    assert_int_equal(a.n, n);
    for (int i = 0; i < n; i++)
        assert_string_equal(a.addresses[i], expected[i]);
}

static void names_of_the_hosts_file_are_not_asked(void **state)
{
    (void)state;
    assert_answer("localhost", "127.0.0.1", NULL, NULL);
    assert_answer("db1", "10.1.2.3", "2001:db8::5", NULL);
    assert_answer("DB1.Example", "10.1.2.3", NULL, NULL);
    assert_int_equal(server.asked, 0);
}

static void a_name_has_addresses_of_both_kinds(void **state)
{
    (void)state;
    assert_answer("two.test", "192.0.2.1", "192.0.2.2", "2001:db8::1");
    assert_int_equal(server.asked, 2);
}

static void the_search_list_is_honoured(void **state)
{
    (void)state;
    assert_answer("short", "192.0.2.3", NULL, NULL);
}

static void a_name_that_is_not_there_has_a_reason(void **state)
{
    (void)state;
    struct dns_answer a = ask("nowhere.test");
    assert_int_equal(a.n, 0);
    assert_string_not_equal(a.why, "");
}

static void changed_files_are_read_anew(void **state)
{
    (void)state;
    assert_answer("db1", "10.1.2.3", "2001:db8::5", NULL);
    write_file(hosts, "10.9.9.9 db1\n");
    assert_answer("db1", "10.9.9.9", NULL, NULL);
    assert_int_equal(unlink(hosts), 0);
    assert_answer("localhost", "127.0.0.1", "::1", NULL);

    write_file(resolv, "nameserver 127.0.0.1:%d\nsearch other.test\n", server.port);
    assert_int_equal(ask("short").n, 0);
    write_file(resolv, "nameserver 127.0.0.1:%d\nsearch search.test\n", server.port);
    assert_answer("short", "192.0.2.3", NULL, NULL);
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
    (void)state;
    struct dns_answer a = ask("silent.test");
    assert_int_equal(a.n, 0);
    assert_string_not_equal(a.why, "");
}

static void one_that_waits_does_not_hold_up_others(void **state)
{
    (void)state;
    struct asker waits = {.loop = loop};
    struct dns_query *q = dns_ask(dns, loop, "silent.test", answered, &waits);
    assert_answer("two.test", "192.0.2.1", "192.0.2.2", "2001:db8::1");
    assert_int_equal(waits.calls, 0);
    dns_forget(&q);
    assert_null(q);
    dns_forget(&q);
} /* what is still asked ends with the DNS */

static void who_forgets_hears_nothing_at_any_moment(void **state)
{
    (void)state;
    static const char *const names[] = {"db1", "two.test", "nowhere.test"};
    for (int turns = 0; turns < 6; turns++) {
        for (int i = 0; i < 3; i++) {
            struct asker a = {.loop = loop, .goes_on = true};
            struct dns_query *q = dns_ask(dns, loop, names[i], answered, &a);
            run_turns(loop, turns + 1);
            if (a.calls)
                continue;
            dns_forget(&q);
            assert_answer("db1", "10.1.2.3", "2001:db8::5", NULL);
            assert_int_equal(a.calls, 0);
        }
    }
}

/* ---- from other threads ---- */

enum { THREADS = 4, ROUNDS = 200 };

static void *ask_over_and_over(void *arg)
{
    enum loop_poller *poller = arg;
    struct loop *own = loop_create(*poller);
    for (int i = 0; i < ROUNDS; i++) {
        struct asker a = {.loop = own, .goes_on = i % 5 == 4};
        struct dns_query *q = dns_ask(dns, own, i % 2 ? "db1" : "two.test", answered, &a);
        if (i % 5 == 4) { /* its answer may be on its way, or not */
            run_turns(own, i % 4 + 1);
            if (!a.calls)
                dns_forget(&q);
            continue;
        }
        loop_run(own);
        assert_int_equal(a.calls, 1);
        assert_int_equal(a.answer.n, i % 2 ? 2 : 3);
    }
    struct asker a = {.loop = own};
    struct dns_query *left = dns_ask(dns, own, "silent.test", answered, &a);
    dns_forget(&left);
    loop_destroy(&own);
    return NULL;
}

static void *run_dns(void *arg)
{
    loop_run(loop);
    return arg;
}

static void loops_on_other_threads_ask_and_go(void **state)
{
    (void)state;
    static enum loop_poller pollers[THREADS] = {POLLER_EPOLL, POLLER_LIBEVENT, POLLER_EPOLL, POLLER_LIBEVENT};
    pthread_t threads[THREADS], of_dns;
    pthread_create(&of_dns, NULL, run_dns, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, ask_over_and_over, &pollers[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    loop_stop(loop);
    pthread_join(of_dns, NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(names_of_the_hosts_file_are_not_asked),
        T(a_name_has_addresses_of_both_kinds),
        T(the_search_list_is_honoured),
        T(a_name_that_is_not_there_has_a_reason),
        T(changed_files_are_read_anew),
        T(a_server_that_says_nothing_is_given_up),
        T(one_that_waits_does_not_hold_up_others),
        T(who_forgets_hears_nothing_at_any_moment),
        T(loops_on_other_threads_ask_and_go),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, start_server, end_server);
}
