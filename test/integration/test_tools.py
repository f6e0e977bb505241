"""PostgreSQL's own programs through the proxy, on one shard: what they write and do is what they write and do directly."""
import os
import re
import subprocess

import psycopg2
import pytest

import pgharness as h

SHARDS = 1

SCHEMA = r"""
CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'it''s "fine"'); CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
CREATE TABLE app.customers (id int PRIMARY KEY, name text NOT NULL DEFAULT E'a\\b', mood app.mood, born date, data jsonb);
CREATE TABLE app.orders (id serial PRIMARY KEY, customer int REFERENCES app.customers ON DELETE CASCADE, total numeric(10, 2), at timestamptz);
CREATE INDEX orders_at ON app.orders (at) WHERE total > 0; CLUSTER app.orders USING orders_pkey;
CREATE TABLE app.parts (a int, b text) PARTITION BY RANGE (a);
CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES FROM (0) TO (100);
CREATE TABLE app.parts_2 PARTITION OF app.parts FOR VALUES FROM (100) TO (200);
CREATE VIEW app.v AS SELECT c.name, sum(o.total) FROM app.customers c JOIN app.orders o ON o.customer = c.id GROUP BY 1;
CREATE MATERIALIZED VIEW app.m AS SELECT count(*) FROM app.orders;
CREATE FUNCTION app.f(a int) RETURNS int LANGUAGE plpgsql SET search_path TO app AS $$BEGIN RETURN a + 1; END$$;
CREATE PROCEDURE app.p() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION app.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER tr BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.t();
CREATE RULE r AS ON DELETE TO app.customers WHERE old.id < 0 DO INSTEAD NOTHING;
ALTER TABLE app.customers ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON app.customers USING (id > 0);
CREATE STATISTICS app.st ON a, b FROM app.parts; CREATE SEQUENCE app.sq INCREMENT 5; SELECT nextval('app.sq');
CREATE COLLATION app.c (locale = 'C'); CREATE AGGREGATE app.agg (int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE OPERATOR app.<+> (leftarg = int, rightarg = int, function = int4pl); CREATE CAST (app.mood AS int) WITH INOUT;
CREATE TEXT SEARCH CONFIGURATION app.ts (COPY = simple); CREATE PUBLICATION pub FOR TABLE app.orders;
COMMENT ON TABLE app.orders IS 'it''s; a "comment" \ with -- everything /* in it';
GRANT SELECT ON app.customers TO PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;
INSERT INTO app.customers SELECT i, E'n\\' || chr(39) || i || chr(9) || chr(228), 'sad', '2000-01-01'::date + i, '{"a": [1, null]}' FROM generate_series(1, 200) i;
INSERT INTO app.orders (customer, total, at) SELECT i, i * 1.25, '2024-01-01Z'::timestamptz + i * interval '1 hour' FROM generate_series(1, 200) i;
INSERT INTO app.parts SELECT i, i::text FROM generate_series(0, 199) i; REFRESH MATERIALIZED VIEW app.m;
"""


@pytest.fixture(scope="module")
def dbname():
    """REINDEX DATABASE names it: the shard's is to be the one that clients know."""
    return h.DATABASE


@pytest.fixture(scope="module", autouse=True)
def schema(shards, dbname):
    with shards[0].session(dbname=dbname) as db:
        db.run(SCHEMA)


def has_key(program):
    """Newer ones write a random key for psql's \\restrict, unless it is given."""
    return "--restrict-key" in subprocess.run([h.tool(program), "--help"], capture_output=True, check=True, text=True).stdout


def run(program, port, database, *arguments, user="postgres", text=None):
    """What it writes to its output."""
    if program in ("pg_dump", "pg_dumpall") and "-F" not in arguments and has_key(program):
        arguments = ("--restrict-key=abc", *arguments)
    done = subprocess.run(
        [h.tool(program), "-h", "127.0.0.1", "-p", str(port), "-U", user, *arguments, *([database] if database else [])],
        input=text, capture_output=True, timeout=120, check=False, env={**os.environ, "PGTZ": "UTC"},
    )
    assert done.returncode == 0, "%s %s: %s" % (program, arguments, done.stderr.decode())
    return done.stdout


def both(program, proxy, shards, dbname, *arguments, **more):
    return run(program, proxy.port, h.DATABASE, *arguments, **more), run(program, shards[0].port, dbname, *arguments, **more)


DUMPS = [
    [],
    ["--schema-only"],
    ["--data-only"],
    ["--data-only", "--disable-triggers"],
    ["--inserts", "--rows-per-insert=7"],
    ["--column-inserts", "--on-conflict-do-nothing"],
    ["--clean", "--if-exists"],
    ["-t", "app.orders", "--serializable-deferrable"],
    ["-n", "app", "--no-owner", "--no-privileges"],
    ["--section=pre-data"],
    ["--section=post-data"],
    ["--lock-wait-timeout=5s", "--exclude-table-data=app.orders"],
    ["--enable-row-security"],
    ["--encoding=LATIN1"],
    ["--extra-float-digits=0"],
    ["--role=app", "-t", "app.parts"],
    ["--quote-all-identifiers", "--no-comments"],
]


@pytest.mark.parametrize("arguments", DUMPS, ids=lambda a: " ".join(a) or "plain")
def test_pg_dump_is_the_same_byte_for_byte(proxy, shards, dbname, arguments):
    if "--role=app" in arguments:
        with shards[0].session(dbname=dbname) as db:
            db.run("GRANT USAGE ON SCHEMA app TO app; GRANT SELECT ON ALL TABLES IN SCHEMA app TO app")
    through, directly = both("pg_dump", proxy, shards, dbname, *arguments)
    assert through == directly
    assert len(through) > 500


def contents(db):
    return {
        table: db.rows("SELECT * FROM app.%s ORDER BY 1" % table) for table in ("customers", "orders", "parts", "v", "m")
    }


@pytest.mark.parametrize("how", ["custom", "directory", "tar"])
def test_pg_restore_brings_it_back(proxy, shards, dbname, tmp_path, how):
    archive = str(tmp_path / how)
    run("pg_dump", proxy.port, h.DATABASE, "-F", how[0], "-f", archive)
    with proxy.session(user="postgres") as db:
        before = contents(db)
        assert len(before["orders"]) == 200
    for arguments in (["--clean", "--if-exists"], ["--clean", "--if-exists", "--single-transaction"], ["--clean", "--if-exists", "-j", "2"]):
        if how == "tar" and "-j" in arguments:
            continue
        run("pg_restore", proxy.port, None, "-d", h.DATABASE, *arguments, archive)
        with proxy.session(user="postgres") as db:
            assert contents(db) == before
    through, directly = both("pg_dump", proxy, shards, dbname)
    assert through == directly


def test_a_plain_dump_goes_through_psql(proxy, shards, dbname):
    dump = run("pg_dump", proxy.port, h.DATABASE, "--clean", "--if-exists")
    run("psql", proxy.port, h.DATABASE, "-X", "-q", "-v", "ON_ERROR_STOP=1", text=dump)
    assert run("pg_dump", shards[0].port, dbname, "--clean", "--if-exists") == dump


@pytest.mark.parametrize(
    "program, arguments",
    [
        ("vacuumdb", []), ("vacuumdb", ["--analyze"]), ("vacuumdb", ["--full", "-t", "app.orders"]), ("vacuumdb", ["--analyze-in-stages"]),
        ("vacuumdb", ["-j", "2"]), ("vacuumdb", ["--analyze-only", "-t", "app.parts(a)"]),
        ("reindexdb", []), ("reindexdb", ["-t", "app.orders"]), ("reindexdb", ["--concurrently", "-i", "app.orders_at"]),
        ("reindexdb", ["--schema", "app", "-j", "2"]), ("reindexdb", ["--system"]),
        ("clusterdb", []), ("clusterdb", ["-t", "app.orders"]),
    ],
    ids=lambda a: a if isinstance(a, str) else " ".join(a) or "all",
)
def test_maintenance(proxy, shards, dbname, program, arguments):
    with shards[0].session(dbname=dbname) as db:
        node = "SELECT relfilenode FROM pg_class WHERE oid = 'app.orders_at'::regclass"
        before = db.one(node)
        run(program, proxy.port, h.DATABASE, *arguments)
        if program != "vacuumdb" and arguments != ["--system"]:
            assert db.one(node) != before  # it was done
        assert db.one("SELECT count(*) FROM app.orders") == 200


def test_pg_dumpall_of_globals(proxy, shards):
    """It asks database postgres, or the one that -l names."""
    run("pg_dumpall", proxy.port, None, "--globals-only", "-l", h.DATABASE)
    got = run("pg_dumpall", proxy.port, None, "--globals-only", "-l", h.DATABASE)
    wanted = run("pg_dumpall", shards[0].port, None, "--globals-only", "-l", "postgres")
    assert got == wanted


@pytest.mark.parametrize(
    "command",
    r"\d|\d+|\d app.*|\d+ app.orders|\da app.*|\dA|\db|\dc|\dC|\dd|\dD app.*|\ddp|\dE|\des|\deu|\dew|\df app.*|\df+ app.f|\dF app.*|\dFd|\dFp|\dFt|\dg|\di app.*|"
    r"\dl|\dL|\dm app.*|\dn+|\do app.*|\dO app.*|\dp app.*|\dP|\dPt|\drds|\dRp+|\dRs|\ds app.*|\dt app.*|\dT+ app.*|\du|\dv+ app.*|\dx|\dX|\dy|\sf app.f|\sv app.v|"
    r"\z app.*|\dconfig work_mem|\encoding|\lo_list|\dit *.*".split("|"),
)
def test_psql_describes(proxy, shards, dbname, command):
    through, directly = both("psql", proxy, shards, dbname, "-X", "-c", r"SET search_path TO app, public", "-c", command)
    assert re.sub(r"\d+ kB", "kB", through.decode()) == re.sub(r"\d+ kB", "kB", directly.decode())


# --- JDBC's ways with isolation and read-only -------------------------------------------------------------------

LEVELS = ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@pytest.mark.parametrize("level", LEVELS)
def test_jdbc_isolation(proxy, shards, dbname, level):
    """pgjdbc: setTransactionIsolation, setReadOnly, getTransactionIsolation."""
    with proxy.session() as through, shards[0].session(dbname=dbname, user="app") as plain:
        for one in (through, plain):
            one.run("SET extra_float_digits = 3")
            one.run("SET application_name = 'PostgreSQL JDBC Driver'")
            one.run("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL " + level)
        for question in ("SHOW TRANSACTION ISOLATION LEVEL", "SHOW default_transaction_isolation"):
            assert through.rows(question) == plain.rows(question) == [(level.lower(),)]
        for one in (through, plain):
            one.run("BEGIN")
            assert one.one("SHOW TRANSACTION ISOLATION LEVEL") == level.lower()
            one.run("COMMIT")
            one.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            assert one.fails("CREATE TABLE no (a int)").pgcode == "25006"
            one.run("BEGIN READ WRITE")
            assert one.one("SHOW transaction_read_only") == "off"
            one.run("ROLLBACK")
            one.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
            assert one.one("SHOW transaction_read_only") == "off"
    with proxy.session() as other:
        assert other.one("SHOW TRANSACTION ISOLATION LEVEL") == "read committed"


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("autocommit", [True, False])
def test_psycopg_set_session(proxy, level, autocommit):
    connection = proxy.connect()
    connection.set_session(isolation_level=level, readonly=True, autocommit=autocommit)
    with connection.cursor() as cur:
        cur.execute("SHOW transaction_isolation")
        assert cur.fetchone() == ({1: "read committed", 2: "repeatable read", 3: "serializable", 4: "read uncommitted"}[level],)
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cur.execute("CREATE TABLE no (a int)")
    connection.close()
