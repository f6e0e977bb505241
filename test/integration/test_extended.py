"""The extended protocol, message by message: what a plain server answers is right."""
import struct

import pytest

import pgharness as h

TABLES = {"items": "hash(id)", "scratch": "hash(id)"}


@pytest.fixture(scope="module", autouse=True)
def filled(proxy, oracle):
    with proxy.session() as p, oracle.session() as o:
        for s in (p, o):
            s.run("CREATE TABLE items (id int PRIMARY KEY, v bigint, t text)")
            s.run("CREATE TABLE scratch (id int PRIMARY KEY, v bigint, t text)")
            s.run("INSERT INTO items VALUES " + ",".join("(%d, %d, 't%d')" % (i, i * i, i % 5) for i in range(200)))


class Both:
    """The same bytes to the proxy and to a plain server; their answers must not differ."""

    def __init__(self, proxy, oracle):
        self.proxy, self.oracle = proxy.wire(), oracle.wire()

    def close(self):
        self.proxy.close()
        self.oracle.close()

    def ask(self, *messages):
        wanted, got = self.oracle.ask(*messages), self.proxy.ask(*messages)
        assert got == wanted
        return wanted

    def ask_error(self, *messages):
        """Both end in the same error. When it was noticed may differ: what was acknowledged before is not compared."""
        ends = [[m for m in side.ask(*messages) if m[0] in "EZ"] for side in (self.oracle, self.proxy)]
        assert ends[1] == ends[0]
        return ends[0]

    def ask_sorted(self, *messages):
        """Rows in any order."""

        def key(m):
            return (m[0] != "D", repr(m))

        wanted, got = self.oracle.ask(*messages), self.proxy.ask(*messages)
        assert [m for m in got if m[0] != "D"] == [m for m in wanted if m[0] != "D"]
        assert sorted((m for m in got if m[0] == "D"), key=key) == sorted((m for m in wanted if m[0] == "D"), key=key)
        return wanted

    def until(self, kinds, *messages):
        """What comes up to a message of one of the kinds."""
        shown = []
        for w in (self.oracle, self.proxy):
            w.send(*messages)
            shown.append(h.shape(w.until(kinds)))
        assert shown[1] == shown[0]
        return shown[0]


@pytest.fixture
def both(proxy, oracle):
    b = Both(proxy, oracle)
    yield b
    b.close()


def test_unnamed_statement_by_parameter(both):
    for i in (1, 7, 150, 199, 9999):
        got = both.ask(h.parse("SELECT id, v, t FROM items WHERE id = $1"), h.bind(i), h.describe("P"), h.execute(), h.SYNC)
        assert [m[0] for m in got] == list("12TDCZ" if i < 200 else "12TCZ")


def test_named_statements_serve_every_shard(both):
    both.ask(h.parse("SELECT v FROM items WHERE id = $1", "by_id", [23]), h.SYNC)
    for i in range(0, 200, 7):
        both.ask(h.bind(i, name="by_id"), h.execute(), h.SYNC)
    both.ask(h.describe("S", "by_id"), h.SYNC)
    both.ask(h.close("S", "by_id"), h.SYNC)
    both.ask(h.bind(1, name="by_id"), h.execute(), h.SYNC)  # 26000
    both.ask(h.close("S", "by_id"), h.close("S", "never_was"), h.SYNC)


def test_a_name_taken_is_an_error_and_unnamed_is_replaced(both):
    both.ask(h.parse("SELECT 1", "s"), h.SYNC)
    got = both.ask(h.parse("SELECT 2", "s"), h.SYNC)
    assert got[0][2] == "42P05"
    both.ask(h.bind(name="s"), h.execute(), h.SYNC)
    both.ask(h.parse("SELECT 3"), h.parse("SELECT 4"), h.bind(), h.execute(), h.SYNC)
    both.ask(h.query("SELECT 5"))
    both.ask(h.bind(), h.execute(), h.SYNC)  # a simple query has ended the unnamed statement


def test_binary_parameters_and_results(both):
    for i in (0, 3, 77):
        both.ask(
            h.parse("SELECT id, v, t FROM items WHERE id = $1", "", [23]),
            h.bind(struct.pack("!i", i), formats=[1], results=[1]),
            h.describe("P"),
            h.execute(),
            h.SYNC,
        )
        both.ask(
            h.parse("SELECT v, t FROM items WHERE id = $1 AND t = $2", "", [20, 25]),
            h.bind(struct.pack("!q", i), "t%d" % (i % 5), formats=[1, 0], results=[0, 1]),
            h.execute(),
            h.SYNC,
        )


def test_a_parameter_may_be_null(both):
    got = both.ask(h.parse("SELECT id FROM items WHERE id = $1"), h.bind(None), h.execute(), h.SYNC)
    assert got[-2] == ("C", "SELECT 0")
    assert both.ask_error(h.parse("INSERT INTO scratch VALUES ($1, 1, 'x')"), h.bind(None), h.execute(), h.SYNC)[0][2] == "23502"


def test_scatter_over_the_extended_protocol(both):
    both.ask(
        h.parse("SELECT id, v FROM items WHERE v > $1 ORDER BY id LIMIT $2", "page"),
        h.describe("S", "page"),
        h.SYNC,
    )
    for low, limit in ((0, 10), (1000, 5), (39000, 10), (99999, 1), (0, 0), (5, None)):
        both.ask(h.bind(low, limit, name="page"), h.describe("P"), h.execute(), h.SYNC)
    both.ask_sorted(h.parse("SELECT id FROM items WHERE t = $1"), h.bind("t3"), h.execute(), h.SYNC)
    both.ask(h.parse("SELECT count(*), sum(v), avg(v) FROM items WHERE id > $1"), h.bind(50), h.describe("P"), h.execute(), h.SYNC)
    both.ask(
        h.parse("SELECT id, v FROM items WHERE id = ANY ($1) ORDER BY id"),
        h.bind("{1,50,120,7}", results=[1]),
        h.execute(),
        h.SYNC,
    )


def test_describe_of_a_statement_without_rows(both):
    both.ask(h.parse("INSERT INTO scratch VALUES ($1, $2, $3)", "ins"), h.describe("S", "ins"), h.SYNC)
    both.ask(h.bind(1, 2, "x", name="ins"), h.describe("P"), h.execute(), h.SYNC)
    both.ask(h.parse("DELETE FROM scratch WHERE id = $1 RETURNING id"), h.bind(1), h.describe("P"), h.execute(), h.SYNC)
    both.ask(h.describe("S", "no such statement"), h.SYNC)
    both.ask(h.describe("P", "no such portal"), h.SYNC)
    both.ask(h.parse(""), h.describe("S"), h.bind(), h.describe("P"), h.execute(), h.SYNC)


def test_empty_queries(both):
    for sql in ("", ";", " ; ; ", "-- nothing", "/* nothing */"):
        both.ask(h.query(sql))
        both.ask(h.parse(sql), h.bind(), h.execute(), h.SYNC)
    both.ask(h.SYNC)
    both.ask(h.SYNC)


def test_a_pipeline_is_answered_in_order(both):
    messages = []
    for i in range(60):
        messages += [h.parse("SELECT id, t FROM items WHERE id = $1"), h.bind(i * 3), h.execute()]
    both.ask(*messages, h.SYNC)
    both.ask(*sum(([h.parse("SELECT %d" % i), h.bind(), h.execute()] for i in range(20)), []), h.SYNC)


def test_several_syncs_in_flight(both):
    for w in (both.oracle, both.proxy):
        for i in range(30):
            w.send(h.parse("SELECT v FROM items WHERE id = $1"), h.bind(i), h.execute(), h.SYNC)
    for i in range(30):
        wanted, got = h.shape(both.oracle.until_ready()), h.shape(both.proxy.until_ready())
        assert got == wanted


def test_a_pipeline_up_to_its_sync_is_one_transaction(both):
    insert = "INSERT INTO scratch VALUES ($1, 1, 'p')"
    rows = sum(([h.bind(i, name="i"), h.execute()] for i in range(500, 520)), [])
    both.ask(h.parse(insert, "i"), h.SYNC)
    both.ask(*rows, h.bind(505, name="i"), h.execute(), h.bind(999, name="i"), h.execute(), h.SYNC)  # the 21st fails: 23505
    both.ask(h.query("SELECT count(*) FROM scratch WHERE id BETWEEN 500 AND 1000"))
    both.ask(*rows, h.SYNC)
    both.ask(h.query("SELECT id FROM scratch WHERE id BETWEEN 500 AND 1000 ORDER BY id"))


def test_an_error_skips_to_sync(both):
    both.ask(
        h.parse("SELECT 1"),
        h.bind(),
        h.execute(),
        h.parse("SELECT 1 / 0"),
        h.bind(),
        h.execute(),
        h.parse("SELECT 2"),
        h.bind(),
        h.execute(),
        h.SYNC,
        h.parse("SELECT 3"),
    )
    both.ask(h.bind(), h.execute(), h.SYNC)
    both.ask_error(h.parse("SELECT nosuch FROM items"), h.bind(), h.execute(), h.SYNC)
    both.ask_error(h.parse("SELECT nosuch FROM items WHERE id = 1"), h.bind(), h.execute(), h.SYNC)
    both.ask_error(h.parse("SELEC"), h.bind(), h.SYNC)
    both.ask(h.bind(name="nosuch"), h.execute(), h.SYNC)
    both.ask(h.execute("nosuch"), h.SYNC)
    both.ask(h.parse("SELECT $1::int"), h.bind(), h.SYNC)  # too few
    both.ask(h.parse("SELECT $1::int"), h.bind("x"), h.execute(), h.SYNC)
    both.ask(h.query("SELECT 1"))


def test_an_error_of_one_shard_in_a_scatter(both):
    got = both.ask(h.parse("SELECT 1 / (id - 150) FROM items WHERE id > $1 ORDER BY id"), h.bind(149), h.execute(), h.SYNC)
    assert got[-2][2] == "22012" and got[-1] == ("Z", "I")
    both.ask(h.parse("UPDATE items SET v = 1 / (id - 150)"), h.bind(), h.execute(), h.SYNC)
    both.ask(h.query("SELECT count(*) FROM items WHERE v = id * id"))


def test_flush_brings_answers_without_a_sync(both):
    both.until("1", h.parse("SELECT id FROM items WHERE id = $1", "f"), h.FLUSH)
    both.until("t", h.describe("S", "f"), h.FLUSH)
    both.until("T", h.FLUSH)
    both.until("2", h.bind(11, name="f"), h.FLUSH)
    both.until("C", h.execute(), h.FLUSH)
    both.until("E", h.parse("SELECT 1 / 0"), h.bind(), h.execute(), h.FLUSH)
    both.ask(h.parse("skipped"), h.FLUSH, h.SYNC)


def test_portals_with_row_limits(both):
    """In a transaction, as drivers do that fetch in batches; the key is given."""
    both.ask(h.query("BEGIN"))
    both.ask(
        h.parse("SELECT g FROM generate_series(1, 10) g, items WHERE id = $1"),
        h.bind(5, portal="p"),
        h.describe("P", "p"),
        h.execute("p", 4),
        h.SYNC,
    )
    both.ask(h.execute("p", 4), h.SYNC)
    both.ask(h.parse("SELECT v FROM items WHERE id = 9"), h.bind(), h.execute(), h.SYNC)
    both.ask(h.execute("p", 4), h.SYNC)
    both.ask(h.execute("p", 4), h.SYNC)
    both.ask(h.close("P", "p"), h.SYNC)
    both.ask(h.execute("p", 4), h.SYNC)  # 34000
    both.ask(h.query("ROLLBACK"))


def test_a_portal_ends_with_its_transaction(both):
    both.ask(h.parse("SELECT g FROM generate_series(1, 10) g"), h.bind(portal="p"), h.execute("p", 3), h.SYNC)
    both.ask(h.execute("p", 3), h.SYNC)


@pytest.mark.parametrize("sql", ["SAVEPOINT a", "SELECT id FROM items ORDER BY id", "UPDATE items SET t = t"])
def test_a_portal_that_has_run_is_described_or_refused(both, sql):
    both.ask(h.query("BEGIN"))
    both.ask(h.parse(sql), h.bind(portal="p"), h.execute("p"), h.SYNC)
    wanted, got = both.oracle.ask(h.describe("P", "p"), h.SYNC), both.proxy.ask(h.describe("P", "p"), h.SYNC)
    if got != wanted:
        (error,) = [m for m in got if m[0] == "E"]
        assert error[2] == "0A000" and got[-1] == ("Z", "E")
    both.proxy.ask(h.query("ROLLBACK"))
    assert both.proxy.ask(h.query("SELECT 1"))[-1] == ("Z", "I")


def test_row_limits_over_shards_are_right_or_refused(both):
    both.ask(h.query("BEGIN"))
    both.oracle.send(h.parse("SELECT id FROM items ORDER BY id"), h.bind(portal="p"), h.execute("p", 7), h.SYNC)
    wanted = h.shape(both.oracle.until_ready())
    both.proxy.send(h.parse("SELECT id FROM items ORDER BY id"), h.bind(portal="p"), h.execute("p", 7), h.SYNC)
    got = h.shape(both.proxy.until_ready())
    if got == wanted:
        both.ask(h.execute("p", 500), h.SYNC)
        both.ask(h.query("ROLLBACK"))
    else:
        (error,) = [m for m in got if m[0] == "E"]
        assert error[2] == "0A000" and got[-1] == ("Z", "E")


def test_transactions_over_the_extended_protocol(both):
    def step(sql, *values):
        return both.ask(h.parse(sql), h.bind(*values), h.describe("P"), h.execute(), h.SYNC)

    step("BEGIN")
    for i in range(2000, 2010):
        step("INSERT INTO scratch VALUES ($1, $2, 'tx')", i, i)
    step("SAVEPOINT a")
    step("UPDATE scratch SET v = 0 WHERE id >= $1", 2000)
    step("ROLLBACK TO a")
    step("SELECT id, v FROM scratch WHERE id >= $1 ORDER BY id", 2000)
    assert step("COMMIT")[-1] == ("Z", "I")
    both.ask(h.query("SELECT id, v FROM scratch WHERE id >= 2000 ORDER BY id"))
    step("BEGIN")
    step("INSERT INTO scratch VALUES ($1, 0, 'dup')", 2000)
    step("SELECT 1")  # 25P02
    assert step("COMMIT")[-2:] == [("C", "ROLLBACK"), ("Z", "I")]


def test_begin_statement_and_commit_in_one_pipeline(both):
    def of(sql, *values):
        return [h.parse(sql), h.bind(*values), h.execute()]

    both.ask(*of("BEGIN"), *of("INSERT INTO scratch VALUES (3000, 1, 'a')"), *of("INSERT INTO scratch VALUES (3001, 1, 'b')"),
             *of("INSERT INTO scratch VALUES (3002, 1, 'b')"), *of("COMMIT"), *of("SELECT 1"), h.SYNC)
    both.ask(*of("BEGIN"), *of("INSERT INTO scratch VALUES (3003, 1, 'a')"), *of("INSERT INTO scratch VALUES (3000, 1, 'a')"),
             *of("COMMIT"), h.SYNC)
    both.ask(h.query("ROLLBACK"))
    both.ask(h.query("SELECT id FROM scratch WHERE id >= 3000 ORDER BY id"))


def test_simple_and_extended_interleave(both):
    both.ask(h.parse("SELECT v FROM items WHERE id = $1", "mix"), h.SYNC)
    both.ask(h.query("SELECT count(*) FROM items"))
    both.ask(h.bind(5, name="mix"), h.execute(), h.SYNC)
    both.ask(h.query("DEALLOCATE mix"))
    both.ask(h.bind(5, name="mix"), h.execute(), h.SYNC)
    both.ask(h.parse("SELECT 1", "mix"), h.SYNC)
    both.ask(h.query("DEALLOCATE ALL"))
    both.ask(h.bind(name="mix"), h.execute(), h.SYNC)


def test_a_schema_change_under_a_prepared_statement(proxy, oracle, both):
    with proxy.session() as p, oracle.session() as o:
        for s in (p, o):
            s.run("CREATE TABLE IF NOT EXISTS changing (id int PRIMARY KEY, v int)")
            s.run("INSERT INTO changing VALUES (1, 1)")
        both.ask(h.parse("SELECT * FROM changing WHERE id = $1", "c"), h.bind(1, name="c"), h.execute(), h.SYNC)
        for s in (p, o):
            s.run("ALTER TABLE changing ADD COLUMN w int")
        both.ask(h.bind(1, name="c"), h.execute(), h.SYNC)  # "cached plan must not change result type"
        both.ask(h.close("S", "c"), h.parse("SELECT * FROM changing WHERE id = $1", "c"), h.bind(1, name="c"), h.execute(), h.SYNC)
        for s in (p, o):
            s.run("DROP TABLE changing")


def test_more_statements_than_a_server_keeps(make_proxy):
    """max_prepared_statements is a limit of the servers', not of clients'."""
    small = make_proxy(settings={"max_prepared_statements": 5})
    with small.wire() as w:
        for i in range(40):
            w.send(h.parse("SELECT v + %d FROM items WHERE id = $1" % i, "n%d" % i), h.SYNC)
            assert h.shape(w.until_ready()) == [("1", b""), ("Z", "I")]
        for turn in range(2):
            for i in range(40):
                got = w.ask(h.bind(i, name="n%d" % i), h.execute(), h.SYNC)
                assert got[1] == ("D", str(i * i + i).encode())


def test_clients_share_servers_without_mixing_statements(make_proxy):
    one = make_proxy(settings={"default_pool_size": 1, "workers": 1})
    with one.wire() as a, one.wire() as b:
        for w, add in ((a, 1), (b, 2)):
            w.ask(h.parse("SELECT v + %d FROM items WHERE id = $1" % add, "same"), h.SYNC)
        for i in range(20):
            assert a.ask(h.bind(i, name="same"), h.execute(), h.SYNC)[1] == ("D", b"%d" % (i * i + 1))
            assert b.ask(h.bind(i, name="same"), h.execute(), h.SYNC)[1] == ("D", b"%d" % (i * i + 2))


def test_copy_inside_the_extended_protocol(both):
    """Over several shards it is refused; what the client has sent already does no harm."""
    both.proxy.send(h.parse("COPY scratch (id, v) FROM STDIN"), h.bind(), h.execute())
    both.proxy.send(*(h.copy_data(b"%d\t%d\n" % (i, i)) for i in range(7000, 7040)), h.COPY_DONE, h.SYNC)
    got = both.proxy.until_ready()
    (error,) = [h.fields(body) for kind, body in got if kind == "E"]
    assert error["C"] == "0A000" and error["H"]
    both.ask(h.query("SELECT count(*) FROM scratch WHERE id >= 7000"))


def test_copy_that_the_client_gives_up(both):
    for w in (both.oracle, both.proxy):
        w.send(h.query("COPY scratch (id, v) FROM STDIN"))
        w.until("G")
        w.send(h.copy_data(b"8000\t1\n8001\t2\n8002\t3\n"), h.copy_fail("enough"))
    assert h.shape(both.proxy.until_ready()) == h.shape(both.oracle.until_ready())
    both.ask(h.query("SELECT count(*) FROM scratch WHERE id >= 8000"))


def test_copy_whose_data_comes_with_it(proxy, oracle):
    """The shard answers when the client has sent all there was to send; what follows is no part of the copy."""
    for i, side in enumerate((oracle, proxy)):
        with side.session() as s:
            s.run("CREATE TABLE copied (id int)")
    copy = h.parse("COPY copied FROM STDIN") + h.bind() + h.execute()
    for end in (h.COPY_DONE, h.copy_fail("enough")):
        both = Both(proxy, oracle)
        both.ask(copy, h.copy_data(b"1\n"), end, h.SYNC)
        both.ask(h.query("SELECT count(*) FROM copied"))
        both.ask(copy, h.copy_data(b"2\n"), end, h.SYNC)
        both.ask(h.parse("SELECT count(*) FROM copied"), h.bind(), h.execute(), h.SYNC)
        both.ask(h.query("BEGIN"))
        both.ask(copy, h.copy_data(b"3\n"), end, h.SYNC)
        both.ask(h.query("ROLLBACK"))
        both.close()


def test_a_statement_that_was_to_leave_its_server_and_did_not(make_proxy):
    """An error of the same pipeline makes the server skip the Close that makes room, and the Parse behind it."""
    proxy = make_proxy(settings={"max_prepared_statements": 4, "workers": 1, "default_pool_size": 1})
    with proxy.wire() as w:
        for name in "abcd":
            w.ask(h.parse("SELECT '%s'" % name, name), h.bind(name=name), h.execute(), h.SYNC)
        for name in "wxyz":
            w.ask(h.parse("SELECT '%s'" % name, name), h.SYNC)
        run = {name: (h.bind(name=name), h.execute()) for name in "abcdwxyz"}
        for _ in range(3):
            for first, others in (("abcd", "wxyz"), ("wxyz", "abcd")):
                got = w.ask(h.parse("SELECT 1 / 0"), h.bind(), h.execute(), *[m for name in others for m in run[name]], h.SYNC)
                assert [m[0] for m in got if m[0] in "EDZ"] == ["E", "Z"], got
                for name in first + others:
                    got = w.ask(*run[name], h.SYNC)
                    assert [m for m in got if m[0] in "DE"] == [("D", name.encode())], got
