/*
 * Reading an ini file with inih.
 *
 * inih splits a line into name and value. What it does not report is found here, in the function that feeds it
 * lines:
 *
 *   line numbers    inih (as Debian builds it) does not pass them to its handler. The feeder hands over one line at a
 *                   time, and the handler runs before inih asks for the next one, so the last line fed is it.
 *   long lines      inih cuts them at 199 bytes and reads the rest as another line. Here they are a problem of their
 *                   own, and inih gets an empty line instead.
 *   section names   inih cuts them at 49 bytes and does not report empty sections. They are taken from the line itself.
 *   continuation    inih reports an indented line as a second value of the name before, cut at 49 bytes, with its
 *                   comment still on it. Its indentation distinguishes it from a repeated name; it is joined with a
 *                   blank. An indented line that reads like a setting or a section would silently become part of the
 *                   value above it: that is a problem.
 *   rejected lines  inih returns the number of the first one only. A line that is neither blank, comment nor section
 *                   and for which the handler did not run was rejected.
 *
 * Not responsible for: what names and values mean.
 */
#include "ini_file.h"

#include "load.h"
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

struct reader {
    struct ini_file *file;
    struct arena *arena;
    struct problems *problems;
    FILE *stream;
    char *line; /* getline's */
    size_t line_cap;
    int line_no;
    bool has_entry;  /* the section has one: an indented line continues it */
    bool in_section; /* false after a bad section line too: its entries are not judged */
    bool continues;  /* the line fed last is indented and has_entry */
    bool wants_handler;
};

static bool blank(char c)
{
    return isspace((unsigned char)c) != 0;
}

static const char *skip_blanks(const char *s)
{
    while (*s && blank(*s))
        s++;
    return s;
}

static void *grow(struct arena *arena, void *items, size_t count, size_t *cap, size_t item_size)
{
    if (count < *cap)
        return items;
    *cap = *cap ? *cap * 2 : 8;
    void *grown = arena_alloc(arena, *cap * item_size);
    if (count)
        memcpy(grown, items, count * item_size);
    return grown;
}

static void section_add(struct reader *r, const char *name)
{
    struct ini_file *f = r->file;
    f->sections = grow(r->arena, f->sections, f->n_sections, &f->cap_sections, sizeof *f->sections);
    f->sections[f->n_sections++] = (struct ini_section){.name = name, .line = r->line_no};
    r->has_entry = false;
    r->in_section = true;
}

/* "[name] ; comment". The closing bracket may not stand in a quoted name. */
static void section_line(struct reader *r, const char *s)
{
    const char *end = s + 1;
    bool quoted = false;
    for (; *end && (quoted || *end != ']'); end++)
        if (*end == '"')
            quoted = !quoted;
    r->in_section = r->has_entry = false;
    if (*end != ']') {
        problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no, "section has no closing \"]\"");
        return;
    }
    const char *rest = skip_blanks(end + 1);
    if (*rest && *rest != ';') {
        problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no,
                    "unexpected \"%s\" after the section", rest);
        return;
    }
    const char *begin = skip_blanks(s + 1);
    while (end > begin && blank(end[-1]))
        end--;
    section_add(r, arena_strndup(r->arena, begin, begin < end ? (size_t)(end - begin) : 0));
}

/* The line inih was given last has been dealt with: did it understand it? */
static void finish_line(struct reader *r)
{
    if (r->wants_handler)
        problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no,
                    "line is neither a [section], nor \"name = value\", nor a comment (; or # first)");
    r->wants_handler = false;
}

/* Whether the line may be given to inih as it is; else the reason is reported. */
static bool line_acceptable(struct reader *r, size_t len)
{
    if (memchr(r->line, '\0', len)) {
        problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no, "line contains a zero byte");
        return false;
    }
    if (len > INI_LINE_MAX) {
        problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no,
                    "line is %zu bytes long, at most %d are allowed; a value may go on in the next line if "
                    "that begins "
                    "with a blank",
                    len, INI_LINE_MAX);
        return false;
    }
    return true;
}

/* inih's ini_reader: one line without its end. */
static char *feed_line(char *str, int num, void *stream)
{
    struct reader *r = stream;
    finish_line(r);
    ssize_t got = getline(&r->line, &r->line_cap, r->stream);
    if (got < 0)
        return NULL;
    r->line_no++;
    r->continues = false;
    size_t len = (size_t)got;
    if (len && r->line[len - 1] == '\n')
        len--;
    if (len && r->line[len - 1] == '\r')
        len--;
    r->line[len] = '\0';
    if (r->line_no == 1 && len >= 3 && memcmp(r->line, "\xef\xbb\xbf", 3) == 0) {
        len -= 3;
        memmove(r->line, r->line + 3, len + 1);
    }
    str[0] = '\0';
    if (!line_acceptable(r, len) || len >= (size_t)num)
        return str;
    const char *s = skip_blanks(r->line);
    if (*s && *s != ';' && *s != '#') {
        r->continues = s > r->line && r->has_entry;
        r->wants_handler = r->continues || *s != '[';
        if (*s == '[' && !r->continues)
            section_line(r, s);
    }
    memcpy(str, r->line, len + 1);
    return str;
}

/* Does a continuation read as if it were meant to stand for itself: "name =", "[word]" or "[word name]"? */
static bool looks_like_its_own(const char *s)
{
    if (*s == '[') {
        s++;
        while (isalpha((unsigned char)*s))
            s++;
        return *s == ']' || (blank(*s) && strchr(s, ']'));
    }
    if (*s == '"') {
        s = strchr(s + 1, '"');
        if (!s)
            return false;
        s++;
    }
    while (*s && !blank(*s) && !strchr("=,()'\"", *s))
        s++;
    return *skip_blanks(s) == '=';
}

static void continuation(struct reader *r, const char *value)
{
    struct ini_section *section = &r->file->sections[r->file->n_sections - 1];
    struct ini_entry *e = &section->entries[section->n_entries - 1];
    if (looks_like_its_own(value)) {
        problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no,
                    "line begins with a blank and therefore continues \"%s\" of line %d; remove the blank if "
                    "it is meant "
                    "to stand for itself",
                    e->name, e->line);
        return;
    }
    size_t len = 0; /* inih left the comment on it */
    while (value[len] && !(value[len] == ';' && (len == 0 || blank(value[len - 1]))))
        len++;
    while (len && blank(value[len - 1]))
        len--;
    if (len)
        e->value = arena_printf(r->arena, "%s%s%.*s", e->value, e->value[0] ? " " : "", (int)len, value);
}

/* inih's ini_handler. Its section is not used: it may have been cut. */
static int take_entry(void *user, const char *section_name, const char *name, const char *value)
{
    (void)section_name;
    struct reader *r = user;
    r->wants_handler = false;
    if (r->continues) {
        continuation(r, value);
        return 1;
    }
    if (!r->in_section) {
        if (r->file->n_sections == 0)
            problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no,
                        "\"%s\" stands before any [section]", name);
        return 1;
    }
    if (!*name) {
        problem_add(r->problems, PROBLEM_ERROR, r->file->path, r->line_no, "no name before \"=\"");
        r->has_entry = false;
        return 1;
    }
    struct ini_section *section = &r->file->sections[r->file->n_sections - 1];
    section->entries =
        grow(r->arena, section->entries, section->n_entries, &section->cap_entries, sizeof *section->entries);
    section->entries[section->n_entries++] = (struct ini_entry){
        .name = arena_strdup(r->arena, name), .value = arena_strdup(r->arena, value), .line = r->line_no};
    r->has_entry = true;
    bool hash = value[0] == '#' || strstr(value, " #");
    if (hash)
        problem_add(r->problems, PROBLEM_NOTE, r->file->path, r->line_no,
                    "\"#\" is part of the value of \"%s\"; a comment after a value begins with \";\"", name);
    return 1;
}

bool ini_file_read(const char *path, struct arena *arena, struct problems *problems, struct ini_file *file_r)
{
    *file_r = (struct ini_file){.path = path};
    struct reader r = {.file = file_r, .arena = arena, .problems = problems};
    r.stream = fopen(path, "re");
    if (!r.stream) {
        problem_add(problems, PROBLEM_ERROR, path, 0, "cannot be opened: %s", strerror(errno));
        return false;
    }
    int rc = ini_parse_stream(feed_line, &r, take_entry, &r);
    bool ok = true;
    if (ferror(r.stream)) {
        problem_add(problems, PROBLEM_ERROR, path, 0, "cannot be read: %s", strerror(errno));
        ok = false;
    } else if (rc < 0) {
        problem_add(problems, PROBLEM_ERROR, path, 0, "the ini parser gave up (code %d)", rc);
        ok = false;
    }
    free(r.line);
    fclose(r.stream);
    return ok;
}
