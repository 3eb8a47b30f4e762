//! NaN and infinities, dropped into each layer of generated models: what comes out is NaN, infinite, or a number where the
//! interpreter says so, whose own rules PyTorch's fixtures hold (`nonfinite` of `tests/parity`).
// A linear layer on rows is warned of.
#![allow(deprecated)]

#[path = "support/run.rs"]
mod run;

use std::collections::BTreeSet;
use std::sync::Mutex;

use netspec::network::{self, Network};
use netspec::{CrossEntropy, Mse, Nll, Workspace};
use netspec_compiler::Target;
use netspec_compiler::check::Checked;
use netspec_compiler::fuse::{PlanKind, fuse};
use netspec_compiler::lower::lower;
use netspec_compiler::ops::{LAYERS, elements};
use netspec_interpreter::{Batch, Samples, pack};
use netspec_tests::reference::{Numbers, compile_text, mse, relative_l2, training};
use run::{Still, feed, keeps, narrow, wide};

/// The relative difference of the numbers among results; those here are sums of a few products.
const TOLERANCE: f64 = 1e-5;

/// A layer of a generated model.
struct Model {
    layer: &'static str,
    name: &'static str,
    text: &'static str,
    agrees: fn(&Model),
}

/// Models of one layer. `x` goes into the layer, and something of `pick` is added to it, so that a gradient by a weight is the gradient
/// that the layer passes on.
macro_rules! models {
    ($($name:ident: $layer:ident of [$($size:literal),*] { $($statements:tt)* })*) => {
        $(netspec::netspec! {
            model $name {
                input pick [1]; input x [$($size),*];
                linear(1 $(* $size)*, bias = false) as w; view(-1, $($size),*) as v; add(x, v) as layer;
                $($statements)*
            }
        })*
        const MODELS: &[Model] = &[$(Model {
            layer: stringify!($layer),
            name: stringify!($name),
            text: stringify!(
                model $name {
                    input pick [1]; input x [$($size),*];
                    linear(1 $(* $size)*, bias = false) as w; view(-1, $($size),*) as v; add(x, v) as layer;
                    $($statements)*
                }
            ),
            agrees: agrees::<$name>,
        }),*];
    };
}

models! {
    ConvOfLine: conv of [2, 7] { conv(3, kernel = 3, stride = 2); }
    ConvOfMap: conv of [3, 5, 4] { conv(5, kernel = 3); }
    ConvPadded: conv of [2, 4, 4] { conv(3, kernel = 3, padding = 1); }
    ConvOfOne: conv of [3, 2, 2] { conv(4, kernel = 1); }
    ConvGrouped: conv of [4, 3, 3] { conv(6, kernel = 2, groups = 2); }
    ConvOfVolume: conv of [1, 3, 3, 3] { conv(2, kernel = 2); }
    ConvRelu: conv of [2, 4, 4] { conv(3, kernel = 3); relu; }
    ConvTanhPool: conv of [2, 5, 5] { conv(3, kernel = 2); tanh; max_pool(2); }
    ConvNorm: conv of [2, 4, 4] { conv(3, kernel = 3, bias = false); batch_norm; relu; }
    ConvDepthwise: conv of [3, 4, 3] { conv(3, kernel = 3, padding = 1, groups = 3); }
    ConvSame: conv of [2, 3, 3] { conv(3, kernel = 2, padding = same, groups = 1); }
    TransposeOfLine: conv_transpose of [2, 4] { conv_transpose(3, kernel = 3, stride = 2); }
    TransposeOfMap: conv_transpose of [3, 2, 3] { conv_transpose(2, kernel = 2, stride = 2); relu; }
    TransposeGrouped: conv_transpose of [4, 2, 2] { conv_transpose(6, kernel = 2, groups = 2); }
    LinearOfFlat: linear of [5] { linear(3); }
    LinearOfRows: linear of [2, 2, 3] { linear(3 -> 4); }
    LinearSigmoid: linear of [5] { linear(3); sigmoid; }
    MaxPoolHalves: max_pool of [2, 4, 6] { max_pool(2); }
    MaxPoolPadded: max_pool of [1, 4, 5] { max_pool(3, stride = 1, padding = 1); }
    MaxPoolOfLine: max_pool of [2, 7] { max_pool(2, dilation = 2); }
    AvgPoolHalves: avg_pool of [2, 4, 4] { avg_pool(2); }
    AvgPoolPadded: avg_pool of [1, 4, 5] { avg_pool(3, stride = 1, padding = 1); }
    GlobalMean: global_avg_pool of [2, 3, 3] { global_avg_pool; }
    GlobalMaximum: global_max_pool of [2, 3, 3] { global_max_pool; }
    AdaptiveUneven: adaptive_avg_pool of [2, 5] { adaptive_avg_pool(3); }
    AdaptiveEven: adaptive_avg_pool of [1, 4, 6] { adaptive_avg_pool((2, 3)); }
    UpsampleNearest: upsample of [2, 2, 3] { upsample(2); }
    UpsampleLinear: upsample of [2, 3] { upsample(size = 5, mode = linear); }
    UpsampleBilinear: upsample of [1, 2, 3] { upsample(2, mode = bilinear); }
    UpsampleCorners: upsample of [1, 2, 3] { upsample(size = (3, 5), mode = bilinear, align_corners = true); }
    PadUneven: zero_pad of [2, 2, 3] { zero_pad((0, 1, 2, 1)); }
    NormOfMaps: batch_norm of [2, 3, 3] { batch_norm; }
    NormOfFeatures: batch_norm of [3] { batch_norm; }
    NormPlain: batch_norm of [2, 4] { batch_norm(affine = false); tanh; }
    DropoutOfUnits: dropout of [9] { dropout(0.4); }
    DropoutOfChannels: channel_dropout of [6, 2] { channel_dropout(0.4); }
    ReluAlone: relu of [2, 5] { relu; }
    TanhAlone: tanh of [9] { tanh; }
    SigmoidAlone: sigmoid of [9] { sigmoid; }
    LeakyReluAlone: leaky_relu of [9] { leaky_relu; }
    LeakyReluPool: leaky_relu of [2, 4, 4] { conv(3, kernel = 1); leaky_relu; max_pool(2); }
    EluAlone: elu of [9] { elu(alpha = 0.5); }
    EluOfLinear: elu of [5] { linear(4); elu; }
    GeluAlone: gelu of [9] { gelu; }
    GeluTanh: gelu of [9] { gelu(approximate = tanh); }
    SiluAlone: silu of [9] { silu; }
    HardtanhAlone: hardtanh of [9] { hardtanh(min = -0.5); }
    Relu6Alone: relu6 of [9] { relu6; }
    HardswishAlone: hardswish of [9] { hardswish; }
    HardsigmoidAlone: hardsigmoid of [9] { hardsigmoid; }
    SoftplusAlone: softplus of [9] { softplus(beta = 2); }
    SoftplusLine: softplus of [9] { softplus(threshold = 1); }
    SoftmaxPlain: softmax of [5] { softmax; }
    SoftmaxOfMaps: softmax of [3, 2, 2] { softmax; }
    LayerNormOfAll: layer_norm of [2, 3] { layer_norm; }
    LayerNormOfRows: layer_norm of [2, 3] { layer_norm(dims = 1); }
    GroupNormOfMaps: group_norm of [4, 2, 2] { group_norm(2); }
    GroupNormConv: group_norm of [2, 3, 3] { conv(4, kernel = 1, bias = false); group_norm(2); }
    InstanceNormOfMaps: instance_norm of [2, 2, 2] { instance_norm(affine = true); }
    SoftmaxOfFlat: log_softmax of [5] { log_softmax; }
    SoftmaxOfChannels: log_softmax of [3, 2, 2] { log_softmax; }
    ViewAlone: view of [2, 6] { view(-1, 3, 4); }
    FlattenAlone: flatten of [2, 3] { flatten; }
    NarrowOfChannels: narrow of [4, 3] { narrow(1, start = 1, length = 2); }
    NarrowOfColumns: narrow of [2, 2, 4] { narrow(3, start = 1, length = 2); }
    PermuteOfMap: permute of [2, 3, 2] { permute(0, 2, 3, 1); }
    ShuffleOfGroups: channel_shuffle of [6, 2] { channel_shuffle(3); }
    IdentityAlone: identity of [5] { identity; }
    AddOfTwo: add of [5] { relu as a; add(a, layer); }
    ConcatOfTwo: concat of [2, 2] { relu as a; concat(layer, a); }
    MultiplyOfTwo: multiply of [5] { relu as a; multiply(a, layer); }
    MultiplyByChannel: multiply of [3, 2, 2] { relu as a; global_avg_pool as gate; multiply(a, gate); }
    SkipAround: add of [4] { skip { linear(4); relu; } }
}

#[test]
fn every_layer_has_a_model() {
    let of: BTreeSet<&str> = MODELS.iter().map(|model| model.layer).collect();
    let known = LAYERS.iter().filter(|layer| !layer.is_foreign());
    let all: BTreeSet<&str> = known.map(|layer| layer.decl().name).collect();
    assert_eq!(of, all, "a line of `models!` for each layer");
}

#[test]
fn nan_and_infinities_come_through_each_layer_as_in_the_interpreter() {
    for model in MODELS {
        (model.agrees)(model);
    }
}

/// What to put where among `len` numbers: each of NaN and the infinities at each place, and some together.
fn spoils(len: usize) -> Vec<Vec<(usize, f64)>> {
    const NOT_FINITE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let alone = (0..len).flat_map(|at| NOT_FINITE.map(|number| vec![(at, number)]));
    let next = |at: usize| (at + 1) % len;
    let together = (0..len).flat_map(|at| NOT_FINITE.map(|number| vec![(at, f64::INFINITY), (next(at), number)]));
    let all = NOT_FINITE.map(|number| (0..len).map(|at| (at, number)).collect());
    alone.chain(together).chain(all).collect()
}

fn spoilt(numbers: &[f64], spoil: &[(usize, f64)]) -> Vec<f64> {
    let mut numbers = numbers.to_vec();
    spoil.iter().for_each(|&(at, number)| numbers[at] = number);
    numbers
}

/// What a model makes.
struct Made {
    /// In training, sample by sample.
    outputs: Vec<f64>,
    loss: f64,
    gradient: Vec<f64>,
    statistics: Vec<f64>,
    /// In inference.
    inferred: Vec<f64>,
}

/// The weights of a model.
struct Weights {
    params: Vec<f64>,
    statistics: Vec<f64>,
}

const DROPPED: f64 = 0.4;

/// The inputs `pick` and `x` of two samples, of which the second has one thing or another, and the derivatives of their losses by their
/// outputs: the loss of a sample is the sum of its outputs times these.
struct Data {
    inputs: Vec<Samples>,
    derivatives: Samples,
}

fn by_interpreter(checked: &Checked, weights: &Weights, data: &Data) -> Made {
    let loss = |sample: usize, y: &[f64]| (y.iter().sum(), data.derivatives[sample].clone());
    let batch = Batch { inputs: &data.inputs, loss: &loss, keeps: &keeps(|_| DROPPED) };
    let mut statistics = weights.statistics.clone();
    let trace = netspec_interpreter::run(&training(checked), &weights.params, &mut statistics, &batch);
    let (program, folded) = fuse(lower(checked), PlanKind::Inference, Target::Cpu);
    let (params, mut packed) = pack(&program, &folded, &weights.params, &weights.statistics);
    let inferred = netspec_interpreter::run(&program, &params, &mut packed, &batch).outputs[0].concat();
    Made { outputs: trace.outputs[0].concat(), loss: trace.loss, gradient: trace.gradient, statistics, inferred }
}

fn by_generated<N: Network>(weights: &Weights, data: &Data) -> Made {
    let mut model: N = network::new(0);
    model.weights_mut().params_mut().copy_from_slice(&narrow(&weights.params));
    model.weights_mut().statistics_mut().copy_from_slice(&narrow(&weights.statistics));
    let mut workspace = Workspace::with_threads(1);
    let mut inferred = Vec::new();
    let (samples, feed) = (data.derivatives.len(), feed(&data.inputs));
    network::infer_from(&model, &mut workspace, samples, &feed, &mut |_, _, values| inferred.extend(wide(values)))
        .expect("the processor runs it");
    let outputs = Mutex::new(vec![Vec::new(); samples]);
    let loss = |sample: usize, y: &[f32], derivative: &mut [f32]| {
        outputs.lock().expect("no panic")[sample] = wide(y);
        derivative.copy_from_slice(&narrow(&data.derivatives[sample]));
        y.iter().sum()
    };
    let mean = network::step_from(&mut model, &mut workspace, samples, &feed, &loss, &mut Still).expect("a batch");
    let outputs = outputs.into_inner().expect("no panic").concat();
    let (gradient, statistics) = (wide(workspace.gradients()), wide(model.weights().statistics()));
    Made { outputs, loss: f64::from(mean), gradient, statistics, inferred }
}

/// Drops all that is not finite into a model: into what its layer sees, then into the derivatives that come back to it.
fn agrees<N: Network>(model: &Model) {
    let checked = compile_text(model.text);
    let uses_it = checked.net.to_string().contains(&format!("= {}", model.layer));
    assert!(uses_it, "{} has no `{}`", model.name, model.layer);
    let mut numbers = Numbers(model.name.len() as u64);
    let (params, statistics) = numbers.weights(&lower(&checked));
    let weights = Weights { params: wide(&narrow(&params)), statistics: wide(&narrow(&statistics)) };
    let [ins, outs] = [checked.net.inputs[1].shape.as_deref().expect("a shape"), &checked.outputs[0]];
    let mut samples = |shape: &[u64]| -> Samples {
        (0..2).map(|_| wide(&narrow(&numbers.numbers(elements(shape) as usize)))).collect()
    };
    let (x, derivatives) = (samples(ins), samples(outs));
    // Sums of a norm meet infinities of both signs, in an order that is nobody's rule: what is not finite is NaN or infinite.
    let of_norms = |numbers: Vec<f64>| match model.text.contains("_norm") {
        true => numbers.into_iter().map(|number| if number.is_finite() { number } else { f64::NAN }).collect(),
        false => numbers,
    };
    // Behind a max-pool a convolution's gradients may be of the maxima alone: where the interpreter multiplies an infinity with the zero of
    // another place and has NaN, they need not.
    let may_skip_zeros = model.text.contains("conv(") && model.text.contains("max_pool");
    let data = |x: Samples, derivatives: Samples| Data { inputs: vec![vec![vec![1.0]; 2], x], derivatives };
    let compare = |what: &str, spoil: &[(usize, f64)], data: &Data| {
        let (found, wanted) = (by_generated::<N>(&weights, data), by_interpreter(&checked, &weights, data));
        for (part, found, wanted) in [
            ("outputs", found.outputs, wanted.outputs),
            ("loss", vec![found.loss], vec![wanted.loss]),
            ("gradient", of_norms(found.gradient), of_norms(wanted.gradient)),
            ("running statistics", of_norms(found.statistics), of_norms(wanted.statistics)),
            ("outputs of inference", found.inferred, wanted.inferred),
        ] {
            let (found, wanted) = match (part, may_skip_zeros) {
                ("gradient", true) => found.into_iter().zip(wanted).filter(|(_, wanted)| !wanted.is_nan()).unzip(),
                _ => (found, wanted),
            };
            let apart = relative_l2(&found, &wanted, 1.0);
            let name = model.name;
            assert!(apart <= TOLERANCE, "{name} with {spoil:?} in {what}: the {part} are {found:?}, not {wanted:?}");
        }
    };
    compare("nothing", &[], &data(x.clone(), derivatives.clone()));
    for spoil in spoils(x[1].len()) {
        let x = vec![x[0].clone(), spoilt(&x[1], &spoil)];
        compare("its input", &spoil, &data(x, derivatives.clone()));
    }
    // Whether zeros of the padding are multiplied with an infinite derivative is nobody's rule: PyTorch's convolutions differ.
    if model.layer == "conv" && model.text.contains("padding") {
        return;
    }
    for spoil in spoils(derivatives[1].len()) {
        let derivatives = vec![derivatives[0].clone(), spoilt(&derivatives[1], &spoil)];
        compare("its gradient", &spoil, &data(x.clone(), derivatives));
    }
}

#[test]
fn losses_of_nan_and_infinities_are_those_of_pytorch() {
    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    // Scores, label 1, and what PyTorch 2.15 makes of them: `F.cross_entropy` and its derivative.
    let cross_entropies = [
        ([NAN, 1.0, 2.0], NAN, [NAN; 3]),
        ([1.0, NAN, 2.0], NAN, [NAN; 3]),
        ([INF, 1.0, 2.0], NAN, [NAN; 3]),
        ([1.0, INF, 2.0], NAN, [NAN; 3]),
        ([INF, INF, 1.0], NAN, [NAN; 3]),
        ([-INF, 1.0, 2.0], 1.313_261_628_150_94, [0.0, -0.731_058_597_564_697_3, 0.731_058_597_564_697_3]),
        ([1.0, -INF, 2.0], INF, [0.268_941_432_237_625_1, -1.0, 0.731_058_597_564_697_3]),
        ([-INF, -INF, -INF], NAN, [NAN; 3]),
    ];
    let agrees = |what: &str, y: &[f64], found: (f32, [f32; 3]), wanted: (f64, [f64; 3])| {
        let found = [&[f64::from(found.0)][..], &wide(&found.1)].concat();
        let wanted = [&[wanted.0][..], &wanted.1].concat();
        assert!(relative_l2(&found, &wanted, 1.0) <= TOLERANCE, "{what} of {y:?}: {found:?}, not {wanted:?}");
    };
    for (y, loss, derivative) in cross_entropies {
        let mut found = [5.0; 3];
        let of = CrossEntropy.of(&narrow(&y), 1, &mut found);
        agrees("cross entropy", &y, (of, found), (loss, derivative));
        let of = Nll.of(&narrow(&y), 1, &mut found);
        agrees("nll", &y, (of, found), (-y[1], [0.0, -1.0, 0.0]));
        let of = Mse.of(&narrow(&y), &[1.0, 2.0, 3.0], &mut found);
        let (loss, derivative) = mse(&y, &[1.0, 2.0, 3.0]);
        agrees("mse", &y, (of, found), (loss, [derivative[0], derivative[1], derivative[2]]));
    }
}
