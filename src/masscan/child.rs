//! One masscan process: its start, the thread that reads its output, and its end.
//!
//! It has a controlling terminal (`setsid --ctty` of util-linux, which here execs without a fork). When this process ends in any way, the
//! kernel closes the other end of the terminal and sends masscan a SIGHUP, which ends it. So no masscan keeps sending without a server.

use super::ScanArguments;
use super::arguments::{EXCLUDE_FILE, Excluded};
use super::folder::Folder;
use super::output::{OutputEnds, StdoutMode, open_output};
use super::program::{ProgramError, environment, find};
use super::reader::{Output, Reader};
use super::user::RunAs;
use crossbeam_channel::Receiver;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Once its output has ended, masscan gets this long to exit before it is killed.
const EXIT_WAIT: Duration = Duration::from_secs(2);
/// Interval between two checks for its exit.
const EXIT_CHECK_EVERY: Duration = Duration::from_millis(5);

/// Size in bytes of the file that detects a full disk. Smaller files may still fit into space that a full file system keeps for its structures.
const RESOURCE_FILE_BYTES: usize = 64 * 1024;

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Exit {
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// A running masscan. Killed and reaped on drop.
#[derive(Debug)]
pub struct Child {
    process: ReapedProcess,
    // Dropped after the process, so that its streams have ended.
    reader: Reader,
    small_output_findings: Option<usize>,
    /// The other end of masscan's controlling terminal.
    _terminal: OwnedFd,
    /// masscan's working folder, removed with it.
    _folder: Folder,
}

/// The process; killed and reaped on drop.
#[derive(Debug)]
struct ReapedProcess {
    process: std::process::Child,
    exit: Option<Exit>,
}

/// Starts `program` with `arguments` as the user of `run_as`, in an environment that makes it write each line at once (`mode`).
///
/// Errs if the program or `setsid` is missing, or the system refuses a terminal, a folder, a thread or a process.
pub fn spawn(
    program: &Path,
    mode: &StdoutMode,
    run_as: &RunAs,
    arguments: &ScanArguments<'_>,
) -> Result<Child, ProgramError> {
    let path = find(program)?;
    let setsid = find(Path::new("setsid"))?;
    let group = run_as.group();
    let start = |error: io::Error| ProgramError::Start {
        program: path.clone(),
        error,
    };
    let folder = Folder::create().map_err(start)?;
    if let Excluded::File(ranges) = arguments.excluded() {
        folder
            .write(EXCLUDE_FILE, ranges.as_bytes(), group)
            .map_err(start)?;
    }
    if let Some(group) = group {
        folder.share(group).map_err(start)?;
    }
    let (terminal, masscan_end) = open_terminal().map_err(start)?;
    let OutputEnds { stdout, child_end } =
        open_output(mode, &terminal, &masscan_end).map_err(start)?;
    let (stderr, stderr_end) = io::pipe().map_err(start)?;
    let small_output_findings = stdout.small_output_findings();
    let process = command(mode, &setsid, &run_as.words()?, &path, arguments, &folder)
        .stdin(masscan_end)
        .stdout(child_end)
        .stderr(stderr_end)
        .spawn()
        .map_err(start)?;
    let process = ReapedProcess {
        process,
        exit: None,
    };
    let reader = Reader::start(stdout, stderr.into(), arguments.rate_pps).map_err(start)?;
    Ok(Child {
        process,
        reader,
        small_output_findings,
        _terminal: terminal,
        _folder: folder,
    })
}

/// Opens everything that a scan needs of the system besides the program, and closes it again. Returns the folder for temporary files.
///
/// Errs with the cause: no space, no rights, too many open files, processes or terminals, or no memory.
pub fn try_resources() -> Result<PathBuf, ResourceError> {
    let of = |what| move |error| ResourceError { what, error };
    let parent = std::env::temp_dir();
    let folder = Folder::create().map_err(of("a temporary folder"))?;
    folder
        .write(EXCLUDE_FILE, &[b'\n'; RESOURCE_FILE_BYTES], None)
        .map_err(of("a file in the temporary folder"))?;
    let (terminal, end) = open_terminal().map_err(of("a terminal"))?;
    let _pipes = (
        io::pipe().map_err(of("a pipe"))?,
        io::pipe().map_err(of("a pipe"))?,
    );
    let thread = thread::Builder::new()
        .spawn(|| ())
        .map_err(of("a thread"))?;
    // An error means that it panicked, which this function does not depend on.
    let _ = thread.join();
    drop((terminal, end));
    Ok(parent)
}

/// What the system refused.
#[derive(Debug)]
pub struct ResourceError {
    what: &'static str,
    error: io::Error,
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, folder) = (self.what, std::env::temp_dir());
        write!(
            f,
            "the system refuses {what}: {} (the temporary folder is {}, see TMPDIR)",
            self.error,
            folder.display()
        )
    }
}

/// Opens a pseudo-terminal in raw mode. Returns this process's end and masscan's end.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = openpt(flags)?;
    grantpt(&own)?;
    unlockpt(&own)?;
    let end = ioctl_tiocgptpeer(&own, flags)?;
    let mut settings = tcgetattr(&end)?;
    settings.make_raw();
    tcsetattr(&end, OptionalActions::Now, &settings)?;
    Ok((own, end))
}

fn command(
    mode: &StdoutMode,
    setsid: &Path,
    run_as: &[String],
    program: &Path,
    arguments: &ScanArguments<'_>,
    folder: &Folder,
) -> Command {
    let mut command = Command::new(setsid);
    command
        .arg("--ctty")
        .arg("--")
        .args(run_as)
        .arg(program)
        .args(arguments.to_vec())
        .current_dir(folder.path())
        .env_clear()
        .envs(environment())
        .envs(mode.variables().iter().cloned());
    command
}

impl Child {
    /// masscan's process id.
    pub fn id(&self) -> u32 {
        self.process.process.id()
    }

    /// What it writes. Disconnected once its output has ended: it has exited or is about to.
    pub fn outputs(&self) -> &Receiver<Output> {
        self.reader.outputs()
    }

    /// How many findings can wait to be read, if the system allowed only a small pipe; none if the pipe has the usual size.
    pub fn small_output_findings(&self) -> Option<usize> {
        self.small_output_findings
    }

    /// Kills its process group: masscan and everything it started.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for its exit, to be called when its output has ended. After [`EXIT_WAIT`] it is killed.
    pub fn wait(mut self) -> Exit {
        self.process.reap()
    }
}

impl ReapedProcess {
    fn kill(&mut self) {
        if self.exit.is_some() {
            return;
        }
        if kill_process_group(Pid::from_child(&self.process), Signal::KILL).is_err() {
            // It does not lead a group yet, so it has not started anything; or it is a zombie.
            let _ = self.process.kill();
        }
    }

    fn reap(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let kill_at = Instant::now() + EXIT_WAIT;
        let exit = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break Exit::from(status),
                Ok(None) if Instant::now() >= kill_at => self.kill(),
                Ok(None) => {}
                // Something else has reaped it: how it ended is unknown, which is not a success.
                Err(_) => break Exit::Signal(0),
            }
            thread::sleep(EXIT_CHECK_EVERY);
        };
        self.exit = Some(exit);
        exit
    }
}

impl Drop for ReapedProcess {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::stdbuf;
    use super::super::script::install_script;
    use super::*;
    use crate::model::{Targets, Task};
    use std::fs;
    use tempfile::TempDir;

    const LINE: &str = r#"{"ip":"172.16.0.1","timestamp":"1","port":443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#;
    const DEADLINE: Duration = Duration::from_secs(20);

    /// Runs a shell script instead of masscan.
    fn script(body: &str) -> (TempDir, Child) {
        script_with(&preloaded(), body)
    }

    fn preloaded() -> StdoutMode {
        StdoutMode::Preloaded(stdbuf().expect("the tests run with coreutils"))
    }

    fn script_with(mode: &StdoutMode, body: &str) -> (TempDir, Child) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("masscan");
        install_script(&program, body);
        let task = Task::new(
            "a".parse().unwrap(),
            "172.16.0.1".parse().unwrap(),
            "443".parse().unwrap(),
            Default::default(),
        );
        let arguments = ScanArguments {
            task: &task,
            pass: 1,
            rate_pps: 1,
            resume_index: 0,
            exclude: &Targets::default(),
            source: &Default::default(),
        };
        let child = spawn(&program, mode, &RunAs::Caller, &arguments).unwrap();
        (folder, child)
    }

    /// Its outputs, at most `enough` of them, until they end.
    fn outputs(child: &Child, enough: usize) -> Vec<Output> {
        let (mut outputs, deadline) = (Vec::new(), Instant::now() + DEADLINE);
        while outputs.len() < enough {
            match child.outputs().recv_deadline(deadline) {
                Ok(output) => outputs.push(output),
                Err(error) if error.is_timeout() => panic!("timed out after {outputs:?}"),
                Err(_) => break,
            }
        }
        outputs
    }

    fn finding_count(outputs: &[Output]) -> usize {
        outputs
            .iter()
            .map(|output| match output {
                Output::Findings(findings) => findings.len(),
                _ => 0,
            })
            .sum()
    }

    fn is_alive(pid: u32) -> bool {
        // A zombie counts as dead.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn everything_it_writes_is_delivered_and_then_the_exit() {
        let (_folder, child) = script(&format!(
            "echo '{LINE}'; echo nonsense; printf 'rate:  2.00-kpps, 20.80%% done,   0:01:23 remaining, found=1       \\r' >&2; echo 'FAIL: no' >&2; exit 3"
        ));
        let outputs = outputs(&child, usize::MAX);
        assert_eq!(child.wait(), Exit::Code(3));
        assert_eq!(outputs.len(), 4, "{outputs:?}");
        assert_eq!(finding_count(&outputs), 1);
        assert!(outputs.iter().any(
            |output| matches!(output, Output::Progress { progress, .. } if progress.percent == 20.8)
        ));
        assert!(outputs.contains(&Output::Message("FAIL: no".to_owned())));
    }

    #[test]
    fn it_has_a_terminal_of_its_own_and_an_empty_folder() {
        let (_folder, child) =
            script("exec 2>&1; tty >&2; ps -o tty=,sess=,pid= -p $$ >&2; ls -A >&2; env >&2");
        let id = child.id().to_string();
        let text = format!("{:?}", outputs(&child, usize::MAX));
        assert_eq!(child.wait(), Exit::Code(0));
        assert!(text.contains("/dev/pts/"), "{text}");
        assert!(!text.contains("HOME="), "{text}");
        assert!(
            text.matches(&id).count() >= 2,
            "the child leads its session: {id} in {text}"
        );
    }

    #[test]
    fn a_kill_ends_it_and_what_it_started() {
        let (_folder, mut child) = script("sleep 600 & echo $! >&2; wait");
        let Some(Output::Message(started)) = outputs(&child, 1).pop() else {
            panic!()
        };
        child.kill();
        assert!(outputs(&child, 1).is_empty(), "its output ends");
        assert_eq!(child.wait(), Exit::Signal(9));
        let started: u32 = started.parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while is_alive(started) && Instant::now() < deadline {
            thread::sleep(EXIT_CHECK_EVERY);
        }
        assert!(!is_alive(started));
    }

    #[test]
    fn drop_ends_it_even_if_its_output_is_not_received() {
        let (_folder, child) = script(&format!("while :; do echo '{LINE}'; done"));
        let id = child.id();
        outputs(&child, 1);
        drop(child);
        assert!(!is_alive(id));
    }

    #[test]
    fn a_kill_right_after_the_start_ends_it() {
        for _ in 0..20 {
            let (_folder, mut child) = script("sleep 600");
            child.kill();
            assert!(outputs(&child, 1).is_empty(), "its output ends");
            assert_eq!(child.wait(), Exit::Signal(9));
        }
    }

    #[test]
    fn each_line_is_delivered_at_once_in_each_mode() {
        // A program that prints with stdio and does not exit; the shell's own echo does not buffer.
        let body = format!("(echo '{LINE}'; sleep 600) | cut -c 1-");
        for mode in &[preloaded(), StdoutMode::Terminal] {
            let (_folder, child) = script_with(mode, &body);
            assert_eq!(finding_count(&outputs(&child, 1)), 1, "{mode:?}");
        }
    }

    #[test]
    fn thousands_of_findings_are_delivered_in_each_mode() {
        let body = format!(
            "i=0; while [ $i -lt 5000 ]; do echo '{LINE}'; i=$((i+1)); done; echo done >&2"
        );
        for mode in &[preloaded(), StdoutMode::Terminal] {
            let (_folder, child) = script_with(mode, &body);
            let outputs = outputs(&child, usize::MAX);
            assert_eq!(child.wait(), Exit::Code(0));
            assert_eq!(finding_count(&outputs), 5000, "{mode:?}");
        }
    }

    #[test]
    fn its_output_holds_thousands_of_findings_while_nothing_is_read() {
        let lines = 5000;
        let body = format!(
            "i=0; while [ $i -lt {lines} ]; do echo '{LINE}'; i=$((i+1)); done; echo done >&2"
        );
        let (pipe, end) = super::super::output::open_pipe().unwrap();
        assert!(pipe.capacity >= lines * (LINE.len() + 1));
        let status = Command::new("sh")
            .args(["-c", &body])
            .stdout(end)
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "it has exited, although nothing was read");
        drop(pipe);
    }

    #[test]
    fn a_missing_program_is_named() {
        let (folder, child) = script("");
        drop(child);
        fs::remove_file(folder.path().join("masscan")).unwrap();
        let error = find(&folder.path().join("masscan"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not found: install masscan"), "{error}");
    }
}
