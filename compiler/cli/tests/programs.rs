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

/// An image of 32 x 32 whose right half is white.
fn halves() -> PathBuf {
    let path = folder().join("halves.png");
    let bytes: Vec<u8> = (0..32 * 32).flat_map(|at| [if at % 32 < 16 { 0 } else { 255 }; 3]).collect();
    let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), 32, 32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    path
}

#[test]
fn a_model_is_run_on_a_picture() {
    let netc = env!("CARGO_BIN_EXE_netc");
    let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/edges.yaml");
    let image = halves();
    let image = image.to_str().unwrap();
    // Three colours, three lines: 9 where it gets brighter; beside the image it is black, so that -9 is at its right edge.
    let said = run(netc, &["run", spec, image, "--out", "found.png"]);
    assert_eq!(prints(&said), "found.png: 1 x 32 x 32, black -9.0000, white 9.0000\n");
    let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(folder().join("found.png")).unwrap()))
        .read_info()
        .unwrap();
    let mut found = vec![0; 32 * 32];
    reader.next_frame(&mut found).unwrap();
    let line = &found[10 * 32..][..32];
    let wanted: Vec<u8> = (0..32)
        .map(|x| {
            if x == 15 || x == 16 {
                255
            } else if x == 31 {
                0
            } else {
                128
            }
        })
        .collect();
    assert_eq!(line, wanted);

    let refused = run(netc, &["run", "-p", "width=16", spec, image]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("has 32 x 32 pixels, but Edges takes 32 x 16"), "{words}");
}
