#!/usr/bin/env bash
# Runs pytest over test/integration (or what is named), and ends with "N passed, N failed". Warnings of the
# tests' own code are errors. BUILD is where the programs are; PGUNISON names another proxy.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
report=$(mktemp)
trap 'rm -f "$report"' EXIT
case $build in /*) ;; *) build=$PWD/$build ;; esac
PGUNISON=${PGUNISON:-$build/pgunison} BUILD=$build PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 -m pytest -q -p no:cacheprovider --tb=short --junitxml="$report" "${@:-test/integration}"
status=$?
/usr/bin/python3 - "$report" <<'END'
import sys
import xml.etree.ElementTree as tree

try:
    suites = tree.parse(sys.argv[1]).getroot().iter("testsuite")
except tree.ParseError:
    sys.exit("pytest made no report")
count = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
for suite in suites:
    for name in count:
        count[name] += int(suite.get(name, 0))
bad = count["failures"] + count["errors"]
if count["skipped"]:
    print("%d skipped" % count["skipped"])
print("%d passed, %d failed" % (max(0, count["tests"] - bad - count["skipped"]), bad))
END
exit $status
