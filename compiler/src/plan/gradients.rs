//! Where a stage's gradient of each weight lies among those that each tile makes for itself.

use super::ALIGN;
use crate::ir::{Kind, Program, Repeat, TensorId};
use crate::net::LayerId;
use crate::ops::elements;
use crate::schedule::{Kernel, Node, Step};

/// A part of the gradient that a stage makes: some tensors that lie close together among the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradientGroup {
    /// The tensors.
    pub tensors: Vec<TensorId>,
    /// Strides of the loops around the stage.
    pub outer: Vec<(LayerId, u64)>,
    /// The first float among the parameters, in the first iteration of those loops.
    pub first: u64,
    /// Floats, with all iterations of the loops inside the stage.
    pub len: u64,
    /// The first float in the stage's gradient.
    pub local: u64,
}

/// Floats between two tensors that are still one group: adding a few zeros costs less than another group.
const GROUP_GAP: u64 = 64;

/// The gradients that the calls of a stage make, which stands inside the loops of these layers.
pub fn gradient_groups(program: &Program, nodes: &[Node], around: &[LayerId]) -> Vec<GradientGroup> {
    fn collect(nodes: &[Node], tensors: &mut Vec<TensorId>) {
        for node in nodes {
            match node {
                Node::Loop(looped) => collect(&looped.body, tensors),
                // It makes none.
                Node::Begin(_) => {}
                Node::Call(call) => {
                    let of_call = match &call.kernel {
                        Kernel::Op(
                            Kind::ConvGradWeight(_, weight, bias)
                            | Kind::ConvPoolGradWeight(_, weight, bias)
                            | Kind::LinearGradWeight(_, weight, bias),
                        ) => [Some(*weight), *bias],
                        Kernel::Op(Kind::GroupNormGrad(_, weight, bias)) => [*weight, *bias],
                        Kernel::Op(Kind::GradBias(_, bias)) => [None, Some(*bias)],
                        Kernel::Op(Kind::CustomGrad(_, own, true)) => {
                            tensors.extend(own);
                            continue;
                        }
                        _ => continue,
                    };
                    tensors.extend(of_call.into_iter().flatten());
                }
            }
        }
    }
    let mut tensors = Vec::new();
    collect(nodes, &mut tensors);
    tensors.sort_by_key(|&id| program.tensor(id).offset);
    tensors.dedup();
    let mut groups: Vec<GradientGroup> = Vec::new();
    for id in tensors {
        let tensor = program.tensor(id);
        let strides = tensor.repeats.iter().filter(|repeat| repeat.stride > 0);
        let (outer, inner): (Vec<&Repeat>, Vec<&Repeat>) = strides.partition(|repeat| around.contains(&repeat.layer));
        let outer: Vec<(LayerId, u64)> = outer.into_iter().map(|repeat| (repeat.layer, repeat.stride)).collect();
        let len = inner.iter().map(|repeat| (repeat.count - 1) * repeat.stride).sum::<u64>() + elements(&tensor.shape);
        let (first, end) = (tensor.offset, tensor.offset + len);
        match groups.last_mut() {
            Some(group) if group.outer == outer && first <= group.first + group.len + GROUP_GAP => {
                group.len = group.len.max(end - group.first);
                group.tensors.push(id);
            }
            _ => groups.push(GradientGroup { tensors: vec![id], outer, first, len, local: 0 }),
        }
    }
    let mut local = 0;
    for group in &mut groups {
        group.local = local;
        local += group.len.next_multiple_of(ALIGN);
    }
    groups
}

/// Floats of the largest gradient that a stage makes.
pub(super) fn largest_gradient(program: &Program, steps: &[Step], around: &mut Vec<LayerId>) -> u64 {
    let of_step = |step: &Step, around: &mut Vec<LayerId>| match step {
        Step::Whole(_) => 0,
        Step::Stage(nodes) => gradient_groups(program, nodes, around).last().map_or(0, |group| group.local + group.len),
        Step::Loop(looped) => {
            around.push(looped.layer);
            let largest = largest_gradient(program, &looped.body, around);
            around.pop();
            largest
        }
    };
    steps.iter().map(|step| of_step(step, around)).max().unwrap_or(0)
}
