/* route/router.h: every plan that is to run has a shard to run on, whatever mixture of relations, known and unknown,
   its statement names. */
#include "route_fixture.h"

/* %s: a list of names, or one */
static const char *const lists[] = {
    "DROP TABLE %s",
    "DROP TABLE IF EXISTS %s",
    "DROP TABLE IF EXISTS %s CASCADE",
    "DROP VIEW IF EXISTS %s",
    "DROP MATERIALIZED VIEW IF EXISTS %s",
    "DROP FOREIGN TABLE IF EXISTS %s",
    "DROP INDEX IF EXISTS %s",
    "DROP SEQUENCE IF EXISTS %s",
    "DROP TYPE IF EXISTS %s",
    "DROP DOMAIN IF EXISTS %s",
    "DROP SCHEMA IF EXISTS %s",
    "DROP EXTENSION IF EXISTS %s",
    "DROP STATISTICS IF EXISTS %s",
    "DROP FUNCTION IF EXISTS %s",
    "DROP COLLATION IF EXISTS %s",
    "DROP ROLE IF EXISTS %s",
    "TRUNCATE %s",
    "TRUNCATE ONLY %s RESTART IDENTITY",
    "LOCK TABLE %s",
    "LOCK %s IN SHARE MODE NOWAIT",
    "VACUUM %s",
    "VACUUM FULL %s",
    "ANALYZE %s",
    "GRANT SELECT ON %s TO PUBLIC",
    "REVOKE ALL ON TABLE %s FROM PUBLIC CASCADE",
    "GRANT USAGE ON SEQUENCE %s TO PUBLIC",
    "GRANT USAGE ON SCHEMA %s TO PUBLIC",
    "GRANT SELECT ON ALL TABLES IN SCHEMA %s TO PUBLIC",
    "CREATE STATISTICS s ON id, name FROM %s",
    "CREATE PUBLICATION p FOR TABLE %s",
    "ALTER PUBLICATION p ADD TABLE %s",
    "DROP OWNED BY %s",
    "SELECT * FROM %s",
    "SELECT count(*) FROM %s",
    "CREATE VIEW v AS SELECT 1 FROM %s",
    "CREATE TABLE c AS SELECT 1 FROM %s",
    "CREATE TEMP TABLE c AS SELECT 1 FROM %s",
    "CREATE TABLE c () INHERITS (%s)",
    "COPY (SELECT 1 FROM %s) TO STDOUT",
};
static const char *const singles[] = {
    "ALTER TABLE %s ADD COLUMN x int",
    "ALTER TABLE IF EXISTS %s ADD CHECK (true)",
    "ALTER TABLE %s ADD UNIQUE (name)",
    "ALTER TABLE %s ADD FOREIGN KEY (id) REFERENCES nope",
    "ALTER TABLE %s ADD COLUMN y serial",
    "ALTER TABLE %s RENAME TO nope2",
    "ALTER TABLE %s RENAME name TO other",
    "ALTER TABLE %s SET SCHEMA other",
    "ALTER TABLE %s OWNER TO x",
    "ALTER TABLE %s ATTACH PARTITION nope DEFAULT",
    "ALTER TABLE nope ATTACH PARTITION %s DEFAULT",
    "ALTER TABLE %s DETACH PARTITION nope CONCURRENTLY",
    "ALTER TABLE %s INHERIT nope",
    "ALTER TABLE %s CLUSTER ON i",
    "ALTER INDEX %s RENAME TO x",
    "ALTER INDEX IF EXISTS %s SET (fillfactor = 50)",
    "ALTER VIEW %s ALTER COLUMN a SET DEFAULT 1",
    "ALTER SEQUENCE %s RESTART",
    "ALTER TYPE %s ADD VALUE 'x'",
    "ALTER DOMAIN %s DROP NOT NULL",
    "ALTER FUNCTION %s() IMMUTABLE",
    "ALTER POLICY p ON %s USING (true)",
    "ALTER TRIGGER t ON %s RENAME TO u",
    "ALTER TRIGGER t ON %s DEPENDS ON EXTENSION e",
    "ALTER RULE r ON %s RENAME TO s",
    "ALTER EXTENSION e ADD TABLE %s",
    "ALTER STATISTICS %s SET STATISTICS 10",
    "CREATE INDEX ON %s (name)",
    "CREATE UNIQUE INDEX CONCURRENTLY ON %s (name)",
    "CREATE TRIGGER t BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON %s FROM nope FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE POLICY p ON %s",
    "CREATE RULE r AS ON INSERT TO %s DO NOTHING",
    "CREATE TABLE %s (id int)",
    "CREATE TABLE IF NOT EXISTS %s (id int8, customer_id int8, day date, tag text)",
    "CREATE TABLE x (LIKE %s INCLUDING ALL)",
    "CREATE TABLE p PARTITION OF %s DEFAULT",
    "CREATE TABLE x (y int REFERENCES %s)",
    "CREATE FOREIGN TABLE %s (id int) SERVER s",
    "CREATE UNLOGGED TABLE %s (id int8 PRIMARY KEY)",
    "CREATE TEMP TABLE %s (id int)",
    "CREATE OR REPLACE VIEW %s AS SELECT 1",
    "CREATE MATERIALIZED VIEW %s AS SELECT 1",
    "CREATE SEQUENCE %s",
    "DROP TRIGGER IF EXISTS t ON %s",
    "DROP POLICY IF EXISTS p ON %s",
    "DROP RULE IF EXISTS r ON %s",
    "DROP AGGREGATE IF EXISTS %s(int)",
    "DROP CAST IF EXISTS (int AS %s)",
    "COMMENT ON TABLE %s IS 'x'",
    "COMMENT ON COLUMN %s IS 'x'",
    "COMMENT ON COLUMN %s.id IS 'x'",
    "COMMENT ON CONSTRAINT c ON %s IS 'x'",
    "COMMENT ON CONSTRAINT c ON DOMAIN %s IS 'x'",
    "COMMENT ON TRIGGER t ON %s IS 'x'",
    "COMMENT ON INDEX %s IS 'x'",
    "COMMENT ON FUNCTION %s() IS NULL",
    "COMMENT ON TYPE %s IS 'x'",
    "SECURITY LABEL ON TABLE %s IS 'x'",
    "SECURITY LABEL ON COLUMN %s IS 'x'",
    "REINDEX TABLE %s",
    "REINDEX TABLE CONCURRENTLY %s",
    "REINDEX INDEX %s",
    "CLUSTER %s",
    "CLUSTER VERBOSE %s USING i",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY %s",
    "VACUUM (ANALYZE) %s (id)",
    "IMPORT FOREIGN SCHEMA %s FROM SERVER s INTO public",
    "CREATE STATISTICS s ON a, b FROM (VALUES (1)) x",
    "CREATE STATISTICS s ON a, b FROM f(1)",
    "CREATE STATISTICS s ON id, name FROM %s, (SELECT 1) x",
    "COPY %s FROM STDIN",
    "COPY %s TO STDOUT",
    "COPY %s FROM '/x'",
    "INSERT INTO %s VALUES (1)",
    "INSERT INTO %s VALUES (1), (2)",
    "INSERT INTO %s DEFAULT VALUES",
    "INSERT INTO %s SELECT 1",
    "UPDATE %s SET name = 'x'",
    "UPDATE %s SET name = 'x' WHERE id = NULL",
    "UPDATE %s SET name = 'x' WHERE false",
    "DELETE FROM %s WHERE id IN (1, 2, 3)",
    "DELETE FROM %s USING nope",
    "SELECT * FROM %s WHERE id = NULL",
    "SELECT * FROM %s WHERE id = ANY ('{}')",
    "SELECT * FROM %s WHERE id IN (1, 99)",
    "SELECT * FROM %s ORDER BY 1 LIMIT 0",
    "DECLARE c CURSOR FOR SELECT * FROM %s",
    "EXPLAIN SELECT * FROM %s",
    "WITH x AS (DELETE FROM %s RETURNING *) SELECT * FROM x",
    "SELECT * INTO c FROM %s",
    "TABLE %s",
    "VALUES (1)",
    "SELECT",
    "DO 'begin end'",
    "CALL %s()",
    "LISTEN %s",
    "NOTIFY %s",
    "PREPARE p AS SELECT * FROM %s",
    "EXECUTE %s",
    "FETCH ALL FROM %s",
    "MOVE %s",
    "CLOSE %s",
    "CHECKPOINT",
    "LOAD 'x'",
    "REASSIGN OWNED BY a TO b",
};
static const char *const names[] = {"nope",   "customers", "countries",   "audit",   "notes",
                                    "tags",   "events",    "sites",       "scratch", "big_customers",
                                    "s.nope", "pg_class",  "pg_temp.nope"};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static void has_a_place(struct fixture *f, const char *form, const char *list)
{
    char sql[512];
    const struct plan *p;
    struct shard_set shards;
    int32_t bucket;
    uint8_t row_shards[8];
    struct error e;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(sql, sizeof(sql), form, list);
#pragma GCC diagnostic pop
    switch (plan_result(f, sql)) {
    case ROUTER_ERROR:
        if (strcmp(f->error.sqlstate, "42601") == 0 && !strpbrk(list, ",."))
            fail_msg("%s: %s", sql, f->error.message);
        return;
    case ROUTER_NEEDS_CATALOG:
        fail_msg("%s: needs the catalog", sql);
        return;
    case ROUTER_OK:
        break;
    }
    p = f->plan;
    if (p->kind == PLAN_LOCAL || p->kind == PLAN_REFUSE)
        return;
    if (route_resolve(p, &f->db, &f->t, NULL, &shards, &bucket, row_shards, &e) != STATUS_OK)
        return; /* a key that cannot be one */
    if (shard_set_count(&shards) == 0)
        fail_msg("%s: no shard", sql);
    if (shard_set_count(&shards) > 1 && p->kind == PLAN_SINGLE && p->n_keys == 0 && !p->read_any_shard)
        fail_msg("%s: for one shard, but on %s", sql, shards_of(f));
}

static void every_plan_has_a_shard(void **state)
{
    struct fixture *f = *state;
    char list[128];
    for (size_t a = 0; a < N_NAMES; a++) {
        for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
            has_a_place(f, singles[i], names[a]);
        for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
            has_a_place(f, lists[i], names[a]);
            for (size_t b = 0; b < N_NAMES; b++) {
                snprintf(list, sizeof(list), "%s, %s", names[a], names[b]);
                has_a_place(f, lists[i], list);
                snprintf(list, sizeof(list), "%s, nope, %s", names[a], names[b]);
                has_a_place(f, lists[i], list);
            }
        }
    }
}

static void a_name_that_means_nothing_goes_where_the_others_are(void **state)
{
    static const struct {
        const char *sql, *shards;
    } list[] = {
        {"DROP TABLE IF EXISTS nope, customers", "s0 s1 s2 s3"},
        {"DROP TABLE IF EXISTS customers, nope", "s0 s1 s2 s3"},
        {"DROP TABLE IF EXISTS nope, nope2", "s0"},
        {"DROP TABLE IF EXISTS nope, audit", "s1"},
        {"DROP TABLE nope, audit", "s1"},
        {"TRUNCATE nope, customers", "s0 s1 s2 s3"},
        {"DROP TABLE IF EXISTS notes, customers", "s0 s1 s2 s3"},
        {"DROP TABLE IF EXISTS nope, notes, audit", "s0 s1"},
        {"CREATE STATISTICS s ON a FROM (VALUES (1)) x", "s0"},
        {"COMMENT ON COLUMN id IS 'x'", "s0"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        plan_of(f, list[i].sql);
        const char *shards = shards_of(f);
        if (!shards || strcmp(shards, list[i].shards) != 0)
            fail_msg("%s: %s, not %s", list[i].sql, shards ? shards : f->error.message, list[i].shards);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_plan_has_a_shard),
        TEST(a_name_that_means_nothing_goes_where_the_others_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
