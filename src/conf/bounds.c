/*
 * [ranges DATABASE.TABLE] and [lists DATABASE.TABLE]: SHARD = LOWER .. UPPER, and SHARD = VALUE, VALUE,
 * DEFAULT.
 *
 * A value is text up to the next separator, or stands in 'single quotes', a quote inside doubled, where it
 * may contain separators or spell a keyword. Whether ranges overlap or leave gaps depends on the column's
 * type and is checked where that is known (route/bucket_map.h); here only what is wrong for every type.
 */
#include "names.h"
#include "topology_build.h"
#include <stdio.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Where the separator stands outside quotes, or the text's end. */
static const char *find_separator(const char *p, const char *separator)
{
    bool quoted = false;
    size_t len = strlen(separator);
    for (; *p; p++) {
        if (*p == '\'')
            quoted = !quoted;
        else if (!quoted && strncmp(p, separator, len) == 0)
            break;
    }
    return p;
}

/* The value in [p, end); keyword: matched without quotes, then *is_keyword_r is set and the value NULL. NULL
 * without it: why. */
static const char *parse_value(struct arena *a, const char *p, const char *end, const char *keyword,
                               bool *is_keyword_r, const char **why)
{
    while (p < end && is_blank(*p))
        p++;
    while (end > p && is_blank(end[-1]))
        end--;
    size_t len = (size_t)(end - p);
    *is_keyword_r = len == strlen(keyword) && strncasecmp(p, keyword, len) == 0;
    if (*is_keyword_r)
        return NULL;
    if (len == 0) {
        *why = "a value is missing; the empty string is written ''";
        return NULL;
    }
    if (*p != '\'') {
        if (memchr(p, '\'', len)) {
            *why = "a quote stands inside a value; quote all of it, and double the quote";
            return NULL;
        }
        return arena_strndup(a, p, len);
    }
    char *text = arena_alloc(a, len), *to = text;
    for (p++; p < end; p++) {
        if (*p == '\'' && (p + 1 == end || p[1] != '\''))
            break;
        p += *p == '\'';
        *to++ = *p;
    }
    *to = '\0';
    if (p + 1 != end) {
        *why = p >= end ? "a quoted value has no closing quote"
                        : "text stands after the closing quote of a value";
        return NULL;
    }
    return text;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool keyword_is(const char *text, const char *keyword)
{
    return text && strcasecmp(text, keyword) == 0;
}

static void range_entry(struct topology_build *b, const struct database_def *db, struct table_map *m,
                        const int *lines, const struct ini_entry *e)
{
    const struct load *l = b->l;
    const char *why = NULL;
    bool min, max;
    int shard = build_shard_index(b, db, e->name, e->line);
    const char *dots = find_separator(e->value, "..");
    if (shard < 0)
        return;
    if (!*dots || *find_separator(dots + 2, "..")) {
        load_error(l, e->line, "range \"%s\" of shard %s is not LOWER .. UPPER", e->value, e->name);
        return;
    }
    struct range_def r = {.shard = (unsigned)shard};
    r.lower = parse_value(l->arena, e->value, dots, "MINVALUE", &min, &why);
    if (!why)
        r.upper = parse_value(l->arena, dots + 2, dots + strlen(dots), "MAXVALUE", &max, &why);
    if (why) {
        load_error(l, e->line, "range \"%s\" of shard %s: %s", e->value, e->name, why);
        return;
    }
    if (keyword_is(r.lower, "MAXVALUE") || keyword_is(r.upper, "MINVALUE")) {
        load_error(l, e->line,
                   "range \"%s\" of shard %s: MINVALUE can only be the lower bound, MAXVALUE the upper one",
                   e->value, e->name);
        return;
    }
    if (r.lower && same_text(r.lower, r.upper)) {
        load_error(l, e->line, "range \"%s\" of shard %s is empty: the upper bound is not part of it",
                   e->value, e->name);
        return;
    }
    for (size_t i = 0; i < m->n_ranges; i++) {
        if (same_text(m->ranges[i].lower, r.lower) || same_text(m->ranges[i].upper, r.upper)) {
            load_error(l, e->line, "range \"%s\" of shard %s overlaps the one in line %d", e->value, e->name,
                       lines[i]);
            return;
        }
    }
    m->ranges[m->n_ranges++] = r;
}

static void list_entry(struct topology_build *b, const struct database_def *db, struct table_map *m,
                       struct hashmap *seen, const struct ini_entry *e)
{
    const struct load *l = b->l;
    int shard = build_shard_index(b, db, e->name, e->line);
    if (shard < 0)
        return;
    for (const char *p = e->value;;) {
        const char *why = NULL, *end = find_separator(p, ",");
        bool is_default;
        const char *value = parse_value(l->arena, p, end, "DEFAULT", &is_default, &why);
        /* values and DEFAULT must not meet in the map: one letter before each */
        struct slice key = slice_str(is_default ? "d" : arena_printf(l->arena, "v%s", value ? value : ""));
        const struct ini_entry *other = hashmap_get(seen, key);
        if (why) {
            load_error(l, e->line, "values of shard %s: %s", e->name, why);
        } else if (other) {
            load_error(l, e->line, "value \"%s\" was already given to shard %s in line %d",
                       is_default ? "DEFAULT" : value, other->name, other->line);
        } else {
            hashmap_put(seen, key, (void *)(uintptr_t)e);
            m->lists[m->n_lists++] = (struct list_def){.value = value, .shard = (unsigned)shard};
        }
        if (!*end)
            return;
        p = end + 1;
    }
}

static void ranges_section(struct topology_build *b, const struct database_def *db,
                           const struct ini_section *section, struct table_map *m)
{
    int *lines = arena_zalloc(b->l->arena, (section->n_entries + 1) * sizeof *lines);
    m->ranges = arena_zalloc(b->l->arena, (section->n_entries + 1) * sizeof *m->ranges);
    for (size_t i = 0; i < section->n_entries; i++) {
        lines[m->n_ranges] = section->entries[i].line;
        range_entry(b, db, m, lines, &section->entries[i]);
    }
}

static void lists_section(struct topology_build *b, const struct database_def *db,
                          const struct ini_section *section, struct table_map *m)
{
    size_t most = 0;
    struct hashmap seen;
    hashmap_init(&seen);
    for (size_t i = 0; i < section->n_entries; i++, most++)
        for (const char *p = section->entries[i].value; *p; p++)
            most += *p == ',';
    m->lists = arena_zalloc(b->l->arena, (most + 1) * sizeof *m->lists);
    for (size_t i = 0; i < section->n_entries; i++)
        list_entry(b, db, m, &seen, &section->entries[i]);
    hashmap_free(&seen, NULL);
}

static void bounds_section(struct topology_build *b, const struct section_ref *ref)
{
    const struct ini_section *section = ref->section;
    struct database_def *db = build_database(b, ref);
    if (!db)
        return;
    bool ranges = ref->kind == SECTION_RANGES;
    struct table_map *m =
        hashmap_get(&db->tables_by_name, build_table_key(b->l->arena, ref->schema, ref->table));
    if (!m || m->method != (ranges ? TABLE_RANGE : TABLE_LIST)) {
        load_error(b->l, section->line, "section [%s]: table \"%s\" is not %s(COLUMN) in [tables %s]",
                   section->name, build_table_text(b->l, ref->schema, ref->table), ranges ? "range" : "list",
                   db->name);
        return;
    }
    if (section->n_entries == 0)
        load_error(b->l, section->line, "section [%s] is empty", section->name);
    if (ranges)
        ranges_section(b, db, section, m);
    else
        lists_section(b, db, section, m);
}

void bounds_load(struct topology_build *b)
{
    for (size_t i = 0; i < b->n_refs; i++)
        if (b->refs[i].kind == SECTION_RANGES || b->refs[i].kind == SECTION_LISTS)
            bounds_section(b, &b->refs[i]);
    for (size_t i = 0; i < b->t->n_databases; i++) {
        const struct database_def *db = &b->t->databases[i];
        for (size_t j = 0; j < db->n_tables; j++) {
            const struct table_map *m = &db->tables[j];
            const char *kind = m->method == TABLE_RANGE ? "ranges" : "lists";
            if ((m->method == TABLE_RANGE && !m->ranges) || (m->method == TABLE_LIST && !m->lists))
                load_error(b->l, m->line, "table \"%s\" needs a section [%s %s.%s%s%s]", m->name, kind,
                           db->name, m->schema ? m->schema : "", m->schema ? "." : "", m->name);
        }
    }
}
