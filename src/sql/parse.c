/*
 * The only file that calls the parser of libpg_query: texts go in, plain C structures come out.
 *
 * libpg_query keeps its state in thread-local variables, so threads may parse at the same time. Its parser,
 * and the walkers over its trees here and in src/route, recurse with the depth of the tree, and libpg_query
 * does not guard its stack: some thousands of nested operators would end the process. So depth is bounded
 * before parsing, from the tokens:
 *
 *   depth of a level (a pair of parentheses, a CASE) <= joins and set operations in it
 *                                                      + the most of its members: tokens + the deepest level in it
 *
 * since lists, AND, OR and CASE make flat nodes. The bound is SQL_MAX_NESTING, which is more than a server takes with its
 * default settings, or what the stack of the calling thread bears, if that is less.
 */
#include "sql/parse.h"
#include "base/stack.h"
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

uint32_t sql_token_from(const struct sql_tokens *tokens, uint32_t at)
{
    uint32_t low = 0, high = tokens->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (tokens->items[middle].from < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool sql_token_is(const struct sql_tokens *tokens, uint32_t i, const char *word)
{
    if (i >= tokens->count || tokens->items[i].kind != SQL_TOKEN_WORD || tokens->items[i].quoted)
        return false;
    const struct sql_token *token = &tokens->items[i];
    size_t len = token->to - token->from;
    if ((tokens->text.data[token->from] & 0xdf) != *word)
        return false;
    return strlen(word) == len && strncasecmp(word, (const char *)tokens->text.data + token->from, len) == 0;
}

/* What is between two parentheses: members (of lists, of AND and OR), each a chain of tokens and of parentheses. */
struct sql_depth_level {
    uint32_t chain;   /* tokens of the member so far: a path through it passes at most one node for each */
    uint32_t deepest; /* of the parentheses in it: and then goes through one of these */
    uint32_t most;    /* of the members before it */
    uint32_t nested;  /* nodes above all of them */
    uint32_t between; /* BETWEENs that wait for their AND */
    bool by_case;     /* CASE ... END, not parentheses */
    bool has_and, has_or;
};
struct sql_depth {
    struct sql_depth_level *levels;
    uint32_t depth, most; /* most: beyond this it is too deep */
    bool too_deep;
};

enum word {
    WORD_PLAIN,
    WORD_CASE,
    WORD_END,
    WORD_NESTS_LEFT, /* ends a member, and is a node above all: set operations and joins */
    WORD_ENDS_MEMBER,
    WORD_AND,
    WORD_OR,
    WORD_FROM,
    WORD_BETWEEN
};

/* Keywords may stand as names behind a dot and behind AS. */
static bool is_name(const struct sql_tokens *tokens, uint32_t i)
{
    return i > 0 && (tokens->items[i - 1].c == '.' || sql_token_is(tokens, i - 1, "AS"));
}

static enum word word_of(const struct sql_tokens *tokens, uint32_t i)
{
    static const struct {
        const char *text;
        enum word word;
    } words[] = {{"AND", WORD_AND},
                 {"OR", WORD_OR},
                 {"FROM", WORD_FROM},
                 {"WHEN", WORD_ENDS_MEMBER},
                 {"THEN", WORD_ENDS_MEMBER},
                 {"ELSE", WORD_ENDS_MEMBER},
                 {"SELECT", WORD_ENDS_MEMBER},
                 {"WHERE", WORD_ENDS_MEMBER},
                 {"CASE", WORD_CASE},
                 {"END", WORD_END},
                 {"BETWEEN", WORD_BETWEEN},
                 {"UNION", WORD_NESTS_LEFT},
                 {"INTERSECT", WORD_NESTS_LEFT},
                 {"EXCEPT", WORD_NESTS_LEFT},
                 {"JOIN", WORD_NESTS_LEFT}};
    if (tokens->items[i].kind != SQL_TOKEN_WORD)
        return WORD_PLAIN;
    for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
        if (sql_token_is(tokens, i, words[w].text))
            return is_name(tokens, i) ? WORD_PLAIN : words[w].word;
    return WORD_PLAIN;
}

/* IS DISTINCT FROM and IS NOT DISTINCT FROM are operators. */
static bool is_distinct_from(const struct sql_tokens *tokens, uint32_t i)
{
    return i > 1 && sql_token_is(tokens, i - 1, "DISTINCT") &&
           (sql_token_is(tokens, i - 2, "IS") || sql_token_is(tokens, i - 2, "NOT"));
}

static uint32_t level_depth(const struct sql_depth_level *level)
{
    uint32_t member = level->chain + level->deepest;
    return level->nested + level->by_case + level->has_and + level->has_or +
           (member > level->most ? member : level->most);
}

static void push_level(struct sql_depth *d, bool by_case)
{
    d->levels[d->depth].chain++;
    d->too_deep |= d->depth + 1 >= d->most;
    if (!d->too_deep)
        d->levels[++d->depth] = (struct sql_depth_level){.by_case = by_case};
}

static void pop_level(struct sql_depth *d, bool by_case)
{
    if (d->depth == 0 || d->levels[d->depth].by_case != by_case)
        return;
    uint32_t inside = level_depth(&d->levels[d->depth--]);
    struct sql_depth_level *level = &d->levels[d->depth];
    if (inside > level->deepest)
        level->deepest = inside;
    d->too_deep |= inside > d->most;
}

static void end_member(struct sql_depth_level *level)
{
    if (level->chain + level->deepest > level->most)
        level->most = level->chain + level->deepest;
    level->chain = level->deepest = level->between = 0;
}

/* AND, OR and the words between the members of lists: what follows is no deeper than what came before. */
static bool ends_member(const struct sql_tokens *tokens, uint32_t i, enum word word,
                        struct sql_depth_level *level)
{
    if (word == WORD_AND && level->between > 0) { /* x BETWEEN a AND NOT ...: what follows is inside */
        level->between--;
        return false;
    }
    level->has_and |= word == WORD_AND;
    level->has_or |= word == WORD_OR;
    return tokens->items[i].c == ',' || tokens->items[i].c == ';' || word == WORD_ENDS_MEMBER ||
           word == WORD_AND || word == WORD_OR || (word == WORD_FROM && !is_distinct_from(tokens, i));
}

static void count_token(const struct sql_tokens *tokens, uint32_t i, struct sql_depth *d)
{
    char c = tokens->items[i].kind == SQL_TOKEN_CHAR ? tokens->items[i].c : 0;
    enum word word = word_of(tokens, i);
    struct sql_depth_level *level = &d->levels[d->depth];
    if (c == '(' || c == '[' || word == WORD_CASE) {
        push_level(d, c == 0);
    } else if (c == ')' || c == ']' || word == WORD_END) {
        pop_level(d, c == 0);
    } else if (word == WORD_NESTS_LEFT) {
        end_member(level);
        level->nested++;
    } else if (ends_member(tokens, i, word, level)) {
        end_member(level);
    } else {
        level->between += word == WORD_BETWEEN;
        level->chain++;
    }
}

static bool too_deep(const struct sql_tokens *tokens, struct arena *arena)
{
    size_t bearable = stack_left() / SQL_STACK_PER_LEVEL;
    struct sql_depth d = {.most = bearable < SQL_MAX_NESTING ? (uint32_t)bearable : SQL_MAX_NESTING};
    uint32_t n_levels = tokens->count < d.most ? tokens->count : d.most;
    d.levels = arena_zalloc(arena, (n_levels + 2) * sizeof(*d.levels));
    for (uint32_t i = 0; i < tokens->count && !d.too_deep; i++)
        count_token(tokens, i, &d);
    while (d.depth > 0 && !d.too_deep) /* a syntax error: the parser will say so */
        pop_level(&d, d.levels[d.depth].by_case);
    return d.too_deep || level_depth(&d.levels[0]) > d.most;
}

static enum status convert_result(const struct template *t, struct arena *arena,
                                  const PgQuery__ParseResult *tree, struct sql_statement *stmt)
{
    struct convert c = {.arena = arena, .t = t, .stmt = stmt};
    stmt->command = "";
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
        error_set(error_r, SQLSTATE_TOO_COMPLEX, "stack depth limit exceeded");
        error_hint(
            error_r,
            "The statement is nested too deeply. Split it, or write long chains of operators as function "
            "calls or arrays.");
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
