//! `netc train`.

use std::io;
use std::process::Command;

use crate::Verdict;
use crate::args::Train;
use crate::build::{self, Problem};

pub(crate) fn run(args: &Train) -> io::Result<Verdict> {
    let built = match build::program(&args.file, args.params.values(), &args.making)? {
        Ok(built) => built,
        Err(verdict) => return Ok(verdict),
    };
    let mut command = Command::new(&built.path);
    command.arg("train").args(&args.options);
    // The program has its own name, so nobody builds another one under it: the folder is for others to use.
    drop(built);
    let error = become_program(command);
    Problem::new(format!("the program cannot be run: {error}")).say()
}

/// Runs a program in the place of this one, so that signals reach it and its exit code is this one's. Comes back with an error only.
#[cfg(unix)]
fn become_program(mut command: Command) -> io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

/// Runs a program and ends with its exit code. Comes back with an error only.
#[cfg(not(unix))]
fn become_program(mut command: Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}
