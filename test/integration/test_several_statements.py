"""Queries of several statements: the same messages, states and rows as from one PostgreSQL."""
import itertools
import random

import pytest

import pgharness as h

SHARDS = 3
TABLES = {"t": "hash(id)", "d": "hash(id)"}
RESET = "ROLLBACK"
TEMPLATE = ("CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE TABLE d (id int PRIMARY KEY, v int, UNIQUE (id, v) DEFERRABLE INITIALLY DEFERRED)",
            "CREATE TABLE u (id int PRIMARY KEY, v int CHECK (v < 1000))", "CREATE TABLE e (id int, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)")  # fmt: skip
ONE, ALL = "INSERT INTO t VALUES (%d, 0)", "INSERT INTO t VALUES (%d, 0), (%d, 0), (%d, 0), (%d, 0), (%d, 0)"


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, oracle):
    for server in (proxy, oracle):
        with server.session() as s:
            for sql in TEMPLATE:
                s.run(sql)


@pytest.fixture(scope="module")
def wires(proxy, oracle):
    with proxy.wire() as p, oracle.wire() as o:
        yield p, o


def told(messages):
    """Types, tags, SQLSTATEs, rows, states; the words of errors, too, where the proxy has them from PostgreSQL."""
    shown = []
    for kind, body in messages:
        if kind in "NE":
            f = h.fields(body)
            shown.append((kind, f["S"], f["C"], f["M"]))
        elif kind == "C":
            shown.append(("C", body[:-1].decode()))
        elif kind in "ZDI":
            shown.append((kind, body))
    return shown


def content(w):
    return [sorted(told(w.send(h.query("SELECT * FROM " + table)) or w.until_ready())) for table in ("t", "d", "u", "e")]


def prepare(w):
    w.ask(h.query(RESET))
    for sql in ("RESET work_mem", "DROP TABLE IF EXISTS made", "DELETE FROM t", "DELETE FROM d", "DELETE FROM u", "DELETE FROM e", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
                "INSERT INTO u VALUES (1, 1)", "INSERT INTO e VALUES (1)"):  # fmt: skip
        answer = w.ask(h.query(sql))
        assert not [m for m in answer if m[0] == "E"], answer


def compare(wires, texts):
    for w in wires:
        prepare(w)
    for sql in texts:
        got, wanted = (told(w.send(h.query(sql)) or w.until_ready()) for w in wires)
        assert got == wanted, sql
    got, wanted = (told(w.send(h.query("ROLLBACK; SHOW work_mem")) or w.until_ready()) for w in wires)
    assert got == wanted, "at the end"
    got, wanted = map(content, wires)
    assert got == wanted


QUERIES = """
begin; insert into t values (11, 1); commit; selec 2
insert into t values (11, 1); selec 2; insert into t values (12, 1)
selec 1; insert into t values (11, 1)
insert into t values (11, 1); insert into
insert into t values (11, 1); )
insert into t values (11, 1); select 'x
insert into t values (11, 1); select "x
insert into t values (11, 1); select $$x
insert into t values (11, 1); /* x
insert into t values (11, 1); create table made (a int; select 1
insert into t values (11, 1); commit and chain
insert into t values (11, 1); rollback and chain
insert into t values (11, 1), (12, 1), (13, 1), (14, 1); commit and chain
commit and chain; insert into t values (11, 1)
begin; insert into t values (11, 1); commit and chain; insert into t values (12, 1)
begin; insert into t values (11, 1); commit and chain; insert into t values (12, 1); rollback and chain; insert into t values (13, 1); commit
begin; insert into t values (11, 1); commit and no chain; insert into t values (12, 1)
select 1; savepoint sp
savepoint sp; select 1
insert into t values (11, 1); savepoint sp; insert into t values (12, 1)
insert into t values (11, 1); release sp
insert into t values (11, 1); release savepoint sp
insert into t values (11, 1); rollback to sp
insert into t values (11, 1); rollback to savepoint sp; select 1
begin; savepoint a; insert into t values (11, 1); rollback to a; insert into t values (12, 1); commit
begin; insert into t values (11, 1); savepoint a; insert into t values (11, 1); rollback to a; commit
begin; savepoint a; savepoint b; insert into t values (11, 1); release a; rollback to b
begin; savepoint a; release a; rollback to a; commit
begin; release nope; commit
insert into t values (11, 1); begin; insert into t values (12, 1); rollback
insert into t values (11, 1); begin; insert into t values (12, 1); commit; insert into t values (13, 1)
insert into t values (11, 1), (12, 1), (13, 1); begin; insert into t values (14, 1); rollback
insert into t values (11, 1); begin; insert into t values (12, 1)
insert into t values (11, 1); begin; begin; rollback
begin; begin; begin
insert into t values (11, 1); commit; insert into t values (12, 1)
insert into t values (11, 1); rollback; insert into t values (12, 1)
insert into t values (11, 1); commit; insert into t values (11, 1)
insert into t values (11, 1); commit; select 1 / 0
insert into t values (11, 1); rollback; select 1 / 0
insert into t values (11, 1); commit; commit; rollback
commit; commit
rollback; select 1; commit
insert into t values (11, 1); select 1 / 0; insert into t values (12, 1)
begin; insert into t values (11, 1); select 1 / 0; commit
begin; insert into t values (11, 1); select 1 / 0; rollback; insert into t values (12, 1)
begin; select 1 / 0
begin; select 1 / 0; rollback
insert into t values (11, 1); end
insert into t values (11, 1); abort
start transaction; insert into t values (11, 1); end
insert into t values (11, 1); start transaction; abort
insert into u values (11, 1); vacuum u; insert into u values (12, 1)
vacuum u; select 1
select 1; vacuum t
select 1; create database made
begin; vacuum u; commit
insert into u values (11, 1); reindex table concurrently u
set work_mem = '1MB'; show work_mem
set work_mem = '1MB'; select 1 / 0
set work_mem = '1MB'; commit; select 1 / 0
set local work_mem = '1MB'; show work_mem
set local work_mem = '1MB'; commit; show work_mem
set local work_mem = '1MB'; select 1 / 0
begin; set local work_mem = '1MB'; show work_mem; commit; show work_mem
begin; set work_mem = '1MB'; rollback; show work_mem
set work_mem = '1MB'; rollback; show work_mem
set work_mem = 'nonsense'; insert into t values (11, 1)
insert into t values (11, 1); set work_mem = 'nonsense'
set transaction read only; insert into u values (11, 1)
begin; set transaction read only; insert into u values (11, 1); commit
set transaction isolation level serializable; show transaction_isolation
select 1 from u; set transaction isolation level serializable; select 1
begin read only; insert into u values (11, 1)
select 1 from u; begin read only; insert into u values (11, 1)
select 1 from u; begin isolation level serializable; insert into u values (11, 1)
begin; begin isolation level repeatable read; show transaction_isolation
begin; select 1 from u; begin isolation level repeatable read; show transaction_isolation
begin; select 1 from u; start transaction read only; insert into u values (11, 1); commit
begin isolation level repeatable read; insert into u values (11, 1); commit and chain; show transaction_isolation
lock table u; insert into u values (11, 1)
lock table t; insert into t values (11, 1)
lock table u
lock table t
lock table t; lock table u; select 1
declare c cursor for select 1; fetch c
declare c cursor for select 1; commit; fetch c
declare c cursor for select v from u; fetch c; close c; fetch c
fetch c; select 1
;
;;
; ; select 1; ;
select 1;;select 2;
; begin;; insert into t values (11, 1);; commit;
/* nothing */; select 1 -- end
;-- nothing
select 1; -- nothing
create table made (a int); insert into made values (1); select * from made
create table made (a int); insert into made values (1); select 1 / 0
create table made (a int); commit; insert into made values (1); drop table made
begin; create table made (a int); rollback; select 1
drop table if exists nope; select 1
drop table nope; select 1
insert into e values (1); select 1
insert into e values (1); set work_mem = '1MB'
insert into e values (1); commit; select 1
insert into e values (1); commit
insert into e values (1); show work_mem
insert into e values (1); insert into t values (11, 0)
insert into e values (1); insert into t values (11, 0), (12, 0), (13, 0), (14, 0)
insert into e values (1); update t set v = 7
insert into e values (1); create table made (a int)
begin; insert into e values (1); commit; select 1
begin; insert into e values (1); commit and chain; select 1
insert into e values (2); select 1; select 2
update t set v = v + 1; update t set v = v + 1 where id = 1; select sum(v) from t
update t set v = v + 1; select 1 / 0
update t set v = v + 1; rollback; update t set v = v + 10
update t set v = v + 1; commit; delete from t
delete from t; insert into t values (1, 5), (2, 5), (3, 5), (4, 5); select count(*) from t
truncate t; insert into t values (1, 9); select 1 / 0
truncate t; commit; select count(*) from t
select nope from t; select 1
select 1; select nope from t
insert into u values (11, 5000); select 1
select 1 as a; select 2 as b where false; select 3 as c
values (1), (2); table u
explain (costs off) select 1; select 1
; vacuum u; ;
; lock table t
; savepoint a ;;
""".strip().split("\n")
CONTEXTS = {"outside": None, "in a block": "BEGIN; INSERT INTO t VALUES (99, 0)", "in a failed block": "BEGIN; SELECT 1 / 0"}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("sql", QUERIES)
def test_as_one_postgresql(wires, sql, context):
    compare(wires, ([CONTEXTS[context]] if CONTEXTS[context] else []) + [sql])


FRAGMENTS = [
    "begin", "commit", "rollback", "commit and chain", "rollback and chain", "savepoint a", "release a", "rollback to a", "",
    "insert into t values (%d, 0)", "insert into t values (%d, 0), (%d, 0), (%d, 0), (%d, 0)", "insert into u values (%d, 0)", "insert into t values (1, 0)",
    "insert into e values (1)", "update t set v = v + 1", "select count(*) from t", "select 1 / 0", "selec 1", "set work_mem = '%dMB'", "set local work_mem = '%dMB'",
    "show work_mem", "delete from t where v > 0", "create table if not exists made (a int)", "vacuum u",
]  # fmt: skip


def combined(seed):
    """Two to five fragments, three Queries in a row."""
    r, keys = random.Random(seed), itertools.count(100)
    texts = []
    for _ in range(3):
        parts = [r.choice(FRAGMENTS) for _ in range(r.randint(2, 5))]
        texts.append("; ".join(p % tuple(next(keys) for _ in range(p.count("%d"))) for p in parts))
    return texts


@pytest.mark.parametrize("seed", range(150))
def test_combined_as_one_postgresql(wires, seed):
    compare(wires, combined(seed))


def copying(w, sql, data):
    """Answers every CopyInResponse with the data."""
    w.send(h.query(sql))
    got = []
    while not got or got[-1][0] != "Z":
        got.append(w.receive())
        if got[-1][0] == "G":
            w.send(h.copy_data(data), h.COPY_DONE)
    return told(got)


@pytest.mark.parametrize(
    "sql",
    [
        "copy t from stdin; select 1",
        "select 1; copy t from stdin",
        "copy t from stdin; select 1 / 0",
        "copy u from stdin; commit; select 1 / 0",
        "begin; copy t from stdin; rollback; select count(*) from t",
        "copy t from stdin; copy u from stdin; select count(*) from t",
        "insert into e values (1); copy t from stdin",
        "insert into e values (1); copy u from stdin",
        "copy t from stdin; selec 1",
        "copy (select 1) to stdout; select 2",
        "insert into e values (1); copy (select 1) to stdout",
    ],
)
def test_copy_as_one_postgresql(wires, sql):
    for w in wires:
        prepare(w)
    got, wanted = (copying(w, sql, b"21\t1\n22\t1\n23\t1\n24\t1\n") for w in wires)
    assert got == wanted
    got, wanted = map(content, wires)
    assert got == wanted


def test_a_long_text_is_checked_in_time_that_grows_with_it(wires):
    p, _ = wires
    prepare(p)
    n = 3000
    answer = p.ask(h.query("; ".join("insert into t values (%d, 0)" % (1000 + i) for i in range(n)) + "; selec 1"))
    assert [m[0] for m in answer] == ["E", "Z"] and answer[0][2] == "42601"
    assert ("D", b"4") in p.ask(h.query("SELECT count(*) FROM t"))
