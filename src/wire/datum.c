/*
 * Which types rows can be merged by, and the order of their values: that of each type's default btree
 * operator class, on the text and on the binary format. datum_compare() is a table of one reader a type; how
 * values are read is in datum_in.c, datum_number.c and datum_time.c.
 *
 * A type is sortable only if both of its formats are read exactly. Left out on purpose: money (its text
 * depends on lc_monetary), regproc (its text is a name, its order that of OIDs), and types that are not in
 * datum.h. Text types are compared by their bytes, which is the C collation's order so long as
 * client_encoding is the server's own encoding; whether the collation is C is for the caller to know.
 */
#include "base/buf.h"
#include "datum_priv.h"

void datum_style_parse(const char *date_style, struct datum_style *style_r)
{
    const char *comma = strchr(date_style, ',');
    struct slice output =
        datum_trim(slice_of(date_style, comma ? (size_t)(comma - date_style) : strlen(date_style)));
    style_r->iso = datum_is_word(output, "iso");
}

/* --- the others ------------------------------------------------------------------------------- */

/* As memcmp(), then the shorter one first. */
static int compare_bytes(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int cmp = n == 0 ? 0 : memcmp(a.data, b.data, n);

    return cmp < 0 ? -1 : cmp > 0 ? 1 : datum_cmp_i64((int64_t)a.len, (int64_t)b.len);
}

/* bpchar: trailing blanks do not count. */
static struct slice without_blanks(struct slice s)
{
    while (s.len > 0 && s.data[s.len - 1] == ' ')
        s.len--;
    return s;
}

static enum status compare_bytea_text(struct slice a, struct slice b, int *cmp_r, struct error *error_r)
{
    struct bytea_reader x = bytea_reader_of(a), y = bytea_reader_of(b);
    int cmp = 0, i = 0, j = 0;

    /* To the end of both, past the first difference: a value that cannot be read is an error wherever. */
    do {
        i = i < 0 ? i : bytea_next(&x);
        j = j < 0 ? j : bytea_next(&y);
        if (cmp == 0)
            cmp = (i > j) - (i < j); /* the end is -1 */
    } while (i >= 0 || j >= 0);
    if (i != BYTEA_END)
        return bytea_fail(&x, i, error_r);
    if (j != BYTEA_END)
        return bytea_fail(&y, j, error_r);
    *cmp_r = cmp;
    return STATUS_OK;
}

static enum status compare_uuid(bool binary, struct slice a, struct slice b, int *cmp_r,
                                struct error *error_r)
{
    uint8_t x[16], y[16];

    if (binary) {
        if (a.len != 16 || b.len != 16)
            return datum_bad_binary("uuid", error_r);
        *cmp_r = compare_bytes(a, b);
        return STATUS_OK;
    }
    if (datum_uuid_in(a, x, error_r) != STATUS_OK || datum_uuid_in(b, y, error_r) != STATUS_OK)
        return STATUS_ERROR;
    *cmp_r = compare_bytes(slice_of(x, 16), slice_of(y, 16));
    return STATUS_OK;
}

/* NaN is above everything and equals itself; -0 equals 0. */
static int compare_doubles(double a, double b)
{
    bool a_nan = a != a, b_nan = b != b;

    if (a_nan || b_nan)
        return a_nan - b_nan;
    return (a > b) - (a < b);
}

static double load_float(struct slice v)
{
    uint32_t bits = load_u32(v.data);
    float f;

    memcpy(&f, &bits, sizeof(f));
    return (double)f;
}

static double load_double(struct slice v)
{
    uint64_t bits = load_u64(v.data);
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

static enum status compare_float(uint32_t type_oid, bool binary, struct slice a, struct slice b, int *cmp_r,
                                 struct error *error_r)
{
    const char *type_name = type_oid == OID_FLOAT4 ? "real" : "double precision";
    size_t len = type_oid == OID_FLOAT4 ? 4 : 8;

    if (!binary)
        return decimal_text_compare(type_name, a, b, cmp_r, error_r);
    if (a.len != len || b.len != len)
        return datum_bad_binary(type_name, error_r);
    *cmp_r = len == 4 ? compare_doubles(load_float(a), load_float(b))
                      : compare_doubles(load_double(a), load_double(b));
    return STATUS_OK;
}

bool datum_sortable(uint32_t type_oid, bool *needs_c_collation_r)
{
    *needs_c_collation_r = false;
    switch (type_oid) {
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_NAME: /* C by default, but a column or an expression may have another */
        *needs_c_collation_r = true;
        return true;
    case OID_BOOL:
    case OID_BYTEA:
    case OID_CHAR:
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_FLOAT4:
    case OID_FLOAT8:
    case OID_NUMERIC:
    case OID_DATE:
    case OID_TIME:
    case OID_TIMETZ:
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ:
    case OID_INTERVAL:
    case OID_UUID:
        return true;
    default:
        return false;
    }
}

static enum status check_style(uint32_t type_oid, const struct datum_style *style, struct error *error_r)
{
    if (type_oid != OID_DATE && type_oid != OID_TIMESTAMP && type_oid != OID_TIMESTAMPTZ)
        return STATUS_OK;
    if (style && style->iso)
        return STATUS_OK;
    error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "rows cannot be merged by dates under this DateStyle");
    error_hint(error_r, "SET DateStyle = 'ISO'.");
    return STATUS_ERROR;
}

enum status datum_compare(uint32_t type_oid, int16_t format, const struct datum_style *style, struct slice a,
                          struct slice b, int *cmp_r, struct error *error_r)
{
    bool binary = format == 1;
    struct datum_key x, y;
    enum key_result read;

    if (format != 0 && format != 1)
        return error_set(error_r, SQLSTATE_INVALID_PARAMETER, "unsupported format code: %d", (int)format);
    if (!binary && check_style(type_oid, style, error_r) != STATUS_OK)
        return STATUS_ERROR;
    read = datum_key_read(type_oid, binary, a, &x, error_r);
    if (read == KEY_READ)
        read = datum_key_read(type_oid, binary, b, &y, error_r);
    if (read == KEY_BAD)
        return STATUS_ERROR;
    if (read == KEY_READ) {
        *cmp_r = datum_key_compare(&x, &y);
        return STATUS_OK;
    }
    switch (type_oid) {
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_NAME:
        *cmp_r = compare_bytes(a, b);
        return STATUS_OK;
    case OID_BPCHAR:
        *cmp_r = compare_bytes(without_blanks(a), without_blanks(b));
        return STATUS_OK;
    case OID_BYTEA:
        if (!binary)
            return compare_bytea_text(a, b, cmp_r, error_r);
        *cmp_r = compare_bytes(a, b);
        return STATUS_OK;
    case OID_UUID:
        return compare_uuid(binary, a, b, cmp_r, error_r);
    case OID_FLOAT4:
    case OID_FLOAT8:
        return compare_float(type_oid, binary, a, b, cmp_r, error_r);
    case OID_NUMERIC:
        return binary ? numeric_binary_compare(a, b, cmp_r, error_r)
                      : decimal_text_compare("numeric", a, b, cmp_r, error_r);
    default:
        return error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "rows cannot be merged by values of type %u", (unsigned)type_oid);
    }
}
