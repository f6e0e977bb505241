/*
 * A window of 64 bytes of a text as sets of positions (bit i: byte i), made with vector instructions: SSE2,
 * or AVX2 where the file that includes this is compiled for it. And arithmetic on such sets.
 */
#ifndef PGUNISON_SQL_WINDOW_H
#define PGUNISON_SQL_WINDOW_H

#include <stdint.h>

#define WINDOW     64U
#define WINDOW_TOP (UINT64_C(1) << (WINDOW - 1))

#ifdef __AVX2__
#include <immintrin.h>
#define VECTOR              __m256i
#define VECTOR_OP(op)       _mm256_##op
#define vector_load(p)      _mm256_loadu_si256(p)
#define vector_or(a, b)     _mm256_or_si256(a, b)
#define vector_andnot(a, b) _mm256_andnot_si256(a, b)
#else
#include <emmintrin.h>
#define VECTOR              __m128i
#define VECTOR_OP(op)       _mm_##op
#define vector_load(p)      _mm_loadu_si128(p)
#define vector_or(a, b)     _mm_or_si128(a, b)
#define vector_andnot(a, b) _mm_andnot_si128(a, b)
#endif
#define VECTOR_BYTES ((unsigned)sizeof(VECTOR))
#define VECTORS      (WINDOW / VECTOR_BYTES)
/* Loops of constant length as straight code, which -O2 alone does not make of them. */
#define UNROLLED _Pragma("GCC unroll 8")

struct window {
    VECTOR v[VECTORS];
};

static inline struct window window_at(const uint8_t *p)
{
    struct window w;
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++)
        w.v[i] = vector_load((const VECTOR *)(const void *)(p + i * VECTOR_BYTES));
    return w;
}

/* The bytes whose highest bit is set, of vector i. */
static inline uint64_t window_part(VECTOR v, unsigned i)
{
    return (uint64_t)(uint32_t)VECTOR_OP(movemask_epi8)(v) << (i * VECTOR_BYTES);
}

static inline VECTOR vector_is(VECTOR v, uint8_t c)
{
    return VECTOR_OP(cmpeq_epi8)(v, VECTOR_OP(set1_epi8)((char)c));
}

/* from .. to, as a comparison of signed bytes: the range is moved to their upper end. */
static inline VECTOR vector_between(VECTOR v, uint8_t from, uint8_t to)
{
    VECTOR moved = VECTOR_OP(add_epi8)(v, VECTOR_OP(set1_epi8)((char)(0x7f - to)));
    return VECTOR_OP(cmpgt_epi8)(moved, VECTOR_OP(set1_epi8)((char)(0x7f - to + from - 1)));
}

/* The same letter in lower case; other bytes become something that is none. */
static inline VECTOR vector_lower(VECTOR v)
{
    return vector_or(v, VECTOR_OP(set1_epi8)(0x20));
}

static inline uint64_t window_is(const struct window *w, uint8_t c)
{
    uint64_t set = 0;
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++)
        set |= window_part(vector_is(w->v[i], c), i);
    return set;
}

static inline uint64_t window_between(const struct window *w, uint8_t from, uint8_t to)
{
    uint64_t set = 0;
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++)
        set |= window_part(vector_between(w->v[i], from, to), i);
    return set;
}

/* The letter c, which is in lower case. */
static inline uint64_t window_letter(const struct window *w, uint8_t c)
{
    uint64_t set = 0;
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++)
        set |= window_part(vector_is(vector_lower(w->v[i]), c), i);
    return set;
}

/* What may begin an identifier: letters, underscore, bytes over 0x7f. */
static inline uint64_t window_letters(const struct window *w)
{
    uint64_t set = 0;
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++) {
        VECTOR v = w->v[i];
        VECTOR ascii = vector_or(vector_between(vector_lower(v), 'a', 'z'), vector_is(v, '_'));
        set |= window_part(vector_or(ascii, v), i);
    }
    return set;
}

/* What long texts have few of outside of their literals: control characters and white space other than blanks,
   dollars, double quotes, ampersands, minuses, slashes, semicolons; and a few more whose codes are near. */
static inline uint64_t window_rare(const struct window *w)
{
    uint64_t set = 0;
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++) {
        VECTOR v = w->v[i];
        VECTOR to_amp = VECTOR_OP(cmpeq_epi8)(VECTOR_OP(min_epu8)(v, VECTOR_OP(set1_epi8)('&')), v);
        VECTOR low = vector_andnot(vector_is(v, ' '), to_amp);
        VECTOR minus_slash = vector_is(vector_or(v, VECTOR_OP(set1_epi8)('-' ^ '/')), '/');
        set |= window_part(vector_or(vector_or(low, minus_slash), vector_is(v, ';')), i);
    }
    return set;
}

/* ---- arithmetic ---------------------------------------------------------------------------------------- */

/* The positions behind the runs of `set` that begin at `begins`; a run that reaches the top has none. */
static inline uint64_t set_ends(uint64_t set, uint64_t begins)
{
    return (set + begins) & ~set;
}

/* From each position of odd number to before the next one: between opening and closing quotes. Through the
   top if the last one is odd. */
static inline uint64_t set_between(uint64_t quotes)
{
#ifdef __PCLMUL__
    __m128i ones = _mm_set1_epi8(-1), all = _mm_set_epi64x(0, (long long)quotes);
    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(all, ones, 0));
#else
    UNROLLED
    for (unsigned n = 1; n < WINDOW; n *= 2)
        quotes ^= quotes << n;
    return quotes;
#endif
}

static inline unsigned set_first(uint64_t set)
{
    return (unsigned)__builtin_ctzll(set);
}

#endif
