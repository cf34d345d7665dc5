//! Reads rows of several sources in one order, in steps, until a budget of time is spent.
//!
//! A source is a scan of one index. The database filters its rows, so a step that finds nothing may have read thousands of them. With a budget, a step is
//! limited by the rows that it reads, not by those that match, and reports the place up to which it has read.

use super::connection::AnyConnection;
use super::error::StoreError;
use std::collections::VecDeque;
use std::time::Instant;

/// Rows that one statement returns at most.
pub(super) const STEP_ROWS: usize = 2_000;
/// A page of a list starts no step after this time, in milliseconds.
pub(super) const PAGE_WAIT_MS: u64 = 100;
/// Rows that the first step of each source reads at most. Each step reads twice as many as the one before it.
const FIRST_STEP_SCANNED: usize = 1_000;
/// Rows that a step reads at most.
const STEP_SCANNED_MAX: usize = 8_000;

/// How much of a list is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Budget {
    /// All of it.
    Everything,
    /// As much as can be read before this time, but at least one step of each source.
    Page(Instant),
}

impl Budget {
    fn is_spent(self) -> bool {
        match self {
            Budget::Everything => false,
            Budget::Page(end) => Instant::now() >= end,
        }
    }
}

/// Part of a list, and where the next part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, P> {
    /// The rows, in the order of the list. May be fewer than asked for, even none, although the list goes on: if few rows match, the time of a page
    /// is spent before it is full.
    pub rows: Vec<T>,
    /// The list goes on after this place; none: this was the end.
    pub next: Option<P>,
}

/// What one statement may read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Matching rows at most.
    pub rows: usize,
    /// Rows that are read at most, whether they match or not; none: any number.
    pub scanned: Option<usize>,
}

/// What one statement has read.
pub(super) struct Found<P, T> {
    /// Rows that match, in order, each with its place.
    pub rows: Vec<(P, T)>,
    /// All rows up to this place were read; none: the source has no more.
    pub reached: Option<P>,
}

/// Rows in the order of one index.
pub(super) trait Source {
    /// What the rows are ordered by.
    type Place: Ord + Clone;
    /// A row.
    type Row;

    /// Reads the next rows.
    fn read(
        &mut self,
        connection: &mut AnyConnection,
        step: Step,
    ) -> Result<Found<Self::Place, Self::Row>, StoreError>;
}

/// A source with the rows that were read and not yet passed on.
struct Input<S: Source> {
    source: S,
    rows: VecDeque<(S::Place, S::Row)>,
    reached: Option<S::Place>,
    is_at_end: bool,
    scanned: usize,
}

impl<T, P> Page<T, P> {
    /// The same page with other rows or places.
    pub(super) fn try_map<U, Q>(
        self,
        row: impl FnMut(T) -> Result<U, StoreError>,
        place: impl FnOnce(P) -> Result<Q, StoreError>,
    ) -> Result<Page<U, Q>, StoreError> {
        Ok(Page {
            rows: self.rows.into_iter().map(row).collect::<Result<_, _>>()?,
            next: self.next.map(place).transpose()?,
        })
    }
}

impl<S: Source> Input<S> {
    /// Reads until there is a row, the source has ended, or the budget is spent.
    fn fill(
        &mut self,
        connection: &mut AnyConnection,
        rows: usize,
        budget: Budget,
    ) -> Result<(), StoreError> {
        while self.rows.is_empty() && !self.is_at_end {
            if self.reached.is_some() && budget.is_spent() {
                break;
            }
            let scanned = match budget {
                Budget::Everything => None,
                Budget::Page(_) => Some(self.scanned),
            };
            let found = self.source.read(connection, Step { rows, scanned })?;
            self.scanned = (self.scanned * 2).min(STEP_SCANNED_MAX);
            self.rows.extend(found.rows);
            self.is_at_end = found.reached.is_none();
            self.reached = found.reached;
        }
        Ok(())
    }

    fn needs_more(&self) -> bool {
        self.rows.is_empty() && !self.is_at_end
    }
}

/// Passes the rows of all sources to `each` in the order of their places, until it returns false. Returns the place after which the list goes on,
/// or none at its end; if `each` returned false, that is the place of the row that was passed last. `rows`: how many rows are read at once.
pub(super) fn merge<S: Source>(
    connection: &mut AnyConnection,
    sources: Vec<S>,
    rows: usize,
    budget: Budget,
    mut each: impl FnMut(&S::Place, S::Row) -> bool,
) -> Result<Option<S::Place>, StoreError> {
    let mut inputs: Vec<Input<S>> = sources
        .into_iter()
        .map(|source| Input {
            source,
            rows: VecDeque::new(),
            reached: None,
            is_at_end: false,
            scanned: FIRST_STEP_SCANNED,
        })
        .collect();
    loop {
        for input in &mut inputs {
            input.fill(connection, rows, budget)?;
        }
        let starving = inputs.iter().filter(|input| input.needs_more());
        let known_to = starving.filter_map(|input| input.reached.clone()).min();
        let heads = inputs.iter_mut().filter(|input| !input.rows.is_empty());
        let first = heads.min_by(|one, other| one.rows[0].0.cmp(&other.rows[0].0));
        let is_known = |place: &S::Place| known_to.as_ref().is_none_or(|known| place <= known);
        let next = first
            .filter(|input| is_known(&input.rows[0].0))
            .and_then(|input| input.rows.pop_front());
        let Some((place, row)) = next else {
            return Ok(known_to);
        };
        if !each(&place, row) {
            return Ok(Some(place));
        }
    }
}

/// The next rows of a list, at most `limit`, and where it goes on.
pub(super) fn page<S: Source>(
    connection: &mut AnyConnection,
    sources: Vec<S>,
    limit: usize,
    budget: Budget,
) -> Result<Page<S::Row, S::Place>, StoreError> {
    let limit = limit.max(1);
    let (mut rows, mut last, mut is_cut) = (Vec::new(), None, false);
    let step = limit.saturating_add(1).min(STEP_ROWS);
    let next = merge(connection, sources, step, budget, |place, row| {
        // A row beyond `limit` means that the list continues.
        is_cut = rows.len() == limit;
        if !is_cut {
            rows.push(row);
            last = Some(place.clone());
        }
        !is_cut
    })?;
    let next = if is_cut { last } else { next };
    Ok(Page { rows, next })
}

/// The part of a list that is in memory after `after`, at most `limit` rows.
pub(super) fn page_of<T, P: Ord + Clone>(
    all: Vec<(P, T)>,
    after: Option<&P>,
    limit: usize,
) -> Page<T, P> {
    let mut left = all
        .into_iter()
        .filter(|(place, _)| after.is_none_or(|after| place > after));
    let (mut rows, mut last) = (Vec::new(), None);
    for (place, row) in left.by_ref().take(limit) {
        rows.push(row);
        last = Some(place);
    }
    let next = last.filter(|_| left.next().is_some());
    Page { rows, next }
}
