//! The thread `lease`: renews this server's claims, receives orders about them, reaps expired claims of other servers, and reads state changes
//! from the outbox.
//!
//! **Invariant:** it does no Kafka work and has its own connection to Redis, so that a stuck Kafka costs no lease.

use crate::claim_table::{
    self, Claim, ClaimTable, ClaimTableError, Claimed, Reaped, Renewal, Renewed,
};
use crate::model::lease::renew_every;
use crate::model::{State, StatusRecord};
use crate::scand::claims::held_claims::{HeldClaim, HeldClaims, Order};
use crate::scand::finalize::{StateChange, record_of, state_record};
use crate::scand::logging::with_task;
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
    /// Where state changes go: of reaped claims and from the outbox.
    pub finalize: Sender<StateChange>,
    /// Wakes `dispatch`: there may be work.
    pub work: Sender<()>,
    /// Closed when the drain begins: no more reaping.
    pub draining: Stop,
    /// Closed when no claim is held any more.
    pub stop: Stop,
}

impl Lease {
    /// Runs until `stop` is closed.
    pub fn run(self) {
        let Lease {
            server,
            lease,
            held_claims,
            mut table,
            finalize,
            work,
            draining,
            stop,
        } = self;
        let mut finalize = Some(finalize);
        let mut retry_log = RetryLog::new("renew leases in Redis");
        // After Redis was unreachable, every lease looks expired. Servers that can renew theirs get one whole lease to do so.
        let mut reaps_from = Instant::now() + lease;
        loop {
            if stopped(&draining) {
                finalize = None;
            }
            let began = Instant::now();
            let all = began >= reaps_from;
            // Returns true if Redis answered.
            let mut check = || -> Result<bool, ClaimTableError> {
                // A Redis that does not answer must not delay a drain.
                if finalize.is_none() && held_claims.all().is_empty() {
                    return Ok(false);
                }
                let found = renew(&mut table, &held_claims, lease, all)?;
                let Some(finalize) = &finalize else {
                    return Ok(true);
                };
                let is_early = || Instant::now() < began + renew_every(lease) / 2;
                let mut more = found.has_expired;
                while more {
                    more = reap(
                        &mut table,
                        &server,
                        lease,
                        all,
                        &held_claims,
                        finalize,
                        &work,
                    )? && is_early();
                }
                let mut more = found.has_outbox;
                while more {
                    more =
                        publish_outbox(&mut table, &server, lease, finalize, &work)? && is_early();
                }
                Ok(true)
            };
            match check() {
                Ok(true) => retry_log.over(),
                Ok(false) => {}
                Err(error) => {
                    reaps_from = Instant::now() + lease;
                    if !retry_log.pause(&error, &stop) {
                        return;
                    }
                    continue;
                }
            }
            let pause = renew_every(lease).min(ORDERS_EVERY);
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

fn renew(
    table: &mut ClaimTable,
    held_claims: &HeldClaims,
    lease: Duration,
    all: bool,
) -> Result<Renewed, ClaimTableError> {
    let held = held_claims.all();
    let claims: Vec<Claim> = held
        .iter()
        .map(|held_claim| held_claim.claim.clone())
        .collect();
    let sent = Instant::now();
    let found = table.renew(lease, &claims, all)?;
    for (held_claim, &state) in held.iter().zip(&found.claims) {
        renewed(held_claims, held_claim, state, sent, lease);
    }
    Ok(found)
}

fn renewed(
    held_claims: &HeldClaims,
    held_claim: &Arc<HeldClaim>,
    state: Renewal,
    sent: Instant,
    lease: Duration,
) {
    match state {
        Renewal::Ok => held_claim.renewed(sent, lease),
        Renewal::Ordered(order) => {
            held_claim.renewed(sent, lease);
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
            let _task = with_task(&held_claim.claim.task_id);
            warn!("the claim is no longer this server's");
            held_claim.lost(Instant::now());
            held_claims.drop_claim(&held_claim.claim);
        }
    }
}

/// Reaps up to [`REAP_BATCH_MAX`] claims. Returns true if there may be more, and the queue has room for them.
fn reap(
    table: &mut ClaimTable,
    server: &str,
    lease: Duration,
    all: bool,
    held_claims: &HeldClaims,
    finalize: &Sender<StateChange>,
    work: &Sender<()>,
) -> Result<bool, ClaimTableError> {
    let sent = Instant::now();
    let expired = table.reap(server, lease, REAP_BATCH_MAX, all)?;
    let full = expired.len() == REAP_BATCH_MAX;
    let requeued = expired
        .iter()
        .any(|reaped| matches!(reaped, Reaped::Requeued { .. }));
    for reaped in expired {
        let mut taken = None;
        let state_change = match reaped {
            Reaped::Requeued { lost_server, task } => {
                let _task = with_task(&task.task_id);
                warn!(
                    "server {lost_server} stopped renewing its lease, the task is {} again",
                    task.status
                );
                StateChange::Announce {
                    record: Box::new(state_record(server, &task)),
                    acknowledge: None,
                }
            }
            Reaped::Ending { lost_server, task } if lost_server.is_empty() => {
                let _task = with_task(&task.task_id);
                info!("{} while no server ran it: ending it", task.status);
                held_claims.take(&task.claim(), sent, lease);
                taken = Some(task.claim());
                StateChange::End(task)
            }
            Reaped::Ending { lost_server, task } => {
                let _task = with_task(&task.task_id);
                error!(
                    "server {lost_server} stopped renewing its lease, ending the task as {}",
                    task.status
                );
                held_claims.take(&task.claim(), sent, lease);
                taken = Some(task.claim());
                StateChange::End(task)
            }
        };
        // The queue is full. An end that is not renewed is reaped again by a server when its lease expires; a lost announcement only matters to a
        // rebuild, which then holds the task for one lease.
        if finalize.try_send(state_change).is_err() {
            warn!("too many state changes wait for Kafka: some are left for later");
            if let Some(claim) = taken {
                held_claims.drop_claim(&claim);
            }
        }
    }
    if requeued {
        // If the channel is full, a wake-up is already pending.
        let _ = work.try_send(());
    }
    Ok(full && room(finalize) >= REAP_BATCH_MAX)
}

/// Publishes up to [`OUTBOX_BATCH_MAX`] entries of the outbox; those that are not published are read again later. Returns true if there may
/// be more, and the queue has room for them.
fn publish_outbox(
    table: &mut ClaimTable,
    server: &str,
    lease: Duration,
    finalize: &Sender<StateChange>,
    work: &Sender<()>,
) -> Result<bool, ClaimTableError> {
    let entries = table.outbox(lease, OUTBOX_BATCH_MAX)?;
    let full = entries.len() == OUTBOX_BATCH_MAX;
    for task in entries {
        let _task = with_task(&task.task_id);
        info!("{} by order", task.status);
        if task.status == State::Queued {
            // If the channel is full, a wake-up is already pending.
            let _ = work.try_send(());
        }
        let state_change = StateChange::Publish {
            record: Box::new(state_record(server, &task)),
            change: task.claim(),
        };
        if finalize.try_send(state_change).is_err() {
            return Ok(false);
        }
    }
    Ok(full && room(finalize) >= OUTBOX_BATCH_MAX)
}

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
