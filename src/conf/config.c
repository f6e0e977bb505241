/*
 * A configuration as a whole: files, problems, and the reference count that keeps one alive while anybody
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

static void problem_addv(struct problems *p, enum problem_level level, const char *file, int line,
                         const char *fmt, va_list args)
{
    char *text;
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    if ((p->count & (p->count - 1)) == 0) /* full at every power of two */
        p->items = xrealloc(p->items, (p->count ? p->count * 2 : 1) * sizeof *p->items);
    p->items[p->count++] =
        (struct problem){.level = level, .file = xstrdup(file), .line = line, .text = text};
    p->errors += level == PROBLEM_ERROR;
}

void problem_add(struct problems *p, enum problem_level level, const char *file, int line, const char *fmt,
                 ...)
{
    va_list args;
    va_start(args, fmt);
    problem_addv(p, level, file, line, fmt, args);
    va_end(args);
}

void load_error(const struct load *l, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    problem_addv(l->problems, PROBLEM_ERROR, l->file->path, line, fmt, args);
    va_end(args);
}

void load_note(const struct load *l, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    problem_addv(l->problems, PROBLEM_NOTE, l->file->path, line, fmt, args);
    va_end(args);
}

const char *load_path(const struct load *l, const char *path)
{
    if (!*path || *path == '/')
        return arena_strdup(l->arena, path);
    return arena_printf(l->arena, "%s/%s", l->folder, path);
}

void problems_free(struct problems *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].file);
        free(p->items[i].text);
    }
    free(p->items);
    *p = (struct problems){0};
}

/* In the order of the lines of each file; what was found first in one line stays first (insertion keeps the
 * order). */
static void problems_sort(struct problems *p, size_t from)
{
    for (size_t i = from + 1; i < p->count; i++) {
        struct problem moved = p->items[i];
        size_t at = i;
        for (; at > from && p->items[at - 1].line > moved.line; at--)
            p->items[at] = p->items[at - 1];
        p->items[at] = moved;
    }
}

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
