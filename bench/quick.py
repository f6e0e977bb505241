#!/usr/bin/python3
"""make bench-quick: user-space instructions per transaction, held against bench/baseline.txt; more than 5 % over it fails.

With workers on another poller (PGUNISON_POLLER) it is bench/baseline-<poller>.txt.

Callgrind counts instructions, and a count does not depend on what else the machine does. The proxy runs under it with one
worker. After a warm-up, N transactions run over a connection of their own and the counter is read; then 2N; the difference
is the cost of N transactions, free of connecting, logging in and of reading the counter. PgBouncer is measured in the
same way, for comparison only: the guard looks at pgunison alone.

    quick.py [update] [alone]      ends with "N passed, N failed"; alone: without PgBouncer
"""
import os
import re
import shutil
import subprocess
import sys
import time

import servers
from servers import pgharness

HERE = os.path.dirname(os.path.abspath(__file__))
POLLER = os.environ.get("PGUNISON_POLLER") or "epoll"  # of workers
BASELINE = os.path.join(HERE, "baseline.txt" if POLLER == "epoll" else "baseline-%s.txt" % POLLER)
TOLERANCE = 0.05
N = 500
SELECT = "\\set aid random(1, 1000)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
WRITE = """\\set aid random(1, 1000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
END;
"""
TRANSFER = """BEGIN;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = {0};
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = {1};
END;
"""
HEADER = """# User-space instructions per transaction of pgunison, one worker, one client, two shards: make bench-quick.
# Written by `make bench-quick BASELINE=update`; docs/performance.md says when. Measured with
"""


class Counter:
    """Reads, and sets back, the instruction counter of a process that runs under callgrind."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = set()

    def command(self):
        return ["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" + os.path.join(self.folder, "counts")]

    def read(self, process):
        """Instructions since the last reading, of all threads."""
        subprocess.run(
            ["vgdb", "--pid=%d" % process.pid, "--wait=30", "dump"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=60,
            **(pgharness._as_postgres() if os.stat("/proc/%d" % process.pid).st_uid else {}),
        )
        new = [name for name in os.listdir(self.folder) if re.fullmatch(r"counts\.\d+", name) and name not in self.seen]
        assert len(new) == 1, "callgrind has not written its counts: %s" % new
        self.seen.update(new)
        with open(os.path.join(self.folder, new[0]), encoding="utf-8") as f:
            return int(re.findall(r"^(?:totals|summary): (\d+)", f.read(), re.M)[-1])


def pgbench(place, path, mode, n):
    done = subprocess.run(
        [pgharness.tool("pgbench"), "-n", "-M", mode, "-f", path, "-c", "1", "-t", str(n), "-h", "127.0.0.1"]
        + ["--random-seed=1", "-p", str(place.port), "-U", "app", place.dbname],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0 and "actually processed: %d/%d" % (n, n) in done.stdout, done.stdout + done.stderr


def instructions(place, counter, path, mode):
    """Per transaction."""
    pgbench(place, path, mode, N // 4)
    counter.read(place.process)
    pgbench(place, path, mode, N)
    once = counter.read(place.process)
    pgbench(place, path, mode, 2 * N)
    return (counter.read(place.process) - once) / N


def toolchain():
    """What the numbers depend on beside the code."""
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    with open("/proc/cpuinfo") as f:
        vectors = "AVX2" if " avx2 " in f.read() else "no AVX2"  # libc picks its string functions by it
    return "gcc %s, %s, %s, %s" % (gcc, " ".join(os.confstr("CS_GNU_LIBC_VERSION").split()), os.uname().machine, vectors)


def read_baseline():
    """(toolchain, {name: instructions})."""
    if not os.path.exists(BASELINE):
        return None, {}
    with open(BASELINE, encoding="utf-8") as f:
        lines = f.read().splitlines()
    made_with = [line[2:] for line in lines if line.startswith("# gcc ")]
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return (made_with or [None])[0], {name: int(count) for name, count in pairs}


def fill(session):
    session.run("CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84))")
    session.run("INSERT INTO pgbench_accounts VALUES " + ",".join("(%d, 1, 0, '')" % i for i in range(1, 1001)))


def script(world, what):
    return os.path.join(world.workspace.path, what + ".sql")


def first_account(server, dbname):
    with server.session(dbname=dbname) as db:
        return db.one("SELECT min(aid) FROM pgbench_accounts")


CASES = [("select", "simple"), ("select", "extended"), ("select", "prepared"), ("write", "simple"), ("transfer", "simple")]


def measure(world):
    """Yields (name, competitor, instructions per transaction), and leaves the scripts in the world's folder."""
    cluster = world.databases("bench2", 2)
    counter = Counter(world.workspace.folder("callgrind"))
    # No sweeps: they cost by the second, not by the transaction.
    proxy = servers.Pgunison(
        world.workspace, cluster, "bench2", servers.PGBENCH_TABLES, counter.command(), resolve_interval="1h", resolve_after="1h"
    )
    with proxy.session() as s:
        fill(s)
    texts = {"select": SELECT, "write": WRITE, "transfer": TRANSFER.format(*(first_account(s, "bench2") for s in cluster))}
    for what, text in texts.items():
        with open(script(world, what), "w", encoding="utf-8") as f:
            f.write(text)
    for what, mode in CASES:
        yield "%s-%s" % (what, mode), "pgunison", instructions(proxy.place("pgunison"), counter, script(world, what), mode)
    proxy.stop(seconds=60)


def measure_pgbouncer(world):
    """The same for what it can do, with the same rows on one server."""
    try:
        keeps_statements = servers.pgbouncer_version() >= (1, 21)
    except servers.Skipped:
        return
    (server,) = world.databases("bench0", 1)
    with server.session(dbname="bench0", user="app") as s:
        fill(s)
    counter = Counter(world.workspace.folder("callgrind"))
    bouncer = servers.PgBouncer(world.workspace, server, "bench0", counter.command())
    for what, mode in CASES:
        if what != "transfer" and (mode != "prepared" or keeps_statements):
            yield "%s-%s" % (what, mode), "PgBouncer", instructions(bouncer.place(), counter, script(world, what), mode)


def main():
    update, alone = "update" in sys.argv[1:], "alone" in sys.argv[1:]
    if not shutil.which("valgrind"):
        print("bench-quick: valgrind is not installed (tools/deps.sh bench)")
        return 1
    began = time.monotonic()
    made_with, baseline = read_baseline()
    with servers.World(1, fsync=False) as world:
        found = list(measure(world)) + ([] if alone else list(measure_pgbouncer(world)))
    ours = {name: count for name, who, count in found if who == "pgunison"}
    theirs = {name: count for name, who, count in found if who == "PgBouncer"}

    print("user-space instructions per transaction (callgrind; 1 client, 2 shards; workers on %s)" % POLLER)
    print("%-18s %10s %10s %8s   %10s %6s" % ("", "pgunison", "baseline", "", "PgBouncer", "ratio"))
    worse, shown = [], "bench/" + os.path.basename(BASELINE)
    for name, count in ours.items():
        was = baseline.get(name)
        line = "%-18s %10.0f %10s %8s" % (name, count, was or "-", "%+.1f %%" % (100 * (count / was - 1)) if was else "")
        if name in theirs:
            line += "   %10.0f %6.2f" % (theirs[name], count / theirs[name])
        print(line)
        if not was or count > was * (1 + TOLERANCE):
            worse.append(name)
    worse += [name for name in baseline if name not in ours]  # a case that is gone guards nothing
    print("%.0f s, %s" % (time.monotonic() - began, toolchain()))

    if update:
        with open(BASELINE, "w", encoding="utf-8") as f:
            f.write(HEADER + "# " + toolchain() + "\n")
            f.writelines("%s %.0f\n" % item for item in ours.items())
        print("written to " + shown)
        return 0
    if made_with != toolchain():
        print("%s was made with %s: not compared. `make bench-quick BASELINE=update` makes one for here." % (shown, made_with))
        print("0 passed, 0 failed")
        return 0
    for name in worse:
        why = "not in " + shown if name not in baseline else "not measured" if name not in ours else None
        print("FAILED %s: %s" % (name, why or "more than %.0f %% over %s" % (100 * TOLERANCE, shown)))
    print("%d passed, %d failed" % (len(set(ours) - set(worse)), len(worse)))
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
