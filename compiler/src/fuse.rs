//! Ops that run as one: zeros beside a map in the convolution that sees them, a nonlinearity in the op before it, a max-pool in the
//! convolution before it, and in inference a batch norm and the sum with a residual too.
//!
//! After this pass a convolution, linear layer or batch norm whose result only a nonlinearity reads gives that nonlinearity's
//! result; one whose result only a max-pool reads, where the target can, gives the pool's. In inference there is no dropout and no
//! statistic of a batch.

use std::collections::HashMap;

use crate::ir::{
    Act, Conv, Fill, Frame, Item, Kind, Norm, NormTensors, Op, Order, Program, Repeat, Store, Tensor, TensorId, ValueId,
};
use crate::ops::elements;
use crate::target::{Class, Target};

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanKind {
    /// Forward, loss and backward, with the statistics of the batch.
    Training,
    /// Forward as in training, dropout and the statistics of the batch included: how the book evaluates.
    Evaluation,
    /// Forward, with the running statistics.
    Inference,
    /// Forward as in inference, loss, and backward to the inputs.
    InputGradients,
    /// Forward as in inference, with nothing fused and everything kept: the twin that the others are tested against.
    Probe,
}

impl PlanKind {
    /// Whether it has a backward pass.
    pub fn has_backward(self) -> bool {
        matches!(self, PlanKind::Training | PlanKind::InputGradients)
    }

    /// Whether it runs as in inference: with the running statistics and without dropout.
    pub fn infers(self) -> bool {
        matches!(self, PlanKind::Inference | PlanKind::InputGradients | PlanKind::Probe)
    }
}

/// A batch norm that inference finds in the weights of the layer before it.
#[derive(Clone, Debug)]
pub struct Folded {
    /// The weight that is scaled, in a copy.
    pub weight: TensorId,
    /// The layer's bias, when it has one.
    pub bias: Option<TensorId>,
    /// Where its bias is in the copy.
    pub folded_bias: TensorId,
    /// The batch norm's tensors.
    pub norm: NormTensors,
    /// Its sizes and numbers.
    pub sizes: Norm,
}

/// Makes a program that of a plan, with nothing fused: the places of maxima are for backward, and without it there is neither
/// dropout nor a statistic of the batch.
pub fn specialise(mut program: Program, kind: PlanKind) -> Program {
    if kind.has_backward() {
        let mut body = std::mem::take(&mut program.body);
        keep_places(&mut body, &mut program);
        program.body = body;
    }
    if kind.infers() {
        let mut renamed = HashMap::new();
        let body = std::mem::take(&mut program.body);
        program.body = without_training(body, &mut renamed);
        program.outputs.iter_mut().for_each(|output| *output = current(&renamed, *output));
    }
    program
}

/// Fuses a program for a plan. The batch norms that were folded come with it.
pub fn fuse(program: Program, kind: PlanKind, target: Target) -> (Program, Vec<Folded>) {
    let mut program = specialise(program, kind);
    let mut folded = Vec::new();
    if kind != PlanKind::Probe {
        let readers = readers(&program);
        let mut body = std::mem::take(&mut program.body);
        join_frames(&mut body, &readers);
        join_acts(&mut body, &readers);
        if matches!(kind, PlanKind::Inference | PlanKind::InputGradients) {
            let uses = tensor_uses(&body);
            fold_norms(&mut body, &readers, &uses, &mut program, &mut folded);
        }
        join_pools(&mut body, &readers, kind, target);
        // Behind a pool, too, a nonlinearity may have come within reach.
        join_acts(&mut body, &readers);
        join_sums(&mut body, &readers, kind, target);
        join_acts(&mut body, &readers);
        program.body = body;
    }
    (program, folded)
}

/// Lets each max-pool tell the places of its maxima, and each norm of groups their moments, which backward reads.
fn keep_places(body: &mut [Item], program: &mut Program) {
    for item in body {
        match item {
            Item::Loop(looped) => keep_places(&mut looped.body, program),
            Item::Op(op) if matches!(op.kind, Kind::MaxPool(..)) => {
                let of = &program.values[op.writes[0].0.0 as usize];
                let (shape, name) = (of.shape.clone(), format!("{} places", of.name));
                op.writes.push((program.value(shape, name), Store::Write));
            }
            Item::Op(op) => {
                if let Kind::GroupNorm(norm, ..) = op.kind {
                    let name = format!("{} moments", program.values[op.writes[0].0.0 as usize].name);
                    op.writes.push((program.value(vec![2 * norm.groups], name), Store::Write));
                }
            }
        }
    }
}

fn current(renamed: &HashMap<ValueId, ValueId>, value: ValueId) -> ValueId {
    renamed.get(&value).copied().unwrap_or(value)
}

/// Leaves dropout out, and lets batch norms use their running statistics.
fn without_training(body: Vec<Item>, renamed: &mut HashMap<ValueId, ValueId>) -> Vec<Item> {
    let mut kept = Vec::with_capacity(body.len());
    for item in body {
        match item {
            Item::Op(mut op) => {
                op.reads.iter_mut().for_each(|read| *read = current(renamed, *read));
                match op.kind {
                    Kind::Dropout(..) => {
                        renamed.insert(op.writes[0].0, op.reads[0]);
                        continue;
                    }
                    Kind::BatchNorm(norm, tensors, act, _) => op.kind = Kind::NormByRunning(norm, tensors, act),
                    _ => {}
                }
                kept.push(Item::Op(op));
            }
            Item::Loop(mut looped) => {
                looped.outer = current(renamed, looped.outer);
                looped.body = without_training(std::mem::take(&mut looped.body), renamed);
                // What a loop ends with is a value of its own.
                let end = current(renamed, looped.end);
                if end <= looped.start {
                    let (kind, writes) = (Kind::Copy, vec![(looped.end, Store::Write)]);
                    looped.body.push(Item::Op(Op { kind, reads: vec![end], writes, layer: looped.layer }));
                } else {
                    looped.end = end;
                }
                kept.push(Item::Loop(looped));
            }
        }
    }
    kept
}

/// How many ops, loops and outputs read each value.
pub(crate) fn readers(program: &Program) -> Vec<u32> {
    fn count(body: &[Item], readers: &mut [u32]) {
        for item in body {
            match item {
                Item::Op(op) => op.reads.iter().for_each(|read| readers[read.0 as usize] += 1),
                Item::Loop(looped) => {
                    readers[looped.outer.0 as usize] += 1;
                    readers[looped.end.0 as usize] += 1;
                    count(&looped.body, readers);
                }
            }
        }
    }
    let mut readers = vec![0; program.values.len()];
    count(&program.body, &mut readers);
    program.outputs.iter().for_each(|output| readers[output.0 as usize] += 1);
    readers
}

/// The op before place `at` that makes `value`, when it stands in the same body and nothing else reads it.
fn sole_maker(body: &[Item], at: usize, value: ValueId, readers: &[u32]) -> Option<usize> {
    if readers[value.0 as usize] != 1 {
        return None;
    }
    body[..at]
        .iter()
        .rposition(|item| matches!(item, Item::Op(op) if op.writes.first().is_some_and(|write| write.0 == value)))
}

/// Lets each convolution that alone reads a map with as many zeros on either side have them as its padding.
fn join_frames(body: &mut Vec<Item>, readers: &[u32]) {
    let mut at = 0;
    while at < body.len() {
        if let Item::Loop(looped) = &mut body[at] {
            join_frames(&mut looped.body, readers);
        }
        if let Item::Op(Op { kind: Kind::Conv(conv, ..), reads, .. }) = &body[at]
            && let Some(maker) = sole_maker(body, at, reads[0], readers)
            && let Item::Op(Op { kind: Kind::Frame(_, frame), reads: framed, .. }) = &body[maker]
            && let Some(conv) = with_padding(conv, frame)
        {
            let framed = framed[0];
            if let Item::Op(Op { kind: Kind::Conv(of, ..), reads, .. }) = &mut body[at] {
                (*of, reads[0]) = (conv, framed);
            }
            body.remove(maker);
            continue;
        }
        at += 1;
    }
}

/// A convolution with the zeros of a frame as its padding, if its windows all see something of the map.
fn with_padding(conv: &Conv, frame: &Frame) -> Option<Conv> {
    let mut conv = *conv;
    for axis in 0..3 {
        let before = u64::try_from(frame.before[axis]).ok()?;
        let window = &mut conv.window;
        window.padding[axis] += before;
        window.size[axis] = frame.size[axis];
        let is_even = frame.out_size[axis] == frame.size[axis] + 2 * before;
        if !is_even || window.padding[axis] > (window.kernel[axis] - 1) * window.dilation[axis] {
            return None;
        }
    }
    Some(conv)
}

/// Lets each nonlinearity run in the op that makes its input.
fn join_acts(body: &mut Vec<Item>, readers: &[u32]) {
    let mut at = 0;
    while at < body.len() {
        if let Item::Loop(looped) = &mut body[at] {
            join_acts(&mut looped.body, readers);
        }
        if let Item::Op(Op { kind: Kind::Act(act), reads, writes, .. }) = &body[at] {
            let (act, read, write) = (*act, reads[0], writes[0]);
            if let Some(maker) = sole_maker(body, at, read, readers)
                && let Item::Op(op) = &mut body[maker]
                && let Kind::Conv(.., own)
                | Kind::ConvPool(.., own)
                | Kind::ConvAdd(.., own, Order::Before)
                | Kind::ConvTranspose(.., own)
                | Kind::Linear(.., own)
                | Kind::BatchNorm(_, _, own, None | Some(Order::Before))
                | Kind::NormByRunning(.., own) = &mut op.kind
                && *own == Act::None
            {
                *own = act;
                op.writes[0] = write;
                body.remove(at);
                continue;
            }
        }
        at += 1;
    }
}

/// Lets each max-pool run in the convolution that makes its input. The nonlinearity between them, which never falls, then sees the
/// maxima alone: the greatest of several values is what the greatest of their images comes from.
fn join_pools(body: &mut Vec<Item>, readers: &[u32], kind: PlanKind, target: Target) {
    let mut at = 0;
    while at < body.len() {
        if let Item::Loop(looped) = &mut body[at] {
            join_pools(&mut looped.body, readers, kind, target);
        }
        if let Item::Op(Op { kind: Kind::MaxPool(_, window), reads, writes, .. }) = &body[at] {
            let (window, read, writes) = (*window, reads[0], writes.clone());
            if let Some(maker) = sole_maker(body, at, read, readers)
                && let Item::Op(op) = &mut body[maker]
                && let Kind::Conv(conv, weight, bias, act) = op.kind
                && target.pools_in_conv(&conv, &window, kind)
            {
                op.kind = Kind::ConvPool(conv, weight, bias, act);
                op.writes = writes;
                body.remove(at);
                continue;
            }
        }
        at += 1;
    }
}

/// Lets each sum run in the op that makes one side of it, the last of the two to be made: a batch norm, or in inference a
/// convolution.
fn join_sums(body: &mut Vec<Item>, readers: &[u32], kind: PlanKind, target: Target) {
    let mut at = 0;
    while at < body.len() {
        if let Item::Loop(looped) = &mut body[at] {
            join_sums(&mut looped.body, readers, kind, target);
        }
        if let Item::Op(Op { kind: Kind::Add, reads, writes, .. }) = &body[at] {
            let (reads, write) = (reads.clone(), writes[0]);
            let makers = [0, 1].map(|side| sole_maker(body, at, reads[side], readers).map(|maker| (maker, side)));
            let last = makers.into_iter().flatten().max();
            let is_made = |value: ValueId, before: usize| {
                !body[before..at].iter().any(|item| match item {
                    Item::Op(op) => op.writes.iter().any(|write| write.0 == value),
                    Item::Loop(looped) => looped.result == value,
                })
            };
            if let Some((maker, side)) = last
                && reads[0] != reads[1]
                && is_made(reads[1 - side], maker)
                && let Item::Op(op) = &mut body[maker]
                && let Kind::Conv(.., act) | Kind::BatchNorm(_, _, act, None) = op.kind
            {
                let order = if act == Act::None { Order::Before } else { Order::Behind };
                match &mut op.kind {
                    // Behind another nonlinearity its derivative could not be told from the sum.
                    Kind::BatchNorm(_, _, Act::None | Act::Relu, of) => *of = Some(order),
                    Kind::Conv(conv, weight, bias, act)
                        if kind == PlanKind::Inference && target.conv(conv) != Class::Plain =>
                    {
                        op.kind = Kind::ConvAdd(*conv, *weight, *bias, *act, order);
                    }
                    _ => {
                        at += 1;
                        continue;
                    }
                }
                op.reads.push(reads[1 - side]);
                op.writes[0] = write;
                body.remove(at);
                continue;
            }
        }
        at += 1;
    }
}

/// How many ops read each tensor.
fn tensor_uses(body: &[Item]) -> HashMap<TensorId, u32> {
    fn count(body: &[Item], uses: &mut HashMap<TensorId, u32>) {
        for item in body {
            match item {
                Item::Loop(looped) => count(&looped.body, uses),
                Item::Op(op) => {
                    let tensors = match &op.kind {
                        Kind::Conv(_, weight, bias, _)
                        | Kind::ConvTranspose(_, weight, bias, _)
                        | Kind::Linear(_, weight, bias, _) => [Some(*weight), *bias],
                        Kind::NormByRunning(_, tensors, _) => [Some(tensors.mean), None],
                        _ => [None, None],
                    };
                    tensors.into_iter().flatten().for_each(|tensor| *uses.entry(tensor).or_default() += 1);
                }
            }
        }
    }
    let mut uses = HashMap::new();
    count(body, &mut uses);
    uses
}

/// Folds each batch norm into the layer that makes its input, when that layer's weights and the norm's are used nowhere else and
/// come in the same sets.
fn fold_norms(
    body: &mut Vec<Item>,
    readers: &[u32],
    uses: &HashMap<TensorId, u32>,
    program: &mut Program,
    folded: &mut Vec<Folded>,
) {
    let mut at = 0;
    while at < body.len() {
        if let Item::Loop(looped) = &mut body[at] {
            fold_norms(&mut looped.body, readers, uses, program, folded);
        }
        if let Item::Op(Op { kind: Kind::NormByRunning(sizes, norm, act), reads, writes, .. }) = &body[at] {
            let (sizes, norm, act, read, write) = (*sizes, *norm, *act, reads[0], writes[0]);
            if let Some(maker) = sole_maker(body, at, read, readers)
                && let Item::Op(op) = &mut body[maker]
                // The channels of several rows are the rows, not the features.
                && !matches!(&op.kind, Kind::Linear(linear, ..) if linear.rows > 1)
                && let Kind::Conv(_, weight, bias, own) | Kind::Linear(_, weight, bias, own) = &mut op.kind
                && *own == Act::None
                && program.tensor(*weight).shape[0] == sizes.channels
                && uses[weight] == 1
                && uses[&norm.mean] == 1
                && sets(program.tensor(*weight)) == sets(program.tensor(norm.mean))
            {
                let folded_bias = bias.unwrap_or_else(|| place_for_bias(program, *weight, sizes.channels));
                folded.push(Folded { weight: *weight, bias: *bias, folded_bias, norm, sizes });
                *bias = Some(folded_bias);
                *own = act;
                op.writes[0] = write;
                body.remove(at);
                continue;
            }
        }
        at += 1;
    }
}

/// The repeats that give a tensor separate sets.
fn sets(tensor: &Tensor) -> Vec<(crate::net::LayerId, u64)> {
    tensor.repeats.iter().filter(|repeat| repeat.stride > 0).map(|repeat| (repeat.layer, repeat.count)).collect()
}

/// A bias for a folded layer that has none: behind the running statistics, in as many sets as the weight.
fn place_for_bias(program: &mut Program, weight: TensorId, channels: u64) -> TensorId {
    let mut stride = channels;
    let mut repeats: Vec<Repeat> = Vec::new();
    for repeat in program.tensor(weight).repeats.iter().rev().filter(|repeat| repeat.stride > 0) {
        repeats.insert(0, Repeat { stride, ..*repeat });
        stride *= repeat.count;
    }
    let offset = program.statistics;
    program.statistics += stride;
    let name = format!("{} folded bias", program.tensor(weight).name);
    let shape = vec![channels];
    debug_assert_eq!(elements(&shape), channels);
    program.tensors.push(Tensor { name, shape, offset, repeats, fill: Fill::Constant(0.0), trainable: false });
    TensorId(program.tensors.len() as u32 - 1)
}
