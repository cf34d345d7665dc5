#!/usr/bin/env bash
# Runs the tests: installs what they need and this machine lacks, then `cargo test` with the words given here, and its exit code.
# What may not happen in it: a choice of tests. A test that can't run on this machine says so itself, as ignored.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# rustup writes this folder into the shell's profile, which scripts don't read.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
export PATH

tests/support/setup.sh parsers

# Where the fixtures find Kafka.
SCAN_TOOLS=${SCAN_TOOLS:-$PWD/target/tools}
export SCAN_TOOLS

# The stand-in masscan: `cargo test --test NAME` alone would leave an old one in place.
cargo build --examples

exec cargo test "$@"
