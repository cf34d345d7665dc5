//! The part of a scan before masscan runs: announce the task, then start masscan.

use super::outcome::{Outcome, RunEnd, StopReason};
use super::phase::{Phase, Running};
use super::{Event, Scan};
use crate::masscan::{self, Child, ProgramError, ScanArguments};
use crate::model::resume::Position;
use crate::model::text::one_line;
use crate::scand::claims::held_claims::Order;
use crate::scand::claims::lease::running_record;
use crate::scand::finalize::StateChange;
use crate::scand::metrics::FailureReason;
use crossbeam_channel::{Receiver, bounded};
use log::{info, warn};
use std::time::Instant;

impl Scan<'_> {
    /// Announces on Kafka that the task runs: a Redis that is lost later is rebuilt from that record.
    pub(super) fn announce(&self) -> Phase {
        let (acknowledge, acknowledged) = bounded(1);
        let announcement = StateChange::Announce {
            record: Box::new(running_record(&self.assignment.claimed, &self.scans.server)),
            acknowledge: Some(acknowledge),
        };
        match self.outlets.finalize.send(announcement) {
            Ok(()) => Phase::Announcing { acknowledged },
            // `finalize` has ended: the server is shutting down.
            Err(_) => self.stop_before_start(StopReason::Ordered(Order::Drain)),
        }
    }

    pub(super) fn on_announcing(&mut self, acknowledged: Receiver<()>, event: Event) -> Phase {
        match event {
            Event::Order(order) => self.stop_before_start(StopReason::Ordered(order)),
            // `finalize` drops the channel without an answer if the claim's lease can no longer be trusted.
            Event::Announced(is_sent) if !is_sent || !self.is_trusted() => {
                self.stop_before_start(StopReason::Untrusted)
            }
            Event::Announced(_) => self.start(),
            _ if !self.is_trusted() => self.stop_before_start(StopReason::Untrusted),
            _ => Phase::Announcing { acknowledged },
        }
    }

    fn stop_before_start(&self, reason: StopReason) -> Phase {
        self.flushing(self.outcome(RunEnd::Stopped(reason), None))
    }

    fn start(&mut self) -> Phase {
        if self.plan.probe_order.is_empty() {
            // The job has fewer probes than shards, and this shard gets none: masscan would never end.
            info!("none of the probes belongs to this shard");
            self.progress.percent = 100.0;
            return self.flushing(Outcome::Completed);
        }
        if let Some(why) = self.is_out_of_time() {
            return self.flushing(Outcome::Failed(FailureReason::OutOfTime, why));
        }
        let band_width = self.assignment.claimed.task.band_width.pps();
        if let Some(lowered) = self.assignment.permit.lowered(band_width) {
            info!("{lowered}");
        }
        self.log_checkpoint();
        self.start_pass()
    }

    /// Starts the masscan of the current pass.
    pub(super) fn start_pass(&mut self) -> Phase {
        if let Some(why) = self.plan.unfit.take() {
            return self.flushing(Outcome::Failed(FailureReason::Mismatch, why));
        }
        match self.start_masscan() {
            Ok(child) => {
                self.last_ran = Instant::now();
                self.started_at.get_or_insert(self.last_ran);
                Phase::Scanning(Running::new(child))
            }
            Err(error) => self.flushing(match error.is_fault_of_server() {
                true => Outcome::ServerFault(one_line(&error.to_string())),
                false => Outcome::Failed(FailureReason::NotStarted, one_line(&error.to_string())),
            }),
        }
    }

    fn start_masscan(&mut self) -> Result<Child, ProgramError> {
        let arguments = ScanArguments {
            task: &self.assignment.claimed.task,
            pass: self.pass.number,
            rate_pps: self.assignment.permit.rate_pps(),
            resume_index: self.pass.begin_index,
            exclude: &self.assignment.denied,
            source: &self.outlets.source,
        };
        let program = self.scans.masscan.program();
        info!("{} {}", program.display(), arguments.abridged());
        let run_as = self.scans.masscan.run_as().map_err(ProgramError::User)?;
        self.scans.log_run_as(&run_as);
        let mode = self.scans.masscan.stdout_mode();
        let child = masscan::spawn(program, &mode, &run_as, &arguments)?;
        if let Some(findings) = child.small_output_findings() {
            self.scans.small_output_warning.call_once(|| warn!(
                "masscan's output pipe holds only {findings} findings, because this user has many pipes; a larger burst interrupts the scan, which \
                 then continues from its checkpoint. Increase the sysctl fs.pipe-user-pages-soft (and fs.pipe-max-size, if below 1048576), or use fewer -slots"
            ));
        }
        self.scans.offloads.check_scan(child.id());
        if self.started_at.is_none() {
            self.drops.read(self.scans.offloads.network_of(child.id()));
        }
        Ok(child)
    }

    fn log_checkpoint(&self) {
        let checkpoint = self.assignment.claimed.resume.position;
        let begin = &self.plan.begin;
        if checkpoint == Position::START {
            return;
        }
        let why_not_there = begin.why.as_ref().map_or(String::new(), |why| {
            format!(", not at the checkpoint {checkpoint}: {why}")
        });
        info!(
            "continues at {} of {} ({:.2} %){why_not_there}",
            begin.position,
            self.plan.probe_order.range(),
            self.progress.percent,
        );
    }
}
