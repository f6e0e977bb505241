/* A set of small numbers: shards of one database, by their index in its configuration. */
#ifndef PGUNISON_BASE_BITSET_H
#define PGUNISON_BASE_BITSET_H

#include <stdbool.h>
#include <stdint.h>

#define SHARD_SET_MAX 256 /* shards per database */

struct shard_set {
    uint64_t w[SHARD_SET_MAX / 64];
};

static inline void shard_set_clear(struct shard_set *s)
{
    s->w[0] = s->w[1] = s->w[2] = s->w[3] = 0;
}
static inline void shard_set_add(struct shard_set *s, unsigned i)
{
    s->w[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline bool shard_set_has(const struct shard_set *s, unsigned i)
{
    return (s->w[i / 64] >> (i % 64)) & 1;
}
static inline void shard_set_union(struct shard_set *s, const struct shard_set *o)
{
    for (int i = 0; i < 4; i++)
        s->w[i] |= o->w[i];
}
static inline bool shard_set_equal(const struct shard_set *a, const struct shard_set *b)
{
    return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}
static inline unsigned shard_set_count(const struct shard_set *s)
{
    unsigned n = 0;
    if (!(s->w[1] | s->w[2] | s->w[3]) && !(s->w[0] & (s->w[0] - 1)))
        return s->w[0] != 0; /* nearly always */
    for (int i = 0; i < 4; i++)
        n += (unsigned)__builtin_popcountll(s->w[i]);
    return n;
}
/* The only member; -1: there is none, or there are several, or it is not among the first 64. */
static inline int shard_set_single(const struct shard_set *s)
{
    uint64_t w = s->w[0];
    return (s->w[1] | s->w[2] | s->w[3]) == 0 && w != 0 && (w & (w - 1)) == 0 ? __builtin_ctzll(w) : -1;
}
/* The lowest member that is >= from, or -1:
 * for (int i = shard_set_next(&s, 0); i >= 0; i = shard_set_next(&s, i + 1)) */
static inline int shard_set_next(const struct shard_set *s, int from)
{
    for (int i = from / 64; from < SHARD_SET_MAX && i < 4; i++) {
        uint64_t w = s->w[i];
        if (i == from / 64)
            w &= ~UINT64_C(0) << (from % 64);
        if (w)
            return i * 64 + __builtin_ctzll(w);
    }
    return -1;
}

#endif
