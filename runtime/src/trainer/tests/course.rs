//! Tricks, interruptions, and beginnings with the weights of others.

use super::*;
use crate::data::Augment;
use crate::{Clip, Schedule, WarmUp};

/// All that changes steps.
pub(super) const ALL: Tricks = Tricks {
    schedule: Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 },
    warm_up: Some(WarmUp { epochs: 1, start: 0.1 }),
    penalties: &[
        Penalty { l1: 1e-5, l2: 0.0, on: &[], biases: true },
        Penalty { l1: 0.0, l2: 1e-4, on: &["fc"], biases: false },
    ],
    clip: Some(Clip::Norm(1.0)),
    accumulate: 2,
    augment: &[Augment::Crop { padding: 1 }, Augment::Cutout { size: 2 }, Augment::Mixup { alpha: 0.2 }],
    ..Tricks::NONE
};

fn with(tricks: Tricks) -> Defaults {
    let optimizer = Optimizer::AdamW { lr: 0.02, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
    Defaults { train: Some(Train { tricks, optimizer, ..TRAIN }), ..DIGITS }
}

fn train(tricks: Tricks, line: &[&str]) -> Result<String, Failure> {
    run_with::<false>(&with(tricks), &[&["train"], line].concat())
}

/// What a line says behind this word.
fn figures(printed: &str, word: &str) -> Vec<f64> {
    let figure = |line: &str| line.split("  ").find_map(|part| part.strip_prefix(word)?.trim().parse().ok());
    printed.lines().map(|line| figure(line).unwrap_or_else(|| panic!("no `{word}` in {line}"))).collect()
}

#[test]
fn tricks_together_learn_digits_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w");
    let run = |threads| {
        let printed = train(ALL, &["--epochs", "8", "--threads", threads, "--out", text(&file)]).unwrap();
        (printed, fs::read(&file).unwrap())
    };
    let one = run("1");
    assert_eq!(one, run("3"));
    // One class of ten would be 0.1; of digits that are shifted, cut and mixed a linear classifier learns about 0.83.
    assert!(figures(&one.0, "test accuracy")[7] > 0.75, "{}", one.0);
}

/// An output that takes so many lines: a run ends with the next one, behind its checkpoint.
struct Lines(usize);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.0 = self.0.checked_sub(lines).ok_or(io::Error::other("interrupted"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a training until so many epochs are done.
fn interrupted(defaults: &Defaults, epochs: usize, line: &[&str]) {
    let line = ["digits", "train"].iter().chain(line).map(OsString::from);
    let result = run::<Linear<false>>(defaults, on_processor, line, &mut Lines(epochs - 1));
    assert!(matches!(result, Err(Failure::Output(_))), "{result:?}");
}

#[test]
fn a_training_that_goes_on_is_one_that_was_not_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, part, checkpoint] = ["whole", "part", "checkpoint"].map(|name| folder.path().join(name));
    let optimizers = [
        Optimizer::Sgd { lr: 0.05, momentum: 0.9, dampening: 0.0, nesterov: true, weight_decay: 0.0 },
        Optimizer::Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 },
        Optimizer::AdamW { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 },
        Optimizer::RmsProp { lr: 0.01, alpha: 0.9, eps: 1e-8, momentum: 0.5, centered: true, weight_decay: 0.0 },
    ];
    for optimizer in optimizers {
        let tricks = Tricks { keep: Keep::Best, freeze: &["fc.bias"], ..ALL };
        let defaults = Defaults { train: Some(Train { optimizer, tricks, epochs: 5, ..TRAIN }), ..DIGITS };
        let run = |line: &[&str]| run_with::<false>(&defaults, &[&["train"], line].concat());
        let printed = run(&["--out", text(&whole)]).unwrap();
        interrupted(&defaults, 2, &["--out", text(&part), "--checkpoint", text(&checkpoint), "--threads", "2"]);
        // Twice, and with the checkpoint that the first going on writes.
        interrupted(&defaults, 2, &["--out", text(&part), "--resume", text(&checkpoint)]);
        let rest = run(&["--out", text(&part), "--resume", text(&checkpoint)]).unwrap();
        assert_eq!(rest.lines().collect::<Vec<_>>(), printed.lines().skip(4).collect::<Vec<_>>(), "{optimizer:?}");
        assert_eq!(fs::read(&part).unwrap(), fs::read(&whole).unwrap());
        refuse(run(&["--resume", text(&checkpoint)]), 2, "has 5 epochs, and 5 are asked for; `--epochs` sets more");
    }
}

#[test]
fn a_checkpoint_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [out, checkpoint, other] = ["out", "checkpoint", "other"].map(|name| folder.path().join(name));
    let defaults = with(Tricks::NONE);
    let run = |line: &[&str]| run_with::<false>(&defaults, &[&["train", "--out", text(&out)], line].concat());
    run(&["--epochs", "1", "--checkpoint", text(&checkpoint)]).unwrap();
    let resume = |line: &[&str]| run(&[&["--resume", text(&checkpoint)], line].concat());
    refuse(resume(&["--lr", "0.5"]), 2, "is of another training:");
    refuse(resume(&["--batch", "7"]), 2, "is of another training:");
    refuse(resume(&["--weights", text(&out)]), 2, "cannot be used with");
    refuse(run(&["--resume", text(&out)]), 1, "it has weights, and nothing of a training");
    refuse(run(&["--resume", "no/where"]), 2, "cannot read no/where: there is no such file; `--checkpoint` says");
    refuse(run(&["--checkpoint", "no/where"]), 2, "cannot write no/where: there is no such folder");
    refuse(run_with::<false>(&DIGITS, &["train", "--resume", text(&checkpoint)]), 1, "`sgd` keeps 1 list");
    // One byte changed anywhere is another number, or told.
    let bytes = fs::read(&checkpoint).unwrap();
    for place in (0..bytes.len()).step_by(bytes.len() / 29) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x11;
        fs::write(&other, changed).unwrap();
        let _ = run(&["--resume", text(&other), "--epochs", "2"]);
    }
    for end in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&other, &bytes[..end]).unwrap();
        refuse(run(&["--resume", text(&other)]), 1, "is not a safetensors file, or it is damaged");
    }
}

#[test]
fn frozen_layers_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w");
    let start: Digits = network::new(0);
    let moved = |freeze: &'static [&'static str]| {
        train(Tricks { freeze, ..ALL }, &["--epochs", "1", "--out", text(&file)]).unwrap();
        let end: Digits = network::load(&file).unwrap();
        let moved: Vec<bool> =
            start.weights.params().iter().zip(end.weights.params()).map(|(start, end)| start != end).collect();
        let (weight, bias) = moved.split_at(CLASSES * PIXELS);
        [weight, bias].map(|part| part.iter().any(|moved| *moved))
    };
    assert_eq!(moved(&["fc.bias"]), [true, false]);
    assert_eq!(moved(&["fc.weight"]), [false, true]);
    refuse(train(Tricks { freeze: &["fc2"], ..ALL }, &[]), 1, "`fc2` is no weight of `Digits`");
}

#[test]
fn the_best_weights_are_kept_and_waiting_ends() {
    let folder = tempfile::tempdir().unwrap();
    let [file, last] = ["best", "last"].map(|name| folder.path().join(name));
    // A learning rate that is too large, so that epochs are better and worse.
    for (monitor, epochs) in [(Monitor::Score, "40"), (Monitor::Loss, "40")] {
        let tricks = Tricks { keep: Keep::Best, patience: Some(3), monitor, ..Tricks::NONE };
        let line = ["--epochs", epochs, "--lr", "0.3", "--out", text(&file)];
        let printed = train(tricks, &line).unwrap();
        let done = printed.lines().count();
        assert!((4..40).contains(&done), "{printed}");
        // The epoch whose weights are there is the third one before the last, by its accuracies.
        let best = printed.lines().nth(done - 4).unwrap();
        let found = digits(&["eval", "--weights", text(&file)]).unwrap();
        assert!(best.ends_with(found.trim_end()), "{found} of:\n{printed}");
        if monitor == Monitor::Score {
            let accuracies = figures(&printed, "test accuracy");
            assert!(accuracies[done - 3..].iter().all(|accuracy| *accuracy <= accuracies[done - 4]), "{printed}");
        }
        // Without any of it, the same epochs.
        let plain = ["--epochs", epochs, "--lr", "0.3", "--out", text(&last)];
        assert!(train(Tricks::NONE, &plain).unwrap().starts_with(&printed));
    }
}

#[test]
fn a_penalty_is_a_part_of_the_printed_loss() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w");
    let loss = |l2| {
        let penalties: &'static [Penalty] = match l2 {
            0 => &[],
            1 => &[Penalty { l1: 0.0, l2: 1.0, on: &[], biases: true }],
            _ => &[Penalty { l1: 0.0, l2: 1.0, on: &[], biases: false }],
        };
        let line = ["--epochs", "1", "--lr", "0", "--out", text(&file)];
        figures(&train(Tricks { penalties, ..Tricks::NONE }, &line).unwrap(), "loss")[0]
    };
    let start: Digits = network::new(0);
    let squares = |params: &[f32]| params.iter().map(|param| f64::from(*param).powi(2)).sum::<f64>();
    let params = start.weights.params();
    // Two numbers of four decimals.
    assert!((loss(1) - loss(0) - squares(params)).abs() < 2e-4);
    assert!((loss(2) - loss(0) - squares(&params[..CLASSES * PIXELS])).abs() < 2e-4);
}

#[test]
fn a_training_can_begin_with_a_part_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, part] = ["whole", "part"].map(|name| folder.path().join(name));
    digits(&["train", "--epochs", "3", "--out", text(&whole)]).unwrap();
    let begin = |line: &[&str]| {
        let line = [&["train", "--epochs", "1", "--lr", "0", "--out", text(&part), "--weights", text(&whole)], line];
        digits(&line.concat()).map(|_| network::load::<Digits>(&part).unwrap().weights.params().to_vec())
    };
    let [loaded, drawn] = [network::load::<Digits>(&whole).unwrap(), network::new::<Digits>(0)]
        .map(|model| model.weights.params().to_vec());
    assert_eq!(begin(&["--partial"]).unwrap(), loaded);
    let fresh = begin(&["--partial", "--fresh", "fc.bias"]).unwrap();
    let (weight, bias) = fresh.split_at(CLASSES * PIXELS);
    assert_eq!((weight, bias), (&loaded[..CLASSES * PIXELS], &drawn[CLASSES * PIXELS..]));
    let missing = |line: &[&str], words| refuse(begin(line).map(|_| String::new()), 2, words);
    missing(&["--partial", "--fresh", "head"], "`head` is no weight of `Digits`");
    missing(&["--fresh", "fc"], "--partial");
    assert_eq!(begin(&["--partial", "--fresh", "fc"]).unwrap(), drawn);
    refuse(digits(&["train", "--partial"]), 2, "--weights");
}

#[test]
fn only_images_are_augmented() {
    let tricks = Tricks { augment: &[Augment::Cutout { size: 9 }], ..Tricks::NONE };
    refuse(train(tricks, &[]), 2, "the size of a cutout is from 1 to the longer side of the image");
}
