//! Driving masscan: its arguments, its output, its process.
//!
//! | file | what |
//! |---|---|
//! | `arguments.rs` | typed values → argument vector |
//! | `findings.rs` | a line of its standard output → a finding |
//! | `stderr.rs` | its standard error → progress and words |
//! | `lines.rs` | bytes → bounded lines |
//! | `program.rs` | finding the program, and its version |
//! | `installed.rs` | the one that a server runs: what it is now, and whether it may send shards |
//! | `network.rs`, `netlink.rs` | its interface, route and offloads |
//! | `rights.rs` | whether it may open raw sockets |
//! | `folder.rs` | its working folder |
//! | `output.rs` | the way of its standard output: line by line, with room |
//! | `child.rs` | the process: started, heard, ended |
//! | `pace.rs` | how long its output may be left alone |
//!
//! **Invariant:** no text of a task reaches masscan, and nothing here goes through a shell. What masscan prints is untrusted:
//! typed, bounded, validated.

mod arguments;
mod child;
mod findings;
mod folder;
mod installed;
mod lines;
mod netlink;
mod network;
mod output;
mod pace;
mod program;
mod rights;
mod stderr;

pub use arguments::ScanArguments;
pub use child::{Child, Drained, Event, Exit, spawn};
pub use folder::sweep;
pub use installed::{About, MasscanBinary, SHARD_IN_ORDER, unfit_for_shards};
pub use network::{Network, Unseen, Whose, is_script, look, look_through};
pub use output::StdoutMode;
pub use pace::{LOOK_EVERY_MAX, LOOK_SOON};
pub use program::{ProgramError, find, has_libpcap, has_setsid};
pub use rights::{Rights, rights};
pub use stderr::{announced, cause, greeting, is_interrupt};
