/*
 * The headings of sections: [pgunison], [database NAME], [shard NAME], [buckets DATABASE], [tables DATABASE],
 * [ranges DATABASE.[SCHEMA.]TABLE], [lists DATABASE.[SCHEMA.]TABLE]. Each may stand once.
 */
#include "names.h"
#include "suggest.h"
#include "topology_build.h"
#include <stdio.h>

static const char *const kind_names[] = {"pgunison", "database", "shard", "buckets",
                                         "tables",   "ranges",   "lists"};
#define N_KINDS (sizeof kind_names / sizeof *kind_names)

/* Sections of PgBouncer, and where to go instead. */
static const char *const foreign[][2] = {
    {"pgbouncer", "settings stand in [pgunison]"},
    {"databases", "each database has a section of its own, [database NAME]"},
    {"shards", "each shard has a section of its own, [shard NAME]"},
    {"users", "there are no settings per user"},
    {"peers", "proxies need not know each other"},
};

static void unknown_section(const struct load *l, const struct ini_section *section, const char *word)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (strcmp(word, foreign[i][0]) == 0) {
            load_error(l, section->line, "unknown section [%s]: %s", section->name, foreign[i][1]);
            return;
        }
    }
    char text[SUGGEST_TEXT_MAX];
    struct suggest s;
    suggest_init(&s, word);
    for (size_t i = 0; i < N_KINDS; i++)
        suggest_offer(&s, kind_names[i]);
    load_error(l, section->line, "unknown section [%s]%s", section->name,
               suggest_text(&s, text, sizeof text));
}

/* DATABASE, or DATABASE.[SCHEMA.]TABLE. Returns false and says why in why. */
static bool parse_names(struct arena *a, const char *p, struct section_ref *ref, char *why, size_t size)
{
    bool table = ref->kind == SECTION_RANGES || ref->kind == SECTION_LISTS;
    const char *parts[3] = {NULL, NULL, NULL};
    int n = 0, most = table ? 3 : 1;
    do {
        if (n && *p == '.')
            p++;
        parts[n] = name_ident(a, &p, n == 0, why, size);
        if (!parts[n])
            return false;
        n++;
    } while (*p == '.' && n < most);
    if (*p) {
        snprintf(why, size, "unexpected \"%s\"; names with other characters stand in double quotes", p);
        return false;
    }
    if (table && n == 1) {
        snprintf(why, size, "expected DATABASE.TABLE or DATABASE.SCHEMA.TABLE");
        return false;
    }
    ref->name = parts[0];
    ref->schema = n == 3 ? parts[1] : NULL;
    ref->table = n == 3 ? parts[2] : parts[1];
    return true;
}

/* Fills kind and names from the heading; false after an error. */
static bool parse_heading(const struct load *l, const struct ini_section *section, struct section_ref *ref_r)
{
    char why[256];
    const char *heading = section->name, *rest = heading + strcspn(heading, " \t");
    const char *word = arena_strndup(l->arena, heading, (size_t)(rest - heading));
    name_skip_blanks(&rest);
    size_t kind = 0;
    while (kind < N_KINDS && strcmp(word, kind_names[kind]) != 0)
        kind++;
    if (kind == N_KINDS) {
        unknown_section(l, section, word);
        return false;
    }
    *ref_r = (struct section_ref){.kind = (enum section_kind)kind, .section = section, .name = ""};
    if (kind == SECTION_PGUNISON) {
        if (*rest)
            load_error(l, section->line, "section [%s]: [pgunison] takes no name", heading);
        return *rest == '\0';
    }
    if (!*rest) {
        load_error(l, section->line, "section [%s] needs a name", heading);
        return false;
    }
    if (kind == SECTION_SHARD) {
        ref_r->name = rest;
        if (name_problem(rest, why, sizeof why)) {
            load_error(l, section->line,
                       "shard name \"%s\" is not fit for the names of prepared transactions; %s", rest, why);
            return false;
        }
        return true;
    }
    if (!parse_names(l->arena, rest, ref_r, why, sizeof why)) {
        load_error(l, section->line, "section [%s]: %s", heading, why);
        return false;
    }
    return true;
}

/* What must not stand twice. [ranges] and [lists] of one table share a key: a table has but one of them. */
static struct slice section_key(struct arena *a, const struct section_ref *ref)
{
    char *key;
    enum section_kind kind = ref->kind == SECTION_LISTS ? SECTION_RANGES : ref->kind;
    if (!ref->table) {
        key = arena_printf(a, "%d %s", (int)kind, ref->name);
        return slice_str(key);
    }
    struct slice table = build_table_key(a, ref->schema, ref->table);
    size_t len = (size_t)snprintf(NULL, 0, "%d %s", (int)kind, ref->name) + 1;
    key = arena_alloc(a, len + table.len);
    snprintf(key, len, "%d %s", (int)kind, ref->name);
    memcpy(key + len, table.data, table.len);
    return slice_of(key, len + table.len);
}

void sections_classify(struct topology_build *b)
{
    const struct load *l = b->l;
    struct hashmap seen;
    hashmap_init(&seen);
    b->refs = arena_alloc(l->arena, (l->file->n_sections + 1) * sizeof *b->refs);
    b->n_refs = 0;
    for (size_t i = 0; i < l->file->n_sections; i++) {
        struct section_ref *ref = &b->refs[b->n_refs];
        if (!parse_heading(l, &l->file->sections[i], ref))
            continue;
        struct slice key = section_key(l->arena, ref);
        const struct section_ref *first = hashmap_get(&seen, key);
        if (first) {
            load_error(l, ref->section->line, "section [%s] repeats [%s] of line %d", ref->section->name,
                       first->section->name, first->section->line);
            continue;
        }
        hashmap_put(&seen, key, ref);
        b->n_refs++;
    }
    hashmap_free(&seen, NULL);
}
