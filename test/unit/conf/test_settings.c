/* [pgunison]: the table, its defaults, what values may be, and etc/pgunison.ini against it. */
#include "support.h"

#define SET(text) ONE_DATABASE "[pgunison]\n" text "\n" /* the text is in line 8 */

static void table_is_well_formed(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *s = settings_info(i);
        assert_true(strlen(s->name) > 0 && strlen(s->explanation) > 0);
        assert_true(strlen(s->name) + 3 + strlen(s->default_value) <= 199);
        assert_true(strlen(s->explanation) + 2 <= 199);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(s->name, settings_info(j)->name);
    }
}

/* Paths are made absolute; only auth_file's default is not empty or absolute. */
static void expect_default(const struct settings *s, size_t i, const char *dir)
{
    char expected[512];
    const struct setting_info *info = settings_info(i);
    snprintf(expected, sizeof expected, strcmp(info->name, "auth_file") == 0 ? "%s/%s" : "%.0s%s", dir,
             info->default_value);
    check_setting(s, info->name, expected);
}

static void without_a_section_everything_has_its_default(void **state)
{
    (void)state;
    struct config *c = load_ok(ONE_DATABASE);
    for (size_t i = 0; i < settings_count(); i++)
        expect_default(&c->settings, i, folder);
    assert_string_equal(c->settings.listen_addr, "127.0.0.1");
    assert_int_equal(c->settings.listen_port, 6432);
    assert_int_equal(c->settings.unix_socket_mode, 0777);
    assert_int_equal(c->settings.workers, 0);
    assert_int_equal(c->settings.pool_mode, POOL_TRANSACTION);
    assert_int_equal(c->settings.auth_type, AUTH_SCRAM);
    assert_int_equal(c->settings.max_client_conn, 1000);
    assert_int_equal(c->settings.server_check_delay_us, 30000000);
    assert_int_equal(c->settings.deadlock_timeout_us, 1000000);
    assert_int_equal(c->settings.gather_max_bytes, 256 << 20);
    assert_true(c->settings.two_phase_commit);
    assert_true(c->settings.log_stats);
    assert_false(c->settings.syslog);
    config_unref(&c);
}

static void values_are_read_and_written_in_the_style_of_the_default(void **state)
{
    (void)state;
    struct config *c =
        load_ok(SET("server_idle_timeout = 90s\nresolve_after = 1500ms\nquery_timeout = 0.25\n"
                    "workers = 3\ntwo_phase_commit = no\nlog_connections = off\npool_mode = Session\n"
                    "plan_cache_bytes = 64MB\ntcp_user_timeout = 5s\ntcp_keepidle = 2min\n"
                    "commit_ack = decided\nunix_socket_mode = 700\nlogfile = log/x.log\n"
                    "pidfile = /run/x.pid\nstats_users ="));
    const struct settings *s = &c->settings;
    check_setting(s, "server_idle_timeout", "90");
    check_setting(s, "resolve_after", "1500ms");
    check_setting(s, "query_timeout", "0.25");
    assert_int_equal(s->query_timeout_us, 250000);
    check_setting(s, "workers", "3");
    check_setting(s, "two_phase_commit", "off");
    check_setting(s, "log_connections", "0");
    check_setting(s, "pool_mode", "session");
    check_setting(s, "plan_cache_bytes", "64MB");
    check_setting(s, "tcp_user_timeout", "5000");
    check_setting(s, "tcp_keepidle", "120");
    check_setting(s, "commit_ack", "decided");
    check_setting(s, "unix_socket_mode", "0700");
    check_setting(s, "pidfile", "/run/x.pid");
    check_setting(s, "stats_users", "");
    char path[128];
    snprintf(path, sizeof path, "%s/log/x.log", folder);
    check_setting(s, "logfile", path);
    config_unref(&c);
}

static void value_errors_name_setting_value_and_what_is_allowed(void **state)
{
    (void)state;
    one_error(SET("listen_port = 70000"), 8,
              "setting \"listen_port\" cannot be \"70000\"; allowed is a whole number from 1 to 65535");
    one_error(SET("listen_port ="), 8, "cannot be \"\"");
    one_error(SET("pool_mode = fast"), 8,
              "setting \"pool_mode\" cannot be \"fast\"; allowed is session, transaction or statement");
    one_error(SET("resolve_after = 5 sec"), 8, "with us, ms, s, min, h or d");
    one_error(SET("resolve_interval = 0"), 8, "allowed is a time from 10ms");
    one_error(SET("query_timeout = 4000d"), 8, "to 3650d");
    one_error(SET("two_phase_commit = maybe"), 8, "allowed is on, off");
    one_error(SET("memory_limit = 1MB"), 8,
              "setting \"memory_limit\" cannot be less than 16MB; or 0, the default");
    one_error(SET("client_memory_limit = 100kB"), 8,
              "setting \"client_memory_limit\" cannot be less than 1MB; or 0, the default");
    one_error(SET("plan_cache_bytes = 1"), 8, "allowed is a size from 64kB");
    one_error(SET("workers = 0"), 8, "\"auto\" or a whole number from 1 to 256");
    one_error(SET("unix_socket_mode = 0888"), 8, "an octal number up to 0777");
    one_error(SET("tcp_keepidle = 1.5"), 8, "whole seconds");
    one_error(SET("auth_type = plain"), 8, "allowed is trust, scram-sha-256, md5, cert or any");
    one_error(SET("syslog_facility = mail"), 8, "local0 to local7");
    one_error(SET("client_tls_protocols = tlsv1.2, sslv3"), 8, "cannot contain \"sslv3\"");
}

static void unknown_and_repeated_settings_are_errors(void **state)
{
    (void)state;
    one_error(SET("pool_mod = session"), 8,
              "unknown setting \"pool_mod\" in [pgunison]; did you mean \"pool_mode\"?");
    one_error(SET("zzz = 1"), 8, "unknown setting \"zzz\" in [pgunison]");
    one_error(SET("verbose = 1\nverbose = 1"), 9, "setting \"verbose\" was already set in line 8");
    one_error(SET("pkt_buf = 4096"), 8, "PgBouncer's setting \"pkt_buf\" does not exist here");
}

static void cluster_must_fit_into_a_gid(void **state)
{
    (void)state;
    one_error(SET("cluster = a/b"), 8, "setting \"cluster\" cannot be \"a/b\"; allowed are 1 to 40 letters");
    one_error(SET("cluster ="), 8, "allowed are 1 to 40");
    one_error(SET("cluster = a2345678901234567890123456789012345678901"), 8, "allowed are 1 to 40");
    struct config *c = load_ok(SET("cluster = A.b_c-0123456789012345678901234567890123"));
    assert_int_equal(strlen(c->settings.cluster), 40);
    config_unref(&c);
}

static void settings_that_need_each_other_are_checked(void **state)
{
    (void)state;
    one_error(SET("client_tls_sslmode = require"), 8, "needs client_tls_cert_file and client_tls_key_file");
    one_error(SET("server_tls_sslmode = verify-full"), 8, "need server_tls_ca_file");
    one_error(SET("server_tls_ca_file = missing.crt"), 8, "cannot be read: No such file");
    one_error(SET("listen_addr =\nunix_socket_dir ="), 8, "no client could connect");
}

static void settings_without_effect_are_noted_when_they_are_changed(void **state)
{
    (void)state;
    struct config *c =
        load_ok(SET("scatter_snapshot = on\ndeadlock_timeout = 1000ms\ngather_max_rows = 1000000"));
    config_unref(&c);
    one_note(SET("scatter_snapshot = off"), 8, "setting \"scatter_snapshot\" has no effect yet");
    one_note(SET("deadlock_timeout = 2s"), 8, "\"deadlock_timeout\" has no effect yet");
    one_note(SET("gather_max_rows = 5"), 8, "no effect yet");
    one_note(SET("gather_max_bytes = 1GB"), 8, "no effect yet");
    one_note(SET("http_listen ="), 8, "no effect yet");
    one_note(SET("server_fast_close = 1"), 8, "no effect yet");
    one_note(SET("server_tls_ciphers = HIGH"), 8, "no effect yet");
    one_note(SET("cancel_wait_timeout = 5"), 8, "no effect yet");
    one_note(SET("dns_max_ttl = 5"), 8, "no effect yet");
    one_note(SET("application_name_add_host = 1"), 8, "no effect yet");
    one_note(SET("auth_user = x"), 8, "no effect yet");
    one_note(SET("auth_query = x"), 8, "no effect yet");
    one_note(SET("auth_dbname = x"), 8, "no effect yet");
    one_note(SET("auth_type = md5"), 8,
             "setting \"auth_type\" is \"md5\", which is accepted but not served yet");
}

/* One line of etc/pgunison.ini, without its end. */
static bool next_line(FILE *f, char *line, size_t size)
{
    if (!fgets(line, (int)size, f))
        return false;
    line[strcspn(line, "\n")] = '\0';
    return true;
}

static void example_file_shows_every_setting_once_with_its_default_and_explanation(void **state)
{
    (void)state;
    char line[512], before[512], setting[512], commented[520], explanation[512];
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *s = settings_info(i);
        snprintf(setting, sizeof setting, "%s =%s%s", s->name, *s->default_value ? " " : "",
                 s->default_value);
        snprintf(commented, sizeof commented, ";%s", setting);
        snprintf(explanation, sizeof explanation, "; %s%s%s", s->explanation,
                 s->on_reload ? "" : " [restart]", s->not_yet ? " [no effect yet]" : "");
        FILE *f = fopen("etc/pgunison.ini", "r");
        assert_non_null(f);
        int found = 0;
        bool own = false; /* inside [pgunison] */
        for (before[0] = '\0'; next_line(f, line, sizeof line); strcpy(before, line)) {
            if (line[0] == '[')
                own = strcmp(line, "[pgunison]") == 0;
            const char *name = line + (line[0] == ';');
            size_t len = strlen(s->name);
            if (!own || strncmp(name, s->name, len) != 0 || (name[len] != ' ' && name[len] != '='))
                continue;
            found++;
            if (line[0] == ';')
                assert_string_equal(line, commented);
            else
                assert_string_equal(line, setting);
            assert_string_equal(before, explanation);
        }
        fclose(f);
        if (found != 1)
            fail_msg("etc/pgunison.ini shows \"%s\" %d times", s->name, found);
    }
}

static void documentation_has_a_row_for_every_setting(void **state)
{
    (void)state;
    char line[512], row[512];
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *s = settings_info(i);
        const char *quote = *s->default_value ? "`" : "";
        snprintf(row, sizeof row, "| `%s` | %s%s%s | %s%s%s |", s->name, quote,
                 *s->default_value ? s->default_value : "empty", quote, s->explanation,
                 s->on_reload ? "" : " Restart.", s->not_yet ? " **No effect yet.**" : "");
        FILE *f = fopen("docs/configuration.md", "r");
        assert_non_null(f);
        int found = 0;
        while (next_line(f, line, sizeof line))
            found += strcmp(line, row) == 0;
        fclose(f);
        if (found != 1)
            fail_msg("docs/configuration.md has this row %d times: %s", found, row);
    }
}

static void example_file_loads_as_the_defaults(void **state)
{
    (void)state;
    struct problems p;
    struct config *c = config_load("etc/pgunison.ini", &p);
    print_problems(&p);
    assert_int_equal(p.count, 0);
    assert_non_null(c);
    char *dir = realpath("etc", NULL);
    for (size_t i = 0; i < settings_count(); i++)
        expect_default(&c->settings, i, dir);
    free(dir);
    const struct database_def *db = topology_database(&c->topology, "shop");
    assert_non_null(db);
    assert_int_equal(db->n_shards, 4);
    assert_int_equal(db->n_tables, 6);
    assert_int_equal(topology_table(db, "app", "events")->n_ranges, 2);
    config_unref(&c);
    problems_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_well_formed),
        cmocka_unit_test(without_a_section_everything_has_its_default),
        cmocka_unit_test(values_are_read_and_written_in_the_style_of_the_default),
        cmocka_unit_test(value_errors_name_setting_value_and_what_is_allowed),
        cmocka_unit_test(unknown_and_repeated_settings_are_errors),
        cmocka_unit_test(cluster_must_fit_into_a_gid),
        cmocka_unit_test(settings_that_need_each_other_are_checked),
        cmocka_unit_test(settings_without_effect_are_noted_when_they_are_changed),
        cmocka_unit_test(example_file_shows_every_setting_once_with_its_default_and_explanation),
        cmocka_unit_test(documentation_has_a_row_for_every_setting),
        cmocka_unit_test(example_file_loads_as_the_defaults),
    };
    return RUN(tests);
}
