//! The whole program, with a model written by hand: one linear layer from 8 x 8 pixels to 10 classes, which is good enough for digits.

#[cfg(feature = "cuda")]
mod card;
mod course;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::*;
use crate::Model;
use crate::arena::{Parts, Tile, View, batch, tile};
use crate::network::{self, Fill, Tensor};
use crate::run::{Fold, Plan, Run};
use crate::weights::Weights;

const PIXELS: usize = 64;
const CLASSES: usize = 10;
const PARAMS: usize = CLASSES * PIXELS + CLASSES;

/// With `NORM` it says that it normalises by its batch, so that a batch of one sample is refused.
#[derive(Clone, Debug)]
struct Linear<const NORM: bool> {
    weights: Weights,
}

type Digits = Linear<false>;

impl<const NORM: bool> Model for Linear<NORM> {
    type Input = [[[f32; 8]; 8]; 1];
    type Output = [f32; CLASSES];
    const NAME: &'static str = "Digits";
    const PARAMETERS: usize = PARAMS;
}

const INPUT: View = tile(0, PIXELS);
const DERIVATIVE: View = tile(PIXELS, CLASSES);
const OUTPUT: View = batch(0, CLASSES);

const INFER: Plan = Plan { tile: PIXELS + CLASSES, batch: CLASSES, state: 0, scratch: 0, packed: 0, gradients: 0 };

/// `y = W x + b`.
fn forward(tile: &mut Tile<'_>) {
    tile.load(0, INPUT);
    let Parts { reads: [x], writes: [mut y], params, .. } = tile.parts([INPUT], [OUTPUT]);
    let (weight, bias) = params.split_at(CLASSES * PIXELS);
    for sample in 0..x.samples() {
        for ((y, row), bias) in y.row(sample).iter_mut().zip(weight.chunks(PIXELS)).zip(bias) {
            *y = row.iter().zip(x.row(sample)).map(|(w, x)| w * x).sum::<f32>() + bias;
        }
    }
}

/// `dW = dy x`, `db = dy`.
fn backward(tile: &mut Tile<'_>) {
    tile.loss(OUTPUT, DERIVATIVE);
    weight_gradients(tile);
}

fn weight_gradients(tile: &mut Tile<'_>) {
    let Parts { reads: [x, dy], gradients, .. } = tile.parts([INPUT, DERIVATIVE], []);
    let (weight, bias) = gradients.split_at_mut(CLASSES * PIXELS);
    for sample in 0..x.samples() {
        for ((row, bias), dy) in weight.chunks_mut(PIXELS).zip(&mut *bias).zip(dy.row(sample)) {
            row.iter_mut().zip(x.row(sample)).for_each(|(dw, x)| *dw += dy * x);
            *bias += dy;
        }
    }
}

impl<const NORM: bool> Network for Linear<NORM> {
    const TENSORS: &'static [Tensor] = &[
        Tensor {
            name: "fc.weight",
            shape: &[CLASSES, PIXELS],
            offset: 0,
            repeats: &[],
            fill: Fill::Uniform(0.125),
            trainable: true,
        },
        Tensor {
            name: "fc.bias",
            shape: &[CLASSES],
            offset: CLASSES * PIXELS,
            repeats: &[],
            fill: Fill::Uniform(0.125),
            trainable: true,
        },
    ];
    const STATISTICS: usize = 0;
    const SPEC_HASH: u64 = 0;
    const BATCH_NORM_POSITIONS: Option<usize> = if NORM { Some(1) } else { None };
    const TRAIN: Plan = Plan { gradients: PARAMS, ..INFER };
    const INFER: Plan = INFER;
    const FORWARD: Plan = INFER;
    const FORWARD_OUTPUTS: &'static [View] = &[OUTPUT];
    const INFER_OUTPUTS: &'static [View] = &[OUTPUT];

    fn weights(&self) -> &Weights {
        &self.weights
    }
    fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }
    fn with_weights(weights: Weights) -> Self {
        Linear { weights }
    }
    fn forward(run: &mut Run<'_>) {
        run.stage(&[], forward);
    }
    fn train(run: &mut Run<'_>) {
        run.stage(&[Fold { from: 0, to: 0, len: PARAMS }], |tile| {
            forward(tile);
            backward(tile);
        });
    }
    fn infer(run: &mut Run<'_>) {
        run.stage(&[], forward);
    }
}

/// The loss of the only output.
const fn of_first(loss: Loss) -> OutputLoss {
    OutputLoss { output: 0, weight: 1.0, loss }
}

const MSE: &[OutputLoss] = &[of_first(Loss::Mse)];

const TRAIN: Train = Train {
    data: Some(Data { name: "digits", file: None, classes: &[], mean: &[0.3], std: &[0.375] }),
    losses: &[of_first(Loss::CrossEntropy { label_smoothing: 0.0, class_weights: &[] })],
    optimizer: Optimizer::Sgd { lr: 0.05, momentum: 0.9, dampening: 0.0, nesterov: false, weight_decay: 0.0 },
    batch: 32,
    epochs: 3,
    shuffle: true,
    seed: 0,
    eval_mode: EvalMode::RunningStatistics,
    numerics: Numerics::Fast,
    tricks: Tricks::NONE,
};

const DIGITS: Defaults = Defaults {
    origin: "specs/linear.yaml",
    summary: "Digits: 1 x 8 x 8 -> 10\n",
    inputs: &[&[1, 8, 8]],
    outputs: &[&[CLASSES]],
    train: Some(TRAIN),
};

/// The standard output of a run.
fn run_with<const NORM: bool>(defaults: &Defaults, line: &[&str]) -> Result<String, Failure> {
    let mut out = Vec::new();
    let line = ["digits"].iter().chain(line).map(OsString::from);
    run::<Linear<NORM>>(defaults, on_processor, line, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn digits(line: &[&str]) -> Result<String, Failure> {
    run_with::<false>(&DIGITS, line)
}

/// Asserts that a run fails with an exit code and words.
#[track_caller]
fn refuse(result: Result<String, Failure>, code: u8, words: &str) {
    let (found, text) = match result {
        Ok(out) => panic!("it went well: {out}"),
        Err(Failure::Line(error)) => (2, error.to_string()),
        Err(Failure::Usage(text)) => (2, text),
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::Output(error)) => panic!("{error}"),
    };
    assert!(found == code && text.contains(words), "{found}: {text}");
}

/// The figure behind a name.
fn figure(word: &str, name: &str) -> f64 {
    word.strip_prefix(name).unwrap().trim().parse().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn digits_are_learned_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("digits.safetensors");
    let train = |threads, epochs, seed| {
        let line = ["train", "--out", text(&file), "--threads", threads, "--epochs", epochs, "--seed", seed];
        let out = digits(&line).unwrap();
        (out, fs::read(&file).unwrap())
    };
    let (out, weights) = train("1", "10", "0");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 10);
    assert!(lines[0].starts_with("epoch  1  loss "), "{out}");
    let words: Vec<&str> = lines[9].split("  ").collect();
    assert_eq!(words[0], "epoch 10");
    assert!(figure(words[1], "loss") < 0.1, "{out}");
    // A linear classifier of all 64 pixels comes to 0.95 to 0.97 here.
    assert!(figure(words[2], "train accuracy") > 0.96 && figure(words[3], "test accuracy") > 0.93, "{out}");

    assert_eq!(train("2", "10", "0"), (out.clone(), weights.clone()), "threads change nothing");
    assert_ne!(train("1", "10", "1").1, weights, "another seed, other weights");

    // What eval says of the file is what train said last.
    fs::write(&file, &weights).unwrap();
    assert_eq!(digits(&["eval", "--weights", text(&file)]).unwrap().trim_end(), words[2..].join("  "));
    let metadata = network::metadata(&file).unwrap();
    let has = |key: &str, value: &str| assert_eq!(metadata.get(key).map(String::as_str), Some(value), "{key}");
    has("netspec.data", "digits");
    has("netspec.classes", r#"["0","1","2","3","4","5","6","7","8","9"]"#);
    has("netspec.divisor", "16");
    has("netspec.mean", "[0.3]");
    has("netspec.std", "[0.375]");

    // Going on from the file begins where it ended.
    let next = digits(&["train", "--weights", text(&file), "--out", text(&file), "--epochs", "1"]).unwrap();
    assert!(figure(next.split("  ").nth(1).unwrap(), "loss") < 0.1, "{next}");
}

#[test]
fn without_shuffle_the_order_is_that_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let defaults = |shuffle| Defaults { train: Some(Train { shuffle, ..TRAIN }), ..DIGITS };
    let trained = |shuffle| {
        run_with::<false>(&defaults(shuffle), &["train", "--epochs", "1", "--out", text(&file)]).unwrap();
        fs::read(&file).unwrap()
    };
    assert_ne!(trained(true), trained(false));
    // By hand, in order.
    let data = crate::data::digits().unwrap().normalized(&[0.3], &[0.375]).unwrap();
    let mut model: Digits = network::new(0);
    let mut workspace = crate::Workspace::with_threads(1);
    let mut optimizer = TRAIN.optimizer.begin(0.05);
    let labels = data.train.labels().unwrap();
    for first in (0..data.train.records()).step_by(32) {
        let feed = |sample: usize, _: usize, to: &mut [f32]| data.train.feed(first + sample, to);
        let loss = |sample: usize, output: &[f32], derivative: &mut [f32]| {
            crate::CrossEntropy.of(output, labels[first + sample], derivative)
        };
        let samples = 32.min(data.train.records() - first);
        network::step_from(&mut model, &mut workspace, samples, &feed, &loss, &mut *optimizer).unwrap();
    }
    let loaded: Digits = network::load(&file).unwrap();
    assert_eq!(loaded.weights.params(), model.weights.params());
}

#[test]
fn a_run_that_diverges_stops_and_leaves_the_last_good_weights() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let train = |lr| digits(&["train", "--epochs", "2", "--lr", lr, "--out", text(&file)]);
    refuse(train("1e38"), 1, "in epoch 1, step ");
    refuse(train("1e38"), 1, " of 45, the loss is ");
    assert!(!file.exists());
    train("0.01").unwrap();
    let good = fs::read(&file).unwrap();
    refuse(train("1e38"), 1, "no weights were written; a smaller `--lr` may help");
    assert_eq!(fs::read(&file).unwrap(), good);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_runs() {
    refuse(digits(&["train", "--data", "mnits"]), 2, "there is no data set `mnits`; there are cifar10,");
    refuse(digits(&["train", "--data", "mnist"]), 2, "where is mnist? its place is given behind a colon: mnist:FOLDER");
    refuse(
        digits(&["train", "--data", "mnist:no/where"]),
        2,
        "no/where: not found; looked for a folder with train-images",
    );
    refuse(digits(&["train", "--out", "no/where/w"]), 2, "cannot write no/where/w: there is no such folder");
    refuse(digits(&["train", "--out", "."]), 2, "cannot write .: it is a folder");
    if cfg!(target_os = "linux") {
        refuse(digits(&["train", "--out", "/proc/w"]), 2, "cannot write /proc/w: no file can be made in its folder: ");
    }
    refuse(
        digits(&["train", "--weights", "no/where"]),
        2,
        "cannot read no/where: there is no such file; `train` writes",
    );
    refuse(digits(&["train", "--epochs", "0"]), 2, "a whole number of 1 or more is expected");
    refuse(digits(&["train", "--seed", "x"]), 2, "a whole number from 0 to 2^64 - 1 is expected");
    refuse(digits(&["train", "--lr", "-1"]), 2, "a number of 0 or more is expected");
    refuse(digits(&["train", "--lr", "nan"]), 2, "a number of 0 or more is expected");
    refuse(digits(&["tarin"]), 2, "unrecognized subcommand 'tarin'");
    let untrained = Defaults { train: None, ..DIGITS };
    refuse(run_with::<false>(&untrained, &["train"]), 2, "specs/linear.yaml has no `train` section");
    assert_eq!(run_with::<false>(&untrained, &["summary"]).unwrap(), DIGITS.summary);
    let without = Defaults { train: Some(Train { data: None, ..TRAIN }), ..DIGITS };
    refuse(run_with::<false>(&without, &["eval"]), 2, "names no data set, so `--data NAME[:PATH]` is needed");
    let several = Defaults { inputs: &[&[1, 8, 8], &[3]], ..DIGITS };
    refuse(run_with::<false>(&several, &["train"]), 2, "Digits has several inputs; data sets have one value a record");
    let mse = Defaults { train: Some(Train { losses: MSE, ..TRAIN }), ..DIGITS };
    refuse(run_with::<false>(&mse, &["train"]), 2, "`digits` has labels, but the loss `mse` takes values");
    let wide = Defaults { inputs: &[&[64]], ..DIGITS };
    refuse(run_with::<false>(&wide, &["train"]), 2, "`digits` gives 1 x 8 x 8, but Digits takes 64");
    let two = Defaults { outputs: &[&[2]], ..DIGITS };
    refuse(run_with::<false>(&two, &["train"]), 2, "`digits` has 10 classes, but the output has 2");
}

#[test]
fn one_value_a_channel_is_refused_before_the_first_epoch() {
    // 1,438 = 1,437 + 1 and 359 = 358 + 1.
    refuse(
        run_with::<true>(&DIGITS, &["train", "--batch", "1437"]),
        2,
        "1438 records to train with, in batches of 1437: ",
    );
    let mode = Train { eval_mode: EvalMode::BatchStatistics, ..TRAIN };
    let batch_statistics = Defaults { train: Some(mode), ..DIGITS };
    let evaluate = |batch| run_with::<true>(&batch_statistics, &["train", "--batch", batch, "--out", "/"]);
    refuse(evaluate("64"), 2, "it is a folder");
    refuse(run_with::<true>(&batch_statistics, &["train", "--batch", "358"]), 2, "359 records to test with");
}

#[test]
fn help_shows_what_the_spec_says() {
    let Err(Failure::Line(help)) = digits(&["train", "--help"]) else { panic!("help is told in clap's way") };
    let help = help.to_string();
    for words in ["[default: digits]", "[default: 0.05]", "[default: 3]", "[default: digits.safetensors]"] {
        assert!(help.contains(words), "{words} in:\n{help}");
    }
}

/// A safetensors file with inputs and values for `mse`.
fn write_values(path: &Path, records: usize) {
    let header = format!(
        r#"{{"input":{{"dtype":"U8","shape":[{records},1,8,8],"data_offsets":[0,{0}]}},"target":{{"dtype":"F32","shape":[{records},10],"data_offsets":[{0},{1}]}}}}"#,
        records * PIXELS,
        records * (PIXELS + 4 * CLASSES)
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend((0..records * PIXELS).map(|place| (place * place % 251) as u8));
    bytes.extend((0..records * CLASSES).flat_map(|_| 0.25_f32.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

#[test]
fn values_are_learned_with_mse() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_values(&data, 20);
    let optimizer = Optimizer::Adam { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let mse = Defaults { train: Some(Train { losses: MSE, optimizer, ..TRAIN }), ..DIGITS };
    let source = format!("safetensors:{}", text(&data));
    let line = ["train", "--data", &source, "--epochs", "40", "--lr", "0.01", "--out", text(&out)];
    let printed = run_with::<false>(&mse, &line).unwrap();
    let last = printed.lines().last().unwrap();
    let losses: Vec<&str> = last.split("  ").skip(2).collect();
    // The same records are trained and tested with.
    let train = losses[0].strip_prefix("train loss ").unwrap();
    assert_eq!(losses[1], format!("test loss {train}"));
    assert!(train.parse::<f64>().unwrap() < 0.01, "{printed}");
    // Labels where values are, and the other way round.
    refuse(digits(&line), 2, "has values for targets, but the loss takes labels");
}

/// The same layer whose output is given twice.
#[derive(Clone, Debug)]
struct Twice(Digits);

impl Model for Twice {
    type Input = [[[f32; 8]; 8]; 1];
    type Output = ([f32; CLASSES], [f32; CLASSES]);
    const NAME: &'static str = "Twice";
    const PARAMETERS: usize = PARAMS;
}

const SECOND: View = tile(PIXELS + CLASSES, CLASSES);

impl Network for Twice {
    const TENSORS: &'static [Tensor] = Digits::TENSORS;
    const STATISTICS: usize = 0;
    const SPEC_HASH: u64 = 1;
    const BATCH_NORM_POSITIONS: Option<usize> = None;
    const TRAIN: Plan = Plan { tile: PIXELS + 2 * CLASSES, ..Digits::TRAIN };
    const INFER: Plan = INFER;
    const FORWARD: Plan = INFER;
    const FORWARD_OUTPUTS: &'static [View] = &[OUTPUT, OUTPUT];
    const INFER_OUTPUTS: &'static [View] = &[OUTPUT, OUTPUT];

    fn weights(&self) -> &Weights {
        self.0.weights()
    }
    fn weights_mut(&mut self) -> &mut Weights {
        self.0.weights_mut()
    }
    fn with_weights(weights: Weights) -> Self {
        Twice(Digits::with_weights(weights))
    }
    fn forward(run: &mut Run<'_>) {
        run.stage(&[], forward);
    }
    fn train(run: &mut Run<'_>) {
        run.stage(&[Fold { from: 0, to: 0, len: PARAMS }], |tile| {
            forward(tile);
            tile.loss_of(1, OUTPUT, SECOND);
            tile.loss_of(0, OUTPUT, DERIVATIVE);
            let Parts { reads: [second], writes: [mut first], .. } = tile.parts([SECOND], [DERIVATIVE]);
            for sample in 0..second.samples() {
                first.row(sample).iter_mut().zip(second.row(sample)).for_each(|(first, second)| *first += second);
            }
            weight_gradients(tile);
        });
    }
    fn infer(run: &mut Run<'_>) {
        run.stage(&[], forward);
    }
}

const CROSS_ENTROPY: Loss = Loss::CrossEntropy { label_smoothing: 0.0, class_weights: &[] };

/// The loss of the last epoch.
fn last_loss(printed: &str) -> f64 {
    figure(printed.lines().last().unwrap().split("  ").nth(1).unwrap(), "loss")
}

#[test]
fn losses_of_several_outputs_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let line = |lr| ["digits", "train", "--epochs", "2", "--lr", lr, "--out", text(&file)].map(OsString::from);
    let trained = |losses: &'static [OutputLoss], lr| {
        let defaults =
            Defaults { outputs: &[&[CLASSES], &[CLASSES]], train: Some(Train { losses, ..TRAIN }), ..DIGITS };
        let mut out = Vec::new();
        run::<Twice>(&defaults, on_processor, line(lr), &mut out).unwrap();
        let weights = network::load::<Twice>(&file).unwrap().weights().params().to_vec();
        (String::from_utf8(out).unwrap(), weights)
    };
    const BOTH: &[OutputLoss] = &[of_first(CROSS_ENTROPY), OutputLoss { output: 1, weight: 0.5, loss: CROSS_ENTROPY }];
    const SECOND_ALONE: &[OutputLoss] = &[OutputLoss { output: 1, weight: 1.0, loss: CROSS_ENTROPY }];
    let (printed, both) = trained(BOTH, "0.04");
    let (alone_printed, alone) = trained(SECOND_ALONE, "0.06");
    // Once and a half the loss and two thirds of the rate.
    let apart = both.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-4, "{apart}");
    assert!((last_loss(&printed) - 1.5 * last_loss(&alone_printed)).abs() < 2e-4, "{printed}{alone_printed}");
    let accuracies = |printed: &str| printed.lines().last().unwrap().split("  ").skip(2).collect::<Vec<_>>().join("  ");
    assert_eq!(accuracies(&printed), accuracies(&alone_printed));
}

/// A safetensors file with inputs and two labels for each, as of a map of two positions.
fn write_labels(path: &Path, records: usize, shape: &str) {
    let header = format!(
        r#"{{"input":{{"dtype":"U8","shape":[{records},1,8,8],"data_offsets":[0,{0}]}},"target":{{"dtype":"U8","shape":[{records}{shape}],"data_offsets":[{0},{1}]}}}}"#,
        records * PIXELS,
        records * (PIXELS + 2)
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend((0..records * PIXELS).map(|place| (place * place % 251) as u8));
    bytes.extend((0..2 * records).map(|place| (place % 5) as u8));
    fs::write(path, bytes).unwrap();
}

#[test]
fn labels_of_maps_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_labels(&data, 20, ",2");
    // Five classes at each of two positions; a class that weighs nothing leaves the others.
    const WEIGHTED: &[OutputLoss] =
        &[of_first(Loss::CrossEntropy { label_smoothing: 0.0, class_weights: &[1.0, 1.0, 0.0, 2.0, 1.0] })];
    const PLAIN: &[OutputLoss] = &[of_first(CROSS_ENTROPY)];
    let source = format!("safetensors:{}", text(&data));
    let line = ["train", "--data", &source, "--epochs", "120", "--lr", "0.2", "--out", text(&out)];
    let printed = |losses: &'static [OutputLoss]| {
        let defaults = Defaults { outputs: &[&[5, 2]], train: Some(Train { losses, ..TRAIN }), ..DIGITS };
        run_with::<false>(&defaults, &line)
    };
    let (plain, weighted) = (printed(PLAIN).unwrap(), printed(WEIGHTED).unwrap());
    assert!(plain.lines().last().unwrap().ends_with("train accuracy 1.0000  test accuracy 1.0000"), "{plain}");
    // A fifth of the labels is the class without weight.
    assert!(weighted.lines().last().unwrap().ends_with("train accuracy 0.8000  test accuracy 0.8000"), "{weighted}");
    // One label a record, where two are wanted; and the other way round.
    refuse(run_with::<false>(&Defaults { outputs: &[&[5, 2]], ..DIGITS }, &["train"]), 2, "`digits` has 10 classes");
    refuse(digits(&line), 2, "has 2 labels a record, but the output is 10: `cross_entropy` takes 1 of it");
    write_labels(&data, 20, ",1,2");
    assert!(printed(PLAIN).is_ok());
    // Values where labels are.
    write_values(&data, 20);
    refuse(printed(PLAIN), 2, "has values for targets, but the loss takes labels");
}

#[test]
fn each_loss_of_values_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_values(&data, 20);
    let source = format!("safetensors:{}", text(&data));
    let line = ["train", "--data", &source, "--epochs", "40", "--lr", "0.01", "--out", text(&out)];
    let optimizer = Optimizer::Adam { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let learned = |losses: &'static [OutputLoss]| {
        let defaults = Defaults { train: Some(Train { losses, optimizer, ..TRAIN }), ..DIGITS };
        let printed = run_with::<false>(&defaults, &line).unwrap();
        let of_line = |line: &str| line.split("  ").find_map(|word| word.strip_prefix("train loss ")?.parse().ok());
        let figures: Vec<f64> = printed.lines().map(|line| of_line(line).unwrap()).collect();
        (figures[0], figures[figures.len() - 1])
    };
    for losses in [
        const { &[of_first(Loss::L1)] },
        const { &[of_first(Loss::SmoothL1 { beta: 0.5 })] },
        const { &[of_first(Loss::Huber { delta: 0.5 })] },
    ] {
        let (first, last) = learned(losses);
        assert!(last < 0.3 * first, "{losses:?}: {first}, then {last}");
    }
    // Its least is that of the targets' own entropy: of 0.25 about 0.5623.
    let (_, last) = learned(const { &[of_first(Loss::BceWithLogits { pos_weight: &[] })] });
    assert!((0.5622..0.60).contains(&last), "{last}");
}
