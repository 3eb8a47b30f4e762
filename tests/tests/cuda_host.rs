//! What the host does with a model on a graphics card: with a program of kernels that is written by hand, and small. NVRTC compiles it, the
//! stand-in driver runs it, and what it gives is held against the processor.

#[path = "../../runtime/tests/line/mod.rs"]
mod line;

use line::{Line, data};
use netspec::cuda::program::{Arg, Grid, Launch, LossKind, OnDevice, Output, Pass, Program, Step, Strided};
use netspec::network;
use netspec::{
    Adam, AdamW, Clip, CrossEntropy, Device, DeviceProblem, Error, L1, Loss, Mse, Optimizer, Penalty, Precision,
    Recipe, RmsProp, Scaled, Sgd, Stateful, Workspace, checkpoint,
};
use netspec_tests::card;

/// The kernels of [`Line`], behind those that every text has.
const SOURCE: &str = concat!(
    include_str!("../../compiler/src/emit/cuda/kernels/base.cuh"),
    include_str!("../../compiler/src/emit/cuda/kernels/flat.cuh"),
    r#"
// y = w x + b, a thread for each of them.
extern "C" __global__ void forward(const float *x, const float *params, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= 2 * batch) return;
    const u32 sample = i / 2, out = i % 2;
    float sum = params[6 + out];
    for (u32 k = 0; k < 3; ++k) sum += params[3 * out + k] * x[3 * sample + k];
    y[i] = sum;
}

// As inference reads it: with the bias negated, so that a test sees who reads what.
extern "C" __global__ void fold(const float *params, float *folded) {
    const u32 i = threadIdx.x;
    folded[i] = i < 6 ? params[i] : -params[i];
}
extern "C" __global__ void negated(const float *x, const float *folded, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= 2 * batch) return;
    const u32 sample = i / 2, out = i % 2;
    float sum = -folded[6 + out];
    for (u32 k = 0; k < 3; ++k) sum += folded[3 * out + k] * x[3 * sample + k];
    y[i] = sum;
}

extern "C" __global__ void mse(const float *y, const float *target, const float *factor, float *dy, float *losses, u32 batch) {
    const u64 n = thread_number();
    if (n >= batch) return;
    float sum = 0.0f;
    for (u32 i = 0; i < 2; ++i) {
        const float d = y[2 * n + i] - target[2 * n + i];
        dy[16 * batch * i + n] = factor[0] * d;
        sum += d * d;
    }
    losses[n] = factor[0] * sum / 2.0f;
}

extern "C" __global__ void cross_entropy(
    const float *y, const u32 *labels, const float *weights, float smoothing, const float *factor, float *dy, float *losses, u32 batch) {
    const u64 n = thread_number();
    if (n >= batch) return;
    const float most = fmaxf(y[2 * n], y[2 * n + 1]);
    const float sum = expf(y[2 * n] - most) + expf(y[2 * n + 1] - most);
    float loss = 0.0f, all = 0.0f, own[2];
    for (u32 i = 0; i < 2; ++i) {
        const float weight = weights ? weights[i] : 1.0f;
        own[i] = weight * (smoothing / 2.0f + (labels[n] == i ? 1.0f - smoothing : 0.0f));
        loss -= own[i] * (y[2 * n + i] - most - logf(sum));
        all += own[i];
    }
    for (u32 i = 0; i < 2; ++i) dy[16 * batch * i + n] = factor[0] * (all * expf(y[2 * n + i] - most) / sum - own[i]);
    losses[n] = factor[0] * loss;
}

// The gradients of one output's weights and bias, a thread for each of four.
extern "C" __global__ void backward(const float *x, const float *dy, float *dw, float *db, u32 batch) {
    float sum = 0.0f;
    for (u32 n = 0; n < batch; ++n) sum += dy[n] * (threadIdx.x < 3 ? x[3 * n + threadIdx.x] : 1.0f);
    if (threadIdx.x < 3) dw[threadIdx.x] += sum; else db[0] += sum;
}
"#
);

/// A number that no loop changes.
const fn at(first: u64) -> Strided {
    Strided { first, strides: &[] }
}

/// Where y lies, and the derivatives of its two values, each a value of its own.
const Y: Arg = Arg::Value(at(0));
const DY: Arg = Arg::Value(at(16));
const ARENA: usize = 48;

/// A thread for each of so many items of a sample.
const fn launch(kernel: &'static str, of_sample: u64, args: &'static [Arg]) -> Launch {
    let grid = Grid { fixed: 0, of_sample, per_block: 64, y: 1, z: 1 };
    Launch { kernel, grid, threads: 64, args }
}

const MSE: Launch = launch("mse", 1, &[Y, Arg::Targets(0), Arg::LossFactor(0), DY, Arg::Losses(0), Arg::Batch]);
const CROSS_ENTROPY: Launch = launch(
    "cross_entropy",
    1,
    &[Y, Arg::Labels(0), Arg::LossWeights(0), Arg::LossNumber(0), Arg::LossFactor(0), DY, Arg::Losses(0), Arg::Batch],
);
const BACKWARD: Launch = Launch {
    threads: 4,
    grid: Grid { fixed: 1, of_sample: 0, per_block: 1, y: 1, z: 1 },
    ..launch(
        "backward",
        0,
        &[
            Arg::Input(0),
            Arg::Value(Strided { first: 16, strides: &[16] }),
            Arg::Gradients(Strided { first: 0, strides: &[3] }),
            Arg::Gradients(Strided { first: 6, strides: &[1] }),
            Arg::Batch,
        ],
    )
};
const FOLD: Launch = Launch { threads: 8, ..launch("fold", 0, &[Arg::Params(at(0)), Arg::Folded(at(0))]) };

const PROGRAM: Program = Program {
    source: SOURCE,
    inputs: &[3],
    outputs: &[Output { len: 2, classes: 2, positions: 1 }],
    train: Pass {
        arena: ARENA,
        steps: &[
            Step::ClearGradients,
            Step::Launch(launch("forward", 2, &[Arg::Input(0), Arg::Params(at(0)), Y, Arg::Batch])),
            Step::Loss(&[(LossKind::CrossEntropy, CROSS_ENTROPY), (LossKind::Mse, MSE)]),
            Step::Loop { count: 2, reversed: true, body: &[Step::Launch(BACKWARD)] },
        ],
        ..Pass::NONE
    },
    forward: Pass::NONE,
    infer: Pass {
        arena: ARENA,
        folded: 8,
        fold: &[Step::Launch(FOLD)],
        steps: &[Step::Launch(launch("negated", 2, &[Arg::Input(0), Arg::Folded(at(0)), Y, Arg::Batch]))],
        results: &[(0, 2)],
        ..Pass::NONE
    },
    input_gradients: Pass::NONE,
};

impl OnDevice for Line<8> {
    const PROGRAM: Result<Program, &'static str> = Ok(PROGRAM);
}

/// A workspace on the first card; None, said loudly, where kernels cannot be compiled.
fn workspace<N: OnDevice>() -> Option<Workspace> {
    card::is_ready().then(|| Workspace::on::<N>(Device::Cuda(0), Precision::F32).expect("the stand-in is a card"))
}

/// Takes steps with batches of several sizes; gives what each gave, and the model.
fn steps<L: Loss<[f32; 2]>>(
    workspace: &mut Workspace,
    targets: &[L::Target],
    loss: &L,
    optimizer: &mut Box<dyn Optimizer>,
) -> (Vec<f32>, Line) {
    let mut net: Line = network::new(3);
    let (inputs, _) = data(targets.len());
    let step = |batch: std::ops::Range<usize>| {
        let (inputs, targets) = (&inputs[batch.clone()], &targets[batch]);
        network::step(&mut net, workspace, inputs, targets, loss, optimizer).expect("a batch")
    };
    let losses = [0..20, 20..40, 40..47, 0..20, 20..40, 7..8].map(step);
    (losses.to_vec(), net)
}

/// Holds numbers against those of the processor. Sums of 20 products in another order differ by a few roundings; of a training of six
/// steps, by a few of those.
#[track_caller]
fn same(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= 4e-6 * wanted.abs().max(1.0), "{found}, wanted {wanted}");
    }
}

#[test]
fn a_step_is_the_processors_with_each_optimizer_and_recipe() {
    let Some(mut on_card) = workspace::<Line>() else { return };
    let (_, targets) = data(60);
    /// How many of them are no recipes.
    const PLAIN: usize = 7;
    let optimizers: [fn() -> Box<dyn Optimizer>; 11] = [
        || Box::new(Sgd::new(0.1).weight_decay(0.01)),
        || Box::new(Sgd::new(0.1).momentum(0.9).dampening(0.25)),
        || Box::new(Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(0.01)),
        || Box::new(Adam::new(0.05).weight_decay(0.01)),
        || Box::new(AdamW::new(0.05).weight_decay(0.1)),
        || Box::new(RmsProp::new(0.05)),
        || Box::new(RmsProp::new(0.05).momentum(0.9).centered(true).weight_decay(0.01)),
        || Box::new(Recipe::new(Adam::new(0.05)).freeze(vec![1..2, 4..6]).clip(Clip::Norm(0.1))),
        || {
            Box::new(
                Recipe::new(Sgd::new(0.1).momentum(0.5)).clip(Clip::Value(0.05)).penalty(Penalty::elastic(0.01, 0.02)),
            )
        },
        || Box::new(Recipe::new(Sgd::new(0.1)).penalty_on(Penalty::l2(0.1), vec![0..3, 6..7]).freeze(vec![0..5, 5..8])),
        || Box::new(Recipe::new(AdamW::new(0.05)).accumulate(3).penalty(Penalty::l1(0.01))),
    ];
    for (number, optimizer) in optimizers.iter().enumerate() {
        let (losses, net) = steps(&mut on_card, &targets, &Mse, &mut optimizer());
        let gradients = on_card.gradients().to_vec();
        let mut on_cpu = Workspace::with_threads(1);
        let (wanted, wanted_net) = steps(&mut on_cpu, &targets, &Mse, &mut optimizer());
        same(&losses, &wanted);
        same(net.params(), wanted_net.params());
        // A recipe changes them, on the processor a copy of those between frozen ones.
        if number < PLAIN {
            same(&gradients, on_cpu.gradients());
        }
    }
}

#[test]
fn a_loss_is_the_processors() {
    let Some(mut on_card) = workspace::<Line>() else { return };
    fn check<L: Loss<[f32; 2], Target = usize>>(on_card: &mut Workspace, loss: &L) {
        let labels: Vec<usize> = (0..60).map(|sample| sample / 3 % 2).collect();
        let sgd = || -> Box<dyn Optimizer> { Box::new(Sgd::new(0.1)) };
        let (losses, net) = steps(on_card, &labels, loss, &mut sgd());
        let (wanted, wanted_net) = steps(&mut Workspace::with_threads(1), &labels, loss, &mut sgd());
        same(&losses, &wanted);
        same(net.params(), wanted_net.params());
    }
    check(&mut on_card, &CrossEntropy);
    check(&mut on_card, &CrossEntropy.label_smoothing(0.2));
    check(&mut on_card, &CrossEntropy.class_weights([0.5, 2.0]).label_smoothing(0.2));
    check(&mut on_card, &Scaled(3.0, CrossEntropy.class_weights([1.0, 0.25])));
}

#[test]
fn a_captured_step_is_the_same_bits_and_one_launch() {
    let Some(mut captured) = workspace::<Line>() else { return };
    let Some(alone) = workspace::<Line>() else { return };
    let mut alone = alone.call_by_call();
    let (_, targets) = data(60);
    let adam = || -> Box<dyn Optimizer> { Box::new(Recipe::new(Adam::new(0.05)).clip(Clip::Norm(0.1))) };
    let (losses, net) = steps(&mut captured, &targets, &Mse, &mut adam());
    let (wanted, wanted_net) = steps(&mut alone, &targets, &Mse, &mut adam());
    assert_eq!(losses, wanted);
    assert_eq!(net.params(), wanted_net.params());
    // Six steps: of three sizes, and the first of all is the one with memory that grows later. Each has forward, loss, two backward, the
    // sum of losses, the sum of squares, clipping, Adam.
    let played = captured.played();
    assert_eq!((played.graphs, played.kernels), (6, 6 * 8));
    assert!(played.captured <= 4, "{played:?}");
    assert_eq!((alone.played().graphs, alone.played().kernels), (0, 6 * 8));

    // Inference makes its weights once, and again when they have changed.
    let before = captured.played().kernels;
    let (inputs, _) = data(20);
    let mut outputs = [[0.0; 2]; 20];
    network::infer(&net, &mut captured, &inputs, &mut outputs).expect("as many outputs");
    network::infer(&net, &mut captured, &inputs, &mut outputs).expect("as many outputs");
    assert_eq!(captured.played().kernels - before, 3);
}

#[test]
fn outputs_and_gradients_are_the_processors() {
    let Some(mut on_card) = workspace::<Line>() else { return };
    let mut on_cpu = Workspace::with_threads(1);
    let net: Line = network::new(1);
    for samples in [0, 1, 21, 300] {
        let (inputs, _) = data(samples);
        let outputs = |workspace: &mut Workspace| {
            let mut outputs = vec![[f32::NAN; 2]; samples];
            network::infer(&net, workspace, &inputs, &mut outputs).expect("as many outputs");
            outputs
        };
        same(outputs(&mut on_card).as_flattened(), outputs(&mut on_cpu).as_flattened());
    }
    let (inputs, targets) = data(19);
    let gradients = |workspace: &mut Workspace| {
        let mut gradients = [f32::NAN; 8];
        let loss = network::gradients(&net, workspace, &inputs, &targets, &Mse, &mut gradients).expect("a batch");
        (gradients, loss)
    };
    let (found, wanted) = (gradients(&mut on_card), gradients(&mut on_cpu));
    same(&found.0, &wanted.0);
    same(&[found.1], &[wanted.1]);
}

#[test]
fn a_training_goes_on_on_another_device() {
    let Some(on_card) = workspace::<Line>() else { return };
    let folder = tempfile::tempdir().expect("a folder for tests");
    let file = folder.path().join("line.checkpoint");
    let (inputs, targets) = data(40);
    let step = |net: &mut Line, workspace: &mut Workspace, optimizer: &mut RmsProp| {
        network::step(net, workspace, &inputs, &targets, &Mse, optimizer).expect("a batch")
    };
    let new = || RmsProp::new(0.01).momentum(0.9).centered(true);
    let (mut wanted, mut workspace, mut optimizer): (Line, _, _) = (network::new(2), Workspace::with_threads(1), new());
    for _ in 0..6 {
        step(&mut wanted, &mut workspace, &mut optimizer);
    }

    // Each device goes on with what the other one has written, there and back.
    let mut devices = [on_card, Workspace::with_threads(1)];
    let mut net: Line = network::new(2);
    let mut optimizer = new();
    for turn in 0..6 {
        let workspace = &mut devices[turn % 2];
        step(&mut net, workspace, &mut optimizer);
        checkpoint::save(&file, &net, workspace, &optimizer, &[]).expect("it can be written");
        optimizer = new();
        net = checkpoint::load(&file, &mut devices[(turn + 1) % 2], &mut optimizer).expect("it was just written").0;
    }
    same(net.params(), wanted.params());

    // Or in one process, with nothing written.
    let mut net: Line = network::new(2);
    let mut optimizer = new();
    for turn in 0..6 {
        step(&mut net, &mut devices[turn % 2], &mut optimizer);
    }
    same(net.params(), wanted.params());
    assert!(optimizer.state().values.iter().all(|list| list.len() == 8));
}

#[test]
fn a_clone_keeps_its_weights() {
    let Some(mut on_card) = workspace::<Line>() else { return };
    let (inputs, targets) = data(8);
    let mut net: Line = network::new(2);
    let drawn = net.params().to_vec();
    network::step(&mut net, &mut on_card, &inputs, &targets, &Mse, &mut Sgd::new(0.1)).expect("a batch");
    let clone = net.clone();
    let first = clone.params().to_vec();
    network::step(&mut net, &mut on_card, &inputs, &targets, &Mse, &mut Sgd::new(0.1)).expect("a batch");
    assert!(first != drawn && net.params() != first);
    assert_eq!(clone.params(), first);
    // Weights that the host has changed go over again.
    net.params_mut().copy_from_slice(&drawn);
    network::step(&mut net, &mut on_card, &inputs, &targets, &Mse, &mut Sgd::new(0.1)).expect("a batch");
    assert_eq!(net.params(), first);
}

/// A user's own, which has no kernels: half a step of descent.
struct Own;

impl Optimizer for Own {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        params.iter_mut().zip(gradients).for_each(|(param, gradient)| *param -= 0.5 * gradient);
    }
}

/// A user's own: the sum of values.
struct Total;

impl Loss<[f32; 2]> for Total {
    type Target = ();

    fn loss(&self, output: &[f32], (): &(), derivative: &mut [f32]) -> f32 {
        derivative.fill(1.0);
        output.iter().sum()
    }
}

#[test]
fn what_a_user_adds_runs_on_the_processor_or_is_told() {
    let Some(mut on_card) = workspace::<Line>() else { return };
    let (inputs, targets) = data(8);
    let step = |workspace: &mut Workspace| {
        let mut net: Line = network::new(2);
        let loss = network::step(&mut net, workspace, &inputs, &targets, &Mse, &mut Own).expect("a batch");
        (net.params().to_vec(), loss)
    };
    let (found, wanted) = (step(&mut on_card), step(&mut Workspace::with_threads(1)));
    same(&found.0, &wanted.0);
    same(&[found.1], &[wanted.1]);

    let mut net: Line = network::new(2);
    let refused = network::step(&mut net, &mut on_card, &inputs, &[(); 8], &Total, &mut Own);
    let text = "`Line` cannot run on a graphics card: its loss is a function of the program's own, and kernels are there for \
                those of netspec; the device `cpu` can";
    assert_eq!(refused.map_err(|error| error.to_string()), Err(text.to_owned()));
    let refused = network::step(&mut net, &mut on_card, &inputs, &targets, &L1, &mut Own);
    let text = refused.expect_err("the program has no kernel for it").to_string();
    assert_eq!(
        text,
        "`Line` cannot run on a graphics card: its output has no kernel for this loss; the device `cpu` can"
    );
}

impl OnDevice for Line<9> {
    const PROGRAM: Result<Program, &'static str> = Err("net.yaml:3: `custom` runs on the processor alone: it is Rust");
}

impl OnDevice for Line<10> {
    const PROGRAM: Result<Program, &'static str> = Ok(Program { source: "what is this", ..PROGRAM });
}

/// Its forward kernel is given one argument too few, and another one that is too long.
impl OnDevice for Line<11> {
    const PROGRAM: Result<Program, &'static str> = Ok(Program {
        infer: Pass {
            fold: &[],
            folded: 0,
            steps: &[Step::Launch(launch("forward", 2, &[Arg::Input(0), Arg::Params(at(0)), Arg::Batch]))],
            ..PROGRAM.infer
        },
        ..PROGRAM
    });
}

#[test]
fn what_does_not_fit_is_told() {
    let Some(mut on_card) = workspace::<Line>() else { return };
    let on = |device| Workspace::on::<Line>(device, Precision::F32).map(drop);
    assert_eq!(on(Device::Cuda(7)), Err(Error::Device(DeviceProblem::NoDevice { number: 7, count: 1 })));
    assert_eq!(on(Device::Cpu), Ok(()));
    let other: Line<11> = network::new(0);
    let mut outputs = [[0.0; 2]];
    let refused = network::infer(&other, &mut on_card, &[[0.0; 3]], &mut outputs);
    assert_eq!(refused, Err(Error::Device(DeviceProblem::OtherModel { wanted: "Line", found: "Line" })));

    let mut on_card = Workspace::on::<Line<11>>(Device::Auto, Precision::F32).expect("it compiles");
    let refused = network::infer(&other, &mut on_card, &[[0.0; 3]], &mut outputs).map_err(|error| error.to_string());
    let text = "the kernel `forward` takes parameters of [8, 8, 8, 4] bytes, and is given [8, 8, 4]; netspec should not have \
                written it so, and its authors would like to know";
    assert_eq!(refused, Err(text.to_owned()));

    let text = Workspace::on::<Line<9>>(Device::Cuda(0), Precision::F32).expect_err("it has no kernels").to_string();
    let wanted = "`Line` cannot run on a graphics card: net.yaml:3: `custom` runs on the processor alone: it is Rust; the device \
                  `cpu` can";
    assert_eq!(text, wanted);
    // It runs on the processor then, where it can.
    let workspace = Workspace::on::<Line<9>>(Device::Auto, Precision::F32).expect("the processor is there");
    assert_eq!(workspace.card(), None);

    let error = Workspace::on::<Line<10>>(Device::Auto, Precision::Tf32).expect_err("it does not compile");
    let Error::Device(DeviceProblem::Compile { options, log, .. }) = error else { panic!("{error}") };
    assert!(options.ends_with(" -DPRECISION=1") && log.contains("line.cu(1): error: "), "{options}: {log}");
}
