//! What the compiler says: one value, many printers.
//!
//! A [`Diagnostic`] is built where a rule is broken and never printed there. The printers are [`render::human`],
//! [`render::short`] and [`render::json`]; the macro turns the same value into tokens.

pub mod codes;
mod findings;
pub mod render;
mod suggest;

pub use codes::Code;
pub use findings::Findings;
pub use suggest::{did_you_mean, nearest};

use crate::source::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The spec cannot be built.
    Error,
    /// It can, and is likely not what was meant.
    Warning,
}

/// A place and what is said of it. The first label of a diagnostic is its primary one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What; may be empty for a primary label whose title says all.
    pub text: String,
}

/// What would mend it, in the spelling that the user writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What to do, an imperative in lower case.
    pub title: String,
    /// The changes; an empty span is an insertion.
    pub edits: Vec<Edit>,
}

/// One replacement of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub text: String,
}

/// One step of the way from the model to the place that is blamed, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// ``in `ResBlock(n = 32)` ``
    pub text: String,
    /// Where that block is used, or that repeat stands.
    pub used_at: Span,
    /// Whether something is used there; a repeat just stands there.
    pub is_use: bool,
    /// How often, when in a `repeat`.
    pub times: u64,
}

impl Frame {
    /// What is told of the parts `around` a place, outermost first: innermost first, without what is blamed itself. A repeat
    /// around a use is told with it: "used at line 20, repeated 10 times".
    pub fn told(around: &[Frame], blamed: Span) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::new();
        for frame in around {
            match frames.last_mut() {
                Some(last) if !last.is_use && last.times > 1 && frame.is_use => {
                    *last = Frame { times: last.times, ..frame.clone() };
                }
                _ => frames.push(frame.clone()),
            }
        }
        frames.retain(|frame| frame.used_at != blamed);
        frames.reverse();
        frames
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its code; `netc explain` has a page on each.
    pub code: Code,
    /// One line, lower case, no full stop.
    pub title: String,
    /// Places; the first is the primary one.
    pub labels: Vec<Label>,
    /// Arithmetic, parameter values, what PyTorch would do.
    pub notes: Vec<String>,
    /// At most one.
    pub fix: Option<Fix>,
    /// Through which blocks and repeats, innermost first.
    pub trace: Vec<Frame>,
}

impl Diagnostic {
    /// A finding blamed on `span`, with `label` under it. The title is a line, whatever a path in it has.
    pub fn new(code: Code, title: impl Into<String>, span: Span, label: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            title: title.into().replace(['\n', '\r'], " "),
            labels: vec![Label { span, text: label.into() }],
            notes: Vec::new(),
            fix: None,
            trace: Vec::new(),
        }
    }

    /// A finding blamed on a word: the name that was likely `meant`, as its label and its fix, or else a label.
    pub fn meant(
        code: Code,
        title: impl Into<String>,
        word: Span,
        meant: Option<&str>,
        otherwise: impl Into<String>,
    ) -> Diagnostic {
        match meant {
            Some(meant) => Diagnostic::new(code, title, word, format!("did you mean `{meant}`?")).fix(
                "write the name so",
                word,
                meant,
            ),
            None => Diagnostic::new(code, title, word, otherwise),
        }
    }

    /// Adds a note that is of use only where there is no fix.
    pub fn note_without_fix(self, text: impl FnOnce() -> String) -> Diagnostic {
        if self.fix.is_none() { self.note(text()) } else { self }
    }

    /// Adds a secondary label.
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds a note.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Adds several notes.
    pub fn notes(mut self, texts: impl IntoIterator<Item = String>) -> Diagnostic {
        self.notes.extend(texts);
        self
    }

    /// Sets the fix: replace `span` by `text`.
    pub fn fix(mut self, title: impl Into<String>, span: Span, text: impl Into<String>) -> Diagnostic {
        self.fix = Some(Fix { title: title.into(), edits: vec![Edit { span, text: text.into() }] });
        self
    }

    /// Sets the fix when there is one.
    pub fn maybe_fix(mut self, fix: Option<Fix>) -> Diagnostic {
        self.fix = fix.or(self.fix);
        self
    }

    /// The place that is blamed.
    pub fn primary(&self) -> Span {
        self.labels[0].span
    }

    /// Error or warning, as the code says.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_tells_a_repeat_with_its_use_and_leaves_out_what_is_blamed() {
        let frame = |text: &str, start: u32, is_use, times| Frame {
            text: text.to_owned(),
            used_at: Span { start, end: start + 1, ..Span::default() },
            is_use,
            times,
        };
        let around = [
            frame("outer", 0, false, 4),
            frame("Block", 1, true, 1),
            frame("inner", 2, false, 3),
            frame("iteration", 3, false, 1),
            frame("shared", 4, true, 1),
        ];
        let told = Frame::told(&around, Span { start: 4, end: 5, ..Span::default() });
        let expected = [frame("iteration", 3, false, 1), frame("inner", 2, false, 3), frame("Block", 1, true, 4)];
        assert_eq!(told, expected);
    }
}
