//! `netc build`, and the programs that it and `netc train` make.
//!
//! A program is a crate that holds what `netc expand` prints and a `main` (`package.rs`), in the user's cache folder (`cache.rs`),
//! built by cargo (`cargo.rs`).

mod cache;
mod cargo;
mod package;
mod tricks;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Verdict;
use crate::args::{Build, Making};
use crate::compile::{compile, report, verdict};
use cache::Cache;
use package::{Netspec, Package};

/// Why no program can be made; the whole text.
#[derive(Debug)]
pub(crate) struct Problem(String);

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Problem {
        Problem(text.into())
    }

    /// `cannot write BIN: no such folder`.
    fn of(what: &str, path: &Path, error: &io::Error) -> Problem {
        Problem(format!("cannot {what} {}: {error}", path.display()))
    }

    /// Prints it on the error output.
    pub(crate) fn say(&self) -> io::Result<Verdict> {
        writeln!(io::stderr(), "error: {}", self.0)?;
        Ok(Verdict::Usage)
    }
}

pub(crate) fn run(args: &Build) -> io::Result<Verdict> {
    // Before the work that would be lost.
    if let Err(problem) = check_output(&args.output) {
        return problem.say();
    }
    let needs = Needs { training: false, cuda: args.cuda };
    let built = match program(&args.file, args.params.values(), &args.making, needs)? {
        Ok(built) => built,
        Err(verdict) => return Ok(verdict),
    };
    match install(&built.path, &args.output) {
        Ok(()) => Ok(Verdict::Good),
        Err(problem) => problem.say(),
    }
}

/// A program that was built. As long as it lives nobody else builds.
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    _cache: Cache,
}

/// What a program is built for.
#[derive(Clone, Copy)]
pub(crate) struct Needs {
    /// To train: the spec must say how.
    pub(crate) training: bool,
    /// Also for graphics cards.
    pub(crate) cuda: bool,
}

/// Builds the program of a spec; when there is none, what was printed about it comes to a verdict.
pub(crate) fn program(
    file: &Path,
    params: &[(String, i64)],
    making: &Making,
    needs: Needs,
) -> io::Result<Result<Built, Verdict>> {
    let outcome = compile(file, params);
    report(&outcome)?;
    let Some(checked) = &outcome.checked else {
        return Ok(Err(verdict(&outcome, false)));
    };
    let origin = crate::expand::origin(&file.to_string_lossy(), params);
    if needs.training && checked.net.train.is_none() {
        let text = format!("{origin} has no `train` section, so neither loss nor optimizer are known");
        return Problem::new(text).say().map(Err);
    }
    if let Some((layer, path)) = checked.net.customs().next() {
        let (file, line) = (&outcome.sources.file(layer.head.file).path, outcome.sources.line(layer.head));
        let text = format!(
            "{file}:{line}: `{path}` is a type of Rust, which a program of netc's own does not have; `netspec!` in a \
             crate that has it makes the model"
        );
        return Problem::new(text).say().map(Err);
    }
    writeln!(io::stderr(), "building {origin}")?;
    let make = || {
        let netspec = Netspec::find(making.netspec.as_deref())?;
        let package = Package::new(checked, &outcome.sources, &origin, &netspec, needs.cuda)?;
        let cache = Cache::lock()?;
        let folder = cache.write(&package)?;
        let path = cargo::build(&folder, &cache.target(), making.verbose)?;
        Ok(Built { path, _cache: cache })
    };
    match make() {
        Ok(built) => Ok(Ok(built)),
        Err(problem) => Problem::say(&problem).map(Err),
    }
}

/// Checks that a program can be where the user wants it, as far as that can be told before it is there.
fn check_output(to: &Path) -> Result<(), Problem> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let problem = match () {
        () if to.is_dir() || to.file_name().is_none() => "it is a folder",
        () if !folder.is_dir() => "there is no such folder",
        () => return Ok(()),
    };
    Err(Problem::new(format!("cannot write {}: {problem}", to.display())))
}

/// Copies a program to where the user wants it, beside its place first.
fn install(program: &Path, to: &Path) -> Result<(), Problem> {
    let beside = to.with_file_name(cache::temporary(to.file_name().unwrap_or_default()));
    let copied = fs::copy(program, &beside).and_then(|_| fs::rename(&beside, to));
    copied.map_err(|error| {
        // What is wrong is said; a file that stays is the lesser trouble.
        let _ = fs::remove_file(&beside);
        Problem::of("write", to, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_copied_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, b"new").unwrap();
        fs::write(&to, b"old").unwrap();
        install(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        let error = install(&folder.path().join("none"), &to).unwrap_err().0;
        assert!(error.starts_with(&format!("cannot write {}: ", to.display())), "{error}");
        assert_eq!(
            check_output(folder.path()).unwrap_err().0,
            format!("cannot write {}: it is a folder", folder.path().display())
        );
        check_output(&to).unwrap();
        let nowhere = folder.path().join("no/to");
        let problem = format!("cannot write {}: there is no such folder", nowhere.display());
        assert_eq!(check_output(&nowhere).unwrap_err().0, problem);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");
    }
}
