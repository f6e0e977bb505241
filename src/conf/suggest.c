/*
 * "Did you mean": the candidate with the smallest edit distance (insert, delete, replace, swap neighbours;
 * letters of either case are equal), if at most a third of the word is wrong. Names longer than NAME_MAX_LEN
 * get no suggestion, which bounds the work.
 */
#include "suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_LEN 64

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment distance; three rows are enough, the third for swaps. */
static size_t distance(const char *a, size_t la, const char *b, size_t lb)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = rows[i % 3], *before = rows[(i + 2) % 3], *before2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            row[j] = min3(before[j] + 1, row[j - 1] + 1, before[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1));
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]) &&
                before2[j - 2] + 1 < row[j])
                row[j] = before2[j - 2] + 1;
        }
    }
    return rows[la % 3][lb];
}

void suggest_init(struct suggest *s, const char *word)
{
    size_t len = strlen(word);
    /* distance: the first one that is too far */
    *s = (struct suggest){.word = word, .best = NULL, .distance = len < 3 ? 2 : len / 3 + 1};
}

void suggest_offer(struct suggest *s, const char *candidate)
{
    size_t lw = strlen(s->word), lc = strlen(candidate);
    if (lw == 0 || lc == 0 || lw > NAME_MAX_LEN || lc > NAME_MAX_LEN)
        return;
    size_t d = distance(s->word, lw, candidate, lc);
    if (d < s->distance && d < lc) {
        s->distance = d;
        s->best = candidate;
    }
}

const char *suggest_text(const struct suggest *s, char *buf, size_t size)
{
    if (s->best)
        snprintf(buf, size, "; did you mean \"%s\"?", s->best);
    else
        buf[0] = '\0';
    return buf;
}
