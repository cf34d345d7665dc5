//! Every bound of the system, each a named constant with its unit. No logic here.
//!
//! A bound that a flag can change has its default here too.

use std::time::Duration;

/// Longest task id that is taken from a record, in bytes.
pub const TASK_ID_MAX_BYTES: usize = 128;
/// Largest task record that is parsed, in bytes; a longer one is rejected unread.
pub const TASK_RECORD_MAX_BYTES: usize = 256 * 1024;
/// Most target ranges in one task. An argument vector of the kernel holds them with room to spare.
pub const TASK_TARGETS_MAX: usize = 4096;
/// Most port ranges in one task.
pub const TASK_PORTS_MAX: usize = 4096;
/// Longest single word of masscan's argument vector, in bytes (Linux allows 128 KiB: MAX_ARG_STRLEN).
pub const ARGUMENT_MAX_BYTES: usize = 120 * 1024;
/// Most addresses that masscan scans without an exclusion; it wants more to be confirmed by one.
pub const MASSCAN_UNCONFIRMED_ADDRESSES_MAX: u128 = 1_000_000_000;
/// Most probes (addresses × ports) of one task: masscan's index is 64 bits, 2^56 leaves room for retries.
pub const TASK_PROBES_MAX: u128 = 1 << 56;
/// Lowest seed: masscan takes 0 for "another one each time", and then nothing can be continued.
pub const SEED_MIN: u64 = 1;
/// Highest seed: 53 bits, so that JSON readers that take numbers for doubles keep it.
pub const SEED_MAX: u64 = (1 << 53) - 1;
/// Highest rate that a task may ask for, in packets per second.
pub const BAND_WIDTH_MAX_PPS: u64 = 100_000_000;
/// Rate of a task that doesn't ask for one, in packets per second.
pub const BAND_WIDTH_DEFAULT_PPS: u64 = 1000;
/// Most retries that masscan is asked for, in probes after the first.
pub const RETRIES_MAX: u32 = 16;
/// masscan's wait for late answers after the last probe, in seconds.
pub const WAIT_DEFAULT_S: u32 = 10;
/// Longest such wait that a task may ask for, in seconds.
pub const WAIT_MAX_S: u32 = 600;
/// Attempts that a task gets where it doesn't say.
pub const ATTEMPTS_DEFAULT: u32 = 3;
/// Most attempts that a task may ask for.
pub const ATTEMPTS_MAX: u32 = 100;
/// Most tasks of one job that a record may allow to send at a time.
pub const JOB_PARALLEL_MAX: u32 = 100_000;
/// Longest time-out of an attempt, in seconds (30 days).
pub const TIMEOUT_MAX_S: u32 = 30 * 24 * 3600;
/// Servers that a task may lose under it (lease expired) before it ends: it may be what kills them.
pub const LOST_SERVERS_MAX: u32 = 10;

/// Longest error text that is stored or shown, in characters.
pub const ERROR_TEXT_MAX_CHARS: usize = 300;
/// Longest piece of foreign text that a message quotes, in characters.
pub const QUOTED_TEXT_MAX_CHARS: usize = 60;
/// Longest line of masscan's output that is kept, in bytes; the rest of a longer line is dropped.
pub const MASSCAN_LINE_MAX_BYTES: usize = 4096;
/// Lines of masscan's own words (stderr) that are kept for an error message.
pub const MASSCAN_WORDS_MAX_LINES: usize = 8;

/// How long a claim lasts without renewal, by default.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(15);
/// Shortest lease that may be asked for.
pub const LEASE_MIN: Duration = Duration::from_secs(2);
/// Longest lease that may be asked for.
pub const LEASE_MAX: Duration = Duration::from_secs(600);
/// A lease is renewed this many times in its length, so that two renewals may fail.
pub const RENEWALS_PER_LEASE: u32 = 5;
/// A server stops trusting its lease this part of its length before Redis calls it expired.
pub const LEASE_MARGIN_PART: u32 = 10;

/// Longest time for which a server leaves a task to a less loaded one.
pub const DEFERRAL_MAX: Duration = Duration::from_millis(1000);
/// A server whose last heartbeat is older than this is left out of the deferral.
pub const HEARTBEAT_FRESH: Duration = Duration::from_secs(7);
/// Time between two heartbeats of a server without a free slot, or a fifth of its lease where that is less; the others look for tasks
/// more often, which is one too.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// Time between two looks for orders (cancel, pause) and for claims that have expired.
pub const ORDERS_EVERY: Duration = Duration::from_secs(1);
/// A server entry of the table is dropped after this long without a heartbeat.
pub const SERVER_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// `dispatch` looks for work this often even when nobody nudged it, while a slot is free and something is queued.
pub const DISPATCH_TICK: Duration = Duration::from_millis(200);
/// The same where nothing is queued: what another server gives back is found so late.
pub const DISPATCH_IDLE_TICK: Duration = Duration::from_secs(1);
/// Ready tasks that one claim looks at; those behind wait for the next one.
pub const CLAIM_WINDOW_TASKS: usize = 64;
/// Ready tasks that one claim sets aside because their job may have no more tasks sending; those behind wait for the next one.
pub const CLAIM_ASIDE_MAX_TASKS: usize = 512;
/// Ready tasks that one claim passes over because the server may not scan them; its next claim begins behind them.
pub const CLAIM_PASSED_MAX_TASKS: usize = 512;
/// Times in a row that a server goes on behind such tasks before it looks at its other work.
pub const CLAIM_PASSED_MAX_TIMES: usize = 16;
/// A task that no server may run is kept this long for one that may, then it is rejected: counted from when all servers have
/// refused it, and from when the last one left. Longer than a restart takes.
pub const REFUSED_BY_ALL_WAIT: Duration = Duration::from_secs(60);
/// Largest file of exclusions that scand reads, in bytes.
pub const SCOPE_FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// A task that waited this long for rate to come free is no longer overtaken by smaller ones.
pub const RATE_RESERVED_AFTER: Duration = Duration::from_secs(30);

/// First delay before a failed attempt is repeated.
pub const RETRY_DELAY_FIRST: Duration = Duration::from_secs(2);
/// Longest delay before a failed attempt is repeated.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(300);
/// Delay before a task that Kafka's absence suspended may be claimed again.
pub const SUSPENDED_DELAY: Duration = Duration::from_secs(5);

/// Slots of a server (scans at a time) by default.
pub const SLOTS_DEFAULT: usize = 2;
/// Most slots of a server.
pub const SLOTS_MAX: usize = 64;

/// Lowest source port of scans where the operator names none; masscan's own choice begins here too.
pub const SOURCE_PORTS_FIRST: u16 = 40_000;
/// Highest such port.
pub const SOURCE_PORTS_LAST: u16 = 59_999;
/// Orders (cancel, lost, drain …) that may wait for a scan's thread.
pub const SCAN_ORDERS_MAX: usize = 8;
/// Threads that produce findings, each with its own connection.
pub const RESULTS_THREADS: usize = 2;
/// Most findings that a server may be told to hold unacknowledged before it suspends scans, in MiB; 64 by default.
pub const RESULTS_BUFFER_MAX_MIB: u32 = 64 * 1024;
/// Most findings in one produce request.
pub const RESULTS_BATCH_MAX: usize = 1000;
/// Progress updates that may wait for `progress`.
pub const PROGRESS_QUEUE_MAX: usize = 1024;
/// Live progress is written to Redis this often at most.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(150);
/// A reading of masscan's is written with the first look after this long; with what becomes certain, earlier.
pub const PROGRESS_TOLD_WITHIN: Duration = Duration::from_millis(900);
/// Claims whose end may wait for `settle`.
pub const SETTLE_QUEUE_MAX: usize = 4096;

/// Kafka's long poll: how long a fetch waits for a record.
pub const FETCH_WAIT: Duration = Duration::from_millis(500);
/// The same where scand waits for tasks, at most; a fifth of the lease where that is less, since between two fetches it looks whether
/// Redis has lost its data.
pub const FETCH_TASKS_WAIT_MAX: Duration = Duration::from_secs(3);
/// And where several brokers are asked, one after the other: a record of the first is kept waiting while the others have none.
pub const FETCH_TASKS_WAIT_SHARED: Duration = Duration::from_secs(1);
/// Records of one ingest call.
pub const INGEST_BATCH_MAX: usize = 500;
/// Bytes fetched at a time from one partition.
pub const FETCH_BYTES: i32 = 4 * 1024 * 1024;
/// Bytes fetched at a time where one record is larger than [`FETCH_BYTES`]: Fetch v0 stalls on it otherwise.
pub const FETCH_BYTES_LARGE: i32 = 128 * 1024 * 1024;
/// How long a broker may take for an acknowledgement by all in-sync replicas.
pub const PRODUCE_ACK_WAIT: Duration = Duration::from_secs(10);
/// How long one TCP connection attempt to Kafka or Redis may take.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// A masscan that did not say what it is, or may not send shards, is asked again after this long. Less than [`REFUSED_BY_ALL_WAIT`].
pub const MASSCAN_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a client program waits for Kafka or Redis before it gives up.
pub const CLIENT_WAIT: Duration = Duration::from_secs(5);
/// How long a Redis command may take.
pub const REDIS_ANSWER_WAIT: Duration = Duration::from_secs(3);
/// First pause after a failed connection or request.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// Longest pause after a failed connection or request.
pub const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// A message that repeats (waiting for Kafka …) is logged at most this often.
pub const REPEATED_LOG_EVERY: Duration = Duration::from_secs(10);
/// The group's offsets are looked at this often, and whenever a task of this server has ended; committed when they moved.
pub const COMMIT_EVERY: Duration = Duration::from_secs(10);
/// An offset that doesn't move is committed again after this long, so that Kafka's retention doesn't expire it, and so that a
/// commit of another server that was delayed, or a topic that was made anew, leaves a wrong one for little longer.
pub const COMMIT_AGAIN_AFTER: Duration = Duration::from_secs(20);
/// Metadata (leaders, partitions added) is read again this often.
pub const METADATA_EVERY: Duration = Duration::from_secs(60);

/// The claim table is looked through for keys that were lost by themselves this often …
pub const AUDIT_EVERY: Duration = Duration::from_secs(10);
/// … so many unfinished tasks of each partition at a time.
pub const AUDIT_TASKS_MAX: usize = 500;

/// Ended tasks stay in Redis this long.
pub const ENDED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// masscan may hang after completion (masscan issues 144, 558): it is ended this long after its wait is over.
pub const WATCHDOG_AFTER_WAIT: Duration = Duration::from_millis(1000);
/// masscan prints its progress several times a second: without a line for this long it is taken for hung.
pub const WATCHDOG_SILENCE: Duration = Duration::from_secs(30);
/// After an interrupt masscan gets this long to write its last findings before it is killed.
pub const INTERRUPT_WAIT: Duration = Duration::from_secs(2);
/// Answers to what was sent longer ago than this plus the task's wait are certain to have been seen. Less than two of masscan's
/// readings, which are 0.75 s apart and with which findings are read, and with no whole second of wait a multiple of that: a reading
/// that comes a moment early doesn't cost another one. With one more reading, [`LOOK_SOON`] and [`PROGRESS_EVERY`] what is
/// probed again stays within 3 s and the wait where Kafka acknowledges at once.
pub const SETTLED_AFTER: Duration = Duration::from_millis(1200);
/// A drain has this long from the first signal to the process's exit.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// A milestone of progress is logged every so many percent.
pub const MILESTONE_PERCENT: u32 = 25;
/// masscan's pace counts in the estimate of what is left once it has sent for so long.
pub const ESTIMATE_MEASURED_AFTER: Duration = Duration::from_secs(3);
/// And has come so many percent further: what it shows is rounded to two decimals.
pub const ESTIMATE_MEASURED_PERCENT: f64 = 0.5;
/// A server that failed a task leaves its next attempt to others this long, if there are others with room.
pub const FAILED_SERVER_AVOIDED: Duration = Duration::from_secs(30);
/// Expired claims that one look takes away from their servers.
pub const REAP_BATCH_MAX: usize = 100;
/// `settle` looks at what it could not settle this often.
pub const SETTLE_TICK: Duration = Duration::from_millis(50);
/// A task whose hash is gone when it ends is looked for this many leases: a lost Redis is being rebuilt.
pub const SETTLE_GONE_WAIT_LEASES: u32 = 2;
/// Bytes of records in one ingest call.
pub const INGEST_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Batches of findings that may wait for one `results` thread; their bytes are bounded by scand's `-buffer`.
pub const RESULTS_BATCHES_MAX: usize = 1024;
/// A scan looks at its orders, its lease, its time-out and masscan's output at least this often: once between two of masscan's
/// readings, which wake it too. With [`LOOK_SOON`] more than they are apart: where something is awaited upon a reading, the look for it
/// is that one, unless the pipe would fill earlier.
pub const LOOK_EVERY_MAX: Duration = Duration::from_millis(600);
/// And this soon where something is about to happen: what was sent upon a reading is acknowledged, or a masscan is gone.
pub const LOOK_SOON: Duration = Duration::from_millis(250);
/// And at most this often, however much masscan prints.
pub const LOOK_EVERY_MIN: Duration = Duration::from_micros(500);
/// Findings that masscan has printed are read at least this often; with its next progress line they are anyway.
pub const FINDINGS_UNREAD_MAX: Duration = Duration::from_millis(1000);
/// Findings wait at most this long for others before they are handed over together: a request to Kafka costs as much as some
/// hundred findings. Where a checkpoint waits for them, they go at once.
pub const RESULTS_LINGER: Duration = Duration::from_secs(1);
/// A server whose next look comes after this or more stood still (was frozen, or had no processor), and doesn't know what became of
/// its masscan meanwhile, which may have stood still too and lost answers. [`LOOK_EVERY_MAX`] is a part of it.
pub const STOOD_STILL_MAX: Duration = Duration::from_millis(2200);
/// A scan that is given back waits this long for its findings to be acknowledged, so that its checkpoint is closer.
pub const RELEASE_FLUSH_WAIT: Duration = Duration::from_secs(3);
/// Of [`DRAIN_MAX`], what is kept for ending the process itself.
pub const DRAIN_RESERVE: Duration = Duration::from_millis(500);
/// How long Kafka may take for a request, beyond the wait that the request itself asks for. The `kafka` crate's own is 120 s.
pub const KAFKA_ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a topic may take to come up with its leaders after a first request has made Kafka create it.
pub const TOPIC_WAIT: Duration = Duration::from_secs(3);
/// Largest first answer (to ApiVersions) that is taken for Kafka's, in bytes; Kafka 3.9's has about 400.
pub const KAFKA_HELLO_MAX_BYTES: usize = 64 * 1024;
/// Attempts to find a group's coordinator in one request: the first use of a fresh Kafka makes its offsets topic.
pub const COORDINATOR_TRIES: u32 = 30;
/// Pause between two such attempts.
pub const COORDINATOR_PAUSE: Duration = Duration::from_millis(100);
/// Least bytes fetched at a time from one of many partitions, which share [`FETCH_BYTES`].
pub const FETCH_PARTITION_BYTES_MIN: i32 = 128 * 1024;
/// Pause before a fetch is repeated that came back early and without a record.
pub const FETCH_AGAIN_PAUSE: Duration = Duration::from_millis(50);
/// The same where a partition is gone or has no leader: so long the others wait too.
pub const FETCH_STALE_PAUSE: Duration = Duration::from_secs(1);
/// Offsets that one fetch tries, one by one, to find the end of a batch that can't be read.
pub const FETCH_SKIP_MAX_OFFSETS: i64 = 100;
/// Bytes of messages in one produce request. A broker takes 1 MiB of one partition by default (message.max.bytes), counted
/// after it has packed all messages of a request into one batch.
pub const PRODUCE_REQUEST_BYTES: usize = 1_000_000;
/// Largest answer of the kernel about an interface's features, in bytes; Linux 6's has about 12 000.
pub const NETLINK_ANSWER_BYTES: usize = 64 * 1024;
/// How long the kernel may take for it.
pub const NETLINK_WAIT: Duration = Duration::from_secs(1);
/// How long a script may take to become masscan.
pub const NAMESPACE_WAIT: Duration = Duration::from_secs(2);
/// How long `scand -check` may take.
pub const CHECK_WAIT: Duration = Duration::from_secs(9);
/// Longest name of a network interface, in bytes: the kernel's own bound (IFNAMSIZ with its zero).
pub const INTERFACE_MAX_BYTES: usize = 15;
/// Longest name of a group or a server, in bytes.
pub const NAME_MAX_BYTES: usize = 64;
/// Longest name of a topic, in bytes: Kafka's own bound.
pub const TOPIC_MAX_BYTES: usize = 249;
/// Most tasks of one push. Records of this many fit into well under 100 MiB.
pub const PUSH_TASKS_MAX: usize = 100_000;
/// Most exclusions that a push gives one task, and their bytes: half of what masscan takes, since the server that scans may
/// have exclusions of its own.
pub const PUSH_EXCLUDE_MAX: usize = TASK_TARGETS_MAX / 2;
/// See [`PUSH_EXCLUDE_MAX`].
pub const PUSH_EXCLUDE_MAX_BYTES: usize = ARGUMENT_MAX_BYTES / 2;
/// A push of more tasks than this, a task for each target, is told of `-pack`.
pub const PACK_REMARKED_TASKS: usize = 1000;
/// Most tasks into which `-shards` divides the probes.
pub const SHARDS_MAX: u32 = 10_000;
/// Bytes of records that a push holds at a time.
pub const PUSH_SEND_BYTES: usize = 8 * PRODUCE_REQUEST_BYTES;
/// More addresses than this (2^24, a /8) are pushed only with a confirmation.
pub const UNCONFIRMED_ADDRESSES_MAX: u128 = 1 << 24;
/// Unacknowledged tasks that a failed push names on stderr; the file that it leaves has all of them.
pub const UNACKNOWLEDGED_SHOWN_MAX: usize = 20;
/// Largest file of `-resume-push`, in bytes.
pub const REST_FILE_MAX_BYTES: usize = 1024 * 1024 * 1024;
/// Largest file of targets or exclusions, in bytes.
pub const TARGET_FILE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Most entries of such a file: a million ranges take 48 MiB.
pub const TARGET_FILE_ENTRIES_MAX: usize = 1 << 20;
/// Bad lines of such a file that are kept for an error message; the rest of the file is not looked at.
pub const BAD_LINES_MAX: usize = 1000;
/// Bad lines of such a file that are shown, one a line.
pub const BAD_LINES_SHOWN_MAX: usize = 20;
/// Tasks that `scanpush status` shows where no id is given: the newest ones.
pub const STATUS_TASKS_MAX: usize = 50;
/// Columns that a table of `scanpush` keeps to where the output is no terminal that has more.
pub const TABLE_COLUMNS: usize = 80;
/// Characters of an id that may stand for the whole, where only one known id begins with them.
pub const ID_BEGINNING_MIN_BYTES: usize = 4;
/// Ids that are named where a beginning fits several.
pub const CANDIDATES_SHOWN_MAX: usize = 5;
/// Most tasks that `scanpush list` shows.
pub const LIST_TASKS_MAX: u32 = 1_000_000;
/// Tasks of one call that cancels, pauses or resumes.
pub const CONTROL_BATCH_MAX: usize = 500;
/// Changes of state that one look takes to tell Kafka.
pub const UNTOLD_BATCH_MAX: usize = 500;
/// Most times that a person may begin a task anew after its end.
pub const RETRY_MAX: u32 = 1000;
/// How long `scanpush cancel` and its like wait for an order to be in force, from the last task for which it was, before they
/// say that it is not yet.
pub const CONTROL_WAIT: Duration = Duration::from_secs(10);
/// They look this often whether it is.
pub const CONTROL_LOOK_EVERY: Duration = Duration::from_millis(100);
/// `scanpush watch` looks at Redis this often; less often where a look takes long.
pub const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Of the time, this part at most is spent looking.
pub const WATCH_LOOK_PART: u32 = 10;
/// How long it waits for tasks that no server has taken in yet, from the last one that was.
pub const WATCH_UNKNOWN_WAIT: Duration = Duration::from_secs(60);
/// How long it waits for a Redis that is away.
pub const WATCH_REDIS_WAIT: Duration = Duration::from_secs(60);
/// Progress bars that it shows at a time, besides the one of all tasks.
pub const WATCH_BARS_MAX: usize = 10;
/// With more tasks than this, only so many of those that did not complete get a line of their own.
pub const WATCH_LINES_TASKS_MAX: usize = 50;
/// Where there is no terminal, a line is printed when a task has come so many percent further.
pub const WATCH_LINE_PERCENT: u32 = 10;
/// A job some of whose tasks were taken in while an order about it came into force counts as complete when none came for
/// this long.
pub const CONTROL_QUIET: Duration = Duration::from_secs(1);
/// How long an order about a job is given to tasks that come in meanwhile.
pub const CONTROL_JOB_MAX: Duration = Duration::from_secs(600);
/// A person who waits for an order is told this often how far it is.
pub const CONTROL_TELL_EVERY: Duration = Duration::from_secs(5);
/// Tasks whose trouble they tell in a line each; of the others the number.
pub const CONTROL_NOTES_MAX: usize = 20;
/// `scanpush results -follow` asks Redis this often whether the tasks have ended.
pub const FOLLOW_LOOK_EVERY: Duration = Duration::from_millis(500);
/// A task that Redis does not know is waited for so long: it may have been pushed just now.
pub const FOLLOW_UNKNOWN_WAIT: Duration = Duration::from_secs(30);
/// How long Kafka may be away while findings are followed.
pub const FOLLOW_AWAY_WAIT: Duration = Duration::from_secs(10 * 60);
/// A task counts as younger than what Kafka has removed where it is so by this much: clocks differ.
pub const RETENTION_SLACK: Duration = Duration::from_secs(60);
/// What is read of `/etc/services`, in bytes.
pub const SERVICES_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Least bytes of a partition that one fetch asks for where its batches are compressed and small.
pub const FETCH_BATCH_BYTES_MIN: i32 = 4 * 1024;
/// After a batch did not fit into what was asked for, no less is asked for in so many answers.
pub const FETCH_PORTION_KEPT_ANSWERS: u32 = 64;
