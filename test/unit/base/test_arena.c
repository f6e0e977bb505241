/* base/arena.h */
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void allocations_are_aligned_and_distinct(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    uint8_t *p[300];
    for (size_t i = 0; i < 300; i++) {
        p[i] = arena_alloc(&a, i);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal(p[i][j], i & 0xff);
    assert_ptr_not_equal(p[0], p[1]);
    assert_true(a.used_bytes >= 300 * 299 / 2);
    arena_free(&a);
}

static void large_allocation_does_not_spoil_the_current_block(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *before = arena_alloc(&a, 16);
    char *large = arena_alloc(&a, 1 << 20);
    memset(large, 7, 1 << 20);
    char *after = arena_alloc(&a, 16);
    assert_ptr_equal(after, before + 16);
    arena_free(&a);
}

static void large_first_allocation_works(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    memset(arena_alloc(&a, 300000), 1, 300000);
    memset(arena_alloc(&a, 10), 2, 10);
    arena_reset(&a);
    memset(arena_alloc(&a, 300000), 1, 300000);
    arena_free(&a);
}

static void reset_empties_and_reuses_a_block(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    void *first = arena_alloc(&a, 100);
    arena_reset(&a);
    assert_int_equal(a.used_bytes, 0);
    assert_ptr_equal(arena_alloc(&a, 100), first);

    for (int i = 0; i < 1000; i++)
        arena_alloc(&a, 1000);
    arena_reset(&a);
    void *kept = arena_alloc(&a, 60000); /* fits the block that was kept: the largest */
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 60000), kept);
    arena_free(&a);
    assert_null(a.blocks);
    arena_alloc(&a, 1); /* usable again */
    arena_free(&a);
}

static void zalloc_zeroes_reused_memory(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    memset(arena_alloc(&a, 64), 0xff, 64);
    arena_reset(&a);
    uint8_t *p = arena_zalloc(&a, 64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(p[i], 0);
    arena_free(&a);
}

static void strings_are_copied_and_terminated(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char text[] = "shard";
    char *dup = arena_strdup(&a, text);
    char *ndup = arena_strndup(&a, text, 2);
    struct slice copy = arena_slice(&a, slice_str(text));
    struct slice empty = arena_slice(&a, slice_of(NULL, 0));
    text[0] = 'X';
    assert_string_equal(dup, "shard");
    assert_string_equal(ndup, "sh");
    assert_true(slice_eq_str(copy, "shard"));
    assert_int_equal(empty.len, 0);
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    assert_string_equal(arena_printf(&a, "%s-%d", "s", 12), "s-12");
    char *wide = arena_printf(&a, "%3000d", 1);
    assert_int_equal(strlen(wide), 3000);
    arena_free(&a);
}

static void heap_helpers_accept_zero(void **state)
{
    (void)state;
    void *p = xmalloc(0);
    assert_non_null(p);
    p = xrealloc(p, 0);
    assert_non_null(p);
    p = xrealloc(p, 100);
    free(p);
    p = xcalloc(0, 8);
    assert_non_null(p);
    free(p);
    char *s = xstrndup("abcdef", 3);
    assert_string_equal(s, "abc");
    free(s);
    s = xstrdup("xyz");
    assert_string_equal(s, "xyz");
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_distinct),
        cmocka_unit_test(large_allocation_does_not_spoil_the_current_block),
        cmocka_unit_test(large_first_allocation_works),
        cmocka_unit_test(reset_empties_and_reuses_a_block),
        cmocka_unit_test(zalloc_zeroes_reused_memory),
        cmocka_unit_test(strings_are_copied_and_terminated),
        cmocka_unit_test(heap_helpers_accept_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
