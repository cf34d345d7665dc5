//! `/api/v1/hosts/{ip}`: the services of an address and all their changes, oldest first.

use super::json;
use crate::model::Targets;
use crate::scanpush::queries::host::{Host, parse_address};
use crate::scanpush::queries::rows::{ChangeLine, ServiceLine};
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::list_export::look;
use crate::scanpush::serve::route::{Answer, Context, Route};
use serde::Serialize;
use std::net::IpAddr;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/hosts/{ip}", host)];

#[derive(Serialize)]
struct Document<'a> {
    ip: IpAddr,
    services: Vec<ServiceLine<'a>>,
    changes: Vec<ChangeLine<'a>>,
    completeness: Completeness,
}

fn host(context: &Context<'_>) -> Answer {
    let word = context.parameters.first().map_or("", String::as_str);
    let address = parse_address(word)?;
    context.query(&[])?;
    let host = context
        .site
        .readers
        .ask(|store| Host::read(store, address))?;
    let look = look(context.site);
    let targets = Targets::from_ranges(vec![address]);
    Ok(json(&Document {
        completeness: Completeness::read(context, (Some(&targets), None))?,
        ip: address.first(),
        services: host
            .services
            .iter()
            .map(|service| ServiceLine::new(service, &look))
            .collect(),
        changes: host
            .changes
            .iter()
            .map(|found| ChangeLine::new(&found.change, &look))
            .collect(),
    }))
}
