#!/usr/bin/env bash
# Runs each fuzz target for some seconds, JOBS (all cores) at a time: fuzz.sh SECONDS. What a target learns stays in
# $BUILD/corpus/<name>; an input that breaks it is left in $BUILD/crash/.
set -uo pipefail
export seconds=$1 build=${BUILD:-build-fuzz}
mkdir -p "$build/crash"
result=$(mktemp)
trap 'rm -f "$result"' EXIT

one() {
    local name=$1 corpus=("$build/corpus/$1") runs
    mkdir -p "${corpus[0]}"
    [ ! -d "test/fuzz/corpus/$name" ] || corpus+=("test/fuzz/corpus/$name")
    if "$build/fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/crash/$name-" "${corpus[@]}" >"$build/crash/$name.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: */runs: /p' "$build/crash/$name.log")
        echo "$name, ${seconds}s: $runs"
    else
        printf '%s, %ss: FAILED\n%s\n' "$name" "$seconds" "$(grep -v '^#' "$build/crash/$name.log" | tail -n 40)"
    fi
}
export -f one
# shellcheck disable=SC2016
for source in test/fuzz/fuzz_*.c; do basename "$source" .c; done |
    xargs -P "${JOBS:-$(nproc)}" -I{} bash -c 'one {}' | tee "$result"
passed=$(grep -c '^fuzz_[a-z_]*, [0-9]*s: runs: ' "$result")
failed=$(($(find test/fuzz -name "fuzz_*.c" | wc -l) - passed))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
