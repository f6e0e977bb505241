/*
 * Literals and identifiers.
 *
 * A backslash is written as \x5c: in SJIS, GBK, BIG5 and their like it may be the second byte of a character, and
 * doubled as usual the second of the two would then be on its own, and escape the quote that follows it. Of \x5c
 * the server would find x5c left, which are three letters.
 */
#include "base/quote.h"

static struct slice until_zero(struct slice text)
{
    const uint8_t *zero = text.len ? memchr(text.data, 0, text.len) : NULL;
    return zero ? slice_of(text.data, (size_t)(zero - text.data)) : text;
}

void quote_literal(struct buf *sql, struct slice text)
{
    text = until_zero(text);
    buf_str(sql, text.len && memchr(text.data, '\\', text.len) ? "E'" : "'");
    size_t done = 0; /* up to here it is written */
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '\\' && text.data[i] != '\'')
            continue;
        buf_append(sql, text.data + done, i - done);
        buf_str(sql, text.data[i] == '\'' ? "''" : "\\x5c");
        done = i + 1;
    }
    buf_append(sql, text.data + done, text.len - done);
    buf_u8(sql, '\'');
}

void quote_identifier(struct buf *sql, struct slice name)
{
    name = until_zero(name);
    buf_u8(sql, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '"')
            buf_u8(sql, '"');
        buf_u8(sql, name.data[i]);
    }
    buf_u8(sql, '"');
}
