//! Driving masscan: its arguments, its output, its process.
//!
//! | file | what |
//! |---|---|
//! | `arguments.rs` | typed values → argument vector |
//! | `findings.rs` | a line of its standard output → a finding |
//! | `stderr.rs` | a line of its standard error → progress or a message |
//! | `lines.rs` | bytes → bounded lines |
//! | `program.rs` | finding the program, and its version |
//! | `installed.rs` | the one that a server runs: what it is now, and whether it may send shards |
//! | `network.rs`, `netlink.rs` | its interface, route and offloads |
//! | `rights.rs` | whether it may open raw sockets |
//! | `folder.rs` | its working folder |
//! | `output.rs` | its standard output: line by line, with room for many findings |
//! | `reader.rs` | the thread that reads its output |
//! | `overrun.rs` | whether its output was read too late |
//! | `child.rs` | the process: started, ended |
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
mod overrun;
mod program;
mod reader;
mod rights;
mod stderr;

pub use arguments::ScanArguments;
pub use child::{Child, Exit, spawn};
pub use folder::sweep;
pub use installed::{About, MasscanBinary, SHARD_IN_ORDER, unfit_for_shards};
pub use network::{Network, Unseen, Whose, is_script, look, look_through};
pub use output::StdoutMode;
pub use program::{ProgramError, find, has_libpcap, has_setsid};
pub use reader::{FINDINGS_BATCH_MAX, Output};
pub use rights::{Rights, rights};
pub use stderr::{announced_size, announced_version, cause, is_interrupt};
