#!/usr/bin/env bash
# `make check-conversation`: BUILD and JOBS come from the environment. Shares of all runs side by side, then each bug of the program SEEDED,
# if it is given, which must be noticed within BUG_SECONDS. Ends with "N passed, N failed", in runs and bugs.
set -uo pipefail
dir=$BUILD/conversation passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
seq 0 $((JOBS - 1)) | xargs -P "$JOBS" -I{} "$dir/conversation" {} "$JOBS" | tee "$log" | grep -v -E '^[0-9]+ passed, [0-9]+ failed$'
while read -r p _ f _; do
    passed=$((passed + p)) failed=$((failed + f))
done < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log")
shares=$(grep -c -E '^[0-9]+ passed, [0-9]+ failed$' "$log")
[ "$shares" -eq "$JOBS" ] || failed=$((failed + JOBS - shares)) # a share that died

bug() {
    timeout --kill-after=5 "$BUG_SECONDS" "$SEEDED" --seeded "$1" >"$BUILD/conversation/bug_$1.out" 2>&1
    # A wrong session may also meet an assertion of the product's.
    case $? in
    0 | 134) echo "ok seeded bug $1: $(head -n 1 "$BUILD/conversation/bug_$1.out")" ;;
    *) echo "FAIL seeded bug $1: not noticed" ;;
    esac
}
export -f bug
export BUILD BUG_SECONDS SEEDED
bugs=0 noticed=0
if [ -n "$SEEDED" ]; then
    bugs=$("$SEEDED" --bugs)
    seq 1 "$bugs" | xargs -P "$JOBS" -I{} bash -c 'bug {}' | tee "$log"
    noticed=$(grep -c '^ok' "$log")
fi
echo "$((passed + noticed)) passed, $((failed + bugs - noticed)) failed"
[ $((failed + bugs - noticed)) -eq 0 ]
