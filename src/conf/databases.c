/*
 * [database NAME]: which shards hold it and in which order. Its buckets are spread evenly in that order,
 * bucket b to shard b * shards / buckets, until a [buckets] section says otherwise (buckets.c).
 */
#include "entries.h"
#include "suggest.h"
#include "topology_build.h"

#define BUCKETS_DEFAULT 1024
#define BUCKETS_MAX     65536

struct database_keys {
    const char *shards, *home;
    int buckets, pool_size, reserve_pool_size, max_db_connections, pool_mode;
    bool routing_hints;
};

#define AT(field_) .offset = offsetof(struct database_keys, field_)
enum {
    KEY_SHARDS,
    KEY_HOME,
    KEY_BUCKETS,
    KEY_POOL_SIZE,
    KEY_RESERVE,
    KEY_RESERVE_ALIAS,
    KEY_CONNECTIONS,
    KEY_MODE,
    KEY_HINTS,
    N_KEYS
};
static const struct setting keys[N_KEYS] = {
    [KEY_SHARDS] = {.info.name = "shards", .kind = SETTING_TEXT, AT(shards)},
    [KEY_HOME] = {.info.name = "home", .kind = SETTING_TEXT, AT(home)},
    [KEY_BUCKETS] = {.info.name = "buckets", .kind = SETTING_INT, AT(buckets), .min = 1, .max = BUCKETS_MAX},
    [KEY_POOL_SIZE] = {.info.name = "pool_size", .kind = SETTING_INT, AT(pool_size), .min = 1, .max = 100000},
    [KEY_RESERVE] = {.info.name = "reserve_pool_size",
                     .kind = SETTING_INT,
                     AT(reserve_pool_size),
                     .max = 100000},
    [KEY_RESERVE_ALIAS] = {.info.name = "reserve_pool",
                           .kind = SETTING_INT,
                           AT(reserve_pool_size),
                           .max = 100000},
    [KEY_CONNECTIONS] = {.info.name = "max_db_connections",
                         .kind = SETTING_INT,
                         AT(max_db_connections),
                         .max = 1000000},
    [KEY_MODE] = {.info.name = "pool_mode",
                  .kind = SETTING_CHOICE,
                  AT(pool_mode),
                  .choices = pool_mode_choices},
    [KEY_HINTS] = {.info.name = "routing_hints", .kind = SETTING_BOOL, AT(routing_hints)},
};

static struct shard_def *find_shard(const struct topology *t, const char *name)
{
    for (size_t i = 0; i < t->n_shards; i++)
        if (strcmp(t->shards[i].name, name) == 0)
            return &t->shards[i];
    return NULL;
}

static void shard_unknown(struct topology_build *b, const char *name, int line)
{
    char text[SUGGEST_TEXT_MAX];
    struct suggest s;
    suggest_init(&s, name);
    for (size_t i = 0; i < b->t->n_shards; i++)
        suggest_offer(&s, b->t->shards[i].name);
    load_error(b->l, line, "there is no section [shard %s]%s", name, suggest_text(&s, text, sizeof text));
}

int build_shard_index(struct topology_build *b, const struct database_def *db, const char *name, int line)
{
    int index = topology_shard_index(db, name);
    if (index >= 0 || b->databases[db->index].shards_bad)
        return index;
    char text[SUGGEST_TEXT_MAX];
    struct suggest s;
    suggest_init(&s, name);
    for (unsigned i = 0; i < db->n_shards; i++)
        suggest_offer(&s, db->shards[i]->name);
    load_error(b->l, line, "\"%s\" is not among the shards of database \"%s\"%s", name, db->name,
               suggest_text(&s, text, sizeof text));
    return -1;
}

/* "s0 s1, s2" */
static void shard_list(struct topology_build *b, struct database_def *db, const char *list, int line)
{
    size_t count = 0;
    struct database_build *state = &b->databases[db->index];
    db->shards = arena_zalloc(b->l->arena, SHARD_SET_MAX * sizeof(struct shard_def *));
    for (const char *p = list; *(p += strspn(p, ", \t"));) {
        size_t len = strcspn(p, ", \t");
        const char *name = arena_strndup(b->l->arena, p, len);
        struct shard_def *shard = find_shard(b->t, name);
        p += len;
        count++;
        if (!shard) {
            shard_unknown(b, name, line);
            state->shards_bad = true;
        } else if (topology_shard_index(db, name) >= 0) {
            load_error(b->l, line, "shard \"%s\" stands twice in the shards of database \"%s\"", name,
                       db->name);
        } else if (db->n_shards < SHARD_SET_MAX) {
            b->shard_used[shard->id] = true;
            shard_set_add(&db->all_shards, db->n_shards);
            db->shards[db->n_shards++] = shard;
        }
    }
    if (count > SHARD_SET_MAX) {
        load_error(b->l, line, "database \"%s\" has %zu shards; at most %d are allowed", db->name, count,
                   SHARD_SET_MAX);
        state->shards_bad = true;
    }
    if (count == 0) {
        load_error(b->l, line, "database \"%s\" has no shards: shards = NAME NAME …", db->name);
        state->shards_bad = true;
    }
}

static void spread_evenly(const struct load *l, struct database_def *db)
{
    db->bucket_shard = arena_zalloc(l->arena, db->buckets);
    for (uint64_t i = 0; i < db->buckets; i++)
        db->bucket_shard[i] = (uint8_t)(i * db->n_shards / db->buckets);
}

static void database_load(struct topology_build *b, const struct section_ref *ref, struct database_def *db)
{
    const struct load *l = b->l;
    struct database_build *state = &b->databases[db->index];
    struct database_keys k = {"", "", BUCKETS_DEFAULT, -1, -1, 0, -1, false};
    int lines[N_KEYS] = {0}, line = ref->section->line;
    entries_load(l, ref->section, keys, N_KEYS, NULL, &k, lines);
    if (strcmp(db->name, "pgunison") == 0 || strcmp(db->name, "pgbouncer") == 0)
        load_error(l, line, "database cannot be named \"%s\": that is the console", db->name);
    if (lines[KEY_RESERVE] && lines[KEY_RESERVE_ALIAS])
        load_error(l, lines[KEY_RESERVE_ALIAS], "reserve_pool and reserve_pool_size are the same setting");
    shard_list(b, db, k.shards, lines[KEY_SHARDS] ? lines[KEY_SHARDS] : line);
    if (k.home[0] && db->n_shards) {
        int home = build_shard_index(b, db, k.home, lines[KEY_HOME]);
        db->home = home >= 0 ? (unsigned)home : 0;
    }
    db->pool_size = k.pool_size;
    db->reserve_pool_size = k.reserve_pool_size;
    db->max_db_connections = k.max_db_connections;
    db->pool_mode = k.pool_mode;
    db->routing_hints = lines[KEY_HINTS] ? k.routing_hints : -1;
    if ((k.buckets & (k.buckets - 1)) != 0) {
        int below = 1;
        while (below * 2 < k.buckets)
            below *= 2;
        load_error(
            l, lines[KEY_BUCKETS],
            "setting \"buckets\" cannot be \"%d\"; allowed is a power of two from 1 to %d, such as %d or %d",
            k.buckets, BUCKETS_MAX, below, below * 2);
        state->buckets_bad = true;
        k.buckets = BUCKETS_DEFAULT;
    }
    db->buckets = (uint32_t)k.buckets;
    spread_evenly(l, db);
}

void databases_load(struct topology_build *b)
{
    struct topology *t = b->t;
    t->databases = arena_zalloc(b->l->arena, (b->n_refs + 1) * sizeof *t->databases);
    b->databases = arena_zalloc(b->l->arena, (b->n_refs + 1) * sizeof *b->databases);
    for (size_t i = 0; i < b->n_refs; i++) {
        if (b->refs[i].kind != SECTION_DATABASE)
            continue;
        struct database_def *db = &t->databases[t->n_databases];
        db->name = b->refs[i].name;
        db->index = (unsigned)t->n_databases++;
        db->slot = (unsigned)(hash_bytes64(db->name, strlen(db->name)) % DATABASE_SLOTS);
        hashmap_init(&db->tables_by_name);
        database_load(b, &b->refs[i], db);
    }
    if (t->n_databases == 0)
        load_error(b->l, 0, "there is no [database NAME] section: no client could connect");
}

struct database_def *build_database(struct topology_build *b, const struct section_ref *ref)
{
    char text[SUGGEST_TEXT_MAX];
    struct suggest s;
    suggest_init(&s, ref->name);
    for (size_t i = 0; i < b->t->n_databases; i++) {
        struct database_def *db = &b->t->databases[i];
        if (strcmp(db->name, ref->name) == 0)
            return db;
        suggest_offer(&s, db->name);
    }
    load_error(b->l, ref->section->line, "section [%s]: there is no database \"%s\"%s", ref->section->name,
               ref->name, suggest_text(&s, text, sizeof text));
    return NULL;
}
