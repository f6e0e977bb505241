/*
 * What a statement may use of the application's own without any call of a function showing it: operators, casts, domains,
 * types, functions written as columns, functions that bear the name of one of PostgreSQL's. The catalog lists those behind
 * which is code that may leave something in a session; there are none in almost every database.
 *
 * Which of them a statement really uses depends on types, of which the router knows little. So a name counts wherever it
 * stands in the text, as a word of its own; and what the grammar spells otherwise (IN is =, U&"..." is any name, a
 * parameter's type is a number) counts always.
 */
#include "router_private.h"

#include "sql/effects.h"

/* Those that run expressions, or begin to. */
static bool runs_expressions(const struct sql_statement *stmt)
{
    switch (stmt->kind) {
    case SQL_STMT_QUERY:
    case SQL_STMT_PREPARE:
    case SQL_STMT_DECLARE:
    case SQL_STMT_COPY:
    case SQL_STMT_EXPLAIN:
    case SQL_STMT_CREATE_TABLE_AS:
    case SQL_STMT_TABLES:
    case SQL_STMT_CREATE_TABLE:
    case SQL_STMT_DO:
        return true;
    default:
        return false;
    }
}

/* Not a digit: a number may stand right before a name. */
static bool begins_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool in_word(char c)
{
    return begins_word(c) || (c >= '0' && c <= '9') || c == '$';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same(const uint8_t *text, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((char)text[i] != name[i] && lower((char)text[i]) != name[i])
            return false;
    return true;
}

static bool stands_in(struct slice text, const char *name, size_t len, bool word)
{
    for (size_t at = 0; at + len <= text.len; at++)
        if (same(text.data + at, name, len) && (!word || at == 0 || !begins_word((char)text.data[at - 1])) &&
            (!word || at + len == text.len || !in_word((char)text.data[at + len])))
            return true;
    return false;
}

/* Operators that other words of the grammar stand for: IN, BETWEEN, LIKE, JOIN USING, NULLIF ... */
static bool is_implied(const char *name)
{
    static const char *const implied[] = {
        "=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~"};
    for (size_t i = 0; i < sizeof implied / sizeof implied[0]; i++)
        if (strcmp(name, implied[i]) == 0)
            return true;
    return false;
}

#define NAME_MAX_BYTES 63 /* longer ones are cut off: NAMEDATALEN */

static bool is_used(struct slice text, const char *name)
{
    size_t len = strlen(name);
    bool word = len < NAME_MAX_BYTES;
    if (is_implied(name))
        return true;
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '"' ||
            (unsigned char)name[i] >= 0x80) /* "" within quotes; any encoding of the client's */
            return true;
        word &= in_word(name[i]);
    }
    return stands_in(text, name, len, word);
}

/* May be of a type by users: their OIDs begin there (access/transam.h, FirstNormalObjectId). */
static bool has_foreign_parameter(const struct router_input *in)
{
    for (uint32_t i = 0; i < in->n_param_types; i++)
        if (in->param_types[i] >= 16384)
            return true;
    return false;
}

static void mark_calls(const struct sql_statement *stmt, const char *name)
{
    for (uint32_t i = 0; i < stmt->n_functions; i++) {
        struct sql_expr *call = stmt->functions[i];
        bool system = call->n_names == 2 && strcmp(call->names[0], "pg_catalog") == 0;
        if (!system && strcmp(function_name(call), name) == 0)
            call->call.own = true;
    }
}

bool own_bears_name(const struct router *r, const char *name)
{
    const struct own_code *own;
    size_t n;
    if (!r->in->own || !r->in->own(r->in->arg, &own, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (own[i].kind == OWN_FUNCTION && strcmp(own[i].name, name) == 0)
            return true;
    return false;
}

void plan_own(struct router *r, const struct sql_statement *stmt)
{
    struct slice text = buf_slice(&r->t->text);
    const struct own_code *own;
    size_t n;
    if (!r->in->own || !runs_expressions(stmt))
        return;
    if (!r->in->own(r->in->arg, &own, &n)) {
        r->needs_catalog = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (own[i].kind == OWN_FUNCTION)
            mark_calls(stmt, own[i].name);
        else if (own[i].kind == OWN_ANYWHERE || is_used(text, own[i].name) ||
                 stands_in(text, "u&\"", 3, false) || has_foreign_parameter(r->in))
            r->own_effects |= own[i].effects;
    }
}
