//! What can go wrong while a model is used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong while a model is used. What is wrong with the model itself is rustc's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Flat data is not a whole number of samples.
    PartSample {
        /// How many values there are.
        values: usize,
        /// How many a sample has.
        per_sample: usize,
    },
    /// Two slices that belong together differ in length.
    Lengths {
        /// What is too long or too short: `targets`.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What it belongs to: `inputs`.
        of: &'static str,
        /// The length that it should have.
        wanted: usize,
    },
    /// A step of training, or a gradient, of no samples.
    EmptyBatch,
    /// Batch normalisation of one value a channel: it has no variance.
    OneValue,
    /// A label that is no class.
    Label {
        /// Which sample of the batch has it.
        sample: usize,
        /// The label.
        label: usize,
        /// How many classes the model's output has.
        classes: usize,
    },
    /// The samples of a batch count nothing together, as where each has a class that weighs 0: it has no mean loss.
    Weightless,
    /// A target that the loss cannot be taken to.
    Target {
        /// Which sample of the batch has it.
        sample: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that is that of no parameter, and of no layer that has one.
    NoSuchWeight {
        /// The name.
        name: String,
        /// The model's name in its spec.
        model: &'static str,
        /// The model's parameters, by their names.
        weights: Vec<String>,
    },
    /// What an optimizer is to know is not its own.
    OptimizerState {
        /// The optimizer, as specs name it.
        optimizer: &'static str,
        /// How many lists it keeps, of a length that they share.
        wanted: usize,
        /// How many are there.
        found: usize,
    },
    /// A file that cannot be read or written, or does not hold what it should.
    File {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// A graphics card that cannot be used, or failed.
    Device(DeviceProblem),
}

/// Why a graphics card cannot be used, or how it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceProblem {
    /// The program was built without CUDA.
    NotBuilt,
    /// The machine has no NVIDIA driver.
    NoDriver,
    /// The driver knows an older CUDA than is needed: its version.
    OldDriver {
        /// The CUDA version that it knows.
        found: (u32, u32),
    },
    /// There is no card of this number.
    NoDevice {
        /// The number.
        number: usize,
        /// How many cards the driver shows.
        count: usize,
    },
    /// The card cannot do what kernels need.
    OldDevice {
        /// Its number.
        number: usize,
        /// What it calls itself.
        name: String,
        /// Its compute capability.
        found: (u32, u32),
    },
    /// The card has not enough memory.
    Memory {
        /// What it was for: `the values of a batch of 64`.
        what: String,
        /// Bytes that were asked for.
        wanted: usize,
        /// Bytes that were free.
        free: usize,
    },
    /// NVRTC, the compiler of kernels, is not there.
    NoCompiler {
        /// What was tried, or what the system says.
        problem: String,
    },
    /// NVRTC is older than is needed.
    OldCompiler {
        /// Its version.
        found: (u32, u32),
    },
    /// The kernels do not compile.
    Compile {
        /// NVRTC's version.
        version: (u32, u32),
        /// Its options.
        options: String,
        /// What it says.
        log: String,
    },
    /// Kernels are not what the program takes them for.
    Kernel {
        /// The kernel's name.
        kernel: String,
        /// What is wrong.
        problem: String,
    },
    /// A part of the model has no kernel.
    NoKernel {
        /// The model's name in its spec.
        model: &'static str,
        /// What it is, and why.
        problem: String,
    },
    /// The memory is that of another model.
    OtherModel {
        /// The model that it was made for.
        wanted: &'static str,
        /// The one that was run.
        found: &'static str,
    },
    /// A call of the driver failed.
    Driver {
        /// What was to be done: `run the kernels`.
        what: &'static str,
        /// What the driver says: a name of its own, and a text.
        problem: String,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileProblem {
    /// The system does not let it be read.
    Read(io::ErrorKind, String),
    /// The system does not let it be written.
    Write(io::ErrorKind, String),
    /// It is not what it should be, or damaged.
    Format {
        /// What it should be: `a safetensors file`.
        wanted: &'static str,
        /// Why it is not.
        problem: String,
    },
    /// It holds other tensors than the model has.
    Tensors {
        /// The model's name in its spec.
        model: &'static str,
        /// The tensors that do not agree: at least one.
        problems: Vec<TensorProblem>,
    },
}

/// A tensor of a file that does not agree with the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorProblem {
    /// Its name, as in a state dict.
    pub name: String,
    /// What does not agree.
    pub kind: TensorProblemKind,
}

/// What does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorProblemKind {
    /// The model has it, of this shape, and the file has not.
    Missing(Vec<usize>),
    /// The file has it, of this shape, and the model has not.
    Extra(Vec<usize>),
    /// The shapes differ.
    Shape {
        /// The model's.
        wanted: Vec<usize>,
        /// The file's.
        found: Vec<usize>,
    },
    /// Its elements are no floats: their type, as safetensors names it.
    Type(String),
    /// In the model it is the same weight as this one, and in the file their values differ.
    Tied(String),
}

impl DeviceProblem {
    /// Whether nothing was tried yet: the card that was asked for cannot be used as things are. Else something failed.
    pub fn is_absence(&self) -> bool {
        use DeviceProblem::*;
        matches!(
            self,
            NotBuilt
                | NoDriver
                | OldDriver { .. }
                | NoDevice { .. }
                | OldDevice { .. }
                | NoCompiler { .. }
                | OldCompiler { .. }
                | NoKernel { .. }
        )
    }
}

impl Error {
    pub(crate) fn read(path: &Path, error: &io::Error) -> Error {
        Error::File { path: path.to_owned(), problem: FileProblem::Read(error.kind(), error.to_string()) }
    }

    pub(crate) fn write(path: &Path, error: &io::Error) -> Error {
        Error::File { path: path.to_owned(), problem: FileProblem::Write(error.kind(), error.to_string()) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::PartSample { values, per_sample } => {
                let whole = values / per_sample;
                let rest = values % per_sample;
                write!(f, "{values} values are {whole} samples of {per_sample} values, and {rest} too many")
            }
            Error::Lengths { what, found, of, wanted } => {
                write!(f, "`{what}` has the length {found}: it should be {wanted}, as for `{of}`")
            }
            Error::EmptyBatch => write!(f, "a batch of no samples: its mean loss and its gradient do not exist"),
            Error::OneValue => write!(
                f,
                "a batch of one sample: batch normalisation needs more than one value a channel in training; leave a last \
                 batch of one sample out, or make it larger"
            ),
            Error::Weightless => {
                write!(
                    f,
                    "the samples of the batch count nothing together, since each has a class that weighs 0: there is no mean loss"
                )
            }
            Error::Label { sample, label, classes } => {
                write!(f, "sample {sample} has the label {label}: the model's output has {classes} classes, from 0")
            }
            Error::Target { sample, problem } => write!(f, "the target of sample {sample}: {problem}"),
            Error::NoSuchWeight { name, model, weights } => {
                let (shown, more) = weights.split_at(weights.len().min(12));
                write!(
                    f,
                    "`{name}` is no weight of `{model}`, and no layer with weights; there are {}",
                    shown.join(", ")
                )?;
                if more.is_empty() { Ok(()) } else { write!(f, " and {} more", more.len()) }
            }
            Error::OptimizerState { optimizer, wanted, found } => {
                let lists = |count: usize| if count == 1 { "1 list".to_owned() } else { format!("{count} lists") };
                write!(f, "`{optimizer}` keeps {} of one length, and here are {}", lists(*wanted), lists(*found))?;
                if wanted == found { write!(f, " of several lengths") } else { Ok(()) }
            }
            Error::File { path, problem } => match problem {
                FileProblem::Read(_, error) => write!(f, "cannot read {}: {error}", path.display()),
                FileProblem::Write(_, error) => write!(f, "cannot write {}: {error}", path.display()),
                FileProblem::Format { wanted, problem } => {
                    write!(f, "{} is not {wanted}, or it is damaged: {problem}", path.display())
                }
                FileProblem::Tensors { model, problems } => {
                    write!(f, "{} does not hold the weights of `{model}`:", path.display())?;
                    let shown = 12;
                    for problem in problems.iter().take(shown) {
                        write!(f, "\n  {problem}")?;
                    }
                    match problems.len().saturating_sub(shown) {
                        0 => Ok(()),
                        more => write!(f, "\n  and {more} more"),
                    }
                }
            },
            Error::Device(problem) => write!(f, "{problem}"),
        }
    }
}

/// CUDA's version from which on drivers and NVRTC are used.
const CUDA: &str = "12.0";

impl fmt::Display for DeviceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceProblem::NotBuilt => write!(
                f,
                "the program was built without CUDA: build it with the feature `cuda` of `netspec`, as `netc train FILE --device cuda` \
                 and `netc build --cuda` do"
            ),
            DeviceProblem::NoDriver => write!(
                f,
                "no NVIDIA driver was found on this machine (`libcuda`): a graphics card needs one; the device `cpu` does without"
            ),
            DeviceProblem::OldDriver { found: (major, minor) } => write!(
                f,
                "the NVIDIA driver knows CUDA {major}.{minor}, and {CUDA} is needed: drivers from 525 on know it; the device `cpu` does \
                 without"
            ),
            DeviceProblem::NoDevice { number, count: 0 } => write!(
                f,
                "there is no device cuda:{number}: the NVIDIA driver shows no card; `CUDA_VISIBLE_DEVICES` may hide them, and in a \
                 container they must be handed in"
            ),
            DeviceProblem::NoDevice { number, count: 1 } => {
                write!(f, "there is no device cuda:{number}: the NVIDIA driver shows one card, cuda:0")
            }
            DeviceProblem::NoDevice { number, count } => write!(
                f,
                "there is no device cuda:{number}: the NVIDIA driver shows {count} cards, cuda:0 to cuda:{}",
                count - 1
            ),
            DeviceProblem::OldDevice { number, name, found: (major, minor) } => write!(
                f,
                "cuda:{number} is a {name} of compute capability {major}.{minor}, and 8.0 is needed: cards from Ampere (2020) on have \
                 it; the device `cpu` does without"
            ),
            DeviceProblem::Memory { what, wanted, free } => write!(
                f,
                "{what} takes {} on the card, which has {} free: a smaller batch takes less",
                mebibytes(*wanted),
                mebibytes(*free)
            ),
            DeviceProblem::NoCompiler { problem } => write!(
                f,
                "NVRTC, which compiles kernels, cannot be loaded: {problem}; it is a part of the CUDA toolkit and of Python's package \
                 `nvidia-cuda-nvrtc`, and `NETSPEC_NVRTC_DIR` names the folder of its library where the system does not find it"
            ),
            DeviceProblem::OldCompiler { found: (major, minor) } => write!(
                f,
                "NVRTC, which compiles kernels, is of CUDA {major}.{minor}, and {CUDA} is needed: `NETSPEC_NVRTC_DIR` names the folder \
                 of another one"
            ),
            DeviceProblem::Compile { version: (major, minor), options, log } => write!(
                f,
                "NVRTC {major}.{minor} does not compile the model's kernels with `{options}`; netspec should not have written them so, \
                 and its authors would like to know what it says:\n{}",
                log.trim_end()
            ),
            DeviceProblem::Kernel { kernel, problem } => write!(
                f,
                "the kernel `{kernel}` {problem}; netspec should not have written it so, and its authors would like to know"
            ),
            DeviceProblem::NoKernel { model, problem } => {
                write!(f, "`{model}` cannot run on a graphics card: {problem}; the device `cpu` can")
            }
            DeviceProblem::OtherModel { wanted, found } => write!(
                f,
                "a workspace on a graphics card serves one model: this one was made for `{wanted}`, and `{found}` was to run in it"
            ),
            DeviceProblem::Driver { what, problem } => write!(f, "the graphics card failed to {what}: {problem}"),
        }
    }
}

/// `12.5 MiB`.
fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.name)?;
        match &self.kind {
            TensorProblemKind::Missing(shape) => write!(f, "is missing: the model has it, of shape {shape:?}"),
            TensorProblemKind::Extra(shape) => write!(f, "of shape {shape:?} is not in the model"),
            TensorProblemKind::Shape { wanted, found } => write!(f, "has shape {found:?}: the model's is {wanted:?}"),
            TensorProblemKind::Type(found) => {
                write!(f, "has elements of type {found}: floats are read (F32, F64, F16, BF16)")
            }
            TensorProblemKind::Tied(first) => {
                write!(f, "differs from `{first}`: in the model they are one weight (`tied`)")
            }
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_wanted_and_what_was_found() {
        let says = |error: Error, text: &str| assert_eq!(error.to_string(), text);
        says(
            Error::PartSample { values: 7_000, per_sample: 3_072 },
            "7000 values are 2 samples of 3072 values, and 856 too many",
        );
        says(
            Error::Lengths { what: "targets", found: 7, of: "inputs", wanted: 8 },
            "`targets` has the length 7: it should be 8, as for `inputs`",
        );
        says(
            Error::Label { sample: 3, label: 2, classes: 2 },
            "sample 3 has the label 2: the model's output has 2 classes, from 0",
        );
        says(
            Error::Target { sample: 0, problem: "it is negative".to_owned() },
            "the target of sample 0: it is negative",
        );
    }

    #[test]
    fn what_is_wrong_with_a_card_is_told_with_what_to_do() {
        let says = |problem: DeviceProblem, text: &str| assert_eq!(Error::Device(problem).to_string(), text);
        says(
            DeviceProblem::OldDriver { found: (11, 4) },
            "the NVIDIA driver knows CUDA 11.4, and 12.0 is needed: drivers from 525 on know it; the device `cpu` does without",
        );
        says(
            DeviceProblem::NoDevice { number: 3, count: 2 },
            "there is no device cuda:3: the NVIDIA driver shows 2 cards, cuda:0 to cuda:1",
        );
        says(
            DeviceProblem::Memory { what: "a batch of 64".to_owned(), wanted: 3 << 30, free: 5 << 19 },
            "a batch of 64 takes 3072.0 MiB on the card, which has 2.5 MiB free: a smaller batch takes less",
        );
        says(
            DeviceProblem::Compile {
                version: (12, 9),
                options: "-arch=sm_80".to_owned(),
                log: "net.cu(3): error: what is this\n".to_owned(),
            },
            "NVRTC 12.9 does not compile the model's kernels with `-arch=sm_80`; netspec should not have written them so, and its \
             authors would like to know what it says:\nnet.cu(3): error: what is this",
        );
    }

    #[test]
    fn a_long_list_of_tensors_is_cut() {
        let problem = |index| TensorProblem {
            name: format!("conv{index}.bias"),
            kind: TensorProblemKind::Shape { wanted: vec![16], found: vec![32] },
        };
        let problems = (0..20).map(problem).collect();
        let problem = FileProblem::Tensors { model: "Net", problems };
        let text = Error::File { path: "a/net.safetensors".into(), problem }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "a/net.safetensors does not hold the weights of `Net`:");
        assert_eq!(lines[12], "  `conv11.bias` has shape [32]: the model's is [16]");
        assert_eq!(lines[13..], ["  and 8 more"]);
    }
}
