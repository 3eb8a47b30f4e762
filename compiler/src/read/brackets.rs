//! The one look at DSL text that comes before the grammar: brackets are balanced and not nested too deep, there are not too
//! many statements and words, and no name is too long. Iterative, so that nothing recurses on hostile text.

use std::ops::Range;

use crate::diag::{Code, Diagnostic};
use crate::limits;
use crate::ops::thousands;
use crate::source::Span;

/// How much of a text's size is limited here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Limits {
    /// Nesting only: a value.
    Nesting,
    /// Nesting and the number of statements: a whole file.
    Statements,
}

/// Checks `text`, which stands at `span`. Comments and strings count for nothing.
pub(super) fn check(text: &str, span: Span, limits: Limits) -> Result<(), Box<Diagnostic>> {
    let place = |at: usize| Span { start: span.start + at as u32, end: span.start + at as u32 + 1, ..span };
    let bytes = text.as_bytes();
    let mut open: Vec<usize> = Vec::new();
    let (mut statements, mut words) = (0, 0);
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' => match string_length(&bytes[at..]) {
                Some(length) => {
                    at += length;
                    continue;
                }
                None => {
                    return Err(Box::new(Diagnostic::new(
                        Code::N0102,
                        "a `\"` is never closed",
                        place(at),
                        "the text begins here",
                    )));
                }
            },
            first if is_of_word(first) => {
                let length = bytes[at..].iter().position(|&byte| !is_of_word(byte)).unwrap_or(bytes.len() - at);
                if length > limits::NAME && !first.is_ascii_digit() {
                    let title = format!("a name of {} characters", thousands(length as u64));
                    let label = format!("at most {}", limits::NAME);
                    let word = Span { end: span.start + (at + length) as u32, ..place(at) };
                    return Err(Box::new(Diagnostic::new(Code::N0108, title, word, label)));
                }
                words += 1;
                if words > limits::WORDS {
                    let title = format!("more than {} words and numbers", thousands(limits::WORDS as u64));
                    return Err(Box::new(Diagnostic::new(Code::N0108, title, place(at), "one too many")));
                }
                at += length;
                continue;
            }
            b'(' | b'[' | b'{' => {
                open.push(at);
                statements += usize::from(bytes[at] == b'{');
                if open.len() > limits::NESTING {
                    return Err(Box::new(too_deep(place(at))));
                }
            }
            closing @ (b')' | b']' | b'}') => match open.pop() {
                None => {
                    let title = format!("a `{}` that closes nothing", closing as char);
                    return Err(Box::new(Diagnostic::new(Code::N0102, title, place(at), "nothing is open here")));
                }
                Some(opened) if !matches!((bytes[opened], closing), (b'(', b')') | (b'[', b']') | (b'{', b'}')) => {
                    let title = format!("a `{}` is closed by `{}`", bytes[opened] as char, closing as char);
                    let label = format!("expected `{}`", partner(bytes[opened]));
                    return Err(Box::new(
                        Diagnostic::new(Code::N0102, title, place(at), label)
                            .label(place(opened), "opened here")
                            .notes(floor_division(&text[opened..])),
                    ));
                }
                Some(_) => {}
            },
            b';' => statements += 1,
            _ => {}
        }
        if limits == Limits::Statements && statements > limits::STATEMENTS {
            let title = format!("more than {} statements", thousands(limits::STATEMENTS as u64));
            return Err(Box::new(
                Diagnostic::new(Code::N0108, title, place(at), "one too many")
                    .note("`repeat` writes a statement once for all its iterations"),
            ));
        }
        at += 1;
    }
    match open.pop() {
        None => Ok(()),
        Some(opened) => {
            let title = format!("a `{}` is never closed", bytes[opened] as char);
            let label = format!("its `{}` is missing", partner(bytes[opened]));
            let problem = Diagnostic::new(Code::N0102, title, place(opened), label);
            Err(Box::new(problem.notes(floor_division(&text[opened..]))))
        }
    }
}

/// When a bracket that is not closed has a `//` behind it on its line: what that does.
fn floor_division(opened: &str) -> Option<String> {
    let line = opened.lines().next().unwrap_or_default();
    let is_value = line.starts_with(['(', '[']) && line.contains("//");
    is_value.then(|| "`//` begins a comment, up to the end of its line; `/` divides, without remainder".to_owned())
}

/// The error for brackets or collections inside each other, more than the limit.
pub(super) fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::new(Code::N0108, format!("nested more than {} deep", limits::NESTING), span, "one level too many")
}

/// White space and comments of a text that [`check`] found right, each run of them one range.
pub(super) fn blanks(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut blanks: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest {
            [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
            [b' ' | b'\t' | b'\r' | b'\n', ..] => 1,
            [b'"', ..] => {
                at += string_length(rest).unwrap_or(rest.len());
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        match blanks.last_mut().filter(|last| last.end == at) {
            Some(last) => last.end += length,
            None => blanks.push(at..at + length),
        }
        at += length;
    }
    blanks
}

/// Whether a byte can be in a name or number.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes of the string literal that `bytes` begin with, or None when it is not closed.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn partner(open: u8) -> char {
    match open {
        b'(' => ')',
        b'[' => ']',
        _ => '}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_runs_of_white_space_and_comments_outside_of_texts() {
        let blanks = |text: &str| blanks(text).into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>();
        assert_eq!(blanks("a // b\n  c\"// d\" e//"), [" // b\n  ", " ", "//"]);
        assert_eq!(blanks("a/b"), [""; 0]);
    }
}
