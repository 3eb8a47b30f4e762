//! Convolutions and linear layers: products of matrices, three passes each.

use super::names::size;
use super::{BLOCKS, Emitter, PART_TERMS, PRODUCT_THREADS, READ, THREADS, WRITE, batch, param};
use crate::emit::cuda::launches::{Arg, Grid, Step};
use crate::emit::cuda::source::Family;
use crate::ir::{Act, Conv, Kind, Linear, Order, TensorId};
use crate::schedule::{Call, Kernel, Operand};
use crate::target::{Class, NOMINAL_BATCH, PRODUCT_ROWS as ROWS, Target, product_columns as columns};

impl Emitter<'_> {
    pub(super) fn conv(&mut self, kind: &Kind, call: &Call, layer: &str, store: &str, written: &mut Vec<Step>) {
        let (reads, writes) = (&call.reads, &call.writes);
        let input = |this: &Self, operand: &Operand, conv: &Conv| this.map(operand, conv.channels, size(&conv.window));
        let output =
            |this: &Self, operand: &Operand, conv: &Conv| this.map(operand, conv.out_channels, conv.window.positions());
        match kind {
            Kind::GradBias(channels, bias) => {
                let dy = self.map(&reads[0], *channels, self.len(&reads[0]) / channels);
                let params = vec![
                    param(READ, "dy", self.value(&reads[0])),
                    param(WRITE, "of_bias", self.gradient(*bias)),
                    batch(),
                ];
                self.source.uses(Family::Conv);
                let grid = Grid::fixed(*channels, 1);
                self.kernel(layer, "bias_back", &format!("grad_bias<{dy}>"), grid, THREADS, params, written);
            }
            Kind::Conv(conv, weight, bias, act) => {
                let (x, y) = (input(self, &reads[0], conv), output(self, &writes[0].0, conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product(layer, &g, &sizes, [&x, &y, &y], *act, call, *weight, *bias, (false, false), written);
            }
            Kind::ConvPool(conv, weight, bias, act) => {
                let x = input(self, &reads[0], conv);
                let y = self.map(&writes[0].0, conv.out_channels, conv.pool().positions());
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product(layer, &g, &sizes, [&x, &y, &y], *act, call, *weight, *bias, (true, false), written);
            }
            Kind::ConvAdd(conv, weight, bias, act, order) => {
                let (x, y) = (input(self, &reads[0], conv), output(self, &writes[0].0, conv));
                let r = output(self, &reads[1], conv);
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                let behind = *order == Order::Behind;
                self.product(layer, &g, &sizes, [&x, &y, &r], *act, call, *weight, *bias, (false, behind), written);
            }
            Kind::ConvTranspose(conv, weight, bias, act) => {
                let (dy, dx) = (output(self, &reads[0], conv), input(self, &writes[0].0, conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product_back(layer, &g, &sizes, [&dy, &dx, &dx], *act, store, call, *weight, *bias, written);
            }
            Kind::ConvGradInput(conv, weight) => {
                let (dy, dx) = (output(self, &reads[0], conv), input(self, &writes[0].0, conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                let y = reads.get(1).map_or(dx.clone(), |y| input(self, y, conv));
                self.product_back(layer, &g, &sizes, [&dy, &dx, &y], Act::None, store, call, *weight, None, written);
            }
            Kind::ConvGradWeight(conv, weight, bias) => {
                let (x, dy) = (input(self, &reads[0], conv), output(self, &reads[1], conv));
                let (g, sizes) = (self.conv_sizes(layer, conv), Sizes::of_conv(conv));
                self.product_weights(layer, &g, &sizes, [&x, &dy], call, *weight, *bias, written);
            }
            _ => unreachable!("a convolution"),
        }
    }

    /// A convolution or linear layer, `(pool, behind)` saying whether a pool follows and whether a second read is added behind the
    /// nonlinearity.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn product(
        &mut self,
        layer: &str,
        g: &str,
        sizes: &Sizes,
        [x, y, r]: [&str; 3],
        act: Act,
        call: &Call,
        weight: TensorId,
        bias: Option<TensorId>,
        (pool, behind): (bool, bool),
        written: &mut Vec<Step>,
    ) {
        let act = self.act(layer, act);
        let [from, to] = [&call.reads[0], &call.writes[0].0];
        let added = call.reads.get(1).map(|added| self.value(added));
        // Behind a pool the places of its maxima, else what a batch norm is to know.
        let second = call.writes.get(1).map(|(second, _)| self.value(second));
        let (places, moments) = if pool { (second, None) } else { (None, second) };
        let role = if pool { "pool" } else { "" };
        let mut params = vec![
            param(READ, "x", self.value(from)),
            param(READ, "weight", self.weight(weight)),
            param(READ, "bias", self.maybe_weight(bias)),
            param(READ, "added", added),
            param(WRITE, "y", self.value(to)),
        ];
        if sizes.is_depthwise {
            params.push(batch());
            let function = format!("depthwise_forward<{g}, {x}, {y}, {r}, {act}, {behind}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
            return self.kernel(layer, role, &function, grid, THREADS, params, written);
        }
        params.extend([param("u8 *", "places", places), param(WRITE, "moments", moments), batch()]);
        let columns = columns(sizes.outputs);
        let rows = if pool { 4 * sizes.pooled } else { sizes.out_positions };
        let grid = Grid { y: sizes.outputs.div_ceil(columns), z: sizes.groups, ..Grid::of_samples(rows, ROWS) };
        let aligned = self.is_aligned(weight);
        let function = format!("conv_forward<{g}, {x}, {y}, {r}, {act}, {pool}, {behind}, {columns}, {aligned}>");
        self.source.uses(Family::Conv);
        self.kernel(layer, role, &function, grid, PRODUCT_THREADS, params, written);
    }

    /// The gradient by the input, or a transposed convolution.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn product_back(
        &mut self,
        layer: &str,
        g: &str,
        sizes: &Sizes,
        [dy, dx, y]: [&str; 3],
        act: Act,
        store: &str,
        call: &Call,
        weight: TensorId,
        bias: Option<TensorId>,
        written: &mut Vec<Step>,
    ) {
        let (act, back) = (self.act(layer, act), self.back(layer, call));
        let to = &call.writes[0].0;
        let params = vec![
            param(READ, "dy", self.value(&call.reads[0])),
            param(READ, "weight", self.weight(weight)),
            param(READ, "bias", self.maybe_weight(bias)),
            param(READ, "y", call.reads.get(1).map(|y| self.value(y))),
            param(WRITE, "dx", self.value(to)),
            batch(),
        ];
        let role = if matches!(call.kernel, Kernel::Op(Kind::ConvTranspose(..))) { "" } else { "input_back" };
        if sizes.is_depthwise {
            let function = format!("depthwise_grad_input<{g}, {dy}, {dx}, {y}, {act}, {back}, {store}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
            return self.kernel(layer, role, &function, grid, THREADS, params, written);
        }
        let columns = columns(sizes.channels);
        let grid = Grid {
            y: sizes.channels.div_ceil(columns),
            z: sizes.groups * sizes.classes,
            ..Grid::of_samples(sizes.of_class, ROWS)
        };
        let function = format!("conv_grad_input<{g}, {dy}, {dx}, {y}, {act}, {back}, {store}, {columns}>");
        self.source.uses(Family::Conv);
        self.kernel(layer, role, &function, grid, PRODUCT_THREADS, params, written);
    }

    /// The gradients by weight and bias.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn product_weights(
        &mut self,
        layer: &str,
        g: &str,
        sizes: &Sizes,
        [x, dy]: [&str; 2],
        call: &Call,
        weight: TensorId,
        bias: Option<TensorId>,
        written: &mut Vec<Step>,
    ) {
        let (of_weight, of_bias) = (self.gradient(weight), bias.map(|bias| self.gradient(bias)));
        let values = |this: &Self| {
            let [x, dy] = [0, 1].map(|read| this.value(&call.reads[read]));
            vec![param(READ, "x", x), param(READ, "dy", dy)]
        };
        let gradients = || vec![param(WRITE, "of_weight", of_weight.clone()), param(WRITE, "of_bias", of_bias.clone())];
        if sizes.is_depthwise {
            let params = values(self).into_iter().chain(gradients()).chain([batch()]).collect();
            let function = format!("depthwise_grad_weight<{g}, {x}, {dy}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid { y: sizes.taps + u64::from(bias.is_some()), ..Grid::fixed(sizes.groups, 1) };
            return self.kernel(layer, "weight_back", &function, grid, THREADS, params, written);
        }
        let (has_bias, columns) = (bias.is_some(), columns(sizes.outputs));
        let rows = sizes.taps * sizes.channels + u64::from(has_bias);
        let across = sizes.outputs.div_ceil(columns);
        let blocks = rows.div_ceil(ROWS) * across * sizes.groups;
        let terms = NOMINAL_BATCH * sizes.out_positions;
        let parts = (BLOCKS / blocks).min(terms / PART_TERMS).max(1);
        let (whole, scratch) = match parts {
            1 => (gradients(), None),
            _ => (vec![param(WRITE, "of_weight", None), param(WRITE, "of_bias", None)], Some(Arg::Scratch(0))),
        };
        let params = values(self).into_iter().chain(whole).chain([param(WRITE, "parts", scratch), batch()]).collect();
        let grid = Grid { y: across, z: sizes.groups * parts, ..Grid::fixed(rows, ROWS) };
        let function = format!("conv_grad_weight<{g}, {x}, {dy}, {has_bias}, {parts}, {columns}>");
        self.source.uses(Family::Conv);
        self.kernel(layer, "weight_back", &function, grid, PRODUCT_THREADS, params, written);
        if parts > 1 {
            let len = sizes.groups * rows * sizes.outputs;
            self.scratch = self.scratch.max(parts * len);
            let params = [param(READ, "parts", Arg::Scratch(0))].into_iter().chain(gradients()).collect();
            let function = format!("add_parts<{g}, {has_bias}, {parts}>");
            let grid = Grid::fixed(len, u64::from(THREADS));
            self.kernel(layer, "weight_parts", &function, grid, THREADS, params, written);
        }
    }
}

/// What blocks of products depend on, of one group.
pub(super) struct Sizes {
    pub(super) channels: u64,
    pub(super) outputs: u64,
    pub(super) groups: u64,
    pub(super) taps: u64,
    /// Classes of inputs, by what remains of their coordinates by the stride, and how many of a sample the largest one has.
    pub(super) classes: u64,
    pub(super) of_class: u64,
    pub(super) out_positions: u64,
    /// Positions behind a pool of 2 by 2.
    pub(super) pooled: u64,
    pub(super) is_depthwise: bool,
}

impl Sizes {
    pub(super) fn of_conv(conv: &Conv) -> Sizes {
        Sizes {
            channels: conv.channels / conv.groups,
            outputs: conv.out_channels / conv.groups,
            groups: conv.groups,
            taps: conv.window.taps(),
            classes: conv.window.stride.iter().product(),
            of_class: (0..3).map(|axis| conv.window.size[axis].div_ceil(conv.window.stride[axis])).product(),
            out_positions: conv.window.positions(),
            pooled: conv.pool().positions(),
            is_depthwise: Target::Cuda.conv(conv) == Class::Depthwise,
        }
    }

    pub(super) fn of_linear(linear: &Linear) -> Sizes {
        let Linear { rows, inputs, outputs } = *linear;
        Sizes {
            channels: inputs,
            outputs,
            groups: 1,
            taps: 1,
            classes: 1,
            of_class: rows,
            out_positions: rows,
            pooled: 0,
            is_depthwise: false,
        }
    }
}
