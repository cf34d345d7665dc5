#!/usr/bin/env bash
# Installs missing requirements of the tests, then runs `cargo test` with the given arguments.
# It must not select tests. A test that cannot run on a machine reports itself as ignored.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# rustup adds this folder to the shell's profile, which scripts do not read.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
export PATH

tests/support/setup.sh parsers

# Where the tests find Kafka.
SCAN_TOOLS=${SCAN_TOOLS:-$PWD/target/tools}
export SCAN_TOOLS

# The stand-in masscan; `cargo test --test NAME` alone does not rebuild it.
cargo build --examples

exec cargo test "$@"
