//! The first walk: is this YAML, and no more of YAML than a spec uses?
//!
//! Behind it, when [`Survey::is_sound`]: one document, no deeper and no larger than the limits, of lists, maps, plain and
//! quoted scalars only. It is a loop over the parser's events, so no text can exhaust the stack.

use std::collections::HashMap;

use serde_yaml::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError};

use super::Page;
use crate::ast::Ident;
use crate::diag::{Code, Diagnostic};
use crate::limits;
use crate::ops::thousands;
use crate::source::Span;

/// What the first walk found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Nothing was reported, so that the text can be given to serde.
    pub(super) is_sound: bool,
    /// Where the lists and maps in brackets end, by where they begin.
    pub(super) flow_ends: HashMap<usize, usize>,
    /// The model's name, for a text that is not sound: a macro needs it even then.
    pub(super) model_name: Option<Ident>,
}

/// A list or map that has not ended yet.
struct Open {
    start: usize,
    is_map: bool,
    is_flow: bool,
    children: usize,
}

/// Walks over the events of the whole text and reports what a spec may not hold.
pub(super) fn survey(page: &mut Page<'_>) -> Survey {
    let before = page.diagnostics.len();
    let mut survey = Survey::default();
    let mut open: Vec<Open> = Vec::new();
    let (mut documents, mut values, mut model_is_next) = (0, 0, false);
    // Whether what an anchor names is a scalar, by the anchor's number; an anchor's event follows that of its node.
    let (mut scalars, mut is_scalar) = (HashMap::new(), false);
    let mut last = page.span(0, 0);
    for event in Parser::new_from_str_with_options(page.text, options()) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let problem = not_yaml(page, &error, last, &open);
                page.report(problem);
                break;
            }
        };
        let range = span.byte_range().unwrap_or_default();
        if range.end > last.end as usize {
            last = page.span(range.start, range.end);
        }
        if let Some(tag) = span.tag_span().and_then(|tag| tag.byte_range()) {
            let tag = page.span(tag.start, tag.end);
            let problem = foreign(page, tag, "a tag", "what a value is follows from where it stands");
            page.report(problem);
        }
        let is_value = matches!(
            event,
            Event::Scalar(..)
                | Event::Alias(..)
                | Event::UnresolvedAlias(..)
                | Event::SequenceStart(..)
                | Event::MappingStart(..)
        );
        if is_value {
            is_scalar = matches!(event, Event::Scalar(..));
            values += 1;
            if let Some(parent) = open.last_mut() {
                parent.children += 1;
            }
            if values > limits::WORDS {
                page.report(too_many(page.character(range.start)));
                break;
            }
        }
        // The odd children of a map are its keys.
        let is_key = open.last().is_some_and(|parent| parent.is_map && parent.children % 2 == 1);
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    page.report(second_document(page.character(range.start)));
                    break;
                }
            }
            Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) => {
                if open.len() == limits::NESTING {
                    let problem = page.too_deep(range.start);
                    page.report(problem);
                    break;
                }
                // A map of one entry in a list, `[a: b]`, has no brackets of its own.
                let is_flow = style == granit_parser::StructureStyle::Flow && !range.is_empty();
                let is_map = matches!(event, Event::MappingStart(..));
                open.push(Open { start: range.start, is_map, is_flow, children: 0 });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(ended) = open.pop().filter(|ended| ended.is_flow) {
                    survey.flow_ends.insert(ended.start, range.end);
                }
            }
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                let text = page.first_line(page.span(range.start, range.end));
                page.report(block_of_text(text));
            }
            Event::Scalar(text, style, ..) => {
                if open.len() == 1 && is_key {
                    model_is_next = text == "model";
                } else if open.len() == 1 && std::mem::take(&mut model_is_next) && style == ScalarStyle::Plain {
                    let span = page.span(range.start, range.end);
                    survey.model_name = super::page::is_name(&text).then(|| Ident { text: text.into_owned(), span });
                }
            }
            Event::Anchor(..) | Event::Alias(..) | Event::UnresolvedAlias(..) => {
                let (what, names_scalar) = match event {
                    Event::Anchor(id, _) => {
                        scalars.insert(id, is_scalar);
                        ("an anchor", is_scalar)
                    }
                    Event::Alias(id) => ("an alias", scalars.get(&id).copied().unwrap_or_default()),
                    _ => ("an alias", false),
                };
                let instead = match names_scalar {
                    true => "a parameter does that job: write it once under `params`",
                    false => "a block does that job: write it once under `blocks`",
                };
                let span = page.span(range.start, range.end);
                let problem = foreign(page, span, what, instead);
                page.report(problem);
            }
            _ => {}
        }
    }
    survey.is_sound = page.diagnostics.len() == before;
    survey
}

fn options() -> granit_parser::Options {
    granit_parser::options! {
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: limits::NESTING,
        block_nesting_limit: limits::NESTING,
    }
}

fn too_many(value: Span) -> Diagnostic {
    let limit = thousands(limits::WORDS as u64);
    let title = format!("a spec in YAML has at most {limit} words, lists and mappings");
    Diagnostic::new(Code::N0108, title, value, "this is one more")
}

fn second_document(start: Span) -> Diagnostic {
    Diagnostic::new(Code::N0103, "a second document begins here", start, "a spec is one document")
        .note("a file holds one model; put another one into a file of its own")
}

fn block_of_text(text: Span) -> Diagnostic {
    let title = "a block of text (`|` or `>`) has no use in a spec";
    Diagnostic::new(Code::N0112, title, text, "this is read as text, not as layers or values")
}

/// A feature of YAML that a spec does not use.
pub(super) fn foreign(page: &Page<'_>, span: Span, what: &str, instead: &str) -> Diagnostic {
    let title = format!("{} is {what}, which a spec does not use", page.quoted(span));
    Diagnostic::new(Code::N0104, title, span, "").note(instead)
}

/// Says in our words why the parser stopped. What it read last is `last`, and `open` is what has not ended yet.
fn not_yaml(page: &Page<'_>, error: &ScanError, last: Span, open: &[Open]) -> Diagnostic {
    use ErrorKind::*;
    let at = error.marker().byte_offset().unwrap_or(page.text.len());
    let place = page.character(at);
    let new = |code, title: &str, label: &str| Diagnostic::new(code, title, place, label);
    let bracket = open.iter().rfind(|open| open.is_flow);
    let indentation = "this does not line up with anything above it";
    let problem = match error.kind() {
        RecursionLimitExceeded => return page.too_deep(at),
        UnclosedFlowCollection { open } => {
            return new(Code::N0102, &format!("a `{open}` is never closed"), "opened here");
        }
        MismatchedFlowCollectionEnd { open, close } => {
            // The parser tells where the bracket was opened.
            let from = last.end as usize;
            let closing = page.text[from..].find(*close).map_or(place, |closing| page.character(from + closing));
            let partner = if *open == '[' { ']' } else { '}' };
            let title = format!("a `{open}` is closed by `{close}`");
            return Diagnostic::new(Code::N0102, title, closing, format!("expected `{partner}`"))
                .label(place, "opened here");
        }
        MisplacedFlowCollectionEnd => {
            return new(Code::N0102, &format!("a {} that closes nothing", page.quoted(place)), "nothing is open here");
        }
        DirectiveDisallowed => {
            let line = page.text[place.start as usize..].lines().next().unwrap_or_default();
            let line = page.span(at, at + line.trim_end().len());
            return foreign(page, line, "a directive", "a spec begins with `model: Name`");
        }
        UndeclaredTagHandle
        | MissingTagUri
        | UnclosedVerbatimTag
        | InvalidTagTerminator
        | ExpectedTagBang
        | InvalidTagEscape
        | InvalidTagUtf8
        | InvalidTagUtf8LeadingByte
        | InvalidTagUtf8TrailingByte => {
            return foreign(page, place, "a tag", "what a value is follows from where it stands");
        }
        MissingAnchorOrAliasName => {
            let name = if page.slice(place) == "*" { "an alias" } else { "an anchor" };
            return foreign(page, place, name, "a block does that job: write it once under `blocks`");
        }
        UnclosedQuotedScalar | InvalidQuotedScalarIndent | DocumentIndicatorInQuotedScalar => {
            // The parser tells where it gave up, often many lines on.
            let from = last.end as usize;
            let quote = page.text[from..].find(['"', '\'']).map_or(place, |quote| page.character(from + quote));
            Diagnostic::new(Code::N0103, "a quote is never closed", quote, "the text begins here")
        }
        InvalidTrailingSingleQuotedScalar | InvalidTrailingDoubleQuotedScalar => {
            new(Code::N0103, "a quoted text is followed by something else", "nothing may follow the closing quote")
        }
        UnknownQuotedScalarEscape
        | InvalidQuotedScalarHexEscape
        | InvalidLowSurrogateHexEscape
        | InvalidLowSurrogate
        | MissingLowSurrogate
        | UnpairedLowSurrogate
        | InvalidUnicodeEscape => new(Code::N0103, "a `\\` in quotes begins nothing that YAML knows", "in this text")
            .note("in single quotes `\\` is a character like any other"),
        TabNotAllowed | TabInBlockIndentation | TabInIndentation | TabInPlainScalar | TabAtBlockScalarStart => {
            let line = page.text[..place.start as usize].rfind('\n').map_or(0, |newline| newline + 1);
            let tab = page.text[line..place.end as usize].rfind('\t').map_or(at, |tab| line + tab);
            let place = page.character(tab);
            Diagnostic::new(Code::N0103, "a tab where YAML allows only spaces", place, "indent with spaces")
        }
        SimpleKeyExpected | InvalidSimpleKey => {
            new(Code::N0103, "a `:` is missing", "a key is wanted here: `key: value`")
        }
        ExpectedBlockMappingKey => new(Code::N0103, "a key is wanted here", indentation),
        ExpectedBlockSequenceEntry => match open.last().map(|list| (column(page, at), column(page, list.start))) {
            Some((here, before)) if here != before => {
                let label = format!("indented by {here}, the items before it by {before}");
                new(Code::N0103, "this does not line up with the items before it", &label)
            }
            _ => new(Code::N0103, "an item is wanted here", "begin it with `- `, under the others"),
        },
        InvalidIndentation | InvalidFlowScalarIndent => new(Code::N0103, "wrong indentation", indentation),
        BlockSequenceEntryNotAllowed | BlockEntryInFlowCollection | PlainScalarStartsWithDashFlowIndicator => {
            new(Code::N0103, "a list item cannot begin here", "begin a list with `- ` on a line of its own")
        }
        MappingValueNotAllowed if page.slice(last).contains('\n') => continued(page, last),
        MappingValueNotAllowed | InvalidColonPlacement => {
            new(Code::N0103, "a `:` cannot stand here", "what is before it is not a key")
                .note("a key is the first word of its line, or stands in `{ }`")
        }
        ExpectedFlowSequenceSeparator => new(Code::N0103, "a `,` or `]` is wanted here", ""),
        ExpectedFlowMappingSeparator => new(Code::N0103, "a `,` or `}` is wanted here", ""),
        CommentNotSeparated => new(Code::N0103, "a comment needs a space before its `#`", ""),
        CommentInterceptedScalar => new(Code::N0103, "a comment in the middle of a value", "the value goes on here"),
        InvalidDocumentEnd => new(Code::N0103, "a spec ends at `...`", "nothing may follow"),
        UnexpectedCharacter { character } if character.is_control() => {
            let title = format!("the control character U+{:04X} cannot stand in a spec", *character as u32);
            new(Code::N0103, &title, "")
        }
        UnexpectedCharacter { character } => {
            new(Code::N0103, &format!("`{character}` cannot begin a word"), "unexpected here")
        }
        _ => new(Code::N0103, "this is not valid YAML", "it cannot be read from here on"),
    };
    // An open bracket is the likely cause, wherever the parser gave up.
    match bracket {
        Some(bracket) => {
            let bracket = page.character(bracket.start);
            let text = format!("{} is still open", page.quoted(bracket));
            problem.label(bracket, text)
        }
        None => problem,
    }
}

/// Characters before a byte on its line.
fn column(page: &Page<'_>, at: usize) -> usize {
    let before = &page.text[..page.text.floor_char_boundary(at)];
    before.chars().rev().take_while(|&c| c != '\n').count()
}

/// A `:` in a plain scalar that goes on over lines: what looks like a key of its own is read as more of the text above.
fn continued(page: &Page<'_>, text: Span) -> Diagnostic {
    let first = page.first_line(text);
    let title = format!("the line behind {} is read as more of it", page.quoted(first));
    let problem = Diagnostic::new(Code::N0103, title, first, "the value begins here");
    let before = page.text[..first.start as usize].trim_end_matches(' ');
    if before.ends_with('-') && super::page::is_name(page.slice(first)) {
        problem.note("a layer with keys beside it ends in `:`").fix("make it a key", first.after(), ":")
    } else {
        problem.note("lines that stand side by side begin in the same column")
    }
}
