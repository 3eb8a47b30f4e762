//! Neural networks from a page of text, every shape proved by rustc before the program exists.
//!
//! [`netspec!`] takes the page, in line or from a file, and gives a struct: the model. A layer that does not fit is an error
//! of the compiler, at the layer.
//!
//! ```
//! netspec::netspec! {
//!     model Net {
//!         input image [3, 32, 32];
//!         conv(16, kernel = 3, padding = 1);
//!         tanh;
//!         max_pool(2);
//!         conv(8, kernel = 3, padding = 1);
//!         tanh;
//!         max_pool(2);
//!         view(-1, 8 * 8 * 8);
//!         linear(32);
//!         tanh;
//!         linear(2);
//!     }
//! }
//!
//! use netspec::Model;
//!
//! assert_eq!(Net::PARAMETERS, 18_090);
//! let image: <Net as Model>::Input = [[[0.5; 32]; 32]; 3];
//! let scores: <Net as Model>::Output = [0.0; 2];
//! # let _ = (image, scores);
//! ```
//!
//! A model is its weights; the memory it runs in is a [`Workspace`], which uses every core:
//!
//! ```
//! # netspec::netspec! { model Net { input image [3, 32, 32]; view(-1, 3072); linear(2); } }
//! use netspec::{CrossEntropy, Sgd, Workspace};
//!
//! # let folder = tempfile::tempdir().expect("a folder for the example");
//! # std::env::set_current_dir(&folder).expect("it is there");
//! # let images: Vec<_> = (0..70).map(|image| [[[(image % 2) as f32 - 0.5; 32]; 32]; 3]).collect();
//! # let labels: Vec<usize> = (0..70).map(|image| image % 2).collect();
//! let mut net = Net::new(0);
//! let mut workspace = Workspace::new();
//! let mut optimizer = Sgd::new(1e-2);
//! for (images, labels) in images.chunks(64).zip(labels.chunks(64)) {
//!     let loss = net.step(&mut workspace, images, labels, &CrossEntropy, &mut optimizer)?;
//!     println!("{loss}");
//! }
//! net.save("net.safetensors")?;
//!
//! let mut scores = vec![[0.0; 2]; images.len()];
//! net.infer(&mut workspace, &images, &mut scores)?;
//! println!("{}", netspec::accuracy(&scores, &labels)?);
//! # assert_eq!(netspec::accuracy(&scores, &labels)?, 1.0);
//! # assert_eq!(Net::load("net.safetensors")?.params(), net.params());
//! # Ok::<(), netspec::Error>(())
//! ```
//!
//! # Features
//!
//! `macros` and `threads` are on by default. `macros` is `netspec!`; crates with models that are written out already do without.
//! `threads` lets a pass use more than the caller's thread; without it results are the same bits. `trainer` is the command line of
//! a program that trains a model. `cuda` is models on graphics cards: `Workspace::on` puts one there.

pub mod arena;
pub mod checkpoint;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod data;
mod device;
mod error;
mod files;
mod floats;
mod isa;
pub mod kernels;
pub mod layer;
pub mod layout;
mod loss;
mod memory;
mod model;
pub mod network;
mod optimizer;
pub mod pool;
pub mod random;
mod recipe;
pub mod run;
mod sample;
mod schedule;
#[cfg(feature = "trainer")]
pub mod trainer;
pub mod weights;

pub use device::{Device, Precision, UnknownDevice, UnknownPrecision};
pub use error::{DeviceProblem, Error, FileProblem, TensorProblem, TensorProblemKind};
pub use isa::{Isa, Numerics, UnknownIsa};
pub use loss::{
    BceWithLogits, CrossEntropy, CrossEntropyWith, Huber, L1, Loss, Losses, Mse, Nll, NllWith, NoLoss, Same, Scaled,
    Scores, SmoothL1, accuracy, argmax, check_label,
};
pub use model::{Model, Takes, joins};
pub use optimizer::{Adam, AdamW, Optimizer, OptimizerState, RmsProp, Sgd, Stateful};
pub use recipe::{Clip, Penalty, Recipe};
pub use run::Workspace;
pub use sample::{Parts, Sample, samples};
pub use schedule::{Rates, Schedule, WarmUp};

/// Reads a spec, proves its shapes and gives the model as a struct that is a [`Model`].
///
/// The page itself between braces, in the spelling of `.netspec` files; the struct is `pub` and has the model's name:
///
/// ```
/// netspec::netspec! {
///     model Line {
///         input x [1];
///         linear(1);
///     }
/// }
/// assert_eq!(<Line as netspec::Model>::PARAMETERS, 2);
/// ```
///
/// Or the path of a `.netspec` or `.yaml` file, from the directory of the crate's `Cargo.toml`. The struct is then as visible as
/// is written, and has the name that is written, or the model's; behind the path, parameters of the model can be set:
///
/// ```
/// use netspec::{Model, netspec};
///
/// netspec!("../specs/net.yaml");
/// netspec!(pub(crate) Net2 = "../specs/net.yaml");
/// netspec!(pub Deep20 = "../specs/res_deep.yaml", n_blocks = 20);
///
/// assert_eq!(Net::PARAMETERS, Net2::PARAMETERS);
/// ```
///
/// # Methods of the struct
///
/// | method | what it does |
/// | --- | --- |
/// | `new(seed: u64) -> Self` | draws the initial weights |
/// | `load(path) -> Result<Self, Error>`, `save(&self, path) -> Result<(), Error>` | the weights, from and to a file |
/// | `params(&self) -> &[f32]`, `params_mut(&mut self) -> &mut [f32]` | all weights, in PyTorch's order |
/// | `infer(&self, &mut Workspace, &[Input], &mut [Output]) -> Result<(), Error>` | the outputs of a batch |
/// | `step(&mut self, &mut Workspace, &[Input], &[Target], &loss, &mut optimizer) -> Result<f32, Error>` | one step of training; the mean loss |
/// | `gradients(&self, &mut Workspace, &[Input], &[Target], &loss, &mut [f32]) -> Result<f32, Error>` | the gradient of the mean loss |
/// | `input_gradients(&self, &mut Workspace, &[Input], &[Target], &loss, &mut [Input]) -> Result<f32, Error>` | the derivative of each sample's loss by its input, if the spec says [`with gradient`](network::input_gradients) |
///
/// A loss is any [`Loss`] of the output; of several outputs a tuple of them, or what else is [`Losses`] of theirs.
///
/// A batch is a slice of any length. [`network`] has more to do with a model: [`tensors`](network::tensors) lists its weights by their
/// names, [`save_with`](network::save_with) writes them with texts of one's own, or as PyTorch's strict loading wants them.
///
/// # More files, and Rust
///
/// `use "specs/blocks.netspec";` in a page brings the blocks of another file; its path begins at the directory of `Cargo.toml`, too. A
/// layer can be a type of one's own: [`layer::Layer`] shows one.
///
/// # Errors and warnings
///
/// They are those of `netc check`, in the same words, and rustc underlines the place in the page, or the path. A warning is
/// the use of a deprecated constant, so `#[allow(deprecated)]` on the module around silences it.
#[cfg(feature = "macros")]
pub use netspec_macros::netspec;
