#!/usr/bin/python3
"""make bench: everything that docs/performance.md tells of, measured on this machine in one run.

    bench.py [--suite select,transfer,…] [--seconds 3] [--rounds N] [--case WORDS] [--scale N]

Each suite leaves NAME.txt, NAME.json and NAME.png in bench/results; a run of all suites leaves report.txt as well.
"""
import argparse
import importlib
import os
import sys
import time

import measure
import report
import servers

SUITES = ("select", "syscalls", "transfer", "tpcb", "memory", "connect", "crowd", "rows", "pipeline", "texts", "lex", "tls")


def arguments():
    parser = argparse.ArgumentParser(prog="make bench BENCH=…", description="Benchmarks of pgunison.")
    parser.add_argument("--suite", default=",".join(SUITES), help="comma-separated: " + ", ".join(SUITES))
    parser.add_argument("--seconds", type=int, default=3, help="of each run (3)")
    parser.add_argument("--rounds", type=int, help="how often each run is repeated (3; 5 for select and transfer)")
    parser.add_argument("--scale", type=int, help="pgbench's: so many times 100,000 accounts (4; 16 for tpcb)")
    parser.add_argument("--case", default="", help='only cases with these words, as "simple, 16 clients"')
    given = parser.parse_args()
    given.suite = given.suite.split(",")
    unknown = [name for name in given.suite if name not in SUITES]
    if unknown:
        parser.error("no such suite: %s; there are %s" % (", ".join(unknown), ", ".join(SUITES)))
    return given


def run_suite(world, name, suite, given):
    """Measures one, saves what it found, and returns its part of the report."""
    began = time.monotonic()
    if hasattr(suite, "measure_suite"):
        found = suite.measure_suite(world)
        lines = list(suite.lines(found))
        report.save(name + ".json", found)
        if hasattr(suite, "draw"):
            report.plot_found(name, suite, found)
    else:
        rounds = given.rounds or suite.ROUNDS
        entries = [e for e in suite.entries(world, given.seconds) if given.case in e.case]
        if not entries:
            sys.exit("suite %s has no case with the words %r" % (name, given.case))
        measure.interleaved(entries, rounds, name)
        if hasattr(suite, "finish"):
            suite.finish(world)
        base = getattr(suite, "BASE", "PgBouncer")
        lines = ["%d s a run, medians of %d interleaved rounds; ratios are to %s" % (given.seconds, rounds, base)]
        lines += report.table(entries, base)
        report.save(name + ".json", report.raw(entries))
        report.plot(name, suite, entries)
    lines += ["", *suite.remarks()] if hasattr(suite, "remarks") and suite.remarks() else []
    print("%s: %.0f s" % (name, time.monotonic() - began), file=sys.stderr)
    return report.text(name, suite, lines)


def main():
    given = arguments()
    servers.raise_file_limit()
    began = time.monotonic()
    head = "\n".join(report.facts()) + "\n\n"
    print(head, end="", flush=True)
    parts = []
    for name in given.suite:
        # Servers of its own for each suite: no suite finds the files, caches and idle proxies of another.
        suite = importlib.import_module("suites." + name)
        with servers.World(given.scale or getattr(suite, "SCALE", 4)) as world:
            part = run_suite(world, name, suite, given)
        report.save(name + ".txt", head + part)
        print(part, flush=True)
        parts.append(part)
    if given.suite == list(SUITES) and not given.case:
        report.save("report.txt", head + "\n".join(parts))
    print("%.0f s in all; written to %s" % (time.monotonic() - began, os.path.relpath(report.RESULTS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
