#!/usr/bin/env bash
# Runs the whole system on one machine: Kafka, Redis, a lab with a network to scan, two servers, a web page with a database, two pushes, a live
# view, and a check of the results. Exits with 0 only if each server completed one task and every address was found.
# scand and scanpush connect with KAFKA_FLAGS and REDIS_FLAGS. The script's own reads, with redis-cli and kcat, use the plaintext ports.
# It must not scan outside the lab, use a port or container that it did not create, or leave anything behind, however it ends.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$ROOT"
# shellcheck source=tests/support/lib.sh
source tests/support/lib.sh

# rustup adds cargo's folder to the shell's profile, which scripts do not read.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
export PATH LC_ALL=C

GROUP=scanners
SERVERS=(scand-a scand-b)
NETWORKS=(172.16.0.0/24 172.16.1.0/24)
PORT=443
RATE_PPS=800
REGISTER_SECONDS=30 # until both servers are registered in Redis
SCAN_SECONDS=120    # until both tasks have ended
DRAIN_SECONDS=10    # until a server has drained
PAGE_SECONDS=20     # until the web page answers
STORE_SECONDS=30    # until the database has what the finished tasks have found
SERVICES_SHOWN=4    # of each network, from the database
PLAIN_SECONDS=3     # between two progress lines of a task if stdout is not a terminal
BIN=${CARGO_TARGET_DIR:-target}/release

DIR="" KAFKA_PORT="" REDIS_PORT="" PAGE="" KEEP=false NATIVE=false SECURE=false STAYS=false DRAWN=false
KAFKA_FLAGS=() REDIS_FLAGS=() # how scand and scanpush connect
IDS=()
# For kafka.sh and docker-compose.yml.
export SCAN_KAFKA_VERSION=${KAFKA_VERSIONS[0]}

usage() {
    cat <<'TEXT'
usage: ./run-demo.sh [OPTION…]    runs the demo; needs root to create network namespaces
       ./run-demo.sh --stop DIR   stops what a run with --keep has left running
       ./run-demo.sh --help

  --keep        leave everything running, and print commands to try
  --native      run Kafka and Redis as processes, even if docker is available
  --kafka 3|4   Kafka 3.9.1 (default) or 4.4.0; scand and scanpush choose a client library that supports it
  --secure      connect with TLS, user and password: SCRAM-SHA-512 for Kafka, an ACL user for Redis; implies --native

It installs what is missing (apt, Maven Central), builds, and stops everything that it started, however it ends.
Exit code: 0 if each server completed one task and all findings are there, 1 if not, 130 after Ctrl-C.
TEXT
}

main() {
    while [[ $# -gt 0 ]]; do
        case "$1" in
        --keep) KEEP=true ;;
        --native) NATIVE=true ;;
        --secure) SECURE=true NATIVE=true ;;
        --kafka)
            SCAN_KAFKA_VERSION=$(version_of_kafka "${2:-}") || refuse "--kafka must be followed by 3 or 4"
            shift
            ;;
        --stop)
            [[ $# -eq 2 ]] || refuse "--stop needs exactly one argument: the folder of a demo"
            stop_kept "$2"
            return
            ;;
        -h | --help)
            usage
            return
            ;;
        *) refuse "unknown argument '$1'" ;;
        esac
        shift
    done
    demo
}

version_of_kafka() {
    local version
    for version in "${KAFKA_VERSIONS[@]}"; do
        [[ ${version%%.*} != "$1" ]] || { printf '%s\n' "$version" && return; }
    done
    return 1
}

refuse() {
    printf 'run-demo.sh: %s\n' "$1" >&2
    usage >&2
    exit 2
}

demo() {
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    trap 'exit 141' PIPE
    # First, because everything else needs it.
    tests/support/lab.sh check || die "nothing was installed or started. If root has no cargo: sudo env \"PATH=\$PATH\" \"HOME=\$HOME\" ./run-demo.sh"
    step "Installing missing requirements and building"
    tests/support/setup.sh
    cargo build --release

    trap clean_up EXIT
    DIR=$(mktemp -d "${TMPDIR:-/tmp}/scan-demo-XXXXXX")
    name_of_demo "$DIR" >"$DIR/lab.name"
    step "Logs go to $DIR"
    start_services
    start_lab
    start_servers
    start_page
    push_tasks
    watch_tasks
    check_result
}

step() {
    printf '\n== %s\n' "$*"
}

# --- services

start_services() {
    KAFKA_PORT=$(free_port)
    REDIS_PORT=$(free_port)
    while [[ $REDIS_PORT == "$KAFKA_PORT" ]]; do REDIS_PORT=$(free_port); done
    KAFKA_FLAGS=(-kafka "127.0.0.1:$KAFKA_PORT")
    REDIS_FLAGS=(-redis "redis://127.0.0.1:$REDIS_PORT")
    if $SECURE; then
        start_secured_services
    elif $NATIVE || ! docker_answers || ! start_containers; then
        step "Kafka $SCAN_KAFKA_VERSION on 127.0.0.1:$KAFKA_PORT and Redis on 127.0.0.1:$REDIS_PORT, as processes"
        tests/support/redis.sh start "$DIR/redis" "$REDIS_PORT"
        tests/support/kafka.sh start "$DIR/kafka" "$KAFKA_PORT"
    fi
    step "scand and scanpush connect with these flags, which the commands below omit"
    printf '%s\n' "${KAFKA_FLAGS[*]}" "${REDIS_FLAGS[*]}"
}

start_containers() {
    step "Kafka $SCAN_KAFKA_VERSION on 127.0.0.1:$KAFKA_PORT and Redis on 127.0.0.1:$REDIS_PORT, with docker compose"
    name_of_demo "$DIR" >"$DIR/compose"
    ! compose "$DIR" up -d --wait kafka redis || return 0
    printf 'docker compose could not start them; starting processes instead\n'
    compose "$DIR" down -v || true
    rm -f "$DIR/compose"
    return 1
}

# Both keep their plaintext ports, for the script's own reads.
start_secured_services() {
    local certs=$DIR/certs tls_port=$KAFKA_PORT sasl_port
    while [[ $tls_port == "$KAFKA_PORT" || $tls_port == "$REDIS_PORT" ]]; do tls_port=$(free_port); done
    step "Certificates, Kafka $SCAN_KAFKA_VERSION and Redis with TLS on 127.0.0.1, as processes"
    tests/support/certs.sh "$certs"
    tests/support/redis.sh start "$DIR/redis" "$REDIS_PORT" --tls-port "$tls_port" --tls-cert-file "$certs/server.pem" \
        --tls-key-file "$certs/server.key" --tls-ca-cert-file "$certs/ca.pem" --tls-auth-clients no
    tests/support/kafka.sh start-secured "$DIR/kafka" "$KAFKA_PORT" "$certs"
    sasl_port=$(sed -n 's/^SASL_SSL //p' "$DIR/kafka/listeners")

    write_password "$DIR/kafka.password" scan-s3cret # that of kafka.sh
    write_password "$DIR/redis.password" "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
    create_redis_user "$DIR/redis.password"
    KAFKA_FLAGS=(-kafka "localhost:$sasl_port" -kafka-ca "$certs/ca.pem"
        -kafka-sasl SCRAM-SHA-512 -kafka-user scan -kafka-password-file "$DIR/kafka.password")
    REDIS_FLAGS=(-redis "rediss://localhost:$tls_port" -redis-ca "$certs/ca.pem"
        -redis-user scan -redis-password-file "$DIR/redis.password")
}

# write_password FILE PASSWORD: only the file's owner may read it.
write_password() {
    (umask 077 && printf '%s\n' "$2" >"$1")
}

# The user "scan" with exactly the documented rights of a server, which are those for the group "scanners". From stdin, because arguments are visible to all
# users of the machine.
create_redis_user() {
    local command answer
    command=$(sed -n 's/^redis-cli acl setuser scan-server /acl setuser scan /p' docs/security.md)
    answer=$(redis <<<"${command/PASSWORD/$(<"$1")}")
    [[ $answer == OK ]] || fail "Redis did not create the user: $answer"
}

docker_answers() {
    { have docker && timeout 10 docker info && timeout 10 docker compose version; } >/dev/null 2>&1
}

# A compose project with its own containers, volumes and ports.
compose() {
    local project
    project=$(cat "$1/compose")
    shift
    SCAN_KAFKA_PORT=$KAFKA_PORT SCAN_REDIS_PORT=$REDIS_PORT docker compose -p "$project" -f "$ROOT/docker-compose.yml" "$@"
}

# The folder's name is unique, so names derived from it are too. docker requires lower case.
name_of_demo() {
    local name=${1##*/}
    printf '%s\n' "${name,,}"
}

start_lab() {
    step "The lab: network namespaces $(name_of_demo "$DIR")-scan and -hosts, with no route out"
    tests/support/lab.sh up "$(name_of_demo "$DIR")" "$DIR/lab" "$PORT"
}

start_servers() {
    local server end=$((SECONDS + REGISTER_SECONDS))
    step "Two servers"
    for server in "${SERVERS[@]}"; do start_server "$server"; done
    for server in "${SERVERS[@]}"; do
        until redis zrange "scan:{$GROUP}:servers" 0 -1 | grep -Fx "$server" >/dev/null; do
            servers_alive
            ((SECONDS < end)) || fail "$server has not registered in Redis within $REGISTER_SECONDS s; its log: $DIR/$server.log"
            sleep 0.1
        done
        printf '%s: %s\n' "$server" "$(grep -o -m 1 'Kafka .*: connected with .*' "$DIR/$server.log" || true)"
    done
}

# In its own session, so that Ctrl-C does not reach it and the script can drain it.
start_server() {
    printf '$ scand -name %s -group %s -masscan %s -allow 172.16.0.0/12 -log-file %s\n' "$1" "$GROUP" "$DIR/lab/masscan" "$DIR/$1.log"
    start_detached "$DIR/$1.pid" "$DIR/$1.out" "$BIN/scand" -name "$1" -group "$GROUP" -masscan "$DIR/lab/masscan" \
        -allow 172.16.0.0/12 -log-file "$DIR/$1.log" "${KAFKA_FLAGS[@]}" "${REDIS_FLAGS[@]}"
}

servers_alive() {
    local server
    for server in "${SERVERS[@]}"; do
        alive "$(pid_in "$DIR/$server.pid")" || fail "$server has ended: $(tail -n 1 "$DIR/$server.out")"
    done
}

# In its own session, as the servers.
start_page() {
    local end=$((SECONDS + PAGE_SECONDS))
    step "The web page, which also fills a database with the findings"
    PAGE=127.0.0.1:$(free_port)
    printf '$ scanpush serve -group %s -db sqlite:%s -http %s\n' "$GROUP" "$DIR/findings.db" "$PAGE"
    start_detached "$DIR/serve.pid" "$DIR/serve.log" "$BIN/scanpush" serve -group "$GROUP" -db "sqlite:$DIR/findings.db" \
        -http "$PAGE" "${KAFKA_FLAGS[@]}" "${REDIS_FLAGS[@]}"
    until grep -q 'the page is at' "$DIR/serve.log"; do
        alive "$(pid_in "$DIR/serve.pid")" || fail "scanpush serve has ended: $(tail -n 1 "$DIR/serve.log")"
        ((SECONDS < end)) || fail "scanpush serve has not started within $PAGE_SECONDS s; its log: $DIR/serve.log"
        sleep 0.1
    done
    printf 'Open http://%s/overview to see both scans\n' "$PAGE"
}

push_tasks() {
    local network id
    step "Two pushes"
    for network in "${NETWORKS[@]}"; do
        printf '$ scanpush -group %s -ip %s -ports %s -bandwidth %s\n' "$GROUP" "$network" "$PORT" "$RATE_PPS"
        id=$("$BIN/scanpush" -group "$GROUP" -ip "$network" -ports "$PORT" -bandwidth "$RATE_PPS" \
            "${KAFKA_FLAGS[@]}" "${REDIS_FLAGS[@]}") || fail "scanpush failed; its error is above"
        [[ $id =~ ^[^[:space:]]+$ ]] || fail "scanpush printed '$id' instead of one task id"
        printf '%s\n' "$id"
        IDS+=("$id")
    done
}

redis() {
    redis-cli -h 127.0.0.1 -p "$REDIS_PORT" --raw "$@" 2>/dev/null || true
}

# --- the live view

watch_tasks() {
    local end=$((SECONDS + SCAN_SECONDS))
    step "Live progress from Redis"
    until view && all_ended; do
        servers_alive
        ((SECONDS < end)) || fail "not done within $SCAN_SECONDS s; the servers' logs are in $DIR"
        sleep 0.3
    done
}

# Sets STATUS, PROGRESS, … from the task's hash in Redis; a missing field is empty.
read_task() {
    local fields
    mapfile -t fields < <(redis hmget "scan:{$GROUP}:task:$1" \
        status progress rate_pps remaining_s found server started_ms finished_ms error)
    STATUS=${fields[0]:-pushed} PROGRESS=${fields[1]:-} RATE=${fields[2]:-} REMAINING=${fields[3]:-} FOUND=${fields[4]:-}
    SERVER=${fields[5]:-} STARTED_MS=${fields[6]:-} FINISHED_MS=${fields[7]:-} ERROR=${fields[8]:-}
}

all_ended() {
    local id
    for id in "${IDS[@]}"; do
        read_task "$id"
        case "$STATUS" in completed | failed | cancelled | rejected) ;; *) return 1 ;; esac
    done
}

# On a terminal the lines are redrawn. Otherwise a line is printed when the task's state has changed or some seconds have passed.
declare -A SHOWN_STATUS=() SHOWN_AT=()
view() {
    local i
    if [[ -t 1 ]]; then
        ! $DRAWN || printf '\033[%dA' "${#IDS[@]}"
        DRAWN=true
    fi
    for i in "${!IDS[@]}"; do
        read_task "${IDS[i]}"
        if [[ -t 1 ]]; then
            printf '\033[2K\033[?7l%s\033[?7h\n' "$(task_line "${NETWORKS[i]}")"
        elif [[ ${SHOWN_STATUS[$i]:-} != "$STATUS" ]] || ((SECONDS >= ${SHOWN_AT[$i]:-0} + PLAIN_SECONDS)); then
            task_line "${NETWORKS[i]}"
            SHOWN_STATUS[$i]=$STATUS SHOWN_AT[$i]=$SECONDS
        fi
    done
}

task_line() {
    printf '%-14s  %-9s  %-8s  %6s %%  %7s pps  %4s s left  %4s found  %s\n' \
        "$1" "$STATUS" "${SERVER:--}" "${PROGRESS:-0}" "${RATE:--}" "${REMAINING:--}" "${FOUND:-0}" "$ERROR"
}

# --- the result

check_result() {
    local wrong=""
    table
    printf '\n'
    check_servers || wrong=yes
    check_findings || wrong=yes
    check_database || wrong=yes
    if $KEEP; then
        STAYS=true
        print_commands
    fi
    [[ -z $wrong ]] || fail "the result is wrong: see above"
    printf '\nOK: each server completed one task, and scan-results and the database have exactly the 256 addresses of each network.\n'
}

table() {
    local i seconds
    step "Results"
    printf '%-22s  %-14s  %-8s  %-9s  %5s  %7s\n' task network server state found seconds
    for i in "${!IDS[@]}"; do
        read_task "${IDS[i]}"
        seconds=-
        [[ -z $STARTED_MS || -z $FINISHED_MS ]] || seconds=$(((FINISHED_MS - STARTED_MS + 50) / 100))
        [[ $seconds == - ]] || seconds=$((seconds / 10)).$((seconds % 10))
        printf '%-22s  %-14s  %-8s  %-9s  %5s  %7s\n' "${IDS[i]}" "${NETWORKS[i]}" "${SERVER:--}" "$STATUS" "${FOUND:-0}" "$seconds"
    done
}

check_servers() {
    local id server count good=true
    declare -A completed=()
    for id in "${IDS[@]}"; do
        read_task "$id"
        if [[ $STATUS == completed ]]; then
            completed[${SERVER:-nobody}]=$((${completed[${SERVER:-nobody}]:-0} + 1))
        else
            complain "task $id is $STATUS${ERROR:+: $ERROR}"
            good=false
        fi
    done
    for server in "${SERVERS[@]}"; do
        count=${completed[$server]:-0}
        [[ $count -eq 1 ]] || { complain "$server completed $count tasks instead of 1" && good=false; }
    done
    $good
}

# Reads the findings with kcat and jq. A finding may appear twice (delivery is at least once), so sets are compared.
check_findings() {
    local i good=true records="$DIR/scan-results.ndjson"
    timeout 30 kcat -C -q -e -b "127.0.0.1:$KAFKA_PORT" -t scan-results -o beginning >"$records" 2>"$DIR/kcat.err" || {
        complain "kcat could not read scan-results: $(tail -n 1 "$DIR/kcat.err")"
        return 1
    }
    jq -r '"\(.task_id) \(.ip):\(.port)/\(.proto)"' "$records" 2>"$DIR/jq.err" | sort -u >"$DIR/found" || {
        complain "scan-results has a record that is not JSON: $(tail -n 1 "$DIR/jq.err")"
        return 1
    }
    for i in "${!IDS[@]}"; do addresses "${NETWORKS[i]}" "${IDS[i]} "; done | sort >"$DIR/expected"
    same "missing in scan-results" -23 || good=false
    same "in scan-results, but not expected" -13 || good=false
    $good
}

# Waits until the database has the findings, and shows the first services of each network.
check_database() {
    local network count good=true db="sqlite:$DIR/findings.db" end=$((SECONDS + STORE_SECONDS))
    step "The findings in the database"
    for network in "${NETWORKS[@]}"; do
        until count=$(services_of "$network" "$db") && [[ $count -eq 256 ]]; do
            ((SECONDS < end)) || break
            sleep 0.2
        done
        printf '\n$ scanpush services -net %s -state open -limit %s -db %s\n' "$network" "$SERVICES_SHOWN" "$db"
        "$BIN/scanpush" services -net "$network" -state open -limit "$SERVICES_SHOWN" -db "$db" || good=false
        printf '(%s services)\n' "$count"
        [[ $count -eq 256 ]] || { complain "the database has $count open services of $network instead of 256" && good=false; }
    done
    $good
}

# services_of NETWORK DATABASE: the number of open services.
services_of() {
    "$BIN/scanpush" services -net "$1" -port "$PORT" -state open -format addresses -db "$2" 2>>"$DIR/services.err" | wc -l
}

# addresses NETWORK PREFIX: the 256 addresses of a /24 in the form of the findings above, each after the prefix.
addresses() {
    local last
    for last in {0..255}; do printf '%s%s.%s:%s/tcp\n' "$2" "${1%.0/24}" "$last" "$PORT"; done
}

same() {
    local different
    different=$(comm "$2" "$DIR/expected" "$DIR/found" | cut -d ' ' -f 2)
    [[ -n $different ]] || return 0
    complain "$1: $(wc -l <<<"$different"): $(head -n 8 <<<"$different" | tr '\n' ' ')…"
    return 1
}

complain() {
    printf 'WRONG: %s\n' "$*"
}

fail() {
    printf 'run-demo.sh: %s\n' "$*" >&2
    exit 1
}

# --- the end

print_commands() {
    cat <<TEXT

Everything is still running. The web page: http://$PAGE/overview
In the lab, all of 172.16.0.0/12 answers on port $PORT. The alias contains the connection flags.
Commands to try:

  alias scanpush='$(cd "$BIN" && pwd)/scanpush ${KAFKA_FLAGS[*]} ${REDIS_FLAGS[*]}'
  scanpush -ip 172.16.16.0/20 -ports $PORT -bandwidth 2000
  scanpush status
  scanpush watch
  scanpush services -db sqlite:$DIR/findings.db
  redis-cli -p $REDIS_PORT --scan --pattern 'scan:*'
  kcat -C -q -e -b 127.0.0.1:$KAFKA_PORT -t scan-results -o beginning | jq -c .
  tail -F $DIR/scand-a.log $DIR/scand-b.log $DIR/serve.log

To stop everything:

  $ROOT/run-demo.sh --stop $DIR
TEXT
}

clean_up() {
    local status=$?
    trap '' INT TERM HUP PIPE # a second Ctrl-C must not interrupt the clean-up
    set +e
    [[ -n $DIR ]] || exit "$status"
    if $STAYS; then
        printf '\nLogs: %s\n' "$DIR"
        exit "$status"
    fi
    printf '\nStopping everything that was started\n'
    stop_all "$DIR"
    printf 'Logs: %s\n' "$DIR"
    exit "$status"
}

stop_kept() {
    local dir
    dir=$(cd "$1" 2>/dev/null && pwd) || refuse "folder $1 does not exist"
    [[ -f $dir/lab.name ]] || refuse "$dir is not the folder of a demo"
    set +e
    stop_all "$dir"
    printf 'Stopped. Logs: %s\n' "$dir"
}

# Uses the pid files and names that this script has written, so it also works after a run was killed. Servers are stopped first, because they
# write to Kafka and Redis while they drain.
stop_all() {
    local dir=$1 server pid pids=()
    for server in "${SERVERS[@]}"; do
        pid=$(pid_in "$dir/$server.pid")
        [[ -z $pid ]] || ! has_word "$pid" "$dir/$server.log" || pids+=("$pid")
    done
    pid=$(pid_in "$dir/serve.pid")
    [[ -z $pid ]] || ! has_word "$pid" "sqlite:$dir/findings.db" || pids+=("$pid")
    end_pids "$DRAIN_SECONDS" "${pids[@]}"
    [[ ! -f $dir/lab.name ]] || tests/support/lab.sh down "$(cat "$dir/lab.name")" "$dir/lab"
    [[ ! -f $dir/compose ]] || compose "$dir" down -v
    [[ ! -d $dir/kafka ]] || tests/support/kafka.sh stop "$dir/kafka"
    [[ ! -d $dir/redis ]] || tests/support/redis.sh stop "$dir/redis"
    rm -rf "$dir/kafka/data" "$dir/redis/appendonlydir" "$dir/certs" "$dir/kafka.password" "$dir/redis.password"
}

main "$@"
