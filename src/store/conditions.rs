//! Conditions on services that queries and the ends of tasks have in common.

use super::connection::AnyConnection;
use super::schema::{ServiceColumns, number_of, services};
use crate::model::Ports;
use crate::model::ports::PortRange;
use diesel::prelude::*;
use diesel::sql_types::Bool;

/// A filter with more port ranges than this is applied to the rows instead of by the database, which bounds the size of an expression.
const PORT_RANGES_IN_SQL_MAX: usize = 64;

/// The port ranges that the database filters by.
pub(super) fn ports_in_sql(ports: Option<&Ports>) -> &[PortRange] {
    ports
        .map(Ports::ranges)
        .filter(|ranges| ranges.len() <= PORT_RANGES_IN_SQL_MAX)
        .unwrap_or_default()
}

/// A condition on services for either database.
pub(super) type ServiceCondition = Box<
    dyn BoxableExpression<
            services::table,
            <AnyConnection as diesel::Connection>::Backend,
            SqlType = Bool,
        >,
>;

/// Whether a service has one of these ports.
pub(super) fn has_port(ranges: &[PortRange]) -> ServiceCondition {
    let condition = |range: &PortRange| -> ServiceCondition {
        Box::new(
            services::protocol
                .eq(number_of(range.proto))
                .and(services::port.between(i32::from(range.first), i32::from(range.last))),
        )
    };
    let mut conditions = ranges.iter().map(condition);
    let first = conditions
        .next()
        .unwrap_or_else(|| Box::new(services::port.ge(0)));
    conditions.fold(first, |all, one| Box::new(all.or(one)))
}

/// Whether a service comes after this one in the order of the primary key. The first condition is the one that an index can seek to.
pub(super) fn is_after((address, port, protocol): ServiceColumns) -> ServiceCondition {
    Box::new(
        services::address.ge(address.clone()).and(
            services::address.gt(address).or(services::port
                .gt(port)
                .or(services::port.eq(port).and(services::protocol.gt(protocol)))),
        ),
    )
}
