"""Cancel requests: what they hit, and what they must not hit. A request names a connection, not a statement, and takes a way
of its own; here a man in the middle makes that way long, and locks make the proxy's own statements last."""
import select

import pytest

import pgharness as h
from pgharness import eventually

TABLES = {"t": "hash(id)"}
SHARDS = 2
RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def proxy(workspace, shards, middle, dbname):
    one = h.Proxy(workspace, middle, dbname, tables=TABLES)
    with one.session() as s:
        s.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
        for i in range(20):
            s.run("INSERT INTO t VALUES (%s, 0)", i)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def ids(shards, dbname, proxy):
    """A key of each shard."""
    keys = []
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            keys.append(db.one("SELECT min(id) FROM t"))
    return keys


@pytest.fixture(autouse=True)
def cancels_pass(middle):
    yield
    for man in middle:
        man.cancels.set()


def running(shard, dbname, like):
    with shard.session(dbname=dbname) as db:
        return db.one(RUNNING, dbname, like)


def errors(answer):
    return [m[2] for m in answer if m[0] == "E"]


def ready(w):
    return h.shape(w.until_ready())


@pytest.fixture
def text_search_locked(shards, dbname):
    """On the second shard, SET default_text_search_config waits."""
    with shards[1].session(dbname=dbname) as admin:
        admin.run("BEGIN")
        admin.run("LOCK TABLE pg_ts_config IN ACCESS EXCLUSIVE MODE")
        yield admin
        admin.run("ROLLBACK")


SET, SHOW = "SET default_text_search_config = '%s'", "SELECT current_setting('default_text_search_config') FROM t WHERE id = %d"
fresh = iter(("danish", "dutch", "finnish", "french", "german", "hungarian"))  # what no connection has been set to yet


@pytest.mark.parametrize("block", (False, True))
@pytest.mark.parametrize("statement", ("SELECT v FROM t WHERE id = %d", "SELECT count(*) FROM t"))
def test_a_cancel_that_hits_the_sessions_variables_fails_the_statement_alone(
        proxy, shards, dbname, ids, text_search_locked, statement, block):
    if "%d" in statement:
        statement %= ids[1]
    with proxy.wire() as w:
        wanted = "pg_catalog." + next(fresh)
        assert errors(w.ask(h.query(SET % wanted))) == []
        if block:
            w.ask(h.query("BEGIN"))
        w.send(h.query(statement))
        eventually(lambda: running(shards[1], dbname, "SET %"))
        w.cancel()
        assert errors(ready(w)) == ["57014"]
        text_search_locked.run("ROLLBACK")
        w.ask(h.query("ROLLBACK"))
        assert w.ask(h.query(SHOW % ids[1]))[1] == ("D", wanted.encode())


def test_a_shard_that_misses_the_variables_is_left_alone_after_rollback_to(proxy, shards, dbname, ids, text_search_locked):
    with proxy.wire() as w:
        wanted = "pg_catalog." + next(fresh)
        for sql in (SET % wanted, "BEGIN", "SAVEPOINT a"):
            w.ask(h.query(sql))
        w.send(h.query("SELECT v FROM t WHERE id = %d" % ids[1]))
        eventually(lambda: running(shards[1], dbname, "SET %"))
        w.cancel()
        assert errors(ready(w)) == ["57014"]
        text_search_locked.run("ROLLBACK")
        assert errors(w.ask(h.query("ROLLBACK TO a"))) == []
        assert errors(w.ask(h.query(SHOW % ids[1]))) == ["25P02"]
        assert errors(w.ask(h.query("ROLLBACK TO a"))) == []
        assert w.ask(h.query(SHOW % ids[0]))[1] == ("D", wanted.encode())
        assert errors(w.ask(h.query("COMMIT"))) == []
        assert w.ask(h.query(SHOW % ids[1]))[1] == ("D", wanted.encode())


def test_the_clients_statement_timeout_that_hits_its_variables_is_its_statements(proxy, shards, dbname, ids, text_search_locked):
    with proxy.wire() as w:
        w.ask(h.query("SET statement_timeout = '200ms'"))
        w.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[1]))
        wanted = "pg_catalog." + next(fresh)
        w.ask(h.query(SET % wanted))
        assert errors(w.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[1]))) == ["57014"]
        text_search_locked.run("ROLLBACK")
        assert w.ask(h.query(SHOW % ids[1]))[1] == ("D", wanted.encode())


def test_a_late_cancel_hits_nothing_else(proxy, shards, middle, dbname, ids):
    """One shard fails, so the other one is cancelled; its statement ends before the request is there. What the session says
    next must wait, for the request names the connection alone."""
    with proxy.wire() as w, shards[1].session(dbname=dbname) as admin:
        admin.run("BEGIN")
        admin.run("SELECT FROM t WHERE id = %s FOR UPDATE", ids[1])
        for sql in ("BEGIN", "UPDATE t SET v = 1 WHERE id = %d" % ids[0], "SAVEPOINT a"):
            w.ask(h.query(sql))
        middle[1].cancels.clear()
        w.send(h.query("SELECT 1 / (v - 1) FROM t FOR UPDATE"))
        assert h.shape(w.until("E"))[-1][2] == "22012"
        eventually(lambda: middle[1].cancels_waiting)
        admin.run("COMMIT")
        eventually(lambda: not running(shards[1], dbname, "%FOR UPDATE%"))
        w.send(h.query("ROLLBACK TO a"), h.query("SELECT pg_sleep(0.5), v FROM t WHERE id = %d" % ids[1]))
        assert select.select([w.socket], [], [], 0.5)[0] == []
        middle[1].cancels.set()
        for _ in range(3):
            assert errors(ready(w)) == []
        w.ask(h.query("ROLLBACK"))


def test_a_cancel_does_not_cost_the_connection(proxy, shards, dbname, ids):
    with proxy.wire() as w:
        pid = "SELECT pg_backend_pid() FROM t WHERE id = %d" % ids[1]
        before = w.ask(h.query(pid))[1]
        for _ in range(3):
            w.send(h.query("SELECT pg_sleep(100) FROM t WHERE id = %d" % ids[1]))
            eventually(lambda: running(shards[1], dbname, "%pg_sleep%"))
            w.cancel()
            assert errors(ready(w)) == ["57014"]
            assert w.ask(h.query(pid))[1] == before
