//! The threads of `scanpush store`: the main one catches signals and prints, the other one works. If the database fails, the work begins again from
//! the positions in the database.

use super::options::{self, Options};
use super::outage::Outage;
use super::progress::{Need, Progress, Report};
use super::session::{self, End, Handover};
use super::stop::stopped_after;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::model::Backoff;
use crate::model::skip_log::SkipLog;
use crate::scanpush::interrupt::Interrupt;
use crate::scanpush::output::Output;
use crate::store::{Counts, StoreError, StoreReader};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Reports that may wait to be printed.
const REPORTS_MAX: usize = 100;
/// How often signals are looked for.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);
/// How long the working thread may take to end after a signal. Then the process ends, and the database rolls its transaction back.
pub const STORE_STOP_WAIT: Duration = Duration::from_secs(1);
/// Pauses between attempts to use a database that has failed.
const DATABASE_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The working thread.
pub struct Work {
    /// What it tells. Closed when it has ended.
    pub reports: Receiver<Report>,
    done: Receiver<Result<End, StoreError>>,
}

impl Work {
    /// Starts the thread, which works until `stop` is closed.
    pub fn start(options: &Options, stop: Receiver<()>) -> io::Result<Work> {
        let (reports_sender, reports) = bounded(REPORTS_MAX);
        let (done_sender, done) = bounded(1);
        let options = options.clone();
        let worker = move || {
            let result = work(&options, &reports_sender, &stop);
            // If the main thread is gone, nobody needs the result.
            let _ = done_sender.send(result);
        };
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(worker)?;
        Ok(Work { reports, done })
    }

    /// Why the thread has ended, after `reports` was closed.
    pub fn end(&self) -> Result<End, StoreError> {
        self.done.recv().unwrap_or_else(|_| {
            Ok(End::Unreadable(
                "the thread `store` has ended unexpectedly".to_owned(),
            ))
        })
    }
}

/// Runs the command.
pub fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = options::read(reader)?;
    let interrupt = Interrupt::catch()?;
    let (stop_sender, stop) = bounded(0);
    let mut progress = Progress::new(output);
    let work = Work::start(&options, stop)
        .map_err(|error| Failure::Runtime(format!("a thread cannot be started: {error}")))?;
    let mut stop_sender = Some(stop_sender);
    let mut stop_at: Option<Instant> = None;
    let result = loop {
        match work.reports.recv_timeout(SIGNAL_INTERVAL) {
            Ok(report) => progress.take(report, output)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break work.end(),
        }
        if interrupt.came() {
            stop_sender.take();
            let give_up_at = *stop_at.get_or_insert_with(|| Instant::now() + STORE_STOP_WAIT);
            if Instant::now() >= give_up_at {
                break Ok(End::Stopped);
            }
        }
    };
    progress.close();
    match result {
        Ok(End::Done) => {
            summary(&options, &progress, output);
            Ok(())
        }
        Ok(End::Stopped) => progress.line("stopped", output),
        Ok(End::Unreadable(line)) => Err(Failure::Runtime(line)),
        Err(error) => Err(Failure::Runtime(error.to_string())),
    }
}

/// Works until it is done, has to stop, or repeating does not help.
fn work(
    options: &Options,
    reports: &Sender<Report>,
    stop: &Receiver<()>,
) -> Result<End, StoreError> {
    let (first, max) = DATABASE_BACKOFF;
    let mut handover = Handover {
        database_outage: Outage::new(Backoff::between(first, max)),
        has_worked: false,
        skip_log: SkipLog::default(),
    };
    let result = sessions(options, &mut handover, reports, stop);
    if let Some(line) = handover.skip_log.rest() {
        // Without a reader the process is ending.
        let _ = reports.send(Report::Line(line));
    }
    result
}

/// One session after the other.
fn sessions(
    options: &Options,
    handover: &mut Handover,
    reports: &Sender<Report>,
    stop: &Receiver<()>,
) -> Result<End, StoreError> {
    loop {
        let error = match session::run(options, handover, reports, stop) {
            Ok(end) => return Ok(end),
            Err(error) => error,
        };
        let is_lease = matches!(error, StoreError::LeaseLost { .. });
        // What cannot be mended by repeating ends the command, unless it worked before: then somebody is changing the database.
        if !(error.may_be_repeated() || is_lease || handover.has_worked) || options.once {
            return Err(error);
        }
        let need = if is_lease {
            Need::Lease
        } else {
            Need::Database
        };
        // Without a reader the process is ending.
        let _ = reports.send(Report::Awaits(need, error.to_string()));
        let outage = &mut handover.database_outage;
        if let Some(line) = outage.note(error.to_string()) {
            let _ = reports.send(Report::Line(line));
        }
        if stopped_after(stop, outage.pause()) {
            return Ok(End::Stopped);
        }
    }
}

/// What `-once` has done, in a line, and what was ignored.
fn summary(options: &Options, progress: &Progress, output: &mut Output<'_>) {
    let counts = StoreReader::open(&options.database).and_then(|mut reader| reader.counts());
    let Ok(Counts {
        open,
        closed,
        tasks,
        ignored,
    }) = counts
    else {
        return;
    };
    output.notice(&format!(
        "{} findings written; {} has {open} open and {closed} closed services, {tasks} tasks",
        progress.findings(),
        options.database.url
    ));
    for (reason, count) in ignored {
        output.notice(&format!(
            "ignored since the database was created: {count} {reason}"
        ));
    }
}
