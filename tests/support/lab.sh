#!/usr/bin/env bash
# The lab: a network in which masscan may scan. Two network namespaces joined by a veth pair: the targets' namespace owns all of
# 172.16.0.0/12 and fd00:5ca0::/64, so every address in them answers; the scanner's only default route leads there.
# There must be no route out: neither namespace gets an interface, a route or a rule to anything but the other one, and masscan runs only in the
# scanner's namespace, started by the wrapper that `up` writes.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$HERE/lib.sh"

TARGETS_V4=172.16.0.0/12
TARGETS_V6=fd00:5ca0::/64
# The link between the two: addresses reserved for documentation and benchmarks. masscan accepts no IPv6 source address from the
# documentation range or from fc00::/7, hence 2001:2::/48.
SCANNER_V4=192.0.2.1 HOSTS_V4=192.0.2.2
SCANNER_V6=2001:2::1 HOSTS_V6=2001:2::2

usage() {
    cat <<'TEXT'
usage: lab.sh check                  exits 0 if network namespaces can be created, else prints what is missing
       lab.sh up NAME DIR [PORT…]    creates the lab, a listener for each port (443), and DIR/masscan, which runs masscan in it
       lab.sh down NAME DIR          removes it, with everything that still runs in it
       lab.sh count NAME NETWORK     starts to count the TCP probes that arrive at these IPv4 targets
       lab.sh silence NAME NETWORK   these targets no longer answer; only after count
       lab.sh lose NAME NETWORK PERCENT   drops this share of the probes of these targets, at random
       lab.sh counted NAME NETWORK   prints the number of probes
TEXT
}

# --- check

# Tries it, because a container may have every capability and still be refused.
check() {
    local hint="run it as root (sudo); a container needs --privileged"
    holds_capabilities || die "no rights for network namespaces: CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW are needed: $hint"
    # On a fresh machine ip is not installed yet; then only the capabilities can be checked.
    have ip || return 0
    local name="labcheck-$$" error
    if error=$(try_namespace "$name" 2>&1); then
        ip netns del "$name"
    else
        ip netns del "$name" 2>/dev/null || true
        die "network namespaces cannot be created here (${error//$'\n'/; }): $hint"
    fi
}

holds_capabilities() {
    local effective wanted=$((1 << 12 | 1 << 13 | 1 << 21)) # NET_ADMIN, NET_RAW, SYS_ADMIN
    effective=$((16#$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)))
    (((effective & wanted) == wanted))
}

try_namespace() {
    ip netns add "$1" && ip -n "$1" link add try0 type veth peer name try1 && ip netns exec "$1" true
}

# --- up

up() {
    local name=$1 dir=$2 port
    shift 2
    [[ $# -gt 0 ]] || set -- 443
    for port in "$@"; do check_port "$port"; done
    need ip ss ethtool perl masscan setsid
    check
    mkdir -p "$dir"

    make_namespaces "$name"
    wire "$name"
    tune "$name"
    for port in "$@"; do listen "$name" "$dir" "$port"; done
    answer_routers "$name" "$dir"
    write_wrapper "$name" "$dir"
}

# Every step checks what exists, so that a second `up` creates what is missing and disturbs no scan.
make_namespaces() {
    local namespace
    for namespace in "$1-scan" "$1-hosts"; do
        ip netns exec "$namespace" true 2>/dev/null || ip netns add "$namespace"
        ip -n "$namespace" link set lo up
    done
}

# Both ends are created inside their namespaces, so the lab never appears among the machine's own interfaces.
wire() {
    local scan="$1-scan" hosts="$1-hosts"
    ip -n "$scan" link show scan0 >/dev/null 2>&1 ||
        ip -n "$scan" link add scan0 type veth peer name hosts0 netns "$hosts"
    quiet_offloads "$scan" scan0
    quiet_offloads "$hosts" hosts0
    ip -n "$scan" addr replace "$SCANNER_V4/30" dev scan0
    ip -n "$hosts" addr replace "$HOSTS_V4/30" dev hosts0
    ip -n "$scan" link set scan0 up
    ip -n "$hosts" link set hosts0 up
    ip -n "$scan" route replace default via "$HOSTS_V4"
    ip -n "$hosts" route replace local "$TARGETS_V4" dev lo
    wire_ipv6 "$scan" "$hosts" || printf 'lab.sh: no IPv6 in this lab: it is disabled in the kernel\n' >&2
}

wire_ipv6() {
    ip -n "$1" addr replace "$SCANNER_V6/64" dev scan0 nodad 2>/dev/null &&
        ip -n "$2" addr replace "$HOSTS_V6/64" dev hosts0 nodad 2>/dev/null || return 1
    set_sysctl "$1" net/ipv6/conf/scan0/accept_ra 0
    ip -n "$1" route replace default via "$HOSTS_V6" dev scan0
    ip -n "$2" route replace local "$TARGETS_V6" dev lo
}

# With offloads on, libpcap gives masscan a ring of about 32 frames, and bursts of answers are lost silently.
quiet_offloads() {
    ip netns exec "$1" ethtool -K "$2" gro off gso off tso off tx off rx off sg off >/dev/null
}

# Answers must not depend on earlier ones: SYN cookies only, no queue of half-open connections that could be full.
tune() {
    set_sysctl "$1-hosts" net/ipv4/tcp_syncookies 2
    set_sysctl "$1-hosts" net/core/somaxconn 65535
    set_sysctl "$1-hosts" net/ipv4/tcp_max_syn_backlog 65535
}

set_sysctl() {
    # shellcheck disable=SC2016 # the inner shell expands them
    ip netns exec "$1" sh -c 'echo "$2" >"/proc/sys/$1"' sh "$2" "$3" 2>/dev/null ||
        printf 'lab.sh: could not set %s=%s (/proc/sys is read-only here): a fast scan may lose answers\n' "$2" "$3" >&2
}

# One process per port, for all addresses of both families. It accepts and closes, so that full connections work too.
# shellcheck disable=SC2016 # perl expands them
LISTENER='
    my ($port) = @ARGV;
    my $s;
    socket($s, AF_INET6, SOCK_STREAM, 0) && setsockopt($s, 41, 26, 0) && setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1)
        && bind($s, pack_sockaddr_in6($port, Socket::IN6ADDR_ANY))
    or socket($s, AF_INET, SOCK_STREAM, 0) && setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1)
        && bind($s, pack_sockaddr_in($port, INADDR_ANY))
    or die "port $port: $!\n";
    listen($s, 65535) or die "port $port: $!\n";
    while (1) { my $c; close $c if accept($c, $s); }
'

listen() {
    local name=$1 dir=$2 port=$3 end=$((SECONDS + 10))
    is_listening "$name" "$port" && return
    setsid ip netns exec "$name-hosts" perl -MSocket=:all -e "$LISTENER" "$port" \
        </dev/null >"$dir/listener-$port.log" 2>&1 &
    until is_listening "$name" "$port"; do
        ((SECONDS < end)) || die "nothing listens on port $port of the lab: $(tail -n 1 "$dir/listener-$port.log")"
        sleep 0.05
    done
}

is_listening() {
    [[ -n $(ip netns exec "$1-hosts" ss -Hltn "sport = :$2") ]]
}

# masscan finds its IPv6 gateway by router solicitation. This program answers it. It sends nothing else, because a hang of masscan only occurs on
# a quiet link.
# shellcheck disable=SC2016 # perl expands them
ROUTER='
    my ($index) = @ARGV;
    socket(my $s, AF_INET6, SOCK_RAW, 58) or die "ICMPv6: $!\n";
    my ($all_nodes, $all_routers) = map { inet_pton(AF_INET6, $_) } "ff02::1", "ff02::2";
    setsockopt($s, 41, 20, $all_routers . pack("I", $index)) or die "joining ff02::2: $!\n"; # IPV6_JOIN_GROUP
    setsockopt($s, 41, 17, pack("I", $index)) or die "hosts0: $!\n";                        # IPV6_MULTICAST_IF
    setsockopt($s, 41, 18, pack("I", 255)) or die "hop limit: $!\n";                        # IPV6_MULTICAST_HOPS
    my $advertisement = pack("C2 n C2 n N2", 134, 0, 0, 64, 0, 1800, 0, 0);
    while (defined recv($s, my $packet, 1500, 0)) {
        send($s, $advertisement, 0, pack_sockaddr_in6(0, $all_nodes)) if ord($packet) == 133;
    }
'

answer_routers() {
    local pid
    pid=$(pid_in "$2/router.pid")
    [[ -z $pid ]] || ! ip netns pids "$1-hosts" | grep -Fx "$pid" >/dev/null || return 0
    # shellcheck disable=SC2016 # the inner shell expands them
    ip netns exec "$1-hosts" setsid sh -c 'echo $$ >"$1" && exec perl -MSocket=:all -e "$2" "$(cat /sys/class/net/hosts0/ifindex)"' \
        sh "$2/router.pid" "$ROUTER" </dev/null >"$2/router.log" 2>&1 &
}

# The wrapper and ip both use exec, so the caller gets the pid of masscan, and signals reach it.
write_wrapper() {
    local wrapper="$2/masscan"
    printf '#!/bin/sh\n# masscan in the lab %s, which has no route out. It fails after the lab is removed.\nexec %q netns exec %q %q "$@"\n' \
        "$1" "$(command -v ip)" "$1-scan" "$(command -v masscan)" >"$wrapper"
    chmod +x "$wrapper"
}

# --- down

down() {
    local name=$1 dir=$2 namespace
    need ip
    for namespace in "$name-scan" "$name-hosts"; do
        end_all_in "$namespace"
        ! ip netns list | cut -d " " -f 1 | grep -Fx "$namespace" >/dev/null || ip netns del "$namespace"
    done
    rm -f "$dir/masscan" "$dir/router.pid"
}

# Ends all processes in a namespace of the lab: the listeners, and any masscan whose server died.
end_all_in() {
    local pid pids
    pids=$(ip netns pids "$1" 2>/dev/null) || return 0
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait_gone "$pid" 5 || die "pid $pid in $1 does not end"; done
}

# --- counting

# In the targets' namespace, before all other rules. The rule of a network is identified by its comment.
count() {
    need nft
    ip netns exec "$1-hosts" nft -f - <<RULES
add table ip probes
add chain ip probes arriving { type filter hook prerouting priority -300; }
add rule ip probes arriving ip daddr $2 tcp flags & (syn | ack | rst) == syn counter comment "$2"
RULES
}

silence() {
    ip netns exec "$1-hosts" nft add rule ip probes arriving ip daddr "$2" drop
}

lose() {
    need nft
    ip netns exec "$1-hosts" nft -f - <<RULES
add table ip losses
add chain ip losses arriving { type filter hook prerouting priority -200; }
add rule ip losses arriving ip daddr $2 tcp flags & (syn | ack | rst) == syn numgen random mod 100 < $3 drop
RULES
}

counted() {
    ip netns exec "$1-hosts" nft list chain ip probes arriving |
        sed -n "s|.* counter packets \([0-9]*\) .* comment \"$2\".*|\1|p"
}

# --- the command line

check_name() {
    [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$ ]] || die "'$1' is not a name for a lab: use letters, digits, . _ -"
}

case "${1:-}" in
check) check ;;
up | down | count | silence | lose | counted)
    [[ $# -ge 3 ]] || die "$1 needs NAME and DIR"
    check_name "$2"
    "$@"
    ;;
-h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
