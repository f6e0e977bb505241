/* wire/frame.h */
#include "wire/frame.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* A Query message "SELECT 1", and one byte of the next message. */
static const uint8_t query[] = {'Q', 0, 0, 0, 13, 'S', 'E', 'L', 'E', 'C', 'T', ' ', '1', 0, 'X'};
#define QUERY_BYTES (sizeof(query) - 1)

static void whole_message_is_found_and_no_more(void **state)
{
    (void)state;
    struct frame f;
    size_t need;
    assert_int_equal(frame_next(slice_of(query, sizeof(query)), 1000, &f, &need), FRAME_OK);
    assert_int_equal(f.type, 'Q');
    assert_int_equal(f.whole.len, QUERY_BYTES);
    assert_ptr_equal(f.whole.data, query);
    assert_int_equal(f.body.len, 9);
    assert_string_equal((const char *)f.body.data, "SELECT 1");
}

static void every_prefix_is_partial(void **state)
{
    (void)state;
    for (size_t n = 0; n < QUERY_BYTES; n++) {
        struct frame f;
        size_t need;
        /* An exact copy, so that a sanitizer sees a byte read too far. */
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, query, n);
        assert_int_equal(frame_next(slice_of(n ? copy : NULL, n), 1000, &f, &need), FRAME_PARTIAL);
        assert_int_equal(need, n < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : QUERY_BYTES);
        if (n >= FRAME_HEADER_BYTES)
            assert_int_equal(f.type, 'Q');
        free(copy);
    }
}

static void empty_body_is_whole(void **state)
{
    (void)state;
    const uint8_t sync[] = {'S', 0, 0, 0, 4};
    struct frame f;
    size_t need;
    assert_int_equal(frame_next(slice_of(sync, 5), 4, &f, &need), FRAME_OK);
    assert_int_equal(f.body.len, 0);
    assert_non_null(f.body.data);
}

static void length_below_its_own_size_is_bad(void **state)
{
    (void)state;
    for (uint8_t length = 0; length < 4; length++) {
        const uint8_t m[] = {'S', 0, 0, 0, length, 0, 0, 0};
        struct frame f;
        size_t need;
        assert_int_equal(frame_next(slice_of(m, sizeof(m)), 1000, &f, &need), FRAME_BAD);
    }
}

static void length_above_the_limit_is_bad_before_the_body_is_there(void **state)
{
    (void)state;
    const uint8_t m[] = {'Q', 0, 0, 0, 13};
    const uint8_t huge[] = {'Q', 0xff, 0xff, 0xff, 0xff};
    struct frame f;
    size_t need;
    assert_int_equal(frame_next(slice_of(m, 5), 12, &f, &need), FRAME_BAD);
    assert_int_equal(frame_next(slice_of(m, 5), 13, &f, &need), FRAME_PARTIAL);
    assert_int_equal(need, 14);
    assert_int_equal(frame_next(slice_of(huge, 5), INT32_MAX, &f, &need), FRAME_BAD);
    /* Allowed, it does not wrap around. */
    assert_int_equal(frame_next(slice_of(huge, 5), UINT32_MAX, &f, &need), FRAME_PARTIAL);
    assert_true(need == (size_t)UINT32_MAX + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_message_is_found_and_no_more),
        cmocka_unit_test(every_prefix_is_partial),
        cmocka_unit_test(empty_body_is_whole),
        cmocka_unit_test(length_below_its_own_size_is_bad),
        cmocka_unit_test(length_above_the_limit_is_bad_before_the_body_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
