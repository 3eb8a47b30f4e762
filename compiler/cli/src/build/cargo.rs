//! Cargo.

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde::Deserialize;

use super::Problem;

/// Builds the crate in a folder, optimised; gives its program.
///
/// First without the network, so that a program can be built on a train; when a crate is missing, with it. The program is for any
/// machine of this kind: no flag asks for this one's own instructions.
pub(super) fn build(folder: &Path, target: &Path, verbose: bool) -> Result<PathBuf, Problem> {
    let mut attempt = run(folder, target, true, verbose)?;
    if attempt.program.is_none() && attempt.text.contains("--offline") {
        eprintln!("fetching crates that are not on this machine yet");
        attempt = run(folder, target, false, verbose)?;
    }
    attempt.program.ok_or_else(|| {
        let said = if verbose { String::new() } else { format!(":\n\n{}", attempt.text.trim_end()) };
        Problem::new(format!("cargo cannot build the program in {}{said}", folder.display()))
    })
}

/// What a run of cargo gave.
struct Attempt {
    /// The program; None when it failed.
    program: Option<PathBuf>,
    /// What was said on the error output.
    text: String,
}

/// A line of cargo's standard output.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

fn run(folder: &Path, target: &Path, offline: bool, verbose: bool) -> Result<Attempt, Problem> {
    // Set by a cargo that runs netc: then the same is right.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--message-format", "json-render-diagnostics", "--target-dir"]).arg(target);
    command.args(offline.then_some("--offline"));
    // In the crate's folder, so that the user's settings count and those of the folder where netc runs do not.
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let is_first = !target.exists();
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Problem::new("there is no cargo on this machine: building a program needs Rust, from https://rustup.rs")
        }
        _ => Problem::new(format!("cargo cannot be run: {error}")),
    })?;
    if is_first {
        eprintln!("what programs share is built too, this first time: that takes a minute or more");
    }
    let lost = |error: io::Error| Problem::new(format!("cargo cannot be heard: {error}"));
    let stderr = child.stderr.take();
    let listener = thread::spawn(move || said(stderr, verbose));
    let mut program = None;
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        // Other messages have no such field, or are no JSON at all: those of build scripts, say.
        let message = serde_json::from_str::<Message>(&line.map_err(lost)?);
        program = message.ok().and_then(|message| message.executable).or(program);
    }
    let status = child.wait().map_err(lost)?;
    let text = listener.join().unwrap_or_default();
    Ok(Attempt { program: program.filter(|_| status.success()), text })
}

/// What is said on the error output, and passed on if wanted.
fn said(stderr: Option<impl Read>, verbose: bool) -> String {
    let mut text = String::new();
    let mut lines = stderr.map(BufReader::new);
    let mut line = Vec::new();
    while let Some(from) = &mut lines {
        line.clear();
        if from.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            break;
        }
        if verbose {
            // If it cannot be passed on, it is still kept.
            let _ = io::stderr().write_all(&line);
        }
        text.push_str(&String::from_utf8_lossy(&line));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A crate without dependencies.
    fn package(main: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        let manifest = "[package]\nname = \"hello\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.path().join("src/main.rs"), main).unwrap();
        folder
    }

    #[test]
    fn a_program_is_built_and_found() {
        let package = package("fn main() { println!(\"hello\"); }");
        let program = build(package.path(), &package.path().join("t"), false).unwrap();
        assert_eq!(Command::new(program).output().unwrap().stdout, b"hello\n");
    }

    #[test]
    fn what_cargo_says_of_a_failure_is_shown() {
        let package = package("fn main() { nothing(); }");
        let problem = build(package.path(), &package.path().join("t"), false).unwrap_err().0;
        assert!(problem.starts_with("cargo cannot build the program in ") && problem.contains("E0425"), "{problem}");
    }
}
