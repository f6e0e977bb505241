"""Statements, at places where they once ended the process or were never answered. What PostgreSQL does is right; a clear refusal
will do."""
import itertools

import pytest

import pgharness as h
from pgharness import eventually

SHARDS = 2
TABLES = {"t": "hash(id)", "made": "hash(id)", "ref": "reference"}
SETTINGS = {"default_pool_size": 4, "log_pooler_errors": 0, "log_connections": 0, "log_disconnections": 0}
SCHEMA = ["CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE TABLE ref (id int PRIMARY KEY, name text)", "CREATE TABLE notes (id int)"]


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, oracle):
    for server in (proxy, oracle):
        with server.session() as s:
            for sql in SCHEMA:
                s.run(sql)


def outcome(answer):
    """Without the words of errors."""
    return [m[:3] if m[0] == "E" else m for m in answer]


def refused(answer):
    return any(m[0] == "E" and m[2] == "0A000" for m in answer)


# --- plans without a shard -----------------------------------------------------------------------------------


def test_lists_of_relations_that_are_not_all_there(proxy, oracle):
    """Unknown, at home, sharded, on every shard: in each order."""
    forms = [
        "drop table if exists %s",
        "drop table %s",
        "truncate %s",
        "analyze %s",
        "grant select on %s to public",
        "drop index if exists %s",
        "drop view if exists %s",
    ]
    names = ["nope", "made", "m2", "m3"]  # sharded; at home
    make = "create table if not exists made (id int); create table if not exists m2 (id int); create table if not exists m3 (id int)"
    with proxy.wire(timeout=10) as a, oracle.wire(timeout=10) as b:
        for form in forms:
            for some in itertools.chain(itertools.permutations(names, 2), itertools.permutations(names, 3 if form == forms[0] else 0)):
                if not some:
                    continue
                for part in make.split("; "):
                    a.ask(h.query(part))
                    b.ask(h.query(part))
                sql = form % ", ".join(some)
                got, wanted = a.ask(h.query(sql)), b.ask(h.query(sql))
                assert refused(got) or outcome(got) == outcome(wanted), sql
                if form == forms[0]:
                    assert not refused(got), sql


@pytest.mark.parametrize(
    "sql",
    ["create statistics s on a from (values (1)) x", "create statistics s on a, b from f(1)", "comment on column id is 'x'", "security label on column id is 'x'"],
)
def test_statements_without_any_relation(proxy, oracle, sql):
    with proxy.wire(timeout=10) as a, oracle.wire(timeout=10) as b:
        assert outcome(a.ask(h.query(sql))) == outcome(b.ask(h.query(sql)))


# --- what is kept over a wait ----------------------------------------------------------------------------------


@pytest.mark.parametrize("portal", ["", "p"])
def test_a_query_ends_the_portals_of_a_pipeline_before_it(proxy, oracle, portal):
    """The portal's server has gone back to the pool, where another client may have it."""
    answers = []
    for server in (proxy, oracle):
        with server.wire(timeout=10) as w:
            w.send(h.parse("select v from t where id = 1"), h.bind(portal=portal), h.query("select 1"))
            answers.append([outcome(h.shape(w.until_ready())), outcome(w.ask(h.execute(portal), h.SYNC))])
    assert answers[0] == answers[1]


def test_a_reload_while_a_session_keeps_its_server(proxy):
    """What it looked up under the old configuration goes with that."""
    with proxy.wire(timeout=10) as w:
        for i in range(3):
            w.ask(h.query("create temp table kept%d (id int)" % i))
            proxy.tables["later%d" % i] = "hash(id)"
            proxy.configure()
            before = proxy.tail(1000).count("configuration reloaded")
            proxy.reload()
            eventually(lambda n=before: proxy.tail(1000).count("configuration reloaded") > n)
            w.ask(h.query("select * from unknown_%d" % i), h.query("select count(*) from t"))
            w.until_ready()
            w.ask(h.query("discard all"))
            assert ("Z", "I") in w.ask(h.query("select * from other_%d" % i))
            assert ("D", b"0") in w.ask(h.query("select count(*) from t"))
