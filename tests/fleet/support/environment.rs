//! The shared Kafka, Redis and lab of a test run: started before the first test, stopped after the last one or on a signal.
//!
//! It stops only what this run started, by process id and namespace name.

use super::lab::OwnLab;
use super::peer::Peer;
use super::postgres::Postgres;
use super::secure::{self, SecureFlags};
use super::secured_kafka::SecuredKafka;
use super::wait::{POLL_INTERVAL, SOON};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Instant;

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
/// The environment's folder, known before the environment is complete.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();
/// How many fleets this run has made; a fleet's number identifies its networks and is in the name of its own lab.
static FLEETS: AtomicU32 = AtomicU32::new(0);
/// The thread that cancels the run, once a signal has arrived.
static CANCELLED_BY: OnceLock<ThreadId> = OnceLock::new();
/// How many polls in a row must find no child before cancelling assumes that none will follow.
const QUIET_POLLS: u32 = 3;

/// What all tests of this run share.
pub struct Environment {
    pub folder: tempfile::TempDir,
    pub kafka: Peer,
    pub redis: Peer,
    /// The programs' flags for these two, if they are to connect securely.
    pub secure: Option<SecureFlags>,
    lab: Mutex<Option<String>>,
    secured_kafka: OnceLock<SecuredKafka>,
    postgres: OnceLock<Postgres>,
}

/// Starts Kafka and Redis. Fails with the reason if this machine cannot run them.
pub fn start() -> Result<(), String> {
    let folder = tempfile::Builder::new()
        .prefix("scan-tests-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let _ = FOLDER.set(folder.path().to_owned());
    let (kafka, redis, secure) = match secure::is_secure_run() {
        true => {
            let (kafka, redis, flags) = secure::start(folder.path())?;
            (kafka, redis, Some(flags))
        }
        false => {
            let kafka = Peer::start("kafka", &folder.path().join("kafka"), &[])?;
            let redis = Peer::start("redis", &folder.path().join("redis"), &[])?;
            (kafka, redis, None)
        }
    };
    let environment = Environment {
        folder,
        kafka,
        redis,
        secure,
        lab: Mutex::new(None),
        secured_kafka: OnceLock::new(),
        postgres: OnceLock::new(),
    };
    assert!(
        ENVIRONMENT.set(environment).is_ok(),
        "the environment is started once"
    );
    Ok(())
}

/// Creates the lab. Fails with the reason if this machine does not allow network namespaces.
pub fn start_lab() -> Result<(), String> {
    let environment = environment();
    let name = format!("t{}", std::process::id());
    let folder = environment.folder.path().join("lab");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    script("lab.sh", &["check"])?;
    *environment.lab.lock().unwrap() = Some(name.clone());
    script("lab.sh", &["up", &name, text(&folder), "80", "443"]).map(drop)
}

/// The name of the shared lab.
pub fn lab() -> String {
    let lab = environment().lab.lock().unwrap();
    lab.clone()
        .expect("a test that needs the lab runs only if there is one")
}

/// The shared Kafka.
pub fn shared_kafka() -> &'static Peer {
    &environment().kafka
}

/// Whether the Kafka of this run is 4.0 or newer (`tests/run.sh --kafka 4`), so that the programs use librdkafka.
pub fn is_kafka_4() -> bool {
    std::env::var("SCAN_KAFKA_VERSION").is_ok_and(|version| version.starts_with("4."))
}

/// The shared secured Kafka. The first call starts it, and others wait for that.
pub fn secured_kafka() -> &'static SecuredKafka {
    let environment = environment();
    // A folder like that of a fleet, so that `cancel` finds a broker that is still starting.
    let folder = environment.folder.path().join("secured");
    environment
        .secured_kafka
        .get_or_init(|| SecuredKafka::start(&folder).unwrap())
}

/// The shared Postgres. The first call starts it, and others wait for that.
pub fn shared_postgres() -> &'static Postgres {
    let environment = environment();
    // As in `secured_kafka`.
    let folder = environment.folder.path().join("databases");
    environment
        .postgres
        .get_or_init(|| Postgres::start(&folder, &[]).unwrap())
}

pub fn environment() -> &'static Environment {
    ENVIRONMENT
        .get()
        .expect("main starts the environment before any test")
}

/// A number that no other fleet of this run has.
pub fn next_fleet_number() -> u32 {
    FLEETS.fetch_add(1, Ordering::Relaxed)
}

/// Stops everything that [`start`], [`start_lab`], [`secured_kafka`] and [`shared_postgres`] started.
pub fn stop() {
    let Some(environment) = ENVIRONMENT.get() else {
        return;
    };
    // Not taken: if a signal arrives now, this thread is parked before the script starts, and the other one needs the name.
    let name = environment.lab.lock().unwrap().clone();
    if let Some(name) = name {
        let folder = environment.folder.path().join("lab");
        report(script("lab.sh", &["down", &name, text(&folder)]));
    }
    if let Some(secured) = environment.secured_kafka.get() {
        report(secured.peer.stop());
    }
    if let Some(postgres) = environment.postgres.get() {
        report(postgres.stop());
    }
    report(environment.kafka.stop());
    report(environment.redis.stop());
    report(fs::remove_dir_all(environment.folder.path()).map_err(|error| error.to_string()));
}

/// Stops everything while tests are running, including what they started. A test that then tries to start a program blocks.
pub fn cancel() {
    let _ = CANCELLED_BY.set(thread::current().id());
    // A test that was about to start a program when the signal arrived may still do so: poll until no child appears.
    let deadline = Instant::now() + SOON;
    let mut quiet = 0;
    while quiet < QUIET_POLLS && Instant::now() < deadline {
        quiet = if kill_children() { 0 } else { quiet + 1 };
        thread::sleep(POLL_INTERVAL);
    }
    if let Some(folder) = FOLDER.get() {
        stop_peers_and_labs_in(folder);
        stop();
        // `stop` does nothing if the environment was incomplete.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Blocks forever if the run is being cancelled by another thread. To be called before a program is started.
pub fn park_if_cancelled() {
    while CANCELLED_BY
        .get()
        .is_some_and(|by| *by != thread::current().id())
    {
        thread::park();
    }
}

/// Kills the programs that this process has started. Returns whether there were any. Support scripts (bash) may finish: what they
/// start is stopped afterwards. A nested run of these tests gets SIGTERM, so that it stops what it has started itself.
fn kill_children() -> bool {
    let mut any = false;
    for child in children() {
        let Ok(name) = fs::read_to_string(format!("/proc/{child}/comm")) else {
            continue;
        };
        any |= match name.trim_end() {
            _ if is_zombie(child) => false,
            "bash" => true,
            name if name.starts_with("fleet-") => kill_process(child, Signal::TERM).is_ok(),
            // With Chromium, which is in its group.
            "chromedriver" => kill_process_group(child, Signal::KILL).is_ok(),
            _ => kill_process(child, Signal::KILL).is_ok(),
        };
    }
    any
}

/// Whether the process has ended and its test has not waited for it yet.
fn is_zombie(child: Pid) -> bool {
    fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// The processes that this one has started and not waited for yet.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    // The kernel ends each number with a space, so the files can be concatenated.
    let all: String = threads
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .collect();
    all.split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// Stops every Kafka, Redis, Postgres and lab that a test started for itself; the shared ones too if the environment is incomplete.
fn stop_peers_and_labs_in(environment: &Path) {
    let entries = fs::read_dir(environment).into_iter().flatten().flatten();
    let shared = ENVIRONMENT.get().is_none().then(|| environment.to_owned());
    for fleet in entries.map(|entry| entry.path()).chain(shared) {
        let folders = fs::read_dir(fleet).into_iter().flatten().flatten();
        for folder in folders.map(|entry| entry.path()) {
            for kind in ["kafka", "redis", "postgres"] {
                if folder.join(format!("{kind}.pid")).exists() {
                    report(script(&format!("{kind}.sh"), &["kill", text(&folder)]));
                }
            }
        }
    }
    for number in 0..FLEETS.load(Ordering::Relaxed) {
        let name = OwnLab::name(number);
        let namespace = Path::new("/run/netns").join(format!("{name}-scan"));
        if namespace.exists() {
            report(script("lab.sh", &["down", &name, text(environment)]));
        }
    }
}

/// Prints an error of the clean-up; there is no test to fail with it.
pub fn report<T>(result: Result<T, String>) {
    if let Err(error) = result {
        eprintln!("while stopping the test environment: {error}");
    }
}

/// Runs a script of tests/support and returns its stdout.
pub fn script(name: &str, words: &[&str]) -> Result<String, String> {
    park_if_cancelled();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/support")
        .join(name);
    let output = Command::new("bash")
        .arg(&path)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} {}: {}", words.join(" "), stderr.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have UTF-8 names")
}
