/* backend/rows.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/rows.h"
#include "wire/message.h"

#define MAX_BYTES 4096

static struct rows_sink *sink;
static struct error why;

static int begin(void **state)
{
    (void)state;
    sink = rows_sink_create(MAX_BYTES);
    return 0;
}

static int end(void **state)
{
    (void)state;
    rows_sink_destroy(&sink);
    assert_null(sink);
    return 0;
}

/* --- messages --------------------------------------------------------------------------------- */

/* The bytes are freed when it has been taken: what is kept is a copy. */
static enum rows_progress take(struct buf *b)
{
    struct frame f;
    size_t need;
    why = (struct error){0};
    assert_int_equal(frame_next(buf_slice(b), UINT32_MAX, &f, &need), FRAME_OK);
    assert_int_equal(f.whole.len, buf_len(b));
    enum rows_progress p = rows_sink_take(sink, &f, &why);
    memset(buf_head(b), 'x', buf_len(b));
    buf_free(b);
    return p;
}

static void describe(int n)
{
    static const char *const names[] = {"a", "b", "c"};
    struct buf b;
    buf_init(&b);
    message_row_description(&b, n, names, NULL, NULL);
    assert_int_equal(take(&b), ROWS_MORE);
}

static enum rows_progress row(int n, const char *const *values)
{
    struct buf b;
    buf_init(&b);
    message_data_row(&b, n, values);
    return take(&b);
}

static void complete(const char *tag)
{
    struct buf b;
    buf_init(&b);
    message_command_complete(&b, tag);
    assert_int_equal(take(&b), ROWS_MORE);
}

static void say_error(const char *sqlstate, const char *text)
{
    struct buf b;
    struct error e;
    buf_init(&b);
    (void)error_set(&e, sqlstate, "%s", text);
    error_hint(&e, "a hint");
    message_error(&b, &e, false);
    assert_int_equal(take(&b), ROWS_MORE);
}

static struct rows ready(char txn_status)
{
    struct buf b;
    buf_init(&b);
    message_ready(&b, txn_status);
    assert_int_equal(take(&b), ROWS_END);
    return rows_sink_rows(sink);
}

#define ROW(...) row(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

/* --- tests ------------------------------------------------------------------------------------ */

static void values_are_texts_and_nulls(void **state)
{
    (void)state;
    describe(3);
    assert_int_equal(ROW("1", NULL, ""), ROWS_MORE);
    assert_int_equal(ROW("22", "x", NULL), ROWS_MORE);
    complete("SELECT 2");
    struct rows r = ready('T');
    assert_true(r.ok && !r.lost && !r.error);
    assert_string_equal(r.tag, "SELECT 2");
    assert_int_equal(r.txn_status, 'T');
    assert_int_equal(r.n_rows, 2);
    assert_int_equal(r.n_columns, 3);
    assert_int_equal(rows_value(&r, 1, 0).len, 2);
    static const char *const expected[2][3] = {{"1", NULL, ""}, {"22", "x", NULL}};
    const char *const *const *texts = rows_texts(&r);
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 3; j++) {
            assert_ptr_equal(texts[i][j], rows_text(&r, i, j));
            if (expected[i][j])
                assert_string_equal(texts[i][j], expected[i][j]);
            else
                assert_null(texts[i][j]);
        }
        assert_null(texts[i][3]);
    }
}

static void no_rows_and_no_statement(void **state)
{
    (void)state;
    describe(2);
    complete("SELECT 0");
    struct rows r = ready('I');
    assert_true(r.ok);
    assert_int_equal(r.n_rows, 0);
    assert_int_equal(r.n_columns, 2);
    assert_null(rows_texts(&r)[0]);
    rows_sink_clear(sink);
    struct buf b;
    buf_init(&b);
    message_empty(&b, MSG_EMPTY_QUERY);
    assert_int_equal(take(&b), ROWS_MORE);
    r = ready('I');
    assert_true(r.ok);
    assert_string_equal(r.tag, "");
    assert_int_equal(r.n_columns, 0);
    assert_null(rows_texts(&(struct rows){.lost = true}));
}

static void the_last_statement_counts(void **state)
{
    (void)state;
    describe(1);
    assert_int_equal(ROW("1"), ROWS_MORE);
    complete("SELECT 1");
    describe(2);
    assert_int_equal(ROW("7", "8"), ROWS_MORE);
    complete("SELECT 1");
    complete("INSERT 0 3");
    struct rows r = ready('I');
    assert_string_equal(r.tag, "INSERT 0 3");
    assert_int_equal(r.n_rows, 1);
    assert_int_equal(r.n_columns, 2);
    assert_string_equal(rows_text(&r, 0, 1), "8");
}

static void the_first_error_ends_it(void **state)
{
    (void)state;
    describe(1);
    assert_int_equal(ROW("1"), ROWS_MORE);
    assert_null(rows_sink_error(sink));
    say_error("22012", "division by zero");
    assert_string_equal(rows_sink_error(sink)->sqlstate, "22012");
    say_error("57P01", "and another one");
    struct rows r = ready('E');
    assert_false(r.ok || r.lost);
    assert_string_equal(r.error->sqlstate, "22012");
    assert_string_equal(r.error->message, "division by zero");
    assert_string_equal(r.error->hint, "a hint");
    assert_int_equal(r.txn_status, 'E');
    assert_int_equal(r.n_rows, 0);
    rows_sink_clear(sink);
    assert_null(rows_sink_error(sink));
    complete("COMMIT");
    r = ready('I');
    assert_true(r.ok);
    assert_string_equal(r.tag, "COMMIT");
}

static void raw_row(const char *body, size_t len)
{
    struct buf b;
    buf_init(&b);
    size_t begun = message_begin(&b, MSG_DATA_ROW);
    buf_append(&b, body, len);
    message_end(&b, begun);
    assert_int_equal(take(&b), ROWS_BAD);
    assert_string_equal(why.sqlstate, "08P01");
    rows_sink_clear(sink);
}

static void malformed_rows_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t len;
        const char *what;
    } bad[] = {
#define BODY(s) (s), sizeof(s) - 1
        {BODY(""), "It has not as many values as were described."},
        {BODY("\0"), "It has not as many values as were described."},
        {BODY("\0\1"), "It has not as many values as were described."},
        {BODY("\0\3\0\0\0\0\0\0\0\0\0\0\0\0"), "It has not as many values as were described."},
        {BODY("\0\2"), "It is too short for its values."},
        {BODY("\0\2\0\0\0\1x\0\0\0"), "It is too short for its values."},
        {BODY("\0\2\0\0\0\1x\0\0\0\2y"), "It is too short for its values."},
        {BODY("\0\2\0\0\0\1x\177\377\377\377y"), "It is too short for its values."},
        {BODY("\0\2\0\0\0\1x\377\377\377\376y"), "It is too short for its values."},
        {BODY("\0\2\0\0\0\1x\0\0\0\1yz"), "It is too long for its values."},
        {BODY("\0\2\0\0\0\1x\377\377\377\377y"), "It is too long for its values."},
        {BODY("\0\2\0\0\0\1x\0\0\0\3y\0z"), "A text holds a zero byte."},
#undef BODY
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        describe(2);
        assert_int_equal(ROW("kept", NULL), ROWS_MORE);
        raw_row(bad[i].body, bad[i].len);
        assert_string_equal(why.message, bad[i].what);
    }
}

/* Adds rows until one is refused; how many fit. */
static size_t fill(int n, const char *const *values)
{
    enum rows_progress p;
    size_t taken = 0;
    rows_sink_clear(sink);
    describe(n);
    while ((p = row(n, values)) == ROWS_MORE)
        assert_true(++taken < 100000);
    assert_int_equal(p, ROWS_BAD);
    assert_string_equal(why.sqlstate, "54000");
    assert_string_equal(why.message, "an answer takes more than 4096 bytes");
    return taken;
}

static void what_is_kept_is_bounded(void **state)
{
    (void)state;
    char large[MAX_BYTES + 1];
    memset(large, 'x', MAX_BYTES);
    large[MAX_BYTES] = '\0';
    assert_int_equal(fill(1, (const char *[]){large}), 0);
    large[1000] = '\0';
    assert_in_range(fill(1, (const char *[]){large}), 3, 4);
    assert_in_range(fill(3, (const char *[]){NULL, NULL, NULL}), 40, 70);
    assert_in_range(fill(0, NULL), 100, 300); /* rows without any value count, too */
    say_error("22012", "division by zero");   /* gives them back: nothing is kept beside an error */
    for (int i = 0; i < 1000; i++)
        assert_int_equal(ROW("1"), ROWS_MORE);
    struct rows r = ready('I');
    assert_int_equal(r.n_rows, 0);
}

static void rows_of_an_earlier_statement_do_not_count(void **state)
{
    (void)state;
    char half[2001];
    memset(half, 'x', 2000);
    half[2000] = '\0';
    for (int i = 0; i < 10; i++) {
        describe(1);
        assert_int_equal(ROW(half), ROWS_MORE);
        complete("SELECT 1");
    }
    struct rows r = ready('I');
    assert_int_equal(r.n_rows, 1);
    assert_string_equal(rows_text(&r, 0, 0), half);
}

#define ROWS_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROWS_TEST(values_are_texts_and_nulls),
        ROWS_TEST(no_rows_and_no_statement),
        ROWS_TEST(the_last_statement_counts),
        ROWS_TEST(the_first_error_ends_it),
        ROWS_TEST(malformed_rows_are_refused),
        ROWS_TEST(what_is_kept_is_bounded),
        ROWS_TEST(rows_of_an_earlier_statement_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
