//! From a checked command line to tasks: reads the files it names, splits the targets and makes the tasks. Sends nothing.

use super::flags::{
    BAND_WIDTH, EXCLUDE, EXCLUDE_FILE, ID, IP, JOB, LIST, PACK, PARALLEL, PORTS, RESUME, SHARDS,
};
use super::input_files::{self, InputErrors};
use super::options::{ScanOptions, TaskSource};
use super::split::{Grouping, SplitTargets, TaskTargets, split_targets};
use crate::exit::Failure;
use crate::model::targets::AddressRange;
use crate::model::task::{BandWidth, Shard};
use crate::model::text::counted;
use crate::model::{Invalid, Targets, Task, TaskId};
use crate::scanpush::input_source::InputSource;
use crate::scanpush::output::Output;

/// Most tasks of one push. The records of this many tasks take well under 100 MiB.
const PUSH_TASKS_MAX: usize = 100_000;
/// With more tasks than this, one for each target, a remark points out `-pack`.
const PACK_HINT_TASKS: usize = 1000;
/// If the lists of a task together have at most this many entries, its record cannot exceed the size limit.
const SHORT_LISTS_ENTRIES: usize = 100;

/// The tasks of a push.
pub fn tasks(source: &TaskSource, output: &mut Output<'_>) -> Result<Vec<Task>, Failure> {
    match source {
        TaskSource::Flags(scan) => scan.plan(output),
        TaskSource::Records(source) => {
            let mut errors = InputErrors::default();
            let tasks = input_files::read_tasks(&RESUME, source, &mut errors);
            errors.check(output)?;
            Ok(tasks)
        }
    }
}

impl ScanOptions {
    /// Reads the files and makes the tasks. Reports merged and excluded targets.
    pub fn plan(&self, output: &mut Output<'_>) -> Result<Vec<Task>, Failure> {
        let (targets, exclude) = self.read_lists(output)?;
        let grouping = match (self.shards, self.pack) {
            (Some(_), _) => Grouping::Minimal,
            (None, Some(addresses)) => Grouping::UpTo(addresses.into()),
            (None, None) => Grouping::PerTarget,
        };
        let split = split_targets(&targets, &exclude, grouping);
        for line in split_notices(&split, targets.len()) {
            output.notice(&line);
        }
        let tasks = self.make_tasks(split.tasks)?;
        let count = tasks.len();
        if let Some(shards) = self.shards.filter(|&shards| (count as u64) < shards.into()) {
            output.notice(&format!(
                "{} {shards}: there are only {count} probes, so the push has {count} tasks",
                SHARDS.shown()
            ));
        }
        if count > PACK_HINT_TASKS && grouping == Grouping::PerTarget {
            output.remark(&format!(
                "each target is a separate task; {} combines small ones",
                PACK.usage()
            ));
        }
        Ok(tasks)
    }

    /// All targets and all exclusions, from flags and files.
    fn read_lists(&self, output: &mut Output<'_>) -> Result<(Vec<AddressRange>, Targets), Failure> {
        let mut errors = InputErrors::default();
        let listed = input_files::read_ranges(&LIST, self.list.as_ref(), &mut errors);
        let excluded =
            input_files::read_ranges(&EXCLUDE_FILE, self.exclude_file.as_ref(), &mut errors);
        errors.check(output)?;
        let targets = [self.targets.as_slice(), &listed].concat();
        if targets.is_empty() {
            // The flag -ip is never empty, so the file must be.
            let file = self.list.as_ref().map_or(String::new(), InputSource::shown);
            let reason = "contains no target: give addresses, CIDR blocks or ranges";
            return Err(Invalid::new(&file, reason).of(LIST.shown()).into());
        }
        let exclude = Targets::from_ranges([self.exclude.as_slice(), &excluded].concat());
        Ok((targets, exclude))
    }

    fn make_tasks(&self, all_targets: Vec<TaskTargets>) -> Result<Vec<Task>, Invalid> {
        if all_targets.is_empty() {
            return Err(Invalid::about("the exclusions leave no address to scan"));
        }
        let count = all_targets
            .iter()
            .map(|targets| self.shard_count(targets))
            .sum();
        self.check_count(count)?;
        let parallel = self.parallel_tasks(count);
        let new_job = || self.id_base.clone().unwrap_or_else(TaskId::random);
        let random_job = || (count > 1 || parallel.is_some()).then(new_job);
        let job_id = self.job.clone().or_else(random_job);
        let mut number = 0;
        let mut new_id = || -> Result<TaskId, Invalid> {
            number += 1;
            match (&self.id, &self.id_base) {
                (Some(id), _) => Ok(id.clone()),
                (None, None) => Ok(TaskId::random()),
                (None, Some(base)) if count == 1 => Ok(base.clone()),
                (None, Some(base)) => format!("{base}-{number}").parse(),
            }
        };
        let band_width = bandwidth_share(self.band_width, parallel.unwrap_or(1))?;
        let mut tasks = Vec::with_capacity(count);
        for targets in all_targets {
            let shards = self.shard_count(&targets) as u32;
            let task = Task {
                priority: self.priority,
                retries: self.retries,
                wait_s: self.wait_s,
                attempts: self.attempts,
                timeout_s: self.timeout_s,
                exclude: targets.exclude,
                job_id: job_id.clone(),
                parallel,
                ..Task::new(new_id()?, targets.ip_range, self.ports.clone(), band_width)
            };
            self.check(&task)?;
            match self.shards {
                None => tasks.push(task),
                Some(_) => {
                    for shard in shards_of(&task, shards) {
                        let task_id = match shards {
                            1 => shard.task_id.clone(),
                            _ => new_id()?,
                        };
                        tasks.push(Task { task_id, ..shard });
                    }
                }
            }
        }
        Ok(tasks)
    }

    fn check_count(&self, count: usize) -> Result<(), Invalid> {
        if count > PUSH_TASKS_MAX {
            return Err(Invalid::about(format!(
                "{count} tasks exceed the limit of {PUSH_TASKS_MAX} for one push: {} combines targets",
                PACK.usage()
            )));
        }
        match &self.id {
            Some(id) if count > 1 => {
                let reason = format!(
                    "is one id, but this push has {count} tasks: push each target separately, or give {}",
                    JOB.usage()
                );
                Err(Invalid::new(id.as_str(), reason).of(ID.shown()))
            }
            _ => Ok(()),
        }
    }

    /// Tasks among which the probes of `targets` are divided: at most one for each probe, so that no shard is empty.
    fn shard_count(&self, targets: &TaskTargets) -> usize {
        let addresses = targets.ip_range.without(&targets.exclude).count();
        let probes = addresses.saturating_mul(self.ports.count().into());
        let probes = usize::try_from(probes).unwrap_or(usize::MAX);
        probes.min(self.shards.unwrap_or(1) as usize).max(1)
    }

    /// How many tasks of the push may run at a time; `None` if that is not limited.
    fn parallel_tasks(&self, count: usize) -> Option<u32> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let pps = u32::try_from(self.band_width.pps()).unwrap_or(u32::MAX);
        match (self.shards, self.parallel) {
            (None, None) => None,
            (_, Some(parallel)) => Some(parallel.min(count)),
            // Each running task needs at least 1 packet per second.
            (Some(shards), None) => Some(shards.min(pps).min(count)),
        }
    }

    /// Refuses what scand would reject. Each field of `task` is valid on its own; what can still be wrong is the number of
    /// probes and the length of the record.
    fn check(&self, task: &Task) -> Result<(), Invalid> {
        let targets_flag = if self.list.is_some() { LIST } else { IP };
        let targets = task.ip_range.to_string();
        task.check().map_err(|(field, error)| {
            let (flag, value) = match field {
                "ports" => (PORTS, task.ports.to_string()),
                "exclude" => (EXCLUDE, task.exclude.to_string()),
                _ => (targets_flag, targets.clone()),
            };
            Invalid::new(&value, format!("is refused: {error}")).of(flag.shown())
        })?;
        let entries =
            task.ip_range.ranges().len() + task.exclude.ranges().len() + task.ports.ranges().len();
        if entries > SHORT_LISTS_ENTRIES {
            let record = task.to_record();
            Task::from_record(record.as_bytes()).map_err(|rejected| {
                Invalid::new(&targets, rejected.reason).of(targets_flag.shown())
            })?;
        }
        Ok(())
    }
}

/// What the user may not expect of a split, one line each. `target_count` is the number of targets before it.
fn split_notices(split: &SplitTargets, target_count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(range) = split.first_merged {
        lines.push(format!(
            "{} of {target_count} targets overlap others and are merged with them, the first into {range}",
            split.merged
        ));
    }
    if let Some(first) = split.excluded.first() {
        let others = match split.excluded.len() - 1 {
            0 => " is".to_owned(),
            1 => " and 1 more target are".to_owned(),
            count => format!(" and {count} more targets are"),
        };
        lines.push(format!("{first}{others} left out: excluded completely"));
    }
    lines
}

/// The bandwidth of each of `parallel` tasks, rounded down so that their sum never exceeds `band_width`.
fn bandwidth_share(band_width: BandWidth, parallel: u32) -> Result<BandWidth, Invalid> {
    BandWidth::try_from(band_width.pps() / u64::from(parallel)).map_err(|_| {
        let reason = format!(
            "tasks at a time can't share {}: give a larger {}",
            counted(band_width.pps(), "packet per second", "packets per second"),
            BAND_WIDTH.shown()
        );
        Invalid::new(&parallel.to_string(), reason).of(PARALLEL.shown())
    })
}

/// The tasks that share the probes of `task`, all with its id. They need the same seed: otherwise they would overlap and leave gaps.
fn shards_of(task: &Task, count: u32) -> impl Iterator<Item = Task> {
    (1..=count).map(move |index| Task {
        shard: Some(Shard { index, count }),
        ..task.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::model::found_by_pass::RETRIES_MAX;
    use crate::model::task::{ATTEMPTS_MAX, WAIT_MAX_S};
    use crate::scanpush::push::confirm::UNCONFIRMED_ADDRESSES_MAX;
    use crate::scanpush::push::flags::{ATTEMPTS, FLAGS, RETRIES, WAIT, YES};
    use crate::scanpush::push::options::{Options, SHARDS_MAX, read};

    fn options(line: &[&str]) -> Result<Options, Invalid> {
        flags::read_line(line, FLAGS, read)
    }

    /// The tasks of a command line or its error, and what was written to stderr.
    fn plan(line: &[&str]) -> (Result<Vec<Task>, String>, String) {
        let options = match options(line) {
            Ok(options) => options,
            Err(error) => return (Err(error.to_string()), String::new()),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, false);
        let tasks = super::tasks(&options.source, &mut output);
        assert!(out.is_empty());
        let tasks = tasks.map_err(|failure| match failure {
            Failure::Usage(error) => error.to_string(),
            other => panic!("{other:?}"),
        });
        (tasks, String::from_utf8(err).unwrap())
    }

    fn tasks(line: &[&str]) -> Vec<Task> {
        plan(line).0.unwrap()
    }

    /// The ranges of the tasks of `line` with `-ports 80`, and what was written to stderr.
    fn ranges(line: &[&str]) -> (Vec<String>, String) {
        let (tasks, stderr) = plan(&[line, &["-ports", "80"]].concat());
        let range = |task: &Task| match task.exclude.is_empty() {
            true => task.ip_range.to_string(),
            false => format!("{}!{}", task.ip_range, task.exclude),
        };
        (tasks.unwrap().iter().map(range).collect(), stderr)
    }

    #[test]
    fn a_single_network_is_one_task_with_the_defaults_of_a_record() {
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
    fn help_texts_state_the_bounds_that_are_checked() {
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
    fn the_same_base_gives_the_same_tasks() {
        let made = |line: &[&str]| {
            let line = [line, &["-ports", "80"]].concat();
            let TaskSource::Flags(scan) = options(&line).unwrap().source else {
                panic!("not flags");
            };
            let scan = ScanOptions {
                id_base: Some("base".parse().unwrap()),
                ..*scan
            };
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            scan.plan(&mut output).unwrap()
        };
        for (line, ids, job) in [
            (&["-ip=10.0.0.1"][..], &["base"][..], None),
            (&["-ip=10.0.0.1", "-id=a"], &["a"], None),
            (
                &["-ip=10.0.0.1,10.0.0.2"],
                &["base-1", "base-2"],
                Some("base"),
            ),
            (
                &["-ip=10.0.0.0/30", "-shards=2", "-job=j"],
                &["base-2", "base-3"],
                Some("j"),
            ),
        ] {
            let tasks = made(line);
            let task_ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
            assert_eq!(task_ids, ids, "{line:?}");
            for task in &tasks {
                assert_eq!(task.job_id.as_ref().map(TaskId::as_str), job);
            }
            assert_eq!(tasks, made(line));
        }
    }

    #[test]
    fn each_entry_becomes_a_task_of_one_job() {
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
    fn a_job_name_is_set_even_for_a_single_task() {
        let own = tasks(&["-ip", "10.0.0.1", "-ports", "80", "-job", "night"]);
        assert_eq!(own[0].job_id.as_ref().unwrap().as_str(), "night");
    }

    #[test]
    fn an_id_is_accepted_for_a_single_task_only() {
        let own = tasks(&["-ip", "10.0.0.1", "-ports", "80", "-id", "my-1"]);
        assert_eq!(own[0].task_id.as_str(), "my-1");
        let one = tasks(&["-ip=10.0.0.1", "-ports=80", "-id=my-1", "-shards=1"]);
        assert_eq!(one[0].task_id.as_str(), "my-1");
        for more in ["-ip=10.0.0.1,10.0.0.2", "-shards=2"] {
            let mut line = vec!["-ports=80", "-id=my-1", more];
            if more.starts_with("-shards") {
                line.push("-ip=10.0.0.0/31");
            }
            let error = plan(&line).0.unwrap_err();
            assert!(
                error.starts_with("-id: \"my-1\" is one id, but this push has 2 tasks"),
                "{error}"
            );
        }
    }

    #[test]
    fn overlaps_and_exclusions_are_reported() {
        let (left, stderr) = ranges(&["-ip=10.0.0.0/24,10.0.0.7,10.1.0.0/24", "-exclude=10.0.0.9"]);
        assert_eq!(left, ["10.0.0.0/24!10.0.0.9", "10.1.0.0/24"]);
        assert_eq!(
            stderr,
            "scanpush: 1 of 3 targets overlap others and are merged with them, the first into 10.0.0.0/24\n"
        );
        let (left, stderr) = ranges(&["-ip=10.0.0.1,10.0.0.2,10.0.0.9", "-exclude=10.0.0.0/30"]);
        assert_eq!(left, ["10.0.0.9"]);
        assert_eq!(
            stderr,
            "scanpush: 10.0.0.1 and 1 more target are left out: excluded completely\n"
        );
        let line = ["-ip=10.0.0.1", "-ports=80", "-exclude=10.0.0.0/8"];
        assert_eq!(
            plan(&line).0.unwrap_err(),
            "the exclusions leave no address to scan"
        );
    }

    #[test]
    fn targets_and_exclusions_are_read_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let targets = file("targets", "# ours\n10.0.0.9\n10.0.0.0/30 10.0.0.8\n");
        let never = file("never", "10.0.0.1 # gateway\n");
        let (left, stderr) = ranges(&["-iL", &targets, "-excludefile", &never, "-ip=fd00::1"]);
        assert_eq!(
            left,
            ["fd00::1", "10.0.0.9", "10.0.0.0/30!10.0.0.1", "10.0.0.8"]
        );
        assert_eq!(stderr, "");
        let (left, _) = ranges(&["-iL", &targets, "-pack", "4"]);
        assert_eq!(left, ["10.0.0.0/30", "10.0.0.8/31"]);
        let empty = file("empty", "# empty\n");
        let error = plan(&["-iL", &empty, "-ports=80"]).0.unwrap_err();
        assert!(
            error.starts_with("-iL: \"") && error.contains("\" contains no target"),
            "{error}"
        );
        let bad = file("bad", "10.0.0.1\n10.0.0/8\n");
        let error = plan(&["-ip=10.0.0.1", "-excludefile", &bad, "-ports=80"])
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
        // Fewer probes than shards: no shard is empty.
        let (small, stderr) = plan(&["-ip=10.0.0.1,10.0.0.2", "-ports=80", "-shards=16"]);
        let small = small.unwrap();
        assert_eq!((small.len(), small[0].parallel), (2, Some(2)));
        assert_eq!(small[1].shard, Some(Shard { index: 2, count: 2 }));
        assert!(
            stderr.contains("-shards 16: there are only 2 probes"),
            "{stderr}"
        );
        // Less bandwidth than shards: each running task needs 1 packet per second.
        let few = tasks(&["-ip=10.0.0.0/24", "-ports=80", "-bandwidth=2", "-shards=3"]);
        assert_eq!(
            (few.len(), few[0].parallel, few[0].band_width.pps()),
            (3, Some(2), 1)
        );
    }

    #[test]
    fn parallel_limits_a_push_without_shards() {
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
    fn the_number_of_tasks_is_limited() {
        let many: Vec<String> = (0..=PUSH_TASKS_MAX)
            .map(|n| std::net::Ipv4Addr::from(n as u32 * 2).to_string())
            .collect();
        let list = many.join(",");
        let error = plan(&["-ip", &list, "-ports=80"]).0.unwrap_err();
        assert!(
            error.starts_with("100001 tasks exceed the limit of 100000")
                && error.contains("-pack N"),
            "{error}"
        );
        assert_eq!(ranges(&["-ip", &list, "-pack=1000000"]).0.len(), 25);
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_flag() {
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
                "-pack: \"9\" cannot be combined with -shards",
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
                "-ip: \"::/0\" is refused: more than 2^56 probes (addresses",
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
                "-wait: \"11m\" is not a duration from 0 to 600",
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
                "\"10.0.0.2\" is an unexpected argument",
            ),
        ] {
            let error = plan(line).0.unwrap_err();
            assert!(error.starts_with(named), "{line:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
