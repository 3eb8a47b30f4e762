//! How a run fails.

use std::io;
use std::process::ExitCode;

use crate::error::FileProblem;
use crate::{Error, data};

/// How a run fails.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line, in clap's words: also the text of `--help`, which is no failure.
    Line(clap::Error),
    /// The command line asks for what cannot be, or a file cannot be read or written.
    Usage(String),
    /// The training failed, or a file does not hold what it should.
    Failed(String),
    /// The standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    /// Says it, and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        let (code, text) = match self {
            Failure::Line(error) => {
                // If this cannot be written, there is nobody left to tell.
                let _ = error.print();
                return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
            }
            // `digits train | head -1`: nobody reads on. This is what a shell reports of a program that the closed pipe ended.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::from(141),
            Failure::Output(error) => (2, format!("cannot write the output: {error}")),
            Failure::Usage(text) => (2, text),
            Failure::Failed(text) => (1, text),
        };
        eprintln!("error: {text}");
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<data::Error> for Failure {
    fn from(error: data::Error) -> Failure {
        match error {
            data::Error::Content { .. } => Failure::Failed(error.to_string()),
            _ => Failure::Usage(error.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::File { problem: FileProblem::Read(..) | FileProblem::Write(..), .. } => {
                Failure::Usage(error.to_string())
            }
            Error::Device(problem) if problem.is_absence() => Failure::Usage(problem.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}
