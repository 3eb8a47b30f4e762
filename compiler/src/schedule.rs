//! Program to schedule: a tree of stages, loops and calls.
//!
//! After this pass there are no ops and values, only calls and the slots they read and write. A stage is what one tile of samples
//! runs without waiting for the others; calls that need the whole batch stand between stages. Every slot has a [`Layout`], for
//! now the plain one, and every operand is a view of a slot: emitters only print this tree, once [`crate::plan`] has given
//! the slots their places.

use std::collections::HashMap;

use crate::fuse::PlanKind;
use crate::ir::{Act, Item, Kind, Loop, Norm, NormTensors, Op, Program, Store, TensorId, ValueId};
use crate::net::LayerId;
use crate::ops::elements;

/// A slot of [`Schedule::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u32);

/// What runs, and the memory it runs in.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What it is for.
    pub kind: PlanKind,
    /// In order.
    pub steps: Vec<Step>,
    /// The memory of values.
    pub slots: Vec<Slot>,
    /// Where the outputs are.
    pub outputs: Vec<Operand>,
}

/// How the elements of a slot lie, for one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// PyTorch's order: channels, then rows, then columns.
    Plain,
    /// Planes of 16 or 8 lanes of channels; `segments` lists what lies in which, `halo` elements are kept beside the map, before and
    /// behind, on each axis.
    Blocked {
        /// Plane, lanes, count of real ones.
        segments: Vec<(u32, u32, u32)>,
        /// Elements beside the map.
        halo: [(u32, u32); 3],
    },
    /// Channels innermost, rows padded to a multiple of 16.
    Rows {
        /// Channels.
        channels: u32,
    },
}

/// The memory of one value, or of one for each iteration of the loops that save it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What is in it.
    pub name: String,
    /// Floats of one value.
    pub len: u64,
    /// How they lie.
    pub layout: Layout,
    /// The body it is made in.
    pub home: Vec<LoopId>,
    /// Of a loop's carried value: that loop.
    pub chain: Option<LoopId>,
}

/// A loop of the schedule, forward and reversed ones apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopId(pub u32);

/// A view of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The slot.
    pub slot: SlotId,
    /// Which element of a loop's carried values.
    pub at: At,
    /// The first element and how many, when it is not all of them. (An origin inside the halo is such a first element.)
    pub part: Option<(u64, u64)>,
}

/// Which of a loop's carried values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// What an iteration starts from; of other slots, the iteration's own value.
    Here,
    /// What the next iteration starts from.
    Next,
    /// What the first one starts from.
    First,
    /// What the last one ends with.
    Last,
}

/// A step of the whole batch.
#[derive(Clone, Debug)]
pub enum Step {
    /// Runs for each tile.
    Stage(Vec<Node>),
    /// Runs once for the batch.
    Whole(Call),
    /// A loop with more than one stage.
    Loop(Repeated<Step>),
}

/// A part of a stage.
#[derive(Clone, Debug)]
pub enum Node {
    /// A call.
    Call(Call),
    /// A loop inside the stage.
    Loop(Repeated<Node>),
}

/// A loop of steps or nodes.
#[derive(Clone, Debug)]
pub struct Repeated<T> {
    /// Which loop.
    pub id: LoopId,
    /// The repeat's layer: its variable and the strides of its tensors go by it.
    pub layer: LayerId,
    /// For a function's name.
    pub name: String,
    /// Iterations.
    pub count: u64,
    /// From the last to the first.
    pub reversed: bool,
    /// What runs.
    pub body: Vec<T>,
}

/// A kernel call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which kernel, with its geometry.
    pub kernel: Kernel,
    /// What it reads.
    pub reads: Vec<Operand>,
    /// What it writes or adds to.
    pub writes: Vec<(Operand, Store)>,
    /// The layer it comes from.
    pub layer: LayerId,
}

/// A kernel's class and geometry.
#[derive(Clone, Debug, PartialEq)]
pub enum Kernel {
    /// An op that is one kernel.
    Op(Kind),
    /// A linear layer's weight gradient over the whole batch.
    LinearGradWeightBatch(crate::ir::Linear, TensorId, Option<TensorId>),
    /// `x -> sums`: mean and squared deviations of each sample's channels.
    NormStatistics(Norm),
    /// `sums ->`: statistics of the batch, and the running ones.
    NormMerge(Norm, NormTensors),
    /// `x -> y` by the batch's statistics.
    NormForward(Norm, NormTensors, Act),
    /// `x, dy -> sums`
    NormSums(Norm),
    /// `sums ->`: gradients of weight and bias, coefficients of `dx`.
    NormMergeBackward(Norm, NormTensors),
    /// `x, dy -> dx`
    NormBackward(Norm),
}

/// A linear weight's floats above which its gradient is made for the whole batch at once: below, one for each tile stays in cache.
const TILE_GRADIENT_FLOATS: u64 = 16 << 10;

/// Schedules a program.
pub fn schedule(program: &Program, kind: PlanKind) -> Schedule {
    let mut scheduler = Scheduler { program, slots: Vec::new(), of_value: HashMap::new(), path: Vec::new(), loops: 0 };
    let steps = scheduler.body(&program.body, Steps::default()).finish();
    // Training's outputs end in the loss.
    let outputs = program.outputs.iter().filter(|_| kind != PlanKind::Training);
    let outputs = outputs.map(|&output| scheduler.operand(output)).collect();
    Schedule { kind, steps, slots: scheduler.slots, outputs }
}

struct Scheduler<'a> {
    program: &'a Program,
    slots: Vec<Slot>,
    of_value: HashMap<ValueId, Operand>,
    path: Vec<LoopId>,
    loops: u32,
}

impl Scheduler<'_> {
    fn slot(&mut self, name: String, len: u64, chain: Option<LoopId>) -> Operand {
        let slot = Slot { name, len, layout: Layout::Plain, home: self.path.clone(), chain };
        self.slots.push(slot);
        Operand { slot: SlotId(self.slots.len() as u32 - 1), at: At::Here, part: None }
    }

    /// The slot of a value, made at its first mention, which is where it is written.
    fn operand(&mut self, value: ValueId) -> Operand {
        if let Some(operand) = self.of_value.get(&value) {
            return operand.clone();
        }
        let of = &self.program.values[value.0 as usize];
        let operand = self.slot(of.name.clone(), elements(&of.shape), None);
        self.of_value.insert(value, operand.clone());
        operand
    }

    fn body(&mut self, items: &[Item], mut steps: Steps) -> Steps {
        for item in items {
            match item {
                Item::Op(op) => self.op(op, &mut steps),
                Item::Loop(looped) => self.looped(looped, &mut steps),
            }
        }
        steps
    }

    fn op(&mut self, op: &Op, steps: &mut Steps) {
        let reads: Vec<Operand> = op.reads.iter().map(|&read| self.operand(read)).collect();
        let writes: Vec<(Operand, Store)> =
            op.writes.iter().map(|&(write, store)| (self.operand(write), store)).collect();
        let layer = op.layer;
        let call =
            |kernel: Kernel, reads: Vec<Operand>, writes: Vec<(Operand, Store)>| Call { kernel, reads, writes, layer };
        match op.kind.clone() {
            Kind::BatchNorm(norm, tensors, act) => {
                let sums = self.slot(
                    format!("{} statistics", self.slots[writes[0].0.slot.0 as usize].name),
                    2 * norm.channels,
                    None,
                );
                let written = vec![(sums.clone(), Store::Write)];
                steps.call(call(Kernel::NormStatistics(norm), reads.clone(), written));
                steps.whole(call(Kernel::NormMerge(norm, tensors), vec![sums], Vec::new()));
                steps.call(call(Kernel::NormForward(norm, tensors, act), reads, writes));
            }
            Kind::BatchNormGrad(norm, tensors) => {
                let sums = self.slot(
                    format!("{} sums", self.slots[writes[0].0.slot.0 as usize].name),
                    2 * norm.channels,
                    None,
                );
                let written = vec![(sums.clone(), Store::Write)];
                steps.call(call(Kernel::NormSums(norm), reads.clone(), written));
                steps.whole(call(Kernel::NormMergeBackward(norm, tensors), vec![sums], Vec::new()));
                steps.call(call(Kernel::NormBackward(norm), reads, writes));
            }
            Kind::LinearGradWeight(linear, weight, bias) if linear.inputs * linear.outputs > TILE_GRADIENT_FLOATS => {
                steps.later.push(call(Kernel::LinearGradWeightBatch(linear, weight, bias), reads, writes));
            }
            Kind::Concat => {
                let (into, _) = writes[0].clone();
                let mut from = 0;
                for read in reads {
                    let len = self.slots[read.slot.0 as usize].len;
                    let part = Operand { part: Some((from, len)), ..into.clone() };
                    steps.call(call(Kernel::Op(Kind::Copy), vec![read], vec![(part, Store::Write)]));
                    from += len;
                }
            }
            Kind::Slice(from) => {
                let len = self.slots[writes[0].0.slot.0 as usize].len;
                let part = Operand { part: Some((from, len)), ..reads[0].clone() };
                steps.call(call(Kernel::Op(Kind::Copy), vec![part], writes));
            }
            kind => steps.call(call(Kernel::Op(kind), reads, writes)),
        }
    }

    /// A loop's carried values are a chain of slots: an iteration starts from one and ends with the next.
    fn looped(&mut self, looped: &Loop, steps: &mut Steps) {
        let id = LoopId(self.loops);
        self.loops += 1;
        let layer = looped.layer;
        let len = self.program.len(looped.start);
        let chain = self.slot(format!("{} carried", looped.name), len, Some(id));
        let at = |at: At| Operand { at, ..chain.clone() };
        let copy = |from: Operand, to: Operand| Call {
            kernel: Kernel::Op(Kind::Copy),
            reads: vec![from],
            writes: vec![(to, Store::Write)],
            layer,
        };
        let outer = self.operand(looped.outer);
        steps.call(copy(outer, at(At::First)));
        self.of_value.insert(looped.start, at(At::Here));
        self.path.push(id);
        let mut body = self.body(&looped.body, Steps::default());
        let end = self.operand(looped.end);
        body.call(copy(end, at(At::Next)));
        let body = body.finish();
        self.path.pop();
        self.of_value.insert(looped.result, at(At::Last));
        let (name, count, reversed) = (looped.name.clone(), looped.count, looped.reversed);
        match <[Step; 1]>::try_from(body) {
            Ok([Step::Stage(body)]) => steps.node(Node::Loop(Repeated { id, layer, name, count, reversed, body })),
            Ok([step]) => steps.step(Step::Loop(Repeated { id, layer, name, count, reversed, body: vec![step] })),
            Err(body) => steps.step(Step::Loop(Repeated { id, layer, name, count, reversed, body })),
        }
    }
}

/// Steps as they are found: calls gather in a stage until something needs the whole batch.
#[derive(Default)]
struct Steps {
    done: Vec<Step>,
    stage: Vec<Node>,
    /// Calls on the whole batch that nothing waits for.
    later: Vec<Call>,
}

impl Steps {
    fn call(&mut self, call: Call) {
        self.stage.push(Node::Call(call));
    }

    fn node(&mut self, node: Node) {
        self.stage.push(node);
    }

    fn step(&mut self, step: Step) {
        if !self.stage.is_empty() {
            self.done.push(Step::Stage(std::mem::take(&mut self.stage)));
        }
        self.done.push(step);
    }

    fn whole(&mut self, call: Call) {
        self.step(Step::Whole(call));
    }

    fn finish(mut self) -> Vec<Step> {
        if !self.stage.is_empty() {
            self.done.push(Step::Stage(self.stage));
        }
        self.done.extend(self.later.into_iter().map(Step::Whole));
        self.done
    }
}
