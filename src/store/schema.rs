//! The tables as diesel's types, the same for both databases, and their rows. `migrations/` creates them and says what the columns mean.

use super::error::StoreError;
use crate::model::coverage::ScanParameters;
use crate::model::ports::Proto;
use crate::model::service::{
    Change, ChangeKind, Misses, Service, ServiceKey, ServiceState, address_of, ordered_bytes,
};
use diesel::deserialize::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, SmallInt, Text};

diesel::table! {
    store_lease (id) {
        id -> Integer,
        holder -> Nullable<Text>,
        renewed_ms -> BigInt,
    }
}

diesel::table! {
    positions (topic, topic_partition) {
        topic -> Text,
        topic_partition -> Integer,
        next_offset -> BigInt,
        records -> BigInt,
        lost -> BigInt,
        gap_until -> BigInt,
    }
}

diesel::table! {
    counters (name) {
        name -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    services (address, port, protocol) {
        address -> Binary,
        port -> Integer,
        protocol -> SmallInt,
        first_seen -> BigInt,
        last_seen -> BigInt,
        last_task -> Text,
        reason -> Text,
        ttl -> SmallInt,
        state -> Text,
        state_since -> BigInt,
        misses -> Integer,
        missed_since -> BigInt,
    }
}

diesel::table! {
    changes (id) {
        id -> BigInt,
        address -> Binary,
        port -> Integer,
        protocol -> SmallInt,
        kind -> Text,
        at -> BigInt,
        task_id -> Text,
    }
}

diesel::table! {
    tasks (task_id) {
        task_id -> Text,
        job_id -> Nullable<Text>,
        ip_range -> Nullable<Text>,
        ports -> Nullable<Text>,
        band_width -> Nullable<BigInt>,
        priority -> Nullable<SmallInt>,
        retries -> Nullable<Integer>,
        exclude -> Nullable<Text>,
        shard -> Nullable<Text>,
        seed -> Nullable<BigInt>,
        topic_partition -> Nullable<Integer>,
        topic_offset -> Nullable<BigInt>,
        retry -> Integer,
        state -> Text,
        server -> Nullable<Text>,
        attempt -> Integer,
        lost -> Integer,
        fence -> BigInt,
        found -> BigInt,
        found_by_pass -> Nullable<Text>,
        error -> Nullable<Text>,
        changed_ms -> BigInt,
        begun_ms -> Nullable<BigInt>,
        ended_ms -> Nullable<BigInt>,
        server_exclude -> Nullable<Text>,
        proof -> Nullable<Text>,
    }
}

diesel::table! {
    task_records (topic_partition, topic_offset) {
        topic_partition -> Integer,
        topic_offset -> BigInt,
        task_id -> Text,
        record -> Text,
        read_ms -> BigInt,
    }
}

diesel::table! {
    task_events (task_id, at_ms, retry, fence, state) {
        task_id -> Text,
        at_ms -> BigInt,
        retry -> Integer,
        fence -> BigInt,
        state -> Text,
        server -> Text,
        attempt -> Integer,
        found -> BigInt,
        error -> Nullable<Text>,
    }
}

diesel::table! {
    findings (task_id, address, port, protocol) {
        task_id -> Text,
        address -> Binary,
        port -> Integer,
        protocol -> SmallInt,
        at -> BigInt,
        reason -> Text,
        ttl -> SmallInt,
        server -> Text,
        attempt -> Integer,
        pass -> Integer,
    }
}

/// A row of `services`.
#[derive(
    Clone, Debug, PartialEq, Eq, Queryable, Selectable, QueryableByName, Insertable, AsChangeset,
)]
#[diesel(table_name = services, treat_none_as_default_value = false)]
pub(super) struct ServiceRow {
    #[diesel(sql_type = Binary)]
    pub address: Vec<u8>,
    #[diesel(sql_type = Integer)]
    pub port: i32,
    #[diesel(sql_type = SmallInt)]
    pub protocol: i16,
    #[diesel(sql_type = BigInt)]
    pub first_seen: i64,
    #[diesel(sql_type = BigInt)]
    pub last_seen: i64,
    #[diesel(sql_type = Text)]
    pub last_task: String,
    #[diesel(sql_type = Text)]
    pub reason: String,
    #[diesel(sql_type = SmallInt)]
    pub ttl: i16,
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = BigInt)]
    pub state_since: i64,
    #[diesel(sql_type = Integer)]
    pub misses: i32,
    #[diesel(sql_type = BigInt)]
    pub missed_since: i64,
}

/// A row of `changes` before it has an id.
#[derive(Clone, Debug, PartialEq, Eq, Insertable)]
#[diesel(table_name = changes, treat_none_as_default_value = false)]
pub(super) struct NewChangeRow {
    pub address: Vec<u8>,
    pub port: i32,
    pub protocol: i16,
    pub kind: String,
    pub at: i64,
    pub task_id: String,
}

/// A row of `changes`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = changes)]
pub(super) struct ChangeRow {
    pub id: i64,
    pub address: Vec<u8>,
    pub port: i32,
    pub protocol: i16,
    pub kind: String,
    pub at: i64,
    pub task_id: String,
}

/// A row of `findings`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = findings, treat_none_as_default_value = false)]
pub(super) struct FindingRow {
    pub task_id: String,
    pub address: Vec<u8>,
    pub port: i32,
    pub protocol: i16,
    pub at: i64,
    pub reason: String,
    pub ttl: i16,
    pub server: String,
    pub attempt: i32,
    pub pass: i32,
}

/// A row of `tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = tasks, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(super) struct TaskRow {
    pub task_id: String,
    pub job_id: Option<String>,
    pub ip_range: Option<String>,
    pub ports: Option<String>,
    pub band_width: Option<i64>,
    pub priority: Option<i16>,
    pub retries: Option<i32>,
    pub exclude: Option<String>,
    pub shard: Option<String>,
    pub seed: Option<i64>,
    pub topic_partition: Option<i32>,
    pub topic_offset: Option<i64>,
    pub retry: i32,
    pub state: String,
    pub server: Option<String>,
    pub attempt: i32,
    pub lost: i32,
    pub fence: i64,
    pub found: i64,
    pub found_by_pass: Option<String>,
    pub error: Option<String>,
    pub changed_ms: i64,
    pub begun_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    pub server_exclude: Option<String>,
    pub proof: Option<String>,
}

impl TaskRow {
    /// What decides which probes it sends; none if its record was not read.
    pub(super) fn parameters(&self) -> Option<ScanParameters> {
        Some(ScanParameters {
            ip_range: self.ip_range.clone()?,
            ports: self.ports.clone()?,
            exclude: self.exclude.clone(),
            server_exclude: self.server_exclude.clone(),
            seed: self.seed?,
        })
    }
}

/// A row of `task_events`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = task_events, treat_none_as_default_value = false)]
pub(super) struct TaskEventRow {
    pub task_id: String,
    pub at_ms: i64,
    pub retry: i32,
    pub fence: i64,
    pub state: String,
    pub server: String,
    pub attempt: i32,
    pub found: i64,
    pub error: Option<String>,
}

/// A row of `positions`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = positions, treat_none_as_default_value = false)]
pub(super) struct PositionRow {
    pub topic: String,
    pub topic_partition: i32,
    pub next_offset: i64,
    pub records: i64,
    pub lost: i64,
    pub gap_until: i64,
}

/// The columns of the primary key of `services`: address, port and protocol. Their order is that of the services.
pub(super) type ServiceColumns = (Vec<u8>, i32, i16);

/// The columns of a key.
pub(super) fn columns_of(key: &ServiceKey) -> ServiceColumns {
    (
        ordered_bytes(key.ip).to_vec(),
        i32::from(key.port),
        number_of(key.proto),
    )
}

/// IANA's protocol number.
pub(super) fn number_of(proto: Proto) -> i16 {
    match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
        Proto::Sctp => 132,
    }
}

/// The key in these columns. Errs if no version of this program wrote them.
pub(super) fn key_of(address: &[u8], port: i32, protocol: i16) -> Result<ServiceKey, StoreError> {
    let proto = [Proto::Tcp, Proto::Udp, Proto::Sctp]
        .into_iter()
        .find(|proto| number_of(*proto) == protocol);
    let bytes: Result<[u8; 16], _> = address.try_into();
    match (bytes, u16::try_from(port), proto) {
        (Ok(bytes), Ok(port), Some(proto)) => Ok(ServiceKey {
            ip: address_of(bytes),
            port,
            proto,
        }),
        _ => Err(StoreError::malformed(
            "a service",
            &format!(
                "address of {} bytes, port {port}, protocol {protocol}",
                address.len()
            ),
        )),
    }
}

impl From<&Service> for ServiceRow {
    fn from(service: &Service) -> ServiceRow {
        let (address, port, protocol) = columns_of(&service.key);
        ServiceRow {
            address,
            port,
            protocol,
            first_seen: signed(service.first_seen),
            last_seen: signed(service.last_seen),
            last_task: service.last_task.to_string(),
            reason: service.reason.to_string(),
            ttl: i16::from(service.ttl),
            state: service.state.as_str().to_owned(),
            state_since: signed(service.state_since),
            misses: i32::try_from(service.misses.count).unwrap_or(i32::MAX),
            missed_since: signed(service.misses.since),
        }
    }
}

impl TryFrom<ServiceRow> for Service {
    type Error = StoreError;

    fn try_from(row: ServiceRow) -> Result<Service, StoreError> {
        let state: ServiceState = parsed("services.state", &row.state)?;
        Ok(Service {
            key: key_of(&row.address, row.port, row.protocol)?,
            first_seen: unsigned(row.first_seen),
            last_seen: unsigned(row.last_seen),
            last_task: parsed("services.last_task", &row.last_task)?,
            reason: parsed("services.reason", &row.reason)?,
            ttl: u8::try_from(row.ttl).unwrap_or_default(),
            state,
            state_since: unsigned(row.state_since),
            misses: Misses {
                count: u32::try_from(row.misses).unwrap_or_default(),
                since: unsigned(row.missed_since),
            },
        })
    }
}

impl From<&Change> for NewChangeRow {
    fn from(change: &Change) -> NewChangeRow {
        let (address, port, protocol) = columns_of(&change.key);
        NewChangeRow {
            address,
            port,
            protocol,
            kind: change.kind.as_str().to_owned(),
            at: signed(change.at),
            task_id: change.task_id.to_string(),
        }
    }
}

impl TryFrom<ChangeRow> for Change {
    type Error = StoreError;

    fn try_from(row: ChangeRow) -> Result<Change, StoreError> {
        let kind: ChangeKind = parsed("changes.kind", &row.kind)?;
        Ok(Change {
            key: key_of(&row.address, row.port, row.protocol)?,
            kind,
            at: unsigned(row.at),
            task_id: parsed("changes.task_id", &row.task_id)?,
        })
    }
}

/// A number for a column. Times and counts of this program are far below the limit; one beyond it is stored as the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of a column; one below 0, which this program does not write, is 0.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// The value of a text column. Errs if this program did not write it.
pub(super) fn parsed<T: std::str::FromStr>(column: &str, text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::malformed(column, text))
}
