"""Checks who includes whom (DESIGN, "The house"):

- a layer includes headers of the floors below it, not of its neighbours on the same floor, nor from above;
- src/<layer>/*.h belong to that layer alone; include/<layer>/*.h do not include them;
- headers of libraries belong to one layer each, with the exceptions listed here;
- txn is pure: nothing of the system that does input, output, time or threads;
- headers do not include each other in a circle, nor do folders.

rooms.py adds what holds inside a folder: circles of calls, lengths, users, private words.

Ends with "N passed, N failed": files, and folders.
"""
import os
import re
import sys

import rooms

FLOORS = [["base"], ["wire", "conf", "net"], ["sql", "txn", "model"], ["route", "backend"], ["exec"], ["session"], ["admin"], ["app"]]
FLOOR = {layer: n for n, floor in enumerate(FLOORS) for layer in floor}

# header: layers that may include it
LIBRARIES = [
    (r"pg_query\.h|pg_query/.*|protobuf-c/.*", {"sql"}),
    (r"libpq-fe\.h|libpq-events\.h|libpq/.*|postgres.*\.h|pg_config.*", {"backend"}),
    (r"openssl/.*", {"net"}),
    (r"event\.h|event2/.*|evhttp\.h", {"net"}),
    (r"ini\.h", {"conf"}),
]
# file: headers it may include beside those of its layer, and why
EXCEPTIONS = {
    # SCRAM needs hashes and random bytes. They are no sockets, and net knows no passwords.
    "src/session/scram.c": r"openssl/(crypto|evp|hmac|rand)\.h",
    # A hash is no socket either, and depends on nothing but what is hashed.
    "src/base/sha256.c": r"openssl/evp\.h",
}
# The whole commit protocol runs in a simulator: whatever could reach past the port would make runs differ.
PURE = {"txn": r"(sys|netinet|arpa|event2)/.*|unistd\.h|time\.h|pthread\.h|poll\.h|fcntl\.h|signal\.h|stdatomic\.h|netdb\.h"}
PURE_OURS = {"txn": {"base/clock.h"}}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def sources():
    for top in ("include", "src"):
        for folder, _, names in sorted(os.walk(top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.join(folder, name)


def includes(path):
    with open(path, encoding="utf-8") as f:
        # Comments go, their line ends stay: numbers remain right.
        text = COMMENT.sub(lambda m: "\n" * m.group().count("\n"), f.read())
    for number, line in enumerate(text.splitlines(), 1):
        m = INCLUDE.match(line)
        if m:
            yield number, m.group(1), m.group(2)


def resolve(path, name):
    """The file of ours that is meant; None: not ours."""
    for candidate in (os.path.join(os.path.dirname(path), name), os.path.join("include", name)):
        if os.path.exists(candidate):
            return os.path.normpath(candidate)
    return None


def layer_of(path):
    return path.split(os.sep)[1]


def check_ours(path, target):
    layer, other = layer_of(path), layer_of(target)
    if other not in FLOOR:
        return "%s is in no layer" % target
    if target.startswith("src" + os.sep) and (other != layer or path.startswith("include" + os.sep)):
        return "%s is private to src/%s" % (target, other)
    if other != layer and FLOOR[other] >= FLOOR[layer]:
        how = "beside" if FLOOR[other] == FLOOR[layer] else "above"
        return "%s: %s is %s %s" % (target, other, how, layer)
    if target[len("include/") :] in PURE_OURS.get(layer, ()):
        return "%s: %s is pure" % (target, layer)
    return None


def check_foreign(path, quote, name):
    layer = layer_of(path)
    if re.fullmatch(PURE.get(layer, "$."), name):
        return "<%s>: %s is pure" % (name, layer)
    for pattern, allowed in LIBRARIES:
        if re.fullmatch(pattern, name):
            if layer in allowed or re.fullmatch(EXCEPTIONS.get(path, "$."), name):
                return None
            return "<%s> belongs to %s" % (name, ", ".join(sorted(allowed)))
    if quote == '"' and not name.endswith(".inc"):
        return '"%s" is not there' % name
    return None


def circle(graph):
    """One circle of the graph as a list of its nodes; None: there is none."""
    state, stack = {}, []

    def visit(node):
        state[node] = "open"
        stack.append(node)
        for after in sorted(graph.get(node, ())):
            if state.get(after) == "open":
                return stack[stack.index(after) :] + [after]
            if after not in state:
                found = visit(after)
                if found:
                    return found
        stack.pop()
        state[node] = "done"
        return None

    for node in sorted(graph):
        if node not in state:
            found = visit(node)
            if found:
                return found
    return None


def main():
    good = bad = 0
    files, folders = {}, {}
    for path in sources():
        problems = []
        if layer_of(path) not in FLOOR:
            problems.append((0, "%s is in no layer" % path))
        else:
            for number, quote, name in includes(path):
                target = resolve(path, name) if quote == '"' else None
                problem = check_ours(path, target) if target else check_foreign(path, quote, name)
                if problem:
                    problems.append((number, problem))
                if target and target.endswith(".h"):
                    if path.endswith(".h"):
                        files.setdefault(path, set()).add(target)
                    if layer_of(target) != layer_of(path):
                        folders.setdefault(layer_of(path), set()).add(layer_of(target))
        for number, problem in problems:
            print("%s:%d: %s" % (path, number, problem))
        good, bad = good + (not problems), bad + bool(problems)
    for graph in (files, folders):
        found = circle(graph)
        if found:
            print("circle: " + " -> ".join(found))
            bad += 1
    for _, problems in rooms.check():
        for problem in problems:
            print(problem)
        good, bad = good + (not problems), bad + bool(problems)
    print("%d passed, %d failed" % (good, bad))
    return 1 if bad or not good else 0


if __name__ == "__main__":
    sys.exit(main())
