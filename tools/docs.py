#!/usr/bin/env python3
"""What the documentation names exists: tests, paths below test/, make targets, linked files. Ends with "N passed, N failed"."""
import glob
import os
import re
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
TESTS = {os.path.basename(p) for p in glob.glob("test/**/*", recursive=True)}
MAKEFILES = "".join(open(p, encoding="utf-8").read() for p in ("Makefile", *sorted(glob.glob("test/*/rules.mk"))))
TARGETS = set(re.findall(r"^([a-z][a-z-]*)[a-z -]*:(?!=)", MAKEFILES, re.M))


def names(path, text):
    """(name, whether it is there) of all that can be looked up."""
    for name in re.findall(r"\b((?:test|fuzz)_\w+\.(?:py|c))\b", text):
        yield name, name in TESTS
    for name in re.findall(r"`(test/[\w./-]+)`", text):
        yield name, os.path.exists(name)
    for name in re.findall(r"(?:^    |`)make ((?:[a-z][a-z-]*\b ?)+)", text, re.M):
        for target in name.split():
            yield "make " + target, target in TARGETS
    for name in re.findall(r"\]\(([^)#:]+)\)", text):
        yield name, os.path.exists(os.path.join(os.path.dirname(path), name))


passed = failed = 0
for document in ["README.md", *sorted(glob.glob("docs/*.md"))]:
    with open(document, encoding="utf-8") as f:
        for name, there in names(document, f.read()):
            passed, failed = passed + there, failed + (not there)
            if not there:
                print("%s: there is no %s" % (document, name))
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)
