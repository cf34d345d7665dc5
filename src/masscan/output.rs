//! The way of masscan's standard output to this process: line by line, with room for many.
//!
//! **Line by line.** Into a pipe masscan buffers whole blocks, and a kill loses them (226 of 256 findings arrived). The library
//! that `stdbuf` of coreutils preloads makes it write each line at once. The loader ignores that library where masscan has file
//! capabilities or is set-user-ID, and other libcs don't have it: there masscan gets a terminal, into which libc writes each line.
//!
//! **With room.** While masscan waits for its output to be taken, answers collect in its capture ring, which holds about 800
//! (measured, with offloads off and an MTU of 1500); then they are lost, and nobody says so. A terminal holds 80 findings. masscan
//! sends in bursts: 1000 probes and more at a time at 10 000 pps (measured), which may all be answered at once. So what masscan
//! prints goes into a pipe of [`PIPE_BYTES`], and what it prints into a terminal is moved there by a thread that does nothing
//! else.

use super::network::is_masscan;
use super::program::{answer, find, idle};
use super::rights::{Rights, rights};
use crate::masscan::network::NAMESPACE_WAIT;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a pipe is asked to hold: 5500 findings and more. Linux allows any process so much.
pub(super) const PIPE_BYTES: usize = 1024 * 1024;
/// How often a process is looked at until it has loaded its libraries.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Names and values of environment variables: the library that is to be preloaded, and the mode it works in.
pub type Variables = [(String, String); 2];

/// What makes masscan write each line by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StdoutMode {
    /// The library of `stdbuf`: the variables of the environment that masscan needs for it.
    Preloaded(Variables),
    /// A terminal.
    Terminal,
}

impl StdoutMode {
    /// What will do for `program`, which is started for it: it shows its settings, and sends nothing.
    pub fn of(program: &Path) -> StdoutMode {
        match (find(program), stdbuf()) {
            (Ok(program), Some(variables))
                if rights(&program) != Rights::File && takes(&program, &variables) =>
            {
                StdoutMode::Preloaded(variables)
            }
            _ => StdoutMode::Terminal,
        }
    }

    /// The variables that masscan is to have in its environment.
    pub(super) fn variables(&self) -> &[(String, String)] {
        match self {
            StdoutMode::Preloaded(variables) => variables,
            StdoutMode::Terminal => &[],
        }
    }
}

/// The variables by which `stdbuf -oL` works. It is only asked for them: some versions of it stay as the parent of what they start.
pub(super) fn stdbuf() -> Option<Variables> {
    let mut command = Command::new(find(Path::new("stdbuf")).ok()?);
    command
        .args(["-oL", "env"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH")?);
    variables(&answer(&mut command).ok()?.output)
        .filter(|[(_, library), _]| Path::new(library).exists())
}

/// Of what `env` prints those of `stdbuf`.
fn variables(environment: &str) -> Option<Variables> {
    let variable = |wanted: &str| {
        let mut lines = environment.lines().filter_map(|line| line.split_once('='));
        let (name, value) = lines.find(|(name, _)| *name == wanted)?;
        Some((name.to_owned(), value.to_owned()))
    };
    Some([variable("LD_PRELOAD")?, variable("_STDBUF_O")?])
}

/// Whether `program` becomes a masscan that has loaded the library.
fn takes(program: &Path, variables: &Variables) -> bool {
    let Ok(mut process) = idle(program).envs(variables.iter().cloned()).spawn() else {
        return false;
    };
    let give_up = Instant::now() + NAMESPACE_WAIT;
    let has_loaded = loop {
        if let Some(has_loaded) = has_loaded(process.id()) {
            break has_loaded;
        }
        if Instant::now() >= give_up || !matches!(process.try_wait(), Ok(None)) {
            break false;
        }
        thread::sleep(LOOK_EVERY);
    };
    // It has nothing left to do; where it is gone already, there is nothing to end.
    let _ = process.kill();
    let _ = process.wait();
    has_loaded
}

/// Whether a masscan has the library; none before that shows. The loader maps what is preloaded before libc.
fn has_loaded(pid: u32) -> Option<bool> {
    if !is_masscan(pid) {
        return None;
    }
    let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else {
        return Some(false);
    };
    match maps.contains("libstdbuf") {
        true => Some(true),
        false => maps.contains("/libc").then_some(false),
    }
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
pub(super) fn output(
    printing: &StdoutMode,
    terminal: &OwnedFd,
    end: &OwnedFd,
) -> io::Result<Output> {
    let (reader, writer) = io::pipe()?;
    // Refused to an unprivileged user whose pipes are many already (fs.pipe-user-pages-soft); it is smaller then.
    let holds = fcntl_setpipe_size(&writer, PIPE_BYTES).or_else(|_| fcntl_getpipe_size(&writer))?;
    let end = match printing {
        StdoutMode::Preloaded(_) => writer.into(),
        StdoutMode::Terminal => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stdbuf_is_known_by_its_variables() {
        let whole = "PATH=/bin\nLD_PRELOAD=/usr/libexec/coreutils/libstdbuf.so\n_STDBUF_O=L\n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            variables(whole),
            Some([
                pair("LD_PRELOAD", "/usr/libexec/coreutils/libstdbuf.so"),
                pair("_STDBUF_O", "L")
            ])
        );
        assert_eq!(variables(&whole.replace("_STDBUF_O", "OTHER")), None);
        assert_eq!(variables(""), None);
        let variables = stdbuf().expect("coreutils is there where the tests run");
        assert!(Path::new(&variables[0].1).exists());
    }

    #[test]
    fn what_does_not_become_masscan_gets_a_terminal() {
        for program in ["/bin/true", "/bin/cat", "no-such-program"] {
            assert_eq!(
                StdoutMode::of(Path::new(program)),
                StdoutMode::Terminal,
                "{program}"
            );
        }
    }
}
