#include "backend/defaults.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/hashmap.h"
#include "base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct defaults {
    atomic_uint generation;
    struct hashmap seen; /* place -> uint64_t *: what the last connection there began with; under the lock */
};

static struct {
    pthread_mutex_t lock;
    struct hashmap logins; /* "shard\0user" -> struct defaults */
    atomic_uint_fast64_t version;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct defaults *login_of(const char *shard, const char *user)
{
    struct buf key;
    buf_init(&key);
    buf_cstr(&key, shard);
    buf_str(&key, user);
    pthread_mutex_lock(&all.lock);
    struct defaults *d = hashmap_get(&all.logins, buf_slice(&key));
    if (!d) {
        d = xcalloc(1, sizeof *d);
        hashmap_init(&d->seen);
        hashmap_put(&all.logins, buf_slice(&key), d);
    }
    pthread_mutex_unlock(&all.lock);
    buf_free(&key);
    return d;
}

static void move(struct defaults *d)
{
    atomic_fetch_add_explicit(&d->generation, 1, memory_order_acq_rel);
    atomic_fetch_add_explicit(&all.version, 1, memory_order_acq_rel);
}

void defaults_begin(const char *shard, const char *user, struct begun *begun_r)
{
    struct defaults *d = login_of(shard, user);
    *begun_r = (struct begun){.of = d, .now = &d->generation};
    begun_r->generation = atomic_load_explicit(&d->generation, memory_order_acquire);
}

/* A connection of which the generation has passed may have begun before the change that moved it: it tells nothing, and is
   not used. So two that are opened around a change never move it back and forth. */
void defaults_compare(struct begun *begun, const char *place, uint64_t found)
{
    struct defaults *d = begun->of;
    pthread_mutex_lock(&all.lock);
    if (!defaults_are_old(begun)) {
        uint64_t *seen = hashmap_get(&d->seen, slice_str(place));
        if (!seen) {
            seen = xcalloc(1, sizeof *seen);
            *seen = found;
            hashmap_put(&d->seen, slice_str(place), seen);
        } else if (*seen != found) {
            *seen = found;
            move(d);
            begun->generation = atomic_load_explicit(&d->generation, memory_order_acquire);
            log_info("defaults of a role or a database changed at %s: older connections are replaced", place);
        }
    }
    pthread_mutex_unlock(&all.lock);
}

static bool is_of_user(struct slice key, const char *user)
{
    size_t len = strlen(user);
    return key.len > len && key.data[key.len - len - 1] == 0 &&
           memcmp(key.data + key.len - len, user, len) == 0;
}

void defaults_renew(const char *user)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    pthread_mutex_lock(&all.lock);
    for (hashmap_iter_init(&all.logins, &it); hashmap_next(&all.logins, &it, &key, &value);)
        if (!user || is_of_user(key, user))
            move(value);
    pthread_mutex_unlock(&all.lock);
}

uint64_t defaults_version(void)
{
    return atomic_load_explicit(&all.version, memory_order_acquire);
}

static void free_defaults(void *arg)
{
    struct defaults *d = arg;
    hashmap_free(&d->seen, free);
    free(d);
}

void defaults_init(void)
{
    hashmap_init(&all.logins);
}

void defaults_deinit(void)
{
    hashmap_free(&all.logins, free_defaults);
}
