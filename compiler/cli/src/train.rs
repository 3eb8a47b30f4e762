//! `netc train` and `netc run`, which build a program and become it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::Verdict;
use crate::args::{Making, Params, Run, Train};
use crate::build::{self, Needs, Problem};

/// What is run.
pub(crate) struct Job<'a> {
    /// The program's command.
    command: &'static str,
    file: &'a Path,
    params: &'a Params,
    making: &'a Making,
    options: &'a [OsString],
    /// Whether the spec must say how it is trained.
    trains: bool,
}

impl<'a> Job<'a> {
    pub(crate) fn of_training(args: &'a Train) -> Job<'a> {
        let Train { params, making, file, options } = args;
        Job { command: "train", file, params, making, options, trains: true }
    }

    pub(crate) fn of_run(args: &'a Run) -> Job<'a> {
        let Run { params, making, file, options } = args;
        Job { command: "run", file, params, making, options, trains: false }
    }
}

pub(crate) fn run(job: &Job<'_>) -> io::Result<Verdict> {
    if let Some(own) = job.options.iter().find(|option| OWN.iter().any(|own| *option == own)) {
        let (own, command) = (own.display(), job.command);
        return Problem::new(format!("`{own}` is netc's own and stands before FILE: netc {command} {own} … FILE"))
            .say();
    }
    let needs = Needs { training: job.trains, cuda: asks_for_card(job.options) };
    let built = match build::program(job.file, job.params.values(), job.making, needs)? {
        Ok(built) => built,
        Err(verdict) => return Ok(verdict),
    };
    let mut command = Command::new(&built.path);
    name(&mut command, job.file);
    command.arg(job.command).args(job.options);
    // The program has its own name, so nobody builds another one under it: the folder is for others to use.
    drop(built);
    let error = become_program(command);
    Problem::new(format!("the program cannot be run: {error}")).say()
}

/// Whether options name another device than the processor, with which every program runs.
fn asks_for_card(options: &[OsString]) -> bool {
    let (mut behind, mut asks) = (false, false);
    for option in options {
        let joined = option.to_str().and_then(|option| option.strip_prefix("--device="));
        if let Some(device) = joined.or(option.to_str().filter(|_| behind)) {
            asks = device != "cpu";
        }
        behind = option == "--device";
    }
    asks
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_device_than_the_processor_needs_cuda() {
        let asks = |line: &str| asks_for_card(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        for line in
            ["--device cuda", "--epochs 2 --device=cuda:1", "--device auto --out x", "--device cpu --device=auto"]
        {
            assert!(asks(line), "{line}");
        }
        for line in
            ["", "--device cpu", "--device=cpu", "--out device", "--out cuda", "--device=cuda --device cpu", "--device"]
        {
            assert!(!asks(line), "{line}");
        }
    }
}
