/* [tables], [ranges] and [lists]. */
#include "support.h"

#define TABLES(lines) ONE_DATABASE "[tables shop]\n" lines /* the first is line 8 */

static void every_method_is_read(void **state)
{
    (void)state;
    struct config *c = load_ok(
        TABLES("customers = hash(id)\nOrders = HASH ( Customer_ID ) \napp.events = range(day)\n"
               "\"My Sites\" = list(\"Re\"\"gion\")\ncountries = reference\naudit = single(s1)\n"
               "* = hash(tenant_id)\n"
               "[ranges shop.app.events]\ns0 = MINVALUE .. 2026-01-01\ns1 = '2026-01-01' .. maxvalue\n"
               "[lists shop.\"My Sites\"]\ns0 = eu, 'a, b' ,'it''s'\ns0 = ''\ns1 = DEFAULT, 'default'\n"));
    const struct database_def *db = &c->topology.databases[0];
    assert_int_equal(db->n_tables, 6);
    const struct table_map *m = topology_table(db, NULL, "customers");
    assert_int_equal(m->method, TABLE_HASH);
    assert_string_equal(m->column, "id");
    assert_null(m->schema);
    assert_int_equal(m->line, 8);
    assert_string_equal(m->file, in_folder("test.ini"));
    assert_string_equal(topology_table(db, "public", "orders")->column, "customer_id");
    assert_null(topology_table(db, NULL, "Orders"));
    assert_null(topology_table(db, "", "events"));
    m = topology_table(db, "app", "events");
    assert_string_equal(m->schema, "app");
    assert_int_equal(m->n_ranges, 2);
    assert_null(m->ranges[0].lower);
    assert_string_equal(m->ranges[0].upper, "2026-01-01");
    assert_string_equal(m->ranges[1].lower, "2026-01-01");
    assert_null(m->ranges[1].upper);
    assert_int_equal(m->ranges[1].shard, 1);
    m = topology_table(db, "", "My Sites");
    assert_string_equal(m->column, "Re\"gion");
    assert_int_equal(m->n_lists, 6);
    static const char *const values[] = {"eu", "a, b", "it's", "", NULL, "default"};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(m->lists[i].shard, i >= 4);
        if (values[i])
            assert_string_equal(m->lists[i].value, values[i]);
        else
            assert_null(m->lists[i].value);
    }
    assert_int_equal(topology_table(db, NULL, "countries")->method, TABLE_REFERENCE);
    assert_int_equal(topology_table(db, NULL, "audit")->single_shard, 1);
    assert_string_equal(db->wildcard->column, "tenant_id");
    assert_null(db->wildcard->name);
    assert_null(topology_table(db, NULL, "unlisted"));
    config_unref(&c);
}

static void methods_are_checked(void **state)
{
    (void)state;
    one_error(TABLES("t = hsah(id)\n"), 8,
              "table \"t\" cannot be \"hsah(id)\"; allowed is hash(COLUMN), range(COLUMN), "
              "list(COLUMN), reference or single(SHARD); did you mean \"hash\"?");
    one_error(TABLES("t = hash\n"), 8, "table \"t\": hash needs a column: hash(column)");
    one_error(TABLES("t =\n"), 8, "cannot be \"\"");
    one_error(TABLES("t = hash()\n"), 8, "cannot be \"hash()\"");
    one_error(TABLES("t = hash(id\n"), 8, "cannot be \"hash(id\"");
    one_error(TABLES("t = hash(id) x\n"), 8, "cannot be");
    one_error(TABLES("t = hash(a, b)\n"), 8, "the key is one column");
    one_error(TABLES("t = hash(lower(a))\n"), 8, "the key is one column");
    one_error(TABLES("t = hash(\"a)\n"), 8, "no closing quote");
    one_error(TABLES("t = reference(x)\n"), 8, "cannot be");
    one_error(TABLES("t = single(s7)\n"), 8,
              "\"s7\" is not among the shards of database \"shop\"; did you mean \"s0\"?");
    one_error(TABLES("t = range(a)\n"), 8, "table \"t\" needs a section [ranges shop.t]");
    one_error(TABLES("a.t = list(a)\n"), 8, "table \"t\" needs a section [lists shop.a.t]");
    one_error(TABLES("* = reference\n"), 8, "\"*\" can only be hash(COLUMN)");
    one_error(TABLES("* = hash(a)\n* = hash(b)\n"), 9, "\"*\" was already set in line 8");
}

static void table_names_are_checked(void **state)
{
    (void)state;
    one_error(TABLES("t = hash(id)\nPublic.T = reference\n"), 9,
              "table \"public.t\" was already set in line 8");
    one_error(TABLES("a-b = hash(id)\n"), 8,
              "unexpected \"-b\"; names with other characters stand in double quotes");
    one_error(TABLES("app.* = hash(id)\n"), 8, "no wildcard for a schema");
    one_error(TABLES("a.b.c = hash(id)\n"), 8, "unexpected \".c\"");
    one_error(TABLES("\"\" = hash(id)\n"), 8, "quoted name is empty");
    one_error(TABLES("\"a:b\" = hash(id)\n"), 8, "no closing quote");
    one_error(TABLES("pg_catalog.pg_class = reference\n"), 8, "tables of schema \"pg_catalog\" are not cut");
    one_error(TABLES("a234567890123456789012345678901234567890123456789012345678901234 = reference\n"), 8,
              "is longer than 63 bytes");
}

#define RANGES(lines) TABLES("t = range(k)\n[ranges shop.t]\n" lines) /* the first is line 10 */

static void ranges_are_checked(void **state)
{
    (void)state;
    one_error(RANGES("s0 = 1 .. 5\ns7 = 5 .. 9\n"), 11, "\"s7\" is not among the shards");
    one_error(RANGES("s0 = 1 - 5\n"), 10, "is not LOWER .. UPPER");
    one_error(RANGES("s0 = 1 .. 5 .. 9\n"), 10, "is not LOWER .. UPPER");
    one_error(RANGES("s0 = .. 5\n"), 10, "a value is missing");
    one_error(RANGES("s0 = MAXVALUE .. 5\n"), 10, "MINVALUE can only be the lower bound");
    one_error(RANGES("s0 = 5 .. 5\n"), 10, "is empty");
    one_error(RANGES("s0 = 1 .. 5\ns1 = 1 .. 7\n"), 11, "overlaps the one in line 10");
    one_error(RANGES("s0 = 1 .. MAXVALUE\ns1 = 0 .. MAXVALUE\n"), 11, "overlaps the one in line 10");
    one_error(RANGES("s0 = 'a .. b\n"), 10, "is not LOWER .. UPPER");
    one_error(RANGES("s0 = a .. 'b\n"), 10, "no closing quote");
    one_error(RANGES("s0 = a'b .. c\n  'x\n"), 10, "is not LOWER .. UPPER");
    one_error(RANGES("s0 = 'a' b .. c\n"), 10, "text stands after the closing quote");
    one_error(RANGES(""), 9, "section [ranges shop.t] is empty");
    one_error(TABLES("t = hash(k)\n[ranges shop.t]\ns0 = 1 .. 2\n"), 9,
              "table \"public.t\" is not range(COLUMN)");
    one_error(RANGES("s0 = 1 .. 2\n[ranges shop.public.t]\ns0 = 2 .. 3\n"), 11,
              "repeats [ranges shop.t] of line 9");
    struct config *c = load_ok(RANGES("s0 = 'a..b' .. '..'\n"));
    const struct table_map *m = topology_table(&c->topology.databases[0], NULL, "t");
    assert_string_equal(m->ranges[0].lower, "a..b");
    assert_string_equal(m->ranges[0].upper, "..");
    config_unref(&c);
}

#define LISTS(lines) TABLES("t = list(k)\n[lists shop.t]\n" lines) /* the first is line 10 */

static void lists_are_checked(void **state)
{
    (void)state;
    one_error(LISTS("s0 = a, b\ns1 = c, 'a'\n"), 11, "value \"a\" was already given to shard s0 in line 10");
    one_error(LISTS("s0 = DEFAULT\ns1 = default\n"), 11, "value \"DEFAULT\" was already given to shard s0");
    one_error(LISTS("s0 = a,,b\n"), 10, "a value is missing; the empty string is written ''");
    one_error(LISTS("s0 =\n"), 10, "a value is missing");
    one_error(LISTS("s0 = it's\n"), 10, "a quote stands inside a value");
    one_error(LISTS("s0 = '\n"), 10, "no closing quote");
    one_error(LISTS("sx = a\n"), 10, "\"sx\" is not among the shards");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_read),    cmocka_unit_test(methods_are_checked),
        cmocka_unit_test(table_names_are_checked), cmocka_unit_test(ranges_are_checked),
        cmocka_unit_test(lists_are_checked),
    };
    return RUN(tests);
}
