//! Whether the tricks of a training fit the model.

use super::Checker;
use crate::ast::Ident;
use crate::diag::{Code, Diagnostic, nearest};
use crate::net::{LayerKind, Settings, Tricks};
use crate::ops::{Choice, Value, given, plural};

impl Checker<'_> {
    pub(super) fn tricks(&mut self, settings: &Settings) {
        let Tricks { penalties, freeze, augment, .. } = &settings.tricks;
        self.warm_up(settings);
        if let [first, ..] = augment.as_slice() {
            self.augment(first, augment);
        }
        let paths = self.weighted();
        for penalty in penalties {
            if let Some(Value::Words(names)) = penalty.args.get("on") {
                names.iter().for_each(|name| self.layer_name(name, &paths));
            }
        }
        let before = self.net_is_named(freeze, &paths);
        freeze.iter().for_each(|name| self.layer_name(name, &paths));
        if let ([first, .., last] | [first @ last], true) = (freeze.as_slice(), before) {
            let title = "`freeze` leaves nothing to train";
            let span = first.span.to(last.span);
            self.report(Diagnostic::new(Code::N0502, title, span, "these are all layers with weights"));
        }
    }

    /// The names of all layers that have parameters, in their order, each once.
    fn weighted(&self) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for layer in &self.net.layers {
            if let LayerKind::Op(op) = &layer.kind
                && op.layer.has_weights()
                && !paths.contains(&layer.path)
            {
                paths.push(layer.path.clone());
            }
        }
        paths
    }

    /// Whether every layer with weights is named, all of it.
    fn net_is_named(&self, names: &[Ident], paths: &[String]) -> bool {
        let whole = |path: &String| names.iter().any(|name| is_part(&name.text, path));
        !paths.is_empty() && paths.iter().all(whole)
    }

    fn layer_name(&mut self, name: &Ident, paths: &[String]) {
        if paths.iter().any(|path| is_part(&name.text, path) || is_weight(&name.text, path)) {
            return;
        }
        let known = self.net.layers.iter().find(|layer| layer.path == name.text);
        if let Some(layer) = known {
            let title = format!("`{}` has no weights", name.text);
            let problem = Diagnostic::new(Code::N0504, title, name.span, "nothing to be found there");
            self.report(problem.label(layer.head, "the layer"));
            return;
        }
        let mut heads: Vec<&str> = paths.iter().map(|path| path.split('.').next().unwrap_or(path)).collect();
        heads.dedup();
        let all = heads.iter().copied().chain(paths.iter().map(String::as_str));
        let near = nearest(&name.text, all);
        let title = format!("no layer with weights is called `{}`", name.text);
        let problem =
            Diagnostic::meant(Code::N0504, title, name.span, near.filter(|near| !near.contains('.')), "no such layer");
        let shown = heads.len().min(12);
        let more = if heads.len() > shown { ", …" } else { "" };
        self.report(problem.note_without_fix(|| format!("there are: {}{more}", heads[..shown].join(", "))));
    }

    fn warm_up(&mut self, settings: &Settings) {
        let Some(warm_up) = &settings.tricks.warm_up else {
            return;
        };
        let all = settings.epochs.as_ref().map_or(100, |epochs| epochs.value);
        let Some(own) = warm_up.args.int("epochs").filter(|own| own.value >= all) else {
            return;
        };
        let title = format!("a warm-up of {} epoch{} in a training of {all}", own.value, plural(own.value as usize));
        let problem = Diagnostic::new(Code::N0502, title, own.span, "must be less than the training");
        let problem = problem.notes(own.how.clone());
        self.report(match &settings.epochs {
            Some(epochs) => problem.label(epochs.span, "the training"),
            None => problem.note("without `epochs` a training has 100"),
        });
    }

    fn augment(&mut self, first: &Choice, augment: &[Choice]) {
        if let Some(mixup) = augment[..augment.len() - 1].iter().find(|change| change.decl.name == "mixup") {
            let title = "`mixup` is the last change of an image";
            let problem = Diagnostic::new(Code::N0502, title, mixup.span, "stands before others");
            self.report(problem.label(augment[augment.len() - 1].span, "the last one"));
        }
        // Several inputs are told where the data is, or when training.
        let [input] = self.net.inputs.as_slice() else {
            return;
        };
        let Some(shape) = input.shape.clone() else {
            return;
        };
        let &[_, height, width] = shape.as_slice() else {
            let title = format!("`{}` changes images, but `{}` is {}", first.decl.name, input.name, given(&shape));
            let problem = Diagnostic::new(Code::N0502, title, first.span, "needs channels, height and width")
                .label(input.span, format!("takes {}", given(&shape)));
            self.report(problem);
            return;
        };
        let input_span = input.span;
        for change in augment {
            for name in ["padding", "size"] {
                if let Some(int) = change.args.int(name).filter(|int| int.value as u64 > height.max(width)) {
                    let title = format!(
                        "`{name}` of `{}` is {}, but the image is {height} x {width}",
                        change.decl.name, int.value
                    );
                    let problem = Diagnostic::new(Code::N0502, title, int.span, "at most the longer side")
                        .label(input_span, "the image")
                        .notes(int.how.clone());
                    self.report(problem);
                }
            }
        }
    }
}

/// Whether a name is a layer's, or that of something around it: `resblocks` is, and `resblocks.0`, of `resblocks.*.conv`.
fn is_part(name: &str, path: &str) -> bool {
    let mut parts = path.split('.');
    name.split('.').all(|wanted| parts.next().is_some_and(|part| is_like(wanted, part)))
}

/// Whether a name is a layer's with the name of a parameter behind it.
fn is_weight(name: &str, path: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(layer, weight)| {
        matches!(weight, "weight" | "bias")
            && layer.split('.').count() == path.split('.').count()
            && is_part(layer, path)
    })
}

/// `*` stands for the index of a repeat.
fn is_like(wanted: &str, part: &str) -> bool {
    wanted == part || part == "*" && !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit())
}
