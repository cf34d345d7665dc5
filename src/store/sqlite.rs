//! Statements on many rows for SQLite: one prepared statement, run for each row. A statement with many rows would have to be parsed each time, which
//! takes longer than running it.

use super::schema::{
    FindingRow, NewChangeRow, ServiceRow, changes, columns_of, findings, services,
};
use crate::model::service::ServiceKey;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Integer, SmallInt, Text};
use diesel::sqlite::Sqlite;

pub(super) fn services_of(
    connection: &mut SqliteConnection,
    keys: &[ServiceKey],
) -> QueryResult<Vec<ServiceRow>> {
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        // Without `first`: SQLite prepares a statement again each time a value for LIMIT is bound.
        let row: Option<ServiceRow> = services::table
            .find(columns_of(key))
            .select(ServiceRow::as_select())
            .get_result(connection)
            .optional()?;
        found.extend(row);
    }
    Ok(found)
}

/// Inserts services, or replaces those that exist.
pub(super) fn put_services(
    connection: &mut SqliteConnection,
    rows: &[ServiceRow],
) -> QueryResult<()> {
    for row in rows {
        PutService(row).execute(connection)?;
    }
    Ok(())
}

/// Inserts a service, or replaces it. Written out, because diesel does not keep its own upserts prepared.
struct PutService<'a>(&'a ServiceRow);

impl QueryId for PutService<'_> {
    type QueryId = PutService<'static>;
    /// The text below is always the same.
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for PutService<'_> {}

impl QueryFragment<Sqlite> for PutService<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let PutService(row) = self;
        out.push_sql(
            "INSERT INTO services (address, port, protocol, first_seen, last_seen, last_task, reason, ttl, state, state_since, misses, \
             missed_since) VALUES (",
        );
        out.push_bind_param::<Binary, _>(&row.address)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&row.port)?;
        out.push_sql(", ");
        out.push_bind_param::<SmallInt, _>(&row.protocol)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&row.first_seen)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&row.last_seen)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&row.last_task)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&row.reason)?;
        out.push_sql(", ");
        out.push_bind_param::<SmallInt, _>(&row.ttl)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&row.state)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&row.state_since)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&row.misses)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&row.missed_since)?;
        out.push_sql(
            ") ON CONFLICT (address, port, protocol) DO UPDATE SET first_seen = excluded.first_seen, last_seen = excluded.last_seen, \
             last_task = excluded.last_task, reason = excluded.reason, ttl = excluded.ttl, state = excluded.state, \
             state_since = excluded.state_since, misses = excluded.misses, missed_since = excluded.missed_since",
        );
        Ok(())
    }
}

pub(super) fn add_changes(
    connection: &mut SqliteConnection,
    rows: &[NewChangeRow],
) -> QueryResult<()> {
    for row in rows {
        diesel::insert_into(changes::table)
            .values(row)
            .execute(connection)?;
    }
    Ok(())
}

/// Inserts findings that their tasks have not found before.
pub(super) fn put_findings(
    connection: &mut SqliteConnection,
    rows: &[FindingRow],
) -> QueryResult<()> {
    for row in rows {
        diesel::insert_into(findings::table)
            .values(row)
            .on_conflict((
                findings::task_id,
                findings::address,
                findings::port,
                findings::protocol,
            ))
            .do_nothing()
            .execute(connection)?;
    }
    Ok(())
}
