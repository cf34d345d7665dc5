//! The daemon's program: parse, then one call.

use std::process::ExitCode;

fn main() -> ExitCode {
    scan::scand::main(std::env::args_os().skip(1).collect())
}
