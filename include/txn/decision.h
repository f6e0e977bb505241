/*
 * The decision table: its DDL, and the statements that read and write it. Whoever speaks to pgunison.decision
 * uses these.
 *
 * Column `shards` is <cluster>/<decider>/<participant>,<participant>…: the cluster, because two clusters may
 * keep their tables on the same servers and neither may collect the other's rows; the decider, because two
 * shards may share one database.
 */
#ifndef PGUNISON_TXN_DECISION_H
#define PGUNISON_TXN_DECISION_H

#include "base/buf.h"
#include "txn/gid.h"

/* CREATE SCHEMA/TABLE IF NOT EXISTS and the rights that application roles need */
extern const char decision_schema_sql[];
/* One row of booleans: the table is there; this role may read, insert and delete; every role may insert; this
   role may finish transactions that other roles prepared (superuser). Never an error. */
extern const char decision_check_sql[];

void decision_shards_format(struct buf *b, const char *cluster, const char *decider,
                            const char *const *participants, size_t n);
/* participants_r: the comma-separated names, at least one, each valid; points into text. False: not of that
 * form. */
bool decision_shards_parse(struct slice text, char cluster_r[GID_NAME_MAX_BYTES + 1],
                           char decider_r[GID_NAME_MAX_BYTES + 1], struct slice *participants_r);
/* One simple-Query message each, NUL-terminated in the buffer (the NUL is not counted). */

/* In the decider's open transaction: row 'c', synchronous_commit not off, COMMIT. Tag COMMIT. Fails, and with
   it the transaction, if there is a fence (23505, before the COMMIT: status 'E'), or if the transaction has
   no xid yet (23502): then it either is not the transaction it should be, or could decide after a fence was
   collected. */
void decision_decide_sql(struct buf *b, const char *txid, const char *shards);
/* Its INSERT, to be prepared: $1 the txid, $2 shards, both text. */
extern const char decision_insert_sql[];
/* On a control connection. One row, one column: the outcome; or no row. */
void decision_read_sql(struct buf *b, const char *txid);
/* On a control connection, its own transaction: makes sure that there is a row, 'a' if there was none, and
   returns the outcome that stands: one row, one column. 55P03: a transaction that may be committing holds the
   key; ask again. No row: it was collected meanwhile; ask again. */
void decision_fence_sql(struct buf *b, const char *txid, const char *shards);

#endif
