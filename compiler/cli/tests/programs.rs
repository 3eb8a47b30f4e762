//! The whole way: a spec becomes a program, the program learns.

// Clippy's leave to unwrap in tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder to run in, with a cache in which programs are built; kept from run to run, so that only the first one is slow.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("programs");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(program: impl AsRef<Path>, args: &[&str]) -> Output {
    let mut command = Command::new(program.as_ref());
    command.args(args).current_dir(folder()).env("XDG_CACHE_HOME", folder().join("cache")).stdin(Stdio::null());
    command.output().unwrap()
}

/// What a run that goes well prints.
#[track_caller]
fn prints(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn a_spec_is_trained_built_and_evaluated() {
    let netc = env!("CARGO_BIN_EXE_netc");
    let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/digits.yaml");
    for old in ["digits.safetensors", "digits"] {
        let _ = fs::remove_file(folder().join(old));
    }

    let trained = run(netc, &["train", spec, "--epochs", "6", "--threads", "2"]);
    let lines: Vec<&str> = prints(&trained).lines().collect();
    assert_eq!(lines.len(), 6);
    let (_, scores) = lines[5].split_once("  train ").unwrap();
    let accuracy: f64 = scores.split(' ').next_back().unwrap().parse().unwrap();
    assert!(accuracy > 0.95, "{lines:?}");

    // Built, it needs neither netc nor cargo; what it says of the weights is what was said after their epoch.
    prints(&run(netc, &["build", spec, "-o", "digits"]));
    let digits = folder().join(format!("digits{}", std::env::consts::EXE_SUFFIX));
    assert_eq!(prints(&run(&digits, &["eval"])), format!("train {scores}\n"));
    assert_eq!(run(netc, &["summary", spec]).stdout, run(&digits, &["summary"]).stdout);
    let again = run(&digits, &["train", "--epochs", "6", "--threads", "1", "--out", "again.safetensors"]);
    assert_eq!(again.stdout, trained.stdout);
    let weights = |name: &str| fs::read(folder().join(name)).unwrap();
    assert!(weights("again.safetensors") == weights("digits.safetensors"), "threads change no bit");

    // netc's exit code is the program's, which it is given in its own words.
    let refused = run(netc, &["train", spec, "--data", "mnist:nowhere"]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(
        words.contains("error: nowhere: not found; looked for a folder with train-images-idx3-ubyte or "),
        "{words}"
    );
    let diverged = run(netc, &["train", spec, "--lr", "1e38", "--out", "none.safetensors"]);
    assert_eq!(diverged.status.code(), Some(1));
    let help = run(netc, &["train", spec, "--", "--help"]);
    assert!(prints(&help).contains("[default: 0.05]"));
}

#[test]
fn two_outputs_learn_one_label() {
    let netc = env!("CARGO_BIN_EXE_netc");
    let spec = "\
model: Two
input: { image: [1, 8, 8] }
layers:
  - conv: { out: 8, kernel: 3, padding: 1 }
  - relu
  - max_pool: 2
  - flatten:
    as: features
  - linear: 10
    as: aux
  - from: features
  - linear: 32
  - relu
  - linear: 10
    as: logits
output: [aux, logits]
train:
  data: digits
  loss:
    - cross_entropy: { of: logits, label_smoothing: 0.05, class_weights: [1, 1, 1, 1, 1, 1, 1, 2, 2, 2] }
    - cross_entropy: { of: aux, weight: 0.3 }
  optimizer: { sgd: { lr: 0.05, momentum: 0.9 } }
  batch: 32
";
    fs::write(folder().join("two.yaml"), spec).unwrap();
    let trained = run(netc, &["train", "two.yaml", "--epochs", "6", "--threads", "2"]);
    let last = prints(&trained).lines().last().unwrap();
    let accuracy: f64 = last.split(' ').next_back().unwrap().parse().unwrap();
    assert!(accuracy > 0.95, "{last}");
}
