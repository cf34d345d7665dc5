//! `scanpush serve`: `scanpush store` with a web page and a JSON API over the database and the claim table. Runs until SIGTERM or Ctrl-C.
//!
//! **Invariants:** a page works without JavaScript, and says what on it is old. A field of a query or form is the flag of the same name of the
//! corresponding command, read by the same code.
//!
//! | file | what |
//! |---|---|
//! | `options.rs` | the command line |
//! | `run.rs` | starts and stops the threads |
//! | `site.rs` | what all requests share |
//! | `live.rs` | the thread that reads the claim table, and what it saw last |
//! | `found_rate.rs` | findings per minute |
//! | `events.rs` | tells open pages that something has changed |
//! | `tables.rs` | connections to Redis for requests |
//! | `known_task.rs` | a task as Redis or the database knows it |
//! | `known_job.rs` | a job, the same |
//! | `task_list.rs` | lists of tasks and jobs: filter, a page at a time |
//! | `orders.rs` | cancel, pause, resume, retry, priority |
//! | `new_scan.rs` | pushes tasks |
//! | `findings_export.rs` | findings of tasks in the formats of `scanpush results` |
//! | `store_thread.rs` | the thread that fills the database, and how it is doing |
//! | `metrics.rs` | metrics and health |
//! | `readers.rs` | connections to the database for requests |
//! | `route.rs`, `router.rs` | an address with its handler; finds the handler of a request |
//! | `access/` | who may do what |
//! | `redirect.rs` | sends a browser to another page |
//! | `fields.rs` | the fields of queries and forms |
//! | `lists.rs` | services and changes, a page at a time |
//! | `comparison.rs` | the differences of two tasks or jobs |
//! | `completeness.rs` | the scans that prove nothing about a result |
//! | `statistics.rs`, `chart.rs` | the thread that counts, and plots as SVG |
//! | `server_list.rs` | the list of servers |
//! | `network_map.rs` | the open services of the parts of a network |
//! | `list_export.rs`, `list_records.rs` | documents that are streamed; tasks, jobs, servers and parts of a network in them |
//! | `change_watch.rs` | the thread that asks for the newest changes |
//! | `memo.rs`, `answers.rs` | keeps answers for a short time; those that requests share |
//! | `kept_pages.rs` | pages as they were last, for when the database is away |
//! | `html.rs` | escapes text |
//! | `links.rs` | addresses of pages |
//! | `problem.rs` | errors, as RFC 9457 problems |
//! | `layout.rs`, `templates/`, `assets/` | what all pages have in common; their HTML; style sheet and script |
//! | `pages/` | the pages |
//! | `api/` | the API |

mod access;
mod answers;
mod api;
mod assets;
mod change_watch;
mod chart;
mod comparison;
mod completeness;
mod events;
mod fields;
mod findings_export;
#[cfg(test)]
mod for_tests;
mod found_rate;
mod html;
mod kept_pages;
mod known_job;
mod known_task;
mod layout;
mod links;
mod list_export;
mod list_records;
mod lists;
mod live;
mod memo;
mod metrics;
mod network_map;
mod new_scan;
mod options;
mod orders;
mod pages;
mod problem;
mod readers;
mod redirect;
mod route;
mod router;
mod run;
mod server_list;
mod site;
mod statistics;
mod store_thread;
mod tables;
mod task_list;
#[cfg(test)]
mod tests;

pub(super) use access::permission_warnings;

use super::Command;

pub(super) const COMMAND: Command = Command {
    name: "serve",
    about: "shows everything on a web page, with an API; does the work of store too",
    usage: "serve [-db URL] [-http ADDRESS] [flags]",
    flags: options::FLAGS,
    more: "\
Fills the database as `scanpush store` does, and serves a web page and a JSON
API: changes, services, hosts, tasks, jobs and servers; tasks can be pushed,
cancelled, paused, resumed and retried there. What is in the database can be
read while Kafka or Redis is away. Several can run with one database: one fills
it, all serve the page. docs/web.md has more. Runs until SIGTERM or Ctrl-C.
Exit code 0: ended by a signal; 1: the address or the database cannot be used;
2: invalid flags.

Without -auth-file and -trust-header only this machine can reach the page, and
everybody there can use it.

examples:
  scanpush serve
  scanpush serve -db sqlite:/var/lib/scan/findings.db -http 127.0.0.1:8080
  scanpush serve -read-only -tags sites.txt
  scanpush serve -http 0.0.0.0:8080 -auth-file scanpush.auth
",
    run: run::run,
};
