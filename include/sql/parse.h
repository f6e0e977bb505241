/* Text -> struct sql_statement, and the tokens of a text, both by PostgreSQL's own parser (libpg_query). Slow
 * path only. */
#ifndef PGUNISON_SQL_PARSE_H
#define PGUNISON_SQL_PARSE_H

#include "base/arena.h"
#include "sql/statement.h"
#include "sql/template.h"

/* Parses t->statement. The statement lives in the arena; error: 42601 worded as the server words it, 54001
 * when it is nested too deeply. */
enum status sql_parse(const struct template *t, struct arena *arena, struct sql_statement **statement_r,
                      struct error *error_r) MUST_CHECK;

enum sql_token_kind {
    SQL_TOKEN_WORD /* keyword or plain identifier */,
    SQL_TOKEN_CHAR /* ( ) [ ] , . ; and so on */,
    SQL_TOKEN_OTHER
};
struct sql_token {
    uint32_t from, to; /* bytes in the statement */
    uint8_t kind;
    char c; /* CHAR */
    bool quoted;
};
struct sql_tokens {
    struct sql_token *items;
    uint32_t count;
    struct slice text;
};
/* Comments are left out. */
enum status sql_scan(struct slice text, struct arena *arena, struct sql_tokens *tokens_r,
                     struct error *error_r) MUST_CHECK;
/* The first token that begins at this offset or behind it; count: none. */
uint32_t sql_token_from(const struct sql_tokens *tokens, uint32_t at);
/* Whether token i is this word, written in upper case here. */
bool sql_token_is(const struct sql_tokens *tokens, uint32_t i, const char *word);

#endif
