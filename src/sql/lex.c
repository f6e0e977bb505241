/*
 * Skipping what has no tokens inside: white space, comments, quoted identifiers, the gap in a continued
 * string. The rules are PostgreSQL's; the lexer proper is template.c.
 */
#include "lex.h"

#define I CLASS_IDENT
#define D CLASS_DIGIT
#define S CLASS_SPACE
#define O CLASS_COPY
#define C CLASS_CONTROL
#define M CLASS_COMMENT
/* A vertical tab is white space to servers from version 16 on and an error to older ones: it is copied, and
   the parser decides. */
const uint8_t lex_class[256] = {
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    S,
    S,
    O,
    S,
    S,
    C,
    C, /* 00 */
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C,
    C, /* 10 */
    S,
    O,
    CLASS_DQUOTE,
    O,
    CLASS_DOLLAR,
    O,
    O,
    CLASS_QUOTE, /* 20: blank to ' */
    CLASS_OPEN,
    CLASS_CLOSE,
    O,
    O,
    O,
    M,
    CLASS_DOT,
    M, /* 28: ( to / */
    D,
    D,
    D,
    D,
    D,
    D,
    D,
    D,
    D,
    D,
    O,
    CLASS_SEMICOLON,
    O,
    O,
    O,
    O, /* 30 */
    O,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I, /* 40 */
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    O,
    O,
    O,
    O,
    I, /* 50 */
    O,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I, /* 60 */
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    I,
    O,
    O,
    O,
    O,
    O, /* 70 */
    /* 80 to ff are CLASS_IDENT, which is 0 */
};
#undef I
#undef D
#undef S
#undef O
#undef C
#undef M
_Static_assert(CLASS_IDENT == 0, "the table's second half relies on it");

static const uint8_t *skip_line(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p != '\n' && *p != '\r')
        p++;
    return p;
}

/* Every opening and closing of a nested comment has a star, so only stars are looked at. In the opening "/"
   "*" that was just consumed the star does not count again: q > p says that the slash before the star is
   unread. */
static const uint8_t *skip_block(const uint8_t *p, const uint8_t *end)
{
    size_t depth = 1;
    while ((size_t)(end - p) >= 2) {
        const uint8_t *q = lex_find(p, end, '*');
        if (!q)
            return NULL;
        if (q > p && q[-1] == '/') {
            depth++;
            p = q + 1;
        } else if (q + 1 < end && q[1] == '/') {
            p = q + 2;
            if (--depth == 0)
                return p;
        } else {
            p = q + 1;
        }
    }
    return NULL;
}

const uint8_t *lex_skip_comment(const uint8_t *p, const uint8_t *end, struct lex_comment *comment_r)
{
    if (end - p < 2)
        return p;
    if (p[0] == '-' && p[1] == '-') {
        const uint8_t *q = skip_line(p + 2, end);
        *comment_r = (struct lex_comment){p + 2, q};
        return q;
    }
    if (p[0] == '/' && p[1] == '*') {
        const uint8_t *q = skip_block(p + 2, end);
        if (q)
            *comment_r = (struct lex_comment){p + 2, q - 2};
        return q;
    }
    return p;
}

static struct slice hint_in(const struct lex_comment *c)
{
    static const char prefix[] = "pgunison:";
    const uint8_t *from = c->from, *to = c->to;
    while (from < to && lex_class[*from] == CLASS_SPACE)
        from++;
    while (from < to && lex_class[to[-1]] == CLASS_SPACE)
        to--;
    if ((size_t)(to - from) < sizeof(prefix) - 1 || memcmp(from, prefix, sizeof(prefix) - 1) != 0)
        return slice_of(NULL, 0);
    return slice_of(from, (size_t)(to - from));
}

const uint8_t *lex_skip_blank(const uint8_t *p, const uint8_t *end, struct slice *hint_r,
                              const uint8_t **start_r)
{
    while (p < end) {
        if (lex_class[*p] == CLASS_SPACE) {
            p++;
            continue;
        }
        if (lex_class[*p] != CLASS_COMMENT)
            return p;
        struct lex_comment comment;
        const uint8_t *q = lex_skip_comment(p, end, &comment);
        if (q == p)
            return p;
        if (!q) {
            if (start_r)
                *start_r = p;
            return NULL;
        }
        if (hint_r && hint_r->len == 0)
            *hint_r = hint_in(&comment);
        p = q;
    }
    return p;
}

/* White space with at least one newline, then a quote. Comments of the -- form count as white space there,
 * others do not. */
const uint8_t *lex_continuation(const uint8_t *p, const uint8_t *end)
{
    bool newline = false;
    while (p < end) {
        if (lex_class[*p] == CLASS_SPACE) {
            newline |= *p == '\n' || *p == '\r';
            p++;
        } else if (*p == '-' && end - p >= 2 && p[1] == '-') {
            p = skip_line(p, end);
        } else {
            break;
        }
    }
    return newline && p < end && *p == '\'' ? p + 1 : NULL;
}

const uint8_t *lex_skip_identifier(const uint8_t *p, const uint8_t *end)
{
    for (;;) {
        p = lex_find(p, end, '"');
        if (!p)
            return NULL;
        p++;
        if (p == end || *p != '"')
            return p;
        p++;
    }
}

bool lex_word_is(const uint8_t *p, size_t len, const char *word)
{
    for (size_t i = 0; i < len; i++)
        if (word[i] == '\0' || (uint8_t)word[i] != (p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]))
            return false;
    return word[len] == '\0';
}
