//! The threads `scan-N`: one masscan each, from its start to the end of the claim.
//!
//! The loop is "next event, handle event" ([`Event`]); what an event does depends on the [`Phase`]. Orders about the claim come before
//! everything else. Nothing in the loop waits for Kafka or Redis: findings go out through a bounded buffer, and if that is full the scan is
//! suspended.
//!
//! | file | what |
//! |---|---|
//! | `phase.rs` | the states of a scan |
//! | `outgoing.rs` | findings on their way to `publish-N` |
//! | `reporter.rs` | when live progress is due |
//! | `outcome.rs` | what the end of a run means for the task |
//! | `end_of_claim.rs` | the state change that follows from it |
//! | `publish.rs` | the threads `publish-N` |
//! | `progress.rs` | the thread `progress` |
//! | `offloads.rs` | warnings about network interfaces |

mod end_of_claim;
pub mod offloads;
pub mod outcome;
mod outgoing;
mod phase;
pub mod progress;
pub mod publish;
mod reporter;

use crate::claim_table::LiveProgress;
use crate::masscan::{self, Child, Exit, MasscanBinary, Output, ScanArguments};
use crate::model::checkpoint::Checkpoint;
use crate::model::probe_order::Begin;
use crate::model::source::Source;
use crate::model::text::one_line;
use crate::model::{Estimate, ProbeOrder, Progress, Resume};
use crate::scand::claims::dispatch::Assignment;
use crate::scand::claims::held_claims::{HeldClaims, Order};
use crate::scand::claims::lease::running_record;
use crate::scand::claims::scope::ScopeInForce;
use crate::scand::finalize::StateChange;
use crate::scand::logging;
use crossbeam_channel::{Receiver, RecvError, Sender, bounded, never, select_biased};
use log::{debug, error, info, warn};
use offloads::Offloads;
use outcome::{OTHER_TARGETS, OTHER_VERSION, Outcome, Run, RunEnd, StopReason};
use outgoing::OutgoingFindings;
use phase::{Phase, Running, Stage, TICK};
use publish::{Batch, FindingsBuffer};
use reporter::Reporter;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// A scan whose loop did not run for this long was frozen or had no CPU. masscan may have been stopped too and have lost answers.
const STANDSTILL_MIN: Duration = Duration::from_millis(2200);
/// masscan may hang after completion (masscan issues 144, 558): it is ended this long after its wait should be over.
const HANG_MARGIN: Duration = Duration::from_millis(1000);
/// masscan prints its progress several times a second. Without a progress line for this long it counts as hung.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A released scan waits this long for acknowledgements of its findings, so that its checkpoint is further.
const RELEASE_FLUSH_WAIT: Duration = Duration::from_secs(3);
/// A log line is written each time progress passes a multiple of this many percent.
const MILESTONE_PERCENT: u32 = 25;

/// What the scan threads share.
pub struct Scans {
    /// This server's name.
    pub server: String,
    /// The program.
    pub masscan: Arc<MasscanBinary>,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Findings that wait for Kafka.
    pub buffer: Arc<FindingsBuffer>,
    /// What this server may scan.
    pub scope: Arc<ScopeInForce>,
    /// The warning that masscan's output has less room than usual is logged once.
    pub small_output_warning: Once,
    /// Warns about offloads.
    pub offloads: Arc<Offloads>,
}

/// Where a scan thread sends to.
#[derive(Clone)]
pub struct Outlets {
    /// To this thread's `publish-N`.
    pub publish: Sender<Batch>,
    /// To `progress`.
    pub progress: Sender<LiveProgress>,
    /// To `finalize`.
    pub finalize: Sender<StateChange>,
    /// The addresses and ports that this thread's masscan sends from: ports of its own, if there are enough.
    pub source: Source,
}

/// Runs assigned scans one after the other until `assignments` is closed.
pub fn run(scans: &Scans, outlets: &Outlets, assignments: &Receiver<Assignment>) {
    while let Ok(assignment) = assignments.recv() {
        let claim = assignment.claimed.claim();
        let _context = logging::with_task(&claim.task_id);
        // A bug that one task triggers must cost neither the slot nor the task: on unwinding masscan is killed and the slot freed, and a
        // dropped claim is no longer renewed.
        let run = catch_unwind(AssertUnwindSafe(|| {
            Scan::new(scans, outlets, assignment).run();
        }));
        if run.is_err() {
            error!(
                "the scan ended with a panic; another server takes the task when the lease expires"
            );
            scans.held_claims.drop_claim(&claim);
        }
    }
}

/// What a scan reacts to.
enum Event {
    /// An order about the claim.
    Order(Order),
    /// Kafka has the announcement that the task runs (true), or it was not sent (false).
    Announced(bool),
    /// masscan has written something.
    Output(Output),
    /// masscan's output has ended.
    OutputEnded,
    /// Time to check clocks, the lease and acknowledgements.
    Tick,
}

/// One scan.
struct Scan<'a> {
    scans: &'a Scans,
    outlets: &'a Outlets,
    assignment: Assignment,
    plan: Plan,
    findings: OutgoingFindings<'a>,
    checkpoint: Checkpoint,
    estimate: Estimate,
    progress: Progress,
    reporter: Reporter,
    milestone: u32,
    /// Whether masscan was started.
    has_started: bool,
    /// When the loop last ran.
    last_ran: Instant,
    next_tick: Instant,
    assigned_at: Instant,
}

/// What was decided before masscan is started.
struct Plan {
    probe_order: ProbeOrder,
    begin: Begin,
    /// Findings that earlier attempts made below the index at which this one begins.
    found_before: u64,
    /// masscan's version; empty if it could not be determined.
    masscan_version: String,
    /// Why masscan cannot send this shard.
    unfit: Option<String>,
}

impl Plan {
    fn new(scans: &Scans, assignment: &Assignment) -> Plan {
        let (task, resume) = (&assignment.claimed.task, assignment.claimed.resume);
        let info = match task.shard {
            // Asked again for each shard: nothing would show later that it was sent in another order.
            Some(_) => scans.masscan.info_now(),
            None => scans.masscan.info(),
        };
        let unfit = task.shard.and_then(|_| masscan::unfit_for_shards(&info));
        let masscan_version = info.map_or(String::new(), |info| info.version);
        let probe_order = ProbeOrder::new(task, &assignment.denied, assignment.permit.rate_pps())
            .by(&masscan_version);
        let begin = probe_order.begin(resume.index, resume.probe_order);
        Plan {
            found_before: found_before(begin.index, &resume),
            probe_order,
            begin,
            masscan_version,
            unfit,
        }
    }
}

impl<'a> Scan<'a> {
    fn new(scans: &'a Scans, outlets: &'a Outlets, assignment: Assignment) -> Scan<'a> {
        let plan = Plan::new(scans, &assignment);
        let (probe_order, claimed, now) = (plan.probe_order, &assignment.claimed, Instant::now());
        Scan {
            findings: OutgoingFindings::new(
                claimed,
                &scans.server,
                &scans.buffer,
                &outlets.publish,
            ),
            checkpoint: Checkpoint::new(
                probe_order,
                claimed.task.wait_s,
                plan.begin.index,
                plan.found_before,
            ),
            estimate: Estimate::new(probe_order),
            progress: Progress {
                percent: probe_order.percent_at(plan.begin.index),
                ..Progress::default()
            },
            reporter: Reporter::new(claimed.resume),
            milestone: 0,
            has_started: false,
            last_ran: now,
            next_tick: now + TICK,
            assigned_at: now,
            plan,
            scans,
            outlets,
            assignment,
        }
    }

    /// Runs from the announcement to the end of the claim.
    fn run(mut self) {
        let mut phase = self.announce();
        let outcome = loop {
            if let Phase::Ended(outcome) = phase {
                break outcome;
            }
            let event = self.next_event(&phase);
            phase = self.handle(phase, event);
        };
        self.end_claim(outcome);
    }

    /// The next event; an order comes before everything else.
    fn next_event(&mut self, phase: &Phase) -> Event {
        let (no_announcement, no_output) = (never(), never());
        let announced = match phase {
            Phase::Announcing { acknowledged } => acknowledged,
            _ => &no_announcement,
        };
        let outputs = match phase {
            Phase::Scanning(running) => running.child.outputs(),
            _ => &no_output,
        };
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + phase.tick();
            // An order comes first even then.
            return self
                .assignment
                .orders
                .try_recv()
                .map_or(Event::Tick, Event::Order);
        }
        // Not beyond the time until which the claim can be trusted.
        let until_tick = self
            .next_tick
            .saturating_duration_since(now)
            .min(self.assignment.held_claim.trusted_for(now));
        select_biased! {
            // Without anything that could give orders, the claim is no longer this server's.
            recv(self.assignment.orders) -> order => Event::Order(order.unwrap_or(Order::Lost)),
            recv(announced) -> answer => Event::Announced(answer.is_ok()),
            recv(outputs) -> output => match output {
                Ok(output) => Event::Output(output),
                Err(RecvError) => Event::OutputEnded,
            },
            default(until_tick) => Event::Tick,
        }
    }

    fn handle(&mut self, phase: Phase, event: Event) -> Phase {
        let standstill = self.standstill();
        match phase {
            Phase::Announcing { acknowledged } => self.on_announcing(acknowledged, event),
            Phase::Scanning(running) => match (&running.stage, standstill) {
                (Stage::Ending { .. }, _) => self.on_ending(running, event),
                (_, Some(reason)) => self.stop(running, reason),
                (_, None) => self.on_scanning(running, event),
            },
            Phase::Flushing {
                outcome,
                give_up_at,
            } => self.on_flushing(outcome, give_up_at, event),
            Phase::Ended(outcome) => Phase::Ended(outcome),
        }
    }

    /// Whether this loop did not run for too long. Checked before anything is concluded from an event: a process may be stopped at any
    /// point.
    fn standstill(&mut self) -> Option<StopReason> {
        let now = Instant::now();
        let gap = now.duration_since(std::mem::replace(&mut self.last_ran, now));
        (gap >= STANDSTILL_MIN).then_some(StopReason::Standstill(gap))
    }
}

/// Before masscan runs.
impl Scan<'_> {
    /// Announces on Kafka that the task runs: a Redis that is lost later is rebuilt from that record.
    fn announce(&self) -> Phase {
        let (acknowledge, acknowledged) = bounded(1);
        let announcement = StateChange::Announce {
            record: running_record(&self.assignment.claimed, &self.scans.server),
            acknowledge: Some(acknowledge),
        };
        match self.outlets.finalize.send(announcement) {
            Ok(()) => Phase::Announcing { acknowledged },
            Err(_) => self.stop_before_start(StopReason::Ordered(Order::Drain)),
        }
    }

    fn on_announcing(&mut self, acknowledged: Receiver<()>, event: Event) -> Phase {
        match event {
            Event::Order(order) => self.stop_before_start(StopReason::Ordered(order)),
            // `finalize` does not answer if it found that the claim cannot be trusted any more.
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
            // A shard of fewer probes than there are shards: masscan would never end.
            info!("none of the probes belongs to this shard");
            self.progress.percent = 100.0;
            return self.flushing(Outcome::Completed);
        }
        match self.start_masscan() {
            Ok(child) => {
                self.has_started = true;
                self.last_ran = Instant::now();
                Phase::Scanning(Running::new(child))
            }
            Err(cause) => self.flushing(Outcome::Failed(cause)),
        }
    }

    fn start_masscan(&mut self) -> Result<Child, String> {
        if let Some(why) = self.plan.unfit.take() {
            return Err(why);
        }
        let arguments = ScanArguments {
            task: &self.assignment.claimed.task,
            rate_pps: self.assignment.permit.rate_pps(),
            resume_index: self.plan.begin.index,
            exclude: &self.assignment.denied,
            source: &self.outlets.source,
        };
        self.log_checkpoint();
        let program = self.scans.masscan.program();
        info!("{} {arguments}", program.display());
        let child = masscan::spawn(program, &self.scans.masscan.stdout_mode(), &arguments)
            .map_err(|error| one_line(&error.to_string()))?;
        if let Some(findings) = child.small_output_findings() {
            self.scans.small_output_warning.call_once(|| warn!(
                "masscan's output has room for {findings} findings only, because this user has many pipes; if more arrive at once, the scan \
                 continues from its checkpoint. Increase the sysctl fs.pipe-user-pages-soft (and fs.pipe-max-size, if below 1048576), or use fewer -slots"
            ));
        }
        self.scans.offloads.check_scan(child.id());
        Ok(child)
    }

    fn log_checkpoint(&self) {
        let (checkpoint, begin) = (self.assignment.claimed.resume.index, &self.plan.begin);
        if checkpoint == 0 {
            return;
        }
        let why_not_there = begin.why.as_ref().map_or(String::new(), |why| {
            format!(", not at the checkpoint {checkpoint}: {why}")
        });
        info!(
            "continues at index {} of {} ({:.2} %){why_not_there}",
            begin.index,
            self.plan.probe_order.end(),
            self.progress.percent,
        );
    }
}

/// While masscan runs.
impl Scan<'_> {
    fn on_scanning(&mut self, running: Running, event: Event) -> Phase {
        match event {
            Event::Order(order) => self.stop(running, StopReason::Ordered(order)),
            Event::Output(output) => self.on_output(running, output),
            Event::OutputEnded => self.on_exit(running),
            Event::Tick | Event::Announced(_) => self.on_tick(running),
        }
    }

    /// Ends masscan for `reason`.
    fn stop(&mut self, mut running: Running, reason: StopReason) -> Phase {
        debug!("ending masscan: {reason:?}");
        self.checkpoint.hold();
        // It writes each line at once: what it has found has been written, so there is nothing to wait for.
        running.child.kill();
        running.stage = Stage::Ending { reason };
        Phase::Scanning(running)
    }

    fn on_output(&mut self, mut running: Running, output: Output) -> Phase {
        match output {
            Output::Findings(findings) => {
                self.findings.add(&findings);
                self.findings.hand_over(self.is_trusted());
                if !self.scans.buffer.has_room() {
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

    fn on_progress(&mut self, running: &mut Running, mut progress: Progress, read_at: Instant) {
        running.last_progress = Instant::now();
        progress.percent = progress.percent.max(self.progress.percent);
        // masscan has an estimate of its own while it sends, but not a good one.
        progress.remaining_s = progress
            .remaining_s
            .map(|_| self.estimate.remaining_s(read_at, progress.percent));
        self.progress = progress;
        self.checkpoint
            .observe(read_at, progress.percent, self.found());
        self.checkpoint.settle(
            read_at,
            self.findings.printed(),
            self.findings.acknowledged(),
        );
        self.log_milestone();
        self.reporter.note_reading(read_at);
        running.stage = running.stage.clone().after_progress(&progress, read_at);
        if running.stage.sends_no_more() {
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

    /// Compares what masscan says it scans with what it was given.
    fn check_announced_size(&mut self, message: &str) -> Option<StopReason> {
        let announced = masscan::announced_size(message)?;
        let probe_order = &self.plan.probe_order;
        // masscan prints both modulo 2^32.
        let given = (probe_order.addresses() as u32, probe_order.ports() as u32);
        if announced == given {
            return None;
        }
        warn!(
            "masscan scans {} addresses × {} ports instead of {} × {}: probably overridden by /etc/masscan/masscan.conf; another server cannot resume \
             this scan",
            announced.0,
            announced.1,
            probe_order.addresses(),
            probe_order.ports()
        );
        self.checkpoint.forget();
        self.stop_a_shard(OTHER_TARGETS)
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
        self.stop_a_shard(OTHER_VERSION)
    }

    /// A shard is sent exactly as it was pushed or not at all: otherwise its job would have holes.
    fn stop_a_shard(&self, why: &'static str) -> Option<StopReason> {
        let shard = self.assignment.claimed.task.shard;
        shard.map(|_| StopReason::Mismatch(why))
    }

    fn on_tick(&mut self, running: Running) -> Phase {
        self.findings.hand_over(self.is_trusted());
        self.checkpoint.acknowledge(self.findings.acknowledged());
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
        let timeout_s = self.assignment.claimed.task.timeout_s;
        let timeout = timeout_s.map(|s| Duration::from_secs(s.into()));
        if timeout.is_some_and(|timeout| now.duration_since(running.started_at) >= timeout) {
            return Some(StopReason::TimedOut);
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

    fn log_milestone(&mut self) {
        let reached = self.progress.percent as u32 / MILESTONE_PERCENT;
        if reached > self.milestone {
            self.milestone = reached;
            info!(
                "{:.2} %, {:.0} pps, found {}",
                self.progress.percent,
                self.progress.rate_pps,
                self.found()
            );
        }
    }

    fn report_if_due(&mut self, running: &Running) {
        let (resume, sends_no_more) = (self.resume(), running.stage.sends_no_more());
        if self.reporter.is_due(Instant::now(), resume, sends_no_more) {
            self.report(resume, sends_no_more);
        }
    }

    /// Sends live progress. If the channel is full, the next tick tries again.
    fn report(&mut self, resume: Resume, sends_no_more: bool) {
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

/// Once masscan is to end, or has ended.
impl Scan<'_> {
    /// masscan was killed; its last findings are still taken.
    fn on_ending(&mut self, mut running: Running, event: Event) -> Phase {
        match event {
            // Whatever it was ended for: nothing more is written.
            Event::Order(Order::Lost) => {
                running.stage = Stage::Ending {
                    reason: StopReason::Ordered(Order::Lost),
                };
            }
            Event::Output(Output::Findings(findings)) => {
                self.findings.add(&findings);
                self.findings.hand_over(self.is_trusted());
            }
            Event::OutputEnded => return self.on_exit(running),
            _ => {}
        }
        Phase::Scanning(running)
    }

    fn on_exit(&mut self, running: Running) -> Phase {
        let Running {
            child,
            stage,
            messages,
            unreadable,
            ..
        } = running;
        let end = stage.into_end(Instant::now());
        let exit = child.wait();
        self.assignment.permit.stop_sending();
        // While its findings wait for Kafka, people see where it ended, and its job that it sends no more.
        let resume = self.resume();
        if self.is_trusted() && self.reporter.has_news(resume, true) {
            self.report(resume, true);
        }
        // A kill cuts the line that was being written; the next run prints it completely.
        if unreadable > 0 && end.is_whole() {
            error!("{unreadable} lines of masscan's output are not findings and are lost");
        }
        self.flushing(self.outcome(end, Some((exit, &messages))))
    }

    /// What the end of the run means; `exit` and masscan's last messages if it had been started.
    fn outcome(&self, end: RunEnd, exit: Option<(Exit, &VecDeque<String>)>) -> Outcome {
        let (exit, messages) = match exit {
            Some((exit, messages)) => (exit, messages.iter().map(String::as_str).collect()),
            None => (Exit::Code(0), Vec::new()),
        };
        let task = &self.assignment.claimed.task;
        let run = Run {
            exit,
            wait: self.wait(),
            percent: self.progress.percent,
            cause: masscan::cause(messages.into_iter()),
            timeout: task.timeout_s.map(|s| Duration::from_secs(s.into())),
            has_advanced: self.has_advanced(),
        };
        outcome::decide(end, &run)
    }

    /// Whether this run got further than the task was. (At another rate a run begins a little before that.)
    fn has_advanced(&self) -> bool {
        let was = match self.plan.begin.index {
            0 => 0,
            begin => self.assignment.claimed.resume.index.max(begin),
        };
        self.resume().index > was
    }

    /// Waits until Kafka has acknowledged the findings: for an end all of them, for a release only a moment.
    fn flushing(&self, outcome: Outcome) -> Phase {
        let give_up_at = match outcome {
            Outcome::Abandoned => return Phase::Ended(outcome),
            Outcome::Released { .. } => Some(Instant::now() + RELEASE_FLUSH_WAIT),
            Outcome::Completed | Outcome::Failed(_) | Outcome::Cancelled => None,
        };
        if self.findings.all_acknowledged() {
            return Phase::Ended(outcome);
        }
        Phase::Flushing {
            outcome,
            give_up_at,
        }
    }

    fn on_flushing(
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

    /// Findings of the task so far: those of this run, and those of earlier ones below the index at which it began. An answer that was
    /// on its way at a checkpoint may count in both or in neither.
    fn found(&self) -> u64 {
        let most = u64::try_from(self.plan.probe_order.range()).unwrap_or(u64::MAX);
        (self.plan.found_before + self.findings.printed()).min(most)
    }

    /// Where another attempt may begin. One that never started masscan leaves what it was given.
    fn resume(&self) -> Resume {
        match self.has_started {
            true => self.checkpoint.resume(),
            false => self.assignment.claimed.resume,
        }
    }

    fn wait(&self) -> Duration {
        Duration::from_secs(self.assignment.claimed.task.wait_s.into())
    }

    fn is_trusted(&self) -> bool {
        self.assignment.held_claim.is_trusted(Instant::now())
    }
}

/// Findings made before `index`, if `resume` counts those before its own: the same share of them.
fn found_before(index: u64, resume: &Resume) -> u64 {
    let share = index.min(resume.index) as f64 / resume.index.max(1) as f64;
    (resume.found as f64 * share) as u64
}
