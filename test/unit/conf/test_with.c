/* SET: one setting changed over a configuration that stays as it is. */
#include "support.h"

static struct config *load_base(void)
{
    struct problems problems;
    write_file("test.ini", "[pgunison]\nquery_timeout = 3s\nstats_users = joe\n" ONE_DATABASE);
    struct config *c = config_load(in_folder("test.ini"), &problems);
    problems_free(&problems);
    assert_non_null(c);
    return c;
}

static struct config *with(struct config *c, const char *name, const char *value)
{
    struct problems problems;
    struct config *d = config_with(c, name, value, &problems);
    assert_int_equal(problems.errors, 0);
    assert_non_null(d);
    problems_free(&problems);
    return d;
}

static void refused(const char *name, const char *value, const char *text)
{
    struct problems problems;
    struct config *c = load_base();
    assert_null(config_with(c, name, value, &problems));
    assert_true(problems.errors > 0);
    assert_non_null(strstr(problems.items[0].text, text));
    problems_free(&problems);
    config_unref(&c);
}

static void one_setting_changes_and_the_base_stays(void **state)
{
    (void)state;
    struct config *base = load_base();
    struct config *c = with(base, "query_timeout", "17s");
    assert_int_equal(c->settings.query_timeout_us, 17000000);
    assert_int_equal(base->settings.query_timeout_us, 3000000);
    assert_string_equal(c->settings.stats_users, "joe");
    assert_ptr_equal(topology_database(&c->topology, "shop"), topology_database(&base->topology, "shop"));
    config_unref(&c);
    assert_non_null(topology_database(&base->topology, "shop"));
    config_unref(&base);
}

static void it_outlives_what_it_was_made_from(void **state)
{
    (void)state;
    struct config *a = load_base();
    struct config *b = with(a, "query_timeout", "17s");
    config_unref(&a);
    struct config *c = with(b, "stats_users", "jane");
    config_unref(&b);
    assert_int_equal(c->settings.query_timeout_us, 17000000);
    assert_string_equal(c->settings.stats_users, "jane");
    assert_int_equal(topology_database(&c->topology, "shop")->n_shards, 2);
    assert_non_null(userlist_find(&c->users, "postgres"));
    assert_string_equal(c->path, in_folder("test.ini"));
    config_unref(&c);
}

static void what_cannot_be_is_said(void **state)
{
    (void)state;
    refused("query_timeot", "1s", "query_timeout");
    refused("query_timeout", "soon", "cannot be \"soon\"");
    refused("listen_port", "6433", "cannot be changed while running");
    refused("auth_file", "other.txt", "but by RELOAD");
    refused("server_tls_cert_file", "nowhere.pem", "server_tls_key_file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_setting_changes_and_the_base_stays),
        cmocka_unit_test(it_outlives_what_it_was_made_from),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
