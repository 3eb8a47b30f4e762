//! Fixes in the spelling that the user writes.

use crate::diag::{Edit, Fix};
use crate::source::{Sources, Span, Spelling};

/// Builds fixes; knows the texts, to see how they are laid out.
#[derive(Clone, Copy)]
pub struct Fixes<'a> {
    /// The texts.
    pub sources: &'a Sources,
}

impl Fixes<'_> {
    /// Writes a layer before the statement that stands at `statement`, on a line of its own where that is how the text is laid out.
    pub fn insert_before(&self, statement: Span, title: &str, netspec: &str, yaml: &str) -> Option<Fix> {
        let file = self.sources.file(statement.file);
        let before = file.text.get(..statement.start as usize)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let lead = &before[line_start..];
        let indent = &lead[..lead.len() - lead.trim_start().len()];
        let (at, text) = match file.spelling {
            Spelling::Netspec if lead.trim().is_empty() => (line_start, format!("{indent}{netspec};\n")),
            Spelling::Netspec => (before.len(), format!("{netspec}; ")),
            Spelling::Yaml if lead.trim() == "-" => (line_start, format!("{indent}- {yaml}\n")),
            Spelling::Yaml if lead.trim_end().ends_with('-') => {
                let column = lead.trim_end().chars().count() - 1;
                (before.len(), format!("{yaml}\n{}- ", " ".repeat(column)))
            }
            // The item's `-` stands on a line before.
            Spelling::Yaml if lead.trim().is_empty() && before.trim_end().ends_with('-') => return None,
            Spelling::Yaml => (before.len(), format!("{{ {yaml} }}, ")),
        };
        let at = Span::new(statement.file, at..at);
        Some(Fix { title: title.to_owned(), edits: vec![Edit { span: at, text }] })
    }

    /// Writes a value before the first of some values that stand by position.
    pub fn value_before(&self, first: Span, title: &str, value: &str) -> Option<Fix> {
        let file = self.sources.file(first.file);
        let before = file.text.get(..first.start as usize)?;
        let lead = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
        let insert = |text: String| Edit { span: first.before(), text };
        let edit = match (file.spelling, before.trim_end().chars().next_back()) {
            // A value alone is no list in YAML, where an item may also have a line of its own.
            (Spelling::Yaml, Some(':')) => {
                Edit { span: first, text: format!("[{value}, {}]", self.sources.text(first)) }
            }
            (Spelling::Yaml, Some('-')) => {
                let column = lead.trim_end().chars().count().checked_sub(1)?;
                insert(format!("{value}\n{}- ", " ".repeat(column)))
            }
            _ => insert(format!("{value}, ")),
        };
        Some(Fix { title: title.to_owned(), edits: vec![edit] })
    }

    /// The text of a span, its white space made single spaces.
    pub fn words(&self, span: Span) -> String {
        self.sources.text(span).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A list of values, to stand at a span.
    pub fn list(&self, at: Span, values: &[String]) -> String {
        let values = values.join(", ");
        if self.is_yaml(at) { format!("[{values}]") } else { format!("({values})") }
    }

    /// Whether a span's file is YAML.
    pub fn is_yaml(&self, span: Span) -> bool {
        self.sources.file(span.file).spelling == Spelling::Yaml
    }
}
