/* The command line. */
#include "app/options.h"

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static char text[1024];

/* Words are split at blanks. */
static enum status parse(const char *line, struct options *o, struct error *e)
{
    static char *argv[32];
    int argc = 0;
    char *rest = text, *word;
    strcpy(text, line);
    while ((word = strsep(&rest, " ")))
        argv[argc++] = word;
    argv[argc] = NULL;
    return options_parse(argc, argv, o, e);
}

static struct options good(const char *line)
{
    struct options o;
    struct error e;
    if (parse(line, &o, &e) != STATUS_OK)
        fail_msg("%s: %s", line, e.message);
    return o;
}

static void bad(const char *line, const char *message)
{
    struct options o;
    struct error e;
    assert_int_equal(parse(line, &o, &e), STATUS_ERROR);
    assert_string_equal(e.message, message);
}

static void a_configuration_file_is_enough(void **state)
{
    (void)state;
    struct options o = good("pgunison a.ini");
    assert_string_equal(o.config_path, "a.ini");
    assert_false(o.daemon || o.quiet || o.check_config || o.version || o.help);
    assert_int_equal(o.verbose, 0);
    assert_null(o.user);
    assert_null(o.route_sql);
}

static void switches_may_be_joined_and_stand_anywhere(void **state)
{
    (void)state;
    struct options o = good("pgunison -dqvv a.ini -u nobody");
    assert_true(o.daemon && o.quiet);
    assert_int_equal(o.verbose, 2);
    assert_string_equal(o.user, "nobody");
    assert_string_equal(o.config_path, "a.ini");
    o = good("pgunison --daemon --quiet --verbose --user=nobody a.ini");
    assert_true(o.daemon && o.quiet);
    assert_int_equal(o.verbose, 1);
    assert_string_equal(good("pgunison -- -d").config_path, "-d");
}

static void long_switches(void **state)
{
    (void)state;
    assert_true(good("pgunison --check-config a.ini").check_config);
    assert_string_equal(good("pgunison --route SELECT a.ini").route_sql, "SELECT");
    assert_string_equal(good("pgunison --route=TABLE a.ini").route_sql, "TABLE");
}

static void version_and_help_need_no_file(void **state)
{
    (void)state;
    assert_true(good("pgunison --version").version);
    assert_true(good("pgunison -V").version);
    assert_true(good("pgunison --help").help);
    assert_true(good("pgunison -h").help);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    bad("pgunison", "the configuration file is missing");
    bad("pgunison -d", "the configuration file is missing");
    bad("pgunison a.ini b.ini", "one configuration file is expected, not \"b.ini\" too");
    bad("pgunison -x a.ini", "unknown option -x");
    bad("pgunison -dx a.ini", "unknown option -x");
    bad("pgunison --nonsense a.ini", "unknown option --nonsense");
    bad("pgunison a.ini -u", "option -u needs an argument");
    bad("pgunison a.ini --user", "option --user needs an argument");
    bad("pgunison a.ini --route", "option --route needs an argument");
    bad("pgunison --check-config=yes a.ini", "option --check-config=yes takes no argument");
    bad("pgunison --daemon=yes a.ini", "option --daemon=yes takes no argument");
}

static void online_restart_is_refused(void **state)
{
    (void)state;
    bad("pgunison -R a.ini", "online restart (-R) is not supported");
}

static void the_environment_says_what_workers_poll_with(void **state)
{
    (void)state;
    unsetenv("PGUNISON_POLLER");
    assert_int_equal(good("pgunison a.ini").poller, POLLER_EPOLL);
    setenv("PGUNISON_POLLER", "", 1);
    assert_int_equal(good("pgunison a.ini").poller, POLLER_EPOLL);
    setenv("PGUNISON_POLLER", "libevent", 1);
    assert_int_equal(good("pgunison a.ini").poller, POLLER_LIBEVENT);
    setenv("PGUNISON_POLLER", "epoll", 1);
    assert_int_equal(good("pgunison a.ini").poller, POLLER_EPOLL);
    setenv("PGUNISON_POLLER", "kqueue", 1);
    bad("pgunison a.ini", "poller \"kqueue\" is not known: there are epoll and libevent");
    unsetenv("PGUNISON_POLLER");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_says_what_workers_poll_with),
        cmocka_unit_test(a_configuration_file_is_enough),
        cmocka_unit_test(switches_may_be_joined_and_stand_anywhere),
        cmocka_unit_test(long_switches),
        cmocka_unit_test(version_and_help_need_no_file),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(online_restart_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
