"""Routing by hand passes neither a key nor a refusal by; two-phase commands are the proxy's own."""
import pytest

import pgharness as h

TABLES = {"a": "hash(id)", "ref": "reference", "b": "hash(id)"}
SHARDS = 3

TWO_PHASE = ["PREPARE TRANSACTION 'mine'", "COMMIT PREPARED '%s'", "ROLLBACK PREPARED '%s'"]


@pytest.fixture(scope="module", autouse=True)
def tables(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE a (id bigint PRIMARY KEY, v int)")
        s.run("CREATE TABLE b (id bigint PRIMARY KEY, v int)")
        s.run("CREATE TABLE ref (id int PRIMARY KEY, v int)")


@pytest.fixture(scope="module")
def keys(shards, dbname):
    """A key of each shard."""
    with shards[0].session(dbname=dbname) as db:
        rows = db.rows("SELECT g, hashint8extended(g, 0) & 1023 FROM generate_series(5000000, 5000200) g")
    return [next(g for g, bucket in rows if shards.shard_of_bucket(bucket) == i) for i in range(SHARDS)]


def failed(answer):
    return [m[2] for m in answer if m[0] == "E"]


def hinted(how, shard):
    """(statements before, prefix) of each way to say a shard."""
    return {
        "comment": ([], "/* pgunison: shard=%s */ " % shard),
        "set": (["SET pgunison.shard = '%s'" % shard], ""),
        "local": (["BEGIN", "SET LOCAL pgunison.shard = '%s'" % shard], ""),
    }[how]


@pytest.mark.parametrize("how", ["comment", "set", "local"])
def test_a_row_is_never_put_where_its_key_is_not(proxy, shards, dbname, keys, how):
    for i, key in enumerate(keys):
        before, prefix = hinted(how, "s%d" % ((i + 1) % SHARDS))
        for sql in (
            "INSERT INTO a VALUES (%d, 1)" % key,
            "INSERT INTO a VALUES (%d, 1), (%d, 1)" % (keys[0], keys[1]),
            "UPDATE a SET v = 1 WHERE id = %d" % key,
            "DELETE FROM a WHERE id = %d" % key,
            "INSERT INTO a SELECT %d, 1" % key,
            "INSERT INTO a SELECT id + 1, v FROM b",
            "UPDATE a SET id = %d WHERE id = %d" % (keys[(i + 1) % SHARDS], key),
            "MERGE INTO a USING ref ON a.id = ref.id WHEN NOT MATCHED THEN INSERT VALUES (%d, 1)" % key,
            "INSERT INTO ref VALUES (1, 1)",
            "TRUNCATE a",
            "ALTER TABLE a ADD COLUMN w int",
        ):
            for extended in (False, True):
                with proxy.wire() as w:
                    for sql_before in before:
                        assert not failed(w.ask(h.query(sql_before)))
                    if extended:
                        answer = w.ask(h.parse(prefix + sql), h.bind(), h.execute(), h.SYNC)
                    else:
                        answer = w.ask(h.query(prefix + sql))
                    assert failed(answer) == ["0A000"], (sql, answer)
        with proxy.session() as s:
            for sql_before in before:
                s.run(sql_before)
            error = s.fails(prefix + "INSERT INTO a VALUES (%d, 1)" % key)
            assert '"s%d"' % i in str(error) and error.diag.message_hint
            if how == "local":
                s.run("ROLLBACK")
                s.run("BEGIN")
                s.run("SET LOCAL pgunison.shard = 's%d'" % ((i + 1) % SHARDS))
            with pytest.raises(Exception, match="routing"):
                s.copy_in(prefix + "COPY a FROM STDIN", b"%d\t1\n" % key)
    assert shards.each(dbname, "SELECT count(*) FROM a") == [[(0,)]] * SHARDS


def test_parameters_are_held_to_the_hint(proxy, shards, dbname, keys):
    with proxy.wire() as w:
        w.ask(h.query("SET pgunison.shard = 's1'"))
        assert not failed(w.ask(h.parse("INSERT INTO a VALUES ($1, 7)", "i", (20,)), h.SYNC))
        for i, key in enumerate(keys):
            answer = w.ask(h.bind(key, name="i"), h.execute(), h.SYNC)
            assert failed(answer) == ([] if i == 1 else ["0A000"])
        w.ask(h.query("SET pgunison.shard = 's2'")) # the same statement under another hint
        assert failed(w.ask(h.bind(keys[1], name="i"), h.execute(), h.SYNC)) == ["0A000"]
        assert not failed(w.ask(h.bind(keys[2], name="i"), h.execute(), h.SYNC))
        w.ask(h.query("RESET pgunison.shard"))
        assert not failed(w.ask(h.bind(keys[0], name="i"), h.execute(), h.SYNC))
    assert shards.each(dbname, "SELECT id FROM a") == [[(key,)] for key in keys]
    with proxy.session() as s:
        for i in range(SHARDS): # what is rightly done by hand
            assert s.one("/* pgunison: shard=s%d */ SELECT count(*) FROM a" % i) == 1
            assert s.run("/* pgunison: key=%d */ UPDATE a SET v = 8 WHERE id = %d" % (keys[i], keys[i])) == "UPDATE 1"
        assert s.run("/* pgunison: shard=s1 */ UPDATE a SET v = 9") == "UPDATE 1"
        assert s.rows("SELECT id, v FROM a ORDER BY id") == sorted((key, 9 if i == 1 else 8) for i, key in enumerate(keys))
        s.run("DELETE FROM a")


@pytest.mark.parametrize("sql", TWO_PHASE)
def test_two_phase_commands_are_refused_however_they_come(proxy, shards, dbname, sql):
    """Somebody's prepared transaction, of the proxy's names or not, stays as it is."""
    for gid in ("pgunison/other/s1/00000000000000000000000000000001-1/s1", "theirs"):
        with shards[1].session(dbname=dbname, user="app") as db:
            db.run("BEGIN")
            db.run("INSERT INTO a VALUES (1, 1)")
            db.run("PREPARE TRANSACTION '%s'" % gid)
        text = sql % gid if "%s" in sql else sql
        ways = [
            ([], [h.query(text)]),
            ([], [h.parse(text), h.bind(), h.execute(), h.SYNC]),
            ([], [h.query("/* pgunison: shard=s1 */ " + text)]),
            ([], [h.query("SELECT 1; %s; SELECT 2" % text)]),
            ([], [h.query("BEGIN; %s" % text)]),
            ([], [h.query("/* pgunison: shard=s1 */ EXPLAIN ANALYZE " + text)]),
            ([], [h.query("PREPARE p AS " + text)]),
            ([], [h.query("/* pgunison: shard=s1 */ DO $x$ BEGIN EXECUTE $y$ %s $y$; END $x$" % text)]),
            (["BEGIN", "INSERT INTO a VALUES (2, 1)"], [h.query(text)]),
            (["SET pgunison.shard = 's1'"], [h.query(text)]),
            (["SET pgunison.shard = 's1'"], [h.parse(text, "n"), h.bind(name="n"), h.execute(), h.SYNC]),
            (["BEGIN", "SET LOCAL pgunison.shard = 's1'", "SELECT 1"], [h.query(text)]),
        ]
        for before, messages in ways:
            with proxy.wire() as w:
                for one in before:
                    assert not failed(w.ask(h.query(one)))
                codes = failed(w.ask(*messages))
                assert codes and codes[0] in ("0A000", "42601", "25001"), (before, messages, codes)
        with shards[1].session(dbname=dbname) as db:
            assert db.rows("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()") == [(gid,)]
            db.run("ROLLBACK PREPARED '%s'" % gid)
    assert shards.each(dbname, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()") == [[(0,)]] * SHARDS


def test_hints_are_turned_off(make_proxy):
    off = make_proxy(settings={"routing_hints": "off"})
    with off.session() as s:
        for sql in ("/* pgunison: shard=s0 */ SELECT count(*) FROM a", "SET pgunison.shard = 's0'", "/* pgunison: shard=s0 */ DO $$BEGIN END$$"):
            assert s.fails(sql).pgcode == "0A000"
        assert s.one("SELECT count(*) FROM a") == 0
        assert s.run("RESET pgunison.shard") in ("RESET", "SET")
    only = make_proxy(settings={"routing_hints": "off"}, sections="[database other]\nshards = s0 s1 s2\nrouting_hints = on\n")
    with only.session(dbname="other") as s:
        assert s.one("/* pgunison: shard=s0 */ SELECT 1") == 1
    with only.session() as s:
        assert s.fails("/* pgunison: shard=s0 */ SELECT 1").pgcode == "0A000"


# --- client_two_phase ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xa(make_proxy):
    return make_proxy(settings={"client_two_phase": "on", "default_pool_size": 1, "reserve_pool_size": 0, "workers": 1})


def test_a_client_prepares_on_one_shard(xa, shards, dbname, keys):
    for extended in (False, True):
        for end, rows in (("COMMIT", [(keys[1],)]), ("ROLLBACK", [])):
            with xa.wire() as w, xa.session() as other:
                w.ask(h.query("BEGIN"))
                w.ask(h.query("INSERT INTO a VALUES (%d, 1)" % keys[1]))
                text = "PREPARE TRANSACTION 'xa/%s'" % end
                answer = w.ask(h.parse(text), h.bind(), h.execute(), h.SYNC) if extended else w.ask(h.query(text))
                assert answer[-2:] == [("C", "PREPARE TRANSACTION"), ("Z", "I")]
                # The transaction is over and its server is free: the pool has one.
                assert other.one("/* pgunison: shard=s1 */ SELECT gid FROM pg_prepared_xacts WHERE database = current_database()") == "xa/" + end
                assert other.fails("%s PREPARED 'xa/%s'" % (end, end)).pgcode == "0A000"  # on which shard?
                assert other.fails("/* pgunison: shard=s2 */ %s PREPARED 'xa/%s'" % (end, end)).pgcode == "42704"
                other.run("SET pgunison.shard = 's1'")
                assert other.run("%s PREPARED 'xa/%s'" % (end, end)) == end + " PREPARED"
                other.run("RESET pgunison.shard")
                assert other.rows("SELECT id FROM a") == rows
                other.run("DELETE FROM a")


def test_what_cannot_be_prepared_by_a_client(xa, shards, dbname, keys, pg):
    with xa.wire() as w:
        for sql in ("BEGIN", "INSERT INTO a VALUES (%d, 1)" % keys[0], "INSERT INTO a VALUES (%d, 1)" % keys[1]):
            assert not failed(w.ask(h.query(sql)))
        answer = w.ask(h.query("PREPARE TRANSACTION 'x'"))
        assert failed(answer) == ["0A000"] and answer[-1] == ("Z", "E")
        assert w.ask(h.query("ROLLBACK")) == [("C", "ROLLBACK"), ("Z", "I")]
        for gid in ("pgunison/main/s0/x/s1", "pgunison/"):
            w.ask(h.query("BEGIN"))
            w.ask(h.query("INSERT INTO a VALUES (%d, 1)" % keys[0]))
            assert failed(w.ask(h.query("PREPARE TRANSACTION '%s'" % gid))) == ["42939"]
            w.ask(h.query("ROLLBACK"))
            assert failed(w.ask(h.query("/* pgunison: shard=s0 */ ROLLBACK PREPARED '%s'" % gid))) == ["42939"]
    # As PostgreSQL: no transaction, a failed one, one that did nothing, a block around COMMIT PREPARED.
    with xa.wire() as w, pg.wire() as real:
        for script in (
            ["PREPARE TRANSACTION 'x'"],
            ["BEGIN", "SELECT 1/0", "PREPARE TRANSACTION 'x'", "SELECT 1"],
            ["BEGIN", "PREPARE TRANSACTION 'x'", "SELECT gid FROM pg_prepared_xacts WHERE gid = 'x'"],
            ["BEGIN", "/* pgunison: shard=s0 */ COMMIT PREPARED 'x'", "ROLLBACK"],
            ["/* pgunison: shard=s0 */ COMMIT PREPARED 'x'"],
            ["/* pgunison: shard=s0 */ COMMIT PREPARED 'x'"],
            ["BEGIN", "SELECT 1", "PREPARE TRANSACTION '%s'" % ("g" * 200), "SELECT 1"],
        ):
            for sql in script:
                assert w.ask(h.query(sql)) == real.ask(h.query(sql)), sql
    assert shards.each(dbname, "SELECT count(*) FROM a") == [[(0,)]] * SHARDS
