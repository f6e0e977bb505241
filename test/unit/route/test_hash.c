/* route/hash.h. The values expected were computed by a server; test/integration/test_hash_server.py does so
 * for many more. */
#include "route/hash.h"
#include "wire/datum.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint32_t key_types[] = {OID_INT2,      OID_INT4,        OID_INT8, OID_OID,   OID_TEXT,
                                     OID_VARCHAR,   OID_BPCHAR,      OID_UUID, OID_BYTEA, OID_DATE,
                                     OID_TIMESTAMP, OID_TIMESTAMPTZ, OID_BOOL};

static int64_t hash_as(uint32_t type_oid, uint32_t value_oid, int16_t format, struct slice value)
{
    struct error error = {0};
    uint64_t hash = 0;
    if (hash_key(type_oid, value_oid, format, value, &hash, &error) != STATUS_OK)
        fail_msg("type %u: %s", type_oid, error.message);
    return (int64_t)hash;
}

static int64_t hash_text(uint32_t type_oid, const char *value)
{
    return hash_as(type_oid, 0, 0, slice_str(value));
}

static void assert_refused(uint32_t type_oid, uint32_t value_oid, int16_t format, struct slice value,
                           const char *sqlstate)
{
    struct error error = {0};
    uint64_t hash = 0;
    assert_int_equal(hash_key(type_oid, value_oid, format, value, &hash, &error), STATUS_ERROR);
    assert_string_equal(error.sqlstate, sqlstate);
}

static void known_values_hash_as_on_the_server(void **state)
{
    (void)state;
    assert_true(hash_text(OID_INT8, "42") == INT64_C(8010225493015854792));
    assert_true(hash_text(OID_INT8, "-1") == INT64_C(-1888257769727981238));
    assert_true(hash_text(OID_TEXT, "") == INT64_C(-6939563903564495251));
    assert_true(hash_text(OID_INT8, "9223372036854775807") == INT64_C(1977219185673256887));
    assert_true(hash_text(OID_TEXT, "The quick brown fox jumps over") == INT64_C(-2952746244513659538));
    assert_true(hash_text(OID_BPCHAR, "abc  ") == INT64_C(-6747756470228489321));
    assert_true(hash_text(OID_UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11") == INT64_C(7543054272012930821));
    assert_true(hash_text(OID_BYTEA, "\\x00ff") == INT64_C(-9220388254744200614));
    assert_true(hash_text(OID_DATE, "2026-01-31") == INT64_C(-4398860450355774869));
    assert_true(hash_text(OID_TIMESTAMP, "2026-01-31 12:34:56.789") == INT64_C(6468386108449589332));
    assert_true(hash_text(OID_TIMESTAMPTZ, "2026-01-31 12:34:56.789+00") == INT64_C(6468386108449589332));
    assert_true(hash_text(OID_BOOL, "t") == INT64_C(-3670598878359251130));
}

static void binary_and_text_forms_hash_alike(void **state)
{
    (void)state;
    const uint8_t uuid[16] = {0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8,
                              0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11};
    const uint8_t minus_two[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe};
    const uint8_t bytes[3] = {0, 1, 0xff};
    const uint8_t one = 1, seven = 7;
    assert_true(hash_as(OID_UUID, 0, 1, slice_of(uuid, 16)) ==
                hash_text(OID_UUID, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"));
    assert_true(hash_as(OID_BYTEA, 0, 1, slice_of(bytes, 3)) == hash_text(OID_BYTEA, "\\x0001ff"));
    assert_true(hash_as(OID_BYTEA, 0, 1, slice_of(bytes, 3)) == hash_text(OID_BYTEA, "\\000\\001\\377"));
    assert_true(hash_as(OID_BOOL, 0, 1, slice_of(&one, 1)) == hash_text(OID_BOOL, "yes"));
    assert_true(hash_as(OID_BOOL, 0, 1, slice_of(&seven, 1)) == hash_text(OID_BOOL, "t"));
    assert_true(hash_as(OID_INT8, 0, 1, slice_of(minus_two, 8)) == hash_text(OID_INT8, " -2 "));
    assert_true(hash_as(OID_INT4, 0, 1, slice_of(minus_two + 4, 4)) == hash_text(OID_INT8, "-2"));
    assert_true(hash_as(OID_INT2, 0, 1, slice_of(minus_two + 6, 2)) == hash_text(OID_INT8, "-2"));
    assert_true(hash_as(OID_DATE, 0, 1, slice_of(minus_two + 4, 4)) == hash_text(OID_DATE, "1999-12-30"));
    assert_true(hash_as(OID_TIMESTAMP, 0, 1, slice_of(minus_two, 8)) ==
                hash_text(OID_TIMESTAMP, "1999-12-31 23:59:59.999998"));
    assert_true(hash_as(OID_TIMESTAMPTZ, 0, 1, slice_of(minus_two, 8)) ==
                hash_text(OID_TIMESTAMPTZ, "2000-01-01 01:59:59.999998+02"));
}

static void integer_types_mix_freely(void **state)
{
    (void)state;
    const uint32_t ints[] = {OID_INT2, OID_INT4, OID_INT8};
    for (size_t column = 0; column < 3; column++)
        for (size_t wire = 0; wire < 3; wire++)
            assert_true(hash_as(ints[column], ints[wire], 0, slice_str("-12345")) ==
                        hash_text(OID_INT8, "-12345"));
    assert_true(hash_as(OID_INT8, OID_OID, 0, slice_str("4000000000")) == hash_text(OID_INT8, "4000000000"));
    assert_true(hash_as(OID_OID, OID_INT8, 0, slice_str("4000000000")) == hash_text(OID_OID, "4000000000"));
    assert_true(hash_as(OID_OID, OID_INT4, 0, slice_str("-1")) == hash_text(OID_OID, "4294967295"));
    assert_true(hash_text(OID_OID, "-1") == hash_text(OID_OID, "4294967295"));
}

static void only_bpchar_ignores_trailing_blanks(void **state)
{
    (void)state;
    assert_true(hash_text(OID_BPCHAR, "ab   ") == hash_text(OID_BPCHAR, "ab"));
    assert_true(hash_text(OID_BPCHAR, "   ") == hash_text(OID_BPCHAR, ""));
    assert_true(hash_text(OID_TEXT, "ab   ") != hash_text(OID_TEXT, "ab"));
    assert_true(hash_text(OID_VARCHAR, "ab") == hash_text(OID_TEXT, "ab"));
    assert_true(hash_as(OID_TEXT, OID_BPCHAR, 0, slice_str("ab   ")) == hash_text(OID_TEXT, "ab"));
    assert_true(hash_as(OID_BPCHAR, OID_TEXT, 1, slice_str("ab   ")) == hash_text(OID_BPCHAR, "ab"));
    assert_true(hash_as(OID_TEXT, OID_NAME, 1, slice_str("ab")) == hash_text(OID_TEXT, "ab"));
    assert_true(hash_as(OID_TEXT, OID_UNKNOWN, 0, slice_str("ab")) == hash_text(OID_TEXT, "ab"));
}

static void unaligned_bytes_hash_alike(void **state)
{
    (void)state;
    uint8_t bytes[80];
    uint64_t aligned[64];
    for (size_t shift = 0; shift < 8; shift++)
        for (size_t len = 0; len < 64; len++) {
            for (size_t i = 0; i < len; i++)
                bytes[shift + i] = (uint8_t)(i * 37 + 200);
            uint64_t hash = hash_bytes_extended(bytes + shift, len, 0);
            if (shift == 0)
                aligned[len] = hash;
            assert_true(hash == aligned[len]);
            assert_true(hash_bytes_extended(bytes + shift, len, 1) != hash);
        }
}

static void values_that_do_not_parse_are_errors(void **state)
{
    (void)state;
    assert_refused(OID_INT4, 0, 0, slice_str("12a"), SQLSTATE_INVALID_TEXT);
    assert_refused(OID_INT2, 0, 0, slice_str("40000"), SQLSTATE_NUMERIC_RANGE);
    assert_refused(OID_OID, 0, 0, slice_str("4294967296"), SQLSTATE_NUMERIC_RANGE);
    assert_refused(OID_OID, 0, 0, slice_str("010"), SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_refused(OID_UUID, 0, 0, slice_str("a0eebc99"), SQLSTATE_INVALID_TEXT);
    assert_refused(OID_BOOL, 0, 0, slice_str("maybe"), SQLSTATE_INVALID_TEXT);
    assert_refused(OID_BYTEA, 0, 0, slice_str("\\x0"), "22023");
    assert_refused(OID_TIMESTAMPTZ, 0, 0, slice_str("2026-01-01 00:00:00"), SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_refused(OID_DATE, 0, 0, slice_str("tomorrow"), SQLSTATE_FEATURE_NOT_SUPPORTED);
}

static void binary_values_of_wrong_length_or_range_are_errors(void **state)
{
    (void)state;
    const uint8_t bytes[16] = {0x7f, 0xff, 0xff, 0xf0};
    const size_t size[] = {2, 4, 8, 4, 0, 0, 0, 16, 0, 4, 8, 8, 1};
    for (size_t i = 0; i < sizeof(key_types) / sizeof(key_types[0]); i++) {
        if (size[i] == 0)
            continue;
        assert_refused(key_types[i], 0, 1, slice_of(bytes, size[i] - 1), SQLSTATE_INVALID_BINARY);
        assert_refused(key_types[i], 0, 1, slice_of(bytes, size[i] == 16 ? 15 : size[i] + 1),
                       SQLSTATE_INVALID_BINARY);
    }
    assert_refused(OID_DATE, 0, 1, slice_of(bytes, 4), "22008");
    assert_refused(OID_TIMESTAMP, 0, 1, slice_of(bytes, 8), "22008");
    assert_refused(OID_INT4, 0, 2, slice_of(bytes, 4), SQLSTATE_PROTOCOL_VIOLATION);
}

static void types_that_compare_after_a_cast_are_refused(void **state)
{
    (void)state;
    const uint32_t others[] = {OID_NUMERIC, OID_FLOAT8, OID_MONEY, OID_CHAR, 99999};
    for (size_t i = 0; i < sizeof(key_types) / sizeof(key_types[0]); i++)
        for (size_t j = 0; j < sizeof(others) / sizeof(others[0]); j++)
            assert_refused(key_types[i], others[j], 0, slice_str("1"), SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_refused(OID_DATE, OID_TIMESTAMP, 0, slice_str("2026-01-01"), SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_refused(OID_TIMESTAMPTZ, OID_TIMESTAMP, 0, slice_str("2026-01-01"),
                   SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_refused(OID_INT4, OID_TEXT, 0, slice_str("1"), SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_refused(OID_TEXT, OID_INT4, 0, slice_str("1"), SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_refused(OID_NUMERIC, 0, 0, slice_str("1"), SQLSTATE_FEATURE_NOT_SUPPORTED);
}

static void families_are_what_colocates(void **state)
{
    (void)state;
    assert_int_equal(hash_family_of(OID_INT2), HASH_INT);
    assert_int_equal(hash_family_of(OID_INT8), HASH_INT);
    assert_int_equal(hash_family_of(OID_OID), HASH_INT);
    assert_int_equal(hash_family_of(OID_VARCHAR), hash_family_of(OID_TEXT));
    assert_int_not_equal(hash_family_of(OID_BPCHAR), hash_family_of(OID_TEXT));
    assert_int_not_equal(hash_family_of(OID_TIMESTAMP), hash_family_of(OID_TIMESTAMPTZ));
    assert_int_equal(hash_family_of(OID_NUMERIC), HASH_NONE);
    assert_int_equal(hash_family_of(OID_FLOAT8), HASH_NONE);
    assert_int_equal(hash_family_of(0), HASH_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_hash_as_on_the_server),
        cmocka_unit_test(binary_and_text_forms_hash_alike),
        cmocka_unit_test(integer_types_mix_freely),
        cmocka_unit_test(only_bpchar_ignores_trailing_blanks),
        cmocka_unit_test(unaligned_bytes_hash_alike),
        cmocka_unit_test(values_that_do_not_parse_are_errors),
        cmocka_unit_test(binary_values_of_wrong_length_or_range_are_errors),
        cmocka_unit_test(types_that_compare_after_a_cast_are_refused),
        cmocka_unit_test(families_are_what_colocates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
