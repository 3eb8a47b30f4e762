//! Diagnostics as tokens: an error is a `compile_error!`, a warning the use of a deprecated constant, each at the place that is
//! blamed.

use netspec_compiler::diag::render::{self, Style};
use netspec_compiler::diag::{Diagnostic, Fix, Severity};
use netspec_compiler::read::tokens::TokenText;
use netspec_compiler::source::{FileId, Sources, Span as SourceSpan};
use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

/// The first and the last token of a place.
pub(crate) type Place = (Span, Span);

/// `compile_error!` with a message, at a place: rustc underlines from the first token of the invocation to its last.
pub(crate) fn compile_error(message: &str, (first, last): Place) -> TokenStream {
    let mut message = Group::new(Delimiter::Brace, TokenTree::from(Literal::string(message)).into());
    message.set_span(last);
    quote_spanned!(first=> ::core::compile_error! #message)
}

/// One finding, of either severity.
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) tokens: TokenStream,
}

impl Finding {
    pub(crate) fn new(diagnostic: &Diagnostic, message: &str, place: Place) -> Finding {
        let severity = diagnostic.severity();
        let tokens = match severity {
            Severity::Error => compile_error(message, place),
            Severity::Warning => warning(diagnostic.code.name(), message, place.0),
        };
        Finding { severity, tokens }
    }
}

/// Rustc's only warning that stable macros can cause, with words of their own and at a token of the user's: the use of
/// something deprecated.
fn warning(code: &str, message: &str, place: Span) -> TokenStream {
    let constant = Ident::new(code, Span::call_site());
    let at_place = Ident::new(code, place);
    quote! {
        const _: () = {
            #[deprecated(note = #message)]
            const #constant: () = ();
            #at_place
        };
    }
}

/// Where in the user's own page a finding is shown: its place, or that of the use which leads to a place in another file.
pub(crate) fn place_in_page(diagnostic: &Diagnostic) -> Option<SourceSpan> {
    let places = std::iter::once(diagnostic.primary());
    let uses = diagnostic.trace.iter().map(|frame| frame.used_at);
    let labels = diagnostic.labels.iter().map(|label| label.span);
    places.chain(uses).chain(labels).find(|span| span.file == FileId::default())
}

/// The message at a place in the user's own page. Rustc shows the place, so the words of the other places say their lines.
pub(crate) fn message_in_page(diagnostic: &Diagnostic, sources: &Sources, page: &TokenText) -> String {
    if diagnostic.primary().file != FileId::default() {
        return message_of_file(diagnostic, sources);
    }
    let mut labels: Vec<_> = diagnostic.labels.iter().filter(|label| !label.text.is_empty()).collect();
    labels.sort_by_key(|label| label.span);
    let only_one = labels.len() == 1 && labels[0].span == diagnostic.primary();
    let words = labels.iter().map(|label| match page.spans(label.span.range()) {
        _ if label.span.file != FileId::default() => {
            let (path, line) = (&sources.file(label.span.file).path, sources.line(label.span));
            format!("note: {path}:{line}: {}", label.text)
        }
        Some((first, _)) if !only_one => format!("note: line {}: {}", first.start().line, label.text),
        _ => format!("note: {}", label.text),
    });
    // "did you mean `view`?" is all the help there is to give.
    let is_told = |fix: &&Fix| labels.iter().any(|label| is_told(fix, &label.text));
    let help = diagnostic.fix.as_ref().filter(|fix| !is_told(fix)).map(help);
    lines(diagnostic, words.chain(notes(diagnostic, sources)).chain(help))
}

/// The message at the path of a file: the finding as a terminal shows it, under its first line.
pub(crate) fn message_of_file(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let file = sources.file(diagnostic.primary().file);
    if file.text.is_empty() {
        // There is nothing to show, and rustc shows the path.
        return lines(diagnostic, notes(diagnostic, sources));
    }
    let shown = render::human(diagnostic, sources, Style::Plain);
    let snippet = shown.split_once('\n').map_or("", |(_, snippet)| snippet);
    format!("{}\n{snippet}", title(diagnostic)).trim_end().to_owned()
}

fn lines(diagnostic: &Diagnostic, below: impl Iterator<Item = String>) -> String {
    std::iter::once(title(diagnostic)).chain(below).collect::<Vec<_>>().join("\n")
}

fn notes(diagnostic: &Diagnostic, sources: &Sources) -> impl Iterator<Item = String> {
    render::notes(diagnostic, sources).into_iter().map(|note| format!("note: {note}"))
}

fn title(diagnostic: &Diagnostic) -> String {
    format!("{} [{}]", diagnostic.title, diagnostic.code)
}

/// Whether the words say what the fix would write.
fn is_told(fix: &Fix, words: &str) -> bool {
    fix.edits.iter().all(|edit| words.contains(&format!("`{}`", edit.text.trim())))
}

/// ``help: flatten the map first: `view(-1, 512);` ``
fn help(fix: &Fix) -> String {
    let mut help = format!("help: {}", fix.title);
    for (index, edit) in fix.edits.iter().enumerate() {
        let text = edit.text.trim();
        if text.is_empty() || fix.title.contains(&format!("`{text}`")) {
            continue;
        }
        help += if index == 0 { ": " } else { ", " };
        help += &format!("`{text}`");
    }
    help
}
