"""A shard that falls silent, is promoted away from, or is another one than it was."""
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

import pgharness as h

PATIENCE = 2  # server_silence_timeout where a test would else take long
SETTINGS = {"server_login_retry": "15", "workers": 1}


def processes(server):
    """Of the server, the postmaster last."""
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.process.pid)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in out.split()] + [server.process.pid]


@contextlib.contextmanager
def stopped(server):
    """The machine hangs: its kernel takes packets, nobody reads them."""
    pids = processes(server)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Standby(h.Postgres):
    """A streaming copy of a server, as pg_basebackup -R makes it."""

    def __init__(self, primary):  # pylint: disable=super-init-not-called
        self.workspace, self.name = primary.workspace, primary.name
        self.home = primary.workspace.folder("standby")
        self.data, self.log = os.path.join(self.home, "data"), os.path.join(self.home, "log")
        self.port, self.process, self.environment = h.free_port(), None, {}
        source = "host=127.0.0.1 port=%d user=postgres" % primary.port
        subprocess.run([h.tool("pg_basebackup"), "-D", self.data, "-R", "-c", "fast", "-X", "stream", "-d", source], check=True, cwd=self.home, **h._as_postgres())
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write("port = %d\nunix_socket_directories = '%s'\n" % (self.port, self.home))
        self.start()

    def promote(self):
        subprocess.run([h.tool("pg_ctl"), "-D", self.data, "promote"], check=True, cwd=self.home, stdout=subprocess.DEVNULL, **h._as_postgres())


class Hosts:
    """One shard on several servers."""

    name = "s0"

    def __init__(self, *servers):
        self.servers = servers
        self.host = ",".join("127.0.0.1" for _ in servers)
        self.port = ",".join(str(s.port) for s in servers)

    def make_database(self, name):
        pass


def proxy_of(workspace, servers, **settings):
    return h.Proxy(workspace, [Hosts(*servers)], h.DATABASE, settings={**SETTINGS, **settings})


@pytest.fixture
def primary(workspace):
    server = h.Postgres(workspace, "p0", wal_keep_size="64MB")
    server.make_database(h.DATABASE)
    with open(os.path.join(server.data, "pg_hba.conf"), "a", encoding="utf-8") as f:
        f.write("host replication all 127.0.0.1/32 trust\n")
    with server.session() as db:
        db.run("SELECT pg_reload_conf()")
        db.run("CREATE TABLE t (id int)")
        db.run("GRANT ALL ON t TO PUBLIC")
    yield server
    server.stop(signal.SIGQUIT)


@pytest.fixture
def standby(primary):
    server = Standby(primary)
    h.eventually(lambda: server.session().one("SELECT count(*) FROM pg_class WHERE relname = 't'") == 1)
    yield server
    server.stop(signal.SIGQUIT)


def code(session, sql):
    try:
        session.run(sql)
    except psycopg2.Error as e:
        return e.pgcode or "08006"
    return None


# --- silence -------------------------------------------------------------------------------------------------------


def test_a_silent_shard_ends_what_waits_for_it_with_default_settings(workspace, primary):
    """Within server_silence_timeout, or server_connect_timeout where a connection has to be opened; what the other clients do on idle connections too, and when it is back all is well."""
    proxy = h.Proxy(workspace, [Hosts(primary)], h.DATABASE)
    sessions = [proxy.session() for _ in range(4)]
    try:
        for s in sessions:
            s.run("SELECT 1")
        sessions[1].run("BEGIN")
        sessions[1].run("INSERT INTO t VALUES (1)")
        sessions[2].run("BEGIN")
        sessions[2].run("INSERT INTO t VALUES (2)")
        ended = {}
        with stopped(primary):
            began = time.monotonic()

            def ask(i, sql):
                ended[i] = (code(sessions[i], sql), time.monotonic() - began)

            statements = ["SELECT count(*) FROM t", "INSERT INTO t VALUES (3)", "COMMIT"]
            threads = [threading.Thread(target=ask, args=item) for item in enumerate(statements)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(40)
            assert sorted(ended) == [0, 1, 2], "hangs: %s" % ended
            assert [ended[i][0] for i in range(3)] == ["08006", "08006", "08007"]
            assert max(seconds for _, seconds in ended.values()) < 15 + 2  # the longer of it and server_connect_timeout
        for s in sessions[:1] + sessions[3:]:
            h.eventually(lambda s=s: code(s, "SELECT 1") is None)
    finally:
        for s in sessions:
            s.close()
        proxy.stop()


def test_a_long_statement_on_a_healthy_shard_goes_on(workspace, primary):
    proxy = proxy_of(workspace, [primary], server_silence_timeout="%ds" % PATIENCE)
    try:
        with proxy.session() as s, proxy.session() as other, primary.session() as db:
            assert s.one("SELECT pg_sleep(%d)::text" % (3 * PATIENCE)) == ""
            # One that waits for a lock, and one whose server lets nobody in for want of places, are as well.
            other.run("BEGIN")
            other.run("LOCK TABLE t")
            others = []
            with contextlib.suppress(psycopg2.OperationalError):
                db.run("ALTER SYSTEM SET max_connections = 200")
                while True:
                    others.append(primary.connect(user="app"))
            done = []
            waiter = threading.Thread(target=lambda: done.append(code(s, "INSERT INTO t VALUES (1)")))
            waiter.start()
            time.sleep(2.5 * PATIENCE)  # longer than the bound, which is what is shown
            assert not done
            other.run("ROLLBACK")
            waiter.join(20)
            assert done == [None]
            for c in others:
                c.close()
    finally:
        proxy.stop()


# --- promotion -----------------------------------------------------------------------------------------------------


def first_write(proxy, seconds=30):
    """When a write first went through, and where: statements until then fail or wait."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(psycopg2.Error), proxy.session() as s:
            s.run("INSERT INTO t VALUES (7)")
            return time.monotonic()
    raise AssertionError("no write went through")


@pytest.mark.parametrize("how", ["crash", "shutdown", "silent"])
def test_after_a_promotion_the_first_statement_succeeds_within_two_seconds(workspace, primary, standby, how):
    proxy = proxy_of(workspace, [primary, standby], server_silence_timeout="%ds" % PATIENCE)
    try:
        with contextlib.ExitStack() as stack:
            with proxy.session() as s:
                s.run("INSERT INTO t VALUES (1)")
                if how == "silent":
                    stack.enter_context(stopped(primary))
                else:
                    primary.stop(signal.SIGQUIT if how == "crash" else signal.SIGINT)
                assert code(s, "SELECT 1") == ("08006" if how == "silent" else None) or how != "silent"
            waited = []
            waiter = threading.Thread(target=lambda: waited.append(first_write(proxy)))
            waiter.start()
            time.sleep(1.5)  # the operator takes his time; statements wait
            standby.promote()
            h.eventually(lambda: standby.session().one("SELECT NOT pg_is_in_recovery()"))
            promoted = time.monotonic()
            waiter.join(20)
            assert waited and waited[0] - promoted < 2, waited and waited[0] - promoted
            assert standby.session().one("SELECT count(*) FROM t WHERE id = 7") == 1
            # The statement waited for it rather than failing: a session of now is served at once.
            with proxy.session() as s:
                assert s.run("INSERT INTO t VALUES (8)") == "INSERT 0 1"
    finally:
        proxy.stop()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_revived_primary_is_not_written_to(workspace, primary, standby, restarted):
    """It is the first in the list, and writable. A proxy that never saw it fall compares both."""
    proxy = proxy_of(workspace, [primary, standby])
    try:
        with proxy.session() as s:
            s.run("INSERT INTO t VALUES (1)")
        h.eventually(lambda: standby.session().one("SELECT count(*) FROM t") == 1)
        primary.stop(signal.SIGQUIT)
        standby.promote()
        h.eventually(lambda: standby.session().one("SELECT NOT pg_is_in_recovery()"))
        first_write(proxy)
        primary.start()  # as if nothing had happened
        if restarted:
            proxy.stop()
            proxy.start()
        else:
            with proxy.console() as c:
                c.run("RECONNECT")
        for _ in range(5):
            with proxy.session() as s:
                assert s.run("INSERT INTO t VALUES (9)") == "INSERT 0 1"
        assert standby.session().one("SELECT count(*) FROM t WHERE id = 9") == 5
        assert primary.session().one("SELECT count(*) FROM t WHERE id IN (7, 9)") == 0
        # Nor when it is all that is left.
        if not restarted:
            standby.stop(signal.SIGQUIT)
            with proxy.session() as s:
                error = s.fails("INSERT INTO t VALUES (10)")
            assert error.pgcode in ("08006", "57P03") and primary.session().one("SELECT count(*) FROM t WHERE id = 10") == 0
            assert "left behind by a promotion" in proxy.tail(400)
    finally:
        proxy.stop()


def test_another_system_at_the_same_place_is_not_used(workspace, primary):
    proxy = proxy_of(workspace, [primary], server_login_retry="100ms")
    try:
        with proxy.session() as s:
            s.run("INSERT INTO t VALUES (1)")
            primary.stop()
            shutil.rmtree(primary.data)
            subprocess.run([h.tool("initdb"), "-D", primary.data, "-U", "postgres", "-A", "trust", "-N"], check=True, cwd=primary.home, stdout=subprocess.DEVNULL, **h._as_postgres())
            with open(os.path.join(primary.data, "postgresql.conf"), "a", encoding="utf-8") as f:
                f.write("port = %d\nunix_socket_directories = '%s'\nmax_prepared_transactions = 10\n" % (primary.port, primary.home))
            primary.start()
            with primary.session(dbname="postgres") as db:
                db.run("CREATE ROLE app LOGIN")
            primary.make_database(h.DATABASE)
            with primary.session() as db:
                db.run("CREATE TABLE t (id int)")
                db.run("GRANT ALL ON t TO PUBLIC")
            h.eventually(lambda: "is another one" in proxy.tail(400))
            code(s, "SELECT 1")
        with contextlib.suppress(psycopg2.Error), proxy.session() as s:
            s.run("INSERT INTO t VALUES (2)")
        assert primary.session().one("SELECT count(*) FROM t") == 0
        proxy.stop()
        proxy.start()  # that it is meant is said by starting anew
        with proxy.session() as s:
            assert s.run("INSERT INTO t VALUES (2)") == "INSERT 0 1"
    finally:
        proxy.stop()


# --- demotion in place ---------------------------------------------------------------------------------------------


def read_only(server, on):
    with server.session() as db:
        db.run("ALTER SYSTEM %s" % ("SET default_transaction_read_only = on" if on else "RESET default_transaction_read_only"))
        db.run("SELECT pg_reload_conf()")
    h.eventually(lambda: server.session().one("SHOW default_transaction_read_only") == ("on" if on else "off"))


@pytest.mark.parametrize("statement", ["INSERT INTO t VALUES (3)", "SELECT put(3)"])
@pytest.mark.parametrize("before", [[], ["SET work_mem = '5MB'"], ["BEGIN", "INSERT INTO t VALUES (0)"]], ids=["plain", "with_a_variable", "in_a_transaction"])
def test_a_server_that_became_read_only_is_left_when_it_says_so(workspace, primary, standby, before, statement):
    """The connection that was open is not used again: the next statement goes to the host that takes it."""
    with primary.session() as db:
        db.run("CREATE FUNCTION put(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (i); RETURN i; END'")
    proxy = proxy_of(workspace, [primary, standby])
    try:
        with proxy.session() as s, proxy.session() as other:
            s.run("INSERT INTO t VALUES (1)")
            for sql in before:
                s.run(sql)
            read_only(primary, True)
            standby.promote()
            h.eventually(lambda: standby.session().one("SELECT NOT pg_is_in_recovery()"))
            if "BEGIN" in before:  # it began when it might write, and may go on
                assert s.run("INSERT INTO t VALUES (2)") == "INSERT 0 1"
                s.run("COMMIT")
            assert code(s, statement) in (None, "25006")
            for session in (s, other):
                assert session.run("INSERT INTO t VALUES (4)") == "INSERT 0 1"
            assert standby.session().one("SELECT count(*) FROM t WHERE id = 4") == 2
            assert primary.session().one("SELECT count(*) FROM t WHERE id = 4") == 0
    finally:
        proxy.stop()


def test_a_transaction_that_is_to_read_only_costs_no_connection(workspace, primary):
    """25006 says nothing of the server where the client asked for it."""
    proxy = proxy_of(workspace, [primary])
    try:
        with proxy.session() as s:
            pid = s.one("SELECT pg_backend_pid()")
            for begin in ("BEGIN READ ONLY", "START TRANSACTION READ ONLY", "SET default_transaction_read_only = on; BEGIN"):
                for sql in begin.split("; "):
                    s.run(sql)
                assert s.fails("INSERT INTO t VALUES (1)").pgcode == "25006"
                s.run("ROLLBACK")
                assert s.one("SELECT pg_backend_pid()") == pid
    finally:
        proxy.stop()


@pytest.mark.parametrize("setting", ["SET transaction_read_only = on", "SET TRANSACTION READ ONLY", "SELECT set_config('transaction_read_only', 'on', true)"])
def test_a_transaction_that_is_set_to_read_only_costs_no_connection(workspace, primary, setting):
    proxy = proxy_of(workspace, [primary])
    try:
        with proxy.session() as s:
            pid = s.one("SELECT pg_backend_pid()")
            s.run("BEGIN")
            s.run(setting)
            assert s.fails("INSERT INTO t VALUES (1)").pgcode == "25006"
            s.run("ROLLBACK")
            assert s.one("SELECT pg_backend_pid()") == pid
    finally:
        proxy.stop()


def test_a_role_that_reads_only_by_default_costs_no_connection(workspace, primary):
    with primary.session() as admin:
        admin.run("ALTER ROLE app SET default_transaction_read_only = on")
    proxy = proxy_of(workspace, [primary])
    try:
        with proxy.session() as s:
            pid = s.one("SELECT pg_backend_pid()")
            for _ in range(3):
                assert s.fails("INSERT INTO t VALUES (1)").pgcode == "25006"
                assert s.one("SELECT pg_backend_pid()") == pid
    finally:
        proxy.stop()
        with primary.session() as admin:
            admin.run("ALTER ROLE app RESET default_transaction_read_only")
