/*
 * Filling struct error. Texts that are too long are cut between characters, as they go to clients, who expect
 * valid UTF-8. Arguments may point into the error that is being filled: wrapping one ("shard s1: %s") is
 * common.
 */
#include "base/error.h"

#include "base/arena.h"
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_TEXT sizeof(((struct error *)NULL)->detail)

/* The largest n' <= n such that text[0 .. n') does not end inside a UTF-8 character. */
static size_t cut_between_characters(const char *text, size_t n)
{
    size_t lead = n;
    while (lead > 0 && n - lead < 4 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
        lead--;
    if (lead == 0)
        return n;
    unsigned char c = (unsigned char)text[lead - 1];
    size_t have = n - (lead - 1);
    size_t want = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
    return have < want ? lead - 1 : n;
}

static void fill(char *to, size_t size, const char *fmt, va_list args)
{
    char text[LONGEST_TEXT];
    assert(size <= sizeof(text));
    int len = vsnprintf(text, size, fmt, args);
    size_t n = len < 0 ? 0 : (size_t)len;
    if (n >= size)
        n = cut_between_characters(text, size - 1);
    memcpy(to, text, n);
    to[n] = '\0';
}

enum status error_set(struct error *error_r, const char *sqlstate, const char *fmt, ...)
{
    char state[sizeof(error_r->sqlstate)];
    snprintf(state, sizeof(state), "%s", sqlstate);

    va_list args;
    va_start(args, fmt);
    fill(error_r->message, sizeof(error_r->message), fmt, args);
    va_end(args);
    memcpy(error_r->sqlstate, state, sizeof(state));
    error_r->detail[0] = '\0';
    error_r->hint[0] = '\0';
    return STATUS_ERROR;
}

void error_detail(struct error *error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(error->detail, sizeof(error->detail), fmt, args);
    va_end(args);
}

void error_hint(struct error *error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(error->hint, sizeof(error->hint), fmt, args);
    va_end(args);
}

void error_keep(struct error **kept, const struct error *e)
{
    if (!*kept)
        *kept = xmalloc(sizeof **kept);
    **kept = *e;
}

void error_drop(struct error **kept)
{
    free(*kept);
    *kept = NULL;
}

bool error_take(struct error **kept, struct error *error_r)
{
    if (!*kept)
        return false;
    *error_r = **kept;
    error_drop(kept);
    return true;
}
