//! The settings of a train section that a plain training does without.

use std::collections::HashMap;

use super::{Resolver, Scope, bind};
use crate::ast::{Expr, ExprKind, Ident, Setting};
use crate::diag::{Code, Diagnostic};
use crate::net::Tricks;
use crate::ops::tricks::{AUGMENTS, CLIPS, PENALTIES, SCHEDULES, WARM_UPS};
use crate::ops::{Choice, Decl};

/// Unknown, and out of range.
const CODES: [Code; 2] = [Code::N0504, Code::N0502];

impl<'a> Resolver<'a> {
    pub(super) fn tricks(&mut self, settings: &HashMap<&str, &'a Setting>, scope: &mut Scope<'a>) -> Tricks {
        let value = |name: &str| settings.get(name).map(|setting| &setting.value);
        let mut one = |name: &str, noun: &str, table: &'static [Decl]| {
            self.choice(noun, table.iter(), CODES, value(name)?, scope).0
        };
        let schedule = one("schedule", "schedule", SCHEDULES);
        let warm_up = one("warm_up", "warm-up", WARM_UPS);
        let clip = one("clip", "way to clip", CLIPS);
        let penalties = value("penalty").map(|expr| self.choices("penalty", PENALTIES, expr, scope));
        let augment = value("augment").map(|expr| self.choices("change of an image", AUGMENTS, expr, scope));
        let freeze = value("freeze").map(|expr| self.layer_names("`freeze`", expr));
        Tricks {
            schedule,
            warm_up,
            penalties: penalties.unwrap_or_default(),
            clip,
            freeze: freeze.unwrap_or_default(),
            augment: augment.unwrap_or_default(),
            ..Tricks::default()
        }
    }

    /// One of a table, or a list of them.
    fn choices(&mut self, noun: &str, table: &'static [Decl], expr: &'a Expr, scope: &mut Scope<'a>) -> Vec<Choice> {
        let items = match &expr.kind {
            ExprKind::List(items) if items.is_empty() => {
                let title = format!("an empty list names no {noun}");
                self.report(Diagnostic::new(Code::N0204, title, expr.span, format!("wanted: a {noun}, or several")));
                return Vec::new();
            }
            ExprKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(expr),
        };
        items
            .iter()
            .filter_map(|item| {
                self.count_argument(item.span)?;
                self.choice(noun, table.iter(), CODES, item, scope).0
            })
            .collect()
    }

    /// Names of layers or weights: a word, a text for what has dots, or a list of them. Whether the model has them is for the check.
    pub(super) fn layer_names(&mut self, owner: &str, expr: &Expr) -> Vec<Ident> {
        let items = match &expr.kind {
            ExprKind::List(items) if !items.is_empty() => items.as_slice(),
            _ => std::slice::from_ref(expr),
        };
        let mut names: Vec<Ident> = Vec::new();
        for item in items {
            if self.count_argument(item.span).is_none() {
                break;
            }
            match &item.kind {
                ExprKind::Missing => {}
                ExprKind::Word(text) | ExprKind::Text(text) => {
                    let name = Ident { text: text.clone(), span: item.span };
                    if let Some(first) = names.iter().find(|first| first.text == name.text) {
                        let title = format!("`{text}` stands twice in {owner}");
                        let problem =
                            Diagnostic::new(Code::N0206, title, name.span, "the second").label(first.span, "the first");
                        self.report(problem);
                    } else {
                        names.push(name);
                    }
                }
                _ => {
                    let title = format!("{owner} takes names of layers, not {}", bind::described(item));
                    let label = "wanted: `conv1`, or `\"block1.conv.weight\"` in quotes";
                    self.report(Diagnostic::new(Code::N0204, title, item.span, label));
                }
            }
        }
        names
    }
}
