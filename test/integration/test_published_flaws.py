"""One test for each class of flaw that was published of a pooler or proxy for PostgreSQL: what the attacker there did is done
here, and has no effect. docs/security.md lists them beside the mechanism that stands against each.
"""
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

import psycopg2
import pytest

import pgharness as h

TABLES = {"items": "hash(id)"}
SETTINGS = {"auth_type": "scram-sha-256", "client_login_timeout": "10s", "ignore_startup_parameters": "extra_float_digits"}
USERS = '"app" "sesame"\n"scram" "sesame"\n"postgres" "boss"\n"stats" "stats"\n'


@pytest.fixture(scope="module")
def proxy(make_proxy):
    return make_proxy(users=USERS, settings={"admin_users": "postgres", "stats_users": "stats"})


@pytest.fixture(scope="module", autouse=True)
def schema(proxy, shards):
    for server in shards:
        with server.session(dbname=server.dbname if hasattr(server, "dbname") else proxy.dbname) as s:
            s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
            s.run("GRANT ALL ON items TO PUBLIC")


@pytest.fixture(autouse=True)
def others_are_served(proxy):
    """Whatever was sent: a client that was there before and one that comes after are answered, at once."""
    with proxy.session(user="app", password="sesame") as before:
        yield
        began = time.monotonic()
        assert before.one("SELECT 1") == 1
        with proxy.session(user="app", password="sesame") as after:
            assert after.one("SELECT 1") == 1
        assert time.monotonic() - began < 10
    proxy.check()


def errors(messages):
    return [h.fields(body) for kind, body in messages if kind == "E"]


def closed_with(wire, sqlstates, severity="FATAL"):
    """It ends with one error, and nothing was granted before."""
    got = wire.until_closed()
    assert not [kind for kind, body in got if kind == "R" and body[:4] == b"\0\0\0\0"], got
    found = errors(got)
    assert len(found) == 1 and found[0]["S"] == severity and found[0]["C"] in sqlstates, got
    return found[0]


# --- before authentication ---------------------------------------------------------------------------------


def test_a_database_name_as_long_as_a_packet_may_be(proxy):
    """PgBouncer, CVE-2012-4575: a long name for a database that had to be made up ended the process."""
    for length in (63, 64, 1000, 9000):
        with h.Wire(proxy.port) as w:
            w.startup(user="app", database="d" * length)
            assert w.receive()[0] == "R"  # asked for a password like anybody else
    with h.Wire(proxy.port) as w:
        w.startup(user="u" * 4000, database="d" * 4000)
        assert w.receive()[0] == "R"


@pytest.mark.parametrize("first", ["p", "Q", "P", "X", "S", "d"])
def test_a_message_before_the_startup_packet(proxy, first):
    """PgBouncer, CVE-2015-4054: a password before anybody had said who they are."""
    with h.Wire(proxy.port) as w:
        w.raw(h.message(first, b"secret\0"))
        closed_with(w, ("08P01", "0A000"))


def test_a_second_startup_packet_during_authentication(proxy):
    """PgBouncer, CVE-2026-107350: it was taken, and who proved to be one user went on as another."""
    for database in ("nosuch", "shop", "pgunison"):
        with h.Wire(proxy.port) as w:
            w.startup(user="app", database=database)
            assert w.receive()[0] == "R"
            w.startup(user="postgres", database="pgunison")
            closed_with(w, ("08P01",))
        # Behind the password's first half, too.
        with h.Wire(proxy.port) as w:
            w.startup(user="app", database=database)
            assert w.receive()[0] == "R"
            w.send(h.message("p", b"SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc"))
            assert w.receive()[0] == "R"
            w.startup(user="postgres", database="pgunison")
            closed_with(w, ("08P01",))


def test_options_with_an_empty_name(proxy):
    """PgBouncer, CVE-2026-107349: `-c=` was searched for without end."""
    for options in ("-c=", "-c =", "--=", "-c", "-c ", "--", "-c=1 -c=2", "-c\\ =x", " ", "-c a=b -c="):
        with h.Wire(proxy.port) as w:
            w.startup(user="app", database="shop", options=options)
            kind, body = w.receive()
            assert kind in "ER"
            if kind == "E":
                assert h.fields(body)["C"] in ("42601", "22023")


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFB, 0xFFFFFFFF])
def test_lengths_near_the_ends_of_an_integer(proxy, length):
    """PgBouncer, CVE-2026-6668 and CVE-2026-107348: a buffer was to grow to that, for ever."""
    with h.Wire(proxy.port) as w:
        w.raw(struct.pack("!II", length, 196608))
        closed_with(w, ("08P01",))
    with h.Wire(proxy.port) as w:
        w.startup(user="app", database="shop")
        assert w.receive()[0] == "R"
        w.raw(b"p" + struct.pack("!I", length))
        closed_with(w, ("08P01", "54000"))


@pytest.mark.parametrize("length", [0xFFFFFFFE, 0x80000000, 0x7FFFFFFF, 0x7FFFFFF0, 5, 1 << 20])
def test_a_first_message_of_scram_that_lies_about_its_length(proxy, length):
    """PgBouncer, CVE-2026-6664: position plus length went over the end of an integer, and past the check."""
    with h.Wire(proxy.port) as w:
        w.startup(user="app", database="shop")
        assert w.receive()[0] == "R"
        w.send(h.message("p", b"SCRAM-SHA-256\0" + struct.pack("!I", length) + b"n,,n=,r=abc"))
        closed_with(w, ("08P01",))


def test_settings_of_a_startup_packet_are_no_sql(proxy, shards):
    """PgBouncer, CVE-2025-12819: search_path in the startup packet changed what the proxy's own query meant, before anybody was
    authenticated. Here nobody's settings reach a server before the password, and then as values."""
    attack = "$a$ \" $a$; DROP TABLE public.items; --"
    for how in ({"search_path": attack}, {"options": "-c search_path=" + attack.replace(" ", "\\ ")}):
        with h.Wire(proxy.port) as w:
            w.startup(user="app", database="shop", **how)
            kind, body = w.receive()
            assert kind in "ER"
        for server in shards:
            with server.session(dbname=proxy.dbname) as s:
                assert s.one("SELECT count(*) FROM pg_tables WHERE tablename = 'items'") == 1
    with contextlib.suppress(psycopg2.Error):
        with proxy.session(user="app", password="sesame", options="-c search_path=" + attack.replace(" ", "\\ ")) as s:
            s.run("SELECT 1")
    for server in shards:
        with server.session(dbname=proxy.dbname) as s:
            assert s.one("SELECT count(*) FROM pg_tables WHERE tablename = 'items'") == 1


# --- who somebody is ---------------------------------------------------------------------------------------


def test_nobody_becomes_the_user_that_the_proxy_itself_uses(proxy):
    """PgBouncer, CVE-2015-6817: an unknown user was logged in as auth_user. pgpool-II, CVE-2025-46801: some went on without
    having been asked for a password."""
    for user in ("nobody", "admin", "", "pgunison", "POSTGRES", "Postgres", "postgres ", "app "):
        for password in ("", "boss", "sesame", user or "x"):
            with pytest.raises(psycopg2.OperationalError):
                proxy.connect(user=user or " ", password=password).close()
            with pytest.raises(psycopg2.OperationalError):
                proxy.connect("pgunison", user=user or " ", password=password).close()


def test_a_cached_connection_does_not_answer_for_the_client(proxy):
    """pgpool-II, CVE-2025-46801 and its like: with a server connection of that user idle, any password was good enough."""
    with proxy.session(user="scram", password="sesame") as s:
        assert s.one("SELECT 1") == 1
    for password in ("Sesame", "sesame ", "x", "SCRAM-SHA-256"):
        with pytest.raises(psycopg2.OperationalError) as e:
            proxy.connect(user="scram", password=password)
        assert "28P01" in str(e.value) or "password authentication failed" in str(e.value)


def test_an_expired_password_opens_nothing_new(proxy, make_proxy, shards):
    """PgBouncer, CVE-2025-2291: VALID UNTIL was not looked at. The proxy reads no passwords from a server; a role's end is the
    server's to enforce, where that asks for a password. So no new server connection of an expired role is made."""
    with shards[0].session(dbname="postgres") as s:
        s.run("ALTER ROLE scram VALID UNTIL '2000-01-01'")
    try:
        fresh = make_proxy(users=USERS)
        with pytest.raises(psycopg2.OperationalError) as e:
            fresh.connect(user="scram", password="sesame").close()
        assert "password authentication failed" in str(e.value)
        fresh.stop()
    finally:
        with shards[0].session(dbname="postgres") as s:
            s.run("ALTER ROLE scram VALID UNTIL 'infinity'")


def test_the_console_shows_no_secret_and_obeys_admins_only(proxy):
    """pgpool-II, CVE-2023-22332: passwords could be read by users of its SHOW."""
    with pytest.raises(psycopg2.OperationalError):
        proxy.connect("pgunison", user="app", password="sesame")
    with h.Session(proxy.connect("pgunison", user="postgres", password="boss")) as c:
        shows = [row[0] for row in c.rows("SHOW CONFIG")]
        assert shows
        for what in ("CONFIG", "USERS", "DATABASES", "SHARDS", "CLIENTS", "SERVERS", "POOLS"):
            assert "sesame" not in str(c.rows("SHOW " + what)) and "boss" not in str(c.rows("SHOW " + what)), what
    with h.Session(proxy.connect("pgunison", user="stats", password="stats")) as c:
        assert c.rows("SHOW POOLS") is not None
        commands = ("PAUSE", "RESUME", "RELOAD", "RECONNECT", "SHUTDOWN", "SUSPEND", "KILL shop", "KILL_CLIENT 1", "DISABLE shop")
        for command in (*commands, "ENABLE shop", "RESOLVE", "WAIT_CLOSE", "SET default_pool_size = 1"):
            assert c.fails(command).pgcode in ("42501", "0A000"), command
            assert c.fails(command.lower()).pgcode in ("42501", "0A000"), command
    with proxy.session(user="app", password="sesame") as s:
        assert s.one("SELECT 1") == 1


def test_one_users_answers_are_not_anothers(proxy):
    """pgpool-II, CVE-2024-45624: its query cache gave a user rows that another user might see. What is cached here is plans."""
    with proxy.session(user="postgres", password="boss") as boss:
        boss.run("CREATE TABLE secrets (v text)")
        boss.run("INSERT INTO secrets VALUES ('hidden')")
        try:
            with proxy.session(user="app", password="sesame") as s:
                for _ in range(3):
                    assert boss.one("SELECT v FROM secrets") == "hidden"
                    assert s.fails("SELECT v FROM secrets").pgcode == "42501"
                    assert s.one("SELECT current_user") == "app"
        finally:
            boss.run("DROP TABLE secrets")


# --- TLS ---------------------------------------------------------------------------------------------------


def make_certificate(folder):
    key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    os.chmod(key, 0o644)
    return key, cert


@pytest.fixture(scope="module")
def tls_proxy(make_proxy, workspace):
    key, cert = make_certificate(workspace.folder("tls"))
    return make_proxy(users=USERS, settings={"client_tls_sslmode": "allow", "client_tls_key_file": key, "client_tls_cert_file": cert})


def test_bytes_before_the_handshake_are_not_taken_for_encrypted_ones(tls_proxy):
    """PgBouncer, CVE-2021-3935, and Odyssey, CVE-2021-43766: a man in the middle put statements in front of the client's."""
    startup = struct.pack("!I", 196608) + b"user\0app\0database\0shop\0\0"
    with h.Wire(tls_proxy.port) as w:
        w.raw(struct.pack("!II", 8, 80877103) + struct.pack("!I", len(startup) + 4) + startup)
        got = b""
        with contextlib.suppress(OSError):
            while data := w.socket.recv(4096):
                got += data
        assert got[:1] == b"S" and b"08P01" in got and b"R\0\0\0" not in got[:6]
    # And an honest client gets through.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", tls_proxy.port), 10) as plain:
        plain.sendall(struct.pack("!II", 8, 80877103))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain) as s:
            s.sendall(struct.pack("!I", len(startup) + 4) + startup)
            assert s.recv(1) == b"R"


# --- what a server may say ---------------------------------------------------------------------------------


class FakeServer:
    """Accepts connections, reads a startup packet, and gives each to script(socket, number)."""

    def __init__(self, script):
        self.script, self.seen = script, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port, self.name = self.listener.getsockname()[1], "fake"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                self.seen += 1
                threading.Thread(target=self._serve, args=(peer, self.seen), daemon=True).start()

    def _serve(self, peer, number):
        with peer, contextlib.suppress(OSError, EOFError, struct.error):
            peer.settimeout(20)
            while True:
                (length,) = struct.unpack("!I", self.read(peer, 4))
                body = self.read(peer, length - 4)
                if body[:4] not in (struct.pack("!I", 80877103), struct.pack("!I", 80877104)):
                    break
                peer.sendall(b"N")
            self.script(peer, number)

    @staticmethod
    def read(peer, n):
        data = b""
        while len(data) < n:
            got = peer.recv(n - len(data))
            if not got:
                raise EOFError
            data += got
        return data

    @classmethod
    def frame(cls, peer):
        head = cls.read(peer, 5)
        return cls.read(peer, struct.unpack("!I", head[1:])[0] - 4)


class FakeCluster(list):
    def make_database(self, name):
        pass


@contextlib.contextmanager
def before(workspace, dbname, script):
    """A proxy whose only shard is that server."""
    with FakeServer(script) as fake:
        proxy = h.Proxy(workspace, FakeCluster([fake]), dbname, users=USERS, settings={"workers": 1, "server_connect_timeout": "3s"})
        try:
            yield proxy
            proxy.check()
        finally:
            proxy.stop()


def sasl(code, text):
    return h.message("R", struct.pack("!I", code) + text)


def refused(proxy):
    began = time.monotonic()
    with pytest.raises(psycopg2.OperationalError):
        proxy.connect(user="app", password="sesame").close()
    return time.monotonic() - began


def server_first(peer):
    """Offers SCRAM; the client's nonce."""
    peer.sendall(sasl(10, b"SCRAM-SHA-256\0\0"))
    return FakeServer.frame(peer).split(b"r=")[1]


def test_a_server_with_a_nonce_without_end(workspace, dbname):
    """PgBouncer, CVE-2026-6665: a long nonce of the server's went over the end of a buffer."""

    def script(peer, number):
        nonce = server_first(peer)
        peer.sendall(sasl(11, b"r=" + nonce + b"n" * (500 + 20000 * (number % 3)) + b",s=c2FsdHNhbHQ=,i=4096"))
        FakeServer.frame(peer)
        peer.sendall(sasl(12, b"v=" + b"A" * 5000))

    with before(workspace, dbname, script) as proxy:
        for _ in range(3):
            refused(proxy)


@pytest.mark.parametrize(
    "error",
    [b"SFATAL\0Mno state\0\0", b"\0", b"", b"S\0C\0M\0\0", b"SFATAL\0C28P01\0\0", b"SFATAL\0C28P01", b"C\xff\xff\xff\xff\xff\0M\xff\0\0"],
)
def test_an_error_of_a_server_with_fields_missing(workspace, dbname, error):
    """PgBouncer, CVE-2026-6666: an error without its SQLSTATE, at login, ended the process."""
    with before(workspace, dbname, lambda peer, number: peer.sendall(h.message("E", error))) as proxy:
        refused(proxy)
        refused(proxy)


def test_bytes_of_a_server_before_its_handshake(workspace, dbname):
    """Odyssey, CVE-2021-43767: what came in plain text behind the answer to SSLRequest was given to the client as the server's."""

    class Eager(FakeServer):
        def _serve(self, peer, number):
            with peer, contextlib.suppress(OSError, EOFError, struct.error):
                self.read(peer, 8)
                ok = h.message("R", b"\0\0\0\0") + h.message("K", b"\0" * 8) + h.message("Z", b"I")
                peer.sendall(b"S" + ok + h.message("T", b"\0\0") + h.message("Z", b"I"))
                self.read(peer, 1)

    with Eager(None) as fake:
        proxy = h.Proxy(workspace, FakeCluster([fake]), dbname, users=USERS, settings={"workers": 1, "server_connect_timeout": "3s"}, start=False)
        proxy.shard_extra = {"fake": {"sslmode": "require"}}
        proxy.configure(USERS)
        proxy.start()
        try:
            refused(proxy)
            proxy.check()
        finally:
            proxy.stop()


def test_a_server_that_asks_for_iterations_without_end(workspace, dbname):
    """PgBouncer, CVE-2026-6669: a server's count of SCRAM iterations stopped everybody. Here it costs that server's own logins:
    the worker goes on meanwhile, and no more than two of them compute at a time."""

    def script(peer, number):
        nonce = server_first(peer)
        peer.sendall(sasl(11, b"r=" + nonce + b"n,s=c2FsdHNhbHQ=,i=100000000"))
        FakeServer.frame(peer)

    with before(workspace, dbname, script) as proxy:
        proxy.settings.update(server_connect_timeout="1s", server_login_retry="10ms")
        proxy.configure()
        with proxy.console() as console:
            console.run("RELOAD")
            ends = time.monotonic() + 60
            longest, why = 0, ""
            while "earlier logins still compute" not in why:
                assert time.monotonic() < ends, why
                w = h.Wire(proxy.port)
                w.startup(user="app", database="shop")
                w.socket.settimeout(0.05)
                error = None
                while not error:
                    began = time.monotonic()
                    console.rows("SHOW VERSION")
                    longest = max(longest, time.monotonic() - began)
                    with contextlib.suppress(socket.timeout):
                        error = errors(w.until("E"))
                why = str(error)
                w.close()
            assert longest < 1, longest
