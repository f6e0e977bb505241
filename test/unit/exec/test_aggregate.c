/* exec/aggregate.h. That a server computes what it should from these queries:
 * test/integration/test_exec_server.py. */
#include "exec/aggregate.h"
#include "wire/message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct frame next(struct buf *b)
{
    struct frame f = {0};
    size_t need;
    assert_int_equal(frame_next(buf_slice(b), UINT32_MAX, &f, &need), FRAME_OK);
    buf_consume(b, f.whole.len);
    return f;
}

static enum status describe(struct aggregate *a, int n, const uint32_t *oids, const int16_t *formats,
                            struct error *error)
{
    const char *names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct buf b;
    buf_init(&b);
    message_row_description(&b, n, names, oids, formats);
    struct frame f = next(&b);
    enum status status = aggregate_row_description(a, 0, &f, error);
    buf_free(&b);
    return status;
}

static void give(struct aggregate *a, unsigned source, int n, const char *const *values)
{
    struct buf b;
    struct error error;
    buf_init(&b);
    message_data_row(&b, n, values);
    struct frame f = next(&b);
    if (aggregate_row(a, source, &f, &error) != STATUS_OK || aggregate_end(a, source, &error) != STATUS_OK)
        fail_msg("%s", error.message);
    buf_free(&b);
}

static void query_declares_types_and_passes_values_on(void **state)
{
    (void)state;
    struct merge_aggregate aggregates[] = {
        {.func = AGG_COUNT, .shard_column = 0, .name = "count"},
        {.func = AGG_SUM, .shard_column = 1, .name = "sum"},
        {.func = AGG_AVG, .shard_column = 1, .name = "a\"vg"},
        {.func = AGG_MAX, .shard_column = 3, .name = "max", .collation = "pg_catalog.\"C\""},
        {.func = AGG_BOOL_OR, .shard_column = 4, .name = "bool_or"},
        {.func = AGG_MIN, .shard_column = 5, .name = "min", .c_collated = true}, /* not collatable */
        {.func = AGG_AVG, .shard_column = 6, .name = "avg"},
    };
    const uint32_t oids[] = {OID_INT8, OID_NUMERIC, OID_INT8,   OID_TEXT,
                             OID_BOOL, OID_DATE,    OID_FLOAT8, OID_INT8};
    const int16_t formats[] = {0, 0, 0, 0, 0, 0, 0, 0}, result_formats[] = {1};
    const char *row0[] = {"1", "2.5", "1", NULL, "t", "2026-01-01", "1.5", "1"};
    const char *row1[] = {"0", NULL, "0", "", NULL, NULL, NULL, "0"};
    struct merge_spec spec = {.aggregates = aggregates, .n_aggregates = 7};
    struct aggregate *a = aggregate_create(&spec, 2, 5, 0);
    struct buf out;
    struct error error;
    buf_init(&out);
    assert_int_equal(describe(a, 8, oids, formats, &error), STATUS_OK);
    give(a, 1, 8, row1);
    assert_int_equal(aggregate_build(a, 1, result_formats, true, &out, &error), STATUS_ERROR);
    give(a, 0, 8, row0);
    assert_int_equal(aggregate_build(a, 1, result_formats, true, &out, &error), STATUS_OK);

    struct frame f = next(&out);
    struct msg_parse parse;
    assert_int_equal(message_read_parse(&f, &parse, &error), STATUS_OK);
    assert_string_equal(parse.name, "");
    const char *sql =
        "SELECT pg_catalog.sum(c0)::pg_catalog.int8 AS \"count\", pg_catalog.sum(c1) AS \"sum\", "
        "pg_catalog.sum(c1) OPERATOR(pg_catalog./) pg_catalog.sum(c2) AS \"a\"\"vg\", "
        "pg_catalog.max(c3 COLLATE pg_catalog.\"C\") AS \"max\", pg_catalog.bool_or(c4) AS \"bool_or\", "
        "pg_catalog.min(c5) AS \"min\", "
        "pg_catalog.sum(c6) OPERATOR(pg_catalog./) pg_catalog.sum(c7)::pg_catalog.float8 AS \"avg\" "
        "FROM (VALUES ($1, $2, $3, $4, $5, $6, $7, $8), ($9, $10, $11, $12, $13, $14, $15, $16)) "
        "AS v(c0, c1, c2, c3, c4, c5, c6, c7) LIMIT 5";
    if (!slice_eq_str(parse.sql, sql))
        fail_msg("%.*s", (int)parse.sql.len, (const char *)parse.sql.data);
    assert_int_equal(parse.n_oids, 16);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(load_u32(parse.oids + 4 * i), oids[i % 8]);

    f = next(&out);
    struct msg_bind bind;
    assert_int_equal(message_read_bind(&f, &bind, &error), STATUS_OK);
    assert_int_equal(bind.n_params, 16);
    for (uint16_t i = 0; i < 16; i++) {
        struct slice value;
        int16_t format;
        const char *want = i < 8 ? row0[i] : row1[i - 8];
        msg_bind_param(&bind, i, &value, &format);
        assert_int_equal(format, 0);
        assert_int_equal(value.data == NULL, want == NULL);
        if (want)
            assert_true(slice_eq_str(value, want));
    }
    assert_int_equal(bind.n_result_formats, 1);
    assert_int_equal(msg_bind_result_format(&bind, 6), 1);
    assert_int_equal(next(&out).type, MSG_DESCRIBE);
    assert_int_equal(next(&out).type, MSG_EXECUTE);
    assert_int_equal(buf_len(&out), 0);
    aggregate_destroy(&a);
    assert_null(a);
    buf_free(&out);
}

static void shards_agree_on_types_and_formats(void **state)
{
    (void)state;
    struct merge_aggregate g = {.func = AGG_SUM, .name = "sum"};
    struct merge_spec spec = {.aggregates = &g, .n_aggregates = 1};
    const uint32_t int8[] = {OID_INT8}, numeric[] = {OID_NUMERIC};
    const int16_t text[] = {0}, binary[] = {1};
    struct aggregate *a = aggregate_create(&spec, 2, -1, 0);
    struct error error;
    assert_int_equal(describe(a, 1, int8, binary, &error), STATUS_OK);
    assert_int_equal(describe(a, 1, int8, binary, &error), STATUS_OK);
    assert_int_equal(describe(a, 1, numeric, binary, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_int_equal(describe(a, 1, int8, text, &error), STATUS_ERROR);
    aggregate_destroy(&a);
}

static void result_formats_fit_the_columns(void **state)
{
    (void)state;
    struct merge_aggregate g[] = {
        {.func = AGG_COUNT, .name = "a"}, {.func = AGG_COUNT, .name = "b"}, {.func = AGG_COUNT, .name = "c"}};
    struct merge_spec spec = {.aggregates = g, .n_aggregates = 3};
    const uint32_t int8[] = {OID_INT8};
    const int16_t asked[] = {0, 1, 0};
    const char *one = "1";
    struct aggregate *a = aggregate_create(&spec, 1, -1, 0);
    struct buf out;
    struct error error;
    buf_init(&out);
    assert_int_equal(describe(a, 1, int8, NULL, &error), STATUS_OK);
    give(a, 0, 1, &one);
    assert_int_equal(aggregate_build(a, 2, asked, false, &out, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
    assert_int_equal(aggregate_build(a, 3, asked, false, &out, &error), STATUS_OK);
    aggregate_destroy(&a);
    buf_free(&out);
}

static enum status try(enum aggregate_func func, const char *collation, uint32_t oid, uint32_t second,
                       struct error *error)
{
    struct merge_aggregate g = {.func = (uint8_t)func, .name = "x", .collation = collation};
    struct merge_spec spec = {.aggregates = &g, .n_aggregates = 1};
    const uint32_t oids[] = {oid, second};
    const int16_t formats[] = {0, 0};
    struct aggregate *a = aggregate_create(&spec, 3, -1, 0);
    enum status status = describe(a, second ? 2 : 1, oids, formats, error);
    aggregate_destroy(&a);
    return status;
}

static void what_cannot_be_combined_exactly_is_refused(void **state)
{
    (void)state;
    struct error e;
    const uint32_t summable[] = {OID_INT8, OID_NUMERIC, OID_FLOAT4, OID_FLOAT8, OID_INTERVAL, OID_MONEY};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(try(AGG_SUM, NULL, summable[i], 0, &e), STATUS_OK);
    assert_int_equal(try(AGG_SUM, NULL, OID_INT4, 0, &e), STATUS_ERROR);
    assert_int_equal(try(AGG_SUM, NULL, 20000, 0, &e), STATUS_ERROR);
    assert_int_equal(try(AGG_AVG, NULL, OID_FLOAT8, OID_INT8, &e), STATUS_OK);
    assert_int_equal(try(AGG_AVG, NULL, OID_FLOAT8, OID_INT4, &e), STATUS_ERROR);
    assert_int_equal(try(AGG_AVG, NULL, OID_FLOAT4, OID_INT8, &e), STATUS_ERROR);
    assert_string_equal(e.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_non_null(strstr(e.hint, "double precision"));
    assert_int_equal(try(AGG_AVG, NULL, OID_INT8, 0, &e), STATUS_ERROR); /* no column for the count */
    assert_string_equal(e.sqlstate, SQLSTATE_INTERNAL);
    assert_int_equal(try(AGG_MIN, NULL, OID_TEXT, 0, &e), STATUS_ERROR);
    assert_non_null(strstr(e.hint, "COLLATE"));
    assert_int_equal(try(AGG_MIN, "pg_catalog.\"default\"", OID_TEXT, 0, &e), STATUS_OK);
    assert_int_equal(try(AGG_MAX, NULL, 1009 /* text[] */, 0, &e), STATUS_ERROR);
    assert_int_equal(try(AGG_MAX, NULL, 1007 /* int4[] */, 0, &e), STATUS_OK);
    assert_int_equal(try(AGG_MAX, NULL, 2249 /* record */, 0, &e), STATUS_ERROR);
    assert_int_equal(try(AGG_MAX, "pg_catalog.\"C\"", 16500, 0, &e), STATUS_ERROR);
    assert_int_equal(try(AGG_BOOL_AND, NULL, OID_BOOL, 0, &e), STATUS_OK);
    assert_int_equal(try(AGG_BOOL_AND, NULL, OID_INT8, 0, &e), STATUS_ERROR);
    assert_int_equal(try(AGG_COUNT, NULL, OID_NUMERIC, 0, &e), STATUS_ERROR);
}

static void every_shard_sends_one_row(void **state)
{
    (void)state;
    struct merge_aggregate g = {.func = AGG_COUNT, .name = "count"};
    struct merge_spec spec = {.aggregates = &g, .n_aggregates = 1};
    const uint32_t oids[] = {OID_INT8};
    const int16_t formats[] = {0};
    const char *one = "1";
    struct error error;
    struct buf b;
    buf_init(&b);
    message_data_row(&b, 1, &one);
    struct frame f = next(&b);
    struct aggregate *a = aggregate_create(&spec, 2, -1, 0);
    assert_int_equal(aggregate_row(a, 0, &f, &error), STATUS_ERROR); /* not described */
    assert_int_equal(describe(a, 1, oids, formats, &error), STATUS_OK);
    assert_int_equal(aggregate_row(a, 0, &f, &error), STATUS_OK);
    assert_int_equal(aggregate_row(a, 0, &f, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
    assert_int_equal(aggregate_end(a, 1, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, SQLSTATE_INTERNAL);
    assert_int_equal(aggregate_end(a, 0, &error), STATUS_OK);
    assert_int_equal(aggregate_end(a, 0, &error), STATUS_ERROR);
    const char *two[] = {"1", "2"};
    buf_clear(&b);
    message_data_row(&b, 2, two);
    f = next(&b);
    assert_int_equal(aggregate_row(a, 1, &f, &error), STATUS_ERROR);
    aggregate_destroy(&a);
    buf_free(&b);
}

static void limit_zero_has_no_rows_to_combine(void **state)
{
    (void)state;
    struct merge_aggregate g = {.func = AGG_COUNT, .name = "count"};
    struct merge_spec spec = {.aggregates = &g, .n_aggregates = 1};
    const uint32_t oids[] = {OID_INT8};
    const int16_t formats[] = {1};
    struct error error;
    struct buf out;
    struct msg_parse parse;
    struct msg_bind bind;
    buf_init(&out);
    struct aggregate *a = aggregate_create(&spec, 2, 0, 3);
    assert_int_equal(describe(a, 1, oids, formats, &error), STATUS_OK);
    assert_int_equal(aggregate_end(a, 0, &error), STATUS_OK);
    assert_int_equal(aggregate_end(a, 1, &error), STATUS_OK);
    assert_int_equal(aggregate_build(a, 0, NULL, false, &out, &error), STATUS_OK);
    struct frame f = next(&out);
    assert_int_equal(message_read_parse(&f, &parse, &error), STATUS_OK);
    assert_true(slice_eq_str(
        parse.sql,
        "SELECT pg_catalog.sum(c0)::pg_catalog.int8 AS \"count\" FROM (VALUES ($1), ($2)) AS v(c0) "
        "LIMIT 0 OFFSET 3"));
    f = next(&out);
    assert_int_equal(message_read_bind(&f, &bind, &error), STATUS_OK);
    assert_int_equal(bind.n_params, 2);
    assert_int_equal(next(&out).type, MSG_EXECUTE);
    aggregate_destroy(&a);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_declares_types_and_passes_values_on),
        cmocka_unit_test(shards_agree_on_types_and_formats),
        cmocka_unit_test(result_formats_fit_the_columns),
        cmocka_unit_test(what_cannot_be_combined_exactly_is_refused),
        cmocka_unit_test(every_shard_sends_one_row),
        cmocka_unit_test(limit_zero_has_no_rows_to_combine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
