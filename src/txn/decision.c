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
#include "decision_private.h"
#include "seeded_bug.h"
#include "txn_assert.h"

#include <inttypes.h>

/* The advisory lock: proxies that start together would otherwise trip over each other's CREATE … IF NOT
 * EXISTS. */
const char decision_schema_sql[] = "SELECT pg_catalog.pg_advisory_xact_lock(8101236501741561);\n"
                                   "CREATE SCHEMA IF NOT EXISTS pgunison;\n"
                                   "CREATE TABLE IF NOT EXISTS pgunison.decision (\n"
                                   "    txid     text PRIMARY KEY,\n"
                                   "    outcome  \"char\" NOT NULL,\n"
                                   "    shards   text NOT NULL,\n"
                                   "    at       timestamptz NOT NULL DEFAULT now());\n"
                                   "REVOKE ALL ON SCHEMA pgunison FROM PUBLIC;\n"
                                   "REVOKE ALL ON TABLE pgunison.decision FROM PUBLIC;\n"
                                   "GRANT USAGE ON SCHEMA pgunison TO PUBLIC;\n"
                                   "GRANT INSERT ON TABLE pgunison.decision TO PUBLIC";

/* pg_class is joined by hand: to_regclass() and has_table_privilege(name) would raise errors without USAGE on
 * the schema. */
const char decision_check_sql[] =
    "SELECT pg_catalog.count(c.oid) OPERATOR(pg_catalog.>) 0,"
    " COALESCE(pg_catalog.bool_and(pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')"
    " AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT')"
    " AND pg_catalog.has_table_privilege(c.oid, 'DELETE')), false),"
    " COALESCE(pg_catalog.bool_and(pg_catalog.has_schema_privilege('public', c.relnamespace, 'USAGE')"
    " AND pg_catalog.has_table_privilege('public', c.oid, 'INSERT')), false),"
    " (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
    "c.relnamespace"
    " WHERE n.nspname OPERATOR(pg_catalog.=) 'pgunison' AND c.relname OPERATOR(pg_catalog.=) 'decision'"
    " AND c.relkind OPERATOR(pg_catalog.=) 'r'";

/* The 5 s also end a wait for a synchronous standby; what was written is then committed locally, which is all
 * a fence needs. */
#define CONTROL_PREFIX                                                                                       \
    "SET LOCAL search_path = pg_catalog, pg_temp; SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ "     \
    "WRITE; "                                                                                                \
    "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '250ms'; "

static void append_literal(struct buf *b, const char *s)
{
    bool backslash = strchr(s, '\\') != NULL;
    buf_str(b, backslash ? "E'" : "'");
    for (size_t plain; *s; s += plain) { /* names of ours have none of the two */
        plain = strcspn(s, "'\\");
        buf_append(b, s, plain);
        if (!s[plain])
            break;
        buf_u8(b, (uint8_t)s[plain]);
        buf_u8(b, (uint8_t)s[plain++]);
    }
    buf_u8(b, '\'');
}

static void terminate(struct buf *b)
{
    *buf_reserve(b, 1) = '\0';
}

void decision_shards_format(struct buf *b, const char *cluster, const char *decider,
                            const char *const *participants, size_t n)
{
    TXN_ASSERT(n > 0);
    buf_str(b, cluster);
    buf_u8(b, '/');
    buf_str(b, decider);
    for (size_t i = 0; i < n; i++) {
        buf_u8(b, i ? ',' : '/');
        buf_str(b, participants[i]);
    }
    terminate(b);
}

static bool take_name(struct slice *rest, char name_r[GID_NAME_MAX_BYTES + 1])
{
    const uint8_t *slash = rest->len ? memchr(rest->data, '/', rest->len) : NULL;
    if (!slash)
        return false;
    struct slice name = slice_of(rest->data, (size_t)(slash - rest->data));
    if (!gid_name_valid(name))
        return false;
    memcpy(name_r, name.data, name.len);
    name_r[name.len] = '\0';
    *rest = slice_of(slash + 1, rest->len - name.len - 1);
    return true;
}

bool decision_shards_parse(struct slice text, char cluster_r[GID_NAME_MAX_BYTES + 1],
                           char decider_r[GID_NAME_MAX_BYTES + 1], struct slice *participants_r)
{
    if (!take_name(&text, cluster_r) || !take_name(&text, decider_r))
        return false;
    *participants_r = text;
    for (;;) {
        const uint8_t *comma = text.len ? memchr(text.data, ',', text.len) : NULL;
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        if (!gid_name_valid(slice_of(text.data, len)))
            return false;
        if (!comma)
            return true;
        text = slice_of(comma + 1, text.len - len - 1);
    }
}

/*
 * The CASE is evaluated before the INSERT gives the transaction an xid, so its first branch sees whether
 * there was one; NULL then fails on NOT NULL. The second is never NULL: from there on no statement_timeout can
 * end the COMMIT's wait for a synchronous standby, after which a failover would forget the decision. (A
 * lock_timeout may stay: it fails what waits, and that comes before the commit.) The last branch turns
 * synchronous_commit on where it is off, and leaves local, remote_apply and the others as the client chose
 * them. clock_timestamp(): now() would be the time of the transaction's BEGIN.
 */
#define DECIDE_INSERT "INSERT INTO pgunison.decision (txid, shards, outcome, at) VALUES ("
#define DECIDE_VALUES                                                                                        \
    ", CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN NULL "                             \
    "WHEN pg_catalog.set_config('statement_timeout', '0', true) IS NULL THEN NULL "                          \
    "WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.<>) 'off' THEN 'c' "          \
    "WHEN pg_catalog.set_config('synchronous_commit', 'on', true) IS NOT NULL THEN 'c' "                     \
    "END::pg_catalog.\"char\", pg_catalog.clock_timestamp())"

const char decision_insert_sql[] = DECIDE_INSERT "$1, $2" DECIDE_VALUES;

void decision_decide_sql(struct buf *b, const char *txid, const char *shards)
{
    buf_str(b, DECIDE_INSERT);
    append_literal(b, txid);
    buf_str(b, ", ");
    append_literal(b, shards);
    buf_str(b, DECIDE_VALUES "; COMMIT");
    terminate(b);
}

static void append_read(struct buf *b, const char *txid)
{
    buf_str(b, "SELECT outcome FROM pgunison.decision WHERE txid = ");
    append_literal(b, txid);
}

void decision_read_sql(struct buf *b, const char *txid)
{
    buf_str(b, CONTROL_PREFIX);
    append_read(b, txid);
    terminate(b);
}

static void append_fences(struct buf *b, const char *const *txids, const char *const *shards, size_t n)
{
    buf_str(b, CONTROL_PREFIX "SET LOCAL synchronous_commit = on; "
                              "INSERT INTO pgunison.decision (txid, shards, outcome, at) VALUES ");
    for (size_t i = 0; i < n; i++) {
        buf_str(b, i ? ", (" : "(");
        append_literal(b, txids[i]);
        buf_str(b, ", ");
        append_literal(b, shards[i]);
        buf_str(b, ", 'a', clock_timestamp())");
    }
    buf_str(b, " ON CONFLICT (txid) DO NOTHING; ");
}

/* As '{…}'. Names of transactions need no quotes. */
static void append_txids(struct buf *b, const char *const *txids, size_t n)
{
    buf_str(b, "'{");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, i ? ",%s" : "%s", txids[i]);
    buf_str(b, "}'::text[]");
}

void decision_fence_sql(struct buf *b, const char *txid, const char *shards)
{
    append_fences(b, &txid, &shards, 1);
    append_read(b, txid);
    terminate(b);
}

void decision_fences_sql(struct buf *b, const char *const *txids, const char *const *shards, size_t n)
{
    append_fences(b, txids, shards, n);
    buf_str(b, "SELECT txid, outcome FROM pgunison.decision WHERE txid = ANY (");
    append_txids(b, txids, n);
    buf_u8(b, ')');
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
    buf_str(b, CONTROL_PREFIX "SELECT 'p', gid, '', '', date_part('epoch', clock_timestamp() - "
                              "prepared)::text FROM pg_prepared_xacts "
                              "WHERE database = current_database() AND starts_with(gid, ");
    buf_printf(b, "'pgunison/%s/')", q->cluster);
    if (q->with_decisions) {
        buf_str(
            b,
            " UNION ALL (SELECT 'd', txid, outcome::text, shards, '' FROM pgunison.decision WHERE txid > ");
        append_literal(b, q->after_txid);
        buf_str(b, " AND ");
        append_collectable(b, q);
        buf_printf(b, " ORDER BY txid LIMIT %" PRIu64 ")", q->collect_batch);
    }
    terminate(b);
}

void decision_collect_sql(struct buf *b, const struct sweep_query *q, const char *const *txids, size_t n)
{
    buf_str(b, CONTROL_PREFIX "DELETE FROM pgunison.decision WHERE txid = ANY (");
    append_txids(b, txids, n);
    buf_str(b, ") AND ");
    append_collectable(b, q);
    terminate(b);
}
