/*
 * The order of numbers that have a decimal point, in text (numeric, float4, float8) and in numeric's binary
 * format. Both are compared as the decimals they are, digit by digit, so the result is exact at any length.
 *
 * For floats in text that is the order of the values: PostgreSQL prints the shortest decimal that reads back
 * as the same float, so different floats print as different decimals, in the same order. (With
 * extra_float_digits
 * <= 0 it prints fewer digits, and floats that print alike compare as equal.)
 *
 * The order is that of the btree operator classes: -Infinity < finite < Infinity < NaN, NaN equals itself,
 * and the scale does not count: 1.0 = 1.00.
 */
#include "base/buf.h"
#include "datum_priv.h"

enum kind { KIND_MINUS_INFINITY, KIND_FINITE, KIND_INFINITY, KIND_NAN };

/* --- text ------------------------------------------------------------------------------------- */

/*
 * sign * 0.d1 d2 d3 ... * 10^exponent, where d1 is not 0:
 *
 *     0 0 1 2 . 5 0 e 3        at: "12.50", exponent: 2 + 3, sign: 1
 *         ^at      ^end        a point among the digits is skipped
 */
struct decimal {
    enum kind kind;
    int sign; /* 0: zero, and the rest does not count */
    int64_t exponent;
    const uint8_t *at, *end;
};

/* Exponents that no numeric or float comes near, and far from overflowing sums. */
#define MAX_EXPONENT 1000000

static bool read_special(struct slice s, struct decimal *d_r)
{
    int sign = 1;

    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+')) {
        sign = s.data[0] == '-' ? -1 : 1;
        s = slice_of(s.data + 1, s.len - 1);
    } else if (datum_is_word(s, "nan")) {
        *d_r = (struct decimal){.kind = KIND_NAN};
        return true;
    }
    if (!datum_is_word(s, "infinity") && !datum_is_word(s, "inf"))
        return false;
    *d_r = (struct decimal){.kind = sign < 0 ? KIND_MINUS_INFINITY : KIND_INFINITY};
    return true;
}

/* e, a sign or none, digits: the rest of the text. */
static bool read_exponent(const uint8_t *p, const uint8_t *end, int64_t *exponent_r)
{
    bool negative = false;
    int64_t v = 0;

    *exponent_r = 0;
    if (p == end)
        return true;
    if (*p++ != 'e' && p[-1] != 'E')
        return false;
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    if (p == end)
        return false;
    for (; p < end; p++) {
        if (!datum_is_digit(*p) || v > MAX_EXPONENT)
            return false;
        v = v * 10 + (*p - '0');
    }
    *exponent_r = negative ? -v : v;
    return true;
}

static bool read_decimal(struct slice text, struct decimal *d_r)
{
    struct slice s = datum_trim(text);
    const uint8_t *p = s.data, *end = s.data + s.len, *point = NULL, *first = NULL, *after_digits;
    int sign = 1;
    bool any = false;

    if (read_special(s, d_r))
        return true;
    if (p < end && (*p == '-' || *p == '+'))
        sign = *p++ == '-' ? -1 : 1;
    for (; p < end; p++) {
        if (datum_is_digit(*p)) {
            any = true;
            if (!first && *p != '0')
                first = p;
        } else if (*p == '.' && !point) {
            point = p;
        } else {
            break;
        }
    }
    after_digits = p;
    *d_r = (struct decimal){.kind = KIND_FINITE, .at = first, .end = after_digits};
    if (!any || !read_exponent(p, end, &d_r->exponent))
        return false;
    if (!first)
        return true;
    d_r->sign = sign;
    if (!point)
        point = after_digits;
    /* 12.5: two digits before the point. 0.05: minus one, for the zero between the point and the 5. */
    d_r->exponent += first < point ? point - first : point + 1 - first;
    return true;
}

/* The next digit; zeros without end after the last. */
static int next_digit(struct decimal *d)
{
    if (d->at < d->end && *d->at == '.')
        d->at++;
    return d->at < d->end ? *d->at++ - '0' : 0;
}

static int compare_magnitudes(struct decimal *a, struct decimal *b)
{
    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -1 : 1;
    while (a->at < a->end || b->at < b->end) {
        int cmp = next_digit(a) - next_digit(b);

        if (cmp)
            return cmp < 0 ? -1 : 1;
    }
    return 0;
}

enum status decimal_text_compare(const char *type_name, struct slice a, struct slice b, int *cmp_r,
                                 struct error *error_r)
{
    struct decimal x, y;

    if (!read_decimal(a, &x))
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, type_name, a, error_r);
    if (!read_decimal(b, &y))
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, type_name, b, error_r);
    if (x.kind != y.kind)
        *cmp_r = x.kind < y.kind ? -1 : 1;
    else if (x.kind != KIND_FINITE)
        *cmp_r = 0;
    else if (x.sign != y.sign)
        *cmp_r = x.sign < y.sign ? -1 : 1;
    else
        *cmp_r = x.sign == 0 ? 0 : x.sign * compare_magnitudes(&x, &y);
    return STATUS_OK;
}

/* --- numeric's binary format ------------------------------------------------------------------ */

/*
 *     0         2        4      6        8
 *     | ndigits | weight | sign | dscale | ndigits base-10000 digits, 16 bits each |
 *
 * value = sign * sum of digit[i] * 10000^(weight - i)
 */
enum {
    NUMERIC_POSITIVE = 0x0000,
    NUMERIC_NEGATIVE = 0x4000,
    NUMERIC_NAN = 0xC000,
    NUMERIC_INFINITY = 0xD000,
    NUMERIC_MINUS_INFINITY = 0xF000,
    NUMERIC_BASE = 10000,
    NUMERIC_HEADER_BYTES = 8
};

struct packed {
    enum kind kind;
    int sign; /* 0: zero */
    int weight;
    const uint8_t *digits; /* the first is not 0 */
    size_t n_digits;
};

static bool read_packed(struct slice s, struct packed *v_r)
{
    uint16_t sign;

    if (s.len < NUMERIC_HEADER_BYTES || s.len != NUMERIC_HEADER_BYTES + (size_t)load_u16(s.data) * 2)
        return false;
    *v_r = (struct packed){.kind = KIND_FINITE,
                           .weight = (int16_t)load_u16(s.data + 2),
                           .digits = s.data + NUMERIC_HEADER_BYTES,
                           .n_digits = load_u16(s.data)};
    sign = load_u16(s.data + 4);
    for (size_t i = 0; i < v_r->n_digits; i++)
        if (load_u16(v_r->digits + 2 * i) >= NUMERIC_BASE)
            return false;
    switch (sign) {
    case NUMERIC_NAN:
        v_r->kind = KIND_NAN;
        return true;
    case NUMERIC_INFINITY:
        v_r->kind = KIND_INFINITY;
        return true;
    case NUMERIC_MINUS_INFINITY:
        v_r->kind = KIND_MINUS_INFINITY;
        return true;
    case NUMERIC_POSITIVE:
    case NUMERIC_NEGATIVE:
        break;
    default:
        return false;
    }
    while (v_r->n_digits > 0 && load_u16(v_r->digits) == 0) {
        v_r->digits += 2;
        v_r->n_digits--;
        v_r->weight--;
    }
    v_r->sign = v_r->n_digits == 0 ? 0 : sign == NUMERIC_NEGATIVE ? -1 : 1;
    return true;
}

static int compare_packed_magnitudes(const struct packed *a, const struct packed *b)
{
    size_t n = a->n_digits > b->n_digits ? a->n_digits : b->n_digits;

    if (a->weight != b->weight)
        return a->weight < b->weight ? -1 : 1;
    for (size_t i = 0; i < n; i++) {
        int x = i < a->n_digits ? load_u16(a->digits + 2 * i) : 0;
        int y = i < b->n_digits ? load_u16(b->digits + 2 * i) : 0;

        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

enum status numeric_binary_compare(struct slice a, struct slice b, int *cmp_r, struct error *error_r)
{
    struct packed x, y;

    if (!read_packed(a, &x) || !read_packed(b, &y))
        return datum_bad_binary("numeric", error_r);
    if (x.kind != y.kind)
        *cmp_r = x.kind < y.kind ? -1 : 1;
    else if (x.kind != KIND_FINITE)
        *cmp_r = 0;
    else if (x.sign != y.sign)
        *cmp_r = x.sign < y.sign ? -1 : 1;
    else
        *cmp_r = x.sign == 0 ? 0 : x.sign * compare_packed_magnitudes(&x, &y);
    return STATUS_OK;
}
