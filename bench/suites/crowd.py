"""Many clients over few servers, and more workers."""
import measure

TITLE = "500 clients over a pool of 20: pgbench -S"
ABOUT = """Clients wait for one of 20 servers. pgunison with one, two and four worker threads; PgBouncer has one."""
ROUNDS = 3
CLIENTS = 500


def entries(world, seconds):
    places = [world.bouncer("PgBouncer, pool of 20", default_pool_size=20)]
    places[0].name = "PgBouncer"
    for workers in (1, 2, 4):
        name = "pgunison, %d worker%s" % (workers, "s" if workers > 1 else "")
        places.append(world.pgunison(1, name, workers=workers, default_pool_size=20))
    return [
        measure.Entry("%s, %d clients" % (mode, CLIENTS), place, run(mode, seconds))
        for mode in ("simple", "extended")
        for place in places
    ]


def run(mode, seconds):
    return lambda place: measure.pgbench(place, seconds, CLIENTS, "-S", "-M", mode)
