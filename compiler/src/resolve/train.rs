//! The train section: settings, their kinds and ranges. Whether they fit the model's shapes is for [`crate::check`].

use std::collections::HashMap;

use super::names::Values;
use super::{Resolver, Scope, bind};
use crate::ast::{self, ExprKind, Setting};
use crate::diag::{Code, Diagnostic, nearest};
use crate::net::{Loss, Settings, Train, Tricks};
use crate::ops::datasets::DATASETS;
use crate::ops::losses::LOSSES;
use crate::ops::optimizers::OPTIMIZERS;
use crate::ops::{Choice, Int, Value};

/// Every setting of a train section, with what it is.
const SETTINGS: &[(&str, &str)] = &[
    ("data", "the data set; another can be named when training"),
    ("loss", "what training makes small"),
    ("optimizer", "how the parameters follow the gradient"),
    ("batch", "samples of a step, 64 when absent"),
    ("epochs", "passes over the data, 100 when absent"),
    ("shuffle", "whether each epoch has an order of its own, true when absent"),
    ("seed", "of every random choice, 0 when absent"),
    ("eval_mode", "running_statistics, or batch_statistics to evaluate with those of each batch"),
    ("numerics", "fast, or exact to allow only the most accurate kernels"),
    ("schedule", "how the learning rate goes on, constant when absent"),
    ("warm_up", "what is in front of the schedule"),
    ("penalty", "what is added to the loss for the size of parameters: one, or a list"),
    ("clip", "how gradients are kept from being too large"),
    ("accumulate", "batches of a step, 1 when absent"),
    ("freeze", "layers that no step changes"),
    ("augment", "how images are changed each time they are trained with: a change, or a list"),
    ("patience", "epochs without a better figure after which the training ends"),
    ("keep", "last, or best to keep the weights of the best epoch"),
    ("monitor", "score, which is what is printed, or loss: the figure of the test that says what is better"),
];

impl<'a> Resolver<'a> {
    pub(super) fn train(&mut self, train: &'a ast::Train) {
        if let Some(model) = train.model.as_ref().filter(|model| model.text != self.net.name) {
            let title = format!("`train {}` names another model", model.text);
            let problem =
                Diagnostic::new(Code::N0506, title, model.span, format!("the model here is `{}`", self.net.name))
                    .label(self.net.name_span, "the model")
                    .fix("name the model", model.span, self.net.name.clone());
            self.report(problem);
        }
        let mut settings: HashMap<&str, &'a Setting> = HashMap::new();
        for setting in &train.settings {
            let key = &setting.key;
            if self.over_limit {
                return;
            }
            if !SETTINGS.iter().any(|(name, _)| *name == key.text) {
                let names = SETTINGS.iter().map(|(name, _)| *name);
                let title = format!("unknown setting `{}`", key.text);
                let near = nearest(&key.text, names.clone());
                let all = names.collect::<Vec<_>>().join(", ");
                let problem = Diagnostic::meant(Code::N0504, title, key.span, near, "no such setting");
                self.report(problem.note_without_fix(|| format!("its settings: {all}")));
                self.touch(&setting.value, &self.model_ints.clone());
            } else if let Some(first) = settings.get(key.text.as_str()) {
                let title = format!("the setting `{}` is given twice", key.text);
                let first = first.key.span;
                self.report(Diagnostic::new(Code::N0105, title, key.span, "the second").label(first, "the first"));
            } else {
                settings.insert(&key.text, setting);
            }
        }
        let ints = self.model_ints.clone();
        let mut scope = Scope { ints, shared: Vec::new(), values: Values::default(), around: Vec::new() };
        self.settings(train, &settings, &mut scope);
    }

    fn settings(&mut self, train: &'a ast::Train, settings: &HashMap<&str, &'a Setting>, scope: &mut Scope<'a>) {
        let value = |name: &str| settings.get(name).map(|setting| &setting.value);
        let before = self.reports;
        for (name, example) in [("loss", "cross_entropy"), ("optimizer", "sgd(lr = 1e-2)")] {
            if !settings.contains_key(name) {
                let title = format!("the training has no {name}");
                let example = if self.fixes.is_yaml(train.head) && name == "optimizer" {
                    "{ sgd: { lr: 1e-2 } }"
                } else {
                    example
                };
                let colon = if self.fixes.is_yaml(train.head) { ":" } else { "" };
                let problem = Diagnostic::new(Code::N0505, title, train.head, format!("needs `{name}`"));
                self.report(problem.note(format!("for example: `{name}{colon} {example}`")));
            }
        }
        let datasets = DATASETS.iter().map(|dataset| &dataset.decl);
        let code = [Code::N0504, Code::N0502];
        let data = value("data").and_then(|expr| self.choice("data set", datasets, code, expr, scope).0);
        let losses = value("loss").map_or(Vec::new(), |expr| self.losses(expr, scope));
        let optimizer =
            value("optimizer").and_then(|expr| self.choice("optimizer", OPTIMIZERS.iter(), code, expr, scope).0);
        let mut count = |name: &str, least: i64| {
            let int = self.int(value(name)?, scope)?;
            if int.value < least {
                let title = format!("`{name}` is {}", int.value);
                let problem = Diagnostic::new(Code::N0502, title, int.span, format!("must be at least {least}"));
                self.report(problem.notes(int.how));
                return None;
            }
            Some(int)
        };
        let [batch, epochs, seed] = [("batch", 1), ("epochs", 1), ("seed", 0)].map(|(name, least)| count(name, least));
        let [accumulate, patience] = ["accumulate", "patience"].map(|name| count(name, 1));
        let mut word = |name: &str, words: [&str; 2]| match value(name) {
            None => None,
            Some(expr) => match &expr.kind {
                ExprKind::Missing => None,
                ExprKind::Word(word) if words.contains(&word.as_str()) => Some(word == words[1]),
                _ => {
                    let title = format!("`{name}` is {} or {}, not {}", words[0], words[1], bind::described(expr));
                    self.report(Diagnostic::new(Code::N0204, title, expr.span, "not one of its words"));
                    None
                }
            },
        };
        let shuffle = word("shuffle", ["false", "true"]).unwrap_or(true);
        let batch_statistics = word("eval_mode", ["running_statistics", "batch_statistics"]).unwrap_or(false);
        let exact = word("numerics", ["fast", "exact"]).unwrap_or(false);
        let best = word("keep", ["last", "best"]).unwrap_or(false);
        let loss_says = word("monitor", ["score", "loss"]).unwrap_or(false);
        let tricks = self.tricks(settings, scope);
        let or = |int: Option<Int>, otherwise| int.map_or(otherwise, |int| int.value.unsigned_abs());
        let patience = patience.map(|int| int.value.unsigned_abs());
        let tricks = Tricks { accumulate: or(accumulate, 1), patience, best, loss_says, ..tricks };
        if let Some(optimizer) = &optimizer {
            self.check_nesterov(optimizer);
        }
        self.net.settings = Some(Settings {
            data: data.clone(),
            losses: losses.clone(),
            batch: batch.clone(),
            epochs: epochs.clone(),
            tricks: tricks.clone(),
        });
        if self.reports == before
            && let Some(optimizer) = optimizer
        {
            let head = train.head;
            let (batch, epochs, seed) = (or(batch, 64), or(epochs, 100), or(seed, 0));
            self.net.train = Some(Train {
                head,
                data,
                losses,
                optimizer,
                batch,
                epochs,
                shuffle,
                seed,
                batch_statistics,
                exact,
                tricks,
            });
        }
    }

    /// One loss, or a list of them, each with the output that it names.
    fn losses(&mut self, expr: &'a ast::Expr, scope: &mut Scope<'a>) -> Vec<Loss> {
        let exprs = match &expr.kind {
            ExprKind::List(items) if items.is_empty() => {
                let title = "the list of losses is empty";
                self.report(Diagnostic::new(Code::N0505, title, expr.span, "write a loss for each output"));
                return Vec::new();
            }
            ExprKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(expr),
        };
        let mut losses = Vec::new();
        for expr in exprs {
            let choice = self.choice("loss", LOSSES.iter(), [Code::N0504, Code::N0502], expr, scope).0;
            if let Some(choice) = choice {
                losses.extend(self.loss_of(choice));
            }
        }
        losses
    }

    /// A loss with the output that it names; None when there is no such output.
    fn loss_of(&mut self, choice: Choice) -> Option<Loss> {
        let outputs = &self.net.outputs;
        let name = match choice.args.get("of") {
            Some(Value::Word(name)) => name,
            Some(_) => return None,
            None => {
                let output = if outputs.len() <= 1 { Some(0) } else { None };
                return Some(Loss { output, choice });
            }
        };
        if let Some(output) = outputs.iter().position(|output| output.name == *name) {
            return Some(Loss { output: Some(output), choice });
        }
        let span = choice.args.span("of").unwrap_or(choice.span);
        let title = format!("the model has no output `{name}`");
        let names = || outputs.iter().map(|output| output.name.as_str());
        let problem = match outputs.as_slice() {
            [] => Diagnostic::new(Code::N0501, title, span, "it names no outputs")
                .note("a model without `output` has one output, its last value, and its loss names none"),
            _ => Diagnostic::meant(Code::N0501, title, span, nearest(name, names()), "no output has this name")
                .note_without_fix(|| format!("its outputs: {}", names().collect::<Vec<_>>().join(", "))),
        };
        self.report(problem);
        None
    }

    /// PyTorch's rule: Nesterov momentum needs a momentum and no dampening.
    fn check_nesterov(&mut self, optimizer: &Choice) {
        let args = &optimizer.args;
        let is_fit = args.number("momentum").is_none_or(|momentum| momentum > 0.0)
            && args.number("dampening").is_none_or(|dampening| dampening == 0.0);
        if args.bool("nesterov") && !is_fit {
            let title = "`nesterov` needs a momentum above 0 and no dampening";
            let span = args.span("nesterov").unwrap_or(optimizer.span);
            self.report(Diagnostic::new(Code::N0502, title, span, "has no momentum to look ahead along"));
        }
    }
}
