//! The client's program: parse, then one call.

use std::process::ExitCode;

fn main() -> ExitCode {
    scan::scanpush::main(std::env::args_os().skip(1).collect()).into()
}
