/*
 * The values of masked literals: what the server would make of the text between the quotes. Values are in the
 * encoding of the statement; \u escapes give UTF-8, as on servers whose encoding that is.
 *
 * The lexer has found the literal's end already, so quotes are balanced here; what can go wrong are escapes
 * that the server refuses (half a surrogate pair, a NUL byte): these have no value.
 */
#include "lex.h"

/* Reads up to max digits of the base; returns how many. */
static size_t read_digits(const uint8_t *p, const uint8_t *end, unsigned base, size_t max, uint32_t *v_r)
{
    size_t n = 0;
    *v_r = 0;
    for (; n < max && p + n < end; n++) {
        uint8_t c = p[n];
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 16;
        if (d >= base)
            break;
        *v_r = *v_r * base + d;
    }
    return n;
}

static void append_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_u8(out, (uint8_t)c);
        return;
    }
    if (c < 0x800) {
        buf_u8(out, (uint8_t)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            buf_u8(out, (uint8_t)(0xe0 | c >> 12));
        } else {
            buf_u8(out, (uint8_t)(0xf0 | c >> 18));
            buf_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        }
        buf_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    }
    buf_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
}

/* p: at the u of \uXXXX or the U of \UXXXXXXXX. NULL: not such an escape. */
static const uint8_t *read_unicode(const uint8_t *p, const uint8_t *end, uint32_t *c_r)
{
    size_t want = *p == 'u' ? 4 : 8;
    return read_digits(p + 1, end, 16, want, c_r) == want ? p + 1 + want : NULL;
}

static const uint8_t *unicode_escape(const uint8_t *p, const uint8_t *end, struct buf *out)
{
    uint32_t c, low;
    p = read_unicode(p, end, &c);
    if (!p)
        return NULL;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (end - p < 2 || p[0] != '\\' || (p[1] | 0x20) != 'u')
            return NULL;
        p = read_unicode(p + 1, end, &low);
        if (!p || low < 0xdc00 || low > 0xdfff)
            return NULL;
        c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
    } else if (c == 0 || c > 0x10ffff || (c >= 0xdc00 && c <= 0xdfff)) {
        return NULL;
    }
    append_utf8(out, c);
    return p;
}

/* p: behind the backslash. NULL: the server would refuse it. */
static const uint8_t *escape(const uint8_t *p, const uint8_t *end, struct buf *out)
{
    static const char letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
    uint32_t v;
    size_t n;
    if (p == end || *p == 'v') /* \v: a letter to old servers, a vertical tab to new ones */
        return NULL;
    if (*p == 'u' || *p == 'U')
        return unicode_escape(p, end, out);
    if (*p == 'x' && (n = read_digits(p + 1, end, 16, 2, &v)) > 0) {
        n++;
    } else if ((n = read_digits(p, end, 8, 3, &v)) == 0) {
        const char *at = memchr(letters, *p, sizeof(letters) - 1);
        v = at ? (uint8_t)controls[at - letters] : *p;
        n = 1;
    }
    if ((uint8_t)v == 0)
        return NULL;
    buf_u8(out, (uint8_t)v);
    return p + n;
}

/* p: behind the opening quote; [p, end) ends with the closing one. */
static bool quoted(const uint8_t *p, const uint8_t *end, bool escapes, struct buf *out)
{
    const uint8_t *run = p;
    while (p < end) {
        if (*p != '\'' && !(escapes && *p == '\\')) {
            p++;
            continue;
        }
        buf_append(out, run, (size_t)(p - run));
        if (*p == '\\') {
            p = escape(p + 1, end, out);
            if (!p)
                return false;
            run = p;
        } else if (p + 1 == end) {
            return true;
        } else if (p[1] == '\'') {
            run = p + 1;
            p += 2;
        } else {
            p = run = lex_continuation(p + 1, end);
            if (!p)
                return false;
        }
    }
    return false;
}

bool template_literal_value(const struct template *t, uint32_t i, struct buf *out)
{
    const struct literal *l = &t->literals[i];
    const uint8_t *p = t->statement.data + l->at, *end = p + l->len;
    buf_clear(out);
    switch ((enum literal_kind)l->kind) {
    case LITERAL_INTEGER:
    case LITERAL_NUMERIC:
        buf_append(out, p, l->len);
        return true;
    case LITERAL_STRING:
        return quoted(p + 1, end, false, out);
    case LITERAL_ESTRING:
        return quoted(p + 2, end, true, out);
    case LITERAL_DOLLAR: {
        const uint8_t *tag_end = memchr(p + 1, '$', l->len - 1);
        size_t tag_len = (size_t)(tag_end + 1 - p);
        buf_append(out, p + tag_len, l->len - 2 * tag_len);
        return true;
    }
    case LITERAL_OTHER:
        return false;
    }
    return false;
}
