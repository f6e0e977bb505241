/* backend/catalog.h, its query against a real server */
#include "backend/catalog.h"

#include "pg_fixture.h"
#include "sql/effects.h"

static struct pg_fixture pg;
static struct config *config;
static const struct database_def *db;
static struct custom_names *custom;
static struct catalog *catalog;
static PGconn *conn;

static const char *const schema_sql =
    "CREATE SCHEMA app; CREATE SCHEMA \"odd\"\"schema\"; CREATE SCHEMA audit;"
    "CREATE COLLATION nondet (provider = icu, locale = 'und', deterministic = false);"
    "CREATE DOMAIN small AS int2 NOT NULL; CREATE DOMAIN smaller AS small DEFAULT 7;"
    "CREATE TABLE public.customers (id int8 PRIMARY KEY, name text NOT NULL, gone int, label varchar(9) "
    "COLLATE \"C\","
    " nick text COLLATE nondet, size smaller, n int GENERATED ALWAYS AS IDENTITY, twice int8 GENERATED "
    "ALWAYS AS (id * 2) STORED,"
    " at timestamptz DEFAULT now());"
    "ALTER TABLE public.customers DROP COLUMN gone;"
    "CREATE INDEX customers_name ON public.customers (name);"
    "CREATE TABLE app.events (day date, what text) PARTITION BY RANGE (day);"
    "CREATE TABLE app.events_2025 PARTITION OF app.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') "
    "PARTITION BY RANGE (day);"
    "CREATE TABLE app.events_jan PARTITION OF app.events_2025 FOR VALUES FROM ('2025-01-01') TO "
    "('2025-02-01');"
    "CREATE INDEX ON app.events (day);"
    "CREATE TABLE public.countries (code text); CREATE TABLE public.plain (x int, customers int);"
    "CREATE TABLE public.tenants (tenant_id int); CREATE TABLE public.kid (more int) INHERITS "
    "(public.customers);"
    "CREATE TABLE public.audit (x int); CREATE TABLE app.audit (x int); CREATE TABLE app.plain (y int);"
    "CREATE VIEW public.v_plain AS SELECT x FROM public.plain;"
    "CREATE VIEW public.v_customers AS SELECT id FROM public.customers JOIN public.plain ON true;"
    "CREATE VIEW public.v_deep AS SELECT * FROM public.v_customers;"
    "CREATE MATERIALIZED VIEW public.m_partition AS SELECT * FROM app.events_jan;"
    "CREATE VIEW public.v_countries AS SELECT * FROM public.countries;"
    "CREATE VIEW public.v_tenants AS SELECT * FROM public.tenants;"
    "CREATE VIEW public.v_sub AS SELECT (SELECT max(id) FROM public.customers) AS m;"
    "CREATE SEQUENCE public.seq; CREATE TABLE \"odd\"\"schema\".\"it's \\\" (x int);";

static struct config *config_of(const char *tables)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/catalog.ini", pg.dir);
    FILE *f = fopen(path, "w");
    fprintf(f,
            "[pgunison]\nauth_type = trust\n[database shop]\nshards = s0 s1\nhome = s0\n[shard s0]\nhost = "
            "/tmp\nport = 1\ndbname = x\n"
            "[shard s1]\nhost = /tmp\nport = 2\ndbname = x\n[tables shop]\n%s"
            "[ranges shop.app.events]\ns0 = MINVALUE .. 2025-06-01\ns1 = 2025-06-01 .. MAXVALUE\n",
            tables);
    fclose(f);
    struct problems problems;
    struct config *c = config_load(path, &problems);
    for (size_t i = 0; !c && i < problems.count; i++)
        print_message("%d: %s\n", problems.items[i].line, problems.items[i].text);
    problems_free(&problems);
    assert_non_null(c);
    return c;
}

static void use_tables(const char *tables)
{
    catalog_destroy(&catalog);
    if (config)
        config_unref(&config);
    config = config_of(tables);
    db = topology_database(&config->topology, "shop");
    catalog = catalog_create(db, custom);
}

static enum status load_rows(struct catalog_load *l, const PGresult *r, struct error *error_r)
{
    struct slice values[16];
    for (int i = 0; i < PQntuples(r); i++) {
        for (int j = 0; j < PQnfields(r); j++)
            values[j] =
                slice_of(PQgetisnull(r, i, j) ? NULL : PQgetvalue(r, i, j), (size_t)PQgetlength(r, i, j));
        if (catalog_load_row(l, values, (size_t)PQnfields(r), error_r) != STATUS_OK)
            return STATUS_ERROR;
    }
    return STATUS_OK;
}

/* All results of the text. */
static enum status run_load(struct catalog_load *l, const char *sql, struct error *error_r)
{
    enum status s = STATUS_OK;
    PGresult *r;
    assert_int_equal(PQsendQuery(conn, sql), 1);
    while ((r = PQgetResult(conn))) {
        if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
            fail_msg("%s", PQerrorMessage(conn));
        if (s == STATUS_OK)
            s = load_rows(l, r, error_r);
        PQclear(r);
    }
    return s;
}

static struct relation *load_as(const char *context, const char *schema, const char *name,
                                struct error *error_r)
{
    struct buf sql;
    buf_init(&sql);
    catalog_load_sql(db, schema, name, &sql);
    buf_u8(&sql, 0);
    struct catalog_load *l =
        catalog_load_begin(catalog, context, schema, name, catalog_load_shard(db, schema, name));
    enum status s = run_load(l, (const char *)buf_head(&sql), error_r);
    buf_free(&sql);
    if (s != STATUS_OK) {
        catalog_load_abort(&l);
        assert_null(l);
        return NULL;
    }
    struct relation *rel = catalog_load_finish(&l);
    assert_ptr_equal(rel, catalog_find(catalog, context, schema, name));
    return rel;
}

static struct relation *load(const char *schema, const char *name)
{
    struct error e;
    struct relation *r = load_as("user", schema, name, &e);
    if (!r)
        fail_msg("%s", e.message);
    return r;
}

#define TABLES                                                                                               \
    "customers = hash(id)\napp.events = range(day)\ncountries = reference\naudit.audit = single(s1)\n* = "   \
    "hash(tenant_id)\n"

static int before_each(void **state)
{
    (void)state;
    use_tables(TABLES);
    pg_query(conn, "RESET ALL");
    return 0;
}

static const struct relation_column *column(const struct relation *r, const char *name)
{
    for (unsigned i = 0; i < r->n_columns; i++) {
        if (strcmp(r->columns[i].name, name) == 0)
            return &r->columns[i];
    }
    fail_msg("no column %s", name);
    return NULL;
}

static void a_listed_table_with_its_columns(void **state)
{
    (void)state;
    assert_null(catalog_find(catalog, "user", "", "customers"));
    struct relation *r = load("", "customers");
    assert_true(r->exists && !r->temporary);
    assert_string_equal(r->schema, "public");
    assert_string_equal(r->name, "customers");
    assert_int_equal(r->relkind, 'r');
    assert_null(r->view_of);
    assert_non_null(r->map);
    assert_int_equal(r->map->method, TABLE_HASH);
    static const char *const names[] = {"id", "name", "label", "nick", "size", "n", "twice", "at"};
    assert_int_equal(r->n_columns, 8);
    for (int i = 0; i < 8; i++)
        assert_string_equal(r->columns[i].name, names[i]);
    assert_int_equal(column(r, "id")->type_oid, 20);
    assert_true(column(r, "id")->not_null && !column(r, "id")->has_default);
    assert_int_equal(column(r, "id")->collation_oid, 0);
    assert_true(column(r, "id")->deterministic);
    assert_true(column(r, "name")->c_collation); /* the database's default is C */
    assert_true(column(r, "name")->not_null && column(r, "name")->deterministic);
    assert_true(column(r, "label")->c_collation);
    assert_int_equal(column(r, "label")->type_oid, 1043);
    assert_false(column(r, "nick")->c_collation || column(r, "nick")->deterministic);
    assert_int_equal(column(r, "size")->type_oid, 21); /* through two domains, whose default counts */
    assert_true(column(r, "size")->has_default);
    assert_true(column(r, "n")->has_default && column(r, "twice")->has_default &&
                column(r, "at")->has_default);
}

static void the_databases_collation_counts(void **state)
{
    (void)state;
    pg_query(conn, "DROP DATABASE IF EXISTS other");
    pg_query(conn, "CREATE DATABASE other TEMPLATE template0 LOCALE 'C.UTF-8'");
    PGconn *mine = conn;
    conn = pg_connect(&pg, "other");
    pg_query(conn, "CREATE TABLE t (x text, y text COLLATE \"POSIX\", z int)");
    struct relation *r = load("", "t");
    assert_false(column(r, "x")->c_collation);
    assert_true(column(r, "y")->c_collation);
    assert_false(column(r, "z")->c_collation);
    PQfinish(conn);
    conn = mine;
}

static void partitions_children_and_indexes_follow_their_table(void **state)
{
    (void)state;
    const struct table_map *events = topology_table(db, "app", "events");
    const struct table_map *customers = topology_table(db, "public", "customers");
    assert_ptr_equal(load("app", "events")->map, events);
    assert_int_equal(load("app", "events")->relkind, 'p');
    assert_ptr_equal(load("app", "events_2025")->map, events);
    assert_ptr_equal(load("app", "events_jan")->map, events);
    assert_ptr_equal(load("", "kid")->map, customers);
    struct relation *i = load("", "customers_name");
    assert_int_equal(i->relkind, 'i');
    assert_ptr_equal(i->map, customers);
    assert_string_equal(i->name, "customers_name");
    assert_int_equal(column(i, "id")->type_oid, 20); /* the table's columns */
    i = load("app", "events_jan_day_idx");
    assert_ptr_equal(i->map, events);
    assert_int_equal(load("app", "events_day_idx")->relkind, 'I');
    /* a partition that is listed itself */
    use_tables("app.events = range(day)\napp.events_2025 = hash(day)\n");
    assert_ptr_equal(load("app", "events_2025")->map, topology_table(db, "app", "events_2025"));
    assert_ptr_equal(load("app", "events_jan")->map,
                     topology_table(db, "app", "events_2025")); /* the nearest */
}

static void the_wildcard_is_for_tables_with_its_column(void **state)
{
    (void)state;
    assert_ptr_equal(load("", "tenants")->map, db->wildcard);
    assert_null(load("", "plain")->map);
    assert_null(load("", "v_tenants")->map);
    assert_string_equal(load("", "v_tenants")->view_of, "public.tenants");
    pg_query(conn, "CREATE TEMP TABLE tenants (tenant_id int)");
    catalog_clear(catalog);
    struct relation *r = load("", "tenants");
    assert_true(r->temporary);
    assert_null(r->map);
    pg_query(conn, "DROP TABLE pg_temp.tenants");
    catalog_clear(catalog);
    pg_query(conn, "CREATE TEMP TABLE boarder (x int) INHERITS (customers)");
    assert_null(load("", "boarder")->map);
    pg_query(conn, "DROP TABLE boarder");
    use_tables("app.events = range(day)\ncustomers = hash(id)\n");
    assert_null(load("", "tenants")->map);
    assert_null(load("", "v_tenants")->view_of);
}

static void views_tell_what_they_read(void **state)
{
    (void)state;
    assert_null(load("", "v_plain")->view_of);
    assert_null(load("", "v_plain")->map);
    assert_int_equal(load("", "v_plain")->relkind, 'v');
    assert_string_equal(load("", "v_customers")->view_of, "public.customers");
    assert_string_equal(load("", "v_deep")->view_of, "public.customers");
    assert_string_equal(load("", "v_sub")->view_of, "public.customers"); /* in a subquery */
    struct relation *m = load("", "m_partition");
    assert_int_equal(m->relkind, 'm');
    assert_string_equal(m->view_of, "app.events"); /* through a partition of a partition */
    struct relation *c = load("", "v_countries");
    assert_null(c->view_of);
    assert_string_equal(c->view_of_reference, "public.countries");
    assert_null(load("", "v_plain")->view_of_reference);
}

static void names_mean_what_the_session_means(void **state)
{
    (void)state;
    assert_string_equal(load("", "plain")->schema, "public");
    pg_query(conn, "SET search_path TO app, public");
    struct error e;
    struct relation *r = load_as("other", "", "plain", &e);
    assert_string_equal(r->schema, "app"); /* another context, another meaning */
    assert_string_equal(column(r, "y")->name, "y");
    assert_string_equal(catalog_find(catalog, "user", "", "plain")->schema, "public");
    assert_int_equal(catalog_count(catalog), 2);
    r = load_as("other", "", "pg_class", &e);
    assert_string_equal(r->schema, "pg_catalog");
    assert_null(r->map);
    assert_int_equal(load("", "seq")->relkind, 'S');
}

static void odd_names_survive_quoting(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pg_query(conn,
                 i == 0 ? "SET standard_conforming_strings = on" : "SET standard_conforming_strings = off");
        pg_query(conn, "SET escape_string_warning = off");
        catalog_clear(catalog);
        struct relation *r = load("odd\"schema", "it's \\");
        assert_true(r->exists);
        assert_string_equal(r->schema, "odd\"schema");
        assert_string_equal(r->name, "it's \\");
        assert_false(load("", "'; DROP TABLE customers; --")->exists);
        assert_false(load("no such schema", "x")->exists);
    }
}

static void what_does_not_exist_has_the_map_of_where_it_would_be(void **state)
{
    (void)state;
    use_tables("app.events = range(day)\nto_come = hash(id)\n");
    struct relation *r = load("", "to_come");
    assert_false(r->exists);
    assert_string_equal(r->schema, "");
    assert_string_equal(r->name, "to_come");
    assert_ptr_equal(r->map, topology_table(db, "public", "to_come"));
    assert_null(load("app", "to_come")->map);
    pg_query(conn, "SET search_path TO app, public");
    struct error e;
    assert_null(load_as("app first", "", "to_come", &e)->map);
    pg_query(conn, "SET search_path TO ''");
    assert_null(load_as("nowhere", "", "to_come", &e)->map);
}

static void single_tables_are_asked_for_where_they_are(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(catalog_load_shard(db, "", "customers"), 0);
    assert_int_equal(catalog_load_shard(db, "audit", "audit"), 1);
    assert_int_equal(catalog_load_shard(db, "", "audit"), 0); /* public.audit, which is not listed */
    /* The path comes by audit.audit, which would be on the other shard, before public.audit, which was found
     * here. */
    pg_query(conn, "SET search_path TO audit, public");
    assert_null(load_as("user", "", "audit", &e));
    assert_string_equal(e.sqlstate, "0A000");
    assert_string_equal(e.message, "relation name \"audit\" is ambiguous over shards");
    assert_null(catalog_find(catalog, "user", "", "audit"));
    assert_string_equal(load("public", "audit")->schema, "public");
    pg_query(conn, "SET search_path TO public, audit"); /* found before */
    assert_string_equal(load_as("b", "", "audit", &e)->schema, "public");
    /* The other way round: the shard of public.audit was asked, and app.audit might be at home. */
    use_tables("app.events = range(day)\naudit = single(s1)\n");
    assert_int_equal(catalog_load_shard(db, "", "audit"), 1);
    pg_query(conn, "RESET search_path");
    assert_ptr_equal(load("", "audit")->map, topology_table(db, "public", "audit"));
    catalog_clear(catalog);
    pg_query(conn, "SET search_path TO audit, public");
    assert_null(load_as("user", "", "audit", &e));
    assert_string_equal(e.sqlstate, "0A000");
}

static int derived_freed;
static void free_derived(struct relation *r)
{
    derived_freed += r->placed;
}

static void relations_keep_their_address_until_cleared(void **state)
{
    (void)state;
    struct relation *r = load("", "plain");
    r->placed = true;
    catalog_derived(r, 100, free_derived);
    assert_ptr_equal(load("", "plain"), r); /* a second load changes nothing for whoever holds the first */
    assert_int_equal(derived_freed, 0);
    assert_int_equal(catalog_count(catalog), 1);
    catalog_clear(catalog);
    assert_int_equal(derived_freed, 1);
    assert_null(catalog_find(catalog, "user", "", "plain"));
}

static void uncommitted_ddl_is_the_clients(void **state)
{
    (void)state;
    pg_query(conn, "BEGIN; CREATE TABLE brand_new (tenant_id int8)");
    struct relation *r = load("", "brand_new");
    assert_true(r->exists);
    assert_ptr_equal(r->map, db->wildcard);
    pg_query(conn, "ROLLBACK");
}

/* One that is not the home shard. */
static void temporary_relations_are_where_they_are_found(void **state)
{
    (void)state;
    struct buf sql;
    struct error e;
    unsigned elsewhere = 1 - db->home;
    buf_init(&sql);
    pg_query(conn, "CREATE TEMP TABLE customers (id int8)");
    catalog_load_sql(db, "", "customers", &sql);
    buf_u8(&sql, 0);
    struct catalog_load *l = catalog_load_begin(catalog, "user", "", "customers", elsewhere);
    assert_false(catalog_load_is_temporary(l));
    assert_int_equal(run_load(l, (const char *)buf_head(&sql), &e), STATUS_OK);
    assert_true(catalog_load_is_temporary(l));
    struct relation *r = catalog_load_finish(&l);
    assert_true(r->temporary);
    assert_int_equal(r->map->method, TABLE_SINGLE);
    assert_int_equal(r->map->single_shard, elsewhere);
    pg_query(conn, "DROP TABLE pg_temp.customers");
    buf_free(&sql);
}

/* A shard that is asked for temporary relations only, and has none, need not have what the search path says. */
static void a_try_in_vain_is_not_ambiguous(void **state)
{
    (void)state;
    struct buf sql;
    struct error e;
    buf_init(&sql);
    pg_query(conn, "SET search_path = app, public");
    catalog_load_sql(db, "", "plain", &sql);
    buf_u8(&sql, 0);
    struct catalog_load *l = catalog_load_begin(catalog, "user", "", "plain", 1 - db->home);
    assert_int_equal(run_load(l, (const char *)buf_head(&sql), &e), STATUS_OK);
    assert_false(catalog_load_is_temporary(l));
    catalog_load_abort(&l);
    pg_query(conn, "RESET search_path");
    buf_free(&sql);
}

static void foreign_answers_are_refused(void **state)
{
    (void)state;
    struct error e;
    struct slice v[9] = {slice_str("R")};
    struct catalog_load *l = catalog_load_begin(catalog, "user", "", "x", db->home);
    assert_int_equal(catalog_load_row(l, v, 8, &e), STATUS_ERROR);
    v[0] = slice_str("?");
    assert_int_equal(catalog_load_row(l, v, 9, &e), STATUS_ERROR);
    v[0] = slice_of(NULL, 0);
    assert_int_equal(catalog_load_row(l, v, 9, &e), STATUS_ERROR);
    assert_string_equal(e.sqlstate, "08P01");
    catalog_load_abort(&l);
}

/* --- what code leaves ------------------------------------------------------------------------- */

static uint16_t effects_of_function(const char *name)
{
    struct buf sql;
    struct error e;
    uint16_t effects;
    buf_init(&sql);
    assert_false(catalog_function(catalog, "", name, &effects));
    catalog_function_sql("", name, &sql);
    buf_u8(&sql, 0);
    struct catalog_load *l = catalog_load_begin_function(catalog, "", name);
    assert_int_equal(run_load(l, (const char *)buf_head(&sql), &e), STATUS_OK);
    assert_null(catalog_load_finish(&l));
    assert_true(catalog_function(catalog, "", name, &effects));
    buf_free(&sql);
    return effects;
}

/* A function fN for each, made from its body. */
static void functions_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *language, *body;
        uint16_t effects;
    } cases[] = {
        {"sql", "SELECT 1", 0},
        {"sql", "UPDATE countries SET code = code", 0},
        {"plpgsql", "BEGIN UPDATE countries SET code = code; END", 0},
        {"plpgsql", "BEGIN SET work_mem TO 100; END", EFFECT_VARIABLE},
        {"plpgsql", "BEGIN IF true THEN /* a */ -- b\n RESET work_mem; END IF; END", EFFECT_VARIABLE},
        {"sql", "SELECT set_config('work_mem', '100', false)", EFFECT_VARIABLE},
        {"sql", "SELECT set_config('my.name', '100', false)", EFFECT_VARIABLE},
        {"sql", "SELECT set_config(lower('WORK_MEM'), '100', false)", EFFECT_VARIABLE | EFFECT_HIDDEN},
        {"sql", "SELECT \"set_config\"('a', 'b', false), set_config($1, 'b', false)",
         EFFECT_VARIABLE | EFFECT_HIDDEN},
        {"sql", "SELECT pg_advisory_lock(1)", EFFECT_LOCK},
        {"sql", "SELECT pg_advisory_xact_lock(1)", 0},
        {"sql", "SELECT nextval('s')", EFFECT_SEQUENCE},
        {"sql", "SELECT lastval()", EFFECT_SEQUENCE_READ},
        {"sql", "SELECT setseed(0.5)", EFFECT_HIDDEN | EFFECT_KEPT},
        {"plpgsql", "BEGIN EXECUTE 'SELECT 1'; END", EFFECTS_UNSEEN},
        {"plpgsql", "BEGIN PERFORM f1(); END", 0},
        {"plpgsql", "BEGIN PERFORM f3(); PERFORM \"f9\"(1); END", EFFECT_VARIABLE | EFFECT_LOCK},
        {"plpgsql", "BEGIN CREATE TEMP TABLE x (a int); END", EFFECT_TEMPORARY},
        {"plpgsql", "BEGIN LISTEN x; END", EFFECT_LISTEN},
        {"plpgsql", "BEGIN PERFORM query_to_xml('SELECT 1', true, true, ''); END", EFFECTS_UNSEEN},
    };
    char sql[512], name[16];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(sql, sizeof sql,
                 "CREATE FUNCTION f%zu(text DEFAULT '') RETURNS void LANGUAGE %s AS $f$%s$f$", i,
                 cases[i].language, cases[i].body);
        pg_query(conn, "SET check_function_bodies TO off");
        pg_query(conn, sql);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(name, sizeof name, "f%zu", i);
        uint16_t effects = effects_of_function(name);
        if (effects != (cases[i].effects | EFFECT_WRITES)) /* volatile */
            fail_msg("%s: 0x%x", cases[i].body, (unsigned)effects);
    }
    assert_string_equal(custom_name(custom, 0), "my.name");
    assert_null(custom_name(custom, 1));
    assert_int_equal(effects_of_function("no_such_function"), 0);
}

static void functions_may_write(void **state)
{
    (void)state;
    static const struct {
        const char *made_as;
        bool writes;
    } cases[] = {
        {"LANGUAGE sql AS 'SELECT 1'", true},
        {"STABLE LANGUAGE sql AS 'SELECT 1, random(), pg_is_in_recovery()'", false},
        {"IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN; END'", false},
        {"STABLE LANGUAGE sql AS 'SELECT w0()'", true},
        {"IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM W3(); END'", true},
        {"STABLE LANGUAGE sql AS 'SELECT lo_create(0)'", true},
        {"STABLE LANGUAGE plpgsql AS 'BEGIN EXECUTE ''SELECT 1''; END'", true},
        {"STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM * FROM countries; END'", false},
    };
    char sql[512], name[16];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(sql, sizeof sql, "CREATE FUNCTION w%zu() RETURNS void %s", i, cases[i].made_as);
        pg_query(conn, sql);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(name, sizeof name, "w%zu", i);
        if (((effects_of_function(name) & EFFECT_WRITES) != 0) != cases[i].writes)
            fail_msg("%s", cases[i].made_as);
    }
}

static void relations_tell_what_their_code_does(void **state)
{
    (void)state;
    pg_query(conn, "CREATE FUNCTION locks() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_advisory_lock(1)'");
    pg_query(conn, "CREATE FUNCTION triggered() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM locks(); "
                   "RETURN NEW; END'");
    pg_query(conn, "CREATE TABLE c_default (a int DEFAULT locks())");
    pg_query(conn, "CREATE TABLE c_serial (a serial)");
    pg_query(conn, "CREATE TABLE c_trigger (a int)");
    pg_query(conn, "CREATE TRIGGER t BEFORE UPDATE ON c_trigger FOR EACH ROW EXECUTE FUNCTION triggered()");
    pg_query(conn, "CREATE VIEW c_view AS SELECT locks(), a FROM c_serial");
    pg_query(conn, "CREATE VIEW c_view_of_view AS SELECT * FROM c_view");
    const struct relation *r = load("", "c_default");
    assert_int_equal(r->effects_read, 0);
    assert_int_equal(r->effects_written, EFFECT_LOCK | EFFECT_WRITES);
    r = load("", "c_serial");
    assert_int_equal(r->effects_read, 0);
    assert_int_equal(r->effects_written, EFFECT_SEQUENCE | EFFECT_WRITES);
    r = load("", "c_trigger");
    assert_int_equal(r->effects_read, 0);
    assert_int_equal(r->effects_written, EFFECT_LOCK | EFFECT_WRITES);
    r = load("", "c_view_of_view");
    assert_int_equal(r->effects_read, EFFECT_LOCK | EFFECT_WRITES);
    assert_int_equal(r->effects_written, EFFECT_LOCK | EFFECT_SEQUENCE | EFFECT_WRITES);
}

static int group_setup(void **state)
{
    (void)state;
    pg_start(&pg);
    custom = custom_names_create();
    conn = pg_connect(&pg, "postgres");
    pg_query(conn, schema_sql);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    catalog_destroy(&catalog);
    custom_names_free(custom);
    if (config)
        config_unref(&config);
    PQfinish(conn);
    pg_stop(&pg);
    return 0;
}

#define CATALOG_TEST(f) cmocka_unit_test_setup(f, before_each)

static struct slice text_or_null(const char *s)
{
    return s ? slice_str(s) : slice_of(NULL, 0);
}

/* As a shard would answer; NULL: there is no such relation. */
static void answer(const char *name, const char *relkind)
{
    struct error e;
    struct catalog_load *l = catalog_load_begin(catalog, "user", "", name, db->home);
    const char *row[9] = {"R", "public", name, relkind, "f", NULL, NULL, NULL, NULL};
    struct slice values[9];
    for (int i = 0; i < 9; i++)
        values[i] = text_or_null(row[i]);
    if (relkind)
        assert_int_equal(catalog_load_row(l, values, 9, &e), STATUS_OK);
    catalog_wanted_by(catalog_load_finish(&l), catalog);
}

/* Whatever else is asked for, what is in use is known; and nothing grows. */
static void names_that_clients_make_up_push_nobody_out(void **state)
{
    char name[32];
    uint16_t effects;
    (void)state;
    catalog_clear(catalog);
    answer("used", "r");
    size_t one = catalog_bytes(catalog);
    for (int i = 0; i < 24000; i++) {
        bool exists = i % 2 == 0;
        snprintf(name, sizeof name, "made_up_%d", i);
        answer(name, exists ? "r" : NULL);
        assert_int_equal(catalog_find(catalog, "user", "", name)->exists, exists);
        struct catalog_load *l = catalog_load_begin_function(catalog, "", name);
        assert_null(catalog_load_finish(&l));
        if (i % 100 == 0) {
            catalog_forget_missing(catalog, catalog);
            assert_non_null(catalog_find(catalog, "user", "", "used"));
            assert_true(catalog_function(catalog, "", "made_up_0", &effects));
            assert_true(catalog_count(catalog) <= 20000);
        }
    }
    assert_false(catalog_function(catalog, "", "made_up_1", &effects));
    assert_true(catalog_bytes(catalog) < 20000 * 2 * one);
    catalog_clear(catalog);
    answer("used", "r");
    assert_int_equal(catalog_bytes(catalog), one);
    answer("missing", NULL);
    struct relation *r = catalog_find(catalog, "user", "", "missing");
    r->placed = true;
    catalog_derived(r, 1000, free_derived);
    assert_true(catalog_bytes(catalog) > one + 1000);
    int before = derived_freed;
    catalog_forget_missing(catalog, catalog);
    assert_int_equal(catalog_bytes(catalog), one);
    assert_int_equal(derived_freed, before + 1);
    assert_null(catalog_find(catalog, "user", "", "missing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CATALOG_TEST(a_listed_table_with_its_columns),
        CATALOG_TEST(the_databases_collation_counts),
        CATALOG_TEST(partitions_children_and_indexes_follow_their_table),
        CATALOG_TEST(the_wildcard_is_for_tables_with_its_column),
        CATALOG_TEST(views_tell_what_they_read),
        CATALOG_TEST(names_mean_what_the_session_means),
        CATALOG_TEST(odd_names_survive_quoting),
        CATALOG_TEST(what_does_not_exist_has_the_map_of_where_it_would_be),
        CATALOG_TEST(single_tables_are_asked_for_where_they_are),
        CATALOG_TEST(relations_keep_their_address_until_cleared),
        CATALOG_TEST(uncommitted_ddl_is_the_clients),
        CATALOG_TEST(temporary_relations_are_where_they_are_found),
        CATALOG_TEST(a_try_in_vain_is_not_ambiguous),
        CATALOG_TEST(foreign_answers_are_refused),
        CATALOG_TEST(functions_are_read),
        CATALOG_TEST(functions_may_write),
        CATALOG_TEST(relations_tell_what_their_code_does),
        CATALOG_TEST(names_that_clients_make_up_push_nobody_out),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
