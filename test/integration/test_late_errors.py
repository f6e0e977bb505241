"""Errors that a shard has between its answers: a timer runs out while the client says nothing (statement_timeout runs from Parse and
Bind on), and the shard says so as it reads the next message, a Flush too, which has no answer of its own. From there on it ignores
everything up to Sync. One PostgreSQL that hears the same, with the same silences between, says what is right.

The silences are the one thing here that is timed: no server shows that such a timer has run out, so they are three times as long as
it."""
import time

import pytest

import pgharness as h

TABLES = {"t": "hash(id)"}
SHARDS = 2
TIMEOUT_MS, SILENCE = 200, 0.6
P, B, E, H, S, Q = h.parse, h.bind, h.execute, h.FLUSH, h.SYNC, h.query
GAP = None  # a silence
TOLD = "E"  # nothing more is sent before an error has come

INSERT_T, SELECT_T = "INSERT INTO t VALUES (%d, 1)", "SELECT v FROM t WHERE id = %d"
INSERT_U, SELECT_U = "INSERT INTO u VALUES (%d, 1)", "SELECT v FROM u WHERE id = 1"


@pytest.fixture(scope="module")
def keys(proxy, oracle, shards, dbname):
    """Two of one shard, and one of the other."""
    for side in (proxy, oracle):
        with side.session() as s:
            s.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
            s.run("CREATE TABLE u (id int PRIMARY KEY, v int)")
            s.run("INSERT INTO u VALUES (1, 1)")
            for i in range(1, 41):
                s.run("INSERT INTO t VALUES (%s, 1)", i)
    here, there = ([i for (i,) in rows] for rows in shards.each(dbname, "SELECT id FROM t ORDER BY id"))
    for side in (proxy, oracle):
        with side.session() as s:
            s.run("DELETE FROM t WHERE id IN (%s, %s)", here[0], there[0])
    return here[0], there[0], here[1], there[1]


def run(sql):
    return P(sql) + B() + E()


def converse(side, steps):
    """All that comes; Parse and Bind are answered at the next Flush or Sync, wherever the proxy has sent one."""
    with side.wire() as w:
        w.ask(Q("SET statement_timeout = %d" % TIMEOUT_MS))
        got = []
        for step in steps:
            if step is GAP:
                time.sleep(SILENCE)
                continue
            if step is not TOLD:
                w.send(*step)
            if step is TOLD or step[-1][:1] in (b"S", b"Q"):
                w.socket.settimeout(10)
                try:
                    got += h.shape(w.until("E" if step is TOLD else "Z"))
                except TimeoutError:
                    return got + ["nothing more comes"]
                except h.Closed:
                    return got + ["closed"]
        return got


# What stands for a key: 0 of one shard, 1 of the other, neither there; 2 and 3 of theirs, there.
def cases(k):
    insert, other_insert = INSERT_T % k[0], INSERT_T % k[1]
    select, other_select = SELECT_T % k[2], SELECT_T % k[3]
    begin, commit = [Q("BEGIN")], [Q("COMMIT")]
    waits = [run(insert), P(select), B()]
    return {
        "flush": [waits, GAP, [H], TOLD, [S]],
        "flush and sync": [waits, GAP, [H, S]],
        "flush of the proxy": [waits, GAP, [h.close("S", "none"), S]],
        "flush, in a table of one shard": [[run(INSERT_U % 7), P(SELECT_U), B()], GAP, [H], TOLD, [S]],
        "flush, then more": [[P(select), B()], GAP, [H], TOLD, [E(), S]],
        "flush, then more, in a block": [begin, [P(select), B()], GAP, [H], TOLD, [E(), S], commit],
        "flush, then flush": [[P(select), B()], GAP, [H], TOLD, [E(), H], [S]],
        "another shard": [waits, GAP, [run(other_insert), S]],
        "all shards": [waits, GAP, [run("UPDATE t SET v = v"), S]],
        "query": [waits, GAP, [Q("SELECT 7")]],
        "query on another shard": [waits, GAP, [Q(other_select)]],
        "query on all shards": [waits, GAP, [Q("SELECT count(*) FROM t")]],
        "several statements": [waits, GAP, [Q("SELECT 7; SELECT 8")]],
        "query in a block": [begin, waits, GAP, [Q(other_select)], commit],
        "query behind a flush": [waits, GAP, [H, Q("SELECT 7"), S]],
        "query behind a flush in a block": [begin, waits, GAP, [H, Q("SELECT 7"), S], commit],
        "query behind an early flush": [waits + [H], GAP, [Q("SELECT 7")]],
        "query behind an early flush in a block": [begin, waits + [H], GAP, [Q("SELECT 7")], commit],
        "COMMIT": [begin, waits, GAP, [Q("COMMIT")], commit],
        "block": [begin, waits, GAP, [H], TOLD, [S], commit],
        "block, written there": [begin, [Q(other_insert)], waits, GAP, [H], TOLD, [S], commit],
        "block, written elsewhere": [begin, [Q(other_insert)], [P(select), B()], GAP, [H], TOLD, [S], commit],
        "block, two shards": [begin, [run(other_insert), run(insert), P(select), B()], GAP, [H], TOLD, [S], commit],
        "pipeline over shards": [[run(other_insert), run(insert), P(select), B()], GAP, [H], TOLD, [S]],
        "BEGIN": [waits, GAP, [run("BEGIN"), S], commit],
        "sync": [waits, GAP, [S]],
        "suspended": [begin, [P("SELECT id FROM t WHERE id = %d" % k[2]), B(), E(rows=1), H], GAP, [H], TOLD, [S], commit],
        "nothing to tell": [[run(insert)], GAP, [H, S]],
    }


def cases_of_all_shards(k):
    waits, spread = [run(INSERT_T % k[0]), P(SELECT_T % k[2]), B(), H], [run("UPDATE t SET v = v"), S]
    return {"no block": [waits, GAP, spread], "block": [[Q("BEGIN")], waits, GAP, spread, [Q("ROLLBACK")]]}


@pytest.fixture
def compare(proxy, oracle, keys):
    """What both say, and what is there then."""
    for side in (proxy, oracle):
        with side.session() as s:
            s.run("DELETE FROM t WHERE id IN (%s, %s)", *keys[:2])
            s.run("DELETE FROM u WHERE id <> 1")
    yield lambda steps: [converse(side, steps) for side in (oracle, proxy)]
    for sql in ("SELECT id, v FROM t ORDER BY id", "SELECT id, v FROM u ORDER BY id"):
        with proxy.session() as p, oracle.session() as o:
            assert p.rows(sql) == o.rows(sql)


@pytest.mark.parametrize("name", cases([0] * 4))
def test_an_error_between_answers_is_told(compare, keys, name):
    wanted, got = compare(cases(keys)[name])
    assert got == wanted


@pytest.mark.parametrize("name", cases_of_all_shards([0] * 4))
def test_an_error_between_answers_is_told_by_what_is_sent_next(compare, keys, name):
    """Parse and Bind of what all shards run are answered by the proxy: the shard hears of nothing before Execute."""
    wanted, got = ([m for m in told if m[0] not in "12"] for told in compare(cases_of_all_shards(keys)[name]))
    assert got == wanted


def test_an_error_on_one_of_all_shards_fails_the_block(compare, keys):
    """Its connection may be lost by then, with the shard's own words: the block fails, whatever it says (docs/roadmap.md)."""
    k = keys
    waits = [run(INSERT_T % k[0]), P(SELECT_T % k[2]), B(), H]
    steps = [[Q("BEGIN")], waits, GAP, [Q("SELECT count(*) FROM t")], [Q("COMMIT")]]
    wanted, got = ([m[:2] if m[0] == "E" else m for m in told] for told in compare(steps))
    assert got == wanted
