/*
 * A configuration as a whole: its files, and the reference count that keeps one alive while anybody
 * works under it.
 *
 * Everything a configuration points to is in one arena of its own, except the hash maps' entries.
 */
#include "conf/config.h"

#include "load.h"
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* The folder the file is in, absolute if that can be found out. */
static const char *folder_of(struct arena *a, const char *path)
{
    char *folder = dirname(arena_strdup(a, path)), *absolute = realpath(folder, NULL);
    if (!absolute)
        return folder;
    folder = arena_strdup(a, absolute);
    free(absolute);
    return folder;
}

static const struct ini_section *find_section(const struct ini_file *f, const char *name)
{
    for (size_t i = 0; i < f->n_sections; i++)
        if (strcmp(f->sections[i].name, name) == 0)
            return &f->sections[i];
    return NULL;
}

static bool sets(const struct ini_section *section, const char *name)
{
    for (size_t i = 0; section && i < section->n_entries; i++)
        if (strcmp(section->entries[i].name, name) == 0)
            return true;
    return false;
}

/* The default auth_file need not be there as long as nobody's password is asked for. */
static void load_users(struct config *c, struct arena *arena, const struct ini_section *section,
                       struct problems *problems)
{
    bool passwords = c->settings.auth_type == AUTH_SCRAM || c->settings.auth_type == AUTH_MD5;
    if (c->settings.auth_file[0])
        userlist_load(c->settings.auth_file, passwords || sets(section, "auth_file"), arena, problems,
                      &c->users);
}

static void config_destroy(struct config *c)
{
    if (!c->base) {
        topology_free(&c->topology);
        userlist_free(&c->users);
    }
    config_unref(&c->base);
    arena_free(c->memory);
    free(c->memory);
    free(c);
}

struct config *config_load(const char *path, struct problems *problems_r)
{
    *problems_r = (struct problems){0};
    struct config *c = xcalloc(1, sizeof *c);
    struct arena *arena = xmalloc(sizeof *arena);
    arena_init(arena);
    c->memory = arena;
    atomic_init(&c->refs, 1);
    hashmap_init(&c->users.by_name);
    c->path = arena_strdup(arena, path);
    struct ini_file file;
    if (ini_file_read(c->path, arena, problems_r, &file)) {
        struct load l = {
            .arena = arena, .problems = problems_r, .file = &file, .folder = folder_of(arena, path)};
        const struct ini_section *section = find_section(&file, "pgunison");
        settings_load(&l, section, &c->settings);
        topology_load(&l, &c->topology);
        problems_sort(problems_r, 0);
        size_t own = problems_r->count;
        load_users(c, arena, section, problems_r);
        problems_sort(problems_r, own);
    }
    if (problems_r->errors > 0) {
        config_destroy(c);
        return NULL;
    }
    return c;
}

struct config *config_ref(struct config *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void config_unref(struct config **c)
{
    /* acq_rel: what others did under it happens before it is freed */
    if (*c && atomic_fetch_sub_explicit(&(*c)->refs, 1, memory_order_acq_rel) == 1)
        config_destroy(*c);
    *c = NULL;
}
