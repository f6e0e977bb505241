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
#include "base/blob.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What is kept of definitions that no client refers to, with their extras: in all, and of one. */
#define MAX_IDLE_BYTES     ((size_t)4 * 1024 * 1024)
#define MAX_IDLE_ONE_BYTES ((size_t)8192)
/* Longer texts have memory of their own, which goes before the definition. */
#define MAX_INLINE_BYTES ((size_t)512)
#define FIRST_BUCKETS    ((size_t)64)

struct statement_registry {
    struct statement **buckets; /* by hash, chained */
    size_t n_buckets, count;    /* n_buckets: a power of two */
    struct list idle;           /* refs == 0 and not forgotten, most recently used first */
    struct list derived;        /* those that have an extra, the ones to be looked at first at the end */
    struct statement *last;     /* interned or asked for last; NULL: none, or it is gone */
    uint64_t last_id;
    size_t bytes, derived_bytes, idle_bytes; /* of everything; parts of it: of extras, of what is idle */
};

/* The definition as its owner sees it, and how it is found. */
struct statement {
    struct statement_def def;
    struct list_node node;         /* idle */
    struct list_node derived_node; /* derived */
    struct statement *next;        /* of the same bucket */
    uint64_t hash;
    struct blob *blob; /* that the text lies in; NULL: it is its own */
    uint8_t *text;     /* of its own; NULL: in the blob, or behind oids, or forgotten */
    size_t bytes, derived_bytes;
    size_t block_bytes; /* of bytes: without a text apart */
    uint64_t epoch;
    bool idle;       /* in that list */
    bool forgotten;  /* nobody finds it any more: a name on servers */
    uint32_t oids[]; /* and, behind them, a short text */
};

/*
 *   THERE -> STALE     it may mean something else by now [prepared_set_stale]; its Parse failed, or was skipped, and so may
 *                      have been the Close in front of it [prepared_set_remove]
 *   THERE, STALE -> LEAVING   a Close was sent for good [prepared_set_add of another]
 *   LEAVING -> STALE   ... which was skipped [prepared_set_closed]; -> gone: was answered
 *   STALE, LEAVING -> THERE   prepared again, behind another Close [prepared_set_add]
 */
enum prepared_state { PREPARED_THERE, PREPARED_STALE, PREPARED_LEAVING };

struct prepared {
    struct list_node node;
    struct statement_def *def;
    enum prepared_state state;
    bool doubtful;    /* the server may have had it as its last Parse was sent */
    unsigned closing; /* Close sent, for good, and not answered */
};

struct prepared_set {
    struct statement_registry *registry;
    unsigned max;
    struct hashmap by_id;
    struct list recent;  /* THERE, STALE: most recently used first */
    struct list leaving; /* LEAVING */
    size_t n_stale;      /* of recent */
};

/* --- the table of all definitions ------------------------------------------------------------- */

static void resize(struct statement_registry *r, size_t n)
{
    struct statement **buckets = xcalloc(n, sizeof(*buckets));
    for (size_t i = 0; i < r->n_buckets; i++)
        for (struct statement *s = r->buckets[i], *next; s; s = next) {
            next = s->next;
            s->next = buckets[s->hash & (n - 1)];
            buckets[s->hash & (n - 1)] = s;
        }
    if (r->buckets)
        r->bytes -= heap_bytes(r->n_buckets * sizeof(*buckets));
    free(r->buckets);
    r->buckets = buckets;
    r->n_buckets = n;
    r->bytes += heap_bytes(n * sizeof(*buckets));
}

static void table_add(struct statement_registry *r, struct statement *s)
{
    if (r->count >= r->n_buckets)
        resize(r, r->n_buckets * 2);
    struct statement **bucket = &r->buckets[s->hash & (r->n_buckets - 1)];
    s->next = *bucket;
    *bucket = s;
    r->count++;
}

static void table_remove(struct statement_registry *r, const struct statement *s)
{
    struct statement **at = &r->buckets[s->hash & (r->n_buckets - 1)];
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    r->count--;
    if (r->n_buckets > FIRST_BUCKETS && r->count < r->n_buckets / 8)
        resize(r, r->n_buckets / 4 > FIRST_BUCKETS ? r->n_buckets / 4 : FIRST_BUCKETS);
}

/* --- definitions ------------------------------------------------------------------------------ */

struct statement_registry *statement_registry_create(void)
{
    struct statement_registry *r = xcalloc(1, sizeof(*r));
    list_init(&r->idle);
    list_init(&r->derived);
    resize(r, FIRST_BUCKETS);
    return r;
}

static size_t idle_bytes(const struct statement *s)
{
    return s->bytes + (s->def.extra ? s->derived_bytes : 0);
}

static void idle_add(struct statement_registry *r, struct statement *s)
{
    list_push_front(&r->idle, &s->node);
    s->idle = true;
    r->idle_bytes += idle_bytes(s);
}

static void idle_remove(struct statement_registry *r, struct statement *s)
{
    list_remove(&r->idle, &s->node);
    s->idle = false;
    r->idle_bytes -= idle_bytes(s);
}

static void drop_extra(struct statement_registry *r, struct statement *s)
{
    if (!s->def.extra)
        return;
    if (s->idle)
        r->idle_bytes -= s->derived_bytes;
    s->def.free_extra(s->def.extra);
    s->def.extra = NULL;
    list_remove(&r->derived, &s->derived_node);
    r->bytes -= s->derived_bytes;
    r->derived_bytes -= s->derived_bytes;
}

/* No client refers to it: it goes, or, as long as servers have it prepared, only its number and name stay. */
static void forget(struct statement_registry *r, struct statement *s)
{
    if (!s->forgotten) {
        table_remove(r, s);
        if (r->last == s)
            r->last = NULL;
        drop_extra(r, s);
        blob_unref(&s->blob);
        free(s->text);
        s->text = NULL;
        s->def.sql = slice_of(NULL, 0);
        s->forgotten = true;
    }
    r->bytes -= s->bytes - s->block_bytes;
    s->bytes = s->block_bytes;
    if (s->def.prepared > 0)
        return;
    r->bytes -= s->bytes;
    free(s);
}

static void forget_idle(struct statement_registry *r, size_t keep_bytes)
{
    struct list_node *node;
    while (r->idle_bytes > keep_bytes && (node = list_last(&r->idle))) {
        struct statement *s = list_entry(node, struct statement, node);
        assert(!s->forgotten);
        idle_remove(r, s);
        assert(list_last(&r->idle) != node);
        forget(r, s);
    }
}

void statement_registry_destroy(struct statement_registry **r)
{
    if (!*r)
        return;
    forget_idle(*r, 0);
    assert((*r)->count == 0); /* clients and servers go first */
    free((*r)->buckets);
    free(*r);
    *r = NULL;
}

size_t statement_registry_bytes(const struct statement_registry *r)
{
    return r->bytes;
}

size_t statement_registry_count(const struct statement_registry *r)
{
    return r->count;
}

void statement_set_extra(struct statement_registry *r, struct statement_def *d, void *extra,
                         void (*free_extra)(void *extra), size_t bytes)
{
    struct statement *s = list_entry(d, struct statement, def);
    assert(!d->extra);
    d->extra = extra;
    d->free_extra = free_extra;
    d->extra_used = true;
    s->derived_bytes = bytes;
    list_push_front(&r->derived, &s->derived_node);
    r->bytes += bytes;
    r->derived_bytes += bytes;
}

void statement_registry_trim(struct statement_registry *r, size_t max_extra_bytes)
{
    /* Twice around at most: the first time they are marked as not used since. */
    for (size_t left = 2 * r->derived.count; left > 0 && r->derived_bytes > max_extra_bytes; left--) {
        struct statement *s = list_entry(list_last(&r->derived), struct statement, derived_node);
        if (s->def.extra_used) {
            s->def.extra_used = false;
            list_remove(&r->derived, &s->derived_node);
            list_push_front(&r->derived, &s->derived_node);
        } else {
            drop_extra(r, s);
        }
    }
}

void statement_registry_forget_idle(struct statement_registry *r)
{
    forget_idle(r, 0);
}

static struct statement_def *found(struct statement_registry *r, struct statement *s)
{
    if (s->idle)
        idle_remove(r, s);
    r->last = s;
    return statement_ref(&s->def);
}

static bool is_text(const struct statement *s, uint64_t epoch, struct slice sql, uint16_t n_oids,
                    const uint32_t *oids)
{
    return s->epoch == epoch && s->def.n_oids == n_oids && slice_eq(s->def.sql, sql) &&
           (n_oids == 0 || memcmp(s->def.oids, oids, n_oids * sizeof(uint32_t)) == 0);
}

static struct statement *find_text(const struct statement_registry *r, uint64_t hash, uint64_t epoch,
                                   struct slice sql, uint16_t n_oids, const uint32_t *oids)
{
    for (struct statement *s = r->buckets[hash & (r->n_buckets - 1)]; s; s = s->next)
        if (s->hash == hash && is_text(s, epoch, sql, n_oids, oids))
            return s;
    return NULL;
}

/* A text that lies in a blob stays there. */
static struct statement *make(struct statement_registry *r, uint64_t epoch, struct slice sql, uint16_t n_oids,
                              const uint32_t *oids)
{
    size_t oid_bytes = n_oids * sizeof(uint32_t);
    struct blob *blob = sql.len >= BLOB_MIN_BYTES ? blob_of(sql.data, sql.len) : NULL;
    bool apart = blob || sql.len > MAX_INLINE_BYTES;
    size_t size = sizeof(struct statement) + oid_bytes + (apart ? 0 : sql.len);
    struct statement *s = xmalloc(size);
    *s = (struct statement){.blob = blob, .epoch = epoch};
    s->block_bytes = heap_bytes(size);
    s->bytes = s->block_bytes + (blob ? sql.len : apart ? heap_bytes(sql.len) : 0);
    if (oid_bytes)
        memcpy(s->oids, oids, oid_bytes);
    if (apart && !blob)
        s->text = xmalloc(sql.len);
    uint8_t *text = s->text ? s->text : (uint8_t *)s->oids + oid_bytes;
    if (!blob && sql.len)
        memcpy(text, sql.data, sql.len);
    s->def = (struct statement_def){.id = ++r->last_id,
                                    .refs = 1,
                                    .sql = blob ? sql : slice_of(text, sql.len),
                                    .n_oids = n_oids,
                                    .oids = s->oids};
    snprintf(s->def.server_name, sizeof(s->def.server_name), "pgunison_%llu", (unsigned long long)s->def.id);
    r->bytes += s->bytes;
    return s;
}

struct statement_def *statement_intern(struct statement_registry *r, uint64_t epoch, struct slice sql,
                                       uint16_t n_oids, const uint32_t *oids)
{
    if (r->last && is_text(r->last, epoch, sql, n_oids, oids))
        return found(r, r->last); /* the statement that is sent over and over */
    uint64_t hash = hash_bytes64(sql.data, sql.len) + epoch;
    if (n_oids)
        hash ^= hash_bytes64(oids, n_oids * sizeof(uint32_t));
    struct statement *s = find_text(r, hash, epoch, sql, n_oids, oids);
    if (s)
        return found(r, s);
    s = make(r, epoch, sql, n_oids, oids);
    s->hash = hash;
    table_add(r, s);
    r->last = s;
    return &s->def;
}

size_t statement_bytes(const struct statement_def *d)
{
    return list_entry((struct statement_def *)(uintptr_t)d, struct statement, def)->bytes;
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
    if (s->bytes > MAX_IDLE_ONE_BYTES) {
        forget(r, s);
        return;
    }
    idle_add(r, s);
    forget_idle(r, MAX_IDLE_BYTES);
}

/* --- what one server has prepared ------------------------------------------------------------- */

struct prepared_set *prepared_set_create(struct statement_registry *r, unsigned max)
{
    struct prepared_set *p = xcalloc(1, sizeof(*p));
    p->registry = r;
    p->max = max > 0 ? max : 1; /* the one just prepared must stay until it is bound */
    hashmap_init(&p->by_id);
    list_init(&p->recent);
    list_init(&p->leaving);
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

static void set_state(struct prepared_set *p, struct prepared *entry, enum prepared_state state)
{
    if ((entry->state == PREPARED_LEAVING) != (state == PREPARED_LEAVING)) {
        list_remove(entry->state == PREPARED_LEAVING ? &p->leaving : &p->recent, &entry->node);
        if (state == PREPARED_LEAVING)
            list_push_back(&p->leaving, &entry->node);
        else
            list_push_back(&p->recent, &entry->node);
    }
    p->n_stale -= entry->state == PREPARED_STALE;
    p->n_stale += state == PREPARED_STALE;
    entry->state = state;
}

static void leave(struct prepared_set *p, struct prepared *entry)
{
    struct statement_def *d = entry->def;
    hashmap_remove(&p->by_id, slice_of(&d->id, sizeof(d->id)));
    set_state(p, entry, PREPARED_THERE);
    list_remove(&p->recent, &entry->node);
    free(entry);
    assert(d->prepared > 0);
    if (--d->prepared > 0 || d->refs > 0)
        return;
    struct statement *s = list_entry(d, struct statement, def);
    if (s->forgotten)
        forget(p->registry, s);
}

bool prepared_set_use(struct prepared_set *p, const struct statement_def *d)
{
    struct list_node *node = list_first(&p->recent);
    struct prepared *first = node ? list_entry(node, struct prepared, node) : NULL;
    if (first && first->def == d && first->state == PREPARED_THERE)
        return true; /* the same statement over and over */
    struct prepared *entry = find(p, d);
    if (!entry || entry->state != PREPARED_THERE)
        return false;
    list_remove(&p->recent, &entry->node);
    list_push_front(&p->recent, &entry->node);
    return true;
}

static struct prepared *entry_make(struct prepared_set *p, struct statement_def *d)
{
    struct prepared *entry = xcalloc(1, sizeof(*entry));
    entry->def = d;
    d->prepared++;
    list_push_back(&p->recent, &entry->node);
    hashmap_put(&p->by_id, slice_of(&d->id, sizeof(d->id)), entry);
    return entry;
}

static void close_of(const struct prepared *entry, uint64_t id, struct prepared_close *close_r)
{
    close_r->id = id;
    memcpy(close_r->name, entry->def->server_name, sizeof(close_r->name));
}

void prepared_set_add(struct prepared_set *p, struct statement_def *d, struct prepared_close close_r[2])
{
    struct prepared *entry = find(p, d);
    close_r[0] = close_r[1] = (struct prepared_close){0};
    if (entry && entry->state == PREPARED_THERE) {
        prepared_set_use(p, d);
        return;
    }
    if (entry) {
        entry->doubtful = true;
        close_of(entry, 0, close_r++);
    }
    if ((!entry || entry->state == PREPARED_LEAVING) && p->recent.count >= p->max) {
        struct prepared *oldest = list_entry(list_last(&p->recent), struct prepared, node);
        oldest->closing++;
        close_of(oldest, oldest->def->id, close_r);
        set_state(p, oldest, PREPARED_LEAVING);
    }
    if (!entry)
        entry = entry_make(p, d);
    set_state(p, entry, PREPARED_THERE);
    prepared_set_use(p, d);
}

void prepared_set_closed(struct prepared_set *p, uint64_t id, bool answered)
{
    struct prepared *entry = hashmap_get(&p->by_id, slice_of(&id, sizeof(id)));
    if (!entry || entry->closing == 0)
        return; /* the whole set was cleared meanwhile */
    entry->closing--;
    if (entry->state != PREPARED_LEAVING)
        return;
    if (!answered)
        set_state(p, entry, PREPARED_STALE);
    else if (entry->closing == 0)
        leave(p, entry);
}

void prepared_set_remove(struct prepared_set *p, const struct statement_def *d)
{
    struct prepared *entry = find(p, d);
    if (!entry)
        return;
    if (entry->doubtful || entry->closing > 0)
        set_state(p, entry, PREPARED_STALE);
    else
        leave(p, entry);
}

void prepared_set_stale(struct prepared_set *p)
{
    for (struct list_node *n = list_first(&p->recent); n && n != &p->recent.head; n = n->next)
        set_state(p, list_entry(n, struct prepared, node), PREPARED_STALE);
}

void prepared_set_clear(struct prepared_set *p)
{
    struct list_node *node;
    while ((node = list_first(&p->recent)) || (node = list_first(&p->leaving)))
        leave(p, list_entry(node, struct prepared, node));
}

/* About what a map adds to an entry. */
#define MAP_ENTRY_BYTES ((size_t)72)

size_t prepared_set_bytes(const struct prepared_set *p)
{
    return heap_bytes(sizeof(*p)) + p->by_id.count * (heap_bytes(sizeof(struct prepared)) + MAP_ENTRY_BYTES);
}

size_t prepared_set_count(const struct prepared_set *p)
{
    return p->recent.count - p->n_stale;
}

bool prepared_set_empty(const struct prepared_set *p)
{
    return p->by_id.count == 0;
}
