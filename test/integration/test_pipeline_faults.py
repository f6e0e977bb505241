"""Pipelines over shards that work at the same time, and what comes between: errors, losses, cancels, clients that go or do not
read. Locks on the shards make reads last as long as a test wants."""
import contextlib
import os
import signal
import threading

import pytest

import pgharness as h
from pgharness import eventually

TABLES = {"t": "hash(id)"}
SETTINGS = {"pipeline_ahead": "on"}
SHARDS = 2
READ = "SELECT id, length(t) FROM t WHERE id = $1"
WIDE = "SELECT id, t FROM t WHERE id = $1 AND $2::text <> ''"
UPDATE = "UPDATE t SET v = v + 1 WHERE id = $1"
FAILS = "SELECT 1 / (id - id) FROM t WHERE id = $1"
WIDE_BYTES, WIDE_READS = 20000, 2000


@pytest.fixture(scope="module")
def ids(proxy, shards, dbname):
    """A key of each shard."""
    with proxy.session() as s:
        s.run("CREATE TABLE t (id int PRIMARY KEY, v int, t text)")
        for i in range(20):
            s.run("INSERT INTO t VALUES (%s, 0, repeat('x', %s))", i, WIDE_BYTES)
    return [rows[0][0] for rows in shards.each(dbname, "SELECT min(id) FROM t")]


def run(sql, *values):
    return h.parse(sql) + h.bind(*values) + h.execute()


def ready(w):
    return h.shape(w.until_ready())


def told(answers):
    """Keys of the rows, codes of the errors, the state at the end; in order."""
    return [int(m[1]) if m[0] == "D" else m[2] if m[0] == "E" else m[1] for m in answers if m[0] in "DEZ"]


@pytest.fixture
def locked(shards, dbname):
    """locked(shard) keeps everybody from reading there, until it is called back."""
    with contextlib.ExitStack() as stack:

        def lock(i):
            s = stack.enter_context(shards[i].session(dbname=dbname))
            s.run("BEGIN")
            s.run("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            return lambda: s.run("ROLLBACK")

        yield lock


@pytest.fixture
def waiting(shards, dbname):
    def count(i, event="Lock"):
        with shards[i].session(dbname="postgres") as db:
            return db.one("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND %s IN (wait_event_type, wait_event)", dbname, event)

    return count


def both_wait(waiting):
    return lambda: waiting(0) == 1 and waiting(1) == 1


def nobody_waits(waiting):
    return lambda: waiting(0) == 0 and waiting(1) == 0


def terminate(shard, dbname, sql):
    """The session that runs sql, or has just done so."""
    with shard.session(dbname="postgres") as db:
        done = db.rows("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND query = %s", dbname, sql)
    return done == [(True,)]


@pytest.mark.parametrize("block", [False, True])
def test_shards_read_at_the_same_time_and_answer_in_order(proxy, ids, locked, waiting, block):
    a, b = ids
    with proxy.wire() as w:
        if block:
            w.ask(h.query("BEGIN"))
        unlock = [locked(0), locked(1)]
        w.send(run(READ, a), run(READ, b), run(READ, a), run(READ, b), run(READ, b), run(READ, a), h.SYNC)
        eventually(both_wait(waiting))
        unlock[1]()
        eventually(lambda: waiting(1) == 0)
        unlock[0]()
        assert told(ready(w)) == [a, b, a, b, b, a, "T" if block else "I"]


def test_flush_brings_the_answers_of_all_shards(proxy, ids):
    a, b = ids
    with proxy.wire() as w:
        for wanted in ([a, b, a], [b, a]):
            w.send(*(run(READ, key) for key in wanted), h.FLUSH)
            got = []
            for _ in wanted:
                got += h.shape(w.until("C"))
            assert told(got) == wanted
        assert told(w.ask(h.SYNC)) == ["I"]


def test_nothing_runs_ahead_of_a_write(proxy, ids, locked, shards, dbname, waiting):
    """Who takes locks in the order of keys takes them so: while the first is waited for, the second is free."""
    a, b = ids
    with proxy.wire() as w:
        unlock = locked(0)
        w.send(run(UPDATE, a), run(UPDATE, b), run(READ, b), h.SYNC)
        eventually(lambda: waiting(0) == 1)
        with shards[1].session(dbname=dbname) as db:
            db.run("SET lock_timeout = '5s'")
            db.run("UPDATE t SET v = v WHERE id = %s", b)
        unlock()
        assert told(ready(w)) == [b, "I"]


def test_a_write_that_was_bound_long_ago_does_not_run_ahead(proxy, ids, locked, shards, dbname, waiting):
    a, b = ids
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        assert told(w.ask(run(READ, a), h.parse(UPDATE), h.bind(b, portal="w"), h.SYNC)) == [a, "T"]
        with shards[0].session(dbname=dbname) as db:
            pid = db.one("SELECT pid FROM pg_stat_activity WHERE datname = %s AND state = 'idle in transaction'", dbname)
            os.kill(pid, signal.SIGSTOP)
            try:
                w.send(run(READ, a), h.execute("w"), run(READ, a), h.SYNC)
                with proxy.wire() as other:  # behind what was sent before it
                    other.ask(run(READ, b), h.SYNC)
                with shards[1].session(dbname=dbname) as free:
                    free.run("SET lock_timeout = '5s'")
                    free.run("UPDATE t SET v = v WHERE id = %s", b)
            finally:
                os.kill(pid, signal.SIGCONT)
        assert told(ready(w)) == [a, a, "T"]
        assert told(w.ask(h.query("ROLLBACK"))) == ["I"]


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("sync", [False, True])
def test_a_shard_lost_before_its_turn_is_told_in_its_turn(proxy, ids, locked, waiting, shards, dbname, block, sync):
    a, b = ids
    with proxy.wire() as w:
        if block:
            w.ask(h.query("BEGIN"))
        unlock = locked(0), locked(1)
        mine = READ + (" -- lost %s %s" % (block, sync))
        w.send(run(READ, a), run(mine, b), run(READ, a), h.SYNC if sync else h.FLUSH)
        eventually(both_wait(waiting))
        assert terminate(shards[1], dbname, mine)
        unlock[0]()
        if not sync:
            w.send(h.SYNC)
        got = told(ready(w))
        assert got[0] == a and got[1] in ("08006", "57P01") and got[2:] == ["E" if block else "I"]
        unlock[1]()
        if block:
            w.ask(h.query("ROLLBACK"))
        assert told(w.ask(run(READ, b), run(READ, a), h.SYNC)) == [b, a, "I"]


@pytest.mark.parametrize("block", [False, True])
def test_the_shard_whose_turn_it_is_is_lost(proxy, ids, locked, waiting, shards, dbname, block):
    a, b = ids
    with proxy.wire() as w:
        if block:
            w.ask(h.query("BEGIN"))
        unlock = locked(0)
        mine = READ + (" -- turn %s" % block)
        w.send(run(mine, a), run(READ, b), run(READ, a), run(READ, b), h.SYNC)
        eventually(lambda: waiting(0) == 1)
        assert terminate(shards[0], dbname, mine)
        unlock()
        got = told(ready(w))
        assert got in (["57P01", "E" if block else "I"], ["08006", "E" if block else "I"])
        if block:
            w.ask(h.query("ROLLBACK"))
        assert told(w.ask(run(READ, b), run(READ, a), h.SYNC)) == [b, a, "I"]


def test_both_shards_are_lost(proxy, ids, locked, waiting, shards, dbname):
    a, b = ids
    with proxy.wire() as w:
        unlock = locked(0), locked(1)
        mine = READ + " -- both"
        w.send(run(mine, a), run(mine, b), run(mine, a), run(mine, b), h.SYNC)
        eventually(both_wait(waiting))
        assert terminate(shards[1], dbname, mine) and terminate(shards[0], dbname, mine)
        unlock[0](), unlock[1]()
        got = told(ready(w))
        assert len(got) == 2 and got[1] == "I"
        assert told(w.ask(run(READ, b), run(READ, a), h.SYNC)) == [b, a, "I"]


def test_what_was_prepared_behind_an_error_is_not_known(proxy, ids, locked, waiting):
    a, b = ids
    with proxy.wire() as w:
        assert told(w.ask(h.parse(READ, "old"), h.SYNC)) == ["I"]
        unlock = locked(0)
        w.send(run(FAILS, a), h.parse(READ, "new"), h.bind(b, name="new"), h.execute())
        w.send(h.bind(b, name="old"), h.execute(), h.parse(READ + " -- broken", "broken"), h.bind("x", name="broken"), h.execute(), h.SYNC)
        eventually(lambda: waiting(0) == 1)
        unlock()
        assert told(ready(w)) == ["22012", "I"]
        for name in ("new", "broken"):
            assert told(w.ask(h.bind(b, name=name), h.execute(), h.SYNC)) == ["26000", "I"]
        for key in ids:
            assert told(w.ask(h.bind(key, name="old"), h.execute(), h.SYNC)) == [key, "I"]
        for name, sql in (("new", READ), ("broken", READ + " -- broken")):
            for key in ids:
                assert told(w.ask(h.parse(sql, name), h.bind(key, name=name), h.execute(), h.close("S", name), h.SYNC)) == [key, "I"]


@pytest.mark.parametrize("end", ["fails", "succeeds"])
def test_reads_then_writes_are_one_transaction(proxy, ids, end):
    a, b = ids
    with proxy.wire() as w, proxy.session() as s:
        before = s.rows("SELECT id, v FROM t ORDER BY id")
        messages = [run(READ, a), run(READ, b), run(UPDATE, b), run(READ, b), run(UPDATE, a)]
        if end == "fails":
            assert told(w.ask(*messages, run(FAILS, b), h.SYNC)) == [a, b, b, "22012", "I"]
            assert s.rows("SELECT id, v FROM t ORDER BY id") == before
        else:
            assert told(w.ask(*messages, h.SYNC)) == [a, b, b, "I"]
            assert s.rows("SELECT id, v FROM t ORDER BY id") == [(i, v + 1 if i in ids else v) for i, v in before]
            (row,) = [m for m in w.ask(h.query("SHOW pgunison.last_commit")) if m[0] == "D"]
            assert row[1].startswith(b"two-phase")


def test_a_write_bound_before_the_reads_is_part_of_the_transaction(proxy, ids):
    a, b = ids
    with proxy.wire() as w, proxy.session() as s:
        before = s.rows("SELECT id, v FROM t ORDER BY id")
        bound = [h.parse(UPDATE), h.bind(b, portal="w"), h.parse(READ), h.bind(a, portal="r"), h.parse(FAILS), h.bind(a, portal="f")]
        assert told(w.ask(*bound, h.execute("r"), h.execute("w"), h.execute("f"), h.SYNC)) == [a, "22012", "I"]
        assert s.rows("SELECT id, v FROM t ORDER BY id") == before


def test_a_cancel_hits_all_that_run(proxy, ids, locked, waiting):
    a, b = ids
    with proxy.wire() as w:
        unlock = locked(0), locked(1)
        w.send(run(READ, a), run(READ, b), run(READ, a), h.SYNC)
        eventually(both_wait(waiting))
        w.cancel()
        assert told(ready(w)) == ["57014", "I"]
        eventually(nobody_waits(waiting))
        unlock[0](), unlock[1]()
        for _ in range(3):
            assert told(w.ask(run(READ, b), run(READ, a), run(READ, b), h.SYNC)) == [b, a, b, "I"]


def test_a_client_that_goes_leaves_nothing_running(proxy, ids, locked, waiting):
    a, b = ids
    unlock = locked(0), locked(1)
    with proxy.wire() as w:
        w.send(run(READ, a), run(READ, b), run(READ, a), h.SYNC)
        eventually(both_wait(waiting))
    eventually(nobody_waits(waiting))
    unlock[0](), unlock[1]()


def test_query_timeout_ends_all_that_run(make_proxy, ids, locked, waiting):
    a, b = ids
    impatient = make_proxy(settings={"query_timeout": "1s"})
    unlock = locked(0), locked(1)
    with impatient.wire() as w:
        w.send(run(READ, a), run(READ, b), run(READ, a), h.SYNC)
        eventually(both_wait(waiting))
        assert told(h.shape(w.until_closed())) == ["57014"]
    eventually(nobody_waits(waiting))
    unlock[0](), unlock[1]()


def peak_kb(proxy):
    with open("/proc/%d/status" % proxy.process.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def test_answers_before_their_turn_stay_on_their_shard(proxy, ids, locked, waiting):
    """40 MB of them, while the shard before has not answered."""
    a, b = ids
    with proxy.wire() as w:
        assert told(w.ask(run(WIDE, b, "x"), h.SYNC)) == [b, "I"]  # only what has a plan already runs ahead
        before = peak_kb(proxy)
        unlock = locked(0)
        w.send(run(READ, a), *(run(WIDE, b, "x") for _ in range(WIDE_READS)), run(READ, a), h.SYNC)
        eventually(lambda: waiting(1, "ClientWrite") == 1)
        unlock()
        assert told(ready(w)) == [a] + [b] * WIDE_READS + [a, "I"]
        assert peak_kb(proxy) - before < 12000


def test_a_pipeline_without_flush_that_fills_all_buffers_goes_on(proxy, ids):
    """The first shard keeps its answer, which nobody asked for; the second can neither answer nor read on."""
    a, b = ids
    padding = "x" * WIDE_BYTES
    with proxy.wire() as w:
        messages = b"".join([run(READ, a)] + [run(WIDE, b, padding)] * WIDE_READS + [run(READ, a), h.SYNC])
        sender = threading.Thread(target=w.raw, args=(messages,))
        sender.start()
        assert told(ready(w)) == [a] + [b] * WIDE_READS + [a, "I"]
        sender.join()


def test_one_snapshot_over_shards_is_refused(proxy, ids):
    a, b = ids
    with proxy.wire() as w:
        w.ask(h.query("BEGIN ISOLATION LEVEL REPEATABLE READ"))
        assert told(w.ask(run(READ, a), h.SYNC)) == [a, "T"]
        w.ask(h.query("COMMIT"))
        assert told(w.ask(run(READ, a), run(READ, b), h.SYNC)) == [a, b, "I"]
        w.ask(h.query("SET default_transaction_isolation = 'repeatable read'"))
        assert told(w.ask(run(READ, a), run(READ, b), run(READ, a), h.SYNC)) == [a, "0A000", "I"]
        assert told(w.ask(run(READ, b), run(READ, b), h.SYNC)) == [b, b, "I"]


@pytest.fixture
def fresh(make_proxy, ids):
    """Has a connection to the first shard alone."""
    one = make_proxy(settings={"workers": 1})
    with one.wire() as w:
        assert told(w.ask(run(READ, ids[0]), h.SYNC)) == [ids[0], "I"]
    return one


def test_a_shard_that_cannot_be_had_is_told_in_its_turn(fresh, ids, shards, dbname):
    a, b = ids
    with fresh.wire() as w, shards[1].session(dbname="postgres") as admin:
        admin.run("ALTER DATABASE %s CONNECTION LIMIT 0" % dbname)
        try:
            got = told(w.ask(run(READ, a), run(READ, a), run(READ, b), run(READ, a), h.SYNC))
        finally:
            admin.run("ALTER DATABASE %s CONNECTION LIMIT -1" % dbname)
        assert got[:2] == [a, a] and got[2] == "53300" and got[3:] == ["I"]
        wanted = [a, b, a, "I"]
        eventually(lambda: told(w.ask(run(READ, a), run(READ, b), run(READ, a), h.SYNC)) == wanted)


def test_a_cancel_while_a_server_is_waited_for_hits_what_runs(fresh, ids, shards, locked, waiting):
    a, b = ids
    with fresh.wire() as w:
        unlock = locked(0)
        os.kill(shards[1].process.pid, signal.SIGSTOP)
        try:
            w.send(run(READ, a), run(READ, b), run(READ, a), h.SYNC)
            eventually(lambda: waiting(0) == 1)
            w.cancel()
            assert told(ready(w)) == ["57014", "I"]
            eventually(lambda: waiting(0) == 0)
        finally:
            os.kill(shards[1].process.pid, signal.SIGCONT)
        unlock()
        assert told(w.ask(run(READ, b), run(READ, a), h.SYNC)) == [b, a, "I"]


@pytest.mark.parametrize("ahead", [False, True], ids=["in order", "ahead"])
def test_a_later_read_sees_what_was_there_when_the_one_before_was_answered(proxy, make_proxy, shards, dbname, ids, locked, waiting, ahead):
    """Unless pipeline_ahead is on, which says that it need not."""
    asked = proxy if ahead else make_proxy(settings={"pipeline_ahead": "off"})
    value = "SELECT v FROM t WHERE id = $1"
    with proxy.session() as s, asked.wire() as w, shards[1].session(dbname=dbname) as db:
        s.run("UPDATE t SET v = 0 WHERE id IN (%s, %s)", *ids)
        unlock = locked(0)
        w.send(run(value, ids[0]), run(value, ids[1]), h.SYNC)
        eventually(lambda: waiting(0) == 1)
        db.run("UPDATE t SET v = 7 WHERE id = %s", ids[1])
        unlock()
        seen = told(ready(w))
        assert seen[:1] + seen[2:] == [0, "I"]
        assert seen[1] == 7 or ahead
