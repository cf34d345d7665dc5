//! Finds the masscan program and reads its version and requirements. Sends no packets.

use crate::model::text::{QUOTED_TEXT_MAX_CHARS, one_line};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Why masscan cannot be run here.
#[derive(Debug)]
pub enum ProgramError {
    /// The program does not exist.
    NotFound(PathBuf),
    /// The file is not executable.
    NotExecutable(PathBuf),
    /// The system refuses to start it.
    Start {
        /// The program.
        program: PathBuf,
        /// The system's message.
        error: io::Error,
    },
    /// It ran, but is not masscan.
    NotMasscan(PathBuf),
    /// The user of `-masscan-user` cannot run it.
    User(String),
}

impl ProgramError {
    /// Whether every scan on this server would fail in the same way. Otherwise it is only this one, whose arguments are too long for the system.
    pub fn is_fault_of_server(&self) -> bool {
        let too_long = Errno::TOOBIG.raw_os_error();
        !matches!(self, ProgramError::Start { error, .. } if error.raw_os_error() == Some(too_long))
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramError::NotFound(program) => write!(
                f,
                "{} not found: install masscan (apt install masscan) or give its path in -masscan",
                program.display()
            ),
            ProgramError::NotExecutable(program) => write!(
                f,
                "{} is not executable: make it executable or give another path in -masscan",
                program.display()
            ),
            ProgramError::Start { program, error } => {
                write!(f, "{} cannot be started: {error}", program.display())
            }
            ProgramError::NotMasscan(program) => write!(
                f,
                "{} is not masscan (no version in the output of --version): give masscan's path in -masscan",
                program.display()
            ),
            ProgramError::User(why) => write!(f, "-masscan-user: {why}"),
        }
    }
}

impl std::error::Error for ProgramError {}

/// The path of `program`: itself if it contains a slash, else the first match in PATH.
pub fn find(program: &Path) -> Result<PathBuf, ProgramError> {
    let candidates: Vec<PathBuf> = if program.components().count() > 1 || program.is_absolute() {
        vec![program.to_owned()]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .collect()
    };
    let mut refused = None;
    for candidate in candidates {
        match candidate.metadata() {
            Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => {
                return Ok(candidate);
            }
            Ok(_) => refused = refused.or(Some(candidate)),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(refused) => ProgramError::NotExecutable(refused),
        None => ProgramError::NotFound(program.to_owned()),
    })
}

/// The version in the output of `program --version`, such as `1.3.2`. Fails after [`PROGRAM_ANSWER_WAIT`].
pub(super) fn version(program: &Path) -> Result<String, ProgramError> {
    let path = find(program)?;
    answer(Command::new(&path).arg("--version"))?
        .all()
        .split_once("Masscan version ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .map(one_line)
        .filter(|version| version.len() <= QUOTED_TEXT_MAX_CHARS)
        .ok_or(ProgramError::NotMasscan(path))
}

/// Whether masscan finds libpcap. It loads libpcap at run time, and Debian's package of masscan does not depend on it.
pub fn has_libpcap(program: &Path) -> Result<bool, ProgramError> {
    // This lists the interfaces and sends nothing.
    let answer = answer(Command::new(find(program)?).arg("--iflist"))?;
    Ok(!answer.all().contains("libpcap not loaded"))
}

/// Whether this system's `setsid` is the one of util-linux, which can give masscan its controlling terminal.
pub fn has_setsid() -> Result<bool, ProgramError> {
    let mut setsid = Command::new(find(Path::new("setsid"))?);
    Ok(answer(setsid.arg("--version"))?
        .all()
        .contains("util-linux"))
}

/// The part of this process's environment that masscan gets.
pub(super) fn environment() -> [(&'static str, OsString); 2] {
    let path = std::env::var_os("PATH").unwrap_or_default();
    [("LANG", "C".into()), ("PATH", path)]
}

/// A masscan that does nothing: it prints its settings and waits for more of them on its standard input.
pub(super) fn idle(path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .args(["--echo", "-c", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Longest time that a program may take to answer.
pub(super) const PROGRAM_ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of bytes that are read of a program's output.
const OUTPUT_MAX_BYTES: u64 = 4096;
/// Interval between two checks whether it has ended.
const EXIT_CHECK_EVERY: Duration = Duration::from_millis(10);
/// After it has exited, processes that it started may write for this long.
const OUTPUT_AFTER_EXIT_WAIT: Duration = Duration::from_millis(200);

/// The output of a program.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) output: String,
    pub(super) errors: String,
}

impl Answer {
    /// Both, because masscan prints its version on one or the other.
    pub(super) fn all(&self) -> String {
        format!("{}{}", self.output, self.errors)
    }
}

/// Runs a program and returns its output. Kills it after [`PROGRAM_ANSWER_WAIT`]; then the output is empty. Processes that it started are
/// killed too.
pub(super) fn answer(command: &mut Command) -> Result<Answer, ProgramError> {
    let program = PathBuf::from(command.get_program());
    let start = |error| ProgramError::Start {
        program: program.clone(),
        error,
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(start)?;
    let pid = Pid::from_child(&child);
    let give_up = Instant::now() + PROGRAM_ANSWER_WAIT;
    let ended = loop {
        let ended = has_ended(pid).map_err(start)?;
        if ended || Instant::now() >= give_up {
            break ended;
        }
        thread::sleep(EXIT_CHECK_EVERY);
    };
    let mut answer = Answer::default();
    if ended {
        let give_up = Instant::now() + OUTPUT_AFTER_EXIT_WAIT;
        answer.output = start_of(child.stdout.take(), give_up).map_err(start)?;
        answer.errors = start_of(child.stderr.take(), give_up).map_err(start)?;
    }
    // Before it is reaped: until then the number of its process group cannot be reused.
    let killed = kill_process_group(pid, Signal::KILL);
    if !ended {
        killed.map_err(|error| start(error.into()))?;
    }
    child.wait().map_err(start)?;
    Ok(answer)
}

/// Whether a child has ended, without reaping it.
fn has_ended(pid: Pid) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), options)?.is_some())
}

/// The first [`OUTPUT_MAX_BYTES`] that a program wrote before it ended. If another process, such as a wrapper's filter, still has the other end
/// open, waits for it until `give_up`.
fn start_of(stream: Option<impl Read + AsFd>, give_up: Instant) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        fcntl_setfl(&stream, fcntl_getfl(&stream)? | OFlags::NONBLOCK)?;
        let mut start = stream.take(OUTPUT_MAX_BYTES);
        while let Err(error) = start.read_to_end(&mut bytes) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
            if Instant::now() >= give_up {
                break;
            }
            thread::sleep(EXIT_CHECK_EVERY);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::kill_process;
    use std::fs;

    #[test]
    fn a_program_is_found_or_reported_as_missing() {
        assert!(find(Path::new("sh")).unwrap().is_absolute());
        assert!(matches!(
            find(Path::new("no-such-program")),
            Err(ProgramError::NotFound(_))
        ));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("masscan");
        fs::write(&file, "").unwrap();
        assert!(matches!(find(&file), Err(ProgramError::NotExecutable(_))));
        assert!(matches!(
            find(folder.path()),
            Err(ProgramError::NotExecutable(_))
        ));
    }

    /// The processes that run in this folder.
    fn running_in(folder: &Path) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let ours = processes.filter(|process| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
        });
        ours.filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    /// As with a wrapper that does not `exec` masscan.
    #[test]
    fn processes_that_a_program_started_are_killed_with_it() {
        for (script, output, left) in [
            ("sleep 600 & wait", "", 0),
            ("sleep 600 & echo done", "done\n", 0),
            ("(sleep 0.05; echo late) &", "late\n", 0),
            // A process that has left the group is neither killed nor waited for.
            ("setsid sleep 30 & sleep 0.3; echo done", "done\n", 1),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let began = Instant::now();
            let mut command = Command::new("sh");
            command.args(["-c", script]).current_dir(&folder);
            assert_eq!(answer(&mut command).unwrap().output, output, "{script}");
            // A killed process takes a moment to disappear.
            let give_up = began + PROGRAM_ANSWER_WAIT * 3;
            while running_in(folder.path()).len() != left {
                assert!(Instant::now() < give_up, "{script}");
                thread::sleep(Duration::from_millis(10));
            }
            for pid in running_in(folder.path()) {
                kill_process(pid, Signal::KILL).unwrap();
            }
        }
    }

    #[test]
    fn a_program_that_is_not_masscan_has_no_version() {
        assert!(matches!(
            version(Path::new("true")),
            Err(ProgramError::NotMasscan(_))
        ));
    }
}
