/*
 * [tables DATABASE]: how each table is cut: NAME = hash(COLUMN) | range(COLUMN) | list(COLUMN) | reference |
 * single(SHARD), and * = hash(COLUMN) for every table that has the column.
 */
#include "names.h"
#include "suggest.h"
#include "topology_build.h"
#include <stdio.h>
#include <strings.h>

static const struct {
    const char *name;
    enum table_method method;
    const char *argument; /* NULL: takes none */
} methods[] = {
    {"hash", TABLE_HASH, "column"},       {"range", TABLE_RANGE, "column"},  {"list", TABLE_LIST, "column"},
    {"reference", TABLE_REFERENCE, NULL}, {"single", TABLE_SINGLE, "shard"},
};
#define N_METHODS (sizeof methods / sizeof *methods)

struct slice build_table_key(struct arena *a, const char *schema, const char *table)
{
    size_t ls = strlen(schema ? schema : "public"), lt = strlen(table);
    char *key = arena_alloc(a, ls + 1 + lt);
    memcpy(key, schema ? schema : "public", ls + 1);
    memcpy(key + ls + 1, table, lt);
    return slice_of(key, ls + 1 + lt);
}

const char *build_table_text(const struct load *l, const char *schema, const char *table)
{
    return arena_printf(l->arena, "%s.%s", schema ? schema : "public", table);
}

/* TABLE, SCHEMA.TABLE or *. */
static bool parse_table_name(const struct load *l, const struct ini_entry *e, struct table_map *m)
{
    char why[256];
    const char *p = e->name;
    if (strcmp(p, "*") == 0)
        return true;
    m->name = name_ident(l->arena, &p, false, why, sizeof why);
    if (m->name && *p == '.') {
        p++;
        m->schema = m->name;
        m->name = *p == '*' ? NULL : name_ident(l->arena, &p, false, why, sizeof why);
        if (*p == '*')
            snprintf(why, sizeof why, "there is no wildcard for a schema, only \"*\" for all tables");
    }
    if (m->name && *p) {
        snprintf(why, sizeof why, "unexpected \"%s\"; names with other characters stand in double quotes", p);
        m->name = NULL;
    }
    if (!m->name) {
        load_error(l, e->line, "table \"%s\": %s", e->name, why);
        return false;
    }
    if (m->schema && (strncmp(m->schema, "pg_", 3) == 0 || strcmp(m->schema, "information_schema") == 0 ||
                      strcmp(m->schema, "pgunison") == 0)) {
        load_error(l, e->line, "tables of schema \"%s\" are not cut", m->schema);
        return false;
    }
    return true;
}

static void method_unknown(const struct load *l, const struct ini_entry *e, const char *word)
{
    char text[SUGGEST_TEXT_MAX];
    struct suggest s;
    suggest_init(&s, word);
    for (size_t i = 0; i < N_METHODS; i++)
        suggest_offer(&s, methods[i].name);
    load_error(l, e->line,
               "table \"%s\" cannot be \"%s\"; allowed is hash(COLUMN), range(COLUMN), list(COLUMN), "
               "reference or single(SHARD)%s",
               e->name, e->value, suggest_text(&s, text, sizeof text));
}

/* The text between the parentheses; NULL: there are none; "" also when they are not closed or something
 * follows them. */
static const char *parse_argument(const struct load *l, const char *p)
{
    name_skip_blanks(&p);
    if (!*p)
        return NULL;
    size_t len = strlen(p);
    while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
        len--;
    if (*p != '(' || p[len - 1] != ')')
        return "";
    p++;
    len -= 2;
    while (len && (*p == ' ' || *p == '\t'))
        p++, len--;
    while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
        len--;
    return arena_strndup(l->arena, p, len);
}

/* hash(column) and so on. */
static bool parse_method(struct topology_build *b, const struct database_def *db, const struct ini_entry *e,
                         struct table_map *m)
{
    const struct load *l = b->l;
    char why[256];
    size_t len = strcspn(e->value, " \t("), i = 0;
    const char *word = arena_strndup(l->arena, e->value, len);
    while (i < N_METHODS && strcasecmp(word, methods[i].name) != 0)
        i++;
    const char *argument = parse_argument(l, e->value + len);
    if (i == N_METHODS || (argument && !methods[i].argument) ||
        (methods[i].argument && argument && !*argument)) {
        method_unknown(l, e, word);
        return false;
    }
    if (methods[i].argument && !argument) {
        load_error(l, e->line, "table \"%s\": %s needs a %s: %s(%s)", e->name, methods[i].name,
                   methods[i].argument, methods[i].name, methods[i].argument);
        return false;
    }
    m->method = methods[i].method;
    if (m->method == TABLE_REFERENCE)
        return true;
    if (m->method == TABLE_SINGLE) {
        int shard = build_shard_index(b, db, argument, e->line);
        m->single_shard = shard >= 0 ? (unsigned)shard : 0;
        return shard >= 0;
    }
    const char *p = argument;
    m->column = name_ident(l->arena, &p, false, why, sizeof why);
    if (m->column && *p) {
        snprintf(why, sizeof why,
                 "unexpected \"%s\"; the key is one column, and a name with other characters stands in "
                 "double quotes",
                 p);
        m->column = NULL;
    }
    if (!m->column)
        load_error(l, e->line, "table \"%s\": %s", e->name, why);
    return m->column != NULL;
}

static void table_load(struct topology_build *b, struct database_def *db, const struct ini_entry *e)
{
    const struct load *l = b->l;
    struct table_map m = {.file = l->file->path, .line = e->line};
    if (!parse_table_name(l, e, &m) || !parse_method(b, db, e, &m))
        return;
    if (!m.name) {
        if (m.method != TABLE_HASH) {
            load_error(l, e->line, "\"*\" can only be hash(COLUMN)");
            return;
        }
        if (db->wildcard) {
            load_error(l, e->line, "\"*\" was already set in line %d", db->wildcard->line);
            return;
        }
        struct table_map *wildcard = arena_alloc(l->arena, sizeof m);
        *wildcard = m;
        db->wildcard = wildcard;
        return;
    }
    struct slice key = build_table_key(l->arena, m.schema, m.name);
    const struct table_map *other = hashmap_get(&db->tables_by_name, key);
    if (other) {
        load_error(l, e->line, "table \"%s\" was already set in line %d",
                   build_table_text(l, m.schema, m.name), other->line);
        return;
    }
    struct table_map *table = &db->tables[db->n_tables++];
    *table = m;
    hashmap_put(&db->tables_by_name, key, table);
}

void tables_load(struct topology_build *b)
{
    for (size_t i = 0; i < b->n_refs; i++) {
        const struct section_ref *ref = &b->refs[i];
        if (ref->kind != SECTION_TABLES)
            continue;
        struct database_def *db = build_database(b, ref);
        if (!db)
            continue;
        db->tables = arena_zalloc(b->l->arena, (ref->section->n_entries + 1) * sizeof *db->tables);
        for (size_t j = 0; j < ref->section->n_entries; j++)
            table_load(b, db, &ref->section->entries[j]);
    }
}
