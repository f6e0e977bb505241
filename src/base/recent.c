/*
 * Two maps instead of a list in order of use.
 *
 *     put    into the young one; when that holds half of what may be there, all that is left in the old one is
 *            forgotten first, and the young one becomes the old one
 *     get    what is found in the old one moves to the young one
 *
 * So an entry that is asked for at least once among as many puts as half of the limit is not forgotten, whatever else is
 * put. Only a put forgets, as whoever got values may still be using them. Entries that move make the young map larger than
 * half: up to the whole limit, past which they stay where they are.
 */
#include "base/recent.h"

#include <assert.h>

void recent_init(struct recent *r, size_t most, void (*free_value)(void *))
{
    assert(most >= 2);
    *r = (struct recent){.half = most / 2, .free_value = free_value};
    hashmap_init(&r->young);
    hashmap_init(&r->old);
}

void recent_clear(struct recent *r)
{
    hashmap_free(&r->young, r->free_value);
    hashmap_free(&r->old, r->free_value);
}

void *recent_get(struct recent *r, struct slice key)
{
    void *value = hashmap_get(&r->young, key);
    if (value || r->old.count == 0)
        return value;
    value = hashmap_get(&r->old, key);
    if (value && r->young.count < 2 * r->half) {
        (void)hashmap_remove(&r->old, key);
        hashmap_put(&r->young, key, value);
    }
    return value;
}

void recent_put(struct recent *r, struct slice key, void *value)
{
    if (r->young.count >= r->half) {
        hashmap_free(&r->old, r->free_value);
        r->old = r->young;
        hashmap_init(&r->young);
    }
    hashmap_put(&r->young, key, value);
}

size_t recent_count(const struct recent *r)
{
    return r->young.count + r->old.count;
}
