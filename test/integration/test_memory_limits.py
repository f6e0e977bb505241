"""One budget for the process, limits per client: who takes too much is refused or ended, nobody else, and memory goes back."""
import subprocess

import pytest

import pgharness as h
from test_memory_large import MB, status

TABLES = {"docs": "hash(id)"}
SHARDS = 2
CLIENT_LIMIT = 8 * MB
PROCESS_LIMIT = 64 * MB
STATEMENTS = 100_000
SETTINGS = {"workers": 2, "client_memory_limit": "8MB", "default_pool_size": 5}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE docs (id int PRIMARY KEY, note text DEFAULT '')")
        s.run("INSERT INTO docs (id) SELECT 1")


def kinds(answer):
    return [m[0] for m in answer]


def error_of(messages):
    found = [h.fields(body) for kind, body in messages if kind == "E"]
    assert len(found) == 1, h.shape(messages)
    return found[0]


def is_out_of_memory(fields, option):
    assert (fields["C"], fields["M"]) == ("53200", "out of memory"), fields
    assert option in fields["H"] and option in fields["D"], fields
    return True


def ask(wire, *messages):
    wire.send(*messages)
    return wire.until_ready()


def answers(wire):
    assert kinds(wire.ask(h.query("SELECT 1"))) == ["T", "D", "C", "Z"]


def mem(proxy):
    with proxy.console() as console:
        return {row[0]: int(row[4]) for row in console.rows("SHOW MEM")}


# --- one client -----------------------------------------------------------------------------------


def test_a_query_above_the_limit_is_refused_and_the_session_goes_on(proxy):
    with proxy.wire() as w, proxy.wire() as bystander:
        for size in (CLIENT_LIMIT, 4 * CLIENT_LIMIT):
            answer = ask(w, h.query("SELECT length('%s')" % ("x" * size)))
            assert kinds(answer) == ["E", "Z"]
            is_out_of_memory(error_of(answer), "client_memory_limit")
            answers(w)
            answers(bystander)
        # What fits is served.
        assert kinds(w.ask(h.query("SELECT length('%s')" % ("x" * (CLIENT_LIMIT // 2))))) == ["T", "D", "C", "Z"]


def test_it_fails_the_transaction_as_any_error(proxy):
    with proxy.wire() as w:
        assert w.ask(h.query("BEGIN"))[-1] == ("Z", "T")
        w.ask(h.query("UPDATE docs SET note = 'gone' WHERE id = 1"))
        answer = ask(w, h.query("SELECT '%s'" % ("x" * CLIENT_LIMIT)))
        assert h.shape(answer)[-1] == ("Z", "E")
        is_out_of_memory(error_of(answer), "client_memory_limit")
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
    with proxy.session() as s:
        assert s.one("SELECT note FROM docs WHERE id = 1") == ""


def test_answers_before_it_come_first(proxy):
    """The refused message is answered in its turn, and what follows it in its own."""
    with proxy.wire() as w:
        w.send(h.query("SELECT pg_sleep(0.3), 'before'"), h.query("SELECT '%s'" % ("x" * CLIENT_LIMIT)), h.query("SELECT 'after'"))
        assert kinds(w.until_ready()) == ["T", "D", "C", "Z"]
        is_out_of_memory(error_of(w.until_ready()), "client_memory_limit")
        assert kinds(w.until_ready()) == ["T", "D", "C", "Z"]


@pytest.mark.parametrize("name", ["", "named"])
def test_parse_and_bind(proxy, name):
    big = "x" * (2 * CLIENT_LIMIT)
    with proxy.wire() as w:
        answer = ask(w, h.parse("SELECT '%s'" % big, name), h.bind(name=name), h.execute(), h.SYNC)
        assert kinds(answer) == ["E", "Z"]  # and the rest is skipped
        is_out_of_memory(error_of(answer), "client_memory_limit")
        answer = ask(w, h.parse("SELECT length($1)", name, [25]), h.bind(big, name=name), h.execute(), h.SYNC)
        assert kinds(answer) == ["1", "E", "Z"]
        is_out_of_memory(error_of(answer), "client_memory_limit")
        assert kinds(w.ask(h.parse("SELECT 1", "other"), h.bind(name="other"), h.execute(), h.SYNC)) == ["1", "2", "D", "C", "Z"]


def test_many_statements(proxy):
    """What was prepared before goes on working, and what is closed makes room."""
    text = "SELECT %d, '" + "y" * 1000 + "'"
    with proxy.wire() as w, proxy.wire() as bystander:
        made = 0
        while made < 100_000:
            w.send(*[h.parse(text % i, "s%d" % i) + h.SYNC for i in range(made, made + 100)])
            refused = [a for a in (w.until_ready() for _ in range(100)) if kinds(a) == ["E", "Z"]]
            made += 100 - len(refused)
            if refused:
                for answer in refused:
                    is_out_of_memory(error_of(answer), "client_memory_limit")
                break
        assert 4000 < made < 8000, made  # of more than 1 kB each
        for i in (0, made // 2, made - 1):
            assert kinds(w.ask(h.bind(name="s%d" % i), h.execute(), h.SYNC)) == ["2", "D", "C", "Z"]
        for i in range(200):
            w.ask(h.close("S", "s%d" % i), h.SYNC)
        assert kinds(w.ask(h.parse(text % -1, "again"), h.SYNC)) == ["1", "Z"]
        answers(bystander)


def test_many_portals(proxy):
    """Of statements for several shards, whose Bind the proxy keeps."""
    value = "z" * 10_000
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.parse("SELECT id FROM docs WHERE note > $1", "p", [25]), h.SYNC)
        made, answer = 0, []
        while made < 2000:
            answer = ask(w, h.bind(value, name="p", portal="p%d" % made), h.SYNC)
            if kinds(answer) != ["2", "Z"]:
                break
            made += 1
        assert 300 < made < 1000, made
        is_out_of_memory(error_of(answer), "client_memory_limit")
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
        answers(w)


def test_many_savepoints(proxy):
    name = "s" * 60
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        made, answer = 0, []
        while made < 100_000:
            w.send(*[h.query("SAVEPOINT %s" % name)] * 500)
            got = [w.until_ready() for _ in range(500)]
            answer = next((a for a in got if "E" in kinds(a)), [])
            if answer:
                break
            made += 500
        is_out_of_memory(error_of(answer), "client_memory_limit")
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
        answers(w)


def copy_start(w):
    w.send(h.query("COPY docs FROM STDIN"))
    assert [m[0] for m in w.until("GE")][-1] == "G"


@pytest.mark.parametrize("chunk", [2 * CLIENT_LIMIT, 100_000])
def test_a_row_of_copy(proxy, chunk):
    """In one message, or in many."""
    row = b"7\t" + b"c" * (3 * CLIENT_LIMIT)
    with proxy.wire() as w:
        copy_start(w)
        w.socket.settimeout(30)
        for at in range(0, len(row), chunk):
            w.send(h.copy_data(row[at : at + chunk]))
        w.send(h.COPY_DONE)
        answer = w.until_ready()
        is_out_of_memory(error_of(answer), "client_memory_limit")
        answers(w)
    with proxy.session() as s:
        assert s.one("SELECT count(*) FROM docs WHERE id = 7") == 0


def test_a_row_of_a_shard(proxy):
    """A row that must be assembled, as several shards answer, cannot be refused: the session ends, nobody else's. Where a row is
    on its way to the client by then, there is no room for an error, and the connection is cut."""
    with proxy.wire() as w, proxy.wire() as bystander:
        w.send(h.query("SELECT id, repeat('r', %d) AS r FROM docs ORDER BY id" % (8 * CLIENT_LIMIT)))
        w.socket.settimeout(60)
        answer = w.until_closed()
        if any(kind == "E" for kind, _ in answer):
            assert is_out_of_memory(error_of(answer), "client_memory_limit")
        else:
            assert "out of memory" in proxy.since_mark()
        answers(bystander)


def test_reload_moves_the_limit(make_proxy):
    proxy = make_proxy()
    message = h.query("SELECT length('%s')" % ("x" * (2 * CLIENT_LIMIT)))
    with proxy.wire() as w, proxy.console() as console:
        assert kinds(w.ask(message)) == ["E", "Z"]
        console.run("SET client_memory_limit = '64MB'")
        h.eventually(lambda: kinds(w.ask(message)) == ["T", "D", "C", "Z"])
        console.run("SET client_memory_limit = '8MB'")
        h.eventually(lambda: kinds(w.ask(message)) == ["E", "Z"])


# --- the process ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(make_proxy):
    return make_proxy(settings={"client_memory_limit": 0, "memory_limit": "64MB"})


class Hoarder:
    """Prepares statements of half a megabyte each."""

    def __init__(self, proxy, letter):
        self.wire, self.letter, self.made = proxy.wire(), letter, 0
        self.wire.socket.settimeout(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    def take(self, megabytes):
        """The answer that was not what it should be; [] if there was none."""
        for _ in range(2 * megabytes):
            answer = ask(self.wire, h.parse("SELECT length('%d%s')" % (self.made, self.letter * (MB // 2)), "h%d" % self.made), h.SYNC)
            if kinds(answer) != ["1", "Z"]:
                return answer
            self.made += 1
        return []


def test_who_takes_all_is_refused_more(small):
    with small.wire() as bystander:
        bystander.ask(h.parse("SELECT 'here'", "mine"), h.SYNC)
        hoarder = Hoarder(small, "a")
        answer = hoarder.take(200)
        is_out_of_memory(error_of(answer), "memory_limit")
        assert kinds(answer) == ["E", "Z"] and 80 < hoarder.made <= 128, hoarder.made
        assert mem(small)["total"] <= PROCESS_LIMIT
        # What it has, it keeps; and others are served.
        assert kinds(hoarder.wire.ask(h.bind(name="h0"), h.execute(), h.SYNC)) == ["2", "D", "C", "Z"]
        assert kinds(bystander.ask(h.bind(name="mine"), h.execute(), h.SYNC)) == ["2", "D", "C", "Z"]
        with small.wire() as late:
            answers(late)
        hoarder.wire.close()
        answers(bystander)
    h.eventually(lambda: mem(small)["total"] < PROCESS_LIMIT // 4)


def is_ended(hoarder):
    hoarder.wire.socket.settimeout(20)
    fields = error_of(hoarder.wire.until_closed())
    return fields["S"] == "FATAL" and is_out_of_memory(fields, "memory_limit")


@pytest.mark.parametrize("other_first", [False, True])
def test_the_largest_goes_and_nobody_else(small, other_first):
    """A second client needs more: the first, which has most, is ended, on whichever worker it is."""
    with small.wire() as bystander:
        bystander.ask(h.query("BEGIN"))
        bystander.ask(h.query("SELECT 1 FROM docs WHERE id = 1"))
        with Hoarder(small, "ab"[other_first]) as first, Hoarder(small, "ba"[other_first]) as last:
            largest, second = (last, first) if other_first else (first, last)
            assert largest.take(40) == []
            assert second.take(35) == []
            assert is_ended(largest)
            assert kinds(second.wire.ask(h.bind(name="h0"), h.execute(), h.SYNC)) == ["2", "D", "C", "Z"]
            assert bystander.ask(h.query("SELECT 2 FROM docs WHERE id = 1"))[-1] == ("Z", "T")
            assert bystander.ask(h.query("COMMIT"))[-1] == ("Z", "I")
    h.eventually(lambda: mem(small)["total"] < PROCESS_LIMIT // 4)


def test_one_message_above_the_limit_is_refused(small):
    with small.wire() as w, small.wire() as bystander:
        answer = ask(w, h.query("SELECT length('%s')" % ("x" * (2 * PROCESS_LIMIT))))
        assert kinds(answer) == ["E", "Z"]
        is_out_of_memory(error_of(answer), "memory_limit")
        answers(w)
        answers(bystander)


def test_plans_go_before_clients(make_proxy):
    """Distinct texts fill the plan cache: that alone ends nobody."""
    proxy = make_proxy(settings={"client_memory_limit": 0, "memory_limit": "16MB", "plan_cache_bytes": "1GB", "workers": 1})
    with proxy.wire() as w:
        columns = ", ".join("note AS c%d" % i for i in range(40))
        for i in range(3000):
            answer = w.ask(h.query("SELECT %s FROM docs WHERE id = 1 AND note <> '' AS d%d" % (columns, i)) if i < 0 else h.query("SELECT %s, id AS d%d FROM docs WHERE id = 1" % (columns, i)))
            assert kinds(answer)[-2:] == ["C", "Z"], answer
        h.eventually(lambda: mem(proxy)["total"] <= 16 * MB)
        answers(w)


# --- SHOW MEM -------------------------------------------------------------------------------------


def test_show_mem_adds_up(make_proxy):
    proxy = make_proxy(settings={"client_memory_limit": 0})
    names = ["sessions", "buffers", "statements", "plans", "catalogs", "servers"]
    with proxy.console() as console, proxy.session() as s:
        before = mem(proxy)
        assert list(before) == names + ["total", "memory_limit", "resident"]
        assert before["total"] == sum(before[n] for n in names)
        assert before["total"] < before["resident"] and before["memory_limit"] > before["total"]
        s.run("SELECT * FROM docs WHERE id = 1")
        with proxy.wire() as w:
            text = "SELECT '%s'" % ("m" * (4 * MB))
            w.ask(h.parse(text, "m"), h.SYNC)
            w.send(h.message("Q", b"\0" * 9 * MB)[: 8 * MB])  # a part of a message
            now = h.eventually(lambda: (lambda m: m["buffers"] >= 7 * MB and m)(mem(proxy)))
            assert now["statements"] >= 4 * MB and now["sessions"] > before["sessions"]
            assert now["catalogs"] > 0 and now["plans"] > 0 and now["servers"] > 0
            assert now["total"] == sum(now[n] for n in names)
            rows = console.dicts("SHOW CLIENTS")
            most = h.eventually(lambda: max(int(r["memory"]) for r in console.dicts("SHOW CLIENTS")) >= 11 * MB)
            assert most and all(int(r["memory"]) > 0 for r in rows)
        h.eventually(lambda: mem(proxy)["buffers"] < MB)
        assert mem(proxy)["statements"] < MB


@pytest.mark.parametrize("setting, least", [("memory_limit", "16MB"), ("client_memory_limit", "1MB")])
def test_limits_that_nothing_would_fit(workspace, shards, dbname, setting, least):
    proxy = h.Proxy(workspace, shards, dbname, settings={setting: "64kB"}, start=False)
    checked = subprocess.run([workspace.program(), "--check-config", proxy.ini], capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert 'setting "%s" cannot be less than %s' % (setting, least) in checked.stdout + checked.stderr


# --- 100,000 statements ---------------------------------------------------------------------------


def in_batches(wire, message_of, expected, n=STATEMENTS, batch=500):
    for first in range(0, n, batch):
        wire.send(b"".join(message_of(i) for i in range(first, first + batch)) + h.SYNC)
        answer = kinds(wire.until_ready())
        assert answer == expected * batch + ["Z"], answer[:10]


def test_a_hundred_thousand_statements(make_proxy):
    """They are kept as their texts, run again from there, and go when they are closed."""
    proxy = make_proxy(settings={"client_memory_limit": 0, "workers": 1})
    if proxy.has_sanitizer():
        pytest.skip("a sanitizer has its own allocator")
    with proxy.wire() as w:
        answers(w)
        w.ask(h.parse("SELECT note FROM docs WHERE id = 1 AND 1 = 1", "warm"), h.bind(name="warm"), h.execute(), h.SYNC)
        before = status(proxy, "VmRSS")
        in_batches(w, lambda i: h.parse("SELECT %d AS a_column, note FROM docs WHERE id = 1" % i, "s%d" % i), ["1"])
        in_batches(w, lambda i: h.bind(name="s%d" % i) + h.execute(), ["2", "D", "C"])
        took = status(proxy, "VmRSS") - before
        print("%.1f MB, %d bytes each" % (took / MB, took // STATEMENTS), mem(proxy))
        with proxy.console() as console:
            rows = {r[0]: r for r in console.rows("SHOW MEM")}
        assert int(rows["statements"][2]) >= STATEMENTS
        # A text of 60 bytes each, its name, and the caches' own limits.
        assert took < STATEMENTS * 600 + 48 * MB, took
        in_batches(w, lambda i: h.close("S", "s%d" % i), ["3"])
        h.eventually(lambda: status(proxy, "VmRSS") < before + took // 3)
        answers(w)
