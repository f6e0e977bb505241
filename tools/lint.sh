#!/usr/bin/env bash
# clang-tidy's checks that find bugs, and clang-format's opinion of the layout. Changes nothing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
failed=0
checks='-*,clang-analyzer-*,bugprone-*,performance-*,misc-redundant-expression'
checks+=',-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-bugprone-reserved-identifier'
checks+=',-bugprone-assignment-in-if-condition,-bugprone-branch-clone,-bugprone-suspicious-include'
checks+=',-bugprone-implicit-widening-of-multiplication-result,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling'
mapfile -t sources < <(find src -name '*.c' | sort)
# shellcheck disable=SC2086  # CPPFLAGS is a list
printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 8 clang-tidy --quiet --checks="$checks" --warnings-as-errors='*' \
    2>/dev/null -- || failed=1
mapfile -t all < <(find src include test -name '*.[ch]' | sort)
clang-format --dry-run --Werror "${all[@]}" || failed=1
exit $failed
