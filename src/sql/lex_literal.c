/*
 * What the lexer does seldom: numbers with a fraction, strings with a prefix, dollar quotes, errors, and the
 * growing of its output. The lexer proper is template.c.
 */
#include "lexer.h"

#include "base/arena.h"

#define FIRST_LITERALS 32U

const uint8_t *lexer_fail(const struct lexer *lx, const char *message, const uint8_t *at, const uint8_t *to)
{
    error_set(lx->error, SQLSTATE_SYNTAX_ERROR, "%s at or near \"%.*s\"", message, (int)(to - at),
              (const char *)at);
    return NULL;
}

void lexer_first_output(struct template *t)
{
    buf_reserve(&t->text, 1);
    t->cap_literals = FIRST_LITERALS;
    t->literals = xmalloc(t->cap_literals * sizeof(*t->literals));
}

void lexer_grow_text(struct lexer *lx, size_t need)
{
    struct template *t = lx->t;
    lexer_end_output(lx);
    lx->out = buf_reserve(&t->text, need);
    lx->out_end = t->text.data + t->text.cap;
}

void lexer_grow_literals(struct lexer *lx)
{
    struct template *t = lx->t;
    lexer_end_output(lx);
    t->cap_literals *= 2;
    t->literals = xrealloc(t->literals, t->cap_literals * sizeof(*t->literals));
    lx->literal = t->literals + t->n_literals;
    lx->literals_end = t->literals + t->cap_literals;
}

const uint8_t *lexer_mask_any(struct lexer *lx, const uint8_t *from, const uint8_t *to,
                              enum literal_kind kind)
{
    if (lx->literal == lx->literals_end)
        lexer_grow_literals(lx);
    uint8_t *out = lexer_end_run(lx, from, 2);
    return lexer_put_mask(lx, out, from, to, kind);
}

static inline const uint8_t *mask(struct lexer *lx, const uint8_t *from, const uint8_t *to,
                                  enum literal_kind kind)
{
    return from <= lx->safe ? lexer_mask(lx, from, to, kind) : lexer_mask_any(lx, from, to, kind);
}

/* Behind the digits at p. */
static inline const uint8_t *skip_digits(const struct lexer *lx, const uint8_t *p)
{
#ifdef LEX_SSE2
    if (lx->safe) {
        /* Near the end, the digits are among the last bytes. */
        unsigned before = p <= lx->safe ? 0 : (unsigned)(p - lx->safe);
        p += lex_digits(p - before, before);
    }
#endif
    while (p < lx->end && lex_class[*p] == CLASS_DIGIT)
        p++;
    return p;
}

/* "1..2" is 1, .., 2. */
const uint8_t *lexer_number_any(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *from = p, *end = lx->end;
    enum literal_kind kind = LITERAL_INTEGER;
    p = skip_digits(lx, p);
    if (p < end && *p == '.' && !(p > from && p + 1 < end && p[1] == '.')) {
        kind = LITERAL_NUMERIC;
        p = skip_digits(lx, p + 1);
    }
    if (p < end && (*p | 0x20) == 'e') {
        const uint8_t *q = p + 1;
        if (q < end && (*q == '+' || *q == '-'))
            q++;
        if (q < end && lex_class[*q] == CLASS_DIGIT) {
            kind = LITERAL_NUMERIC;
            p = skip_digits(lx, q);
        }
    }
    return mask(lx, from, p, kind);
}

const uint8_t *lexer_string(struct lexer *lx, const uint8_t *from, const uint8_t *p, bool doubled,
                            enum literal_kind kind)
{
    const uint8_t *end = lx->end;
    p++;
    for (;;) {
        p = lex_find(p, end, '\'');
        if (!p)
            return NULL;
        p++;
        if (p == end)
            break;
        if (*p == '\'' && doubled) {
            p++;
            continue;
        }
        const uint8_t *next = NULL;
        if (lex_class[*p] == CLASS_SPACE || *p == '-')
            next = lex_continuation(p, end);
        if (!next)
            break;
        p = next;
    }
    return mask(lx, from, p, kind);
}

/* The first quote or backslash; end: none. */
static const uint8_t *find_quote_or_backslash(const uint8_t *p, const uint8_t *end)
{
#ifdef LEX_SSE2
    const __m128i quote = _mm_set1_epi8('\''), backslash = _mm_set1_epi8('\\');
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        int hits =
            _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)));
        if (hits)
            return p + __builtin_ctz((unsigned)hits);
    }
#endif
    while (p < end && *p != '\'' && *p != '\\')
        p++;
    return p;
}

/* E'...'; p: at the quote. */
RARE static const uint8_t *escape_string(struct lexer *lx, const uint8_t *from, const uint8_t *p)
{
    const uint8_t *end = lx->end;
    p++;
    for (;;) {
        p = find_quote_or_backslash(p, end);
        if (end - p < 1)
            return NULL;
        if (*p == '\\') {
            if (end - p < 2)
                return NULL;
            p += 2;
            continue;
        }
        p++;
        if (p < end && *p == '\'') {
            p++;
            continue;
        }
        const uint8_t *next = lex_continuation(p, end);
        if (!next)
            return mask(lx, from, p, LITERAL_ESTRING);
        p = next;
    }
}

const uint8_t *lexer_dollar(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *from = p++, *end = lx->end;
    if (p < end && lex_class[*p] == CLASS_DIGIT) {
        while (p < end && lex_class[*p] == CLASS_DIGIT)
            p++;
        return p;
    }
    while (p < end && lex_class[*p] <= CLASS_DIGIT)
        p++;
    if (p == end || *p != '$')
        return from + 1;
    p++;
    /* The delimiter has no dollar inside, so its first occurrence is where the server's scanner stops, too.
     */
    size_t tag_len = (size_t)(p - from);
    const uint8_t *close = memmem(p, (size_t)(end - p), from, tag_len);
    if (!close)
        return lexer_fail(lx, "unterminated dollar-quoted string", from, end);
    return mask(lx, from, close + tag_len, LITERAL_DOLLAR);
}

/* ---- words
 * -------------------------------------------------------------------------------------------------- */

/* Behind U&'...' or U&"...": the escape character of a UESCAPE clause must stay in the template. */
RARE static bool keep_uescape(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *end = lx->end;
    const uint8_t *word = lex_skip_blank(p, end, NULL, NULL);
    if (!word)
        return true; /* whoever comes there reports it */
    const uint8_t *q = word;
    while (q < end && lex_continues_identifier(*q))
        q++;
    if (!lex_word_is(word, (size_t)(q - word), "uescape"))
        return true;
    q = lex_skip_blank(q, end, NULL, NULL);
    if (!q)
        return true;
    if (end - q >= 3 && q[0] == '\'' && q[1] > ' ' && q[1] < 0x7f && q[1] != '\'' && q[1] != '"' &&
        q[2] == '\'' && !(end - q > 3 && q[3] == '\'') && !lex_continuation(q + 3, end)) {
        lx->verbatim = q;
        return true;
    }
    lexer_fail(lx, "UESCAPE must be followed by a simple string literal", q, end);
    error_hint(lx->error, "Write the escape character as in UESCAPE '!'.");
    return false;
}

const uint8_t *lexer_unicode(struct lexer *lx, const uint8_t *from, const uint8_t *p)
{
    if (*p == '\'') {
        p = lexer_string(lx, from, p, true, LITERAL_OTHER);
        if (!p)
            return lexer_fail(lx, "unterminated quoted string", from, lx->end);
    } else {
        p = lex_skip_identifier(p + 1, lx->end);
        if (!p)
            return lexer_fail(lx, "unterminated quoted identifier", from, lx->end);
    }
    return keep_uescape(lx, p) ? p : NULL;
}

const uint8_t *lexer_prefixed(struct lexer *lx, const uint8_t *from, const uint8_t *p)
{
    const uint8_t *end = lx->end, *to;
    uint8_t letter = *from | 0x20;
    if (*p == '&')
        return letter == 'u' && end - p >= 2 && (p[1] == '\'' || p[1] == '"') ? lexer_unicode(lx, from, p + 1)
                                                                              : p;
    switch (letter) {
    case 'e':
        to = escape_string(lx, from, p);
        return to ? to : lexer_fail(lx, "unterminated quoted string", from, end);
    case 'b':
        to = lexer_string(lx, from, p, false, LITERAL_OTHER);
        return to ? to : lexer_fail(lx, "unterminated bit string literal", from, end);
    case 'x':
        to = lexer_string(lx, from, p, false, LITERAL_OTHER);
        return to ? to : lexer_fail(lx, "unterminated hexadecimal string literal", from, end);
    default:
        return p;
    }
}
