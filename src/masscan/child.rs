//! One masscan process: started with an argument vector, read by two threads, ended for certain.
//!
//! **Its standard output is a pseudo-terminal.** Into a pipe masscan buffers whole blocks, and a kill loses them (226 of 256
//! findings arrived); into a terminal libc ends its buffer with each line. That also holds where masscan has file
//! capabilities, which make the loader ignore the preload of `stdbuf`.
//!
//! **The terminal is masscan's controlling one** (`setsid --ctty` of util-linux, which execs without a fork here): when this
//! process dies in whatever way, the kernel closes the other end and sends masscan a SIGHUP, which ends it. So no masscan goes
//! on sending as an orphan.

use super::arguments::{EXCLUDE_FILE, Excluded};
use super::folder::Folder;
use super::lines::Cutter;
use super::program::{ProgramError, find};
use super::stderr::{Said, said};
use super::{ScanArguments, findings};
use crate::model::limits::INTERRUPT_WAIT;
use crate::model::text::one_line;
use crate::model::{Finding, Progress};
use crossbeam_channel::Sender;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// How long findings may come together in the terminal before they are read.
const FINDINGS_PAUSE: Duration = Duration::from_millis(10);
/// Where they came to more than this in the last such time, they are read at once: a terminal holds 4 KiB at least.
const FINDINGS_PAUSE_MAX_BYTES: usize = 2048;
/// How often an exit is looked for while it is waited for.
const EXIT_LOOK_EVERY: Duration = Duration::from_millis(5);

/// What masscan says, as it says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Answers, in the order in which it printed them.
    Findings(Vec<Finding>),
    /// A line of its output that is no finding: the reason, with the line quoted and shortened.
    Unreadable(String),
    /// A progress line.
    Progress(Progress),
    /// Any other line of its standard error.
    Words(String),
}

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
    process: std::process::Child,
    exit: Option<Exit>,
    readers: Vec<JoinHandle<()>>,
    /// masscan's working folder, which goes away with it.
    _folder: Folder,
}

/// Starts `program` with `arguments`. What it says goes to `events`, which is disconnected once all of its output has been
/// handed over. A receiver that is dropped ends the readers.
///
/// Errs where the program or `setsid` is missing, or the system refuses a terminal, a folder or a process.
pub fn spawn(
    program: &Path,
    arguments: &ScanArguments<'_>,
    events: Sender<Event>,
) -> Result<Child, ProgramError> {
    let path = find(program)?;
    let setsid = find(Path::new("setsid"))?;
    let start = |error: io::Error| ProgramError::Start {
        program: path.clone(),
        error,
    };
    let folder = Folder::make().map_err(start)?;
    if let Excluded::File(ranges) = arguments.excluded() {
        fs::write(folder.path().join(EXCLUDE_FILE), ranges).map_err(start)?;
    }
    let (terminal, end) = terminal().map_err(start)?;
    let stdin = end.try_clone().map_err(start)?;
    let mut process = command(&setsid, &path, arguments, &folder)
        .stdin(stdin)
        .stdout(end)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let stderr = process.stderr.take();
    let mut child = Child {
        process,
        exit: None,
        readers: Vec::with_capacity(2),
        _folder: folder,
    };
    let to_findings = events.clone();
    child
        .read("masscan-out", move || read_findings(terminal, &to_findings))
        .map_err(start)?;
    if let Some(stderr) = stderr {
        child
            .read("masscan-err", move || read_words(stderr, &events))
            .map_err(start)?;
    }
    Ok(child)
}

/// The controlling end for this process and the other one for masscan, set so that nothing is translated or echoed.
fn terminal() -> io::Result<(File, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = openpt(flags)?;
    grantpt(&own)?;
    unlockpt(&own)?;
    let end = ioctl_tiocgptpeer(&own, flags)?;
    let mut settings = tcgetattr(&end)?;
    settings.make_raw();
    tcsetattr(&end, OptionalActions::Now, &settings)?;
    Ok((File::from(own), end))
}

fn command(
    setsid: &Path,
    program: &PathBuf,
    arguments: &ScanArguments<'_>,
    folder: &Folder,
) -> Command {
    let mut command = Command::new(setsid);
    command
        .arg("--ctty")
        .arg("--")
        .arg(program)
        .args(arguments.to_vec())
        .current_dir(folder.path())
        .env_clear()
        .env("LANG", "C")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

impl Child {
    /// masscan's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, with whatever it started: it leads a process group of its own.
    pub fn kill(&mut self) {
        if self.exit.is_some() {
            return;
        }
        let group = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        if let Some(group) = group {
            // The group is gone only where the process is a zombie already; then there is nothing left to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Waits for its exit, to be called when its output has ended. One that lives on for [`INTERRUPT_WAIT`] is killed.
    pub fn wait(mut self) -> Exit {
        let exit = self.reap();
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                log::error!("a reader of masscan's output ended by a panic");
            }
        }
        exit
    }

    fn reap(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let kill_at = Instant::now() + INTERRUPT_WAIT;
        let exit = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break Exit::from(status),
                Ok(None) if Instant::now() >= kill_at => self.kill(),
                Ok(None) => {}
                // Only where somebody else has reaped it: how it ended is unknown, which is no success.
                Err(_) => break Exit::Signal(0),
            }
            thread::sleep(EXIT_LOOK_EVERY);
        };
        self.exit = Some(exit);
        exit
    }

    fn read(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let reader = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.readers.push(reader);
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.reap();
        // The readers end by themselves now that the streams have: joining them here could wait for a full channel.
    }
}

/// Sends the findings of one read together, and lets a few come together before the next one: to wake two threads for each costs
/// more than the finding itself.
fn read_findings(stream: impl Read, events: &Sender<Event>) {
    let mut cutter = Cutter::new(b"\n");
    let mut pace = Pace::new();
    read_pieces(stream, |bytes| {
        let mut findings = Vec::new();
        let mut wanted = true;
        let mut take = |line: &[u8]| match findings::parse(line) {
            Ok(None) => {}
            Ok(Some(finding)) => findings.push(finding),
            Err(error) => {
                let line = one_line(&error.to_string());
                wanted = wanted && events.send(Event::Unreadable(line)).is_ok();
            }
        };
        match bytes {
            Some(bytes) => cutter.push(bytes, &mut take),
            None => cutter.end(&mut take),
        }
        if !findings.is_empty() {
            wanted = wanted && events.send(Event::Findings(findings)).is_ok();
        }
        if bytes.is_some_and(|bytes| pace.is_slow(bytes.len())) {
            thread::sleep(FINDINGS_PAUSE);
        }
        wanted
    });
}

/// How fast findings come, by the bytes of the last [`FINDINGS_PAUSE`].
struct Pace {
    since: Instant,
    bytes: usize,
    slow: bool,
}

impl Pace {
    fn new() -> Pace {
        Pace {
            since: Instant::now(),
            bytes: 0,
            slow: false,
        }
    }

    /// Takes note of a read, and says whether the next one may wait.
    fn is_slow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed >= FINDINGS_PAUSE {
            let a_pause_each = FINDINGS_PAUSE.as_secs_f64() / elapsed.as_secs_f64();
            self.slow = self.bytes as f64 * a_pause_each <= FINDINGS_PAUSE_MAX_BYTES as f64;
            *self = Pace {
                slow: self.slow,
                ..Pace::new()
            };
        }
        self.slow
    }
}

fn read_words(stream: impl Read, events: &Sender<Event>) {
    let mut cutter = Cutter::new(b"\r\n");
    read_pieces(stream, |bytes| {
        let mut wanted = true;
        let mut take = |line: &[u8]| {
            let event = match said(line) {
                None => return,
                Some(Said::Progress(progress)) => Event::Progress(progress),
                Some(Said::Words(words)) => Event::Words(words),
            };
            wanted = wanted && events.send(event).is_ok();
        };
        match bytes {
            Some(bytes) => cutter.push(bytes, &mut take),
            None => cutter.end(&mut take),
        }
        wanted
    });
}

/// Gives what each read brings to `take`, and then none, until the stream ends or `take` answers false. A terminal ends with
/// an error (EIO), not with an empty read.
fn read_pieces(mut stream: impl Read, mut take: impl FnMut(Option<&[u8]>) -> bool) {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) if !take(Some(&bytes[..count])) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    take(None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Targets, Task};
    use crossbeam_channel::{Receiver, bounded};
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const LINE: &str = r#"{"ip":"172.16.0.1","timestamp":"1","port":443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#;

    /// Runs a shell script in masscan's place.
    fn script(body: &str) -> (TempDir, Result<Child, ProgramError>, Receiver<Event>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("masscan");
        fs::write(&program, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let task = Task::new(
            "a".parse().unwrap(),
            "172.16.0.1".parse().unwrap(),
            "443".parse().unwrap(),
            Default::default(),
        );
        let arguments = ScanArguments {
            task: &task,
            rate_pps: 1,
            resume_index: 0,
            exclude: &Targets::default(),
            source: &Default::default(),
        };
        let (events, inbox) = bounded(4);
        let child = spawn(&program, &arguments, events);
        (folder, child, inbox)
    }

    fn alive(pid: u32) -> bool {
        // A zombie counts as dead.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn output_comes_as_events_and_then_the_exit() {
        let (_folder, child, inbox) = script(&format!(
            "echo '{LINE}'; echo nonsense; printf 'rate:  2.00-kpps, 20.80%% done,   0:01:23 remaining, found=1       \\r' >&2; echo 'FAIL: no' >&2; exit 3"
        ));
        let events: Vec<Event> = inbox.iter().collect();
        assert_eq!(child.unwrap().wait(), Exit::Code(3));
        assert_eq!(events.len(), 4, "{events:?}");
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Findings(findings) if findings[0].port == 443))
        );
        assert!(
            events.iter().any(
                |event| matches!(event, Event::Progress(progress) if progress.percent == 20.8)
            )
        );
        assert!(events.contains(&Event::Words("FAIL: no".to_owned())));
    }

    #[test]
    fn it_has_a_terminal_of_its_own_and_an_empty_folder() {
        let (_folder, child, inbox) =
            script("exec 2>&1; tty >&2; ps -o tty=,sess=,pid= -p $$ >&2; ls -A >&2; env >&2");
        let child = child.unwrap();
        let (id, words) = (
            child.id().to_string(),
            inbox
                .iter()
                .map(|event| format!("{event:?}"))
                .collect::<Vec<_>>()
                .join("|"),
        );
        assert_eq!(child.wait(), Exit::Code(0));
        assert!(words.contains("/dev/pts/"), "{words}");
        assert!(!words.contains("HOME="), "{words}");
        assert!(
            words.matches(&id).count() >= 2,
            "the child leads its session: {id} in {words}"
        );
    }

    #[test]
    fn a_kill_ends_it_with_what_it_started() {
        let (_folder, child, inbox) = script("sleep 600 & echo $! >&2; wait");
        let mut child = child.unwrap();
        let Event::Words(started) = inbox.recv().unwrap() else {
            panic!()
        };
        child.kill();
        assert!(inbox.iter().next().is_none(), "its output ends");
        assert_eq!(child.wait(), Exit::Signal(9));
        let started: u32 = started.parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while alive(started) && Instant::now() < deadline {
            thread::sleep(EXIT_LOOK_EVERY);
        }
        assert!(!alive(started));
    }

    #[test]
    fn drop_ends_it_even_when_nobody_listens() {
        let (_folder, child, inbox) = script(&format!("while :; do echo '{LINE}'; done"));
        let child = child.unwrap();
        let id = child.id();
        inbox.recv().unwrap();
        drop(child);
        assert!(!alive(id));
        drop(inbox);
    }

    #[test]
    fn a_missing_program_is_named() {
        let (folder, child, _inbox) = script("");
        drop(child);
        fs::remove_file(folder.path().join("masscan")).unwrap();
        let error = find(&folder.path().join("masscan"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not found: install masscan"), "{error}");
    }
}
