/*
 * A map that forgets: of `most` entries those stay that were put or asked for lately; at times there are twice as many. Keys
 * are copied; values belong to the map if it has a free_value, else to the caller.
 */
#ifndef PGUNISON_BASE_RECENT_H
#define PGUNISON_BASE_RECENT_H

#include "base/hashmap.h"

struct recent {
    struct hashmap young, old;
    size_t half;
    void (*free_value)(void *);
};

void recent_init(struct recent *r, size_t most, void (*free_value)(void *)); /* free_value may be NULL */
void recent_clear(struct recent *r);                                         /* empty again, without memory */
/* NULL: not there. What was got stays at least until the next recent_put(). */
void *recent_get(struct recent *r, struct slice key);
/* The key must not be there. May forget others. */
void recent_put(struct recent *r, struct slice key, void *value);
size_t recent_count(const struct recent *r);

#endif
