/* How lines of the file become sections and entries: what inih does not tell by itself. */
#include "support.h"

static void line_of_199_bytes_is_read_and_200_is_an_error(void **state)
{
    (void)state;
    char text[512], value[200];
    memset(value, 'x', sizeof value);
    /* "stats_users = " has 14 bytes */
    snprintf(text, sizeof text, ONE_DATABASE "[pgunison]\nstats_users = %.185s\nverbose = 3\n", value);
    struct config *c = load_ok(text);
    assert_int_equal(strlen(c->settings.stats_users), 185);
    assert_int_equal(c->settings.verbose, 3);
    config_unref(&c);
    snprintf(text, sizeof text, ONE_DATABASE "[pgunison]\nstats_users = %.186s\nverbose = 3\n", value);
    one_error(text, 8, "line is 200 bytes long, at most 199 are allowed");
    snprintf(text, sizeof text, ONE_DATABASE "; %.198s\n", value);
    one_error(text, 7, "line is 200 bytes long");
}

static void last_line_needs_no_newline_and_carriage_returns_do_not_count(void **state)
{
    (void)state;
    struct config *c =
        load_ok("\xef\xbb\xbf[pgunison]\r\nlisten_port = 7000\r\n" ONE_DATABASE "pool_size = 3");
    assert_int_equal(c->settings.listen_port, 7000);
    assert_int_equal(c->topology.databases[0].shards[1]->pool_size, 3);
    config_unref(&c);
}

static void continuation_lines_are_joined_and_lose_their_comments(void **state)
{
    (void)state;
    struct config *c = load_ok("[database shop]\n"
                               "shards = s0 ; the first\n"
                               "  s1,        ; the second\n"
                               "\n"
                               "; between\n"
                               "   ; indented comment\n"
                               "\ts2\n"
                               "[shard s0]\nhost = h0\n[shard s1]\nhost = h1\n[shard s2]\nhost =\n  h2\n");
    const struct database_def *db = &c->topology.databases[0];
    assert_int_equal(db->n_shards, 3);
    assert_string_equal(db->shards[2]->name, "s2");
    assert_string_equal(db->shards[2]->host, "h2");
    config_unref(&c);
}

static void continuation_of_a_value_longer_than_a_line_keeps_all_of_it(void **state)
{
    (void)state;
    char text[1200], value[181];
    memset(value, 'x', sizeof value);
    snprintf(text, sizeof text, ONE_DATABASE "[pgunison]\nstats_users = a,\n  %.180s,\n  %.180s\n", value,
             value);
    struct config *c = load_ok(text);
    assert_int_equal(strlen(c->settings.stats_users), 2 + 1 + 181 + 1 + 180);
    config_unref(&c);
}

static void indented_line_that_reads_like_its_own_is_an_error(void **state)
{
    (void)state;
    one_error(ONE_DATABASE "[pgunison]\nlisten_addr = ::1\n  listen_port = 7000\n", 9,
              "line begins with a blank and therefore continues \"listen_addr\" of line 8");
    one_error(ONE_DATABASE "dbname = d\n [pgunison]\n", 8, "continues \"dbname\" of line 7");
    one_error(ONE_DATABASE "[tables shop]\na = reference\n b = reference\n", 9, "continues \"a\" of line 8");
}

static void first_entry_of_a_section_may_be_indented(void **state)
{
    (void)state;
    struct config *c = load_ok(ONE_DATABASE "[pgunison]\n  listen_port = 7000\n");
    assert_int_equal(c->settings.listen_port, 7000);
    config_unref(&c);
}

static void comment_begins_with_semicolon_after_a_blank(void **state)
{
    (void)state;
    struct config *c = load_ok("# one\n; two\n" ONE_DATABASE "[pgunison]\nserver_reset_query = A;B ; C\n");
    assert_string_equal(c->settings.server_reset_query, "A;B");
    config_unref(&c);
    one_note(ONE_DATABASE "[pgunison]\nlogfile = x # log\n", 8, "\"#\" is part of the value of \"logfile\"");
}

static void every_bad_line_is_reported(void **state)
{
    (void)state;
    struct problems p;
    struct config *c =
        load("nothing = here\n" ONE_DATABASE "[pgunison]\nnovalue\n= e\nverbose = 1\n[open\n[x] y\nz\n", &p);
    static const struct {
        int line;
        const char *words;
    } expected[] = {
        {1, "\"nothing\" stands before any [section]"},
        {9, "line is neither a [section], nor \"name = value\""},
        {10, "no name before \"=\""},
        {12, "section has no closing \"]\""},
        {13, "unexpected \"y\" after the section"},
        {14, "line is neither"},
    };
    assert_null(c);
    for (size_t i = 0; i < p.count && i < 6; i++) {
        assert_int_equal(p.items[i].line, expected[i].line);
        assert_non_null(strstr(p.items[i].text, expected[i].words));
    }
    assert_int_equal(p.count, 6);
    assert_int_equal(p.errors, 6);
    problems_free(&p);
    assert_int_equal(p.count, 0);
}

static void names_of_sections_and_settings_are_not_cut(void **state)
{
    (void)state;
    /* inih keeps 49 bytes of either */
    const char *t60 = "a23456789_123456789_123456789_123456789_123456789_123456789_";
    char text[1024];
    snprintf(text, sizeof text,
             ONE_DATABASE
             "[tables shop]\n%s.%s = range(k)\n[ranges shop.%s.%s]\ns0 = MINVALUE\n .. MAXVALUE\n",
             t60, t60, t60, t60);
    struct config *c = load_ok(text);
    const struct table_map *m = topology_table(&c->topology.databases[0], t60, t60);
    assert_non_null(m);
    assert_int_equal(m->n_ranges, 1);
    config_unref(&c);
}

static void zero_byte_is_an_error(void **state)
{
    (void)state;
    static const char text[] = ONE_DATABASE "dbname = a\0b\n";
    struct problems p;
    write_bytes("test.ini", text, sizeof text - 1);
    struct config *c = config_load(in_folder("test.ini"), &p);
    assert_null(c);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.items[0].line, 7);
    assert_string_equal(p.items[0].text, "line contains a zero byte");
    problems_free(&p);
}

static void unreadable_file_is_one_error_without_a_line(void **state)
{
    (void)state;
    struct problems p;
    assert_null(config_load("/nonexistent/x.ini", &p));
    assert_int_equal(p.count, 1);
    assert_int_equal(p.items[0].line, 0);
    assert_non_null(strstr(p.items[0].text, "No such file"));
    problems_free(&p);
    assert_null(config_load("/tmp", &p));
    assert_int_equal(p.errors, 1);
    assert_non_null(strstr(p.items[0].text, "Is a directory"));
    problems_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_of_199_bytes_is_read_and_200_is_an_error),
        cmocka_unit_test(last_line_needs_no_newline_and_carriage_returns_do_not_count),
        cmocka_unit_test(continuation_lines_are_joined_and_lose_their_comments),
        cmocka_unit_test(continuation_of_a_value_longer_than_a_line_keeps_all_of_it),
        cmocka_unit_test(indented_line_that_reads_like_its_own_is_an_error),
        cmocka_unit_test(first_entry_of_a_section_may_be_indented),
        cmocka_unit_test(comment_begins_with_semicolon_after_a_blank),
        cmocka_unit_test(every_bad_line_is_reported),
        cmocka_unit_test(names_of_sections_and_settings_are_not_cut),
        cmocka_unit_test(zero_byte_is_an_error),
        cmocka_unit_test(unreadable_file_is_one_error_without_a_line),
    };
    return RUN(tests);
}
