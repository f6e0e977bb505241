/*
 * Finding where plain text (words, single blanks, operators, parentheses: what the template keeps as it is)
 * may end. Texts are looked at in windows of 64 bytes. A window becomes a set of positions (bit i: byte i) at
 * which the lexer has to have a look:
 *
 *     text      SELECT a1 FROM t12 WHERE id = 42  AND b != 'x'
 *     stops     ........*.......**............**.*.....*.*.*
 *
 * The set has more than is needed, since a wide net is cheap to cast and most text has nothing in it: digits
 * inside of words, and operators whose codes lie between those that matter:
 *
 *     00 .. 1f     control characters, white space other than blanks
 *     21 .. 27     ! " # $ % & '
 *     2d           -
 *     2f .. 3b     / digits : ;
 *     20           only if another blank is before it
 */
#ifndef PGUNISON_SQL_PLAIN_H
#define PGUNISON_SQL_PLAIN_H

#include "lex.h"

#define PLAIN_WINDOW   64
#define PLAIN_SHORTEST 16 /* of a text that can be looked at in windows */

#ifdef LEX_SSE2
#define PLAIN_WINDOWS 1

struct plain_sets {
    uint64_t stops, blanks;
};

/* [from, to] as a comparison of signed bytes: the range is moved to their upper end. */
#define PLAIN_RANGE(bytes, from, to)                                                                         \
    _mm_cmpgt_epi8(_mm_add_epi8(bytes, _mm_set1_epi8((char)(0x7f - (to)))),                                  \
                   _mm_set1_epi8((char)(0x7f - (to) + (from)-1)))

static inline void plain_block(const uint8_t *p, unsigned skip, unsigned at, struct plain_sets *sets)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i blanks = _mm_cmpeq_epi8(b, _mm_set1_epi8(' '));
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(b, _mm_set1_epi8(0x27)), b);
    __m128i minus = _mm_cmpeq_epi8(b, _mm_set1_epi8('-'));
    __m128i stops =
        _mm_or_si128(_mm_or_si128(_mm_andnot_si128(blanks, low), minus), PLAIN_RANGE(b, 0x2f, 0x3b));
    sets->stops |= (uint64_t)((unsigned)_mm_movemask_epi8(stops) >> skip) << at;
    sets->blanks |= (uint64_t)((unsigned)_mm_movemask_epi8(blanks) >> skip) << at;
}

/* The stops of the window at base, or of what is left of it before end. [begin, end) is the whole text, of at
   least PLAIN_SHORTEST bytes: the last block overlaps what was read already. */
static inline uint64_t plain_stops(const uint8_t *begin, const uint8_t *base, const uint8_t *end)
{
    struct plain_sets s = {0};
    size_t n = (size_t)(end - base);
    if (n >= PLAIN_WINDOW) {
        plain_block(base, 0, 0, &s);
        plain_block(base + 16, 0, 16, &s);
        plain_block(base + 32, 0, 32, &s);
        plain_block(base + 48, 0, 48, &s);
    } else {
        size_t whole = n / 16, rest = n % 16;
        switch (whole) {
        case 3:
            plain_block(base + 32, 0, 32, &s);
            /* fall through */
        case 2:
            plain_block(base + 16, 0, 16, &s);
            /* fall through */
        case 1:
            plain_block(base, 0, 0, &s);
            break;
        }
        if (rest)
            plain_block(end - 16, (unsigned)(16 - rest), (unsigned)(16 * whole), &s);
    }
    bool blank_before = base > begin && base[-1] == ' ';
    return s.stops | (s.blanks & (s.blanks << 1 | blank_before));
}

#else
#define PLAIN_WINDOWS 0

/* Never called: without SSE2 the lexer goes byte by byte. */
static inline uint64_t plain_stops(const uint8_t *begin, const uint8_t *base, const uint8_t *end)
{
    (void)begin, (void)base, (void)end;
    return 0;
}
#endif

#endif
