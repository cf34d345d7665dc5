//! The page of the servers.

use crate::claim_table::HEARTBEAT_FRESH;
use crate::claim_table::LiveServer;
use crate::model::text::one_line;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::tasks::short;
use askama::Template;

/// `/servers`
pub const ROUTES: &[Route] = &[Route::read("/servers", servers)];

#[derive(Template)]
#[template(path = "servers.html", config = "src/scanpush/serve/askama.toml")]
struct ServersPage {
    layout: Layout,
    servers: Vec<Server>,
}

/// A row of the table.
struct Server {
    name: String,
    version: String,
    tasks: u64,
    sending: u64,
    slots: u64,
    rate: String,
    max_rate: Option<String>,
    seen: String,
    is_late: bool,
    fault: Option<String>,
}

fn servers(context: &Context<'_>) -> Answer {
    let (snapshot, _) = context.site.live.latest();
    Ok(page(&ServersPage {
        layout: Layout::new(context, "Servers", "/servers"),
        servers: snapshot.servers.iter().map(row).collect(),
    }))
}

fn row(server: &LiveServer) -> Server {
    Server {
        name: one_line(&server.server),
        version: one_line(&server.version),
        tasks: server.held,
        sending: server.slots.saturating_sub(server.free),
        slots: server.slots,
        rate: short(server.rate_used as f64),
        max_rate: server.max_rate.map(|rate| short(rate as f64)),
        seen: format!("{:.1} s", server.age_ms as f64 / 1000.0),
        is_late: server.age_ms > HEARTBEAT_FRESH.as_millis() as u64,
        fault: server.fault.as_deref().map(one_line),
    }
}
