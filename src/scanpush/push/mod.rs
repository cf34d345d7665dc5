//! `scanpush -ip … -ports …`: makes tasks and puts them on Kafka. It needs Kafka only; nothing is sent unless
//! everything is valid, and an id is printed only for a task that Kafka has acknowledged.
//!
//! On stdout stands one line a task: on a terminal `ID  TARGET`, which a person wants to see; elsewhere the id alone,
//! so that `id=$(scanpush …)` and `scanpush … | xargs scanpush status` need no cutting; with `-json` the task's
//! record. All else goes to stderr.
//!
//! | file | what |
//! |---|---|
//! | `lists.rs` | reads files of targets, exclusions and records |
//! | `division.rs` | targets less exclusions → the addresses of each task |
//! | `size.rs` | addresses, probes and time of tasks |
//! | `dry_run.rs` | shows tasks in the place of sending them |
//! | `confirm.rs` | asks before a large push |
//! | `send.rs` | Kafka, and what became of each task |
//! | `rest.rs` | the file of those that Kafka didn't take |

mod confirm;
mod division;
mod dry_run;
mod lists;
mod rest;
mod send;
mod size;

use super::Command;
use super::options::{Connection, JSON};
use super::output::Output;
use super::screen::Place;
use super::watch::Watch;
use crate::exit::Failure;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::flags::{Flag, Reader, values};
use crate::model::target_file::TARGET_FILE_ENTRIES_MAX;
use crate::model::targets::AddressRange;
use crate::model::task::ATTEMPTS_MAX;
use crate::model::task::RETRIES_MAX;
use crate::model::task::TIMEOUT_MAX_S;
use crate::model::task::WAIT_MAX_S;
use crate::model::task::{BandWidth, Priority, Shard};
use crate::model::{Invalid, Ports, Targets, Task, TaskId};
use division::{Divided, Division, Part, divide};
use lists::{Problems, Source};
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

/// Most tasks of one push. Records of this many fit into well under 100 MiB.
const PUSH_TASKS_MAX: usize = 100_000;
/// A push of more tasks than this, a task for each target, is told of `-pack`.
const PACK_REMARKED_TASKS: usize = 1000;
/// Most tasks into which `-shards` divides the probes.
const SHARDS_MAX: u32 = 10_000;

const IP: Flag = Flag::optional(
    "--ip",
    "TARGETS",
    "addresses, CIDR blocks and a-b ranges, IPv4 or IPv6, comma-separated; each becomes a task of its own (this or -iL is required)",
);
const LIST: Flag = Flag::optional(
    "--iL",
    "FILE",
    "targets from a file (- is standard input): lines, commas or spaces between them, # begins a comment; each becomes a task of its own",
);
const EXCLUDE: Flag = Flag::optional(
    "--exclude",
    "LIST",
    "addresses, blocks and ranges to leave out, comma-separated; a target that contains them keeps the rest",
);
const EXCLUDE_FILE: Flag = Flag::optional(
    "--excludefile",
    "FILE",
    "exclusions from a file, in the form of -iL",
);
const PACK: Flag = Flag::optional(
    "--pack",
    "N",
    "put targets together into tasks of up to N addresses; a larger one stays whole",
);
const PORTS: Flag = Flag::required(
    "--ports",
    "PORTS",
    "TCP ports like 80,443,8000-8100; after U: they are UDP, after S: SCTP",
);
const BAND_WIDTH: Flag = Flag::with_default(
    "--bandwidth",
    "PPS",
    "1000",
    "packets per second of each task, like 800, 10k, 1.5m; with -shards or -parallel of all together",
);
const SHARDS: Flag = Flag::optional(
    "--shards",
    "N",
    "divide the probes among N tasks, in a random order over all targets, 1 to 10000",
);
const PARALLEL: Flag = Flag::optional(
    "--parallel",
    "M",
    "let at most M tasks of this push run at a time in the whole fleet, each with an M-th of -bandwidth (default with -shards: N)",
);
const PRIORITY: Flag = Flag::with_default("--priority", "N", "5", "0 to 9, higher ones first");
const RETRIES: Flag = Flag::with_default(
    "--retries",
    "N",
    "0",
    "probes after the first for each address and port, 0 to 16",
);
const WAIT: Flag = Flag::with_default(
    "--wait",
    "TIME",
    "10",
    "seconds that masscan waits for late answers, 0 to 600",
);
const ATTEMPTS: Flag = Flag::with_default(
    "--attempts",
    "N",
    "3",
    "times that a failing task is begun, 1 to 100",
);
const TIMEOUT: Flag = Flag::optional(
    "--timeout",
    "TIME",
    "an attempt that takes longer has failed: 90s, 30m, 2h, 1d, or seconds, at most 30d (default no limit)",
);
const ID: Flag = Flag::optional(
    "--id",
    "ID",
    "an id of your own for a single task; pushing an id again changes nothing (default a random one)",
);
const JOB: Flag = Flag::optional(
    "--job",
    "NAME",
    "the job that the tasks belong to (default a random one where there are several)",
);
const DRY_RUN: Flag = Flag::switch(
    "--dry-run",
    "show the tasks, their size and masscan's command line; send nothing",
);
const YES: Flag = Flag::switch(
    "--yes",
    "push more than 16777216 addresses without a question",
);
const REST: Flag = Flag::optional(
    "--rest",
    "FILE",
    "new file for the tasks that Kafka doesn't take (default scanpush-rest-RANDOM.ndjson)",
);
const RESUME: Flag = Flag::optional(
    "--resume-push",
    "FILE",
    "push the tasks of such a file, or of -dry-run -json, as they are (- is standard input)",
);
const WATCH: Flag = Flag::switch(
    "--watch",
    "then follow the tasks on stderr until all have ended, as scanpush watch does, with its exit codes",
);

/// Flags that say what the tasks are: a file of tasks says it itself.
const OF_TASKS: &[Flag] = &[
    IP,
    LIST,
    EXCLUDE,
    EXCLUDE_FILE,
    PACK,
    PORTS,
    BAND_WIDTH,
    SHARDS,
    PARALLEL,
    PRIORITY,
    RETRIES,
    WAIT,
    ATTEMPTS,
    TIMEOUT,
    ID,
    JOB,
];

pub(super) const COMMAND: Command = Command {
    name: "push",
    about: "puts scan tasks on Kafka for the servers (scand) to share, and prints their ids",
    usage: "[push] -ip TARGETS -ports PORTS [flags]",
    flags: &[
        IP,
        LIST,
        EXCLUDE,
        EXCLUDE_FILE,
        PACK,
        PORTS,
        BAND_WIDTH,
        SHARDS,
        PARALLEL,
        PRIORITY,
        RETRIES,
        WAIT,
        ATTEMPTS,
        TIMEOUT,
        ID,
        JOB,
        DRY_RUN,
        YES,
        REST,
        RESUME,
        WATCH,
        JSON,
        KAFKA,
        TOPIC,
        GROUP,
        REDIS,
    ],
    more: "\
A push needs Kafka only: -group and -redis are checked, and used with -watch.
Each task gets a line: its id and target on a terminal, the id alone in a pipe.
Targets that overlap are merged. Names are not resolved.
Exit code 0: all are acknowledged by Kafka; 1: some are not, or a large push was
not confirmed; 2: bad flags or files, nothing was sent. With -watch also 3: a
task failed; 4: one was cancelled; 130: Ctrl-C, which ends the watching only.

examples:
  scanpush -ip 172.16.0.0/24 -ports 443 -bandwidth 800
  scanpush -ip 10.0.0.1-10.0.0.99,fd00::/120 -ports 80,443,U:53 -priority 9
  id=$(scanpush -ip 10.1.0.0/16 -ports 22 -bandwidth 10k -timeout 2h)
  scanpush -iL targets.txt -excludefile never.txt -ports 443 -pack 4096
  scanpush -ip 10.0.0.0/8 -ports 443 -bandwidth 10k -shards 16 -parallel 4
  scanpush -ip 10.0.0.0/8 -exclude 10.9.0.0/16 -ports 443 -dry-run
",
    run,
};

/// A record whose lists have no more entries together than this can't be too long.
const LISTS_SHORT: usize = 100;

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    connection: Connection,
    json: bool,
    dry_run: bool,
    yes: bool,
    watch: bool,
    rest: Option<PathBuf>,
    asked: Asked,
}

/// Where the tasks come from.
#[derive(Debug)]
enum Asked {
    /// The flags.
    Scan(Box<Scan>),
    /// A file of records.
    Records(Source),
}

/// The tasks that the flags ask for; files are not read yet.
#[derive(Debug)]
struct Scan {
    targets: Vec<AddressRange>,
    list: Option<Source>,
    exclude: Vec<AddressRange>,
    exclude_file: Option<Source>,
    pack: Option<u32>,
    ports: Ports,
    band_width: BandWidth,
    shards: Option<u32>,
    parallel: Option<u32>,
    priority: Priority,
    retries: u32,
    wait_s: u32,
    attempts: u32,
    timeout_s: Option<u32>,
    id: Option<TaskId>,
    job: Option<TaskId>,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = resolve(reader)?;
    let tasks = match &options.asked {
        Asked::Scan(scan) => scan_tasks(scan, output)?,
        Asked::Records(source) => {
            let mut problems = Problems::default();
            let tasks = lists::tasks(&RESUME, source, &mut problems);
            problems.check(output)?;
            tasks
        }
    };
    if options.dry_run {
        return dry_run::show(&tasks, options.json, output);
    }
    confirm(&options, &tasks, output)?;
    let sending = send::Sending {
        connection: &options.connection,
        json: options.json,
        rest: options.rest.as_ref(),
        yes: options.yes,
    };
    sending.run(&tasks, output)?;
    output.remark(&sent(&tasks, &options.connection));
    if !options.watch {
        return Ok(());
    }
    let job = match tasks.len() {
        1 => None,
        _ => tasks.first().and_then(|task| task.job_id.clone()),
    };
    let ids = tasks.into_iter().map(|task| task.task_id);
    Watch::of(ids, job).follow(&options.connection, Place::Stderr, output)
}

/// What a person may want to know and do next.
fn sent(tasks: &[Task], Connection { kafka, topic, .. }: &Connection) -> String {
    let which = match tasks {
        [_] => "the task is".to_owned(),
        tasks => format!("{} tasks are", tasks.len()),
    };
    let look = match (tasks, tasks.first().and_then(|task| task.job_id.as_ref())) {
        ([task], _) => format!("scanpush status {}", task.task_id),
        (_, Some(job)) => format!("scanpush job {job}"),
        _ => "scanpush list".to_owned(),
    };
    format!("{which} in topic {topic} of Kafka at {kafka}; look with: {look}")
}

fn confirm(options: &Options, tasks: &[Task], output: &mut Output<'_>) -> Result<(), Failure> {
    let size = size::of_all(tasks);
    if options.yes || !confirm::is_needed(&size) {
        return Ok(());
    }
    let stdin = io::stdin();
    // A list from standard input leaves nothing to answer with.
    let person = stdin.is_terminal() && io::stderr().is_terminal() && !options.takes_stdin();
    let mut stdin = stdin.lock();
    let person = person.then_some(&mut stdin as &mut dyn BufRead);
    confirm::ask(&size, person, output)
}

impl Options {
    fn takes_stdin(&self) -> bool {
        match &self.asked {
            Asked::Records(source) => *source == Source::Stdin,
            Asked::Scan(scan) => {
                let mut lists = [&scan.list, &scan.exclude_file].into_iter().flatten();
                lists.any(|source| *source == Source::Stdin)
            }
        }
    }
}

/// Reads the files and makes the tasks. Says what became of overlapping and excluded targets.
fn scan_tasks(scan: &Scan, output: &mut Output<'_>) -> Result<Vec<Task>, Failure> {
    let mut problems = Problems::default();
    let listed = lists::targets(&LIST, scan.list.as_ref(), &mut problems);
    let not = lists::targets(&EXCLUDE_FILE, scan.exclude_file.as_ref(), &mut problems);
    problems.check(output)?;
    let targets = [scan.targets.as_slice(), &listed].concat();
    let exclude = Targets::from_ranges([scan.exclude.as_slice(), &not].concat());
    if targets.is_empty() {
        // Without a file there is a target: an empty -ip is an error by itself.
        let file = scan.list.as_ref().map_or(String::new(), Source::shown);
        return Err(Invalid::new(
            &file,
            "holds no target: give addresses, CIDR blocks or ranges",
        )
        .of(LIST.shown())
        .into());
    }
    let division = match (scan.shards, scan.pack) {
        (Some(_), _) => Division::Whole,
        (None, Some(addresses)) => Division::Packed(addresses.into()),
        (None, None) => Division::Each,
    };
    let divided = divide(&targets, &exclude, division);
    for line in told(&divided, targets.len()) {
        output.notice(&line);
    }
    let (tasks, shards) = (scan.tasks(divided.parts)?, scan.shards);
    if let Some(asked) = shards.filter(|&asked| (tasks.len() as u64) < u64::from(asked)) {
        output.notice(&format!(
            "{} {asked}: there are only {} probes, so these are {} tasks",
            SHARDS.shown(),
            tasks.len(),
            tasks.len()
        ));
    }
    if tasks.len() > PACK_REMARKED_TASKS && division == Division::Each {
        output.remark(&format!(
            "each target is a task of its own; {} would put small ones together",
            PACK.usage()
        ));
    }
    Ok(tasks)
}

/// What a division did that its user may not expect, a line each.
fn told(divided: &Divided, targets: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(into) = divided.merged_into {
        lines.push(format!(
            "{} of {targets} targets overlap others and are merged with them, the first into {into}",
            divided.merged
        ));
    }
    if let Some(first) = divided.dropped.first() {
        let others = match divided.dropped.len() - 1 {
            0 => " is".to_owned(),
            1 => " and 1 more target are".to_owned(),
            more => format!(" and {more} more targets are"),
        };
        lines.push(format!("{first}{others} left out: excluded as a whole"));
    }
    lines
}

impl Scan {
    /// The tasks for these parts of the targets.
    fn tasks(&self, parts: Vec<Part>) -> Result<Vec<Task>, Invalid> {
        if parts.is_empty() {
            return Err(Invalid::about("the exclusions leave no address to scan"));
        }
        let count = parts.iter().map(|part| self.tasks_of(part)).sum();
        self.check_count(count)?;
        let at_a_time = self.at_a_time(count);
        let random_job = || (count > 1 || at_a_time.is_some()).then(TaskId::random);
        let job_id = self.job.clone().or_else(random_job);
        let mut tasks = Vec::with_capacity(count);
        for part in parts {
            let shards = self.tasks_of(&part) as u32;
            let whole = Task {
                priority: self.priority,
                retries: self.retries,
                wait_s: self.wait_s,
                attempts: self.attempts,
                timeout_s: self.timeout_s,
                exclude: part.exclude,
                job_id: job_id.clone(),
                parallel: at_a_time,
                ..Task::new(
                    self.id.clone().unwrap_or_else(TaskId::random),
                    part.ip_range,
                    self.ports.clone(),
                    share(self.band_width, at_a_time.unwrap_or(1))?,
                )
            };
            self.check(&whole)?;
            match self.shards {
                None => tasks.push(whole),
                Some(_) => tasks.extend(shards_of(&whole, shards)),
            }
        }
        Ok(tasks)
    }

    fn check_count(&self, count: usize) -> Result<(), Invalid> {
        if count > PUSH_TASKS_MAX {
            return Err(Invalid::about(format!(
                "{count} tasks are more than {PUSH_TASKS_MAX}, the most of one push: {} puts targets together",
                PACK.usage()
            )));
        }
        match &self.id {
            Some(id) if count > 1 => {
                let many = format!(
                    "is one id, but this push has {count} tasks: push each target by itself, or give {}",
                    JOB.usage()
                );
                Err(Invalid::new(id.as_str(), many).of(ID.shown()))
            }
            _ => Ok(()),
        }
    }

    /// How many tasks a part becomes: as many shards as were asked for, but no more than it has probes, for the others would have
    /// none.
    fn tasks_of(&self, part: &Part) -> usize {
        let addresses = part.ip_range.without(&part.exclude).count();
        let probes = addresses.saturating_mul(self.ports.count().into());
        let most = usize::try_from(probes).unwrap_or(usize::MAX);
        most.min(self.shards.unwrap_or(1) as usize).max(1)
    }

    /// Tasks of the push that may run at a time, where that is limited.
    fn at_a_time(&self, tasks: usize) -> Option<u32> {
        let most = u32::try_from(tasks).unwrap_or(u32::MAX);
        let pps = u32::try_from(self.band_width.pps()).unwrap_or(u32::MAX);
        match (self.shards, self.parallel) {
            (None, None) => None,
            (_, Some(parallel)) => Some(parallel.min(most)),
            (Some(shards), None) => Some(shards.min(pps).min(most)),
        }
    }

    /// What scand would reject is refused here. The parts of `task` are valid by their types; what is left is what they are
    /// together, and the length of the record.
    fn check(&self, task: &Task) -> Result<(), Invalid> {
        let of_targets = if self.list.is_some() { LIST } else { IP };
        let targets = task.ip_range.to_string();
        task.check().map_err(|(field, error)| {
            let (flag, value) = match field {
                "ports" => (PORTS, task.ports.to_string()),
                "exclude" => (EXCLUDE, task.exclude.to_string()),
                _ => (of_targets, targets.clone()),
            };
            Invalid::new(&value, format!("stands for too much: {error}")).of(flag.shown())
        })?;
        let lists = [
            task.ip_range.ranges().len(),
            task.exclude.ranges().len(),
            task.ports.ranges().len(),
        ];
        if lists.iter().sum::<usize>() > LISTS_SHORT {
            let record = task.to_record();
            Task::from_record(record.as_bytes()).map_err(|rejected| {
                Invalid::new(&targets, rejected.reason).of(of_targets.shown())
            })?;
        }
        Ok(())
    }
}

/// The part of a bandwidth that is each one's where so many run at a time: never more than all together may have.
fn share(band_width: BandWidth, at_a_time: u32) -> Result<BandWidth, Invalid> {
    match BandWidth::try_from(band_width.pps() / u64::from(at_a_time)) {
        Ok(share) => Ok(share),
        Err(_) => {
            let wrong = format!(
                "tasks at a time can't share {} packets per second: give a larger {}",
                band_width.pps(),
                BAND_WIDTH.shown()
            );
            Err(Invalid::new(&at_a_time.to_string(), wrong).of(PARALLEL.shown()))
        }
    }
}

/// The tasks that share the probes of `whole`, which gives all of them its seed: without that they would not fit together.
fn shards_of(whole: &Task, count: u32) -> impl Iterator<Item = Task> {
    (1..=count).map(move |index| Task {
        task_id: match count {
            1 => whole.task_id.clone(),
            _ => TaskId::random(),
        },
        shard: Some(Shard { index, count }),
        ..whole.clone()
    })
}

fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    let asked = match reader.optional(&RESUME, Source::parse)? {
        Some(source) => {
            check_no_flags_of_tasks(&reader)?;
            Asked::Records(source)
        }
        None => Asked::Scan(Box::new(resolve_scan(&mut reader)?)),
    };
    let options = Options {
        asked,
        json: reader.switch(&JSON),
        dry_run: reader.switch(&DRY_RUN),
        yes: reader.switch(&YES),
        watch: reader.switch(&WATCH),
        rest: reader.optional(&REST, |path| Ok(path.into()))?,
        connection: Connection::read(&mut reader)?,
    };
    reader.finish()?;
    options.rest.as_deref().map_or(Ok(()), rest::check)?;
    if options.watch && options.dry_run {
        let wrong = format!("has nothing to watch beside {}", DRY_RUN.shown());
        return Err(Invalid::about(wrong).of(WATCH.shown()));
    }
    Ok(options)
}

fn check_no_flags_of_tasks(reader: &Reader) -> Result<(), Invalid> {
    match OF_TASKS.iter().find(|flag| reader.has(flag)) {
        None => Ok(()),
        Some(flag) => {
            let wrong = format!(
                "has no place beside {}, whose file says what the tasks are",
                RESUME.shown()
            );
            Err(Invalid::about(wrong).of(flag.shown()))
        }
    }
}

fn resolve_scan(reader: &mut Reader) -> Result<Scan, Invalid> {
    let targets = reader.optional(&IP, parse_list)?;
    let list = reader.optional(&LIST, Source::parse)?;
    let scan = Scan {
        exclude: reader.optional(&EXCLUDE, parse_list)?.unwrap_or_default(),
        exclude_file: reader.optional(&EXCLUDE_FILE, Source::parse)?,
        pack: reader.optional(&PACK, values::number(1, u32::MAX))?,
        // Before what else may be missing, so that errors come in the order of the help.
        targets: match (targets, &list) {
            (None, None) => {
                return Err(Invalid::about(format!(
                    "give {} or {} (scanpush -help)",
                    IP.usage(),
                    LIST.usage()
                )));
            }
            (targets, _) => targets.unwrap_or_default(),
        },
        list,
        ports: reader.value(&PORTS, str::parse)?,
        band_width: reader.value(&BAND_WIDTH, str::parse)?,
        shards: reader.optional(&SHARDS, values::number(1, SHARDS_MAX))?,
        parallel: reader.optional(&PARALLEL, values::number(1, SHARDS_MAX))?,
        priority: reader.value(&PRIORITY, parse_priority)?,
        retries: reader.value(&RETRIES, values::number(0, RETRIES_MAX))?,
        wait_s: reader.value(&WAIT, values::seconds(0, WAIT_MAX_S))?,
        attempts: reader.value(&ATTEMPTS, values::number(1, ATTEMPTS_MAX))?,
        timeout_s: reader.optional(&TIMEOUT, values::seconds(1, TIMEOUT_MAX_S))?,
        id: reader.optional(&ID, str::parse)?,
        job: reader.optional(&JOB, str::parse)?,
    };
    check_together(&scan)?;
    Ok(scan)
}

/// Flags that are right by themselves and not beside another one.
fn check_together(scan: &Scan) -> Result<(), Invalid> {
    let error = |flag: &Flag, value: String, wrong: String| {
        Err(Invalid::new(&value, wrong).of(flag.shown()))
    };
    match (scan.shards, scan.parallel, scan.pack) {
        (Some(shards), Some(parallel), _) if parallel > shards => error(
            &PARALLEL,
            parallel.to_string(),
            format!("is more than {} {shards}", SHARDS.shown()),
        ),
        (Some(_), _, Some(pack)) => error(
            &PACK,
            pack.to_string(),
            format!(
                "has no place beside {}, which divides all targets",
                SHARDS.shown()
            ),
        ),
        _ if scan.list == Some(Source::Stdin) && scan.exclude_file == scan.list => error(
            &EXCLUDE_FILE,
            "-".to_owned(),
            format!("is standard input, which {} reads", LIST.shown()),
        ),
        _ => Ok(()),
    }
}

/// The entries of a list on the command line.
fn parse_list(text: &str) -> Result<Vec<AddressRange>, Invalid> {
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    if entries.len() > TARGET_FILE_ENTRIES_MAX {
        return Err(Invalid::about(format!(
            "has more than {TARGET_FILE_ENTRIES_MAX} entries"
        )));
    }
    if entries.iter().any(|entry| entry.is_empty()) {
        let wrong =
            "has an empty entry: give addresses, CIDR blocks or ranges, a comma between each two";
        return Err(Invalid::new(text, wrong));
    }
    entries.into_iter().map(str::parse).collect()
}

fn parse_priority(text: &str) -> Result<Priority, Invalid> {
    values::number(0, 9)(text).and_then(|number| Priority::try_from(u64::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::scanpush::push::confirm::UNCONFIRMED_ADDRESSES_MAX;

    fn options(line: &[&str]) -> Result<Options, Invalid> {
        flags::read_line(line, COMMAND.flags, resolve)
    }

    /// The tasks of a command line, or its error; and what it said about them.
    fn made(line: &[&str]) -> (Result<Vec<Task>, String>, String) {
        let Options { asked, .. } = match options(line) {
            Ok(options) => options,
            Err(error) => return (Err(error.to_string()), String::new()),
        };
        let Asked::Scan(scan) = asked else {
            panic!("{line:?}");
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let tasks = scan_tasks(&scan, &mut Output::new(&mut out, &mut err, None, false));
        assert!(out.is_empty());
        let tasks = tasks.map_err(|failure| match failure {
            Failure::Usage(error) => error.to_string(),
            other => panic!("{other:?}"),
        });
        (tasks, String::from_utf8(err).unwrap())
    }

    fn tasks(line: &[&str]) -> Vec<Task> {
        made(line).0.unwrap()
    }

    /// The ranges of the tasks of `line` with `-ports 80`, and what was said.
    fn ranges(line: &[&str]) -> (Vec<String>, String) {
        let (tasks, said) = made(&[line, &["-ports", "80"]].concat());
        let range = |task: &Task| match task.exclude.is_empty() {
            true => task.ip_range.to_string(),
            false => format!("{}!{}", task.ip_range, task.exclude),
        };
        (tasks.unwrap().iter().map(range).collect(), said)
    }

    #[test]
    fn the_originals_command_line_is_one_task() {
        let line = ["-ip", "172.16.0.0/24", "-ports", "443", "-bandwidth", "800"];
        let (options, tasks) = (options(&line).unwrap(), tasks(&line));
        let [task] = tasks.as_slice() else {
            panic!("{tasks:?}");
        };
        let id = task.task_id.clone();
        let expected = Task::new(
            id,
            "172.16.0.0/24".parse().unwrap(),
            "443".parse().unwrap(),
            "800".parse().unwrap(),
        );
        assert_eq!(*task, expected, "the flags' defaults are the record's");
        assert_eq!(options.connection.topic.as_str(), "scan-tasks");
        assert_eq!(options.connection.kafka.to_string(), "localhost:9092");
        assert!(!options.json && !options.dry_run && !options.yes);
    }

    #[test]
    fn defaults_and_bounds_are_those_of_the_limits() {
        let tasks = tasks(&["-ip", "10.0.0.1", "-ports", "80"]);
        assert_eq!(tasks[0].band_width, BandWidth::default());
        for (flag, bounds) in [
            (RETRIES, format!("0 to {RETRIES_MAX}")),
            (WAIT, format!("0 to {WAIT_MAX_S}")),
            (ATTEMPTS, format!("1 to {ATTEMPTS_MAX}")),
            (SHARDS, format!("1 to {SHARDS_MAX}")),
            (YES, UNCONFIRMED_ADDRESSES_MAX.to_string()),
        ] {
            assert!(flag.help().contains(&bounds), "{}", flag.shown());
        }
    }

    #[test]
    fn each_entry_becomes_its_own_task_of_one_job() {
        let line = [
            "-ip=10.0.0.1, 10.0.0.0/30,10.0.0.5-10.0.0.9,fd00::/120",
            "-ports=80,U:53",
            "-bandwidth=1.5m",
            "-priority=9",
            "-retries=2",
            "-wait=5s",
            "-attempts=1",
            "-timeout=30m",
            "-json",
        ];
        let tasks = tasks(&line);
        let targets: Vec<String> = tasks.iter().map(|task| task.ip_range.to_string()).collect();
        assert_eq!(targets, ["10.0.0.0/30", "10.0.0.5-10.0.0.9", "fd00::/120"]);
        for task in &tasks {
            assert_eq!(task.ports.to_string(), "80,U:53");
            assert_eq!(
                (task.band_width.pps(), task.priority.get(), task.retries),
                (1_500_000, 9, 2)
            );
            assert_eq!(
                (task.wait_s, task.attempts, task.timeout_s),
                (5, 1, Some(1800))
            );
            assert!(task.job_id.is_some() && task.job_id == tasks[0].job_id);
            assert_eq!((task.shard, task.parallel), (None, None));
        }
        assert_ne!(tasks[0].task_id, tasks[1].task_id);
        assert!(options(&line).unwrap().json);
    }

    #[test]
    fn a_job_of_ones_own_names_even_a_single_task() {
        let own = tasks(&["-ip", "10.0.0.1", "-ports", "80", "-job", "night"]);
        assert_eq!(own[0].job_id.as_ref().unwrap().as_str(), "night");
    }

    #[test]
    fn an_id_of_ones_own_names_one_task() {
        let own = tasks(&["-ip", "10.0.0.1", "-ports", "80", "-id", "my-1"]);
        assert_eq!(own[0].task_id.as_str(), "my-1");
        let one = tasks(&["-ip=10.0.0.1", "-ports=80", "-id=my-1", "-shards=1"]);
        assert_eq!(one[0].task_id.as_str(), "my-1");
        for more in ["-ip=10.0.0.1,10.0.0.2", "-shards=2"] {
            let mut line = vec!["-ports=80", "-id=my-1", more];
            if more.starts_with("-shards") {
                line.push("-ip=10.0.0.0/31");
            }
            let error = made(&line).0.unwrap_err();
            assert!(
                error.starts_with("-id: \"my-1\" is one id, but this push has 2 tasks"),
                "{error}"
            );
        }
    }

    #[test]
    fn overlaps_and_exclusions_are_told() {
        let (left, said) = ranges(&["-ip=10.0.0.0/24,10.0.0.7,10.1.0.0/24", "-exclude=10.0.0.9"]);
        assert_eq!(left, ["10.0.0.0/24!10.0.0.9", "10.1.0.0/24"]);
        assert_eq!(
            said,
            "scanpush: 1 of 3 targets overlap others and are merged with them, the first into 10.0.0.0/24\n"
        );
        let (left, said) = ranges(&["-ip=10.0.0.1,10.0.0.2,10.0.0.9", "-exclude=10.0.0.0/30"]);
        assert_eq!(left, ["10.0.0.9"]);
        assert_eq!(
            said,
            "scanpush: 10.0.0.1 and 1 more target are left out: excluded as a whole\n"
        );
        let line = ["-ip=10.0.0.1", "-ports=80", "-exclude=10.0.0.0/8"];
        assert_eq!(
            made(&line).0.unwrap_err(),
            "the exclusions leave no address to scan"
        );
    }

    #[test]
    fn lists_come_from_files_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let targets = file("targets", "# ours\n10.0.0.9\n10.0.0.0/30 10.0.0.8\n");
        let never = file("never", "10.0.0.1 # the door\n");
        let (left, said) = ranges(&["-iL", &targets, "-excludefile", &never, "-ip=fd00::1"]);
        assert_eq!(
            left,
            ["fd00::1", "10.0.0.9", "10.0.0.0/30!10.0.0.1", "10.0.0.8"]
        );
        assert_eq!(said, "");
        let (left, _) = ranges(&["-iL", &targets, "-pack", "4"]);
        assert_eq!(left, ["10.0.0.0/30", "10.0.0.8/31"]);
        let empty = file("empty", "# none\n");
        let error = made(&["-iL", &empty, "-ports=80"]).0.unwrap_err();
        assert!(
            error.starts_with("-iL: \"") && error.contains("\" holds no target"),
            "{error}"
        );
        let bad = file("bad", "10.0.0.1\n10.0.0/8\n");
        let error = made(&["-ip=10.0.0.1", "-excludefile", &bad, "-ports=80"])
            .0
            .unwrap_err();
        assert!(
            error.contains("bad:2: \"10.0.0/8\" is not an address, a CIDR block or a range"),
            "{error}"
        );
        assert!(error.starts_with("-excludefile: "), "{error}");
    }

    #[test]
    fn shards_share_a_seed_a_job_and_the_bandwidth() {
        let line = [
            "-ip=10.0.0.0/24,10.0.5.0/24",
            "-ports=80",
            "-bandwidth=10k",
            "-shards=16",
        ];
        for (more, parallel, pps) in [
            ("-parallel=4", 4, 2500),
            ("-parallel=3", 3, 3333),
            ("-json", 16, 625),
        ] {
            let tasks = tasks(&[&line[..], &[more]].concat());
            assert_eq!(tasks.len(), 16);
            for (task, index) in tasks.iter().zip(1..) {
                assert_eq!(task.shard, Some(Shard { index, count: 16 }));
                assert_eq!(task.parallel, Some(parallel));
                assert_eq!(task.band_width.pps(), pps);
                assert!(u64::from(parallel) * pps <= 10_000);
                assert_eq!(task.ip_range.to_string(), "10.0.0.0/24,10.0.5.0/24");
                assert_eq!((task.seed, &task.job_id), (tasks[0].seed, &tasks[0].job_id));
                assert_eq!(
                    Task::from_record(task.to_record().as_bytes()).as_ref(),
                    Ok(task)
                );
            }
            let ids: std::collections::BTreeSet<_> =
                tasks.iter().map(|task| &task.task_id).collect();
            assert_eq!(ids.len(), 16);
        }
        // Fewer probes than shards: none is without any.
        let (small, said) = made(&["-ip=10.0.0.1,10.0.0.2", "-ports=80", "-shards=16"]);
        let small = small.unwrap();
        assert_eq!((small.len(), small[0].parallel), (2, Some(2)));
        assert_eq!(small[1].shard, Some(Shard { index: 2, count: 2 }));
        assert!(
            said.contains("-shards 16: there are only 2 probes"),
            "{said}"
        );
        // Fewer packets than shards: no more at a time than can have one each.
        let few = tasks(&["-ip=10.0.0.0/24", "-ports=80", "-bandwidth=2", "-shards=3"]);
        assert_eq!(
            (few.len(), few[0].parallel, few[0].band_width.pps()),
            (3, Some(2), 1)
        );
    }

    #[test]
    fn a_job_of_many_targets_has_a_limit_too() {
        let tasks = tasks(&[
            "-ip=10.0.0.0/24,10.0.5.0/24",
            "-ports=80",
            "-bandwidth=100",
            "-parallel=9",
        ]);
        assert_eq!(tasks.len(), 2);
        assert!(
            tasks
                .iter()
                .all(|task| task.parallel == Some(2) && task.band_width.pps() == 50)
        );
        assert!(
            tasks
                .iter()
                .all(|task| task.shard.is_none() && task.job_id.is_some())
        );
        assert_ne!(tasks[0].seed, tasks[1].seed);
    }

    #[test]
    fn a_file_of_tasks_says_itself_what_they_are() {
        let options = |line: &[&str]| options(line).map_err(|error| error.to_string());
        let resumed = options(&[
            "-resume-push",
            "rest",
            "-kafka=k:1",
            "-json",
            "-yes",
            "-dry-run",
        ]);
        assert!(
            matches!(resumed.unwrap().asked, Asked::Records(Source::File(path)) if path == *"rest")
        );
        assert!(options(&["-resume-push=-"]).unwrap().takes_stdin());
        for flag in [
            "-ip=10.0.0.1",
            "-iL=x",
            "-ports=80",
            "-bandwidth=1000",
            "-job=j",
            "-shards=2",
        ] {
            let error = options(&["-resume-push=rest", flag]).unwrap_err();
            let name = flag.split('=').next().unwrap();
            assert!(
                error.starts_with(&format!("{name}: has no place beside -resume-push")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_to_look_at_next_is_said() {
        let connection = options(&["-ip=10.0.0.1", "-ports=80"]).unwrap().connection;
        let mut one = tasks(&["-ip=10.0.0.1", "-ports=80", "-id=a"]);
        let place = "in topic scan-tasks of Kafka at localhost:9092; look with:";
        assert_eq!(
            sent(&one, &connection),
            format!("the task is {place} scanpush status a")
        );
        one.extend(one.clone());
        assert_eq!(
            sent(&one, &connection),
            format!("2 tasks are {place} scanpush list")
        );
        let two = tasks(&["-ip=10.0.0.1,10.0.0.2", "-ports=80", "-job=j"]);
        assert_eq!(
            sent(&two, &connection),
            format!("2 tasks are {place} scanpush job j")
        );
    }

    #[test]
    fn a_push_has_a_bound() {
        let many: Vec<String> = (0..=PUSH_TASKS_MAX)
            .map(|n| std::net::Ipv4Addr::from(n as u32 * 2).to_string())
            .collect();
        let list = many.join(",");
        let error = made(&["-ip", &list, "-ports=80"]).0.unwrap_err();
        assert!(
            error.starts_with("100001 tasks are more than 100000") && error.contains("-pack N"),
            "{error}"
        );
        assert_eq!(ranges(&["-ip", &list, "-pack=1000000"]).0.len(), 25);
    }

    #[test]
    fn a_bad_value_is_named_with_its_flag() {
        for (line, named) in [
            (
                &["-ports", "80"][..],
                "give -ip TARGETS or -iL FILE (scanpush -help)",
            ),
            (
                &["-ip", "10.0.0.1", "-exclude", "x", "-ports", "80"],
                "-exclude: \"x\" is not an address",
            ),
            (
                &["-iL", "/nowhere/targets", "-ports", "80"],
                "-iL: \"/nowhere/targets\" can't be read: No such file or directory",
            ),
            (
                &["-iL", "-", "-excludefile", "-", "-ports", "80"],
                "-excludefile: \"-\" is standard input, which -iL reads",
            ),
            (
                &["-ip", "10.0.0.1", "-pack", "0", "-ports", "80"],
                "-pack: \"0\" is not a number from 1",
            ),
            (
                &[
                    "-ip", "10.0.0.1", "-pack", "9", "-shards", "2", "-ports", "80",
                ],
                "-pack: \"9\" has no place beside -shards",
            ),
            (
                &[
                    "-ip",
                    "10.0.0.1",
                    "-shards",
                    "4",
                    "-parallel",
                    "5",
                    "-ports",
                    "80",
                ],
                "-parallel: \"5\" is more than -shards 4",
            ),
            (
                &[
                    "-ip",
                    "10.0.0.0/24",
                    "-shards",
                    "4",
                    "-parallel",
                    "4",
                    "-bandwidth",
                    "3",
                    "-ports",
                    "80",
                ],
                "-parallel: \"4\" tasks at a time can't share 3 packets per second",
            ),
            (
                &["-ip", "10.0.0.1", "-shards", "10001", "-ports", "80"],
                "-shards: \"10001\" is not a number from 1 to 10000",
            ),
            (
                &["-ip", "10.0.0.1", "-job", "a b", "-ports", "80"],
                "-job: \"a b\" is not an id",
            ),
            (
                &["-ip", "10.0.0.1", "-rest", "/tmp", "-ports", "80"],
                "-rest: \"/tmp\" exists already",
            ),
            (&["-ip", "10.0.0.1"], "-ports: is required"),
            (
                &["-ip", "10.0.0.1,", "-ports", "80"],
                "-ip: \"10.0.0.1,\" has an empty entry",
            ),
            (
                &["-ip", " ", "-ports", "80"],
                "-ip: \" \" has an empty entry",
            ),
            (
                &["-ip", "10.0.0.0/33", "-ports", "80"],
                "-ip: \"10.0.0.0/33\" is not",
            ),
            (&["-ip", "10.0.0.1,x", "-ports", "80"], "-ip: \"x\" is not"),
            (
                &["-ip", "::/0", "-ports", "80"],
                "-ip: \"::/0\" stands for too much: more than 2^56 probes (addresses",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "70000"],
                "-ports: \"70000\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-bandwidth", "0"],
                "-bandwidth: \"0\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-priority", "10"],
                "-priority: \"10\" is not a number from 0 to 9",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-priority=-1"],
                "-priority: \"-1\" is not a number",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-retries", "17"],
                "-retries: \"17\" is not a number from 0 to 16",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-wait", "11m"],
                "-wait: \"11m\" is not a time from 0 to 600",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-attempts", "0"],
                "-attempts: \"0\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-timeout", "0"],
                "-timeout: \"0\" is not",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-id", "a b"],
                "-id: \"a b\" is not an id",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-topic", "a/b"],
                "-topic: \"a/b\" is not a topic name",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-group", "{x}"],
                "-group: \"{x}\" is not a group name",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-redis", "x"],
                "-redis: ",
            ),
            (
                &["-ip", "10.0.0.1", "-ports", "80", "-kafka", "k:0"],
                "-kafka: \"k:0\"",
            ),
            (
                &["-ip", "10.0.0.1", "10.0.0.2", "-ports", "80"],
                "\"10.0.0.2\" belongs to no flag",
            ),
        ] {
            let error = made(line).0.unwrap_err();
            assert!(error.starts_with(named), "{line:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
