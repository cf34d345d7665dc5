#!/usr/bin/env bash
# A Postgres for tests: on 127.0.0.1 with passwords and TLS, and on a socket in DIR. Its data, log and pid file are in DIR.
# It must not touch a Postgres that it did not start, such as the distribution's cluster, or one that belongs to another DIR.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$HERE/lib.sh"

READY_SECONDS=60
SERVER=postgres
STOP_SECONDS=20
# The only user, a superuser.
ROLE=scan
PASSWORD=postgres-s3cret

usage() {
    cat <<'TEXT'
usage: postgres.sh check                      whether its programs are installed
       postgres.sh start DIR PORT [KEY=VALUE…]   starts a server, returns when it answers; KEY=VALUE are settings of postgresql.conf
       postgres.sh stop DIR                   stops it and closes its connections; it can be restarted with its data
       postgres.sh kill DIR                   kills all of its processes with SIGKILL, as a crash would
       postgres.sh psql DIR ARGS…             runs psql on it through its socket: psql DIR -d postgres -c 'select 1'. With -d postgres://… as the URL says

start prints four lines: "url URL", "password-file FILE", "ca FILE" and "socket FOLDER". The only user is scan, a superuser: with its password on
127.0.0.1, over TLS or not, and without one on the socket, which is open to the server's user and root. The certificate is valid for localhost and
127.0.0.1; with the settings ssl_cert_file=wrong-host.crt ssl_key_file=wrong-host.key for other.invalid only.

Postgres refuses to run as root. root starts it as the user postgres, or nobody if there is none, and DIR must then be below the temporary folder:
the folders above DIR that this user cannot enter are opened for its group.
TEXT
}

# --- start

start() {
    local dir=$1 port=$2
    shift 2
    check_port "$port"
    check_programs
    [[ -z $(server_pid "$dir") ]] || die "a Postgres already runs in $dir (pid $(server_pid "$dir")); postgres.sh stop $dir ends it"
    ! port_is_open "$port" || die "port $port of 127.0.0.1 is taken; choose another"

    make_reachable "$dir"
    cd "$dir" # the server's user can enter it, unlike perhaps the current one
    [[ -s data/PG_VERSION ]] || create "$dir"
    write_settings "$dir" "$port" "$@"
    start_detached postgres.pid postgres.out "${AS_SERVER[@]}" "$BIN/postgres" -D "$dir/data"
    wait_ready "$dir" "$port"
    printf '%s\n' "url postgres://$ROLE@127.0.0.1:$port/postgres" "password-file $dir/password" "ca $dir/certs/ca.pem" "socket $dir/socket"
}

# Opens DIR, and each folder above it, to the server's user. Only private folders below the temporary one are changed.
make_reachable() {
    local temporary folder=$1 above=()
    while [[ $folder != / ]]; do
        above=("$folder" "${above[@]}")
        folder=$(dirname "$folder")
    done
    temporary=$(cd "${TMPDIR:-/tmp}" && pwd -P)
    for folder in "${above[@]}"; do
        ! "${AS_SERVER[@]}" test -x "$folder" || continue
        [[ $folder == "$temporary"/* && -O $folder ]] ||
            die "user $(server_user) cannot enter $folder; choose a folder below $temporary"
        chgrp "$(id -g "$(server_user)")" "$folder"
        chmod g=x "$folder"
    done
}

# An interrupted run may have left data without PG_VERSION, or without the rest of it: initdb writes to a folder that is renamed when it is complete.
create() {
    local dir=$1 name log
    rm -rf "$dir/fresh" "$dir/socket"
    (umask 077 && printf '%s\n' "$PASSWORD" >"$dir/password")
    bash "$HERE/certs.sh" "$dir/certs"
    owned_folder "$dir/fresh"
    owned_folder "$dir/socket"
    install -m 600 "$dir/password" "$dir/socket/password" # initdb reads it as the server's user
    give_to_server "$dir/socket/password"
    log=$(LC_ALL=C "${AS_SERVER[@]}" "$BIN/initdb" -D "$dir/fresh" --username="$ROLE" --pwfile="$dir/socket/password" --encoding=UTF8 \
        --locale=C --auth-local=trust --auth-host=scram-sha-256 --no-sync --no-instructions 2>&1) || die "initdb failed: $log"
    rm "$dir/socket/password"
    for name in server wrong-host; do
        install -m 600 "$dir/certs/$name.pem" "$dir/fresh/$name.crt"
        install -m 600 "$dir/certs/$name.key" "$dir/fresh/$name.key"
        give_to_server "$dir/fresh/$name.crt" "$dir/fresh/$name.key"
    done
    printf '%s\n' 'local all all trust' 'host all all 127.0.0.1/32 scram-sha-256' >"$dir/fresh/pg_hba.conf"
    mv -T "$dir/fresh" "$dir/data"
}

owned_folder() {
    mkdir -m 700 "$1"
    give_to_server "$1"
}

give_to_server() {
    [[ $EUID -ne 0 ]] || chown "$(server_user):" "$@"
}

# Later lines override earlier ones, so the caller's settings come last. Shared memory other than the interlock is in files, which a kill leaves in
# the data and not in the system. fsync stays on, because tests kill the server.
write_settings() {
    local dir=$1 port=$2 setting
    shift 2
    for setting in "$@"; do
        [[ $setting == ?*=* ]] || die "'$setting' is not a setting of the form KEY=VALUE, such as max_connections=5"
    done
    {
        cat <<SETTINGS
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$dir/socket'
unix_socket_permissions = 0700
password_encryption = scram-sha-256
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
max_connections = 60
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
max_wal_size = 256MB
fsync = on
timezone = UTC
log_timezone = UTC
SETTINGS
        for setting in "$@"; do printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"; done
    } >"$dir/data/postgresql.conf"
}

# After a crash it first recovers, and until then refuses connections.
wait_ready() {
    local dir=$1 port=$2 end=$((SECONDS + READY_SECONDS))
    until "$BIN/pg_isready" -q -h 127.0.0.1 -p "$port" -t 1; do
        [[ -n $(server_pid "$dir") ]] || give_up "$dir" "Postgres exited during its start"
        ((SECONDS < end)) || give_up "$dir" "Postgres was not ready within $READY_SECONDS s"
        sleep 0.05
    done
}

# --- programs and user

# Sets BIN, and AS_SERVER, which precedes a command that must not run as root.
check_programs() {
    BIN=$(postgres_bin)
    [[ -n $BIN ]] || die "missing: Postgres; tests/support/setup.sh installs it"
    need setpriv setsid openssl
    AS_SERVER=()
    [[ $EUID -ne 0 ]] || AS_SERVER=(setpriv "--reuid=$(server_user)" "--regid=$(id -g "$(server_user)")" --clear-groups --)
}

server_user() {
    if [[ $EUID -ne 0 ]]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        printf 'postgres\n'
    else
        printf 'nobody\n'
    fi
}

# The pid of this folder's server, if it runs. The word distinguishes it from another process with a reused pid.
server_pid() {
    local pid
    pid=$(pid_in "$1/postgres.pid")
    [[ -z $pid ]] || ! has_word "$pid" "$1/data" || printf '%s\n' "$pid"
}

# --- stop and kill

# With SIGINT: after SIGTERM alone it would wait until every client has disconnected.
stop() {
    local pid
    pid=$(server_pid "$1")
    [[ -z $pid ]] || kill -INT "$pid" 2>/dev/null || true
    stop_server "$1"
    remove_traces "$1"
}

# Its children too, so that nothing of it runs when this returns: they would notice later, and until then a restart would be refused.
kill_all() {
    local pid child children=()
    pid=$(server_pid "$1")
    [[ -z $pid ]] || kill -STOP "$pid" # so that it starts no more of them
    [[ -z $pid ]] || mapfile -t children < <(cat "/proc/$pid/task/"*/children 2>/dev/null | tr ' ' '\n' | grep .)
    kill_server "$1"
    for child in "${children[@]}"; do
        kill -KILL "$child" 2>/dev/null || true
    done
    for child in "${children[@]}"; do
        wait_gone "$child" 5 || die "pid $child of the Postgres of $1 does not end"
    done
    remove_traces "$1"
}

# What a killed server leaves behind besides its data: lock files, which forbid a restart for as long as nobody has reaped the zombie with that pid,
# and a small shared memory segment, whose key and number are in postmaster.pid.
remove_traces() {
    local key="" id=""
    [[ -r $1/data/postmaster.pid ]] || return 0
    read -r key id < <(sed -n 7p "$1/data/postmaster.pid") || true
    ! awk -v key="$key" -v id="$id" '$1 == key && $2 == id && $7 == 0 { found = 1 } END { exit !found }' /proc/sysvipc/shm ||
        ipcrm -m "$id"
    rm -f "$1/data/postmaster.pid" "$1/socket/".s.PGSQL.*
}

# --- psql

run_psql() {
    local dir=$1 port
    shift
    check_programs
    port=$(sed -n 's/^port = //p' "$dir/data/postgresql.conf" | tail -n 1)
    PGPASSFILE=/dev/null PGPASSWORD=$(<"$dir/password") "$BIN/psql" --no-psqlrc --no-password --quiet --no-align --tuples-only \
        -v ON_ERROR_STOP=1 -h "$dir/socket" -p "$port" -U "$ROLE" "$@"
}

# --- the command line

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage; exit 0; }
[[ "${1:-}" != check ]] || { check_programs; exit 0; }
[[ $# -ge 2 ]] || { usage >&2; exit 2; }
COMMAND=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd -P)
shift 2
case "$COMMAND" in
start)
    [[ $# -ge 1 ]] || die "start needs DIR and PORT"
    start "$DIR" "$@"
    ;;
stop) stop "$DIR" ;;
kill) kill_all "$DIR" ;;
psql) run_psql "$DIR" "$@" ;;
*)
    usage >&2
    exit 2
    ;;
esac
