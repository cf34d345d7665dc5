//! Flags in Go's style for all programs and commands: `-name value`, `-name=value` and `--name` are equivalent.
//!
//! A command declares its flags in a table of [`Flag`]s. [`read`] checks a command line against it and returns a [`Reader`], which hands out typed
//! values. The help text is made from the same table, so that a flag, its default and its help are written once.
//!
//! **Invariant:** pure: nothing here prints, exits or reads the environment. Every error is one line that names the flag, its value and what would
//! be valid.
//!
//! pico-args does the lookup, but it refuses words with a single dash and may take a value for a flag. So [`read`] first converts the command
//! line into an unambiguous form.
//!
//! | file | contents |
//! |---|---|
//! | `flag.rs` | the declaration of a flag |
//! | `line.rs` | splits a command line and checks it against the table |
//! | `reader.rs` | typed values of a command line |
//! | `help.rs` | help texts |
//! | `suggest.rs` | "did you mean …?" |
//! | `values.rs` | numbers and durations within bounds |
//! | `shared.rs` | the flags that all programs have |

mod flag;
mod help;
mod line;
mod reader;
pub mod shared;
pub mod suggest;
pub mod values;

pub use flag::Flag;
pub use help::{entry, help_of};
pub use line::{looks_like_a_flag, split};
pub use reader::{Asked, Reader, read};

#[cfg(test)]
pub use reader::read_line;
