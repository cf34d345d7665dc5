//! The part of a scan once masscan is to end: its last output, its exit, and Kafka's acknowledgements.

use super::outcome::{self, Outcome, Run, RunEnd, StopReason};
use super::pass::CurrentPass;
use super::phase::{Phase, Running, Stage};
use super::{Event, Scan};
use crate::masscan::{self, Exit, Output};
use crate::model::resume::Position;
use crate::scand::claims::held_claims::Order;
use log::{error, info};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A released scan waits this long for acknowledgements of its findings, so that its checkpoint is further.
const RELEASE_FLUSH_WAIT: Duration = Duration::from_secs(3);

impl Scan<'_> {
    /// masscan was killed; its last findings are still taken.
    pub(super) fn on_ending(&mut self, mut running: Running, event: Event) -> Phase {
        match event {
            // Whatever it was ended for: nothing more is written.
            Event::Order(Order::Lost) => {
                running.stage = Stage::Ending {
                    reason: StopReason::Ordered(Order::Lost),
                };
            }
            Event::Output(Output::Findings(findings)) => {
                self.take_findings(findings);
            }
            Event::OutputEnded => return self.on_exit(running),
            _ => {}
        }
        Phase::Scanning(running)
    }

    pub(super) fn on_exit(&mut self, running: Running) -> Phase {
        let Running {
            child,
            stage,
            messages,
            unreadable,
            ..
        } = running;
        let end = stage.into_end(Instant::now());
        let exit = child.wait();
        let (is_whole, outcome) = (end.is_whole(), self.outcome(end, Some((exit, &messages))));
        // A kill cuts the line that was being written; the next run prints it completely.
        if unreadable > 0 && is_whole {
            error!("{unreadable} lines of masscan's output are not findings and are lost");
        }
        if outcome == Outcome::Completed && !self.is_last_pass() {
            return self.next_pass();
        }
        self.assignment.permit.stop_sending();
        // While its findings wait for Kafka, people see where it ended, and its job that it sends no more.
        let resume = self.resume();
        if self.is_trusted() && self.reporter.has_news(resume, true) {
            self.report(resume, true);
        }
        self.flushing(outcome)
    }

    /// This pass is complete: the next one begins while its last findings are still on their way to Kafka.
    fn next_pass(&mut self) -> Phase {
        let (task, found) = (&self.assignment.claimed.task, self.found());
        let (pass, printed) = (self.pass.number, self.findings.printed());
        info!(
            "pass {pass} of {} done, found {}",
            task.passes(),
            found.of(pass)
        );
        let next = Position {
            pass: pass + 1,
            index: 0,
        };
        let wait_s = task.wait_s_of(next.pass);
        self.checkpoint
            .complete_pass(Instant::now(), found.of(pass), printed, wait_s);
        self.pass = CurrentPass::new(self.plan.probe_order, task, next, found, printed);
        let server = &self.scans.server;
        self.findings
            .begin_pass(&self.assignment.claimed, server, next.pass);
        self.start_pass()
    }

    /// What the end of the run means; `exit` and masscan's last messages if it had been started.
    pub(super) fn outcome(&self, end: RunEnd, exit: Option<(Exit, &VecDeque<String>)>) -> Outcome {
        let (exit, messages) = match exit {
            Some((exit, messages)) => (exit, messages.iter().map(String::as_str).collect()),
            None => (Exit::Code(0), Vec::new()),
        };
        let run = Run {
            exit,
            wait: self.wait(),
            percent: self.progress.percent,
            cause: masscan::cause(messages.into_iter()),
            timeout: self.timeout(),
            has_advanced: self.has_advanced(),
        };
        outcome::decide(end, &run)
    }

    /// Whether this run got further than the task was. (At another rate a run begins a little before that.)
    fn has_advanced(&self) -> bool {
        let was = match self.plan.begin.position {
            Position::START => Position::START,
            begin => self.assignment.claimed.resume.position.max(begin),
        };
        self.resume().position > was
    }

    /// Waits until Kafka has acknowledged the findings: for an end all of them, for a release only a moment.
    pub(super) fn flushing(&self, outcome: Outcome) -> Phase {
        let give_up_at = match outcome {
            Outcome::Abandoned => return Phase::Ended(outcome),
            Outcome::Released { .. } | Outcome::ServerFault(_) => {
                Some(Instant::now() + RELEASE_FLUSH_WAIT)
            }
            Outcome::Completed
            | Outcome::Failed(..)
            | Outcome::NotStarted(_)
            | Outcome::Cancelled => None,
        };
        if self.findings.all_acknowledged() {
            return Phase::Ended(outcome);
        }
        Phase::Flushing {
            outcome,
            give_up_at,
        }
    }

    pub(super) fn on_flushing(
        &mut self,
        outcome: Outcome,
        give_up_at: Option<Instant>,
        event: Event,
    ) -> Phase {
        self.assignment.permit.stop_sending();
        self.findings.hand_over(self.is_trusted());
        self.checkpoint.acknowledge(self.findings.acknowledged());
        let has_given_up = give_up_at.is_some_and(|at| Instant::now() >= at);
        if self.findings.all_acknowledged() || has_given_up {
            return Phase::Ended(outcome);
        }
        let stop = match event {
            Event::Order(Order::Lost) => return Phase::Ended(Outcome::Abandoned),
            // There is nothing left to stop. If the task is released, release.lua carries the order out.
            Event::Order(Order::Cancel | Order::Pause) => None,
            Event::Order(Order::Drain) => Some(StopReason::Ordered(Order::Drain)),
            _ => (!self.is_trusted()).then_some(StopReason::Untrusted),
        };
        match (stop, give_up_at) {
            // The end cannot wait any longer: the task is released instead.
            (Some(reason), None) => Phase::Ended(self.outcome(RunEnd::Stopped(reason), None)),
            _ => Phase::Flushing {
                outcome,
                give_up_at,
            },
        }
    }
}
