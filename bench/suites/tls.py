"""TLS to the client."""
import os
import shutil
import subprocess

import measure

TITLE = "Plain and TLS to the client: pgbench -S, 16 clients"
ABOUT = """TLS 1.3 from the client to the proxy; plain from there to the server."""
ROUNDS = 3


def certificate(folder):
    key, cert = os.path.join(folder, "server.key"), os.path.join(folder, "server.crt")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    if os.geteuid() == 0:  # PgBouncer is somebody else
        shutil.chown(key, "postgres", "postgres")
    return {"client_tls_sslmode": "require", "client_tls_key_file": key, "client_tls_cert_file": cert}


def entries(world, seconds):
    settings = certificate(world.workspace.folder("tls"))
    places = {
        "plain": [world.bouncer(), world.pgunison(1)],
        "TLS": [world.bouncer("PgBouncer, TLS", **settings), world.pgunison(1, "pgunison, TLS", **settings)],
    }
    found = []
    for case, both in places.items():
        for place in both:
            place.name = place.name.split(",")[0]
            found.append(measure.Entry(case, place, run(case, seconds)))
    return found


def run(case, seconds):
    mode = "require" if case == "TLS" else "disable"
    return lambda place: measure.pgbench(place, seconds, 16, "-S", environment={"PGSSLMODE": mode})
