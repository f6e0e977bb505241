"""Lines reached, per file and layer, from the .gcda files below a build directory: coverage.py BUILD."""
import collections
import json
import os
import subprocess
import sys


def notes(build):
    for folder, _, names in os.walk(os.path.join(build, "obj")):
        for name in names:
            if name.endswith(".gcno"):
                yield os.path.join(folder, name)


def main(build):
    lines = collections.defaultdict(dict)  # file -> line -> count
    for note in sorted(notes(build)):
        out = subprocess.run(
            ["gcov", "--json-format", "--stdout", note], capture_output=True, text=True, check=True
        ).stdout
        for document in out.splitlines():
            for f in json.loads(document)["files"]:
                path = os.path.normpath(f["file"])
                if path.startswith(("src/", "include/")):
                    for line in f["lines"]:
                        n = line["line_number"]
                        lines[path][n] = lines[path].get(n, 0) + line["count"]
    layers = collections.defaultdict(lambda: [0, 0])
    for path in sorted(lines):
        reached, total = sum(1 for c in lines[path].values() if c), len(lines[path])
        for key in (path.split("/")[1], "total"):
            layers[key][0] += reached
            layers[key][1] += total
        print("%6.1f %%  %5d of %5d  %s" % (100.0 * reached / total, reached, total, path))
    print()
    for layer, (reached, total) in layers.items():
        print("%6.1f %%  %5d of %5d  %s" % (100.0 * reached / total, reached, total, layer))


if __name__ == "__main__":
    main(sys.argv[1])
