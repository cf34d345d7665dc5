//! Statements on many rows for Postgres.

use super::schema::{
    FindingRow, NewChangeRow, ServiceRow, changes, columns_of, findings, services,
};
use crate::model::service::ServiceKey;
use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Integer, SmallInt};
use diesel::upsert::excluded;

/// Rows in one statement. A service has 12 columns, and Postgres takes 65 535 values.
const ROWS_MAX: usize = 4_000;

pub(super) fn services_of(
    connection: &mut PgConnection,
    keys: &[ServiceKey],
) -> QueryResult<Vec<ServiceRow>> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(ROWS_MAX) {
        let (mut addresses, mut ports, mut protocols) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            let (address, port, protocol) = columns_of(key);
            addresses.push(address);
            ports.push(port);
            protocols.push(protocol);
        }
        let rows: Vec<ServiceRow> = diesel::sql_query(
            "SELECT services.* FROM unnest($1, $2, $3) AS keys (address, port, protocol) JOIN services USING (address, port, protocol)",
        )
        .bind::<Array<Binary>, _>(addresses)
        .bind::<Array<Integer>, _>(ports)
        .bind::<Array<SmallInt>, _>(protocols)
        .load(connection)?;
        found.extend(rows);
    }
    Ok(found)
}

pub(super) fn put_services(connection: &mut PgConnection, rows: &[ServiceRow]) -> QueryResult<()> {
    for rows in rows.chunks(ROWS_MAX) {
        super::upsert_services!(rows).execute(connection)?;
    }
    Ok(())
}

pub(super) fn add_changes(connection: &mut PgConnection, rows: &[NewChangeRow]) -> QueryResult<()> {
    for rows in rows.chunks(ROWS_MAX) {
        diesel::insert_into(changes::table)
            .values(rows)
            .execute(connection)?;
    }
    Ok(())
}

pub(super) fn put_findings(connection: &mut PgConnection, rows: &[FindingRow]) -> QueryResult<()> {
    for rows in rows.chunks(ROWS_MAX) {
        super::insert_findings!(rows).execute(connection)?;
    }
    Ok(())
}
