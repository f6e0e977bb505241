/*
 * The lexer's state and its output, which all of its files write: template.c finds the tokens, lex_literal.c
 * reads the rarer kinds of literals. What most literals need is in line here.
 */
#ifndef PGUNISON_SQL_LEXER_H
#define PGUNISON_SQL_LEXER_H

#include "lex.h"
#include <assert.h>

#define SHORT    16 /* runs and literals up to this are done with at once */
#define LONG_RUN 256

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
    const uint8_t *safe;                    /* up to here SHORT bytes can be read; NULL: nowhere */
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

/* ---- output -------------------------------------------------------------------------------------------- */

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

/* Runs are short, as a rule: blocks of a constant size need no call. May write up to SHORT bytes behind to
   + n, and read as many behind from if that many are readable. */
static inline void copy_run(uint8_t *to, const uint8_t *from, size_t n, size_t readable)
{
    if (n <= SHORT && readable >= SHORT) {
        memcpy(to, from, SHORT);
    } else if (n < SHORT || n > LONG_RUN) {
        memcpy(to, from, n);
    } else {
        for (size_t i = 0; i + SHORT < n; i += SHORT)
            memcpy(to + i, from + i, SHORT);
        memcpy(to + n - SHORT, from + n - SHORT, SHORT);
    }
}

/* Ends the run at p and makes room for `more` bytes behind it, where the result points; lx->out is left to
   the caller. */
static inline uint8_t *lexer_end_run(struct lexer *lx, const uint8_t *p, size_t more)
{
    size_t n = (size_t)(p - lx->run), need = n + more + SHORT;
    if ((size_t)(lx->out_end - lx->out) < need)
        lexer_grow_text(lx, need);
    uint8_t *to = lx->out;
    copy_run(to, lx->run, n, (size_t)(lx->end - lx->run));
    return to + n;
}

/* [from, to) is a literal. Returns to. */
RARE const uint8_t *lexer_mask_any(struct lexer *lx, const uint8_t *from, const uint8_t *to,
                                   enum literal_kind kind);

/* The literal [from, to), which lies between the run and out. Returns to. */
static inline const uint8_t *lexer_put_mask(struct lexer *lx, uint8_t *out, const uint8_t *from,
                                            const uint8_t *to, enum literal_kind kind)
{
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

/* The same where from is not behind lx->safe. */
static inline const uint8_t *lexer_mask(struct lexer *lx, const uint8_t *from, const uint8_t *to,
                                        enum literal_kind kind)
{
    size_t n = (size_t)(from - lx->run);
    if (n > SHORT || lx->out_end - lx->out < 2 * SHORT || lx->literal == lx->literals_end)
        return lexer_mask_any(lx, from, to, kind);
    memcpy(lx->out, lx->run, SHORT);
    return lexer_put_mask(lx, lx->out + n, from, to, kind);
}

/* ---- long texts ---------------------------------------------------------------------------------------- */

/* p: at a byte that may not be plain text; low: the beginning of a token at or before it, behind the last
   literal. Returns where to go on: p if it is plain text, the end of the last token if the statement ended
   (lx->stopped), NULL: error. */
RARE const uint8_t *lexer_at_stop(struct lexer *lx, const uint8_t *low, const uint8_t *p);

#define LEX_LONG      256 /* so many bytes and more are a long text */
#define LEX_LONG_REST 160 /* fewer are left to the caller */

struct lexer_place {
    const uint8_t *low, *base; /* as in tokens_in_windows() (template.c) */
};

/* As tokens_in_windows() does, but for the last bytes, and for what follows U&'...' UESCAPE. at: from where,
   and where the caller goes on. Returns at->base, or as lexer_at_stop(). */
RARE const uint8_t *lexer_long_sse2(struct lexer *lx, struct lexer_place *at);
RARE const uint8_t *lexer_long_avx2(struct lexer *lx, struct lexer_place *at);

static inline const uint8_t *lexer_long(struct lexer *lx, struct lexer_place *at)
{
#ifdef LEX_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("pclmul"))
        return lexer_long_avx2(lx, at);
#endif
#ifdef LEX_SSE2
    return lexer_long_sse2(lx, at);
#else
    (void)lx; /* never called */
    return at->base;
#endif
}

/* ---- literals ------------------------------------------------------------------------------------------ */

/* p: at a dollar that does not continue an identifier: $1, $tag$...$tag$, or just a dollar. */
RARE const uint8_t *lexer_dollar(struct lexer *lx, const uint8_t *p);
/* U&'...' and U&"..." that begin at from; p: at the quote. */
RARE const uint8_t *lexer_unicode(struct lexer *lx, const uint8_t *from, const uint8_t *p);
/* Behind a word of one letter, p at a quote or an ampersand: literals with a prefix; p if it is none. N'...'
   is the keyword N and a plain string. */
RARE const uint8_t *lexer_prefixed(struct lexer *lx, const uint8_t *from, const uint8_t *p);

#ifdef LEX_SSE2
/* How many of the SHORT bytes at p are digits, from the one at `from` on. How long a number is cannot be
   foretold, so a loop over its digits would end in a mispredicted branch. */
static inline unsigned lex_digits(const uint8_t *p, unsigned from)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* '0' .. '9' moved to the upper end of the signed bytes */
    __m128i digits = _mm_cmpgt_epi8(_mm_add_epi8(b, _mm_set1_epi8(0x7f - '9')), _mm_set1_epi8(0x7f - 10));
    return (unsigned)__builtin_ctz(~((unsigned)_mm_movemask_epi8(digits) >> from));
}
#endif

/* p: at the first digit, or at the point before it. */
RARE const uint8_t *lexer_number_any(struct lexer *lx, const uint8_t *p);
/* A string without backslash escapes that begins at from, its opening quote at p. '' is a quote if doubled
   (not in B'' and X''). NULL: it has no end; nothing is said about it. */
RARE const uint8_t *lexer_string(struct lexer *lx, const uint8_t *from, const uint8_t *p, bool doubled,
                                 enum literal_kind kind);

static inline const uint8_t *lexer_number(struct lexer *lx, const uint8_t *p)
{
#ifdef LEX_SSE2
    assert(p);
    if (p <= lx->safe) {
        unsigned n = lex_digits(p, 0);
        uint8_t behind = n < SHORT ? p[n] : '.';
        if (behind != '.' && (behind | 0x20) != 'e')
            return lexer_mask(lx, p, p + n, LITERAL_INTEGER);
    }
#endif
    return lexer_number_any(lx, p);
}

/* What behind a closing quote may make it an inner one, as a set of character classes. */
#define MAY_CONTINUE_STRING (1U << CLASS_QUOTE | 1U << CLASS_SPACE | 1U << CLASS_COMMENT)

/* '...' at p. */
static inline const uint8_t *lexer_plain_string(struct lexer *lx, const uint8_t *p)
{
#ifdef LEX_SSE2
    if (p < lx->safe) {
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
        unsigned quotes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(b, _mm_set1_epi8('\'')));
        const uint8_t *to = p + 2 + (quotes ? __builtin_ctz(quotes) : 0);
        if (quotes && to < lx->end && !((MAY_CONTINUE_STRING >> lex_class[*to]) & 1))
            return lexer_mask(lx, p, to, LITERAL_STRING);
    }
#endif
    return lexer_string(lx, p, p, true, LITERAL_STRING);
}

#endif
