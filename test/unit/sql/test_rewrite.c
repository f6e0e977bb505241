/* sql/rewrite.h */
#include "render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct template t;
static struct buf out;

static int set_up(void **state)
{
    (void)state;
    template_init(&t);
    buf_init(&out);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    template_free(&t);
    buf_free(&out);
    return 0;
}

static void lex(const char *sql)
{
    struct error error;
    assert_int_equal(template_lex(&t, slice_str(sql), &error), STATUS_OK);
}

static const char *text(void)
{
    buf_u8(&out, 0);
    return (const char *)buf_head(&out);
}

/* Where `part` stands in the template, by its place in the statement. */
static struct rewrite_edit edit(const char *sql, const char *part, const char *insert)
{
    const char *found = strstr(sql, part);
    assert_non_null(found);
    uint32_t at = rewrite_template_offset(&t, (uint32_t)(found - sql));
    uint32_t to = rewrite_template_offset(&t, (uint32_t)((size_t)(found - sql) + strlen(part)));
    return (struct rewrite_edit){.at = at, .len = to - at, .insert = slice_str(insert)};
}

static const char *span(const char *sql, const char *part)
{
    struct rewrite_edit e = edit(sql, part, "");
    buf_clear(&out);
    rewrite_render_span(&t, e.at, e.at + e.len, &out);
    return text();
}

static void without_edits_the_statement_comes_back(void **state)
{
    (void)state;
    lex("  SELECT  a, 'it''s' /* c */ FROM t\n WHERE b = -12.5 AND c IN ($$x$$,E'\\'') -- end\n ;");
    render(&(struct rewrite){0}, &t, &out);
    assert_string_equal(text(), "SELECT a, 'it''s' FROM t WHERE b = -12.5 AND c IN ($$x$$,E'\\'')");
}

static void edits_hold_for_every_statement_of_the_template(void **state)
{
    (void)state;
    const char *sql = "/* x */ SELECT sum(a)  FROM t WHERE b = 1 ORDER BY 2 LIMIT 10";
    lex(sql);
    struct rewrite_edit edits[] = {
        edit(sql, "sum(a)", "sum(a), count(a)"),
        edit(sql, "b = 1", "true"),
        edit(sql, " LIMIT 10", ""),
    };
    struct rewrite r = {edits, 3};
    render(&r, &t, &out);
    assert_string_equal(text(), "SELECT sum(a), count(a) FROM t WHERE true ORDER BY 2");
    lex("SELECT sum(a) FROM t WHERE b = 12345 ORDER\tBY 17 LIMIT 4");
    buf_clear(&out);
    render(&r, &t, &out);
    assert_string_equal(text(), "SELECT sum(a), count(a) FROM t WHERE true ORDER BY 17");
}

static void insertions_stand_at_both_ends_and_next_to_literals(void **state)
{
    (void)state;
    const char *sql = "VALUES (1,'a')";
    lex(sql);
    uint32_t one = rewrite_template_offset(&t, 8), end = rewrite_template_offset(&t, 14);
    struct rewrite_edit edits[] = {{0, 0, slice_str("<")},
                                   {one, 0, slice_str("[")},
                                   {one + 2, 0, slice_str("]")},
                                   {end, 0, slice_str(">")}};
    render(&(struct rewrite){edits, 4}, &t, &out);
    assert_string_equal(text(), "<VALUES ([1],'a')>");
}

static void offsets_skip_white_space_comments_and_masks(void **state)
{
    (void)state;
    const char *sql =
        "\n -- x\n SELECT  \"a  --b\"  ,U&\"d!0061\" UESCAPE  '!' /* y */ , 'long string',c/**/d,  -  1 , e ";
    lex(sql);
    static const char *const parts[] = {"SELECT",         "\"a  --b\"", ",U&", "U&\"d!0061\"", "UESCAPE",
                                        "'long string',", ",c",         "d,",  "1 , e"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        assert_string_equal(span(sql, parts[i]), parts[i]);
    assert_int_equal(rewrite_template_offset(&t, (uint32_t)t.statement.len), t.text.end);
    assert_int_equal(rewrite_template_offset(&t, 0), 0);
}

static void rows_of_values_render_one_by_one(void **state)
{
    (void)state;
    const char *sql = "INSERT INTO t VALUES (1, 'a'), (2,  'b') , (3, 'c')";
    lex(sql);
    assert_string_equal(span(sql, "(1, 'a')"), "(1, 'a')");
    assert_string_equal(span(sql, "(2,  'b')"), "(2, 'b')");
    assert_string_equal(span(sql, "(3, 'c')"), "(3, 'c')");
    assert_string_equal(span(sql, "(1, 'a'), (2,  'b') , (3, 'c')"), "(1, 'a'), (2, 'b') , (3, 'c')");
}

static void what_lies_inside_a_literal_is_nowhere(void **state)
{
    (void)state;
    const char *sql = "select 'abc', 42 from t";
    lex(sql);
    for (uint32_t at = 0; at <= t.statement.len; at++) {
        bool inside = (at > 7 && at < 12) || at == 15;
        assert_int_equal(rewrite_template_offset(&t, at) == REWRITE_NOWHERE, inside);
    }
    assert_int_equal(rewrite_template_offset(&t, (uint32_t)t.statement.len + 1), REWRITE_NOWHERE);
    assert_int_equal(rewrite_template_offset(&t, UINT32_MAX), REWRITE_NOWHERE);
}

static void edits_that_cannot_be_made_do_not_fit(void **state)
{
    (void)state;
    lex("select 'abc', 42 from t");
    uint32_t first = t.literals[0].template_at, second = t.literals[1].template_at;
    uint32_t end = (uint32_t)t.text.end;
    const struct {
        struct rewrite_edit edits[2];
        bool fits;
    } cases[] = {
        {{{0, 6, {0}}, {end, 0, {0}}}, true},
        {{{first, 2, {0}}, {second, 2, {0}}}, true},
        {{{first, 0, {0}}, {first, 2, {0}}}, true},
        {{{0, end, {0}}, {end, 0, {0}}}, true},
        {{{0, 6, {0}}, {5, 1, {0}}}, false},
        {{{first + 1, 1, {0}}, {end, 0, {0}}}, false},
        {{{first, 1, {0}}, {end, 0, {0}}}, false},
        {{{0, 1, {0}}, {second + 1, 0, {0}}}, false},
        {{{0, 1, {0}}, {end, 1, {0}}}, false},
        {{{0, 1, {0}}, {end + 1, 0, {0}}}, false},
        {{{0, 1, {0}}, {REWRITE_NOWHERE, 0, {0}}}, false},
        {{{0, 1, {0}}, {1, REWRITE_NOWHERE, {0}}}, false},
        {{{0, 1, {0}}, {REWRITE_NOWHERE, 2, {0}}}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rewrite_edit edits[2] = {cases[i].edits[0], cases[i].edits[1]};
        if (rewrite_fits(&(struct rewrite){edits, 2}, &t) != cases[i].fits)
            fail_msg("case %zu", i);
    }
    assert_true(rewrite_span_fits(&t, 0, end));
    assert_false(rewrite_span_fits(&t, 0, end + 1));
    assert_false(rewrite_span_fits(&t, 1, 0));
    assert_false(rewrite_span_fits(&t, first + 1, end));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_edits_the_statement_comes_back),
        TEST(edits_hold_for_every_statement_of_the_template),
        TEST(insertions_stand_at_both_ends_and_next_to_literals),
        TEST(offsets_skip_white_space_comments_and_masks),
        TEST(rows_of_values_render_one_by_one),
        TEST(what_lies_inside_a_literal_is_nowhere),
        TEST(edits_that_cannot_be_made_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
