/*
 * PostgreSQL's own scanner as the oracle for the lexer. oracle_compare() lexes a text both ways and says what
 * differs:
 *  - a text that the scanner accepts is accepted, with the same literals at the same places;
 *  - what the scanner calls unterminated fails with the same words;
 *  - the statement rendered from its template has the scanner's tokens, and each token's offset maps to that
 *    token.
 * The lexer stops at the first semicolon outside of parentheses; so does the comparison.
 */
#ifndef PGUNISON_TEST_SCAN_ORACLE_H
#define PGUNISON_TEST_SCAN_ORACLE_H

#include "render.h"
#include "sql/template.h"
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

struct oracle_tokens {
    PgQuery__ScanToken **items; /* no comments; of the first statement */
    size_t n;
    PgQuery__ScanResult *owner;
};

/* False: the scanner refuses the text; its message is in message_r. */
static inline bool oracle_scan(const char *sql, struct oracle_tokens *r, char *message_r, size_t size)
{
    PgQueryScanResult scan = pg_query_scan(sql);
    if (scan.error) {
        snprintf(message_r, size, "%s", scan.error->message);
        pg_query_free_scan_result(scan);
        return false;
    }
    r->owner = pg_query__scan_result__unpack(NULL, scan.pbuf.len, (const uint8_t *)scan.pbuf.data);
    pg_query_free_scan_result(scan);
    r->items = r->owner->tokens;
    r->n = 0;
    int depth = 0;
    for (size_t i = 0; i < r->owner->n_tokens; i++) {
        PgQuery__ScanToken *t = r->owner->tokens[i];
        /* libpg_query does not know where U&'...' ends; white space before the next token is taken off later.
         */
        if (t->token == PG_QUERY__TOKEN__USCONST)
            t->end = i + 1 < r->owner->n_tokens ? r->owner->tokens[i + 1]->start : (int32_t)strlen(sql);
        if (t->token == PG_QUERY__TOKEN__SQL_COMMENT || t->token == PG_QUERY__TOKEN__C_COMMENT)
            continue;
        if (t->token == PG_QUERY__TOKEN__ASCII_40)
            depth++;
        else if (t->token == PG_QUERY__TOKEN__ASCII_41)
            depth -= depth > 0;
        else if (t->token == PG_QUERY__TOKEN__ASCII_59 && depth == 0)
            break;
        /* Keep the array a permutation, so that unpacking frees every token. */
        r->owner->tokens[i] = r->items[r->n];
        r->items[r->n++] = t;
    }
    /* With parentheses left open there is no statement; whether a last semicolon belongs to it is of no
     * consequence. */
    while (r->n > 0 && r->items[r->n - 1]->token == PG_QUERY__TOKEN__ASCII_59)
        r->n--;
    return true;
}

static inline void oracle_free(struct oracle_tokens *t)
{
    pg_query__scan_result__free_unpacked(t->owner, NULL);
}

static inline bool oracle_is_unicode(PgQuery__Token token)
{
    return token == PG_QUERY__TOKEN__USCONST || token == PG_QUERY__TOKEN__UIDENT;
}

/* The string of a UESCAPE clause stays in the template. */
static inline bool oracle_is_literal(const struct oracle_tokens *t, size_t i)
{
    switch (t->items[i]->token) {
    case PG_QUERY__TOKEN__SCONST:
        return i < 2 || t->items[i - 1]->token != PG_QUERY__TOKEN__UESCAPE ||
               !oracle_is_unicode(t->items[i - 2]->token);
    case PG_QUERY__TOKEN__ICONST:
    case PG_QUERY__TOKEN__FCONST:
    case PG_QUERY__TOKEN__USCONST:
    case PG_QUERY__TOKEN__BCONST:
    case PG_QUERY__TOKEN__XCONST:
        return true;
    default:
        return false;
    }
}

/* The scanner's end of a string may lie behind white space that follows it. */
static inline struct slice oracle_text(const char *sql, const PgQuery__ScanToken *t)
{
    size_t from = (size_t)t->start, to = (size_t)t->end;
    while (to > from && strchr(" \t\r\n\f", sql[to - 1]))
        to--;
    return slice_of(sql + from, to - from);
}

static inline bool oracle_differs(char *why_r, size_t size, const char *what, size_t at)
{
    snprintf(why_r, size, "%.500s, token %zu", what, at);
    return false;
}

static inline bool oracle_same_literals(const char *sql, const struct oracle_tokens *want,
                                        const struct template *t, char *why_r, size_t size)
{
    uint32_t n = 0;
    for (size_t i = 0; i < want->n; i++) {
        if (!oracle_is_literal(want, i))
            continue;
        struct slice text = oracle_text(sql, want->items[i]);
        if (n == t->n_literals)
            return oracle_differs(why_r, size, "a literal was missed", i);
        const struct literal *l = &t->literals[n++];
        if (l->at != (size_t)want->items[i]->start || l->len != text.len)
            return oracle_differs(why_r, size, "a literal has other bounds", i);
    }
    return n == t->n_literals || oracle_differs(why_r, size, "too many literals", want->n);
}

static inline bool oracle_same_rendering(const char *sql, const struct oracle_tokens *want,
                                         const struct template *t, char *why_r, size_t size)
{
    struct buf out;
    struct oracle_tokens got;
    bool same = true;
    buf_init(&out);
    render(&(struct rewrite){0}, t, &out);
    buf_u8(&out, '\0');
    if (!oracle_scan((const char *)out.data, &got, why_r, size)) {
        buf_free(&out);
        return false;
    }
    if (got.n != want->n)
        same = oracle_differs(why_r, size, "other number of rendered tokens", got.n);
    for (size_t i = 0; same && i < want->n; i++) {
        struct slice text = oracle_text(sql, want->items[i]);
        if (got.items[i]->token != want->items[i]->token ||
            !slice_eq(text, oracle_text((const char *)out.data, got.items[i])))
            same = oracle_differs(why_r, size, "another rendered token", i);
    }
    for (size_t i = 0; same && i < want->n; i++) {
        struct slice text = oracle_text(sql, want->items[i]);
        uint32_t at = (uint32_t)want->items[i]->start;
        buf_clear(&out);
        rewrite_render_span(t, rewrite_template_offset(t, at),
                            rewrite_template_offset(t, at + (uint32_t)text.len), &out);
        if (!slice_eq(text, buf_slice(&out)))
            same = oracle_differs(why_r, size, "an offset maps elsewhere", i);
    }
    oracle_free(&got);
    buf_free(&out);
    return same;
}

/* A string that is continued behind a -- comment: the server reads one token there, libpg_query's scanner
   (changed to report comments) reads two, and may then take the rest of the text for something else. */
static inline bool oracle_misreads(const char *sql)
{
    for (const char *quote = strchr(sql, '\''); quote; quote = strchr(quote + 1, '\'')) {
        bool comment = false;
        const char *p = quote + 1;
        for (;;) {
            p += strspn(p, " \t\r\n\f");
            if (strncmp(p, "--", 2) != 0)
                break;
            comment = true;
            p += strcspn(p, "\r\n");
        }
        if (comment && *p == '\'')
            return true;
    }
    return false;
}

/* True: both agree. The lexer refuses more than the scanner (control characters, odd UESCAPE clauses): these
 * agree, too. */
static inline bool oracle_compare(const char *sql, struct template *t, char *why_r, size_t size)
{
    struct error error = {0};
    struct oracle_tokens want;
    char message[4096];
    enum status status = template_lex(t, slice_str(sql), &error);
    bool stricter = status != STATUS_OK && (strncmp(error.message, "syntax error", 12) == 0 ||
                                            strncmp(error.message, "UESCAPE", 7) == 0);
    if (stricter || strcasestr(sql, "atomic") || oracle_misreads(sql))
        return true;
    if (!oracle_scan(sql, &want, message, sizeof(message))) {
        if (strncmp(message, "unterminated", 12) != 0)
            return true; /* the lexer leaves it to the parser */
        if (status == STATUS_OK && strchr(sql, ';'))
            return true; /* it may be in a later statement */
        if (status == STATUS_OK)
            return oracle_differs(why_r, size, message, 0);
        size_t same = strcspn(error.message, "\"");
        return strncmp(error.message, message, same) == 0 || oracle_differs(why_r, size, message, 0);
    }
    bool ok;
    if (status != STATUS_OK)
        ok = oracle_differs(why_r, size, error.message, 0);
    else
        ok = oracle_same_literals(sql, &want, t, why_r, size) &&
             oracle_same_rendering(sql, &want, t, why_r, size);
    oracle_free(&want);
    return ok;
}

#endif
