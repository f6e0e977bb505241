"""A session's temporary objects: names mean to it what they mean to nobody else, and to others what they meant before."""
import pytest

import pgharness as h

TABLES = {"items": "hash(id)", "pairs": "reference", "away": "single(s2)", "listed_not_there": "hash(id)"}
SHARDS = 3
SETTINGS = {"workers": 1, "default_pool_size": 4}
NAMES = ("items", "pairs", "away", "plain")

SCHEMA = (
    "CREATE TABLE items (id int PRIMARY KEY, v int)",
    "CREATE TABLE pairs (id int PRIMARY KEY, v int)",
    "CREATE TABLE away (id int PRIMARY KEY, v int)",
    "CREATE TABLE plain (id int PRIMARY KEY, v int)",
    """CREATE FUNCTION hide(name text) RETURNS void LANGUAGE plpgsql AS
       $$BEGIN EXECUTE format('CREATE TEMP TABLE %I (id int, v int)', name); END$$""",
    """CREATE FUNCTION hide_until_commit(name text) RETURNS void LANGUAGE plpgsql AS
       $$BEGIN EXECUTE format('CREATE TEMP TABLE %I (id int, v int) ON COMMIT DROP', name); END$$""",
    """CREATE FUNCTION show_again(name text) RETURNS void LANGUAGE plpgsql AS
       $$BEGIN EXECUTE format('DROP TABLE pg_temp.%I', name); END$$""",
)
ROWS = "INSERT INTO %s (id, v) VALUES " + ", ".join("(%d, %d)" % (i, i * 10) for i in range(1, 31))

MAKERS = {
    "table": "CREATE TEMP TABLE {0} (id int, v int)",
    "schema": "CREATE TABLE pg_temp.{0} (id int, v int)",
    "as": "CREATE TEMP TABLE {0} AS SELECT 1 AS id, 2 AS v",
    "into": "SELECT 1 AS id, 2 AS v INTO TEMP {0}",
    "view": "CREATE TEMP VIEW {0} AS SELECT 1 AS id, 2 AS v",
    "function": "SELECT hide('{0}')",
    "do": "/* pgunison: shard=s0 */ DO $$BEGIN CREATE TEMP TABLE {0} (id int, v int); END$$",
    "renamed": "CREATE TEMP TABLE other_name (id int, v int); ALTER TABLE other_name RENAME TO {0}",
    "sequence": "CREATE TEMP SEQUENCE {0}",
}
ENDS = {
    "drop": "DROP {1} {0}",
    "qualified": "DROP {1} pg_temp.{0}",
    "discard": "DISCARD TEMP",
    "all": "DISCARD ALL",
    "do": "/* pgunison: shard=s0 */ DO $$BEGIN DROP {1} {0}; END$$",
    "renamed": "ALTER {1} pg_temp.{0} RENAME TO another_name",
}
KINDS = {"view": "VIEW", "sequence": "SEQUENCE"}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, oracle):
    for side in (proxy, oracle):
        with side.session() as s:
            for line in SCHEMA:
                s.run(line)
            for name in NAMES:
                s.run(ROWS % name)


def counts(session):
    return [session.one("SELECT count(*) FROM %s" % name) for name in NAMES] + [
        session.one("SELECT v FROM items WHERE id = %d" % i) for i in (1, 2, 3)]


ALL = [30] * 4 + [10, 20, 30]


def knows(pair, name):
    pair.same("SELECT * FROM %s ORDER BY 1" % name)
    pair.same("SELECT count(*) FROM %s" % name)


@pytest.mark.parametrize("maker", sorted(MAKERS))
@pytest.mark.parametrize("name", NAMES)
def test_it_hides_a_table_from_its_session_alone(pair, proxy, maker, name):
    with proxy.session() as other:
        assert counts(other) == ALL
        knows(pair, name)
        pair.run(MAKERS[maker].format(name))
        assert counts(other) == ALL
        knows(pair, name)
        assert counts(other) == ALL
        if maker not in KINDS:
            for i in range(40, 46):
                pair.run("INSERT INTO %s VALUES (%d, 7)" % (name, i))
            pair.run("UPDATE %s SET v = 8 WHERE id = 42" % name)
            pair.run("DELETE FROM %s WHERE id = 43" % name)
            pair.same("SELECT * FROM %s WHERE id = 42" % name)
            knows(pair, name)
        pair.same("SELECT count(*) FROM public.%s" % name)
        assert counts(other) == ALL
        pair.run("DROP %s pg_temp.%s" % (KINDS.get(maker, "TABLE"), name))
        knows(pair, name)
        assert counts(other) == ALL
    assert counts(pair.proxy) == ALL


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("maker", ("table", "view"))
@pytest.mark.parametrize("name", ("items", "away"))
def test_once_it_is_gone_the_table_is_back(pair, proxy, end, maker, name):
    knows(pair, name)
    pair.run(MAKERS[maker].format(name))
    knows(pair, name)
    pair.run(ENDS[end].format(name, KINDS.get(maker, "TABLE")))
    knows(pair, name)
    assert counts(pair.proxy) == ALL
    with proxy.session() as other:
        assert counts(other) == ALL


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("maker", ("table", "function", "do", "view"))
@pytest.mark.parametrize("end", ("COMMIT", "ROLLBACK", "ROLLBACK TO a", "DROP"))
def test_transactions(pair, proxy, name, maker, end):
    with proxy.session() as other:
        knows(pair, name)
        pair.run("BEGIN")
        pair.run("SAVEPOINT a")
        knows(pair, name)
        pair.run(MAKERS[maker].format(name))
        knows(pair, name)
        assert counts(other) == ALL
        pair.run(end if end != "DROP" else "DROP %s pg_temp.%s" % (KINDS.get(maker, "TABLE"), name))
        knows(pair, name)
        if not end.startswith(("COMMIT", "ROLLBACK")) or end.endswith("a"):
            pair.run("COMMIT")
        knows(pair, name)
        assert counts(other) == ALL
        if end == "COMMIT":
            pair.run("BEGIN")
            pair.run("DROP %s pg_temp.%s" % (KINDS.get(maker, "TABLE"), name))
            knows(pair, name)
            pair.run("ROLLBACK")
            knows(pair, name)


@pytest.mark.parametrize("made", ("CREATE TEMP TABLE items (id int) ON COMMIT DROP", "SELECT hide_until_commit('items')"))
@pytest.mark.parametrize("end", ("COMMIT", "COMMIT AND CHAIN", "ROLLBACK"))
def test_dropped_on_commit(pair, made, end):
    knows(pair, "items")
    pair.run("BEGIN")
    pair.run(made)
    knows(pair, "items")
    pair.run(end)
    knows(pair, "items")
    pair.run("COMMIT")
    assert counts(pair.proxy) == ALL


def test_several_statements_in_a_query(pair):
    text = ("CREATE TEMP TABLE items (id int); SELECT 1", "DROP TABLE pg_temp.items; SELECT 1",
            "BEGIN; SELECT hide('items'); ROLLBACK; SELECT 1", "SELECT hide('away'); SELECT show_again('away')")
    for sql in text:
        pair.run(sql)
        for name in NAMES:
            knows(pair, name)


def test_an_error_takes_it_back(pair):
    knows(pair, "items")
    for sql in ("SELECT hide('items'); SELECT 1 / 0", "CREATE TEMP TABLE items (id int); SELECT 1 / 0",
                "/* pgunison: shard=s0 */ DO $$BEGIN CREATE TEMP TABLE items (id int); PERFORM 1 / 0; END$$"):
        pair.fails_alike(sql)
        knows(pair, "items")
    assert counts(pair.proxy) == ALL




def extended(name):
    return h.parse("SELECT count(*) FROM " + name, "count_" + name), h.bind(name="count_" + name), h.execute(), h.SYNC


def counted(answer):
    return [m[1] for m in answer if m[0] == "D"]


def test_prepared_statements(proxy):
    """What was prepared before the table was hidden, and while it was."""
    with proxy.wire() as w, proxy.wire() as other:
        again = (h.bind(name="count_items"), h.execute(), h.SYNC)
        for one in (w, other):
            assert counted(one.ask(*extended("items"))) == [b"30"]
        w.ask(h.query("CREATE TEMP TABLE items (id int, v int)"))
        assert counted(w.ask(*again)) == [b"0"]
        assert counted(other.ask(*again)) == [b"30"]
        w.ask(h.query("INSERT INTO items VALUES (1, 1)"))
        assert counted(w.ask(*again)) == [b"1"]
        w.ask(h.query("DROP TABLE pg_temp.items"))
        assert counted(w.ask(*again)) == counted(other.ask(*again)) == [b"30"]


def test_pipelines(proxy):
    """Made, used and taken back without a Sync in between."""
    def run(sql):
        return h.parse(sql), h.bind(), h.execute()

    with proxy.wire() as w, proxy.wire() as other:
        for made in ("CREATE TEMP TABLE items (id int)", "SELECT hide('items')::text"):
            count = run("SELECT count(*) FROM items")
            got = w.ask(*count, *run(made), *count, *run("SELECT 1 / 0"), h.SYNC)
            assert [v for v in counted(got) if v] == [b"30", b"0"], got
            assert [m[1]["C"] if isinstance(m[1], dict) else m[2] for m in got if m[0] == "E"] == ["22012"], got
            assert counted(w.ask(*count, h.SYNC)) == counted(other.ask(*count, h.SYNC)) == [b"30"]
            got = w.ask(*count, *run(made), *count, h.SYNC)
            assert [v for v in counted(got) if v] == [b"30", b"0"], got
            assert counted(w.ask(*count, h.SYNC)) == [b"0"] and counted(other.ask(*count, h.SYNC)) == [b"30"]
            w.ask(*run("DROP TABLE items"), h.SYNC)
            assert counted(w.ask(*count, h.SYNC)) == [b"30"]


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("name", NAMES)
def test_one_that_was_made_by_hand_is_where_it_was_made(proxy, shards, dbname, shard, name):
    hand = "/* pgunison: shard=s%d */ " % shard
    with proxy.session() as s, proxy.session() as other:
        assert counts(s) == ALL
        s.run(hand + "CREATE TEMP TABLE %s (id int, v int)" % name)
        for i in range(5):
            s.run("INSERT INTO %s VALUES (%d, 1)" % (name, i))
        s.run(hand + "INSERT INTO %s VALUES (5, 1)" % name)
        assert s.one("SELECT count(*) FROM " + name) == s.one(hand + "SELECT count(*) FROM " + name) == 6
        s.run("UPDATE %s SET v = 2 WHERE id = 3" % name)
        assert s.rows("SELECT id FROM %s WHERE v = 2" % name) == [(3,)]
        assert counts(other) == ALL
        elsewhere = "/* pgunison: shard=s%d */ " % ((shard + 1) % SHARDS)
        e = s.fails(elsewhere + "INSERT INTO %s VALUES (6, 1)" % name)
        assert e.pgcode == "0A000" and e.diag.message_hint, e
        s.run("CREATE INDEX ON " + name + " (v)")
        s.run("ALTER TABLE " + name + " ADD w int")
        assert s.rows("SELECT count(*), count(w) FROM " + name) == [(6, 0)]
        s.run("DROP TABLE " + name)
        assert counts(s) == ALL


def test_two_shards_with_some(proxy):
    with proxy.session() as s:
        for i in range(SHARDS):
            s.run("/* pgunison: shard=s%d */ CREATE TEMP TABLE t%d (id int)" % (i, i))
        for i in range(SHARDS):
            s.run("INSERT INTO t%d VALUES (1)" % i)
            assert s.one("SELECT count(*) FROM t%d" % i) == 1
        assert counts(s) == ALL
        e = s.fails("SELECT * FROM t0, t1")
        assert e.pgcode == "0A000" and e.diag.message_hint, e


@pytest.mark.parametrize("sql", (
    "CREATE TABLE {0} (id int PRIMARY KEY, v int)", "CREATE TABLE IF NOT EXISTS {0} (id int, v int)",
    "CREATE TABLE {0} AS SELECT 1 AS id", "CREATE VIEW {0} AS SELECT 1 AS id", "CREATE TABLE {0} PARTITION OF other_parent FOR VALUES IN (1)",
    "ALTER TABLE plain RENAME TO {0}"))
def test_what_would_be_made_behind_it_is_refused(proxy, sql):
    """By that name another table is listed: where that belongs the hidden name does not say."""
    with proxy.session() as s:
        s.run("CREATE TEMP TABLE listed_not_there (id int)")
        e = s.fails(sql.format("listed_not_there"))
        assert e.pgcode == "0A000" and "temporary" in e.diag.message_primary and e.diag.message_hint, e
        if sql.startswith("CREATE TABLE {0} ("):
            s.run(sql.format("public.listed_not_there"))
            with proxy.session() as other:
                other.run(ROWS % "listed_not_there")
                assert other.one("SELECT count(*) FROM listed_not_there") == 30
                other.run("DROP TABLE listed_not_there")


def test_a_temporary_view_may_have_any_name(pair):
    pair.run("CREATE TEMP VIEW items AS SELECT 1 AS id, 2 AS v FROM plain LIMIT 1")
    knows(pair, "items")
    pair.run("CREATE OR REPLACE TEMP VIEW items AS SELECT 3 AS id, 2 AS v FROM pairs LIMIT 1")
    knows(pair, "items")
    pair.run("DROP VIEW items")
    knows(pair, "items")


def test_a_child_of_a_listed_table(pair):
    """It is on its session's server, whatever its parent is."""
    with_child = "CREATE TEMP TABLE child () INHERITS (plain)"
    pair.run(with_child)
    pair.run("INSERT INTO child VALUES (100, 1)")
    pair.same("SELECT * FROM child")
    pair.same("SELECT count(*) FROM plain")
    pair.run("DROP TABLE child")
    pair.same("SELECT count(*) FROM plain")


def test_a_function_that_was_changed_behind_the_back(proxy, shards, dbname):
    """It makes a temporary table that nobody expects of it: what is found is nobody else's."""
    with proxy.session() as s, proxy.session() as other:
        s.run("CREATE FUNCTION turned() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
        assert s.one("SELECT turned()") == 1
        for shard in shards:
            with shard.session(dbname=dbname, user="postgres") as db:
                db.run("CREATE OR REPLACE FUNCTION turned() RETURNS int VOLATILE LANGUAGE plpgsql AS"
                       " 'BEGIN CREATE TEMP TABLE unlisted (id int); RETURN 2; END'")
        s.run("BEGIN")
        assert s.one("SELECT turned()") == 2
        assert s.one("SELECT count(*) FROM unlisted") == 0
        s.run("INSERT INTO unlisted VALUES (1)")
        assert other.fails("SELECT count(*) FROM unlisted").pgcode == "42P01"
        s.run("COMMIT")
        assert s.one("SELECT count(*) FROM unlisted") == 1
        assert other.fails("SELECT count(*) FROM unlisted").pgcode == "42P01"
        s.run("DROP TABLE unlisted")
        s.run("DROP FUNCTION turned()")
    with proxy.session() as s:
        assert s.fails("SELECT count(*) FROM unlisted").pgcode == "42P01"


def test_session_pooling(make_proxy):
    proxy = make_proxy(settings=dict(SETTINGS, pool_mode="session"))
    with proxy.session() as s, proxy.session() as other:
        for _ in range(2):
            assert counts(s) == counts(other) == ALL
            s.run("CREATE TEMP TABLE items (id int, v int)")
            assert s.one("SELECT count(*) FROM items") == 0 and counts(other) == ALL
            s.run("BEGIN")
            s.run("DROP TABLE items")
            assert counts(s) == ALL
            s.run("ROLLBACK")
            assert s.one("SELECT count(*) FROM items") == 0 and counts(other) == ALL
            s.run("DROP TABLE items")
    with proxy.session() as s:
        assert counts(s) == ALL


def test_the_next_client_of_the_server_has_none(proxy):
    with proxy.session() as s:
        s.run("CREATE TEMP TABLE items (id int, v int)")
        assert s.one("SELECT count(*) FROM items") == 0
    for _ in range(5):
        with proxy.session() as s:
            assert counts(s) == ALL


def test_others_tables_change_meanwhile(pair, proxy):
    """DDL of others is seen by a session that has temporary objects."""
    with proxy.session() as other:
        pair.run("CREATE TEMP TABLE mine (id int)")
        pair.same("SELECT count(*) FROM mine")
        pair.fails_alike("SELECT count(*) FROM theirs")
        other.run("CREATE TABLE theirs (id int)")
        assert pair.proxy.one("SELECT count(*) FROM theirs") == 0
        pair.same("SELECT count(*) FROM mine")
        other.run("DROP TABLE theirs")
        pair.fails_alike("SELECT count(*) FROM theirs")
        pair.run("DROP TABLE mine")


def known(proxy, what="catalogs"):
    """Relations that the proxy need not ask for; or plans that it need not make."""
    with proxy.console() as console:
        return sum(int(row[2]) for row in console.rows("SHOW MEM") if row[0] == what)


def test_code_that_nobody_sees_costs_no_planning(proxy):
    """It could have made temporary objects. It has not."""
    with proxy.session() as s:
        s.run("CREATE FUNCTION unseen() RETURNS int LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SELECT 1'; RETURN 1; END$$")
        before = []
        for _ in range(3):
            s.run("BEGIN")
            for _ in range(3):
                assert s.one("SELECT unseen()") == 1
                assert s.one("SELECT count(*) FROM items") == 30
            s.run("COMMIT")
            before.append((known(proxy), known(proxy, "plans")))
        assert before[1] == before[2], before
        s.run("DROP FUNCTION unseen()")


def test_code_that_nobody_sees_is_asked_about_once(proxy):
    """What it made is found, and what it dropped; nothing else of the session is planned anew in between."""
    with proxy.session() as s:
        s.run("BEGIN")
        s.run("SELECT hide('items')")
        assert s.one("SELECT count(*) FROM items") == 0
        plans = known(proxy, "plans")
        for _ in range(3):
            assert s.one("SELECT count(*) FROM items") == 0
            s.run("SELECT show_again('nothing') WHERE false")
        assert known(proxy, "plans") == plans + 1
        s.run("SELECT show_again('items')")
        assert s.one("SELECT count(*) FROM items") == 30
        s.run("SELECT hide('items')")
        assert s.one("SELECT count(*) FROM items") == 0
        s.run("COMMIT")
        assert s.one("SELECT count(*) FROM items") == 0
        s.run("SELECT show_again('items')")
        assert s.one("SELECT count(*) FROM items") == 30


@pytest.mark.parametrize("made", ("CREATE TEMP TABLE mine (id int)", "CREATE TEMP TABLE mine AS SELECT 1 AS id", "SELECT 1 AS id INTO TEMP mine",
                                  "CREATE TEMP VIEW mine AS SELECT 1 AS id", "SELECT hide('mine')", "CREATE TEMP SEQUENCE mine"))
def test_others_plans_stay(proxy, made):
    with proxy.session() as s, proxy.session() as other:
        for _ in range(2):
            assert counts(other) == ALL
        s.run(made)
        s.run("DISCARD TEMP" if "SEQUENCE" in made else "DROP %s mine" % ("VIEW" if "VIEW" in made else "TABLE"))
        before = known(proxy)
        assert other.one("SELECT count(*) FROM items") == 30
        assert known(proxy) == before >= len(NAMES)
        s.run("CREATE TABLE not_mine (id int)")
        s.run("DROP TABLE not_mine")
        assert other.one("SELECT count(*) FROM items") == 30
        assert known(proxy) < before


@pytest.mark.parametrize("made", ("CREATE TEMP TABLE items (id int, v int)", "SELECT hide('items')"))
@pytest.mark.parametrize("block", (False, True))
def test_a_server_that_had_temporary_objects_before(make_proxy, made, block):
    """PostgreSQL plans a prepared statement anew when a session's first temporary object changes its search path. This
    server's path has changed for another client already."""
    proxy = make_proxy(settings=dict(SETTINGS, default_pool_size=1))
    with proxy.session() as s:
        s.run("CREATE TEMP TABLE mine (id int)")
        s.run("DROP TABLE mine")
    again = (h.bind(name="count_items"), h.execute(), h.SYNC)
    with proxy.wire() as w:
        assert counted(w.ask(*extended("items"))) == [b"30"]
        if block:
            w.ask(h.query("BEGIN"))
            assert counted(w.ask(*again)) == [b"30"]
        w.ask(h.query(made))
        assert counted(w.ask(*again)) == [b"0"]
        if block:
            w.ask(h.query("ROLLBACK"))
        else:
            w.ask(h.query("DROP TABLE pg_temp.items"))
        assert counted(w.ask(*again)) == [b"30"]
    with proxy.wire() as w:
        assert counted(w.ask(*extended("items"))) == [b"30"]


def test_what_was_prepared_while_it_was_hidden_is_not_the_next_clients(make_proxy):
    """Its rows have other columns: PostgreSQL would refuse to run what was prepared for those."""
    proxy = make_proxy(settings=dict(SETTINGS, default_pool_size=1))
    every = (h.parse("SELECT * FROM items WHERE id = 1", "every"), h.bind(name="every"), h.execute(), h.SYNC)
    for made in ("CREATE TEMP TABLE items (id int) ON COMMIT DROP", "CREATE TEMP TABLE items (id int)",
                 "DO $$BEGIN CREATE TEMP TABLE items (id int) ON COMMIT DROP; END$$"):
        with proxy.wire() as w:
            w.ask(h.query("BEGIN"))
            w.ask(h.query(("/* pgunison: shard=s0 */ " if made.startswith("DO") else "") + made))
            assert counted(w.ask(*every)) == []
            w.ask(h.query("COMMIT"))
        with proxy.wire() as w:
            answer = w.ask(*every)
            assert [m for m in answer if m[0] == "D"] == [("D", b"1", b"10")], answer
