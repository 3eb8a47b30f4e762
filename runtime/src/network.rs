//! What generated code gives the runtime, and the runtime does with it: a model's steps, its weights, its files.

use crate::arena::View;
use crate::model::Model;
use crate::run::{Plan, Run};

/// A weight or statistic of a model, or all copies of it in a repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in a state dict, `*` for the index of each repeat around it: `resblocks.*.conv.weight`.
    pub name: &'static str,
    /// PyTorch's shape.
    pub shape: &'static [usize],
    /// Its first float in the parameters, or in the statistics.
    pub offset: usize,
    /// The repeats that `*` stands for, outermost first.
    pub repeats: &'static [Repeat],
    /// What it is filled with at first.
    pub fill: Fill,
    /// Whether it is a parameter; else a running statistic.
    pub trainable: bool,
}

/// A repeat around a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Its iterations.
    pub count: usize,
    /// Floats from one iteration's weight to the next one's; 0 when they are tied.
    pub stride: usize,
}

/// What a weight is filled with at first; the compiler worked the numbers out from the shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Every element the same.
    Constant(f32),
    /// Even between minus and plus this.
    Uniform(f32),
    /// Normal.
    Normal {
        /// The mean.
        mean: f32,
        /// The deviation.
        std: f32,
    },
}

/// What the compiler generates for a model, beside its types.
pub trait Network: Model {
    /// Its weights and statistics, in PyTorch's order.
    const TENSORS: &'static [Tensor];
    /// Floats of running statistics.
    const STATISTICS: usize;
    /// A number that changes with the spec's meaning.
    const SPEC_HASH: u64;
    /// Whether it normalises by its batch, so that a batch needs more than one value a channel: the least positions of such a layer.
    const BATCH_NORM_POSITIONS: Option<usize>;
    /// The memory of training.
    const TRAIN: Plan;
    /// The memory of inference.
    const INFER: Plan;
    /// Floats that inference reads in place of the parameters; 0 when it reads the parameters themselves.
    const PACKED: usize;
    /// Where training leaves the outputs, in the batch's memory.
    const TRAIN_OUTPUTS: &'static [View];
    /// Where inference leaves the outputs, in the batch's memory.
    const INFER_OUTPUTS: &'static [View];

    /// The weights.
    fn weights(&self) -> &crate::weights::Weights;
    /// The weights, to be changed.
    fn weights_mut(&mut self) -> &mut crate::weights::Weights;
    /// A model of these weights.
    fn with_weights(weights: crate::weights::Weights) -> Self;
    /// Forward as in training; leaves the outputs.
    fn forward(run: &mut Run<'_>);
    /// Forward, loss, backward.
    fn train(run: &mut Run<'_>);
    /// Forward as in inference; leaves the outputs.
    fn infer(run: &mut Run<'_>);
    /// Writes what inference reads in place of the parameters.
    fn pack(params: &[f32], statistics: &[f32], packed: &mut [f32]);
}
