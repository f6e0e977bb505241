"""The console: what operators see and do. Column names are fixed."""
import psycopg2
import pytest

import pgharness as h
from pgharness import eventually

TABLES = {"items": "hash(id)", "countries": "reference", "audit": "single(s1)"}
SETTINGS = {"stats_users": "scram"}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
        s.run("CREATE TABLE countries (code text PRIMARY KEY)")
        s.run("CREATE TABLE audit (id int)")
        s.run("INSERT INTO items VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)")


@pytest.fixture
def console(proxy):
    with proxy.console() as c:
        yield c


# PgBouncer's, then ours.
COLUMNS = {
    "SHARDS": "name host port dbname state version buckets prepared oldest_prepared_s latency_us",
    "BUCKETS": "database first last shard",
    "TABLES": "database schema table method column type shards colocated_with",
    "TRANSACTIONS": "txid client state shards writers age_ms statement_ms",
    "UNRESOLVED": "txid shard decider decision age_s owner note",
    "LISTS": "list items",
    "CONFIG": "key value default changeable",
    "USERS": "name pool_mode",
}


@pytest.mark.parametrize("what", COLUMNS)
def test_columns(console, what):
    with console.connection.cursor() as cur:
        cur.execute("SHOW " + what)
        assert [c.name for c in cur.description] == COLUMNS[what].split()


@pytest.mark.parametrize("what", ["DATABASES", "POOLS", "CLIENTS", "SERVERS", "STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "VERSION", "HELP", "MEM", "SOCKETS",
                                  "ACTIVE_SOCKETS", "FDS", "DNS_HOSTS", "DNS_ZONES", "STATE"])
def test_commands_of_pgbouncer(console, what):
    try:
        console.rows("SHOW " + what)
    except psycopg2.Error as e:
        assert e.pgcode == "0A000" and what in ("FDS", "DNS_ZONES", "DNS_HOSTS", "MEM", "SOCKETS", "ACTIVE_SOCKETS", "STATE", "TOTALS"), e


def test_shards(console, shards, dbname):
    rows = eventually(lambda: [r for r in console.dicts("SHOW SHARDS") if r["state"] == "up"][3:] and console.dicts("SHOW SHARDS"))
    assert [r["name"] for r in rows] == ["s0", "s1", "s2", "s3"]
    assert [int(r["port"]) for r in rows] == [s.port for s in shards]
    assert {r["dbname"] for r in rows} == {dbname}
    assert all(r["version"].startswith("1") for r in rows)
    assert [int(r["buckets"]) for r in rows] == [256] * 4


def test_buckets(console):
    rows = console.dicts("SHOW BUCKETS")
    assert [(r["database"], int(r["first"]), int(r["last"]), r["shard"]) for r in rows] == [
        ("shop", i * 256, i * 256 + 255, "s%d" % i) for i in range(4)
    ]


def test_tables(console):
    rows = {r["table"]: r for r in console.dicts("SHOW TABLES")}
    assert (rows["items"]["method"], rows["items"]["column"]) == ("hash", "id")
    assert rows["countries"]["method"] == "reference"
    assert (rows["audit"]["method"], rows["audit"]["shards"]) == ("single", "s1")


def test_two_phase_counters_count(console, proxy):
    def value():
        (row,) = console.dicts("SHOW TWO_PHASE")
        return int(row["two-phase"])

    before = value()
    with proxy.session() as s:
        for _ in range(3):
            s.run("UPDATE items SET v = v + 1")
    assert value() == before + 3


def test_clients_servers_pools_and_transactions(console, proxy):
    with proxy.session(application_name="seen") as s:
        s.run("BEGIN")
        s.run("UPDATE items SET v = v WHERE id = 1")
        clients = [r for r in console.dicts("SHOW CLIENTS") if r.get("application_name") == "seen"]
        assert len(clients) == 1 and clients[0]["user"] == "app" and clients[0]["database"] == "shop"
        assert [r for r in console.dicts("SHOW SERVERS") if r["user"] == "app"]
        assert [r for r in console.dicts("SHOW POOLS") if r["database"].startswith("shop")]
        open_ones = console.dicts("SHOW TRANSACTIONS")
        assert len(open_ones) == 1
        assert len(open_ones[0]["writers"].split()) == 1
        s.run("COMMIT")
        assert console.dicts("SHOW TRANSACTIONS") == []


def test_config_shows_what_is_set(console, proxy):
    rows = {r["key"]: r for r in console.dicts("SHOW CONFIG")}
    assert rows["listen_port"]["value"] == str(proxy.port)
    assert rows["two_phase_commit"]["value"] in ("on", "1")
    assert rows["resolve_after"]["default"] in ("5s", "5")


def test_set_changes_a_setting_until_the_next_start(console):
    console.run("SET query_timeout = '17s'")
    rows = {r["key"]: r["value"] for r in console.dicts("SHOW CONFIG")}
    assert rows["query_timeout"] in ("17s", "17")
    console.run("SET query_timeout = '0'")
    assert console.fails("SET nosuch_setting = 1").pgcode
    assert console.fails("SET query_timeout = 'x'").pgcode


def test_unknown_commands(console):
    for sql in ("SHOW NOSUCH", "SELECT 1", "DROP TABLE items", "KILL nosuch", "PAUSE nosuch", "RESUME nosuch", "SHOW"):
        e = console.fails(sql)
        assert e.pgcode in ("42601", "0A000", "3D000", "42704"), (sql, e.pgcode, str(e))
    assert console.rows("SHOW VERSION")
    assert console.rows("show version;")


def test_the_extended_protocol(proxy):
    with proxy.wire("pgunison", "postgres") as w:
        got = w.ask(h.parse("SHOW BUCKETS"), h.describe("S"), h.bind(), h.describe("P"), h.execute(), h.SYNC)
        assert [m for m in got if m[0] == "E"] == []
        assert got[-2] == ("C", "SHOW") and len([m for m in got if m[0] == "D"]) == 4


def test_pgbouncer_is_an_alias(proxy):
    with h.Session(proxy.connect("pgbouncer", "postgres")) as c:
        assert c.rows("SHOW VERSION")


def test_who_may_do_what(proxy):
    with h.Session(proxy.connect("pgunison", "scram")) as c:
        assert c.rows("SHOW SHARDS")
        for sql in ("PAUSE", "RELOAD", "SHUTDOWN", "KILL shop", "SET query_timeout = 1", "RESOLVE"):
            assert c.fails(sql).pgcode == "42501", sql
    with pytest.raises(psycopg2.OperationalError) as e:
        proxy.connect("pgunison", "app")
    assert "may not use the console" in str(e.value)


def test_pause_waits_and_resume_lets_go(console, proxy):
    import threading

    with proxy.session() as s:
        assert s.one("SELECT count(*) FROM items") == 6
        console.run("PAUSE")
        done = threading.Event()

        def late():
            assert s.one("SELECT count(*) FROM items") == 6
            done.set()

        t = threading.Thread(target=late)
        t.start()
        assert not done.wait(0.3)
        console.run("RESUME")
        t.join(20)
        assert done.is_set()
    assert console.fails("RESUME").pgcode


def test_disable_and_enable(console, proxy):
    console.run("DISABLE shop")
    with pytest.raises(psycopg2.OperationalError) as e:
        proxy.connect()
    assert "shop" in str(e.value)
    console.run("ENABLE shop")
    with proxy.session() as s:
        assert s.one("SELECT 1") == 1


def test_reconnect_replaces_servers(console, proxy):
    with proxy.session() as s:
        before = s.one("SELECT pg_backend_pid() FROM items WHERE id = 1")
        console.run("RECONNECT")
        assert s.one("SELECT pg_backend_pid() FROM items WHERE id = 1") != before


def test_kill_ends_a_databases_clients(console, proxy):
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("UPDATE items SET v = 99 WHERE id = 1"))
        console.run("KILL shop")
        got = w.until_closed()
        assert [h.fields(b)["C"] for k, b in got if k == "E"] == ["57P01"]
    console.run("RESUME shop")
    with proxy.session() as s:
        assert s.one("SELECT v FROM items WHERE id = 1") != 99


def test_resolve_sweeps_now(console):
    console.run("RESOLVE")
    assert console.dicts("SHOW UNRESOLVED") == []


def test_show_transaction_of_an_unknown_one(console):
    try:
        assert console.dicts("SHOW TRANSACTION 0123456789abcdef0123456789abcdef-1")[0]["outcome"] == "unknown"
    except psycopg2.Error as e:
        assert e.pgcode in ("42601", "42704", "22023")  # not the form of a txid


def test_shutdown(make_proxy):
    other = make_proxy()
    with other.session() as s, other.console() as c:
        s.run("SELECT 1")
        with pytest.raises(psycopg2.Error):
            c.run("SHUTDOWN")
            c.run("SHOW VERSION")
    process, other.process = other.process, None
    other.workspace.running.remove(other)
    assert process.wait(30) == 0
