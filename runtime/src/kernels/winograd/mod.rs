//! Convolutions with 3x3 windows by Winograd's F(4x4, 3x3) on values in planes: a tile of 4x4 outputs from a window of 6x6 inputs by 36
//! products instead of 144.
//!
//! Three passes over 16 or 32 tiles at a time: the windows are transformed to their 36 points, the points are multiplied with those of
//! the weights (36 small products of matrices, tiles by input channels by output channels), the results are transformed to outputs.
//! The tiles of a call are numbered through all its samples, so that small maps fill such a block as well. The convolution of an image,
//! forward, is one pass over lines of tiles: `image.rs`.
//!
//! Where exact numerics are asked for, all of it is the direct convolution instead: the same weights, packed for that, in the same place.
//!
//! Errors are those of the transformed values: a result of C channels is within `(8 + C / 8) 2^-24` of the sum over channels of the
//! largest input *of the tile's window* times the weights' magnitudes. A NaN or an infinity in the input makes NaN of all outputs whose
//! tile's window has it.
#![allow(unsafe_code)]
// Arrays of registers are indexed by plain loop variables, or they are none.
#![allow(clippy::needless_range_loop)]

mod batch;
mod image;
mod transform;

use std::ops::Range;

pub use batch::{batch_scratch, grad_weight_batch};

use crate::arena::{Pack, Parts, Rows, Tile, View, tile};
use crate::isa::Numerics;
use crate::kernels::conv::Conv;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::{Act, Epilogue, Store, direct};
use crate::layout::{Blocked, Plane, channels, lanes};
use crate::pool;
use crate::run::Chunks;
use transform::{POINTS, TILE, WINDOW};

/// Floats that a plane's position has in scratch, whatever its lanes.
const LANES: usize = 16;

/// The most tiles of a block.
const MOST: usize = 32;

/// Floats between the points of packed weights and of blocks in scratch, beside their own: without them, all 36 would meet in the same
/// few lines of the caches.
const APART: usize = 16;

/// Samples of a tile of the plan.
const SAMPLES: usize = 8;

/// The most floats of the points' weight gradient that are kept until the last block of tiles; larger ones are transformed and added
/// to the gradient block by block.
const KEPT: usize = 1 << 20;

/// Floats of packed weights that no cache holds until they are read.
const LONG: usize = 1 << 22;

/// Floats from a pointer in scratch to the next line of the cache.
const ALIGNMENT: usize = 15;

/// Floats of the gradient of the windows of a plane of inputs and two of outputs.
const WINDOWS: usize = 9 * LANES * 2 * LANES;

const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

/// Floats from one point of packed weights to the next.
const fn weight_point(from: &[Plane], to: &[Plane]) -> usize {
    channels(from) * lanes(to) + APART
}

/// Floats of the packed weights that make `to` of `from`: of [`pack`] with the planes of x and y, of [`pack_transposed`] with those of
/// y and x.
pub const fn packed_len(from: &[Plane], to: &[Plane]) -> usize {
    POINTS * weight_point(from, to)
}

/// Tiles that cover the output of a convolution, in one sample.
const fn tiles(size: [usize; 3]) -> usize {
    size[1].div_ceil(TILE) * size[2].div_ceil(TILE)
}

/// Tiles of a block.
const fn block(tiles: usize) -> usize {
    least(MOST / 2, SAMPLES * tiles)
}

/// Tiles of a block where a gradient of weights is made.
const fn gradient_block(tiles: usize) -> usize {
    least(MOST, SAMPLES * tiles)
}

/// Floats from one point of `planes` of a block of tiles to the next.
const fn point(planes: usize, block: usize) -> usize {
    planes * block * LANES + APART
}

/// Whether the points' gradient is kept from block to block.
const fn is_kept(x: &[Plane], y: &[Plane], block: usize, tiles: usize) -> bool {
    block < SAMPLES * tiles && POINTS * x.len() * LANES * lanes(y) <= KEPT
}

/// Floats of the points' gradient, or of the largest part of it.
const fn gradient_len(x: &[Plane], y: &[Plane], is_kept: bool) -> usize {
    POINTS * LANES * if is_kept { x.len() * lanes(y) } else { 2 * LANES }
}

const fn forward_scratch(from: &[Plane], to: &[Plane], out_size: [usize; 3]) -> usize {
    let block = block(tiles(out_size));
    POINTS * (point(from.len(), block) + point(to.len(), block))
}

/// Floats of scratch that any of the functions needs, for values with these planes.
pub const fn scratch(conv: &Conv, x: &[Plane], y: &[Plane]) -> usize {
    if image::is_image(x) {
        return image::SCRATCH + ALIGNMENT;
    }
    let forward = forward_scratch(x, y, conv.out_size);
    let back = forward_scratch(y, x, conv.size);
    let tiles = tiles(conv.out_size);
    let block = gradient_block(tiles);
    let kept = gradient_len(x, y, is_kept(x, y, block, tiles));
    let weights = POINTS * (point(x.len(), block) + point(y.len(), block)) + y.len() * LANES + WINDOWS + kept;
    let mut most = forward;
    if back > most {
        most = back;
    }
    if weights > most {
        most = weights;
    }
    most + ALIGNMENT
}

/// Packs the weight `[out][in][3][3]` from parameter `weight` on for [`forward`], at `to` of the packed parameters.
pub fn pack(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    if p.numerics == Numerics::Exact {
        return direct::pack(p, conv, x, y, weight, to);
    }
    check_planes(conv, x, y);
    let inputs = conv.channels;
    let weights = &p.params[weight..][..9 * inputs * conv.out_channels];
    pack_weights(p.isa, p, weights, [9 * inputs, 9], false, x, y, to);
}

/// Packs the same weight for [`grad_input`]: windows reversed, inputs and outputs exchanged.
pub fn pack_transposed(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    if p.numerics == Numerics::Exact {
        return direct::pack_transposed(p, conv, x, y, weight, to);
    }
    check_planes(conv, x, y);
    check_no_image(x);
    let inputs = conv.channels;
    let weights = &p.params[weight..][..9 * inputs * conv.out_channels];
    pack_weights(p.isa, p, weights, [9, 9 * inputs], true, y, x, to);
}

/// `y = epilogue(x * weight)`, of weights that [`pack`] packed.
pub fn forward(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    if t.numerics == Numerics::Exact {
        return direct::forward(t, conv, x, packed, epilogue, y);
    }
    convolve(t, conv, x, packed, epilogue, y, Store::Write, Pooled::No);
}

/// `y = epilogue(maximum of 2x2 of x * weight)`: the epilogue of each window's maximum, which is the maximum of the epilogue where that
/// is a bias and a nonlinearity that does not decrease. An odd last line or column is dropped.
///
/// `places` has a byte for each float of y's map, without halo, `[plane][line][column][lanes]`: which of its window's four outputs, line
/// by line, is the first of the largest; NaN is larger than any number.
pub fn forward_pool(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View, places: View) {
    if t.numerics == Numerics::Exact {
        return direct::forward_pool(t, conv, x, packed, epilogue, y, places);
    }
    convolve(t, conv, x, packed, epilogue, y, Store::Write, Pooled::Places(places));
}

/// [`forward_pool`] where nobody asks for the places.
pub fn infer_pool(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    if t.numerics == Numerics::Exact {
        return direct::infer_pool(t, conv, x, packed, epilogue, y);
    }
    convolve(t, conv, x, packed, epilogue, y, Store::Write, Pooled::Yes);
}

/// `dx (+)= dy * weight reversed`, of weights that [`pack_transposed`] packed.
pub fn grad_input(t: &mut Tile<'_>, conv: &Conv, dy: View, packed: usize, dx: View, store: Store) {
    if t.numerics == Numerics::Exact {
        return direct::grad_input(t, conv, dy, packed, dx, store);
    }
    back(t, conv, dy, packed, Epilogue::NONE, dx, store);
}

/// The transposed convolution of `x`: [`grad_input`]'s sum, and what the epilogue makes of it. `conv` is the convolution that it is the
/// gradient of.
pub fn transposed(t: &mut Tile<'_>, conv: &Conv, x: View, packed: usize, epilogue: Epilogue, y: View) {
    if t.numerics == Numerics::Exact {
        return direct::transposed(t, conv, x, packed, epilogue, y);
    }
    back(t, conv, x, packed, epilogue, y, Store::Write);
}

fn back(t: &mut Tile<'_>, conv: &Conv, dy: View, packed: usize, epilogue: Epilogue, dx: View, store: Store) {
    let [_, lines, columns] = conv.padding;
    let back = Conv {
        channels: conv.out_channels,
        size: conv.out_size,
        out_channels: conv.channels,
        out_size: conv.size,
        padding: [0, 2 - lines, 2 - columns],
        ..*conv
    };
    convolve(t, &back, dy, packed, epilogue, dx, store, Pooled::No);
}

/// `dweight += x * dy` and `dbias += sum of dy`, over the tile's samples; `weight` and `bias` are offsets into the gradient.
pub fn grad_weight(t: &mut Tile<'_>, conv: &Conv, x: View, dy: View, weight: usize, bias: Option<usize>) {
    if t.numerics == Numerics::Exact {
        return direct::grad_weight(t, conv, x, dy, weight, bias);
    }
    let (x_map, dy_map) = (x.map(), dy.map());
    check(conv, x, dy, conv.out_size);
    check_no_image(x_map.planes);
    let len = 9 * conv.channels * conv.out_channels;
    let Parts { reads: [x, dy], isa, gradients, scratch, .. } = t.parts([x, dy], []);
    let tiles = tiles(conv.out_size);
    let block = gradient_block(tiles);
    let (x_point, dy_point) = (point(x_map.planes.len(), block), point(dy_map.planes.len(), block));
    let is_kept = is_kept(x_map.planes, dy_map.planes, block, tiles);
    let scratch = aligned(scratch);
    let (x_points, scratch) = scratch.split_at_mut(POINTS * x_point);
    let (dy_points, scratch) = scratch.split_at_mut(POINTS * dy_point);
    let (sums, scratch) = scratch.split_at_mut(dy_map.planes.len() * LANES);
    sums.fill(0.0);
    let (windows, scratch) = scratch.split_at_mut(WINDOWS);
    let points = &mut scratch[..gradient_len(x_map.planes, dy_map.planes, is_kept)];
    let samples = x.samples();
    let job = WeightGradient {
        grid: Grid::new(conv.out_size),
        padding: [conv.padding[1], conv.padding[2]],
        x: Source::of(x, x_map),
        dy: Source::of(dy, dy_map),
        samples,
        block,
        x_points: Points { first: x_points.as_mut_ptr(), point: x_point, plane: block * LANES },
        dy_points: Points { first: dy_points.as_mut_ptr(), point: dy_point, plane: block * LANES },
        sums: bias.map(|_| sums.as_mut_ptr()),
        points: points.as_mut_ptr(),
        is_kept,
        windows: windows.as_mut_ptr(),
    };
    add_weight_gradient(isa, &job, &mut gradients[weight..][..len]);
    if let Some(bias) = bias {
        let mut to = gradients[bias..][..conv.out_channels].iter_mut();
        for (plane, sums) in dy_map.planes.iter().zip(sums.chunks_exact(LANES)) {
            to.by_ref().zip(&sums[..plane.channels]).for_each(|(to, sum)| *to += sum);
        }
    }
}

/// Whether a pool follows, and where it writes its places.
#[derive(Clone, Copy)]
enum Pooled {
    No,
    Yes,
    Places(View),
}

fn check_planes(conv: &Conv, x: &[Plane], y: &[Plane]) {
    let is_ours = conv.kernel == [1, 3, 3] && conv.stride == [1; 3] && conv.dilation == [1; 3] && conv.groups == 1;
    assert!(is_ours, "a convolution with 3x3 windows, stride 1, dilation 1 and one group");
    assert!(conv.channels == channels(x) && conv.out_channels == channels(y), "planes have the convolution's channels");
    let is_vector = |plane: &Plane| (plane.lanes == 8 || plane.lanes == LANES) && plane.channels <= plane.lanes;
    let is_input = image::is_image(x) || x.iter().all(is_vector);
    assert!(is_input && y.iter().all(is_vector), "planes are of 8 or 16 lanes, or an image's");
}

/// Asserts that planes are none of an image, whose gradients are direct or sparse.
fn check_no_image(x: &[Plane]) {
    assert!(!image::is_image(x), "an image is seen forward only");
}

/// Asserts that two values are what a convolution reads, and what it makes, or what is pooled of it.
fn check(conv: &Conv, x: View, y: View, y_size: [usize; 3]) {
    let (x_map, y_map) = (x.map(), y.map());
    check_planes(conv, x_map.planes, y_map.planes);
    assert!(x.len == x_map.len() && y.len == y_map.len(), "maps have their floats");
    assert!(x_map.size == conv.size && y_map.size == y_size, "maps have the convolution's sizes");
    let padding = conv.padding;
    assert!(padding[0] == 0 && padding[1] <= 2 && padding[2] <= 2, "a window reaches into the map");
    let fits = |axis: usize| conv.out_size[axis] + 2 == conv.size[axis] + 2 * padding[axis];
    assert!(conv.size[0] == 1 && conv.out_size[0] == 1 && fits(1) && fits(2), "the output is [out_channels][out_size]");
}

/// Scratch from the first line of the cache on.
fn aligned(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(64).min(ALIGNMENT);
    &mut scratch[skip..]
}

#[allow(clippy::too_many_arguments)]
fn convolve(
    t: &mut Tile<'_>,
    conv: &Conv,
    x: View,
    packed: usize,
    epilogue: Epilogue,
    y: View,
    store: Store,
    pooled: Pooled,
) {
    let Epilogue { bias, before, act, after } = epilogue;
    let (x_map, y_map) = (x.map(), y.map());
    let [_, lines, columns] = conv.out_size;
    let (is_pooled, places) = match pooled {
        Pooled::No => (false, None),
        Pooled::Yes => (true, None),
        Pooled::Places(places) => (true, Some(places)),
    };
    let y_size = if is_pooled { [1, lines / 2, columns / 2] } else { conv.out_size };
    check(conv, x, y, y_size);
    for value in [before, after].into_iter().flatten() {
        let map = value.map();
        assert!(map.planes == y_map.planes && map.size == y_size, "what is added has the result's planes");
        assert_eq!(value.len, map.len(), "maps have their floats");
    }
    let bytes = lanes(y_map.planes) * y_size[1] * y_size[2];
    assert!(places.is_none_or(|places| places.len == bytes.div_ceil(4)), "a byte for each pooled element");

    // Where a value is missing, another one stands for it that is not read, or an empty one.
    let reads = [x, before.unwrap_or(x), after.unwrap_or(x)];
    let writes = [y, places.unwrap_or(tile(0, 0))];
    let Parts {
        reads: [x, before_rows, after_rows],
        writes: [mut y, mut place_rows],
        params,
        packed: all,
        isa,
        scratch,
        threads,
        ..
    } = t.parts(reads, writes);
    let samples = x.samples();
    if store == Store::Write {
        (0..samples).for_each(|sample| y_map.clear_halo(y.row(sample)));
    }
    assert_eq!(y.row_len(), y_map.len(), "maps have their floats");
    let to = Source::new(y.as_mut_ptr().cast_const(), y.stride(), y_map);
    let after = match store {
        Store::Write => after.map(|view| Source::of(after_rows, view.map())),
        Store::Add => Some(to),
    };
    let block = block(tiles(conv.out_size));
    // Outputs that no window of the pool has need no tile.
    let made = if is_pooled { y_size.map(|size| 2 * size) } else { y_size };
    let nowhere = Points { first: std::ptr::null_mut(), point: 0, plane: block * LANES };
    let job = Convolution {
        grid: Grid::new(made),
        padding: [conv.padding[1], conv.padding[2]],
        x: Source::of(x, x_map),
        y: to,
        size: [y_size[1], y_size[2]],
        tiles: 0..samples * Grid::new(made).tiles(),
        groups: 0..groups(y_map.planes).count(),
        block,
        weights: &all[packed..][..packed_len(x_map.planes, y_map.planes)],
        bias: bias.map(|bias| &params[bias..][..conv.out_channels]),
        before: before.map(|view| Source::of(before_rows, view.map())),
        act,
        after,
        is_pooled,
        places: places.map(|_| {
            let stride = 4 * place_rows.stride();
            (place_rows.as_mut_ptr().cast::<u8>(), stride)
        }),
        x_points: nowhere,
        y_points: nowhere,
    };
    let each = scratch.len() / threads;
    let (scratch, job) = (Chunks::new(scratch), Shared(job));
    let (blocks, shares) = job.get().split(threads);
    pool::run(threads, blocks * shares, &|worker, task| {
        let job = job.get();
        // SAFETY: scratch of this worker, which runs one task at a time.
        let scratch = aligned(unsafe { scratch.chunk(worker * each, each) });
        let tiles = job.block_of(task / shares, blocks);
        let groups = part(job.groups.end, task % shares, shares);
        if image::is_image(x_map.planes) {
            return image::convolve(isa, Convolution { tiles, groups, ..*job }, scratch);
        }
        let (x_point, y_point) = (point(x_map.planes.len(), block), point(y_map.planes.len(), block));
        let (x_points, scratch) = scratch.split_at_mut(POINTS * x_point);
        let y_points = &mut scratch[..POINTS * y_point];
        run_convolution(
            isa,
            &Convolution {
                tiles,
                groups,
                x_points: Points { first: x_points.as_mut_ptr(), point: x_point, ..nowhere },
                y_points: Points { first: y_points.as_mut_ptr(), point: y_point, ..nowhere },
                ..*job
            },
        );
    });
}

/// Part `number` of `count` of so many things.
fn part(things: usize, number: usize, count: usize) -> Range<usize> {
    things * number / count..things * (number + 1) / count
}

/// What several tasks run parts of.
struct Shared<'a>(Convolution<'a>);

// SAFETY: it borrows what its pointers point to. Nobody writes what is read; what is written is the outputs of tiles and groups, of which
// each is one task's.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    fn get(&self) -> &Convolution<'a> {
        &self.0
    }
}

/// A value: samples of `map`, `stride` floats apart. What inner loops need of the map is here: they cannot know that their own writes
/// leave the map as it is.
#[derive(Clone, Copy)]
struct Source {
    first: *const f32,
    stride: usize,
    map: &'static Blocked,
    /// Positions of a plane, lines of it, and columns of these.
    positions: usize,
    lines: usize,
    columns: usize,
    /// Lines and columns before the map.
    before: [usize; 2],
    /// The first position of the map.
    origin: usize,
}

/// Points of a block of tiles in scratch: `[point][plane][tile][LANES]`.
#[derive(Clone, Copy)]
struct Points {
    first: *mut f32,
    /// Floats from one point to the next.
    point: usize,
    /// Floats from one plane to the next.
    plane: usize,
}

/// A tile of outputs: its sample and its first output.
#[derive(Clone, Copy, Default)]
struct Place {
    sample: usize,
    line: usize,
    column: usize,
}

/// The tiles that cover an output.
#[derive(Clone, Copy)]
struct Grid {
    lines: usize,
    columns: usize,
}

/// What [`run_convolution`] computes. All tiles of `grid` lie in `samples` samples of the values, and scratch has room for a block.
struct Convolution<'a> {
    grid: Grid,
    padding: [usize; 2],
    x: Source,
    y: Source,
    /// Lines and columns of y.
    size: [usize; 2],
    /// Which tiles, counted through all samples, and which groups of planes of y.
    tiles: Range<usize>,
    groups: Range<usize>,
    block: usize,
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    before: Option<Source>,
    act: Act,
    after: Option<Source>,
    is_pooled: bool,
    /// The first sample's, and bytes from one sample to the next.
    places: Option<(*mut u8, usize)>,
    x_points: Points,
    y_points: Points,
}

/// Products of a tile's points from which on a thread is worth waking for them: some 20 microseconds of work.
const WORTH: usize = 1 << 19;

impl Convolution<'_> {
    /// Into how many parts of its tiles, and of its groups, it is cut for so many threads. Parts of groups transform the same windows.
    fn split(&self, threads: usize) -> (usize, usize) {
        let products = POINTS * channels(self.x.map.planes) * lanes(self.y.map.planes) * self.tiles.len();
        let threads = threads.min(products / WORTH);
        let blocks = self.tiles.len().div_ceil(self.block);
        match threads {
            0 | 1 => (1, 1),
            _ if blocks.is_multiple_of(threads) || blocks >= 4 * threads => (blocks, 1),
            _ => (blocks, threads.min(self.groups.len())),
        }
    }

    /// The bias of a plane of y; zero where there is none.
    fn bias_of(&self, plane: usize) -> [f32; LANES] {
        let (planes, mut bias) = (self.y.map.planes, [0.0; LANES]);
        if let Some(all) = self.bias {
            let count = planes[plane].channels;
            bias[..count].copy_from_slice(&all[channels(&planes[..plane])..][..count]);
        }
        bias
    }

    /// The tiles of part `number` of `count`: of one block, if there are as many parts as blocks.
    fn block_of(&self, number: usize, count: usize) -> Range<usize> {
        let blocks = part(self.tiles.len().div_ceil(self.block), number, count);
        blocks.start * self.block..self.tiles.end.min(blocks.end * self.block)
    }
}

/// What [`add_weight_gradient`] computes.
struct WeightGradient {
    grid: Grid,
    padding: [usize; 2],
    x: Source,
    dy: Source,
    samples: usize,
    block: usize,
    x_points: Points,
    dy_points: Points,
    /// Where the sums of dy go: `LANES` floats a plane.
    sums: Option<*mut f32>,
    /// The points' gradient: for each group of planes of dy and each plane of x, `[point][LANES of x][lanes of the group]`.
    points: *mut f32,
    /// Whether all of it is there, or one group and plane.
    is_kept: bool,
    /// Room for [`WINDOWS`] floats.
    windows: *mut f32,
}

impl Source {
    fn new(first: *const f32, stride: usize, map: &'static Blocked) -> Source {
        let ([_, lines, columns], [_, down, right]) = (map.whole(), map.before);
        let (positions, origin) = (map.positions(), map.position(0, 0, 0));
        Source { first, stride, map, positions, lines, columns, before: [down, right], origin }
    }

    fn of(rows: Rows<'_>, map: &'static Blocked) -> Source {
        assert_eq!(rows.row_len(), map.len(), "maps have their floats");
        Source::new(rows.as_ptr(), rows.stride(), map)
    }

    /// A square of positions, of which the first is `shift` before the tile's: its first float, and floats from line to line. Where it
    /// reaches out of the value it is copied to `staged`, with zeros.
    #[inline(always)]
    unsafe fn window<const SIDE: usize>(
        &self,
        place: &Place,
        plane: usize,
        lanes: usize,
        shift: [usize; 2],
        staged: &mut [f32; POINTS * LANES],
    ) -> (*const f32, usize) {
        let Source { lines, columns, before, origin, .. } = *self;
        // The first position with halo and padding before it.
        let (line, column) = (place.line + before[0], place.column + before[1]);
        let depth = origin - before[0] * columns - before[1];
        // SAFETY: the depth of the map, and a tile of a sample of the value.
        let first = unsafe { self.first.add(place.sample * self.stride + plane + depth * lanes) };
        let is_inside = line >= shift[0]
            && line - shift[0] + SIDE <= lines
            && column >= shift[1]
            && column - shift[1] + SIDE <= columns;
        if is_inside {
            // SAFETY: the whole square lies in the plane.
            return (unsafe { first.add(((line - shift[0]) * columns + column - shift[1]) * lanes) }, columns * lanes);
        }
        staged[..SIDE * SIDE * lanes].fill(0.0);
        let (skip, least) = (shift[1].saturating_sub(column), column.saturating_sub(shift[1]));
        let width = SIDE.saturating_sub(skip).min(columns.saturating_sub(least));
        for at in 0..SIDE {
            if let Some(from) = (line + at).checked_sub(shift[0])
                && from < lines
            {
                // SAFETY: `width` positions of line `from` of the plane, from column `least` on.
                let values =
                    unsafe { std::slice::from_raw_parts(first.add((from * columns + least) * lanes), width * lanes) };
                staged[(at * SIDE + skip) * lanes..][..width * lanes].copy_from_slice(values);
            }
        }
        (staged.as_ptr(), SIDE * lanes)
    }
}

impl Grid {
    fn new(size: [usize; 3]) -> Grid {
        Grid { lines: size[1].div_ceil(TILE), columns: size[2].div_ceil(TILE) }
    }

    fn tiles(&self) -> usize {
        self.lines * self.columns
    }

    /// The tiles from number `first` on.
    fn places(&self, first: usize, places: &mut [Place]) {
        for (number, place) in (first..).zip(places) {
            let (sample, tile) = (number / self.tiles(), number % self.tiles());
            *place = Place { sample, line: tile / self.columns * TILE, column: tile % self.columns * TILE };
        }
    }
}

/// Planes whose products are made together: two of 16 lanes, or one.
#[derive(Clone, Copy)]
struct Group {
    /// The first.
    plane: usize,
    planes: usize,
    /// Of all of them.
    lanes: usize,
    /// Lanes of the planes before.
    before: usize,
}

fn groups(planes: &[Plane]) -> impl Iterator<Item = Group> {
    let (mut plane, mut before) = (0, 0);
    std::iter::from_fn(move || {
        let first = planes.get(plane)?;
        let is_pair = first.lanes == LANES && planes.get(plane + 1).is_some_and(|second| second.lanes == LANES);
        let count = if is_pair { 2 } else { 1 };
        let group = Group { plane, planes: count, lanes: count * first.lanes, before };
        plane += count;
        before += group.lanes;
        Some(group)
    })
}

/// Calls a kernel of one vector for each vector of a plane, with the vector's first lane in front of its arguments.
macro_rules! each_vector {
    ($lanes:expr, $kernel:ident::<$wide:ident, $half:ident>($($argument:expr),* $(,)?)) => {
        if $lanes == $wide::COUNT {
            $kernel::<$wide>(0, $($argument),*);
        } else {
            for lane in (0..$lanes).step_by($half::COUNT) {
                $kernel::<$half>(lane, $($argument),*);
            }
        }
    };
}
use each_vector;

dispatch! {
    fn run_convolution(job: &Convolution<'_>) = convolution;
    fn add_weight_gradient(job: &WeightGradient, gradient: &mut [f32]) = weight_gradient;
    fn pack_weights(
        p: &mut Pack<'_>,
        weights: &[f32],
        strides: [usize; 2],
        is_reversed: bool,
        from: &[Plane],
        to: &[Plane],
        first: usize,
    ) = weight_points;
}

#[inline(always)]
unsafe fn convolution<W: Lanes, H: Lanes>(job: &Convolution<'_>) {
    let (from, to) = (job.x.map.planes, job.y.map.planes);
    let inputs = channels(from);
    let weight_point = weight_point(from, to);
    let groups = || groups(to).skip(job.groups.start).take(job.groups.len());
    let planes = groups().fold(to.len()..0, |all, group| all.start.min(group.plane)..group.plane + group.planes);
    let mut places = [Place::default(); MOST];
    for first in job.tiles.clone().step_by(job.block) {
        let places = &mut places[..job.block.min(job.tiles.end - first)];
        job.grid.places(first, places);
        // SAFETY: compiled for these vectors; all tiles are of the samples, and a block fits into its points.
        unsafe {
            points_of_inputs::<W, H>(&job.x, 0..job.x.map.planes.len(), job.padding, places, job.x_points);
            for point in 0..POINTS {
                let x = job.x_points.first.add(point * job.x_points.point).cast_const();
                let y = job.y_points.first.add(point * job.y_points.point);
                for group in groups() {
                    let weights = job.weights.as_ptr().add(point * weight_point + group.before * inputs);
                    let y = y.add(group.plane * job.y_points.plane);
                    products_of_group::<W, H>(
                        from,
                        group,
                        places.len(),
                        x,
                        job.x_points.plane,
                        weights,
                        y,
                        job.y_points.plane,
                    );
                }
            }
            let mut plane_at = lanes(&to[..planes.start]);
            for (index, plane) in to.iter().enumerate().take(planes.end).skip(planes.start) {
                let bias = job.bias_of(index);
                let points = job.y_points.first.add(index * job.y_points.plane).cast_const();
                each_vector!(plane.lanes, outputs::<W, H>(job, plane.lanes, places, points, &bias, plane_at));
                plane_at += plane.lanes;
            }
        }
    }
}

/// The points of the windows of tiles, in some planes.
#[inline(always)]
unsafe fn points_of_inputs<W: Lanes, H: Lanes>(
    x: &Source,
    planes: Range<usize>,
    padding: [usize; 2],
    places: &[Place],
    to: Points,
) {
    let mut first = x.map.plane(planes.start);
    for (index, plane) in x.map.planes[planes].iter().enumerate() {
        // SAFETY: the caller's: a block fits into its points.
        unsafe {
            let to = Points { first: to.first.add(index * to.plane), ..to };
            each_vector!(plane.lanes, windows::<W, H>(x, first, plane.lanes, padding, places, to));
        }
        first += plane.lanes * x.map.positions();
    }
}

/// A vector of a plane of [`points_of_inputs`].
#[inline(always)]
unsafe fn windows<L: Lanes>(
    lane: usize,
    x: &Source,
    plane: usize,
    lanes: usize,
    padding: [usize; 2],
    places: &[Place],
    to: Points,
) {
    let mut staged = [0.0; POINTS * LANES];
    for (tile, place) in places.iter().enumerate() {
        // SAFETY: a window has its vectors, and the points have room for the tile.
        unsafe {
            let (from, line) = x.window::<WINDOW>(place, plane, lanes, padding, &mut staged);
            let to_point = to.first.add(tile * LANES + lane);
            transform::inputs_to_points::<L>(from.add(lane), [line, lanes], to_point, [WINDOW * to.point, to.point]);
        }
    }
}

/// One point's products of a group of planes.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn products_of_group<W: Lanes, H: Lanes>(
    from: &[Plane],
    group: Group,
    tiles: usize,
    x: *const f32,
    x_plane: usize,
    weights: *const f32,
    y: *mut f32,
    y_plane: usize,
) {
    // SAFETY: the caller's; the parts of a group are its vectors.
    unsafe {
        match (group.lanes, W::COUNT) {
            (32, 16) => products::<W, 8, 2>(from, tiles, x, x_plane, weights, 32, y, y_plane),
            (16, 16) => products::<W, 8, 1>(from, tiles, x, x_plane, weights, 16, y, 0),
            (8, 16) => products::<H, 16, 1>(from, tiles, x, x_plane, weights, 8, y, 0),
            (8, _) => products::<H, 8, 1>(from, tiles, x, x_plane, weights, 8, y, 0),
            (lanes, _) => {
                for plane in 0..group.planes {
                    let (weights, y) = (weights.add(plane * LANES), y.add(plane * y_plane));
                    products::<H, 4, 2>(from, tiles, x, x_plane, weights, lanes, y, H::COUNT);
                }
            }
        }
    }
}

/// One point's products for `VECTORS` vectors of output channels, `TILES` tiles at once:
/// `y[tile][vector] = sum over planes, channels of x[plane][tile][channel] * weights[channel][vector]`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn products<L: Lanes, const TILES: usize, const VECTORS: usize>(
    from: &[Plane],
    tiles: usize,
    x: *const f32,
    x_plane: usize,
    weights: *const f32,
    weight_step: usize,
    y: *mut f32,
    y_vector: usize,
) {
    let mut tile = 0;
    // SAFETY: the caller's.
    unsafe {
        while tile + TILES <= tiles {
            let (x, y) = (x.add(tile * LANES), y.add(tile * LANES));
            product::<L, TILES, VECTORS>(from, x, x_plane, weights, weight_step, y, y_vector);
            tile += TILES;
        }
        while TILES > 8 && tile + 8 <= tiles {
            let (x, y) = (x.add(tile * LANES), y.add(tile * LANES));
            product::<L, 8, VECTORS>(from, x, x_plane, weights, weight_step, y, y_vector);
            tile += 8;
        }
        while tile + 4 <= tiles {
            let (x, y) = (x.add(tile * LANES), y.add(tile * LANES));
            product::<L, 4, VECTORS>(from, x, x_plane, weights, weight_step, y, y_vector);
            tile += 4;
        }
        while tile < tiles {
            let (x, y) = (x.add(tile * LANES), y.add(tile * LANES));
            product::<L, 1, VECTORS>(from, x, x_plane, weights, weight_step, y, y_vector);
            tile += 1;
        }
    }
}

/// `TILES` tiles of [`products`].
#[inline(always)]
unsafe fn product<L: Lanes, const TILES: usize, const VECTORS: usize>(
    from: &[Plane],
    x: *const f32,
    x_plane: usize,
    mut weights: *const f32,
    weight_step: usize,
    y: *mut f32,
    y_vector: usize,
) {
    // SAFETY: the caller's: the tiles of all planes, a vector of weights for each channel, and room for the tiles.
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; TILES];
        let mut x = x;
        for plane in from {
            for channel in 0..plane.channels {
                let mut factors = [L::splat(0.0); VECTORS];
                for vector in 0..VECTORS {
                    factors[vector] = L::load(weights.add(vector * L::COUNT));
                }
                for tile in 0..TILES {
                    let value = L::splat(*x.add(tile * LANES + channel));
                    for vector in 0..VECTORS {
                        sums[tile][vector] = value.mul_add(factors[vector], sums[tile][vector]);
                    }
                }
                weights = weights.add(weight_step);
            }
            x = x.add(x_plane);
        }
        for tile in 0..TILES {
            for vector in 0..VECTORS {
                sums[tile][vector].store(y.add(tile * LANES + vector * y_vector));
            }
        }
    }
}

/// The outputs of a vector of a plane: transformed, pooled, and what the epilogue makes of them.
#[inline(always)]
unsafe fn outputs<L: Lanes>(
    lane: usize,
    job: &Convolution<'_>,
    lanes: usize,
    places: &[Place],
    points: *const f32,
    bias: &[f32; LANES],
    lanes_before: usize,
) {
    // SAFETY: the points of all tiles.
    unsafe {
        let bias = L::load(bias.as_ptr().add(lane));
        let points = points.add(lane);
        for (tile, place) in places.iter().enumerate() {
            let sums = transform::points_to_lines::<L>(points.add(tile * LANES), job.y_points.point);
            outputs_of_tile::<L>(lane, job, lanes, place, sums, bias, lanes_before);
        }
    }
}

/// A tile's sums, transformed along columns.
trait Sums<L> {
    /// A line of them.
    ///
    /// # Safety
    ///
    /// That of [`Lanes`]; there are [`TILE`] lines.
    unsafe fn line(&self, line: usize) -> [L; WINDOW];
}

impl<L: Lanes> Sums<L> for [[L; WINDOW]; TILE] {
    #[inline(always)]
    unsafe fn line(&self, line: usize) -> [L; WINDOW] {
        self[line]
    }
}

/// The outputs of a vector of a plane in one tile.
#[inline(always)]
unsafe fn outputs_of_tile<L: Lanes>(
    lane: usize,
    job: &Convolution<'_>,
    lanes: usize,
    place: &Place,
    sums: impl Sums<L>,
    bias: L,
    lanes_before: usize,
) {
    let [lines, columns] = job.size;
    // SAFETY: each position is one of the maps, and bytes of places are one a float of y without halo.
    unsafe {
        let first = if job.is_pooled { [place.line / 2, place.column / 2] } else { [place.line, place.column] };
        let (height, width) = (lines - first[0], columns - first[1]);
        let at = |of: &Source| {
            let position = lanes_before * of.positions + (first[0] * of.columns + first[1] + of.origin) * lanes;
            (of.first.add(place.sample * of.stride + position + lane), of.columns * lanes)
        };
        let ends = Ends {
            lanes,
            width,
            bias,
            before: job.before.as_ref().map(at),
            act: job.act,
            after: job.after.as_ref().map(at),
            y: at(&job.y),
        };
        if job.is_pooled {
            for line in 0..TILE / 2 {
                if line < height {
                    let upper = transform::to_outputs(sums.line(2 * line));
                    let lower = transform::to_outputs(sums.line(2 * line + 1));
                    let (left, left_place) = largest([upper[0], upper[1], lower[0], lower[1]]);
                    let (right, right_place) = largest([upper[2], upper[3], lower[2], lower[3]]);
                    if let Some((start, stride)) = job.places {
                        let position = lanes_before * lines * columns;
                        let position = position + ((first[0] + line) * columns + first[1]) * lanes + lane;
                        let to = start.add(place.sample * stride + position);
                        store_bytes(left_place, to);
                        if width > 1 {
                            store_bytes(right_place, to.add(lanes));
                        }
                    }
                    ends.put(line, [left, right]);
                }
            }
        } else {
            for line in 0..TILE {
                if line < height {
                    ends.put(line, transform::to_outputs(sums.line(line)));
                }
            }
        }
    }
}

/// What the epilogue has for a vector of a tile's outputs: where they lie in each value, and floats from line to line there.
struct Ends<L> {
    /// Floats from column to column.
    lanes: usize,
    /// Columns from the tile's first one on.
    width: usize,
    bias: L,
    before: Option<(*const f32, usize)>,
    act: Act,
    after: Option<(*const f32, usize)>,
    /// Nobody else has these floats while the kernel runs.
    y: (*const f32, usize),
}

impl<L: Lanes> Ends<L> {
    /// The epilogue of a line of the tile.
    #[inline(always)]
    unsafe fn put<const N: usize>(&self, line: usize, mut values: [L; N]) {
        // SAFETY: the caller's: the line, and `width` columns, lie in the maps.
        unsafe {
            for column in 0..N {
                values[column] = values[column].add(self.bias);
            }
            if let Some((before, step)) = self.before {
                for column in 0..N {
                    if column < self.width {
                        values[column] = values[column].add(L::load(before.add(line * step + column * self.lanes)));
                    }
                }
            }
            let mut values = self.act.apply_all(values);
            if let Some((after, step)) = self.after {
                for column in 0..N {
                    if column < self.width {
                        values[column] = values[column].add(L::load(after.add(line * step + column * self.lanes)));
                    }
                }
            }
            let (y, step) = self.y;
            for column in 0..N {
                if column < self.width {
                    values[column].store(y.cast_mut().add(line * step + column * self.lanes));
                }
            }
        }
    }
}

/// The low bytes of a vector's floats.
#[inline(always)]
unsafe fn store_bytes<L: Lanes>(values: L, to: *mut u8) {
    let mut floats = [0.0; LANES];
    // SAFETY: no vector has more lanes; the rest is the caller's.
    unsafe {
        values.store(floats.as_mut_ptr());
        for lane in 0..L::COUNT {
            to.add(lane).write(floats[lane].to_bits() as u8);
        }
    }
}

/// The largest of 2x2 outputs of a tile, and the bits of its number: the first of several, and NaN before any number.
#[inline(always)]
unsafe fn largest<L: Lanes>(values: [L; 4]) -> (L, L) {
    // SAFETY: the caller is compiled for the vector's instructions.
    unsafe {
        let top = L::splat(f32::INFINITY);
        let mut value = values[0];
        // What is compared: infinity for NaN.
        let mut key = value.min(top);
        let mut place = L::splat(0.0);
        for number in 1..4 {
            let other = values[number];
            let other_key = other.min(top);
            value = other_key.if_greater(key, other, value);
            place = other_key.if_greater(key, L::splat(f32::from_bits(number as u32)), place);
            key = other_key.max(key);
        }
        (value, place)
    }
}

#[inline(always)]
unsafe fn weight_gradient<W: Lanes, H: Lanes>(job: &WeightGradient, gradient: &mut [f32]) {
    let (x_planes, dy_planes) = (job.x.map.planes, job.dy.map.planes);
    let mut places = [Place::default(); MOST];
    let tiles = job.samples * job.grid.tiles();
    for first in (0..tiles).step_by(job.block) {
        let places = &mut places[..job.block.min(tiles - first)];
        let is_last = first + places.len() == tiles;
        job.grid.places(first, places);
        // SAFETY: compiled for these vectors; all tiles are of the samples, and a block fits into its points; `points` has room for
        // all groups and planes where they are kept, else for any one.
        unsafe {
            points_of_inputs::<W, H>(&job.x, 0..job.x.map.planes.len(), job.padding, places, job.x_points);
            points_of_gradient::<W, H>(&job.dy, 0..dy_planes.len(), places, job.dy_points, job.sums);
            let mut points = job.points;
            for group in groups(dy_planes) {
                for (index, plane) in x_planes.iter().enumerate() {
                    let is_fresh = !job.is_kept || first == 0;
                    let step = LANES * group.lanes;
                    for point in 0..POINTS {
                        let x = job.x_points.first.add(point * job.x_points.point + index * job.x_points.plane);
                        let dy =
                            job.dy_points.first.add(point * job.dy_points.point + group.plane * job.dy_points.plane);
                        let to = points.add(point * step);
                        gradient_of_group::<W, H>(plane, group, places.len(), x, dy, job.dy_points.plane, to, is_fresh);
                    }
                    if !job.is_kept || is_last {
                        let to = (gradient.as_mut_ptr(), gradient.len());
                        add_windows::<W, H>(points, job.windows, x_planes, index, dy_planes, group, to);
                    }
                    if job.is_kept {
                        points = points.add(POINTS * step);
                    }
                }
            }
        }
    }
}

/// Adds to the weights' gradient that of the windows of a plane of inputs and a group of outputs, from the points' one,
/// `[point][LANES of x][lanes of the group]`. `windows` is room for [`WINDOWS`] floats.
#[inline(always)]
unsafe fn add_windows<W: Lanes, H: Lanes>(
    points: *const f32,
    windows: *mut f32,
    x_planes: &[Plane],
    plane: usize,
    dy_planes: &[Plane],
    group: Group,
    (gradient, len): (*mut f32, usize),
) {
    let (inputs, before, count) = (channels(x_planes), channels(&x_planes[..plane]), x_planes[plane].channels);
    let step = LANES * group.lanes;
    // SAFETY: the caller's: the points, and the weights of the plane's inputs and the group's outputs, which nobody else has.
    unsafe {
        for input in 0..count {
            let from = points.add(input * group.lanes);
            let to = windows.add(9 * input * group.lanes);
            for first in (0..group.lanes).step_by(LANES) {
                let (from, to) = (from.add(first), to.add(first));
                each_vector!(group.lanes.min(LANES), weights_of_points::<W, H>(from, step, to, group.lanes));
            }
        }
        let mut output = channels(&dy_planes[..group.plane]);
        for (number, outputs) in dy_planes[group.plane..][..group.planes].iter().enumerate() {
            let first = 9 * (output * inputs + before);
            let size = [outputs.channels, 9 * count];
            assert!(first + (size[0] - 1) * 9 * inputs + size[1] <= len, "weights of the layer");
            add_transposed(windows.add(number * LANES), group.lanes, gradient.add(first), 9 * inputs, size);
            output += outputs.channels;
        }
    }
}

/// The points of the tiles of dy in some planes, and its sums, if they are asked for.
#[inline(always)]
unsafe fn points_of_gradient<W: Lanes, H: Lanes>(
    dy: &Source,
    planes: Range<usize>,
    places: &[Place],
    to: Points,
    sums: Option<*mut f32>,
) {
    let mut first = dy.map.plane(planes.start);
    for (index, plane) in dy.map.planes[planes].iter().enumerate() {
        // SAFETY: the caller's: a block fits into its points, and each plane has its sums.
        unsafe {
            let to = Points { first: to.first.add(index * to.plane), ..to };
            let sums = sums.map(|sums| sums.add(index * LANES));
            each_vector!(plane.lanes, tiles_of_gradient::<W, H>(dy, first, plane.lanes, places, to, sums));
        }
        first += plane.lanes * dy.map.positions();
    }
}

/// A vector of a plane of [`points_of_gradient`].
#[inline(always)]
unsafe fn tiles_of_gradient<L: Lanes>(
    lane: usize,
    dy: &Source,
    plane: usize,
    lanes: usize,
    places: &[Place],
    to: Points,
    sums: Option<*mut f32>,
) {
    let mut staged = [0.0; POINTS * LANES];
    for (tile, place) in places.iter().enumerate() {
        // SAFETY: a tile has its vectors, and the points have room for it.
        unsafe {
            let (from, line) = dy.window::<TILE>(place, plane, lanes, [0, 0], &mut staged);
            let from = from.add(lane);
            let to_point = to.first.add(tile * LANES + lane);
            transform::outputs_to_points::<L>(from, [line, lanes], to_point, [WINDOW * to.point, to.point]);
            if let Some(sums) = sums {
                let sums = sums.add(lane);
                let mut of_columns = [L::splat(0.0); TILE];
                for at in 0..TILE {
                    for column in 0..TILE {
                        of_columns[column] = of_columns[column].add(L::load(from.add(at * line + column * lanes)));
                    }
                }
                let sum = of_columns[0].add(of_columns[1]).add(of_columns[2].add(of_columns[3]));
                L::load(sums).add(sum).store(sums);
            }
        }
    }
}

/// One point's gradient of a plane of inputs and a group of planes of outputs.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn gradient_of_group<W: Lanes, H: Lanes>(
    inputs: &Plane,
    group: Group,
    tiles: usize,
    x: *const f32,
    dy: *const f32,
    dy_plane: usize,
    to: *mut f32,
    is_fresh: bool,
) {
    // SAFETY: the caller's; the parts of a group are its vectors.
    unsafe {
        match (group.lanes, W::COUNT) {
            (32, 16) => gradients::<W, 8, 2>(inputs, tiles, x, dy, dy_plane, to, 32, is_fresh),
            (16, 16) => gradients::<W, 8, 1>(inputs, tiles, x, dy, 0, to, 16, is_fresh),
            (8, 16) if inputs.lanes == LANES => gradients::<H, 16, 1>(inputs, tiles, x, dy, 0, to, 8, is_fresh),
            (8, _) => gradients::<H, 8, 1>(inputs, tiles, x, dy, 0, to, 8, is_fresh),
            (lanes, _) => {
                for plane in 0..group.planes {
                    let (dy, to) = (dy.add(plane * dy_plane), to.add(plane * LANES));
                    gradients::<H, 4, 2>(inputs, tiles, x, dy, H::COUNT, to, lanes, is_fresh);
                }
            }
        }
    }
}

/// One point's gradient for `VECTORS` vectors of output channels, `INPUTS` input channels at once:
/// `to[input][vector] (+)= sum over tiles of x[tile][input] * dy[tile][vector]`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn gradients<L: Lanes, const INPUTS: usize, const VECTORS: usize>(
    inputs: &Plane,
    tiles: usize,
    x: *const f32,
    dy: *const f32,
    dy_vector: usize,
    to: *mut f32,
    to_step: usize,
    is_fresh: bool,
) {
    for first in (0..inputs.channels).step_by(INPUTS) {
        // SAFETY: the caller's: lanes of the plane are a multiple of `INPUTS`.
        unsafe {
            let (x, to) = (x.add(first), to.add(first * to_step));
            let mut sums = [[L::splat(0.0); VECTORS]; INPUTS];
            if !is_fresh {
                for input in 0..INPUTS {
                    for vector in 0..VECTORS {
                        sums[input][vector] = L::load(to.add(input * to_step + vector * L::COUNT));
                    }
                }
            }
            for tile in 0..tiles {
                let mut factors = [L::splat(0.0); VECTORS];
                for vector in 0..VECTORS {
                    factors[vector] = L::load(dy.add(tile * LANES + vector * dy_vector));
                }
                for input in 0..INPUTS {
                    let value = L::splat(*x.add(tile * LANES + input));
                    for vector in 0..VECTORS {
                        sums[input][vector] = value.mul_add(factors[vector], sums[input][vector]);
                    }
                }
            }
            for input in 0..INPUTS {
                for vector in 0..VECTORS {
                    sums[input][vector].store(to.add(input * to_step + vector * L::COUNT));
                }
            }
        }
    }
}

/// The gradient of the windows of one input channel and a vector of output channels, from the points' one.
#[inline(always)]
unsafe fn weights_of_points<L: Lanes>(lane: usize, points: *const f32, step: usize, to: *mut f32, to_step: usize) {
    // SAFETY: the caller's: 36 vectors, and nine.
    unsafe {
        transform::points_to_weights::<L>(
            points.add(lane),
            [WINDOW * step, step],
            to.add(lane),
            [3 * to_step, to_step],
        );
    }
}

/// `to[line][column] += from[column][line]`, four by four, of lines `to_step` and `from_step` floats apart.
#[inline(always)]
unsafe fn add_transposed(
    from: *const f32,
    from_step: usize,
    to: *mut f32,
    to_step: usize,
    [lines, columns]: [usize; 2],
) {
    let (whole_lines, whole_columns) = (lines / 4 * 4, columns / 4 * 4);
    // SAFETY: the caller's: all those floats are there, and they are not the same.
    unsafe {
        for line in (0..whole_lines).step_by(4) {
            for column in (0..whole_columns).step_by(4) {
                let read =
                    |number: usize| from.add((column + number) * from_step + line).cast::<[f32; 4]>().read_unaligned();
                let values = [read(0), read(1), read(2), read(3)];
                for number in 0..4 {
                    let to = to.add((line + number) * to_step + column).cast::<[f32; 4]>();
                    let old = to.read_unaligned();
                    to.write_unaligned([
                        old[0] + values[0][number],
                        old[1] + values[1][number],
                        old[2] + values[2][number],
                        old[3] + values[3][number],
                    ]);
                }
            }
        }
        for line in 0..lines {
            for column in if line < whole_lines { whole_columns } else { 0 }..columns {
                *to.add(line * to_step + column) += *from.add(column * from_step + line);
            }
        }
    }
}

/// Packs weights: `[point][group of planes of to][channel of from][lanes of the group]`, from packed float `first` on; each group is a
/// part. Lanes that are no channels are zero.
#[inline(always)]
unsafe fn weight_points<W: Lanes, H: Lanes>(
    p: &mut Pack<'_>,
    weights: &[f32],
    [to_stride, from_stride]: [usize; 2],
    is_reversed: bool,
    from: &[Plane],
    to: &[Plane],
    first: usize,
) {
    let (inputs, point) = (channels(from), weight_point(from, to));
    let packed = p.room(first, POINTS * point);
    let (is_long, mut staged) = (POINTS * point >= LONG, [0.0; POINTS * 2 * LANES]);
    let mut channel = 0;
    for group in groups(to) {
        let of_group: usize = to[group.plane..][..group.planes].iter().map(|plane| plane.channels).sum();
        let first_channel = channel;
        channel += of_group;
        if !p.takes_next() {
            continue;
        }
        for input in 0..inputs {
            // SAFETY: the group's floats for the input, of each point of the packed weights: nobody else's, for the group is a part that
            // is this share's.
            let room = unsafe { packed.add(group.before * inputs + input * group.lanes) };
            let (to_points, step) = if is_long { (staged.as_mut_ptr(), group.lanes) } else { (room, point) };
            let mut first_channel = first_channel;
            for (number, plane) in to[group.plane..][..group.planes].iter().enumerate() {
                let mut taps = [[0.0; LANES]; 9];
                for lane in 0..plane.channels {
                    let weights = &weights[(first_channel + lane) * to_stride + input * from_stride..][..9];
                    for (tap, &weight) in weights.iter().enumerate() {
                        taps[if is_reversed { 8 - tap } else { tap }][lane] = weight;
                    }
                }
                // SAFETY: compiled for these vectors; nine vectors of taps, and room for those of each point.
                unsafe {
                    each_vector!(plane.lanes, points_of_weights::<W, H>(&taps, to_points.add(number * LANES), step));
                }
                first_channel += plane.channels;
            }
            if is_long {
                for (number, from) in staged.chunks_exact(group.lanes).take(POINTS).enumerate() {
                    // SAFETY: as above.
                    let to = unsafe { std::slice::from_raw_parts_mut(room.add(number * point), group.lanes) };
                    stream(from, to);
                }
            }
        }
        if is_long {
            end_stream();
        }
    }
}

/// Copies past the caches where that is possible: what is not read again before they have lost it.
#[inline(always)]
fn stream(from: &[f32], to: &mut [f32]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if to.as_ptr().addr().is_multiple_of(16) && from.len().is_multiple_of(4) && from.len() == to.len() {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
        for at in (0..from.len()).step_by(4) {
            // SAFETY: four floats of both slices, aligned as they have to be; every such machine has the instructions, and
            // `end_stream` comes before anybody else reads.
            unsafe { _mm_stream_ps(to.as_mut_ptr().add(at), _mm_loadu_ps(from.as_ptr().add(at))) };
        }
        return;
    }
    to.copy_from_slice(from);
}

/// What [`stream`] wrote is there for all to read.
fn end_stream() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every such machine has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// The points of a vector of weights.
#[inline(always)]
unsafe fn points_of_weights<L: Lanes>(lane: usize, taps: &[[f32; LANES]; 9], to: *mut f32, point: usize) {
    // SAFETY: the caller's.
    unsafe {
        let from = taps.as_ptr().cast::<f32>().add(lane);
        transform::weights_to_points::<L>(from, [3 * LANES, LANES], to.add(lane), [WINDOW * point, point]);
    }
}

#[cfg(test)]
mod tests;
