"""Statements that write on several shards, many at once: they queue, and never wait for each other in a circle; copies of
reference tables stay the same. What PostgreSQL itself finds on one shard (40P01) and what duplicates end in are errors as
on one server; a hang is none."""
import contextlib
import random
import threading
import time

import psycopg2
import pytest

import pgharness as h
from pgharness import eventually

SHARDS = 3
TABLES = {"ref": "reference", "ref2": "reference", "mt": "hash(tenant_id)", "child": "hash(tenant_id)"}
ONE_SERVERS_OWN = {"40P01", "23505", "23503", "40001"}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE ref (id int PRIMARY KEY, w int NOT NULL)")
        s.run("CREATE TABLE ref2 (id int PRIMARY KEY, w int NOT NULL)")
        s.run("CREATE TABLE mt (tenant_id int PRIMARY KEY, g int NOT NULL, v int NOT NULL)")
        s.run("CREATE TABLE child (tenant_id int, id int, r int REFERENCES ref, PRIMARY KEY (tenant_id, id))")


@pytest.fixture(autouse=True)
def filled(proxy, keys):
    with proxy.session() as s:
        for table in ("child", "mt", "ref", "ref2"):
            s.run("DELETE FROM " + table)
        s.run("INSERT INTO ref VALUES " + ", ".join("(%d, 0)" % i for i in range(1, 11)))
        s.run("INSERT INTO ref2 VALUES " + ", ".join("(%d, 0)" % i for i in range(1, 11)))
        s.run("INSERT INTO mt VALUES " + ", ".join("(%d, %d, 0)" % (k, g) for on in keys for g, k in enumerate(on)))


@pytest.fixture(scope="module")
def keys(shards, dbname):
    """Four keys of each shard."""
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT k, hashint4extended(k, 0) & 1023 FROM generate_series(0, 99) k")
    by_shard = [[] for _ in shards]
    for key, bucket in buckets:
        by_shard[shards.shard_of_bucket(bucket)].append(key)
    return [on[:4] for on in by_shard]


@pytest.fixture(scope="module")
def second_proxy(make_proxy):
    """A deadlock through two proxies is one, too."""
    return make_proxy()


def extended(wire, sql):
    answer = wire.ask(h.parse(sql) + h.bind() + h.execute() + h.SYNC)
    return [m[2] for m in answer if m[0] == "E"]


def simple(wire, sql):
    return [m[2] for m in wire.ask(h.query(sql)) if m[0] == "E"]


def together(proxies, texts, times=12, ask=simple, each=None):
    """A client for each text runs it again and again. How often each text succeeded."""
    done, problems = [0] * len(texts), []
    barrier = threading.Barrier(len(texts))

    def client(i):
        try:
            with proxies[i % len(proxies)].wire() as w:
                barrier.wait()
                for n in range(times):
                    sql = texts[i] if isinstance(texts[i], str) else texts[i](n)
                    codes = ask(w, sql)
                    done[i] += not codes
                    if not set(codes) <= ONE_SERVERS_OWN | (each or set()):
                        problems.append((sql, codes))
        except (OSError, h.Closed, threading.BrokenBarrierError) as e:  # a timeout: it hangs
            problems.append((texts[i], repr(e)))

    threads = [threading.Thread(target=client, args=(i,), daemon=True) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems, problems[:5]
    assert not any(thread.is_alive() for thread in threads), "still waiting"
    return done


def copies_agree(shards, dbname, table="ref"):
    first, *others = shards.each(dbname, "SELECT * FROM %s ORDER BY id" % table)
    assert all(rows == first for rows in others), [first] + others
    return first


# --- they queue --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [simple, extended])
@pytest.mark.parametrize("how", ["UPDATE ref SET w = w + 1 WHERE id = 1", "UPDATE ref SET w = w + 1", "UPDATE ref SET w = w + 1 WHERE id = 1 RETURNING w"])
def test_updates_of_reference_tables_queue(proxy, second_proxy, shards, dbname, how, ask):
    done = together([proxy, second_proxy], [how] * 6, ask=ask)
    assert done == [12] * 6  # nothing that one server would not let through
    assert copies_agree(shards, dbname)[0] == (1, 72)


@pytest.mark.parametrize("ask", [simple, extended])
def test_updates_without_a_key_queue(proxy, second_proxy, shards, dbname, ask):
    done = together([proxy, second_proxy], ["UPDATE mt SET v = v + 1"] * 6, ask=ask)
    for rows in shards.each(dbname, "SELECT DISTINCT v FROM mt"):
        assert rows == [(sum(done),)]
    assert sum(done) > 0


def shape(name, keys):
    s0, s1, s2 = keys
    upsert = "INSERT INTO mt VALUES %s ON CONFLICT (tenant_id) DO UPDATE SET v = mt.v + 1"

    def rows(*wanted):
        return ", ".join("(%d, 0, 1)" % k for k in wanted)

    return {
        # Other rows on the first shard, the same ones on the others.
        "apart on the first": ["UPDATE mt SET v = v + 1 WHERE g = %d OR tenant_id IN (%d, %d)" % (g, s1[3], s2[3]) for g in (0, 0, 1, 1)]
        + ["UPDATE mt SET v = v + 1 WHERE v >= 0 AND NOT tenant_id = %d" % s0[i] for i in (0, 1)],
        "upserts": [upsert % rows(s0[i], s1[0], s2[0]) for i in range(3)] + [upsert % rows(s2[0], s1[0], s0[i]) for i in range(3)],
        "upserts on other shards": [upsert % rows(*k) for k in [(s1[0], s2[0]), (s2[0], s1[0]), (s0[0], s2[0]), (s2[0], s0[0]), (s0[0], s1[0]), (s1[0], s0[0])]],
        "updates and upserts": [upsert % rows(s1[0], s2[0]), upsert % rows(s2[0], s1[0])] + ["UPDATE mt SET v = v + 1", "UPDATE mt SET v = v + 1 WHERE g < 3"] * 2,
        "inserts and deletes": ["INSERT INTO mt VALUES %s" % rows(1000, 1001, 1002, 1003, 1004, 1005)] * 3 + ["DELETE FROM mt WHERE g >= 0 AND tenant_id >= 1000"] * 3,
        "one key and all": ["UPDATE mt SET v = v + 1 WHERE tenant_id = %d" % k for k in (s0[0], s1[0], s2[0])] + ["UPDATE mt SET v = v + 1"] * 3,
        "rows are locked": ["SELECT tenant_id FROM mt ORDER BY tenant_id FOR UPDATE", "SELECT tenant_id FROM mt FOR UPDATE"] * 2 + ["UPDATE mt SET v = v + 1"] * 2,
        "foreign keys": ["INSERT INTO child VALUES %s ON CONFLICT DO NOTHING" % ", ".join("(%d, %d, 5)" % (k, n) for k in (s2[0], s1[0], s0[0])) for n in range(3)]
        + ["DELETE FROM ref WHERE id = 5", "INSERT INTO ref VALUES (5, 0)", "UPDATE ref SET id = 50 - id WHERE id IN (5, 45)"],
        "truncate": ["TRUNCATE mt", "TRUNCATE mt, child", "UPDATE mt SET v = v + 1"] + [upsert % rows(s2[0], s1[0])] * 3,
        "definitions": ["CREATE INDEX IF NOT EXISTS mt_v ON mt (v)", "DROP INDEX IF EXISTS mt_v", "ALTER TABLE mt ALTER v SET STATISTICS 50", "UPDATE mt SET v = v + 1"]
        + [upsert % rows(s2[0], s1[0])] * 2,
        "locks": ["BEGIN; LOCK TABLE mt; COMMIT", "BEGIN; LOCK TABLE mt IN SHARE MODE; COMMIT", "UPDATE mt SET v = v + 1"] + [upsert % rows(s2[0], s1[0])] * 3,
        "several tables": ["UPDATE ref SET w = w + 1; UPDATE ref2 SET w = w + 1; UPDATE mt SET v = v + 1"] * 4 + ["UPDATE ref2 SET w = w + 1"] * 2,
        "blocks": ["BEGIN; UPDATE mt SET v = v + 1; COMMIT"] * 2 + ["BEGIN; UPDATE ref SET w = w + 1; COMMIT"] * 2 + ["BEGIN; %s; COMMIT" % (upsert % rows(s2[0], s1[0]))] * 2,
    }[name]


SHAPES = ["apart on the first", "upserts", "upserts on other shards", "updates and upserts", "inserts and deletes", "one key and all", "rows are locked", "foreign keys",
          "truncate", "definitions", "locks", "several tables", "blocks"]  # fmt: skip
ONE_STATEMENT = [s for s in SHAPES if s not in ("locks", "several tables", "blocks")]


@pytest.mark.parametrize("name,ask", [(s, simple) for s in SHAPES] + [(s, extended) for s in ONE_STATEMENT], ids=lambda x: getattr(x, "__name__", x))
def test_nobody_waits_in_a_circle(proxy, second_proxy, shards, dbname, keys, name, ask):
    done = together([proxy, second_proxy], shape(name, keys), ask=ask)
    assert sum(done) >= 12, done
    assert copies_agree(shards, dbname)
    assert eventually(lambda: not shards.prepared())


def test_copies_into_reference_tables_queue(proxy, second_proxy, shards, dbname):
    rows = ["%d\t%d" % (i, i) for i in range(100, 140)]
    outcomes = []

    def client(i):
        order = rows[:]
        random.Random(i).shuffle(order)
        with [proxy, second_proxy][i % 2].session() as s:
            for _ in range(5):
                try:
                    outcomes.append(s.copy_in("COPY ref FROM STDIN", "\n".join(order).encode()))
                    s.run("DELETE FROM ref WHERE id >= 100")
                except psycopg2.Error as e:
                    outcomes.append(e.pgcode)

    threads = [threading.Thread(target=client, args=(i,), daemon=True) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(outcomes) == 30 and set(outcomes) <= ONE_SERVERS_OWN | {40}
    assert 40 in outcomes
    copies_agree(shards, dbname)


# --- copies stay the same ----------------------------------------------------------------------------------


def test_what_a_write_finds_is_the_same_on_every_shard(proxy, second_proxy, shards, dbname):
    """Row locks alone do not see to that: a predicate may find other rows on the first shard than later on the last."""
    texts = [
        lambda n: "UPDATE ref SET w = w + 1 WHERE w %% 3 = %d" % (n % 3),
        lambda n: "UPDATE ref SET w = w * 2 + 1 WHERE w < 1000 AND w %% 2 = %d" % (n % 2),
        lambda n: "UPDATE ref SET w = (SELECT max(w) FROM ref) %% 977 WHERE id = %d" % (1 + n % 10),
        lambda n: "UPDATE ref SET w = (SELECT sum(w) FROM ref2) %% 977 WHERE id = %d" % (1 + n % 10),
        lambda n: "UPDATE ref2 SET w = w + %d WHERE w %% 2 = %d" % (n, n % 2),
        lambda n: "INSERT INTO ref VALUES (%d, %d)" % (100 + n, n),
        lambda n: "DELETE FROM ref WHERE id >= 100 AND w %% 3 = %d" % (n % 3),
        lambda n: "INSERT INTO ref SELECT id + 1000, w FROM ref WHERE w %% 4 = %d AND id < 11 ON CONFLICT (id) DO UPDATE SET w = ref.w + 1" % (n % 4),
    ]
    together([proxy, second_proxy], texts, times=40)
    assert len(copies_agree(shards, dbname)) >= 10
    copies_agree(shards, dbname, "ref2")


# --- errors, cancels, losses between two shards -----------------------------------------------------------


def waits_on(shards, dbname, i):
    with shards[i].session(dbname=dbname) as db:
        return db.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def touched(shards, dbname, i):
    """Transactions of clients that are open there."""
    with shards[i].session(dbname=dbname) as db:
        return db.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'app' AND state <> 'idle'")


@contextlib.contextmanager
def held(shards, dbname, i, sql="UPDATE ref SET w = w WHERE id = 1"):
    """Somebody straight at the shard keeps a row locked."""
    with shards[i].session(dbname=dbname) as db:
        db.run("BEGIN")
        db.run(sql)
        yield db
        db.run("ROLLBACK")


UPDATE = "UPDATE ref SET w = w + 1 WHERE id = 1"
SEND = {"simple": h.query(UPDATE), "extended": h.parse(UPDATE) + h.bind() + h.execute() + h.SYNC}


@pytest.fixture
def seen(shards, dbname):
    """Which shards an UPDATE of mt has reached, whatever became of it: what it drew from a sequence stays drawn."""
    function = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('notes'); RETURN NULL; END $$"
    for server in shards:
        with server.session(dbname=dbname) as db:
            for sql in ("CREATE SEQUENCE notes", "GRANT ALL ON SEQUENCE notes TO app", function, "CREATE TRIGGER note BEFORE UPDATE ON mt EXECUTE FUNCTION note()"):
                db.run(sql)
    yield lambda: [rows[0][0] for rows in shards.each(dbname, "SELECT is_called FROM notes")]
    for server in shards:
        with server.session(dbname=dbname) as db:
            db.run("DROP FUNCTION note() CASCADE")
            db.run("DROP SEQUENCE notes")


@pytest.mark.parametrize("protocol", SEND)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_error_asks_nobody_behind_it(proxy, keys, seen, protocol, where):
    sql = "UPDATE mt SET v = 1 / (CASE WHEN tenant_id = %d THEN 0 ELSE 1 END)" % keys[where][0]
    with proxy.wire() as w:
        answer = w.ask(h.query(sql) if protocol == "simple" else h.parse(sql) + h.bind() + h.execute() + h.SYNC)
        assert [m[2] for m in answer if m[0] == "E"] == ["22012"]
        assert answer[-1] == ("Z", "I")
        assert w.ask(h.query("SELECT 1"))[-1] == ("Z", "I")
    assert seen() == [i <= where for i in range(SHARDS)]


@pytest.mark.parametrize("protocol", SEND)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_cancel_while_it_waits(proxy, shards, dbname, protocol, where):
    with proxy.wire() as w, held(shards, dbname, where):
        w.send(SEND[protocol])
        eventually(lambda: waits_on(shards, dbname, where) == 1)
        w.cancel()
        answer = h.shape(w.until_ready())
        assert [m[2] for m in answer if m[0] == "E"] == ["57014"]
        assert answer[-1] == ("Z", "I")
        assert [touched(shards, dbname, i) for i in range(SHARDS)] == [0, 0, 0]
    with proxy.wire() as w:
        assert ("C", "UPDATE 1") in w.ask(SEND[protocol])
    assert copies_agree(shards, dbname)[0] == (1, 1)


@pytest.mark.parametrize("protocol", SEND)
@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("what", ["the one at hand", "one before", "one behind"])
def test_a_shard_is_lost_while_it_waits(proxy, shards, dbname, protocol, where, what):
    lost = {"the one at hand": where, "one before": where - 1, "one behind": where + 1}[what]
    if not 0 <= lost < SHARDS:
        return
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("UPDATE ref2 SET w = w + 1"))  # each shard takes part
        with held(shards, dbname, where):
            w.send(SEND[protocol])
            eventually(lambda: waits_on(shards, dbname, where) == 1)
            with shards[lost].session(dbname=dbname) as db:
                db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'app' AND state <> 'idle'")
            eventually(lambda: touched(shards, dbname, lost) == 0)
        answer = h.shape(w.until_ready())
        codes = [m[2] for m in answer if m[0] == "E"]
        if what == "one before":  # it had answered: the transaction fails at its end
            assert codes in (["08006"], []), answer
        else:
            assert codes in (["08006"], ["57P01"]), answer  # its own last words, if it had any
        assert ("C", "COMMIT") not in w.ask(h.query("COMMIT"))
    assert copies_agree(shards, dbname)[0] == (1, 0)
    copies_agree(shards, dbname, "ref2")


@pytest.mark.parametrize("protocol", SEND)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_client_that_leaves_while_it_waits(proxy, shards, dbname, protocol, where):
    with held(shards, dbname, where):
        w = proxy.wire()
        w.send(SEND[protocol])
        eventually(lambda: waits_on(shards, dbname, where) == 1)
        w.close()
        eventually(lambda: waits_on(shards, dbname, where) == 0)
    with proxy.wire() as w:
        assert ("C", "UPDATE 1") in w.ask(SEND[protocol])
    assert copies_agree(shards, dbname)[0] == (1, 1)


def test_sorted_locks_of_many_rows_do_not_block(proxy):
    """A source of sorted rows that is full waits for the others: they must have been asked."""
    with proxy.wire() as w:
        for at in range(0, 6000, 1000):
            w.ask(h.query("INSERT INTO mt VALUES " + ", ".join("(%d, 0, 0)" % k for k in range(10000 + at, 11000 + at))))
        answer = w.ask(h.query("SELECT tenant_id, repeat('x', 1000) FROM mt WHERE tenant_id >= 10000 ORDER BY 1 FOR UPDATE"))
        assert [int(m[1]) for m in answer if m[0] == "D"] == list(range(10000, 16000))
