#!/usr/bin/env bash
# Runs each fuzz target for some seconds: fuzz.sh SECONDS. What a target learns stays in $BUILD/corpus/<name>; an input
# that breaks it is left in $BUILD/crash/.
set -uo pipefail
seconds=$1 build=${BUILD:-build-fuzz}
passed=0 failed=0
mkdir -p "$build/crash"
for source in test/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    corpus=("$build/corpus/$name")
    mkdir -p "${corpus[0]}"
    [ ! -d "test/fuzz/corpus/$name" ] || corpus+=("test/fuzz/corpus/$name")
    printf '%s, %ss: ' "$name" "$seconds"
    if "$build/fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/crash/$name-" "${corpus[@]}" >"$build/crash/$name.log" 2>&1; then
        sed -n 's/^stat::number_of_executed_units: */runs: /p' "$build/crash/$name.log"
        passed=$((passed + 1))
    else
        echo FAILED
        grep -v '^#' "$build/crash/$name.log" | tail -n 40
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
