//! Starts the threads, waits for a signal, and stops them.

use super::change_watch;
use super::options;
use super::router;
use super::site::Site;
use super::store_thread;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::http_server::HttpServer;
use crate::scanpush::interrupt::Interrupt;
use crate::scanpush::output::Output;
use crate::scanpush::store::{End, STORE_STOP_WAIT, Work};
use crate::store::StoreError;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use simplelog::{ColorChoice, ConfigBuilder, LevelFilter, TermLogger, TerminalMode};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use time::macros::format_description;

/// How often signals are looked for.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// Longest wait for the database to be opened, and created if it is new, before the address of the page is logged.
const DATABASE_OPEN_WAIT: Duration = Duration::from_secs(2);

/// Runs the command.
pub fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = options::read(reader)?;
    let interrupt = Interrupt::catch()?;
    let site = Site::new(options, interrupt.clone())?;
    start_logging(output)?;
    let address = site.options.http;
    let http = {
        let site = Arc::clone(&site);
        HttpServer::start(
            address,
            Arc::new(move |request| router::answer(&site, &request)),
        )
        .map_err(|error| Failure::Runtime(format!("cannot listen on {address}: {error}")))?
    };
    let (stop_sender, stop) = bounded::<()>(0);
    let failed = |error| Failure::Runtime(format!("a thread cannot be started: {error}"));
    let store = store_thread::start(&site.options.store, stop.clone()).map_err(failed)?;
    let end = until_opened(&site, &store, &interrupt);
    // They read the database, which did not exist before if it is new.
    let threads = start_threads(&site, &stop).map_err(failed)?;
    let end = end.or_else(|| {
        log::info!("the page is at http://{}/", http.address());
        work(&site, &store, &interrupt)
    });
    // Streams end first, with the thread that they follow.
    drop(stop_sender);
    drop(http);
    let deadline = Instant::now() + STORE_STOP_WAIT;
    let end = end.or_else(|| ended_until(&site, &store, deadline));
    // A thread that still waits for Redis ends with the process.
    while !threads.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
        thread::sleep(SIGNAL_INTERVAL);
    }
    match end {
        None | Some(Ok(End::Stopped | End::Done)) => {
            log::info!("stopped");
            Ok(())
        }
        Some(Ok(End::Unreadable(line))) => Err(Failure::Runtime(line)),
        Some(Err(error)) => Err(Failure::Runtime(error.to_string())),
    }
}

/// Starts the threads that read Redis and the database until `stop` is closed.
fn start_threads(site: &Arc<Site>, stop: &Receiver<()>) -> io::Result<[JoinHandle<()>; 3]> {
    let live = {
        let (site, stop) = (Arc::clone(site), stop.clone());
        let read = move || {
            let is_database_away = || site.readers.away().is_some();
            site.live.run(site.connection(), is_database_away, &stop);
        };
        thread::Builder::new().name("live".to_owned()).spawn(read)?
    };
    let statistics = {
        let (site, stop) = (Arc::clone(site), stop.clone());
        let count = move || site.statistics.run(&site.readers, &stop);
        thread::Builder::new()
            .name("statistics".to_owned())
            .spawn(count)?
    };
    let changes = {
        let (site, stop) = (Arc::clone(site), stop.clone());
        let watch = move || change_watch::run(&site, &stop);
        thread::Builder::new()
            .name("changes".to_owned())
            .spawn(watch)?
    };
    Ok([live, statistics, changes])
}

/// Why the thread `store` has ended.
type StoreEnd = Result<End, StoreError>;

/// Waits until the thread `store` has opened the database or knows why it cannot, but at most [`DATABASE_OPEN_WAIT`]. Returns how the thread has
/// ended, if it has.
fn until_opened(site: &Site, store: &Work, interrupt: &Interrupt) -> Option<StoreEnd> {
    let deadline = Instant::now() + DATABASE_OPEN_WAIT;
    while !site.store.has_tried_database() && !interrupt.came() && Instant::now() < deadline {
        let end = take_report(site, store);
        if end.is_some() {
            return end;
        }
    }
    None
}

/// Takes what the thread `store` reports until a signal comes, or the thread has ended.
fn work(site: &Site, store: &Work, interrupt: &Interrupt) -> Option<StoreEnd> {
    while !interrupt.came() {
        let end = take_report(site, store);
        if end.is_some() {
            return end;
        }
    }
    None
}

/// Waits until the thread `store` has ended. None if that takes longer than until `deadline`: then the database rolls its transaction back.
fn ended_until(site: &Site, store: &Work, deadline: Instant) -> Option<StoreEnd> {
    while Instant::now() < deadline {
        let end = take_report(site, store);
        if end.is_some() {
            return end;
        }
    }
    None
}

fn take_report(site: &Site, store: &Work) -> Option<StoreEnd> {
    match store.reports.recv_timeout(SIGNAL_INTERVAL) {
        Ok(report) => {
            store_thread::note(&site.store, &report, &*site.metrics);
            None
        }
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(store.end()),
    }
}

/// From now on lines go to standard error, with time and level; in colours only on a terminal.
fn start_logging(output: &Output<'_>) -> Result<(), Failure> {
    let config = ConfigBuilder::new()
        .add_filter_allow_str("scan")
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_time_level(LevelFilter::Error)
        .set_level_padding(simplelog::LevelPadding::Right)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    let wants_colours = output.err_is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let colours = match wants_colours {
        true => ColorChoice::Auto,
        false => ColorChoice::Never,
    };
    TermLogger::init(LevelFilter::Info, config, TerminalMode::Stderr, colours)
        .map_err(|error| Failure::Runtime(format!("the log cannot be opened: {error}")))
}
