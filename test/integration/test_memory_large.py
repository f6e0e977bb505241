"""Large statements and parameters: what they cost the proxy at most, in any protocol, over any number of shards."""
import pytest

import pgharness as h

TABLES = {"docs": "hash(id)"}
WHERE = {"one shard": "id = 1", "all shards": "id > 0"}
SETTINGS = {"workers": 1}
SHARDS = 2
MB = 1 << 20
# Of the text itself; and of what a session takes anyway: plans, buffers, a server.
FACTOR, EXTRA = 1.2, 4 * MB


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    if proxy.has_sanitizer():
        pytest.skip("a sanitizer has its own allocator")
    with proxy.session() as s:
        s.run("CREATE TABLE docs (id int PRIMARY KEY, n int, note text DEFAULT '')")
        s.run("INSERT INTO docs (id, n) VALUES (1, 0)")


def status(proxy, field):
    with open("/proc/%d/status" % proxy.process.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field + ":"))


class Peak:
    """The most that the proxy took within `with`, above what it had before."""

    def __init__(self, proxy):
        self.proxy = proxy

    def __enter__(self):
        with open("/proc/%d/clear_refs" % self.proxy.process.pid, "w", encoding="ascii") as f:
            f.write("5")  # the peak counts from here
        self.before = status(self.proxy, "VmRSS")
        return self

    def __exit__(self, *_):
        self.bytes = status(self.proxy, "VmHWM") - self.before

    def costs_at_most(self, size):
        assert self.bytes <= FACTOR * size + EXTRA, "%.1f MB for %.1f MB" % (self.bytes / MB, size / MB)


def given_back(proxy, before):
    h.eventually(lambda: status(proxy, "VmRSS") <= before + EXTRA)


def done(answer):
    assert answer[-1] == ("Z", "I") and "E" not in [m[0] for m in answer], str(answer)[:500]


# How a text is sent that sets n to its length. (Over several shards, functions are refused in writes.)
def sql(where, literal, length):
    if where == WHERE["one shard"]:
        return "UPDATE docs SET n = length(%s) WHERE %s" % (literal, where)
    return "UPDATE docs SET n = %d WHERE %s AND note <> %s" % (length, where, literal)


def quoted(where, text):
    return sql(where, "'%s'" % text, len(text))


def simple(where, text):
    return [h.query(quoted(where, text))]


def escaped(where, text):
    return [h.query(sql(where, "E'%s'" % text, len(text)))]


def several(where, text):
    return [h.query("SELECT 1; %s; SELECT 2" % quoted(where, text))]


def unnamed_parse(where, text):
    return [h.parse(quoted(where, text)), h.bind(), h.execute(), h.SYNC]


def named_parse(where, text):
    return [h.parse(quoted(where, text), "p"), h.SYNC, h.bind(name="p"), h.execute(), h.close("S", "p"), h.SYNC]


def unnamed_bind(where, text):
    return [h.parse(sql(where, "$1", len(text)), "", [25]), h.bind(text), h.execute(), h.SYNC]


def named_bind(where, text):
    parse = h.parse(sql(where, "$1", len(text)), "b", [25])
    return [parse, h.SYNC, h.bind(text, name="b", formats=[1]), h.describe("P"), h.execute(), h.close("S", "b"), h.SYNC]


def split(where, text):
    """Rows for several shards, the large one among them."""
    if where == WHERE["one shard"]:
        return [h.query("DELETE FROM docs; INSERT INTO docs (id, n) VALUES (1, length('%s'))" % text)]
    rows = ", ".join("(%d, length('%s'))" % (i, text if i == 1 else "") for i in range(1, 10))
    return [h.query("DELETE FROM docs; INSERT INTO docs (id, n) VALUES %s" % rows)]


WAYS = (simple, escaped, several, unnamed_parse, named_parse, unnamed_bind, named_bind, split)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("way", WAYS)
def test_a_large_text_costs_little_more_than_itself(proxy, way, where, size=24 * MB):
    text = "x" * size
    messages = b"".join(way(WHERE[where], text))
    before = status(proxy, "VmRSS")
    with proxy.wire() as w:
        w.socket.settimeout(120)
        with Peak(proxy) as peak:
            w.send(messages)
            for _ in range(messages.count(h.SYNC) or 1):
                done(h.shape(w.until_ready()))
        peak.costs_at_most(size)
        done(w.ask(h.query("SELECT 1")))  # ends the unnamed statement, as on a server
        given_back(proxy, before)  # while the client is still there
    with proxy.session() as s:
        assert s.one("SELECT n FROM docs WHERE id = 1") == size


def test_a_text_of_many_literals_is_forgotten(proxy, literals=1_000_000):
    """The worker lexes the texts of simple queries into one place, which keeps no more than short ones need."""
    with proxy.wire() as w:
        w.socket.settimeout(120)
        done(w.ask(h.query("SELECT 1")))
        before = status(proxy, "VmRSS")
        answer = w.ask(h.query("SELEC 1" + ",1" * literals))
        assert [m[0] for m in answer] == ["E", "Z"]
        given_back(proxy, before)


@pytest.mark.parametrize("size", [24 * MB, 200 * MB])
@pytest.mark.parametrize("chunk", [0, 60_000])
@pytest.mark.parametrize("table", ["docs", "plain"])
def test_a_large_row_of_copy(proxy, table, chunk, size):
    """Split by key, or passed on; in one message, or in many, as psql sends it."""
    row = b"1\t0\t" + b"x" * size + b"\n"
    chunk = chunk or len(row)
    pieces = [h.copy_data(row[at : at + chunk]) for at in range(0, len(row), chunk)]
    with proxy.session() as s:
        s.run("CREATE TABLE IF NOT EXISTS plain (id int PRIMARY KEY, n int, note text)")
        s.run("DELETE FROM %s" % table)
    before = status(proxy, "VmRSS")
    with proxy.wire() as w:
        w.socket.settimeout(120)
        with Peak(proxy) as peak:
            w.send(h.query("COPY %s (id, n, note) FROM STDIN" % table))
            w.until("G")
            for piece in pieces:
                w.send(piece)
            w.send(h.COPY_DONE)
            done(h.shape(w.until_ready()))
        peak.costs_at_most(size)
        given_back(proxy, before)
    with proxy.session() as s:
        assert s.one("SELECT length(note) FROM %s WHERE id = 1" % table) == size


@pytest.mark.parametrize("way, where", [(simple, "one shard"), (unnamed_bind, "all shards")])
def test_200_megabytes(proxy, way, where):
    test_a_large_text_costs_little_more_than_itself(proxy, way, where, 200 * MB)


@pytest.mark.parametrize("first", range(8143, 8151))
def test_a_large_row_passes_wherever_its_header_is_cut(proxy, first):
    """A shard sends 8 kB at a time: the sizes of the row before put each byte of the header at the end of such a piece."""
    large = 32 * MB
    rows = "SELECT repeat('x', %d) UNION ALL SELECT repeat('y', %d) FROM generate_series(1, 2)" % (first, large)
    with proxy.wire() as w:
        done(w.ask(h.query("SELECT 1")))
        w.send(h.query(rows))
        with Peak(proxy) as peak:
            got = [len(body) for kind, body in w.until_ready() if kind == "D"]
    assert got == [first + 6, large + 6, large + 6]
    assert peak.bytes <= EXTRA + 2 * MB, peak.bytes / MB
