/*
 * Long texts: the literals of a window of 64 bytes are found all at once, as sets of positions, and masked in
 * a loop that looks at no byte of the text.
 *
 *     text      id IN (12, 'a b', x3,  5.25, E'\n')
 *     begins    .......*...*..........*.*.........     of numbers, strings and gaps (white space that becomes
 *     ends      .........*......*.......*...*......     one blank), and where they end
 *     special   .............................*....     what the lexer must see to itself
 *
 * The first special one ends what is known of the window: sets are right only up to it, since it may be the
 * beginning of anything (a comment with quotes inside). The lexer handles it, and the next window begins
 * behind it. A literal that reaches the last two bytes of a window, behind which nothing can be seen,
 * is the beginning of the next one.
 *
 * Special are: comments, semicolons, dollars other than plain parameters, control characters, strings with a
 * prefix or perhaps with a continuation, numbers that begin with a point or may have an exponent, and what is
 * longer than a window. Whatever is called special without need costs time, nothing else.
 *
 * This file is compiled twice (lex_long_avx2.c). Not responsible for: short texts and the last bytes of long
 * ones (template.c).
 */
#include "lexer.h"

#ifdef LEX_SSE2
#include "window.h"
#include <stddef.h>

#ifndef LEXER_LONG
#define LEXER_LONG lexer_long_sse2
#endif

/* Literals are at least two bytes long, but for integers of one digit, of which no two are adjacent. */
#define WINDOW_LITERALS WINDOW
/* The text of a window with its masks, and what copying in blocks writes behind it. */
#define WINDOW_OUTPUT (5 * WINDOW)
#define LAST          (WINDOW - 2) /* up to which a literal may end */

/* All in one function, so that sets stay in registers. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

struct view {
    struct window w;
    struct window_sets s;
    uint64_t words;                             /* what may continue an identifier */
    uint64_t dquotes, minuses, amps;            /* which are rare, too */
    bool word_before, point_before, amp_before; /* the byte before it, if it is behind the last literal */
};

/* What the lexer knows of the window. */
struct marks {
    uint64_t begins, ends;
    /* Begins of strings and gaps; ends of numbers with a point and of gaps. */
    uint64_t high, low;
    bool gaps; /* there are any */
    uint64_t special;
    uint64_t part; /* what is outside of strings and quoted identifiers */
};

static ALWAYS_INLINE void look(struct view *v, const uint8_t *low, const uint8_t *base)
{
    v->w = window_at(base);
    v->s = window_sets(&v->w);
    v->words = v->s.letters | v->s.digits;
    v->dquotes = v->minuses = v->amps = 0;
    if (v->s.rare) {
        v->words |= window_is(&v->w, '$');
        v->dquotes = window_is(&v->w, '"');
        v->minuses = window_is(&v->w, '-');
        v->amps = window_is(&v->w, '&');
    }
    v->word_before = v->point_before = v->amp_before = false;
    if (((v->s.digits | v->s.quotes | v->s.rare) & 1) && base > low) {
        v->word_before = lex_continues_identifier(base[-1]);
        v->point_before = base[-1] == '.';
        v->amp_before = base[-1] == '&';
    }
}

/* ---- what is in a window ------------------------------------------------------------------------------- */

/* Opening quotes with what may be a prefix before them. */
static inline uint64_t prefixed(const struct view *v, uint64_t opening)
{
    uint64_t before = (v->words | v->amps) << 1 | (v->word_before | v->amp_before);
    return opening & before;
}

/* Strings and quoted identifiers. Returns the last quotes of strings. */
static ALWAYS_INLINE uint64_t find_quoted(const struct view *v, struct marks *m)
{
    uint64_t quotes = v->s.quotes & m->part, dquotes = v->dquotes & m->part;
    if (!(quotes | dquotes))
        return 0;
    uint64_t inside = set_between(quotes), named = set_between(dquotes);
    if ((quotes & named) | (dquotes & inside)) { /* one inside of the other */
        m->special |= dquotes & ~inside;
    } else if (dquotes) {
        uint64_t opening = dquotes & named;
        opening &= ~((dquotes & ~named) << 1); /* "" */
        if ((named | dquotes) & WINDOW_TOP)    /* it may go on in the next window */
            m->special |= WINDOW_TOP >> __builtin_clzll(opening);
        m->special |= prefixed(v, opening);
        m->part &= ~named;
    }
    if (!quotes)
        return 0;
    m->part &= ~inside;
    uint64_t opening = quotes & inside, closing = quotes & ~inside, doubled = closing & opening >> 1;
    opening &= ~(doubled << 1);
    closing &= ~doubled;
    m->special |= prefixed(v, opening);
    m->begins |= opening;
    m->high |= opening;
    m->ends |= closing << 1;
    return closing;
}

/* The dollars that are special. $1 that nothing is joined to is plain text. */
static ALWAYS_INLINE uint64_t special_dollars(const struct view *v, const struct marks *m)
{
    uint64_t dollars = m->part & window_is(&v->w, '$');
    uint64_t plain = dollars & v->s.digits >> 1 & ~(v->words << 1 | v->word_before);
    uint64_t numbers = plain << 1, ends = set_ends(v->s.digits, numbers);
    bool whole = v->s.digits + numbers >= v->s.digits; /* none reaches the top */
    return whole && !(ends & v->words) ? dollars & ~plain : dollars;
}

/* White space other than single blanks; strings that end at `closing` may go on behind it. */
static ALWAYS_INLINE void find_gaps(const struct view *v, struct marks *m, uint64_t closing)
{
    uint64_t blanks = v->s.blanks & m->part, semicolons = 0, space = 0;
    uint64_t comments = v->minuses & m->part & (v->minuses >> 1 | WINDOW_TOP);
    uint64_t rare = v->s.rare & m->part & ~(v->dquotes | v->minuses | v->amps);
    if (rare) {
        uint64_t controls = rare & window_between(&v->w, 0, 0x1f);
        space = controls & window_between(&v->w, '\t', '\r') & ~window_is(&v->w, '\v');
        semicolons = rare & window_is(&v->w, ';');
        comments |= rare & window_is(&v->w, '/') & (window_is(&v->w, '*') >> 1 | WINDOW_TOP);
        m->special |= semicolons | (controls & ~space) | special_dollars(v, m);
    }
    m->special |= comments;
    space |= blanks;
    uint64_t begins = space & ~(space << 1);
    begins &= ~(blanks & ~(space >> 1 | WINDOW_TOP));
    uint64_t ends = set_ends(space, begins);
    m->special |= closing & (comments >> 1 | (blanks >> 1 & comments >> 2) | begins >> 1);
    m->special |= (ends & (comments | semicolons)) >> 1;
    m->begins |= begins;
    m->high |= begins;
    m->ends |= ends;
    m->low |= ends;
    m->gaps = begins != 0;
}

static ALWAYS_INLINE void find_numbers(const struct view *v, struct marks *m)
{
    uint64_t digits = v->s.digits & m->part;
    uint64_t begins = digits & ~(v->words << 1 | v->word_before);
    if (!begins)
        return;
    uint64_t points = v->s.points & m->part;
    uint64_t behind_point = begins & (points << 1 | v->point_before);
    begins &= ~behind_point;
    uint64_t ends = set_ends(digits, begins);
    uint64_t fractions = ends & points & ~(points >> 1); /* 1..2 is 1, .., 2 */
    if (fractions | behind_point) {
        uint64_t first = fractions << 1;
        uint64_t behind = set_ends(digits, first & digits) | (first & ~digits);
        ends = (ends & ~fractions) | behind;
        m->low |= behind;
        m->special |= behind_point & ~first;
    }
    m->begins |= begins;
    m->ends |= ends;
    uint64_t exponents = ends & v->words;
    if (exponents)
        m->special |= (exponents & window_letter(&v->w, 'e')) >> 1;
}

static ALWAYS_INLINE struct marks find(const struct view *v)
{
    struct marks m = {.part = ~UINT64_C(0)};
    uint64_t closing = find_quoted(v, &m);
    if ((v->s.blanks & (v->s.blanks >> 1 | WINDOW_TOP)) | v->s.rare)
        find_gaps(v, &m, closing);
    find_numbers(v, &m);
    return m;
}

/* ---- output -------------------------------------------------------------------------------------------- */

/* Makes room for all that the window can have, and ends a run that began long before it. */
static ALWAYS_INLINE void begin_window(struct lexer *lx, const uint8_t *base)
{
    while (lx->literals_end - lx->literal <= WINDOW_LITERALS)
        lexer_grow_literals(lx);
    if (base - lx->run > SHORT || lx->out_end - lx->out < WINDOW_OUTPUT) {
        const uint8_t *to = lx->run > base ? lx->run : base;
        lx->out = lexer_end_run(lx, to, WINDOW_OUTPUT);
        lx->run = to;
    }
}

/* In two stores. */
static inline void put_literal(struct literal *l, size_t at, size_t len, size_t template_at, unsigned kind)
{
    _Static_assert(sizeof(*l) == 16 && offsetof(struct literal, len) == 4 &&
                       offsetof(struct literal, template_at) == 8 && offsetof(struct literal, kind) == 12,
                   "two fields make eight bytes");
    const uint64_t halves[2] = {at | (uint64_t)len << 32, template_at | (uint64_t)kind << 32};
    memcpy(l, halves, sizeof(*l));
}

/* What there may be to mask. */
enum blend { INTEGERS, STRINGS, LITERALS, LITERALS_AND_GAPS };

#define GAP 3U /* among the kinds; these are made of what marks call high and low */
_Static_assert(LITERAL_INTEGER == 0 && LITERAL_NUMERIC == 1 && LITERAL_STRING == 2,
               "kinds are made of two bits");

/* Masks what ends at `ends` and takes its begins away. Returns the end of the last one. */
static ALWAYS_INLINE const uint8_t *put(struct lexer *lx, const uint8_t *base, struct marks *m, uint64_t ends,
                                        enum blend blend)
{
    static const uint8_t masks[4][2] = {
        {'#', 1 + LITERAL_INTEGER}, {'#', 1 + LITERAL_NUMERIC}, {'\'', 1 + LITERAL_STRING}, {' ', 0}};
    begin_window(lx, base);
    uint8_t *const text = lx->t->text.data;
    size_t out = (size_t)(lx->out - text), run = (size_t)(lx->run - base); /* may be "negative" */
    const size_t at = (size_t)(base - lx->begin);
    const uint64_t high = m->high, low = m->low;
    struct literal *literal = lx->literal;
    uint64_t begins = m->begins;
    do {
        size_t from = set_first(begins), to = set_first(ends);
        unsigned kind = blend == INTEGERS  ? LITERAL_INTEGER
                        : blend == STRINGS ? LITERAL_STRING
                                           : (unsigned)(high >> from & 1) << 1 | (unsigned)(low >> to & 1);
        bool gap = blend == LITERALS_AND_GAPS && kind == GAP;
        memcpy(text + out, base + run, SHORT);
        if (from - run > SHORT)
            memcpy(text + out + SHORT, base + run + SHORT, WINDOW);
        out += from - run;
        memcpy(text + out, masks[kind], 2);
        put_literal(literal, at + from, to - from, out, kind);
        literal += !gap;
        out += gap ? 1 : 2;
        run = to;
        begins &= begins - 1;
        ends &= ends - 1;
    } while (ends);
    m->begins = begins;
    lx->literal = literal;
    lx->out = text + out;
    return lx->run = base + run;
}

static ALWAYS_INLINE const uint8_t *put_window(struct lexer *lx, const uint8_t *base, struct marks *m,
                                               uint64_t ends)
{
    if (m->gaps)
        return put(lx, base, m, ends, LITERALS_AND_GAPS);
    if (!(m->high | m->low))
        return put(lx, base, m, ends, INTEGERS);
    if (m->high == m->begins)
        return put(lx, base, m, ends, STRINGS);
    return put(lx, base, m, ends, LITERALS);
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

const uint8_t *LEXER_LONG(struct lexer *lx, struct lexer_place *at)
{
    const uint8_t *low = at->low, *base = at->base;
    if (base > low && base[-1] == ' ')
        base--; /* white space begins in the window that has it */
    while (lx->end - base >= LEX_LONG_REST && !lx->verbatim) {
        struct view v;
        look(&v, low, base);
        struct marks m = find(&v);
        unsigned last = set_first(m.special | UINT64_C(1) << LAST);
        uint64_t ends = m.ends & ((UINT64_C(2) << last) - 1);
        if (ends)
            low = put_window(lx, base, &m, ends);
        if (!m.special && m.begins == 0) {
            base += WINDOW;
            continue;
        }
        const uint8_t *p = base + set_first(m.special | m.begins);
        /* What reaches the end of the window is better skipped if it began early. */
        if (!m.special && p - base >= WINDOW - SHORT) {
            base = p;
            continue;
        }
        const uint8_t *to = lexer_at_stop(lx, low, p);
        if (!to || lx->stopped)
            return to;
        if (to == p)
            to++;
        else
            low = to;
        base = to;
    }
    *at = (struct lexer_place){low, base};
    return base;
}

#endif
