//! The claim table on a real Redis, without servers: a test for each of its invariants, and random operations that are compared with a model in
//! memory.

use crate::support::{Fleet, SOON, now_ms, wait_for};
use crate::{Needs, Test};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use redis::Commands;
use scan::claim_table::{
    Answer, Beginning, CallingServer, Claim, ClaimState, ClaimTable, Claimed, Cursor, Disposition,
    Ending, Ingest, Ingested, LiveProgress, Load, NewTask, Order, Outcome, Past, Reaped, Refused,
    Release, Renewal, Start,
};
use scan::model::resume::Position;
use scan::model::{
    Extent, FoundByPass, Lineage, Progress, Resume, State, StatusRecord, Task, TaskId,
};
use scan::scand::DISPATCH_IDLE_TICK;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "a_stale_fence_changes_nothing",
        Needs::KafkaAndRedis,
        stale_fence,
    ),
    (
        "the_cursor_moves_only_by_compare_and_set",
        Needs::KafkaAndRedis,
        compare_and_set,
    ),
    (
        "the_committed_offset_never_passes_an_unfinished_task",
        Needs::KafkaAndRedis,
        committed_offset,
    ),
    (
        "a_missing_key_never_means_done",
        Needs::KafkaAndRedis,
        missing_keys,
    ),
    (
        "a_redis_that_went_back_in_time_is_cleared",
        Needs::KafkaAndRedis,
        back_in_time,
    ),
    (
        "every_lost_call_is_noticed_at_the_next_one",
        Needs::KafkaAndRedis,
        each_call_is_noticed,
    ),
    (
        "fences_increase_even_if_the_clock_of_redis_goes_back",
        Needs::KafkaAndRedis,
        slow_clock,
    ),
    (
        "the_time_that_a_task_has_run_adds_up",
        Needs::KafkaAndRedis,
        run_time,
    ),
    (
        "attempts_are_counted_at_the_claim_and_given_back_by_a_drain",
        Needs::KafkaAndRedis,
        attempts,
    ),
    (
        "a_scan_begins_again_only_without_a_checkpoint",
        Needs::KafkaAndRedis,
        begun,
    ),
    (
        "an_end_taken_over_from_a_lost_server_says_what_was_scanned",
        Needs::KafkaAndRedis,
        extent_of_a_reaped_end,
    ),
    (
        "a_record_takes_no_task_over",
        Needs::KafkaAndRedis,
        takeover,
    ),
    (
        "a_retry_of_a_task_that_is_not_restored_yet_is_rejected",
        Needs::KafkaAndRedis,
        retry_of_unknown_task,
    ),
    (
        "a_retry_continues_only_at_a_checkpoint_that_a_server_wrote",
        Needs::KafkaAndRedis,
        checkpoint_of_a_retry,
    ),
    (
        "lost_servers_are_counted_separately_from_failures",
        Needs::KafkaAndRedis,
        lost_servers,
    ),
    (
        "a_claim_sent_twice_gives_the_same_task",
        Needs::KafkaAndRedis,
        claim_twice,
    ),
    (
        "a_lease_is_judged_by_the_clock_of_redis",
        Needs::KafkaAndRedis,
        clock_of_redis,
    ),
    (
        "a_jump_of_redis_clock_leaves_the_times_that_remain_as_they_were",
        Needs::KafkaAndRedis,
        clock_jumps,
    ),
    (
        "claim_and_renew_report_pending_work",
        Needs::KafkaAndRedis,
        pending_work,
    ),
    (
        "no_task_is_deferred_to_a_server_that_has_refused_it",
        Needs::KafkaAndRedis,
        refusing_server,
    ),
    (
        "a_malformed_task_holds_up_no_other",
        Needs::KafkaAndRedis,
        malformed_tasks,
    ),
    (
        "a_fence_that_is_set_by_hand_does_not_stop_the_fences",
        Needs::KafkaAndRedis,
        fences_by_hand,
    ),
    (
        "refused_tasks_do_not_delay_every_later_claim",
        Needs::KafkaAndRedis,
        many_refused,
    ),
    (
        "a_scan_that_has_finished_sending_frees_its_jobs_rate",
        Needs::KafkaAndRedis,
        sends_no_more,
    ),
    (
        "random_operations_keep_the_table_consistent",
        Needs::KafkaAndRedis,
        random_operations,
    ),
];

const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Runs of random operations, and operations of each run.
const CASES: u32 = 64;
const OPERATIONS: usize = 60;

/// The claim table of a new group with one partition.
struct Table {
    /// As the server `a` calls it.
    claim_table: ClaimTable,
    fleet: Fleet,
    redis: redis::Connection,
    prefix: String,
    /// Refused retries that are kept in one call.
    refusals_max: u32,
}

impl Table {
    fn new(name: &str) -> Table {
        Table::of(&Fleet::new(name))
    }

    fn of(fleet: &Fleet) -> Table {
        let mut table = Table {
            claim_table: fleet.claim_table().called_by(&CallingServer::new("a")),
            fleet: fleet.clone_for_thread(),
            redis: fleet.redis_connection(),
            prefix: fleet.key(""),
            refusals_max: u32::MAX,
        };
        assert!(table.begin(0));
        table
    }

    fn begin(&mut self, from: i64) -> bool {
        let beginning = Beginning {
            from,
            log_end: from,
            epoch: "epoch",
            start: Start::Missing,
            lost_records: 0,
        };
        self.claim_table.begin(0, &beginning).unwrap()
    }

    fn cursor(&mut self) -> Cursor {
        self.claim_table.cursors(&[0]).unwrap()[&0].clone().unwrap()
    }

    fn is_intact(&mut self) -> bool {
        self.claim_table.cursors(&[0]).unwrap()[&0].is_some()
    }

    /// Ingests `tasks` at `cursor`.
    fn ingest_at(&mut self, cursor: &Cursor, tasks: &[NewTask]) -> Ingested {
        let next = tasks.last().map_or(cursor.next, |task| task.offset + 1);
        self.claim_table
            .ingest(&Ingest {
                partition: 0,
                cursor,
                next,
                last: None,
                lost_records: 0,
                server: "a",
                lease: LEASE,
                refusals_max: self.refusals_max,
                tasks,
            })
            .unwrap()
    }

    /// Ingests one new task of this priority.
    fn add(&mut self, name: &str, priority: u8) {
        let cursor = self.cursor();
        let task = new_task(name, cursor.next, priority);
        assert_eq!(
            self.ingest_at(&cursor, &[task]),
            Ingested::Done(vec![Outcome::Added])
        );
    }

    fn renew(&mut self, lease: Duration, claims: &[Claim]) -> Vec<Renewal> {
        self.claim_table.renew(lease, claims, true).unwrap().claims
    }

    fn claim(&mut self) -> Option<Claimed> {
        let call = nanoid::nanoid!();
        match self
            .claim_table
            .claim("a", &call, LEASE, &load(), "")
            .unwrap()
        {
            Answer::Task(claimed) => Some(*claimed),
            Answer::None | Answer::Idle(_) => None,
            other => panic!("{other:?}"),
        }
    }

    fn progress(&mut self, claim: &Claim, percent: f64) {
        self.progress_of(claim, percent, false);
    }

    fn progress_of(&mut self, claim: &Claim, percent: f64, sends_no_more: bool) {
        let update = LiveProgress {
            claim: claim.clone(),
            progress: Progress {
                percent,
                ..Progress::default()
            },
            found: FoundByPass::default().with(1, 1),
            resume: Resume::default(),
            sends_no_more,
        };
        self.claim_table.progress(&[update]).unwrap();
    }

    /// Notes a checkpoint at this index.
    fn checkpoint(&mut self, claim: &Claim, index: u64) {
        let update = LiveProgress {
            claim: claim.clone(),
            progress: Progress::default(),
            found: FoundByPass::default(),
            resume: resume_at(index),
            sends_no_more: false,
        };
        self.claim_table.progress(&[update]).unwrap();
    }

    fn end(&mut self, claim: &Claim) -> ClaimState {
        let ending = ending(claim);
        match self.claim_table.decide_end(&ending).unwrap() {
            ClaimState::Ok => self.claim_table.finish(&ending).unwrap(),
            state => state,
        }
    }

    fn release(&mut self, claim: &Claim, delay: Duration, gives_back_attempt: bool) -> ClaimState {
        let release = Release {
            delay,
            gives_back_attempt,
            failed_here: !gives_back_attempt,
            error: None,
            resume: Resume::default(),
        };
        self.claim_table.release(claim, &release).unwrap()
    }

    /// Makes the lease of a task expire.
    fn expire(&mut self, id: &str) {
        let key = self.key("running");
        let _: () = self.redis.zadd(key, id, 1).unwrap();
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn members(&mut self, zset: &str) -> BTreeSet<String> {
        let key = self.key(zset);
        self.redis.zrange(key, 0, -1).unwrap()
    }

    fn hash(&mut self, id: &str) -> BTreeMap<String, String> {
        let key = self.key(&format!("task:{id}"));
        self.redis.hgetall(key).unwrap()
    }

    /// As another server calls it.
    fn claim_table_of(&self, server: &str) -> ClaimTable {
        self.fleet
            .claim_table()
            .called_by(&CallingServer::new(server))
    }

    fn is_running(&mut self, id: &str) -> bool {
        self.members("running").contains(id)
    }

    /// The watermarks that Redis has noted.
    fn watermarks(&mut self) -> BTreeMap<String, u64> {
        let key = self.key("watermarks");
        self.redis.hgetall(key).unwrap()
    }

    /// Sets the watermarks back, as an older copy of Redis would have them.
    fn restore(&mut self, watermarks: &BTreeMap<String, u64>) {
        let key = self.key("watermarks");
        let _: () = self.redis.del(&key).unwrap();
        for (server, watermark) in watermarks {
            let _: () = self.redis.hset(&key, server, watermark).unwrap();
        }
    }

    fn committable(&mut self) -> Option<i64> {
        self.claim_table.positions(&[0]).unwrap()[&0].committable
    }
}

/// The answers with which an idle server claims less often, and reaps and reads the outbox only when a renewal reports work.
fn pending_work() {
    let mut table = Table::new("pending-work");
    let claim = |table: &mut Table, load: &Load| {
        let call = nanoid::nanoid!();
        table
            .claim_table
            .claim("a", &call, LEASE, load, "")
            .unwrap()
    };
    let full_rate = Load {
        rate_used: 1000,
        max_rate: 1000,
        ..load()
    };
    let idle = |answer| match answer {
        Answer::Idle(until) => until,
        other => panic!("{other:?}"),
    };
    assert!(idle(claim(&mut table, &load())) > DISPATCH_IDLE_TICK);
    table.add("t", 5);
    let answer = claim(&mut table, &full_rate);
    assert!(
        matches!(answer, Answer::None),
        "a task is queued: {answer:?}"
    );
    let claimed = table.claim().unwrap().claim();
    assert_eq!(table.release(&claimed, HOUR, true), ClaimState::Ok);
    let until = idle(claim(&mut table, &full_rate));
    assert!(until <= HOUR && until > HOUR / 2, "{until:?}");

    let pending = |table: &mut Table, all_expired| {
        let renewed = table.claim_table.renew(LEASE, &[], all_expired).unwrap();
        (renewed.has_expired, renewed.has_outbox)
    };
    assert_eq!(pending(&mut table, true), (false, false));
    table.add("u", 5);
    table.claim().unwrap();
    assert_eq!(pending(&mut table, true), (false, false));
    table.expire("u");
    assert_eq!(pending(&mut table, true), (true, false));
    assert_eq!(
        pending(&mut table, false),
        (false, false),
        "only unowned claims were asked for"
    );
    table.claim_table.reap("b", LEASE, 10, true).unwrap();
    let id: TaskId = "u".parse().unwrap();
    table.claim_table.control(Order::Pause, &[id]).unwrap();
    assert_eq!(pending(&mut table, true), (false, true));
    table.claim_table.outbox(LEASE, 10).unwrap();
    assert_eq!(
        pending(&mut table, true),
        (false, false),
        "another server is sending it"
    );
}

/// A task is deferred to a less loaded server, but not to one that has refused it.
fn refusing_server() {
    let mut table = Table::new("refusing-server");
    let claim = |table: &mut Table, server: &str, held| {
        let load = Load {
            slots: 2,
            held,
            ..load()
        };
        let call = nanoid::nanoid!();
        let answer = table
            .claim_table
            .claim(server, &call, LEASE, &load, "limits");
        answer.unwrap()
    };
    assert!(matches!(claim(&mut table, "idle", 0), Answer::Idle(_)));
    table.add("t", 5);
    assert!(matches!(claim(&mut table, "busy", 1), Answer::Deferred));
    let Answer::Task(claimed) = claim(&mut table, "idle", 0) else {
        panic!("the less loaded server gets the task")
    };
    let refused = table
        .claim_table
        .refuse(&claimed.claim(), "idle", "limits", "");
    assert_eq!(refused.unwrap(), Refused::Left);
    let answer = claim(&mut table, "idle", 0);
    assert!(!matches!(answer, Answer::Task(_)), "{answer:?}");
    let answer = claim(&mut table, "busy", 1);
    assert!(matches!(answer, Answer::Task(_)), "{answer:?}");
}

/// Malformed values of task fields, which only someone with the right to write to Redis can set. `""` removes the field.
const MALFORMED: [(&str, &[&str]); 21] = [
    ("task_id", &[""]),
    ("score", &["abc", "nan", "inf", ""]),
    ("band_width", &["abc", "-inf", "1e400", ""]),
    ("ready_ms", &["abc", "nan", ""]),
    ("attempt", &["abc", "1e300", ""]),
    ("fence", &["abc", "nan", "-1", ""]),
    ("parallel", &["nan", "abc"]),
    ("refused_ms", &["abc", "inf"]),
    ("ran_ms", &["abc", "1.5", "inf"]),
    ("started_ms", &["abc", "nan", ""]),
    ("lost", &["abc", "1e300"]),
    ("resume_pass", &["abc", "nan"]),
    ("resume_index", &["abc", "inf"]),
    ("partition", &["abc", ""]),
    ("retry", &["abc", "inf"]),
    ("order", &["foo"]),
    ("queued_ms", &["abc", ""]),
    ("found_by_pass", &["abc"]),
    ("server", &[""]),
    ("ending", &["foo"]),
    ("unknown", &[NOT_UTF_8]),
];
/// Stands for a byte that is not UTF-8.
const NOT_UTF_8: &str = "not UTF-8";

/// Each malformed task is claimed, released, reaped and ended without an error, while the well-formed task behind it is claimed and renewed.
fn malformed_tasks() {
    let mut table = Table::new("malformed");
    let fields: Vec<(&str, &str)> = MALFORMED
        .iter()
        .flat_map(|&(field, values)| values.iter().map(move |&value| (field, value)))
        .collect();
    for (n, &(field, value)) in fields.iter().enumerate() {
        let (bad, honest) = (format!("bad-{n}"), format!("honest-{n}"));
        table.add(&bad, 9);
        table.add(&honest, 5);
        let set = |table: &mut Table| {
            let key = table.fleet.key(&format!("task:{bad}"));
            let _: () = match value {
                "" => table.redis.hdel(&key, field).unwrap(),
                NOT_UTF_8 => table.redis.hset(&key, field, b"\xff").unwrap(),
                _ => table.redis.hset(&key, field, value).unwrap(),
            };
        };
        let claim = |table: &mut Table| match claim_with(table, "") {
            Answer::Task(claimed) => claimed.claim(),
            Answer::Unreadable(claim, _) => claim,
            other => panic!("{field} {value}: {other:?}"),
        };
        // It is due: the next claim makes it ready.
        let queues = ["ready", "delayed"].map(|queue| table.fleet.key(queue));
        let _: () = table.redis.zrem(&queues[0], &bad).unwrap();
        let _: () = table.redis.zadd(&queues[1], &bad, 1).unwrap();
        set(&mut table);
        let mut claims = [claim(&mut table), claim(&mut table)];
        claims.sort_by_key(|claim| claim.task_id.to_string());
        let ids = claims.each_ref().map(|claim| claim.task_id.to_string());
        assert_eq!(ids, [&bad, &honest].map(String::clone), "{field} {value}");
        let [first, good] = claims;
        let shown = table.claim_table.tasks(&[], 1000).unwrap();
        assert!(shown.iter().any(|task| task.task_id == honest), "{field}");

        set(&mut table);
        let state = table.release(&first, Duration::ZERO, false);
        if state == ClaimState::Ok {
            set(&mut table);
            assert_eq!(claim(&mut table).task_id, first.task_id);
            set(&mut table);
        } else {
            assert_eq!(state, ClaimState::Lost);
            assert!(["fence", "ending"].contains(&field), "{field} {value}");
        }
        assert_eq!(
            table.renew(LEASE, std::slice::from_ref(&good)),
            [Renewal::Ok]
        );
        table.expire(&bad);
        let reaped = table.claim_table.reap("a", LEASE, 10, true).unwrap();
        assert_eq!(reaped.len(), 1, "{field} {value}: {reaped:?}");
        table.claim_table.outbox(LEASE, 10).unwrap();
        assert_eq!(table.end(&good), ClaimState::Ok);
        // It ends, and holds the committed offset back no longer.
        let last = claim(&mut table);
        if matches!(field, "partition") {
            set(&mut table);
        }
        assert_eq!(table.end(&last), ClaimState::Ok, "{field} {value}");
        let open = table.fleet.key("open:0");
        let offset: Option<f64> = table.redis.zscore(open, &bad).unwrap();
        assert_eq!(offset, None, "{field} {value}");
    }
    // An order that does not exist is none, for this claim and for the others of the call.
    let claims = ["one", "two"].map(|name| {
        table.add(name, 5);
        table.claim().unwrap().claim()
    });
    let key = table.fleet.key("task:one");
    let _: () = table.redis.hset(key, "order", "foo").unwrap();
    assert_eq!(table.renew(LEASE, &claims), [Renewal::Ok, Renewal::Ok]);
    // A task whose end is decided is ended, although it cannot be read.
    let key = table.fleet.key("task:two");
    let fields = [("order", "cancel"), ("attempt", "abc")];
    let _: () = table.redis.hset_multiple(key, &fields).unwrap();
    table.expire("two");
    let reaped = table.claim_table.reap("a", LEASE, 10, true).unwrap();
    let [
        Reaped::Unreadable {
            ending: Some(ending),
            ..
        },
    ] = &reaped[..]
    else {
        panic!("{reaped:?}")
    };
    assert_eq!(ending.status, State::Cancelled);
    let finished = table.claim_table.finish(ending).unwrap();
    assert_eq!(finished, ClaimState::Ok);
}

/// Fences are claims' only protection against each other: each is higher than the one before, and exact.
fn fences_by_hand() {
    let mut table = Table::new("fences-by-hand");
    let mut last = 0;
    for fence in [
        "inf",
        "nan",
        "9e18",
        "9007199254740992",
        "4503599627370496",
        "5",
    ] {
        table.add(&format!("t-{last}"), 5);
        let key = table.fleet.key(&format!("task:t-{last}"));
        let _: () = table.redis.hset(key, "fence", fence).unwrap();
        let claims = [table.claim().unwrap().claim(), {
            table.add(&format!("next-{last}"), 5);
            table.claim().unwrap().claim()
        }];
        for claim in claims {
            assert!(claim.fence > last, "{fence}: {} after {last}", claim.fence);
            assert!(claim.fence < 1 << 53, "{fence}: {}", claim.fence);
            assert_eq!(
                table.renew(LEASE, std::slice::from_ref(&claim)),
                [Renewal::Ok]
            );
            assert_eq!(table.end(&claim), ClaimState::Ok);
            last = claim.fence;
        }
    }
    let key = table.fleet.key("watermarks");
    for (n, watermark) in ["abc", "9007199254740992", "inf"].iter().enumerate() {
        for field in ["the table", "the clock"] {
            let _: () = table.redis.hset(&key, field, watermark).unwrap();
        }
        table.add(&format!("after-{n}"), 5);
        let claim = table.claim().unwrap().claim();
        assert!(
            (last + 1..1 << 53).contains(&claim.fence),
            "{watermark}: {} after {last}",
            claim.fence
        );
        assert_eq!(table.end(&claim), ClaimState::Ok);
        last = claim.fence;
    }
}

/// The number of refused tasks: more than a single call skips.
const REFUSED_MANY: usize = 1200;

/// The answer to a claim of the server `a` with these capabilities.
fn claim_with(table: &mut Table, capabilities: &str) -> Answer {
    let call = nanoid::nanoid!();
    let answer = table
        .claim_table
        .claim("a", &call, LEASE, &load(), capabilities);
    answer.unwrap()
}

fn refuse(table: &mut Table, claim: &Claim, capabilities: &str) -> Refused {
    table
        .claim_table
        .refuse(claim, "a", capabilities, "no")
        .unwrap()
}

/// Claims until there is a task. Returns it and the number of calls.
fn claim_behind_refused(table: &mut Table) -> (Claimed, usize) {
    for calls in 1..=REFUSED_MANY {
        match claim_with(table, "limits") {
            Answer::Task(claimed) => return (*claimed, calls),
            Answer::Skipped => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("no call finds a task");
}

/// Counts calls instead of measuring time.
fn many_refused() {
    let mut table = Table::new("many-refused");
    let cursor = table.cursor();
    let tasks: Vec<NewTask> = (0..REFUSED_MANY)
        .map(|n| new_task(&format!("r{n}"), cursor.next + n as i64, 5))
        .collect();
    table.ingest_at(&cursor, &tasks);
    let mut all_calls = 0;
    for n in 0..REFUSED_MANY {
        let (claimed, calls) = claim_behind_refused(&mut table);
        all_calls += calls;
        let refused = refuse(&mut table, &claimed.claim(), "limits");
        assert_eq!(refused, Refused::Kept, "{n}");
    }
    // To skip them takes about two more calls each second. If every claim skipped them again, there would be 864 more calls.
    assert!(all_calls < REFUSED_MANY + 400, "{all_calls} calls");

    // Tasks behind them are claimed after they were skipped once.
    for name in ["behind", "its-successor", "the-next"] {
        table.add(name, 1);
        let (claimed, calls) = claim_behind_refused(&mut table);
        assert_eq!(claimed.task.task_id.to_string(), name);
        assert!(calls <= 4, "{name}: {calls} calls");
        assert_eq!(table.end(&claimed.claim()), ClaimState::Ok);
    }
    // Tasks in front of them are claimed when the server begins at the front again.
    table.add("before", 9);
    let claimed = wait_for(
        "the task in front of the refused ones",
        SOON,
        || match claim_with(&mut table, "limits") {
            Answer::Task(claimed) => Some(claimed),
            Answer::None | Answer::Skipped => None,
            other => panic!("{other:?}"),
        },
    );
    assert_eq!(claimed.task.task_id.to_string(), "before");
    let released = table.release(&claimed.claim(), Duration::ZERO, true);
    assert_eq!(released, ClaimState::Ok);

    // With other capabilities all of them are offered again, the best first.
    for name in ["before", "r0", "r1"] {
        match claim_with(&mut table, "more") {
            Answer::Task(claimed) => assert_eq!(claimed.task.task_id.to_string(), name),
            other => panic!("{other:?}"),
        }
    }
}

/// Also below 100 %: a masscan that has exited sends nothing, even if its findings still wait for Kafka.
fn sends_no_more() {
    let mut table = Table::new("sends-no-more");
    let cursor = table.cursor();
    let of_job = |name: &str, offset| {
        let mut new = new_task(name, offset, 5);
        let task = new.task.as_mut().unwrap();
        (task.job_id, task.parallel) = (Some("job".parse().unwrap()), Some(1));
        new
    };
    let tasks = [of_job("t", cursor.next), of_job("u", cursor.next + 1)];
    table.ingest_at(&cursor, &tasks);
    let first = table.claim().unwrap().claim();
    assert_eq!(table.claim().map(|claimed| claimed.claim()), None);
    table.progress(&first, 40.0);
    assert_eq!(table.claim().map(|claimed| claimed.claim()), None);
    table.progress_of(&first, 40.0, true);
    assert!(table.claim().is_some());
}

fn new_task(name: &str, offset: i64, priority: u8) -> NewTask {
    let id: TaskId = name.parse().unwrap();
    let mut task = Task::new(
        id.clone(),
        "172.16.0.0/24".parse().unwrap(),
        "443".parse().unwrap(),
        Default::default(),
    );
    task.priority = u64::from(priority).try_into().unwrap();
    NewTask {
        offset,
        task_id: id,
        record_id: TaskId::of_record(0, offset),
        task: Some(task),
        disposition: Disposition::New,
    }
}

fn load() -> Load {
    Load {
        slots: 1,
        free: 1,
        held: 0,
        rate_used: 0,
        max_rate: 1_000_000,
        fault: None,
    }
}

fn ending(claim: &Claim) -> Ending {
    Ending {
        task_id: claim.task_id.clone(),
        lineage: Lineage {
            attempt: 1,
            fence: claim.fence,
            ..Lineage::default()
        },
        status: State::Completed,
        error: None,
        found: FoundByPass::default().with(1, 1),
        resume: Resume::default(),
        extent: Extent::default(),
    }
}

/// Invariant 4: every write of a running task compares its fence. Fences strictly increase, even if Redis loses its data.
fn stale_fence() {
    let mut table = Table::new("stale-fence");
    table.add("t", 5);
    let old = table.claim().unwrap().claim();
    table.expire("t");
    table.claim_table.reap("b", LEASE, 10, true).unwrap();
    let new = table.claim().unwrap().claim();
    assert!(new.fence > old.fence);
    let before = table.hash("t");
    assert_eq!(table.end(&old), ClaimState::Lost);
    assert_eq!(
        table.claim_table.finish(&ending(&old)).unwrap(),
        ClaimState::Lost
    );
    assert_eq!(table.release(&old, HOUR, false), ClaimState::Lost);
    table.progress(&old, 99.0);
    assert_eq!(
        table.renew(LEASE, &[old, new.clone()]),
        [Renewal::Lost, Renewal::Ok]
    );
    assert_eq!(table.hash("t"), before, "unchanged");

    let all = table.members("open:0");
    let prefix = table.prefix.clone();
    for key in ["cursor", "open:0", "running", "task:t"] {
        let _: () = table.redis.del(format!("{prefix}{key}")).unwrap();
    }
    assert_eq!(all.len(), 2);
    assert!(table.begin(0));
    table.add("t", 5);
    assert!(table.claim().unwrap().claim().fence > new.fence);
}

/// Invariant 3: if two servers read the same records, only one of them moves the cursor.
fn compare_and_set() {
    let mut table = Table::new("compare-and-set");
    let before = table.cursor();
    let tasks = [new_task("t0", 0, 5), new_task("t1", 1, 5)];
    assert!(matches!(
        table.ingest_at(&before, &tasks),
        Ingested::Done(_)
    ));
    assert_eq!(
        table.ingest_at(&before, &[new_task("t0", 0, 5)]),
        Ingested::Moved,
        "an old cursor is refused"
    );
    assert_eq!(table.cursor().next, 2, "the cursor has not moved back");
    let other_epoch = Cursor {
        epoch: "another".to_owned(),
        ..table.cursor()
    };
    assert_eq!(
        table.ingest_at(&other_epoch, &[new_task("t2", 2, 5)]),
        Ingested::Moved,
        "another epoch is refused"
    );
    assert!(!table.begin(0), "an intact partition is not started again");
    let beginning = |epoch, replaces| Beginning {
        from: 1,
        log_end: 1,
        epoch,
        start: Start::Recreated { epoch: replaces },
        lost_records: 0,
    };
    let started = table
        .claim_table
        .begin(0, &beginning("new", "wrong"))
        .unwrap();
    assert!(!started, "nor by a caller that names another epoch");
    assert!(
        table
            .claim_table
            .begin(0, &beginning("new", "epoch"))
            .unwrap()
    );
    assert!(
        !table
            .claim_table
            .begin(0, &beginning("newer", "epoch"))
            .unwrap()
    );
}

/// Invariant 2: the lowest unfinished offset, whatever tasks after it end.
fn committed_offset() {
    let mut table = Table::new("committed-offset");
    for n in 0..4 {
        table.add(&format!("t{n}"), 5);
    }
    let claims: Vec<Claim> = (0..4).map(|_| table.claim().unwrap().claim()).collect();
    assert_eq!(table.committable(), Some(0));
    for (ended, committable) in [(1, 0), (3, 0), (0, 2), (2, 4)] {
        assert_eq!(table.end(&claims[ended]), ClaimState::Ok);
        assert_eq!(table.committable(), Some(committable), "t{ended} ended");
    }
    table.add("t4", 5);
    assert_eq!(table.committable(), Some(4), "queued");
    let claim = table.claim().unwrap().claim();
    assert_eq!(table.release(&claim, HOUR, false), ClaimState::Ok);
    assert_eq!(
        table.committable(),
        Some(4),
        "delayed until its next attempt"
    );
}

/// Invariant 2: if a key is lost, no offset is committed, and the rebuild restores the task.
fn missing_keys() {
    for lost in ["cursor", "open:0", "task:t", "ready", "running"] {
        let mut table = Table::new("missing-key");
        table.add("r", 9);
        let running = table.claim().unwrap().claim();
        assert_eq!(running.task_id.as_str(), "r");
        table.add("t", 5);
        let key = table.key(lost);
        let _: () = table.redis.del(key).unwrap();
        assert!(table.committable().is_none_or(|at| at == 0), "{lost}");
        // Servers do this every few seconds.
        table.claim_table.audit(0, 0, 100).unwrap();
        assert!(!table.is_intact(), "{lost} is noticed");
        assert_eq!(table.committable(), None, "{lost}");
        assert!(table.begin(0));
        let cursor = table.cursor();
        let again = [new_task("r", 0, 9), new_task("t", 1, 5)];
        assert!(matches!(
            table.ingest_at(&cursor, &again),
            Ingested::Done(_)
        ));
        table.claim_table.audit(0, 0, 100).unwrap();
        assert!(table.is_intact(), "{lost} is restored");
        // A task whose claim was lost can be claimed after its lease has expired.
        for id in table.members("running") {
            table.expire(&id);
        }
        table.claim_table.reap("b", LEASE, 10, true).unwrap();
        for _ in 0..2 {
            let claim = table.claim().unwrap_or_else(|| panic!("{lost}")).claim();
            assert_eq!(table.end(&claim), ClaimState::Ok);
        }
        assert!(table.claim().is_none(), "{lost}");
        assert_eq!(table.committable(), Some(2), "{lost}");
    }
}

/// In an old snapshot, tasks that have ended look unfinished. A server whose calls are lost there clears the table, so that it is rebuilt.
fn back_in_time() {
    let mut table = Table::new("back-in-time");
    table.add("t", 5);
    let claim = table.claim().unwrap().claim();
    let snapshot = table.watermarks();
    table.renew(LEASE, std::slice::from_ref(&claim));
    // The other server's calls before and after the loss do not hide it.
    let mut other = table.claim_table_of("b");
    table.restore(&snapshot);
    other.renew(LEASE, &[], true).unwrap();
    assert!(table.is_running("t"), "the other server has lost nothing");
    assert_eq!(
        table.renew(LEASE, &[claim]),
        [Renewal::Gone],
        "not Lost, because the rebuild restores it"
    );
    assert!(!table.is_intact());
    assert_eq!(table.committable(), None);
    assert!(
        table.hash("t").is_empty() && table.members("running").is_empty(),
        "cleared"
    );
    // It is cleared only once, for both servers.
    assert!(table.begin(0));
    table.add("t", 5);
    other.renew(LEASE, &[], true).unwrap();
    assert!(table.claim().is_some());
    let watermark = table.watermarks()["a"];
    assert!(watermark / 1000 + 60_000 > now_ms(), "the clock of Redis");
}

/// The answered calls of each kind: if one was lost, the next call of any kind notices it.
fn each_call_is_noticed() {
    type Call = fn(&mut Table, &Claim);
    let calls: &[(&str, Call)] = &[
        ("finish", |table, claim| {
            assert_eq!(table.end(claim), ClaimState::Ok);
        }),
        ("release", |table, claim| {
            table.release(claim, HOUR, true);
        }),
        ("progress", |table, claim| table.progress(claim, 1.0)),
        ("ingest", |table, _| table.add("later", 5)),
        ("reap", |table, _| {
            table.claim_table.reap("a", LEASE, 10, true).unwrap();
        }),
        ("outbox", |table, _| {
            table.claim_table.outbox(LEASE, 10).unwrap();
        }),
        ("positions", |table, _| {
            table.committable();
        }),
    ];
    for (name, call) in calls {
        let mut table = Table::new(&format!("noticed-{name}"));
        table.add("t", 5);
        let claim = table.claim().unwrap().claim();
        let snapshot = table.watermarks();
        call(&mut table, &claim);
        table.restore(&snapshot);
        assert!(!table.is_intact(), "{name}: the next call clears the table");
    }
}

/// The clock of a new primary may be behind: fences increase all the same, with what the servers have seen.
fn slow_clock() {
    let mut table = Table::new("slow-clock");
    table.add("t", 5);
    table.add("u", 5);
    let claim = table.claim().unwrap().claim();
    // As if the clock had been a minute ahead until now.
    let ahead = table.watermarks()["a"] + 60_000_000;
    table.restore(&BTreeMap::from([
        ("the table".to_owned(), ahead),
        ("a".to_owned(), ahead),
    ]));
    let first = table.claim().unwrap().claim();
    assert!(first.fence > ahead, "above what the table knows");
    // The new primary knows nothing of it, not even the server.
    table.restore(&BTreeMap::new());
    assert!(!table.is_intact(), "noticed");
    assert!(table.begin(0));
    table.add("v", 5);
    let next = table.claim().unwrap().claim();
    assert!(
        next.fence > first.fence && first.fence > claim.fence,
        "above what the server has seen: {next:?} {first:?}"
    );
    // The ledger knows a fence that no server has seen.
    let cursor = table.cursor();
    let disposition = Disposition::Ready(Past {
        fence: next.fence + 60_000_000,
        ..Past::default()
    });
    let queued = NewTask {
        disposition,
        ..new_task("x", cursor.next, 5)
    };
    table.ingest_at(&cursor, &[queued]);
    let of_the_ledger = table.claim().unwrap().claim();
    assert!(of_the_ledger.fence > next.fence + 60_000_000);
    let next = of_the_ledger;
    let mut other = table.claim_table_of("b");
    let call = nanoid::nanoid!();
    table.add("w", 5);
    let Answer::Task(others) = other.claim("b", &call, LEASE, &load(), "").unwrap() else {
        panic!("b gets the task")
    };
    assert!(
        others.claim().fence > next.fence,
        "above what other servers have seen"
    );
}

/// The basis of `-max-task-time`.
fn run_time() {
    let mut table = Table::new("run-time");
    table.add("t", 5);
    // As if the claim had been made a minute ago; negative: as if Redis' clock had gone back since.
    let claim = |table: &mut Table, minutes_ago: i64| {
        let claimed = table.claim().unwrap();
        let started_ms: i64 = table
            .fleet
            .task_field("t", "started_ms")
            .unwrap()
            .parse()
            .unwrap();
        let earlier = started_ms - minutes_ago * 60_000;
        table
            .fleet
            .set_task_field("t", "started_ms", &earlier.to_string());
        claimed
    };
    let minutes = |claimed: &Claimed| claimed.lineage.ran_ms / 60_000;
    let first = claim(&mut table, 1);
    assert_eq!(first.lineage.ran_ms, 0);
    // Whether the attempt counts or not, the slot was occupied. The same call again adds nothing.
    for expected in [ClaimState::Ok, ClaimState::Lost] {
        assert_eq!(
            table.release(&first.claim(), Duration::ZERO, true),
            expected
        );
    }
    let second = claim(&mut table, 1);
    assert_eq!(minutes(&second), 1);
    table.release(&second.claim(), Duration::ZERO, false);
    let third = claim(&mut table, 1);
    assert_eq!(minutes(&third), 2);
    // So it was for a server that is lost.
    table.expire("t");
    table.claim_table.reap("b", LEASE, 10, true).unwrap();
    let fourth = claim(&mut table, -60);
    assert_eq!(minutes(&fourth), 3);
    table.release(&fourth.claim(), Duration::ZERO, true);
    let fifth = claim(&mut table, 0);
    assert_eq!(fifth.lineage.ran_ms, fourth.lineage.ran_ms);
    // Known after Redis has lost its data.
    let cursor = table.cursor();
    let rebuilt = NewTask {
        disposition: Disposition::Ready(Past {
            ran_ms: 86_400_000,
            ..Past::default()
        }),
        ..new_task("u", cursor.next, 9)
    };
    table.ingest_at(&cursor, &[rebuilt]);
    assert_eq!(table.claim().unwrap().lineage.ran_ms, 86_400_000);
}

/// Invariant 7: attempts.
fn attempts() {
    let mut table = Table::new("attempts");
    table.add("t", 5);
    let first = table.claim().unwrap();
    assert_eq!(first.lineage.attempt, 1, "counted at the claim");
    assert_eq!(
        table.release(&first.claim(), Duration::ZERO, true),
        ClaimState::Ok
    );
    let again = table.claim().unwrap();
    assert_eq!(again.lineage.attempt, 1, "a drain gave it back");
    assert_eq!(
        table.release(&again.claim(), Duration::ZERO, false),
        ClaimState::Ok
    );
    assert_eq!(
        table.claim().unwrap().lineage.attempt,
        2,
        "a failure did not"
    );
}

fn resume_at(index: u64) -> Resume {
    Resume {
        position: Position { pass: 1, index },
        ..Resume::default()
    }
}

/// `begun_ms` is the start of the first claim whose probes count.
fn begun() {
    let mut table = Table::new("begun");
    table.add("t", 5);
    let first = table.claim().unwrap();
    let of_first = first.begun_ms.unwrap();
    assert_eq!(
        Some(of_first.to_string()),
        table.hash("t").get("started_ms").cloned()
    );
    std::thread::sleep(Duration::from_millis(5));
    table.expire("t");
    table.claim_table.reap("b", LEASE, 10, true).unwrap();
    let second = table.claim().unwrap();
    let of_second = second.begun_ms.unwrap();
    assert!(of_second > of_first, "no probe of the first one counts");

    table.checkpoint(&second.claim(), 7);
    std::thread::sleep(Duration::from_millis(5));
    table.expire("t");
    table.claim_table.reap("b", LEASE, 10, true).unwrap();
    let third = table.claim().unwrap();
    assert_eq!(third.begun_ms, Some(of_second), "continued");
    let failed = Ending {
        status: State::Failed,
        ..ending(&third.claim())
    };
    assert_eq!(table.end_as(&failed), ClaimState::Ok);

    let cursor = table.cursor();
    let mut retried = new_task("t", cursor.next, 5);
    retried.task.as_mut().unwrap().retry = 1;
    let again = Outcome::Again {
        resume: resume_at(7),
    };
    assert_eq!(
        table.ingest_at(&cursor, &[retried]),
        Ingested::Done(vec![again])
    );
    let claimed = table.claim().unwrap();
    assert_eq!(claimed.resume, resume_at(7), "the checkpoint is kept");
    assert_eq!(claimed.begun_ms, Some(of_second), "by another run");

    // As after a rebuild.
    let cursor = table.cursor();
    let mut rebuilt = new_task("u", cursor.next, 5);
    rebuilt.disposition = Disposition::Ready(Past {
        attempt: 1,
        resume: resume_at(7),
        ..Past::default()
    });
    table.ingest_at(&cursor, &[rebuilt]);
    let claimed = table.claim().unwrap();
    assert_eq!(claimed.begun_ms, None, "nobody knows it any more");
}

/// The server that sends the terminal record may not be the one that scanned.
fn extent_of_a_reaped_end() {
    let mut table = Table::new("reaped-end");
    table.add("t", 5);
    let claimed = table.claim().unwrap();
    let targets = claimed.task.targets();
    let extent = Extent::new(
        claimed.begun_ms,
        &targets,
        &"172.16.0.7,172.16.0.128/25".parse().unwrap(),
    );
    let decided = Ending {
        extent: extent.clone(),
        ..ending(&claimed.claim())
    };
    assert_eq!(
        table.claim_table.decide_end(&decided).unwrap(),
        ClaimState::Ok
    );
    table.expire("t");
    let reaped = table.claim_table.reap("b", LEASE, 10, true).unwrap();
    let [Reaped::Ending { task, .. }] = &reaped[..] else {
        panic!("{reaped:?}")
    };
    assert_eq!((task.status, &task.extent), (State::Completed, &extent));
    assert_eq!(table.end_as(task), ClaimState::Ok);
    assert_eq!(table.hash("t").get("server_exclude"), None, "not kept");
}

/// A record of the task `t` with this retry, at the cursor of the table.
fn retry_of(table: &mut Table, retry: u32, change: impl Fn(&mut Task)) -> NewTask {
    let offset = table.cursor().next;
    let mut new = new_task("t", offset, 5);
    let task = new.task.as_mut().unwrap();
    task.retry = retry;
    change(task);
    new
}

impl Table {
    /// Ingests one record at the cursor.
    fn ingest_one(&mut self, new: NewTask) -> Outcome {
        let cursor = self.cursor();
        match self.ingest_at(&cursor, &[new]) {
            Ingested::Done(outcomes) => outcomes.into_iter().next().unwrap(),
            Ingested::Moved => panic!("nobody else moves it"),
        }
    }

    /// Ends the task that is claimed next as cancelled.
    fn cancel_next(&mut self) {
        let claim = self.claim().unwrap().claim();
        let cancelled = Ending {
            status: State::Cancelled,
            ..ending(&claim)
        };
        assert_eq!(self.end_as(&cancelled), ClaimState::Ok);
    }
}

/// A record with an existing id never changes what the task scans, and cannot lock out later retries.
fn takeover() {
    let mut table = Table::new("takeover");
    table.add("t", 5);
    let retry = retry_of(&mut table, 1, |_| ());
    let refused = |outcome: &Outcome, why: &str| match outcome {
        Outcome::Refused { reason, .. } => {
            assert!(
                reason.contains("task t again") && reason.contains(why),
                "{reason}"
            );
        }
        other => panic!("{why}: {other:?}"),
    };
    refused(&table.ingest_one(retry), "it has not ended: queued");
    table.cancel_next();
    let before = table.hash("t");
    type Change = fn(&mut Task);
    let job: Change = |task| task.job_id = Some("other".parse().unwrap());
    let forged: [(u32, Change, &str); 9] = [
        (
            1,
            |task| task.ip_range = "172.16.9.0/30".parse().unwrap(),
            "`ip_range` differs from the task's",
        ),
        (
            1,
            |task| task.exclude = "172.16.0.0/25".parse().unwrap(),
            "`exclude` differs from the task's",
        ),
        (
            1,
            |task| task.ports = "22".parse().unwrap(),
            "`ports` differs from the task's",
        ),
        (1, |task| task.seed += 1, "`seed` differs from the task's"),
        (
            1,
            |task| task.shard = "1/2".parse().ok(),
            "`shard` differs from the task's",
        ),
        (
            1,
            |task| task.retries = 1,
            "`retries` differs from the task's",
        ),
        (1, job, "`job_id` differs from the task's"),
        (
            2,
            |_| (),
            "its last retry is 0, so the next one is 1, not 2",
        ),
        (1000, |_| (), "not 1000"),
    ];
    for (retry, change, why) in forged {
        let new = retry_of(&mut table, retry, change);
        let (offset, id) = (new.offset, new.record_id.clone());
        refused(&table.ingest_one(new), why);
        assert_eq!(table.hash("t"), before, "{why}");
        let rejected = table.hash(id.as_str());
        assert_eq!(rejected["ending"], "rejected");
        assert!(rejected["error"].contains(why), "{rejected:?}");
        assert!(
            table.committable().unwrap() <= offset,
            "until it is reported"
        );
    }
    table.refusals_max = 0;
    let one_too_many = retry_of(&mut table, 1000, |_| ());
    let id = one_too_many.record_id.clone();
    let outcome = table.ingest_one(one_too_many);
    assert!(matches!(outcome, Outcome::LeftOut { .. }), "{outcome:?}");
    assert!(table.hash(id.as_str()).is_empty(), "it is only counted");
    table.refusals_max = u32::MAX;
    let same = retry_of(&mut table, 0, |_| ());
    assert_eq!(table.ingest_one(same), Outcome::Duplicate);

    // An honest one, pressed twice. What does not concern the probes may change.
    let [first, second] = [10, 20].map(|wait_s| {
        let mut new = retry_of(&mut table, 1, |_| ());
        let task = new.task.as_mut().unwrap();
        task.wait_s = wait_s;
        task.band_width = "7".parse().unwrap();
        new
    });
    assert!(matches!(table.ingest_one(first), Outcome::Again { .. }));
    let second = NewTask {
        offset: table.cursor().next,
        record_id: TaskId::of_record(0, table.cursor().next),
        ..second
    };
    assert_eq!(table.ingest_one(second), Outcome::Duplicate);
    assert_eq!(table.hash("t")["retry"], "1");
    let claim = table.claim().unwrap();
    assert_eq!((claim.task.wait_s, claim.lineage.attempt), (10, 1));
    assert_eq!(table.end(&claim.claim()), ClaimState::Ok);
    let completed = retry_of(&mut table, 2, |_| ());
    refused(&table.ingest_one(completed), "it has ended as completed");

    // The rate of a shard decides which probes are sent.
    let mut table = Table::new("takeover-shard");
    let shard: Change = |task| task.shard = "1/2".parse().ok();
    let original = retry_of(&mut table, 0, shard);
    assert_eq!(table.ingest_one(original), Outcome::Added);
    table.cancel_next();
    let other_rate = retry_of(&mut table, 1, |task| {
        shard(task);
        task.band_width = "7".parse().unwrap();
    });
    refused(
        &table.ingest_one(other_rate),
        "`band_width` differs from the task's",
    );
    let same_rate = retry_of(&mut table, 1, shard);
    assert!(matches!(table.ingest_one(same_rate), Outcome::Again { .. }));
}

/// The checkpoint of a retry is what Redis knows, or what scan-status says after Redis lost its data; never part of the record.
fn checkpoint_of_a_retry() {
    let forged =
        br#"{"task_id":"t","ip_range":"172.16.0.0/24","ports":"443","band_width":"1000","retry":1,
        "resume_pass":1,"resume_index":250,"resume_found_by_pass":[9],"resume_for":"1-1-1000-1"}"#;
    let mut table = Table::new("checkpoint-of-a-retry");
    table.add("t", 5);
    let claim = table.claim().unwrap().claim();
    table.checkpoint(&claim, 7);
    let failed = Ending {
        status: State::Failed,
        ..ending(&claim)
    };
    assert_eq!(table.end_as(&failed), ClaimState::Ok);
    let mut retry = retry_of(&mut table, 1, |_| ());
    retry.task = Some(Task::from_record(forged).unwrap());
    let again = Outcome::Again {
        resume: resume_at(7),
    };
    assert_eq!(table.ingest_one(retry), again);
    assert_eq!(table.claim().unwrap().resume, resume_at(7));

    // Redis lost its data, and the task's first record is read again.
    let mut table = Table::new("restored-end");
    let record: StatusRecord = serde_json::from_str(
        r#"{"task_id":"t","status":"failed","server":"a","attempt":3,"fence":77,"found":5,"error":"why","partition":0,"offset":0,
            "resume_index":9,"at_ms":1}"#,
    )
    .unwrap();
    let mut first = new_task("t", table.cursor().next, 5);
    first.disposition = Disposition::Ended {
        restored: Some(Box::new(record)),
    };
    assert_eq!(table.ingest_one(first), Outcome::Ended);
    assert!(table.claim().is_none());
    let next = table.cursor().next;
    assert_eq!(table.committable(), Some(next), "it has ended");
    let id: TaskId = "t".parse().unwrap();
    let known = table.claim_table.task(&id).unwrap().unwrap();
    assert_eq!(
        (known.status, known.error.as_deref()),
        (State::Failed, Some("why"))
    );
    let forged = retry_of(&mut table, 1, |task| task.ports = "22".parse().unwrap());
    assert!(matches!(table.ingest_one(forged), Outcome::Refused { .. }));
    let retry = retry_of(&mut table, 1, |_| ());
    let again = Outcome::Again {
        resume: resume_at(9),
    };
    assert_eq!(table.ingest_one(retry), again);
    let claimed = table.claim().unwrap();
    assert_eq!((claimed.resume, claimed.lineage.attempt), (resume_at(9), 1));
    assert!(claimed.lineage.fence > 77);

    // Redis knows nothing of the task: the record defines it, and it begins at 0.
    let mut table = Table::new("unknown-retry");
    let unknown = retry_of(&mut table, 3, |_| ());
    assert_eq!(table.ingest_one(unknown), Outcome::Added);
    assert_eq!(table.claim().unwrap().resume, Resume::default());
}

/// In a rebuild the task that a record would start again may not be in the table yet.
fn retry_of_unknown_task() {
    let mut table = Table::new("retry-of-unknown-task");
    let unless_known = "not restored".to_owned();
    let retry = |table: &mut Table| NewTask {
        disposition: Disposition::Retry {
            unless_known: unless_known.clone(),
        },
        ..retry_of(table, 1, |_| ())
    };
    let early = retry(&mut table);
    let id = early.record_id.clone();
    match table.ingest_one(early) {
        Outcome::Refused { reason, .. } => {
            assert_eq!(reason, "it would start task t again: not restored");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table.hash(id.as_str())["ending"], "rejected");
    assert!(table.hash("t").is_empty());
    table.add("t", 5);
    table.cancel_next();
    let later = retry(&mut table);
    assert!(matches!(table.ingest_one(later), Outcome::Again { .. }));
    let claim = table.claim().unwrap();
    assert_eq!(claim.task.retry, 1);
    assert!(!table.hash("t").contains_key("error"));
}

fn lost_servers() {
    let mut table = Table::new("lost-servers");
    table.add("t", 5);
    for lost in 0..9 {
        let claimed = table.claim().unwrap();
        assert_eq!(
            (claimed.lineage.lost, claimed.lineage.attempt),
            (lost, lost + 1),
            "each lost server counts as such"
        );
        table.expire("t");
        let reaped = table.claim_table.reap("b", LEASE, 10, true).unwrap();
        assert!(
            matches!(&reaped[..], [Reaped::Requeued { lost_server, .. }] if lost_server == "a")
        );
    }
    table.claim().unwrap();
    table.expire("t");
    let reaped = table.claim_table.reap("b", LEASE, 10, true).unwrap();
    let [Reaped::Ending { task, .. }] = &reaped[..] else {
        panic!("{reaped:?}")
    };
    assert_eq!(task.status, State::Failed, "the task may be the cause");
    assert!(task.error.as_deref().unwrap().contains("10 servers"));
    assert_eq!(table.end_as(task), ClaimState::Ok);
}

impl Table {
    fn end_as(&mut self, ending: &Ending) -> ClaimState {
        assert_eq!(self.claim_table.decide_end(ending).unwrap(), ClaimState::Ok);
        self.claim_table.finish(ending).unwrap()
    }
}

fn claim_twice() {
    let mut table = Table::new("claim-twice");
    table.add("t0", 5);
    table.add("t1", 5);
    let mut claim = |call: &str| match table.claim_table.claim("a", call, LEASE, &load(), "") {
        Ok(Answer::Task(claimed)) => claimed.claim(),
        other => panic!("{other:?}"),
    };
    let first = claim("one");
    assert_eq!(claim("one"), first, "as if the first answer was lost");
    assert_ne!(claim("two").task_id, first.task_id);
}

/// Invariant 6, as far as Redis decides. The server's part is tested in src/scand/claims/held_claims.rs and src/model/lease.rs.
fn clock_of_redis() {
    let mut table = Table::new("clock");
    table.add("t", 5);
    let short = Duration::from_millis(400);
    let answer = table
        .claim_table
        .claim("a", "call", short, &load(), "")
        .unwrap();
    let Answer::Task(claimed) = answer else {
        panic!("{answer:?}")
    };
    assert!(
        table
            .claim_table
            .reap("b", short, 10, true)
            .unwrap()
            .is_empty()
    );
    let end: f64 = {
        let key = table.key("running");
        table.redis.zscore(key, "t").unwrap()
    };
    let reaped = wait_for("the lease to expire", Duration::from_secs(10), || {
        let reaped = table.claim_table.reap("b", short, 10, true).unwrap();
        (!reaped.is_empty()).then_some(reaped)
    });
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut table.redis).unwrap();
    assert!((seconds * 1000 + micros / 1000) as f64 >= end);
    assert!(matches!(&reaped[..], [Reaped::Requeued { .. }]));
    assert_eq!(table.renew(short, &[claimed.claim()]), [Renewal::Lost]);
}

impl Table {
    /// Changes Redis as if its clock had been this much ahead until now: the times of the queues, of the claims, and of the last call.
    fn set_times_ahead(&mut self, ms: i64) {
        for queue in ["running", "delayed", "servers", "outbox"] {
            let key = self.key(queue);
            let members: Vec<(String, f64)> = self.redis.zrange_withscores(&key, 0, -1).unwrap();
            for (member, score) in members.into_iter().filter(|&(_, score)| score > 1.0) {
                let _: () = self.redis.zadd(&key, &member, score + ms as f64).unwrap();
                let moved = match queue {
                    "running" => Some((format!("task:{member}"), "started_ms")),
                    "servers" => Some((format!("server:{member}"), "seen_ms")),
                    _ => None,
                };
                if let Some((name, field)) = moved {
                    let key = self.key(&name);
                    let _: () = self.redis.hincr(&key, field, ms).unwrap();
                }
            }
        }
        let key = self.key("watermarks");
        let _: () = self.redis.hincr(&key, "the clock", ms).unwrap();
    }

    /// How long it is to the time of a member of a queue, in milliseconds.
    fn remaining_ms(&mut self, queue: &str, member: &str) -> i64 {
        let key = self.key(queue);
        let score: f64 = self.redis.zscore(key, member).unwrap();
        score as i64 - now_ms() as i64
    }

    /// How long it was to that time at the last call of a server.
    fn remained_ms(&mut self, queue: &str, member: &str) -> i64 {
        let (queue, watermarks) = (self.key(queue), self.key("watermarks"));
        let score: f64 = self.redis.zscore(queue, member).unwrap();
        let clock: i64 = self.redis.hget(watermarks, "the clock").unwrap();
        score as i64 - clock
    }
}

/// Invariant 6: what is left of a lease, a delay and a heartbeat stays the same.
fn clock_jumps() {
    let hour_ms = HOUR.as_millis() as i64;
    // Those of half a minute are not logged.
    for jump_ms in [-hour_ms, hour_ms, -30 * 24 * hour_ms, -30_000, 30_000] {
        let mut table = Table::new("clock-jumps");
        table.add("delayed", 5);
        let delayed = table.claim().unwrap().claim();
        let delay = Duration::from_secs(100);
        assert_eq!(table.release(&delayed, delay, true), ClaimState::Ok);
        for id in ["running", "dead", "unowned", "paused"] {
            table.add(id, 5);
        }
        let claims: Vec<Claim> = (0..2).map(|_| table.claim().unwrap().claim()).collect();
        let [unowned, paused] = ["unowned", "paused"].map(|id| id.parse::<TaskId>().unwrap());
        table
            .claim_table
            .control(Order::Cancel, &[unowned])
            .unwrap();
        table.claim_table.control(Order::Pause, &[paused]).unwrap();
        table.expire("dead");
        // Its attempt began ten minutes ago.
        let ran = Duration::from_secs(600);
        let running = table.key("task:running");
        let _: () = table
            .redis
            .hincr(running, "started_ms", -(ran.as_millis() as i64))
            .unwrap();
        let remained = table.remained_ms("delayed", "delayed");

        // An order of scanpush may be the first call after the jump; it moves the times once.
        table.set_times_ahead(-jump_ms);
        let id: TaskId = "delayed".parse().unwrap();
        if jump_ms > 0 {
            let mut scanpush = table.fleet.claim_table();
            let done = scanpush.control(Order::Resume, &[id]).unwrap();
            assert_eq!(done.len(), 1);
        }
        let renewed = table.claim_table.renew(LEASE, &claims[..1], true).unwrap();
        assert_eq!(renewed.claims, [Renewal::Ok]);
        assert!(renewed.has_outbox, "{jump_ms}: it waited before the jump");
        let counted_ms = if jump_ms < 0 { 0 } else { 1000 };
        let remains = table.remained_ms("delayed", "delayed");
        assert_eq!(remains, remained - counted_ms, "{jump_ms}");
        let departed = table.key("departed");
        let is_young: bool = table.redis.exists(departed).unwrap();
        assert!(is_young, "{jump_ms}: no refusal counts as old");
        let around = |ms: i64, expected: Duration| {
            let expected = expected.as_millis() as i64;
            (expected - 5000..=expected).contains(&ms)
        };
        let left = table.remaining_ms("delayed", "delayed");
        assert!(around(left, delay), "{jump_ms}: {left}");
        let heard = table.remaining_ms("servers", "a");
        assert!(around(heard, Duration::ZERO), "{jump_ms}: {heard}");
        let servers = table.claim_table.servers().unwrap();
        let age_ms = servers.iter().find(|one| one.server == "a").unwrap().age_ms;
        assert!(
            around(-(age_ms as i64), Duration::ZERO),
            "{jump_ms}: {age_ms}"
        );
        let reaped = table.claim_table.reap("b", LEASE, 10, true).unwrap();
        let mut ids: Vec<&str> = reaped
            .iter()
            .map(|reaped| match reaped {
                Reaped::Requeued { task, .. } | Reaped::Ending { task, .. } => {
                    task.task_id.as_str()
                }
                Reaped::Unreadable { error, .. } => panic!("{error}"),
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, ["dead", "unowned"], "{jump_ms}");
        assert!(table.is_running("running"));
        let left = table.remaining_ms("running", "running");
        assert!(around(left, LEASE), "{jump_ms}: {left}");

        // The next call follows no jump.
        table.renew(LEASE, &[]);
        let left = table.remaining_ms("delayed", "delayed");
        assert!(around(left, delay), "{jump_ms}: {left}");

        // The jump is no part of the time for which the task ran.
        table.release(&claims[0], Duration::ZERO, true);
        let ran_ms: i64 = table.hash("running")["ran_ms"].parse().unwrap();
        let added = ran_ms - ran.as_millis() as i64;
        assert!((0..5000).contains(&added), "{jump_ms}: {ran_ms}");
    }
}

// --- random operations

#[derive(Clone, Debug)]
enum Operation {
    /// Number of new tasks, and their priority.
    Ingest(u8, u8),
    /// The last record again, at an old cursor.
    IngestStale,
    Claim,
    /// From here on the number selects one of all claims so far.
    Renew(usize),
    Progress(usize),
    End(usize),
    /// The flags: delayed, gives back the attempt.
    Release(usize, bool, bool),
    /// The lease expires, and the claim is reaped.
    Lose(usize),
    /// The server may not run the task.
    Refuse(usize),
    /// What the server may run changes: all tasks are offered to it again.
    ChangeCapabilities,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (1u8..4, 0u8..10).prop_map(|(count, priority)| Operation::Ingest(count, priority)),
        1 => Just(Operation::IngestStale),
        5 => Just(Operation::Claim),
        1 => any::<usize>().prop_map(Operation::Renew),
        1 => any::<usize>().prop_map(Operation::Progress),
        3 => any::<usize>().prop_map(Operation::End),
        2 => (any::<usize>(), any::<bool>(), any::<bool>())
            .prop_map(|(claim, delayed, back)| Operation::Release(claim, delayed, back)),
        2 => any::<usize>().prop_map(Operation::Lose),
        4 => any::<usize>().prop_map(Operation::Refuse),
        1 => Just(Operation::ChangeCapabilities),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Ready,
    Delayed,
    Running(u64),
    Ended,
}

#[derive(Debug)]
struct Expected {
    priority: u8,
    place: Place,
    fence: u64,
    lost: u32,
    /// The server has refused it.
    is_refused: bool,
}

/// The expected contents of the table. The task at offset n is named `t<n>`.
#[derive(Default)]
struct Model {
    tasks: Vec<Expected>,
    claims: Vec<Claim>,
    capabilities: u32,
}

impl Model {
    /// The task of a claim, and whether the claim is valid.
    fn task_of(&mut self, claim: &Claim) -> (&mut Expected, bool) {
        let task = &mut self.tasks[offset_of(claim.task_id.as_str())];
        let is_valid = task.place == Place::Running(claim.fence);
        (task, is_valid)
    }

    fn best(&self) -> Option<usize> {
        (0..self.tasks.len())
            .filter(|&n| self.tasks[n].place == Place::Ready && !self.tasks[n].is_refused)
            .min_by_key(|&n| (9 - self.tasks[n].priority, n))
    }
}

fn offset_of(id: &str) -> usize {
    id.strip_prefix('t').unwrap().parse().unwrap()
}

fn random_operations() {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let fleet = Fleet::new("random-operations");
    let cases = Cell::new(0);
    TestRunner::new(config)
        .run(
            &prop::collection::vec(operation(), OPERATIONS..OPERATIONS + 1),
            |operations| {
                cases.set(cases.get() + 1);
                let mut table = Table::of(&fleet.with_group(&cases.get().to_string()));
                let mut model = Model::default();
                for operation in operations {
                    apply(&mut table, &mut model, &operation)?;
                    check(&mut table, &model)?;
                }
                Ok(())
            },
        )
        .unwrap();
}

/// Applies the operation to the table and to the model, and compares the answers.
fn apply(table: &mut Table, model: &mut Model, operation: &Operation) -> Result<(), TestCaseError> {
    let chosen = |claims: &[Claim], n: usize| claims.get(n % claims.len().max(1)).cloned();
    match operation {
        Operation::Ingest(count, priority) => {
            let cursor = table.cursor();
            let tasks: Vec<NewTask> = (0..i64::from(*count))
                .map(|n| cursor.next + n)
                .map(|offset| new_task(&format!("t{offset}"), offset, *priority))
                .collect();
            let added = vec![Outcome::Added; tasks.len()];
            prop_assert_eq!(table.ingest_at(&cursor, &tasks), Ingested::Done(added));
            for _ in tasks {
                model.tasks.push(Expected {
                    priority: *priority,
                    place: Place::Ready,
                    fence: 0,
                    lost: 0,
                    is_refused: false,
                });
            }
        }
        Operation::IngestStale => {
            let mut cursor = table.cursor();
            if cursor.next > 0 {
                cursor.next -= 1;
                let last = new_task(&format!("t{}", cursor.next), cursor.next, 9);
                prop_assert_eq!(table.ingest_at(&cursor, &[last]), Ingested::Moved);
            }
        }
        Operation::Claim => {
            let claimed = match claim_with(table, &model.capabilities.to_string()) {
                Answer::Task(claimed) => Some(*claimed),
                Answer::None | Answer::Idle(_) => None,
                other => panic!("{other:?}"),
            };
            let id = claimed.as_ref().map(|c| c.claim().task_id.to_string());
            let best = model.best().map(|n| format!("t{n}"));
            prop_assert_eq!(id, best, "higher priority first, then first come");
            if let Some(claimed) = claimed {
                let task = &mut model.tasks[offset_of(claimed.claim().task_id.as_str())];
                prop_assert!(claimed.claim().fence > task.fence, "fences increase");
                task.fence = claimed.claim().fence;
                task.place = Place::Running(claimed.claim().fence);
                model.claims.push(claimed.claim());
            }
        }
        Operation::Renew(n) => {
            if let Some(claim) = chosen(&model.claims, *n) {
                let state = table.renew(LEASE, std::slice::from_ref(&claim))[0];
                prop_assert_eq!(state == Renewal::Ok, model.task_of(&claim).1);
            }
        }
        Operation::Progress(n) => {
            if let Some(claim) = chosen(&model.claims, *n) {
                let before = table.hash(claim.task_id.as_str());
                table.progress(&claim, 50.0);
                if !model.task_of(&claim).1 {
                    prop_assert_eq!(table.hash(claim.task_id.as_str()), before);
                }
            }
        }
        Operation::End(n) => {
            if let Some(claim) = chosen(&model.claims, *n) {
                let state = table.end(&claim);
                let (task, is_valid) = model.task_of(&claim);
                prop_assert_eq!(state == ClaimState::Ok, is_valid);
                if is_valid {
                    task.place = Place::Ended;
                }
            }
        }
        Operation::Release(n, delayed, back) => {
            if let Some(claim) = chosen(&model.claims, *n) {
                let delay = if *delayed { HOUR } else { Duration::ZERO };
                let state = table.release(&claim, delay, *back);
                let (task, is_valid) = model.task_of(&claim);
                prop_assert_eq!(state == ClaimState::Ok, is_valid);
                if is_valid {
                    task.place = if *delayed {
                        Place::Delayed
                    } else {
                        Place::Ready
                    };
                }
            }
        }
        Operation::Lose(n) => {
            if let Some(claim) = chosen(&model.claims, *n) {
                let (task, is_valid) = model.task_of(&claim);
                // The tenth lost server would end the task.
                if is_valid && task.lost < 9 {
                    task.lost += 1;
                    task.place = Place::Ready;
                    table.expire(claim.task_id.as_str());
                    let reaped = table.claim_table.reap("b", LEASE, 10, true).unwrap();
                    prop_assert_eq!(reaped.len(), 1);
                }
            }
        }
        Operation::Refuse(n) => {
            if let Some(claim) = chosen(&model.claims, *n) {
                let capabilities = model.capabilities.to_string();
                let refused = refuse(table, &claim, &capabilities);
                let (task, is_valid) = model.task_of(&claim);
                prop_assert_eq!(refused == Refused::Kept, is_valid);
                if is_valid {
                    task.place = Place::Ready;
                    task.is_refused = true;
                }
            }
        }
        Operation::ChangeCapabilities => {
            model.capabilities += 1;
            model
                .tasks
                .iter_mut()
                .for_each(|task| task.is_refused = false);
        }
    }
    Ok(())
}

/// Checks invariants 2 and 5 in Redis.
fn check(table: &mut Table, model: &Model) -> Result<(), TestCaseError> {
    let queues: Vec<BTreeSet<String>> = ["ready", "delayed", "running", "paused"]
        .map(|queue| table.members(queue))
        .into();
    for (n, task) in model.tasks.iter().enumerate() {
        let id = format!("t{n}");
        let places: Vec<usize> = (0..4).filter(|&at| queues[at].contains(&id)).collect();
        let expected: &[usize] = match task.place {
            Place::Ready => &[0],
            Place::Delayed => &[1],
            Place::Running(_) => &[2],
            Place::Ended => &[],
        };
        prop_assert_eq!(places, expected, "{}: in exactly one place", id);
    }
    let unfinished = |task: &&Expected| task.place != Place::Ended;
    let lowest = model
        .tasks
        .iter()
        .position(|task| unfinished(&task))
        .unwrap_or(model.tasks.len());
    prop_assert_eq!(table.committable(), Some(lowest as i64));
    prop_assert_eq!(table.cursor().next, model.tasks.len() as i64);
    Ok(())
}
