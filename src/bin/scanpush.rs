//! `scanpush`: pushes scan tasks and shows what became of them.

use scan::scanpush;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1).collect();
    scanpush::main(args).into()
}
