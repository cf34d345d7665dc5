//! masscan's standard output: written line by line, into a buffer for many findings.
//!
//! **Line by line.** Into a pipe, masscan writes complete blocks, and a kill loses what is in its buffer (measured: 226 of 256 findings
//! arrived). The library that `stdbuf` of coreutils preloads makes it write each line at once. The loader ignores that library if masscan has
//! file capabilities or is set-user-ID, and it does not exist for other libcs. In that case masscan gets a terminal, to which libc writes each
//! line.
//!
//! **Large buffer.** While masscan waits for its output to be read, answers collect in its capture ring, which holds about 800 (measured,
//! with offloads off and an MTU of 1500). Further ones are lost without any indication. masscan sends in bursts of 1000 probes and more at
//! 10 000 packets per second (measured), which may all be answered at once. A pipe can hold thousands of findings, a terminal about 80.

use super::capabilities::Capability;
use super::network::{NAMESPACE_WAIT, is_masscan};
use super::program::{answer, find, idle};
use super::raw_sockets::{Rights, rights};
use super::reader::Stdout;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use std::fs;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Size of the pipe for findings: at least 5500 of them. Linux allows this to any process (fs.pipe-max-size).
const PIPE_BYTES: usize = 1024 * 1024;
/// Its size if the system allows more (CAP_SYS_RESOURCE). Memory is used only for what waits in it.
const PIPE_BYTES_PRIVILEGED: usize = 8 * PIPE_BYTES;
/// The minimum that a terminal buffers on Linux: 4 KiB in the line discipline and 8 KiB before it (measured: 13.8 KiB on 6.18).
const TERMINAL_BYTES: usize = 12 * 1024;
/// Maximum length of a finding's line in bytes: 145 with an IPv4 address, up to 186 with an IPv6 one.
const LINE_BYTES_MAX: usize = 190;
/// Interval between two checks whether a process has loaded its libraries.
const LOADED_CHECK_EVERY: Duration = Duration::from_millis(10);

/// Names and values of environment variables: the library that is to be preloaded, and the mode it works in.
pub(super) type Variables = [(String, String); 2];

/// What makes masscan write each line at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StdoutMode {
    /// The library of `stdbuf`, loaded by these environment variables.
    Preloaded(Variables),
    /// A terminal.
    Terminal,
}

impl StdoutMode {
    /// The mode for `program`, which another user than this process's runs if `is_other_user`: then even root's masscan ignores the library if
    /// its file has capabilities. Starts it once to find out; it prints its settings and sends nothing.
    pub fn of(program: &Path, is_other_user: bool) -> StdoutMode {
        let is_ignored = |program: &Path| {
            rights(program) == Rights::File
                || is_other_user && Capability::NetRaw.is_of_file(program)
        };
        match (find(program), stdbuf()) {
            (Ok(program), Some(variables))
                if !is_ignored(&program) && loads_library(&program, &variables) =>
            {
                StdoutMode::Preloaded(variables)
            }
            _ => StdoutMode::Terminal,
        }
    }

    /// The environment variables that masscan needs.
    pub(super) fn variables(&self) -> &[(String, String)] {
        match self {
            StdoutMode::Preloaded(variables) => variables,
            StdoutMode::Terminal => &[],
        }
    }
}

/// The environment variables that `stdbuf -oL` sets. masscan is not started through stdbuf itself, because some versions remain as its
/// parent.
pub(super) fn stdbuf() -> Option<Variables> {
    let mut command = Command::new(find(Path::new("stdbuf")).ok()?);
    command
        .args(["-oL", "env"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH")?);
    variables(&answer(&mut command).ok()?.output)
        .filter(|[(_, library), _]| Path::new(library).exists())
}

/// The variables of `stdbuf` in the output of `env`.
fn variables(environment: &str) -> Option<Variables> {
    let variable = |wanted: &str| {
        let mut lines = environment.lines().filter_map(|line| line.split_once('='));
        let (name, value) = lines.find(|(name, _)| *name == wanted)?;
        Some((name.to_owned(), value.to_owned()))
    };
    Some([variable("LD_PRELOAD")?, variable("_STDBUF_O")?])
}

/// Whether `program` becomes a masscan that has loaded the library.
fn loads_library(program: &Path, variables: &Variables) -> bool {
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
        thread::sleep(LOADED_CHECK_EVERY);
    };
    // It may have exited already.
    let _ = process.kill();
    let _ = process.wait();
    has_loaded
}

/// Whether a masscan has loaded the library; none while that is not known yet. The loader maps preloaded libraries before libc.
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

/// The two ends of masscan's standard output.
#[derive(Debug)]
pub(super) struct OutputEnds {
    /// The end that this process reads.
    pub(super) stdout: Stdout,
    /// The end that masscan gets.
    pub(super) child_end: Stdio,
}

impl Stdout {
    /// How many findings can wait in a pipe that is smaller than usual.
    pub(super) fn small_output_findings(&self) -> Option<usize> {
        let is_small = !self.is_terminal && self.capacity < PIPE_BYTES;
        is_small.then_some(self.capacity / LINE_BYTES_MAX)
    }
}

/// Opens masscan's standard output; `terminal` is this process's end of its terminal, `masscan_end` the other one.
pub(super) fn open_output(
    mode: &StdoutMode,
    terminal: &OwnedFd,
    masscan_end: &OwnedFd,
) -> io::Result<OutputEnds> {
    Ok(match mode {
        StdoutMode::Preloaded(_) => {
            let (stdout, writer) = open_pipe()?;
            OutputEnds {
                stdout,
                child_end: writer.into(),
            }
        }
        StdoutMode::Terminal => OutputEnds {
            stdout: Stdout {
                file: terminal.try_clone()?,
                capacity: TERMINAL_BYTES,
                is_terminal: true,
            },
            child_end: masscan_end.try_clone()?.into(),
        },
    })
}

/// A pipe that is as large as the system allows.
pub(super) fn open_pipe() -> io::Result<(Stdout, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    // Refused to an unprivileged user who has many pipes already (fs.pipe-user-pages-soft); it keeps its size then.
    let capacity = fcntl_setpipe_size(&writer, PIPE_BYTES_PRIVILEGED)
        .or_else(|_| fcntl_setpipe_size(&writer, PIPE_BYTES))
        .or_else(|_| fcntl_getpipe_size(&writer))?;
    let stdout = Stdout {
        file: reader.into(),
        capacity,
        is_terminal: false,
    };
    Ok((stdout, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_stdbuf_are_found() {
        let text = "PATH=/bin\nLD_PRELOAD=/usr/libexec/coreutils/libstdbuf.so\n_STDBUF_O=L\n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            variables(text),
            Some([
                pair("LD_PRELOAD", "/usr/libexec/coreutils/libstdbuf.so"),
                pair("_STDBUF_O", "L")
            ])
        );
        assert_eq!(variables(&text.replace("_STDBUF_O", "OTHER")), None);
        assert_eq!(variables(""), None);
        let variables = stdbuf().expect("the tests run with coreutils");
        assert!(Path::new(&variables[0].1).exists());
    }

    #[test]
    fn a_program_that_does_not_become_masscan_gets_a_terminal() {
        for program in ["/bin/true", "/bin/cat", "no-such-program"] {
            assert_eq!(
                StdoutMode::of(Path::new(program), false),
                StdoutMode::Terminal,
                "{program}"
            );
        }
    }
}
