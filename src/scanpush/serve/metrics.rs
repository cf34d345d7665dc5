//! Metrics and health of `scanpush serve`. Reading them asks neither Redis nor the database.

use super::live::Live;
use super::readers::Readers;
use super::statistics::LatestStatistics;
use super::store_thread::{CountsBatches, StoreState};
use crate::claim_table::{HEARTBEAT_FRESH, LiveServer};
use crate::http_server::{Request, Response};
use crate::model::service::ChangeKind;
use crate::monitoring::{
    self, Counter, CounterBy, Endpoints, Histogram, Part, Registry, counters_by,
};
use crate::scanpush::tasks::now_ms;
use http::StatusCode;
use prometheus_client::metrics::family::Family;
use std::sync::Arc;
use std::time::Duration;

/// Upper bounds of durations, in seconds.
const DURATIONS_S: [f64; 11] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Durations by the pattern of the route and the status.
type Requests = Family<[(&'static str, String); 2], Histogram, fn() -> Histogram>;

/// What metrics and health are read from.
#[derive(Clone)]
pub struct Watched {
    /// What the claim table showed last.
    pub live: Arc<Live>,
    /// Connections to the database.
    pub readers: Arc<Readers>,
    /// How the thread that fills the database is doing.
    pub store: Arc<StoreState>,
    /// What was counted in the database last.
    pub statistics: Arc<LatestStatistics>,
}

impl Watched {
    /// The parts that a complete page needs.
    fn parts(&self) -> Vec<Part> {
        let (snapshot, away) = self.live.latest();
        let redis = match away {
            Some(away) => Some(away.cause),
            None => snapshot.at_ms.is_none().then(|| "not read yet".to_owned()),
        };
        let database = self.readers.away().map(|away| away.cause);
        [
            ("redis", redis),
            ("database", database),
            ("store", self.store.fault()),
        ]
        .map(|(name, fault)| Part { name, fault })
        .into()
    }

    /// A value of the claim table; nothing while that is away.
    fn of_redis<T>(&self, read: impl FnOnce(&super::live::Snapshot) -> Vec<T>) -> Vec<T> {
        match self.live.latest() {
            (snapshot, None) if snapshot.at_ms.is_some() => read(&snapshot),
            _ => Vec::new(),
        }
    }
}

/// Metrics and health.
pub struct Metrics {
    /// None: nobody may read them.
    endpoints: Option<Endpoints>,
    requests: Requests,
    batches: Histogram,
    findings: Counter,
    ignored: Counter,
    changes: CounterBy,
}

impl Metrics {
    /// All metrics, at their beginning. `access`: who may read them; none: nobody.
    pub fn new(watched: Watched, access: Option<monitoring::Access>) -> Metrics {
        let durations: fn() -> Histogram = || Histogram::new(DURATIONS_S);
        let mut metrics = Metrics {
            endpoints: None,
            requests: Requests::new_with_constructor(durations),
            batches: durations(),
            findings: Counter::default(),
            ignored: Counter::default(),
            changes: counters_by("kind", ChangeKind::ALL.map(ChangeKind::as_str)),
        };
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        register_watched(&mut registry, &watched);
        register_counts(&mut registry, &watched.statistics);
        metrics.endpoints =
            access.map(|access| Endpoints::new(registry, move || watched.parts(), access));
        metrics
    }

    /// The response to a request for metrics or health; none for any other, and if nobody may read them.
    pub fn answer(&self, request: &Request) -> Option<Response> {
        self.endpoints.as_ref()?.answer(request)
    }

    /// Notes how long a request took. `route` is the pattern of its route.
    pub fn note_request(&self, route: &'static str, code: StatusCode, took: Duration) {
        let labels = [
            ("route", route.to_owned()),
            ("code", code.as_u16().to_string()),
        ];
        let histogram = self.requests.get_or_create(&labels);
        histogram.observe(took.as_secs_f64());
    }

    /// Counts new changes of each kind, in the order of [`ChangeKind::ALL`].
    pub fn count_changes(&self, counts: [u64; 3]) {
        for (kind, count) in ChangeKind::ALL.iter().zip(counts) {
            let counter = self.changes.get_or_create(&[("kind", kind.as_str())]);
            counter.inc_by(count);
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register_info(
            "scanpush_build_info",
            "The version of this program.",
            vec![("version", env!("CARGO_PKG_VERSION"))],
        );
        registry.register(
            "scanpush_http_request_duration_seconds",
            "Time until the response to a request began, by the pattern of its address and its status.",
            self.requests.clone(),
        );
        registry.register(
            "scanpush_store_batch_seconds",
            "Time that the database took for a batch of records.",
            self.batches.clone(),
        );
        registry.register(
            "scanpush_store_findings_total",
            "Findings that this process has written into the database.",
            self.findings.clone(),
        );
        registry.register(
            "scanpush_store_ignored_total",
            "Records that this process has read and that changed nothing.",
            self.ignored.clone(),
        );
        registry.register(
            "scanpush_changes_total",
            "Changes of services that appeared in the database since the start of this process.",
            self.changes.clone(),
        );
    }
}

impl CountsBatches for Metrics {
    fn count(&self, findings: u64, ignored: u64, took: Duration) {
        self.batches.observe(took.as_secs_f64());
        self.findings.inc_by(findings);
        self.ignored.inc_by(ignored);
    }
}

/// Gauges of what the threads have seen last.
fn register_watched(registry: &mut Registry, watched: &Watched) {
    let of = watched.clone();
    registry.register_derived_by(
        "scanpush_ready",
        "Whether a part that a complete page needs is ready, as in /readyz.",
        move || {
            let parts = of.parts().into_iter();
            let ready = parts.map(|part| (part.name, u64::from(part.fault.is_none())));
            labelled("part", ready)
        },
    );
    let of = watched.clone();
    registry.register_derived_by(
        "scanpush_queue_tasks",
        "Tasks of the group that have not ended; none while Redis is away.",
        move || {
            of.of_redis(|snapshot| {
                let queue = &snapshot.queue;
                let counts = [
                    ("ready", queue.ready),
                    ("throttled", queue.throttled),
                    ("delayed", queue.delayed),
                    ("running", queue.running),
                    ("paused", queue.paused),
                ];
                labelled("state", counts)
            })
        },
    );
    let of = watched.clone();
    registry.register_derived_by(
        "scanpush_oldest_queued_seconds",
        "For how long the oldest task that may be claimed has been queued, 0 without one; none while Redis is away.",
        move || {
            of.of_redis(|snapshot| {
                let age_ms = |at_ms| now_ms().saturating_sub(at_ms);
                let age_ms = snapshot.queue.oldest_queued_ms.map_or(0, age_ms);
                vec![(Vec::new(), age_ms as f64 / 1000.0)]
            })
        },
    );
    let servers = |of: Watched, counts: fn(&LiveServer) -> bool| {
        move || {
            of.of_redis(|snapshot| {
                let servers = snapshot.servers.iter().filter(|server| is_alive(server));
                let count = servers.filter(|server| counts(server)).count();
                vec![(Vec::new(), count as f64)]
            })
        }
    };
    registry.register_derived_by(
        "scanpush_servers",
        "Servers of the group that are alive; none while Redis is away.",
        servers(watched.clone(), |_| true),
    );
    registry.register_derived_by(
        "scanpush_servers_faulty",
        "Servers of the group that are alive and cannot scan; none while Redis is away.",
        servers(watched.clone(), |server| server.fault.is_some()),
    );
    let of = watched.clone();
    registry.register_derived_by(
        "scanpush_store_lag_records",
        "Records of Kafka that are not in the database yet; none while another process fills it.",
        move || {
            let lag = of.store.lag().into_iter();
            lag.map(|lag| {
                let labels = vec![
                    ("topic", lag.topic),
                    ("partition", lag.partition.to_string()),
                ];
                (labels, lag.records as f64)
            })
            .collect()
        },
    );
    let of = watched.clone();
    registry.register_derived(
        "scanpush_store_standing_by",
        "1 while another process fills the database.",
        move || f64::from(u8::from(of.store.standing_by().is_some())),
    );
}

/// Gauges of what was counted in the database last.
fn register_counts(registry: &mut Registry, statistics: &Arc<LatestStatistics>) {
    let of = Arc::clone(statistics);
    registry.register_derived_by(
        "scanpush_services",
        "Services in the database, counted now and then.",
        move || {
            let by_state = of.latest().map(|counted| {
                let statistics = &counted.statistics;
                [("open", statistics.open), ("closed", statistics.closed)]
            });
            labelled("state", by_state.into_iter().flatten())
        },
    );
    let of = Arc::clone(statistics);
    registry.register_derived_by(
        "scanpush_stored_tasks",
        "Tasks in the database, counted now and then.",
        move || {
            let counted = of.latest().into_iter();
            let tasks = counted.map(|counted| (Vec::new(), counted.statistics.tasks as f64));
            tasks.collect()
        },
    );
}

fn is_alive(server: &LiveServer) -> bool {
    u128::from(server.age_ms) <= HEARTBEAT_FRESH.as_millis()
}

fn labelled(
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) -> monitoring::Values {
    let values = values.into_iter();
    values
        .map(|(name, value)| (vec![(label, name.to_owned())], value as f64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::access::sample::request;
    use super::super::change_watch;
    use super::super::for_tests::site;
    use super::super::router;
    use super::super::site::Site;
    use super::*;
    use crate::http_server::Body;
    use crate::scanpush::sample_store::SampleStore;
    use crate::scanpush::store::{Lag, Need, Report};
    use std::collections::BTreeSet;

    fn answered(site: &Arc<Site>, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let response = router::answer(site, &request("GET", path, fields));
        let Body::Complete(body) = response.body else {
            panic!("it is not streamed");
        };
        (response.status.as_u16(), String::from_utf8(body).unwrap())
    }

    #[test]
    fn the_documentation_lists_the_metrics() {
        let mut store = SampleStore::new();
        store.push("a", "10.0.0.0/30", "80", "");
        store.find("a", &[("10.0.0.1", 80, 15)]);
        store.end("a", crate::model::State::Completed, 1, 10, 20);
        let site = site(&["-db", &store.url()]);
        site.metrics
            .note_request("/tasks/{task_id}", StatusCode::OK, Duration::from_millis(3));
        assert!(change_watch::ask(&site, Some(0)) > Some(0));
        assert!(change_watch::ask(&site, None) > Some(0));
        site.statistics.count(&site.readers);
        for report in [
            Report::Has(Need::Database),
            Report::Behind {
                findings: 7,
                partitions: vec![Lag {
                    topic: "scan-results".to_owned(),
                    partition: 3,
                    records: 7,
                }],
            },
            Report::Written {
                findings: 5,
                ignored: 1,
                took: Duration::from_millis(20),
            },
        ] {
            super::super::store_thread::note(&site.store, &report, &*site.metrics);
        }
        let local = [("host", "127.0.0.1:8080")];
        let (status, text) = answered(&site, "/metrics", &local);
        assert_eq!(status, 200);
        for line in [
            "scanpush_services{state=\"open\"} 1.0",
            "scanpush_changes_total{kind=\"opened\"} 1",
            "scanpush_store_lag_records{topic=\"scan-results\",partition=\"3\"} 7.0",
            "scanpush_store_findings_total 5",
            "scanpush_store_batch_seconds_count 1",
            "scanpush_ready{part=\"redis\"} 0.0",
            "scanpush_http_request_duration_seconds_count{route=\"/tasks/{task_id}\",code=\"200\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let documented: BTreeSet<&str> = include_str!("../../../docs/monitoring.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `scanpush_"))
            .filter_map(|row| row.split(['`', '{']).next())
            .collect();
        let scraped: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE scanpush_"))
            .filter_map(|row| row.split(' ').next())
            .collect();
        assert_eq!(documented, scraped);
        assert_eq!(answered(&site, "/healthz", &local).0, 200);
        let (status, text) = answered(&site, "/readyz", &local);
        assert!(
            status == 503 && text.contains("FAIL  redis: not read yet"),
            "{text}"
        );
        assert!(text.contains("FAIL  store: not read yet"), "{text}");
    }

    #[test]
    fn metrics_have_credentials_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_string_lossy().into_owned()
        };
        let digest = crate::scanpush::auth::Digest::of(b"of-the-page").to_hex();
        let users = path("auth", &format!("token page {digest}\n"));
        let token = path("token", "of-metrics\n");
        let without = site(&["-auth-file", &users]);
        let with = site(&["-auth-file", &users, "-metrics-token-file", &token]);
        let local = site(&[]);
        for (site, fields, status) in [
            (&without, &[][..], 404),
            (&without, &[("authorization", "Bearer of-the-page")], 404),
            (&with, &[], 401),
            (&with, &[("authorization", "Bearer of-the-page")], 401),
            (&with, &[("authorization", "Bearer of-metrics")], 200),
            (&local, &[("host", "localhost")], 200),
            (&local, &[("host", "evil.example")], 403),
        ] {
            for path in ["/metrics", "/healthz"] {
                assert_eq!(answered(site, path, fields).0, status, "{path} {fields:?}");
            }
        }
        let fields = [("authorization", "Bearer of-metrics")];
        assert_eq!(answered(&with, "/api/v1/servers", &fields).0, 401);
    }
}
