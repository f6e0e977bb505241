/*
 * A window of 64 bytes of a text as sets of positions (bit i: byte i), made with vector instructions: SSE2,
 * or AVX2 where the file that includes this is compiled for it. And arithmetic on such sets.
 */
#ifndef PGUNISON_SQL_WINDOW_H
#define PGUNISON_SQL_WINDOW_H

#include <stdint.h>

#define WINDOW     64
#define WINDOW_TOP (UINT64_C(1) << (WINDOW - 1))

#ifdef __AVX2__
#include <immintrin.h>
#define VECTOR          __m256i
#define VECTOR_OP(op)   _mm256_##op
#define vector_load(p)  _mm256_loadu_si256(p)
#define vector_or(a, b) _mm256_or_si256(a, b)
#else
#include <emmintrin.h>
#define VECTOR          __m128i
#define VECTOR_OP(op)   _mm_##op
#define vector_load(p)  _mm_loadu_si128(p)
#define vector_or(a, b) _mm_or_si128(a, b)
#endif
#define VECTOR_BYTES ((unsigned)sizeof(VECTOR))
#define VECTORS      ((unsigned)WINDOW / VECTOR_BYTES)
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

/* The classes of a window's bytes. */
struct window_sets {
    uint64_t digits, points, quotes, blanks;
    uint64_t letters; /* what may begin an identifier: letters, underscore, bytes over 0x7f */
    /* What long texts have few of outside of their literals: control characters and white space other than
       blanks, ! " # $ % & - / ; */
    uint64_t rare;
};

#ifdef __AVX2__
/* A bit for each set of bytes that is all combinations of some upper and some lower halves; what has both is
   in it. */
enum window_bit {
    BIT_DIGIT = 0x01,   /* 3 and 0-9 */
    BIT_POINT = 0x02,   /* 2 and e */
    BIT_RARE_2 = 0x04,  /* 2 and 1-6, d, f */
    BIT_RARE_3 = 0x08,  /* 3 and b */
    BIT_LETTER = 0x10,  /* 4, 6 and 1-f */
    BIT_LETTER2 = 0x20, /* 5, 7 and 0-a */
    BIT_LINE = 0x40,    /* 5 and f */
    BIT_CONTROL = 0x80  /* 0, 1 and all */
};
#define BITS_RARE    (BIT_RARE_2 | BIT_RARE_3)
#define BITS_LETTERS (BIT_LETTER | BIT_LETTER2 | BIT_LINE)

/* Those of each byte; none over 0x7f. */
static inline __m256i vector_bits(__m256i v)
{
    enum { C = BIT_CONTROL, L = C | BIT_LETTER, K = L | BIT_LETTER2, D = K | BIT_DIGIT, R = D | BIT_RARE_2 };
    const __m256i lower = _mm256_broadcastsi128_si256(
        _mm_setr_epi8((char)(D & ~BIT_LETTER), (char)R, (char)R, (char)R, (char)R, (char)R, (char)R, (char)D,
                      (char)D, (char)D, (char)K, (char)(L | BIT_RARE_3), (char)L, (char)(L | BIT_RARE_2),
                      (char)(L | BIT_POINT), (char)(L | BIT_RARE_2 | BIT_LINE)));
    const __m256i upper = _mm256_broadcastsi128_si256(
        _mm_setr_epi8((char)C, (char)C, BIT_RARE_2 | BIT_POINT, BIT_DIGIT | BIT_RARE_3, BIT_LETTER,
                      BIT_LETTER2 | BIT_LINE, BIT_LETTER, BIT_LETTER2, 0, 0, 0, 0, 0, 0, 0, 0));
    __m256i shifted = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));
    return _mm256_and_si256(_mm256_shuffle_epi8(lower, v), _mm256_shuffle_epi8(upper, shifted));
}

/* The bytes that have one of the bits, which are not the highest one, in their own highest bit. */
static inline __m256i vector_any(__m256i bits, uint8_t any)
{
    uint8_t lowest = (uint8_t)(any & -any);
    return _mm256_add_epi8(_mm256_and_si256(bits, _mm256_set1_epi8((char)any)),
                           _mm256_set1_epi8((char)(0x80 - lowest)));
}

static inline struct window_sets window_sets(const struct window *w)
{
    struct window_sets s = {0};
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++) {
        __m256i v = w->v[i], bits = vector_bits(v);
        s.digits |= window_part(_mm256_slli_epi16(bits, 7), i);
        s.points |= window_part(_mm256_slli_epi16(bits, 6), i);
        s.quotes |= window_part(vector_is(v, '\''), i);
        s.blanks |= window_part(vector_is(v, ' '), i);
        s.letters |= window_part(vector_or(vector_any(bits, BITS_LETTERS), v), i);
        s.rare |= window_part(vector_or(vector_any(bits, BITS_RARE), bits), i);
    }
    return s;
}

#else
static inline struct window_sets window_sets(const struct window *w)
{
    struct window_sets s = {0};
    UNROLLED
    for (unsigned i = 0; i < VECTORS; i++) {
        __m128i v = w->v[i], blanks = vector_is(v, ' ');
        __m128i letters = vector_or(vector_between(vector_lower(v), 'a', 'z'), vector_is(v, '_'));
        __m128i to_amp = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8('&')), v);
        __m128i minus_slash = vector_is(vector_or(v, _mm_set1_epi8('-' ^ '/')), '/');
        __m128i rare = vector_or(minus_slash, vector_is(v, ';'));
        s.digits |= window_part(vector_between(v, '0', '9'), i);
        s.points |= window_part(vector_is(v, '.'), i);
        s.quotes |= window_part(vector_is(v, '\''), i);
        s.blanks |= window_part(blanks, i);
        s.letters |= window_part(vector_or(letters, v), i);
        s.rare |= window_part(vector_or(_mm_andnot_si128(blanks, to_amp), rare), i);
    }
    return s;
}
#endif

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
