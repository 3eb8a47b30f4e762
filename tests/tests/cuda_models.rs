//! Whole models on a card, the stand-in's unless the machine's own is asked for, against the processor: gradients, twenty steps, and the
//! same bits whether a step is captured or not.

use std::collections::{BTreeSet, HashMap};

use netspec::cuda::program::OnDevice;
use netspec::network;
use netspec::{CrossEntropy, Device, Losses, Numerics, Parts, Precision, Sample, Sgd, Workspace};
use netspec_tests::card;
use netspec_tests::reference::{Numbers, relative_l2};

/// The models of the chapter, some narrower, and a U-Net.
mod models {
    // The book keeps the bias before its batch norms.
    #![allow(deprecated)]

    macro_rules! models {
        ($($module:ident: $name:ident = $path:literal $(, $param:ident = $value:literal)*;)*) => {$(
            mod $module {
                netspec::netspec!(pub $name = $path $(, $param = $value)*);
            }
            pub(super) use $module::$name;
        )*};
    }
    models! {
        net: Net = "../specs/net.yaml";
        batch_norm: BatchNorm = "../specs/batch_norm.yaml", n_chans1 = 8;
        dropout: Dropout = "../specs/dropout.yaml", n_chans1 = 8;
        res_deep: ResDeep = "../specs/res_deep.yaml", n_chans1 = 8, n_blocks = 3;
        lenet: LenetMnist = "../specs/lenet_mnist.yaml";
        unet: Unet = "specs/unet.netspec";
    }
}

use models::{BatchNorm, Dropout, LenetMnist, Net, ResDeep, Unet};

const SAMPLES: usize = 5;

/// A model of one input that gives scores for classes.
trait Classifier: OnDevice<Input: Sample + Parts + Sync> {}

impl<N: OnDevice<Input: Sample + Parts + Sync>> Classifier for N {}

/// A batch for a model, and its labels.
fn batch<N: Classifier>(seed: u64) -> (Vec<N::Input>, Vec<usize>) {
    let program = N::PROGRAM.expect("kernels for all its layers");
    let floats: Vec<f32> =
        Numbers(seed).numbers(SAMPLES * program.inputs[0]).into_iter().map(|number| number as f32).collect();
    let inputs = netspec::samples::<N>(&floats).expect("whole samples").to_vec();
    let labels = (0..SAMPLES).map(|at| (7 * at + seed as usize) % program.outputs[0].classes).collect();
    (inputs, labels)
}

fn on_card<N: OnDevice>() -> Workspace {
    Workspace::on::<N>(Device::Cuda(0), Precision::F32).expect("a card")
}

fn close(model: &str, what: &str, found: &[f32], wanted: &[f32], most: f64) {
    let [found, wanted] = [found, wanted].map(|floats| floats.iter().copied().map(f64::from).collect::<Vec<_>>());
    let apart = relative_l2(&found, &wanted, 1e-6);
    assert!(apart <= most, "{model}: {what} is off by {apart:.1e}");
}

/// What the stand-in found is what a card would not have said.
fn nothing_found() {
    let findings = cuda_sim::unless_real().map(|sim| sim.findings()).unwrap_or_default();
    assert!(findings.is_empty(), "{findings:?}");
}

/// Sums of f32 in other orders, in a backward pass of some layers.
const GRADIENTS: f64 = 1e-4;

fn gradients_agree<N: Classifier>()
where
    CrossEntropy: Losses<N::Output, Target = usize>,
{
    let model: N = network::new(3);
    // Of seed 5 a value of the U-Net lies so near to 0 before its ReLU that sums in another order decide which way it goes.
    let (inputs, labels) = batch::<N>(6);
    let of = |workspace: &mut Workspace| {
        workspace.seed(9);
        let mut gradients = vec![0.0; N::PARAMETERS];
        let loss = network::gradients(&model, workspace, &inputs, &labels, &CrossEntropy, &mut gradients);
        (loss.expect("a batch"), gradients)
    };
    let (loss, wanted) = of(&mut Workspace::new().with_numerics(Numerics::Exact));
    let mut card = on_card::<N>();
    let (found, gradients) = of(&mut card);
    close(N::NAME, "the loss", &[found], &[loss], 1e-5);
    close(N::NAME, "the gradient", &gradients, &wanted, GRADIENTS);
    nothing_found();
    let infer = |workspace: &mut Workspace| {
        let feed = |sample: usize, input: usize, to: &mut [f32]| to.copy_from_slice(inputs[sample].part(input));
        let mut outputs = Vec::new();
        let mut each = |_: usize, _: usize, values: &[f32]| outputs.extend_from_slice(values);
        network::infer_from(&model, workspace, SAMPLES, &feed, &mut each).expect("a workspace of the model");
        outputs
    };
    let wanted = infer(&mut Workspace::new().with_numerics(Numerics::Exact));
    close(N::NAME, "inference", &infer(&mut card), &wanted, 1e-5);
    nothing_found();
}

#[test]
fn gradients_are_the_processors() {
    if !card::is_ready() {
        return;
    }
    gradients_agree::<Net>();
    gradients_agree::<BatchNorm>();
    // The masks are the same, or nothing would agree.
    gradients_agree::<Dropout>();
    gradients_agree::<ResDeep>();
    gradients_agree::<LenetMnist>();
    gradients_agree::<Unet>();
}

/// A map of scores, and three numbers.
mod two {
    netspec::netspec! {
        model Two {
            input x [3, 4, 5];
            conv(4, kernel = 3, padding = 1) as scores;
            flatten;
            linear(3) as numbers;
            output scores, numbers;
        }
    }
}

#[test]
fn losses_are_the_processors() {
    use netspec::{BceWithLogits, Huber, L1, Mse, Nll, NoLoss, Scaled, SmoothL1};
    use two::Two;

    type Map = [[[f32; 5]; 4]; 4];

    fn agree<L: Losses<(Map, [f32; 3])>>(
        card: &mut Workspace,
        what: &str,
        target: impl Fn(usize) -> L::Target,
        loss: &L,
    ) {
        let floats: Vec<f32> = Numbers(4).numbers(SAMPLES * 60).into_iter().map(|number| number as f32).collect();
        let inputs = netspec::samples::<Two>(&floats).expect("whole samples");
        let targets: Vec<L::Target> = (0..SAMPLES).map(target).collect();
        let model = Two::new(3);
        let of = |workspace: &mut Workspace| {
            let mut gradients = vec![0.0; <Two as netspec::Model>::PARAMETERS];
            let mean = model.gradients(workspace, inputs, &targets, loss, &mut gradients);
            (mean.expect("a batch"), gradients)
        };
        let (wanted, of_processor) = of(&mut Workspace::new());
        let (found, gradients) = of(card);
        close(what, "the loss", &[found], &[wanted], 1e-5);
        close(what, "the gradient", &gradients, &of_processor, 1e-5);
    }

    if !card::is_ready() {
        return;
    }
    let card = &mut on_card::<Two>();
    let labels = |sample: usize| [0, 1, 2, 3].map(|line| [0, 1, 2, 3, 4].map(|at| (sample + 3 * line + at) % 4));
    let map = |sample: usize| labels(sample).map(|line| [line.map(|label| label as f32 / 4.0); 4]);
    // The map's channels come first.
    let map = |sample: usize| [0, 1, 2, 3].map(|channel| [0, 1, 2, 3].map(|line| map(sample)[line][channel]));
    let parts = |sample: usize| [0.0, 1.0, sample as f32 / 8.0];
    let weights = [0.5, 2.0, 0.0, 1.25];
    agree(card, "cross entropy", |n| (labels(n), n % 3), &(CrossEntropy, CrossEntropy));
    let weighted = CrossEntropy.class_weights(weights).label_smoothing(0.2);
    agree(card, "weighted cross entropy", |n| (labels(n), ()), &(weighted, NoLoss));
    let smoothed = CrossEntropy.label_smoothing(0.1);
    agree(card, "smoothed cross entropy", |n| (labels(n), n % 3), &(Scaled(0.3, smoothed), smoothed));
    agree(card, "nll", |n| (labels(n), n % 3), &(Nll.class_weights(weights), Nll));
    agree(card, "mse and l1", |n| (map(n), parts(n)), &(Mse, L1));
    agree(card, "l1 and mse", |n| (map(n), parts(n)), &(L1, Scaled(2.0, Mse)));
    agree(card, "smooth l1 and huber", |n| (map(n), parts(n)), &(SmoothL1::new(0.5), Huber::new(0.25)));
    let each = BceWithLogits::new().pos_weight([20.0, 1.0, 3.5]);
    agree(card, "bce", |n| (map(n), parts(n)), &(BceWithLogits::new().pos_weight(3.0), each));
    nothing_found();
}

/// Steps of a model on a workspace: the loss of each, and the parameters and statistics behind them.
fn trained<N: Classifier>(workspace: &mut Workspace, steps: u64) -> (Vec<f32>, Vec<f32>, Vec<f32>)
where
    CrossEntropy: Losses<N::Output, Target = usize>,
{
    workspace.seed(9);
    let mut model: N = network::new(3);
    let mut optimizer = Sgd::new(1e-2).momentum(0.9);
    let step = |at: u64| {
        let (inputs, labels) = batch::<N>(at % 4);
        network::step(&mut model, workspace, &inputs, &labels, &CrossEntropy, &mut optimizer).expect("a batch")
    };
    let losses = (0..steps).map(step).collect();
    let weights = model.weights();
    (losses, weights.params().to_vec(), weights.statistics().to_vec())
}

#[test]
fn twenty_steps_track_the_processors() {
    fn track<N: Classifier>()
    where
        CrossEntropy: Losses<N::Output, Target = usize>,
    {
        let (losses, params, statistics) = trained::<N>(&mut Workspace::new().with_numerics(Numerics::Exact), 20);
        let (found, found_params, found_statistics) = trained::<N>(&mut on_card::<N>(), 20);
        assert!(losses[19] < losses[3], "{}: {losses:?}", N::NAME);
        close(N::NAME, "a loss", &found, &losses, 1e-3);
        close(N::NAME, "a parameter", &found_params, &params, 1e-3);
        close(N::NAME, "a statistic", &found_statistics, &statistics, 1e-3);
        nothing_found();
    }
    if !card::is_ready() {
        return;
    }
    track::<Net>();
    track::<ResDeep>();
}

#[test]
fn a_captured_step_has_the_bits_of_one_that_is_not() {
    if !card::is_ready() {
        return;
    }
    let captured = trained::<BatchNorm>(&mut on_card::<BatchNorm>(), 3);
    assert_eq!(trained::<BatchNorm>(&mut on_card::<BatchNorm>().call_by_call(), 3), captured);
    assert_eq!(trained::<BatchNorm>(&mut on_card::<BatchNorm>(), 3), captured);
    nothing_found();
}

/// What kernels may ask of memory, by the function that they call, which has the sizes: sectors of 32 bytes for each load of a warp and for
/// each store, of which 32 floats side by side take 4, and passes of shared memory's banks for each request beyond those it must have.
const BUDGETS: &[(&str, [f64; 3])] = &[
    // Products. Gradients of weights are added where they lie, a float of each row.
    ("add_parts", [7.2, 32.0, 0.0]),
    ("conv_forward", [16.3, 18.3, 0.0]),
    ("conv_grad_input", [16.0, 16.0, 0.0]),
    ("conv_grad_weight", [28.5, 31.0, 0.0]),
    // Of a layer's weights the back ones are in quite another order.
    ("pack", [31.6, 5.0, 0.0]),
    // Four floats of a thread: 16 sectors of channels that are many enough.
    ("max_pool_back_by_four", [14.5, 32.0, 0.0]),
    // Of maps of few channels: windows of four floats each, one block's mean of three channels.
    ("avg_pool", [6.3, 2.0, 0.0]),
    ("max_pool", [8.0, 4.0, 0.0]),
    ("activate_back", [4.0, 4.0, 0.0]),
    ("add_up", [1.0, 1.0, 0.0]),
    ("avg_pool_back", [1.2, 4.0, 0.0]),
    ("copy", [4.0, 4.0, 0.0]),
    ("copy_weights", [4.1, 4.0, 0.0]),
    ("descend_with_momentum", [2.4, 4.0, 0.0]),
    ("dropout", [2.0, 4.0, 0.0]),
    ("fold_norm", [2.8, 3.7, 0.0]),
    ("frame", [4.0, 4.0, 0.0]),
    ("loss_cross_entropy", [1.0, 1.0, 0.0]),
    ("max_pool_back", [2.2, 4.0, 0.0]),
    ("norm_back", [4.0, 4.0, 0.0]),
    ("norm_forward", [4.0, 4.0, 0.0]),
    ("norm_merge", [4.0, 1.0, 0.0]),
    ("norm_merge_back", [4.0, 1.0, 0.0]),
    ("norm_sums", [4.0, 4.0, 0.0]),
    ("resample", [4.0, 4.0, 0.0]),
    ("resample_back", [4.0, 4.0, 0.0]),
];

/// The function that each kernel of a text calls; those of the optimizers and the like, which call none, by their own names.
fn functions(source: &str) -> HashMap<&str, &str> {
    let of_kernel = |text| {
        let (_, text): (&str, &str) = str::split_once(text, ')').expect("a bound");
        let (name, rest) = text.trim_start().split_once('(').expect("parameters");
        let (_, body) = rest.split_once(") {\n").expect("a body");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let called = body.trim_start().split(|c: char| !is_word(c)).next().expect("a word");
        let calls = body.trim_start()[called.len()..].starts_with(['<', '(']);
        (name, if calls { called } else { name })
    };
    source.split("\nextern \"C\" __global__ void").skip(1).map(of_kernel).collect()
}

/// Runs a step and an inference, and says which kernels are over their budgets; notes the functions that ran.
fn over_budget<N: Classifier>(kernels: u64, ran: &mut BTreeSet<&'static str>) -> Vec<String>
where
    CrossEntropy: Losses<N::Output, Target = usize>,
{
    let sim = cuda_sim::unless_real();
    let mut workspace = on_card::<N>();
    trained::<N>(&mut workspace, 1);
    let once = workspace.played();
    if let Some(sim) = sim {
        sim.reset();
    }
    trained::<N>(&mut workspace, 1);
    let played = workspace.played();
    let played = (played.graphs - once.graphs, played.kernels - once.kernels);
    assert_eq!(played, (1, kernels), "{}: graphs and kernels of a step", N::NAME);
    let (inputs, _) = batch::<N>(5);
    let feed = |sample: usize, input: usize, to: &mut [f32]| to.copy_from_slice(inputs[sample].part(input));
    let model: N = network::new(3);
    network::infer_from(&model, &mut workspace, SAMPLES, &feed, &mut |_, _, _| {}).expect("a workspace of the model");
    nothing_found();
    // A real card counts nothing.
    let Some(sim) = sim else { return Vec::new() };
    let functions = functions(N::PROGRAM.expect("kernels for all its layers").source);
    let mut over = Vec::new();
    for kernel in sim.kernels() {
        let counters = sim.counters(&kernel).expect("it ran");
        let function = functions[kernel.as_str()];
        ran.insert(function);
        let each = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        let counted = [
            ("sectors a load", each(counters.load_sectors, counters.load_requests)),
            ("sectors a store", each(counters.store_sectors, counters.store_requests)),
            ("conflicts of banks a request", each(counters.bank_conflicts, counters.shared_requests)),
        ];
        let Some((_, budget)) = BUDGETS.iter().find(|(of, _)| *of == function) else {
            over.push(format!("{}: `{kernel}`, a `{function}`, has no budget: {counted:.2?}", N::NAME));
            continue;
        };
        for ((what, counted), most) in counted.into_iter().zip(budget) {
            if counted > *most {
                over.push(format!("{}: `{kernel}`, a `{function}`: {counted:.2} {what}, of {most}", N::NAME));
            }
        }
    }
    over
}

#[test]
fn a_step_is_one_graph_and_asks_memory_within_budgets() {
    if !card::is_ready() {
        return;
    }
    let ran = &mut BTreeSet::new();
    // Another test begins with the first ones, and what one has compiled the other finds in the cache.
    let over = [
        over_budget::<Unet>(129, ran),
        over_budget::<LenetMnist>(24, ran),
        over_budget::<ResDeep>(44, ran),
        over_budget::<Dropout>(24, ran),
        over_budget::<BatchNorm>(34, ran),
        over_budget::<Net>(20, ran),
    ]
    .concat();
    assert!(over.is_empty(), "over their budgets:\n{}", over.join("\n"));
    if cuda_sim::unless_real().is_some() {
        let known: BTreeSet<&str> = BUDGETS.iter().map(|(function, _)| *function).collect();
        assert_eq!(*ran, known, "functions that ran, and those with a budget");
    }
}
