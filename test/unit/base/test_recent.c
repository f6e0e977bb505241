/* base/recent.h */
#include "base/recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t n_alive;

static void free_value(void *value)
{
    n_alive--;
    free(value);
}

static struct slice key_of(int i)
{
    static char key[2][16];
    static int turn;
    turn ^= 1;
    snprintf(key[turn], sizeof key[turn], "k%d", i);
    return slice_str(key[turn]);
}

static void put(struct recent *r, int i)
{
    int *value = malloc(sizeof *value);
    *value = i;
    n_alive++;
    recent_put(r, key_of(i), value);
}

static bool has(struct recent *r, int i)
{
    int *value = recent_get(r, key_of(i));
    return value && *value == i;
}

static void what_is_asked_for_stays(void **state)
{
    struct recent r;
    (void)state;
    recent_init(&r, 100, free_value);
    put(&r, -1);
    for (int i = 0; i < 10000; i++) {
        if (i % 40 == 0)
            assert_true(has(&r, -1));
        put(&r, i);
        assert_true(recent_count(&r) <= 102);
        assert_int_equal(recent_count(&r), n_alive);
        assert_true(has(&r, i));
    }
    assert_true(has(&r, -1));
    assert_false(has(&r, 0));
    recent_clear(&r);
    assert_int_equal(n_alive, 0);
    assert_int_equal(recent_count(&r), 0);
    put(&r, 1);
    assert_true(has(&r, 1));
    recent_clear(&r);
}

static void what_is_not_asked_for_goes(void **state)
{
    struct recent r;
    (void)state;
    recent_init(&r, 100, free_value);
    for (int i = 0; i < 100; i++)
        put(&r, i);
    for (int i = 50; i < 100; i++)
        assert_true(has(&r, i));
    for (int i = 100; i < 151; i++)
        put(&r, i);
    for (int i = 0; i < 50; i++)
        assert_false(has(&r, i));
    recent_clear(&r);
}

/* All of a hundred are in use: asking moves them, and frees none. */
static void asking_forgets_nothing(void **state)
{
    struct recent r;
    int *values[100];
    (void)state;
    recent_init(&r, 100, free_value);
    for (int i = 0; i < 100; i++)
        put(&r, i);
    for (int i = 0; i < 100; i++)
        values[i] = recent_get(&r, key_of(i));
    for (int i = 0; i < 100; i++)
        assert_int_equal(*values[i], i);
    put(&r, 100);
    for (int i = 0; i < 100; i++)
        assert_true(has(&r, i));
    recent_clear(&r);
    assert_int_equal(n_alive, 0);
}

/* Whoever asks for everything all the time does not make it grow. */
static void there_are_never_more_than_twice_as_many(void **state)
{
    struct recent r;
    (void)state;
    recent_init(&r, 100, free_value);
    for (int i = 0; i < 2000; i++) {
        put(&r, i);
        for (int k = 0; k <= i; k++)
            (void)recent_get(&r, key_of(k));
        assert_true(recent_count(&r) <= 200);
    }
    recent_clear(&r);
}

static void values_may_be_the_callers(void **state)
{
    struct recent r;
    (void)state;
    recent_init(&r, 2, NULL);
    recent_put(&r, slice_str("a"), (void *)(uintptr_t)1);
    recent_put(&r, slice_str("b"), (void *)(uintptr_t)2);
    assert_int_equal((uintptr_t)recent_get(&r, slice_str("a")), 1);
    recent_put(&r, slice_str("c"), (void *)(uintptr_t)3);
    assert_int_equal((uintptr_t)recent_get(&r, slice_str("a")), 1);
    recent_clear(&r);
    assert_null(recent_get(&r, slice_str("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_for_stays),
        cmocka_unit_test(what_is_not_asked_for_goes),
        cmocka_unit_test(asking_forgets_nothing),
        cmocka_unit_test(there_are_never_more_than_twice_as_many),
        cmocka_unit_test(values_may_be_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
