//! The thread `lease`: renews this server's claims, receives orders about them, reaps expired claims of other servers, and reads state changes
//! from the outbox.
//!
//! **Invariant:** it does no Kafka work and has its own connection to Redis, so that a stuck Kafka costs no lease.

use crate::claim_table::{
    self, Claim, ClaimTable, ClaimTableError, Claimed, Ending, Reaped, Renewal, Renewed,
};
use crate::model::lease::renew_every;
use crate::model::{State, StatusRecord};
use crate::scand::claims::held_claims::{HeldClaim, HeldClaims, Order};
use crate::scand::finalize::{StateChange, record_of, state_record};
use crate::scand::logging::with_task;
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::retry_log::{RetryLog, Stop, stopped};
use crossbeam_channel::{RecvTimeoutError, Sender};
use log::{error, info, warn};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval between two checks for orders (cancel, pause) and for expired claims.
const ORDERS_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of expired claims that one call reaps.
const REAP_BATCH_MAX: usize = 100;
/// Maximum number of entries of the outbox that one call reads.
const OUTBOX_BATCH_MAX: usize = 500;

/// State owned by the `lease` thread.
pub struct Lease {
    /// This server's name.
    pub server: String,
    /// How long a claim lasts without renewal.
    pub lease: Duration,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// Counts what happens.
    pub metrics: Arc<ServerMetrics>,
    /// Receives the state changes of reaped claims and of the outbox. None once the drain has begun: `finalize` ends when its last sender is
    /// dropped.
    pub finalize: Option<Sender<StateChange>>,
    /// Wakes `dispatch`: there may be work.
    pub work: Sender<()>,
    /// Closed when the drain begins: no more reaping.
    pub draining: Stop,
    /// Closed when no claim is held any more.
    pub stop: Stop,
}

impl Lease {
    /// Runs until `stop` is closed.
    pub fn run(mut self) {
        let mut retry_log = RetryLog::new(
            "renew leases in Redis",
            Operation::RenewLeases,
            &self.metrics,
        );
        // After Redis was unreachable, every lease looks expired. Servers that can renew theirs get one whole lease to do so.
        let mut reaps_all_from = Instant::now() + self.lease;
        loop {
            if stopped(&self.draining) {
                self.finalize = None;
            }
            // A Redis that does not answer must not delay a drain.
            if self.finalize.is_some() || !self.held_claims.all().is_empty() {
                if let Err(error) = self.round(Instant::now() >= reaps_all_from) {
                    reaps_all_from = Instant::now() + self.lease;
                    if !retry_log.pause(&error, &self.stop) {
                        return;
                    }
                    continue;
                }
                retry_log.over();
            }
            let pause = renew_every(self.lease).min(ORDERS_EVERY);
            if self.stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Renews once, then reaps and publishes what there is, for half the time to the next renewal at most.
    fn round(&mut self, all_expired: bool) -> Result<(), ClaimTableError> {
        let until = Instant::now() + renew_every(self.lease) / 2;
        let found = self.renew(all_expired)?;
        let Some(finalize) = self.finalize.clone() else {
            return Ok(());
        };
        let mut more = found.has_expired;
        while more {
            more = self.reap(&finalize, all_expired)? && Instant::now() < until;
        }
        let mut more = found.has_outbox;
        while more {
            more = self.publish_outbox(&finalize)? && Instant::now() < until;
        }
        Ok(())
    }

    fn renew(&mut self, all_expired: bool) -> Result<Renewed, ClaimTableError> {
        let held = self.held_claims.all();
        let claims: Vec<Claim> = held
            .iter()
            .map(|held_claim| held_claim.claim.clone())
            .collect();
        let sent = Instant::now();
        let found = self.table.renew(self.lease, &claims, all_expired)?;
        self.metrics.leases_renewed(sent.elapsed());
        for (held_claim, &renewal) in held.iter().zip(&found.claims) {
            self.apply(renewal, held_claim, sent);
        }
        Ok(found)
    }

    /// Carries out the answer to a renewal that was sent at `sent`.
    fn apply(&self, renewal: Renewal, held_claim: &HeldClaim, sent: Instant) {
        match renewal {
            Renewal::Ok => held_claim.renewed(sent, self.lease),
            Renewal::Ordered(order) => {
                held_claim.renewed(sent, self.lease);
                match order {
                    claim_table::Order::Cancel => held_claim.order(Order::Cancel),
                    claim_table::Order::Pause => held_claim.order(Order::Pause),
                    // It concerns paused tasks, which have no claim.
                    claim_table::Order::Resume => {}
                }
            }
            // Redis lost its data: the claim is valid as long as the lease can be trusted; the rebuild restores it.
            Renewal::Gone => {}
            Renewal::Lost => {
                held_claim.lost(Instant::now());
                // The task may have ended since the renewal was sent.
                if self.held_claims.drop_claim(&held_claim.claim) {
                    let _task = with_task(&held_claim.claim.task_id);
                    warn!("claim lost: it belongs to another server or to none");
                    self.metrics.claim_lost();
                }
            }
        }
    }

    /// Reaps up to [`REAP_BATCH_MAX`] claims. Returns true if there may be more, and the queue has room for them.
    fn reap(
        &mut self,
        finalize: &Sender<StateChange>,
        all_expired: bool,
    ) -> Result<bool, ClaimTableError> {
        let sent = Instant::now();
        let reaped = self
            .table
            .reap(&self.server, self.lease, REAP_BATCH_MAX, all_expired)?;
        let is_full = reaped.len() == REAP_BATCH_MAX;
        for reaped in reaped {
            let state_change = match reaped {
                Reaped::Requeued { lost_server, task } => self.requeued(&lost_server, &task),
                Reaped::Ending { lost_server, task } => self.ending(&lost_server, task, sent),
                Reaped::Unreadable { ending, error } => {
                    error!("reaped a task that cannot be read: {error}");
                    let Some(task) = ending else { continue };
                    self.ending("", task, sent)
                }
            };
            // If the queue is full: an end that is not renewed is reaped again by a server when its lease expires; a lost announcement only
            // matters to a rebuild, which then holds the task for one lease.
            if let Err(refused) = finalize.try_send(state_change) {
                warn!("too many state changes wait for Kafka: some are left for later");
                if let StateChange::End(task) = refused.into_inner() {
                    self.held_claims.drop_claim(&task.claim());
                }
            }
        }
        Ok(is_full && room(finalize) >= REAP_BATCH_MAX)
    }

    /// A task that lost its server is in the queue again.
    fn requeued(&self, lost_server: &str, task: &Ending) -> StateChange {
        let _task = with_task(&task.task_id);
        warn!(
            "server {lost_server} stopped renewing its lease, the task is {} again",
            task.status
        );
        self.wake_dispatch();
        StateChange::Announce {
            record: Box::new(state_record(&self.server, task)),
            acknowledge: None,
        }
    }

    /// Takes over a task whose end is decided but not finished. The call that reaped it was sent at `sent`; `lost_server` is empty if none ran it, or
    /// if it is not known.
    fn ending(&self, lost_server: &str, task: Ending, sent: Instant) -> StateChange {
        let _task = with_task(&task.task_id);
        if lost_server.is_empty() {
            info!("{} while no server ran it: ending it", task.status);
        } else {
            error!(
                "server {lost_server} stopped renewing its lease, ending the task as {}",
                task.status
            );
        }
        self.held_claims.take(&task.claim(), sent, self.lease);
        StateChange::End(Box::new(task))
    }

    /// Publishes up to [`OUTBOX_BATCH_MAX`] entries of the outbox; those that are not published are read again later. Returns true if there
    /// may be more, and the queue has room for them.
    fn publish_outbox(&mut self, finalize: &Sender<StateChange>) -> Result<bool, ClaimTableError> {
        let entries = self.table.outbox(self.lease, OUTBOX_BATCH_MAX)?;
        let is_full = entries.len() == OUTBOX_BATCH_MAX;
        for entry in entries {
            let task = match entry {
                Ok(task) => task,
                Err(error) => {
                    error!("a state change that is not on Kafka yet: {error}");
                    continue;
                }
            };
            let _task = with_task(&task.task_id);
            info!("{} by order", task.status);
            if task.status == State::Queued {
                self.wake_dispatch();
            }
            let state_change = StateChange::Publish {
                record: Box::new(state_record(&self.server, &task)),
                change: task.claim(),
            };
            if finalize.try_send(state_change).is_err() {
                return Ok(false);
            }
        }
        Ok(is_full && room(finalize) >= OUTBOX_BATCH_MAX)
    }

    fn wake_dispatch(&self) {
        // If the channel is full, a wake-up is already pending.
        let _ = self.work.try_send(());
    }
}

/// How many more state changes the queue takes now.
fn room(finalize: &Sender<StateChange>) -> usize {
    finalize.capacity().map_or(usize::MAX, |capacity| {
        capacity.saturating_sub(finalize.len())
    })
}

/// The record that the claimed task runs.
pub fn running_record(claimed: &Claimed, server: &str) -> StatusRecord {
    StatusRecord {
        status: State::Running,
        resume: claimed.resume,
        ..record_of(&claimed.task.task_id, server, claimed.lineage)
    }
}
