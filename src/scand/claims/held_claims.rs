//! The claims of this server, shared by its threads: until when each may be trusted, and the channel for its orders. No I/O.
//! `lease` renews claims, `dispatch` adds them, `finalize` removes them.

use crate::claim_table::Claim;
use crate::model::TaskId;
use crate::model::lease::trusted_until;
use crate::sync::lock;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Orders that may wait for a scan thread.
const SCAN_ORDERS_MAX: usize = 8;

/// An order for a scan thread. It is handled before anything that masscan writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The claim belongs to another server or to none: stop and write nothing more.
    Lost,
    /// An operator cancelled the task.
    Cancel,
    /// An operator paused the task: checkpoint and release it.
    Pause,
    /// The server is shutting down: checkpoint and release the task.
    Drain,
}

/// One claim of this server.
#[derive(Debug)]
pub struct HeldClaim {
    /// Its task and fence.
    pub claim: Claim,
    trusted_until: Mutex<Instant>,
    orders: Sender<Order>,
    last_order: Mutex<Option<Order>>,
}

impl HeldClaim {
    /// Whether the lease can still be trusted at `now`, by this server's own clock.
    pub fn is_trusted(&self, now: Instant) -> bool {
        now < *lock(&self.trusted_until)
    }

    /// How long after `now` it can still be trusted if it is not renewed.
    pub fn trusted_for(&self, now: Instant) -> Duration {
        lock(&self.trusted_until).saturating_duration_since(now)
    }

    /// The claim was renewed by a request sent at `sent`.
    pub fn renewed(&self, sent: Instant, lease: Duration) {
        let mut until = lock(&self.trusted_until);
        *until = (*until).max(trusted_until(sent, lease));
    }

    /// The claim is lost: it can no longer be trusted, and the scan thread gets an order.
    pub fn lost(&self, now: Instant) {
        *lock(&self.trusted_until) = now;
        self.order(Order::Lost);
    }

    /// Sends an order to the scan thread; a repeated order only once. If there is no receiver or the queue is full, the order is not needed: the
    /// scan is already ending.
    pub fn order(&self, order: Order) {
        if lock(&self.last_order).replace(order) != Some(order) {
            let _ = self.orders.try_send(order);
        }
    }
}

/// All claims of this server.
#[derive(Debug, Default)]
pub struct HeldClaims(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    by_task: HashMap<TaskId, Arc<HeldClaim>>,
    is_draining: bool,
}

impl HeldClaims {
    /// Adds a claim that a request sent at `sent` made for one `lease`. During a drain it gets the order to drain at once.
    pub fn take(
        &self,
        claim: &Claim,
        sent: Instant,
        lease: Duration,
    ) -> (Arc<HeldClaim>, Receiver<Order>) {
        let (orders, inbox) = bounded(SCAN_ORDERS_MAX);
        let held_claim = Arc::new(HeldClaim {
            claim: claim.clone(),
            trusted_until: Mutex::new(trusted_until(sent, lease)),
            orders,
            last_order: Mutex::default(),
        });
        let mut held = lock(&self.0);
        if held.is_draining {
            held_claim.order(Order::Drain);
        }
        held.by_task
            .insert(claim.task_id.clone(), held_claim.clone());
        (held_claim, inbox)
    }

    /// Orders every scan to drain, including those of claims that are added later.
    pub fn drain(&self) {
        let mut held = lock(&self.0);
        held.is_draining = true;
        for held_claim in held.by_task.values() {
            held_claim.order(Order::Drain);
        }
    }

    /// Whether `claim` is held and can still be trusted at `now`.
    pub fn is_trusted(&self, claim: &Claim, now: Instant) -> bool {
        let held = lock(&self.0);
        let held_claim = held.by_task.get(&claim.task_id);
        held_claim
            .is_some_and(|held_claim| held_claim.claim == *claim && held_claim.is_trusted(now))
    }

    /// Removes a claim, unless the task was claimed again in the meantime. Returns whether it was held.
    pub fn drop_claim(&self, claim: &Claim) -> bool {
        let mut held = lock(&self.0);
        let is_held = held
            .by_task
            .get(&claim.task_id)
            .is_some_and(|h| h.claim == *claim);
        if is_held {
            held.by_task.remove(&claim.task_id);
        }
        is_held
    }

    /// All claims, in no particular order.
    pub fn all(&self) -> Vec<Arc<HeldClaim>> {
        lock(&self.0).by_task.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(id: &str, fence: u64) -> Claim {
        Claim {
            task_id: id.parse().unwrap(),
            fence,
        }
    }

    #[test]
    fn trust_ends_before_the_lease_and_grows_with_a_renewal() {
        let (held_claims, start, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        let (held_claim, _orders) = held_claims.take(&claim("a", 1), start, lease);
        assert!(held_claim.is_trusted(start + Duration::from_secs(8)));
        assert!(!held_claim.is_trusted(start + Duration::from_secs(9)));
        held_claim.renewed(start + Duration::from_secs(5), lease);
        assert!(held_claim.is_trusted(start + Duration::from_secs(13)));
        held_claim.renewed(start, lease);
        assert!(
            held_claim.is_trusted(start + Duration::from_secs(13)),
            "a late answer takes nothing back"
        );
    }

    #[test]
    fn a_lost_claim_is_not_trusted_and_its_scan_is_told() {
        let (held_claims, start, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        let (held_claim, orders) = held_claims.take(&claim("a", 1), start, lease);
        held_claim.lost(start);
        assert!(!held_claim.is_trusted(start));
        assert_eq!(orders.try_recv(), Ok(Order::Lost));
    }

    #[test]
    fn an_order_that_is_repeated_is_told_once() {
        let (held_claims, now, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        let (held_claim, orders) = held_claims.take(&claim("a", 1), now, lease);
        for order in [Order::Pause, Order::Pause, Order::Cancel, Order::Cancel] {
            held_claim.order(order);
        }
        let told: Vec<Order> = orders.try_iter().collect();
        assert_eq!(told, [Order::Pause, Order::Cancel]);
    }

    #[test]
    fn a_claim_taken_up_after_the_drain_was_ordered_is_drained_too() {
        let (held_claims, now, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        let (_, early) = held_claims.take(&claim("a", 1), now, lease);
        assert!(early.try_recv().is_err());
        held_claims.drain();
        let (_, late) = held_claims.take(&claim("b", 2), now, lease);
        assert_eq!(early.try_recv(), Ok(Order::Drain));
        assert_eq!(late.try_recv(), Ok(Order::Drain));
    }

    #[test]
    fn only_the_claim_that_is_held_is_trusted() {
        let (held_claims, start, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        held_claims.take(&claim("a", 2), start, lease);
        assert!(held_claims.is_trusted(&claim("a", 2), start));
        assert!(
            !held_claims.is_trusted(&claim("a", 1), start),
            "an older one"
        );
        assert!(
            !held_claims.is_trusted(&claim("b", 2), start),
            "another task"
        );
        assert!(!held_claims.is_trusted(&claim("a", 2), start + lease));
    }

    #[test]
    fn an_old_claim_does_not_drop_a_new_one() {
        let (held_claims, now, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        held_claims.take(&claim("a", 1), now, lease);
        held_claims.take(&claim("a", 2), now, lease);
        held_claims.drop_claim(&claim("a", 1));
        assert_eq!(held_claims.all().len(), 1);
        held_claims.drop_claim(&claim("a", 2));
        assert!(held_claims.all().is_empty());
    }
}
