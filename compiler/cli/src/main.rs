//! `netc`: netspec from the terminal. A thin shell: it reads arguments and files, and prints what the compiler says.

mod args;
mod build;
mod check;
mod compile;
mod expand;
mod explain;
mod plan;
mod summary;
mod text;
mod train;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

/// How a run ends, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// All is right.
    Good,
    /// A spec is wrong.
    Wrong,
    /// What was asked for cannot be done: a file cannot be read, a code is unknown, there is no cargo.
    Usage,
}

fn main() -> ExitCode {
    let result = match args::Args::parse().command {
        args::Command::Check(args) => check::run(&args),
        args::Command::Summary(args) => summary::run(&args),
        args::Command::Train(args) => train::run(&train::Job::of_training(&args)),
        args::Command::Run(args) => train::run(&train::Job::of_run(&args)),
        args::Command::Build(args) => build::run(&args),
        args::Command::Expand(args) => expand::run(&args),
        args::Command::Plan(args) => plan::run(&args),
        args::Command::Explain(args) => explain::run(&args),
    };
    match result.and_then(|verdict| std::io::stdout().flush().map(|()| verdict)) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(1),
        Ok(Verdict::Usage) => ExitCode::from(2),
        // `netc check … | head -1`: nobody reads on, which is not worth a word. This is what a shell reports of a program
        // that the closed pipe ended, since there is no verdict to report.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(141),
        Err(error) => {
            // If this cannot be written either, there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "error: cannot write the output: {error}");
            ExitCode::from(2)
        }
    }
}
