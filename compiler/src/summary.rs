//! The table of a proved model: what `netc summary` prints.

use crate::check::{Checked, Node};
use crate::net::LayerKind;
use crate::ops::{Shape, elements};

/// A model's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// Trainable parameters, each weight counted once.
    pub parameters: u64,
    /// Multiply-accumulates of one sample's forward pass.
    pub macs: u64,
    /// The inputs: name and shape.
    pub input: Vec<(String, Shape)>,
    /// The outputs' shapes.
    pub output: Vec<Shape>,
    /// A row for each layer, in the order they run; containers stand before their parts.
    pub layers: Vec<Row>,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in the state dict, `*` for each index of a repeat; a container's is its label.
    pub name: String,
    /// The layer's name in the op table, or `skip`, `branch add`, `repeat 3 tied`, `iteration` (of an unrolled repeat), `block`,
    /// `shared enc`, `from`.
    pub kind: String,
    /// The output's shape, per sample.
    pub output: Shape,
    /// Trainable parameters of all its sets; 0 at a later use of a shared instance.
    pub parameters: u64,
    /// Multiply-accumulates of all its runs for one sample.
    pub macs: u64,
    /// Input elements that an output element sees, for each spatial axis of the input, in the last iteration; None when the input is
    /// flat, the value comes from several, or a loop's iterations do not all add the same.
    pub receptive_field: Option<Vec<u64>>,
    /// How often it runs for one sample.
    pub times: u64,
    /// Containers around it.
    pub depth: usize,
}

/// Makes the table of a model.
pub fn summary(checked: &Checked) -> Summary {
    let mut layers = Vec::new();
    rows(checked, &checked.body, 0, &mut layers);
    Summary {
        model: checked.net.name.clone(),
        parameters: checked.parameters,
        macs: layers.iter().fold(0, |sum: u64, row| sum.saturating_add(row.macs)),
        input: checked.net.inputs.iter().filter_map(|input| Some((input.name.clone(), input.shape.clone()?))).collect(),
        output: checked.outputs.clone(),
        layers,
    }
}

fn rows(checked: &Checked, nodes: &[Node], depth: usize, into: &mut Vec<Row>) {
    for node in nodes {
        let layer = checked.net.layer(node.layer);
        let kind = match &layer.kind {
            LayerKind::Op(op) => op.layer.decl().name.to_owned(),
            LayerKind::From(_) => "from".to_owned(),
            LayerKind::Skip { .. } => "skip".to_owned(),
            LayerKind::Branch { join, .. } => format!("branch {}", join.decl().name),
            LayerKind::Repeat { count, tied, .. } => format!("repeat {count}{}", if *tied { " tied" } else { "" }),
            LayerKind::Group { is_use: true, .. } => "block".to_owned(),
            LayerKind::Group { trace, body, .. } if trace.is_empty() => format!("repeat {} unrolled", body.len()),
            LayerKind::Group { .. } => "iteration".to_owned(),
            LayerKind::Shared(shared) => format!("shared {}", checked.net.shared(*shared).name),
            LayerKind::Missing => continue,
        };
        let trainable = node.weights.iter().filter(|weight| weight.trainable);
        let parameters = trainable.fold(0, |sum: u64, weight| sum.saturating_add(elements(&weight.shape)));
        into.push(Row {
            name: if layer.path.is_empty() { layer.name.clone() } else { layer.path.clone() },
            kind,
            output: node.output.clone(),
            parameters: parameters.saturating_mul(layer.sets),
            macs: node.macs.saturating_mul(node.times),
            receptive_field: node.field.as_ref().map(|field| field.sizes.clone()),
            times: node.times,
            depth,
        });
        for body in &node.bodies {
            rows(checked, body, depth + 1, into);
        }
    }
}
