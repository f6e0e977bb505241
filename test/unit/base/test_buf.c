/* base/buf.h */
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void empty_buffer_owns_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_check(&b);
    assert_int_equal(buf_len(&b), 0);
    assert_null(buf_slice(&b).data);
    buf_append(&b, NULL, 0);
    buf_consume(&b, 0);
    assert_null(b.data);
    buf_free(&b);
}

static void integers_are_big_endian(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_u8(&b, 0x01);
    buf_u16(&b, 0x0203);
    buf_u32(&b, 0x04050607);
    const uint8_t want[] = {1, 2, 3, 4, 5, 6, 7};
    assert_int_equal(buf_len(&b), sizeof(want));
    assert_memory_equal(buf_head(&b), want, sizeof(want));
    buf_consume(&b, 1);
    buf_put_u32(&b, 2, 0xfffefdfc);
    assert_int_equal(load_u16(buf_head(&b)), 0x0203);
    assert_true(load_u32(buf_head(&b) + 2) == 0xfffefdfc);
    const uint8_t eight[] = {0xff, 1, 2, 3, 4, 5, 6, 7};
    assert_true(load_u64(eight) == UINT64_C(0xff01020304050607));
    buf_free(&b);
}

static void emptied_buffer_rewinds(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_str(&b, "hello");
    uint8_t *first = buf_head(&b);
    buf_consume(&b, 2);
    assert_true(slice_eq_str(buf_slice(&b), "llo"));
    buf_consume(&b, 3);
    assert_int_equal(b.start, 0);
    buf_str(&b, "again");
    assert_ptr_equal(buf_head(&b), first);
    buf_clear(&b);
    assert_int_equal(buf_len(&b), 0);
    buf_free(&b);
}

/* A stream of bytes pushed through in uneven steps comes out unchanged, and the buffer does not grow without
 * end. */
static void bytes_survive_growing_and_moving(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    uint32_t written = 0, read = 0, seed = 12345;
    for (int round = 0; round < 5000; round++) {
        seed = seed * 1103515245 + 12345;
        size_t n = (seed >> 16) % 600;
        uint8_t *p = buf_reserve(&b, n);
        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)(written++ * 7);
        buf_added(&b, n);
        buf_check(&b);
        seed = seed * 1103515245 + 12345;
        size_t take = (seed >> 16) % 700;
        if (take > buf_len(&b))
            take = buf_len(&b);
        for (size_t i = 0; i < take; i++)
            assert_int_equal(buf_head(&b)[i], (uint8_t)(read++ * 7));
        buf_consume(&b, take);
    }
    assert_true(b.cap <= 1 << 20);
    buf_free(&b);
}

static void reserve_moves_instead_of_growing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_reserve(&b, 1000);
    size_t cap = b.cap;
    while (buf_len(&b) < cap)
        buf_u8(&b, (uint8_t)buf_len(&b));
    assert_int_equal(b.cap, cap);
    buf_consume(&b, cap - 10);
    buf_reserve(&b, cap - 10);
    assert_int_equal(b.cap, cap);
    assert_int_equal(b.start, 0);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(buf_head(&b)[i], (uint8_t)(cap - 10 + i));
    buf_free(&b);
}

static void texts_and_printf(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_cstr(&b, "ab");
    buf_slice_append(&b, slice_str("cd"));
    buf_printf(&b, "%d/%s", 42, "x");
    assert_int_equal(buf_len(&b), 9);
    assert_memory_equal(buf_head(&b), "ab\0cd42/x", 9);
    buf_clear(&b);
    for (int width = 1; width < 2000; width += 37) {
        size_t before = buf_len(&b);
        buf_printf(&b, "%*d", width, 5);
        assert_int_equal(buf_len(&b), before + (size_t)width);
        assert_int_equal(buf_head(&b)[buf_len(&b) - 1], '5');
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_buffer_owns_nothing),
        cmocka_unit_test(integers_are_big_endian),
        cmocka_unit_test(emptied_buffer_rewinds),
        cmocka_unit_test(bytes_survive_growing_and_moving),
        cmocka_unit_test(reserve_moves_instead_of_growing),
        cmocka_unit_test(texts_and_printf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
