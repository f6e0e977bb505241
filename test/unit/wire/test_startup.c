/* wire/startup.h */
#include "base/buf.h"
#include "wire/startup.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define V3         0x00030000u
#define CANCEL     80877102u
#define SSL        80877103u
#define GSSENC     80877104u
#define BYTES(lit) (lit), sizeof(lit) - 1

/* Reads a packet of `code` and `rest`, from a copy that ends where the packet does. */
static struct startup read_packet(struct arena *a, uint32_t code, const char *rest, size_t len,
                                  struct error *e)
{
    struct buf b;
    struct startup s;
    buf_init(&b);
    buf_u32(&b, (uint32_t)len + 8);
    buf_u32(&b, code);
    buf_append(&b, rest, len);
    uint8_t *copy = malloc(buf_len(&b));
    memcpy(copy, buf_head(&b), buf_len(&b));
    *e = (struct error){.sqlstate = ""};
    startup_read(slice_of(copy, buf_len(&b)), a, &s, e);
    if (s.kind != STARTUP_BAD)
        assert_int_equal(s.used_bytes, len + 8);
    else
        assert_int_equal(s.used_bytes, 0);
    free(copy); /* what was read lives in the arena */
    buf_free(&b);
    return s;
}

static void parameters_are_sorted_out(void **state)
{
    (void)state;
    struct arena a;
    struct error e;
    arena_init(&a);
    struct startup s =
        read_packet(&a, V3,
                    BYTES("user\0alice\0DateStyle\0ISO\0database\0shop\0_pq_.x\0001\0options\0-c a=b\0"
                          "replication\0database\0_pq_.y\0\0application_name\0\0"
                          "\0"),
                    &e);
    assert_int_equal(s.kind, STARTUP_PACKET);
    assert_int_equal(s.major, 3);
    assert_int_equal(s.minor, 0);
    assert_string_equal(s.user, "alice");
    assert_string_equal(s.database, "shop");
    assert_string_equal(s.options, "-c a=b");
    assert_int_equal(s.n_params, 3);
    assert_string_equal(s.params[0].name, "DateStyle");
    assert_string_equal(s.params[0].value, "ISO");
    assert_string_equal(s.params[1].name, "replication");
    assert_string_equal(s.params[2].name, "application_name");
    assert_string_equal(s.params[2].value, "");
    assert_int_equal(s.n_unknown_options, 2);
    assert_string_equal(s.unknown_options[0], "_pq_.x");
    assert_string_equal(s.unknown_options[1], "_pq_.y");
    arena_free(&a);
}

static void database_defaults_to_user(void **state)
{
    (void)state;
    struct arena a;
    struct error e;
    arena_init(&a);
    struct startup s = read_packet(&a, V3, BYTES("user\0bob\0\0"), &e);
    assert_string_equal(s.database, "bob");
    s = read_packet(&a, V3, BYTES("database\0\0user\0bob\0\0"), &e);
    assert_string_equal(s.database, "bob");
    s = read_packet(&a, V3, BYTES("user\0\0\0"), &e);
    assert_int_equal(s.kind, STARTUP_PACKET);
    assert_null(s.user);
    s = read_packet(&a, V3, BYTES("\0"), &e);
    assert_int_equal(s.kind, STARTUP_PACKET);
    assert_null(s.user);
    assert_null(s.database);
    arena_free(&a);
}

static void requests_are_told_apart(void **state)
{
    (void)state;
    struct arena a;
    struct error e;
    arena_init(&a);
    assert_int_equal(read_packet(&a, SSL, "", 0, &e).kind, STARTUP_SSL);
    assert_int_equal(read_packet(&a, GSSENC, "", 0, &e).kind, STARTUP_GSSENC);
    struct startup s = read_packet(&a, CANCEL, BYTES("\0\0\1\2\xff\0\0\3"), &e);
    assert_int_equal(s.kind, STARTUP_CANCEL);
    assert_int_equal(s.cancel_pid, 258);
    assert_true(s.cancel_secret == 0xff000003u);
    arena_free(&a);
}

static void bytes_behind_an_ssl_request_are_not_consumed(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 'x', 'y'};
    struct arena a;
    struct error e;
    struct startup s;
    arena_init(&a);
    startup_read(slice_of(bytes, sizeof(bytes)), &a, &s, &e);
    assert_int_equal(s.kind, STARTUP_SSL);
    assert_int_equal(s.used_bytes, 8);
    arena_free(&a);
}

static void incomplete_packets_wait(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0, 0, 0, 18, 0, 3, 0, 0, 'u', 's', 'e', 'r', 0, 'a', 'b', 'c', 0, 0};
    struct arena a;
    struct error e;
    struct startup s;
    arena_init(&a);
    for (size_t n = 0; n < sizeof(bytes); n++) {
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, bytes, n);
        startup_read(slice_of(n ? copy : NULL, n), &a, &s, &e);
        assert_int_equal(s.kind, STARTUP_PARTIAL);
        assert_int_equal(s.used_bytes, 0);
        free(copy);
    }
    startup_read(slice_of(bytes, sizeof(bytes)), &a, &s, &e);
    assert_int_equal(s.kind, STARTUP_PACKET);
    arena_free(&a);
}

static void impossible_lengths_are_refused_at_once(void **state)
{
    (void)state;
    const uint8_t bad[][4] = {{0, 0, 0, 0},
                              {0, 0, 0, 7},
                              {0, 0, 0x27, 0x15},       /* 10005 */
                              {0x16, 0x03, 0x01, 0x02}, /* TLS */
                              {'G', 'E', 'T', ' '}};
    const uint8_t longest[] = {0, 0, 0x27, 0x14};
    struct arena a;
    struct error e;
    struct startup s;
    arena_init(&a);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        startup_read(slice_of(bad[i], 4), &a, &s, &e);
        assert_int_equal(s.kind, STARTUP_BAD);
        assert_string_equal(e.sqlstate, "08P01");
    }
    startup_read(slice_of(longest, 4), &a, &s, &e);
    assert_int_equal(s.kind, STARTUP_PARTIAL);
    arena_free(&a);
}

static void malformed_packets_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        const char *bytes;
        size_t len;
        const char *sqlstate;
    } bad[] = {
        {V3, BYTES(""), "08P01"},                     /* no terminator */
        {V3, BYTES("user\0bob\0"), "08P01"},          /* no terminator */
        {V3, BYTES("user\0bob"), "08P01"},            /* value not terminated */
        {V3, BYTES("user\0"), "08P01"},               /* no value */
        {V3, BYTES("user"), "08P01"},                 /* name not terminated */
        {V3, BYTES("user\0bob\0\0x"), "08P01"},       /* bytes behind the terminator */
        {V3, BYTES("\0\0"), "08P01"},                 /* likewise */
        {SSL, BYTES("x"), "08P01"},                   /* too long */
        {CANCEL, BYTES("1234567"), "08P01"},          /* too short */
        {CANCEL, BYTES("123456789"), "08P01"},        /* too long */
        {0x00020000u, BYTES("user\0b\0\0"), "0A000"}, /* protocol 2 */
        {0x00040000u, BYTES("user\0b\0\0"), "0A000"}, /* protocol 4 */
        {SSL + 20, BYTES(""), "0A000"},               /* a request that does not exist */
    };
    struct arena a;
    struct error e;
    arena_init(&a);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(read_packet(&a, bad[i].code, bad[i].bytes, bad[i].len, &e).kind, STARTUP_BAD);
        assert_string_equal(e.sqlstate, bad[i].sqlstate);
    }
    arena_free(&a);
}

static void newer_minor_version_is_negotiated(void **state)
{
    (void)state;
    struct arena a;
    struct error e;
    struct buf b;
    arena_init(&a);
    buf_init(&b);
    struct startup s = read_packet(&a, V3 + 2, BYTES("user\0bob\0_pq_.x\0001\0\0"), &e);
    assert_int_equal(s.kind, STARTUP_PACKET);
    assert_int_equal(s.minor, 2);
    startup_negotiate(&b, &s);
    /* As PostgreSQL 15 answers to the same packet. */
    static const char want[] = "v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.x";
    assert_int_equal(buf_len(&b), sizeof(want));
    assert_memory_equal(buf_head(&b), want, sizeof(want));
    buf_free(&b);
    arena_free(&a);
}

static void options_are_split_as_postgres_splits_them(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        size_t n;
        const char *pairs[6];
    } good[] = {
        {"", 0, {NULL}},
        {"  \t\n ", 0, {NULL}},
        {"-c a=b", 1, {"a", "b"}},
        {"-ca=b", 1, {"a", "b"}},
        {"--a=b", 1, {"a", "b"}},
        {" -c  a=b --c=  -cd=e=f ", 3, {"a", "b", "c", "", "d", "e=f"}},
        {"-c search_path=a,\\ b", 1, {"search_path", "a, b"}},
        {"-c a=\\\\x\\", 1, {"a", "\\x"}},
        {"--search-path=a-b", 1, {"search_path", "a-b"}},
        {"-ca= -cb= -cc=", 3, {"a", "", "b", "", "c", ""}},
    };
    struct arena a;
    struct error e;
    arena_init(&a);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct startup_param *params;
        size_t n;
        assert_int_equal(startup_split_options(good[i].options, &a, &params, &n, &e), STATUS_OK);
        assert_int_equal(n, good[i].n);
        for (size_t j = 0; j < n; j++) {
            assert_string_equal(params[j].name, good[i].pairs[2 * j]);
            assert_string_equal(params[j].value, good[i].pairs[2 * j + 1]);
        }
    }
    arena_free(&a);
}

static void other_switches_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"a=b", "-c", "-c a", "--a", "--", "-", "-B 100", "-c =x", "-e", "--=x"};
    struct arena a;
    arena_init(&a);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct startup_param *params;
        struct error e;
        size_t n;
        assert_int_equal(startup_split_options(bad[i], &a, &params, &n, &e), STATUS_ERROR);
        assert_string_equal(e.sqlstate, "42601");
    }
    arena_free(&a);
}

static void requests_that_are_sent_are_those_that_are_read(void **state)
{
    (void)state;
    struct arena a;
    struct buf b;
    struct startup s;
    struct error e;
    arena_init(&a);
    buf_init(&b);
    startup_ssl_request(&b);
    startup_read(buf_slice(&b), &a, &s, &e);
    assert_int_equal(s.kind, STARTUP_SSL);
    assert_int_equal(s.used_bytes, buf_len(&b));
    buf_clear(&b);
    startup_cancel_request(&b, 4711, 0xfedcba98);
    startup_read(buf_slice(&b), &a, &s, &e);
    assert_int_equal(s.kind, STARTUP_CANCEL);
    assert_int_equal(s.used_bytes, 16);
    assert_int_equal(buf_len(&b), 16);
    assert_int_equal(s.cancel_pid, 4711);
    assert_int_equal(s.cancel_secret, 0xfedcba98);
    buf_free(&b);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_sorted_out),
        cmocka_unit_test(database_defaults_to_user),
        cmocka_unit_test(requests_are_told_apart),
        cmocka_unit_test(bytes_behind_an_ssl_request_are_not_consumed),
        cmocka_unit_test(incomplete_packets_wait),
        cmocka_unit_test(impossible_lengths_are_refused_at_once),
        cmocka_unit_test(malformed_packets_are_refused),
        cmocka_unit_test(newer_minor_version_is_negotiated),
        cmocka_unit_test(options_are_split_as_postgres_splits_them),
        cmocka_unit_test(other_switches_are_refused),
        cmocka_unit_test(requests_that_are_sent_are_those_that_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
