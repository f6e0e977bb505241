"""The transforms of layer exec against a server: what they make of several shards' answers is what one server says of all the rows."""
import ctypes
import io
import os
import random
import struct
import subprocess
import zlib

import psycopg2
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROBE = os.path.join(ROOT, os.environ.get("BUILD", "build"), "integration", "exec_probe")
SHARDS = 4

rnd = random.Random(4711)


def probe(arguments, lines):
    return subprocess.run(
        [PROBE] + [str(a) for a in arguments], input="".join(l + "\n" for l in lines), capture_output=True, text=True, check=True
    ).stdout.splitlines()


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


class Libpq:
    """Results with their columns' types in either format, which psycopg2 does not give."""

    def __init__(self, connection):
        self.lib = ctypes.CDLL("libpq.so.5")
        for name in ("PQconnectdb", "PQexecParams", "PQgetvalue", "PQerrorMessage", "PQfname"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        info = connection.info
        dsn = "host='%s' port=%s user='%s' dbname='%s' password='%s'" % (
            info.host, info.port, info.user, info.dbname, info.password or "")
        self.conn = ctypes.c_void_p(self.lib.PQconnectdb(dsn.encode()))
        assert self.lib.PQstatus(self.conn) == 0, self.error()

    def error(self):
        return ctypes.string_at(self.lib.PQerrorMessage(self.conn)).decode()

    def close(self):
        self.lib.PQfinish(self.conn)

    def run(self, sql, oids=(), values=(), formats=(), binary=False):
        """Columns as (name, type, length, typmod, format), and rows of bytes or None."""
        n = len(values)
        result = ctypes.c_void_p(
            self.lib.PQexecParams(
                self.conn, sql.encode(), n, (ctypes.c_uint * n)(*oids), (ctypes.c_char_p * n)(*values),
                (ctypes.c_int * n)(*[len(v or b"") for v in values]), (ctypes.c_int * n)(*formats), int(binary)))
        assert self.lib.PQresultStatus(result) in (1, 2), self.error()
        width = self.lib.PQnfields(result)
        columns = [
            (ctypes.string_at(self.lib.PQfname(result, c)).decode(), self.lib.PQftype(result, c), self.lib.PQfsize(result, c),
             self.lib.PQfmod(result, c), self.lib.PQfformat(result, c))
            for c in range(width)
        ]
        rows = [
            [
                None if self.lib.PQgetisnull(result, r, c)
                else ctypes.string_at(self.lib.PQgetvalue(result, r, c), self.lib.PQgetlength(result, r, c))
                for c in range(width)
            ]
            for r in range(self.lib.PQntuples(result))
        ]
        self.lib.PQclear(result)
        return columns, rows


def describe(columns):
    body = struct.pack("!H", len(columns))
    for name, oid, length, typmod, fmt in columns:
        body += name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, length, typmod, fmt)
    return message(b"T", body)


def data_row(row):
    values = b"".join(struct.pack("!i", -1) if v is None else struct.pack("!I", len(v)) + v for v in row)
    return message(b"D", struct.pack("!H", len(row)) + values)


def complete(n):
    return message(b"C", b"SELECT %d\0" % n)


def messages(raw):
    while raw:
        (length,) = struct.unpack("!I", raw[1:5])
        yield raw[:1], raw[5 : length + 1]
        raw = raw[length + 1 :]


def read_values(body, n, at=0):
    values = []
    for _ in range(n):
        (length,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        values.append(None if length < 0 else body[at : at + length])
        at += max(length, 0)
    return values, at


@pytest.fixture(scope="module")
def server(pg):
    connection = pg.connect()
    connection.autocommit = True
    libpq = Libpq(connection)
    cur = connection.cursor()
    cur.execute("DROP SCHEMA IF EXISTS exec_test CASCADE; CREATE SCHEMA exec_test; SET search_path = exec_test")
    libpq.run("SET search_path = exec_test")
    libpq.run("SET TimeZone = 'America/St_Johns'")
    libpq.cursor = cur
    yield libpq
    libpq.close()
    cur.execute("DROP SCHEMA exec_test CASCADE")
    connection.close()


# --- merge -------------------------------------------------------------------------------------------------

SORT_TYPES = {
    "int2": "(random() * 200 - 100)::int2",
    "int4": "((random() - 0.5) * 4e9)::int4",
    "int8": "((random() - 0.5) * 1.8e19)::int8",
    "oid": "(random() * 4e9)::int8::oid",
    "bool": "random() < 0.5",
    '"char"': "chr(1 + (random() * 126)::int)::\"char\"",
    "float4": "(CASE WHEN random() < 0.1 THEN 'NaN' WHEN random() < 0.1 THEN '-Infinity' WHEN random() < 0.1 THEN '-0' ELSE"
    " ((random() - 0.5) * 10 ^ (random() * 30)::int)::text END)::float4",
    "float8": "(CASE WHEN random() < 0.1 THEN 'NaN' WHEN random() < 0.1 THEN 'Infinity' WHEN random() < 0.1 THEN '-0' ELSE"
    " ((random() - 0.5) * 10 ^ (random() * 300 - 150)::int)::text END)::float8",
    "numeric": "CASE WHEN random() < 0.1 THEN 'NaN' ELSE round(((random() - 0.5) * 10 ^ (random() * 20)::int)::numeric,"
    " (random() * 12)::int) END::numeric",
    "date": "(CASE WHEN random() < 0.1 THEN '-infinity' WHEN random() < 0.1 THEN 'infinity' ELSE"
    " ('2000-01-01'::date + ((random() - 0.5) * 1.8e6)::int)::text END)::date",
    "timestamp": "'2000-01-01'::timestamp + (random() - 0.5) * 40 * interval '100 years'",
    "timestamptz": "'1900-01-01 00:00+00'::timestamptz + random() * interval '200 years'",
    "time": "'00:00'::time + random() * interval '1 day'",
    "timetz": "('00:00'::time + random() * interval '1 day')::text::time AT TIME ZONE make_interval(hours => (random() * 20 - 10)::int)",
    "interval": "(random() - 0.5) * interval '3 years 40 days' + (random() * 3)::int * interval '30 days'",
    "uuid": "md5(random()::text)::uuid",
    "bytea": "decode(substr(md5(random()::text), 1, 2 * (random() * 8)::int), 'hex')",
    "text": "substr(md5(random()::text) || 'Zz~ Ñé', (random() * 38)::int)",
    "varchar": "substr('aBcäÖ zZ~_9', (random() * 10)::int, (random() * 4)::int)",
    "bpchar": "substr('ab  B ', (random() * 5)::int, (random() * 4)::int)",
}


def shard_frames(libpq, queries, binary):
    """Per shard its frames, and all of them as lines for the probe, interleaved at random."""
    streams, columns = [], None
    for source, sql in enumerate(queries):
        columns, rows = libpq.run(sql, binary=binary)
        frames = [describe(columns)] + [data_row(r) for r in rows] + [complete(len(rows))]
        streams.append([(source, f) for f in frames])
    lines = []
    first = [s.pop(0) for s in streams]
    rnd.shuffle(first)
    pending = [first] + streams
    lines += ["%d %s" % (s, f.hex()) for s, f in pending.pop(0)]
    while any(pending):
        stream = rnd.choice([p for p in pending if p])
        n = rnd.randint(1, 40)
        chunk, stream[:] = stream[:n], stream[n:]
        lines.append("%d %s" % (chunk[0][0], b"".join(f for _, f in chunk).hex()))
    return lines


def rows_of(raw):
    out = []
    for kind, body in messages(raw):
        if kind == b"D":
            (n,) = struct.unpack("!H", body[:2])
            out.append(read_values(body, n, 2)[0])
    return out


@pytest.mark.parametrize("binary", (False, True), ids=("text", "binary"))
@pytest.mark.parametrize("name", SORT_TYPES)
def test_merged_order_is_the_servers(server, name, binary):
    server.cursor.execute(
        "DROP TABLE IF EXISTS m; CREATE TABLE m AS SELECT i AS id, i %% %d AS shard, CASE WHEN random() < 0.1 THEN NULL ELSE (%s)::%s"
        " END AS k, (random() * 3)::int AS g FROM generate_series(1, 800) i" % (SHARDS, SORT_TYPES[name], name)
    )
    collate = ' COLLATE "C"' if name in ("text", "varchar", "bpchar") else ""
    for descending in (False, True):
        for nulls_first in (False, True):
            order = "k%s %s NULLS %s" % (collate, "DESC" if descending else "ASC", "FIRST" if nulls_first else "LAST")
            keys = ["1,%d,%d,%d" % (descending, nulls_first, bool(collate)), "0,0,0,0"]
            if rnd.random() < 0.5:
                order, keys = "g DESC, " + order, ["2,1,1,0"] + keys
            offset, limit = rnd.choice(((0, -1), (0, -1), (37, 100), (700, 500)))
            tail = " LIMIT %d" % (limit + offset) if limit >= 0 else ""
            queries = ["SELECT id, k, g FROM m WHERE shard = %d ORDER BY %s, id%s" % (s, order, tail) for s in range(SHARDS)]
            lines = shard_frames(server, queries, binary)
            (out,) = probe(["merge", SHARDS, limit, offset, 0] + keys, lines)
            assert not out.startswith(("error", "not done")), out
            tail = (" LIMIT %d" % limit if limit >= 0 else "") + " OFFSET %d" % offset
            wanted = server.run("SELECT id, k, g FROM m ORDER BY %s, id%s" % (order, tail), binary=binary)[1]
            assert rows_of(bytes.fromhex(out)) == wanted


# --- aggregates --------------------------------------------------------------------------------------------

AGGREGATE_COLUMNS = {
    "i2": ("int2", "(random() * 60000 - 30000)::int2"),
    "i4": ("int4", "((random() - 0.5) * 4e9)::int4"),
    "i8": ("int8", "((random() - 0.5) * 1.8e19)::int8"),
    "n": ("numeric", "round(((random() - 0.5) * 10 ^ (random() * 20)::int)::numeric, (random() * 12)::int)"),
    "n2": ("numeric(12,3)", "((random() - 0.5) * 1e6)::numeric(12,3)"),
    "f8": ("float8", "(random() * 4000)::int / 4.0"),  # sums are exact, whatever their order
    "f4": ("float4", "(random() * 400)::int / 4.0"),
    "iv": ("interval", "(random() * 100)::int * interval '1 mon 3 days 04:05:06.78'"),
    "mo": ("money", "((random() - 0.5) * 1e6)::numeric::money"),
    "b": ("bool", "random() < 0.9"),
    "t": ("text", "substr('aBcäÖ zZ~_9', (random() * 10)::int, (random() * 4)::int)"),
    "c": ('text COLLATE "C"', "substr('aBcäÖ zZ~_9', (random() * 10)::int, (random() * 4)::int)"),
    "d": ("date", "'2000-01-01'::date + (random() * 9999)::int"),
    "ts": ("timestamptz", "now() + random() * interval '1 year'"),
    "ia": ("int4[]", "ARRAY[(random() * 5)::int, NULL, (random() * 5)::int]"),
    "ta": ("text[]", "ARRAY[chr(97 + (random() * 3)::int), chr(65 + (random() * 3)::int)]"),
    "ip": ("inet", "('10.0.' || (random() * 255)::int || '.1')::inet"),
}
DEFAULT, C = 'pg_catalog."default"', 'pg_catalog."C"'
AGGREGATES = (
    [("count", "*", None)]
    + [("count", c, None) for c in ("i4", "t")]
    + [("sum", c, None) for c in ("i2", "i4", "i8", "n", "n2", "f8", "f4", "iv", "mo")]
    + [("avg", c, None) for c in ("i2", "i4", "i8", "n", "n2", "f8", "iv")]
    + [(f, c, None) for f in ("min", "max") for c in ("i2", "i8", "n", "f8", "d", "ts", "iv", "mo", "ia", "ip")]
    + [(f, c, k) for f in ("min", "max") for c, k in (("t", DEFAULT), ("c", C), ("ta", DEFAULT))]
    + [(f, "b", None) for f in ("bool_and", "bool_or")]
)


def partial(func, column):
    return ["sum(%s)" % column, "count(%s)" % column] if func == "avg" else ["%s(%s)" % (func, column)]


def parse_of(body):
    name_end = body.index(b"\0")
    sql_end = body.index(b"\0", name_end + 1)
    (n,) = struct.unpack("!H", body[sql_end + 1 : sql_end + 3])
    return body[name_end + 1 : sql_end].decode(), struct.unpack("!%dI" % n, body[sql_end + 3 :])


def bind_of(body):
    (n,) = struct.unpack("!H", body[2:4])
    formats = struct.unpack("!%dh" % n, body[4 : 4 + 2 * n])
    (n_values,) = struct.unpack("!H", body[4 + 2 * n : 6 + 2 * n])
    values, at = read_values(body, n_values, 6 + 2 * n)
    return formats, values, body[at:]


@pytest.mark.parametrize("shard_binary", (False, True), ids=("text", "binary"))
def test_combined_aggregates_are_the_servers(server, shard_binary):
    aggregates, select, at = [], [], 0
    for number, (func, column, collation) in enumerate(AGGREGATES):
        aggregates.append("%s,%d,%s_%d%s" % (func, at, func, number, "," + collation if collation else ""))
        select += partial(func, column)
        at += len(partial(func, column))
    whole = ", ".join("%s(%s) AS %s_%d" % (f, c, f, i) for i, (f, c, _) in enumerate(AGGREGATES))
    for round_ in range(25):
        nulls, n = rnd.choice((0, 0.3, 1)), rnd.choice((0, 1, 2, 5, 300))
        server.cursor.execute(
            "DROP TABLE IF EXISTS a; CREATE TABLE a (shard int, %s); INSERT INTO a SELECT (random() * %d)::int, %s"
            " FROM generate_series(1, %d)"
            % (
                ", ".join("%s %s" % (c, t) for c, (t, _) in AGGREGATE_COLUMNS.items()),
                SHARDS - 1,
                ", ".join("CASE WHEN random() < %s THEN NULL ELSE %s END" % (nulls, e) for _, e in AGGREGATE_COLUMNS.values()),
                n,
            )
        )
        queries = ["SELECT %s FROM a WHERE shard = %d" % (", ".join(select), s) for s in range(SHARDS)]
        binary = round_ % 2 == 1
        out = probe(["aggregate", SHARDS, -1, 0, int(binary)] + aggregates, shard_frames(server, queries, shard_binary))
        assert len(out) == 1, out
        sent = dict(messages(bytes.fromhex(out[0])))
        assert list(sent) == [b"P", b"B", b"D", b"E"]
        sql, oids = parse_of(sent[b"P"])
        formats, values, rest = bind_of(sent[b"B"])
        assert rest == struct.pack("!HH", 1, binary)
        columns, combined = server.run(sql, oids, values, formats, binary)
        columns_wanted, wanted = server.run("SELECT %s FROM a" % whole, binary=binary)
        assert combined == wanted
        assert columns == columns_wanted


def test_limit_and_offset_of_an_aggregate(server):
    server.cursor.execute("DROP TABLE IF EXISTS a; CREATE TABLE a AS SELECT i, i % 4 AS shard FROM generate_series(1, 10) i")
    for limit, offset in ((0, 0), (0, 1), (1, 0), (1, 1), (5, 0), (-1, 1)):
        tail = " LIMIT %d" % (limit + offset) if limit > 0 else " LIMIT 0" if limit == 0 and offset == 0 else ""
        lines = shard_frames(server, ["SELECT count(*) FROM a WHERE shard = %d%s" % (s, tail) for s in range(SHARDS)], True)
        out = probe(["aggregate", SHARDS, limit, offset, 0, "count,0,count"], lines)
        sent = dict(messages(bytes.fromhex(out[0])))
        formats, values, _ = bind_of(sent[b"B"])
        sql, oids = parse_of(sent[b"P"])
        tail = (" LIMIT %d" % limit if limit >= 0 else "") + " OFFSET %d" % offset
        assert server.run(sql, oids, values, formats)[1] == server.run("SELECT count(*) FROM a" + tail)[1]


# --- COPY FROM ---------------------------------------------------------------------------------------------


def copy_in(cur, table, options, data):
    """None, or the error."""
    try:
        cur.copy_expert("COPY %s FROM STDIN (%s)" % (table, options), io.BytesIO(data))
    except psycopg2.Error as e:
        return e
    return None


def split(arguments, data):
    """Per shard its bytes and keys, or the error. Rows go to shards by their key's checksum."""
    cuts = sorted(rnd.randrange(len(data) + 1) for _ in range(rnd.choice((0, 0, 1, 5)))) if data else []
    chunks = [data[a:b].hex() for a, b in zip([0] + cuts, cuts + [len(data)])]
    shards = [b""] * SHARDS
    for line in probe(["split"] + arguments, chunks):
        words = line.split(" ", 2)
        if words[0] == "error":
            return None, line
        if words[0] == "all":
            shards = [s + bytes.fromhex(words[1]) for s in shards]
        else:
            key = None if words[1] == "-" else bytes.fromhex(words[1])
            shards[shard_of(key)] += bytes.fromhex(words[2])
    return shards, None


def shard_of(key):
    return 0 if key is None else zlib.crc32(key) % SHARDS


def contents(cur, table):
    cur.execute("SELECT k, v FROM %s" % table)
    return sorted(cur.fetchall(), key=repr)


def check_copy(cur, options, arguments, data, stricter=()):
    """True if both took the data."""
    cur.execute("TRUNCATE c, s")
    wanted = copy_in(cur, "c", options, data)
    shards, error = split(arguments, data)
    if error:
        assert wanted is not None or any(s in error for s in stricter), (options, data, error)
        return False
    rows = []
    for number, part in enumerate(shards):
        cur.execute("TRUNCATE s")
        failed = copy_in(cur, "s", options, part)
        if failed:
            assert wanted is not None, (options, data, part, failed)
            return False
        got = contents(cur, "s")
        assert all(shard_of(k if k is None else k.encode()) == number for k, _ in got), (options, data, part)
        rows += got
    assert wanted is None, (options, data, wanted)
    assert sorted(rows, key=repr) == contents(cur, "c"), (options, data)
    return True


FORMATS = [  # options, delimiter, quote, escape, NULL, header, FORCE_NULL, FORCE_NOT_NULL
    ("format text", "\t", '"', '"', "\\N", 0, 0, 0),
    ("format text, delimiter '|', null 'nil'", "|", '"', '"', "nil", 0, 0, 0),
    ("format text, null ''", "\t", '"', '"', "", 0, 0, 0),
    ("format csv", ",", '"', '"', "", 0, 0, 0),
    ("format csv, header", ",", '"', '"', "", 1, 0, 0),
    ("format csv, delimiter ';', quote '''', escape '\\', null 'nil'", ";", "'", "\\", "nil", 0, 0, 0),
    ("format csv, quote '\\', escape '.'", ",", "\\", ".", "", 0, 0, 0),
    ("format csv, force_null (k)", ",", '"', '"', "", 0, 1, 0),
    ("format csv, force_not_null (k), null 'n'", ",", '"', '"', "n", 0, 0, 1),
    ("format csv, force_not_null (k), force_null (k)", ",", '"', '"', "", 0, 1, 1),
]
# What is refused though a server might take it; all are said to be in exec/copy_split.h or src/exec/copy_lines.c.
STRICTER = ("is not alone on its line", "end-of-copy marker corrupt", "unterminated CSV quoted field")


def arguments_of(case, marker):
    options, delimiter, quote, escape, null, header, force_null, force_not_null = case
    return [options.split(",")[0].split()[1], delimiter, quote, escape, null, header, 2, 0, force_null, force_not_null, marker]


@pytest.fixture(scope="module")
def copy_tables(server):
    server.cursor.execute("CREATE TABLE c (k text, v text); CREATE TABLE s (k text, v text)")
    return server.cursor, int(server.cursor.connection.server_version < 180000)


@pytest.mark.parametrize("case", FORMATS, ids=[f[0] for f in FORMATS])
def test_split_copy_holds_the_same_rows(copy_tables, case):
    cur, marker = copy_tables
    for _ in range(12):
        letters = "abN.\\\t,;|'\"nil é\n\r"
        values = [
            tuple(None if rnd.random() < 0.1 else "".join(rnd.choice(letters) for _ in range(rnd.randrange(6))) for _ in range(2))
            for _ in range(100)
        ]
        cur.execute("TRUNCATE c")
        cur.execute("INSERT INTO c SELECT * FROM unnest(%s::text[], %s::text[])", ([a for a, _ in values], [b for _, b in values]))
        out = io.BytesIO()
        to_options = ", ".join(o for o in case[0].split(", ") if not o.startswith("force"))
        cur.copy_expert("COPY c TO STDOUT (%s)" % to_options, out)
        assert check_copy(cur, case[0], arguments_of(case, marker), out.getvalue())


@pytest.mark.parametrize("case", FORMATS, ids=[f[0] for f in FORMATS])
def test_split_copy_never_differs_on_odd_input(copy_tables, case):
    cur, marker = copy_tables
    _, delimiter, quote, escape, null = case[:5]
    csv = "csv" in case[0]
    taken = 0
    for round_ in range(150):
        eol = rnd.choice(("\n", "\n", "\r\n", "\r"))
        pieces = [delimiter, delimiter, eol, eol, "a", "b", null, quote, quote, escape, "\\", "\\.", "\\" + eol]
        escaped_eol = quote + "x" + eol + quote if csv else "x\\" + eol[-1]
        pieces += ["\\x41", "\\7", "\\" + delimiter, quote + eol + quote, eol + "\\." + eol, "\n", "\r", quote + quote]
        if round_ % 3:  # mostly well-formed
            keys = ("a", "", null, escaped_eol, "\\x42b")
            rows = [rnd.choice(keys) + delimiter + rnd.choice(("a", "\\.b" if csv else "b", "")) + eol for _ in range(rnd.randrange(12))]
            if rnd.random() < 0.3:
                rows.insert(rnd.randrange(len(rows) + 1), rnd.choice(pieces))
            data = "".join(rows)
            if rnd.random() < 0.3:
                data = data[: -len(eol)]
        else:
            data = "".join(rnd.choice(pieces) for _ in range(rnd.randrange(14)))
        taken += check_copy(cur, case[0], arguments_of(case, marker), data.encode(), STRICTER)
    assert taken > 20


def test_split_binary_copy(copy_tables):
    cur, marker = copy_tables
    for n in (0, 1, 300):
        cur.execute("TRUNCATE c; INSERT INTO c SELECT CASE WHEN i %% 7 = 0 THEN NULL ELSE 'k' || i END, repeat('v', i) FROM"
                    " generate_series(1, %s) i", (n,))
        out = io.BytesIO()
        cur.copy_expert("COPY c TO STDOUT (format binary)", out)
        arguments = ["binary", "", "", "", "", 0, 2, 0, 0, 0, marker]
        assert check_copy(cur, "format binary", arguments, out.getvalue())
        assert not check_copy(cur, "format binary", arguments, out.getvalue() + b"x")
        if n:
            assert not check_copy(cur, "format binary", arguments, out.getvalue()[:-5])
