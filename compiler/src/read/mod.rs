//! Text to AST: the first pass. After it no text is looked at again, but to print a diagnostic.
//!
//! Each spelling has its reader; both read expressions with the DSL's grammar. Nothing here knows a layer's name.

mod brackets;
mod netspec;
pub mod tokens;
mod yaml;

pub(crate) use netspec::RESERVED;

use crate::ast::{Param, Spec, Use};
use crate::diag::{Code, Diagnostic, Frame};
use crate::ops::thousands;
use crate::source::{File, FileId, Sources, Span, Spelling};
use crate::{Main, limits};

/// Gives the bytes of a path, or says why it cannot.
type ReadFile<'a> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'a;

/// Reads the main file's bytes and checks what must hold before any reader runs: it is there, has a known ending, is no longer
/// than the limit, and is text. A file that cannot be read stays in `sources` as an empty text, so that it can be named.
pub fn load(
    main: Main,
    read_file: &mut ReadFile<'_>,
    sources: &mut Sources,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<FileId> {
    let (path, spelling, bytes) = match main {
        Main::Text { path, text, spelling } => (path, Some(spelling), Ok(text.into_bytes())),
        Main::File(path) => {
            let bytes = read_file(&path);
            let spelling = Spelling::of_path(&path);
            (path, spelling, bytes)
        }
    };
    let (text, problem) = match text_of(&path, spelling, bytes, limits::FILE_BYTES) {
        Ok(text) => (text, None),
        Err(problem) => (String::new(), Some(problem)),
    };
    let id = sources.add(File { path, text, spelling: spelling.unwrap_or(Spelling::Netspec) });
    match problem {
        Some((code, title)) => {
            let nowhere = Span::default();
            diagnostics.push(Diagnostic::new(code, title, Span { file: id, ..nowhere }, ""));
            None
        }
        None => Some(id),
    }
}

/// The text of a file of which `allowed` bytes may be read, or what is wrong with it.
fn text_of(
    path: &str,
    spelling: Option<Spelling>,
    bytes: Result<Vec<u8>, String>,
    allowed: usize,
) -> Result<String, (Code, String)> {
    let bytes = bytes.map_err(|reason| (Code::N0107, format!("cannot read `{path}`: {reason}")))?;
    if spelling.is_none() {
        let title = format!("`{path}` is neither `.netspec` nor `.yaml`, so its spelling is not known");
        return Err((Code::N0107, title));
    }
    if bytes.len() > allowed {
        let limit = thousands(limits::FILE_BYTES as u64);
        let title = match allowed {
            limits::FILE_BYTES => format!("`{path}` has more than {limit} bytes, which is what a spec may have"),
            _ => format!("with `{path}` the spec has more than {limit} bytes, which is what all its files may have"),
        };
        return Err((Code::N0108, title));
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        (Code::N0110, format!("`{path}` is not UTF-8 text: byte {place} begins no character"))
    })
}

/// Reads a file, and the files that it uses, each once: the AST of each, the main file's first. What cannot be read is reported and left
/// out, so that several mistakes are found in one run.
pub fn read(
    main: FileId,
    has_folder: bool,
    read_file: &mut ReadFile<'_>,
    sources: &mut Sources,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Spec> {
    let mut reading = Reading { has_folder, read_file, sources, diagnostics, specs: Vec::new(), inside: Vec::new() };
    reading.file(main);
    reading.specs
}

struct Reading<'a, 'f> {
    /// Whether the main text is a file, in a folder.
    has_folder: bool,
    read_file: &'a mut ReadFile<'f>,
    sources: &'a mut Sources,
    diagnostics: &'a mut Vec<Diagnostic>,
    specs: Vec<Spec>,
    /// The files whose uses are being read, and the uses that led to them, outermost first.
    inside: Vec<(FileId, Option<Frame>)>,
}

impl Reading<'_, '_> {
    /// Reads a file and those that it uses. It ends, since files are limited in number; nothing is inside itself.
    fn file(&mut self, file: FileId) {
        let is_main = self.specs.is_empty();
        let before = self.diagnostics.len();
        let File { text, spelling, .. } = self.sources.file(file);
        let mut spec = match spelling {
            Spelling::Netspec => netspec::read(text, file, is_main, self.diagnostics),
            Spelling::Yaml => yaml::read(text, file, is_main, self.diagnostics),
        };
        spec.file = file;
        for diagnostic in &mut self.diagnostics[before..] {
            diagnostic.trace.extend(self.inside.iter().rev().filter_map(|(_, frame)| frame.clone()));
        }
        let at = self.specs.len();
        let mut uses = std::mem::take(&mut spec.uses);
        self.specs.push(spec);
        for one in &mut uses {
            one.file = self.used(file, one);
        }
        self.specs[at].uses = uses;
    }

    /// The file that `by` uses, read if it was not yet. None when it cannot be had, which was reported.
    fn used(&mut self, by: FileId, one: &Use) -> Option<FileId> {
        let from = match by == FileId::default() && !self.has_folder {
            true => "",
            false => self.sources.file(by).path.as_str(),
        };
        let path = beside(from, &one.path);
        let frame = Frame { text: format!("in `{path}`"), used_at: one.span, is_use: true, times: 1 };
        let known = self.sources.files().iter().position(|file| file.path == path).map(|at| FileId(at as u32));
        if let Some(known) = known {
            let is_inside = known == by || self.inside.iter().any(|(file, _)| *file == known);
            if is_inside {
                let title = format!("`{path}` uses itself");
                let label = if known == by { "this file" } else { "whose blocks are needed to read this file" };
                self.report(Diagnostic::new(Code::N0115, title, one.span, label));
                return None;
            }
            return self.specs.iter().any(|spec| spec.file == known).then_some(known);
        }
        if self.sources.files().len() >= limits::FILES {
            let title = format!("more than {} files in one spec", limits::FILES);
            self.report(Diagnostic::new(Code::N0108, title, one.span, "one too many"));
            return None;
        }
        let spelling = Spelling::of_path(&path);
        let so_far: usize = self.sources.files().iter().map(|file| file.text.len()).sum();
        let bytes = (self.read_file)(&path);
        match text_of(&path, spelling, bytes, limits::FILE_BYTES.saturating_sub(so_far)) {
            Ok(text) => {
                let spelling = spelling.unwrap_or(Spelling::Netspec);
                let file = self.sources.add(File { path, text, spelling });
                self.inside.push((by, None));
                self.inside.push((file, Some(frame)));
                self.file(file);
                self.inside.truncate(self.inside.len() - 2);
                Some(file)
            }
            Err((code, title)) => {
                let problem = Diagnostic::new(code, title, one.span, "used here");
                let begins = match from {
                    "" => "in a macro a path begins at the directory of `Cargo.toml`",
                    _ => "a path begins at the folder of the file that it stands in",
                };
                self.report(if code == Code::N0107 { problem.note(begins) } else { problem });
                None
            }
        }
    }

    /// Reports something of the file whose uses are being read.
    fn report(&mut self, mut problem: Diagnostic) {
        problem.trace.extend(self.inside.iter().rev().filter_map(|(_, frame)| frame.clone()));
        self.diagnostics.push(problem);
    }
}

/// The path of a file that another one names: from the other's folder, without `.` and, where it can be told, without `..`.
fn beside(file: &str, path: &str) -> String {
    let is_absolute = path.starts_with(['/', '\\']) || path.get(1..2) == Some(":");
    let folder = file.rfind(['/', '\\']).map_or("", |end| &file[..=end]);
    let whole = if is_absolute { path.to_owned() } else { format!("{folder}{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match (part, parts.last()) {
            (".", _) => {}
            ("..", Some(&last)) if !matches!(last, "" | "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Leaves no more parameters than a model or block may declare; an error when there were more.
fn limit_params(params: &mut Vec<Param>) -> Option<Diagnostic> {
    let next = params.get(limits::DECLARED_PARAMS)?;
    let title = format!("more than {} parameters of one model or block", limits::DECLARED_PARAMS);
    let problem = Diagnostic::new(Code::N0108, title, next.name.span, "one too many");
    params.truncate(limits::DECLARED_PARAMS);
    Some(problem)
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn a_path_begins_at_the_folder_of_its_file() {
        for (file, path, expected) in [
            ("net.yaml", "blocks.yaml", "blocks.yaml"),
            ("specs/net.yaml", "blocks.yaml", "specs/blocks.yaml"),
            ("specs/net.yaml", "./more/../blocks.yaml", "specs/blocks.yaml"),
            ("specs/net.yaml", "../blocks.yaml", "blocks.yaml"),
            ("net.yaml", "../../blocks.yaml", "../../blocks.yaml"),
            ("../net.yaml", "../blocks.yaml", "../../blocks.yaml"),
            ("specs/net.yaml", "/home/blocks.yaml", "/home/blocks.yaml"),
            ("/home/me/net.yaml", "../blocks.yaml", "/home/blocks.yaml"),
            ("", "specs/blocks.yaml", "specs/blocks.yaml"),
        ] {
            assert_eq!(beside(file, path), expected, "{path} of {file}");
        }
    }
}
