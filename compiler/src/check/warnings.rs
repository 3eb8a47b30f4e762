//! N09xx of layers next to each other.

use super::Checker;
use crate::diag::{Code, Diagnostic};
use crate::net::{LayerKind, NetLayer, Op};

impl Checker<'_> {
    pub(super) fn warn_of_neighbours(&mut self, before: &NetLayer, layer: &NetLayer) {
        let (LayerKind::Op(first), LayerKind::Op(second)) = (&before.kind, &layer.kind) else {
            return;
        };
        if first.layer.is_activation() && second.layer.is_activation() {
            let title = format!("two activations in a row: `{}` and `{}`", before.name, layer.name);
            self.report(Diagnostic::new(Code::N0907, title, layer.head, "the second").label(before.head, "the first"));
        }
        if has_bias(first) && second.layer.decl().name == "batch_norm" {
            let title = format!("the bias of `{}` is undone by `{}`", before.name, layer.name);
            let write = if self.fixes.is_yaml(before.head) { "`bias: false`" } else { "`bias = false`" };
            self.report(
                Diagnostic::new(Code::N0906, title, before.head, "adds a bias")
                    .label(layer.head, "subtracts the mean of each channel, and the bias with it")
                    .note(format!("write {write}: the result is the same, with fewer parameters")),
            );
        }
    }
}

fn has_bias(op: &Op) -> bool {
    matches!(op.layer.decl().name, "conv" | "linear") && op.args.bool("bias")
}
