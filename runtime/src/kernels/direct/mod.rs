//! Direct convolutions of blocked values: no columns, no transforms, for what Winograd does not do (strides, dilations, kernels other
//! than 3x3 and 5x5, few channels, 1 and 3 axes).
//!
//! A register is the lanes of a plane of the result at one position, or half of them; a block is a few positions by one or two such
//! vectors, all of which stay in registers while the sum runs over planes, taps and channels of the source: for each term, a vector of
//! packed weights times a float of the source. So a result's element is one chain of sums, in an order that no block changes.
//!
//! Both directions are this one loop. The gradient by the input is the sum over the output's gradient with the taps from last to first;
//! with strides, inputs that see the same taps make a class, and each class is a convolution of its own.
// Arrays of registers are indexed by plain loop variables, and nothing else.
#![allow(unsafe_code, clippy::needless_range_loop)]

mod axis;
pub mod depthwise;
mod finish;
mod groups;
mod pack;
mod weight;

use std::ops::Range;
use std::sync::atomic::{Ordering, compiler_fence};

use axis::{Axis, Segment};
use finish::{Block, Finish};
use groups::{HALF, Part, Source, parts};
pub use pack::{pack, pack_transposed, packed_len};
pub(super) use weight::add_bias_gradient;
pub use weight::{grad_weight, grad_weight_batch, grad_weight_scratch};

use crate::arena::{Parts, Rows, RowsMut, Tile, View};
use crate::isa::{Isa, Kind};
use crate::kernels::conv::Conv;
#[cfg(target_arch = "x86_64")]
use crate::kernels::lanes::{F32x8, F32x16};
use crate::kernels::lanes::{Lanes, Portable, dispatch};
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

// A function for each width of a part: all of them in one would be more than a compiler takes in hand.
dispatch! {
    /// The sums of two whole planes, each a vector.
    fn of_pair(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = pair;
    /// Those of one.
    fn of_whole(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = whole;
    /// Those of one that is two vectors.
    fn of_halves(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = halves;
    /// Those of eight lanes.
    fn of_half(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = half;
}

/// Makes the kernels of the functions above, which all have one contract.
///
/// # Safety
///
/// Compiled for the vectors' instructions. The rows have the maps' lengths, the weights that of `packed_len`, and the axes are those of
/// the maps; a part has the lanes of as many vectors, or the next one has them too.
macro_rules! widths {
    ($($name:ident: $vector:ident $count:literal if $is_one:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name<W: Apart, H: Lanes>(
            job: &Job<'_>,
            segments: &[Segment; 3],
            samples: Range<usize>,
            part: Part,
            weights: usize,
        ) {
            // Known when it is compiled: a set of instructions has no text of the others' widths.
            if $is_one {
                // SAFETY: this function's contract.
                unsafe { of_part::<W, $vector, $count>(job, segments, samples, part, weights) }
            } else {
                unreachable!("a part of another width");
            }
        }
    )*};
}
widths! {
    pair: W 2 if W::COUNT == WIDEST;
    whole: W 1 if W::COUNT == WIDEST;
    halves: H 2 if W::COUNT < WIDEST;
    half: H 1 if true;
}

/// Positions of a line that a block has at most: when it has one line, and when it has two. `W::COUNT` says how many registers there
/// are: 16 of 8 floats, else 32.
const fn most<W: Lanes>(vectors: usize) -> (usize, usize) {
    match (W::COUNT == WIDEST, vectors) {
        (true, 1) => (8, 8),
        (true, _) => (8, 4),
        (false, 1) => (8, 5),
        (false, _) => (6, 3),
    }
}

/// How a block's sums run through the source and the weights.
struct Walk {
    /// Positions of a plane of the source.
    positions: usize,
    /// How many taps are summed.
    taps: [usize; 3],
    /// Positions from one to the next.
    apart: [usize; 3],
    /// The first of them, and from one to the next, counted in all taps of the kernel.
    tap: usize,
    tap_apart: [usize; 3],
    /// All taps.
    kernel: usize,
    /// Positions from one of the block's lines to the next, and likewise columns.
    line: usize,
    column: usize,
    /// Whether neighbouring taps of a line are neighbouring positions, as neighbouring columns are.
    is_line: bool,
    /// Weights from one channel's to the next one's, and from one vector's to the next one's.
    row: usize,
    vector: usize,
}

/// What the sums of one group run over.
#[derive(Clone, Copy)]
struct Group {
    planes: &'static [Plane],
    /// Lanes of the first plane that are other groups', and all channels of this one.
    skip: usize,
    channels: usize,
    /// Floats of the source before the first plane.
    source: usize,
    /// Weights before the group's.
    weights: usize,
    /// The lanes of the result that are its own.
    lanes: [usize; 2],
}

impl Group {
    const NONE: Group = Group { planes: &[], skip: 0, channels: 0, source: 0, weights: 0, lanes: [0; 2] };

    /// The groups of a part of the planes `to`, whose weights begin at `weights`.
    fn of(conv: &Conv, from: &'static Blocked, to: &Blocked, part: &Part, weights: usize) -> [Group; HALF] {
        let mut groups = [Group::NONE; HALF];
        for number in 0..part.groups {
            let Source { planes, plane, skip, channels } = Source::of(from.planes, conv.groups, part.group + number);
            let own = part.lanes_of(part.group + number, to.channels() / conv.groups);
            groups[number] = Group {
                planes,
                skip,
                channels,
                source: from.plane(plane),
                weights: weights + number * part.lanes * channels * taps(conv),
                lanes: [own.start, own.end],
            };
        }
        groups
    }
}

/// The sums of some outputs, in a part of a plane, or in two planes of one group when there are two vectors of whole planes.
///
/// # Safety
///
/// As of [`widths`]; `V` vectors `L` are the lanes of `part`, or of it and the next one, of the same lanes. The part's weights begin at
/// `first_weight`.
#[inline(always)]
unsafe fn of_part<W: Apart, L: Lanes, const V: usize>(
    job: &Job<'_>,
    segments: &[Segment; 3],
    samples: Range<usize>,
    part: Part,
    first_weight: usize,
) {
    let [depths, lines, columns] = segments;
    let (from, to) = (job.from, job.to);
    let whole = from.whole();
    let kernel = job.conv.kernel;
    let groups = Group::of(job.conv, from, to, &part, first_weight);
    let groups = &groups[..part.groups];
    // A vector of a whole plane is followed by the next plane's.
    let is_plane = L::COUNT == part.lanes;
    let walk = Walk {
        positions: from.positions(),
        taps: [depths.taps, lines.taps, columns.taps],
        apart: [0, 1, 2].map(|axis| job.axes[axis].source_step() * whole[axis + 1..].iter().product::<usize>()),
        tap: (depths.tap * kernel[1] + lines.tap) * kernel[2] + columns.tap,
        tap_apart: [0, 1, 2].map(|axis| job.axes[axis].tap_step() * kernel[axis + 1..].iter().product::<usize>()),
        kernel: taps(job.conv),
        line: job.axes[1].advance() * whole[2],
        column: job.axes[2].advance(),
        is_line: [job.axes[2].advance(), job.axes[2].source_step(), job.axes[2].tap_step()] == [1; 3],
        row: part.lanes,
        vector: if is_plane { part.lanes * groups[0].channels * taps(job.conv) } else { L::COUNT },
    };
    let is_empty = walk.taps.contains(&0);
    let weights = job.weights.as_ptr();
    let bias = job.finish.bias_of(to.planes, part.plane);
    let window = if job.pools { 2 } else { 1 };
    let (one_line, two_lines) = most::<W>(V);
    let mut block = Block::new(part.plane, part.lane, [0, 1, 2].map(|axis| job.axes[axis].step()), window);
    // Sums of a further group, of which few lanes are kept.
    let mut others = [0.0; BLOCK * WIDEST];
    for sample in samples {
        let x = job.x.row(sample).as_ptr();
        // SAFETY: rows of as many samples.
        let at = |(first, stride): (*mut f32, usize)| unsafe { first.add(sample * stride) };
        let (y, places) = (at(job.y), job.places.map(|places| at(places).cast::<u8>()));
        for depth in 0..depths.count {
            let mut line = 0;
            while line < lines.count {
                let both = lines.count - line > 1 && (V == 1 || window == 2 || columns.count <= two_lines);
                let most = if both { two_lines / window * window } else { one_line };
                // Blocks of nearly the same size, in whole windows.
                let blocks = columns.count.div_ceil(most);
                let mut column = 0;
                for number in 0..blocks {
                    let end = columns.count / window * (number + 1) / blocks * window;
                    let count = end - column;
                    let [a, b, c] = [0, 1, 2]
                        .map(|axis| segments[axis].source + [depth, line, column][axis] * job.axes[axis].advance());
                    let at = if is_empty { 0 } else { (a * whole[1] + b) * whole[2] + c };
                    block.place(
                        [0, 1, 2]
                            .map(|axis| segments[axis].first + [depth, line, column][axis] * job.axes[axis].step()),
                        both,
                        count,
                    );
                    // SAFETY: the segments' windows lie inside the source's planes, which the row has; the weights are packed for
                    // these planes; the block's positions are outputs.
                    unsafe {
                        // One call for all groups: what it inlines is most of this kernel's text.
                        for (number, group) in groups.iter().enumerate() {
                            let is_first = number == 0;
                            let to = if is_first { block.sums.as_mut_ptr() } else { others.as_mut_ptr() };
                            block_sums::<W, L, V>(&walk, group, both, count, x, at, weights, to);
                            if is_first {
                                continue;
                            }
                            let floats = block.lines * count * L::COUNT;
                            let all = block.sums[..floats].chunks_exact_mut(L::COUNT);
                            for (sums, others) in all.zip(others[..floats].chunks_exact(L::COUNT)) {
                                sums[group.lanes[0]..group.lanes[1]]
                                    .copy_from_slice(&others[group.lanes[0]..group.lanes[1]]);
                            }
                        }
                        if window == 2 {
                            job.finish.store_maxima::<L, V>(&mut block, &bias, to, y, places);
                        } else {
                            job.finish.store::<L, V>(&block, &bias, sample, to, y);
                        }
                    }
                    column = end;
                }
                line += if both { 2 } else { 1 };
            }
        }
    }
}

/// The sums of a block of one or two lines of `columns` positions: `[line][column][vector]` to `to`.
///
/// # Safety
///
/// As of [`sums`]; at most as many columns as [`most`] says.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block_sums<W: Apart, L: Lanes, const V: usize>(
    walk: &Walk,
    group: &Group,
    both: bool,
    columns: usize,
    x: *const f32,
    at: usize,
    weights: *const f32,
    to: *mut f32,
) {
    macro_rules! blocks {
        ($($lines:literal $columns:literal $(if $condition:expr)?;)*) => {
            match (if both { 2 } else { 1 }, columns) {
                // SAFETY: this function's contract.
                $(($lines, $columns) $(if $condition)? => unsafe {
                    W::sums::<L, V, $lines, $columns>(walk, group, x, at, weights, to)
                },)*
                _ => unreachable!("a block has some columns"),
            }
        };
    }
    blocks! {
        1 1; 1 2; 1 3; 1 4; 1 5; 1 6; 1 7; 1 8;
        2 1; 2 2; 2 3; 2 4;
        2 5 if V == 1; 2 6 if V == 1; 2 7 if V == 1; 2 8 if V == 1;
    }
}

/// [`sums`] as functions of their own, with the instructions of a part's widest vector: blocks of all sizes in one function are more
/// than a compiler takes in hand.
trait Apart: Lanes {
    /// # Safety
    ///
    /// That of [`sums`], on a machine that has this vector's instructions.
    unsafe fn sums<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
        walk: &Walk,
        group: &Group,
        x: *const f32,
        at: usize,
        weights: *const f32,
        to: *mut f32,
    );
}

macro_rules! apart {
    ($($(#[cfg($machine:meta)])? $vector:ty $(: $instructions:literal)?;)*) => {$(
        $(#[cfg($machine)])?
        impl Apart for $vector {
            #[inline(always)]
            unsafe fn sums<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
                walk: &Walk,
                group: &Group,
                x: *const f32,
                at: usize,
                weights: *const f32,
                to: *mut f32,
            ) {
                #[inline(never)]
                $(#[target_feature(enable = $instructions)])?
                unsafe fn of<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
                    walk: &Walk,
                    group: &Group,
                    x: *const f32,
                    at: usize,
                    weights: *const f32,
                    to: *mut f32,
                ) {
                    // SAFETY: the caller's.
                    unsafe { sums::<L, V, LINES, COLUMNS>(walk, group, x, at, weights, to) }
                }
                // SAFETY: the caller's.
                unsafe { of::<L, V, LINES, COLUMNS>(walk, group, x, at, weights, to) }
            }
        }
    )*};
}
apart! {
    Portable;
    #[cfg(target_arch = "x86_64")]
    F32x8: "avx2,fma";
    #[cfg(target_arch = "x86_64")]
    F32x16: "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl";
}

/// # Safety
///
/// Compiled for the vectors' instructions. From position `at` on, `x` has all positions that the walk sees from the block's lines and
/// columns, in each plane; `weights` has those of the group's channels and the walk's vectors; `to` takes the block.
#[inline(always)]
unsafe fn sums<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
    walk: &Walk,
    group: &Group,
    x: *const f32,
    at: usize,
    weights: *const f32,
    to: *mut f32,
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut acc = [[[L::splat(0.0); V]; COLUMNS]; LINES];
        let (mut x, mut weights) = (x.add(group.source), weights.add(group.weights));
        let (mut skip, mut rest) = (group.skip, group.channels);
        for plane in group.planes {
            if rest == 0 {
                break;
            }
            let plane = &Plane { lanes: plane.lanes, channels: rest.min(plane.channels - skip) };
            let from = x.add(at * plane.lanes + skip);
            (skip, rest) = (0, rest - plane.channels);
            // Two lines have more addresses than there are registers for, unless most of their distances are constants.
            let many = LINES == 2 && COLUMNS >= 3;
            let is_image = V == 1 && COLUMNS >= 4 && walk.is_line && plane.channels == plane.lanes;
            match walk.column * plane.lanes {
                1 if is_image && walk.taps[2] == 3 => {
                    add_image::<L, V, LINES, COLUMNS, 1, 3>(walk, from, weights, &mut acc)
                }
                1 if is_image && walk.taps[2] == 5 => {
                    add_image::<L, V, LINES, COLUMNS, 1, 5>(walk, from, weights, &mut acc)
                }
                3 if is_image && walk.taps[2] == 3 => {
                    add_image::<L, V, LINES, COLUMNS, 3, 3>(walk, from, weights, &mut acc)
                }
                1 if many && V == 1 => add_plane::<L, V, LINES, COLUMNS, 1>(walk, plane, from, weights, &mut acc),
                3 if many && V == 1 => add_plane::<L, V, LINES, COLUMNS, 3>(walk, plane, from, weights, &mut acc),
                16 if many => add_plane::<L, V, LINES, COLUMNS, 16>(walk, plane, from, weights, &mut acc),
                _ => add_plane::<L, V, LINES, COLUMNS, 0>(walk, plane, from, weights, &mut acc),
            }
            x = x.add(walk.positions * plane.lanes);
            weights = weights.add(walk.kernel * plane.channels * walk.row);
        }
        for q in 0..LINES {
            for p in 0..COLUMNS {
                for v in 0..V {
                    acc[q][p][v].store(to.add(((q * COLUMNS + p) * V + v) * L::COUNT));
                }
            }
        }
    }
}

/// Adds what a plane gives; `STEP` is the floats from one of the block's columns to the next, or 0 when they are no constant.
///
/// # Safety
///
/// As of [`sums`]; `x` is the plane's position of the block, and `weights` are the plane's.
#[inline(always)]
unsafe fn add_plane<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize, const STEP: usize>(
    walk: &Walk,
    plane: &Plane,
    x: *const f32,
    weights: *const f32,
    acc: &mut [[[L; V]; COLUMNS]; LINES],
) {
    let line = walk.line * plane.lanes;
    let column = if STEP == 0 { walk.column * plane.lanes } else { STEP };
    let channel_row = plane.channels * walk.row;
    // Neighbouring taps of whole positions are one run of floats, of weights too.
    let is_run = plane.channels == plane.lanes && walk.apart[2] == 1 && walk.tap_apart[2] == 1;
    let (taps, run) = if is_run { (1, walk.taps[2] * plane.lanes) } else { (walk.taps[2], plane.channels) };
    // The runs of an image are short: most have a length that is a multiple of three.
    let unroll = if STEP == 1 || STEP == 3 { 3 } else { 1 };
    for a in 0..walk.taps[0] {
        for b in 0..walk.taps[1] {
            for c in 0..taps {
                let position = a * walk.apart[0] + b * walk.apart[1] + c * walk.apart[2];
                let tap = walk.tap + a * walk.tap_apart[0] + b * walk.tap_apart[1] + c * walk.tap_apart[2];
                // SAFETY: this function's contract.
                unsafe {
                    let mut from = x.add(position * plane.lanes);
                    let mut weight = weights.add(tap * channel_row);
                    for _ in 0..run / unroll {
                        for _ in 0..unroll {
                            add_term::<L, V, LINES, COLUMNS>(from, line, column, weight, walk.vector, acc);
                            from = from.add(1);
                            weight = weight.add(walk.row);
                        }
                    }
                    for _ in 0..run % unroll {
                        add_term::<L, V, LINES, COLUMNS>(from, line, column, weight, walk.vector, acc);
                        from = from.add(1);
                        weight = weight.add(walk.row);
                    }
                }
            }
        }
    }
}

/// Adds what an image gives, of `STEP` channels, by `TAPS` taps a line: in the order of [`add_plane`], but a line's weights stay in
/// registers, and each float of the image is read once for all columns that see it.
///
/// # Safety
///
/// As of [`add_plane`]; the walk's taps and columns are neighbouring positions.
#[inline(always)]
unsafe fn add_image<
    L: Lanes,
    const V: usize,
    const LINES: usize,
    const COLUMNS: usize,
    const STEP: usize,
    const TAPS: usize,
>(
    walk: &Walk,
    x: *const f32,
    weights: *const f32,
    acc: &mut [[[L; V]; COLUMNS]; LINES],
) {
    let line = walk.line * STEP;
    for a in 0..walk.taps[0] {
        for b in 0..walk.taps[1] {
            let tap = walk.tap + a * walk.tap_apart[0] + b * walk.tap_apart[1];
            // SAFETY: this function's contract.
            unsafe {
                let from = x.add((a * walk.apart[0] + b * walk.apart[1]) * STEP);
                let weights = weights.add(tap * STEP * walk.row);
                let mut by = [[L::splat(0.0); STEP]; TAPS];
                for k in 0..TAPS {
                    for c in 0..STEP {
                        by[k][c] = L::load(weights.add((k * STEP + c) * walk.row));
                    }
                }
                // A loop over positions would be too long to be unrolled.
                macro_rules! positions {
                    ($($position:literal)*) => {$(
                        if $position < COLUMNS + TAPS - 1 {
                            // Floats that are read long before they are used take the sums' registers.
                            compiler_fence(Ordering::SeqCst);
                            for q in 0..LINES {
                                for c in 0..STEP {
                                    let value = L::splat(*from.add(q * line + $position * STEP + c));
                                    for k in 0..TAPS {
                                        if k <= $position && $position - k < COLUMNS {
                                            let to = &mut acc[q][$position - k][0];
                                            *to = value.mul_add(by[k][c], *to);
                                        }
                                    }
                                }
                            }
                        }
                    )*};
                }
                positions!(0 1 2 3 4 5 6 7 8 9 10 11);
            }
        }
    }
}

/// Adds the products of a float for each position and a weight for each lane.
///
/// # Safety
///
/// As of [`add_plane`]; `from` and `weight` are those of the first position and vector.
#[inline(always)]
unsafe fn add_term<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
    from: *const f32,
    line: usize,
    column: usize,
    weight: *const f32,
    vector: usize,
    acc: &mut [[[L; V]; COLUMNS]; LINES],
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut by = [L::splat(0.0); V];
        for v in 0..V {
            by[v] = L::load(weight.add(v * vector));
        }
        for q in 0..LINES {
            for p in 0..COLUMNS {
                let value = L::splat(*from.add(q * line + p * column));
                for v in 0..V {
                    acc[q][p][v] = value.mul_add(by[v], acc[q][p][v]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
