"""Transfers between shards while proxies and shards are killed, stopped for a while, and cut off from each other.

Whatever happened: no money is made or lost; a transfer that was acknowledged is there, exactly once; one that was refused is
not; soon nothing is prepared any more, and then no decisions are kept. CHAOS_SECONDS is the length of the long test.
"""
import os
import random
import signal
import time

import pytest

import load
import pgharness as h
from mitm import ANSWERED, CUT, DOWN, HOLD, SENT, Mitm, Rule
from pgharness import eventually

TABLES = load.TABLES
SHARDS = 3
CHAOS_SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))
CHAOS_SEED = int(os.environ.get("CHAOS_SEED", "1"))
RESOLVE_AFTER = 1
SETTINGS = {"resolve_after": "1s", "resolve_interval": "200ms", "commit_resolve_timeout": "2s", "server_login_retry": "100ms"}


@pytest.fixture(scope="module")
def proxies(make_proxy):
    two = [make_proxy(), make_proxy()]
    load.make_schema(two[0])
    return two


@pytest.fixture(autouse=True)
def alive(proxies):
    yield
    for proxy in proxies:
        proxy.check()


class Books:
    """What must hold after the last fault, for one database of some servers."""

    def __init__(self, shards, databases):
        self.places = list(zip(shards, databases))

    def sessions(self):
        return [server.session(dbname=name) for server, name in self.places]

    def settle(self, clients):
        dbs = self.sessions()
        try:
            in_doubt = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
            decided = "SELECT txid FROM pgunison.decision WHERE outcome = 'c'"
            eventually(lambda: not [r for db in dbs for r in db.rows(in_doubt)], RESOLVE_AFTER + 5)
            eventually(lambda: not [r for db in dbs for r in db.rows(decided)], 20)
            clients.audit(dbs)
        finally:
            for db in dbs:
                db.close()


@pytest.fixture(scope="module")
def books(shards, dbname):
    return Books(shards, [dbname] * len(shards))


@pytest.fixture(autouse=True)
def empty_books(proxies):
    """Each test's audit is of its own transfers."""
    with proxies[0].session() as s:
        s.run("DELETE FROM transfers")
        s.run("UPDATE accounts SET balance = %d" % load.START)


def test_a_proxy_is_killed_beside_another(proxies, books):
    """The other one resolves what it left, while working."""
    a, b = proxies
    with load.Load(a, b) as clients:
        for n in range(6):
            clients.goes_on(10 + n)
            a.kill()
            clients.goes_on(20)  # b's alone: what a held is resolved
            a.start()
    books.settle(clients)


@pytest.mark.parametrize("n", range(2))
def test_a_proxy_is_stopped_and_continues(proxies, books, n):
    """It wakes up after its transactions were resolved by the other one."""
    a, b = proxies
    with load.Load(a, b, seed=n) as clients:
        clients.goes_on(20)
        a.process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda stopped=time.monotonic(): time.monotonic() > stopped + 2.5)
        finally:
            a.process.send_signal(signal.SIGCONT)
        clients.goes_on(50)
    books.settle(clients)


def test_shards_crash_under_load(proxies, books, shards):
    """pg_ctl stop -m immediate, one after the other; prepared transactions survive it, open ones do not."""
    with load.Load(*proxies) as clients:
        for server in shards:
            clients.goes_on(20)
            server.stop(signal.SIGQUIT)
            server.start()
        clients.goes_on(20)
    books.settle(clients)


def test_too_few_prepared_transactions(workspace, dbname):
    """max_prepared_transactions is reached again and again: those commits fail, all of them everywhere."""
    small = h.Cluster(workspace, 2, max_prepared_transactions="2")
    small.make_database(dbname)
    proxy = h.Proxy(workspace, small, dbname, tables=TABLES, settings=SETTINGS)
    try:
        load.make_schema(proxy)
        with load.Load(proxy, n=12) as clients:
            eventually(lambda: "53200" in set().union(*(c.sqlstates for c in clients.clients)), 30)
            clients.goes_on(100)
        Books(small, [dbname] * 2).settle(clients)
    finally:
        proxy.stop()
        for server in small:
            server.stop()


def test_two_clusters_on_the_same_servers(workspace, shards, dbname, books):
    """Each resolves its own transactions, and only those; in the same database, even."""
    middle = [Mitm(shard) for shard in shards]
    rule = Rule(r"INSERT INTO pgunison\.decision", SENT, HOLD)
    east = h.Proxy(workspace, middle, dbname, tables=TABLES, settings=dict(SETTINGS, cluster="east"))
    west = h.Proxy(workspace, shards, dbname, tables=TABLES, settings=dict(SETTINGS, cluster="west"))
    prepared = "SELECT gid, extract(epoch FROM clock_timestamp() - prepared) FROM pg_prepared_xacts WHERE gid LIKE 'pgunison/east/%'"

    def left():
        return sorted(row for rows in shards.each(dbname, prepared) for row in rows)

    try:
        with load.Load(east, west) as clients:
            clients.goes_on(50)
            for man in middle:
                man.rules.append(rule)
            rule.wait()
            eventually(left)
            east.kill()
            for c in clients.clients:
                c.stopping.set()
            in_doubt = eventually(left)
            eventually(lambda: min(age for _, age in left()) > RESOLVE_AFTER + 0.5)
            with west.console() as console:
                console.run("RESOLVE")
            assert [gid for gid, _ in left()] == [gid for gid, _ in in_doubt]
            for man in middle:
                man.cut()
            rule.release()
            east.start()
        books.settle(clients)
    finally:
        rule.release()
        east.stop()
        west.stop()
        for man in middle:
            man.close()


class Half:
    """A shard that is one database of a server."""

    def __init__(self, server, n):
        self.name, self.port, self.dbname = "half%d" % n, server.port, "half%d" % n


def test_two_shards_in_one_server(workspace, shards, proxies):
    """They share pg_prepared_xacts, but each sees its own part of it only."""
    halves = [Half(shards[0], n) for n in range(2)]
    for half in halves:
        shards[0].make_database(half.dbname)
    proxy = h.Proxy(workspace, halves, "none", tables=TABLES, settings=SETTINGS)
    try:
        load.make_schema(proxy)
        with load.Load(proxy) as clients:
            for _ in range(4):
                clients.goes_on(10)
                proxy.kill()
                proxy.start()
            clients.goes_on(10)
        Books([shards[0]] * 2, [half.dbname for half in halves]).settle(clients)
    finally:
        proxy.stop()


# A statement of each step of a commit, and what opens and closes one.
MESSAGES = (r"^BEGIN", r"PREPARE TRANSACTION '", r"INSERT INTO pgunison\.decision .*; COMMIT$", r"^COMMIT PREPARED '", r"ON CONFLICT", r"^ROLLBACK", r"^COMMIT$")


def test_everything_at_once(workspace, shards, dbname, books, proxies, capfd):
    """Random faults, one after the other, for CHAOS_SECONDS; all of them are printed, with CHAOS_SEED, when something does not
    hold. `faults` is the place for another one: a name, and what it does. It must be over when it returns."""
    chance = random.Random(CHAOS_SEED)
    pauses = (0.2, 2) if CHAOS_SECONDS < 120 else (0.2, 2, 2, 20)
    middle = [Mitm(shard) for shard in shards]
    two = [h.Proxy(workspace, middle, dbname, tables=TABLES, settings=SETTINGS) for _ in range(2)]
    history = []

    def stop_for_a_while(proxy):
        proxy.process.send_signal(signal.SIGSTOP)
        time.sleep(chance.choice(pauses))
        proxy.process.send_signal(signal.SIGCONT)

    def away(man, how):
        how(man)
        time.sleep(chance.choice((0.1, 0.5, 2.5)))
        man.up()

    def crash(server):
        server.stop(signal.SIGQUIT)
        server.start()

    def kill(proxy):
        proxy.kill()
        proxy.start()

    def at_a_message():
        """Cuts one connection, or all of a shard's, when the next statement of some kind is about to reach the shard, or its
        answer the proxy."""
        rule = Rule(chance.choice(MESSAGES), chance.choice((SENT, ANSWERED)), chance.choice((CUT, CUT, DOWN)))
        for man in middle:
            man.rules.append(rule)
        rule.fired.wait(1)  # some come only when something else is wrong
        for man in middle:
            man.rules.remove(rule)
            man.up()

    faults = {
        "message": at_a_message,
        "cut": lambda: chance.choice(middle).cut(),
        "down": lambda: away(chance.choice(middle), Mitm.down),
        "silent": lambda: away(chance.choice(middle), Mitm.silent),
        "crash": lambda: crash(chance.choice(shards.servers)),
        "kill": lambda: kill(chance.choice(two)),
        "stop": lambda: stop_for_a_while(chance.choice(two)),
    }
    try:
        with load.Load(*two, seed=CHAOS_SEED) as clients:
            end = time.monotonic() + CHAOS_SECONDS
            while time.monotonic() < end:
                history.append(chance.choice(sorted(faults)))
                faults[history[-1]]()
                clients.goes_on(chance.randrange(1, 30))
        books.settle(clients)
        for proxy in two:
            proxy.check()
        with capfd.disabled():
            print("\nCHAOS_SEED=%d: %d faults (%s); transfers: %d acknowledged, %d refused, %d of unknown outcome; the books are right" % (
                CHAOS_SEED, len(history), ", ".join("%d %s" % (history.count(name), name) for name in sorted(faults)),
                *(len(clients.all(what)) for what in ("acknowledged", "refused", "unknown"))))
    except BaseException:
        print("CHAOS_SEED=%d: %s" % (CHAOS_SEED, " ".join(history)))
        raise
    finally:
        for man in middle:
            man.up()
        for proxy in two:
            proxy.stop()
        for man in middle:
            man.close()
