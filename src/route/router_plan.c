/*
 * The parts that every other file puts plans together from: what is kept, pins, refusals, and the count of the
 * work that planning has taken.
 */
#include "router_private.h"
#include <stdio.h>

bool router_spend(struct router *r, uint64_t steps)
{
    r->effort += steps;
    r->too_complex |= r->effort > r->effort_limit;
    return r->too_complex;
}

void *keep_copy(struct router *r, const void *data, size_t n)
{
    void *copy = arena_alloc(r->keep, n + 1);
    if (n)
        memcpy(copy, data, n);
    return copy;
}

const char *keep_string(struct router *r, const char *s)
{
    return s ? arena_strdup(r->keep, s) : NULL;
}

void plan_single(struct router *r, const struct shard_set *shards)
{
    r->plan->kind = PLAN_SINGLE;
    r->plan->fixed = *shards;
}

void plan_home(struct router *r)
{
    struct shard_set home;
    shard_set_clear(&home);
    shard_set_add(&home, r->in->db->home);
    plan_single(r, &home);
}

void plan_pin(struct router *r, uint32_t literal)
{
    if (!r->pinned_literals)
        r->pinned_literals = arena_zalloc(r->arena, (r->t->n_literals + 1U) * sizeof(*r->pinned_literals));
    r->plan->n_pinned += !r->pinned_literals[literal];
    r->pinned_literals[literal] = true;
}

void finish_pins(struct router *r)
{
    struct plan *p = r->plan;
    if (p->n_pinned == 0)
        return;
    uint32_t *pinned = arena_alloc(r->keep, p->n_pinned * sizeof(*pinned)), n = 0;
    for (uint32_t i = 0; i < r->t->n_literals; i++)
        if (r->pinned_literals[i])
            pinned[n++] = i;
    p->pinned = pinned;
}

/* --- refusals -------------------------------------------------------------------------------------- */

static struct error *new_refusal(struct router *r, const char *sqlstate, const char *hint, const char *fmt,
                                 va_list args)
{
    char message[sizeof(((struct error *)NULL)->message)];
    struct error *e = arena_zalloc(r->keep, sizeof(*e));
    vsnprintf(message, sizeof(message), fmt, args);
    error_set(e, sqlstate, "%s", message);
    if (hint)
        error_hint(e, "%s", hint);
    return e;
}

void plan_refuse(struct router *r, const char *sqlstate, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    r->plan->refusal = new_refusal(r, sqlstate, hint, fmt, args);
    va_end(args);
    r->plan->kind = PLAN_REFUSE;
    r->plan->refuse_if_several = false;
}

void plan_refuse_if_several(struct router *r, const char *hint, const char *fmt, ...)
{
    struct plan *p = r->plan;
    va_list args;
    va_start(args, fmt);
    p->refusal = new_refusal(r, SQLSTATE_FEATURE_NOT_SUPPORTED, hint, fmt, args);
    va_end(args);
    p->kind = PLAN_SINGLE;
    p->refuse_if_several = true;
    if (p->n_keys == 0 && shard_set_count(&p->fixed) > 1) {
        p->kind = PLAN_REFUSE;
        p->refuse_if_several = false;
    }
}

bool plan_beyond_limits(struct router *r)
{
    if (r->too_deep)
        plan_refuse(r, SQLSTATE_TOO_COMPLEX, "The statement is nested too deeply. Split it.",
                    "stack depth limit exceeded");
    else if (r->too_many)
        plan_refuse(r, SQLSTATE_PROGRAM_LIMIT, "Use fewer tables, or fewer references to WITH queries.",
                    "too many tables in one statement");
    else if (r->too_complex)
        plan_refuse(r, SQLSTATE_PROGRAM_LIMIT,
                    "Use fewer tables and conditions in one statement, or qualify its columns.",
                    "statement is too complex");
    return r->too_deep || r->too_many || r->too_complex;
}
