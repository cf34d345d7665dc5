//! Gauges that are computed when they are read, and whether this server is ready.

use super::labels::Peer;
use super::server_metrics::ServerMetrics;
use crate::monitoring::{Part, Registry};
use crate::scand::claims::budget::Budget;
use crate::scand::claims::health::Health;
use crate::scand::scan::publish::FindingsBuffer;
use std::sync::{Arc, OnceLock};

/// What the gauges are computed from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The counters.
    pub metrics: Arc<ServerMetrics>,
    /// Whether this server is able to scan.
    pub health: Arc<Health>,
    /// Findings that wait for Kafka.
    pub buffer: Arc<FindingsBuffer>,
    /// Slots and rate, once the server has started.
    pub budget: Arc<OnceLock<Arc<Budget>>>,
}

impl Sources {
    /// The parts that a server needs.
    pub(super) fn parts(&self) -> Vec<Part> {
        let peer = |peer| self.metrics.peers.fault(peer);
        let not_started = || "not tested yet: this server is starting".to_owned();
        let masscan = match self.budget.get() {
            Some(_) => self.health.fault(),
            None => Some(not_started()),
        };
        [
            ("kafka", peer(Peer::Kafka)),
            ("redis", peer(Peer::Redis)),
            ("masscan", masscan),
        ]
        .map(|(name, fault)| Part { name, fault })
        .into()
    }

    /// Something about the load; 0 before the server has started.
    fn of_budget(&self, read: fn(&Budget) -> usize) -> impl Fn() -> f64 + Send + Sync + 'static {
        let budget = self.budget.clone();
        move || budget.get().map_or(0.0, |budget| read(budget) as f64)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_info(
            "scand_build_info",
            "The version of this program.",
            vec![("version", env!("CARGO_PKG_VERSION"))],
        );
        let sources = self.clone();
        registry.register_derived_by(
            "scand_ready",
            "Whether a part that this server needs is ready, as in /readyz.",
            move || {
                let parts = sources.parts().into_iter();
                parts
                    .map(|part| {
                        let value = f64::from(u8::from(part.fault.is_none()));
                        (vec![("part", part.name.to_owned())], value)
                    })
                    .collect()
            },
        );
        registry.register_derived(
            "scand_scans_running",
            "Scans that run, those that only wait for late answers included.",
            self.of_budget(|budget| budget.load().held),
        );
        registry.register_derived(
            "scand_slots",
            "Scans that may send at the same time.",
            self.of_budget(|budget| budget.load().slots),
        );
        registry.register_derived(
            "scand_slots_free",
            "Slots without a scan that sends.",
            self.of_budget(|budget| budget.load().free),
        );
        registry.register_derived(
            "scand_rate_pps",
            "Packets per second that the running scans may send together.",
            self.of_budget(|budget| budget.load().rate_used as usize),
        );
        let buffer = self.buffer.clone();
        registry.register_derived(
            "scand_findings_buffered_bytes",
            "Findings that Kafka has not acknowledged.",
            move || buffer.held() as f64,
        );
        let buffer = self.buffer.clone();
        registry.register_derived(
            "scand_findings_buffer_limit_bytes",
            "The size of the findings buffer, at which scans are suspended.",
            move || buffer.bound() as f64,
        );
        let metrics = self.metrics.clone();
        registry.register_derived(
            "scand_checkpoint_age_seconds",
            "The longest time for which the checkpoint of a running scan has not moved.",
            move || metrics.checkpoints.oldest().as_secs_f64(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::{Access, Endpoints};
    use crossbeam_channel::bounded;

    #[test]
    fn a_server_is_ready_once_all_its_parts_are() {
        let sources = Sources {
            metrics: Arc::default(),
            health: Arc::default(),
            buffer: Arc::new(FindingsBuffer::new(1)),
            budget: Arc::default(),
        };
        let not_ready = || -> Vec<&str> {
            let parts = sources.parts().into_iter();
            parts
                .filter(|part| part.fault.is_some())
                .map(|part| part.name)
                .collect()
        };
        assert_eq!(not_ready(), ["kafka", "redis", "masscan"]);
        sources.metrics.call_succeeded("reach Kafka");
        sources.metrics.call_succeeded("reach Redis");
        let budget = Budget::new(2, 1000, bounded(1).0);
        sources.budget.set(budget).unwrap();
        assert!(not_ready().is_empty());
        sources
            .health
            .failed("no masscan", std::time::Instant::now());
        assert_eq!(not_ready(), ["masscan"]);
    }

    /// Every metric of the documentation is in the scrape, and every one of the scrape in the documentation.
    #[test]
    fn the_documentation_lists_the_metrics_of_scand() {
        let sources = Sources {
            metrics: Arc::default(),
            health: Arc::default(),
            buffer: Arc::new(FindingsBuffer::new(1)),
            budget: Arc::default(),
        };
        let mut registry = Registry::default();
        sources.metrics.register(&mut registry);
        sources.register(&mut registry);
        let text = Endpoints::new(registry, Vec::new, Access::default())
            .scrape()
            .unwrap();
        let page = include_str!("../../../docs/monitoring.md");
        let documented: std::collections::BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `scand_"))
            .filter_map(|row| row.split(['`', '{']).next())
            .collect();
        let scraped = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE scand_"))
            .filter_map(|row| row.split(' ').next())
            .collect();
        assert_eq!(documented, scraped);
    }
}
