#!/usr/bin/env bash
# Installs what is missing of the named groups of Debian packages: build, test, clang, bench.
# Says what it installs. Does nothing, and needs no network, when all of it is there.
set -euo pipefail

default_version() { # of a metapackage: "postgresql" depends on "postgresql-15"
    apt-cache depends "$1" 2>/dev/null | sed -n "s/.*Depends: $1-\([0-9][0-9]*\)\$/\1/p" | head -n 1
}

have_server() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
have_fuzzer() { compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*' >/dev/null; }

packages=()
postgresql=false
for group in "$@"; do
    case $group in
    build) packages+=(gcc make pkg-config libc6-dev libpq-dev libevent-dev libssl-dev libinih-dev libpg-query-dev libprotobuf-c-dev) ;;
    test)
        packages+=(libcmocka-dev python3-pytest python3-psycopg2 libfaketime)
        have_server || postgresql=true
        command -v psql >/dev/null || packages+=(postgresql-client)
        ;;
    clang) packages+=(clang clang-tidy clang-format) ;;
    bench) packages+=(pgbouncer valgrind strace openssl python3-matplotlib) ;;
    *)
        echo "deps: no such group: $group" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "deps: this system has no apt-get. Install what these packages of Debian 12 hold: ${packages[*]} postgresql"
    exit 0
fi

missing_of() {
    local p
    for p in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || printf '%s\n' "$p"
    done
}
mapfile -t missing < <(missing_of "${packages[@]}")
fuzzer=false
case " $* " in *" clang "*) have_fuzzer || fuzzer=true ;; esac
if [ ${#missing[@]} -eq 0 ] && ! $postgresql && ! $fuzzer; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: missing: ${missing[*]}$($postgresql && echo ' postgresql'). Run 'make deps' as root, or install sudo." >&2
        exit 1
    fi
    as_root=(sudo)
fi

update() { "${as_root[@]}" apt-get -q update; }
compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || update
if $postgresql; then
    version=$(default_version postgresql)
    missing+=("postgresql-${version:-15}")
fi
if $fuzzer; then
    version=$(default_version clang)
    missing+=("libclang-rt-${version:-14}-dev")
fi
echo "deps: installing ${missing[*]}"

# Servers are wanted as programs, not as services: no cluster "main" on port 5432 and no PgBouncer on 6432. Both
# settings stand only while apt-get runs, and a policy-rc.d or cluster that is there already is left alone.
dropin=/etc/postgresql-common/createcluster.d/pgunison-deps.conf
policy=/usr/sbin/policy-rc.d
undo=()
cleanup() {
    [ ${#undo[@]} -eq 0 ] || "${as_root[@]}" rm -f "${undo[@]}"
}
trap cleanup EXIT

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"
}
install_all() {
    if $postgresql; then
        install postgresql-common || return 1
        "${as_root[@]}" mkdir -p "${dropin%/*}"
        echo 'create_main_cluster = off' | "${as_root[@]}" tee "$dropin" >/dev/null
        undo+=("$dropin")
    fi
    install "${missing[@]}"
}
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    undo+=("$policy")
fi
if ! install_all; then
    echo "deps: trying again with fresh package lists"
    update
    install_all
fi
if [[ " ${missing[*]} " == *" pgbouncer "* ]] && command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl disable --now pgbouncer >/dev/null 2>&1 || true
fi
