/* route/router.h: which plan a statement gets. The database and its tables are in route_fixture.h. */
#include "route_fixture.h"
#include "sql/effects.h"

struct expectation {
    const char *sql;
    enum plan_kind kind;
    const char *shards; /* with keys given as literals; NULL: not looked at */
};

static const char *const kind_names[] = {"LOCAL", "SINGLE", "SCATTER", "BROADCAST", "SPLIT", "REFUSE"};

static void expect_all(struct fixture *f, const struct expectation *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct plan *p = plan_of(f, e[i].sql);
        if (p->kind != e[i].kind)
            fail_msg("%s: %s, not %s%s%s", e[i].sql, kind_names[p->kind], kind_names[e[i].kind],
                     p->refusal ? ": " : "", p->refusal ? p->refusal->message : "");
        if (p->kind == PLAN_REFUSE && (!p->refusal->message[0] || !p->refusal->hint[0]))
            fail_msg("%s: refused without message or hint", e[i].sql);
        if (!e[i].shards)
            continue;
        const char *shards = shards_of(f);
        if (!shards || strcmp(shards, e[i].shards) != 0)
            fail_msg("%s: shards %s, not %s", e[i].sql, shards ? shards : f->error.message, e[i].shards);
    }
}
#define EXPECT_ALL(f, list) expect_all(f, list, sizeof(list) / sizeof(list[0]))

/* Every statement goes to the one shard of customer 7, and to no other. */
static void key_pins_the_shard(void **state)
{
    static const char *const texts[] = {
        "SELECT * FROM customers WHERE id = 7",
        "SELECT * FROM customers WHERE 7 = id",
        "SELECT * FROM customers WHERE id = '7'",
        "SELECT * FROM customers WHERE id = 7::int",
        "SELECT * FROM customers WHERE id = '7'::bigint",
        "SELECT * FROM customers WHERE id = CAST('7' AS smallint)",
        "SELECT * FROM customers WHERE id = E'7'",
        "SELECT * FROM customers WHERE id = $$7$$",
        "SELECT * FROM customers WHERE id IN (7)",
        "SELECT * FROM customers WHERE id = ANY ('{7}')",
        "SELECT * FROM customers WHERE id = ANY ('{7,7,NULL}'::int[])",
        "SELECT * FROM customers WHERE id = ANY (ARRAY[7])",
        "SELECT * FROM customers WHERE id = ANY (ARRAY['7']::bigint[])",
        "SELECT * FROM customers WHERE (id, name) = (7, 'x')",
        "SELECT * FROM customers WHERE (id, name) IN ((7, 'x'), (7, 'y'))",
        "SELECT * FROM customers WHERE id = 7 OR (id = 7 AND name = 'x')",
        "SELECT * FROM customers WHERE name = 'x' AND (id = 7 AND flag)",
        "SELECT * FROM customers WHERE id = 7 AND id IN (1, 2, 7)",
        "SELECT * FROM customers AS c (a, b) WHERE a = 7",
        "SELECT * FROM public.customers WHERE public.customers.id = 7",
        "SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 7",
        "SELECT * FROM customers c, orders o WHERE o.customer_id = c.id AND o.customer_id = 7",
        "SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id AND c.id = 7",
        "SELECT * FROM items i JOIN orders o USING (customer_id) WHERE customer_id = 7",
        "SELECT * FROM items NATURAL JOIN (SELECT customer_id FROM orders) o WHERE items.customer_id = 7 AND "
        "o.customer_id = 7",
        "SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE c.id = 7",
        "SELECT * FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id WHERE c.id = 7",
        "SELECT * FROM customers c LEFT JOIN (orders o JOIN items i ON i.customer_id = o.customer_id) ON "
        "o.customer_id = c.id WHERE c.id = 7",
        "SELECT * FROM customers c JOIN countries k ON k.code = c.name WHERE c.id = 7",
        "SELECT * FROM (SELECT * FROM customers) c WHERE c.id = 7",
        "SELECT * FROM (SELECT id AS x, name FROM customers) c WHERE x = 7",
        "SELECT * FROM (SELECT * FROM customers WHERE id = 7 ORDER BY name LIMIT 1) c JOIN orders o ON "
        "o.customer_id = c.id",
        "SELECT * FROM (SELECT id, count(*) FROM customers WHERE id = 7 GROUP BY id) c JOIN orders o ON "
        "o.customer_id = c.id",
        "WITH c AS (SELECT * FROM customers WHERE id = 7) SELECT * FROM c",
        "WITH c AS (SELECT * FROM customers) SELECT * FROM c WHERE id = 7",
        "WITH c (k) AS (SELECT id FROM customers WHERE id = 7) SELECT * FROM c JOIN orders o ON "
        "o.customer_id = k",
        "WITH RECURSIVE c AS (SELECT id, parent FROM customers WHERE id = 7 UNION ALL"
        " SELECT d.id, d.parent FROM customers d JOIN c ON d.parent = c.id WHERE d.id = 7) SELECT * FROM c",
        "SELECT * FROM customers WHERE id = 7 AND EXISTS (SELECT 1 FROM orders WHERE customer_id = "
        "customers.id)",
        "SELECT * FROM customers WHERE id = 7 AND NOT EXISTS (SELECT 1 FROM orders WHERE customer_id = "
        "customers.id)",
        "SELECT * FROM customers WHERE id = 7 AND id IN (SELECT customer_id FROM orders)",
        "SELECT (SELECT max(total) FROM orders WHERE customer_id = c.id) FROM customers c WHERE id = 7",
        "SELECT id FROM customers WHERE id = 7 UNION SELECT customer_id FROM orders WHERE customer_id = 7",
        "SELECT name, count(*), row_number() OVER () FROM customers WHERE id = 7 GROUP BY name HAVING "
        "count(*) > 1",
        "SELECT * FROM customers WHERE id = 7 FOR UPDATE",
        "INSERT INTO customers (id, name) VALUES (7, 'x')",
        "INSERT INTO customers VALUES (7)",
        "INSERT INTO customers (name, id) VALUES ('x', '7')",
        "INSERT INTO customers VALUES (7) ON CONFLICT (id) DO UPDATE SET id = excluded.id, name = 'x' "
        "RETURNING *",
        "INSERT INTO customers SELECT 7, 'x'",
        "INSERT INTO orders (customer_id) SELECT id FROM customers WHERE id = 7",
        "INSERT INTO orders (customer_id) SELECT c.id FROM customers c WHERE c.id = 7 AND NOT EXISTS (SELECT "
        "1 FROM orders o WHERE o.customer_id = 7)",
        "UPDATE customers SET name = 'x' WHERE id = 7",
        "UPDATE customers SET name = now()::text, email = f(name) WHERE id = 7",
        "UPDATE customers c SET name = o.id::text FROM orders o WHERE o.customer_id = c.id AND c.id = 7",
        "DELETE FROM orders USING customers c WHERE c.id = orders.customer_id AND c.id = 7",
        "DELETE FROM customers WHERE id = 7 RETURNING *",
        "WITH d AS (DELETE FROM orders WHERE customer_id = 7 RETURNING *) INSERT INTO items (customer_id) "
        "SELECT customer_id FROM d WHERE customer_id = 7",
        "WITH x AS (INSERT INTO customers VALUES (7) RETURNING id) SELECT * FROM x",
        "EXPLAIN ANALYZE SELECT * FROM customers WHERE id = 7",
        "DECLARE c CURSOR FOR SELECT * FROM customers WHERE id = 7",
        "COPY (SELECT * FROM customers WHERE id = 7) TO STDOUT",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        plan_of(f, texts[i]);
        const char *shards = f->plan->kind == PLAN_LOCAL ? NULL : shards_of(f);
        if (!shards || strcmp(shards, shard_of_int(f, 7)) != 0)
            fail_msg("%s: %s", texts[i], shards ? shards : f->error.message);
    }
}

/* None of these may be sent to one shard only. */
static void what_is_no_equality_does_not_pin(void **state)
{
    static const char *const texts[] = {
        "SELECT * FROM customers",
        "SELECT * FROM customers WHERE id > 7",
        "SELECT * FROM customers WHERE id <> 7",
        "SELECT * FROM customers WHERE NOT id = 7",
        "SELECT * FROM customers WHERE id NOT IN (7)",
        "SELECT * FROM customers WHERE id <> ALL ('{7}')",
        "SELECT * FROM customers WHERE id = 7 OR name = 'x'",
        "SELECT * FROM customers WHERE id = 7 OR id > 7",
        "SELECT * FROM customers WHERE id + 0 = 7",
        "SELECT * FROM customers WHERE abs(id) = 7",
        "SELECT * FROM customers WHERE id = 7.0",
        "SELECT * FROM customers WHERE id = 7::numeric",
        "SELECT * FROM customers WHERE id IN (7, 7.5)",
        "SELECT * FROM customers WHERE id::text = '7'",
        "SELECT * FROM customers WHERE id IS NOT DISTINCT FROM 7",
        "SELECT * FROM customers WHERE coalesce(id = 7, true)",
        "SELECT * FROM customers WHERE (id, name) > (7, 'x')",
        "SELECT * FROM customers WHERE parent = 7",
        "SELECT * FROM customers c WHERE c.id = c.id",
        "SELECT * FROM tags WHERE tag = 'x'::char(3)",
        "SELECT * FROM tags WHERE tag = 'x'::varchar(3)",
        "SELECT * FROM tags WHERE tag = 'x' COLLATE \"en_US\"",
        "SELECT * FROM tags WHERE tag || '' = 'x'",
        "SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND c.id = 7",
        "SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.customer_id = 7",
        "SELECT * FROM customers c FULL JOIN orders o ON o.customer_id = c.id",
        "SELECT * FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND "
        "o.customer_id = 7)",
        "SELECT * FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND "
        "c.id = 7)",
        "UPDATE customers SET name = 'x'",
        "DELETE FROM customers WHERE name = 'x'",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        plan_of(f, texts[i]);
        const char *shards = shards_of(f);
        if (!shards || strcmp(shards, "s0 s1 s2 s3") != 0)
            fail_msg("%s: %s", texts[i], shards ? shards : f->error.message);
    }
}

static void names_are_resolved_as_the_server_does(void **state)
{
    struct fixture *f = *state;
    /* In ON only the join's own tables are visible: id is c's, not n's. */
    plan_of(f, "SELECT * FROM rates r, countries k JOIN customers c ON id = 7 WHERE r.code = k.code");
    assert_string_equal(shards_of(f), shard_of_int(f, 7));
    /* The inner id is the subquery's own. */
    plan_of(f, "SELECT * FROM customers c WHERE EXISTS (SELECT 1 FROM orders WHERE id = 7)");
    assert_int_equal(f->plan->kind, PLAN_REFUSE);
    /* A CTE hides the table. */
    plan_of(f, "WITH customers AS (SELECT 1 AS id) SELECT * FROM customers WHERE id = 7");
    assert_string_equal(shards_of(f), "s0");
    assert_int_equal(f->plan->n_keys, 0);
    /* After RIGHT JOIN USING the bare name is the right one's; after FULL JOIN it is neither's. */
    plan_of(f, "SELECT * FROM orders o RIGHT JOIN items i USING (customer_id) WHERE customer_id = 7");
    assert_string_equal(shards_of(f), shard_of_int(f, 7));
    plan_of(f, "SELECT * FROM orders o FULL JOIN items i USING (customer_id) WHERE customer_id = 7");
    assert_string_equal(shards_of(f), "s0 s1 s2 s3");
    /* LIMIT below: the filter may not be applied inside. */
    plan_of(f, "SELECT * FROM (SELECT * FROM customers ORDER BY id LIMIT 5) c WHERE c.id = 7");
    assert_int_equal(f->plan->kind, PLAN_REFUSE);
}

static void only_home_and_reference_tables(void **state)
{
    static const struct expectation list[] = {
        {"SELECT 1", PLAN_SINGLE, "s0"},
        {"SELECT * FROM notes", PLAN_SINGLE, "s0"},
        {"SELECT * FROM notes JOIN countries ON true", PLAN_SINGLE, "s0"},
        {"SELECT * FROM audit", PLAN_SINGLE, "s1"},
        {"SELECT * FROM audit JOIN countries ON true", PLAN_SINGLE, "s1"},
        {"SELECT * FROM audit JOIN notes ON true", PLAN_REFUSE, NULL},
        {"SELECT * FROM countries", PLAN_SINGLE, "s0 s1 s2 s3"},
        {"SELECT * FROM countries FOR UPDATE", PLAN_SINGLE, "s0"},
        {"SELECT * FROM pg_class", PLAN_SINGLE, "s0"},
        {"SELECT * FROM information_schema.tables", PLAN_SINGLE, "s0"},
        {"UPDATE notes SET body = now()::text", PLAN_SINGLE, "s0"},
        {"UPDATE audit SET what = 'x'", PLAN_SINGLE, "s1"},
        {"SELECT * FROM notes n JOIN customers c ON c.id = n.customer_id WHERE c.id = 7", PLAN_REFUSE, NULL},
        {"INSERT INTO notes SELECT id FROM customers WHERE id = 7", PLAN_REFUSE, NULL},
        {"SELECT * FROM no_such_table", PLAN_SINGLE, "s0"},
        {"SELECT * FROM scratch", PLAN_SINGLE, "s0"},
        {"SELECT * FROM big_customers", PLAN_REFUSE, NULL},
        /* never executed, but its table must exist */
        {"WITH c AS (SELECT * FROM customers) SELECT * FROM countries", PLAN_SINGLE, "s0"},
    };
    struct fixture *f = *state;
    EXPECT_ALL(f, list);
    assert_true(plan_of(f, "SELECT * FROM countries")->read_any_shard);
    assert_false(plan_of(f, "SELECT * FROM countries FOR SHARE")->read_any_shard);
    assert_true(plan_of(f, "SELECT * FROM scratch")->cannot_prepare);
}

static void scatter_where_shards_are_independent(void **state)
{
    static const struct expectation list[] = {
        {"SELECT * FROM customers", PLAN_SCATTER, NULL},
        {"SELECT * FROM customers WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)", PLAN_SCATTER, "s0 s1 s2 s3"},
        {"SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id", PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id JOIN items i ON i.customer_id = "
         "c.id",
         PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c, orders o, items i WHERE o.customer_id = i.customer_id AND c.id = "
         "i.customer_id",
         PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id", PLAN_SCATTER, NULL},
        {"SELECT c.id FROM customers c FULL JOIN orders o ON o.customer_id = c.id", PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c JOIN countries k ON k.code = c.name", PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c LEFT JOIN countries k ON k.code = c.name", PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c JOIN (VALUES (1), (2)) v (x) ON v.x = c.id", PLAN_SCATTER, NULL},
        {"SELECT c.id, g FROM customers c, generate_series(1, c.parent) g", PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c, LATERAL (SELECT * FROM orders o WHERE o.customer_id = c.id ORDER BY at "
         "LIMIT 3) o",
         PLAN_SCATTER, NULL},
        {"SELECT * FROM (SELECT id, count(*) FROM customers GROUP BY id) c JOIN orders o ON o.customer_id = "
         "c.id",
         PLAN_SCATTER, NULL},
        {"SELECT id, count(*) FROM customers GROUP BY id", PLAN_SCATTER, NULL},
        {"SELECT id AS x, count(*) FROM customers GROUP BY x, name HAVING count(*) > 1", PLAN_SCATTER, NULL},
        {"SELECT id, count(*) FROM customers GROUP BY 1", PLAN_SCATTER, NULL},
        {"SELECT c.id, count(*) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id",
         PLAN_SCATTER, NULL},
        {"SELECT (name).lower, (name).field, customers.id FROM customers", PLAN_SCATTER, NULL},
        {"SELECT c.max FROM customers c (max)", PLAN_SCATTER, NULL},
        {"SELECT c.max FROM (SELECT id AS max FROM customers) c", PLAN_SCATTER, NULL},
        {"SELECT x.max FROM customers, generate_series(1, id) x (max)", PLAN_SCATTER, NULL},
        {"WITH c AS (SELECT id, count(*) FROM customers GROUP BY id) SELECT c.count FROM c", PLAN_SCATTER,
         NULL},
        {"SELECT DISTINCT id, name FROM customers", PLAN_SCATTER, NULL},
        {"SELECT DISTINCT ON (id) id, name FROM customers ORDER BY id, name", PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
         PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
         PLAN_SCATTER, NULL},
        {"SELECT * FROM customers c WHERE id IN (SELECT customer_id FROM orders)", PLAN_SCATTER, NULL},
        {"SELECT (SELECT sum(total) FROM orders o WHERE o.customer_id = c.id) FROM customers c", PLAN_SCATTER,
         NULL},
        {"SELECT * FROM customers FOR UPDATE", PLAN_SCATTER, NULL},
        {"SELECT id, my_function(name) FROM customers", PLAN_SCATTER, NULL},
        {"SELECT * FROM events", PLAN_SCATTER, "s0 s2"},
        {"SELECT * FROM sites", PLAN_SCATTER, "s1 s3"},
        {"UPDATE customers SET name = upper(name)", PLAN_BROADCAST, "s0 s1 s2 s3"},
        {"UPDATE customers c SET name = k.name FROM countries k WHERE k.code = c.name", PLAN_BROADCAST, NULL},
        {"DELETE FROM orders o USING customers c WHERE c.id = o.customer_id AND c.name = 'x'", PLAN_BROADCAST,
         NULL},
        {"DELETE FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE name = 'x')",
         PLAN_BROADCAST, NULL},
        {"INSERT INTO items (customer_id, sku) SELECT customer_id, 'x' FROM orders", PLAN_BROADCAST, NULL},
        {"INSERT INTO orders (customer_id, total) SELECT id, 0 FROM customers ON CONFLICT DO NOTHING",
         PLAN_BROADCAST, NULL},
    };
    EXPECT_ALL(*state, list);
}

static void what_shards_cannot_answer_alone_is_refused(void **state)
{
    static const char *const texts[] = {
        "SELECT name, count(*) FROM customers GROUP BY name",
        "SELECT id, count(*) FROM customers GROUP BY ROLLUP (id)",
        "SELECT o.customer_id, count(*) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY "
        "o.customer_id",
        "SELECT DISTINCT name FROM customers",
        "SELECT DISTINCT ON (name) * FROM customers",
        "SELECT row_number() OVER (ORDER BY id) FROM customers",
        "SELECT count(DISTINCT name) FROM customers",
        "SELECT array_agg(name) FROM customers",
        "SELECT string_agg(name, ',' ORDER BY name) FROM customers",
        "SELECT my_function(name) FROM customers", /* it may be an aggregate */
        "SELECT (credit).max FROM customers",
        "SELECT customers.count FROM customers",
        "SELECT x.max FROM customers, generate_series(1, id) x",
        "SELECT (credit).sum + 1 FROM customers",
        "SELECT * FROM (SELECT (id).max FROM customers) c",
        "SELECT count(*) + 1 FROM customers",
        "SELECT count(*) FROM customers HAVING count(*) > 1",
        "SELECT count(*) FROM customers OFFSET 1",
        "SELECT id FROM customers UNION SELECT id FROM customers",
        "SELECT id FROM customers UNION ALL SELECT id FROM customers",
        "SELECT id FROM customers INTERSECT SELECT id FROM customers",
        "SELECT * FROM customers c JOIN orders o ON o.id = c.id",
        "SELECT * FROM customers c JOIN orders o ON o.customer_id = c.parent",
        "SELECT * FROM customers a, customers b",
        "SELECT * FROM countries k LEFT JOIN customers c ON c.name = k.code",
        "SELECT * FROM countries k FULL JOIN customers c ON c.name = k.code",
        "SELECT * FROM customers c RIGHT JOIN countries k ON c.name = k.code",
        "SELECT * FROM customers WHERE parent IN (SELECT id FROM customers)",
        "SELECT * FROM customers WHERE id NOT IN (SELECT customer_id FROM orders)",
        "SELECT * FROM customers WHERE credit > (SELECT avg(credit) FROM customers)",
        "SELECT (SELECT count(*) FROM customers)",
        "SELECT * FROM (SELECT * FROM customers ORDER BY name LIMIT 5) c",
        "SELECT * FROM (SELECT count(*) FROM customers) c",
        "SELECT * FROM customers c JOIN (SELECT * FROM countries LIMIT 1) k ON true",
        "SELECT * FROM customers LIMIT 5 + 5",
        "SELECT * FROM customers ORDER BY id LIMIT 5 FOR UPDATE",
        "SELECT * FROM customers ORDER BY id FETCH FIRST 5 ROWS WITH TIES",
        "SELECT * FROM customers ORDER BY id USING >",
        "SELECT *, nextval('s') FROM customers",
        "SELECT pg_advisory_xact_lock(id) FROM customers",
        "WITH RECURSIVE c AS (SELECT id FROM customers UNION ALL SELECT d.id FROM customers d JOIN c ON "
        "d.parent = c.id) SELECT * FROM c",
        "WITH d AS (DELETE FROM orders RETURNING customer_id) SELECT * FROM d",
        "UPDATE customers SET name = now()::text",
        "UPDATE customers SET name = CURRENT_USER",
        "UPDATE customers SET credit = random()",
        "UPDATE customers SET name = my_function(name)",
        "UPDATE customers SET name = (SELECT name FROM customers ORDER BY id LIMIT 1)",
        "UPDATE customers SET name = (SELECT name FROM countries LIMIT 1)",
        "UPDATE customers SET name = 'x' FROM orders o WHERE o.id = customers.id",
        "DELETE FROM customers WHERE id IN (SELECT parent FROM customers)",
        "UPDATE customers SET id = 8 WHERE id = 7",
        "UPDATE customers SET id = parent",
        "INSERT INTO customers VALUES (7) ON CONFLICT (email) DO UPDATE SET id = excluded.id",
        "WITH u AS (UPDATE customers SET id = 8 WHERE id = 7 RETURNING 1) SELECT * FROM u",
        "INSERT INTO orders (customer_id) SELECT parent FROM customers",
        "INSERT INTO orders (customer_id, at) SELECT id, now() FROM customers",
        "INSERT INTO orders (customer_id, total) SELECT id, count(*) FROM customers GROUP BY id LIMIT 5",
        "INSERT INTO customers (id) VALUES (random()::int)",
        "INSERT INTO customers (id) VALUES (1 + 1)",
        "MERGE INTO customers c USING countries k ON c.name = k.code WHEN MATCHED THEN DELETE",
        "UPDATE countries SET name = now()::text",
        "UPDATE countries SET name = (SELECT name FROM customers WHERE id = 7)",
        "UPDATE countries SET name = (SELECT body FROM notes)",
        "INSERT INTO countries SELECT * FROM countries LIMIT 1",
        "UPDATE customers SET name = 'x' WHERE CURRENT OF c",
        "SELECT * INTO x FROM customers",
        "EXPLAIN SELECT * FROM customers",
        "DECLARE c CURSOR FOR SELECT * FROM customers",
        "COPY (SELECT * FROM customers ORDER BY id) TO STDOUT",
        "COPY customers (name) FROM STDIN",
        "COPY customers FROM '/tmp/x'",
        "COPY customers TO PROGRAM 'cat'",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "PREPARE TRANSACTION 'x'",
        "DO 'begin end'",
        "CALL p()",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct plan *p = plan_of(f, texts[i]);
        if (p->kind != PLAN_REFUSE)
            fail_msg("%s: %s", texts[i], kind_names[p->kind]);
        if (strcmp(p->refusal->sqlstate, "0A000") != 0 || !p->refusal->hint[0])
            fail_msg("%s: %s, hint \"%s\"", texts[i], p->refusal->sqlstate, p->refusal->hint);
    }
}

static void several_keys_are_refused_only_when_they_meet_no_shard(void **state)
{
    struct fixture *f = *state;
    char sql[300];
    const char *form =
        "SELECT * FROM customers a, orders b WHERE a.id = 7 AND b.customer_id = %d AND a.name = b.id::text";
    snprintf(sql, sizeof(sql), form, (int)key_beside(f, 7));
    plan_of(f, sql);
    assert_true(f->plan->refuse_if_several);
    assert_string_equal(shards_of(f), shard_of_int(f, 7));
    snprintf(sql, sizeof(sql), form, (int)key_elsewhere(f, 7));
    plan_of(f, sql);
    assert_null(shards_of(f));
    assert_string_equal(f->error.sqlstate, "0A000");
}

static void keys_of_different_kinds_are_each_hashed_by_their_own_map(void **state)
{
    struct fixture *f = *state;
    plan_of(f, "SELECT * FROM customers c JOIN events e ON true WHERE c.id = 7 AND e.day = '2026-06-01'");
    assert_int_equal(f->plan->n_keys, 2);
    assert_int_equal(f->plan->n_more_maps, 1);
    plan_of(f, "SELECT * FROM events WHERE day = '2026-06-01'");
    assert_string_equal(shards_of(f), "s2");
    plan_of(f, "SELECT * FROM events WHERE day = DATE '2025-06-01'");
    assert_string_equal(shards_of(f), "s0");
    plan_of(f, "SELECT * FROM events WHERE day = '2025-06-01'::timestamp");
    assert_string_equal(shards_of(f), "s0 s2");
    plan_of(f, "SELECT * FROM sites WHERE region = 'us'");
    assert_string_equal(shards_of(f), "s3");
}

static void writes_and_what_stays_are_found(void **state)
{
    static const struct {
        const char *sql;
        bool writes, stays; /* stays: the server's session may have something afterwards */
    } cases[] = {
        {"SELECT 1", false, false},
        {"SELECT now(), random(), lower('x'), pg_catalog.upper('y'), count(*) FROM notes", false, false},
        {"SELECT f(1)", true, true},
        {"SELECT s.lower('x')", true, true},
        {"SELECT nextval('s')", true, false},
        {"SELECT set_config('a', note, true) FROM notes", true, false},
        {"SELECT pg_advisory_xact_lock(1)", true, false},
        {"SELECT pg_advisory_lock(1)", true, true},
        {"SELECT pg_try_advisory_lock_shared(1)", true, true},
        {"SELECT (id).pg_advisory_lock FROM notes", true, true},
        {"SELECT (id).pg_notification_queue_usage, (id).random FROM notes", true, false},
        {"SELECT x.pg_advisory_lock FROM generate_series(1, 2) x", true, true},
        {"SELECT x.pg_advisory_lock FROM (SELECT 1 AS pg_advisory_lock) x", true, true},
        {"SELECT x.pg_advisory_lock FROM notes x", true, true},
        {"SELECT x.pg_advisory_lock FROM notes x (pg_advisory_lock)", false, false},
        {"SELECT (id).abs, (id).random, notes.id FROM notes", false, false},
        {"SELECT * FROM notes FOR UPDATE", true, false},
        {"SELECT * FROM (SELECT * FROM notes FOR SHARE) n", true, false},
        {"WITH d AS (DELETE FROM notes RETURNING 1) SELECT 1", true, false},
        {"SELECT * FROM notes WHERE f(id)", true, true},
        {"SELECT * FROM customers ORDER BY f(id)", true, true},
        {"INSERT INTO notes VALUES (1)", true, false},
        {"EXPLAIN DELETE FROM notes", false, false},
        {"EXPLAIN ANALYZE DELETE FROM notes", true, false},
        {"LISTEN x", true, true},
        {"NOTIFY x", true, false},
        {"CREATE TEMP TABLE t (a int)", true, true},
        {"LOCK TABLE notes", true, true},
        {"SHOW work_mem", false, false},
        {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", false, true},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct plan *p = plan_of(f, cases[i].sql);
        bool stays = (p->effects & EFFECTS_ASKED & ~EFFECT_VARIABLE) != 0;
        if (p->writes != cases[i].writes || stays != cases[i].stays)
            fail_msg("%s: writes %d, effects %x", cases[i].sql, p->writes, p->effects);
    }
    /* Its server is asked afterwards what is left. */
    assert_int_not_equal(plan_of(f, "SELECT set_config('a', note, true) FROM notes")->effects, 0);
    assert_true(plan_of(f, "NOTIFY x")->cannot_prepare);
    assert_true(plan_of(f, "SELECT pg_notify('a', 'b')")->cannot_prepare);
}

static void missing_keys_are_clear_errors(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(plan_of(f, "INSERT INTO customers (name) VALUES ('x')")->refusal->sqlstate, "23502");
    assert_string_equal(plan_of(f, "INSERT INTO customers DEFAULT VALUES")->refusal->sqlstate, "23502");
    assert_string_equal(plan_of(f, "INSERT INTO serials (note) VALUES ('x')")->refusal->sqlstate, "0A000");
    assert_string_equal(plan_of(f, "INSERT INTO serials VALUES (DEFAULT, 'x')")->refusal->sqlstate, "0A000");
    plan_of(f, "INSERT INTO customers VALUES (NULL)");
    assert_null(shards_of(f));
    assert_string_equal(f->error.sqlstate, "23502");
    plan_of(f, "INSERT INTO sites VALUES ('mars')");
    assert_null(shards_of(f));
    assert_string_equal(f->error.sqlstate, "23514");
    /* For reads it only means that nothing matches. */
    plan_of(f, "SELECT * FROM customers WHERE id = NULL");
    assert_string_equal(shards_of(f), "s0");
    plan_of(f, "DELETE FROM sites WHERE region = 'mars'");
    assert_string_equal(shards_of(f), "s1");
    plan_of(f, "SELECT * FROM customers WHERE id = 99999999999999999999");
    assert_string_equal(shards_of(f), "s0");
}

static void order_by_becomes_a_merge(void **state)
{
    struct fixture *f = *state;
    const struct merge_spec *m =
        &plan_of(f, "SELECT * FROM customers ORDER BY id DESC, 3, customers.name NULLS FIRST")->merge;
    assert_int_equal(m->n_sort, 3);
    assert_int_equal(m->sort[0].column, 0);
    assert_true(m->sort[0].descending && m->sort[0].nulls_first);
    assert_int_equal(m->sort[1].column, 2);
    assert_true(m->sort[1].c_collated);
    assert_int_equal(m->sort[2].column, 1);
    assert_true(m->sort[2].nulls_first && !m->sort[2].c_collated);
    assert_int_equal(m->n_columns, 6);
    assert_false(f->plan->has_rewrite);
    assert_int_equal(f->plan->n_pinned, 1);

    /* Not in the list: hidden columns behind it. */
    m = &plan_of(f, "SELECT name, 'a' AS x FROM customers c WHERE email <> 'b' ORDER BY lower(email), credit "
                    "+ 5 DESC, name")
             ->merge;
    assert_string_equal(
        rewritten(f), "SELECT name, 'a' AS x , lower(email) , credit + 5 FROM customers c WHERE email <> 'b'"
                      " ORDER BY lower(email), credit + 5 DESC, name");
    assert_int_equal(m->n_hidden, 2);
    assert_int_equal(m->sort[0].column, 2);
    assert_int_equal(m->sort[1].column, 3);
    assert_int_equal(m->sort[2].column, 0);
    assert_int_equal(f->plan->n_pinned, 1); /* 5 */

    /* An output name goes before a column of the table. */
    m = &plan_of(f, "SELECT parent AS id, id AS x FROM customers ORDER BY id")->merge;
    assert_int_equal(m->sort[0].column, 0);
    /* In an expression it does not. */
    m = &plan_of(f, "SELECT parent AS id, name FROM customers ORDER BY id + 1")->merge;
    assert_int_equal(m->n_hidden, 1);
    /* A name that the server would make up is not guessed at. */
    static const char *const unclear[] = {
        "SELECT (customers).name, id FROM customers ORDER BY name",
        "SELECT CASE WHEN flag THEN '' ELSE name END FROM customers ORDER BY name",
        "SELECT (SELECT name FROM countries LIMIT 1) FROM customers ORDER BY name"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(plan_of(f, unclear[i])->kind, PLAN_REFUSE);
    assert_int_equal(
        plan_of(f, "SELECT CASE WHEN flag THEN 1 END FROM customers ORDER BY name")->merge.n_hidden, 1);
    /* Collations. */
    assert_true(
        plan_of(f, "SELECT name FROM customers ORDER BY name COLLATE \"C\"")->merge.sort[0].c_collated);
    assert_true(plan_of(f, "SELECT lower(email) FROM customers ORDER BY 1")->merge.sort[0].c_collated);
    assert_false(plan_of(f, "SELECT email || name FROM customers ORDER BY 1")->merge.sort[0].c_collated);
    assert_false(plan_of(f, "SELECT id::text FROM customers ORDER BY 1")->merge.sort[0].c_collated);
    /* Without a place in the text only what is in the list can be sorted by. */
    assert_int_equal(plan_of(f, "(SELECT id, name FROM customers ORDER BY name)")->merge.n_sort, 1);
    assert_int_equal(plan_of(f, "(SELECT id, name FROM customers ORDER BY credit)")->kind, PLAN_REFUSE);
    assert_int_equal(plan_of(f, "SELECT U&'d\\0061' FROM customers ORDER BY credit")->kind, PLAN_REFUSE);
    /* The text is searched for clauses outside of parentheses and quotes only. */
    plan_of(f, "SELECT extract(year FROM now()) AS \"from\", (SELECT 1 FROM countries ORDER BY 1 LIMIT 1), "
               "name IS DISTINCT FROM email"
               " FROM customers WHERE name <> 'ORDER BY' /* FROM x */ ORDER BY credit");
    assert_string_equal(
        rewritten(f),
        "SELECT extract(year FROM now()) AS \"from\", (SELECT 1 FROM countries ORDER BY 1 LIMIT 1),"
        " name IS DISTINCT FROM email , credit FROM customers WHERE name <> 'ORDER BY' ORDER BY credit");
}

static void limits_ask_each_shard_for_enough(void **state)
{
    static const struct {
        const char *sql, *text;
        int64_t limit, offset; /* -1: none */
        size_t pinned;
    } cases[] = {
        {"SELECT id FROM customers LIMIT 5", NULL, 5, -1, 0},
        {"SELECT id FROM customers LIMIT '5'", NULL, 5, -1, 0},
        {"SELECT id FROM customers LIMIT ALL", NULL, -1, -1, 0},
        {"SELECT id FROM customers FETCH FIRST ROW ONLY", NULL, 1, -1, 0},
        {"SELECT id FROM customers FETCH NEXT 3 ROWS ONLY", NULL, 3, -1, 0},
        {"SELECT id FROM customers LIMIT 5 OFFSET 10", "SELECT id FROM customers LIMIT 5::int8 + 10::int8", 5,
         10, 0},
        {"SELECT id FROM customers OFFSET 10 ROWS LIMIT 5",
         "SELECT id FROM customers LIMIT 10::int8  + 5::int8", 5, 10, 0},
        {"SELECT id FROM customers OFFSET 10", "SELECT id FROM customers OFFSET 0 * 10::int8", -1, 10, 0},
        {"SELECT id FROM customers LIMIT NULL OFFSET 10",
         "SELECT id FROM customers LIMIT NULL OFFSET 0 * 10::int8", -1, 10, 0},
        {"SELECT id FROM customers OFFSET 4 ROWS FETCH FIRST 3 ROWS ONLY",
         "SELECT id FROM customers LIMIT (3)::int8 + (4)::int8", 3, 4, 2},
        {"SELECT id FROM customers OFFSET 4 FETCH FIRST ROW ONLY",
         "SELECT id FROM customers LIMIT (1)::int8 + (4)::int8", 1, 4, 1},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t limit = -1, offset = -1;
        const struct plan *p = plan_of(f, cases[i].sql);
        const char *text = rewritten(f);
        assert_int_equal(p->kind, PLAN_SCATTER);
        if ((text == NULL) != (cases[i].text == NULL) || (text && strcmp(text, cases[i].text) != 0))
            fail_msg("%s: %s", cases[i].sql, text ? text : "as it is");
        if (p->merge.has_limit)
            assert_int_equal(route_limit_value(&p->merge.limit, &f->t, NULL, &limit, &f->error), STATUS_OK);
        if (p->merge.has_offset)
            assert_int_equal(route_limit_value(&p->merge.offset, &f->t, NULL, &offset, &f->error), STATUS_OK);
        assert_int_equal(limit, cases[i].limit);
        assert_int_equal(offset, cases[i].offset);
        assert_int_equal(p->n_pinned, cases[i].pinned);
    }
}

/* The same plan serves other literals of the template. */
static void rewritten_text_takes_the_literals_of_the_statement_at_hand(void **state)
{
    struct fixture *f = *state;
    plan_of(f, "SELECT name FROM customers WHERE credit > 1 ORDER BY id LIMIT 5 OFFSET 10");
    assert_int_equal(f->plan->n_pinned, 0);
    assert_int_equal(
        template_lex(&f->t,
                     slice_str("SELECT name FROM customers WHERE credit > 2 ORDER BY id LIMIT 50 OFFSET 100"),
                     &f->error),
        STATUS_OK);
    assert_string_equal(
        rewritten(f),
        "SELECT name , id FROM customers WHERE credit > 2 ORDER BY id LIMIT 50::int8 + 100::int8");
}

static void aggregates_are_combined(void **state)
{
    struct fixture *f = *state;
    const struct merge_spec *m =
        &plan_of(f, "SELECT count(*), sum(credit) AS s, avg(credit * 2) FILTER (WHERE flag), max(email), "
                    "every(flag) FROM customers WHERE parent = 1")
             ->merge;
    assert_string_equal(rewritten(f),
                        "SELECT count(*), sum(credit) AS s, pg_catalog.sum(credit * 2) FILTER (WHERE flag),"
                        " pg_catalog.count(credit * 2) FILTER (WHERE flag), max(email), every(flag) FROM "
                        "customers WHERE parent = 1");
    static const uint8_t funcs[] = {AGG_COUNT, AGG_SUM, AGG_AVG, AGG_MAX, AGG_BOOL_AND};
    static const uint16_t columns[] = {0, 1, 2, 4, 5};
    static const char *const names[] = {"count", "s", "avg", "max", "every"};
    assert_int_equal(m->n_aggregates, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(m->aggregates[i].func, funcs[i]);
        assert_int_equal(m->aggregates[i].shard_column, columns[i]);
        assert_string_equal(m->aggregates[i].name, names[i]);
    }
    assert_true(m->aggregates[3].c_collated);
    assert_int_equal(m->n_columns, 6);
    assert_int_equal(f->plan->n_pinned, 1); /* the 2 stands twice in the text now */
    /* LIMIT 1 changes nothing. */
    assert_int_equal(plan_of(f, "SELECT count(*) FROM customers LIMIT 1")->kind, PLAN_SCATTER);
    assert_int_equal(plan_of(f, "SELECT count(*) FROM customers LIMIT 0")->kind, PLAN_REFUSE);
}

static void rows_of_an_insert_are_split(void **state)
{
    struct fixture *f = *state;
    uint8_t rows[4];
    struct shard_set set;
    int32_t bucket;
    int64_t other = key_elsewhere(f, 7);
    char sql[300], want[300];
    snprintf(sql, sizeof(sql),
             "WITH x AS (SELECT 1) INSERT INTO public.customers AS values (id, name) VALUES (7, f(')', "
             "(1))), (%d, 'b'), ('7', (SELECT 'c')) RETURNING id",
             (int)other);
    plan_of(f, sql);
    assert_int_equal(f->plan->kind, PLAN_SINGLE); /* WITH stands before it */
    snprintf(sql, sizeof(sql),
             "INSERT INTO public.customers (id, name) VALUES (7, f(')', (1))), (%d, 'b'), ('7', (SELECT "
             "'c')) ON CONFLICT DO NOTHING RETURNING id",
             (int)other);
    plan_of(f, sql);
    assert_int_equal(f->plan->kind, PLAN_SPLIT);
    assert_int_equal(f->plan->split.n_rows, 3);
    assert_int_equal(route_resolve(f->plan, &f->db, &f->t, NULL, &set, &bucket, rows, &f->error), STATUS_OK);
    assert_int_equal(shard_set_count(&set), 2);
    assert_int_equal(bucket, -1);
    assert_string_equal(f->shards[rows[0]].name, shard_of_int(f, 7));
    assert_string_equal(f->shards[rows[1]].name, shard_of_int(f, other));
    assert_int_equal(rows[2], rows[0]);
    struct buf out;
    buf_init(&out);
    route_split_pieces(f->plan, &f->t, rows, rows[0], &(struct text_sink){render_piece, &out});
    buf_u8(&out, 0);
    assert_string_equal((char *)buf_head(&out),
                        "INSERT INTO public.customers (id, name) VALUES (7, f(')', (1))), ('7', (SELECT 'c'))"
                        " ON CONFLICT DO NOTHING RETURNING id");
    buf_clear(&out);
    route_split_pieces(f->plan, &f->t, rows, rows[1], &(struct text_sink){render_piece, &out});
    buf_u8(&out, 0);
    snprintf(want, sizeof(want),
             "INSERT INTO public.customers (id, name) VALUES (%d, 'b') ON CONFLICT DO NOTHING RETURNING id",
             (int)other);
    assert_string_equal((char *)buf_head(&out), want);
    buf_free(&out);
    /* Rows that read sharded tables are not split. */
    snprintf(sql, sizeof(sql),
             "INSERT INTO customers (id, name) VALUES (7, 'a'), (%d, (SELECT max(total)::text FROM orders "
             "WHERE customer_id = 7))",
             (int)other);
    plan_of(f, sql);
    assert_null(shards_of(f));
    assert_string_equal(f->error.sqlstate, "0A000");
}

static void reference_tables_are_written_everywhere(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "UPDATE countries SET name = upper(name)", "INSERT INTO countries VALUES ('a', 'b'), ($1, $2)",
        "DELETE FROM countries USING rates WHERE rates.code = countries.code RETURNING *",
        "INSERT INTO countries SELECT code, 'x' FROM rates", "COPY countries FROM STDIN"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct plan *p = plan_of(f, texts[i]);
        assert_int_equal(p->kind, PLAN_BROADCAST);
        assert_true(p->tag_of_one && p->writes);
        assert_string_equal(shards_of(f), "s0 s1 s2 s3");
    }
    assert_true(f->plan->copy.replicate);
}

static void copy_knows_where_the_key_is(void **state)
{
    struct fixture *f = *state;
    const struct copy_spec *c = &plan_of(f, "COPY orders FROM STDIN")->copy;
    assert_int_equal(f->plan->verb, VERB_COPY_IN);
    assert_int_equal(f->plan->kind, PLAN_BROADCAST);
    assert_ptr_equal(f->plan->map, f->infos[1].buckets);
    assert_int_equal(c->n_columns, 4);
    assert_int_equal(c->key_column, 1);
    assert_int_equal(c->delimiter, '\t');
    assert_string_equal(c->null_string, "\\N");
    c = &plan_of(f, "COPY orders (total, id, customer_id) FROM STDIN (FORMAT csv, NULL 'x', FORCE_NULL "
                    "(customer_id))")
             ->copy;
    assert_int_equal(c->key_column, 2);
    assert_int_equal(c->n_columns, 3);
    assert_int_equal(c->format, COPY_CSV);
    assert_int_equal(c->delimiter, ',');
    assert_true(c->key_force_null && !c->key_force_not_null);
    assert_string_equal(c->null_string, "x");
    plan_of(f, "COPY customers TO STDOUT");
    assert_int_equal(f->plan->verb, VERB_COPY_OUT);
    assert_int_equal(f->plan->kind, PLAN_SCATTER);
    assert_false(f->plan->writes);
    assert_int_equal(plan_of(f, "COPY notes FROM '/x'")->verb, VERB_QUERY);
    assert_string_equal(shards_of(f), "s0");
}

static void ddl_goes_where_the_object_is(void **state)
{
    static const struct expectation list[] = {
        {"CREATE TABLE anything (id serial PRIMARY KEY)", PLAN_SINGLE, "s0"},
        {"CREATE TABLE customers (id int8 PRIMARY KEY, email text)", PLAN_BROADCAST, "s0 s1 s2 s3"},
        {"CREATE TABLE events (day date, UNIQUE (day, what), what text)", PLAN_BROADCAST, "s0 s2"},
        {"CREATE TABLE audit (id serial PRIMARY KEY)", PLAN_SINGLE, "s1"},
        {"CREATE TABLE orders (id int8, customer_id int8 REFERENCES customers, c text REFERENCES countries)",
         PLAN_BROADCAST, NULL},
        {"CREATE TABLE p PARTITION OF customers FOR VALUES IN (1)", PLAN_BROADCAST, "s0 s1 s2 s3"},
        {"CREATE TEMP TABLE customers (x int)", PLAN_SINGLE, "s0"},
        {"CREATE INDEX ON customers (name)", PLAN_BROADCAST, "s0 s1 s2 s3"},
        {"CREATE UNIQUE INDEX ON customers (name, id)", PLAN_BROADCAST, NULL},
        {"CREATE UNIQUE INDEX ON notes (body)", PLAN_SINGLE, "s0"},
        {"ALTER TABLE customers ADD COLUMN x int", PLAN_BROADCAST, NULL},
        {"ALTER TABLE customers DROP COLUMN name", PLAN_BROADCAST, NULL},
        {"DROP TABLE customers", PLAN_BROADCAST, "s0 s1 s2 s3"},
        {"DROP TABLE audit", PLAN_SINGLE, "s1"},
        {"DROP TABLE IF EXISTS audit, notes", PLAN_BROADCAST, "s0 s1"},
        {"TRUNCATE customers, orders", PLAN_BROADCAST, NULL},
        {"LOCK TABLE customers", PLAN_BROADCAST, NULL},
        {"GRANT SELECT ON customers TO x", PLAN_BROADCAST, NULL},
        {"COMMENT ON COLUMN customers.id IS 'x'", PLAN_BROADCAST, NULL},
        {"CREATE SCHEMA x", PLAN_BROADCAST, "s0 s1 s2 s3"},
        {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", PLAN_BROADCAST, "s0 s1 s2 s3"},
        {"CREATE SEQUENCE s", PLAN_SINGLE, "s0"},
        {"CREATE VIEW v AS SELECT * FROM notes JOIN countries ON true", PLAN_SINGLE, "s0"},
        {"CREATE TABLE x AS SELECT * FROM notes", PLAN_SINGLE, "s0"},
        {"CREATE TEMP TABLE x AS SELECT * FROM countries", PLAN_SINGLE, "s0"},
        /* refused */
        {"CREATE TABLE customers (id int8, email text UNIQUE)", PLAN_REFUSE, NULL},
        {"CREATE TABLE customers (id int8, PRIMARY KEY (email), email text)", PLAN_REFUSE, NULL},
        {"CREATE TABLE customers (id bigserial PRIMARY KEY)", PLAN_REFUSE, NULL},
        {"CREATE TABLE customers (id int8, n int GENERATED ALWAYS AS IDENTITY)", PLAN_REFUSE, NULL},
        {"CREATE TABLE customers (id int8, n int DEFAULT nextval('s') + 1)", PLAN_REFUSE, NULL},
        {"CREATE TABLE countries (id serial)", PLAN_REFUSE, NULL},
        {"CREATE TABLE customers (name text)", PLAN_REFUSE, NULL},
        {"CREATE TABLE orders (customer_id int8, n int8 REFERENCES notes)", PLAN_REFUSE, NULL},
        {"CREATE TABLE orders (customer_id int8, n int8 REFERENCES customers (id))", PLAN_REFUSE, NULL},
        {"CREATE TABLE notes (c int8 REFERENCES customers)", PLAN_REFUSE, NULL},
        {"CREATE TABLE countries (c int8 REFERENCES customers)", PLAN_REFUSE, NULL},
        {"CREATE UNIQUE INDEX ON customers (lower(name))", PLAN_REFUSE, NULL},
        {"ALTER TABLE customers ADD UNIQUE (name)", PLAN_REFUSE, NULL},
        {"ALTER TABLE customers ADD COLUMN n serial", PLAN_REFUSE, NULL},
        {"ALTER TABLE customers DROP COLUMN id", PLAN_REFUSE, NULL},
        {"ALTER TABLE customers ALTER COLUMN id TYPE text", PLAN_REFUSE, NULL},
        {"ALTER TABLE customers RENAME id TO x", PLAN_REFUSE, NULL},
        {"ALTER TABLE customers RENAME TO x", PLAN_REFUSE, NULL},
        {"ALTER TABLE notes RENAME TO countries", PLAN_REFUSE, NULL},
        {"DROP TABLE customers, notes", PLAN_REFUSE, NULL},
        {"TRUNCATE customers, notes", PLAN_REFUSE, NULL},
        {"CREATE VIEW v AS SELECT * FROM customers WHERE id = 7", PLAN_REFUSE, NULL},
        {"CREATE VIEW v AS SELECT * FROM big_customers", PLAN_REFUSE, NULL},
        {"CREATE VIEW v AS SELECT * FROM audit", PLAN_REFUSE, NULL},
        {"CREATE TABLE x AS SELECT * FROM customers", PLAN_REFUSE, NULL},
        {"CREATE TABLE customers AS SELECT * FROM notes", PLAN_REFUSE, NULL},
        {"CREATE MATERIALIZED VIEW x AS SELECT * FROM customers", PLAN_REFUSE, NULL},
        {"CREATE RULE r AS ON INSERT TO notes DO NOTHING", PLAN_REFUSE, NULL},
    };
    struct fixture *f = *state;
    EXPECT_ALL(f, list);
    static const char *const outside[] = {"VACUUM",
                                          "VACUUM customers",
                                          "CREATE INDEX CONCURRENTLY ON customers (name)",
                                          "DROP INDEX CONCURRENTLY x",
                                          "REINDEX TABLE CONCURRENTLY customers",
                                          "CREATE DATABASE x",
                                          "ALTER SYSTEM SET a = 1"};
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        assert_int_equal(plan_of(f, outside[i])->verb, VERB_PER_SHARD);
    assert_true(plan_of(f, "DROP TABLE customers")->changes_catalog);
    assert_true(f->plan->tag_of_one);
    assert_true(plan_of(f, "CREATE TEMP TABLE t ()")->effects & EFFECT_TEMPORARY);
}

static void wildcard_takes_new_tables_that_have_its_column(void **state)
{
    struct fixture *f = *state;
    struct table_map wildcard = {.method = TABLE_HASH, .column = "tenant_id"};
    f->db.wildcard = &wildcard;
    plan_of(f, "CREATE TABLE x (tenant_id int8, id int8, PRIMARY KEY (tenant_id, id))");
    assert_string_equal(shards_of(f), "s0 s1 s2 s3");
    assert_int_equal(plan_of(f, "CREATE TABLE x (tenant_id int8, id int8 PRIMARY KEY)")->kind, PLAN_REFUSE);
    plan_of(f, "CREATE TABLE x (id serial PRIMARY KEY)");
    assert_string_equal(shards_of(f), "s0");
    f->db.wildcard = NULL;
}

static void transactions_and_variables_need_no_shard(void **state)
{
    static const struct {
        const char *sql;
        enum plan_verb verb;
        const char *name;
    } cases[] = {
        {"", VERB_EMPTY, NULL},
        {"BEGIN", VERB_BEGIN, NULL},
        {"COMMIT AND CHAIN", VERB_COMMIT, NULL},
        {"ROLLBACK", VERB_ROLLBACK, NULL},
        {"SAVEPOINT A", VERB_SAVEPOINT, "a"},
        {"RELEASE \"A\"", VERB_RELEASE, "A"},
        {"ROLLBACK TO a", VERB_ROLLBACK_TO, "a"},
        {"SET TRANSACTION READ ONLY", VERB_SET_TRANSACTION, NULL},
        {"SET CONSTRAINTS ALL DEFERRED", VERB_SET_TRANSACTION, NULL},
        {"SET Work_Mem = '1MB'", VERB_SET, "work_mem"},
        {"SET LOCAL work_mem = 1", VERB_SET_LOCAL, "work_mem"},
        {"SET /* c */ Work_Mem /* = */ = '1MB'", VERB_SET, "work_mem"},
        {"SET \"My.X\" = '1MB'", VERB_SET, "my.x"},
        {"SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE", VERB_SET, "timezone"},
        {"SET SCHEMA 'x'", VERB_SET, "search_path"},
        {"SET NAMES 'x'", VERB_SET, "client_encoding"},
        {"SET XML OPTION DOCUMENT", VERB_SET, "xmloption"},
        {"SET ROLE = 'x'", VERB_SET, "role"},
        {"SET SESSION SESSION AUTHORIZATION x", VERB_SET, "session_authorization"},
        {"RESET SESSION AUTHORIZATION", VERB_SET, "session_authorization"},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", VERB_SET, NULL},
        {"SET transaction_isolation = 'serializable'", VERB_SET_TRANSACTION, NULL},
        {"RESET transaction_isolation", VERB_SET_TRANSACTION, NULL},
        {"SELECT set_config('a', 'b', true)", VERB_SET_CONFIG, NULL},
        {"SELECT pg_catalog.set_config($1, E'b'::text, $2) AS x, set_config('a', NULL, false)",
         VERB_SET_CONFIG, NULL},
        {"RESET work_mem", VERB_SET, "work_mem"},
        {"RESET ALL", VERB_RESET_ALL, NULL},
        {"DISCARD ALL", VERB_DISCARD_ALL, NULL},
        {"SET pgunison.shard = 's1'", VERB_SET_PGUNISON, "pgunison.shard"},
        {"SHOW pgunison.txid", VERB_SHOW, "pgunison.txid"},
        {"FETCH 5 FROM c", VERB_FETCH, "c"},
        {"MOVE c", VERB_FETCH, "c"},
        {"CLOSE ALL", VERB_CLOSE_CURSOR, NULL},
        {"DEALLOCATE p", VERB_DEALLOCATE, "p"},
        {"EXPLAIN (ROUTE) SELECT 1", VERB_EXPLAIN_ROUTE, NULL},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct plan *p = plan_of(f, cases[i].sql);
        if (p->verb != cases[i].verb || p->kind != PLAN_LOCAL)
            fail_msg("%s: verb %d, %s", cases[i].sql, p->verb, kind_names[p->kind]);
        if (cases[i].name)
            assert_string_equal(p->name, cases[i].name);
        else
            assert_null(p->name);
        assert_string_equal(shards_of(f), "");
    }
    const struct plan *p = plan_of(f, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY");
    assert_int_equal(p->modes.isolation, 3);
    assert_int_equal(p->modes.read_only, 1);
    assert_int_equal(p->modes.deferrable, -1);
    p = plan_of(f, "SET LOCAL pgunison.key TO 42");
    assert_string_equal(p->value, "42");
    assert_true(p->local);
    assert_int_equal(p->n_pinned, 1);
    assert_true(plan_of(f, "SET x TO DEFAULT")->value_default);
    assert_string_equal(shards_of(f), "");
    p = plan_of(f, "EXPLAIN (ROUTE, VERBOSE) SELECT 'x' FROM customers");
    assert_string_equal((p->inner_to == buf_len(&f->t.text) ? "end" : "elsewhere"), "end");
    assert_memory_equal(buf_head(&f->t.text) + p->inner_from, "SELECT", 6);
    plan_of(f, "SHOW work_mem");
    assert_string_equal(shards_of(f), "s0");
}

static void hints_route_by_hand(void **state)
{
    struct fixture *f = *state;
    plan_of(f, "/* pgunison: shard=s2 */ SELECT * FROM customers");
    assert_string_equal(shards_of(f), "s2");
    assert_false(f->plan->writes);
    plan_of(f, "DELETE FROM customers /* pgunison: key=7 */");
    assert_string_equal(shards_of(f), shard_of_int(f, 7));
    assert_true(f->plan->writes);
    plan_of(f, "/* pgunison: shard=s3 */ DO 'begin end'");
    assert_string_equal(shards_of(f), "s3");
    assert_true(f->plan->writes);
    assert_string_equal(plan_of(f, "/* pgunison: shard=s9 */ SELECT 1")->refusal->sqlstate, "42704");
    assert_string_equal(plan_of(f, "/* pgunison: where=x */ SELECT 1")->refusal->sqlstate, "42601");
    assert_int_equal(plan_of(f, "/* pgunison: key=7 */ SELECT 1")->kind, PLAN_REFUSE);
    assert_int_equal(plan_of(f, "/* pgunison: key=x */ SELECT * FROM customers")->kind, PLAN_REFUSE);
    f->routing = "shard=s1";
    plan_of(f, "SELECT * FROM customers");
    assert_string_equal(shards_of(f), "s1");
    plan_of(f, "/* pgunison: shard=s2 */ SELECT * FROM customers"); /* the nearer one wins */
    assert_string_equal(shards_of(f), "s2");
    assert_int_equal(plan_of(f, "COMMIT")->kind, PLAN_LOCAL);
    f->routing = NULL;
}

static void unknown_relations_are_asked_for_and_errors_reported(void **state)
{
    struct fixture *f = *state;
    f->forgetful = true;
    assert_int_equal(plan_result(f, "SELECT * FROM customers JOIN orders ON true"), ROUTER_NEEDS_CATALOG);
    assert_int_equal(plan_result(f, "DROP TABLE customers"), ROUTER_NEEDS_CATALOG);
    assert_int_equal(plan_result(f, "SELECT 1"), ROUTER_OK);
    assert_int_equal(plan_result(f, "SELECT * FROM pg_class"), ROUTER_OK);
    f->forgetful = false;
    assert_int_equal(plan_result(f, "SELEC"), ROUTER_ERROR);
    assert_string_equal(f->error.sqlstate, "42601");
    assert_int_equal(plan_result(f, "SELECT 1; SELECT 2"), ROUTER_ERROR);
    assert_string_equal(f->error.sqlstate, "42601");
}

static void a_database_of_one_shard_refuses_nothing_that_one_server_can_do(void **state)
{
    static const char *const texts[] = {
        "SELECT name, count(*) FROM customers GROUP BY name",
        "UPDATE customers SET id = parent, name = now()::text",
        "SELECT * FROM customers a, notes b, audit c",
        "INSERT INTO customers (name) VALUES ('x')",
        "INSERT INTO customers SELECT * FROM customers",
        "UPDATE countries SET name = now()::text",
        "CREATE TABLE customers (id serial PRIMARY KEY, email text UNIQUE)",
        "CREATE VIEW v AS SELECT * FROM customers",
        "DO 'begin end'",
        "PREPARE p AS SELECT 1",
        "SELECT * FROM big_customers",
        "EXPLAIN SELECT * FROM customers",
        "DECLARE c CURSOR FOR SELECT * FROM customers",
        "CREATE TABLE x AS SELECT * FROM customers",
        "MERGE INTO customers c USING notes n ON c.id = n.id WHEN MATCHED THEN DELETE"};
    struct fixture *f = *state;
    f->db.n_shards = 1;
    shard_set_clear(&f->db.all_shards);
    shard_set_add(&f->db.all_shards, 0);
    memset(f->buckets, 0, sizeof(f->buckets));
    for (unsigned i = 0; i < f->n_tables; i++)
        f->maps[i].single_shard = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct plan *p = plan_of(f, texts[i]);
        if (p->kind != PLAN_SINGLE)
            fail_msg("%s: %s", texts[i], p->refusal ? p->refusal->message : kind_names[p->kind]);
        const char *shards = shards_of(f);
        if (!shards || strcmp(shards, "s0") != 0)
            fail_msg("%s: %s", texts[i], shards ? shards : f->error.message);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(key_pins_the_shard),
        TEST(what_is_no_equality_does_not_pin),
        TEST(names_are_resolved_as_the_server_does),
        TEST(only_home_and_reference_tables),
        TEST(scatter_where_shards_are_independent),
        TEST(what_shards_cannot_answer_alone_is_refused),
        TEST(several_keys_are_refused_only_when_they_meet_no_shard),
        TEST(keys_of_different_kinds_are_each_hashed_by_their_own_map),
        TEST(writes_and_what_stays_are_found),
        TEST(missing_keys_are_clear_errors),
        TEST(order_by_becomes_a_merge),
        TEST(limits_ask_each_shard_for_enough),
        TEST(rewritten_text_takes_the_literals_of_the_statement_at_hand),
        TEST(aggregates_are_combined),
        TEST(rows_of_an_insert_are_split),
        TEST(reference_tables_are_written_everywhere),
        TEST(copy_knows_where_the_key_is),
        TEST(ddl_goes_where_the_object_is),
        TEST(wildcard_takes_new_tables_that_have_its_column),
        TEST(transactions_and_variables_need_no_shard),
        TEST(hints_route_by_hand),
        TEST(unknown_relations_are_asked_for_and_errors_reported),
        TEST(a_database_of_one_shard_refuses_nothing_that_one_server_can_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
