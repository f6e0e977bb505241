"""What a session begins with may change while the proxy runs: ALTER ROLE ... SET, ALTER DATABASE ... SET, ALTER SYSTEM. A new
client sees what a fresh direct connection sees, whoever made the change; one that was there before keeps what it was told."""
import contextlib

import psycopg2
import pytest

import pgharness as h
from pgharness import eventually

SHARDS = 2
TABLES = {"t": "hash(id)", "words": "hash(w)"}
SETTINGS = {"workers": 2, "default_pool_size": 2}

NAMES = ["DateStyle", "IntervalStyle", "TimeZone", "client_encoding", "default_transaction_read_only", "standard_conforming_strings"]
ASKED = NAMES + ["default_transaction_isolation", "search_path", "work_mem", "statement_timeout", "extra_float_digits", "lc_monetary"]


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as db:
        db.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    for shard in proxy.cluster:
        with shard.session(dbname="postgres") as db:
            db.run("DROP ROLE IF EXISTS evil; CREATE ROLE evil LOGIN")


@pytest.fixture(autouse=True)
def put_back(proxy, shards, dbname):
    yield
    for shard in shards:
        with shard.session(dbname="postgres") as db:
            db.run("ALTER ROLE app RESET ALL")
            db.run("ALTER ROLE app IN DATABASE %s RESET ALL" % dbname)
            db.run("ALTER DATABASE %s RESET ALL" % dbname)
            db.run("ALTER SYSTEM RESET ALL")
            db.run("SELECT pg_reload_conf()")
            eventually(lambda shard=shard: seen_by(shard.connect(dbname="postgres", user="app"))["TimeZone"] == "UTC")
    renew(proxy)


def renew(proxy):
    with proxy.console() as console:
        console.run("RECONNECT")
        console.run("RELOAD")
    eventually(lambda: seen_by(proxy.connect())["TimeZone"] == "UTC")


def seen_by(connection):
    """By the start's reports, and by asking."""
    with contextlib.closing(connection):
        connection.autocommit = True
        with connection.cursor() as cur:
            got = {name: connection.get_parameter_status(name) for name in NAMES}
            for name in ASKED:
                cur.execute("SELECT current_setting('%s')" % name)
                got["asked " + name] = cur.fetchone()[0]
            return got


def direct(shards, dbname, user="app"):
    return seen_by(shards[0].connect(dbname=dbname, user=user))


def warm(proxy):
    """Pooled servers of every worker, and remembered welcomes."""
    open_ones = [proxy.session() for _ in range(6)]
    for one in open_ones:
        one.run("SELECT count(*) FROM t")
    for one in open_ones:
        one.close()


CHANGES = [
    "ALTER ROLE app SET DateStyle TO 'SQL, DMY'",
    "ALTER ROLE app SET TimeZone TO 'Asia/Tokyo'",
    "ALTER ROLE app SET IntervalStyle TO 'iso_8601'",
    "ALTER ROLE app SET work_mem TO '7MB'",
    "ALTER ROLE app SET search_path TO pg_catalog",
    "ALTER ROLE app SET default_transaction_read_only TO on",
    "ALTER ROLE app SET default_transaction_isolation TO 'serializable'",
    "ALTER USER app SET extra_float_digits TO 0",
    "ALTER ROLE ALL SET statement_timeout TO '123s'",
    "ALTER ROLE app IN DATABASE {db} SET DateStyle TO 'German'",
    "ALTER DATABASE {db} SET DateStyle TO 'German'",
    "ALTER DATABASE {db} SET TimeZone TO 'America/Lima'",
    "ALTER DATABASE {db} SET client_encoding TO 'LATIN1'",
    "ALTER DATABASE {db} SET default_transaction_isolation TO 'repeatable read'",
]


@pytest.mark.parametrize("change", CHANGES)
def test_change_through_the_proxy_is_seen_by_the_next_client(proxy, shards, dbname, change):
    warm(proxy)
    with proxy.session(user="postgres") as admin:
        admin.run(change.format(db=dbname))
    try:
        for _ in range(6):
            assert seen_by(proxy.connect()) == direct(shards, dbname)
    finally:
        for shard in shards:
            with shard.session(dbname="postgres") as db:
                db.run("ALTER ROLE ALL RESET ALL")


def test_change_in_a_transaction_counts_when_it_commits(proxy, shards, dbname):
    warm(proxy)
    with proxy.session(user="postgres") as admin:
        admin.run("BEGIN")
        admin.run("ALTER ROLE app SET DateStyle TO 'SQL, DMY'")
        before = direct(shards, dbname)
        assert seen_by(proxy.connect()) == before
        admin.run("ROLLBACK")
        assert seen_by(proxy.connect()) == before
        admin.run("BEGIN")
        admin.run("ALTER ROLE app SET DateStyle TO 'SQL, DMY'")
        admin.run("COMMIT")
    assert direct(shards, dbname) != before
    for _ in range(4):
        assert seen_by(proxy.connect()) == direct(shards, dbname)


@pytest.mark.parametrize("change", [c for c in CHANGES if "ALL" not in c])
@pytest.mark.parametrize("command", ["RECONNECT", "RELOAD"])
def test_change_behind_its_back_is_seen_after(proxy, shards, dbname, change, command):
    warm(proxy)
    for shard in shards:
        with shard.session(dbname="postgres") as db:
            db.run(change.format(db=dbname))
    with proxy.console() as console:
        console.run(command)
    eventually(lambda: seen_by(proxy.connect()) == direct(shards, dbname))
    for _ in range(6):
        assert seen_by(proxy.connect()) == direct(shards, dbname)


def test_change_behind_its_back_is_seen_when_a_server_is_opened(proxy, shards, dbname):
    warm(proxy)
    for shard in shards:
        with shard.session(dbname="postgres") as db:
            db.run("ALTER ROLE app SET TimeZone TO 'Asia/Tokyo'")
            db.run("ALTER ROLE app SET work_mem TO '7MB'")

    mine = "FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database()"
    with shards[0].session(dbname=dbname) as db:  # one of them only
        pid = db.one("SELECT min(pid) %s" % mine)
        db.run("SELECT pg_terminate_backend(%s)", pid)
        eventually(lambda: db.one("SELECT count(*) %s AND pid = %d" % (mine, pid)) == 0)

    def two_at_once():
        with contextlib.suppress(psycopg2.OperationalError), proxy.session() as one, proxy.session() as other:
            for session in (one, other):
                session.run("BEGIN")
                session.run("SELECT count(*) FROM t")
            return True  # neither met the connection that was lost

    eventually(two_at_once)
    for _ in range(6):
        assert seen_by(proxy.connect()) == direct(shards, dbname)


def test_reload_of_a_shard_is_seen_by_new_clients(proxy, shards, dbname):
    warm(proxy)
    for shard in shards:
        with shard.session(dbname="postgres") as db:
            db.run("ALTER SYSTEM SET TimeZone TO 'Asia/Tokyo'")
            db.run("ALTER SYSTEM SET default_transaction_isolation TO 'serializable'")
            db.run("SELECT pg_reload_conf()")
        eventually(lambda shard=shard: seen_by(shard.connect(dbname=dbname, user="app"))["TimeZone"] == "Asia/Tokyo")
    eventually(lambda: seen_by(proxy.connect()) == direct(shards, dbname))
    for _ in range(6):
        assert seen_by(proxy.connect()) == direct(shards, dbname)
    with proxy.session() as a:
        assert a.fails("BEGIN; SELECT count(*) FROM t").pgcode == "0A000"


def test_alter_system_through_the_proxy(proxy, shards, dbname):
    warm(proxy)
    with proxy.session(user="postgres") as admin:
        admin.run("ALTER SYSTEM SET TimeZone TO 'Asia/Tokyo'")
        for shard in ("s0", "s1"):
            admin.run("SET pgunison.shard TO '%s'" % shard)
            admin.run("SELECT pg_reload_conf()")
    eventually(lambda: seen_by(shards[0].connect(dbname=dbname, user="app"))["TimeZone"] == "Asia/Tokyo")
    eventually(lambda: seen_by(proxy.connect()) == direct(shards, dbname))


# --- who was there before -------------------------------------------------------------------------------------


def test_session_keeps_what_it_was_told(proxy, shards, dbname):
    """As a direct session does."""
    with proxy.session() as old, shards[0].session(dbname=dbname, user="app") as plain:
        for one in (old, plain):
            one.run("SELECT 1")
        with proxy.session(user="postgres") as admin:
            admin.run("ALTER ROLE app SET DateStyle TO 'SQL, DMY'")
            admin.run("ALTER ROLE app SET default_transaction_isolation TO 'serializable'")
            admin.run("ALTER ROLE app SET TimeZone TO 'Asia/Tokyo'")
        for question in (
            "SELECT '02/03/2024'::date::text, '2024-01-01 12:00+00'::timestamptz::text",
            "SHOW default_transaction_isolation",
            "SHOW transaction_isolation",
            "SHOW DateStyle",
        ):
            assert old.rows(question) == plain.rows(question)
        for one in (old, plain):
            one.run("SET DateStyle TO 'German'")
            one.run("RESET DateStyle")
        assert old.rows("SHOW DateStyle") == plain.rows("SHOW DateStyle")
        for one in (old, plain):
            one.run("RESET ALL")
        assert old.rows("SHOW TimeZone") == plain.rows("SHOW TimeZone")
        assert old.one("SELECT count(*) FROM t") == 0
        with proxy.session() as new:
            assert new.one("SHOW TimeZone") == "Asia/Tokyo"


def test_session_in_a_transaction_keeps_what_it_was_told(proxy):
    with proxy.session() as old:
        old.run("BEGIN")
        old.run("SET LOCAL IntervalStyle TO 'iso_8601'")
        with proxy.session(user="postgres") as admin:
            admin.run("ALTER ROLE app SET IntervalStyle TO 'sql_standard'")
        assert old.one("SHOW IntervalStyle") == "iso_8601"
        old.run("SELECT count(*) FROM t")
        old.run("COMMIT")
        assert old.one("SHOW IntervalStyle") == "postgres"
        assert old.one("SELECT '1 day 2 hours'::interval::text") == "1 day 02:00:00"


# --- the isolation level ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("what", ["ROLE app", "DATABASE {db}", "ROLE app IN DATABASE {db}"])
def test_default_isolation_counts_as_one_that_the_session_sets(proxy, dbname, level, what):
    with proxy.session(user="postgres") as admin:
        admin.run("ALTER %s SET default_transaction_isolation TO '%s'" % (what.format(db=dbname), level))
    with proxy.session() as set_by_hand, proxy.session() as a:
        set_by_hand.run("SET default_transaction_isolation TO '%s'" % level)
        for statement in ("BEGIN; SELECT count(*) FROM t", "BEGIN; INSERT INTO t VALUES (1), (2), (3), (4), (5)"):
            assert a.fails(statement).pgcode == set_by_hand.fails(statement).pgcode == "0A000"
            a.run("ROLLBACK")
            set_by_hand.run("ROLLBACK")
        a.run("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING")
        assert a.rows("SELECT count(*) FROM t WHERE id = 1") == [(1,)]
        a.run("BEGIN ISOLATION LEVEL READ COMMITTED")
        assert a.one("SELECT count(*) FROM t") == 1
        a.run("COMMIT")
        a.run("SET default_transaction_isolation TO 'read committed'")
        a.run("BEGIN")
        assert a.one("SELECT count(*) FROM t") == 1
        a.run("DELETE FROM t")
        a.run("COMMIT")


def test_default_isolation_of_one_shard_alone(proxy, shards, dbname):
    """Shards are to be alike; where they are not, the home shard's default holds for the whole transaction."""
    with shards[1].session(dbname="postgres") as db:
        db.run("ALTER DATABASE %s SET default_transaction_isolation TO 'serializable'" % dbname)
    renew(proxy)
    with proxy.session() as a:
        a.run("BEGIN")
        a.run("SELECT count(*) FROM t")
        assert a.one("SHOW transaction_isolation") == "read committed"
        a.run("ROLLBACK")
        a.run("SET pgunison.shard TO 's1'")
        assert a.one("SELECT current_setting('transaction_isolation')") == "read committed"


# --- strings ---------------------------------------------------------------------------------------------------

ESCAPES = ["SELECT 'a\\'b'", "SELECT * FROM words WHERE w = 'a\\'b' OR w = 'c'", "SELECT E'a\\'b'", "INSERT INTO words VALUES ('x\\\\')"]


def kinds(wire, *messages):
    wire.send(*messages)
    return [(kind, h.fields(body)["C"] if kind == "E" else None) for kind, body in wire.until_ready() if kind in "EDC"]


@pytest.mark.parametrize("what", ["ROLE app", "DATABASE {db}"])
def test_strings_with_escapes_by_default(proxy, shards, dbname, what):
    """What has no backslash means the same; what has one is refused in both protocols, rather than sent to a shard by a key that
    PostgreSQL would not read."""
    with proxy.session(user="postgres") as admin:
        admin.run("DROP TABLE IF EXISTS words")
        admin.run("CREATE TABLE words (w text PRIMARY KEY)")
        admin.run("GRANT ALL ON words TO app")
        admin.run("ALTER %s SET standard_conforming_strings TO off" % what.format(db=dbname))
    assert seen_by(proxy.connect()) == direct(shards, dbname)
    with proxy.wire() as w, shards[0].wire(dbname=dbname) as plain:
        assert w.parameters["standard_conforming_strings"] == plain.parameters["standard_conforming_strings"] == "off"
        for sql in ESCAPES:
            assert kinds(w, h.query(sql)) == [("E", "0A000")]
            assert kinds(w, h.parse(sql), h.bind(), h.execute(), h.SYNC) == [("E", "0A000")]
        for sql in ("SELECT 'it''s', $$a$$", "SELECT current_setting('standard_conforming_strings')"):
            assert w.ask(h.query(sql)) == plain.ask(h.query(sql))
            assert kinds(w, h.parse(sql), h.bind(), h.execute(), h.SYNC) == kinds(plain, h.parse(sql), h.bind(), h.execute(), h.SYNC)
        for value in ("a\\'b", "\\", "'", "c"):  # of parameters nothing is read
            for one in (w, plain):
                if one is w:
                    one.ask(h.parse("INSERT INTO words VALUES ($1)", oids=(25,)), h.bind(value), h.execute(), h.SYNC)
            got = w.ask(h.parse("SELECT w FROM words WHERE w = $1", oids=(25,)), h.bind(value), h.execute(), h.SYNC)
            assert ("D", value.encode()) in got
        for one in (w, plain):
            assert one.ask(h.query("SET standard_conforming_strings TO on")) == [("C", "SET"), ("Z", "I")]
        for sql in ("SELECT 'a\\b', E'a\\'b'",):
            assert w.ask(h.query(sql)) == plain.ask(h.query(sql))
        assert w.ask(h.query("SELECT w FROM words WHERE w = E'a\\\\\\'b'"))[1] == ("D", b"a\\'b")
        assert w.ask(h.query("SELECT w FROM words WHERE w = 'a\\''b'"))[1] == ("D", b"a\\'b")


def test_encodings_that_hide_ascii_are_refused_in_both_protocols(proxy):
    for encoding in ("SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB"):
        with proxy.wire(client_encoding=encoding) as w:
            assert kinds(w, h.query("SELECT 1")) == [("E", "0A000")]
            assert kinds(w, h.parse("SELECT 1"), h.bind(), h.execute(), h.SYNC) == [("E", "0A000")]


OF_OTHERS = [
    ("ALTER ROLE nosuchrole SET work_mem = '5MB'", "42704"),
    ("ALTER ROLE evil SET nosuch.setting.at = '5MB'", "42501"),
    ("ALTER ROLE app SET work_mem = '5MB'", "42501"),
    ("ALTER ROLE evil SET work_mem = '5MB'", None),
    ("ALTER ROLE CURRENT_USER SET work_mem = '6MB'", None),
    ("ALTER ROLE SESSION_USER RESET ALL", None),
]


@pytest.mark.parametrize("sql, sqlstate", OF_OTHERS)
@pytest.mark.parametrize("protocol", ["simple", "extended", "block"])
def test_connections_of_others_stay(proxy, shards, sql, sqlstate, protocol):
    """What fails, and what is another role's, makes nobody's connections old."""
    with proxy.session() as app, proxy.wire(user="evil") as evil:
        pid = app.one("SELECT pg_backend_pid()")
        for _ in range(3):
            if protocol == "extended":
                answer = evil.ask(h.parse(sql), h.bind(), h.execute(), h.SYNC)
            else:
                answer = evil.ask(h.query(sql if protocol == "simple" else "BEGIN; %s; COMMIT" % sql))
                evil.ask(h.query("ROLLBACK"))
            assert [m[2] for m in answer if m[0] == "E"] == ([sqlstate] if sqlstate else []), answer
            assert app.one("SELECT pg_backend_pid()") == pid
