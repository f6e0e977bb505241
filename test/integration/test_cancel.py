"""Cancel requests: what they hit, and what they must not hit. A request names a connection, not a statement, and takes a way
of its own; here a man in the middle makes that way long, and locks make the proxy's own statements last."""
import contextlib
import os
import select
import shutil
import struct
import subprocess
import threading
import time

import pytest

import pgharness as h
from mitm import ANSWERED, CANCEL_REQUEST, CUT, FAIL, SENT, SPOIL, SSL_REQUEST, Connection, Mitm, Rule
from pgharness import eventually

TABLES = {"t": "hash(id)", "one": "single(s1)"}
SHARDS = 2
# How the proxy sends the session's variables. Its own queries begin otherwise.
AHEAD = r"^(SET (?!LOCAL search_path = pg_catalog|search_path TO pg_catalog)|SELECT pg_catalog\.set_config\()"
RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query ~ %s AND state = 'active' AND pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def proxy(workspace, shards, middle, dbname):
    one = h.Proxy(workspace, middle, dbname, tables=TABLES)
    with one.session() as s:
        s.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
        for i in range(20):
            s.run("INSERT INTO t VALUES (%s, 0)", i)
        s.run("CREATE TABLE one (id int)")
        s.run("INSERT INTO one VALUES (0)")
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            db.run("CREATE SEQUENCE tried")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def ids(shards, dbname, proxy):
    """A key of each shard."""
    keys = []
    for shard in shards:
        with shard.session(dbname=dbname) as db:
            keys.append(db.one("SELECT min(id) FROM t"))
    return keys


@pytest.fixture(autouse=True)
def cancels_pass(middle):
    yield
    for man in middle:
        man.cancels.set()


def running(shard, dbname, pattern):
    with shard.session(dbname=dbname) as db:
        return db.one(RUNNING, dbname, pattern)


def errors(answer):
    return [m[2] for m in answer if m[0] == "E"]


def ready(w):
    return h.shape(w.until_ready())


@pytest.fixture
def text_search_locked(shards, dbname):
    """On the second shard, SET default_text_search_config waits."""
    with shards[1].session(dbname=dbname) as admin:
        admin.run("BEGIN")
        admin.run("LOCK TABLE pg_ts_config IN ACCESS EXCLUSIVE MODE")
        yield admin
        admin.run("ROLLBACK")


SET, SHOW = "SET default_text_search_config = '%s'", "SELECT current_setting('default_text_search_config') FROM t WHERE id = %d"
fresh = iter("""arabic armenian basque catalan danish dutch finnish french german greek hindi hungarian indonesian irish italian lithuanian
    nepali norwegian portuguese romanian russian serbian spanish swedish tamil turkish yiddish""".split())  # what no connection has looked up


@pytest.mark.parametrize("block", (False, True))
@pytest.mark.parametrize("statement", ("SELECT v FROM t WHERE id = %d", "SELECT count(*) FROM t"))
def test_a_cancel_that_hits_the_sessions_variables_fails_the_statement_alone(
        proxy, shards, dbname, ids, text_search_locked, statement, block):
    if "%d" in statement:
        statement %= ids[1]
    with proxy.wire() as w:
        wanted = "pg_catalog." + next(fresh)
        assert errors(w.ask(h.query(SET % wanted))) == []
        if block:
            w.ask(h.query("BEGIN"))
        w.send(h.query(statement))
        eventually(lambda: running(shards[1], dbname, AHEAD))
        w.cancel()
        assert errors(ready(w)) == ["57014"]
        text_search_locked.run("ROLLBACK")
        w.ask(h.query("ROLLBACK"))
        assert w.ask(h.query(SHOW % ids[1]))[1] == ("D", wanted.encode())


def test_a_shard_that_missed_the_variables_joins_after_rollback_to(proxy, shards, dbname, ids, text_search_locked):
    with proxy.wire() as w:
        wanted = "pg_catalog." + next(fresh)
        for sql in (SET % wanted, "BEGIN", "SAVEPOINT a"):
            w.ask(h.query(sql))
        w.send(h.query("SELECT v FROM t WHERE id = %d" % ids[1]))
        eventually(lambda: running(shards[1], dbname, AHEAD))
        w.cancel()
        assert errors(ready(w)) == ["57014"]
        text_search_locked.run("ROLLBACK")
        assert errors(w.ask(h.query(SHOW % ids[1]))) == ["25P02"]
        assert errors(w.ask(h.query("ROLLBACK TO a"))) == []
        for key in ids:
            assert w.ask(h.query(SHOW % key))[1] == ("D", wanted.encode())
        assert errors(w.ask(h.query("COMMIT"))) == []
        assert w.ask(h.query(SHOW % ids[1]))[1] == ("D", wanted.encode())


def test_the_clients_statement_timeout_that_hits_its_variables_is_its_statements(proxy, shards, dbname, ids, text_search_locked):
    with proxy.wire() as w:
        w.ask(h.query("SET statement_timeout = '200ms'"))
        w.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[1]))
        wanted = "pg_catalog." + next(fresh)
        w.ask(h.query(SET % wanted))
        assert errors(w.ask(h.query("SELECT v FROM t WHERE id = %d" % ids[1]))) == ["57014"]
        text_search_locked.run("ROLLBACK")
        assert w.ask(h.query(SHOW % ids[1]))[1] == ("D", wanted.encode())


def test_a_late_cancel_hits_nothing_else(proxy, shards, middle, dbname, ids):
    """One shard fails, so the other one is cancelled; its statement ends before the request is there. What the session says
    next must wait, for the request names the connection alone."""
    with proxy.wire() as w, shards[1].session(dbname=dbname) as admin:
        admin.run("BEGIN")
        admin.run("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        for sql in ("BEGIN", "UPDATE t SET v = 1 WHERE id = %d" % ids[0], "SAVEPOINT a"):
            w.ask(h.query(sql))
        middle[1].cancels.clear()
        w.send(h.query("SELECT 1 / (v - 1) FROM t"))
        assert h.shape(w.until("E"))[-1][2] == "22012"
        eventually(lambda: middle[1].cancels_waiting)
        admin.run("COMMIT")
        eventually(lambda: not running(shards[1], dbname, r"1 / \(v - 1\)"))
        w.send(h.query("ROLLBACK TO a"), h.query("SELECT pg_sleep(0.5), v FROM t WHERE id = %d" % ids[1]))
        assert select.select([w.socket], [], [], 0.5)[0] == []
        middle[1].cancels.set()
        for _ in range(3):
            assert errors(ready(w)) == []
        w.ask(h.query("ROLLBACK"))


def test_a_cancel_does_not_cost_the_connection(proxy, shards, dbname, ids):
    with proxy.wire() as w:
        pid = "SELECT pg_backend_pid() FROM t WHERE id = %d" % ids[1]
        before = w.ask(h.query(pid))[1]
        for _ in range(3):
            w.send(h.query("SELECT pg_sleep(100) FROM t WHERE id = %d" % ids[1]))
            eventually(lambda: running(shards[1], dbname, "pg_sleep"))
            w.cancel()
            assert errors(ready(w)) == ["57014"]
            assert w.ask(h.query(pid))[1] == before


def preamble_hit(w, shards, dbname, text_search_locked, *messages, local=False):
    """In a block, sends what needs the second shard for the first time, and cancels it while that shard is still busy with what
    goes ahead: the session's variables, or BEGIN and the SET LOCAL behind it. Returns what comes up to ReadyForQuery."""
    wanted = "pg_catalog." + next(fresh)
    if local:
        w.ask(h.query("BEGIN"))
        assert errors(w.ask(h.query("SET LOCAL default_text_search_config = '%s'" % wanted))) == []
    else:
        assert errors(w.ask(h.query(SET % wanted))) == []
        w.ask(h.query("BEGIN"))
    w.send(*messages)
    eventually(lambda: running(shards[1], dbname, AHEAD))
    w.cancel()
    got = ready(w)
    text_search_locked.run("ROLLBACK")
    assert errors(got) == ["57014"]
    assert got[-1] == ("Z", "E") and got[-2][0] == "E"  # nothing between the error and ReadyForQuery
    return got


PARSED = ("1", b"")


@pytest.mark.parametrize("local", (False, True))
@pytest.mark.parametrize("known", (False, True))
@pytest.mark.parametrize("alone", (False, True))
def test_a_statement_whose_parse_falls_with_the_preamble_does_not_exist(
        proxy, shards, dbname, ids, text_search_locked, alone, known, local):
    sql = "SELECT 1, %d FROM one" % (alone + 2 * known + 4 * local)  # Parse alone goes to that shard as well
    p = h.parse(sql, "mine")
    rest = () if alone else (h.bind(name="mine"), h.execute())
    with proxy.wire() as w, contextlib.ExitStack() as more:
        if known:  # the server has it already, for another client
            other = more.enter_context(proxy.wire())
            assert errors(other.ask(h.parse(sql, "other"), h.bind(name="other"), h.execute(), h.SYNC)) == []
        got = preamble_hit(w, shards, dbname, text_search_locked, p, *rest, h.SYNC, local=local)
        assert len(got) == (3 if PARSED in got else 2)
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
        again = w.ask(p, h.SYNC)
        assert again == [PARSED, ("Z", "I")] if PARSED not in got else errors(again) == ["42P05"]
        assert w.ask(h.bind(name="mine"), h.execute(), h.SYNC)[1] == ("D", b"1", sql[10:11].encode())


@pytest.mark.parametrize("local", (False, True))
@pytest.mark.parametrize("flush", (False, True))
def test_an_extended_copy_behind_the_preamble_that_falls_waits_for_no_data(
        proxy, shards, dbname, ids, text_search_locked, flush, local):
    copy = (h.parse("COPY one FROM STDIN"), h.bind(), h.execute())
    with proxy.wire() as w:
        w.ask(*copy[:1], h.SYNC)
        preamble_hit(w, shards, dbname, text_search_locked, *copy, *(flush * (h.FLUSH,)), h.SYNC, local=local)
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
        w.send(*copy)
        assert [m[0] for m in h.shape(w.until("GE"))] == ["1", "2", "G"]
        w.send(h.copy_data(b"1\n"), h.COPY_DONE, h.SYNC)
        assert ready(w) == [("C", "COPY 1"), ("Z", "I")]


@pytest.mark.parametrize("local", (False, True))
@pytest.mark.parametrize("table", ("t", "one"))
def test_a_simple_copy_behind_the_preamble_that_falls_waits_for_no_data(
        proxy, shards, dbname, ids, text_search_locked, table, local):
    with proxy.wire() as w:
        preamble_hit(w, shards, dbname, text_search_locked, h.query("COPY %s (id) FROM STDIN" % table), local=local)
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
        assert w.ask(h.query("SELECT 1 FROM t WHERE id = %d" % ids[1]))[-2:] == [("C", "SELECT 1"), ("Z", "I")]


@pytest.mark.parametrize("extended", (False, True))
def test_what_is_behind_the_variables_does_not_run_once_they_were_hit(
        proxy, shards, dbname, ids, text_search_locked, extended):
    """A cancel that ended only the SET would be spent, and the statement run on, with the wrong variables."""
    sql = "SELECT nextval('tried'), pg_sleep(100) FROM t WHERE id = %d" % ids[1]
    said = (h.parse(sql), h.bind(), h.execute(), h.SYNC) if extended else (h.query(sql),)
    with proxy.wire() as w, shards[1].session(dbname=dbname) as db:
        preamble_hit(w, shards, dbname, text_search_locked, *said)
        w.ask(h.query("ROLLBACK"))
        assert not db.one("SELECT is_called FROM tried")


@pytest.mark.parametrize("block", (False, True))
@pytest.mark.parametrize("extended", (False, True))
def test_a_shard_lost_while_it_sets_the_variables_fails_the_statement_alone(proxy, middle, ids, extended, block):
    sql = "SELECT v FROM t WHERE id = %d" % ids[1]
    said = (h.parse(sql), h.bind(), h.execute(), h.SYNC) if extended else (h.query(sql),)
    rule = Rule(AHEAD, SENT, CUT)
    with proxy.wire() as w:
        wanted = ("english", "simple", "german", "french")[2 * extended + block]  # another each time: no server has been set to it
        w.ask(h.query(SET % ("pg_catalog." + wanted)))
        if block:
            w.ask(h.query("BEGIN"))
        middle[1].rules = [rule]
        try:
            assert errors(w.ask(*said)) == ["08006"]
        finally:
            middle[1].rules = []
        assert w.ask(h.query("ROLLBACK"))[-1] == ("Z", "I")
        assert w.ask(h.query(SHOW % ids[1]))[1] == ("D", b"pg_catalog." + wanted.encode())


def test_a_cancel_that_hits_the_applications_name_hits_its_statement(proxy, shards, middle, dbname, ids):
    """The name alone goes ahead of BEGIN and the statement without being waited for. Nothing makes it last: the man in the
    middle says that it was cancelled, when the statement runs. A request that the shard has before it reads the statement
    would be for nothing: PostgreSQL forgets it."""
    rule = Rule(AHEAD, ANSWERED, FAIL)
    again = Rule(AHEAD, SENT, None)  # what it is now nobody knows
    name = "SELECT current_setting('application_name') FROM t WHERE id = %d" % ids[1]
    with proxy.wire() as w:
        w.ask(h.query(name))
        for sql in ("SET application_name = 'named'", "BEGIN"):
            assert errors(w.ask(h.query(sql))) == []
        middle[1].rules = [rule]
        try:
            w.send(h.query("SELECT pg_sleep(100) FROM t WHERE id = %d" % ids[1]))
            eventually(lambda: running(shards[1], dbname, "pg_sleep"))
            rule.release()
            assert errors(ready(w)) == ["57014"]
        finally:
            middle[1].rules = []
            rule.release()
        assert rule.fired.is_set()
        w.ask(h.query("ROLLBACK"))
        middle[1].rules = [again]
        try:
            assert w.ask(h.query(name))[1] == ("D", b"named")
        finally:
            middle[1].rules = []
        assert again.fired.is_set()


@pytest.mark.parametrize("behind", ("UPDATE t SET v = v + 1", "SAVEPOINT a", "UPDATE t SET v = v + 1 WHERE id = %d"))
def test_nothing_stands_behind_the_begin_of_a_pipeline_that_spreads_if_it_fails(proxy, middle, ids, behind):
    """What the first shard did becomes part of a block by a BEGIN after the fact. The man in the middle spoils it."""
    behind = behind % ids[1] if "%" in behind else behind
    one = "UPDATE t SET v = v + 1 WHERE id = %d" % ids[0]
    with proxy.wire() as w:
        before = w.ask(h.query("SELECT sum(v) FROM t"))
        rule = Rule("^BEGIN$", SENT, SPOIL)
        middle[0].rules = [rule]
        try:
            got = w.ask(*(m for sql in (one, behind) for m in (h.parse(sql), h.bind(), h.execute())), h.SYNC)
        finally:
            middle[0].rules = []
        assert rule.fired.is_set()
        assert len(errors(got)) == 1 and got[-2][0] == "E" and got[-1] == ("Z", "I")
        assert w.ask(h.query("SELECT sum(v) FROM t")) == before
        assert errors(w.ask(h.query(one))) == []


def sleeper(proxy, key):
    """A session whose statement does not end by itself."""
    w = proxy.wire()
    w.send(h.query("SELECT pg_sleep(100) FROM t WHERE id = %d" % key))
    return w


def test_a_silent_shard_delays_no_other_shards_cancels(proxy, shards, middle, dbname, ids):
    """Its side of the requests accepts, and never answers."""
    with contextlib.ExitStack() as open_sessions:
        silent = [open_sessions.enter_context(sleeper(proxy, ids[0])) for _ in range(12)]
        eventually(lambda: running(shards[0], dbname, "pg_sleep") == len(silent))
        middle[0].cancels.clear()
        before = middle[0].cancels_waiting
        for w in silent:
            w.cancel()
        eventually(lambda: middle[0].cancels_waiting - before == len(silent))
        for _ in range(3):
            with sleeper(proxy, ids[1]) as w:
                eventually(lambda: running(shards[1], dbname, "pg_sleep"))
                w.cancel()
                began = time.monotonic()
                assert errors(ready(w)) == ["57014"]
                assert time.monotonic() - began < 2
        assert running(shards[0], dbname, "pg_sleep") == len(silent)
        middle[0].cancels.set()
        for w in silent:
            assert errors(ready(w)) == ["57014"]


def test_a_silent_shard_holds_an_answer_no_longer_than_connecting_may_take(workspace, middle, shards, dbname, ids):
    """Nobody knows whether the request will still arrive: no other session gets that connection."""
    proxy = h.Proxy(workspace, middle, dbname, tables=TABLES, settings={"server_connect_timeout": "2s"})
    pid = "SELECT pg_backend_pid() FROM t WHERE id = %d" % ids[0]
    try:
        with proxy.wire() as w:
            before = w.ask(h.query(pid))[1]
            middle[0].cancels.clear()
            w.send(h.query("SELECT pg_sleep(1) FROM t WHERE id = %d" % ids[0]))
            eventually(lambda: running(shards[0], dbname, "pg_sleep"))
            w.cancel()
            began = time.monotonic()
            assert errors(ready(w)) == []
            assert 1 < time.monotonic() - began < 8
            middle[0].cancels.set()
            assert w.ask(h.query(pid))[1] != before
    finally:
        proxy.stop()


class Ear(Mitm):
    """Passes bytes on as they are, and keeps what each connection said to the shard."""

    def __init__(self, shard):
        self.heard = []
        super().__init__(shard)

    def connect(self, client):
        return Overheard(self, client)


class Overheard(Connection):
    def run(self):
        said = bytearray()
        self.mitm.heard.append(said)
        back = threading.Thread(target=self._guard, args=(lambda: self.pump(self.server, self.client),), daemon=True)
        back.start()
        self._guard(lambda: self.pump(self.client, self.server, said))
        back.join()
        self.client.close()
        self.server.close()

    @staticmethod
    def pump(source, target, said=None):
        while True:
            data = source.recv(65536)
            if not data:
                raise EOFError
            if said is not None:
                said += data
            target.sendall(data)


@pytest.fixture(scope="module")
def encrypted(workspace, dbname):
    """A shard that takes logins over TLS only, whose certificate the proxy verifies, and whoever listens before it."""
    folder = workspace.folder("tls")
    key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    os.chmod(key, 0o600)
    if os.geteuid() == 0:
        shutil.chown(key, "postgres", "postgres")
    server = h.Postgres(workspace, "tls", ssl="on", ssl_cert_file=cert, ssl_key_file=key)
    server.make_database(dbname)
    with server.session(dbname=dbname) as db:
        with open(os.path.join(server.data, "pg_hba.conf"), "w", encoding="utf-8") as f:
            f.write("local all all trust\nhostssl all all 127.0.0.1/32 trust\n")
        db.run("SELECT pg_reload_conf()")
    ear = Ear(server)
    ear.host = "localhost"
    proxy = h.Proxy(
        workspace, [ear], dbname, settings={"server_tls_sslmode": "verify-full", "server_tls_ca_file": cert}
    )
    yield proxy, server, ear
    proxy.stop()
    ear.close()
    server.stop()


def test_cancels_travel_encrypted_where_the_connection_does(encrypted, dbname):
    proxy, server, ear = encrypted
    with proxy.wire() as w:
        for _ in range(2):
            w.send(h.query("SELECT pg_sleep(100)"))
            eventually(lambda: running(server, dbname, "pg_sleep"))
            before = len(ear.heard)
            w.cancel()
            assert errors(ready(w)) == ["57014"]
            assert len(ear.heard) == before + 1
    for said in map(bytes, ear.heard):
        assert said[:8] == struct.pack("!II", 8, SSL_REQUEST)
        assert said[8:9] == b"\x16"  # the client's part of the handshake, and nothing before it
        assert struct.pack("!II", 16, CANCEL_REQUEST) not in said


def test_a_cancel_is_not_sent_in_plain_text_to_a_server_that_refuses_tls(encrypted, dbname):
    """It took TLS for the connection. Somebody else may answer for it now."""
    proxy, server, ear = encrypted

    class Refuses(Overheard):
        def run(self):
            said = bytearray(self._read(self.client, 8))
            self.mitm.heard.append(said)
            self.client.sendall(b"N")
            with contextlib.suppress(OSError):
                said += self.client.recv(64)
            self.close()

    with proxy.wire() as w:
        w.send(h.query("SELECT pg_sleep(3)"))
        eventually(lambda: running(server, dbname, "pg_sleep"))
        heard = len(ear.heard)
        ear.connect = lambda client: Refuses(ear, client)
        try:
            w.cancel()
            assert errors(ready(w)) == []
        finally:
            del ear.connect
        assert [bytes(said) for said in ear.heard[heard:]] == [struct.pack("!II", 8, SSL_REQUEST)]
