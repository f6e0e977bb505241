/*
 * The router, with a catalog made from the configuration alone: there is no shard to ask. So every table is
 * taken to exist, and to have one known column, its key. The key's type is guessed: of a hashed table, text
 * if the statement has a string literal, else bigint; of ranges and lists, the first of bigint, date,
 * timestamp, uuid, text that all their values are written in. A wildcard is taken to fit every table that is
 * not listed. The answer says so; EXPLAIN (ROUTE) through the proxy knows the real types.
 */
#include "route_offline.h"

#include "base/arena.h"
#include "route/router.h"

#include <stdlib.h>
#include <string.h>

enum { OID_BIGINT = 20, OID_TEXT = 25, OID_DATE = 1082, OID_TIMESTAMP = 1114, OID_UUID = 2950 };

struct offline {
    const struct database_def *db;
    bool has_strings;
    struct hashmap tables; /* "schema\0name" -> struct fake */
};

struct fake {
    struct relation info;
    struct relation_column column;
    char *schema, *name;
};

static void fake_free(void *p)
{
    struct fake *f = p;
    bucket_map_unplace(&f->info);
    free(f->schema);
    free(f->name);
    free(f);
}

static void guess_key(struct offline *o, struct fake *f)
{
    static const uint32_t guesses[] = {OID_BIGINT, OID_DATE, OID_TIMESTAMP, OID_UUID, OID_TEXT};
    bool hashed = f->info.map->method == TABLE_HASH;
    f->column = (struct relation_column){.name = f->info.map->column, .typmod = -1, .deterministic = true};
    f->info.columns = &f->column;
    f->info.n_columns = 1;
    for (size_t i = 0; i < sizeof guesses / sizeof guesses[0] && !f->info.buckets; i++) {
        f->column.type_oid = hashed && o->has_strings ? OID_TEXT : guesses[i];
        bucket_map_unplace(&f->info);
        bucket_map_place(o->db, &f->info);
    }
    f->column.collation_oid = f->column.type_oid == OID_TEXT ? 100 : 0;
}

static const struct relation *find_table(void *arg, const char *schema, const char *name)
{
    struct offline *o = arg;
    struct buf key;
    buf_init(&key);
    buf_cstr(&key, schema);
    buf_str(&key, name);
    struct fake *f = hashmap_get(&o->tables, buf_slice(&key));
    if (!f) {
        f = xcalloc(1, sizeof *f);
        f->schema = xstrdup(*schema ? schema : "public");
        f->name = xstrdup(name);
        f->info = (struct relation){.schema = f->schema, .name = f->name, .exists = true, .relkind = 'r'};
        bool system = strcmp(f->schema, "pg_catalog") == 0 || strcmp(f->schema, "information_schema") == 0 ||
                      strncmp(name, "pg_", 3) == 0;
        f->info.map = topology_table(o->db, schema, name);
        if (!f->info.map && !system)
            f->info.map = o->db->wildcard;
        if (f->info.map && f->info.map->column)
            guess_key(o, f);
        hashmap_put(&o->tables, buf_slice(&key), f);
    }
    buf_free(&key);
    return &f->info;
}

static void print_row(void *arg, const char *const *values)
{
    for (int i = 0; i < explain_n_columns; i++)
        if (values[i])
            fprintf(arg, "%-8s %s\n", explain_columns[i], values[i]);
    fputc('\n', arg);
}

static void no_param(const void *arg, uint32_t i, struct slice *value_r, int16_t *format_r,
                     uint32_t *type_oid_r)
{
    (void)arg;
    (void)i;
    *value_r = slice_of(NULL, 0);
    *format_r = 0;
    *type_oid_r = 0;
}

static void print_note(const struct offline *o, FILE *out)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    hashmap_iter_init(&o->tables, &it);
    while (hashmap_next(&o->tables, &it, &key, &value)) {
        const struct fake *f = value;
        if (f->info.n_columns)
            fprintf(out, "note: %s.%s is taken to have a key column \"%s\" of type %s\n", f->schema, f->name,
                    f->column.name,
                    f->column.type_oid == OID_BIGINT ? "bigint"
                    : f->column.type_oid == OID_TEXT ? "text"
                    : f->column.type_oid == OID_DATE ? "date"
                    : f->column.type_oid == OID_UUID ? "uuid"
                                                     : "timestamp");
    }
}

static enum status explain(struct offline *o, const struct template *t, FILE *out, struct error *error_r)
{
    const struct router_input in = {.db = o->db, .relation = find_table, .arg = o};
    const struct route_params params = {.get = no_param};
    const struct explain_sink sink = {.row = print_row, .arg = out};
    struct plan *plan = NULL;
    for (uint32_t i = 0; i < t->n_literals; i++)
        if (t->literals[i].kind == LITERAL_STRING || t->literals[i].kind == LITERAL_ESTRING ||
            t->literals[i].kind == LITERAL_DOLLAR)
            o->has_strings = true;
    if (router_plan(&in, t, &plan, error_r) != ROUTER_OK)
        return STATUS_ERROR;
    route_explain(plan, o->db, t, plan->n_params ? NULL : &params, &sink);
    print_note(o, out);
    plan_destroy(plan);
    return STATUS_OK;
}

enum status route_offline(const struct config *config, const char *sql, FILE *out, struct error *error_r)
{
    struct offline o = {0};
    struct template t;
    if (config->topology.n_databases == 0)
        return error_set(error_r, SQLSTATE_CONFIG, "the configuration has no database");
    o.db = &config->topology.databases[0];
    hashmap_init(&o.tables);
    template_init(&t);
    enum status status = template_lex(&t, slice_str(sql), error_r);
    if (status == STATUS_OK && t.several)
        status = error_set(error_r, SQLSTATE_SYNTAX_ERROR, "one statement is expected");
    if (status == STATUS_OK)
        status = explain(&o, &t, out, error_r);
    hashmap_free(&o.tables, fake_free);
    template_free(&t);
    return status;
}
