//! What the tests stand on: one Kafka, one Redis and one lab a run, and for each test a fleet of its own (group, topics,
//! folder, networks). Everything that was started here is ended here, by process id and namespace name.
//!
//! masscan runs in the lab's namespace only; where a test needs no real answers it takes the stand-in, which sends nothing.

use rustix::process::{Pid, Signal, kill_process};
use scan::claim_table::{ClaimTable, LiveTask, RedisUrl};
use scan::kafka::{Brokers, KafkaError, Reader};
use scan::model::Targets;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Long enough for anything that is going to happen on a busy machine with two cores.
pub const SOON: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a test gives back: libtest-mimic's failure is a message.
pub type Tested = Result<(), libtest_mimic::Failed>;

static WORLD: OnceLock<World> = OnceLock::new();
/// Where it is being made.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();
static FLEETS: AtomicU32 = AtomicU32::new(0);
/// Who ends everything, once it has come to that.
static BREAKING_OFF: OnceLock<ThreadId> = OnceLock::new();

/// The servers of this run.
pub struct World {
    folder: tempfile::TempDir,
    pub kafka: Peer,
    pub redis: Peer,
    lab: Mutex<Option<String>>,
}

/// Makes the world. Errs with the reason where this machine can't.
pub fn begin() -> Result<(), String> {
    let folder = tempfile::Builder::new()
        .prefix("scan-tests-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let _ = FOLDER.set(folder.path().to_owned());
    let kafka = Peer::start("kafka", &folder.path().join("kafka"), &[])?;
    let redis = Peer::start("redis", &folder.path().join("redis"), &[])?;
    let world = World {
        folder,
        kafka,
        redis,
        lab: Mutex::new(None),
    };
    assert!(WORLD.set(world).is_ok(), "the world is made once");
    Ok(())
}

/// Makes the lab. Errs with the reason where namespaces can't be made.
pub fn begin_lab() -> Result<(), String> {
    let world = world();
    let name = format!("t{}", std::process::id());
    let folder = world.folder.path().join("lab");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    script("lab.sh", &["check"])?;
    *world.lab.lock().unwrap() = Some(name.clone());
    script("lab.sh", &["up", &name, text(&folder), "80", "443"]).map(drop)
}

/// Counts the TCP probes that arrive at these targets from now on, in the targets' namespace.
pub fn count_probes(network: &str) {
    script("lab.sh", &["count", &lab(), network]).unwrap();
}

/// How many probes have arrived since [`count_probes`].
pub fn probes_counted(network: &str) -> u64 {
    let counted = script("lab.sh", &["counted", &lab(), network]).unwrap();
    counted.trim().parse().unwrap()
}

/// As [`count_probes`], and these targets answer nothing: so there are no resets, and masscan's rate is that of its probes.
pub fn count_probes_of_silent(network: &str) {
    count_probes(network);
    script("lab.sh", &["silence", &lab(), network]).unwrap();
}

/// Follows what arrives at these targets until `is_over`, and gives the most probes per second over any time of two seconds and
/// more. A reading takes a moment itself: its probes are set against the longer time.
pub fn most_probes_per_second(network: &str, mut is_over: impl FnMut() -> bool) -> f64 {
    const WINDOW: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + SOON;
    let mut readings: Vec<(Instant, u64, Instant)> = Vec::new();
    loop {
        let before = Instant::now();
        readings.push((before, probes_counted(network), Instant::now()));
        if is_over() {
            break;
        }
        assert!(before < deadline, "it has not ended");
        thread::sleep(Duration::from_millis(100));
    }
    let pairs = readings
        .iter()
        .flat_map(|first| readings.iter().map(move |last| (first, last)));
    pairs
        .filter(|(first, last)| last.0.saturating_duration_since(first.2) >= WINDOW)
        .map(|(first, last)| (last.1 - first.1) as f64 / (last.2 - first.0).as_secs_f64())
        .fold(0.0, f64::max)
}

/// Milliseconds from the first start of these tasks to the last end.
pub fn span_ms(ended: &[LiveTask]) -> u64 {
    let first = ended.iter().filter_map(|task| task.started_ms).min();
    let last = ended.iter().filter_map(|task| task.finished_ms).max();
    last.unwrap() - first.unwrap()
}

/// The name of the lab.
pub fn lab() -> String {
    let lab = world().lab.lock().unwrap();
    lab.clone().expect("a test that needs the lab has one")
}

/// Ends everything that [`begin`] and [`begin_lab`] made.
pub fn end() {
    let Some(world) = WORLD.get() else { return };
    let name = world.lab.lock().unwrap().take();
    if let Some(name) = name {
        let folder = world.folder.path().join("lab");
        report(script("lab.sh", &["down", &name, text(&folder)]));
    }
    report(world.kafka.stop());
    report(world.redis.stop());
    report(fs::remove_dir_all(world.folder.path()).map_err(|error| error.to_string()));
}

/// Ends everything in the middle of the tests: what those that run have started too. What they go on to do waits for ever.
pub fn break_off() {
    let _ = BREAKING_OFF.set(thread::current().id());
    // A test that was about to start something has done so when this is through.
    let deadline = Instant::now() + SOON;
    let mut quiet = 0;
    while quiet < 3 && Instant::now() < deadline {
        quiet = if end_children() { 0 } else { quiet + 1 };
        thread::sleep(LOOK_EVERY);
    }
    if let Some(folder) = FOLDER.get() {
        end_what_lies_in(folder);
        end();
        // Where the world was not whole yet.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Kills the programs that this process has started, and gives whether there were any. Scripts that run are let finish: what they
/// were about to start is ended afterwards. Another run of these tests ends what it has started itself.
fn end_children() -> bool {
    let mut any = false;
    for child in children() {
        let Ok(name) = fs::read_to_string(format!("/proc/{child}/comm")) else {
            continue;
        };
        any |= match name.trim_end() {
            _ if is_zombie(child) => false,
            "bash" => true,
            name if name.starts_with("fleet-") => kill_process(child, Signal::TERM).is_ok(),
            _ => kill_process(child, Signal::KILL).is_ok(),
        };
    }
    any
}

/// It has ended, and its test has not collected it.
fn is_zombie(child: Pid) -> bool {
    fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// The processes that this one has started and not collected yet.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    // Each number is followed by a space.
    let all: String = threads
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .collect();
    all.split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// Every Kafka, Redis and lab that a test has for itself in the world's folder; the world's own too, where it is not whole.
fn end_what_lies_in(world: &Path) {
    let entries = fs::read_dir(world).into_iter().flatten().flatten();
    let own = WORLD.get().is_none().then(|| world.to_owned());
    for fleet in entries.map(|entry| entry.path()).chain(own) {
        for kind in ["kafka", "redis"] {
            let folder = fleet.join(kind);
            if folder.join(format!("{kind}.pid")).exists() {
                report(script(&format!("{kind}.sh"), &["kill", text(&folder)]));
            }
        }
    }
    for number in 0..FLEETS.load(Ordering::Relaxed) {
        let name = OwnLab::name(number);
        let namespace = Path::new("/run/netns").join(format!("{name}-scan"));
        if namespace.exists() {
            report(script("lab.sh", &["down", &name, text(world)]));
        }
    }
}

/// To be called before anything is started.
fn wait_where_all_is_ended() {
    while BREAKING_OFF
        .get()
        .is_some_and(|by| *by != thread::current().id())
    {
        thread::park();
    }
}

fn report<T>(result: Result<T, String>) {
    if let Err(error) = result {
        eprintln!("while ending the tests: {error}");
    }
}

fn world() -> &'static World {
    WORLD.get().expect("main makes the world before any test")
}

/// A Kafka or a Redis on localhost, started by the script of that name.
pub struct Peer {
    kind: &'static str,
    pub folder: PathBuf,
    pub port: u16,
    settings: Vec<String>,
}

impl Peer {
    /// Starts one in a folder of its own, on a free port.
    pub fn start(kind: &'static str, folder: &Path, settings: &[&str]) -> Result<Peer, String> {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let peer = Peer {
            kind,
            folder: folder.to_owned(),
            port: free_port(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
        };
        peer.start_again()?;
        Ok(peer)
    }

    /// Starts it again with its data, after [`Peer::stop`] or [`Peer::kill`].
    pub fn start_again(&self) -> Result<(), String> {
        let port = self.port.to_string();
        let mut words = vec!["start", text(&self.folder), &port];
        words.extend(self.settings.iter().map(String::as_str));
        script(&format!("{}.sh", self.kind), &words).map(drop)
    }

    /// Ends it in order.
    pub fn stop(&self) -> Result<(), String> {
        script(&format!("{}.sh", self.kind), &["stop", text(&self.folder)]).map(drop)
    }

    /// Ends it as a crash would.
    pub fn kill(&self) -> Result<(), String> {
        script(&format!("{}.sh", self.kind), &["kill", text(&self.folder)]).map(drop)
    }

    /// Sends its process a signal: `STOP` freezes it, with all its connections open.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let file = self.folder.join(format!("{}.pid", self.kind));
        let pid = fs::read_to_string(&file)
            .ok()
            .and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?))
            .ok_or(format!("{}: no pid", file.display()))?;
        kill_process(pid, signal).map_err(|error| error.to_string())
    }

    /// Runs one of Kafka's own tools against it.
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

/// A Kafka or Redis of one test's own; ended on drop.
pub struct OwnPeer(pub Peer);

impl OwnPeer {
    pub fn start(kind: &'static str, fleet: &Fleet, settings: &[&str]) -> OwnPeer {
        let folder = fleet.folder.join(kind);
        OwnPeer(Peer::start(kind, &folder, settings).unwrap())
    }
}

impl Drop for OwnPeer {
    fn drop(&mut self) {
        // One that a test has killed is gone already.
        if self.0.signal(Signal::CONT).is_ok() {
            report(self.0.kill());
        }
    }
}

/// A lab of one test's own, whose interfaces it may change; ended on drop.
pub struct OwnLab {
    name: String,
    folder: PathBuf,
}

impl OwnLab {
    pub fn start(fleet: &Fleet) -> OwnLab {
        let lab = OwnLab {
            name: OwnLab::name(fleet.number),
            folder: fleet.folder.join("lab"),
        };
        fs::create_dir_all(&lab.folder).unwrap();
        script("lab.sh", &["up", &lab.name, text(&lab.folder), "443"]).unwrap();
        lab
    }

    fn name(fleet: u32) -> String {
        format!("t{}n{fleet}", std::process::id())
    }

    /// The wrapper that runs masscan in it.
    pub fn masscan(&self) -> PathBuf {
        self.folder.join("masscan")
    }

    /// Runs a command in the scanner's namespace.
    pub fn run(&self, command: &str) {
        let namespace = format!("{}-scan", self.name);
        let output = Command::new("ip")
            .args(["netns", "exec", &namespace])
            .args(command.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

impl Drop for OwnLab {
    fn drop(&mut self) {
        report(script("lab.sh", &["down", &self.name, text(&self.folder)]));
    }
}

/// Runs a script of tests/support and gives what it printed.
fn script(name: &str, words: &[&str]) -> Result<String, String> {
    wait_where_all_is_ended();
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
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} {}: {}", words.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// A port that nobody listens on, from below those that the kernel gives to outgoing connections.
fn free_port() -> u16 {
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

/// Waits until `condition` gives something. Panics past the deadline, naming what was waited for.
pub fn wait_for<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// As [`wait_for`] for a condition that is only true or not.
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, within, || condition().then_some(()));
}

/// The masscan that scans `network`, once there is one.
pub fn masscan_of(network: &str) -> rustix::process::Pid {
    wait_for("masscan's process", SOON, || {
        masscans(network).first().copied()
    })
}

/// Now, in unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

/// A group with its topics, networks and folder; its servers are started by the test.
pub struct Fleet {
    pub group: String,
    pub kafka: String,
    pub redis: String,
    pub folder: PathBuf,
    pub masscan: PathBuf,
    pub number: u32,
    /// More words for every scand of this fleet.
    pub lease_s: u32,
}

impl Fleet {
    /// A fleet on the shared Kafka and Redis, with the real masscan in the lab.
    pub fn new(name: &str) -> Fleet {
        let world = world();
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let group = format!("{name}-{number}");
        let folder = world.folder.path().join(&group);
        fs::create_dir_all(&folder).unwrap();
        Fleet {
            group,
            kafka: world.kafka.address(),
            redis: format!("redis://{}", world.redis.address()),
            masscan: world.folder.path().join("lab/masscan"),
            folder,
            number,
            lease_s: 3,
        }
    }

    /// The same fleet for another thread.
    pub fn clone_connections(&self) -> Fleet {
        Fleet {
            group: self.group.clone(),
            ..self.with_group("")
        }
    }

    /// The same connections for a group of another name; it has no folder and no networks of its own.
    pub fn with_group(&self, name: &str) -> Fleet {
        Fleet {
            group: format!("{}-{name}", self.group),
            kafka: self.kafka.clone(),
            redis: self.redis.clone(),
            folder: self.folder.clone(),
            masscan: self.masscan.clone(),
            ..*self
        }
    }

    /// Takes the stand-in for masscan, which behaves as `plan` says.
    pub fn with_standin(self, plan: &Value) -> Fleet {
        self.with_standin_of("standin", plan)
    }

    /// The same fleet with another stand-in for masscan, of a folder of its own.
    pub fn with_standin_of(&self, folder: &str, plan: &Value) -> Fleet {
        let folder = self.folder.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_scand"))
            .parent()
            .unwrap()
            .join("examples/standin-masscan");
        let masscan = folder.join("masscan");
        fs::copy(&built, &masscan).unwrap();
        let mut plan = plan.clone();
        plan["log"] = text(&self.standin_log()).into();
        fs::write(folder.join("plan.json"), plan.to_string()).unwrap();
        Fleet {
            masscan,
            ..self.clone_connections()
        }
    }

    /// Where the stand-in logs its runs.
    pub fn standin_log(&self) -> PathBuf {
        self.folder.join("standin.log")
    }

    /// What the stand-in logged.
    pub fn standin_events(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.standin_log()).unwrap_or_default();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn topic(&self, kind: &str) -> String {
        format!("{}-{kind}", self.group)
    }

    /// The `n`-th /24 of this fleet; no other fleet has it.
    pub fn network(&self, n: u32) -> String {
        assert!(n < 16, "a fleet has 16 networks of 256 addresses");
        let third = (self.number * 16 + n) % 256;
        let second = 16 + (self.number * 16 + n) / 256;
        assert!(second < 32, "the lab's range is used up");
        format!("172.{second}.{third}.0/24")
    }

    /// Makes the task topic with so many partitions; else it comes by itself with one.
    pub fn with_partitions(self, count: u32) -> Fleet {
        let words = [
            "--create",
            "--topic",
            &self.topic("tasks"),
            "--partitions",
            &count.to_string(),
        ];
        world().kafka.tool("topic", &words).unwrap();
        self
    }

    /// Starts a server named `name`, with more words for its command line.
    pub fn scand(&self, name: &str, words: &[&str]) -> Scand {
        wait_where_all_is_ended();
        let log = self.folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_scand"))
            .args(["-group", &self.group, "-name", name])
            .args(["-kafka", &self.kafka, "-redis", &self.redis])
            .args(["-topic", &self.topic("tasks")])
            .args(["-results-topic", &self.topic("results")])
            .args(["-status-topic", &self.topic("status")])
            .args(["-lease", &self.lease_s.to_string()])
            .arg("-masscan")
            .arg(&self.masscan)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Scand {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// A server that is ready for tasks.
    pub fn ready_scand(&self, name: &str, words: &[&str]) -> Scand {
        let scand = self.scand(name, words);
        scand.wait_for_log("ready: waiting for tasks");
        scand
    }

    /// Runs scanpush with this fleet's connections.
    pub fn scanpush(&self, words: &[&str]) -> Output {
        self.scanpush_command(words).output().unwrap()
    }

    /// As [`Fleet::scanpush`], but left running.
    pub fn start_scanpush(&self, words: &[&str]) -> Child {
        self.scanpush_command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn scanpush_command(&self, words: &[&str]) -> Command {
        wait_where_all_is_ended();
        let mut command = Command::new(env!("CARGO_BIN_EXE_scanpush"));
        command
            .args(["-kafka", &self.kafka, "-redis", &self.redis])
            .args(["-group", &self.group, "-topic", &self.topic("tasks")])
            .args(words)
            // Where it leaves a file with what could not be pushed.
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Pushes and gives the ids.
    pub fn push(&self, words: &[&str]) -> Vec<String> {
        let output = self.scanpush(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scanpush {words:?}: {said}");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Pushes one network: port 443, a short wait where `more` names none.
    pub fn push_network(&self, network: &str, band_width: u32, more: &[&str]) -> String {
        let rate = band_width.to_string();
        let mut words = vec!["-ip", network, "-ports", "443", "-bandwidth", &rate];
        words.extend(more);
        if !more.contains(&"-wait") {
            words.extend(["-wait", "1"]);
        }
        let mut ids = self.push(&words);
        assert_eq!(ids.len(), 1);
        ids.remove(0)
    }

    /// Pushes raw records by another Kafka client, one a line.
    pub fn push_raw(&self, records: &[String]) {
        self.produce("tasks", records);
    }

    /// Puts raw records on one of this fleet's topics by another Kafka client, one a line.
    pub fn produce(&self, kind: &str, records: &[String]) {
        self.produce_with(kind, records, "none");
    }

    /// As [`Fleet::produce`], compressed by `codec`.
    pub fn produce_with(&self, kind: &str, records: &[String], codec: &str) {
        let mut kcat = Command::new("kcat")
            .args(["-P", "-b", &self.kafka, "-t", &self.topic(kind)])
            .args(["-z", codec])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = kcat.stdin.take().unwrap();
        for record in records {
            assert!(!record.contains('\n'), "kcat sends a line a record");
            std::io::Write::write_all(&mut input, format!("{record}\n").as_bytes()).unwrap();
        }
        drop(input);
        assert!(kcat.wait().unwrap().success());
    }

    pub fn ledger(&self) -> ClaimTable {
        let url: RedisUrl = self.redis.parse().unwrap();
        ClaimTable::new(&url, &self.group)
    }

    /// The task as Redis has it now.
    pub fn task(&self, id: &str) -> Option<LiveTask> {
        self.ledger().task(&id.parse().unwrap()).ok().flatten()
    }

    /// A field of the task's hash as it is.
    pub fn field(&self, id: &str, field: &str) -> String {
        self.redis_says(&["HGET", &self.task_key(id), field])
    }

    /// Sets a field of the task's hash, as no program of ours would.
    pub fn set_field(&self, id: &str, field: &str, value: &str) {
        self.redis_says(&["HSET", &self.task_key(id), field, value]);
    }

    fn task_key(&self, id: &str) -> String {
        format!("scan:{{{}}}:task:{id}", self.group)
    }

    fn redis_says(&self, words: &[&str]) -> String {
        let client = redis::Client::open(self.redis.as_str()).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer: Option<String> = command
            .query(&mut client.get_connection().unwrap())
            .unwrap();
        answer.unwrap_or_default()
    }

    /// Waits until the task is in a state from which nothing leads.
    pub fn wait_ended(&self, id: &str, within: Duration) -> LiveTask {
        wait_for(&format!("the end of task {id}"), within, || {
            self.task(id)
                .filter(|task| task.finished_ms.is_some() && task.status.is_terminal())
        })
    }

    /// The field of a task's hash, as it stands in Redis.
    pub fn task_field(&self, id: &str, field: &str) -> Option<String> {
        let key = format!("scan:{{{}}}:task:{id}", self.group);
        redis::cmd("HGET")
            .arg(key)
            .arg(field)
            .query(&mut self.redis_connection())
            .unwrap()
    }

    /// As if all servers had refused a task long ago, and none had left since.
    pub fn age_refusal(&self, id: &str) {
        let prefix = format!("scan:{{{}}}", self.group);
        redis::pipe()
            .del(format!("{prefix}:departed"))
            .hset(format!("{prefix}:task:{id}"), "refused_ms", 1)
            .exec(&mut self.redis_connection())
            .unwrap();
    }

    /// Waits until all servers refuse a task, and ages that.
    pub fn wait_refused_by_all(&self, id: &str) {
        wait_until("all servers to refuse the task", SOON, || {
            self.task_field(id, "refused_ms").is_some()
        });
        self.age_refusal(id);
    }

    fn redis_connection(&self) -> redis::Connection {
        redis::Client::open(self.redis.as_str())
            .unwrap()
            .get_connection()
            .unwrap()
    }

    /// All records that one of this fleet's topics has now, as another Kafka client reads them. A broker that has just been
    /// started may still be choosing leaders: asked again.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let mut last = None;
        let what = format!("all records of {}", self.topic(kind));
        wait_for(&what, SOON, || match self.read_all(kind) {
            Ok(values) => Some(values),
            Err(error) => {
                let error = error.to_string();
                if last.as_ref() != Some(&error) {
                    eprintln!("{what}: {error}");
                }
                last = Some(error);
                None
            }
        })
    }

    fn read_all(&self, kind: &str) -> Result<Vec<Value>, KafkaError> {
        const END: char = '\x1e'; // no JSON text holds it
        let brokers: Brokers = self.kafka.parse().unwrap();
        let ranges = Reader::connect(&brokers, &self.topic(kind))?.log_ranges()?;
        let count: i64 = ranges.values().map(|range| range.next - range.first).sum();
        if count == 0 {
            return Ok(Vec::new());
        }
        let output = Command::new("kcat")
            .args(["-C", "-q", "-o", "beginning", "-f", "%s\\x1e"])
            .args(["-e", "-X", "fetch.wait.max.ms=10", "-c", &count.to_string()])
            .args(["-b", &self.kafka, "-t", &self.topic(kind)])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stdout)
            .split_terminator(END)
            .map(|value| serde_json::from_str(value).unwrap_or(Value::Null))
            .collect())
    }

    /// The distinct (ip, port) of a task's findings.
    pub fn findings(&self, id: &str) -> BTreeSet<(String, u64)> {
        self.records("results")
            .iter()
            .filter(|record| record["task_id"] == id)
            .map(|record| {
                (
                    record["ip"].as_str().unwrap().to_owned(),
                    record["port"].as_u64().unwrap(),
                )
            })
            .collect()
    }

    /// The states that `scan-status` tells of a task, in order.
    pub fn told(&self, id: &str) -> Vec<Value> {
        self.records("status")
            .into_iter()
            .filter(|record| record["task_id"] == id)
            .collect()
    }

    /// The group's lag by Kafka's own tool: partition → (committed, end of the log).
    pub fn offsets(&self, kafka: &Peer) -> BTreeMap<i32, (i64, i64)> {
        let table = kafka
            .tool("groups", &["--describe", "--group", &self.group])
            .unwrap_or_default();
        table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|row| row.first() == Some(&self.group.as_str()))
            .filter_map(|row| {
                Some((
                    row[2].parse().ok()?,
                    (row[3].parse().ok()?, row[4].parse().ok()?),
                ))
            })
            .collect()
    }

    /// Waits until the group has committed everything that was pushed.
    pub fn wait_committed(&self, kafka: &Peer) {
        wait_until("the committed offsets to reach the end", SOON, || {
            let offsets = self.offsets(kafka);
            !offsets.is_empty() && offsets.values().all(|(committed, end)| committed == end)
        });
    }
}

/// The addresses of a /24 as findings have them.
pub fn addresses(network: &str, port: u64) -> BTreeSet<(String, u64)> {
    let prefix = network.strip_suffix("0/24").expect("a /24");
    (0..256)
        .map(|last| (format!("{prefix}{last}"), port))
        .collect()
}

/// The processes that scan `network`, by their command lines.
pub fn masscans(network: &str) -> Vec<rustix::process::Pid> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<&[u8]> = words.split(|&b| b == 0).collect();
            let ours = words.contains(&network.as_bytes()) && words.contains(&&b"-oD"[..]);
            rustix::process::Pid::from_raw(pid).filter(|_| ours)
        })
        .collect()
}

/// Each address of these targets with each of these ports, as findings have them. IPv4 only.
pub fn everything(targets: &str, ports: &[u64]) -> BTreeSet<(String, u64)> {
    let targets: Targets = targets.parse().unwrap();
    let addresses = targets.ranges().iter().flat_map(|range| {
        let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first(), range.last()) else {
            panic!("{range} is not IPv4");
        };
        (u32::from(first)..=u32::from(last)).map(Ipv4Addr::from)
    });
    addresses
        .flat_map(|address| ports.iter().map(move |&port| (address.to_string(), port)))
        .collect()
}

/// The shared Kafka.
pub fn kafka() -> &'static Peer {
    &world().kafka
}

/// A running server; killed on drop.
pub struct Scand {
    pub name: String,
    pub child: Child,
    pub log: PathBuf,
}

impl Scand {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn wait_for_log(&self, text: &str) {
        let what = format!("{} to log {text:?}", self.name);
        let deadline = Instant::now() + SOON;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; it logged:\n{}",
                self.log()
            );
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Sends a signal, by process id.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let name = self.name.clone();
        let child = &mut self.child;
        wait_for(&format!("the end of {name}"), within, || {
            child.try_wait().unwrap()
        })
    }
}

impl Drop for Scand {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // A stopped process dies of this too.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- {} logged:\n{}", self.name, self.log());
        }
    }
}
