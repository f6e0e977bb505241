"""Every message that a server can send, and some that none would, in every state of an answer: in front of each message of the real
one. What cannot come there ends the session with 08P01 that names the shard; what can is followed by what the real one goes on to
say, which is out of place then in most cases. In all of them the process lives, and others do not notice.

EVERY_LIE=1: every message in every state; without it, states that are like another one have a quarter of the messages each."""
import contextlib
import itertools
import os
import struct
import time

import psycopg2
import pytest

import pgharness as h
from liar import MALFORMED, Lie, Liar, well_formed

SHARDS = 2
TABLES = {"items": "hash(id)"}
SETTINGS = {
    "pool_mode": "transaction",
    "server_login_retry": "10ms",
    "server_connect_timeout": "1s",
    "log_connections": 0,
    "log_disconnections": 0,
}
ASYNC = "NSA"
PATIENCE = 5
EVERY = bool(os.environ.get("EVERY_LIE"))
NUMBERS = itertools.count(1000)


@pytest.fixture(scope="module")
def liars(shards):
    men = [Liar(shard) for shard in shards]
    yield men
    for man in men:
        man.close()


@pytest.fixture(scope="module")
def proxy(workspace, liars, dbname):
    proxy = h.Proxy(workspace, liars, dbname, tables=TABLES, settings=SETTINGS)
    yield proxy
    for man in liars:
        man.lie = None
    proxy.stop()


class World:
    """The liar is the shard of `here`; `there` is on another. Whoever looks on has connections of his own."""

    def __init__(self, proxy, liars):
        self.proxy = proxy
        self.onlooker = proxy.session()
        self.onlooker.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
        self.onlooker.run("CREATE TABLE plain (id int, v int)")
        for i in range(1, 41):
            self.onlooker.run("INSERT INTO items VALUES (%d, 100)" % i)
        first = proxy.cluster[0].shard.session(dbname=proxy.dbname)
        mine = [i for (i,) in first.rows("SELECT id FROM items ORDER BY id")]
        first.close()
        self.here, self.liars = mine[0], liars
        self.there = next(i for i in range(1, 41) if i not in mine)
        self.onlooker.run("SELECT v FROM items")

    def prepared(self):
        return [gid for liar in self.liars for gid in self.asks(liar)]

    def asks(self, liar):
        with liar.shard.session(dbname="postgres") as s:
            return [gid for (gid,) in s.rows("SELECT gid FROM pg_prepared_xacts")]

    def tell(self, lie):
        for liar in self.liars:
            liar.lie = lie

    def fine(self):
        """Others: on both shards."""
        for i in (self.here, self.there):
            assert len(self.onlooker.rows("SELECT v FROM items WHERE id = %d" % i)) == 1


@pytest.fixture(scope="module")
def world(proxy, liars):
    made = World(proxy, liars)
    yield made
    made.onlooker.close()


def victim(world):
    return h.Wire(world.proxy.port, "app", "shop", timeout=PATIENCE)


def converse(wire, steps):
    """Each step is sent, and answered up to ReadyForQuery (a COPY: up to CopyInResponse); all that comes, until the end."""
    got = []
    try:
        for step in steps:
            wire.send(*step)
            got.append(wire.receive())
            while got[-1][0] not in "ZG":
                got.append(wire.receive())
    except h.Closed:
        return got, True
    return got, False


def errors(got):
    return [h.fields(body) for kind, body in got if kind == "E"]


def violated(found, shard):
    return any(e["C"] == "08P01" and e["M"] == 'protocol violation by shard "%s"' % shard and e["D"].startswith("Message: ") for e in found)


def q(sql):
    return (h.query(sql),)


def extended(sql, *values, describe=True):
    return (h.parse(sql), h.bind(*values), *((h.describe("P"),) if describe else ()), h.execute(), h.message("S"))


# name: steps, query of the lie, in front of which message, what may come there besides what may come always.
def states(world):
    a, b = world.here, world.there
    row = "SELECT v FROM items WHERE id = %d" % a
    update = "UPDATE items SET v = v WHERE id = %d" % a
    begun = (q("BEGIN"), q(update))
    yield from (("simple %s" % at, (q(row),), row, at, legal) for at, legal in (("T", "TCIE"), ("D", "TDCE"), ("C", "TDCE"), ("Z", "TCZE")))
    yield from (("update %s" % at, (q(update),), update, at, legal) for at, legal in (("C", "TCIE"), ("Z", "TCZE")))
    yield from (("join %s" % at, (q("BEGIN"), q(row)), row, at, legal) for at, legal in (("1", "1E"), ("2", "2E"), ("C", "DCIsE"), ("T", "TCIE"), ("Z", "TCZE")))
    yield from (
        ("in a block %s" % at, (*begun, q(row), q("ROLLBACK")), row, at, legal) for at, legal in (("T", "TCIE"), ("D", "TDCE"), ("C", "TDCE"), ("Z", "TCZE"))
    )
    sql = "SELECT v FROM items WHERE id = $1::int"
    yield from (
        ("extended %s" % at, (extended(sql, str(a)),), "items WHERE id =", at, legal)
        for at, legal in (("1", "1E"), ("2", "2E"), ("T", "TnE"), ("D", "DCIsE"), ("C", "DCsE"), ("Z", "ZE"))
    )
    describe = (h.parse(row, "named"), h.describe("S", "named"), h.bind(name="named"), h.execute(), h.message("S"))
    yield from (("describe %s" % at, (describe,), "items WHERE id =", at, legal) for at, legal in (("t", "tE"), ("T", "TnE")))
    everything = "SELECT id, v FROM items ORDER BY id"
    yield from (("scatter %s" % at, (q(everything),), "FROM items ORDER BY", at, legal) for at, legal in (("T", "TCIE"), ("D", "TDCE"), ("C", "TDCE"), ("Z", "TCZE")))
    total = "SELECT sum(v) FROM items WHERE v > 1"
    yield from (("parts %s" % at, (q(total),), "FROM items WHERE v > 1", at, legal) for at, legal in (("T", "TCIE"), ("D", "TDCE"), ("C", "TDCE"), ("Z", "TCZE")))
    yield from (("sum %s" % at, (q(total),), "pg_catalog.sum\\(c0", at, legal) for at, legal in (("1", "1E"), ("2", "2E"), ("T", "TnE"), ("D", "DCIsE"), ("C", "DCsE"), ("Z", "ZE")))
    out, into = "COPY (SELECT v FROM items WHERE id = %d) TO STDOUT" % a, "COPY plain FROM STDIN"
    yield from (("copy out %s" % at, (q(out),), "COPY", at, legal) for at, legal in (("H", "HE"), ("d", "dcE"), ("c", "dcE"), ("C", "CE"), ("Z", "TCZE")))
    yield from (("copy out of all %s" % at, (q("COPY items TO STDOUT"),), "COPY", at, legal) for at, legal in (("H", "HE"), ("d", "dcE"), ("c", "dcE"), ("C", "CE"), ("Z", "TCZE")))
    data = (h.copy_data(b"1\t2\n"), h.message("c"))
    yield from (("copy in %s" % at, (q(into), data), "COPY", at, legal) for at, legal in (("G", "GE"), ("C", "CE"), ("Z", "TCZE")))
    rows = "".join("%d\t1\n" % i for i in range(1000, 1040))
    split = (q("COPY items FROM STDIN"), (h.copy_data(rows.encode()), h.copy_fail("enough")))
    yield from (("copy in of all %s" % at, split, "COPY", at, legal) for at, legal in (("G", "GE"), ("E", "CE"), ("Z", "ZE")))
    ext_out = (h.parse(out), h.bind(), h.execute(), h.message("S"))
    yield from (("extended copy %s" % at, (ext_out,), "COPY", at, legal) for at, legal in (("H", "HE"), ("d", "dcE"), ("c", "dcE"), ("C", "CE"), ("Z", "ZE")))
    yield from (("commit %s" % at, (*begun, q("COMMIT")), "^COMMIT$", at, legal) for at, legal in (("C", "TCIE"), ("Z", "TCZE")))
    yield from (("rollback %s" % at, (*begun, q("ROLLBACK")), "^ROLLBACK$", at, legal) for at, legal in (("C", "TCIE"), ("Z", "TCZE")))
    yield from (("savepoint %s" % at, (*begun, q("SAVEPOINT s")), "SAVEPOINT", at, legal) for at, legal in (("C", "TCIE"), ("Z", "TCZE")))
    def settings():
        return (q("SET work_mem = '%dkB'" % next(NUMBERS)), q("SELECT v FROM items WHERE id = %d" % b))

    yield from (("variables %s" % at, settings, "set_config", at, legal) for at, legal in (("1", "1E"), ("2", "2E"), ("D", "DCIsE"), ("C", "DCsE"), ("Z", "ZE")))
    look = (q("SELECT pg_advisory_lock(1), v FROM items WHERE id = %d" % a), q(row))
    yield from (("state %s" % at, look, "pg_locks", at, legal) for at, legal in (("T", "TCIE"), ("C", "TDCE"), ("Z", "TCZE")))
    every = "UPDATE items SET v = v WHERE v < 0"
    yield from (("everywhere %s" % at, (q(every),), every, at, legal) for at, legal in (("1", "1E"), ("C", "DCIsE"), ("Z", "TCZE")))


CORE = ("simple T", "simple D", "simple Z", "extended 1", "extended D", "extended Z", "scatter D", "parts Z", "copy in C", "commit C", "join 1")


def spoken(name, number):
    """All lies, or a part of them that is another one for each state."""
    said = {label: (kind, data) for label, (kind, data) in well_formed().items()}
    said.update({label: (None, data) for label, data in MALFORMED.items()})
    items = list(said.items())
    return items if name in CORE or EVERY else items[number % 4 :: 4]


def lied_to(world, steps, pattern, at, data):
    """What the victim got. Its predecessor's query may still be answered, and have the lie: then again. An error that the
    victim asked for (CopyFail) says nothing of the lie."""
    for _ in range(3):
        lie = Lie(pattern, at, data)
        world.tell(lie)
        with victim(world) as wire:
            got, closed = converse(wire, steps() if callable(steps) else steps)
            world.tell(None)
        if closed or any(e["C"] != "57014" for e in errors(got)):
            break
    return lie, got, closed


def try_one(world, steps, pattern, at, kind, data, legal):
    lie, got, closed = lied_to(world, steps, pattern, at, data)
    if not lie.told.is_set():
        raise AssertionError("nothing of the kind came by: %s" % [k for k, _ in got])
    if kind is not None and kind in legal + ASYNC:
        return
    found = errors(got)
    if unsure := [e for e in found if e["C"] == "08007"]:  # COMMIT: what became of it comes first
        assert 'shard "%s"' % lie.shard in unsure[0]["M"]
        return
    assert violated(found, lie.shard), (found, [k for k, _ in got])
    assert closed and found[-1]["S"] == "FATAL"


def test_every_message_in_every_state_of_an_answer(world):
    began, cases, wrong = time.monotonic(), 0, []
    for number, (name, steps, pattern, at, legal) in enumerate(states(world)):
        for label, (kind, data) in spoken(name, number):
            cases += 1
            try:
                try_one(world, steps, pattern, at, kind, data, legal)
            except (AssertionError, OSError) as e:
                wrong.append("%s, %s: %r" % (name, label, e))
            world.tell(None)
            try:
                world.fine()
            except Exception as e:
                raise AssertionError("%s, %s: others were hurt; before that: %s" % (name, label, wrong)) from e
        world.proxy.check()
    print("%d cases in %.1f s" % (cases, time.monotonic() - began))
    assert not wrong, "%d of %d:\n%s" % (len(wrong), cases, "\n".join(wrong))


# --- COMMIT over shards ------------------------------------------------------------------------------------


def money(world):
    rows = dict(world.onlooker.rows("SELECT id, v FROM items WHERE id IN (%d, %d)" % (world.here, world.there)))
    return rows[world.here], rows[world.there]


COMMITS = (
    ("PREPARE TRANSACTION", "C", "TCIE"),
    ("PREPARE TRANSACTION", "Z", "TCZE"),
    ("pgunison.decision", "2", "2E"),
    ("pgunison.decision", "C", "DCIsE"),
    ("pgunison.decision", "Z", "ZE"),
    ("COMMIT PREPARED", "C", "TCIE"),
    ("COMMIT PREPARED", "Z", "TCZE"),
)


def test_a_commit_over_shards_tells_the_truth(world):
    """What is said to be committed is; what is said to have failed is not; on both shards or on none."""
    said = list(well_formed().items()) + [(label, (None, data)) for label, data in MALFORMED.items()]
    a, b = money(world)
    committed = unknown = 0
    for number, (pattern, at, legal) in enumerate(COMMITS):
        for label, (kind, data) in said if EVERY else said[number % 7 :: 7]:
            lie = Lie(pattern, at, data)
            with victim(world) as wire:
                steps = (
                    q("BEGIN"),
                    q("UPDATE items SET v = v - 1 WHERE id = %d" % world.here),
                    q("UPDATE items SET v = v + 1 WHERE id = %d" % world.there),
                )
                got, closed = converse(wire, steps)
                assert not closed and not errors(got), (errors(got), pattern, label)
                world.tell(lie)
                got, closed = converse(wire, (q("COMMIT"),))
                world.tell(None)
            assert lie.told.is_set()
            found = errors(got)
            done = ("C", b"COMMIT\0") in got
            unsure = any(e["C"] == "08007" for e in found)
            assert done != bool(found), (pattern, at, label, got)
            h.eventually(lambda: not world.prepared(), 30)
            now = money(world)
            assert sum(now) == a + b, (pattern, at, label, got, now)
            committed += done
            unknown += unsure
            if kind is not None and kind in legal + ASYNC:
                continue
            assert done or any('"%s"' % lie.shard in e["M"] + e.get("D", "") for e in found), (pattern, at, label, found)
            world.proxy.check()
    h.eventually(lambda: not world.prepared(), 30)
    after_a, after_b = money(world)
    assert after_a + after_b == a + b
    assert committed <= a - after_a <= committed + unknown


# --- a cancel under way ------------------------------------------------------------------------------------


def test_every_message_while_a_statement_is_cancelled(world):
    """In front of the error that a cancel brings, and of what ends the answer."""
    said = list(well_formed().items()) + [(label, (None, data)) for label, data in MALFORMED.items()]
    sleep = "SELECT pg_sleep(20) FROM items WHERE id = %d" % world.here
    running = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query ~ 'pg_sleep' AND state = 'active' AND pid <> pg_backend_pid()"
    with world.liars[0].shard.session(dbname="postgres") as watch:
        for number, (label, (kind, data)) in enumerate(said):
            at, legal = (("E", "TDCE"), ("Z", "ZE"))[number % 2]
            lie = Lie("pg_sleep", at, data)
            with victim(world) as wire:
                wire.send(h.query(sleep))
                h.eventually(lambda: watch.one(running, world.proxy.dbname) > 0)
                world.tell(lie)
                wire.cancel()
                got, closed = converse(wire, ((),))
                world.tell(None)
            assert lie.told.is_set(), label
            found = errors(got)
            if kind is not None and kind in legal + ASYNC:
                continue
            assert closed and violated(found, "s0"), (label, at, found, [k for k, _ in got])
            world.fine()
            h.eventually(lambda: watch.one(running, world.proxy.dbname) == 0)
    world.proxy.check()


# --- between answers ---------------------------------------------------------------------------------------


def test_a_server_that_speaks_unasked(world):
    """In a transaction, while nothing is asked: its session ends, unless that is what may come at any time."""
    for label, (kind, data) in well_formed().items():
        with victim(world) as wire:
            got, closed = converse(wire, (q("BEGIN"), q("SELECT v FROM items WHERE id = %d" % world.here)))
            assert not closed and not errors(got), label
            world.liars[0].say(data)
            if kind == "E":  # nobody knows what has been undone
                got, closed = converse(wire, (q("COMMIT"),))
                assert not closed and [e["C"] for e in errors(got)] == ["08006"] and got[-1] == ("Z", b"I"), label
            elif kind in ASYNC:
                got, closed = converse(wire, (q("COMMIT"),))
                assert not closed and ("C", b"COMMIT\0") in got, label
            else:
                assert violated(errors(wire.until_closed()), "s0"), label
        world.fine()
    world.proxy.check()


def test_what_comes_behind_the_end_is_nobodys_answer(world):
    """A whole answer that nobody has asked for, of a server in the pool: it does not go to who asks next."""
    lie = b"".join(data for kind, data in (well_formed()["type %r" % k] for k in "TDCZ"))
    for _ in range(20):
        with victim(world) as wire:
            assert not errors(converse(wire, (q("SELECT v FROM items WHERE id = %d" % world.here),))[0])
        h.eventually(lambda: world.liars[0].pooled())
        world.liars[0].say(lie)
        h.eventually(lambda: not world.liars[0].pooled())
        world.fine()


# --- the proxy's own ---------------------------------------------------------------------------------------


LIBPQ_LEAKS = (b"t", b"G", b"H", b"W")  # behind a RowDescription: libpq 15 makes a result of each, and forgets to free the one that it had


def warm_up(world):
    """A worker that has served a login knows what a shard reports: the next one waits for no shard. Who holds many clients leaves
    further ones to the other."""
    workers = set()
    with contextlib.ExitStack() as clients:

        def served():
            wire = clients.enter_context(victim(world))
            (pid,) = struct.unpack("!I", dict(wire.greeting)["K"][:4])
            workers.add(pid >> 20)
            return len(workers) == world.proxy.settings["workers"]

        h.eventually(served)


def test_every_message_at_a_login(world):
    """Of the login itself libpq is who reads them: some end the attempt, some are passed over; none ends the process, or keeps it busy.
    The question for the server's identity, behind it, is answered as any other is."""
    said = list(well_formed().items()) + [(label, (None, data)) for label, data in MALFORMED.items()]
    places = (("^$", "R"), ("^$", "Z"), ("pg_control_system", "T"), ("pg_control_system", "D"), ("pg_control_system", "Z"))
    legal = {"T": "TCIE", "D": "TDCE", "Z": "TCE"}
    warm_up(world)
    with world.proxy.console() as console:
        for number, (label, (kind, data)) in enumerate(said):
            for pattern, at in places[number % 2 :: 2]:
                if data[:1] in LIBPQ_LEAKS and pattern == "^$" and at != "R":
                    continue
                console.run("RECONNECT")
                h.eventually(lambda: not world.liars[0].pooled())
                lie = Lie(pattern, at, data)
                world.liars[0].lie = lie
                with victim(world) as wire:
                    got, _ = converse(wire, (q("SELECT v FROM items WHERE id = %d" % world.here),))
                    world.tell(None)
                assert lie.told.is_set()
                found = errors(got)
                assert ("D", b"\0\1\0\0\0\3100") in got or all('"s0"' in e["M"] for e in found), (pattern, at, label, got)
                assert got, (pattern, at, label)
                if pattern != "^$" and (kind is None or kind not in legal[at] + "Z" + ASYNC):
                    assert violated(found, "s0"), (pattern, at, label, found)
                if pattern != "^$" and kind and kind in ASYNC:  # what the login had reported is not so: it is made once more
                    assert not found, (pattern, at, label, found)
                h.eventually(lambda: is_fine(world))
        console.run("RECONNECT")  # within server_login_retry, who asks next would be told of the last lie
    world.proxy.check()


def test_every_message_in_front_of_the_catalogs(world):
    """A name that nobody has used is asked for."""
    said = list(well_formed().items()) + [(label, (None, data)) for label, data in MALFORMED.items()]
    for number, (label, (kind, data)) in enumerate(said):
        at = ("T", "C", "Z")[number % 3]
        lie = Lie("pg_class", at, data)
        world.tell(lie)
        with victim(world) as wire:
            got, _ = converse(wire, (q("SELECT * FROM unheard_of_%d" % number),))
        world.tell(None)
        assert lie.told.is_set(), label
        assert [e["C"] for e in errors(got)] in (["42P01"], ["22012"], ["08P01"]), (label, at, errors(got))
        h.eventually(lambda: is_fine(world))
    world.proxy.check()


def is_fine(world):
    try:
        world.fine()
        return True
    except psycopg2.Error:
        return False


def test_every_message_in_front_of_the_resolver(world):
    """It goes on asking; what cannot come there ends the connection that it came on, at once."""
    said = list(well_formed().items()) + [(label, (None, data)) for label, data in MALFORMED.items()]
    legal = {"T": "TCIE", "C": "TDCIE", "Z": "TCE"}  # the question begins with a SET, whose C is the first
    for number, (label, (kind, data)) in enumerate(said):
        for at in "TCZ" if EVERY else "TCZ"[number % 3]:
            lie = Lie("pg_prepared_xacts", at, data)
            world.liars[1].lie = lie
            assert lie.told.wait(10), (label, at)
            if kind is None or kind not in legal[at] + ASYNC:
                h.eventually(lambda: lie.connection not in world.liars[1].connections, 5)
    world.tell(None)
    world.fine()
    world.proxy.check()
