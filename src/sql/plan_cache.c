/*
 * Templates to plans.
 *
 *     family    one per template and context; owns the template's text
 *       shape   a set of literals that some plan of the family pins; as a rule there is none or one
 *         entry a plan, and the values of its shape's literals; a plan without pinned literals has no shape
 *
 * A look-up hashes (template, context) to the family and, per shape, the pinned values to the entry; the
 * hashes only say where to look: text, context and values are compared in full. So a thousand LIMITs under one
 * template cost no more than one.
 *
 * Entries are found from three sides: by values (tables below), by plan (for unpin), and in order of use.
 * Invariants:
 *  - refs > 0: somebody uses the plan; the entry is not in the list `idle`, which eviction takes from.
 *  - family == NULL: detached (replaced or cleared while in use, or never to be found): unpin destroys it. It is in
 *    by_plan only.
 *  - a family exists as long as it has an entry.
 * Entries with refs == 0 are in `idle`, least recently used last; only those can be evicted, so bytes may
 * exceed the limit while more than that is in use.
 *
 * Not responsible for: threads (one cache belongs to one worker), and what plans are.
 */
#include "sql/plan_cache.h"

#include "base/arena.h"
#include "base/hashmap.h"
#include "base/list.h"
#include <assert.h>
#include <stdlib.h>

#define FIRST_BUCKETS ((size_t)64)

/* ---- intrusive chained table
 * -------------------------------------------------------------------------------- */

struct node {
    struct node *next;
    uint64_t hash;
};
struct table {
    struct node **buckets;
    size_t n_buckets, count; /* a power of two */
};

static void table_init(struct table *t)
{
    *t = (struct table){.buckets = xcalloc(FIRST_BUCKETS, sizeof(struct node *)), .n_buckets = FIRST_BUCKETS};
}

static size_t table_bytes(const struct table *t)
{
    return heap_bytes(t->n_buckets * sizeof(struct node *));
}

/* An emptied table gives back what many entries made it grow to. */
static void table_shrink(struct table *t)
{
    if (t->count > 0 || t->n_buckets == FIRST_BUCKETS)
        return;
    free(t->buckets);
    table_init(t);
}

static inline struct node *table_first(const struct table *t, uint64_t hash)
{
    return t->buckets[hash & (t->n_buckets - 1)];
}

static void table_grow(struct table *t)
{
    size_t n = t->n_buckets * 2;
    struct node **buckets = xcalloc(n, sizeof(struct node *));
    for (size_t i = 0; i < t->n_buckets; i++) {
        for (struct node *e = t->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->n_buckets = n;
}

static void table_add(struct table *t, struct node *e, uint64_t hash)
{
    if (t->count >= t->n_buckets)
        table_grow(t);
    struct node **bucket = &t->buckets[hash & (t->n_buckets - 1)];
    *e = (struct node){.next = *bucket, .hash = hash};
    *bucket = e;
    t->count++;
}

static void table_remove(struct table *t, struct node *e)
{
    struct node **at = &t->buckets[e->hash & (t->n_buckets - 1)];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    t->count--;
}

/* ---- families, shapes, entries
 * ------------------------------------------------------------------------------ */

struct shape {
    struct shape *next;
    size_t n;
    uint32_t pinned[];
};

struct family {
    struct node node; /* first: nodes of the table `families` are cast back */
    uint64_t numbers[PLAN_CONTEXT_NUMBERS];
    struct shape *shapes;
    struct entry *plain; /* the plan without pinned literals */
    size_t n_entries, bytes, text_len, hint_len;
    uint32_t n_types;
    uint8_t text[]; /* the template, the hint, the types */
};

struct entry {
    struct node by_values; /* unless it is its family's plain entry */
    struct node by_plan;
    struct list_node idle;
    struct family *family;
    struct shape *shape;
    void *plan;
    uint32_t refs;
    bool once; /* never to be found; its bytes are no part of stats.bytes */
    size_t bytes, values_len;
    uint8_t values[]; /* per pinned literal its length (4 bytes) and its bytes, quotes and all */
};

struct plan_cache {
    size_t max_bytes;
    void (*destroy_plan)(void *plan);
    struct table families, by_values, by_plan;
    struct list idle;
    struct entry
        *last;     /* the one found last, whose plan most likely is the next to be unpinned; NULL: none */
    size_t tables; /* bytes of the three tables */
    size_t once;   /* bytes of entries that are not to be found */
    struct plan_cache_stats stats; /* bytes: without those two */
};

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)(a ^ UINT64_C(0x9e3779b97f4a7c15)) * (b ^ UINT64_C(0xd1b54a32d192ed03));
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t plan_hash(const void *plan)
{
    return mix((uint64_t)(uintptr_t)plan, 1);
}

static inline struct entry *entry_by_plan(struct node *n)
{
    return list_entry(n, struct entry, by_plan);
}

static inline struct slice literal_text(const struct template *t, uint32_t i)
{
    assert(i < t->n_literals);
    return slice_of(t->statement.data + t->literals[i].at, t->literals[i].len);
}

static inline uint64_t family_hash(const struct template *t, const struct plan_context *context)
{
    uint64_t hash = t->hash ^ context->n_types;
    /* Each times a constant of its own: these do not wait for each other, as a chain would. */
#pragma GCC unroll 8
    for (size_t i = 0; i < PLAN_CONTEXT_NUMBERS; i++)
        hash += context->numbers[i] * (UINT64_C(0x9e3779b97f4a7c15) + (i << 33 | i << 1));
    if (context->hint.len)
        hash = mix(hash, hash_bytes64(context->hint.data, context->hint.len));
    for (uint32_t i = 0; i < context->n_types; i++)
        hash = (hash ^ context->types[i]) * UINT64_C(0xd1b54a32d192ed03);
    return hash ^ hash >> 32;
}

static inline bool family_is(const struct family *f, const struct template *t,
                             const struct plan_context *context)
{
    uint64_t other =
        (f->text_len ^ t->text.end) | (f->hint_len ^ context->hint.len) | (f->n_types ^ context->n_types);
#pragma GCC unroll 8
    for (size_t i = 0; i < PLAN_CONTEXT_NUMBERS; i++)
        other |= f->numbers[i] ^ context->numbers[i];
    if (other != 0 || memcmp(f->text, t->text.data, f->text_len) != 0)
        return false;
    const uint8_t *hint = f->text + f->text_len;
    return (f->hint_len == 0 || memcmp(hint, context->hint.data, f->hint_len) == 0) &&
           (f->n_types == 0 ||
            memcmp(hint + f->hint_len, context->types, f->n_types * sizeof(uint32_t)) == 0);
}

static struct family *find_family(const struct plan_cache *c, const struct template *t, uint64_t hash,
                                  const struct plan_context *context)
{
    for (struct node *n = table_first(&c->families, hash); n; n = n->next)
        if (n->hash == hash && family_is((struct family *)n, t, context))
            return (struct family *)n;
    return NULL;
}

static uint64_t values_hash(const struct family *f, const struct shape *s, const struct template *t)
{
    uint64_t hash = mix((uint64_t)(uintptr_t)s, f->node.hash);
    for (size_t i = 0; i < s->n; i++) {
        struct slice v = literal_text(t, s->pinned[i]);
        hash = mix(hash, hash_bytes64(v.data, v.len));
    }
    return hash;
}

static bool values_equal(const struct entry *e, const struct template *t)
{
    const uint8_t *at = e->values;
    for (size_t i = 0; i < e->shape->n; i++) {
        struct slice v = literal_text(t, e->shape->pinned[i]);
        uint32_t len;
        memcpy(&len, at, sizeof(len));
        if (len != v.len || memcmp(at + sizeof(len), v.data, len) != 0)
            return false;
        at += sizeof(len) + len;
    }
    return true;
}

static struct entry *find_in_shape(const struct plan_cache *c, const struct family *f, const struct shape *s,
                                   const struct template *t)
{
    uint64_t hash = values_hash(f, s, t);
    for (struct node *n = table_first(&c->by_values, hash); n; n = n->next) {
        struct entry *e = list_entry(n, struct entry, by_values);
        if (n->hash == hash && e->shape == s && values_equal(e, t))
            return e;
    }
    return NULL;
}

static void family_free(struct plan_cache *c, struct family *f)
{
    c->stats.bytes -= f->bytes;
    table_remove(&c->families, &f->node);
    for (struct shape *s = f->shapes, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    free(f);
}

/* From now on no look-up finds the entry. */
static void detach(struct plan_cache *c, struct entry *e)
{
    struct family *f = e->family;
    if (f->plain == e)
        f->plain = NULL;
    else
        table_remove(&c->by_values, &e->by_values);
    e->family = NULL;
    e->shape = NULL;
    c->stats.entries--;
    if (--f->n_entries == 0)
        family_free(c, f);
}

static void entry_free(struct plan_cache *c, struct entry *e)
{
    assert(e->refs == 0 && !e->family);
    if (c->last == e)
        c->last = NULL;
    table_remove(&c->by_plan, &e->by_plan);
    *(e->once ? &c->once : &c->stats.bytes) -= e->bytes;
    if (c->destroy_plan)
        c->destroy_plan(e->plan);
    free(e);
}

/* Drops an entry: at once, or when it is not used any more. */
static void drop(struct plan_cache *c, struct entry *e)
{
    detach(c, e);
    if (e->refs == 0) {
        list_remove(&c->idle, &e->idle);
        entry_free(c, e);
    }
}

static void count_tables(struct plan_cache *c)
{
    c->tables = table_bytes(&c->families) + table_bytes(&c->by_values) + table_bytes(&c->by_plan);
}

static void evict(struct plan_cache *c)
{
    while (c->stats.bytes + c->tables > c->max_bytes && !list_empty(&c->idle)) {
        struct entry *e = list_entry(list_pop_back(&c->idle), struct entry, idle);
        detach(c, e);
        entry_free(c, e);
        c->stats.evictions++;
    }
}

/* ---- the interface
 * ------------------------------------------------------------------------------------------ */

struct plan_cache *plan_cache_create(size_t max_bytes, void (*destroy_plan)(void *plan))
{
    struct plan_cache *c = xcalloc(1, sizeof(*c));
    c->max_bytes = max_bytes;
    c->destroy_plan = destroy_plan;
    table_init(&c->families);
    table_init(&c->by_values);
    table_init(&c->by_plan);
    list_init(&c->idle);
    count_tables(c);
    return c;
}

void plan_cache_destroy(struct plan_cache **c)
{
    if (!*c)
        return;
    plan_cache_clear(*c);
    assert((*c)->by_plan.count == 0); /* else somebody still uses a plan */
    free((*c)->families.buckets);
    free((*c)->by_values.buckets);
    free((*c)->by_plan.buckets);
    free(*c);
    *c = NULL;
}

void *plan_cache_get(struct plan_cache *c, const struct template *t, const struct plan_context *context)
{
    struct family *f = find_family(c, t, family_hash(t, context), context);
    struct entry *e = f ? f->plain : NULL;
    if (f && !e)
        for (struct shape *s = f->shapes; s && !e; s = s->next)
            e = find_in_shape(c, f, s, t);
    if (!e) {
        c->stats.misses++;
        return NULL;
    }
    c->stats.hits++;
    c->last = e;
    if (e->refs++ == 0)
        list_remove(&c->idle, &e->idle);
    return e->plan;
}

static struct family *make_family(struct plan_cache *c, const struct template *t, uint64_t hash,
                                  const struct plan_context *context)
{
    size_t type_bytes = context->n_types * sizeof(uint32_t);
    size_t size = sizeof(struct family) + t->text.end + context->hint.len + type_bytes;
    struct family *f = xcalloc(1, size);
    memcpy(f->numbers, context->numbers, sizeof(f->numbers));
    f->text_len = t->text.end;
    f->hint_len = context->hint.len;
    f->n_types = context->n_types;
    f->bytes = heap_bytes(size);
    if (f->text_len)
        memcpy(f->text, t->text.data, f->text_len);
    if (f->hint_len)
        memcpy(f->text + f->text_len, context->hint.data, f->hint_len);
    if (f->n_types)
        memcpy(f->text + f->text_len + f->hint_len, context->types, type_bytes);
    c->stats.bytes += f->bytes;
    table_add(&c->families, &f->node, hash);
    return f;
}

static struct shape *make_shape(struct plan_cache *c, struct family *f, const uint32_t *pinned, size_t n)
{
    for (struct shape *s = f->shapes; s; s = s->next)
        if (s->n == n && memcmp(s->pinned, pinned, n * sizeof(*pinned)) == 0)
            return s;
    size_t size = sizeof(struct shape) + n * sizeof(*pinned);
    struct shape *s = xmalloc(size);
    s->n = n;
    memcpy(s->pinned, pinned, n * sizeof(*pinned));
    s->next = f->shapes;
    f->shapes = s;
    f->bytes += heap_bytes(size);
    c->stats.bytes += heap_bytes(size);
    return s;
}

static struct entry *make_entry(const struct template *t, struct family *f, struct shape *s)
{
    size_t values_len = 0;
    for (size_t i = 0; s && i < s->n; i++)
        values_len += sizeof(uint32_t) + t->literals[s->pinned[i]].len;
    struct entry *e = xcalloc(1, sizeof(*e) + values_len);
    e->family = f;
    e->shape = s;
    e->values_len = values_len;
    uint8_t *at = e->values;
    for (size_t i = 0; s && i < s->n; i++) {
        struct slice v = literal_text(t, s->pinned[i]);
        uint32_t len = (uint32_t)v.len;
        memcpy(at, &len, sizeof(len));
        memcpy(at + sizeof(len), v.data, len);
        at += sizeof(len) + len;
    }
    return e;
}

void plan_cache_put(struct plan_cache *c, const struct template *t, const struct plan_context *context,
                    const uint32_t *pinned, size_t n_pinned, void *plan, size_t plan_bytes)
{
    uint64_t hash = family_hash(t, context);
    struct family *f = find_family(c, t, hash, context);
    if (!f)
        f = make_family(c, t, hash, context);
    struct shape *s = n_pinned ? make_shape(c, f, pinned, n_pinned) : NULL;
    struct entry *old = s ? find_in_shape(c, f, s, t) : f->plain;

    struct entry *e = make_entry(t, f, s);
    e->plan = plan;
    e->bytes = heap_bytes(sizeof(*e) + e->values_len) + plan_bytes;
    e->refs = 1;
    f->n_entries++; /* before the old entry goes, which would take the family along */
    c->stats.entries++;
    c->stats.bytes += e->bytes;
    if (old)
        drop(c, old);
    if (s)
        table_add(&c->by_values, &e->by_values, values_hash(f, s, t));
    else
        f->plain = e;
    table_add(&c->by_plan, &e->by_plan, plan_hash(plan));
    count_tables(c);
    evict(c);
}

void plan_cache_put_once(struct plan_cache *c, void *plan, size_t plan_bytes)
{
    struct entry *e = xcalloc(1, sizeof(*e));
    e->plan = plan;
    e->bytes = heap_bytes(sizeof(*e)) + plan_bytes;
    e->refs = 1;
    e->once = true;
    c->once += e->bytes;
    table_add(&c->by_plan, &e->by_plan, plan_hash(plan));
    count_tables(c);
}

static __attribute__((noinline)) struct entry *entry_of(const struct plan_cache *c, const void *plan)
{
    struct node *n = table_first(&c->by_plan, plan_hash(plan));
    while (n && entry_by_plan(n)->plan != plan)
        n = n->next;
    assert(n);
    return entry_by_plan(n);
}

void plan_cache_unpin(struct plan_cache *c, void *plan)
{
    struct entry *e = c->last && c->last->plan == plan ? c->last : entry_of(c, plan);
    assert(e->refs > 0);
    if (--e->refs > 0)
        return;
    if (!e->family) {
        entry_free(c, e);
        return;
    }
    list_push_front(&c->idle, &e->idle);
    evict(c);
}

void plan_cache_clear(struct plan_cache *c)
{
    plan_cache_drop(c, 0, NULL);
}

void plan_cache_drop(struct plan_cache *c, size_t i_number, const uint64_t *number)
{
    /* Entries that are in use have no list of their own: walk by_plan. Dropping takes at most the entry at
     * hand out of it. */
    for (size_t i = 0; i < c->by_plan.n_buckets; i++) {
        for (struct node *n = c->by_plan.buckets[i], *next; n; n = next) {
            next = n->next;
            const struct family *f = entry_by_plan(n)->family;
            if (f && (!number || f->numbers[i_number] == *number))
                drop(c, entry_by_plan(n));
        }
    }
    table_shrink(&c->families);
    table_shrink(&c->by_values);
    table_shrink(&c->by_plan);
    count_tables(c);
}

void plan_cache_limit(struct plan_cache *c, size_t max_bytes)
{
    c->max_bytes = max_bytes;
    evict(c);
}

void plan_cache_get_stats(const struct plan_cache *c, struct plan_cache_stats *s_r)
{
    *s_r = c->stats;
    s_r->bytes += c->tables + c->once;
}
