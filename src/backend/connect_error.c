/*
 * libpq has no SQLSTATE for a failed connect, but under PQERRORS_VERBOSE it writes the server's into the text
 * (fe-protocol3.c, pqBuildErrorMessage3):
 *
 *     connection to server at "10.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed
 *     DETAIL:  ...
 *     HINT:  ...
 *     LOCATION:  auth_failed, auth.c:340
 *
 * The text may hold several such paragraphs (sslmode = prefer tries twice); the last one counts. Only the
 * first place after "failed: " that looks like a SQLSTATE is believed, so names chosen by users later in the
 * line cannot pose as one. A text of any other shape is a failure to connect.
 */
#include "connect_error.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *last_paragraph(const char *text)
{
    static const char begin[] = "connection to server ";
    const char *found = text;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, begin, sizeof(begin) - 1) == 0)
            found = line;
        if (*line == '\0')
            break;
    }
    return found;
}

static bool is_sqlstate(const char *s)
{
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)s[i]) && !(s[i] >= 'A' && s[i] <= 'Z'))
            return false;
    }
    return true;
}

/* "SEVERITY:  XXXXX: " at the beginning of s. The severity is one word in the server's language. */
static const char *server_sqlstate(const char *s)
{
    size_t word = strcspn(s, ": \n");
    const char *at = s + word;
    if (word == 0 || strncmp(at, ":  ", 3) != 0)
        return NULL;
    at += 3;
    return is_sqlstate(at) && at[5] == ':' && at[6] == ' ' ? at : NULL;
}

/* Copies one field: up to the line that begins the next field; newlines and tabs inside become blanks. */
static void copy_field(char *out, size_t size, const char *from)
{
    static const char *const fields[] = {"DETAIL:  ", "HINT:  ", "CONTEXT:  ", "LOCATION:  "};
    size_t n = 0;
    for (const char *c = from; *c && n + 1 < size; c++) {
        if (*c == '\n') {
            for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
                if (strncmp(c + 1, fields[i], strlen(fields[i])) == 0)
                    goto end;
            }
        }
        bool blank = *c == '\n' || *c == '\t' || *c == ' ';
        if (!blank)
            out[n++] = *c;
        else if (n > 0 && out[n - 1] != ' ')
            out[n++] = ' ';
    }
end:
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

static void copy_named(char *out, size_t size, const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (at && at > text && at[-1] == '\n')
        copy_field(out, size, at + strlen(name));
}

void connect_error_parse(const char *shard, const char *text, struct error *error_r)
{
    const char *paragraph = last_paragraph(text);
    const char *failed = strstr(paragraph, "failed: ");
    const char *sqlstate = server_sqlstate(failed ? failed + strlen("failed: ") : paragraph);
    char message[sizeof(error_r->message)];

    if (sqlstate) {
        char code[6];
        snprintf(code, sizeof(code), "%.5s", sqlstate);
        copy_field(message, sizeof(message), sqlstate + 7);
        if (strncmp(code, "28", 2) == 0)
            (void)error_set(error_r, code, "%s", message);
        else
            (void)error_set(error_r, code, "could not connect to shard \"%s\": %s", shard, message);
        copy_named(error_r->detail, sizeof(error_r->detail), paragraph, "DETAIL:  ");
        copy_named(error_r->hint, sizeof(error_r->hint), paragraph, "HINT:  ");
        if (error_r->detail[0] == '\0')
            error_detail(error_r, "Shard \"%s\" refused the connection.", shard);
        return;
    }
    size_t first = strcspn(paragraph, "\n");
    const char *rest = paragraph + first;
    snprintf(message, sizeof(message), "%.*s", (int)(first < sizeof(message) ? first : sizeof(message) - 1),
             paragraph);
    /* This machine's fault, which says nothing of the shard. */
    bool local = strstr(message, "could not create socket") != NULL;
    (void)error_set(error_r, local ? SQLSTATE_NO_RESOURCES : SQLSTATE_CONNECTION_FAILURE,
                    "could not connect to shard \"%s\": %s", shard,
                    *message ? message : "the reason is not known");
    if (strncmp(rest, "\n\t", 2) == 0) /* "Is the server running on that host ...?" */
        copy_field(error_r->hint, sizeof(error_r->hint), rest);
}
