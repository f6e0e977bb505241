"""Statements that the plan cache does not know, and long ones."""
import os
import random

import measure

TITLE = "Many texts, and long ones"
ABOUT = """16 clients, simple protocol. Texts differ in more than their literals (bench/clients/texts.c): 10,000 of them in random order, and
texts of which none comes twice, so that every one is parsed and planned. IN lists: one row by key, with a list of so many numbers on
another column, which no proxy needs to understand; "keys IN": so many keys, which lie on all shards (here pgunison merges)."""
ROUNDS = 3


def entries(world, seconds):
    places = [world.direct(), world.bouncer(), world.pgunison(1), world.pgunison(2)]
    rows = world.scale * 100000
    found = []
    for n, name in ((10000, "10,000 texts"), (0, "never the same text")):
        found += [measure.Entry(name, place, texts(n, rows, seconds)) for place in places]
    numbers = random.Random(1)
    for n in (100, 1000):
        members = ", ".join(str(numbers.randrange(1000000)) for _ in range(n - 1))
        keys = ", ".join(str(numbers.randrange(1, rows)) for _ in range(n - 1))
        by_list = script(world, "in%d" % n, "SELECT abalance FROM pgbench_accounts WHERE aid = :aid AND bid IN (%s, :aid)" % members, rows)
        by_keys = script(world, "keys%d" % n, "SELECT abalance FROM pgbench_accounts WHERE aid IN (%s, :aid)" % keys, rows)
        found += [measure.Entry("IN list of %d" % n, place, run(by_list, seconds)) for place in places]
        found += [measure.Entry("keys IN list of %d" % n, place, run(by_keys, seconds)) for place in places]
    return found


def script(world, name, sql, rows):
    path = os.path.join(world.workspace.path, name + ".sql")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\\set aid random(1, %d)\n%s;\n" % (rows, sql))
    return path


def texts(n, rows, seconds):
    return lambda place: measure.client("texts", seconds, 16, n, rows, place.conninfo())


def run(path, seconds):
    return lambda place: measure.pgbench(place, seconds, 16, scripts=[path])
