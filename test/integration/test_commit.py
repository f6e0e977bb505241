"""COMMIT over several shards: two-phase when more than one wrote, nothing left behind, nothing paid otherwise."""
import psycopg2
import pytest

import pgharness as h
from pgharness import eventually

TABLES = {"items": "hash(id)", "parents": "hash(id)"}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
        s.run("CREATE TABLE parents (id int PRIMARY KEY, v int)")
        s.run("INSERT INTO items VALUES " + ",".join("(%d, 0)" % i for i in range(40)))


@pytest.fixture(scope="module")
def ids(shards, dbname):
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT g, hashint4extended(g, 0) & 1023 FROM generate_series(0, 39) g")
    by_shard = {}
    for key, bucket in buckets:
        by_shard.setdefault(shards.shard_of_bucket(bucket), key)
    return [by_shard[i] for i in range(len(shards))]


def counters(proxy):
    with proxy.console() as c:
        (row,) = c.dicts("SHOW TWO_PHASE")
        return {name.replace("-", "_"): int(value) for name, value in row.items() if value is not None and str(value).isdigit()}


def change(proxy, before):
    after = counters(proxy)
    return {name: after[name] - before[name] for name in after if name in ("one_phase", "two_phase") and after[name] != before[name]}


def decisions(shards, dbname):
    found = []
    for server in shards:
        with server.session(dbname=dbname) as db:
            if db.one("SELECT to_regclass('pgunison.decision') IS NOT NULL"):
                found += db.rows("SELECT txid, outcome::text, shards FROM pgunison.decision")
    return found


def test_one_writer_commits_in_one_phase(proxy, ids):
    before = counters(proxy)
    with proxy.session() as s:
        s.run("BEGIN")
        s.run("UPDATE items SET v = v + 1 WHERE id = %s", ids[0])
        s.rows("SELECT sum(v) FROM items")  # reads everywhere
        s.run("COMMIT")
        assert s.one("SHOW pgunison.last_commit") == "one-phase"
        s.run("UPDATE items SET v = v + 1 WHERE id = %s", ids[1])
    assert "two_phase" not in change(proxy, before)


def test_readers_need_no_two_phases(proxy, ids):
    before = counters(proxy)
    with proxy.session() as s:
        s.run("BEGIN")
        s.rows("SELECT sum(v) FROM items")
        s.run("COMMIT")
        s.rows("SELECT sum(v) FROM items")
    assert "two_phase" not in change(proxy, before)


def test_two_writers_commit_in_two_phases(proxy, shards, dbname, ids):
    before = counters(proxy)
    with proxy.session() as s:
        s.run("BEGIN")
        s.run("UPDATE items SET v = 100 WHERE id = %s", ids[0])
        s.run("UPDATE items SET v = 100 WHERE id = %s", ids[3])
        txid = s.one("SHOW pgunison.txid")
        assert set(s.one("SHOW pgunison.shards").split()) >= {"s0", "s3"}
        s.run("COMMIT")
        last = s.one("SHOW pgunison.last_commit")
        assert last.startswith("two-phase "), last
        assert txid is not None
        assert s.one("SELECT count(*) FROM items WHERE v = 100") == 2
    assert change(proxy, before)["two_phase"] == 1
    assert shards.prepared() == []
    with proxy.console() as c:
        # Unknown: the decision has been collected already.
        shown = {r["outcome"] for r in c.dicts("SHOW TRANSACTION %s" % last.split()[1])}
        assert shown in ({"committed"}, {"unknown"}), shown


def test_autocommit_over_shards_is_two_phase_too(proxy, shards):
    before = counters(proxy)
    with proxy.session() as s:
        assert s.run("UPDATE items SET v = v + 1") == "UPDATE 40"
        assert s.one("SHOW pgunison.last_commit").startswith("two-phase ")
    assert change(proxy, before)["two_phase"] == 1
    assert shards.prepared() == []


def test_decision_rows_are_written_and_then_cleared_away(proxy, shards, dbname):
    with proxy.session() as s:
        s.run("UPDATE items SET v = v + 1")
        txid = s.one("SHOW pgunison.last_commit").split()[1]
    for found, outcome, _ in decisions(shards, dbname):
        assert outcome == "c"
        assert found
    eventually(lambda: not [d for d in decisions(shards, dbname) if d[0] == txid], 60)


def test_deciders_are_spread(proxy, shards, dbname, ids):
    """Rows that wait to be collected are not all on one shard."""
    seen = set()
    with proxy.session() as s:
        for _ in range(24):
            s.run("UPDATE items SET v = v + 1")
            for i, server in enumerate(shards):
                with server.session(dbname=dbname) as db:
                    if db.one("SELECT count(*) FROM pgunison.decision"):
                        seen.add(i)
    assert len(seen) > 1


def test_a_participant_that_cannot_prepare_rolls_all_back(proxy, shards, dbname, ids):
    """A deferred constraint fails at PREPARE or at the decider's COMMIT: either way nothing is kept."""
    with proxy.session() as s:
        s.run("INSERT INTO parents VALUES " + ",".join("(%d, 1)" % i for i in range(40)))
        s.run("UPDATE items SET v = 0")
    for server in shards:
        with server.session(dbname=dbname, user="app") as db:
            db.run("ALTER TABLE items ADD CONSTRAINT v_is_known FOREIGN KEY (v) REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED NOT VALID")
    try:
        for bad in ids:
            with proxy.session() as s:
                s.run("BEGIN")
                for i in ids:
                    s.run("UPDATE items SET v = %s WHERE id = %s", 12345 if i == bad else i, i)
                e = s.fails("COMMIT")
                assert e.pgcode == "23503", e
                assert s.one("SELECT count(*) FROM items WHERE v <> 0") == 0
                assert s.connection.info.transaction_status == 0
        assert shards.prepared() == []
    finally:
        for server in shards:
            with server.session(dbname=dbname, user="app") as db:
                db.run("ALTER TABLE items DROP CONSTRAINT v_is_known")


def test_commit_of_a_failed_transaction_prepares_nothing(proxy, shards, ids):
    before = counters(proxy)
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        for i in ids:
            w.ask(h.query("UPDATE items SET v = 7 WHERE id = %d" % i))
        w.ask(h.query("SELECT 1 / 0"))
        assert w.ask(h.query("COMMIT")) == [("C", "ROLLBACK"), ("Z", "I")]
    assert "two_phase" not in change(proxy, before)
    assert shards.prepared() == []


def test_two_phase_commit_can_be_forbidden(make_proxy, ids):
    strict = make_proxy(settings={"two_phase_commit": "off"})
    with strict.session() as s:
        s.run("BEGIN")
        s.run("UPDATE items SET v = 50 WHERE id = %s", ids[0])
        try:
            s.run("UPDATE items SET v = 50 WHERE id = %s", ids[1])
            e = s.fails("COMMIT")
        except psycopg2.Error as refused:  # at the statement is as good
            e = refused
        assert e.pgcode == "0A000" and e.diag.message_hint
        s.run("ROLLBACK")
        assert s.one("SELECT count(*) FROM items WHERE v = 50") == 0
        s.run("UPDATE items SET v = 51 WHERE id = %s", ids[0])


def test_answered_when_decided(make_proxy, shards, ids):
    quick = make_proxy(settings={"commit_ack": "decided"})
    with quick.session() as s:
        for n in range(1, 30):
            s.run("BEGIN")
            for i in ids:
                s.run("UPDATE items SET v = %s WHERE id = %s", n * 1000, i)
            s.run("COMMIT")
            # The same client sees what it has committed.
            assert s.rows("SELECT DISTINCT v FROM items WHERE id = %s", ids[n % 4]) == [(n * 1000,)]
            assert s.one("SELECT count(*) FROM items WHERE v = %s", n * 1000) == 4
    eventually(lambda: shards.prepared() == [])


def test_prepared_transactions_of_others_are_left_alone(proxy, shards, dbname):
    """A proxy resolves what is its own cluster's, and nothing else."""
    with shards[1].session(dbname=dbname, user="app") as db:
        for gid in ("mine", "pgunison/other/s0/0123/s1", "pgunison/main/nonsense"):
            db.run("BEGIN")
            db.run("INSERT INTO items VALUES (%s, 0)" % (9000 + len(gid)))
            db.run("PREPARE TRANSACTION '%s'" % gid)
        try:
            with proxy.console() as c:
                c.run("RESOLVE")
            left = {gid for (gid,) in db.rows("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")}
            assert left == {"mine", "pgunison/other/s0/0123/s1", "pgunison/main/nonsense"}
        finally:
            for gid in ("mine", "pgunison/other/s0/0123/s1", "pgunison/main/nonsense"):
                db.run("ROLLBACK PREPARED '%s'" % gid)


def test_a_shard_without_prepared_transactions_says_what_to_set(workspace, make_proxy, dbname):
    """max_prepared_transactions = 0, PostgreSQL's default."""
    bare = h.Cluster(workspace, 2, max_prepared_transactions="0")
    bare.make_database(dbname)
    proxy = h.Proxy(workspace, bare, dbname, tables=TABLES)
    try:
        eventually(lambda: "max_prepared_transactions" in proxy.tail(500))
        with proxy.session() as s:
            s.run("CREATE TABLE IF NOT EXISTS notes (id int)")
            e = s.fails("CREATE TABLE items (id int PRIMARY KEY, v int)")
            assert "max_prepared_transactions" in str(e) or e.pgcode == "55000", e
    finally:
        proxy.stop()
        for server in bare:
            server.stop()
