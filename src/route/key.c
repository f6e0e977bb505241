/*
 * Reading a key's value from the wire. A value is read exactly as the server would read it into the column,
 * or it is an error: a row that went to the wrong shard would be lost to every later statement.
 *
 * Which wire types may stand for a column's type (anything else is 0A000, and the caller does not pin on it):
 *
 *     column                      wire
 *     int2 int4 int8              int2 int4 int8 oid
 *     oid                         oid int2 int4 (both wrap around, as the server's cast does) int8
 *     text varchar                text varchar name; bpchar (its cast to text drops trailing blanks)
 *     bpchar                      bpchar text varchar
 *     the others                  the same type only: date against timestamp compares after a cast
 *
 * and, for all, the unspecified type (0, or "unknown"), which the server resolves to the column's own.
 *
 * Not responsible for: NULL, domains, collations.
 */
#include "key.h"

#include "base/arena.h"
#include "base/buf.h"
#include "wire/datum.h"
#include <stdlib.h>

#define SQLSTATE_DATETIME_RANGE "22008"

/* Limits of src/include/datatype/timestamp.h: lower in, upper out. */
#define FIRST_DATE      INT64_C(-2451545)
#define DATE_END        INT64_C(2145031949)
#define FIRST_TIMESTAMP INT64_C(-211813488000000000)
#define TIMESTAMP_END   INT64_C(9223371331200000000)

enum hash_family hash_family_of(uint32_t type_oid)
{
    switch (type_oid) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        return HASH_INT;
    case OID_TEXT:
    case OID_VARCHAR:
        return HASH_TEXT;
    case OID_BPCHAR:
        return HASH_BPCHAR;
    case OID_UUID:
        return HASH_UUID;
    case OID_BYTEA:
        return HASH_BYTEA;
    case OID_DATE:
        return HASH_DATE;
    case OID_TIMESTAMP:
        return HASH_TIMESTAMP;
    case OID_TIMESTAMPTZ:
        return HASH_TIMESTAMPTZ;
    case OID_BOOL:
        return HASH_BOOL;
    default:
        return HASH_NONE;
    }
}

static enum status wrong_type(uint32_t type_oid, uint32_t value_oid, struct error *error_r)
{
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
              "cannot route by a value of type %u where the sharding key has type %u", value_oid, type_oid);
    error_hint(error_r, "Cast the value to the type of the sharding key.");
    return STATUS_ERROR;
}

static enum status wrong_length(struct error *error_r)
{
    return error_set(error_r, SQLSTATE_INVALID_BINARY, "incorrect binary data format");
}

/* A big-endian two's complement integer of exactly `size` bytes. */
static enum status binary_int(struct slice value, size_t size, int64_t *v_r, struct error *error_r)
{
    if (value.len != size)
        return wrong_length(error_r);
    switch (size) {
    case 1:
        *v_r = value.data[0];
        break;
    case 2:
        *v_r = (int16_t)load_u16(value.data);
        break;
    case 4:
        *v_r = (int32_t)load_u32(value.data);
        break;
    default:
        *v_r = (int64_t)load_u64(value.data);
        break;
    }
    return STATUS_OK;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* As oidin: decimal, and -1 means 4294967295. Servers disagree on whether a leading zero makes a number
 * octal. */
static enum status oid_in(struct slice text, int64_t *v_r, struct error *error_r)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (!is_digit(text.data[i]))
            continue;
        if (text.data[i] == '0' && is_digit(text.data[i + 1])) {
            error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "cannot route by an oid with leading zeros");
            error_hint(error_r, "Write the value without leading zeros.");
            return STATUS_ERROR;
        }
        break;
    }
    if (datum_int_in(text, 64, v_r, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (*v_r < INT32_MIN || *v_r > (int64_t)UINT32_MAX)
        return error_set(error_r, SQLSTATE_NUMERIC_RANGE, "value \"%.*s\" is out of range for type oid",
                         (int)(text.len < 40 ? text.len : 40), (const char *)text.data);
    *v_r = (uint32_t)*v_r;
    return STATUS_OK;
}

static enum status read_integer(uint32_t type_oid, uint32_t value_oid, int16_t format, struct slice value,
                                int64_t *v_r, struct error *error_r)
{
    size_t size;
    switch (value_oid) {
    case OID_INT2:
        size = 2;
        break;
    case OID_INT4:
    case OID_OID:
        size = 4;
        break;
    case OID_INT8:
        size = 8;
        break;
    default:
        return wrong_type(type_oid, value_oid, error_r);
    }
    enum status status;
    if (format == 1)
        status = binary_int(value, size, v_r, error_r);
    else if (value_oid == OID_OID)
        status = oid_in(value, v_r, error_r);
    else
        status = datum_int_in(value, (int)size * 8, v_r, error_r);
    if (status == STATUS_OK && (value_oid == OID_OID || (type_oid == OID_OID && size < 8)))
        *v_r = (uint32_t)*v_r;
    return status;
}

static struct slice without_trailing_blanks(struct slice s)
{
    while (s.len > 0 && s.data[s.len - 1] == ' ')
        s.len--;
    return s;
}

static enum status read_characters(uint32_t type_oid, uint32_t value_oid, struct slice value,
                                   struct key *key_r, struct error *error_r)
{
    bool strip = type_oid == OID_BPCHAR;
    switch (value_oid) {
    case OID_TEXT:
    case OID_VARCHAR:
        break;
    case OID_NAME:
        if (type_oid == OID_BPCHAR)
            return wrong_type(type_oid, value_oid, error_r);
        break;
    case OID_BPCHAR:
        strip = true;
        break;
    default:
        return wrong_type(type_oid, value_oid, error_r);
    }
    key_r->bytes = strip ? without_trailing_blanks(value) : value;
    return STATUS_OK;
}

static enum status read_bytea(int16_t format, struct slice value, struct key *key_r, struct error *error_r)
{
    if (format == 1) {
        key_r->bytes = value;
        return STATUS_OK;
    }
    uint8_t *to = key_r->small;
    if (value.len > sizeof(key_r->small))
        to = key_r->heap = xmalloc(value.len);
    size_t len = 0;
    if (datum_bytea_in(value, to, &len, error_r) != STATUS_OK) {
        key_free(key_r);
        return STATUS_ERROR;
    }
    key_r->bytes = slice_of(to, len);
    return STATUS_OK;
}

static enum status read_date(int16_t format, struct slice value, int64_t *v_r, struct error *error_r)
{
    if (format == 0) {
        int32_t days = 0;
        enum status status = datum_date_in(value, &days, error_r);
        *v_r = days;
        return status;
    }
    if (binary_int(value, 4, v_r, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if ((*v_r < FIRST_DATE || *v_r >= DATE_END) && *v_r != INT32_MIN && *v_r != INT32_MAX)
        return error_set(error_r, SQLSTATE_DATETIME_RANGE, "date out of range");
    return STATUS_OK;
}

static enum status read_timestamp(bool with_zone, int16_t format, struct slice value, int64_t *v_r,
                                  struct error *error_r)
{
    if (format == 0)
        return datum_timestamp_in(value, with_zone, v_r, error_r);
    if (binary_int(value, 8, v_r, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if ((*v_r < FIRST_TIMESTAMP || *v_r >= TIMESTAMP_END) && *v_r != INT64_MIN && *v_r != INT64_MAX)
        return error_set(error_r, SQLSTATE_DATETIME_RANGE, "timestamp out of range");
    return STATUS_OK;
}

static enum status read_bool(int16_t format, struct slice value, int64_t *v_r, struct error *error_r)
{
    if (format == 0) {
        bool b = false;
        enum status status = datum_bool_in(value, &b, error_r);
        *v_r = b;
        return status;
    }
    if (binary_int(value, 1, v_r, error_r) != STATUS_OK)
        return STATUS_ERROR;
    *v_r = *v_r != 0;
    return STATUS_OK;
}

static enum status read_uuid(int16_t format, struct slice value, struct key *key_r, struct error *error_r)
{
    if (format == 1) {
        if (value.len != 16)
            return wrong_length(error_r);
        memcpy(key_r->small, value.data, 16);
    } else if (datum_uuid_in(value, key_r->small, error_r) != STATUS_OK) {
        return STATUS_ERROR;
    }
    key_r->bytes = slice_of(key_r->small, 16);
    return STATUS_OK;
}

enum status key_read(uint32_t type_oid, uint32_t value_oid, int16_t format, struct slice value,
                     struct key *key_r, struct error *error_r)
{
    key_r->is_int = true;
    key_r->i = 0;
    key_r->bytes = slice_of(NULL, 0);
    key_r->heap = NULL;
    if (format != 0 && format != 1)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "unsupported format code: %d", format);
    if (value_oid == 0 || value_oid == OID_UNKNOWN)
        value_oid = type_oid;

    enum hash_family family = hash_family_of(type_oid);
    if (family > HASH_BPCHAR && value_oid != type_oid)
        return wrong_type(type_oid, value_oid, error_r);
    switch (family) {
    case HASH_INT:
        return read_integer(type_oid, value_oid, format, value, &key_r->i, error_r);
    case HASH_DATE:
        return read_date(format, value, &key_r->i, error_r);
    case HASH_TIMESTAMP:
    case HASH_TIMESTAMPTZ:
        return read_timestamp(family == HASH_TIMESTAMPTZ, format, value, &key_r->i, error_r);
    case HASH_BOOL:
        return read_bool(format, value, &key_r->i, error_r);
    case HASH_TEXT:
    case HASH_BPCHAR:
        key_r->is_int = false;
        return read_characters(type_oid, value_oid, value, key_r, error_r);
    case HASH_UUID:
        key_r->is_int = false;
        return read_uuid(format, value, key_r, error_r);
    case HASH_BYTEA:
        key_r->is_int = false;
        return read_bytea(format, value, key_r, error_r);
    case HASH_NONE:
        break;
    }
    return error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "type %u cannot be the type of a sharding key",
                     type_oid);
}

void key_free(struct key *key)
{
    free(key->heap);
    key->heap = NULL;
}

/* Half away from zero, as AdjustTimestampForTypmod. */
static int64_t round_timestamp(int64_t us, int32_t digits)
{
    if (us == INT64_MIN || us == INT64_MAX)
        return us;
    int64_t scale = 1;
    for (int32_t i = digits; i < 6; i++)
        scale *= 10;
    return us >= 0 ? (us + scale / 2) / scale * scale : -((-us + scale / 2) / scale * scale);
}

enum status key_apply_typmod(struct key *key, uint32_t type_oid, int32_t typmod, struct error *error_r)
{
    if (typmod < 0)
        return STATUS_OK;
    if ((type_oid == OID_TIMESTAMP || type_oid == OID_TIMESTAMPTZ) && typmod < 6)
        key->i = round_timestamp(key->i, typmod);
    /* Only blanks are ever dropped silently, anything else that is too long is the server's error. How many
       characters the bytes are is known only to those who know the encoding. */
    if (type_oid == OID_VARCHAR && typmod >= 4 && key->bytes.len > (size_t)(typmod - 4) &&
        key->bytes.data[key->bytes.len - 1] == ' ') {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "cannot route by a value with trailing blanks that character varying(%d) may drop",
                  typmod - 4);
        error_hint(error_r, "Remove the trailing blanks.");
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

int key_compare(const struct key *a, const struct key *b)
{
    if (a->is_int)
        return (a->i > b->i) - (a->i < b->i);
    size_t n = a->bytes.len < b->bytes.len ? a->bytes.len : b->bytes.len;
    int cmp = n ? memcmp(a->bytes.data, b->bytes.data, n) : 0;
    return cmp ? cmp : (a->bytes.len > b->bytes.len) - (a->bytes.len < b->bytes.len);
}
