//! Convolutions whose groups are single channels, on values in planes: each lane is a convolution of its own.
//!
//! `x` and `y` have the same planes. A register is the lanes of a plane at one position, of `x`, of `y` and of the weights alike; a block
//! is a few positions of a line, and a result's element is one chain of sums over the taps. Both directions are one loop, as of the
//! direct convolution, whose axes and epilogue these are.
// Arrays of registers are indexed by plain loop variables, and nothing else.
#![allow(unsafe_code, clippy::needless_range_loop)]

use super::axis::{Axis, Segment};
use super::finish::Block;
use super::weight::{add_bias_gradient, check_halo};
use super::{Job, check_conv, check_map, convolve, taps};
use crate::arena::{Pack, Parts, Rows, Tile, View};
use crate::isa::Isa;
use crate::kernels::conv::Conv;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::{Epilogue, Store};
use crate::layout::{Blocked, Plane, lanes};

/// Positions of a block at most.
const MOST: usize = 8;

/// Floats of the packed weights of values with these planes.
pub fn packed_len(conv: &Conv, planes: &[Plane]) -> usize {
    lanes(planes) * taps(conv)
}

/// Packs the weight `[channels][1][taps]` for [`forward`]: `[plane][tap][lane]`, zero in lanes that are no channels.
pub fn pack(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    arrange(p, conv, [x, y], weight, to, |tap| tap);
}

/// Packs it for [`grad_input`] and [`transposed`]: the last tap first.
pub fn pack_transposed(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    arrange(p, conv, [x, y], weight, to, |tap| taps(conv) - 1 - tap);
}

fn arrange(
    p: &mut Pack<'_>,
    conv: &Conv,
    [x, y]: [&[Plane]; 2],
    weight: usize,
    to: usize,
    tap_of: impl Fn(usize) -> usize,
) {
    check_planes(conv, x, y);
    let taps = taps(conv);
    let weights = &p.params[weight..][..conv.channels * taps];
    // SAFETY: the copies of the model's weights lie one behind the other.
    let Some(mut rest) = (unsafe { p.part(to, packed_len(conv, x)) }) else { return };
    let mut first = 0;
    for plane in x {
        for tap in 0..taps {
            let (row, behind) = rest.split_at_mut(plane.lanes);
            let of = |lane: usize| weights[(first + lane) * taps + tap_of(tap)];
            row.iter_mut()
                .enumerate()
                .for_each(|(lane, weight)| *weight = if lane < plane.channels { of(lane) } else { 0.0 });
            rest = behind;
        }
        first += plane.channels;
    }
}

fn check_planes(conv: &Conv, x: &[Plane], y: &[Plane]) {
    assert!(conv.groups == conv.channels && conv.groups == conv.out_channels, "each channel is a group");
    assert_eq!(x, y, "the planes are the same");
}

/// Asserts that two values are the input and the output of a convolution.
fn check(conv: &Conv, x: View, y: View) {
    check_planes(conv, x.map().planes, y.map().planes);
    check_conv(conv, x.map().planes, y.map().planes);
    check_map(x, conv.size, false);
    check_map(y, conv.out_size, false);
}

/// `y = act(sum + bias + before) + after`, where `sum[c][p] = sum over tap of weight[c][tap] x[c][p stride + tap dilation - padding]`.
/// `packed` is where [`pack`] put the weight. Writes the halo of `y`. It is fastest where `x`'s halo is at least the padding; else the
/// taps beside the map are left out, edge by edge.
pub fn forward(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    check(conv, x, y);
    let axes = [0, 1, 2].map(|axis| Axis::forward(conv, axis, x.map()));
    let packed = packed..packed + packed_len(conv, x.map().planes);
    convolve(t, conv, axes, x, packed, epilogue, y, Store::Write, run_alone);
}

/// `dx[c][i] = sum over p, tap with i = p stride + tap dilation - padding of weight[c][tap] dy[c][p]`, written or added. `packed` is where
/// [`pack_transposed`] put the weight.
pub fn grad_input(t: &mut Tile<'_>, conv: &Conv, dy: View, packed: usize, dx: View, store: Store) {
    back(t, conv, dy, packed, Epilogue::NONE, dx, store);
}

/// The transposed convolution of `x`: [`grad_input`]'s sum, and what the epilogue makes of it. `conv` is the convolution that it is the
/// gradient of.
pub fn transposed(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    back(t, conv, x, packed, epilogue, y, Store::Write);
}

fn back(t: &mut Tile<'_>, conv: &Conv, dy: View, packed: usize, epilogue: Epilogue, dx: View, store: Store) {
    check(conv, dx, dy);
    let axes = [0, 1, 2].map(|axis| Axis::backward(conv, axis, dy.map()));
    let packed = packed..packed + packed_len(conv, dy.map().planes);
    convolve(t, conv, axes, dy, packed, epilogue, dx, store, run_alone);
}

/// Adds to the tile's gradient, at `weight` and `bias`, in PyTorch's order: `dweight[c][tap] = sum over p of dy[c][p] x[c][p stride + tap
/// dilation - padding]`, `dbias[c] = sum over p of dy[c][p]`, samples in order. `x`'s halo is at least the padding.
pub fn grad_weight(t: &mut Tile<'_>, conv: &Conv, x: View, dy: View, weight: usize, bias: Option<usize>) {
    let (from, to) = (x.map(), dy.map());
    check(conv, x, dy);
    check_halo(conv, from);
    let Parts { reads: [x, dy], gradients, isa, .. } = t.parts([x, dy], []);
    if let Some(bias) = bias {
        add_bias_gradient(isa, &dy, to, &mut gradients[bias..][..conv.channels]);
    }
    let weights = &mut gradients[weight..][..conv.channels * taps(conv)];
    run_gradient(isa, &mut Gradient { conv, from, to, x, dy, weights });
}

/// Runs a call on the caller's thread: there is little to do for each float.
fn run_alone(isa: Isa, _: usize, job: &Job<'_>) {
    run(isa, job);
}

dispatch! {
    /// Runs a call.
    fn run(job: &Job<'_>) = kernel;
    /// Runs a call.
    fn run_gradient(job: &mut Gradient<'_>) = gradient;
}

/// # Safety
///
/// Compiled for the vectors' instructions. The rows have the maps' lengths, the weights that of [`packed_len`], the maps the same planes,
/// and the axes are those of the maps.
#[inline(always)]
unsafe fn kernel<W: Lanes, H: Lanes>(job: &Job<'_>) {
    let [depths, lines, columns] = job.axes;
    for depth in depths.segments() {
        for line in lines.segments() {
            for column in columns.segments() {
                let segments = [depth, line, column];
                for sample in 0..job.x.samples() {
                    for (plane, of) in job.to.planes.iter().enumerate() {
                        // SAFETY: this function's contract; the plane has the vector's lanes from there on.
                        unsafe {
                            if of.lanes == W::COUNT {
                                of_lanes::<W>(job, &segments, sample, plane, 0);
                            } else {
                                for lane in (0..of.channels).step_by(H::COUNT) {
                                    of_lanes::<H>(job, &segments, sample, plane, lane);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How a block's sums run through the source and the weights: floats of both.
struct Walk {
    /// How many taps are summed.
    taps: [usize; 3],
    /// From one of them to the next, in the source and in the weights.
    source: [usize; 3],
    weight: [usize; 3],
    /// From one of the block's positions to the next.
    column: usize,
}

/// The sums of some outputs of a vector of a plane's lanes, of one sample.
///
/// # Safety
///
/// As of [`kernel`]; the plane has the vector's lanes from `lane` on.
#[inline(always)]
unsafe fn of_lanes<L: Lanes>(job: &Job<'_>, segments: &[Segment; 3], sample: usize, plane: usize, lane: usize) {
    let [depths, lines, columns] = segments;
    let (axes, kernel, whole, width) = (&job.axes, job.conv.kernel, job.from.whole(), job.to.planes[plane].lanes);
    let below = |sizes: [usize; 3], axis: usize| sizes[axis + 1..].iter().product::<usize>() * width;
    let walk = Walk {
        taps: [depths.taps, lines.taps, columns.taps],
        source: [0, 1, 2].map(|axis| axes[axis].source_step() * below(whole, axis)),
        weight: [0, 1, 2].map(|axis| axes[axis].tap_step() * below(kernel, axis)),
        column: axes[2].advance() * width,
    };
    let is_empty = walk.taps.contains(&0);
    let is_line = [axes[2].advance(), axes[2].source_step(), axes[2].tap_step()] == [1; 3];
    let tap = (depths.tap * kernel[1] + lines.tap) * kernel[2] + columns.tap;
    let weights = job.weights[lanes(&job.to.planes[..plane]) * taps(job.conv) + tap * width + lane..].as_ptr();
    let bias = job.finish.bias_of(job.to.planes, plane);
    let mut block = Block::new(plane, lane, [0, 1, 2].map(|axis| axes[axis].step()), 1);
    let x = job.x.row(sample)[job.from.plane(plane) + lane..].as_ptr();
    // SAFETY: rows of as many samples.
    let y = unsafe { job.y.0.add(sample * job.y.1) };
    let blocks = columns.count.div_ceil(MOST);
    for depth in 0..depths.count {
        for line in 0..lines.count {
            for number in 0..blocks {
                // Blocks of nearly the same size.
                let column = columns.count * number / blocks;
                let count = columns.count * (number + 1) / blocks - column;
                let place = [depth, line, column];
                let [a, b, c] = [0, 1, 2].map(|axis| segments[axis].source + place[axis] * axes[axis].advance());
                let at = if is_empty { 0 } else { ((a * whole[1] + b) * whole[2] + c) * width };
                block.place([0, 1, 2].map(|axis| segments[axis].first + place[axis] * axes[axis].step()), false, count);
                // SAFETY: the segments' windows lie inside the source's plane, which the row has; the weights are packed for it; the
                // block's positions are outputs.
                unsafe {
                    block_sums::<L>(&walk, is_line, count, x.add(at), weights, block.sums.as_mut_ptr());
                    job.finish.store::<L, 1>(&block, &bias, sample, job.to, y);
                }
            }
        }
    }
}

/// The sums of a block of `columns` positions, to `to`.
///
/// # Safety
///
/// As of [`sums`].
#[inline(always)]
unsafe fn block_sums<L: Lanes>(
    walk: &Walk,
    is_line: bool,
    columns: usize,
    x: *const f32,
    weights: *const f32,
    to: *mut f32,
) {
    macro_rules! blocks {
        ($($columns:literal)*) => {
            match (columns, walk.taps[2]) {
                // SAFETY: this function's contract.
                $(($columns, 3) if is_line => unsafe { sums::<L, $columns, 3>(walk, x, weights, to) },
                ($columns, 5) if is_line => unsafe { sums::<L, $columns, 5>(walk, x, weights, to) },
                ($columns, _) => unsafe { sums::<L, $columns, 0>(walk, x, weights, to) },)*
                _ => unreachable!("a block has some columns"),
            }
        };
    }
    blocks!(1 2 3 4 5 6 7 8);
}

/// The sums of a block. `TAPS` is a line's number of taps where they and the block's columns are neighbouring positions, or 0: then each
/// float is read for each tap.
///
/// # Safety
///
/// Compiled for the vector's instructions. From `x` on, the source has all that the walk sees from the block's columns, and `weights` the
/// walk's; `to` takes the block.
#[inline(always)]
unsafe fn sums<L: Lanes, const COLUMNS: usize, const TAPS: usize>(
    walk: &Walk,
    x: *const f32,
    weights: *const f32,
    to: *mut f32,
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut acc = [L::splat(0.0); COLUMNS];
        for a in 0..walk.taps[0] {
            for b in 0..walk.taps[1] {
                let x = x.add(a * walk.source[0] + b * walk.source[1]);
                let weights = weights.add(a * walk.weight[0] + b * walk.weight[1]);
                if TAPS == 0 {
                    for c in 0..walk.taps[2] {
                        let by = L::load(weights.add(c * walk.weight[2]));
                        let x = x.add(c * walk.source[2]);
                        for p in 0..COLUMNS {
                            acc[p] = L::load(x.add(p * walk.column)).mul_add(by, acc[p]);
                        }
                    }
                    continue;
                }
                let mut by = [L::splat(0.0); TAPS];
                for c in 0..TAPS {
                    by[c] = L::load(weights.add(c * walk.weight[2]));
                }
                // A loop over positions would be too long to be unrolled.
                macro_rules! positions {
                    ($($position:literal)*) => {$(
                        if $position < COLUMNS + TAPS - 1 {
                            let value = L::load(x.add($position * walk.column));
                            for c in 0..TAPS {
                                if c <= $position && $position - c < COLUMNS {
                                    acc[$position - c] = value.mul_add(by[c], acc[$position - c]);
                                }
                            }
                        }
                    )*};
                }
                positions!(0 1 2 3 4 5 6 7 8 9 10 11);
            }
        }
        for p in 0..COLUMNS {
            acc[p].store(to.add(p * L::COUNT));
        }
    }
}

/// A call for the gradient by the weight.
struct Gradient<'a> {
    conv: &'a Conv,
    from: &'static Blocked,
    to: &'static Blocked,
    x: Rows<'a>,
    dy: Rows<'a>,
    weights: &'a mut [f32],
}

/// # Safety
///
/// Compiled for the vectors' instructions; rows and weights have their lengths, the maps the same planes, and `x` the halo.
#[inline(always)]
unsafe fn gradient<W: Lanes, H: Lanes>(job: &mut Gradient<'_>) {
    let mut first = 0;
    for (plane, of) in job.to.planes.iter().enumerate() {
        // SAFETY: this function's contract; the plane has the vector's lanes from there on.
        unsafe {
            if of.lanes == W::COUNT {
                gradient_of::<W>(job, plane, 0, first, of.channels);
            } else {
                for lane in (0..of.channels).step_by(H::COUNT) {
                    gradient_of::<H>(job, plane, lane, first + lane, H::COUNT.min(of.channels - lane));
                }
            }
        }
        first += of.channels;
    }
}

/// Floats of `x` and `dy` from one sample, depth, line and column to the next one's, and how many there are.
struct Strides {
    counts: [usize; 4],
    x: [usize; 4],
    dy: [usize; 4],
    /// From one tap of `x` to the next line's and to the next column's.
    line: usize,
    column: usize,
}

/// The gradient of the weights of some lanes of a plane: those of the channels from `first` on.
///
/// # Safety
///
/// As of [`gradient`]; the plane has the vector's lanes from `lane` on, of which the first `channels` are channels.
#[inline(always)]
unsafe fn gradient_of<L: Lanes>(job: &mut Gradient<'_>, plane: usize, lane: usize, first: usize, channels: usize) {
    let Gradient { conv, from, to, x, dy, weights } = job;
    let (width, whole, to_whole) = (to.planes[plane].lanes, from.whole(), to.whole());
    let [x_depth, x_line] = [whole[1] * whole[2] * width, whole[2] * width];
    let [depths, lines, columns] = conv.out_size;
    let strides = Strides {
        counts: [x.samples(), depths, lines, columns],
        x: [x.stride(), conv.stride[0] * x_depth, conv.stride[1] * x_line, conv.stride[2] * width],
        dy: [dy.stride(), to_whole[1] * to_whole[2] * width, to_whole[2] * width, width],
        line: conv.dilation[1] * x_line,
        column: conv.dilation[2] * width,
    };
    let origin = [0, 1, 2].map(|axis| from.before[axis] - conv.padding[axis]);
    let x_at = from.plane(plane) + origin[0] * x_depth + origin[1] * x_line + origin[2] * width + lane;
    let dy_at = to.plane(plane) + to.position(0, 0, 0) * width + lane;
    let (x, dy) = (x.as_ptr().wrapping_add(x_at), dy.as_ptr().wrapping_add(dy_at));
    let [tap_depths, tap_lines, tap_columns] = conv.kernel;
    for depth in 0..tap_depths {
        let mut line = 0;
        while line < tap_lines {
            let lines = if tap_lines - line >= 3 { 3 } else { 1 };
            let mut column = 0;
            while column < tap_columns {
                let columns = (tap_columns - column).min(if lines == 3 { 3 } else { 4 });
                let mut sums = [0.0; 9 * super::WIDEST];
                let at = depth * conv.dilation[0] * x_depth + line * strides.line + column * strides.column;
                macro_rules! blocks {
                    ($($lines:literal $columns:literal;)*) => {
                        match (lines, columns) {
                            // SAFETY: a window of an output lies inside `x`, by its halo, and so do all of the taps'.
                            $(($lines, $columns) => unsafe {
                                products::<L, $lines, $columns>(&strides, x.add(at), dy, sums.as_mut_ptr())
                            },)*
                            _ => unreachable!("a block has some taps"),
                        }
                    };
                }
                blocks! { 1 1; 1 2; 1 3; 1 4; 3 1; 3 2; 3 3; }
                // To PyTorch's order.
                for (number, sums) in sums.chunks_exact(L::COUNT).take(lines * columns).enumerate() {
                    let (q, k) = (number / columns, number % columns);
                    let tap = (depth * tap_lines + line + q) * tap_columns + column + k;
                    for (channel, sum) in sums[..channels].iter().enumerate() {
                        weights[(first + channel) * taps(conv) + tap] += sum;
                    }
                }
                column += columns;
            }
            line += lines;
        }
    }
}

/// The sums of `x dy` over all positions of all samples, for some neighbouring taps, to `sums`: `[line][column][lane]`.
///
/// # Safety
///
/// Compiled for the vector's instructions; `x` and `dy` point to the first position that the first tap sees; `sums` takes the block.
#[inline(always)]
unsafe fn products<L: Lanes, const LINES: usize, const COLUMNS: usize>(
    strides: &Strides,
    x: *const f32,
    dy: *const f32,
    sums: *mut f32,
) {
    let [samples, depths, lines, columns] = strides.counts;
    // SAFETY: this function's contract.
    unsafe {
        let mut acc = [[L::splat(0.0); COLUMNS]; LINES];
        for sample in 0..samples {
            for depth in 0..depths {
                for line in 0..lines {
                    let place = |of: &[usize; 4]| sample * of[0] + depth * of[1] + line * of[2];
                    let (mut x, mut dy) = (x.add(place(&strides.x)), dy.add(place(&strides.dy)));
                    for _ in 0..columns {
                        let by = L::load(dy);
                        for q in 0..LINES {
                            for k in 0..COLUMNS {
                                let value = L::load(x.add(q * strides.line + k * strides.column));
                                acc[q][k] = value.mul_add(by, acc[q][k]);
                            }
                        }
                        x = x.wrapping_add(strides.x[3]);
                        dy = dy.wrapping_add(strides.dy[3]);
                    }
                }
            }
        }
        for q in 0..LINES {
            for k in 0..COLUMNS {
                acc[q][k].store(sums.add((q * COLUMNS + k) * L::COUNT));
            }
        }
    }
}
