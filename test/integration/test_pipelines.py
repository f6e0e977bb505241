"""Pipelines that go from shard to shard: what a plain server answers to the same messages is right."""
import random

import pytest

import pgharness as h

TABLES = {"items": "hash(id)"}
SETTINGS = {"pipeline_ahead": "on"}
SHARDS = 3
KEYS = 60


@pytest.fixture(scope="module", autouse=True)
def filled(proxy, oracle):
    with proxy.session() as p, oracle.session() as o:
        for s in (p, o):
            s.run("CREATE TABLE items (id int PRIMARY KEY, v bigint NOT NULL, t text)")


def refill(*sessions):
    for s in sessions:
        s.run("DELETE FROM items")
        s.run("INSERT INTO items VALUES " + ",".join("(%d, %d, 't%d')" % (i, i, i % 5) for i in range(KEYS)))


READ = "SELECT id, v, t FROM items WHERE id = $1"
WIDE = "SELECT id, repeat('x', 3000) FROM items WHERE id = $1"
FAILS = "SELECT 1 / (id - id) FROM items WHERE id = $1"
ROWS = "SELECT g FROM items, generate_series(1, 9) g WHERE id = $1"
UPDATE = "UPDATE items SET v = v + 1 WHERE id = $1"
INSERT = "INSERT INTO items VALUES ($1, 0, 'new')"
DELETE = "DELETE FROM items WHERE id = $1 RETURNING v"
LOCK = "SELECT v FROM items WHERE id = $1 FOR UPDATE"


class Messages:
    """Random messages, of a client that remembers what it has prepared."""

    def __init__(self, rng, reads):
        self.rng, self.reads = rng, reads
        self.names = 0

    def key(self):
        return self.rng.randrange(KEYS + 4)

    def run(self, sql, *values):
        yield h.parse(sql)
        yield h.bind(*values, results=self.rng.choice(([], [0], [1])) if sql in (READ, WIDE) else [])
        if self.rng.random() < 0.4:
            yield h.describe("P")
        yield h.execute()

    def named(self):
        """Prepared, perhaps described, run for keys of several shards, perhaps closed."""
        self.names += 1
        name = "s%d" % self.names
        yield h.parse(self.rng.choice((READ, WIDE, FAILS) if self.reads else (READ, UPDATE, INSERT)), name)
        if self.rng.random() < 0.3:
            yield h.describe("S", name)
        for _ in range(self.rng.randrange(4)):
            yield h.bind(self.key(), name=name)
            yield h.execute()
        if self.rng.random() < 0.3:
            yield h.close("S", name)
        if self.rng.random() < 0.2:
            yield h.bind(self.key(), name="s%d" % self.rng.randrange(1, self.names + 2))  # which may be known, or not
            yield h.execute()

    def portals(self):
        """Bound first, run later, in another order."""
        bound = []
        for i in range(self.rng.randrange(2, 5)):
            yield h.parse(self.rng.choice((READ, ROWS, FAILS)) if self.reads else self.rng.choice((READ, UPDATE)))
            yield h.bind(self.key(), portal="p%d" % i)
            bound.append("p%d" % i)
        self.rng.shuffle(bound)
        for portal in bound:
            if self.rng.random() < 0.3:
                yield h.describe("P", portal)
            yield h.execute(portal, self.rng.choice((0, 0, 2)))
        for portal in bound:
            yield h.close("P", portal)

    def one(self):
        """What is one step to a client."""
        dice = self.rng.random()
        if dice < 0.5:
            return self.run(self.rng.choice((READ, READ, READ, WIDE)), self.key())
        if dice < 0.6:
            return self.named()
        if dice < 0.67:
            return self.portals()
        if dice < 0.70:
            return self.run(self.rng.choice((FAILS, "SELECT nosuch FROM items WHERE id = $1")), self.key())
        if dice < 0.73:
            return self.run("SELECT count(*), sum(v) FROM items")
        if dice < 0.76:
            return self.run("SELECT id FROM items WHERE v > $1 ORDER BY id LIMIT 5", self.key())
        if dice < 0.78:
            return [h.FLUSH]
        if self.reads:
            return self.run(READ, self.key())
        if dice < 0.92:
            return self.run(self.rng.choice((UPDATE, UPDATE, INSERT, DELETE, LOCK)), self.key())
        return self.run(self.rng.choice(("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a", "SHOW work_mem")))


def statements(rng, reads):
    """Cycles of messages, each up to its Sync."""
    m = Messages(rng, reads)
    for _ in range(rng.randrange(1, 6)):
        cycle = []
        for _ in range(rng.choice((1, 3, 8, 30))):
            cycle += m.one()
        yield cycle + [h.SYNC]


def results(answers):
    """Without the acknowledgements of what is prepared and bound: when the error of a cycle is noticed may differ."""
    return [m for m in answers if m[0] not in "12"]


def same_end(got, wanted):
    if any(m[0] == "E" for m in wanted):
        got, wanted = results(got), results(wanted)
    assert got == wanted


@pytest.fixture(scope="module")
def in_order(make_proxy):
    return make_proxy(settings={"pipeline_ahead": "off"})


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "everything"])
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("ahead", [True, False], ids=["ahead", "in order"])
def test_random_pipelines(request, oracle, ahead, reads, seed):
    rng = random.Random(seed)
    proxy = request.getfixturevalue("proxy" if ahead else "in_order")
    with proxy.session() as p, oracle.session() as o, proxy.wire() as pw, oracle.wire() as ow:
        refill(p, o)
        for _ in range(4):
            cycles = list(statements(rng, reads))
            ahead = rng.random() < 0.5  # all cycles are sent before the first answer is read
            for w in (pw, ow):
                if ahead:
                    w.send(*sum(cycles, []))
            for cycle in cycles:
                answers = []
                for w in (pw, ow):
                    if not ahead:
                        w.send(*cycle)
                    answers.append(h.shape(w.until_ready()))
                same_end(*answers)
            for w in (pw, ow):
                w.ask(h.query("ROLLBACK"))
                w.ask(h.query("DEALLOCATE ALL"))
            everything = "SELECT id, v, t FROM items ORDER BY id"
            assert p.rows(everything) == o.rows(everything)


@pytest.mark.parametrize(
    "error",
    [h.bind(name="unknown"), h.execute("unknown"), h.parse("SAVEPOINT a") + h.bind() + h.execute(), h.parse("SELECT", "taken"), h.describe("S", "unknown")],
    ids=["statement", "portal", "savepoint", "name", "describe"],
)
def test_an_error_of_the_proxys_own_takes_the_pipeline_back(proxy, oracle, error):
    with proxy.session() as p, oracle.session() as o, proxy.wire() as pw, oracle.wire() as ow:
        refill(p, o)
        for s, w in ((o, ow), (p, pw)):
            w.ask(h.parse("SELECT 1", "taken"), h.SYNC)
            for key in range(3):  # of whatever shard
                answers = w.ask(h.parse(UPDATE), h.bind(key), h.execute(), h.parse(READ), h.bind(key), h.execute(), error, h.SYNC)
                assert [m[0] for m in answers if m[0] in "EZ"] == ["E", "Z"] and answers[-1] == ("Z", "I")
                assert s.one("SELECT v FROM items WHERE id = %s", key) == key
