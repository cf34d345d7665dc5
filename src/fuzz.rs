//! A fuzzer for everything that parses input from outside, and its targets in `model`. Each room with private parsers has its own targets in
//! `fuzzed.rs`.
//!
//! An input is a sample that was changed: bits, bytes, words of a dictionary, parts removed, repeated, or taken from another sample. Coverage
//! does not guide it: cargo-fuzz needs a nightly compiler, and other tools a program of their own that a fresh machine does not have. Instead, an
//! input with a new outcome (accepted, or another error) becomes a sample.
//!
//! Each target runs for [`SECONDS`] or `SCAN_FUZZ_SECONDS`. A failure prints the seed and the number of the input; `SCAN_FUZZ_SEED` repeats it.

use crate::model::finding::{FindingWriter, task_of_record};
use crate::model::{
    FindingRecord, GroupName, Moment, Ports, Retention, ServerName, StatusRecord, Tags, Targets,
    Task, TaskId, TopicName, target_file,
};
use fastrand::Rng;
use std::collections::HashSet;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long each target runs.
const SECONDS: u64 = 4;
/// Longest input in bytes: longer than a record may be.
const INPUT_MAX_BYTES: usize = 300 << 10;
/// How much time of a processor one input of any length may take, also without optimisation. What takes longer grows faster than its input.
const INPUT_MAX: Duration = Duration::from_secs(5);
/// Longest error text in bytes. It has at most 300 characters, or quotes 60, each with an escape of up to 10.
const ERROR_MAX_BYTES: usize = 1200;
/// Samples that are kept, besides those of the target.
const SAMPLES_MAX: usize = 500;

/// Words that are tried in every target.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "00",
    "+1",
    "1e309",
    "0.5",
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "\\n",
    "\u{202e}",
    "\u{200b}",
    "\u{1f4a3}",
    "\u{feff}",
    "\0",
    "\x1b[2J",
    "\n",
    "\r",
    "\t",
    " ",
    ",",
    ":",
    "-",
    "/",
    "=",
    "\"",
    "\\",
    "'",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":",
    "::ffff:1.2.3.4",
    "0.0.0.0/0",
    "::/0",
    "fe80::1%eth0",
];

/// Runs one target. `check` returns what became of an input, such as `accepted` or the text of the error, and panics if a property does not hold.
pub fn fuzz(target: &str, samples: &[&[u8]], words: &[&str], check: impl Fn(&[u8]) -> String) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = variable("SCAN_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = variable("SCAN_FUZZ_SECONDS").unwrap_or(SECONDS);
    println!("{target}: SCAN_FUZZ_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut samples: Vec<Vec<u8>> = samples.iter().map(|sample| sample.to_vec()).collect();
    let (own, mut outcomes) = (samples.len(), HashSet::new());
    // Inputs that were accepted: half of all inputs are made from these, because a change of an invalid one is seldom valid.
    let mut valid = samples.clone();
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut count, mut accepted) = (0u64, 0u64);
    while Instant::now() < until {
        let input = match samples.get(count as usize) {
            // First the samples as they are.
            Some(sample) if count < own as u64 => sample.clone(),
            _ if random.bool() => changed(&valid, words, &mut random),
            _ => changed(&samples, words, &mut random),
        };
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input)));
        let mut took = began.elapsed();
        // Other tests run at the same time.
        if took > INPUT_MAX && outcome.is_ok() {
            let before = processor_time();
            check(&input);
            took = processor_time().saturating_sub(before);
        }
        let outcome = match outcome {
            Ok(outcome) if took <= INPUT_MAX => outcome,
            failed => {
                let start = &input[..input.len().min(2000)];
                eprintln!(
                    "{target}: SCAN_FUZZ_SEED={seed}, input {count} of {} bytes, {took:?}: \"{}\"",
                    input.len(),
                    start.escape_ascii()
                );
                match failed {
                    Ok(_) => panic!("{target}: an input took {took:?}"),
                    Err(panic) => resume_unwind(panic),
                }
            }
        };
        if outcome == ACCEPTED {
            accepted += 1;
            if valid.len() < SAMPLES_MAX {
                valid.push(input.clone());
            } else {
                let at = random.usize(own..valid.len());
                valid[at].clone_from(&input);
            }
        }
        count += 1;
        let kind: String = outcome
            .chars()
            .filter(|c| c.is_alphabetic())
            .take(80)
            .collect();
        if outcomes.len() < SAMPLES_MAX && outcomes.insert(kind) {
            samples.push(input);
        }
    }
    println!(
        "{target}: {count} inputs, {accepted} accepted, {} outcomes",
        outcomes.len()
    );
    assert!(accepted > 0, "{target}: no sample is accepted");
}

/// The processor's time that this thread has used, by Linux.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// What became of a valid input.
pub const ACCEPTED: &str = "accepted";

/// A sample with one to six changes, most often one or two.
fn changed(samples: &[Vec<u8>], words: &[&str], random: &mut Rng) -> Vec<u8> {
    let mut input = samples[random.usize(..samples.len())].clone();
    for _ in 0..random
        .usize(1..=6)
        .min(random.usize(1..=6))
        .min(random.usize(1..=6))
    {
        let from = random.usize(..=input.len());
        let to = (from + random.usize(..=16)).min(input.len());
        match random.u32(..10) {
            0 if from < input.len() => input[from] ^= 1 << random.u32(..8),
            1 if from < input.len() => input[from] = random.u8(..),
            2 => drop(input.drain(from..to)),
            3 => input.truncate(from),
            4 => {
                let part = input[from..to].to_vec();
                input.splice(to..to, part.repeat(random.usize(1..=8)));
            }
            5 if random.u32(..50) == 0 => {
                let part = input[from..to].to_vec();
                let times = INPUT_MAX_BYTES / part.len().max(1);
                input.splice(to..to, part.repeat(random.usize(..=times)));
            }
            6 => {
                let other = &samples[random.usize(..samples.len())];
                let begin = random.usize(..=other.len());
                let end = (begin + random.usize(..=64)).min(other.len());
                input.splice(from..to, other[begin..end].iter().copied());
            }
            _ => {
                let all = words.len() + WORDS.len();
                let at = random.usize(..all);
                let word = words.get(at).unwrap_or_else(|| &WORDS[at - words.len()]);
                let end = if random.bool() { from } else { to };
                input.splice(from..end, word.bytes());
            }
        }
    }
    input.truncate(INPUT_MAX_BYTES);
    input
}

/// Requires that an error is one printable line of bounded length. Returns it.
pub fn one_bounded_line(error: &impl Display) -> String {
    let text = error.to_string();
    assert!(
        text.len() <= ERROR_MAX_BYTES,
        "{} bytes: {text}",
        text.len()
    );
    assert!(
        !text.is_empty() && !text.contains(char::is_control),
        "{text:?}"
    );
    text
}

/// Parses text as a `T`; one that is accepted is displayed so that it parses to the same. Returns what became of it.
pub fn parsed<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) -> String {
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            let is_same = shown.parse::<T>().is_ok_and(|again| again == value);
            assert!(is_same, "{text:?} is displayed as {shown:?}");
            ACCEPTED.to_owned()
        }
        Err(error) => one_bounded_line(&error),
    }
}

/// As [`fuzz`], for a parser of text: other bytes are not given to it.
pub fn fuzz_text(target: &str, samples: &[&[u8]], words: &[&str], check: impl Fn(&str) -> String) {
    fuzz(target, samples, words, |input| {
        str::from_utf8(input).map_or_else(|_| "no text".to_owned(), &check)
    });
}

const TASK: &[u8] = concat!(
    r#"{"task_id":"9vusRNi00ZBybs_jq9Mtt","ip_range":"172.16.0.0/24,2001:db8::/120","ports":"80,443,U:53,S:9","band_width":"1000","#,
    r#""priority":7,"retries":1,"wait_s":3,"timeout_s":60,"attempts":2,"exclude":"172.16.0.4-172.16.0.9","seed":7,"shard":"2/16","#,
    r#""job_id":"j","parallel":3,"retry":1,"resume_pass":1,"resume_index":12,"resume_for":"1:0123456789abcdef"}"#
)
.as_bytes();
const FOUR_FIELDS: &[u8] =
    br#"{"task_id":"a","ip_range":"10.0.0.0/8","ports":"1-65535","band_width":100}"#;

#[test]
fn any_task_record_is_a_task_or_one_bounded_line() {
    let words = [
        "task_id",
        "ip_range",
        "ports",
        "band_width",
        "resume_for",
        "resume_index",
        "exclude",
        "shard",
        "U:",
        "S:",
    ];
    fuzz(
        "task record",
        &[TASK, FOUR_FIELDS],
        &words,
        |input| match Task::from_record(input) {
            Ok(task) => {
                let record = task.to_record();
                assert_eq!(Task::from_record(record.as_bytes()), Ok(task), "{record}");
                ACCEPTED.to_owned()
            }
            Err(rejected) => one_bounded_line(&rejected.reason),
        },
    );
}

const STATUS: &[u8] = concat!(
    r#"{"task_id":"9vusRNi00ZBybs_jq9Mtt","status":"completed","server":"a","attempt":1,"fence":1795333296000000,"partition":0,"#,
    r#""offset":4,"found":226,"found_by_pass":[226,3],"error":"why","resume_pass":1,"resume_index":44,"#,
    r#""resume_for":"1:0123456789abcdef","begun_ms":1795333290000,"server_exclude":"10.0.0.0/8","results_end":[7,8],"#,
    r#""at_ms":1795333296123}"#
)
.as_bytes();

#[test]
fn any_state_change_is_read_back_or_refused() {
    let words = [
        "status",
        "queued",
        "running",
        "paused",
        "results_end",
        "fence",
        "resume_found_by_pass",
        "lost",
        "retry",
    ];
    let short: &[u8] = br#"{"task_id":"t","status":"queued","server":"s","attempt":1,"partition":0,"offset":0,"found":0,"at_ms":5000}"#;
    fuzz("state change", &[STATUS, short], &words, |input| {
        match serde_json::from_slice::<StatusRecord>(input) {
            Ok(record) => {
                let written = serde_json::to_vec(&record).unwrap();
                let again: StatusRecord = serde_json::from_slice(&written).unwrap();
                assert_eq!(again, record, "{}", written.escape_ascii());
                ACCEPTED.to_owned()
            }
            // Callers do not show this error.
            Err(error) => error.to_string(),
        }
    });
}

const FINDING: &[u8] = concat!(
    r#"{"task_id":"a","ip":"192.0.2.1","port":80,"proto":"tcp","status":"open","reason":"syn-ack","ttl":64,"#,
    r#""timestamp":1795531265,"server":"s","attempt":2,"pass":3}"#
)
.as_bytes();

#[test]
fn any_finding_is_written_as_it_is_read_or_is_one_bounded_line() {
    let words = [
        "udp",
        "sctp",
        "icmp",
        "closed",
        "2001:db8::1",
        "reason",
        "pass",
    ];
    fuzz("finding", &[FINDING], &words, |input| {
        let id = task_of_record(input);
        match FindingRecord::from_record(input) {
            Ok(found) => {
                assert_eq!(id.as_deref(), Some(&*found.task_id));
                let Ok(task_id) = found.task_id.parse::<TaskId>() else {
                    return "another id".to_owned();
                };
                let mut written = Vec::new();
                FindingWriter::new(&task_id, &found.server, found.attempt, found.pass)
                    .write(&found.finding, &mut written);
                let again = FindingRecord::from_record(&written);
                assert_eq!(again.as_ref(), Ok(&found), "{}", written.escape_ascii());
                ACCEPTED.to_owned()
            }
            Err(error) => one_bounded_line(&error),
        }
    });
}

#[test]
fn any_list_of_targets_or_ports_and_any_name_parses_back_or_is_one_bounded_line() {
    let samples: [&[u8]; 10] = [
        b"172.16.0.0/24,10.0.0.1-10.0.0.9,2001:db8::/64",
        b"80,443,8000-8100,U:53,161,S:9",
        b"scanners",
        b"30d",
        b"2026-11-30T10:00:00Z",
        b"24h",
        b"scan-tasks",
        b"9vusRNi00ZBybs_jq9Mtt",
        b"::1",
        b"T:1,U:2",
    ];
    fuzz_text(
        "lists and names",
        &samples,
        &["U:", "S:", "T:", "-", "/24", "2001:db8::", "d", "w", "Z"],
        |text| {
            let outcomes = [
                parsed::<Targets>(text),
                parsed::<Ports>(text),
                parsed::<TaskId>(text),
                parsed::<GroupName>(text),
                parsed::<TopicName>(text),
                parsed::<ServerName>(text),
                parsed::<Retention>(text),
                match text.parse::<Moment>() {
                    Ok(_) => ACCEPTED.to_owned(),
                    Err(error) => one_bounded_line(&error),
                },
            ];
            match outcomes.iter().any(|outcome| outcome == ACCEPTED) {
                true => ACCEPTED.to_owned(),
                false => outcomes.concat(),
            }
        },
    );
}

#[test]
fn any_file_of_targets_or_tags_is_read_or_has_bounded_lines() {
    let samples: [&[u8]; 3] = [
        b"# targets\n10.0.0.0/8, 192.0.2.1\r\n10.0.0.1 - 10.0.0.9 ; x\n2001:db8::/32\n",
        b"office 10.0.0.0/8 192.0.2.0/24 # site\nlab 2001:db8::/32\n",
        b"10.0.0.1\r10.0.0.2",
    ];
    fuzz_text(
        "files",
        &samples,
        &["#", ";", "//", " - ", "\u{a0}"],
        |text| {
            let of_bad = |bad: Vec<crate::model::BadLine>| {
                assert!(!bad.is_empty() && bad.len() <= target_file::BAD_LINES_MAX);
                bad.iter().map(one_bounded_line).next().unwrap_or_default()
            };
            if let Err(bad) = Tags::parse(text) {
                of_bad(bad);
            }
            match target_file::parse(text) {
                Ok(ranges) => {
                    let shown: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                    assert_eq!(target_file::parse(&shown.join("\n")).as_ref(), Ok(&ranges));
                    ACCEPTED.to_owned()
                }
                Err(bad) => of_bad(bad),
            }
        },
    );
}
