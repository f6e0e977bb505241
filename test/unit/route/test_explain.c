/* route_explain(): what EXPLAIN (ROUTE) and --route show. */
#include "route_fixture.h"

struct shown {
    int rows;
    char columns[8][300];
};

static void take_row(void *arg, const char *const *values)
{
    struct shown *s = arg;
    s->rows++;
    for (int i = 0; i < explain_n_columns; i++)
        snprintf(s->columns[i], sizeof(s->columns[i]), "%s", values[i] ? values[i] : "NULL");
}

static const char *column(const struct shown *s, const char *name)
{
    for (int i = 0; i < explain_n_columns; i++)
        if (strcmp(explain_columns[i], name) == 0)
            return s->columns[i];
    fail_msg("no column %s", name);
    return NULL;
}

static struct shown explain(struct fixture *f, const char *sql, const struct route_params *params)
{
    struct shown s = {0};
    struct explain_sink sink = {.row = take_row, .arg = &s};
    plan_of(f, sql);
    route_explain(f->plan, &f->db, &f->t, params, &sink);
    assert_int_equal(s.rows, 1);
    return s;
}

static void one_shard(void **state)
{
    struct fixture *f = *state;
    struct shown s = explain(f, "UPDATE customers SET name = 'x' WHERE id = 7", NULL);
    char bucket[16];
    snprintf(bucket, sizeof(bucket), "%d", (int)(hash_int8_extended(7) & (N_BUCKETS - 1)));
    assert_string_equal(column(&s, "step"), "1");
    assert_string_equal(column(&s, "kind"), "single");
    assert_string_equal(column(&s, "shards"), shard_of_int(f, 7));
    assert_string_equal(column(&s, "key"), "id = 7");
    assert_string_equal(column(&s, "bucket"), bucket);
    assert_string_equal(column(&s, "merge"), "NULL");
    assert_string_equal(column(&s, "commit"), "one-phase");
    s = explain(f, "SELECT * FROM countries", NULL);
    assert_string_equal(column(&s, "shards"), "any of s0, s1, s2, s3");
    assert_string_equal(column(&s, "commit"), "no writes");
}

static void several_shards(void **state)
{
    struct fixture *f = *state;
    struct shown s = explain(f, "SELECT id, name FROM customers ORDER BY 2 DESC, credit LIMIT 5", NULL);
    assert_string_equal(column(&s, "kind"), "scatter");
    assert_string_equal(column(&s, "shards"), "s0, s1, s2, s3");
    assert_string_equal(column(&s, "merge"), "order by 2 desc, 3, limit");
    assert_string_equal(column(&s, "key"), "NULL");
    assert_string_not_equal(column(&s, "why"), "NULL");
    s = explain(f, "SELECT count(*), max(id) FROM customers", NULL);
    assert_string_equal(column(&s, "merge"), "count, max");
    s = explain(f, "SELECT * FROM customers", NULL);
    assert_string_equal(column(&s, "merge"), "concatenate");
    s = explain(f, "DELETE FROM customers", NULL);
    assert_string_equal(column(&s, "kind"), "broadcast");
    assert_string_equal(column(&s, "commit"), "two-phase");
    s = explain(f, "INSERT INTO customers VALUES (1), (2), (3), (-4), (5), (6), (7), (8), (9), (10)", NULL);
    assert_string_equal(column(&s, "kind"), "split");
    assert_string_equal(column(&s, "key"), "id = 1, 2, 3, -4, 5, 6, 7, 8 and 2 more");
    /* keys that meet on one shard */
    s = explain(f, "SELECT * FROM customers WHERE id IN (7, 7)", NULL);
    assert_string_equal(column(&s, "kind"), "single");
}

static void unknown_parameters_show_what_may_happen(void **state)
{
    struct fixture *f = *state;
    struct shown s = explain(f, "UPDATE customers SET name = $2 WHERE id = $1", NULL);
    assert_string_equal(column(&s, "shards"), "one of s0, s1, s2, s3");
    assert_string_equal(column(&s, "key"), "id = $1");
    assert_string_equal(column(&s, "commit"), "one-phase");
    s = explain(f, "DELETE FROM customers WHERE id = ANY ($1)", NULL);
    assert_string_equal(column(&s, "shards"), "some of s0, s1, s2, s3");
    assert_string_equal(column(&s, "commit"), "two-phase if several shards");
    const char *const values[] = {"7", "x"};
    struct text_params text = {.n = 2, .values = values};
    struct route_params params = {.n = 2, .get = get_text_param, .arg = &text};
    s = explain(f, "UPDATE customers SET name = $2 WHERE id = $1", &params);
    assert_string_equal(column(&s, "shards"), shard_of_int(f, 7));
}

static void refusals_say_why_and_what_to_do(void **state)
{
    struct fixture *f = *state;
    struct shown s = explain(f, "SELECT name, count(*) FROM customers GROUP BY name", NULL);
    assert_string_equal(column(&s, "kind"), "refuse");
    assert_string_equal(column(&s, "shards"), "NULL");
    assert_non_null(strstr(column(&s, "why"), "GROUP BY without the key"));
    assert_non_null(strstr(column(&s, "why"), "; Add the key column"));
    s = explain(f, "SELECT * FROM customers WHERE id = 'x'", NULL);
    assert_string_equal(column(&s, "kind"), "refuse");
    assert_non_null(strstr(column(&s, "why"), "invalid input syntax"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_shard),
        TEST(several_shards),
        TEST(unknown_parameters_show_what_may_happen),
        TEST(refusals_say_why_and_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
