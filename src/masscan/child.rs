//! One masscan process: started with an argument vector, heard without waiting, ended for certain.
//!
//! **It has a terminal, which is its controlling one** (`setsid --ctty` of util-linux, which execs without a fork here): when this
//! process dies in whatever way, the kernel closes the other end and sends masscan a SIGHUP, which ends it. So no masscan goes
//! on sending as an orphan.
//!
//! **Nobody waits for findings.** Whoever owns a [`Child`] looks at what it has said every now and then, [`Child::pause`] in
//! between: to be woken by each finding would cost several times what the finding itself does. For the same reason a look only
//! empties the pipe; findings are read once masscan says something else, which does wake, or many have come.

use super::arguments::{EXCLUDE_FILE, Excluded};
use super::folder::Folder;
use super::lines::Cutter;
use super::output::{PIPE_BYTES, StdoutMode, output};
use super::pace::Pace;
use super::program::{ProgramError, environment, find};
use super::stderr::{Said, said};
use super::{ScanArguments, findings};
use crate::model::text::one_line;
use crate::model::{Finding, Progress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fmt;
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// After an interrupt masscan gets this long to write its last findings before it is killed.
const INTERRUPT_WAIT: Duration = Duration::from_secs(2);
/// Findings that masscan has printed are read at least this often; with its next progress line they are anyway.
const FINDINGS_UNREAD_MAX: Duration = Duration::from_millis(1000);

/// Most bytes that are taken from a stream at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// A look takes so many of them: all that a pipe holds.
const LOOK_PIECES: usize = PIPE_BYTES / PIECE_BYTES;
/// Findings are read once so many bytes of them have come.
const UNREAD_BYTES: usize = 32 * 1024;
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
    pace: Pace,
    /// When findings were last read, not only received.
    read_at: Instant,
    /// The last look brought words.
    has_spoken: bool,
    /// Its end is masscan's controlling terminal.
    _terminal: OwnedFd,
    /// masscan's working folder, which goes away with it.
    _folder: Folder,
}

/// What one look at masscan's output came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Nothing that it had said by then is left to be heard.
    pub all: bool,
    /// It said something that is no finding.
    pub has_spoken: bool,
    /// Its output has ended: it is gone, or about to be.
    pub ended: bool,
    /// It may have had to wait for its output to be taken for so long that answers are lost.
    pub overrun: bool,
}

/// Starts `program` with `arguments`, made to write each line by `printing`.
///
/// Errs where the program or `setsid` is missing, or the system refuses a terminal, a folder or a process.
pub fn spawn(
    program: &Path,
    printing: &StdoutMode,
    arguments: &ScanArguments<'_>,
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
    let output = output(printing, &terminal, &end).map_err(start)?;
    let (errors, errors_end) = io::pipe().map_err(start)?;
    let findings = Stream::new(output.reader).map_err(start)?;
    let words = Stream::new(errors).map_err(start)?;
    let process = command(printing, &setsid, &path, arguments, &folder)
        .stdin(end)
        .stdout(output.end)
        .stderr(errors_end)
        .spawn()
        .map_err(start)?;
    let now = Instant::now();
    Ok(Child {
        process,
        exit: None,
        findings,
        words,
        pace: Pace::new(
            now,
            arguments.rate_pps,
            output.holds,
            *printing == StdoutMode::Terminal,
        ),
        read_at: now,
        has_spoken: false,
        _terminal: terminal,
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
    printing: &StdoutMode,
    setsid: &Path,
    program: &Path,
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
        .envs(environment())
        .envs(printing.variables().iter().cloned());
    command
}

impl Child {
    /// masscan's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How many findings can wait for a look, where the system gives room for fewer than it should.
    pub fn lacks_room(&self) -> Option<usize> {
        self.pace.lacks_room()
    }

    /// Gives what it has said since the last look to `take`, without waiting for more: findings, in the order in which it printed
    /// them, then words. Findings by themselves may be kept for later, for [`FINDINGS_UNREAD_MAX`] at most.
    pub fn hear(&mut self, mut take: impl FnMut(Event)) -> Drained {
        let began = Instant::now();
        let (mut received, mut lines, mut bytes) = (0, 0, 0);
        let mut found = |line: &[u8]| {
            lines += 1;
            bytes += line.len() + 1;
            found(line).into_iter().for_each(&mut take);
        };
        for _ in 0..LOOK_PIECES {
            received += self.findings.receive();
            if self.findings.unread.len() >= UNREAD_BYTES {
                self.read_at = began;
                self.findings.read(&mut found);
            }
            if !self.findings.has_more {
                break;
            }
        }
        // Judged by what came until now: a process may be stopped between any two lines of code.
        let overrun = self.pace.is_overrun(Instant::now(), received);
        self.has_spoken = self.words.receive() > 0;
        let ended = self.findings.ended && self.words.ended;
        if self.has_spoken || ended || began.duration_since(self.read_at) >= FINDINGS_UNREAD_MAX {
            self.read_at = began;
            self.findings.read(found);
        }
        self.pace.read(lines, bytes);
        self.words
            .read(|line| spoken(line).into_iter().for_each(&mut take));
        self.pace.looked(began, received);
        Drained {
            all: self.findings.is_read() && self.words.is_read(),
            has_spoken: self.has_spoken,
            ended,
            overrun,
        }
    }

    /// Waits until the next look, after each one: `most` at most, and no longer than the pipe holds what will have come if it goes on as
    /// it did. Words end the wait, but not right after others: however much it says, it is listened to at intervals.
    pub fn pause(&mut self, most: Duration) {
        let pause = self.pace.pause(Instant::now(), most);
        if self.has_spoken || self.words.ended {
            thread::sleep(pause);
            return;
        }
        let most = Timespec::try_from(pause).expect("pauses are a fraction of a second");
        let mut words = [PollFd::new(&self.words.pipe, PollFlags::IN)];
        match poll(&mut words, Some(&most)) {
            // By a signal to this process.
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => thread::sleep(pause),
        }
    }

    /// Ends it at once, with whatever it started: it leads a process group of its own.
    pub fn kill(&mut self) {
        if self.exit.is_some() {
            return;
        }
        if kill_process_group(Pid::from_child(&self.process), Signal::KILL).is_err() {
            // It leads no group yet, and so has started nothing; or it is a zombie, and there is nothing left to end.
            let _ = self.process.kill();
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

/// One of masscan's streams: lines that end in a line feed or a carriage return.
#[derive(Debug)]
struct Stream {
    pipe: PipeReader,
    unread: Vec<u8>,
    cutter: Cutter,
    /// There may be more than was taken at a time.
    has_more: bool,
    ended: bool,
}

impl Stream {
    fn new(pipe: PipeReader) -> io::Result<Stream> {
        // Of this end alone: masscan's is another one.
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        Ok(Stream {
            pipe,
            unread: Vec::new(),
            cutter: Cutter::default(),
            has_more: false,
            ended: false,
        })
    }

    /// Takes what has come, [`PIECE_BYTES`] at most. How many bytes that was.
    fn receive(&mut self) -> usize {
        let before = self.unread.len();
        if !self.ended {
            let mut piece = (&self.pipe).take(PIECE_BYTES as u64);
            let result = piece.read_to_end(&mut self.unread);
            self.has_more = piece.limit() == 0;
            self.ended = match result {
                Ok(_) => !self.has_more,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            };
        }
        self.unread.len() - before
    }

    /// Gives each line that has been received to `take`.
    fn read(&mut self, mut take: impl FnMut(&[u8])) {
        self.cutter.push(&self.unread, &mut take);
        self.unread.clear();
        if self.ended {
            self.cutter.end(take);
        }
    }

    /// Nothing had come that is not read yet, when it was last received; through a terminal, but for what is on its way.
    fn is_read(&self) -> bool {
        self.unread.is_empty() && !self.has_more && self.cutter.is_between_lines()
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
    use super::super::output::stdbuf;
    use super::*;
    use crate::masscan::pace::LOOK_EVERY_MAX;
    use crate::model::{Targets, Task};
    use rustix::io::ioctl_fionread;
    use rustix::pipe::fcntl_setpipe_size;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const LINE: &str = r#"{"ip":"172.16.0.1","timestamp":"1","port":443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#;

    /// Runs a shell script in masscan's place.
    fn script(body: &str) -> (TempDir, Child) {
        script_by(&preloaded(), body)
    }

    fn preloaded() -> StdoutMode {
        StdoutMode::Preloaded(stdbuf().expect("coreutils is there where the tests run"))
    }

    fn script_by(printing: &StdoutMode, body: &str) -> (TempDir, Child) {
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
        let child = spawn(&program, printing, &arguments).unwrap();
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
            child.pause(LOOK_EVERY_MAX);
        }
        events
    }

    /// Bytes that have come and were not received.
    fn waiting(stream: &Stream) -> usize {
        ioctl_fionread(&stream.pipe).unwrap() as usize
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
    fn a_piece_is_bounded_and_the_last_line_needs_no_end() {
        let (ours, mut theirs) = io::pipe().unwrap();
        fcntl_setpipe_size(&theirs, 2 * PIECE_BYTES).unwrap();
        let mut stream = Stream::new(ours).unwrap();
        let mut lines = Vec::new();
        let mut look = |lines: &mut Vec<usize>| {
            let (waiting, received) = (waiting(&stream), stream.receive());
            stream.read(|line| lines.push(line.len()));
            (waiting, received, stream.has_more, stream.ended)
        };
        assert_eq!(look(&mut lines), (0, 0, false, false), "nothing has come");
        let bound = PIECE_BYTES;
        let block = [vec![b'y'; 1023].as_slice(), b"\n"]
            .concat()
            .repeat(bound / 1024);
        theirs.write_all(&block).unwrap();
        theirs.write_all(b"abc").unwrap();
        assert_eq!(look(&mut lines), (bound + 3, bound, true, false));
        assert_eq!(look(&mut lines), (3, 3, false, false));
        theirs.write_all(b"d\ne").unwrap();
        drop(theirs);
        assert_eq!(look(&mut lines), (3, 3, false, true));
        assert_eq!(lines.split_off(bound / 1024), [4, 1]);
        assert_eq!(lines, vec![1023; bound / 1024]);
        assert_eq!(look(&mut lines), (0, 0, false, true));
        assert_eq!(lines.len(), bound / 1024, "and only once");
    }

    #[test]
    fn findings_alone_wait_a_moment_and_words_bring_them_out() {
        let (_folder, mut child) = script(&format!(
            "echo '{LINE}'; read go; echo '{LINE}'; echo words >&2; sleep 600"
        ));
        let (mut events, mut kept) = (Vec::new(), 0);
        let deadline = Instant::now() + Duration::from_secs(20);
        while events.is_empty() {
            let heard = child.hear(|event| events.push(event));
            assert_eq!(heard.all, child.findings.unread.is_empty());
            kept += u32::from(!heard.all);
            assert!(Instant::now() < deadline, "it comes by itself");
            child.pause(LOOK_EVERY_MAX);
        }
        assert!(kept > 0 && events.len() == 1, "{events:?}");
        assert!(matches!(events[0], Event::Finding(_)), "{events:?}");
        child.read_at = Instant::now() + Duration::from_secs(600);
        rustix::io::write(&child._terminal, b"go\n").unwrap();
        let more = hear(&mut child, 2);
        assert!(more.contains(&Event::Words("words".to_owned())), "{more:?}");
    }

    #[test]
    fn words_end_a_pause_and_findings_do_not() {
        let (_folder, mut child) = script(&format!(
            "read go; echo '{LINE}'; read go; echo words >&2; read go; exec >&- 2>&-; sleep 600"
        ));
        // It grows to the most by and by.
        for _ in 0..11 {
            child.pause(Duration::from_millis(500));
            child.hear(|_| panic!("nothing is said yet"));
        }
        let long = Duration::from_secs(1);
        let paused = |child: &mut Child, go: bool| {
            if go {
                rustix::io::write(&child._terminal, b"go\n").unwrap();
            }
            let began = Instant::now();
            child.pause(long);
            let (took, heard) = (began.elapsed(), child.hear(drop));
            (took < long, heard.has_spoken)
        };
        assert_eq!(paused(&mut child, true), (false, false), "a finding");
        assert_eq!(paused(&mut child, true), (true, true), "words");
        assert_eq!(paused(&mut child, false), (false, false), "after words");
        assert_eq!(paused(&mut child, true), (true, false), "its end");
        assert!(
            child.words.ended && !paused(&mut child, false).0,
            "and once only"
        );
    }

    #[test]
    fn each_line_comes_at_once_however_it_is_made_to() {
        // Not the shell's own echo, which writes by itself: a program that prints with stdio, and ends it with a block.
        let body = format!("printf 'masscan\\n' >&2; (echo '{LINE}'; sleep 600) | cut -c 1-");
        for printing in &[preloaded(), StdoutMode::Terminal] {
            let (_folder, mut child) = script_by(printing, &body);
            let events = hear(&mut child, 2);
            assert!(
                events
                    .iter()
                    .any(|event| matches!(event, Event::Finding(_))),
                "{printing:?}: {events:?}"
            );
        }
    }

    #[test]
    fn a_kill_right_after_the_start_ends_it() {
        for _ in 0..20 {
            let (_folder, mut child) = script("sleep 600");
            child.kill();
            assert!(hear(&mut child, 1).is_empty(), "its output ends");
            assert_eq!(child.wait(), Exit::Signal(9));
        }
    }

    #[test]
    fn it_prints_thousands_of_findings_while_nobody_looks() {
        let body = format!(
            "i=0; while [ $i -lt 5000 ]; do echo '{LINE}'; i=$((i+1)); done; echo done >&2; sleep 600"
        );
        for printing in &[preloaded(), StdoutMode::Terminal] {
            let (_folder, mut child) = script_by(printing, &body);
            let deadline = Instant::now() + Duration::from_secs(20);
            let bytes = 5000 * (LINE.len() + 1);
            while waiting(&child.words) == 0 || waiting(&child.findings) < bytes {
                assert!(Instant::now() < deadline, "{printing:?}: it waits");
                thread::sleep(EXIT_LOOK_EVERY);
            }
            let mut events = Vec::new();
            let heard = child.hear(|event| events.push(event));
            assert!(heard.all, "one look takes them all");
            assert_eq!(events.pop(), Some(Event::Words("done".to_owned())));
            assert_eq!(events.len(), 5000, "{printing:?}");
        }
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
