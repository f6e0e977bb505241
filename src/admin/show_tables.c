/*
 * SHOW TABLES: the tables of the configuration, with their keys' types as the home shards have them. A shard
 * that does not answer leaves types empty, and with them what is colocated with what.
 */
#include "shows.h"

#include "backend/asker.h"
#include "base/arena.h"
#include "base/quote.h"
#include "route/hash.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_TIMEOUT_US ((uint64_t)5 * 1000 * 1000)

struct key_type {
    char *name; /* NULL: not known */
    enum hash_family family;
};
struct catalog_view;
struct database_view {
    struct catalog_view *view;
    const struct database_def *db;
    struct key_type *types; /* [db->n_tables] */
};
struct catalog_view {
    struct question *q;
    struct config *config; /* a reference */
    unsigned due;
    size_t n;
    struct database_view databases[];
};

static void view_free(void *p)
{
    struct catalog_view *v = p;
    for (size_t d = 0; d < v->n; d++) {
        for (size_t t = 0; t < v->databases[d].db->n_tables; t++)
            free(v->databases[d].types[t].name);
        free(v->databases[d].types);
    }
    config_unref(&v->config);
    free(v);
}

static const char *method_name(enum table_method method)
{
    switch (method) {
    case TABLE_HASH:
        return "hash";
    case TABLE_RANGE:
        return "range";
    case TABLE_LIST:
        return "list";
    case TABLE_REFERENCE:
        return "reference";
    case TABLE_SINGLE:
        return "single";
    }
    return "?";
}

/* The shards that may have rows of the table. */
static void shards_of(const struct database_def *db, const struct table_map *t, struct buf *b)
{
    struct shard_set set = {0};
    switch (t->method) {
    case TABLE_HASH:
        for (uint32_t i = 0; i < db->buckets; i++)
            shard_set_add(&set, db->bucket_shard[i]);
        break;
    case TABLE_RANGE:
        for (size_t i = 0; i < t->n_ranges; i++)
            shard_set_add(&set, t->ranges[i].shard);
        break;
    case TABLE_LIST:
        for (size_t i = 0; i < t->n_lists; i++)
            shard_set_add(&set, t->lists[i].shard);
        break;
    case TABLE_REFERENCE:
        set = db->all_shards;
        break;
    case TABLE_SINGLE:
        shard_set_add(&set, t->single_shard);
        break;
    }
    buf_clear(b);
    for (unsigned i = 0; i < db->n_shards; i++)
        if (shard_set_has(&set, i))
            buf_printf(b, buf_len(b) ? " %s" : "%s", db->shards[i]->name);
    buf_u8(b, 0);
}

static const char *schema_of(const struct table_map *t)
{
    return t->schema ? t->schema : "public";
}

/* Tables hashed by keys whose equal values hash alike. */
static void colocated_with(const struct database_view *dv, size_t table, struct buf *b)
{
    enum hash_family family = dv->types[table].family;
    buf_clear(b);
    for (size_t i = 0; i < dv->db->n_tables && family != HASH_NONE; i++)
        if (i != table && dv->db->tables[i].method == TABLE_HASH && dv->types[i].family == family)
            buf_printf(b, buf_len(b) ? " %s.%s" : "%s.%s", schema_of(&dv->db->tables[i]),
                       dv->db->tables[i].name);
    buf_u8(b, 0);
}

static void table_row(struct question *q, const struct database_view *dv, const struct table_map *t,
                      const struct key_type *type, const char *colocated)
{
    struct buf shards;
    buf_init(&shards);
    shards_of(dv->db, t, &shards);
    answer_text(&q->answer, dv->db->name);
    answer_text(&q->answer, t->name ? schema_of(t) : "*");
    answer_text(&q->answer, t->name ? t->name : "*");
    answer_text(&q->answer, method_name(t->method));
    answer_text(&q->answer, t->column);
    answer_text(&q->answer, type ? type->name : NULL);
    answer_text(&q->answer, (const char *)buf_head(&shards));
    answer_text(&q->answer, colocated);
    answer_row(&q->answer);
    buf_free(&shards);
}

static void answer(struct catalog_view *v)
{
    struct question *q = v->q;
    struct buf colocated;
    buf_init(&colocated);
    for (size_t d = 0; d < v->n; d++) {
        const struct database_view *dv = &v->databases[d];
        for (size_t t = 0; t < dv->db->n_tables; t++) {
            colocated_with(dv, t, &colocated);
            table_row(q, dv, &dv->db->tables[t], &dv->types[t], (const char *)buf_head(&colocated));
        }
        if (dv->db->wildcard)
            table_row(q, dv, dv->db->wildcard, NULL, NULL);
    }
    buf_free(&colocated);
    show_done(q);
}

static void types_answered(void *arg, const struct rows *r)
{
    struct database_view *dv = arg;
    for (size_t i = 0; r->ok && i < r->n_rows && r->n_columns == 3; i++) {
        const char *const *row = rows_texts(r)[i];
        unsigned long t = row[0] ? strtoul(row[0], NULL, 10) : ULONG_MAX;
        if (t >= dv->db->n_tables || !row[1] || !row[2] || dv->types[t].name)
            continue;
        dv->types[t].name = xstrdup(row[1]);
        if (dv->db->tables[t].method == TABLE_HASH)
            dv->types[t].family = hash_family_of((uint32_t)strtoul(row[2], NULL, 10));
    }
    if (--dv->view->due == 0)
        answer(dv->view);
}

static void append_literal(struct buf *b, const char *s)
{
    quote_literal(b, slice_str(s));
}

bool show_tables_sql(const struct database_def *db, struct buf *b)
{
    bool any = false;
    for (size_t i = 0; i < db->n_tables; i++) {
        const struct table_map *t = &db->tables[i];
        if (!t->column)
            continue;
        buf_printf(b, any ? ", (%zu, " : "WITH RECURSIVE k (n, s, t, c) AS (VALUES (%zu, ", i);
        any = true;
        append_literal(b, schema_of(t));
        buf_str(b, ", ");
        append_literal(b, t->name);
        buf_str(b, ", ");
        append_literal(b, t->column);
        buf_u8(b, ')');
    }
    buf_str(b, "), a (n, label, typ) AS ("
               "SELECT k.n, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid FROM k "
               "JOIN pg_catalog.pg_namespace s ON s.nspname OPERATOR(pg_catalog.=) k.s::pg_catalog.name "
               "JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) s.oid AND c.relname "
               "OPERATOR(pg_catalog.=) k.t::pg_catalog.name "
               "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attname "
               "OPERATOR(pg_catalog.=) k.c::pg_catalog.name AND NOT "
               "a.attisdropped "
               "UNION ALL SELECT a.n, a.label, t.typbasetype FROM a JOIN pg_catalog.pg_type t ON t.oid "
               "OPERATOR(pg_catalog.=) a.typ AND "
               "t.typtype OPERATOR(pg_catalog.=) 'd') "
               "SELECT a.n, a.label, a.typ FROM a JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) "
               "a.typ AND t.typtype OPERATOR(pg_catalog.<>) 'd'");
    buf_u8(b, 0);
    return any;
}

static void ask_types(struct question *q)
{
    const struct console_process *process = question_process(q);
    struct config *config = process->config(process->arg);
    size_t n = config->topology.n_databases;
    struct catalog_view *v = xcalloc(1, sizeof *v + n * sizeof v->databases[0]);
    struct buf sql;
    v->q = q;
    v->config = config_ref(config);
    v->n = n;
    v->due = 1; /* this function's own */
    q->data = v;
    q->free_data = view_free;
    buf_init(&sql);
    for (size_t d = 0; d < n; d++) {
        struct database_view *dv = &v->databases[d];
        *dv = (struct database_view){.view = v, .db = &config->topology.databases[d]};
        dv->types = xcalloc(dv->db->n_tables + 1, sizeof *dv->types);
        buf_clear(&sql);
        if (!show_tables_sql(dv->db, &sql))
            continue;
        v->due++;
        asker_query(process->control(process->arg), dv->db->shards[dv->db->home],
                    (const char *)buf_head(&sql), QUERY_TIMEOUT_US, types_answered, dv);
    }
    buf_free(&sql);
    if (--v->due == 0)
        answer(v);
}

static const struct answer_column tables_columns[] = {
    {"database", ANSWER_TEXT}, {"schema", ANSWER_TEXT},        {"table", ANSWER_TEXT},
    {"method", ANSWER_TEXT},   {"column", ANSWER_TEXT},        {"type", ANSWER_TEXT},
    {"shards", ANSWER_TEXT},   {"colocated_with", ANSWER_TEXT}};

const struct show shows_tables[] = {
    {.name = "tables", .place = SHOW_SHARDS, SHOW_COLUMNS(tables_columns), .fill = ask_types},
    {0},
};
