//! Linear layers, on a tile and on a batch.

use netspec::arena::Tile;
use netspec::kernels::linear::{self, Linear};
use netspec::kernels::{Act, Store};
use netspec::run::Run;

use super::{Call, Kernel, Values, Work};

/// The three kernels of a linear layer, on a tile.
pub(super) fn linear(layer: &str, inputs: usize, outputs: usize) -> Vec<Kernel> {
    let linear = Linear { rows: 1, inputs, outputs };
    let mut values = Values::default();
    let [x, y] = [inputs, outputs].map(|len| values.plain(len));
    let weights = inputs * outputs;
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        params: weights + outputs,
        ..values.any(format!("linear::{pass}, {layer}"), Work::Flops(2 * weights), Call::Tile(call))
    };
    vec![
        kernel("forward", Box::new(move |t| linear::forward(t, &linear, x, 0, Some(weights), Act::None, y))),
        kernel("grad_input", Box::new(move |t| linear::grad_input(t, &linear, y, 0, x, Store::Write))),
        kernel("grad_weight", Box::new(move |t| linear::grad_weight(t, &linear, x, y, 0, Some(weights)))),
    ]
}

/// The three kernels that large linear layers have for the whole batch.
pub(super) fn linear_batch(layer: &str, inputs: usize, outputs: usize) -> Vec<Kernel> {
    let linear = Linear { rows: 1, inputs, outputs };
    let mut values = Values::default();
    let [x, y] = [inputs, outputs].map(|len| values.of_batch(len));
    let weights = inputs * outputs;
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Run<'_>) + Sync>| Kernel {
        params: weights + outputs,
        ..values.any(format!("linear::{pass}, {layer}"), Work::Flops(2 * weights), Call::Batch(call))
    };
    vec![
        kernel(
            "forward_batch",
            Box::new(move |run| linear::forward_batch(run, &linear, x, 0, Some(weights), Act::None, y)),
        ),
        Kernel {
            packed: linear::packed_len(&linear),
            pack: Box::new(move |p| linear::pack(p, &linear, 0, 0)),
            ..kernel(
                "forward_packed",
                Box::new(move |run| linear::forward_packed(run, &linear, x, 0, Some(weights), Act::None, y)),
            )
        },
        kernel("grad_input_batch", Box::new(move |run| linear::grad_input_batch(run, &linear, y, 0, x, Store::Write))),
        kernel(
            "grad_weight_batch",
            Box::new(move |run| linear::grad_weight_batch(run, &linear, x, y, 0, Some(weights), Store::Write)),
        ),
    ]
}
