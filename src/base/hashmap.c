/*
 * Chained hash map. Buckets are a power of two and double when there is more than one entry a bucket; they
 * shrink in hashmap_fit() alone, so removing during an iteration moves nothing. An entry is one allocation with its key at the
 * end.
 *
 * Keys may be chosen by clients (statement names, templates), so the hash is keyed with random bits drawn
 * once per process: nobody outside can aim at one bucket.
 */
#include "base/hashmap.h"

#include "base/arena.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define FIRST_BUCKETS ((size_t)8)

struct hashmap_entry {
    struct hashmap_entry *next;
    uint64_t hash;
    void *value;
    size_t key_len;
    uint8_t key[];
};

/* ---- the hash
 * ---------------------------------------------------------------------------------------------- */

static uint64_t secret[4];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;
static bool secret_drawn; /* set once, behind the secret; saves the call */

/* Odd constants with about half their bits set (digits of e, pi, the golden ratio, sqrt 2), so that a draw of
   zeros does no harm. */
static void draw_secret(void)
{
    static const uint64_t base[4] = {UINT64_C(0xadf85458a2bb4a9b), UINT64_C(0x243f6a8885a308d3),
                                     UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0x6a09e667f3bcc909)};
    uint64_t random[4] = {0};
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        random[0] = clock_wall_us();
        random[1] = clock_monotonic_us() << 20 ^ (uint64_t)getpid();
    }
    for (int i = 0; i < 4; i++)
        secret[i] = base[i] ^ random[i];
    __atomic_store_n(&secret_drawn, true, __ATOMIC_RELEASE);
}

/* Multiplies to 128 bits and folds: every input bit reaches every output bit. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t native_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t native_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

uint64_t hash_bytes64(const void *data, size_t len)
{
    if (!__atomic_load_n(&secret_drawn, __ATOMIC_ACQUIRE))
        pthread_once(&secret_once, draw_secret);
    const uint8_t *p = data;
    uint64_t h = secret[0];
    uint64_t a = 0, b = 0;
    size_t left = len;

    while (left > 16) {
        h = mix(native_u64(p) ^ secret[1], native_u64(p + 8) ^ h);
        p += 16;
        left -= 16;
    }
    /* The last 1..16 bytes, by two reads that may overlap. */
    if (left >= 8) {
        a = native_u64(p);
        b = native_u64(p + left - 8);
    } else if (left >= 4) {
        a = native_u32(p);
        b = native_u32(p + left - 4);
    } else if (left > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1];
    }
    return mix(secret[2] ^ len, mix(a ^ secret[3], b ^ h));
}

/* ---- the map
 * ----------------------------------------------------------------------------------------------- */

void hashmap_init(struct hashmap *m)
{
    *m = (struct hashmap){0};
}

void hashmap_free(struct hashmap *m, void (*free_value)(void *))
{
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct hashmap_entry *e = m->buckets[i]; e;) {
            struct hashmap_entry *next = e->next;
            if (free_value)
                free_value(e->value);
            free(e);
            e = next;
        }
    }
    free(m->buckets);
    hashmap_init(m);
}

/* Where the pointer to the key's entry is, or would be: *result is NULL when it is not there. */
static struct hashmap_entry **find(const struct hashmap *m, struct slice key, uint64_t hash)
{
    struct hashmap_entry **at = &m->buckets[hash & (m->n_buckets - 1)];
    while (*at && ((*at)->hash != hash || !slice_eq(slice_of((*at)->key, (*at)->key_len), key)))
        at = &(*at)->next;
    return at;
}

static void resize(struct hashmap *m, size_t n)
{
    struct hashmap_entry **buckets = xcalloc(n, sizeof(struct hashmap_entry *));
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct hashmap_entry *e = m->buckets[i]; e;) {
            struct hashmap_entry *next = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
            e = next;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
}

static void grow(struct hashmap *m)
{
    resize(m, m->n_buckets ? m->n_buckets * 2 : FIRST_BUCKETS);
}

/* At an eighth, and down to a quarter: so that growing and shrinking never take turns. */
void hashmap_fit(struct hashmap *m)
{
    if (m->count == 0)
        hashmap_free(m, NULL);
    else if (m->n_buckets > FIRST_BUCKETS && m->count < m->n_buckets / 8)
        resize(m, m->n_buckets / 4 > FIRST_BUCKETS ? m->n_buckets / 4 : FIRST_BUCKETS);
}

void *hashmap_get(const struct hashmap *m, struct slice key)
{
    if (m->count == 0)
        return NULL;
    struct hashmap_entry *e = *find(m, key, hash_bytes64(key.data, key.len));
    return e ? e->value : NULL;
}

void *hashmap_put(struct hashmap *m, struct slice key, void *value)
{
    uint64_t hash = hash_bytes64(key.data, key.len);
    if (m->n_buckets) {
        struct hashmap_entry *e = *find(m, key, hash);
        if (e) {
            void *old = e->value;
            e->value = value;
            return old;
        }
    }
    if (m->count >= m->n_buckets)
        grow(m);

    struct hashmap_entry *e = xmalloc(sizeof(*e) + key.len);
    e->hash = hash;
    e->value = value;
    e->key_len = key.len;
    if (key.len)
        memcpy(e->key, key.data, key.len);
    struct hashmap_entry **bucket = &m->buckets[hash & (m->n_buckets - 1)];
    e->next = *bucket;
    *bucket = e;
    m->count++;
    return NULL;
}

void *hashmap_remove(struct hashmap *m, struct slice key)
{
    if (m->count == 0)
        return NULL;
    struct hashmap_entry **at = find(m, key, hash_bytes64(key.data, key.len));
    struct hashmap_entry *e = *at;
    if (!e)
        return NULL;
    void *value = e->value;
    *at = e->next;
    free(e);
    m->count--;
    return value;
}

void hashmap_iter_init(const struct hashmap *m, struct hashmap_iter *it)
{
    *it = (struct hashmap_iter){.next = m->n_buckets ? m->buckets[0] : NULL};
}

/* it->next was read before the caller saw the entry, so the caller may remove that entry. */
bool hashmap_next(const struct hashmap *m, struct hashmap_iter *it, struct slice *key_r, void **value_r)
{
    while (!it->next) {
        if (it->bucket + 1 >= m->n_buckets)
            return false;
        it->next = m->buckets[++it->bucket];
    }
    it->entry = it->next;
    it->next = it->entry->next;
    *key_r = slice_of(it->entry->key, it->entry->key_len);
    *value_r = it->entry->value;
    return true;
}
