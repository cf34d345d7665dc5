#!/usr/bin/env bash
# Compares scand with masscan alone, measures its memory with many findings, compares the two Kafka clients, and measures `scanpush store` beside
# the import of the same rows by the databases themselves, and the pages of the web page on a large database; prints tables.
#   benches/run.sh [speed|memory|burst|clients|store|page]…   default: speed and memory, about four minutes after the build; the others take about three
#   `FINDINGS=1000000 benches/run.sh memory` and `CLIENT_ROUNDS=1 CLIENT_IDLE_SECONDS=5 benches/run.sh clients` for shorter runs;
#   `STORE_FINDINGS=10000000 benches/run.sh store` for flat memory; `PAGE_SERVICES=100000 PAGE_TASKS=2000 benches/run.sh page` for a short run
# It fails only if a scan fails, not because of the numbers: they depend on the machine and its load.
# masscan runs in a lab; the many findings come from the stand-in, which sends nothing. Everything that it starts is stopped at the end.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/support/lib.sh
source "$ROOT/tests/support/lib.sh"
SUPPORT=$ROOT/tests/support
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
SCAN_TOOLS=${SCAN_TOOLS:-$ROOT/target/tools}
export PATH SCAN_TOOLS

RATE=10000                # packets per second, for both
NETWORK=172.20.0.0/18     # × 10 ports, of which one is open: 163840 probes, 16384 findings
PORTS=443,9001-9009
ROUNDS=${ROUNDS:-3}
FINDINGS=${FINDINGS:-10000000}
FINDINGS_PPS=${FINDINGS_PPS:-100000}
BURST_RUNS=${BURST_RUNS:-10}
BURST_SECONDS=${BURST_SECONDS:-30}
CLIENT_ROUNDS=${CLIENT_ROUNDS:-5}
CLIENT_FINDINGS=200000    # of each round; they fit into the buffer of scand (-buffer), otherwise the scan would be suspended
CLIENT_PPS=1000000        # more than any client can take
CLIENT_PUSHES=${CLIENT_PUSHES:-10}
CLIENT_IDLE_SECONDS=${CLIENT_IDLE_SECONDS:-30}
STORE_FINDINGS=${STORE_FINDINGS:-1000000} # at most 16777216: one /8
PAGE_SERVICES=${PAGE_SERVICES:-5000000}
PAGE_TASKS=${PAGE_TASKS:-100000}
WAIT_S=2
DONE_SECONDS=600          # timeout of a scan

main() {
    local what
    [[ $# -gt 0 ]] || set -- speed memory
    for what in "$@"; do [[ $what =~ ^(speed|memory|burst|clients|store|page)$ ]] || die "unknown measurement '$what': speed, memory, burst, clients, store or page"; done
    "$SUPPORT/setup.sh"
    (cd "$ROOT" && cargo build --release --bins --examples)
    BIN=$(cd "$ROOT" && cargo metadata --no-deps --format-version 1 | jq -r .target_directory)/release
    begin
    for what in "$@"; do "$what"; done
}

# --- services

begin() {
    DIR=$(mktemp -d /tmp/scan-bench-XXXXXX)
    LAB=bench$$ SERVER=
    CLIENT=() # flags about the Kafka client
    trap end EXIT
    trap 'exit 130' INT TERM
    KAFKA=$(free_port) REDIS=$(free_port)
    start_kafka "$DIR/kafka" "$KAFKA" "${KAFKA_VERSIONS[0]}"
    "$SUPPORT/redis.sh" start "$DIR/redis" "$REDIS"
}

# start_kafka DIR PORT VERSION: segments are deleted as soon as they are closed, so that ten million findings do not fill the disk.
start_kafka() {
    SCAN_KAFKA_VERSION=$3 "$SUPPORT/kafka.sh" start "$1" "$2" log.retention.bytes=268435456 log.segment.bytes=67108864 \
        log.retention.check.interval.ms=2000
}

end() {
    [[ -z $SERVER ]] || end_pids 15 "$SERVER" || true
    "$SUPPORT/kafka.sh" kill "$DIR/kafka" || true
    [[ ! -d $DIR/kafka-4 ]] || "$SUPPORT/kafka.sh" kill "$DIR/kafka-4" || true
    [[ ! -d $DIR/kafka-store ]] || "$SUPPORT/kafka.sh" kill "$DIR/kafka-store" || true
    [[ ! -d $DIR/postgres ]] || "$SUPPORT/postgres.sh" kill "$DIR/postgres" || true
    [[ ! -d $DIR/postgres-page ]] || "$SUPPORT/postgres.sh" kill "$DIR/postgres-page" || true
    "$SUPPORT/redis.sh" kill "$DIR/redis" || true
    [[ ! -d $DIR/lab ]] || "$SUPPORT/lab.sh" down "$LAB" "$DIR/lab" || true
    rm -rf "$DIR"
}

# server GROUP MASSCAN: starts a scand with its own topics.
server() {
    local group=$1 end=$((SECONDS + 60))
    "$BIN/scand" -group "$group" -name bench -kafka "localhost:$KAFKA" -redis "redis://localhost:$REDIS" -topic "$group-tasks" \
        -results-topic "$group-results" -status-topic "$group-status" -masscan "$2" -slots 1 -max-rate 100m \
        "${CLIENT[@]}" </dev/null >/dev/null 2>"$DIR/$group.log" &
    SERVER=$!
    until grep -qs 'ready: waiting for tasks' "$DIR/$group.log"; do
        ((SECONDS < end)) || die "scand is not ready: $(tail -n 3 "$DIR/$group.log")"
        sleep 0.1
    done
}

stop_server() {
    end_pids 15 "$SERVER"
    SERVER=
}

# push GROUP RANGE PORTS RATE: pushes a task and prints its id.
push() {
    "$BIN/scanpush" -kafka "localhost:$KAFKA" -topic "$1-tasks" -ip "$2" -ports "$3" -bandwidth "$4" -wait "$WAIT_S" -attempts 1 -yes \
        "${CLIENT[@]}"
}

# field GROUP ID NAME
field() {
    redis-cli -p "$REDIS" hget "scan:{$1}:task:$2" "$3"
}

# wait_completed GROUP ID
wait_completed() {
    local end=$((SECONDS + DONE_SECONDS)) status=
    until [[ $status == completed ]]; do
        ((SECONDS < end)) || die "task $2 has not ended within $DONE_SECONDS s: $(tail -n 5 "$DIR/$1.log")"
        [[ ! $status =~ ^(failed|rejected)$ ]] || die "task $2: $status: $(field "$1" "$2" error)"
        sleep 0.2
        status=$(field "$1" "$2" status)
    done
}

# cpu PID FIRST_FIELD: CPU time (user and system) from /proc/PID/stat in milliseconds; 14: of the process, 16: of its ended children.
cpu() {
    awk -v first="$2" -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($(first - 2) + $(first - 1)) * 1000 / hz) }' "/proc/$1/stat"
}

# --- elapsed time and CPU time, compared with masscan alone

speed() {
    local round bare_ms=() bare_cpu=() scand_ms=() scand_cpu=() child_cpu=()
    "$SUPPORT/lab.sh" up "$LAB" "$DIR/lab" 443
    server speed "$DIR/lab/masscan"
    for ((round = 1; round <= ROUNDS; round++)); do
        masscan_alone
        with_scand
    done
    stop_server
    printf '\nspeed: %s ports %s at %s pps, one finding in ten probes; %s rounds: median of the elapsed times, mean of the CPU times\n' "$NETWORK" "$PORTS" "$RATE" "$ROUNDS"
    printf '%-58s %10s\n' "masscan alone, start to last probe, ms" "$(median "${bare_ms[@]}")" \
        "with scand, claim to last probe, ms" "$(median "${scand_ms[@]}")" \
        "  ratio (goal: at most 1.02)" "$(ratio "$(median "${scand_ms[@]}")" "$(median "${bare_ms[@]}")")" \
        "masscan alone, CPU time, ms" "$(mean "${bare_cpu[@]}")" \
        "masscan with scand, CPU time, ms" "$(mean "${child_cpu[@]}")" \
        "scand itself, CPU time, ms" "$(mean "${scand_cpu[@]}")" \
        "  ratio to masscan's (goal: at most 0.02)" "$(ratio "$(mean "${scand_cpu[@]}")" "$(mean "${child_cpu[@]}")")"
}

# The first progress line with "waiting" is the end of sending. masscan may hang at its end, so it is killed.
masscan_alone() {
    local began ended pid
    : >"$DIR/bare.err"
    began=$(date +%s%3N)
    "$DIR/lab/masscan" -oD - --range "$NETWORK" -p "$PORTS" --rate "$RATE" --wait "$WAIT_S" --seed "$((round + 1))" \
        >"$DIR/bare.out" 2>"$DIR/bare.err" &
    pid=$!
    until tail -c 100 "$DIR/bare.err" | grep -q waiting; do sleep 0.02; done
    ended=$(date +%s%3N)
    sleep "$((WAIT_S + 1))"
    bare_ms+=("$((ended - began))")
    bare_cpu+=("$(cpu "$pid" 14)")
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
}

with_scand() {
    local id own children claimed sent
    own=$(cpu "$SERVER" 14) children=$(cpu "$SERVER" 16)
    id=$(push speed "$NETWORK" "$PORTS" "$RATE")
    wait_completed speed "$id"
    scand_cpu+=("$(($(cpu "$SERVER" 14) - own))")
    child_cpu+=("$(($(cpu "$SERVER" 16) - children))")
    claimed=$(logged_ms speed "task $id: claimed") sent=$(logged_ms speed "task $id: 100.00 %")
    scand_ms+=("$((sent - claimed))")
    [[ $(field speed "$id" found) == 16384 ]] || printf 'with scand: found %s of 16384\n' "$(field speed "$id" found)" >&2
}

# logged_ms GROUP TEXT: when the group's server logged a line with this text, in unix milliseconds.
logged_ms() {
    date -d "$(grep -F -m 1 -e "$2" "$DIR/$1.log" | cut -d ' ' -f 1)" +%s%3N
}

median() {
    printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}

# CPU times are multiples of a clock tick; the mean of several rounds reduces the error.
mean() {
    printf '%s\n' "$@" | awk '{ sum += $1 } END { printf "%.1f\n", sum / NR }'
}

ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.4f\n", (b > 0) ? a / b : 0 }'
}

# --- resident memory during a scan with many findings

memory() {
    local faster=100 id found=0 rss first=0 least=0 most=0 last=0 began=0 took end=$((SECONDS + DONE_SECONDS))
    standin "$faster"
    server memory "$DIR/standin/masscan"
    id=$(push memory "10.0.0.0-$(address "$((FINDINGS - 1))")" 443 "$((FINDINGS_PPS / faster))")
    until [[ $(field memory "$id" status) =~ ^(completed|failed|rejected)$ ]]; do
        ((SECONDS < end)) || die "the scan has not ended within $DONE_SECONDS s: $(tail -n 3 "$DIR/memory.log")"
        rss=$(of_status VmRSS)
        found=$(field memory "$id" found)
        if [[ ${found:-0} -gt 0 ]]; then
            [[ $first -gt 0 ]] || { first=$rss least=$rss began=$(date +%s%3N); }
            ((rss > least)) || least=$rss
            ((rss < most)) || most=$rss
            last=$rss
        fi
        sleep 0.25
    done
    took=$(($(date +%s%3N) - began - WAIT_S * 1000))
    wait_completed memory "$id"
    printf '\nmemory: %s findings of a stand-in at %s pps\n' "$(field memory "$id" found)" "$FINDINGS_PPS"
    printf '%-58s %10s\n' "findings per second, acknowledged by Kafka (acks=all)" "$((FINDINGS * 1000 / took))" \
        "resident memory at the first finding, KiB" "$first" "minimum, KiB" "$least" "maximum, KiB" "$most" "at the last finding, KiB" "$last" \
        "scand's CPU time for a million findings, ms" "$(($(cpu "$SERVER" 14) * 1000 / (FINDINGS / 1000)))"
    stop_server
}

# standin FACTOR: the stand-in, which is faster than its rate. At the real rate, scand would stop the scan as soon as it reads too late, because a
# masscan would lose answers then.
standin() {
    mkdir -p "$DIR/standin"
    cp "$BIN/examples/standin-masscan" "$DIR/standin/masscan"
    printf '{"rate_factor": %s}\n' "$1" >"$DIR/standin/plan.json"
}

# of_status NAME: a number in the server's /proc/PID/status.
of_status() {
    awk -v name="$1:" '$1 == name { print $2 }' "/proc/$SERVER/status"
}

# --- findings at a high rate, in bursts of a few milliseconds, as masscan prints them

burst() {
    local run id count=$((FINDINGS_PPS * BURST_SECONDS)) group completed=0 resumed=0
    mkdir -p "$DIR/burst"
    cp "$BIN/examples/standin-masscan" "$DIR/burst/masscan"
    printf '{}\n' >"$DIR/burst/plan.json"
    for ((run = 1; run <= BURST_RUNS; run++)); do
        group=burst$run
        server "$group" "$DIR/burst/masscan"
        id=$(push "$group" "10.0.0.0-$(address "$((count - 1))")" 443 "$FINDINGS_PPS")
        wait_completed "$group" "$id"
        [[ $(field "$group" "$id" found) -ne $count ]] || completed=$((completed + 1))
        ! grep -q -- '--resume-index' "$DIR/$group.log" || resumed=$((resumed + 1))
        stop_server
    done
    printf '\nburst: %s runs of %s findings at %s pps\n' "$BURST_RUNS" "$count" "$FINDINGS_PPS"
    printf '%-58s %10s\n' "completed with all findings" "$completed" "runs that continued from a checkpoint" "$resumed"
}

# --- the two Kafka clients, each with a server of its own, one after the other

clients() {
    local faster=1000 older=$KAFKA newer
    local printed=() ingested=() claimed=() idle=() threads=() memory=() rate=() million=() most=()
    standin "$faster"
    newer=$(free_port)
    start_kafka "$DIR/kafka-4" "$newer" "${KAFKA_VERSIONS[1]}"
    KAFKA=$older client crate kafka
    KAFKA=$older client librdkafka librdkafka
    KAFKA=$newer client librdkafka-4 librdkafka
    printf '\nclients: %s pushes, %s s without a task, %s scans of a stand-in that gives %s findings at once\n' \
        "$CLIENT_PUSHES" "$CLIENT_IDLE_SECONDS" "$CLIENT_ROUNDS" "$CLIENT_FINDINGS"
    columns "-kafka-client" kafka librdkafka librdkafka
    columns "Kafka" "${KAFKA_VERSIONS[0]}" "${KAFKA_VERSIONS[0]}" "${KAFKA_VERSIONS[1]}"
    columns "start of scanpush until it has printed the id: the task is in Kafka; median, ms" "${printed[@]}"
    columns "start of scanpush until scand has ingested the task: it is in Redis; median, ms" "${ingested[@]}"
    columns "start of scanpush until scand has claimed the task; median, ms" "${claimed[@]}"
    columns "CPU time of a scand without a task, in percent of a core" "${idle[@]}"
    columns "threads of a scand without a task" "${threads[@]}"
    columns "resident memory of a scand without a task, KiB" "${memory[@]}"
    columns "findings per second, from the claim until the last one is in Kafka; median" "${rate[@]}"
    columns "CPU time of scand for a million findings, ms" "${million[@]}"
    columns "maximum resident memory of scand during these scans, KiB" "${most[@]}"
}

columns() {
    printf '%-80s %12s %12s %12s\n' "$@"
}

# client GROUP NAME: measures a server with this client. Each step adds a number to the arrays of `clients`.
client() {
    local CLIENT=(-kafka-client "$2") WAIT_S=0
    server "$1" "$DIR/standin/masscan"
    sleep 3 # until it is idle
    without_task
    push_latency "$1"
    many_findings "$1"
    stop_server
}

without_task() {
    local before used_ms
    before=$(cpu "$SERVER" 14)
    sleep "$CLIENT_IDLE_SECONDS"
    used_ms=$(($(cpu "$SERVER" 14) - before))
    idle+=("$(awk -v ms="$used_ms" -v s="$CLIENT_IDLE_SECONDS" 'BEGIN { printf "%.2f\n", ms / s / 10 }')")
    threads+=("$(of_status Threads)")
    memory+=("$(of_status VmRSS)")
}

# push_latency GROUP: small tasks, one after the other, because the server has one slot.
push_latency() {
    local round began id until_printed=() until_ingested=() until_claimed=()
    for ((round = 1; round <= CLIENT_PUSHES; round++)); do
        began=$(date +%s%3N)
        id=$(push "$1" 10.0.0.1 443 100)
        until_printed+=("$(($(date +%s%3N) - began))")
        wait_completed "$1" "$id"
        until_ingested+=("$(($(logged_ms "$1" "task $id: ingested") - began))")
        until_claimed+=("$(($(logged_ms "$1" "task $id: claimed") - began))")
    done
    printed+=("$(median "${until_printed[@]}")")
    ingested+=("$(median "${until_ingested[@]}")")
    claimed+=("$(median "${until_claimed[@]}")")
}

# many_findings GROUP: scans whose findings come faster than the server can send them to Kafka.
many_findings() {
    local round before most_rss=0 rates=()
    before=$(cpu "$SERVER" 14)
    for ((round = 1; round <= CLIENT_ROUNDS; round++)); do findings_at_once "$1"; done
    rate+=("$(median "${rates[@]}")")
    million+=("$((($(cpu "$SERVER" 14) - before) * 1000 / (CLIENT_ROUNDS * CLIENT_FINDINGS / 1000)))")
    most+=("$most_rss")
    ! grep 'released at' "$DIR/$1.log" >&2 || printf 'a scan was suspended: the findings per second and the CPU time are too high\n' >&2
}

findings_at_once() {
    local id first rss ended end=$((SECONDS + DONE_SECONDS))
    first=$(end_offset "$1-results")
    id=$(push "$1" "10.0.0.0-$(address "$((CLIENT_FINDINGS - 1))")" 443 "$((CLIENT_PPS / faster))")
    until (($(end_offset "$1-results") >= first + CLIENT_FINDINGS)); do
        ((SECONDS < end)) || die "the scan has not ended within $DONE_SECONDS s: $(tail -n 3 "$DIR/$1.log")"
        rss=$(of_status VmRSS)
        ((rss < most_rss)) || most_rss=$rss
        sleep 0.05
    done
    ended=$(date +%s%3N)
    wait_completed "$1" "$id"
    rates+=("$((CLIENT_FINDINGS * 1000 / (ended - $(logged_ms "$1" "task $id: claimed"))))")
}

# end_offset TOPIC: the offset after the last record of partition 0.
end_offset() {
    kcat -Q -b "localhost:$KAFKA" -t "$1:0:-1" | sed 's/.* //'
}

# address N: the N-th address after 10.0.0.0.
address() {
    printf '10.%s.%s.%s\n' "$(($1 >> 16))" "$(($1 >> 8 & 255))" "$(($1 & 255))"
}

# --- findings into a database

store() {
    local port
    local new=() again=() missed=() closed=() peak=() size=() peer=()
    need sqlite3 kcat
    KAFKA=$(free_port) # nothing is deleted there
    "$SUPPORT/kafka.sh" start "$DIR/kafka-store" "$KAFKA"
    port=$(free_port)
    # As Postgres is configured when it has just been installed.
    "$SUPPORT/postgres.sh" start "$DIR/postgres" "$port" shared_buffers=128MB max_wal_size=1GB >/dev/null
    "$SUPPORT/kafka.sh" topic "$DIR/kafka-store" --create --topic store-results --partitions 4 >/dev/null
    "$SUPPORT/kafka.sh" topic "$DIR/kafka-store" --create --topic store-status --partitions 1 >/dev/null
    "$SUPPORT/kafka.sh" topic "$DIR/kafka-store" --create --topic store-tasks --partitions 1 >/dev/null
    SQLITE=$DIR/findings.db POSTGRES=postgres://scan@127.0.0.1:$port/postgres

    write_scan 1 "$STORE_FINDINGS"
    new+=("$(rate_of sqlite)" "$(rate_of postgres)")
    write_scan 2 "$STORE_FINDINGS"
    again+=("$(rate_of sqlite)" "$(rate_of postgres)")
    write_scan 3 0
    missed+=("$(rate_of sqlite)" "$(rate_of postgres)")
    write_scan 4 0
    closed+=("$(rate_of sqlite)" "$(rate_of postgres)")
    peak+=("$(cat "$DIR/sqlite.peak")" "$(cat "$DIR/postgres.peak")")
    size+=("$(($(stat -c %s "$SQLITE") / 1048576))" "$(in_postgres -c 'SELECT pg_database_size(current_database()) / 1048576')")
    peer+=("$(import_rate)" "$(copy_rate)")

    printf '\nstore: %s findings at scattered addresses, from Kafka %s\n' "$STORE_FINDINGS" "${KAFKA_VERSIONS[0]}"
    pair "" SQLite Postgres
    pair "new services, findings per second (goal: 50000, 30000)" "${new[@]}"
    pair "a second scan of the same services, findings per second (goal: 50000, 30000)" "${again[@]}"
    pair "a scan that found none of them, services per second" "${missed[@]}"
    pair "another one, which closes them, services per second" "${closed[@]}"
    pair "maximum resident memory of scanpush, KiB" "${peak[@]}"
    pair "size of the database, MiB" "${size[@]}"
    pair "the same rows by sqlite3 .import, and by COPY, without indexes and changes" "${peer[@]}"
}

pair() {
    printf '%-80s %12s %12s\n' "$@"
}

# write_scan N FOUND: writes the records of the N-th scan of a /8, which found FOUND services.
write_scan() {
    local task=store-$1 begun=$(($(date +%s) - 36000 + $1 * 3600)) partition ends=()
    printf '{"task_id":"%s","ip_range":"10.0.0.0/8","ports":"443","band_width":"100000"}\n' "$task" | produce store-tasks
    scattered "$2" | awk -v task="$task" -v begun="$begun" -v found="$2" '{
        printf "%s/443/tcp\t{\"task_id\":\"%s\",\"ip\":\"%s\",\"port\":443,\"proto\":\"tcp\",\"status\":\"open\",\"reason\":\"syn-ack\",\"ttl\":54,", $1, task, $1
        printf "\"timestamp\":%d,\"server\":\"bench\",\"attempt\":1,\"pass\":1}\n", begun + 1 + NR * 3000 / found
    }' | produce store-results -K '\t'
    for partition in 0 1 2 3; do ends+=("$(kcat -Q -b "localhost:$KAFKA" -t "store-results:$partition:-1" | sed 's/.* //')"); done
    printf '{"task_id":"%s","status":"completed","server":"bench","attempt":1,"fence":1,"partition":0,"offset":%s,"found":%s,"begun_ms":%s000,"results_end":[%s],"at_ms":%s000}\n' \
        "$task" "$(($1 - 1))" "$2" "$begun" "$(IFS=, && printf '%s' "${ends[*]}")" "$((begun + 3500))" | produce store-status
}

produce() {
    local topic=$1
    shift
    kcat -P -b "localhost:$KAFKA" -t "$topic" -z snappy "$@"
}

# scattered COUNT: different addresses in 10.0.0.0/8 in pseudo-random order, as masscan probes them; each with its bytes in hexadecimal.
scattered() {
    awk -v count="$1" 'BEGIN {
        for (n = x = 0; n < count; n++) {
            x = (x * 16598013 + 12820163) % 16777216
            printf "10.%d.%d.%d 00000000000000000000ffff0a%06x\n", x / 65536, x / 256 % 256, x % 256, x
        }
    }'
}

# rate_of DATABASE: runs `scanpush store -once` up to the end of the topics. Prints services per second.
rate_of() {
    local began pid peak=0 rss
    local where=(-db "sqlite:$SQLITE")
    [[ $1 == sqlite ]] || where=(-db "$POSTGRES" -db-password-file "$DIR/postgres/password")
    [[ ! -r $DIR/$1.peak ]] || peak=$(<"$DIR/$1.peak")
    began=$(date +%s%3N)
    "$BIN/scanpush" store -once "${where[@]}" -kafka "localhost:$KAFKA" -topic store-tasks -results-topic store-results \
        -status-topic store-status "${CLIENT[@]}" </dev/null >"$DIR/store.log" 2>&1 &
    pid=$!
    while alive "$pid"; do
        rss=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$pid/status" 2>/dev/null) || true
        [[ ${rss:-0} -le $peak ]] || peak=$rss
        sleep 0.05
    done
    wait "$pid" || die "scanpush store has failed: $(tail -n 3 "$DIR/store.log")"
    printf '%s\n' "$peak" >"$DIR/$1.peak"
    printf '%s\n' "$((STORE_FINDINGS * 1000 / ($(date +%s%3N) - began)))"
}

# --- pages of the web page

page() {
    local port url
    port=$(free_port)
    "$SUPPORT/postgres.sh" start "$DIR/postgres-page" "$port" shared_buffers=128MB max_wal_size=1GB >/dev/null
    PGPASSWORD=$(<"$DIR/postgres-page/password")
    export PGPASSWORD
    for url in "sqlite:$DIR/pages.db" "postgres://scan@127.0.0.1:$port/postgres"; do
        printf '\npage: %s\n' "${url%%:*}"
        "$BIN/examples/store-pages" seed "$url" "$PAGE_SERVICES" "$PAGE_TASKS"
        "$BIN/examples/store-pages" measure "$url"
    done
    unset PGPASSWORD
}

in_postgres() {
    "$SUPPORT/postgres.sh" psql "$DIR/postgres" -d postgres "$@"
}

# The columns of `services` but for the type of the address, in which sqlite3 cannot import bytes.
readonly PEER_COLUMNS='port INTEGER, protocol SMALLINT, first_seen BIGINT, last_seen BIGINT, last_task TEXT, reason TEXT, ttl SMALLINT, state TEXT,
    state_since BIGINT, misses INTEGER, missed_since BIGINT, PRIMARY KEY (address, port, protocol)'

# peer_rows PREFIX: the same rows as CSV, in the same order. PREFIX: precedes the bytes of an address.
peer_rows() {
    scattered "$STORE_FINDINGS" | awk -v prefix="$1" '{ print prefix $2 ",443,6,1795531265,1795531265,store-1,syn-ack,54,open,1795531265,0,0" }'
}

import_rate() {
    local began
    peer_rows "" >"$DIR/peer.csv"
    began=$(date +%s%3N)
    sqlite3 "$DIR/peer.db" 'PRAGMA journal_mode = WAL' 'PRAGMA synchronous = NORMAL' \
        "CREATE TABLE peer (address TEXT, $PEER_COLUMNS) WITHOUT ROWID" ".import --csv $DIR/peer.csv peer" >/dev/null
    printf '%s\n' "$((STORE_FINDINGS * 1000 / ($(date +%s%3N) - began)))"
    rm "$DIR/peer.db"
}

copy_rate() {
    local began
    peer_rows '\\x' >"$DIR/peer.csv"
    in_postgres -c "CREATE TABLE peer (address BYTEA, $PEER_COLUMNS)"
    began=$(date +%s%3N)
    in_postgres -c '\copy peer FROM STDIN WITH (FORMAT csv)' <"$DIR/peer.csv"
    printf '%s\n' "$((STORE_FINDINGS * 1000 / ($(date +%s%3N) - began)))"
}

main "$@"
