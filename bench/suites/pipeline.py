"""Pipelined batches."""
import measure

TITLE = "Pipelined batches of 100 SELECTs"
ABOUT = """bench/clients/pipeline.c: libpq's pipeline mode, unnamed statements with a parameter, one Sync a batch. Transactions are
SELECTs; latencies are of batches. Batches through two shards meet both;
there pgunison is measured in order (the default), and with pipeline_ahead = on."""
ROUNDS = 3


def entries(world, seconds):
    ahead = world.pgunison(2, "pgunison, 2, ahead", pipeline_ahead="on")
    places = [world.direct(), world.bouncer(), world.pgunison(1), world.pgunison(2), ahead]
    rows = world.scale * 100000
    return [
        measure.Entry("%d client%s" % (clients, "s" if clients > 1 else ""), place, run(clients, rows, seconds))
        for clients in (1, 16)
        for place in places
    ]


def run(clients, rows, seconds):
    return lambda place: measure.client("pipeline", seconds, clients, 100, rows, place.conninfo())
