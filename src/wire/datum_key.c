/*
 * Values of the types whose order is that of a number or of two: integers, oid, bool, "char", and everything
 * that has to do with time. Each reader takes a value in either format to its key; keys compare as numbers.
 *
 * Not here: types that are compared as bytes or as decimals (datum.c), and the reading of text itself.
 */
#include "base/buf.h"
#include "datum_priv.h"

/* Binary format: big-endian, of a fixed size. */
static int64_t load_signed(struct slice v)
{
    switch (v.len) {
    case 2:
        return (int16_t)load_u16(v.data);
    case 4:
        return (int32_t)load_u32(v.data);
    default:
        return (int64_t)load_u64(v.data);
    }
}

static enum status fixed_binary(struct slice v, size_t len, const char *type_name, struct datum_key *k_r,
                                struct error *error_r)
{
    if (v.len != len)
        return datum_bad_binary(type_name, error_r);
    k_r->first = load_signed(v);
    return STATUS_OK;
}

static enum status int_key(struct slice v, bool binary, int bits, struct datum_key *k_r,
                           struct error *error_r)
{
    int64_t n;

    if (binary)
        return fixed_binary(v, (size_t)bits / 8,
                            bits == 16   ? "smallint"
                            : bits == 32 ? "integer"
                                         : "bigint",
                            k_r, error_r);
    if (datum_int_in(v, bits, &n, error_r) != STATUS_OK)
        return STATUS_ERROR;
    k_r->first = n;
    return STATUS_OK;
}

static enum status oid_key(struct slice v, bool binary, struct datum_key *k_r, struct error *error_r)
{
    int64_t n;

    if (binary) {
        if (v.len != 4)
            return datum_bad_binary("oid", error_r);
        k_r->first = load_u32(v.data);
        return STATUS_OK;
    }
    if (datum_int_in(v, 64, &n, error_r) != STATUS_OK || n < 0 || n > UINT32_MAX)
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, "oid", v, error_r);
    k_r->first = n;
    return STATUS_OK;
}

static enum status bool_key(struct slice v, bool binary, struct datum_key *k_r, struct error *error_r)
{
    bool b;

    if (binary) {
        if (v.len != 1)
            return datum_bad_binary("boolean", error_r);
        k_r->first = v.data[0] != 0;
        return STATUS_OK;
    }
    if (datum_bool_in(v, &b, error_r) != STATUS_OK)
        return STATUS_ERROR;
    k_r->first = b;
    return STATUS_OK;
}

static bool is_octal(uint8_t c)
{
    return c >= '0' && c <= '7';
}

/* "char" is one byte, compared without a sign. In text 0 is empty, and since PostgreSQL 15 a high byte is
 * \ooo. */
static enum status char_key(struct slice v, bool binary, struct datum_key *k_r, struct error *error_r)
{
    if (v.len == 1) {
        k_r->first = v.data[0];
        return STATUS_OK;
    }
    if (binary)
        return datum_bad_binary("\"char\"", error_r);
    if (v.len == 0) {
        k_r->first = 0;
        return STATUS_OK;
    }
    if (v.len == 4 && v.data[0] == '\\' && v.data[1] >= '0' && v.data[1] <= '3' && is_octal(v.data[2]) &&
        is_octal(v.data[3])) {
        k_r->first = (v.data[1] - '0') << 6 | (v.data[2] - '0') << 3 | (v.data[3] - '0');
        return STATUS_OK;
    }
    return datum_bad_syntax(SQLSTATE_INVALID_TEXT, "\"char\"", v, error_r);
}

static enum status date_key(struct slice v, bool binary, struct datum_key *k_r, struct error *error_r)
{
    int32_t days;

    if (binary)
        return fixed_binary(v, 4, "date", k_r, error_r);
    if (datum_date_in(v, &days, error_r) != STATUS_OK)
        return STATUS_ERROR;
    k_r->first = days;
    return STATUS_OK;
}

static enum status timestamp_key(struct slice v, bool binary, bool with_zone, struct datum_key *k_r,
                                 struct error *error_r)
{
    int64_t us;

    if (binary)
        return fixed_binary(v, 8, with_zone ? "timestamp with time zone" : "timestamp", k_r, error_r);
    if (datum_timestamp_in(v, with_zone, &us, error_r) != STATUS_OK)
        return STATUS_ERROR;
    k_r->first = us;
    return STATUS_OK;
}

static enum status time_key(struct slice v, bool binary, struct datum_key *k_r, struct error *error_r)
{
    int64_t us;

    if (binary)
        return fixed_binary(v, 8, "time", k_r, error_r);
    if (datum_time_out(v, &us, error_r) != STATUS_OK)
        return STATUS_ERROR;
    k_r->first = us;
    return STATUS_OK;
}

/* The instant first; of equal instants, the zone further east is the lower (timetz_cmp_internal()). */
static enum status timetz_key(struct slice v, bool binary, struct datum_key *k_r, struct error *error_r)
{
    struct timetz_value t;

    if (binary) {
        if (v.len != 12)
            return datum_bad_binary("time with time zone", error_r);
        t.us = (int64_t)load_u64(v.data);
        t.west = (int32_t)load_u32(v.data + 8);
    } else if (datum_timetz_out(v, &t, error_r) != STATUS_OK) {
        return STATUS_ERROR;
    }
    k_r->first = (__int128)t.us + (__int128)t.west * 1000000;
    k_r->second = t.west;
    return STATUS_OK;
}

/* By length, with months of 30 days and days of 24 hours (interval_cmp_value()). */
static enum status interval_key(struct slice v, bool binary, struct datum_key *k_r, struct error *error_r)
{
    struct interval_value i;

    if (binary) {
        if (v.len != 16)
            return datum_bad_binary("interval", error_r);
        i.us = (int64_t)load_u64(v.data);
        i.days = (int32_t)load_u32(v.data + 8);
        i.months = (int32_t)load_u32(v.data + 12);
    } else if (datum_interval_out(v, &i, error_r) != STATUS_OK) {
        return STATUS_ERROR;
    }
    k_r->first = (__int128)(i.months * 30 + i.days) * INT64_C(86400000000) + i.us;
    return STATUS_OK;
}

static enum status read_key(uint32_t type_oid, bool binary, struct slice v, struct datum_key *k_r,
                            bool *known_r, struct error *error_r)
{
    *known_r = true;
    switch (type_oid) {
    case OID_BOOL:
        return bool_key(v, binary, k_r, error_r);
    case OID_CHAR:
        return char_key(v, binary, k_r, error_r);
    case OID_INT2:
        return int_key(v, binary, 16, k_r, error_r);
    case OID_INT4:
        return int_key(v, binary, 32, k_r, error_r);
    case OID_INT8:
        return int_key(v, binary, 64, k_r, error_r);
    case OID_OID:
        return oid_key(v, binary, k_r, error_r);
    case OID_DATE:
        return date_key(v, binary, k_r, error_r);
    case OID_TIME:
        return time_key(v, binary, k_r, error_r);
    case OID_TIMETZ:
        return timetz_key(v, binary, k_r, error_r);
    case OID_TIMESTAMP:
        return timestamp_key(v, binary, false, k_r, error_r);
    case OID_TIMESTAMPTZ:
        return timestamp_key(v, binary, true, k_r, error_r);
    case OID_INTERVAL:
        return interval_key(v, binary, k_r, error_r);
    default:
        *known_r = false;
        return STATUS_ERROR;
    }
}

enum key_result datum_key_read(uint32_t type_oid, bool binary, struct slice v, struct datum_key *k_r,
                               struct error *error_r)
{
    enum status status;
    bool known;

    *k_r = (struct datum_key){.first = 0};
    status = read_key(type_oid, binary, v, k_r, &known, error_r);
    return !known ? KEY_NOT_THIS_TYPE : status == STATUS_OK ? KEY_READ : KEY_BAD;
}

int datum_key_compare(const struct datum_key *a, const struct datum_key *b)
{
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return datum_cmp_i64(a->second, b->second);
}
