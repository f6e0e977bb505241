"""What transactions in doubt cost while nobody finishes them: how long they stay after a proxy's death, what looking for them
costs a shard that has none, and what other clients notice while a thousand of them are resolved.

The orphans are what a killed proxy leaves. Commits of its users are stopped where everybody is prepared, by a trigger of
the decision tables that waits for a lock; then it is killed. Deciders that wait have their message, and decide when the
lock is released; those whose session was ended never do. So about half of the transactions must be committed, the
others rolled back. The servers flush to disk as real ones do.
"""
import os
import statistics
import subprocess
import threading
import time

import pytest

import pgharness as h
from pgharness import eventually, tool

TABLES = {"notes": "hash(id)", "counters": "hash(id)"}
SHARDS, ORPHANS, BATCH = 2, 1000, 200
USERS = h.Proxy.USERS + '"doomed" ""\n'
RESOLVE_AFTER, SEEN_FOR = 2, 5  # where somebody is told to sweep; where nobody is
ALLOWED, LATE = 2, 0.1  # seconds beyond it; a sweep may begin a tenth of resolve_interval late
IDLE_SECONDS, IDLE_SHARE = 20, 0.01
CLIENTS, RATE, KEYS = 4, 250, 1000
# p99 while orphans are resolved: at most FACTOR times the median p99 of WINDOWS seconds before, or of those after, and a time
# slice of a busy scheduler more: where the p99 is some milliseconds, one is as long.
WINDOWS, FACTOR, SLACK_MS = 4, 2, 5


@pytest.fixture(scope="module")
def shards(workspace, dbname):
    cluster = h.Cluster(workspace, SHARDS, fsync=True, max_prepared_transactions="2500", max_connections="400")
    cluster.make_database(dbname)
    for server in cluster:
        with server.session(dbname=dbname) as db:
            db.run("CREATE ROLE doomed LOGIN")
    yield cluster
    for server in cluster:
        server.stop()


def settings(resolve_after, resolve_interval="1s"):
    return {"resolve_after": resolve_after, "resolve_interval": resolve_interval, "default_pool_size": BATCH + 20}


@pytest.fixture(scope="module")
def healthy(workspace, shards, dbname):
    """The proxy that stays. It leaves orphans alone until it is told to sweep: then many are due at one moment."""
    proxy = h.Proxy(workspace, shards, dbname, tables=TABLES, settings=settings("%ds" % RESOLVE_AFTER, "1h"))
    with proxy.session() as s:
        s.run("CREATE TABLE notes (id int PRIMARY KEY, txn int)")
        s.run("GRANT INSERT ON notes TO doomed")
        s.run("CREATE TABLE counters (id int PRIMARY KEY, n int)")
        s.run("INSERT INTO counters VALUES " + ",".join("(%d, 0)" % i for i in range(KEYS)))
    yield proxy
    proxy.stop()


@pytest.fixture
def sweeping(workspace, shards, dbname, healthy):
    """One that sweeps by itself. The tables are there."""
    proxy = h.Proxy(workspace, shards, dbname, tables=TABLES, settings=settings("%ds" % SEEN_FOR))
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def keys(shards, dbname):
    """For each shard, keys that live there."""
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT g, hashint4extended(g, 0) & 1023 FROM generate_series(0, %d) g" % (ORPHANS * SHARDS * 4))
    found = [[] for _ in range(SHARDS)]
    for key, bucket in buckets:
        found[shards.shard_of_bucket(bucket)].append(key)
    return [iter(f) for f in found]


HOLD_DECISIONS = """
    CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); PERFORM pg_advisory_unlock_shared(1); RETURN NEW; END $$;
    CREATE TRIGGER hold BEFORE INSERT ON pgunison.decision FOR EACH ROW WHEN (CURRENT_USER = 'doomed') EXECUTE FUNCTION hold()"""
DECIDING = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'doomed'
    AND query LIKE '%INSERT INTO pgunison.decision%' AND wait_event = 'advisory'"""


class Orphans:
    """ORPHANS transactions, each prepared on every shard but its decider."""

    def __init__(self, workspace, shards, dbname, keys):
        self.shards, self.dbname, self.keys, self.numbers = shards, dbname, keys, iter(range(ORPHANS))
        self.proxy = h.Proxy(workspace, shards, dbname, tables=TABLES, settings=settings("1h"), users=USERS, start=False)
        self.sessions = [server.session(dbname=dbname) for server in shards]
        for db in self.sessions:
            db.run("DROP TRIGGER IF EXISTS hold ON pgunison.decision")
            db.run("TRUNCATE notes")
            db.run(HOLD_DECISIONS)
        self.clients = []

    def make(self, n):
        """The last BATCH of them have a coordinator, until its proxy is killed."""
        for batch in range(n // BATCH):
            if batch:
                self.kill()
            self.start((batch + 1) * BATCH * (SHARDS - 1))

    def start(self, total):
        self.proxy.start()
        for db in self.sessions:
            db.run("SELECT pg_advisory_lock(1)")
        self.clients = [self.proxy.wire(user="doomed") for _ in range(BATCH)]
        for client, number in zip(self.clients, self.numbers):
            values = ["INSERT INTO notes VALUES (%d, %d)" % (next(k), number) for k in self.keys]
            client.send(h.query(";".join(["BEGIN", *values])))
        for client in self.clients:
            client.until_ready()
        for client in self.clients:
            client.send(h.query("COMMIT"))
        eventually(lambda: self.prepared() == total and self.deciding() == BATCH, 60, 0.05)

    def kill(self):
        """When it happened. Every second decider goes, too."""
        self.proxy.kill()
        killed = time.monotonic()
        for db in self.sessions:
            db.run("SELECT pg_terminate_backend(pid) FROM (%s) d WHERE pid %% 2 = 0" % DECIDING)
            db.run("SELECT pg_advisory_unlock(1)")
        for client in self.clients:
            client.close()
        return killed

    def prepared(self):
        return sum(db.one("SELECT count(*) FROM pg_prepared_xacts WHERE owner = 'doomed'") for db in self.sessions)

    def deciding(self):
        return sum(len(db.rows(DECIDING)) for db in self.sessions)

    def outcomes(self):
        """How many transactions are there on all shards, and how many on some."""
        parts = {}
        for db in self.sessions:
            for (number,) in db.rows("SELECT txn FROM notes"):
                parts[number] = parts.get(number, 0) + 1
        return sum(n == SHARDS for n in parts.values()), sum(n != SHARDS for n in parts.values())

    def close(self):
        for db in self.sessions:
            db.close()
        if self.proxy.process:
            self.proxy.kill()


def traffic_script(folder):
    """One in four spans shards."""
    path = os.path.join(folder, "traffic.sql")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\\set a random(0, %d)\n\\set both random(1, 4)\n" % (KEYS // 2 - 1))
        f.write("BEGIN;\nUPDATE counters SET n = n + 1 WHERE id = :a;\n")
        f.write("\\if :both = 1\nUPDATE counters SET n = n + 1 WHERE id = %d + :a;\n\\endif\nCOMMIT;\n" % (KEYS // 2))
    return path


class Traffic:
    """pgbench at a fixed rate, and how long each of its transactions took, from when it was due."""

    def __init__(self, proxy):
        where, dbname = proxy.address()
        self.log = os.path.join(proxy.home, "latency")
        options = ["-n", "-c", str(CLIENTS), "-j", "1", "-R", str(RATE), "-T", "600", "-l", "--log-prefix", self.log, "-f", traffic_script(proxy.home)]
        self.process = subprocess.Popen([tool("pgbench"), *where, *options, dbname], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def stop(self):
        """(end time, ms) of each transaction."""
        self.process.terminate()
        self.process.communicate()
        found = []
        for name in os.listdir(os.path.dirname(self.log)):
            if name.startswith(os.path.basename(self.log) + "."):
                with open(os.path.join(os.path.dirname(self.log), name), encoding="utf-8") as f:
                    for line in f:
                        fields = line.split()
                        if len(fields) >= 6:
                            found.append((int(fields[4]) + int(fields[5]) / 1e6, int(fields[2]) / 1e3))
        return found


def pause(seconds):
    """Time passes: something is measured meanwhile."""
    threading.Event().wait(seconds)


def p99(latencies):
    return sorted(latencies)[max(0, int(len(latencies) * 0.99) - 1)]


def cpu_seconds(server):
    """Of a server, from its start: every process that it has, and those that have ended."""
    def times(pid, n):
        with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
            fields = f.read().rpartition(")")[2].split()
        return int(fields[1]), sum(int(x) for x in fields[11 : 11 + n])

    main = server.process.pid
    total = times(main, 4)[1]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent, ticks = times(int(pid), 2)
        except OSError:
            continue  # it ended
        if parent == main:
            total += ticks
    return total / os.sysconf("SC_CLK_TCK")


def test_sweeps_cost_an_idle_shard_next_to_nothing(sweeping, shards, capfd):
    """All processes of the shard together, under sweeps at the default interval."""
    before, began = [cpu_seconds(s) for s in shards], time.monotonic()
    pause(IDLE_SECONDS)
    spent = time.monotonic() - began
    shares = [(cpu_seconds(s) - b) / spent for s, b in zip(shards, before)]
    with capfd.disabled():
        print("\nidle shards under sweeps: %s of one core" % ", ".join("%.2f%%" % (100 * s) for s in shares))
    assert max(shares) < IDLE_SHARE


def test_orphans_are_over_soon_after_their_proxy_was_killed(workspace, sweeping, shards, dbname, keys, capfd):
    """Nobody tells the other proxy: it has seen them, and when they fall due it does not wait for its next sweep."""
    orphans = Orphans(workspace, shards, dbname, keys)
    try:
        orphans.make(BATCH)
        killed = orphans.kill()
        assert orphans.prepared() == BATCH
        eventually(lambda: orphans.prepared() == 0, 60, 0.02)
        took = time.monotonic() - killed
        assert orphans.outcomes()[1] == 0
    finally:
        orphans.close()
    with capfd.disabled():
        print("\n%d orphans: resolved %.2f s after the kill, resolve_after is %d s" % (BATCH, took, SEEN_FOR))
    assert took <= SEEN_FOR + ALLOWED


def test_a_reload_in_the_middle_of_it_leaves_nobody_behind(workspace, healthy, shards, dbname, keys):
    """It throws the sweep away, and with it those who wait for their turn. RESOLVE is answered when all are over."""
    orphans = Orphans(workspace, shards, dbname, keys)
    try:
        orphans.make(2 * BATCH)
        killed = orphans.kill()
        eventually(lambda: time.monotonic() >= killed + RESOLVE_AFTER)
        with healthy.console() as console:
            asking = threading.Thread(target=console.run, args=("RESOLVE",))
            asking.start()
            eventually(lambda: orphans.prepared() < 2 * BATCH, 10, 0.005)
            healthy.reload()
            assert orphans.prepared() > 0
            asking.join()
        assert orphans.prepared() == 0
        assert orphans.outcomes()[1] == 0
    finally:
        orphans.close()


def measure(workspace, healthy, shards, dbname, keys):
    """Leaves ORPHANS orphans, all due when a sweep begins. How long it took, and three p99 of the healthy proxy's clients: before,
    while they were resolved, afterwards."""
    orphans = Orphans(workspace, shards, dbname, keys)
    try:
        orphans.make(ORPHANS)
        killed = orphans.kill()
        traffic = Traffic(healthy)
        began = time.time()
        pause(WINDOWS + 0.5)
        eventually(lambda: time.monotonic() >= killed + RESOLVE_AFTER)
        assert orphans.prepared() == ORPHANS
        with healthy.console() as console:
            due_at = time.time()
            console.run("RESOLVE")
            ended_at = time.time()
        assert orphans.prepared() == 0
        pause(WINDOWS + 0.5)
        latencies = traffic.stop()
        committed, torn = orphans.outcomes()
        assert torn == 0
        assert ORPHANS / 5 < committed < ORPHANS * 4 / 5
    finally:
        orphans.close()

    def window(start, end):
        return p99([ms for at, ms in latencies if start <= at < end])

    def usual(start):
        return statistics.median(window(start + i, start + i + 1) for i in range(WINDOWS))

    return ended_at - due_at, usual(began + 0.5), window(due_at, max(ended_at, due_at + 1)), usual(ended_at)  # a second each


def test_a_thousand_orphans_are_resolved_soon_and_others_hardly_notice(workspace, healthy, shards, dbname, keys, capfd):
    """The measurement may be repeated: on a machine that does other things, too, one may meet a bad moment."""
    for attempt in range(3):
        took, before, during, after = measure(workspace, healthy, shards, dbname, keys)
        with capfd.disabled():
            print("\n%d orphans: resolved in %.2f s; p99 of other clients %.1f ms before, %.1f ms meanwhile, %.1f ms after" % (ORPHANS, took, before, during, after))
        if took + LATE <= ALLOWED and during <= FACTOR * max(before, after) + SLACK_MS:
            return
    assert took + LATE <= ALLOWED
    assert during <= FACTOR * max(before, after) + SLACK_MS
