//! Kernel calls as launches: for each call of a plan the function of a family that does it, with the sizes of the op as constants, and what
//! it is given.

use std::collections::HashMap;

use super::launches::{Arg, Grid, Launch, Step, Strided};
use super::source::{Family, Source, words};
use crate::check::Checked;
use crate::emit::Planned;
use crate::emit::calls::float;
use crate::fuse::{Folded, PlanKind};
use crate::ir::{
    Act, Conv, Curve, Frame, GroupNorm, How, Kind, Linear, Norm, NormTensors, Order, Program, Resample, Store,
    TensorId, Window,
};
use crate::layout::Layout;
use crate::net::LayerId;
use crate::ops::elements;
use crate::plan::Plan;
use crate::schedule::{At, Call, Epilogue, Kernel, Operand, Part, SlotId, Step as PlanStep};
use crate::source::Sources;
use crate::target::Class;

/// Threads of kernels with a thread for each element.
const THREADS: u32 = 256;

/// Rows of a product that a block makes, and its threads.
const ROWS: u64 = 128;
pub(super) const PRODUCT_THREADS: u32 = 128;

/// Blocks that a product is cut into along its sums, if it has fewer: two for each multiprocessor of a large card.
const BLOCKS: u64 = 264;

/// Terms of a sum that a part has at least, of a batch of so many samples.
const PART_TERMS: u64 = 512;
const NOMINAL_BATCH: u64 = 64;

/// What a kernel takes: the C type and the name of a parameter, and what it is given; nothing where it can do without, which is then no
/// parameter but the null pointer.
struct Param {
    of: &'static str,
    name: &'static str,
    arg: Option<Arg>,
}

fn param(of: &'static str, name: &'static str, arg: impl Into<Option<Arg>>) -> Param {
    Param { of, name, arg: arg.into() }
}

/// `const float *`
const READ: &str = "const float *";
const WRITE: &str = "float *";

fn batch() -> Param {
    param("u32 ", "batch", Arg::Batch)
}

/// Writes the launches of one plan.
pub(super) struct Emitter<'a> {
    checked: &'a Checked,
    sources: &'a Sources,
    program: &'a Program,
    plan: &'a Plan,
    /// What kernels' names begin with.
    pass: &'static str,
    /// Whether it reads folded weights.
    folded: bool,
    source: &'a mut Source,
    /// The loops around, outermost first, and their iterations.
    loops: Vec<(LayerId, u64)>,
    /// Inputs that are read where they come, by the slot that they were to be loaded into.
    inputs: HashMap<SlotId, usize>,
    /// The layer whose comment was written last.
    last_layer: Option<LayerId>,
    /// Floats of sums of parts, the most of any call.
    pub(super) scratch: u64,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        checked: &'a Checked,
        sources: &'a Sources,
        planned: &'a Planned,
        pass: &'static str,
        folded: bool,
        source: &'a mut Source,
    ) -> Emitter<'a> {
        let Planned { program, plan, .. } = planned;
        Emitter {
            checked,
            sources,
            program,
            plan,
            pass,
            folded,
            source,
            loops: Vec::new(),
            inputs: read_where_they_come(plan),
            last_layer: None,
            scratch: 0,
        }
    }

    pub(super) fn steps(&mut self, steps: &[PlanStep]) -> Vec<Step> {
        let mut written = Vec::new();
        for step in steps {
            match step {
                PlanStep::Whole(call) => self.call(call, &mut written),
                PlanStep::Stage(_) => unreachable!("a graphics card has no tiles"),
                PlanStep::Loop(looped) => {
                    self.loops.push((looped.layer, looped.count));
                    let body = self.steps(&looped.body);
                    self.loops.pop();
                    let (count, reversed) = (looped.count, looped.reversed);
                    written.push(Step::Loop { count, reversed, body });
                }
            }
        }
        written
    }

    /// Makes what inference reads in place of parameters and statistics, of which the model has so many itself.
    pub(super) fn fold(&mut self, folded: &[Folded], statistics: u64) -> Vec<Step> {
        let mut written = Vec::new();
        let at = |first: u64| Strided { first, strides: Vec::new() };
        let params = self.program.params;
        self.source.comment("Weights as inference reads them: batch norms in those of the layers before them.");
        self.source.uses(Family::BatchNorm);
        self.kernel(
            "weights",
            "fold",
            &format!("copy_weights<{params}, {statistics}>"),
            Grid::fixed(params + statistics, u64::from(THREADS)),
            THREADS,
            vec![
                param(READ, "params", Arg::Params(at(0))),
                param(READ, "statistics", (statistics > 0).then(|| Arg::Statistics(at(0)))),
                param(WRITE, "folded", Arg::Folded(at(0))),
            ],
            &mut written,
        );
        for Folded { weight, bias, folded_bias, norm, sizes } in folded {
            let tensor = self.program.tensor(*weight);
            let repeats: Vec<_> = tensor.repeats.iter().filter(|repeat| repeat.stride > 0).collect();
            self.loops = repeats.iter().map(|repeat| (repeat.layer, repeat.count)).collect();
            let layer = tensor.name.rsplit_once('.').map_or("layer", |(layer, _)| layer).to_owned();
            let per_channel = elements(&tensor.shape[1..]);
            let numbers = self.norm(&layer, sizes);
            let mut body = Vec::new();
            let original = |this: &Self, id: TensorId| {
                let at = this.tensor(id, 0);
                if this.program.tensor(id).trainable { Arg::Params(at) } else { Arg::Statistics(at) }
            };
            self.kernel(
                &layer,
                "fold",
                &format!("fold_norm<{numbers}, {per_channel}>"),
                Grid::fixed(sizes.channels, 1),
                64,
                vec![
                    param(WRITE, "weight", self.weight(*weight)),
                    param(READ, "bias_from", bias.map(|bias| original(self, bias))),
                    param(WRITE, "bias_to", self.weight(*folded_bias)),
                    param(READ, "gamma", norm.weight.map(|id| original(self, id))),
                    param(READ, "beta", norm.bias.map(|id| original(self, id))),
                    param(READ, "mean", original(self, norm.mean)),
                    param(READ, "var", original(self, norm.var)),
                ],
                &mut body,
            );
            for repeat in repeats.iter().rev() {
                body = vec![Step::Loop { count: repeat.count, reversed: false, body }];
            }
            written.extend(body);
            self.loops.clear();
        }
        written
    }

    /// Writes a kernel, and its launch.
    #[allow(clippy::too_many_arguments)]
    fn kernel(
        &mut self,
        layer: &str,
        role: &str,
        function: &str,
        grid: Grid,
        threads: u32,
        params: Vec<Param>,
        written: &mut Vec<Step>,
    ) {
        let launch = self.launch(layer, role, function, grid, threads, params);
        written.push(Step::Launch(launch));
    }

    fn launch(
        &mut self,
        layer: &str,
        role: &str,
        function: &str,
        grid: Grid,
        threads: u32,
        params: Vec<Param>,
    ) -> Launch {
        let given = params.iter().map(|param| if param.arg.is_some() { param.name } else { "nullptr" });
        let given = given.collect::<Vec<_>>().join(", ");
        let taken = params.iter().filter(|param| param.arg.is_some());
        let parameters = taken.map(|param| format!("{}{}", param.of, param.name)).collect::<Vec<_>>().join(", ");
        let layer = words(layer);
        let stem: Vec<&str> = [self.pass, &layer, role].into_iter().filter(|part| !part.is_empty()).collect();
        let kernel = self.source.kernel(&stem.join("_"), threads, &parameters, (function, &given));
        let args = params.into_iter().filter_map(|param| param.arg).collect();
        Launch { kernel, grid, threads, args }
    }

    fn strided(&self, first: u64, terms: &[(LayerId, u64)]) -> Strided {
        let stride = |layer: LayerId| terms.iter().filter(|(of, _)| *of == layer).map(|(_, stride)| stride).sum();
        let mut strides: Vec<u64> = self.loops.iter().map(|(layer, _)| stride(*layer)).collect();
        while strides.last() == Some(&0) {
            strides.pop();
        }
        Strided { first, strides }
    }

    fn tensor(&self, id: TensorId, before: u64) -> Strided {
        let tensor = self.program.tensor(id);
        let terms: Vec<(LayerId, u64)> = tensor.repeats.iter().map(|repeat| (repeat.layer, repeat.stride)).collect();
        self.strided(before + tensor.offset, &terms)
    }

    /// A weight or statistic as the pass reads it.
    fn weight(&self, id: TensorId) -> Arg {
        match (self.folded, self.program.tensor(id).trainable) {
            (true, true) => Arg::Folded(self.tensor(id, 0)),
            (true, false) => Arg::Folded(self.tensor(id, self.program.params)),
            (false, true) => Arg::Params(self.tensor(id, 0)),
            (false, false) => Arg::Statistics(self.tensor(id, 0)),
        }
    }

    fn maybe_weight(&self, id: Option<TensorId>) -> Option<Arg> {
        id.map(|id| self.weight(id))
    }

    fn gradient(&self, id: TensorId) -> Arg {
        Arg::Gradients(self.tensor(id, 0))
    }

    fn state(&self, norm: &Norm) -> Arg {
        let (first, terms) = &self.plan.states[&norm.of];
        Arg::State(self.strided(*first, terms))
    }

    /// Where a slot begins.
    fn value(&self, operand: &Operand) -> Arg {
        match self.inputs.get(&operand.slot) {
            Some(&input) => Arg::Input(input),
            None => {
                let address = self.plan.address(&Operand { part: None, ..operand.clone() });
                Arg::Value(self.strided(address.offset, &address.terms))
            }
        }
    }

    /// How all of a slot lies.
    fn slot(&self, operand: &Operand) -> String {
        let slot = &self.plan.schedule.slots[operand.slot.0 as usize];
        match slot.layout {
            Layout::Last { channels, positions } => format!("Last<{channels}, {positions}>"),
            _ => format!("First<{}, 1>", slot.len),
        }
    }

    /// How an operand lies.
    fn lies(&self, operand: &Operand) -> String {
        let slot = self.slot(operand);
        match operand.part {
            Some(Part::Elements(from, len)) => format!("Part<{slot}, {from}, {len}>"),
            _ => slot,
        }
    }

    /// How an operand lies that is a map of so many channels and positions.
    fn map(&self, operand: &Operand, channels: u64, positions: u64) -> String {
        let slot = &self.plan.schedule.slots[operand.slot.0 as usize];
        match (&slot.layout, &operand.part) {
            (Layout::Last { channels: c, positions: p }, None) if (*c, *p) == (channels, positions) => {
                self.slot(operand)
            }
            (Layout::Plain | Layout::Bytes, None) => format!("First<{channels}, {positions}>"),
            _ => format!("As<{}, {channels}, {positions}>", self.lies(operand)),
        }
    }

    /// How operands of an op lie that goes through them element by element: as one row if they all lie alike.
    fn alike<'o>(&self, operands: impl IntoIterator<Item = &'o Operand>) -> Vec<String> {
        let operands: Vec<&Operand> = operands.into_iter().collect();
        let slots = &self.plan.schedule.slots;
        let layout = |operand: &Operand| &slots[operand.slot.0 as usize].layout;
        let is_alike = operands.iter().all(|operand| operand.part.is_none() && layout(operand) == layout(operands[0]));
        match is_alike {
            true => vec![format!("First<{}, 1>", slots[operands[0].slot.0 as usize].len); operands.len()],
            false => operands.iter().map(|operand| self.lies(operand)).collect(),
        }
    }

    /// Elements of an operand.
    fn len(&self, operand: &Operand) -> u64 {
        self.plan.schedule.floats(operand).1
    }

    /// The type of the places of maxima.
    fn places(&self, operand: &Operand) -> (&'static str, &'static str, &'static str) {
        match self.plan.schedule.slots[operand.slot.0 as usize].layout {
            Layout::Bytes => ("u8", "u8 *", "const u8 *"),
            _ => ("u32", "u32 *", "const u32 *"),
        }
    }

    fn call(&mut self, call: &Call, written: &mut Vec<Step>) {
        let layer = self.checked.net.layer(call.layer);
        let name = if layer.path.is_empty() { layer.name.clone() } else { layer.path.clone() };
        if let Kernel::Op(Kind::Load(_)) = call.kernel
            && self.inputs.contains_key(&call.writes[0].0.slot)
        {
            return;
        }
        if self.last_layer != Some(call.layer) {
            self.last_layer = Some(call.layer);
            let path = &self.sources.file(layer.head.file).path;
            let line = self.sources.line(layer.head);
            let words = self.sources.text(layer.call).split_whitespace().collect::<Vec<_>>().join(" ");
            self.source.comment(&format!("{path}:{line} `{words}`"));
        }
        match &call.kernel {
            Kernel::Op(kind) => self.op(kind, call, &name, written),
            Kernel::NormStatistics(..)
            | Kernel::NormMerge(..)
            | Kernel::NormForward(..)
            | Kernel::NormSums(..)
            | Kernel::NormMergeBackward(..)
            | Kernel::NormBackward(..) => self.batch_norm(call, &name, written),
            Kernel::LinearBatch(..) | Kernel::LinearGradWeightBatch(..) | Kernel::ConvGradWeightBatch(..) => {
                unreachable!("the processor's, of what has tiles")
            }
        }
    }

    fn op(&mut self, kind: &Kind, call: &Call, layer: &str, written: &mut Vec<Step>) {
        let (reads, writes) = (&call.reads, &call.writes);
        let store = writes.first().map_or(Store::Write, |(_, store)| *store);
        let store = if store == Store::Add { "ADD" } else { "WRITE" };
        let each = |len: u64| Grid::of_samples(len, u64::from(THREADS));
        match kind {
            Kind::Conv(..)
            | Kind::ConvPool(..)
            | Kind::ConvAdd(..)
            | Kind::ConvTranspose(..)
            | Kind::ConvGradInput(..)
            | Kind::ConvGradWeight(..)
            | Kind::GradBias(..) => self.conv(kind, call, layer, store, written),
            Kind::Linear(linear, weight, bias, act) => {
                let g = self.linear(layer, linear);
                let (x, y) = (self.rows(&reads[0], linear.inputs), self.rows(&writes[0].0, linear.outputs));
                let sizes = Sizes::of_linear(linear);
                if runs_by_warps(linear) {
                    let act = self.act(layer, *act);
                    let params = vec![
                        param(READ, "x", self.value(&reads[0])),
                        param(READ, "weight", self.weight(*weight)),
                        param(READ, "bias", self.maybe_weight(*bias)),
                        param(WRITE, "y", self.value(&writes[0].0)),
                        batch(),
                    ];
                    // A warp for four rows and an output: eight threads a row, and those of rows that are no four.
                    let (rows, outputs) = (linear.rows, linear.outputs);
                    let grid = Grid { fixed: 24 * outputs, ..each(8 * rows * outputs) };
                    let function = format!("linear_by_warps<{g}, {x}, {y}, {act}>");
                    self.source.uses(Family::Conv);
                    return self.kernel(layer, "", &function, grid, THREADS, params, written);
                }
                self.product(layer, &g, &sizes, [&x, &y, &y], *act, call, *weight, *bias, (false, false), written);
            }
            Kind::LinearGradInput(linear, weight) => {
                let g = self.linear(layer, linear);
                let (dy, dx) = (self.rows(&reads[0], linear.outputs), self.rows(&writes[0].0, linear.inputs));
                let y = reads.get(1).map_or(dx.clone(), |y| self.rows(y, linear.inputs));
                let sizes = Sizes::of_linear(linear);
                self.product_back(layer, &g, &sizes, [&dy, &dx, &y], Act::None, store, call, *weight, None, written);
            }
            Kind::LinearGradWeight(linear, weight, bias) => {
                let g = self.linear(layer, linear);
                let (x, dy) = (self.rows(&reads[0], linear.inputs), self.rows(&reads[1], linear.outputs));
                let sizes = Sizes::of_linear(linear);
                self.product_weights(layer, &g, &sizes, [&x, &dy], call, *weight, *bias, written);
            }
            Kind::Load(input) => {
                let y = &writes[0].0;
                let len = self.len(y);
                let function = format!("copy<First<{len}, 1>, {}, WRITE>", self.lies(y));
                self.source.uses(Family::Elementwise);
                let params = vec![param(READ, "x", Arg::Input(*input)), param(WRITE, "y", self.value(y)), batch()];
                self.kernel(layer, "load", &function, each(len), THREADS, params, written);
            }
            Kind::Loss(output) => self.loss(*output as usize, &reads[0], &writes[0].0, layer, written),
            Kind::Act(act) => {
                let act = self.act(layer, *act);
                let lies = self.alike([&reads[0], &writes[0].0]);
                let function = format!("activate<{act}, {}>", lies.join(", "));
                self.source.uses(Family::Activation);
                self.map_one(layer, "", &function, call, ["x", "y"], written);
            }
            Kind::ActGrad(act) => {
                let act = self.act(layer, *act);
                let lies = self.alike([&reads[0], &reads[1], &writes[0].0]);
                let function = format!("activate_back<{act}, {}, {store}>", lies.join(", "));
                self.source.uses(Family::Activation);
                self.map_two(layer, "before_act", &function, call, ["y", "dy", "dx"], written);
            }
            Kind::Curve(curve) => {
                let curve = self.curve(layer, *curve);
                let lies = self.alike([&reads[0], &writes[0].0]);
                let function = format!("bend<{curve}, {}>", lies.join(", "));
                self.source.uses(Family::Curve);
                self.map_one(layer, "", &function, call, ["x", "y"], written);
            }
            Kind::CurveGrad(curve) => {
                let curve = self.curve(layer, *curve);
                let lies = self.alike([&reads[0], &reads[1], &writes[0].0]);
                let function = format!("bend_back<{curve}, {}, {store}>", lies.join(", "));
                self.source.uses(Family::Curve);
                self.map_two(layer, "back", &function, call, ["x", "dy", "dx"], written);
            }
            Kind::MaxPool(channels, window) => {
                let g = self.window(layer, window);
                let x = self.map(&reads[0], *channels, size(window));
                let y = self.map(&writes[0].0, *channels, window.positions());
                let places = writes.get(1).map(|(places, _)| places);
                let (of, to, _) = places.map_or(("u8", "u8 *", ""), |places| self.places(places));
                let function = match places {
                    Some(_) => format!("max_pool<{g}, {x}, {y}>"),
                    None => format!("max_pool<{g}, {x}, {y}, {of}>"),
                };
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(WRITE, "y", self.value(&writes[0].0)),
                    param(to, "places", places.map(|places| self.value(places))),
                    batch(),
                ];
                self.source.uses(Family::Pool);
                self.kernel(layer, "", &function, each(self.len(&writes[0].0)), THREADS, params, written);
            }
            Kind::MaxPoolGrad(channels, window) => {
                let g = self.window(layer, window);
                let dy = self.map(&reads[0], *channels, window.positions());
                let dx = self.map(&writes[0].0, *channels, size(window));
                let (of, _, from) = self.places(&reads[1]);
                // Places lie as the results do that are the maxima.
                let y = reads.get(2).map_or(dy.clone(), |y| self.map(y, *channels, window.positions()));
                let back = self.back(layer, call);
                let function = format!("max_pool_back<{g}, {dy}, {y}, {dx}, {back}, {of}, {store}>");
                let params = vec![
                    param(READ, "dy", self.value(&reads[0])),
                    param(from, "places", self.value(&reads[1])),
                    param(READ, "y", reads.get(2).map(|y| self.value(y))),
                    param(WRITE, "dx", self.value(&writes[0].0)),
                    batch(),
                ];
                self.source.uses(Family::Pool);
                self.kernel(layer, "pool_back", &function, each(self.len(&writes[0].0)), THREADS, params, written);
            }
            Kind::AvgPool(channels, window, padded) => {
                let g = self.window(layer, window);
                let x = self.map(&reads[0], *channels, size(window));
                let y = self.map(&writes[0].0, *channels, window.positions());
                let function = format!("avg_pool<{g}, {padded}, {x}, {y}>");
                self.source.uses(Family::Pool);
                self.map_one(layer, "", &function, call, ["x", "y"], written);
            }
            Kind::AvgPoolGrad(channels, window, padded) => {
                let g = self.window(layer, window);
                let dy = self.map(&reads[0], *channels, window.positions());
                let dx = self.map(&writes[0].0, *channels, size(window));
                let function = format!("avg_pool_back<{g}, {padded}, {dy}, {dx}, {store}>");
                self.source.uses(Family::Pool);
                self.map_one(layer, "back", &function, call, ["dy", "dx"], written);
            }
            Kind::NormByRunning(norm, tensors, act) => {
                let NormTensors { weight, bias, mean, var } = *tensors;
                let (g, act) = (self.norm(layer, norm), self.act(layer, *act));
                let [x, y] = [&reads[0], &writes[0].0].map(|map| self.map(map, norm.channels, norm.positions));
                let function = format!("norm_by_running<{g}, {x}, {y}, {act}>");
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "weight", self.maybe_weight(weight)),
                    param(READ, "bias", self.maybe_weight(bias)),
                    param(READ, "mean", self.weight(mean)),
                    param(READ, "var", self.weight(var)),
                    param(WRITE, "y", self.value(&writes[0].0)),
                    batch(),
                ];
                self.source.uses(Family::BatchNorm);
                self.kernel(layer, "", &function, each(self.len(&writes[0].0)), THREADS, params, written);
            }
            Kind::NormByRunningGrad(norm, tensors) => {
                let g = self.norm(layer, norm);
                let [dy, dx] = [&reads[0], &writes[0].0].map(|map| self.map(map, norm.channels, norm.positions));
                let function = format!("norm_by_running_back<{g}, {dy}, {dx}>");
                let params = vec![
                    param(READ, "dy", self.value(&reads[0])),
                    param(READ, "weight", self.maybe_weight(tensors.weight)),
                    param(READ, "var", self.weight(tensors.var)),
                    param(WRITE, "dx", self.value(&writes[0].0)),
                    batch(),
                ];
                self.source.uses(Family::BatchNorm);
                self.kernel(layer, "back", &function, each(self.len(&writes[0].0)), THREADS, params, written);
            }
            Kind::Dropout(p, _, per_unit, of) => {
                let g = self.source.constant(layer, &dropout_text(*p));
                // Units are counted in PyTorch's order, however values lie.
                let lies = [&reads[0], &writes[0].0].map(|value| self.lies(value));
                let function = format!("dropout<{g}, {per_unit}, {}, {store}>", lies.join(", "));
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(WRITE, "y", self.value(&writes[0].0)),
                    param("const u64 *", "draw", Arg::Draw),
                    param("u64 ", "key", Arg::Key(self.dropout_key(*of))),
                    batch(),
                ];
                self.source.uses(Family::Dropout);
                self.kernel(layer, "", &function, each(self.len(&writes[0].0)), THREADS, params, written);
            }
            Kind::LogSoftmax([_, size, inner]) | Kind::Softmax([_, size, inner]) => {
                let function = if matches!(kind, Kind::Softmax(_)) { "softmax" } else { "log_softmax" };
                let (x, y) = (self.lies(&reads[0]), self.lies(&writes[0].0));
                let function = format!("{function}<{size}, {inner}, {x}, {y}>");
                let params =
                    vec![param(READ, "x", self.value(&reads[0])), param(WRITE, "y", self.value(&writes[0].0)), batch()];
                self.source.uses(Family::Softmax);
                self.kernel(layer, "", &function, each(self.len(&writes[0].0) / size), THREADS, params, written);
            }
            Kind::LogSoftmaxGrad([_, size, inner]) | Kind::SoftmaxGrad([_, size, inner]) => {
                let function = if matches!(kind, Kind::SoftmaxGrad(_)) { "softmax_back" } else { "log_softmax_back" };
                let lies = [&reads[0], &reads[1], &writes[0].0].map(|value| self.lies(value)).join(", ");
                let function = format!("{function}<{size}, {inner}, {lies}, {store}>");
                let params = vec![
                    param(READ, "y", self.value(&reads[0])),
                    param(READ, "dy", self.value(&reads[1])),
                    param(WRITE, "dx", self.value(&writes[0].0)),
                    batch(),
                ];
                self.source.uses(Family::Softmax);
                self.kernel(layer, "back", &function, each(self.len(&writes[0].0) / size), THREADS, params, written);
            }
            Kind::GroupNorm(norm, weight, bias) => {
                let g = self.group_norm(layer, norm);
                let (x, y) = (self.lies(&reads[0]), self.lies(&writes[0].0));
                let function = format!("group_norm<{g}, {x}, {y}>");
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "weight", self.maybe_weight(*weight)),
                    param(READ, "bias", self.maybe_weight(*bias)),
                    param(WRITE, "y", self.value(&writes[0].0)),
                    param(WRITE, "moments", writes.get(1).map(|(moments, _)| self.value(moments))),
                ];
                self.source.uses(Family::GroupNorm);
                self.kernel(layer, "", &function, Grid::of_samples(norm.groups, 1), THREADS, params, written);
            }
            Kind::GroupNormGrad(norm, weight, bias) => {
                self.group_norm_back(norm, [*weight, *bias], call, layer, store, written)
            }
            Kind::Add => {
                let function = format!("add<{}>", self.alike([&reads[0], &reads[1], &writes[0].0]).join(", "));
                self.source.uses(Family::Elementwise);
                self.map_two(layer, "", &function, call, ["a", "b", "y"], written);
            }
            Kind::Mul([_, count, inner]) => {
                let lies = match count {
                    1 => self.alike([&reads[0], &reads[1], &writes[0].0]),
                    _ => [&reads[0], &reads[1], &writes[0].0].map(|value| self.lies(value)).to_vec(),
                };
                // Of one repetition all three are one row, of the same elements.
                let inner = if *count == 1 { self.len(&writes[0].0) } else { *inner };
                let function = format!("multiply<{count}, {inner}, {}, {store}>", lies.join(", "));
                self.source.uses(Family::Elementwise);
                self.map_two(layer, "", &function, call, ["a", "b", "y"], written);
            }
            Kind::MulSum([_, count, inner]) => {
                let lies = [&reads[0], &reads[1], &writes[0].0].map(|value| self.lies(value)).join(", ");
                let function = format!("multiply_sum<{count}, {inner}, {lies}, {store}>");
                let params = vec![
                    param(READ, "a", self.value(&reads[0])),
                    param(READ, "b", self.value(&reads[1])),
                    param(WRITE, "s", self.value(&writes[0].0)),
                ];
                self.source.uses(Family::Elementwise);
                let grid = Grid::of_samples(self.len(&writes[0].0), 1);
                self.kernel(layer, "sum", &function, grid, 128, params, written);
            }
            Kind::Frame(channels, frame) => {
                let g = self.frame(layer, frame);
                let x = self.map(&reads[0], *channels, frame.size.iter().product());
                let y = self.map(&writes[0].0, *channels, frame.out_size.iter().product());
                let function = format!("frame<{g}, {x}, {y}, {store}>");
                self.source.uses(Family::Resample);
                self.map_one(layer, "", &function, call, ["x", "y"], written);
            }
            Kind::Resample(channels, resample) => {
                let (g, how) = (self.resample(layer, resample), how_text(resample.how));
                let x = self.map(&reads[0], *channels, resample.size.iter().product());
                let y = self.map(&writes[0].0, *channels, resample.out_size.iter().product());
                let function = format!("resample<{g}, {how}, {x}, {y}>");
                self.source.uses(Family::Resample);
                self.map_one(layer, "", &function, call, ["x", "y"], written);
            }
            Kind::ResampleGrad(channels, resample) => {
                let (g, how) = (self.resample(layer, resample), how_text(resample.how));
                let dy = self.map(&reads[0], *channels, resample.out_size.iter().product());
                let dx = self.map(&writes[0].0, *channels, resample.size.iter().product());
                let function = format!("resample_back<{g}, {how}, {dy}, {dx}, {store}>");
                self.source.uses(Family::Resample);
                self.map_one(layer, "back", &function, call, ["dy", "dx"], written);
            }
            Kind::Shuffle(channels, groups, positions) => {
                let of_group = channels / groups;
                let channel = format!("e / {positions} % {groups} * {of_group} + e / {positions} / {groups}");
                let from = format!("({channel}) * {positions} + e % {positions}");
                self.moved(layer, &from, store, call, written);
            }
            Kind::Permute(sizes, order) => {
                let from = permuted(sizes, order);
                self.moved(layer, &from, store, call, written);
            }
            Kind::Zero => {
                let len = self.len(&writes[0].0);
                let params = vec![param(WRITE, "y", self.value(&writes[0].0)), batch()];
                self.source.uses(Family::Elementwise);
                self.kernel(layer, "zero", &format!("clear<{len}>"), each(len), THREADS, params, written);
            }
            Kind::Copy => {
                let lies = self.alike([&reads[0], &writes[0].0]).join(", ");
                self.source.uses(Family::Elementwise);
                self.map_one(layer, "copy", &format!("copy<{lies}, {store}>"), call, ["x", "y"], written);
            }
            // Calls of their own, copies, or the processor's.
            Kind::Concat
            | Kind::Slice(_)
            | Kind::Place(_)
            | Kind::BatchNorm(..)
            | Kind::BatchNormGrad(..)
            | Kind::ConvPoolGradInput(..)
            | Kind::ConvPoolGradWeight(..)
            | Kind::Custom(..)
            | Kind::CustomGrad(..) => unreachable!("no kernel of a graphics card"),
        }
    }

    /// A kernel with a thread for each element of what it makes of one value.
    fn map_one(
        &mut self,
        layer: &str,
        role: &str,
        function: &str,
        call: &Call,
        [x, y]: [&'static str; 2],
        written: &mut Vec<Step>,
    ) {
        let to = &call.writes[0].0;
        let params = vec![param(READ, x, self.value(&call.reads[0])), param(WRITE, y, self.value(to)), batch()];
        let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
        self.kernel(layer, role, function, grid, THREADS, params, written);
    }

    /// The same, of two values.
    fn map_two(
        &mut self,
        layer: &str,
        role: &str,
        function: &str,
        call: &Call,
        [a, b, y]: [&'static str; 3],
        written: &mut Vec<Step>,
    ) {
        let to = &call.writes[0].0;
        let params = vec![
            param(READ, a, self.value(&call.reads[0])),
            param(READ, b, self.value(&call.reads[1])),
            param(WRITE, y, self.value(to)),
            batch(),
        ];
        let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
        self.kernel(layer, role, function, grid, THREADS, params, written);
    }

    /// A kernel that moves elements: element e comes from this one.
    fn moved(&mut self, layer: &str, from: &str, store: &str, call: &Call, written: &mut Vec<Step>) {
        let definition = format!("struct @ {{\n    static __device__ u32 of(u32 e) {{ return {from}; }}\n}};");
        let g = self.source.constant(layer, &definition);
        let (x, y) = (self.lies(&call.reads[0]), self.lies(&call.writes[0].0));
        self.source.uses(Family::Elementwise);
        self.map_one(layer, "", &format!("move<{g}, {x}, {y}, {store}>"), call, ["x", "y"], written);
    }

    fn rows(&self, operand: &Operand, features: u64) -> String {
        format!("Rows<{}, {features}>", self.lies(operand))
    }

    fn conv(&mut self, kind: &Kind, call: &Call, layer: &str, store: &str, written: &mut Vec<Step>) {
        let (reads, writes) = (&call.reads, &call.writes);
        let input = |this: &Self, operand: &Operand, conv: &Conv| this.map(operand, conv.channels, size(&conv.window));
        let output =
            |this: &Self, operand: &Operand, conv: &Conv| this.map(operand, conv.out_channels, conv.window.positions());
        match kind {
            Kind::GradBias(channels, bias) => {
                let dy = self.map(&reads[0], *channels, self.len(&reads[0]) / channels);
                let params = vec![
                    param(READ, "dy", self.value(&reads[0])),
                    param(WRITE, "of_bias", self.gradient(*bias)),
                    batch(),
                ];
                self.source.uses(Family::Conv);
                let grid = Grid::fixed(*channels, 1);
                self.kernel(layer, "bias_back", &format!("grad_bias<{dy}>"), grid, THREADS, params, written);
            }
            Kind::Conv(conv, weight, bias, act) => {
                let (x, y) = (input(self, &reads[0], conv), output(self, &writes[0].0, conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product(layer, &g, &sizes, [&x, &y, &y], *act, call, *weight, *bias, (false, false), written);
            }
            Kind::ConvPool(conv, weight, bias, act) => {
                let x = input(self, &reads[0], conv);
                let y = self.map(&writes[0].0, conv.out_channels, conv.pool().positions());
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product(layer, &g, &sizes, [&x, &y, &y], *act, call, *weight, *bias, (true, false), written);
            }
            Kind::ConvAdd(conv, weight, bias, act, order) => {
                let (x, y) = (input(self, &reads[0], conv), output(self, &writes[0].0, conv));
                let r = output(self, &reads[1], conv);
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                let behind = *order == Order::Behind;
                self.product(layer, &g, &sizes, [&x, &y, &r], *act, call, *weight, *bias, (false, behind), written);
            }
            Kind::ConvTranspose(conv, weight, bias, act) => {
                let (dy, dx) = (output(self, &reads[0], conv), input(self, &writes[0].0, conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product_back(layer, &g, &sizes, [&dy, &dx, &dx], *act, store, call, *weight, *bias, written);
            }
            Kind::ConvGradInput(conv, weight) => {
                let (dy, dx) = (output(self, &reads[0], conv), input(self, &writes[0].0, conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                let y = reads.get(1).map_or(dx.clone(), |y| input(self, y, conv));
                self.product_back(layer, &g, &sizes, [&dy, &dx, &y], Act::None, store, call, *weight, None, written);
            }
            Kind::ConvGradWeight(conv, weight, bias) => {
                let (x, dy) = (input(self, &reads[0], conv), output(self, &reads[1], conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product_weights(layer, &g, &sizes, [&x, &dy], call, *weight, *bias, written);
            }
            _ => unreachable!("a convolution"),
        }
    }

    /// A convolution or linear layer, `(pool, behind)` saying whether a pool follows and whether a second read is added behind the
    /// nonlinearity.
    #[allow(clippy::too_many_arguments)]
    fn product(
        &mut self,
        layer: &str,
        g: &str,
        sizes: &Sizes,
        [x, y, r]: [&str; 3],
        act: Act,
        call: &Call,
        weight: TensorId,
        bias: Option<TensorId>,
        (pool, behind): (bool, bool),
        written: &mut Vec<Step>,
    ) {
        let act = self.act(layer, act);
        let [from, to] = [&call.reads[0], &call.writes[0].0];
        let added = call.reads.get(1).map(|added| self.value(added));
        let places = call.writes.get(1).map(|(places, _)| self.value(places));
        let role = if pool { "pool" } else { "" };
        let mut params = vec![
            param(READ, "x", self.value(from)),
            param(READ, "weight", self.weight(weight)),
            param(READ, "bias", self.maybe_weight(bias)),
            param(READ, "added", added),
            param(WRITE, "y", self.value(to)),
        ];
        if sizes.is_depthwise {
            params.push(batch());
            let function = format!("depthwise_forward<{g}, {x}, {y}, {r}, {act}, {behind}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
            return self.kernel(layer, role, &function, grid, THREADS, params, written);
        }
        params.extend([param("u8 *", "places", places), batch()]);
        let columns = columns(sizes.outputs);
        let rows = if pool { 4 * sizes.pooled } else { sizes.out_positions };
        let grid = Grid { y: sizes.outputs.div_ceil(columns), z: sizes.groups, ..Grid::of_samples(rows, ROWS) };
        let function = format!("conv_forward<{g}, {x}, {y}, {r}, {act}, {pool}, {behind}, {columns}>");
        self.source.uses(Family::Conv);
        self.kernel(layer, role, &function, grid, PRODUCT_THREADS, params, written);
    }

    /// The gradient by the input, or a transposed convolution.
    #[allow(clippy::too_many_arguments)]
    fn product_back(
        &mut self,
        layer: &str,
        g: &str,
        sizes: &Sizes,
        [dy, dx, y]: [&str; 3],
        act: Act,
        store: &str,
        call: &Call,
        weight: TensorId,
        bias: Option<TensorId>,
        written: &mut Vec<Step>,
    ) {
        let (act, back) = (self.act(layer, act), self.back(layer, call));
        let to = &call.writes[0].0;
        let params = vec![
            param(READ, "dy", self.value(&call.reads[0])),
            param(READ, "weight", self.weight(weight)),
            param(READ, "bias", self.maybe_weight(bias)),
            param(READ, "y", call.reads.get(1).map(|y| self.value(y))),
            param(WRITE, "dx", self.value(to)),
            batch(),
        ];
        let role = if matches!(call.kernel, Kernel::Op(Kind::ConvTranspose(..))) { "" } else { "input_back" };
        if sizes.is_depthwise {
            let function = format!("depthwise_grad_input<{g}, {dy}, {dx}, {y}, {act}, {back}, {store}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
            return self.kernel(layer, role, &function, grid, THREADS, params, written);
        }
        let columns = columns(sizes.channels);
        let grid =
            Grid { y: sizes.channels.div_ceil(columns), z: sizes.groups, ..Grid::of_samples(sizes.positions, ROWS) };
        let function = format!("conv_grad_input<{g}, {dy}, {dx}, {y}, {act}, {back}, {store}, {columns}>");
        self.source.uses(Family::Conv);
        self.kernel(layer, role, &function, grid, PRODUCT_THREADS, params, written);
    }

    /// The gradients by weight and bias.
    #[allow(clippy::too_many_arguments)]
    fn product_weights(
        &mut self,
        layer: &str,
        g: &str,
        sizes: &Sizes,
        [x, dy]: [&str; 2],
        call: &Call,
        weight: TensorId,
        bias: Option<TensorId>,
        written: &mut Vec<Step>,
    ) {
        let (of_weight, of_bias) = (self.gradient(weight), bias.map(|bias| self.gradient(bias)));
        let values = |this: &Self| {
            let [x, dy] = [0, 1].map(|read| this.value(&call.reads[read]));
            vec![param(READ, "x", x), param(READ, "dy", dy)]
        };
        let gradients = || vec![param(WRITE, "of_weight", of_weight.clone()), param(WRITE, "of_bias", of_bias.clone())];
        if sizes.is_depthwise {
            let params = values(self).into_iter().chain(gradients()).chain([batch()]).collect();
            let function = format!("depthwise_grad_weight<{g}, {x}, {dy}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid { y: sizes.taps + u64::from(bias.is_some()), ..Grid::fixed(sizes.groups, 1) };
            return self.kernel(layer, "weight_back", &function, grid, THREADS, params, written);
        }
        let (has_bias, columns) = (bias.is_some(), columns(sizes.outputs));
        let rows = sizes.taps * sizes.channels + u64::from(has_bias);
        let across = sizes.outputs.div_ceil(columns);
        let blocks = rows.div_ceil(ROWS) * across * sizes.groups;
        let terms = NOMINAL_BATCH * sizes.out_positions;
        let parts = (BLOCKS / blocks).min(terms / PART_TERMS).max(1);
        let (whole, scratch) = match parts {
            1 => (gradients(), None),
            _ => (vec![param(WRITE, "of_weight", None), param(WRITE, "of_bias", None)], Some(Arg::Scratch(0))),
        };
        let params = values(self).into_iter().chain(whole).chain([param(WRITE, "parts", scratch), batch()]).collect();
        let grid = Grid { y: across, z: sizes.groups * parts, ..Grid::fixed(rows, ROWS) };
        let function = format!("conv_grad_weight<{g}, {x}, {dy}, {has_bias}, {parts}, {columns}>");
        self.source.uses(Family::Conv);
        self.kernel(layer, "weight_back", &function, grid, PRODUCT_THREADS, params, written);
        if parts > 1 {
            let len = sizes.groups * rows * sizes.outputs;
            self.scratch = self.scratch.max(parts * len);
            let params = [param(READ, "parts", Arg::Scratch(0))].into_iter().chain(gradients()).collect();
            let function = format!("add_parts<{g}, {has_bias}, {parts}>");
            let grid = Grid::fixed(len, u64::from(THREADS));
            self.kernel(layer, "weight_parts", &function, grid, THREADS, params, written);
        }
    }

    fn batch_norm(&mut self, call: &Call, layer: &str, written: &mut Vec<Step>) {
        let (reads, writes) = (&call.reads, &call.writes);
        let store = if writes.first().is_some_and(|(_, store)| *store == Store::Add) { "ADD" } else { "WRITE" };
        let by_sample = |norm: &Norm| Grid { y: norm.channels.div_ceil(32), ..Grid::of_samples(1, 1) };
        let by_channel = |norm: &Norm| Grid::fixed(32 * norm.channels, u64::from(THREADS));
        let map = |this: &Self, norm: &Norm, operand: &Operand| this.map(operand, norm.channels, norm.positions);
        self.source.uses(Family::BatchNorm);
        match &call.kernel {
            Kernel::NormStatistics(norm) => {
                let function = format!("norm_statistics<{}>", map(self, norm, &reads[0]));
                let params =
                    vec![param(READ, "x", self.value(&reads[0])), param(WRITE, "sums", self.value(&writes[0].0))];
                self.kernel(layer, "statistics", &function, by_sample(norm), THREADS, params, written);
            }
            Kernel::NormMerge(norm, tensors) => {
                let g = self.norm(layer, norm);
                let function = format!("norm_merge<{g}, {}, {}>", norm.channels, norm.positions);
                let [mean, var] = [tensors.mean, tensors.var].map(|id| Arg::Statistics(self.tensor(id, 0)));
                let params = vec![
                    param(READ, "sums", self.value(&reads[0])),
                    param(WRITE, "state", self.state(norm)),
                    param(WRITE, "running_mean", mean),
                    param(WRITE, "running_var", var),
                    param("u32 ", "updates", Arg::Updates),
                    batch(),
                ];
                self.kernel(layer, "merge", &function, by_channel(norm), THREADS, params, written);
            }
            Kernel::NormForward(norm, tensors, act, order) => {
                let act = self.act(layer, *act);
                let (x, y) = (map(self, norm, &reads[0]), map(self, norm, &writes[0].0));
                let r = reads.get(1).map_or(y.clone(), |added| map(self, norm, added));
                let behind = *order == Some(Order::Behind);
                let function = format!("norm_forward<{x}, {y}, {r}, {act}, {behind}>");
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "state", self.state(norm)),
                    param(READ, "weight", self.maybe_weight(tensors.weight)),
                    param(READ, "bias", self.maybe_weight(tensors.bias)),
                    param(READ, "added", reads.get(1).map(|added| self.value(added))),
                    param(WRITE, "y", self.value(&writes[0].0)),
                    batch(),
                ];
                let grid = Grid::of_samples(self.len(&writes[0].0), u64::from(THREADS));
                self.kernel(layer, "", &function, grid, THREADS, params, written);
            }
            Kernel::NormSums(norm, tensors, act) => {
                let (x, dy) = (map(self, norm, &reads[0]), map(self, norm, &reads[1]));
                let relu = *act != Act::None;
                let function = format!("norm_sums<{x}, {dy}, {relu}>");
                let of_relu = |id: Option<TensorId>| if relu { self.maybe_weight(id) } else { None };
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "dy", self.value(&reads[1])),
                    param(READ, "state", self.state(norm)),
                    param(READ, "weight", of_relu(tensors.weight)),
                    param(READ, "bias", of_relu(tensors.bias)),
                    param(WRITE, "sums", self.value(&writes[0].0)),
                ];
                self.kernel(layer, "sums", &function, by_sample(norm), THREADS, params, written);
            }
            Kernel::NormMergeBackward(norm, tensors) => {
                let function = format!("norm_merge_back<{}, {}>", norm.channels, norm.positions);
                let params = vec![
                    param(READ, "sums", self.value(&reads[0])),
                    param(WRITE, "state", self.state(norm)),
                    param(READ, "weight", self.maybe_weight(tensors.weight)),
                    param(WRITE, "of_weight", tensors.weight.map(|id| self.gradient(id))),
                    param(WRITE, "of_bias", tensors.bias.map(|id| self.gradient(id))),
                    batch(),
                ];
                self.kernel(layer, "merge_back", &function, by_channel(norm), THREADS, params, written);
            }
            Kernel::NormBackward(norm, tensors, act) => {
                let (x, dy) = (map(self, norm, &reads[0]), map(self, norm, &reads[1]));
                let (dx, relu) = (map(self, norm, &writes[0].0), *act != Act::None);
                let function = format!("norm_back<{x}, {dy}, {dx}, {relu}, {store}>");
                let of_relu = |id: Option<TensorId>| if relu { self.maybe_weight(id) } else { None };
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "dy", self.value(&reads[1])),
                    param(READ, "state", self.state(norm)),
                    param(READ, "weight", of_relu(tensors.weight)),
                    param(READ, "bias", of_relu(tensors.bias)),
                    param(WRITE, "dx", self.value(&writes[0].0)),
                    batch(),
                ];
                let grid = Grid::of_samples(self.len(&writes[0].0), u64::from(THREADS));
                self.kernel(layer, "back", &function, grid, THREADS, params, written);
            }
            _ => unreachable!("a batch norm"),
        }
    }

    fn group_norm_back(
        &mut self,
        norm: &GroupNorm,
        [weight, bias]: [Option<TensorId>; 2],
        call: &Call,
        layer: &str,
        store: &str,
        written: &mut Vec<Step>,
    ) {
        let (reads, to) = (&call.reads, &call.writes[0].0);
        let g = self.group_norm(layer, norm);
        let lies = [&reads[0], &reads[1], to].map(|value| self.lies(value));
        self.source.uses(Family::GroupNorm);
        let values = |this: &Self| {
            let [x, dy, moments] = [0, 1, 2].map(|read| this.value(&reads[read]));
            vec![param(READ, "x", x), param(READ, "dy", dy), param(READ, "moments", moments)]
        };
        let has_weights = self.plan.schedule.kind == PlanKind::Training && (weight.is_some() || bias.is_some());
        if has_weights {
            let gradients = [
                param(WRITE, "of_weight", weight.map(|id| self.gradient(id))),
                param(WRITE, "of_bias", bias.map(|id| self.gradient(id))),
                batch(),
            ];
            let params = values(self).into_iter().chain(gradients).collect();
            let function = format!("group_norm_weights<{g}, {}, {}>", lies[0], lies[1]);
            let weights = if norm.shared { norm.channels } else { norm.groups * norm.channels };
            self.kernel(layer, "weight_back", &function, Grid::fixed(weights, 1), THREADS, params, written);
        }
        let mut params = values(self);
        params.extend([param(READ, "weight", self.maybe_weight(weight)), param(WRITE, "dx", self.value(to))]);
        let function = format!("group_norm_back<{g}, {}, {store}>", lies.join(", "));
        self.kernel(layer, "back", &function, Grid::of_samples(norm.groups, 1), THREADS, params, written);
    }

    /// A kernel for each kind of loss of an output.
    fn loss(&mut self, output: usize, y: &Operand, dy: &Operand, layer: &str, written: &mut Vec<Step>) {
        const LOSS_THREADS: u32 = 128;
        self.source.uses(Family::Loss);
        let shape = &self.checked.outputs[output];
        let sizes = format!("{}, {}", shape[0], elements(shape) / shape[0]);
        let of_dy = self.lies(dy);
        let lies = format!("{}, {of_dy}", self.lies(y));
        let (y, dy) = (self.value(y), self.value(dy));
        let mut kinds = Vec::new();
        for kind in ["None", "CrossEntropy", "Nll", "Mse", "L1", "SmoothL1", "Huber", "BceWithLogits"] {
            let labels = || param("const u32 *", "labels", Arg::Labels(output));
            let targets = || param(READ, "targets", Arg::Targets(output));
            let weights = || param(READ, "weights", Arg::LossWeights(output));
            let number = |name: &'static str| param("float ", name, Arg::LossNumber(output));
            let of_values = |of: &str| (format!("loss_of_values<{of}, {lies}>"), vec![targets(), number("number")]);
            let (function, of_kind) = match kind {
                "None" => (format!("loss_none<{of_dy}>"), Vec::new()),
                "CrossEntropy" => {
                    let params = vec![labels(), weights(), number("smoothing")];
                    (format!("loss_cross_entropy<{sizes}, {lies}>"), params)
                }
                "Nll" => (format!("loss_nll<{sizes}, {lies}>"), vec![labels(), weights()]),
                "Mse" => of_values("Squared"),
                "L1" => of_values("Absolute"),
                "SmoothL1" => of_values("Smooth"),
                "Huber" => of_values("Huber"),
                _ => (format!("loss_bce_with_logits<{lies}>"), vec![targets(), weights(), number("weight")]),
            };
            let of_dy = param(WRITE, "dy", dy.clone());
            let losses = param(WRITE, "losses", Arg::Losses(output));
            let params = match kind {
                "None" => vec![of_dy, losses],
                _ => {
                    let factor = param(READ, "factor", Arg::LossFactor(output));
                    [param(READ, "y", y.clone()), of_dy].into_iter().chain(of_kind).chain([factor, losses]).collect()
                }
            };
            let role = format!("loss_{}", words(kind));
            let grid = Grid::of_samples(1, 1);
            kinds.push((kind, self.launch(layer, &role, &function, grid, LOSS_THREADS, params)));
        }
        written.push(Step::Loss(kinds));
    }

    /// A dropout's key: which use, and which iteration of the loops around it.
    fn dropout_key(&self, of: u32) -> Strided {
        let counts = self.loops.iter().map(|(_, count)| *count);
        let mut strides: Vec<u64> = counts.collect();
        let mut inner = 1;
        for stride in strides.iter_mut().rev() {
            (*stride, inner) = (inner, inner * *stride);
        }
        Strided { first: u64::from(of) << 32, strides }
    }

    fn linear(&mut self, layer: &str, linear: &Linear) -> String {
        let Linear { rows, inputs, outputs } = linear;
        self.source.constant(layer, &format!("using @ = Linear<{rows}, {inputs}, {outputs}>;"))
    }

    fn conv_sizes(&mut self, layer: &str, conv: &Conv) -> String {
        let Conv { channels, out_channels, groups, window } = conv;
        let counts = format!("channels = {channels}, out_channels = {out_channels}, groups = {groups}");
        let fields = window_fields(window);
        self.source.constant(layer, &format!("struct @ {{\n    static constexpr u32 {counts};\n{fields}}};"))
    }

    fn window(&mut self, layer: &str, window: &Window) -> String {
        self.source.constant(layer, &format!("struct @ {{\n{}}};", window_fields(window)))
    }

    fn frame(&mut self, layer: &str, frame: &Frame) -> String {
        let [d, h, w] = frame.before;
        let fields = [size_text("size", &frame.size), size_text("out", &frame.out_size)].concat();
        self.source.constant(layer, &format!("struct @ {{\n{fields}    using before = Size<{d}, {h}, {w}>;\n}};"))
    }

    fn resample(&mut self, layer: &str, resample: &Resample) -> String {
        let fields = [size_text("size", &resample.size), size_text("out", &resample.out_size)].concat();
        self.source.constant(layer, &format!("struct @ {{\n{fields}}};"))
    }

    fn norm(&mut self, layer: &str, norm: &Norm) -> String {
        let (eps, momentum) = (float(norm.eps), float(norm.momentum));
        let definition = format!("struct @ {{\n    static constexpr float eps = {eps}f, momentum = {momentum}f;\n}};");
        self.source.constant(layer, &definition)
    }

    fn group_norm(&mut self, layer: &str, norm: &GroupNorm) -> String {
        let GroupNorm { groups, channels, positions, eps, shared } = norm;
        let definition = format!(
            "struct @ {{\n    static constexpr u32 groups = {groups}, channels = {channels}, positions = {positions};\n    static \
             constexpr float eps = {}f;\n    static constexpr bool shared = {shared};\n}};",
            float(*eps)
        );
        self.source.constant(layer, &definition)
    }

    /// The type of a nonlinearity.
    fn act(&mut self, layer: &str, act: Act) -> String {
        let (name, numbers) = match act {
            Act::LeakyRelu(slope) => ("LeakyRelu", vec![("slope", slope)]),
            Act::Elu(alpha) => ("Elu", vec![("alpha", alpha)]),
            Act::Hardtanh(least, most) => ("Hardtanh", vec![("least", least), ("most", most)]),
            Act::Softplus(beta, threshold) => ("Softplus", vec![("beta", beta), ("threshold", threshold)]),
            Act::None | Act::Relu | Act::Tanh | Act::Sigmoid | Act::Hardsigmoid => return format!("{act:?}"),
        };
        self.with_numbers(layer, name, &numbers)
    }

    /// The nonlinearity through which a call's gradient goes on.
    fn back(&mut self, layer: &str, call: &Call) -> String {
        let back = call.epilogue.iter().find_map(|step| match step {
            Epilogue::Back(act) => Some(*act),
            _ => None,
        });
        self.act(layer, back.unwrap_or(Act::None))
    }

    /// The type of a curve.
    fn curve(&mut self, layer: &str, curve: Curve) -> String {
        match curve {
            Curve::Softplus(beta, threshold) => {
                self.with_numbers(layer, "SoftplusCurve", &[("beta", beta), ("threshold", threshold)])
            }
            Curve::Gelu | Curve::GeluTanh | Curve::Silu | Curve::Hardswish => format!("{curve:?}"),
        }
    }

    fn with_numbers(&mut self, layer: &str, name: &str, numbers: &[(&str, f64)]) -> String {
        let fields: Vec<String> =
            numbers.iter().map(|(name, number)| format!("{name} = {}f", float(*number))).collect();
        let definition = format!("struct @ {{\n    static constexpr float {};\n}};", fields.join(", "));
        format!("{name}<{}>", self.source.constant(layer, &definition))
    }
}

/// What blocks of products depend on, of one group.
struct Sizes {
    channels: u64,
    outputs: u64,
    groups: u64,
    taps: u64,
    positions: u64,
    out_positions: u64,
    /// Positions behind a pool of 2 by 2.
    pooled: u64,
    is_depthwise: bool,
}

impl Sizes {
    fn of_conv(conv: &Conv) -> Sizes {
        Sizes {
            channels: conv.channels / conv.groups,
            outputs: conv.out_channels / conv.groups,
            groups: conv.groups,
            taps: conv.window.taps(),
            positions: size(&conv.window),
            out_positions: conv.window.positions(),
            pooled: conv.pool().positions(),
            is_depthwise: crate::target::Target::Cuda.conv(conv) == Class::Depthwise,
        }
    }

    fn of_linear(linear: &Linear) -> Sizes {
        let Linear { rows, inputs, outputs } = *linear;
        Sizes {
            channels: inputs,
            outputs,
            groups: 1,
            taps: 1,
            positions: rows,
            out_positions: rows,
            pooled: 0,
            is_depthwise: false,
        }
    }
}

/// Columns of a block of a product with so many.
fn columns(outputs: u64) -> u64 {
    outputs.next_power_of_two().clamp(8, 64)
}

/// Whether a linear layer's product would have few blocks, each of which would be long at it.
fn runs_by_warps(linear: &Linear) -> bool {
    let blocks = (NOMINAL_BATCH * linear.rows).div_ceil(ROWS) * linear.outputs.div_ceil(columns(linear.outputs));
    blocks <= 16 && linear.inputs >= 128
}

/// Inputs that kernels can read where they come: as they are to lie, and only loaded into their slot.
fn read_where_they_come(plan: &Plan) -> HashMap<SlotId, usize> {
    fn note(
        steps: &[PlanStep],
        plan: &Plan,
        loads: &mut HashMap<SlotId, usize>,
        writes: &mut HashMap<Option<usize>, u32>,
    ) {
        for step in steps {
            match step {
                PlanStep::Loop(looped) => note(&looped.body, plan, loads, writes),
                PlanStep::Stage(_) => {}
                PlanStep::Whole(call) => {
                    for (write, _) in &call.writes {
                        *writes.entry(plan.places[write.slot.0 as usize].block).or_default() += 1;
                    }
                    if let Kernel::Op(Kind::Load(input)) = call.kernel {
                        loads.insert(call.writes[0].0.slot, input);
                    }
                }
            }
        }
    }
    let (mut loads, mut writes) = (HashMap::new(), HashMap::new());
    note(&plan.schedule.steps, plan, &mut loads, &mut writes);
    let is_output = |slot: SlotId| plan.schedule.outputs.iter().any(|output| output.slot == slot);
    loads.retain(|slot, _| {
        let place = &plan.places[slot.0 as usize];
        let is_alone = place.block.is_some_and(|block| plan.blocks[block].names.len() == 1);
        let is_plain = plan.schedule.slots[slot.0 as usize].layout == Layout::Plain;
        is_alone
            && is_plain
            && place.at == At::Here
            && place.chain.is_none()
            && writes[&place.block] == 1
            && !is_output(*slot)
    });
    loads
}

/// Positions of a window's input.
fn size(window: &Window) -> u64 {
    window.size.iter().product()
}

fn size_text(name: &str, [d, h, w]: &[u64; 3]) -> String {
    format!("    using {name} = Size<{d}, {h}, {w}>;\n")
}

fn window_fields(window: &Window) -> String {
    let Window { size, out_size, kernel, stride, padding, dilation } = window;
    let fields = [
        ("size", size),
        ("out", out_size),
        ("kernel", kernel),
        ("stride", stride),
        ("padding", padding),
        ("dilation", dilation),
    ];
    fields.map(|(name, sizes)| size_text(name, sizes)).concat()
}

fn how_text(how: How) -> &'static str {
    match how {
        How::Adaptive => "ADAPTIVE",
        How::Nearest => "NEAREST",
        How::Linear => "LINEAR",
        How::LinearCorners => "LINEAR_CORNERS",
    }
}

/// The least draw that is kept and what becomes of a kept 1, as `runtime/src/kernels/dropout.rs` has them.
fn dropout_text(p: f64) -> String {
    let p = p as f32;
    let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
    let least = (f64::from(p) * f64::from(1 << 24)).ceil() as u64;
    format!(
        "struct @ {{\n    static constexpr u64 least = {least};\n    static constexpr float scale = {}f;\n}};",
        float(f64::from(scale))
    )
}

/// Where element e of a permuted value comes from.
fn permuted(sizes: &[u64], order: &[usize]) -> String {
    let stride = |dim: usize| elements(&sizes[dim + 1..]);
    let mut behind = 1;
    let mut terms = Vec::new();
    for &dim in order.iter().rev() {
        if sizes[dim] > 1 {
            terms.insert(0, format!("e / {behind} % {} * {}", sizes[dim], stride(dim)));
        }
        behind *= sizes[dim];
    }
    if terms.is_empty() { "e".to_owned() } else { terms.join(" + ") }
}
