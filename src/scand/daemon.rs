//! Starts the threads, waits for a signal, and joins the threads in the order that loses nothing:
//! stop claiming → checkpoint the scans → flush findings → finalize → commit.

use super::claims::dispatch;
use super::scan::{self, progress, publish};
use super::{logging, signals};
use crate::claim_table::{CallingServer, ClaimTable};
use crate::exit::Exit;
use crate::kafka::{self, GroupOffsets, Producer, Reader};
use crate::masscan::{self, MasscanBinary, MasscanInfo, StdoutMode};
use crate::model::backoff::CLIENT_WAIT;
use crate::model::source::SourcePorts;
use crate::model::text::counted;
use crate::model::{Invalid, ReportLimit, Scope};
use crate::scand::claims::budget::Budget;
use crate::scand::claims::dispatch::{Assignment, Dispatch};
use crate::scand::claims::health::Health;
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::claims::lease::Lease;
use crate::scand::claims::peers::{self, FoundPeers};
use crate::scand::claims::reach::ReachWatch;
use crate::scand::claims::scope::ScopeInForce;
use crate::scand::finalize::FINALIZE_QUEUE_MAX;
use crate::scand::finalize::commit::Commit;
use crate::scand::finalize::{Finalizer, ResultsEnd, StateChange};
use crate::scand::ingest::{Poll, ReportLimits};
use crate::scand::metrics::{self, Operation, REACH_KAFKA, REACH_REDIS, ServerMetrics, Sources};
use crate::scand::options::Options;
use crate::scand::retry_log::{RetryLog, Stop};
use crate::scand::scan::offloads::Offloads;
use crate::scand::scan::publish::{Batch, FindingsBuffer};
use crate::scand::scan::{Outlets, Scans};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use log::{error, info, warn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::time::Instant;

/// Lowest source port of scans if the operator gives none; masscan's own range begins here too.
const SOURCE_PORTS_FIRST: u16 = 40_000;
/// Highest such port.
const SOURCE_PORTS_LAST: u16 = 59_999;
/// Threads that send findings, each with its own connection.
const PUBLISH_THREADS: usize = 2;
/// Progress updates that may wait for `progress`.
const PROGRESS_QUEUE_MAX: usize = 1024;
/// Time for a drain, from the first signal to the exit of the process.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Batches of findings that may wait for one `publish-N` thread; their bytes are limited by `-buffer`.
const PUBLISH_QUEUE_MAX: usize = 1024;
/// The part of [`DRAIN_MAX`] that is kept for the exit of the process itself.
const DRAIN_RESERVE: Duration = Duration::from_millis(500);

/// Ranges of the scope that are logged at the start.
const SHOWN_RANGES_MAX: usize = 20;
/// Interval between two look-ups of Kafka and Redis, as long as some of their servers were not found.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(60);

/// Runs a server until a signal ends it.
pub fn run(options: &Options) -> Exit {
    let scope = match start_logging(options) {
        Ok(scope) => Arc::new(scope),
        Err(error) => {
            eprintln!("scand: {error}");
            return Exit::Usage;
        }
    };
    match masscan::sweep() {
        0 => {}
        count => info!("removed {count} temporary folders left by killed servers"),
    }
    let masscan =
        Arc::new(MasscanBinary::new(&options.masscan).as_user(options.masscan_user.clone()));
    let masscan_info = masscan.info();
    dispatch::log_masscan(&masscan_info);
    let signals = match signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            error!("cannot listen for signals: {error}");
            return Exit::Failed;
        }
    };
    let sources = Sources {
        metrics: Arc::default(),
        health: Arc::default(),
        buffer: Arc::new(FindingsBuffer::new(options.buffer_bytes)),
        budget: Arc::default(),
    };
    // Until this function returns, so that the drain is seen too.
    let _http = match metrics::start(options, &sources) {
        Ok(http) => http,
        Err(error) => {
            let address = options.http.map_or(String::new(), |http| http.to_string());
            error!("-http: cannot listen on {address}: {error}");
            return Exit::Failed;
        }
    };
    let all_found = match wait_for_peers(options, &sources.metrics, &signals.ends) {
        Some(found) => scope.exclude_peers(found),
        None => return Exit::Success,
    };
    if let Err(error) = reload_on_signals(options, &scope, signals.reloads, all_found) {
        error!("cannot start a thread: {error}");
        return Exit::Failed;
    }
    match Server::start(options, &scope, &masscan, masscan_info, &sources) {
        Ok(server) => serve(server, options, &signals.ends),
        Err(error) => {
            error!("cannot start a thread: {error}");
            Exit::Failed
        }
    }
}

/// Reads the scope, then logs what this server was started with. An error is one line for the terminal.
fn start_logging(options: &Options) -> Result<ScopeInForce, Invalid> {
    let lists = options.scope.read()?;
    let empty_file = options.scope.empty_file_warning(&lists);
    let scope = ScopeInForce::new(lists);
    kafka::check_settings(&options.connection.kafka)?;
    options.check_http()?;
    logging::start(
        options.name.as_str(),
        options.debug,
        options.log_file.as_deref(),
    )?;
    info!("scand {} starts: {options}", env!("CARGO_PKG_VERSION"));
    log_bounds(options, &scope.now());
    for warning in options.permission_warnings().into_iter().chain(empty_file) {
        warn!("{warning}");
    }
    Ok(scope)
}

/// Logs what anyone who can write to the topic of tasks can make this server do.
fn log_bounds(options: &Options, scope: &Scope) {
    let bounds = &options.bounds;
    info!(
        "sends at most {}, all scans together (-max-rate)",
        counted(
            options.max_rate.pps(),
            "packet per second",
            "packets per second"
        )
    );
    info!(
        "a task gets at most {} s in all (-max-task-time), a wait of {} s (-max-wait), {} attempts (-max-attempts) and priority {} (-max-priority)",
        bounds.time.as_secs(),
        bounds.wait_s,
        bounds.attempts,
        bounds.priority.get()
    );
    match scope.allowed() {
        Some(allowed) => info!("scans only {}", allowed.shortened(SHOWN_RANGES_MAX)),
        None => warn!(
            "no -allow: anyone who can write to the Kafka topic {} can make this server scan any address that is not excluded",
            options.connection.topic
        ),
    }
    if !scope.excluded().is_empty() {
        info!(
            "never scans {}",
            scope.excluded().shortened(SHOWN_RANGES_MAX)
        );
    }
    let by_default = scope.by_default();
    info!(
        "does not scan, unless an entry of -allow names them: {}",
        by_default.summary()
    );
    if !by_default.named().is_empty() {
        warn!(
            "-allow names {}, which would be excluded by default",
            by_default.named().shortened(SHOWN_RANGES_MAX)
        );
    }
}

/// Starts the threads `reload` and `peers`, which at each SIGHUP read the scope's files again and look up Kafka and Redis again. A look-up may take
/// long, so no file waits for it, and neither thread is joined. What could not be looked up, as `all_found` says of the start, is looked up again from
/// time to time.
fn reload_on_signals(
    options: &Options,
    scope: &Arc<ScopeInForce>,
    reloads: Receiver<()>,
    all_found: bool,
) -> io::Result<()> {
    // If the channel is full, a look-up is already pending.
    let (look_up, look_ups) = bounded(1);
    let (files, of_reload) = (options.scope.clone(), scope.clone());
    spawn("reload".to_owned(), move || {
        while reloads.recv().is_ok() {
            of_reload.reload(&files);
            let _ = look_up.try_send(());
        }
    })?;
    let (connection, scope) = (options.connection.clone(), scope.clone());
    let work = move || {
        let mut all_found = all_found;
        loop {
            match (all_found, look_ups.recv_timeout(LOOK_UP_INTERVAL)) {
                (_, Err(RecvTimeoutError::Disconnected)) => return,
                (true, Err(RecvTimeoutError::Timeout)) => continue,
                _ => all_found = scope.exclude_peers(peers::find(&connection)),
            }
        }
    };
    spawn("peers".to_owned(), work).map(drop)
}

/// Waits for the first signal that ends the server, and drains it.
fn serve(server: Server, options: &Options, signals: &Receiver<&'static str>) -> Exit {
    info!("ready: waiting for tasks on {}", options.connection.topic);
    let signal = signals.recv().unwrap_or("the end of the signals thread");
    info!("{signal}: no new claims; running scans are released (a second signal ends at once)");
    server.drain(signals)
}

/// Waits until Kafka and Redis have answered once, and logs what it is waiting for. Returns their addresses; none if a signal came first.
fn wait_for_peers(
    options: &Options,
    metrics: &Arc<ServerMetrics>,
    signals: &Receiver<&'static str>,
) -> Option<FoundPeers> {
    // A thread waits, so that a signal ends the process even during a call.
    let (ready, done) = bounded(1);
    let (options, metrics) = (options.clone(), metrics.clone());
    let waiting = thread::Builder::new().name("start".into()).spawn(move || {
        wait_for_redis(&options, &metrics);
        wait_for_kafka(&options, &metrics);
        let _ = ready.send(peers::find(&options.connection));
    });
    if let Err(error) = waiting {
        error!("cannot start a thread: {error}");
        return None;
    }
    select! {
        recv(done) -> found => Some(found.unwrap_or_else(|_| FoundPeers {
            problems: vec!["the look-up of Kafka and Redis ended with a panic".to_owned()],
            ..FoundPeers::default()
        })),
        recv(signals) -> signal => {
            info!("{}: exiting before Kafka and Redis have answered", signal.unwrap_or("signal"));
            None
        }
    }
}

fn wait_for_redis(options: &Options, metrics: &Arc<ServerMetrics>) {
    let mut retry_log = RetryLog::new(REACH_REDIS, Operation::Connect, metrics);
    loop {
        let info =
            ClaimTable::connect(&options.connection.redis, options.connection.group.as_str())
                .and_then(|mut table| table.examine());
        match info {
            Ok(info) => {
                for warning in info.warnings() {
                    warn!("{}", warning.text);
                }
                break;
            }
            Err(error) => thread::sleep(retry_log.note(&error)),
        }
    }
    retry_log.over();
    metrics.call_succeeded(REACH_REDIS);
}

/// Reads the metadata of all three topics, which creates them if the broker creates topics automatically.
fn wait_for_kafka(options: &Options, metrics: &Arc<ServerMetrics>) {
    let mut retry_log = RetryLog::new(REACH_KAFKA, Operation::Connect, metrics);
    let client = loop {
        match kafka::preflight(&options.connection.kafka, CLIENT_WAIT) {
            Ok(client) => break client,
            Err(error) => thread::sleep(retry_log.note(&error)),
        }
    };
    info!(
        "Kafka {}: connected with {client}",
        options.connection.kafka
    );
    for topic in [
        &options.connection.topic,
        &options.results_topic,
        &options.status_topic,
    ] {
        while let Err(error) = Reader::connect(&options.connection.kafka, topic.as_str()) {
            thread::sleep(retry_log.note(&error));
        }
    }
    retry_log.over();
    metrics.call_succeeded(REACH_KAFKA);
}

/// A running server: its threads, and the ends of the channels that stop them.
struct Server {
    held_claims: Arc<HeldClaims>,
    /// Threads that take in work.
    intake: Vec<JoinHandle<()>>,
    scans: Vec<JoinHandle<()>>,
    /// Threads that write to Kafka and Redis: they end when the scans' channels are closed and empty.
    delivery: Vec<JoinHandle<()>>,
    lease: JoinHandle<()>,
    commit: JoinHandle<()>,
    stop_intake: Sender<()>,
    stop_lease: Sender<()>,
    stop_commit: Sender<()>,
}

impl Server {
    fn start(
        options: &Options,
        scope: &Arc<ScopeInForce>,
        masscan: &Arc<MasscanBinary>,
        masscan_info: Result<MasscanInfo, String>,
        sources: &Sources,
    ) -> io::Result<Server> {
        let parts = Parts::new(options, scope, masscan, sources);
        parts.offloads.check_at_start();
        let (stop_intake, intake_stop) = bounded(0);
        let (stop_lease, lease_stop) = bounded(0);
        let (stop_commit, commit_stop) = bounded(0);
        let (finalize, state_changes) = bounded(FINALIZE_QUEUE_MAX);
        let (ended, ends) = bounded(1);
        let (work, nudges) = bounded(1);
        let budget = Budget::new(options.slots, options.max_rate.pps(), work.clone());
        let (assignments, assigned) = bounded(budget.scans_max());
        let for_metrics = budget.clone();

        let mut delivery = Vec::new();
        let outlets =
            parts.start_delivery(&mut delivery, finalize.clone(), state_changes, ended)?;
        let scans = parts.start_scans(budget.scans_max(), &outlets, &assigned)?;
        let lease = parts.start_lease(
            finalize.clone(),
            work.clone(),
            intake_stop.clone(),
            lease_stop,
        )?;
        let commit = parts.start_commit(ends, commit_stop)?;
        let intake = vec![
            parts.start_poll(finalize.clone(), work, intake_stop.clone())?,
            parts.start_dispatch(
                masscan_info,
                budget,
                assignments,
                finalize,
                nudges,
                intake_stop,
            )?,
        ];
        // Only now: `dispatch` has tested this server.
        sources.budget.get_or_init(|| for_metrics);
        Ok(Server {
            held_claims: parts.held_claims,
            intake,
            scans,
            delivery,
            lease,
            commit,
            stop_intake,
            stop_lease,
            stop_commit,
        })
    }

    /// Stops everything in order, within [`DRAIN_MAX`]; a signal on `signals` ends it at once.
    fn drain(self, signals: &Receiver<&'static str>) -> Exit {
        let began = Instant::now();
        let (finished, done) = bounded(1);
        let joining = thread::Builder::new().name("drain".into()).spawn(move || {
            self.join();
            let _ = finished.send(());
        });
        if let Err(error) = joining {
            error!("cannot start a thread: {error}");
            return Exit::Failed;
        }
        let exit = select! {
            recv(done) -> _ => {
                info!("drained in {:.1} s", began.elapsed().as_secs_f64());
                Exit::Success
            }
            recv(signals) -> signal => {
                warn!("{}: exiting at once; other servers take over its scans when their leases expire", signal.unwrap_or("signal"));
                Exit::Failed
            }
            default(DRAIN_MAX - DRAIN_RESERVE) => {
                warn!("could not drain within {} s; other servers take over its claims when their leases expire", DRAIN_MAX.as_secs());
                Exit::Failed
            }
        };
        log::logger().flush();
        exit
    }

    fn join(self) {
        drop(self.stop_intake);
        // Now, because a thread of the intake may be waiting for an answer, and time is short.
        self.held_claims.drain();
        join_all(self.intake);
        join_all(self.scans);
        join_all(self.delivery);
        drop(self.stop_lease);
        join_all(vec![self.lease]);
        drop(self.stop_commit);
        join_all(vec![self.commit]);
    }
}

fn join_all(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        let name = thread.thread().name().unwrap_or("?").to_owned();
        if thread.join().is_err() {
            error!("the thread {name} ended with a panic");
        }
    }
}

/// What several threads share, and how each is started.
struct Parts<'a> {
    options: &'a Options,
    caller: CallingServer,
    held_claims: Arc<HeldClaims>,
    health: Arc<Health>,
    buffer: Arc<FindingsBuffer>,
    metrics: Arc<ServerMetrics>,
    scope: Arc<ScopeInForce>,
    masscan: Arc<MasscanBinary>,
    offloads: Arc<Offloads>,
}

impl Parts<'_> {
    fn new<'a>(
        options: &'a Options,
        scope: &Arc<ScopeInForce>,
        masscan: &Arc<MasscanBinary>,
        sources: &Sources,
    ) -> Parts<'a> {
        Parts {
            options,
            caller: CallingServer::new(options.name.as_str()),
            held_claims: Arc::default(),
            health: sources.health.clone(),
            buffer: sources.buffer.clone(),
            metrics: sources.metrics.clone(),
            scope: scope.clone(),
            masscan: masscan.clone(),
            offloads: Offloads::new(&options.masscan, options.source.interface.clone()),
        }
    }

    fn table(&self) -> ClaimTable {
        ClaimTable::new(
            &self.options.connection.redis,
            self.options.connection.group.as_str(),
        )
        .called_by(&self.caller)
    }

    fn producer(&self, topic: &crate::model::TopicName, compression: bool) -> Producer {
        Producer::new(&self.options.connection.kafka, topic.as_str(), compression)
    }

    fn group_offsets(&self) -> GroupOffsets {
        GroupOffsets::new(
            &self.options.connection.kafka,
            self.options.connection.group.as_str(),
            self.options.connection.topic.as_str(),
        )
    }

    /// Starts `publish-N`, `progress` and `finalize`. Returns the outlets for the scans of each `publish-N`.
    fn start_delivery(
        &self,
        threads: &mut Vec<JoinHandle<()>>,
        finalize: Sender<StateChange>,
        state_changes: Receiver<StateChange>,
        ended: Sender<()>,
    ) -> io::Result<Vec<Outlets>> {
        let (progress, updates) = bounded(PROGRESS_QUEUE_MAX);
        let mut outlets = Vec::new();
        for n in 1..=PUBLISH_THREADS {
            let (publish, batches) = bounded::<Batch>(PUBLISH_QUEUE_MAX);
            let producer = self.producer(&self.options.results_topic, true);
            let (buffer, metrics) = (self.buffer.clone(), self.metrics.clone());
            threads.push(spawn(format!("publish-{n}"), move || {
                publish::run(producer, batches, &buffer, &metrics);
            })?);
            outlets.push(Outlets {
                publish,
                progress: progress.clone(),
                finalize: finalize.clone(),
                source: self.options.source.clone(),
            });
        }
        let (table, metrics) = (self.table(), self.metrics.clone());
        threads.push(spawn("progress".to_owned(), move || {
            progress::run(table, updates, &metrics);
        })?);
        let finalizer = Finalizer {
            metrics: self.metrics.clone(),
            server: self.options.name.to_string(),
            lease: self.options.lease,
            held_claims: self.held_claims.clone(),
            table: self.table(),
            producer: self.producer(&self.options.status_topic, false),
            results_end: ResultsEnd::new(&self.options.results_topic),
            inbox: state_changes,
            ended,
        };
        threads.push(spawn("finalize".to_owned(), move || finalizer.run())?);
        Ok(outlets)
    }

    fn log_stdout_mode(&self) {
        if self.masscan.stdout_mode() == StdoutMode::Terminal {
            info!(
                "masscan does not load stdbuf's library (file capabilities?): it writes to a terminal instead of a pipe"
            );
        }
    }

    fn start_scans(
        &self,
        count: usize,
        outlets: &[Outlets],
        assigned: &Receiver<Assignment>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        self.log_stdout_mode();
        let scans = Arc::new(Scans {
            metrics: self.metrics.clone(),
            server: self.options.name.to_string(),
            options: self.options.clone(),
            health: self.health.clone(),
            masscan: self.masscan.clone(),
            held_claims: self.held_claims.clone(),
            buffer: self.buffer.clone(),
            scope: self.scope.clone(),
            small_output_warning: Once::new(),
            last_run_as_line: Mutex::default(),
            offloads: self.offloads.clone(),
        });
        // If it is not known yet, the first scan logs it, or the self-test why nobody can run it.
        if let (Ok(_), Ok(run_as)) = (self.masscan.info(), self.masscan.run_as()) {
            scans.log_run_as(&run_as);
        }
        let ports = self
            .options
            .source
            .ports
            .unwrap_or_else(|| random_ports(count as u32));
        (1..=count)
            .zip(outlets.iter().cycle())
            .map(|(n, outlets)| {
                let (scans, mut outlets, assigned) =
                    (scans.clone(), outlets.clone(), assigned.clone());
                outlets.source.ports = Some(ports.of_scan(n as u32 - 1, count as u32));
                spawn(format!("scan-{n}"), move || {
                    scan::run(&scans, &outlets, &assigned);
                })
            })
            .collect()
    }

    fn start_lease(
        &self,
        finalize: Sender<StateChange>,
        work: Sender<()>,
        draining: Stop,
        stop: Stop,
    ) -> io::Result<JoinHandle<()>> {
        let lease = Lease {
            metrics: self.metrics.clone(),
            server: self.options.name.to_string(),
            lease: self.options.lease,
            held_claims: self.held_claims.clone(),
            table: self.table(),
            finalize: Some(finalize),
            work,
            draining,
            stop,
        };
        spawn("lease".to_owned(), move || lease.run())
    }

    fn start_commit(&self, ended: Receiver<()>, stop: Stop) -> io::Result<JoinHandle<()>> {
        let commit = Commit {
            metrics: self.metrics.clone(),
            table: self.table(),
            group_offsets: self.group_offsets(),
            ended,
            stop,
        };
        spawn("commit".to_owned(), move || commit.run())
    }

    fn start_poll(
        &self,
        finalize: Sender<StateChange>,
        work: Sender<()>,
        stop: Stop,
    ) -> io::Result<JoinHandle<()>> {
        let poll = Poll {
            metrics: self.metrics.clone(),
            server: self.options.name.to_string(),
            lease: self.options.lease,
            bounds: self.options.bounds,
            kafka: self.options.connection.kafka.clone(),
            topic: self.options.connection.topic.to_string(),
            status_topic: self.options.status_topic.to_string(),
            group_offsets: self.group_offsets(),
            table: self.table(),
            held_claims: self.held_claims.clone(),
            finalize,
            work,
            stop,
            limits: ReportLimits::default(),
        };
        spawn("poll".to_owned(), move || poll.run())
    }

    fn start_dispatch(
        &self,
        masscan_info: Result<MasscanInfo, String>,
        budget: Arc<Budget>,
        assignments: Sender<Assignment>,
        finalize: Sender<StateChange>,
        work: Receiver<()>,
        stop: Stop,
    ) -> io::Result<JoinHandle<()>> {
        let mut dispatch = Dispatch {
            metrics: self.metrics.clone(),
            server: self.options.name.to_string(),
            lease: self.options.lease,
            table: self.table(),
            budget,
            options: self.options.clone(),
            health: self.health.clone(),
            reach: ReachWatch::default(),
            held_claims: self.held_claims.clone(),
            buffer: self.buffer.clone(),
            scope: self.scope.clone(),
            masscan_info,
            masscan: self.masscan.clone(),
            assignments,
            finalize,
            refusals: ReportLimit::default(),
            rejections: ReportLimit::default(),
            work,
            stop,
        };
        dispatch.prepare();
        spawn("dispatch".to_owned(), move || dispatch.run())
    }
}

/// Source ports for this many scans if the operator gives none, from masscan's own range.
fn random_ports(scans: u32) -> SourcePorts {
    let count = scans.next_power_of_two();
    let places = u64::from(SOURCE_PORTS_LAST - SOURCE_PORTS_FIRST) + 2 - u64::from(count);
    let place = fastrand::u64(..places);
    SourcePorts::new(SOURCE_PORTS_FIRST + place as u16, count)
        .expect("a power of two of ports, and fewer than the range has")
}

/// Starts a thread without which this server would hold claims that it cannot serve. A panic in it ends the process, which is then handled
/// like any crash.
fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.clone()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            error!(
                "the thread {name} ended with a panic, and so does this server; other servers take over when its leases expire"
            );
            log::logger().flush();
            std::process::exit(1);
        }
    })
}
