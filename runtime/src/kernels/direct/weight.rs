//! The gradient by the weight: a block is a few neighbouring floats of the source, in one line or two, by one or two vectors of the
//! output's gradient; its sums run over positions, and stay in registers for a strip of lines that the first cache holds.
// Arrays of registers are indexed by plain loop variables, and nothing else.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::ops::Range;

use super::blocks::most;
use super::groups::{Part, Source, parts};
use super::{WIDEST, check_conv, check_map, taps};
use crate::arena::{Parts, Region, Rows, Tile, View};
use crate::isa::Isa;
use crate::kernels::conv::Conv;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::layout::{Blocked, Plane};
use crate::pool;
use crate::run::{Chunks, Run, TILE};

/// Positions of a strip, about.
const STRIP: usize = 128;

/// Floats of scratch that [`grad_weight`] needs: the sums of one plane of `x` with two vectors of the output.
pub const fn grad_weight_scratch(conv: &Conv, x: &[Plane]) -> usize {
    let (mut most, mut plane) = (0, 0);
    while plane < x.len() {
        most = if x[plane].channels > most { x[plane].channels } else { most };
        plane += 1;
    }
    taps(conv) * most * 2 * WIDEST
}

/// Adds to the tile's gradient, at `weight` and `bias`, in PyTorch's order: `dweight[o][c][tap] = sum over p of dy[o][p] x[c][p stride +
/// tap dilation - padding]`, c running through the channels of o's group, `dbias[o] = sum over p of dy[o][p]`, samples in order. `x`'s
/// halo is at least the padding.
pub fn grad_weight(t: &mut Tile<'_>, conv: &Conv, x: View, dy: View, weight: usize, bias: Option<usize>) {
    let (from, to) = (x.map(), dy.map());
    check(conv, x, dy);
    let Parts { reads: [x, dy], gradients, scratch, isa, .. } = t.parts([x, dy], []);
    if let Some(bias) = bias {
        add_bias_gradient(isa, &dy, to, &mut gradients[bias..][..conv.out_channels]);
    }
    let weights = Chunks::new(&mut gradients[weight..][..weight_len(conv)]);
    let scratch = &mut scratch[..grad_weight_scratch(conv, from.planes)];
    let (x_planes, planes) = (0..from.planes.len(), 0..to.planes.len());
    run_kernel(isa, &mut Job { conv, from, to, x, dy, x_planes, planes, weights: &weights, scratch });
}

/// [`grad_weight`] of the whole batch, whose memory has `x` and `dy`: adds to the model's gradient, in parallel over planes of inputs and
/// pairs of planes of outputs, the samples in order. Of one group.
pub fn grad_weight_batch(run: &mut Run<'_>, conv: &Conv, x: View, dy: View, weight: usize, bias: Option<usize>) {
    let (from, to) = (x.map(), dy.map());
    check(conv, x, dy);
    assert_eq!(conv.groups, 1, "each part has weights of its own");
    assert!(x.region == Region::Batch && dy.region == Region::Batch, "values of the whole batch");
    let whole = run.whole();
    let (isa, scratch_stride) = (whole.isa, whole.scratch_stride);
    let [x, dy] = [x, dy].map(|view| Rows::in_region(whole.batch, whole.batch_stride, whole.samples, view));
    if let Some(bias) = bias {
        add_bias_gradient(isa, &dy, to, &mut whole.gradients[bias..][..conv.out_channels]);
    }
    let weights = Chunks::new(&mut whole.gradients[weight..][..weight_len(conv)]);
    let scratch = Chunks::new(whole.scratch);
    let (inputs, outputs) = (from.planes.len(), to.planes.len());
    pool::run(whole.workers, inputs * outputs.div_ceil(2), &|worker, task| {
        let (x_plane, plane) = (task % inputs, task / inputs * 2);
        // SAFETY: scratch of this worker, which runs one task at a time.
        let scratch = unsafe { scratch.chunk(worker * scratch_stride, grad_weight_scratch(conv, from.planes)) };
        let (x_planes, planes) = (x_plane..x_plane + 1, plane..outputs.min(plane + 2));
        run_kernel(isa, &mut Job { conv, from, to, x, dy, x_planes, planes, weights: &weights, scratch });
    });
}

fn weight_len(conv: &Conv) -> usize {
    conv.out_channels * (conv.channels / conv.groups) * taps(conv)
}

/// Asserts that values are what [`grad_weight`] takes.
fn check(conv: &Conv, x: View, dy: View) {
    check_conv(conv, x.map().planes, dy.map().planes);
    check_map(x, conv.size, true);
    check_map(dy, conv.out_size, false);
    check_halo(conv, x.map());
}

/// Asserts that the windows of all outputs lie inside a map and its halo.
pub(super) fn check_halo(conv: &Conv, from: &Blocked) {
    for axis in 0..3 {
        let last = (conv.out_size[axis] - 1) * conv.stride[axis] + (conv.kernel[axis] - 1) * conv.dilation[axis];
        let (before, padding) = (from.before[axis], conv.padding[axis]);
        assert!(before >= padding && last + before - padding < from.whole()[axis], "the halo holds the padding");
    }
}

/// Adds each channel's sum over all samples and positions.
pub(in crate::kernels) fn add_bias_gradient(isa: Isa, dy: &Rows<'_>, map: &Blocked, bias: &mut [f32]) {
    let mut rest = bias;
    for (plane, of) in map.planes.iter().enumerate() {
        let mut sums = [0.0; WIDEST];
        sum_lanes(isa, dy, map, plane, &mut sums);
        let (bias, behind) = rest.split_at_mut(of.channels);
        bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
        rest = behind;
    }
}

struct Job<'a> {
    conv: &'a Conv,
    from: &'static Blocked,
    to: &'static Blocked,
    x: Rows<'a>,
    dy: Rows<'a>,
    /// Planes of `x` and of `dy` whose weights are this call's.
    x_planes: Range<usize>,
    planes: Range<usize>,
    /// The layer's gradient.
    weights: &'a Chunks<'a>,
    scratch: &'a mut [f32],
}

dispatch! {
    /// Adds to `sums` those of a plane's lanes over the positions of all samples.
    fn sum_lanes(dy: &Rows<'_>, map: &Blocked, plane: usize, sums: &mut [f32; WIDEST]) = lane_sums;
    /// Runs a call.
    fn run_kernel(job: &mut Job<'_>) = kernel;
}

/// Four sums, by column, then theirs.
///
/// # Safety
///
/// Compiled for the vectors' instructions; the rows have the map's length.
#[inline(always)]
unsafe fn lane_sums<W: Lanes, H: Lanes>(dy: &Rows<'_>, map: &Blocked, plane: usize, sums: &mut [f32; WIDEST]) {
    // SAFETY: this function's contract.
    unsafe {
        if map.planes[plane].lanes == W::COUNT {
            vector_sums::<W>(dy, map, plane, 0, sums);
        } else {
            for first in (0..map.planes[plane].lanes).step_by(H::COUNT) {
                vector_sums::<H>(dy, map, plane, first, sums);
            }
        }
    }
}

/// # Safety
///
/// As of [`lane_sums`]; the plane has the vector's lanes from `first` on.
#[inline(always)]
unsafe fn vector_sums<L: Lanes>(dy: &Rows<'_>, map: &Blocked, plane: usize, first: usize, sums: &mut [f32; WIDEST]) {
    let ([depths, lines, columns], lanes) = (map.size, map.planes[plane].lanes);
    // SAFETY: this function's contract.
    unsafe {
        let to = sums.as_mut_ptr().add(first);
        for sample in 0..dy.samples() {
            // Of each sample for itself: what cancels in the sum, as before a batch norm, leaves the less rounding.
            let mut acc = [L::splat(0.0); 4];
            let row = dy.row(sample).as_ptr();
            for line in 0..depths * lines {
                let line = row.add(map.plane(plane) + map.position(line / lines, line % lines, 0) * lanes + first);
                for column in (0..columns).step_by(4) {
                    for (of, acc) in acc.iter_mut().enumerate() {
                        if column + of < columns {
                            *acc = acc.add(L::load(line.add((column + of) * lanes)));
                        }
                    }
                }
            }
            L::load(to).add(acc[0].add(acc[1]).add(acc[2].add(acc[3]))).store(to);
        }
    }
}

/// # Safety
///
/// Compiled for the vectors' instructions; rows, weights and scratch have their lengths, and `x` the halo.
#[inline(always)]
unsafe fn kernel<W: Lanes, H: Lanes>(job: &mut Job<'_>) {
    let planes = job.planes.clone();
    let mut parts = parts(job.to.planes, job.conv.groups).filter(|part| planes.contains(&part.plane)).peekable();
    while let Some(part) = parts.next() {
        let wide = part.lanes == WIDEST;
        let is_next = |next: &Part| next.lanes == WIDEST && next.group == part.group && next.groups == 1;
        let next = if wide && W::COUNT == WIDEST { parts.next_if(is_next) } else { None };
        for group in part.group..part.group + part.groups {
            // SAFETY: this function's contract; a part has the lanes of as many vectors, or the next one has them too.
            unsafe {
                if next.is_some() {
                    of_group::<W, W, 2>(job, part, next, group);
                } else if wide && W::COUNT == WIDEST {
                    of_group::<W, W, 1>(job, part, None, group);
                } else if wide {
                    of_group::<W, H, 2>(job, part, None, group);
                } else {
                    of_group::<W, H, 1>(job, part, None, group);
                }
            }
        }
    }
}

/// A strip: positions that one pass of a block sums over.
struct Strip {
    samples: usize,
    depths: usize,
    lines: usize,
    columns: usize,
    /// Floats of `x` from one sample, depth, line and column of the strip to the next one's, and from one of the block's lines to the
    /// next.
    x: [usize; 4],
    x_line: usize,
    /// Floats of `dy` likewise, and from one vector to the next.
    dy: [usize; 4],
    vector: usize,
}

/// The gradient of the weights from the inputs of a group to a part of the outputs, or to two whole planes.
///
/// # Safety
///
/// As of [`kernel`]; `V` vectors `L` are the lanes of `part`, or of it and the `next` one, of the same lanes.
#[inline(always)]
unsafe fn of_group<W: Lanes, L: Lanes, const V: usize>(
    job: &mut Job<'_>,
    part: Part,
    next: Option<Part>,
    group: usize,
) {
    let Job { conv, from, to, x, dy, x_planes, weights, scratch, .. } = job;
    let (width, whole) = (to.planes[part.plane].lanes, from.whole());
    let [depths, lines, columns] = conv.out_size;
    let samples = x.samples();
    let to_line = to.whole()[2] * width;
    let to_depth = to.whole()[1] * to_line;
    // Small maps are summed over a tile's samples at once, large ones in strips of lines.
    let (strip_samples, strip_depths, strip_lines) = match depths * lines * columns <= STRIP / 2 {
        true => (samples.clamp(1, TILE), depths, lines),
        false => (1, 1, (STRIP / columns).clamp(1, lines)),
    };
    let inputs = conv.channels / conv.groups;
    let mut first_channel = 0;
    for (x_plane, x_lane, channels) in Source::of(from.planes, conv.groups, group).pieces() {
        if !x_planes.contains(&x_plane) {
            first_channel += channels;
            continue;
        }
        let x_lanes = from.planes[x_plane].lanes;
        let sums = &mut scratch[..taps(conv) * channels * V * L::COUNT];
        sums.fill(0.0);
        let origin = [0, 1, 2].map(|axis| from.before[axis] - conv.padding[axis]);
        let line_floats = whole[2] * x_lanes;
        let depth_floats = whole[1] * line_floats;
        let mut strip = Strip {
            samples: strip_samples,
            depths: strip_depths,
            lines: 0,
            columns,
            x: [x.stride(), conv.stride[0] * depth_floats, conv.stride[1] * line_floats, conv.stride[2] * x_lanes],
            x_line: conv.dilation[1] * line_floats,
            dy: [dy.stride(), to_depth, to_line, width],
            vector: if L::COUNT == part.lanes { to.positions() * width } else { L::COUNT },
        };
        // Neighbouring taps of whole positions are one run of floats.
        let is_run = channels == x_lanes && conv.dilation[2] == 1;
        let (columns_taps, run) = if is_run { (1, conv.kernel[2] * channels) } else { (conv.kernel[2], channels) };
        let (one_line, two_lines) = most::<W>(V);
        for sample in (0..samples).step_by(strip_samples) {
            for depth in (0..depths).step_by(strip_depths) {
                for line in (0..lines).step_by(strip_lines) {
                    strip.samples = strip_samples.min(samples - sample);
                    strip.lines = strip_lines.min(lines - line);
                    let x_at = from.plane(x_plane)
                        + (origin[0] + depth * conv.stride[0]) * depth_floats
                        + (origin[1] + line * conv.stride[1]) * line_floats
                        + origin[2] * x_lanes
                        + x_lane;
                    let dy_at = to.plane(part.plane) + to.position(depth, line, 0) * width + part.lane;
                    // Into the memory of all samples: a strip may have several.
                    let x = x.as_ptr().wrapping_add(sample * x.stride() + x_at);
                    let dy = dy.as_ptr().wrapping_add(sample * dy.stride() + dy_at);
                    for tap_depth in 0..conv.kernel[0] {
                        let mut tap_line = 0;
                        while tap_line < conv.kernel[1] {
                            let both = V == 1 && tap_line + 1 < conv.kernel[1];
                            let most = if both { two_lines } else { one_line };
                            for tap_column in 0..columns_taps {
                                let tap = (tap_depth * conv.kernel[1] + tap_line) * conv.kernel[2] + tap_column;
                                let blocks = run.div_ceil(most);
                                for block in 0..blocks {
                                    let first = run * block / blocks;
                                    let count = run * (block + 1) / blocks - first;
                                    let at = tap_depth * conv.dilation[0] * depth_floats
                                        + tap_line * conv.dilation[1] * line_floats
                                        + tap_column * conv.dilation[2] * x_lanes
                                        + first;
                                    let sums = &mut sums[(tap * channels + first) * V * L::COUNT..];
                                    let next_line = conv.kernel[2] * channels * V * L::COUNT;
                                    // SAFETY: a window of an output lies inside `x`, by its halo, and so do all of the strip's; the
                                    // sums are those of this plane's channels and taps.
                                    unsafe {
                                        let x = x.add(at);
                                        block_products::<L, V>(
                                            &strip,
                                            both,
                                            count,
                                            x,
                                            dy,
                                            sums.as_mut_ptr(),
                                            next_line,
                                        );
                                    }
                                }
                            }
                            tap_line += if both { 2 } else { 1 };
                        }
                    }
                }
            }
        }
        // To PyTorch's order.
        let taps = taps(conv);
        let of_group = conv.out_channels / conv.groups;
        for (number, part) in [Some(part), next].into_iter().flatten().enumerate() {
            for lane in part.lanes_of(group, of_group) {
                let output = part.first + lane;
                let first = (output * inputs + first_channel) * taps;
                // SAFETY: weights from the planes of this call to an output of it: no other call has them.
                let row = unsafe { weights.chunk(first, channels * taps) };
                let lane = number * WIDEST + lane;
                for (channel, row) in row.chunks_exact_mut(taps).enumerate() {
                    for (tap, weight) in row.iter_mut().enumerate() {
                        *weight += sums[(tap * channels + channel) * V * L::COUNT + lane];
                    }
                }
            }
        }
        first_channel += channels;
    }
}

/// Adds the products of a block of floats, in one line or two, to their sums: `[float][vector]`, a line's `next_line` from another's.
///
/// # Safety
///
/// As of [`products`]; at most as many floats as [`most`] says.
#[inline(always)]
unsafe fn block_products<L: Lanes, const V: usize>(
    strip: &Strip,
    both: bool,
    floats: usize,
    x: *const f32,
    dy: *const f32,
    sums: *mut f32,
    next_line: usize,
) {
    macro_rules! blocks {
        ($($lines:literal $floats:literal $(if $condition:expr)?;)*) => {
            match (if both { 2 } else { 1 }, floats) {
                // SAFETY: this function's contract.
                $(($lines, $floats) $(if $condition)? => unsafe {
                    products::<L, V, $lines, $floats>(strip, x, dy, sums, next_line)
                },)*
                _ => unreachable!("a block has some floats"),
            }
        };
    }
    blocks! {
        1 1; 1 2; 1 3; 1 4; 1 5; 1 6; 1 7; 1 8;
        2 1 if V == 1; 2 2 if V == 1; 2 3 if V == 1; 2 4 if V == 1;
        2 5 if V == 1; 2 6 if V == 1; 2 7 if V == 1; 2 8 if V == 1;
    }
}

/// # Safety
///
/// Compiled for the vectors' instructions. `x` and `dy` point to the strip's first position, `x` to the block's first float; `sums` takes
/// the block.
#[inline(always)]
unsafe fn products<L: Lanes, const V: usize, const LINES: usize, const FLOATS: usize>(
    strip: &Strip,
    x: *const f32,
    dy: *const f32,
    sums: *mut f32,
    next_line: usize,
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut acc = [[[L::splat(0.0); V]; FLOATS]; LINES];
        for q in 0..LINES {
            for f in 0..FLOATS {
                for v in 0..V {
                    acc[q][f][v] = L::load(sums.add(q * next_line + (f * V + v) * L::COUNT));
                }
            }
        }
        for sample in 0..strip.samples {
            for depth in 0..strip.depths {
                for line in 0..strip.lines {
                    let mut x = x.add(sample * strip.x[0] + depth * strip.x[1] + line * strip.x[2]);
                    let mut dy = dy.add(sample * strip.dy[0] + depth * strip.dy[1] + line * strip.dy[2]);
                    for _ in 0..strip.columns {
                        let mut by = [L::splat(0.0); V];
                        for v in 0..V {
                            by[v] = L::load(dy.add(v * strip.vector));
                        }
                        for q in 0..LINES {
                            for f in 0..FLOATS {
                                let value = L::splat(*x.add(q * strip.x_line + f));
                                for v in 0..V {
                                    acc[q][f][v] = value.mul_add(by[v], acc[q][f][v]);
                                }
                            }
                        }
                        x = x.wrapping_add(strip.x[3]);
                        dy = dy.wrapping_add(strip.dy[3]);
                    }
                }
            }
        }
        for q in 0..LINES {
            for f in 0..FLOATS {
                for v in 0..V {
                    acc[q][f][v].store(sums.add(q * next_line + (f * V + v) * L::COUNT));
                }
            }
        }
    }
}
