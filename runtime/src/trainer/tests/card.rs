//! The same program on a graphics card, the stand-in: what it prints and writes is the processor's.

use super::*;
use crate::cuda::program::{Arg, Grid, Launch, LossKind, OnDevice, Output, Pass, Program, Step, Strided};
use crate::cuda::testing::has_card;
use crate::data::Augment;

/// The kernels of [`Linear`]: those that every text has, then its own.
const SOURCE: &str = concat!(
    include_str!("../../../../compiler/src/emit/cuda/kernels/base.cuh"),
    include_str!("../../../../compiler/src/emit/cuda/kernels/flat.cuh"),
    r#"
extern "C" __global__ void forward(const float *x, const float *params, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= 10 * batch) return;
    const u64 sample = i / 10, out = i % 10;
    float sum = 0.0f;
    for (u32 k = 0; k < 64; ++k) sum += params[64 * out + k] * x[64 * sample + k];
    y[i] = sum + params[640 + out];
}
extern "C" __global__ void loss(
    const float *y, const u32 *labels, const float *shares, const float *factor, float *dy, float *losses, u32 batch) {
    const u64 n = thread_number();
    if (n >= batch) return;
    float most = y[10 * n], sum = 0.0f, loss = 0.0f;
    for (u32 i = 1; i < 10; ++i) most = fmaxf(most, y[10 * n + i]);
    for (u32 i = 0; i < 10; ++i) sum += expf(y[10 * n + i] - most);
    for (u32 i = 0; i < 10; ++i) dy[10 * n + i] = factor[0] * expf(y[10 * n + i] - most) / sum;
    for (u32 which = 0; which < (shares ? 2 : 1); ++which) {
        const float share = !shares ? 1.0f : which == 0 ? shares[n] : 1.0f - shares[n];
        const u32 label = labels[which * batch + n];
        dy[10 * n + label] -= factor[0] * share;
        loss += share * (logf(sum) + most - y[10 * n + label]);
    }
    losses[n] = factor[0] * loss;
}
extern "C" __global__ void backward(const float *x, const float *dy, float *gradients, u32 batch) {
    const u64 i = thread_number();
    if (i >= 650) return;
    const u64 out = i < 640 ? i / 64 : i - 640;
    float sum = 0.0f;
    for (u32 n = 0; n < batch; ++n) sum += dy[10 * n + out] * (i < 640 ? x[64 * n + i % 64] : 1.0f);
    gradients[i] += sum;
}
"#
);

const fn at(first: u64) -> Strided {
    Strided { first, strides: &[] }
}

const fn launch(kernel: &'static str, [fixed, of_sample]: [u64; 2], args: &'static [Arg]) -> Step {
    let grid = Grid { fixed, of_sample, per_block: 64, y: 1, z: 1 };
    Step::Launch(Launch { kernel, grid, threads: 64, args })
}

const Y: Arg = Arg::Value(at(0));
const DY: Arg = Arg::Value(at(16));
const FORWARD: Step = launch("forward", [0, 10], &[Arg::Input(0), Arg::Params(at(0)), Y, Arg::Batch]);
const LOSS: Step = Step::Loss(&[(
    LossKind::CrossEntropy,
    Launch {
        kernel: "loss",
        grid: Grid { fixed: 0, of_sample: 1, per_block: 64, y: 1, z: 1 },
        threads: 64,
        args: &[Y, Arg::Labels(0), Arg::Shares, Arg::LossFactor(0), DY, Arg::Losses(0), Arg::Batch],
    },
)]);
const BACKWARD: Step = launch("backward", [650, 0], &[Arg::Input(0), DY, Arg::Gradients(at(0)), Arg::Batch]);
const INFERENCE: Pass = Pass { arena: 32, steps: &[FORWARD], results: &[(0, CLASSES)], ..Pass::NONE };

impl<const NORM: bool> OnDevice for Linear<NORM> {
    const PROGRAM: Result<Program, &'static str> = Ok(Program {
        source: SOURCE,
        inputs: &[PIXELS],
        outputs: &[Output { len: CLASSES, classes: CLASSES, positions: 1 }],
        train: Pass { arena: 32, steps: &[Step::ClearGradients, FORWARD, LOSS, BACKWARD], ..Pass::NONE },
        forward: INFERENCE,
        infer: INFERENCE,
        input_gradients: Pass::NONE,
    });
}

/// The standard output of a run that may be on a card.
fn on_card(defaults: &Defaults, line: &[&str]) -> Result<String, Failure> {
    let mut out = Vec::new();
    let line = ["digits"].iter().chain(line).map(OsString::from);
    run::<Digits>(defaults, Workspace::moved_to::<Digits>, line, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Holds two runs' lines against each other: figures are rounded to 1e-4, and a record in 1,438 or 359 that is a tie may fall either way.
#[track_caller]
fn same_lines(found: &str, wanted: &str) {
    assert_eq!(found.lines().count(), wanted.lines().count());
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        for (found, wanted) in words(found).iter().zip(&words(wanted)) {
            match (found.parse::<f64>(), wanted.parse::<f64>()) {
                (Ok(found), Ok(wanted)) => assert!((found - wanted).abs() < 0.004, "{found}, wanted {wanted}"),
                _ => assert_eq!(found, wanted),
            }
        }
    }
}

const CHANGED: Train = Train {
    tricks: Tricks {
        augment: &[Augment::Crop { padding: 2 }, Augment::Flip { probability: 0.5 }, Augment::Cutout { size: 3 }],
        ..Tricks::NONE
    },
    eval_mode: EvalMode::BatchStatistics,
    ..TRAIN
};

#[test]
fn a_training_on_a_card_is_the_processors() {
    if !has_card() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["card.safetensors", "processor.safetensors"].map(|name| folder.path().join(name));
    for train in [TRAIN, CHANGED, Train { tricks: course::ALL, ..TRAIN }] {
        let defaults = Defaults { train: Some(train), ..DIGITS };
        let line = |device, out| ["train", "--epochs", "2", "--device", device, "--out", text(out)];
        let found = on_card(&defaults, &line("cuda", &ours)).unwrap();
        let wanted = on_card(&defaults, &line("cpu", &theirs)).unwrap();
        same_lines(&found, &wanted);
        let [ours, theirs] = [&ours, &theirs].map(|file| network::load::<Digits>(file).unwrap());
        for (ours, theirs) in ours.weights().params().iter().zip(theirs.weights().params()) {
            // Ninety steps, each with sums of up to 64 products in another order.
            assert!((ours - theirs).abs() < 1e-4, "{ours}, wanted {theirs}");
        }
    }
    // What was trained on one is evaluated on the other.
    let eval = |device, file| on_card(&DIGITS, &["eval", "--device", device, "--weights", text(file)]).unwrap();
    same_lines(&eval("cuda", &theirs), &eval("cpu", &theirs));
    same_lines(&eval("cuda:0", &ours), &eval("auto", &ours));
}

#[test]
fn an_interrupted_training_goes_on_on_another_device() {
    if !has_card() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [out, other, kept] = ["w", "v", "c"].map(|name| folder.path().join(name));
    let line = |device, epochs, rest: [&str; 2]| {
        let line = ["train", "--device", device, "--epochs", epochs, "--out", text(&out)];
        on_card(&DIGITS, &[&line[..], &rest].concat()).unwrap()
    };
    line("cuda", "2", ["--checkpoint", text(&kept)]);
    let on = line("cpu", "3", ["--resume", text(&kept)]);
    let whole = on_card(&DIGITS, &["train", "--device", "cpu", "--epochs", "3", "--out", text(&other)]).unwrap();
    same_lines(&on, whole.lines().last().unwrap());
}

#[test]
fn what_a_card_cannot_do_is_told() {
    refuse(digits(&["train", "--device", "cuda"]), 2, "the program was built without CUDA: ");
    refuse(digits(&["train", "--device", "gpu"]), 2, "there is no device `gpu`: there are auto, cpu, cuda, ");
    refuse(digits(&["train", "--device", "cpu", "--precision", "bf16"]), 2, "`--precision bf16` is for graphics cards");
    refuse(digits(&["train", "--precision", "f16"]), 2, "there is no precision `f16`");
    if !has_card() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("w");
    refuse(on_card(&DIGITS, &["train", "--device", "cuda:5", "--out", text(&out)]), 2, "there is no device cuda:5: ");
}

#[test]
fn nothing_waits_for_the_card_within_an_epoch() {
    if !has_card() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("w");
    // A real one counts nothing.
    let Some(driver) = cuda_sim::unless_real() else { return };
    driver.reset();
    on_card(&DIGITS, &["train", "--device", "cuda", "--epochs", "1", "--out", text(&out)]).unwrap();
    let activity = driver.activity();
    // Behind the 45 steps: their losses, the weights, and the outputs of 45 batches to train with and of 12 to test with.
    assert_eq!((activity.copies_to_host, activity.waits), (59, 59), "{activity:?}");
    assert!(activity.graph_launches >= 45);
}

#[test]
fn a_run_that_diverges_is_told_as_on_the_processor() {
    if !has_card() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("w");
    let train = |device| on_card(&DIGITS, &["train", "--device", device, "--lr", "1e38", "--out", text(&out)]);
    let Err(Failure::Failed(wanted)) = train("cpu") else { panic!("it goes well") };
    refuse(train("cuda"), 1, &wanted);
}
