/* src/backend/connect_error.h */
#include "../../../src/backend/connect_error.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_refused_login_keeps_the_servers_words(void **state)
{
    (void)state;
    struct error e;
    connect_error_parse(
        "s1",
        "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  28P01: password authentication "
        "failed for user \"x\"\nLOCATION:  auth_failed, auth.c:340\n",
        &e);
    assert_string_equal(e.sqlstate, "28P01");
    assert_string_equal(e.message, "password authentication failed for user \"x\"");
    assert_string_equal(e.detail, "Shard \"s1\" refused the connection.");
}

static void other_refusals_name_the_shard(void **state)
{
    (void)state;
    struct error e;
    connect_error_parse(
        "s1",
        "connection to server on socket \"/tmp/.s.PGSQL.1\" failed: FATAL:  53300: too many connections\n"
        "DETAIL:  Some\n\tdetail.\nHINT:  Wait.\nLOCATION:  f, g.c:1\n",
        &e);
    assert_string_equal(e.sqlstate, "53300");
    assert_string_equal(e.message, "could not connect to shard \"s1\": too many connections");
    assert_string_equal(e.detail, "Some detail.");
    assert_string_equal(e.hint, "Wait.");
}

static void the_last_attempt_of_several_counts(void **state)
{
    (void)state;
    struct error e;
    connect_error_parse(
        "s1",
        "connection to server at \"h\", port 1 failed: FATAL:  28000: no entry, SSL encryption\n"
        "LOCATION:  f, g.c:1\n"
        "connection to server at \"h\", port 1 failed: FATAL:  28P01: no entry, no encryption\n"
        "LOCATION:  f, g.c:1\n",
        &e);
    assert_string_equal(e.sqlstate, "28P01");
    assert_string_equal(e.message, "no entry, no encryption");
}

static void unreachable_is_a_connection_failure(void **state)
{
    (void)state;
    struct error e;
    connect_error_parse("s1",
                        "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n"
                        "\tIs the server running on that host and accepting TCP/IP connections?\n",
                        &e);
    assert_string_equal(e.sqlstate, "08006");
    assert_string_equal(
        e.message, "could not connect to shard \"s1\": connection to server at \"127.0.0.1\", port 1 failed: "
                   "Connection refused");
    assert_string_equal(e.hint, "Is the server running on that host and accepting TCP/IP connections?");
}

static void names_in_the_text_cannot_pose_as_a_sqlstate(void **state)
{
    (void)state;
    struct error e;
    connect_error_parse(
        "s1", "connection to server at \"h\", port 1 failed: FATAL:  role \"x:  28P01: y\" does not exist\n",
        &e);
    assert_string_equal(e.sqlstate, "08006");
    connect_error_parse(
        "s1",
        "connection to server at \"h\", port 1 failed: FATAL:  28000: role \"FATAL:  28P01: y\" is odd\n",
        &e);
    assert_string_equal(e.sqlstate, "28000");
    connect_error_parse("s1", "could not translate FATAL:  28P01: x", &e);
    assert_string_equal(e.sqlstate, "08006");
}

static void odd_texts_do_no_harm(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "\n",
                                        "\n\n\t",
                                        "FATAL",
                                        "FATAL:  ",
                                        "FATAL:  28P0",
                                        "connection to server ",
                                        "connection to server failed: FATAL:  28P01:"};
    struct error e;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        connect_error_parse("s1", texts[i], &e);
        assert_string_equal(e.sqlstate, "08006");
    }
    char longest[5000];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    connect_error_parse("s1", longest, &e);
    assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_login_keeps_the_servers_words),
        cmocka_unit_test(other_refusals_name_the_shard),
        cmocka_unit_test(the_last_attempt_of_several_counts),
        cmocka_unit_test(unreachable_is_a_connection_failure),
        cmocka_unit_test(names_in_the_text_cannot_pose_as_a_sqlstate),
        cmocka_unit_test(odd_texts_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
