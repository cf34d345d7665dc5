//! The page of the servers.

use super::rows::{Download, downloads};
use crate::claim_table::HEARTBEAT_FRESH;
use crate::claim_table::{LiveServer, LiveTask};
use crate::model::text::one_line;
use crate::scanpush::serve::known_task::{TaskRow, shown_time};
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::serve::server_list::ServerQuery;
use crate::scanpush::tasks::short;
use askama::Template;

/// `/servers`
pub const ROUTES: &[Route] = &[Route::read("/servers", servers)];

#[derive(Template)]
#[template(path = "servers.html", config = "src/scanpush/serve/askama.toml")]
struct ServersPage {
    layout: Layout,
    servers: Vec<ServerWithTasks>,
    /// Whether Redis has been read.
    is_known: bool,
    exports: Vec<Download>,
}

/// A server with the tasks that it runs.
struct ServerWithTasks {
    server: ServerRow,
    running: Vec<TaskRow>,
}

/// A server as a row of a table.
#[derive(Debug)]
pub struct ServerRow {
    /// Its name.
    pub name: String,
    /// The address of the list of its tasks.
    pub tasks_href: String,
    /// Its version.
    pub version: String,
    /// Tasks that it holds.
    pub tasks: u64,
    /// Tasks that are sending.
    pub sending: u64,
    /// Tasks that may send at the same time.
    pub slots: u64,
    /// Percent of its slots, or of its rate if that is more, that are used.
    pub load: u64,
    /// Packets per second that its sending tasks may use.
    pub rate: String,
    /// The maximum of that.
    pub max_rate: String,
    /// How long ago it reported.
    pub seen: String,
    /// When it reported.
    pub seen_at: String,
    /// Its state in a word.
    pub state: &'static str,
    /// The style of that word.
    pub class: &'static str,
    /// Why it takes no tasks.
    pub idle: Option<String>,
    /// Whether it does not take any for now only because it has enough.
    pub is_busy: bool,
}

fn servers(context: &Context<'_>) -> Answer {
    let query = ServerQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    let snapshot = &query.snapshot;
    let running_on = |server: &LiveServer| {
        let is_on = |task: &&LiveTask| task.server.as_deref() == Some(server.server.as_str());
        let tasks = snapshot.running.iter().filter(is_on);
        tasks.map(TaskRow::from).collect()
    };
    let servers = snapshot.servers.iter().map(|server| ServerWithTasks {
        server: ServerRow::from(server),
        running: running_on(server),
    });
    Ok(page(&ServersPage {
        layout: Layout::new(context, "Servers", "/servers"),
        servers: servers.collect(),
        is_known: snapshot.at_ms.is_some(),
        exports: downloads(context.request),
    }))
}

impl From<&LiveServer> for ServerRow {
    fn from(server: &LiveServer) -> ServerRow {
        let is_late = server.age_ms > HEARTBEAT_FRESH.as_millis() as u64;
        let sending = server.slots.saturating_sub(server.free);
        let is_full_rate = server.rate_used >= server.max_rate;
        let (state, class) = match (is_late, &server.fault, server.free) {
            (true, _, _) => ("late", "failed"),
            (false, Some(_), _) => ("cannot scan", "failed"),
            (false, None, 0) => ("full", "running"),
            (false, None, _) if sending > 0 => ("working", "running"),
            (false, None, _) => ("ready", "completed"),
        };
        let idle = match (is_late, &server.fault) {
            (true, _) => Some(
                "it has not reported for a while: it has ended, or does not reach Redis".to_owned(),
            ),
            (false, Some(fault)) => Some(one_line(fault)),
            (false, None) if server.free == 0 => Some("all its slots are sending".to_owned()),
            (false, None) if is_full_rate => {
                Some("its tasks use all packets per second that it may send".to_owned())
            }
            (false, None) => None,
        };
        ServerRow {
            tasks_href: links::query("/tasks", [("server", server.server.as_str())]),
            name: one_line(&server.server),
            version: one_line(&server.version),
            tasks: server.held,
            sending,
            slots: server.slots,
            load: load_of(server, sending),
            rate: short(server.rate_used as f64),
            max_rate: short(server.max_rate as f64),
            seen: format!("{:.1} s ago", server.age_ms as f64 / 1000.0),
            seen_at: shown_time(Some(server.seen_ms)),
            state,
            class,
            idle,
            is_busy: !is_late && server.fault.is_none(),
        }
    }
}

/// Percent.
fn load_of(server: &LiveServer, sending: u64) -> u64 {
    let share = |part: u64, whole: u64| {
        let percent = part.saturating_mul(100).checked_div(whole);
        percent.unwrap_or(0).min(100)
    };
    share(sending, server.slots).max(share(server.rate_used, server.max_rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> LiveServer {
        LiveServer {
            server: "a".into(),
            slots: 4,
            free: 4,
            held: 0,
            rate_used: 0,
            max_rate: 1000,
            fault: None,
            version: "1".into(),
            seen_ms: 1,
            age_ms: 100,
        }
    }

    #[test]
    fn a_server_that_takes_nothing_has_a_reason() {
        for (server, state, reason) in [
            (server(), "ready", None),
            (
                LiveServer {
                    age_ms: 60_000,
                    ..server()
                },
                "late",
                Some("it has not reported"),
            ),
            (
                LiveServer {
                    fault: Some("no masscan".into()),
                    ..server()
                },
                "cannot scan",
                Some("no masscan"),
            ),
            (
                LiveServer {
                    free: 0,
                    ..server()
                },
                "full",
                Some("all its slots"),
            ),
            (
                LiveServer {
                    free: 3,
                    rate_used: 1000,
                    ..server()
                },
                "working",
                Some("its tasks use all"),
            ),
        ] {
            let row = ServerRow::from(&server);
            assert_eq!(row.state, state);
            assert_eq!(row.idle.is_some(), reason.is_some(), "{state}");
            assert!(
                row.idle
                    .unwrap_or_default()
                    .starts_with(reason.unwrap_or(""))
            );
        }
    }
}
