//! Counts for plots and maps. They read all services or many changes, and take seconds with millions of them: not for each request.

use super::connection::AnyConnection;
use super::error::StoreError;
use super::reader::StoreReader;
use super::schema::{changes, key_of, positions, signed, unsigned};
use crate::model::service::{ChangeKind, ServiceState, ordered_bytes};
use crate::model::{Invalid, State};
use diesel::deserialize::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Integer, SmallInt, Text};
use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

/// Seconds of a day.
const DAY_S: u64 = 24 * 3600;
/// Days that statistics go back at most.
const STATISTICS_DAYS_MAX: u64 = 400;
/// Ports that statistics name.
const TOP_PORTS: usize = 15;
/// Bits of an address between a network and its cells: a map has 4096 cells at most.
const CELL_BITS_MAX: u8 = 12;
/// Cells of a network with more than 256 addresses are not smaller than this prefix.
const CELL_PREFIX: u8 = 24;

/// Counts of what the database has, and how they changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Open services.
    pub open: u64,
    /// Closed services.
    pub closed: u64,
    /// Tasks.
    pub tasks: u64,
    /// Tasks in each state, in the order of [`State::ALL`].
    pub tasks_by_state: Vec<StateCount>,
    /// Days, oldest first. The last one is today (UTC), as far as it has passed.
    pub days: Vec<DayCount>,
    /// The ports with the most open services, the most first.
    pub top_ports: Vec<PortCount>,
}

/// Tasks in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StateCount {
    /// The state.
    pub state: State,
    /// Its tasks.
    pub tasks: u64,
}

/// A day of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DayCount {
    /// Its begin, in unix seconds.
    pub begin: u64,
    /// Services that were open at its end. Counted back from now with the changes, so deletion of old services makes it too small.
    pub open: u64,
    /// Services that were seen for the first time.
    pub opened: u64,
    /// Services that closed.
    pub closed: u64,
    /// Services that were seen again after they had closed.
    pub reopened: u64,
}

/// Open services of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortCount {
    /// The port.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub proto: &'static str,
    /// Its open services.
    pub open: u64,
}

#[derive(QueryableByName)]
struct DayRow {
    #[diesel(sql_type = BigInt)]
    day: i64,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct PortRow {
    #[diesel(sql_type = Integer)]
    port: i32,
    #[diesel(sql_type = SmallInt)]
    protocol: i16,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct StateRow {
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct CellRow {
    #[diesel(sql_type = Binary)]
    first: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl StoreReader {
    /// Counts everything, and the changes of the last `days` days (400 at most) with today. `now`: unix seconds.
    pub fn statistics(&mut self, days: u64, now: u64) -> Result<Statistics, StoreError> {
        let days = days.clamp(1, STATISTICS_DAYS_MAX);
        self.run(|connection| {
            let closed_services = match connection {
                // SQLite would look up each service from the index of ports.
                AnyConnection::Sqlite(_) => {
                    "services INDEXED BY closed_services WHERE state = 'closed'"
                }
                AnyConnection::Postgres(_) => "services WHERE state = 'closed'",
            };
            let all = by_port(connection, "services")?;
            let closed = by_port(connection, closed_services)?;
            let by_state = by_state(connection)?;
            let open_of =
                |key, all: u64| all.saturating_sub(closed.get(&key).copied().unwrap_or(0));
            let mut ports: Vec<((i32, i16), u64)> = all
                .iter()
                .map(|(key, all)| (*key, open_of(*key, *all)))
                .filter(|(_, open)| *open > 0)
                .collect();
            let open = ports.iter().map(|(_, open)| open).sum();
            ports.sort_unstable_by_key(|(key, open)| (Reverse(*open), *key));
            ports.truncate(TOP_PORTS);
            Ok(Statistics {
                open,
                closed: closed.values().sum(),
                tasks: by_state.iter().map(|count| count.tasks).sum(),
                tasks_by_state: by_state,
                days: by_day(connection, days, now, open)?,
                top_ports: ports
                    .into_iter()
                    .map(port_count)
                    .collect::<Result<_, _>>()?,
            })
        })
    }

    /// How many changes of each kind there are after one number up to another, in the order of [`ChangeKind::ALL`].
    pub fn changes_between(&mut self, after: i64, last: i64) -> Result<[u64; 3], StoreError> {
        self.run(|connection| {
            let mut counts = [0; 3];
            for (count, kind) in counts.iter_mut().zip(ChangeKind::ALL) {
                let rows: i64 = changes::table
                    .filter(changes::id.gt(after).and(changes::id.le(last)))
                    .filter(changes::kind.eq(kind.as_str()))
                    .count()
                    .get_result(connection)?;
                *count = unsigned(rows);
            }
            Ok(counts)
        })
    }

    /// How many open services each part of a network has. The parts are networks of 256 addresses, larger ones if there would be more than 4096, and
    /// single addresses if the network has 256 addresses or fewer. Parts without open services are left out.
    /// Reads each service of the network: about 0.1 s for a /16, seconds for millions of services.
    pub fn open_by_cell(&mut self, network: Ipv4Net) -> Result<Vec<(Ipv4Net, u64)>, StoreError> {
        let cells: Vec<Ipv4Net> = cells_of(network);
        let counts = self.run(|connection| count_open(connection, &cells))?;
        let counted = cells
            .into_iter()
            .filter_map(|cell| Some((cell, *counts.get(&cell.network())?)));
        Ok(counted.filter(|(_, open)| *open > 0).collect())
    }

    /// Records of a topic that were read so far. Read twice, it gives the rate.
    pub fn records_read(&mut self, topic: &str) -> Result<u64, StoreError> {
        self.run(|connection| {
            let records: Vec<i64> = positions::table
                .filter(positions::topic.eq(topic))
                .select(positions::records)
                .load(connection)?;
            Ok(records.into_iter().map(unsigned).sum())
        })
    }
}

/// A network that [`StoreReader::open_by_cell`] can divide. Errs for IPv6, whose networks have too many parts.
pub fn map_network(text: &str) -> Result<Ipv4Net, Invalid> {
    let wrong = "is not an IPv4 network like 10.1.0.0/16: there are maps of IPv4 only";
    match text.parse::<IpNet>() {
        Ok(IpNet::V4(network)) => Ok(network.trunc()),
        _ => Err(Invalid::new(text, wrong)),
    }
}

fn cells_of(network: Ipv4Net) -> Vec<Ipv4Net> {
    let network = network.trunc();
    let prefix = match network.prefix_len() {
        CELL_PREFIX.. => 32,
        prefix => (prefix + CELL_BITS_MAX).min(CELL_PREFIX),
    };
    network
        .subnets(prefix)
        .map(Iterator::collect)
        .unwrap_or_default()
}

/// The number of open services of each cell, by its first address.
fn count_open(
    connection: &mut AnyConnection,
    cells: &[Ipv4Net],
) -> Result<HashMap<Ipv4Addr, u64>, StoreError> {
    let bytes = |ip: Ipv4Addr| ordered_bytes(IpAddr::V4(ip)).to_vec();
    match connection {
        // One statement, run for each cell: grouping would sort all services.
        AnyConnection::Sqlite(connection) => {
            use super::schema::services;
            let mut counts = HashMap::new();
            for cell in cells {
                let open: i64 = services::table
                    .filter(services::address.ge(bytes(cell.network())))
                    .filter(services::address.le(bytes(cell.broadcast())))
                    .filter(services::state.eq(ServiceState::Open.as_str()))
                    .count()
                    .get_result(connection)?;
                counts.insert(cell.network(), unsigned(open));
            }
            Ok(counts)
        }
        AnyConnection::Postgres(connection) => {
            let (first, last): (Vec<_>, Vec<_>) = cells
                .iter()
                .map(|cell| (bytes(cell.network()), bytes(cell.broadcast())))
                .unzip();
            let rows: Vec<CellRow> = diesel::sql_query(
                "SELECT first, number FROM unnest($1, $2) AS cells (first, last) CROSS JOIN LATERAL \
                 (SELECT COUNT(*) AS number FROM services WHERE address >= first AND address <= last AND state = 'open') AS counted",
            )
            .bind::<Array<Binary>, _>(first)
            .bind::<Array<Binary>, _>(last)
            .load(connection)?;
            let counts = rows.into_iter().filter_map(|row| {
                let octets: [u8; 4] = row.first.get(12..)?.try_into().ok()?;
                Some((Ipv4Addr::from(octets), unsigned(row.number)))
            });
            Ok(counts.collect())
        }
    }
}

fn load<T>(connection: &mut AnyConnection, text: &str) -> Result<Vec<T>, StoreError>
where
    T: QueryableByName<diesel::sqlite::Sqlite> + QueryableByName<diesel::pg::Pg> + 'static,
{
    let query = diesel::sql_query(text);
    Ok(match connection {
        AnyConnection::Sqlite(connection) => query.load(connection)?,
        AnyConnection::Postgres(connection) => query.load(connection)?,
    })
}

/// Services by port and protocol.
fn by_port(
    connection: &mut AnyConnection,
    services: &str,
) -> Result<BTreeMap<(i32, i16), u64>, StoreError> {
    let text = format!(
        "SELECT port, protocol, COUNT(*) AS number FROM {services} GROUP BY port, protocol"
    );
    let rows: Vec<PortRow> = load(connection, &text)?;
    let counts = rows
        .into_iter()
        .map(|row| ((row.port, row.protocol), unsigned(row.number)));
    Ok(counts.collect())
}

fn port_count(((port, protocol), open): ((i32, i16), u64)) -> Result<PortCount, StoreError> {
    let key = key_of(&[0; 16], port, protocol)?;
    Ok(PortCount {
        port: key.port,
        proto: key.proto.as_str(),
        open,
    })
}

fn by_state(connection: &mut AnyConnection) -> Result<Vec<StateCount>, StoreError> {
    let text = "SELECT state, COUNT(*) AS number FROM tasks GROUP BY state";
    let rows: Vec<StateRow> = load(connection, text)?;
    let count = |state: State| {
        let row = rows.iter().find(|row| row.state == state.as_str())?;
        Some(StateCount {
            state,
            tasks: unsigned(row.number),
        })
    };
    Ok(State::ALL.into_iter().filter_map(count).collect())
}

/// The changes of each of the last `days` days, and how many services were open at its end, counted back from `open` now.
fn by_day(
    connection: &mut AnyConnection,
    days: u64,
    now: u64,
    open: u64,
) -> Result<Vec<DayCount>, StoreError> {
    let today = now / DAY_S;
    let first = (today + 1).saturating_sub(days);
    let text = format!(
        "SELECT at / {DAY_S} AS day, kind, COUNT(*) AS number FROM changes WHERE at >= {} GROUP BY at / {DAY_S}, kind",
        signed(first * DAY_S)
    );
    let rows: Vec<DayRow> = load(connection, &text)?;
    let mut counts: HashMap<(u64, String), u64> = HashMap::new();
    for row in rows {
        // A change from the future, by a clock that is ahead, counts today.
        let day = unsigned(row.day).min(today);
        *counts.entry((day, row.kind)).or_default() += unsigned(row.number);
    }
    let mut count = |day: u64, kind: ChangeKind| {
        counts
            .remove(&(day, kind.as_str().to_owned()))
            .unwrap_or_default()
    };
    let mut open = open;
    let mut counted = Vec::new();
    for day in (first..=today).rev() {
        let of_day = DayCount {
            begin: day * DAY_S,
            open,
            opened: count(day, ChangeKind::Opened),
            closed: count(day, ChangeKind::Closed),
            reopened: count(day, ChangeKind::Reopened),
        };
        open = (open + of_day.closed).saturating_sub(of_day.opened + of_day.reopened);
        counted.push(of_day);
    }
    counted.reverse();
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_at_most_4096_cells() {
        for (network, count, first) in [
            ("10.0.0.0/8", 4096, "10.0.0.0/20"),
            ("10.16.0.0/12", 4096, "10.16.0.0/24"),
            ("10.1.2.3/16", 256, "10.1.0.0/24"),
            ("10.1.2.0/23", 2, "10.1.2.0/24"),
            ("10.1.2.0/24", 256, "10.1.2.0/32"),
            ("10.1.2.3/32", 1, "10.1.2.3/32"),
            ("0.0.0.0/0", 4096, "0.0.0.0/12"),
        ] {
            let cells = cells_of(network.parse().unwrap());
            assert_eq!(cells.len(), count, "{network}");
            assert_eq!(cells[0].to_string(), first);
        }
        assert!(map_network("10.1.2.3/16").is_ok());
        let error = map_network("2001:db8::/32").unwrap_err().to_string();
        assert!(error.contains("IPv4 only"), "{error}");
    }
}
