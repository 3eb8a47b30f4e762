//! The printers of a [`Diagnostic`]: for a terminal, for one line, for a machine.
//!
//! They share their words: a title, a label or a note is the same text in each. No printer panics, whatever the spans are,
//! and what is printed stays small when a line of the source is not.

mod excerpt;
mod json;
#[cfg(test)]
mod tests;

pub use json::json;

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet, normalize_untrusted_str,
};

use super::{Diagnostic, Edit, Fix, Severity};
use crate::source::{FileId, Sources, Span};
use excerpt::{Excerpt, clamp, visible};

/// Whether the text is for a terminal that understands colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// No escape codes; rustc prints them as `␛`.
    Plain,
    /// Rustc's colours.
    Colored,
}

/// Columns of a note: with the gutter, its lines stay under 95.
const NOTE_WIDTH: usize = 80;
/// Characters of a title or label, which name what the user wrote, however long that is.
const TEXT_LIMIT: usize = 400;
/// Lines that a fix may touch to be shown as a diff; a larger one is told by its title.
const DIFF_LINES: usize = 8;

/// As rustc would print it, several lines without the last line break.
pub fn human(diagnostic: &Diagnostic, sources: &Sources, style: Style) -> String {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut headers = Headers { sources, places: Vec::new() };
    let title = level.primary_title(one_line(&diagnostic.title)).id(diagnostic.code.name());
    let mut finding = Group::with_title(title);
    for file in files(diagnostic.labels.iter().map(|label| label.span)) {
        let labels = || diagnostic.labels.iter().enumerate().filter(move |(_, label)| label.span.file == file);
        let Some((_, first)) = labels().next() else { continue };
        let text = &sources.file(file).text;
        if text.is_empty() {
            finding = finding.element(Origin::path(one_line(&sources.file(file).path)));
            continue;
        }
        let excerpt = Excerpt::new(text, labels().map(|(_, label)| visible(text, label.span.range())));
        let annotations = labels().map(|(index, label)| {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let label_text = (!label.text.is_empty()).then(|| one_line(&label.text));
            let annotation: Annotation<'_> = kind.span(excerpt.map(visible(text, label.span.range())));
            annotation.label(label_text)
        });
        let annotations: Vec<_> = annotations.collect();
        finding = finding.element(
            Snippet::source(excerpt.text)
                .line_start(excerpt.first_line)
                .path(headers.mark(first.span))
                .annotations(annotations),
        );
    }
    for note in notes(diagnostic, sources) {
        finding = finding.element(Level::NOTE.message(wrap(&note)));
    }
    let mut report = vec![finding];
    report.extend(diagnostic.fix.as_ref().map(|fix| help(fix, &mut headers)));
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Colored => Renderer::styled(),
    };
    // Long lines are cut before they get here, so the renderer has nothing to trim.
    headers.put(&renderer.term_width(usize::MAX / 4).render(&report))
}

/// `path:line:column: error[N0301]: title`.
pub fn short(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let (title, severity) = (one_line(&diagnostic.title), word(diagnostic.severity()));
    format!("{}: {severity}[{}]: {title}", place(diagnostic.primary(), sources), diagnostic.code)
}

/// The notes, then a line for each step of the trace, innermost first:
/// ``in `ResBlock(n = 32)`, used at line 20, repeated 10 times``.
pub fn notes(diagnostic: &Diagnostic, sources: &Sources) -> Vec<String> {
    let home = diagnostic.primary().file;
    let trace = diagnostic.trace.iter().map(|frame| {
        let at = if frame.is_use { "used at" } else { "at" };
        let mut line = format!("{}, {at} line {}", frame.text.trim_end(), sources.line(frame.used_at));
        if frame.used_at.file != home {
            line += &format!(" of {}", sources.file(frame.used_at.file).path);
        }
        if frame.times > 1 {
            line += &format!(", repeated {} times", frame.times);
        }
        line
    });
    diagnostic.notes.iter().cloned().chain(trace).collect()
}

/// How many there are: `2 errors, 1 warning`.
pub fn tally(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity() == Severity::Error).count();
    let count = |number: usize, word: &str| {
        (number > 0).then(|| format!("{number} {word}{}", if number == 1 { "" } else { "s" }))
    };
    let counts = [count(errors, "error"), count(diagnostics.len() - errors, "warning")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    if counts.is_empty() { "no errors".to_owned() } else { counts.join(", ") }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `path:line:column` of a span's beginning.
fn place(span: Span, sources: &Sources) -> String {
    let file = sources.file(span.file);
    let (line, column) = file.line_column(span.start as usize);
    format!("{}:{line}:{column}", one_line(&file.path))
}

/// The files of spans, each once, in order of appearance.
fn files(spans: impl Iterator<Item = Span>) -> Vec<FileId> {
    let mut files = Vec::new();
    for span in spans {
        if !files.contains(&span.file) {
            files.push(span.file);
        }
    }
    files
}

/// A fix as `help:`, with a diff of each file it changes.
fn help<'a>(fix: &Fix, headers: &mut Headers<'_>) -> Group<'a> {
    let mut group = Group::with_title(Level::HELP.secondary_title(one_line(&fix.title)));
    for file in files(fix.edits.iter().map(|edit| edit.span)) {
        let text = &headers.sources.file(file).text;
        let mut edits: Vec<Edit> = fix.edits.iter().filter(|edit| edit.span.file == file).cloned().collect();
        for edit in &mut edits {
            edit.span = Span::new(file, clamp(text, edit.span.range()));
        }
        if let [edit] = &mut edits[..] {
            whole_lines(edit, text);
        }
        edits.sort_by_key(|edit| edit.span);
        let disjoint = edits.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start);
        let touched = edits.iter().map(|edit| text[edit.span.range()].matches('\n').count() + 1).sum::<usize>();
        let long = edits.iter().any(|edit| edit.text.len() > TEXT_LIMIT);
        if !disjoint || touched > DIFF_LINES || long {
            continue;
        }
        let excerpt = Excerpt::new(text, edits.iter().map(|edit| edit.span.range()));
        let patches = edits.iter().map(|edit| Patch::new(excerpt.map(edit.span.range()), printable(&edit.text)));
        let patches: Vec<_> = patches.collect();
        group = group.element(
            Snippet::source(excerpt.text)
                .line_start(excerpt.first_line)
                .path(headers.mark(edits[0].span))
                .patches(patches),
        );
    }
    group
}

/// Writes an insertion as one of whole lines where it is one, so that the diff shows nothing but the new lines.
///
/// `view: 2⏎  - ` put between `  - ` and `relu` is the line `  - view: 2⏎` put before both; `⏎relu;` put at the end of a line is
/// the line `relu;⏎` put before the next.
fn whole_lines(edit: &mut Edit, text: &str) {
    let at = edit.span.range();
    if !at.is_empty() {
        return;
    }
    let line_start = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let before = &text[line_start..at.start];
    let break_after = ["\n", "\r\n"].into_iter().find(|line_break| text[at.end..].starts_with(line_break));
    if let Some(lines) = edit.text.strip_suffix(before).filter(|lines| lines.ends_with('\n')) {
        edit.text = format!("{before}{lines}");
        edit.span = Span::new(edit.span.file, line_start..line_start);
    } else if let (Some(lines), Some(line_break)) = (edit.text.strip_prefix('\n'), break_after) {
        edit.text = format!("{lines}\n");
        let next_line = at.end + line_break.len();
        edit.span = Span::new(edit.span.file, next_line..next_line);
    }
}

/// The `path:line:column` of each snippet. The renderer would count them in the text it is given, which may be cut; so it gets a
/// mark for a path, and the place is put in afterwards.
struct Headers<'a> {
    sources: &'a Sources,
    places: Vec<Span>,
}

/// Characters that Unicode keeps for internal use; [`printable`] lets none through from a text.
const MARKS: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

impl Headers<'_> {
    /// The mark of a span's file, the same for every snippet of it.
    fn mark(&mut self, span: Span) -> String {
        let known = self.places.iter().position(|place| place.file == span.file);
        let index = known.unwrap_or_else(|| {
            self.places.push(span);
            self.places.len() - 1
        });
        MARKS.clone().nth(index).unwrap_or(*MARKS.end()).to_string()
    }

    /// Replaces each mark, with the numbers behind it, by its place.
    fn put(&self, rendered: &str) -> String {
        let mut out = String::with_capacity(rendered.len());
        let mut rest = rendered;
        while let Some(at) = rest.find(|char| MARKS.contains(&char)) {
            let mark = rest[at..].chars().next().unwrap_or(*MARKS.start());
            out += &rest[..at];
            let index = MARKS.clone().position(|char| char == mark).unwrap_or(0);
            out += &self.places.get(index).map(|&span| place(span, self.sources)).unwrap_or_default();
            rest = rest[at + mark.len_utf8()..].trim_start_matches(|char: char| char == ':' || char.is_ascii_digit());
        }
        out + rest
    }
}

/// The text without the characters that would command a terminal or be taken for a mark, each replaced by one of the same length
/// in bytes, so that spans stay. The renderer replaces the other control characters.
fn printable(text: &str) -> String {
    let replace = |char| match char {
        '\u{80}'..='\u{9f}' => '·',
        char if MARKS.contains(&char) => '\u{fffd}',
        char => char,
    };
    text.chars().map(replace).collect()
}

/// The text on one line, control characters made visible, its end cut when it is long beyond reading.
fn one_line(text: &str) -> String {
    let (text, end) = match text.char_indices().nth(TEXT_LIMIT) {
        Some((end, _)) => (&text[..end], "..."),
        None => (text, ""),
    };
    normalize_untrusted_str(&printable(text).replace(['\n', '\r'], " ")) + end
}

/// The text broken between words into lines of [`NOTE_WIDTH`].
fn wrap(text: &str) -> String {
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let mut width = 0;
        for (index, word) in one_line(line).split(' ').enumerate() {
            let length = word.chars().count();
            if index > 0 && width + 1 + length > NOTE_WIDTH {
                out.push('\n');
                width = 0;
            } else if index > 0 {
                out.push(' ');
                width += 1;
            }
            out += word;
            width += length;
        }
    }
    out
}
