/* wire/datum.h: the expected values are what PostgreSQL answers to the same input */
#include "base/buf.h"
#include "wire/datum.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct datum_style iso = {.iso = true};

/* A copy of exact size, so that a sanitizer sees a byte read too far. */
static struct slice copy_of(const void *data, size_t len)
{
    uint8_t *p = malloc(len ? len : 1);
    memcpy(p, data, len);
    return slice_of(p, len);
}

static int compare(uint32_t oid, int16_t format, const void *a, size_t a_len, const void *b, size_t b_len)
{
    struct slice x = copy_of(a, a_len), y = copy_of(b, b_len);
    struct error e;
    int forth = 99, back = 99;
    assert_int_equal(datum_compare(oid, format, &iso, x, y, &forth, &e), STATUS_OK);
    assert_int_equal(datum_compare(oid, format, &iso, y, x, &back, &e), STATUS_OK);
    assert_int_equal(forth, -back);
    free((void *)x.data);
    free((void *)y.data);
    return forth;
}

/* Values in their order; "=" before one says that it equals the one before. Each is compared with each. */
static void assert_order(uint32_t oid, const char *const *values)
{
    int rank[64], n = 0;
    const char *text[64];
    for (; values[n]; n++) {
        bool same = values[n][0] == '=';
        text[n] = values[n] + same;
        rank[n] = n == 0 ? 0 : rank[n - 1] + !same;
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            int cmp = compare(oid, 0, text[i], strlen(text[i]), text[j], strlen(text[j]));
            if (cmp != (rank[i] > rank[j]) - (rank[i] < rank[j]))
                fail_msg("type %u: '%s' and '%s' compare as %d", oid, text[i], text[j], cmp);
        }
}
#define ORDER(oid, ...) assert_order((oid), (const char *const[]){__VA_ARGS__, NULL})

static void assert_unreadable(uint32_t oid, int16_t format, const void *value, size_t len, const char *good,
                              size_t good_len, const char *sqlstate)
{
    struct slice bad = copy_of(value, len);
    struct error e = {.sqlstate = ""};
    int cmp;
    assert_int_equal(datum_compare(oid, format, &iso, bad, slice_of(good, good_len), &cmp, &e), STATUS_ERROR);
    assert_string_equal(e.sqlstate, sqlstate);
    e.sqlstate[0] = 0;
    assert_int_equal(datum_compare(oid, format, &iso, slice_of(good, good_len), bad, &cmp, &e), STATUS_ERROR);
    assert_string_equal(e.sqlstate, sqlstate);
    free((void *)bad.data);
}

/* --- order, text format ----------------------------------------------------------------------- */

static void numbers_in_text_are_ordered_exactly(void **state)
{
    (void)state;
    ORDER(OID_NUMERIC, "-Infinity", "-10000000000000000000000000000000000000001",
          "-10000000000000000000000000000000000000000", "-1.5", "-1.49999999999999999999999999999", "-1",
          "=-1.00", "-0.05", "0", "=0.000", "=-0", "0.00000000000000000000000000001", "0.05", "=5e-2",
          "=000.0500", "0.5", "=.5", "1", "=1.", "=+1", "=1.0e0", "1.0000000000000000000000000000000001",
          "9.99", "10", "=1e1", "99", "100", "123456789012345678901234567890.12345",
          "123456789012345678901234567890.12346", "1e400", "Infinity", "=inf", "NaN", "=nan");
    ORDER(OID_FLOAT8, "-Infinity", "-1.7976931348623157e+308", "-1", "-5e-324", "-0", "=0", "5e-324", "0.1",
          "0.10000000000000002", "1e+15", "1.0000000000000001e+15", "=1000000000000000.1", "Infinity", "NaN");
    ORDER(OID_FLOAT4, "-Infinity", "-1e-45", "0", "1e-45", "0.3", "0.30000001", "Infinity", "NaN");
    ORDER(OID_INT2, "-32768", "-1", "0", "32767");
    ORDER(OID_INT4, "-2147483648", "-10", "-9", "9", "10", "2147483647");
    ORDER(OID_INT8, "-9223372036854775808", "0", "9223372036854775807");
    ORDER(OID_OID, "0", "9", "10", "2147483648", "4294967295");
    ORDER(OID_BOOL, "f", "t");
}

static void text_types_are_ordered_by_bytes(void **state)
{
    (void)state;
    ORDER(OID_TEXT, "", " ", "A", "B", "a", "a ", "ab", "b", "\xc3\xa9", "\xff");
    ORDER(OID_NAME, "", "pg_class", "pg_type");
    ORDER(OID_VARCHAR, "a", "a ", "b");
    ORDER(OID_BPCHAR, "", "=   ", "\t", "a", "=a ", "=a      ", "a\t", "a b", "ab");
    ORDER(OID_CHAR, "", "A", "a", "\\200", "=\x80", "\\377");
    ORDER(OID_UUID, "00000000-0000-0000-0000-000000000001", "0fffffff-0000-0000-0000-000000000000",
          "a0000000-0000-0000-0000-000000000000", "=A0000000-0000-0000-0000-000000000000",
          "f0000000-0000-0000-0000-000000000000");
}

static void bytea_is_ordered_in_both_output_formats(void **state)
{
    (void)state;
    ORDER(OID_BYTEA, "\\x", "=", "\\x00", "=\\000", "\\x0000", "\\x01", "\\x5c", "=\\\\", "\\x61", "=a",
          "\\x6162", "=ab", "\\xff", "=\\377");
    assert_unreadable(OID_BYTEA, 0, "\\x1", 3, "\\x", 2, "22023");
    assert_unreadable(OID_BYTEA, 0, "\\x1 23", 6, "\\x000000", 8,
                      "22023"); /* also behind the first difference */
    assert_unreadable(OID_BYTEA, 0, "a\\", 2, "b", 1, "22P02");
    assert_unreadable(OID_BYTEA, 0, "a\\400", 5, "b", 1, "22P02");
}

static void times_in_text_are_ordered(void **state)
{
    (void)state;
    ORDER(OID_DATE, "-infinity", "4714-11-24 BC", "0044-03-15 BC", "0001-12-31 BC", "0001-01-01",
          "1999-12-31", "2000-01-01", "10000-01-01", "5874897-12-31", "infinity");
    ORDER(OID_TIMESTAMP, "-infinity", "4714-11-24 00:00:00 BC", "0001-12-31 23:59:59.999999 BC",
          "0001-01-01 00:00:00", "2000-01-01 00:00:00", "2000-01-01 00:00:00.000001", "2000-01-01 00:00:00.5",
          "2000-01-01 00:00:01", "294276-12-31 23:59:59.999999", "infinity");
    ORDER(OID_TIMESTAMPTZ, "-infinity", "0044-03-15 12:00:00+00 BC", "1890-01-01 00:00:00+00:17:30",
          "1890-01-01 00:00:00+00", "2020-01-01 12:00:00+05:30", "=2020-01-01 06:30:00+00",
          "=2020-01-01 03:00:00-03:30", "2020-01-01 06:30:00-00:00:01", "infinity");
    ORDER(OID_TIME, "00:00:00", "00:00:00.000001", "09:00:00", "10:00:00", "23:59:59.999999", "24:00:00");
    /* of equal instants, the one further east is the lower */
    ORDER(OID_TIMETZ, "12:00:00+05", "13:00:00+05:30", "09:00:00+00", "12:00:00+02", "=12:00:00+02:00",
          "11:00:00+01", "10:00:00+00", "05:00:00-05", "00:00:00-15:59:59");
    ORDER(OID_INTERVAL, "-infinity", "-1 years", "-1 mons", "=-30 days", "-00:00:01", "00:00:00",
          "00:00:00.000001", "1 day", "=24:00:00", "=1 mon -29 days", "1 day 00:00:00.5", "1 mon", "=30 days",
          "=29 days 24:00:00", "1 year", "=12 mons", "=360 days", "1 year 2 mons +3 days -04:05:06.7",
          "1 year 2 mons 3 days 04:05:06.7", "infinity");
}

static void other_styles_are_refused(void **state)
{
    (void)state;
    struct datum_style sql;
    struct error e;
    int cmp;
    datum_style_parse("SQL, DMY", &sql);
    assert_int_equal(
        datum_compare(OID_DATE, 0, &sql, slice_str("01/02/2000"), slice_str("01/02/2000"), &cmp, &e),
        STATUS_ERROR);
    assert_string_equal(e.sqlstate, "0A000");
    assert_int_equal(
        datum_compare(OID_DATE, 0, NULL, slice_str("2000-01-01"), slice_str("2000-01-01"), &cmp, &e),
        STATUS_ERROR);
    assert_unreadable(OID_INTERVAL, 0, "P1D", 3, "1 day", 5, "22P02");
    assert_unreadable(OID_INTERVAL, 0, "@ 1 day", 7, "1 day", 5, "22P02");
    assert_unreadable(OID_INTERVAL, 0, "1-2", 3, "1 day", 5, "22P02");
    assert_unreadable(OID_INTERVAL, 0, "1 2:03:04", 9, "1 day", 5, "22P02");
    assert_unreadable(OID_INTERVAL, 0, "1 day 1 day", 11, "1 day", 5, "22P02");
    assert_unreadable(OID_INTERVAL, 0, "2562047789:00:00", 16, "1 day", 5, "22P02");
    assert_unreadable(OID_INTERVAL, 0, "", 0, "1 day", 5, "22P02");
}

static void style_is_read_from_parameter_status(void **state)
{
    (void)state;
    struct datum_style s;
    datum_style_parse("ISO, DMY", &s);
    assert_true(s.iso);
    datum_style_parse("ISO, YMD", &s);
    datum_style_parse("Postgres, MDY", &s);
    assert_false(s.iso);
    datum_style_parse("", &s);
    assert_false(s.iso);
}

static void unreadable_text_is_an_error(void **state)
{
    (void)state;
    static const char *const not_numbers[] = {"",      " ",    ".",     "-",   "+",           "e5",
                                              "1e",    "1e+",  "1.2.3", "1 2", "0x1",         "--1",
                                              "1e1.5", "inf2", "-NaN",  "1,5", "1e9999999999"};
    for (size_t i = 0; i < sizeof(not_numbers) / sizeof(not_numbers[0]); i++)
        assert_unreadable(OID_NUMERIC, 0, not_numbers[i], strlen(not_numbers[i]), "1", 1, "22P02");
    assert_unreadable(OID_INT4, 0, "2147483648", 10, "1", 1, "22003");
    assert_unreadable(OID_OID, 0, "-1", 2, "1", 1, "22P02");
    assert_unreadable(OID_OID, 0, "4294967296", 10, "1", 1, "22P02");
    assert_unreadable(OID_TIME, 0, "24:00:01", 8, "10:00:00", 8, "22P02");
    assert_unreadable(OID_TIMETZ, 0, "10:00:00", 8, "10:00:00+00", 11, "22P02");
    assert_unreadable(OID_CHAR, 0, "ab", 2, "a", 1, "22P02");
}

static void types_that_cannot_be_merged_are_refused(void **state)
{
    (void)state;
    static const uint32_t no[] = {OID_MONEY, OID_REGPROC, OID_UNKNOWN, 114 /* json */, 869 /* inet */, 0};
    static const uint32_t yes[] = {OID_BOOL,      OID_BYTEA,       OID_CHAR,    OID_INT8, OID_INT2,
                                   OID_INT4,      OID_OID,         OID_FLOAT4,  OID_DATE, OID_FLOAT8,
                                   OID_TIMESTAMP, OID_TIMESTAMPTZ, OID_NUMERIC, OID_UUID, OID_TIME,
                                   OID_TIMETZ,    OID_INTERVAL};
    static const uint32_t collated[] = {OID_TEXT, OID_VARCHAR, OID_BPCHAR, OID_NAME};
    bool needs_c;
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        assert_false(datum_sortable(no[i], &needs_c));
        assert_unreadable(no[i], 0, "1", 1, "1", 1, "0A000");
        assert_unreadable(no[i], 1, "\0\0\0\0\0\0\0\1", 8, "\0\0\0\0\0\0\0\1", 8, "0A000");
    }
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        assert_true(datum_sortable(yes[i], &needs_c));
        assert_false(needs_c);
    }
    for (size_t i = 0; i < sizeof(collated) / sizeof(collated[0]); i++) {
        assert_true(datum_sortable(collated[i], &needs_c));
        assert_true(needs_c);
    }
}

/* --- order, binary format --------------------------------------------------------------------- */

#define CMP(oid, a, b) compare((oid), 1, (a), sizeof(a) - 1, (b), sizeof(b) - 1)

static void binary_numbers_are_ordered(void **state)
{
    (void)state;
    assert_int_equal(CMP(OID_INT2, "\xff\xff", "\0\0"), -1);
    assert_int_equal(CMP(OID_INT4, "\x80\0\0\0", "\x7f\xff\xff\xff"), -1);
    assert_int_equal(CMP(OID_INT8, "\0\0\0\0\0\0\1\0", "\0\0\0\0\0\0\0\xff"), 1);
    assert_int_equal(CMP(OID_OID, "\x80\0\0\0", "\x7f\xff\xff\xff"), 1);
    assert_int_equal(CMP(OID_BOOL, "\0", "\1"), -1);
    assert_int_equal(CMP(OID_CHAR, "\x80", "\x7f"), 1);
    /* 1.5, NaN, Infinity, -0 and 0 */
    assert_int_equal(CMP(OID_FLOAT4, "\x3f\xc0\0\0", "\x7f\xc0\0\0"), -1);
    assert_int_equal(CMP(OID_FLOAT8, "\x7f\xf0\0\0\0\0\0\0", "\x7f\xf8\0\0\0\0\0\0"), -1);
    assert_int_equal(CMP(OID_FLOAT8, "\xff\xf8\0\0\0\0\0\0", "\x7f\xf8\0\0\0\0\0\1"), 0);
    assert_int_equal(CMP(OID_FLOAT8, "\x80\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0"), 0);
    assert_int_equal(CMP(OID_FLOAT8, "\xbf\xf0\0\0\0\0\0\0", "\x3f\xf0\0\0\0\0\0\0"), -1);
}

static void binary_numerics_are_ordered(void **state)
{
    (void)state;
#define ONE       "\0\1\0\0\0\0\0\0\0\1"
#define ONE_00    "\0\2\0\0\0\0\0\2\0\1\0\0" /* 1.00, with a zero digit at the end */
#define ONE_LEAD  "\0\2\0\1\0\0\0\0\0\0\0\1" /* 1, with a zero digit in front */
#define MINUS_ONE "\0\1\0\0\x40\0\0\0\0\1"
#define TEN_K     "\0\1\0\1\0\0\0\0\0\1"
#define SMALL     "\0\1\xff\xff\0\0\0\4\0\1" /* 0.0001 */
#define ZERO      "\0\0\0\0\0\0\0\0"
#define NAN_      "\0\0\0\0\xc0\0\0\0"
#define PINF      "\0\0\0\0\xd0\0\0\0"
#define NINF      "\0\0\0\0\xf0\0\0\0"
    assert_int_equal(CMP(OID_NUMERIC, ONE, ONE_00), 0);
    assert_int_equal(CMP(OID_NUMERIC, ONE, ONE_LEAD), 0);
    assert_int_equal(CMP(OID_NUMERIC, ONE, TEN_K), -1);
    assert_int_equal(CMP(OID_NUMERIC, ONE, "\0\1\0\0\0\0\0\0\0\2"), -1);
    assert_int_equal(CMP(OID_NUMERIC, ONE, "\0\2\0\0\0\0\0\4\0\1\0\1"), -1);
    assert_int_equal(CMP(OID_NUMERIC, MINUS_ONE, SMALL), -1);
    assert_int_equal(CMP(OID_NUMERIC, SMALL, ONE), -1);
    assert_int_equal(CMP(OID_NUMERIC, ZERO, SMALL), -1);
    assert_int_equal(CMP(OID_NUMERIC, MINUS_ONE, ZERO), -1);
    assert_int_equal(CMP(OID_NUMERIC, NINF, MINUS_ONE), -1);
    assert_int_equal(CMP(OID_NUMERIC, TEN_K, PINF), -1);
    assert_int_equal(CMP(OID_NUMERIC, PINF, NAN_), -1);
    assert_int_equal(CMP(OID_NUMERIC, NAN_, NAN_), 0);
    assert_int_equal(CMP(OID_NUMERIC, NINF, NINF), 0);
}

static void binary_times_and_bytes_are_ordered(void **state)
{
    (void)state;
    assert_int_equal(CMP(OID_DATE, "\x80\0\0\0", "\xff\xff\xff\xff"), -1);
    assert_int_equal(CMP(OID_TIMESTAMP, "\x7f\xff\xff\xff\xff\xff\xff\xff", "\0\0\0\0\0\0\0\0"), 1);
    assert_int_equal(CMP(OID_TIME, "\0\0\0\0\0\0\0\1", "\0\0\0\0\0\0\0\2"), -1);
    /* 01:00:00+01 and 00:00:00+00 */
    assert_int_equal(CMP(OID_TIMETZ, "\0\0\0\0\xd6\x93\xa4\0\xff\xff\xf1\xf0", "\0\0\0\0\0\0\0\0\0\0\0\0"),
                     -1);
    /* 1 mon, 30 days */
    assert_int_equal(
        CMP(OID_INTERVAL, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", "\0\0\0\0\0\0\0\0\0\0\0\x1e\0\0\0\0"), 0);
    assert_int_equal(CMP(OID_UUID, "0123456789abcdef", "0123456789abcdeg"), -1);
    assert_int_equal(CMP(OID_BYTEA, "a\0", "a"), 1);
    assert_int_equal(CMP(OID_TEXT, "a", "\xff"), -1);
    assert_int_equal(CMP(OID_BPCHAR, "a  ", "a"), 0);
}

static void binary_values_of_a_wrong_length_are_refused(void **state)
{
    (void)state;
    static const uint8_t zeros[32] = {0};
    static const struct {
        uint32_t oid;
        size_t len;
    } fixed[] = {{OID_BOOL, 1},    {OID_CHAR, 1},  {OID_INT2, 2},      {OID_INT4, 4},
                 {OID_INT8, 8},    {OID_OID, 4},   {OID_FLOAT4, 4},    {OID_FLOAT8, 8},
                 {OID_DATE, 4},    {OID_TIME, 8},  {OID_TIMESTAMP, 8}, {OID_TIMESTAMPTZ, 8},
                 {OID_TIMETZ, 12}, {OID_UUID, 16}, {OID_INTERVAL, 16}, {OID_NUMERIC, 8}};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        const char *good = (const char *)zeros;
        assert_int_equal(compare(fixed[i].oid, 1, zeros, fixed[i].len, zeros, fixed[i].len), 0);
        assert_unreadable(fixed[i].oid, 1, zeros, fixed[i].len - 1, good, fixed[i].len, "22P03");
        assert_unreadable(fixed[i].oid, 1, zeros, fixed[i].len + 1, good, fixed[i].len, "22P03");
        assert_unreadable(fixed[i].oid, 1, zeros, 0, good, fixed[i].len, "22P03");
    }
    assert_unreadable(OID_NUMERIC, 1, "\0\1\0\0\0\0\0\0\x27\x10", 10, ZERO, 8, "22P03"); /* a digit 10000 */
    assert_unreadable(OID_NUMERIC, 1, "\0\0\0\0\x80\0\0\0", 8, ZERO, 8, "22P03");        /* no such sign */
    assert_unreadable(OID_NUMERIC, 1, "\xff\xff\0\0\0\0\0\0", 8, ZERO, 8, "22P03");
    assert_unreadable(OID_INT4, 2, zeros, 4, (const char *)zeros, 4, "22023");
}

/* --- readers ---------------------------------------------------------------------------------- */

static void integers_are_read_as_the_server_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int bits;
        int64_t v;
    } good[] = {{"0", 16, 0},
                {" \t\n-32768 ", 16, -32768},
                {"+32767", 16, 32767},
                {"007", 32, 7},
                {"-2147483648", 32, INT32_MIN},
                {"-9223372036854775808", 64, INT64_MIN},
                {"9223372036854775807", 64, INT64_MAX},
                {"-0", 64, 0},
                {"0x7f", 16, 127},
                {"-0x8000", 16, -32768},
                {"0o17", 32, 15},
                {"0B101", 32, 5},
                {"1_000", 32, 1000},
                {"0x_ff", 32, 255}};
    static const struct {
        const char *text;
        int bits;
        const char *sqlstate, *message;
    } bad[] = {
        {"", 32, "22P02", "invalid input syntax for type integer: \"\""},
        {"abc", 32, "22P02", "invalid input syntax for type integer: \"abc\""},
        {"1.0", 64, "22P02", "invalid input syntax for type bigint: \"1.0\""},
        {"- 1", 16, "22P02", "invalid input syntax for type smallint: \"- 1\""},
        {"32768", 16, "22003", "value \"32768\" is out of range for type smallint"},
        {"-32769", 16, "22003", "value \"-32769\" is out of range for type smallint"},
        {"2147483648", 32, "22003", "value \"2147483648\" is out of range for type integer"},
        {"9223372036854775808", 64, "22003", "value \"9223372036854775808\" is out of range for type bigint"},
        {"99999999999999999999999", 64, "22003",
         "value \"99999999999999999999999\" is out of range for type bigint"},
        {"+", 32, "22P02", NULL},
        {"1_", 32, "22P02", NULL},
        {"_1", 32, "22P02", NULL},
        {"1__0", 32, "22P02", NULL},
        {"0x", 32, "22P02", NULL},
        {"0b2", 32, "22P02", NULL},
        {"1 1", 32, "22P02", NULL}};
    struct error e;
    int64_t v;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(datum_int_in(slice_str(good[i].text), good[i].bits, &v, &e), STATUS_OK);
        assert_true(v == good[i].v);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(datum_int_in(slice_str(bad[i].text), bad[i].bits, &v, &e), STATUS_ERROR);
        assert_string_equal(e.sqlstate, bad[i].sqlstate);
        if (bad[i].message)
            assert_string_equal(e.message, bad[i].message);
    }
    assert_int_equal(datum_int_in(slice_of("1\0", 2), 32, &v, &e), STATUS_ERROR);
    assert_int_equal(datum_int_in(slice_of(NULL, 0), 32, &v, &e), STATUS_ERROR);
}

static void booleans_are_read_as_the_server_reads_them(void **state)
{
    (void)state;
    static const char *const yes[] = {"t", "tr", "TRUE", " true ", "y", "Yes", "on", "1"};
    static const char *const no[] = {"f", "fal", "False", "n", "no", "of", "OFF", "0"};
    static const char *const bad[] = {"", "o", "truee", "2", "01", "tf", "yess", "onn", "falses"};
    struct error e;
    bool v;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        v = false;
        assert_int_equal(datum_bool_in(slice_str(yes[i]), &v, &e), STATUS_OK);
        assert_true(v);
        v = true;
        assert_int_equal(datum_bool_in(slice_str(no[i]), &v, &e), STATUS_OK);
        assert_false(v);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(datum_bool_in(slice_str(bad[i]), &v, &e), STATUS_ERROR);
        assert_string_equal(e.sqlstate, "22P02");
    }
}

static void uuids_are_read_as_the_server_reads_them(void **state)
{
    (void)state;
    static const char *const good[] = {
        "00112233-4455-6677-8899-aabbccddeeff", "00112233445566778899aabbccddeeff",
        "{00112233-4455-6677-8899-AABBCCDDEEFF}", "0011-2233-4455-6677-8899-aabb-ccdd-eeff"};
    static const char *const bad[] = {"",
                                      "{",
                                      "{}",
                                      "00112233-4455-6677-8899-aabbccddeef",
                                      "00112233-4455-6677-8899-aabbccddeeff0",
                                      "00112233-4455-6677-8899-aabbccddeefg",
                                      " 00112233-4455-6677-8899-aabbccddeeff",
                                      "{00112233-4455-6677-8899-aabbccddeeff",
                                      "00112233-4455-6677-8899-aabbccddeeff-",
                                      "001-12233445566778899aabbccddeeff",
                                      "00112233--4455-6677-8899-aabbccddeeff"};
    static const uint8_t want[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                     0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    struct error e;
    uint8_t v[16];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        memset(v, 0, 16);
        assert_int_equal(datum_uuid_in(slice_str(good[i]), v, &e), STATUS_OK);
        assert_memory_equal(v, want, 16);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(datum_uuid_in(slice_str(bad[i]), v, &e), STATUS_ERROR);
        assert_string_equal(e.sqlstate, "22P02");
    }
}

static void bytea_is_read_as_the_server_reads_it(void **state)
{
    (void)state;
    struct error e;
    uint8_t v[32];
    size_t len = 99;
    assert_int_equal(datum_bytea_in(slice_str("\\xDEad be\nef"), v, &len, &e), STATUS_OK);
    assert_int_equal(len, 4);
    assert_memory_equal(v, "\xde\xad\xbe\xef", 4);
    assert_int_equal(datum_bytea_in(slice_str("a\\\\b\\000\\377"), v, &len, &e), STATUS_OK);
    assert_int_equal(len, 5);
    assert_memory_equal(v, "a\\b\0\xff", 5);
    assert_int_equal(datum_bytea_in(slice_str("\\x"), v, &len, &e), STATUS_OK);
    assert_int_equal(len, 0);
    assert_int_equal(datum_bytea_in(slice_str(""), v, &len, &e), STATUS_OK);
    assert_int_equal(len, 0);
    assert_int_equal(datum_bytea_in(slice_str("\\xabc"), v, &len, &e), STATUS_ERROR);
    assert_string_equal(e.message, "invalid hexadecimal data: odd number of digits");
    assert_int_equal(datum_bytea_in(slice_str("\\xag"), v, &len, &e), STATUS_ERROR);
    assert_string_equal(e.message, "invalid hexadecimal digit: \"g\"");
    assert_int_equal(datum_bytea_in(slice_str("\\12"), v, &len, &e), STATUS_ERROR);
    assert_string_equal(e.message, "invalid input syntax for type bytea");
}

static void dates_are_read_as_the_server_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t days;
    } good[] = {{"2000-01-01", 0},
                {"1999-12-31", -1},
                {" 2024-02-29 ", 8825},
                {"0001-01-01", -730119},
                {"0001-12-31 BC", -730120},
                {"4714-11-24 BC", -2451545},
                {"5874897-12-31", 2145031948},
                {"infinity", INT32_MAX},
                {"-Infinity", INT32_MIN},
                {"2000-01-01 23:59:59-05", 0},
                {"2000-01-02 +13", 1}};
    static const struct {
        const char *text, *sqlstate;
    } bad[] = {{"2023-02-29", "22008"}, {"2000-13-01", "22008"},     {"2000-00-01", "22008"},
               {"2000-01-32", "22008"}, {"2000-01-00", "22008"},     {"0000-01-01", "22008"},
               {"1900-02-29", "22008"}, {"5874898-01-01", "22008"},  {"4714-11-23 BC", "22008"},
               {"", "22007"},           {"01/02/2000", "0A000"},     {"today", "0A000"},
               {"2000-1-1", "0A000"},   {"Jan 1 2000", "0A000"},     {"20000101", "0A000"},
               {"99-01-01", "0A000"},   {"2000-01-01 BCE", "0A000"}, {"2000-01-01 25:00", "22008"}};
    struct error e;
    int32_t v;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(datum_date_in(slice_str(good[i].text), &v, &e), STATUS_OK);
        assert_int_equal(v, good[i].days);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(datum_date_in(slice_str(bad[i].text), &v, &e), STATUS_ERROR);
        assert_string_equal(e.sqlstate, bad[i].sqlstate);
        if (strcmp(bad[i].sqlstate, "0A000") == 0)
            assert_true(strlen(e.hint) > 0);
    }
}

static void timestamps_are_read_as_the_server_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool with_zone;
        int64_t us;
    } good[] = {{"2000-01-01", false, 0},
                {"2000-01-01 00:00:01", false, 1000000},
                {"2000-01-01T00:01", false, 60000000},
                {"2000-01-01 00:00:00.5", false, 500000},
                {"2000-01-01 00:00:00.9999999", false, 1000000},
                {"2000-01-01 00:00:00.123456499", false, 123456},
                {"1999-12-31 24:00:00", false, 0},
                {"1999-12-31 23:59:60", false, 0},
                {"2000-01-01 12:00:00+05", false, 43200000000},
                {"4714-11-24 00:00:00 BC", false, -211813488000000000},
                {"294276-12-31 23:59:59.999999", false, 9223371331199999999},
                {"infinity", false, INT64_MAX},
                {"-infinity", true, INT64_MIN},
                {"2000-01-01 00:00:00Z", true, 0},
                {"2000-01-01 00:00:00+00", true, 0},
                {"2000-01-01 05:30:00+05:30", true, 0},
                {"2000-01-01 05:30:00+0530", true, 0},
                {"2000-01-01 05:30:00 +05:30", true, 0},
                {"1999-12-31 19:59:59-04:00:01", true, 0},
                {"2000-01-01 +01", true, -3600000000},
                {"294277-01-01 00:59:59+01", true, 9223371331199000000},
                {"4714-11-23 23:00:00-01 BC", true, -211813488000000000}};
    static const struct {
        const char *text;
        bool with_zone;
        const char *sqlstate;
    } bad[] = {{"2000-01-01 00:00:00", true, "0A000"},
               {"2000-01-01 00:00:00 UTC", true, "0A000"},
               {"2000-01-01 00:00:00 Europe/Paris", true, "0A000"},
               {"2000-01-01 00:00:00 PM", false, "0A000"},
               {"2000-01-01 00:00:00.", false, "0A000"},
               {"2000-01-01 24:00:00.000001", false, "22008"},
               {"2000-01-01 00:60:00", false, "22008"},
               {"2000-01-01 00:00:61", false, "22008"},
               {"2000-01-01 00:00:00+16", true, "22009"},
               {"2000-01-01 00:00:00+00:60", true, "22009"},
               {"294277-01-01 00:00:00", false, "22008"},
               {"294276-12-31 23:59:59-01", true, "22008"},
               {"4714-11-23 23:59:59 BC", false, "22008"},
               {"9999999-12-31 00:00:00", false, "22008"},
               {"now", false, "0A000"},
               {"", true, "22007"}};
    struct error e;
    int64_t v;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(datum_timestamp_in(slice_str(good[i].text), good[i].with_zone, &v, &e), STATUS_OK);
        assert_true(v == good[i].us);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(datum_timestamp_in(slice_str(bad[i].text), bad[i].with_zone, &v, &e), STATUS_ERROR);
        assert_string_equal(e.sqlstate, bad[i].sqlstate);
    }
}

static void long_values_are_cut_in_messages(void **state)
{
    (void)state;
    char text[1000];
    struct error e;
    int64_t v;
    for (int lead = 0; lead < 3; lead++) {
        memset(text, 'x', sizeof(text));
        for (size_t i = (size_t)lead; i + 3 <= sizeof(text); i += 3)
            memcpy(text + i, "\u20ac", 3);
        assert_int_equal(datum_int_in(slice_of(text, sizeof(text)), 32, &v, &e), STATUS_ERROR);
        assert_true(strlen(e.message) < 160);
        assert_int_equal(
            (strlen(e.message) - strlen("invalid input syntax for type integer: \"\"") - lead) % 3, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_in_text_are_ordered_exactly),
        cmocka_unit_test(text_types_are_ordered_by_bytes),
        cmocka_unit_test(bytea_is_ordered_in_both_output_formats),
        cmocka_unit_test(times_in_text_are_ordered),
        cmocka_unit_test(other_styles_are_refused),
        cmocka_unit_test(style_is_read_from_parameter_status),
        cmocka_unit_test(unreadable_text_is_an_error),
        cmocka_unit_test(types_that_cannot_be_merged_are_refused),
        cmocka_unit_test(binary_numbers_are_ordered),
        cmocka_unit_test(binary_numerics_are_ordered),
        cmocka_unit_test(binary_times_and_bytes_are_ordered),
        cmocka_unit_test(binary_values_of_a_wrong_length_are_refused),
        cmocka_unit_test(integers_are_read_as_the_server_reads_them),
        cmocka_unit_test(booleans_are_read_as_the_server_reads_them),
        cmocka_unit_test(uuids_are_read_as_the_server_reads_them),
        cmocka_unit_test(bytea_is_read_as_the_server_reads_it),
        cmocka_unit_test(dates_are_read_as_the_server_reads_them),
        cmocka_unit_test(timestamps_are_read_as_the_server_reads_them),
        cmocka_unit_test(long_values_are_cut_in_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
