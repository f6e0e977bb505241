"""What grows with a message grows no faster than it does, end to end, and other clients of the worker are served meanwhile.

The proxy has one worker. CPU time of its threads is compared, not the clock's: four times the message may take 7.6 times as long.
test/unit/route/test_growth.c has many more shapes of statements, and their memory.
"""
import os
import struct
import threading
import time

import pytest

import pgharness as h

TABLES = {"items": "hash(id)"}
SETTINGS = {"workers": 1, "query_timeout": "60s"}
INT8 = 20


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE items (id bigint, v bigint, w bigint)")


def cpu_seconds(proxy):
    """Of all threads, to the nanosecond."""
    folder, total = "/proc/%d/task" % proxy.process.pid, 0
    for task in os.listdir(folder):
        with open(os.path.join(folder, task, "schedstat"), encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def peak_bytes(proxy):
    with open("/proc/%d/status" % proxy.process.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


def kinds(wire):
    """Types of the messages up to ReadyForQuery; their bodies are passed over, so that many of them cost little here."""
    seen, data = [], bytearray()
    while not seen or seen[-1] != "Z":
        at = 0
        while len(data) - at >= 5:
            length = struct.unpack_from("!I", data, at + 1)[0]
            if len(data) - at < length + 1:
                break
            seen.append(chr(data[at]))
            at += length + 1
        del data[:at]
        if seen and seen[-1] == "Z":
            return "".join(seen)
        got = wire.socket.recv(1 << 20)
        assert got, "closed"
        data += got


def ask(wire, *messages):
    """Sends while it reads: both sides may have more to say than sockets hold."""
    sender = threading.Thread(target=wire.send, args=messages)
    sender.start()
    seen = kinds(wire)
    sender.join()
    return seen


def or_of_literals(n):
    return [h.query("SELECT count(*) FROM items WHERE " + " OR ".join("id = %d" % i for i in range(n)))], "TDCZ"


def plan_of_or(n):
    """Without the server: PostgreSQL takes minutes to plan 50,000 terms."""
    return [h.query("EXPLAIN (ROUTE) SELECT count(*) FROM items WHERE " + " OR ".join("id = %d" % i for i in range(n)))], None


def or_of_parameters(n):
    sql = "SELECT id FROM items WHERE " + " OR ".join("id = $%d" % (i + 1) for i in range(n))
    return [h.parse(sql, oids=[INT8] * n), h.bind(*range(n)), h.execute(), h.SYNC], "12CZ"


def in_parameters_backwards(n):
    sql = "SELECT id FROM items WHERE id IN (%s)" % ", ".join("$%d" % i for i in range(n, 0, -1))
    return [h.parse(sql, oids=[INT8] * n), h.bind(*range(n)), h.execute(), h.SYNC], "12CZ"


def insert_of_parameters(n):
    rows = ", ".join("($%d, $%d, $%d)" % (i, i + 1, i + 2) for i in range(1, 3 * n, 3))
    sql = "INSERT INTO items (id, v, w) VALUES " + rows
    return [h.query("BEGIN"), h.parse(sql, oids=[INT8] * 3 * n), h.bind(*range(3 * n)), h.execute(), h.SYNC], "12CZ"


def insert_of_literals(n):
    return [h.query("BEGIN"), h.query("INSERT INTO items VALUES " + ", ".join("(%d, 1, 2)" % i for i in range(n)))], "CZ"


def many_statements(n):
    return [h.query("SELECT 'a text of some length, so that the message is long'::text; " * n)], "TDC" * n + "Z"


def many_transactions(n):
    """Nothing of it reaches a shard: what it costs is the proxy's own."""
    return [h.query("BEGIN;COMMIT;" * n)], "C" * 2 * n + "Z"


def many_settings(n):
    return [h.query("SET application_name = 'x'; " * n)], None


def many_variables(n):
    return [h.query("".join("SET my.v%d = 1;" % i for i in range(n)))], "C" * n + "Z"


def set_configs(n):
    calls = ", ".join("set_config('my.w%d', $%d, false)" % (i, i + 1) for i in range(n))
    return [h.parse("SELECT " + calls), h.describe("S"), h.bind(*["1"] * n), h.execute(), h.SYNC], "1tT2DCZ"


def joins(n):
    tables = "".join(" JOIN items t%d USING (id)" % i for i in range(n))
    return [h.query("EXPLAIN (ROUTE) SELECT count(*) FROM items t" + tables + " WHERE id = 1")], "TDCZ"


def outer_joins(n):
    tables = "".join(" LEFT JOIN items t%d ON t%d.id = t.id" % (i, i) for i in range(n))
    return [h.query("EXPLAIN (ROUTE) SELECT count(*) FROM items t" + tables)], None


def pipeline(n):
    one = [h.parse("SELECT $1::int"), h.bind(1), h.execute()]
    return one * n + [h.SYNC], "12DC" * n + "Z"


def types_of_parse(n):
    sql = "SELECT id FROM items WHERE id = $1 AND v = ANY (ARRAY[%s])" % ", ".join("$%d" % i for i in range(2, n + 1))
    return [h.parse(sql, oids=[INT8] * n), h.bind(*range(n)), h.execute(), h.SYNC], "12CZ"


def savepoints(n):
    """With rows on two shards, so that each of them has them all."""
    return [h.query("BEGIN"), h.query("INSERT INTO items VALUES (1), (2), (3), (4);" + "SAVEPOINT s; SAVEPOINT t; RELEASE t; " * n)], None


def copied_lines(n):
    lines = b"".join(b"%d\t1\t2\n" % i for i in range(n))
    return [h.query("BEGIN"), h.query("COPY items FROM STDIN"), h.copy_data(lines), h.COPY_DONE], "GCZ"


def copied_messages(n):
    return [h.query("BEGIN"), h.query("COPY items FROM STDIN")] + [h.copy_data(b"%d\t1\t2\n" % i) for i in range(n)] + [h.COPY_DONE], "GCZ"


# (what, size): half of it is compared with twice as much
CASES = [
    (or_of_literals, 8000),
    (or_of_parameters, 8000),
    (in_parameters_backwards, 16000),
    (insert_of_parameters, 5000),
    (insert_of_literals, 10000),
    (many_statements, 8000),
    (many_transactions, 20000),
    (many_settings, 8000),
    (many_variables, 1000),
    (set_configs, 800),
    (joins, 150),
    (outer_joins, 150),
    (pipeline, 4000),
    (types_of_parse, 16000),
    (savepoints, 1000),
    (copied_lines, 100000),
    (copied_messages, 20000),
]


def cost(proxy, make, n):
    """CPU seconds of one run; what begins with BEGIN is rolled back."""
    messages, wanted = make(n)
    with proxy.wire(timeout=60) as wire:
        if messages[0] == h.query("BEGIN"):
            assert ask(wire, messages.pop(0)) == "CZ"
        began = cpu_seconds(proxy)
        seen = ask(wire, *messages)
        spent = cpu_seconds(proxy) - began
        if wanted is not None:
            assert seen.replace("N", "") == wanted, (seen[:20], len(seen))
        assert "E" not in seen
        ask(wire, h.query("ROLLBACK"))
    return spent


@pytest.mark.parametrize("make,n", CASES, ids=[make.__name__ for make, _ in CASES])
def test_four_times_as_much_costs_four_times_as_much(proxy, make, n):
    """Anything quadratic costs sixteen times as much; others on the machine cost a part of it."""
    small, large = [], []
    for _ in range(4):  # the least of several: others disturb caches
        small.append(cost(proxy, make, n // 2))
        large.append(cost(proxy, make, 2 * n))
        if min(large) < 4 * 1.9 * min(small) + 0.01:
            return
    pytest.fail("%d: %s s, %d: %s s" % (n // 2, small, 2 * n, large))


def longest_wait(proxy, work):
    """What the slowest of another client's statements takes while work() runs."""
    waits, stop = [], threading.Event()

    def other():
        with proxy.session() as s:
            while not stop.is_set():
                began = time.monotonic()
                assert s.one("SELECT 1") == 1
                waits.append(time.monotonic() - began)

    with proxy.session() as s:  # the catalog is known, servers are there
        assert s.one("SELECT count(*) FROM items") == 0
    thread = threading.Thread(target=other)
    thread.start()
    try:
        work()
    finally:
        stop.set()
        thread.join()
    assert waits
    return max(waits)


@pytest.mark.parametrize(
    "make,n,seconds",
    [
        (plan_of_or, 50000, 8),
        (insert_of_parameters, 20000, 8),
        (many_statements, 32000, 8),
        (many_settings, 32000, 8),
        (joins, 300, 8),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_others_are_served_meanwhile(proxy, make, n, seconds):
    messages, _ = make(n)
    before = peak_bytes(proxy)

    def work():
        with proxy.wire(timeout=60) as wire:
            if messages[0] == h.query("BEGIN"):
                ask(wire, messages.pop(0))
            ask(wire, *messages)
            ask(wire, h.query("ROLLBACK"))

    wait = longest_wait(proxy, work)
    assert wait < seconds
    assert peak_bytes(proxy) - before < 400 << 20


# (what, size, CPU seconds of a proxy without sanitizers): sizes are those that the protocol has, or a million
LIMITS = [
    (many_transactions, 500000, 5),
    (lambda n: ([h.query(";" * n)], "IZ"), 1000000, 1),
    (in_parameters_backwards, 65535, 2),
    (insert_of_parameters, 21845, 2),
    (types_of_parse, 65535, 2),
]


@pytest.mark.parametrize("make,n,seconds", LIMITS, ids=["statements", "empty statements", "list", "rows", "types"])
def test_the_protocols_limits_are_reached(proxy, make, n, seconds):
    assert cost(proxy, make, n) < seconds * (10 if proxy.has_sanitizer() else 1)


def test_limits_are_told(proxy):
    chain = ", ".join("c%d AS (SELECT a.id FROM c%d a, c%d b)" % (i, i - 1, i - 1) for i in range(1, 60))
    cases = [
        ("WITH c0 AS (SELECT 1 AS id), %s SELECT * FROM c59" % chain, "54000"),
        ("SELECT " + "t.or + " * 50000 + "1 FROM items t", "54001"),
        ("SELECT " + "(" * 300 + "1" + ("+1" * 300 + ")") * 300, "54001"),
        ("SELECT 1" + " UNION ALL SELECT 1" * 20000, "54001"),
        ("DROP TABLE IF EXISTS " + ", ".join("t" for _ in range(1001)), "54000"),
    ]
    for sql, sqlstate in cases:
        with proxy.wire() as wire:
            wire.send(h.query(sql))
            answer = dict(wire.until_ready())
            error = h.fields(answer["E"])
            assert error["C"] == sqlstate, error
            assert error["H"]
            assert ask(wire, h.query("SELECT 1")) == "TDCZ"


def test_nesting_that_a_server_takes_is_taken(proxy):
    """PostgreSQL's own limit (max_stack_depth = 2MB) lies between 3,000 and 5,000 operators. AddressSanitizer's frames are larger."""
    n = 200 if proxy.has_sanitizer() else 3000
    with proxy.session() as s:
        assert s.one("SELECT 1" + " + 1" * n) == n + 1
        assert s.one("SELECT " + "(" * n + "1" + ")" * n) == 1
        assert s.one("SELECT " + "NOT " * n + "true") is True


def test_unknown_names_are_planned_once(proxy):
    """What one planning misses is loaded before the next one: twice the names cost twice the time."""

    def cost(n):
        sql = "DROP TABLE IF EXISTS " + ", ".join("unknown_%d_%d" % (n, i) for i in range(n))
        with proxy.session() as s:
            s.run("SELECT 1")
            before = cpu_seconds(proxy)
            s.run(sql)
            return cpu_seconds(proxy) - before

    cost(10)
    few, many = cost(100), cost(400)
    assert many < few * 4 * 1.9, (few, many)


def test_unknown_names_of_others_do_not_start_it_again(proxy):
    """What is learned of a name that does not exist is forgotten by whoever asked, when his statement is planned: not by all."""
    done, rounds = threading.Event(), []

    def disturb():
        with proxy.session() as s:
            while not done.is_set():
                s.run("DROP TABLE IF EXISTS nothere")
                rounds.append(1)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        with proxy.session() as s:
            began = time.monotonic()
            s.run("DROP TABLE IF EXISTS " + ", ".join("nowhere%d" % i for i in range(20)))
            once = time.monotonic() - began
            s.run("DROP TABLE IF EXISTS nothere, " + ", ".join("nowhere%d" % i for i in range(40)))
            assert time.monotonic() - began < 10, once
        assert rounds
    finally:
        done.set()
        disturber.join()
