/*
 * Rendering a statement from template text, edits and literals.
 *
 *     statement   SELECT  a, 42 FROM t
 *     template    SELECT a, #k FROM t
 *
 * Each literal knows its offset in both. Between two literals only white space and comments make a difference, so an
 * offset is found by walking from the literal before it.
 *
 * Rendered text has the same tokens as the statement: a blank stands wherever there was white space or a
 * comment.
 */
#include "sql/rewrite.h"

#include "lex.h"
#include <assert.h>

#define MASK_LEN 2U

/* The first literal whose mask begins at or after `at` in the template. */
static uint32_t first_literal_from(const struct template *t, uint32_t at)
{
    uint32_t low = 0, high = t->n_literals;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (t->literals[mid].template_at < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* How many literals begin before this offset in the statement. */
static uint32_t literals_before(const struct template *t, uint32_t offset)
{
    uint32_t low = 0, high = t->n_literals;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (t->literals[mid].at < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Template offset of `to`, which is not below `p`, whose template offset is `at`; no literal begins between them. */
static uint32_t walk_gap(const struct template *t, const uint8_t *p, const uint8_t *to, uint32_t at)
{
    const uint8_t *end = t->statement.data + t->statement.len;
    while (p && p < to) {
        const uint8_t *q = lex_skip_blank(p, end, NULL, NULL);
        if (q && q > p) {
            at++;
            p = q;
        } else if (*p == '"') {
            q = lex_skip_identifier(p + 1, end);
            const uint8_t *stop = q && q < to ? q : to;
            at += (uint32_t)(stop - p);
            p = stop;
        } else {
            at++;
            p++;
        }
    }
    return at;
}

uint32_t rewrite_cursor_offset(struct rewrite_cursor *c, uint32_t statement_offset)
{
    const struct template *t = c->t;
    if (statement_offset > t->statement.len)
        return REWRITE_NOWHERE;
    uint32_t n = literals_before(t, statement_offset);
    if (n > 0 && t->literals[n - 1].at + t->literals[n - 1].len > statement_offset)
        return REWRITE_NOWHERE;
    const uint8_t *begin = t->statement.data, *p = begin + c->at;
    uint32_t at = c->template_at;
    if (n > 0 && t->literals[n - 1].at >= c->at) {
        const struct literal *before = &t->literals[n - 1];
        p = begin + before->at + before->len;
        at = before->template_at + MASK_LEN;
    } else if (c->at == 0) {
        p = lex_skip_blank(begin, begin + t->statement.len, NULL, NULL);
        at = 0;
    }
    c->template_at = walk_gap(t, p, begin + statement_offset, at);
    c->at = statement_offset;
    return c->template_at;
}

uint32_t rewrite_template_offset(const struct template *t, uint32_t statement_offset)
{
    struct rewrite_cursor c = {.t = t};
    return rewrite_cursor_offset(&c, statement_offset);
}

/* Both bytes of a mask, or none. */
static bool cuts_a_mask(const struct template *t, uint32_t at)
{
    uint32_t i = at > 0 ? first_literal_from(t, at - 1) : t->n_literals;
    return i < t->n_literals && t->literals[i].template_at == at - 1;
}

bool rewrite_span_fits(const struct template *t, uint32_t from, uint32_t to)
{
    return from <= to && to <= t->text.end && !cuts_a_mask(t, from) && !cuts_a_mask(t, to);
}

bool rewrite_fits(const struct rewrite *r, const struct template *t)
{
    uint32_t at = 0;
    for (size_t i = 0; i < r->n_edits; i++) {
        const struct rewrite_edit *e = &r->edits[i];
        if (e->at < at || e->at > t->text.end || e->len > t->text.end - e->at ||
            !rewrite_span_fits(t, e->at, e->at + e->len))
            return false;
        at = e->at + e->len;
    }
    return true;
}

static void piece(const struct text_sink *sink, const uint8_t *from, size_t len)
{
    if (len)
        sink->add(sink->arg, slice_of(from, len));
}

void rewrite_span_pieces(const struct template *t, uint32_t from, uint32_t to, const struct text_sink *sink)
{
    assert(from <= to && to <= t->text.end);
    for (uint32_t i = first_literal_from(t, from); i < t->n_literals; i++) {
        const struct literal *l = &t->literals[i];
        if (l->template_at >= to)
            break;
        assert(l->template_at + MASK_LEN <= to);
        piece(sink, t->text.data + from, l->template_at - from);
        piece(sink, t->statement.data + l->at, l->len);
        from = l->template_at + MASK_LEN;
    }
    piece(sink, t->text.data + from, to - from);
}

void rewrite_pieces(const struct rewrite *r, const struct template *t, const struct text_sink *sink)
{
    uint32_t at = 0;
    for (size_t i = 0; i < r->n_edits; i++) {
        const struct rewrite_edit *e = &r->edits[i];
        assert(e->at >= at);
        rewrite_span_pieces(t, at, e->at, sink);
        piece(sink, e->insert.data, e->insert.len);
        at = e->at + e->len;
    }
    rewrite_span_pieces(t, at, (uint32_t)t->text.end, sink);
}

static void add_to_buf(void *arg, struct slice bytes)
{
    buf_slice_append(arg, bytes);
}

void rewrite_render_span(const struct template *t, uint32_t from, uint32_t to, struct buf *out)
{
    rewrite_span_pieces(t, from, to, &(struct text_sink){add_to_buf, out});
}
