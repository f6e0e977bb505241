"""Statements that the proxy prepares on its servers are its own: a function of the application's that does away with them, or
makes others of their names, changes neither what another client executes nor how a transaction ends."""
import pytest

import pgharness as h
from pgharness import eventually

SHARDS = 2
TABLES = {"t": "hash(id)"}
SETTINGS = {"workers": 1, "default_pool_size": 1, "query_wait_timeout": "10s"}

FUNCTIONS = {
    "as_it_is": "DEALLOCATE ALL",
    "all": "EXECUTE 'DEALLOCATE ALL'",
    "each": "FOR n IN SELECT name FROM pg_prepared_statements LOOP EXECUTE 'DEALLOCATE ' || quote_ident(n); END LOOP",
    "one": "FOR n IN SELECT name FROM pg_prepared_statements LIMIT 1 LOOP EXECUTE 'DEALLOCATE ' || quote_ident(n); END LOOP",
    "others": "FOR n IN SELECT name FROM pg_prepared_statements LOOP EXECUTE 'DEALLOCATE ' || quote_ident(n);"
    " EXECUTE 'PREPARE ' || quote_ident(n) || ' AS SELECT ''forged'''; END LOOP",
}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
        for name, body in FUNCTIONS.items():
            s.run("CREATE FUNCTION away_%s() RETURNS int LANGUAGE plpgsql AS $$DECLARE n text; BEGIN %s; RETURN 1; END$$" % (name, body))


@pytest.fixture(scope="module")
def ids(shards, dbname):
    """A key of each shard."""
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT g, hashint4extended(g, 0) & 1023 FROM generate_series(0, 39) g")
    by_shard = {}
    for key, bucket in buckets:
        by_shard.setdefault(shards.shard_of_bucket(bucket), key)
    return [by_shard[i] for i in range(len(shards))]


@pytest.fixture(autouse=True)
def empty(proxy):
    yield
    with proxy.session() as s:
        s.run("DELETE FROM t")


def told(answer):
    """First columns of rows, and SQLSTATEs."""
    return [m[1] if m[0] == "D" else m[2].encode() for m in answer if m[0] in "DE"]


def all_servers_idle(proxy):
    with proxy.console() as console:
        return all(r["sv_active"] == 0 for r in console.dicts("SHOW POOLS") if r["database"] == h.DATABASE)


@pytest.mark.parametrize("how", FUNCTIONS)
def test_another_clients_statement_is_what_it_was(proxy, how):
    texts = ["SELECT 'true'::text", "SELECT 'true'::text, 2", "SELECT 'true'::text, 3"]
    with proxy.wire() as victim:
        for i, text in enumerate(texts):
            answer = victim.ask(h.parse(text, "s%d" % i), h.bind(name="s%d" % i), h.execute(), h.SYNC)
            assert told(answer) == [b"true"]
        with proxy.session() as other:
            assert other.one("SELECT away_%s()" % how) == 1
            if how != "others":  # otherwise the server is this session's: PREPARE is to stay
                for i in range(len(texts)):
                    answer = victim.ask(h.bind(name="s%d" % i), h.execute(), h.SYNC)
                    assert told(answer) == [b"true"]
        eventually(lambda: all_servers_idle(proxy))
        for i in range(len(texts)):
            answer = victim.ask(h.bind(name="s%d" % i), h.execute(), h.SYNC)
            assert told(answer) == [b"true"]


@pytest.mark.parametrize("how", FUNCTIONS)
@pytest.mark.parametrize("ends", ["same", "next", "another"])
def test_a_commit_over_shards_does_not_need_them(proxy, shards, dbname, ids, how, ends):
    def transfer(session, value, first=None):
        session.run("BEGIN")
        for key in ids:
            session.run("INSERT INTO t VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", key, value)
        if first:
            for key in ids:
                session.run("SELECT away_%s() FROM t WHERE id = %%s" % first, key)
        assert session.run("COMMIT") == "COMMIT"

    def seen():
        return [[r[0] for r in found] for found in shards.each(dbname, "SELECT v FROM t")]

    with proxy.session() as s:
        for n in range(4):  # each shard has decided, and has the statements prepared
            transfer(s, "before %d" % n)
        if ends == "same":
            transfer(s, "now", how)
        elif ends == "next":
            for key in ids:
                s.run("SELECT away_%s() FROM t WHERE id = %%s" % how, key)
            transfer(s, "now")
        else:
            for key in ids:
                s.run("SELECT away_%s() FROM t WHERE id = %%s" % how, key)
    if ends == "another":
        with proxy.session() as s:
            transfer(s, "now")
    assert seen() == [["now"]] * len(ids)
    with proxy.session() as s:
        for n in range(4):
            transfer(s, "after")
    assert seen() == [["after"]] * len(ids)
