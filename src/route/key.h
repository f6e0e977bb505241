/*
 * A key's value, read exactly: what hashing, ranges and lists work on. Private to src/route.
 */
#ifndef PGUNISON_SRC_ROUTE_KEY_H
#define PGUNISON_SRC_ROUTE_KEY_H

#include "base/error.h"
#include "base/slice.h"
#include "route/hash.h"

struct key {
    bool is_int;        /* i counts; else bytes */
    int64_t i;          /* integers and oids as they are, false and true as 0 and 1, days, microseconds */
    struct slice bytes; /* in the value that was read, or in small or heap */
    uint8_t small[64];
    uint8_t *heap; /* for key_free() */
};

/* The arguments are those of hash_key(). On STATUS_OK the caller ends with key_free(); bytes may point into
 * value. */
enum status key_read(uint32_t type_oid, uint32_t value_oid, int16_t format, struct slice value,
                     struct key *key_r, struct error *error_r) MUST_CHECK;
void key_free(struct key *key);

/* What storing the value in a column declared with typmod (pg_attribute.atttypmod, -1: none) makes of it:
   timestamp(3) rounds, varchar(9) drops blanks beyond the ninth character. */
enum status key_apply_typmod(struct key *key, uint32_t type_oid, int32_t typmod,
                             struct error *error_r) MUST_CHECK;

/* The extended hash, seed 0 (hash.c). */
uint64_t key_hash(const struct key *key, enum hash_family family);

/* <0, 0, >0; both keys of one type. Byte strings in the order of memcmp. */
int key_compare(const struct key *a, const struct key *b);

#endif
