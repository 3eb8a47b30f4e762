//! Kernel calls as text.
//!
//! Only the tree of the plan is printed here: every number was decided before. A call is one line: the kernel, its geometry's
//! constant, offsets of weights, views of values.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use super::text::{Lines, grouped, list};
use crate::ir::{
    Act, Conv, Curve, Custom, Frame, GroupNorm, Kind, Linear, Norm, Order, Program, Resample, Store, TensorId, Window,
};
use crate::layout::{Blocked, Layout, Plane};
use crate::net::LayerId;
use crate::plan::{GradientGroup, Plan, Region};
use crate::schedule::{Call, Epilogue, Kernel, Operand, PackedId, PackedOrder};
use crate::target::Class;

/// A loop around a call.
#[derive(Clone, Debug)]
pub(super) struct Around {
    /// The repeat.
    pub(super) layer: LayerId,
    /// What counts its iterations.
    pub(super) variable: String,
    /// How many there are.
    pub(super) count: u64,
}

/// The loops around a call, outermost first.
pub(super) type Loops = Vec<Around>;

/// Prints calls of one plan.
pub(super) struct Calls<'a> {
    pub(super) program: &'a Program,
    pub(super) plan: &'a Plan,
    /// Geometry constants: text to name.
    pub(super) geometries: &'a mut Geometries,
}

/// Constants that calls refer to, each once.
#[derive(Default)]
pub(super) struct Geometries {
    names: HashMap<String, String>,
    /// Name to type and value, in the order of names.
    pub(super) constants: BTreeMap<String, (&'static str, String)>,
    /// Layers of a user's own, each with what its uses have in common, and its name.
    pub(super) customs: Vec<(Custom, String)>,
}

/// Constants of the model's traits. One of the struct's own would hide them: `Net::PARAMETERS` is the number of parameters, whatever
/// a layer is called.
const OF_TRAITS: &[&str] = &[
    "NAME",
    "PARAMETERS",
    "TENSORS",
    "STATISTICS",
    "SPEC_HASH",
    "BATCH_NORM_POSITIONS",
    "TRAIN",
    "FORWARD",
    "INFER",
    "FOLDED",
    "FORWARD_OUTPUTS",
    "INFER_OUTPUTS",
];

impl Geometries {
    /// The name of a constant; a new one is named like the layer it is first used for.
    fn name(&mut self, layer: &str, kind: &'static str, value: String) -> String {
        if let Some(name) = self.names.get(&value) {
            return name.clone();
        }
        let stem: String =
            layer.to_uppercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let stem = stem.replace("_*", "").split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
        let stem =
            if stem.starts_with(|c: char| c.is_ascii_digit()) || stem.is_empty() { format!("L{stem}") } else { stem };
        let mut name = stem.clone();
        let mut number = 2;
        while self.constants.contains_key(&name) || OF_TRAITS.contains(&name.as_str()) {
            name = format!("{stem}_{number}");
            number += 1;
        }
        self.names.insert(value.clone(), name.clone());
        self.constants.insert(name.clone(), (kind, value));
        name
    }
}

impl Geometries {
    /// The name of a layer of a user's own: a number and the type's last one.
    fn custom(&mut self, custom: &Custom) -> String {
        if let Some((_, name)) = self.customs.iter().find(|(known, _)| known == custom) {
            return name.clone();
        }
        let name = format!("Custom{}{}", self.customs.len() + 1, custom.path.rsplit("::").next().unwrap_or_default());
        self.customs.push((custom.clone(), name.clone()));
        name
    }

    /// The name of a list of planes.
    fn planes(&mut self, planes: &[Plane]) -> String {
        let full = planes.iter().take_while(|plane| **plane == FULL).count();
        let text = |plane: &Plane| match *plane {
            FULL => "Plane::FULL".to_owned(),
            Plane { lanes, channels } => format!("Plane {{ lanes: {lanes}, channels: {channels} }}"),
        };
        let value = match full == planes.len() {
            true => format!("&[Plane::FULL; {full}]"),
            false => format!("&[{}]", planes.iter().map(text).collect::<Vec<_>>().join(", ")),
        };
        let channels: u64 = planes.iter().map(|plane| plane.channels).sum();
        self.name(&format!("channels_{channels}"), "&'static [Plane]", value)
    }

    /// The name of a map.
    fn map(&mut self, map: &Blocked) -> String {
        let planes = self.planes(&map.planes);
        let channels: u64 = map.planes.iter().map(|plane| plane.channels).sum();
        let [size, before, after] = [&map.size, &map.before, &map.after].map(|sizes| list(sizes));
        let axes = map.size.iter().position(|&size| size > 1).unwrap_or(2);
        let sizes: Vec<String> = map.size[axes..].iter().map(u64::to_string).collect();
        let value = format!("&Blocked {{ planes: Self::{planes}, size: {size}, before: {before}, after: {after} }}");
        self.name(&format!("map_{channels}x{}", sizes.join("x")), "&'static Blocked", value)
    }
}

/// 16 channels.
const FULL: Plane = Plane { lanes: 16, channels: 16 };

/// The module of a class's kernels.
fn class_text(class: Class) -> &'static str {
    match class {
        Class::Plain | Class::Implicit => "conv",
        Class::Direct => "direct",
        Class::Depthwise => "depthwise",
        Class::Winograd => "winograd",
        Class::Sparse => "sparse",
    }
}

impl Calls<'_> {
    /// A call in a stage or at once, `t` being the tile, or of a whole batch's kernel, `run` being the run.
    pub(super) fn call(&mut self, call: &Call, layer: &str, loops: &Loops, gradients: &[GradientGroup]) -> String {
        let reads: Vec<String> = call.reads.iter().map(|read| self.view(read, loops)).collect();
        let writes: Vec<String> = call.writes.iter().map(|(write, _)| self.view(write, loops)).collect();
        let store = call.writes.first().map_or(Store::Write, |(_, store)| *store);
        let store = format!("Store::{store:?}");
        let gradient = |id: TensorId| self.gradient(id, loops, gradients);
        let (read, write) = (|at: usize| reads[at].clone(), |at: usize| writes[at].clone());
        match &call.kernel {
            Kernel::Op(kind) => match kind {
                Kind::Load(input) => format!("t.load({input}, {})", write(0)),
                Kind::Loss(0) => format!("t.loss({}, {})", read(0), write(0)),
                Kind::Loss(output) => format!("t.loss_of({output}, {}, {})", read(0), write(0)),
                Kind::Conv(conv, weight, bias, act) if call.class == Class::Plain => {
                    let (w, b) = (self.param(*weight, loops), self.maybe_param(*bias, loops));
                    let g = self.conv(layer, conv);
                    function("conv::forward", &["t", &g, &read(0), &w, &b, &act_text(*act), &write(0)])
                }
                Kind::Conv(conv, ..) | Kind::ConvAdd(conv, ..) => {
                    let (class, g) = (class_text(call.class), self.conv(layer, conv));
                    let (w, epilogue) = (self.packed(call, loops), self.epilogue(call, loops));
                    function(&format!("{class}::forward"), &["t", &g, &read(0), &w, &epilogue, &write(0)])
                }
                Kind::ConvPool(conv, ..) => {
                    let (class, g) = (class_text(call.class), self.conv(layer, conv));
                    let (w, epilogue) = (self.packed(call, loops), self.epilogue(call, loops));
                    match writes.as_slice() {
                        [y, places] => {
                            let name = format!("{class}::forward_pool");
                            function(&name, &["t", &g, &read(0), &w, &epilogue, y, places])
                        }
                        _ => {
                            let name = format!("{class}::infer_pool");
                            function(&name, &["t", &g, &read(0), &w, &epilogue, &write(0)])
                        }
                    }
                }
                Kind::ConvTranspose(conv, weight, bias, act) if call.class == Class::Plain => {
                    let (w, b) = (self.param(*weight, loops), self.maybe_param(*bias, loops));
                    let g = self.conv(layer, conv);
                    function("conv::transposed", &["t", &g, &read(0), &w, &b, &act_text(*act), &write(0)])
                }
                Kind::ConvTranspose(conv, ..) => {
                    let (class, g) = (class_text(call.class), self.conv(layer, conv));
                    let (w, epilogue) = (self.packed(call, loops), self.epilogue(call, loops));
                    function(&format!("{class}::transposed"), &["t", &g, &read(0), &w, &epilogue, &write(0)])
                }
                Kind::GradBias(channels, bias) => {
                    function("conv::grad_bias", &["t", &grouped(*channels), &read(0), &gradient(*bias)])
                }
                Kind::ConvGradInput(conv, weight) => {
                    let w = if call.packed.is_some() { self.packed(call, loops) } else { self.param(*weight, loops) };
                    let (class, g) = (class_text(call.class), self.conv(layer, conv));
                    function(&format!("{class}::grad_input"), &["t", &g, &read(0), &w, &write(0), &store])
                }
                Kind::ConvGradWeight(conv, weight, bias) => {
                    let (w, b) = (gradient(*weight), option(bias.map(gradient)));
                    let (class, g) = (class_text(call.class), self.conv(layer, conv));
                    function(&format!("{class}::grad_weight"), &["t", &g, &read(0), &read(1), &w, &b])
                }
                Kind::ConvPoolGradInput(conv, _) => {
                    let (w, g) = (self.packed(call, loops), self.conv(layer, conv));
                    function("sparse::grad_input", &["t", &g, &read(0), &read(1), &w, &write(0), &store])
                }
                Kind::ConvPoolGradWeight(conv, weight, bias) => {
                    let (w, b) = (gradient(*weight), option(bias.map(gradient)));
                    let g = self.conv(layer, conv);
                    let name = match call.class {
                        Class::Winograd => "winograd::grad_weight_pool",
                        _ => "sparse::grad_weight",
                    };
                    function(name, &["t", &g, &read(0), &read(1), &read(2), &w, &b])
                }
                Kind::Linear(linear, weight, bias, act) => {
                    let (w, b) = (self.param(*weight, loops), self.maybe_param(*bias, loops));
                    let g = self.linear(layer, linear);
                    function("linear::forward", &["t", &g, &read(0), &w, &b, &act_text(*act), &write(0)])
                }
                Kind::LinearGradInput(linear, weight) => {
                    let w = self.param(*weight, loops);
                    let g = self.linear(layer, linear);
                    function("linear::grad_input", &["t", &g, &read(0), &w, &write(0), &store])
                }
                Kind::LinearGradWeight(linear, weight, bias) => {
                    let (w, b) = (gradient(*weight), option(bias.map(gradient)));
                    let g = self.linear(layer, linear);
                    function("linear::grad_weight", &["t", &g, &read(0), &read(1), &w, &b])
                }
                Kind::Act(act) => function("activation::forward", &["t", &act_text(*act), &read(0), &write(0)]),
                Kind::ActGrad(act) => {
                    let act = act_text(*act);
                    function("activation::backward", &["t", &act, &read(0), &read(1), &write(0), &store])
                }
                Kind::Curve(curve) => function("curve::forward", &["t", &curve_text(*curve), &read(0), &write(0)]),
                Kind::CurveGrad(curve) => {
                    let curve = curve_text(*curve);
                    function("curve::backward", &["t", &curve, &read(0), &read(1), &write(0), &store])
                }
                Kind::MaxPool(channels, window) => {
                    let g = self.pool(layer, *channels, window);
                    match writes.as_slice() {
                        [y, places] => function("max_pool::forward", &["t", &g, &read(0), y, places]),
                        _ => function("max_pool::infer", &["t", &g, &read(0), &write(0)]),
                    }
                }
                Kind::MaxPoolGrad(channels, window) => {
                    let g = self.pool(layer, *channels, window);
                    function("max_pool::backward", &["t", &g, &read(0), &read(1), &write(0), &store])
                }
                Kind::AvgPool(channels, window, counts) => {
                    let g = self.avg_pool(layer, *channels, window, *counts);
                    function("avg_pool::forward", &["t", &g, &read(0), &write(0)])
                }
                Kind::AvgPoolGrad(channels, window, counts) => {
                    let g = self.avg_pool(layer, *channels, window, *counts);
                    function("avg_pool::backward", &["t", &g, &read(0), &write(0), &store])
                }
                Kind::NormByRunning(norm, tensors, act) => {
                    let (w, b) = (self.maybe_param(tensors.weight, loops), self.maybe_param(tensors.bias, loops));
                    let (mean, var) = (self.param(tensors.mean, loops), self.param(tensors.var, loops));
                    let g = self.norm(layer, norm);
                    let act = act_text(*act);
                    function("batch_norm::infer", &["t", &g, &read(0), &w, &b, &mean, &var, &act, &write(0)])
                }
                Kind::NormByRunningGrad(norm, tensors) => {
                    let (w, var) = (self.maybe_param(tensors.weight, loops), self.param(tensors.var, loops));
                    let g = self.norm(layer, norm);
                    function("batch_norm::infer_backward", &["t", &g, &read(0), &w, &var, &write(0)])
                }
                Kind::Dropout(p, units, per_unit, of) => {
                    let value = format!(
                        "dropout::Dropout {{ p: {}, units: {}, per_unit: {} }}",
                        float(*p),
                        grouped(*units),
                        grouped(*per_unit)
                    );
                    let g = format!("&Self::{}", self.geometries.name(layer, "dropout::Dropout", value));
                    let key = self.dropout_key(*of, loops);
                    function("dropout::apply", &["t", &g, &key, &read(0), &write(0), &store])
                }
                Kind::LogSoftmax(sizes) => {
                    let g = self.softmax(layer, "log_softmax::LogSoftmax", *sizes);
                    function("log_softmax::forward", &["t", &g, &read(0), &write(0)])
                }
                Kind::LogSoftmaxGrad(sizes) => {
                    let g = self.softmax(layer, "log_softmax::LogSoftmax", *sizes);
                    function("log_softmax::backward", &["t", &g, &read(0), &read(1), &write(0), &store])
                }
                Kind::Custom(custom, tensors) => {
                    let name = self.geometries.custom(custom);
                    let w = tensors.first().map_or("0".to_owned(), |&first| self.param(first, loops));
                    let name = format!("::netspec::kernels::custom::forward::<{name}, {name}Input>");
                    function(&name, &["t", &read(0), &w, &write(0)])
                }
                Kind::CustomGrad(custom, tensors, has_weights) => {
                    let gradient = option(tensors.first().filter(|_| *has_weights).map(|&first| gradient(first)));
                    let name = self.geometries.custom(custom);
                    let w = tensors.first().map_or("0".to_owned(), |&first| self.param(first, loops));
                    let name = format!("::netspec::kernels::custom::backward::<{name}, {name}Input>");
                    function(&name, &["t", &read(0), &read(1), &w, &gradient, &write(0), &store])
                }
                Kind::Softmax(sizes) => {
                    let g = self.softmax(layer, "softmax::Softmax", *sizes);
                    function("softmax::forward", &["t", &g, &read(0), &write(0)])
                }
                Kind::SoftmaxGrad(sizes) => {
                    let g = self.softmax(layer, "softmax::Softmax", *sizes);
                    function("softmax::backward", &["t", &g, &read(0), &read(1), &write(0), &store])
                }
                Kind::GroupNorm(norm, weight, bias) => {
                    let (w, b) = (self.maybe_param(*weight, loops), self.maybe_param(*bias, loops));
                    let g = self.group_norm(layer, norm);
                    match writes.as_slice() {
                        [y, moments] => function("group_norm::forward", &["t", &g, &read(0), &w, &b, y, moments]),
                        _ => function("group_norm::infer", &["t", &g, &read(0), &w, &b, &write(0)]),
                    }
                }
                Kind::GroupNormGrad(norm, weight, bias) => {
                    let w = self.maybe_param(*weight, loops);
                    let [of_weight, of_bias] = [weight, bias].map(|tensor| option(tensor.map(gradient)));
                    let g = self.group_norm(layer, norm);
                    let reads = [&read(0), &read(1), &read(2)];
                    let args = ["t", &g, reads[0], reads[1], reads[2], &w, &of_weight, &of_bias, &write(0), &store];
                    function("group_norm::backward", &args)
                }
                Kind::Add => function("elementwise::add", &["t", &read(0), &read(1), &write(0)]),
                Kind::Zero => function("elementwise::zero", &["t", &write(0)]),
                Kind::Mul(sizes) => {
                    let g = self.product(layer, *sizes);
                    function("multiply::product", &["t", &g, &read(0), &read(1), &write(0), &store])
                }
                Kind::MulSum(sizes) => {
                    let g = self.product(layer, *sizes);
                    function("multiply::sum", &["t", &g, &read(0), &read(1), &write(0), &store])
                }
                Kind::Frame(channels, frame) => {
                    let g = self.frame(layer, *channels, frame);
                    function("frame::apply", &["t", &g, &read(0), &write(0), &store])
                }
                Kind::Resample(channels, resample) => {
                    let g = self.resample(layer, *channels, resample);
                    function("resample::forward", &["t", &g, &read(0), &write(0)])
                }
                Kind::ResampleGrad(channels, resample) => {
                    let g = self.resample(layer, *channels, resample);
                    function("resample::backward", &["t", &g, &read(0), &write(0), &store])
                }
                Kind::Shuffle(channels, groups, positions) => {
                    let g = self.shuffle(layer, [*channels, *groups, *positions]);
                    function("shuffle::apply", &["t", &g, &read(0), &write(0), &store])
                }
                Kind::Permute(sizes, order) => {
                    let g = self.permute(layer, sizes, order);
                    function("permute::apply", &["t", &g, &read(0), &write(0), &store])
                }
                // The others are calls of their own kernels, or were made copies.
                Kind::Copy
                | Kind::Concat
                | Kind::Slice(_)
                | Kind::Place(_)
                | Kind::BatchNorm(..)
                | Kind::BatchNormGrad(..) => function("elementwise::copy", &["t", &read(0), &write(0), &store]),
            },
            Kernel::LinearBatch(linear, weight, bias, act) => {
                let (name, w) = match call.packed {
                    Some(_) => ("linear::forward_packed", self.packed(call, loops)),
                    None => ("linear::forward_batch", self.param(*weight, loops)),
                };
                let (g, b) = (self.linear(layer, linear), self.maybe_param(*bias, loops));
                function(name, &["run", &g, &read(0), &w, &b, &act_text(*act), &write(0)])
            }
            Kernel::LinearGradInputBatch(linear, weight) => {
                let (g, w) = (self.linear(layer, linear), self.param(*weight, loops));
                function("linear::grad_input_batch", &["run", &g, &read(0), &w, &write(0), &store])
            }
            Kernel::LinearGradWeightBatch(linear, weight, bias, store) => {
                let (w, b) = (self.param(*weight, loops), self.maybe_param(*bias, loops));
                let (g, store) = (self.linear(layer, linear), format!("Store::{store:?}"));
                function("linear::grad_weight_batch", &["run", &g, &read(0), &read(1), &w, &b, &store])
            }
            Kernel::ConvGradWeightBatch(conv, weight, bias) => {
                let (w, b) = (self.param(*weight, loops), self.maybe_param(*bias, loops));
                let (class, g) = (class_text(call.class), self.conv(layer, conv));
                function(&format!("{class}::grad_weight_batch"), &["run", &g, &read(0), &read(1), &w, &b])
            }
            Kernel::NormStatistics(norm) => {
                let g = self.norm(layer, norm);
                function("batch_norm::statistics", &["t", &g, &read(0), &write(0)])
            }
            Kernel::NormMerge(norm, tensors) => {
                let (state, running) = (self.state(norm, 0, loops), self.statistic(tensors.mean, loops));
                let g = self.norm(layer, norm);
                function("batch_norm::merge", &["run", &g, &read(0), &state, &format!("Some({running})")])
            }
            Kernel::NormForward(norm, tensors, act, order) => {
                let (w, b) = (self.maybe_param(tensors.weight, loops), self.maybe_param(tensors.bias, loops));
                let state = self.state(norm, 0, loops);
                let g = self.norm(layer, norm);
                let sum = order.map_or(String::new(), |_| format!(".add({})", read(1)));
                let act = if *act == Act::None { String::new() } else { format!(".act({})", act_text(*act)) };
                let end = match order {
                    Some(Order::Before) => format!("Epilogue::NONE{sum}{act}"),
                    _ => format!("Epilogue::NONE{act}{sum}"),
                };
                function("batch_norm::forward", &["t", &g, &read(0), &state, &w, &b, &end, &write(0)])
            }
            Kernel::NormSums(norm, tensors, act) => {
                let state = self.state(norm, 0, loops);
                let g = self.norm(layer, norm);
                if *act == Act::None {
                    return function("batch_norm::sums", &["t", &g, &read(0), &read(1), &state, &write(0)]);
                }
                let (w, b) = (self.maybe_param(tensors.weight, loops), self.maybe_param(tensors.bias, loops));
                function("batch_norm::sums_relu", &["t", &g, &read(0), &read(1), &state, &w, &b, &write(0)])
            }
            Kernel::NormMergeBackward(norm, tensors) => {
                let (state, coefficients) = (self.state(norm, 0, loops), self.state(norm, 2 * norm.channels, loops));
                let (w, b) = (self.maybe_param(tensors.weight, loops), self.maybe_param(tensors.bias, loops));
                let g = self.norm(layer, norm);
                function("batch_norm::merge_backward", &["run", &g, &read(0), &state, &w, &coefficients, &w, &b])
            }
            Kernel::NormBackward(norm, tensors, act) => {
                let (state, coefficients) = (self.state(norm, 0, loops), self.state(norm, 2 * norm.channels, loops));
                let g = self.norm(layer, norm);
                if *act == Act::None {
                    let args = ["t", &g, &read(0), &read(1), &coefficients, &write(0), &store];
                    return function("batch_norm::backward", &args);
                }
                let (w, b) = (self.maybe_param(tensors.weight, loops), self.maybe_param(tensors.bias, loops));
                let args = ["t", &g, &read(0), &read(1), &state, &w, &b, &coefficients, &write(0), &store];
                function("batch_norm::backward_relu", &args)
            }
        }
    }

    /// `tile(4_096 + l * 2_048, 2_048)`; of planes `Self::MAP_16X8X8.tile(4_096)`.
    pub(super) fn view(&mut self, operand: &Operand, loops: &Loops) -> String {
        let address = self.plan.address(operand);
        let region = if address.region == Region::Tile { "tile" } else { "batch" };
        let first = offset(address.offset, &address.terms, loops);
        match self.plan.schedule.layout(operand) {
            Layout::Blocked(map) => format!("Self::{}.{region}({first})", self.geometries.map(&map)),
            Layout::Plain | Layout::Places(_) | Layout::Last { .. } | Layout::Bytes | Layout::TwoBits { .. } => {
                format!("{region}({first}, {})", grouped(address.len))
            }
        }
    }

    /// The first float of a call's packed weights.
    fn packed(&self, call: &Call, loops: &Loops) -> String {
        let Some(PackedId(id)) = call.packed else {
            return "0".to_owned();
        };
        let (first, strides) = &self.plan.packed[id as usize];
        offset(*first, strides, loops)
    }

    /// `Epilogue::bias(432).act(Act::Tanh)`
    fn epilogue(&mut self, call: &Call, loops: &Loops) -> String {
        let mut text = "Epilogue::NONE".to_owned();
        for step in &call.epilogue {
            match step {
                // The function's name says it; of a graphics card's kernels.
                Epilogue::MaxPool | Epilogue::Back(_) | Epilogue::Moments(_) => {}
                Epilogue::Bias(bias) => text = format!("Epilogue::bias({})", self.param(*bias, loops)),
                Epilogue::Add => {
                    let residual = self.view(&call.reads[1], loops);
                    let _ = write!(text, ".add({residual})");
                }
                Epilogue::Act(act) => {
                    let _ = write!(text, ".act({})", act_text(*act));
                }
            }
        }
        text
    }

    /// Packs all sets of a weight: a line in a loop for each repeat that keeps sets apart.
    pub(super) fn pack(&mut self, id: usize, name: &str, lines: &mut Lines) {
        let copy = &self.plan.schedule.packed[id];
        let tensor = self.program.tensor(copy.tensor);
        let mut loops = Loops::new();
        for repeat in tensor.repeats.iter().filter(|repeat| repeat.stride > 0) {
            let variable = if loops.is_empty() { "l".to_owned() } else { format!("l{}", loops.len() + 1) };
            lines.line(format!("for {variable} in 0..{} {{", grouped(repeat.count)));
            loops.push(Around { layer: repeat.layer, variable, count: repeat.count });
        }
        let (first, strides) = &self.plan.packed[id];
        let to = offset(*first, strides, &loops);
        let weight = self.param(copy.tensor, &loops);
        let text = match &copy.order {
            PackedOrder::Conv { class, transposed, conv, x, y } => {
                let name_of = format!("{}::pack{}", class_text(*class), if *transposed { "_transposed" } else { "" });
                let conv = self.conv(name, conv);
                let [x, y] = [x, y].map(|planes| format!("Self::{}", self.geometries.planes(planes)));
                function(&name_of, &["p", &conv, &x, &y, &weight, &to])
            }
            PackedOrder::Linear(linear) => function("linear::pack", &["p", &self.linear(name, linear), &weight, &to]),
        };
        lines.line(format!("{text};"));
        loops.iter().for_each(|_| lines.line("}"));
    }

    /// A tensor's first float among the parameters, or behind them in what inference reads.
    fn param(&self, id: TensorId, loops: &Loops) -> String {
        let tensor = self.program.tensor(id);
        let first = if tensor.trainable { 0 } else { self.program.params };
        let terms: Vec<(LayerId, u64)> = tensor.repeats.iter().map(|repeat| (repeat.layer, repeat.stride)).collect();
        offset(first + tensor.offset, &terms, loops)
    }

    /// A statistic's first float.
    fn statistic(&self, id: TensorId, loops: &Loops) -> String {
        let tensor = self.program.tensor(id);
        let terms: Vec<(LayerId, u64)> = tensor.repeats.iter().map(|repeat| (repeat.layer, repeat.stride)).collect();
        offset(tensor.offset, &terms, loops)
    }

    fn maybe_param(&self, id: Option<TensorId>, loops: &Loops) -> String {
        option(id.map(|id| self.param(id, loops)))
    }

    /// A tensor's first float in the gradient of its stage.
    fn gradient(&self, id: TensorId, loops: &Loops, groups: &[GradientGroup]) -> String {
        let tensor = self.program.tensor(id);
        let inner: Vec<(LayerId, u64)> = tensor
            .repeats
            .iter()
            .map(|repeat| (repeat.layer, repeat.stride))
            .filter(|(layer, _)| groups.iter().all(|group| group.outer.iter().all(|(outer, _)| outer != layer)))
            .collect();
        let first = groups
            .iter()
            .find(|group| group.tensors.contains(&id))
            .map_or(tensor.offset, |group| group.local + tensor.offset - group.first);
        offset(first, &inner, loops)
    }

    fn state(&self, norm: &Norm, from: u64, loops: &Loops) -> String {
        let (first, terms) = &self.plan.states[&norm.of];
        offset(first + from, terms, loops)
    }

    /// A dropout's key: which use, and which iteration of the loops around it.
    fn dropout_key(&self, of: u32, loops: &Loops) -> String {
        let mut key = grouped(u64::from(of) << 32);
        let iteration = loops.iter().fold(String::new(), |all, Around { variable, count, .. }| match all.as_str() {
            "" => variable.clone(),
            all if all.contains(' ') => format!("({all}) * {} + {variable}", grouped(*count)),
            all => format!("{all} * {} + {variable}", grouped(*count)),
        });
        if !iteration.is_empty() {
            let _ = write!(key, " + ({iteration}) as u64");
        }
        key
    }

    fn conv(&mut self, layer: &str, conv: &Conv) -> String {
        let value = format!(
            "conv::Conv {{ channels: {}, out_channels: {}, groups: {}, {} }}",
            grouped(conv.channels),
            grouped(conv.out_channels),
            grouped(conv.groups),
            window_fields(&conv.window, true)
        );
        format!("&Self::{}", self.geometries.name(layer, "conv::Conv", value))
    }

    fn linear(&mut self, layer: &str, linear: &Linear) -> String {
        let value = format!(
            "linear::Linear {{ rows: {}, inputs: {}, outputs: {} }}",
            grouped(linear.rows),
            grouped(linear.inputs),
            grouped(linear.outputs)
        );
        format!("&Self::{}", self.geometries.name(layer, "linear::Linear", value))
    }

    fn pool(&mut self, layer: &str, channels: u64, window: &Window) -> String {
        let value = format!("max_pool::Pool {{ channels: {}, {} }}", grouped(channels), window_fields(window, true));
        format!("&Self::{}", self.geometries.name(layer, "max_pool::Pool", value))
    }

    fn avg_pool(&mut self, layer: &str, channels: u64, window: &Window, counts_padding: bool) -> String {
        let fields = window_fields(window, false);
        let value = format!(
            "avg_pool::AvgPool {{ channels: {}, {fields}, count_include_pad: {counts_padding} }}",
            grouped(channels)
        );
        format!("&Self::{}", self.geometries.name(layer, "avg_pool::AvgPool", value))
    }

    fn product(&mut self, layer: &str, [outer, count, inner]: [u64; 3]) -> String {
        let value = format!(
            "multiply::Product {{ outer: {}, count: {}, inner: {} }}",
            grouped(outer),
            grouped(count),
            grouped(inner)
        );
        format!("&Self::{}", self.geometries.name(layer, "multiply::Product", value))
    }

    fn frame(&mut self, layer: &str, channels: u64, frame: &Frame) -> String {
        let Frame { size, out_size, before } = frame;
        let before = before.map(|before| before.to_string()).join(", ");
        let value = format!(
            "frame::Frame {{ channels: {}, size: {}, out_size: {}, before: [{before}] }}",
            grouped(channels),
            list(size),
            list(out_size)
        );
        format!("&Self::{}", self.geometries.name(layer, "frame::Frame", value))
    }

    fn resample(&mut self, layer: &str, channels: u64, resample: &Resample) -> String {
        let Resample { size, out_size, how } = resample;
        let value = format!(
            "resample::Resample {{ channels: {}, size: {}, out_size: {}, how: resample::How::{how:?} }}",
            grouped(channels),
            list(size),
            list(out_size)
        );
        format!("&Self::{}", self.geometries.name(layer, "resample::Resample", value))
    }

    fn shuffle(&mut self, layer: &str, [channels, groups, positions]: [u64; 3]) -> String {
        let value = format!(
            "shuffle::Shuffle {{ channels: {}, groups: {}, positions: {} }}",
            grouped(channels),
            grouped(groups),
            grouped(positions)
        );
        format!("&Self::{}", self.geometries.name(layer, "shuffle::Shuffle", value))
    }

    fn permute(&mut self, layer: &str, sizes: &[u64], order: &[usize]) -> String {
        let order: Vec<u64> = order.iter().map(|&dim| dim as u64).collect();
        let value = format!("permute::Permute {{ sizes: &{}, order: &{} }}", list(sizes), list(&order));
        format!("&Self::{}", self.geometries.name(layer, "permute::Permute", value))
    }

    fn norm(&mut self, layer: &str, norm: &Norm) -> String {
        let value = format!(
            "batch_norm::Norm {{ channels: {}, positions: {}, eps: {}, momentum: {} }}",
            grouped(norm.channels),
            grouped(norm.positions),
            float(norm.eps),
            float(norm.momentum)
        );
        format!("&Self::{}", self.geometries.name(layer, "batch_norm::Norm", value))
    }

    fn group_norm(&mut self, layer: &str, norm: &GroupNorm) -> String {
        let value = format!(
            "group_norm::GroupNorm {{ groups: {}, channels: {}, positions: {}, eps: {}, shared: {} }}",
            grouped(norm.groups),
            grouped(norm.channels),
            grouped(norm.positions),
            float(norm.eps),
            norm.shared
        );
        format!("&Self::{}", self.geometries.name(layer, "group_norm::GroupNorm", value))
    }

    /// A softmax or its logarithm.
    fn softmax(&mut self, layer: &str, kind: &'static str, [outer, size, inner]: [u64; 3]) -> String {
        let value =
            format!("{kind} {{ outer: {}, size: {}, inner: {} }}", grouped(outer), grouped(size), grouped(inner));
        format!("&Self::{}", self.geometries.name(layer, kind, value))
    }
}

/// `name(a, b, c)`
fn function(name: &str, args: &[&str]) -> String {
    format!("{name}({})", args.join(", "))
}

/// `Act::Hardtanh(0.0, 6.0)`
fn act_text(act: Act) -> String {
    match act {
        Act::LeakyRelu(number) => format!("Act::LeakyRelu({})", float(number)),
        Act::Elu(number) => format!("Act::Elu({})", float(number)),
        Act::Hardtanh(least, most) => format!("Act::Hardtanh({}, {})", float(least), float(most)),
        Act::Softplus(beta, threshold) => format!("Act::Softplus({}, {})", float(beta), float(threshold)),
        Act::None | Act::Relu | Act::Tanh | Act::Sigmoid | Act::Hardsigmoid => format!("Act::{act:?}"),
    }
}

/// `Curve::Gelu`
fn curve_text(curve: Curve) -> String {
    match curve {
        Curve::Softplus(beta, threshold) => format!("Curve::Softplus({}, {})", float(beta), float(threshold)),
        Curve::Gelu | Curve::GeluTanh | Curve::Silu | Curve::Hardswish => format!("Curve::{curve:?}"),
    }
}

/// `Some(432)`, `None`
fn option(text: Option<String>) -> String {
    text.map_or("None".to_owned(), |text| format!("Some({text})"))
}

/// A number as an f32 literal of the same value.
pub(super) fn float(number: f64) -> String {
    format!("{:?}", number as f32)
}

/// `896 + l * 9_280`; loops that are not around count as their first iteration.
pub(super) fn offset(first: u64, terms: &[(LayerId, u64)], loops: &Loops) -> String {
    let variable = |layer: &LayerId| loops.iter().find(|around| around.layer == *layer).map(|around| &around.variable);
    let terms = terms.iter().filter(|(_, stride)| *stride > 0);
    let terms = terms.filter_map(|(layer, stride)| Some(format!("{} * {}", variable(layer)?, grouped(*stride))));
    let first = (first > 0).then(|| grouped(first));
    let sum: Vec<String> = first.into_iter().chain(terms).collect();
    if sum.is_empty() { "0".to_owned() } else { sum.join(" + ") }
}

fn window_fields(window: &Window, dilated: bool) -> String {
    let Window { size, out_size, kernel, stride, padding, dilation } = window;
    let fields = [("size", size), ("out_size", out_size), ("kernel", kernel), ("stride", stride), ("padding", padding)];
    let fields = fields.into_iter().chain(dilated.then_some(("dilation", dilation)));
    let fields: Vec<String> = fields.map(|(name, sizes)| format!("{name}: {}", list(sizes))).collect();
    fields.join(", ")
}
