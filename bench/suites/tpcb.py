"""pgbench's TPC-B, unmodified."""
import measure

TITLE = "TPC-B: pgbench as it comes"
ABOUT = """Through pgunison nearly every transaction writes on several shards and is committed in two phases; direct is one server, for scale.
With fsync."""
ROUNDS = 3
SCALE = 16  # as many branches as clients: with fewer, they wait for each other's locks


def entries(world, seconds):
    places = [world.direct(), world.pgunison(2), world.pgunison(4)]
    return [
        measure.Entry("%d client%s" % (clients, "s" if clients > 1 else ""), place, run(clients, seconds))
        for clients in (1, 16)
        for place in places
    ]


BASE = "direct"


def run(clients, seconds):
    return lambda place: measure.pgbench(place, seconds, clients)
