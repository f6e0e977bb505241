/*
 * Sums of the workers' counters, which each worker alone writes and anybody may read. At the end of each
 * period the difference to its beginning is kept as averages, and logged when log_stats says so.
 */
#include "stats.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>

struct stats {
    const struct console_worker *workers;
    unsigned n;
    struct loop_timer *timer;
    uint64_t period_us, begun_us;
    bool log;
    struct totals at_begin;
    struct averages last;
};

static uint64_t load(const atomic_uint_fast64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

void stats_totals(const struct stats *s, struct totals *t)
{
    *t = (struct totals){0};
    for (unsigned i = 0; i < s->n; i++) {
        const struct session_stats *w = &s->workers[i].env->stats;
        t->transactions += load(&w->transactions);
        t->queries += load(&w->queries);
        t->received += load(&w->bytes_received);
        t->sent += load(&w->bytes_sent);
        t->transaction_us += load(&w->transaction_us);
        t->query_us += load(&w->query_us);
        t->wait_us += load(&w->wait_us);
        t->one_phase += load(&w->one_phase);
        t->two_phase += load(&w->two_phase);
        t->prepare_failed += load(&w->prepare_failed);
        t->in_doubt += load(&w->in_doubt);
    }
}

static uint64_t per_second(uint64_t from, uint64_t to, uint64_t us)
{
    return us == 0 ? 0 : (uint64_t)((double)(to - from) * 1e6 / (double)us);
}

static uint64_t each(uint64_t from, uint64_t to, uint64_t n)
{
    return n == 0 ? 0 : (to - from) / n;
}

void averages_between(const struct totals *from, const struct totals *to, uint64_t us, struct averages *a)
{
    a->transactions = per_second(from->transactions, to->transactions, us);
    a->queries = per_second(from->queries, to->queries, us);
    a->received = per_second(from->received, to->received, us);
    a->sent = per_second(from->sent, to->sent, us);
    a->transaction_us = each(from->transaction_us, to->transaction_us, to->transactions - from->transactions);
    a->query_us = each(from->query_us, to->query_us, to->queries - from->queries);
    a->wait_us = per_second(from->wait_us, to->wait_us, us);
}

static void period_over(void *arg)
{
    struct stats *s = arg;
    struct totals now;
    uint64_t now_us = clock_monotonic_us();
    stats_totals(s, &now);
    averages_between(&s->at_begin, &now, now_us - s->begun_us, &s->last);
    s->at_begin = now;
    s->begun_us = now_us;
    if (s->log)
        log_info("stats: %" PRIu64 " xacts/s, %" PRIu64 " queries/s, in %" PRIu64 " B/s, out %" PRIu64
                 " B/s, xact %" PRIu64 " us, query %" PRIu64 " us, wait %" PRIu64 " us",
                 s->last.transactions, s->last.queries, s->last.received, s->last.sent,
                 s->last.transaction_us, s->last.query_us, s->last.wait_us);
    loop_timer_start(s->timer, s->period_us);
}

void stats_averages(const struct stats *s, struct averages *a_r)
{
    *a_r = s->last;
}

void stats_reconfigure(struct stats *s, uint64_t period_us, bool log)
{
    s->log = log;
    if (s->period_us == period_us)
        return;
    s->period_us = period_us;
    loop_timer_start(s->timer, period_us);
}

struct stats *stats_create(struct loop *loop, const struct console_worker *workers, unsigned n)
{
    struct stats *s = xcalloc(1, sizeof *s);
    s->workers = workers;
    s->n = n;
    s->begun_us = clock_monotonic_us();
    s->timer = loop_timer_create(loop, period_over, s);
    return s;
}

void stats_destroy(struct stats **ss)
{
    if (!*ss)
        return;
    loop_timer_destroy(&(*ss)->timer);
    free(*ss);
    *ss = NULL;
}
