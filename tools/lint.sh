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
flags=(-Iinclude -D_GNU_SOURCE '-DPGUNISON_VERSION="lint"' -I/usr/include/postgresql -std=c11)
tidy() { # files of one call
    clang-tidy --quiet --checks="$CHECKS" --warnings-as-errors='*' "$@" -- "${flags[@]}" 2> >(grep -v 'warnings generated' >&2)
}
for ((i = 0; i < ${#sources[@]}; i += 8)); do
    CHECKS=$checks tidy "${sources[@]:i:8}" || failed=1
done
mapfile -t all < <(find src include test -name '*.[ch]' | sort)
clang-format --dry-run --Werror "${all[@]}" || failed=1
exit $failed
