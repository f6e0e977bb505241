/*
 * The decision table: its DDL, and the statements that read and write it. Whoever speaks to pgunison.decision
 * uses these.
 *
 * A row proves itself: everybody may read the names of prepared transactions, and application roles write their own
 * decisions, so a row 'c' counts only with the secret whose hash stands in the name, whoever wrote it.
 *
 * Column `shards` is <cluster>/<decider>/<participant>:<xid>,<participant>:<xid>…: the cluster, because two clusters
 * may keep their tables on the same servers and neither may collect the other's rows; the decider, because two
 * shards may share one database; and each participant's own transaction id, so that what became of it can be asked
 * when it is not prepared any more. Rows of earlier versions have no ids.
 */
#ifndef PGUNISON_TXN_DECISION_H
#define PGUNISON_TXN_DECISION_H

#include "base/buf.h"
#include "txn/gid.h"

/* CREATE SCHEMA/TABLE IF NOT EXISTS, what earlier versions' tables lack, and the rights that application roles need.
 * Every name is qualified: it may be run by hand. */
extern const char decision_schema_sql[];
/* One row of booleans (enum decision_check). Never an error. */
extern const char decision_check_sql[];
enum decision_check {
    DECISION_THERE,   /* there is something of that name, or at least its schema */
    DECISION_TRUSTED, /* ... and nobody but a superuser or this role owns it and its schema */
    DECISION_CURRENT, /* a table with all that decision_schema_sql gives it */
    DECISION_OWNED,   /* this role has its owner's rights: may write fences */
    DECISION_OPEN,    /* every role may insert */
    DECISION_SUPER,   /* this role may finish transactions that other roles prepared (superuser) */
    DECISION_CHECKS
};

struct decision_participant {
    const char *shard;
    uint64_t xid; /* 0: not known */
};

void decision_shards_format(struct buf *b, const char *cluster, const char *decider,
                            const struct decision_participant *participants, size_t n);
/* What that takes at most; names_bytes: of the decider and the participants together. */
size_t decision_shards_bytes(size_t cluster_bytes, size_t names_bytes, size_t n);
/* participants_r: the comma-separated participants, at least one, each valid; points into text. False: not of that
 * form. */
bool decision_shards_parse(struct slice text, char cluster_r[GID_NAME_MAX_BYTES + 1],
                           char decider_r[GID_NAME_MAX_BYTES + 1], struct slice *participants_r);
/* The next of what decision_shards_parse() gave. False: there is none. xid 0: not known. */
bool decision_next_participant(struct slice *participants, struct slice *name_r, uint64_t *xid_r);
/* A transaction's own id on one shard, as PostgreSQL writes xid8. */
bool decision_xid_parse(const char *text, uint64_t *xid_r);

/* What a row says of txid: 'c', 'a', or 0, nothing. Its cells as text, proof in hex; NULL is a cell of its own. */
char decision_outcome(const char *txid, const char *outcome, const char *proof);

/* In the decider's open transaction: row 'c', synchronous_commit not off; to be prepared. $1 the txid, $2 shards, $3
   the secret in hex, all text. COMMIT follows in the same message. Fails, and with it the transaction, if there is a
   fence (23505, before the COMMIT: status 'E'), or if the transaction has no xid yet (23502): then it either is not
   the transaction it should be, or could decide after a fence was collected. */
extern const char decision_insert_sql[];

/* One simple-Query message each, NUL-terminated in the buffer (the NUL is not counted). */

/* On a control connection. One row, columns outcome and proof; or no row. */
void decision_read_sql(struct buf *b, const char *txid);
/* On a control connection, its own transaction: makes sure that there is a row that counts, 'a' if there was none, and
   returns what stands: one row, columns outcome and proof. 55P03: a transaction that may be committing holds the
   key; ask again. No row: it was collected meanwhile; ask again. */
void decision_fence_sql(struct buf *b, const char *txid, const char *shards);
/* That it takes at most, of names that are valid. */
size_t decision_fence_bytes(size_t txid_bytes, size_t shards_bytes);
/* On a control connection: how transaction xid of that shard ended. One row, one column: 'committed', 'aborted', 'in
   progress', or NULL: too long ago. */
#define DECISION_STATUS_SQL_BYTES 80
void decision_status_sql(char sql_r[DECISION_STATUS_SQL_BYTES], uint64_t xid);

#endif
