"""A connection for each transaction."""
import measure
import servers

TITLE = "Connections: pgbench -S -C, 16 clients"
ABOUT = """Each transaction connects, logs in, selects one row and disconnects; CPU and latency are of all that. With
SCRAM, both proxies know the password in clear."""
ROUNDS = 3


def entries(world, seconds):
    direct = world.direct()
    found = []
    for how, user in (("trust", "app"), ("scram-sha-256", "scram")):
        places = [
            direct,
            world.bouncer("PgBouncer, " + how, auth_type=how),
            world.pgunison(1, "pgunison, " + how, auth_type=how),
        ]
        for place in places:
            place.name = place.name.split(",")[0]
            found.append(measure.Entry(how, place, run(user, seconds)))
    return found


def run(user, seconds):
    return lambda place: measure.pgbench(
        place, seconds, 16, "-S", "-C", user=user, environment={"PGPASSWORD": servers.PASSWORD}
    )
