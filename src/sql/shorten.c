/*
 * A statement without the insides of its long literals: what is planned in its place. The grammar and all that is
 * derived from the tree copy a literal several times, and a plan does not depend on one that it does not pin.
 */
#include "sql/shorten.h"

#include "base/arena.h"

#include <stdio.h>

static bool can_be_short(const struct literal *l)
{
    return l->len >= SHORTEN_MIN_BYTES &&
           (l->kind == LITERAL_STRING || l->kind == LITERAL_ESTRING || l->kind == LITERAL_DOLLAR);
}

/* Of the same kind, and like no other literal: two long ones never look equal. */
static void append_stub(struct buf *out, const struct template *t, uint32_t i)
{
    static const char *const forms[] = {[LITERAL_STRING] = "'long literal %u'",
                                        [LITERAL_ESTRING] = "E'long literal %u'",
                                        [LITERAL_DOLLAR] = "$$long literal %u$$"};
    buf_printf(out, forms[t->literals[i].kind], (unsigned)i);
}

static bool any_long(const struct template *t)
{
    if (t->statement.len < SHORTEN_MIN_BYTES)
        return false;
    for (uint32_t i = 0; i < t->n_literals; i++)
        if (can_be_short(&t->literals[i]))
            return true;
    return false;
}

bool shorten_begin(struct shortened *s, const struct template *t)
{
    struct error e;
    template_init(&s->t);
    buf_init(&s->text);
    s->from = t;
    if (!any_long(t) || t->several)
        return false;
    size_t at = 0;
    for (uint32_t i = 0; i < t->n_literals; i++) {
        const struct literal *l = &t->literals[i];
        if (!can_be_short(l))
            continue;
        buf_append(&s->text, t->statement.data + at, l->at - at);
        append_stub(&s->text, t, i);
        at = (size_t)l->at + l->len;
    }
    buf_append(&s->text, t->statement.data + at, t->statement.len - at);
    /* It has the same template, as only insides of literals have changed; if it had not, it would be planned as it is. */
    if (template_lex(&s->t, buf_slice(&s->text), &e) == STATUS_OK && s->t.n_literals == t->n_literals &&
        slice_eq(buf_slice(&s->t.text), buf_slice(&t->text)))
        return true;
    shorten_end(s);
    return false;
}

bool shorten_changed(const struct shortened *s, uint32_t literal)
{
    return literal < s->from->n_literals && can_be_short(&s->from->literals[literal]);
}

void shorten_end(struct shortened *s)
{
    template_free(&s->t);
    buf_free(&s->text);
}
