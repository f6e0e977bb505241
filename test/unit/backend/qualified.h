/*
 * Whether everything that a text of SQL looks up by name is looked up in pg_catalog. Texts of the proxy's run on clients'
 * servers, under their search_path, where an operator of theirs would decide what the proxy learns.
 *
 * libpg_query tells what PostgreSQL reads. Include cmocka.h first.
 */
#ifndef PGUNISON_TEST_QUALIFIED_H
#define PGUNISON_TEST_QUALIFIED_H

#include <pg_query.h>
#include <stdio.h>
#include <string.h>

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

/* Tables are those of pg_catalog, the proxy's, or those of the query's own WITH, which no schema comes before. */
static bool has_foreign_table(const char *tree)
{
    for (const char *at = tree; (at = strstr(at, "\"RangeVar\":{")); at++) {
        const char *from = at + strlen("\"RangeVar\":{");
        if (strncmp(from, "\"schemaname\":\"pg_catalog\"", 25) == 0 ||
            strncmp(from, "\"schemaname\":\"pgunison\"", 23) == 0)
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

static inline void assert_qualified(const char *sql)
{
    const char *why = unqualified(sql);
    if (why)
        fail_msg("%s: in %.200s", why, sql);
}

#endif
