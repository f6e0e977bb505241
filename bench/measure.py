"""How competitors are measured: in turn, several rounds, and the median of each figure over the rounds.

A run is one competitor under one load for some seconds. Rounds interleave: every competitor of every case runs once before
any runs twice, so that whatever changes on the machine meanwhile (heat, neighbours, a growing table) falls on all alike.
"""
import contextlib
import glob
import os
import re
import statistics
import subprocess
import sys
import tempfile

from servers import pgharness

PERCENTILES = (50, 95, 99)
FIGURES = ("tps", "p50", "p95", "p99", "user", "system", "cpu")


class Cpu:
    """The CPU time that a process takes from here on, of all its threads, in microseconds."""

    TICK_US = 1000000 / os.sysconf("SC_CLK_TCK")

    def __init__(self, pid):
        self.pid = pid
        self.began = self._now()

    def _now(self):
        with open("/proc/%d/stat" % self.pid, encoding="ascii", errors="replace") as f:
            parts = f.read().rpartition(")")[2].split()
        user, system = int(parts[11]) * self.TICK_US, int(parts[12]) * self.TICK_US
        exact = 0
        for thread in glob.glob("/proc/%d/task/*/schedstat" % self.pid):
            with contextlib.suppress(FileNotFoundError), open(thread, encoding="ascii") as f:
                exact += int(f.read().split()[0])
        return user, system, exact / 1000

    def taken(self):
        """(user, system). The scheduler knows the sum to the nanosecond, ticks tell only how it is shared out."""
        user, system, exact = (now - then for now, then in zip(self._now(), self.began))
        if exact and user + system:
            return exact * user / (user + system), exact * system / (user + system)
        return (user, system) if not exact else (exact, 0.0)


class Run:
    """What one run gave. Latencies in ms, CPU in microseconds per transaction; None: not applicable."""

    def __init__(self, transactions, tps, latencies=None):
        """transactions: all that the CPU time is for."""
        self.transactions, self.tps = transactions, tps
        self.p50, self.p95, self.p99 = latencies or (None, None, None)
        self.user = self.system = self.cpu = None

    def charge(self, user_us, system_us):
        self.user, self.system = user_us / self.transactions, system_us / self.transactions
        self.cpu = self.user + self.system


class Entry:
    """A competitor in a case: how to run it, and what it gave. per: how many of what a transaction counts for (100
    statements of a batch)."""

    def __init__(self, case, place, run):
        self.case, self.place, self.run = case, place, run
        self.runs = []

    def once(self):
        cpu = Cpu(self.place.process.pid) if self.place.process else None
        got = self.run(self.place)
        if cpu:
            got.charge(*cpu.taken())
        return got

    def median(self, figure):
        values = [getattr(r, figure) for r in self.runs]
        return None if not values or None in values else statistics.median(values)

    def spread(self, figure):
        """(least, greatest) of the rounds."""
        values = [getattr(r, figure) for r in self.runs]
        return None if not values or None in values else (min(values), max(values))


def interleaved(entries, rounds, title):
    for n in range(rounds):
        for i, entry in enumerate(entries):
            note("%s: round %d of %d, %d of %d: %s, %s" % (title, n + 1, rounds, i + 1, len(entries), entry.case, entry.place.name))
            entry.runs.append(entry.once())
    note("")


def note(text):
    """On a terminal, one line that changes; else nothing: the report has it all."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text)
        sys.stderr.flush()


def percentiles(values):
    values.sort()
    return tuple(values[min(len(values) - 1, len(values) * p // 100)] for p in PERCENTILES)


def pgbench(place, seconds, clients, *options, user="app", scripts=(), environment=None):
    """Runs pgbench and reads its log of every transaction."""
    with tempfile.TemporaryDirectory(prefix="pgunison-bench-") as folder:
        command = [pgharness.tool("pgbench"), "-n", "-T", str(seconds), "-c", str(clients), "-j", str(min(clients, 2))]
        command += ["-l", *options, "-h", "127.0.0.1", "-p", str(place.port), "-U", user]
        for script in scripts:
            command += ["-f", script]
        done = subprocess.run(
            command + [place.dbname],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=600 + seconds,
            env=dict(os.environ, **(environment or {})),
        )
        report = done.stdout + done.stderr
        failed = re.search(r"number of failed transactions: (\d+)", report)
        assert done.returncode == 0 and failed and failed.group(1) == "0", "pgbench at %s:\n%s" % (place.name, report[-4000:])
        latencies = []
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="ascii") as f:
                latencies += [int(line.split()[2]) / 1000 for line in f]
    transactions = int(re.search(r"actually processed: (\d+)", report).group(1))
    tps = float(re.search(r"^tps = ([\d.]+)", report, re.M).group(1))
    return Run(transactions, tps, percentiles(latencies))


def client(program, *arguments):
    """Runs one of bench/clients, which says: all M transactions N seconds S p50 A p95 B p99 C."""
    done = subprocess.run(
        [os.path.join(pgharness.BUILD, "bench", program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, "%s %s:\n%s" % (program, arguments, done.stdout[-2000:] + done.stderr[-2000:])
    words = done.stdout.split()
    said = dict(zip(words[::2], map(float, words[1::2])))
    return Run(said["all"], said["transactions"] / said["seconds"], tuple(said["p%d" % p] for p in PERCENTILES))


def resident_kb(pid):
    """(VmRSS, proportional share)."""
    with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
        rss = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    try:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
            return rss, int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    except OSError:
        return rss, rss


