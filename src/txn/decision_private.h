/* The statements of the resolver's sweeps, for recovery.c only. */
#ifndef PGUNISON_TXN_DECISION_PRIVATE_H
#define PGUNISON_TXN_DECISION_PRIVATE_H

#include "txn/decision.h"

struct sweep_query {
    const char *cluster, *shard;
    bool with_decisions;    /* also rows that may be collected */
    const char *after_txid; /* rows beyond this one, in the order of txid; "" from the beginning */
    uint64_t collect_batch; /* rows at most */
    uint64_t fence_keep_us; /* fences younger than this stay */
};

enum sweep_column { SWEEP_KIND, SWEEP_NAME, SWEEP_OUTCOME, SWEEP_SHARDS, SWEEP_AGE_S, SWEEP_COLUMNS };

/*
 * Rows (SWEEP_COLUMNS, all text and never NULL):
 *   'p', gid, '', '', age: every prepared transaction of this cluster in this database;
 *   'd', txid, outcome, shards, age: committed rows that this shard decided and that are older than every
 * open transaction here.
 */
void decision_sweep_sql(struct buf *b, const struct sweep_query *q);
/* Deletes these rows of this cluster and decider where they still may be collected. */
void decision_collect_sql(struct buf *b, const struct sweep_query *q, const char *const *txids, size_t n);

/*
 * decision_fence_sql() of n transactions in one message and one transaction; a row (txid, outcome) for each.
 * In ascending order of txid, so that two resolvers cannot wait for each other in a circle. One key that is
 * held fails them all with 55P03.
 */
void decision_fences_sql(struct buf *b, const char *const *txids, const char *const *shards, size_t n);

#endif
