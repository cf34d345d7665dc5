//! What the threads count, in the words of their work.

use super::checkpoint_ages::{CheckpointAge, CheckpointAges};
use super::labels::{AttemptEnd, FailureReason, Operation, PRIORITIES, Peer};
use super::peers::Peers;
use crate::model::ports::Proto;
use crate::model::task::Priority;
use crate::model::{Finding, State};
use crate::monitoring::{
    Counter, CounterBy, Gauge, Histogram, HistogramBy, Registry, counters_by, histograms_by,
};
use std::fmt;
use std::time::Duration;

/// The protocols of findings.
const PROTOS: [Proto; 3] = [Proto::Tcp, Proto::Udp, Proto::Sctp];
/// The states in which tasks end.
const ENDS: [State; 4] = [
    State::Completed,
    State::Failed,
    State::Cancelled,
    State::Rejected,
];
/// Upper bounds of the buckets for calls of Redis, in seconds.
const CALL_BUCKETS_S: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0];
/// The same for waits and scans.
const TASK_BUCKETS_S: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0,
];

/// The metrics of this server. The threads share it.
#[derive(Debug)]
pub struct ServerMetrics {
    claimed: Counter,
    ended: CounterBy,
    failed: CounterBy,
    probes: Counter,
    findings: CounterBy,
    acknowledged: Counter,
    foreign: Counter,
    suspended: Counter,
    standstills: Counter,
    with_drops: Counter,
    claims_lost: Counter,
    records_lost: Counter,
    kafka_errors: CounterBy,
    redis_errors: Counter,
    lease_renewal: Histogram,
    attempts: HistogramBy,
    queued: HistogramBy,
    ingest_lag: Gauge,
    pub(super) peers: Peers,
    pub(super) checkpoints: CheckpointAges,
}

impl Default for ServerMetrics {
    fn default() -> ServerMetrics {
        let of_calls = || Histogram::new(CALL_BUCKETS_S);
        let of_tasks = || Histogram::new(TASK_BUCKETS_S);
        ServerMetrics {
            claimed: Counter::default(),
            ended: counters_by("status", ENDS.map(State::as_str)),
            failed: counters_by("reason", FailureReason::ALL.map(FailureReason::as_str)),
            probes: Counter::default(),
            findings: counters_by("proto", PROTOS.map(Proto::as_str)),
            acknowledged: Counter::default(),
            foreign: Counter::default(),
            suspended: Counter::default(),
            standstills: Counter::default(),
            with_drops: Counter::default(),
            claims_lost: Counter::default(),
            records_lost: Counter::default(),
            kafka_errors: counters_by("operation", Operation::OF_KAFKA.map(Operation::as_str)),
            redis_errors: Counter::default(),
            lease_renewal: of_calls(),
            attempts: histograms_by("end", AttemptEnd::ALL.map(AttemptEnd::as_str), of_tasks),
            queued: histograms_by("priority", PRIORITIES, of_tasks),
            ingest_lag: Gauge::default(),
            peers: Peers::new(),
            checkpoints: CheckpointAges::new(),
        }
    }
}

impl ServerMetrics {
    /// A task was claimed and goes to a scan thread, after it waited for this long while it could have run; none if that is unknown.
    pub fn claimed(&self, priority: Priority, waited: Option<Duration>) {
        self.claimed.inc();
        let label = PRIORITIES.get(usize::from(priority.get()));
        if let (Some(label), Some(waited)) = (label, waited) {
            let histogram = self.queued.get_or_create(&[("priority", label)]);
            histogram.observe(waited.as_secs_f64());
        }
    }

    /// A task has ended, and the claim table and Kafka know it.
    pub fn task_ended(&self, status: State) {
        self.ended
            .get_or_create(&[("status", status.as_str())])
            .inc();
    }

    /// An attempt ended in this way after this long.
    pub fn attempt_ended(&self, end: AttemptEnd, took: Duration) {
        let histogram = self.attempts.get_or_create(&[("end", end.as_str())]);
        histogram.observe(took.as_secs_f64());
    }

    /// An attempt failed.
    pub fn attempt_failed(&self, reason: FailureReason) {
        self.failed
            .get_or_create(&[("reason", reason.as_str())])
            .inc();
    }

    /// masscan has sent more probes.
    pub fn probes_sent(&self, count: u64) {
        self.probes.inc_by(count);
    }

    /// masscan has printed findings of the task.
    pub fn found(&self, findings: &[Finding]) {
        for proto in PROTOS {
            let count = findings.iter().filter(|found| found.proto == proto).count();
            if count > 0 {
                let counter = self.findings.get_or_create(&[("proto", proto.as_str())]);
                counter.inc_by(count as u64);
            }
        }
    }

    /// Kafka has acknowledged findings.
    pub fn acknowledged(&self, count: u64) {
        self.acknowledged.inc_by(count);
    }

    /// Findings that do not belong to their task were dropped.
    pub fn foreign_findings(&self, count: u64) {
        self.foreign.inc_by(count);
    }

    /// A scan was suspended because the findings buffer is full.
    pub fn suspended(&self) {
        self.suspended.inc();
    }

    /// A scan was stopped because this server had not run for too long.
    pub fn stood_still(&self) {
        self.standstills.inc();
    }

    /// The kernel dropped packets during a scan.
    pub fn packets_dropped(&self) {
        self.with_drops.inc();
    }

    /// A claim was lost to another server, or to none.
    pub fn claim_lost(&self) {
        self.claims_lost.inc();
    }

    /// Kafka no longer has records of tasks that were not ingested.
    pub fn records_lost(&self, count: u64) {
        self.records_lost.inc_by(count);
    }

    /// The leases were renewed by a call that took this long.
    pub fn leases_renewed(&self, took: Duration) {
        self.lease_renewal.observe(took.as_secs_f64());
    }

    /// Records of tasks in Kafka that are not ingested yet.
    pub fn ingest_lag(&self, records: u64) {
        self.ingest_lag
            .set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// A scan begins.
    pub fn begin_scan(&self) -> CheckpointAge {
        self.checkpoints.begin()
    }

    /// A call of Kafka or Redis failed.
    pub fn call_failed(&self, operation: Operation, peer: Peer) {
        match peer {
            Peer::Kafka => {
                let label = [("operation", operation.as_str())];
                self.kafka_errors.get_or_create(&label).inc();
            }
            Peer::Redis => {
                self.redis_errors.inc();
            }
        }
    }

    /// Kafka or Redis is not reachable; `purpose` completes "cannot …".
    pub fn not_reached(
        &self,
        purpose: &str,
        operation: Operation,
        peer: Peer,
        error: &dyn fmt::Display,
    ) {
        let error = error.to_string();
        self.peers.failed(purpose, operation, peer, &error);
    }

    /// What failed before has succeeded.
    pub fn call_succeeded(&self, purpose: &str) {
        self.peers.succeeded(purpose);
    }

    /// Adds everything that is counted.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "scand_tasks_claimed_total",
            "Tasks that this server has claimed.",
            self.claimed.clone(),
        );
        registry.register(
            "scand_tasks_ended_total",
            "Tasks that this server has ended.",
            self.ended.clone(),
        );
        registry.register(
            "scand_attempts_failed_total",
            "Attempts that failed on this server.",
            self.failed.clone(),
        );
        registry.register(
            "scand_probes_sent_total",
            "Probes that masscan has sent, by its own progress.",
            self.probes.clone(),
        );
        registry.register(
            "scand_findings_total",
            "Findings that masscan has printed and that belong to their task.",
            self.findings.clone(),
        );
        registry.register(
            "scand_findings_acknowledged_total",
            "Findings that Kafka has acknowledged.",
            self.acknowledged.clone(),
        );
        registry.register(
            "scand_foreign_findings_dropped_total",
            "Findings that were dropped because they do not belong to their task.",
            self.foreign.clone(),
        );
        registry.register(
            "scand_scans_suspended_total",
            "Scans that were suspended because the findings buffer was full.",
            self.suspended.clone(),
        );
        registry.register(
            "scand_standstills_total",
            "Scans that were stopped because this server had not run for more than two seconds.",
            self.standstills.clone(),
        );
        registry.register(
            "scand_scans_with_dropped_packets_total",
            "Scans during which the kernel of this machine dropped packets.",
            self.with_drops.clone(),
        );
        registry.register(
            "scand_claims_lost_total",
            "Claims that were lost while this server held them.",
            self.claims_lost.clone(),
        );
        registry.register(
            "scand_task_records_lost_total",
            "Records of tasks that Kafka no longer had when they were to be ingested, or that were skipped because no client can read them.",
            self.records_lost.clone(),
        );
        registry.register(
            "scand_kafka_errors_total",
            "Calls of Kafka that failed.",
            self.kafka_errors.clone(),
        );
        registry.register(
            "scand_redis_errors_total",
            "Calls of Redis that failed.",
            self.redis_errors.clone(),
        );
        registry.register(
            "scand_lease_renewal_seconds",
            "How long Redis took to renew the leases.",
            self.lease_renewal.clone(),
        );
        registry.register(
            "scand_attempt_duration_seconds",
            "From the claim to the end of an attempt.",
            self.attempts.clone(),
        );
        registry.register(
            "scand_task_queue_seconds",
            "How long tasks that this server has claimed were ready to run before.",
            self.queued.clone(),
        );
        registry.register(
            "scand_ingest_lag_records",
            "Records of tasks in Kafka that were not ingested yet, at the last check.",
            self.ingest_lag.clone(),
        );
    }
}
