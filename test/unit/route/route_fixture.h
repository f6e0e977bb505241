/* A database of four shards and a catalog to route by, for the router's tests. */
#ifndef ROUTE_FIXTURE_H
#define ROUTE_FIXTURE_H

#include "../sql/render.h"
#include "base/arena.h"
#include "route/hash.h"
#include "route/router.h"
#include "wire/datum.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define N_BUCKETS  64
#define MAX_TABLES 24

struct fixture {
    struct shard_def shards[4];
    const struct shard_def *shard_list[4];
    uint8_t buckets[N_BUCKETS];
    struct database_def db;
    struct table_map maps[MAX_TABLES];
    struct relation infos[MAX_TABLES];
    unsigned n_tables;
    bool forgetful; /* the catalog knows nothing yet */
    struct relation unknown;
    uint32_t types[16];
    uint32_t n_types;
    const char *routing;
    bool no_hints, client_two_phase;
    /* the plan at hand */
    struct template t;
    struct plan *plan;
    struct error error;
};

/* "id int8, name text": types by name; a text type with C: "text/C"; ! : has a default. */
static inline void fixture_columns(struct relation *info, const char *columns)
{
    static const struct {
        const char *name;
        uint32_t oid;
    } types[] = {
        {"int2", OID_INT2},       {"int4", OID_INT4}, {"int8", OID_INT8},    {"text", OID_TEXT},
        {"varchar", OID_VARCHAR}, {"uuid", OID_UUID}, {"date", OID_DATE},    {"timestamptz", OID_TIMESTAMPTZ},
        {"numeric", OID_NUMERIC}, {"bool", OID_BOOL}, {"float8", OID_FLOAT8}};
    char *copy = strdup(columns), *save = NULL;
    info->columns = calloc(16, sizeof(*info->columns));
    for (char *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        char name[32], type[32];
        assert_int_equal(sscanf(part, " %31s %31s", name, type), 2);
        struct relation_column *c = &info->columns[info->n_columns++];
        c->name = strdup(name);
        c->has_default = strchr(type, '!') != NULL;
        c->c_collation = strstr(type, "/C") != NULL;
        type[strcspn(type, "!/")] = '\0';
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            if (strcmp(types[i].name, type) == 0)
                c->type_oid = types[i].oid;
        assert_int_not_equal(c->type_oid, 0);
        c->collation_oid = c->type_oid == OID_TEXT || c->type_oid == OID_VARCHAR ? 100 : 0;
        c->deterministic = true;
        c->typmod = -1;
    }
    free(copy);
}

static inline struct table_map *fixture_table(struct fixture *f, const char *name, int method,
                                              const char *key, const char *columns)
{
    struct table_map *map = &f->maps[f->n_tables];
    struct relation *info = &f->infos[f->n_tables++];
    assert_true(f->n_tables <= MAX_TABLES);
    *info = (struct relation){.schema = "public", .name = name, .exists = true, .relkind = 'r'};
    fixture_columns(info, columns);
    if (method < 0)
        return map;
    *map = (struct table_map){.name = name, .method = (enum table_method)method, .column = key};
    info->map = map;
    return map;
}

static inline void fixture_map(struct fixture *f, const char *name)
{
    for (unsigned i = 0; i < f->n_tables; i++) {
        struct relation *info = &f->infos[i];
        if (strcmp(info->name, name) != 0)
            continue;
        bucket_map_unplace(info);
        bucket_map_place(&f->db, info);
        if (!info->buckets)
            fail_msg("%s", info->map_error->message);
    }
}

static inline int fixture_setup(void **state)
{
    static const char *const names[] = {"s0", "s1", "s2", "s3"};
    static struct range_def ranges[] = {{NULL, "2026-01-01", 0}, {"2026-01-01", "2027-01-01", 2}};
    static struct list_def lists[] = {{"eu", 1}, {"us", 3}};
    struct fixture *f = calloc(1, sizeof(*f));
    for (unsigned i = 0; i < 4; i++) {
        f->shards[i].name = names[i];
        f->shard_list[i] = &f->shards[i];
        shard_set_add(&f->db.all_shards, i);
    }
    for (unsigned i = 0; i < N_BUCKETS; i++)
        f->buckets[i] = (uint8_t)(i / (N_BUCKETS / 4));
    f->db.name = "shop";
    f->db.shards = f->shard_list;
    f->db.n_shards = 4;
    f->db.buckets = N_BUCKETS;
    f->db.bucket_shard = f->buckets;
    fixture_table(f, "customers", TABLE_HASH, "id",
                  "id int8, name text, email text/C, credit numeric, parent int8, flag bool");
    fixture_table(f, "orders", TABLE_HASH, "customer_id",
                  "id int8!, customer_id int8, total numeric, at timestamptz!");
    fixture_table(f, "items", TABLE_HASH, "customer_id",
                  "customer_id int4, order_id int8, sku text, qty int4");
    fixture_table(f, "tags", TABLE_HASH, "tag", "tag text, note text");
    fixture_table(f, "serials", TABLE_HASH, "id", "id int8!, note text");
    struct table_map *events = fixture_table(f, "events", TABLE_RANGE, "day", "day date, what text");
    events->ranges = ranges;
    events->n_ranges = 2;
    struct table_map *sites = fixture_table(f, "sites", TABLE_LIST, "region", "region text, id int8");
    sites->lists = lists;
    sites->n_lists = 2;
    fixture_table(f, "countries", TABLE_REFERENCE, NULL, "code text, name text");
    fixture_table(f, "rates", TABLE_REFERENCE, NULL, "code text, rate numeric");
    fixture_table(f, "audit", TABLE_SINGLE, NULL, "id int8, what text")->single_shard = 1;
    fixture_table(f, "notes", -1, NULL, "id int8, customer_id int8, body text");
    fixture_table(f, "big_customers", -1, NULL, "id int8, name text");
    f->infos[f->n_tables - 1].relkind = 'v';
    f->infos[f->n_tables - 1].view_of = "customers";
    fixture_table(f, "scratch", -1, NULL, "id int8");
    f->infos[f->n_tables - 1].temporary = true;
    for (unsigned i = 0; i < f->n_tables; i++)
        if (f->infos[i].map && f->infos[i].map->column)
            fixture_map(f, f->infos[i].name);
    f->unknown = (struct relation){.schema = "", .name = "?"};
    f->db.tables = f->maps;
    f->db.n_tables = f->n_tables;
    template_init(&f->t);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    plan_destroy(f->plan);
    template_free(&f->t);
    for (unsigned i = 0; i < f->n_tables; i++) {
        bucket_map_unplace(&f->infos[i]);
        for (uint16_t c = 0; c < f->infos[i].n_columns; c++)
            free((char *)(uintptr_t)f->infos[i].columns[c].name);
        free(f->infos[i].columns);
    }
    free(f);
    return 0;
}

static inline const struct relation *fixture_lookup(void *arg, const char *schema, const char *name)
{
    struct fixture *f = arg;
    if (f->forgetful)
        return NULL;
    for (unsigned i = 0; i < f->n_tables; i++)
        if (strcmp(f->infos[i].name, name) == 0 && (!*schema || strcmp(schema, "public") == 0))
            return &f->infos[i];
    return &f->unknown;
}

static inline enum router_result plan_result(struct fixture *f, const char *sql)
{
    struct router_input in = {.db = &f->db,
                              .relation = fixture_lookup,
                              .arg = f,
                              .n_param_types = f->n_types,
                              .param_types = f->types,
                              .client_two_phase = f->client_two_phase,
                              .no_hints = f->no_hints};
    if (f->routing)
        in.routing = slice_str(f->routing);
    plan_destroy(f->plan);
    f->plan = NULL;
    assert_int_equal(template_lex(&f->t, slice_str(sql), &f->error), STATUS_OK);
    return router_plan(&in, &f->t, &f->plan, &f->error);
}

static inline struct plan *plan_of(struct fixture *f, const char *sql)
{
    if (plan_result(f, sql) != ROUTER_OK)
        fail_msg("%s: %s", sql, f->error.message);
    return f->plan;
}

/* Parameters as text. */
struct text_params {
    uint32_t n;
    const char *const *values;
};
static inline void get_text_param(const void *arg, uint32_t i, struct slice *value_r, int16_t *format_r,
                                  uint32_t *type_oid_r)
{
    const struct text_params *p = arg;
    *value_r = p->values[i] ? slice_str(p->values[i]) : slice_of(NULL, 0);
    *format_r = 0;
    *type_oid_r = 0;
}

/* "s0 s2", or the error's message in f->error and NULL. */
static inline const char *shards_with(struct fixture *f, const struct route_params *params)
{
    static char text[64];
    struct shard_set set;
    int32_t bucket;
    if (route_resolve(f->plan, &f->db, &f->t, params, &set, &bucket, NULL, &f->error) != STATUS_OK)
        return NULL;
    text[0] = '\0';
    for (int s = shard_set_next(&set, 0); s >= 0; s = shard_set_next(&set, s + 1))
        sprintf(text + strlen(text), "%s%s", text[0] ? " " : "", f->shards[s].name);
    return text;
}

static inline const char *shards_of(struct fixture *f)
{
    return shards_with(f, NULL);
}

/* Where a customer lives, by hashing alone. */
static inline const char *shard_of_int(struct fixture *f, int64_t key)
{
    return f->shards[f->buckets[hash_int8_extended(key) & (N_BUCKETS - 1)]].name;
}

/* A key on another shard than this one's, and one on the same. */
static inline int64_t key_elsewhere(struct fixture *f, int64_t key)
{
    for (int64_t k = key + 1;; k++)
        if (strcmp(shard_of_int(f, k), shard_of_int(f, key)) != 0)
            return k;
}
static inline int64_t key_beside(struct fixture *f, int64_t key)
{
    for (int64_t k = key + 1;; k++)
        if (strcmp(shard_of_int(f, k), shard_of_int(f, key)) == 0)
            return k;
}

static inline const char *rewritten(struct fixture *f)
{
    static char text[8192];
    struct buf out;
    if (!f->plan->has_rewrite)
        return NULL;
    buf_init(&out);
    render(&f->plan->rewrite, &f->t, &out);
    snprintf(text, sizeof(text), "%.*s", (int)buf_len(&out), (const char *)buf_head(&out));
    buf_free(&out);
    return text;
}

#endif
