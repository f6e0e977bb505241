"""What integration tests stand on: PostgreSQL servers and proxies of their own, and a client that speaks the protocol.

Servers and proxies live in one folder under /tmp, on free ports, and end with the process that started them. When
the tests run as root, PostgreSQL runs as user postgres.
"""
import contextlib
import ctypes
import glob
import hashlib
import io
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time

import psycopg2
import psycopg2.extensions

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PGUNISON = os.path.join(ROOT, os.environ.get("PGUNISON", os.path.join(BUILD, "pgunison")))
PASSWORD = "sesame"  # of user scram
DATABASE = "shop"  # as clients know it
SANITIZER = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|runtime error:|Assertion .* failed"
)


def bindir():
    """Of the newest server that is installed."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    assert found, "no PostgreSQL server is installed: make deps"
    return os.path.dirname(max(found, key=lambda path: int(path.split("/")[4])))


def tool(name):
    return os.path.join(bindir(), name)


def clock_ahead(seconds):
    """Environment of a process whose calendar is ahead of ours; its monotonic clock is not."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    assert found, "libfaketime is not installed: make deps"
    return {"LD_PRELOAD": found[0], "FAKETIME": "%+d" % seconds, "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def free_port():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(check, seconds=20, every=0.02):
    """The first true answer of check(), which is asked again until then; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < end, "still not so after %s s: %s" % (seconds, check)
        time.sleep(every)


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _as_postgres():
    """Arguments of Popen that make a server's process anybody's but root's."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Workspace:
    """The folder of a test session, and what runs in it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="pgunison-test-")
        os.chmod(self.path, 0o755)
        self.running = []
        self._template = self._program = None

    def folder(self, name):
        path = tempfile.mkdtemp(prefix=name + "-", dir=self.path)
        os.chmod(path, 0o755)
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")
        return path

    def template(self):
        """A data directory, to be copied: initdb is slow. Sessions of one user share it, until the system's temporary files go."""
        if not self._template:
            options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
            key = hashlib.sha256(repr((tool("initdb"), os.stat(tool("initdb")).st_mtime, os.geteuid(), options)).encode()).hexdigest()[:16]
            shared = os.path.join(tempfile.gettempdir(), "pgunison-initdb-" + key)
            if not self._is_ours(shared):
                home = self.folder("template")
                data = os.path.join(home, "data")
                subprocess.run(
                    [tool("initdb"), "-D", data, *options], check=True, cwd=home, stdout=subprocess.DEVNULL, **_as_postgres()
                )
                try:
                    os.rename(data, shared)  # whole, or not at all
                except OSError:  # another session was faster, or it is on another file system
                    shared = data
            self._template = shared
        return self._template

    @staticmethod
    def _is_ours(path):
        """Nobody else's folder is started as a server."""
        owner = _as_postgres().get("user", os.geteuid())
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == owner

    def program(self):
        """pgunison, where whoever runs it can reach it: nobody runs it as root."""
        if os.geteuid() != 0:
            return PGUNISON
        if not self._program:
            for notes in glob.glob(os.path.join(BUILD, "obj", "*", "*.gcno")):  # coverage is counted beside them
                os.chmod(os.path.dirname(notes), 0o777)
            reachable = subprocess.run(["test", "-x", PGUNISON], check=False, **_as_postgres()).returncode == 0
            self._program = PGUNISON if reachable else shutil.copy(PGUNISON, os.path.join(self.path, "pgunison"))
        return self._program

    def close(self):
        problems = []
        for thing in reversed(self.running[:]):
            try:
                thing.stop()
            except AssertionError as e:
                problems.append(str(e))
        shutil.rmtree(self.path, ignore_errors=True)
        assert not problems, "\n".join(problems)


class Postgres:
    """A server: users postgres (superuser) and app (trusted), scram (by password)."""

    SETTINGS = {
        "listen_addresses": "127.0.0.1",
        "max_connections": "200",
        "max_prepared_transactions": "100",
        "shared_buffers": "32MB",
        "min_wal_size": "32MB",
        "wal_level": "logical",
        "log_line_prefix": "%m [%p] %u@%d ",
        "timezone": "UTC",
        "dynamic_shared_memory_type": "mmap",
    }
    HBA = "local all all trust\nhost all scram 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"

    def __init__(self, workspace, name, fsync=False, **settings):
        self.workspace, self.name = workspace, name
        self.home = workspace.folder(name)
        self.data = os.path.join(self.home, "data")
        self.log = os.path.join(self.home, "log")
        self.port = free_port()
        self.process = None
        self.environment = {}
        subprocess.run(["cp", "-a", workspace.template(), self.data], check=True)
        own = dict(self.SETTINGS, port=str(self.port), unix_socket_directories=self.home)
        if not fsync:
            own.update(fsync="off", full_page_writes="off")
        own.update(settings)
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.writelines("%s = '%s'\n" % item for item in own.items())
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="utf-8") as f:
            f.write(self.HBA)
        self.start()
        with self.session(dbname="postgres") as db:
            db.run("CREATE ROLE app LOGIN")
            db.run("CREATE ROLE scram LOGIN PASSWORD '%s'" % PASSWORD)

    def start(self):
        assert self.process is None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [tool("postgres"), "-D", self.data],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                preexec_fn=_die_with_parent,
                **_as_postgres(),
            )
        self.workspace.running.append(self)
        eventually(self.accepts, 60)

    def accepts(self):
        assert self.process.poll() is None, "%s did not start:\n%s" % (self.name, self.tail())
        with contextlib.suppress(psycopg2.OperationalError):
            self.connect(dbname="postgres", user="postgres").close()
            return True
        return False

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast; SIGQUIT: as in a crash."""
        if self.process is None:
            return
        process, self.process = self.process, None
        self.workspace.running.remove(self)
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def tail(self, lines=40):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def connect(self, dbname=DATABASE, user="postgres", **more):
        return psycopg2.connect(host="127.0.0.1", port=self.port, dbname=dbname, user=user, **more)

    def session(self, dbname=DATABASE, user="postgres", **more):
        return Session(self.connect(dbname, user, **more))

    def wire(self, dbname=DATABASE, user="app", **parameters):
        return Wire(self.port, user, dbname, **parameters)

    def make_database(self, name):
        with self.session(dbname="postgres") as db:
            db.run("DROP DATABASE IF EXISTS %s WITH (FORCE)" % name)
            db.run("CREATE DATABASE %s OWNER app" % name)
        with self.session(dbname=name) as db:
            db.run("GRANT ALL ON SCHEMA public TO PUBLIC")


class Cluster:
    """Several servers, each a shard."""

    def __init__(self, workspace, n, **settings):
        self.workspace = workspace
        self.servers = [Postgres(workspace, "s%d" % i, **settings) for i in range(n)]

    def __len__(self):
        return len(self.servers)

    def __iter__(self):
        return iter(self.servers)

    def __getitem__(self, i):
        return self.servers[i]

    def make_database(self, name):
        for server in self:
            server.make_database(name)

    def prepared(self):
        """gids of prepared transactions, of all shards."""
        gids = []
        for server in self:
            with server.session(dbname="postgres") as db:
                gids += [gid for (gid,) in db.rows("SELECT gid FROM pg_prepared_xacts")]
        return gids

    def each(self, dbname, sql, *args):
        """The rows of sql on each shard, in order."""
        answers = []
        for server in self:
            with server.session(dbname=dbname) as db:
                answers.append(db.rows(sql, *args))
        return answers

    def shard_of_bucket(self, bucket, buckets=1024):
        return bucket * len(self) // buckets


class Proxy:
    """A pgunison in front of a cluster: its files, its process, its log."""

    USERS = '"postgres" ""\n"app" ""\n"scram" "%s"\n' % PASSWORD

    def __init__(self, workspace, cluster, dbname, tables=(), settings=(), sections="", users=USERS, start=True):
        self.workspace, self.cluster, self.dbname = workspace, cluster, dbname
        self.home = workspace.folder("proxy")
        self.ini = os.path.join(self.home, "pgunison.ini")
        self.log = os.path.join(self.home, "log")
        self.port = free_port()
        self.process = None
        self.test_began = 0
        self.settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": self.home,
            "workers": 2,
            "auth_type": "any",
            "shutdown_wait_timeout": "5s",
            "server_login_retry": "1s",
            "resolve_after": "1s",
            "resolve_interval": "200ms",
            "http_listen": "",
            "log_stats": 0,
        }
        self.settings.update(settings)
        self.tables = dict(tables)
        self.sections = sections
        self.shard_extra = {}
        self.configure(users)
        if start:
            self.start()

    def configure(self, users=None):
        """Writes the files; RELOAD is up to the caller."""
        lines = ["[pgunison]"] + ["%s = %s" % item for item in self.settings.items()]
        lines += ["[database %s]" % DATABASE, "shards = " + " ".join(s.name for s in self.cluster)]
        for server in self.cluster:
            lines += ["[shard %s]" % server.name, "host = " + getattr(server, "host", "127.0.0.1"), "port = %s" % server.port]
            lines += ["dbname = " + getattr(server, "dbname", self.dbname), "admin_user = postgres"]
            lines += ["%s = %s" % item for item in self.shard_extra.get(server.name, {}).items()]
        if self.tables:
            lines += ["[tables %s]" % DATABASE] + ["%s = %s" % item for item in self.tables.items()]
        with open(self.ini, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n" + self.sections)
        if users is not None:
            with open(os.path.join(self.home, "userlist.txt"), "w", encoding="utf-8", errors="surrogateescape") as f:
                f.write(users)

    def start(self, *options):
        assert self.process is None
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        environment.setdefault("TSAN_OPTIONS", "exitcode=99:second_deadlock_stack=1")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.workspace.program(), *options, self.ini],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                preexec_fn=_die_with_parent,
                **_as_postgres(),
            )
        self.workspace.running.append(self)
        try:
            eventually(self.accepts, 30)
        except AssertionError:
            self.kill()
            raise

    def accepts(self):
        """Somebody listens, and answers."""
        assert self.process.poll() is None, "pgunison ended with %s:\n%s" % (self.process.returncode, self.tail())
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(struct.pack("!II", 8, 80877103))  # SSLRequest
            return s.recv(1) in (b"N", b"S")
        return False

    def limit_files(self, limit):
        """Of open files, from now on. Only the same user may, unless root has all its capabilities."""
        subprocess.run(["prlimit", "--pid", str(self.process.pid), "--nofile=%d:%d" % (limit, limit)], check=True, **_as_postgres())

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        """SIGKILL: what a crash leaves behind."""
        process, self.process = self.process, None
        self.workspace.running.remove(self)
        process.kill()
        process.wait()

    def stop(self, how=signal.SIGTERM, seconds=30):
        if self.process is None:
            return
        process, self.process = self.process, None
        self.workspace.running.remove(self)
        died = process.poll()
        if died is None:
            process.send_signal(how)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                process.wait()
                raise AssertionError("pgunison did not stop within %d s:\n%s" % (seconds, self.tail())) from None
        assert died is None, "pgunison had ended by itself, with %s:\n%s" % (died, self.tail())
        assert process.returncode == 0, "pgunison ended with %d:\n%s" % (process.returncode, self.tail(120))
        self.check()

    def has_sanitizer(self):
        """Or runs under valgrind: memory and stack are not what they are for users."""
        with open("/proc/%d/maps" % self.process.pid, encoding="ascii") as f:
            return any(library in line for line in f for library in ("libasan", "libtsan", "libubsan", "valgrind"))

    def check(self):
        """It is as healthy as it was: alive, and no sanitizer has spoken."""
        if self.process is not None:
            status = self.process.poll()
            assert status is None, "pgunison ended with %s:\n%s" % (status, self.tail(120))
        with open(self.log, encoding="utf-8", errors="replace") as f:
            text = f.read()
        found = SANITIZER.search(text)
        assert not found, "in pgunison's log:\n" + text[max(0, found.start() - 500) : found.start() + 6000]

    def tail(self, lines=40):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def mark(self):
        """A test begins: since_mark() shows what was logged from here on."""
        self.test_began = os.path.getsize(self.log)

    def since_mark(self):
        if not os.path.exists(self.log):  # the session is over
            return ""
        with open(self.log, "rb") as f:
            f.seek(self.test_began)
            return f.read()[-20000:].decode(errors="replace")

    def connect(self, dbname=DATABASE, user="app", **more):
        return psycopg2.connect(host="127.0.0.1", port=self.port, dbname=dbname, user=user, **more)

    def session(self, dbname=DATABASE, user="app", **more):
        return Session(self.connect(dbname, user, **more))

    def wire(self, dbname=DATABASE, user="app", **parameters):
        return Wire(self.port, user, dbname, **parameters)

    def console(self, user="postgres"):
        return Session(self.connect("pgunison", user))

    def address(self, dbname=DATABASE, user="app"):
        """As arguments of psql and pgbench."""
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", user], dbname


class Session:
    """A psycopg2 connection outside transactions, with shorter words. Closes at the end of `with`."""

    def __init__(self, connection):
        self.connection = connection
        self.connection.autocommit = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()

    def run(self, sql, *args):
        """The command tag; rows, if any, are dropped."""
        with self.connection.cursor() as cur:
            cur.execute(sql, args or None)
            return cur.statusmessage

    def rows(self, sql, *args):
        with self.connection.cursor() as cur:
            cur.execute(sql, args or None)
            return cur.fetchall() if cur.description else []

    def dicts(self, sql, *args):
        with self.connection.cursor() as cur:
            cur.execute(sql, args or None)
            names = [column.name for column in cur.description]
            return [dict(zip(names, row)) for row in cur.fetchall()]

    def one(self, sql, *args):
        ((value,),) = self.rows(sql, *args)
        return value

    def fails(self, sql, *args):
        """The error that sql ends with."""
        try:
            self.run(sql, *args)
        except psycopg2.Error as e:
            return e
        raise AssertionError("no error: " + sql)

    def copy_in(self, sql, data):
        with self.connection.cursor() as cur:
            cur.copy_expert(sql, io.BytesIO(data))
            return cur.rowcount

    def copy_out(self, sql):
        out = io.BytesIO()
        with self.connection.cursor() as cur:
            cur.copy_expert(sql, out)
        return out.getvalue()


# --- the protocol ------------------------------------------------------------------------------------------


def cstring(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def query(sql):
    return message("Q", cstring(sql))


def parse(sql, name="", oids=()):
    return message("P", cstring(name) + cstring(sql) + struct.pack("!H%dI" % len(oids), len(oids), *oids))


def bind(*values, name="", portal="", formats=(), results=()):
    """Values: None, str or bytes."""
    body = cstring(portal) + cstring(name) + struct.pack("!H%dH" % len(formats), len(formats), *formats)
    body += struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            value = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack("!H%dH" % len(results), len(results), *results))


def describe(kind, name=""):
    return message("D", kind.encode() + cstring(name))


def execute(portal="", rows=0):
    return message("E", cstring(portal) + struct.pack("!I", rows))


def close(kind, name=""):
    return message("C", kind.encode() + cstring(name))


SYNC, FLUSH, TERMINATE, COPY_DONE = message("S"), message("H"), message("X"), message("c")


def copy_data(data):
    return message("d", data)


def copy_fail(why):
    return message("f", cstring(why))


def fields(body):
    """Of an ErrorResponse or NoticeResponse, by their codes."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


def data_row(body):
    (n,) = struct.unpack_from("!H", body)
    at, values = 2, []
    for _ in range(n):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        values.append(None if length < 0 else body[at : at + length])
        at += max(0, length)
    assert at == len(body)
    return tuple(values)


def row_description(body):
    """(name, type oid, format) of each column: what does not depend on the server's oids."""
    (n,) = struct.unpack_from("!H", body)
    at, columns = 2, []
    for _ in range(n):
        end = body.index(b"\0", at)
        name = body[at:end].decode()
        _, _, type_oid, _, _, fmt = struct.unpack_from("!IHIhiH", body, end + 1)
        columns.append((name, type_oid, fmt))
        at = end + 19
    assert at == len(body)
    return columns


class Closed(Exception):
    """The other side has closed the connection."""


class Wire:
    """One connection, by hand."""

    def __init__(self, port, user=None, dbname=None, timeout=30, **parameters):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.parameters, self.key = {}, None
        if user is not None:
            self.startup(user=user, database=dbname, **parameters)
            self.greeting = self.until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def startup(self, version=196608, **parameters):
        body = struct.pack("!I", version)
        for name, value in parameters.items():
            if value is not None:
                body += cstring(name) + cstring(value)
        self.raw(struct.pack("!I", len(body) + 5) + body + b"\0")

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, *messages):
        """All of them in one go."""
        self.raw(b"".join(messages))

    def _need(self, n):
        while len(self.buffer) < n:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError as e:
                raise Closed from e
            if not data:
                raise Closed
            self.buffer += data

    def receive(self):
        """The next message: (type, body). ParameterStatus and keys are kept, too."""
        self._need(5)
        kind, length = chr(self.buffer[0]), struct.unpack_from("!I", self.buffer, 1)[0]
        assert length >= 4
        self._need(length + 1)
        body, self.buffer = self.buffer[5 : length + 1], self.buffer[length + 1 :]
        if kind == "S":
            name, value = body[:-1].split(b"\0")
            self.parameters[name.decode()] = value.decode()
        elif kind == "K":
            self.key = struct.unpack("!II", body)
        return kind, body

    def until(self, kinds):
        got = []
        while not got or got[-1][0] not in kinds:
            got.append(self.receive())
        return got

    def until_ready(self):
        return self.until("Z")

    def until_closed(self):
        got = []
        with contextlib.suppress(Closed):
            while True:
                got.append(self.receive())
        return got

    def ask(self, *messages):
        """Sends them, and all that comes up to ReadyForQuery, as shape() shows it."""
        self.send(*messages)
        return shape(self.until_ready())

    def cancel(self):
        """As libpq does: a connection of its own."""
        with socket.create_connection(self.socket.getpeername(), 30) as s:
            s.sendall(struct.pack("!IIII", 16, 80877102, *self.key))
            s.recv(1)


def shape(messages):
    """Messages as they are compared between servers: without what may differ (positions in the source, notices,
    parameters, table oids)."""
    shown = []
    for kind, body in messages:
        if kind in "NSKA":
            continue
        if kind == "E":
            f = fields(body)
            shown.append(("E", f["S"], f["C"], f["M"]))
        elif kind == "D":
            shown.append(("D",) + data_row(body))
        elif kind == "T":
            shown.append(("T",) + tuple(row_description(body)))
        elif kind == "C":
            shown.append(("C", body[:-1].decode()))
        elif kind == "Z":
            shown.append(("Z", body.decode()))
        else:
            shown.append((kind, body))
    return shown


class Pair:
    """A proxy's session and a plain server's, side by side: the same statements go to both, and the plain server's
    answer is the right one."""

    def __init__(self, proxy, oracle, **options):
        self.proxy, self.oracle = proxy.session(**options), oracle.session(**options)

    def close(self):
        self.proxy.close()
        self.oracle.close()

    def run(self, sql, *args):
        wanted = self.oracle.run(sql, *args)
        got = self.proxy.run(sql, *args)
        assert got == wanted, sql

    def _ask(self, session, sql, args, ordered):
        with session.connection.cursor() as cur:
            cur.execute(sql, args or None)
            columns = [(c.name, c.type_code) for c in cur.description or ()]
            # repr: 2.50 is not 2.5.
            rows = [repr([bytes(v) if isinstance(v, memoryview) else v for v in row]) for row in cur.fetchall()] if cur.description else []
            return cur.statusmessage, columns, rows if ordered else sorted(rows)

    def same(self, sql, *args):
        """Rows are compared in order if the statement asks for one."""
        ordered = "order by" in sql.lower()
        wanted = self._ask(self.oracle, sql, args, ordered)
        got = self._ask(self.proxy, sql, args, ordered)
        assert got == wanted, sql
        return wanted[2]

    def same_or_refused(self, sql, *args):
        """True: the same. Refused only with 0A000 and a hint."""
        try:
            self.same(sql, *args)
            return True
        except psycopg2.errors.FeatureNotSupported as e:
            assert e.diag.message_hint, "%s: %s" % (sql, e)
            return False

    def refused(self, sql, *args):
        e = self.proxy.fails(sql, *args)
        assert e.pgcode == "0A000", "%s: %s" % (sql, e)
        assert e.diag.message_hint, "no hint: %s" % e
        return e

    def fails_alike(self, sql, *args):
        wanted, got = self.oracle.fails(sql, *args), self.proxy.fails(sql, *args)
        assert (got.pgcode, got.diag.message_primary) == (wanted.pgcode, wanted.diag.message_primary), sql
        return got
