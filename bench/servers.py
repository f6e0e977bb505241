"""What is measured, and what it stands on: PostgreSQL servers, PgBouncers and pgunisons, on free ports of this machine.

Stands on the harness of the integration tests: everything lives in one folder under /tmp (or TMPDIR) and ends with the
process that started it; as root, PostgreSQL and PgBouncer run as user postgres.

Equal terms: PgBouncer and pgunison get the same pool size, client limit, way to log in, and neither logs logins. PgBouncer
is in front of the server that is also measured directly; a pgunison on n shards has the same rows spread over n.
"""
import functools
import os
import re
import resource
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "test", "integration"))
import pgharness  # noqa: E402  (after its folder is known)

POOL = 64
CLIENTS = 6000
PASSWORD = pgharness.PASSWORD
SSL_REQUEST = struct.pack("!II", 8, 80877103)
PGBENCH_TABLES = {
    "pgbench_accounts": "hash(aid)",
    "pgbench_tellers": "hash(tid)",
    "pgbench_branches": "hash(bid)",
    "pgbench_history": "hash(aid)",
}
POSTGRES_SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "400",
    "max_prepared_transactions": "400",
    "wal_level": "replica",
    "autovacuum": "off",  # nor checkpoints: whatever runs now and then falls on one competitor
    "checkpoint_timeout": "1h",
    "max_wal_size": "8GB",
    "log_min_messages": "fatal",
    "log_min_error_statement": "fatal",
    "full_page_writes": "on",  # the harness's servers have it off
}


class Skipped(Exception):
    """This cannot be measured here; the report says why."""


def raise_file_limit():
    """Thousands of clients: as many descriptors as we may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0 and hard != resource.RLIM_INFINITY:
        hard = max(hard, 20000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20000)), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@functools.lru_cache
def pgbouncer_version():
    try:
        said = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True, env=path()).stdout
    except FileNotFoundError:
        raise Skipped("no pgbouncer is installed") from None
    return tuple(map(int, re.search(r"PgBouncer (\d+)\.(\d+)", said).groups()))


def path():
    """Debian's PgBouncer is in a folder that only root looks into."""
    return dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Place:
    """Where clients of one competitor go. process: of the proxy; None for PostgreSQL itself."""

    def __init__(self, name, port, dbname, process=None):
        self.name, self.port, self.dbname, self.process = name, port, dbname, process

    def conninfo(self, user="app"):
        return "host=127.0.0.1 port=%d dbname=%s user=%s" % (self.port, self.dbname, user)


class Pgunison(pgharness.Proxy):
    """A proxy with settings as for production; `under` is what its command line begins with (valgrind)."""

    def __init__(self, workspace, cluster, dbname, tables, under=(), sections="", **settings):
        self.under = list(under)
        own = {
            "workers": 1,
            "auth_type": "trust",
            "default_pool_size": POOL,
            "max_client_conn": CLIENTS,
            "listen_backlog": 1024,
            "log_connections": 0,
            "log_disconnections": 0,
            "resolve_after": "5s",
            "resolve_interval": "1s",
            "shutdown_wait_timeout": "1s",
        }
        own.update(settings)
        super().__init__(workspace, cluster, dbname, tables, own, sections)

    def start(self, *options):
        if not self.under:
            super().start(*options)
            return
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.under, self.workspace.program(), *options, self.ini],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=pgharness._die_with_parent,
                **pgharness._as_postgres(),
            )
        self.workspace.running.append(self)
        pgharness.eventually(self.accepts, 120)

    def place(self, name):
        return Place(name, self.port, pgharness.DATABASE, self.process)


class PgBouncer:
    """One, in transaction mode, in front of one server."""

    def __init__(self, workspace, server, dbname, under=(), **settings):
        version = pgbouncer_version()
        self.workspace = workspace
        self.home = workspace.folder("pgbouncer")
        self.port = pgharness.free_port()
        own = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "pool_mode": "transaction",
            "auth_type": "trust",
            "auth_file": os.path.join(self.home, "userlist.txt"),
            "default_pool_size": POOL,
            "max_client_conn": CLIENTS,
            "listen_backlog": 1024,
            "ignore_startup_parameters": "extra_float_digits",
            "log_connections": 0,
            "log_disconnections": 0,
            "log_stats": 0,
            "logfile": "",
        }
        if version >= (1, 21):
            own["max_prepared_statements"] = 200
        own.update(settings)
        with open(os.path.join(self.home, "userlist.txt"), "w", encoding="utf-8") as f:
            f.write('"app" ""\n"postgres" ""\n"scram" "%s"\n' % PASSWORD)
        ini = os.path.join(self.home, "pgbouncer.ini")
        with open(ini, "w", encoding="utf-8") as f:
            f.write("[databases]\n%s = host=127.0.0.1 port=%d dbname=%s\n[pgbouncer]\n" % (pgharness.DATABASE, server.port, dbname))
            f.writelines("%s = %s\n" % item for item in own.items())
        with open(os.path.join(self.home, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [*under, "pgbouncer", ini],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=path(),
                preexec_fn=pgharness._die_with_parent,
                **pgharness._as_postgres(),
            )
        workspace.running.append(self)
        pgharness.eventually(self.accepts, 120)

    def accepts(self):
        assert self.process.poll() is None, "pgbouncer did not start: " + self.tail()
        try:
            with pgharness.Wire(self.port, timeout=5) as wire:
                wire.raw(SSL_REQUEST)
                return wire.socket.recv(1) in (b"N", b"S")
        except OSError:
            return False

    def tail(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-20:])

    def stop(self):
        if self.process is None:
            return
        process, self.process = self.process, None
        self.workspace.running.remove(self)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def place(self, name="PgBouncer"):
        return Place(name, self.port, pgharness.DATABASE, self.process)


class World:
    """Servers and databases, made when they are first asked for, and kept until the end."""

    def __init__(self, scale, fsync=True):
        self.scale = scale
        self.settings = dict(POSTGRES_SETTINGS, fsync="on" if fsync else "off")
        self.workspace = pgharness.Workspace()
        self.servers = []
        self.filled = set()
        self.kept = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.workspace.close()

    def shards(self, n):
        while len(self.servers) < n:
            server = pgharness.Postgres(self.workspace, "s%d" % len(self.servers), **self.settings)
            self.servers.append(server)
        return self.servers[:n]

    def fsync(self, on):
        for server in self.servers:
            with server.session(dbname="postgres") as db:
                db.run("ALTER SYSTEM SET fsync = %s" % ("on" if on else "off"))
                db.run("SELECT pg_reload_conf()")
            pgharness.eventually(lambda server=server: self._setting(server, "fsync") == ("on" if on else "off"))

    @staticmethod
    def _setting(server, name):
        with server.session(dbname="postgres") as db:
            return db.one("SHOW " + name)

    def databases(self, name, n):
        """An empty one on each of n shards."""
        for server in self.shards(n):
            server.make_database(name)
        return self.servers[:n]

    def fill(self, place, n):
        """pgbench's tables behind a place, once per number of shards (0: no proxy)."""
        if n in self.filled:
            return
        self.filled.add(n)
        pgbench = [pgharness.tool("pgbench"), "-i", "-q", "-s", str(self.scale), "-h", "127.0.0.1", "-p", str(place.port)]
        subprocess.run([*pgbench, "-U", "app", place.dbname], check=True, capture_output=True)
        for server in self.shards(max(n, 1)):
            with server.session(dbname="bench%d" % n) as db:
                db.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO scram")
                db.run("VACUUM ANALYZE")
                db.run("CHECKPOINT")

    def direct(self):
        """A server without a proxy, with pgbench's tables."""
        if 0 not in self.filled:
            self.databases("bench0", 1)
        (server,) = self.shards(1)
        place = Place("direct", server.port, "bench0")
        self.fill(place, 0)
        return place

    def bouncer(self, name="PgBouncer", **settings):
        """In front of the server of direct()."""
        if name not in self.kept:
            self.direct()
            self.kept[name] = PgBouncer(self.workspace, self.servers[0], "bench0", **settings)
        return self.kept[name].place(name)

    def pgunison(self, n, name=None, **settings):
        """With pgbench's tables on n shards."""
        name = name or "pgunison, %d shard%s" % (n, "s" if n > 1 else "")
        if name not in self.kept:
            if n not in self.filled:
                self.databases("bench%d" % n, n)
            self.kept[name] = Pgunison(self.workspace, self.shards(n), "bench%d" % n, PGBENCH_TABLES, **settings)
        place = self.kept[name].place(name)
        self.fill(place, n)
        return place

    def stop(self, name):
        """A proxy that no later measurement wants."""
        self.kept.pop(name).stop()
