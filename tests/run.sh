#!/usr/bin/env bash
# Installs missing requirements of the tests, then runs `cargo test` with the given arguments: run.sh [--kafka 3|4] [--secure] [--no-clusters] [--essential] [ARGUMENT…]
# The fleet tests use Kafka 3.9.1, or with --kafka 4 Kafka 4.4.0. With --essential only the fleet tests run that depend most on Kafka's client.
# With --secure the programs connect with TLS, user and password to the Kafka and Redis that all tests share.
# With --no-clusters the tests with three brokers are left out, which take five minutes.
# A test that cannot run on a machine reports itself as ignored.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# rustup adds this folder to the shell's profile, which scripts do not read.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
export PATH

if [[ "${1:-}" == --kafka ]]; then
    case "${2:-}" in
    3) SCAN_KAFKA_VERSION=3.9.1 ;;
    4) SCAN_KAFKA_VERSION=4.4.0 ;;
    *)
        printf 'run.sh: --kafka must be followed by 3 or 4\n' >&2
        exit 2
        ;;
    esac
    export SCAN_KAFKA_VERSION
    shift 2
fi

if [[ "${1:-}" == --secure ]]; then
    export SCAN_SECURE_TESTS=yes
    shift
fi

if [[ "${1:-}" == --no-clusters ]]; then
    export SCAN_NO_CLUSTER_TESTS=yes
    shift
fi

if [[ "${1:-}" == --essential ]]; then
    export SCAN_ESSENTIAL_TESTS=yes
    shift
    set -- --test fleet "$@"
fi

tests/support/setup.sh parsers

# Where the tests find Kafka.
SCAN_TOOLS=${SCAN_TOOLS:-$PWD/target/tools}
export SCAN_TOOLS

# The stand-in masscan; `cargo test --test NAME` alone does not rebuild it.
cargo build --examples

exec cargo test "$@"
