#!/usr/bin/env bash
# The demo: four (DEMO_SHARDS) PostgreSQL servers of its own, pgunison in front of them, and pgbench, which knows of one
# PostgreSQL only. demo.sh start | stop | clean. Everything is under demo/, on free ports, and never runs as root.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
demo=$root/demo
shards=${DEMO_SHARDS:-4}
scale=${DEMO_SCALE:-10}
seconds=${DEMO_SECONDS:-20}
port=${DEMO_PORT:-6432}
build=${BUILD:-build}

die() {
    echo "demo: $*" >&2
    exit 1
}

# Servers refuse to be root: it becomes postgres then, in a folder that postgres can reach.
as_server=()
[ "$(id -u)" -ne 0 ] || as_server=(runuser -u postgres --)

# From a folder that it can enter.
server() { (cd "$home" && "${as_server[@]}" "$@"); }

where() { cat "$demo/where" 2>/dev/null; }

# Is the process that a pid file names still ours? The program's path must stand in its command line.
alive() { # pid-file word
    local pid
    pid=$(head -n 1 "$1" 2>/dev/null) && [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$2"
}

stop() {
    local home i data
    home=$(where) || return 0
    if alive "$home/pgunison.pid" "$home/pgunison"; then
        echo "demo: stopping pgunison"
        kill -INT "$(cat "$home/pgunison.pid")"
        for ((i = 0; i < 50; i++)); do
            alive "$home/pgunison.pid" "$home/pgunison" || break
            sleep 0.1
        done
        ! alive "$home/pgunison.pid" "$home/pgunison" || kill -QUIT "$(cat "$home/pgunison.pid")"
    fi
    for data in "$home"/s[0-9]*; do
        if alive "$data/postmaster.pid" "$data "; then
            echo "demo: stopping shard $(basename "$data")"
            server "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null
        fi
    done
}

clean() {
    local home
    stop
    home=$(where) || home=
    case $home in */pgunison-demo* | "$demo"/*) rm -rf "$home" ;; esac
    rm -rf "$demo"
}

free_port() { # from
    local p=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do p=$((p + 1)); done
    echo "$p"
}

bin=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -t/ -k5 -n | tail -n 1)
bin=${bin%/initdb}

case ${1:-start} in
stop)
    stop
    exit 0
    ;;
clean)
    clean
    exit 0
    ;;
start) ;;
*) die "usage: demo.sh start | stop | clean" ;;
esac

[ -n "$bin" ] || die "no PostgreSQL server is installed: make deps"
for n in shards scale seconds port; do
    [[ ${!n} =~ ^[1-9][0-9]*$ ]] || die "${n^^} must be a positive number, not \"${!n}\""
done
began=$(date +%s)
clean
(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && die "something listens on port $port already: make demo PORT=…"

mkdir -p "$demo"
home=$demo/data
mkdir "$home"
if [ ${#as_server[@]} -gt 0 ]; then
    chown postgres: "$home"
    if ! "${as_server[@]}" test -w "$home"; then # below /root, for example
        home=$(mktemp -d /var/tmp/pgunison-demo.XXXXXX)
        chown postgres: "$home"
    fi
fi
echo "$home" >"$demo/where"
cp "$build/pgunison" "$home/pgunison"
trap 'status=$?; [ $status -eq 0 ] || { echo "demo: failed; logs are in $home" >&2; stop >&2; }' EXIT

echo "demo: making $shards shards in $home"
next=5501
{
    printf '[pgunison]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = trust\nmax_client_conn = 200\n' "$port"
    printf 'default_pool_size = 20\npidfile = %s/pgunison.pid\n' "$home"
    printf '\n[database shop]\nshards ='
    for ((i = 0; i < shards; i++)); do printf ' s%d' "$i"; done
    printf '\n'
    for ((i = 0; i < shards; i++)); do
        next=$(free_port "$next")
        printf '\n[shard s%d]\nhost = 127.0.0.1\nport = %d\ndbname = shop\n' "$i" "$next"
        echo "$next" >>"$demo/ports"
        next=$((next + 1))
    done
    printf '\n[tables shop]\npgbench_accounts = hash(aid)\npgbench_tellers = hash(tid)\n'
    printf 'pgbench_branches = hash(bid)\npgbench_history = hash(aid)\n'
} >"$home/pgunison.ini"
echo '"postgres" ""' >"$home/userlist.txt"
chmod 644 "$home/pgunison.ini" "$home/userlist.txt"
chmod 755 "$home/pgunison"

# initdb once; the others are copies of it. The same settings as a default server's but for what two-phase commit needs.
server "$bin/initdb" -D "$home/s0" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$home/initdb.log" || die "initdb failed: $home/initdb.log"
cat >>"$home/s0/postgresql.conf" <<'END'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_prepared_transactions = 100
END
for ((i = 1; i < shards; i++)); do cp -a "$home/s0" "$home/s$i"; done
i=0
while read -r p; do
    echo "port = $p" >>"$home/s$i/postgresql.conf"
    server "$bin/pg_ctl" -D "$home/s$i" -l "$home/s$i/log" -w start >/dev/null || die "shard s$i did not start: $home/s$i/log"
    psql -X -q -h 127.0.0.1 -p "$p" -U postgres -d postgres -c 'CREATE DATABASE shop'
    i=$((i + 1))
done <"$demo/ports"

echo "demo: starting pgunison on 127.0.0.1:$port"
(
    cd "$home"
    exec 9>&- </dev/null >>"$home/pgunison.log" 2>&1
    exec setsid "${as_server[@]}" "$home/pgunison" "$home/pgunison.ini"
) &
for ((i = 0; i < 100; i++)); do
    psql -X -q -h 127.0.0.1 -p "$port" -U postgres -d shop -c 'SELECT 1' >/dev/null 2>&1 && break
    sleep 0.1
done
((i < 100)) || { tail -n 20 "$home/pgunison.log" >&2; die "pgunison did not start"; }

proxy=(-h 127.0.0.1 -p "$port" -U postgres)
ask() { psql -X -q -A -t "${proxy[@]}" -d "${2:-shop}" -c "$1"; }

echo "demo: pgbench -i -s $scale, through the proxy"
"$bin/pgbench" -i -q -s "$scale" "${proxy[@]}" shop 2>&1 | sed 's/^/  /'
counter() { # of SHOW TWO_PHASE, by its column's name
    psql -X -q -A "${proxy[@]}" -d pgunison -c 'SHOW TWO_PHASE' | awk -F '|' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i } NR == 2 { print $at + 0 }'
}
two_before=$(counter two-phase) one_before=$(counter one-phase)
echo "demo: pgbench TPC-B for $seconds s, 16 clients, through the proxy"
"$bin/pgbench" -n -M prepared -c 16 -j 2 -T "$seconds" -P 5 "${proxy[@]}" shop >"$home/pgbench.out" 2> >(sed 's/^/  /' >&2)
two=$(($(counter two-phase) - two_before)) one=$(($(counter one-phase) - one_before))

number() { sed -n "s/^$1 *\([0-9.]*\).*/\1/p" "$home/pgbench.out"; }
transactions=$(number 'number of transactions actually processed:')
accounts=$(ask 'SELECT sum(abalance) FROM pgbench_accounts')
tellers=$(ask 'SELECT sum(tbalance) FROM pgbench_tellers')
branches=$(ask 'SELECT sum(bbalance) FROM pgbench_branches')
history=$(ask 'SELECT sum(delta) FROM pgbench_history')
count=$(ask 'SELECT count(*) FROM pgbench_history')
prepared=0
while read -r p; do
    prepared=$((prepared + $(psql -X -q -A -t -h 127.0.0.1 -p "$p" -U postgres -d shop -c 'SELECT count(*) FROM pg_prepared_xacts')))
done <"$demo/ports"

echo
echo "  rows on each shard:"
i=0
while read -r p; do
    printf '    s%-3d port %-6d pgbench_accounts %s\n' "$i" "$p" \
        "$(psql -X -q -A -t -h 127.0.0.1 -p "$p" -U postgres -d shop -c 'SELECT count(*) FROM pgbench_accounts')"
    i=$((i + 1))
done <"$demo/ports"
cat <<END

  transactions              $transactions
  per second                $(number 'tps =')
  latency, average          $(number 'latency average =') ms
  committed in two phases   $two   (wrote on several shards)
  committed in one phase    $one   (wrote on one shard)
  sum(abalance)             $accounts
  sum(tbalance)             $tellers
  sum(bbalance)             $branches
  sum(delta)                $history
  rows of history           $count
  prepared transactions     $prepared   (left on any shard)
END
[ "$accounts" = "$tellers" ] && [ "$accounts" = "$branches" ] && [ "$accounts" = "$history" ] || die "the balances do not add up"
[ "$count" = "$transactions" ] || die "$transactions transactions were acknowledged, but history has $count rows"
echo
echo "  The balances add up, over $shards shards."
echo
echo "  psql -h 127.0.0.1 -p $port -U postgres shop        the database"
echo "  psql -h 127.0.0.1 -p $port -U postgres pgunison    the console: SHOW SHARDS, SHOW TWO_PHASE"
echo "  configuration and logs: $home"
echo "  make demo-stop ends it, make demo-clean removes it. ($(($(date +%s) - began)) s)"
