"""What is durable on shards: names at their limits, clocks that do not agree, and rows and names that nobody understands."""
import subprocess

import pytest

import load
import pgharness as h
from mitm import HOLD, SENT, Mitm, Rule
from pgharness import eventually
from test_chaos import Books

TABLES = dict(load.TABLES, marks="hash(id)")
SHARDS = 2
RESOLVE_AFTER = 1
SETTINGS = {"resolve_after": "1s", "resolve_interval": "200ms", "commit_resolve_timeout": "2s", "server_login_retry": "100ms"}
TXID = "00112233445566778899aabbccddeeff-%x"
DECIDE, APPLY = r"INSERT INTO pgunison\.decision .*; COMMIT$", r"^COMMIT PREPARED '"
PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"


def gids(shards, dbname):
    return sorted(gid for rows in shards.each(dbname, PREPARED) for (gid,) in rows)


# --- long names ------------------------------------------------------------------------------------------------


class Renamed:
    """A shard under another name."""

    def __init__(self, server, name):
        self.name, self.port = name, server.port


LONG_CLUSTER = "cluster-" + "c" * 32
LONG_SHARDS = ["%d-" % n + "shard_." * 5 + "xyz" for n in range(SHARDS)]


@pytest.fixture
def long_names(workspace, shards, dbname):
    assert {len(name) for name in (LONG_CLUSTER, *LONG_SHARDS)} == {40}
    middle = [Mitm(Renamed(server, name)) for server, name in zip(shards, LONG_SHARDS)]
    proxy = h.Proxy(workspace, middle, dbname, tables=TABLES, settings=dict(SETTINGS, cluster=LONG_CLUSTER))
    yield proxy, middle
    proxy.stop()
    for man in middle:
        man.close()


@pytest.mark.parametrize("stage, there", [(DECIDE, 0), (APPLY, SHARDS)])
def test_names_at_their_limit(long_names, shards, dbname, stage, there):
    """A proxy dies with its transaction prepared under the longest name there is; the next one resolves it."""
    proxy, middle = long_names
    with proxy.session() as s:
        s.run("CREATE TABLE IF NOT EXISTS marks (id int PRIMARY KEY, v int)")
        s.run("DELETE FROM marks")
        eventually(lambda: gids(shards, dbname) == [])
    rule = Rule(stage, SENT, HOLD)
    for man in middle:
        man.rules.append(rule)
    with proxy.wire() as client:
        client.send(h.query("INSERT INTO marks VALUES " + ",".join("(%d, 0)" % i for i in range(20))))
        rule.wait()
        (gid,) = gids(shards, dbname)
        prefix, cluster, decider, txid, participant = gid.split("/")
        assert (prefix, cluster, {decider, participant}) == ("pgunison", LONG_CLUSTER, set(LONG_SHARDS))
        assert len(gid) == len(txid) + 9 + 3 * 41
        proxy.kill()
    for man in middle:
        man.rules.clear()
        man.cut()
    rule.release()
    proxy.start()
    eventually(lambda: gids(shards, dbname) == [], RESOLVE_AFTER + 5)
    assert sum(bool(rows) for rows in shards.each(dbname, "SELECT 1 FROM marks")) == there


@pytest.mark.parametrize("where", ["cluster", "shard"])
def test_longer_names_are_refused(workspace, shards, dbname, where):
    settings = dict(SETTINGS, cluster="c" * 41) if where == "cluster" else SETTINGS
    places = [Renamed(s, s.name * 21 if where == "shard" else s.name) for s in shards]
    proxy = h.Proxy(workspace, places, dbname, tables=TABLES, settings=settings, start=False)
    done = subprocess.run([h.PGUNISON, "--check-config", proxy.ini], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "40" in done.stdout + done.stderr


# --- what is not understood ------------------------------------------------------------------------------------


def test_what_is_not_understood_is_left_alone_and_reported(proxy, shards, dbname):
    names = [
        "pgunison/main/what/ever",
        "pgunison/main/s9/%s/s1" % (TXID % 1),  # decided by nobody we know
        "pgunison/main/s1/%s/s0" % (TXID % 2),  # on s1, though it says s0
        "pgunison/main/s0/%s/s1 " % (TXID % 3),
    ]
    rows = [
        (TXID % 4, "c", "main/s0/s1,s7"),  # a shard that is none of ours
        (TXID % 5, "c", "main/s0/s 1"),
        (TXID % 6, "c", "main/s0/"),
        ("of somebody else", "c", "main/s0/s1"),
    ]
    with proxy.session() as s, shards[0].session(dbname=dbname) as s0, shards[1].session(dbname=dbname) as s1:
        s.run("CREATE TABLE IF NOT EXISTS marks (id int PRIMARY KEY, v int)")
        s1.run("CREATE TABLE others (name text)")
        for row in rows:
            s0.run("INSERT INTO pgunison.decision (txid, outcome, shards) VALUES (%s, %s, %s)", *row)
        for name in names:
            s1.run("BEGIN")
            s1.run("INSERT INTO others VALUES (%s)", name)
            s1.run("PREPARE TRANSACTION '%s'" % name)
        try:
            reported = ['"%s"' % name for name in (names[0], names[3])] + [TXID % n for n in (1, 2, 4, 5, 6)]
            for what in (*reported, "decision row that is not pgunison's"):
                eventually(lambda what=what: what in proxy.since_mark())
            # Meanwhile the others go their way. (Not on s1: rows must be older than what is prepared there.)
            for n in range(8):
                s.run("INSERT INTO marks VALUES " + ",".join("(%d, 0)" % (1000 + 20 * n + i) for i in range(20)))
            ours = "SELECT txid FROM pgunison.decision WHERE txid <> ALL (%s) AND outcome = 'c' AND shards LIKE 'main/%%'"
            eventually(lambda: s0.rows(ours, [row[0] for row in rows]) == [])
            assert gids(shards, dbname) == sorted(names)
            assert sorted(s0.rows("SELECT txid, outcome::text, shards FROM pgunison.decision WHERE shards LIKE 'main/%'")) == sorted(rows)
        finally:
            for name in names:
                s1.run("ROLLBACK PREPARED '%s'" % name)
            s1.run("DROP TABLE others")
            s0.run("DELETE FROM pgunison.decision WHERE txid = ANY (%s)", [row[0] for row in rows])


@pytest.mark.parametrize("attempt", ["SELECT * FROM", "UPDATE {} SET outcome = 'a'", "DELETE FROM", "TRUNCATE", "DROP TABLE", "ALTER TABLE {} ADD x int"])
def test_application_roles_cannot_touch_decisions(proxy, shards, dbname, attempt):
    """Not through the proxy, and not beside it. They can insert rows, which their own commits must."""
    sql = attempt.format("pgunison.decision") if "{}" in attempt else attempt + " pgunison.decision"
    for server in shards:
        with server.session(dbname=dbname, user="app") as db:
            assert db.fails(sql).pgcode == "42501"
    with proxy.session() as s:
        for shard in range(SHARDS):
            assert s.fails("/* pgunison: shard=s%d */ " % shard + sql).pgcode in ("42501", "0A000")


# --- clocks ----------------------------------------------------------------------------------------------------


def test_clocks_an_hour_apart(workspace, dbname):
    """One shard is an hour ahead of the proxy, the other an hour behind it. Ages are each shard's own."""
    shards = h.Cluster(workspace, SHARDS)
    shards.make_database(dbname)
    for server, seconds in zip(shards, (3600, -3600)):
        server.stop()
        server.environment = h.clock_ahead(seconds)
        server.start()
    ahead, behind = (rows[0][0] for rows in shards.each(dbname, "SELECT extract(epoch FROM clock_timestamp())"))
    assert 7100 < ahead - behind < 7300
    proxies = [h.Proxy(workspace, shards, dbname, tables=TABLES, settings=SETTINGS) for _ in range(2)]
    try:
        load.make_schema(proxies[0])
        with load.Load(*proxies) as clients:
            for proxy in (*proxies, *proxies):
                clients.goes_on(20)
                proxy.kill()
                clients.goes_on(10)
                proxy.start()
        Books(shards, [dbname] * SHARDS).settle(clients)
    finally:
        for proxy in proxies:
            proxy.stop()
        for server in shards:
            server.stop()
