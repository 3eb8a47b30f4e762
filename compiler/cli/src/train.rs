//! `netc train`.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::Verdict;
use crate::args::Train;
use crate::build::{self, Problem};

pub(crate) fn run(args: &Train) -> io::Result<Verdict> {
    if let Some(own) = args.options.iter().find(|option| OWN.iter().any(|own| *option == own)) {
        let own = own.display();
        return Problem::new(format!("`{own}` is netc's own and stands before FILE: netc train {own} … FILE")).say();
    }
    let built = match build::program(&args.file, args.params.values(), &args.making, true)? {
        Ok(built) => built,
        Err(verdict) => return Ok(verdict),
    };
    let mut command = Command::new(&built.path);
    name(&mut command, &args.file);
    command.arg("train").args(&args.options);
    // The program has its own name, so nobody builds another one under it: the folder is for others to use.
    drop(built);
    let error = become_program(command);
    Problem::new(format!("the program cannot be run: {error}")).say()
}

/// netc's own options, which a program has not.
const OWN: [&str; 5] = ["-p", "--param", "--netspec", "-v", "--verbose"];

/// Lets a program call itself by its spec in what it prints, and not by its name in the cache.
#[cfg(unix)]
fn name(command: &mut Command, spec: &Path) {
    if let Some(stem) = spec.file_stem() {
        std::os::unix::process::CommandExt::arg0(command, stem);
    }
}

/// Elsewhere a program has the name of its file.
#[cfg(not(unix))]
fn name(_: &mut Command, _: &Path) {}

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
