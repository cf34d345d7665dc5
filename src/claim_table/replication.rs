//! Waits until a replica of Redis has a decision (an end, an order), if Redis has replicas. Replication is asynchronous, so a failover could lose
//! the decision otherwise. It is not a guarantee: the replica that becomes the primary may be another one.

use super::access::is_refused;
use super::connection::{ClaimTable, ms};
use super::error::ClaimTableError;
use super::replicas::REPLICA_PAUSE;
use log::{debug, warn};
use std::time::{Duration, Instant};

/// How long a decision waits for a replica. One on the same network answers within a few milliseconds.
const REPLICA_WAIT: Duration = Duration::from_millis(100);

impl ClaimTable {
    /// Waits for a replica to have all that was written on this connection, for [`REPLICA_WAIT`] at most. Does nothing if Redis has no replicas,
    /// or if the user may not ask. An error does not matter: the decision is made, and the next call connects again.
    pub(super) fn wait_for_replica(&mut self) {
        if let Err(error) = self.try_wait_for_replica(Instant::now()) {
            debug!("not known whether a replica has the last decision: {error}");
        }
    }

    fn try_wait_for_replica(&mut self, now: Instant) -> Result<(), ClaimTableError> {
        if self.replicas.is_paused(now) {
            return Ok(());
        }
        if !self.replicas.is_known(now) {
            self.replicas.asked = Some(now);
            self.replicas.has_any = false;
            let replication = self.info("replication")?.unwrap_or_default();
            self.replicas.has_any = has_replicas(&replication);
        }
        if !self.replicas.has_any {
            return Ok(());
        }
        let confirmed: Option<u64> = self.run(|connection| {
            let mut wait = redis::cmd("WAIT");
            match wait.arg(1).arg(ms(REPLICA_WAIT)).query(connection) {
                Err(error) if is_refused(&error) => Ok(None),
                count => count.map(Some),
            }
        })?;
        match confirmed {
            None => self.replicas.has_any = false,
            Some(0) => {
                self.replicas.paused_at = Some(now);
                warn!(
                    "no replica of Redis had a decision within {} ms: a failover now may lose it (not waiting for replicas for {} s)",
                    ms(REPLICA_WAIT),
                    REPLICA_PAUSE.as_secs()
                );
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// Whether INFO's section `replication` lists a replica.
fn has_replicas(replication: &str) -> bool {
    let mut lines = replication.lines();
    let count = lines.find_map(|line| line.strip_prefix("connected_slaves:"));
    count.is_some_and(|count| count.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connected_replicas_count() {
        for (replication, expected) in [
            ("role:master\r\nconnected_slaves:1\r\nslave0:ip=…\r\n", true),
            ("role:master\r\nconnected_slaves:0\r\n", false),
            ("role:master\r\nconnected_slaves:12", true),
            ("", false),
        ] {
            assert_eq!(has_replicas(replication), expected, "{replication:?}");
        }
    }
}
