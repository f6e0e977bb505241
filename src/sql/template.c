/*
 * The lexer. One pass over the statement; bytes that stay as they are form a run, and are copied when it
 * ends:
 *
 *     ... SELECT a FROM t WHERE id =  42   AND ...
 *         ^ run                       ^ p          run .. p: read, belongs to the template, not copied yet
 *
 * A run goes on over single blanks; it ends at a literal (its mask is appended) and at white space that is
 * anything but one blank (one blank is appended).
 *
 * Two statements with the same template must differ in nothing but the values of their literals, or a cached
 * plan would be used for the wrong one. So:
 *  - control characters, of which masks are made, are refused outside of literals and quoted identifiers;
 *  - a comment leaves a blank: it separates tokens;
 *  - the escape character after U&"..." UESCAPE decides which identifier is meant: it stays in the template,
 * and since it has the form 'c' with a printable c it cannot be taken for a mask.
 *
 * Text is lexed as the server does once it is in the server's encoding, where ASCII bytes mean themselves.
 * Callers must not hand in text of clients whose encoding is not like that (SJIS, BIG5, GBK, GB18030, UHC,
 * JOHAB).
 *
 * Not responsible for: whether what lies between the literals makes sense (numbers that run into identifiers,
 * empty identifiers, bad escapes): the parser and the server report that.
 */
#include "lex.h"
#include "plain.h"

#include "base/arena.h"
#include "base/hashmap.h"
#include <stdlib.h>

#define LONGEST_SQL                                                                                          \
    ((size_t)INT32_MAX / 2) /* templates are at most 1.5 times as long; the server's own limit is 1 GB */
#define FIRST_LITERALS 32U
#define SHORT_RUN      32
/* What behind a blank calls for a closer look, as a set of character classes. */
#define MAY_CONTINUE_BLANK (1U << CLASS_SPACE | 1U << CLASS_COMMENT | 1U << CLASS_SEMICOLON)

/* The keywords of CREATE FUNCTION ... BEGIN ATOMIC ... END, inside of which semicolons do not end the
 * statement. CASE ends with END, too. */
struct body {
    bool create;      /* the statement begins with CREATE: words are watched */
    bool seen;        /* BEGIN ATOMIC was there */
    bool after_begin; /* the last word was BEGIN */
    bool after_as;    /* the last word was AS: what follows is a label */
    unsigned nesting;
};

struct lexer {
    struct template *t;
    const uint8_t *begin, *end;
    const uint8_t *run;      /* see above */
    const uint8_t *verbatim; /* the quote of a UESCAPE string */
    struct error *error;
    struct body body;
};

void template_init(struct template *t)
{
    *t = (struct template){0};
    buf_init(&t->text);
}

void template_free(struct template *t)
{
    buf_free(&t->text);
    free(t->literals);
    template_init(t);
}

static const uint8_t *fail(const struct lexer *lx, const char *message, const uint8_t *at, const uint8_t *to)
{
    error_set(lx->error, SQLSTATE_SYNTAX_ERROR, "%s at or near \"%.*s\"", message, (int)(to - at),
              (const char *)at);
    return NULL;
}

/* ---- output
 * ------------------------------------------------------------------------------------------------- */

/* Ends the run at p and makes room for `more` bytes behind it, where the result points. */
static inline uint8_t *end_run(struct lexer *lx, const uint8_t *p, size_t more)
{
    struct buf *text = &lx->t->text;
    size_t n = (size_t)(p - lx->run), need = n + more + SHORT_RUN;
    uint8_t *to = text->cap - text->end >= need ? text->data + text->end : buf_reserve(text, need);
    if (n <= SHORT_RUN && lx->end - lx->run >= SHORT_RUN)
        memcpy(to, lx->run, SHORT_RUN); /* a constant size needs no call; what is too much gets overwritten */
    else
        memcpy(to, lx->run, n);
    text->end += n;
    return to + n;
}

static void grow_literals(struct template *t)
{
    t->cap_literals = t->cap_literals ? t->cap_literals * 2 : FIRST_LITERALS;
    t->literals = xrealloc(t->literals, t->cap_literals * sizeof(*t->literals));
}

/* [from, to) is a literal. Returns to. */
static inline const uint8_t *mask(struct lexer *lx, const uint8_t *from, const uint8_t *to,
                                  enum literal_kind kind)
{
    struct template *t = lx->t;
    uint8_t *out = end_run(lx, from, 2);
    out[0] = kind <= LITERAL_NUMERIC ? '#' : '\'';
    out[1] = (uint8_t)(1 + kind);
    if (t->n_literals == t->cap_literals)
        grow_literals(t);
    t->literals[t->n_literals++] = (struct literal){
        .at = (uint32_t)(from - lx->begin),
        .len = (uint32_t)(to - from),
        .template_at = (uint32_t)t->text.end,
        .kind = (uint8_t)kind,
    };
    t->text.end += 2;
    lx->run = to;
    return to;
}

/* ---- literals
 * ----------------------------------------------------------------------------------------------- */

static inline const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end)
{
#ifdef __SSE2__
    /* How long a number is cannot be foretold, so a loop over its digits would end in a mispredicted branch.
     */
    if (end - p >= 16) {
        __m128i digits = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8('0'));
        int others = ~_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits));
        unsigned n = (unsigned)__builtin_ctz((unsigned)others);
        p += n;
        if (n < 16)
            return p;
    }
#endif
    while (p < end && lex_class[*p] == CLASS_DIGIT)
        p++;
    return p;
}

/* p: at the first digit or at the point before it. "1..2" is 1, .., 2. */
static inline const uint8_t *number(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *from = p, *end = lx->end;
    enum literal_kind kind = LITERAL_INTEGER;
    if (*p != '.')
        p = skip_digits(p, end);
    if (p < end && *p == '.' && !(p > from && p + 1 < end && p[1] == '.')) {
        kind = LITERAL_NUMERIC;
        p = skip_digits(p + 1, end);
    }
    if (p < end && (*p | 0x20) == 'e') {
        const uint8_t *q = p + 1;
        if (q < end && (*q == '+' || *q == '-'))
            q++;
        if (q < end && lex_class[*q] == CLASS_DIGIT) {
            kind = LITERAL_NUMERIC;
            p = skip_digits(q, end);
        }
    }
    return mask(lx, from, p, kind);
}

/* A string without backslash escapes that begins at from, its opening quote at p. '' is a quote if doubled
 * (not in B'' and X''). */
static inline const uint8_t *string(struct lexer *lx, const uint8_t *from, const uint8_t *p, bool doubled,
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
#ifdef __SSE2__
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
static const uint8_t *escape_string(struct lexer *lx, const uint8_t *from, const uint8_t *p)
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

/* p: at a dollar that does not continue an identifier: $1, $tag$...$tag$, or just a dollar. */
static const uint8_t *dollar(struct lexer *lx, const uint8_t *p)
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
        return fail(lx, "unterminated dollar-quoted string", from, end);
    return mask(lx, from, close + tag_len, LITERAL_DOLLAR);
}

/* ---- words
 * -------------------------------------------------------------------------------------------------- */

/* Behind U&'...' or U&"...": the escape character of a UESCAPE clause must stay in the template. */
static bool keep_uescape(struct lexer *lx, const uint8_t *p)
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
    fail(lx, "UESCAPE must be followed by a simple string literal", q, end);
    error_hint(lx->error, "Write the escape character as in UESCAPE '!'.");
    return false;
}

static const uint8_t *unicode(struct lexer *lx, const uint8_t *from, const uint8_t *p)
{
    if (*p == '\'') {
        p = string(lx, from, p, true, LITERAL_OTHER);
        if (!p)
            return fail(lx, "unterminated quoted string", from, lx->end);
    } else {
        p = lex_skip_identifier(p + 1, lx->end);
        if (!p)
            return fail(lx, "unterminated quoted identifier", from, lx->end);
    }
    return keep_uescape(lx, p) ? p : NULL;
}

/* Behind a word of one letter, p at a quote or an ampersand: literals with a prefix. N'...' is the keyword N
 * and a plain string. */
static const uint8_t *prefixed(struct lexer *lx, const uint8_t *from, const uint8_t *p)
{
    const uint8_t *end = lx->end, *to;
    uint8_t letter = *from | 0x20;
    if (*p == '&')
        return letter == 'u' && end - p >= 2 && (p[1] == '\'' || p[1] == '"') ? unicode(lx, from, p + 1) : p;
    switch (letter) {
    case 'e':
        to = escape_string(lx, from, p);
        return to ? to : fail(lx, "unterminated quoted string", from, end);
    case 'b':
        to = string(lx, from, p, false, LITERAL_OTHER);
        return to ? to : fail(lx, "unterminated bit string literal", from, end);
    case 'x':
        to = string(lx, from, p, false, LITERAL_OTHER);
        return to ? to : fail(lx, "unterminated hexadecimal string literal", from, end);
    default:
        return p;
    }
}

static void watch_word(struct lexer *lx, const uint8_t *p, size_t len)
{
    struct body *b = &lx->body;
    bool label = b->after_as || (p > lx->begin && p[-1] == '.');
    if (b->nesting == 0) {
        if (b->after_begin && lex_word_is(p, len, "atomic")) {
            b->seen = true;
            b->nesting = 1;
        }
    } else if (!label && lex_word_is(p, len, "case")) {
        b->nesting++;
    } else if (!label && lex_word_is(p, len, "end")) {
        b->nesting--;
    }
    b->after_begin = lex_word_is(p, len, "begin");
    b->after_as = lex_word_is(p, len, "as");
}

/* ---- the loop
 * ----------------------------------------------------------------------------------------------- */

static inline const uint8_t *word(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *from = p, *end = lx->end;
    do
        p++;
    while (p < end && lex_continues_identifier(*p));
    if (p < end && p == from + 1 && (*p == '\'' || *p == '&'))
        return prefixed(lx, from, p);
    if (lx->body.create)
        watch_word(lx, from, (size_t)(p - from));
    return p;
}

/* White space or the beginning of a comment at p. *stop_r: nothing but a semicolon or the end follows it. */
static const uint8_t *blank(struct lexer *lx, const uint8_t *p, bool at_top, bool *stop_r)
{
    const uint8_t *comment = NULL;
    const uint8_t *q = lex_skip_blank(p, lx->end, &lx->t->hint, &comment);
    if (!q)
        return fail(lx, "unterminated /* comment", comment, lx->end);
    if (q == p) /* just an operator */
        return p + 1;
    if (q == lx->end || (*q == ';' && at_top)) {
        *stop_r = true;
        return q;
    }
    if (q == p + 1 && *p == ' ')
        return q;
    *end_run(lx, p, 1) = ' ';
    lx->t->text.end++;
    lx->run = q;
    return q;
}

/* From the first token to the end of the statement: *p_r is where it stopped, at a semicolon or the end.
   Returns the end of the last token, NULL: error. */
static const uint8_t *tokens(struct lexer *lx, const uint8_t *p, bool whole, const uint8_t **p_r)
{
    const uint8_t *end = lx->end, *from;
    size_t depth = 0;
    while (p < end) {
        switch ((enum char_class)lex_class[*p]) {
        case CLASS_IDENT:
            p = word(lx, p);
            break;
        case CLASS_SPACE:
            /* By far most often one blank, and then a token. */
            if (*p == ' ' && end - p >= 2 && !((MAY_CONTINUE_BLANK >> lex_class[p[1]]) & 1)) {
                p++;
                break;
            }
            /* fall through */
        case CLASS_COMMENT: {
            bool stop = false;
            from = p;
            p = blank(lx, p, !whole && depth == 0 && lx->body.nesting == 0, &stop);
            if (stop) {
                *p_r = p;
                return from;
            }
            break;
        }
        case CLASS_DIGIT:
            p = number(lx, p);
            break;
        case CLASS_DOT:
            if (end - p >= 2 && p[1] == '.')
                p += 2;
            else
                p = end - p >= 2 && lex_class[p[1]] == CLASS_DIGIT ? number(lx, p) : p + 1;
            break;
        case CLASS_QUOTE:
            from = p;
            if (p == lx->verbatim)
                p += 3;
            else if (!(p = string(lx, p, p, true, LITERAL_STRING)))
                return fail(lx, "unterminated quoted string", from, end);
            break;
        case CLASS_DQUOTE:
            from = p;
            if (!(p = lex_skip_identifier(p + 1, end)))
                return fail(lx, "unterminated quoted identifier", from, end);
            break;
        case CLASS_DOLLAR:
            p = dollar(lx, p);
            break;
        case CLASS_OPEN:
            depth++;
            p++;
            break;
        case CLASS_CLOSE:
            depth -= depth > 0;
            p++;
            break;
        case CLASS_SEMICOLON:
            if (!whole && depth == 0 && lx->body.nesting == 0)
                return *p_r = p;
            p++;
            break;
        case CLASS_CONTROL:
            return fail(lx, "syntax error", p, p + 1);
        case CLASS_COPY:
            p++;
            break;
        }
        if (!p)
            return NULL;
    }
    return *p_r = p;
}

/* p: at the first digit of a number. A point before it belongs to it, unless it is the second of the operator
 * "..". */
static const uint8_t *point_before(const uint8_t *low, const uint8_t *p)
{
    const uint8_t *q = p;
    while (q > low && q[-1] == '.')
        q--;
    return (p - q) % 2 ? p - 1 : p;
}

/* Behind which a word of len bytes ends at p; low: the beginning of a token at or before that. */
static inline bool word_before(const uint8_t *low, const uint8_t *p, ptrdiff_t len)
{
    return p - low >= len && lex_class[p[-len]] == CLASS_IDENT &&
           (p - low == len || !lex_continues_identifier(p[-len - 1]));
}

/* p: at a quote whose prefix, if any, was skipped as plain text. */
static const uint8_t *quote(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    const uint8_t *from = p;
    if (p - low >= 2 && p[-1] == '&' && (p[-2] | 0x20) == 'u' && word_before(low, p - 1, 1))
        return unicode(lx, p - 2, p);
    if (word_before(low, p, 1)) {
        p = prefixed(lx, p - 1, p);
        if (p != from)
            return p;
    }
    p = string(lx, p, p, true, LITERAL_STRING);
    return p ? p : fail(lx, "unterminated quoted string", from, lx->end);
}

static const uint8_t *double_quote(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    if (p - low >= 2 && p[-1] == '&' && (p[-2] | 0x20) == 'u' && word_before(low, p - 1, 1))
        return unicode(lx, p - 2, p);
    const uint8_t *q = lex_skip_identifier(p + 1, lx->end);
    return q ? q : fail(lx, "unterminated quoted identifier", p, lx->end);
}

/* p: at a semicolon or the end. Behind the semicolons, where comments of the next statement may stand; the
 * end if there is none. */
static const uint8_t *next_statement(const struct lexer *lx, const uint8_t *p)
{
    const uint8_t *next = p;
    while (p < lx->end && *p == ';') {
        const uint8_t *comment = NULL;
        next = p + 1;
        p = lex_skip_blank(next, lx->end, NULL, &comment);
        if (!p)
            return fail(lx, "unterminated /* comment", comment, lx->end);
    }
    return p < lx->end ? next : p;
}

/* As tokens(), for texts of PLAIN_BLOCK bytes and more that do not begin with CREATE: plain text is skipped
   in blocks. Parentheses are not counted. They matter only at a semicolon with a statement, or the rest of
   this one, behind it: *again_r says that tokens() must have a look. */
static const uint8_t *tokens_in_blocks(struct lexer *lx, const uint8_t *p, bool whole, const uint8_t **p_r,
                                       bool *again_r)
{
    const uint8_t *end = lx->end;
    while (p) {
        const uint8_t *low = p;
        p = plain_skip(low, end);
        /* A blank before the end, a comment or other white space is part of that. Runs never begin at a blank
         * that was skipped. */
        const uint8_t *from = p > lx->run && p[-1] == ' ' ? p - 1 : p;
        if (p == end) {
            *p_r = p;
            return from;
        }
        bool stop = false;
        switch ((enum char_class)lex_class[*p]) {
        case CLASS_DIGIT:
            p = number(lx, point_before(low, p));
            break;
        case CLASS_QUOTE:
            p = p == lx->verbatim ? p + 3 : quote(lx, low, p);
            break;
        case CLASS_DQUOTE:
            p = double_quote(lx, low, p);
            break;
        case CLASS_DOLLAR:
            p = dollar(lx, p);
            break;
        case CLASS_COMMENT:
            if (end - p < 2 || p[1] != (*p == '-' ? '-' : '*')) {
                p++;
                break;
            }
            /* fall through */
        case CLASS_SPACE:
            p = blank(lx, from, !whole, &stop);
            break;
        case CLASS_SEMICOLON:
            stop = !whole;
            p += whole;
            break;
        case CLASS_CONTROL:
            return fail(lx, "syntax error", p, p + 1);
        case CLASS_IDENT:
        case CLASS_COPY:
        case CLASS_DOT:
        case CLASS_OPEN:
        case CLASS_CLOSE:
            p++;
            break;
        }
        if (stop) {
            const uint8_t *next = next_statement(lx, *p_r = p);
            *again_r = next && next < end;
            return next ? from : NULL;
        }
    }
    return NULL;
}

static bool begins_with_create(const uint8_t *p, const uint8_t *end)
{
    return end - p > 6 && lex_word_is(p, 6, "create") && !lex_continues_identifier(p[6]);
}

static const uint8_t *all_tokens(struct lexer *lx, const uint8_t *first, bool whole, const uint8_t **p_r)
{
    if (PLAIN_SKIPS && lx->end - lx->begin >= PLAIN_BLOCK && !lx->body.create) {
        const struct slice hint = lx->t->hint;
        bool again = false;
        const uint8_t *last = tokens_in_blocks(lx, first, whole, p_r, &again);
        if (!again)
            return last;
        lx->run = first;
        lx->verbatim = NULL;
        lx->t->hint = hint;
        lx->t->n_literals = 0;
        buf_clear(&lx->t->text);
    }
    return tokens(lx, first, whole, p_r);
}

/* A text of several statements must not share a plan with its first one: its template ends with a semicolon,
 * as none else does. */
static void finish(struct template *t, bool several)
{
    t->several = several;
    if (several)
        buf_u8(&t->text, ';');
    t->hash = hash_bytes64(t->text.data, t->text.end);
}

enum status lex_statement(struct template *t, struct slice sql, bool whole, struct lex_end *end_r,
                          struct error *error_r)
{
    if (sql.len == 0)
        sql = slice_of("", 0); /* no arithmetic on NULL */
    buf_clear(&t->text);
    if (!t->text.data)
        buf_reserve(&t->text, 1);
    t->n_literals = 0;
    t->hint = slice_of(NULL, 0);
    t->statement = slice_of(sql.data, 0);
    t->several = false;
    if (sql.len > LONGEST_SQL) {
        error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "statement of %zu bytes is too long", sql.len);
        return STATUS_ERROR;
    }
    if (memchr(sql.data, 0, sql.len)) {
        error_set(error_r, "22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
        return STATUS_ERROR;
    }

    struct lexer lx = {.t = t, .begin = sql.data, .end = sql.data + sql.len, .error = error_r};
    const uint8_t *comment = NULL;
    const uint8_t *p = lx.begin;
    if (sql.len && (lex_class[*p] == CLASS_SPACE || lex_class[*p] == CLASS_COMMENT))
        p = lex_skip_blank(lx.begin, lx.end, &t->hint, &comment);
    if (!p) {
        fail(&lx, "unterminated /* comment", comment, lx.end);
        return STATUS_ERROR;
    }
    lx.run = p;
    lx.body.create = p < lx.end && (*p | 0x20) == 'c' && begins_with_create(p, lx.end);
    const uint8_t *first = p;
    const uint8_t *last = all_tokens(&lx, first, whole, &p);
    if (!last)
        return STATUS_ERROR;
    end_run(&lx, last, 0);
    t->statement.len = last > first ? (size_t)(last - lx.begin) : 0;
    if (p < lx.end && !(p = next_statement(&lx, p)))
        return STATUS_ERROR;
    finish(t, p < lx.end);
    *end_r = (struct lex_end){.next = (size_t)(p - lx.begin), .guess = lx.body.seen};
    return STATUS_OK;
}

enum status template_lex(struct template *t, struct slice sql, struct error *error_r)
{
    struct lex_end end;
    if (lex_statement(t, sql, false, &end, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (!end.guess)
        return STATUS_OK;
    size_t len = sql_first_statement(sql);
    if (len == 0)
        return STATUS_OK; /* nobody can parse it; the guess is good enough for an error message */
    if (lex_statement(t, slice_of(sql.data, len), true, &end, error_r) != STATUS_OK)
        return STATUS_ERROR;
    struct lexer rest = {.end = sql.data + sql.len, .error = error_r};
    const uint8_t *p = lex_skip_blank(sql.data + len, rest.end, NULL, NULL);
    if (p)
        p = next_statement(&rest, p);
    if (!p || p < rest.end)
        finish(t, true);
    return STATUS_OK;
}
