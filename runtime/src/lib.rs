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
//! What is built so far is the proof, and the types it gives: [`Model::Input`], [`Model::Output`], [`joins`], [`samples`]. The
//! methods that would run a model return [`Error::NotBuilt`].

pub mod arena;
pub mod data;
mod error;
pub mod kernels;
mod model;
pub mod network;
pub mod pool;
pub mod random;
pub mod run;
mod sample;
pub mod weights;

pub use error::Error;
pub use model::{Loss, Model, Optimizer, Takes, joins};
pub use run::Workspace;
pub use sample::{Sample, samples};

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
/// ```ignore
/// netspec!("specs/net.yaml");
/// netspec!(pub(crate) Net2 = "specs/net.yaml");
/// netspec!(pub Deep100 = "specs/res_deep.yaml", n_blocks = 100);
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
///
/// A batch is a slice of any length.
///
/// # Errors and warnings
///
/// They are those of `netc check`, in the same words, and rustc underlines the place in the page, or the path. A warning is
/// the use of a deprecated constant, so `#[allow(deprecated)]` on the module around silences it.
#[cfg(feature = "macros")]
pub use netspec_macros::netspec;
