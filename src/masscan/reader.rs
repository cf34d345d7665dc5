//! The thread `scan-N-reader`: reads the standard output and standard error of one masscan, and passes on what they contain.
//!
//! It blocks until masscan writes, reads everything that is there, and sends it as [`Output`] over a bounded channel. Findings go out in
//! batches, by size or by age.
//!
//! **Invariant:** when [`Output::Progress`] is delivered, every finding that masscan had printed by its `read_at` has been delivered
//! before it. Checkpoints rely on this.

use super::findings;
use super::lines::Cutter;
use super::overrun::OverrunDetector;
use super::stderr::{Line, parse};
use crate::model::text::one_line;
use crate::model::{Finding, Progress};
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ioctl_fionread};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Maximum number of findings in a batch.
const FINDINGS_BATCH_MAX: usize = 1000;
/// A finding waits at most this long for others of its batch.
const FINDINGS_BATCH_AGE: Duration = Duration::from_secs(1);
/// Outputs that may wait for the scan thread: with full batches 64 000 findings, about 6 MiB.
const OUTPUTS_MAX: usize = 64;
/// Pause between two reads, so that a scan with many findings does not wake the thread for each of them. At 100 000 findings a second
/// 2000 arrive in this time, less than a third of what a pipe of 1 MiB holds. A terminal holds only about 80 findings, so there is no
/// pause there.
const READ_PAUSE: Duration = Duration::from_millis(20);
/// Maximum number of bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// The thread checks this often whether its scan has gone.
const ABANDONED_CHECK_EVERY: Duration = Duration::from_millis(500);

/// What masscan writes, in the order in which the scan has to see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Answers, in the order in which masscan printed them.
    Findings(Vec<Finding>),
    /// A line of standard output that is not a finding: the reason, with the line quoted and shortened.
    Unreadable(String),
    /// A progress line.
    Progress {
        /// What it says.
        progress: Progress,
        /// When it was read. All findings that were printed until then have been delivered.
        read_at: Instant,
    },
    /// Any other line of standard error.
    Message(String),
    /// masscan was blocked on its output for so long that answers may be lost.
    Overrun,
}

/// Where masscan's standard output comes from.
#[derive(Debug)]
pub(super) struct Stdout {
    /// The read end of a pipe, or the controlling end of a terminal.
    pub(super) file: OwnedFd,
    /// How many bytes can wait there.
    pub(super) capacity: usize,
    /// Whether it is a terminal.
    pub(super) is_terminal: bool,
}

/// The running thread. Dropping it ends and joins it; masscan has to be gone by then, or the join takes up to
/// [`ABANDONED_CHECK_EVERY`].
#[derive(Debug)]
pub(super) struct Reader {
    outputs: Option<Receiver<Output>>,
    is_abandoned: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread for a scan that sends `rate_pps` packets per second. Errs if the system refuses a thread or a mode of the
    /// streams.
    pub(super) fn start(stdout: Stdout, stderr: OwnedFd, rate_pps: u64) -> io::Result<Reader> {
        let (sender, outputs) = bounded(OUTPUTS_MAX);
        let is_abandoned = Arc::new(AtomicBool::new(false));
        let task = ReaderTask {
            overrun: OverrunDetector::new(stdout.capacity, rate_pps),
            is_terminal: stdout.is_terminal,
            stdout: Stream::new(stdout.file)?,
            stderr: Stream::new(stderr)?,
            batch: Batch::default(),
            outputs: sender,
            is_abandoned: is_abandoned.clone(),
        };
        let scan = thread::current().name().unwrap_or("scan").to_owned();
        let thread = thread::Builder::new()
            .name(format!("{scan}-reader"))
            .spawn(move || task.run())?;
        Ok(Reader {
            outputs: Some(outputs),
            is_abandoned,
            thread: Some(thread),
        })
    }

    /// What masscan writes. Disconnected once both streams have ended and everything was delivered.
    pub(super) fn outputs(&self) -> &Receiver<Output> {
        self.outputs
            .as_ref()
            .expect("the receiver is taken on drop only")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
        // A thread that waits for room in the channel ends with an error.
        self.outputs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The scan no longer receives: the thread ends.
struct Abandoned;

struct ReaderTask {
    stdout: Stream,
    stderr: Stream,
    overrun: OverrunDetector,
    is_terminal: bool,
    batch: Batch,
    outputs: Sender<Output>,
    is_abandoned: Arc<AtomicBool>,
}

/// Findings that wait to be sent together.
#[derive(Default)]
struct Batch {
    findings: Vec<Finding>,
    /// When the first of them was read.
    since: Option<Instant>,
}

impl ReaderTask {
    fn run(mut self) {
        while !(self.stdout.has_ended && self.stderr.has_ended) {
            self.wait();
            if self.read().is_err() || self.is_abandoned.load(Ordering::Relaxed) {
                return;
            }
            if !self.is_terminal {
                thread::sleep(READ_PAUSE);
            }
        }
        let _ = self.flush();
    }

    /// Waits until masscan has written something or a stream has ended, at most until the batch is due.
    fn wait(&self) {
        let batch_due = self
            .batch
            .since
            .map(|since| (since + FINDINGS_BATCH_AGE).saturating_duration_since(Instant::now()));
        let timeout = batch_due.map_or(ABANDONED_CHECK_EVERY, |due| due.min(ABANDONED_CHECK_EVERY));
        let open = [&self.stdout, &self.stderr];
        let mut polled: Vec<PollFd<'_>> = open
            .into_iter()
            .filter(|stream| !stream.has_ended)
            .map(|stream| PollFd::new(&stream.file, PollFlags::IN))
            .collect();
        let timespec = Timespec::try_from(timeout).expect("less than a second");
        match poll(&mut polled, Some(&timespec)) {
            // Interrupted by a signal to this process.
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => thread::sleep(timeout.min(READ_PAUSE)),
        }
    }

    /// Reads what is there: standard error first, so that everything printed before a progress line is read with it.
    fn read(&mut self) -> Result<(), Abandoned> {
        let read_at = Instant::now();
        let mut lines = Vec::new();
        self.stderr.read_all(|line| lines.extend(parse(line)));
        self.read_findings()?;
        let is_due = |since| read_at.duration_since(since) >= FINDINGS_BATCH_AGE;
        if !lines.is_empty() || self.batch.since.is_some_and(is_due) {
            self.flush()?;
        }
        for line in lines {
            self.send(match line {
                Line::Progress(progress) => Output::Progress { progress, read_at },
                Line::Message(text) => Output::Message(text),
            })?;
        }
        Ok(())
    }

    fn read_findings(&mut self) -> Result<(), Abandoned> {
        let waiting = match self.is_terminal {
            true => None,
            false => self.stdout.waiting_bytes(),
        };
        let (batch, outputs) = (&mut self.batch, &self.outputs);
        let (mut lines, mut result) = (0, Ok(()));
        let bytes = self.stdout.read_all(|line| {
            if result.is_ok() {
                result = batch.add(line, outputs);
            }
            lines += 1;
        });
        let overrun = self.overrun.after_read(
            Instant::now(),
            waiting.unwrap_or(bytes),
            bytes / lines.max(1),
        );
        result?;
        match overrun {
            true => self.send(Output::Overrun),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Abandoned> {
        self.batch.flush(&self.outputs)
    }

    fn send(&self, output: Output) -> Result<(), Abandoned> {
        self.outputs.send(output).map_err(|_| Abandoned)
    }
}

impl Batch {
    /// Adds the finding of a line; sends the batch when it is full.
    fn add(&mut self, line: &[u8], outputs: &Sender<Output>) -> Result<(), Abandoned> {
        match findings::parse(line) {
            Ok(None) => Ok(()),
            Ok(Some(finding)) => {
                self.since.get_or_insert_with(Instant::now);
                self.findings.push(finding);
                match self.findings.len() >= FINDINGS_BATCH_MAX {
                    true => self.flush(outputs),
                    false => Ok(()),
                }
            }
            Err(error) => outputs
                .send(Output::Unreadable(one_line(&error.to_string())))
                .map_err(|_| Abandoned),
        }
    }

    fn flush(&mut self, outputs: &Sender<Output>) -> Result<(), Abandoned> {
        self.since = None;
        if self.findings.is_empty() {
            return Ok(());
        }
        let findings = std::mem::take(&mut self.findings);
        outputs
            .send(Output::Findings(findings))
            .map_err(|_| Abandoned)
    }
}

/// One of masscan's streams: lines that end with a line feed or a carriage return.
#[derive(Debug)]
struct Stream {
    file: File,
    buffer: Vec<u8>,
    cutter: Cutter,
    has_ended: bool,
}

impl Stream {
    fn new(file: OwnedFd) -> io::Result<Stream> {
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
        Ok(Stream {
            file: file.into(),
            buffer: vec![0; READ_BYTES],
            cutter: Cutter::default(),
            has_ended: false,
        })
    }

    /// Bytes that wait to be read; none if the system does not report it. For a terminal, the system counts only a part of them.
    fn waiting_bytes(&self) -> Option<usize> {
        ioctl_fionread(&self.file).ok().map(|bytes| bytes as usize)
    }

    /// Reads until nothing is left, and passes each complete line to `on_line`. Returns the number of bytes.
    fn read_all(&mut self, mut on_line: impl FnMut(&[u8])) -> usize {
        let mut bytes = 0;
        while !self.has_ended {
            match self.file.read(&mut self.buffer) {
                Ok(0) => self.has_ended = true,
                Ok(count) => {
                    bytes += count;
                    self.cutter.push(&self.buffer[..count], &mut on_line);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal ends with an error (EIO).
                Err(_) => self.has_ended = true,
            }
        }
        self.cutter.end(on_line);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeWriter, Write};

    const LINE: &str = r#"{"ip":"172.16.0.1","timestamp":"1","port":443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#;
    const PROGRESS: &str = "rate:  2.00-kpps, 20.80% done,   0:01:23 remaining, found=1       \r";
    const DEADLINE: Duration = Duration::from_secs(20);

    /// A reader with the write ends of its two streams.
    fn reader() -> (Reader, PipeWriter, PipeWriter) {
        let (stdout, stdout_end) = io::pipe().unwrap();
        let (stderr, stderr_end) = io::pipe().unwrap();
        let stdout = Stdout {
            file: stdout.into(),
            capacity: 64 * 1024,
            is_terminal: false,
        };
        let reader = Reader::start(stdout, stderr.into(), 1).unwrap();
        (reader, stdout_end, stderr_end)
    }

    fn next(reader: &Reader) -> Output {
        reader.outputs().recv_timeout(DEADLINE).unwrap()
    }

    fn finding_count(output: &Output) -> usize {
        match output {
            Output::Findings(findings) => findings.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn findings_printed_before_a_progress_line_are_delivered_before_it() {
        let (reader, mut stdout, mut stderr) = reader();
        for _ in 0..50 {
            for _ in 0..3 {
                writeln!(stdout, "{LINE}").unwrap();
            }
            write!(stderr, "{PROGRESS}").unwrap();
            let mut delivered = 0;
            loop {
                match next(&reader) {
                    Output::Progress { progress, .. } => {
                        assert_eq!(progress.percent, 20.8);
                        break;
                    }
                    output => delivered += finding_count(&output),
                }
            }
            assert_eq!(delivered, 3);
        }
    }

    #[test]
    fn findings_alone_are_delivered_once_their_batch_is_old_enough() {
        let (reader, mut stdout, _stderr) = reader();
        let began = Instant::now();
        writeln!(stdout, "{LINE}").unwrap();
        assert_eq!(finding_count(&next(&reader)), 1);
        assert!(began.elapsed() >= FINDINGS_BATCH_AGE);
    }

    #[test]
    fn a_full_batch_is_delivered_at_once() {
        let (reader, mut stdout, _stderr) = reader();
        let lines = format!("{LINE}\n").repeat(FINDINGS_BATCH_MAX + 1);
        let writer = thread::spawn(move || {
            stdout.write_all(lines.as_bytes()).unwrap();
            stdout
        });
        assert_eq!(finding_count(&next(&reader)), FINDINGS_BATCH_MAX);
        let _stdout = writer.join().unwrap();
        assert_eq!(finding_count(&next(&reader)), 1);
    }

    #[test]
    fn a_line_that_is_not_a_finding_is_reported_and_the_last_line_needs_no_end() {
        let (reader, mut stdout, stderr) = reader();
        write!(stdout, "nonsense\n{LINE}").unwrap();
        drop((stdout, stderr));
        assert!(matches!(next(&reader), Output::Unreadable(_)));
        assert_eq!(finding_count(&next(&reader)), 1);
        assert!(reader.outputs().recv_timeout(DEADLINE).is_err(), "the end");
    }

    #[test]
    fn the_outputs_end_when_both_streams_have_ended() {
        let (reader, stdout, mut stderr) = reader();
        drop(stdout);
        thread::sleep(READ_PAUSE * 2);
        writeln!(stderr, "still here").unwrap();
        assert_eq!(next(&reader), Output::Message("still here".to_owned()));
        drop(stderr);
        assert!(reader.outputs().recv_timeout(DEADLINE).is_err());
    }

    #[test]
    fn a_reader_ends_when_its_receiver_is_dropped() {
        let (reader, mut stdout, _stderr) = reader();
        // More than the channel and the pipe hold.
        let flood = thread::spawn(move || while writeln!(stdout, "{LINE}").is_ok() {});
        next(&reader);
        drop(reader);
        flood.join().unwrap();
    }
}
