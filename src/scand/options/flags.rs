//! scand's flags and its help text. Pure.

use crate::flags::shared::{METRICS_TOKEN_FILE, RESULTS_TOPIC, STATUS_TOPIC};
use crate::flags::{self, Flag};

pub(super) const NAME: Flag = Flag::optional(
    "--name",
    "NAME",
    "name of this server in findings and logs, unique in the group (default the host name and four random characters)",
);
pub(super) const SLOTS: Flag = Flag::with_default(
    "--slots",
    "N",
    "2",
    "scans that may send at the same time, 1 to 64",
);
pub(super) const MAX_RATE: Flag = Flag::with_default(
    "--max-rate",
    "PPS",
    "10k",
    "maximum packets per second of all scans together, like 800, 10k, 1.5m",
);
pub(super) const MAX_TASK_TIME: Flag = Flag::with_default(
    "--max-task-time",
    "TIME",
    "7d",
    "time for which a task may run in all its attempts, 1 s to 365 d, like 90s, 30m, 12h, 7d; then it fails",
);
pub(super) const MAX_WAIT: Flag = Flag::with_default(
    "--max-wait",
    "SECONDS",
    "60",
    "longest wait for late answers that a task gets, 0 to 600 s",
);
pub(super) const MAX_ATTEMPTS: Flag = Flag::with_default(
    "--max-attempts",
    "N",
    "10",
    "attempts that a task gets at most, 1 to 100",
);
pub(super) const MAX_PRIORITY: Flag = Flag::with_default(
    "--max-priority",
    "N",
    "9",
    "highest priority that a task gets from its record, 0 to 9",
);
pub(super) const MASSCAN: Flag = Flag::with_default(
    "--masscan",
    "PATH",
    "masscan",
    "the masscan program; without a slash it is looked up in PATH",
);
pub(super) const MASSCAN_USER: Flag = Flag::optional(
    "--masscan-user",
    "NAME",
    "user as whom a scand that is root runs masscan, with raw sockets and nothing else (default scand, else nobody; root if masscan is a script or not in PATH)",
);
pub(super) const LEASE: Flag = Flag::with_default(
    "--lease",
    "SECONDS",
    "15",
    "if a server does not renew its claims for this long, its tasks go to others, 2 to 600 s",
);
pub(super) const BUFFER: Flag = Flag::with_default(
    "--buffer",
    "MIB",
    "64",
    "size of findings that may wait for Kafka, 1 to 65536 MiB; beyond that, scans are suspended",
);
pub(super) const EXCLUDE: Flag = Flag::optional(
    "--exclude",
    "LIST",
    "addresses that this server never scans, like 10.0.0.0/8,192.0.2.7",
);
pub(super) const EXCLUDE_FILE: Flag = Flag::optional(
    "--excludefile",
    "FILE",
    "file with more exclusions, one per line, # starts a comment; read again on SIGHUP",
);
pub(super) const ALLOW: Flag = Flag::optional(
    "--allow",
    "LIST",
    "the only addresses that this server may scan (default all but special networks, Kafka and Redis)",
);
pub(super) const ALLOW_FILE: Flag = Flag::optional(
    "--allowfile",
    "FILE",
    "file with more allowed addresses, in the form of -excludefile",
);
pub(super) const INTERFACE: Flag = Flag::optional(
    "--interface",
    "NAME",
    "network interface to scan from (default the one of the default route)",
);
pub(super) const SOURCE_IP: Flag = Flag::optional(
    "--source-ip",
    "IP[-IP]",
    "source address, or a range whose size is a power of two (default the interface's)",
);
pub(super) const SOURCE_PORT: Flag = Flag::optional(
    "--source-port",
    "P[-P]",
    "source port, or a range whose size is a power of two, divided among simultaneous scans (default a random range from 40000 on)",
);
pub(super) const ROUTER_MAC: Flag = Flag::optional(
    "--router-mac",
    "MAC",
    "hardware address of the router to scan through (default masscan resolves it)",
);
pub(super) const HTTP: Flag = Flag::optional(
    "--http",
    "ADDRESS",
    "address and port of /metrics for Prometheus, /healthz and /readyz, like 127.0.0.1:9101 (default none)",
);
pub(super) const LOG_FILE: Flag = Flag::optional(
    "--log-file",
    "FILE",
    "also write the log to this file; opened again on SIGHUP",
);
pub(super) const CHECK: Flag = Flag::switch(
    "--check",
    "check what a scan needs and print one line for each result; scans nothing; exit code 0 if there are no warnings and no failures",
);
pub(super) const DEBUG: Flag = Flag::switch("--v", "log at debug level");

/// All flags besides those of [`CONNECTION`](crate::flags::shared::CONNECTION), in the order of the help text.
pub(super) const FLAGS: &[Flag] = &[
    RESULTS_TOPIC,
    STATUS_TOPIC,
    NAME,
    SLOTS,
    MAX_RATE,
    MAX_TASK_TIME,
    MAX_WAIT,
    MAX_ATTEMPTS,
    MAX_PRIORITY,
    MASSCAN,
    MASSCAN_USER,
    LEASE,
    BUFFER,
    EXCLUDE,
    EXCLUDE_FILE,
    ALLOW,
    ALLOW_FILE,
    INTERFACE,
    SOURCE_IP,
    SOURCE_PORT,
    ROUTER_MAC,
    HTTP,
    METRICS_TOKEN_FILE,
    LOG_FILE,
    CHECK,
    DEBUG,
];

const INTRODUCTION: &str = "\
scand runs the scans that scanpush pushes. Any number of them, started with the
same -group on one or many machines, share the tasks.

usage: scand [flags]

flags:
";

const EXAMPLES: &str = "
examples:
  scand -group scanners -allow 192.0.2.0/24,2001:db8::/64
  scand -check
  scand -group dmz -kafka k1:9092,k2:9092 -redis redis://:secret@r1:6379 \\
        -name dmz-1 -slots 4 -max-rate 50k -log-file /var/log/scand.log

masscan needs raw sockets. Run scand as a user of its own, who may open them
(packaging/scand.service), or run once
  setcap cap_net_raw+ep \"$(readlink -f \"$(command -v masscan)\")\"
As root it works too; masscan then gets another user (-masscan-user).
SIGINT or SIGTERM ends scand and releases its tasks to the other servers. A
second one ends it at once.
";

/// The help text.
pub(super) fn help() -> String {
    format!("{INTRODUCTION}{}{EXAMPLES}", flags::help_of(FLAGS))
}
