/*
 * LIMIT and OFFSET over several shards: each shard is asked for limit + offset rows, the merge skips and
 * counts.
 *
 *     LIMIT 10 OFFSET 20                 ->  LIMIT 10::int8 + 20::int8
 *     OFFSET 20 LIMIT 10                 ->  LIMIT 20::int8 + 10::int8
 *     OFFSET $1                          ->  OFFSET 0 * $1::int8   (the parameter stays: its use gives its type)
 *     OFFSET 5 FETCH FIRST 10 ROWS ONLY  ->  LIMIT (10) + (5)      (the literals are pinned)
 *
 * The edits keep the literals where they are, so one plan serves all pages. A NULL limit is none: NULL + 20
 * is NULL.
 */
#include "router_private.h"
#include "wire/datum.h"

#define NOWHERE UINT32_MAX

static bool is_int_type(uint32_t type)
{
    return type == OID_INT8 || type == OID_INT4 || type == OID_INT2;
}

/* False: neither a literal nor a parameter. A NULL has_r false. */
static bool limit_ref(struct router *r, const struct sql_query *q, const struct sql_expr *e, bool *has_r,
                      struct key_ref *ref_r)
{
    *has_r = e && e->kind != SQL_EXPR_NULL;
    *ref_r = (struct key_ref){.source = KEY_NULL};
    if (!*has_r)
        return true;
    if (e == q->limit && q->limit_one) {
        ref_r->source = KEY_TRUE;
        return true;
    }
    if (e->kind == SQL_EXPR_CAST && is_int_type(e->type_oid) && !e->type_array && e->n_args == 1)
        e = e->args[0];
    if (e->kind == SQL_EXPR_PARAM && e->number > 0) {
        uint32_t declared = e->number <= r->in->n_param_types ? r->in->param_types[e->number - 1] : 0;
        *ref_r = (struct key_ref){
            .source = KEY_PARAM, .index = e->number - 1, .type_oid = declared ? declared : OID_INT8};
        return declared == 0 || is_int_type(declared);
    }
    if (e->kind != SQL_EXPR_LITERAL || e->number == SQL_NO_LITERAL)
        return false;
    *ref_r = (struct key_ref){
        .source = KEY_LITERAL, .index = e->number, .negate = e->negative, .type_oid = OID_INT8};
    uint8_t kind = r->t->literals[e->number].kind;
    return kind == LITERAL_INTEGER || (kind == LITERAL_STRING && !e->negative);
}

static struct token_span clause_body(const struct clauses *c, uint32_t clause)
{
    struct token_span span = {clause + 1, clause_end(c, clause)};
    if (sql_token_is(&c->tokens, span.to - 1, "ROW") || sql_token_is(&c->tokens, span.to - 1, "ROWS"))
        span.to--;
    return span;
}

static void replace_token(struct router *r, const struct clauses *c, uint32_t token, const char *with)
{
    const struct sql_token *t = &c->tokens.items[token];
    edit_text(r, t->from, t->to - t->from, slice_str(with));
}

/* Puts "::int8" behind the clause's value and takes ROWS away. */
static void cast_body(struct router *r, const struct clauses *c, uint32_t clause)
{
    struct token_span body = clause_body(c, clause);
    edit_text(r, c->tokens.items[body.to - 1].to, 0, slice_str("::int8"));
    if (body.to < clause_end(c, clause))
        replace_token(r, c, body.to, "");
}

static void edit_both(struct router *r, const struct clauses *c)
{
    bool limit_first = c->limit < c->offset;
    replace_token(r, c, limit_first ? c->offset : c->limit, "+");
    if (!limit_first)
        replace_token(r, c, c->offset, "LIMIT");
    cast_body(r, c, c->limit);
    cast_body(r, c, c->offset);
}

/* FETCH FIRST n ROWS ONLY beside an OFFSET. */
static void edit_fetch(struct router *r, const struct sql_query *q, const struct clauses *c)
{
    struct token_span offset = clause_body(c, c->offset), count = {c->fetch + 2, clause_end(c, c->fetch)};
    while (count.to > count.from &&
           (sql_token_is(&c->tokens, count.to - 1, "ONLY") || sql_token_is(&c->tokens, count.to - 1, "ROW") ||
            sql_token_is(&c->tokens, count.to - 1, "ROWS")))
        count.to--;
    struct slice o = token_text(r, c, offset), l = q->limit_one ? slice_str("1") : token_text(r, c, count);
    char *text = arena_printf(r->keep, "LIMIT (%.*s)::int8 + (%.*s)::int8", (int)l.len, (const char *)l.data,
                              (int)o.len, (const char *)o.data);
    uint32_t first = c->offset < c->fetch ? c->offset : c->fetch,
             last = c->offset < c->fetch ? c->fetch : c->offset;
    uint32_t from = c->tokens.items[first].from, to = c->tokens.items[clause_end(c, last) - 1].to;
    edit_text(r, from, to - from, slice_str(text));
}

bool plan_limit(struct router *r, const struct sql_query *q, const struct clauses *c, const char **why_r,
                const char **hint_r)
{
    struct merge_spec *m = &r->plan->merge;
    if (!q->limit && !q->offset)
        return true;
    *hint_r = "Use a literal or a parameter of an integer type, or give the key in WHERE.";
    *why_r = "LIMIT and OFFSET over several shards must be literals or parameters";
    if (!limit_ref(r, q, q->limit, &m->has_limit, &m->limit) ||
        !limit_ref(r, q, q->offset, &m->has_offset, &m->offset))
        return false;
    *why_r = "FETCH FIRST ... WITH TIES over several shards is not supported";
    *hint_r = "Use LIMIT, or give the key in WHERE.";
    if (q->with_ties)
        return false;
    *why_r = "FOR UPDATE with LIMIT over several shards is not supported";
    *hint_r = "Give the key in WHERE, or leave LIMIT or FOR UPDATE away.";
    if (q->locks_rows)
        return false;
    *why_r = "LIMIT and OFFSET of this form over several shards are not supported";
    if (!m->has_offset)
        return true;
    if (c->offset == NOWHERE || (m->has_limit && c->limit == NOWHERE && c->fetch == NOWHERE))
        return false;
    if (!m->has_limit) {
        replace_token(r, c, c->offset, "OFFSET 0 *");
        cast_body(r, c, c->offset);
    } else if (c->limit != NOWHERE) {
        edit_both(r, c);
    } else {
        edit_fetch(r, q, c);
    }
    return true;
}
