/* "Did you mean": a slip of the same word is recognised, another word is not. */
#include "support.h"

#include "../../../src/conf/suggest.h"

static const char *best(const char *word, const char *const *candidates)
{
    struct suggest s;
    suggest_init(&s, word);
    for (; *candidates; candidates++)
        suggest_offer(&s, *candidates);
    return s.best ? s.best : "";
}

static void nearest_name_is_suggested(void **state)
{
    (void)state;
    static const char *const names[] = {"pool_mode", "pool_size", "listen_port", "listen_addr", NULL};
    assert_string_equal(best("pool_mod", names), "pool_mode");
    assert_string_equal(best("pool_szie", names), "pool_size"); /* neighbours swapped */
    assert_string_equal(best("LISTEN_PORT", names), "listen_port");
    assert_string_equal(best("listn_prt", names), "listen_port");
    assert_string_equal(best("completely_else", names), "");
    assert_string_equal(best("", names), "");
}

static void short_names_are_not_replaced_by_any_other(void **state)
{
    (void)state;
    static const char *const shards[] = {"s0", "s1", "x", NULL};
    assert_string_equal(best("s9", shards), "s0");
    assert_string_equal(best("q", shards), "");
    assert_string_equal(best("ab", shards), "");
}

static void overlong_words_get_no_suggestion(void **state)
{
    (void)state;
    char word[300];
    memset(word, 'a', sizeof word);
    word[299] = '\0';
    const char *const same[] = {word, NULL};
    assert_string_equal(best(word, same), "");
    char text[8]; /* cut, not overrun */
    struct suggest s = {.word = "a", .best = "abcdefghijkl"};
    assert_int_equal(strlen(suggest_text(&s, text, sizeof text)), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nearest_name_is_suggested),
        cmocka_unit_test(short_names_are_not_replaced_by_any_other),
        cmocka_unit_test(overlong_words_get_no_suggestion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
