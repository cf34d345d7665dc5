//! Flags that several commands of scanpush take.

use crate::flags::Flag;

/// The flag for machine-readable output.
pub const JSON: Flag = Flag::switch("--json", "print each task as one line of JSON");
