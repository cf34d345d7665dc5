//! The part of a scan while masscan runs: its output, the clocks, and live progress.

use super::outcome::{OTHER_VERSION, StopReason};
use super::phase::{Phase, Running, Stage};
use super::{Event, Scan};
use crate::claim_table::LiveProgress;
use crate::masscan::{self, Output};
use crate::model::{Finding, Progress, Resume};
use log::{debug, error, info, warn};
use std::time::{Duration, Instant};

/// masscan may hang after completion (masscan issues 144, 558): it is ended this long after its wait should be over.
const HANG_MARGIN: Duration = Duration::from_millis(1000);
/// masscan prints its progress several times a second. Without a progress line for this long it counts as hung.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A log line is written each time progress passes a multiple of this many percent.
const MILESTONE_PERCENT: u32 = 25;

impl Scan<'_> {
    pub(super) fn on_scanning(&mut self, running: Running, event: Event) -> Phase {
        match event {
            Event::Order(order) => self.stop(running, StopReason::Ordered(order)),
            Event::Output(output) => self.on_output(running, output),
            Event::OutputEnded => self.on_exit(running),
            Event::Tick | Event::Announced(_) => self.on_tick(running),
        }
    }

    fn stop(&mut self, running: Running, reason: StopReason) -> Phase {
        Phase::Scanning(self.end_masscan(running, reason))
    }

    /// Kills masscan for `reason`.
    pub(super) fn end_masscan(&mut self, mut running: Running, reason: StopReason) -> Running {
        debug!("ending masscan: {reason:?}");
        self.checkpoint.hold();
        // It writes each line at once: what it has found has been written, so there is nothing to wait for.
        running.child.kill();
        running.stage = Stage::Ending { reason };
        running
    }

    fn on_output(&mut self, mut running: Running, output: Output) -> Phase {
        match output {
            Output::Findings(findings) => {
                self.take_findings(findings);
                if !self.scans.buffer.has_room() {
                    self.scans.metrics.suspended();
                    return self.stop(running, StopReason::BufferFull);
                }
            }
            Output::Progress { progress, read_at } => {
                self.on_progress(&mut running, progress, read_at);
            }
            Output::Message(message) => return self.on_message(running, message),
            Output::Overrun => return self.stop(running, StopReason::Overrun),
            Output::Unreadable(line) => running.note_unreadable(&line),
        }
        Phase::Scanning(running)
    }

    /// Findings of the task go to Kafka; others are dropped.
    pub(super) fn take_findings(&mut self, mut findings: Vec<Finding>) {
        let printed = findings.len();
        let first = self.filter.retain(&mut findings);
        let metrics = &self.scans.metrics;
        metrics.foreign_findings((printed - findings.len()) as u64);
        metrics.found(&findings);
        if let Some(first) = first {
            error!(
                "masscan reports {} port {} ({}), which does not belong to the task: such findings are dropped",
                first.ip,
                first.port,
                first.proto.as_str()
            );
        }
        self.findings.add(&findings);
        self.findings.hand_over(self.is_trusted());
    }

    fn on_progress(&mut self, running: &mut Running, mut progress: Progress, read_at: Instant) {
        running.last_progress = Instant::now();
        let (probe_order, pass) = (&self.plan.probe_order, &mut self.pass);
        progress.percent = progress.percent.max(pass.percent);
        pass.percent = progress.percent;
        self.scans.metrics.probes_sent(pass.newly_sent(probe_order));
        self.progress = Progress {
            percent: probe_order.percent_of_task(pass.number, progress.percent),
            // masscan has an estimate of its own while it sends, but not a good one.
            remaining_s: match progress.remaining_s {
                Some(_) => Some(pass.estimate.remaining_s(read_at, progress.percent)),
                None => pass.estimate.later_passes_s(read_at),
            },
            ..progress
        };
        let found = self.found().of(self.pass.number);
        self.checkpoint.observe(read_at, progress.percent, found);
        self.checkpoint.settle(
            read_at,
            self.findings.printed(),
            self.findings.acknowledged(),
        );
        self.note_checkpoint();
        self.log_milestone();
        self.reporter.note_reading(read_at);
        if running.stage == Stage::Starting {
            self.scans.health.started();
        }
        let before = running.stage.sends_no_more();
        running.stage = running.stage.clone().after_progress(&progress, read_at);
        if !before && running.stage.sends_no_more() {
            let whose = self.scans.offloads.network_of(running.child.id());
            self.drops.read(whose);
        }
        if self.sends_no_more(running) {
            self.assignment.permit.stop_sending();
        }
        self.report_if_due(running);
    }

    fn on_message(&mut self, mut running: Running, message: String) -> Phase {
        debug!("masscan: {message}");
        let stop = self
            .check_announced_size(&message)
            .or_else(|| self.check_announced_version(&message));
        if masscan::is_interrupt(&message) {
            running.stage = running.stage.after_interrupt(Instant::now());
        }
        running.keep_message(message);
        match stop {
            Some(reason) => self.stop(running, reason),
            None => Phase::Scanning(running),
        }
    }

    /// Compares what masscan says it scans with what it was given. If it differs, the scan must not go on: scope fails closed.
    fn check_announced_size(&mut self, message: &str) -> Option<StopReason> {
        let announced = masscan::announced_size(message)?;
        let probe_order = &self.plan.probe_order;
        // masscan prints both modulo 2^32.
        let given = (probe_order.addresses() as u32, probe_order.ports() as u32);
        if announced == given {
            return None;
        }
        let why = format!(
            "masscan scans {} addresses × {} ports instead of {} × {}: probably overridden by /etc/masscan/masscan.conf or a wrapper",
            announced.0,
            announced.1,
            probe_order.addresses(),
            probe_order.ports()
        );
        self.checkpoint.forget();
        Some(StopReason::Mismatch(why))
    }

    /// Compares the version that masscan prints with the one that was found before.
    fn check_announced_version(&mut self, message: &str) -> Option<StopReason> {
        let version = masscan::announced_version(message)?;
        if version == self.plan.masscan_version {
            return None;
        }
        warn!(
            "masscan reports version {version}, but reported {:?} before: another server cannot resume this scan",
            self.plan.masscan_version
        );
        self.checkpoint.forget();
        self.scans.masscan.note_version(version);
        // A shard is sent exactly as it was pushed or not at all: otherwise its job would have holes.
        let shard = self.assignment.claimed.task.shard;
        shard.map(|_| StopReason::Mismatch(OTHER_VERSION.to_owned()))
    }

    fn on_tick(&mut self, running: Running) -> Phase {
        self.findings.hand_over(self.is_trusted());
        self.checkpoint.acknowledge(self.findings.acknowledged());
        self.note_checkpoint();
        self.report_if_due(&running);
        match self.reason_to_stop(&running) {
            Some(reason) => self.stop(running, reason),
            None => Phase::Scanning(running),
        }
    }

    /// Why the scan cannot go on, by the clock or by the server's state.
    fn reason_to_stop(&mut self, running: &Running) -> Option<StopReason> {
        let now = Instant::now();
        if !self.assignment.held_claim.is_trusted(now) {
            return Some(StopReason::Untrusted);
        }
        if self.has_left_scope() {
            return Some(StopReason::OutOfScope);
        }
        let ran_for = self.started_at.map_or(Duration::ZERO, |at| now - at);
        if self.timeout().is_some_and(|timeout| ran_for >= timeout) {
            return Some(StopReason::TimedOut);
        }
        if !self.sends_no_more(running)
            && let Some(why) = self.is_out_of_time()
        {
            return Some(StopReason::OutOfTime(why));
        }
        let overdue = running.stage.overdue(now, self.wait() + HANG_MARGIN);
        let silent = now.duration_since(running.last_progress) >= SILENCE_MAX;
        overdue.or(silent.then_some(StopReason::Silent))
    }

    /// Whether the server's scope has changed and now leaves out something that this scan probes.
    fn has_left_scope(&mut self) -> bool {
        let changes = self.scans.scope.changes();
        if changes == self.assignment.scope_changes {
            return false;
        }
        self.assignment.scope_changes = changes;
        let targets = self.assignment.claimed.task.targets();
        let denied = self.scans.scope.now().denied(&targets);
        !denied.without(&self.assignment.denied).is_empty()
    }

    /// Notes for the metrics if the checkpoint has moved.
    fn note_checkpoint(&mut self) {
        let position = self.checkpoint.resume().position;
        if std::mem::replace(&mut self.noted_position, position) != position {
            self.checkpoint_age.moved();
        }
    }

    fn log_milestone(&mut self) {
        let reached = self.progress.percent as u32 / MILESTONE_PERCENT;
        if reached > self.milestone {
            self.milestone = reached;
            info!(
                "{:.2} %, {:.0} pps, found {}",
                self.progress.percent,
                self.progress.rate_pps,
                self.found().most()
            );
        }
    }

    fn report_if_due(&mut self, running: &Running) {
        let (resume, sends_no_more) = (self.resume(), self.sends_no_more(running));
        if self.reporter.is_due(Instant::now(), resume, sends_no_more) {
            self.report(resume, sends_no_more);
        }
    }

    /// Sends live progress. If the channel is full, the next tick tries again.
    pub(super) fn report(&mut self, resume: Resume, sends_no_more: bool) {
        let sent = self.outlets.progress.try_send(LiveProgress {
            claim: self.assignment.claimed.claim(),
            progress: self.progress,
            found: self.found(),
            resume,
            sends_no_more,
        });
        if sent.is_ok() {
            self.reporter.reported(resume, sends_no_more);
        }
    }
}
