"""pgbench -S in three protocols at 1, 16 and 64 clients."""
import measure
import servers

TITLE = "SELECT by key: pgbench -S"
ABOUT = """The same rows on one server (direct, PgBouncer, pgunison on one shard), on two and on four. One worker thread in every proxy."""
ROUNDS = 5
CLIENTS = (1, 16, 64)


def run(mode, clients, seconds):
    return lambda place: measure.pgbench(place, seconds, clients, "-S", "-M", mode)


def entries(world, seconds):
    places = [world.direct(), world.bouncer(), *(world.pgunison(n) for n in (1, 2, 4))]
    for place in places:  # pools are filled, plans cached
        measure.pgbench(place, 1, max(CLIENTS), "-S")
    keeps_statements = servers.pgbouncer_version() >= (1, 21)
    return [
        measure.Entry("%s, %d client%s" % (mode, clients, "s" if clients > 1 else ""), place, run(mode, clients, seconds))
        for mode in ("simple", "extended", "prepared")
        for clients in CLIENTS
        for place in places
        if mode != "prepared" or place.name != "PgBouncer" or keeps_statements
    ]


def remarks():
    if servers.pgbouncer_version() < (1, 21):
        return ["PgBouncer %d.%d does not keep prepared statements in transaction mode: no figures for it there." % servers.pgbouncer_version()]
    return []
