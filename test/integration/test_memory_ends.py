"""Who is ended for memory, what that client hears, and that nobody else is."""
import os
import select
import signal
import time

import pytest

import pgharness as h
from test_memory_large import MB, status
from test_memory_limits import Hoarder, answers, ask, error_of, is_out_of_memory, kinds, mem

TABLES = {"docs": "hash(id)"}
SHARDS = 2
SETTINGS = {"workers": 1, "client_memory_limit": 0, "default_pool_size": 20}

SLOW = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..15 LOOP
        BEGIN PERFORM pg_sleep(0.1); EXCEPTION WHEN query_canceled THEN NULL; END;
    END LOOP;
    RETURN NULL;
END$$"""


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, shards, dbname):
    with proxy.session() as s:
        s.run("CREATE TABLE docs (id int PRIMARY KEY, note text DEFAULT '')")
        for i in range(1, 9):
            s.run("INSERT INTO docs (id) VALUES (%d)" % i)
        s.run("CREATE TABLE alone (id int)")
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            db.run(SLOW)


@pytest.fixture
def slow_commit(shards, dbname):
    """COMMIT of an UPDATE takes 1.5 s, whoever cancels it."""
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            db.run("CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON docs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()")
    yield
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            db.run("DROP TRIGGER slow ON docs")


@pytest.fixture
def limit(proxy):
    """memory_limit, for this test."""

    def set_limit(text):
        with proxy.console() as console:
            console.run("SET memory_limit = '%s'" % text)

    yield set_limit
    set_limit("1GB")
    h.eventually(lambda: mem(proxy)["total"] < 16 * MB)


def note(shards, dbname, key):
    found = []
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            found += db.rows("SELECT note FROM docs WHERE id = %s", key)
    assert len(found) == 1
    return found[0][0]


def busy(shards, dbname, text):
    """Backends that run that."""
    found = []
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            found += db.rows("SELECT pid FROM pg_stat_activity WHERE datname = %s AND state = 'active' AND query ILIKE %s AND pid <> pg_backend_pid()", dbname, text)
    return found


def is_open(wire):
    """Nothing has come that it did not ask for: no FATAL, no end."""
    return not select.select([wire.socket], [], [], 0)[0]


# --- outcomes -------------------------------------------------------------------------------------


def test_a_commit_under_way_is_told(proxy, shards, dbname, slow_commit, limit):
    a = Hoarder(proxy, "c")
    assert a.take(30) == []
    a.wire.ask(h.query("BEGIN"))
    a.wire.ask(h.query("UPDATE docs SET note = 'committed' WHERE id = 1"))
    a.wire.send(h.query("COMMIT"))
    h.eventually(lambda: busy(shards, dbname, "COMMIT%"))
    limit("16MB")
    assert h.shape(a.wire.until_ready())[0] == ("C", "COMMIT")
    # It was too large, and is ended now.
    assert error_of(a.wire.until_closed())["C"] == "53200"
    assert note(shards, dbname, 1) == "committed"


@pytest.mark.parametrize("extended", [False, True])
def test_a_write_without_a_transaction_has_an_unknown_outcome(proxy, shards, dbname, slow_commit, limit, extended):
    sql = "UPDATE docs SET note = 'autocommit %s' WHERE id = 2" % extended
    a = Hoarder(proxy, "w")
    assert a.take(30) == []
    a.wire.send(h.parse(sql) + h.bind() + h.execute() + h.SYNC if extended else h.query(sql))
    h.eventually(lambda: busy(shards, dbname, sql))
    limit("16MB")
    fields = error_of(a.wire.until_closed())
    assert (fields["S"], fields["C"]) == ("FATAL", "08007"), fields
    assert "memory_limit" in fields["D"] and fields["D"].endswith("It is not known whether the statement took effect."), fields
    assert fields["H"]
    h.eventually(lambda: not busy(shards, dbname, sql))
    assert note(shards, dbname, 2) == "autocommit %s" % extended


@pytest.mark.parametrize(
    "setting, transaction, extended",
    [("query_timeout", True, False), ("query_timeout", False, False), ("query_timeout", False, True), ("transaction_timeout", True, False)],
)
def test_a_timeout_tells_that_the_outcome_is_not_known(make_proxy, shards, dbname, slow_commit, setting, transaction, extended):
    impatient = make_proxy(settings={setting: "500ms", "workers": 1})
    text = "%s %s %s" % (setting, transaction, extended)
    sql = "UPDATE docs SET note = '%s' WHERE id = 4" % text
    with impatient.wire() as w:
        if transaction:
            w.ask(h.query("BEGIN"))
            w.ask(h.query(sql))
            w.send(h.query("COMMIT"))
        else:
            w.send(h.parse(sql) + h.bind() + h.execute() + h.SYNC if extended else h.query(sql))
        fields = error_of(w.until_closed())
        assert (fields["S"], fields["C"]) == ("FATAL", "08007") and setting in fields["M"], fields
        assert fields["D"] == "It is not known %s." % ("whether the transaction was committed" if transaction else "whether the statement took effect")
    h.eventually(lambda: note(shards, dbname, 4) == text)


def test_a_timeout_of_a_read_is_what_it_was(make_proxy):
    impatient = make_proxy(settings={"query_timeout": "500ms", "workers": 1})
    with impatient.wire() as w:
        w.send(h.query("SELECT id, pg_sleep(20) FROM docs WHERE id = 3"))
        assert error_of(w.until_closed())["C"] == "57014"


def test_a_read_has_no_outcome(proxy, shards, dbname, limit):
    a = Hoarder(proxy, "r")
    assert a.take(30) == []
    a.wire.send(h.query("SELECT id, pg_sleep(20) FROM docs WHERE id = 3"))
    h.eventually(lambda: busy(shards, dbname, "SELECT id, pg_sleep%"))
    limit("16MB")
    is_out_of_memory(error_of(a.wire.until_closed()), "memory_limit")


# --- nobody else ----------------------------------------------------------------------------------


def test_no_cascade_while_a_shard_is_silent(proxy, shards, dbname, limit):
    """The largest is ended within a transaction; its ROLLBACK is not answered. What it had goes all the same."""
    bystanders = [Hoarder(proxy, "b%d" % i) for i in range(5)]
    for b in bystanders:
        assert b.take(1) == []
    a = Hoarder(proxy, "a")
    assert a.take(40) == []
    a.wire.ask(h.query("BEGIN"))
    a.wire.ask(h.query("SELECT id, 'silent' FROM docs WHERE id = 1"))
    pids = []
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            pids += db.rows("SELECT pid FROM pg_stat_activity WHERE datname = %s AND state = 'idle in transaction' AND query ~ 'silent'", dbname)
    assert len(pids) == 1
    os.kill(pids[0][0], signal.SIGSTOP)
    try:
        limit("32MB")
        is_out_of_memory(error_of(a.wire.until_closed()), "memory_limit")
        h.eventually(lambda: mem(proxy)["total"] < 24 * MB)
        time.sleep(1)  # four looks of the janitor
        assert all(is_open(b.wire) for b in bystanders)
        for b in bystanders:
            b.wire.socket.settimeout(60)
            assert kinds(b.wire.ask(h.bind(name="h0"), h.execute(), h.SYNC)) == ["2", "D", "C", "Z"]
    finally:
        os.kill(pids[0][0], signal.SIGCONT)
    for b in bystanders:
        b.wire.close()


def test_many_small_ones_are_refused_and_none_is_ended(proxy, limit):
    """What is too much is nobody's: ending one of them would not help."""
    wires = [proxy.wire() for _ in range(200)]
    try:
        for i, w in enumerate(wires):
            assert kinds(w.ask(h.parse("SELECT '%d%s'" % (i, "s" * 150_000), "s"), h.SYNC)) == ["1", "Z"]
        limit("16MB")
        h.eventually(lambda: "no client takes much of it" in proxy.tail(100_000))
        time.sleep(1)  # four looks of the janitor
        assert all(is_open(w) for w in wires)
        wires[0].socket.settimeout(30)
        answer = ask(wires[0], h.parse("SELECT '%s'" % ("t" * 300_000), "t"), h.SYNC)
        assert kinds(answer) == ["E", "Z"]
        is_out_of_memory(error_of(answer), "memory_limit")
        answers(wires[0])
    finally:
        for w in wires:
            w.close()


def test_a_shared_text_counts_by_its_holders(proxy):
    text = "SELECT '%s'" % ("shared" * 100_000)
    wires = [proxy.wire() for _ in range(10)]
    with proxy.console() as console:
        for w in wires:
            assert kinds(w.ask(h.parse(text, "s"), h.SYNC)) == ["1", "Z"]
        h.eventually(lambda: mem(proxy)["buffers"] < MB)
        took = sum(int(r["memory"]) for r in console.dicts("SHOW CLIENTS"))
    assert 600_000 < took < 3 * 600_000, took
    for w in wires:
        w.close()


# --- what was not seen ----------------------------------------------------------------------------


def test_notifications_that_are_not_read(make_proxy):
    proxy = make_proxy(settings={"client_memory_limit": "8MB", "workers": 1})
    with proxy.wire() as w, proxy.wire() as bystander:
        w.ask(h.query("LISTEN chan"))
        answers(bystander)
        time.sleep(2.5)  # idle for IDLE_LOOK_US
        before = status(proxy, "VmRSS")
        with proxy.session() as s:
            for i in range(100):
                s.run("SELECT pg_notify('chan', %d || '_' || g || repeat('x', 7900)) FROM generate_series(1, 100) g" % i)
                if "is ended: it takes" in proxy.tail(100_000):
                    break
        h.eventually(lambda: "is ended: it takes" in proxy.tail(100_000))
        if not proxy.has_sanitizer():
            h.eventually(lambda: status(proxy, "VmRSS") < before + 40 * MB)
        h.eventually(lambda: mem(proxy)["buffers"] < MB)
        answers(bystander)


def test_savepoints_keep_variables(make_proxy):
    proxy = make_proxy(settings={"client_memory_limit": "8MB", "workers": 1})
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        made, refused = 0, []
        while made < 200 and not refused:
            w.send(h.query("SET my.x = '%d%s'" % (made, "v" * 200_000)), h.query("SAVEPOINT s"))
            refused = [a for a in (w.until_ready(), w.until_ready()) if "E" in kinds(a)]
            made += 1
        assert 10 < made < 30, made  # what each savepoint keeps, and what shards that join later are told
        is_out_of_memory(error_of(refused[0]), "client_memory_limit")
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
        answers(w)


def test_catalogs_of_a_transaction_count(proxy):
    with proxy.wire() as w, proxy.console() as console:

        def takes():
            return max(int(r["memory"]) for r in console.dicts("SHOW CLIENTS") if r["database"] != "pgunison")

        w.ask(h.query("BEGIN"))
        w.ask(h.query("SELECT * FROM docs WHERE id = 1"))
        h.eventually(lambda: takes() > 0)
        first = takes()
        for _ in range(50):
            w.ask(h.query("SET LOCAL search_path TO public, pg_catalog"))
            w.ask(h.query("SELECT * FROM docs WHERE id = 1"))
            w.ask(h.query("SET LOCAL search_path TO public"))
            w.ask(h.query("SELECT * FROM docs WHERE id = 1"))
        took = h.eventually(lambda: takes() > first + 100 * 500 and takes())
        print(first, took)
        w.ask(h.query("ROLLBACK"))
        h.eventually(lambda: takes() < first + 100 * 500)


# --- others' caches -------------------------------------------------------------------------------


def test_large_values_do_not_empty_caches(make_proxy):
    """What comes and goes by a megabyte is no reason to forget what was read out of texts."""
    proxy = make_proxy(settings={"workers": 1})
    with proxy.wire() as w, proxy.wire() as other:
        for i in range(300):
            other.ask(h.parse("SELECT %d AS nn, note FROM docs WHERE id = 1" % i, "n%d" % i), h.bind(name="n%d" % i), h.execute(), h.SYNC)
        w.ask(h.parse("SELECT length($1)", "big", [25]), h.SYNC)
        before = mem(proxy)["statements"]
        large = h.bind("x" * MB, name="big") + h.execute() + h.SYNC
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert kinds(w.ask(large)) == ["2", "D", "C", "Z"]
        assert mem(proxy)["statements"] > before * 9 // 10


# --- COPY -----------------------------------------------------------------------------------------


def test_data_behind_a_copy_that_failed_is_dropped(make_proxy):
    """Of the extended protocol, on one shard: a server would drop it, too."""
    proxy = make_proxy(settings={"client_memory_limit": "8MB", "workers": 1})
    with proxy.wire() as w:
        w.ask(h.query("SET lock_timeout = '2s'"))
        copy = h.parse("COPY alone FROM STDIN") + h.bind() + h.execute()
        with proxy.session() as locks:
            locks.run("BEGIN")
            locks.run("LOCK TABLE alone")
            # It is refused while the shard has yet to say whether it takes data, and then it does not.
            w.send(copy + h.copy_data(b"1\n" * 8 * MB) + h.COPY_DONE + h.SYNC)
            answer = w.until_ready()
            assert kinds(answer) == ["1", "2", "E", "Z"] and error_of(answer)["C"] == "55P03"
            locks.run("ROLLBACK")
        answers(w)
        # Where the shard takes data it would wait for the rest of it: that ends the session.
        w.send(copy + h.copy_data(b"1\n" * 8 * MB) + h.COPY_DONE + h.SYNC)
        fields = error_of(w.until_closed())
        assert fields["S"] == "FATAL" and is_out_of_memory(fields, "client_memory_limit")
