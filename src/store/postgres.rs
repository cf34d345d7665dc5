//! Statements on many rows for Postgres: each column is one array. A statement with a parameter for each value would have to be parsed each time,
//! which takes several times as long.

use super::schema::{FindingRow, NewChangeRow, ServiceRow, columns_of};
use crate::model::service::ServiceKey;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Integer, SmallInt, Text};

/// One column of many rows.
fn column<'a, R, T>(rows: &'a [R], value: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

pub(super) fn services_of(
    connection: &mut PgConnection,
    keys: &[ServiceKey],
) -> QueryResult<Vec<ServiceRow>> {
    let (mut addresses, mut ports, mut protocols) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        let (address, port, protocol) = columns_of(key);
        addresses.push(address);
        ports.push(port);
        protocols.push(protocol);
    }
    // LIMIT: each key is one search in the index. Postgres would otherwise read the whole table for many keys.
    diesel::sql_query(
        "SELECT known.* FROM unnest($1, $2, $3) AS keys (address, port, protocol) CROSS JOIN LATERAL (SELECT * FROM services \
         WHERE address = keys.address AND port = keys.port AND protocol = keys.protocol LIMIT 1) AS known",
    )
    .bind::<Array<Binary>, _>(addresses)
    .bind::<Array<Integer>, _>(ports)
    .bind::<Array<SmallInt>, _>(protocols)
    .load(connection)
}

/// Inserts services, or replaces those that exist.
pub(super) fn put_services(connection: &mut PgConnection, rows: &[ServiceRow]) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO services (address, port, protocol, first_seen, last_seen, last_task, reason, ttl, state, state_since, misses, missed_since) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (address, port, protocol) DO UPDATE SET \
         first_seen = excluded.first_seen, last_seen = excluded.last_seen, last_task = excluded.last_task, reason = excluded.reason, \
         ttl = excluded.ttl, state = excluded.state, state_since = excluded.state_since, misses = excluded.misses, \
         missed_since = excluded.missed_since",
    )
    .bind::<Array<Binary>, _>(column(rows, |row| row.address.as_slice()))
    .bind::<Array<Integer>, _>(column(rows, |row| row.port))
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.protocol))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.first_seen))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.last_seen))
    .bind::<Array<Text>, _>(column(rows, |row| row.last_task.as_str()))
    .bind::<Array<Text>, _>(column(rows, |row| row.reason.as_str()))
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.ttl))
    .bind::<Array<Text>, _>(column(rows, |row| row.state.as_str()))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.state_since))
    .bind::<Array<Integer>, _>(column(rows, |row| row.misses))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.missed_since))
    .execute(connection)?;
    Ok(())
}

pub(super) fn add_changes(connection: &mut PgConnection, rows: &[NewChangeRow]) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO changes (address, port, protocol, kind, at, task_id) SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
    )
    .bind::<Array<Binary>, _>(column(rows, |row| row.address.as_slice()))
    .bind::<Array<Integer>, _>(column(rows, |row| row.port))
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.protocol))
    .bind::<Array<Text>, _>(column(rows, |row| row.kind.as_str()))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.at))
    .bind::<Array<Text>, _>(column(rows, |row| row.task_id.as_str()))
    .execute(connection)?;
    Ok(())
}

/// Inserts findings that their tasks have not found before.
pub(super) fn put_findings(connection: &mut PgConnection, rows: &[FindingRow]) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO findings (task_id, address, port, protocol, at, reason, ttl, server, attempt, pass) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (task_id, address, port, protocol) DO NOTHING",
    )
    .bind::<Array<Text>, _>(column(rows, |row| row.task_id.as_str()))
    .bind::<Array<Binary>, _>(column(rows, |row| row.address.as_slice()))
    .bind::<Array<Integer>, _>(column(rows, |row| row.port))
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.protocol))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.at))
    .bind::<Array<Text>, _>(column(rows, |row| row.reason.as_str()))
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.ttl))
    .bind::<Array<Text>, _>(column(rows, |row| row.server.as_str()))
    .bind::<Array<Integer>, _>(column(rows, |row| row.attempt))
    .bind::<Array<Integer>, _>(column(rows, |row| row.pass))
    .execute(connection)?;
    Ok(())
}
