#!/usr/bin/env bash
# Builds, runs the named suites (make targets, each of which ends with "N passed, N failed"), goes on after a failed
# one, says which parts failed, and ends with one such line for all of them. From the environment: MAKE (may carry settings),
# BUILD, JOBS, and TARGETS, which are built first ("all unit"; none if it is empty).
set -uo pipefail
passed=0 failed=0 failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

run() { # title, command...
    local title=$1 status p f line
    shift
    printf '\n=== %s\n' "$title"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    p=0 f=0
    [ -z "$line" ] || read -r p _ f _ <<<"$line"
    # A suite that failed without counting a failure (a build error, a crash of the runner) counts as one. So does one
    # that says nothing: it has not run.
    [ -n "$line" ] || [ "$title" = build ] || [ "$status" -ne 0 ] || status=silent
    if [ "$f" -eq 0 ] && [ "$status" != 0 ]; then
        f=1
        echo "$title: failed (status $status)"
    fi
    [ "$f" -eq 0 ] || failures+=("$title")
    passed=$((passed + p)) failed=$((failed + f))
}

# MAKE may be several words, quoted as for a shell.
run_make() { eval "$MAKE" --no-print-directory -j"$JOBS" '"$@"'; }

read -r -a targets <<<"${TARGETS-all unit}"
[ ${#targets[@]} -eq 0 ] || run build run_make BUILD="$BUILD" "${targets[@]}"
unset TARGETS # is not for those that run below
for suite in "$@"; do
    run "$suite" run_make BUILD="$BUILD" "$suite"
done
printf '\n'
[ ${#failures[@]} -eq 0 ] || echo "failed: ${failures[*]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
