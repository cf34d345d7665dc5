#!/usr/bin/env bash
# A Redis for tests and the demo: on 127.0.0.1 only, append-only, never evicting. Its data, log and pid file are in DIR. A Sentinel too.
# It must not touch a Redis that it did not start, or one that belongs to another DIR.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$HERE/lib.sh"

READY_SECONDS=20
SERVER=redis
STOP_SECONDS=10

usage() {
    cat <<'TEXT'
usage: redis.sh start DIR PORT [--OPTION VALUE…]   starts a server, returns when it answers; the options are redis-server's
       redis.sh sentinel DIR PORT NAME MASTER_PORT [LINE…]   starts a Sentinel, which watches the primary on MASTER_PORT of 127.0.0.1 as NAME
       redis.sh stop DIR                           stops it with SIGTERM, so that it can be restarted with its data
       redis.sh kill DIR                           kills it with SIGKILL, as a crash would

TLS: --tls-port PORT --tls-cert-file CERTS/server.pem --tls-key-file CERTS/server.key --tls-ca-cert-file CERTS/ca.pem, with CERTS from certs.sh; it
then also requires a client certificate, unless --tls-auth-clients no. PORT stays plaintext.
A clock that jumps: with clock.c compiled as DIR/clock.so, the server's clock is ahead by the seconds in DIR/clock.
A replica: --replicaof "127.0.0.1 PORT".
A Sentinel agrees with itself (quorum 1) that a primary is down after 1 s. Each LINE is one of sentinel.conf, such as "requirepass secret".
Sentinel keeps its state in DIR/sentinel.conf: at its next start in DIR that file is used, and NAME, MASTER_PORT and LINE are not.
TEXT
}

start() {
    local dir=$1 port=$2 shifted=()
    shift 2
    check_start "$dir" "$port"

    cd "$dir" # server_pid recognises the server by its working folder
    [[ ! -e clock.so ]] || shifted=(env "LD_PRELOAD=$dir/clock.so" "SCAN_CLOCK=$dir/clock")
    start_detached redis.pid redis.out "${shifted[@]}" redis-server --bind 127.0.0.1 --port "$port" --dir "$dir" --daemonize no \
        --logfile "$dir/redis.log" --appendonly yes --save "" --maxmemory-policy noeviction "$@"
    wait_ready "$dir" "$port"
}

sentinel() {
    local dir=$1 port=$2 name=$3 master=$4
    shift 4
    check_start "$dir" "$port"
    check_port "$master"

    cd "$dir"
    [[ -s sentinel.conf ]] || {
        cat <<SETTINGS
sentinel monitor $name 127.0.0.1 $master 1
sentinel down-after-milliseconds $name 1000
sentinel failover-timeout $name 3000
SETTINGS
        [[ $# -eq 0 ]] || printf '%s\n' "$@"
    } >sentinel.conf
    start_detached redis.pid redis.out redis-server "$dir/sentinel.conf" --sentinel --bind 127.0.0.1 --port "$port" --dir "$dir" \
        --daemonize no --logfile "$dir/redis.log"
    wait_ready "$dir" "$port"
}

# check_start DIR PORT: whether a server can be started there.
check_start() {
    check_port "$2"
    need redis-server redis-cli setsid
    [[ -z $(server_pid "$1") ]] || die "a Redis already runs in $1 (pid $(server_pid "$1")); redis.sh stop $1 ends it"
    ! port_is_open "$2" || die "port $2 of 127.0.0.1 is taken; choose another"
}

# Any answer except "loading" is sufficient; a server that requires a password answers too.
wait_ready() {
    local dir=$1 port=$2 answer end=$((SECONDS + READY_SECONDS))
    while true; do
        answer=$(redis-cli -h 127.0.0.1 -p "$port" ping 2>&1) || true
        case "$answer" in PONG | NOAUTH*) return ;; esac
        [[ -n $(server_pid "$dir") ]] || give_up "$dir" "Redis exited during its start"
        ((SECONDS < end)) || give_up "$dir" "Redis was not ready within $READY_SECONDS s"
        sleep 0.05
    done
}

# The pid of this folder's server, if it runs. Redis rewrites its command line, so its working folder distinguishes it from another process
# with a reused pid.
server_pid() {
    local pid
    pid=$(pid_in "$1/redis.pid")
    [[ -z $pid || $(readlink "/proc/$pid/cwd") != "$1" ]] || printf '%s\n' "$pid"
}

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage; exit 0; }
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
sentinel)
    [[ $# -ge 3 ]] || die "sentinel needs DIR, PORT, NAME and MASTER_PORT"
    sentinel "$DIR" "$@"
    ;;
stop) stop_server "$DIR" ;;
kill) kill_server "$DIR" ;;
*)
    usage >&2
    exit 2
    ;;
esac
