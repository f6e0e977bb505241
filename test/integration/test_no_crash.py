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


# --- every kind of statement, at every place ---------------------------------------------------------------------

KINDS = """
select 1
select count(*) from t
select * from t where id = 1
insert into t values (1, 1) on conflict do nothing
insert into t values (1, 1), (2, 2), (3, 3) on conflict do nothing
update t set v = 2
delete from t where id = 9
update ref set name = 'x'
copy t from stdin
copy t (id, v) from stdin with (format csv)
copy ref from stdin
copy notes from stdin
copy nope from stdin
copy t to stdout
copy ref to stdout
copy notes to stdout
copy (select 1) to stdout
copy nope to stdout
begin
commit
rollback
savepoint a
release a
rollback to a
set vacuum_cost_delay = 13
set local vacuum_cost_delay = 13
set transaction read write
reset all
reset vacuum_cost_delay
discard all
discard temp
show vacuum_cost_delay
declare c cursor for select * from notes
fetch 1 from c
close c
close all
listen x
unlisten *
notify x
prepare p as select 1
execute p
deallocate p
deallocate all
create temp table tx (a int)
drop table if exists tx
create table if not exists made (id int)
drop table if exists made
vacuum notes
vacuum t
analyze t
do 'begin end'
lock table t
checkpoint
explain select 1
explain (route) select * from t
set pgunison.shard = 's0'
set pgunison.shard = ''
set role app
reset role
selec 1
""".strip().split("\n")


def converse(w, *messages):
    """All that comes up to ReadyForQuery; data when it is asked for."""
    w.send(*messages)
    got = []
    while not got or got[-1][0] != "Z":
        got.append(w.receive())
        if got[-1][0] == "G":
            w.send(h.copy_data(b"\\."), h.COPY_DONE, h.SYNC) if messages[-1] == h.SYNC else w.send(h.COPY_DONE)
    return h.shape(got)


PLACES = ["%s", "select 0; %s", "%s; select 2", "select 0; %s; select 2", "%s; selec 2", "begin; %s; commit"]


@pytest.mark.parametrize("own_server", [False, True], ids=["pooled", "own_server"])
@pytest.mark.parametrize("place", PLACES)
def test_every_kind_of_statement_is_answered_in_a_query(proxy, place, own_server):
    with proxy.wire(timeout=10) as w:
        for sql in KINDS:
            if own_server:
                converse(w, h.query("create temp table if not exists own_one (a int)"))
            assert converse(w, h.query(place % sql))[-1][0] == "Z", sql
            converse(w, h.query("rollback"))
            assert ("D", b"1") in converse(w, h.query("select 1")), sql


@pytest.mark.parametrize("own_server", [False, True], ids=["pooled", "own_server"])
@pytest.mark.parametrize("place", range(4))
def test_every_kind_of_statement_is_answered_in_a_pipeline(proxy, place, own_server):
    def run(sql):
        return h.parse(sql) + h.bind() + h.describe("P") + h.execute()

    with proxy.wire(timeout=10) as w:
        for sql in KINDS:
            if place == 2 and "stdin" in sql:
                continue  # see test_anything_else_...
            if own_server:
                converse(w, h.query("create temp table if not exists own_one (a int)"))
            parts = [[run(sql)], [run("select 0"), run(sql)], [run(sql), run("select 2")], [run("select v from t where id = 1"), run(sql), h.FLUSH]]
            got = converse(w, *parts[place], h.SYNC)
            assert got[-1][0] == "Z", sql
            if sql.startswith("copy") and "stdin" in sql:  # the Sync behind its data was another
                w.socket.settimeout(10)
                while got[-1][1] != "I" or w.buffer:
                    got = h.shape(w.until_ready())
            converse(w, h.query("rollback"))
            answer = converse(w, h.query("select 1"))
            assert ("D", b"1") in answer or ("D", b"1") in h.shape(w.until_ready()), sql


COPIES = [
    ("select 0; copy t from stdin; select 1", ["1\t1\n2\t2\n"]),
    ("copy t from stdin; copy ref from stdin; select count(*) from t", ["5\t1\n6\t2\n", "1\tx\n"]),
    ("copy notes from stdin; select count(*) from notes; copy notes from stdin; select count(*) from notes", ["1\n", "2\n3\n"]),
    ("copy t from stdin; copy notes from stdin", ["x\t1\n", "1\n"]),
    ("copy t from stdin; select 1/0; select 2", ["7\t7\n"]),
    ("begin; copy t from stdin; commit; select 3", ["8\t8\n"]),
    ("copy nope from stdin; select 1", ["1\n"]),
    ("copy t to stdout; copy t from stdin; copy t to stdout", ["9\t9\n"]),
]


@pytest.mark.parametrize("ahead", [False, True], ids=["asked", "ahead"])
@pytest.mark.parametrize("sql, data", COPIES)
def test_copies_within_a_query(proxy, oracle, sql, data, ahead):
    """As on one server: also when the client does not wait to be asked for its data."""
    answers = []
    for server in (proxy, oracle):
        with server.session() as s:
            s.run("delete from t"), s.run("delete from ref"), s.run("delete from notes")
        with server.wire(timeout=10) as w:
            left = [h.copy_data(d.encode()) + h.COPY_DONE for d in data]
            if ahead:
                w.send(h.query(sql), *left, h.query("select 'behind'"))
                got = w.until_ready() + w.until_ready()
            else:
                w.send(h.query(sql))
                got = []
                while not got or got[-1][0] != "Z":
                    got.append(w.receive())
                    if got[-1][0] == "G":
                        w.send(left.pop(0))
            answers.append([m for m in outcome(h.shape(got)) if m[0] != "H"])
            for row in ("t", "ref", "notes"):
                answers[-1] += sorted(w.ask(h.query("select * from " + row)), key=repr)
    if sql.startswith("begin"):
        return  # how such a Query's statements hang together is not what this is about
    assert answers[0] == answers[1]


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("message", [h.query("select 1"), h.parse("select 1"), h.bind(), h.execute(), h.describe("P"), h.close("S"), h.message("F")])
def test_anything_else_while_data_is_copied_in_ends_the_session(proxy, oracle, message, extended):
    for server in (proxy, oracle):
        with server.wire(timeout=10) as w:
            w.send(h.parse("copy notes from stdin") + h.bind() + h.execute() + h.FLUSH if extended else h.query("copy notes from stdin"))
            w.until("G")
            w.send(h.copy_data(b"1\n"), message)
            assert "08P01" in [h.fields(b)["C"] for k, b in w.until_closed() if k == "E"]
