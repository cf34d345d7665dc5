//! A Kafka broker, a Redis or a Postgres on localhost, started and stopped with tests/support/kafka.sh, redis.sh or postgres.sh.

use super::environment::{report, script, text};
use super::fleet::Fleet;
use super::proxy::Proxy;
use super::redis::run_command;
use super::wait::{SOON, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A Kafka broker, a Redis or a Postgres.
pub struct Peer {
    kind: &'static str,
    pub folder: PathBuf,
    pub port: u16,
    settings: Vec<String>,
    start: Start,
}

/// The command of its script that starts it.
enum Start {
    Plain,
    /// As another broker of the cluster of the broker in this folder.
    Join(PathBuf),
    /// As the broker with this number of a cluster with these voters.
    Rack(u32, String),
    /// With the certificates in this folder.
    Secured(PathBuf),
    /// As a Sentinel that watches the primary on this port under this name.
    Sentinel(&'static str, u16),
}

impl Peer {
    /// Starts one in `folder`, on a free port.
    pub fn start(kind: &'static str, folder: &Path, settings: &[&str]) -> Result<Peer, String> {
        Peer::start_as(Start::Plain, kind, folder, settings)
    }

    /// Starts a Kafka with secured listeners; its port is the plaintext one.
    pub fn start_secured_kafka(
        folder: &Path,
        certs: &Path,
        settings: &[&str],
    ) -> Result<Peer, String> {
        Peer::start_as(Start::Secured(certs.to_owned()), "kafka", folder, settings)
    }

    fn start_as(
        start: Start,
        kind: &'static str,
        folder: &Path,
        settings: &[&str],
    ) -> Result<Peer, String> {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let peer = Peer::new(start, kind, folder, settings);
        peer.restart()?;
        Ok(peer)
    }

    fn new(start: Start, kind: &'static str, folder: &Path, settings: &[&str]) -> Peer {
        Peer {
            kind,
            folder: folder.to_owned(),
            port: free_port(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            start,
        }
    }

    /// The broker with this number of a cluster with these voters, in a subfolder of `folder`. It is not started yet.
    pub fn of_rack(folder: &Path, number: u32, voters: &str, settings: &[&str]) -> Peer {
        let start = Start::Rack(number, voters.to_owned());
        let folder = folder.join(format!("kafka-{number}"));
        Peer::new(start, "kafka", &folder, settings)
    }

    /// Starts it again with its data, after [`Peer::stop`] or [`Peer::kill`].
    pub fn restart(&self) -> Result<(), String> {
        let port = self.port.to_string();
        let (primary_port, rack_number);
        let mut words = match &self.start {
            Start::Plain => vec!["start", text(&self.folder), &port],
            Start::Join(first) => vec!["join", text(&self.folder), &port, text(first)],
            Start::Rack(number, voters) => {
                rack_number = number.to_string();
                vec!["rack", text(&self.folder), &port, &rack_number, voters]
            }
            Start::Secured(certs) => {
                vec!["start-secured", text(&self.folder), &port, text(certs)]
            }
            Start::Sentinel(name, primary) => {
                primary_port = primary.to_string();
                vec!["sentinel", text(&self.folder), &port, name, &primary_port]
            }
        };
        words.extend(self.settings.iter().map(String::as_str));
        script(&format!("{}.sh", self.kind), &words).map(drop)
    }

    /// Stops it, so that it can be restarted with its data.
    pub fn stop(&self) -> Result<(), String> {
        script(&format!("{}.sh", self.kind), &["stop", text(&self.folder)]).map(drop)
    }

    /// Kills it with SIGKILL, as a crash would.
    pub fn kill(&self) -> Result<(), String> {
        script(&format!("{}.sh", self.kind), &["kill", text(&self.folder)]).map(drop)
    }

    /// Sends its process a signal. `STOP` freezes it, with all its connections open.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let file = self.folder.join(format!("{}.pid", self.kind));
        let pid = fs::read_to_string(&file)
            .ok()
            .and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?))
            .ok_or(format!("{}: no pid", file.display()))?;
        kill_process(pid, signal).map_err(|error| error.to_string())
    }

    /// Runs one of its own tools against it: a command of its script.
    pub fn tool(&self, tool: &str, words: &[&str]) -> Result<String, String> {
        let mut all = vec![tool, text(&self.folder)];
        all.extend(words);
        script(&format!("{}.sh", self.kind), &all)
    }

    /// `localhost:PORT`.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

/// A Kafka or Redis for one test. Killed on drop.
pub struct OwnPeer(pub Peer);

impl OwnPeer {
    fn start(kind: &'static str, fleet: &Fleet, settings: &[&str]) -> OwnPeer {
        OwnPeer::start_in(kind, fleet, kind, settings)
    }

    fn start_in(kind: &'static str, fleet: &Fleet, folder: &str, settings: &[&str]) -> OwnPeer {
        let folder = fleet.folder.join(folder);
        OwnPeer(Peer::start(kind, &folder, settings).unwrap())
    }
}

impl Fleet {
    /// Starts a Kafka for this fleet alone, and uses it.
    pub fn start_kafka(&mut self, settings: &[&str]) -> OwnPeer {
        let kafka = OwnPeer::start("kafka", self, settings);
        self.kafka = kafka.0.address();
        kafka
    }

    /// Starts another broker in the cluster of `first`.
    pub fn join_kafka(&self, first: &OwnPeer, settings: &[&str]) -> OwnPeer {
        let folder = self.folder.join("kafka-2");
        let start = Start::Join(first.0.folder.clone());
        OwnPeer(Peer::start_as(start, "kafka", &folder, settings).unwrap())
    }

    /// Starts another Redis for this fleet, in the subfolder `name`.
    pub fn another_redis(&self, name: &str, settings: &[&str]) -> OwnPeer {
        OwnPeer(Peer::start("redis", &self.folder.join(name), settings).unwrap())
    }

    /// Starts a Sentinel for this fleet, in the subfolder `folder`, which watches `primary` as `name`.
    pub fn start_sentinel(&self, folder: &str, name: &'static str, primary: &OwnPeer) -> OwnPeer {
        let start = Start::Sentinel(name, primary.0.port);
        let folder = self.folder.join(folder);
        OwnPeer(Peer::start_as(start, "redis", &folder, &[]).unwrap())
    }

    /// Starts a Redis for this fleet alone, and uses it.
    pub fn start_redis(&mut self, settings: &[&str]) -> OwnPeer {
        let redis = OwnPeer::start("redis", self, settings);
        self.redis = format!("redis://{}", redis.0.address());
        redis
    }
}

/// The clock of a Redis that was started with [`Fleet::start_redis_with_clock`].
pub struct RedisClock {
    file: PathBuf,
}

impl RedisClock {
    /// From now on the clock is this much ahead of the machine's, or behind it.
    pub fn set_ahead(&self, seconds: i64) {
        // Replaced at once, because Redis reads it with every look at the clock.
        let new = self.file.with_extension("new");
        fs::write(&new, seconds.to_string()).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }
}

impl Fleet {
    /// As [`Fleet::start_redis`], with a clock that can jump.
    pub fn start_redis_with_clock(&mut self) -> (OwnPeer, RedisClock) {
        let folder = self.folder.join("redis");
        fs::create_dir_all(&folder).unwrap();
        let clock = RedisClock {
            file: folder.join("clock"),
        };
        clock.set_ahead(0);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o"])
            .arg(folder.join("clock.so"))
            .status();
        assert!(compiled.unwrap().success());
        (self.start_redis(&[]), clock)
    }
}

/// A Redis with one replica, both for one fleet alone. The fleet reaches the primary through a proxy.
pub struct ReplicatedRedis {
    pub primary: OwnPeer,
    pub replica: OwnPeer,
    proxy: Proxy,
}

impl ReplicatedRedis {
    /// Starts both for `fleet`, and waits until the replica has the primary's data.
    pub fn start(fleet: &mut Fleet) -> ReplicatedRedis {
        let primary = OwnPeer::start("redis", fleet, &[]);
        let of = format!("127.0.0.1 {}", primary.0.port);
        let replica = OwnPeer::start_in(
            "redis",
            fleet,
            "redis-replica",
            &["--repl-diskless-sync-delay", "0", "--replicaof", &of],
        );
        let proxy = Proxy::start();
        proxy.set_target(primary.0.port);
        fleet.redis = format!("redis://127.0.0.1:{}", proxy.port);
        let redis = ReplicatedRedis {
            primary,
            replica,
            proxy,
        };
        wait_until("the replica to be connected", SOON, || {
            redis
                .ask_replica("INFO replication")
                .contains("master_link_status:up")
        });
        redis
    }

    /// Makes the replica a primary with all that was written until now. What is written to the old primary from now on is lost with it.
    pub fn promote(&self) {
        let mut primary = connection_to(&self.primary);
        // WAIT waits for what its own connection has written.
        run_command(&mut primary, "SET replicated yes");
        let acknowledged: u64 = ::redis::cmd("WAIT")
            .arg(1)
            .arg(10_000)
            .query(&mut primary)
            .unwrap();
        assert_eq!(acknowledged, 1, "the replica has everything until now");
        run_command(&mut connection_to(&self.replica), "REPLICAOF NO ONE");
    }

    /// From now on the fleet reaches the promoted replica.
    pub fn switch(&self) {
        self.proxy.set_target(self.replica.0.port);
        self.proxy.cut();
    }

    /// How often the primary was asked to wait for a replica.
    pub fn waits(&self) -> u64 {
        let stats: String = ::redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut connection_to(&self.primary))
            .unwrap();
        let mut lines = stats.lines();
        let calls = lines.find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    }

    fn ask_replica(&self, command: &str) -> String {
        let mut words = command.split(' ');
        let mut command = ::redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query(&mut connection_to(&self.replica)).unwrap()
    }
}

fn connection_to(peer: &OwnPeer) -> ::redis::Connection {
    let client = ::redis::Client::open(format!("redis://127.0.0.1:{}", peer.0.port)).unwrap();
    client.get_connection().unwrap()
}

impl Drop for OwnPeer {
    fn drop(&mut self) {
        // The test may have killed it already.
        if self.0.signal(Signal::CONT).is_ok() {
            report(self.0.kill());
        }
    }
}

/// A free port below the range that the kernel uses for outgoing connections (32768 and up).
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = std::process::id().wrapping_mul(37);
    for _ in 0..10_000 {
        let n = from.wrapping_add(NEXT.fetch_add(7, Ordering::Relaxed));
        let port = 20_000 + (n % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 31999");
}
