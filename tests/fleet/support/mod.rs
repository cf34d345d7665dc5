//! Support for the fleet tests: one Kafka, one Redis, one lab and, once a test needs it, one Postgres for each run; one fleet (group, topics,
//! folder, networks) for each test.

mod browser;
pub mod checker;
mod client;
pub mod environment;
mod fleet;
pub mod http;
mod kafka;
mod lab;
mod networks;
mod peer;
mod postgres;
mod prometheus;
mod proof;
mod proxy;
mod rack;
mod redis;
mod secure;
mod secured_kafka;
mod server;
mod standin;
mod store;
mod wait;
mod web;

pub use browser::{Browser, find_browser};
pub use client::shown;
pub use environment::{
    cancel, is_kafka_4, lab, report, script, secured_kafka, shared_kafka, start, start_lab, stop,
};
pub use fleet::Fleet;
pub use http::{Reply, post_form, post_json, try_send};
pub use kafka::kcat_command;
pub use lab::{
    OwnLab, addresses, count_probes, count_probes_of_silent, drop_some_probes, findings_of,
    masscan_of, masscans, peak_probe_rate, probes_counted,
};
pub use networks::new_network;
pub use peer::{OwnPeer, RedisClock, ReplicatedRedis, free_port};
pub use postgres::Database;
pub use prometheus::{Prometheus, http_get};
pub use proof::{Proof, a_reused_process_id_is_another_run, offsets};
pub use proxy::Proxy;
pub use rack::{Rack, SESSION_WAIT};
pub use redis::{documented_user, documented_users, run_command};
pub use secure::{is_secure_run, words_of};
pub use secured_kafka::SecuredKafka;
pub use server::Scand;
pub use store::{Dump, FindingsDb};
pub use wait::{SOON, now_ms, span_ms, wait_for, wait_until};
pub use web::Serve;

/// The rests of the lines of docs/security.md that begin with `beginning`.
pub fn documented_commands(beginning: &'static str) -> impl Iterator<Item = &'static str> {
    include_str!("../../../docs/security.md")
        .lines()
        .filter_map(move |line| line.strip_prefix(beginning))
}

/// What libtest-mimic expects of a test.
pub type TestResult = Result<(), libtest_mimic::Failed>;
