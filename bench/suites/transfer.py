"""Transfers between two shards: by a client that knows the shards, and through pgunison."""
import measure
import servers

TITLE = "Transfers between two shards"
ABOUT = """bench/clients/transfer.c, four statements each in the simple protocol. "independent" commits on one shard and on the other: not
atomic. "prepare, commit" prepares on both at once and commits on both at once: not atomic either if the client dies between them,
as it keeps no record. pgunison is measured with commit_ack = applied, the default, which answers when every shard has the
transaction applied, and with commit_ack = decided, which answers when its outcome is durable. With fsync as in production, and
without, where the disk hides nothing."""
ROUNDS = 5
ACCOUNTS = 10000


def entries(world, seconds):
    cluster = world.databases("transfers", 2)
    proxies = {
        ack: servers.Pgunison(world.workspace, cluster, "transfers", {"accounts": "hash(id)"}, commit_ack=ack) for ack in ("applied", "decided")
    }
    with proxies["applied"].session() as s:
        s.run("CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL)")
        s.run("INSERT INTO accounts VALUES " + ",".join("(%d, 0)" % i for i in range(ACCOUNTS)))
    shards = ["host=127.0.0.1 port=%d dbname=transfers user=app" % s.port for s in cluster]
    by_hand = [servers.Place(name, 0, "transfers") for name in ("independent", "prepare, commit")]

    def run(variant, fsync, clients, extra=()):
        def once(_):
            world.fsync(fsync)
            return measure.client("transfer", variant, seconds, clients, *shards, *extra)

        return once

    found = []
    for fsync in (True, False):
        for clients in (1, 16):
            case = "%s, %d client%s" % ("fsync" if fsync else "no fsync", clients, "s" if clients > 1 else "")
            found += [
                measure.Entry(case, by_hand[0], run("independent", fsync, clients)),
                measure.Entry(case, by_hand[1], run("two-phase", fsync, clients)),
            ]
            for ack, proxy in proxies.items():
                place = proxy.place("pgunison, " + ack)
                found.append(measure.Entry(case, place, run("proxy", fsync, clients, [place.conninfo()])))
    return found


BASE = "prepare, commit"  # what ratios are to


def finish(world):
    """Nothing was made or lost."""
    world.fsync(True)
    total = 0
    for server in world.shards(2):
        with server.session(dbname="transfers") as db:
            total += db.one("SELECT sum(balance) FROM accounts")
    assert total == 0, "the balances do not add up: %d" % total
