//! The plots of the counts that were made last.

use crate::scanpush::formats::time::date_form;
use crate::scanpush::serve::chart::{ChangesOfDay, Point, changes, curve};
use crate::scanpush::serve::links;
use crate::scanpush::serve::route::Context;
use crate::scanpush::tasks::{now_ms, span};
use crate::store::PortCount;

/// Ports in the list of the most frequent ones.
const PORTS_SHOWN: usize = 8;

/// The plots.
pub struct Plots {
    /// How old the counts are.
    pub age: String,
    /// Open services over time, as SVG.
    pub open: String,
    /// Changes of each day, as SVG.
    pub changes: String,
    /// Open services now.
    pub open_now: u64,
    /// The most frequent ports.
    pub ports: Vec<PortBar>,
}

/// A frequent port.
pub struct PortBar {
    /// `443`, or `U:53` as in the field.
    pub name: String,
    /// Its open services.
    pub href: String,
    /// Their number.
    pub open: u64,
    /// The number of the most frequent port.
    pub most: u64,
}

impl Plots {
    /// The plots; none if nothing was counted yet.
    pub fn latest(context: &Context<'_>) -> Option<Plots> {
        let counted = context.site.statistics.latest()?;
        let statistics = &counted.statistics;
        let name = |begin| date_form(begin)[..10].to_owned();
        let open: Vec<Point> = statistics
            .days
            .iter()
            .map(|day| Point {
                name: name(day.begin),
                value: day.open,
            })
            .collect();
        let days: Vec<ChangesOfDay> = statistics
            .days
            .iter()
            .map(|day| ChangesOfDay {
                name: name(day.begin),
                opened: day.opened,
                reopened: day.reopened,
                closed: day.closed,
            })
            .collect();
        let most = statistics.top_ports.first().map_or(1, |port| port.open);
        let ports = statistics.top_ports.iter().take(PORTS_SHOWN);
        Some(Plots {
            age: span(now_ms().saturating_sub(counted.at_ms) / 1000),
            open: curve("Open services", &open),
            changes: changes(&days),
            open_now: statistics.open,
            ports: ports.map(|port| PortBar::new(port, most)).collect(),
        })
    }
}

impl PortBar {
    fn new(port: &PortCount, most: u64) -> PortBar {
        let prefix = match port.proto {
            "udp" => "U:",
            "sctp" => "S:",
            _ => "",
        };
        let name = format!("{prefix}{}", port.port);
        PortBar {
            href: links::query("/services", [("port", name.as_str()), ("state", "open")]),
            name,
            open: port.open,
            most,
        }
    }
}
