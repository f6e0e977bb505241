/* The statements of the resolver's sweeps, for recovery.c only. */
#ifndef PGUNISON_TXN_DECISION_PRIVATE_H
#define PGUNISON_TXN_DECISION_PRIVATE_H

#include "txn/decision.h"

/* Whether a row 'c' counts, as an expression over its columns; q: what qualifies a name. */
#define DECISION_PROVEN(q)                                                                                   \
    "CASE WHEN proof IS NULL THEN " q "octet_length(txid) OPERATOR(pg_catalog.<) 50 ELSE " q                 \
    "octet_length(txid) OPERATOR(pg_catalog.>) 50 AND " q                                                    \
    "octet_length(proof) OPERATOR(pg_catalog.=) 16 AND " q "right(txid, 43) OPERATOR(pg_catalog.=) " q       \
    "translate(" q "encode(" q "sha256(proof), 'base64'), '+/=', '-_') END"

struct sweep_query {
    const char *cluster, *shard;
    bool with_decisions;    /* also rows that may be collected */
    const char *after_txid; /* rows beyond this one, in the order of txid; "" from the beginning */
    uint64_t collect_batch; /* rows at most */
    uint64_t fence_keep_us; /* fences younger than this stay */
};

enum sweep_column {
    SWEEP_KIND,
    SWEEP_NAME,
    SWEEP_OUTCOME,
    SWEEP_PROOF,
    SWEEP_SHARDS,
    SWEEP_AGE_S,
    SWEEP_COLUMNS
};

/*
 * Rows (SWEEP_COLUMNS, all text and never NULL):
 *   'p', gid, its xid (32 bits), a recent xid8, '', age: every prepared transaction of this cluster in this database;
 *   'd', txid, outcome, proof in hex or '', shards, age: rows that this shard decided and that are older than every
 *        open transaction here.
 */
void decision_sweep_sql(struct buf *b, const struct sweep_query *q);
/* The whole of a 32-bit transaction id that was in use lately. 0: not to be understood. */
uint64_t decision_whole_xid(const char *xid, const char *recent);
/* Deletes these rows of this cluster and decider where they still may be collected. */
/* unproven: rows 'c' that prove nothing. The real decision of that name may stand in their place by now. */
void decision_collect_sql(struct buf *b, const struct sweep_query *q, const char *const *txids, size_t n,
                          const char *const *unproven, size_t n_unproven);

/*
 * decision_fence_sql() of n transactions in one message and one transaction; a row (txid, outcome, proof) for each.
 * In ascending order of txid, so that two resolvers cannot wait for each other in a circle. One key that is
 * held fails them all with 55P03.
 */
void decision_fences_sql(struct buf *b, const char *const *txids, const char *const *shards, size_t n);

/* Those of these transactions of one shard that did not commit: rows (xid, 'aborted', 'in progress', 'future', or
 * 'unknown': too long ago), both text. */
void decision_uncommitted_sql(struct buf *b, const uint64_t *xids, size_t n);

#endif
