//! The exit codes of both programs, and the only place that prints an error on stderr as they end. No other file knows the number of a code.

use crate::model::Invalid;
use std::io::{self, Write};
use std::process::ExitCode;

/// The exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Success,
    /// 1: the command failed.
    Failed,
    /// 2: the command line is wrong; nothing was done.
    Usage,
    /// 3: a watched task failed or was rejected.
    TasksFailed,
    /// 4: none failed, but one was cancelled.
    TasksCancelled,
    /// 130: ended by Ctrl-C, by the convention of shells.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::TasksFailed => 3,
            Exit::TasksCancelled => 4,
            Exit::Interrupted => 130,
        })
    }
}

/// Why a program ends before its work is done.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong; the error names the flag and its value.
    Usage(Invalid),
    /// The command failed: one line with the operation and the reason.
    Runtime(String),
    /// The command failed, and the error is already printed.
    Said,
    /// The command succeeded, but its result has its own exit code; everything is already printed.
    Found(Exit),
    /// The reader of our output has gone (`| head`): this is not an error.
    ClosedPipe,
}

impl From<Invalid> for Failure {
    fn from(error: Invalid) -> Failure {
        Failure::Usage(error)
    }
}

impl From<io::Error> for Failure {
    /// An error of our own output; other I/O has its own error types.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Runtime(format!("the output cannot be written: {error}")),
        }
    }
}

/// Prints the error on `err` as one line, and returns the exit code.
pub fn report(program: &str, result: Result<(), Failure>, err: &mut dyn Write) -> Exit {
    let (line, exit) = match result {
        Ok(()) | Err(Failure::ClosedPipe) => return Exit::Success,
        Err(Failure::Said) => return Exit::Failed,
        Err(Failure::Found(exit)) => return exit,
        Err(Failure::Usage(error)) => (error.to_string(), Exit::Usage),
        Err(Failure::Runtime(line)) => (line, Exit::Failed),
    };
    // If stderr is closed too, the exit code is all that can be reported.
    let _ = writeln!(err, "{program}: {line}");
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_line_and_its_code() {
        for (failure, line, exit) in [
            (
                Failure::Usage(Invalid::new("x", "is wrong")),
                "p: \"x\" is wrong\n",
                Exit::Usage,
            ),
            (Failure::Runtime("no".into()), "p: no\n", Exit::Failed),
            (Failure::Said, "", Exit::Failed),
            (Failure::Found(Exit::TasksFailed), "", Exit::TasksFailed),
            (
                io::Error::from(io::ErrorKind::BrokenPipe).into(),
                "",
                Exit::Success,
            ),
            (
                io::Error::from(io::ErrorKind::StorageFull).into(),
                "p: the output cannot be written: no storage space\n",
                Exit::Failed,
            ),
        ] {
            let mut err = Vec::new();
            assert_eq!(report("p", Err(failure), &mut err), exit);
            assert_eq!(String::from_utf8(err).unwrap(), line);
        }
    }
}
