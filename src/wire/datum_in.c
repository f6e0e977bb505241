/*
 * Text to value, as the input functions of integers, bool, uuid and bytea read it (int.c, numutils.c, bool.c,
 * uuid.c, encode.c and varlena.c in PostgreSQL), with their error messages.
 *
 * Integers: PostgreSQL 16 added 0x, 0o, 0b and single underscores between digits. They are read here whatever
 * the shards' version: what they mean is not in doubt, and an older shard refuses the statement itself.
 */
#include "datum_priv.h"

/* --- shared by the files that read values ----------------------------------------------------- */

struct slice datum_trim(struct slice s)
{
    if (!s.data)
        return slice_of("", 0);
    while (s.len > 0 && datum_is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && datum_is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool datum_is_word(struct slice s, const char *lower)
{
    if (s.len != strlen(lower))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];

        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != (uint8_t)lower[i])
            return false;
    }
    return true;
}

int datum_shown_len(struct slice s)
{
    size_t len = s.len;

    if (len > 100) {
        len = 100;
        for (int back = 0; back < 3 && (s.data[len] & 0xC0) == 0x80; back++)
            len--;
    }
    return (int)len;
}

enum status datum_bad_syntax(const char *sqlstate, const char *type_name, struct slice value,
                             struct error *error_r)
{
    return error_set(error_r, sqlstate, "invalid input syntax for type %s: \"%.*s\"", type_name,
                     SHOWN(value));
}

enum status datum_bad_binary(const char *type_name, struct error *error_r)
{
    return error_set(error_r, SQLSTATE_INVALID_BINARY, "incorrect binary data format for type %s", type_name);
}

/* --- integers --------------------------------------------------------------------------------- */

static unsigned digit_value(uint8_t c)
{
    if (datum_is_digit(c))
        return c - (unsigned)'0';
    if (c >= 'a' && c <= 'f')
        return c - (unsigned)'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - (unsigned)'A' + 10;
    return 99;
}

/* 0x, 0o or 0b: takes the prefix away. */
static unsigned take_base(struct slice *digits)
{
    unsigned base = 10;

    if (digits->len >= 2 && digits->data[0] == '0') {
        uint8_t c = digits->data[1] | 0x20;

        base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
        if (base != 10) {
            digits->data += 2;
            digits->len -= 2;
        }
    }
    return base;
}

enum int_parse { INT_FITS, INT_TOO_BIG, INT_NO_NUMBER };

/* Stops where the server does: a number that is too big is that, whatever follows. */
static enum int_parse parse_magnitude(struct slice digits, uint64_t limit, uint64_t *magnitude_r)
{
    unsigned base = take_base(&digits);
    bool after_digit = base != 10; /* 0x_1 is a number, _1 is not */
    uint64_t v = 0;

    for (size_t i = 0; i < digits.len; i++) {
        unsigned d = digit_value(digits.data[i]);

        if (digits.data[i] == '_' && after_digit && i + 1 < digits.len) {
            after_digit = false;
            continue;
        }
        if (d >= base)
            return INT_NO_NUMBER;
        after_digit = true;
        if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v) ||
            v > limit)
            return INT_TOO_BIG;
    }
    *magnitude_r = v;
    return digits.len == 0 ? INT_NO_NUMBER : INT_FITS;
}

enum status datum_int_in(struct slice text, int bits, int64_t *v_r, struct error *error_r)
{
    const char *type_name = bits == 16 ? "smallint" : bits == 32 ? "integer" : "bigint";
    const uint64_t limit = UINT64_C(1) << (bits - 1); /* of a negative number; one less of a positive one */
    struct slice s = datum_trim(text);
    bool negative = s.len > 0 && s.data[0] == '-';
    uint64_t magnitude = 0;
    enum int_parse parsed;

    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+')) {
        s.data++;
        s.len--;
    }
    parsed = parse_magnitude(s, limit, &magnitude);
    if (parsed == INT_NO_NUMBER)
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, type_name, text, error_r);
    if (parsed == INT_TOO_BIG || magnitude > limit - !negative)
        return error_set(error_r, SQLSTATE_NUMERIC_RANGE, "value \"%.*s\" is out of range for type %s",
                         SHOWN(text), type_name);
    *v_r = negative ? (int64_t)(UINT64_C(0) - magnitude) : (int64_t)magnitude;
    return STATUS_OK;
}

/* --- bool ------------------------------------------------------------------------------------- */

/* s begins the word, and has at least min letters of it. */
static bool abbreviates(struct slice s, const char *word, size_t min)
{
    char begin[8];

    if (s.len < min || s.len > strlen(word))
        return false;
    memcpy(begin, word, s.len);
    begin[s.len] = 0;
    return datum_is_word(s, begin);
}

enum status datum_bool_in(struct slice text, bool *v_r, struct error *error_r)
{
    struct slice s = datum_trim(text);

    if (abbreviates(s, "true", 1) || abbreviates(s, "yes", 1) || abbreviates(s, "on", 2) ||
        slice_eq_str(s, "1"))
        *v_r = true;
    else if (abbreviates(s, "false", 1) || abbreviates(s, "no", 1) || abbreviates(s, "off", 2) ||
             slice_eq_str(s, "0"))
        *v_r = false;
    else
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, "boolean", text, error_r);
    return STATUS_OK;
}

/* --- uuid ------------------------------------------------------------------------------------- */

/* 32 hexadecimal digits, a hyphen allowed after every fourth, all of it in braces or not; no white space. */
static bool parse_uuid(struct slice s, uint8_t out[16])
{
    size_t at = 0;

    if (s.len >= 2 && s.data[0] == '{') {
        if (s.data[s.len - 1] != '}')
            return false;
        s = slice_of(s.data + 1, s.len - 2);
    }
    for (size_t i = 0; i < 16; i++) {
        unsigned high, low;

        if (s.len - at < 2)
            return false;
        high = digit_value(s.data[at]);
        low = digit_value(s.data[at + 1]);
        if (high > 15 || low > 15)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
        at += 2;
        if (i % 2 == 1 && i < 15 && at < s.len && s.data[at] == '-')
            at++;
    }
    return at == s.len;
}

enum status datum_uuid_in(struct slice text, uint8_t out[16], struct error *error_r)
{
    if (!parse_uuid(text, out))
        return datum_bad_syntax(SQLSTATE_INVALID_TEXT, "uuid", text, error_r);
    return STATUS_OK;
}

/* --- bytea ------------------------------------------------------------------------------------ */

struct bytea_reader bytea_reader_of(struct slice text)
{
    bool hex = text.len >= 2 && text.data[0] == '\\' && text.data[1] == 'x';

    if (!text.data)
        text = slice_of("", 0);
    return (struct bytea_reader){.at = text.data + (hex ? 2 : 0), .end = text.data + text.len, .hex = hex};
}

static int next_hex(struct bytea_reader *r)
{
    unsigned high, low;

    /* White space is allowed between bytes, not inside one. */
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
    if (r->at == r->end)
        return BYTEA_END;
    high = digit_value(*r->at);
    if (high > 15)
        return BYTEA_BAD_DIGIT;
    if (++r->at == r->end)
        return BYTEA_ODD;
    low = digit_value(*r->at);
    if (low > 15)
        return BYTEA_BAD_DIGIT;
    r->at++;
    return (int)(high << 4 | low);
}

static int next_escaped(struct bytea_reader *r)
{
    const uint8_t *p = r->at;
    size_t left = (size_t)(r->end - p);

    if (left == 0)
        return BYTEA_END;
    if (p[0] != '\\') {
        r->at++;
        return p[0];
    }
    if (left >= 4 && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
        r->at += 4;
        return (p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0');
    }
    if (left >= 2 && p[1] == '\\') {
        r->at += 2;
        return '\\';
    }
    return BYTEA_BAD_ESCAPE;
}

int bytea_next(struct bytea_reader *r)
{
    return r->hex ? next_hex(r) : next_escaped(r);
}

enum status bytea_fail(const struct bytea_reader *r, int why, struct error *error_r)
{
    if (why == BYTEA_ODD)
        return error_set(error_r, SQLSTATE_INVALID_PARAMETER,
                         "invalid hexadecimal data: odd number of digits");
    if (why == BYTEA_BAD_DIGIT) {
        size_t left = (size_t)(r->end - r->at), n = 1;

        while (n < left && n < 4 && (r->at[n] & 0xC0) == 0x80 && (r->at[0] & 0x80))
            n++;
        return error_set(error_r, SQLSTATE_INVALID_PARAMETER, "invalid hexadecimal digit: \"%.*s\"", (int)n,
                         (const char *)r->at);
    }
    return error_set(error_r, SQLSTATE_INVALID_TEXT, "invalid input syntax for type bytea");
}

enum status datum_bytea_in(struct slice text, uint8_t *out, size_t *len_r, struct error *error_r)
{
    struct bytea_reader r = bytea_reader_of(text);
    size_t n = 0;
    int byte;

    while ((byte = bytea_next(&r)) >= 0)
        out[n++] = (uint8_t)byte;
    if (byte != BYTEA_END)
        return bytea_fail(&r, byte, error_r);
    *len_r = n;
    return STATUS_OK;
}
