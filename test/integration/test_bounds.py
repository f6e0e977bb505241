"""Bounds on what the proxy keeps: formats of results, sizes of messages, what tells one plan from another."""
import struct

import pytest

import pgharness as h

TABLES = {"items": "hash(id)"}
SETTINGS = {"workers": 1}
SHARDS = 2


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, oracle):
    with proxy.session() as p, oracle.session() as o:
        for s in (p, o):
            s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
            s.run("INSERT INTO items SELECT i, i FROM generate_series(1, 20) i" if s is o else
                  "INSERT INTO items VALUES " + ", ".join("(%d, %d)" % (i, i) for i in range(1, 21)))


def test_as_many_result_formats_as_columns(proxy, oracle):
    """Formats of a Bind reach every column of an answer that several shards give, however many there are."""
    columns = 90
    sql = "SELECT " + ", ".join("count(*)" if i % 2 else "sum(id)" for i in range(columns)) + " FROM items"
    formats = [i // 3 % 2 for i in range(columns)]
    answers = []
    for server in (proxy, oracle):
        with server.wire() as w:
            answers.append(w.ask(h.parse(sql), h.bind(results=formats), h.describe("P"), h.execute(), h.SYNC))
            columns_of = [fmt for _, _, fmt in answers[-1][2][1:]]
            assert columns_of == formats
    assert answers[0] == answers[1]
    assert [kind for kind, *_ in answers[0]] == ["1", "2", "T", "D", "C", "Z"], answers[0]


def test_a_message_that_no_server_takes_is_refused_by_its_length(make_proxy):
    """PostgreSQL takes messages below 1 GB, and ends the connection at a longer one."""
    big = make_proxy(settings={"max_message_bytes": "1GB"})
    for length in (0x3FFFFFFF, 0x40000000, 0x7FFFFFFF):
        with big.session() as other, big.wire() as w:
            w.send(b"Q" + struct.pack("!I", length))
            error = h.fields(w.until_closed()[-1][1])
            assert error["C"] == "08P01", error
            assert other.one("SELECT 1") == 1
    big.check()


def kept(proxy):
    """What the worker knows of statements and of tables."""
    with proxy.console() as c:
        used = {row["name"]: row["used"] for row in c.dicts("SHOW MEM")}
    return used["plans"], used["catalogs"]


def test_invented_names_push_nobody_out(proxy):
    """Whatever a client asks for that does not exist: what others use is not forgotten for it."""
    with proxy.session() as other, proxy.session() as s:
        for i in range(20):
            other.run("SELECT v AS v%d FROM items WHERE id = 1" % i)
        plans, relations = kept(proxy)
        assert plans >= 20 and relations >= 1
        for i in range(100):
            s.fails("SELECT * FROM invented_%d" % i)
        assert kept(proxy) == (plans, relations)
