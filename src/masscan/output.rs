//! The way of masscan's standard output to this process: line by line, with room for many.
//!
//! **Line by line.** Into a pipe masscan buffers whole blocks, and a kill loses them (226 of 256 findings arrived). The library
//! that `stdbuf` of coreutils preloads makes it write each line at once. The loader ignores that library where masscan has file
//! capabilities or is set-user-ID, and other libcs don't have it: there masscan gets a terminal, into which libc writes each line.
//!
//! **With room.** While masscan waits for its output to be taken, answers collect in its capture ring, which holds about 800
//! (measured, with offloads off and an MTU of 1500); then they are lost, and nobody says so. A terminal holds 80 findings. masscan
//! sends in bursts: 1000 probes and more at a time at 10 000 pps (measured), which may all be answered at once. So what masscan
//! prints goes into a pipe of [`PIPE_BYTES`], and what it prints into a terminal is moved there by a thread that does nothing else.

use super::program::find;
use super::rights::{Rights, rights};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::thread;

/// What a pipe is asked to hold: 7000 findings. Linux allows any process so much.
const PIPE_BYTES: usize = 1024 * 1024;

/// What makes masscan write each line by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printing {
    /// The library of `stdbuf`.
    Preloaded,
    /// A terminal.
    Terminal,
}

impl Printing {
    /// What will do for `program`, as far as can be told without starting it; see [`is_preloaded`].
    pub fn of(program: &Path) -> Printing {
        let is_refused = || find(program).is_ok_and(|program| rights(&program) == Rights::File);
        match find(Path::new("stdbuf")) {
            Ok(_) if !is_refused() => Printing::Preloaded,
            _ => Printing::Terminal,
        }
    }
}

/// Whether the process `pid` has loaded the library of `stdbuf`. Where the system won't say it has not.
pub(super) fn is_preloaded(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains("libstdbuf"))
}

/// A way from masscan to this process.
#[derive(Debug)]
pub(super) struct Output {
    /// From which its output is read.
    pub(super) reader: PipeReader,
    /// How much of it can wait there, in bytes.
    pub(super) holds: usize,
    /// What masscan is to have for its standard output.
    pub(super) end: Stdio,
}

/// A way for masscan's output; `terminal` is the controlling end of its terminal, `end` masscan's.
pub(super) fn output(printing: Printing, terminal: &OwnedFd, end: &OwnedFd) -> io::Result<Output> {
    let (reader, writer) = io::pipe()?;
    // Refused where this user's pipes are many already; it is smaller then.
    let holds = fcntl_setpipe_size(&writer, PIPE_BYTES).or_else(|_| fcntl_getpipe_size(&writer))?;
    let end = match printing {
        Printing::Preloaded => writer.into(),
        Printing::Terminal => {
            relay(terminal.try_clone()?, writer)?;
            end.try_clone()?.into()
        }
    };
    Ok(Output { reader, holds, end })
}

/// Starts the thread that moves what comes through `terminal`. It ends with masscan, or once nobody reads the pipe.
fn relay(terminal: OwnedFd, mut pipe: PipeWriter) -> io::Result<()> {
    let copy = move || {
        // A terminal ends with an error (EIO) where a file ends with an empty read.
        let _ = io::copy(&mut File::from(terminal), &mut pipe);
    };
    thread::Builder::new()
        .name("relay".to_owned())
        .spawn(copy)?;
    Ok(())
}
