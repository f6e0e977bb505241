/*
 * When transactions that are due are asked about.
 *
 * A proxy that dies may leave a thousand. Resolved as fast as the shards can, they take a good part of their
 * flushes and CPU for a while, and everybody else waits. So those that a shard lists take turns, by a schedule:
 *
 *     began     + step    + 2 step  …  + spread
 *     |---------|---------|---------|----------|      step: spread / how many, but not more than options.step_us
 *     1st       2nd       3rd                  last
 *
 * One alone is asked about at once. Only the questions are paced, what they lead to follows at full speed. The
 * schedule is of time, not of answers: a shard that is slow gets its questions all the same, many in a message,
 * and ends with all its helpers what has piled up.
 *
 * Turns are looked at every tick, so the questions of one tick make one message.
 *
 * Not responsible for: which transactions are due (recovery_entries.c), when to sweep again (recovery.c).
 */
#include "recovery_private.h"

/* Waiting: in the list of the shard that listed a part of it first. */
void pace_add(struct shard *s, struct doubt *d)
{
    TXN_ASSERT(d->decision == DECISION_NOT_ASKED);
    d->decision = DECISION_WAITING;
    list_push_back(&s->waiting, &d->in_queue);
}

static void take_turns(struct recovery *r, struct shard *s, uint64_t now_us)
{
    uint64_t turns = s->step_us ? (now_us - s->began_us) / s->step_us + 1 : UINT64_MAX;
    for (; s->turns < turns && !list_empty(&s->waiting); s->turns++)
        entries_ask(r, list_entry(list_pop_front(&s->waiting), struct doubt, in_queue));
}

static void wake(struct recovery *r)
{
    if (r->waking || !pace_waiting(r))
        return;
    r->waking = true;
    r->ops->wake(r->port, r->options.tick_us);
}

void pace_begin(struct recovery *r, struct shard *s)
{
    size_t n = s->waiting.count;
    uint64_t step_us = n ? r->options.spread_us / n : 0;
    s->step_us = step_us < r->options.step_us ? step_us : r->options.step_us;
    s->began_us = r->ops->now_us(r->port);
    s->turns = 0;
    take_turns(r, s, s->began_us);
    wake(r);
}

void pace_tick(struct recovery *r)
{
    uint64_t now_us = r->ops->now_us(r->port);
    r->waking = false;
    for (unsigned i = 0; i < r->n; i++)
        take_turns(r, &r->shards[i], now_us);
    wake(r);
}

bool pace_waiting(const struct recovery *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (!list_empty(&r->shards[i].waiting))
            return true;
    return false;
}
