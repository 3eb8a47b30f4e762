//! Convolutions and linear layers: products of matrices, three passes each.

use super::names::size;
use super::{Emitter, PRODUCT_THREADS, Param, READ, THREADS, WRITE, batch, param};
use crate::emit::cuda::launches::{Arg, Grid, Step};
use crate::emit::cuda::source::Family;
use crate::ir::{Act, Conv, Kind, Linear, Order, TensorId};
use crate::layout::Layout;
use crate::schedule::{Call, Kernel, Operand};
use crate::target::{Class, NOMINAL_BATCH, PRODUCT_ROWS as ROWS, Target, product_columns as columns};

/// Blocks of a gradient's product, which is cut into parts along its sums if it has fewer: four for each multiprocessor of a large card.
const GRADIENT_BLOCKS: u64 = 528;

/// Terms of a sum that a part of it has at least, of a batch of so many samples.
const GRADIENT_TERMS: u64 = 128;

/// The same of the other products, whose parts another launch finishes; and how many these are at least, or there are none, and at most.
const BLOCKS: u64 = 264;
const TERMS: u64 = 64;
const FEWEST: u64 = 3;
const MOST: u64 = 16;

/// Taps along an axis of which a product's rows know which are in the map: `AXIS` in `conv.cuh`.
const TAPS: u64 = 10;

/// An op that is a product.
struct Product<'a> {
    layer: &'a str,
    /// The name of its sizes.
    g: String,
    sizes: Sizes,
    call: &'a Call,
    weight: TensorId,
    bias: Option<TensorId>,
}

/// A value that a product reads or writes: how it lies, and whether the channels of a position lie next to each other.
struct Map {
    text: String,
    is_packed: bool,
}

impl Emitter<'_> {
    pub(super) fn conv(&mut self, kind: &Kind, call: &Call, layer: &str, store: &str, written: &mut Vec<Step>) {
        let (reads, writes) = (&call.reads, &call.writes);
        let input =
            |this: &Self, operand: &Operand, conv: &Conv| this.value_map(operand, conv.channels, size(&conv.window));
        let output = |this: &Self, operand: &Operand, conv: &Conv| {
            this.value_map(operand, conv.out_channels, conv.window.positions())
        };
        let op = |this: &mut Self, conv: &Conv, weight: &TensorId, bias: Option<TensorId>| {
            let (g, sizes) = (this.conv_sizes(layer, conv), Sizes::of_conv(conv));
            Product { layer, g, sizes, call, weight: *weight, bias }
        };
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
                let op = op(self, conv, weight, *bias);
                self.product(&op, [&x, &y, &y], *act, (false, false), written);
            }
            Kind::ConvPool(conv, weight, bias, act) => {
                let x = input(self, &reads[0], conv);
                let y = self.value_map(&writes[0].0, conv.out_channels, conv.pool().positions());
                let op = op(self, conv, weight, *bias);
                self.product(&op, [&x, &y, &y], *act, (true, false), written);
            }
            Kind::ConvAdd(conv, weight, bias, act, order) => {
                let (x, y) = (input(self, &reads[0], conv), output(self, &writes[0].0, conv));
                let r = output(self, &reads[1], conv);
                let op = op(self, conv, weight, *bias);
                self.product(&op, [&x, &y, &r], *act, (false, *order == Order::Behind), written);
            }
            Kind::ConvTranspose(conv, weight, bias, act) => {
                let (dy, dx) = (output(self, &reads[0], conv), input(self, &writes[0].0, conv));
                let op = op(self, conv, weight, *bias);
                self.product_back(&op, [&dy, &dx, &dx], *act, store, written);
            }
            Kind::ConvGradInput(conv, weight) => {
                let (dy, dx) = (output(self, &reads[0], conv), input(self, &writes[0].0, conv));
                let y = reads.get(1).map(|y| input(self, y, conv));
                let op = op(self, conv, weight, None);
                self.product_back(&op, [&dy, &dx, y.as_ref().unwrap_or(&dx)], Act::None, store, written);
            }
            Kind::ConvGradWeight(conv, weight, bias) => {
                let (x, dy) = (input(self, &reads[0], conv), output(self, &reads[1], conv));
                let op = op(self, conv, weight, *bias);
                self.product_weights(&op, [&x, &dy], written);
            }
            _ => unreachable!("a convolution"),
        }
    }

    /// A linear layer, one way or the other.
    pub(super) fn linear_layer(&mut self, kind: &Kind, call: &Call, layer: &str, store: &str, written: &mut Vec<Step>) {
        let (reads, writes) = (&call.reads, &call.writes);
        let op = |this: &mut Self, linear: &Linear, lies: Option<&str>, weight: &TensorId, bias: Option<TensorId>| {
            let sizes = Sizes { is_permuted: lies.is_some(), ..Sizes::of_linear(linear) };
            Product { layer, g: this.linear(layer, linear, lies), sizes, call, weight: *weight, bias }
        };
        match kind {
            Kind::Linear(linear, weight, bias, act) => {
                let lies = self.permuted(&reads[0], linear).filter(|_| linear.inputs.is_multiple_of(4));
                let (x, y) = (self.features(&reads[0], linear, &lies), self.rows(&writes[0].0, linear.outputs));
                let op = op(self, linear, lies.as_deref(), weight, *bias);
                self.product(&op, [&x, &y, &y], *act, (false, false), written);
            }
            Kind::LinearGradInput(linear, weight) => {
                let (dy, dx) = (self.rows(&reads[0], linear.outputs), &writes[0].0);
                let is_alike =
                    |lies: &String| reads.get(1).is_none_or(|y| self.permuted(y, linear).as_ref() == Some(lies));
                let is_by_four = dy.is_packed && linear.outputs.is_multiple_of(4);
                let lies = self.permuted(dx, linear).filter(|lies| is_by_four && is_alike(lies));
                let dx = self.features(dx, linear, &lies);
                let y = reads.get(1).map(|y| self.features(y, linear, &lies));
                let op = op(self, linear, lies.as_deref(), weight, None);
                self.product_back(&op, [&dy, &dx, y.as_ref().unwrap_or(&dx)], Act::None, store, written);
            }
            Kind::LinearGradWeight(linear, weight, bias) => {
                let lies = self.permuted(&reads[0], linear);
                let (x, dy) = (self.features(&reads[0], linear, &lies), self.rows(&reads[1], linear.outputs));
                let op = op(self, linear, lies.as_deref(), weight, *bias);
                self.product_weights(&op, [&x, &dy], written);
            }
            _ => unreachable!("a linear layer"),
        }
    }

    /// How an operand lies whose elements are the features of a linear layer of one row, but in another order than PyTorch's.
    fn permuted(&self, operand: &Operand, linear: &Linear) -> Option<String> {
        let slot = &self.plan.schedule.slots[operand.slot.0 as usize];
        let is_whole = operand.part.is_none() && linear.rows == 1 && slot.len == linear.inputs;
        (is_whole && matches!(slot.layout, Layout::Last { .. })).then(|| self.slot(operand))
    }

    /// The inputs of a linear layer, or their gradients; of another order as they lie.
    fn features(&self, operand: &Operand, linear: &Linear, lies: &Option<String>) -> Map {
        match lies {
            Some(_) => Map { text: format!("First<{}, 1>", linear.inputs), is_packed: true },
            None => self.rows(operand, linear.inputs),
        }
    }

    fn rows(&self, operand: &Operand, features: u64) -> Map {
        let slot = &self.plan.schedule.slots[operand.slot.0 as usize];
        let is_packed = operand.part.is_none() && !matches!(slot.layout, Layout::Last { .. });
        Map { text: format!("Rows<{}, {features}>", self.lies(operand)), is_packed }
    }

    fn value_map(&self, operand: &Operand, channels: u64, positions: u64) -> Map {
        let slot = &self.plan.schedule.slots[operand.slot.0 as usize];
        let is_row = positions == 1 && operand.part.is_none() && slot.layout == Layout::Plain;
        let is_packed = is_row || self.is_last(operand, channels, positions);
        Map { text: self.map(operand, channels, positions), is_packed }
    }

    /// A weight for a product that copies four terms of its other factor at once, if it `fits`, and whether it is packed for that: in
    /// `conv.cuh` what `by_four` of `Unfolded` or `Spread` says, and `PACKED` of the weights.
    fn factor(&mut self, op: &Product<'_>, by_four: bool, back: bool) -> (Arg, bool) {
        let is_as_it_lies = !back && op.sizes.taps == 1 && !op.sizes.is_permuted && self.is_aligned(op.weight);
        match by_four && op.sizes.fits && !is_as_it_lies {
            true => (self.packed(op.layer, &op.g, op.weight, back), true),
            false => (self.weight(op.weight), by_four && is_as_it_lies),
        }
    }

    /// A convolution or linear layer, `(pool, behind)` saying whether a pool follows and whether a second read is added behind the
    /// nonlinearity.
    fn product(
        &mut self,
        op: &Product<'_>,
        [x, y, r]: [&Map; 3],
        act: Act,
        (pool, behind): (bool, bool),
        written: &mut Vec<Step>,
    ) {
        let Product { layer, g, sizes, call, .. } = op;
        let act = self.act(layer, act);
        let [from, to] = [&call.reads[0], &call.writes[0].0];
        let added = call.reads.get(1).map(|added| self.value(added));
        // Behind a pool the places of its maxima, else what a batch norm is to know.
        let second = call.writes.get(1).map(|(second, _)| self.value(second));
        let (places, moments) = if pool { (second, None) } else { (None, second) };
        let role = if pool { "pool" } else { "" };
        let maps = format!("{}, {}, {}, {act}", x.text, y.text, r.text);
        if sizes.is_depthwise {
            let params = vec![
                param(READ, "x", self.value(from)),
                param(READ, "weight", self.weight(op.weight)),
                param(READ, "bias", self.maybe_weight(op.bias)),
                param(READ, "added", added),
                param(WRITE, "y", self.value(to)),
                batch(),
            ];
            self.source.uses(Family::Depthwise);
            let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
            let function = format!("depthwise_forward<{g}, {maps}, {behind}>");
            return self.kernel(layer, role, &function, grid, THREADS, params, written);
        }
        let (weight, packed) = self.factor(op, x.is_packed && sizes.channels.is_multiple_of(4), false);
        let columns = columns(sizes.outputs);
        let rows = if pool { 4 * sizes.pooled } else { sizes.out_positions };
        let grid = Grid { y: sizes.outputs.div_ceil(columns), z: sizes.groups, ..Grid::of_samples(rows, ROWS) };
        let params = [
            param(READ, "x", self.value(from)),
            param(READ, "weight", weight),
            param(READ, "bias", self.maybe_weight(op.bias)),
            param(READ, "added", added),
            param(WRITE, "y", self.value(to)),
            param("u8 *", "places", places),
            param(WRITE, "moments", moments),
        ];
        let function = format!("conv_forward<{g}, {maps}, {pool}, {behind}, {columns}, {packed}");
        self.in_phases(layer, role, &function, grid, (sizes.taps * sizes.channels, columns), params.into(), written);
    }

    /// The gradient by the input, or a transposed convolution.
    fn product_back(
        &mut self,
        op: &Product<'_>,
        [dy, dx, y]: [&Map; 3],
        act: Act,
        store: &str,
        written: &mut Vec<Step>,
    ) {
        let Product { layer, g, sizes, call, .. } = op;
        let (act, back) = (self.act(layer, act), self.back(layer, call));
        let to = &call.writes[0].0;
        let params = |this: &Self, weight: Arg| {
            vec![
                param(READ, "dy", this.value(&call.reads[0])),
                param(READ, "weight", weight),
                param(READ, "bias", this.maybe_weight(op.bias)),
                param(READ, "y", call.reads.get(1).map(|y| this.value(y))),
                param(WRITE, "dx", this.value(to)),
            ]
        };
        let role = if matches!(call.kernel, Kernel::Op(Kind::ConvTranspose(..))) { "" } else { "input_back" };
        let maps = format!("{}, {}, {}, {act}, {back}, {store}", dy.text, dx.text, y.text);
        if sizes.is_depthwise {
            let params = params(self, self.weight(op.weight)).into_iter().chain([batch()]).collect();
            let function = format!("depthwise_grad_input<{g}, {maps}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid::of_samples(self.len(to), u64::from(THREADS));
            return self.kernel(layer, role, &function, grid, THREADS, params, written);
        }
        let by_four = dy.is_packed && sizes.outputs.is_multiple_of(4);
        let (weight, packed) = self.factor(op, by_four, true);
        let columns = columns(sizes.channels).min(most_columns(by_four));
        let grid = Grid {
            y: sizes.channels.div_ceil(columns),
            z: sizes.groups * sizes.classes,
            ..Grid::of_samples(sizes.of_class, ROWS)
        };
        let terms = sizes.taps.div_ceil(sizes.classes) * sizes.outputs;
        let function = format!("conv_grad_input<{g}, {maps}, {columns}, {packed}");
        let params = params(self, weight);
        self.in_phases(layer, role, &function, grid, (terms, columns), params, written);
    }

    /// A product of so many terms in blocks of so many columns; in two launches if it has few blocks and is cut into parts.
    #[allow(clippy::too_many_arguments)]
    fn in_phases(
        &mut self,
        layer: &str,
        role: &str,
        function: &str,
        grid: Grid,
        (terms, columns): (u64, u64),
        params: Vec<Param>,
        written: &mut Vec<Step>,
    ) {
        self.source.uses(Family::Conv);
        let Grid { of_sample: rows, y, z, .. } = grid;
        let blocks = (NOMINAL_BATCH * rows).div_ceil(ROWS) * y * z;
        let parts = (BLOCKS / blocks).min(terms / TERMS).min(MOST);
        let with = |mut params: Vec<Param>, parts: Option<Arg>| {
            params.extend([param(WRITE, "parts", parts), batch()]);
            params
        };
        if parts < FEWEST {
            let params = with(params, None);
            return self.kernel(layer, role, &format!("{function}>"), grid, PRODUCT_THREADS, params, written);
        }
        // A block keeps all its sums, those of rows that are not there, too.
        let of_row = parts * y * z * columns;
        self.scratch_for([ROWS * of_row, rows * of_row]);
        let phase = |phase: &str| format!("{function}, {phase}, {parts}>");
        let only = |is_given: fn(usize) -> bool| {
            let given = |(at, param): (usize, &Param)| Param {
                arg: param.arg.clone().filter(|_| is_given(at)),
                ..param.clone()
            };
            with(params.iter().enumerate().map(given).collect(), Some(Arg::Scratch(0)))
        };
        // The two factors, and what is done with the product.
        let (factors, others) = (only(|at| at < 2), only(|at| at >= 2));
        let of_parts = Grid { z: z * parts, ..grid };
        // A block finishes up to 16 of its columns.
        let of_columns = Grid { z: z * columns.div_ceil(16), ..grid };
        let sums = if role.is_empty() { "sums".to_owned() } else { format!("{role}_sums") };
        self.kernel(layer, &sums, &phase("SUMS"), of_parts, PRODUCT_THREADS, factors, written);
        self.kernel(layer, role, &phase("FINISH"), of_columns, PRODUCT_THREADS, others, written);
    }

    fn scratch_for(&mut self, floats: [u64; 2]) {
        self.scratch = [0, 1].map(|at| self.scratch[at].max(floats[at]));
    }

    /// The gradients by weight and bias.
    fn product_weights(&mut self, op: &Product<'_>, [x, dy]: [&Map; 2], written: &mut Vec<Step>) {
        let Product { layer, g, sizes, call, weight, bias } = op;
        let (of_weight, of_bias) = (self.gradient(*weight), bias.map(|bias| self.gradient(bias)));
        let values = |this: &Self| {
            let [x, dy] = [0, 1].map(|read| this.value(&call.reads[read]));
            vec![param(READ, "x", x), param(READ, "dy", dy)]
        };
        let gradients = || vec![param(WRITE, "of_weight", of_weight.clone()), param(WRITE, "of_bias", of_bias.clone())];
        let maps = format!("{g}, {}, {}", x.text, dy.text);
        if sizes.is_depthwise {
            let params = values(self).into_iter().chain(gradients()).chain([batch()]).collect();
            let function = format!("depthwise_grad_weight<{maps}>");
            self.source.uses(Family::Depthwise);
            let grid = Grid { y: sizes.taps + u64::from(bias.is_some()), ..Grid::fixed(sizes.groups, 1) };
            return self.kernel(layer, "weight_back", &function, grid, THREADS, params, written);
        }
        let most = most_columns(x.is_packed && sizes.channels.is_multiple_of(4));
        let (has_bias, columns) = (bias.is_some(), columns(sizes.outputs).min(most));
        let rows = sizes.taps * sizes.channels + u64::from(has_bias);
        let across = sizes.outputs.div_ceil(columns);
        let blocks = rows.div_ceil(ROWS) * across * sizes.groups;
        let terms = NOMINAL_BATCH * sizes.out_positions;
        let parts = (GRADIENT_BLOCKS / blocks).min(terms / GRADIENT_TERMS).max(1);
        let (whole, scratch) = match parts {
            1 => (gradients(), None),
            _ => (vec![param(WRITE, "of_weight", None), param(WRITE, "of_bias", None)], Some(Arg::Scratch(0))),
        };
        let params = values(self).into_iter().chain(whole).chain([param(WRITE, "parts", scratch), batch()]).collect();
        let grid = Grid { y: across, z: sizes.groups * parts, ..Grid::fixed(rows, ROWS) };
        let function = format!("conv_grad_weight<{maps}, {has_bias}, {parts}, {columns}>");
        self.source.uses(Family::Conv);
        self.kernel(layer, "weight_back", &function, grid, PRODUCT_THREADS, params, written);
        if parts > 1 {
            let len = sizes.groups * rows * sizes.outputs;
            self.scratch_for([parts * len, 0]);
            let params = [param(READ, "parts", Arg::Scratch(0))].into_iter().chain(gradients()).collect();
            let function = format!("add_parts<{g}, {has_bias}, {parts}>");
            self.kernel(layer, "weight_parts", &function, Grid::fixed(len, 32), THREADS, params, written);
        }
    }
}

/// The most columns of a block of a gradient's product: of rows whose terms come one by one a thread knows too much for all of them.
fn most_columns(by_four: bool) -> u64 {
    if by_four { 64 } else { 32 }
}

/// What blocks of products depend on, of one group.
struct Sizes {
    channels: u64,
    outputs: u64,
    groups: u64,
    taps: u64,
    /// Classes of inputs, by what remains of their coordinates by the stride, and how many of a sample the largest one has.
    classes: u64,
    of_class: u64,
    out_positions: u64,
    /// Positions behind a pool of 2 by 2.
    pooled: u64,
    is_depthwise: bool,
    /// Whether taps along each axis are few enough for rows to know them.
    fits: bool,
    /// Whether features lie in another order than PyTorch's.
    is_permuted: bool,
}

impl Sizes {
    fn of_conv(conv: &Conv) -> Sizes {
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
            fits: conv.window.kernel.iter().all(|&taps| taps <= TAPS),
            is_permuted: false,
        }
    }

    fn of_linear(linear: &Linear) -> Sizes {
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
            fits: true,
            is_permuted: false,
        }
    }
}
