"""Bytes that no client would send. The proxy answers as a server does, or closes, and others never notice."""
import os
import random
import socket
import struct

import pytest

import pgharness as h

TABLES = {"items": "hash(id)"}
SETTINGS = {"client_login_timeout": "2s", "max_message_bytes": "1MB"}
rnd = random.Random(5)


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, oracle):
    with proxy.session() as p, oracle.session() as o:
        for s in (p, o):
            s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
            s.run("INSERT INTO items VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)")


@pytest.fixture(autouse=True)
def others_go_on(proxy):
    with proxy.session() as before:
        yield
        assert before.one("SELECT sum(v) FROM items") == 15
        with proxy.session() as after:
            assert after.one("SELECT sum(v) FROM items") == 15
    proxy.check()


def first_error(messages):
    for kind, body in messages:
        if kind == "E":
            return h.fields(body)
    return None


STARTUPS = {
    "nothing": b"",
    "a length of zero": struct.pack("!I", 0),
    "a length of three": struct.pack("!I", 3),
    "a length below the version": struct.pack("!I", 7) + b"\0\0\0",
    "a negative length": struct.pack("!I", 0xFFFFFFFF),
    "a huge length": struct.pack("!II", 0x7FFFFFFF, 196608),
    "version 2": struct.pack("!II", 8, 131072),
    "version 4": struct.pack("!II", 8, 4 << 16),
    "no terminator": struct.pack("!II", 13, 196608) + b"user\0",
    "a name without value": struct.pack("!II", 14, 196608) + b"user\0\0",
    "no parameters": struct.pack("!II", 9, 196608) + b"\0",
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 400,
    "a short cancel": struct.pack("!III", 12, 80877102, 1),
    "a cancel of nobody": struct.pack("!IIII", 16, 80877102, 1, 2),
    "zeros": b"\0" * 64,
}


@pytest.mark.parametrize("name", STARTUPS)
def test_bad_startups_are_closed(proxy, name):
    with h.Wire(proxy.port, timeout=20) as w:
        w.raw(STARTUPS[name])
        got = w.until_closed()
        error = first_error(got)
        if error:
            assert error["S"] == "FATAL" and error["C"] in ("08P01", "0A000", "28000")
        assert all(kind in "EN" for kind, _ in got)


def test_what_follows_an_ssl_request_unencrypted_is_not_taken(proxy):
    """As PostgreSQL since CVE-2021-23214: bytes sent before the answer are an attack."""
    with h.Wire(proxy.port) as w:
        w.raw(struct.pack("!II", 8, 80877103))
        w._need(1)
        assert w.buffer == b"N"
        w.buffer = b""
        w.startup(user="app", database="shop")
        assert w.until_ready()[-1] == ("Z", b"I")


def test_gss_and_ssl_requests_are_answered_with_no(proxy):
    with h.Wire(proxy.port) as w:
        for code in (80877104, 80877103):
            w.raw(struct.pack("!II", 8, code))
            w._need(1)
            assert w.buffer == b"N"
            w.buffer = b""
        w.startup(user="app", database="shop")
        assert w.until_ready()[-1] == ("Z", b"I")


def test_a_newer_minor_version_is_negotiated(proxy, oracle):
    for minor, options in ((0, {"_pq_.nosuch": "1"}), (2, {}), (9999, {})):
        shown = []
        for where, database in ((oracle.port, oracle.dbname), (proxy.port, "shop")):
            with h.Wire(where) as w:
                w.startup(version=196608 + minor, user="app", database=database, **options)
                shown.append([m for m in w.until_ready() if m[0] == "v"])
        assert shown[1] == shown[0]


MESSAGES = {
    "an unknown type": h.message("y", b"abc"),
    "a length of zero": b"Q" + struct.pack("!I", 0),
    "a length of three": b"Q" + struct.pack("!I", 3),
    "a negative length": b"Q" + struct.pack("!I", 0x80000000),
    "a query without terminator": h.message("Q", b"SELECT 1"),
    "an empty query body": h.message("Q"),
    "a parse that ends in its name": h.message("P", b"abc"),
    "a parse with a wrong count": h.message("P", b"\0SELECT 1\0" + struct.pack("!H", 5)),
    "a bind without anything": h.message("B"),
    "a bind with too few formats": h.message("B", b"\0\0" + struct.pack("!HH", 3, 0)),
    "a bind with a value too long": h.message("B", b"\0\0" + struct.pack("!HHi", 0, 1, 1000) + b"x"),
    "a bind with a negative length": h.message("B", b"\0\0" + struct.pack("!HHi", 0, 1, -7)),
    "a bind with rubbish behind": h.bind()[:1] + struct.pack("!I", len(h.bind()) + 2) + h.bind()[5:] + b"zzz",
    "an execute without count": h.message("E", b"\0"),
    "a describe of nothing": h.message("D"),
    "a describe of another kind": h.message("D", b"X\0"),
    "a close of another kind": h.message("C", b"X\0"),
    "a password out of place": h.message("p", b"secret\0"),
    "a sync with a body": h.message("S", b"abc"),
    "a function call": h.message("F", struct.pack("!IHHH", 0, 0, 0, 0)),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_bad_messages(proxy, oracle, name):
    """PostgreSQL's SQLSTATE, or the connection's end; never an answer that there was nothing wrong. A Sync that follows is
    answered if the connection stays."""
    results = []
    for side in (oracle, proxy):
        with side.wire() as w:
            w.send(MESSAGES[name], h.SYNC)
            got = []
            try:
                while not got or got[-1][0] != "Z":
                    got.append(w.receive())
            except h.Closed:
                got.append(("closed", b""))
            results.append((first_error(got), got[-1][0]))
    (wanted, _), (got, end) = results
    if wanted is None:
        assert got is None or end == "closed"
        return
    assert got is not None, results
    assert got["C"] in (wanted["C"], "08P01", "0A000"), results


@pytest.mark.parametrize("kind", ["\0", "y", "R", "p", "Z", "\x7f"])
@pytest.mark.parametrize("length", [4, 100, 900000, 0x7FFFFFFF])
def test_a_type_that_cannot_be_is_not_waited_for(proxy, oracle, kind, length):
    """Only the head of it ever comes."""
    got = []
    for side in (oracle, proxy):
        with side.wire() as w:
            w.raw(kind.encode() + struct.pack("!I", length))
            error = first_error(w.until_closed())
            got.append((error["S"], error["C"], error["M"]))
    assert got[0] == got[1]


def test_a_message_above_the_limit_is_refused_without_being_read(proxy):
    with proxy.wire() as w:
        w.raw(b"Q" + struct.pack("!I", 100 * 1024 * 1024) + b"SELECT ")
        error = first_error(w.until_closed())
        assert error["S"] == "FATAL" and error["C"] in ("54000", "08P01")
    with proxy.wire() as w:
        w.send(h.query("SELECT '" + "x" * 900000 + "'"))
        assert w.until_ready()[-1] == ("Z", b"I")


def test_bytes_that_come_one_at_a_time(proxy):
    with h.Wire(proxy.port) as w:
        data = struct.pack("!I", 196608) + b"user\0app\0database\0shop\0\0"
        for byte in struct.pack("!I", len(data) + 4) + data:
            w.raw(bytes([byte]))
        w.until_ready()
        stream = h.query("SELECT v FROM items WHERE id = 3") + h.parse("SELECT v FROM items WHERE id = $1") + h.bind(4) + h.execute() + h.SYNC
        for byte in stream:
            w.raw(bytes([byte]))
        assert h.shape(w.until_ready())[1] == ("D", b"3")
        assert h.shape(w.until_ready())[2] == ("D", b"4")


def test_random_cuts_of_a_valid_stream(proxy):
    whole = b"".join(
        h.query("SELECT v FROM items WHERE id = %d" % (i % 5 + 1))
        + h.parse("SELECT v, $1::text FROM items WHERE id = %d" % (i % 5 + 1))
        + h.bind("x" * rnd.randrange(3000))
        + h.execute()
        + h.SYNC
        for i in range(50)
    )
    with proxy.wire() as w:
        at = 0
        while at < len(whole):
            n = rnd.choice((1, 2, 4, 5, 6, 100, 1000, 5000))
            w.raw(whole[at : at + n])
            at += n
        for i in range(50):
            assert h.shape(w.until_ready())[1] == ("D", b"%d" % (i % 5 + 1))
            assert h.shape(w.until_ready())[2][1] == b"%d" % (i % 5 + 1)


def test_random_bytes_after_login(proxy):
    for seed in range(60):
        noise = random.Random(seed)
        with proxy.wire(timeout=20) as w:
            body = bytes(noise.randrange(256) for _ in range(noise.randrange(1, 200)))
            kind = noise.choice("QPBDECSHFpdcfXy")
            w.raw(kind.encode() + struct.pack("!I", len(body) + 4) + body + h.SYNC + h.SYNC)
            w.socket.shutdown(socket.SHUT_WR)
            w.until_closed()


def test_mutated_pipelines(proxy):
    """One byte of a valid pipeline is another: an error or an answer, and never the end of the proxy."""
    good = (
        h.parse("SELECT v FROM items WHERE id = $1", "s", [23]) + h.describe("S", "s") + h.bind(3, name="s", results=[1])
        + h.describe("P") + h.execute("", 1) + h.close("S", "s") + h.SYNC + h.query("SELECT count(*) FROM items")
    )
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(rnd.choice((1, 1, 2, 5))):
            bad[rnd.randrange(len(bad))] = rnd.randrange(256)
        with proxy.wire(timeout=20) as w:
            w.raw(bytes(bad))
            w.socket.shutdown(socket.SHUT_WR)
            w.until_closed()


def test_many_connections_that_say_nothing_do_not_keep_others_out(proxy):
    idle = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(200)]
    try:
        with proxy.session() as s:
            assert s.one("SELECT 1") == 1
        # client_login_timeout ends them.
        for s in idle:
            s.settimeout(20)
            while s.recv(1000):
                pass
    finally:
        for s in idle:
            s.close()


def test_a_client_that_does_not_read_stops_its_server_only(proxy):
    """A result of a gigabyte, unread: it must not gather in the proxy's memory."""

    def resident():
        with open("/proc/%d/statm" % proxy.process.pid, encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    before = resident()
    with proxy.wire() as slow, proxy.wire() as broad, proxy.session() as s:
        slow.send(h.query("SELECT repeat('x', 100000) FROM generate_series(1, 10000), items WHERE id = 3"))
        broad.send(h.query("SELECT repeat('x', 100000) FROM generate_series(1, 2000), items"))
        slow._need(1000000)
        broad._need(1000000)
        for _ in range(200):
            assert s.one("SELECT sum(v) FROM items") == 15
        assert resident() - before < 100 * 1024 * 1024


def test_statements_that_end_early(proxy, oracle):
    for sql in ("SELECT 'abc", 'SELECT "abc', "SELECT $$abc", "SELECT /* abc", "SELECT (1", "SELECT E'\\",
                "SELECT U&'\\00", "INSERT INTO items VALUES (1, 2", "SELECT * FROM items WHERE id = '", "COPY items FROM STDIN WITH (", "(((((("):
        shown = []
        for side in (oracle, proxy):
            with side.wire() as w:
                w.send(h.query(sql))
                got = h.shape(w.until_ready())
                shown.append([m[2] for m in got if m[0] == "E"])
        assert shown[1] == shown[0], sql


def test_bytes_that_are_not_utf8(proxy, oracle):
    for sql in (b"SELECT '\xff'", b"SELECT v FROM items WHERE id = '\xc3'", b"INSERT INTO items VALUES (99, '\xe9')", b"SELECT 1 AS \xff"):
        shown = []
        for side in (oracle, proxy):
            with side.wire() as w:
                w.send(h.message("Q", sql + b"\0"))
                shown.append([m[2] for m in h.shape(w.until_ready()) if m[0] == "E"])
        assert shown[0] == ["22021"] and shown[1] in (["22021"], ["22P02"]), sql  # 22P02: it was to be a key
