#!/usr/bin/env bash
# Runs cmocka programs one after the other, each for at most UNIT_TIMEOUT seconds. Shows the output of those that fail.
set -uo pipefail
timeout=${UNIT_TIMEOUT:-300}
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program in "$@"; do
    timeout --kill-after=10 "$timeout" "$program" >"$log" 2>&1
    status=$?
    p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    f=$(grep -c '^\[  FAILED  \] [a-z_0-9]*$' "$log")
    f=$((f / 2)) # named when it fails, and again in the list at the end
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1 # died, or did not end
    fi
    if [ "$status" -eq 0 ] && [ "$p" -eq 0 ]; then
        status=1 f=1 # ran nothing
    fi
    passed=$((passed + p)) failed=$((failed + f))
    if [ "$status" -eq 0 ]; then
        printf 'ok    %-44s %4d\n' "${program#*/unit/}" "$p"
    else
        printf 'FAIL  %-44s %4d passed, %d failed, status %d\n' "${program#*/unit/}" "$p" "$f" "$status"
        grep -v -E '^\[ +(RUN|OK) +\]' "$log" | tail -n 60 | sed 's/^/      /'
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
