/* sql_split() of sql/template.h; the server's grammar is the oracle where it accepts the text. */
#include "sql/template.h"

#include <pg_query.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static struct slice *parts;
static size_t n;
static struct error error;

static int tear_down(void **state)
{
    (void)state;
    free(parts);
    parts = NULL;
    return 0;
}

static void split(const char *sql)
{
    free(parts);
    parts = NULL;
    assert_int_equal(sql_split(slice_str(sql), &parts, &n, &error), STATUS_OK);
}

static void assert_parts(const char *sql, const char *const *want, size_t n_want)
{
    split(sql);
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++)
        if (!slice_eq_str(parts[i], want[i]))
            fail_msg("part %zu of %s: %.*s", i, sql, (int)parts[i].len, (const char *)parts[i].data);
}
#define ASSERT_PARTS(sql, ...)                                                                               \
    do {                                                                                                     \
        static const char *const want_[] = {__VA_ARGS__};                                                    \
        assert_parts(sql, want_, N(want_));                                                                  \
    } while (0)

static void splits_at_semicolons_between_tokens(void **state)
{
    (void)state;
    ASSERT_PARTS("SELECT 1", "SELECT 1");
    ASSERT_PARTS("BEGIN; SELECT ';', \";\", $$;$$, E'\\';' /* ; */ -- ;\n;COMMIT;", "BEGIN",
                 "SELECT ';', \";\", $$;$$, E'\\';'", "COMMIT");
    ASSERT_PARTS("SELECT (1\n;2); SELECT 3", "SELECT (1\n;2)", "SELECT 3");
    ASSERT_PARTS("SELECT 1;SELECT 2 ;\n SELECT 3 -- end", "SELECT 1", "SELECT 2", "SELECT 3");
}

static void empty_statements_are_dropped(void **state)
{
    (void)state;
    static const char *const empty[] = {"", ";", " ; ;; ", "-- x", "/* x */ ; -- y\n;"};
    for (size_t i = 0; i < N(empty); i++) {
        split(empty[i]);
        assert_int_equal(n, 0);
    }
    ASSERT_PARTS(";;SELECT 1;; ;SELECT 2;;", "SELECT 1", "SELECT 2");
}

static void comments_before_a_statement_stay_with_it(void **state)
{
    (void)state;
    split("/* pgunison: shard=s0 */ SELECT 1; /* pgunison: shard=s1 */ SELECT 2");
    assert_int_equal(n, 2);
    struct template t;
    template_init(&t);
    assert_int_equal(template_lex(&t, parts[1], &error), STATUS_OK);
    assert_true(slice_eq_str(t.hint, "pgunison: shard=s1"));
    template_free(&t);
}

static void rules_and_bodies_in_sql_are_one_statement(void **state)
{
    (void)state;
    ASSERT_PARTS(
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); DELETE FROM v); SELECT 1",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); DELETE FROM v)", "SELECT 1");
    ASSERT_PARTS(
        "SELECT 0; CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE a WHEN 1 THEN 2 END; SELECT "
        "3; END;"
        " SELECT 4; CREATE PROCEDURE p() BEGIN ATOMIC END; SELECT 5",
        "SELECT 0",
        "CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE a WHEN 1 THEN 2 END; SELECT 3; END",
        "SELECT 4", "CREATE PROCEDURE p() BEGIN ATOMIC END", "SELECT 5");
    /* END as a bare alias: words alone would end the body there. */
    ASSERT_PARTS("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 end; SELECT 2; END; SELECT 3",
                 "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 end; SELECT 2; END", "SELECT 3");
    ASSERT_PARTS("BEGIN; CREATE TABLE atomic (a int); END", "BEGIN", "CREATE TABLE atomic (a int)", "END");
}

static void what_the_parser_refuses_is_split_by_words(void **state)
{
    (void)state;
    ASSERT_PARTS("SELEC 1; SELECT 2", "SELEC 1", "SELECT 2");
    ASSERT_PARTS("CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; SELEC 2",
                 "CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END", "SELEC 2");
}

static void unterminated_tokens_fail_as_a_whole(void **state)
{
    (void)state;
    parts = NULL;
    assert_int_equal(sql_split(slice_str("SELECT 1; SELECT 'x"), &parts, &n, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, "42601");
    assert_string_equal(error.message, "unterminated quoted string at or near \"'x\"");
    assert_int_equal(
        sql_split(slice_str("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END; /*"), &parts, &n, &error),
        STATUS_ERROR);
}

static void a_text_is_right_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    static const char *const right[] = {"", ";;", "SELECT 1; SELECT 2",
                                        "BEGIN; INSERT INTO t VALUES (1); COMMIT;",
                                        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END; SELECT 2"};
    static const char *const wrong[] = {"SELECT 1; SELEC 2", "SELEC 1; SELECT 2", "SELECT 1; )",
                                        "SELECT 1; SELECT 'x"};
    for (size_t i = 0; i < N(right); i++)
        assert_int_equal(sql_check_syntax(slice_str(right[i]), &error), STATUS_OK);
    for (size_t i = 0; i < N(wrong); i++) {
        assert_int_equal(sql_check_syntax(slice_str(wrong[i]), &error), STATUS_ERROR);
        assert_string_equal(error.sqlstate, "42601");
    }
    assert_int_equal(sql_check_syntax(slice_str("SELECT 1; SELEC 2"), &error), STATUS_ERROR);
    assert_string_equal(error.message, "syntax error at or near \"SELEC\"");
}

static void agrees_with_the_parser(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 1; SELECT 2; SELECT 3",
        "BEGIN; INSERT INTO t VALUES (1, 'a;b'); COMMIT",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN x := 1; END; $f$; DO $$ BEGIN END; "
        "$$; SELECT 1",
        "CREATE RULE r AS ON DELETE TO t DO INSTEAD (SELECT 1; SELECT (2); SELECT 3); VACUUM; ANALYZE",
        "CREATE FUNCTION a() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN CASE 1 WHEN 1 "
        "THEN 2 END END; END; SELECT 1",
        "CREATE FUNCTION a() RETURNS int RETURN 1; CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS "
        "SELECT 1; SELECT 2",
        "PREPARE p AS SELECT $1; EXECUTE p(1); DEALLOCATE p",
        "SELECT 1 AS begin, 2 AS atomic; SELECT begin.atomic FROM begin",
        "CREATE OR REPLACE PROCEDURE p(INOUT begin int) BEGIN ATOMIC SELECT t.end FROM t; SELECT 1 AS case; "
        "END; SELECT 1",
    };
    for (size_t i = 0; i < N(texts); i++) {
        PgQuerySplitResult r = pg_query_split_with_parser(texts[i]);
        assert_null(r.error);
        split(texts[i]);
        assert_int_equal(n, r.n_stmts);
        for (size_t k = 0; k < n; k++) {
            /* The parser leaves the white space after a semicolon in. */
            size_t from = (size_t)r.stmts[k]->stmt_location, to = from + (size_t)r.stmts[k]->stmt_len;
            from += strspn(texts[i] + from, " ");
            assert_int_equal(parts[k].data - (const uint8_t *)texts[i], from);
            assert_int_equal(parts[k].len, to - from);
        }
        pg_query_free_split_result(r);
    }
}

static void deep_nesting_does_not_exhaust_the_stack(void **state)
{
    (void)state;
    struct buf sql;
    buf_init(&sql);
    buf_str(&sql, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT ");
    for (int i = 0; i < 200000; i++)
        buf_str(&sql, "(-");
    buf_str(&sql, "1; END; SELECT 2");
    assert_int_equal(sql_split(buf_slice(&sql), &parts, &n, &error), STATUS_OK);
    assert_int_equal(n, 1);
    buf_clear(&sql);
    buf_str(&sql, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1");
    for (int i = 0; i < 200000; i++)
        buf_str(&sql, "+1");
    buf_str(&sql, "; END; SELECT 2");
    free(parts);
    assert_int_equal(sql_split(buf_slice(&sql), &parts, &n, &error), STATUS_OK);
    assert_int_equal(n, 2);
    buf_free(&sql);
}

/* CPU seconds that splitting n statements takes: the least of several, as others disturb caches. */
static double cost(size_t count)
{
    static const char one[] = "BEGIN;";
    size_t len = strlen(one);
    char *sql = malloc(count * len);
    double least = 1e9;
    for (size_t i = 0; i < count; i++)
        memcpy(sql + i * len, one, len);
    for (int attempt = 0; attempt < 4; attempt++) {
        struct timespec from, to;
        free(parts);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        assert_int_equal(sql_split(slice_of(sql, count * len), &parts, &n, &error), STATUS_OK);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        assert_int_equal(n, count);
        double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        least = seconds < least ? seconds : least;
    }
    free(sql);
    return least;
}

/* A look at all that follows, for each statement, makes four times as many cost sixteen times as much. */
static void a_text_is_read_once_however_many_statements_it_has(void **state)
{
    (void)state;
    double few = cost(50000), many = cost(200000);
    if (many > 4 * 1.9 * few + 0.001)
        fail_msg("50000 statements: %.1f ms, 200000: %.1f ms", few * 1e3, many * 1e3);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(splits_at_semicolons_between_tokens),
        TEST(empty_statements_are_dropped),
        TEST(comments_before_a_statement_stay_with_it),
        TEST(rules_and_bodies_in_sql_are_one_statement),
        TEST(what_the_parser_refuses_is_split_by_words),
        TEST(unterminated_tokens_fail_as_a_whole),
        TEST(a_text_is_right_as_a_whole_or_not_at_all),
        TEST(agrees_with_the_parser),
        TEST(deep_nesting_does_not_exhaust_the_stack),
        TEST(a_text_is_read_once_however_many_statements_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
