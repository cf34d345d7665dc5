//! A stand-in for masscan in fault tests. It takes scand's argument vector, writes to standard output and standard error what masscan 1.3.2
//! would write, and fails as specified by a plan.
//!
//! **It opens no socket and sends no packet.** Its findings are invented.
//!
//! Tests copy it into a folder of their own under the name `masscan`, with `plan.json` next to it ([`Plan`]; without the file there are no
//! faults). The folder is that of `argv[0]`, because scand passes almost no environment to masscan.
//!
//! It uses the same indices as masscan, so that a resumed run finds what the first one did not:
//! - range = addresses that are not excluded × ports; a run begins at `--resume-index` + shard − 1 and steps by the number of
//!   shards, so an index that is not a multiple of it continues *another* shard;
//! - index `i` probes the element (`i` + rate) mod range of the shuffled order, so a run at another rate continues elsewhere;
//! - `--retries` is an error: scand runs passes instead;
//! - the percentage is the index relative to the range. With shards the last index may be beyond it, which shows as more than 100 %. The first
//!   progress line after the last probe has `waiting 0-secs`, then the wait is counted down;
//! - `--rate` counts packets; `paused.conf` has the index of the last progress line, which is behind what was sent.
//!
//! Differences: answers arrive at once. Probing and printing share one thread, so it blocks if standard output is not read (masscan continues to
//! send and loses the answers).

use scan::masscan::SHARD_IN_ORDER;
use scan::model::ports::{PortRange, Proto};
use scan::model::target_file;
use scan::model::task::Shard;
use scan::model::{Ports, Targets};
use serde::{Deserialize, Serialize};
use signal_hook::consts::SIGINT;
use std::fs::{File, OpenOptions};
use std::io::{self, StdoutLock, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time between two progress lines.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Probes are sent in slices of this length.
const SLICE: Duration = Duration::from_millis(5);
/// Maximum number of probes between two checks of signals and clocks.
const SLICE_PROBES_MAX: u64 = 10_000;
/// After a pause (SIGSTOP, a full terminal), at most the probes of this time are caught up on.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);
/// Time from the end of the wait to the exit; masscan takes about a second.
const LINGER: Duration = Duration::from_millis(300);
/// Default of `--wait`.
const WAIT_DEFAULT_S: u64 = 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--version") {
        print!("{}", version_text(Plan::read(&own_folder()).version()));
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| word == "-sL") {
        println!("{}", SHARD_IN_ORDER.replace(' ', "\n"));
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| word == "--echo") {
        // scand passes `-c /dev/stdin`, with which masscan waits for settings.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("FAIL: {error}");
            return ExitCode::FAILURE;
        }
    };
    let folder = own_folder();
    let plan = Plan::read(&folder).for_this_run(&folder, &arguments.range);
    Run::new(arguments, plan).run()
}

fn version_text(version: &str) -> String {
    format!(
        "
Masscan version {version} ( stand-in )
Compiled on: never
Compiler: rustc
OS: Linux
CPU: unknown (64 bits)
GIT version: unknown
"
    )
}

/// The folder of `argv[0]`.
fn own_folder() -> PathBuf {
    let started_as = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .filter(|path| path.components().count() > 1);
    let program = match started_as {
        Some(path) => path,
        None => std::env::current_exe().expect("Linux knows which file runs"),
    };
    program
        .parent()
        .expect("a program's path names a folder")
        .to_owned()
}

/// The parsed command line.
#[derive(Debug)]
struct Arguments {
    range: String,
    ports: String,
    space: Space,
    rate: u64,
    wait_s: u64,
    seed: u64,
    shard: Shard,
    resume_index: u64,
}

impl Arguments {
    /// Parses the vector that `src/masscan/arguments.rs` builds. Anything else is an error.
    fn parse(words: &[String]) -> Result<Arguments, String> {
        let (mut range, mut ports) = (None, None);
        let mut exclude = Targets::default();
        let mut shard = Shard { index: 1, count: 1 };
        let (mut rate, mut wait_s, mut seed) = (100, WAIT_DEFAULT_S, 0);
        let mut resume_index = 0;
        for pair in words.chunks(2) {
            let [flag, value] = pair else {
                return Err(format!("{}: empty parameter", pair[0]));
            };
            match flag.as_str() {
                "-oD" if value == "-" => {}
                // Without an effect, because nothing is sent.
                "--interface" | "--source-ip" | "--source-port" | "--router-mac" => {}
                "--range" => range = Some(value),
                "-p" => ports = Some(value),
                "--rate" => rate = parsed(flag, value)?,
                "--wait" => wait_s = parsed(flag, value)?,
                "--seed" => seed = parsed(flag, value)?,
                "--shard" => shard = parsed(flag, value)?,
                "--exclude" => exclude = parsed(flag, value)?,
                "--excludefile" => {
                    let text = std::fs::read_to_string(value)
                        .map_err(|error| format!("{flag} {value}: {error}"))?;
                    exclude = target_file::parse(&text)
                        .map(Targets::from_ranges)
                        .map_err(|bad| format!("{value}:{}", bad[0]))?;
                }
                "--resume-index" => resume_index = parsed(flag, value)?,
                _ => return Err(format!("{flag} {value}: unknown config option")),
            }
        }
        let range = range.ok_or("target IP address list empty")?;
        let ports = ports.ok_or("no ports were specified")?;
        let targets: Targets = parsed("--range", range)?;
        let space = Space::new(&targets.without(&exclude), &parsed("-p", ports)?);
        if space.len() == 0 {
            return Err("no ranges left to scan".to_owned());
        }
        Ok(Arguments {
            range: range.clone(),
            ports: ports.clone(),
            space,
            rate: rate.max(1),
            wait_s,
            seed,
            shard,
            resume_index,
        })
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    flag: &str,
    value: &str,
) -> Result<T, String> {
    value
        .parse()
        .map_err(|error| format!("{flag} {value}: {error}"))
}

/// `plan.json`: the faults of a run. All fields are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Plan {
    /// The version that it reports; 1.3.2 by default.
    version: Option<String>,
    /// The number of addresses that it reports, like a masscan whose configuration changes the targets.
    announces: Option<u64>,
    /// One in this many probes is answered; 0 and 1: all.
    answer_every: u64,
    /// The log file for its [`Event`]s.
    log: Option<PathBuf>,
    /// Time between two `tick` events in the log.
    tick_ms: Option<u64>,
    /// Factor by which it is faster than `--rate`.
    rate_factor: Option<f64>,
    /// The faults below apply only to runs with this `--range`.
    only_range: Option<String>,
    /// The faults below apply only to this many runs. Runs are counted with the files `run-1`, `run-2` … next to the plan.
    only_first: Option<u64>,
    /// Prints this at once and exits.
    fail: Option<Failure>,
    /// Crashes after sending for this long.
    crash_after_s: Option<f64>,
    /// The signal of the crash; without it, exit code 1.
    crash_signal: Option<i32>,
    /// Never ends: prints `waiting -N-secs` and ignores interrupts, like masscan when it hangs.
    hang_after_wait: bool,
    /// After sending for this long it does nothing but log `tick` events, and does not exit.
    silent_after_s: Option<f64>,
    /// Ignores SIGINT.
    ignore_sigint: bool,
    /// Waits this long before it prints and sends anything.
    start_delay_ms: u64,
    /// Lines on standard output before the first finding.
    extra_stdout: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    stderr: String,
    exit_code: u8,
}

impl Plan {
    fn read(folder: &Path) -> Plan {
        match std::fs::read(folder.join("plan.json")) {
            Ok(text) => serde_json::from_slice(&text).expect("plan.json is a plan"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Plan::default(),
            Err(error) => panic!("plan.json cannot be read: {error}"),
        }
    }

    fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("1.3.2")
    }

    /// The plan without its faults if they do not apply to this run.
    fn for_this_run(self, folder: &Path, range: &str) -> Plan {
        let another = self.only_range.as_deref().is_some_and(|only| only != range);
        if another
            || self
                .only_first
                .is_some_and(|first| run_number(folder) > first)
        {
            return Plan {
                version: self.version,
                answer_every: self.answer_every,
                log: self.log,
                tick_ms: self.tick_ms,
                rate_factor: self.rate_factor,
                ..Plan::default()
            };
        }
        self
    }
}

/// The number of this run, from 1: that of the first file that does not exist yet.
fn run_number(folder: &Path) -> u64 {
    (1..)
        .find(|number| {
            let file = folder.join(format!("run-{number}"));
            match File::create_new(file) {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(error) => panic!("the runs cannot be counted: {error}"),
            }
        })
        .expect("the folder has a free number")
}

/// A line of the log.
#[derive(Serialize)]
struct Event<'a> {
    /// `start`, `tick`, `sent` (nothing more is sent from here on), `end`.
    event: &'a str,
    pid: u32,
    /// Its parent process at the start: the server, unless that had already ended.
    parent: u32,
    at_ms: u128,
    range: &'a str,
    ports: &'a str,
    rate: u64,
    seed: u64,
    resume_index: u64,
    index: u64,
    found: u64,
}

/// How the sending ended.
#[derive(PartialEq)]
enum Sent {
    All,
    Interrupted,
}

/// One run, from the first message to the exit.
struct Run {
    arguments: Arguments,
    plan: Plan,
    order: Permutation,
    end: u64,
    interrupted: Arc<AtomicBool>,
    parent: u32,
    stdout: StdoutLock<'static>,
    line: Vec<u8>,
    log: Option<File>,
    index: u64,
    packets: u64,
    found: u64,
    began: Instant,
    next_tick: Instant,
    next_progress: Instant,
    shown: Shown,
}

/// The state at the last progress line.
struct Shown {
    at: Instant,
    packets: u64,
    index: u64,
}

impl Run {
    fn new(arguments: Arguments, plan: Plan) -> Run {
        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGINT, interrupted.clone())
            .expect("SIGINT may have a handler");
        let log = plan.log.as_ref().map(|path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.expect("the log can be written to")
        });
        let now = Instant::now();
        let shard = u64::from(arguments.shard.index);
        Run {
            order: Permutation::new(arguments.space.len(), arguments.seed),
            end: arguments.space.len(),
            index: arguments.resume_index + shard - 1,
            shown: Shown {
                at: now,
                packets: 0,
                index: arguments.resume_index,
            },
            arguments,
            plan,
            interrupted,
            parent: std::os::unix::process::parent_id(),
            stdout: io::stdout().lock(),
            line: Vec::new(),
            log,
            packets: 0,
            found: 0,
            began: now,
            next_tick: now,
            next_progress: now,
        }
    }

    fn run(mut self) -> ExitCode {
        self.log("start");
        if let Some(failure) = &self.plan.fail {
            eprintln!("{}", failure.stderr);
            return ExitCode::from(failure.exit_code);
        }
        thread::sleep(Duration::from_millis(self.plan.start_delay_ms));
        self.print_start();
        let sent = self.send();
        self.log("sent");
        if sent == Sent::Interrupted && self.index < self.order.size {
            self.save();
        }
        self.wait();
        self.log("end");
        ExitCode::SUCCESS
    }

    fn print_start(&mut self) {
        let space = &self.arguments.space;
        let plural = if space.ports == 1 { "" } else { "s" };
        print_error(&format!(
            "Starting masscan {} (http://bit.ly/14GZzcT) at {} s\nInitiating SYN Stealth Scan\nScanning {} hosts [{} port{plural}/host]\n",
            self.plan.version(),
            since_1970().as_secs(),
            self.plan.announces.unwrap_or(space.addresses),
            space.ports,
        ));
        for line in std::mem::take(&mut self.plan.extra_stdout) {
            self.print(&format!("{line}\n"));
        }
    }

    /// Sends to the end of the range, or until an interrupt.
    fn send(&mut self) -> Sent {
        let rate = self.arguments.rate as f64 * self.plan.rate_factor.unwrap_or(1.0);
        let owed_max = (rate * CATCH_UP_MAX.as_secs_f64()).max(1.0);
        let (mut owed, mut last) = (0.0, Instant::now());
        (self.began, self.next_tick, self.next_progress) = (last, last, last);
        loop {
            let now = Instant::now();
            owed = (owed + (now - last).as_secs_f64() * rate).min(owed_max);
            last = now;
            let mut left = SLICE_PROBES_MAX;
            while owed >= 1.0 && left > 0 && self.index < self.end {
                self.probe();
                owed -= 1.0;
                left -= 1;
            }
            if self.index >= self.end {
                self.progress(Some(0));
                return Sent::All;
            }
            if self.take_interrupt() {
                return Sent::Interrupted;
            }
            self.crash_when_due();
            self.pulse(None);
            if left > 0 {
                thread::sleep(SLICE);
            }
        }
    }

    /// "Sends" the probe of one index and prints the answer.
    fn probe(&mut self) {
        let place = (self.index + self.arguments.rate) % self.order.size;
        self.element(self.order.at(place));
        self.index += u64::from(self.arguments.shard.count);
        self.packets += 1;
    }

    /// Prints an answer if this element gives one.
    fn element(&mut self, number: u64) {
        let (address, proto, port) = self.arguments.space.element(number);
        if !answers(address, port, self.plan.answer_every) {
            return;
        }
        self.found += 1;
        let reason = if proto == Proto::Tcp {
            "syn-ack"
        } else {
            "none"
        };
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        writeln!(
            line,
            r#"{{"ip":"{address}","timestamp":"{}","port":{port},"proto":"{}","rec_type":"status","data":{{"status":"open","reason":"{reason}","ttl":64}}}}"#,
            since_1970().as_secs(),
            proto.as_str(),
        )
        .expect("a vector takes every byte");
        self.write(&line);
        self.line = line;
    }

    /// Waits for late answers, which never come.
    fn wait(&mut self) {
        let began = Instant::now();
        let end = Duration::from_secs(self.arguments.wait_s) + LINGER;
        (self.next_progress, self.shown.packets) = (began, self.packets);
        loop {
            let waited = began.elapsed();
            self.pulse(Some(self.arguments.wait_s as i64 - waited.as_secs() as i64));
            let over = waited >= end || self.take_interrupt();
            if over && !self.plan.hang_after_wait {
                break;
            }
            thread::sleep(SLICE);
        }
        print_error(&format!("{:77}\r", ""));
    }

    /// Does what is due: silence, a `tick` event, a progress line.
    fn pulse(&mut self, waiting_s: Option<i64>) {
        let silent = self.plan.silent_after_s.map(Duration::from_secs_f64);
        while silent.is_some_and(|after| self.began.elapsed() >= after) {
            self.tick_when_due();
            thread::sleep(SLICE);
        }
        self.tick_when_due();
        if Instant::now() >= self.next_progress {
            self.next_progress = Instant::now() + PROGRESS_EVERY;
            self.progress(waiting_s);
        }
    }

    fn tick_when_due(&mut self) {
        if Instant::now() >= self.next_tick {
            let every = Duration::from_millis(self.plan.tick_ms.unwrap_or(250));
            self.next_tick = Instant::now() + every;
            self.log("tick");
        }
    }

    fn progress(&mut self, waiting_s: Option<i64>) {
        let percent = self.index as f64 * 100.0 / self.end as f64;
        let now = Shown {
            at: Instant::now(),
            packets: self.packets,
            index: self.index,
        };
        let last = std::mem::replace(&mut self.shown, now);
        let elapsed_s = last.at.elapsed().as_secs_f64().max(1e-3);
        let kpps = (self.packets - last.packets) as f64 / elapsed_s / 1000.0;
        let rest = match waiting_s {
            Some(seconds) => format!(" waiting {seconds}-secs"),
            None => self.remaining(),
        };
        let found = self.found;
        print_error(&format!(
            "rate:{kpps:6.2}-kpps, {percent:5.2}% done,{rest}, found={found}       \r"
        ));
    }

    fn remaining(&self) -> String {
        let steps = self.end.saturating_sub(self.index) / u64::from(self.arguments.shard.count);
        let left_s = steps / self.arguments.rate;
        let (hours, minutes, seconds) = (left_s / 3600, left_s / 60 % 60, left_s % 60);
        format!("{hours:4}:{minutes:02}:{seconds:02} remaining")
    }

    fn crash_when_due(&self) {
        let after = self.plan.crash_after_s.map(Duration::from_secs_f64);
        if after.is_none_or(|after| self.began.elapsed() < after) {
            return;
        }
        if let Some(signal) = self.plan.crash_signal {
            // Twice, because Rust's runtime handles the first SIGSEGV: it finds no stack overflow and restores the default action.
            for _ in 0..2 {
                signal_hook::low_level::raise(signal).expect("crash_signal is a signal");
            }
        }
        std::process::exit(1);
    }

    /// Whether there was a SIGINT since the last call.
    fn take_interrupt(&self) -> bool {
        let taken = self.interrupted.swap(false, Ordering::Relaxed) && !self.plan.ignore_sigint;
        if taken {
            print_error("waiting several seconds to exit...\n");
        }
        taken
    }

    /// Leaves `paused.conf` in the working folder.
    fn save(&self) {
        let arguments = &self.arguments;
        let text = format!(
            "\n# resume information\nresume-index = {}\nseed = {}\nrate = {}\nshard = {}\nports = {}\nrange = {}\n",
            self.shown.index,
            arguments.seed,
            arguments.rate,
            arguments.shard,
            arguments.ports,
            arguments.range,
        );
        print_error("saving resume file to: paused.conf\n");
        std::fs::write("paused.conf", text).expect("the working folder can be written to");
    }

    fn print(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    /// Writes to standard output and flushes it. Exits if the reader has closed it.
    fn write(&mut self, bytes: &[u8]) {
        let written = self.stdout.write_all(bytes);
        if written.and_then(|()| self.stdout.flush()).is_err() {
            std::process::exit(1);
        }
    }

    fn log(&mut self, event: &str) {
        let Some(log) = &mut self.log else { return };
        let mut line = serde_json::to_vec(&Event {
            event,
            pid: std::process::id(),
            parent: self.parent,
            at_ms: since_1970().as_millis(),
            range: &self.arguments.range,
            ports: &self.arguments.ports,
            rate: self.arguments.rate,
            seed: self.arguments.seed,
            resume_index: self.arguments.resume_index,
            index: self.index,
            found: self.found,
        })
        .expect("an event is made of texts and numbers");
        line.push(b'\n');
        log.write_all(&line).expect("the log can be written to");
    }
}

/// Writes to standard error. An error, because the reader has closed it, is ignored.
fn print_error(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
}

/// Whether the port is open. It is the same in every run, whatever the seed.
fn answers(address: IpAddr, port: u16, every: u64) -> bool {
    let bits = match address {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (bits >> 64) as u64 ^ bits as u64
        }
    };
    every <= 1 || scramble(scramble(bits) ^ u64::from(port)).is_multiple_of(every)
}

/// All pairs of an address and a port, numbered from 0: the addresses with the first port, then with the next one.
#[derive(Debug)]
struct Space {
    addresses: u64,
    ports: u64,
    /// The number of addresses before each range, and its first address.
    address_ranges: Vec<(u64, IpAddr)>,
    /// The number of ports before each range, and the range.
    port_ranges: Vec<(u64, PortRange)>,
}

impl Space {
    fn new(targets: &Targets, ports: &Ports) -> Space {
        let mut space = Space {
            addresses: 0,
            ports: 0,
            address_ranges: Vec::new(),
            port_ranges: Vec::new(),
        };
        for range in targets.ranges() {
            space.address_ranges.push((space.addresses, range.first()));
            space.addresses +=
                u64::try_from(range.count()).expect("a task has 2^56 probes at most");
        }
        for range in ports.ranges() {
            space.port_ranges.push((space.ports, *range));
            space.ports += u64::from(range.last - range.first) + 1;
        }
        space
    }

    fn len(&self) -> u64 {
        self.addresses * self.ports
    }

    fn element(&self, number: u64) -> (IpAddr, Proto, u16) {
        let (which, port) = (number % self.addresses, number / self.addresses);
        let (before, first) = range_of(&self.address_ranges, which);
        let address = match first {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + (which - before) as u32).into()),
            IpAddr::V6(first) => {
                IpAddr::V6((u128::from(first) + u128::from(which - before)).into())
            }
        };
        let (before, range) = range_of(&self.port_ranges, port);
        (address, range.proto, range.first + (port - before) as u16)
    }
}

/// The last range that has at most `number` elements before it.
fn range_of<T: Copy>(ranges: &[(u64, T)], number: u64) -> (u64, T) {
    ranges[ranges.partition_point(|(before, _)| *before <= number) - 1]
}

/// A permutation of 0..size that depends only on the seed.
///
/// Each round is a bijection on the next power of two: multiply by an odd number, add a number, xor with its own upper half. A result outside of
/// 0..size is permuted again until it is inside (cycle walking), so the whole is a bijection on 0..size.
#[derive(Debug)]
struct Permutation {
    size: u64,
    mask: u64,
    half: u32,
    keys: [u64; 3],
}

impl Permutation {
    fn new(size: u64, seed: u64) -> Permutation {
        let space = size.next_power_of_two();
        Permutation {
            size,
            mask: space - 1,
            half: (space.ilog2() / 2).max(1),
            keys: [1, 2, 3].map(|round| scramble(seed.wrapping_add(round))),
        }
    }

    /// The element at `place`, which must be less than the size.
    fn at(&self, place: u64) -> u64 {
        let mut at = place;
        loop {
            at = self.mixed(at);
            if at < self.size {
                return at;
            }
        }
    }

    fn mixed(&self, mut at: u64) -> u64 {
        for key in self.keys {
            at = at.wrapping_mul(key | 1).wrapping_add(key >> 32) & self.mask;
            at ^= at >> self.half;
        }
        at
    }
}

/// A hash of the number (splitmix64).
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SIZES: [u64; 5] = [1, 2, 7, 256, 1000];

    #[test]
    fn every_element_occurs_once() {
        for size in SIZES {
            for seed in 0..50 {
                let order = Permutation::new(size, seed);
                let seen: BTreeSet<u64> = (0..size).map(|place| order.at(place)).collect();
                assert_eq!(seen, (0..size).collect(), "size {size}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_resumed_run_finds_the_rest() {
        for size in SIZES {
            let first: BTreeSet<u64> = elements(size, 0, size / 3);
            let resumed = elements(size, size / 3, size);
            assert!(first.is_disjoint(&resumed));
            assert_eq!(&first | &resumed, (0..size).collect());
        }
    }

    fn elements(size: u64, from: u64, to: u64) -> BTreeSet<u64> {
        // A new permutation for each call, as in separate processes.
        let order = Permutation::new(size, 7);
        (from..to).map(|place| order.at(place)).collect()
    }

    #[test]
    fn seeds_differ() {
        let order = |seed| {
            let order = Permutation::new(1000, seed);
            (0..1000).map(|place| order.at(place)).collect::<Vec<_>>()
        };
        assert_ne!(order(1), order(2));
        assert_eq!(order(1), order(1));
    }

    #[test]
    fn every_pair_of_address_and_port_has_a_number() {
        let targets: Targets = "10.0.0.0/30,10.0.1.9,fd00::/127".parse().unwrap();
        let space = Space::new(&targets, &"80-82,U:53".parse().unwrap());
        assert_eq!(space.len(), 7 * 4);
        let pairs: BTreeSet<_> = (0..space.len())
            .map(|number| space.element(number))
            .collect();
        assert_eq!(pairs.len(), 7 * 4);
        assert!(pairs.contains(&("10.0.1.9".parse().unwrap(), Proto::Tcp, 82)));
        assert!(pairs.contains(&("fd00::1".parse().unwrap(), Proto::Udp, 53)));
    }

    #[test]
    fn one_in_answer_every_probes_is_answered() {
        let address = "172.16.0.1".parse().unwrap();
        let answering = (1..=10_000)
            .filter(|port| answers(address, *port, 10))
            .count();
        assert!((800..1200).contains(&answering), "{answering}");
        assert!((1..=100).all(|port| answers(address, port, 1)));
    }
}
