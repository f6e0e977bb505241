/*
 * The lexer. One pass over the statement; bytes that stay as they are form a run, and are copied when it
 * ends:
 *
 *     ... SELECT a FROM t WHERE id =  42   AND ...
 *         ^ run                       ^ p          run .. p: read, belongs to the template, not copied yet
 *
 * A run goes on over single blanks; it ends at a literal (its mask is appended) and at white space that is
 * anything but one blank (one blank is appended).
 *
 * Two statements with the same template must differ in nothing but the values of their literals, or a cached
 * plan would be used for the wrong one. So:
 *  - control characters, of which masks are made, are refused outside of literals and quoted identifiers;
 *  - a comment leaves a blank: it separates tokens;
 *  - the escape character after U&"..." UESCAPE decides which identifier is meant: it stays in the template,
 * and since it has the form 'c' with a printable c it cannot be taken for a mask.
 *
 * Text is lexed as the server does once it is in the server's encoding, where ASCII bytes mean themselves.
 * Callers must not hand in text of clients whose encoding is not like that (SJIS, BIG5, GBK, GB18030, UHC,
 * JOHAB).
 *
 * Not responsible for: whether what lies between the literals makes sense (numbers that run into identifiers,
 * empty identifiers, bad escapes): the parser and the server report that.
 */
#include "lexer.h"
#include "plain.h"

#include "base/arena.h"
#include "base/hashmap.h"
#include <stdlib.h>

#define LONGEST_SQL                                                                                          \
    ((size_t)INT32_MAX / 2) /* templates are at most 1.5 times as long; the server's own limit is 1 GB */
/* Of each of a template's two allocations, between statements. */
#define MOST_KEPT ((size_t)64 * 1024)
/* What behind a blank calls for a closer look, as a set of character classes. */
#define MAY_CONTINUE_BLANK (1U << CLASS_SPACE | 1U << CLASS_COMMENT | 1U << CLASS_SEMICOLON)

void template_init(struct template *t)
{
    *t = (struct template){0};
    buf_init(&t->text);
}

void template_free(struct template *t)
{
    buf_free(&t->text);
    free(t->literals);
    template_init(t);
}

size_t template_bytes(const struct template *t)
{
    return (t->text.cap ? heap_bytes(t->text.cap) : 0) +
           (t->literals ? heap_bytes(t->cap_literals * sizeof(*t->literals)) : 0);
}

void template_shrink(struct template *t)
{
    if (t->text.cap > MOST_KEPT)
        buf_free(&t->text);
    if (t->text.data && t->cap_literals * sizeof(*t->literals) <= MOST_KEPT)
        return;
    free(t->literals); /* with it goes the mark that there is a first output */
    t->literals = NULL;
    t->cap_literals = t->n_literals = 0;
}

/* Output goes on at the template's beginning. */
static void begin_output(struct lexer *lx)
{
    struct template *t = lx->t;
    lx->safe = lx->end - lx->begin >= SHORT ? lx->end - SHORT : NULL;
    lx->out = t->text.data;
    lx->out_end = t->text.data + t->text.cap;
    lx->literal = t->literals;
    lx->literals_end = t->literals + t->cap_literals;
}

/* ---- words
 * -------------------------------------------------------------------------------------------------- */

static void watch_word(struct lexer *lx, const uint8_t *p, size_t len)
{
    struct body *b = &lx->body;
    bool label = b->after_as || (p > lx->begin && p[-1] == '.');
    if (b->nesting == 0) {
        if (b->after_begin && lex_word_is(p, len, "atomic")) {
            b->seen = true;
            b->nesting = 1;
        }
    } else if (!label && lex_word_is(p, len, "case")) {
        b->nesting++;
    } else if (!label && lex_word_is(p, len, "end")) {
        b->nesting--;
    }
    b->after_begin = lex_word_is(p, len, "begin");
    b->after_as = lex_word_is(p, len, "as");
}

/* ---- the loop
 * ----------------------------------------------------------------------------------------------- */

static inline const uint8_t *word(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *from = p, *end = lx->end;
    do
        p++;
    while (p < end && lex_continues_identifier(*p));
    if (p < end && p == from + 1 && (*p == '\'' || *p == '&'))
        return lexer_prefixed(lx, from, p);
    if (lx->body.create)
        watch_word(lx, from, (size_t)(p - from));
    return p;
}

/* White space or the beginning of a comment at p. *stop_r: nothing but a semicolon or the end follows it. */
RARE static const uint8_t *blank(struct lexer *lx, const uint8_t *p, bool at_top, bool *stop_r)
{
    const uint8_t *comment = NULL;
    const uint8_t *q = lex_skip_blank(p, lx->end, &lx->t->hint, &comment);
    if (!q)
        return lexer_fail(lx, "unterminated /* comment", comment, lx->end);
    if (q == p) /* just an operator */
        return p + 1;
    if (q == lx->end || (*q == ';' && at_top)) {
        *stop_r = true;
        return q;
    }
    if (q == p + 1 && *p == ' ')
        return q;
    uint8_t *out = lexer_end_run(lx, p, 1);
    *out = ' ';
    lx->out = out + 1;
    lx->run = q;
    return q;
}

/* From the first token to the end of the statement, which goes to lx->stopped. Returns the end of the last
   token, NULL: error. */
static const uint8_t *tokens(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *end = lx->end, *from;
    size_t depth = 0;
    while (p < end) {
        switch ((enum char_class)lex_class[*p]) {
        case CLASS_IDENT:
            p = word(lx, p);
            break;
        case CLASS_SPACE:
            /* By far most often one blank, and then a token. */
            if (*p == ' ' && end - p >= 2 && !((MAY_CONTINUE_BLANK >> lex_class[p[1]]) & 1)) {
                p++;
                break;
            }
            /* fall through */
        case CLASS_COMMENT: {
            bool stop = false;
            from = p;
            p = blank(lx, p, !lx->whole && depth == 0 && lx->body.nesting == 0, &stop);
            if (stop) {
                lx->stopped = p;
                return from;
            }
            break;
        }
        case CLASS_DIGIT:
            p = lexer_number(lx, p);
            break;
        case CLASS_DOT:
            if (end - p >= 2 && p[1] == '.')
                p += 2;
            else
                p = end - p >= 2 && lex_class[p[1]] == CLASS_DIGIT ? lexer_number(lx, p) : p + 1;
            break;
        case CLASS_QUOTE:
            from = p;
            if (p == lx->verbatim)
                p += 3;
            else if (!(p = lexer_string(lx, p, p, true, LITERAL_STRING)))
                return lexer_fail(lx, "unterminated quoted string", from, end);
            break;
        case CLASS_DQUOTE:
            from = p;
            if (!(p = lex_skip_identifier(p + 1, end)))
                return lexer_fail(lx, "unterminated quoted identifier", from, end);
            break;
        case CLASS_DOLLAR:
            p = lexer_dollar(lx, p);
            break;
        case CLASS_OPEN:
            depth++;
            p++;
            break;
        case CLASS_CLOSE:
            depth -= depth > 0;
            p++;
            break;
        case CLASS_SEMICOLON:
            if (!lx->whole && depth == 0 && lx->body.nesting == 0)
                return lx->stopped = p;
            p++;
            break;
        case CLASS_CONTROL:
            return lexer_fail(lx, "syntax error", p, p + 1);
        case CLASS_COPY:
            p++;
            break;
        }
        if (!p)
            return NULL;
    }
    return lx->stopped = p;
}

/* p: at the first digit of a number. A point before it belongs to it, unless it is the second of the operator
 * "..". */
static inline const uint8_t *point_before(const uint8_t *low, const uint8_t *p)
{
    const uint8_t *q = p;
    while (q > low && q[-1] == '.')
        q--;
    return (p - q) % 2 ? p - 1 : p;
}

/* Behind which a word of len bytes ends at p; low: the beginning of a token at or before that. */
static inline bool word_before(const uint8_t *low, const uint8_t *p, ptrdiff_t len)
{
    return p - low >= len && lex_class[p[-len]] == CLASS_IDENT &&
           (p - low == len || !lex_continues_identifier(p[-len - 1]));
}

/* p: at a quote that may have a prefix, which was skipped as plain text. */
RARE static const uint8_t *quote_behind(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    const uint8_t *from = p;
    if (p == lx->verbatim)
        return p + 3;
    if (p - low >= 2 && p[-1] == '&' && (p[-2] | 0x20) == 'u' && word_before(low, p - 1, 1))
        return lexer_unicode(lx, p - 2, p);
    if (word_before(low, p, 1)) {
        p = lexer_prefixed(lx, p - 1, p);
        if (p != from)
            return p;
    }
    p = lexer_string(lx, p, p, true, LITERAL_STRING);
    return p ? p : lexer_fail(lx, "unterminated quoted string", from, lx->end);
}

static inline const uint8_t *quote(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    if (p == lx->verbatim || (p > low && (lex_continues_identifier(p[-1]) || p[-1] == '&')))
        return quote_behind(lx, low, p);
    const uint8_t *to = lexer_plain_string(lx, p);
    return to ? to : lexer_fail(lx, "unterminated quoted string", p, lx->end);
}

RARE static const uint8_t *double_quote(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    if (p - low >= 2 && p[-1] == '&' && (p[-2] | 0x20) == 'u' && word_before(low, p - 1, 1))
        return lexer_unicode(lx, p - 2, p);
    const uint8_t *q = lex_skip_identifier(p + 1, lx->end);
    return q ? q : lexer_fail(lx, "unterminated quoted identifier", p, lx->end);
}

/* p: at a semicolon. */
RARE static const uint8_t *behind_semicolons(const struct lexer *lx, const uint8_t *p)
{
    const uint8_t *next = p;
    assert(p);
    while (p < lx->end && *p == ';') {
        const uint8_t *comment = NULL;
        next = p + 1;
        p = lex_skip_blank(next, lx->end, NULL, &comment);
        if (!p)
            return lexer_fail(lx, "unterminated /* comment", comment, lx->end);
    }
    return p < lx->end ? next : p;
}

/* p: where the statement ends. Behind its semicolons, where comments of the next statement may stand; the
   end if there is none. */
static inline const uint8_t *next_statement(const struct lexer *lx, const uint8_t *p)
{
    return lx->end - p <= 1 ? lx->end : behind_semicolons(lx, p);
}

/* The text before p, at which the statement ends, without a blank: that belongs to what ends it. Runs never
   begin at a blank that was skipped. */
static inline const uint8_t *last_before(const struct lexer *lx, const uint8_t *p)
{
    return p > lx->run && p[-1] == ' ' ? p - 1 : p;
}

/* A stop that is neither a digit nor a quote. Returns where to go on: p if it is plain text, NULL: error. */
RARE static const uint8_t *other_stop(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    const uint8_t *end = lx->end;
    switch ((enum char_class)lex_class[*p]) {
    case CLASS_DQUOTE:
        return double_quote(lx, low, p);
    case CLASS_DOLLAR:
        return p > low && lex_continues_identifier(p[-1]) ? p : lexer_dollar(lx, p);
    case CLASS_COMMENT:
        if (end - p < 2 || p[1] != (*p == '-' ? '-' : '*'))
            return p;
        /* fall through */
    case CLASS_SPACE: {
        const uint8_t *from = last_before(lx, p);
        bool stop = false;
        p = blank(lx, from, !lx->whole, &stop);
        if (stop) {
            lx->stopped = p;
            return from;
        }
        return p;
    }
    case CLASS_CONTROL:
        return lexer_fail(lx, "syntax error", p, p + 1);
    case CLASS_SEMICOLON:
    case CLASS_QUOTE:
    case CLASS_DIGIT:
    case CLASS_IDENT:
    case CLASS_COPY:
    case CLASS_DOT:
    case CLASS_OPEN:
    case CLASS_CLOSE:
        return p;
    }
    return p;
}

/* p: at a digit. */
static inline const uint8_t *digit(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    uint8_t before = p > low ? lex_class[p[-1]] : CLASS_SPACE;
    if (before <= CLASS_DOLLAR)
        return p;
    return lexer_number(lx, before == CLASS_DOT ? point_before(low, p) : p);
}

const uint8_t *lexer_at_stop(struct lexer *lx, const uint8_t *low, const uint8_t *p)
{
    uint8_t class = lex_class[*p];
    if (class == CLASS_DIGIT)
        return digit(lx, low, p);
    if (class == CLASS_QUOTE)
        return quote(lx, low, p);
    if (class == CLASS_SEMICOLON && !lx->whole) {
        lx->stopped = p;
        return last_before(lx, p);
    }
    return other_stop(lx, low, p);
}

/*
 * As tokens(), for texts of PLAIN_SHORTEST bytes and more that do not begin with CREATE: only stops are
 * looked at (plain.h). Parentheses are not counted: who finds anything behind the semicolon must ask
 * tokens().
 *
 *     ... 42, t.column_2 + 'text' ...
 *           ^ low      ^ p: a stop     low .. p: plain text, from the end of the last literal on
 */
static const uint8_t *tokens_in_windows(struct lexer *lx, const uint8_t *p)
{
    const uint8_t *end = lx->end, *low = p, *base = p;
    uint64_t stops = plain_stops(lx->begin, base, end);
    for (;;) {
        if (stops == 0) {
            ptrdiff_t left = end - base;
            if (left <= PLAIN_WINDOW) {
                lx->stopped = end;
                return last_before(lx, end);
            }
            base += PLAIN_WINDOW;
            if (left >= LEX_LONG) {
                struct lexer_place at = {low, base};
                const uint8_t *to = lexer_long(lx, &at);
                if (!to || lx->stopped)
                    return to;
                low = at.low;
                base = at.base;
            }
            stops = plain_stops(lx->begin, base, end);
            continue;
        }
        p = base + __builtin_ctzll(stops);
        stops &= stops - 1;
        uint8_t class = lex_class[*p];
        if (class == CLASS_DIGIT) {
            uint8_t before = p > low ? lex_class[p[-1]] : CLASS_SPACE;
            if (before <= CLASS_DOLLAR)
                continue;
            low = lexer_number(lx, before == CLASS_DOT ? point_before(low, p) : p);
        } else if (class == CLASS_COPY) {
            continue;
        } else if (class == CLASS_SEMICOLON && !lx->whole) {
            lx->stopped = p;
            return last_before(lx, p);
        } else {
            const uint8_t *to = class == CLASS_QUOTE ? quote(lx, low, p) : other_stop(lx, low, p);
            if (!to || lx->stopped)
                return to;
            if (to == p)
                continue;
            low = to;
        }
        if (low - base < PLAIN_WINDOW) {
            stops &= ~UINT64_C(0) << (low - base);
        } else {
            base = low - PLAIN_WINDOW; /* that window is done */
            stops = 0;
        }
    }
}

static bool begins_with_create(const uint8_t *p, const uint8_t *end)
{
    return end - p > 6 && lex_word_is(p, 6, "create") && !lex_continues_identifier(p[6]);
}

static const uint8_t *all_tokens(struct lexer *lx, const uint8_t *first)
{
    if (!PLAIN_WINDOWS || lx->end - lx->begin < PLAIN_SHORTEST || lx->body.create)
        return tokens(lx, first);
    const struct slice hint = lx->t->hint;
    const uint8_t *last = tokens_in_windows(lx, first);
    const uint8_t *next = last ? next_statement(lx, lx->stopped) : NULL;
    if (!next || next == lx->end)
        return next ? last : NULL;
    lx->run = first;
    lx->verbatim = lx->stopped = NULL;
    lx->t->hint = hint;
    begin_output(lx);
    return tokens(lx, first);
}

/* A text of several statements must not share a plan with its first one: its template ends with a semicolon,
 * as none else does. */
static void finish(struct template *t, bool several)
{
    t->several = several;
    if (several)
        buf_u8(&t->text, ';');
    t->hash = hash_bytes64(t->text.data, t->text.end);
}

enum status lex_check(struct slice sql, struct error *error_r)
{
    if (sql.len > LONGEST_SQL)
        return error_set(error_r, SQLSTATE_PROGRAM_LIMIT, "statement of %zu bytes is too long", sql.len);
    if (sql.len && memchr(sql.data, 0, sql.len))
        return error_set(error_r, "22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
    return STATUS_OK;
}

enum status lex_statement(struct template *t, struct slice sql, bool whole, struct lex_end *end_r,
                          struct error *error_r)
{
    if (sql.len == 0)
        sql = slice_of("", 0); /* no arithmetic on NULL */
    buf_clear(&t->text);
    if (!t->literals)
        lexer_first_output(t);
    t->n_literals = 0;
    t->hint = slice_of(NULL, 0);
    t->statement = slice_of(sql.data, 0);
    t->several = false;

    struct lexer lx; /* begin_output() sets what is not set here */
    lx.t = t;
    lx.begin = sql.data;
    lx.end = sql.data + sql.len;
    lx.verbatim = NULL;
    lx.stopped = NULL;
    lx.error = error_r;
    lx.whole = whole;
    lx.body = (struct body){0};
    const uint8_t *comment = NULL;
    const uint8_t *p = lx.begin;
    if (sql.len && (lex_class[*p] == CLASS_SPACE || lex_class[*p] == CLASS_COMMENT))
        p = lex_skip_blank(lx.begin, lx.end, &t->hint, &comment);
    if (!p) {
        lexer_fail(&lx, "unterminated /* comment", comment, lx.end);
        return STATUS_ERROR;
    }
    lx.run = p;
    begin_output(&lx);
    lx.body.create = p < lx.end && (*p | 0x20) == 'c' && begins_with_create(p, lx.end);
    const uint8_t *first = p;
    const uint8_t *last = all_tokens(&lx, first);
    if (!last)
        return STATUS_ERROR;
    if (last > lx.run)
        lx.out = lexer_end_run(&lx, last, 0);
    lexer_end_output(&lx);
    t->statement.len = last > first ? (size_t)(last - lx.begin) : 0;
    p = next_statement(&lx, lx.stopped);
    if (!p)
        return STATUS_ERROR;
    finish(t, p < lx.end);
    *end_r = (struct lex_end){.next = (size_t)(p - lx.begin), .guess = lx.body.seen};
    return STATUS_OK;
}

/* t's end is a guess: the parser knows. */
RARE static enum status lex_as_parsed(struct template *t, struct slice sql, struct error *error_r)
{
    struct lex_end end;
    size_t len = sql_first_statement(sql);
    if (len == 0)
        return STATUS_OK; /* nobody can parse it; the guess is good enough for an error message */
    if (lex_statement(t, slice_of(sql.data, len), true, &end, error_r) != STATUS_OK)
        return STATUS_ERROR;
    struct lexer rest = {.end = sql.data + sql.len, .error = error_r};
    const uint8_t *p = lex_skip_blank(sql.data + len, rest.end, NULL, NULL);
    if (p)
        p = next_statement(&rest, p);
    if (!p || p < rest.end)
        finish(t, true);
    return STATUS_OK;
}

enum status template_lex(struct template *t, struct slice sql, struct error *error_r)
{
    struct lex_end end;
    if (lex_check(sql, error_r) != STATUS_OK || lex_statement(t, sql, false, &end, error_r) != STATUS_OK)
        return STATUS_ERROR;
    return end.guess ? lex_as_parsed(t, sql, error_r) : STATUS_OK;
}
