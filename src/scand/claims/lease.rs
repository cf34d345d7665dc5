//! The thread `lease`: renews this server's claims, hears what is ordered about them, takes expired ones away from servers that
//! no longer renew theirs, and takes up changes of state that Kafka has not been told.
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

/// Time between two looks for orders (cancel, pause) and for claims that have expired.
const ORDERS_EVERY: Duration = Duration::from_secs(1);
/// Expired claims that one look takes away from their servers.
const REAP_BATCH_MAX: usize = 100;
/// Changes of state that one look takes to tell Kafka.
const OUTBOX_BATCH_MAX: usize = 500;

/// The thread's own things.
pub struct Lease {
    /// This server's name.
    pub server: String,
    /// How long a claim lasts without renewal.
    pub lease: Duration,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// Where tasks go that a lost server left to be ended.
    pub finalize: Sender<StateChange>,
    /// Nudges `dispatch`: there may be work.
    pub work: Sender<()>,
    /// Closed when the server begins to go down: no more reaping.
    pub draining: Stop,
    /// Closed when nothing is held any more.
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
        // After Redis was away every lease looks expired. Those that can renew get one whole lease to do so.
        let mut reaps_from = Instant::now() + lease;
        loop {
            if stopped(&draining) {
                finalize = None;
            }
            let began = Instant::now();
            let all = began >= reaps_from;
            // True where Redis answered.
            let mut look = || -> Result<bool, ClaimTableError> {
                // A Redis that doesn't answer is to hold up no drain.
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
                    more = tell(&mut table, &server, lease, finalize, &work)? && is_early();
                }
                Ok(true)
            };
            match look() {
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
                // It is for paused tasks, and those have no claim.
                claim_table::Order::Resume => {}
            }
        }
        // Redis lost its data: the claim stands as long as the lease can be trusted; the rebuild brings it back.
        Renewal::Gone => {}
        Renewal::Lost => {
            let _task = with_task(&held_claim.claim.task_id);
            warn!("the claim is no longer this server's");
            held_claim.lost(Instant::now());
            held_claims.drop_claim(&held_claim.claim);
        }
    }
}

/// Takes up to [`REAP_BATCH_MAX`] of them. True where there may be more, and room for what they need.
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
                    record: state_record(server, &task),
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
        // A full queue: an end that is not renewed comes back to one of the servers when its lease runs out; a record that is
        // only told is missed by nobody but a rebuild, which then holds the task for one lease.
        if finalize.try_send(state_change).is_err() {
            warn!("too many state changes wait for Kafka: some are left for later");
            if let Some(claim) = taken {
                held_claims.drop_claim(&claim);
            }
        }
    }
    if requeued {
        // A nudge that waits already says the same.
        let _ = work.try_send(());
    }
    Ok(full && room(finalize) >= REAP_BATCH_MAX)
}

/// Hands on what Kafka has not been told, up to [`OUTBOX_BATCH_MAX`] changes; what is left untold comes again. True where there
/// may be more, and room for it.
fn tell(
    table: &mut ClaimTable,
    server: &str,
    lease: Duration,
    finalize: &Sender<StateChange>,
    work: &Sender<()>,
) -> Result<bool, ClaimTableError> {
    let untold = table.outbox(lease, OUTBOX_BATCH_MAX)?;
    let full = untold.len() == OUTBOX_BATCH_MAX;
    for task in untold {
        let _task = with_task(&task.task_id);
        info!("{} by order", task.status);
        if task.status == State::Queued {
            // A nudge that waits already says the same.
            let _ = work.try_send(());
        }
        let state_change = StateChange::Publish {
            record: state_record(server, &task),
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
