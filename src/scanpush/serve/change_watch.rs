//! The thread `changes`: asks the database for its newest changes, for open pages and for metrics. As its only regular reader it also notices that the
//! database is away while nobody uses the page.

use super::site::Site;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often the database is asked.
const CHANGES_INTERVAL: Duration = Duration::from_secs(1);

/// Asks until `stop` is closed.
pub fn run(site: &Site, stop: &Receiver<()>) {
    let mut last = None;
    loop {
        last = ask(site, last);
        match stop.recv_timeout(CHANGES_INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
    }
}

/// Asks for the changes after `last`, the number of the newest one before. None: what is there already is not counted. Returns the new `last`.
pub fn ask(site: &Site, last: Option<i64>) -> Option<i64> {
    let asked = site.readers.try_ask(|reader| {
        let newest = reader.newest_change()?.unwrap_or(0);
        let counts = match last {
            // Without new ones, there is nothing to count. Fewer: the database is another one.
            Some(last) if last < newest => reader.changes_between(last, newest)?,
            _ => [0; 3],
        };
        // Open pages must also be told of a task that ended without changing a service.
        let states_read = reader.records_read(site.options.store.topics().1)?;
        Ok((newest, counts, states_read))
    });
    // The error is on the page and in /readyz.
    let Ok((newest, counts, states_read)) = asked else {
        return last;
    };
    site.metrics.count_changes(counts);
    site.live.note_database(newest, states_read);
    Some(newest)
}
