/*
 * The lexer's state and its output, which all of its files write: template.c finds the tokens, lex_literal.c reads
 * the rarer kinds of literals. What most literals need is in line here.
 */
#ifndef PGUNISON_SQL_LEXER_H
#define PGUNISON_SQL_LEXER_H

#include "lex.h"

#define COPIED_AT_ONCE 16 /* of a run */
#define LONG_RUN       256

/* Kept out of the way of what most statements take. */
#define RARE __attribute__((noinline))

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
    const uint8_t *run;                     /* see template.c */
    uint8_t *out, *out_end;                 /* where the template goes on, and where its room ends */
    struct literal *literal, *literals_end; /* the same of its literals */
    const uint8_t *verbatim;                /* the quote of a UESCAPE string */
    const uint8_t *stopped; /* where the statement ends: at its semicolon or the end; NULL: not there yet */
    struct error *error;
    bool whole; /* semicolons are inside of the statement */
    struct body body;
};

/* "message at or near ..." NULL. */
RARE const uint8_t *lexer_fail(const struct lexer *lx, const char *message, const uint8_t *at,
                               const uint8_t *to);

/* ---- output ------------------------------------------------------------------------------------------------- */

/* The template knows of all that was written. */
static inline void lexer_end_output(struct lexer *lx)
{
    struct template *t = lx->t;
    t->text.end = (size_t)(lx->out - t->text.data);
    t->n_literals = (uint32_t)(lx->literal - t->literals);
}

/* The first memory of a template: there is some from then on. */
RARE void lexer_first_output(struct template *t);
RARE void lexer_grow_text(struct lexer *lx, size_t need);
RARE void lexer_grow_literals(struct lexer *lx);

/* Runs are short, as a rule: blocks of a constant size need no call. May write up to COPIED_AT_ONCE bytes behind to
   + n, and read as many behind from if that many are readable. */
static inline void copy_run(uint8_t *to, const uint8_t *from, size_t n, size_t readable)
{
    if (n <= COPIED_AT_ONCE && readable >= COPIED_AT_ONCE) {
        memcpy(to, from, COPIED_AT_ONCE);
    } else if (n < COPIED_AT_ONCE || n > LONG_RUN) {
        memcpy(to, from, n);
    } else {
        for (size_t i = 0; i + COPIED_AT_ONCE < n; i += COPIED_AT_ONCE)
            memcpy(to + i, from + i, COPIED_AT_ONCE);
        memcpy(to + n - COPIED_AT_ONCE, from + n - COPIED_AT_ONCE, COPIED_AT_ONCE);
    }
}

/* Ends the run at p and makes room for `more` bytes behind it, where the result points; lx->out is left to the
   caller. */
static inline uint8_t *lexer_end_run(struct lexer *lx, const uint8_t *p, size_t more)
{
    size_t n = (size_t)(p - lx->run), need = n + more + COPIED_AT_ONCE;
    if ((size_t)(lx->out_end - lx->out) < need)
        lexer_grow_text(lx, need);
    uint8_t *to = lx->out;
    copy_run(to, lx->run, n, (size_t)(lx->end - lx->run));
    return to + n;
}

/* [from, to) is a literal. Returns to. */
static inline const uint8_t *lexer_mask(struct lexer *lx, const uint8_t *from, const uint8_t *to,
                                        enum literal_kind kind)
{
    if (lx->literal == lx->literals_end)
        lexer_grow_literals(lx);
    uint8_t *out = lexer_end_run(lx, from, 2);
    struct literal *l = lx->literal++;
    l->at = (uint32_t)(from - lx->begin);
    l->len = (uint32_t)(to - from);
    l->template_at = (uint32_t)(out - lx->t->text.data);
    l->kind = (uint8_t)kind;
    out[0] = kind <= LITERAL_NUMERIC ? '#' : '\'';
    out[1] = (uint8_t)(1 + kind);
    lx->out = out + 2;
    lx->run = to;
    return to;
}

/* ---- literals ----------------------------------------------------------------------------------------------- */

/* from: at the first digit or at the point before it. p: behind the first digits, at a point or an e. "1..2" is 1,
   .., 2. */
RARE const uint8_t *lexer_fraction(struct lexer *lx, const uint8_t *from, const uint8_t *p);
/* p: at a dollar that does not continue an identifier: $1, $tag$...$tag$, or just a dollar. */
RARE const uint8_t *lexer_dollar(struct lexer *lx, const uint8_t *p);
/* U&'...' and U&"..." that begin at from; p: at the quote. */
RARE const uint8_t *lexer_unicode(struct lexer *lx, const uint8_t *from, const uint8_t *p);
/* Behind a word of one letter, p at a quote or an ampersand: literals with a prefix; p if it is none. N'...' is the
   keyword N and a plain string. */
RARE const uint8_t *lexer_prefixed(struct lexer *lx, const uint8_t *from, const uint8_t *p);

/* Behind the digits at p. */
static inline const uint8_t *lexer_skip_digits(const struct lexer *lx, const uint8_t *p)
{
    const uint8_t *end = lx->end;
#ifdef LEX_SSE2
    /* How long a number is cannot be foretold, so a loop over its digits would end in a mispredicted branch. */
    size_t left = (size_t)(end - p);
    if (left >= 16 || end - lx->begin >= 16) {
        unsigned shift = left >= 16 ? 0 : (unsigned)(16 - left);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p - shift));
        /* '0' .. '9' moved to the upper end of the signed bytes */
        __m128i digits = _mm_cmpgt_epi8(_mm_add_epi8(b, _mm_set1_epi8(0x7f - '9')), _mm_set1_epi8(0x7f - 10));
        unsigned others = ~((unsigned)_mm_movemask_epi8(digits) >> shift);
        unsigned n = (unsigned)__builtin_ctz(others);
        p += n;
        if (n < 16)
            return p;
    }
#endif
    while (p < end && lex_class[*p] == CLASS_DIGIT)
        p++;
    return p;
}

/* p: at the first digit, or at the point before it. */
static inline const uint8_t *lexer_number(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *from = p;
    p = lexer_skip_digits(lx, p);
    if (p < lx->end && (*p == '.' || (*p | 0x20) == 'e'))
        return lexer_fraction(lx, from, p);
    return lexer_mask(lx, from, p, LITERAL_INTEGER);
}

/* A string without backslash escapes that begins at from, its opening quote at p. '' is a quote if doubled
 * (not in B'' and X''). */
static inline const uint8_t *lexer_string(struct lexer *lx, const uint8_t *from, const uint8_t *p,
                                          bool doubled, enum literal_kind kind)
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
    return lexer_mask(lx, from, p, kind);
}

#endif
