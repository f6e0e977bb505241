/*
 * The registry of statement texts of one worker, and what each of its servers has prepared of them.
 *
 * A definition lives as long as somebody refers to it: a client's statement name, or a server on which it is
 * prepared. After that it is idle: found again, or forgotten when there are too many. Ids are never used twice, so
 * "pgunison_<id>" on a server always means the text that it was prepared from. Both structures belong to one thread;
 * a server that moves to another worker is cleared first.
 *
 * Not responsible for: sending Parse or Close, clients' own statement names.
 */
#include "backend/statements.h"

#include "base/arena.h"
#include "base/buf.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_IDLE           256
#define MAX_IDLE_KEY_BYTES 8192

struct statement_registry {
    struct hashmap by_key;
    struct list idle;       /* refs == 0, most recently used first */
    struct buf lookup;      /* the key that is looked for */
    struct statement *last; /* interned or asked for last; NULL: none, or it is gone */
    uint64_t last_id;
    uint32_t epoch; /* of the catalog; part of every key */
};

/* The definition as its owner sees it, and the bytes that it is found by: epoch, n_oids, oids, text. */
struct statement {
    struct statement_def def;
    struct list_node node; /* idle */
    size_t key_len;
    uint32_t key[];
};

struct prepared {
    struct list_node node;
    struct statement_def *def;
};

struct prepared_set {
    struct statement_registry *registry;
    unsigned max;
    struct hashmap by_id;
    struct list recent; /* most recently used first */
};

struct statement_registry *statement_registry_create(void)
{
    struct statement_registry *r = xcalloc(1, sizeof(*r));
    hashmap_init(&r->by_key);
    list_init(&r->idle);
    buf_init(&r->lookup);
    return r;
}

static void statement_free(struct statement_registry *r, struct statement *s)
{
    hashmap_remove(&r->by_key, slice_of(s->key, s->key_len));
    if (r->last == s)
        r->last = NULL;
    if (s->def.extra)
        s->def.free_extra(s->def.extra);
    free(s);
}

static void forget_idle(struct statement_registry *r, size_t keep)
{
    while (r->idle.count > keep)
        statement_free(r, list_entry(list_pop_back(&r->idle), struct statement, node));
}

void statement_registry_destroy(struct statement_registry **r)
{
    if (!*r)
        return;
    forget_idle(*r, 0);
    assert((*r)->by_key.count == 0); /* clients and servers go first */
    buf_free(&(*r)->lookup);
    hashmap_free(&(*r)->by_key, NULL);
    free(*r);
    *r = NULL;
}

void statement_registry_renew(struct statement_registry *r)
{
    forget_idle(r, 0);
    r->epoch++;
}

static struct statement_def *found(struct statement_registry *r, struct statement *s)
{
    if (s->def.refs == 0)
        list_remove(&r->idle, &s->node);
    r->last = s;
    return statement_ref(&s->def);
}

/* What a lookup by the whole key would say, for the statement that is sent over and over. */
static bool is_text(const struct statement_registry *r, const struct statement *s, struct slice sql,
                    uint16_t n_oids, const uint32_t *oids)
{
    return s->key[0] == r->epoch && s->def.n_oids == n_oids && slice_eq(s->def.sql, sql) &&
           (n_oids == 0 || memcmp(s->def.oids, oids, n_oids * sizeof(uint32_t)) == 0);
}

struct statement_def *statement_intern(struct statement_registry *r, struct slice sql, uint16_t n_oids,
                                       const uint32_t *oids)
{
    size_t oid_bytes = n_oids * sizeof(uint32_t);
    if (r->last && is_text(r, r->last, sql, n_oids, oids))
        return found(r, r->last);
    uint32_t head[2] = {r->epoch, n_oids};
    buf_clear(&r->lookup);
    buf_append(&r->lookup, head, sizeof(head));
    buf_append(&r->lookup, oids, oid_bytes);
    buf_append(&r->lookup, sql.data, sql.len);
    size_t key_len = buf_len(&r->lookup);

    struct statement *s = hashmap_get(&r->by_key, buf_slice(&r->lookup));
    if (s)
        return found(r, s);
    s = xmalloc(sizeof(*s) + key_len);
    memcpy(s->key, buf_head(&r->lookup), key_len);
    if (key_len > MAX_IDLE_KEY_BYTES)
        buf_free(&r->lookup);
    const uint8_t *text = (const uint8_t *)(s->key + 2) + oid_bytes;
    s->node = (struct list_node){0};
    s->key_len = key_len;
    s->def = (struct statement_def){
        .id = ++r->last_id, .refs = 1, .sql = slice_of(text, sql.len), .n_oids = n_oids, .oids = s->key + 2};
    snprintf(s->def.server_name, sizeof(s->def.server_name), "pgunison_%llu", (unsigned long long)s->def.id);
    hashmap_put(&r->by_key, slice_of(s->key, key_len), s);
    r->last = s;
    return &s->def;
}

struct statement_def *statement_ref(struct statement_def *d)
{
    d->refs++;
    return d;
}

void statement_unref(struct statement_registry *r, struct statement_def **d)
{
    struct statement_def *def = *d;
    *d = NULL;
    if (!def)
        return;
    assert(def->refs > 0);
    if (--def->refs > 0)
        return;
    struct statement *s = list_entry(def, struct statement, def);
    if (s->key_len > MAX_IDLE_KEY_BYTES || s->key[0] != r->epoch) {
        statement_free(r, s);
        return;
    }
    list_push_front(&r->idle, &s->node);
    forget_idle(r, MAX_IDLE);
}

/* --- what one server has prepared ------------------------------------------------------------- */

struct prepared_set *prepared_set_create(struct statement_registry *r, unsigned max)
{
    struct prepared_set *p = xcalloc(1, sizeof(*p));
    p->registry = r;
    p->max = max > 0 ? max : 1; /* the one just prepared must stay until it is bound */
    hashmap_init(&p->by_id);
    list_init(&p->recent);
    return p;
}

void prepared_set_destroy(struct prepared_set **p)
{
    if (!*p)
        return;
    prepared_set_clear(*p);
    hashmap_free(&(*p)->by_id, NULL);
    free(*p);
    *p = NULL;
}

static struct prepared *find(const struct prepared_set *p, const struct statement_def *d)
{
    return hashmap_get(&p->by_id, slice_of(&d->id, sizeof(d->id)));
}

static void forget(struct prepared_set *p, struct prepared *entry)
{
    hashmap_remove(&p->by_id, slice_of(&entry->def->id, sizeof(entry->def->id)));
    list_remove(&p->recent, &entry->node);
    statement_unref(p->registry, &entry->def);
    free(entry);
}

bool prepared_set_use(struct prepared_set *p, const struct statement_def *d)
{
    struct list_node *first = list_first(&p->recent);
    if (first && list_entry(first, struct prepared, node)->def == d)
        return true; /* the same statement over and over */
    struct prepared *entry = find(p, d);
    if (!entry)
        return false;
    assert(first); /* there is one, and it is another */
    list_remove(&p->recent, &entry->node);
    list_push_front(&p->recent, &entry->node);
    return true;
}

void prepared_set_add(struct prepared_set *p, struct statement_def *d, char evicted_r[32])
{
    evicted_r[0] = '\0';
    if (prepared_set_use(p, d))
        return;
    if (p->recent.count >= p->max) {
        struct prepared *oldest = list_entry(list_last(&p->recent), struct prepared, node);
        memcpy(evicted_r, oldest->def->server_name, 32);
        forget(p, oldest);
    }
    struct prepared *entry = xcalloc(1, sizeof(*entry));
    entry->def = statement_ref(d);
    list_push_front(&p->recent, &entry->node);
    hashmap_put(&p->by_id, slice_of(&d->id, sizeof(d->id)), entry);
}

void prepared_set_remove(struct prepared_set *p, const struct statement_def *d)
{
    struct prepared *entry = find(p, d);
    if (entry)
        forget(p, entry);
}

void prepared_set_clear(struct prepared_set *p)
{
    struct list_node *node;
    while ((node = list_first(&p->recent)))
        forget(p, list_entry(node, struct prepared, node));
}

size_t prepared_set_count(const struct prepared_set *p)
{
    return p->recent.count;
}
