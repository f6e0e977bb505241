"""Small rooms: what holds inside a folder. tools/layers.py runs it.

- no circle of more than three .c files that call each other;
- no function of more than 80 lines;
- every function that a header declares has a user: in another file than its own, or in its own file and in tests;
- every setting that is not marked NOT_YET has a reader;
- no private words in comments, identifiers and READMEs (house style, "Leave this").

What is allowed beyond that stands in the tables below. It may shrink, and not grow.
"""
import collections
import glob
import os
import re

import c_source

CIRCLE_MAX = 3
LINES_MAX = 80

# folder: files of its largest circle
CIRCLES = {"session": 26}

# function: its lines
LONG = {}

# Functions that tests alone use, because there is no other way to see or do what they are for.
FOR_TESTS = {
    "coordinator_decider": "the simulator crashes the shard that decides",
    "hash_key": "hash_probe asks a server whether the hash is its own",
    "listener_port": "a listener on port 0",
    "refuser_count": "when everybody has been refused",
    "state_question": "all questions name pg_catalog",
}
# Not converted yet.
NO_USER = {
    "client_txn_status",
    "helpers_run",
    "message_data_row_slices",
    "message_read_parameter_description",
    "message_read_ready",
    "message_ready",
    "msg_bind_param",
    "msg_bind_result_format",
    "source_register_anew",
    "stream_fd",
    "tls_peer_common_name",
    "txn_begin",
}

# word: how it shows, and folders where it means something else, or nothing private
WORDS = {
    "told": r"told",
    "owe": r"ow(?:e|es|ed|ing)",
    "errand": r"errands?",
    "parcel": r"parcels?",
    "letter": r"letters?",
    "door": r"doors?",
    "void": None,  # in comments only, and not as the type
}
# Letters of the alphabet.
ALPHABET = {"base", "conf", "sql", "wire"}
# folder: word: how often it is there
PRIVATE = {
    "backend": {"errand": 57, "owe": 8, "parcel": 37, "told": 10},
    "net": {"told": 1},
    "session": {"owe": 7, "told": 72, "void": 7},
}


def folders():
    return sorted(os.path.basename(f) for f in glob.glob("src/*") if os.path.isdir(f))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


# --- circles -------------------------------------------------------------------------------------------------


def components(graph):
    """Strongly connected components (Tarjan)."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for after in sorted(graph.get(node, ())):
            if after not in index:
                visit(after)
                low[node] = min(low[node], low[after])
            elif after in on_stack:
                low[node] = min(low[node], index[after])
        if low[node] == index[node]:
            component = set()
            while node not in component:
                component.add(stack.pop())
            on_stack.difference_update(component)
            found.append(component)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def calls(files):
    """files: path -> code. Which of them uses a function that another one defines."""
    owner = {n: p for p, text in files.items() for n, static in c_source.functions(text).items() if not static}
    graph = {}
    for path, text in files.items():
        mine = c_source.functions(text)
        graph[path] = {owner[n] for n in c_source.uses(text) if n in owner and n not in mine and owner[n] != path}
    return graph


def check_circles(folder):
    graph = calls({p: c_source.code(read(p)) for p in sorted(glob.glob("src/%s/*.c" % folder))})
    for component in components(graph):
        if len(component) > max(CIRCLE_MAX, CIRCLES.get(folder, 0)):
            names = " ".join(os.path.basename(p) for p in sorted(component))
            yield "src/%s: %d files call each other in a circle: %s" % (folder, len(component), names)


# --- functions -----------------------------------------------------------------------------------------------


def check_lengths(folder):
    for path in sorted(glob.glob("src/%s/*.[ch]" % folder) + glob.glob("include/%s/*.h" % folder)):
        for name, line, lines in c_source.lengths(read(path)):
            if lines > max(LINES_MAX, LONG.get(name, 0)):
                yield "%s:%d: %s() has %d lines" % (path, line, name, lines)


def check_users():
    """Functions that are declared for other files, and that nobody but tests needs."""
    sources = {p: c_source.code(read(p)) for p in glob.glob("src/*/*.c")}
    headers = {p: c_source.code(read(p)) for p in glob.glob("src/*/*.h") + glob.glob("include/*/*.h")}
    tests = {n for p in glob.glob("test/**/*.[ch]", recursive=True) for n in c_source.NAME.findall(c_source.code(read(p)))}
    users = collections.Counter(n for text in sources.values() for n in c_source.uses(text))
    mentions = collections.Counter(n for text in headers.values() for n in c_source.NAME.findall(text))
    found = set()
    for path, text in sorted(sources.items()):
        in_file = collections.Counter(c_source.NAME.findall(text))
        for name, static in c_source.functions(text).items():
            if static or name == "main" or users[name] > 1 or mentions[name] > 1:
                continue
            found.add(name)
            if name in FOR_TESTS or name in NO_USER:
                continue
            if in_file[name] == 1:
                yield "%s: nobody uses %s()" % (path, name)
            elif name not in tests:
                yield "%s: %s() has no user in another file: make it static" % (path, name)
    for name in sorted(set(FOR_TESTS) - found):
        yield "tools/rooms.py: %s() needs no exception" % name


def check_settings():
    """Settings that are said to have an effect, and whose fields nobody reads."""
    table = read("src/conf/settings.c")
    rows = re.findall(r"^    \w+\((?:[A-Z]+, )?(\w+),.*?\b(LIVE|RESTART|NOT_YET)\b", table[table.index("table[] = {") :], re.S | re.M)
    text = "\n".join(c_source.code(read(p)) for p in glob.glob("src/*/*.[ch]") if not p.startswith("src/conf/settings"))
    read_fields = set(re.findall(r"(?:->|\.)(\w+)", text))
    if len(rows) < 80:
        yield "tools/rooms.py: found %d settings only" % len(rows)
    for name, flag in rows:
        if flag != "NOT_YET" and not read_fields & {name, name + "_us"}:
            yield "src/conf/settings.c: nobody reads %s: NOT_YET" % name


# --- words ---------------------------------------------------------------------------------------------------


def private_words(folder, text, is_c=True):
    """(line number, word) of each in comments and identifiers of C, or in all of another text."""
    remarks = list(c_source.comments(text)) if is_c else [(1, text)]
    names = c_source.code(text) if is_c else ""
    for word, pattern in WORDS.items():
        if word == "letter" and folder in ALPHABET:
            continue
        found = re.compile(r"(?<![A-Za-z])%s(?![A-Za-z])" % pattern if pattern else r"(?<![(\w])void\b(?! *(?:\*[^/]|[)(]))", re.I)
        for line, remark in remarks:
            for m in found.finditer(remark):
                if not re.match(r"letters?,? (?:and )?digits", remark[m.start() :]):
                    yield line + remark.count("\n", 0, m.start()), word
        if pattern:
            for m in found.finditer(names):
                yield names.count("\n", 0, m.start()) + 1, word


def check_words(folder):
    places = collections.defaultdict(list)
    paths = glob.glob("src/%s/*.[ch]" % folder) + glob.glob("include/%s/*.h" % folder) + glob.glob("src/%s/*.md" % folder)
    for path in sorted(paths):
        for line, word in private_words(folder, read(path), not path.endswith(".md")):
            places[word].append("%s:%d" % (path, line))
    for word, where in sorted(places.items()):
        allowed = PRIVATE.get(folder, {}).get(word, 0)
        if len(where) > allowed:
            yield '%s: "%s" is a private word: %d times, %d allowed: %s' % (folder, word, len(where), allowed, " ".join(where))


# --- the checks check ----------------------------------------------------------------------------------------

SAMPLE = {
    "a.c": "int a(int (*f)(int), int x)\n{\n    return f(b(x)) + 0; /* d(x) */\n}\nstatic int own(void)\n{\n    return p->e;\n}\n",
    "b.c": "static const struct ops ops = {.run = c};\nint b(int x)\n{\n    return ops.run(x);\n}\n",
    "c.c": 'int c(int x)\n{\n    return a(0, x) + puts("d");\n}\n',
    "d.c": "#define D(x) \\\n    e(x)\nint d(int x)\n{\n    return a(0, x);\n}\nint e(int own)\n{\n    return own;\n}\n",
}


def check_self():
    """On a sample: a circle through a table of functions, a static function, names in comments and literals, a member."""
    files = {p: c_source.code(text) for p, text in SAMPLE.items()}
    if sorted(map(len, components(calls(files)))) != [1, 3]:
        yield "tools/rooms.py: circles of the sample: %r" % components(calls(files))
    if c_source.functions(files["a.c"]) != {"a": False, "own": True}:
        yield "tools/rooms.py: functions of the sample: %r" % c_source.functions(files["a.c"])
    if [n for _, _, n in c_source.lengths(SAMPLE["a.c"])] != [4, 4]:
        yield "tools/rooms.py: lengths of the sample: %r" % list(c_source.lengths(SAMPLE["a.c"]))
    text = '/* who is told that a plan is\n * void */ void f(struct letter *l) { puts("told"); } /* (void *) */'
    if sorted(private_words("net", text)) != [(1, "told"), (2, "letter"), (2, "void")]:
        yield "tools/rooms.py: words of the sample: %r" % sorted(private_words("net", text))


def check():
    """(what was checked, its problems)"""
    yield "self", list(check_self())
    yield "users", list(check_users())
    yield "settings", list(check_settings())
    for folder in folders():
        yield "src/" + folder, [p for f in (check_circles, check_lengths, check_words) for p in f(folder)]
