//! The life of a claim: claim, renew, write progress, then finish or release; and the reaping of expired claims.

use super::connection::{ClaimTable, ms};
use super::error::ClaimTableError;
use super::fields::Fields;
use super::ingest::{ENDED_KEPT, script};
use super::order::Order;
use crate::model::resume::Position;
use crate::model::{Extent, FoundByPass, Lineage, Progress, Resume, State, Task, TaskId};
use redis::Script;
use serde::Serialize;
use std::sync::LazyLock;
use std::time::Duration;

/// A task that has lost this many servers (their lease expired) ends as failed, because it may be the cause.
const LOST_SERVERS_MAX: u32 = 10;
/// Maximum time for which a server leaves a task to a less loaded server.
const DEFERRAL_MAX: Duration = Duration::from_millis(1000);
/// A server whose last heartbeat is older than this does not count as a less loaded server.
pub const HEARTBEAT_FRESH: Duration = Duration::from_secs(7);
/// A server is removed from the table after this long without a heartbeat.
const SERVER_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Ready tasks that the server may run, among which one claim chooses.
const CLAIM_WINDOW_TASKS: usize = 64;
/// About how many tasks one claim throttles because their job already has as many tasks sending as it may.
const CLAIM_THROTTLED_MAX_TASKS: usize = 512;
/// About how many ready tasks one claim skips because its server may not run them; the server's next claim starts after them.
const CLAIM_SKIPPED_MAX_TASKS: usize = 512;
/// If a server skips [`CLAIM_WINDOW_TASKS`] tasks or more, it does not examine them again for this long. A task that becomes ready in front of them
/// may wait that long, and longer if there are tens of thousands.
const SKIPPED_KEPT: Duration = Duration::from_secs(1);
/// A task that no server may run is kept this long before it is rejected, counted from when all servers have refused it and from when the
/// last server left. Longer than a restart takes.
pub const REFUSED_BY_ALL_WAIT: Duration = Duration::from_secs(60);
/// A task that has waited this long for free rate is no longer overtaken by smaller ones.
const RATE_RESERVED_AFTER: Duration = Duration::from_secs(30);
/// The watermark of a server that does not call is kept this long. If the server calls again later, a loss that happened meanwhile may not be
/// noticed.
const WATERMARK_KEPT: Duration = Duration::from_secs(24 * 3600);
/// A server that failed a task leaves its next attempt to other servers with room for this long.
const FAILED_SERVER_AVOIDED: Duration = Duration::from_secs(30);

static CLAIM: LazyLock<Script> = script!("claim.lua");
static RENEW: LazyLock<Script> = script!("renew.lua");
static PROGRESS: LazyLock<Script> = script!("progress.lua");
static DECIDE_END: LazyLock<Script> = script!("decide_end.lua");
static FINISH: LazyLock<Script> = script!("finish.lua");
static RELEASE: LazyLock<Script> = script!("release.lua");
static REFUSE: LazyLock<Script> = script!("refuse.lua");
static LEAVE: LazyLock<Script> = script!("leave.lua");
static REAP: LazyLock<Script> = script!("reap.lua");

/// A server's load, by which the others decide whether to leave a task to it.
#[derive(Clone, Debug)]
pub struct Load {
    /// Scans that may send at the same time.
    pub slots: usize,
    /// Slots without a sending scan.
    pub free: usize,
    /// Claims held, including those whose scans only wait for late answers.
    pub held: usize,
    /// Packets per second that the sending scans may use.
    pub rate_used: u64,
    /// Maximum packets per second of this server.
    pub max_rate: u64,
    /// Why the server cannot scan; it then gets no tasks. None if it can.
    pub fault: Option<String>,
}

/// What identifies a claim. Every write of a running task compares its fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The task.
    pub task_id: TaskId,
    /// Increases with every claim of the task.
    pub fence: u64,
}

/// A claimed task with everything that its scan needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What to scan.
    pub task: Task,
    /// Its record, attempt and fence.
    pub lineage: Lineage,
    /// The checkpoint of earlier attempts.
    pub resume: Resume,
    /// When the scan began that this claim begins or continues, in unix milliseconds by Redis' clock. None if that is unknown: it continues a
    /// scan that began before Redis lost its data.
    pub begun_ms: Option<u64>,
    /// How long the task was ready to run before this claim, by Redis' clock. None if that is unknown.
    pub waited: Option<Duration>,
}

impl Claimed {
    /// What identifies the claim.
    pub fn claim(&self) -> Claim {
        Claim {
            task_id: self.task.task_id.clone(),
            fence: self.lineage.fence,
        }
    }
}

/// The answer to a claim call.
#[derive(Debug)]
pub enum Answer {
    /// There is no task for this server now.
    None,
    /// No task will be ready for this long unless one is queued.
    Idle(Duration),
    /// A task is left to a less loaded server for a moment: call again soon.
    Deferred,
    /// The hash of this queued task is lost.
    Vanished(String),
    /// None of the tasks that were considered may run on this server: the next call considers the ones after them.
    Skipped,
    /// This task is claimed for one lease.
    Task(Box<Claimed>),
    /// Claimed, but its hash cannot be read: the task has to be ended.
    Unreadable(Claim, ClaimTableError),
}

/// Whether a claim is still valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// It is valid.
    Ok,
    /// It belongs to another server or to none: stop and write nothing more.
    Lost,
    /// Redis does not know the task: it lost its data, and the rebuild may restore the claim.
    Gone,
}

/// The result of a renewal, and whether there is other work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// One answer for each claim, in the same order.
    pub claims: Vec<Renewal>,
    /// Whether [`ClaimTable::reap`] would find something.
    pub has_expired: bool,
    /// Whether [`ClaimTable::outbox`] would find something.
    pub has_outbox: bool,
}

/// The answer about one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is valid and renewed.
    Ok,
    /// It is valid and renewed, and an operator has ordered this.
    Ordered(Order),
    /// As [`ClaimState::Lost`].
    Lost,
    /// As [`ClaimState::Gone`].
    Gone,
}

/// A task whose end is decided and whose terminal record may be missing. This server has to end it.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The task.
    pub task_id: TaskId,
    /// The claim under which it is ended, and where its record is.
    pub lineage: Lineage,
    /// The terminal state.
    pub status: State,
    /// Why, if not completed.
    pub error: Option<String>,
    /// Findings of each pass.
    pub found: FoundByPass,
    /// Where the next attempt would begin.
    pub resume: Resume,
    /// What the scan covered, if it is completed.
    pub extent: Extent,
}

impl Ending {
    /// The end of a task with a field that cannot be read. None of its other fields are used.
    pub fn unreadable(claim: Claim, status: State, error: &ClaimTableError) -> Ending {
        Ending {
            task_id: claim.task_id,
            lineage: Lineage {
                fence: claim.fence,
                // Its partition and offset are not used either.
                ..Lineage::unclaimed(-1, -1)
            },
            status,
            error: Some(error.to_string()),
            found: FoundByPass::default(),
            resume: Resume::default(),
            extent: Extent::default(),
        }
    }

    /// The claim under which it is ended.
    pub fn claim(&self) -> Claim {
        Claim {
            task_id: self.task_id.clone(),
            fence: self.lineage.fence,
        }
    }
}

/// The result of refusing a claimed task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is left to the other servers, or a cancel or pause that was ordered has been carried out.
    Left,
    /// All servers of the group have refused it. It is kept for a while, because a server that can run it may be restarting.
    Kept,
    /// No server may run it: the caller ends it as rejected.
    Ending,
    /// The claim belongs to another server or to none.
    Lost,
}

/// An expired claim, and what happened to its task.
#[derive(Debug)]
pub enum Reaped {
    /// The task is queued again, or paused if that was ordered.
    Requeued {
        /// The server that stopped renewing its lease.
        lost_server: String,
        /// The task with its new state.
        task: Ending,
    },
    /// The caller has to end the task: its end is decided, or it has lost too many servers.
    Ending {
        /// The server that stopped renewing its lease; empty if none ran it.
        lost_server: String,
        /// The task, under a claim of the caller.
        task: Ending,
    },
    /// A field of the task cannot be read.
    Unreadable {
        /// The end that the caller has to publish, under a claim of its own; none if the task is queued again.
        ending: Option<Ending>,
        /// Which field it is.
        error: ClaimTableError,
    },
}

/// How a task is released.
#[derive(Clone, Debug)]
pub struct Release {
    /// It may not be claimed again before this time has passed.
    pub delay: Duration,
    /// The attempt does not count (drain, suspension, fault of the server).
    pub gives_back_attempt: bool,
    /// The attempt failed on this server, or the server cannot run scans: other servers are preferred for a while.
    pub failed_here: bool,
    /// The task's `error`.
    pub error: Option<String>,
    /// Where the next attempt begins.
    pub resume: Resume,
}

/// Live progress of one claim.
#[derive(Clone, Debug)]
pub struct LiveProgress {
    /// The claim.
    pub claim: Claim,
    /// masscan's last progress line; the percentage is that of the whole task.
    pub progress: Progress,
    /// Findings of each pass so far, including those of earlier attempts before the checkpoint.
    pub found: FoundByPass,
    /// The checkpoint.
    pub resume: Resume,
    /// Whether masscan has stopped sending probes. Then its rate is available to the next task of its job.
    pub sends_no_more: bool,
}

impl ClaimTable {
    /// Reports `load` and claims the best task that fits it, for one `lease`. `call` identifies this call: repeated with the same value
    /// after a lost answer, it returns the same task. Tasks that this server has refused with the same `capabilities` are
    /// skipped.
    pub fn claim(
        &mut self,
        server: &str,
        call: &str,
        lease: Duration,
        load: &Load,
        capabilities: &str,
    ) -> Result<Answer, ClaimTableError> {
        let arguments = ClaimCall {
            server,
            version: env!("CARGO_PKG_VERSION"),
            capabilities,
            call,
            lease_ms: ms(lease),
            slots: load.slots,
            free: load.free,
            held: load.held,
            rate_used: load.rate_used,
            max_rate: load.max_rate,
            fault: load.fault.as_deref(),
            limits: CLAIM_LIMITS,
        };
        let mut words = self.call::<Vec<String>>(&CLAIM, &arguments)?.into_iter();
        let what = words.next().unwrap_or_default();
        let fields: Vec<String> = words.collect();
        match what.as_str() {
            "none" => Ok(Answer::None),
            "idle" => idle(&fields.concat()),
            "deferred" => Ok(Answer::Deferred),
            "skipped" => Ok(Answer::Skipped),
            "vanished" => Ok(Answer::Vanished(fields.concat())),
            "task" => claimed(Fields::from_flat(fields)),
            other => Err(ClaimTableError::malformed("the answer of claim.lua", other)),
        }
    }

    /// Removes this server from the group: others no longer wait for it. Tasks that only it may run are kept for its return.
    pub fn leave(&mut self, server: &str) -> Result<(), ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            server: &'a str,
            refused_kept_ms: u64,
            watermark_kept_ms: u64,
        }
        let arguments = Arguments {
            server,
            refused_kept_ms: ms(REFUSED_BY_ALL_WAIT),
            watermark_kept_ms: ms(WATERMARK_KEPT),
        };
        self.call::<String>(&LEAVE, &arguments).map(drop)
    }

    /// Renews `claims` for one `lease`. Returns for each whether it is valid and what was ordered, and whether there is anything to reap (see
    /// [`ClaimTable::reap`] for `all`) or in the outbox: every server asks for this every second, so it is one call.
    pub fn renew(
        &mut self,
        lease: Duration,
        claims: &[Claim],
        all: bool,
    ) -> Result<Renewed, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            lease_ms: u64,
            all_expired: bool,
            claims: Vec<ClaimArguments<'a>>,
        }
        let arguments = Arguments {
            lease_ms: ms(lease),
            all_expired: all,
            claims: claims.iter().map(ClaimArguments::of).collect(),
        };
        let (has_expired, has_outbox, words): (bool, bool, Vec<String>) =
            self.call(&RENEW, &arguments)?;
        let claims: Result<Vec<Renewal>, ClaimTableError> =
            words.iter().map(|word| renewal(word)).collect();
        Ok(Renewed {
            claims: claims?,
            has_expired,
            has_outbox,
        })
    }

    /// Writes live progress of several claims; claims that are not valid are skipped.
    pub fn progress(&mut self, updates: &[LiveProgress]) -> Result<(), ClaimTableError> {
        #[derive(Serialize)]
        struct Update<'a> {
            #[serde(flatten)]
            claim: ClaimArguments<'a>,
            progress: String,
            rate_pps: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            remaining_s: Option<String>,
            #[serde(flatten)]
            found: FoundArguments,
            #[serde(flatten)]
            resume: ResumeArguments,
            sends_no_more: bool,
        }
        #[derive(Serialize)]
        struct Arguments<'a> {
            updates: Vec<Update<'a>>,
        }
        let updates = updates.iter().map(|update| Update {
            claim: ClaimArguments::of(&update.claim),
            progress: format!("{:.2}", update.progress.percent),
            rate_pps: format!("{:.0}", update.progress.rate_pps),
            remaining_s: update.progress.remaining_s.map(|s| s.to_string()),
            found: FoundArguments::of(update.found),
            resume: ResumeArguments::of(update.resume),
            sends_no_more: update.sends_no_more,
        });
        let arguments = Arguments {
            updates: updates.collect(),
        };
        self.call::<String>(&PROGRESS, &arguments).map(drop)
    }

    /// Decides how a claimed task ends. Its terminal record and [`ClaimTable::finish`] have to follow.
    pub fn decide_end(&mut self, ending: &Ending) -> Result<ClaimState, ClaimTableError> {
        let word: String = self.call(&DECIDE_END, &EndArguments::of(ending))?;
        self.wait_for_replica();
        state(&word)
    }

    /// Ends a task whose terminal record Kafka has acknowledged.
    pub fn finish(&mut self, ending: &Ending) -> Result<ClaimState, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            #[serde(flatten)]
            end: EndArguments<'a>,
            kept_ms: u64,
        }
        let arguments = Arguments {
            end: EndArguments::of(ending),
            kept_ms: ms(ENDED_KEPT),
        };
        let word: String = self.call(&FINISH, &arguments)?;
        self.wait_for_replica();
        state(&word)
    }

    /// Gives a claimed task back to the queue.
    pub fn release(&mut self, claim: &Claim, how: &Release) -> Result<ClaimState, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            #[serde(flatten)]
            claim: ClaimArguments<'a>,
            delay_ms: u64,
            gives_back_attempt: bool,
            failed_here: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
            #[serde(flatten)]
            resume: ResumeArguments,
        }
        let arguments = Arguments {
            claim: ClaimArguments::of(claim),
            delay_ms: ms(how.delay),
            gives_back_attempt: how.gives_back_attempt,
            failed_here: how.failed_here,
            error: how.error.as_deref(),
            resume: ResumeArguments::of(how.resume),
        };
        self.call::<String>(&RELEASE, &arguments)
            .and_then(|word| state(&word))
    }

    /// Gives a claimed task back that `server` may not run with its `capabilities`; `reason` becomes its error if no server may.
    pub fn refuse(
        &mut self,
        claim: &Claim,
        server: &str,
        capabilities: &str,
        reason: &str,
    ) -> Result<Refused, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            #[serde(flatten)]
            claim: ClaimArguments<'a>,
            server: &'a str,
            capabilities: &'a str,
            refused_kept_ms: u64,
            reason: &'a str,
        }
        let arguments = Arguments {
            claim: ClaimArguments::of(claim),
            server,
            capabilities,
            refused_kept_ms: ms(REFUSED_BY_ALL_WAIT),
            reason,
        };
        match self.call::<String>(&REFUSE, &arguments)?.as_str() {
            "left" => Ok(Refused::Left),
            "kept" => Ok(Refused::Kept),
            "ending" => Ok(Refused::Ending),
            "lost" | "gone" => Ok(Refused::Lost),
            other => Err(ClaimTableError::malformed(
                "the answer of refuse.lua",
                other,
            )),
        }
    }

    /// Takes at most `most` expired claims away from their servers; without `all`, only tasks that no server runs and that have to be
    /// ended. The caller gets the claims of tasks that have to be ended, for one `lease`.
    pub fn reap(
        &mut self,
        server: &str,
        lease: Duration,
        most: usize,
        all: bool,
    ) -> Result<Vec<Reaped>, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            server: &'a str,
            lease_ms: u64,
            max: usize,
            lost_max: u32,
            all_expired: bool,
        }
        let arguments = Arguments {
            server,
            lease_ms: ms(lease),
            max: most,
            lost_max: LOST_SERVERS_MAX,
            all_expired: all,
        };
        let entries: Vec<Vec<String>> = self.call(&REAP, &arguments)?;
        entries.into_iter().map(reaped).collect()
    }
}

/// The arguments of claim.lua.
#[derive(Serialize)]
struct ClaimCall<'a> {
    server: &'a str,
    version: &'static str,
    capabilities: &'a str,
    call: &'a str,
    lease_ms: u64,
    slots: usize,
    free: usize,
    held: usize,
    rate_used: u64,
    max_rate: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    #[serde(flatten)]
    limits: ClaimLimits,
}

/// The limits that claim.lua keeps to.
#[derive(Serialize)]
struct ClaimLimits {
    deferral_ms: u64,
    fresh_ms: u64,
    window: usize,
    throttled_max: usize,
    skipped_max: usize,
    skipped_kept_ms: u64,
    reserved_ms: u64,
    avoid_ms: u64,
    forgotten_ms: u64,
    refused_kept_ms: u64,
    watermark_kept_ms: u64,
}

const CLAIM_LIMITS: ClaimLimits = ClaimLimits {
    deferral_ms: ms(DEFERRAL_MAX),
    fresh_ms: ms(HEARTBEAT_FRESH),
    window: CLAIM_WINDOW_TASKS,
    throttled_max: CLAIM_THROTTLED_MAX_TASKS,
    skipped_max: CLAIM_SKIPPED_MAX_TASKS,
    skipped_kept_ms: ms(SKIPPED_KEPT),
    reserved_ms: ms(RATE_RESERVED_AFTER),
    avoid_ms: ms(FAILED_SERVER_AVOIDED),
    forgotten_ms: ms(SERVER_FORGOTTEN_AFTER),
    refused_kept_ms: ms(REFUSED_BY_ALL_WAIT),
    watermark_kept_ms: ms(WATERMARK_KEPT),
};

/// A claim as an argument. The fence is a string, because a Lua number would lose its last digits.
#[derive(Serialize)]
pub(super) struct ClaimArguments<'a> {
    id: &'a str,
    fence: String,
}

impl ClaimArguments<'_> {
    pub(super) fn of(claim: &Claim) -> ClaimArguments<'_> {
        ClaimArguments {
            id: claim.task_id.as_str(),
            fence: claim.fence.to_string(),
        }
    }
}

/// How a task ends, for decide_end.lua and finish.lua.
#[derive(Serialize)]
struct EndArguments<'a> {
    #[serde(flatten)]
    claim: ClaimArguments<'a>,
    status: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(flatten)]
    found: FoundArguments,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_exclude: Option<String>,
}

impl EndArguments<'_> {
    fn of(ending: &Ending) -> EndArguments<'_> {
        EndArguments {
            claim: ClaimArguments {
                id: ending.task_id.as_str(),
                fence: ending.lineage.fence.to_string(),
            },
            status: ending.status,
            error: ending.error.as_deref(),
            found: FoundArguments::of(ending.found),
            server_exclude: (ending.status == State::Completed)
                .then(|| ending.extent.server_exclude_text()),
        }
    }
}

/// Findings as arguments: the number that people see, and the one of each pass.
#[derive(Serialize)]
struct FoundArguments {
    found: String,
    found_by_pass: String,
}

impl FoundArguments {
    fn of(found: FoundByPass) -> FoundArguments {
        FoundArguments {
            found: found.most().to_string(),
            found_by_pass: found.to_string(),
        }
    }
}

/// A checkpoint as arguments; strings, like every field of a hash.
#[derive(Serialize)]
struct ResumeArguments {
    resume_pass: String,
    resume_index: String,
    resume_found_by_pass: String,
    resume_for: String,
}

impl ResumeArguments {
    fn of(resume: Resume) -> ResumeArguments {
        ResumeArguments {
            resume_pass: resume.position.pass.to_string(),
            resume_index: resume.position.index.to_string(),
            resume_found_by_pass: resume.found.to_string(),
            resume_for: resume
                .probe_order
                .map_or(String::new(), |probe_order| probe_order.to_string()),
        }
    }
}

fn idle(text: &str) -> Result<Answer, ClaimTableError> {
    let ms = text
        .parse()
        .map_err(|_| ClaimTableError::malformed("the idle time of claim.lua", text))?;
    Ok(Answer::Idle(Duration::from_millis(ms)))
}

fn state(word: &str) -> Result<ClaimState, ClaimTableError> {
    match word {
        "ok" => Ok(ClaimState::Ok),
        "lost" => Ok(ClaimState::Lost),
        "gone" => Ok(ClaimState::Gone),
        other => Err(ClaimTableError::malformed(
            "the answer about a claim",
            other,
        )),
    }
}

fn renewal(word: &str) -> Result<Renewal, ClaimTableError> {
    Ok(match state(word) {
        Ok(ClaimState::Ok) => Renewal::Ok,
        Ok(ClaimState::Lost) => Renewal::Lost,
        Ok(ClaimState::Gone) => Renewal::Gone,
        Err(error) => Renewal::Ordered(word.parse().map_err(|_| error)?),
    })
}

fn claim_of(fields: &Fields) -> Result<Claim, ClaimTableError> {
    Ok(Claim {
        task_id: fields.need("task_id")?,
        fence: fields.need("fence")?,
    })
}

pub(super) fn claimed(fields: Fields) -> Result<Answer, ClaimTableError> {
    let claim = claim_of(&fields)?;
    Ok(match claimed_task(&claim, &fields) {
        Ok(claimed) => Answer::Task(Box::new(claimed)),
        Err(error) => Answer::Unreadable(claim, error),
    })
}

fn claimed_task(claim: &Claim, fields: &Fields) -> Result<Claimed, ClaimTableError> {
    let record: String = fields.need("record")?;
    let task = Task::from_record(record.as_bytes()).map_err(|rejected| {
        ClaimTableError::malformed(
            format!("the record of task {}", claim.task_id),
            &rejected.reason,
        )
    })?;
    Ok(Claimed {
        lineage: Lineage {
            attempt: fields.need("attempt")?,
            ..lineage(fields)?
        },
        resume: resume(fields)?,
        begun_ms: begun_ms(fields),
        waited: waited(fields),
        task,
    })
}

pub(super) fn resume(fields: &Fields) -> Result<Resume, ClaimTableError> {
    Ok(Resume {
        position: Position {
            pass: fields.get("resume_pass")?.unwrap_or(Position::START.pass),
            index: fields.get("resume_index")?.unwrap_or(0),
        },
        found: fields.get("resume_found_by_pass")?.unwrap_or_default(),
        // A checkpoint of another version that cannot be parsed counts as none: the next attempt begins at 0.
        probe_order: fields.text("resume_for").and_then(|text| text.parse().ok()),
    })
}

pub(super) fn reaped(mut entry: Vec<String>) -> Result<Reaped, ClaimTableError> {
    let fields = Fields::from_flat(entry.split_off(entry.len().min(2)));
    let [what, lost_server] = <[String; 2]>::try_from(entry)
        .map_err(|entry| ClaimTableError::malformed("an answer of reap.lua", &entry.concat()))?;
    let end_state =
        (what != "requeued").then(|| fields.readable("ending").unwrap_or(State::Failed));
    Ok(match (waiting(&fields), end_state) {
        (Ok(task), None) => Reaped::Requeued { lost_server, task },
        (Ok(task), Some(status)) => {
            let task = Ending { status, ..task };
            Reaped::Ending { lost_server, task }
        }
        (Err(error), None) => Reaped::Unreadable {
            ending: None,
            error,
        },
        (Err(error), Some(status)) => Reaped::Unreadable {
            ending: Some(Ending::unreadable(claim_of(&fields)?, status, &error)),
            error,
        },
    })
}

/// A task with the state of its hash.
pub(super) fn waiting(fields: &Fields) -> Result<Ending, ClaimTableError> {
    Ok(Ending {
        task_id: fields.need("task_id")?,
        lineage: lineage(fields)?,
        status: fields.need("status")?,
        error: fields.text("error").map(str::to_owned),
        found: fields.get("found_by_pass")?.unwrap_or_default(),
        resume: resume(fields)?,
        extent: extent(fields),
    })
}

/// What the scan of a task covered whose end was decided as completed. Empty without `server_exclude`: the end is another one, or was decided by
/// an older version.
fn extent(fields: &Fields) -> Extent {
    match fields.text("server_exclude") {
        Some(server_exclude) => Extent::kept(begun_ms(fields), server_exclude),
        None => Extent::default(),
    }
}

/// From the time when the task became ready to the claim.
fn waited(fields: &Fields) -> Option<Duration> {
    let ready_ms: u64 = fields.text("ready_ms")?.parse().ok()?;
    let started_ms: u64 = fields.text("started_ms")?.parse().ok()?;
    Some(Duration::from_millis(started_ms.saturating_sub(ready_ms)))
}

/// Unknown rather than an error: a task does not fail because of it.
fn begun_ms(fields: &Fields) -> Option<u64> {
    fields.text("begun_ms")?.parse().ok()
}

fn lineage(fields: &Fields) -> Result<Lineage, ClaimTableError> {
    Ok(Lineage {
        attempt: fields.get("attempt")?.unwrap_or(0),
        fence: fields.need("fence")?,
        partition: fields.need("partition")?,
        offset: fields.need("offset")?,
        lost: fields.get("lost")?.unwrap_or(0),
        ran_ms: fields.get("ran_ms")?.unwrap_or(0),
        retry: fields.get("retry")?.unwrap_or(0),
    })
}
