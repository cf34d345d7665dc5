# shellcheck shell=bash
# What the scripts of this project share: messages, free ports, ending a process by its pid, and a server in a folder of its own.
# It is sourced, never run. What may not happen in it: ending a process by its name, or one that was not looked at first.

# One clear line on stderr, then the end.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# need COMMAND…: all of them must be there; setup.sh is what brings them.
need() {
    local command missing=()
    for command in "$@"; do
        have "$command" || missing+=("$command")
    done
    [[ ${#missing[@]} -eq 0 ]] || die "missing here: ${missing[*]}; tests/support/setup.sh installs what is missing"
}

# A TCP port of 127.0.0.1 that nobody listens on. From below the range from which the kernel takes the ports of outgoing
# connections (32768 and up), so that none of those can take it before the server that it is meant for.
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

# Whether anything listens on that port, on any address. By the kernel's list: to try a connection instead may succeed where nobody
# listens, when the kernel happens to take the same port for this end.
port_is_open() {
    local hex
    printf -v hex '%04X' "$1"
    grep -Eqs "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6
}

check_port() {
    if [[ ! $1 =~ ^[0-9]{1,5}$ ]] || ((10#$1 < 1 || 10#$1 > 65535)); then
        die "'$1' is no port: 1 to 65535 is"
    fi
}

# The pid in a file, or nothing.
pid_in() {
    local pid=""
    [[ ! -r $1 ]] || read -r pid <"$1" || true
    [[ ! $pid =~ ^[0-9]+$ ]] || printf '%s\n' "$pid"
}

# Whether any thread of it still runs. One that has ended but was not collected by its parent yet (a zombie) counts as gone: its ports
# are free and its files closed.
alive() {
    grep -Eqs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/task/"*/status
}

# start_detached PID_FILE OUTPUT_FILE COMMAND…: in a session of its own, which keeps the terminal's Ctrl-C away from it. A Ctrl-C here is
# only heeded once its pid is on record, so that a process of which nobody knows can't be left behind.
start_detached() {
    local pid_file=$1 output=$2 former interrupted=""
    shift 2
    former=$(trap -p INT)
    trap 'interrupted=yes' INT
    rm -f "$pid_file"
    # shellcheck disable=SC2016 # the inner shell expands them
    setsid sh -c 'echo $$ >"$0" && exec "$@"' "$pid_file" "$@" </dev/null >"$output" 2>&1 &
    disown # bash would tell of its end otherwise
    until [[ -s $pid_file ]]; do sleep 0.01 || true; done
    eval "${former:-trap - INT}"
    [[ -z $interrupted ]] || exit 130
}

# The words of a process, one a line; nothing where there is no such process.
command_line() {
    { tr '\0' '\n' <"/proc/$1/cmdline"; } 2>/dev/null || true
}

# has_word PID WORD: whether the process was started with exactly this word. A pid file may be old and its number given to a
# stranger since, so nothing is ended before this was asked.
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

# end_pids SECONDS PID…: asks them all to end, once each, and makes those end that have not after that time.
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

# --- a server in a folder of its own
#
# The script that sources this says which: SERVER is its name and that of its files (DIR/SERVER.pid, .out, .log), STOP_SECONDS how long
# it may take to end, and server_pid DIR prints its pid where it runs.

# give_up DIR WHY: shows the end of its log, ends it, and dies.
give_up() {
    printf -- '--- the end of its log in %s:\n' "$1" >&2
    tail -q -n 20 "$1/$SERVER.out" "$1/$SERVER.log" >&2 2>/dev/null || true
    stop_server "$1"
    die "$2; its log is above"
}

# In order, so that its data can be started again.
stop_server() {
    local pid
    pid=$(server_pid "$1")
    [[ -z $pid ]] || end_pids "$STOP_SECONDS" "$pid" || die "pid $pid, the $SERVER of $1, does not end"
    rm -f "$1/$SERVER.pid"
}

# At once, as a crash would.
kill_server() {
    local pid
    pid=$(server_pid "$1")
    [[ -n $pid ]] || die "no $SERVER runs in $1"
    kill -KILL "$pid"
    wait_gone "$pid" 5 || die "pid $pid, the $SERVER of $1, does not end"
    rm -f "$1/$SERVER.pid"
}
