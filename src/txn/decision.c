/*
 * Every statement that touches pgunison.decision.
 *
 * The decision is written on the client's own connection, where anything may have been set: names and
 * functions are qualified, operators too, timeouts are taken back with SET LOCAL, and no literal depends on
 * standard_conforming_strings. Statements for control connections begin with a search_path and an isolation
 * level of their own; they run in the implicit transaction of their one message, so an error leaves the
 * connection outside a transaction.
 *
 * What may be collected is asked of the shard itself: a row whose inserter is older than every transaction
 * still open there (pg_snapshot_xmin of a fresh snapshot, which any role may read). age() compares 32-bit ids
 * at their distance from now, so a wrapped-around id can only look younger than it is, and stays.
 */
#include "base/quote.h"
#include "decision_private.h"
#include "seeded_bug.h"
#include "txn_assert.h"

#include <inttypes.h>
#include <stdio.h>

/* The 5 s also end a wait for a synchronous standby; what was written is then committed locally, which is all
 * a fence needs. */
#define CONTROL_PREFIX                                                                                       \
    "SET LOCAL search_path = pg_catalog, pg_temp; SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ "     \
    "WRITE; "                                                                                                \
    "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '250ms'; "

/* Fails (22P02, the text is in its message) unless the table is one that only this role, or a superuser, can have
   made: reading a view of somebody else's, or writing into a table with his triggers, would run what he likes, as
   this role. */
#define TRUSTED_TABLE                                                                                        \
    "SELECT CASE WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "         \
    "JOIN pg_roles o ON o.oid = c.relowner JOIN pg_roles s ON s.oid = n.nspowner "                           \
    "WHERE n.nspname = 'pgunison' AND c.relname = 'decision' AND c.relkind = 'r' "                           \
    "AND (o.rolsuper OR o.rolname = CURRENT_USER) AND (s.rolsuper OR s.rolname = CURRENT_USER)) THEN 0 "     \
    "ELSE ('no table pgunison.decision that is owned by ' || CURRENT_USER::text || ' or a superuser')::int " \
    "END; "

static void append_literal(struct buf *b, const char *s)
{
    quote_literal(b, slice_str(s));
}

static void terminate(struct buf *b)
{
    *buf_reserve(b, 1) = '\0';
}

/*
 * The CASE is evaluated before the INSERT gives the transaction an xid, so its first branch sees whether
 * there was one; NULL then fails on NOT NULL. The second is never NULL: from there on no statement_timeout can
 * end the COMMIT's wait for a synchronous standby, after which a failover would forget the decision. (A
 * lock_timeout may stay: it fails what waits, and that comes before the commit.) The last branch turns
 * synchronous_commit on where it is off, and leaves local, remote_apply and the others as the client chose
 * them. clock_timestamp(): now() would be the time of the transaction's BEGIN.
 */
const char decision_insert_sql[] =
    "INSERT INTO pgunison.decision (txid, shards, proof, outcome, at) VALUES ($1, $2, pg_catalog.decode($3, "
    "'hex'), "
    "CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN NULL "
    "WHEN pg_catalog.set_config('statement_timeout', '0', true) IS NULL THEN NULL "
    "WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.<>) 'off' THEN 'c' "
    "WHEN pg_catalog.set_config('synchronous_commit', 'on', true) IS NOT NULL THEN 'c' "
    "END::pg_catalog.\"char\", pg_catalog.clock_timestamp())";

char decision_outcome(const char *txid, const char *outcome, const char *proof)
{
    if (!outcome || strlen(outcome) != 1)
        return 0;
    if (outcome[0] == 'a')
        return 'a';
    if (outcome[0] != 'c')
        return 0;
    if (SEEDED_BUG(BUG_ROW_UNPROVEN) || txid_without_proof(slice_str(txid)))
        return 'c';
    return proof && txid_proven(slice_str(txid), slice_str(proof)) ? 'c' : 0;
}

#define ROW_READ "SELECT %soutcome, COALESCE(encode(proof, 'hex'), '') FROM pgunison.decision WHERE txid = "

static void append_read(struct buf *b, const char *txid)
{
    buf_printf(b, ROW_READ, "");
    append_literal(b, txid);
}

void decision_read_sql(struct buf *b, const char *txid)
{
    buf_str(b, CONTROL_PREFIX TRUSTED_TABLE);
    append_read(b, txid);
    terminate(b);
}

void decision_status_sql(char sql_r[DECISION_STATUS_SQL_BYTES], uint64_t xid)
{
    snprintf(sql_r, DECISION_STATUS_SQL_BYTES,
             "SELECT pg_catalog.pg_xact_status('%" PRIu64 "'::pg_catalog.xid8)", xid);
}

/* As '{…}'. Names of transactions need no quotes. */
static void append_txids(struct buf *b, const char *const *txids, size_t n)
{
    buf_str(b, "'{");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, i ? ",%s" : "%s", txids[i]);
    buf_str(b, "}'::text[]");
}

/* A row that says 'c' and does not prove it holds the key as well as a fence does: it becomes one. Nobody can have
   decided meanwhile, and whoever tries will fail. */
static void append_fences(struct buf *b, const char *const *txids, const char *const *shards, size_t n)
{
    buf_str(b, CONTROL_PREFIX "SET LOCAL synchronous_commit = on; " TRUSTED_TABLE
                              "INSERT INTO pgunison.decision (txid, shards, outcome, at) VALUES ");
    for (size_t i = 0; i < n; i++) {
        buf_str(b, i ? ", (" : "(");
        append_literal(b, txids[i]);
        buf_str(b, ", ");
        append_literal(b, shards[i]);
        buf_str(b, ", 'a', clock_timestamp())");
    }
    buf_str(b, " ON CONFLICT (txid) DO NOTHING; ");
    if (SEEDED_BUG(BUG_ROW_UNPROVEN)) /* which would be repaired, and not noticed */
        return;
    buf_str(b, "UPDATE pgunison.decision SET outcome = 'a', proof = NULL, at = clock_timestamp() WHERE txid "
               "= ANY (");
    append_txids(b, txids, n);
    buf_str(b, ") AND outcome = 'c' AND NOT " DECISION_PROVEN("") "; ");
}

void decision_fence_sql(struct buf *b, const char *txid, const char *shards)
{
    append_fences(b, &txid, &shards, 1);
    append_read(b, txid);
    terminate(b);
}

size_t decision_fence_bytes(size_t txid_bytes, size_t shards_bytes)
{
    return 2048 + 3 * txid_bytes + shards_bytes;
}

void decision_fences_sql(struct buf *b, const char *const *txids, const char *const *shards, size_t n)
{
    append_fences(b, txids, shards, n);
    buf_printf(b, ROW_READ "ANY (", "txid, ");
    append_txids(b, txids, n);
    buf_u8(b, ')');
    terminate(b);
}

void decision_uncommitted_sql(struct buf *b, const uint64_t *xids, size_t n)
{
    buf_str(b, CONTROL_PREFIX
            "SELECT x, s FROM (SELECT x, CASE WHEN x::xid8 < pg_snapshot_xmax(pg_current_snapshot()) "
            "THEN COALESCE(pg_xact_status(x::xid8), 'unknown') ELSE 'future' END AS s FROM unnest('{");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, i ? ",%" PRIu64 : "%" PRIu64, xids[i]);
    buf_str(b, "}'::text[]) AS x) AS y WHERE s <> 'committed'");
    terminate(b);
}

/* Rows that this shard decided for this cluster and that no open transaction can contradict any more. Any
   role may have inserted anything: what is too long to be ours is not even fetched. */
static void append_collectable(struct buf *b, const struct sweep_query *q)
{
    buf_printf(b,
               "starts_with(shards, '%s/%s/') AND octet_length(shards) <= 16384 AND octet_length(txid) <= %d",
               q->cluster, q->shard, TXID_MAX_BYTES);
    buf_printf(b,
               " AND (outcome = 'c' OR outcome = 'a' AND at < clock_timestamp() - interval '%" PRIu64 " us'",
               q->fence_keep_us);
    if (SEEDED_BUG(BUG_FENCE_COLLECTED_EARLY))
        buf_str(b, ")");
    else
        buf_str(b, ") AND age(xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid)");
}

void decision_sweep_sql(struct buf *b, const struct sweep_query *q)
{
    buf_str(b, q->with_decisions ? CONTROL_PREFIX TRUSTED_TABLE : CONTROL_PREFIX);
    buf_str(b, "SELECT 'p', gid, transaction::text, pg_snapshot_xmax(pg_current_snapshot())::text, '', "
               "date_part('epoch', clock_timestamp() - prepared)::text FROM pg_prepared_xacts "
               "WHERE database = current_database() AND starts_with(gid, ");
    buf_printf(b, "'pgunison/%s/')", q->cluster);
    if (q->with_decisions) {
        buf_str(b, " UNION ALL (SELECT 'd', txid, outcome::text, COALESCE(encode(proof, 'hex'), ''), shards, "
                   "date_part('epoch', clock_timestamp() - at)::text FROM pgunison.decision WHERE txid > ");
        append_literal(b, q->after_txid);
        buf_str(b, " AND ");
        append_collectable(b, q);
        buf_printf(b, " ORDER BY txid LIMIT %" PRIu64 ")", q->collect_batch);
    }
    terminate(b);
}

static void append_delete(struct buf *b, const struct sweep_query *q, const char *const *txids, size_t n)
{
    buf_str(b, "DELETE FROM pgunison.decision WHERE txid = ANY (");
    append_txids(b, txids, n);
    buf_str(b, ") AND ");
    append_collectable(b, q);
}

void decision_collect_sql(struct buf *b, const struct sweep_query *q, const char *const *txids, size_t n,
                          const char *const *unproven, size_t n_unproven)
{
    buf_str(b, CONTROL_PREFIX TRUSTED_TABLE);
    if (n > 0)
        append_delete(b, q, txids, n);
    if (n_unproven > 0) {
        buf_str(b, n > 0 ? "; " : "");
        append_delete(b, q, unproven, n_unproven);
        buf_str(b, " AND outcome = 'c' AND NOT " DECISION_PROVEN(""));
    }
    terminate(b);
}
