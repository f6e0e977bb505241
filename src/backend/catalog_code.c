/*
 * What code does behind a name: the part of the catalog query that follows functions, triggers, defaults, checks, rules,
 * policies and views to whatever they call, and says what of it may stay in a session (sql/effects.h).
 *
 *     code    (mode, kind, oid): all that may run. mode r: when the relation is read, w: when it is written, f: when the
 *             function is called. kind p: a function; v, r: a relation that is read, written; t: a type of the application's
 *     body    of those, the functions
 *     bits    effects, of one function or relation each
 *     names   custom variables that bodies set by a literal name: no query of the server's lists those
 *
 * Compiled expressions name what they call by OID (pg_node_tree as text). Bodies of SQL and PL/pgSQL are read as text: every
 * word that is a function's or a relation's name, in any schema, counts as a use of it; EXECUTE, and languages that are not
 * known, count as code that nobody has seen. C functions that are not volatile are trusted, and so are those of extensions
 * that are known to leave nothing. Every other volatile function counts as one that may write: PostgreSQL lets no other kind
 * of function do so, but those may call volatile ones. So what is missed are names that a text does not spell, such as U&"..." (which counts as
 * unseen), and event triggers.
 */
#include "backend/catalog.h"
#include "base/quote.h"
#include "catalog_sql.h"
#include "sql/effects.h"

/* pg_catalog's own have smaller OIDs: access/transam.h, FirstNormalObjectId. */
#define FIRST_OF_USERS "16384"

static const char sql_code[] =
    "code(mode, kind, oid) AS (SELECT start.mode, start.kind, start.oid FROM start"
    " UNION SELECT c.mode, n.kind, n.oid FROM code c CROSS JOIN LATERAL ("
    " SELECT k.kind, k.oid FROM pg_catalog.pg_proc b"
    " JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) b.prolang AND l.lanname "
    "OPERATOR(pg_catalog.=) ANY ('{sql,plpgsql}')"
    " CROSS JOIN LATERAL (SELECT ARRAY("
    " SELECT pg_catalog.lower(x.x[1] COLLATE pg_catalog.\"C\")::pg_catalog.name"
    " FROM pg_catalog.regexp_matches(b.prosrc, '((?:[^[:space:][:punct:]]|[_$])+)', 'g') AS x(x)"
    " UNION SELECT x.x[1]::pg_catalog.name FROM pg_catalog.regexp_matches(b.prosrc, '\"([^\"]+)\"', 'g') AS "
    "x(x)) AS words) w"
    " CROSS JOIN LATERAL (SELECT 'p'::pg_catalog.text AS kind, q.oid FROM pg_catalog.pg_proc q"
    " WHERE q.proname OPERATOR(pg_catalog.=) ANY (w.words) AND q.proname OPERATOR(pg_catalog.<>) 'set_config'"
    " AND (q.pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace OR q.proname "
    "OPERATOR(pg_catalog.=) ANY (SELECT flagged.name FROM "
    "flagged) OR (q.provolatile OPERATOR(pg_catalog.=) 'v' AND q.proname OPERATOR(pg_catalog.<>) ALL (SELECT "
    "quiet.name FROM quiet)))"
    " UNION ALL SELECT 'r', y.oid FROM pg_catalog.pg_class y"
    " WHERE y.relname OPERATOR(pg_catalog.=) ANY (w.words) AND y.relkind OPERATOR(pg_catalog.=) ANY "
    "('{r,p,v,m,f}') AND y.relnamespace OPERATOR(pg_catalog.<>)"
    " ALL (ARRAY['pg_catalog'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace])"
    " UNION ALL SELECT 't', y.oid FROM pg_catalog.pg_type y WHERE y.typname OPERATOR(pg_catalog.=) ANY "
    "(w.words) AND y.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION ALL SELECT 'p', q.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator q WHERE q.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " AND pg_catalog.strpos(b.prosrc, q.oprname::pg_catalog.text) OPERATOR(pg_catalog.<>) 0) k"
    " WHERE c.kind OPERATOR(pg_catalog.=) 'p' AND b.oid OPERATOR(pg_catalog.=) c.oid"
    " UNION ALL SELECT CASE WHEN x.x[1] OPERATOR(pg_catalog.=) 'relid' THEN trees.rel"
    " WHEN x.x[1] OPERATOR(pg_catalog.=) 'resulttype' THEN 't' ELSE 'p' END, "
    "x.x[2]::pg_catalog.oid FROM ("
    " SELECT (SELECT pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(p), 'prosqlbody')"
    " FROM pg_catalog.pg_proc p WHERE c.kind OPERATOR(pg_catalog.=) 'p' AND p.oid OPERATOR(pg_catalog.=) "
    "c.oid AND p.prosrc OPERATOR(pg_catalog.=) '') AS tree, "
    "'r'::pg_catalog.text AS rel"
    " UNION ALL SELECT (SELECT pg_catalog.string_agg(pg_catalog.concat(w.ev_action::pg_catalog.text, "
    "w.ev_qual::pg_catalog.text), ' ')"
    " FROM pg_catalog.pg_rewrite w WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid AND (c.kind "
    "OPERATOR(pg_catalog.=) 'r' OR w.ev_type OPERATOR(pg_catalog.=) '1')), c.kind "
    "WHERE c.kind OPERATOR(pg_catalog.=) ANY ('{r,v}')"
    " UNION ALL SELECT pg_catalog.concat("
    " (SELECT pg_catalog.string_agg(pg_catalog.concat(y.polqual::pg_catalog.text, ' ', "
    "y.polwithcheck::pg_catalog.text), ' ')"
    " FROM pg_catalog.pg_policy y WHERE y.polrelid OPERATOR(pg_catalog.=) c.oid),"
    " (SELECT pg_catalog.string_agg(d.adbin::pg_catalog.text, ' ') FROM pg_catalog.pg_attrdef d WHERE c.kind "
    "OPERATOR(pg_catalog.=) 'r' AND d.adrelid OPERATOR(pg_catalog.=) c.oid),"
    " (SELECT pg_catalog.string_agg(o.conbin::pg_catalog.text, ' ') FROM pg_catalog.pg_constraint o"
    " WHERE c.kind OPERATOR(pg_catalog.=) 'r' AND o.conrelid OPERATOR(pg_catalog.=) c.oid AND o.contype "
    "OPERATOR(pg_catalog.=) 'c'),"
    " (SELECT pg_catalog.string_agg(pg_catalog.concat(o.conbin::pg_catalog.text, ' ', "
    "y.typdefaultbin::pg_catalog.text), ' ')"
    " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) a.atttypid "
    "AND y.typtype OPERATOR(pg_catalog.=) 'd'"
    " LEFT JOIN pg_catalog.pg_constraint o ON o.contypid OPERATOR(pg_catalog.=) y.oid WHERE c.kind "
    "OPERATOR(pg_catalog.=) 'r' AND a.attrelid OPERATOR(pg_catalog.=) c.oid),"
    " (SELECT pg_catalog.string_agg(pg_catalog.concat(i.indexprs::pg_catalog.text, ' ', "
    "i.indpred::pg_catalog.text), ' ')"
    " FROM pg_catalog.pg_index i WHERE c.kind OPERATOR(pg_catalog.=) 'r' AND i.indrelid "
    "OPERATOR(pg_catalog.=) c.oid),"
    " (SELECT pg_catalog.string_agg(g.tgqual::pg_catalog.text, ' ') FROM pg_catalog.pg_trigger g"
    " WHERE c.kind OPERATOR(pg_catalog.=) 'r' AND g.tgrelid OPERATOR(pg_catalog.=) c.oid)), 'v' WHERE c.kind "
    "OPERATOR(pg_catalog.=) ANY ('{r,v}')"
    " UNION ALL SELECT pg_catalog.concat(y.typdefaultbin::pg_catalog.text, (SELECT "
    "pg_catalog.string_agg(o.conbin::pg_catalog.text, ' ') FROM pg_catalog.pg_constraint o"
    " WHERE o.contypid OPERATOR(pg_catalog.=) y.oid)), 'v' FROM pg_catalog.pg_type y WHERE c.kind "
    "OPERATOR(pg_catalog.=) 't' AND y.oid OPERATOR(pg_catalog.=) c.oid) AS trees"
    " CROSS JOIN LATERAL pg_catalog.regexp_matches(trees.tree, "
    "':(funcid|opfuncid|aggfnoid|winfnoid|relid|resulttype) "
    "([0-9]+)', 'g') AS x(x)"
    " WHERE x.x[1] OPERATOR(pg_catalog.<>) 'resulttype' OR x.x[2]::pg_catalog.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION ALL SELECT 'p', g.tgfoid FROM pg_catalog.pg_trigger g WHERE c.kind OPERATOR(pg_catalog.=) 'r' "
    "AND g.tgrelid OPERATOR(pg_catalog.=) c.oid "
    "AND NOT g.tgisinternal"
    " UNION ALL SELECT 'r', o.conrelid FROM pg_catalog.pg_constraint o WHERE c.kind OPERATOR(pg_catalog.=) "
    "'r' AND o.confrelid OPERATOR(pg_catalog.=) "
    "c.oid"
    " AND (o.confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}') OR o.confupdtype OPERATOR(pg_catalog.=) ANY "
    "('{c,n,d}'))"
    " UNION ALL SELECT c.kind, i.inhrelid FROM pg_catalog.pg_inherits i WHERE c.kind OPERATOR(pg_catalog.=) "
    "ANY ('{r,v}') AND "
    "i.inhparent OPERATOR(pg_catalog.=) c.oid"
    " UNION ALL SELECT 'p', f.oid FROM pg_catalog.pg_aggregate a CROSS JOIN LATERAL "
    "pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn,"
    " a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, "
    "a.aggmfinalfn]::pg_catalog.oid[]) AS f(oid)"
    " WHERE c.kind OPERATOR(pg_catalog.=) 'p' AND a.aggfnoid OPERATOR(pg_catalog.=) c.oid"
    " UNION ALL SELECT 't', a.atttypid FROM pg_catalog.pg_attribute a WHERE c.kind OPERATOR(pg_catalog.=) "
    "ANY ('{r,v}') AND a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND "
    "a.atttypid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION ALL SELECT 'p', m.amproc::pg_catalog.oid FROM pg_catalog.pg_index i CROSS JOIN LATERAL "
    "pg_catalog.unnest(i.indclass::pg_catalog.oid[]) AS x(oid) JOIN pg_catalog.pg_opclass k ON k.oid "
    "OPERATOR(pg_catalog.=) x.oid JOIN pg_catalog.pg_amproc m ON m.amprocfamily OPERATOR(pg_catalog.=) "
    "k.opcfamily JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) m.amproc AND p.prolang "
    "OPERATOR(pg_catalog.<>) ALL (ARRAY[12, 13]::pg_catalog.oid[]) WHERE c.kind OPERATOR(pg_catalog.=) ANY "
    "('{r,v}') AND i.indrelid OPERATOR(pg_catalog.=) c.oid"
    " UNION ALL SELECT 't', x.oid FROM pg_catalog.pg_proc p CROSS JOIN LATERAL "
    "pg_catalog.unnest(pg_catalog.array_append(COALESCE(p.proallargtypes, p.proargtypes::pg_catalog.oid[]), "
    "p.prorettype)) AS x(oid) WHERE c.kind OPERATOR(pg_catalog.=) 'p' AND p.oid OPERATOR(pg_catalog.=) c.oid "
    "AND x.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION ALL SELECT 't', x.oid FROM pg_catalog.pg_type y CROSS JOIN LATERAL (SELECT z.oid FROM (VALUES "
    "(y.typelem), (y.typbasetype)) AS z(oid) UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a "
    "WHERE a.attrelid OPERATOR(pg_catalog.=) y.typrelid AND a.attnum OPERATOR(pg_catalog.>) 0 UNION ALL "
    "SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid OPERATOR(pg_catalog.=) y.oid) AS x "
    "WHERE c.kind OPERATOR(pg_catalog.=) 't' AND y.oid OPERATOR(pg_catalog.=) c.oid AND x.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION ALL SELECT 'p', p.oid FROM pg_catalog.pg_type y CROSS JOIN LATERAL "
    "pg_catalog.unnest(ARRAY[y.typinput, y.typoutput, y.typreceive, y.typsend, y.typmodin, "
    "y.typmodout]::pg_catalog.oid[]) AS x(oid) JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) "
    "x.oid AND p.prolang OPERATOR(pg_catalog.<>) ALL (ARRAY[12, 13]::pg_catalog.oid[]) WHERE c.kind "
    "OPERATOR(pg_catalog.=) 't' AND y.oid OPERATOR(pg_catalog.=) c.oid"
    " UNION ALL SELECT 'p', k.castfunc FROM pg_catalog.pg_cast k WHERE c.kind OPERATOR(pg_catalog.=) 't' AND "
    "(k.castsource OPERATOR(pg_catalog.=) c.oid OR k.casttarget OPERATOR(pg_catalog.=) c.oid) AND k.castfunc "
    "OPERATOR(pg_catalog.<>) 0"
    " UNION ALL SELECT 'p', q.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator q WHERE c.kind "
    "OPERATOR(pg_catalog.=) 't' AND (q.oprleft OPERATOR(pg_catalog.=) c.oid OR q.oprright "
    "OPERATOR(pg_catalog.=) c.oid)"
    " UNION ALL SELECT 'p', p.oid FROM pg_catalog.pg_amproc m JOIN pg_catalog.pg_proc p ON p.oid "
    "OPERATOR(pg_catalog.=) m.amproc AND p.prolang OPERATOR(pg_catalog.<>) ALL (ARRAY[12, "
    "13]::pg_catalog.oid[]) WHERE c.kind OPERATOR(pg_catalog.=) 't' AND (m.amproclefttype "
    "OPERATOR(pg_catalog.=) c.oid OR m.amprocrighttype OPERATOR(pg_catalog.=) c.oid)"
    " UNION ALL SELECT 'p', x.oid FROM pg_catalog.pg_range r CROSS JOIN LATERAL "
    "pg_catalog.unnest(ARRAY[r.rngcanonical, r.rngsubdiff]::pg_catalog.oid[]) AS x(oid) WHERE c.kind "
    "OPERATOR(pg_catalog.=) 't' AND r.rngtypid OPERATOR(pg_catalog.=) c.oid AND x.oid "
    "OPERATOR(pg_catalog.<>) 0"
    ") n),";

/* %u stand for effects: a printf format (it has no % of its own). */
static const char sql_bits_format[] =
    "body AS (SELECT s.mode, p.proname, p.pronamespace OPERATOR(pg_catalog.=) "
    "'pg_catalog'::pg_catalog.regnamespace AS builtin, "
    "p.prokind, l.lanname,"
    " p.provolatile, p.probin, p.prosrc FROM code s JOIN pg_catalog.pg_proc p ON s.kind "
    "OPERATOR(pg_catalog.=) 'p' AND p.oid OPERATOR(pg_catalog.=) "
    "s.oid"
    " JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang),"
    " seen_in AS (SELECT b.mode, b.prosrc, sep.re FROM body b, (SELECT"
    " E'(?:^|;|\\\\m(?:begin|then|else|loop)\\\\M|>>)(?:\\\\s|--[^\\\\n]*\\\\n|/\\\\*.*?\\\\*/"
    ")*'::pg_catalog.text AS re) sep"
    " WHERE NOT b.builtin AND b.lanname OPERATOR(pg_catalog.=) ANY ('{sql,plpgsql}')),"
    " bits(mode, bits) AS (SELECT b.mode, CASE"
    " WHEN b.builtin THEN (SELECT CASE WHEN f.name OPERATOR(pg_catalog.=) 'set_config' THEN f.bits "
    "OPERATOR(pg_catalog.|) %u ELSE f.bits END FROM "
    "flagged f WHERE f.name OPERATOR(pg_catalog.=) b.proname)"
    " WHEN b.prokind OPERATOR(pg_catalog.=) 'a' THEN 0"
    " WHEN b.lanname OPERATOR(pg_catalog.=) 'internal' OR (b.lanname OPERATOR(pg_catalog.=) 'c' AND b.probin "
    "OPERATOR(pg_catalog.!~) "
    "'(^|/)(pgcrypto|uuid-ossp|plpgsql)') THEN"
    " CASE WHEN b.provolatile OPERATOR(pg_catalog.=) 'v' THEN %u ELSE 0 END"
    " WHEN b.lanname OPERATOR(pg_catalog.=) ANY ('{c,sql,plpgsql}') THEN 0 ELSE %u END FROM body b"
    " UNION ALL SELECT b.mode, %u FROM body b WHERE b.provolatile OPERATOR(pg_catalog.=) 'v' AND NOT "
    "(b.builtin AND b.proname OPERATOR(pg_catalog.=) ANY (SELECT quiet.name FROM quiet)) AND NOT (b.lanname "
    "OPERATOR(pg_catalog.=) 'c' AND b.probin OPERATOR(pg_catalog.~) '(^|/)(pgcrypto|uuid-ossp|plpgsql)')"
    " UNION ALL SELECT b.mode, f.bits FROM seen_in b JOIN (VALUES"
    " (%u, false, E'\\\\mexecute\\\\M|u&\"'),"
    " (%u, true, E'(?:set|reset)\\\\M'), (%u, false, E'\\\\mset_config\\\\M'),"
    " (%u, false, "
    "E'\\\\mset_config\\\\s*\\\\((?!\\\\s*''[^'']*''\\\\s*,)|\\\\mset_config\\\\M(?!\\\\s*\\\\()'),"
    " (%u, true, E'load\\\\M'), (%u, true, E'(?:un)?listen\\\\M'), (%u, true, E'discard\\\\M'),"
    " (%u, true, E'(?:prepare|deallocate)\\\\M'), (%u, false, E'\\\\m(?:temp|temporary|pg_temp\\\\w*)\\\\M'),"
    " (%u, true, E'drop\\\\M'), (%u, false, E'\\\\mhold\\\\M'), (%u, false, E'\\\\mpg_settings\\\\M')"
    " ) AS f(bits, begins, re) ON b.prosrc OPERATOR(pg_catalog.~*) (CASE WHEN f.begins THEN b.re "
    "OPERATOR(pg_catalog.||) f.re "
    "ELSE f.re END)"
    " UNION ALL SELECT s.mode, %u FROM code s WHERE s.kind OPERATOR(pg_catalog.=) 'r' AND EXISTS"
    " (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) s.oid AND a.attidentity "
    "OPERATOR(pg_catalog.<>) ''))";

static const char sql_names[] =
    ",names(name) AS (SELECT pg_catalog.lower(x.x[1]) FROM seen_in b CROSS JOIN LATERAL "
    "pg_catalog.regexp_matches(b.prosrc,"
    " E'\\\\mset_config\\\\s*\\\\(\\\\s*''([a-z_][a-z0-9_$]*(?:\\\\.[a-z_][a-z0-9_$]*)+)''', 'gi') AS x(x)"
    " UNION SELECT pg_catalog.lower(x.x[1]) FROM seen_in b CROSS JOIN LATERAL "
    "pg_catalog.regexp_matches(b.prosrc,"
    " E'\\\\mset\\\\s+(?:local\\\\s+|session\\\\s+)?([a-z_][a-z0-9_$]*(?:\\\\.[a-z_][a-z0-9_$]*)+)\\\\s*(?:=|"
    "\\\\mto\\\\M)', 'gi') AS x(x))";

static const char sql_code_rows[] =
    "SELECT 'F', bits.mode, pg_catalog.bit_or(bits.bits)::pg_catalog.text,"
    " NULL, NULL, NULL, NULL, NULL, NULL FROM bits GROUP BY bits.mode"
    " UNION ALL SELECT 'N', names.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM names";

static void append_flagged(struct buf *sql)
{
    uint16_t effects;
    const char *name;
    buf_str(sql, "flagged(name, bits) AS (VALUES ");
    for (size_t i = 0; (name = effects_builtin(i, &effects)); i++)
        buf_printf(sql, "%s('%s'::pg_catalog.name, %u)", i ? "," : "", name, (unsigned)effects);
    buf_str(sql, "),quiet(name) AS (VALUES ");
    for (size_t i = 0; (name = effects_quiet(i)); i++)
        buf_printf(sql, "%s('%s'::pg_catalog.name)", i ? "," : "", name);
    buf_str(sql, "),");
}

/*
 * What of the application's own a statement may use without any call of a function being in it:
 *
 *     n  a name that counts wherever it stands in the text: an operator; a type with code behind it, or made of such types;
 *        a function of a row, or of what a row can be cast to, which may be written as if it were a column
 *     a  casts between types of PostgreSQL's: any statement may need one
 *     f  a function that bears the name of one of PostgreSQL's, and may do more than that one: which of them a call means
 *        depends on search_path and on the arguments' types
 */
static const char sql_own[] =
    " risky(oid) AS (SELECT y.oid FROM pg_catalog.pg_type y WHERE y.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " AND (y.typtype OPERATOR(pg_catalog.=) 'd' OR y.typtype OPERATOR(pg_catalog.=) 'r' OR "
    "y.typinput::pg_catalog.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS ")"
    " UNION SELECT x.oid FROM pg_catalog.pg_cast k CROSS JOIN LATERAL (VALUES (k.castsource), "
    "(k.casttarget)) AS x(oid) WHERE k.castfunc OPERATOR(pg_catalog.<>) 0 AND k.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS " AND x.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION SELECT x.oid FROM pg_catalog.pg_operator q CROSS JOIN LATERAL (VALUES (q.oprleft), (q.oprright)) "
    "AS x(oid) WHERE q.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " AND x.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION SELECT m.amproclefttype FROM pg_catalog.pg_amproc m WHERE m.amproclefttype "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS "),"
    " within(oid) AS (SELECT risky.oid FROM risky UNION SELECT x.oid FROM within w CROSS JOIN LATERAL ("
    " SELECT y.oid FROM pg_catalog.pg_type y WHERE y.typelem OPERATOR(pg_catalog.=) w.oid OR y.typbasetype "
    "OPERATOR(pg_catalog.=) w.oid"
    " UNION ALL SELECT y.oid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.typrelid "
    "OPERATOR(pg_catalog.=) a.attrelid WHERE a.atttypid OPERATOR(pg_catalog.=) w.oid AND a.attnum "
    "OPERATOR(pg_catalog.>) 0 AND y.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngsubtype OPERATOR(pg_catalog.=) w.oid"
    " UNION ALL SELECT pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(r), "
    "'rngmultitypid')::pg_catalog.oid FROM pg_catalog.pg_range r WHERE r.rngtypid OPERATOR(pg_catalog.=) "
    "w.oid) AS x WHERE x.oid IS NOT NULL),"
    " own(oid, name, volatility, plain) AS (SELECT p.oid, p.proname, p.provolatile, p.prokind "
    "OPERATOR(pg_catalog.=) ANY ('{f,p}') FROM pg_catalog.pg_proc p WHERE p.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " AND EXISTS (SELECT FROM pg_catalog.pg_proc q WHERE q.proname OPERATOR(pg_catalog.=) p.proname AND "
    "q.pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace)),"
    " start(mode, kind, oid) AS ("
    " SELECT pg_catalog.concat('n', y.typname), 't'::pg_catalog.text, y.oid FROM within JOIN "
    "pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) within.oid"
    " UNION ALL SELECT pg_catalog.concat('n', q.oprname), 'p', q.oprcode::pg_catalog.oid FROM "
    "pg_catalog.pg_operator q WHERE q.oid OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " UNION ALL SELECT pg_catalog.concat('n', p.proname), 'p', p.oid FROM pg_catalog.pg_proc p JOIN "
    "pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) p.proargtypes[0] AND (y.typtype "
    "OPERATOR(pg_catalog.=) ANY ('{c,d,p}') OR EXISTS (SELECT FROM pg_catalog.pg_cast k JOIN "
    "pg_catalog.pg_type s "
    "ON s.oid OPERATOR(pg_catalog.=) k.castsource AND s.typtype OPERATOR(pg_catalog.=) 'c' WHERE "
    "k.casttarget "
    "OPERATOR(pg_catalog.=) y.oid AND k.castcontext OPERATOR(pg_catalog.=) 'i')) WHERE p.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " AND p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults OPERATOR(pg_catalog.<=) 1"
    " UNION ALL SELECT 'a', 'p', k.castfunc FROM pg_catalog.pg_cast k WHERE k.oid "
    "OPERATOR(pg_catalog.>=) " FIRST_OF_USERS
    " AND k.castfunc OPERATOR(pg_catalog.<>) 0 AND k.castsource OPERATOR(pg_catalog.<) " FIRST_OF_USERS
    " AND k.casttarget OPERATOR(pg_catalog.<) " FIRST_OF_USERS
    " UNION ALL SELECT pg_catalog.concat('f', own.name), 'p', own.oid FROM own),";

static const char sql_own_rows[] =
    " SELECT 'O', pg_catalog.substr(bits.mode, 1, 1), pg_catalog.substr(bits.mode, 2), "
    "pg_catalog.bit_or(bits.bits)::pg_catalog.text, NULL, NULL, NULL, NULL, NULL FROM bits GROUP BY "
    "bits.mode HAVING pg_catalog.bit_or(bits.bits) OPERATOR(pg_catalog.<>) 0"
    " UNION ALL SELECT 'O', 'f', own.name, '0', NULL, NULL, NULL, NULL, NULL FROM own WHERE NOT EXISTS "
    "(SELECT FROM pg_catalog.pg_proc q WHERE q.proname OPERATOR(pg_catalog.=) own.name AND q.pronamespace "
    "OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace AND (q.prokind OPERATOR(pg_catalog.=) ANY "
    "('{f,p}')) OPERATOR(pg_catalog.=) own.plain AND (q.provolatile OPERATOR(pg_catalog.=) 'v' OR "
    "own.volatility OPERATOR(pg_catalog.=) 'i' OR q.provolatile OPERATOR(pg_catalog.=) own.volatility))"
    " UNION ALL SELECT 'N', names.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM names";

static void append_code(struct buf *sql, const char *rows)
{
    buf_str(sql, sql_code);
    buf_printf(sql, sql_bits_format, (unsigned)EFFECT_HIDDEN, (unsigned)(EFFECTS_UNSEEN),
               (unsigned)(EFFECTS_UNSEEN), (unsigned)EFFECT_WRITES, (unsigned)(EFFECTS_UNSEEN),
               (unsigned)EFFECT_VARIABLE, (unsigned)EFFECT_VARIABLE, (unsigned)EFFECT_HIDDEN,
               (unsigned)(EFFECT_HIDDEN | EFFECT_KEPT), (unsigned)EFFECT_LISTEN,
               (unsigned)(EFFECTS_ASKED | EFFECT_SEQUENCE), (unsigned)EFFECT_PREPARED,
               (unsigned)EFFECT_TEMPORARY, (unsigned)EFFECT_TEMPORARY, (unsigned)EFFECT_CURSOR,
               (unsigned)EFFECT_VARIABLE, (unsigned)EFFECT_SEQUENCE);
    buf_str(sql, sql_names);
    buf_str(sql, rows);
}

void catalog_relation_code_sql(struct slice regclass, struct buf *sql)
{
    buf_str(sql, "WITH RECURSIVE ");
    append_flagged(sql);
    buf_str(sql, "start(mode, kind, oid) AS (SELECT m.mode, m.kind, pg_catalog.to_regclass(");
    quote_literal(sql, regclass);
    buf_str(sql, ")::pg_catalog.oid FROM (VALUES ('r'::pg_catalog.text, 'v'::pg_catalog.text), ('w', 'r')) "
                 "AS m(mode, kind)),");
    append_code(sql, sql_code_rows);
}

void catalog_function_sql(const char *schema, const char *name, struct buf *sql)
{
    buf_str(sql, "WITH RECURSIVE ");
    append_flagged(sql);
    buf_str(sql, "start(mode, kind, oid) AS (SELECT 'f'::pg_catalog.text, 'p'::pg_catalog.text, p.oid FROM "
                 "pg_catalog.pg_proc p"
                 " WHERE p.proname OPERATOR(pg_catalog.=) ");
    quote_literal(sql, slice_str(name));
    buf_str(sql, "::pg_catalog.name");
    if (*schema) {
        buf_str(sql, " AND p.pronamespace OPERATOR(pg_catalog.=) ANY (SELECT n.oid FROM "
                     "pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) ");
        quote_literal(sql, slice_str(schema));
        buf_str(sql, "::pg_catalog.name)");
    }
    buf_str(sql, "),");
    append_code(sql, sql_code_rows);
}

void catalog_own_sql(struct buf *sql)
{
    buf_str(sql, "WITH RECURSIVE ");
    append_flagged(sql);
    buf_str(sql, sql_own);
    append_code(sql, sql_own_rows);
}
