//! The list of changes, newest first. If networks have few changes, they are read by address and sorted here.

use super::conditions::ports_in_sql;
use super::connection::AnyConnection;
use super::error::StoreError;
use super::filter::ChangeFilter;
use super::merge::{Budget, Found, Page, STEP_ROWS, Source, Step, merge, page, page_of};
use super::places::ChangePlace;
use super::ranges::{FEW_ROWS, ranges_of};
use super::reader::{NumberedChange, StoreReader, numbered};
use super::schema::{ChangeRow, changes, number_of, signed, unsigned};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool};
use std::cmp::Reverse;

/// With more ranges of addresses than this, few rows are not searched for: each range is a query.
const FEW_RANGES_MAX: usize = 16;

/// What changes are ordered by: time and number, the newest first.
type ChangeOrder = Reverse<(i64, i64)>;

impl StoreReader {
    /// Passes the changes that match to `each`, newest first, from the one after `after` on, until `each` returns false.
    pub fn changes(
        &mut self,
        filter: &ChangeFilter,
        after: Option<&NumberedChange>,
        mut each: impl FnMut(NumberedChange) -> bool,
    ) -> Result<(), StoreError> {
        let after = after.map(|last| Reverse((signed(last.change.at), last.id)));
        self.run(|connection| {
            if let Some(few) = few_changes(connection, filter)? {
                few.into_iter()
                    .filter(|(place, _)| after.is_none_or(|after| *place > after))
                    .all(|(_, change)| each(change));
                return Ok(());
            }
            let sources = vec![ChangeSource { filter, after }];
            let budget = Budget::Everything;
            merge(connection, sources, STEP_ROWS, budget, |_, change| {
                each(change)
            })?;
            Ok(())
        })
    }

    /// The next changes that match, at most `limit`, newest first. Takes about 0.1 s at most, whatever matches.
    pub fn changes_page(
        &mut self,
        filter: &ChangeFilter,
        after: Option<&ChangePlace>,
        limit: usize,
    ) -> Result<Page<NumberedChange, ChangePlace>, StoreError> {
        let after = after.map(|place| Reverse((signed(place.at), place.id)));
        let budget = self.page_budget();
        self.run(|connection| {
            let page = match few_changes(connection, filter)? {
                Some(few) => page_of(few, after.as_ref(), limit),
                None => page(
                    connection,
                    vec![ChangeSource { filter, after }],
                    limit,
                    budget,
                )?,
            };
            page.try_map(Ok, |Reverse((at, id))| {
                let at = unsigned(at);
                Ok(ChangePlace { at, id })
            })
        })
    }
}

/// Changes by time.
struct ChangeSource<'a> {
    filter: &'a ChangeFilter,
    after: Option<ChangeOrder>,
}

/// A condition on changes for either database.
type ChangeCondition = Box<
    dyn BoxableExpression<
            changes::table,
            <AnyConnection as diesel::Connection>::Backend,
            SqlType = Bool,
        >,
>;

impl Source for ChangeSource<'_> {
    type Place = ChangeOrder;
    type Row = NumberedChange;

    fn read(
        &mut self,
        connection: &mut AnyConnection,
        step: Step,
    ) -> Result<Found<ChangeOrder, NumberedChange>, StoreError> {
        let end = match step.scanned {
            None => None,
            Some(scanned) => self.end_of_step(connection, scanned)?,
        };
        let mut query = changes::table
            .order((changes::at.desc(), changes::id.desc()))
            .limit(step.rows as i64)
            .select(ChangeRow::as_select())
            .into_boxed();
        for condition in self.in_time(end.map(|Reverse((at, _))| at)) {
            query = query.filter(condition);
        }
        for condition in conditions_of(connection, self.filter) {
            query = query.filter(condition);
        }
        let loaded: Vec<ChangeRow> = query.load(connection)?;
        let is_full = loaded.len() >= step.rows;
        let mut rows = Vec::with_capacity(loaded.len());
        let mut last_row = None;
        for row in loaded {
            let place = Reverse((row.at, row.id));
            last_row = Some(place);
            let found = numbered(row)?;
            let is_in_step = end.is_none_or(|end| place <= end);
            if is_in_step && self.filter.matches(&found.change) {
                rows.push((place, found));
            }
        }
        let reached = match (is_full, end) {
            (true, Some(end)) => last_row.map(|last| last.min(end)),
            (true, None) => last_row,
            (false, end) => end,
        };
        self.after = reached;
        Ok(Found { rows, reached })
    }
}

impl ChangeSource<'_> {
    /// After `after`, and in the filter's time. `oldest`: the oldest time of the step. One bound of each kind only: SQLite seeks to the first that it
    /// finds, and would read the rows before `after` again.
    fn in_time(&self, oldest: Option<i64>) -> Vec<ChangeCondition> {
        let mut conditions: Vec<ChangeCondition> = Vec::new();
        if let Some(since) = oldest.or(self.filter.since.map(signed)) {
            conditions.push(Box::new(changes::at.ge(since)));
        }
        match (self.after, self.filter.until) {
            (Some(Reverse((at, id))), _) => {
                conditions.push(Box::new(changes::at.le(at)));
                let is_older = changes::at.eq(at).and(changes::id.lt(id));
                conditions.push(Box::new(changes::at.lt(at).or(is_older)));
            }
            (None, Some(until)) => conditions.push(Box::new(changes::at.lt(signed(until)))),
            (None, None) => {}
        }
        conditions
    }

    /// The place of the last of the next `scanned` rows, whether they match or not; none if there are fewer.
    fn end_of_step(
        &self,
        connection: &mut AnyConnection,
        scanned: usize,
    ) -> Result<Option<ChangeOrder>, StoreError> {
        let mut query = changes::table
            .order((changes::at.desc(), changes::id.desc()))
            .offset(scanned as i64 - 1)
            .limit(1)
            .select((changes::at, changes::id))
            .into_boxed();
        for condition in self.in_time(None) {
            query = query.filter(condition);
        }
        Ok(query.first(connection).optional()?.map(Reverse))
    }
}

/// What the database filters by beside the time.
fn conditions_of(connection: &AnyConnection, filter: &ChangeFilter) -> Vec<ChangeCondition> {
    let mut conditions: Vec<ChangeCondition> = Vec::new();
    // One range is a condition for the database; several are tested with the rows.
    let ranges = ranges_of(filter.networks.as_ref());
    let hull = ranges.first().zip(ranges.last());
    // The unary plus keeps SQLite from using the index of addresses, after which it would sort every row that matches.
    let address = match connection {
        AnyConnection::Sqlite(_) => "+changes.address",
        AnyConnection::Postgres(_) => "changes.address",
    };
    if let (Some(_), Some((first, last))) = (&filter.networks, hull) {
        conditions.push(Box::new(sql::<Binary>(address).ge(first.0.clone())));
        conditions.push(Box::new(sql::<Binary>(address).le(last.1.clone())));
    }
    match filter.kinds[..] {
        [one] => conditions.push(Box::new(changes::kind.eq(one.as_str()))),
        [one, two] => {
            let is_two = changes::kind.eq(two.as_str());
            conditions.push(Box::new(changes::kind.eq(one.as_str()).or(is_two)));
        }
        _ => {}
    }
    if let Some(proto) = filter.proto {
        conditions.push(Box::new(changes::protocol.eq(number_of(proto))));
    }
    if let [one] = ports_in_sql(filter.ports.as_ref())
        && one.first == one.last
    {
        conditions.push(Box::new(changes::port.eq(i32::from(one.first))));
        conditions.push(Box::new(changes::protocol.eq(number_of(one.proto))));
    }
    conditions
}

/// All changes that match, newest first, if the networks have few changes. None if they have many.
fn few_changes(
    connection: &mut AnyConnection,
    filter: &ChangeFilter,
) -> Result<Option<Vec<(ChangeOrder, NumberedChange)>>, StoreError> {
    let Some(networks) = &filter.networks else {
        return Ok(None);
    };
    let ranges = ranges_of(Some(networks));
    if ranges.len() > FEW_RANGES_MAX {
        return Ok(None);
    }
    let (mut few, mut candidates) = (Vec::new(), 0);
    for (first, last) in ranges {
        let left = FEW_ROWS + 1 - candidates;
        let rows: Vec<ChangeRow> = changes::table
            .filter(changes::address.ge(first))
            .filter(changes::address.le(last))
            .limit(left as i64)
            .select(ChangeRow::as_select())
            .load(connection)?;
        candidates += rows.len();
        if candidates > FEW_ROWS {
            return Ok(None);
        }
        for row in rows {
            let place = Reverse((row.at, row.id));
            let found = numbered(row)?;
            if filter.matches(&found.change) {
                few.push((place, found));
            }
        }
    }
    few.sort_unstable_by_key(|(place, _)| *place);
    Ok(Some(few))
}
