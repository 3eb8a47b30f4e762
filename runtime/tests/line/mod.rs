//! A model written by hand as the compiler would write it: `y = w x + b`, three values to two.

use std::cell::Cell;

use netspec::Model;
use netspec::arena::{Parts, Tile, View};
use netspec::network::{self, Fill, Network, Tensor};
use netspec::run::{Fold, Plan, Run};
use netspec::weights::Weights;

thread_local! {
    /// How often this thread packed weights.
    pub(crate) static PACKED: Cell<usize> = const { Cell::new(0) };
}

/// `GRADIENTS` is the room for the gradient of a tile: the larger, the fewer tiles run at once.
#[derive(Clone, Debug)]
pub(crate) struct Line<const GRADIENTS: usize = 8> {
    weights: Weights,
}

const X: View = netspec::arena::tile(0, 3);
const DY: View = netspec::arena::tile(3, 2);
const Y: View = netspec::arena::batch(0, 2);

fn forward(tile: &mut Tile<'_>, b_sign: f32) {
    tile.load(0, X);
    let Parts { reads: [x], writes: [mut y], params, .. } = tile.parts([X], [Y]);
    let (w, b) = params.split_at(6);
    for sample in 0..x.samples() {
        for (out, y) in y.row(sample).iter_mut().enumerate() {
            let products = x.row(sample).iter().zip(&w[3 * out..]).map(|(x, w)| x * w);
            *y = products.sum::<f32>() + b_sign * b[out];
        }
    }
}

fn backward(tile: &mut Tile<'_>) {
    let Parts { reads: [x, dy], gradients, .. } = tile.parts([X, DY], []);
    let (dw, db) = gradients.split_at_mut(6);
    for sample in 0..x.samples() {
        for (out, dy) in dy.row(sample).iter().enumerate() {
            dw[3 * out..].iter_mut().zip(x.row(sample)).for_each(|(dw, x)| *dw += dy * x);
            db[out] += dy;
        }
    }
}

impl<const GRADIENTS: usize> Model for Line<GRADIENTS> {
    type Input = [f32; 3];
    type Output = [f32; 2];
    const NAME: &'static str = "Line";
    const PARAMETERS: usize = 8;
}

impl<const GRADIENTS: usize> Network for Line<GRADIENTS> {
    const TENSORS: &'static [Tensor] = &[
        Tensor {
            name: "linear1.weight",
            shape: &[2, 3],
            offset: 0,
            repeats: &[],
            fill: Fill::Uniform(0.577),
            trainable: true,
        },
        Tensor {
            name: "linear1.bias",
            shape: &[2],
            offset: 6,
            repeats: &[],
            fill: Fill::Constant(0.5),
            trainable: true,
        },
    ];
    const STATISTICS: usize = 0;
    const SPEC_HASH: u64 = 1;
    const BATCH_NORM_POSITIONS: Option<usize> = None;
    const TRAIN: Plan = Plan { tile: 5, batch: 2, state: 0, scratch: 0, packed: 0, gradients: GRADIENTS };
    const INFER: Plan = Plan { gradients: 0, ..Self::TRAIN };
    const FOLDED: usize = 8;
    const FORWARD: Plan = Self::TRAIN;
    const FORWARD_OUTPUTS: &'static [View] = &[Y];
    const INFER_OUTPUTS: &'static [View] = &[Y];

    fn weights(&self) -> &Weights {
        &self.weights
    }
    fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }
    fn with_weights(weights: Weights) -> Self {
        Self { weights }
    }
    fn forward(run: &mut Run<'_>) {
        run.stage(&[], |tile| forward(tile, 1.0));
    }
    fn train(run: &mut Run<'_>) {
        run.stage(&[Fold { from: 0, to: 0, len: 8 }], |tile| {
            forward(tile, 1.0);
            tile.loss(Y, DY);
            backward(tile);
        });
    }
    fn infer(run: &mut Run<'_>) {
        run.stage(&[], |tile| forward(tile, -1.0));
    }
    /// The bias negated, so that a test sees who reads what.
    fn fold(params: &[f32], _: &[f32], packed: &mut [f32]) {
        PACKED.set(PACKED.get() + 1);
        packed.copy_from_slice(params);
        packed[6..].iter_mut().for_each(|b| *b = -*b);
    }
}

#[allow(dead_code)]
impl<const GRADIENTS: usize> Line<GRADIENTS> {
    pub(crate) fn new(seed: u64) -> Self {
        network::new(seed)
    }
    pub(crate) fn params(&self) -> &[f32] {
        self.weights.params()
    }
    pub(crate) fn params_mut(&mut self) -> &mut [f32] {
        self.weights.params_mut()
    }
}

/// Inputs that differ, and targets that are lines of them.
#[allow(dead_code)]
pub(crate) fn data(samples: usize) -> (Vec<[f32; 3]>, Vec<[f32; 2]>) {
    let inputs: Vec<[f32; 3]> = (0..samples).map(|sample| [1.0, 2.0, 3.0].map(|k| (k * sample as f32).sin())).collect();
    let targets = inputs.iter().map(|[a, b, c]| [a - b + 1.0, 0.5 * c - 2.0]).collect();
    (inputs, targets)
}
