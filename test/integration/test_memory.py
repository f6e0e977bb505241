"""What an idle client costs the proxy: private memory, over what it has without clients."""
import contextlib
import resource

import pytest

import pgharness as h

TABLES = {}
SETTINGS = {"max_client_conn": 2000, "default_pool_size": 5, "log_connections": 0, "log_disconnections": 0}
SHARDS = 2
CLIENTS = 1000
# Measured: 1.3 kB, and 1.6 kB with a named statement.
IDLE_BYTES = 1700
NAMED_BYTES = 2000


def private_bytes(proxy):
    with open("/proc/%d/smaps_rollup" % proxy.process.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Anonymous:"))


def simple(client, i):
    answer = client.ask(h.query("SELECT %d" % i))
    assert [m[0] for m in answer] == ["T", "D", "C", "Z"], answer


def extended(client, i, name=""):
    answer = client.ask(h.parse("SELECT $1::int", name), h.bind(i, name=name), h.describe("P"), h.execute(), h.SYNC)
    assert [m[0] for m in answer] == ["1", "2", "T", "D", "C", "Z"], answer


def transaction(client, i):
    assert client.ask(h.query("BEGIN"))[-1] == ("Z", "T")
    simple(client, i)
    assert client.ask(h.query("COMMIT"))[-1] == ("Z", "I")


@pytest.fixture(scope="module")
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CLIENTS:
        pytest.skip("the limit on open files is %d" % hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def crowd(proxy):
    clients = []
    try:
        for _ in range(CLIENTS):
            clients.append(proxy.wire(application_name="memory", client_encoding="UTF8"))
        yield clients
    finally:
        for client in clients:
            client.close()
    with proxy.console() as console:
        h.eventually(lambda: len(console.rows("SHOW CLIENTS")) == 1)


def test_memory_per_client(many_files, make_proxy):
    proxy = make_proxy()
    if proxy.has_sanitizer():
        pytest.skip("a sanitizer has its own allocator")
    with proxy.wire() as first:  # plans, pools, buffers: what is there once
        for i in range(20):
            simple(first, i)
            extended(first, i)
            extended(first, i, "warm%d" % i)
            transaction(first, i)
    before = private_bytes(proxy)
    per_client = {}

    def note(what):
        per_client[what] = (private_bytes(proxy) - before) / CLIENTS

    with crowd(proxy) as clients:
        note("logged in")
        for what, use in (("simple", simple), ("extended", extended), ("transaction", transaction)):
            for i, client in enumerate(clients):
                use(client, i)
            note(what)
    # Those who come later live where they lived.
    with crowd(proxy) as clients:
        for i, client in enumerate(clients):
            transaction(client, i)
        note("again")
        for i, client in enumerate(clients):
            extended(client, i, "named")
        note("named")
    print(per_client)
    assert all(n <= (NAMED_BYTES if what == "named" else IDLE_BYTES) for what, n in per_client.items()), per_client
