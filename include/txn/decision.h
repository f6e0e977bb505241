/*
 * The decision table: its DDL, and the statements that read and write it. Whoever speaks to pgunison.decision uses these.
 */
#ifndef PGUNISON_TXN_DECISION_H
#define PGUNISON_TXN_DECISION_H

#include "base/buf.h"
#include "txn/gid.h"

extern const char decision_schema_sql[]; /* CREATE SCHEMA/TABLE IF NOT EXISTS and the rights that application roles need */
extern const char decision_check_sql[];  /* one row: whether the table is there and this role may use it */
/* One simple-Query message each. */
void decision_decide_sql(struct buf *b, const char *txid, const char *shards);   /* row 'c', synchronous_commit, COMMIT */
void decision_read_sql(struct buf *b, const char *txid);                          /* outcome, or no row */
void decision_fence_sql(struct buf *b, const char *txid, const char *shards);      /* row 'a', own transaction, short lock_timeout */

#endif
