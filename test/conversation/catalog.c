/*
 * What a model server answers to the proxy's questions: about a relation (src/backend/catalog_sql.c), code behind it, what
 * is the application's own, who has decided. Every relation here has the two columns (id int8, v int8), and no code.
 */
#include "model.h"

static void add(struct rowset *r, const char *const *columns, size_t n)
{
    struct value *row = rowset_add(r);
    for (size_t i = 0; i < 9; i++)
        row[i] =
            (struct value){.is_text = true, .s = i < n ? columns[i] : NULL, .null = i >= n || !columns[i]};
}

#define ADD(r, ...)                                                                                          \
    add(r, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void relation(struct session *s, const struct stmt *st, struct rowset *r)
{
    char name[64] = "";
    const char *at = strstr(st->sql, "pg_catalog.to_regclass('");
    if (at)
        (void)!sscanf(at + 24, "%63[^']", name);
    char *bare = name;
    for (char *c = name; *c; c++) /* "schema"."name" */
        if (*c == '.')
            bare = c + 1;
    if (*bare == '"') {
        bare++;
        bare[strcspn(bare, "\"")] = '\0';
    }
    const struct table *t = table_find(s, bare);
    const char *schema = t && t->temporary ? "pg_temp_3" : "public",
               *persistence = t && t->temporary ? "t" : "p";
    if (t)
        ADD(r, "A", schema, arena_strdup(&world.arena, bare), "r", persistence, "0", "false");
    if (t) {
        ADD(r, "C", "id", "20", "0", "false", "true", "false", "true", "-1");
        ADD(r, "C", "v", "20", "0", "false", "true", "false", "false", "-1");
    }
    ADD(r, "D", "public");
    if (t)
        ADD(r, "R", schema, arena_strdup(&world.arena, bare), "r", persistence);
    ADD(r, "S", "pg_catalog", "1");
    ADD(r, "S", "public", "2");
    ADD(r, "Z");
}

static bool decision(struct session *s, const struct stmt *st, struct rowset *r)
{
    char txid[160] = "";
    const char *at = strstr(st->sql, "WHERE txid = '");
    if (!at || sscanf(at + 14, "%159[^']", txid) != 1)
        return false;
    for (size_t i = 0; i < s->shard->n_decisions; i++) {
        const struct decision_row *row = &s->shard->decisions[i];
        if (strcmp(row->txid, txid) != 0 || !row_visible(s->shard, s->txn, row->xmin, 0))
            continue;
        char outcome[2] = {row->outcome, '\0'};
        struct value *out = rowset_add(r);
        out[0] = (struct value){.is_text = true, .s = arena_strdup(&world.arena, outcome)};
        out[1] = (struct value){.is_text = true, .s = arena_strdup(&world.arena, row->proof)};
    }
    r->n_cols = 2;
    return true;
}

static void left_behind(struct session *s, const struct stmt *st, struct rowset *r)
{
    char count[24];
    r->n_cols = 3;
    if (strstr(st->sql, "SELECT 'V'")) {
        for (size_t i = 0; i < s->now.n; i++)
            ADD(r, "V", s->now.items[i].name, s->now.items[i].value);
        ADD(r, "V", "role", "none");
        ADD(r, "A", NULL, s->user);
    }
    for (const struct table *t = s->shard->tables; strstr(st->sql, "SELECT 'T'") && t; t = t->next)
        if (t->temporary == s && row_visible(s->shard, s->txn, t->xmin, t->xmax)) {
            ADD(r, "T", NULL, NULL);
            break;
        }
    snprintf(count, sizeof count, "%u", session_statements(s));
    if (strstr(st->sql, "SELECT 'O'"))
        ADD(r, "O", NULL, arena_strdup(&world.arena, count));
}

/* All temporary tables of the session, as one text. */
static void temporary(struct session *s, struct rowset *r)
{
    char names[512] = "";
    size_t n = 0;
    for (const struct table *t = s->shard->tables; t && n < sizeof names; t = t->next)
        if (t->temporary == s && row_visible(s->shard, s->txn, t->xmin, t->xmax))
            n += (size_t)snprintf(names + n, sizeof names - n, "%s,", t->name);
    ADD(r, n ? arena_strdup(&world.arena, names) : NULL);
    r->n_cols = 1;
}

bool catalog_answer(struct session *s, const struct stmt *st, struct rowset *r)
{
    if (st->kind == ST_CATALOG)
        relation(s, st, r);
    else if (strncmp(st->sql, "SELECT outcome", 14) == 0)
        return decision(s, st, r);
    else if (strncmp(st->sql, "SELECT '", 8) == 0)
        left_behind(s, st, r);
    else if (strncmp(st->sql, "SELECT pg_catalog.string_agg", 28) == 0)
        temporary(s, r);
    else if (strncmp(st->sql, "UPDATE pgunison.decision", 24) == 0)
        r->n_cols = 0;
    return true;
}
