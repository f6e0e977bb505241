/* sql/parse.h, sql/statement.h */
#include "base/arena.h"
#include "sql/parse.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

struct parsed {
    struct template t;
    struct arena arena;
    struct sql_statement *s;
    struct error error;
};

static int setup(void **state)
{
    struct parsed *p = calloc(1, sizeof(*p));
    template_init(&p->t);
    arena_init(&p->arena);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct parsed *p = *state;
    template_free(&p->t);
    arena_free(&p->arena);
    free(p);
    return 0;
}

static enum status try_parse(struct parsed *p, const char *sql)
{
    arena_reset(&p->arena);
    assert_int_equal(template_lex(&p->t, slice_str(sql), &p->error), STATUS_OK);
    return sql_parse(&p->t, &p->arena, &p->s, &p->error);
}

static struct sql_statement *parse(struct parsed *p, const char *sql)
{
    if (try_parse(p, sql) != STATUS_OK)
        fail_msg("%s: %s", sql, p->error.message);
    return p->s;
}

static void kinds_of_statements_are_told_apart(void **state)
{
    static const struct {
        const char *sql;
        enum sql_statement_kind kind;
        const char *command;
    } cases[] = {
        {"", SQL_STMT_EMPTY, ""},
        {"SELECT 1", SQL_STMT_QUERY, "SELECT"},
        {"VALUES (1)", SQL_STMT_QUERY, "SELECT"},
        {"TABLE t", SQL_STMT_QUERY, "SELECT"},
        {"insert into t default values", SQL_STMT_QUERY, "INSERT"},
        {"update t set a = 1", SQL_STMT_QUERY, "UPDATE"},
        {"delete from t", SQL_STMT_QUERY, "DELETE"},
        {"MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", SQL_STMT_QUERY, "MERGE"},
        {"BEGIN", SQL_STMT_BEGIN, "BEGIN"},
        {"START TRANSACTION", SQL_STMT_BEGIN, "START TRANSACTION"},
        {"END", SQL_STMT_COMMIT, "COMMIT"},
        {"ABORT", SQL_STMT_ROLLBACK, "ROLLBACK"},
        {"ROLLBACK TO a", SQL_STMT_ROLLBACK_TO, "ROLLBACK"},
        {"RELEASE a", SQL_STMT_RELEASE, "RELEASE"},
        {"PREPARE TRANSACTION 'x'", SQL_STMT_PREPARED_TRANSACTION, "PREPARE TRANSACTION"},
        {"COMMIT PREPARED 'x'", SQL_STMT_PREPARED_TRANSACTION, "COMMIT PREPARED"},
        {"ROLLBACK PREPARED 'x'", SQL_STMT_PREPARED_TRANSACTION, "ROLLBACK PREPARED"},
        {"SET x = 1", SQL_STMT_SET, "SET"},
        {"RESET x", SQL_STMT_RESET, "RESET"},
        {"RESET ALL", SQL_STMT_RESET_ALL, "RESET"},
        {"SHOW ALL", SQL_STMT_SHOW, "SHOW"},
        {"SET TRANSACTION READ ONLY", SQL_STMT_SET_TRANSACTION, "SET"},
        {"SET TRANSACTION SNAPSHOT 'x'", SQL_STMT_SET_TRANSACTION, "SET"},
        {"DISCARD TEMP", SQL_STMT_DISCARD, "DISCARD"},
        {"PREPARE p AS SELECT 1", SQL_STMT_PREPARE, "PREPARE"},
        {"EXECUTE p", SQL_STMT_EXECUTE, "EXECUTE"},
        {"DEALLOCATE p", SQL_STMT_DEALLOCATE, "DEALLOCATE"},
        {"DECLARE c CURSOR FOR SELECT 1", SQL_STMT_DECLARE, "DECLARE CURSOR"},
        {"FETCH 5 FROM c", SQL_STMT_FETCH, "FETCH"},
        {"CLOSE c", SQL_STMT_CLOSE, "CLOSE CURSOR"},
        {"COPY t FROM STDIN", SQL_STMT_COPY, "COPY"},
        {"EXPLAIN SELECT 1", SQL_STMT_EXPLAIN, "EXPLAIN"},
        {"CREATE TABLE t AS SELECT 1", SQL_STMT_CREATE_TABLE_AS, "CREATE TABLE AS"},
        {"SELECT 1 INTO t", SQL_STMT_CREATE_TABLE_AS, "SELECT INTO"},
        {"LISTEN x", SQL_STMT_LISTEN, "LISTEN"},
        {"NOTIFY x", SQL_STMT_NOTIFY, "NOTIFY"},
        {"DO 'x'", SQL_STMT_DO, "DO"},
        {"CALL p()", SQL_STMT_DO, "CALL"},
        {"TRUNCATE t", SQL_STMT_TABLES, "TRUNCATE TABLE"},
        {"CREATE TABLE t ()", SQL_STMT_CREATE_TABLE, "CREATE TABLE"},
        {"CREATE VIEW v AS SELECT 1", SQL_STMT_CREATE_VIEW, "CREATE VIEW"},
        {"CREATE SEQUENCE s", SQL_STMT_HOME, "CREATE SEQUENCE"},
        {"DROP SEQUENCE s", SQL_STMT_HOME, "DROP"},
        {"CREATE SCHEMA s", SQL_STMT_EVERYWHERE, "CREATE SCHEMA"},
        {"CREATE SCHEMA s CREATE TABLE t ()", SQL_STMT_REFUSED, "CREATE SCHEMA"},
        {"DROP FUNCTION f()", SQL_STMT_EVERYWHERE, "DROP"},
        {"COMMENT ON TRIGGER x ON t IS ''", SQL_STMT_TABLES, "COMMENT"},
        {"VACUUM", SQL_STMT_EVERYWHERE, "VACUUM"},
        {"VACUUM t", SQL_STMT_TABLES, "VACUUM"},
        {"LOCK t", SQL_STMT_TABLES, "LOCK TABLE"},
        {"ALTER TYPE t ADD VALUE 'x'", SQL_STMT_EVERYWHERE, "ALTER TYPE"},
        {"ALTER SEQUENCE s RESTART", SQL_STMT_HOME, "ALTER SEQUENCE"},
        {"SET CONSTRAINTS ALL DEFERRED", SQL_STMT_SET_TRANSACTION, "SET CONSTRAINTS"},
        {"SET CONSTRAINTS a DEFERRED", SQL_STMT_SET_TRANSACTION, "SET CONSTRAINTS"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sql_statement *s = parse(*state, cases[i].sql);
        if (s->kind != cases[i].kind || strcmp(s->command, cases[i].command) != 0)
            fail_msg("%s: kind %d, command %s", cases[i].sql, s->kind, s->command);
    }
}

static void errors_are_worded_as_the_server_words_them(void **state)
{
    struct parsed *p = *state;
    assert_int_equal(try_parse(p, "SELEC 1"), STATUS_ERROR);
    assert_string_equal(p->error.sqlstate, "42601");
    assert_string_equal(p->error.message, "syntax error at or near \"SELEC\"");
    assert_int_equal(try_parse(p, "SELECT"), STATUS_OK);
    assert_int_equal(try_parse(p, "SELECT FROM WHERE"), STATUS_ERROR);
    assert_string_equal(p->error.message, "syntax error at or near \"WHERE\"");
}

/* A text of prefix, n times middle, suffix. */
static enum status try_repeated(struct parsed *p, const char *prefix, const char *middle, const char *suffix,
                                int n)
{
    struct buf b;
    buf_init(&b);
    buf_str(&b, prefix);
    for (int i = 0; i < n; i++)
        buf_str(&b, middle);
    buf_str(&b, suffix);
    buf_u8(&b, 0);
    enum status status = try_parse(p, (const char *)buf_head(&b));
    buf_free(&b);
    return status;
}

static void deep_nesting_is_an_error_and_never_a_crash(void **state)
{
    struct parsed *p = *state;
    static const struct {
        const char *prefix, *middle, *suffix;
    } deep[] = {{"SELECT 1", "+1", ""},
                {"SELECT ", "- ", "1"},
                {"SELECT ", "NOT ", "true"},
                {"SELECT 1", "::text", ""},
                {"SELECT ", "f(", "1"},
                {"SELECT ", "(SELECT ", "1"},
                {"SELECT 1", " UNION SELECT 1", ""},
                {"SELECT ", "CASE WHEN a THEN b ELSE ", "c"},
                {"SELECT 1 FROM a", " JOIN a ON b", ""}};
    for (size_t i = 0; i < sizeof(deep) / sizeof(deep[0]); i++) {
        assert_int_equal(try_repeated(p, deep[i].prefix, deep[i].middle, deep[i].suffix, 50000),
                         STATUS_ERROR);
        assert_string_equal(p->error.sqlstate, "54001");
    }
    /* What is long but flat is fine. */
    assert_int_equal(try_repeated(p, "SELECT 1 FROM t WHERE a = 1", " OR a = 1", "", 20000), STATUS_OK);
    assert_int_equal(try_repeated(p, "SELECT 1 FROM t WHERE a = 1", " AND a = 1 + 2", "", 20000), STATUS_OK);
    assert_int_equal(try_repeated(p, "INSERT INTO t VALUES (1)", ", (1, 2)", "", 20000), STATUS_OK);
    assert_int_equal(p->s->query->source->n_rows, 20001);
    assert_int_equal(try_repeated(p, "SELECT CASE a WHEN 0 THEN 0", " WHEN 1 THEN 2", " END", 5000),
                     STATUS_OK);
    assert_int_equal(try_repeated(p, "SELECT 1", " + 1", "", 500), STATUS_OK);
}

static void literals_are_known_by_their_number(void **state)
{
    struct sql_statement *s =
        parse(*state, "/* x */ SELECT 'a', 1, - 2, -3.5, E'b', $$c$$ FROM t WHERE x = -4");
    static const uint32_t numbers[] = {0, 1, 2, 3, 4, 5};
    for (uint32_t i = 0; i < 6; i++) {
        const struct sql_expr *e = s->query->targets[i].value;
        assert_int_equal(e->kind, SQL_EXPR_LITERAL);
        assert_int_equal(e->number, numbers[i]);
        assert_int_equal(e->negative, i == 2 || i == 3);
    }
    assert_int_equal(s->query->where->args[1]->number, 6);
    assert_true(s->query->where->args[1]->negative);
}

static void parameters_are_counted(void **state)
{
    struct sql_statement *s = parse(*state, "SELECT $2, f($1, $3 + $2) WHERE EXISTS (SELECT $2)");
    assert_int_equal(s->n_params, 3);
    assert_int_equal(s->param_uses[0], 1);
    assert_int_equal(s->param_uses[1], 3);
    assert_int_equal(s->param_uses[2], 1);
}

static void every_function_is_seen_wherever_it_stands(void **state)
{
    static const char *const texts[] = {
        "SELECT f(1)",
        "SELECT 1 FROM f()",
        "SELECT 1 FROM ROWS FROM (f(), g())",
        "SELECT CASE WHEN f() THEN 1 END",
        "SELECT coalesce(f(), 1)",
        "SELECT (ARRAY[f()])[1]",
        "SELECT x[f()] FROM t",
        "SELECT (f()).a",
        "SELECT sum(a) FILTER (WHERE f()) FROM t",
        "SELECT sum(a) OVER (PARTITION BY f()) FROM t",
        "SELECT sum(a) OVER w FROM t WINDOW w AS (ORDER BY f())",
        "SELECT string_agg(a, f() ORDER BY b) FROM t",
        "SELECT string_agg(a, '' ORDER BY f()) FROM t",
        "SELECT 1 FROM t ORDER BY f()",
        "SELECT 1 FROM t GROUP BY ROLLUP (f())",
        "SELECT 1 FROM t LIMIT f()",
        "SELECT DISTINCT ON (f()) 1 FROM t",
        "SELECT 1 FROM t TABLESAMPLE bernoulli (f())",
        "SELECT 1 FROM t JOIN u ON f()",
        "SELECT 1 FROM XMLTABLE('/x' PASSING f() COLUMNS a int)",
        "SELECT xmlelement(name x, f())",
        "SELECT greatest(1, f())",
        "SELECT f() IS NULL",
        "SELECT a BETWEEN 1 AND f() FROM t",
        "SELECT ROW(f(), 1)",
        "SELECT a = ANY(f()) FROM t",
        "SELECT a COLLATE \"C\" || f() FROM t",
        "VALUES (1), (f())",
        "INSERT INTO t VALUES (f())",
        "INSERT INTO t VALUES (1) ON CONFLICT (a) WHERE f() DO NOTHING",
        "INSERT INTO t VALUES (1) ON CONFLICT ((f())) DO NOTHING",
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = f()",
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1 WHERE f()",
        "INSERT INTO t VALUES (1) RETURNING f()",
        "UPDATE t SET a = f()",
        "UPDATE t SET (a, b) = (1, f())",
        "UPDATE t SET (a, b) = (SELECT 1, f())",
        "UPDATE t SET a[f()] = 1",
        "DELETE FROM t WHERE f()",
        "DELETE FROM t RETURNING f()",
        "MERGE INTO t USING s ON f() WHEN MATCHED THEN DELETE",
        "MERGE INTO t USING s ON true WHEN MATCHED AND f() THEN DELETE",
        "MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET a = f()",
        "MERGE INTO t USING s ON true WHEN NOT MATCHED THEN INSERT VALUES (f())",
        "WITH x AS (SELECT f()) SELECT 1",
        "SELECT (SELECT f())",
        "SELECT 1 UNION SELECT f()",
        "EXPLAIN SELECT f()",
        "DECLARE c CURSOR FOR SELECT f()",
        "CREATE TABLE t AS SELECT f()",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct sql_statement *s = parse(*state, texts[i]);
        bool found = false;
        for (uint32_t k = 0; k < s->n_functions; k++)
            found |= strcmp(s->functions[k]->names[s->functions[k]->n_names - 1], "f") == 0;
        if (!found)
            fail_msg("function not seen: %s", texts[i]);
    }
    assert_true(parse(*state, "SELECT CASE WHEN true THEN CURRENT_TIMESTAMP END")->has_value_function);
}

static void attributes_are_noted(void **state)
{
    static const char *const texts[] = {
        "SELECT (a).f FROM t",
        "SELECT (a).f.g FROM t",
        "SELECT (g(a)).f[1] FROM t",
        "SELECT x.f FROM g() x",
        "SELECT s.t.f FROM s.t",
        "DELETE FROM t WHERE (a).f = 1",
        "INSERT INTO t VALUES ((1).f)",
        "EXPLAIN SELECT (a).f FROM t",
        "COPY (SELECT (a).f FROM t) TO STDOUT",
        "CALL p((1).f)",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct sql_statement *s = parse(*state, texts[i]);
        bool found = false;
        for (uint32_t k = 0; k < s->n_attributes; k++)
            for (uint32_t n = 0; n < s->attributes[k]->n_names; n++)
                found |= strcmp(s->attributes[k]->names[n], "f") == 0;
        if (!found)
            fail_msg("attribute not seen: %s", texts[i]);
    }
    assert_int_equal(parse(*state, "SELECT a, t.*, (t).* FROM t")->n_attributes, 0);
    assert_int_equal(parse(*state, "SELECT 1 FROM g() x, LATERAL (SELECT 1 FROM h()) y")->n_from_functions,
                     2);
    assert_int_equal(parse(*state, "CREATE TABLE t (a int DEFAULT ('s'::regclass).nextval)")->n_generated, 1);
    assert_int_equal(parse(*state, "ALTER TABLE t ALTER a SET DEFAULT ('s'::regclass).nextval")->n_generated,
                     1);
}

static void conditions_keep_their_shape(void **state)
{
    struct sql_expr *w =
        parse(*state, "SELECT 1 FROM t WHERE a = 1 AND b IN (1, 2) AND c = ANY ('{1}'::int[]) AND NOT d")
            ->query->where;
    assert_int_equal(w->kind, SQL_EXPR_AND);
    assert_int_equal(w->n_args, 4);
    assert_int_equal(w->args[0]->kind, SQL_EXPR_OPERATOR);
    assert_int_equal(w->args[1]->kind, SQL_EXPR_IN);
    assert_int_equal(w->args[1]->n_args, 3);
    assert_int_equal(w->args[2]->kind, SQL_EXPR_ANY_ARRAY);
    assert_int_equal(w->args[2]->args[1]->kind, SQL_EXPR_CAST);
    assert_true(w->args[2]->args[1]->type_array);
    assert_int_equal(w->args[2]->args[1]->type_oid, 23);
    assert_int_equal(w->args[3]->kind, SQL_EXPR_NOT);
    /* Other comparisons must not look like equality. */
    static const char *const others[] = {"a <> 1",
                                         "a NOT IN (1, 2)",
                                         "a < ANY ('{1}')",
                                         "a = ALL ('{1}')",
                                         "a IS DISTINCT FROM 1",
                                         "a LIKE 'x'",
                                         "a BETWEEN 1 AND 2",
                                         "a OPERATOR(s.=) 1",
                                         "a IS NOT DISTINCT FROM 1",
                                         "NULLIF(a, 1)"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        char sql[100];
        snprintf(sql, sizeof(sql), "SELECT 1 FROM t WHERE %s", others[i]);
        w = parse(*state, sql)->query->where;
        bool equal = w->kind == SQL_EXPR_IN || w->kind == SQL_EXPR_ANY_ARRAY ||
                     (w->kind == SQL_EXPR_OPERATOR && strcmp(w->names[w->n_names - 1], "=") == 0);
        if (equal)
            fail_msg("%s looks like an equality", others[i]);
    }
}

static void casts_with_modifiers_and_unknown_types_have_no_oid(void **state)
{
    struct sql_query *q =
        parse(*state, "SELECT a::int, a::bigint, CAST(a AS uuid), a::varchar, a::varchar(3), a::char(3),"
                      " a::mytype, a::s.int4, date '2026-01-01', a::int[] FROM t")
            ->query;
    static const uint32_t oids[] = {23, 20, 2950, 1043, 0, 0, 0, 0, 1082, 23};
    for (uint32_t i = 0; i < q->n_targets; i++)
        assert_int_equal(q->targets[i].value->type_oid, oids[i]);
    assert_true(q->targets[9].value->type_array);
}

static void transaction_modes_are_read(void **state)
{
    struct sql_statement *s =
        parse(*state, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE");
    assert_int_equal(s->modes.isolation, 2);
    assert_int_equal(s->modes.read_only, 1);
    assert_int_equal(s->modes.deferrable, 0);
    s = parse(*state, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE READ WRITE");
    assert_int_equal(s->modes.isolation, 3);
    assert_int_equal(s->modes.read_only, 0);
    assert_int_equal(s->modes.deferrable, -1);
    s = parse(*state, "COMMIT AND CHAIN");
    assert_true(s->chain);
    assert_string_equal(parse(*state, "SAVEPOINT \"Aa\"")->name, "Aa");
    assert_string_equal(parse(*state, "SAVEPOINT Aa")->name, "aa");
}

static void variables_are_read(void **state)
{
    struct sql_statement *s = parse(*state, "SET LOCAL pgunison.shard TO 's1'");
    assert_string_equal(s->name, "pgunison.shard");
    assert_string_equal(s->value, "s1");
    assert_true(s->local);
    s = parse(*state, "SET Search_Path = a, b");
    assert_string_equal(s->name, "search_path");
    assert_null(s->value);
    assert_false(s->value_default);
    assert_true(parse(*state, "SET x TO DEFAULT")->value_default);
    assert_true(parse(*state, "RESET x")->value_default);
    assert_string_equal(parse(*state, "SET TIME ZONE 'UTC'")->name, "timezone");
}

static void copy_options_are_read_in_both_forms(void **state)
{
    struct sql_copy *c =
        &parse(*state, "COPY s.t (a, b) FROM STDIN WITH (FORMAT csv, DELIMITER ';', NULL 'x', HEADER,"
                       " QUOTE '|', ESCAPE '\\', FORCE_NULL (a), FORCE_NOT_NULL (b), ENCODING 'utf8')")
             ->copy;
    assert_true(c->from);
    assert_int_equal(c->format, SQL_COPY_CSV);
    assert_string_equal(c->delimiter, ";");
    assert_string_equal(c->null_string, "x");
    assert_string_equal(c->quote, "|");
    assert_string_equal(c->escape, "\\");
    assert_string_equal(c->encoding, "utf8");
    assert_true(c->header);
    assert_int_equal(c->n_columns, 2);
    assert_string_equal(c->columns[1], "b");
    assert_int_equal(c->n_force_null, 1);
    assert_string_equal(c->force_not_null[0], "b");
    c = &parse(*state, "COPY t FROM STDIN DELIMITERS ',' NULL AS 'n' CSV HEADER QUOTE AS 'q'")->copy;
    assert_int_equal(c->format, SQL_COPY_CSV);
    assert_string_equal(c->delimiter, ",");
    assert_string_equal(c->null_string, "n");
    assert_true(c->header);
    c = &parse(*state, "COPY BINARY t TO STDOUT")->copy;
    assert_int_equal(c->format, SQL_COPY_BINARY);
    assert_false(c->from);
    assert_false(parse(*state, "COPY t FROM STDIN (HEADER false)")->copy.header);
    assert_string_equal(parse(*state, "COPY t FROM '/x'")->copy.filename, "/x");
    assert_true(parse(*state, "COPY t TO PROGRAM 'x'")->copy.program);
    assert_non_null(parse(*state, "COPY (SELECT 1) TO STDOUT")->query);
}

static void keys_of_new_tables_are_read(void **state)
{
    struct sql_statement *s = parse(
        *state, "CREATE TABLE t (a serial PRIMARY KEY, b int UNIQUE REFERENCES u, c int DEFAULT nextval('s'),"
                " d int GENERATED BY DEFAULT AS IDENTITY, UNIQUE (a, b),"
                " EXCLUDE USING gist (a WITH =, b WITH &&), FOREIGN KEY (a, b) REFERENCES v (x, y))");
    assert_int_equal(s->n_columns, 4);
    assert_int_equal(s->n_uniques, 4);
    assert_string_equal(s->uniques[0].columns[0], "a");
    assert_string_equal(s->uniques[1].columns[0], "b");
    assert_int_equal(s->uniques[2].n_columns, 2);
    assert_string_equal(s->uniques[3].columns[0], "a");
    assert_null(s->uniques[3].columns[1]);
    assert_int_equal(s->n_generated, 3);
    assert_int_equal(s->n_foreigns, 2);
    assert_string_equal(s->foreigns[0].relation.name, "u");
    assert_string_equal(s->foreigns[0].columns[0], "b");
    assert_string_equal(s->foreigns[1].referenced[1], "y");
    s = parse(*state, "CREATE UNIQUE INDEX ON t (a, lower(b))");
    assert_string_equal(s->uniques[0].columns[0], "a");
    assert_null(s->uniques[0].columns[1]);
    s = parse(*state,
              "ALTER TABLE t ADD COLUMN x bigserial, ADD UNIQUE (y), DROP COLUMN z, ALTER w TYPE int");
    assert_int_equal(s->n_generated, 1);
    assert_int_equal(s->n_uniques, 1);
    assert_int_equal(s->n_altered, 2);
    assert_true(parse(*state, "CREATE TEMP TABLE t ()")->relations[0].temporary);
    assert_true(parse(*state, "CREATE TABLE pg_temp.t ()")->relations[0].temporary);
    assert_true(parse(*state, "CREATE INDEX CONCURRENTLY ON t (a)")->outside_transaction);
}

static void names_of_objects_lead_to_their_relations(void **state)
{
    struct sql_statement *s = parse(*state, "DROP TABLE IF EXISTS a, s.b");
    assert_true(s->if_exists && s->drops);
    assert_int_equal(s->n_relations, 2);
    assert_null(s->relations[0].schema);
    assert_string_equal(s->relations[1].schema, "s");
    assert_string_equal(s->relations[1].name, "b");
    assert_string_equal(parse(*state, "DROP TRIGGER x ON s.t")->relations[0].name, "t");
    assert_string_equal(parse(*state, "COMMENT ON COLUMN s.t.c IS 'x'")->relations[0].name, "t");
    s = parse(*state, "ALTER TABLE s.a RENAME TO b");
    assert_string_equal(s->renamed->name, "b");
    assert_string_equal(s->renamed->schema, "s");
    s = parse(*state, "ALTER TABLE a SET SCHEMA b");
    assert_string_equal(s->renamed->schema, "b");
}

static void tokens_leave_comments_out(void **state)
{
    struct parsed *p = *state;
    struct sql_tokens t;
    assert_int_equal(
        sql_scan(slice_str("SELECT /* x */ \"from\", 'a' -- y\n from T"), &p->arena, &t, &p->error),
        STATUS_OK);
    assert_int_equal(t.count, 6);
    assert_true(sql_token_is(&t, 0, "SELECT"));
    assert_false(sql_token_is(&t, 1, "FROM")); /* quoted */
    assert_int_equal(t.items[2].c, ',');
    assert_int_equal(t.items[3].kind, SQL_TOKEN_OTHER);
    assert_true(sql_token_is(&t, 4, "FROM"));
    assert_false(sql_token_is(&t, 6, "FROM"));
}

/* AddressSanitizer's frames are three times as large. */
static void enlarge_stack(void)
{
#ifdef __SANITIZE_ADDRESS__
    const rlim_t bytes = (rlim_t)32 * 1024 * 1024;
    (void)setrlimit(RLIMIT_STACK, &(struct rlimit){bytes, bytes});
#endif
}

int main(void)
{
    enlarge_stack();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kinds_of_statements_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_are_worded_as_the_server_words_them, setup, teardown),
        cmocka_unit_test_setup_teardown(deep_nesting_is_an_error_and_never_a_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(literals_are_known_by_their_number, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(every_function_is_seen_wherever_it_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(attributes_are_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(conditions_keep_their_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(casts_with_modifiers_and_unknown_types_have_no_oid, setup, teardown),
        cmocka_unit_test_setup_teardown(transaction_modes_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(variables_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(copy_options_are_read_in_both_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_of_new_tables_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(names_of_objects_lead_to_their_relations, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_leave_comments_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
