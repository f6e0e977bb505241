/*
 * The door to libpg_query: texts go in, plain C structures come out.
 *
 * libpg_query keeps its state in thread-local variables, so threads may parse at the same time. Its parser,
 * and the walkers over its trees here and in src/route, recurse with the depth of the tree, and libpg_query
 * does not guard its stack: some thousands of nested operators would end the process. So depth is bounded
 * before parsing, from the tokens:
 *
 *   depth of a place in the text <= sum, over the parentheses around it, of the operators and keywords
 *                                   since the last comma, AND, OR, WHEN ... at that level
 *
 * since lists, AND, OR and CASE make flat nodes. The words of one chain are bounded by SQL_MAX_NESTING too,
 * which is below what 8 MB of stack bears (4,000) and above what people and mappers write.
 */
#include "sql/parse.h"
#include "statement_private.h"
#include <pg_query.h>
#include <stdlib.h>
#include <strings.h>

static enum status syntax_error(const PgQueryError *e, struct error *error_r)
{
    return error_set(error_r, SQLSTATE_SYNTAX_ERROR, "%s", e && e->message ? e->message : "syntax error");
}

static struct sql_token token_of(const PgQuery__ScanToken *from, struct slice text)
{
    struct sql_token token = {
        .from = (uint32_t)from->start, .to = (uint32_t)from->end, .kind = SQL_TOKEN_OTHER};
    uint8_t first = token.from < text.len ? text.data[token.from] : 0;
    if (from->keyword_kind != PG_QUERY__KEYWORD_KIND__NO_KEYWORD) {
        token.kind = SQL_TOKEN_WORD;
    } else if (from->token == PG_QUERY__TOKEN__IDENT || from->token == PG_QUERY__TOKEN__UIDENT) {
        token.kind = SQL_TOKEN_WORD;
        token.quoted = first == '"' || from->token == PG_QUERY__TOKEN__UIDENT;
    } else if (from->token < PG_QUERY__TOKEN__IDENT) {
        token.kind = SQL_TOKEN_CHAR;
        token.c = (char)first;
    }
    return token;
}

enum status sql_scan(struct slice text, struct arena *arena, struct sql_tokens *tokens_r,
                     struct error *error_r)
{
    char *copy = arena_strndup(arena, text.data, text.len);
    PgQueryScanResult result = pg_query_scan(copy);
    if (result.error) {
        syntax_error(result.error, error_r);
        pg_query_free_scan_result(result);
        return STATUS_ERROR;
    }
    PgQuery__ScanResult *scan =
        pg_query__scan_result__unpack(NULL, result.pbuf.len, (const uint8_t *)result.pbuf.data);
    pg_query_free_scan_result(result);
    if (!scan) {
        error_set(error_r, SQLSTATE_INTERNAL, "the tokens of a statement could not be read");
        return STATUS_ERROR;
    }
    tokens_r->text = text;
    tokens_r->count = 0;
    tokens_r->items = arena_alloc(arena, (scan->n_tokens + 1) * sizeof(*tokens_r->items));
    for (size_t i = 0; i < scan->n_tokens; i++) {
        if (scan->tokens[i]->token == PG_QUERY__TOKEN__SQL_COMMENT ||
            scan->tokens[i]->token == PG_QUERY__TOKEN__C_COMMENT)
            continue;
        tokens_r->items[tokens_r->count++] = token_of(scan->tokens[i], text);
    }
    pg_query__scan_result__free_unpacked(scan, NULL);
    return STATUS_OK;
}

bool sql_token_is(const struct sql_tokens *tokens, uint32_t i, const char *word)
{
    if (i >= tokens->count || tokens->items[i].kind != SQL_TOKEN_WORD || tokens->items[i].quoted)
        return false;
    const struct sql_token *token = &tokens->items[i];
    size_t len = token->to - token->from;
    return strlen(word) == len && strncasecmp(word, (const char *)tokens->text.data + token->from, len) == 0;
}

struct sql_depth_level {
    uint32_t chain, nested;
    bool by_case; /* CASE ... END, not parentheses */
};
struct sql_depth {
    struct sql_depth_level *levels;
    uint32_t depth, sum;
};

/* AND, OR and the words between the members of lists: what follows is no deeper than what came before. */
static bool ends_chain(const struct sql_tokens *tokens, uint32_t i)
{
    static const char *const words[] = {"AND", "OR", "WHEN", "THEN", "ELSE", "SELECT", "FROM", "WHERE"};
    if (tokens->items[i].kind == SQL_TOKEN_CHAR)
        return tokens->items[i].c == ',' || tokens->items[i].c == ';';
    for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
        if (sql_token_is(tokens, i, words[w]))
            return true;
    return false;
}

/* Words that end a chain but add to the depth of what is above: set operations and joins nest to the left. */
static bool nests_left(const struct sql_tokens *tokens, uint32_t i)
{
    return sql_token_is(tokens, i, "UNION") || sql_token_is(tokens, i, "INTERSECT") ||
           sql_token_is(tokens, i, "EXCEPT") || sql_token_is(tokens, i, "JOIN");
}

static void push_level(struct sql_depth *d, bool by_case)
{
    d->levels[d->depth].chain++;
    d->sum++;
    d->levels[++d->depth] = (struct sql_depth_level){.by_case = by_case};
}

static void pop_level(struct sql_depth *d, bool by_case)
{
    if (d->depth == 0 || d->levels[d->depth].by_case != by_case)
        return;
    d->sum -= d->levels[d->depth].chain + d->levels[d->depth].nested;
    d->depth--;
}

static bool too_deep(const struct sql_tokens *tokens, struct arena *arena)
{
    struct sql_depth d = {.levels = arena_zalloc(arena, (SQL_MAX_NESTING + 2) * sizeof(*d.levels))};
    for (uint32_t i = 0; i < tokens->count; i++) {
        char c = tokens->items[i].kind == SQL_TOKEN_CHAR ? tokens->items[i].c : 0;
        struct sql_depth_level *level = &d.levels[d.depth];
        if (c == '(' || c == '[' || sql_token_is(tokens, i, "CASE")) {
            push_level(&d, c == 0);
        } else if (c == ')' || c == ']' || sql_token_is(tokens, i, "END")) {
            pop_level(&d, c == 0);
        } else if (nests_left(tokens, i)) {
            level->nested++;
            d.sum++;
        } else if (ends_chain(tokens, i)) {
            d.sum -= level->chain;
            level->chain = 0;
        } else {
            level->chain++;
            d.sum++;
        }
        if (d.sum > SQL_MAX_NESTING || d.depth >= SQL_MAX_NESTING)
            return true;
    }
    return false;
}

static enum status convert_result(const struct template *t, struct arena *arena,
                                  const PgQuery__ParseResult *tree, struct sql_statement *stmt)
{
    struct convert c = {.arena = arena, .t = t, .stmt = stmt};
    stmt->command = "";
    stmt->several = tree->n_stmts > 1;
    if (tree->n_stmts > 0)
        convert_statement(&c, tree->stmts[0]->stmt, stmt);
    return STATUS_OK;
}

enum status sql_parse(const struct template *t, struct arena *arena, struct sql_statement **statement_r,
                      struct error *error_r)
{
    struct sql_tokens tokens;
    if (sql_scan(t->statement, arena, &tokens, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (too_deep(&tokens, arena)) {
        error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "statement is nested too deeply");
        error_hint(error_r,
                   "Split the statement, or write long chains of operators as function calls or arrays.");
        return STATUS_ERROR;
    }
    char *text = arena_strndup(arena, t->statement.data, t->statement.len);
    PgQueryProtobufParseResult result = pg_query_parse_protobuf(text);
    if (result.error) {
        syntax_error(result.error, error_r);
        pg_query_free_protobuf_parse_result(result);
        return STATUS_ERROR;
    }
    PgQuery__ParseResult *tree =
        pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
    pg_query_free_protobuf_parse_result(result);
    if (!tree)
        return error_set(error_r, SQLSTATE_INTERNAL, "the parse tree of a statement could not be read");
    struct sql_statement *stmt = arena_zalloc(arena, sizeof(*stmt));
    enum status status = convert_result(t, arena, tree, stmt);
    pg_query__parse_result__free_unpacked(tree, NULL);
    *statement_r = stmt;
    return status;
}
