/*
 * What follows from equalities: classes of terms that are equal, and for each class the best list of values.
 *
 *     set -> base -> base ...      the classes of a set refine those of its base: their members are the base's classes,
 *                                  each by its representative, and terms that the base has not heard of
 *
 * So what a set adds costs what it has of its own, and a question costs a look-up for each set in the row. A set's classes
 * are made when they are first asked for, and it is complete by then.
 */
#include "router_private.h"

struct classes {
    struct term_map members;
    uint32_t *parents, cap; /* union-find */
    const struct eq **best; /* of the roots; NULL: none */
};

/* --- terms ------------------------------------------------------------------------------------ */

static uint32_t term_hash(const struct term *t)
{
    uint64_t h = (uint64_t)(uintptr_t)t->leaf * UINT64_C(0x9e3779b97f4a7c15);
    for (const char *p = t->column; *p; p++)
        h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
    return (uint32_t)(h ^ h >> 32);
}

/* The slot of a term, or the empty one where it belongs. */
static uint32_t find_slot(const struct term_map *m, const struct term *t)
{
    uint32_t slot = term_hash(t) & (m->n_slots - 1);
    while (m->slots[slot] && !same_term(&m->terms[m->slots[slot] - 1], t))
        slot = (slot + 1) & (m->n_slots - 1);
    return slot;
}

uint32_t term_map_find(const struct term_map *m, const struct term *t)
{
    if (m->n == 0)
        return UINT32_MAX;
    uint32_t number = m->slots[find_slot(m, t)];
    return number ? number - 1 : UINT32_MAX;
}

static void term_map_grow(struct router *r, struct term_map *m)
{
    uint32_t cap = m->cap ? m->cap * 2 : 8;
    struct term *terms = arena_alloc(r->arena, cap * sizeof(*terms));
    if (m->n)
        memcpy(terms, m->terms, m->n * sizeof(*terms));
    m->terms = terms;
    m->cap = cap;
    m->n_slots = cap * 2;
    m->slots = arena_zalloc(r->arena, m->n_slots * sizeof(*m->slots));
    for (uint32_t i = 0; i < m->n; i++)
        m->slots[find_slot(m, &m->terms[i])] = i + 1;
}

uint32_t term_map_add(struct router *r, struct term_map *m, const struct term *t)
{
    if (m->n == m->cap)
        term_map_grow(r, m);
    uint32_t slot = find_slot(m, t);
    if (m->slots[slot])
        return m->slots[slot] - 1;
    m->terms[m->n] = *t;
    m->slots[slot] = ++m->n;
    return m->n - 1;
}

/* --- classes ---------------------------------------------------------------------------------- */

static uint32_t root_of(struct classes *c, uint32_t i)
{
    while (c->parents[i] != i) {
        c->parents[i] = c->parents[c->parents[i]];
        i = c->parents[i];
    }
    return i;
}

/* Of two lists of a length the one written first: so that leaves of one class choose the same. */
static const struct eq *better(const struct eq *a, const struct eq *b)
{
    if (!a || !b)
        return a ? a : b;
    if (a->values->weight != b->values->weight)
        return a->values->weight < b->values->weight ? a : b;
    const struct key_ref *x = a->values->first, *y = b->values->first;
    if (x && y && x->source != y->source)
        return x->source < y->source ? a : b;
    if (x && y && x->index != y->index)
        return x->index < y->index ? a : b;
    return a->number < b->number ? a : b;
}

static void classes_grow(struct router *r, struct classes *c)
{
    uint32_t cap = c->cap ? c->cap * 2 : 8;
    uint32_t *parents = arena_alloc(r->arena, cap * sizeof(*parents));
    const struct eq **best = arena_alloc(r->arena, cap * sizeof(struct eq *));
    if (c->cap) {
        memcpy(parents, c->parents, c->cap * sizeof(*parents));
        memcpy(best, c->best, c->cap * sizeof(struct eq *));
    }
    c->parents = parents;
    c->best = best;
    c->cap = cap;
}

static struct classes *classes_of(struct router *r, struct eqset *set);

/* The root of a term's class, which is made if need be. */
static uint32_t member(struct router *r, struct classes *c, struct eqset *base, struct term t)
{
    t = eqset_class(r, base, t);
    uint32_t before = c->members.n, i = term_map_add(r, &c->members, &t);
    if (i < before)
        return root_of(c, i);
    if (i == c->cap)
        classes_grow(r, c);
    c->parents[i] = i;
    c->best[i] = eqset_values(r, base, t);
    return i;
}

static void state(struct router *r, struct classes *c, struct eqset *base, const struct eq *e)
{
    uint32_t a = member(r, c, base, e->a);
    if (!e->b.leaf) {
        c->best[a] = better(c->best[a], e);
        return;
    }
    uint32_t b = member(r, c, base, e->b);
    if (a == b)
        return;
    if (b < a) { /* the older one represents both */
        uint32_t swap = a;
        a = b;
        b = swap;
    }
    c->parents[b] = a;
    c->best[a] = better(c->best[a], c->best[b]);
}

static void state_all(struct router *r, struct classes *c, struct eqset *base, struct eqset *set)
{
    if (!set || set->seen == r->n_walks || router_spend(r, 1))
        return;
    set->seen = r->n_walks;
    for (const struct eq *e = set->eqs; e && !router_spend(r, 1); e = e->next)
        state(r, c, base, e);
    if (set->base != base)
        state_all(r, c, base, set->base);
    for (int i = 0; i < 3; i++)
        state_all(r, c, base, set->parts[i]);
}

static struct classes *classes_of(struct router *r, struct eqset *set)
{
    if (set->classes)
        return set->classes;
    if (set->base)
        (void)classes_of(r, set->base); /* one walk at a time */
    set->classes = arena_zalloc(r->arena, sizeof(*set->classes));
    r->n_walks++;
    state_all(r, set->classes, set->base, set);
    return set->classes;
}

struct term eqset_class(struct router *r, struct eqset *set, struct term t)
{
    if (!set || !t.leaf)
        return t;
    struct classes *c = classes_of(r, set);
    t = eqset_class(r, set->base, t);
    uint32_t i = term_map_find(&c->members, &t);
    return i == UINT32_MAX ? t : c->members.terms[root_of(c, i)];
}

const struct eq *eqset_values(struct router *r, struct eqset *set, struct term t)
{
    if (!set || !t.leaf)
        return NULL;
    struct classes *c = classes_of(r, set);
    t = eqset_class(r, set->base, t);
    uint32_t i = term_map_find(&c->members, &t);
    return i == UINT32_MAX ? eqset_values(r, set->base, t) : c->best[root_of(c, i)];
}
