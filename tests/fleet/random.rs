//! One randomised run: four servers, two hundred tasks, a fault about every second from all that the other tests inject one by
//! one, and the checker at the end.
//!
//! The plan of faults follows from a seed alone, which is printed: `SCAN_FAULT_SEED=<seed>` replays it (as far as the machine's
//! timing allows). `SCAN_FAULT_SECONDS` makes the run longer than a minute, `SCAN_FAULT_TASKS` gives it more or fewer tasks.

use crate::support::Proof;
use crate::support::Proxy;
use crate::support::{Fleet, OwnPeer, Scand, now_ms};
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
        Needs::Servers,
        random_faults,
    ),
    ("the_same_seed_is_the_same_plan", Needs::Nothing, same_seed),
];

const SERVERS: [&str; 4] = ["a", "b", "c", "d"];
const TASKS_DEFAULT: u32 = 200;
/// The fleet has 16 networks of 256 addresses; each task scans 16.
const TASKS_MAX: u32 = 256;
const SECONDS_DEFAULT: u64 = 60;
/// From the last fault to the end of all tasks.
const SETTLED_WITHIN: Duration = Duration::from_secs(240);
/// A drain takes 10 s at most; the rest is for a busy machine.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

/// A fault, and when it begins after the start of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Planned {
    at_ms: u64,
    fault: Fault,
    lasts_ms: u64,
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
    SwallowAnswers(u32),
}

/// Numbers that follow from the seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
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
            _ => Fault::SwallowAnswers(numbers.between(1, 6) as u32),
        };
        let lasts_ms = numbers.between(300, 5000);
        planned.push(Planned {
            at_ms,
            fault,
            lasts_ms,
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

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text}: a number is")),
        Err(_) => default,
    }
}

fn random_faults() {
    let seed = setting("SCAN_FAULT_SEED", now_ms());
    let seconds = setting("SCAN_FAULT_SECONDS", SECONDS_DEFAULT);
    let tasks = setting("SCAN_FAULT_TASKS", TASKS_DEFAULT.into()) as u32;
    assert!(tasks <= TASKS_MAX, "SCAN_FAULT_TASKS: {TASKS_MAX} at most");
    eprintln!(
        "random faults: SCAN_FAULT_SEED={seed} SCAN_FAULT_SECONDS={seconds} replays this run"
    );
    let mut arena = Arena::start();
    let began = Instant::now();
    let pusher = Pusher::start(&arena.fleet, tasks, Duration::from_secs(seconds * 3 / 4));
    for planned in plan(seed, seconds) {
        let begins = began + Duration::from_millis(planned.at_ms);
        arena.mend_until(Some(begins));
        arena.inject(planned, began);
    }
    arena.mend_until(None);
    for (id, range) in pusher.finish() {
        arena.proof.pushed(&id, addresses_of(&range));
    }
    let fleet = arena.fleet.clone_for_thread();
    arena.proof.hold(&fleet, SETTLED_WITHIN);
    eprintln!(
        "random faults: {tasks} tasks, {} masscans, {:.0} s, seed {seed}: nothing lost",
        fleet
            .standin_events()
            .iter()
            .filter(|event| event["event"] == "start")
            .count(),
        began.elapsed().as_secs_f64()
    );
}

/// The addresses of a /28, port 443.
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

/// Pushes tasks one by one while faults happen, each until its push is acknowledged.
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

/// A push whose acknowledgement was lost is made again under the same id; at most one of them counts.
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
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(Instant::now() < deadline, "{id}: {said}");
        thread::sleep(Duration::from_millis(200));
    }
}

// --- faults

/// All that can break, and what is broken now.
struct Arena {
    fleet: Fleet,
    proof: Proof,
    kafka: Arc<OwnPeer>,
    redis: OwnPeer,
    proxy: Proxy,
    servers: Vec<Server>,
    /// What is to be mended, and when.
    redis_away: Option<(Fault, Instant)>,
    kafka_frozen: Option<Instant>,
    kafka_starts: Option<JoinHandle<()>>,
    kafka_is_up: Arc<AtomicBool>,
}

enum Server {
    Up(Scand),
    Frozen(Scand, u64, Instant),
    Ending(Scand, Instant),
    Down(Instant),
}

impl Arena {
    fn start() -> Arena {
        let mut fleet = Fleet::new("random").with_standin(&json!({}));
        let proxy = Proxy::start();
        let advertised = format!("advertised.listeners=BROKER://127.0.0.1:{}", proxy.port);
        let kafka = OwnPeer::start("kafka", &fleet, &[&advertised, "num.partitions=4"]);
        proxy.lead_to(kafka.0.port);
        let redis = OwnPeer::start("redis", &fleet, &[]);
        fleet.kafka = format!("localhost:{}", proxy.port);
        fleet.redis = format!("redis://{}", redis.0.address());
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
            redis_away: None,
            kafka_frozen: None,
            kafka_starts: None,
            kafka_is_up: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Begins a fault, unless what it would break is broken already.
    fn inject(&mut self, planned: Planned, began: Instant) {
        let until = Instant::now() + Duration::from_millis(planned.lasts_ms);
        let redis_is_up = self.redis_away.is_none();
        let kafka_is_up = self.kafka_frozen.is_none() && self.kafka_starts.is_none();
        match planned.fault {
            Fault::Kill(n) | Fault::Freeze(n) | Fault::Terminate(n)
                if matches!(self.servers[n], Server::Up(_)) =>
            {
                self.inject_in_server(n, planned.fault, until)
            }
            Fault::FreezeRedis if redis_is_up => {
                self.redis.0.signal(Signal::STOP).unwrap();
                self.redis_away = Some((planned.fault, until));
            }
            Fault::FlushRedis if redis_is_up => self.ask_redis("FLUSHALL"),
            Fault::RestartRedis if redis_is_up => {
                self.redis.0.kill().unwrap();
                self.redis.0.restart().unwrap();
            }
            Fault::RedisOutOfMemory if redis_is_up => {
                self.ask_redis("CONFIG SET maxmemory 1");
                self.redis_away = Some((planned.fault, until));
            }
            Fault::RedisReadOnly if redis_is_up => {
                self.ask_redis("REPLICAOF 127.0.0.1 1");
                self.redis_away = Some((planned.fault, until));
            }
            Fault::FreezeKafka if kafka_is_up => {
                self.kafka.0.signal(Signal::STOP).unwrap();
                self.kafka_frozen = Some(until);
            }
            Fault::RestartKafka if kafka_is_up => self.restart_kafka(),
            Fault::CutConnections => self.proxy.cut(),
            Fault::SwallowAnswers(count) => self.proxy.swallow_answers(count),
            _ => return,
        }
        eprintln!(
            "{:6.1} s  {:?} for {} ms",
            began.elapsed().as_secs_f64(),
            planned.fault,
            planned.lasts_ms
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
                Server::Ending(server, Instant::now() + DRAIN_WITHIN)
            }
            (other, _) => other,
        };
    }

    fn restart_kafka(&mut self) {
        let kafka = self.kafka.clone();
        let is_up = self.kafka_is_up.clone();
        is_up.store(false, Ordering::SeqCst);
        kafka.0.kill().unwrap();
        self.kafka_starts = Some(thread::spawn(move || {
            kafka.0.restart().unwrap();
            is_up.store(true, Ordering::SeqCst);
        }));
    }

    fn ask_redis(&self, words: &str) {
        let client = redis::Client::open(self.fleet.redis.as_str()).unwrap();
        let mut parts = words.split(' ');
        let mut command = redis::cmd(parts.next().unwrap());
        for part in parts {
            command.arg(part);
        }
        command.exec(&mut client.get_connection().unwrap()).unwrap();
    }

    /// Mends what is due until that time; without one, until everything is mended.
    fn mend_until(&mut self, end: Option<Instant>) {
        loop {
            self.mend();
            match end {
                Some(end) if Instant::now() >= end => return,
                None if self.is_whole() => return,
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn is_whole(&self) -> bool {
        let up = |server: &Server| matches!(server, Server::Up(_));
        self.servers.iter().all(up)
            && self.redis_away.is_none()
            && self.kafka_frozen.is_none()
            && self.kafka_starts.is_none()
    }

    fn mend(&mut self) {
        let now = Instant::now();
        for n in 0..self.servers.len() {
            self.mend_server(n, now);
        }
        if let Some((fault, _)) = self.redis_away.take_if(|(_, until)| now >= *until) {
            match fault {
                Fault::FreezeRedis => self.redis.0.signal(Signal::CONT).unwrap(),
                Fault::RedisOutOfMemory => self.ask_redis("CONFIG SET maxmemory 0"),
                _ => self.ask_redis("REPLICAOF NO ONE"),
            }
        }
        if self.kafka_frozen.take_if(|until| now >= *until).is_some() {
            self.kafka.0.signal(Signal::CONT).unwrap();
        }
        if self.kafka_is_up.load(Ordering::SeqCst)
            && let Some(starting) = self.kafka_starts.take()
        {
            starting.join().unwrap();
        }
    }

    fn mend_server(&mut self, n: usize, now: Instant) {
        let server = std::mem::replace(&mut self.servers[n], Server::Down(now));
        self.servers[n] = match server {
            Server::Frozen(server, from_ms, until) if now >= until => {
                server.signal(Signal::CONT);
                self.proof.froze(&server.name, from_ms, now_ms());
                Server::Up(server)
            }
            Server::Ending(mut server, deadline) => match server.child.try_wait().unwrap() {
                Some(_) => Server::Down(now),
                None => {
                    assert!(
                        now < deadline,
                        "{} does not end: {}",
                        SERVERS[n],
                        server.log()
                    );
                    Server::Ending(server, deadline)
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
