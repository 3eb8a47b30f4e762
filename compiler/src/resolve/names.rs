//! Names: of weights, by levels, and of values, by what can be seen.

use std::collections::{HashMap, HashSet};

use crate::ast::{Body, Ident, StatementKind};
use crate::diag::{Code, Diagnostic, nearest};
use crate::net::ValueId;
use crate::source::Span;

/// A level of names in the state dict: the model, a block use, a repeat's body, a labelled skip or branch.
pub(super) struct Level {
    /// What the names below it begin with.
    pub(super) prefix: String,
    /// Sets of weights: the product of the counts of the repeats around it.
    pub(super) sets: u64,
    /// Its only statement is an unnamed block use, which adds no level.
    pub(super) lends_its_place: bool,
    taken: HashMap<String, Span>,
    counts: HashMap<String, usize>,
}

impl Level {
    pub(super) fn new(prefix: String, sets: u64) -> Level {
        Level { prefix, sets, lends_its_place: false, taken: HashMap::new(), counts: HashMap::new() }
    }

    /// Gives a name away; an error is where it was given first.
    pub(super) fn take(&mut self, name: &Ident) -> Result<(), Span> {
        match self.taken.get(&name.text) {
            Some(first) => Err(*first),
            None => {
                self.taken.insert(name.text.clone(), name.span);
                Ok(())
            }
        }
    }

    /// `conv2` for the second `conv` of the level, named ones counted.
    pub(super) fn number(&mut self, kind: &str) -> String {
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        format!("{kind}{count}")
    }

    /// The full name of a name of this level.
    pub(super) fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

/// The named values of one instance of a model, block or shared body.
#[derive(Default)]
pub(super) struct Values {
    /// Innermost last.
    levels: Vec<HashMap<String, ValueId>>,
    outer: HashMap<String, ValueId>,
    /// Names that cannot be seen any more, where they stand, and why.
    hidden: HashMap<String, (Span, &'static str)>,
    /// Where every label of the body stands, to tell a later name from none.
    announced: HashMap<String, Span>,
    places: HashMap<ValueId, Span>,
    used_inputs: HashSet<u32>,
}

impl Values {
    /// Notes every label of a body, so that a use before the label can be told from an unknown name.
    pub(super) fn announce(&mut self, body: &Body) {
        for statement in &body.statements {
            if let Some(name) = &statement.name {
                self.announced.entry(name.text.clone()).or_insert(name.span);
            }
            match &statement.kind {
                StatementKind::Skip { body, project } => {
                    self.announce(body);
                    project.iter().for_each(|project| self.announce(project));
                }
                StatementKind::Branch { arms, .. } => arms.iter().for_each(|arm| self.announce(arm)),
                StatementKind::Repeat { body, .. } => self.announce(body),
                _ => {}
            }
        }
    }

    /// Names a value, at the innermost level.
    pub(super) fn name(&mut self, name: &Ident, value: ValueId) {
        self.places.insert(value, name.span);
        self.levels.last_mut().unwrap_or(&mut self.outer).insert(name.text.clone(), value);
    }

    /// Begins a level whose names are not seen behind it.
    pub(super) fn open(&mut self) {
        self.levels.push(HashMap::new());
    }

    /// Ends it; `why` its names are hidden from now on.
    pub(super) fn close(&mut self, why: &'static str) {
        for (name, value) in self.levels.pop().unwrap_or_default() {
            let place = self.places.get(&value).copied().unwrap_or_default();
            self.hidden.insert(name, (place, why));
        }
    }

    /// Whether the name is one that can be read here.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.visible(name).is_some()
    }

    fn visible(&self, name: &str) -> Option<ValueId> {
        self.levels.iter().rev().find_map(|level| level.get(name)).or_else(|| self.outer.get(name)).copied()
    }

    /// The value of a name, or why there is none.
    pub(super) fn find(&mut self, name: &Ident) -> Result<ValueId, Box<Diagnostic>> {
        if let Some(value) = self.visible(&name.text) {
            if let ValueId::Input(input) = value {
                self.used_inputs.insert(input);
            }
            return Ok(value);
        }
        let word = &name.text;
        if let Some((place, why)) = self.hidden.get(word) {
            let title = format!("the value `{word}` cannot be read here");
            let problem = Diagnostic::new(Code::N0213, title, name.span, "not seen from here").label(*place, *why);
            return Err(Box::new(problem));
        }
        if let Some(place) = self.announced.get(word) {
            let title = format!("the value `{word}` cannot be read here");
            let problem = Diagnostic::new(Code::N0213, title, name.span, "not made yet").label(*place, "made here");
            return Err(Box::new(problem));
        }
        let names = self.levels.iter().flat_map(HashMap::keys).chain(self.outer.keys());
        // Sorted, since a hash map's order would make the message vary.
        let mut names: Vec<&str> = names.map(String::as_str).collect();
        names.sort_unstable();
        let near = nearest(word, names.iter().copied());
        let title = format!("unknown value `{word}`");
        let problem = Diagnostic::meant(Code::N0205, title, name.span, near, "no value has this name");
        Err(Box::new(match names.as_slice() {
            [] => problem.note("`as name` behind a layer names its value"),
            names if names.len() <= 12 => {
                problem.note_without_fix(|| format!("values that can be read here: {}", names.join(", ")))
            }
            _ => problem,
        }))
    }

    /// Notes that an input is read without being named, as the first value.
    pub(super) fn use_input(&mut self, input: u32) {
        self.used_inputs.insert(input);
    }

    pub(super) fn input_is_used(&self, input: u32) -> bool {
        self.used_inputs.contains(&input)
    }
}

/// `res_block` of `ResBlock`.
pub(super) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before: Option<char> = None;
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let begins_word = character.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && characters.peek().is_some_and(char::is_ascii_lowercase))
            });
        if begins_word {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
        before = Some(character);
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_names_become_snake_case() {
        assert_eq!(
            ["ResBlock", "B", "SEBlock", "Conv2dBlock", "res_block", "MBConv6"].map(snake_case),
            ["res_block", "b", "se_block", "conv2d_block", "res_block", "mb_conv6"]
        );
    }
}
