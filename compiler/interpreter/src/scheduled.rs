//! The plan of a model, run in f64 on the plan's own offsets: the proof that memory which is shared is shared rightly.
//!
//! It has the two memories of a run, one row for each sample, and the numbers of the batch; the whole batch is one tile. Every float
//! knows which block of the plan wrote it last. It forgets that when a stage begins, in a worker's memory, and when an iteration of
//! the loop that the block lives in does; a read of a float that its own block has not written since is an error. So is a kernel that
//! writes over what it reads and may not, or that leaves its memory. What a kernel computes, `kinds` and its formulas say, as for
//! [`run`](crate::run).

use crate::kinds::{Made, Pairs, Scope};
use crate::{Batch, Samples, formulas};
use netspec_compiler::ir::{Act, Kind, Norm, Program, Store, TensorId};
use netspec_compiler::layout::{Layout, Plane};
use netspec_compiler::net::LayerId;
use netspec_compiler::plan::{self, GradientGroup, Plan, Region, gradient_groups};
use netspec_compiler::schedule::{Begin, Call, Epilogue, Kernel, LoopId, Node, Operand, Repeated, Step};

/// What a run leaves.
#[derive(Debug)]
pub struct Results {
    /// The model's outputs; none of a training plan, which ends in the loss.
    pub outputs: Vec<Samples>,
    /// The mean loss; 0 without a backward pass.
    pub loss: f64,
    /// Its derivative by each parameter.
    pub gradient: Vec<f64>,
}

/// Runs a program by its plan. `params` and `statistics` are as long as the program says; batch norms that use the statistics of the
/// batch change the running ones.
///
/// # Errors
///
/// What the plan does wrong first: the call, the slot and the float.
pub fn run_plan(
    program: &Program,
    plan: &Plan,
    params: &[f64],
    statistics: &mut [f64],
    batch: &Batch<'_>,
) -> Result<Results, String> {
    assert_eq!(params.len() as u64, program.params, "params");
    assert_eq!(statistics.len() as u64, program.statistics, "statistics");
    let scope = Scope { program, params, statistics, batch, around: Vec::new(), loss: 0.0 };
    let samples = scope.samples();
    let mut machine = Machine {
        scope,
        plan,
        tile: Memory::new(samples, plan.tile),
        batch: Memory::new(samples, plan.batch),
        state: vec![f64::NAN; plan.state as usize],
        stage: None,
        call: 0,
        gradient: vec![0.0; params.len()],
    };
    machine.steps(&plan.schedule.steps)?;
    let outputs = plan.schedule.outputs.iter();
    let outputs = outputs.map(|output| machine.read(output).map_err(|problem| format!("the model {problem}")));
    let outputs = outputs.collect::<Result<_, String>>()?;
    Ok(Results { outputs, loss: machine.scope.loss, gradient: machine.gradient })
}

/// A region: one row for each sample.
struct Memory {
    rows: Samples,
    /// The block that wrote each float of a row last, unless it has been forgotten.
    writers: Vec<Option<usize>>,
}

impl Memory {
    fn new(samples: usize, len: u64) -> Memory {
        Memory { rows: vec![vec![f64::NAN; len as usize]; samples], writers: vec![None; len as usize] }
    }

    /// Poisons the floats whose last writer is one of these blocks.
    fn forget(&mut self, is_forgotten: impl Fn(usize) -> bool) {
        for (at, writer) in self.writers.iter_mut().enumerate() {
            if writer.is_some_and(&is_forgotten) {
                *writer = None;
                self.rows.iter_mut().for_each(|row| row[at] = f64::NAN);
            }
        }
    }
}

/// The gradient that a stage makes.
struct StageGradient {
    groups: Vec<GradientGroup>,
    floats: Vec<f64>,
}

struct Machine<'a> {
    scope: Scope<'a>,
    plan: &'a Plan,
    tile: Memory,
    batch: Memory,
    /// Numbers of the batch, of batch norms.
    state: Vec<f64>,
    /// None between stages.
    stage: Option<StageGradient>,
    /// Which call of the plan runs; all iterations of a loop have the same ones.
    call: usize,
    gradient: Vec<f64>,
}

impl Machine<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        steps.iter().try_for_each(|step| match step {
            Step::Whole(call) => self.numbered(call),
            Step::Stage(nodes) => self.stage(nodes),
            Step::Loop(looped) => self.looped(looped, Machine::steps),
        })
    }

    fn nodes(&mut self, nodes: &[Node]) -> Result<(), String> {
        nodes.iter().try_for_each(|node| match node {
            Node::Call(call) => self.numbered(call),
            Node::Loop(looped) => self.looped(looped, Machine::nodes),
            Node::Begin(begin) => self.begin_early(begin),
        })
    }

    /// The first stage of an iteration, which is a part of this one.
    fn begin_early(&mut self, begin: &Begin) -> Result<(), String> {
        let Repeated { id, layer, count, reversed, .. } = begin.looped;
        let around = self.scope.around.clone();
        let of = |number: u64| if reversed { count - 1 - number } else { number };
        let mut step = 0;
        if begin.is_next {
            let (running, iteration, _) = self.scope.around.pop().ok_or("begins outside its loop")?;
            if running != layer {
                return Err("begins outside its loop".to_owned());
            }
            step = of(iteration) + 1;
        }
        if step < count {
            self.begin(id);
            self.scope.around.push((layer, of(step), count));
            self.nodes(&begin.looped.body)?;
        }
        self.scope.around = around;
        Ok(())
    }

    fn looped<T>(
        &mut self,
        looped: &Repeated<T>,
        body: fn(&mut Self, &[T]) -> Result<(), String>,
    ) -> Result<(), String> {
        let first = self.call;
        for step in 0..looped.count {
            let iteration = if looped.reversed { looped.count - 1 - step } else { step };
            self.call = first;
            if !looped.begins_early {
                self.begin(looped.id);
            }
            self.scope.around.push((looped.layer, iteration, looped.count));
            body(self, &looped.body)?;
            self.scope.around.pop();
        }
        Ok(())
    }

    /// An iteration begins: what lives in it is taken anew.
    fn begin(&mut self, id: LoopId) {
        let blocks = &self.plan.blocks;
        let is_forgotten = |block: usize| blocks[block].inside.last() == Some(&id);
        self.tile.forget(is_forgotten);
        self.batch.forget(is_forgotten);
    }

    /// A worker's memory is nobody's when a tile begins, and the tile's gradient is zero; behind it that is added to the model's.
    fn stage(&mut self, nodes: &[Node]) -> Result<(), String> {
        let layers: Vec<LayerId> = self.scope.around.iter().map(|around| around.0).collect();
        let groups = gradient_groups(self.scope.program, nodes, &layers);
        self.tile.forget(|_| true);
        self.stage = Some(StageGradient { groups, floats: vec![0.0; self.plan.gradients as usize] });
        self.nodes(nodes)?;
        let StageGradient { groups, floats } = self.stage.take().expect("the stage that has just run");
        for group in groups {
            let (to, from) = (self.shifted(group.first, &group.outer), group.local as usize);
            let (to, from) = (to..to + group.len as usize, from..from + group.len as usize);
            let (Some(from), Some(to)) = (floats.get(from), self.gradient.get_mut(to)) else {
                return Err(format!("a stage's gradient of {} floats has no room", group.len));
            };
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        Ok(())
    }

    /// `first` and the strides of the loops here.
    fn shifted(&self, first: u64, strides: &[(LayerId, u64)]) -> usize {
        let iteration = |layer: LayerId| self.scope.iteration_of(layer).unwrap_or(0);
        (first + strides.iter().map(|&(layer, stride)| iteration(layer) * stride).sum::<u64>()) as usize
    }

    fn numbered(&mut self, call: &Call) -> Result<(), String> {
        self.call(call).map_err(|problem| format!("call {}, {}, {problem}", self.call, name(&call.kernel)))?;
        self.call += 1;
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), String> {
        self.may_write(call)?;
        let mut reads: Vec<Samples> = call.reads.iter().map(|read| self.read(read)).collect::<Result<_, String>>()?;
        let back = call.epilogue.iter().find_map(|step| match step {
            Epilogue::Back(act) => Some(*act),
            _ => None,
        });
        let back = back.and_then(|act| Some((act, reads.pop()?)));
        // Of what is read first, or of what the sums are.
        let is_before = matches!(call.kernel, Kernel::Op(Kind::MaxPoolGrad(..)));
        if let Some((act, y)) = back.as_ref().filter(|_| is_before) {
            reads[0] = derived(*act, y, &reads[0]);
        }
        let reads: Vec<&[Vec<f64>]> = reads.iter().map(Vec::as_slice).collect();
        let len = call.writes.first().map_or(0, |(write, _)| self.elements(write));
        let mut made = self.made(&call.kernel, len, &reads)?;
        if let Some((act, y)) = back.filter(|_| !is_before) {
            made.values[0] = derived(act, &y, &made.values[0]);
        }
        if let Some(Epilogue::Moments(norm)) = call.epilogue.last() {
            let moments = made.values[0].iter().map(|y| formulas::moments_of_sample(norm, y));
            made.values.push(sums(self.elements(&call.writes[1].0), moments));
        }
        for (tensor, gradient) in made.gradients {
            self.add_to_gradient(&call.kernel, tensor, &gradient)?;
        }
        call.writes.iter().zip(made.values).try_for_each(|((write, store), value)| self.write(write, *store, value))
    }

    fn made(&mut self, kernel: &Kernel, len: usize, reads: &[&[Vec<f64>]]) -> Result<Made, String> {
        let values = |values: Samples| Made { values: vec![values], ..Made::default() };
        Ok(match kernel {
            Kernel::Op(kind) => self.scope.made(kind, len, reads),
            Kernel::LinearBatch(linear, weight, bias, act) => {
                self.scope.made(&Kind::Linear(*linear, *weight, *bias, *act), len, reads)
            }
            Kernel::LinearGradInputBatch(linear, weight) => {
                self.scope.made(&Kind::LinearGradInput(*linear, *weight), len, reads)
            }
            Kernel::LinearGradWeightBatch(linear, weight, bias, _) => {
                self.scope.made(&Kind::LinearGradWeight(*linear, *weight, *bias), len, reads)
            }
            Kernel::ConvGradWeightBatch(conv, weight, bias) => {
                self.scope.made(&Kind::ConvGradWeight(*conv, *weight, *bias), len, reads)
            }
            Kernel::NormStatistics(norm) => {
                values(sums(len, reads[0].iter().map(|x| formulas::moments_of_sample(norm, x))))
            }
            Kernel::NormMerge(norm, tensors) => {
                let of_samples: Vec<Pairs> = reads[0].iter().map(|sums| of_sample(norm, sums)).collect();
                let moments = formulas::moments(&of_samples);
                self.scope.update_running(norm, tensors, &moments);
                self.state(norm)?[0].copy_from_slice(&floats(&moments));
                Made::default()
            }
            Kernel::NormForward(norm, tensors, act, order) => {
                let moments = pairs(self.state(norm)?[0]);
                let y = self.scope.normed(norm, tensors, &moments, reads[0]);
                values(formulas::act_and_sum(*act, y, order.map(|order| (order, reads[1]))))
            }
            Kernel::NormSums(norm, tensors, act) => {
                let moments = pairs(self.state(norm)?[0]);
                let dy = self.scope.before_norm_act(norm, tensors, *act, &moments, [reads[0], reads[1]]);
                let means = |(x, dy): (&Vec<f64>, &Vec<f64>)| formulas::batch_norm_means(norm, &moments, x, dy);
                values(sums(len, reads[0].iter().zip(&dy).map(means)))
            }
            Kernel::NormMergeBackward(norm, tensors) => {
                let of_samples: Vec<Pairs> = reads[0].iter().map(|sums| of_sample(norm, sums)).collect();
                let means = formulas::mean_pairs(&of_samples);
                let ones = vec![1.0; norm.channels as usize];
                let weight = tensors.weight.map_or(ones, |weight| self.scope.floats(weight).to_vec());
                let [_, of_means, of_weight] = self.state(norm)?;
                of_means.copy_from_slice(&floats(&means));
                of_weight.copy_from_slice(&weight);
                Made { gradients: self.scope.norm_gradients(norm, tensors, &means), ..Made::default() }
            }
            Kernel::NormBackward(norm, tensors, act) => {
                let [moments, means, weight] = self.state(norm)?;
                let (moments, means, weight) = (pairs(moments), pairs(means), weight.to_vec());
                let dy = self.scope.before_norm_act(norm, tensors, *act, &moments, [reads[0], reads[1]]);
                values(formulas::batch_norm_grad(norm, &moments, &means, Some(&weight), reads[0], &dy))
            }
        })
    }

    /// The numbers that a batch norm keeps from kernel to kernel: moments, means of its backward, the weight.
    fn state(&mut self, norm: &Norm) -> Result<[&mut [f64]; 3], String> {
        let (first, strides) = self.plan.states.get(&norm.of).ok_or("has no place for its numbers")?;
        let (first, channels) = (self.shifted(*first, strides), norm.channels as usize);
        let state = self.state.get_mut(first..first + 5 * channels).ok_or("keeps numbers outside their memory")?;
        let (moments, rest) = state.split_at_mut(2 * channels);
        let (means, weight) = rest.split_at_mut(2 * channels);
        Ok([moments, means, weight])
    }

    /// A kernel of a stage adds to the stage's gradient; others add to the model's.
    fn add_to_gradient(&mut self, kernel: &Kernel, tensor: TensorId, gradient: &[f64]) -> Result<(), String> {
        let (_, mut at) = self.scope.place(tensor);
        let mut to = &mut self.gradient;
        if let Some(stage) = &mut self.stage {
            let group = stage.groups.iter().find(|group| group.tensors.contains(&tensor));
            let group = group.ok_or_else(|| format!("has no gradient in its stage: {kernel:?}"))?;
            let outer = |layer: LayerId| self.scope.iteration_of(layer).unwrap_or(0);
            let outer: u64 = group.outer.iter().map(|&(layer, stride)| outer(layer) * stride).sum();
            let from = at.start - (group.first + outer) as usize;
            if from + at.len() > group.len as usize {
                return Err("makes a gradient outside its group".to_owned());
            }
            let from = group.local as usize + from;
            at = from..from + at.len();
            to = &mut stage.floats;
        }
        let to = to.get_mut(at).ok_or("makes a gradient outside its memory")?;
        to.iter_mut().zip(gradient).for_each(|(to, gradient)| *to += gradient);
        Ok(())
    }

    /// Elements of an operand.
    fn elements(&self, operand: &Operand) -> usize {
        match self.plan.schedule.layout(operand) {
            Layout::Plain | Layout::Last { .. } => self.plan.address(operand).len as usize,
            Layout::Bytes => self.plan.schedule.slots[operand.slot.0 as usize].len as usize * 4,
            Layout::TwoBits { channels, positions } => (channels * positions) as usize,
            Layout::Blocked(map) | Layout::Places(map) => map.places().len(),
        }
    }

    /// Where the floats of an operand are now: of one with channels last in PyTorch's order, of others as they lie.
    fn places(&self, operand: &Operand) -> (Region, Vec<usize>) {
        let schedule = &self.plan.schedule;
        let address = self.plan.address(operand);
        let first = self.shifted(address.offset, &address.terms);
        let places = match schedule.slots[operand.slot.0 as usize].layout {
            Layout::Last { channels, positions } => {
                let (from, len) = schedule.floats(operand);
                let whole = first - from as usize;
                let place = |element: u64| (element % positions * channels + element / positions) as usize;
                (from..from + len).map(|element| whole + place(element)).collect()
            }
            _ => (first..first + address.len as usize).collect(),
        };
        (address.region, places)
    }

    fn slot(&self, operand: &Operand) -> &str {
        &self.plan.schedule.slots[operand.slot.0 as usize].name
    }

    /// Whether what a call writes lies apart from everything else that it touches, or where it may.
    fn may_write(&self, call: &Call) -> Result<(), String> {
        let apart = |(region, a): &(Region, Vec<usize>), (other, b): &(Region, Vec<usize>)| {
            let ([from, to], [first, last]) = (extent(a), extent(b));
            region != other || to < first || last < from || !a.iter().any(|place| b.contains(place))
        };
        for (index, (write, store)) in call.writes.iter().enumerate() {
            let written = self.places(write);
            for (number, read) in call.reads.iter().enumerate() {
                let is_over = *store == Store::Write && plan::over(&call.kernel).contains(&number);
                let from = self.places(read);
                if !(apart(&written, &from) || is_over && written == from) {
                    return Err(format!("writes `{}` over `{}`, which it reads", self.slot(write), self.slot(read)));
                }
            }
            if let Some((other, _)) =
                call.writes[..index].iter().find(|(other, _)| !apart(&written, &self.places(other)))
            {
                return Err(format!("writes `{}` over `{}`", self.slot(write), self.slot(other)));
            }
        }
        Ok(())
    }

    /// A region, the places of an operand's floats in it, and the operand's block.
    fn find(&self, operand: &Operand) -> Result<(&Memory, Vec<usize>, usize), String> {
        let ((region, places), slot) = (self.places(operand), self.slot(operand));
        let memory = match region {
            Region::Tile => &self.tile,
            Region::Batch => &self.batch,
        };
        if region == Region::Tile && self.stage.is_none() {
            return Err(format!("finds `{slot}` in a worker's memory, behind the stage"));
        }
        let [first, last] = extent(&places);
        if last >= memory.writers.len() && !places.is_empty() {
            return Err(format!("finds `{slot}` at {:?}, of a memory of {}", first..last + 1, memory.writers.len()));
        }
        let block = self.plan.places[operand.slot.0 as usize].block;
        Ok((memory, places, block.ok_or_else(|| format!("finds `{slot}` nowhere"))?))
    }

    fn read(&self, operand: &Operand) -> Result<Samples, String> {
        let (memory, places, block) = self.find(operand)?;
        if let Some(&at) = places.iter().find(|&&at| memory.writers[at] != Some(block)) {
            let writer = memory.writers[at].map(|writer| self.plan.blocks[writer].names.join(" = "));
            let writer = writer.map_or("nothing has written".to_owned(), |writer| format!("`{writer}` has written"));
            let region = self.plan.blocks[block].region;
            return Err(format!("reads `{}` at float {at} of the {region:?}, which {writer}", self.slot(operand)));
        }
        let layout = self.plan.schedule.layout(operand);
        let mut values = Vec::with_capacity(memory.rows.len());
        for row in &memory.rows {
            let floats: Vec<f64> = places.iter().map(|&at| row[at]).collect();
            let value = elements_of(&layout, &floats);
            values.push(value.ok_or_else(|| format!("reads `{}`, whose halo is not zero", self.slot(operand)))?);
        }
        Ok(values)
    }

    fn write(&mut self, operand: &Operand, store: Store, mut value: Samples) -> Result<(), String> {
        if store == Store::Add {
            for (sum, old) in value.iter_mut().zip(self.read(operand)?) {
                sum.iter_mut().zip(old).for_each(|(sum, old)| *sum += old);
            }
        }
        let (_, places, block) = self.find(operand)?;
        let layout = self.plan.schedule.layout(operand);
        let memory = match self.plan.address(operand).region {
            Region::Tile => &mut self.tile,
            Region::Batch => &mut self.batch,
        };
        places.iter().for_each(|&at| memory.writers[at] = Some(block));
        for (row, value) in memory.rows.iter_mut().zip(value) {
            let floats = floats_of(&layout, &value);
            if floats.len() != places.len() {
                return Err(format!("makes {} floats for {}", floats.len(), places.len()));
            }
            places.iter().zip(floats).for_each(|(&at, float)| row[at] = float);
        }
        Ok(())
    }
}

/// A byte that is no element of a window.
const NO_PLACE: f64 = 255.0;

/// A value as its layout has it: in planes with zeros in the halo, and what must not be read in the lanes that are no channels; four
/// places to a float.
fn floats_of(layout: &Layout, value: &[f64]) -> Vec<f64> {
    match layout {
        // With channels last, places are in PyTorch's order.
        Layout::Plain | Layout::Last { .. } => value.to_vec(),
        Layout::Bytes => bytes_of(value.len().div_ceil(4), value.iter().enumerate()),
        Layout::TwoBits { channels, positions } => {
            let mut bytes = vec![0.0; (channels.div_ceil(4) * positions) as usize];
            for (place, (byte, unit)) in value.iter().zip(two_bits(*channels, *positions)) {
                bytes[byte] += unit * place;
            }
            bytes_of(layout.len(0) as usize, bytes.iter().enumerate())
        }
        Layout::Blocked(map) => {
            let mut floats = vec![0.0; map.len() as usize];
            let mut first = 0;
            for plane in 0..map.planes.len() {
                let len = map.planes_len(plane..plane + 1) as usize;
                let Plane { lanes, channels } = map.planes[plane];
                for position in floats[first..first + len].chunks_exact_mut(lanes as usize) {
                    position[channels as usize..].fill(f64::NAN);
                }
                first += len;
            }
            floats[first..].fill(f64::NAN);
            map.places().into_iter().zip(value).for_each(|(at, value)| floats[at] = *value);
            floats
        }
        Layout::Places(map) => bytes_of(layout.len(0) as usize, map.places().into_iter().zip(value)),
    }
}

/// Four places to a float, each at its byte.
fn bytes_of<'a>(floats: usize, places: impl Iterator<Item = (usize, &'a f64)>) -> Vec<f64> {
    let mut bytes = vec![NO_PLACE; 4 * floats];
    places.for_each(|(at, place)| bytes[at] = if place.is_nan() { NO_PLACE } else { *place });
    bytes.chunks_exact(4).map(|four| four.iter().rev().fold(0.0, |all, byte| 256.0 * all + byte)).collect()
}

/// The first place of some, and the last.
fn extent(places: &[usize]) -> [usize; 2] {
    [places.iter().min(), places.iter().max()].map(|place| place.copied().unwrap_or(0))
}

/// The byte of each element of [`Layout::TwoBits`], in PyTorch's order, and what 1 is there.
fn two_bits(channels: u64, positions: u64) -> impl Iterator<Item = (usize, f64)> {
    let row = channels.div_ceil(4);
    (0..channels * positions).map(move |at| {
        let (channel, position) = (at / positions, at % positions);
        ((position * row + channel / 4) as usize, [1.0, 4.0, 16.0, 64.0][channel as usize % 4])
    })
}

/// The elements of a value in a layout; None when its halo is not zero.
fn elements_of(layout: &Layout, floats: &[f64]) -> Option<Vec<f64>> {
    let byte = |at: usize| (floats[at / 4] / 256_f64.powi((at % 4) as i32)).floor() % 256.0;
    let place = |byte: f64| if byte == NO_PLACE { f64::NAN } else { byte };
    match layout {
        Layout::Plain | Layout::Last { .. } => Some(floats.to_vec()),
        Layout::Bytes => Some((0..4 * floats.len()).map(|at| place(byte(at))).collect()),
        Layout::TwoBits { channels, positions } => {
            Some(two_bits(*channels, *positions).map(|(at, unit)| (byte(at) / unit).floor() % 4.0).collect())
        }
        Layout::Blocked(map) => {
            let elements: Vec<f64> = map.places().into_iter().map(|at| floats[at]).collect();
            let is_same = |(a, b): (&f64, &f64)| a == b || a.is_nan() || b.is_nan();
            floats_of(layout, &elements).iter().zip(floats).all(is_same).then_some(elements)
        }
        Layout::Places(map) => Some(map.places().into_iter().map(|at| place(byte(at))).collect()),
    }
}

/// Multiplied with the derivative of a nonlinearity that gave y.
fn derived(act: Act, y: &[Vec<f64>], dy: &[Vec<f64>]) -> Samples {
    y.iter().zip(dy).map(|(y, dy)| formulas::act_grad(act, y, dy)).collect()
}

/// A kernel's name without its geometry.
fn name(kernel: &Kernel) -> String {
    let text = match kernel {
        Kernel::Op(kind) => format!("{kind:?}"),
        kernel => format!("{kernel:?}"),
    };
    text.split('(').next().unwrap_or_default().to_owned()
}

/// Two numbers for each channel, as a slot or the state has them: all first ones, then all second ones.
fn floats(pairs: &Pairs) -> Vec<f64> {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    [first, second].concat()
}

/// A batch norm's sums of each sample. A card has room for those of more parts.
fn sums(len: usize, of_samples: impl Iterator<Item = Pairs>) -> Samples {
    let padded = |sums: Pairs| {
        let mut sums = floats(&sums);
        sums.resize(len, f64::NAN);
        sums
    };
    of_samples.map(padded).collect()
}

/// What [`sums`] has of a sample.
fn of_sample(norm: &Norm, sums: &[f64]) -> Pairs {
    pairs(&sums[..2 * norm.channels as usize])
}

fn pairs(floats: &[f64]) -> Pairs {
    let (first, second) = floats.split_at(floats.len() / 2);
    first.iter().copied().zip(second.iter().copied()).collect()
}
