#!/usr/bin/env bash
# Compares scand with masscan alone, and measures its memory with many findings; prints a table. Takes about four minutes after the build.
#   benches/run.sh [speed|memory|burst]…   default: speed and memory; `FINDINGS=1000000 benches/run.sh memory` for a shorter run
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
WAIT_S=2
DONE_SECONDS=600          # timeout of a scan

main() {
    local what
    [[ $# -gt 0 ]] || set -- speed memory
    for what in "$@"; do [[ $what =~ ^(speed|memory|burst)$ ]] || die "unknown measurement '$what': speed, memory or burst"; done
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
    trap end EXIT
    trap 'exit 130' INT TERM
    KAFKA=$(free_port) REDIS=$(free_port)
    # Segments are deleted as soon as they are closed, so that ten million findings do not fill the disk.
    "$SUPPORT/kafka.sh" start "$DIR/kafka" "$KAFKA" log.retention.bytes=268435456 log.segment.bytes=67108864 \
        log.retention.check.interval.ms=2000
    "$SUPPORT/redis.sh" start "$DIR/redis" "$REDIS"
}

end() {
    [[ -z $SERVER ]] || end_pids 15 "$SERVER" || true
    "$SUPPORT/kafka.sh" kill "$DIR/kafka" || true
    "$SUPPORT/redis.sh" kill "$DIR/redis" || true
    [[ ! -d $DIR/lab ]] || "$SUPPORT/lab.sh" down "$LAB" "$DIR/lab" || true
    rm -rf "$DIR"
}

# server GROUP MASSCAN: starts a scand with its own topics.
server() {
    local group=$1 end=$((SECONDS + 60))
    "$BIN/scand" -group "$group" -name bench -kafka "localhost:$KAFKA" -redis "redis://localhost:$REDIS" -topic "$group-tasks" \
        -results-topic "$group-results" -status-topic "$group-status" -masscan "$2" -slots 1 </dev/null >/dev/null 2>"$DIR/$group.log" &
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
    "$BIN/scanpush" -kafka "localhost:$KAFKA" -topic "$1-tasks" -ip "$2" -ports "$3" -bandwidth "$4" -wait "$WAIT_S" -attempts 1 -yes
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
    claimed=$(logged_ms "task $id: claimed") sent=$(logged_ms "task $id: 100.00 %")
    scand_ms+=("$((sent - claimed))")
    [[ $(field speed "$id" found) == 16384 ]] || printf 'with scand: found %s of 16384\n' "$(field speed "$id" found)" >&2
}

# logged_ms TEXT: when a line with this text was logged, in unix milliseconds.
logged_ms() {
    date -d "$(grep -F -m 1 -e "$1" "$DIR/speed.log" | cut -d ' ' -f 1)" +%s%3N
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
    mkdir -p "$DIR/standin"
    cp "$BIN/examples/standin-masscan" "$DIR/standin/masscan"
    # The stand-in is faster than its rate. At the real rate, scand would stop the scan as soon as it reads too late, because a masscan would lose
    # answers then.
    printf '{"rate_factor": %s}\n' "$faster" >"$DIR/standin/plan.json"
    server memory "$DIR/standin/masscan"
    id=$(push memory "10.0.0.0-$(address "$((FINDINGS - 1))")" 443 "$((FINDINGS_PPS / faster))")
    until [[ $(field memory "$id" status) =~ ^(completed|failed|rejected)$ ]]; do
        ((SECONDS < end)) || die "the scan has not ended within $DONE_SECONDS s: $(tail -n 3 "$DIR/memory.log")"
        rss=$(awk '/^VmRSS:/ { print $2 }' "/proc/$SERVER/status")
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

# address N: the N-th address after 10.0.0.0.
address() {
    printf '10.%s.%s.%s\n' "$(($1 >> 16))" "$(($1 >> 8 & 255))" "$(($1 & 255))"
}

main "$@"
