/*
 * PostgreSQL's extended hash functions, seed 0.
 *
 * The byte hash is Bob Jenkins' lookup3 (public domain) with PostgreSQL's start value, its words read as a
 * little-endian server reads them; big-endian servers hash character strings and bytes otherwise, and are not
 * supported as shards. In lookup3's last block the lowest byte of the third word belongs to the length, which
 * is why the tail's bytes 8 to 10 are shifted up by one.
 *
 * Integers are hashed so that equal values of int2, int4, int8 and oid hash alike: the high half of a 64-bit
 * value is folded into the low half such that it vanishes when the value fits 32 bits.
 *
 * Not responsible for: reading values (key.c).
 */
#include "route/hash.h"

#include "key.h"

struct lookup3 {
    uint32_t a, b, c;
};

static inline uint32_t rotate(uint32_t v, unsigned bits)
{
    return (v << bits) | (v >> (32 - bits));
}

static inline struct lookup3 lookup3_start(size_t len)
{
    uint32_t v = UINT32_C(0x9e3779b9) + (uint32_t)len + UINT32_C(3923095);
    return (struct lookup3){v, v, v};
}

static inline void lookup3_mix(struct lookup3 *s)
{
    uint32_t a = s->a, b = s->b, c = s->c;
    a = (a - c) ^ rotate(c, 4);
    c += b;
    b = (b - a) ^ rotate(a, 6);
    a += c;
    c = (c - b) ^ rotate(b, 8);
    b += a;
    a = (a - c) ^ rotate(c, 16);
    c += b;
    b = (b - a) ^ rotate(a, 19);
    a += c;
    c = (c - b) ^ rotate(b, 4);
    b += a;
    *s = (struct lookup3){a, b, c};
}

static inline uint64_t lookup3_end(struct lookup3 s)
{
    uint32_t a = s.a, b = s.b, c = s.c;
    c = (c ^ b) - rotate(b, 14);
    a = (a ^ c) - rotate(c, 11);
    b = (b ^ a) - rotate(a, 25);
    c = (c ^ b) - rotate(b, 16);
    a = (a ^ c) - rotate(c, 4);
    b = (b ^ a) - rotate(a, 14);
    c = (c ^ b) - rotate(b, 24);
    return ((uint64_t)b << 32) | c;
}

static inline uint32_t load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

uint64_t hash_bytes_extended(const uint8_t *k, size_t len, uint64_t seed)
{
    struct lookup3 s = lookup3_start(len);
    if (seed) {
        s.a += (uint32_t)(seed >> 32);
        s.b += (uint32_t)seed;
        lookup3_mix(&s);
    }
    for (; len >= 12; k += 12, len -= 12) {
        s.a += load_le32(k);
        s.b += load_le32(k + 4);
        s.c += load_le32(k + 8);
        lookup3_mix(&s);
    }
    uint8_t tail[12] = {0};
    if (len)
        memcpy(tail, k, len);
    s.a += load_le32(tail);
    s.b += load_le32(tail + 4);
    s.c += load_le32(tail + 8) << 8;
    return lookup3_end(s);
}

static uint64_t hash_u32(uint32_t v)
{
    struct lookup3 s = lookup3_start(sizeof(v));
    s.a += v;
    return lookup3_end(s);
}

uint64_t hash_int8_extended(int64_t v)
{
    uint32_t low = (uint32_t)v, high = (uint32_t)((uint64_t)v >> 32);
    return hash_u32(low ^ (v >= 0 ? high : ~high));
}

uint64_t key_hash(const struct key *key, enum hash_family family)
{
    switch (family) {
    case HASH_INT:
    case HASH_TIMESTAMP:
    case HASH_TIMESTAMPTZ:
        return hash_int8_extended(key->i);
    case HASH_DATE:
    case HASH_BOOL:
        return hash_u32((uint32_t)key->i);
    case HASH_TEXT:
    case HASH_BPCHAR:
    case HASH_UUID:
    case HASH_BYTEA:
    case HASH_NONE:
        break;
    }
    return hash_bytes_extended(key->bytes.data, key->bytes.len, 0);
}

enum status hash_key(uint32_t type_oid, uint32_t value_oid, int16_t format, struct slice value,
                     uint64_t *hash_r, struct error *error_r)
{
    struct key key;
    if (key_read(type_oid, value_oid, format, value, &key, error_r) != STATUS_OK)
        return STATUS_ERROR;
    *hash_r = key_hash(&key, hash_family_of(type_oid));
    key_free(&key);
    return STATUS_OK;
}
