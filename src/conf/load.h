/*
 * Private to conf: what the readers of one configuration share. Everything they build lives in `arena` (the
 * configuration's own); what is wrong goes to `problems`, and reading goes on so that one run finds all of
 * it.
 */
#ifndef PGUNISON_CONF_LOAD_H
#define PGUNISON_CONF_LOAD_H

#include "base/arena.h"
#include "conf/config.h"
#include "ini_file.h"

struct load {
    struct arena *arena;
    struct problems *problems;
    const struct ini_file *file;
    const char *folder; /* the ini file's, absolute: relative paths in it begin there */
};

void problem_add(struct problems *p, enum problem_level level, const char *file, int line, const char *fmt,
                 ...) PRINTF_LIKE(5, 6);
/* Puts the problems from index `from` on in the order of their lines. */
void problems_sort(struct problems *p, size_t from);
/* About a line of the ini file. */
void load_error(const struct load *l, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
void load_note(const struct load *l, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A relative path made absolute; empty stays empty. */
const char *load_path(const struct load *l, const char *path);

/* [pgunison]; section NULL: all defaults. */
void settings_load(const struct load *l, const struct ini_section *section, struct settings *settings_r);
/* What no single setting can be wrong about. lines[i]: where setting i was set. */
void settings_check(const struct load *l, const struct settings *s, const int *lines);
/* Every other section. The hash maps of what is built need topology_free(). */
void topology_load(const struct load *l, struct topology *topology_r);
void topology_free(struct topology *t);
/* Adds to users, which is initialised. A file that does not exist is an empty list unless it is required. */
void userlist_load(const char *path, bool required, struct arena *arena, struct problems *problems,
                   struct userlist *users);
void userlist_free(struct userlist *ul);

#endif
