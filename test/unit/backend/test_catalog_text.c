/*
 * Whatever is looked up by name in the catalog's queries is looked up in pg_catalog: they run on a client's server, under
 * his search_path, where an operator of his own would decide what the proxy learns about everybody's functions.
 */
#include "backend/catalog.h"
#include "base/buf.h"
#include "conf/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "qualified.h"

static void what_is_not_qualified_is_noticed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 1 + 1",
        "SELECT 1 = ANY (ARRAY[1])",
        "SELECT 1 = ALL (ARRAY[1])",
        "SELECT 1 IN (1, 2)",
        "SELECT 1 NOT IN (SELECT 1)",
        "SELECT 1 = ANY (SELECT 1)",
        "SELECT CASE 1 WHEN 1 THEN 2 END",
        "SELECT 1 BETWEEN 0 AND 2",
        "SELECT 'a' LIKE 'b'",
        "SELECT 1 IS DISTINCT FROM 2",
        "SELECT nullif(1, 2)",
        "SELECT lower('A')",
        "SELECT '1'::my_int",
        "SELECT 1 FROM pg_class",
        "SELECT 1 FROM pg_catalog.pg_class JOIN pg_catalog.pg_type USING (oid)",
        "SELECT 1 FROM pg_catalog.pg_class NATURAL JOIN pg_catalog.pg_type",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!unqualified(texts[i]))
            fail_msg("%s", texts[i]);
    assert_null(unqualified(
        "WITH a(b) AS (SELECT 1::pg_catalog.text) SELECT pg_catalog.lower(a.b) OPERATOR(pg_catalog.||) 'c' "
        "FROM a "
        "WHERE a.b OPERATOR(pg_catalog.=) ANY ('{a}') AND a.b OPERATOR(pg_catalog.<>) ALL (SELECT 'c')"));
}

static void every_name_is_qualified(void **state)
{
    (void)state;
    struct table_map wildcard = {.column = "tenant_id"};
    struct database_def plain = {0}, wild = {.wildcard = &wildcard};
    struct buf sql;
    buf_init(&sql);
    catalog_load_sql(&plain, NULL, "orders", &sql);
    buf_u8(&sql, ';');
    catalog_load_sql(&wild, "app", "orders", &sql);
    buf_u8(&sql, ';');
    catalog_function_sql("", "f", &sql);
    buf_u8(&sql, ';');
    catalog_function_sql("app", "f", &sql);
    buf_u8(&sql, ';');
    catalog_own_sql(&sql);
    buf_u8(&sql, 0);
    assert_qualified((const char *)buf_head(&sql));
    buf_free(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_qualified_is_noticed),
        cmocka_unit_test(every_name_is_qualified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
