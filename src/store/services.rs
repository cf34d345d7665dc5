//! The list of services, in the order of address, port and protocol.
//!
//! It is read from the primary key, or if there are few ports from the index of ports: one source for each port, merged. A list with few rows is read
//! completely and sorted here: closed services, and those that were first seen lately.

use super::conditions::{ServiceCondition, has_port, is_after, ports_in_sql};
use super::connection::AnyConnection;
use super::error::StoreError;
use super::filter::ServiceFilter;
use super::merge::{Budget, Found, Page, STEP_ROWS, Source, Step, merge, page, page_of};
use super::places::ServicePlace;
use super::ranges::{FEW_ROWS, ranges_of};
use super::reader::StoreReader;
use super::schema::{
    ServiceColumns, ServiceRow, changes, columns_of, key_of, number_of, services, signed,
};
use super::sightings::services_of;
use crate::model::ports::Proto;
use crate::model::service::{ChangeKind, Service, ServiceKey, ServiceState};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use std::collections::BTreeSet;

/// A filter with more ports than this is applied to the rows that the primary key finds: each port is a query.
const PORTS_MERGED_MAX: u64 = 16;
/// The same for ports × networks.
const PORT_NETWORKS_MERGED_MAX: usize = 64;
/// The condition of the partial index of closed services. Not with a parameter: the database needs to see the value.
const IS_CLOSED: &str = "state = 'closed'";

impl StoreReader {
    /// Passes the services that match to `each`, ordered by address, port and protocol, from the one after `after` on, until `each` returns false.
    pub fn services(
        &mut self,
        filter: &ServiceFilter,
        after: Option<ServiceKey>,
        mut each: impl FnMut(Service) -> bool,
    ) -> Result<(), StoreError> {
        let after = after.map(|key| columns_of(&key));
        self.run(|connection| {
            if let Some(few) = few_services(connection, filter)? {
                let after = after.as_ref();
                few.into_iter()
                    .filter(|(place, _)| after.is_none_or(|after| place > after))
                    .all(|(_, service)| each(service));
                return Ok(());
            }
            let sources = sources(filter, after);
            let budget = Budget::Everything;
            merge(connection, sources, STEP_ROWS, budget, |_, service| {
                each(service)
            })?;
            Ok(())
        })
    }

    /// The next services that match, at most `limit`, ordered by address, port and protocol. Takes about 0.1 s at most, whatever matches.
    pub fn services_page(
        &mut self,
        filter: &ServiceFilter,
        after: Option<&ServicePlace>,
        limit: usize,
    ) -> Result<Page<Service, ServicePlace>, StoreError> {
        let after = after.map(|place| columns_of(&place.0));
        let budget = self.page_budget();
        self.run(|connection| {
            let page = match few_services(connection, filter)? {
                Some(few) => page_of(few, after.as_ref(), limit),
                None => page(connection, sources(filter, after), limit, budget)?,
            };
            page.try_map(Ok, |(address, port, protocol)| {
                Ok(ServicePlace(key_of(&address, port, protocol)?))
            })
        })
    }
}

/// The sources of a list that goes on after `after`.
fn sources(filter: &ServiceFilter, after: Option<ServiceColumns>) -> Vec<ServiceSource<'_>> {
    let ranges = ranges_of(filter.networks.as_ref());
    let ports = single_ports(filter, ranges.len());
    let source = |port| ServiceSource {
        filter,
        port,
        ranges: ranges.clone(),
        after: after.clone(),
    };
    if ports.is_empty() {
        return vec![source(None)];
    }
    ports.into_iter().map(|port| source(Some(port))).collect()
}

/// The ports of a filter, if each of them is to be a source; otherwise none.
fn single_ports(filter: &ServiceFilter, ranges: usize) -> Vec<(i32, i16)> {
    let Some(ports) = &filter.ports else {
        return Vec::new();
    };
    if ports.count() > PORTS_MERGED_MAX
        || ports.count() as usize * ranges > PORT_NETWORKS_MERGED_MAX
    {
        return Vec::new();
    }
    let single = ports.ranges().iter().flat_map(|range| {
        let number = number_of(range.proto);
        (range.first..=range.last).map(move |port| (i32::from(port), number))
    });
    single.collect()
}

/// Services of one port, or of all, in ranges of addresses.
struct ServiceSource<'a> {
    filter: &'a ServiceFilter,
    port: Option<(i32, i16)>,
    /// In order. Those that were read completely are removed.
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
    after: Option<ServiceColumns>,
}

impl Source for ServiceSource<'_> {
    type Place = ServiceColumns;
    type Row = Service;

    fn read(
        &mut self,
        connection: &mut AnyConnection,
        step: Step,
    ) -> Result<Found<ServiceColumns, Service>, StoreError> {
        let after = self.after.clone();
        let is_over = |last: &[u8]| after.as_ref().is_some_and(|after| *after >= end_of(last));
        self.ranges.retain(|(_, last)| !is_over(last));
        let Some((first, last)) = self.ranges.first().cloned() else {
            return Ok(Found {
                rows: Vec::new(),
                reached: None,
            });
        };
        // Only one lower bound: SQLite seeks to the first one that it finds, and would read the rows before `after` again.
        let lower: Box<dyn Fn() -> ServiceCondition> =
            match after.filter(|(address, _, _)| *address >= first) {
                None => Box::new(move || Box::new(services::address.ge(first.clone()))),
                Some(after) => Box::new(move || is_after(after.clone())),
            };
        let end = match step.scanned {
            None => None,
            Some(scanned) => self.end_of_step(connection, lower(), &last, scanned)?,
        };
        let upper = end.as_ref().map_or(&last, |(address, _, _)| address);
        let mut query = services::table
            .filter(services::address.le(upper.clone()))
            .filter(lower())
            .order((services::address, services::port, services::protocol))
            .limit(step.rows as i64)
            .select(ServiceRow::as_select())
            .into_boxed();
        if let Some(port) = self.port {
            query = query.filter(is_port(port));
        } else if let ranges @ [_, ..] = ports_in_sql(self.filter.ports.as_ref()) {
            query = query.filter(has_port(ranges));
        }
        for condition in conditions_of(self.filter) {
            query = query.filter(condition);
        }
        let loaded: Vec<ServiceRow> = query.load(connection)?;
        let is_full = loaded.len() >= step.rows;
        let mut rows = Vec::with_capacity(loaded.len());
        let mut last_row = None;
        for row in loaded {
            let service = Service::try_from(row)?;
            let place = columns_of(&service.key);
            last_row = Some(place.clone());
            // Rows of the last address beyond the end of the step are read again by the next one.
            let is_in_step = end.as_ref().is_none_or(|end| place <= *end);
            if is_in_step && self.filter.matches(&service) {
                rows.push((place, service));
            }
        }
        let reached = match (is_full, end) {
            (true, Some(end)) => last_row.map(|last| last.min(end)),
            (true, None) => last_row,
            (false, Some(end)) => Some(end),
            (false, None) => {
                self.ranges.remove(0);
                (!self.ranges.is_empty()).then(|| end_of(&last))
            }
        };
        self.after = reached.clone();
        Ok(Found { rows, reached })
    }
}

impl ServiceSource<'_> {
    /// The place of the last of the next `scanned` rows, whether they match or not; none if there are fewer up to `last`.
    fn end_of_step(
        &self,
        connection: &mut AnyConnection,
        lower: ServiceCondition,
        last: &[u8],
        scanned: usize,
    ) -> Result<Option<ServiceColumns>, StoreError> {
        let mut query = services::table
            .filter(services::address.le(last.to_vec()))
            .filter(lower)
            .order((services::address, services::port, services::protocol))
            .offset(scanned as i64 - 1)
            .limit(1)
            .select((services::address, services::port, services::protocol))
            .into_boxed();
        if let Some(port) = self.port {
            query = query.filter(is_port(port));
        }
        Ok(query.first(connection).optional()?)
    }
}

/// The last place of a range of addresses.
fn end_of(last: &[u8]) -> ServiceColumns {
    let highest = number_of(Proto::Sctp);
    (last.to_vec(), i32::from(u16::MAX), highest)
}

fn is_port((port, protocol): (i32, i16)) -> ServiceCondition {
    Box::new(services::port.eq(port).and(services::protocol.eq(protocol)))
}

/// What the database filters by beside addresses and ports.
fn conditions_of(filter: &ServiceFilter) -> Vec<ServiceCondition> {
    let mut conditions: Vec<ServiceCondition> = Vec::new();
    if let Some(proto) = filter.proto {
        conditions.push(Box::new(services::protocol.eq(number_of(proto))));
    }
    if let Some(state) = filter.state {
        conditions.push(Box::new(services::state.eq(state.as_str())));
    }
    if let Some(since) = filter.since.map(signed) {
        let closed_since = services::state
            .eq(ServiceState::Closed.as_str())
            .and(services::state_since.ge(since));
        conditions.push(Box::new(services::last_seen.ge(since).or(closed_since)));
    }
    if let Some(since) = filter.new_since {
        conditions.push(Box::new(services::first_seen.ge(signed(since))));
    }
    if let Some(until) = filter.new_until {
        conditions.push(Box::new(services::first_seen.lt(signed(until))));
    }
    if let Some(since) = filter.seen_since {
        conditions.push(Box::new(services::last_seen.ge(signed(since))));
    }
    if let Some(until) = filter.seen_until {
        conditions.push(Box::new(services::last_seen.lt(signed(until))));
    }
    conditions
}

/// Services with their places, in order.
type PlacedServices = Vec<(ServiceColumns, Service)>;

/// All services that match, in order, if an index finds few candidates. None if there are many.
fn few_services(
    connection: &mut AnyConnection,
    filter: &ServiceFilter,
) -> Result<Option<PlacedServices>, StoreError> {
    let mut candidates = None;
    if filter.state == Some(ServiceState::Closed) {
        candidates = few_closed(connection, signed(filter.since.unwrap_or(0)))?;
    }
    if let (None, Some(since)) = (&candidates, filter.new_since) {
        candidates = few_new(connection, signed(since))?;
    }
    let Some(candidates) = candidates else {
        return Ok(None);
    };
    let mut few = Vec::new();
    for row in candidates {
        let service = Service::try_from(row)?;
        if filter.matches(&service) {
            few.push((columns_of(&service.key), service));
        }
    }
    few.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Some(few))
}

/// The services that have closed since then, if they are few.
fn few_closed(
    connection: &mut AnyConnection,
    since: i64,
) -> Result<Option<Vec<ServiceRow>>, StoreError> {
    // Reads only the index: the first rows of many would be read in vain.
    let beyond: Option<i64> = services::table
        .filter(sql::<Bool>(IS_CLOSED))
        .filter(services::state_since.ge(since))
        .order(services::state_since)
        .select(services::state_since)
        .offset(FEW_ROWS as i64)
        .first(connection)
        .optional()?;
    if beyond.is_some() {
        return Ok(None);
    }
    let rows = services::table
        .filter(sql::<Bool>(IS_CLOSED))
        .filter(services::state_since.ge(since))
        .select(ServiceRow::as_select())
        .limit(FEW_ROWS as i64)
        .load(connection)?;
    Ok(Some(rows))
}

/// The services that were first seen since then, if there are few changes since then: each of them opened then. None if changes since then were
/// deleted already.
fn few_new(
    connection: &mut AnyConnection,
    since: i64,
) -> Result<Option<Vec<ServiceRow>>, StoreError> {
    let oldest: Option<i64> = changes::table
        .order((changes::at, changes::id))
        .select(changes::at)
        .first(connection)
        .optional()?;
    if oldest.is_none_or(|oldest| oldest >= since) {
        return Ok(None);
    }
    let rows: Vec<(Vec<u8>, i32, i16, String)> = changes::table
        .filter(changes::at.ge(since))
        .order((changes::at, changes::id))
        .select((
            changes::address,
            changes::port,
            changes::protocol,
            changes::kind,
        ))
        .limit(FEW_ROWS as i64 + 1)
        .load(connection)?;
    if rows.len() > FEW_ROWS {
        return Ok(None);
    }
    let mut keys = BTreeSet::new();
    for (address, port, protocol, kind) in rows {
        if kind == ChangeKind::Opened.as_str() {
            keys.insert(key_of(&address, port, protocol)?);
        }
    }
    let keys: Vec<ServiceKey> = keys.into_iter().collect();
    Ok(Some(services_of(connection, &keys)?))
}
