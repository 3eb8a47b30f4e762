//! Kernel calls as launches: for each call of a plan the function of a family that does it, with the sizes of the op as constants, and what
//! it is given.

mod loss;
mod names;
mod norms;
mod packs;
mod products;

use std::collections::HashMap;

use super::launches::{Arg, Grid, Launch, Step, Strided};
use super::source::{Family, Source, words};
use crate::check::Checked;
use crate::emit::Planned;
use crate::fuse::Folded;
use crate::ir::{Kind, Norm, NormTensors, Program, Store, TensorId};
use crate::layout::Layout;
use crate::net::LayerId;
use crate::ops::elements;
use crate::plan::Plan;
use crate::schedule::{At, Call, Kernel, Operand, Part, SlotId, Step as PlanStep};
use crate::source::Sources;
use names::{dropout_text, how_text, permuted, size};
use packs::Packs;

/// Threads of kernels with a thread for each element.
const THREADS: u32 = 256;

/// Threads of a block of a product.
pub(in crate::emit::cuda) const PRODUCT_THREADS: u32 = 128;

/// What a kernel takes: the C type and the name of a parameter, and what it is given; nothing where it can do without, which is then no
/// parameter but the null pointer.
#[derive(Clone)]
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
    /// Floats of folded weights, 0 if there are none; nothing of a pass that makes none for itself.
    folds: Option<u64>,
    packs: Packs,
    source: &'a mut Source,
    /// The loops around, outermost first, and their iterations.
    loops: Vec<(LayerId, u64)>,
    /// Inputs that are read where they come, by the slot that they were to be loaded into.
    inputs: HashMap<SlotId, usize>,
    /// The layer whose comment was written last.
    last_layer: Option<LayerId>,
    /// Floats of sums of parts, the most of any call: so many, and so many for each sample.
    pub(super) scratch: [u64; 2],
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        checked: &'a Checked,
        sources: &'a Sources,
        planned: &'a Planned,
        pass: &'static str,
        folds: Option<u64>,
        source: &'a mut Source,
    ) -> Emitter<'a> {
        let Planned { program, plan, .. } = planned;
        Emitter {
            checked,
            sources,
            program,
            plan,
            pass,
            folds,
            packs: Packs::default(),
            source,
            loops: Vec::new(),
            inputs: read_where_they_come(plan),
            last_layer: None,
            scratch: [0; 2],
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

    /// Whether it reads folded weights.
    fn is_folded(&self) -> bool {
        self.folds.is_some_and(|floats| floats > 0)
    }

    /// A weight or statistic as the pass reads it.
    fn weight(&self, id: TensorId) -> Arg {
        match (self.is_folded(), self.program.tensor(id).trainable) {
            (true, true) => Arg::Folded(self.tensor(id, 0)),
            (true, false) => Arg::Folded(self.tensor(id, self.program.params)),
            (false, true) => Arg::Params(self.tensor(id, 0)),
            (false, false) => Arg::Statistics(self.tensor(id, 0)),
        }
    }

    /// Whether a weight begins at a multiple of four floats, in each iteration of the loops around.
    fn is_aligned(&self, id: TensorId) -> bool {
        let Strided { first, strides } = self.tensor(id, 0);
        first.is_multiple_of(4) && strides.iter().all(|stride| stride.is_multiple_of(4))
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
            (Layout::Plain, None) => format!("First<{channels}, {positions}>"),
            _ => format!("As<{}, {channels}, {positions}>", self.lies(operand)),
        }
    }

    /// Whether an operand is a map of so many channels and positions whose channels are last, all of it.
    fn is_last(&self, operand: &Operand, channels: u64, positions: u64) -> bool {
        let slot = &self.plan.schedule.slots[operand.slot.0 as usize];
        operand.part.is_none() && slot.layout == Layout::Last { channels, positions }
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

    /// How the places of maxima lie that lie themselves as this says, and the types of pointers to them.
    fn places(&self, operand: &Operand, maxima: &str) -> (String, [&'static str; 2]) {
        let bytes = ["u8 *", "const u8 *"];
        match self.plan.schedule.slots[operand.slot.0 as usize].layout {
            Layout::TwoBits { channels, positions } => (format!("TwoBits<{channels}, {positions}>"), bytes),
            Layout::Bytes => (format!("Each<{maxima}, u8>"), bytes),
            _ => (format!("Each<{maxima}, u32>"), ["u32 *", "const u32 *"]),
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
            Kernel::LinearBatch(..)
            | Kernel::LinearGradInputBatch(..)
            | Kernel::LinearGradWeightBatch(..)
            | Kernel::ConvGradWeightBatch(..) => unreachable!("the processor's, of what has tiles"),
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
            Kind::Linear(..) | Kind::LinearGradInput(..) | Kind::LinearGradWeight(..) => {
                self.linear_layer(kind, call, layer, store, written)
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
                let none = || (format!("Each<{y}, u8>"), ["u8 *"; 2]);
                let (of, [to, _]) = places.map_or_else(none, |places| self.places(places, &y));
                let function = format!("max_pool<{g}, {x}, {y}, {of}>");
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
                let y = reads.get(2).map_or(dy.clone(), |y| self.map(y, *channels, window.positions()));
                let (of, [_, from]) = self.places(&reads[1], &y);
                let back = self.back(layer, call);
                let params = vec![
                    param(READ, "dy", self.value(&reads[0])),
                    param(from, "places", self.value(&reads[1])),
                    param(READ, "y", reads.get(2).map(|y| self.value(y))),
                    param(WRITE, "dx", self.value(&writes[0].0)),
                    batch(),
                ];
                self.source.uses(Family::Pool);
                let outputs = [0, 2].iter().filter_map(|&read| reads.get(read));
                let mut lie_last = outputs.map(|operand| self.is_last(operand, *channels, window.positions()));
                let places = &self.plan.schedule.slots[reads[1].slot.0 as usize].layout;
                if matches!(places, Layout::TwoBits { .. })
                    && window.size[0] == 1
                    && channels.is_multiple_of(4)
                    && lie_last.all(|is_last| is_last)
                    && self.is_last(&writes[0].0, *channels, size(window))
                {
                    let function = format!("max_pool_back_by_four<{g}, {dy}, {y}, {dx}, {back}, {store}>");
                    let windows = window.size[1].div_ceil(2) * window.size[2].div_ceil(2);
                    return self.kernel(
                        layer,
                        "pool_back",
                        &function,
                        each(windows * channels / 4),
                        THREADS,
                        params,
                        written,
                    );
                }
                let function = format!("max_pool_back<{g}, {dy}, {y}, {dx}, {back}, {of}, {store}>");
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
