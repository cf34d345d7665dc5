# shellcheck shell=bash
# Shared by the project's scripts: messages, free ports, ending processes by pid, and starting and stopping servers.
# Sourced, never run. It must not end a process by name, or a process that it has not checked.

# The versions of Kafka that setup.sh fetches and kafka.sh can start. The first is the default.
# shellcheck disable=SC2034 # used by those two
KAFKA_VERSIONS=(3.9.1 4.4.0)

# Prints one line on stderr and exits.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# need COMMAND…: requires all of them; setup.sh installs them.
need() {
    local command missing=()
    for command in "$@"; do
        have "$command" || missing+=("$command")
    done
    [[ ${#missing[@]} -eq 0 ]] || die "missing: ${missing[*]}; tests/support/setup.sh installs them"
}

# The folder with Postgres's programs, or nothing. Debian keeps those of each version in a folder that is not on the PATH; the newest is taken.
postgres_bin() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
    [[ -x $newest ]] || newest=$(command -v initdb) || return 0
    dirname "$(readlink -f "$newest")"
}

# A free TCP port of 127.0.0.1, below the range from which the kernel takes ports of outgoing connections (32768 and up), so that none of
# those takes it before the server does.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        port_is_open "$port" || {
            printf '%s\n' "$port"
            return
        }
    done
    die "found no free port between 20000 and 31999 on 127.0.0.1"
}

# Whether anything listens on that port, on any address, by the kernel's list. Connecting could succeed without a listener if the kernel
# happened to use the same port for our end.
port_is_open() {
    local hex
    printf -v hex '%04X' "$1"
    grep -Eqs "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6
}

check_port() {
    if [[ ! $1 =~ ^[0-9]{1,5}$ ]] || ((10#$1 < 1 || 10#$1 > 65535)); then
        die "'$1' is not a port (1 to 65535)"
    fi
}

# The pid in a file, or nothing.
pid_in() {
    local pid=""
    [[ ! -r $1 ]] || read -r pid <"$1" || true
    [[ ! $pid =~ ^[0-9]+$ ]] || printf '%s\n' "$pid"
}

# alive PID: whether any thread of the process still runs. A zombie (ended but not reaped) does not count: its ports are free and its files
# closed.
alive() {
    grep -Eqs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/task/"*/status
}

# start_detached PID_FILE OUTPUT_FILE COMMAND…: starts the command in a new session, so that Ctrl-C does not reach it. Ctrl-C during this
# function takes effect after the pid is recorded, so that no unknown process is left behind.
start_detached() {
    local pid_file=$1 output=$2 former interrupted=""
    shift 2
    former=$(trap -p INT)
    trap 'interrupted=yes' INT
    rm -f "$pid_file"
    # shellcheck disable=SC2016 # the inner shell expands them
    setsid sh -c 'echo $$ >"$0" && exec "$@"' "$pid_file" "$@" </dev/null >"$output" 2>&1 &
    disown # otherwise bash reports its end
    until [[ -s $pid_file ]]; do sleep 0.01 || true; done
    eval "${former:-trap - INT}"
    [[ -z $interrupted ]] || exit 130
}

# The arguments of a process, one a line; nothing if it does not exist.
command_line() {
    { tr '\0' '\n' <"/proc/$1/cmdline"; } 2>/dev/null || true
}

# has_word PID WORD: whether the process was started with exactly this argument. Checked before a process is ended, because a pid file may be
# old and the pid reused.
has_word() {
    command_line "$1" | grep -Fx -e "$2" >/dev/null
}

# wait_gone PID SECONDS
wait_gone() {
    local end=$((SECONDS + $2))
    while alive "$1"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# end_pids SECONDS PID…: sends SIGTERM to each process, and SIGKILL to those that still run after that time.
end_pids() {
    local seconds=$1 pid end=$((SECONDS + $1))
    shift
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "$@"; do
        wait_gone "$pid" $((end > SECONDS ? end - SECONDS : 0)) && continue
        printf '%s: pid %s has not ended within %s s of SIGTERM: SIGKILL\n' "${0##*/}" "$pid" "$seconds" >&2
        kill -KILL "$pid" 2>/dev/null || true
        wait_gone "$pid" 5 || return 1
    done
}

# --- a server with its own folder
#
# The script that sources this file sets SERVER (the name of the server and of its files DIR/SERVER.pid, .out, .log) and STOP_SECONDS (the time
# that it may take to stop), and defines server_pid DIR, which prints its pid if it runs.

# give_up DIR REASON: prints the end of the server's log, stops the server, and exits.
give_up() {
    printf -- '--- end of the log in %s:\n' "$1" >&2
    tail -q -n 20 "$1/$SERVER.out" "$1/$SERVER.log" >&2 2>/dev/null || true
    stop_server "$1"
    die "$2; its log is above"
}

# With SIGTERM, so that it can be restarted with its data.
stop_server() {
    local pid
    pid=$(server_pid "$1")
    [[ -z $pid ]] || end_pids "$STOP_SECONDS" "$pid" || die "$SERVER of $1 (pid $pid) does not end"
    rm -f "$1/$SERVER.pid"
}

# With SIGKILL, as a crash would.
kill_server() {
    local pid
    pid=$(server_pid "$1")
    [[ -n $pid ]] || die "no $SERVER runs in $1"
    kill -KILL "$pid"
    wait_gone "$pid" 5 || die "$SERVER of $1 (pid $pid) does not end"
    rm -f "$1/$SERVER.pid"
}
