//! The flags of `scanpush results` and the end of its help text.

use crate::flags::Flag;
use crate::flags::shared::RESULTS_TOPIC;
use crate::scanpush::ids::JOB;

/// `-format`
pub const FORMAT: Flag = Flag::optional(
    "--format",
    "NAME",
    "table (default), ndjson, json, csv, list, grepable or xml",
)
.one_of(&["table", "ndjson", "json", "csv", "list", "grepable", "xml"]);
/// `-json`
pub const JSON: Flag = Flag::switch("--json", "the same as -format ndjson");
/// `-follow`
pub const FOLLOW: Flag = Flag::switch(
    "--follow",
    "write findings as they arrive, until the tasks end",
);
/// `-diff`
pub const DIFF: Flag = Flag::switch(
    "--diff",
    "compare two tasks: write what opened (+) and closed (-) from the first to the second",
);

/// All flags, in the order of the help text.
pub const FLAGS: &[Flag] = &[FORMAT, JSON, FOLLOW, DIFF, JOB, RESULTS_TOPIC];

/// The end of the help text.
pub const MORE_HELP: &str = "\
An ID may be abbreviated to its first characters, at least 4, if they are
unique. json, list, grepable and xml are the formats of masscan's -oJ, -oL, -oG
and -oX; ndjson is the records of the topic. Complete ids need Kafka only; -job,
-follow and abbreviated ids need Redis too. -diff writes lines, ndjson or json.
If findings may be missing (a task is still running, Kafka has removed records),
a warning is printed on stderr. Ctrl-C ends the document properly. After an
error it is not closed, so that it is not mistaken for all findings.
Exit code 0: done, with or without findings; 1: an ID is unknown, or Kafka is
unreachable; 2: invalid flags; 130: Ctrl-C. With -follow also 3: a task failed
or was rejected; 4: none failed, but one was cancelled.

examples:
  scanpush results Wb3ZtqLk
  scanpush results -job j7Kd0 -format xml >scan.xml
  scanpush results -follow -json Wb3ZtqLk | jq -r '\"\\(.ip):\\(.port)\"'
  scanpush results -diff Wb3ZtqLk Kf93mmQz
";
