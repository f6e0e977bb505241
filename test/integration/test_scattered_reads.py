"""A read over shards, outside a transaction, is one round trip: nothing is sent around it, in either protocol."""
import pytest

import pgharness as h
from mitm import NOTE, SENT, Rule

TABLES = {"t": "hash(id)"}
SHARDS = 2
ALL = "SELECT id, v FROM t WHERE v >= $1 ORDER BY id"
SUM = "SELECT count(*), sum(v) FROM t"


@pytest.fixture(scope="module")
def proxy(workspace, shards, middle, dbname):
    one = h.Proxy(workspace, middle, dbname, tables=TABLES)
    yield one
    one.stop()


@pytest.fixture(scope="module", autouse=True)
def filled(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
        s.run("INSERT INTO t VALUES (1,1),(2,2),(3,3),(4,4),(5,5),(6,6)")


@pytest.fixture
def seen(middle):
    """What reaches the shards."""
    rule = Rule("", SENT, NOTE, times=10000, but="pg_class|pg_proc|application_name|pg_prepared_xacts")
    for man in middle:
        man.rules.append(rule)
    yield rule.seen
    for man in middle:
        man.rules.remove(rule)


def rows(answers):
    return [m for m in answers if m[0] == "D"]


def run(sql, *values):
    return h.parse(sql) + h.bind(*values) + h.describe("P") + h.execute()


@pytest.fixture
def wire(proxy):
    w = proxy.wire()
    w.ask(run(ALL, 0), run(SUM), h.SYNC)  # what is new is asked for first
    yield w
    w.close()


def test_one_round_trip(wire, seen):
    answers = wire.ask(run(ALL, 3), h.SYNC)
    assert [m[0] for m in answers] == ["1", "2", "T", "D", "D", "D", "D", "C", "Z"]
    assert seen == [ALL, ALL]


def test_one_more_for_what_is_combined(wire, seen):
    answers = wire.ask(run(SUM), h.SYNC)
    assert [m[0] for m in answers] == ["1", "2", "T", "D", "C", "Z"]
    assert seen[:2] == [SUM, SUM] and len(seen) == 3


def test_several_in_a_pipeline(wire, seen):
    answers = wire.ask(run(ALL, 5), run(ALL, 6), h.SYNC)
    assert len(rows(answers)) == 3
    assert seen == [ALL] * 4


def test_prepared_and_described_first(wire, seen):
    """As drivers do that describe a statement and flush."""
    wire.send(h.parse(ALL, name="s") + h.describe("S", "s") + h.FLUSH)
    assert [wire.receive()[0] for _ in range(3)] == ["1", "t", "T"]
    answers = wire.ask(h.bind(4, name="s") + h.execute() + h.SYNC)
    assert len(rows(answers)) == 3
    assert not [sql for sql in seen if "BEGIN" in sql]


def test_behind_a_write_it_is_one_transaction(wire, seen):
    answers = wire.ask(run("UPDATE t SET v = v WHERE id = $1", 1), run(ALL, 6), h.SYNC)
    assert len(rows(answers)) == 1
    assert [sql for sql in seen if "BEGIN" in sql]


def test_where_one_snapshot_is_promised(proxy, seen):
    """To all of a pipeline: there it is one transaction, which may not be so over shards."""
    w = proxy.wire(options="-c default_transaction_isolation=repeatable\\ read")
    answers = w.ask(run(ALL, 3), run(ALL, 3), h.SYNC)
    w.close()
    assert len(rows(answers)) == 4 and [m[2] for m in answers if m[0] == "E"] == ["0A000"]
    assert [sql for sql in seen if "BEGIN" in sql]


def test_an_error_of_one_shard(wire, seen):
    answers = wire.ask(run("SELECT 1 / (v - 4), id FROM t ORDER BY id"), run(ALL, 1), h.SYNC)
    assert [m[0] for m in answers if m[0] in "EZC"] == ["E", "Z"]
    assert wire.ask(run(ALL, 6), h.SYNC)[-1][0] == "Z"
