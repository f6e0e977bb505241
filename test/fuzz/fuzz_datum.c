/* Two values of a type in a format, and every reader of text. Input: a byte for the type, one for the format
 * and how the rest is divided, then the values. The order must be one: a value equals itself, and turning the
 * two around turns the answer around. */
#include "wire/datum.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

/* Exact copies: a byte read too far is a sanitizer's error. */
static struct slice copy_of(const uint8_t *data, size_t len)
{
    uint8_t *p = malloc(len ? len : 1);

    memcpy(p, data, len);
    return slice_of(p, len);
}

static void check_order(uint32_t type_oid, int16_t format, struct slice a, struct slice b)
{
    const struct datum_style style = {.iso = true};
    struct error e = {.sqlstate = ""};
    int forth, back, same;
    bool needs_c;

    if (datum_compare(type_oid, format, &style, a, b, &forth, &e) != STATUS_OK) {
        require(e.sqlstate[0] != 0);
        require(datum_compare(type_oid, format, &style, b, a, &back, &e) != STATUS_OK);
        return;
    }
    require(datum_sortable(type_oid, &needs_c));
    require(forth >= -1 && forth <= 1);
    require(datum_compare(type_oid, format, &style, b, a, &back, &e) == STATUS_OK && back == -forth);
    require(datum_compare(type_oid, format, &style, a, a, &same, &e) == STATUS_OK && same == 0);
}

static void check_readers(struct slice text)
{
    struct error e;
    uint8_t uuid[16], *bytes = malloc(text.len ? text.len : 1);
    int64_t v;
    int32_t days;
    size_t len;
    bool b;

    if (datum_int_in(text, 16, &v, &e) == STATUS_OK)
        require(v >= INT16_MIN && v <= INT16_MAX);
    if (datum_int_in(text, 32, &v, &e) == STATUS_OK)
        require(v >= INT32_MIN && v <= INT32_MAX);
    (void)!datum_int_in(text, 64, &v, &e);
    (void)!datum_bool_in(text, &b, &e);
    (void)!datum_uuid_in(text, uuid, &e);
    if (datum_bytea_in(text, bytes, &len, &e) == STATUS_OK)
        require(len <= text.len);
    (void)!datum_date_in(text, &days, &e);
    (void)!datum_timestamp_in(text, false, &v, &e);
    (void)!datum_timestamp_in(text, true, &v, &e);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t types[] = {
        OID_BOOL, OID_BYTEA,   OID_CHAR, OID_NAME,   OID_INT8,      OID_INT2,        OID_INT4,    OID_REGPROC,
        OID_TEXT, OID_OID,     OID_TIME, OID_FLOAT4, OID_FLOAT8,    OID_MONEY,       OID_BPCHAR,  OID_VARCHAR,
        OID_DATE, OID_NUMERIC, OID_UUID, OID_TIMETZ, OID_TIMESTAMP, OID_TIMESTAMPTZ, OID_INTERVAL};
    struct slice a, b;
    size_t cut;

    if (size < 2)
        return 0;
    cut = (size_t)(data[1] >> 1) < size - 2 ? data[1] >> 1 : size - 2;
    a = copy_of(data + 2, cut);
    b = copy_of(data + 2 + cut, size - 2 - cut);
    check_order(types[data[0] % (sizeof(types) / sizeof(types[0]))], data[1] & 1, a, b);
    check_readers(b);
    free((void *)a.data);
    free((void *)b.data);
    return 0;
}
