/* sql/template.h */
#include "sql/template.h"

#include "scan_oracle.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static struct template t;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    template_init(&t);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    template_free(&t);
    return 0;
}

/* The template with masks made visible: #i #n 's 'e 'd 'o. */
static const char *shown(const char *sql)
{
    static char out[4096];
    size_t n = 0;
    assert_int_equal(template_lex(&t, slice_str(sql), &error), STATUS_OK);
    uint32_t literal = 0;
    for (size_t i = 0; i < t.text.end; i++) {
        out[n++] = (char)t.text.data[i];
        if (literal < t.n_literals && t.literals[literal].template_at == i)
            out[n++] = "insedo"[t.text.data[++i] - 1], literal++;
    }
    assert_int_equal(literal, t.n_literals);
    out[n] = '\0';
    return out;
}

static const char *literal(uint32_t i)
{
    static char out[256];
    assert_true(i < t.n_literals);
    snprintf(out, sizeof(out), "%.*s", (int)t.literals[i].len,
             (const char *)t.statement.data + t.literals[i].at);
    return out;
}

static const char *value(const char *sql)
{
    static char out[256];
    struct buf b;
    shown(sql);
    assert_int_equal(t.n_literals, 1);
    buf_init(&b);
    bool ok = template_literal_value(&t, 0, &b);
    snprintf(out, sizeof(out), "%.*s", (int)buf_len(&b), b.data ? (const char *)buf_head(&b) : "");
    buf_free(&b);
    return ok ? out : NULL;
}

static void masks_each_kind_of_literal(void **state)
{
    (void)state;
    assert_string_equal(
        shown("SELECT 1, 2.5, .5, 1e10, 'a', E'b', $$c$$, $t$d$t$, B'01', X'ff', U&'x', N'n'"),
        "SELECT #i, #n, #n, #n, 's, 'e, 'd, 'd, 'o, 'o, 'o, N's");
    assert_string_equal(literal(3), "1e10");
    assert_string_equal(literal(5), "E'b'");
    assert_string_equal(literal(7), "$t$d$t$");
    assert_string_equal(literal(11), "'n'");
    assert_string_equal(shown("UPDATE a SET b = b + -42 WHERE c = $1 AND d = 'it''s'"),
                        "UPDATE a SET b = b + -#i WHERE c = $1 AND d = 's");
    assert_string_equal(literal(1), "'it''s'");
}

/* As the server reads it; its scanner in libpg_query does not know this one. */
static void string_goes_on_behind_a_line_comment(void **state)
{
    (void)state;
    assert_string_equal(shown("SELECT 'a' -- it's\n'b', E'a'\n--c\n\n -- d\n '\\'b', 'a' -- x"),
                        "SELECT 's, 'e, 's");
    assert_string_equal(literal(1), "E'a'\n--c\n\n -- d\n '\\'b'");
    assert_string_equal(literal(2), "'a'");
    assert_string_equal(shown("SELECT 'a' /* c */\n'b'"), "SELECT 's 's");
    assert_string_equal(value("SELECT 'a' -- it's\n  'b''c'\n''"), "ab'c");
}

static void keeps_identifiers_byte_for_byte(void **state)
{
    (void)state;
    assert_string_equal(shown("select T1.a1$b, \"x 1 'y' \"\"z\", \xc3\xa4"
                              "1, U&\"d\\0061\" from t1"),
                        "select T1.a1$b, \"x 1 'y' \"\"z\", \xc3\xa4"
                        "1, U&\"d\\0061\" from t1");
    assert_int_equal(t.n_literals, 0);
}

static void white_space_and_comments_become_one_blank(void **state)
{
    (void)state;
    assert_string_equal(shown(" \n\t/* x */SELECT  a/* b /* nested */ */FROM\r\n-- c\n t  -- end"),
                        "SELECT a FROM t");
    assert_string_equal(shown("a/**/b"), "a b");
    assert_string_equal(shown("a - -1--2"), "a - -#i");
    assert_string_equal(shown("a*-1/2"), "a*-#i/#i");
    assert_string_equal(shown(""), "");
    assert_string_equal(shown(" -- only"), "");
    assert_int_equal(t.statement.len, 0);
}

static void statement_ends_before_its_semicolon(void **state)
{
    (void)state;
    assert_string_equal(shown(" SELECT 1 /* c */ ; -- end\n;"), "SELECT #i");
    assert_true(slice_eq_str(t.statement, " SELECT 1"));
    assert_false(t.several);
    assert_string_equal(shown("SELECT 1; SELECT 2"), "SELECT #i;");
    assert_true(t.several);
    assert_true(slice_eq_str(t.statement, "SELECT 1"));
    assert_string_equal(shown("; SELECT 2"), ";");
    assert_true(t.several);
    assert_int_equal(t.statement.len, 0);
    shown(";;");
    assert_false(t.several);
    assert_string_equal(shown("CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)"),
                        "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT #i; SELECT #i)");
    assert_false(t.several);
}

static void body_in_sql_is_one_statement(void **state)
{
    (void)state;
    shown(
        "CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE a WHEN 1 THEN 2 END AS end;"
        " SELECT 3; END;");
    assert_false(t.several);
    assert_int_equal(t.n_literals, 3);
    assert_int_equal(t.text.data[t.text.end - 1], 'D');
    shown("CREATE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END; SELECT 2");
    assert_true(t.several);
    assert_int_equal(t.n_literals, 1);
    shown("CREATE TABLE begin (atomic int); SELECT 1");
    assert_true(t.several);
    /* A column alias that the word count takes for the end of a CASE, and that only the parser understands.
     */
    shown("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 end; SELECT 2; END; SELECT 3");
    assert_true(t.several);
    assert_int_equal(t.n_literals, 2);
    /* What the parser refuses ends where the words say. */
    shown("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELEC CASE WHEN 1 THEN 2 END; END; SELECT 3");
    assert_true(t.several);
    assert_int_equal(t.n_literals, 2);
}

static void reports_the_first_hint(void **state)
{
    (void)state;
    shown("/* a */ SELECT 1 /*  pgunison: shard=s1 */ -- pgunison: key=2");
    assert_true(slice_eq_str(t.hint, "pgunison: shard=s1"));
    shown("-- pgunison: key=42\r\nSELECT 1");
    assert_true(slice_eq_str(t.hint, "pgunison: key=42"));
    shown("SELECT '/* pgunison: key=42 */', \"/* pgunison: key=1 */\"; /* pgunison: key=3 */ SELECT 2");
    assert_int_equal(t.hint.len, 0);
}

static void refuses_what_could_be_taken_for_a_mask(void **state)
{
    (void)state;
    assert_int_equal(template_lex(&t, slice_str("SELECT #\x01"), &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, "42601");
    assert_string_equal(error.message, "syntax error at or near \"\x01\"");
    assert_int_equal(template_lex(&t, slice_of("SELECT 'a\0b'", 12), &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, "22021");
    shown("SELECT 'a\x01', \"#\x01\", 2");
    assert_int_equal(t.n_literals, 2);
}

static void escape_character_of_an_identifier_is_part_of_the_template(void **state)
{
    (void)state;
    assert_string_equal(shown("SELECT U&\"d!0061\" UESCAPE '!', '!'"), "SELECT U&\"d!0061\" UESCAPE '!', 's");
    assert_string_equal(shown("SELECT u&'d!0061'/**/uescape\n'!'"), "SELECT 'o uescape '!'");
    assert_string_equal(shown("SELECT uescape 'x'"), "SELECT uescape 's");
    static const char *const odd[] = {"$$!$$", "E'!'", "'!!'", "''''", "'!'\n''", "1", "'\x01'"};
    for (size_t i = 0; i < N(odd); i++) {
        char sql[64];
        snprintf(sql, sizeof(sql), "SELECT U&\"x\" UESCAPE %s", odd[i]);
        assert_int_equal(template_lex(&t, slice_str(sql), &error), STATUS_ERROR);
        assert_string_equal(error.sqlstate, "42601");
    }
}

static void unterminated_tokens_are_worded_as_the_server_words_them(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "SELECT 'abc",      "SELECT E'abc\\'", "SELECT $a$ x $b$", "SELECT \"x",     "SELECT B'01",
        "SELECT X'f",       "SELECT U&'x",     "SELECT U&\"x",     "SELECT /* /*",   "SELECT 'a'\n 'b",
        "SELECT /* a /*/ ", "SELECT E'\\",     "SELECT 'a''",      "/* x",           "SELECT 1 /*/",
        "SELECT N'x",       "SELECT 1; /* x",  "SELECT $$ $ $",    "SELECT E'a''\\", "SELECT 1 -- x\n/*"};
    for (size_t i = 0; i < N(bad); i++) {
        PgQueryScanResult scan = pg_query_scan(bad[i]);
        assert_non_null(scan.error);
        assert_int_equal(template_lex(&t, slice_str(bad[i]), &error), STATUS_ERROR);
        assert_string_equal(error.sqlstate, "42601");
        assert_string_equal(error.message, scan.error->message);
        pg_query_free_scan_result(scan);
    }
}

static const char *const fragments[] = {
    "SELECT",
    " ",
    "  ",
    "\n",
    "\t",
    "\r\n",
    "\f",
    "\v",
    ",",
    "(",
    ")",
    "[",
    "]",
    ".",
    "..",
    "::",
    ":=",
    "=>",
    "<=",
    "<>",
    "+",
    "-",
    "*",
    "/",
    "@",
    "@-",
    "~",
    "!",
    "#",
    "^",
    "&",
    "|",
    "`",
    "?",
    "%",
    "<",
    ">",
    "=",
    "--",
    "-- it's\n",
    "/*",
    "*/",
    "/* c */",
    "/**/",
    "/*/*x*/*/",
    "/* /* */",
    "*/*",
    "**/",
    "1",
    "42",
    "1.5",
    "1.",
    ".5",
    "1e5",
    "1e+5",
    "1E-5",
    "1e",
    "1.e",
    "1.5e+",
    "0x1F",
    "1_000",
    "123abc",
    "1..2",
    "$1",
    "$12",
    "$1$",
    "$",
    "$$",
    "$$x$$",
    "$a$",
    "$a$ ' $b$ $a$",
    "$a1_$;$a1_$",
    "$1a",
    "'",
    "''",
    "'a'",
    "'a''b'",
    "'\\'",
    "'a\\'",
    "E'a\\'b'",
    "e'\\\\'",
    "E'\\n'",
    "E'",
    "\\",
    "B'01'",
    "b'0''1'",
    "X'ff'",
    "x'",
    "U&'d\\0061'",
    "u&'x'",
    "U&",
    "U&\"a\"",
    "u&\"b\"\"c\"",
    " UESCAPE ",
    " UESCAPE '!'",
    "uescape",
    "'!'",
    "N'n'",
    "n",
    "N",
    "E",
    "e",
    "u",
    "U",
    "b",
    "x",
    "_",
    "a",
    "ab$c",
    "a$",
    "\"q\"",
    "\"a\"\"b\"",
    "\"",
    "'a'\n'b'",
    "'a' 'b'",
    "'a' -- c\n'b'",
    "'a'\n-- c\n 'b'",
    "'a' /* c */\n'b'",
    "E'a'\n'\\'b'",
    "X'1'\n'2'",
    "'a'\r'b'",
    "U&'a'\n'b'",
    "\xc3\xa4",
    "\xc3\xa4'x'",
    "'\xe2\x82\xac'",
    "\"\xf0\x9f\x98\x80\"",
    "$\xc3\xa4$'$\xc3\xa4$",
    ";",
    "{",
    "}",
    "as",
    "null",
    "- 1",
    "-1",
    "CASE",
    "END",
};

static void check_against_the_scanner(const char *sql)
{
    char why[4096] = "";
    if (!oracle_compare(sql, &t, why, sizeof(why)))
        fail_msg("%s\n%s", why, sql);
}

static void tricky_statements_agree_with_the_servers_scanner(void **state)
{
    (void)state;
    static const char *const corpus[] = {
        "SELECT 1, -2, 3.5, .5, 5., 1e10, 1.5E-3, 10 FROM t1 WHERE a=-1 AND b=@-1 OR c*-1>2",
        "SELECT a[1..2], a[1:2], x.y.z, 1..2, t.5, 1.5.5, $1.5",
        "SELECT 'a', 'it''s', '', '''', '''''', E'\\'', E'\\\\', E'a''b\\n', e'\\x41\\101\\u0041'",
        "SELECT $$a$$, $$$$, $a$ $$ $b$ $a$, $1, $2$$x$$, $_1$x$_1$, a$b$c, a$$b",
        "SELECT 1 /* /* nested ' */ \" */ + /**/ 2 -- 'x\n- 3",
        "SELECT 'a'\n'b', 'a'  \n\n  'b' -- x\n, 'a' 'b', E'a'\n'\\'', X'1'\n'f', U&'a'\n'b', N'a'\r'b'",
        "SELECT 'a' /* no */\n 'b', 'a'-1, 'a'--\n, 'a'- -1",
        "SELECT B'0101', X'1F', b'', N'x', n'y', U&'d\\0061t\\+000061', U&'d!0061' UESCAPE '!', U&\"d!61\" "
        "UESCAPE '!'",
        "SELECT \"a\", \"a\"\"b\", \"'\", \"--\", \"/*\", \"$$\", \"\xc3\xa4\", \xc3\xb6\xc3\xa4"
        "1, 'x\xc3\xa4'",
        "SELECT a::int, b::varchar(10), '1'::int, 1::text, array[1,2], ARRAY['a'::text]",
        "SELECT a+-b, a--b\n, a-/*x*/-b, a*/*x*/b, a/ *b, a<-1, a@>-1, a->'b', a->>1, a#>'{}', a?|b, +-+1",
        "INSERT INTO t VALUES (1,'a',2.0),(2,'b',3.0) ON CONFLICT DO NOTHING",
        "UPDATE pgbench_accounts SET abalance = abalance + -4377 WHERE aid = 3455;",
        "DO $do$ BEGIN PERFORM 1; PERFORM $q$ x $q$; END $do$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'; SELECT 3",
        "SELECT INTERVAL '1' DAY, DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00', 1 AS \"1\"",
        "SELECT e'x'e'y', E'x''y', _e'x', ee'x', b1'x'",
        "SELECT 1a",
        "SELECT 1e",
        "SELECT 1.5.e",
        "SELECT $1a",
        "SELECT 0x1F, 1_000",
        "SELECT $a",
        "SELECT \"\"",
        "SELECT\f1\f,\v2",
        "/* a */ /* b */",
        "",
        "COPY t FROM STDIN WITH (FORMAT csv, DELIMITER ',', QUOTE '\"', ESCAPE E'\\\\')",
    };
    for (size_t i = 0; i < N(corpus); i++)
        check_against_the_scanner(corpus[i]);
    for (size_t i = 0; i < N(fragments); i++)
        for (size_t j = 0; j < N(fragments); j++) {
            char sql[256];
            snprintf(sql, sizeof(sql), "%s%s", fragments[i], fragments[j]);
            check_against_the_scanner(sql);
        }
}

static void random_texts_agree_with_the_servers_scanner(void **state)
{
    (void)state;
    uint64_t random = 42;
    for (int round = 0; round < 60000; round++) {
        char sql[512] = "";
        size_t len = 0;
        for (int pieces = 1 + round % 12; pieces > 0; pieces--) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            const char *piece = fragments[(random >> 33) % N(fragments)];
            len += (size_t)snprintf(sql + len, sizeof(sql) - len, "%s", piece);
        }
        check_against_the_scanner(sql);
    }
}

/* What the parser makes of SELECT literal, NULL: an error. */
static const char *parsed_value(const char *sql)
{
    static char out[256];
    PgQueryProtobufParseResult r = pg_query_parse_protobuf(sql);
    const char *found = NULL;
    if (!r.error) {
        PgQuery__ParseResult *tree =
            pg_query__parse_result__unpack(NULL, r.parse_tree.len, (const uint8_t *)r.parse_tree.data);
        const PgQuery__AConst *c =
            tree->stmts[0]->stmt->select_stmt->target_list[0]->res_target->val->a_const;
        if (c->val_case == PG_QUERY__A__CONST__VAL_SVAL)
            snprintf(out, sizeof(out), "%s", c->sval->sval);
        else if (c->val_case == PG_QUERY__A__CONST__VAL_IVAL)
            snprintf(out, sizeof(out), "%d", c->ival->ival);
        else if (c->val_case == PG_QUERY__A__CONST__VAL_FVAL)
            snprintf(out, sizeof(out), "%s", c->fval->fval);
        else
            snprintf(out, sizeof(out), "?");
        found = out;
        pg_query__parse_result__free_unpacked(tree, NULL);
    }
    pg_query_free_protobuf_parse_result(r);
    return found;
}

static void values_are_those_that_the_parser_sees(void **state)
{
    (void)state;
    static const char *const literals[] = {
        "1",
        "0",
        "2147483648",
        "99999999999999999999",
        "1.50",
        ".5",
        "5.",
        "1e3",
        "'a'",
        "''",
        "''''",
        "'it''s'",
        "'a\\n'",
        "'a'\n'b'",
        "'a'\n  'b''c'\n''",
        "E'a\\nb\\tc\\rd\\be\\ff'",
        "E'\\x41\\x4a\\101\\7x'",
        "E'it\\'s ''x'''",
        "E'\\\\'",
        "e'\\q\\\"'",
        "E'\\u00e4\\u20AC\\U0001f600'",
        "E'\\ud83d\\ude00'",
        "E'\\uD83D\\U0000DE00'",
        "E'\\xg'",
        "E'\\x4'",
        "E'\\303\\244'",
        "E'a'\n'\\x41'",
        "E'\\\n'",
        "E'\\8'",
        "$$a'b\\n$$",
        "$$$$",
        "$x$a$$b$x$",
        "$x1_$$x$$x1_$",
        "E'\\141\\1412'",
        "E'\\x413'",
        "E'\\ud83d'",
        "E'\\ude00'",
        "E'\\ud83dx'",
        "E'\\u00'",
        "E'\\U00110000'",
        "E'\\u0000'",
        "E'\\U0000004'",
        "E'\\ud83d\\n'",
        "E'\\ud83d\\u0041'",
    };
    for (size_t i = 0; i < N(literals); i++) {
        char sql[256];
        snprintf(sql, sizeof(sql), "SELECT %s", literals[i]);
        const char *want = parsed_value(sql), *got = value(sql);
        if (!want != !got || (want && strcmp(want, got) != 0))
            fail_msg("%s: parser %s, lexer %s", sql, want ? want : "(error)", got ? got : "(none)");
    }
    assert_null(value("SELECT E'\\000'"));
    assert_null(value("SELECT E'\\x00'"));
    assert_null(value("SELECT E'\\400'"));
    assert_null(value("SELECT E'\\v'")); /* servers differ */
    assert_null(value("SELECT B'01'"));
    assert_null(value("SELECT X'01'"));
    assert_null(value("SELECT U&'a'"));
}

static void hash_is_that_of_the_template(void **state)
{
    (void)state;
    shown("SELECT a FROM t WHERE b = 1");
    uint64_t first = t.hash;
    shown("SELECT a  FROM t WHERE b = 234 ;");
    assert_true(t.hash == first);
    shown("SELECT a FROM t WHERE b = 1.0");
    assert_true(t.hash != first);
    shown("SELECT a FROM t WHERE b = 1; SELECT 2");
    assert_true(t.hash != first);
}

static void long_statements_grow_the_template(void **state)
{
    (void)state;
    struct buf sql;
    buf_init(&sql);
    buf_str(&sql, "INSERT INTO t VALUES (0)");
    for (int i = 1; i < 5000; i++)
        buf_printf(&sql, ",(%d)", i);
    assert_int_equal(template_lex(&t, buf_slice(&sql), &error), STATUS_OK);
    assert_int_equal(t.n_literals, 5000);
    struct buf v;
    buf_init(&v);
    for (uint32_t i = 0; i < 5000; i++) {
        assert_true(template_literal_value(&t, i, &v));
        buf_u8(&v, 0);
        assert_int_equal(atoi((const char *)buf_head(&v)), i);
    }
    buf_free(&v);
    buf_free(&sql);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(masks_each_kind_of_literal),
        TEST(string_goes_on_behind_a_line_comment),
        TEST(keeps_identifiers_byte_for_byte),
        TEST(white_space_and_comments_become_one_blank),
        TEST(statement_ends_before_its_semicolon),
        TEST(body_in_sql_is_one_statement),
        TEST(reports_the_first_hint),
        TEST(refuses_what_could_be_taken_for_a_mask),
        TEST(escape_character_of_an_identifier_is_part_of_the_template),
        TEST(unterminated_tokens_are_worded_as_the_server_words_them),
        TEST(tricky_statements_agree_with_the_servers_scanner),
        TEST(random_texts_agree_with_the_servers_scanner),
        TEST(values_are_those_that_the_parser_sees),
        TEST(hash_is_that_of_the_template),
        TEST(long_statements_grow_the_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
