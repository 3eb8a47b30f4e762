//! Text to AST: the first pass. After it no text is looked at again, but to print a diagnostic.
//!
//! Each spelling has its reader; both read expressions with the DSL's grammar. Nothing here knows a layer's name.

mod brackets;
mod netspec;
pub mod tokens;
mod yaml;

pub(crate) use netspec::RESERVED;

use crate::ast::{Param, Spec};
use crate::diag::{Code, Diagnostic};
use crate::ops::thousands;
use crate::source::{File, FileId, Sources, Span, Spelling};
use crate::{Main, limits};

/// Reads the main file's bytes and checks what must hold before any reader runs: it is there, has a known ending, is no longer
/// than the limit, and is text. A file that cannot be read stays in `sources` as an empty text, so that it can be named.
pub fn load(
    main: Main,
    read_file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
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
    let mut file = File { path, text: String::new(), spelling: spelling.unwrap_or(Spelling::Netspec) };
    let nowhere = Span::default();
    let problem = match bytes {
        Err(reason) => Some((Code::N0107, format!("cannot read `{}`: {reason}", file.path))),
        Ok(_) if spelling.is_none() => Some((
            Code::N0107,
            format!("`{}` is neither `.netspec` nor `.yaml`, so its spelling is not known", file.path),
        )),
        Ok(bytes) if bytes.len() > limits::FILE_BYTES => Some((
            Code::N0108,
            format!(
                "`{}` has more than {} bytes, which is what a spec may have",
                file.path,
                thousands(limits::FILE_BYTES as u64)
            ),
        )),
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => {
                file.text = text;
                None
            }
            Err(error) => Some((
                Code::N0110,
                format!(
                    "`{}` is not UTF-8 text: byte {} begins no character",
                    file.path,
                    error.utf8_error().valid_up_to()
                ),
            )),
        },
    };
    let id = sources.add(file);
    match problem {
        Some((code, title)) => {
            diagnostics.push(Diagnostic::new(code, title, Span { file: id, ..nowhere }, ""));
            None
        }
        None => Some(id),
    }
}

/// Reads a file into the AST. What cannot be read is reported and left out, so that several mistakes are found in one run.
pub fn read(sources: &Sources, file: FileId, diagnostics: &mut Vec<Diagnostic>) -> Spec {
    let text = &sources.file(file).text;
    match sources.file(file).spelling {
        Spelling::Netspec => netspec::read(text, file, diagnostics),
        Spelling::Yaml => yaml::read(text, file, diagnostics),
    }
}

/// Leaves no more parameters than a model or block may declare; an error when there were more.
fn limit_params(params: &mut Vec<Param>) -> Option<Diagnostic> {
    let next = params.get(limits::DECLARED_PARAMS)?;
    let title = format!("more than {} parameters of one model or block", limits::DECLARED_PARAMS);
    let problem = Diagnostic::new(Code::N0108, title, next.name.span, "one too many");
    params.truncate(limits::DECLARED_PARAMS);
    Some(problem)
}
