/*
 * Names as SQL folds them, and names that become part of a gid. Unquoted letters outside ASCII are left as
 * they are, as PostgreSQL does in UTF8 databases.
 */
#include "names.h"

#include <stdio.h>

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

void name_skip_blanks(const char **p)
{
    while (**p == ' ' || **p == '\t')
        (*p)++;
}

/* Behind the opening quote. */
static const char *quoted(struct arena *a, const char **p, char *why, size_t size)
{
    const char *s = *p;
    char *name = arena_alloc(a, strlen(s) + 1), *to = name;
    for (;; s++) {
        if (*s == '"' && s[1] == '"')
            s++;
        else if (*s == '"')
            break;
        if (!*s) {
            snprintf(why, size,
                     "quoted name has no closing quote (\"=\", \":\" and \" ;\" cannot stand in a name)");
            return NULL;
        }
        *to++ = *s;
    }
    *to = '\0';
    *p = s + 1;
    if (to == name) {
        snprintf(why, size, "quoted name is empty");
        return NULL;
    }
    return name;
}

static const char *unquoted(struct arena *a, const char **p, bool loose)
{
    const char *s = *p;
    while (is_letter((unsigned char)*s) || (*s == '-' && loose) ||
           ((is_digit((unsigned char)*s) || *s == '$') && (s > *p || loose)))
        s++;
    char *name = arena_strndup(a, *p, (size_t)(s - *p));
    for (char *c = name; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    *p = s;
    return name;
}

const char *name_ident(struct arena *a, const char **p, bool loose, char *why, size_t size)
{
    const char *name;
    if (**p == '"') {
        (*p)++;
        name = quoted(a, p, why, size);
        if (!name)
            return NULL;
    } else {
        name = unquoted(a, p, loose);
        if (!*name) {
            if (**p)
                snprintf(
                    why, size,
                    "expected a name instead of \"%s\"; names with other characters stand in double quotes",
                    *p);
            else
                snprintf(why, size, "expected a name");
            return NULL;
        }
    }
    if (strlen(name) > IDENT_MAX) {
        snprintf(why, size, "name \"%s\" is longer than %d bytes", name, IDENT_MAX);
        return NULL;
    }
    return name;
}

bool name_problem(const char *name, char *buf, size_t size)
{
    size_t len = strlen(name);
    bool ok = len >= 1 && len <= GID_PART_MAX;
    for (size_t i = 0; i < len; i++)
        if (!is_digit((unsigned char)name[i]) && name[i] != '.' && name[i] != '-' &&
            !(is_letter((unsigned char)name[i]) && (unsigned char)name[i] < 0x80))
            ok = false;
    if (!ok)
        snprintf(buf, size, "allowed are 1 to %d letters, digits, \"_\", \".\" and \"-\"", GID_PART_MAX);
    return !ok;
}
