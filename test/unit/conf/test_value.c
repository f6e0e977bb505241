/* Numbers, times and sizes are read and written exactly. */
#include "support.h"

#include "../../../src/conf/value.h"

static void times_take_units_and_plain_numbers_are_seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t us;
    } good[] = {
        {"0", 0},
        {"15", 15000000},
        {"1.5", 1500000},
        {"10us", 10},
        {"250 ms", 250000},
        {"1s", 1000000},
        {"2min", 120000000},
        {"1h", 3600000000},
        {"1d", 86400000000},
        {"0.5ms", 500},
        {"1.5h", 5400000000},
        {"007s", 7000000},
    };
    static const char *const bad[] = {"",
                                      "-1",
                                      "1x",
                                      "s",
                                      "1 s s",
                                      "1e3",
                                      "0x10",
                                      "1.",
                                      ".5",
                                      "0.5us",
                                      "1s ",
                                      "+1",
                                      "1m",
                                      "nan",
                                      "inf",
                                      "1,5",
                                      " 1",
                                      "0.0000001",
                                      "99999999999999999999",
                                      "9223372036854775807d",
                                      "0.1234567"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t us = 42;
        assert_true(value_time(good[i].text, US_PER_S, &us));
        assert_int_equal(us, good[i].us);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t us = 42;
        if (value_time(bad[i], US_PER_S, &us))
            fail_msg("\"%s\" was taken for a time", bad[i]);
        assert_int_equal(us, 42);
    }
}

static void sizes_take_units_of_1024(void **state)
{
    (void)state;
    uint64_t n;
    assert_true(value_size("256MB", &n) && n == 256 << 20);
    assert_true(value_size("64 kb", &n) && n == 64 << 10);
    assert_true(value_size("1.5GB", &n) && n == UINT64_C(3) << 29);
    assert_true(value_size("100", &n) && n == 100);
    assert_true(value_size("7B", &n) && n == 7);
    assert_false(value_size("1TB", &n));
    assert_false(value_size("0.3kB", &n));
    assert_false(value_size("9999999999GB", &n));
}

static void integers_do_not_overflow(void **state)
{
    (void)state;
    int64_t n;
    assert_true(value_int("9223372036854775807", &n) && n == INT64_MAX);
    assert_false(value_int("9223372036854775808", &n));
    assert_true(value_int("-5", &n) && n == -5);
    assert_false(value_int("5 ", &n));
    assert_false(value_int("-", &n));
    assert_true(value_octal("0777", &n) && n == 0777);
    assert_false(value_octal("0778", &n));
}

static void switches_have_four_spellings(void **state)
{
    (void)state;
    bool b;
    assert_true(value_bool("on", &b) && b);
    assert_true(value_bool("YES", &b) && b);
    assert_true(value_bool("0", &b) && !b);
    assert_true(value_bool("False", &b) && !b);
    assert_false(value_bool("2", &b));
    assert_false(value_bool("", &b));
}

static void expect_text(struct buf *b, const char *expected)
{
    buf_u8(b, 0);
    assert_string_equal((const char *)buf_head(b), expected);
    buf_clear(b);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    static const uint64_t values[] = {
        0, 1, 999, 1000, 1500000, 90 * US_PER_S, US_PER_H, 3 * US_PER_D, 86399999999};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint64_t us;
        value_format_time(&b, values[i]);
        buf_u8(&b, 0);
        assert_true(value_time((const char *)buf_head(&b), US_PER_S, &us));
        assert_int_equal(us, values[i]);
        buf_clear(&b);
        value_format_seconds(&b, values[i]);
        buf_u8(&b, 0);
        assert_true(value_time((const char *)buf_head(&b), US_PER_S, &us));
        assert_int_equal(us, values[i]);
        buf_clear(&b);
    }
    value_format_time(&b, 90 * US_PER_S);
    expect_text(&b, "90s");
    value_format_seconds(&b, 50000);
    expect_text(&b, "0.05");
    value_format_size(&b, 256 << 20);
    expect_text(&b, "256MB");
    value_format_size(&b, 0);
    expect_text(&b, "0");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_take_units_and_plain_numbers_are_seconds),
        cmocka_unit_test(sizes_take_units_of_1024),
        cmocka_unit_test(integers_do_not_overflow),
        cmocka_unit_test(switches_have_four_spellings),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
