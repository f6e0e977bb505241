/*
 * The lexer as it is built for machines without SSE2, against the one of this build: they must agree on
 * every text, to the byte. The portable one is compiled into this file, under names of its own.
 */
#define PGUNISON_PORTABLE
#define template_init       portable_template_init
#define template_free       portable_template_free
#define template_lex        portable_template_lex
#define lex_statement       portable_lex_statement
#define lex_class           portable_lex_class
#define lex_skip_comment    portable_lex_skip_comment
#define lex_skip_blank      portable_lex_skip_blank
#define lex_continuation    portable_lex_continuation
#define lex_skip_identifier portable_lex_skip_identifier
#define lex_word_is         portable_lex_word_is
#define lexer_fail          portable_lexer_fail
#define lexer_first_output  portable_lexer_first_output
#define lexer_grow_text     portable_lexer_grow_text
#define lexer_grow_literals portable_lexer_grow_literals
#define lexer_mask_any      portable_lexer_mask_any
#define lexer_number_any    portable_lexer_number_any
#define lexer_string        portable_lexer_string
#define lexer_dollar        portable_lexer_dollar
#define lexer_unicode       portable_lexer_unicode
#define lexer_prefixed      portable_lexer_prefixed
#include "../../../src/sql/lex.c"
#include "../../../src/sql/lex_literal.c"
#include "../../../src/sql/template.c"
#undef template_init
#undef template_free
#undef template_lex

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

void template_init(struct template *t);
void template_free(struct template *t);
enum status template_lex(struct template *t, struct slice sql, struct error *error_r);

/* Where the lexer's decisions are: what begins and ends tokens, and what looks as if it did. Parentheses
   come in pairs: in a text that leaves one open, which no parser takes, a last semicolon may belong to the
   template or not. */
static const char *const pieces[] = {
    "SELECT",
    "a",
    "t1",
    "col_12",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "-",
    "--",
    "--x\n",
    "/",
    "/*",
    "*/",
    "/*x*/",
    "/* pgunison: key=1 */",
    ";",
    "'",
    "''",
    "'abc'",
    "'it''s'",
    "E'a\\'b'",
    "e'",
    "\\",
    "\"",
    "\"q\"\"x\"",
    "U&\"d!0061\" UESCAPE '!'",
    "u&'x'",
    "U&",
    "uescape",
    "B'01'",
    "x'1f'",
    "N'x'",
    "$",
    "$1",
    "$12",
    "$$",
    "$$a'b$$",
    "$t$",
    "$t$ x $t$",
    "a$1",
    "1",
    "12345",
    "123456789012345678901234567890",
    ".",
    "..",
    ".5",
    "1.5",
    "1.",
    "1e10",
    "1e",
    "1E+5",
    "1..2",
    "0x1F",
    "1_000",
    "(a;b)",
    "(1, 2.5)",
    "()",
    ",",
    "= ",
    "<>",
    "::int",
    "{",
    "}",
    "[",
    "~",
    "@",
    "#",
    "%",
    "&",
    "!",
    "|",
    "?",
    "^",
    "`",
    ":",
    "_",
    "\xc3\xa9",
    "\xff",
    "\v",
    "\f",
    "\x01",
    "\x7f",
    "BEGIN",
    "CREATE FUNCTION f()",
    "end",
    "case",
    "as",
    "END;",
    "'a'\n'b'",
    "'a' --c\n 'b'",
    "a''",
    "WHERE id = 42 AND b = 'x'",
    "pgbench_accounts",
    "7, 1, 8231, -4377, ",
    "a rather long string of plain text ",
};

static uint64_t random_state = 88172645463325252U;

static size_t random_below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % n);
}

static size_t make_text(uint8_t *text, size_t room)
{
    size_t len = 0;
    for (size_t left = 1 + random_below(random_below(8) ? 15 : 80); left > 0; left--) {
        const char *piece = pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))];
        size_t n = strlen(piece);
        if (len + n > room)
            break;
        memcpy(text + len, piece, n);
        len += n;
    }
    uint8_t *changed = &text[random_below(len)], byte = (uint8_t)random_below(256);
    if (random_below(8) == 0 && !memchr("()", *changed, 2) && !memchr("()", byte, 2))
        *changed = byte;
    return len;
}

static void assert_same(const struct template *a, const struct template *b)
{
    assert_true(slice_eq(buf_slice(&a->text), buf_slice(&b->text)));
    assert_true(a->hash == b->hash && a->several == b->several);
    assert_true(a->statement.len == b->statement.len);
    assert_true(slice_eq(a->hint, b->hint));
    assert_int_equal(a->n_literals, b->n_literals);
    for (uint32_t i = 0; i < a->n_literals; i++) {
        const struct literal *x = &a->literals[i], *y = &b->literals[i];
        assert_true(x->at == y->at && x->len == y->len && x->template_at == y->template_at &&
                    x->kind == y->kind);
    }
}

/* Texts lie at the very end of their memory, so that AddressSanitizer sees who reads on. */
static void portable_lexer_agrees_on_random_texts(void **state)
{
    struct template t, portable;
    uint8_t text[2048];
    size_t accepted = 0;
    (void)state;
    template_init(&t);
    template_init(&portable);
    for (int i = 0; i < 200000; i++) {
        struct error error = {0}, portable_error = {0};
        size_t len = make_text(text, sizeof(text));
        uint8_t *sql = xmalloc(len);
        memcpy(sql, text, len);
        enum status status = template_lex(&t, slice_of(sql, len), &error);
        assert_int_equal(portable_template_lex(&portable, slice_of(sql, len), &portable_error), status);
        assert_string_equal(error.message, portable_error.message);
        if (status == STATUS_OK)
            assert_same(&t, &portable);
        accepted += status == STATUS_OK;
        free(sql);
    }
    assert_true(accepted > 50000);
    template_free(&t);
    template_free(&portable);
}

/* Every place of a token in a window, and every length of what follows the last whole block. */
static void portable_lexer_agrees_at_every_offset(void **state)
{
    static const char *const tokens[] = {"42",    ".5",    "a1",    "$1", "'x'", "e'\\''",
                                         "\"q\"", "/*c*/", "--c\n", "  ", ";",   "-"};
    struct template t, portable;
    struct error error;
    char sql[256];
    (void)state;
    template_init(&t);
    template_init(&portable);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        for (int before = 0; before < 140; before++) {
            for (int after = 0; after < 20; after++) {
                int len = snprintf(
                    sql, sizeof(sql), "%.*s %s %.*s", before,
                    "select columns from some_table where some_column = another_column and a_third_column = "
                    "a_fourth_column or the_last_column = nothing_more",
                    tokens[i], after, "and some more of it ");
                assert_int_equal(template_lex(&t, slice_of(sql, (size_t)len), &error), STATUS_OK);
                assert_int_equal(portable_template_lex(&portable, slice_of(sql, (size_t)len), &error),
                                 STATUS_OK);
                assert_same(&t, &portable);
            }
        }
    }
    template_free(&t);
    template_free(&portable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(portable_lexer_agrees_on_random_texts),
        cmocka_unit_test(portable_lexer_agrees_at_every_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
