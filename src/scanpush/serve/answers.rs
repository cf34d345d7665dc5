//! Results from the database that are kept for a short time and shared by requests.

use super::memo::Memo;
use crate::scanpush::diff::Report;
use crate::store::{JobSummary, Page, TaskPlace, UnprovenScans};
use ipnet::Ipv4Net;
use std::time::Duration;

/// Maps of networks that are kept.
const KEPT_MAPS_MAX: usize = 16;
/// Pages of the list of jobs that are kept.
const KEPT_JOB_PAGES_MAX: usize = 16;
/// How long maps and comparisons are kept. Each page shows how old its result is.
const LONG_ANSWER_KEPT: Duration = Duration::from_secs(60);
/// How long other answers are kept.
const ANSWER_KEPT: Duration = Duration::from_secs(3);

/// Open services of the parts of a network.
pub type MapCounts = Vec<(Ipv4Net, u64)>;

/// Answers that requests share.
#[derive(Debug)]
pub struct Answers {
    /// Maps by network.
    pub maps: Memo<Ipv4Net, MapCounts>,
    /// The last comparison, by both ids.
    pub comparison: Memo<[String; 2], Report>,
    /// The scans that are too incomplete to prove that a service is closed.
    pub unproven: Memo<(), UnprovenScans>,
    /// Pages of the list of jobs, by cursor and size.
    pub jobs: Memo<(Option<TaskPlace>, usize), Page<JobSummary, TaskPlace>>,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers {
            maps: Memo::new(KEPT_MAPS_MAX, LONG_ANSWER_KEPT),
            // It may be large.
            comparison: Memo::new(1, LONG_ANSWER_KEPT),
            unproven: Memo::new(1, ANSWER_KEPT),
            jobs: Memo::new(KEPT_JOB_PAGES_MAX, ANSWER_KEPT),
        }
    }
}
