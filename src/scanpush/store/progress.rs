//! What `scanpush store` prints: lines about events, and how far it is: a bar on a terminal, a line a minute elsewhere.

use crate::exit::Failure;
use crate::scanpush::formats::date_form;
use crate::scanpush::output::Output;
use crate::scanpush::tasks::{now_ms, span};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Without a terminal a line is printed at this interval, if something was read.
const LINE_INTERVAL: Duration = Duration::from_secs(60);
/// A bar is shown only if at least this many findings are left to read; otherwise the store keeps up with the topic.
const BAR_FINDINGS_MIN: u64 = 50_000;
/// The rate is that of the last seconds.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// What the working thread tells.
#[derive(Debug)]
pub enum Report {
    /// Something happened.
    Line(String),
    /// A batch was written.
    Written {
        /// Findings in it.
        findings: u64,
        /// Records that changed nothing.
        ignored: u64,
        /// How long the database took.
        took: Duration,
    },
    /// What is left to read.
    Behind {
        /// Findings in all partitions.
        findings: u64,
        /// Records of each partition of each topic.
        partitions: Vec<Lag>,
    },
    /// The work waits for this. Reported again while it does.
    Awaits(Need, String),
    /// This is there, or there again. Reported again while it is.
    Has(Need),
}

/// What the work needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The topics can be read.
    Kafka,
    /// The database can be written.
    Database,
    /// No other process writes into the database.
    Lease,
}

/// How much of a partition is left to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Records.
    pub records: u64,
}

/// What has been printed.
pub struct Progress {
    bar: Option<ProgressBar>,
    is_terminal: bool,
    findings: u64,
    ignored: u64,
    behind: u64,
    /// Start of the window for the rate, and the findings at that time.
    window: (Instant, u64),
    rate: u64,
    line_at: Instant,
    /// Findings and ignored records at the last line.
    counts_at_line: (u64, u64),
}

impl Progress {
    /// Nothing was printed yet.
    pub fn new(output: &Output<'_>) -> Progress {
        Progress {
            bar: None,
            is_terminal: output.err_is_terminal(),
            findings: 0,
            ignored: 0,
            behind: 0,
            window: (Instant::now(), 0),
            rate: 0,
            line_at: Instant::now(),
            counts_at_line: (0, 0),
        }
    }

    /// Findings written since the start.
    pub fn findings(&self) -> u64 {
        self.findings
    }

    /// Shows a report.
    pub fn take(&mut self, report: Report, output: &mut Output<'_>) -> Result<(), Failure> {
        match report {
            Report::Line(line) => self.line(&line, output),
            Report::Written {
                findings, ignored, ..
            } => {
                self.findings += findings;
                self.ignored += ignored;
                Ok(())
            }
            Report::Behind { findings, .. } => {
                self.behind = findings;
                self.update(output)
            }
            // There are lines about these.
            Report::Awaits(..) | Report::Has(_) => Ok(()),
        }
    }

    fn update(&mut self, output: &mut Output<'_>) -> Result<(), Failure> {
        let (since, findings_then) = self.window;
        if since.elapsed() >= Duration::from_secs(1) {
            self.rate =
                ((self.findings - findings_then) as f64 / since.elapsed().as_secs_f64()) as u64;
            if since.elapsed() >= RATE_WINDOW {
                self.window = (Instant::now(), self.findings);
            }
        }
        if self.is_terminal {
            self.draw();
        } else if self.line_at.elapsed() >= LINE_INTERVAL {
            if (self.findings, self.ignored) != self.counts_at_line {
                self.line(&self.status(), output)?;
            }
            self.line_at = Instant::now();
            self.counts_at_line = (self.findings, self.ignored);
        }
        Ok(())
    }

    fn draw(&mut self) {
        if self.bar.is_none() && self.behind >= BAR_FINDINGS_MIN {
            let style = ProgressStyle::with_template("{bar:30} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
            self.bar = Some(bar.with_style(style));
        }
        if let Some(bar) = &self.bar {
            bar.set_length(self.findings + self.behind);
            bar.set_position(self.findings);
            bar.set_message(self.status());
        }
        if self.behind == 0 {
            self.close();
        }
    }

    /// `1200000 findings written, 300000 left, 52000/s, about 6s`
    fn status(&self) -> String {
        let mut text = format!("{} findings written", self.findings);
        if self.ignored > 0 {
            text += &format!(", {} records ignored", self.ignored);
        }
        if self.behind > 0 {
            text += &format!(", {} left, {}/s", self.behind, self.rate);
            if let Some(seconds) = self.behind.checked_div(self.rate) {
                text += &format!(", about {}", span(seconds));
            }
        }
        text
    }

    /// Prints a line above the bar; with the time if it goes to a log.
    pub fn line(&self, line: &str, output: &mut Output<'_>) -> Result<(), Failure> {
        let print = |output: &mut Output<'_>| match self.is_terminal {
            true => output.problem(&format!("scanpush: {line}")),
            false => output.problem(&format!("{} scanpush: {line}", date_form(now_ms() / 1000))),
        };
        match &self.bar {
            Some(bar) => bar.suspend(|| print(output)),
            None => print(output),
        }
        Ok(())
    }

    /// Removes the bar.
    pub fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
