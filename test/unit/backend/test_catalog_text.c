/*
 * Whatever is looked up by name in the catalog's queries is looked up in pg_catalog: they run on a client's server, under
 * his search_path, where an operator of his own would decide what the proxy learns about everybody's functions.
 *
 * libpg_query tells what PostgreSQL reads.
 */
#include "backend/catalog.h"
#include "base/buf.h"
#include "conf/config.h"

#include <pg_query.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SYSTEM "{\"String\":{\"sval\":\"pg_catalog\"}},"

static char reason[200]; /* of the last unqualified() */

static bool not_qualified(const char *tree, const char *names)
{
    size_t len = strlen(names);
    for (const char *at = tree; (at = strstr(at, names)); at += len) {
        if (strncmp(at + len, SYSTEM, sizeof SYSTEM - 1) == 0)
            continue;
        (void)snprintf(reason, sizeof reason, "not in pg_catalog: %.120s", at);
        return true;
    }
    return false;
}

/* Operators that the syntax implies, and nobody can qualify. */
static bool has_implied(const char *tree)
{
    static const char *const kinds[] = {"IN",          "DISTINCT",    "NOT_DISTINCT",   "NULLIF",
                                        "LIKE",        "ILIKE",       "SIMILAR",        "BETWEEN",
                                        "BETWEEN_SYM", "NOT_BETWEEN", "NOT_BETWEEN_SYM"};
    char needle[64] = "\"usingClause\"";
    const char *at = strstr(tree, needle);
    if (!at)
        at = strstr(tree, "\"isNatural\"");
    if (!at)
        at = strstr(tree, "\"CaseExpr\":{\"arg\""); /* CASE x WHEN y compares by = */
    for (size_t i = 0; !at && i < sizeof kinds / sizeof kinds[0]; i++) {
        (void)snprintf(needle, sizeof needle, "\"kind\":\"AEXPR_%s\"", kinds[i]);
        at = strstr(tree, needle);
    }
    for (const char *in = tree; !at && (in = strstr(in, "\"subLinkType\":\"ANY_SUBLINK\"")); in++) {
        const char *oper = strstr(in, "\"operName\"");
        if (!oper || oper > strstr(in, "\"subselect\""))
            at = in;
    }
    if (at)
        (void)snprintf(reason, sizeof reason, "an implied operator: %.120s", at);
    return at != NULL;
}

/* Tables are those of pg_catalog, or of the query's own WITH, which no schema comes before. */
static bool has_foreign_table(const char *tree)
{
    for (const char *at = tree; (at = strstr(at, "\"RangeVar\":{")); at++) {
        const char *from = at + strlen("\"RangeVar\":{");
        if (strncmp(from, "\"schemaname\":\"pg_catalog\"", 25) == 0)
            continue;
        char with[96] = "";
        if (strncmp(from, "\"relname\":\"", 11) == 0)
            (void)snprintf(with, sizeof with, "\"ctename\":\"%.*s\"", (int)strcspn(from + 11, "\""),
                           from + 11);
        if (*with && strstr(tree, with))
            continue;
        (void)snprintf(reason, sizeof reason, "a table of no schema: %.120s", from);
        return true;
    }
    return false;
}

/* NULL: everything is qualified. Otherwise what is not, until the next call. */
static const char *unqualified(const char *sql)
{
    PgQueryParseResult result = pg_query_parse(sql);
    assert_null(result.error);
    const char *tree = result.parse_tree;
    bool found = not_qualified(tree, "\"kind\":\"AEXPR_OP\",\"name\":[") ||
                 not_qualified(tree, "\"kind\":\"AEXPR_OP_ANY\",\"name\":[") ||
                 not_qualified(tree, "\"kind\":\"AEXPR_OP_ALL\",\"name\":[") ||
                 not_qualified(tree, "\"operName\":[") || not_qualified(tree, "\"funcname\":[") ||
                 not_qualified(tree, "\"typeName\":{\"names\":[") || has_implied(tree) ||
                 has_foreign_table(tree);
    pg_query_free_parse_result(result);
    return found ? reason : NULL;
}

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
    buf_u8(&sql, 0);
    const char *why = unqualified((const char *)buf_head(&sql));
    if (why)
        fail_msg("%s", why);
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
