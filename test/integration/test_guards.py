"""Shards that are not as they should be, and clients that are too many: a clear error, and the others go on."""
import contextlib
import os
import socket
import threading
import time

import psycopg2
import pytest

import pgharness as h

TABLES = {"items": "hash(id)"}


class Fake:
    """Something that listens where a shard should be. say: what it answers whatever comes; None: nothing."""

    def __init__(self, name, say):
        self.name, self.say = name, say
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(client)
            threading.Thread(target=self.answer, args=(client,), daemon=True).start()

    def answer(self, client):
        try:
            while client.recv(4096):
                if self.say is not None:
                    client.sendall(self.say)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        for client in self.open:
            client.close()


@pytest.fixture
def with_last(workspace, shards, dbname):
    """Makes a proxy of three real shards and one that is given."""
    made = []

    def make(last, **settings):
        cluster = object.__new__(h.Cluster)
        cluster.workspace, cluster.servers = workspace, list(shards.servers[:3]) + [last]
        proxy = h.Proxy(workspace, cluster, dbname, tables=TABLES, settings=settings)
        made.append(proxy)
        return proxy

    for server in shards:
        with server.session(dbname=dbname) as s:
            s.run("CREATE TABLE IF NOT EXISTS items (id int PRIMARY KEY, v int)")
            s.run("GRANT ALL ON items TO PUBLIC")
    yield make
    for proxy in made:
        proxy.stop()


def key_of_shard(shards, i):
    """A key that lives on shard i, by PostgreSQL's own hash."""
    with shards[0].session(dbname="postgres") as s:
        return s.one("SELECT k FROM generate_series(1, 1000) k WHERE ((hashint8extended(k, 0) & 1023) * 4 / 1024) = %s LIMIT 1", i)


def seconds_of(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began


def others_go_on(proxy, shards):
    with proxy.session() as s:
        for i in range(3):
            key = key_of_shard(shards, i)
            s.run("INSERT INTO items VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET v = items.v + 1", key)
            assert s.one("SELECT count(*) FROM items WHERE id = %s", key) == 1


def test_a_shard_that_is_down_at_the_start(with_last, shards):
    last = shards[3]
    last.stop()
    try:
        proxy = with_last(last)
        others_go_on(proxy, shards)
        with proxy.session() as s:
            e = s.fails("SELECT * FROM items WHERE id = %s", key_of_shard(shards, 3))
            assert e.pgcode == "08006" and last.name in str(e)
            assert s.one("SELECT 1") == 1
        with proxy.console() as c:
            assert {r["name"]: r["state"] for r in c.dicts("SHOW SHARDS")}[last.name] == "down"
    finally:
        last.start()

    def back():
        try:
            with proxy.session() as s:
                return s.rows("SELECT * FROM items WHERE id = %s", key_of_shard(shards, 3)) is not None
        except psycopg2.OperationalError:
            return False

    h.eventually(back, 30, 0.2)


@pytest.mark.parametrize("say", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"E\x7f\xff\xff\xff" + b"x" * 100, b"\x00" * 64, b"R\x00\x00\x00\x08\x00\x00\x00\x63"])
def test_a_shard_that_answers_garbage(with_last, shards, say):
    fake = Fake("s3", say)
    proxy = with_last(fake, server_connect_timeout="3s")
    others_go_on(proxy, shards)
    with proxy.session() as s:
        took = seconds_of(lambda: s.fails("SELECT * FROM items WHERE id = %s", key_of_shard(shards, 3)))
        assert took < 10
        assert s.one("SELECT 1") == 1
    others_go_on(proxy, shards)
    fake.close()
    proxy.check()


def test_a_shard_that_says_nothing(with_last, shards):
    fake = Fake("s3", None)
    proxy = with_last(fake, server_connect_timeout="2s")
    others_go_on(proxy, shards)
    with proxy.session() as s:
        e = s.fails("SELECT * FROM items WHERE id = %s", key_of_shard(shards, 3))
        assert e.pgcode == "08006" and "s3" in str(e)
    others_go_on(proxy, shards)
    fake.close()
    proxy.check()


def test_prepared_transactions_that_are_switched_off(workspace, with_last, shards, dbname):
    last = h.Postgres(workspace, "s3", max_prepared_transactions="0")
    last.make_database(dbname)
    with last.session(dbname=dbname) as s:
        s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
        s.run("GRANT ALL ON items TO PUBLIC")
    try:
        proxy = with_last(last)
        h.eventually(lambda: "max_prepared_transactions" in proxy.tail(200))
        others_go_on(proxy, shards)
        with proxy.session() as s:
            s.run("INSERT INTO items VALUES (%s, 1)", key_of_shard(shards, 3))  # one phase needs none
            before = s.one("SELECT sum(v) FROM items")
            for _ in range(4):  # whichever shard is to decide: all or nothing
                s.run("BEGIN")
                for i in (0, 3):
                    s.run("UPDATE items SET v = v + 1 WHERE id = %s", key_of_shard(shards, i))
                try:
                    s.run("COMMIT")
                    before += 2
                except psycopg2.Error as e:
                    assert e.pgcode == "55000", e
                assert s.one("SELECT sum(v) FROM items") == before
        proxy.stop()
    finally:
        last.stop()


def test_a_control_role_that_may_not_make_the_decision_table(with_last, shards, workspace, dbname):
    last = h.Postgres(workspace, "s3")
    last.make_database(dbname)
    with last.session(dbname="postgres") as s:
        s.run("CREATE ROLE weak LOGIN")
        s.run("REVOKE ALL ON DATABASE %s FROM PUBLIC" % dbname)
        s.run("GRANT CONNECT ON DATABASE %s TO weak, app" % dbname)
    try:
        proxy = with_last(last)
        proxy.shard_extra["s3"] = {"admin_user": "weak"}
        proxy.stop()
        text = open(proxy.ini, encoding="utf-8").read()
        head, tail = text.split("[shard s3]")
        with open(proxy.ini, "w", encoding="utf-8") as f:
            f.write(head + "[shard s3]" + tail.replace("admin_user = postgres", "admin_user = weak", 1))
        with last.session(dbname=dbname) as s:
            s.run("DROP SCHEMA IF EXISTS pgunison CASCADE")
        proxy.start()
        h.eventually(lambda: "CREATE TABLE IF NOT EXISTS pgunison.decision" in proxy.tail(200))
        others_go_on(proxy, shards)
        proxy.stop()
    finally:
        last.stop()


def test_twenty_thousand_attempts_against_max_client_conn(make_proxy):
    proxy = make_proxy(settings={"max_client_conn": 20})
    held = [proxy.connect() for _ in range(20)]
    refused = answered = 0
    startup = b"\x00\x00\x00\x20\x00\x03\x00\x00user\x00app\x00database\x00shop\x00\x00"
    startup = len(startup).to_bytes(4, "big") + startup[4:]
    slowest = 0.0
    for _ in range(200):
        batch = []
        for _ in range(100):
            s = socket.create_connection(("127.0.0.1", proxy.port), 10)
            s.sendall(startup)
            batch.append(s)
        for s in batch:
            data = b""
            while True:
                more = s.recv(4096)
                if not more:
                    break
                data += more
            answered += 1
            refused += b"C53300\x00" in data
            s.close()
        began = time.monotonic()
        with held[0].cursor() as c:
            c.execute("SELECT 1")
        slowest = max(slowest, time.monotonic() - began)
    assert answered == refused == 20000
    assert slowest < 2
    for connection in held:
        connection.close()

    def logs_in():  # once the proxy has noticed that the others are gone
        with contextlib.suppress(psycopg2.OperationalError):
            proxy.connect().close()
            return True
        return False

    h.eventually(logs_in)


def test_keys_that_are_null_or_not_of_their_type(with_last, shards):
    proxy = with_last(shards[3])
    with proxy.session() as s:
        e = s.fails("INSERT INTO items VALUES (NULL, 1)")
        assert e.pgcode == "23502"
        assert s.fails("INSERT INTO items VALUES ('seven', 1)").pgcode == "22P02"
        assert s.fails("SELECT * FROM items WHERE id = 'seven'").pgcode == "22P02"
        assert s.fails("SELECT * FROM items WHERE id = '99999999999'").pgcode == "22003"
        assert s.rows("SELECT * FROM items WHERE id = NULL") == []


def test_maps_with_gaps_and_overlaps_are_named(make_proxy, tmp_path):
    proxy = make_proxy()
    text = open(proxy.ini, encoding="utf-8").read()
    for lines, words in (("s0 = 0-255\ns1 = 256-511\ns2 = 513-767\ns3 = 768-1023", "512"), ("s0 = 0-300\ns1 = 256-511\ns2 = 512-767\ns3 = 768-1023", "256")):
        ini = tmp_path / "map.ini"
        ini.write_text(text + "[buckets shop]\n" + lines + "\n")
        (tmp_path / "userlist.txt").write_text('"app" ""\n')
        import subprocess

        done = subprocess.run([h.PGUNISON, "--check-config", str(ini)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert words in done.stdout + done.stderr and str(ini) in done.stdout + done.stderr
