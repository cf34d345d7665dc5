//! The flags of `scanpush push` and the end of its help text.

use crate::flags::Flag;
use crate::scanpush::options::JSON;

/// `-ip`
pub const IP: Flag = Flag::optional(
    "--ip",
    "TARGETS",
    "addresses, CIDR blocks and a-b ranges, IPv4 or IPv6, comma-separated; each becomes a separate task (this or -iL is required)",
);
/// `-iL`
pub const LIST: Flag = Flag::optional(
    "--iL",
    "FILE",
    "targets from a file (- is standard input): separated by lines, commas or spaces, # starts a comment; each becomes a separate task",
);
/// `-exclude`
pub const EXCLUDE: Flag = Flag::optional(
    "--exclude",
    "LIST",
    "addresses, blocks and ranges to leave out, comma-separated; a target that contains them keeps the rest",
);
/// `-excludefile`
pub const EXCLUDE_FILE: Flag = Flag::optional(
    "--excludefile",
    "FILE",
    "exclusions from a file, in the format of -iL",
);
/// `-pack`
pub const PACK: Flag = Flag::optional(
    "--pack",
    "N",
    "combine targets into tasks of up to N addresses; a larger target is not split",
);
/// `-ports`
pub const PORTS: Flag = Flag::required(
    "--ports",
    "PORTS",
    "TCP ports like 80,443,8000-8100; after U: they are UDP, after S: SCTP",
);
/// `-bandwidth`
pub const BAND_WIDTH: Flag = Flag::with_default(
    "--bandwidth",
    "PPS",
    "1000",
    "packets per second of each task, like 800, 10k, 1.5m; with -shards or -parallel of all tasks together",
);
/// `-shards`
pub const SHARDS: Flag = Flag::optional(
    "--shards",
    "N",
    "divide the probes among N tasks, in a random order over all targets, 1 to 10000",
);
/// `-parallel`
pub const PARALLEL: Flag = Flag::optional(
    "--parallel",
    "M",
    "run at most M tasks of this push at a time in the whole fleet, each with 1/M of -bandwidth (default with -shards: N)",
);
/// `-priority`
pub const PRIORITY: Flag = Flag::with_default(
    "--priority",
    "N",
    "5",
    "0 to 9, higher priorities run first",
);
/// `-retries`
pub const RETRIES: Flag = Flag::with_default(
    "--retries",
    "N",
    "0",
    "passes after the first, 0 to 16: each address and port is probed N more times",
);
/// `-wait`
pub const WAIT: Flag = Flag::with_default(
    "--wait",
    "TIME",
    "10",
    "seconds that masscan waits for late answers, 0 to 600",
);
/// `-attempts`
pub const ATTEMPTS: Flag = Flag::with_default(
    "--attempts",
    "N",
    "3",
    "most attempts at a task that fails, 1 to 100",
);
/// `-timeout`
pub const TIMEOUT: Flag = Flag::optional(
    "--timeout",
    "TIME",
    "time limit of an attempt, after which it fails: 90s, 30m, 2h, 1d, or seconds, at most 30d (default no limit)",
);
/// `-id`
pub const ID: Flag = Flag::optional(
    "--id",
    "ID",
    "the id of a single task; pushing the same id again has no effect (default a random one)",
);
/// `-job`
pub const JOB: Flag = Flag::optional(
    "--job",
    "NAME",
    "the job that the tasks belong to (default a random one if there are several tasks)",
);
/// `-dry-run`
pub const DRY_RUN: Flag = Flag::switch(
    "--dry-run",
    "show the tasks, their size and masscan's command line; send nothing",
);
/// `-yes`
pub const YES: Flag = Flag::switch(
    "--yes",
    "push more than 16777216 addresses without confirmation",
);
/// `-rest`
pub const REST: Flag = Flag::optional(
    "--rest",
    "FILE",
    "new file for tasks that Kafka does not acknowledge (default scanpush-rest-RANDOM.ndjson)",
);
/// `-resume-push`
pub const RESUME: Flag = Flag::optional(
    "--resume-push",
    "FILE",
    "push the tasks in a -rest file or in the output of -dry-run -json, unchanged (- is standard input)",
);
/// `-watch`
pub const WATCH: Flag = Flag::switch(
    "--watch",
    "after the push, follow the tasks on stderr like scanpush watch, with its exit codes",
);

/// Flags that describe tasks. With [`RESUME`] the file describes them, so that these cannot be combined with it.
pub const TASK_FLAGS: &[Flag] = &[
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

/// All flags, in the order of the help text.
pub const FLAGS: &[Flag] = &[
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
];

/// The end of the help text.
pub const MORE_HELP: &str = "\
A push needs Kafka only: -group and -redis are checked, and used with -watch.
One line for each task: id and target on a terminal, only the id in a pipe.
Overlapping targets are merged. Host names are not resolved.
Exit code 0: Kafka has acknowledged all tasks; 1: some not, or a large push was
not confirmed; 2: invalid flags or files, nothing was sent. With -watch also 3:
a task failed; 4: one was cancelled; 130: Ctrl-C (the scans continue).

examples:
  scanpush -ip 172.16.0.0/24 -ports 443 -bandwidth 800
  scanpush -ip 10.0.0.1-10.0.0.99,fd00::/120 -ports 80,443,U:53 -priority 9
  id=$(scanpush -ip 10.1.0.0/16 -ports 22 -bandwidth 10k -timeout 2h)
  scanpush -iL targets.txt -excludefile never.txt -ports 443 -pack 4096
  scanpush -ip 10.0.0.0/8 -ports 443 -bandwidth 10k -shards 16 -parallel 4
  scanpush -ip 10.0.0.0/8 -exclude 10.9.0.0/16 -ports 443 -dry-run
";
