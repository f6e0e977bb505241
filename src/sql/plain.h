/*
 * Skipping plain text: words, single blanks, operators, parentheses; what the template keeps as it is. 16
 * bytes at a time become sets of positions (bit i: byte i), and one expression over the sets says where plain
 * text ends:
 *
 *     text      SELECT a1 FROM t WHERE id = 42
 *     word      ******.**.****.*.*****.**...**
 *     digit     ........*...................**     a digit that begins a word begins a number
 *     stop      ............................*.
 */
#ifndef PGUNISON_SQL_PLAIN_H
#define PGUNISON_SQL_PLAIN_H

#include "lex.h"

#define PLAIN_BLOCK 16

#ifdef __SSE2__
#define PLAIN_SKIPS 1

static inline __m128i plain_at_most(__m128i bytes, uint8_t limit)
{
    return _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8((char)limit)), bytes);
}

static inline __m128i plain_equal(__m128i bytes, char c)
{
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c));
}

static inline unsigned plain_set(__m128i bytes)
{
    return (unsigned)_mm_movemask_epi8(bytes);
}

/*
 * From low, which is at the beginning of a token, to the first byte that is not plain:
 *  - a digit or a dollar at the beginning of a word;
 *  - a quote of either kind, whatever its prefix, which is left of it;
 *  - minus and slash, with which comments begin;
 *  - a semicolon, a control character (other white space than blanks, that is), the second of two blanks;
 * or to end. [begin, end) is the whole text, of at least PLAIN_BLOCK bytes: the last block may overlap what
 * was read already.
 */
static inline const uint8_t *plain_skip(const uint8_t *low, const uint8_t *end)
{
    const uint8_t *p = low;
    unsigned word_before = 0, blank_before = 0;
    while (p < end) {
        size_t left = (size_t)(end - p);
        unsigned shift = left >= PLAIN_BLOCK ? 0 : (unsigned)(PLAIN_BLOCK - left);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p - shift));

        __m128i digits = plain_at_most(_mm_sub_epi8(b, _mm_set1_epi8('0')), 9);
        __m128i dollars = plain_equal(b, '$');
        __m128i lower = _mm_or_si128(b, _mm_set1_epi8(0x20));
        __m128i letters = plain_at_most(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
        __m128i starts = _mm_or_si128(digits, dollars);
        __m128i blanks = plain_equal(b, ' ');
        /* The sign bit of bytes over 0x7f counts in plain_set() by itself: they are letters. */
        __m128i words = _mm_or_si128(_mm_or_si128(_mm_or_si128(starts, letters), plain_equal(b, '_')), b);
        __m128i quotes = _mm_or_si128(plain_equal(b, '\''), plain_equal(b, '"'));
        __m128i comments =
            plain_equal(_mm_or_si128(b, _mm_set1_epi8(2)), '/'); /* - and / differ in this bit */
        __m128i stops = _mm_or_si128(_mm_or_si128(quotes, comments),
                                     _mm_or_si128(plain_equal(b, ';'), plain_at_most(b, 0x1f)));

        unsigned word = plain_set(words) >> shift, blank = plain_set(blanks) >> shift;
        unsigned stop = plain_set(stops) >> shift;
        stop |= (plain_set(starts) >> shift) & ~(word << 1 | word_before);
        stop |= blank & (blank << 1 | blank_before);
        if (stop)
            return p + __builtin_ctz(stop);
        if (shift)
            return end;
        word_before = word >> (PLAIN_BLOCK - 1);
        blank_before = blank >> (PLAIN_BLOCK - 1);
        p += PLAIN_BLOCK;
    }
    return end;
}

#else
#define PLAIN_SKIPS 0

/* Never called: without SSE2 the lexer goes byte by byte. */
static inline const uint8_t *plain_skip(const uint8_t *low, const uint8_t *end)
{
    (void)end;
    return low;
}
#endif

#endif
