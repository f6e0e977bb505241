/* src/backend/replies.h */
#include "../../../src/backend/replies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* What a server says in answer to something, as types; "." stands for the end of the answer, "!" for a violation at the
 * message before. */
static const struct {
    enum expect_kind kind;
    enum expect_copy copy;
    const char *said;
} conversations[] = {
    {EXPECT_QUERY, EXPECT_NO_COPY, "TDDCZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "TCZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "CZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "IZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "NSATNSADNSACNSAZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "TDTDCZ."}, /* a rule */
    {EXPECT_QUERY, EXPECT_NO_COPY, "CCTDCZ."}, /* several statements */
    {EXPECT_QUERY, EXPECT_NO_COPY, "EZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "TDEZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "CEZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "EEZ."},
    {EXPECT_QUERY, EXPECT_NO_COPY, "Z!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "D!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "TZ!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "TI!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "CI!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "CD!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "ED!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "EC!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "G!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "H!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "W!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "d!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "1!"},
    {EXPECT_QUERY, EXPECT_NO_COPY, "s!"},
    {EXPECT_QUERY, EXPECT_COPY_OUT, "HddcCZ."},
    {EXPECT_QUERY, EXPECT_COPY_OUT, "HdEZ."},
    {EXPECT_QUERY, EXPECT_COPY_OUT, "C!"},
    {EXPECT_QUERY, EXPECT_COPY_OUT, "HC!"},
    {EXPECT_QUERY, EXPECT_COPY_OUT, "HcZ!"},
    {EXPECT_QUERY, EXPECT_COPY_OUT, "HH!"},
    {EXPECT_QUERY, EXPECT_COPY_OUT, "G!"},
    {EXPECT_QUERY, EXPECT_COPY_IN, "GCZ."},
    {EXPECT_QUERY, EXPECT_COPY_IN, "GEZ."},
    {EXPECT_QUERY, EXPECT_COPY_IN, "EZ."},
    {EXPECT_QUERY, EXPECT_COPY_IN, "C!"},
    {EXPECT_QUERY, EXPECT_COPY_IN, "Gd!"},
    {EXPECT_QUERY, EXPECT_COPY_IN, "GZ!"},
    {EXPECT_QUERY, EXPECT_COPY_IN, "H!"},
    {EXPECT_PARSE, EXPECT_NO_COPY, "N1."},
    {EXPECT_PARSE, EXPECT_NO_COPY, "2!"},
    {EXPECT_PARSE, EXPECT_NO_COPY, "Z!"},
    {EXPECT_BIND, EXPECT_NO_COPY, "2."},
    {EXPECT_BIND, EXPECT_NO_COPY, "1!"},
    {EXPECT_CLOSE, EXPECT_NO_COPY, "3."},
    {EXPECT_CLOSE, EXPECT_NO_COPY, "C!"},
    {EXPECT_DESCRIBE_STATEMENT, EXPECT_NO_COPY, "tT."},
    {EXPECT_DESCRIBE_STATEMENT, EXPECT_NO_COPY, "tn."},
    {EXPECT_DESCRIBE_STATEMENT, EXPECT_NO_COPY, "T!"},
    {EXPECT_DESCRIBE_STATEMENT, EXPECT_NO_COPY, "tt!"},
    {EXPECT_DESCRIBE_PORTAL, EXPECT_NO_COPY, "T."},
    {EXPECT_DESCRIBE_PORTAL, EXPECT_NO_COPY, "n."},
    {EXPECT_DESCRIBE_PORTAL, EXPECT_NO_COPY, "t!"},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "DDC."},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "DDs."},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "I."},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "C."},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "T!"},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "DI!"},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "Z!"},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "G!"},
    {EXPECT_EXECUTE, EXPECT_NO_COPY, "H!"},
    {EXPECT_EXECUTE, EXPECT_COPY_OUT, "HddcC."},
    {EXPECT_EXECUTE, EXPECT_COPY_OUT, "D!"},
    {EXPECT_EXECUTE, EXPECT_COPY_IN, "GC."},
    {EXPECT_EXECUTE, EXPECT_COPY_IN, "C!"},
    {EXPECT_SYNC, EXPECT_NO_COPY, "Z."},
    {EXPECT_SYNC, EXPECT_NO_COPY, "EZ."},
    {EXPECT_SYNC, EXPECT_NO_COPY, "C!"},
    {EXPECT_TURN, EXPECT_NO_COPY, "Z!"},
};

static void conversations_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(conversations) / sizeof(conversations[0]); i++) {
        uint8_t at = (uint8_t)reply_first(conversations[i].kind, conversations[i].copy);
        const char *p = conversations[i].said;
        for (; p[1] != '\0'; p++) {
            if (at < REPLY_NONE)
                fail_msg("%s ends before %s", conversations[i].said, p);
            at = reply_next(at, (uint8_t)*p);
        }
        if (at != (*p == '.' ? REPLY_END : REPLY_VIOLATION))
            fail_msg("%s leads to %u", conversations[i].said, at);
    }
}

static void errors_of_the_extended_protocol_skip(void **state)
{
    (void)state;
    static const enum expect_kind kinds[] = {EXPECT_PARSE,   EXPECT_BIND,
                                             EXPECT_CLOSE,   EXPECT_DESCRIBE_PORTAL,
                                             EXPECT_EXECUTE, EXPECT_DESCRIBE_STATEMENT};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        assert_int_equal(reply_next((uint8_t)reply_first(kinds[i], EXPECT_NO_COPY), 'E'), REPLY_SKIP);
}

/* An error, a notice and their like may come in every state; what belongs to the login, or to nothing, in none. */
static void some_come_always_and_some_never(void **state)
{
    (void)state;
    for (uint8_t at = REPLY_NONE; at < REPLY_STATES; at++) {
        for (const char *p = "NSA"; *p; p++)
            assert_int_equal(reply_next(at, (uint8_t)*p), at);
        assert_int_not_equal(reply_next(at, 'E'), REPLY_VIOLATION);
        unsigned legal = 0;
        for (unsigned type = 0; type < 256; type++)
            legal += reply_next(at, (uint8_t)type) != REPLY_VIOLATION;
        assert_in_range(legal, 4, 9);
        for (const char *p = "RKWVvz0~"; *p; p++)
            assert_int_equal(reply_next(at, (uint8_t)*p), REPLY_VIOLATION);
    }
}

static void lengths_have_bounds_by_type(void **state)
{
    (void)state;
    assert_true(reply_length_fits('Z', 5));
    assert_false(reply_length_fits('Z', 6));
    assert_true(reply_length_fits('1', 4));
    assert_false(reply_length_fits('1', 5));
    assert_true(reply_length_fits('D', 1 << 30));
    for (unsigned type = 0; type < 256; type++) {
        for (uint32_t len = 0; len < 4; len++)
            assert_false(reply_length_fits((uint8_t)type, len));
        assert_false(reply_length_fits((uint8_t)type, 0x7fffffff));
        assert_false(reply_length_fits((uint8_t)type, UINT32_MAX));
    }
}

static bool well_formed(char type, const char *body, size_t len)
{
    struct frame f = {.type = (uint8_t)type, .body = slice_of((const uint8_t *)body, len)};
    return reply_well_formed(&f);
}

/* Whole, and with each of its ends cut off, and with a byte more. */
static void content_is_whole_or_refused(void **state)
{
    (void)state;
    static const struct {
        char type;
        size_t len;
        const char *body;
    } whole[] = {
        {'E', 8, "C22012\0\0"},
        {'E', 15, "SERROR\0C22012\0\0"},
        {'N', 4, "Mx\0\0"},
        {'S', 4, "a\0b\0"},
        {'A', 8, "\0\0\0\1c\0p\0"},
        {'G', 5, "\0\0\1\0\0"},
        {'H', 3, "\0\0\0"},
        {'T', 22, "\0\1c\0\0\0\0\0\0\0\0\0\0\27\0\4\377\377\377\377\0\0"},
        {'t', 6, "\0\1\0\0\0\27"},
        {'C', 9, "SELECT 1\0"},
        {'Z', 1, "I"},
    };
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        char more[64] = {0};
        memcpy(more, whole[i].body, whole[i].len);
        if (!well_formed(whole[i].type, more, whole[i].len))
            fail_msg("%c", whole[i].type);
        for (size_t len = 0; len < whole[i].len; len++)
            if (well_formed(whole[i].type, more, len))
                fail_msg("%c cut to %zu", whole[i].type, len);
        if (whole[i].type != 'Z' && well_formed(whole[i].type, more, whole[i].len + 1))
            fail_msg("%c with a byte more", whole[i].type);
    }
    assert_false(well_formed('Z', "X", 1));
    assert_false(well_formed('Z', "", 1));
    assert_true(well_formed('E', "", 1)); /* no field: odd, but whole */
    assert_false(well_formed('S', NULL, 0));
}

static void people_are_told_a_name(void **state)
{
    (void)state;
    char name[64];
    reply_name('D', name, sizeof name);
    assert_string_equal(name, "DataRow ('D')");
    reply_name(7, name, sizeof name);
    assert_string_equal(name, "unknown type 0x07");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations_are_told_apart),
        cmocka_unit_test(errors_of_the_extended_protocol_skip),
        cmocka_unit_test(some_come_always_and_some_never),
        cmocka_unit_test(lengths_have_bounds_by_type),
        cmocka_unit_test(content_is_whole_or_refused),
        cmocka_unit_test(people_are_told_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
