//! One masscan process: started with an argument vector, heard without waiting, ended for certain.
//!
//! **Its standard output is a pseudo-terminal.** Into a pipe masscan buffers whole blocks, and a kill loses them (226 of 256
//! findings arrived); into a terminal libc ends its buffer with each line. That also holds where masscan has file
//! capabilities, which make the loader ignore the preload of `stdbuf`.
//!
//! **The terminal is masscan's controlling one** (`setsid --ctty` of util-linux, which execs without a fork here): when this
//! process dies in whatever way, the kernel closes the other end and sends masscan a SIGHUP, which ends it. So no masscan goes
//! on sending as an orphan.
//!
//! **Nothing here waits for masscan.** Whoever owns a [`Child`] looks at what it has said every now and then, and [`Heard`]
//! says when to look again: to be woken by each line would cost several times what the line itself does.

use super::arguments::{EXCLUDE_FILE, Excluded};
use super::folder::Folder;
use super::lines::Cutter;
use super::pace::Pace;
use super::program::{ProgramError, find};
use super::stderr::{Said, said};
use super::{ScanArguments, findings};
use crate::model::limits::INTERRUPT_WAIT;
use crate::model::text::one_line;
use crate::model::{Finding, Progress};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes that one look takes from each of its streams.
const LOOK_BYTES: usize = 64 * 1024;
/// How often an exit is looked for while it is waited for.
const EXIT_LOOK_EVERY: Duration = Duration::from_millis(5);

/// What masscan says, as it says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An answer.
    Finding(Finding),
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
    findings: Stream,
    words: Stream,
    buffer: Box<[u8]>,
    pace: Pace,
    /// masscan's working folder, which goes away with it.
    _folder: Folder,
}

/// What one look at masscan's output came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Nothing that it had said by then is left to be heard.
    pub all: bool,
    /// Its output has ended: it is gone, or about to be.
    pub ended: bool,
    /// The next look may wait so long: the terminal holds what will have come if it goes on as it did.
    pub pause: Duration,
}

/// Starts `program` with `arguments`.
///
/// Errs where the program or `setsid` is missing, or the system refuses a terminal, a folder or a process.
pub fn spawn(program: &Path, arguments: &ScanArguments<'_>) -> Result<Child, ProgramError> {
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
    let (errors, errors_end) = io::pipe().map_err(start)?;
    let stdin = end.try_clone().map_err(start)?;
    let findings = Stream::new(terminal, b"\n").map_err(start)?;
    let words = Stream::new(errors.into(), b"\r\n").map_err(start)?;
    let process = command(&setsid, &path, arguments, &folder)
        .stdin(stdin)
        .stdout(end)
        .stderr(errors_end)
        .spawn()
        .map_err(start)?;
    Ok(Child {
        process,
        exit: None,
        findings,
        words,
        buffer: vec![0; LOOK_BYTES].into(),
        pace: Pace::new(Instant::now(), arguments.rate_pps),
        _folder: folder,
    })
}

/// The controlling end for this process and the other one for masscan, set so that nothing is translated or echoed.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
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

    /// Gives what it has said since the last look to `take`, without waiting for more; findings first, in the order in which it
    /// printed them.
    pub fn hear(&mut self, mut take: impl FnMut(Event)) -> Heard {
        let printed = self.findings.read(&mut self.buffer, |line| {
            if let Some(event) = found(line) {
                take(event);
            }
        });
        let spoken = self.words.read(&mut self.buffer, |line| {
            if let Some(event) = spoken(line) {
                take(event);
            }
        });
        Heard {
            all: printed < LOOK_BYTES && spoken < LOOK_BYTES,
            ended: self.findings.ended && self.words.ended,
            pause: self.pace.pause(Instant::now(), printed),
        }
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
        self.reap()
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
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}

/// One of masscan's streams.
#[derive(Debug)]
struct Stream {
    file: File,
    cutter: Cutter,
    ended: bool,
}

impl Stream {
    /// Of lines that end at each of these bytes.
    fn new(end: OwnedFd, line_ends: &'static [u8]) -> io::Result<Stream> {
        // Of this end alone: masscan's is another one.
        fcntl_setfl(&end, fcntl_getfl(end.as_fd())? | OFlags::NONBLOCK)?;
        Ok(Stream {
            file: File::from(end),
            cutter: Cutter::new(line_ends),
            ended: false,
        })
    }

    /// Gives each line that has come to `take`, until nothing more has or the buffer was filled once. How many bytes that was.
    fn read(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> usize {
        let mut filled = 0;
        while filled < buffer.len() && !self.ended {
            match self.file.read(&mut buffer[filled..]) {
                // A terminal ends with an error (EIO), not with an empty read.
                Ok(0) => self.ended = true,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.ended = true,
            }
        }
        self.cutter.push(&buffer[..filled], &mut take);
        if self.ended {
            self.cutter.end(take);
        }
        filled
    }
}

fn found(line: &[u8]) -> Option<Event> {
    match findings::parse(line) {
        Ok(finding) => finding.map(Event::Finding),
        Err(error) => Some(Event::Unreadable(one_line(&error.to_string()))),
    }
}

fn spoken(line: &[u8]) -> Option<Event> {
    Some(match said(line)? {
        Said::Progress(progress) => Event::Progress(progress),
        Said::Words(words) => Event::Words(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Targets, Task};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const LINE: &str = r#"{"ip":"172.16.0.1","timestamp":"1","port":443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#;

    /// Runs a shell script in masscan's place.
    fn script(body: &str) -> (TempDir, Child) {
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
        let child = spawn(&program, &arguments).unwrap();
        (folder, child)
    }

    /// What it says until `enough` of it has come or its output has ended.
    fn hear(child: &mut Child, enough: usize) -> Vec<Event> {
        let (mut events, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
        while events.len() < enough {
            let heard = child.hear(|event| events.push(event));
            if heard.ended {
                break;
            }
            assert!(Instant::now() < deadline, "only {events:?} came");
            thread::sleep(heard.pause);
        }
        events
    }

    fn alive(pid: u32) -> bool {
        // A zombie counts as dead.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn output_comes_as_events_and_then_the_exit() {
        let (_folder, mut child) = script(&format!(
            "echo '{LINE}'; echo nonsense; printf 'rate:  2.00-kpps, 20.80%% done,   0:01:23 remaining, found=1       \\r' >&2; echo 'FAIL: no' >&2; exit 3"
        ));
        let events = hear(&mut child, usize::MAX);
        assert_eq!(child.wait(), Exit::Code(3));
        assert_eq!(events.len(), 4, "{events:?}");
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Finding(finding) if finding.port == 443))
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
        let (_folder, mut child) =
            script("exec 2>&1; tty >&2; ps -o tty=,sess=,pid= -p $$ >&2; ls -A >&2; env >&2");
        let id = child.id().to_string();
        let words = format!("{:?}", hear(&mut child, usize::MAX));
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
        let (_folder, mut child) = script("sleep 600 & echo $! >&2; wait");
        let Some(Event::Words(started)) = hear(&mut child, 1).pop() else {
            panic!()
        };
        child.kill();
        assert!(hear(&mut child, 1).is_empty(), "its output ends");
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
        let (_folder, mut child) = script(&format!("while :; do echo '{LINE}'; done"));
        let id = child.id();
        hear(&mut child, 1);
        drop(child);
        assert!(!alive(id));
    }

    #[test]
    fn a_flood_is_heard_whole() {
        let (_folder, mut child) = script(&format!(
            "i=0; while [ $i -lt 5000 ]; do echo '{LINE}'; i=$((i+1)); done"
        ));
        let findings = hear(&mut child, usize::MAX).len();
        assert_eq!(child.wait(), Exit::Code(0));
        assert_eq!(findings, 5000);
    }

    #[test]
    fn a_look_is_bounded_and_the_last_line_needs_no_end() {
        let (ours, mut theirs) = io::pipe().unwrap();
        let mut stream = Stream::new(ours.into(), b"\n").unwrap();
        let (mut buffer, mut lines) = ([0; 1000], Vec::new());
        let mut look = |lines: &mut Vec<usize>| {
            let filled = stream.read(&mut buffer, |line| lines.push(line.len()));
            (filled, stream.ended)
        };
        assert_eq!(look(&mut lines), (0, false), "nothing has come");
        theirs
            .write_all("123456789\n".repeat(250).as_bytes())
            .unwrap();
        theirs.write_all(b"abc").unwrap();
        assert_eq!(look(&mut lines), (1000, false));
        assert_eq!(look(&mut lines), (1000, false));
        assert_eq!(look(&mut lines), (503, false));
        assert_eq!(lines, [9; 250]);
        drop(theirs);
        assert_eq!(look(&mut lines), (0, true));
        assert_eq!(lines.pop(), Some(3), "abc");
        assert_eq!(look(&mut lines), (0, true));
        assert_eq!(lines.len(), 250, "and only once");
    }

    #[test]
    fn it_ends_with_both_of_its_streams() {
        let (_folder, mut child) = script("exec <&- >&-; sleep 0.3; echo still here >&2");
        assert_eq!(
            hear(&mut child, usize::MAX),
            [Event::Words("still here".to_owned())]
        );
        assert_eq!(child.wait(), Exit::Code(0));
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
