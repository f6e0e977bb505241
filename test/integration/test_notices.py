"""Notices, warnings and infos: the client hears those that one PostgreSQL sends, and each once."""
import pytest

import pgharness as h

SHARDS = 3
TABLES = {"ref": "reference", "mt": "hash(tenant_id)", "dmt": "hash(tenant_id)", "dref": "reference"}
SETUP = """
CREATE TABLE ref (id int PRIMARY KEY, w int NOT NULL)
CREATE TABLE dref (id int PRIMARY KEY, w int NOT NULL)
CREATE TABLE mt (tenant_id int PRIMARY KEY, v int NOT NULL)
CREATE TABLE dmt (tenant_id int PRIMARY KEY, v int NOT NULL)
CREATE TABLE home (id int, v int)
INSERT INTO ref VALUES (1, 0), (2, 0)
INSERT INTO dref VALUES (1, 0), (2, 0)
"""
# Triggers: the proxy does not make them for sharded tables everywhere; so they are made where the tables are.
TRIGGERS = """
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row of %', TG_TABLE_NAME; RAISE WARNING 'warned'; RETURN NEW; END $$
CREATE FUNCTION say_info() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'at the end of %', TG_TABLE_NAME; RETURN NULL; END $$
CREATE TRIGGER say BEFORE INSERT OR UPDATE ON mt FOR EACH ROW EXECUTE FUNCTION say()
CREATE TRIGGER say BEFORE INSERT OR UPDATE ON ref FOR EACH ROW EXECUTE FUNCTION say()
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON dmt DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION say_info()
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON dref DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION say_info()
CREATE TRIGGER say BEFORE INSERT OR UPDATE ON home FOR EACH ROW EXECUTE FUNCTION say()
CREATE FUNCTION noisy(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'noisy %', $1; RETURN $1; END $$
"""
KEYS = list(range(12))


def ordered(statements):
    return [line for line in statements.strip().split("\n") if line]


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, oracle, shards, dbname):
    rows = ", ".join("(%d, 0)" % k for k in KEYS)
    fill = ["INSERT INTO mt VALUES " + rows, "INSERT INTO dmt VALUES " + rows]
    with proxy.session() as s, oracle.session() as o:
        for sql in ordered(SETUP) + fill:
            s.run(sql)
            o.run(sql)
    for server in [*shards, oracle]:
        session = server.session(dbname=dbname) if server is not oracle else oracle.session(user="postgres")
        with session as db:
            for sql in ordered(TRIGGERS):
                if " ON home " not in sql or db.one("SELECT to_regclass('home') IS NOT NULL"):
                    db.run(sql)


@pytest.fixture
def both(proxy, oracle):
    with proxy.wire() as p, oracle.wire() as o:
        yield p, o


def told(messages):
    """All of it, notices too; what shards send in no certain order is sorted: notices of one kind in a row."""
    shown = []
    for kind, body in messages:
        if kind == "N":
            f = h.fields(body)
            shown.append(("N", f["S"], f["C"], f["M"]))
        elif kind == "E":
            f = h.fields(body)
            shown.append(("E", f["S"], f["C"], f["M"]))
        elif kind == "C":
            shown.append(("C", body[:-1].decode()))
        elif kind in "ZDI123snGHc":
            shown.append((kind, body))
    return shown


def notices(messages):
    return sorted(m for m in told(messages) if m[0] == "N")


def rest(messages):
    rows = sorted(m for m in told(messages) if m[0] == "D")
    return [m for m in told(messages) if m[0] not in "ND"] + rows


def simple(sql):
    return [h.query(sql)]


def extended(sql):
    return [h.parse(sql), h.bind(), h.describe("P"), h.execute(), h.SYNC]


ALL = ", ".join("(%d, 5)" % k for k in range(100, 112))
CASES = """
UPDATE mt SET v = v + 1 WHERE tenant_id = 1
UPDATE mt SET v = v + 1
UPDATE mt SET v = v + 1 RETURNING tenant_id
INSERT INTO mt VALUES %(all)s
DELETE FROM mt WHERE tenant_id >= 100
UPDATE ref SET w = w + 1
UPDATE ref SET w = w + 1 WHERE id = 1 RETURNING w
INSERT INTO ref VALUES (50, 1), (51, 1)
DELETE FROM ref WHERE id >= 50
UPDATE dmt SET v = v + 1 WHERE tenant_id = 1
UPDATE dmt SET v = v + 1
UPDATE dref SET w = w + 1
UPDATE home SET v = 1
INSERT INTO home VALUES (1, 1)
SELECT noisy(v) FROM mt WHERE tenant_id = 3
SELECT tenant_id FROM mt WHERE noisy(tenant_id) >= 0
SELECT count(*) FROM mt WHERE noisy(tenant_id) >= 0
SELECT tenant_id FROM mt WHERE noisy(tenant_id) >= 0 ORDER BY tenant_id
SELECT noisy(7)
DROP TABLE IF EXISTS nope
DROP TABLE IF EXISTS nope, nope2
DROP INDEX IF EXISTS nope_index
DROP SCHEMA IF EXISTS nope_schema
DROP FUNCTION IF EXISTS nope_function(int)
DROP TYPE IF EXISTS nope_type
CREATE TABLE IF NOT EXISTS mt (tenant_id int)
CREATE TABLE IF NOT EXISTS ref (id int)
CREATE INDEX IF NOT EXISTS mt_pkey ON mt (tenant_id)
CREATE SCHEMA IF NOT EXISTS public
ALTER TABLE mt DROP COLUMN IF EXISTS nope
ALTER TABLE ref DROP COLUMN IF EXISTS nope
ALTER TABLE mt DROP CONSTRAINT IF EXISTS nope
ALTER TABLE IF EXISTS nope ADD COLUMN x int
ALTER TABLE mt ADD COLUMN IF NOT EXISTS v int
COMMIT
ROLLBACK
SET LOCAL work_mem = '1MB'
SELECT 1 AS this_is_a_name_of_more_than_sixty_three_characters_which_is_cut_by_the_server
SELECT tenant_id AS this_is_a_name_of_more_than_sixty_three_characters_which_is_cut_by_the_server FROM mt WHERE tenant_id < 0
UPDATE mt SET v = v + 1 WHERE tenant_id = 1 AND 1 / (v - v) = 1
"""
CASES = [sql % {"all": ALL} if "%(all)s" in sql else sql for sql in ordered(CASES)]


@pytest.mark.parametrize("protocol", [simple, extended])
@pytest.mark.parametrize("sql", CASES, ids=lambda sql: sql[:50])
def test_as_one_postgresql(both, protocol, sql):
    got, wanted = (w.send(*protocol(sql)) or w.until_ready() for w in both)
    assert notices(got) == notices(wanted)
    assert rest(got) == rest(wanted)


BLOCKS = [
    ["BEGIN", "UPDATE dmt SET v = v + 1", "COMMIT"],
    ["BEGIN", "UPDATE dmt SET v = v + 1", "ROLLBACK"],
    ["BEGIN", "UPDATE dmt SET v = v + 1 WHERE tenant_id = 1", "COMMIT"],
    ["BEGIN", "UPDATE dref SET w = w + 1", "COMMIT"],
    ["BEGIN", "UPDATE ref SET w = w + 1", "UPDATE dmt SET v = v + 1 WHERE tenant_id = 5", "COMMIT"],
    ["BEGIN", "SELECT * FROM mt WHERE tenant_id < 0", "UPDATE dmt SET v = v + 1 WHERE tenant_id = 5", "COMMIT"],
    ["BEGIN", "BEGIN", "COMMIT", "COMMIT"],
    ["SET client_min_messages = error", "COMMIT", "UPDATE mt SET v = v + 1", "SET LOCAL work_mem = '1MB'", "UPDATE dref SET w = w + 1"],
    ["SET client_min_messages TO 'warning'", "COMMIT", "UPDATE mt SET v = v + 1", "UPDATE ref SET w = w + 1", "DROP TABLE IF EXISTS nope", "RESET client_min_messages", "DROP TABLE IF EXISTS nope"],
    ["BEGIN", "SAVEPOINT a", "UPDATE ref SET w = w + 1", "ROLLBACK TO a", "UPDATE mt SET v = 1", "RELEASE a", "COMMIT"],
    ["UPDATE ref SET w = w + 1; UPDATE dmt SET v = v + 1; UPDATE mt SET v = v + 1 WHERE tenant_id = 2"],
    ["UPDATE home SET v = 1; COMMIT; UPDATE home SET v = 1"],
    ["BEGIN", "UPDATE mt SET v = 1 / (v - v)", "COMMIT", "COMMIT"],
    ["BEGIN", "DROP TABLE IF EXISTS nope", "CREATE TABLE IF NOT EXISTS mt (tenant_id int)", "ROLLBACK"],
]  # fmt: skip


@pytest.mark.parametrize("protocol", [simple, extended])
@pytest.mark.parametrize("texts", BLOCKS, ids=lambda texts: "; ".join(texts)[:60])
def test_blocks_as_one_postgresql(both, protocol, texts):
    for sql in texts:
        if protocol is extended and ";" in sql:
            return
        got, wanted = (w.send(*protocol(sql)) or w.until_ready() for w in both)
        assert notices(got) == notices(wanted), sql
        assert rest(got) == rest(wanted), sql


@pytest.mark.parametrize("copy", ["COPY mt FROM STDIN", "COPY ref FROM STDIN", "COPY dmt FROM STDIN", "COPY dref FROM STDIN", "COPY home FROM STDIN"])
def test_copy_in_as_one_postgresql(both, copy):
    data = "".join("%d\t1\n" % k for k in range(500, 512)).encode()
    answers = []
    for w in both:
        w.send(h.query(copy))
        got = w.until("GE")
        w.send(h.copy_data(data), h.COPY_DONE)
        answers.append(got + w.until_ready())
        w.ask(h.query("DELETE FROM %s WHERE %s >= 500" % (copy.split()[1], "tenant_id" if "mt" in copy else "id")))
    got, wanted = answers
    assert notices(got) == notices(wanted)
    assert len(notices(got)) >= 12
    assert rest(got) == rest(wanted)


def test_they_come_before_the_error(both):
    """A row's notices, then the error of the next one."""
    for w in both:
        w.ask(h.query("DELETE FROM ref WHERE id >= 50"))
    sql = "INSERT INTO ref VALUES (60, 1), (1, 1)"
    got, wanted = (told(w.send(h.query(sql)) or w.until_ready()) for w in both)
    assert got == wanted


def test_vacuum_verbose_tells_of_every_shard(proxy):
    with proxy.wire() as w:
        w.send(h.query("VACUUM VERBOSE mt"))
        infos = [m for m in told(w.until_ready()) if m[0] == "N" and m[1] == "INFO"]
        assert sum(m[3].startswith("vacuuming ") for m in infos) == SHARDS


def test_the_proxys_own_statements_say_nothing(both):
    """Variables, BEGIN, catalog queries under settings that make the server talk."""
    for level in ("debug1", "log", "notice"):
        got, wanted = ([], [])
        for sql in ("SET client_min_messages = " + level, "UPDATE home SET v = 1 WHERE id < 0", "SELECT * FROM mt WHERE tenant_id < 0"):
            for w, to in zip(both, (got, wanted)):
                w.send(h.query(sql))
                to += notices(w.until_ready())
        assert got == wanted
