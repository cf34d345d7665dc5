//! Starts the threads, waits for a signal, and stops them.

use super::options;
use super::router;
use super::site::Site;
use super::store_thread;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::http_server::HttpServer;
use crate::scanpush::interrupt::Interrupt;
use crate::scanpush::output::Output;
use crossbeam_channel::{RecvTimeoutError, bounded};
use simplelog::{ColorChoice, ConfigBuilder, LevelFilter, TermLogger, TerminalMode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often signals are looked for.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs the command.
pub fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = options::read(reader)?;
    let interrupt = Interrupt::catch()?;
    start_logging()?;
    let (stop_sender, stop) = bounded::<()>(0);
    let site = Site::new(options, interrupt.clone());
    let failed = |error| Failure::Runtime(format!("a thread cannot be started: {error}"));
    let store = store_thread::start(&site.options.store, stop.clone()).map_err(failed)?;
    let live = {
        let site = Arc::clone(&site);
        let stop = stop.clone();
        let read = move || {
            let newest_change = || {
                let newest = site.readers.try_ask(|reader| reader.newest_change());
                newest.ok().flatten()
            };
            site.live.run(site.connection(), newest_change, &stop);
        };
        thread::Builder::new().name("live".to_owned()).spawn(read)
    }
    .map_err(failed)?;
    let statistics = {
        let site = Arc::clone(&site);
        let count = move || site.statistics.run(&site.readers, &stop);
        thread::Builder::new()
            .name("statistics".to_owned())
            .spawn(count)
    }
    .map_err(failed)?;
    let http = {
        let site = Arc::clone(&site);
        let address = site.options.http;
        HttpServer::start(
            address,
            Arc::new(move |request| router::answer(&site, &request)),
        )
        .map_err(|error| Failure::Runtime(format!("cannot listen on {address}: {error}")))?
    };
    output.notice(&format!("the page is at http://{}/", http.address()));
    while !interrupt.came() {
        match store.reports.recv_timeout(SIGNAL_INTERVAL) {
            Ok(report) => store_thread::note(&site.store, report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(http);
    drop(stop_sender);
    let _ = live.join();
    let _ = statistics.join();
    Ok(())
}

fn start_logging() -> Result<(), Failure> {
    let config = ConfigBuilder::new()
        .add_filter_allow_str("scan")
        .set_time_format_rfc3339()
        .build();
    TermLogger::init(
        LevelFilter::Info,
        config,
        TerminalMode::Stderr,
        ColorChoice::Auto,
    )
    .map_err(|error| Failure::Runtime(format!("the log cannot be opened: {error}")))
}
