"""A client keeps its server as long as it has something there that PostgreSQL would keep for it, and no longer."""
import time

import psycopg2
import pytest

from pgharness import eventually

SHARDS = 1
SETTINGS = {"workers": 1, "default_pool_size": 1, "query_wait_timeout": "10s"}

# (what makes it, what shows it, what ends it)
KEPT = {
    "lock": ("SELECT pg_advisory_lock(1)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "SELECT pg_advisory_unlock(1)"),
    "lock_twice": (
        "SELECT pg_advisory_lock(2), pg_advisory_lock_shared(3)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        "SELECT pg_advisory_unlock_all()",
    ),
    "listen": ("LISTEN a", "SELECT pg_listening_channels()", "UNLISTEN a"),
    "unlisten_all": ("LISTEN a", "SELECT pg_listening_channels()", "UNLISTEN *"),
    "temporary": ("CREATE TEMP TABLE scratch (a int)", "SELECT count(*) FROM scratch", "DROP TABLE scratch"),
    "temporary_as": ("CREATE TEMP TABLE scratch AS SELECT 1 AS a", "SELECT a FROM scratch", "DROP TABLE scratch"),
    "discard_temp": ("CREATE TEMP TABLE scratch (a int)", "SELECT count(*) FROM scratch", "DISCARD TEMP"),
    "prepared": ("PREPARE p AS SELECT 7", "EXECUTE p", "DEALLOCATE p"),
    "prepared_all": ("PREPARE p AS SELECT 7", "EXECUTE p", "DEALLOCATE ALL"),
    "cursor": ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "SELECT name FROM pg_cursors WHERE is_holdable", "CLOSE c"),
    "cursor_all": ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "SELECT name FROM pg_cursors WHERE is_holdable", "CLOSE ALL"),
    "unseen_lock": ("SELECT take_lock()", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "SELECT free_lock()"),
    "unseen_temporary": ("SELECT make_scratch()", "SELECT count(*) FROM scratch", "DROP TABLE scratch"),
    "discard_all": ("LISTEN a", "SELECT pg_listening_channels()", "DISCARD ALL"),
    "failed": ("BEGIN; SELECT pg_advisory_lock(9); ROLLBACK", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "SELECT pg_advisory_unlock(9)"),
}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE FUNCTION take_lock() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(5)'")
        s.run("CREATE FUNCTION free_lock() RETURNS bool LANGUAGE sql AS 'SELECT pg_advisory_unlock(5)'")
        s.run("CREATE FUNCTION make_scratch() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TEMP TABLE scratch (a int); END'")
        s.run("CREATE TABLE notes (a int, at timestamptz)")
        s.run(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN NEW.at := now(); UPDATE notes SET at = at WHERE a < 0; RETURN NEW; END$$"
        )
        s.run("CREATE TRIGGER tr BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION touch()")


def backend(session):
    return session.one("SELECT pg_backend_pid()")




@pytest.mark.parametrize("make, show, end", KEPT.values(), ids=KEPT.keys())
def test_server_is_kept_and_given_back(proxy, make, show, end):
    with proxy.session() as a, proxy.session() as b:
        a.run(make)
        assert a.rows(show), "it is still there"
        waits = psycopg2.connect(**b.connection.get_dsn_parameters(), async_=True)
        try:
            eventually(lambda: waits.poll() == psycopg2.extensions.POLL_OK)
            cur = waits.cursor()
            cur.execute("SELECT 1")
            waiting(proxy, 1)
            assert a.rows(show)
            a.run(end)
            eventually(lambda: waits.poll() == psycopg2.extensions.POLL_OK, 5)
            assert cur.fetchall() == [(1,)]
        finally:
            waits.close()
        assert a.one("SELECT 2") == 2


def waiting(proxy, n):
    def seen():
        with proxy.console() as console:
            return sum(int(row["cl_waiting"]) for row in console.dicts("SHOW POOLS") if row["database"] == "shop") == n

    eventually(seen)


@pytest.mark.parametrize("statement", ["UNLISTEN *", "SELECT pg_advisory_unlock_all()", "DISCARD TEMP", "CLOSE ALL", "DEALLOCATE ALL"])
def test_nothing_to_end_keeps_nothing(proxy, statement):
    """What drivers send when they return a connection to their own pool."""
    sessions = [proxy.session() for _ in range(5)]
    for s in sessions:
        s.run("SELECT 1")
        s.run(statement)
    for s in sessions:
        assert s.one("SELECT 1") == 1
    for s in sessions:
        s.close()


def test_harmless_code_costs_no_look(proxy, shards, dbname):
    """A trigger whose code is seen to leave nothing: the server is not asked."""
    with shards[0].session(dbname=dbname) as db, proxy.session() as s:
        s.run("INSERT INTO notes VALUES (1)")
        pid = backend(s)
        s.run("INSERT INTO notes VALUES (2)")
        last = "SELECT query FROM pg_stat_activity WHERE pid = %s"
        assert "INSERT" in db.one(last, pid)


@pytest.mark.parametrize("make, show, end", [KEPT["lock"], KEPT["temporary"]], ids=["lock", "temporary"])
def test_client_that_vanishes_leaves_nothing(proxy, make, show, end):
    a = proxy.wire()
    a.send(b"Q" + (len(make) + 5).to_bytes(4, "big") + make.encode() + b"\0")
    a.until("Z")
    a.close()
    with proxy.session() as b:
        assert b.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert b.one("SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = pg_my_temp_schema()") == 0


def test_role_set_unseen_is_rolled_back_with_its_transaction(proxy, shards):
    with shards[0].session(dbname="postgres") as db:
        if not db.rows("SELECT 1 FROM pg_roles WHERE rolname = 'boss'"):
            db.run("CREATE ROLE boss")
        db.run("GRANT boss TO app")
    with proxy.session() as a, proxy.session() as b:
        a.run("DO 'BEGIN SET ROLE boss; END'")
        assert (a.one("SELECT current_user"), b.one("SELECT current_user"), a.one("SELECT current_user")) == ("boss", "app", "boss")
        a.run("RESET ROLE")
        a.run("BEGIN")
        a.run("DO 'BEGIN SET ROLE boss; PERFORM pg_advisory_lock(1); END'")
        assert a.one("SELECT current_user") == "boss"
        a.run("ROLLBACK")
        assert a.one("SELECT current_user") == "app"
        assert a.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 1
        a.run("SELECT pg_advisory_unlock_all()")
        assert b.one("SELECT current_user") == "app"
