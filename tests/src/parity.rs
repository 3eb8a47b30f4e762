//! The fixtures of `tests/parity`: what PyTorch makes of models and layers. Its `make.py` says what they hold.
//!
//! Whatever runs a model can be compared: [`Case::params`] and [`Case::inputs`] go in, and what comes out is given to
//! [`Case::compare`] and [`Case::compare_weights`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use netspec_compiler::check::Checked;
use netspec_compiler::ir::Program;
use netspec_compiler::lower::lower;
use netspec_compiler::ops::elements;
use netspec_interpreter::{Draw, Samples};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::reference::{Numbers, all_sets, compile_file, compile_text, cross_entropy, mse, norm, relative_l2, root};

/// The loss of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Of labels.
    CrossEntropy,
    /// Of values.
    Mse,
}

/// A model or layer, and what PyTorch makes of it.
#[derive(Debug)]
pub struct Case {
    /// The fixture it stands in.
    pub file: String,
    /// Its name.
    pub name: String,
    /// The layer it is about, unless it is a whole model.
    pub layer: Option<String>,
    /// The model.
    pub checked: Checked,
    /// Its loss; None for a case of evaluation only.
    pub loss: Option<Loss>,
    /// The learning rate of its ten steps of SGD, when it has them.
    pub lr: Option<f64>,
    program: Program,
    parts: BTreeMap<String, Vec<f64>>,
}

/// All cases.
///
/// # Panics
///
/// When a fixture cannot be read or a spec is wrong.
pub fn cases() -> Vec<Case> {
    let entries = fs::read_dir(root().join("tests/parity")).expect("the folder of the fixtures");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a fixture").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    paths.iter().flat_map(|path| file(path)).collect()
}

fn file(path: &Path) -> Vec<Case> {
    let name = path.file_stem().and_then(OsStr::to_str).expect("a name");
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a fixture has a header");
    let about =
        header.metadata().as_ref().and_then(|metadata| metadata.get("cases")).expect("a fixture lists its cases");
    let about: Vec<Value> = serde_json::from_str(about).expect("cases are a list");
    let tensors = SafeTensors::deserialize(&bytes).expect("a fixture is whole");
    let mut parts: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
    for (name, tensor) in tensors.iter() {
        let (case, part) = name.split_once('/').expect("a tensor is named CASE/PART");
        let floats = tensor.data().as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect();
        parts.entry(case.to_owned()).or_default().insert(part.to_owned(), floats);
    }
    about.iter().map(|about| case(name, about, &mut parts)).collect()
}

fn case(file: &str, about: &Value, parts: &mut BTreeMap<String, BTreeMap<String, Vec<f64>>>) -> Case {
    let name = about["name"].as_str().expect("a name").to_owned();
    let spec = about["spec"].as_str().expect("a spec");
    let params = about["params"].as_object().expect("parameters").iter();
    let params: Vec<(&str, i64)> =
        params.map(|(name, value)| (name.as_str(), value.as_i64().expect("an integer"))).collect();
    let checked = if spec.starts_with("model") { compile_text(spec) } else { compile_file(spec, &params) };
    let loss = about["loss"].as_str().map(|loss| match loss {
        "cross_entropy" => Loss::CrossEntropy,
        _ => Loss::Mse,
    });
    let mut parts = parts.remove(&name).unwrap_or_else(|| panic!("{name} has no tensors"));
    let program = lower(&checked);
    if let Some(seed) = about["drawn"].as_u64() {
        draw(seed, about, &checked, &program, &mut parts);
    }
    let layer = about["layer"].as_str().map(str::to_owned);
    Case { file: file.to_owned(), name, layer, program, checked, loss, lr: about["lr"].as_f64(), parts }
}

/// Weights and input of a case that has none, from their names: who names a tensor otherwise computes something else.
fn draw(seed: u64, about: &Value, checked: &Checked, program: &Program, parts: &mut BTreeMap<String, Vec<f64>>) {
    let f32_values = |floats: Vec<f64>| floats.into_iter().map(|float| f64::from(float as f32)).collect();
    let named = |name: &str| Numbers::named(&format!("{seed}/{name}"));
    let mut tensors = 0;
    for (tensor, set) in all_sets(program) {
        let kind = if tensor.trainable { "param" } else { "stat" };
        parts.insert(format!("{kind}.{}", set.name), f32_values(named(&set.name).weight(tensor)));
        tensors += 1;
    }
    assert_eq!(Some(tensors), about["tensors"].as_u64(), "tensors of {}", about["name"]);
    let samples = about["samples"].as_u64().expect("a number of samples");
    let count = samples * elements(checked.net.inputs[0].shape.as_deref().expect("a shape"));
    parts.insert("input.0".to_owned(), f32_values(named("input.0").numbers(count as usize)));
}

impl Case {
    /// A part, flat.
    ///
    /// # Panics
    ///
    /// When there is none of the name.
    pub fn part(&self, name: &str) -> &[f64] {
        self.parts.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    /// The model's inputs.
    pub fn inputs(&self) -> Vec<Samples> {
        let shapes = self.checked.net.inputs.iter().filter_map(|input| input.shape.as_deref());
        let samples = |(index, shape): (usize, &[u64])| {
            let input = self.part(&format!("input.{index}"));
            input.chunks_exact(elements(shape) as usize).map(<[f64]>::to_vec).collect()
        };
        shapes.enumerate().map(samples).collect()
    }

    /// The parameters before the first step, as a program has them.
    pub fn params(&self) -> Vec<f64> {
        self.flat("param", true)
    }

    /// The running statistics before the first step.
    pub fn statistics(&self) -> Vec<f64> {
        self.flat("stat", false)
    }

    fn flat(&self, kind: &str, trainable: bool) -> Vec<f64> {
        let mut flat = vec![0.0; if trainable { self.program.params } else { self.program.statistics } as usize];
        for (_, set) in all_sets(&self.program).filter(|(tensor, _)| tensor.trainable == trainable) {
            let part = self.part(&format!("{kind}.{}", set.name));
            flat[set.offset..][..part.len()].copy_from_slice(part);
        }
        flat
    }

    /// The loss of one sample's output, and its derivative.
    pub fn loss(&self, sample: usize, y: &[f64]) -> (f64, Vec<f64>) {
        match self.loss {
            Some(Loss::CrossEntropy) => cross_entropy(y, self.part("target")[sample] as usize),
            _ => mse(y, &self.part("target")[sample * y.len()..][..y.len()]),
        }
    }

    /// Whether PyTorch's dropout kept a unit.
    pub fn keeps(&self, draw: Draw) -> bool {
        let kept = self.part("kept");
        kept[draw.sample * (kept.len() / self.inputs()[0].len()) + draw.unit] != 0.0
    }

    /// Compares numbers with a part.
    ///
    /// # Errors
    ///
    /// When their relative difference is above the tolerance.
    pub fn compare(&self, part: &str, found: &[f64], tolerance: f64) -> Result<(), String> {
        self.agree(part, found, self.part(part), tolerance, 0.0)
    }

    /// Compares parameters or gradients (`trainable`) or statistics with the parts of a kind: `grad`, `stat_after`, `trained`. One whose
    /// norm is under a thousandth of that of all counts as large as that: the gradient of a bias before a batch norm is 0, and what a
    /// program finds in its place is rounding.
    ///
    /// # Errors
    ///
    /// When the relative difference of one is above the tolerance.
    pub fn compare_weights(&self, kind: &str, trainable: bool, found: &[f64], tolerance: f64) -> Result<(), String> {
        let floor = norm(self.flat(kind, trainable)) / 1000.0;
        all_sets(&self.program).filter(|(tensor, _)| tensor.trainable == trainable).try_for_each(|(tensor, set)| {
            let part = format!("{kind}.{}", set.name);
            let found = &found[set.offset..][..elements(&tensor.shape) as usize];
            self.agree(&part, found, self.part(&part), tolerance, floor)
        })
    }

    fn agree(&self, part: &str, found: &[f64], expected: &[f64], tolerance: f64, floor: f64) -> Result<(), String> {
        let apart = relative_l2(found, expected, floor);
        if apart <= tolerance { Ok(()) } else { Err(format!("{}: {part} differs by {apart:.1e}", self.name)) }
    }
}
