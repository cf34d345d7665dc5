//! A scan task: the record on `scan-tasks`, and the validated value that the rest of the program uses.
//!
//! The record has the original's four fields plus optional ones; unknown fields are ignored. Either all text of a record becomes typed values
//! here, or the record is rejected: no text of it is used anywhere else.
use super::found_by_pass::RETRIES_MAX;
use super::ports::Ports;
use super::record_fields::RecordFields;
use super::targets::Targets;
use super::text::{Invalid, fingerprint, one_line, without_byte_order_mark};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Longest task id, in bytes.
const TASK_ID_MAX_BYTES: usize = 128;
/// Largest task record, in bytes; a longer one is rejected without being parsed.
pub const TASK_RECORD_MAX_BYTES: usize = 256 * 1024;
/// Longest single word of masscan's argument vector, in bytes (Linux allows 128 KiB: MAX_ARG_STRLEN).
pub const ARGUMENT_MAX_BYTES: usize = 120 * 1024;
/// Most probes (addresses × ports) of one task. masscan's index has 64 bits.
pub const TASK_PROBES_MAX: u128 = 1 << 56;
/// Lowest seed. masscan replaces 0 with a random seed, and such a scan cannot be resumed.
pub(super) const SEED_MIN: u64 = 1;
/// Highest seed: 53 bits, so that JSON readers that use doubles do not change it.
pub(super) const SEED_MAX: u64 = (1 << 53) - 1;
/// Highest rate of a task, in packets per second.
const BAND_WIDTH_MAX_PPS: u64 = 100_000_000;
/// Default rate of a task, in packets per second.
pub const BAND_WIDTH_DEFAULT_PPS: u64 = 1000;
/// Default wait for late answers after the last probe, in seconds.
pub const WAIT_DEFAULT_S: u32 = 10;
/// Longest such wait, in seconds.
pub const WAIT_MAX_S: u32 = 600;
/// Default number of attempts.
const ATTEMPTS_DEFAULT: u32 = 3;
/// Maximum number of attempts of a task.
pub const ATTEMPTS_MAX: u32 = 100;
/// Highest limit for the number of a job's tasks that send at the same time.
const JOB_PARALLEL_MAX: u32 = 100_000;
/// Longest time-out of an attempt, in seconds (30 days).
pub const TIMEOUT_MAX_S: u32 = 30 * 24 * 3600;
/// Highest priority.
pub const PRIORITY_MAX: u8 = 9;
/// How often a task may be retried after its end.
pub const RETRY_MAX: u32 = 1000;

/// A task's id: 1 to 128 printable ASCII characters without spaces. scanpush generates nanoids; ids of other programs are kept unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TaskId(String);

impl TaskId {
    /// A new random id (nanoid, 21 characters). It never begins with a dash, because that would be a flag on a command line.
    pub fn random() -> TaskId {
        loop {
            let id = nanoid::nanoid!();
            if !id.starts_with('-') {
                return TaskId(id);
            }
        }
    }

    /// The id of a record without a valid one: its position in the topic.
    pub fn of_record(partition: i32, offset: i64) -> TaskId {
        TaskId(format!("record-{partition}-{offset}"))
    }

    /// Whether the id has the form of [`TaskId::of_record`].
    pub fn is_of_record(&self) -> bool {
        let place = self.0.strip_prefix("record-");
        let numbers = place.and_then(|place| place.split_once('-'));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        numbers.is_some_and(|(partition, offset)| is_number(partition) && is_number(offset))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<TaskId, Invalid> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > TASK_ID_MAX_BYTES || !printable {
            return Err(Invalid::new(
                text,
                format!(
                    "is not an id: 1 to {TASK_ID_MAX_BYTES} printable ASCII characters, no spaces"
                ),
            ));
        }
        Ok(TaskId(text.to_owned()))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 0 to 9, higher first; the default is 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Priority(u8);

impl Priority {
    /// The number, 0 to 9.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Priority {
        Priority(5)
    }
}

impl TryFrom<u64> for Priority {
    type Error = Invalid;

    fn try_from(number: u64) -> Result<Priority, Invalid> {
        bounded(number, 0, PRIORITY_MAX.into()).map(|number| Priority(number as u8))
    }
}

/// Packets per second, from 1 to [`BAND_WIDTH_MAX_PPS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BandWidth(u64);

impl BandWidth {
    /// Packets per second.
    pub fn pps(self) -> u64 {
        self.0
    }
}

impl Default for BandWidth {
    fn default() -> BandWidth {
        BandWidth(BAND_WIDTH_DEFAULT_PPS)
    }
}

impl TryFrom<u64> for BandWidth {
    type Error = Invalid;

    fn try_from(pps: u64) -> Result<BandWidth, Invalid> {
        bounded(pps, 1, BAND_WIDTH_MAX_PPS).map(BandWidth)
    }
}

impl FromStr for BandWidth {
    type Err = Invalid;

    /// Parses `800`, `10k`, `1.5m` (thousands and millions of packets per second).
    fn from_str(text: &str) -> Result<BandWidth, Invalid> {
        let wrong = || {
            Invalid::new(
                text,
                format!(
                    "is not a rate in packets per second from 1 to {BAND_WIDTH_MAX_PPS}, like 800, 10k or 1.5m"
                ),
            )
        };
        let (number, unit) = match text.to_ascii_lowercase().strip_suffix(['k', 'm']) {
            Some(number) if text.ends_with(['k', 'K']) => (number.to_owned(), 1e3),
            Some(number) => (number.to_owned(), 1e6),
            None => (text.to_owned(), 1.0),
        };
        let plain = !number.is_empty()
            && number.len() <= 20
            && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let fraction_without_unit = unit == 1.0 && number.contains('.');
        if !plain || fraction_without_unit {
            return Err(wrong());
        }
        let pps = number.parse::<f64>().map_err(|_| wrong())? * unit;
        if !(1.0..=BAND_WIDTH_MAX_PPS as f64).contains(&pps) {
            return Err(wrong());
        }
        Ok(BandWidth(pps.round() as u64))
    }
}

/// One part of a job whose probes are divided among several tasks: masscan's `--shard index/count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 to `count`.
    pub index: u32,
    /// Number of shards of the job.
    pub count: u32,
}

impl FromStr for Shard {
    type Err = Invalid;

    /// Parses `2/16`.
    fn from_str(text: &str) -> Result<Shard, Invalid> {
        let parts = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if index >= 1 && index <= count => Ok(Shard { index, count }),
            _ => Err(Invalid::new(text, "is not a shard like 2/16")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A validated scan task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Unique in the group.
    pub task_id: TaskId,
    /// What to scan; not empty.
    pub ip_range: Targets,
    /// The ports of each address.
    pub ports: Ports,
    /// The rate asked for, in packets per second.
    pub band_width: BandWidth,
    /// Higher is claimed first.
    pub priority: Priority,
    /// Passes after the first (`passes.rs`): each address and port is probed this many more times.
    pub retries: u32,
    /// Seconds that masscan waits for answers after the last probe of the last pass.
    pub wait_s: u32,
    /// Maximum duration of an attempt in seconds; none: no limit.
    pub timeout_s: Option<u32>,
    /// Attempts before the task fails.
    pub attempts: u32,
    /// Addresses to leave out of `ip_range`; often empty.
    pub exclude: Targets,
    /// masscan's `--seed` in the first pass: determines the probe order, the same in each attempt.
    pub seed: u64,
    /// This task's share of the probes.
    pub shard: Option<Shard>,
    /// The job that it belongs to.
    pub job_id: Option<TaskId>,
    /// How many tasks of the job may send at the same time in the whole group; none: no limit. Only with `job_id`.
    pub parallel: Option<u32>,
    /// How often an operator has started it again after its end. A record with the next higher value, and the same probes, starts a task again
    /// that failed, was cancelled or was refused, from its checkpoint.
    pub retry: u32,
}

/// A record that is not a valid task: the error, and the id if it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The record's own id, if it has a valid one.
    pub task_id: Option<TaskId>,
    /// One line: the field, its value, and what would be valid.
    pub reason: String,
}

impl Task {
    /// A task with its required parts and defaults for the rest.
    pub fn new(task_id: TaskId, ip_range: Targets, ports: Ports, band_width: BandWidth) -> Task {
        Task {
            seed: default_seed(&task_id),
            task_id,
            ip_range,
            ports,
            band_width,
            priority: Priority::default(),
            retries: 0,
            wait_s: WAIT_DEFAULT_S,
            timeout_s: None,
            attempts: ATTEMPTS_DEFAULT,
            exclude: Targets::default(),
            shard: None,
            job_id: None,
            parallel: None,
            retry: 0,
        }
    }

    /// Parses the value of a `scan-tasks` record. Rejects a record that is too long, is not a JSON object, lacks a field, or contains a value
    /// of a wrong type or out of bounds.
    pub fn from_record(value: &[u8]) -> Result<Task, Rejected> {
        let reject = |task_id: Option<TaskId>, reason: &dyn fmt::Display| Rejected {
            task_id,
            reason: one_line(&reason.to_string()),
        };
        if value.len() > TASK_RECORD_MAX_BYTES {
            // Without its size: of a long record only the first bytes are kept.
            let reason = format!(
                "the record has more than {TASK_RECORD_MAX_BYTES} bytes, the most that a task may have"
            );
            return Err(reject(None, &reason));
        }
        let text = without_byte_order_mark(value)
            .map_err(|error| reject(None, &format!("the record {error}")))?;
        let json: serde_json::Value = serde_json::from_slice(text)
            .map_err(|error| reject(None, &format!("the record is not JSON: {error}")))?;
        let Some(object) = json.as_object() else {
            return Err(reject(None, &"the record is not a task: not a JSON object"));
        };
        let fields = RecordFields::of(object);
        // Only an id that is valid by itself names the rejected task.
        let task_id = match fields.text("task_id") {
            Ok(Some(text)) => Some(
                text.parse::<TaskId>()
                    .map_err(|error| reject(None, &error.of("task_id")))?,
            ),
            _ => None,
        };
        Task::from_fields(&fields).map_err(|error| reject(task_id, &error))
    }

    /// The value of this task's record: JSON that [`Task::from_record`] reads back to the same task.
    pub fn to_record(&self) -> String {
        serde_json::to_string(&TaskRecord::from(self))
            .expect("strings and integers always serialise to JSON")
    }

    /// The targets less the exclusions.
    pub fn targets(&self) -> Targets {
        self.ip_range.without(&self.exclude)
    }

    /// Checks the rules that concern several fields: something is left to scan, and masscan can count and accept it. A task that was parsed from a
    /// record has passed this check. Errs with the name of the field and the error.
    pub fn check(&self) -> Result<(), (&'static str, Invalid)> {
        check_fields(self)
    }

    /// Addresses × ports of the whole task, less exclusions: the range of masscan's index, for a shard too.
    pub fn probes(&self) -> u128 {
        self.ip_range
            .without(&self.exclude)
            .count()
            .saturating_mul(u128::from(self.ports.count()))
    }
}

/// The record in JSON, as it is written.
#[derive(Serialize)]
struct TaskRecord {
    task_id: String,
    ip_range: String,
    ports: String,
    band_width: String,
    priority: u8,
    retries: u32,
    wait_s: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_s: Option<u32>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude: Option<String>,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u32>,
}

impl Task {
    /// Reads and validates the fields of a record. `band_width` is a string of digits, as in the original; a number is accepted too.
    fn from_fields(fields: &RecordFields<'_>) -> Result<Task, Invalid> {
        let task_id: TaskId = field("task_id", fields.required_text("task_id")?.parse())?;
        let optional = |name: &str, low: u32, high: u32| match fields.number(name)? {
            Some(value) => {
                field(name, bounded(value, low.into(), high.into())).map(|value| Some(value as u32))
            }
            None => Ok(None),
        };
        let task = Task {
            ip_range: field("ip_range", fields.required_text("ip_range")?.parse())?,
            ports: field("ports", fields.required_text("ports")?.parse())?,
            band_width: field(
                "band_width",
                fields.required_text_or_number("band_width")?.parse(),
            )?,
            priority: match fields.number("priority")? {
                Some(priority) => field("priority", priority.try_into())?,
                None => Priority::default(),
            },
            retries: optional("retries", 0, RETRIES_MAX)?.unwrap_or(0),
            wait_s: optional("wait_s", 0, WAIT_MAX_S)?.unwrap_or(WAIT_DEFAULT_S),
            timeout_s: optional("timeout_s", 1, TIMEOUT_MAX_S)?,
            attempts: optional("attempts", 1, ATTEMPTS_MAX)?.unwrap_or(ATTEMPTS_DEFAULT),
            exclude: match fields.text("exclude")? {
                None | Some("") => Targets::default(),
                Some(text) => field("exclude", text.parse())?,
            },
            seed: match fields.number("seed")? {
                Some(seed) => field("seed", bounded(seed, SEED_MIN, SEED_MAX))?,
                None => default_seed(&task_id),
            },
            shard: field("shard", fields.text("shard")?.map(str::parse).transpose())?,
            job_id: field("job_id", fields.text("job_id")?.map(str::parse).transpose())?,
            parallel: optional("parallel", 1, JOB_PARALLEL_MAX)?,
            retry: optional("retry", 0, RETRY_MAX)?.unwrap_or(0),
            task_id,
        };
        check_fields(&task).map_err(|(field, error)| error.of(field))?;
        Ok(task)
    }
}

impl From<&Task> for TaskRecord {
    fn from(task: &Task) -> TaskRecord {
        TaskRecord {
            task_id: task.task_id.to_string(),
            ip_range: task.ip_range.to_string(),
            ports: task.ports.to_string(),
            band_width: task.band_width.pps().to_string(),
            priority: task.priority.get(),
            retries: task.retries,
            wait_s: task.wait_s,
            timeout_s: task.timeout_s,
            attempts: task.attempts,
            exclude: (!task.exclude.is_empty()).then(|| task.exclude.to_string()),
            seed: task.seed,
            shard: task.shard.map(|shard| shard.to_string()),
            job_id: task.job_id.as_ref().map(|id| id.to_string()),
            parallel: task.parallel,
            retry: (task.retry > 0).then_some(task.retry),
        }
    }
}

fn check_fields(task: &Task) -> Result<(), (&'static str, Invalid)> {
    let wrong = |field: &'static str, wrong: &str| Err((field, Invalid::about(wrong)));
    let probes = task.probes();
    if probes == 0 {
        return wrong("exclude", "leaves no address of ip_range to scan");
    }
    if task.parallel.is_some() && task.job_id.is_none() {
        return wrong(
            "parallel",
            "limits the tasks of a job, but the task has no job_id",
        );
    }
    if probes > TASK_PROBES_MAX {
        // For all IPv6 addresses the number does not fit into 128 bits, so it is not shown.
        return wrong(
            "ip_range",
            "more than 2^56 probes (addresses × ports), the most that masscan counts: split the task",
        );
    }
    let translated = task.targets().intersection(&nat64());
    if !translated.is_empty() {
        let wrong = format!(
            "{translated} are IPv4 addresses behind a NAT64 gateway, to which IPv4 exclusions would not apply: give the IPv4 addresses"
        );
        return Err(("ip_range", Invalid::about(wrong)));
    }
    for (name, text) in [
        ("ip_range", task.ip_range.to_string()),
        ("ports", task.ports.to_string()),
        ("exclude", task.exclude.to_string()),
    ] {
        if text.len() > ARGUMENT_MAX_BYTES {
            let wrong = format!(
                "{} bytes are more than fit into one argument of masscan, at most {ARGUMENT_MAX_BYTES}: split the task",
                text.len()
            );
            return Err((name, Invalid::about(wrong)));
        }
    }
    Ok(())
}

/// The addresses that NAT64 gateways translate to IPv4 (RFC 6052, RFC 8215).
fn nat64() -> Targets {
    "64:ff9b::/96,64:ff9b:1::/48"
        .parse()
        .expect("two valid CIDR blocks")
}

fn field<T>(name: &str, value: Result<T, Invalid>) -> Result<T, Invalid> {
    value.map_err(|error| error.of(name))
}

fn bounded(number: u64, low: u64, high: u64) -> Result<u64, Invalid> {
    if (low..=high).contains(&number) {
        return Ok(number);
    }
    Err(Invalid::about(format!(
        "{number} is not a number from {low} to {high}"
    )))
}

/// The seed of a task without one: derived from its id, so that it is the same whenever the record is read again.
fn default_seed(task_id: &TaskId) -> u64 {
    (fingerprint(task_id.as_str()) & SEED_MAX).max(SEED_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::ERROR_TEXT_MAX_CHARS;
    use serde_json::json;

    fn four_fields() -> serde_json::Value {
        json!({"task_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff", "ip_range": "172.16.0.0/24", "ports": "443", "band_width": "800"})
    }

    fn with(field: &str, value: serde_json::Value) -> Result<Task, Rejected> {
        let mut record = four_fields();
        record[field] = value;
        Task::from_record(record.to_string().as_bytes())
    }

    #[test]
    fn four_fields_are_a_complete_task() {
        let task = Task::from_record(four_fields().to_string().as_bytes()).unwrap();
        assert_eq!(
            task.task_id.as_str(),
            "6f9619ff-8b86-d011-b42d-00c04fc964ff"
        );
        assert_eq!(task.ip_range.to_string(), "172.16.0.0/24");
        assert_eq!(task.band_width.pps(), 800);
        assert_eq!((task.priority.get(), task.retries, task.wait_s), (5, 0, 10));
        assert_eq!(task.probes(), 256);
        assert_eq!(Task::from_record(task.to_record().as_bytes()), Ok(task));
    }

    #[test]
    fn optional_fields_are_read_and_unknown_ones_are_ignored() {
        assert_eq!(
            with("colour", json!("red")).unwrap(),
            with("x", json!(1)).unwrap()
        );
        assert_eq!(
            with("band_width", json!(900)).unwrap().band_width.pps(),
            900
        );
        assert_eq!(with("priority", json!(9)).unwrap().priority.get(), 9);
        assert_eq!(
            with("shard", json!("2/3"))
                .unwrap()
                .shard
                .unwrap()
                .to_string(),
            "2/3"
        );
        assert_eq!(
            with("exclude", json!("172.16.0.0/25")).unwrap().probes(),
            128
        );
        assert_eq!(with("seed", json!(7)).unwrap().seed, 7);
        let mut record = four_fields();
        (record["job_id"], record["parallel"]) = (json!("j"), json!(4));
        let task = Task::from_record(record.to_string().as_bytes()).unwrap();
        assert_eq!(task.parallel, Some(4));
        assert_eq!(Task::from_record(task.to_record().as_bytes()), Ok(task));
        assert_eq!(
            with("seed", json!(null)).unwrap().seed,
            with("x", json!(1)).unwrap().seed
        );
    }

    #[test]
    fn a_bad_field_is_named_with_its_value() {
        for (field, value, named) in [
            ("task_id", json!(""), "task_id: \"\" is not an id"),
            ("task_id", json!("a b"), "task_id: \"a b\""),
            ("task_id", json!("x".repeat(129)), "task_id: \"xxx"),
            ("task_id", json!(7), "task_id: 7 is not a string"),
            (
                "ip_range",
                json!("10.0.0.0/33"),
                "ip_range: \"10.0.0.0/33\" is not",
            ),
            ("ip_range", json!("--banners"), "ip_range: \"--banners\""),
            (
                "ip_range",
                json!("10.0.0.1 ;reboot"),
                "ip_range: \"10.0.0.1 ;reboot\"",
            ),
            ("ip_range", json!("x".repeat(1 << 17)), "… (131072 bytes)"),
            ("ip_range", json!("::/0"), "ip_range: more than 2^56 probes"),
            (
                "ports",
                json!("-oX /etc/passwd"),
                "ports: \"-oX /etc/passwd\"",
            ),
            ("ports", json!("80\n443"), "ports: \"80\\n443\""),
            ("band_width", json!("0"), "band_width: \"0\" is not a rate"),
            ("band_width", json!("fast"), "band_width: \"fast\""),
            ("band_width", json!(0), "band_width: \"0\" is not"),
            (
                "band_width",
                json!(-1),
                "band_width: -1 is not a string of digits or a whole number",
            ),
            ("band_width", json!(true), "band_width: true is not"),
            ("ports", json!(443.5), "ports: 443.5 is not a string"),
            (
                "retries",
                json!("1"),
                "retries: the string \"1\" is not a whole number",
            ),
            (
                "priority",
                json!(10),
                "priority: 10 is not a number from 0 to 9",
            ),
            ("wait_s", json!(100_000), "wait_s: 100000"),
            ("attempts", json!(0), "attempts: 0"),
            ("timeout_s", json!(0), "timeout_s: 0"),
            ("shard", json!("4/3"), "shard: \"4/3\""),
            ("parallel", json!(0), "parallel: 0 is not a number from 1"),
            ("parallel", json!(4), "the task has no job_id"),
            ("seed", json!(0), "seed: 0 is not a number from 1"),
            (
                "exclude",
                json!("172.16.0.0/12"),
                "exclude: leaves no address",
            ),
        ] {
            let rejected = with(field, value.clone()).unwrap_err();
            let known = field != "task_id";
            assert!(
                rejected.reason.contains(named),
                "{field} {value}: {}",
                rejected.reason
            );
            assert_eq!(rejected.task_id.is_some(), known, "{field} {value}");
            assert!(rejected.reason.chars().count() <= ERROR_TEXT_MAX_CHARS);
        }
    }

    #[test]
    fn a_byte_order_mark_before_a_record_is_skipped() {
        let record = four_fields().to_string();
        let marked = [b"\xef\xbb\xbf", record.as_bytes()].concat();
        assert_eq!(
            Task::from_record(&marked),
            Task::from_record(record.as_bytes())
        );
    }

    #[test]
    fn what_is_no_task_at_all_is_rejected() {
        for (value, named) in [
            (&b"{"[..], "not JSON"),
            (b"", "not JSON"),
            (b"[]", "not a task"),
            (b"\"x\"", "not a task"),
            (b"\xff\xfe", "UTF-16"),
            (
                b"{\"task_id\":\"a\"}",
                "ip_range: missing, a string is required",
            ),
        ] {
            let rejected = Task::from_record(value).unwrap_err();
            assert!(rejected.reason.contains(named), "{}", rejected.reason);
        }
        let huge = vec![b' '; TASK_RECORD_MAX_BYTES + 1];
        let rejected = Task::from_record(&huge).unwrap_err();
        assert_eq!(
            rejected.reason,
            "the record has more than 262144 bytes, the most that a task may have"
        );
        let deep = "[".repeat(100_000);
        assert!(Task::from_record(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_random_id_cannot_be_mistaken_for_a_flag() {
        for _ in 0..1000 {
            let id = TaskId::random();
            assert!(
                id.as_str().len() == 21 && !id.as_str().starts_with('-'),
                "{id}"
            );
        }
    }

    #[test]
    fn rates_are_parsed() {
        for (text, pps) in [
            ("1", 1),
            ("800", 800),
            ("10k", 10_000),
            ("1.5m", 1_500_000),
            ("1.5K", 1500),
        ] {
            assert_eq!(text.parse::<BandWidth>().unwrap().pps(), pps, "{text}");
        }
        for text in [
            "",
            "0",
            "0.1",
            "k",
            "-5",
            "1e3",
            "10kk",
            "1.2.3k",
            "inf",
            "NaN",
            "999999999999",
            "１",
        ] {
            assert!(text.parse::<BandWidth>().is_err(), "{text}");
        }
    }
}
