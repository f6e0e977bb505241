/*
 * Byte-string keys to pointers. Keys are copied; values belong to the caller. Iteration order is arbitrary;
 * removing the entry that an iteration stands on is allowed, adding during one is not.
 */
#ifndef PGUNISON_BASE_HASHMAP_H
#define PGUNISON_BASE_HASHMAP_H

#include "base/slice.h"

struct hashmap_entry;
struct hashmap {
    struct hashmap_entry **buckets;
    size_t n_buckets, count;
};
struct hashmap_iter {
    size_t bucket;
    struct hashmap_entry *entry, *next;
};

void hashmap_init(struct hashmap *m);
void hashmap_free(struct hashmap *m, void (*free_value)(void *));    /* free_value may be NULL */
void *hashmap_get(const struct hashmap *m, struct slice key);        /* NULL: not there */
void *hashmap_put(struct hashmap *m, struct slice key, void *value); /* returns the value replaced, or NULL */
void *hashmap_remove(struct hashmap *m, struct slice key);           /* returns the value removed, or NULL */

/* After many were removed, and not during an iteration: buckets for those that are left. */
void hashmap_fit(struct hashmap *m);

/* for (hashmap_iter_init(m, &it); hashmap_next(m, &it, &key, &value);) */
void hashmap_iter_init(const struct hashmap *m, struct hashmap_iter *it);
bool hashmap_next(const struct hashmap *m, struct hashmap_iter *it, struct slice *key_r, void **value_r);

/* The hash used here; seeded per process, so not for anything that outlives it. */
uint64_t hash_bytes64(const void *data, size_t len);

#endif
