//! The map of an IPv4 network: how many open services each part has.

use super::kept::or_last;
use super::rows::{Download, downloads};
use crate::http_server::Response;
use crate::scanpush::serve::chart::{self, Cell};
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links::{self, Values};
use crate::scanpush::serve::network_map::{MapQuery, NetworkMap};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use askama::Template;
use ipnet::Ipv4Net;
use std::collections::HashMap;

/// `/network`
pub const ROUTES: &[Route] = &[Route::read("/network", |context| or_last(context, network))];

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
}

/// A network and its map.
struct Mapped {
    name: String,
    svg: String,
    /// All open services.
    open: u64,
    /// How long ago it was counted, if not just now.
    age: Option<String>,
    completeness: Completeness,
    exports: Vec<Download>,
}

fn network(context: &Context<'_>) -> Answer {
    let query = match MapQuery::read(context) {
        Ok(query) => query,
        Err(problem) => return Ok(show(context, None, Vec::new(), Some(problem))),
    };
    let Some(map) = query.map(context)? else {
        return Ok(show(context, None, Vec::new(), None));
    };
    if let Some(answer) = query.export(context, &map) {
        return answer;
    }
    let cells = cells(&map);
    let name = map.network.to_string();
    let mapped = Mapped {
        svg: chart::map(&name, &cells),
        name,
        open: map.open(),
        age: map.counts.age(),
        completeness: Completeness::read(context, (Some(&map.targets()), None))?,
        exports: downloads(context.request),
    };
    Ok(show(context, Some(mapped), cells, None))
}

/// All parts of the network. They have one size; if no service is open, there are none.
fn cells(map: &NetworkMap) -> Vec<Cell> {
    let counts = &map.counts.value;
    let prefix = counts.first().map(|(part, _)| part.prefix_len());
    let counts: HashMap<_, _> = counts.iter().copied().collect();
    let parts = prefix.map(|prefix| map.network.subnets(prefix));
    let cell = |part: Ipv4Net| {
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
    };
    parts.into_iter().flatten().flatten().map(cell).collect()
}

fn show(
    context: &Context<'_>,
    map: Option<Mapped>,
    mut cells: Vec<Cell>,
    problem: Option<Problem>,
) -> Response {
    let status = problem.as_ref().map(|problem| problem.status);
    cells.retain(|cell| cell.value > 0);
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.value));
    cells.truncate(PARTS_SHOWN);
    let mut response = page(&NetworkPage {
        layout: Layout::new(context, "Network", "/services"),
        values: Values::of(context.request),
        error: problem.map(|problem| problem.detail),
        map,
        most: cells,
    });
    response.status = status.unwrap_or(response.status);
    response
}
