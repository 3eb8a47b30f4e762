//! What was found so far.

use std::collections::{BTreeSet, HashMap};

use super::{Code, Diagnostic, Severity};
use crate::limits;
use crate::source::Span;

/// Collects diagnostics: each mistake once, no echo of what could not be read, and no more than a reader can use.
#[derive(Debug, Default)]
pub struct Findings {
    told: Vec<Diagnostic>,
    /// The first in `told` of a code at a place.
    first_at: HashMap<(Code, Span), usize>,
    errors: usize,
    warnings: usize,
    /// Something could not be read. It may hold the name that is missed or never used.
    is_partly_read: bool,
}

impl Findings {
    /// What the reader could not read, and nothing more so far.
    pub fn of_reading(unread: Vec<Diagnostic>) -> Findings {
        Findings { is_partly_read: !unread.is_empty(), errors: unread.len(), told: unread, ..Findings::default() }
    }

    /// Adds a finding, unless it is known.
    pub fn report(&mut self, finding: Diagnostic) {
        let severity = finding.severity();
        let is_echo = matches!(finding.code, Code::N0201 | Code::N0205) || severity == Severity::Warning;
        if self.is_partly_read && is_echo {
            return;
        }
        let place = (finding.code, finding.primary());
        // A block's mistake is found at each of its uses and told at the first.
        if let Some(first) = self.first_at.get(&place).map(|&first| &self.told[first])
            && (first.title == finding.title || first.trace != finding.trace)
        {
            return;
        }
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= limits::FINDINGS {
            self.first_at.entry(place).or_insert(self.told.len());
            self.told.push(finding);
        }
    }

    /// Errors so far, told or not.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Whether no more errors are told, so that there is no use in looking for them.
    pub fn is_full(&self) -> bool {
        self.errors > limits::FINDINGS
    }

    /// All that is told, in the order of the text.
    pub fn told(mut self) -> Vec<Diagnostic> {
        // Something never used beside an unknown name is likely what that name means, or is in what could not be read.
        let codes: BTreeSet<Code> = self.told.iter().map(|finding| finding.code).collect();
        let none_of = |hiding: &[Code]| hiding.iter().all(|code| !codes.contains(code));
        self.told.retain(|finding| match finding.code {
            Code::N0901 => none_of(&[Code::N0204, Code::N0205]),
            Code::N0904 => none_of(&[Code::N0205, Code::N0213]),
            Code::N0902 | Code::N0903 => none_of(&[Code::N0201]),
            _ => true,
        });
        self.told.sort_by_key(|finding| (finding.primary(), finding.code));
        if self.errors.max(self.warnings) > limits::FINDINGS
            && let Some(last) = self.told.last_mut()
        {
            last.notes.push(format!("there is more: the first {} errors and warnings are told", limits::FINDINGS));
        }
        self.told
    }
}
