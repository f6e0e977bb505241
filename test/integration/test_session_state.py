"""Nothing of one client reaches another: a catalogue of ways to change a server's session, each between two clients over
one server. The second one sees what a fresh connection sees.

A change is one statement. WAYS do it as it is, in a function of SQL or PL/pgSQL, in DO, behind a view, a trigger, a default,
a rule, a policy and so on. What must be kept for the first client while it is there is in test_session_pins.py.
"""
import contextlib

import psycopg2
import pytest

from pgharness import eventually

SHARDS = 1
SETTINGS = {"workers": 1, "default_pool_size": 1, "query_wait_timeout": "10s"}

# What is asked of both: one value each, an error's SQLSTATE counts as one.
QUESTIONS = [
    "SELECT string_agg(name || '=' || setting, ';' ORDER BY name) FROM pg_settings WHERE name NOT LIKE 'plpgsql.%'",
    "SELECT concat_ws('/', current_user, session_user, current_setting('role'), current_setting('session_authorization'))",
    "SELECT string_agg(n || '=' || coalesce(current_setting(n, true), 'NULL'), ';') FROM unnest('{my.x,my.y,app.user}'::text[]) n",
    "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'",
    "SELECT string_agg(c, ',') FROM pg_listening_channels() c",
    "SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = pg_my_temp_schema()",
    "SELECT string_agg(name, ',') FROM pg_prepared_statements WHERE from_sql",
    "SELECT string_agg(name, ',') FROM pg_cursors WHERE is_holdable",
    "SELECT '02/03/2024'::date::text, '1 day 2 hours'::interval::text, 0.1::float8::float4::text",
    "SELECT to_regclass('t_public')::text, to_regclass('t_hidden')::text",
    "SELECT lastval()",
    "SELECT currval('sq')",
    "SELECT string_agg(name || '=' || source, ';' ORDER BY name) FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name')",
    "SELECT current_schemas(false)::text, current_schema()",
    "SELECT to_regtype('scratch_type')::text, to_regclass('scratch')::text, to_regproc('scratch_f')::text",
    "SELECT current_setting('client_encoding'), current_setting('transaction_isolation'), current_setting('transaction_read_only'), current_setting('transaction_deferrable')",
    "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype <> 'virtualxid' AND relation IS DISTINCT FROM 'pg_locks'::regclass AND mode <> 'AccessShareLock'",
    "SELECT current_setting('session_replication_role')",
]

# As one statement, which a function of SQL may have as well.
CHANGES = {
    "role": "SET ROLE boss",
    "role_config": "SELECT set_config('role', 'boss', false)",
    "role_dynamic": "SELECT set_config(lower('ROLE'), 'boss', false)",
    "datestyle": "SET datestyle TO 'SQL, DMY'",
    "datestyle_config": "SELECT set_config('datestyle', 'SQL, DMY', false)",
    "search_path": "SET search_path TO hidden, public",
    "search_path_config": "SELECT set_config('search_path', 'hidden, \"$user\"', false)",
    "timezone": "SET TIME ZONE 'Asia/Tokyo'",
    "timeout": "SET statement_timeout TO '17min'",
    "read_only": "SET default_transaction_read_only TO on",
    "custom": "SELECT set_config('my.x', 'secret', false)",
    "custom_set": "SET my.y TO 'secret'",
    "custom_local": "SELECT set_config('app.user', 'secret', true)",
    "lock": "SELECT pg_advisory_lock(4711)",
    "lock_shared": "SELECT pg_advisory_lock_shared(47, 11)",
    "lock_try": "SELECT pg_try_advisory_lock(4712)",
    "temporary": "CREATE TEMP TABLE scratch (a int)",
    "temporary_schema": "CREATE TABLE pg_temp.scratch (a int)",
    "temporary_view": "CREATE TEMP VIEW scratch AS SELECT 1 AS a",
    "temporary_sequence": "CREATE TEMP SEQUENCE scratch",
    "nextval": "SELECT nextval('sq')",
    "setval": "SELECT setval('sq', 5)",
    "serial": "INSERT INTO with_serial (v) VALUES ('x')",
    "identity": "INSERT INTO with_identity (v) VALUES ('x')",
    "xml": "SELECT query_to_xml('SELECT set_config(''role'', ''boss'', false)', true, false, '')",
    "view_of_other": "SELECT count(*) FROM v_role",
    "rows_of_other": "INSERT INTO with_trigger VALUES (1)",
    "seed": "SELECT setseed(0.25)",
    "isolation": "SET default_transaction_isolation TO 'serializable'",
    "deferrable": "SET default_transaction_deferrable TO on",
    "work_mem": "SET work_mem TO '7MB'",
    "lock_timeout_config": "SELECT set_config('lock_timeout', '1234', false)",
    "planner": "SET enable_seqscan TO off",
    "interval_style": "SET IntervalStyle TO 'iso_8601'",
    "digits": "SET extra_float_digits TO -3",
    "bytea": "SET bytea_output TO 'escape'",
    "names": "SET application_name TO 'somebody'",
    "plan_cache": "SET plan_cache_mode TO force_generic_plan",
    "tablespace": "SET default_tablespace TO 'pg_default'",
    "row_security": "SET row_security TO off",
    "xml_option": "SET xmloption TO document",
    "temporary_function": "CREATE FUNCTION pg_temp.scratch_f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "temporary_type": "CREATE TYPE pg_temp.scratch_type AS (a int)",
    "temporary_domain": "CREATE DOMAIN pg_temp.scratch_type AS int",
    "temporary_enum": "CREATE TYPE pg_temp.scratch_type AS ENUM ('a')",
    "lock_two": "SELECT pg_advisory_lock(47, 12)",
    "lock_two_try": "SELECT pg_try_advisory_lock(47, 13)",
    "lock_two_shared": "SELECT pg_try_advisory_lock_shared(47, 14)",
    "lock_one_shared": "SELECT pg_advisory_lock_shared(4713)",
    "notify": "SELECT pg_notify('ch', 'x')",
    "role_local": "SET LOCAL ROLE boss",
    "update_settings": "UPDATE pg_settings SET setting = 'hidden' WHERE name = 'search_path'",
}
# Which functions of SQL may not have.
IN_CODE = {
    "code_listen": "EXECUTE 'LISTEN ch'",
    "code_prepare": "EXECUTE 'PREPARE p AS SELECT 1'",
    "code_cursor": "EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'",
    "code_two": "PERFORM pg_advisory_lock(9); EXECUTE 'CREATE TEMP TABLE scratch (a int)'",
    "code_caught": "BEGIN PERFORM pg_advisory_lock(10); PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END",
    "code_custom": "PERFORM set_config('my.' || 'x', 'secret', false)",
}
CODE_WAYS = ("plpgsql", "do", "view", "trigger", "default")
ONLY_PLAIN = {
    "local_failed": "BEGIN; SET LOCAL ROLE boss; SELECT 1/0",
    "role_failed": "BEGIN; SET ROLE boss; SELECT 1/0",
    "temporary_dropped": "BEGIN; CREATE TEMP TABLE scratch (a int) ON COMMIT DROP; COMMIT",
    "savepoint": "BEGIN; SAVEPOINT a; SET ROLE boss; ROLLBACK TO a; SET datestyle TO German; COMMIT",
    "listen": "LISTEN ch",
    "prepare": "PREPARE p AS SELECT 1",
    "cursor": "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT",
    "discard": "DISCARD TEMP",
    "two": "SELECT pg_advisory_lock(1); SET ROLE boss",
    "failed": "BEGIN; SELECT pg_advisory_lock(1); SELECT 1/0",
    "call": "CALL p_role()",
    "explain": "EXPLAIN ANALYZE SELECT set_config('role', 'boss', false)",
    "into": "SELECT 1 AS a INTO TEMP scratch",
    "copy": "COPY (SELECT set_config('role', 'boss', false)) TO STDOUT",
    "update": "UPDATE with_trigger SET a = length(set_config('role', 'boss', false))",
    "delete": "DELETE FROM with_rule",
    "language": "DO LANGUAGE plpgsql 'BEGIN SET ROLE boss; END'",
    "aggregate": "SELECT rolling(a) FROM (VALUES (1), (2)) AS v(a)",
    "check": "INSERT INTO with_check VALUES (1)",
    "policy": "SELECT * FROM with_policy",
    "domain": "INSERT INTO with_domain VALUES (1)",
    "index": "INSERT INTO with_index VALUES (1)",
    "generated": "INSERT INTO with_generated VALUES (1)",
    "cascade": "DELETE FROM parent",
    "partition": "INSERT INTO parted VALUES (1)",
    "atomic": "SELECT f_atomic()",
    "execute": "SELECT f_dynamic()",
    "quoted": 'SELECT "F Role"()',
    "comment": "SELECT f_comment()",
    "nested": "SELECT f_nested()",
    "lateral": "SELECT * FROM generate_series(1, 1) g, LATERAL f_nested() x",
    "subquery": "SELECT 1 WHERE EXISTS (SELECT f_nested())",
    "schema": "SELECT hidden.f_hidden()",
    "replica": "SET session_replication_role TO replica",
    "characteristics": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "authorization": "SET SESSION AUTHORIZATION app",
    "names_encoding": "SET NAMES 'LATIN1'",
    "zone_interval": "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
    "schema_form": "SET SCHEMA 'hidden'",
    "seed_variable": "SET seed TO 0.5",
    "xml_form": "SET XML OPTION DOCUMENT",
    "reset": "SET datestyle TO 'German'; RESET ALL; SET datestyle TO 'Postgres'",
    "local_left": "BEGIN; SET LOCAL search_path TO hidden; SET search_path TO hidden",
    "open": "BEGIN; SET ROLE boss; LOCK TABLE t_public",
    "prepare_in": "PREPARE p (int) AS SELECT $1 + set_config('role', 'boss', false)::text::int",
    "execute_prepared": "PREPARE p AS SELECT set_config('role', 'boss', false); EXECUTE p",
    "cursor_volatile": "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT set_config('role', 'boss', false); COMMIT",
    "fetch": "BEGIN; DECLARE c CURSOR FOR SELECT set_config('role', 'boss', false); FETCH c; COMMIT",
    "create_as": "CREATE TEMP TABLE scratch AS SELECT set_config('role', 'boss', false)",
    "temporary_like": "CREATE TEMP TABLE scratch (LIKE t_public)",
    "temporary_drop": "CREATE TEMP TABLE scratch (a int) ON COMMIT DELETE ROWS",
    "local_temporary": "CREATE LOCAL TEMPORARY TABLE scratch (a int)",
    "temporary_recursive": "CREATE TEMP RECURSIVE VIEW scratch (a) AS SELECT 1",
    "temporary_in_path": "SET search_path TO pg_temp, public; CREATE TABLE scratch (a int)",
    "lock_many": "SELECT pg_advisory_lock(g) FROM generate_series(1, 20) g",
    "lock_where": "SELECT 1 FROM t_public WHERE pg_try_advisory_lock(3)",
    "lock_cte": "WITH x AS (SELECT pg_advisory_lock(4)) SELECT * FROM x",
    "lock_values": "VALUES (pg_advisory_lock(5)::text)",
    "lock_returning": "INSERT INTO with_serial (v) VALUES ('x') RETURNING pg_advisory_lock(6)",
    "large_object": "BEGIN; SELECT lo_open(lo_create(0), 131072)",
    "function_set": "SELECT f_with_set()",
    "listen_quoted": 'LISTEN "a b"',
    "copy_serial": "COPY (SELECT nextval('sq')) TO STDOUT",
    "merge": "MERGE INTO with_trigger t USING (SELECT 1 AS a) s ON t.a = -s.a WHEN NOT MATCHED THEN INSERT VALUES (s.a)",
}

SCHEMA = """
CREATE SCHEMA hidden; CREATE TABLE t_public (a int); CREATE TABLE hidden.t_hidden (a int); CREATE SEQUENCE sq;
GRANT USAGE ON SCHEMA hidden TO PUBLIC;
CREATE TABLE with_serial (id serial, v text); CREATE TABLE with_identity (id int GENERATED ALWAYS AS IDENTITY, v text);
CREATE FUNCTION f_role() RETURNS int LANGUAGE plpgsql AS $$BEGIN SET ROLE boss; RETURN 1; END$$;
CREATE PROCEDURE p_role() LANGUAGE plpgsql AS $$BEGIN SET ROLE boss; END$$;
CREATE FUNCTION f_role_of(a int) RETURNS int LANGUAGE sql AS $$SELECT length(set_config('role', 'boss', false)) + a$$;
CREATE FUNCTION f_is_role(a int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN true; END$$;
CREATE FUNCTION f_int_role(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN a; END$$;
CREATE FUNCTION t_role() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN SET ROLE boss; RETURN NEW; END$$;
CREATE FUNCTION f_nested() RETURNS int LANGUAGE sql AS $$SELECT f_role() + 1$$;
CREATE FUNCTION f_dynamic() RETURNS int LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SET ' || 'ROLE boss'; RETURN 1; END$$;
CREATE FUNCTION f_comment() RETURNS int LANGUAGE plpgsql AS $$BEGIN -- a remark
  /* update */ SET /* x */ ROLE boss; RETURN 1; END$$;
CREATE FUNCTION f_atomic() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT set_config('role', 'boss', false); END;
CREATE FUNCTION "F Role"() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN f_role(); END$$;
CREATE FUNCTION hidden.f_hidden() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN "F Role"(); END$$;
CREATE FUNCTION f_add(a int, b int) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM f_role(); RETURN a + b; END$$;
CREATE AGGREGATE rolling(int) (sfunc = f_add, stype = int, initcond = '0');
CREATE VIEW v_role AS SELECT f_role() AS a;
CREATE TABLE with_trigger (a int); CREATE TRIGGER tr BEFORE INSERT ON with_trigger FOR EACH ROW EXECUTE FUNCTION t_role();
INSERT INTO with_trigger VALUES (7); RESET ROLE;
CREATE TABLE with_rule (a int); INSERT INTO with_rule VALUES (1);
CREATE RULE r AS ON DELETE TO with_rule DO ALSO SELECT f_role();
CREATE TABLE with_check (a int CHECK (f_is_role(a)));
CREATE TABLE with_policy (a int); INSERT INTO with_policy VALUES (1);
ALTER TABLE with_policy ENABLE ROW LEVEL SECURITY; ALTER TABLE with_policy FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON with_policy USING (f_is_role(a));
CREATE DOMAIN checked AS int CHECK (f_is_role(VALUE)); CREATE TABLE with_domain (a checked);
CREATE TABLE with_index (a int); CREATE INDEX ON with_index (f_int_role(a)); RESET ROLE;
CREATE TABLE with_generated (a int, b int GENERATED ALWAYS AS (f_int_role(a)) STORED);
CREATE TABLE parent (a int PRIMARY KEY); CREATE TABLE child (a int REFERENCES parent ON DELETE CASCADE);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);
CREATE FUNCTION t_old() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN SET ROLE boss; RETURN OLD; END$$;
CREATE TRIGGER tr AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION t_old();
CREATE FUNCTION f_with_set() RETURNS text LANGUAGE sql SET search_path TO hidden AS $$SELECT set_config('role', 'boss', false)$$;
CREATE TABLE parted (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parted DEFAULT;
CREATE TRIGGER tr BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION t_role();
"""

# What an application defines of its own, each with the role changed by a function behind it.
OWN_SCHEMA = """
CREATE FUNCTION f_op(a int, b int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN a + b; END$$;
CREATE FUNCTION f_op_bool(a text, b text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN true; END$$;
CREATE FUNCTION f_prefix(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN a; END$$;
CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = f_op);
CREATE OPERATOR &%& (LEFTARG = text, RIGHTARG = text, FUNCTION = f_op_bool);
CREATE OPERATOR @#@ (RIGHTARG = int, FUNCTION = f_prefix);
CREATE OPERATOR @-@- (RIGHTARG = int8, FUNCTION = pg_advisory_lock);
CREATE TYPE pair AS (a int, b int);
CREATE FUNCTION f_pair(p pair) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN p.a; END$$;
CREATE CAST (pair AS int) WITH FUNCTION f_pair(pair) AS ASSIGNMENT;
CREATE TYPE mood AS (m text);
CREATE FUNCTION f_mood(m mood) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN m.m; END$$;
CREATE CAST (mood AS text) WITH FUNCTION f_mood(mood) AS IMPLICIT;
CREATE TABLE moods (a mood); INSERT INTO moods VALUES (ROW('x')); CREATE TABLE texts (a text);
CREATE DOMAIN "Checked Twice" AS checked; CREATE TYPE with_checked AS (a checked);
CREATE DOMAIN hidden.checked_there AS int CHECK (public.f_is_role(VALUE));
CREATE DOMAIN int_of_op AS int CHECK ((VALUE ### 1) > 0);
CREATE FUNCTION f_domain(a int) RETURNS int LANGUAGE plpgsql AS $$DECLARE x checked := a; BEGIN RETURN x; END$$;
CREATE FUNCTION f_operator(a int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN a ### a; END$$;
CREATE FUNCTION f_takes_domain(a checked) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE VIEW v_domain AS SELECT 1::checked AS a;
CREATE FUNCTION f_column(t t_public) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN 1; END$$;
CREATE FUNCTION f_less(a pair, b pair) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN a.a < b.a; END$$;
CREATE OPERATOR <# (LEFTARG = pair, RIGHTARG = pair, FUNCTION = f_less);
CREATE FUNCTION hidden.lower(a text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN a; END$$;
CREATE FUNCTION public.upper(a varchar) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN a; END$$;
CREATE FUNCTION hidden.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN NULL; END$$;
CREATE FUNCTION hidden.nextval(a text) RETURNS int8 LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN 1; END$$;
CREATE TYPE with_pair AS (p pair); CREATE PROCEDURE p_nothing(a int) LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION f_optional(a int, b int DEFAULT 1) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN a; END$$;
CREATE DOMAIN row_domain AS t_public;
CREATE FUNCTION f_of_row_domain(a row_domain) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('role', 'boss', false); RETURN 1; END$$;
CREATE TABLE lockable (a int); INSERT INTO lockable VALUES (4711);
CREATE FUNCTION int4_of(l lockable) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT l.a';
CREATE FUNCTION int8_of(l lockable) RETURNS int8 IMMUTABLE LANGUAGE sql AS 'SELECT l.a::int8';
CREATE CAST (lockable AS int) WITH FUNCTION int4_of(lockable) AS IMPLICIT;
CREATE CAST (lockable AS int8) WITH FUNCTION int8_of(lockable) AS IMPLICIT;
CREATE TABLE with_own_default (a int DEFAULT 1 ### 2, b int); RESET ROLE;
INSERT INTO t_public VALUES (1);
"""
OWN = {
    "operator": "SELECT 1 ### 2",
    "operator_tight": "SELECT 1###2",
    "operator_form": "SELECT 1 OPERATOR(public.###) 2",
    "operator_where": "SELECT * FROM t_public WHERE a ### 1 > 0",
    "operator_any": "SELECT 'a'::text &%& ANY (ARRAY['b'])",
    "operator_prefix": "SELECT @#@ 7",
    "operator_builtin": "SELECT @-@- 4711::int8",
    "operator_extended": "PREPARE p AS SELECT 1 ### 2; EXECUTE p",
    "operator_explain": "EXPLAIN ANALYZE SELECT 1 ### a FROM t_public",
    "operator_insert": "INSERT INTO texts VALUES ((1 ### 2)::text)",
    "operator_cursor": "BEGIN; DECLARE c CURSOR FOR SELECT 1 ### a FROM t_public; FETCH c; COMMIT",
    "operator_copy": "COPY (SELECT 1 ### 2) TO STDOUT",
    "operator_default": "INSERT INTO with_own_default (b) VALUES (1)",
    "cast": "SELECT ROW(1, 2)::pair::int",
    "cast_form": "SELECT CAST('(1,2)'::pair AS int)",
    "cast_quoted": "SELECT \"pair\" '(1,2)'::int",
    "cast_upper": "SELECT CAST(PAIR '(1,2)' AS INTEGER)",
    "cast_unicode": "SELECT '(1,2)'::U&\"p\\0061ir\"::int",
    "cast_implicit": "SELECT lpad(a, 3) FROM moods",
    "cast_assigned": "INSERT INTO texts SELECT a FROM moods",
    "domain": "SELECT 1::checked",
    "domain_literal": "SELECT checked '1'",
    "domain_of_domain": "SELECT 1::\"Checked Twice\"",
    "domain_elsewhere": "SELECT 1::hidden.checked_there",
    "domain_array": "SELECT '{1}'::checked[]",
    "domain_within": "SELECT '(1)'::with_checked",
    "domain_operator": "SELECT 1::int_of_op",
    "domain_record": "SELECT * FROM json_to_record('{\"a\": 1}') AS x(a checked)",
    "domain_populate": "SELECT * FROM json_populate_record(NULL::with_checked, '{\"a\": 1}')",
    "domain_column": "UPDATE with_domain SET a = 1; INSERT INTO with_domain VALUES (1)",
    "domain_in_function": "SELECT f_domain(1)",
    "domain_of_argument": "SELECT f_takes_domain(1)",
    "domain_in_view": "SELECT * FROM v_domain",
    "operator_in_function": "SELECT f_operator(1)",
    "column_function": "SELECT t_public.f_column FROM t_public",
    "column_function_of_row": "SELECT (t).f_column FROM t_public t",
    "notation": "SELECT (7).f_prefix",
    "notation_of_column": "SELECT (t.a).f_prefix FROM t_public t",
    "notation_nested": "SELECT ((ROW(1, 2)::pair).a).f_prefix",
    "notation_chain": "SELECT (ROW(ROW(1, 2)::pair)::with_pair).p.a.f_prefix",
    "notation_default": "SELECT (7).f_optional",
    "notation_where": "DELETE FROM t_public WHERE (a).f_prefix = 7",
    "notation_from": "SELECT x.f_prefix FROM generate_series(7, 7) x",
    "notation_from_columns": "SELECT x.f_prefix FROM generate_series(7, 7) AS x(n)",
    "notation_from_itself": "SELECT generate_series.f_prefix FROM generate_series(7, 7)",
    "notation_from_value": "SELECT \"coalesce\".f_prefix FROM coalesce(7)",
    "notation_from_update": "UPDATE t_public SET a = x.f_prefix FROM generate_series(7, 7) x",
    "notation_domain": "SELECT t_public.f_of_row_domain FROM t_public",
    "notation_cast": "SELECT lockable.f_prefix FROM lockable",
    "notation_shadow": "SET search_path TO hidden, pg_catalog, public; SELECT ('X'::text).lower",
    "notation_lock": "SELECT (4711::int8).pg_advisory_lock",
    "notation_lock_from": "SELECT x.pg_advisory_lock FROM generate_series(4711::int8, 4711) x",
    "notation_lock_cast": "SELECT lockable.pg_advisory_lock FROM lockable",
    "notation_lock_hidden": "SELECT x.pg_advisory_lock FROM generate_series(4711::int8, 4711) x, (SELECT 1 AS pg_advisory_lock) y",
    "notation_sequence": "SELECT ('sq'::regclass).nextval",
    "notation_copy": "COPY (SELECT (7).f_prefix) TO STDOUT",
    "notation_call": "CALL p_nothing((7).f_prefix)",
    "shadow": "SET search_path TO hidden, pg_catalog, public; SELECT lower('X')",
    "shadow_best": "SELECT upper('x'::varchar)",
    "shadow_stable": "SET search_path TO hidden, pg_catalog, public; SELECT now()",
    "shadow_effect": "SET search_path TO hidden, pg_catalog, public; SELECT nextval('sq')",
    "shadow_qualified": "SELECT hidden.lower('x')",
}


def body_of(statement):
    """For PL/pgSQL, where results must go somewhere."""
    return "PERFORM" + statement[6:] if statement.startswith("SELECT") else statement


def literal(text):
    return "'" + text.replace("'", "''") + "'"


WAYS = ("plain", "sql", "plpgsql", "do", "view", "trigger", "default")
ONLY_PLAIN.update({"own_" + name: statement for name, statement in OWN.items()})
CASES = [(name, way) for name in CHANGES for way in WAYS] + [(name, "plain") for name in ONLY_PLAIN]
CASES += [(name, way) for name in IN_CODE for way in CODE_WAYS]


def make_ways(db, name, statement):
    """Objects named after the change."""
    plpgsql = literal("BEGIN %s; RETURN 1; END" % body_of(statement))
    db.run("CREATE FUNCTION way_pl_%s() RETURNS int LANGUAGE plpgsql AS %s" % (name, plpgsql))
    if name not in IN_CODE:
        db.run("CREATE FUNCTION way_sql_%s() RETURNS void LANGUAGE sql AS %s" % (name, literal(statement)))
    db.run("CREATE VIEW way_v_%s AS SELECT way_pl_%s() AS a" % (name, name))
    db.run("CREATE TABLE way_d_%s (a int, b int DEFAULT way_pl_%s())" % (name, name))
    db.run("CREATE TABLE way_t_%s (a int)" % name)
    trigger = literal("BEGIN %s; RETURN NEW; END" % body_of(statement))
    db.run("CREATE FUNCTION way_tf_%s() RETURNS trigger LANGUAGE plpgsql AS %s" % (name, trigger))
    db.run("CREATE TRIGGER tr AFTER INSERT ON way_t_%s FOR EACH ROW EXECUTE FUNCTION way_tf_%s()" % (name, name))


def way_of(name, way):
    if name in ONLY_PLAIN:
        return ONLY_PLAIN[name]
    statement = CHANGES.get(name) or IN_CODE[name]
    return {
        "plain": statement,
        "sql": "SELECT way_sql_%s()" % name,
        "plpgsql": "SELECT way_pl_%s()" % name,
        "do": "DO %s" % literal("BEGIN %s; END" % body_of(statement)),
        "view": "SELECT * FROM way_v_%s" % name,
        "trigger": "INSERT INTO way_t_%s VALUES (1)" % name,
        "default": "INSERT INTO way_d_%s (a) VALUES (1)" % name,
    }[way]


@pytest.fixture(scope="module", autouse=True)
def schema(shards, dbname):
    with shards[0].session(dbname="postgres") as db:
        if not db.rows("SELECT 1 FROM pg_roles WHERE rolname = 'boss'"):
            db.run("CREATE ROLE boss")
        db.run("GRANT boss TO app")
    with shards[0].session(dbname=dbname, user="app") as db:
        db.run(SCHEMA)
        db.run(OWN_SCHEMA)
        for name, statement in (CHANGES | IN_CODE).items():
            make_ways(db, name, statement)
        db.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO boss; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO boss")


def answers(connection):
    got = []
    for question in QUESTIONS:
        try:
            got.append(connection.rows(question))
        except psycopg2.Error as e:
            got.append(e.pgcode)
    return dict(zip(QUESTIONS, got))


@pytest.fixture(scope="module")
def fresh(shards, dbname):
    """As a connection without a proxy sees it."""
    with shards[0].session(dbname=dbname, user="app") as db:
        return answers(db)


def test_catalogue_is_large():
    assert len(CASES) == len(set(CASES)) >= 420


@pytest.mark.parametrize("name", OWN)
def test_own_changes_something(shards, dbname, fresh, name):
    """Otherwise its test shows nothing."""
    with shards[0].session(dbname=dbname, user="app") as db:
        with contextlib.suppress(psycopg2.ProgrammingError):  # the client library's, after COPY
            db.run(OWN[name])
        assert answers(db) != fresh


@pytest.mark.parametrize("name, way", CASES, ids=["%s-%s" % case for case in CASES])
def test_next_client_sees_nothing(proxy, fresh, name, way):
    with contextlib.suppress(psycopg2.DatabaseError), proxy.session() as a:  # some end in an error, as they are meant to
        a.run(way_of(name, way))
    with proxy.session() as b:
        assert answers(b) == fresh


@pytest.mark.parametrize("name, way", [(n, w) for n in ("role", "role_config", "datestyle", "search_path") for w in WAYS if (n, w) != ("role_config", "plain")])
def test_next_client_sees_nothing_while_the_first_is_there(proxy, fresh, name, way):
    with proxy.session() as a, proxy.session() as b:
        a.run(way_of(name, way))
        assert answers(b) == fresh


@pytest.mark.parametrize(
    "options",
    ["-c DateStyle=German", "-c work_mem=7MB -c search_path=hidden", "-c role=boss", "-c my.x=secret", "-c TimeZone=Asia/Tokyo -c seed=0.5",
     "-c default_transaction_isolation=serializable", "-c client_encoding=LATIN1", "-c statement_timeout=17min -c row_security=off"],
)
def test_next_client_sees_nothing_of_startup_options(proxy, fresh, options):
    with contextlib.suppress(psycopg2.DatabaseError), proxy.session(options=options) as a:
        a.run("SELECT 1")
    with proxy.session() as b:
        assert answers(b) == fresh


@pytest.mark.parametrize("statement", ["SELECT setseed(0.25)", "SET seed TO 0.25", "SELECT set_config('seed', '0.25', false)", "SELECT way_pl_seed()",
                                       "DO 'BEGIN PERFORM setseed(0.25); END'", "SELECT * FROM way_v_seed"])
def test_next_client_does_not_know_the_random_numbers(proxy, shards, dbname, statement):
    with shards[0].session(dbname=dbname, user="app") as db:
        db.run("SELECT setseed(0.25)")
        known = db.rows("SELECT random() FROM generate_series(1, 5)")
    with proxy.session() as a:
        a.run(statement)
    with proxy.session() as b:
        assert not set(b.rows("SELECT random() FROM generate_series(1, 5)")) & set(known)


@pytest.mark.parametrize("statement", ["LOAD 'auto_explain'", "DO $$BEGIN LOAD 'auto_explain'; END$$", "DO $$BEGIN EXECUTE format('LOAD %L', 'auto_explain'); END$$"])
def test_next_client_has_no_library_of_the_first(proxy, statement):
    question = "SELECT count(*) FROM pg_settings WHERE starts_with(name, 'auto_explain.')"
    with contextlib.suppress(psycopg2.errors.FeatureNotSupported), proxy.session(user="postgres") as a:
        a.run(statement)  # as it is, it is refused
    with proxy.session(user="postgres") as b:
        assert b.one(question) == 0


@pytest.mark.parametrize("way", ["plain", "plpgsql", "do", "view"])
def test_next_client_has_no_connection_of_the_first(proxy, shards, dbname, way):
    connect = "dblink_connect_u('first', 'host=127.0.0.1 port=%d dbname=%s user=app')" % (shards[0].port, dbname)
    with shards[0].session(dbname=dbname) as db:
        db.run("CREATE EXTENSION IF NOT EXISTS dblink")
        db.run("GRANT EXECUTE ON FUNCTION dblink_connect_u(text, text) TO app")
        db.run("CREATE OR REPLACE FUNCTION way_dblink() RETURNS int LANGUAGE plpgsql AS " + literal("BEGIN PERFORM %s; RETURN 1; END" % connect))
        db.run("CREATE OR REPLACE VIEW way_v_dblink AS SELECT way_dblink() AS a; GRANT SELECT ON way_v_dblink TO app")
    statement = {"plain": "SELECT " + connect, "plpgsql": "SELECT way_dblink()", "do": "DO " + literal("BEGIN PERFORM %s; END" % connect),
                 "view": "SELECT * FROM way_v_dblink"}[way]
    with proxy.session() as a:
        a.run(statement)
    with proxy.session() as b:
        assert b.rows("SELECT dblink_get_connections()") == [(None,)]


@pytest.mark.parametrize("made", ["CREATE TABLE ddl_of_own (a int)", "SET LOCAL search_path TO public", "CREATE TEMP TABLE ddl_of_own (a int)"])
def test_next_client_sees_no_variable_of_a_function_that_was_read_in_a_transaction(proxy, made):
    """The transaction, or the session, knows what names mean from a catalog of its own; variables are the server's."""
    with proxy.session() as a:
        a.run("CREATE FUNCTION set_unheard_of() RETURNS text LANGUAGE plpgsql AS"
              " $$BEGIN RETURN set_config('unheard.of', 'secret', false); END$$")
    with proxy.session() as a:
        a.run("BEGIN")
        a.run(made)
        assert a.one("SELECT set_unheard_of()") == "secret"
        a.run("COMMIT")
        a.run("DROP TABLE IF EXISTS ddl_of_own")
    with proxy.session() as b:
        assert not b.one("SELECT current_setting('unheard.of', true)")
        b.run("DROP FUNCTION set_unheard_of()")
