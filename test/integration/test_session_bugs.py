"""What sessions once did wrong, or nearly: state left over from one statement to the next, answers out of order,
statements outside their transaction, outcomes that were not told."""
import os
import signal

import pytest

import pgharness as h
from pgharness import eventually

DIVIDES = "SELECT 1 / (length($1) - 1)"  # by zero, if $1 is 'x'

TABLES = {"t": "hash(id)", "d": "hash(id)"}  # of schema public; others of these names live on the home shard


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
        s.run("CREATE TABLE d (id int PRIMARY KEY, v int, UNIQUE (id, v) DEFERRABLE INITIALLY DEFERRED)")
        s.run("CREATE TABLE home (id int, v text)")


@pytest.fixture(autouse=True)
def empty(proxy):
    yield
    with proxy.session() as s:
        for table in ("t", "d", "home"):
            s.run("DELETE FROM " + table)


@pytest.fixture(scope="module")
def ids(shards, dbname):
    """A key of each shard."""
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT g, hashint4extended(g, 0) & 1023 FROM generate_series(0, 39) g")
    by_shard = {}
    for key, bucket in buckets:
        by_shard.setdefault(shards.shard_of_bucket(bucket), key)
    return [by_shard[i] for i in range(len(shards))]


def rows(proxy, table="t"):
    with proxy.session() as s:
        return sorted(s.rows("SELECT id, v FROM " + table))


def run(sql, *values, name="", portal=""):
    """Parse, Bind, Execute."""
    return h.parse(sql, name) + h.bind(*values, name=name, portal=portal) + h.execute(portal)


def shown(w, sql):
    """The one value of a simple query."""
    (value,) = [m[1] for m in w.ask(h.query(sql)) if m[0] == "D"]
    return value.decode()


def failed(answer):
    """SQLSTATEs."""
    return [m[2] for m in answer if m[0] == "E"]


def tags(answer):
    return [m[1] for m in answer if m[0] == "C"]


def types(answer):
    return "".join(m[0] for m in answer)


# --- outcomes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["block", "several", "pipeline"])
def test_a_refused_commit_is_told(make_proxy, ids, how):
    proxy = make_proxy(settings={"two_phase_commit": "off"})
    inserts = ["INSERT INTO t VALUES (%d, 'x')" % i for i in ids[:2]]
    with proxy.wire() as w:
        if how == "block":
            w.ask(h.query("BEGIN"))
            for insert in inserts:
                w.ask(h.query(insert))
            answer = w.ask(h.query("COMMIT"))
            assert not tags(answer)
        elif how == "several":
            answer = w.ask(h.query(";".join(inserts)))
        else:
            answer = w.ask(*[run(insert) for insert in inserts], h.SYNC)
        assert failed(answer) == ["0A000"]
        assert answer[-1] == ("Z", "I")
    assert rows(proxy) == []


@pytest.mark.parametrize("how", ["simple", "extended", "several"])
def test_commit_after_an_idle_shard_was_lost_is_an_error(proxy, shards, dbname, ids, how):
    """Nobody has told the client that its transaction failed: COMMIT must."""
    lost = proxy.tail(1000).count("lost shard")
    with proxy.wire() as w:
        if how == "several":
            w.send(
                h.query(
                    "INSERT INTO t VALUES (%d, 'lost'); SELECT pg_sleep(1.5) FROM (SELECT count(*) FROM t WHERE id = %d) x" % tuple(ids[:2])
                )
            )
            w.until("C")
        else:
            w.ask(h.query("BEGIN"))
            w.ask(h.query("INSERT INTO t VALUES (%d, 'lost')" % ids[0]))
        with shards[0].session(dbname=dbname) as db:
            others = "FROM pg_stat_activity WHERE query LIKE 'INSERT INTO t VALUES%lost%' AND pid <> pg_backend_pid()"
            assert db.rows("SELECT pg_terminate_backend(pid) " + others)
        if how == "simple":
            eventually(lambda: proxy.tail(1000).count("lost shard") > lost)
            answer = w.ask(h.query("COMMIT"))
        elif how == "extended":
            eventually(lambda: proxy.tail(1000).count("lost shard") > lost)
            answer = w.ask(run("COMMIT") + h.SYNC)
        else:
            answer = h.shape(w.until_ready())
        assert len(failed(answer)) == 1 and "ROLLBACK" not in tags(answer), answer
        assert answer[-1] == ("Z", "I")
        assert w.ask(h.query("SELECT 1"))[-1] == ("Z", "I")
    assert rows(proxy) == []


def test_a_failed_commit_and_chain_does_not_chain(proxy, oracle):
    for side in (proxy, oracle):
        with side.wire() as w:
            w.ask(h.query("CREATE TABLE e (id int, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)"))
            w.ask(h.query("BEGIN"))
            w.ask(h.query("INSERT INTO e VALUES (1), (1)"))
            answer = w.ask(h.query("COMMIT AND CHAIN"))
            assert failed(answer) == ["23505"] and answer[-1] == ("Z", "I")


# --- what one statement leaves for the next ------------------------------------------------------------------


def test_rollback_to_after_an_error_has_a_tag(proxy, ids):
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[0]))
        w.ask(h.query("SAVEPOINT a"))
        assert failed(w.ask(h.query("SELECT 1 / id FROM (SELECT id - id AS id FROM t WHERE id = %d UNION ALL SELECT 0) x" % ids[0])))
        assert w.ask(h.query("ROLLBACK TO a")) == [("C", "ROLLBACK"), ("Z", "T")]
        assert w.ask(h.query("RELEASE a")) == [("C", "RELEASE"), ("Z", "T")]
        w.ask(h.query("ROLLBACK"))


def test_an_error_of_planning_is_not_kept_for_later(proxy, ids):
    with proxy.wire() as w:
        w.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[0]))
        answer = w.ask(run(DIVIDES, "x"), run("SELECT 1; SELECT 2"), h.SYNC)
        assert failed(answer) == ["22012"]
        assert shown(w, "SELECT 42") == "42"


def test_a_skipped_parse_is_not_taken_for_the_next(proxy, ids):
    """The Parse waits for the answers before it; an error skips it; then comes another of the same name."""
    with proxy.wire() as w:
        for i in ids[:2]:
            w.ask(h.query("INSERT INTO t VALUES (%d, 'old')" % i))
        fails = "UPDATE t SET v = (1 / (length($1) - 1))::text WHERE id = %d" % ids[0]
        skipped = "SHOW pgunison.shards"  # the proxy's own: it has to wait
        answer = w.ask(run(fails, "x"), h.parse(skipped), h.describe("S"), h.SYNC)
        assert failed(answer) == ["22012"]
        answer = w.ask(run("SELECT 'new'"), h.SYNC)
        assert ("D", b"new") in answer, answer


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("bound", [False, True])
def test_a_skipped_parse_has_made_no_statement(proxy, ids, known, bound):
    sql = "SELECT v FROM t WHERE id = %d" % ids[0]
    with proxy.wire() as w:
        w.ask(h.query(sql))
        if known: # on the server, under another client's name
            w.ask(run(sql, name="other"), h.SYNC)
        again = h.parse(sql, "s") + (h.bind(name="s") + h.execute() if bound else h.describe("S", "s"))
        assert failed(w.ask(run(DIVIDES, "x"), again, h.SYNC)) == ["22012"]
        answer = w.ask(again, h.SYNC)
        assert not failed(answer) and types(answer)[0] == "1"
        assert types(w.ask(h.bind(name="s") + h.execute(), h.SYNC))[0] == "2"


def test_a_failed_bind_after_parse_leaves_nothing_owed(proxy, ids):
    with proxy.wire() as w:
        sql = "SELECT v FROM t WHERE id = $1"
        w.ask(h.query("SELECT v FROM t WHERE id = 1"))
        answer = w.ask(h.parse(sql, "s"), h.bind("no number", name="s"), h.execute(), h.SYNC)
        assert len(failed(answer)) == 1
        made = "1" in types(answer)
        if not made:
            assert types(w.ask(h.parse(sql, "s"), h.describe("S", "s"), h.SYNC))[0] == "1"
        assert types(w.ask(h.bind("1", name="s") + h.execute(), h.SYNC))[0] == "2"


def test_an_unnamed_statement_survives_other_users_of_its_server(make_proxy, ids):
    proxy = make_proxy(settings={"workers": 1, "default_pool_size": 1, "reserve_pool_size": 0})
    sql = "SELECT $1::int + 1, id FROM t WHERE id = %d" % ids[0]
    with proxy.wire() as a, proxy.wire() as b:
        b.ask(h.query("INSERT INTO t VALUES (%d, 'x')" % ids[0]))
        assert not failed(a.ask(h.parse(sql), h.describe("S"), h.SYNC))
        b.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[0]))
        answer = a.ask(h.bind("1"), h.execute(), h.SYNC)
        assert not failed(answer) and answer[1][1] == b"2", answer


# --- order ---------------------------------------------------------------------------------------------------


def test_a_refused_parse_waits_for_the_answers_before_it(proxy, ids):
    refused = "SELECT DISTINCT ON (a.v) a.id, b.id FROM t a JOIN t b ON a.v = b.v WINDOW w AS ()"
    with proxy.wire() as w:
        first = w.ask(h.parse(refused), h.describe("S"), h.SYNC)
        w.ask(run("SELECT v FROM home"), h.SYNC)
        answer = w.ask(run("SELECT pg_sleep(0.2), 'first'"), h.parse(refused), h.describe("S"), h.SYNC)
        assert failed(first) == ["0A000"] and failed(answer) == ["0A000"]
        assert types(answer) == "12DCEZ", answer


def test_a_query_before_sync_is_skipped_after_an_error(proxy, oracle):
    answers = []
    for side in (proxy, oracle):
        with side.wire() as w:
            w.ask(h.query("CREATE TABLE IF NOT EXISTS home (id int, v text)"))
            answers.append(w.ask(run(DIVIDES, "x"), h.query("INSERT INTO home VALUES (1, 'no')"), h.SYNC))
            assert shown(w, "SELECT count(*) FROM home WHERE v = 'no'") == "0"
    assert answers[0] == answers[1]
    assert failed(answers[0]) == ["22012"]


# --- one transaction -------------------------------------------------------------------------------------------


def test_begin_within_a_pipeline_takes_in_what_came_before(proxy, ids):
    insert = "INSERT INTO t VALUES (%d, 'x')"
    with proxy.wire() as w:
        w.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[0]))
        answer = w.ask(run(insert % ids[0]), run("BEGIN"), run(insert % (ids[0] + 1000000)), run(insert % ids[1]), h.SYNC)
        assert answer[-1] == ("Z", "T"), answer
        w.ask(h.query("ROLLBACK"))
    assert rows(proxy) == []


def test_rollback_within_a_pipeline_takes_back_what_came_before(proxy, ids):
    with proxy.wire() as w:
        answer = w.ask(run("INSERT INTO t VALUES (%d, 'x')" % ids[0]), run("ROLLBACK"), h.SYNC)
        assert answer[-1] == ("Z", "I")
    assert rows(proxy) == []


def test_set_within_a_pipeline_does_not_commit_it(proxy, ids):
    for table in ("t", "home"):
        with proxy.wire() as w:
            insert = "INSERT INTO %s VALUES (%d, 'x')" % (table, ids[0])
            answer = w.ask(run(insert), run("SET work_mem TO '1MB'"), run(DIVIDES, "x"), h.SYNC)
            assert failed(answer) == ["22012"] and answer[-1] == ("Z", "I")
        assert rows(proxy, table) == []


@pytest.mark.parametrize("mode,variable,value", [
    ("ISOLATION LEVEL REPEATABLE READ", "transaction_isolation", "repeatable read"),
    ("READ ONLY", "transaction_read_only", "on"),
])
def test_begin_in_front_of_other_statements_keeps_its_modes(proxy, mode, variable, value):
    with proxy.wire() as w:
        answer = w.ask(h.query("BEGIN %s; SHOW %s" % (mode, variable)))
        assert ("D", value.encode()) in answer, answer
        w.ask(h.query("ROLLBACK"))


@pytest.fixture(scope="module")
def lonely_role(shards, dbname, schema):
    """A role that only the first shard knows: SET LOCAL ROLE is right there, and fails when another shard joins."""
    with shards[0].session(dbname="postgres") as db:
        db.run("CREATE ROLE lonely")
        db.run("GRANT lonely TO app")
    with shards[0].session(dbname=dbname) as db:
        db.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO lonely")
    yield "lonely"
    with shards[0].session(dbname=dbname) as db:
        db.run("DROP OWNED BY lonely")
        db.run("DROP ROLE lonely")


def statements_behind(ids):
    insert = "INSERT INTO t VALUES (%d, 'x')"
    return {
        "simple": [h.query(insert % ids[1])],
        "new": [h.query("SELECT v, id, 17 FROM d WHERE id = %d" % ids[1])],
        "several shards": [h.query("UPDATE t SET v = 'y'")],
        "aggregate": [h.query("SELECT count(*) FROM t")],
        "extended": [run(insert % ids[1]), h.SYNC],
        "flushed": [h.parse(insert % ids[1], "f"), h.describe("S", "f"), h.FLUSH, h.bind(name="f"), h.execute(), h.FLUSH, h.SYNC],
        "spread": [run("UPDATE t SET v = $1", "y"), h.SYNC],
        "copy": [h.query("COPY t FROM STDIN")],
    }


@pytest.mark.parametrize("what", list(statements_behind([0, 0])))
def test_a_shard_that_cannot_join(proxy, ids, lonely_role, what):
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("INSERT INTO t VALUES (%d, 'x')" % ids[0]))
        assert w.ask(h.query("SET LOCAL ROLE " + lonely_role))[-1] == ("Z", "T")
        answer = w.ask(*statements_behind(ids)[what])
        assert failed(answer) == ["22023"], answer
        assert answer[-1] == ("Z", "E")
        assert failed(w.ask(h.query("SELECT 1"))) == ["25P02"]
        assert failed(w.ask(run("SELECT 1"), h.SYNC)) == ["25P02"]
        assert w.ask(h.query("COMMIT")) == [("C", "ROLLBACK"), ("Z", "I")]
        assert shown(w, "SELECT 42") == "42"
    assert rows(proxy) == []


def test_what_a_late_shard_must_hear_is_not_lost_in_a_comment(proxy, ids):
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("SAVEPOINT a -- one; two"))
        w.ask(h.query("SET LOCAL work_mem TO '1234kB' -- for this"))
        w.ask(h.query("SAVEPOINT b"))
        assert shown(w, "SELECT current_setting('work_mem') FROM (SELECT count(*) FROM t WHERE id = %d) x" % ids[2]) == "1234kB"
        assert w.ask(h.query("ROLLBACK TO b")) == [("C", "ROLLBACK"), ("Z", "T")]
        assert w.ask(h.query("RELEASE a")) == [("C", "RELEASE"), ("Z", "T")]
        assert w.ask(h.query("COMMIT"))[-1] == ("Z", "I")


# --- variables ---------------------------------------------------------------------------------------------------


def test_set_reaches_shards_whose_server_is_kept(make_proxy, ids):
    proxy = make_proxy(settings={"pool_mode": "session"})
    with proxy.wire() as w:
        for i in ids:
            w.ask(h.query("INSERT INTO t VALUES (%d, 'x')" % i))
        w.ask(h.query("SET work_mem TO '1234kB'"))
        for i in ids:
            assert shown(w, "SELECT current_setting('work_mem') FROM t WHERE id = %d" % i) == "1234kB"


@pytest.mark.parametrize("leave", [False, True])
def test_variables_of_a_two_phase_commit_that_failed_stay_with_nobody(make_proxy, ids, leave):
    """What has been prepared keeps what was SET, even when it is rolled back then."""
    proxy = make_proxy(settings={"workers": 1, "default_pool_size": 1, "reserve_pool_size": 0})
    with proxy.wire() as w, proxy.wire() as other:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("SET work_mem TO '1234kB'"))
        for i in ids:
            w.ask(h.query("INSERT INTO t VALUES (%d, 'x')" % i))
        if leave:
            w.send(h.query("COMMIT"), h.TERMINATE)
            w.until_closed()
        else: # a temporary table in one, and a deferred violation in another: that one cannot commit
            for i in ids[1:2]:
                w.ask(h.query("INSERT INTO d VALUES (%d, 1)" % i))
            w.ask(h.query("SELECT 1"))
            w.ask(h.query("SET LOCAL pgunison.shard TO 's3'"))
            w.ask(h.query("CREATE TABLE IF NOT EXISTS e3 (id int, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)"))
            w.ask(h.query("INSERT INTO e3 VALUES (7), (7)"))
            assert failed(w.ask(h.query("COMMIT"))) == ["23505"]
            for i in ids:
                assert shown(w, "SELECT current_setting('work_mem') FROM (SELECT count(*) FROM t WHERE id = %d) x" % i) != "1234kB"
        for i in ids:
            sql = "SELECT current_setting('work_mem') FROM (SELECT count(*) FROM t WHERE id = %d) x" % i
            assert shown(other, sql) != "1234kB"


# --- nobody waits for ever -----------------------------------------------------------------------------------------


def test_several_statements_while_a_commit_is_applied(make_proxy, ids):
    proxy = make_proxy(settings={"commit_ack": "decided"})
    with proxy.wire() as w:
        for n in range(20):
            w.send(h.query("BEGIN"))
            w.send(*[h.query("INSERT INTO t VALUES (%d, 'x') ON CONFLICT (id) DO UPDATE SET v = '%d'" % (i, n)) for i in ids])
            w.send(h.query("COMMIT"), h.query("SELECT 1; SELECT 2"))
            for _ in range(len(ids) + 2):
                assert w.until_ready()[-1][1] in (b"T", b"I")
            assert tags(h.shape(w.until_ready())) == ["SELECT 1", "SELECT 1"]


def test_copy_in_by_the_extended_protocol_with_its_sync(proxy):
    """As PQexecParams() sends it. Refused, or done: but never waited for."""
    with proxy.wire() as w:
        w.send(run("COPY home FROM STDIN"), h.SYNC)
        kind = w.until("EG")[-1][0]
        if kind == "G":
            w.send(h.copy_data(b"1\tx\n"), h.COPY_DONE, h.SYNC)
        answer = h.shape(w.until_ready())
        assert answer[-1] == ("Z", "I")
        assert shown(w, "SELECT 1") == "1"
    assert rows(proxy, "home") == ([(1, "x")] if kind == "G" else [])


def test_copy_in_after_a_pipeline_without_sync(proxy, ids):
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.send(run("INSERT INTO t VALUES (%d, 'x')" % ids[0]), h.query("COPY t FROM STDIN"))
        w.until("G")
        w.send(h.copy_data(b"".join(b"%d\tcopied\n" % i for i in ids[1:])), h.COPY_DONE)
        assert tags(h.shape(w.until_ready())) == ["COPY 3"]
        w.ask(h.query("COMMIT"))
    assert len(rows(proxy)) == 4


def test_a_shard_lost_with_its_sync_due(proxy, shards, dbname, ids):
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.send(run("INSERT INTO t VALUES (%d, pg_backend_pid()::text) RETURNING v" % ids[0]), h.FLUSH)
        pid = int(h.data_row(next(b for k, b in w.until("C") if k == "D"))[0])
        os.kill(pid, signal.SIGSTOP)
        try:
            w.send(run("INSERT INTO t VALUES (%d, 'x')" % ids[1]), h.SYNC)
            w.until("C")
            with shards[0].session(dbname=dbname) as db:
                db.run("SELECT pg_terminate_backend(%d)" % pid)
        finally:
            os.kill(pid, signal.SIGCONT)
        answer = h.shape(w.until_ready())
        assert failed(answer) and answer[-1] == ("Z", "E")
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
    assert rows(proxy) == []


def test_a_search_path_of_the_transaction_counts_for_routing(proxy, ids):
    with proxy.session() as s:
        s.run("CREATE SCHEMA apart")
        s.run("CREATE TABLE apart.t (id int, v text)")
        s.run("INSERT INTO apart.t VALUES (1, 'apart'), (2, 'apart')")
        for i in ids:
            s.run("INSERT INTO t VALUES (%s, 'x')", i)
    with proxy.wire() as w:
        assert shown(w, "SELECT count(*) FROM t") == "4"
        w.ask(h.query("BEGIN"))
        w.ask(h.query("SET LOCAL search_path TO apart"))
        assert shown(w, "SELECT count(*) FROM t") == "2"
        w.ask(h.query("COMMIT"))
        assert shown(w, "SELECT count(*) FROM t") == "4"
        w.ask(h.query("BEGIN"))
        w.ask(h.query("SET search_path TO apart"))
        assert shown(w, "SELECT count(*) FROM t") == "2"
        w.ask(h.query("ROLLBACK"))
        assert shown(w, "SELECT count(*) FROM t") == "4"


def test_set_local_to_default_is_local(proxy, ids):
    with proxy.wire() as w:
        w.ask(h.query("SET work_mem TO '1234kB'"))
        w.ask(h.query("BEGIN"))
        w.ask(h.query("SET LOCAL work_mem TO DEFAULT"))
        sql = "SELECT current_setting('work_mem') FROM (SELECT count(*) FROM t WHERE id = %d) x"
        assert shown(w, sql % ids[0]) != "1234kB"
        w.ask(h.query("COMMIT"))
        for i in ids:
            assert shown(w, sql % i) == "1234kB"


def test_set_while_a_commit_is_applied(make_proxy, ids):
    proxy = make_proxy(settings={"commit_ack": "decided"})
    with proxy.wire() as w:
        for n in range(20):
            upserts = ["INSERT INTO t VALUES (%d, 'x') ON CONFLICT (id) DO UPDATE SET v = '%d'" % (i, n) for i in ids]
            w.send(*[h.query(sql) for sql in ["BEGIN"] + upserts + ["COMMIT", "SET work_mem TO '%dMB'" % (n + 1)]])
            for _ in range(len(ids) + 2):
                w.until_ready()
            assert tags(h.shape(w.until_ready())) == ["SET"]
            assert shown(w, "SHOW work_mem") == "%dMB" % (n + 1)
        w.send(*[h.query(sql) for sql in ["BEGIN"] + upserts + ["COMMIT", "DISCARD ALL"]])
        for _ in range(len(ids) + 2):
            w.until_ready()
        assert tags(h.shape(w.until_ready())) == ["DISCARD ALL"]


def test_a_known_statement_on_a_server_with_other_variables(make_proxy, ids):
    """Its Parse needs no message, but the server's variables do; then another shard is used."""
    proxy = make_proxy(settings={"workers": 1, "default_pool_size": 1, "reserve_pool_size": 0})
    sql = "SELECT v FROM t WHERE id = $1"
    with proxy.wire() as one, proxy.wire() as other:
        for i in ids:
            assert not failed(one.ask(run(sql, i, name="s%d" % i), h.SYNC))
        other.ask(h.query("SET work_mem TO '1234kB'"))
        for i in ids:
            answer = other.ask(h.parse(sql, "a%d" % i), h.parse(sql, "b%d" % i), h.bind(ids[3], name="a%d" % i), h.execute(), h.SYNC)
            assert types(answer) == "112CZ", answer


@pytest.mark.parametrize("width", [1000, 20000, 60000])
def test_the_end_of_a_sorted_answer_is_sent(proxy, width):
    """What the shards said last waits until the client has taken the rest: nobody else will ask for it."""
    n = min(4000, 6000000 // width)
    with proxy.wire() as w:
        for first in range(0, n, 500):
            values = ",".join("(%d, 'x')" % i for i in range(first, min(first + 500, n)))
            assert not failed(w.ask(h.query("INSERT INTO t VALUES " + values)))
        for _ in range(3):
            answer = w.ask(h.query("SELECT id, repeat(v, %d) FROM t ORDER BY id" % width))
            assert tags(answer) == ["SELECT %d" % n]
