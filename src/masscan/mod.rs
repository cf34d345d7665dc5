//! Driving masscan: its arguments, its output, its process.
//!
//! | file | what |
//! |---|---|
//! | `arguments.rs` | typed values → argument vector |
//! | `findings.rs` | a line of its standard output → a finding |
//! | `stderr.rs` | its standard error → progress and words |
//! | `lines.rs` | bytes → bounded lines |
//! | `program.rs` | finding the program, and its version |
//! | `folder.rs` | its working folder |
//! | `child.rs` | the process, its pseudo-terminal and the two readers |
//!
//! **Invariant:** no text of a task reaches masscan, and nothing here goes through a shell. What masscan prints is untrusted:
//! typed, bounded, validated.

mod arguments;
mod child;
mod findings;
mod folder;
mod lines;
mod program;
mod stderr;

pub use arguments::ScanArguments;
pub use child::{Child, Event, Exit, spawn};
pub use folder::sweep;
pub use program::{ProgramError, version};
pub use stderr::{announced, cause, is_interrupt};
