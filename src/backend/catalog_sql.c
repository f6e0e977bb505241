/*
 * The query that loads one relation: PostgreSQL 13 and later, one result set of text columns.
 *
 *     R  what the name means: schema, name, relkind, persistence
 *     I  of an index, its table: schema, name
 *     A  it (depth 0; of an index: its table), and what it inherits from:
 *        schema, name, relkind, persistence, depth, has the wildcard's column
 *     B  what a view reads: as A
 *     C  a column: name, type, collation, sorts as C, deterministic,
 *        default (false, true, constant, generated), not null, typmod
 *     S  a schema of the search path as it is in effect: name, position
 *     D  where the name would be created: schema
 *     Z  always; sorts last
 *     F, N  what code behind it does: catalog_code.c
 *
 * Columns that not every version has are read through to_jsonb(), which gives null for those that are not
 * there (datlocprovider since 15, datlocale and colllocale since 17).
 *
 * What a view reads through functions is not seen by anybody but the function.
 */
#include "backend/catalog.h"

#include "base/quote.h"
#include "catalog_sql.h"

/* What the name means, its table if it is an index, what it reads if it is a view, and their ancestors. */
static const char sql_relations[] =
    "r AS (SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
    "c.relnamespace"
    " WHERE c.oid OPERATOR(pg_catalog.=) (SELECT asked.oid FROM asked)),"
    "t AS (SELECT COALESCE(x.indrelid, r.oid) AS oid"
    " FROM r LEFT JOIN pg_catalog.pg_index x ON x.indexrelid OPERATOR(pg_catalog.=) r.oid),"
    "seen(oid) AS (SELECT r.oid FROM r WHERE r.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}')"
    " UNION SELECT d.refobjid FROM seen"
    " JOIN pg_catalog.pg_class v ON v.oid OPERATOR(pg_catalog.=) seen.oid AND v.relkind "
    "OPERATOR(pg_catalog.=) ANY ('{v,m}')"
    " JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) v.oid"
    " JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) "
    "'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) "
    "w.oid"
    " AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass),"
    "up(kind, oid, depth) AS ((SELECT 'A'::pg_catalog.text, t.oid, 0 FROM t"
    " UNION ALL SELECT 'B'::pg_catalog.text, seen.oid, 0 FROM seen)"
    " UNION SELECT up.kind, i.inhparent, up.depth OPERATOR(pg_catalog.+) 1 FROM up JOIN "
    "pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) "
    "up.oid),";

/* Columns with their base types; a domain's default counts as the column's. */
static const char sql_columns[] =
    "a AS (SELECT x.* FROM t JOIN pg_catalog.pg_attribute x ON x.attrelid OPERATOR(pg_catalog.=) t.oid"
    " WHERE x.attnum OPERATOR(pg_catalog.>) 0 AND NOT x.attisdropped),"
    "ty(attnum, oid, has_default, typmod) AS (SELECT a.attnum, a.atttypid, false, a.atttypmod FROM a"
    " UNION ALL SELECT ty.attnum, y.typbasetype, ty.has_default OR y.typdefault IS NOT NULL,"
    " CASE WHEN ty.typmod OPERATOR(pg_catalog.>=) 0 THEN ty.typmod ELSE y.typtypmod END FROM ty"
    " JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) ty.oid AND y.typtype OPERATOR(pg_catalog.=) "
    "'d'),"
    "db AS (SELECT CASE WHEN p.provider OPERATOR(pg_catalog.=) 'c' THEN d.datcollate::pg_catalog.text "
    "OPERATOR(pg_catalog.=) ANY ('{C,POSIX}')"
    " WHEN p.provider OPERATOR(pg_catalog.=) 'b' THEN "
    "pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(d), 'datlocale')"
    " OPERATOR(pg_catalog.=) ANY ('{C,C.UTF-8,PG_UNICODE_FAST}')"
    " ELSE false END AS is_c FROM pg_catalog.pg_database d CROSS JOIN LATERAL (SELECT COALESCE("
    "pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(d), 'datlocprovider'), 'c') AS provider) p WHERE "
    "d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()),"
    "col AS (SELECT a.attnum, a.attname, ty.oid AS type_oid, a.attcollation,"
    " CASE WHEN co.collprovider OPERATOR(pg_catalog.=) 'd' THEN (SELECT db.is_c FROM db)"
    " WHEN co.collprovider OPERATOR(pg_catalog.=) 'c' THEN co.collcollate::pg_catalog.text "
    "OPERATOR(pg_catalog.=) ANY ('{C,POSIX}')"
    " WHEN co.collprovider OPERATOR(pg_catalog.=) 'b' THEN "
    "pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(co), 'colllocale')"
    " OPERATOR(pg_catalog.=) ANY ('{C,C.UTF-8,PG_UNICODE_FAST}')"
    " ELSE false END AS is_c, COALESCE(co.collisdeterministic, true) AS deterministic,"
    " CASE WHEN a.attgenerated OPERATOR(pg_catalog.<>) '' THEN 'generated' WHEN a.atthasdef AND "
    "a.attidentity OPERATOR(pg_catalog.=) '' AND ("
    "SELECT pg_catalog.pg_get_expr(x.adbin, x.adrelid) OPERATOR(pg_catalog.~) "
    "'^(''([^'']|'''')*''|-?[0-9.]+|true|false|NULL)(::[a-z0-9 _\"()]+)*$'"
    " FROM pg_catalog.pg_attrdef x WHERE x.adrelid OPERATOR(pg_catalog.=) a.attrelid AND x.adnum "
    "OPERATOR(pg_catalog.=) a.attnum) THEN 'constant'"
    " WHEN a.atthasdef OR a.attidentity OPERATOR(pg_catalog.<>) '' OR ty.has_default THEN 'true' ELSE "
    "'false' END AS has_default,"
    " a.attnotnull, ty.typmod"
    " FROM a JOIN ty ON ty.attnum OPERATOR(pg_catalog.=) a.attnum JOIN pg_catalog.pg_type y ON y.oid "
    "OPERATOR(pg_catalog.=) ty.oid AND y.typtype OPERATOR(pg_catalog.<>) 'd'"
    " LEFT JOIN pg_catalog.pg_collation co ON co.oid OPERATOR(pg_catalog.=) a.attcollation),";

static const char sql_rows[] =
    "q(kind, ord, a, b, c, d, e, f, g, h) AS ("
    "SELECT 'R'::pg_catalog.text, 0, r.nspname::pg_catalog.text, r.relname::pg_catalog.text,"
    " r.relkind::pg_catalog.text, r.relpersistence::pg_catalog.text, NULL::pg_catalog.text, "
    "NULL::pg_catalog.text,"
    " NULL::pg_catalog.text, NULL::pg_catalog.text FROM r"
    " UNION ALL SELECT up.kind, up.depth, n.nspname, c.relname, c.relkind::pg_catalog.text,"
    " c.relpersistence::pg_catalog.text, up.depth::pg_catalog.text,"
    " (EXISTS (SELECT FROM pg_catalog.pg_attribute x WHERE x.attrelid OPERATOR(pg_catalog.=) c.oid AND "
    "x.attnum OPERATOR(pg_catalog.>) 0"
    " AND NOT x.attisdropped AND x.attname OPERATOR(pg_catalog.=) (SELECT wild.name FROM "
    "wild)))::pg_catalog.text, NULL, NULL"
    " FROM up JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) up.oid"
    " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
    " UNION ALL SELECT 'C', col.attnum, col.attname, col.type_oid::pg_catalog.text,"
    " col.attcollation::pg_catalog.text, col.is_c::pg_catalog.text, col.deterministic::pg_catalog.text,"
    " col.has_default::pg_catalog.text, col.attnotnull::pg_catalog.text,"
    " col.typmod::pg_catalog.text FROM col"
    " UNION ALL SELECT 'S', s.ord::pg_catalog.int4, s.name, s.ord::pg_catalog.text, NULL, NULL, NULL, NULL, "
    "NULL, NULL"
    " FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) WITH ORDINALITY s(name, ord)"
    " UNION ALL SELECT 'D', 0, pg_catalog.current_schema(), NULL, NULL, NULL, NULL, NULL, NULL, NULL"
    " UNION ALL SELECT 'Z', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    "SELECT q.kind, q.a, q.b, q.c, q.d, q.e, q.f, q.g, q.h FROM q ORDER BY q.kind, q.ord";

void catalog_load_sql(const struct database_def *db, const char *schema, const char *name, struct buf *sql)
{
    struct buf text;
    buf_init(&text);
    if (schema && *schema) {
        quote_identifier(&text, slice_str(schema));
        buf_u8(&text, '.');
    }
    quote_identifier(&text, slice_str(name));
    buf_str(sql, "WITH RECURSIVE asked(oid) AS (SELECT pg_catalog.to_regclass(");
    quote_literal(sql, buf_slice(&text));
    buf_str(sql, ")::pg_catalog.oid),wild(name) AS (SELECT ");
    if (db->wildcard)
        quote_literal(sql, slice_str(db->wildcard->column));
    else
        buf_str(sql, "NULL");
    buf_str(sql, "::pg_catalog.name),");
    buf_str(sql, sql_relations);
    buf_str(sql, sql_columns);
    buf_str(sql, sql_rows);
    buf_u8(sql, ';'); /* planned by itself */
    catalog_relation_code_sql(buf_slice(&text), sql);
    buf_free(&text);
}
