//! A run with random faults: four servers, two hundred tasks, about one fault per second of the kinds that the other tests inject one by one,
//! and the checker at the end.
//!
//! The plan of faults depends only on a seed, which is printed: `SCAN_FAULT_SEED=<seed>` repeats it (the timing may differ).
//! `SCAN_FAULT_SECONDS` makes the run longer than a minute, `SCAN_FAULT_TASKS` gives it more or fewer tasks.

use crate::support::{Fleet, OwnPeer, Proof, Proxy, Scand, now_ms};
use crate::{Needs, Test};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "nothing_is_lost_under_random_faults",
        Needs::KafkaAndRedis,
        random_faults,
    ),
    (
        "the_same_seed_gives_the_same_plan",
        Needs::Nothing,
        same_seed,
    ),
];

const SERVERS: [&str; 4] = ["a", "b", "c", "d"];
const TASKS_DEFAULT: u32 = 200;
/// A fleet has 16 networks of 256 addresses, and each task scans 16 addresses.
const TASKS_MAX: u32 = 256;
const SECONDS_DEFAULT: u64 = 60;
/// Maximum time from the last fault to the end of all tasks.
const ALL_ENDED_WITHIN: Duration = Duration::from_secs(240);
/// A drain takes at most 10 s; the rest is for a busy machine.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

/// A fault with its beginning (after the start of the run) and duration, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Planned {
    at_ms: u64,
    fault: Fault,
    duration_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Kill(usize),
    Freeze(usize),
    Terminate(usize),
    FreezeRedis,
    FlushRedis,
    RestartRedis,
    RedisOutOfMemory,
    RedisReadOnly,
    FreezeKafka,
    RestartKafka,
    CutConnections,
    DropAnswers(u32),
}

/// A pseudo-random number generator (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }
}

fn plan(seed: u64, seconds: u64) -> Vec<Planned> {
    let mut numbers = Numbers(seed);
    let mut planned = Vec::new();
    let mut at_ms = 2000;
    while at_ms < seconds * 1000 {
        let server = numbers.between(0, SERVERS.len() as u64) as usize;
        let fault = match numbers.between(0, 100) {
            0..18 => Fault::Kill(server),
            18..36 => Fault::Freeze(server),
            36..48 => Fault::Terminate(server),
            48..58 => Fault::FreezeRedis,
            58..64 => Fault::FlushRedis,
            64..70 => Fault::RestartRedis,
            70..75 => Fault::RedisOutOfMemory,
            75..80 => Fault::RedisReadOnly,
            80..86 => Fault::FreezeKafka,
            86..89 => Fault::RestartKafka,
            89..95 => Fault::CutConnections,
            _ => Fault::DropAnswers(numbers.between(1, 6) as u32),
        };
        let duration_ms = numbers.between(300, 5000);
        planned.push(Planned {
            at_ms,
            fault,
            duration_ms,
        });
        at_ms += numbers.between(500, 1500);
    }
    planned
}

fn same_seed() {
    assert_eq!(plan(7, 60), plan(7, 60));
    assert_ne!(plan(7, 60), plan(8, 60));
    let planned = plan(7, 600);
    assert!((500..700).contains(&planned.len()), "{}", planned.len());
}

pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

fn random_faults() {
    let seed = setting("SCAN_FAULT_SEED", now_ms());
    let seconds = setting("SCAN_FAULT_SECONDS", SECONDS_DEFAULT);
    let tasks = setting("SCAN_FAULT_TASKS", TASKS_DEFAULT.into()) as u32;
    assert!(tasks <= TASKS_MAX, "SCAN_FAULT_TASKS: at most {TASKS_MAX}");
    eprintln!(
        "random faults: SCAN_FAULT_SEED={seed} SCAN_FAULT_SECONDS={seconds} repeats this run"
    );
    let mut arena = Arena::start();
    let began = Instant::now();
    let pusher = Pusher::start(&arena.fleet, tasks, Duration::from_secs(seconds * 3 / 4));
    for planned in plan(seed, seconds) {
        let begins = began + Duration::from_millis(planned.at_ms);
        arena.repair_until(Some(begins));
        arena.inject(planned, began);
    }
    arena.repair_until(None);
    for (id, range) in pusher.finish() {
        arena.proof.pushed(&id, addresses_of(&range));
    }
    let fleet = arena.fleet.clone_for_thread();
    arena.proof.check(&fleet, ALL_ENDED_WITHIN);
    eprintln!(
        "random faults: {tasks} tasks, {} runs of masscan, {:.0} s, seed {seed}: nothing lost",
        fleet.standin_starts(),
        began.elapsed().as_secs_f64()
    );
}

/// The 16 addresses of a /28, with port 443.
fn addresses_of(range: &str) -> BTreeSet<(String, u64)> {
    let (prefix, last) = range
        .strip_suffix("/28")
        .and_then(|first| first.rsplit_once('.'))
        .expect("a /28");
    let first: u32 = last.parse().unwrap();
    (first..first + 16)
        .map(|last| (format!("{prefix}.{last}"), 443))
        .collect()
}

// --- pushing

/// A thread that pushes tasks one by one while faults happen. Each push is repeated until it is acknowledged.
struct Pusher {
    thread: JoinHandle<Vec<(String, String)>>,
}

impl Pusher {
    fn start(fleet: &Fleet, tasks: u32, during: Duration) -> Pusher {
        let fleet = fleet.clone_for_thread();
        let pause = during / tasks;
        let thread = thread::spawn(move || {
            (0..tasks)
                .map(|n| {
                    let range = format!(
                        "{}.{}/28",
                        fleet.network(n / 16).strip_suffix(".0/24").unwrap(),
                        n % 16 * 16
                    );
                    let (id, rate) = (format!("task-{n}"), (6 + n % 20).to_string());
                    push_until_acknowledged(&fleet, &id, &range, &rate);
                    thread::sleep(pause);
                    (id, range)
                })
                .collect()
        });
        Pusher { thread }
    }

    fn finish(self) -> Vec<(String, String)> {
        self.thread.join().unwrap()
    }
}

/// Repeats the push with the same id until it is acknowledged. Duplicates with the same id are ignored by the servers.
fn push_until_acknowledged(fleet: &Fleet, id: &str, range: &str, rate: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let words = [
        "-id",
        id,
        "-ip",
        range,
        "-ports",
        "443",
        "-bandwidth",
        rate,
        "-wait",
        "1",
    ];
    loop {
        let output = fleet.scanpush(&words);
        if output.status.success() {
            return;
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(Instant::now() < deadline, "{id}: {stderr}");
        thread::sleep(Duration::from_millis(200));
    }
}

// --- faults

/// The system under test, and the faults that are active now.
struct Arena {
    fleet: Fleet,
    proof: Proof,
    kafka: Arc<OwnPeer>,
    redis: OwnPeer,
    proxy: Proxy,
    servers: Vec<Server>,
    /// A fault of Redis, and when it ends.
    redis_fault: Option<(Fault, Instant)>,
    /// When Kafka is to be resumed.
    kafka_frozen: Option<Instant>,
    /// The thread that restarts Kafka.
    kafka_restart: Option<JoinHandle<()>>,
    kafka_is_up: Arc<AtomicBool>,
}

/// Times are when the state is to end; `Draining` has the time at which the test fails.
enum Server {
    Up(Scand),
    /// With the time at which it was frozen, in unix milliseconds.
    Frozen(Scand, u64, Instant),
    Draining(Scand, Instant),
    Down(Instant),
}

impl Arena {
    fn start() -> Arena {
        let mut fleet = Fleet::new("random").with_standin(&json!({}));
        let proxy = Proxy::start();
        let kafka = fleet.start_kafka(&[&proxy.as_advertised_listener(), "num.partitions=4"]);
        proxy.set_target(kafka.0.port);
        fleet.kafka = format!("localhost:{}", proxy.port);
        let redis = fleet.start_redis(&[]);
        let mut proof = Proof::default();
        let servers = SERVERS
            .map(|name| {
                let server = fleet.ready_scand(name, &[]);
                proof.server(&server);
                Server::Up(server)
            })
            .into();
        Arena {
            fleet,
            proof,
            kafka: Arc::new(kafka),
            redis,
            proxy,
            servers,
            redis_fault: None,
            kafka_frozen: None,
            kafka_restart: None,
            kafka_is_up: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Begins a fault, unless another fault of the same component is active.
    fn inject(&mut self, planned: Planned, began: Instant) {
        let until = Instant::now() + Duration::from_millis(planned.duration_ms);
        let redis_is_up = self.redis_fault.is_none();
        let kafka_is_up = self.kafka_frozen.is_none() && self.kafka_restart.is_none();
        match planned.fault {
            Fault::Kill(n) | Fault::Freeze(n) | Fault::Terminate(n)
                if matches!(self.servers[n], Server::Up(_)) =>
            {
                self.inject_in_server(n, planned.fault, until)
            }
            Fault::FreezeRedis if redis_is_up => {
                self.redis.0.signal(Signal::STOP).unwrap();
                self.redis_fault = Some((planned.fault, until));
            }
            Fault::FlushRedis if redis_is_up => self.fleet.redis_command("FLUSHALL"),
            Fault::RestartRedis if redis_is_up => {
                self.redis.0.kill().unwrap();
                self.redis.0.restart().unwrap();
            }
            Fault::RedisOutOfMemory if redis_is_up => {
                self.fleet.redis_command("CONFIG SET maxmemory 1");
                self.redis_fault = Some((planned.fault, until));
            }
            Fault::RedisReadOnly if redis_is_up => {
                self.fleet.redis_command("REPLICAOF 127.0.0.1 1");
                self.redis_fault = Some((planned.fault, until));
            }
            Fault::FreezeKafka if kafka_is_up => {
                self.kafka.0.signal(Signal::STOP).unwrap();
                self.kafka_frozen = Some(until);
            }
            Fault::RestartKafka if kafka_is_up => self.restart_kafka(),
            Fault::CutConnections => self.proxy.cut(),
            Fault::DropAnswers(count) => self.proxy.drop_answers(count),
            _ => return,
        }
        eprintln!(
            "{:6.1} s  {:?} for {} ms",
            began.elapsed().as_secs_f64(),
            planned.fault,
            planned.duration_ms
        );
    }

    fn inject_in_server(&mut self, n: usize, fault: Fault, until: Instant) {
        let server = std::mem::replace(&mut self.servers[n], Server::Down(until));
        self.servers[n] = match (server, fault) {
            (Server::Up(mut server), Fault::Kill(_)) => {
                server.kill();
                Server::Down(until)
            }
            (Server::Up(server), Fault::Freeze(_)) => {
                server.signal(Signal::STOP);
                Server::Frozen(server, now_ms(), until)
            }
            (Server::Up(server), Fault::Terminate(_)) => {
                server.signal(Signal::TERM);
                Server::Draining(server, Instant::now() + DRAIN_WITHIN)
            }
            (other, _) => other,
        };
    }

    fn restart_kafka(&mut self) {
        let kafka = self.kafka.clone();
        let is_up = self.kafka_is_up.clone();
        is_up.store(false, Ordering::SeqCst);
        kafka.0.kill().unwrap();
        self.kafka_restart = Some(thread::spawn(move || {
            kafka.0.restart().unwrap();
            is_up.store(true, Ordering::SeqCst);
        }));
    }

    /// Ends faults that are due until `end`; without it, until no fault is active.
    fn repair_until(&mut self, end: Option<Instant>) {
        loop {
            self.repair();
            match end {
                Some(end) if Instant::now() >= end => return,
                None if self.is_repaired() => return,
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn is_repaired(&self) -> bool {
        let up = |server: &Server| matches!(server, Server::Up(_));
        self.servers.iter().all(up)
            && self.redis_fault.is_none()
            && self.kafka_frozen.is_none()
            && self.kafka_restart.is_none()
    }

    fn repair(&mut self) {
        let now = Instant::now();
        for n in 0..self.servers.len() {
            self.repair_server(n, now);
        }
        if let Some((fault, _)) = self.redis_fault.take_if(|(_, until)| now >= *until) {
            match fault {
                Fault::FreezeRedis => self.redis.0.signal(Signal::CONT).unwrap(),
                Fault::RedisOutOfMemory => self.fleet.redis_command("CONFIG SET maxmemory 0"),
                _ => self.fleet.redis_command("REPLICAOF NO ONE"),
            }
        }
        if self.kafka_frozen.take_if(|until| now >= *until).is_some() {
            self.kafka.0.signal(Signal::CONT).unwrap();
        }
        if self.kafka_is_up.load(Ordering::SeqCst)
            && let Some(starting) = self.kafka_restart.take()
        {
            starting.join().unwrap();
        }
    }

    fn repair_server(&mut self, n: usize, now: Instant) {
        let server = std::mem::replace(&mut self.servers[n], Server::Down(now));
        self.servers[n] = match server {
            Server::Frozen(server, from_ms, until) if now >= until => {
                server.signal(Signal::CONT);
                self.proof.froze(&server.name, from_ms, now_ms());
                Server::Up(server)
            }
            Server::Draining(mut server, deadline) => match server.child.try_wait().unwrap() {
                Some(_) => Server::Down(now),
                None => {
                    assert!(
                        now < deadline,
                        "{} has not drained in time: {}",
                        SERVERS[n],
                        server.log()
                    );
                    Server::Draining(server, deadline)
                }
            },
            Server::Down(until) if now >= until => {
                let server = self.fleet.scand(SERVERS[n], &[]);
                self.proof.server(&server);
                Server::Up(server)
            }
            other => other,
        };
    }
}
