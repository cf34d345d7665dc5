//! The values of labels: each label has a fixed list of them. Pure.

/// Kafka or Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Kafka.
    Kafka,
    /// Redis.
    Redis,
}

/// What a thread was doing with Kafka or Redis when there was an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Connecting for the first time.
    Connect,
    /// Reading records of tasks, and ingesting them.
    ReadTasks,
    /// Claiming tasks.
    Claim,
    /// Renewing leases.
    RenewLeases,
    /// Writing live progress.
    WriteProgress,
    /// Sending findings.
    WriteFindings,
    /// Writing state changes.
    WriteStatus,
    /// Committing the group's offsets.
    Commit,
}

impl Operation {
    /// Those that use Kafka: the values of the label.
    pub const OF_KAFKA: [Operation; 5] = [
        Operation::Connect,
        Operation::ReadTasks,
        Operation::WriteFindings,
        Operation::WriteStatus,
        Operation::Commit,
    ];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Connect => "connect",
            Operation::ReadTasks => "read_tasks",
            Operation::Claim => "claim",
            Operation::RenewLeases => "renew_leases",
            Operation::WriteProgress => "write_progress",
            Operation::WriteFindings => "write_findings",
            Operation::WriteStatus => "write_status",
            Operation::Commit => "commit",
        }
    }

    /// Whether it is repeated until it succeeds. The last result of others says nothing about now.
    pub(super) fn is_repeated(self) -> bool {
        !matches!(self, Operation::WriteProgress | Operation::WriteStatus)
    }
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// masscan ended by itself before everything was sent and waited for.
    Exited,
    /// masscan could not be started, or ended before it printed any progress.
    NotStarted,
    /// Something else interrupted masscan.
    Interrupted,
    /// It took longer than the task allows.
    TimedOut,
    /// The task has run for longer than this server allows in all.
    OutOfTime,
    /// masscan printed no progress.
    Silent,
    /// Answers came faster than this server could read them.
    Overrun,
    /// masscan scans something else than it was given, or cannot send the shard.
    Mismatch,
}

impl FailureReason {
    /// All values of the label.
    pub const ALL: [FailureReason; 8] = [
        FailureReason::Exited,
        FailureReason::NotStarted,
        FailureReason::Interrupted,
        FailureReason::TimedOut,
        FailureReason::OutOfTime,
        FailureReason::Silent,
        FailureReason::Overrun,
        FailureReason::Mismatch,
    ];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::Exited => "exited",
            FailureReason::NotStarted => "not_started",
            FailureReason::Interrupted => "interrupted",
            FailureReason::TimedOut => "timed_out",
            FailureReason::OutOfTime => "out_of_time",
            FailureReason::Silent => "silent",
            FailureReason::Overrun => "overrun",
            FailureReason::Mismatch => "mismatch",
        }
    }
}

/// How an attempt ended on this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The scan is complete.
    Completed,
    /// It failed.
    Failed,
    /// An operator cancelled the task.
    Cancelled,
    /// The task went back to the queue, and the attempt does not count.
    Released,
    /// The claim belongs to another server.
    Abandoned,
}

impl AttemptEnd {
    /// All values of the label.
    pub const ALL: [AttemptEnd; 5] = [
        AttemptEnd::Completed,
        AttemptEnd::Failed,
        AttemptEnd::Cancelled,
        AttemptEnd::Released,
        AttemptEnd::Abandoned,
    ];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            AttemptEnd::Completed => "completed",
            AttemptEnd::Failed => "failed",
            AttemptEnd::Cancelled => "cancelled",
            AttemptEnd::Released => "released",
            AttemptEnd::Abandoned => "abandoned",
        }
    }
}

/// The value of the label of a priority; there are ten.
pub(super) const PRIORITIES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
