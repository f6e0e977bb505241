/* Routing by hand (route/router.h): what a hint may do to a statement, and what it may not. */
#include "route_fixture.h"

/* Plans the statement under a hint; shows its shards, or NULL: refused, with an error in f->error. */
static const char *under(struct fixture *f, const char *hint, const char *sql)
{
    char text[1024];
    snprintf(text, sizeof(text), "/* pgunison: %s */ %s", hint, sql);
    plan_of(f, text);
    const char *shards = shards_of(f);
    if (f->plan->kind == PLAN_SPLIT) { /* shards of rows, which the session gives room for */
        uint8_t rows[16];
        struct shard_set set;
        int32_t bucket;
        assert_true(f->plan->split.n_rows <= 16);
        shards = route_resolve(f->plan, &f->db, &f->t, NULL, &set, &bucket, rows, &f->error) == STATUS_OK
                     ? shards_of(f)
                     : NULL;
    }
    return shards;
}

static const char *on(const char *shard)
{
    static char hint[32];
    snprintf(hint, sizeof(hint), "shard=%s", shard);
    return hint;
}

static const char *other_shard(struct fixture *f, const char *shard)
{
    for (unsigned i = 0; i < 4; i++)
        if (strcmp(f->shards[i].name, shard) != 0)
            return f->shards[i].name;
    return NULL;
}

static void expect_there(struct fixture *f, const char *hint, const char *sql, const char *shard)
{
    const char *shards = under(f, hint, sql);
    if (!shards || strcmp(shards, shard) != 0)
        fail_msg("%s: %s: %s, not %s", hint, sql, shards ? shards : f->error.message, shard);
}

static void expect_refused(struct fixture *f, const char *hint, const char *sql)
{
    const char *shards = under(f, hint, sql);
    if (shards)
        fail_msg("%s: %s: runs on %s", hint, sql, shards);
    if (strcmp(f->error.sqlstate, "0A000") != 0 || !f->error.hint[0])
        fail_msg("%s: %s: %s %s", hint, sql, f->error.sqlstate, f->error.message);
}

/* Keys decide: the hint may only say what they say. 7 lives on one shard, {far} on another. */
static void a_hint_cannot_contradict_the_key_of_a_write(void **state)
{
    static const char *const texts[] = {
        "INSERT INTO customers (id, name) VALUES (7, 'x')",
        "INSERT INTO customers (id) VALUES ('7')",
        "INSERT INTO customers VALUES (7) ON CONFLICT (id) DO UPDATE SET name = 'x'",
        "INSERT INTO customers (id) VALUES (7), (7), (7)",
        "INSERT INTO customers SELECT 7, 'x'",
        "INSERT INTO orders (customer_id) SELECT id FROM customers WHERE id = 7",
        "UPDATE customers SET name = 'x' WHERE id = 7",
        "UPDATE customers SET name = now()::text WHERE id IN (7)",
        "DELETE FROM customers WHERE id = 7 AND name > 'a'",
        "DELETE FROM orders USING customers c WHERE c.id = orders.customer_id AND c.id = 7",
        "SELECT * FROM customers WHERE id = 7 FOR UPDATE",
        "SELECT f(name) FROM customers WHERE id = 7",
        "WITH x AS (INSERT INTO customers VALUES (7) RETURNING id) SELECT * FROM x",
        "WITH d AS (DELETE FROM orders WHERE customer_id = 7 RETURNING *) SELECT count(*) FROM d",
        "EXPLAIN ANALYZE UPDATE customers SET name = 'x' WHERE id = 7",
        "COPY (DELETE FROM customers WHERE id = 7 RETURNING *) TO STDOUT",
    };
    struct fixture *f = *state;
    const char *here = shard_of_int(f, 7), *there = other_shard(f, here);
    char key[32];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        expect_there(f, on(here), texts[i], here);
        expect_refused(f, on(there), texts[i]);
        if (!strstr(f->error.message, here) || !strstr(f->error.message, there))
            fail_msg("%s: %s", texts[i], f->error.message);
        expect_there(f, "key=7", texts[i], here);
        snprintf(key, sizeof(key), "key=%lld", (long long)key_elsewhere(f, 7));
        expect_refused(f, key, texts[i]);
    }
    char text[128];
    snprintf(text, sizeof(text), "INSERT INTO customers (id) VALUES (7), (%lld)",
             (long long)key_elsewhere(f, 7));
    for (unsigned i = 0; i < 4; i++)
        expect_refused(f, on(f->shards[i].name), text);
    snprintf(text, sizeof(text), "DELETE FROM customers WHERE id IN (7, %lld)",
             (long long)key_elsewhere(f, 7));
    for (unsigned i = 0; i < 4; i++)
        expect_refused(f, on(f->shards[i].name), text);
}

static void parameters_of_a_hinted_write_are_checked_at_each_execution(void **state)
{
    struct fixture *f = *state;
    static const char *const values[] = {"7"};
    struct text_params mine = {1, values};
    struct route_params params = {.n = 1, .get = get_text_param, .arg = &mine};
    const char *here = shard_of_int(f, 7), *there = other_shard(f, here);
    char text[128];
    snprintf(text, sizeof(text), "/* pgunison: shard=%s */ INSERT INTO customers (id) VALUES ($1)", here);
    plan_of(f, text);
    assert_string_equal(shards_with(f, &params), here);
    snprintf(text, sizeof(text), "/* pgunison: shard=%s */ INSERT INTO customers (id) VALUES ($1)", there);
    plan_of(f, text);
    assert_null(shards_with(f, &params));
    assert_string_equal(f->error.sqlstate, "0A000");
}

/* Reads of one shard's part, and what changes that part in place. */
static void a_hint_runs_what_one_shard_can_do_alone(void **state)
{
    static const char *const texts[] = {
        "SELECT * FROM customers",
        "SELECT name, row_number() OVER () FROM customers GROUP BY name",
        "SELECT count(DISTINCT name) FROM customers",
        "SELECT * FROM customers c, tags t",
        "SELECT * FROM customers WHERE id = 7",
        "SELECT * FROM notes",
        "SELECT * FROM big_customers",
        "SELECT * FROM countries",
        "SELECT * FROM nothing_here",
        "SELECT id FROM customers UNION SELECT id FROM orders",
        "SELECT f(3)",
        "EXPLAIN SELECT * FROM customers",
        "DECLARE c CURSOR FOR SELECT * FROM customers",
        "COPY customers TO STDOUT",
        "COPY (SELECT name, count(*) FROM customers GROUP BY name) TO STDOUT",
        "SELECT * FROM customers FOR UPDATE",
        "UPDATE customers SET name = 'x'",
        "UPDATE customers SET name = now()::text WHERE name > 'a'",
        "DELETE FROM customers WHERE credit > 0",
        "DELETE FROM orders USING customers c WHERE c.id = orders.customer_id",
        "INSERT INTO orders (customer_id) SELECT id FROM customers",
        "INSERT INTO nothing_here VALUES (1)",
        "DO 'begin end'",
        "CALL p()",
        "VACUUM customers",
        "ANALYZE customers",
        "REINDEX TABLE customers",
        "LOCK TABLE customers IN ACCESS SHARE MODE",
        "CREATE TEMPORARY TABLE t (a int)",
        "CREATE TEMPORARY TABLE t AS SELECT * FROM customers",
        "CREATE TABLE nothing_here (a int)",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (unsigned s = 0; s < 4; s++)
            expect_there(f, on(f->shards[s].name), texts[i], f->shards[s].name);
}

/* What one shard alone cannot make right stays refused, on every shard. */
static void a_hint_does_not_pass_a_refusal_by(void **state)
{
    static const char *const texts[] = {
        "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "ROLLBACK PREPARED 'x'",
        "UPDATE customers SET id = id + 1",
        "UPDATE customers SET id = 8 WHERE id = 7",
        "INSERT INTO customers (id) VALUES (7) ON CONFLICT (id) DO UPDATE SET id = 8",
        "INSERT INTO customers (id) SELECT parent FROM customers",
        "INSERT INTO customers (id) SELECT customer_id FROM notes",
        "INSERT INTO customers (id) SELECT g FROM generate_series(1, 10) g",
        "INSERT INTO customers (id) VALUES (1 + abs(3))",
        "INSERT INTO serials (note) VALUES ('x')",
        "INSERT INTO notes SELECT id FROM customers",
        "INSERT INTO audit SELECT id FROM customers",
        "MERGE INTO customers c USING countries n ON c.name = n.name WHEN NOT MATCHED THEN INSERT (id) "
        "VALUES (1)",
        "DELETE FROM customers WHERE id NOT IN (SELECT id FROM orders)",
        "WITH x AS (UPDATE customers SET name = 'x' RETURNING id) SELECT count(*) FROM x",
        "WITH x AS (INSERT INTO customers VALUES (7) RETURNING id) SELECT * FROM x, nothing_here",
        "INSERT INTO countries VALUES ('x', 'y')",
        "UPDATE countries SET name = 'x'",
        "DELETE FROM countries",
        "WITH x AS (DELETE FROM rates RETURNING *) SELECT * FROM x",
        "UPDATE rates SET rate = 1 FROM customers WHERE customers.name = rates.code",
        "COPY customers FROM STDIN",
        "COPY customers FROM '/tmp/x'",
        "COPY countries FROM STDIN",
        "TRUNCATE customers",
        "TRUNCATE countries",
        "DROP TABLE customers",
        "ALTER TABLE customers ADD COLUMN x int",
        "ALTER TABLE countries ADD COLUMN x int",
        "CREATE INDEX ON customers (name)",
        "CREATE INDEX CONCURRENTLY ON customers (name)",
        "CREATE UNIQUE INDEX ON customers (name)",
        "DROP TABLE customers, nothing_here",
        "ALTER TABLE nothing_here RENAME TO customers",
        "LOCK TABLE customers",
        "LOCK TABLE countries IN EXCLUSIVE MODE",
        "CREATE SCHEMA s",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'",
        "CREATE ROLE r",
        "GRANT SELECT ON customers TO PUBLIC",
        "COMMENT ON TABLE customers IS 'x'",
        "CREATE VIEW v AS SELECT * FROM customers",
        "CREATE RULE r AS ON INSERT TO customers DO NOTHING",
        "CREATE TABLE customers (id bigint)",
        "CREATE TABLE customers AS SELECT * FROM orders",
        "CREATE TABLE t AS WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x",
        "PREPARE p AS INSERT INTO customers VALUES (7)",
        "EXECUTE p(7)",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (unsigned s = 0; s < 4; s++)
            expect_refused(f, on(f->shards[s].name), texts[i]);
}

/* What lives on one shard, s0 the home and s1 of audit, is not written elsewhere. */
static void a_hint_to_the_only_shard_is_fine_and_to_another_is_not(void **state)
{
    static const struct {
        const char *shard, *sql;
    } cases[] = {
        {"s0", "INSERT INTO notes VALUES (1)"},
        {"s0", "UPDATE notes SET body = 'x'"},
        {"s0", "SELECT * FROM notes FOR UPDATE"},
        {"s0", "SELECT * FROM countries FOR SHARE"},
        {"s0", "COPY notes FROM STDIN"},
        {"s0", "ALTER TABLE notes ADD COLUMN x int"},
        {"s0", "TRUNCATE notes"},
        {"s0", "DROP TABLE notes"},
        {"s0", "CREATE TABLE t AS SELECT * FROM customers"},
        {"s0", "CREATE SEQUENCE s"},
        {"s0", "SELECT nextval('s')"},
        {"s0", "SELECT setval('s', 3)"},
        {"s0", "SELECT pg_advisory_xact_lock(3)"},
        {"s0", "SELECT pg_notify('a', 'b')"},
        {"s1", "INSERT INTO audit VALUES (1)"},
        {"s1", "DELETE FROM audit"},
        {"s1", "COPY audit FROM STDIN"},
        {"s1", "DROP TABLE audit"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (unsigned s = 0; s < 4; s++)
            if (strcmp(f->shards[s].name, cases[i].shard) == 0)
                expect_there(f, on(cases[i].shard), cases[i].sql, cases[i].shard);
            else
                expect_refused(f, on(f->shards[s].name), cases[i].sql);
}

static void the_session_hint_is_held_to_the_same(void **state)
{
    struct fixture *f = *state;
    const char *here = shard_of_int(f, 7), *there = other_shard(f, here);
    f->routing = strcmp(there, "s0") == 0 ? "shard=s0" : "shard=s1";
    plan_of(f, "INSERT INTO customers VALUES (7)");
    assert_null(shards_of(f));
    plan_of(f, "SELECT count(*) FROM customers");
    assert_string_equal(shards_of(f), there);
    assert_int_equal(plan_of(f, "CREATE TABLE customers (x int)")->kind, PLAN_REFUSE);
    assert_int_equal(plan_of(f, "PREPARE TRANSACTION 'x'")->kind, PLAN_REFUSE);
    assert_int_equal(plan_of(f, "COMMIT")->kind, PLAN_LOCAL);
    assert_int_equal(plan_of(f, "LISTEN x")->kind, PLAN_SINGLE); /* where everybody listens */
    assert_string_equal(shards_of(f), "s0");
    f->routing = NULL;
}

static void hints_can_be_turned_off(void **state)
{
    struct fixture *f = *state;
    f->no_hints = true;
    expect_refused(f, "shard=s1", "SELECT * FROM customers");
    expect_refused(f, "key=7", "SELECT * FROM customers");
    expect_refused(f, "shard=s1", "DO 'begin end'");
    expect_refused(f, "shard=s1", "COPY customers TO STDOUT");
    expect_refused(f, "shard=s1", "CREATE TEMPORARY TABLE t (a int)");
    plan_of(f, "SELECT * FROM customers WHERE id = 7");
    assert_string_equal(shards_of(f), shard_of_int(f, 7));
    f->no_hints = false;
}

static void prepared_transactions_of_clients_stay_out_of_our_names(void **state)
{
    struct fixture *f = *state;
    f->client_two_phase = true;
    struct plan *p = plan_of(f, "PREPARE TRANSACTION 'mine'");
    assert_int_equal(p->verb, VERB_PREPARE_TRANSACTION);
    assert_int_equal(p->n_pinned, 1);
    assert_int_equal(plan_of(f, "COMMIT PREPARED 'mine'")->kind, PLAN_REFUSE); /* where? */
    expect_there(f, "shard=s2", "COMMIT PREPARED 'mine'", "s2");
    expect_there(f, "shard=s3", "ROLLBACK PREPARED 'mine'", "s3");
    static const char *const texts[] = {
        "PREPARE TRANSACTION 'pgunison/main/s0/x/s1'", "COMMIT PREPARED 'pgunison/main/s0/x/s1'",
        "ROLLBACK PREPARED 'pgunison/x'", "ROLLBACK PREPARED E'pgu\\156ison/x'",
        "/* pgunison: shard=s1 */ COMMIT PREPARED 'pgunison/main/s0/x/s1'"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (plan_of(f, texts[i])->kind != PLAN_REFUSE)
            fail_msg("%s", texts[i]);
        assert_string_equal(f->plan->refusal->sqlstate, "42939");
    }
    f->client_two_phase = false;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_hint_cannot_contradict_the_key_of_a_write),
        TEST(parameters_of_a_hinted_write_are_checked_at_each_execution),
        TEST(a_hint_runs_what_one_shard_can_do_alone),
        TEST(a_hint_does_not_pass_a_refusal_by),
        TEST(a_hint_to_the_only_shard_is_fine_and_to_another_is_not),
        TEST(the_session_hint_is_held_to_the_same),
        TEST(hints_can_be_turned_off),
        TEST(prepared_transactions_of_clients_stay_out_of_our_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
