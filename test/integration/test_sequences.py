"""lastval() and currval() are the client's own, or an error: never another client's value, never an old one."""
import psycopg2
import pytest

from pgharness import bind, eventually, execute, parse, query, SYNC

SHARDS = 1
ONE = {"workers": 1, "default_pool_size": 1, "query_wait_timeout": "5s"}
SETTINGS = ONE


@pytest.fixture(scope="module", autouse=True)
def schema(shards, dbname):
    with shards[0].session(dbname=dbname, user="app") as db:
        db.run("CREATE SEQUENCE sa; CREATE SEQUENCE sb; CREATE TABLE t (id serial, v text)")
        db.run("CREATE FUNCTION f_last() RETURNS bigint LANGUAGE sql AS 'SELECT lastval()'")
        db.run("CREATE FUNCTION f_next() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RETURN nextval('sa'); END$$")
        db.run("CREATE FUNCTION f_hidden() RETURNS bigint LANGUAGE plpgsql AS $$DECLARE x bigint; BEGIN EXECUTE 'SELECT lastval()' INTO x; RETURN x; END$$")
        db.run("CREATE VIEW v_last AS SELECT lastval() AS x")


@pytest.fixture
def new(make_proxy):
    """A process that nobody has asked yet."""
    proxies = []

    def make(**settings):
        proxies.append(make_proxy(settings={**ONE, **settings}))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.stop()


def insert(s):
    return s.one("INSERT INTO t (v) VALUES ('x') RETURNING id")


READS = ["SELECT lastval()", "SELECT f_last()", "SELECT x FROM v_last", "SELECT currval('t_id_seq')", "SELECT f_hidden()"]


@pytest.mark.parametrize("read", READS)
def test_own_value_in_one_transaction(proxy, read):
    with proxy.session() as a, proxy.session() as b, proxy.session() as c:
        c.fails("SELECT lastval()")  # from now on nextval() takes back what others left
        for s in (a, b, a):  # nobody keeps the server
            s.run("BEGIN")
            mine = insert(s)
            assert s.one(read) == mine
            s.run("COMMIT")


@pytest.mark.parametrize("read", READS)
def test_never_anothers(new, read):
    """Nobody has asked before."""
    proxy = new()
    with proxy.session() as a, proxy.session() as b, proxy.session() as c:
        insert(a)
        insert(b)
        for s in (a, c, b):
            assert s.fails(read).pgcode == "55000"


@pytest.mark.parametrize("read", READS)
def test_never_anothers_in_transactions(new, read):
    """A mixture was there when the transaction began."""
    proxy = new()
    with proxy.session() as a, proxy.session() as b:
        insert(a)
        insert(b)
        a.run("BEGIN")
        a.run("INSERT INTO t (id, v) VALUES (-1, 'x')")  # a use that is none
        assert a.fails(read).pgcode == "55000"
        a.run("ROLLBACK")
        b.run("BEGIN")
        b.run("SAVEPOINT p")
        assert b.fails(read).pgcode == "55000"
        b.run("ROLLBACK TO p")
        mine = insert(b)
        assert b.one(read) == mine
        b.run("COMMIT")


@pytest.mark.parametrize("read", READS)
def test_never_anothers_by_the_extended_protocol(new, read):
    proxy = new()
    with proxy.session() as a, proxy.wire() as b:
        insert(a)
        failed = b.ask(parse(read), bind(), execute(), SYNC)
        assert [m[2] for m in failed if m[0] == "E"] == ["55000"]
        got = b.ask(query("BEGIN"))
        got = b.ask(parse("INSERT INTO t (v) VALUES ('x') RETURNING id"), bind(), execute(), parse(read), bind(), execute(), bind(), execute(), SYNC)
        values = [m[1] for m in got if m[0] == "D"]
        assert len(values) == 3 and len(set(values)) == 1, got
        b.ask(query("COMMIT"))


def test_first_question_after_anothers_use_is_told_why(new):
    proxy = new()
    with proxy.session() as a, proxy.session() as b:
        insert(a)
        insert(b)
        e = a.fails("SELECT lastval()")
        assert e.pgcode == "55000" and "RETURNING" in e.diag.message_hint


def test_nobody_in_between(new):
    proxy = new()
    with proxy.session() as a, proxy.session() as b:
        mine = insert(a)
        assert b.one("SELECT 1") == 1
        assert a.one("SELECT lastval()") == mine


def test_client_that_asked_keeps_its_server_and_gives_it_back(new):
    proxy = new()
    with proxy.session() as a, proxy.session() as b:
        a.fails("SELECT lastval()")
        mine = insert(a)
        waits = psycopg2.connect(**b.connection.get_dsn_parameters(), async_=True)
        try:
            eventually(lambda: waits.poll() == psycopg2.extensions.POLL_OK)
            cur = waits.cursor()
            cur.execute("INSERT INTO t (v) VALUES ('x') RETURNING id")
            for _ in range(3):
                assert waits.poll() != psycopg2.extensions.POLL_OK
                assert a.one("SELECT lastval()") == mine
                assert a.one("SELECT currval('t_id_seq')") == mine
            a.run("DISCARD SEQUENCES")
            eventually(lambda: waits.poll() == psycopg2.extensions.POLL_OK, 5)
            assert cur.fetchall() == [(mine + 1,)]
        finally:
            waits.close()
        assert a.fails("SELECT lastval()").pgcode == "55000"


@pytest.mark.parametrize("end", ["DISCARD SEQUENCES", "DISCARD ALL", None], ids=["sequences", "all", "close"])
def test_kept_server_goes_back(new, end):
    proxy = new()
    a = proxy.session()
    a.fails("SELECT lastval()")
    insert(a)
    if end:
        a.run(end)
    else:
        a.close()
    with proxy.session() as b:
        assert b.one("SELECT 1") == 1
        assert b.fails("SELECT lastval()").pgcode == "55000"
    a.close()


def test_client_that_never_asks_keeps_nothing(proxy):
    with proxy.session() as a, proxy.session() as b:
        b.fails("SELECT lastval()")
        insert(a)
        a.run("SELECT f_next()")
        assert b.one("SELECT 1") == 1


def test_old_value_of_its_own(new):
    """On two servers of the shard: what it left on the first is not its last."""
    proxy = new(default_pool_size=2)

    def held_by(s):
        s.run("BEGIN")
        return s.one("SELECT pg_backend_pid()")

    with proxy.session() as a, proxy.session() as b, proxy.session() as c:
        pids = [held_by(b), held_by(c)]
        b.run("COMMIT")
        a.run("SELECT nextval('sa')")
        assert a.one("SELECT pg_backend_pid()") == pids[0]
        assert held_by(b) == pids[0]
        c.run("COMMIT")
        assert a.one("SELECT pg_backend_pid()") == pids[1]
        a.run("SELECT nextval('sa')")
        assert held_by(c) == pids[1]
        b.run("COMMIT")
        assert a.one("SELECT pg_backend_pid()") == pids[0]
        for read in ("SELECT lastval()", "SELECT currval('sa')"):
            assert a.fails(read).pgcode == "55000"
        c.run("COMMIT")


def test_cancel_that_hits_the_cleaning(new):
    """The statement behind it does not run, and the next one cleans again."""
    proxy = new()
    with proxy.session() as a, proxy.session() as b:
        insert(a)
        b.run("SET statement_timeout TO '1ms'")
        for _ in range(20):
            assert b.fails("SELECT lastval()").pgcode in ("55000", "57014")
