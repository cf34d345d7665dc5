//! The thread `dispatch`: reports this server's load, claims tasks while a slot is free, and hands them to the scan threads.

use crate::claim_table::{
    Answer, ClaimTable, ClaimTableError, Claimed, Ending, Load, REFUSED_BY_ALL_WAIT, Refused,
    Release,
};
use crate::masscan::{MasscanBinary, MasscanInfo, unfit_for_shards};
use crate::model::lease::renew_every;
use crate::model::report_limit::LeftOut;
use crate::model::text::counted;
use crate::model::{Extent, ReportLimit, Scope, State, StatusRecord, Targets, Task};
use crate::scand::check;
use crate::scand::claims::budget::{Budget, Permit};
use crate::scand::claims::health::Health;
use crate::scand::claims::held_claims::{HeldClaim, HeldClaims, Order};
use crate::scand::claims::reach::ReachWatch;
use crate::scand::claims::scope::ScopeInForce;
use crate::scand::finalize::{StateChange, record_of};
use crate::scand::logging::with_task;
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::options::Options;
use crate::scand::retry_log::{RetryLog, Stop, stopped};
use crate::scand::scan::publish::FindingsBuffer;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::{debug, error, info, warn};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Interval between two heartbeats of a server without a free slot, or a fifth of its lease if that is shorter. Servers with a free slot try
/// to claim more often, which counts as a heartbeat.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// Interval between two claim attempts without a wake-up, while a slot is free and tasks are queued.
const DISPATCH_TICK: Duration = Duration::from_millis(200);
/// The same while nothing is queued. A task that another server releases is noticed after this long.
pub const DISPATCH_IDLE_TICK: Duration = Duration::from_secs(1);
/// Ranges outside the scope that the refusal of a shard names.
const SHOWN_DENIED_MAX: usize = 8;
/// After the first one: claim calls that find only tasks which this server may not run, without claiming one, before `dispatch` pauses.
const CLAIM_SKIPPED_MAX_TIMES: usize = 16;

/// A claim of this server, and the channel with the orders about it.
type Held = (Arc<HeldClaim>, Receiver<Order>);

/// A claimed task on its way to a scan thread.
#[derive(Debug)]
pub struct Assignment {
    /// The task and its claim.
    pub claimed: Claimed,
    /// The claim's lease.
    pub held_claim: Arc<HeldClaim>,
    /// Orders about it.
    pub orders: Receiver<Order>,
    /// Its slot and rate.
    pub permit: Permit,
    /// Targets that this server may not scan.
    pub denied: Targets,
    /// The version of the server's scope ([`ScopeInForce::changes`]) to which `denied` belongs.
    pub scope_changes: u64,
}

/// State owned by the `dispatch` thread.
pub struct Dispatch {
    /// This server's name.
    pub server: String,
    /// How long a claim lasts.
    pub lease: Duration,
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// Slots and rate.
    pub budget: Arc<Budget>,
    /// The server's options, for self-tests and for examinations of what it reaches.
    pub options: Options,
    /// Whether this server is able to scan: while it is not, it claims nothing.
    pub health: Arc<Health>,
    /// What it cannot reach.
    pub reach: ReachWatch,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// The findings buffer: no new scans while it is half full.
    pub buffer: Arc<FindingsBuffer>,
    /// What this server may scan.
    pub scope: Arc<ScopeInForce>,
    /// The masscan that scans run.
    pub masscan: Arc<MasscanBinary>,
    /// What is known about it; logged when it changes.
    pub masscan_info: Result<MasscanInfo, String>,
    /// Counts what happens.
    pub metrics: Arc<ServerMetrics>,
    /// To the scan threads.
    pub assignments: Sender<Assignment>,
    /// Bounds the log lines about tasks that this server may not run.
    pub refusals: ReportLimit,
    /// Bounds the log lines about tasks that this server rejects because no server may run them.
    pub rejections: ReportLimit,
    /// To `finalize`: the ends of tasks that cannot be read or that no server may run, and releases of tasks that are not started.
    pub finalize: Sender<StateChange>,
    /// Wake-ups: new tasks, or something became free.
    pub work: Receiver<()>,
    /// Closed: claim nothing more.
    pub stop: Stop,
}

impl Dispatch {
    /// Tests this server and examines what it reaches. Called before the server counts as ready, so that its first heartbeat follows at once.
    pub fn prepare(&mut self) {
        self.test();
        self.reach.refresh(&self.options);
    }

    /// Runs until `stop` is closed, then leaves the group.
    pub fn run(mut self) {
        let mut retry_log = RetryLog::new("claim tasks", Operation::Claim, &self.metrics);
        let mut pending_call = None;
        while !stopped(&self.stop) {
            if self.health.test_in(Instant::now()) == Some(Duration::ZERO) {
                self.test();
            }
            let pause = match self.claim_while_free(&mut pending_call) {
                Ok(answer) => self.pause(&answer),
                Err(error) => {
                    if !retry_log.pause(&error, &self.stop) {
                        break;
                    }
                    continue;
                }
            };
            retry_log.over();
            select! {
                recv(self.stop) -> _ => break,
                recv(self.work) -> _ => {}
                default(pause) => {}
            }
        }
        self.refusals.rest().iter().for_each(log_refused);
        self.rejections.rest().iter().for_each(log_rejected);
        if let Err(error) = self.table.leave(&self.server) {
            debug!("could not leave the group: {error}");
        }
    }

    /// Tests whether this server is able to scan, on a thread, because a masscan that hangs must not delay a drain.
    fn test(&self) {
        let (done, tested) = bounded(1);
        let options = self.options.clone();
        let test = thread::Builder::new()
            .name("self-test".to_owned())
            .spawn(move || {
                // Nothing receives it if the server stops.
                let _ = done.send(check::first_fault(&options, false));
            });
        let fault = match test {
            Ok(_) => select! {
                recv(tested) -> tested => tested.unwrap_or_else(|_| Some("the self-test ended with a panic".to_owned())),
                recv(self.stop) -> _ => return,
            },
            Err(error) => Some(format!("cannot start a thread: {error}")),
        };
        match fault {
            Some(fault) => self.stop_claiming(&fault),
            None if self.health.passed() => info!("able to scan again: claiming tasks"),
            None => {}
        }
    }

    fn stop_claiming(&self, fault: &str) {
        if let Some(pause) = self.health.failed(fault, Instant::now()) {
            warn!(
                "this server cannot scan, and claims nothing until it can (next test in {} s): {fault}",
                pause.as_secs()
            );
        }
    }

    /// How long to wait after `answer` unless there is a wake-up. Without a free slot this is the time to the next heartbeat, because a slot that
    /// becomes free causes a wake-up.
    fn pause(&self, answer: &Answer) -> Duration {
        if let Some(until_test) = self.health.test_in(Instant::now()) {
            return until_test.min(HEARTBEAT_EVERY.min(renew_every(self.lease)));
        }
        match answer {
            Answer::Idle(until) => DISPATCH_IDLE_TICK.min(*until),
            _ if self.budget.load().free == 0 => HEARTBEAT_EVERY.min(renew_every(self.lease)),
            _ => DISPATCH_TICK,
        }
    }

    /// Claims tasks until there is none for now; returns the last answer. `pending_call` is the name of a claim call that was
    /// not answered yet.
    fn claim_while_free(
        &mut self,
        pending_call: &mut Option<String>,
    ) -> Result<Answer, ClaimTableError> {
        let mut skipped = 0;
        loop {
            let now = Instant::now();
            self.refusals.due(now).iter().for_each(log_refused);
            self.rejections.due(now).iter().for_each(log_rejected);
            self.check_masscan();
            self.reach.refresh(&self.options);
            let load = self.load();
            let (answer, sent) = self.claim(&load, pending_call)?;
            match answer {
                Answer::None | Answer::Idle(_) | Answer::Deferred => return Ok(answer),
                Answer::Skipped if skipped == CLAIM_SKIPPED_MAX_TIMES => return Ok(answer),
                Answer::Skipped => skipped += 1,
                Answer::Vanished(id) => error!(
                    "task {id}: its Redis hash disappeared while it was queued; it is read again from Kafka"
                ),
                Answer::Unreadable(claim, error) => {
                    self.held_claims.take(&claim, sent, self.lease);
                    self.end_unreadable(claim, &error);
                }
                Answer::Task(claimed) => {
                    skipped = 0;
                    let _task = with_task(&claimed.task.task_id);
                    // Before anything that may fail: from now on its lease is renewed.
                    let held = self.held_claims.take(&claimed.claim(), sent, self.lease);
                    self.assign_or_refuse(*claimed, held)?;
                }
            }
            if stopped(&self.stop) {
                return Ok(Answer::None);
            }
        }
    }

    fn load(&self) -> Load {
        let mut load = self.budget.load();
        if !self.buffer.has_room_for_more_scans() {
            load.free = 0;
        }
        load.fault = self.health.fault();
        load
    }

    /// One claim. If its answer is lost, the same call is repeated under the same name until it is answered: Redis may execute any of these
    /// calls later, and all return the same task.
    fn claim(
        &mut self,
        load: &Load,
        pending_call: &mut Option<String>,
    ) -> Result<(Answer, Instant), ClaimTableError> {
        let name = pending_call
            .get_or_insert_with(|| nanoid::nanoid!())
            .clone();
        let capabilities = self.capabilities(&self.scope.now());
        let mut claim = || {
            let sent = Instant::now();
            self.table
                .claim(&self.server, &name, self.lease, load, &capabilities)
                .map(|answer| (answer, sent))
        };
        let answered = claim().or_else(|first| {
            debug!("repeating the claim: {first}");
            claim()
        });
        if !matches!(answered, Err(ClaimTableError::Redis { .. })) {
            *pending_call = None;
        }
        answered
    }

    /// Hands a claimed task to a scan thread, or refuses it if this server may not run it.
    fn assign_or_refuse(
        &mut self,
        mut claimed: Claimed,
        held: Held,
    ) -> Result<(), ClaimTableError> {
        let bounds = self.options.bounds;
        let scope_changes = self.scope.changes();
        let scope = self.scope.now();
        let targets = claimed.task.targets();
        let denied = scope.denied(&targets);
        if denied == targets {
            let why = scope.refusal(&targets);
            return self.refuse(claimed, &scope, &why);
        }
        let wanted = targets.without(&denied);
        if self.reach.last().refusal(&wanted).is_some()
            // The last examination may be outdated.
            && let Some(why) = self.reach.examine(&self.options).refusal(&wanted)
        {
            return self.refuse(claimed, &scope, &why);
        }
        if let Some(why) = self.unfit_for_shard(&claimed.task, &denied) {
            return self.refuse(claimed, &scope, &why);
        }
        let rate_pps = self.budget.rate_for(claimed.task.band_width.pps());
        let position = claimed.resume.position;
        if let Some(why) = bounds.refusal(&claimed.task, &denied, rate_pps, position) {
            return self.refuse(claimed, &scope, &why);
        }
        if let Some(lowered) = bounds.lower(&mut claimed.task) {
            info!("{lowered}");
        }
        if !denied.is_empty() {
            info!(
                "not scanned, because this server may not: {} of the task's {} addresses",
                denied.count(),
                targets.count()
            );
        }
        // claim.lua does not check the rate of a task that this server has refused before. Its refusal may have been out of date.
        let load = self.budget.load();
        if load.rate_used + rate_pps > load.max_rate {
            self.release_unstarted(&claimed, "its rate is not free now");
            return Ok(());
        }
        self.assign(claimed, held, denied, scope_changes);
        Ok(())
    }

    /// Hands a claim that cannot be started to `finalize`, which releases it once Redis answers.
    fn release_unstarted(&self, claimed: &Claimed, why: &str) {
        info!("released before it started: {why}");
        let record = StatusRecord {
            resume: claimed.resume,
            ..record_of(
                &claimed.task.task_id,
                &self.server,
                claimed.lineage.without_attempt(),
            )
        }
        .with_found(claimed.resume.found);
        let release = StateChange::Release {
            claim: claimed.claim(),
            release: Box::new(Release {
                delay: Duration::ZERO,
                gives_back_attempt: true,
                failed_here: false,
                error: None,
                resume: claimed.resume,
            }),
            record: Box::new(record),
        };
        let _ = self.finalize.send(release);
    }

    /// Why a shard cannot be run here; none if it can, or if the task is not a shard.
    ///
    /// Which probes a shard sends depends on all addresses of the job and on the rate (see `model/probe_order.rs`). If the shards of a job were
    /// run with different ones, the union of their probes would have holes that nobody notices. So each is run exactly as its record says, by a
    /// server that may do that; then nothing has to be known about the others.
    fn unfit_for_shard(&self, task: &Task, denied: &Targets) -> Option<String> {
        task.shard?;
        let asked = task.band_width.pps();
        if self.budget.rate_for(asked) < asked {
            return Some(format!(
                "a shard is sent at exactly {asked} packets per second, which is above this server's -max-rate"
            ));
        }
        if !denied.is_empty() {
            return Some(format!(
                "its job has {} outside this server's scope ({}), and a shard cannot leave any out: push the job again with -exclude",
                counted(denied.count(), "address", "addresses"),
                denied.shortened(SHOWN_DENIED_MAX)
            ));
        }
        unfit_for_shards(&self.masscan_info)
    }

    /// Examines masscan before a claim: what is claimed and what is refused depends on it.
    fn check_masscan(&mut self) {
        let info = self.masscan.info();
        if info != self.masscan_info {
            log_masscan(&info);
            self.masscan_info = info;
        }
        if let Err(error) = &self.masscan_info {
            self.stop_claiming(error);
        }
    }

    /// Names what this server may do. If it changes, tasks that this server has refused are offered to it again.
    fn capabilities(&self, scope: &Scope) -> String {
        let rate = self.budget.rate_for(u64::MAX);
        let shards = unfit_for_shards(&self.masscan_info).is_none();
        format!(
            "{}/{rate}/{}/{shards}/{}",
            scope.tag(),
            self.options.bounds.time.as_secs(),
            self.reach.last().tag()
        )
    }

    fn refuse(
        &mut self,
        claimed: Claimed,
        scope: &Scope,
        why: &str,
    ) -> Result<(), ClaimTableError> {
        let capabilities = self.capabilities(scope);
        let error = format!(
            "no server of the group may run it; on {}: {why}",
            self.server
        );
        let mut refuse = || {
            self.table
                .refuse(&claimed.claim(), &self.server, &capabilities, &error)
        };
        // If only the first answer was lost, the repeated call returns `Lost`.
        let refused = match refuse().or_else(|_| refuse()) {
            Ok(refused) => refused,
            Err(error) => {
                self.release_unstarted(&claimed, "Redis does not answer");
                return Err(error);
            }
        };
        match refused {
            Refused::Left => {
                if may_log(&mut self.refusals, &claimed.task) {
                    info!("left to other servers: {why}");
                }
                self.held_claims.drop_claim(&claimed.claim());
            }
            Refused::Kept => {
                if may_log(&mut self.refusals, &claimed.task) {
                    info!(
                        "refused by every server of the group; it will be rejected after {} s unless one can run it; this server's reason: {why}",
                        REFUSED_BY_ALL_WAIT.as_secs()
                    );
                }
                self.held_claims.drop_claim(&claimed.claim());
            }
            Refused::Lost => {
                debug!("already refused, or the claim was lost before");
                self.held_claims.drop_claim(&claimed.claim());
            }
            Refused::Ending => {
                if may_log(&mut self.rejections, &claimed.task) {
                    error!("{error}");
                }
                let ending = Ending {
                    task_id: claimed.task.task_id.clone(),
                    lineage: claimed.lineage,
                    status: State::Rejected,
                    error: Some(error),
                    found: claimed.resume.found,
                    resume: claimed.resume,
                    extent: Extent::default(),
                };
                let _ = self.finalize.send(StateChange::End(Box::new(ending)));
            }
        }
        Ok(())
    }

    fn assign(
        &mut self,
        claimed: Claimed,
        (held_claim, orders): Held,
        denied: Targets,
        scope_changes: u64,
    ) {
        let permit = self.budget.take(claimed.task.band_width.pps());
        let load = self.budget.load();
        info!(
            "claimed, attempt {} (now {} of {} slots sending, {} scans, {} pps)",
            claimed.lineage.attempt,
            load.slots - load.free.min(load.slots),
            load.slots,
            load.held,
            load.rate_used
        );
        self.metrics.claimed(claimed.task.priority, claimed.waited);
        let claim = claimed.claim();
        let assignment = Assignment {
            claimed,
            held_claim,
            orders,
            permit,
            denied,
            scope_changes,
        };
        if self.assignments.send(assignment).is_err() {
            error!(
                "the scan threads have ended: another server takes the task when the lease expires"
            );
            self.held_claims.drop_claim(&claim);
        }
    }

    fn end_unreadable(&self, claim: crate::claim_table::Claim, error: &ClaimTableError) {
        let _task = with_task(&claim.task_id);
        error!("{error}");
        let ending = Ending::unreadable(claim, State::Failed, error);
        let _ = self.finalize.send(StateChange::End(Box::new(ending)));
    }
}

/// Whether a line about this task may be logged. If not, the task is counted.
fn may_log(limit: &mut ReportLimit, task: &Task) -> bool {
    let words = || format!("task {}", task.task_id);
    limit.take_token_or_leave_out(Instant::now(), words)
}

fn log_refused(left_out: &LeftOut) {
    let refused = left_out.sum(
        "more task that this server may not run was refused",
        "more tasks that this server may not run were refused",
    );
    info!("{refused}");
}

fn log_rejected(left_out: &LeftOut) {
    let rejected = left_out.sum(
        "more task was rejected, because no server may run it",
        "more tasks were rejected, because no server may run them",
    );
    error!("{rejected}");
}

/// Logs the version of this server's masscan, and what it cannot do.
pub fn log_masscan(info: &Result<MasscanInfo, String>) {
    match info {
        Ok(info) => {
            info!("masscan {}", info.version);
            if let Some(why) = info.unfit_for_shards() {
                warn!("the shards of jobs are left to other servers: {why}");
            }
        }
        // The self-test logs it too, and what follows from it.
        Err(error) => debug!("{error}"),
    }
}
