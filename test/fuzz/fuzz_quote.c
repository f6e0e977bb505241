/* What base/quote writes, read as a server would read it: first characters by the encoding, then the lexer. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many bytes the character at p has: in an encoding whose second byte may be ASCII, 2 from its lead bytes on;
 * an invalid pair (a quote as the second byte) is an error in the server, which runs nothing then. */
static size_t character(const uint8_t *p, size_t left, bool second_may_be_ascii)
{
    return second_may_be_ascii && *p >= 0x81 && left > 1 && p[1] != '\'' && p[1] != '"' ? 2 : 1;
}

/* One pass of the lexer over a literal or an identifier: it must end at the last byte, not before. */
static void check_ends(const uint8_t *p, size_t len, uint8_t quote, bool escapes, bool second_may_be_ascii)
{
    if (len < 2 || p[0] != quote || p[len - 1] != quote)
        abort();
    for (size_t i = 1; i < len;) {
        size_t n = character(p + i, len - i, second_may_be_ascii);
        if (n == 2) {
            i += 2;
        } else if (escapes && p[i] == '\\') {
            i += 2;
            if (i > len - 1)
                abort(); /* the end is escaped */
        } else if (p[i] == quote) {
            if (i == len - 1)
                return;
            if (p[i + 1] != quote || i + 1 == len - 1)
                abort(); /* ends before its end */
            i += 2;
        } else {
            i++;
        }
    }
    abort(); /* does not end */
}

static void check_value(const uint8_t *p, size_t len, bool escapes, const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (size_t i = 1; i + 1 < len; at++) {
        uint8_t c = p[i];
        if (escapes && c == '\\') {
            if (i + 4 > len || memcmp(p + i, "\\x5c", 4) != 0)
                abort();
            i += 4;
        } else {
            i += c == '\'' || c == '"' ? (p[0] == c ? 2 : 1) : 1;
        }
        if (at >= size || data[at] != c)
            abort();
    }
    if (at != size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    buf_init(&b);
    quote_literal(&b, slice_of(data, size));
    size_t n = zero ? (size_t)(zero - data) : size;
    bool escapes = *buf_head(&b) == 'E';
    if (escapes != (n && memchr(data, '\\', n)))
        abort();
    for (int ascii = 0; ascii < 2; ascii++)
        check_ends(buf_head(&b) + escapes, buf_len(&b) - escapes, '\'', escapes, ascii);
    check_value(buf_head(&b) + escapes, buf_len(&b) - escapes, escapes, data, n);
    buf_clear(&b);
    quote_identifier(&b, slice_of(data, size));
    for (int ascii = 0; ascii < 2; ascii++)
        check_ends(buf_head(&b), buf_len(&b), '"', false, ascii);
    check_value(buf_head(&b), buf_len(&b), false, data, n);
    buf_free(&b);
    return 0;
}
