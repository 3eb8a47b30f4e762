//! What is said of a text that does not fit the grammar: what was wanted there, and what was found.

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::Pair;

use super::grammar::{Grammar, Rule};
use super::{ITEM_WORDS, Reader, STATEMENT_WORDS};
use crate::diag::{Code, Diagnostic, nearest};
use crate::limits;
use crate::source::Span;

impl Reader<'_> {
    /// Says what is wrong with a text that no rule fitted, by reading it once more as what it should have been.
    pub(super) fn junk(&mut self, pair: Pair<'_, Rule>, wanted: Rule) {
        if self.diagnostics.len() >= limits::SYNTAX_ERRORS {
            return;
        }
        let (text, start) = (pair.as_str(), pair.as_span().start());
        let words = match wanted {
            Rule::one_statement => STATEMENT_WORDS,
            Rule::one_item => ITEM_WORDS,
            _ => &[],
        };
        let word = &text[..word_length(text)];
        let place = self.base + start..self.base + start + word.len();
        let is_call = text[word.len()..].trim_start().starts_with('(');
        if let Some(problem) = mistyped(word, Span::new(self.file, place), words).filter(|_| !is_call) {
            self.report(problem);
            return;
        }
        let problem = match Grammar::parse(wanted, text) {
            Err(error) => self.expected(text, start, error),
            // Only a text that is right where it is not allowed comes here.
            Ok(_) => Diagnostic::new(Code::N0101, "unexpected text", self.span(&pair), "cannot stand here"),
        };
        self.report(problem);
    }

    /// `expected …, found …`, of an error of pest's in `text`, which begins at `start` of what is parsed.
    pub(super) fn expected(&self, text: &str, start: usize, error: pest::error::Error<Rule>) -> Diagnostic {
        let at = match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at.min(text.len()),
        };
        let mut wanted: Vec<&str> = match &error.variant {
            ErrorVariant::ParsingError { positives, .. } => {
                positives.iter().filter_map(|&rule| word_for(rule)).collect()
            }
            ErrorVariant::CustomError { .. } => Vec::new(),
        };
        let is_closing = |word: &str| matches!(word, "`)`" | "`]`" | "`}`");
        wanted.sort_by_key(|word| (word.starts_with('`'), is_closing(word), *word));
        wanted.dedup();
        // An operator could stand behind every value, and says nothing of what is wrong.
        if wanted.iter().any(|word| *word != OPERATOR) {
            wanted.retain(|word| *word != OPERATOR);
        }
        let is_part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        // A word is shown whole, also when only a letter in it is wrong.
        let from = match text[at..].starts_with(is_part_of_word) {
            true => {
                at - text[..at].chars().rev().take_while(|&c| is_part_of_word(c)).map(char::len_utf8).sum::<usize>()
            }
            false => at,
        };
        let found = &text[from..from + token_length(&text[from..])];
        let place = self.base + start + from;
        let place = Span::new(self.file, place..place + found.len());
        let quoted = format!("`{}`", shorten(found));
        if found.starts_with(is_part_of_word) && word_length(found) < found.len() {
            let is_number = found.starts_with(|c: char| c.is_ascii_digit());
            return match (is_number, found.parse::<f64>().is_ok(), wanted == [NAME]) {
                (true, true, _) => Diagnostic::new(Code::N0101, unexpected(&wanted, &quoted), place, ""),
                (true, _, false) => {
                    let title = format!("{quoted} is neither a number nor a name");
                    Diagnostic::new(Code::N0101, title, place, "digits and letters in one word")
                }
                _ => Diagnostic::new(Code::N0101, format!("{quoted} is no name"), place, NAME_RULE),
            };
        }
        if found == "==" && wanted.contains(&"`=`") {
            let problem = Diagnostic::new(Code::N0101, "expected `=`, found `==`", place, "");
            return problem.fix("give the argument with `=`", place, "=");
        }
        if found == "as" && wanted == ["`;`"] {
            return Diagnostic::new(Code::N0101, unexpected(&wanted, &quoted), place, "a name stands before the `:`");
        }
        if found == "#" || found == "/*" {
            return Diagnostic::new(Code::N0101, unexpected(&wanted, &quoted), place, "a comment begins with `//`");
        }
        let near = nearest(found, wanted.iter().map(|word| word.trim_matches('`')).filter(|word| word.len() > 2));
        let problem = match found {
            "" => Diagnostic::new(Code::N0101, unexpected(&wanted, "the end"), place, ""),
            _ => Diagnostic::new(Code::N0101, unexpected(&wanted, &quoted), place, ""),
        };
        match near {
            Some(near) => {
                let mut problem = problem.fix("write the word so", place, near);
                problem.labels[0].text = format!("did you mean `{near}`?");
                problem
            }
            None => problem,
        }
    }
}

/// What can be a name.
pub(in crate::read) const NAME_RULE: &str = "letters, digits and `_`, and no digit first";
const NAME: &str = "a name";
const OPERATOR: &str = "an operator";

/// `expected …, found …`.
fn unexpected(wanted: &[&str], found: &str) -> String {
    match wanted {
        [] => format!("unexpected {}", found.strip_prefix("the ").unwrap_or(found)),
        wanted => format!("expected {}, found {found}", join_or(wanted)),
    }
}

/// Bytes of the name that a text begins with.
fn word_length(text: &str) -> usize {
    match text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        true => text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len()),
        false => 0,
    }
}

/// Bytes of what a reader sees as one thing at the beginning of a text: a word, an operator, or a character.
fn token_length(text: &str) -> usize {
    const OPERATORS: &[&str] = &["->", "/*", "=>", "==", "!=", "<=", ">=", "**", "::", "&&", "||"];
    match text.chars().next() {
        None => 0,
        Some(first) if first.is_alphanumeric() || first == '_' => {
            let is_inside = |c: char| c.is_alphanumeric() || c == '_' || (c == '.' && first.is_ascii_digit());
            text.find(|c| !is_inside(c)).unwrap_or(text.len())
        }
        Some(first) => {
            OPERATORS.iter().find(|&&operator| text.starts_with(operator)).map_or(first.len_utf8(), |found| found.len())
        }
    }
}

/// The error for a word that is nearly one of `words`.
pub(super) fn mistyped(word: &str, place: Span, words: &[&'static str]) -> Option<Diagnostic> {
    let near = nearest(word, words.iter().copied()).filter(|near| *near != word)?;
    let problem =
        Diagnostic::new(Code::N0101, format!("unknown word `{word}`"), place, format!("did you mean `{near}`?"));
    Some(problem.fix("write the word so", place, near))
}

/// What a user calls what the grammar looked for; never a rule's name.
fn word_for(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::name | Rule::param | Rule::place => NAME,
        Rule::value | Rule::product | Rule::unary | Rule::path | Rule::number | Rule::positional | Rule::tuple => {
            "a value"
        }
        Rule::named => "an argument",
        Rule::list => "a list in `[ ]`",
        Rule::call | Rule::layer => "a layer",
        Rule::label | Rule::as_word => "`as`",
        Rule::shape | Rule::colon => "`:`",
        Rule::args | Rule::params => "`(`",
        Rule::body | Rule::open => "`{`",
        Rule::close => "`}`",
        Rule::close_paren => "`)`",
        Rule::close_bracket => "`]`",
        Rule::semicolon | Rule::missing_semicolon => "`;`",
        Rule::equals => "`=`",
        Rule::gradient_word => "`gradient`",
        Rule::comma => "`,`",
        Rule::plus | Rule::minus | Rule::times | Rule::over => OPERATOR,
        Rule::setting | Rule::one_setting => "a setting",
        Rule::one_statement => "a layer",
        Rule::one_value => "a value",
        Rule::block | Rule::block_word => "`block`",
        Rule::model | Rule::model_word => "`model`",
        Rule::train | Rule::train_word => "`train`",
        Rule::project_word => "`project`",
        Rule::tied_word => "`tied`",
        Rule::unrolled_word => "`unrolled`",
        Rule::used | Rule::use_word => "`use`",
        Rule::text => "a text in quotes",
        Rule::one_item => "`block`, `model` or `train`",
        Rule::EOI => "the end",
        _ => return None,
    })
}

fn join_or(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// At most 40 characters of a word.
fn shorten(word: &str) -> String {
    if word.chars().count() <= 40 { word.to_owned() } else { word.chars().take(39).chain(['…']).collect() }
}
