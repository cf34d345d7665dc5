//! The page of an address: its services and what became of them.

use super::kept::or_last;
use super::rows::{Day, ServiceRow, Time, by_day};
use crate::model::Targets;
use crate::model::service::{Service, ServiceState};
use crate::scanpush::queries::host::{self, Host, parse_address};
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links;
use crate::scanpush::serve::list_export;
use crate::scanpush::serve::lists::ADDRESS_FORMAT;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::tasks::now_ms;
use askama::Template;
use std::net::IpAddr;

/// `/hosts/{ip}`
pub const ROUTES: &[Route] = &[Route::read("/hosts/{ip}", |context| or_last(context, host))];

/// Services, and changes, that a page shows; its downloads have all.
const HOST_ROWS_MAX: usize = 1_000;

#[derive(Template)]
#[template(path = "host.html", config = "src/scanpush/serve/askama.toml")]
struct HostPage<'a> {
    layout: Layout,
    /// The tags of the address, and the services with each.
    tags: Vec<(&'a str, String)>,
    /// The network around it, and its services.
    network: (String, String),
    open: usize,
    closed: usize,
    first_seen: Option<Time>,
    last_seen: Option<Time>,
    completeness: Completeness,
    services: Vec<ServiceRow<'a>>,
    days: Vec<Day<'a>>,
    /// Services that are left out.
    more_services: usize,
    /// Changes that are left out.
    more_changes: usize,
    exports: [(&'static str, String); 2],
}

fn host(context: &Context<'_>) -> Answer {
    let word = context.parameters.first().map_or("", String::as_str);
    let address = parse_address(word)?;
    let mut reader = context.query(&[ADDRESS_FORMAT])?;
    let format = reader.optional(&ADDRESS_FORMAT, list_export::parse_format)?;
    let ip = address.first();
    let host = context
        .site
        .readers
        .ask(|store| Host::read(store, address))?;
    if let Some(format) = format {
        let name = format!("host-{}", ip.to_string().replace(':', "_"));
        return list_export::stream(context, &name, format, move |look, output| {
            host::write(&host, format, look, output).map(|_| ())
        });
    }
    let targets = Targets::from_ranges(vec![address]);
    let (tags, now_s) = (context.site.options.tags.as_ref(), now_ms() / 1000);
    let times = |pick: fn(u64, u64) -> u64, of: fn(&Service) -> u64| {
        let all = host.services.iter().map(of).reduce(pick);
        all.map(|at_s| Time::new(at_s, now_s))
    };
    let is_open = |service: &&Service| service.state == ServiceState::Open;
    let open = host.services.iter().filter(is_open).count();
    let path = &context.request.path;
    let newest = host.changes.iter().rev().take(HOST_ROWS_MAX);
    Ok(page(&HostPage {
        layout: Layout::new(context, ip.to_string(), "/services"),
        tags: tags
            .map(|tags| tags.tags_of(ip))
            .unwrap_or_default()
            .into_iter()
            .map(|tag| (tag, links::query("/services", [("tag", tag)])))
            .collect(),
        network: network_of(ip),
        open,
        closed: host.services.len() - open,
        first_seen: times(u64::min, |service| service.first_seen),
        last_seen: times(u64::max, |service| service.last_seen),
        completeness: Completeness::read(context, (Some(&targets), None))?,
        services: host
            .services
            .iter()
            .take(HOST_ROWS_MAX)
            .map(|service| ServiceRow::new(service, tags, now_s))
            .collect(),
        days: by_day(newest, tags, now_s),
        more_services: host.services.len().saturating_sub(HOST_ROWS_MAX),
        more_changes: host.changes.len().saturating_sub(HOST_ROWS_MAX),
        exports: [
            ("CSV", links::query(path, [("format", "csv")])),
            ("NDJSON", links::query(path, [("format", "ndjson")])),
        ],
    }))
}

/// The network that people think of: a /24 or a /64.
fn network_of(ip: IpAddr) -> (String, String) {
    let network = match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            let network = std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
            format!("{network}/64")
        }
    };
    let href = links::query("/services", [("net", network.as_str())]);
    (network, href)
}
