//! YAML to AST.
//!
//! YAML gives structure only: maps, lists, and scalars by their place in the text. What a plain scalar means is the DSL's
//! affair, so `n` is a name, `010` is ten, `null` a word, and both spellings give the same AST.
//!
//! A text is walked twice. [`survey`] goes through the parser's events with a loop: it stops what may not reach the
//! recursion behind it (nesting, size) and what serde cannot see (anchors, tags, blocks of text, a second document), each
//! with its place, and it notes where lists and maps in brackets end, which serde does not tell. Then [`tree`] lets serde
//! build a tree with spans, and [`page`] reads that tree as a page of a spec, its values in [`value`].

mod page;
mod survey;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use crate::ast::{Body, Ident, Model, Spec, Statement, StatementKind};
use crate::diag::{Code, Diagnostic};
use crate::limits;
use crate::source::{FileId, Span};

/// Reads YAML. What cannot be read is reported and left out; a layer that cannot becomes [`StatementKind::Missing`], and
/// so does the first layer of a model whose input cannot be read or whose text is no YAML.
///
/// The `main` one must hold a model.
pub(super) fn read(text: &str, file: FileId, is_main: bool, diagnostics: &mut Vec<Diagnostic>) -> Spec {
    let limit = diagnostics.len() + limits::SYNTAX_ERRORS;
    let mut page = Page { text, file, is_main, diagnostics, limit };
    let survey = survey::survey(&mut page);
    let root = survey.is_sound.then(|| tree::build(&survey, &mut page)).flatten();
    match root {
        Some(root) => page.spec(&root),
        None => Spec { model: survey.model_name.map(|name| page.unread_model(name)), ..Spec::default() },
    }
}

/// The text being read, and where findings on it go.
struct Page<'a> {
    text: &'a str,
    file: FileId,
    /// Whether it must hold a model.
    is_main: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// How many diagnostics there may be: behind that many, the rest is likely an echo.
    limit: usize,
}

impl<'a> Page<'a> {
    fn report(&mut self, diagnostic: Diagnostic) {
        if !self.is_full() {
            self.diagnostics.push(diagnostic);
        }
    }

    fn is_full(&self) -> bool {
        self.diagnostics.len() >= self.limit
    }

    /// The text of a span.
    fn slice(&self, span: Span) -> &'a str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// The bytes `start..end` as a span inside the text and on character boundaries, whatever the parser said.
    fn span(&self, start: usize, end: usize) -> Span {
        let start = self.text.floor_char_boundary(start);
        let end = self.text.ceil_char_boundary(end).max(start);
        Span::new(self.file, start..end)
    }

    /// The character at a byte; empty at the end of a line.
    fn character(&self, at: usize) -> Span {
        let start = self.text.floor_char_boundary(at);
        let length = self.text[start..].chars().next().filter(|c| !matches!(c, '\n' | '\r')).map_or(0, char::len_utf8);
        Span::new(self.file, start..start + length)
    }

    /// What to underline of something that may be many lines long: its first line.
    fn first_line(&self, span: Span) -> Span {
        let line = self.slice(span).lines().next().unwrap_or_default().trim_end();
        Span { end: span.start + line.len() as u32, ..span }
    }

    /// A text as a title quotes it: its first line, at most 40 characters.
    fn quoted(&self, span: Span) -> String {
        let line = self.slice(self.first_line(span));
        match line.char_indices().nth(40) {
            None => format!("`{line}`"),
            Some(_) => format!("`{}…`", line.chars().take(39).collect::<String>()),
        }
    }

    /// A model of which only the name is known.
    fn unread_model(&self, name: Ident) -> Model {
        let body = self.missing_body(name.span.after());
        Model { name, params: Vec::new(), inputs: Vec::new(), shared: Vec::new(), body, outputs: Vec::new() }
    }

    /// A body that was reported, so that nothing more is said of it.
    fn missing_body(&self, span: Span) -> Body {
        Body { statements: vec![missing(span)], span }
    }

    /// A list, map or scalar nested deeper than the limit begins here.
    fn too_deep(&self, at: usize) -> Diagnostic {
        let limit = limits::NESTING;
        Diagnostic::new(
            Code::N0108,
            format!("lists and mappings are nested more than {limit} deep"),
            self.character(at),
            format!("level {} begins here", limit + 1),
        )
    }
}

/// A statement that was reported.
fn missing(span: Span) -> Statement {
    Statement { kind: StatementKind::Missing, name: None, shape: None, head: span, span }
}
