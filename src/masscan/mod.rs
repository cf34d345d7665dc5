//! Runs masscan: its arguments, its output, its process.
//!
//! | file | what |
//! |---|---|
//! | `arguments.rs` | typed values → argument vector |
//! | `findings.rs` | a line of its standard output → a finding |
//! | `stderr.rs` | a line of its standard error → progress or a message |
//! | `lines.rs` | bytes → bounded lines |
//! | `program.rs` | finding the program, and its version |
//! | `binary.rs` | the masscan of this server: version, shards, line buffering |
//! | `network.rs`, `netlink.rs` | its interface, route, MTU and offloads |
//! | `drops.rs` | packets that the kernel drops |
//! | `routes.rs` | which interface masscan takes, and what it cannot reach |
//! | `capabilities.rs` | capabilities of Linux |
//! | `raw_sockets.rs` | whether it may open raw sockets |
//! | `user.rs` | as whom it runs if scand is root |
//! | `folder.rs` | its working folder |
//! | `output.rs` | opens its standard output: line by line, with a large buffer |
//! | `reader.rs` | the thread that reads its output |
//! | `overrun.rs` | detects that its output was read too late |
//! | `child.rs` | starts and ends the process |
//!
//! **Invariant:** no text of a task reaches masscan, and nothing here uses a shell. masscan's output is untrusted: typed, bounded, validated.

mod arguments;
mod binary;
mod capabilities;
mod child;
mod drops;
mod findings;
mod folder;
mod lines;
mod netlink;
mod network;
mod output;
mod overrun;
mod program;
mod raw_sockets;
mod reader;
mod routes;
#[cfg(test)]
pub(crate) mod script;
mod stderr;
mod user;

#[cfg(test)]
mod fuzzed;

pub use arguments::ScanArguments;
pub use binary::{MasscanBinary, MasscanInfo, SHARD_IN_ORDER, unfit_for_shards};
pub use child::{Child, Exit, spawn, try_resources};
pub use drops::{Drops, drops};
pub use folder::sweep;
pub use network::{Network, NetworkError, NetworkOf, inspect, inspect_for, is_script};
pub use output::StdoutMode;
pub use program::{ProgramError, find, has_libpcap, has_setsid};
pub use raw_sockets::{Rights, rights};
pub use reader::Output;
pub use stderr::{announced_size, announced_version, cause, is_fault_of_network, is_interrupt};
pub use user::{RunAs, UserName};
