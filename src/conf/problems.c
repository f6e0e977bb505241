/*
 * What is wrong with a configuration: a list of lines of text that every reader adds to.
 */
#include "conf/config.h"
#include "load.h"

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

/* By insertion: what was found first in one line stays first. */
void problems_sort(struct problems *p, size_t from)
{
    for (size_t i = from + 1; i < p->count; i++) {
        struct problem moved = p->items[i];
        size_t at = i;
        for (; at > from && p->items[at - 1].line > moved.line; at--)
            p->items[at] = p->items[at - 1];
        p->items[at] = moved;
    }
}
