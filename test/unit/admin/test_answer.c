/* Answers, rendered for the console and read back as a client reads them, and by another renderer. */
#include "../../../src/admin/answer.h"
#include "../../../src/admin/stats.h"
#include "wire/message.h"

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct frame take(struct buf *b, char type)
{
    struct frame f = {0};
    size_t need;
    assert_int_equal(frame_next(buf_slice(b), 1 << 20, &f, &need), FRAME_OK);
    assert_int_equal(f.type, type);
    return f;
}

static void rows_come_back_as_they_were_put_in(void **state)
{
    (void)state;
    static const struct answer_column columns[] = {
        {"name", ANSWER_TEXT}, {"n", ANSWER_BIGINT}, {"at", ANSWER_TEXT}, {"s", ANSWER_FLOAT}};
    struct answer a;
    struct buf *b = &a.out;
    struct error e;
    struct msg_column got[4];
    struct slice values[4];
    uint16_t n;
    answer_init(&a, &render_console);
    answer_columns(&a, columns, sizeof columns / sizeof columns[0]);
    answer_text(&a, "a");
    answer_int(&a, -5);
    answer_time(&a, UINT64_C(1769862896789000));
    answer_seconds(&a, 1.5);
    answer_row(&a);
    answer_text(&a, NULL);
    answer_unsigned(&a, UINT64_MAX);
    answer_text(&a, "");
    answer_seconds(&a, 0);
    answer_row(&a);
    answer_done(&a, "SHOW");

    struct frame f = take(b, 'T');
    assert_int_equal(message_read_row_description(&f, got, 4, &n, &e), STATUS_OK);
    assert_int_equal(n, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(got[i].name, columns[i].name);
        assert_int_equal(got[i].type_oid, columns[i].type);
        assert_int_equal(got[i].format, 0);
    }
    buf_consume(b, f.whole.len);
    f = take(b, 'D');
    assert_int_equal(message_read_data_row(&f, values, 4, &n, &e), STATUS_OK);
    assert_true(slice_eq_str(values[0], "a"));
    assert_true(slice_eq_str(values[1], "-5"));
    assert_true(slice_eq_str(values[2], "2026-01-31 12:34:56 UTC"));
    assert_true(slice_eq_str(values[3], "1.500"));
    buf_consume(b, f.whole.len);
    f = take(b, 'D');
    assert_int_equal(message_read_data_row(&f, values, 4, &n, &e), STATUS_OK);
    assert_null(values[0].data);
    assert_true(slice_eq_str(values[1], "18446744073709551615"));
    assert_int_equal(values[2].len, 0);
    assert_non_null(values[2].data);
    buf_consume(b, f.whole.len);
    const char *tag;
    int64_t rows;
    f = take(b, 'C');
    assert_int_equal(message_read_tag(&f, &tag, &rows, &e), STATUS_OK);
    assert_string_equal(tag, "SHOW");
    buf_consume(b, f.whole.len);
    assert_int_equal(buf_len(b), 0);
    answer_free(&a);
}

static void an_error_takes_the_place_of_rows(void **state)
{
    (void)state;
    static const struct answer_column columns[] = {{"name", ANSWER_TEXT}};
    struct answer a;
    struct buf *b = &a.out;
    struct error e, got, why;
    answer_init(&a, &render_console);
    answer_columns(&a, columns, sizeof columns / sizeof columns[0]);
    (void)error_set(&e, "0A000", "no");
    answer_error(&a, &e);
    struct frame f = take(b, 'E');
    assert_int_equal(message_read_error(&f, &got, &why), STATUS_OK);
    assert_string_equal(got.sqlstate, "0A000");
    assert_int_equal(f.whole.len, buf_len(b));
    answer_free(&a);
}

/* --- a renderer that is not the console's ------------------------------------------------------ */

static void csv_columns(struct answer *a)
{
    for (int i = 0; i < a->n_columns; i++)
        buf_printf(&a->out, "%s%s", i ? "," : "", a->columns[i].name);
    buf_str(&a->out, "\n");
}

static void csv_row(struct answer *a)
{
    for (int i = 0; i < a->n; i++)
        buf_printf(&a->out, "%s%s", i ? "," : "", a->values[i] ? a->values[i] : "NULL");
    buf_str(&a->out, "\n");
}

static void csv_line(struct answer *a, const struct error *e)
{
    buf_printf(&a->out, "%s %s\n", e->sqlstate, e->message);
}

static void csv_done(struct answer *a, const char *tag)
{
    buf_printf(&a->out, "%s\n", tag ? tag : "nothing");
}

static void whoever_answers_does_not_know_the_renderer(void **state)
{
    (void)state;
    static const struct renderer csv = {csv_columns, csv_row, csv_line, csv_done, csv_line};
    static const struct answer_column columns[] = {{"name", ANSWER_TEXT}, {"n", ANSWER_BIGINT}};
    struct answer a;
    struct error e;
    answer_init(&a, &csv);
    answer_columns(&a, columns, 2);
    answer_text(&a, "a");
    answer_unsigned_or_null(&a, 7);
    answer_row(&a);
    answer_null(&a);
    answer_unsigned_or_null(&a, 0);
    answer_row(&a);
    answer_done(&a, "SHOW");
    assert_true(slice_eq_str(buf_slice(&a.out), "name,n\na,7\nNULL,NULL\nSHOW\n"));
    answer_text(&a, "half a row");
    (void)error_set(&e, "08006", "gone");
    answer_error(&a, &e);
    assert_true(slice_eq_str(buf_slice(&a.out), "08006 gone\n"));
    answer_free(&a);
}

static void averages_are_per_second_and_per_piece(void **state)
{
    (void)state;
    struct totals from = {.transactions = 10,
                          .queries = 20,
                          .received = 1000,
                          .transaction_us = 500,
                          .query_us = 100,
                          .wait_us = 7};
    struct totals to = {.transactions = 14,
                        .queries = 30,
                        .received = 5000,
                        .transaction_us = 900,
                        .query_us = 200,
                        .wait_us = 11};
    struct averages a;
    averages_between(&from, &to, 2000000, &a);
    assert_int_equal(a.transactions, 2);
    assert_int_equal(a.queries, 5);
    assert_int_equal(a.received, 2000);
    assert_int_equal(a.sent, 0);
    assert_int_equal(a.transaction_us, 100);
    assert_int_equal(a.query_us, 10);
    assert_int_equal(a.wait_us, 2);
}

static void averages_of_nothing_are_zero(void **state)
{
    (void)state;
    struct totals t = {.transactions = 10, .transaction_us = 500};
    struct averages a, zero = {0};
    averages_between(&t, &t, 0, &a);
    assert_memory_equal(&a, &zero, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_were_put_in),
        cmocka_unit_test(an_error_takes_the_place_of_rows),
        cmocka_unit_test(whoever_answers_does_not_know_the_renderer),
        cmocka_unit_test(averages_are_per_second_and_per_piece),
        cmocka_unit_test(averages_of_nothing_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
