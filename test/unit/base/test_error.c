/* base/error.h */
#include "base/error.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void set_fills_and_clears(void **state)
{
    (void)state;
    struct error e;
    memset(&e, 'x', sizeof(e));
    assert_int_equal(error_set(&e, SQLSTATE_INTERNAL, "bad %d", 7), STATUS_ERROR);
    assert_string_equal(e.sqlstate, "XX000");
    assert_string_equal(e.message, "bad 7");
    assert_string_equal(e.detail, "");
    assert_string_equal(e.hint, "");
    error_detail(&e, "because %s", "so");
    error_hint(&e, "do %s", "that");
    assert_string_equal(e.detail, "because so");
    assert_string_equal(e.hint, "do that");
    assert_string_equal(e.message, "bad 7");
}

static void an_error_can_be_wrapped_in_itself(void **state)
{
    (void)state;
    struct error e;
    (void)error_set(&e, SQLSTATE_SYNTAX_ERROR, "syntax error");
    (void)error_set(&e, e.sqlstate, "shard %s: %s", "s1", e.message);
    assert_string_equal(e.sqlstate, SQLSTATE_SYNTAX_ERROR);
    assert_string_equal(e.message, "shard s1: syntax error");
    error_detail(&e, "%s.", e.message);
    error_detail(&e, "(%s)", e.detail);
    assert_string_equal(e.detail, "(shard s1: syntax error.)");
}

/* Whatever offset the cut falls on, what is left is whole characters. */
static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x98"};
    for (size_t c = 0; c < 4; c++) {
        size_t width = strlen(characters[c]);
        for (size_t shift = 0; shift < 5; shift++) {
            char text[1000] = "";
            memset(text, 'x', shift);
            for (int i = 0; i < 150; i++)
                strcat(text, characters[c]);
            struct error e;
            (void)error_set(&e, SQLSTATE_INTERNAL, "%s", text);
            error_detail(&e, "%s", text);
            size_t len = strlen(e.message);
            size_t room = sizeof(e.message) - 1;
            size_t fit = strlen(text) <= room ? strlen(text) : shift + (room - shift) / width * width;
            assert_int_equal(len, fit);
            assert_memory_equal(e.message, text, len);
            room = sizeof(e.detail) - 1;
            fit = strlen(text) <= room ? strlen(text) : shift + (room - shift) / width * width;
            assert_int_equal(strlen(e.detail), fit);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_and_clears),
        cmocka_unit_test(an_error_can_be_wrapped_in_itself),
        cmocka_unit_test(long_texts_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
