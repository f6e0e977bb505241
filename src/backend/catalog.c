/*
 * Relations as the router needs them, one load at a time (catalog_sql.c has the query and the meaning of its
 * rows).
 *
 * Clients choose the names that are asked for, so what was not asked for lately is forgotten (base/recent.h), and what does
 * not exist as soon as who asked has planned with it. A relation is one arena, and keeps its address until then. A load
 * fills the arena; finish decides, when everything is known, whose map counts:
 *
 *     listed itself  >  nearest listed ancestor  >  wildcard, if an ordinary table with that column  >  none
 *
 * An unqualified name is looked up on one shard, but tables of one name may be on different shards, in
 * different schemas: with single(...) tables the shard that was asked may not have what comes first in the
 * search path. Where that could be, the name is refused instead of guessed (check_ambiguity).
 *
 * Not responsible for: what views do with what they read, functions, when to forget.
 */
#include "backend/catalog.h"

#include "base/recent.h"
#include "sql/effects.h"

#include <stddef.h>
#include <stdlib.h>

/* Relations, and functions, of a database that are known at a time. */
#define CATALOG_MAX_NAMES ((size_t)10000)
/* Few, as they stand in functions' bodies; each costs something at every look at a server. */
#define MAX_CUSTOM_NAMES 100

struct ancestor { /* or what a view reads */
    const char *schema, *name;
    char relkind;
    bool temporary, has_wildcard;
    long depth;
};

struct entry {
    struct relation relation;
    const void *wanted_by; /* who asked for it last */
    void (*free_derived)(struct relation *r);
    struct catalog *catalog; /* whose bytes its own are part of */
    size_t bytes;
    struct arena arena;
};

struct function {
    struct catalog *catalog;
    size_t bytes;
    uint16_t effects;
};

struct catalog {
    const struct database_def *db;
    struct buf key;          /* scratch */
    struct recent relations; /* "context\0schema\0name" -> struct entry */
    struct hashmap missing;  /* the same of those that did not exist; until who asked has planned with them */
    struct recent functions; /* "schema\0name" -> struct function */
    size_t bytes;            /* of relations, functions, and what was derived from them */
    struct entry *own;       /* whose arena has own_items; NULL: not loaded */
    const struct own_code *own_items;
    size_t n_own;
    struct custom_names *names; /* of its owner */
};

struct custom_names {
    size_t n;
    char *items[MAX_CUSTOM_NAMES];
};

struct catalog_load {
    struct catalog *catalog;
    unsigned shard; /* that is asked */
    struct entry *entry;
    struct slice key;
    const char *schema, *name; /* as asked */
    const char *create_schema; /* D */
    struct ancestor *ancestors, *read;
    size_t n_ancestors, n_read;
    const char **path; /* S */
    size_t n_path;
    bool is_function, is_own;
    uint16_t effects;
    struct own_code *own; /* O */
    size_t n_own;
};

static void free_entry(void *p)
{
    struct entry *e = p;
    if (e->bytes) /* else its load was aborted: the catalog may be gone */
        e->catalog->bytes -= e->bytes;
    if (e->free_derived)
        e->free_derived(&e->relation);
    arena_free(&e->arena);
    free(e);
}

static void free_function(void *p)
{
    struct function *f = p;
    f->catalog->bytes -= f->bytes;
    free(f);
}

/* About what a map adds to a key. */
#define KEY_BYTES ((size_t)64)

/* It is part of its catalog from here on. */
static void count_entry(struct entry *e, size_t key_len)
{
    e->bytes = heap_bytes(sizeof(*e)) + arena_bytes(&e->arena) + heap_bytes(KEY_BYTES + key_len);
    e->catalog->bytes += e->bytes;
}

struct catalog *catalog_create(const struct database_def *db, struct custom_names *names)
{
    struct catalog *c = xcalloc(1, sizeof(*c));
    c->db = db;
    c->names = names;
    recent_init(&c->relations, CATALOG_MAX_NAMES, free_entry);
    recent_init(&c->functions, CATALOG_MAX_NAMES, free_function);
    hashmap_init(&c->missing);
    return c;
}

void catalog_clear(struct catalog *c)
{
    recent_clear(&c->relations);
    recent_clear(&c->functions);
    hashmap_free(&c->missing, free_entry);
    if (c->own)
        free_entry(c->own);
    c->own = NULL;
}

void catalog_forget_missing(struct catalog *c, const void *wanted_by)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    for (hashmap_iter_init(&c->missing, &it); hashmap_next(&c->missing, &it, &key, &value);) {
        struct entry *e = value;
        if (e->wanted_by != wanted_by)
            continue;
        hashmap_remove(&c->missing, key);
        free_entry(e);
    }
    hashmap_fit(&c->missing);
}

void catalog_destroy(struct catalog **c)
{
    if (!*c)
        return;
    catalog_clear(*c);
    buf_free(&(*c)->key);
    free(*c);
    *c = NULL;
}

size_t catalog_bytes(const struct catalog *c)
{
    return sizeof(*c) + c->bytes;
}

static struct entry *entry_of(struct relation *r)
{
    return (struct entry *)((char *)r - offsetof(struct entry, relation));
}

void catalog_derived(struct relation *r, size_t bytes, void (*free_derived)(struct relation *r))
{
    struct entry *e = entry_of(r);
    e->bytes += bytes;
    e->catalog->bytes += bytes;
    e->free_derived = free_derived;
}

void catalog_wanted_by(struct relation *r, const void *who)
{
    entry_of(r)->wanted_by = who;
}

size_t catalog_count(const struct catalog *c)
{
    return recent_count(&c->relations) + c->missing.count;
}

/* Good until the next call. */
static struct slice key_of(struct catalog *c, const char *context, const char *schema, const char *name)
{
    buf_clear(&c->key);
    buf_cstr(&c->key, context);
    buf_cstr(&c->key, schema ? schema : "");
    buf_cstr(&c->key, name);
    return buf_slice(&c->key);
}

struct relation *catalog_find(struct catalog *c, const char *context, const char *schema, const char *name)
{
    struct slice key = key_of(c, context, schema, name);
    struct entry *e = recent_get(&c->relations, key);
    if (!e)
        e = hashmap_get(&c->missing, key);
    return e ? &e->relation : NULL;
}

static struct slice function_key(struct buf *b, const char *schema, const char *name)
{
    buf_clear(b);
    buf_cstr(b, schema);
    buf_cstr(b, name);
    return buf_slice(b);
}

bool catalog_function(struct catalog *c, const char *schema, const char *name, uint16_t *effects_r)
{
    const struct function *f = recent_get(&c->functions, function_key(&c->key, schema, name));
    *effects_r = f ? f->effects : 0;
    return f != NULL;
}

bool catalog_own(const struct catalog *c, const struct own_code **items_r, size_t *n_r)
{
    *items_r = c->own ? c->own_items : NULL;
    *n_r = c->own ? c->n_own : 0;
    return c->own != NULL;
}

struct custom_names *custom_names_create(void)
{
    return xcalloc(1, sizeof(struct custom_names));
}

void custom_names_free(void *p)
{
    struct custom_names *names = p;
    for (size_t i = 0; i < names->n; i++)
        free(names->items[i]);
    free(names);
}

const char *custom_name(const struct custom_names *names, size_t i)
{
    return i < names->n ? names->items[i] : NULL;
}

/* False: there is no room for it. */
static bool add_custom_name(struct custom_names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    if (names->n == MAX_CUSTOM_NAMES)
        return false;
    names->items[names->n++] = xstrdup(name);
    return true;
}

/* --- whose map -------------------------------------------------------------------------------- */

unsigned catalog_load_shard(const struct database_def *db, const char *schema, const char *name)
{
    const struct table_map *map = topology_table(db, schema, name);
    return map && map->method == TABLE_SINGLE ? map->single_shard : db->home;
}

/* The wildcard is for the application's tables. */
static bool wildcard_may_apply(const struct ancestor *a)
{
    return (a->relkind == 'r' || a->relkind == 'p') && !a->temporary && strncmp(a->schema, "pg_", 3) != 0 &&
           strcmp(a->schema, "information_schema") != 0 && strcmp(a->schema, "pgunison") != 0;
}

/* It is where it was found, whatever is listed for its name or for what it inherits from. */
static const struct table_map *map_of_temporary(struct catalog_load *l)
{
    if (l->shard == l->catalog->db->home)
        return NULL;
    struct table_map *map = arena_zalloc(&l->entry->arena, sizeof(*map));
    map->method = TABLE_SINGLE;
    map->name = l->entry->relation.name;
    map->single_shard = l->shard;
    return map;
}

static const struct table_map *map_of(struct catalog_load *l)
{
    const struct database_def *db = l->catalog->db;
    const struct relation *r = &l->entry->relation;
    const struct table_map *found = NULL;
    long depth = -1;
    if (!r->exists) {
        const char *schema = *l->schema ? l->schema : l->create_schema;
        return schema ? topology_table(db, schema, l->name) : NULL;
    }
    if (r->temporary)
        return map_of_temporary(l);
    const struct table_map *own = topology_table(db, r->schema, r->name);
    if (own)
        return own; /* whatever it is */
    for (size_t i = 0; i < l->n_ancestors; i++) {
        const struct ancestor *a = &l->ancestors[i];
        const struct table_map *map = topology_table(db, a->schema, a->name);
        if (map && (!found || a->depth < depth)) {
            found = map;
            depth = a->depth;
        }
    }
    for (size_t i = 0; i < l->n_ancestors && !found && db->wildcard; i++) {
        if (l->ancestors[i].depth == 0 && l->ancestors[i].has_wildcard &&
            wildcard_may_apply(&l->ancestors[i]))
            found = db->wildcard;
    }
    return found;
}

/* What a view reads: a table whose rows are not all on the shard that was asked, or one with copies
 * elsewhere. */
static void judge_view(struct catalog_load *l)
{
    const struct database_def *db = l->catalog->db;
    struct relation *r = &l->entry->relation;
    for (size_t i = 0; i < l->n_read; i++) {
        const struct ancestor *a = &l->read[i];
        const struct table_map *map = topology_table(db, a->schema, a->name);
        if (!map && a->has_wildcard && wildcard_may_apply(a))
            map = db->wildcard;
        if (!map || (strcmp(a->schema, r->schema) == 0 && strcmp(a->name, r->name) == 0))
            continue;
        const char *full = arena_printf(&l->entry->arena, "%s.%s", a->schema, a->name);
        switch (map->method) {
        case TABLE_HASH:
        case TABLE_RANGE:
        case TABLE_LIST:
            r->view_of = full;
            break;
        case TABLE_SINGLE:
            if (map->single_shard != l->shard)
                r->view_of = full;
            break;
        case TABLE_REFERENCE:
            r->view_of_reference = full;
            break;
        }
    }
}

/* Where a schema stands in the search path; n_path: not in it. */
static size_t path_position(const struct catalog_load *l, const char *schema)
{
    size_t i = 0;
    while (i < l->n_path && strcmp(l->path[i], schema) != 0)
        i++;
    return i;
}

static enum status refuse_ambiguous(const struct catalog_load *l, const char *other, struct error *error_r)
{
    (void)error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED, "relation name \"%s\" is ambiguous over shards",
                    l->name);
    error_detail(error_r,
                 "The search path also contains the schema \"%s\", whose tables of that name are not on the "
                 "same shard.",
                 other);
    error_hint(error_r, "Write the name with its schema.");
    return STATUS_ERROR;
}

static enum status check_ambiguity(const struct catalog_load *l, struct error *error_r)
{
    const struct database_def *db = l->catalog->db;
    const struct relation *r = &l->entry->relation;
    bool tried = l->shard != catalog_load_shard(db, l->schema, l->name); /* for the sake of temporary ones */
    if (*l->schema || (tried && !r->temporary))
        return STATUS_OK;
    size_t found = r->exists ? path_position(l, r->schema) : l->n_path;
    for (size_t i = 0; i < found; i++) {
        const char *schema = l->path[i];
        if (strncmp(schema, "pg_", 3) == 0)
            continue; /* the system's are everywhere; temporary tables are where the session is */
        const struct table_map *map = topology_table(db, schema, l->name);
        /* Not found here although the path comes by: is there a shard that may have it? */
        bool elsewhere =
            map ? map->method == TABLE_SINGLE && map->single_shard != l->shard : l->shard != db->home;
        if (elsewhere)
            return refuse_ambiguous(l, schema, error_r);
    }
    return STATUS_OK;
}

/* --- loading ---------------------------------------------------------------------------------- */

struct catalog_load *catalog_load_begin(struct catalog *c, const char *context, const char *schema,
                                        const char *name, unsigned shard)
{
    struct catalog_load *l = xcalloc(1, sizeof(*l));
    struct entry *e = l->entry = xcalloc(1, sizeof(*e));
    arena_init(&e->arena);
    l->catalog = e->catalog = c;
    l->shard = shard;
    l->key = arena_slice(&e->arena, key_of(c, context, schema, name));
    l->schema = e->relation.schema = arena_strdup(&e->arena, schema ? schema : "");
    l->name = e->relation.name = arena_strdup(&e->arena, name);
    return l;
}

struct catalog_load *catalog_load_begin_function(struct catalog *c, const char *schema, const char *name)
{
    struct catalog_load *l = catalog_load_begin(c, "", schema, name, c->db->home);
    l->is_function = true;
    return l;
}

struct catalog_load *catalog_load_begin_own(struct catalog *c)
{
    struct catalog_load *l = catalog_load_begin(c, "", "", "", c->db->home);
    l->is_own = true;
    return l;
}

static const char *text_of(struct catalog_load *l, struct slice v)
{
    return v.data ? arena_strndup(&l->entry->arena, v.data, v.len) : "";
}

static char char_of(struct slice v)
{
    return v.len > 0 ? (char)v.data[0] : '\0';
}

static bool bool_of(struct slice v)
{
    return char_of(v) == 't';
}

static long number_of(struct catalog_load *l, struct slice v)
{
    return strtol(text_of(l, v), NULL, 10);
}

/* Arrays live in the arena and double; what they leave behind is small. */
static void *grow(struct catalog_load *l, void *items, size_t n, size_t size)
{
    if (n & (n - 1))
        return items;
    void *bigger = arena_alloc(&l->entry->arena, (n ? n * 2 : 1) * size);
    if (n)
        memcpy(bigger, items, n * size);
    return bigger;
}

static void add_ancestor(struct catalog_load *l, struct ancestor **items, size_t *n, const struct slice *v)
{
    *items = grow(l, *items, *n, sizeof(struct ancestor));
    (*items)[(*n)++] = (struct ancestor){.schema = text_of(l, v[1]),
                                         .name = text_of(l, v[2]),
                                         .relkind = char_of(v[3]),
                                         .temporary = char_of(v[4]) == 't',
                                         .depth = number_of(l, v[5]),
                                         .has_wildcard = bool_of(v[6])};
}

static void add_column(struct catalog_load *l, const struct slice *v)
{
    struct relation *r = &l->entry->relation;
    r->columns = grow(l, r->columns, r->n_columns, sizeof(struct relation_column));
    r->columns[r->n_columns++] = (struct relation_column){.name = text_of(l, v[1]),
                                                          .type_oid = (uint32_t)number_of(l, v[2]),
                                                          .collation_oid = (uint32_t)number_of(l, v[3]),
                                                          .c_collation = bool_of(v[4]),
                                                          .deterministic = bool_of(v[5]),
                                                          .has_default = char_of(v[6]) != 'f',
                                                          .constant_default = char_of(v[6]) == 'c',
                                                          .generated = char_of(v[6]) == 'g',
                                                          .not_null = bool_of(v[7]),
                                                          .typmod = (int32_t)number_of(l, v[8])};
}

static void add_effects(struct catalog_load *l, const struct slice *v)
{
    struct relation *r = &l->entry->relation;
    uint16_t effects = (uint16_t)number_of(l, v[2]);
    switch (char_of(v[1])) {
    case 'r':
        r->effects_read |= effects;
        return;
    case 'w':
        r->effects_written |= effects;
        return;
    default:
        l->effects |= effects;
        return;
    }
}

static void add_own(struct catalog_load *l, const struct slice *v)
{
    char kind = char_of(v[1]);
    l->own = grow(l, l->own, l->n_own, sizeof(struct own_code));
    l->own[l->n_own++] = (struct own_code){.kind = kind == 'n'   ? OWN_NAME
                                                   : kind == 'f' ? OWN_FUNCTION
                                                                 : OWN_ANYWHERE,
                                           .name = text_of(l, v[2]),
                                           .effects = (uint16_t)number_of(l, v[3])};
}

/* Of a variable that cannot be asked for nobody would see that it was set. */
static void add_name(struct catalog_load *l, const struct slice *v)
{
    struct relation *r = &l->entry->relation;
    if (add_custom_name(l->catalog->names, text_of(l, v[1])))
        return;
    r->effects_read |= EFFECT_HIDDEN;
    r->effects_written |= EFFECT_HIDDEN;
    l->effects |= EFFECT_HIDDEN;
    if (l->is_own) {
        l->own = grow(l, l->own, l->n_own, sizeof(struct own_code));
        l->own[l->n_own++] = (struct own_code){.kind = OWN_ANYWHERE, .name = "", .effects = EFFECT_HIDDEN};
    }
}

enum status catalog_load_row(struct catalog_load *l, const struct slice *v, size_t n, struct error *error_r)
{
    struct relation *r = &l->entry->relation;
    if (n != 9 || v[0].len != 1)
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION,
                         "a shard answered the catalog query with something else");
    switch (v[0].data[0]) {
    case 'R':
        r->exists = true;
        r->schema = text_of(l, v[1]);
        r->name = text_of(l, v[2]);
        r->relkind = char_of(v[3]);
        r->temporary = char_of(v[4]) == 't';
        return STATUS_OK;
    case 'A':
        add_ancestor(l, &l->ancestors, &l->n_ancestors, v);
        return STATUS_OK;
    case 'B':
        add_ancestor(l, &l->read, &l->n_read, v);
        return STATUS_OK;
    case 'C':
        add_column(l, v);
        return STATUS_OK;
    case 'S':
        l->path = grow(l, l->path, l->n_path, sizeof(const char *));
        l->path[l->n_path++] = text_of(l, v[1]);
        return STATUS_OK;
    case 'D':
        l->create_schema = v[1].data ? text_of(l, v[1]) : NULL;
        return STATUS_OK;
    case 'F':
        add_effects(l, v);
        return STATUS_OK;
    case 'N':
        add_name(l, v);
        return STATUS_OK;
    case 'O':
        add_own(l, v);
        return STATUS_OK;
    case 'Z':
        return check_ambiguity(l, error_r);
    default:
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION,
                         "a shard answered the catalog query with something else");
    }
}

static void keep_own(struct catalog_load *l)
{
    struct catalog *c = l->catalog;
    if (c->own) {
        free_entry(l->entry); /* another load was first */
    } else {
        c->own = l->entry;
        count_entry(l->entry, 0);
        c->own_items = l->own;
        c->n_own = l->n_own;
    }
    free(l);
}

static void keep_function(struct catalog_load *l)
{
    struct catalog *c = l->catalog;
    uint16_t effects;
    if (!catalog_function(c, l->schema, l->name, &effects)) { /* else another load was first */
        struct slice key = function_key(&c->key, l->schema, l->name);
        struct function *f = xcalloc(1, sizeof(*f));
        *f = (struct function){.catalog = c, .effects = l->effects};
        f->bytes = heap_bytes(sizeof(*f)) + heap_bytes(KEY_BYTES + key.len);
        c->bytes += f->bytes;
        recent_put(&c->functions, key, f);
    }
    free_entry(l->entry);
    free(l);
}

static struct relation *keep_relation(struct catalog_load *l)
{
    struct catalog *c = l->catalog;
    struct entry *e = l->entry, *known = recent_get(&c->relations, l->key);
    if (!known)
        known = hashmap_get(&c->missing, l->key);
    if (known) {
        free_entry(e);
    } else {
        known = e;
        e->relation.map = map_of(l);
        judge_view(l);
        count_entry(e, l->key.len);
        if (e->relation.exists)
            recent_put(&c->relations, l->key, e);
        else
            hashmap_put(&c->missing, l->key, e);
    }
    free(l);
    return &known->relation;
}

bool catalog_load_is_temporary(const struct catalog_load *l)
{
    return l->entry->relation.temporary;
}

struct relation *catalog_load_finish(struct catalog_load **lp)
{
    struct catalog_load *l = *lp;
    *lp = NULL;
    if (!l->is_own && !l->is_function)
        return keep_relation(l);
    if (l->is_own)
        keep_own(l);
    else
        keep_function(l);
    return NULL;
}

void catalog_load_abort(struct catalog_load **l)
{
    if (!*l)
        return;
    free_entry((*l)->entry);
    free(*l);
    *l = NULL;
}
