//! Connections to Redis for requests.

use super::problem::Problem;
use crate::claim_table::{ClaimTable, ClaimTableError};
use crate::connection::Connection;
use crate::sync::lock;
use std::sync::Mutex;

/// Connections that are kept open while nobody uses them.
const IDLE_TABLES_MAX: usize = 8;

/// Connections to Redis.
#[derive(Default)]
pub struct Tables(Mutex<Vec<ClaimTable>>);

impl Tables {
    /// Asks the claim table. Errs with 503 if Redis cannot be reached.
    pub fn ask<T>(
        &self,
        connection: &Connection,
        question: impl FnOnce(&mut ClaimTable) -> Result<T, ClaimTableError>,
    ) -> Result<T, Problem> {
        let idle = self.lock().pop();
        let new = || ClaimTable::new(&connection.redis.for_requests(), connection.group.as_str());
        let mut table = idle.unwrap_or_else(new);
        let answer =
            question(&mut table).map_err(|error| Problem::unavailable(error.to_string()))?;
        let mut idle = self.lock();
        if idle.len() < IDLE_TABLES_MAX {
            idle.push(table);
        }
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ClaimTable>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::scanpush::sample_store::SampleStore;
    use crate::scanpush::serve::for_tests::{get, site};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    #[test]
    fn a_request_waits_a_second_for_a_redis_that_does_not_answer() {
        // The kernel accepts connections, and nobody answers.
        let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
        let redis = format!("redis://{}", frozen.local_addr().unwrap());
        let store = SampleStore::new();
        let site = site(&["-redis", &redis, "-kafka=127.0.0.1:1", "-db", &store.url()]);
        let began = Instant::now();
        get(&site, "/api/v1/tasks/a");
        let waited = began.elapsed();
        assert!(
            waited > Duration::from_millis(900) && waited < Duration::from_millis(1900),
            "{waited:?}"
        );
    }
}
