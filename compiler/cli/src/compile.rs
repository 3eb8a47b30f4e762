//! Files in, findings out: what `check` and `summary` share.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::path::Path;

use netspec_compiler::diag::render::{self, Style};
use netspec_compiler::diag::{Code, Severity};
use netspec_compiler::{Main, Options, Outcome, limits};

use crate::Verdict;

/// Compiles a file.
pub(crate) fn compile(path: &Path, params: &[(String, i64)]) -> Outcome {
    let name = path.to_string_lossy().into_owned();
    let options = Options { params: params.to_vec(), ..Options::default() };
    netspec_compiler::compile(Main::File(name.clone()), &options, &mut |asked| {
        // A path need not be UTF-8; its name for the user is.
        read(if asked == name { path } else { Path::new(asked) })
    })
}

/// The bytes of a file, as many as a spec may have and one more, or why there are none.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let reason = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    // Asked before it is opened: to open a FIFO waits for its writer.
    let kind = fs::metadata(path).map_err(reason)?.file_type();
    if kind.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if !kind.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(reason)?;
    file.take(limits::FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(reason)?;
    Ok(bytes)
}

/// What an outcome comes to.
pub(crate) fn verdict(outcome: &Outcome, deny_warnings: bool) -> Verdict {
    let found = |severity| outcome.diagnostics.iter().any(|diagnostic| diagnostic.severity() == severity);
    if outcome.diagnostics.iter().any(|diagnostic| diagnostic.code == Code::N0107) {
        Verdict::Usage
    } else if !outcome.is_ok() || found(Severity::Error) || (deny_warnings && found(Severity::Warning)) {
        Verdict::Wrong
    } else {
        Verdict::Good
    }
}

/// Prints what was found on the error output, and how much it was.
pub(crate) fn report(outcome: &Outcome) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let style = if colors(&out) { Style::Colored } else { Style::Plain };
    for diagnostic in &outcome.diagnostics {
        writeln!(out, "{}\n", render::human(diagnostic, &outcome.sources, style))?;
    }
    match (outcome.sources.files().first(), &outcome.diagnostics[..]) {
        (Some(file), [_, ..]) => writeln!(out, "{}: {}\n", file.path, render::tally(&outcome.diagnostics)),
        _ => Ok(()),
    }
}

/// Whether escape codes are welcome: on a terminal, unless <https://no-color.org> is asked for.
pub(crate) fn colors(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
