"""A shard's machine hangs in the middle of a COMMIT over two shards, with default settings: nobody hangs with it for longer than
docs/operations.md says, and when it is back the transaction ends as it was said to.
"""
import threading
import time

import pytest

import pgharness as h
from mitm import ANSWERED, HOLD, SENT, Mitm, Rule
from test_failover import stopped

TABLES = {"marks": "hash(id)"}
PREPARE, DECIDE, APPLY = r"PREPARE TRANSACTION '", r"INSERT INTO pgunison\.decision .*; COMMIT$", r"^COMMIT PREPARED '"
BOUND = 25  # seconds: server_silence_timeout and commit_resolve_timeout, and what they may be late

# Which message is held when a server is stopped, which server that is, and what the client may be told.
MOMENTS = {
    "before_prepare_is_answered": (PREPARE, SENT, "its", ("08006",)),
    "before_the_decision_is_answered": (DECIDE, SENT, "its", ("08007",)),
    "after_the_decision": (DECIDE, ANSWERED, "the other", ("COMMIT",)),
    "before_commit_prepared_is_answered": (APPLY, SENT, "its", ("COMMIT",)),
}


@pytest.fixture
def servers(workspace):
    found = [h.Postgres(workspace, "s%d" % i) for i in range(2)]
    for server in found:
        server.make_database(h.DATABASE)
    yield found
    for server in found:
        server.stop()


@pytest.fixture
def middle(servers):
    men = [Mitm(server) for server in servers]
    yield men
    for man in men:
        man.close()


@pytest.fixture
def proxy(workspace, middle):
    one = h.Proxy(workspace, middle, h.DATABASE, tables=TABLES)
    with one.session() as s:
        s.run("CREATE TABLE marks (id int PRIMARY KEY, v int)")
        for i in range(1, 40):
            s.run("INSERT INTO marks VALUES (%s, 0)", i)
    yield one
    one.stop()


def marks(servers, value):
    """On how many rows of each server it is."""
    found = []
    for server in servers:
        with server.session() as db:
            found.append(db.one("SELECT count(*) FROM marks WHERE v = %s", value))
    return found


def settled(servers):
    for server in servers:
        with server.session() as db:
            if db.one("SELECT count(*) FROM pg_prepared_xacts") > 0:
                return False
    return True


def commit_answer(wire):
    """The tag or the SQLSTATE, and when."""
    answer = None
    for kind, body in wire.until_ready():
        if kind == "C":
            answer = body[:-1].decode()
        elif kind == "E":
            answer = h.fields(body)["C"]
    return answer, time.monotonic()


@pytest.mark.parametrize("moment", MOMENTS)
def test_nobody_hangs_with_a_shard_that_stops_in_a_commit(servers, middle, proxy, moment):
    pattern, when, which, expected = MOMENTS[moment]
    with proxy.wire() as wire, proxy.session() as bystander:
        wire.socket.settimeout(60)
        bystander.one("SELECT id FROM marks WHERE id = 1")  # what a table is, the home shard tells
        wire.ask(h.query("BEGIN"))
        assert wire.ask(h.query("UPDATE marks SET v = 7"))[-1] == ("Z", "T")
        rule = Rule(pattern, when, HOLD)
        for man in middle:
            man.rules.append(rule)
        wire.send(h.query("COMMIT"))
        at = rule.wait().shard
        victim = at if which == "its" else next(s for s in servers if s is not at)
        healthy = next(s for s in servers if s is not victim)
        with healthy.session() as db:
            key = db.one("SELECT min(id) FROM marks")
        with stopped(victim):
            began = time.monotonic()
            for man in middle:
                man.rules.clear()
            rule.release()
            told = []
            waiter = threading.Thread(target=lambda: told.append(commit_answer(wire)))
            waiter.start()
            while waiter.is_alive():  # who needs the healthy shard only is served meanwhile
                asked = time.monotonic()
                assert bystander.one("SELECT id FROM marks WHERE id = %s", key) == key
                assert time.monotonic() - asked < 5
                waiter.join(0.5)
            answer, ended = told[0]
            print("%s: %s after %.1f s" % (moment, answer, ended - began))
            assert answer in expected and ended - began < BOUND, (answer, ended - began)
        h.eventually(lambda: settled(servers), seconds=40)
        first, second = marks(servers, 7)
        assert (first > 0) == (second > 0), "torn"
        if answer == "COMMIT":
            assert first > 0
        elif answer == "08006":
            assert first == 0
        h.eventually(lambda: wire.ask(h.query("SELECT count(*) FROM marks"))[-2][0] == "C")
