"""Statements over the simple protocol, held against one PostgreSQL that has all the rows."""
import random

import pytest

import pgharness as h

TABLES = {
    "accounts": "hash(id)",
    "orders": "hash(account_id)",
    "names": "hash(name)",
    "tokens": "hash(token)",
    "countries": "reference",
    "audit": "single(s1)",
    "scratch": "hash(id)",
    "copied": "hash(id)",
    "later": "hash(id)",
}
SETUP = """
CREATE TABLE accounts (id int PRIMARY KEY, name text NOT NULL, region text, balance numeric(12,2), active bool, at timestamptz);
CREATE TABLE orders (account_id int, no int, amount int, note text, PRIMARY KEY (account_id, no));
CREATE TABLE names (name text PRIMARY KEY, n bigint);
CREATE TABLE tokens (token uuid PRIMARY KEY, n int);
CREATE TABLE countries (code text PRIMARY KEY, title text);
CREATE TABLE audit (id int PRIMARY KEY, what text);
CREATE TABLE notes (id int PRIMARY KEY, body text);
CREATE TABLE scratch (id int PRIMARY KEY, v int, t text);
CREATE TABLE copied (id int PRIMARY KEY, v numeric, t text, b bytea, at timestamptz);
"""
N = 400
rnd = random.Random(11)


@pytest.fixture(scope="module", autouse=True)
def filled(proxy, oracle):
    """All rows go in through the proxy, and are the same on the oracle."""
    with proxy.session() as p, oracle.session() as o:
        for sql in SETUP.split(";")[:-1]:
            assert p.run(sql) == o.run(sql)
        for i in range(N):
            row = (
                i - 50,
                rnd.choice(("ann", "bob", "céline", "Dora", "", "ein 'Zitat'", "back\\slash")) + str(i % 17),
                rnd.choice((None, "north", "south", "east", "west")),
                rnd.choice((None, i * 1.25, -i, i)),
                rnd.choice((None, True, False)),
                "2026-01-%02d %02d:00+00" % (i % 28 + 1, i % 24),
            )
            for s in (p, o):
                s.run("INSERT INTO accounts VALUES (%s, %s, %s, %s, %s, %s)", *row)
        orders = [(i % N - 50, i // N, rnd.randrange(1000), "note %d" % i) for i in range(3 * N)]
        values = ",".join("(%d,%d,%d,'%s')" % row for row in orders)
        for s in (p, o):
            assert s.run("INSERT INTO orders VALUES " + values) == "INSERT 0 %d" % len(orders)
            s.run("INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France'), ('it', 'Italy')")
            s.run("INSERT INTO audit VALUES (1, 'one'), (2, 'two')")
            s.run("INSERT INTO notes VALUES (1, 'here'), (2, 'too')")
            for i in range(60):
                s.run("INSERT INTO names VALUES (%s, %s)", "n%d é" % i, i)
                s.run("INSERT INTO tokens VALUES (%s, %s)", "%032x" % (i * 7919), i)


def test_rows_are_where_the_bucket_map_says(shards, dbname, pg):
    for i, rows in enumerate(shards.each(dbname, "SELECT id, hashint4extended(id, 0) & 1023 FROM accounts")):
        assert len(rows) > N / 8
        assert {shards.shard_of_bucket(bucket) for _, bucket in rows} == {i}
    for i, rows in enumerate(shards.each(dbname, "SELECT name, hashtextextended(name, 0) & 1023 FROM names")):
        assert rows and {shards.shard_of_bucket(bucket) for _, bucket in rows} == {i}
    for i, rows in enumerate(shards.each(dbname, "SELECT token, uuid_hash_extended(token, 0) & 1023 FROM tokens")):
        assert rows and {shards.shard_of_bucket(bucket) for _, bucket in rows} == {i}
    assert [len(r) for r in shards.each(dbname, "SELECT 1 FROM countries")] == [3] * 4
    assert shards.each(dbname, "SELECT to_regclass('audit') IS NOT NULL") == [[(False,)], [(True,)], [(False,)], [(False,)]]
    assert shards.each(dbname, "SELECT to_regclass('notes') IS NOT NULL") == [[(True,)], [(False,)], [(False,)], [(False,)]]


ONE_SHARD = [
    "SELECT * FROM accounts WHERE id = 7",
    "SELECT * FROM accounts WHERE id = -7",
    "SELECT * FROM accounts WHERE id = '7'",
    "SELECT * FROM accounts WHERE 7 = id",
    "SELECT * FROM accounts WHERE id = 7 AND name LIKE 'a%'",
    "SELECT * FROM accounts WHERE id IN (7)",
    "SELECT * FROM accounts WHERE id = 99999",
    "SELECT * FROM accounts WHERE id = 99999999999999999999",
    "SELECT * FROM accounts WHERE id = NULL",
    "SELECT a.*, o.no FROM accounts a JOIN orders o ON o.account_id = a.id WHERE a.id = 12 ORDER BY o.no",
    "SELECT count(*), max(amount) FROM orders WHERE account_id = 12",
    "SELECT amount, rank() OVER (ORDER BY amount DESC, no) FROM orders WHERE account_id = 12 ORDER BY amount, no",
    "SELECT account_id, string_agg(note, '/' ORDER BY no) FROM orders WHERE account_id = 12 GROUP BY 1 HAVING count(*) > 1",
    "SELECT * FROM names WHERE name = 'n7 é'",
    "SELECT * FROM tokens WHERE token = '00000000-0000-0000-0000-000000001eef'",
    "SELECT * FROM countries ORDER BY code",
    "SELECT * FROM audit ORDER BY id",
    "SELECT * FROM notes ORDER BY id",
    "SELECT 1 AS x, 'a' AS y, NULL::int AS z",
    "SELECT a.name, c.title FROM accounts a, countries c WHERE a.id = 3 AND c.code = 'de'",
    "VALUES (1, 'a'), (2, 'b') ORDER BY 1 DESC",
    "SELECT generate_series(1, 3) ORDER BY 1",
    "SELECT current_database() = current_database(), length(version()) > 0",
    "WITH x AS (SELECT * FROM accounts WHERE id = 5) SELECT id, name FROM x",
    "SELECT (SELECT name FROM accounts WHERE id = 5)",
]


@pytest.mark.parametrize("sql", ONE_SHARD)
def test_one_shard_statements(pair, sql):
    pair.same(sql)


SCATTER = [
    "SELECT * FROM accounts",
    "SELECT id, name FROM accounts ORDER BY id",
    "SELECT id, name FROM accounts ORDER BY id DESC",
    "SELECT id FROM accounts ORDER BY id LIMIT 10",
    "SELECT id FROM accounts ORDER BY id LIMIT 10 OFFSET 25",
    "SELECT id FROM accounts ORDER BY id OFFSET 390",
    "SELECT id FROM accounts ORDER BY id LIMIT 0",
    "SELECT id FROM accounts ORDER BY id OFFSET 3 ROWS FETCH FIRST 5 ROWS ONLY",
    "SELECT id, balance FROM accounts ORDER BY balance, id",
    "SELECT id, balance FROM accounts ORDER BY balance DESC, id",
    "SELECT id, balance FROM accounts ORDER BY balance DESC NULLS LAST, id DESC LIMIT 20",
    "SELECT id, balance FROM accounts ORDER BY balance NULLS FIRST, id LIMIT 20",
    "SELECT id, at FROM accounts ORDER BY at DESC, id LIMIT 17",
    "SELECT id, active FROM accounts ORDER BY active, 1 LIMIT 40",
    "SELECT id AS k, balance AS b FROM accounts ORDER BY b, k LIMIT 7",
    "SELECT count(*) FROM accounts",
    "SELECT count(*), count(balance), sum(id), sum(balance), min(balance), max(balance) FROM accounts",
    "SELECT avg(balance), avg(id) FROM accounts",
    "SELECT min(name), max(name), min(at), max(at) FROM accounts",
    "SELECT bool_and(active), bool_or(active) FROM accounts",
    "SELECT count(*), sum(amount), avg(amount) FROM orders WHERE amount < 0",
    "SELECT count(*) FROM accounts WHERE region IS NULL",
    "SELECT sum(amount) FROM orders WHERE account_id % 2 = 0",
    "SELECT account_id, count(*), sum(amount) FROM orders GROUP BY account_id ORDER BY account_id",
    "SELECT account_id, sum(amount) AS s FROM orders GROUP BY account_id ORDER BY s DESC, account_id LIMIT 9",
    "SELECT account_id, count(*) FROM orders GROUP BY account_id HAVING sum(amount) > 1000 ORDER BY 1",
    "SELECT a.id, a.name, o.no, o.amount FROM accounts a JOIN orders o ON o.account_id = a.id ORDER BY a.id, o.no",
    "SELECT a.id, count(o.no) FROM accounts a LEFT JOIN orders o ON o.account_id = a.id AND o.amount > 500 GROUP BY a.id ORDER BY 1",
    "SELECT a.id, c.title FROM accounts a CROSS JOIN countries c ORDER BY a.id, c.code LIMIT 50",
    "SELECT id FROM accounts WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8) ORDER BY id",
    "SELECT id FROM accounts WHERE id = ANY ('{1,2,3,40,50}') ORDER BY id",
    "SELECT id FROM accounts WHERE id BETWEEN 5 AND 9 ORDER BY id",
    "SELECT id FROM accounts WHERE id = 5 OR id = 77 ORDER BY id",
    "SELECT id FROM accounts WHERE NOT id = 5 ORDER BY id LIMIT 3",
    "SELECT count(*) FROM accounts WHERE EXISTS (SELECT 1 FROM orders o WHERE o.account_id = accounts.id AND o.amount > 900)",
    "SELECT n, name FROM names ORDER BY n",
    "SELECT n FROM tokens WHERE token > '00000000-0000-0000-0000-000000002000' ORDER BY token",
]


@pytest.mark.parametrize("sql", SCATTER)
def test_scatter(pair, sql):
    pair.same(sql)


EITHER = [
    "SELECT sum(amount)::text FROM orders WHERE account_id % 2 = 0",
    "TABLE tokens ORDER BY n",
    'SELECT id, name FROM accounts ORDER BY name COLLATE "und-x-icu", id',
    'SELECT min(name COLLATE "und-x-icu") FROM accounts',
    "SELECT region, count(*) FROM accounts GROUP BY region ORDER BY 1",
    "SELECT region, sum(balance), avg(balance), min(id), max(id) FROM accounts GROUP BY region ORDER BY 1 NULLS FIRST",
    "SELECT region, active, count(*) FROM accounts GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT region, count(*) FROM accounts GROUP BY region HAVING count(*) > 70 ORDER BY 1",
    "SELECT count(*) FROM accounts HAVING count(*) > 1",
    "SELECT count(DISTINCT region) FROM accounts",
    "SELECT DISTINCT region FROM accounts ORDER BY region",
    "SELECT DISTINCT ON (region) region, id FROM accounts ORDER BY region, id",
    "SELECT DISTINCT account_id FROM orders ORDER BY 1 LIMIT 10",
    "SELECT id, name FROM accounts ORDER BY name, id",
    'SELECT id, name FROM accounts ORDER BY name COLLATE "C", id',
    "SELECT id FROM accounts ORDER BY lower(name), id",
    "SELECT id FROM accounts ORDER BY balance + id, id",
    "SELECT name FROM accounts ORDER BY id LIMIT 5",
    "SELECT id, row_number() OVER (ORDER BY id) FROM accounts ORDER BY id",
    "SELECT id, sum(balance) OVER (PARTITION BY region ORDER BY id) FROM accounts ORDER BY id",
    "SELECT account_id, no, rank() OVER (PARTITION BY account_id ORDER BY amount, no) FROM orders ORDER BY 1, 2",
    "SELECT string_agg(name, ',' ORDER BY id) FROM accounts",
    "SELECT array_agg(id ORDER BY id) FROM accounts WHERE id < 10",
    "SELECT stddev(amount), variance(amount) FROM orders",
    "SELECT sum(amount) + count(*) FROM orders",
    "SELECT round(avg(amount), 2), count(*) * 2 FROM orders",
    "SELECT count(*) FILTER (WHERE amount > 500), sum(amount) FILTER (WHERE amount > 500) FROM orders",
    "SELECT a.id, b.id FROM accounts a JOIN accounts b ON a.name = b.name AND a.id < b.id ORDER BY 1, 2 LIMIT 10",
    "SELECT a.id FROM accounts a JOIN names n ON n.name = a.name ORDER BY 1",
    "SELECT id FROM accounts WHERE balance > (SELECT avg(balance) FROM accounts) ORDER BY id",
    "SELECT id FROM accounts WHERE id IN (SELECT account_id FROM orders WHERE amount > 990) ORDER BY id",
    "SELECT id FROM accounts UNION SELECT account_id FROM orders ORDER BY 1",
    "SELECT id FROM accounts WHERE id < 0 UNION ALL SELECT account_id FROM orders WHERE amount > 990 ORDER BY 1",
    "SELECT id FROM accounts EXCEPT SELECT account_id FROM orders WHERE no = 0 ORDER BY 1",
    "WITH t AS (SELECT account_id, sum(amount) s FROM orders GROUP BY 1) SELECT max(s) FROM t",
    "WITH t AS (SELECT id FROM accounts) SELECT count(*) FROM t",
    "SELECT * FROM (SELECT id FROM accounts ORDER BY id LIMIT 3) x ORDER BY id",
    "SELECT count(*) FROM (SELECT id FROM accounts LIMIT 100) x",
    "SELECT a.id, n.body FROM accounts a JOIN notes n ON n.id = a.id ORDER BY 1",
    "SELECT a.id, o.no FROM accounts a FULL JOIN orders o ON o.account_id = a.id AND o.no = 9 ORDER BY 1, 2 LIMIT 30",
    "SELECT c.code, a.id FROM countries c LEFT JOIN accounts a ON a.id < 0 AND a.name = c.code ORDER BY 1, 2",
    "SELECT c.code FROM countries c WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.region = c.code) ORDER BY 1",
    "SELECT id FROM accounts ORDER BY id FETCH FIRST 3 ROWS WITH TIES",
    "SELECT id FROM accounts ORDER BY id LIMIT (SELECT 3)",
    "SELECT id FROM accounts ORDER BY 1 LIMIT 2 + 3",
    "SELECT region, count(*) FROM accounts GROUP BY ROLLUP (region) ORDER BY 1 NULLS LAST, 2",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM orders",
    "SELECT max(balance) - min(balance) FROM accounts",
    "SELECT count(*) FROM accounts a, orders o WHERE a.id = o.account_id AND a.region = 'north'",
    "SELECT l.id, x.no FROM accounts l CROSS JOIN LATERAL (SELECT no FROM orders WHERE account_id = l.id ORDER BY no LIMIT 1) x ORDER BY 1",
    "SELECT id FROM accounts TABLESAMPLE SYSTEM (100) ORDER BY id",
    "SELECT json_agg(id ORDER BY id) FROM accounts WHERE id < 5",
    "SELECT sum(balance) FROM accounts WHERE id IN (1, 2, 3)",
    "WITH RECURSIVE r AS (SELECT id FROM accounts WHERE id = 1 UNION ALL SELECT id + 1 FROM r WHERE id < 5) SELECT * FROM r ORDER BY 1",
    "SELECT id FROM accounts WHERE name = (SELECT name FROM names WHERE name = 'n1 é') ORDER BY 1",
    "SELECT min(id) FROM accounts WHERE id IN (SELECT account_id FROM orders)",
    "SELECT count(*) AS n FROM accounts GROUP BY id % 2 ORDER BY n",
    "SELECT tableoid IS NOT NULL, count(*) FROM accounts GROUP BY 1",
]


@pytest.mark.parametrize("sql", EITHER)
def test_right_or_refused(pair, sql):
    """Whatever of this is answered is answered rightly; the rest says why not, and what to do."""
    pair.same_or_refused(sql)


def test_random_pages(pair):
    for _ in range(60):
        key = rnd.choice(("id", "balance", "at", "id DESC", "balance DESC NULLS LAST", "at DESC", "active NULLS FIRST"))
        limit = rnd.choice(("", " LIMIT %d" % rnd.randrange(30)))
        offset = rnd.choice(("", " OFFSET %d" % rnd.randrange(500)))
        low = rnd.randrange(-60, 360)
        pair.same("SELECT * FROM accounts WHERE id >= %d ORDER BY %s, id%s%s" % (low, key, limit, offset))


def test_an_insert_is_split_by_key(pair, shards, dbname):
    pair.run("INSERT INTO scratch (t, id, v) VALUES " + ",".join("('t%d', %d, %d)" % (i, i, i * i) for i in range(100)))
    assert sum(len(r) for r in shards.each(dbname, "SELECT 1 FROM scratch")) == 100
    pair.same("SELECT * FROM scratch ORDER BY id")
    # One row that cannot be: none goes in, wherever it is.
    pair.fails_alike("INSERT INTO scratch VALUES (201, 1, 'a'), (202, 1, 'b'), (50, 1, 'c'), (203, 1, 'd')")
    pair.fails_alike("INSERT INTO scratch VALUES (201, 1, 'a'), (202, 1, 'b'), (NULL, 1, 'c')")
    pair.same("SELECT * FROM scratch ORDER BY id")
    pair.run("INSERT INTO scratch VALUES (1, 0, 'x'), (301, 0, 'y'), (302, 0, 'z') ON CONFLICT (id) DO NOTHING")
    pair.run("INSERT INTO scratch VALUES (1, 7, 'x'), (303, 0, 'y') ON CONFLICT (id) DO UPDATE SET v = excluded.v")
    pair.same("INSERT INTO scratch VALUES (400, 1, 'a'), (401, 2, 'b'), (402, 3, 'c') RETURNING id, v * 2 AS w")
    pair.same("SELECT * FROM scratch ORDER BY id")


def test_writes_by_key_and_without(pair):
    pair.run("TRUNCATE scratch")
    pair.run("INSERT INTO scratch VALUES " + ",".join("(%d, %d, 't')" % (i, i % 7) for i in range(200)))
    pair.run("UPDATE scratch SET v = v + 100 WHERE id = 17")
    pair.run("UPDATE scratch SET v = v + 1, t = 'changed' WHERE v = 3")
    pair.run("UPDATE scratch SET v = -v")
    pair.run("DELETE FROM scratch WHERE id = 18")
    pair.run("DELETE FROM scratch WHERE id IN (20, 21, 22, 23)")
    pair.run("DELETE FROM scratch WHERE v = -5")
    pair.run("DELETE FROM scratch WHERE v = 12345")
    pair.same("UPDATE scratch SET t = 'r' WHERE v < -5 RETURNING id, t")
    pair.same("DELETE FROM scratch WHERE id BETWEEN 100 AND 120 RETURNING *")
    pair.same("SELECT * FROM scratch ORDER BY id")
    # An error on one shard undoes it on all.
    pair.fails_alike("UPDATE scratch SET v = 1 / (id - 77)")
    pair.same("SELECT * FROM scratch ORDER BY id")


def test_writes_of_reference_tables_reach_every_shard(pair, shards, dbname):
    pair.run("INSERT INTO countries VALUES ('es', 'Spain')")
    pair.run("UPDATE countries SET title = upper(title) WHERE code = 'de'")
    pair.run("DELETE FROM countries WHERE code = 'it'")
    pair.fails_alike("INSERT INTO countries VALUES ('es', 'again')")
    pair.same("SELECT * FROM countries ORDER BY code")
    copies = shards.each(dbname, "SELECT * FROM countries ORDER BY code")
    assert copies[0] == [("de", "GERMANY"), ("es", "Spain"), ("fr", "France")]
    assert copies == [copies[0]] * 4


def test_ddl_runs_everywhere_and_truncate_empties_everywhere(pair, shards, dbname):
    pair.run("CREATE TABLE later (id int PRIMARY KEY, v int)")
    pair.run("INSERT INTO later SELECT 1, 2")
    pair.run("INSERT INTO later VALUES (2, 3), (3, 4), (4, 5), (5, 6)")
    pair.run("ALTER TABLE later ADD COLUMN w text DEFAULT 'new'")
    pair.run("CREATE INDEX later_v ON later (v)")
    pair.same("SELECT * FROM later ORDER BY id")
    pair.run("INSERT INTO later VALUES (6, 7, 'x')")
    pair.same("SELECT * FROM later ORDER BY id")
    for rows in shards.each(dbname, "SELECT indexname FROM pg_indexes WHERE tablename = 'later' ORDER BY 1"):
        assert rows == [("later_pkey",), ("later_v",)]
    pair.fails_alike("CREATE TABLE later (id int)")
    pair.run("TRUNCATE later")
    pair.same("SELECT count(*) FROM later")
    pair.run("DROP TABLE later")
    assert shards.each(dbname, "SELECT to_regclass('later') IS NULL") == [[(True,)]] * 4
    pair.fails_alike("SELECT * FROM later")


def test_ddl_is_atomic(pair, shards, dbname):
    """One shard that cannot: none has it."""
    with shards[2].session(dbname=dbname, user="app") as db:
        db.run("CREATE TABLE later (blocker int)")
    assert pair.proxy.fails("CREATE TABLE later (id int PRIMARY KEY, v int)").pgcode == "42P07"
    with shards[2].session(dbname=dbname, user="app") as db:
        db.run("DROP TABLE later")
    assert shards.each(dbname, "SELECT to_regclass('later') IS NULL") == [[(True,)]] * 4


def copy_rows(n):
    return [(i, i * 0.5, rnd.choice(("plain", "tab\there", 'quote"d', "new\nline", "é,ü", "", "\\.")), i) for i in range(n)]


@pytest.mark.parametrize("how", ["TEXT", "CSV", "CSV, HEADER", "CSV, DELIMITER ';', NULL 'nil'", "BINARY"])
def test_copy_both_ways(pair, shards, dbname, how):
    pair.run("TRUNCATE copied")
    with pair.oracle.connection.cursor() as cur:
        for i, v, t, b in copy_rows(500):
            cur.execute(
                "INSERT INTO copied VALUES (%s, %s, %s, %s, '2026-01-01'::timestamptz + %s * '1 hour'::interval)",
                (i, v, None if i % 11 == 0 else t, b"\\x%06x" % b, i),
            )
    options = "(FORMAT %s)" % how
    whole = pair.oracle.copy_out("COPY copied TO STDOUT " + options)
    assert pair.proxy.copy_in("COPY copied FROM STDIN " + options, whole) == 500
    counts = [len(r) for r in shards.each(dbname, "SELECT 1 FROM copied")]
    assert sum(counts) == 500 and min(counts) > 50
    pair.same("SELECT * FROM copied ORDER BY id")
    # And back: the rows come in any order, so a plain server reads them.
    again = pair.proxy.copy_out("COPY copied TO STDOUT " + options)
    assert len(again) == len(whole)
    before = pair.same("SELECT * FROM copied ORDER BY id")
    pair.oracle.run("TRUNCATE copied")
    pair.oracle.copy_in("COPY copied FROM STDIN " + options, again)
    assert pair.same("SELECT * FROM copied ORDER BY id") == before


def test_copy_with_columns_a_query_and_errors(pair):
    pair.run("TRUNCATE copied")
    data = b"".join(b"%d\tone\n" % i for i in range(50))
    pair.oracle.copy_in("COPY copied (id, t) FROM STDIN", data)
    assert pair.proxy.copy_in("COPY copied (id, t) FROM STDIN", data) == 50
    pair.same("SELECT * FROM copied ORDER BY id")
    got = pair.proxy.copy_out("COPY (SELECT id, t FROM copied WHERE id < 5) TO STDOUT")
    assert sorted(got.splitlines()) == [b"%d\tone" % i for i in range(5)]
    # A bad line: nothing of the rest goes in either.
    bad = b"".join(b"%d\tx\n" % i for i in range(100, 150)) + b"oops\tx\n"
    for s in (pair.proxy, pair.oracle):
        with pytest.raises(Exception) as e:
            s.copy_in("COPY copied (id, t) FROM STDIN", bad)
        assert e.value.pgcode == "22P02"
    duplicate = b"".join(b"%d\tx\n" % i for i in range(30, 90))
    for s in (pair.proxy, pair.oracle):
        with pytest.raises(Exception) as e:
            s.copy_in("COPY copied (id, t) FROM STDIN", duplicate)
        assert e.value.pgcode == "23505"
    pair.same("SELECT count(*) FROM copied")


def test_a_large_copy_passes_without_being_held(pair):
    """More than any buffer: 40 MB in and out."""
    pair.proxy.run("TRUNCATE copied")
    line = b"x" * 4000
    data = b"".join(b"%d\t%s\n" % (i, line) for i in range(10000))
    assert pair.proxy.copy_in("COPY copied (id, t) FROM STDIN", data) == 10000
    assert pair.proxy.rows("SELECT count(*), sum(length(t)), sum(id) FROM copied") == [(10000, 40000000, 49995000)]
    assert len(pair.proxy.copy_out("COPY copied (id, t) TO STDOUT")) == len(data)
    pair.proxy.run("TRUNCATE copied")


@pytest.mark.parametrize("table", ["audit", "scratch"])
@pytest.mark.parametrize("kb", [300, 600, 1200])
def test_copy_in_large_messages(proxy, table, kb):
    """What a shard's socket takes at once holds up nobody: no event tells of its being taken."""
    columns = "id, what" if table == "audit" else "id, t"
    rows = b"".join(b"%d\t%s\n" % (1000 + i, b"x" * 1000) for i in range(kb))
    with proxy.wire(timeout=5) as w:
        for end in (h.COPY_DONE, h.copy_fail("enough"), h.COPY_DONE):
            w.send(h.query("COPY %s (%s) FROM STDIN" % (table, columns)))
            w.until("G")
            w.send(h.copy_data(rows), end)
            w.until_ready()
            w.ask(h.query("DELETE FROM %s WHERE id >= 1000" % table))


def test_the_reason_of_a_failed_copy_is_whole(proxy, oracle):
    """Cut in the middle of a character it would be another error."""
    for reason in ("no", "\u00e9" * 300, "x" * 254 + "\u00e9", ""):
        errors = []
        for server in (proxy, oracle):
            with server.wire() as w:
                w.send(h.query("COPY scratch (id, v, t) FROM STDIN"))
                w.until("G")
                w.send(h.copy_fail(reason))
                errors.append(h.fields(dict(w.until_ready())["E"]))
        assert errors[0]["M"] == errors[1]["M"] == "COPY from stdin failed: " + reason
        assert errors[0]["C"] == errors[1]["C"]


def test_several_statements_in_one_query_are_one_transaction(pair):
    pair.run("TRUNCATE scratch")
    pair.run("INSERT INTO scratch VALUES (1, 1, 'a'); INSERT INTO scratch VALUES (2, 2, 'b'), (3, 3, 'c'); UPDATE scratch SET v = v + 1")
    pair.fails_alike("DELETE FROM scratch WHERE id = 1; INSERT INTO scratch VALUES (9, 1, 'z'); SELECT 1 / 0; DELETE FROM scratch")
    pair.same("SELECT * FROM scratch ORDER BY id")


REFUSED = [
    "UPDATE accounts SET id = id + 1 WHERE id = 5",
    "PREPARE TRANSACTION 'mine'",
    "INSERT INTO accounts (id, name) VALUES (abs(-5), 'x')",
    "COPY accounts TO '/tmp/x'",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_refused_with_a_hint(pair, sql):
    pair.refused(sql)


ERRORS = [
    "SELEC 1",
    "SELECT * FROM nosuch",
    "SELECT nosuch FROM accounts",
    "SELECT nosuch FROM accounts WHERE id = 1",
    "SELECT 1 / 0",
    "SELECT id / 0 FROM accounts WHERE id = 3",
    "SELECT 1 / (id - 200) FROM accounts",
    "INSERT INTO accounts VALUES (1, 'twice')",
    "INSERT INTO accounts (id) VALUES (1000)",
    "INSERT INTO accounts (name) VALUES ('no key')",
    "SELECT * FROM accounts WHERE id = 'abc'",
    "DROP TABLE nosuch",
    "SELECT $1",
]


@pytest.mark.parametrize("sql", ERRORS)
def test_errors_are_those_of_the_server(pair, sql):
    wanted, got = pair.oracle.fails(sql), pair.proxy.fails(sql)
    assert got.pgcode == wanted.pgcode, (str(got), str(wanted))
    pair.same("SELECT 1")


def test_an_error_of_a_shard_names_it(pair):
    e = pair.proxy.fails("SELECT id / 0 FROM accounts WHERE id = 3")
    assert "s" in e.diag.context and "shard" in e.diag.context


def test_explain_route(proxy):
    with proxy.session() as s:
        def steps(sql):
            return s.dicts("EXPLAIN (ROUTE) " + sql)

        (one,) = steps("SELECT * FROM accounts WHERE id = 7")
        assert (one["kind"], len(one["shards"].split())) == ("single", 1)
        assert one["bucket"] is not None
        assert steps("SELECT * FROM accounts ORDER BY id")[0]["kind"] == "scatter"
        assert len(steps("SELECT * FROM accounts")[0]["shards"].split()) == 4
        assert steps("UPDATE accounts SET balance = 0")[0]["kind"] == "broadcast"
        assert steps("INSERT INTO accounts VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")[0]["kind"] == "split"
        # Nothing was done.
        assert s.one("SELECT count(*) FROM accounts") == N


def test_hand_routing(proxy, shards, dbname):
    with proxy.session() as s:
        for i in range(4):
            here = shards.each(dbname, "SELECT count(*) FROM accounts")[i][0][0]
            assert s.one("/* pgunison: shard=s%d */ SELECT count(*) FROM accounts" % i) == here
            s.run("SET pgunison.shard = 's%d'" % i)
            assert s.one("SELECT count(*) FROM accounts") == here
            s.run("RESET pgunison.shard")
        assert s.one("SELECT count(*) FROM accounts") == N


def test_results_of_any_size_pass(pair):
    for size in (0, 1, 8191, 65536, 5000000):
        assert pair.proxy.one("SELECT repeat('x', %s)", size) == "x" * size
    pair.same("SELECT id, repeat(name, 2000) FROM accounts ORDER BY id")
