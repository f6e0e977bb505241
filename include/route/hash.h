/*
 * PostgreSQL's extended hash functions with seed 0, bit for bit (src/common/hashfn.c,
 * src/backend/access/hash/hashfunc.c), so that SELECT hashint8extended(42, 0) & 1023 on any server names the
 * bucket.
 */
#ifndef PGUNISON_ROUTE_HASH_H
#define PGUNISON_ROUTE_HASH_H

#include "base/error.h"
#include "base/slice.h"

/* The key types that can be hashed: int2, int4, int8, oid, text, varchar, bpchar, uuid, bytea, date,
   timestamp, timestamptz, bool. Types that hash equal values alike are one family; tables
   of one family are colocated. 0: not hashable here. */
enum hash_family {
    HASH_NONE,
    HASH_INT,
    HASH_TEXT,
    HASH_BPCHAR,
    HASH_UUID,
    HASH_BYTEA,
    HASH_DATE,
    HASH_TIMESTAMP,
    HASH_TIMESTAMPTZ,
    HASH_BOOL
};
enum hash_family hash_family_of(uint32_t type_oid);

/* Hash of a key of column type type_oid given in text (format 0) or binary (1) of wire type value_oid (0:
   unspecified, read as the column's type; int families mix freely). Errors: 22P02 and so on for a value that
   does not parse as its type; 0A000 for a value type that cannot be the key (numeric, float …: the caller
   then does not pin on it). Domain resolution and collation determinism are the caller's. */
enum status hash_key(uint32_t type_oid, uint32_t value_oid, int16_t format, struct slice value,
                     uint64_t *hash_r, struct error *error_r) MUST_CHECK;

uint64_t hash_int8_extended(int64_t v); /* also int2, int4 (they agree by design) */
uint64_t hash_bytes_extended(const uint8_t *k, size_t len, uint64_t seed);

#endif
