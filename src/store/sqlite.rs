//! Statements on many rows for SQLite.

use super::schema::{
    FindingRow, NewChangeRow, ServiceRow, changes, columns_of, findings, services,
};
use crate::model::service::ServiceKey;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Integer, SmallInt};
use diesel::upsert::excluded;

/// Rows in one statement. A service has 12 columns, and SQLite takes 32 766 values.
const ROWS_MAX: usize = 1_000;

pub(super) fn services_of(
    connection: &mut SqliteConnection,
    keys: &[ServiceKey],
) -> QueryResult<Vec<ServiceRow>> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(ROWS_MAX) {
        let values = vec!["(?, ?, ?)"; keys.len()].join(", ");
        // CROSS JOIN: SQLite does not change the order of the two, so that each key is one search.
        let mut query = diesel::sql_query(format!(
            "WITH keys (address, port, protocol) AS (VALUES {values}) SELECT services.* FROM keys CROSS JOIN services USING (address, port, protocol)"
        ))
        .into_boxed();
        for key in keys {
            let (address, port, protocol) = columns_of(key);
            query = query
                .bind::<Binary, _>(address)
                .bind::<Integer, _>(port)
                .bind::<SmallInt, _>(protocol);
        }
        found.extend(query.load::<ServiceRow>(connection)?);
    }
    Ok(found)
}

pub(super) fn put_services(
    connection: &mut SqliteConnection,
    rows: &[ServiceRow],
) -> QueryResult<()> {
    for rows in rows.chunks(ROWS_MAX) {
        super::upsert_services!(rows).execute(connection)?;
    }
    Ok(())
}

pub(super) fn add_changes(
    connection: &mut SqliteConnection,
    rows: &[NewChangeRow],
) -> QueryResult<()> {
    for rows in rows.chunks(ROWS_MAX) {
        diesel::insert_into(changes::table)
            .values(rows)
            .execute(connection)?;
    }
    Ok(())
}

pub(super) fn put_findings(
    connection: &mut SqliteConnection,
    rows: &[FindingRow],
) -> QueryResult<()> {
    for rows in rows.chunks(ROWS_MAX) {
        super::insert_findings!(rows).execute(connection)?;
    }
    Ok(())
}
