"""A client whose own schema comes before pg_catalog, and holds operators, functions, types and tables that lie, hides
nothing from the proxy: what it does to a server's session reaches nobody else.
"""
import contextlib

import pytest

from test_session_state import answers, literal

SHARDS = 1
SETTINGS = {"workers": 1, "default_pool_size": 1, "query_wait_timeout": "10s"}

TYPES = ("name", "oid", '"char"', "text", "int4", "int8", "bool", "regclass", "regnamespace")
OPERATORS = ("=", "<>", "<", ">", "<=", ">=", "~", "~*", "!~", "!~*", "||", "|", "+", "-", "~~", "@>")
# name, arguments, result, what it says
FUNCTIONS = [
    ("current_setting", "text", "text", "'none'"),
    ("current_setting", "text, bool", "text", "NULL"),
    ("set_config", "text, text, bool", "text", "$2"),
    ("pg_get_functiondef", "oid", "text", "''"),
    ("pg_get_expr", "pg_node_tree, oid", "text", "'1'"),
    ("unnest", "anyarray", "SETOF anyelement", "$1[1] WHERE false"),
    ("format_type", "oid, int4", "text", "'integer'"),
    ("to_regclass", "text", "regclass", "NULL::pg_catalog.regclass"),
    ("to_jsonb", "anyelement", "jsonb", "'{}'::pg_catalog.jsonb"),
    ("jsonb_extract_path_text", "jsonb, VARIADIC text[]", "text", "NULL::pg_catalog.text"),
    ("regexp_matches", "text, text, text", "SETOF text[]", "'{}'::pg_catalog.text[] WHERE false"),
    ("lower", "text", "text", "''"),
    ("now", "", "timestamptz", "NULL::pg_catalog.timestamptz"),
    ("clock_timestamp", "", "timestamptz", "NULL::pg_catalog.timestamptz"),
    ("pg_backend_pid", "", "int4", "0"),
    ("pg_my_temp_schema", "", "oid", "0::pg_catalog.oid"),
    ("pg_listening_channels", "", "SETOF text", "''::pg_catalog.text WHERE false"),
    ("starts_with", "text, text", "bool", "true"),
    ("current_schema", "", "name", "'evil'::pg_catalog.name"),
    ("current_schemas", "bool", "name[]", "'{}'::pg_catalog.name[]"),
    ("current_database", "", "name", "''::pg_catalog.name"),
    ("pg_current_xact_id", "", "xid8", "NULL::pg_catalog.xid8"),
    ("decode", "text, text", "bytea", "''::pg_catalog.bytea"),
]
CATALOGS = ("pg_class", "pg_proc", "pg_settings", "pg_language", "pg_namespace", "pg_rewrite", "pg_trigger", "pg_attrdef", "pg_locks", "pg_depend",
          "pg_prepared_statements", "pg_cursors", "pg_type", "pg_constraint", "pg_roles", "pg_index", "pg_attribute", "pg_database", "pg_aggregate")

DEEDS = {
    "execute": "EXECUTE 'SET work_mem TO ''7MB'''",
    "set": "SET work_mem TO '7MB'",
    "config": "PERFORM pg_catalog.set_config('work_mem', '7MB', false)",
    "custom": "PERFORM pg_catalog.set_config('my.x', 'secret', false)",
    "search_path": "SET search_path TO hidden",
    "role": "SET ROLE boss",
    "temporary": "CREATE TEMP TABLE scratch (a pg_catalog.int4)",
    "listen": "LISTEN ch",
    "lock": "PERFORM pg_catalog.pg_advisory_lock(4711)",
    "nested": "PERFORM public.deed_role()",
}
WAYS = {
    "function": "SELECT public.deed_%s()",
    "unqualified": "SELECT deed_%s()",
    "do": None,
    "view": "SELECT * FROM public.view_%s",
    "trigger": "INSERT INTO public.trigger_%s VALUES (1)",
    "default": "INSERT INTO public.default_%s (a) VALUES (1)",
}
PATH = "evil, pg_catalog, public"


def make_evil(db):
    db.run("CREATE SCHEMA evil; CREATE SCHEMA hidden")
    for i, one in enumerate(TYPES):
        for kind, result in (("same", one), ("bool", "bool")):
            db.run("CREATE FUNCTION evil.no_%d_%s(pg_catalog.%s, pg_catalog.%s) RETURNS pg_catalog.%s LANGUAGE sql IMMUTABLE AS %s"
                   % (i, kind, one, one, result, literal("SELECT NULL::pg_catalog." + result)))
        for operator in OPERATORS:
            kind = "same" if operator in ("||", "|", "+", "-") else "bool"
            db.run("CREATE OPERATOR evil.%s (LEFTARG = pg_catalog.%s, RIGHTARG = pg_catalog.%s, FUNCTION = evil.no_%d_%s)" % (operator, one, one, i, kind))
    for name, arguments, result, says in FUNCTIONS:
        db.run("CREATE FUNCTION evil.%s(%s) RETURNS %s LANGUAGE sql AS %s" % (name, arguments, result, literal("SELECT " + says)))
    for name in ("text", "name", "oid", "int4", "regclass", "regnamespace", "jsonb"):
        db.run("CREATE DOMAIN evil.%s AS pg_catalog.%s CHECK (VALUE IS NULL)" % (name, name))
    for name in CATALOGS:
        db.run("CREATE TABLE evil.%s (oid pg_catalog.oid, relname pg_catalog.name, name pg_catalog.text)" % name)


def make_deeds(db):
    for name, deed in DEEDS.items():
        body = literal("BEGIN %s; RETURN 1; END" % deed)
        db.run("CREATE FUNCTION deed_%s() RETURNS int LANGUAGE plpgsql AS %s" % (name, body))
        db.run("CREATE VIEW view_%s AS SELECT deed_%s() AS a" % (name, name))
        db.run("CREATE TABLE default_%s (a int, b int DEFAULT deed_%s())" % (name, name))
        db.run("CREATE TABLE trigger_%s (a int)" % name)
        db.run("CREATE FUNCTION tf_%s() RETURNS trigger LANGUAGE plpgsql AS %s" % (name, literal("BEGIN %s; RETURN NEW; END" % deed)))
        db.run("CREATE TRIGGER tr AFTER INSERT ON trigger_%s FOR EACH ROW EXECUTE FUNCTION tf_%s()" % (name, name))


@pytest.fixture(scope="module", autouse=True)
def schema(shards, dbname):
    with shards[0].session(dbname="postgres") as db:
        if not db.rows("SELECT 1 FROM pg_roles WHERE rolname = 'boss'"):
            db.run("CREATE ROLE boss")
        db.run("GRANT boss TO app")
    with shards[0].session(dbname=dbname, user="app") as db:
        make_deeds(db)
        make_evil(db)
        db.run("GRANT USAGE ON SCHEMA evil, hidden TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA public TO boss")


@pytest.fixture(scope="module")
def fresh(shards, dbname):
    with shards[0].session(dbname=dbname, user="app") as db:
        return answers(db)


@contextlib.contextmanager
def hostile(proxy, how):
    with proxy.session(**({"options": "-csearch_path=" + PATH.replace(" ", "")} if how == "startup" else {})) as s:
        if how == "set":
            s.run("SET search_path = " + PATH)
        if how == "config":
            s.run("SELECT pg_catalog.set_config('search_path', '%s', false)" % PATH)
        yield s


def statement(deed, way):
    return WAYS[way] % deed if WAYS[way] else "DO " + literal("BEGIN %s; END" % DEEDS[deed])


def forget(proxy):
    """What was learnt in a test before is not to help this one."""
    with proxy.console() as console:
        console.run("RELOAD")


def test_the_schema_lies(shards, dbname):
    """Otherwise the tests below show nothing."""
    with shards[0].session(dbname=dbname, user="app") as db:
        db.run("SET search_path = " + PATH)
        assert db.rows("SELECT 'a'::pg_catalog.text = 'a'::pg_catalog.text") == [(None,)]
        assert db.rows("SELECT relname FROM pg_class") == []
        assert db.one("SELECT current_setting('work_mem'::pg_catalog.text)") == "none"


@pytest.mark.parametrize("how", ["set", "startup", "config"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("deed", DEEDS)
def test_nothing_is_hidden(proxy, fresh, deed, way, how):
    forget(proxy)
    with hostile(proxy, how) as a:
        a.run(statement(deed, way))
    with proxy.session() as b:
        assert answers(b) == fresh


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("deed", ["execute", "config", "role", "nested"])
def test_nothing_is_hidden_while_the_first_is_there(proxy, fresh, deed, way):
    forget(proxy)
    with hostile(proxy, "set") as a, proxy.session() as b:
        a.run(statement(deed, way))
        assert answers(b) == fresh


def test_the_session_itself_goes_on(proxy):
    """What the proxy learns, it learns from pg_catalog: its own client still gets what PostgreSQL would say."""
    forget(proxy)
    with hostile(proxy, "set") as a, proxy.session() as b:
        a.run("SELECT public.deed_set()")
        assert b.one("SHOW work_mem") == "4MB"
        assert a.one("SHOW work_mem") == "7MB"
        a.run("SELECT public.deed_lock()")
        pid = "SELECT pg_catalog.pg_backend_pid()"
        assert b.one(pid) != a.one(pid), "its lock is seen: it keeps its server"
        assert a.one("SELECT pg_catalog.pg_advisory_unlock(4711)")
        assert b.one("SELECT 1") == 1
