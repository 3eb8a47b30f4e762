//! The printer for machines.

use serde::Serialize;

use super::super::Diagnostic;
use super::word;
use crate::source::{Sources, Span};

/// One object on one line, without the line break.
///
/// The fields, in this order: `code`, `severity` (`error` or `warning`), `title`, the place of the primary label, `labels`
/// (each a place, `text` and `primary`), `notes`, `fix` (`title` and `edits`, each a place and the `text` to put there; or null)
/// and `trace` (each `text`, `file`, `line` and `times`). A place is `file`, `line`, `column`, `end_line`, `end_column`, counted from
/// 1, columns in characters, the end exclusive; and the bytes `start` and `end`, counted from 0.
pub fn json(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let labels = diagnostic.labels.iter().enumerate().map(|(index, label)| Label {
        place: Place::new(label.span, sources),
        text: &label.text,
        primary: index == 0,
    });
    let fix = diagnostic.fix.as_ref().map(|fix| Fix {
        title: &fix.title,
        edits: fix.edits.iter().map(|edit| Edit { place: Place::new(edit.span, sources), text: &edit.text }).collect(),
    });
    let trace = diagnostic.trace.iter().map(|frame| Frame {
        text: &frame.text,
        file: &sources.file(frame.used_at.file).path,
        line: sources.line(frame.used_at),
        times: frame.times,
    });
    let object = Object {
        code: diagnostic.code.name(),
        severity: word(diagnostic.severity()),
        title: &diagnostic.title,
        place: Place::new(diagnostic.primary(), sources),
        labels: labels.collect(),
        notes: &diagnostic.notes,
        fix,
        trace: trace.collect(),
    };
    // Strings and numbers always serialise.
    serde_json::to_string(&object).unwrap_or_default()
}

#[derive(Serialize)]
struct Object<'a> {
    code: &'a str,
    severity: &'a str,
    title: &'a str,
    #[serde(flatten)]
    place: Place<'a>,
    labels: Vec<Label<'a>>,
    notes: &'a [String],
    fix: Option<Fix<'a>>,
    trace: Vec<Frame<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    start: u32,
    end: u32,
}

impl<'a> Place<'a> {
    fn new(span: Span, sources: &'a Sources) -> Place<'a> {
        let file = sources.file(span.file);
        let (line, column) = file.line_column(span.start as usize);
        let (end_line, end_column) = file.line_column(span.end as usize);
        Place { file: &file.path, line, column, end_line, end_column, start: span.start, end: span.end }
    }
}

#[derive(Serialize)]
struct Label<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    text: &'a str,
    primary: bool,
}

#[derive(Serialize)]
struct Fix<'a> {
    title: &'a str,
    edits: Vec<Edit<'a>>,
}

#[derive(Serialize)]
struct Edit<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    text: &'a str,
}

#[derive(Serialize)]
struct Frame<'a> {
    text: &'a str,
    file: &'a str,
    line: usize,
    times: u64,
}
