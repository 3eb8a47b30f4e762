//! A model for a graphics card, as the compiler writes it: one CUDA C++ text and the launches of its kernels, in order. Plain data: nothing
//! here knows a driver.
//!
//! # Memory
//!
//! All of it is f32 unless an [`Arg`] says otherwise, and all of it belongs to who runs the program:
//!
//! - the model's own: parameters, their gradients and running statistics, each flat, in the order of [`Network`];
//! - of each pass: an arena of `batch * Pass::arena` floats, in which values lie for the whole batch; scratch; state and folded weights,
//!   whose sizes do not depend on the batch;
//! - of a batch: its inputs in PyTorch's order, labels or targets, the losses of its samples, a few numbers.
//!
//! A value of the whole batch at offset `o` of the arena begins `o * batch` floats into it: offsets are given for one sample. They are
//! multiples of 16, so that every value begins at a multiple of 64 bytes. Nothing relies on what memory held before, but for parameters
//! and statistics, and for gradients, which [`Step::ClearGradients`] clears.
//!
//! # The text
//!
//! It includes nothing, so that NVRTC compiles it alone, and takes one macro: `PRECISION`, 0 for products in f32 (the default), 1 in tf32,
//! 2 in bf16; sums are in f32. All kernels are `extern "C"`. Launches are the same whatever the precision.
//!
//! [`Network`]: crate::network::Network

use crate::network::Network;

/// A model that can run on a graphics card.
pub trait OnDevice: Network {
    /// Its kernels and launches; or which layer has none, and why.
    const PROGRAM: Result<Program, &'static str>;
}

/// A model's kernels and launches.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// CUDA C++.
    pub source: &'static str,
    /// Floats of a sample of each input.
    pub inputs: &'static [usize],
    /// The model's outputs.
    pub outputs: &'static [Output],
    /// Forward, loss and backward, as in training. The gradient of the mean loss is in the gradients then.
    pub train: Pass,
    /// Forward as in training; [`Pass::NONE`] for a model that is not evaluated so.
    pub forward: Pass,
    /// Forward as in inference.
    pub infer: Pass,
    /// Forward as in inference, loss, backward to the inputs; [`Pass::NONE`] for a model whose spec asks for none.
    pub input_gradients: Pass,
}

/// An output of a model, for its loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Floats of a sample.
    pub len: usize,
    /// Classes, if it has scores for them: its first dimension.
    pub classes: usize,
    /// Labels of a sample: `len / classes`.
    pub positions: usize,
}

/// One pass over a batch.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Floats of the arena for each sample.
    pub arena: usize,
    /// Floats of scratch, so many and so many for each sample: a kernel's sums of parts, which the next launch reads.
    pub scratch: (usize, usize),
    /// Floats of state: means of the batch and the like, which forward leaves for backward, and weights in the order of products.
    pub state: usize,
    /// Floats of folded weights: what it reads in place of parameters and statistics, or beside them in the order of products. 0 when it
    /// reads those themselves.
    pub folded: usize,
    /// Makes the folded weights; to be run whenever parameters or statistics have changed. It reads nothing of a batch.
    pub fold: &'static [Step],
    /// The pass.
    pub steps: &'static [Step],
    /// Where it leaves the outputs, or the gradients of inputs: the first float for one sample in the arena, and floats of a sample, in
    /// PyTorch's order. None of training.
    pub results: &'static [(usize, usize)],
}

impl Pass {
    /// A pass that a model does not have.
    pub const NONE: Pass = Pass { arena: 0, scratch: (0, 0), state: 0, folded: 0, fold: &[], steps: &[], results: &[] };
}

/// A step of a pass.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A kernel.
    Launch(Launch),
    /// Zeros for all gradients.
    ClearGradients,
    /// The loss of an output: the kernel of the loss that is wanted, by its kind.
    Loss(&'static [(LossKind, Launch)]),
    /// Steps again and again.
    Loop {
        /// Iterations.
        count: usize,
        /// From the last to the first.
        reversed: bool,
        /// What each runs.
        body: &'static [Step],
    },
}

/// A kernel's launch.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Its name in the text.
    pub kernel: &'static str,
    /// Its blocks.
    pub grid: Grid,
    /// Threads of a block, in one dimension.
    pub threads: u32,
    /// What it is given, in the order of its parameters.
    pub args: &'static [Arg],
}

/// Blocks of a launch: `ceil((fixed + of_sample * batch) / per_block)` in the first dimension, never 0, and those of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Items that do not depend on the batch.
    pub fixed: u64,
    /// Items of each sample.
    pub of_sample: u64,
    /// Items of a block.
    pub per_block: u64,
    /// Blocks of the second dimension.
    pub y: u32,
    /// Blocks of the third dimension.
    pub z: u32,
}

impl Grid {
    /// Blocks for a batch of so many samples.
    ///
    /// ```
    /// use netspec::cuda::program::Grid;
    ///
    /// let grid = Grid { fixed: 0, of_sample: 100, per_block: 256, y: 2, z: 1 };
    /// assert_eq!(grid.blocks(64), [25, 2, 1]);
    /// ```
    pub const fn blocks(&self, batch: u64) -> [u64; 3] {
        let blocks = (self.fixed + self.of_sample * batch).div_ceil(self.per_block);
        [if blocks == 0 { 1 } else { blocks }, self.y as u64, self.z as u64]
    }
}

/// A number that depends on the iterations of the loops around: `first + sum of strides[depth] * iteration[depth]`, the outermost loop's
/// stride first. There may be fewer strides than loops; what is missing is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strided {
    /// That of the first iterations.
    pub first: u64,
    /// What each iteration of each loop adds.
    pub strides: &'static [u64],
}

impl Strided {
    /// The number at these iterations, the outermost loop's first.
    ///
    /// ```
    /// use netspec::cuda::program::Strided;
    ///
    /// assert_eq!(Strided { first: 896, strides: &[9_280] }.at(&[2, 7]), 896 + 2 * 9_280);
    /// ```
    pub fn at(&self, iterations: &[u64]) -> u64 {
        self.first + self.strides.iter().zip(iterations).map(|(stride, iteration)| stride * iteration).sum::<u64>()
    }
}

/// What a kernel is given: pointers to memory on the device, but for those that say `u32`, `u64` or `f32`, which are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A value of the batch in the arena: `batch *` this many floats from its beginning.
    Value(Strided),
    /// Parameters from this float on.
    Params(Strided),
    /// Gradients of parameters from this float on.
    Gradients(Strided),
    /// Running statistics from this float on.
    Statistics(Strided),
    /// Folded weights from this float on.
    Folded(Strided),
    /// State from this float on.
    State(Strided),
    /// Scratch from this float on.
    Scratch(u64),
    /// A batch of an input, by its number: `[batch][floats of a sample]`, in PyTorch's order.
    Input(usize),
    /// `u32`: samples of the batch.
    Batch,
    /// `u64`: a key of random numbers.
    Key(Strided),
    /// Two `u64` on the device, seed and step of what random numbers follow from: `Draw`.
    Draw,
    /// `u32`: 1 if running statistics are to change, as in a step; 0 if not, as in `gradients`.
    Updates,
    /// Labels of an output, by its number: `u32`, `[batch][positions]`.
    Labels(usize),
    /// Targets of an output, by its number: `[batch][floats of a sample]`, in PyTorch's order.
    Targets(usize),
    /// What part of the loss of each sample is that to its own target: `[batch]`. The rest is that to another one (mixup), which stands behind
    /// those of the batch: labels and targets are `[2][batch]` then. The null pointer where each sample has one target.
    Shares,
    /// Weights of the loss of an output: of its classes, or of a yes for each of its floats. The null pointer if all are 1.
    LossWeights(usize),
    /// `f32`: the number of the loss of an output, which [`LossKind`] has.
    LossNumber(usize),
    /// An `f32` on the device: what the losses of an output and their derivatives are multiplied with: `scale / total`, the total being
    /// what samples count together. In `input_gradients` the scale alone.
    LossFactor(usize),
    /// The losses of an output: `[batch]`, each multiplied with its factor. Their sum over samples and outputs is the mean loss.
    Losses(usize),
}

/// A loss that has a kernel, and what its [`Arg::LossNumber`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossKind {
    /// None: derivatives and losses are 0.
    None,
    /// `CrossEntropy`: how much of a label is spread over all classes.
    CrossEntropy,
    /// `Nll`: no number.
    Nll,
    /// `Mse`: no number.
    Mse,
    /// `L1`: no number.
    L1,
    /// `SmoothL1`: its beta.
    SmoothL1,
    /// `Huber`: its delta.
    Huber,
    /// `BceWithLogits`: what a yes weighs, if there is no weight for each float.
    BceWithLogits,
}

/// Kernels over flat memory that every text has, for what follows a pass. Each has 256 threads a block, and a thread for each of `count`
/// floats unless it says otherwise. `numbers` are f32 on the device, so that a captured step can be replayed with others.
pub mod flat {
    /// Threads of a block.
    pub const THREADS: u32 = 256;

    /// Blocks of [`SUMS`], and pairs that it writes.
    pub const SUM_BLOCKS: u32 = 256;

    /// `(float *sum, const float *x, u32 count, f32 factor)`: `sum += factor x`.
    pub const GATHER: &str = "gather";

    /// `(float *x, u32 count, f32 factor)`: `x *= factor`.
    pub const SCALE: &str = "scale";

    /// `(const float *params, float *gradients, u32 count, f32 l1, f32 l2)`: `gradients += l1 sign(params) + l2 params`: the gradient of a
    /// penalty whose factor of squares is half of l2.
    pub const PENALIZE: &str = "penalize";

    /// `(float *x, u32 count, f32 most)`: x between minus and plus `most`; NaN stays.
    pub const LIMIT: &str = "limit";

    /// `(const float *x, u32 count, double *sums)`, in [`SUM_BLOCKS`] blocks: `sums[2 b]` and `sums[2 b + 1]` become block b's parts of the
    /// sums of `|x|` and of `x^2`.
    pub const SUMS: &str = "sums";

    /// `(float *x, u32 count, const double *sums, u32 pairs, f32 most)`: x scaled so that its norm is at most `most`, as
    /// [`Clip::Norm`](crate::Clip::Norm). The sums are those that [`SUMS`] wrote, of all that is clipped together: `pairs` of them.
    pub const CLIP: &str = "clip";

    /// `(float *params, const float *gradients, u32 count, const float *numbers)`: [`Sgd`](crate::Sgd) without momentum. Numbers: lr,
    /// weight decay.
    pub const DESCEND: &str = "descend";

    /// `(float *params, const float *gradients, float *velocity, u32 count, const float *numbers)`: [`Sgd`](crate::Sgd) with momentum.
    /// Numbers: lr, weight decay, momentum, what is taken of the gradient (1 at the first step, then 1 - dampening), 1 if nesterov.
    pub const DESCEND_WITH_MOMENTUM: &str = "descend_with_momentum";

    /// `(float *params, const float *gradients, float *means, float *squares, u32 count, const float *numbers)`:
    /// [`Adam`](crate::Adam) and [`AdamW`](crate::AdamW). Numbers: `lr / (1 - beta1^t)`, `sqrt(1 - beta2^t)`, eps, what is added to the
    /// gradient for each unit of a parameter, what is kept of a parameter, beta2, 1 - beta1, 1 - beta2.
    pub const ADAPT: &str = "adapt";

    /// `(float *params, const float *gradients, float *squares, float *means, float *velocity, u32 count, const float *numbers)`:
    /// [`RmsProp`](crate::RmsProp); means or velocity are null if it is not centred or has no momentum. Numbers: lr, weight decay, eps,
    /// alpha, 1 - alpha, momentum.
    pub const SCALE_BY_ROOT: &str = "scale_by_root";

    /// Numbers of a loss, f64 on the device: the last one; the sum of all since that was last cleared, up to the first that is no finite
    /// number; how many those are; and what penalties add to the next one.
    pub const LOSS: usize = 4;

    /// `(const double *sums, f32 l1, f32 l2, double *loss)`, one block: `loss[3]` grows by what a penalty adds to the loss. The sums are
    /// those that [`SUMS`] wrote, of what it is on.
    pub const ADD_PENALTY: &str = "add_penalty";

    /// `(const float *losses, u32 count, double *loss)`, one block: `loss[0]` becomes the sum of the losses and `loss[3]`, which becomes 0;
    /// `loss[1]` grows by it and `loss[2]` by 1, unless `loss[1]` is no finite number.
    pub const ADD_UP: &str = "add_up";
}
