"""Resident memory of idle clients."""
import measure
import servers
from servers import pgharness

TITLE = "Resident memory per idle client"
ABOUT = """Clients of a proxy that has just started, logged in by trust: what its resident memory (VmRSS) grew by, divided by their number. Then
each has run one SELECT by key, one after the other."""
CLIENTS = 5000


def measure_suite(world):
    """Returns [(competitor, clients, bytes per client after login, and after a query each)]."""
    limit = servers.raise_file_limit()
    clients = min(CLIENTS, (limit - 500) // 500 * 500)
    world.direct()
    world.pgunison(2)
    fresh = [
        ("PgBouncer", lambda: servers.PgBouncer(world.workspace, world.servers[0], "bench0")),
        ("pgunison", lambda: servers.Pgunison(world.workspace, world.shards(2), "bench2", servers.PGBENCH_TABLES)),
    ]
    found = []
    for name, start in fresh:
        proxy = start()
        before = measure.resident_kb(proxy.process.pid)
        idle = []
        for i in range(clients):
            measure.note("memory: %s, client %d of %d" % (name, i + 1, clients))
            idle.append(pgharness.Wire(proxy.port, "app", pgharness.DATABASE))
        logged_in = measure.resident_kb(proxy.process.pid)
        for i, client in enumerate(idle):
            answer = client.ask(pgharness.query("SELECT abalance FROM pgbench_accounts WHERE aid = %d" % (i + 1)))
            assert [m[0] for m in answer] == ["T", "D", "C", "Z"], answer
        queried = measure.resident_kb(proxy.process.pid)
        for client in idle:
            client.close()
        proxy.stop()
        found.append((name, clients, *((after[0] - before[0]) * 1024 / clients for after in (logged_in, queried)), before[0]))
    measure.note("")
    return found


def lines(found):
    yield "%-12s %8s %22s %22s %16s" % ("", "clients", "after login, bytes", "after a query, bytes", "process, kB")
    for name, clients, logged_in, queried, process in found:
        yield "%-12s %8d %22.0f %22.0f %16d" % (name, clients, logged_in, queried, process)


def draw(axes, found):
    for k, (i, label) in enumerate(((2, "after login"), (3, "after a query"))):
        bars = axes.bar([n + (k - 0.5) * 0.38 for n in range(len(found))], [f[i] for f in found], 0.35, label=label)
        axes.bar_label(bars, fmt="%.0f")
    axes.set_xticks(range(len(found)), [f[0] for f in found])
    axes.set_ylabel("bytes per idle client, %d clients" % found[0][1])
    axes.legend(frameon=False)
