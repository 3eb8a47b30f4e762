//! Direct convolutions of blocked values: no columns, no transforms, for what Winograd does not do (strides, dilations, kernels other
//! than 3x3 and 5x5, few channels, 1 and 3 axes).
//!
//! A register is the lanes of a plane of the result at one position, or half of them; a block is a few positions by one or two such
//! vectors, all of which stay in registers while the sum runs over planes, taps and channels of the source: for each term, a vector of
//! packed weights times a float of the source. So a result's element is one chain of sums, in an order that no block changes.
//!
//! Both directions are this one loop. The gradient by the input is the sum over the output's gradient with the taps from last to first;
//! with strides, inputs that see the same taps make a class, and each class is a convolution of its own.
#![allow(unsafe_code)]

mod axis;
mod blocks;
pub mod depthwise;
mod finish;
mod groups;
mod pack;
mod weight;

use std::ops::Range;

use axis::Axis;
use blocks::{of_half, of_halves, of_pair, of_whole};
use finish::Finish;
use groups::{Part, parts};
pub use pack::{pack, pack_transposed, packed_len};
pub(super) use weight::add_bias_gradient;
pub use weight::{grad_weight, grad_weight_batch, grad_weight_scratch};

use crate::arena::{Parts, Rows, RowsMut, Tile, View};
use crate::isa::{Isa, Kind};
use crate::kernels::conv::Conv;
use crate::kernels::{Epilogue, Store};
use crate::layout::{Blocked, Plane, channels, lanes};
use crate::pool;

/// Vectors of a block at most.
const BLOCK: usize = 16;

/// Weights that the second cache holds beside a sample.
const CACHED: usize = 1 << 17;

/// Floats of a plane's position at most.
pub(super) const WIDEST: usize = 16;

const fn taps(conv: &Conv) -> usize {
    conv.kernel[0] * conv.kernel[1] * conv.kernel[2]
}

/// Floats of a view that holds the places of a pool whose result is `y`: a byte for each lane of each position, without halo.
pub const fn pool_places_len(y: &Blocked) -> usize {
    (lanes(y.planes) * y.size[0] * y.size[1] * y.size[2]).div_ceil(4)
}

fn check_planes(conv: &Conv, x: &[Plane], y: &[Plane]) {
    assert!(conv.channels.is_multiple_of(conv.groups), "groups have as many channels each");
    assert!(conv.out_channels.is_multiple_of(conv.groups), "groups have as many output channels each");
    assert_eq!(channels(x), conv.channels, "planes of the input's channels");
    assert_eq!(channels(y), conv.out_channels, "planes of the output's channels");
}

/// Asserts that values are what the kernels take: whole maps, in planes of vectors; the planes of an image may be narrower.
pub(super) fn check_map(view: View, size: [usize; 3], image: bool) {
    let map = view.map();
    assert_eq!(view.len, map.len(), "a view of the whole map");
    assert_eq!(map.size, size, "the size of the convolution's map");
    for plane in map.planes {
        let vectors = plane.lanes == 8 || plane.lanes == WIDEST;
        assert!(plane.channels <= plane.lanes && (vectors || image && map.planes.len() == 1), "planes of vectors");
    }
}

/// Asserts that sizes agree, so that a window begins inside the padding and no output is beyond the last window. The padding behind the
/// map may be one wider than that before it, as of an even kernel that keeps the size.
pub(super) fn check_conv(conv: &Conv, x: &[Plane], y: &[Plane]) {
    check_planes(conv, x, y);
    for axis in 0..3 {
        let window = (conv.kernel[axis] - 1) * conv.dilation[axis] + 1;
        let outputs = (conv.size[axis] + 2 * conv.padding[axis] + 1 - window) / conv.stride[axis] + 1;
        assert!((1..=outputs).contains(&conv.out_size[axis]), "no more outputs than windows");
    }
}

/// `y = act(sum + bias + before) + after`, where `sum[o][p] = sum over c, tap of weight[o][c][tap] x[c][p stride + tap dilation -
/// padding]`, c running through the channels of o's group. `packed` is where [`pack`] put the weight. Writes the halo of `y`. It is
/// fastest where `x`'s halo is at least the padding; else the taps beside the map are left out, edge by edge.
pub fn forward(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    check_conv(conv, x.map().planes, y.map().planes);
    check_map(x, conv.size, true);
    check_map(y, conv.out_size, false);
    let axes = [0, 1, 2].map(|axis| Axis::forward(conv, axis, x.map()));
    let len = packed_len(conv, x.map().planes, y.map().planes);
    convolve(t, conv, axes, x, packed..packed + len, epilogue, y, Store::Write, run_parts);
}

/// Runs a convolution in either direction, from `x` to `y`, by a kernel that takes weights of the range `packed`.
#[allow(clippy::too_many_arguments)]
fn convolve(
    t: &mut Tile<'_>,
    conv: &Conv,
    axes: [Axis; 3],
    x: View,
    packed: Range<usize>,
    epilogue: Epilogue,
    y: View,
    store: Store,
    run: fn(Isa, usize, &Job<'_>),
) {
    let (from, to) = (x.map(), y.map());
    for residual in [epilogue.before, epilogue.after].into_iter().flatten() {
        check_map(residual, to.size, false);
        assert_eq!(residual.map().planes, to.planes, "what is added has the result's planes");
    }
    let epilogue = epilogue.of(t.numerics);
    let sides = [epilogue.before.unwrap_or(x), epilogue.after.unwrap_or(x)];
    let Parts { reads: [x, before, after], writes: [y], params, packed: weights, isa, threads, .. } =
        t.parts([x, sides[0], sides[1]], [y]);
    let finish = Finish {
        bias: epilogue.bias.map(|bias| &params[bias..][..to.channels()]),
        before: epilogue.before.map(|view| (before, view.map())),
        act: epilogue.act,
        after: epilogue.after.map(|view| (after, view.map())),
        store,
    };
    run(isa, threads, &Job::new(conv, axes, [from, to], x, &weights[packed], finish, y));
}

/// `y = act(max over 2x2 windows of sum + bias)`, the sum of [`forward`]; windows lie side by side, and a last line or column without
/// another is left out. `act` may not decrease. `places` is a byte for each element, the place in its window of the first maximum (a NaN
/// is one), row by row: `[plane][depth][line][column][lane]` of `y` without halo, in the memory of [`pool_places_len`] floats.
pub fn forward_pool(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View, places: View) {
    assert!(places.len >= pool_places_len(y.map()), "a byte for each element");
    let epilogue = epilogue.of(t.numerics);
    let Parts { reads: [from], writes: [to, mut places], params, packed: weights, isa, threads, .. } =
        t.parts([x], [y, places]);
    let mut job = pool_job(conv, x, y, from, to, &weights[packed..], params, epilogue);
    job.places = Some((places.as_mut_ptr(), places.stride()));
    run_parts(isa, threads, &job);
}

/// [`forward_pool`] without the places.
pub fn infer_pool(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    let epilogue = epilogue.of(t.numerics);
    let Parts { reads: [from], writes: [to], params, packed: weights, isa, threads, .. } = t.parts([x], [y]);
    run_parts(isa, threads, &pool_job(conv, x, y, from, to, &weights[packed..], params, epilogue));
}

#[allow(clippy::too_many_arguments)]
fn pool_job<'a>(
    conv: &'a Conv,
    x: View,
    y: View,
    from: Rows<'a>,
    to: RowsMut<'a>,
    weights: &'a [f32],
    params: &'a [f32],
    epilogue: Epilogue,
) -> Job<'a> {
    let (x_map, y_map) = (x.map(), y.map());
    check_conv(conv, x_map.planes, y_map.planes);
    check_map(x, conv.size, true);
    let [depths, lines, columns] = conv.out_size;
    check_map(y, [depths, lines / 2, columns / 2], false);
    assert!(epilogue.before.is_none() && epilogue.after.is_none(), "nothing is added to what is pooled");
    assert_eq!(conv.groups, 1, "whole planes are pooled");
    let axes = [0, 1, 2].map(|axis| {
        let pooled = if axis == 0 { 1 } else { 2 };
        let axis = Axis::forward(conv, axis, x_map).up_to(y_map.size[axis] * pooled);
        assert!(pooled == 1 || axis.segments().count() <= 1, "the halo holds the padding");
        axis
    });
    let finish = Finish {
        bias: epilogue.bias.map(|bias| &params[bias..][..conv.out_channels]),
        before: None,
        act: epilogue.act,
        after: None,
        store: Store::Write,
    };
    let weights = &weights[..packed_len(conv, x_map.planes, y_map.planes)];
    Job { pools: true, ..Job::new(conv, axes, [x_map, y_map], from, weights, finish, to) }
}

/// `dx[c][i] = sum over o, p, tap with i = p stride + tap dilation - padding of weight[o][c][tap] dy[o][p]`, o running through the outputs
/// of c's group; written or added. `packed` is where [`pack_transposed`] put the weight. It is fastest where `dy`'s halo is at least
/// `dilation (kernel - 1) - padding` positions wide; else the taps beside the map are left out, edge by edge.
pub fn grad_input(t: &mut Tile<'_>, conv: &Conv, dy: View, packed: usize, dx: View, store: Store) {
    back(t, conv, dy, packed, Epilogue::NONE, dx, store);
}

/// The transposed convolution of `x`: [`grad_input`]'s sum, and what the epilogue makes of it. `conv` is the convolution that it is the
/// gradient of, so `x` has its output's sizes and `y` its input's.
pub fn transposed(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    back(t, conv, x, packed, epilogue, y, Store::Write);
}

fn back(t: &mut Tile<'_>, conv: &Conv, dy: View, packed: usize, epilogue: Epilogue, dx: View, store: Store) {
    check_conv(conv, dx.map().planes, dy.map().planes);
    check_map(dy, conv.out_size, false);
    check_map(dx, conv.size, false);
    let axes = [0, 1, 2].map(|axis| Axis::backward(conv, axis, dy.map()));
    let len = packed_len(conv, dy.map().planes, dx.map().planes);
    convolve(t, conv, axes, dy, packed..packed + len, epilogue, dx, store, run_parts);
}

/// A call: sums over the source `x`, map `from`, into `y`, map `to`.
struct Job<'a> {
    conv: &'a Conv,
    axes: [Axis; 3],
    from: &'static Blocked,
    to: &'static Blocked,
    x: Rows<'a>,
    weights: &'a [f32],
    finish: Finish<'a>,
    /// The first sample's float of `y`, and floats to the next one's: nobody else has these rows while the call runs.
    y: (*mut f32, usize),
    /// Whether `y` is the maxima of 2x2 windows, and where their places go, as `y`.
    pools: bool,
    places: Option<(*mut f32, usize)>,
}

impl<'a> Job<'a> {
    /// A call without a pool; clears the halo of what it writes.
    fn new(
        conv: &'a Conv,
        axes: [Axis; 3],
        [from, to]: [&'static Blocked; 2],
        x: Rows<'a>,
        weights: &'a [f32],
        finish: Finish<'a>,
        mut y: RowsMut<'a>,
    ) -> Job<'a> {
        if finish.store == Store::Write {
            for sample in 0..y.samples() {
                to.clear_halo(y.row(sample));
            }
        }
        let y = (y.as_mut_ptr(), y.stride());
        Job { conv, axes, from, to, x, weights, finish, y, pools: false, places: None }
    }
}

// SAFETY: it borrows what its pointers point to. Nobody writes what is read; what is written is planes of `y`, of which each is one
// task's.
unsafe impl Sync for Job<'_> {}

/// Products of a channel and a position from which on a thread is worth waking for them: some 20 microseconds of work.
const WORTH: usize = 1 << 19;

/// Runs a call, in parallel over pairs of planes of the result if there is enough to do.
fn run_parts(isa: Isa, threads: usize, job: &Job<'_>) {
    let positions: usize = if job.pools { job.conv.out_size } else { job.to.size }.iter().product();
    let products = job.weights.len() * positions * job.x.samples();
    // Planes that have several groups are not told apart.
    let planes = job.to.planes.len();
    let pairs = if job.conv.groups == 1 { planes.div_ceil(2) } else { 1 };
    match threads.min(products / WORTH).min(pairs) {
        0 | 1 => run(isa, job, 0..planes),
        threads => pool::run(threads, pairs, &|_, pair| run(isa, job, 2 * pair..planes.min(2 * pair + 2))),
    }
}

/// Runs a call for some planes of the result.
fn run(isa: Isa, job: &Job<'_>, of: Range<usize>) {
    let [depths, lines, columns] = job.axes;
    let (planes, samples) = (job.to.planes, job.x.samples());
    let first_weight = lanes(&planes[..of.start]) * job.from.channels() * taps(job.conv);
    // Weights that the cache holds are read again for each sample, else samples for each plane.
    let together = if job.weights.len() <= CACHED { 1 } else { samples.max(1) };
    let is_widest = isa.kind() == Kind::Avx512;
    for depth in depths.segments() {
        for line in lines.segments() {
            for column in columns.segments() {
                let part = [depth, line, column];
                for first in (0..samples).step_by(together) {
                    let samples = first..samples.min(first + together);
                    let mut weights = first_weight;
                    let parts = parts(planes, job.conv.groups).filter(|part| of.contains(&part.plane));
                    let mut parts = parts.peekable();
                    while let Some(of) = parts.next() {
                        let wide = of.lanes == WIDEST;
                        let is_next = |next: &Part| next.lanes == WIDEST && next.group == of.group && next.groups == 1;
                        let both = wide && is_widest && parts.next_if(is_next).is_some();
                        let lanes = of.lanes * if both { 2 } else { of.groups };
                        let sums = match (wide, is_widest, both) {
                            (true, true, true) => of_pair,
                            (true, true, false) => of_whole,
                            (true, ..) => of_halves,
                            _ => of_half,
                        };
                        sums(isa, job, &part, samples.clone(), of, weights);
                        weights += lanes * (job.from.channels() / job.conv.groups) * taps(job.conv);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
