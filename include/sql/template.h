/*
 * The fast path's lexer: masks the literals of a statement and yields the template (text that keys the plan
 * cache) and where the literals are. One pass, no allocation beyond the caller's struct in steady state.
 *
 * Lexical rules are PostgreSQL's (src/backend/parser/scan.l) with standard_conforming_strings = on: '...'
 * with '' inside, E'...', B'...', X'...', U&'...', N'...', $tag$...$tag$, "identifiers", U&"...", nested
 * comments, -- comments, numbers (4, 3.5, .5, 1e10), parameters $1, operators, casts. A string continued on
 * the next line ('a' newline 'b') is one literal. With standard_conforming_strings = off the caller must not
 * use templates at all.
 *
 * In the template: a numeric literal becomes '#' + kind byte, a string literal '\'' + kind byte, the kind
 * byte being 1 + enum literal_kind (control characters outside of literals and quoted identifiers are
 * refused, so no SQL text has this form). White space and comments become one blank, at the ends nothing; a
 * hint comment (pgunison: ...) is reported. Keywords and identifiers stay byte for byte, and so does the
 * character after U&"..." UESCAPE. Literals after SELECT ... LIMIT and so on are masked too; plans pin what
 * they depend on (sql/plan_cache.h). The template of a text of several statements is that of the first one
 * with a semicolon at the end.
 *
 * ASCII bytes must mean themselves in the text's encoding (all server encodings; not SJIS, BIG5, GBK,
 * GB18030, UHC, JOHAB).
 */
#ifndef PGUNISON_SQL_TEMPLATE_H
#define PGUNISON_SQL_TEMPLATE_H

#include "base/buf.h"
#include "base/error.h"

enum literal_kind {
    LITERAL_INTEGER, /* digits only */
    LITERAL_NUMERIC, /* with a point or an exponent */
    LITERAL_STRING,  /* '...' without escapes of E; '' stands for one quote */
    LITERAL_ESTRING, /* E'...' */
    LITERAL_DOLLAR,  /* $tag$...$tag$ */
    LITERAL_OTHER    /* B'', X'', U&'' : never a key */
};

struct literal {
    uint32_t at, len;     /* in the statement, with its quotes and prefix */
    uint32_t template_at; /* offset of its mask in the template */
    uint8_t kind;         /* enum literal_kind */
};

struct template
{
    struct buf text; /* the template */
    uint64_t hash;   /* of text */
    struct literal *literals;
    uint32_t n_literals, cap_literals;
    /* borrowed: from the beginning of what was lexed to the end of the last token before its semicolon */
    struct slice statement;
    /* inside (with the prefix) of the first comment that begins with "pgunison:", trimmed; empty: none */
    struct slice hint;
    bool several; /* a semicolon with something after it: more than one statement */
};

void template_init(struct template *t);
void template_free(struct template *t);
size_t template_bytes(const struct template *t); /* that it takes of the heap */
void template_shrink(struct template *t);        /* gives back what a long statement made it take */
/* Keeps memory of t for reuse. Error: unterminated quote or comment, a control character (42601, worded as
   the server words it), a NUL (22021), more than 1 GB (54000); t has no meaning then. */
enum status template_lex(struct template *t, struct slice sql, struct error *error_r) MUST_CHECK;
/* The value of a literal of kind INTEGER, NUMERIC, STRING, ESTRING, DOLLAR, unquoted and unescaped, in out
   (cleared first). False: the kind has no plain value, or an escape cannot be read. */
bool template_literal_value(const struct template *t, uint32_t i, struct buf *out);

/* The server's grammar over a whole text of several statements: 42601 for the first that it refuses. A text of more than
   SQL_CHECK_MAX_BYTES is not looked at: its tree would take many times its size. */
#define SQL_CHECK_MAX_BYTES (16u * 1024 * 1024)
enum status sql_check_syntax(struct slice sql, struct error *error_r) MUST_CHECK;

/* Splits a text at top-level semicolons the way the server's parser does (BEGIN ATOMIC bodies and CREATE RULE
   ( ; ) included); uses the parser when the lexer is not sure. Empty statements are dropped. parts_r: from
   malloc, the caller frees. */
enum status sql_split(struct slice sql, struct slice **parts_r, size_t *n_r,
                      struct error *error_r) MUST_CHECK;

#endif
