/*
 * The lexer as it is built for another machine, against the one of this build: they must agree on every
 * text, to the byte. The other one is compiled into the file that includes this one, under names of its own;
 * PGUNISON_PORTABLE or PGUNISON_SSE2 says which machine that is.
 */
#ifndef PGUNISON_TEST_TEMPLATE_TWIN_H
#define PGUNISON_TEST_TEMPLATE_TWIN_H

#define template_init       twin_template_init
#define template_free       twin_template_free
#define template_lex        twin_template_lex
#define template_bytes      twin_template_bytes
#define template_shrink     twin_template_shrink
#define lex_check           twin_lex_check
#define lex_statement       twin_lex_statement
#define lex_class           twin_lex_class
#define lex_skip_comment    twin_lex_skip_comment
#define lex_skip_blank      twin_lex_skip_blank
#define lex_continuation    twin_lex_continuation
#define lex_skip_identifier twin_lex_skip_identifier
#define lex_word_is         twin_lex_word_is
#define lexer_fail          twin_lexer_fail
#define lexer_first_output  twin_lexer_first_output
#define lexer_grow_text     twin_lexer_grow_text
#define lexer_grow_literals twin_lexer_grow_literals
#define lexer_mask_any      twin_lexer_mask_any
#define lexer_number_any    twin_lexer_number_any
#define lexer_string        twin_lexer_string
#define lexer_dollar        twin_lexer_dollar
#define lexer_unicode       twin_lexer_unicode
#define lexer_prefixed      twin_lexer_prefixed
#define lexer_at_stop       twin_lexer_at_stop
#define lexer_long_sse2     twin_lexer_long_sse2
#include "../../../src/sql/lex.c"
#include "../../../src/sql/lex_literal.c"
#include "../../../src/sql/lex_long.c"
#include "../../../src/sql/template.c"
#undef template_init
#undef template_free
#undef template_lex

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

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

static const char list_tail[] = ",1,22,333,'a','bc',x.y,(7,'t',8),-9,\n\"z\",1.5,'it''s'||'s', 12345678, "
                                "1,22,333,'a','bc',x.y,(7,'t',8),-9,\n\"z\",1.5,'it''s'||'s', 12345678, "
                                "1,22,333,'a','bc',x.y,(7,'t',8),-9,\n\"z\",1.5,'it''s'||'s', 12345678, "
                                "1,22,333,'a','bc',x.y,(7,'t',8),-9,\n\"z\",1.5,'it''s'||'s', 12345678";

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
        const char *piece = pieces[random_below(N(pieces))];
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

/* Mostly from `common`; in every fourth text nothing else. */
static size_t make_list(uint8_t *text, size_t room)
{
    static const char *const common[] = {
        "1",
        "22",
        "4444",
        "12345678",
        "0.5",
        "12.",
        "'ab'",
        "''",
        "'it''s'",
        "'a, b'",
        "NULL",
        "col_1",
        "t.c",
        "\"q\"",
        "a = 7",
        "-1",
        "::int",
        "$1",
        ",",
        ", ",
        "()",
        "(1)",
        " ",
        " = ",
        "(33),\n(4, 5)",
        "\n  ",
        "'abcdefghijklmnopqrs'",
    };
    size_t len = 0, odd = random_below(4) ? 1 + random_below(60) : 1000000;
    for (size_t left = 40 + random_below(360); left > 0; left--) {
        const char *piece =
            random_below(odd) == 0 ? pieces[random_below(N(pieces))] : common[random_below(N(common))];
        size_t n = strlen(piece);
        bool separated = random_below(3) > 0;
        if (len + n + 1 > room)
            break;
        memcpy(text + len, piece, n);
        len += n;
        if (separated)
            text[len++] = ',';
    }
    return len;
}

static bool same(const struct template *a, const struct template *b)
{
    if (!slice_eq(buf_slice(&a->text), buf_slice(&b->text)) || a->hash != b->hash ||
        a->several != b->several || a->statement.len != b->statement.len || !slice_eq(a->hint, b->hint) ||
        a->n_literals != b->n_literals)
        return false;
    for (uint32_t i = 0; i < a->n_literals; i++) {
        const struct literal *x = &a->literals[i], *y = &b->literals[i];
        if (x->at != y->at || x->len != y->len || x->template_at != y->template_at || x->kind != y->kind)
            return false;
    }
    return true;
}

struct twins {
    struct template t, twin;
};

/* The text lies at the very end of its memory, so that AddressSanitizer sees who reads on. */
static bool twins_accept(struct twins *w, const void *text, size_t len)
{
    struct error error = {0}, twin_error = {0};
    uint8_t *sql = xmalloc(len);
    memcpy(sql, text, len);
    enum status status = template_lex(&w->t, slice_of(sql, len), &error);
    enum status twin_status = twin_template_lex(&w->twin, slice_of(sql, len), &twin_error);
    if (status != twin_status || (status == STATUS_OK && !same(&w->t, &w->twin)) ||
        strcmp(error.message, twin_error.message) != 0)
        fail_msg("%.*s\n%s\n%s", (int)len, (const char *)text, error.message, twin_error.message);
    free(sql);
    return status == STATUS_OK;
}

static int set_up(void **state)
{
    static struct twins w;
    template_init(&w.t);
    template_init(&w.twin);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct twins *w = *state;
    template_free(&w->t);
    template_free(&w->twin);
    return 0;
}

static void twins_agree_on_random_texts(void **state)
{
    uint8_t text[2048];
    size_t accepted = 0;
    for (int i = 0; i < 200000; i++)
        accepted += twins_accept(*state, text, make_text(text, sizeof(text)));
    assert_true(accepted > 50000);
}

/* Long texts that are mostly lists, as they are looked at in whole windows, with anything in between. */
static void twins_agree_on_random_lists(void **state)
{
    uint8_t text[2048];
    size_t accepted = 0;
    for (int i = 0; i < 100000; i++)
        accepted += twins_accept(*state, text, make_list(text, sizeof(text)));
    assert_true(accepted > 50000);
}

/* Every place of a token in a window, and every length of what follows the last whole block. */
static void twins_agree_at_every_offset(void **state)
{
    static const char *const tokens[] = {"42",    ".5",    "a1",    "$1", "'x'", "e'\\''",
                                         "\"q\"", "/*c*/", "--c\n", "  ", ";",   "-"};
    char sql[256];
    for (size_t i = 0; i < N(tokens); i++) {
        for (int before = 0; before < 140; before++) {
            for (int after = 0; after < 20; after++) {
                int len = snprintf(
                    sql, sizeof(sql), "%.*s %s %.*s", before,
                    "select columns from some_table where some_column = another_column and a_third_column = "
                    "a_fourth_column or the_last_column = nothing_more",
                    tokens[i], after, "and some more of it ");
                assert_true(twins_accept(*state, sql, (size_t)len));
            }
        }
    }
}

/* Two tokens that touch, at every place of a window of a long text. */
static void twins_agree_on_every_pair_in_a_list(void **state)
{
    size_t accepted = 0;
    for (size_t i = 0; i < N(pieces); i++) {
        for (size_t k = 0; k < N(pieces); k++) {
            for (int before = 0; before < 66; before++) {
                char sql[1024];
                int len = snprintf(sql, sizeof(sql), "%.*s%s%s%s", before,
                                   "(1,'ab', 33) , (444, 'a longer string of text' ,5.5), b = 6 and cde=",
                                   pieces[i], pieces[k], list_tail);
                accepted += twins_accept(*state, sql, (size_t)len);
            }
        }
    }
    assert_true(accepted > 100000);
}

/* Every byte next to numbers and strings, at every place of a window. */
static void twins_agree_on_every_byte_in_a_list(void **state)
{
    size_t accepted = 0;
    for (int byte = 1; byte < 256; byte++) {
        for (int before = 0; before < 66; before++) {
            char sql[1024];
            int len = snprintf(sql, sizeof(sql), "%.*s,%c1,2%c,3.%c,%c'x','y'%c%s%s", before,
                               "(1,'ab', 33) , (444, 'a longer string of text' ,5.5), b = 6 and cde=", byte,
                               byte, byte, byte, byte, list_tail, list_tail);
            accepted += twins_accept(*state, sql, (size_t)len);
        }
    }
    assert_true(accepted > 5000);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(twins_agree_on_random_texts),         TEST(twins_agree_on_random_lists),
        TEST(twins_agree_at_every_offset),         TEST(twins_agree_on_every_pair_in_a_list),
        TEST(twins_agree_on_every_byte_in_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
