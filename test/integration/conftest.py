"""Fixtures. Servers live as long as the session; a module gets a database and a proxy of its own, as its constants say:

TABLES    what stands in [tables shop]
SETTINGS  what stands in [pgunison], beside the harness's own
SECTIONS  further sections of the ini file
SHARDS    how many of the cluster's servers are its shards (default: all four)
"""
import re

import pytest

import pgharness
from mitm import Mitm

SHARDS = 4


@pytest.fixture(scope="session")
def workspace():
    space = pgharness.Workspace()
    yield space
    space.close()


@pytest.fixture(scope="session")
def all_shards(workspace):
    return pgharness.Cluster(workspace, SHARDS)


@pytest.fixture(scope="session")
def plain_server(workspace):
    server = pgharness.Postgres(workspace, "plain")
    server.make_database(pgharness.DATABASE)
    return server


@pytest.fixture(scope="session")
def pg(plain_server):
    """One server without any proxy."""
    return plain_server


@pytest.fixture(scope="module")
def dbname(request):
    """On the shards. Clients call it shop."""
    return re.sub(r"\W", "_", request.module.__name__)


@pytest.fixture(scope="module")
def shards(request, all_shards, dbname):
    cluster = all_shards
    n = getattr(request.module, "SHARDS", SHARDS)
    if n != SHARDS:
        cluster = object.__new__(pgharness.Cluster)
        cluster.workspace, cluster.servers = all_shards.workspace, all_shards.servers[:n]
    cluster.make_database(dbname)
    return cluster


@pytest.fixture(scope="module")
def middle(shards):
    """A man in the middle before each shard, for a proxy that knows nothing else."""
    men = [Mitm(shard) for shard in shards]
    yield men
    for man in men:
        man.close()


@pytest.fixture(scope="module")
def make_proxy(request, workspace, shards, dbname):
    """Makes proxies of the module's database; they are stopped, and their end is checked, after the module."""
    made = []

    def make(**options):
        module = request.module
        options.setdefault("tables", getattr(module, "TABLES", {}))
        settings = dict(getattr(module, "SETTINGS", {}))
        settings.update(options.pop("settings", {}))
        options.setdefault("sections", getattr(module, "SECTIONS", ""))
        proxy = pgharness.Proxy(workspace, shards, dbname, settings=settings, **options)
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        proxy.stop()


@pytest.fixture(scope="module")
def proxy(make_proxy):
    return make_proxy()


@pytest.fixture(autouse=True)
def nothing_left_behind(request):
    """A proxy is alive after every test that used it, and no sanitizer has spoken. Its log is shown when a test fails."""
    proxy = request.getfixturevalue("proxy") if "proxy" in request.fixturenames else None
    if proxy:
        proxy.mark()
    yield
    if proxy:
        proxy.check()


@pytest.fixture(scope="module")
def oracle(pg, dbname):
    """One PostgreSQL with all the rows: what it answers is right. The same database name as on the shards."""
    pg.make_database(dbname)
    return Oracle(pg, dbname)


@pytest.fixture
def pair(proxy, oracle):
    both = pgharness.Pair(proxy, oracle)
    yield both
    both.close()


class Oracle:
    def __init__(self, server, dbname):
        self.server, self.dbname, self.port = server, dbname, server.port

    def connect(self, user="app", **more):
        return self.server.connect(dbname=self.dbname, user=user, **more)

    def session(self, user="app", **more):
        return self.server.session(dbname=self.dbname, user=user, **more)

    def wire(self, user="app", **parameters):
        return self.server.wire(dbname=self.dbname, user=user, **parameters)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, pgharness.Proxy):
                report.sections.append(("pgunison's log", value.since_mark()))
