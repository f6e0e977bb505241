#!/usr/bin/env bash
# `make check-sim`: BUILD, SIM_SCHEDULES, SIM_SEED, SIM_JOBS and SIM_BUG_SECONDS come from the environment, the numbers of the
# seeded bugs are the arguments. SIM_JOBS jobs run at a time; each leaves a line that begins with "ok" or "FAIL", and the
# lines are counted at the end.
set -uo pipefail
export dir=$BUILD/sim SIM_SCHEDULES SIM_SEED SIM_JOBS SIM_BUG_SECONDS
sim=$dir/sim
export sim

# Wraps around at 64 bits, as the simulator's own sum does.
sum_of_digests() {
    local sum=0 digest
    for digest in $(sed -n 's/^.*digest \([0-9a-f]*\),.*$/\1/p' "$@"); do sum=$((sum + 16#$digest)); done
    printf '%016x\n' "$sum"
}

share() { # one of SIM_JOBS shares of everything
    local out=$dir/share_$1.out
    if "$sim" --schedules "$SIM_SCHEDULES" "$SIM_SEED" "$1" "$SIM_JOBS" >"$out" 2>&1; then
        echo "ok share $1 of $SIM_JOBS: $(tail -n 1 "$out")"
    else
        echo "FAIL share $1 of $SIM_JOBS:"
        cat "$out"
    fi
}

# Shares make the runs that one process makes, each once: as many, with the same sum of what they were and came to.
shares_are_whole() {
    local i
    "$sim" --quick >"$dir/whole.out"
    for i in 0 1 2; do "$sim" --quick "$i" 3 >"$dir/third_$i.out"; done
    local whole parts
    whole=$(sed -n 's/^sim: \([0-9]*\) runs.*$/\1/p' "$dir/whole.out") parts=0
    for i in $(sed -n 's/^sim: \([0-9]*\) runs.*$/\1/p' "$dir"/third_?.out); do parts=$((parts + i)); done
    if [ "$whole" -gt 1000 ] && [ "$whole" = "$parts" ] &&
        [ "$(sum_of_digests "$dir/whole.out")" = "$(sum_of_digests "$dir"/third_?.out)" ]; then
        echo "ok $whole runs in three shares are the same runs"
    else
        echo "FAIL $whole runs in three shares: $parts runs, or not the same"
    fi
}

bug() { # is noticed, in time, and again when what was noticed is replayed
    local out=$dir/bug_$1.out replay began=$SECONDS
    timeout --kill-after=5 "$SIM_BUG_SECONDS" "$dir/bug_$1" --expect-failure >"$out" 2>&1
    case $? in
    0) ;;
    124 | 137)
        echo "FAIL seeded bug $1: not noticed in $SIM_BUG_SECONDS s"
        return
        ;;
    *)
        echo "FAIL seeded bug $1: NOT NOTICED"
        return
        ;;
    esac
    read -r -a replay <<<"$(sed -n 's/^.*replay: sim //p' "$out" | head -n 1)"
    if [ ${#replay[@]} -eq 0 ] || "$dir/bug_$1" "${replay[@]}" >"$out.replay" 2>&1; then
        echo "FAIL seeded bug $1: noticed, but the replay is another run: $(head -n 2 "$out")"
    else
        echo "ok seeded bug $1: noticed in $((SECONDS - began)) s: $(head -n 1 "$out")"
    fi
}

seed() { # of a random schedule
    local seed
    seed=$("$dir/bug_1" --random 1000 | sed -n 's/^  replay: sim --seed //p' | head -n 1)
    if [ -n "$seed" ] && ! "$dir/bug_1" --seed "$seed" >"$dir/seed.out" && grep -q FAILED "$dir/seed.out"; then
        echo "ok seed $seed of seeded bug 1 fails again when it is replayed"
    else
        echo "FAIL a failing seed of seeded bug 1 does not replay"
    fi
}
export -f sum_of_digests share shares_are_whole bug seed

log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
    for ((i = 0; i < SIM_JOBS; i++)); do echo "share $i"; done
    for i in "$@"; do echo "bug $i"; done
    echo seed
    echo shares_are_whole
} | xargs -P "$SIM_JOBS" -I{} bash -c '{}' | tee "$log"
passed=$(grep -c '^ok ' "$log") failed=$(grep -c '^FAIL ' "$log")
expected=$((SIM_JOBS + $# + 2))
[ $((passed + failed)) -eq "$expected" ] || failed=$((failed + expected - passed - failed)) # a job that died
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
