//! Models and their f64 reference: compiling specs, naming weights, comparing numbers.

use std::fs;
use std::path::{Path, PathBuf};

use netspec_compiler::check::Checked;
use netspec_compiler::differentiate::differentiate;
use netspec_compiler::fuse::{PlanKind, fuse, specialise};
use netspec_compiler::ir::{Program, Tensor, verify};
use netspec_compiler::lower::lower;
use netspec_compiler::ops::elements;
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, Outcome, Target, compile};
use netspec_interpreter::{Draw, Samples};

/// The root of the repository, where paths such as `specs/net.netspec` begin.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The models of `specs/`, by their names.
///
/// # Panics
///
/// When the folder cannot be read.
pub fn models() -> Vec<String> {
    let entries = fs::read_dir(root().join("specs")).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let specs = paths.filter(|path| path.extension().is_some_and(|ending| ending == "netspec"));
    let mut names: Vec<String> = specs.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

/// Parameters that make a model of `specs/` one that the interpreter and kernels without optimisation run in no time: as deep as it is,
/// but narrow, and on small images. Their last map has several positions, so that norms of it are means of more than a few numbers.
pub fn small(model: &str) -> &'static [(&'static str, i64)] {
    match model {
        "batch_norm" => &[("n_chans1", 4)],
        "width" | "dropout" | "depth" | "res" => &[("n_chans1", 8)],
        "res_deep" | "res_deep_tied" => &[("n_chans1", 4), ("n_blocks", 3)],
        "blur" => &[("height", 9), ("width", 10)],
        "edges" => &[("height", 10), ("width", 9)],
        "resnet18_cifar" => &[("width", 2)],
        "resnet18" | "resnet50" => &[("size", 64), ("width", 2), ("classes", 4)],
        "squeezenet" => &[("size", 32), ("width", 2), ("classes", 4)],
        "vgg11" => &[("size", 64), ("width", 2), ("hidden", 128), ("classes", 4)],
        "mobilenet_v2" | "googlenet" => &[("size", 64), ("thin", 8), ("classes", 4)],
        "densenet121" => &[("size", 64), ("growth", 2), ("classes", 4)],
        "unet" => &[("size", 16), ("width", 2)],
        "series" => &[("length", 23), ("width", 4)],
        "voxnet" => &[("size", 16), ("width", 4), ("hidden", 8), ("classes", 4)],
        _ => &[],
    }
}

/// A file of the repository, compiled.
///
/// # Panics
///
/// When the spec is wrong, with what is.
pub fn compile_file(path: &str, params: &[(&str, i64)]) -> Checked {
    let params = params.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let options = Options { params, ..Options::default() };
    checked(compile(Main::File(path.to_owned()), &options, &mut |path| {
        fs::read(root().join(path)).map_err(|error| error.to_string())
    }))
}

/// A spec given as text, compiled.
///
/// # Panics
///
/// When the spec is wrong, with what is.
pub fn compile_text(text: &str) -> Checked {
    let main = Main::Text { path: "text".to_owned(), text: text.to_owned(), spelling: Spelling::Netspec };
    checked(compile(main, &Options::default(), &mut |path| Err(format!("`{path}` is not to be read"))))
}

fn checked(outcome: Outcome) -> Checked {
    let Outcome { checked, diagnostics, .. } = outcome;
    checked.unwrap_or_else(|| {
        panic!("{:?}", diagnostics.iter().map(|found| (found.code, &found.title)).collect::<Vec<_>>())
    })
}

/// The training program of a model, verified after each pass.
///
/// # Panics
///
/// When a pass breaks the program.
pub fn training(checked: &Checked) -> Program {
    let lowered = verified(lower(checked));
    verified(differentiate(verified(fuse(lowered, PlanKind::Training, Target::Cpu).0), Target::Cpu))
}

/// As [`training`], with each nonlinearity an op of its own: it computes the same bits.
///
/// # Panics
///
/// When a pass breaks the program.
pub fn unfused(checked: &Checked) -> Program {
    verified(differentiate(verified(specialise(lower(checked), PlanKind::Training)), Target::Cpu))
}

/// A program that the verifier accepts.
///
/// # Panics
///
/// When it does not.
pub fn verified(program: Program) -> Program {
    verify(&program).unwrap_or_else(|problem| panic!("{problem}"));
    program
}

/// One set of a tensor: its name in a state dict, and its first float among the parameters or the statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// `resblocks.0.conv.weight`
    pub name: String,
    /// Where it begins.
    pub offset: usize,
}

/// The sets of a tensor, one for each iteration of the repeats that have separate ones; tied ones have index 0.
pub fn sets(tensor: &Tensor) -> Vec<Set> {
    let mut sets = vec![Set { name: tensor.name.clone(), offset: tensor.offset as usize }];
    for repeat in &tensor.repeats {
        let count = if repeat.stride == 0 { 1 } else { repeat.count };
        let each = |set: &Set| {
            let set = set.clone();
            (0..count).map(move |index| Set {
                name: set.name.replacen('*', &index.to_string(), 1),
                offset: set.offset + (index * repeat.stride) as usize,
            })
        };
        sets = sets.iter().flat_map(each).collect();
    }
    sets
}

/// Every set of a program's parameters and statistics: its tensor, and the set.
pub fn all_sets(program: &Program) -> impl Iterator<Item = (&Tensor, Set)> {
    program.tensors.iter().flat_map(|tensor| sets(tensor).into_iter().map(move |set| (tensor, set)))
}

/// Random numbers for tests, the same each time (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Copy, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// Those of a name (its 64 bits of FNV-1a, Fowler, Noll and Vo 1991).
    pub fn named(name: &str) -> Numbers {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Numbers(name.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    /// Even in -1..1.
    pub fn number(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// As many as asked for.
    pub fn numbers(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.number()).collect()
    }

    /// A batch for each input of a model.
    pub fn inputs(&mut self, checked: &Checked, samples: usize) -> Vec<Samples> {
        let shapes = checked.net.inputs.iter().filter_map(|input| input.shape.as_deref());
        shapes.map(|shape| (0..samples).map(|_| self.numbers(elements(shape) as usize)).collect()).collect()
    }

    /// Parameters whose values neither vanish nor saturate, and statistics whose variances are positive.
    pub fn weights(&mut self, program: &Program) -> (Vec<f64>, Vec<f64>) {
        let (mut params, mut statistics) = (vec![0.0; program.params as usize], vec![0.0; program.statistics as usize]);
        for (tensor, set) in all_sets(program) {
            let floats = if tensor.trainable { &mut params } else { &mut statistics };
            floats[set.offset..][..elements(&tensor.shape) as usize].copy_from_slice(&self.weight(tensor));
        }
        (params, statistics)
    }

    /// One set of a tensor, so that values neither vanish nor saturate; of variances, one that is positive.
    pub fn weight(&mut self, tensor: &Tensor) -> Vec<f64> {
        let fan = elements(tensor.shape.get(1..).unwrap_or_default()).max(1) as f64;
        let is_variance = tensor.name.ends_with("running_var");
        let mut weight = || {
            let float = self.number() * (3.0 / fan).sqrt();
            if is_variance { float.abs() + 0.5 } else { float }
        };
        (0..elements(&tensor.shape)).map(|_| weight()).collect()
    }
}

/// A mask of dropout that is a function of its key alone and keeps about two of three units.
pub fn keeps(draw: Draw) -> bool {
    let Draw { of, iteration, sample, unit } = draw;
    let key = [u64::from(of), iteration, sample as u64, unit as u64];
    Numbers(key.iter().fold(7, |key, part| (key ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(23))).number()
        < 0.34
}

/// Mean squared error, and its derivative.
pub fn mse(y: &[f64], target: &[f64]) -> (f64, Vec<f64>) {
    let count = y.len() as f64;
    let differences: Vec<f64> = y.iter().zip(target).map(|(y, target)| y - target).collect();
    let loss = differences.iter().map(|difference| difference * difference).sum::<f64>() / count;
    (loss, differences.iter().map(|difference| 2.0 * difference / count).collect())
}

/// `-log softmax(y)[label]`, and its derivative.
pub fn cross_entropy(y: &[f64], label: usize) -> (f64, Vec<f64>) {
    let largest = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = y.iter().map(|y| (y - largest).exp()).sum();
    let mut derivative: Vec<f64> = y.iter().map(|y| (y - largest).exp() / sum).collect();
    derivative[label] -= 1.0;
    (sum.ln() - (y[label] - largest), derivative)
}

/// The Euclidean norm of the finite numbers.
pub fn norm(numbers: impl IntoIterator<Item = f64>) -> f64 {
    numbers.into_iter().filter(|number| number.is_finite()).map(|number| number * number).sum::<f64>().sqrt()
}

/// `|a - b| / max(|b|, floor)` in the Euclidean norm. NaN agrees with NaN and an infinity with the same one; else they are infinitely
/// far from anything.
pub fn relative_l2(a: &[f64], b: &[f64], floor: f64) -> f64 {
    assert_eq!(a.len(), b.len(), "lengths");
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    let differences = || a.iter().zip(b).filter(|(a, b)| !same(**a, **b)).map(|(a, b)| a - b);
    if differences().any(|difference| !difference.is_finite()) {
        return f64::INFINITY;
    }
    match norm(differences()) {
        0.0 => 0.0,
        difference => difference / norm(b.iter().copied()).max(floor),
    }
}
