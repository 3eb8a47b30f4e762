//! Convolution (cross-correlation) of 1 to 3 axes: columns of inputs, then a product of matrices for each sample and group.

use std::ops::Range;

use crate::arena::{Parts, Tile, View};
use crate::kernels::gemm::{Matrix, MatrixMut, multiply};
use crate::kernels::{Act, Store, direct, math};
use crate::layout::Layout;

/// Output positions whose columns are made at once: bounds the memory, and keeps them near for the product.
const BLOCK: usize = 1024;

/// A convolution's geometry. The weight is `[out_channels][channels / groups][kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Channels of the input.
    pub channels: usize,
    /// Size of the input.
    pub size: [usize; 3],
    /// Channels of the output.
    pub out_channels: usize,
    /// Size of the output.
    pub out_size: [usize; 3],
    /// Size of the kernel.
    pub kernel: [usize; 3],
    /// Inputs from one output's window to the next one's.
    pub stride: [usize; 3],
    /// Zeros on each side.
    pub padding: [usize; 3],
    /// Inputs from one tap to the next.
    pub dilation: [usize; 3],
    /// Parts of the channels that see nothing of each other.
    pub groups: usize,
}

/// Outputs `at..at + len` of a block: of them, `reach` read inputs by one row of the columns, the first of them input `from`, the others
/// a stride apart; the rest read zeros, and so do those in `reach` that lie in gaps.
struct Stretch {
    row: usize,
    at: usize,
    len: usize,
    reach: Range<usize>,
    from: usize,
    gaps: Gaps,
}

/// Outputs of a stretch of several lines that read the padding beside a line: `len` of them from output `first` of the plane on, and again
/// each `width`. The stretch begins at output `begin`.
#[derive(Clone, Copy)]
struct Gaps {
    begin: usize,
    first: usize,
    len: usize,
    width: usize,
}

impl Gaps {
    const NONE: Gaps = Gaps { begin: 0, first: 0, len: 0, width: 1 };

    /// Writes zeros into the gaps inside a stretch's `reach`.
    #[inline(always)]
    fn clear(self, reach: &Range<usize>, stretch: &mut [f32]) {
        if self.len > 0 {
            let (low, high) = (self.begin + reach.start, self.begin + reach.end);
            for gap in (self.first..high).step_by(self.width) {
                stretch[gap.max(low) - self.begin..(gap + self.len).min(high) - self.begin].fill(0.0);
            }
        }
    }
}

impl Conv {
    /// Floats of scratch that each function needs: `(channels / groups) * taps * min(positions, 1024)`, where taps is the product of
    /// `kernel`, and positions that of `out_size`.
    pub const fn scratch(&self) -> usize {
        let positions = self.positions();
        self.depth() * if positions < BLOCK { positions } else { BLOCK }
    }

    const fn positions(&self) -> usize {
        self.out_size[0] * self.out_size[1] * self.out_size[2]
    }

    /// Inputs of one output: rows of the columns.
    const fn depth(&self) -> usize {
        self.channels / self.groups * self.kernel[0] * self.kernel[1] * self.kernel[2]
    }

    /// Inputs of one group.
    const fn group_inputs(&self) -> usize {
        self.channels / self.groups * self.size[0] * self.size[1] * self.size[2]
    }

    /// Whether the input is its own columns.
    fn pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.padding == [0; 3]
    }

    /// The blocks of output positions: the first and the number of each.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let positions = self.positions();
        // A product that needs no columns needs no blocks.
        let len = if self.pointwise() { positions } else { BLOCK };
        (0..positions).step_by(len).map(move |first| (first, len.min(positions - first)))
    }

    /// The input that output `out` reads by `tap`, along an axis.
    fn input(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        let input = (out * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.padding[axis])?;
        (input < self.size[axis]).then_some(input)
    }

    /// The outputs that read an input, not padding, by `tap` along an axis.
    fn reach(&self, axis: usize, tap: usize) -> Range<usize> {
        let [stride, padding, shift] = [self.stride[axis], self.padding[axis], tap * self.dilation[axis]];
        let end = (self.size[axis] + padding).saturating_sub(shift).div_ceil(stride).min(self.out_size[axis]);
        padding.saturating_sub(shift).div_ceil(stride).min(end)..end
    }

    /// Gives `each` all stretches of `count` output positions from `first` on, by row of the columns.
    #[inline(always)]
    fn stretches(&self, first: usize, count: usize, mut each: impl FnMut(Stretch)) {
        let [_, kernel_lines, kernel_width] = self.kernel;
        let taps = self.kernel[0] * kernel_lines * kernel_width;
        for row in 0..self.depth() {
            let (channel, tap) = (row / taps, row % taps);
            let tap = [tap / (kernel_lines * kernel_width), tap / kernel_width % kernel_lines, tap % kernel_width];
            if self.stride == [1; 3] && self.out_size == self.size {
                self.planes(row, channel, tap, first, count, &mut each);
            } else {
                self.lines(row, channel, tap, first, count, &mut each);
            }
        }
    }

    /// The stretches of one row, each in a line of the output.
    #[inline(always)]
    fn lines(
        &self,
        row: usize,
        channel: usize,
        tap: [usize; 3],
        first: usize,
        count: usize,
        each: &mut impl FnMut(Stretch),
    ) {
        let [_, out_lines, out_width] = self.out_size;
        let [size_depth, size_lines, size_width] = self.size;
        let reach = self.reach(2, tap[2]);
        let mut column = first % out_width;
        let mut line = first / out_width % out_lines;
        let mut depth = first / out_width / out_lines;
        let mut at = 0;
        while at < count {
            let len = (out_width - column).min(count - at);
            let mut stretch = Stretch { row, at, len, reach: 0..0, from: 0, gaps: Gaps::NONE };
            if let (Some(d), Some(h)) = (self.input(0, depth, tap[0]), self.input(1, line, tap[1])) {
                let clip = |out: usize| out.clamp(column, column + len);
                let (low, high) = (clip(reach.start), clip(reach.end));
                if low < high {
                    let w = low * self.stride[2] + tap[2] * self.dilation[2] - self.padding[2];
                    stretch.reach = low - column..high - column;
                    stretch.from = ((channel * size_depth + d) * size_lines + h) * size_width + w;
                }
            }
            each(stretch);
            at += len;
            column = 0;
            line += 1;
            if line == out_lines {
                line = 0;
                depth += 1;
            }
        }
    }

    /// The stretches of one row when the output has the input's size: whole planes of lines, which a tap only shifts.
    #[inline(always)]
    fn planes(
        &self,
        row: usize,
        channel: usize,
        tap: [usize; 3],
        first: usize,
        count: usize,
        each: &mut impl FnMut(Stretch),
    ) {
        let [depths, lines, width] = self.size;
        let plane = lines * width;
        let (reach_lines, reach) = (self.reach(1, tap[1]), self.reach(2, tap[2]));
        let mut at = 0;
        while at < count {
            // Outputs `begin..begin + len` of the plane.
            let (depth, begin) = ((first + at) / plane, (first + at) % plane);
            let len = (plane - begin).min(count - at);
            let mut stretch = Stretch { row, at, len, reach: 0..0, from: 0, gaps: Gaps::NONE };
            if let Some(d) = self.input(0, depth, tap[0])
                && !reach_lines.is_empty()
                && !reach.is_empty()
            {
                let low = (reach_lines.start * width + reach.start).max(begin);
                let high = ((reach_lines.end - 1) * width + reach.end).min(begin + len);
                if low < high {
                    let shift = |axis: usize| tap[axis] * self.dilation[axis];
                    let source = low + shift(1) * width + shift(2) - self.padding[1] * width - self.padding[2];
                    stretch.reach = low - begin..high - begin;
                    stretch.from = (channel * depths + d) * plane + source;
                    // What is behind one line's reach and before the next one's; the first gap that ends behind `low`.
                    let first = (low - reach.start) / width * width + reach.end;
                    stretch.gaps = Gaps { begin, first, len: width - reach.len(), width };
                }
            }
            each(stretch);
            at += len;
        }
    }

    /// Writes the columns of one group's input `x`: `[depth][count]`, what each output reads by each channel and tap.
    fn gather(&self, x: &[f32], first: usize, count: usize, columns: &mut [f32]) {
        self.stretches(first, count, |Stretch { row, at, len, reach, from, gaps }| {
            let stretch = &mut columns[row * count + at..][..len];
            stretch[..reach.start].fill(0.0);
            stretch[reach.end..].fill(0.0);
            let to = &mut stretch[reach.clone()];
            match self.stride[2] {
                1 => to.copy_from_slice(&x[from..][..to.len()]),
                stride => to.iter_mut().zip(x[from..].iter().step_by(stride)).for_each(|(to, x)| *to = *x),
            }
            gaps.clear(&reach, stretch);
        });
    }

    /// Adds columns back to where [`Conv::gather`] found them.
    fn scatter(&self, columns: &mut [f32], first: usize, count: usize, x: &mut [f32]) {
        self.stretches(first, count, |Stretch { row, at, len, reach, from, gaps }| {
            let stretch = &mut columns[row * count + at..][..len];
            gaps.clear(&reach, stretch);
            let columns = &stretch[reach];
            match self.stride[2] {
                1 => x[from..].iter_mut().zip(columns).for_each(|(x, value)| *x += value),
                stride => x[from..].iter_mut().step_by(stride).zip(columns).for_each(|(x, value)| *x += value),
            }
        });
    }

    /// The columns of `count` outputs from `first` on, of one group's input.
    fn columns<'a>(&self, x: &'a [f32], first: usize, count: usize, scratch: &'a mut [f32]) -> Matrix<'a> {
        let depth = self.depth();
        if self.pointwise() {
            return Matrix::new(x, depth, count, count);
        }
        let columns = &mut scratch[..depth * count];
        self.gather(x, first, count, columns);
        Matrix::new(columns, depth, count, count)
    }

    fn check(&self, x: View, y: View) {
        assert_eq!(x.len, self.groups * self.group_inputs(), "the input is [channels][size]");
        assert_eq!(y.len, self.out_channels * self.positions(), "the output is [out_channels][out_size]");
        assert!(self.out_channels.is_multiple_of(self.groups), "groups have as many channels each");
    }
}

/// `y = act(x * weight + bias)`: for each output channel o of group g and position p,
/// `y[o][p] = act(bias[o] + sum over c, tap of weight[o][c][tap] x[g c][p stride + tap dilation - padding])`.
pub fn forward(t: &mut Tile<'_>, conv: &Conv, x: View, weight: usize, bias: Option<usize>, act: Act, y: View) {
    conv.check(x, y);
    let act = act.of(t.numerics);
    let (positions, depth, out) = (conv.positions(), conv.depth(), conv.out_channels / conv.groups);
    let Parts { reads: [x], writes: [mut y], params, scratch, isa, .. } = t.parts([x], [y]);
    for sample in 0..x.samples() {
        let (x, y) = (x.row(sample), y.row(sample));
        if let Some(bias) = bias {
            let bias = &params[bias..][..conv.out_channels];
            y.chunks_exact_mut(positions).zip(bias).for_each(|(y, &bias)| y.fill(bias));
        }
        let store = if bias.is_some() { Store::Add } else { Store::Write };
        let groups = x.chunks_exact(conv.group_inputs()).zip(y.chunks_exact_mut(out * positions));
        for (group, (x, y)) in groups.enumerate() {
            let weight = &params[weight + group * out * depth..][..out * depth];
            for (first, count) in conv.blocks() {
                let columns = conv.columns(x, first, count, scratch);
                let y = MatrixMut::new(&mut y[first..], out, count, positions);
                multiply(Matrix::new(weight, out, depth, depth), columns, store, y);
            }
        }
        act.apply(isa, y);
    }
}

/// `dx[c][i] = sum over o, p, tap with i = p stride + tap dilation - padding of weight[o][c][tap] dy[o][p]`.
pub fn grad_input(t: &mut Tile<'_>, conv: &Conv, dy: View, weight: usize, dx: View, store: Store) {
    back(t, conv, dy, weight, None, Act::None, dx, store);
}

/// The transposed convolution of `x`, `y = act(sum + bias)` with [`grad_input`]'s sum. `conv` is the convolution that it is the gradient
/// of, so `x` has its output's sizes and `y` its input's; the weight is `[channels of x][channels of y / groups][kernel]`.
pub fn transposed(t: &mut Tile<'_>, conv: &Conv, x: View, weight: usize, bias: Option<usize>, act: Act, y: View) {
    back(t, conv, x, weight, bias, act, y, Store::Write);
}

#[allow(clippy::too_many_arguments)]
fn back(t: &mut Tile<'_>, conv: &Conv, dy: View, weight: usize, bias: Option<usize>, act: Act, dx: View, store: Store) {
    conv.check(dx, dy);
    let (positions, depth, out) = (conv.positions(), conv.depth(), conv.out_channels / conv.groups);
    let act = act.of(t.numerics);
    let Parts { reads: [dy], writes: [mut dx], params, scratch, isa, .. } = t.parts([dy], [dx]);
    let bias = bias.map(|bias| &params[bias..][..conv.channels]);
    // With a bias the sums are added to it.
    let store = if bias.is_some() { Store::Add } else { store };
    for sample in 0..dy.samples() {
        let (dy, dx) = (dy.row(sample), dx.row(sample));
        if let Some(bias) = bias {
            let size = dx.len() / conv.channels;
            dx.chunks_exact_mut(size).zip(bias).for_each(|(dx, &bias)| dx.fill(bias));
        } else if !conv.pointwise() {
            store.begin(dx);
        }
        let groups = dy.chunks_exact(out * positions).zip(dx.chunks_exact_mut(conv.group_inputs()));
        for (group, (dy, dx)) in groups.enumerate() {
            let weight = &params[weight + group * out * depth..][..out * depth];
            let weight = Matrix::new(weight, out, depth, depth).transposed();
            for (first, count) in conv.blocks() {
                let dy = Matrix::new(&dy[first..], out, count, positions);
                if conv.pointwise() {
                    multiply(weight, dy, store, MatrixMut::new(dx, depth, count, count));
                } else {
                    let columns = &mut scratch[..depth * count];
                    multiply(weight, dy, Store::Write, MatrixMut::new(columns, depth, count, count));
                    conv.scatter(columns, first, count, dx);
                }
            }
        }
        act.apply(isa, dx);
    }
}

/// Adds to the tile's gradient, at `bias`, each channel's sum over the positions of a value in any layout: `dbias[c] = sum over p of
/// dy[c][p]`, samples in order.
pub fn grad_bias(t: &mut Tile<'_>, channels: usize, dy: View, bias: usize) {
    let layout = dy.layout;
    let Parts { reads: [dy], gradients, isa, .. } = t.parts([dy], []);
    let bias = &mut gradients[bias..][..channels];
    match layout {
        Layout::Plain => {
            for sample in 0..dy.samples() {
                let dy = dy.row(sample);
                Store::Add.put(bias, dy.chunks_exact(dy.len() / channels).map(|dy| math::sum(dy) as f32));
            }
        }
        Layout::Blocked(map) => {
            assert!(map.channels() == channels && map.len() == dy.row_len(), "planes of the channels");
            direct::add_bias_gradient(isa, &dy, map, bias);
        }
    }
}

/// Adds to the tile's gradient, at `weight` and `bias`: `dweight[o][c][tap] = sum over p of dy[o][p] x[c][p stride + tap dilation -
/// padding]`, `dbias[o] = sum over p of dy[o][p]`, samples in order.
pub fn grad_weight(t: &mut Tile<'_>, conv: &Conv, x: View, dy: View, weight: usize, bias: Option<usize>) {
    conv.check(x, dy);
    let (positions, depth, out) = (conv.positions(), conv.depth(), conv.out_channels / conv.groups);
    let Parts { reads: [x, dy], gradients, scratch, .. } = t.parts([x, dy], []);
    for sample in 0..x.samples() {
        let (x, dy) = (x.row(sample), dy.row(sample));
        if let Some(bias) = bias {
            let bias = &mut gradients[bias..][..conv.out_channels];
            Store::Add.put(bias, dy.chunks_exact(positions).map(|dy| math::sum(dy) as f32));
        }
        let groups = x.chunks_exact(conv.group_inputs()).zip(dy.chunks_exact(out * positions));
        for (group, (x, dy)) in groups.enumerate() {
            let weight = &mut gradients[weight + group * out * depth..][..out * depth];
            for (first, count) in conv.blocks() {
                let columns = conv.columns(x, first, count, scratch);
                let dy = Matrix::new(&dy[first..], out, count, positions);
                multiply(dy, columns.transposed(), Store::Add, MatrixMut::new(weight, out, depth, depth));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::naive::{self, Sums};
    use crate::kernels::testing::{Bench, assert_close, axes, bits, product_tolerance, seeds, wide};

    /// Random geometry of 1 to 3 axes.
    fn random(bench: &mut Bench) -> Conv {
        let random = &mut bench.random;
        let groups = random.between(1, 3);
        let count = random.between(1, 3);
        let simple = random.between(0, 3) == 0;
        let largest = [40, 13, 6][count - 1];
        let kernel = axes(count, || if simple { 1 } else { random.between(1, 4) });
        let stride = axes(count, || if simple { 1 } else { random.between(1, 3) });
        let dilation = axes(count, || random.between(1, 2));
        let mut padding = axes(count, || if simple { 0 } else { random.between(0, 3) });
        (0..3 - count).for_each(|axis| padding[axis] = 0);
        let size = [0, 1, 2].map(|axis| {
            let window = (kernel[axis] - 1) * dilation[axis] + 1;
            if axis + count < 3 {
                1
            } else {
                random.between(window.saturating_sub(2 * padding[axis]).max(1), largest.max(window))
            }
        });
        let out_size = [0, 1, 2]
            .map(|axis| (size[axis] + 2 * padding[axis] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1);
        let (channels, out_channels) = (groups * random.between(1, 4), groups * random.between(1, 5));
        Conv { channels, size, out_channels, out_size, kernel, stride, padding, dilation, groups }
    }

    /// Runs the three functions on random values, against the terms of the twin.
    fn check(conv: &Conv, bench: &mut Bench) {
        let terms = naive::conv(conv);
        let (inputs, outputs) = (conv.groups * conv.group_inputs(), conv.out_channels * conv.positions());
        let weights = conv.out_channels * conv.depth();
        bench.scratch = conv.scratch();
        let samples = bench.samples;
        let (x, dy) = (bench.numbers(inputs), bench.numbers(outputs));
        let (weight, bias) = (bench.weights(weights), bench.random.coin());
        let bias = bias.then(|| bench.weights(conv.out_channels));
        let of = |bench: &Bench, offset: usize, len: usize| wide(&bench.params[offset..][..len]);
        let (weight_of, depth) = (of(bench, weight, weights), conv.depth());
        let (x_of, dy_of) = (bench.wide(x), bench.wide(dy));

        let y = bench.target(outputs, Store::Write);
        bench.run(&[y], |t| forward(t, conv, x, weight, bias, Act::None, y));
        let mut twin = Sums::zero(samples * outputs);
        for sample in 0..samples {
            if let Some(bias) = bias {
                let bias = of(bench, bias, conv.out_channels);
                (0..outputs).for_each(|o| twin.add(sample * outputs + o, bias[o / conv.positions()]));
            }
            for &(i, w, o) in &terms {
                twin.add(sample * outputs + o, x_of[sample * inputs + i] * weight_of[w]);
            }
        }
        assert_close("forward", bench.get(y), &twin.values, &twin.scales, product_tolerance(depth));

        let store = bench.random.store();
        let dx = bench.target(inputs, store);
        let mut twin = if store == Store::Add { Sums::from(bench.wide(dx)) } else { Sums::zero(samples * inputs) };
        bench.run(&[dx], |t| grad_input(t, conv, dy, weight, dx, store));
        for sample in 0..samples {
            for &(i, w, o) in &terms {
                twin.add(sample * inputs + i, dy_of[sample * outputs + o] * weight_of[w]);
            }
        }
        let most = conv.out_channels / conv.groups * depth;
        assert_close("grad_input", bench.get(dx), &twin.values, &twin.scales, product_tolerance(most));

        let to = bench.gradient(weights);
        let bias_to = bias.map(|_| bench.gradient(conv.out_channels));
        let before = wide(&bench.gradients);
        bench.run(&[], |t| grad_weight(t, conv, x, dy, to, bias_to));
        let mut twin = Sums::from(before[to..][..weights].to_vec());
        let mut bias_twin = Sums::from(before[bias_to.unwrap_or(0)..][..conv.out_channels.min(before.len())].to_vec());
        for sample in 0..samples {
            for &(i, w, o) in &terms {
                twin.add(w, dy_of[sample * outputs + o] * x_of[sample * inputs + i]);
            }
            (0..outputs).for_each(|o| bias_twin.add(o / conv.positions(), dy_of[sample * outputs + o]));
        }
        let tolerance = product_tolerance(samples * conv.positions());
        assert_close("grad_weight", &bench.gradients[to..][..weights], &twin.values, &twin.scales, tolerance);
        if let Some(to) = bias_to {
            let results = &bench.gradients[to..][..conv.out_channels];
            assert_close("grad_bias", results, &bias_twin.values, &bias_twin.scales, tolerance);
        }
    }

    #[test]
    fn random_convolutions_are_their_twins() {
        for seed in seeds(0..150) {
            let mut bench = Bench::new(seed, 1 + seed as usize % 3);
            let conv = random(&mut bench);
            println!("{seed}: {conv:?}");
            check(&conv, &mut bench);
        }
    }

    const SQUARE: Conv = Conv {
        channels: 3,
        size: [1, 37, 41],
        out_channels: 5,
        out_size: [1, 37, 41],
        kernel: [1, 3, 3],
        stride: [1; 3],
        padding: [0, 1, 1],
        dilation: [1; 3],
        groups: 1,
    };

    #[test]
    fn several_blocks_of_positions_make_one_output() {
        assert!(SQUARE.positions() > BLOCK && !SQUARE.positions().is_multiple_of(BLOCK));
        check(&SQUARE, &mut Bench::new(1, 2));
        let strided = Conv { size: [3, 40, 80], out_size: [2, 20, 40], kernel: [2, 3, 3], stride: [1, 2, 2], ..SQUARE };
        check(&strided, &mut Bench::new(2, 1));
    }

    #[test]
    fn depthwise() {
        check(&Conv { channels: 6, out_channels: 12, groups: 6, ..SQUARE }, &mut Bench::new(3, 2));
    }

    #[test]
    fn padding_may_be_wider_than_the_window() {
        let conv = Conv { size: [1, 1, 2], out_size: [1, 1, 9], kernel: [1, 1, 2], padding: [0, 0, 4], ..SQUARE };
        check(&conv, &mut Bench::new(4, 2));
    }

    #[test]
    fn scratch_is_what_the_compiler_counts() {
        assert_eq!(SQUARE.scratch(), 3 * 9 * 1024);
        assert_eq!(Conv { size: [1, 8, 8], out_size: [1, 8, 8], ..SQUARE }.scratch(), 3 * 9 * 64);
        assert_eq!(Conv { channels: 6, groups: 6, out_channels: 6, ..SQUARE }.scratch(), 9 * 1024);
    }

    #[test]
    fn the_activation_comes_after_the_bias() {
        let mut bench = Bench::new(5, 2);
        bench.scratch = SQUARE.scratch();
        let (x, weight, bias) = (bench.numbers(3 * 37 * 41), bench.weights(5 * 27), bench.weights(5));
        let plain = bench.target(5 * 37 * 41, Store::Write);
        let y = bench.target(5 * 37 * 41, Store::Write);
        bench.run(&[plain], |t| forward(t, &SQUARE, x, weight, Some(bias), Act::None, plain));
        bench.run(&[y], |t| forward(t, &SQUARE, x, weight, Some(bias), Act::Relu, y));
        let twin: Vec<f32> = bench.get(plain).iter().map(|&y| y.max(0.0)).collect();
        assert_eq!(bench.get(y), twin);
    }

    #[test]
    fn a_sample_has_the_same_bits_alone() {
        let (inputs, outputs) = (3 * 37 * 41, 5 * 37 * 41);
        let mut together = Bench::new(6, 8);
        together.scratch = SQUARE.scratch();
        let (x, weight) = (together.numbers(inputs), together.weights(5 * 27));
        let y = together.target(outputs, Store::Write);
        together.run(&[y], |t| forward(t, &SQUARE, x, weight, None, Act::Tanh, y));
        for sample in [0, 7] {
            let mut alone = Bench::new(6, 1);
            (alone.scratch, alone.params) = (together.scratch, together.params.clone());
            let x = alone.value(together.get(x)[sample * inputs..][..inputs].to_vec());
            let y_alone = alone.target(outputs, Store::Write);
            alone.run(&[y_alone], |t| forward(t, &SQUARE, x, weight, None, Act::Tanh, y_alone));
            assert_eq!(bits(alone.get(y_alone)), bits(&together.get(y)[sample * outputs..][..outputs]));
        }
    }
}
