/*
 * The auth_file: lines of "name" "secret". Lines may have any length (a SCRAM verifier alone has 133 bytes),
 * so this is not read by inih. Messages name the user, never the secret.
 */
#include "conf/userlist.h"

#include "load.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_BYTES 63 /* NAMEDATALEN - 1 */

const struct user *userlist_find(const struct userlist *ul, const char *name)
{
    return hashmap_get(&ul->by_name, slice_str(name));
}

static void skip_blanks(const char **p)
{
    while (isspace((unsigned char)**p))
        (*p)++;
}

/* "text", a quote inside doubled; *p moves behind it. NULL: not that. */
static char *quoted(struct arena *a, const char **p)
{
    const char *s = *p;
    if (*s++ != '"')
        return NULL;
    char *text = arena_alloc(a, strlen(s) + 1), *to = text;
    for (; *s; s++) {
        if (*s == '"' && *++s != '"') {
            *to = '\0';
            *p = s;
            return text;
        }
        *to++ = *s;
    }
    return NULL;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 with padding, all of [s, end); false: not that, or longer than max. */
static bool base64_decode(const char *s, const char *end, uint8_t *out, size_t max, size_t *len_r)
{
    size_t n = 0;
    if ((end - s) % 4 != 0)
        return false;
    for (; s < end; s += 4) {
        uint32_t bits = 0;
        int bytes = 3;
        for (int i = 0; i < 4; i++) {
            bool padding = s[i] == '=' && s + 4 == end && i >= 2 && (i == 3 || s[3] == '=');
            int digit = padding ? 0 : base64_digit(s[i]);
            if (digit < 0)
                return false;
            bytes -= padding;
            bits = bits << 6 | (uint32_t)digit;
        }
        for (int i = 0; i < bytes; i++) {
            if (n == max)
                return false;
            out[n++] = (uint8_t)(bits >> (16 - 8 * i));
        }
    }
    *len_r = n;
    return true;
}

/* <iterations>:<salt>$<StoredKey>:<ServerKey>, behind "SCRAM-SHA-256$" */
static bool parse_scram(const char *s, struct user *u)
{
    uint64_t iterations = 0;
    size_t len;
    for (; isdigit((unsigned char)*s) && iterations <= INT32_MAX; s++)
        iterations = iterations * 10 + (uint64_t)(*s - '0');
    if (iterations == 0 || iterations > INT32_MAX || *s++ != ':')
        return false;
    u->iterations = (uint32_t)iterations;
    const char *dollar = strchr(s, '$');
    if (!dollar || !base64_decode(s, dollar, u->salt, sizeof u->salt, &u->salt_len) || u->salt_len == 0)
        return false;
    const char *colon = strchr(dollar, ':');
    if (!colon || !base64_decode(dollar + 1, colon, u->stored_key, sizeof u->stored_key, &len) ||
        len != sizeof u->stored_key)
        return false;
    const char *end = colon + strlen(colon);
    return base64_decode(colon + 1, end, u->server_key, sizeof u->server_key, &len) &&
           len == sizeof u->server_key;
}

static bool is_md5(const char *secret)
{
    return strncmp(secret, "md5", 3) == 0 && strlen(secret) == 35 &&
           strspn(secret + 3, "0123456789abcdef") == 32;
}

struct reading {
    const char *path;
    struct arena *arena;
    struct problems *problems;
    struct userlist *users;
    struct hashmap lines; /* name -> its line number */
};

static void read_line(struct reading *r, const char *line, int line_no)
{
    const char *p = line;
    skip_blanks(&p);
    if (!*p || *p == ';' || *p == '#')
        return;
    struct user *u = arena_zalloc(r->arena, sizeof *u);
    u->name = quoted(r->arena, &p);
    skip_blanks(&p);
    u->secret = u->name ? quoted(r->arena, &p) : NULL;
    skip_blanks(&p);
    if (!u->name || !u->secret || *p) {
        problem_add(r->problems, PROBLEM_ERROR, r->path, line_no,
                    "line is not \"name\" \"secret\", both in double quotes");
        return;
    }
    size_t len = strlen(u->name);
    if (len == 0 || len > NAME_MAX_BYTES) {
        problem_add(r->problems, PROBLEM_ERROR, r->path, line_no,
                    "name of a user has %zu bytes; allowed are 1 to %d", len, NAME_MAX_BYTES);
        return;
    }
    const char *scram = "SCRAM-SHA-256$";
    if (strncmp(u->secret, scram, strlen(scram)) == 0) {
        u->kind = SECRET_SCRAM;
        if (!parse_scram(u->secret + strlen(scram), u)) {
            problem_add(r->problems, PROBLEM_ERROR, r->path, line_no,
                        "secret of \"%s\" begins like a SCRAM verifier, but is not "
                        "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>",
                        u->name);
            return;
        }
    } else {
        u->kind = is_md5(u->secret) ? SECRET_MD5 : SECRET_PLAIN;
    }
    int *first = hashmap_get(&r->lines, slice_str(u->name));
    if (first) {
        problem_add(r->problems, PROBLEM_ERROR, r->path, line_no, "user \"%s\" was already listed in line %d",
                    u->name, *first);
        return;
    }
    first = arena_alloc(r->arena, sizeof *first);
    *first = line_no;
    hashmap_put(&r->lines, slice_str(u->name), first);
    hashmap_put(&r->users->by_name, slice_str(u->name), u);
}

void userlist_load(const char *path, bool required, struct arena *arena, struct problems *problems,
                   struct userlist *users)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        if (required || errno != ENOENT)
            problem_add(problems, PROBLEM_ERROR, path, 0, "auth_file cannot be opened: %s", strerror(errno));
        return;
    }
    struct reading r = {.path = path, .arena = arena, .problems = problems, .users = users};
    hashmap_init(&r.lines);
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    for (int line_no = 1; (len = getline(&line, &cap, f)) >= 0; line_no++) {
        if (memchr(line, '\0', (size_t)len))
            problem_add(problems, PROBLEM_ERROR, path, line_no, "line contains a zero byte");
        else
            read_line(&r, line, line_no);
    }
    if (ferror(f))
        problem_add(problems, PROBLEM_ERROR, path, 0, "auth_file cannot be read: %s", strerror(errno));
    if (line)
        explicit_bzero(line, cap);
    free(line);
    hashmap_free(&r.lines, NULL);
    fclose(f);
}

void userlist_free(struct userlist *ul)
{
    hashmap_free(&ul->by_name, NULL);
}
