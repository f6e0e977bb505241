/*
 * One text, several statements. The server parses the whole text before it runs anything; its grammar alone
 * decides where a statement ends. The lexer knows that, too (a semicolon outside of parentheses, which also
 * covers the list of commands of CREATE RULE), except in the body of CREATE FUNCTION ... BEGIN ATOMIC ...
 * END: then the parser is asked. A text that the parser refuses is split by the lexer, so that the error is
 * reported for the statement that has it.
 */
#include "lex.h"

#include "base/arena.h"
#include "pg_query.h"
#include <stdlib.h>

struct parts {
    struct slice *items;
    size_t n, cap;
};

static void add(struct parts *parts, struct slice part)
{
    if (parts->n == parts->cap) {
        parts->cap = parts->cap ? parts->cap * 2 : 8;
        parts->items = xrealloc(parts->items, parts->cap * sizeof(*parts->items));
    }
    parts->items[parts->n++] = part;
}

static struct slice trimmed(struct slice s)
{
    while (s.len && lex_class[s.data[0]] == CLASS_SPACE)
        s = slice_of(s.data + 1, s.len - 1);
    while (s.len && lex_class[s.data[s.len - 1]] == CLASS_SPACE)
        s.len--;
    return s;
}

/* False: the text is not what the parser understands. No byte of sql is NUL (the lexer has seen it). */
static bool split_by_parser(struct slice sql, struct parts *parts)
{
    char *text = xstrndup(sql.data, sql.len);
    PgQuerySplitResult r = pg_query_split_with_parser(text);
    bool ok = !r.error;
    for (int i = 0; ok && i < r.n_stmts; i++) {
        size_t from = (size_t)r.stmts[i]->stmt_location;
        size_t len = r.stmts[i]->stmt_len ? (size_t)r.stmts[i]->stmt_len : sql.len - from;
        add(parts, trimmed(slice_of(sql.data + from, len)));
    }
    pg_query_free_split_result(r);
    free(text);
    return ok;
}

enum status sql_check_syntax(struct slice sql, struct error *error_r)
{
    enum status status = STATUS_OK;
    if (sql.len > SQL_CHECK_MAX_BYTES)
        return STATUS_OK;
    char *text = xstrndup(sql.data, sql.len);
    PgQuerySplitResult r = pg_query_split_with_parser(text);
    if (r.error)
        status = error_set(error_r, SQLSTATE_SYNTAX_ERROR, "%s",
                           r.error->message ? r.error->message : "syntax error");
    pg_query_free_split_result(r);
    free(text);
    return status;
}

size_t sql_first_statement(struct slice sql)
{
    struct parts parts = {0};
    size_t len = 0;
    if (split_by_parser(sql, &parts) && parts.n > 0)
        len = (size_t)(parts.items[0].data + parts.items[0].len - sql.data);
    free(parts.items);
    return len;
}

static enum status split_by_lexer(struct slice sql, struct parts *parts, bool *guess_r, struct error *error_r)
{
    struct template t;
    enum status status = lex_check(sql, error_r);
    template_init(&t);
    for (size_t at = 0; status == STATUS_OK && at < sql.len;) {
        struct lex_end end;
        status = lex_statement(&t, slice_of(sql.data + at, sql.len - at), false, &end, error_r);
        if (status != STATUS_OK)
            break;
        *guess_r |= end.guess;
        struct slice part = trimmed(t.statement);
        if (part.len)
            add(parts, part);
        at += end.next;
    }
    template_free(&t);
    return status;
}

enum status sql_split(struct slice sql, struct slice **parts_r, size_t *n_r, struct error *error_r)
{
    struct parts parts = {0}, parsed = {0};
    bool guess = false;
    if (split_by_lexer(sql, &parts, &guess, error_r) != STATUS_OK) {
        free(parts.items);
        return STATUS_ERROR;
    }
    if (guess && split_by_parser(sql, &parsed)) {
        free(parts.items);
        parts = parsed;
    } else {
        free(parsed.items);
    }
    *parts_r = parts.items;
    *n_r = parts.n;
    return STATUS_OK;
}
