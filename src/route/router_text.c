/*
 * Finding clauses in a statement's text, and editing it. The parser's tree says what is there but not where
 * it ends; the scanner's tokens do. Only words outside of all parentheses count, so that subqueries are
 * passed by.
 */
#include "router_private.h"
#include <stdlib.h>

#define NOWHERE UINT32_MAX

static bool after_dot(const struct sql_tokens *t, uint32_t i)
{
    return i > 0 && t->items[i - 1].c == '.';
}

/* FROM that begins the clause: not of IS DISTINCT FROM, not the label in AS from. */
static bool is_from(const struct sql_tokens *t, uint32_t i)
{
    if (!sql_token_is(t, i, "FROM") || after_dot(t, i) || i == 0 || sql_token_is(t, i - 1, "AS"))
        return false;
    return !(sql_token_is(t, i - 1, "DISTINCT") && i > 1 &&
             (sql_token_is(t, i - 2, "IS") || sql_token_is(t, i - 2, "NOT")));
}

static void find_tail(const struct sql_tokens *t, uint32_t i, struct clauses *c)
{
    if (after_dot(t, i))
        return;
    if (sql_token_is(t, i, "ORDER") && sql_token_is(t, i + 1, "BY"))
        c->order = i;
    else if (sql_token_is(t, i, "LIMIT"))
        c->limit = i;
    else if (sql_token_is(t, i, "OFFSET"))
        c->offset = i;
    else if (sql_token_is(t, i, "FETCH"))
        c->fetch = i;
    else if (sql_token_is(t, i, "FOR") && c->locking == NOWHERE)
        c->locking = i;
}

/* libpg_query's scanner is wrong about where U&'...' ends: no text is taken from such a statement. */
static bool has_unicode_string(const struct template *t)
{
    for (uint32_t i = 0; i < t->n_literals; i++)
        if ((t->statement.data[t->literals[i].at] | 0x20) == 'u')
            return true;
    return false;
}

bool find_clauses(struct router *r, struct clauses *c)
{
    struct error e;
    *c = (struct clauses){.select = NOWHERE,
                          .from = NOWHERE,
                          .order = NOWHERE,
                          .limit = NOWHERE,
                          .offset = NOWHERE,
                          .fetch = NOWHERE,
                          .locking = NOWHERE};
    if (has_unicode_string(r->t) || sql_scan(r->t->statement, r->arena, &c->tokens, &e) != STATUS_OK)
        return false;
    const struct sql_tokens *t = &c->tokens;
    int depth = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        char ch = t->items[i].kind == SQL_TOKEN_CHAR ? t->items[i].c : 0;
        if (ch == '(' || ch == '[')
            depth++;
        else if (ch == ')' || ch == ']')
            depth--;
        else if (depth != 0)
            continue;
        else if (c->select == NOWHERE && sql_token_is(t, i, "SELECT"))
            c->select = i;
        else if (c->select != NOWHERE && c->from == NOWHERE && is_from(t, i))
            c->from = i;
        else if (c->from != NOWHERE)
            find_tail(t, i, c);
    }
    c->end = t->count;
    return c->select != NOWHERE && c->from != NOWHERE;
}

/* The first of the clauses that may follow clause `after`, or the end. */
static uint32_t next_clause(const struct clauses *c, uint32_t after)
{
    const uint32_t all[] = {c->limit, c->offset, c->fetch, c->locking, c->order, c->end};
    uint32_t best = c->end;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] != NOWHERE && all[i] > after && all[i] < best)
            best = all[i];
    return best;
}

uint32_t clause_end(const struct clauses *c, uint32_t clause)
{
    return next_clause(c, clause);
}

/* Without ASC, DESC, NULLS FIRST, NULLS LAST. */
static uint32_t strip_direction(const struct sql_tokens *t, uint32_t from, uint32_t to)
{
    if (to - from > 2 && sql_token_is(t, to - 2, "NULLS") &&
        (sql_token_is(t, to - 1, "FIRST") || sql_token_is(t, to - 1, "LAST")))
        to -= 2;
    if (to - from > 1 && (sql_token_is(t, to - 1, "ASC") || sql_token_is(t, to - 1, "DESC")))
        to--;
    return to;
}

bool find_sort_items(const struct clauses *c, struct token_span *items, uint32_t n)
{
    uint32_t found = 0, depth = 0;
    if (c->order == NOWHERE)
        return n == 0;
    uint32_t end = next_clause(c, c->order), from = c->order + 2;
    for (uint32_t i = from; i <= end; i++) {
        char ch = i < end && c->tokens.items[i].kind == SQL_TOKEN_CHAR ? c->tokens.items[i].c : 0;
        depth += ch == '(' || ch == '[';
        depth -= ch == ')' || ch == ']';
        if (i < end && (ch != ',' || depth > 0))
            continue;
        if (found == n)
            return false;
        items[found++] = (struct token_span){from, strip_direction(&c->tokens, from, i)};
        from = i + 1;
    }
    return found == n;
}

static uint32_t matching(const struct clauses *c, uint32_t open)
{
    uint32_t depth = 0;
    for (uint32_t i = open; i < c->tokens.count; i++) {
        char ch = c->tokens.items[i].kind == SQL_TOKEN_CHAR ? c->tokens.items[i].c : 0;
        depth += ch == '(';
        depth -= ch == ')';
        if (depth == 0)
            return i;
    }
    return NOWHERE;
}

bool find_call(const struct clauses *c, int32_t at, uint32_t *name_r, uint32_t *open_r, uint32_t *close_r,
               uint32_t *end_r)
{
    uint32_t i = sql_token_from(&c->tokens, at < 0 ? UINT32_MAX : (uint32_t)at);
    *name_r = i;
    while (i < c->tokens.count && c->tokens.items[i].c != '(')
        i++;
    if (i >= c->tokens.count)
        return false;
    *open_r = i;
    *close_r = matching(c, i);
    if (*close_r == NOWHERE)
        return false;
    *end_r = *close_r;
    if (sql_token_is(&c->tokens, *close_r + 1, "FILTER") && *close_r + 2 < c->tokens.count)
        *end_r = matching(c, *close_r + 2);
    return *end_r != NOWHERE;
}

/* The first literal at or behind this offset in the statement. */
static uint32_t literal_from(const struct template *t, uint32_t at)
{
    uint32_t low = 0, high = t->n_literals;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->literals[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct slice token_text(struct router *r, const struct clauses *c, struct token_span span)
{
    if (span.from >= span.to)
        return slice_of("", 0);
    uint32_t from = c->tokens.items[span.from].from, to = c->tokens.items[span.to - 1].to;
    for (uint32_t i = literal_from(r->t, from); i < r->t->n_literals && r->t->literals[i].at < to; i++)
        plan_pin(r, i);
    return slice_of(r->t->statement.data + from, to - from);
}

void edit_text(struct router *r, uint32_t at, uint32_t len, struct slice insert)
{
    if (r->n_edits == r->cap_edits) {
        uint32_t cap = r->cap_edits ? r->cap_edits * 2 : 8;
        struct text_edit *grown = arena_alloc(r->arena, cap * sizeof(*grown));
        if (r->n_edits)
            memcpy(grown, r->edits, r->n_edits * sizeof(*grown));
        r->edits = grown;
        r->cap_edits = cap;
    }
    r->edits[r->n_edits] = (struct text_edit){.at = at, .len = len, .number = r->n_edits, .insert = insert};
    r->n_edits++;
}

static int compare_edits(const void *a, const void *b)
{
    const struct text_edit *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void finish_edits(struct router *r)
{
    struct rewrite_cursor cursor = {.t = r->t};
    struct rewrite *rewrite = &r->plan->rewrite;
    if (r->n_edits == 0)
        return;
    qsort(r->edits, r->n_edits, sizeof(*r->edits), compare_edits);
    rewrite->edits = arena_alloc(r->keep, r->n_edits * sizeof(*rewrite->edits));
    for (uint32_t i = 0; i < r->n_edits; i++) {
        const struct text_edit *e = &r->edits[i];
        uint32_t from = rewrite_cursor_offset(&cursor, e->at);
        uint32_t to = e->len ? rewrite_cursor_offset(&cursor, e->at + e->len) : from;
        rewrite->edits[i] = (struct rewrite_edit){.at = from, .len = to - from, .insert = e->insert};
    }
    rewrite->n_edits = r->n_edits;
    r->plan->has_rewrite = true;
    if (!rewrite_fits(rewrite, r->t))
        plan_refuse(r, SQLSTATE_INTERNAL, "Report the statement, and send it to one shard by its key.",
                    "the statement is read in two ways: it cannot be changed for the shards");
}
