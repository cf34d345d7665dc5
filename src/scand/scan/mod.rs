//! The threads `scan-N`: one masscan each, from its start to the handing over of its end.
//!
//! The loop is "look, handle, sleep": orders about the claim first, then all that masscan has said, then the clock. Findings don't wake
//! it: a look at what has come together costs a fraction of what it costs to be woken for each. Nothing in it waits for Kafka or
//! Redis: findings go out through a bounded buffer, and when that is full the scan is suspended.

pub mod offloads;
pub mod outcome;
pub mod progress;
pub mod results;

use crate::claim_table::{Ending, LiveProgress, Release};
use crate::kafka::Messages;
use crate::masscan::LOOK_EVERY_MAX;
use crate::masscan::LOOK_SOON;
use crate::masscan::{self, Child, Drained, Event, Exit, MasscanBinary, ScanArguments};
use crate::model::checkpoint::Checkpoint;
use crate::model::finding::{FindingWriter, write_address};
use crate::model::lease::retry_delay;
use crate::model::probe_order::Begin;
use crate::model::source::Source;
use crate::model::text::one_line;
use crate::model::{Estimate, Finding, ProbeOrder, Progress, Resume, State, StatusRecord};
use crate::scand::claims::dispatch::Assignment;
use crate::scand::claims::held_claims::{HeldClaims, Order};
use crate::scand::claims::lease::running_record;
use crate::scand::claims::scope::ScopeInForce;
use crate::scand::finalize::{Settlement, record_of};
use crate::scand::scan::offloads::Offloads;
use crate::scand::scan::outcome::{OTHER_TARGETS, OTHER_VERSION, Outcome, Run, Stopped};
use crate::scand::scan::results::RESULTS_BATCH_MAX;
use crate::scand::scan::results::{Backlog, Batch, Delivery};
use crossbeam_channel::{
    Receiver, Sender, TryRecvError, TrySendError, bounded, select_biased, tick,
};
use log::{debug, error, info, warn};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// Lines of masscan's own words (stderr) that are kept for an error message.
const MASSCAN_WORDS_MAX_LINES: usize = 8;
/// Delay before a task that Kafka's absence suspended may be claimed again.
const SUSPENDED_DELAY: Duration = Duration::from_secs(5);
/// A reading of masscan's is written with the first look after this long; with what becomes certain, earlier.
const PROGRESS_TOLD_WITHIN: Duration = Duration::from_millis(900);
/// masscan may hang after completion (masscan issues 144, 558): it is ended this long after its wait is over.
const WATCHDOG_AFTER_WAIT: Duration = Duration::from_millis(1000);
/// masscan prints its progress several times a second: without a line for this long it is taken for hung.
const WATCHDOG_SILENCE: Duration = Duration::from_secs(30);
/// A milestone of progress is logged every so many percent.
const MILESTONE_PERCENT: u32 = 25;
/// Findings wait at most this long for others before they are handed over together: a request to Kafka costs as much as some
/// hundred findings. Where a checkpoint waits for them, they go at once.
const RESULTS_LINGER: Duration = Duration::from_secs(1);
/// A server whose next look comes after this or more stood still (was frozen, or had no processor), and doesn't know what became of
/// its masscan meanwhile, which may have stood still too and lost answers. [`LOOK_EVERY_MAX`] is a part of it.
const STOOD_STILL_MAX: Duration = Duration::from_millis(2200);
/// A scan that is given back waits this long for its findings to be acknowledged, so that its checkpoint is closer.
const RELEASE_FLUSH_WAIT: Duration = Duration::from_secs(3);

/// What the scan threads share.
pub struct Scans {
    /// This server's name.
    pub server: String,
    /// What is run.
    pub masscan: Arc<MasscanBinary>,
    /// The claims of this server.
    pub holdings: Arc<HeldClaims>,
    /// Findings that wait for Kafka.
    pub backlog: Arc<Backlog>,
    /// What this server may scan.
    pub scope: Arc<ScopeInForce>,
    /// Has warned that masscan's output has less room than it should.
    pub lacks_room: Once,
    /// Warns of offloads.
    pub offloads: Arc<Offloads>,
}

/// Where one scan thread sends to.
#[derive(Clone)]
pub struct Outlets {
    /// To the `results` thread of this scan thread.
    pub results: Sender<Batch>,
    /// To `progress`.
    pub progress: Sender<LiveProgress>,
    /// To `settle`.
    pub settle: Sender<Settlement>,
    /// Where this thread's masscan sends from: ports of its own, if there are enough.
    pub source: Source,
}

/// Runs assigned scans one after the other, until there are no more.
pub fn run(scans: &Scans, outlets: &Outlets, assignments: &Receiver<Assignment>) {
    while let Ok(assignment) = assignments.recv() {
        let claim = assignment.claimed.claim.clone();
        // A fault of this program under one task must cost neither a slot nor that task: masscan is killed and the slot given
        // back on the way out, and a claim that nobody works on is no longer renewed.
        let run = catch_unwind(AssertUnwindSafe(|| run_one(scans, outlets, assignment)));
        if run.is_err() {
            error!(
                "task {}: its scan ended by a panic; when the lease runs out it is another server's",
                claim.task_id
            );
            scans.holdings.drop_claim(&claim);
        }
    }
}

fn run_one(scans: &Scans, outlets: &Outlets, assignment: Assignment) {
    let began = Instant::now();
    let mut scan = Scan::new(scans, outlets, assignment);
    let outcome = scan.run();
    scan.hand_over(outcome, began.elapsed());
}

/// One scan.
struct Scan<'a> {
    scans: &'a Scans,
    outlets: &'a Outlets,
    assignment: Assignment,
    began: Instant,
    /// Findings not handed over yet, and how many masscan has printed.
    pending: Messages,
    /// Where the key of each is written, and who writes its record.
    key: Vec<u8>,
    writer: FindingWriter,
    handed_over_at: Instant,
    /// Findings that were handed over upon a reading are not acknowledged yet.
    awaits: bool,
    printed: u64,
    unreadable: u64,
    delivery: Arc<Delivery>,
    /// Findings that earlier attempts made before the index at which this one begins.
    found_before: u64,
    /// masscan's version before it was started; empty where it could not be told.
    masscan_version: String,
    /// Why it may not send this shard.
    unfit: Option<String>,
    walk: ProbeOrder,
    begin: Begin,
    checkpoint: Checkpoint,
    estimate: Estimate,
    started: bool,
    progress: Progress,
    /// What was last told of the checkpoint.
    told: Resume,
    /// Since when there has been a reading of masscan's that wasn't told.
    untold_since: Option<Instant>,
    all_sent_at: Option<Instant>,
    /// masscan only waits, or is gone; and what was last told of that.
    sends_no_more: bool,
    told_no_more: bool,
    interrupted: bool,
    interrupted_at: Option<Instant>,
    /// Progress lines since all was sent.
    waits: u32,
    heard_at: Instant,
    looked_at: Instant,
    milestone: u32,
    words: VecDeque<String>,
}

impl<'a> Scan<'a> {
    fn new(scans: &'a Scans, outlets: &'a Outlets, assignment: Assignment) -> Scan<'a> {
        let claimed = &assignment.claimed;
        let (task, resume) = (&claimed.task, claimed.resume);
        let about = match task.shard {
            // Nothing would tell later that it was sent in another order.
            Some(_) => scans.masscan.ask(),
            None => scans.masscan.about(),
        };
        let unfit = task.shard.and_then(|_| masscan::unfit_for_shards(&about));
        let masscan_version = about.map_or(String::new(), |about| about.version);
        let walk = ProbeOrder::new(task, &assignment.denied, assignment.permit.rate_pps())
            .by(&masscan_version);
        let begin = walk.begin(resume.index, resume.walk);
        let found_before = found_before(begin.index, &resume);
        let writer = FindingWriter::new(&claimed.claim.task_id, &scans.server, claimed.attempt);
        let now = Instant::now();
        Scan {
            checkpoint: Checkpoint::new(walk, task.wait_s, begin.index, found_before),
            estimate: Estimate::new(walk),
            progress: Progress {
                percent: walk.percent_at(begin.index),
                ..Progress::default()
            },
            masscan_version,
            unfit,
            walk,
            begin,
            found_before,
            started: false,
            told: resume,
            untold_since: None,
            scans,
            outlets,
            assignment,
            began: now,
            pending: Messages::default(),
            key: Vec::new(),
            writer,
            handed_over_at: now,
            awaits: false,
            printed: 0,
            unreadable: 0,
            delivery: Arc::default(),
            all_sent_at: None,
            sends_no_more: false,
            told_no_more: false,
            interrupted: false,
            interrupted_at: None,
            waits: 0,
            heard_at: now,
            looked_at: now,
            milestone: 0,
            words: VecDeque::new(),
        }
    }

    /// Runs masscan to its end and waits for its findings to be acknowledged.
    fn run(&mut self) -> Outcome {
        if let Some(stopped) = self.announce() {
            return self.ended(Some(stopped), Exit::Code(0));
        }
        let outcome = if self.walk.is_empty() {
            self.nothing_to_send()
        } else {
            match self.start() {
                Ok(child) => self.follow(child),
                Err(cause) => Outcome::Failed(cause),
            }
        };
        self.assignment.permit.stop_sending();
        self.flush(outcome)
    }

    /// Tells Kafka that the task runs, and waits until it knows: a Redis that is lost later is rebuilt from that record.
    fn announce(&self) -> Option<Stopped> {
        let (told, answer) = bounded(1);
        let record = running_record(&self.assignment.claimed, &self.scans.server);
        let announcement = Settlement::Announce {
            record,
            told: Some(told),
        };
        if self.outlets.settle.send(announcement).is_err() {
            return Some(Stopped::Ordered(Order::Drain));
        }
        let ticks = tick(LOOK_SOON);
        loop {
            select_biased! {
                recv(self.assignment.orders) -> order => return Some(Stopped::Ordered(order.unwrap_or(Order::Lost))),
                // The server may have been frozen meanwhile; `settle` doesn't answer where it found it so.
                recv(answer) -> told => {
                    return (told.is_err() || !self.is_trusted()).then_some(Stopped::Untrusted);
                }
                recv(ticks) -> _ => if !self.is_trusted() {
                    return Some(Stopped::Untrusted);
                },
            }
        }
    }

    /// A shard of fewer probes than there are shards: masscan would never end.
    fn nothing_to_send(&mut self) -> Outcome {
        let task = &self.assignment.claimed.task;
        info!("task {}: none of the probes is this shard's", task.task_id);
        self.progress.percent = 100.0;
        Outcome::Completed
    }

    fn start(&mut self) -> Result<Child, String> {
        if let Some(why) = self.unfit.take() {
            return Err(why);
        }
        let claimed = &self.assignment.claimed;
        let arguments = ScanArguments {
            task: &claimed.task,
            rate_pps: self.assignment.permit.rate_pps(),
            resume_index: self.begin.index,
            exclude: &self.assignment.denied,
            source: &self.outlets.source,
        };
        let id = &claimed.claim.task_id;
        if claimed.resume.index > 0 {
            let why = self.begin.why.as_ref();
            info!(
                "task {id}: continues at index {} of {} ({:.2} %){}",
                self.begin.index,
                self.walk.end(),
                self.progress.percent,
                why.map_or(String::new(), |why| format!(
                    ", not at the checkpoint {}: {why}",
                    claimed.resume.index
                ))
            );
        }
        let program = self.scans.masscan.program();
        info!("task {id}: {} {arguments}", program.display());
        let child = masscan::spawn(program, &self.scans.masscan.printing(), &arguments)
            .map_err(|error| one_line(&error.to_string()))?;
        if let Some(findings) = child.lacks_room() {
            self.scans.lacks_room.call_once(|| warn!(
                "task {id}: its output has room for {findings} findings only, since this user has many pipes; where more come at once the scan \
                 goes on from its checkpoint: raise the sysctl fs.pipe-user-pages-soft (and fs.pipe-max-size, if below 1048576), or run with fewer -slots"
            ));
        }
        self.scans.offloads.look_at_scan(child.id());
        // The time-out is the scan's: until here it may have waited for Kafka.
        self.began = Instant::now();
        self.heard_at = self.began;
        self.looked_at = self.began;
        self.started = true;
        Ok(child)
    }

    /// Looks at orders, at what masscan says and at the clock until masscan's output has ended.
    fn follow(&mut self, mut child: Child) -> Outcome {
        let mut stopped = None;
        loop {
            let now = Instant::now();
            let mut stop = self.order().or_else(|| self.stood_still(now));
            self.looked_at = now;
            let heard = child.hear(|event| {
                let why = self.on_event(event);
                stop = stop.take().or(why);
            });
            let stop = stop.or(heard.overrun.then_some(Stopped::Overrun));
            // Once masscan is gone by itself, no clock can stop it any more.
            let stop = match heard.ended {
                true => stop,
                false => stop.or_else(|| self.on_look(&heard)),
            };
            if let (Some(_), Some(Stopped::Ordered(Order::Lost))) = (&stopped, &stop) {
                // Whatever it was ended for: nothing more is written.
                stopped = stop;
            } else if let (None, Some(why)) = (&stopped, stop) {
                debug!(
                    "task {}: ending masscan: {why:?}",
                    self.assignment.claimed.claim.task_id
                );
                self.checkpoint.hold();
                stopped = Some(why);
            }
            if heard.ended {
                break;
            }
            if stopped.is_some() {
                // It writes each line at once: what it has found is out already, so there is nothing to wait for.
                child.kill();
            }
            child.pause(match stopped {
                None => self.pause(&heard),
                Some(_) => LOOK_SOON,
            });
        }
        let exit = child.wait();
        // While its findings wait for a Kafka that is away, people see where it ended, and its job that it sends no more.
        self.sends_no_more = true;
        if (self.untold_since.is_some() || !self.told_no_more) && self.is_trusted() {
            self.report();
        }
        self.ended(stopped, exit)
    }

    /// For how long nothing need be looked at but masscan's words: until Kafka may have acknowledged what was sent with the last ones,
    /// and not beyond the time for which the claim can be trusted.
    fn pause(&mut self, heard: &Drained) -> Duration {
        self.awaits = self.is_awaited() && (heard.has_spoken || self.awaits);
        let most = match self.awaits {
            true => LOOK_SOON,
            false => LOOK_EVERY_MAX,
        };
        most.min(self.assignment.holding.trusted_for(Instant::now()))
    }

    /// Whether Kafka has yet to acknowledge findings that were handed over.
    fn is_awaited(&self) -> bool {
        self.delivery.acknowledged() + (self.pending.len() as u64) < self.printed
    }

    /// An order about the claim; without anybody who could give one it is no claim any more.
    fn order(&self) -> Option<Stopped> {
        match self.assignment.orders.try_recv() {
            Ok(order) => Some(Stopped::Ordered(order)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Stopped::Ordered(Order::Lost)),
        }
    }

    /// Did nobody take masscan's output for too long before `now`? To be asked before each look at it, and before anything is
    /// concluded from that look: a process may be stopped between any two lines of code.
    fn stood_still(&self, now: Instant) -> Option<Stopped> {
        let stood_still = now.duration_since(self.looked_at);
        (stood_still >= STOOD_STILL_MAX).then_some(Stopped::StoodStill(stood_still))
    }

    fn on_event(&mut self, event: Event) -> Option<Stopped> {
        match event {
            Event::Finding(finding) => return self.on_finding(&finding),
            Event::Progress(progress) => self.on_progress(progress),
            Event::Words(words) => return self.on_words(words),
            Event::Unreadable(line) => {
                self.unreadable += 1;
                if self.unreadable == 1 {
                    warn!(
                        "task {}: a line of masscan's is no finding: {line}",
                        self.assignment.claimed.claim.task_id
                    );
                }
            }
        }
        None
    }

    fn on_words(&mut self, words: String) -> Option<Stopped> {
        let mut stop = None;
        let id = &self.assignment.claimed.claim.task_id;
        debug!("task {id}: masscan: {words}");
        self.interrupted |= masscan::is_interrupt(&words);
        if let Some((addresses, ports)) = masscan::announced(&words)
            && (addresses, ports) != (self.walk.addresses() as u32, self.walk.ports() as u32)
        {
            warn!(
                "task {id}: masscan scans {addresses} addresses × {ports} ports, not the {} × {} that it was asked for: /etc/masscan/masscan.conf \
                 has something to say, and so another server can't continue this scan",
                self.walk.addresses(),
                self.walk.ports()
            );
            self.checkpoint.forget();
            stop = self.unlike_its_record(OTHER_TARGETS);
        }
        if let Some(version) = masscan::greeting(&words)
            && version != self.masscan_version
        {
            warn!(
                "task {id}: masscan {version} is not the {:?} that it said it was: another server can't continue this scan",
                self.masscan_version
            );
            self.checkpoint.forget();
            self.scans.masscan.greeted_with(version);
            stop = self.unlike_its_record(OTHER_VERSION);
        }
        if self.words.len() == MASSCAN_WORDS_MAX_LINES {
            self.words.pop_front();
        }
        self.words.push_back(words);
        stop
    }

    /// A shard is sent as its record says or not at all, lest the job have holes.
    fn unlike_its_record(&self, why: &'static str) -> Option<Stopped> {
        let shard = self.assignment.claimed.task.shard;
        shard.map(|_| Stopped::Unlike(why))
    }

    fn on_finding(&mut self, finding: &Finding) -> Option<Stopped> {
        self.printed += 1;
        let before = self.pending.bytes();
        self.key.clear();
        write_address(finding.ip, |piece| {
            self.key.extend_from_slice(piece.as_bytes())
        });
        self.pending
            .push(&self.key, |record| self.writer.write(finding, record));
        self.scans.backlog.grow(self.pending.bytes() - before);
        if self.pending.len() >= RESULTS_BATCH_MAX {
            self.send_pending();
        }
        (!self.scans.backlog.has_room()).then_some(Stopped::Backlog)
    }

    /// Hands findings over. Where the queue is full they stay here: their bytes are counted already. So do those of a claim
    /// that can't be trusted: a server that was frozen writes nothing more, and the next run finds them again.
    fn send_pending(&mut self) {
        if self.pending.is_empty() || !self.is_trusted() {
            return;
        }
        let batch = Batch {
            messages: std::mem::take(&mut self.pending),
            delivery: self.delivery.clone(),
        };
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.outlets.results.try_send(batch)
        {
            self.pending = batch.messages;
        }
    }

    fn on_progress(&mut self, mut progress: Progress) {
        let now = Instant::now();
        self.heard_at = now;
        progress.percent = progress.percent.max(self.progress.percent);
        // While it sends it has an estimate of its own, not a good one.
        progress.remaining_s = progress
            .remaining_s
            .map(|_| self.estimate.remaining_s(now, progress.percent));
        self.progress = progress;
        if progress.waiting_s.is_some() {
            self.on_waiting(now);
        }
        self.checkpoint.observe(now, progress.percent, self.found());
        self.log_milestone();
        self.untold_since.get_or_insert(now);
    }

    /// It sends nothing more: all was sent, or somebody interrupted it.
    fn on_waiting(&mut self, now: Instant) {
        self.waits += 1;
        if self.progress.all_sent() && !self.interrupted {
            self.all_sent_at.get_or_insert(now);
        } else {
            self.interrupted_at.get_or_insert(now);
        }
        self.sends_no_more = true;
        self.assignment.permit.stop_sending();
    }

    fn report(&mut self) {
        let resume = self.resume();
        let sent = self.outlets.progress.try_send(LiveProgress {
            claim: self.assignment.claimed.claim.clone(),
            progress: self.progress,
            found: self.found(),
            resume,
            sends_no_more: self.sends_no_more,
        });
        // Where the channel is full, the next look tries again.
        if sent.is_ok() {
            self.told = resume;
            self.told_no_more = self.sends_no_more;
            self.untold_since = None;
        }
    }

    fn log_milestone(&mut self) {
        let reached = self.progress.percent as u32 / MILESTONE_PERCENT;
        if reached > self.milestone {
            self.milestone = reached;
            info!(
                "task {}: {:.2} %, {:.0} pps, found {}",
                self.assignment.claimed.claim.task_id,
                self.progress.percent,
                self.progress.rate_pps,
                self.found()
            );
        }
    }

    /// Looks at the clock, after what was `heard` has been handled.
    fn on_look(&mut self, heard: &Drained) -> Option<Stopped> {
        let now = Instant::now();
        if !self.assignment.holding.is_trusted(now) {
            return Some(Stopped::Untrusted);
        }
        if let Some(stopped) = self.stood_still(now) {
            return Some(stopped);
        }
        if self.has_left_scope() {
            return Some(Stopped::OutOfScope);
        }
        // Findings that still wait to be handled may be answers to what would become certain; and what was heard is what had been
        // said when the look began.
        let acknowledged = self.delivery.acknowledged();
        let (heard_at, printed) = (self.looked_at, self.printed);
        let settled = match heard.all {
            true => self.checkpoint.settle(heard_at, printed, acknowledged),
            false => {
                self.checkpoint.acknowledge(acknowledged);
                false
            }
        };
        let lingered = now.duration_since(self.handed_over_at) >= RESULTS_LINGER;
        if settled || lingered || self.scans.backlog.is_filling() {
            self.handed_over_at = now;
            self.send_pending();
        }
        // A reading waits for what becomes certain soon after it, and one writing does for both.
        let is_due = |since| now.duration_since(since) >= PROGRESS_TOLD_WITHIN;
        let is_news = self.told != self.resume() || self.sends_no_more != self.told_no_more;
        if is_news || self.untold_since.is_some_and(is_due) {
            self.report();
        }
        let task = &self.assignment.claimed.task;
        let waited_enough = |since: Instant| {
            now.duration_since(since) >= wait_of(task.wait_s) + WATCHDOG_AFTER_WAIT
        };
        if task
            .timeout_s
            .is_some_and(|s| now.duration_since(self.began) >= Duration::from_secs(s.into()))
        {
            return Some(Stopped::TimedOut);
        }
        if self.interrupted_at.is_some_and(waited_enough) {
            return Some(Stopped::Interrupted);
        }
        if !self.interrupted && self.all_sent_at.is_some_and(waited_enough) {
            return Some(Stopped::Waited);
        }
        // After this process itself was stopped for a while, what masscan said meanwhile comes first.
        let silent = heard.all && now.duration_since(self.heard_at) >= WATCHDOG_SILENCE;
        silent.then_some(Stopped::Silent)
    }

    /// Whether the server's scope is another by now, and leaves out something that this scan does.
    fn has_left_scope(&mut self) -> bool {
        let changes = self.scans.scope.changes();
        if changes == self.assignment.scope_changes {
            return false;
        }
        self.assignment.scope_changes = changes;
        let targets = self.assignment.claimed.task.targets();
        let denied = self.scans.scope.now().denied(&targets);
        !denied.without(&self.assignment.denied).is_empty()
    }

    fn ended(&mut self, stopped: Option<Stopped>, exit: Exit) -> Outcome {
        let task = &self.assignment.claimed.task;
        // A kill cuts the line that was being written; the next run prints it whole.
        let is_whole = matches!(stopped, None | Some(Stopped::Waited));
        if self.unreadable > 0 && is_whole {
            error!(
                "task {}: {} lines of masscan's were no findings and are lost",
                task.task_id, self.unreadable
            );
        }
        let run = Run {
            stopped,
            exit,
            waited: self.all_sent_at.map(|since| since.elapsed()),
            interrupted: self.interrupted,
            wait: wait_of(task.wait_s),
            // Its first line after the last probe says 0 too; then it counts down.
            counted_down: self.waits > 1 && self.progress.waiting_s.is_some_and(|s| s <= 0),
            percent: self.progress.percent,
            words: masscan::cause(self.words.iter().map(String::as_str)),
            timeout: task.timeout_s.map(|s| Duration::from_secs(s.into())),
            advanced: self.has_advanced(),
        };
        run.outcome()
    }

    /// Whether this run came further than the task was. (At another rate a run begins a little before that.)
    fn has_advanced(&self) -> bool {
        let was = match self.begin.index {
            0 => 0,
            begin => self.assignment.claimed.resume.index.max(begin),
        };
        self.resume().index > was
    }

    /// Waits until Kafka has acknowledged what was found: an end waits for all of it, a release only for a moment.
    fn flush(&mut self, outcome: Outcome) -> Outcome {
        let give_up = match outcome {
            Outcome::Abandoned => return outcome,
            Outcome::Released { .. } => Some(Instant::now() + RELEASE_FLUSH_WAIT),
            Outcome::Completed | Outcome::Failed(_) | Outcome::Cancelled => None,
        };
        let ticks = tick(LOOK_SOON / 4);
        loop {
            self.send_pending();
            let acknowledged = self.delivery.acknowledged();
            self.checkpoint.acknowledge(acknowledged);
            let all = acknowledged == self.printed && self.pending.is_empty();
            if all || give_up.is_some_and(|at| Instant::now() >= at) {
                return outcome;
            }
            let stopped = select_biased! {
                recv(self.assignment.orders) -> order => Some(Stopped::Ordered(order.unwrap_or(Order::Lost))),
                recv(ticks) -> _ => (!self.is_trusted()).then_some(Stopped::Untrusted),
            };
            match (stopped, give_up) {
                (Some(Stopped::Ordered(Order::Lost)), _) => return Outcome::Abandoned,
                // There is nothing left to stop. Where the task is released, release.lua carries the order out.
                (Some(Stopped::Ordered(Order::Cancel | Order::Pause)), _) => {}
                (Some(why), None) => return self.ended(Some(why), Exit::Code(0)),
                _ => {}
            }
        }
    }

    /// Hands the end of the claim to `settle`.
    fn hand_over(self, outcome: Outcome, took: Duration) {
        let (found, seconds) = (self.found(), took.as_secs_f64());
        let claim = self.assignment.claimed.claim.clone();
        let id = &claim.task_id;
        let attempt = self.assignment.claimed.attempt;
        let settlement = match outcome {
            Outcome::Completed => {
                info!("task {id}: scan done, found {found} in {seconds:.1} s, attempt {attempt}");
                Settlement::End(self.ending(State::Completed, None))
            }
            Outcome::Failed(cause) if self.failures() >= self.assignment.claimed.task.attempts => {
                error!("task {id}: attempt {attempt} failed, the last one: {cause}");
                Settlement::End(self.ending(State::Failed, Some(cause)))
            }
            Outcome::Failed(cause) => {
                let delay = retry_delay(self.failures(), jitter());
                warn!(
                    "task {id}: attempt {attempt} failed after {seconds:.1} s, again in {:.1} s: {cause}",
                    delay.as_secs_f64()
                );
                self.release(delay, false, cause)
            }
            Outcome::Released { reason, pause } => {
                let delay = if pause {
                    SUSPENDED_DELAY
                } else {
                    Duration::ZERO
                };
                info!(
                    "task {id}: given back at {:.2} % after {seconds:.1} s, to go on from index {}: {reason}",
                    self.progress.percent,
                    self.resume().index
                );
                self.release(delay, true, reason)
            }
            Outcome::Cancelled => {
                info!(
                    "task {id}: cancelled at {:.2} % after {seconds:.1} s, found {found}",
                    self.progress.percent
                );
                Settlement::End(self.ending(State::Cancelled, None))
            }
            Outcome::Abandoned => {
                warn!("task {id}: left to the server that has it now, after {seconds:.1} s");
                self.scans.holdings.drop_claim(&claim);
                return;
            }
        };
        if self.outlets.settle.send(settlement).is_err() {
            error!("task {id}: its end could not be handed on, the claim runs out");
            self.scans.holdings.drop_claim(&claim);
        }
    }

    fn ending(&self, status: State, error: Option<String>) -> Ending {
        let claimed = &self.assignment.claimed;
        Ending {
            claim: claimed.claim.clone(),
            status,
            error,
            found: self.found(),
            attempt: claimed.attempt,
            lost: claimed.lost,
            resume: self.resume(),
            retry: claimed.task.retry,
            partition: claimed.partition,
            offset: claimed.offset,
        }
    }

    fn release(&self, delay: Duration, gives_back_attempt: bool, error: String) -> Settlement {
        let claimed = &self.assignment.claimed;
        let attempt = claimed.attempt - u32::from(gives_back_attempt);
        let record = StatusRecord {
            fence: claimed.claim.fence,
            found: self.found(),
            error: Some(error.clone()),
            lost: claimed.lost,
            resume: self.resume(),
            retry: claimed.task.retry,
            ..record_of(
                &claimed.claim.task_id,
                &self.scans.server,
                attempt,
                claimed.partition,
                claimed.offset,
            )
        };
        Settlement::Release {
            claim: claimed.claim.clone(),
            release: Release {
                delay,
                gives_back_attempt,
                failed_here: !gives_back_attempt,
                error: Some(error),
                resume: self.resume(),
            },
            record,
        }
    }

    /// Failed attempts, this one included. Servers that were lost don't count: a bad host must not use up a good task.
    fn failures(&self) -> u32 {
        let claimed = &self.assignment.claimed;
        claimed.attempt.saturating_sub(claimed.lost)
    }

    /// Findings of the task so far: those of this run, and those of earlier ones below the index at which it began. Near enough: an
    /// answer that was on its way at a checkpoint counts in none of both or in both.
    fn found(&self) -> u64 {
        let most = u64::try_from(self.walk.range()).unwrap_or(u64::MAX);
        (self.found_before + self.printed).min(most)
    }

    /// Where another attempt may begin. One that never started masscan leaves what it was given.
    fn resume(&self) -> Resume {
        if self.started {
            self.checkpoint.resume()
        } else {
            self.assignment.claimed.resume
        }
    }

    fn is_trusted(&self) -> bool {
        self.assignment.holding.is_trusted(Instant::now())
    }
}

impl Drop for Scan<'_> {
    /// What was never handed over takes up none of the buffer any more.
    fn drop(&mut self) {
        self.scans.backlog.shrink(self.pending.bytes());
    }
}

/// Findings made before `index`, where `resume` knows those before its own: the same part of them.
fn found_before(index: u64, resume: &Resume) -> u64 {
    let part = index.min(resume.index) as f64 / resume.index.max(1) as f64;
    (resume.found as f64 * part) as u64
}

fn wait_of(wait_s: u32) -> Duration {
    Duration::from_secs(wait_s.into())
}

/// A number from 0 to 1, another one each time: std's hash keys are random.
fn jitter() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
