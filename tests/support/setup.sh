#!/usr/bin/env bash
# Installs missing requirements of the build, the demo and the tests: Debian packages with apt, and each Kafka of KAFKA_VERSIONS from Maven
# Central into target/tools/kafka-VERSION. If nothing is missing, it uses no network and ends at once. `setup.sh parsers` also installs the programs
# with which the tests read scanpush's output. Scripts call it before their first cargo build.
# It must not start a service. The distribution's Redis would take port 6379, its Postgres port 5432; only their programs are needed.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$HERE/lib.sh"

TOOLS=${SCAN_TOOLS:-$(cd "$HERE/../.." && pwd)/target/tools}
POLICY=/usr/sbin/policy-rc.d
JAVA_AT_LEAST=17 # Kafka 4 requires it
LOCK_SECONDS=900

# A program, and the package that contains it. Postgres, Java, Maven and perl's modules have their own rules below.
PROGRAMS=(
    # What the build of librdkafka needs. Its configure fails without a C++ compiler.
    cc:gcc
    g++:g++
    make:make
    perl:perl
    # What the demo and the tests need.
    masscan:masscan
    redis-server:redis-server
    redis-cli:redis-tools
    kcat:kcat
    sqlite3:sqlite3
    jq:jq
    ip:iproute2
    ss:iproute2
    ethtool:ethtool
    nft:nftables
    setcap:libcap2-bin
    setpriv:util-linux
    openssl:openssl
    ps:procps
    setsid:util-linux
    flock:util-linux
    zsh:zsh
    fish:fish
    prometheus:prometheus
    promtool:prometheus
)

# The same for the programs with which the tests read scanpush's output and its page, and the service's settings.
PARSERS=(
    chromium:chromium
    chromedriver:chromium-driver
    xmllint:libxml2-utils
    python3:python3
    systemd-analyze:systemd
)

main() {
    local packages version
    [[ "${1:-}" != parsers ]] || PROGRAMS+=("${PARSERS[@]}")
    WITH_PARSERS=${1:-}
    find_cargo
    mapfile -t packages < <(missing_packages)
    [[ ${#packages[@]} -gt 0 || -n $(missing_kafkas) ]] || return 0

    # A demo and the tests may start at the same time.
    mkdir -p "$TOOLS"
    if have flock; then
        exec 9>"$TOOLS/.lock"
        flock -w "$LOCK_SECONDS" 9 || die "another setup.sh has been running for $LOCK_SECONDS s; its lock is $TOOLS/.lock"
        mapfile -t packages < <(missing_packages)
    fi
    [[ ${#packages[@]} -eq 0 ]] || install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages)
    [[ ${#packages[@]} -eq 0 ]] || die "still missing after the installation: ${packages[*]}"
    for version in $(missing_kafkas); do fetch_kafka "$version"; done
}

# cargo is not installed here: it is the user's own tool, and Debian's is too old.
find_cargo() {
    have cargo || [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]] ||
        die "cargo is missing: install Rust 1.88 or newer with rustup, and have cargo on the PATH of this user ($(id -un))"
}

# --- packages

# One package per line, without repetition.
missing_packages() {
    local entry
    {
        # root's folders may be missing in an ordinary user's path, although the programs exist.
        PATH=$PATH:/usr/sbin:/sbin
        for entry in "${PROGRAMS[@]}"; do
            have "${entry%%:*}" || printf '%s\n' "${entry##*:}"
        done
        # masscan loads it at run time, and its package does not depend on it.
        have_libpcap || printf 'libpcap0.8\n'
        [[ -n $(postgres_bin) ]] || printf 'postgresql\n'
        # A module of the distribution's python3, which may not be the first in the path.
        [[ $WITH_PARSERS != parsers ]] || have_libnmap || printf 'python3-libnmap\n'
        # Debian's perl-base, which is always installed, contains only some of perl's own modules.
        have_perl_modules || printf 'perl\n'
        # gcc alone does not include the C library's headers.
        ! { have cc && [[ ! -e /usr/include/stdlib.h ]]; } || printf 'libc6-dev\n'
        [[ $(java_version) -ge JAVA_AT_LEAST ]] || printf 'openjdk-17-jre-headless\n'
        [[ -z $(missing_kafkas) ]] || have mvn || printf 'maven\n'
    } | sort -u
}

# Those that the build of OpenSSL uses; it is part of librdkafka's.
have_perl_modules() {
    perl -MFindBin -MFile::Compare -MFile::Copy -MIPC::Cmd -MPod::Usage -e 1 2>/dev/null
}

have_libnmap() {
    local python
    for python in /usr/bin/python3 python3; do
        ! "$python" -c 'import libnmap.parser' 2>/dev/null || return 0
    done
    return 1
}

have_libpcap() {
    ldconfig -p 2>/dev/null | grep -F 'libpcap.so' >/dev/null
}

# The major version, or 0.
java_version() {
    local version=""
    ! have java || version=$(java -version 2>&1 | sed -n 's/^[a-z]* version "\([0-9]*\).*/\1/p;T;q')
    printf '%s\n' "${version:-0}"
}

install_packages() {
    local as_root=()
    have apt-get || die "apt-get is not available; install by hand: $*"
    if [[ $EUID -ne 0 ]]; then
        have sudo || die "not root, and sudo is not available: run as root: apt-get install $*"
        as_root=(sudo)
    fi
    printf 'setup: installing %s; the log: %s\n' "$*" "$TOOLS/apt.log" >&2
    : >"$TOOLS/apt.log"
    apt_get update || printf 'setup: apt-get update failed; using the existing package lists\n' >&2
    # Debian's next releases have no Java 17; a newer one works too.
    [[ " $* " != *" openjdk-17-jre-headless "* ]] ||
        apt-cache policy openjdk-17-jre-headless | grep 'Candidate: [0-9]' >/dev/null ||
        set -- "${@/openjdk-17-jre-headless/default-jre-headless}"
    forbid_services
    apt_get install --no-install-recommends "$@" || {
        tail -n 15 "$TOOLS/apt.log" >&2
        die "apt-get could not install $*: the end of its output is above, all of it in $TOOLS/apt.log"
    }
    allow_services
    forget_services "$@"
}

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        "$@" </dev/null >>"$TOOLS/apt.log" 2>&1
}

# Packages run this file before they start a service; exit code 101 forbids it. An existing file belongs to the machine and is kept.
forbid_services() {
    [[ ! -e $POLICY ]] || return 0
    trap allow_services EXIT
    printf '#!/bin/sh\n# Made by setup.sh for the duration of one apt-get install.\nexit 101\n' | "${as_root[@]}" tee "$POLICY" >/dev/null
    "${as_root[@]}" chmod +x "$POLICY"
}

allow_services() {
    ! grep -qs 'Made by setup.sh' "$POLICY" || "${as_root[@]}" rm -f "$POLICY"
}

# A Redis or Postgres that was installed for us must not start at the next boot. (Debian's postgresql also creates a cluster, which stays unused.)
forget_services() {
    local service
    have systemctl || return 0
    for service in redis-server postgresql prometheus prometheus-node-exporter; do
        [[ " $* " != *" $service "* ]] || "${as_root[@]}" systemctl disable --quiet "$service" 2>/dev/null || true
    done
}

# --- Kafka

# The versions that are not there yet, one per line.
missing_kafkas() {
    local version
    for version in "${KAFKA_VERSIONS[@]}"; do
        [[ -d $TOOLS/kafka-$version ]] || printf '%s\n' "$version"
    done
}

# Into a temporary folder first, so that an incomplete download is not used.
fetch_kafka() {
    local version=$1 fresh
    fresh=$(mktemp -d "$TOOLS/.kafka-XXXXXX")
    # shellcheck disable=SC2064 # expanded now
    trap "rm -rf '$fresh'" EXIT
    printf 'setup: fetching Kafka %s from Maven Central\n' "$version" >&2
    mvn -q -B -f "$HERE/kafka-pom.xml" "-Dkafka.version=$version" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$fresh/libs" </dev/null >"$TOOLS/maven.log" 2>&1 || {
        tail -n 15 "$TOOLS/maven.log" >&2
        die "Maven could not fetch Kafka $version: the end of its output is above, all of it in $TOOLS/maven.log; the next run tries again"
    }
    chmod 755 "$fresh/libs"
    mv -T "$fresh/libs" "$TOOLS/kafka-$version"
    rm -rf "$fresh"
}

main "$@"
