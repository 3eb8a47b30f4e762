//! Kernels: what generated code calls. Each is a module with its geometry, a struct of literals, and safe functions on a
//! [`Tile`](crate::arena::Tile) or a [`Run`](crate::run::Run).
//!
//! A value is one sample's, in PyTorch's order or in planes as its view says, and has three spatial axes: those of 1-D and 2-D layers have
//! 1 in front. Weights are offsets into the parameters or their packed copies, gradients offsets into the tile's gradient (which a kernel
//! adds to), numbers of the batch offsets into its state. A kernel computes a sample's numbers the same way whatever samples share its
//! tile, and allocates nothing; but `conv`, whose products of matrices do.

pub mod activation;
pub mod avg_pool;
pub mod batch_norm;
pub mod conv;
pub(crate) mod convert;
pub mod curve;
pub mod custom;
pub mod direct;
pub mod dropout;
pub mod elementwise;
mod epilogue;
pub mod frame;
mod gemm;
mod grid;
pub mod group_norm;
mod lanes;
pub mod linear;
pub mod log_softmax;
mod math;
pub mod max_pool;
pub mod multiply;
#[cfg(test)]
mod naive;
pub mod permute;
mod planes;
pub mod resample;
pub mod shuffle;
pub mod softmax;
pub mod sparse;
#[cfg(test)]
pub(crate) mod testing;
mod transpose;
pub(crate) mod update;
mod windows;
pub mod winograd;

pub use activation::Act;
pub use curve::Curve;
pub use direct::depthwise;
pub use epilogue::Epilogue;

/// How many products of matrices the process has made; for the test that counts what a step allocates.
#[cfg(debug_assertions)]
#[doc(hidden)]
pub fn products() -> usize {
    gemm::PRODUCTS.load(std::sync::atomic::Ordering::Relaxed)
}

/// Whether a result replaces what is there or adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Replaces.
    Write,
    /// Adds.
    Add,
}

impl Store {
    /// Puts `values` into `to`.
    #[inline(always)]
    pub(crate) fn put(self, to: &mut [f32], values: impl Iterator<Item = f32>) {
        match self {
            Store::Write => to.iter_mut().zip(values).for_each(|(to, value)| *to = value),
            Store::Add => to.iter_mut().zip(values).for_each(|(to, value)| *to += value),
        }
    }

    /// Makes `to` ready for a kernel that only adds.
    pub(crate) fn begin(self, to: &mut [f32]) {
        if self == Store::Write {
            to.fill(0.0);
        }
    }
}
