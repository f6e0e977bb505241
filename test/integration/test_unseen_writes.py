"""A statement that looks like a read, but whose code writes: it takes part in the commit like any write.

One transaction updates a row on one shard and runs such a statement on the other; the first shard refuses at COMMIT (a
deferred trigger). Then nothing may stay on the other. EXPLAIN (ROUTE) says of what only reads that it does.
"""
import io

import psycopg2
import pytest

TABLES = {name: "hash(id)" for name in ("docs", "guarded", "typed", "checked")}
SHARDS = 2
SETTINGS = {"workers": 1, "default_pool_size": 2}

SCHEMA = """
CREATE TABLE logged (id int);
CREATE FUNCTION ins(a int) RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO logged VALUES (a); RETURN a; END$$;
CREATE FUNCTION ins2(a int, b int) RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO logged VALUES (a); RETURN a; END$$;
CREATE FUNCTION ins_second(a int, b int) RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO logged VALUES (b); RETURN b; END$$;
CREATE FUNCTION ins_row(a docs) RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO logged VALUES (a.id); RETURN 1; END$$;
CREATE FUNCTION ins_check(a int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN INSERT INTO logged VALUES (a); RETURN true; END$$;
CREATE FUNCTION ins_behind(a int) RETURNS int STABLE LANGUAGE sql AS 'SELECT ins(a)';
CREATE FUNCTION folded(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM ins(a); RETURN a; END$$;
CREATE FUNCTION blob(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$BEGIN PERFORM lo_create(0); RETURN a; END$$;
CREATE FUNCTION run_text(a int) RETURNS int STABLE LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SELECT ins(' || a || ')'; RETURN a; END$$;
CREATE FUNCTION plus(a int, b int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN a + b; END$$;
CREATE FUNCTION small(a int) RETURNS bool STABLE LANGUAGE plpgsql AS $$BEGIN RETURN (SELECT count(*) FROM logged) < 100; END$$;
CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = ins2);
CREATE OPERATOR ##> (RIGHTARG = int, FUNCTION = ins_behind);
CREATE OPERATOR ##< (RIGHTARG = int, FUNCTION = blob);
CREATE OPERATOR ##= (RIGHTARG = int, FUNCTION = folded);
CREATE OPERATOR ##! (RIGHTARG = int, FUNCTION = run_text);
CREATE OPERATOR |+| (LEFTARG = int, RIGHTARG = int, FUNCTION = plus);
CREATE DOMAIN dom AS int CHECK (ins_check(VALUE));
CREATE DOMAIN positive AS int CHECK (small(VALUE));
CREATE TYPE pair AS (a int, b int);
CREATE FUNCTION from_pair(a pair) RETURNS text LANGUAGE plpgsql AS $$BEGIN INSERT INTO logged VALUES (a.a); RETURN 'x'; END$$;
CREATE CAST (pair AS text) WITH FUNCTION from_pair(pair) AS IMPLICIT;
CREATE FUNCTION abs(a pair) RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO logged VALUES (a.a); RETURN 1; END$$;
CREATE TYPE other_pair AS (a int, b int);
CREATE FUNCTION twice(a int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * a';
CREATE VIEW v_calls AS SELECT ins(id) AS called, id FROM docs WHERE ins(id) > 0;
CREATE VIEW v_where AS SELECT id FROM docs WHERE id ### 1 > 0;
CREATE VIEW v_of_view AS SELECT id FROM v_where;
CREATE VIEW v_plain AS SELECT id, upper(note) AS note, plus(id, 1) AS next FROM docs;
CREATE VIEW v_quiet AS SELECT id, random() AS r, now() AS n, clock_timestamp() AS c, gen_random_uuid() AS u FROM docs;
CREATE VIEW v_home AS SELECT ins(7) AS a;
CREATE VIEW v_seven AS SELECT 7 AS a;
CREATE TABLE guarded AS SELECT id FROM docs;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (ins(id) > 0);
CREATE TABLE typed AS SELECT id, ROW(id, 1)::pair AS p FROM docs;
CREATE TABLE checked AS SELECT id, id::positive AS a FROM docs;
"""

# Views over sharded tables are only for those who say where.
BY_HAND = "/* pgunison: shard=s1 */ "
# {} is the condition, on the second shard.
WRITING = {
    "function_planned": "EXPLAIN SELECT folded(%d) FROM docs WHERE {}",
    "function": "SELECT ins(id) FROM docs WHERE {}",
    "aggregate": "SELECT sum_ins(id) FROM docs WHERE {}",
    "operator": "SELECT id ### 1 FROM docs WHERE {}",
    "operator_where": "SELECT id FROM docs WHERE {} AND id ### 1 > 0",
    "operator_filter": "SELECT max(id) FILTER (WHERE id ### 1 > 0) FROM docs WHERE {}",
    "operator_explain": "EXPLAIN ANALYZE SELECT id ### 1 FROM docs WHERE {}",
    "operator_copy": "COPY (SELECT id ### 1 FROM docs WHERE {}) TO STDOUT",
    "operator_cursor": "DECLARE c CURSOR FOR SELECT id ### 1 FROM docs WHERE {}; FETCH ALL FROM c",
    "operator_stable": "SELECT ##> id FROM docs WHERE {}",
    "operator_text": "SELECT ##! id FROM docs WHERE {}",
    "operator_planned": "EXPLAIN SELECT ##= %d FROM docs WHERE {}",
    "domain": "SELECT id::dom FROM docs WHERE {}",
    "domain_sublink": "SELECT (SELECT docs.id::dom) FROM docs WHERE {}",
    "column_of_row": "SELECT docs.ins_row FROM docs WHERE {}",
    "notation": "SELECT (id).ins FROM docs WHERE {}",
    "notation_explain": "EXPLAIN ANALYZE SELECT (id).ins FROM docs WHERE {}",
    "notation_from": "SELECT x.ins FROM docs, generate_series(id, id) x WHERE {}",
    "cast": "SELECT lpad(p, 3) FROM typed WHERE {}",
    "shadow": "SELECT abs(p) FROM typed WHERE {}",
    "view": BY_HAND + "SELECT id FROM v_calls WHERE {}",
    "view_where": BY_HAND + "SELECT id FROM v_where WHERE {}",
    "view_of_view": BY_HAND + "SELECT id FROM v_of_view WHERE {}",
    "view_explain": BY_HAND + "EXPLAIN ANALYZE SELECT id FROM v_where WHERE {}",
    "view_joined": BY_HAND + "SELECT id FROM docs JOIN v_where USING (id) WHERE {}",
    "policy": "SELECT id FROM guarded WHERE {}",
    "policy_copy": BY_HAND + "COPY guarded TO STDOUT",
    "policy_of_other": "SELECT id FROM docs WHERE {} AND EXISTS (SELECT FROM guarded g WHERE g.id = docs.id)",
}
READING = {
    "plain": "SELECT * FROM docs WHERE {}",
    "builtin": "SELECT upper(note), now(), random() FROM docs WHERE {}",
    "operator": "SELECT id |+| 1 FROM docs WHERE {}",
    "domain": "SELECT id::positive FROM docs WHERE {}",
    "view": BY_HAND + "SELECT * FROM v_plain WHERE {}",
    "view_quiet": BY_HAND + "SELECT * FROM v_quiet WHERE {}",
    "type": "SELECT a FROM checked WHERE {}",
    "view_home": "SELECT * FROM v_seven",
    "field": "SELECT (ROW(id, 1)::other_pair).a FROM docs WHERE {}",
    "field_from": "SELECT e.key, docs.note FROM docs, json_each('{{}}') e WHERE {}",
    "notation": "SELECT (id).twice, (note).upper FROM docs WHERE {}",
}


@pytest.fixture(scope="module")
def where(proxy, shards, dbname):
    """An id on each shard."""
    with proxy.session() as s:
        s.run("CREATE TABLE docs (id int PRIMARY KEY, note text DEFAULT '')")
        for i in range(2, 12):
            s.run("INSERT INTO docs (id) VALUES (%d)" % i)
    ids = []
    for shard in shards:
        with shard.session(dbname=dbname, user="app") as db:
            db.run(SCHEMA)
            db.run("CREATE AGGREGATE sum_ins(int) (SFUNC = ins_second, STYPE = int, INITCOND = '0')")
            ids.append(db.rows("SELECT min(id) FROM docs")[0][0])
    with proxy.session() as s:  # which makes the proxy forget what it knew of the others
        s.run("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$")
    return ids


def logged(shards, dbname):
    rows = []
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            rows += [i for (i,) in db.rows("SELECT id FROM logged")]
            rows += [oid for (oid,) in db.rows("SELECT oid FROM pg_largeobject_metadata")]
    return rows


@pytest.fixture
def refusing(shards, dbname, where):
    """What makes a shard refuse at COMMIT after an update of docs."""
    def refuse(n):
        with shards[n].session(dbname=dbname) as db:
            db.run("CREATE CONSTRAINT TRIGGER no AFTER UPDATE ON docs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
                   " EXECUTE FUNCTION no()")
    yield refuse
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            db.run("DROP TRIGGER IF EXISTS no ON docs; TRUNCATE logged; SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


def commit(proxy, update, statement):
    with proxy.session() as s:
        s.run("BEGIN")
        s.run(update)
        for part in statement.split("; "):
            if "COPY" in part:
                with s.connection.cursor() as cur:
                    cur.copy_expert(part, io.BytesIO())
            else:
                s.run(part)
        s.run("COMMIT")


@pytest.mark.parametrize("name", WRITING)
def test_nothing_stays_of_a_failed_commit(proxy, shards, dbname, where, refusing, name):
    statement = WRITING[name].replace("%d", str(where[1])).format("id = %d" % where[1])
    commit(proxy, "UPDATE docs SET note = 'x' WHERE id = %d" % where[0], statement)
    assert where[1] in logged(shards, dbname)
    refusing(0)
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            db.run("TRUNCATE logged")
    with pytest.raises(psycopg2.Error, match="no"):
        commit(proxy, "UPDATE docs SET note = 'x' WHERE id = %d" % where[0], statement)
    assert logged(shards, dbname) == []


def test_large_objects_count(proxy, shards, dbname, where, refusing):
    refusing(0)
    with pytest.raises(psycopg2.Error, match="no"):
        commit(proxy, "UPDATE docs SET note = 'x' WHERE id = %d" % where[0],
               "SELECT ##< id FROM docs WHERE id = %d" % where[1])
    assert logged(shards, dbname) == []


def test_view_without_a_table(proxy, shards, dbname, where, refusing):
    """On the home shard; the other one refuses."""
    refusing(1)
    with pytest.raises(psycopg2.Error, match="no"):
        commit(proxy, "UPDATE docs SET note = 'x' WHERE id = %d" % where[1], "SELECT * FROM v_home")
    assert logged(shards, dbname) == []


@pytest.mark.parametrize("statement", ["SELECT id ### 1 FROM docs", "SELECT id FROM docs WHERE id::dom > 0",
                                       "SELECT id ### 1 FROM docs ORDER BY id LIMIT 100"])
def test_over_several_shards_without_a_block(proxy, shards, dbname, where, refusing, statement):
    with shards[1].session(dbname=dbname) as db:
        db.run("CREATE CONSTRAINT TRIGGER no AFTER INSERT ON logged DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
               " EXECUTE FUNCTION no()")
    try:
        with proxy.session() as s, pytest.raises(psycopg2.Error, match="no"):
            s.run(statement)
    finally:
        with shards[1].session(dbname=dbname) as db:
            db.run("DROP TRIGGER no ON logged")
    assert logged(shards, dbname) == []


def commits_of(proxy, statement):
    with proxy.session() as s:
        if statement.startswith(BY_HAND):
            s.run("SET pgunison.shard TO s1")
            statement = statement[len(BY_HAND):]
        return [row[6] for row in s.rows("EXPLAIN (ROUTE) " + statement)]


@pytest.mark.parametrize("name", READING)
def test_what_reads_does_not_commit(proxy, where, name):
    statement = READING[name].format("true")
    with proxy.session() as s:
        s.run(READING[name].format("id = %d" % where[1]))
    assert commits_of(proxy, statement) == ["no writes"]


def test_what_writes_commits(proxy, where):
    assert commits_of(proxy, WRITING["operator"].format("true")) == ["two-phase"]
