"""route/hash.h against a server: bit for bit, for random values of every key type, in text and in binary."""
import os
import random
import string
import subprocess
import uuid

import pytest

VALUES = 10000
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROBE = os.path.join(ROOT, os.environ.get("BUILD", "build"), "integration", "hash_probe")

rnd = random.Random(20260131)


def integers(bits, unsigned=False):
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    edges = [low, low + 1, 0, 1, high - 1, high]

    def one():
        v = rnd.choice((rnd.choice(edges), rnd.randint(low, high), rnd.randint(max(low, -1000), min(high, 1000))))
        return rnd.choice(("%d", " %d", "%d  ", "\t%d\n")) % v

    return one


def characters():
    alphabets = (
        string.ascii_letters + string.digits,
        string.printable,
        "".join(map(chr, range(0xA0, 0x180))) + " ",
        "\u4e2d\u6587\u0939\u093f\u0394\u03b5 \U0001f600\U0001f40d",
    )
    text = "".join(rnd.choice(rnd.choice(alphabets)) for _ in range(rnd.choice((0, 1, 3, 11, 12, 13, 40, 300))))
    return text.replace("\0", "") + " " * rnd.choice((0, 0, 0, 1, 5))


def uuids():
    v = str(uuid.UUID(int=rnd.getrandbits(128)))
    return rnd.choice((v, v.upper(), "{%s}" % v, v.replace("-", "")))


def byteas():
    v = bytes(rnd.randrange(256) for _ in range(rnd.choice((0, 1, 4, 12, 31, 32, 33, 200))))
    if rnd.random() < 0.5:
        return "\\x" + v.hex()
    plain = set((string.ascii_letters + string.digits).encode())
    return "".join(chr(b) if b in plain else "\\\\" if b == 0x5C else "\\%03o" % b for b in v)


def dates():
    if rnd.random() < 0.02:
        return rnd.choice(("infinity", "-infinity"))
    bc = rnd.random() < 0.1
    year = rnd.randint(1, 4712) if bc else rnd.choice((rnd.randint(1, 294275), rnd.randint(1900, 2100)))
    return "%04d-%02d-%02d%s" % (year, rnd.randint(1, 12), rnd.randint(1, 28), " BC" if bc else "")


def timestamps(zone):
    def one():
        day = dates()
        if "infinity" in day:
            return day
        day, bc = (day[:-3], " BC") if day.endswith(" BC") else (day, "")
        text = day + rnd.choice((" ", "T")) + "%02d:%02d" % (rnd.randint(0, 23), rnd.randint(0, 59))
        if rnd.random() < 0.9:
            text += ":%02d" % rnd.randint(0, 59)
            if rnd.random() < 0.7:
                digits = rnd.randint(1, 6)
                text += ".%0*d" % (digits, rnd.randrange(10**digits))
        if zone:
            text += rnd.choice(("Z", "+00", "+01", "-08", "+05:30", "-03:30", "+13:45"))
        return text + bc

    return one


def bools():
    return rnd.choice(("t", "f", "true", "false", "yes", "no", "on", "off", "1", "0", " TRUE ", "Fals", "y", "n"))


# type: values as text, the server's hash, the server's binary output
TYPES = {
    "int2": (integers(16), "hashint2extended", "int2send"),
    "int4": (integers(32), "hashint4extended", "int4send"),
    "int8": (integers(64), "hashint8extended", "int8send"),
    "oid": (integers(32, unsigned=True), "hashoidextended", "oidsend"),
    "text": (characters, "hashtextextended", "textsend"),
    "varchar": (characters, "hashtextextended", "varcharsend"),
    "bpchar": (characters, "hashbpcharextended", "bpcharsend"),
    "uuid": (uuids, "uuid_hash_extended", "uuid_send"),
    "bytea": (byteas, "pg_temp.hash_bytea", "byteasend"),
    "date": (dates, "pg_temp.hash_date", "date_send"),
    "timestamp": (timestamps(False), "timestamp_hash_extended", "timestamp_send"),
    "timestamptz": (timestamps(True), "pg_temp.hash_timestamptz", "timestamptz_send"),
    "bool": (bools, "pg_temp.hash_bool", "boolsend"),
}

# Functions of operator classes that are declared for other argument types than those they serve.
HELPERS = (
    ("hash_bytea", "bytea", "hashvarlenaextended"),
    ("hash_date", "date", "hashint4extended"),
    ("hash_timestamptz", "timestamptz", "timestamp_hash_extended"),
    ("hash_bool", "bool", "hashcharextended"),
)


def probe(lines):
    out = subprocess.run([PROBE], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    return out.stdout.splitlines()


@pytest.fixture
def cursor(pg):
    connection = pg.connect()
    connection.autocommit = True
    cur = connection.cursor()
    cur.execute("SET DateStyle = ISO; SET TimeZone = 'Asia/Kolkata'")
    for name, argument, symbol in HELPERS:
        cur.execute(
            "CREATE FUNCTION pg_temp.%s(%s, bigint) RETURNS bigint LANGUAGE internal IMMUTABLE STRICT AS '%s'"
            % (name, argument, symbol)
        )
    yield cur
    connection.close()


def test_helpers_are_what_the_server_hashes_by(cursor):
    cursor.execute(
        "SELECT amproclefttype::regtype::text, amproc::regproc::text FROM pg_amproc p"
        " JOIN pg_opfamily f ON p.amprocfamily = f.oid JOIN pg_am a ON a.oid = f.opfmethod"
        " WHERE a.amname = 'hash' AND amprocnum = 2"
    )
    used = dict(cursor.fetchall())
    assert used["date"] in ("hashint4extended", "hashdateextended")
    assert used["timestamp without time zone"] == "timestamp_hash_extended"
    assert used["timestamp with time zone"] in ("timestamp_hash_extended", "timestamptz_hash_extended")
    assert used["boolean"] in ("hashcharextended", "hashboolextended")
    assert used["bytea"] in ("hashvarlenaextended", "hashbyteaextended")
    assert used["uuid"] == "uuid_hash_extended"
    assert used["oid"] == "hashoidextended"


@pytest.mark.parametrize("name", TYPES)
def test_hash_agrees_with_the_server(cursor, name):
    make, function, send = TYPES[name]
    values = [make() for _ in range(VALUES)]
    cursor.execute(
        "SELECT %s(v, 0), encode(%s(v), 'hex'), %s"
        " FROM unnest(%%s::text[]) WITH ORDINALITY u(s, n), LATERAL (SELECT s::%s AS v) w ORDER BY n"
        % (function, send, "v::text" if name != "bpchar" else "convert_from(bpcharsend(v), 'UTF8')", name),
        (values,),
    )
    rows = cursor.fetchall()
    assert len(rows) == VALUES
    lines, wanted = [], []
    for given, (hashed, binary, shown) in zip(values, rows):
        lines.append("%s\t0\t%s" % (name, given.encode().hex()))  # as a client may write it
        lines.append("%s\t0\t%s" % (name, shown.encode().hex()))  # as the server writes it
        lines.append("%s\t1\t%s" % (name, binary))
        wanted += [str(hashed)] * 3
    got = probe(lines)
    assert len(got) == len(wanted)
    wrong = [(line, g, w) for line, g, w in zip(lines, got, wanted) if g != w]
    assert not wrong, "%d of %d wrong, first: %r" % (len(wrong), len(got), wrong[0])


def test_wire_types_that_may_stand_for_a_column_hash_as_the_cast_does(cursor):
    pairs = [(c, w) for c in ("int2", "int4", "int8") for w in ("int2", "int4", "int8")]
    pairs += [("int8", "oid"), ("oid", "int2"), ("oid", "int4"), ("oid", "int8")]
    pairs += [(c, w) for c in ("text", "varchar") for w in ("text", "varchar", "bpchar", "name")]
    pairs += [("bpchar", w) for w in ("text", "varchar")]
    lines, wanted = [], []
    for column, wire in pairs:
        make = characters if column in ("text", "varchar", "bpchar") else integers(15, unsigned=column == "oid")
        values = [make() for _ in range(500)]
        if wire == "name":
            values = [v.encode()[:40].decode(errors="ignore") for v in values]
        cursor.execute(
            "SELECT %s(v::%s, 0), encode(%ssend(v), 'hex') FROM unnest(%%s::text[]) WITH ORDINALITY u(s, n),"
            " LATERAL (SELECT s::%s AS v) w ORDER BY n" % (TYPES[column][1], column, wire, wire),
            (values,),
        )
        for hashed, binary in cursor.fetchall():
            lines.append("%s:%s\t1\t%s" % (column, wire, binary))
            wanted.append(str(hashed))
    assert probe(lines) == wanted
