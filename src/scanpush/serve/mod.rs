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
//! | `store_thread.rs` | the thread that fills the database, and how it is doing |
//! | `readers.rs` | connections to the database for requests |
//! | `route.rs`, `router.rs` | an address with its handler; finds the handler of a request |
//! | `access/` | who may do what |
//! | `redirect.rs` | sends a browser to another page |
//! | `fields.rs` | the fields of queries and forms |
//! | `problem.rs` | errors, as RFC 9457 problems |
//! | `layout.rs`, `templates/`, `assets/` | what all pages have in common; their HTML; style sheet and script |
//! | `pages/` | the pages |
//! | `api/` | the API |

mod access;
mod api;
mod assets;
mod fields;
mod layout;
mod live;
mod options;
mod pages;
mod problem;
mod readers;
mod redirect;
mod route;
mod router;
mod run;
mod site;
mod store_thread;

pub(super) use access::permission_warning;

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
