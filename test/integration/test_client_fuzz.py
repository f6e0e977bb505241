"""Random conversations of clients who keep to no protocol: messages in any order, changed bytes, wrong lengths, ends in the middle.
The process lives, others are served meanwhile, and nothing is left of them: no connection, no transaction, no row.

FUZZ_SECONDS (8) says how long, FUZZ_SEED (1) which; a failure names the conversation, which is made from the seed and its number.
"""
import os
import random
import socket
import struct
import time

import pytest

import pgharness as h
from pgharness import eventually

SHARDS = 3
TABLES = {"t": "hash(id)", "r": "reference"}
SETTINGS = {"workers": 2, "default_pool_size": 3, "log_connections": 0, "log_disconnections": 0, "query_wait_timeout": "20s"}
SECONDS, SEED = float(os.environ.get("FUZZ_SECONDS", "8")), int(os.environ.get("FUZZ_SEED", "1"))

TEXTS = [
    "SELECT 1", "", ";", "SELECT 1; SELECT 2", "SELECT v FROM t WHERE id = 1", "SELECT v FROM t WHERE id = $1", "SELECT count(*) FROM t",
    "SELECT id FROM t ORDER BY id LIMIT 3", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a", "RELEASE a", "SET work_mem = 1000",
    "SET LOCAL DateStyle = 'SQL'", "RESET ALL", "DISCARD ALL", "UPDATE r SET v = v", "UPDATE t SET v = v WHERE id = 2", "INSERT INTO t VALUES (1, 0)",
    "INSERT INTO t VALUES (1001, 1), (1002, 1), (1003, 1) ON CONFLICT DO NOTHING", "DELETE FROM t WHERE id = $1 AND v < 0", "COPY t TO STDOUT",
    "COPY t FROM STDIN", "COPY (SELECT 1) TO STDOUT", "COPY r FROM STDIN", "DECLARE c CURSOR FOR SELECT 1", "FETCH c", "CLOSE c", "SHOW work_mem",
    "SELECT nope", "SELEC", "SELECT '", "/* pgunison: shard=s1 */ SELECT 1", "LISTEN l", "UNLISTEN *", "EXPLAIN (ROUTE) SELECT * FROM t",
    "CREATE TEMP TABLE tt (a int)", "DROP TABLE IF EXISTS tt", "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock_all()",
    "PREPARE TRANSACTION 'x'", "SELECT set_config('my.x', 'y', false)", "VACUUM t", "SELECT lastval()", "SELECT v FROM t WHERE id IN (1, 2, 3, $1)",
]  # fmt: skip
NAMES = ["", "", "a", "b"]
VALUES = [None, b"1", b"2", b"x", b"", b"\0\0\0\1", b"1" * 3000]


def any_message(rng):
    name, portal = rng.choice(NAMES), rng.choice(NAMES)
    return rng.choice(
        [
            lambda: h.query(rng.choice(TEXTS)),
            lambda: h.query(rng.choice(TEXTS)),
            lambda: h.parse(rng.choice(TEXTS), name, [rng.choice([0, 20, 23, 25])] * rng.randrange(3)),
            lambda: h.parse(rng.choice(TEXTS), name),
            lambda: bind(rng, name, portal),
            lambda: bind(rng, name, portal),
            lambda: h.describe(rng.choice("SPX"), name),
            lambda: h.execute(portal, rng.choice([0, 0, 0, 1, 2**31 - 1])),
            lambda: h.execute(portal),
            lambda: h.close(rng.choice("SPX"), name),
            lambda: h.SYNC,
            lambda: h.SYNC,
            lambda: h.message("H"),
            lambda: h.copy_data(rng.choice([b"2001\t1\n", b"2002", b"\t3\n\n", b"\\.\n", b"\0"])),
            lambda: h.message("c"),
            lambda: h.copy_fail("no"),
            lambda: h.message("F", rng.randbytes(rng.randrange(12))),
            lambda: h.message("p", b"sesame\0"),
            lambda: h.message("X"),
            lambda: h.message(rng.choice("QPBDECSHdcfFpXzR0"), rng.randbytes(rng.randrange(20))),
        ]
    )()


def bind(rng, name, portal):
    n = rng.randrange(3)
    return h.bind(*[rng.choice(VALUES) for _ in range(n)], name=name, portal=portal, formats=[rng.randrange(2)] * rng.randrange(2), results=[rng.randrange(2)] * rng.randrange(2))


def changed(rng, data):
    """As it is, mostly."""
    how = rng.randrange(12)
    if how == 0 and data:
        at = rng.randrange(len(data))
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if how == 1:
        return data[: rng.randrange(len(data) + 1)]
    if how == 2 and len(data) >= 5:
        length = rng.choice([0, 3, 4, 5, 2**31 - 1, 2**32 - 1, struct.unpack_from("!I", data, 1)[0] + rng.choice([-1, 1, 4])])
        return data[:1] + struct.pack("!I", length % 2**32) + data[5:]
    return data


def conversation(number):
    """What is said, in the pieces in which it is sent."""
    rng = random.Random("%d/%d" % (SEED, number))
    return [b"".join(changed(rng, any_message(rng)) for _ in range(rng.randrange(1, 8))) for _ in range(rng.randrange(1, 4))]


def hear(wire, seconds):
    """Whatever comes, until nothing does for a while; False: the other side has closed."""
    wire.socket.settimeout(seconds)
    try:
        while data := wire.socket.recv(65536):
            assert data
    except socket.timeout:
        return True
    except OSError:
        pass
    return False


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
        s.run("CREATE TABLE r (id int PRIMARY KEY, v int)")
        s.run("INSERT INTO t VALUES " + ", ".join("(%d, %d)" % (i, i) for i in range(1, 31)))
        s.run("INSERT INTO r VALUES (1, 1), (2, 2)")


def test_nobody_is_hurt_by_what_a_client_says(proxy, shards):
    end, number = time.monotonic() + SECONDS, 0
    with proxy.session() as onlooker, proxy.console() as console:
        while time.monotonic() < end or number < 50:
            number += 1
            try:
                with proxy.wire() as wire:
                    for piece in conversation(number):
                        try:
                            wire.socket.sendall(piece)
                        except OSError:
                            break
                        if not hear(wire, 0.01):
                            break
                if number % 5 == 0:
                    assert onlooker.one("SELECT v FROM t WHERE id = 7") == 7
                    assert onlooker.one("SELECT count(*) FROM t WHERE id <= 30 AND v IS NOT NULL") <= 30
                assert proxy.process.poll() is None
            except Exception as e:
                raise AssertionError("conversation %d of seed %d" % (number, SEED)) from e
        print("%d conversations" % number)
        # all of them are gone
        eventually(lambda: [c["user"] for c in console.dicts("SHOW CLIENTS")].count("app") == 1, 30)
        eventually(lambda: all(p["sv_active"] == 0 for p in console.dicts("SHOW POOLS") if p["database"] == h.DATABASE), 30)
        eventually(lambda: not shards.prepared(), 30)
        assert onlooker.rows("SELECT id, v FROM r ORDER BY id")[:2] == [(1, 1), (2, 2)]
