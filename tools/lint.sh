#!/usr/bin/env bash
# clang-tidy's checks that find bugs, and clang-format's opinion of the layout. Changes nothing. Ends with "N passed, N failed",
# in files.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
checks='-*,clang-analyzer-*,bugprone-*,performance-*,misc-redundant-expression'
checks+=',-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-bugprone-reserved-identifier'
checks+=',-bugprone-assignment-in-if-condition,-bugprone-branch-clone,-bugprone-suspicious-include'
checks+=',-bugprone-implicit-widening-of-multiplication-result,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling'
# A pointer's size is what an array of pointers needs; a number in a pointer is how maps here hold small numbers.
checks+=',-bugprone-sizeof-expression,-performance-no-int-to-ptr'
# Keys are bytes with a length, not strings; macros that write initializers name fields; tables of words may have padding.
checks+=',-bugprone-not-null-terminated-result,-bugprone-macro-parentheses,-clang-analyzer-optin.performance.Padding'
flags=(-Iinclude -D_GNU_SOURCE '-DPGUNISON_VERSION="lint"' -I/usr/include/postgresql -std=c11)
jobs=${JOBS:-$(nproc)}
mapfile -t sources < <(find src -name '*.c' | sort)
mapfile -t all < <(find src include test -name '*.[ch]' | sort)
bad=$(mktemp)
trap 'rm -f "$bad"' EXIT
export checks bad
# One file a process: the analyzer carries what it thinks of va_list from one file over to the next.
# shellcheck disable=SC2016
printf '%s\n' "${sources[@]}" | xargs -P "$jobs" -I{} bash -c 'file=$1; shift
    clang-tidy --quiet --checks="$checks" --warnings-as-errors="*" "$file" -- "$@" 2> >(grep -v "warnings\? generated" >&2) || echo "$file" >>"$bad"' \
    - {} "${flags[@]}"
# shellcheck disable=SC2016
printf '%s\n' "${all[@]}" | xargs -P "$jobs" -I{} bash -c 'clang-format --dry-run --Werror "$1" || echo "$1" >>"$bad"' - {}
failed=$(wc -l <"$bad")
echo "$((${#sources[@]} + ${#all[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
