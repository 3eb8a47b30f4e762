//! Loops whose stages span the back edge.
//!
//! What needs the whole batch, as a batch norm in training does, cuts the body of a repeat into stages. But the last stage of an iteration
//! and the first one of the next have nothing between them that does, so they are one: a tile is normalised, goes through the
//! nonlinearity, is added to what the block began with, and through the next block's convolution while the cache has it. The first
//! iteration's first stage joins the stage before the loop.
//!
//! The calls of a tile stay in their order, and so does what is done for the batch. So all memory stays where it was planned: what two
//! stages share, they share one after the other, in each worker and in each sample's row.

use super::gradient_groups;
use crate::ir::Program;
use crate::schedule::{Begin, Node, Repeated, Step};

/// Rotates the loops of steps that it can.
pub(super) fn rotate(program: &Program, steps: Vec<Step>) -> Vec<Step> {
    let mut rotated: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        let Step::Loop(mut looped) = step else {
            rotated.push(step);
            continue;
        };
        looped.body = rotate(program, looped.body);
        if may_begin_early(program, &looped) {
            let Step::Stage(body) = looped.body.remove(0) else { unreachable!("a stage") };
            let Repeated { id, layer, ref name, count, reversed, .. } = looped;
            let first = Repeated { id, layer, name: name.clone(), count, reversed, begins_early: true, body };
            let before = Node::Begin(Begin { looped: first.clone(), is_next: false });
            match rotated.last_mut() {
                Some(Step::Stage(nodes)) => nodes.push(before),
                _ => rotated.push(Step::Stage(vec![before])),
            }
            if let Some(Step::Stage(nodes)) = looped.body.last_mut() {
                nodes.push(Node::Begin(Begin { looped: first, is_next: true }));
            }
            looped.begins_early = true;
        }
        rotated.push(Step::Loop(looped));
    }
    rotated
}

/// Whether the first stage of a loop can be a part of the last one of the iteration before. Its gradients could not: a stage adds those
/// up for one iteration.
fn may_begin_early(program: &Program, looped: &Repeated<Step>) -> bool {
    match looped.body.as_slice() {
        [Step::Stage(first), .., Step::Stage(_)] => looped.count > 1 && gradient_groups(program, first, &[]).is_empty(),
        _ => false,
    }
}
