/* Totals over all workers, and averages over stats_period. Control thread only. Private to admin. */
#ifndef PGUNISON_ADMIN_STATS_H
#define PGUNISON_ADMIN_STATS_H

#include "admin/console.h"

struct totals {
    uint64_t transactions, queries, received, sent, transaction_us, query_us, wait_us;
    uint64_t one_phase, two_phase, prepare_failed, in_doubt;
};

/* As PgBouncer has them: counts and bytes per second; times in microseconds per transaction or statement,
 * wait per second. */
struct averages {
    uint64_t transactions, queries, received, sent, transaction_us, query_us, wait_us;
};

struct stats;
struct stats *stats_create(struct loop *loop, const struct console_worker *workers, unsigned n);
void stats_reconfigure(struct stats *s, uint64_t period_us, bool log);
void stats_destroy(struct stats **s);
void stats_totals(const struct stats *s, struct totals *t_r);
void stats_averages(const struct stats *s,
                    struct averages *a_r); /* of the last whole period; zeroes in the first one */
/* Pure. */
void averages_between(const struct totals *from, const struct totals *to, uint64_t us, struct averages *a_r);

#endif
