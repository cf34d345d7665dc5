//! How complete a result is: the scans of its networks that prove nothing about what they did not find.

use super::links;
use super::problem::Problem;
use super::route::Context;
use crate::model::targets::AddressRange;
use crate::model::text::one_line;
use crate::model::{State, Targets};
use crate::scanpush::tasks::now_ms;
use crate::store::{StoreReader, UnprovenScan};
use serde::Serialize;

/// Scans of this time are looked at if a question has no time.
const COMPLETENESS_S: u64 = 7 * 24 * 3600;

/// The scans that did not complete, or that left something open.
#[derive(Debug, Serialize)]
pub struct Completeness {
    /// From when on, in unix seconds.
    pub since: u64,
    /// The scans, those that changed last first.
    pub incomplete: Vec<IncompleteScan>,
    /// Whether there may be others: only a limited number is compared and listed.
    pub may_be_more: bool,
}

/// A scan that proves nothing about what it did not find.
#[derive(Debug, Serialize)]
pub struct IncompleteScan {
    /// Its task.
    pub task_id: String,
    /// The state of the task.
    pub state: &'static str,
    /// What is incomplete, in words.
    pub detail: String,
    /// The page of the task.
    #[serde(skip)]
    pub href: String,
}

impl Completeness {
    /// Asks the database about the scans of these networks since then.
    pub fn read(
        context: &Context<'_>,
        (networks, since): (Option<&Targets>, Option<u64>),
    ) -> Result<Completeness, Problem> {
        let since = since.unwrap_or_else(|| (now_ms() / 1000).saturating_sub(COMPLETENESS_S));
        let everything;
        let networks = match networks {
            Some(networks) => networks,
            None => {
                let all: Result<Vec<AddressRange>, _> =
                    ["0.0.0.0/0", "::/0"].into_iter().map(str::parse).collect();
                everything = Targets::from_ranges(all?);
                &everything
            }
        };
        let site = context.site;
        let unproven = site
            .answers
            .unproven
            .get((), || site.readers.ask(StoreReader::unproven_scans))?;
        let scans = unproven.value.of(networks, since);
        Ok(Completeness {
            since,
            incomplete: scans.scans.into_iter().map(IncompleteScan::new).collect(),
            may_be_more: scans.may_be_more,
        })
    }
}

impl IncompleteScan {
    fn new(task: &UnprovenScan) -> IncompleteScan {
        let detail = match (&task.error, task.proof) {
            (_, Some(proof)) if task.state == State::Completed => proof.as_str().to_owned(),
            (Some(error), _) => one_line(error),
            (None, _) => String::new(),
        };
        IncompleteScan {
            task_id: task.task_id.to_string(),
            state: task.state.as_str(),
            detail,
            href: links::task(task.task_id.as_str()),
        }
    }
}
