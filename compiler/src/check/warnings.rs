//! N09xx of layers next to each other.

use super::{Checker, Value};
use crate::diag::{Code, Diagnostic};
use crate::net::{LayerId, LayerKind, Op, ValueId};

impl Checker<'_> {
    /// Of a layer and the one before it, which makes `value`.
    pub(super) fn warn_of_neighbours(&mut self, before: LayerId, id: LayerId, value: &Value) {
        let is_read_elsewhere = self.named.contains(&ValueId::Layer(before));
        let net = self.net;
        let (before, layer) = (net.layer(before), net.layer(id));
        let (LayerKind::Op(first), LayerKind::Op(second)) = (&before.kind, &layer.kind) else {
            return;
        };
        if first.layer.is_activation() && second.layer.is_activation() {
            let title = format!("two activations in a row: `{}` and `{}`", before.name, layer.name);
            self.report(Diagnostic::new(Code::N0907, title, layer.head, "the second").label(before.head, "the first"));
        }
        if has_bias(first, value) && !is_read_elsewhere && takes_means_of_channels(second) {
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

/// Whether an op takes from each channel its mean.
fn takes_means_of_channels(op: &Op) -> bool {
    matches!(op.layer.decl().name, "batch_norm" | "instance_norm")
}

/// Whether an op that makes `value` adds a number to each channel; `linear` on a map adds one to each element of a row instead.
fn has_bias(op: &Op, value: &Value) -> bool {
    let is_of_channels = match op.layer.decl().name {
        "conv" | "conv_transpose" => true,
        "linear" => value.shape.as_ref().is_some_and(|shape| shape.len() == 1),
        _ => false,
    };
    is_of_channels && op.args.bool("bias")
}
