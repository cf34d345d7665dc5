//! The command line of `scanpush push`, parsed and checked. Opens no file and no connection.

use super::flags::{
    ATTEMPTS, BAND_WIDTH, DRY_RUN, EXCLUDE, EXCLUDE_FILE, ID, IP, JOB, LIST, PACK, PARALLEL, PORTS,
    PRIORITY,
};
use super::flags::{REST, RESUME, RETRIES, SHARDS, TASK_FLAGS, TIMEOUT, WAIT, WATCH, YES};
use super::unacknowledged;
use crate::connection::Connection;
use crate::flags::{Flag, Reader, values};
use crate::model::found_by_pass::RETRIES_MAX;
use crate::model::target_file::TARGET_FILE_ENTRIES_MAX;
use crate::model::targets::AddressRange;
use crate::model::task::{ATTEMPTS_MAX, BandWidth, Priority, TIMEOUT_MAX_S, WAIT_MAX_S};
use crate::model::{Invalid, Ports, TaskId};
use crate::scanpush::input_source::InputSource;
use crate::scanpush::options::JSON;
use std::path::PathBuf;

/// Most tasks into which `-shards` divides the probes.
pub const SHARDS_MAX: u32 = 10_000;

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// Kafka, and Redis for `-watch`.
    pub connection: Connection,
    /// Print records instead of ids.
    pub json: bool,
    /// Show the tasks instead of sending them.
    pub dry_run: bool,
    /// A large push is confirmed already.
    pub yes: bool,
    /// Follow the tasks until they have ended.
    pub watch: bool,
    /// The file for unacknowledged tasks; `None` = one with a random name.
    pub unacknowledged_file: Option<PathBuf>,
    /// Where the tasks come from.
    pub source: TaskSource,
}

/// Where the tasks come from.
#[derive(Debug)]
pub enum TaskSource {
    /// Flags describe them.
    Flags(Box<ScanOptions>),
    /// A file contains their records.
    Records(InputSource),
}

/// The flags that describe tasks. The files that they name are not read yet.
#[derive(Debug)]
pub struct ScanOptions {
    /// `-ip`
    pub targets: Vec<AddressRange>,
    /// `-iL`
    pub list: Option<InputSource>,
    /// `-exclude`
    pub exclude: Vec<AddressRange>,
    /// `-excludefile`
    pub exclude_file: Option<InputSource>,
    /// `-pack`, in addresses
    pub pack: Option<u32>,
    /// `-ports`
    pub ports: Ports,
    /// `-bandwidth`, of all tasks that run at a time
    pub band_width: BandWidth,
    /// `-shards`
    pub shards: Option<u32>,
    /// `-parallel`
    pub parallel: Option<u32>,
    /// `-priority`
    pub priority: Priority,
    /// `-retries`
    pub retries: u32,
    /// `-wait`
    pub wait_s: u32,
    /// `-attempts`
    pub attempts: u32,
    /// `-timeout`
    pub timeout_s: Option<u32>,
    /// `-id`
    pub id: Option<TaskId>,
    /// `-job`
    pub job: Option<TaskId>,
    /// From which the ids of tasks and job are made that no flag names, so that the same push again has the same ids; none: random ids.
    pub id_base: Option<TaskId>,
}

impl Options {
    /// Whether a file of the command line is standard input.
    pub fn reads_stdin(&self) -> bool {
        match &self.source {
            TaskSource::Records(source) => *source == InputSource::Stdin,
            TaskSource::Flags(scan) => [&scan.list, &scan.exclude_file]
                .into_iter()
                .flatten()
                .any(|source| *source == InputSource::Stdin),
        }
    }
}

/// Reads and checks the whole command line.
pub fn read(mut reader: Reader) -> Result<Options, Invalid> {
    let source = match reader.optional(&RESUME, InputSource::parse)? {
        Some(source) => {
            refuse_task_flags(&reader)?;
            TaskSource::Records(source)
        }
        None => TaskSource::Flags(Box::new(read_scan(&mut reader)?)),
    };
    let options = Options {
        source,
        json: reader.switch(&JSON),
        dry_run: reader.switch(&DRY_RUN),
        yes: reader.switch(&YES),
        watch: reader.switch(&WATCH),
        unacknowledged_file: reader.optional(&REST, |path| Ok(path.into()))?,
        connection: Connection::read(&mut reader)?,
    };
    reader.finish()?;
    if let Some(path) = &options.unacknowledged_file {
        unacknowledged::check(path)?;
    }
    if options.watch && options.dry_run {
        let reason = format!("cannot be combined with {}", DRY_RUN.shown());
        return Err(Invalid::about(reason).of(WATCH.shown()));
    }
    Ok(options)
}

fn refuse_task_flags(reader: &Reader) -> Result<(), Invalid> {
    match TASK_FLAGS.iter().find(|flag| reader.has(flag)) {
        None => Ok(()),
        Some(flag) => {
            let reason = format!(
                "cannot be combined with {}, because the file describes the tasks",
                RESUME.shown()
            );
            Err(Invalid::about(reason).of(flag.shown()))
        }
    }
}

/// Reads and checks the flags that describe tasks.
pub fn read_scan(reader: &mut Reader) -> Result<ScanOptions, Invalid> {
    let targets = reader.optional(&IP, parse_list)?;
    let list = reader.optional(&LIST, InputSource::parse_or_pipe)?;
    let scan = ScanOptions {
        exclude: reader.optional(&EXCLUDE, parse_list)?.unwrap_or_default(),
        exclude_file: reader.optional(&EXCLUDE_FILE, InputSource::parse)?,
        pack: reader.optional(&PACK, values::number(1, u32::MAX))?,
        // Checked before the other required flags, so that errors come in the order of the help text.
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
        priority: reader.value(&PRIORITY, values::priority)?,
        retries: reader.value(&RETRIES, values::number(0, RETRIES_MAX))?,
        wait_s: reader.value(&WAIT, values::seconds(0, WAIT_MAX_S))?,
        attempts: reader.value(&ATTEMPTS, values::number(1, ATTEMPTS_MAX))?,
        timeout_s: reader.optional(&TIMEOUT, values::seconds(1, TIMEOUT_MAX_S))?,
        id: reader.optional(&ID, str::parse)?,
        job: reader.optional(&JOB, str::parse)?,
        id_base: None,
    };
    check_combinations(&scan)?;
    Ok(scan)
}

/// Flags that are valid on their own but not together.
fn check_combinations(scan: &ScanOptions) -> Result<(), Invalid> {
    let error = |flag: &Flag, value: String, reason: String| {
        Err(Invalid::new(&value, reason).of(flag.shown()))
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
                "cannot be combined with {}, which divides all targets",
                SHARDS.shown()
            ),
        ),
        _ if scan.list == Some(InputSource::Stdin) && scan.exclude_file == scan.list => error(
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
        let reason =
            "has an empty entry: give addresses, CIDR blocks or ranges, separated by commas";
        return Err(Invalid::new(text, reason));
    }
    entries.into_iter().map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::scanpush::push::flags::FLAGS;

    #[test]
    fn a_file_of_tasks_cannot_be_combined_with_flags_that_describe_tasks() {
        let options =
            |line: &[&str]| flags::read_line(line, FLAGS, read).map_err(|error| error.to_string());
        let resumed = options(&[
            "-resume-push",
            "rest",
            "-kafka=k:1",
            "-json",
            "-yes",
            "-dry-run",
        ]);
        assert!(
            matches!(resumed.unwrap().source, TaskSource::Records(InputSource::File(path)) if path == *"rest")
        );
        assert!(options(&["-resume-push=-"]).unwrap().reads_stdin());
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
                error.starts_with(&format!("{name}: cannot be combined with -resume-push")),
                "{error}"
            );
        }
    }
}
