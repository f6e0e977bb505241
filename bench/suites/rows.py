"""Large rows."""
import os

import measure
import servers

TITLE = "Result rows of 1 kB, 100 kB and 10 MB"
ABOUT = """One row by key, in the simple protocol; 16 clients (2 for rows of 10 MB). CPU is per row."""
ROUNDS = 3
SIZES = (("1 kB", 1000), ("100 kB", 100000), ("10 MB", 10000000))


def entries(world, seconds):
    (server,) = world.databases("rows", 1)
    cluster = world.databases("rows_sharded", 2)
    bouncer = servers.PgBouncer(world.workspace, server, "rows")
    one = servers.Pgunison(world.workspace, [server], "rows", {"blobs": "hash(id)"})
    two = servers.Pgunison(world.workspace, cluster, "rows_sharded", {"blobs": "hash(id)"})
    for proxy in (one, two):
        with proxy.session() as s:
            s.run("CREATE TABLE blobs (id int PRIMARY KEY, payload text)")
            # As it is: decompressing would be the server's work.
            s.run("ALTER TABLE blobs ALTER payload SET STORAGE EXTERNAL")
            for i, (_, size) in enumerate(SIZES):
                for copy in range(10):
                    s.run("INSERT INTO blobs VALUES (%d, repeat('x', %d))" % (i * 10 + copy, size))
    places = [
        servers.Place("direct", server.port, "rows"),
        bouncer.place(),
        one.place("pgunison, 1 shard"),
        two.place("pgunison, 2 shards"),
    ]
    found = []
    for i, (name, size) in enumerate(SIZES):
        script = os.path.join(world.workspace.path, "row%d.sql" % i)
        with open(script, "w", encoding="utf-8") as f:
            f.write("\\set id random(%d, %d)\nSELECT payload FROM blobs WHERE id = :id;\n" % (i * 10, i * 10 + 9))
        found += [measure.Entry(name, place, run(script, 2 if size > 1000000 else 16, seconds)) for place in places]
    return found


def run(script, clients, seconds):
    return lambda place: measure.pgbench(place, seconds, clients, scripts=[script])
