/* base/quote.h */
#include "base/quote.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <libpq-fe.h>

static void assert_quoted(void (*quote)(struct buf *, struct slice), const char *text, const char *expected)
{
    struct buf b;
    buf_init(&b);
    quote(&b, slice_str(text));
    buf_u8(&b, 0);
    assert_string_equal((const char *)buf_head(&b), expected);
    buf_free(&b);
}

static void literals_end_where_the_text_ends(void **state)
{
    (void)state;
    assert_quoted(quote_literal, "", "''");
    assert_quoted(quote_literal, "public, \"$user\"", "'public, \"$user\"'");
    assert_quoted(quote_literal, "it's", "'it''s'");
    assert_quoted(quote_literal, "a\\'; drop table x; --", "E'a\\x5c''; drop table x; --'");
    assert_quoted(quote_literal, "$a$ \" $a$; drop table public.x; --",
                  "'$a$ \" $a$; drop table public.x; --'");
}

static void a_backslash_that_is_half_a_character_leaves_no_escape(void **state)
{
    (void)state;
    /* SJIS: 81 5c is one character; what is left of the escape is x5c, and the quote stays doubled */
    assert_quoted(quote_literal, "\x81\\'", "E'\x81\\x5c'''");
}

/* The server reads characters by the encoding, and converts them before its lexer looks: what stays of a hostile text must
   still end where the quoting ends. A pair whose second byte is a quote is in none of them; the server refuses it. */
static void no_encoding_hides_the_end(void **state)
{
    static const char *const encodings[] = {
        "SJIS",   "SHIFT_JIS_2004", "BIG5",         "GBK",    "UHC",    "GB18030",       "JOHAB", "EUC_JP",
        "EUC_CN", "EUC_KR",         "EUC_JIS_2004", "EUC_TW", "LATIN1", "MULE_INTERNAL", "UTF8"};
    struct buf b;
    (void)state;
    buf_init(&b);
    for (size_t e = 0; e < sizeof encodings / sizeof encodings[0]; e++) {
        int encoding = pg_char_to_encoding(encodings[e]);
        assert_true(encoding >= 0);
        for (int lead = 0x80; lead < 0x100; lead++) {
            const char text[] = {(char)lead, '\\', '\\', 'x', '\'', ';', 0};
            buf_clear(&b);
            quote_literal(&b, slice_str(text));
            buf_u8(&b, 0);
            const char *p = (const char *)buf_head(&b), *end = p + buf_len(&b) - 2;
            assert_true(p[0] == 'E' && *end == '\'');
            for (p += 2; p < end;) {
                int n = PQmblen(p, encoding);
                if (n == 1 && (*p == '\\' || *p == '\''))
                    n = 2; /* an escape, or a doubled quote */
                p += n;
            }
            assert_ptr_equal(p, end);
        }
    }
    buf_free(&b);
}

static void identifiers_are_always_quoted(void **state)
{
    (void)state;
    assert_quoted(quote_identifier, "user.order", "\"user.order\"");
    assert_quoted(quote_identifier, "a\"; drop table x; --\\", "\"a\"\"; drop table x; --\\\"");
}

static void a_zero_byte_ends_the_text(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    quote_literal(&b, slice_of("a\0'", 3));
    quote_identifier(&b, slice_of("b\0\"", 3));
    assert_int_equal(buf_len(&b), 6);
    assert_memory_equal(buf_head(&b), "'a'\"b\"", 6);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_end_where_the_text_ends),
        cmocka_unit_test(a_backslash_that_is_half_a_character_leaves_no_escape),
        cmocka_unit_test(no_encoding_hides_the_end),
        cmocka_unit_test(identifiers_are_always_quoted),
        cmocka_unit_test(a_zero_byte_ends_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
