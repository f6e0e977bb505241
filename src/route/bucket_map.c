/*
 * Maps from a key's value to a shard, one a table.
 *
 *     HASH    bucket = hash & (buckets - 1); the database's bucket table names the shard
 *     RANGE   bounds as keys, ascending; neighbours touch: ranges[i].upper == ranges[i + 1].lower;
 *             only the first may lack a lower bound, only the last an upper one
 *     LIST    values as keys, ascending, no two alike; DEFAULT beside them
 *     SINGLE  always that shard
 *
 * Ranges of character strings are ranges of bytes, whatever the column's collation: a range only decides
 * where a row lives, and equal values of a deterministic collation are equal bytes.
 *
 * Not responsible for: NULL in reads, pruning by comparisons.
 */
#include "route/bucket_map.h"

#include "base/arena.h"
#include "base/buf.h"
#include "key.h"
#include "wire/datum.h"
#include <assert.h>
#include <stdlib.h>

struct range {
    bool has_lower, has_upper;
    struct key lower, upper;
    unsigned shard;
};
struct listed {
    struct key value;
    unsigned shard;
};

struct bucket_map {
    unsigned refs;
    enum table_method method;
    uint32_t type_oid;
    int32_t typmod;
    bool hashes_integers;          /* HASH, and the column is an int2, int4 or int8 */
    const struct database_def *db; /* outlives the map: plans of one topology die with it */
    const char *table, *column;    /* copies, for messages */
    unsigned single_shard;
    struct range *ranges;
    size_t n_ranges;
    struct listed *listed;
    size_t n_listed;
    bool has_default;
    unsigned default_shard;
    struct arena arena;
};

/* Says where the map was written; keeps detail and hint. */
static enum status at_line(const struct table_map *t, struct error *error)
{
    struct error plain = *error;
    if (!t->file)
        return STATUS_ERROR;
    error_set(error, SQLSTATE_CONFIG, "%s:%d: %s", t->file, t->line, plain.message);
    error_detail(error, "%s", plain.detail);
    error_hint(error, "%s", plain.hint);
    return STATUS_ERROR;
}

static enum status read_bound(struct bucket_map *m, const struct table_map *t, const char *text,
                              struct key *key_r, struct error *error_r)
{
    struct key key;
    if (key_read(m->type_oid, 0, 0, slice_str(text), &key, error_r) != STATUS_OK)
        return at_line(t, error_r);
    *key_r = key;
    if (!key.is_int)
        key_r->bytes = arena_slice(&m->arena, key.bytes);
    key_r->heap = NULL;
    key_free(&key);
    return STATUS_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct range *ra = a, *rb = b;
    if (!ra->has_lower || !rb->has_lower)
        return ra->has_lower - rb->has_lower;
    return key_compare(&ra->lower, &rb->lower);
}

static enum status check_ranges(const struct bucket_map *m, const struct table_map *t, struct error *error_r)
{
    for (size_t i = 1; i < m->n_ranges; i++) {
        const struct range *before = &m->ranges[i - 1], *r = &m->ranges[i];
        int cmp = before->has_upper && r->has_lower ? key_compare(&before->upper, &r->lower) : 1;
        if (cmp == 0)
            continue;
        error_set(error_r, SQLSTATE_CONFIG, "ranges of table \"%s\" on shards \"%s\" and \"%s\" %s", m->table,
                  m->db->shards[before->shard]->name, m->db->shards[r->shard]->name,
                  cmp > 0 ? "overlap" : "leave a gap between them");
        return at_line(t, error_r);
    }
    return STATUS_OK;
}

static enum status make_ranges(struct bucket_map *m, const struct table_map *t, struct error *error_r)
{
    m->ranges = arena_zalloc(&m->arena, t->n_ranges * sizeof(*m->ranges));
    for (size_t i = 0; i < t->n_ranges; i++) {
        const struct range_def *def = &t->ranges[i];
        struct range *r = &m->ranges[m->n_ranges++];
        r->shard = def->shard;
        r->has_lower = def->lower != NULL;
        r->has_upper = def->upper != NULL;
        if (def->lower && read_bound(m, t, def->lower, &r->lower, error_r) != STATUS_OK)
            return STATUS_ERROR;
        if (def->upper && read_bound(m, t, def->upper, &r->upper, error_r) != STATUS_OK)
            return STATUS_ERROR;
        if (r->has_lower && r->has_upper && key_compare(&r->lower, &r->upper) >= 0) {
            error_set(error_r, SQLSTATE_CONFIG, "empty range of table \"%s\": %s .. %s", m->table, def->lower,
                      def->upper);
            return at_line(t, error_r);
        }
    }
    if (m->n_ranges == 0) {
        error_set(error_r, SQLSTATE_CONFIG, "table \"%s\" has no ranges", m->table);
        return at_line(t, error_r);
    }
    qsort(m->ranges, m->n_ranges, sizeof(*m->ranges), compare_ranges);
    return check_ranges(m, t, error_r);
}

static int compare_listed(const void *a, const void *b)
{
    return key_compare(&((const struct listed *)a)->value, &((const struct listed *)b)->value);
}

static enum status make_list(struct bucket_map *m, const struct table_map *t, struct error *error_r)
{
    m->listed = arena_zalloc(&m->arena, t->n_lists * sizeof(*m->listed));
    for (size_t i = 0; i < t->n_lists; i++) {
        const struct list_def *def = &t->lists[i];
        if (!def->value) {
            if (m->has_default) {
                error_set(error_r, SQLSTATE_CONFIG, "table \"%s\" has two DEFAULTs", m->table);
                return at_line(t, error_r);
            }
            m->has_default = true;
            m->default_shard = def->shard;
            continue;
        }
        m->listed[m->n_listed].shard = def->shard;
        if (read_bound(m, t, def->value, &m->listed[m->n_listed].value, error_r) != STATUS_OK)
            return STATUS_ERROR;
        m->n_listed++;
    }
    if (m->n_listed)
        qsort(m->listed, m->n_listed, sizeof(*m->listed), compare_listed);
    for (size_t i = 1; i < m->n_listed; i++) {
        if (compare_listed(&m->listed[i - 1], &m->listed[i]) != 0)
            continue;
        error_set(error_r, SQLSTATE_CONFIG,
                  "a value of table \"%s\" is listed for shard \"%s\" and for \"%s\"", m->table,
                  m->db->shards[m->listed[i - 1].shard]->name, m->db->shards[m->listed[i].shard]->name);
        return at_line(t, error_r);
    }
    return STATUS_OK;
}

static enum status check_type(const struct bucket_map *m, bool deterministic_collation, struct error *error_r)
{
    enum hash_family family = hash_family_of(m->type_oid);
    if (family == HASH_NONE) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "column \"%s\" of table \"%s\" has type %u, which cannot be the type of a sharding key",
                  m->column, m->table, m->type_oid);
        error_hint(error_r, "Key types are integers, oid, text, varchar, char, uuid, bytea, date, timestamp, "
                            "timestamptz and boolean.");
        return STATUS_ERROR;
    }
    if ((family == HASH_TEXT || family == HASH_BPCHAR) && !deterministic_collation) {
        error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                  "column \"%s\" of table \"%s\" has a nondeterministic collation", m->column, m->table);
        error_hint(error_r,
                   "Values that are equal but not the same bytes cannot be told apart by a hash; use a "
                   "deterministic collation for the sharding key.");
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

static enum status fill(struct bucket_map *m, const struct table_map *t, bool deterministic_collation,
                        struct error *error_r)
{
    switch (t->method) {
    case TABLE_SINGLE:
        return STATUS_OK;
    case TABLE_REFERENCE:
        return error_set(error_r, SQLSTATE_INTERNAL, "reference table \"%s\" has no sharding key", m->table);
    case TABLE_HASH:
        return check_type(m, deterministic_collation, error_r);
    case TABLE_RANGE:
        if (check_type(m, deterministic_collation, error_r) != STATUS_OK)
            return STATUS_ERROR;
        return make_ranges(m, t, error_r);
    case TABLE_LIST:
        if (check_type(m, deterministic_collation, error_r) != STATUS_OK)
            return STATUS_ERROR;
        return make_list(m, t, error_r);
    }
    return error_set(error_r, SQLSTATE_INTERNAL, "table \"%s\" has an unknown method", m->table);
}

struct bucket_map *bucket_map_create(const struct database_def *db, const struct table_map *table,
                                     uint32_t type_oid, bool deterministic_collation, struct error *error_r)
{
    struct bucket_map *m = xcalloc(1, sizeof(*m));
    arena_init(&m->arena);
    m->refs = 1;
    m->method = table->method;
    m->type_oid = type_oid;
    m->typmod = -1;
    m->db = db;
    m->table = arena_strdup(&m->arena, table->name ? table->name : "*");
    m->column = arena_strdup(&m->arena, table->column ? table->column : "");
    m->single_shard = table->single_shard;
    m->hashes_integers =
        table->method == TABLE_HASH && (type_oid == OID_INT2 || type_oid == OID_INT4 || type_oid == OID_INT8);
    if (fill(m, table, deterministic_collation, error_r) != STATUS_OK)
        bucket_map_unref(&m);
    return m;
}

const struct bucket_map *bucket_map_ref(const struct bucket_map *m)
{
    if (m)
        ((struct bucket_map *)(uintptr_t)m)->refs++;
    return m;
}

void bucket_map_unref(struct bucket_map **m)
{
    struct bucket_map *map = *m;
    *m = NULL;
    if (!map || --map->refs > 0)
        return;
    arena_free(&map->arena);
    free(map);
}

void bucket_map_set_typmod(struct bucket_map *m, int32_t typmod)
{
    m->typmod = typmod;
}

static size_t bucket_map_bytes(const struct bucket_map *m)
{
    return m ? heap_bytes(sizeof(*m)) + arena_bytes(&m->arena) : 0;
}

static bool has_rows_by_key(const struct relation *r)
{
    return r->exists && r->relkind != 'i' && r->relkind != 'I' && r->map && r->map->method <= TABLE_LIST;
}

size_t bucket_map_place(const struct database_def *db, struct relation *r)
{
    r->placed = true;
    if (!r->map || r->map->method > TABLE_LIST)
        return 0;
    struct error why = {0};
    const struct relation_column *key = relation_column(r, r->map->column, NULL);
    if (key)
        r->buckets = bucket_map_create(db, r->map, key->type_oid, key->deterministic, &why);
    else if (has_rows_by_key(r))
        error_set(&why, SQLSTATE_CONFIG, "table \"%s\" has no column \"%s\", by which it is to be sharded",
                  r->name, r->map->column);
    if (key && r->buckets)
        bucket_map_set_typmod(r->buckets, key->typmod);
    if (!why.sqlstate[0])
        return bucket_map_bytes(r->buckets);
    r->map_error = xmalloc(sizeof(why));
    *r->map_error = why;
    return heap_bytes(sizeof(why));
}

void bucket_map_unplace(struct relation *r)
{
    bucket_map_unref(&r->buckets);
    free(r->map_error);
    r->map_error = NULL;
    r->placed = false;
}

static enum status nowhere(const struct bucket_map *m, struct error *error_r)
{
    error_set(error_r, "23514", "no shard of table \"%s\" found for row", m->table);
    error_detail(error_r, "The value of column \"%s\" is outside the table's %s.", m->column,
                 m->method == TABLE_RANGE ? "ranges" : "lists");
    error_hint(error_r, "Add it to the configuration's [%s] section.",
               m->method == TABLE_RANGE ? "ranges" : "lists");
    return STATUS_ERROR;
}

/* The last range whose lower bound is not above the key. */
static const struct range *find_range(const struct bucket_map *m, const struct key *key)
{
    size_t low = 0, high = m->n_ranges;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct range *r = &m->ranges[mid];
        if (!r->has_lower || key_compare(&r->lower, key) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return NULL;
    const struct range *r = &m->ranges[low - 1];
    return r->has_upper && key_compare(key, &r->upper) >= 0 ? NULL : r;
}

static const struct listed *find_listed(const struct bucket_map *m, const struct key *key)
{
    size_t low = 0, high = m->n_listed;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int cmp = key_compare(&m->listed[mid].value, key);
        if (cmp == 0)
            return &m->listed[mid];
        if (cmp < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static inline void place_by_hash(const struct bucket_map *m, uint64_t hash, struct bucket_target *target_r)
{
    uint32_t bucket = (uint32_t)hash & (m->db->buckets - 1);
    target_r->bucket = (int32_t)bucket;
    target_r->shard = m->db->bucket_shard[bucket];
}

static enum status place(const struct bucket_map *m, const struct key *key, struct bucket_target *target_r,
                         struct error *error_r)
{
    target_r->bucket = -1;
    if (m->method == TABLE_HASH) {
        place_by_hash(m, key_hash(key, hash_family_of(m->type_oid)), target_r);
        return STATUS_OK;
    }
    if (m->method == TABLE_RANGE) {
        const struct range *r = find_range(m, key);
        if (!r)
            return nowhere(m, error_r);
        target_r->shard = r->shard;
        return STATUS_OK;
    }
    assert(m->method == TABLE_LIST);
    const struct listed *l = find_listed(m, key);
    if (!l && !m->has_default)
        return nowhere(m, error_r);
    target_r->shard = l ? l->shard : m->default_shard;
    return STATUS_OK;
}

/* One to max digits and nothing else. */
static inline bool plain_digits(struct slice text, size_t max, int64_t *v_r)
{
    uint64_t v = 0;
    if (text.len == 0 || text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = text.data[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        v = v * 10 + digit;
    }
    *v_r = (int64_t)v;
    return true;
}

/* As key_read() reads it; the digits are so few that the type has room for any of them. */
static inline bool plain_integer(uint32_t oid, int16_t format, struct slice value, int64_t *v_r)
{
    size_t size = oid == OID_INT8 ? 8 : oid == OID_INT4 ? 4 : oid == OID_INT2 ? 2 : 0;
    if (size == 0 || !value.data)
        return false;
    if (format == 0)
        return plain_digits(value, size == 8 ? 18 : size == 4 ? 9 : 4, v_r);
    if (format != 1 || value.len != size)
        return false;
    *v_r = size == 8   ? (int64_t)load_u64(value.data)
           : size == 4 ? (int32_t)load_u32(value.data)
                       : (int16_t)load_u16(value.data);
    return true;
}

bool bucket_map_find_integer(const struct bucket_map *m, uint32_t value_oid, int16_t format,
                             struct slice value, struct bucket_target *target_r)
{
    int64_t v;
    uint32_t oid = value_oid == 0 || value_oid == OID_UNKNOWN ? m->type_oid : value_oid;
    if (!m->hashes_integers || !plain_integer(oid, format, value, &v))
        return false;
    place_by_hash(m, hash_int8_extended(v), target_r);
    return true;
}

enum status bucket_map_find(const struct bucket_map *m, uint32_t value_oid, int16_t format,
                            struct slice value, struct bucket_target *target_r, struct error *error_r)
{
    if (bucket_map_find_integer(m, value_oid, format, value, target_r))
        return STATUS_OK;
    if (m->method == TABLE_SINGLE) {
        *target_r = (struct bucket_target){.shard = m->single_shard, .bucket = -1};
        return STATUS_OK;
    }
    if (!value.data) {
        error_set(error_r, SQLSTATE_NOT_NULL_VIOLATION,
                  "null value in column \"%s\" of relation \"%s\" violates not-null constraint", m->column,
                  m->table);
        error_detail(error_r, "The column is the table's sharding key.");
        return STATUS_ERROR;
    }
    struct key key;
    if (key_read(m->type_oid, value_oid, format, value, &key, error_r) != STATUS_OK)
        return STATUS_ERROR;
    enum status status = key_apply_typmod(&key, m->type_oid, m->typmod, error_r);
    if (status == STATUS_OK)
        status = place(m, &key, target_r, error_r);
    key_free(&key);
    return status;
}
