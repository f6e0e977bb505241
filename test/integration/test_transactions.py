"""Transactions: begun lazily on the shards they reach, whole on all of them."""
import threading

import psycopg2
import pytest

import pgharness as h
from pgharness import eventually

TABLES = {"items": "hash(id)"}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, oracle):
    with proxy.session() as p, oracle.session() as o:
        for s in (p, o):
            s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
            s.run("CREATE TABLE notes (id int PRIMARY KEY, t text)")


@pytest.fixture(autouse=True)
def fresh(schema, proxy, oracle):
    with proxy.session() as p, oracle.session() as o:
        for s in (p, o):
            s.run("TRUNCATE items")
            s.run("TRUNCATE notes")
            s.run("INSERT INTO items VALUES " + ",".join("(%d, 0)" % i for i in range(40)))


@pytest.fixture(scope="module")
def ids(shards, dbname):
    """A key on each shard, by shard."""
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT g, hashint4extended(g, 0) & 1023 FROM generate_series(0, 39) g")
    by_shard = {}
    for key, bucket in buckets:
        by_shard.setdefault(shards.shard_of_bucket(bucket), key)
    return [by_shard[i] for i in range(len(shards))]


def open_on(shards, dbname):
    """Shards on which a transaction of the module's database is open, and what state it is in."""
    sql = "SELECT state FROM pg_stat_activity WHERE datname = %s AND usename = 'app' AND state LIKE 'idle in transaction%%'"
    return [len(rows) for rows in shards.each(dbname, sql, dbname)]


class Both:
    def __init__(self, proxy, oracle):
        self.proxy, self.oracle = proxy.wire(), oracle.wire()

    def close(self):
        self.proxy.close()
        self.oracle.close()

    def ask(self, sql):
        wanted, got = self.oracle.ask(h.query(sql)), self.proxy.ask(h.query(sql))
        assert got == wanted, sql
        return wanted


@pytest.fixture
def both(proxy, oracle):
    b = Both(proxy, oracle)
    yield b
    b.close()


def test_shards_join_when_they_are_needed(proxy, shards, dbname, ids):
    with proxy.wire() as w:
        for sql in ("SELECT * FROM items WHERE id = 1", "UPDATE items SET v = 0 WHERE id = 1", "SELECT count(*) FROM items"):
            w.ask(h.query(sql))  # from now on it is known what they need
        assert w.ask(h.query("BEGIN")) == [("C", "BEGIN"), ("Z", "T")]
        assert open_on(shards, dbname) == [0, 0, 0, 0]
        w.ask(h.query("SELECT * FROM items WHERE id = %d" % ids[2]))
        assert open_on(shards, dbname) == [0, 0, 1, 0]
        w.ask(h.query("UPDATE items SET v = 1 WHERE id = %d" % ids[1]))
        assert open_on(shards, dbname) == [0, 1, 1, 0]
        w.ask(h.query("SELECT count(*) FROM items"))
        assert open_on(shards, dbname) == [1, 1, 1, 1]
        assert w.ask(h.query("COMMIT")) == [("C", "COMMIT"), ("Z", "I")]
        assert open_on(shards, dbname) == [0, 0, 0, 0]


def test_rollback_undoes_all_shards(both):
    both.ask("BEGIN")
    both.ask("UPDATE items SET v = v + 1")
    both.ask("DELETE FROM items WHERE id < 10")
    both.ask("SELECT count(*), sum(v) FROM items")
    both.ask("ROLLBACK")
    both.ask("SELECT count(*), sum(v) FROM items")


def test_commit_keeps_all_shards(both):
    both.ask("BEGIN ISOLATION LEVEL READ COMMITTED")
    both.ask("UPDATE items SET v = v + 1")
    both.ask("INSERT INTO notes VALUES (1, 'on the home shard')")
    both.ask("COMMIT")
    both.ask("SELECT count(*), sum(v) FROM items")
    both.ask("SELECT * FROM notes")


def test_an_error_fails_the_transaction_everywhere(both):
    both.ask("BEGIN")
    both.ask("UPDATE items SET v = v + 1 WHERE id = 3")
    both.ask("INSERT INTO items VALUES (4, 4)")
    for sql in ("SELECT 1", "SELECT * FROM items WHERE id = 3", "UPDATE items SET v = 9", "SAVEPOINT x", "BEGIN"):
        got = both.ask(sql)
        assert got[0][2] == "25P02" and got[-1] == ("Z", "E")
    assert both.ask("COMMIT") == [("C", "ROLLBACK"), ("Z", "I")]
    both.ask("SELECT sum(v) FROM items")


def test_verbs_outside_and_inside(both):
    for sql in ("COMMIT", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a", "END", "ABORT", "START TRANSACTION", "BEGIN",
                "COMMIT", "BEGIN WORK", "END", "BEGIN TRANSACTION READ ONLY", "UPDATE items SET v = 1 WHERE id = 1", "ROLLBACK",
                "BEGIN READ WRITE", "UPDATE items SET v = 1 WHERE id = 1", "COMMIT AND NO CHAIN", "SELECT v FROM items WHERE id = 1",
                "BEGIN", "RELEASE nosuch", "ROLLBACK", "BEGIN", "ROLLBACK TO nosuch", "ROLLBACK"):
        both.ask(sql)


def test_isolation_level_of_the_transaction_holds_where_it_joins(both, proxy, ids):
    for level in ("REPEATABLE READ", "READ COMMITTED", "READ UNCOMMITTED"):
        both.ask("BEGIN ISOLATION LEVEL " + level)
        both.ask("SHOW transaction_isolation")
        both.ask("COMMIT")
    both.ask("BEGIN")
    both.ask("SET TRANSACTION READ ONLY")
    both.ask("SELECT v FROM items WHERE id = 1")
    assert both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[0])[0][2] == "25006"
    both.ask("ROLLBACK")
    both.ask("BEGIN")
    both.ask("SELECT v FROM items WHERE id = 1")
    both.ask("ROLLBACK")
    with proxy.session() as other, proxy.wire() as w:
        w.ask(h.query("BEGIN ISOLATION LEVEL REPEATABLE READ"))
        before = w.ask(h.query("SELECT v FROM items WHERE id = %d" % ids[3]))
        other.run("UPDATE items SET v = 77 WHERE id = %s", ids[3])
        assert w.ask(h.query("SELECT v FROM items WHERE id = %d" % ids[3])) == before
        w.ask(h.query("COMMIT"))
        assert w.ask(h.query("SELECT v FROM items WHERE id = %d" % ids[3]))[1] == ("D", b"77")


def test_one_snapshot_over_shards_is_refused_when_the_second_joins(proxy, ids):
    """REPEATABLE READ and SERIALIZABLE promise more than two shards can keep yet."""
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        with proxy.wire() as w:
            w.ask(h.query("BEGIN ISOLATION LEVEL " + level))
            assert w.ask(h.query("UPDATE items SET v = 3 WHERE id = %d" % ids[0]))[-1] == ("Z", "T")
            refused = w.ask(h.query("SELECT count(*) FROM items"))
            assert (refused[0][0], refused[0][2], refused[-1]) == ("E", "0A000", ("Z", "E"))
            assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
            w.ask(h.query("BEGIN"))
            w.ask(h.query("SET TRANSACTION ISOLATION LEVEL " + level))
            assert w.ask(h.query("UPDATE items SET v = 3 WHERE id IN (%d, %d)" % (ids[0], ids[1])))[0][2] == "0A000"
            w.ask(h.query("ROLLBACK"))
            w.ask(h.query("SET default_transaction_isolation = '%s'" % level.lower()))
            w.ask(h.query("BEGIN"))
            assert w.ask(h.query("SELECT count(*) FROM items"))[0][2] == "0A000"


def test_savepoints(both):
    for sql in ("BEGIN", "UPDATE items SET v = 1 WHERE id = 1", "SAVEPOINT a", "UPDATE items SET v = v + 10", "SAVEPOINT b",
                "DELETE FROM items WHERE id > 20", "ROLLBACK TO b", "SELECT count(*), sum(v) FROM items", "INSERT INTO items VALUES (1, 1)",
                "SELECT 1", "ROLLBACK TO a", "SELECT count(*), sum(v) FROM items", "RELEASE a", "ROLLBACK TO a", "ROLLBACK"):
        both.ask(sql)
    both.ask("SELECT sum(v) FROM items")


def test_a_shard_that_joins_after_savepoints(both, ids):
    """It has them all: what it did after one of them is undone with it."""
    both.ask("BEGIN")
    both.ask("SAVEPOINT a")
    both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[0])
    both.ask("SAVEPOINT b")
    both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[1])  # joins here
    both.ask('SAVEPOINT "B"')
    both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[2])  # and here
    both.ask("ROLLBACK TO b")
    both.ask("SELECT id FROM items WHERE v = 1 ORDER BY id")
    both.ask("UPDATE items SET v = 2 WHERE id = %d" % ids[3])
    both.ask("RELEASE b")
    both.ask("COMMIT")
    both.ask("SELECT id, v FROM items WHERE v > 0 ORDER BY id")


def test_a_failed_first_statement_of_a_shard_and_its_savepoint(both, ids):
    both.ask("BEGIN")
    both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[0])
    both.ask("SAVEPOINT a")
    both.ask("INSERT INTO items VALUES (%d, 0)" % ids[1])  # 23505, on a shard that had not joined
    both.ask("ROLLBACK TO SAVEPOINT a")
    both.ask("INSERT INTO items VALUES (1000, 1)")
    both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[1])
    both.ask("COMMIT")
    both.ask("SELECT id, v FROM items WHERE v > 0 ORDER BY id")


def test_commit_and_chain(both, ids):
    both.ask("BEGIN ISOLATION LEVEL READ UNCOMMITTED")
    both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[0])
    both.ask("UPDATE items SET v = 1 WHERE id = %d" % ids[1])
    assert both.ask("COMMIT AND CHAIN")[-1] == ("Z", "T")
    both.ask("SHOW transaction_isolation")
    both.ask("UPDATE items SET v = 5 WHERE id = %d" % ids[2])
    assert both.ask("ROLLBACK AND CHAIN")[-1] == ("Z", "T")
    both.ask("SHOW transaction_isolation")
    both.ask("COMMIT")
    both.ask("SELECT id, v FROM items WHERE v > 0 ORDER BY id")
    both.ask("SHOW transaction_isolation")


def test_set_follows_the_session(both, ids):
    """A client's settings hold wherever its statements run, and only for it."""
    both.ask("SET statement_timeout = '12345ms'")
    both.ask("SHOW statement_timeout")
    for i in ids:
        both.ask("SELECT current_setting('statement_timeout'), v FROM items WHERE id = %d" % i)
    both.ask("BEGIN")
    both.ask("SET LOCAL statement_timeout = '777ms'")
    both.ask("SET work_mem = '5MB'")
    for i in ids:
        both.ask("SELECT current_setting('statement_timeout'), current_setting('work_mem'), v FROM items WHERE id = %d" % i)
    both.ask("COMMIT")
    for i in ids:
        both.ask("SELECT current_setting('statement_timeout'), current_setting('work_mem'), v FROM items WHERE id = %d" % i)
    both.ask("BEGIN")
    both.ask("SET work_mem = '7MB'")
    both.ask("SELECT current_setting('work_mem'), v FROM items WHERE id = %d" % ids[1])
    both.ask("ROLLBACK")
    for i in ids:
        both.ask("SELECT current_setting('work_mem'), v FROM items WHERE id = %d" % i)
    both.ask("RESET work_mem")
    both.ask("RESET ALL")
    for i in ids:
        both.ask("SELECT current_setting('statement_timeout'), current_setting('work_mem'), v FROM items WHERE id = %d" % i)
    both.ask("SET work_mem = 'nonsense'")
    both.ask("SET nosuch_setting = 1")
    both.ask("SHOW work_mem")


def test_settings_do_not_leak_to_other_clients(make_proxy, ids):
    one = make_proxy(settings={"default_pool_size": 1, "workers": 1})
    with one.session() as a, one.session() as b:
        plain = b.one("SHOW work_mem")
        a.run("SET work_mem = '9MB'")
        a.run("SET application_name = 'a of a'")
        for i in ids:
            sql = "SELECT current_setting('work_mem'), current_setting('application_name') FROM items WHERE id = %d" % i
            assert a.rows(sql) == [("9MB", "a of a")]
            assert b.rows(sql)[0][0] == plain
            assert b.rows(sql)[0][1] != "a of a"


def test_startup_parameters_reach_the_shards(proxy, oracle, ids):
    options = dict(application_name="my app", options="-c work_mem=11MB", DateStyle="German")
    with proxy.wire(**options) as p, oracle.wire(**options) as o:
        assert p.parameters["application_name"] == o.parameters["application_name"]
        for i in ids:
            sql = h.query(
                "SELECT current_setting('application_name'), current_setting('work_mem'), date '2026-02-01' FROM items WHERE id = %d" % i
            )
            assert p.ask(sql) == o.ask(sql)


def test_parameter_status_is_reported_alike(proxy, oracle):
    with proxy.wire() as p, oracle.wire() as o:
        ours, theirs = dict(p.parameters), dict(o.parameters)
        assert ours == theirs
        for sql in ("SET DateStyle = 'SQL, DMY'", "SET TimeZone = 'Asia/Tokyo'", "SET client_encoding = 'LATIN1'", "BEGIN",
                    "SET TimeZone = 'UTC'", "ROLLBACK", "RESET ALL"):
            p.ask(h.query(sql))
            o.ask(h.query(sql))
            assert p.parameters == o.parameters, sql


def test_an_implicit_transaction_of_a_simple_query(both, ids):
    a, b = ids[0], ids[1]
    both.ask("UPDATE items SET v = 1 WHERE id = %d; UPDATE items SET v = 1 WHERE id = %d" % (a, b))
    both.ask("UPDATE items SET v = 2 WHERE id = %d; INSERT INTO items VALUES (%d, 2)" % (a, b))
    both.ask("SELECT id, v FROM items WHERE v > 0 ORDER BY id")
    both.ask("BEGIN; UPDATE items SET v = 3 WHERE id = %d; COMMIT; UPDATE items SET v = 4 WHERE id = %d; SELECT 1/0" % (a, b))
    both.ask("SELECT id, v FROM items WHERE v > 0 ORDER BY id")
    both.ask("UPDATE items SET v = 5 WHERE id = %d; BEGIN; UPDATE items SET v = 5 WHERE id = %d" % (a, b))
    both.ask("ROLLBACK")
    both.ask("SELECT id, v FROM items WHERE v > 0 ORDER BY id")


@pytest.mark.parametrize("how", ["close", "terminate", "reset"])
def test_a_client_that_goes_away_is_rolled_back(proxy, shards, dbname, ids, how):
    w = proxy.wire()
    w.ask(h.query("BEGIN"))
    for i in ids:
        w.ask(h.query("UPDATE items SET v = 99 WHERE id = %d" % i))
    if how == "terminate":
        w.send(h.TERMINATE)
    elif how == "reset":
        w.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: RST
    w.close()
    eventually(lambda: open_on(shards, dbname) == [0, 0, 0, 0])
    with proxy.session() as s:
        assert s.one("SELECT count(*) FROM items WHERE v = 99") == 0
        s.run("UPDATE items SET v = 0")  # no lock is left


def test_a_client_that_goes_away_in_the_middle_of_a_statement(proxy, shards, dbname):
    w = proxy.wire()
    w.send(h.query("SELECT pg_sleep(100), id FROM items"))
    running = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE '%%pg_sleep%%' AND state = 'active' AND pid <> pg_backend_pid()"
    eventually(lambda: sum(r[0][0] for r in shards.each(dbname, running, dbname)) > 0)
    w.close()
    eventually(lambda: sum(r[0][0] for r in shards.each(dbname, running, dbname)) == 0)


def test_cancel_reaches_every_shard(proxy, shards, dbname):
    with proxy.wire() as w:
        for sql in ("SELECT pg_sleep(100) FROM items WHERE id = 1", "SELECT pg_sleep(100), id FROM items"):
            w.send(h.query(sql))
            running = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE '%%pg_sleep%%' AND state = 'active' AND pid <> pg_backend_pid()"
            eventually(lambda: sum(r[0][0] for r in shards.each(dbname, running, dbname)) > 0)
            w.cancel()
            got = h.shape(w.until_ready())
            assert [m[2] for m in got if m[0] == "E"] == ["57014"]
        assert w.ask(h.query("SELECT count(*) FROM items"))[1] == ("D", b"40")


def test_cancel_with_a_wrong_key_does_nothing(proxy):
    with proxy.wire() as w:
        w.send(h.query("SELECT pg_sleep(0.3) FROM items WHERE id = 1"))
        w.key = (w.key[0], w.key[1] ^ 1)
        w.cancel()
        assert h.shape(w.until_ready())[-1] == ("Z", "I")


def test_locks_hold_until_the_end(proxy, ids):
    with proxy.session() as a, proxy.wire() as w:
        a.run("BEGIN")
        a.run("UPDATE items SET v = v + 1 WHERE id = %s", ids[0])
        a.run("UPDATE items SET v = v + 1 WHERE id = %s", ids[1])
        done = threading.Event()

        def second():
            w.ask(h.query("UPDATE items SET v = v + 10 WHERE id = %d" % ids[1]))
            done.set()

        t = threading.Thread(target=second)
        t.start()
        assert not done.wait(0.3)
        a.run("COMMIT")
        t.join(20)
        assert done.is_set()
        assert a.rows("SELECT v FROM items WHERE id IN (%s, %s) ORDER BY v", ids[0], ids[1]) == [(1,), (11,)]


def test_a_shard_that_dies_fails_its_transactions_and_comes_back(proxy, shards, dbname, ids):
    """The others go on; an open transaction that it took part in is rolled back on the rest."""
    with proxy.session() as s, proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("UPDATE items SET v = 5 WHERE id = %d" % ids[0]))
        w.ask(h.query("UPDATE items SET v = 5 WHERE id = %d" % ids[2]))
        shards[2].stop()
        try:
            got = w.ask(h.query("SELECT v FROM items WHERE id = %d" % ids[2]))
            assert got[0][0] == "E" and got[0][2] in ("08006", "57P01")
            assert got[-1] == ("Z", "E")
            assert w.ask(h.query("COMMIT")) == [("C", "ROLLBACK"), ("Z", "I")]
            assert s.one("SELECT v FROM items WHERE id = %s", ids[0]) == 0
            e = s.fails("SELECT count(*) FROM items")
            assert e.pgcode == "08006", e
            assert "s2" in str(e)
        finally:
            shards[2].start()

        def again():
            try:
                return s.one("SELECT count(*) FROM items") == 40
            except psycopg2.OperationalError as e:
                assert e.pgcode == "08006"
                return False

        eventually(again, 30, 0.2)


def test_statements_that_cannot_be_in_a_transaction(both, proxy):
    with proxy.session() as s:
        assert s.run("VACUUM items") == "VACUUM"
        assert s.run("CREATE INDEX CONCURRENTLY items_v ON items (v)") == "CREATE INDEX"
        assert s.run("DROP INDEX items_v") == "DROP INDEX"
    both.ask("BEGIN")
    assert both.ask("VACUUM items")[0][2] == "25001"
    both.ask("ROLLBACK")


def test_cursors_in_a_transaction(both, ids):
    both.ask("BEGIN")
    both.ask("DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 5) g, items WHERE id = %d" % ids[1])
    both.ask("FETCH 2 FROM c")
    both.ask("SELECT v FROM items WHERE id = %d" % ids[2])
    both.ask("FETCH 2 FROM c")
    both.ask("MOVE 1 IN c")
    both.ask("FETCH ALL FROM c")
    both.ask("CLOSE c")
    both.ask("FETCH 1 FROM c")
    both.ask("ROLLBACK")
