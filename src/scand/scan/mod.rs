//! The threads `scan-N`: each runs one scan at a time, from the claim to its end, with one masscan for each pass of the task.
//!
//! The loop is "next event, handle event" ([`Event`]); what an event does depends on the [`Phase`]. Orders about the claim come before
//! everything else. Nothing in the loop waits for Kafka or Redis: findings go out through a bounded buffer, and if that is full the scan is
//! suspended.
//!
//! | file | what |
//! |---|---|
//! | `phase.rs` | the states of a scan |
//! | `starting.rs`, `scanning.rs`, `ending.rs` | what events do before, while and after masscan runs |
//! | `pass.rs` | the pass that the scan is in |
//! | `task_filter.rs` | drops findings that do not belong to the task |
//! | `outgoing.rs` | findings on their way to `publish-N` |
//! | `reporter.rs` | when live progress is due |
//! | `outcome.rs` | what the end of a run means for the task |
//! | `end_of_claim.rs` | the state change that follows from it |
//! | `publish.rs` | the threads `publish-N` |
//! | `progress.rs` | the thread `progress` |
//! | `drops.rs` | packets that the kernel drops during a scan |
//! | `offloads.rs` | warnings about network interfaces |

mod drops;
mod end_of_claim;
mod ending;
pub mod offloads;
pub mod outcome;
mod outgoing;
mod pass;
mod phase;
pub mod progress;
pub mod publish;
mod reporter;
mod scanning;
mod starting;
mod task_filter;
#[cfg(test)]
mod tests;

use crate::claim_table::LiveProgress;
use crate::masscan::{self, MasscanBinary, Output, RunAs};
use crate::model::checkpoint::Checkpoint;
use crate::model::probe_order::Begin;
use crate::model::resume::Position;
use crate::model::source::Source;
use crate::model::{FoundByPass, Lineage, ProbeOrder, Progress, Resume};
use crate::scand::claims::dispatch::Assignment;
use crate::scand::claims::health::Health;
use crate::scand::claims::held_claims::{HeldClaims, Order};
use crate::scand::claims::scope::ScopeInForce;
use crate::scand::finalize::StateChange;
use crate::scand::logging;
use crate::scand::metrics::{CheckpointAge, ServerMetrics};
use crate::scand::options::Options;
use crate::sync::lock;
use crossbeam_channel::{Receiver, RecvError, Sender, never, select_biased};
use drops::DropsWatch;
use log::{error, info, warn};
use offloads::Offloads;
use outcome::StopReason;
use outgoing::OutgoingFindings;
use pass::CurrentPass;
use phase::{Phase, Running, Stage, TICK};
use publish::{Batch, FindingsBuffer};
use reporter::Reporter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};
use task_filter::TaskFilter;

/// A scan whose loop did not run for this long was frozen or had no CPU. masscan may have been stopped too and have lost answers.
const STANDSTILL_MIN: Duration = Duration::from_millis(2200);

/// What the scan threads share.
pub struct Scans {
    /// This server's name.
    pub server: String,
    /// The server's options, for self-tests.
    pub options: Options,
    /// Whether this server is able to scan.
    pub health: Arc<Health>,
    /// The program.
    pub masscan: Arc<MasscanBinary>,
    /// Counts what happens.
    pub metrics: Arc<ServerMetrics>,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Findings that wait for Kafka.
    pub buffer: Arc<FindingsBuffer>,
    /// What this server may scan.
    pub scope: Arc<ScopeInForce>,
    /// The warning that masscan's output has less room than usual is logged once.
    pub small_output_warning: Once,
    /// The line about the user as whom masscan runs is logged again only if it changes.
    pub last_run_as_line: Mutex<String>,
    /// Warns about offloads.
    pub offloads: Arc<Offloads>,
}

impl Scans {
    /// Logs as whom masscan runs, if that was not the last line about it.
    pub fn log_run_as(&self, run_as: &RunAs) {
        let line = run_as.to_string();
        let mut last_line = lock(&self.last_run_as_line);
        if *last_line == line {
            return;
        }
        match run_as {
            RunAs::Caller => {}
            RunAs::User(_) => info!("{line}"),
            RunAs::RootForCustomMasscan(_) | RunAs::RootBecause(_) => warn!("{line}"),
        }
        *last_line = line;
    }
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
    filter: TaskFilter,
    drops: DropsWatch,
    findings: OutgoingFindings<'a>,
    checkpoint: Checkpoint,
    checkpoint_age: CheckpointAge,
    /// Where the checkpoint was when `checkpoint_age` last looked.
    noted_position: Position,
    pass: CurrentPass,
    /// masscan's last progress; the percentage is that of the whole task.
    progress: Progress,
    reporter: Reporter,
    milestone: u32,
    /// When masscan was first started in this attempt.
    started_at: Option<Instant>,
    /// When the loop last ran.
    last_ran: Instant,
    next_tick: Instant,
    assigned_at: Instant,
}

/// What was decided before masscan is started.
struct Plan {
    probe_order: ProbeOrder,
    begin: Begin,
    /// Findings that earlier attempts made before the position at which this one begins.
    found_before: FoundByPass,
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
        let begin = probe_order.begin(&resume);
        Plan {
            found_before: found_before(begin.position, &resume),
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
        let (probe_order, begin) = (plan.probe_order, plan.begin.position);
        let (claimed, now) = (&assignment.claimed, Instant::now());
        Scan {
            filter: TaskFilter::new(
                claimed.task.targets().without(&assignment.denied),
                claimed.task.ports.clone(),
            ),
            drops: DropsWatch::new(
                &claimed.task.task_id,
                outlets.source.interface.clone(),
                &scans.metrics,
            ),
            findings: OutgoingFindings::new(
                claimed,
                &scans.server,
                begin.pass,
                &scans.buffer,
                &outlets.publish,
            ),
            checkpoint: Checkpoint::new(
                probe_order,
                claimed.task.wait_s_of(begin.pass),
                begin,
                plan.found_before,
            ),
            checkpoint_age: scans.metrics.begin_scan(),
            noted_position: begin,
            pass: CurrentPass::new(probe_order, &claimed.task, begin, plan.found_before, 0),
            progress: Progress {
                percent: probe_order.percent_at(begin),
                ..Progress::default()
            },
            reporter: Reporter::new(claimed.resume),
            milestone: 0,
            started_at: None,
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
                // The event still counts: it may be a finding, or say that the claim is lost.
                (_, Some(reason)) => {
                    self.scans.metrics.stood_still();
                    let running = self.end_masscan(running, reason);
                    self.on_ending(running, event)
                }
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

/// What several phases need.
impl Scan<'_> {
    /// Findings of the task so far: those of this attempt, and those of earlier ones before the position at which it began.
    fn found(&self) -> FoundByPass {
        let range = self.plan.probe_order.range();
        self.pass.found(self.findings.printed(), range)
    }

    /// Where another attempt may begin. One that never started masscan leaves what it was given.
    fn resume(&self) -> Resume {
        match self.started_at {
            Some(_) => self.checkpoint.resume(),
            None => self.assignment.claimed.resume,
        }
    }

    /// How long masscan waits for late answers in this pass.
    fn wait(&self) -> Duration {
        let wait_s = self.assignment.claimed.task.wait_s_of(self.pass.number);
        Duration::from_secs(wait_s.into())
    }

    fn is_last_pass(&self) -> bool {
        self.pass.number >= self.assignment.claimed.task.passes()
    }

    /// Whether no probe of the task is left to send.
    fn sends_no_more(&self, running: &Running) -> bool {
        self.is_last_pass() && running.stage.sends_no_more()
    }

    /// The attempt's time-out.
    fn timeout(&self) -> Option<Duration> {
        let timeout_s = self.assignment.claimed.task.timeout_s;
        timeout_s.map(|s| Duration::from_secs(s.into()))
    }

    /// For how long servers have run the task in all, this attempt included.
    fn ran(&self) -> Duration {
        let before = Duration::from_millis(self.assignment.claimed.lineage.ran_ms);
        before.saturating_add(self.assigned_at.elapsed())
    }

    /// Why the task may not run any longer on this server.
    fn is_out_of_time(&self) -> Option<String> {
        self.scans.options.bounds.is_over(self.ran())
    }

    /// The lineage of the claim with the time of this attempt.
    fn lineage(&self) -> Lineage {
        Lineage {
            ran_ms: u64::try_from(self.ran().as_millis()).unwrap_or(u64::MAX),
            ..self.assignment.claimed.lineage
        }
    }

    fn is_trusted(&self) -> bool {
        self.assignment.held_claim.is_trusted(Instant::now())
    }
}

/// Findings made before `begin`, if `resume` counts those before its own position: in that pass the same share of them.
fn found_before(begin: Position, resume: &Resume) -> FoundByPass {
    if begin.pass != resume.position.pass {
        return FoundByPass::default();
    }
    let index = resume.position.index;
    let share = begin.index.min(index) as f64 / index.max(1) as f64;
    let found = resume.found.of(begin.pass) as f64 * share;
    resume.found.with(begin.pass, found as u64)
}
