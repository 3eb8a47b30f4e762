//! Models on graphics cards: NVIDIA's, by the driver that the machine has and by NVRTC, which compiles a model's kernels when they are
//! first used. (With the feature `cuda`.)
//!
//! [`Workspace::on`](crate::Workspace::on) is a workspace on a card, and everything else stays as it is: a model's weights go over to the
//! card when it first runs there, and come back when they are read, saved or run on the processor. That is PyTorch's `map_location`:
//! what was trained on one device is loaded on any other.
//!
//! A training step is a list of calls of the driver, the same for each batch of a size, which is captured once and then told to the card
//! as one graph. What differs from step to step, the learning rate and what random numbers follow from, the kernels read from the card's
//! memory.
//!
//! - `card.rs`: whether there is a card, and memory on it; `nvrtc.rs`: the compiler, found and called; `cache.rs`: what it made, kept.
//! - `program.rs`: what the compiler of specs writes: kernels and launches. `kernels.rs` loads the one, `engine.rs` makes lists of calls of
//!   the other, `calls.rs` tells them to the card. `update.rs`: optimizers. `records.rs`: data sets that the card has. `measured.rs`: for
//!   programs that measure.
//!
//! A driver must know CUDA 12.0, NVRTC be of it, and a card have compute capability 8.0.

mod cache;
mod calls;
mod card;
mod engine;
mod kernels;
mod measured;
mod nvrtc;
pub mod program;
mod records;
#[cfg(all(test, feature = "trainer"))]
pub(crate) mod testing;
mod update;

pub use calls::Played;
pub use card::count;
pub(crate) use card::{Buffer, Card};
#[cfg(feature = "trainer")]
pub(crate) use engine::tell_step;
pub(crate) use engine::{CardBatch, Engine, forward, gradients, input_gradients, step};
pub use engine::{CardLoss, Targets};
pub use kernels::options;
pub use measured::Measured;
pub use nvrtc::{Compiled, FOLDER, Nvrtc};
pub(crate) use records::Inputs;
#[cfg(feature = "trainer")]
pub(crate) use records::{Change, Records, changes};
pub use update::{CardOptimizer, Update};
