/* Reading console commands. */
#include "../../../src/admin/command.h"
#include "../../../src/admin/orders.h"
#include "../../../src/admin/shows.h"

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct command read_ok(const char *sql)
{
    struct command c;
    struct error e;
    if (command_parse(slice_str(sql), &c, &e) != STATUS_OK)
        fail_msg("%s: %s", sql, e.message);
    return c;
}

static void refused(const char *sql)
{
    struct command c;
    struct error e;
    if (command_parse(slice_str(sql), &c, &e) != STATUS_ERROR)
        fail_msg("%s was taken", sql);
    assert_string_equal(e.sqlstate, "42601");
}

/* The name of the SHOW or the order that a text is. */
static const char *name_of(const char *sql)
{
    struct command c = read_ok(sql);
    assert_true(c.kind == CMD_SHOW || c.kind == CMD_ORDER);
    return c.kind == CMD_SHOW ? c.show->name : c.order->name;
}

static void names_in_any_case_with_blanks_and_a_semicolon(void **state)
{
    (void)state;
    assert_string_equal(name_of("SHOW POOLS"), "pools");
    assert_string_equal(name_of("show pools;"), "pools");
    assert_string_equal(name_of("  ShOw\n\tPoolS  ;  "), "pools");
    assert_string_equal(name_of("Reload"), "reload");
    assert_string_equal(name_of("show stats"), "stats");
    assert_string_equal(name_of("show stats_totals"), "stats_totals");
    assert_string_equal(name_of("show two_phase"), "two_phase");
}

static void nothing_is_an_empty_query(void **state)
{
    (void)state;
    assert_int_equal(read_ok("").kind, CMD_EMPTY);
    assert_int_equal(read_ok("  \n").kind, CMD_EMPTY);
    assert_int_equal(read_ok(";").kind, CMD_EMPTY);
}

static void arguments_plain_and_quoted(void **state)
{
    (void)state;
    assert_string_equal(read_ok("KILL shop").arg, "shop");
    assert_string_equal(read_ok("KILL \"My \"\"Shop\";").arg, "My \"Shop");
    assert_string_equal(read_ok("KILL 'it''s'").arg, "it's");
    assert_string_equal(read_ok("KILL").arg, "");
    struct command c = read_ok("SHOW TRANSACTION 0a-ff;");
    assert_int_equal(c.kind, CMD_SHOW);
    assert_string_equal(c.show->name, "transaction");
    assert_string_equal(c.arg, "0a-ff");
    c = read_ok("resolve 'ab-1'");
    assert_int_equal(c.kind, CMD_ORDER);
    assert_string_equal(c.order->name, "resolve");
    assert_string_equal(c.arg, "ab-1");
}

static void arguments_where_none_belong_or_missing_ones_are_errors(void **state)
{
    (void)state;
    refused("SHOW POOLS shop");
    refused("SHOW TRANSACTION");
    refused("SHOW TRANSACTION;");
    refused("RELOAD now");
    refused("KILL a b");
    refused("SHUTDOWN sometime");
    refused("SHOW");
    refused("SHOW ;");
}

static void other_texts_are_errors(void **state)
{
    (void)state;
    refused("SELECT 1");
    refused("SHOW NOTHING");
    refused("BEGIN");
    refused("RELOAD; RELOAD");
    refused("KILL \"shop");
    refused("KILL 'shop");
    refused("= 3");
    char long_name[600];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    memcpy(long_name, "KILL ", 5);
    refused(long_name);
    refused(long_name + 5);
}

static void shutdown_modes(void **state)
{
    (void)state;
    assert_string_equal(read_ok("SHUTDOWN").arg, "");
    assert_string_equal(read_ok("SHUTDOWN WAIT_FOR_SERVERS").arg, "wait_for_servers");
    assert_string_equal(read_ok("shutdown wait_for_clients;").arg, "wait_for_clients");
}

static void set_in_its_forms(void **state)
{
    (void)state;
    struct command c = read_ok("SET verbose = 1");
    assert_int_equal(c.kind, CMD_SET);
    assert_string_equal(c.arg, "verbose");
    assert_string_equal(c.value, "1");
    assert_string_equal(read_ok("SET DateStyle TO 'ISO, DMY';").value, "ISO, DMY");
    assert_string_equal(read_ok("set session client_encoding to utf8").arg, "client_encoding");
    assert_string_equal(read_ok("set a='it''s; so'").value, "it's; so");
    refused("SET");
    refused("SET a");
    refused("SET a =");
    refused("SET a = 1 2");
}

static void what_drivers_ask_is_answered(void **state)
{
    (void)state;
    struct command c = read_ok("SHOW client_encoding");
    assert_int_equal(c.kind, CMD_PARAMETER);
    assert_string_equal(c.arg, "client_encoding");
    assert_string_equal(c.value, "UTF8");
    refused("SHOW client_encoding of");
}

static void what_is_not_there_yet_keeps_its_name(void **state)
{
    (void)state;
    struct command c = read_ok("SHOW FDS");
    assert_int_equal(c.kind, CMD_NOT_YET);
    assert_string_equal(c.arg, "SHOW fds");
    assert_string_equal(read_ok("suspend").arg, "suspend");
    assert_string_equal(read_ok("WAIT_CLOSE shop").arg, "wait_close");
}

/* console.c runs an order for admin_users alone. */
static void every_change_is_an_order(void **state)
{
    (void)state;
    static const char *const changing[] = {"KILL",     "PAUSE",        "RESUME",      "RELOAD",   "RESOLVE",
                                           "SHUTDOWN", "DISABLE shop", "ENABLE shop", "RECONNECT"};
    static const char *const looking[] = {"SHOW POOLS", "SHOW UNRESOLVED", "SHOW TRANSACTION ab",
                                          "SHOW CONFIG", ""};
    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
        assert_int_equal(read_ok(changing[i]).kind, CMD_ORDER);
    for (size_t i = 0; i < sizeof looking / sizeof looking[0]; i++)
        assert_int_not_equal(read_ok(looking[i]).kind, CMD_ORDER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_any_case_with_blanks_and_a_semicolon),
        cmocka_unit_test(nothing_is_an_empty_query),
        cmocka_unit_test(arguments_plain_and_quoted),
        cmocka_unit_test(arguments_where_none_belong_or_missing_ones_are_errors),
        cmocka_unit_test(other_texts_are_errors),
        cmocka_unit_test(shutdown_modes),
        cmocka_unit_test(set_in_its_forms),
        cmocka_unit_test(what_drivers_ask_is_answered),
        cmocka_unit_test(what_is_not_there_yet_keeps_its_name),
        cmocka_unit_test(every_change_is_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
