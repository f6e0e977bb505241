/*
 * Taking the entries of a section into the fields of an object by a table of rows: [pgunison], [database] and
 * [shard] are read this way. Here are what a value of each kind may be, how it is stored, and the errors
 * about unknown, repeated and impossible entries.
 *
 * Not responsible for: what the entries mean together.
 */
#include "entries.h"

#include "suggest.h"
#include "value.h"
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* What is allowed, in words. */
static const char *allowed(const struct setting *row, char *buf, size_t size)
{
    struct buf lo, hi;
    buf_init(&lo);
    buf_init(&hi);
    size_t used = 0;
    switch (row->kind) {
    case SETTING_INT:
    case SETTING_INT64:
        snprintf(buf, size, "a whole number from %" PRId64 " to %" PRId64, row->min, row->max);
        break;
    case SETTING_SECONDS:
        snprintf(buf, size, "a time of whole seconds, up to %" PRId64 "s", row->max);
        break;
    case SETTING_MILLIS:
        snprintf(buf, size,
                 "a time of whole milliseconds (also the unit of a plain number), up to %" PRId64 "ms",
                 row->max);
        break;
    case SETTING_OCTAL:
        snprintf(buf, size, "an octal number up to %04" PRIo64, (uint64_t)row->max);
        break;
    case SETTING_WORKERS:
        snprintf(buf, size, "\"auto\" or a whole number from %" PRId64 " to %" PRId64, row->min, row->max);
        break;
    case SETTING_BOOL:
        snprintf(buf, size, "on, off, 1, 0, true, false, yes or no");
        break;
    case SETTING_TIME:
        value_format_time(&lo, (uint64_t)row->min);
        value_format_time(&hi, (uint64_t)row->max);
        snprintf(
            buf, size,
            "a time from %.*s to %.*s: a number with us, ms, s, min, h or d, or without a unit in seconds",
            (int)buf_len(&lo), (const char *)buf_head(&lo), (int)buf_len(&hi), (const char *)buf_head(&hi));
        break;
    case SETTING_SIZE:
        value_format_size(&lo, (uint64_t)row->min);
        snprintf(buf, size,
                 "a size from %.*s to %" PRId64
                 " bytes: a number with kB, MB or GB, or without a unit in bytes",
                 (int)buf_len(&lo), (const char *)buf_head(&lo), row->max);
        break;
    case SETTING_WORD:
    case SETTING_CHOICE:
        for (const struct choice *c = row->choices; c->name && used < size; c++)
            used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? (c[1].name ? ", " : " or ") : "",
                                     c->name);
        break;
    case SETTING_TEXT:
    case SETTING_PATH:
    case SETTING_NAME:
        snprintf(buf, size, "any text");
        break;
    }
    buf_free(&lo);
    buf_free(&hi);
    return buf;
}

static bool in_bounds(const struct setting *row, int64_t v)
{
    return v >= row->min && v <= row->max;
}

static bool set_int(const struct setting *row, int64_t v, void *field)
{
    if (!in_bounds(row, v))
        return false;
    *(int *)field = (int)v;
    return true;
}

/* An int field that counts units of unit_us. */
static bool set_time_int(const struct setting *row, const char *value, uint64_t unit_us, void *field)
{
    uint64_t us;
    return value_time(value, unit_us, &us) && us % unit_us == 0 &&
           set_int(row, (int64_t)(us / unit_us), field);
}

static bool set_choice(const struct setting *row, const char *value, void *field)
{
    for (const struct choice *c = row->choices; c->name; c++) {
        if (strcasecmp(value, c->name) == 0) {
            *(int *)field = c->value;
            return true;
        }
    }
    return false;
}

bool entry_set(const struct load *l, const struct setting *row, const char *value, void *object)
{
    void *field = (char *)object + row->offset;
    int64_t n;
    uint64_t u;
    switch (row->kind) {
    case SETTING_TEXT:
    case SETTING_NAME:
        *(const char **)field = arena_strdup(l->arena, value);
        return true;
    case SETTING_PATH:
        *(const char **)field = load_path(l, value);
        return true;
    case SETTING_WORD:
        for (const struct choice *c = row->choices; c->name; c++) {
            if (strcasecmp(value, c->name) == 0) {
                *(const char **)field = c->name;
                return true;
            }
        }
        return false;
    case SETTING_WORKERS:
        if (strcasecmp(value, "auto") == 0) {
            *(int *)field = 0;
            return true;
        }
        return value_int(value, &n) && set_int(row, n, field);
    case SETTING_INT:
        return value_int(value, &n) && set_int(row, n, field);
    case SETTING_INT64:
        if (!value_int(value, &n) || !in_bounds(row, n))
            return false;
        *(int64_t *)field = n;
        return true;
    case SETTING_OCTAL:
        return value_octal(value, &n) && set_int(row, n, field);
    case SETTING_BOOL:
        return value_bool(value, field);
    case SETTING_SECONDS:
        return set_time_int(row, value, US_PER_S, field);
    case SETTING_MILLIS:
        return set_time_int(row, value, US_PER_MS, field);
    case SETTING_TIME:
    case SETTING_SIZE:
        if (!(row->kind == SETTING_TIME ? value_time(value, US_PER_S, &u) : value_size(value, &u)) ||
            !in_bounds(row, (int64_t)u))
            return false;
        *(uint64_t *)field = u;
        return true;
    case SETTING_CHOICE:
        return set_choice(row, value, field);
    }
    return false;
}

static const struct setting *find_row(const struct setting *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].info.name, name) == 0)
            return &rows[i];
    return NULL;
}

static void unknown_entry(const struct load *l, const struct ini_section *section, const struct setting *rows,
                          size_t n, const struct ini_entry *e)
{
    char text[SUGGEST_TEXT_MAX];
    struct suggest s;
    suggest_init(&s, e->name);
    for (size_t i = 0; i < n; i++)
        suggest_offer(&s, rows[i].info.name);
    load_error(l, e->line, "unknown setting \"%s\" in [%s]%s", e->name, section->name,
               suggest_text(&s, text, sizeof text));
}

void entries_load(const struct load *l, const struct ini_section *section, const struct setting *rows,
                  size_t n, entry_unknown *elsewhere, void *object, int *lines)
{
    for (size_t i = 0; i < section->n_entries; i++) {
        const struct ini_entry *e = &section->entries[i];
        const struct setting *row = find_row(rows, n, e->name);
        char text[256];
        if (!row) {
            if (!elsewhere || !elsewhere(l, e))
                unknown_entry(l, section, rows, n, e);
        } else if (lines[row - rows]) {
            load_error(l, e->line, "setting \"%s\" was already set in line %d", e->name, lines[row - rows]);
        } else {
            lines[row - rows] = e->line;
            if (!entry_set(l, row, e->value, object))
                load_error(l, e->line, "setting \"%s\" cannot be \"%s\"; allowed is %s", e->name, e->value,
                           allowed(row, text, sizeof text));
        }
    }
}
