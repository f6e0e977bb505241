/*
 * A configuration that differs from another one in one setting (SET on the console). Topology and users are
 * the other one's, which lives on as long as this one; texts of settings are copied, so that a chain of
 * changes does not keep every link of it.
 */
#include "entries.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

static void copy_texts(struct settings *s, struct arena *arena)
{
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting *row = setting_row(i);
        bool text = row->kind == SETTING_TEXT || row->kind == SETTING_PATH || row->kind == SETTING_NAME ||
                    row->kind == SETTING_WORD;
        const char **field = (const char **)(void *)((char *)s + row->offset);
        if (text)
            *field = arena_strdup(arena, *field);
    }
}

/* Reloading takes these in; alone they would not fit what was read with the old ones. */
static bool is_bound_to_files(const char *name)
{
    return strcmp(name, "auth_file") == 0;
}

static void set_one(const struct load *l, const char *name, const char *value, struct settings *s)
{
    int *lines = arena_zalloc(l->arena, settings_count() * sizeof *lines);
    struct ini_entry entry = {.name = arena_strdup(l->arena, name), .value = arena_strdup(l->arena, value)};
    struct ini_section section = {.name = "pgunison", .entries = &entry, .n_entries = 1};
    entries_load(l, &section, setting_row(0), settings_count(), NULL, s, lines);
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        if (strcmp(info->name, name) == 0 && (!info->on_reload || is_bound_to_files(name)))
            load_error(l, 0, "setting \"%s\" cannot be changed while running%s", name,
                       info->on_reload ? " but by RELOAD" : "");
    }
    settings_check(l, s, lines);
}

struct config *config_with(struct config *base, const char *name, const char *value,
                           struct problems *problems_r)
{
    struct config *root = base->base ? base->base : base;
    struct config *c = xcalloc(1, sizeof *c);
    struct arena *arena = xmalloc(sizeof *arena);
    *problems_r = (struct problems){0};
    arena_init(arena);
    c->memory = arena;
    atomic_init(&c->refs, 1);
    c->base = config_ref(root);
    c->settings = base->settings;
    c->topology = base->topology;
    c->users = base->users;
    c->path = arena_strdup(arena, base->path);
    copy_texts(&c->settings, arena);
    struct ini_file file = {.path = "SET"};
    char *folder = realpath(base->path, NULL);
    struct load l = {
        .arena = arena, .problems = problems_r, .file = &file, .folder = folder ? dirname(folder) : "/"};
    set_one(&l, name, value, &c->settings);
    free(folder);
    if (problems_r->errors > 0)
        config_unref(&c);
    return c;
}
