/*
 * The decision table itself, and what a shard is asked about it.
 *
 * Who may do what:
 *
 *   everybody              inserts rows 'c' with a proof, which the CHECK compares with the transaction's name; nothing
 *                          else, and reads nothing
 *   the table's owner      writes fences, reads, deletes: the control role is this, or a superuser
 *
 * So a role of the application's can decide what it began itself, as nobody else knows the secret, and nothing more.
 * A row without a proof passes the CHECK if its transaction's name has none either: those that earlier versions wrote.
 * Only the owner can write such a row any more.
 *
 * Whoever owns the table, or its schema, could take all this away, and have the control role run what he likes
 * (triggers, views). So a table of somebody else's is not used, and not touched.
 */
#include "decision_private.h"

/* The advisory lock: proxies that start together would otherwise trip over each other's CREATE … IF NOT EXISTS.
   NOT VALID: whatever stands in an older table, that it cannot be added to is what counts. NULL passes the policy, for
   NOT NULL to refuse it. */
const char decision_schema_sql[] =
    "SELECT pg_catalog.pg_advisory_xact_lock(8101236501741561);\n"
    "CREATE SCHEMA IF NOT EXISTS pgunison;\n"
    "CREATE TABLE IF NOT EXISTS pgunison.decision (\n"
    "    txid     pg_catalog.text PRIMARY KEY,\n"
    "    outcome  pg_catalog.\"char\" NOT NULL,\n"
    "    proof    pg_catalog.bytea,\n"
    "    shards   pg_catalog.text NOT NULL,\n"
    "    at       pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now());\n"
    "ALTER TABLE pgunison.decision ADD COLUMN IF NOT EXISTS proof pg_catalog.bytea;\n"
    "ALTER TABLE pgunison.decision DROP CONSTRAINT IF EXISTS decision_proof;\n"
    "ALTER TABLE pgunison.decision ADD CONSTRAINT decision_proof CHECK (\n"
    "    CASE WHEN outcome OPERATOR(pg_catalog.=) 'a' THEN proof IS NULL\n"
    "         WHEN outcome OPERATOR(pg_catalog.=) 'c' THEN " DECISION_PROVEN(
        "pg_catalog.") "\n"
                       "         ELSE false END) NOT VALID;\n"
                       "ALTER TABLE pgunison.decision ENABLE ROW LEVEL SECURITY;\n"
                       "DROP POLICY IF EXISTS decide ON pgunison.decision;\n"
                       "CREATE POLICY decide ON pgunison.decision FOR INSERT TO PUBLIC WITH CHECK (\n"
                       "    CASE WHEN outcome IS NULL THEN true\n"
                       "         ELSE outcome OPERATOR(pg_catalog.=) 'c' AND proof IS NOT NULL END);\n"
                       "REVOKE ALL ON SCHEMA pgunison FROM PUBLIC;\n"
                       "REVOKE ALL ON TABLE pgunison.decision FROM PUBLIC;\n"
                       "GRANT USAGE ON SCHEMA pgunison TO PUBLIC;\n"
                       "GRANT INSERT ON TABLE pgunison.decision TO PUBLIC";

/* pg_class is joined by hand: to_regclass() and has_table_privilege(name) would raise errors without USAGE on
 * the schema. */
const char decision_check_sql[] =
    "WITH me AS (SELECT r.oid, r.rolsuper FROM pg_catalog.pg_roles r"
    " WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER),"
    " t AS (SELECT n.oid AS schema, c.*, (n.nspowner OPERATOR(pg_catalog.=) me.oid OR so.rolsuper)"
    " AND (c.oid IS NULL OR c.relowner OPERATOR(pg_catalog.=) me.oid OR o.rolsuper) AS trusted"
    " FROM me JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) 'pgunison'"
    " LEFT JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid"
    " AND c.relname OPERATOR(pg_catalog.=) 'decision'"
    " LEFT JOIN pg_catalog.pg_roles so ON so.oid OPERATOR(pg_catalog.=) n.nspowner"
    " LEFT JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) c.relowner)"
    " SELECT pg_catalog.count(t.oid) OPERATOR(pg_catalog.>) 0, COALESCE(pg_catalog.bool_and(t.trusted), "
    "true),"
    " COALESCE(pg_catalog.bool_and(t.relkind OPERATOR(pg_catalog.=) 'r' AND t.relrowsecurity"
    " AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) t.oid"
    " AND a.attname OPERATOR(pg_catalog.=) 'proof' AND NOT a.attisdropped)"
    " AND EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) t.oid"
    " AND k.conname OPERATOR(pg_catalog.=) 'decision_proof' AND k.contype OPERATOR(pg_catalog.=) 'c')"
    " AND EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid OPERATOR(pg_catalog.=) t.oid"
    " AND p.polname OPERATOR(pg_catalog.=) 'decide')), false),"
    " COALESCE(pg_catalog.bool_and((SELECT me.rolsuper FROM me) OR pg_catalog.pg_has_role(t.relowner, "
    "'USAGE')"
    " AND pg_catalog.has_schema_privilege(t.schema, 'USAGE')), false),"
    " COALESCE(pg_catalog.bool_and(pg_catalog.has_schema_privilege('public', t.schema, 'USAGE')"
    " AND pg_catalog.has_table_privilege('public', t.oid, 'INSERT')), false),"
    " (SELECT me.rolsuper FROM me) FROM t";
