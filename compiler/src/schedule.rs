//! Program to schedule: a tree of stages, loops and calls.
//!
//! After this pass there are no ops and values, only calls and the slots they read and write. A stage is what one tile of samples
//! runs without waiting for the others, so tiles are its parallel axis; calls that need the whole batch stand between stages, and
//! their parallel axis is their own. Gradients that are made once for the batch wait for the end of the stage that makes what they
//! read. Every operand is a view of a slot, which has the [`Layout`] of its value; a call says which class of kernel it is, and names the
//! packed copies of weights that kernel reads. Emitters only print this tree, once [`crate::plan`] has given the slots their places.

use std::collections::HashMap;

use crate::fuse::{PlanKind, readers};
use crate::ir::{Act, Conv, Item, Kind, Linear, Loop, Norm, NormTensors, Op, Order, Program, Store, TensorId, ValueId};
use crate::layout::{Blocked, Layout, Plane};
use crate::net::LayerId;
use crate::ops::elements;
use crate::target::{Class, Target};

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
    /// The copies of weights that kernels read; made again whenever the weights have changed, before anything runs.
    pub packed: Vec<Packed>,
    /// Where the outputs are.
    pub outputs: Vec<Operand>,
}

/// A copy of [`Schedule::packed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackedId(pub u32);

/// Weights in the order in which a kernel reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The weights.
    pub tensor: TensorId,
    /// Whose order.
    pub order: PackedOrder,
    /// Floats.
    pub len: u64,
}

/// An order of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackedOrder {
    /// That of a convolution's kernel.
    Conv {
        /// Which kernel.
        class: Class,
        /// Whether it is the one of grad-input, whose lanes are input channels.
        transposed: bool,
        /// The convolution.
        conv: Conv,
        /// Planes of its input.
        x: Vec<Plane>,
        /// Planes of its output.
        y: Vec<Plane>,
    },
    /// That of a linear layer's forward kernel.
    Linear(Linear),
}

/// What a convolution's kernel does with its sums before it stores them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Epilogue {
    /// Takes the maxima of windows of 2 by 2.
    MaxPool,
    /// Adds a bias.
    Bias(TensorId),
    /// Adds the call's second read.
    Add,
    /// Applies a nonlinearity.
    Act(Act),
    /// Multiplies with the derivative of a nonlinearity, whose result is the call's last read: of what the sums are, or of what is read
    /// first.
    Back(Act),
    /// Writes the sums of [`Kernel::NormStatistics`] too, of what it stores.
    Moments(Norm),
}

/// The memory of one value, or of one for each iteration of the loops that save it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What is in it.
    pub name: String,
    /// Floats of one value, as its layout has them.
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
    /// Which part of the slot, when it is not all of it.
    pub part: Option<Part>,
}

/// A part of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of a plain one: the first element and how many.
    Elements(u64, u64),
    /// Of one in planes: the first plane and how many.
    Planes(usize, usize),
}

impl Schedule {
    /// How an operand lies in its part of its slot.
    pub fn layout(&self, operand: &Operand) -> Layout {
        let slot = &self.slots[operand.slot.0 as usize];
        match (&slot.layout, &operand.part) {
            (Layout::Blocked(map), Some(Part::Planes(first, count))) => {
                Layout::Blocked(Blocked { planes: map.planes[*first..first + count].to_vec(), ..map.clone() })
            }
            (layout, _) => layout.clone(),
        }
    }

    /// The first float of an operand in its slot, and how many.
    pub fn floats(&self, operand: &Operand) -> (u64, u64) {
        let slot = &self.slots[operand.slot.0 as usize];
        match (&slot.layout, &operand.part) {
            (_, None) => (0, slot.len),
            (Layout::Blocked(map), Some(Part::Planes(first, count))) => {
                (map.planes_len(0..*first), map.planes_len(*first..first + count))
            }
            (_, Some(Part::Elements(from, len))) => (*from, *len),
            (_, Some(Part::Planes(..))) => (0, slot.len),
        }
    }
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
// A schedule is short, and calls are most of it.
#[allow(clippy::large_enum_variant)]
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
#[allow(clippy::large_enum_variant)]
pub enum Node {
    /// A call.
    Call(Call),
    /// A loop inside the stage.
    Loop(Repeated<Node>),
    /// What a loop of steps begins early; [`crate::plan`] makes it.
    Begin(Begin),
}

/// The first stage of an iteration of a loop of steps, as a part of the stage before it.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The loop, with that stage alone.
    pub looped: Repeated<Node>,
    /// Whether it is the iteration behind the one that is running, if there is another; else the first.
    pub is_next: bool,
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
    /// Whether the first stage of each iteration is a part of the stage before: a [`Begin`].
    pub begins_early: bool,
    /// What runs.
    pub body: Vec<T>,
}

/// A kernel call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which kernel, with its geometry.
    pub kernel: Kernel,
    /// Of the kernels for that geometry, which.
    pub class: Class,
    /// What it reads.
    pub reads: Vec<Operand>,
    /// What it writes or adds to.
    pub writes: Vec<(Operand, Store)>,
    /// The packed weights that it reads in place of the parameters.
    pub packed: Option<PackedId>,
    /// What it does with its sums, in order.
    pub epilogue: Vec<Epilogue>,
    /// Floats for its own use, of each worker.
    pub scratch: u64,
    /// The layer it comes from.
    pub layer: LayerId,
}

/// A kernel's class and geometry.
#[derive(Clone, Debug, PartialEq)]
pub enum Kernel {
    /// An op that is one kernel.
    Op(Kind),
    /// A linear layer over the whole batch, whose weights are then read once.
    LinearBatch(Linear, TensorId, Option<TensorId>, Act),
    /// A linear layer's gradient by its input over the whole batch, as [`Kernel::LinearBatch`].
    LinearGradInputBatch(Linear, TensorId),
    /// A linear layer's weight gradient over the whole batch: written where it is the only part of the weight's gradient, else added.
    LinearGradWeightBatch(Linear, TensorId, Option<TensorId>, Store),
    /// A convolution's weight gradient over the whole batch.
    ConvGradWeightBatch(Conv, TensorId, Option<TensorId>),
    /// `x -> sums`: mean and squared deviations of each sample's channels; on a card of each part's, [`Target::norm_sums`].
    NormStatistics(Norm),
    /// `sums ->`: statistics of the batch, and the running ones.
    NormMerge(Norm, NormTensors),
    /// `x -> y` by the batch's statistics, as [`Kind::BatchNorm`].
    NormForward(Norm, NormTensors, Act, Option<Order>),
    /// `x, dy -> sums`
    NormSums(Norm, NormTensors, Act),
    /// `sums ->`: gradients of weight and bias, coefficients of `dx`.
    NormMergeBackward(Norm, NormTensors),
    /// `x, dy -> dx`
    NormBackward(Norm, NormTensors, Act),
}

/// A linear weight's floats above which its gradient is made for the whole batch at once, and not cleared and added up for each tile: that
/// was 5 % of a step of `net`, with 64 KiB of weights. Smaller ones were not tried.
const TILE_GRADIENT_FLOATS: u64 = 8 << 10;

/// A linear weight's floats above which the whole batch goes through it at once: more than a core's second cache holds, so that each
/// tile would read them from further away; and enough work to share out for a single sample.
const BATCH_FLOATS: u64 = 256 << 10;

/// Schedules a program whose values have these layouts.
pub fn schedule(program: &Program, layouts: &[Layout], kind: PlanKind, target: Target) -> Schedule {
    let mut scheduler = Scheduler {
        program,
        kind,
        layouts,
        target,
        slots: Vec::new(),
        packed: Vec::new(),
        of_value: HashMap::new(),
        path: Vec::new(),
        loops: 0,
        ops: 0,
        last_writes: last_writes(program),
        readers: readers(program),
    };
    let steps = scheduler.body(&program.body, Steps::new(target)).finish();
    // Training's outputs end in the loss.
    let outputs = program.outputs.iter().filter(|_| kind != PlanKind::Training);
    let outputs = outputs.map(|&output| scheduler.operand(output)).collect();
    Schedule { kind, steps, slots: scheduler.slots, packed: scheduler.packed, outputs }
}

/// How many ops make a part of the gradient of a linear layer's weight.
fn gradients_of(weight: TensorId, body: &[Item]) -> usize {
    let of_item = |item: &Item| match item {
        Item::Loop(looped) => gradients_of(weight, &looped.body),
        Item::Op(op) => usize::from(matches!(op.kind, Kind::LinearGradWeight(_, of, _) if of == weight)),
    };
    body.iter().map(of_item).sum()
}

impl Schedule {
    /// The tensors whose gradient is written before anything is added to it.
    pub fn written(&self) -> impl Iterator<Item = TensorId> {
        self.steps.iter().filter_map(|step| match step {
            Step::Whole(Call { kernel: Kernel::LinearGradWeightBatch(_, weight, _, Store::Write), .. }) => {
                Some(*weight)
            }
            _ => None,
        })
    }
}

struct Scheduler<'a> {
    program: &'a Program,
    kind: PlanKind,
    layouts: &'a [Layout],
    target: Target,
    slots: Vec<Slot>,
    packed: Vec<Packed>,
    of_value: HashMap<ValueId, Operand>,
    path: Vec<LoopId>,
    loops: u32,
    /// Ops that were scheduled before.
    ops: usize,
    /// The last op that writes each value, by number.
    last_writes: HashMap<ValueId, usize>,
    /// How many ops, loops and outputs read each value.
    readers: Vec<u32>,
}

/// The last op that writes each value, by its number in the order of the program.
fn last_writes(program: &Program) -> HashMap<ValueId, usize> {
    fn note(items: &[Item], number: &mut usize, last: &mut HashMap<ValueId, usize>) {
        for item in items {
            match item {
                Item::Op(op) => {
                    last.extend(op.writes.iter().map(|&(value, _)| (value, *number)));
                    *number += 1;
                }
                Item::Loop(looped) => note(&looped.body, number, last),
            }
        }
    }
    let mut last = HashMap::new();
    note(&program.body, &mut 0, &mut last);
    last
}

impl Scheduler<'_> {
    fn slot(&mut self, name: String, elements: u64, layout: Layout, chain: Option<LoopId>) -> Operand {
        let slot = Slot { name, len: layout.len(elements), layout, home: self.path.clone(), chain };
        self.slots.push(slot);
        Operand { slot: SlotId(self.slots.len() as u32 - 1), at: At::Here, part: None }
    }

    /// The slot of a value, made at its first mention, which is where it is written.
    fn operand(&mut self, value: ValueId) -> Operand {
        if let Some(operand) = self.of_value.get(&value) {
            return operand.clone();
        }
        let of = &self.program.values[value.0 as usize];
        let layout = self.layouts[value.0 as usize].clone();
        let operand = self.slot(of.name.clone(), elements(&of.shape), layout, None);
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

    /// Whether what an op reads is still there when its stage is over: nothing writes it or adds to it after the op, the next to be
    /// numbered.
    fn may_wait(&self, op: &Op) -> bool {
        op.reads.iter().all(|read| self.last_writes.get(read).is_none_or(|&last| last < self.ops))
    }

    fn op(&mut self, op: &Op, steps: &mut Steps) {
        let may_wait = self.may_wait(op);
        self.ops += 1;
        if !self.target.has_tiles() && self.joins_before(op, steps) {
            return;
        }
        let reads: Vec<Operand> = op.reads.iter().map(|&read| self.operand(read)).collect();
        let writes: Vec<(Operand, Store)> =
            op.writes.iter().map(|&(write, store)| (self.operand(write), store)).collect();
        let layer = op.layer;
        let call = |kernel: Kernel, reads: Vec<Operand>, writes: Vec<(Operand, Store)>| {
            let (class, packed, epilogue, scratch) = (Class::Plain, None, Vec::new(), scratch(&kernel));
            Call { kernel, class, reads, writes, packed, epilogue, scratch, layer }
        };
        match op.kind.clone() {
            kind if conv(&kind).is_some() => {
                let call = self.conv(kind.clone(), op, call(Kernel::Op(op.kind.clone()), reads, writes));
                match kind {
                    Kind::ConvGradWeight(conv, weight, bias)
                        if may_wait && self.target.sums_over_batch(call.class, &conv) =>
                    {
                        let [x, y] = [0, 1].map(|read| self.layouts[op.reads[read].0 as usize].blocked());
                        let planes = |of: Option<&Blocked>| of.map_or(Vec::new(), |map| map.planes.clone());
                        let scratch = self.target.batch_scratch(call.class, &conv, &planes(x), &planes(y));
                        steps.waiting.push(Call {
                            kernel: Kernel::ConvGradWeightBatch(conv, weight, bias),
                            scratch,
                            ..call
                        });
                    }
                    _ if self.is_at_once(&call) => steps.whole(call),
                    _ => steps.call(call),
                }
            }
            Kind::BatchNorm(norm, tensors, act, order) => {
                let sums = self.norm_sums(&norm, "statistics", &writes[0].0);
                if !self.gives_moments(steps, &norm, &reads[0], &sums) {
                    let written = vec![(sums.clone(), Store::Write)];
                    steps.call(call(Kernel::NormStatistics(norm), reads[..1].to_vec(), written));
                }
                steps.whole(call(Kernel::NormMerge(norm, tensors), vec![sums], Vec::new()));
                steps.call(call(Kernel::NormForward(norm, tensors, act, order), reads, writes));
            }
            Kind::BatchNormGrad(norm, tensors, act) => {
                let sums = self.norm_sums(&norm, "sums", &writes[0].0);
                let written = vec![(sums.clone(), Store::Write)];
                steps.call(call(Kernel::NormSums(norm, tensors, act), reads.clone(), written));
                steps.whole(call(Kernel::NormMergeBackward(norm, tensors), vec![sums], Vec::new()));
                steps.call(call(Kernel::NormBackward(norm, tensors, act), reads, writes));
            }
            Kind::Linear(linear, weight, bias, act)
                if self.target.has_tiles() && linear.rows == 1 && linear.inputs * linear.outputs > BATCH_FLOATS =>
            {
                let packed = self
                    .target
                    .packed_linear_len(&linear, self.kind)
                    .map(|len| self.packed(Packed { tensor: weight, order: PackedOrder::Linear(linear), len }));
                let call = call(Kernel::LinearBatch(linear, weight, bias, act), reads, writes);
                steps.whole(Call { packed, ..call });
            }
            Kind::LinearGradInput(linear, weight)
                if self.target.has_tiles() && linear.rows == 1 && linear.inputs * linear.outputs > BATCH_FLOATS =>
            {
                steps.whole(call(Kernel::LinearGradInputBatch(linear, weight), reads, writes));
            }
            Kind::LinearGradWeight(linear, weight, bias)
                if self.target.has_tiles() && may_wait && linear.inputs * linear.outputs > TILE_GRADIENT_FLOATS =>
            {
                let is_all = self.path.is_empty() && gradients_of(weight, &self.program.body) == 1;
                let store = if is_all { Store::Write } else { Store::Add };
                steps.waiting.push(call(Kernel::LinearGradWeightBatch(linear, weight, bias, store), reads, writes));
            }
            Kind::Concat => {
                let (into, _) = writes[0].clone();
                let mut from = 0;
                for (read, operand) in op.reads.iter().zip(reads) {
                    let len = self.program.len(*read);
                    let part = self.part(&into, op.writes[0].0, from, len);
                    steps.call(call(Kernel::Op(Kind::Copy), vec![operand], vec![(part, Store::Write)]));
                    from += len;
                }
            }
            Kind::Slice(from) => {
                let part = self.part(&reads[0], op.reads[0], from, self.program.len(op.writes[0].0));
                steps.call(call(Kernel::Op(Kind::Copy), vec![part], writes));
            }
            Kind::Place(from) => {
                let (into, store) = writes[0].clone();
                let part = self.part(&into, op.writes[0].0, from, self.program.len(op.reads[0]));
                if store == Store::Write {
                    steps.call(call(Kernel::Op(Kind::Zero), Vec::new(), vec![(into, Store::Write)]));
                }
                steps.call(call(Kernel::Op(Kind::Copy), reads, vec![(part, store)]));
            }
            Kind::Load(_) if self.layouts[op.writes[0].0.0 as usize] != Layout::Plain => {
                // It comes in PyTorch's order.
                let scratch = self.program.len(op.writes[0].0);
                steps.call(Call { scratch, ..call(Kernel::Op(op.kind.clone()), reads, writes) });
            }
            Kind::CustomGrad(custom, _, has_weights) => {
                // A layer of a user's own writes, and what it wrote is added; it adds to gradients, also of weights that are not wanted.
                let own = if writes[0].1 == Store::Add { elements(&custom.input) } else { 0 };
                let weights: u64 = custom.weights.iter().map(|(_, shape)| elements(shape)).sum();
                let scratch = own + if has_weights { 0 } else { weights };
                steps.call(Call { scratch, ..call(Kernel::Op(op.kind.clone()), reads, writes) });
            }
            Kind::GroupNorm(norm, ..) | Kind::GroupNormGrad(norm, ..) => {
                let is_plain = self.layouts[op.reads[0].0 as usize] == Layout::Plain;
                // Sums, means, scales and coefficients of each channel in planes; of plain values two numbers of each weight.
                let scratch = match (&op.kind, is_plain) {
                    (Kind::GroupNorm(..), true) => 0,
                    (Kind::GroupNorm(..), false) => 4 * norm.groups * norm.channels,
                    (_, true) => 2 * norm.channels,
                    (_, false) => 7 * norm.groups * norm.channels,
                };
                steps.call(Call { scratch, ..call(Kernel::Op(op.kind.clone()), reads, writes) });
            }
            kind => steps.call(call(Kernel::Op(kind), reads, writes)),
        }
    }

    /// Lets the call before do the step of an op of backward too, where it makes what that reads and nobody else does: the gradient by an
    /// input goes on through the nonlinearity that made the input, and through a nonlinearity to a max-pool's windows.
    fn joins_before(&mut self, op: &Op, steps: &mut Steps) -> bool {
        // Gradients of weights, which write no value, may stand between the two.
        let writes = |step: &Step| !matches!(step, Step::Whole(call) if call.writes.is_empty());
        let Some(at) = steps.done.iter().rposition(writes) else {
            return false;
        };
        let Step::Whole(before) = &steps.done[at] else {
            return false;
        };
        let Kernel::Op(kind) = &before.kernel else {
            return false;
        };
        let through = match (kind, &op.kind) {
            (Kind::ConvGradInput(..) | Kind::LinearGradInput(..), Kind::ActGrad(_)) => op.reads[1],
            (Kind::ActGrad(_), Kind::MaxPoolGrad(..)) => op.reads[0],
            _ => return false,
        };
        // What it made is complete.
        let is_last = self.last_writes.get(&through).is_some_and(|&last| last + 1 < self.ops);
        let makes = self.of_value.get(&through).is_some_and(|made| before.writes == [(made.clone(), Store::Write)]);
        let [(write, store)] = op.writes.as_slice() else {
            return false;
        };
        if !(is_last && makes && self.readers[through.0 as usize] == 1 && before.epilogue.is_empty()) {
            return false;
        }
        let joined = match (kind.clone(), &op.kind) {
            // Sums are added to what is there when they are done.
            (_, Kind::ActGrad(act)) if *store == Store::Write => {
                let reads = vec![before.reads[0].clone(), self.operand(op.reads[0])];
                let (epilogue, writes) = (vec![Epilogue::Back(*act)], vec![(self.operand(*write), *store)]);
                Call { reads, writes, epilogue, ..before.clone() }
            }
            (Kind::ActGrad(act), Kind::MaxPoolGrad(..)) => {
                let reads = vec![before.reads[1].clone(), self.operand(op.reads[1]), before.reads[0].clone()];
                let (epilogue, writes) = (vec![Epilogue::Back(act)], vec![(self.operand(*write), *store)]);
                Call { kernel: Kernel::Op(op.kind.clone()), reads, writes, epilogue, ..before.clone() }
            }
            _ => return false,
        };
        // An element is made of several that are read: what a skip adds to must not be what it reads.
        if joined.reads.iter().any(|read| read.slot == joined.writes[0].0.slot) {
            return false;
        }
        steps.done[at] = Step::Whole(joined);
        true
    }

    /// The slot of a batch norm's sums, named after what they are for.
    fn norm_sums(&mut self, norm: &Norm, what: &str, of: &Operand) -> Operand {
        let name = format!("{} {what}", self.slots[of.slot.0 as usize].name);
        self.slot(name, self.target.norm_sums(norm), Layout::Plain, None)
    }

    /// Lets the call that makes what a batch norm reads give the norm's sums, if its kernel can.
    fn gives_moments(&self, steps: &mut Steps, norm: &Norm, of: &Operand, sums: &Operand) -> bool {
        let makes = |call: &Call| matches!(call.writes.as_slice(), [(write, Store::Write)] if write == of);
        let maker = steps.done.iter_mut().rev().find_map(|step| match step {
            Step::Whole(call) if makes(call) => Some(call),
            _ => None,
        });
        let Some(Call { kernel: Kernel::Op(kind), writes, epilogue, .. }) = maker else {
            return false;
        };
        if !self.target.gives_moments(kind, norm) {
            return false;
        }
        writes.push((sums.clone(), Store::Write));
        epilogue.push(Epilogue::Moments(*norm));
        true
    }

    /// A part of a value, from an element on: the planes that have it, where it is in planes.
    fn part(&self, whole: &Operand, value: ValueId, from: u64, len: u64) -> Operand {
        let part = match &self.layouts[value.0 as usize] {
            Layout::Blocked(map) => {
                let positions: u64 = map.size.iter().product();
                let plane_at = |element: u64| {
                    let mut channels = 0;
                    let is_before = |plane: &&Plane| {
                        channels += plane.channels;
                        channels * positions <= element
                    };
                    map.planes.iter().take_while(is_before).count()
                };
                let first = plane_at(from);
                Part::Planes(first, plane_at(from + len) - first)
            }
            _ => Part::Elements(from, len),
        };
        Operand { part: Some(part), ..whole.clone() }
    }

    /// The call of a convolution's op: on values in planes, by the class that the target has for it.
    fn conv(&mut self, kind: Kind, op: &Op, call: Call) -> Call {
        let planes =
            |this: &Self, value: ValueId| this.layouts[value.0 as usize].blocked().map(|map| map.planes.clone());
        let [x, y] = match &kind {
            Kind::ConvGradInput(..) | Kind::ConvTranspose(..) | Kind::ConvPoolGradInput(..) => {
                [op.writes[0].0, op.reads[0]]
            }
            Kind::ConvGradWeight(..) | Kind::ConvPoolGradWeight(..) => [op.reads[0], op.reads[1]],
            _ => [op.reads[0], op.writes[0].0],
        };
        let conv = conv(&kind).expect("a convolution's op");
        let class = match (&kind, planes(self, x)) {
            (_, None) => Class::Plain,
            (Kind::ConvPoolGradInput(..), _) => Class::Sparse,
            (Kind::ConvPoolGradWeight(..), Some(x)) => self.target.pool_gradient(conv, &x),
            (Kind::Conv(..) | Kind::ConvPool(..) | Kind::ConvAdd(..), Some(x)) => self.target.forward(conv, &x),
            (Kind::ConvGradInput(..) | Kind::ConvTranspose(..), _) => self.target.back(conv),
            _ => self.target.conv(conv),
        };
        let order_of = if class == Class::Sparse { Class::Direct } else { class };
        let weight = match &kind {
            Kind::Conv(_, weight, ..) | Kind::ConvPool(_, weight, ..) | Kind::ConvAdd(_, weight, ..) => {
                Some((*weight, false))
            }
            Kind::ConvGradInput(_, weight)
            | Kind::ConvTranspose(_, weight, ..)
            | Kind::ConvPoolGradInput(_, weight) => Some((*weight, true)),
            _ => None,
        };
        let mut scratch = scratch(&call.kernel);
        let mut packed = None;
        if let (Some(x), Some(y)) = (planes(self, x), planes(self, y)) {
            scratch = self.target.scratch(class, &kind, conv, &x, &y);
            packed = weight.map(|(tensor, transposed)| {
                let len = self.target.packed_len(order_of, conv, &x, &y, transposed);
                let order = PackedOrder::Conv { class: order_of, transposed, conv: *conv, x, y };
                self.packed(Packed { tensor, order, len })
            });
        }
        let bias = |bias: Option<TensorId>| bias.map(Epilogue::Bias);
        let act = |act: Act| (act != Act::None).then_some(Epilogue::Act(act));
        let epilogue: Vec<Option<Epilogue>> = match kind {
            Kind::Conv(_, _, b, a) | Kind::ConvTranspose(_, _, b, a) => vec![bias(b), act(a)],
            Kind::ConvPool(_, _, b, a) => vec![Some(Epilogue::MaxPool), bias(b), act(a)],
            Kind::ConvAdd(_, _, b, a, Order::Before) => vec![bias(b), Some(Epilogue::Add), act(a)],
            Kind::ConvAdd(_, _, b, a, Order::Behind) => vec![bias(b), act(a), Some(Epilogue::Add)],
            _ => Vec::new(),
        };
        Call { class, packed, epilogue: epilogue.into_iter().flatten().collect(), scratch, ..call }
    }

    /// Whether a convolution goes through the whole batch at once.
    fn is_at_once(&self, call: &Call) -> bool {
        let order = call.packed.map(|PackedId(id)| &self.packed[id as usize].order);
        let Some(PackedOrder::Conv { class, transposed, conv, x, y }) = order else {
            return false;
        };
        self.target.is_at_once(*class, conv, x, y, *transposed)
    }

    /// A packed copy: one for all that read the same.
    fn packed(&mut self, packed: Packed) -> PackedId {
        let at = self.packed.iter().position(|other| *other == packed).unwrap_or_else(|| {
            self.packed.push(packed);
            self.packed.len() - 1
        });
        PackedId(at as u32)
    }

    /// A loop's carried values are a chain of slots: an iteration starts from one and ends with the next.
    fn looped(&mut self, looped: &Loop, steps: &mut Steps) {
        let id = LoopId(self.loops);
        self.loops += 1;
        let layer = looped.layer;
        let len = self.program.len(looped.start);
        let layout = self.layouts[looped.start.0 as usize].clone();
        let chain = self.slot(format!("{} carried", looped.name), len, layout, Some(id));
        let at = |at: At| Operand { at, ..chain.clone() };
        let copy = |from: Operand, to: Operand| Call {
            kernel: Kernel::Op(Kind::Copy),
            class: Class::Plain,
            reads: vec![from],
            writes: vec![(to, Store::Write)],
            packed: None,
            epilogue: Vec::new(),
            scratch: 0,
            layer,
        };
        let outer = self.operand(looped.outer);
        steps.call(copy(outer, at(At::First)));
        self.of_value.insert(looped.start, at(At::Here));
        self.path.push(id);
        let mut body = self.body(&looped.body, Steps::new(self.target));
        let end = self.operand(looped.end);
        // What waits may read what the iteration started from.
        if !body.waiting.is_empty() {
            body.end_stage();
        }
        body.call(copy(end, at(At::Next)));
        let body = body.finish();
        self.path.pop();
        self.of_value.insert(looped.result, at(At::Last));
        let (name, count, reversed) = (looped.name.clone(), looped.count, looped.reversed);
        let begins_early = false;
        match <[Step; 1]>::try_from(body) {
            Ok([Step::Stage(body)]) => {
                steps.node(Node::Loop(Repeated { id, layer, name, count, reversed, begins_early, body }))
            }
            Ok([step]) => {
                let body = vec![step];
                steps.step(Step::Loop(Repeated { id, layer, name, count, reversed, begins_early, body }))
            }
            Err(body) => steps.step(Step::Loop(Repeated { id, layer, name, count, reversed, begins_early, body })),
        }
    }
}

/// The convolution of an op.
fn conv(kind: &Kind) -> Option<&Conv> {
    match kind {
        Kind::Conv(conv, ..)
        | Kind::ConvPool(conv, ..)
        | Kind::ConvAdd(conv, ..)
        | Kind::ConvGradInput(conv, ..)
        | Kind::ConvTranspose(conv, ..)
        | Kind::ConvGradWeight(conv, ..)
        | Kind::ConvPoolGradInput(conv, ..)
        | Kind::ConvPoolGradWeight(conv, ..) => Some(conv),
        _ => None,
    }
}

/// Floats that a kernel on plain values needs for its own use: a convolution unfolds the windows of a block of positions.
fn scratch(kernel: &Kernel) -> u64 {
    const BLOCK: u64 = 1_024;
    match kernel {
        Kernel::Op(kind) => conv(kind)
            .map_or(0, |conv| conv.channels / conv.groups * conv.window.taps() * conv.window.positions().min(BLOCK)),
        _ => 0,
    }
}

/// Steps as they are found: calls gather in a stage until something needs the whole batch; for a target without tiles each call does.
struct Steps {
    has_tiles: bool,
    done: Vec<Step>,
    stage: Vec<Node>,
    /// Calls on the whole batch that wait for the end of the stage, and that nothing waits for.
    waiting: Vec<Call>,
}

impl Steps {
    fn new(target: Target) -> Steps {
        Steps { has_tiles: target.has_tiles(), done: Vec::new(), stage: Vec::new(), waiting: Vec::new() }
    }

    fn call(&mut self, call: Call) {
        if self.has_tiles { self.stage.push(Node::Call(call)) } else { self.whole(call) }
    }

    fn node(&mut self, node: Node) {
        self.stage.push(node);
    }

    fn step(&mut self, step: Step) {
        self.end_stage();
        self.done.push(step);
    }

    fn whole(&mut self, call: Call) {
        self.step(Step::Whole(call));
    }

    /// Ends the stage, and then runs what has waited for its end.
    fn end_stage(&mut self) {
        if !self.stage.is_empty() {
            self.done.push(Step::Stage(std::mem::take(&mut self.stage)));
        }
        self.done.extend(self.waiting.drain(..).map(Step::Whole));
    }

    fn finish(mut self) -> Vec<Step> {
        self.end_stage();
        self.done
    }
}
