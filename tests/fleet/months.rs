//! What grows over months: in Redis with half a year of tasks, servers and jobs, and in a server with many short tasks.
//!
//! Redis is filled with the claim table's own calls. A day passes at once: the test makes every expiry, and every time by which servers are forgotten, a day earlier.

use crate::support::{Fleet, OwnPeer, SOON, Scand, run_command, wait_until};
use crate::{Needs, Test};
use scan::claim_table::{
    Answer, Beginning, CallingServer, Claimed, Disposition, Ending, Ingest, Ingested, Load,
    NewTask, Order, Start,
};
use scan::model::resume::Position;
use scan::model::{Extent, FoundByPass, Lineage, Resume, State, Task, TaskId};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "months_of_tasks_servers_and_jobs_leave_redis_bounded",
        Needs::KafkaAndRedis,
        months,
    ),
    (
        "hundreds_of_tasks_leave_the_memory_and_the_files_of_a_server_bounded",
        Needs::KafkaAndRedis,
        server,
    ),
];

/// Half a year, if `SCAN_MONTHS=6`.
const HALF_A_YEAR_DAYS: u32 = 180;
/// The days of a usual run: all that ends is kept for 7 days.
const DAYS: u32 = 16;
/// After this many days as much is removed as is added.
const STEADY_AFTER_DAYS: u32 = 10;
/// Per day, of 100 000 tasks, 10 000 servers and 1 000 jobs in half a year.
const JOBS_PER_DAY: u32 = 6;
const TASKS_PER_JOB: u32 = 96;
const SERVERS_PER_DAY: u32 = 56;
/// For how many days something that ended may be in Redis.
const KEPT_DAYS: u32 = 8;
const LEASE: Duration = Duration::from_secs(60);

/// Makes a day pass. ARGV[1]: the group's prefix; ARGV[2]: the server that stays.
const NEXT_DAY: &str = r"
local day_ms = 24 * 3600 * 1000
local at = '0'
repeat
  local page = redis.call('SCAN', at, 'COUNT', 10000)
  at = page[1]
  for _, key in ipairs(page[2]) do
    local left = redis.call('PTTL', key)
    if left > day_ms then redis.call('PEXPIRE', key, left - day_ms) elseif left >= 0 then redis.call('DEL', key) end
  end
until at == '0'
local servers = redis.call('ZRANGE', ARGV[1] .. 'servers', 0, -1, 'WITHSCORES')
for i = 1, #servers, 2 do
  if servers[i] ~= ARGV[2] then redis.call('ZADD', ARGV[1] .. 'servers', servers[i + 1] - day_ms, servers[i]) end
end
local marks = redis.call('HGETALL', ARGV[1] .. 'watermarks')
for i = 1, #marks, 2 do
  if string.sub(marks[i], 1, 7) == 'server-' then
    redis.call('HSET', ARGV[1] .. 'watermarks', marks[i], string.format('%.0f', marks[i + 1] - day_ms * 1000))
  end
end
";

/// Tasks of each round of the server's test, and rounds. The first round fills caches.
const ROUND_TASKS: u32 = 200;
const ROUNDS: u32 = 4;
/// Rounds if `SCAN_MONTHS=6`.
const MANY_ROUNDS: u32 = 24;
/// What a server's memory may grow by after the first round, in KiB: the allocator keeps something for each thread. It grows by 9 MiB in ten rounds,
/// and no further in the next ones.
const GROWTH_MAX_KIB: u64 = 14 << 10;

struct Months {
    fleet: Fleet,
    redis: redis::Connection,
    stays: scan::claim_table::ClaimTable,
    next_offset: i64,
    servers: u32,
    _peer: OwnPeer,
}

/// What is in Redis.
#[derive(Clone, Debug)]
struct Size {
    memory_bytes: u64,
    /// Number of keys by the first part of their names.
    keys: BTreeMap<String, u64>,
}

impl Months {
    fn start() -> Months {
        let mut fleet = Fleet::new("months");
        // Without a file: only memory is measured.
        let peer = fleet.start_redis(&["--appendonly", "no"]);
        let mut stays = fleet.claim_table().called_by(&CallingServer::new("stays"));
        let beginning = Beginning {
            from: 0,
            log_end: 0,
            epoch: "epoch",
            start: Start::Missing,
            lost_records: 0,
        };
        assert!(stays.begin(0, &beginning).unwrap());
        Months {
            redis: fleet.redis_connection(),
            fleet,
            stays,
            next_offset: 0,
            servers: 0,
            _peer: peer,
        }
    }

    /// Ingests the tasks of a job; one of them is not valid.
    fn push(&mut self, job: &str) {
        let tasks: Vec<NewTask> = (0..TASKS_PER_JOB)
            .map(|n| {
                let id: TaskId = format!("{job}-task-{n}-0123456789").parse().unwrap();
                let mut task = Task::new(
                    id.clone(),
                    format!("172.16.{}.0/24,192.0.2.0/25", n % 256)
                        .parse()
                        .unwrap(),
                    "80,443,8000-8100".parse().unwrap(),
                    Default::default(),
                );
                task.job_id = Some(job.parse().unwrap());
                task.parallel = (n % 2 == 0).then_some(4);
                let is_rejected = n == 7;
                let offset = self.next_offset + i64::from(n);
                NewTask {
                    offset,
                    record_id: TaskId::of_record(0, offset),
                    task_id: id,
                    task: (!is_rejected).then_some(task),
                    disposition: match is_rejected {
                        true => Disposition::Rejected {
                            reason: "invalid".to_owned(),
                        },
                        false => Disposition::New,
                    },
                }
            })
            .collect();
        let cursor = self.stays.cursors(&[0]).unwrap()[&0].clone().unwrap();
        self.next_offset += tasks.len() as i64;
        let run = Ingest {
            partition: 0,
            cursor: &cursor,
            next: self.next_offset,
            last: Some("fingerprint"),
            lost_records: 0,
            server: "stays",
            lease: LEASE,
            refusals_max: 0,
            tasks: &tasks,
        };
        assert!(matches!(
            self.stays.ingest(&run).unwrap(),
            Ingested::Done(_)
        ));
        // One is cancelled before it runs.
        self.stays
            .control(Order::Cancel, &[tasks[9].task_id.clone()])
            .unwrap();
    }

    /// A server comes, ends up to `most` tasks, and leaves, or is lost with the first of them.
    fn serve(&mut self, most: u32, is_lost: bool) {
        self.servers += 1;
        let name = format!("server-{}", self.servers);
        let mut table = self
            .fleet
            .claim_table()
            .called_by(&CallingServer::new(&name));
        for n in 0..most {
            let call = nanoid::nanoid!();
            let claimed = match table
                .claim(&name, &call, LEASE, &load(), "abilities")
                .unwrap()
            {
                Answer::Task(claimed) => claimed,
                Answer::None | Answer::Idle(_) => break,
                other => panic!("{other:?}"),
            };
            if is_lost && n == 0 {
                continue;
            }
            let state = if n % 5 == 0 {
                State::Failed
            } else {
                State::Completed
            };
            let ending = ending(&claimed, state);
            table.decide_end(&ending).unwrap();
            table.finish(&ending).unwrap();
        }
        if !is_lost {
            table.leave(&name).unwrap();
        }
    }

    /// Ends what lost servers ran, and what was cancelled or rejected.
    fn reap(&mut self) {
        run_command(
            &mut self.redis,
            &format!("ZUNIONSTORE {0} 1 {0} WEIGHTS 0", self.fleet.key("running")),
        );
        loop {
            let reaped = self.stays.reap("stays", LEASE, 500, true).unwrap();
            if reaped.is_empty() {
                break;
            }
            for one in reaped {
                if let scan::claim_table::Reaped::Ending { task, .. } = one {
                    self.stays.finish(&task).unwrap();
                }
            }
        }
        // The outbox of tasks that wait.
        for change in self
            .stays
            .outbox(LEASE, 1000)
            .unwrap()
            .into_iter()
            .flatten()
        {
            self.stays.published(&change.claim()).unwrap();
        }
    }

    fn day(&mut self, day: u32) {
        for job in 0..JOBS_PER_DAY {
            self.push(&format!("day-{day}-job-{job}-0123456789"));
        }
        for n in 0..SERVERS_PER_DAY {
            self.serve(JOBS_PER_DAY * TASKS_PER_JOB / SERVERS_PER_DAY, n % 2 == 0);
        }
        if day == 0 {
            println!("server: {} bytes each", self.bytes_each("server"));
        }
        // The rest of the day's tasks.
        for round in 0.. {
            self.reap();
            let queue = self.stays.queue().unwrap();
            if queue.ready + queue.throttled == 0 {
                break;
            }
            assert!(round < 100, "{queue:?}");
            self.serve(1000, false);
        }
        redis::cmd("EVAL")
            .arg(NEXT_DAY)
            .arg(0)
            .arg(self.fleet.key(""))
            .arg("stays")
            .exec(&mut self.redis)
            .unwrap();
    }

    fn size(&mut self) -> Size {
        let info: String = redis::cmd("INFO")
            .arg("memory")
            .query(&mut self.redis)
            .unwrap();
        let memory = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        let all: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.redis).unwrap();
        let mut keys = BTreeMap::new();
        let prefix = self.fleet.key("");
        for key in all {
            let name = key.strip_prefix(&prefix).unwrap();
            let kind = name.split(':').next().unwrap().to_owned();
            *keys.entry(kind).or_default() += 1;
        }
        Size {
            memory_bytes: memory.unwrap().trim().parse().unwrap(),
            keys,
        }
    }

    /// Bytes of the keys of one kind, on average.
    fn bytes_each(&mut self, kind: &str) -> u64 {
        let pattern = self
            .fleet
            .key(&format!("{kind}:*"))
            .replace(['[', ']'], "?");
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query(&mut self.redis)
            .unwrap();
        let bytes = keys.iter().map(|key| -> u64 {
            redis::cmd("MEMORY")
                .arg("USAGE")
                .arg(key)
                .query(&mut self.redis)
                .unwrap()
        });
        bytes.sum::<u64>() / (keys.len() as u64).max(1)
    }

    fn length(&mut self, command: &str, key: &str) -> u64 {
        redis::cmd(command)
            .arg(self.fleet.key(key))
            .query(&mut self.redis)
            .unwrap()
    }
}

fn load() -> Load {
    Load {
        slots: 8,
        free: 8,
        held: 0,
        rate_used: 0,
        max_rate: 100_000,
        fault: None,
    }
}

fn ending(claimed: &Claimed, status: State) -> Ending {
    Ending {
        task_id: claimed.task.task_id.clone(),
        lineage: Lineage {
            attempt: 1,
            fence: claimed.claim().fence,
            ..Lineage::default()
        },
        status,
        error: (status == State::Failed)
            .then(|| "masscan exited with code 1: FAIL: an error".to_owned()),
        found: FoundByPass::default().with(1, 100),
        resume: Resume {
            position: Position {
                pass: 1,
                index: 4096,
            },
            ..Resume::default()
        },
        extent: Extent::default(),
    }
}

fn is_half_a_year() -> bool {
    std::env::var("SCAN_MONTHS").is_ok_and(|months| months == "6")
}

fn months() {
    let days = if is_half_a_year() {
        HALF_A_YEAR_DAYS
    } else {
        DAYS
    };
    let mut months = Months::start();
    let empty = months.size().memory_bytes;
    let began = Instant::now();
    let mut steady = None;
    for day in 0..days {
        months.day(day);
        if day == STEADY_AFTER_DAYS {
            steady = Some(months.size());
        }
        if day % 10 == 0 {
            let size = months.size();
            println!(
                "day {day}: {} KiB, keys {:?}",
                (size.memory_bytes - empty) >> 10,
                size.keys
            );
        }
    }
    let (steady, end) = (steady.unwrap(), months.size());
    let tasks = months.next_offset;
    println!(
        "{days} days, {tasks} tasks, {} servers, {} jobs in {:.1?}: {} KiB after {STEADY_AFTER_DAYS} days, {} KiB at the end, keys {:?}",
        months.servers,
        days * JOBS_PER_DAY,
        began.elapsed(),
        (steady.memory_bytes - empty) >> 10,
        (end.memory_bytes - empty) >> 10,
        end.keys
    );
    for kind in ["task", "job"] {
        println!("{kind}: {} bytes each", months.bytes_each(kind));
    }

    let count = |kind: &str| end.keys.get(kind).copied().unwrap_or(0);
    let per_day = u64::from(JOBS_PER_DAY * TASKS_PER_JOB);
    assert!(count("task") <= u64::from(KEPT_DAYS) * per_day, "{end:?}");
    assert!(
        count("task") >= 6 * per_day,
        "ended tasks are kept for 7 days: {end:?}"
    );
    assert!(
        count("job") <= u64::from(KEPT_DAYS * JOBS_PER_DAY),
        "{end:?}"
    );
    assert_eq!(count("unfinished"), 0, "{end:?}");
    assert!(count("server") <= u64::from(2 * SERVERS_PER_DAY), "{end:?}");
    let others = end
        .keys
        .iter()
        .filter(|(kind, _)| !["task", "job", "server"].contains(&kind.as_str()));
    assert!(others.map(|(_, count)| count).sum::<u64>() <= 10, "{end:?}");
    assert_eq!(months.length("ZCARD", "open:0"), 1, "only the cursor");
    for queue in [
        "ready",
        "delayed",
        "running",
        "paused",
        "outbox",
        "throttled",
    ] {
        assert_eq!(months.length("ZCARD", queue), 0, "{queue}");
    }
    assert!(months.length("ZCARD", "servers") <= u64::from(2 * SERVERS_PER_DAY));
    assert!(months.length("HLEN", "watermarks") <= u64::from(3 * SERVERS_PER_DAY));
    assert!(months.length("HLEN", "cursor") <= 10);
    assert!(
        (end.memory_bytes - empty) as f64 <= 1.2 * (steady.memory_bytes - empty) as f64,
        "{steady:?} {end:?}"
    );
}

/// What a server occupies.
#[derive(Clone, Copy, Debug)]
struct Occupied {
    memory_kib: u64,
    threads: u64,
    files: u64,
}

impl Occupied {
    fn by(server: &Scand) -> Occupied {
        let folder = format!("/proc/{}", server.child.id());
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.unwrap().split_whitespace().next().unwrap();
            value.parse().unwrap()
        };
        Occupied {
            memory_kib: field("VmRSS:"),
            threads: field("Threads:"),
            files: fs::read_dir(format!("{folder}/fd")).unwrap().count() as u64,
        }
    }
}

fn server() {
    let fleet = Fleet::new("short-tasks").with_standin(&json!({}));
    let tmp = fleet.folder.join("tmp");
    fs::create_dir(&tmp).unwrap();
    let tmp = tmp.to_str().unwrap();
    let server = fleet.scand_with("a", &["-slots", "16"], &[("TMPDIR", tmp)]);
    server.wait_for_log("ready: waiting for tasks");
    let network = fleet.network(0).replace(".0/24", "");
    let (mut rounds, mut ended) = (Vec::new(), 0);
    let count = if is_half_a_year() {
        MANY_ROUNDS
    } else {
        ROUNDS
    };
    for round in 0..count {
        let targets: Vec<String> = (0..ROUND_TASKS).map(|n| format!("{network}.{n}")).collect();
        let targets = targets.join(",");
        let words = [
            "-ip",
            &targets,
            "-ports",
            "1",
            "-wait",
            "0",
            "-bandwidth",
            "10000",
        ];
        ended += fleet.push(&words).len();
        wait_until("the tasks of the round to end", 2 * SOON, || {
            server.log().matches(": completed").count() >= ended
        });
        // Threads of ended scans, and what is freed with them.
        wait_until("all scans to be gone", SOON, || {
            fs::read_dir(tmp).unwrap().count() == 0
        });
        rounds.push(Occupied::by(&server));
        println!("round {round}: {:?}", rounds.last().unwrap());
    }
    let (first, last) = (rounds[0], rounds[rounds.len() - 1]);
    assert!(
        last.memory_kib <= first.memory_kib + GROWTH_MAX_KIB,
        "{rounds:?}"
    );
    assert!(last.threads <= first.threads + 2, "{rounds:?}");
    assert!(last.files <= first.files + 8, "{rounds:?}");
}
