//! The map of an IPv4 network: how many open services each part has.

use super::kept::or_last;
use crate::flags::Flag;
use crate::http_server::Response;
use crate::model::Targets;
use crate::scanpush::serve::chart::{Cell, map};
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links::{self, Values};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::store::map_network;
use askama::Template;
use std::collections::HashMap;

/// `/network`
pub const ROUTES: &[Route] = &[Route::read("/network", |context| or_last(context, network))];

const NET: Flag = Flag::optional("--net", "NETWORK", "an IPv4 network like 10.1.0.0/16");

/// Parts that the list below the map names.
const PARTS_SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "network.html", config = "src/scanpush/serve/askama.toml")]
struct NetworkPage {
    layout: Layout,
    values: Values,
    error: Option<String>,
    /// What is asked for.
    map: Option<Mapped>,
    /// The parts with the most open services.
    most: Vec<Cell>,
    /// All open services.
    open: u64,
}

/// A network and its map.
struct Mapped {
    name: String,
    svg: String,
    /// How long ago it was counted, if not just now.
    age: Option<String>,
    completeness: Completeness,
}

fn network(context: &Context<'_>) -> Answer {
    let read = || {
        let mut reader = context.query(&[NET])?;
        Ok::<_, Problem>(reader.optional(&NET, map_network)?)
    };
    let network = match read() {
        Ok(Some(network)) => network,
        Ok(None) => return Ok(show(context, None, Vec::new(), None)),
        Err(problem) => return Ok(show(context, None, Vec::new(), Some(problem))),
    };
    let site = context.site;
    let counted = site.answers.maps.get(network, || {
        site.readers.ask_long(|store| store.open_by_cell(network))
    })?;
    let counts = &counted.value;
    // The parts have one size. Without open services none are drawn.
    let prefix = counts.first().map(|(cell, _)| cell.prefix_len());
    let counts: HashMap<_, _> = counts.iter().copied().collect();
    let parts = prefix.map(|prefix| network.subnets(prefix));
    let cells: Vec<Cell> = parts
        .into_iter()
        .flatten()
        .flatten()
        .map(|part| {
            let name = match part.prefix_len() {
                32 => part.network().to_string(),
                _ => part.to_string(),
            };
            Cell {
                href: match part.prefix_len() {
                    24.. => links::query("/services", [("net", name.as_str()), ("state", "open")]),
                    _ => links::query("/network", [("net", name.as_str())]),
                },
                name,
                value: counts.get(&part).copied().unwrap_or(0),
            }
        })
        .collect();
    let name = network.to_string();
    let svg = map(&name, &cells);
    let targets: Targets = name.parse()?;
    let completeness = Completeness::read(context, (Some(&targets), None))?;
    let mapped = Mapped {
        name,
        svg,
        age: counted.age(),
        completeness,
    };
    Ok(show(context, Some(mapped), cells, None))
}

fn show(
    context: &Context<'_>,
    map: Option<Mapped>,
    mut cells: Vec<Cell>,
    problem: Option<Problem>,
) -> Response {
    let status = problem.as_ref().map(|problem| problem.status);
    let open = cells.iter().map(|cell| cell.value).sum();
    cells.retain(|cell| cell.value > 0);
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.value));
    cells.truncate(PARTS_SHOWN);
    let mut response = page(&NetworkPage {
        layout: Layout::new(context, "Network", "/services"),
        values: Values::of(context.request),
        error: problem.map(|problem| problem.detail),
        map,
        most: cells,
        open,
    });
    response.status = status.unwrap_or(response.status);
    response
}
