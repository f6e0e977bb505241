"""System calls per transaction."""
import os
import re
import signal
import subprocess

import measure
import servers
from servers import pgharness

TITLE = "System calls of the proxy per transaction: pgbench -S"
ABOUT = """Counted by strace, which slows the proxy down: batching under load shows here less than it does without."""
TRANSACTIONS = 4000


def count(place, mode, clients, folder):
    """{system call: per transaction}"""
    path = os.path.join(folder, "strace")
    tracer = subprocess.Popen(["strace", "-f", "-c", "-q", "-o", path, "-p", str(place.process.pid)], stderr=subprocess.DEVNULL)
    try:
        pgharness.eventually(lambda: is_traced(place.process.pid))
        command = [pgharness.tool("pgbench"), "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1"]
        command += ["-t", str(TRANSACTIONS // clients), "-h", "127.0.0.1", "-p", str(place.port), "-U", "app", place.dbname]
        subprocess.run(command, check=True, capture_output=True)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    with open(path, encoding="utf-8") as f:
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", f.read(), re.M)
    return {name: int(calls) / TRANSACTIONS for calls, name in rows if name != "total"}


def is_traced(pid):
    """All of its threads."""
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, thread), encoding="ascii", errors="replace") as f:
            if "TracerPid:\t0\n" in f.read():
                return False
    return True


def measure_suite(world):
    """Returns [(case, competitor, {system call: per transaction})]."""
    folder = world.workspace.folder("strace")
    places = [world.bouncer(), world.pgunison(1), world.pgunison(2)]
    found = []
    for mode in ("simple", "extended", "prepared"):
        for clients in (1, 16):
            for place in places:
                if mode == "prepared" and place.name == "PgBouncer" and servers.pgbouncer_version() < (1, 21):
                    continue
                case = "%s, %d client%s" % (mode, clients, "s" if clients > 1 else "")
                measure.note("system calls: %s, %s" % (case, place.name))
                found.append((case, place.name, count(place, mode, clients, folder)))
    measure.note("")
    return found


def lines(found):
    for case, name, calls in found:
        several = sorted(((n, call) for call, n in calls.items() if n >= 0.01), reverse=True)
        shown = ", ".join("%s %.2f" % (call, n) for n, call in several)
        yield "%-22s %-20s %6.2f   %s" % (case, name, sum(calls.values()), shown)
