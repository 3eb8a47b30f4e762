//! The convolution: products of the windows' points with those of the weights (`products.rs`), transformed to outputs, pooled, and finished.

use std::ops::Range;

use super::products::products_of_group;
use super::sizes::{BLOCK, FAR_BLOCK, LANES, aligned, block, packed_len, points_len, weight_point};
use super::tiles::{Grid, Place, Points, Source, each_vector, groups, is_half, points_of_inputs};
use super::transform::{self, POINTS, WINDOW};
use super::{check, image};
use crate::arena::{Parts, Tile, View, tile};
use crate::kernels::conv::Conv;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::{Act, Epilogue, Store};
use crate::layout::{Plane, channels, lanes};
use crate::pool;
use crate::run::Chunks;

/// Whether a pool follows, and where it writes its places.
#[derive(Clone, Copy)]
pub(super) enum Pooled {
    No,
    Yes,
    Places(View),
}

#[allow(clippy::too_many_arguments)]
pub(super) fn convolve(
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
    // Outputs that no window of the pool has need no tile.
    let made = if is_pooled { y_size.map(|size| 2 * size) } else { y_size };
    let grid = Grid::new(conv, made);
    let (tiles, all_groups) = (samples * grid.tiles(), groups(y_map.planes).count());
    // Far weights are read for many tiles at a time where that leaves every thread its part.
    let block = match block(conv, x_map.planes, y_map.planes) {
        FAR_BLOCK if tiles.div_ceil(FAR_BLOCK) * all_groups < threads => BLOCK,
        block => block,
    };
    let nowhere = Points { first: std::ptr::null_mut(), point: 0, plane: 0 };
    let job = Convolution {
        grid,
        padding: [conv.padding[1], conv.padding[2]],
        x: Source::of(x, x_map),
        y: to,
        size: [y_size[1], y_size[2]],
        tiles: 0..tiles,
        groups: 0..all_groups,
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
        let (x_points, scratch) = scratch.split_at_mut(points_len(x_map.planes.len(), block));
        let y_points = &mut scratch[..points_len(y_map.planes.len(), block)];
        run_convolution(
            isa,
            &Convolution {
                tiles,
                groups,
                x_points: Points::new(x_points, x_map.planes.len(), block),
                y_points: Points::new(y_points, y_map.planes.len(), block),
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

/// What [`run_convolution`] computes. All tiles of `grid` lie in `samples` samples of the values, and scratch has room for a block.
pub(super) struct Convolution<'a> {
    pub(super) grid: Grid,
    pub(super) padding: [usize; 2],
    pub(super) x: Source,
    pub(super) y: Source,
    /// Lines and columns of y.
    pub(super) size: [usize; 2],
    /// Which tiles, counted through all samples, and which groups of planes of y.
    pub(super) tiles: Range<usize>,
    pub(super) groups: Range<usize>,
    pub(super) block: usize,
    pub(super) weights: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) before: Option<Source>,
    pub(super) act: Act,
    pub(super) after: Option<Source>,
    pub(super) is_pooled: bool,
    /// The first sample's, and bytes from one sample to the next.
    pub(super) places: Option<(*mut u8, usize)>,
    pub(super) x_points: Points,
    pub(super) y_points: Points,
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
    pub(super) fn bias_of(&self, plane: usize) -> [f32; LANES] {
        let (planes, mut bias) = (self.y.map.planes, [0.0; LANES]);
        if let Some(all) = self.bias {
            let all = &all[channels(&planes[..plane])..][..planes[plane].channels];
            bias.iter_mut().zip(all).for_each(|(to, &bias)| *to = bias);
        }
        bias
    }

    /// The tiles of part `number` of `count`: of one block, if there are as many parts as blocks.
    fn block_of(&self, number: usize, count: usize) -> Range<usize> {
        let blocks = part(self.tiles.len().div_ceil(self.block), number, count);
        blocks.start * self.block..self.tiles.end.min(blocks.end * self.block)
    }
}

dispatch! {
    fn run_convolution(job: &Convolution<'_>) = convolution;
}

#[inline(always)]
unsafe fn convolution<W: Lanes, H: Lanes>(job: &Convolution<'_>) {
    let (from, to) = (job.x.map.planes, job.y.map.planes);
    let inputs = channels(from);
    let weight_point = weight_point(from, to);
    let groups = || groups(to).skip(job.groups.start).take(job.groups.len());
    let planes = groups().fold(to.len()..0, |all, group| all.start.min(group.plane)..group.plane + group.planes);
    let mut places = [Place::default(); FAR_BLOCK];
    for first in job.tiles.clone().step_by(job.block) {
        let places = &mut places[..job.block.min(job.tiles.end - first)];
        job.grid.places(first, places);
        // SAFETY: compiled for these vectors; all tiles are of the samples, and a block fits into its points.
        unsafe {
            points_of_inputs::<W, H>(&job.x, 0..job.x.map.planes.len(), job.padding, places, job.x_points);
            for point in 0..POINTS {
                let x = job.x_points.at(0, point).cast_const();
                for group in groups() {
                    let weights = job.weights.as_ptr().add(point * weight_point + group.before * inputs);
                    let y = job.y_points.at(group.plane, point);
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
                let points = Points { first: job.y_points.at(index, 0), ..job.y_points };
                match job.grid.tile {
                    4 => outputs_of_plane::<W, H, 4, 2>(job, plane, places, points, &bias, plane_at),
                    _ => outputs_of_plane::<W, H, 2, 1>(job, plane, places, points, &bias, plane_at),
                }
                plane_at += plane.lanes;
            }
        }
    }
}

/// The outputs of a plane: of a vector of it, or of two tiles in a vector.
#[inline(always)]
unsafe fn outputs_of_plane<W: Lanes, H: Lanes, const TILE: usize, const POOLED: usize>(
    job: &Convolution<'_>,
    plane: &Plane,
    places: &[Place],
    points: Points,
    bias: &[f32; LANES],
    lanes_before: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if is_half::<W, H>(plane) {
            outputs_of_pairs::<W, H, TILE, POOLED>(job, places, points, bias, lanes_before);
        } else {
            each_vector!(plane.lanes, outputs::<W, H, TILE, POOLED>(job, places, points, bias, lanes_before));
        }
    }
}

/// The outputs of a vector of a plane, of tiles of `TILE` outputs on a side, or `POOLED` maxima: transformed, pooled, and what the epilogue
/// makes of them.
#[inline(always)]
unsafe fn outputs<L: Lanes, const TILE: usize, const POOLED: usize>(
    lane: usize,
    lanes: usize,
    job: &Convolution<'_>,
    places: &[Place],
    points: Points,
    bias: &[f32; LANES],
    lanes_before: usize,
) {
    // SAFETY: the points of all tiles.
    unsafe {
        let bias = L::load(bias.as_ptr().add(lane));
        for (tile, place) in places.iter().enumerate() {
            let sums = transform::points_to_lines::<L, TILE>(points.first.add(tile * lanes + lane), points.point);
            outputs_of_tiles::<L, TILE, POOLED, 1>(lane, job, lanes, [place], sums, bias, lanes_before);
        }
    }
}

/// [`outputs`] of a plane that [`is_half`] of a vector: two tiles at once, where as much of both is in the map.
#[inline(always)]
unsafe fn outputs_of_pairs<W: Lanes, H: Lanes, const TILE: usize, const POOLED: usize>(
    job: &Convolution<'_>,
    places: &[Place],
    points: Points,
    bias: &[f32; LANES],
    lanes_before: usize,
) {
    let [lines, columns] = job.size.map(|size| if job.is_pooled { 2 * size } else { size });
    let extent = |place: &Place| [TILE.min(lines - place.line), TILE.min(columns - place.column)];
    for (pair, places) in places.chunks(2).enumerate() {
        // SAFETY: the points of all tiles; H has the plane's lanes, and W twice as many.
        unsafe {
            let points = Points { first: points.first.add(pair * W::COUNT), ..points };
            match places {
                [first, second] if extent(first) == extent(second) => {
                    let bias = W::load_halves(bias.as_ptr(), bias.as_ptr());
                    let sums = transform::points_to_lines::<W, TILE>(points.first, points.point);
                    let places = [first, second];
                    outputs_of_tiles::<W, TILE, POOLED, 2>(0, job, H::COUNT, places, sums, bias, lanes_before);
                }
                places => outputs::<H, TILE, POOLED>(0, H::COUNT, job, places, points, bias, lanes_before),
            }
        }
    }
}

/// A tile's sums, transformed along columns.
pub(super) trait Sums<L> {
    /// A line of them.
    ///
    /// # Safety
    ///
    /// That of [`Lanes`]; there are as many lines as a tile has.
    unsafe fn line(&self, line: usize) -> [L; WINDOW];
}

impl<L: Lanes, const TILE: usize> Sums<L> for [[L; WINDOW]; TILE] {
    #[inline(always)]
    unsafe fn line(&self, line: usize) -> [L; WINDOW] {
        self[line]
    }
}

/// The outputs of a vector of a plane in a tile, or in two, of each of which it has half of its floats: as much of both is in the map.
#[inline(always)]
pub(super) unsafe fn outputs_of_tiles<L: Lanes, const TILE: usize, const POOLED: usize, const PARTS: usize>(
    lane: usize,
    job: &Convolution<'_>,
    lanes: usize,
    places: [&Place; PARTS],
    sums: impl Sums<L>,
    bias: L,
    lanes_before: usize,
) {
    let [lines, columns] = job.size;
    // SAFETY: each position is one of the maps, and bytes of places are one a float of y without halo.
    unsafe {
        let firsts = places.map(|place| match job.is_pooled {
            true => [place.line / 2, place.column / 2],
            false => [place.line, place.column],
        });
        let (height, width) = (lines - firsts[0][0], columns - firsts[0][1]);
        let at = |of: &Source| {
            let mut first = [of.first; PARTS];
            for tile in 0..PARTS {
                let [line, column] = firsts[tile];
                let position = lanes_before * of.positions + (line * of.columns + column + of.origin) * lanes;
                first[tile] = of.first.add(places[tile].sample * of.stride + position + lane);
            }
            (first, of.columns * lanes)
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
            for line in 0..POOLED {
                if line < height {
                    let upper: [L; TILE] = transform::to_outputs(sums.line(2 * line));
                    let lower: [L; TILE] = transform::to_outputs(sums.line(2 * line + 1));
                    let (mut maxima, mut numbers) = ([bias; POOLED], [bias; POOLED]);
                    for window in 0..POOLED {
                        let [left, right] = [2 * window, 2 * window + 1];
                        let of_window = [upper[left], upper[right], lower[left], lower[right]];
                        (maxima[window], numbers[window]) = largest(of_window);
                    }
                    if let Some((start, stride)) = job.places {
                        let mut to = [start; PARTS];
                        for tile in 0..PARTS {
                            let position = lanes_before * lines * columns;
                            let position = position + ((firsts[tile][0] + line) * columns + firsts[tile][1]) * lanes;
                            to[tile] = start.add(places[tile].sample * stride + position + lane);
                        }
                        for window in 0..POOLED {
                            if window < width {
                                store_bytes(numbers[window], to.map(|to| to.add(window * lanes)));
                            }
                        }
                    }
                    ends.put(line, maxima);
                }
            }
        } else {
            for line in 0..TILE {
                if line < height {
                    ends.put::<TILE>(line, transform::to_outputs(sums.line(line)));
                }
            }
        }
    }
}

/// What the epilogue has for a vector of the outputs of `PARTS` tiles: where they lie in each value, and floats from line to line there.
struct Ends<L, const PARTS: usize> {
    /// Floats from column to column.
    lanes: usize,
    /// Columns from a tile's first one on.
    width: usize,
    bias: L,
    before: Option<([*const f32; PARTS], usize)>,
    act: Act,
    after: Option<([*const f32; PARTS], usize)>,
    /// Nobody else has these floats while the kernel runs.
    y: ([*const f32; PARTS], usize),
}

impl<L: Lanes, const PARTS: usize> Ends<L, PARTS> {
    /// The epilogue of a line of the tiles.
    #[inline(always)]
    unsafe fn put<const COLUMNS: usize>(&self, line: usize, mut values: [L; COLUMNS]) {
        // SAFETY: the caller's: the line, and `width` columns, lie in the maps.
        unsafe {
            for column in 0..COLUMNS {
                values[column] = values[column].add(self.bias);
            }
            if let Some((before, step)) = self.before {
                for column in 0..COLUMNS {
                    if column < self.width {
                        let before = load_parts(before, line * step + column * self.lanes);
                        values[column] = values[column].add(before);
                    }
                }
            }
            let mut values = self.act.apply_all(values);
            if let Some((after, step)) = self.after {
                for column in 0..COLUMNS {
                    if column < self.width {
                        let after = load_parts(after, line * step + column * self.lanes);
                        values[column] = values[column].add(after);
                    }
                }
            }
            let (y, step) = self.y;
            for column in 0..COLUMNS {
                if column < self.width {
                    store_parts(values[column], y, line * step + column * self.lanes);
                }
            }
        }
    }
}

/// A vector, or both halves of one, `at` floats from its places.
#[inline(always)]
unsafe fn load_parts<L: Lanes, const PARTS: usize>(from: [*const f32; PARTS], at: usize) -> L {
    // SAFETY: the caller's.
    unsafe {
        match PARTS {
            1 => L::load(from[0].add(at)),
            _ => L::load_halves(from[0].add(at), from[PARTS - 1].add(at)),
        }
    }
}

/// Stores what [`load_parts`] loads.
#[inline(always)]
unsafe fn store_parts<L: Lanes, const PARTS: usize>(value: L, to: [*const f32; PARTS], at: usize) {
    // SAFETY: the caller's.
    unsafe {
        match PARTS {
            1 => value.store(to[0].cast_mut().add(at)),
            _ => value.store_halves(to[0].cast_mut().add(at), to[PARTS - 1].cast_mut().add(at)),
        }
    }
}

/// The low bytes of a vector's floats, or of both halves of one.
#[inline(always)]
unsafe fn store_bytes<L: Lanes, const PARTS: usize>(values: L, to: [*mut u8; PARTS]) {
    let mut floats = [0.0; LANES];
    // SAFETY: no vector has more lanes; the rest is the caller's.
    unsafe {
        values.store(floats.as_mut_ptr());
        for part in 0..PARTS {
            for lane in 0..L::COUNT / PARTS {
                to[part].add(lane).write(floats[part * L::COUNT / PARTS + lane].to_bits() as u8);
            }
        }
    }
}

/// The largest of 2x2 outputs of a tile, and the bits of its number: the first of several, and NaN before any number.
#[inline(always)]
unsafe fn largest<L: Lanes>(values: [L; 4]) -> (L, L) {
    // SAFETY: the caller is compiled for the vector's instructions.
    unsafe {
        match values[0].have_nan(values[1]) | values[2].have_nan(values[3]) {
            true => largest_with_nan(values),
            false => largest_of_numbers(values),
        }
    }
}

/// [`largest`] where no lane is NaN: the same in fewer steps.
#[inline(always)]
unsafe fn largest_of_numbers<L: Lanes>(values: [L; 4]) -> (L, L) {
    // SAFETY: as in `largest`.
    unsafe {
        let (mut value, mut place) = (values[0], L::splat(0.0));
        for number in 1..4 {
            let other = values[number];
            place = other.if_greater(value, L::splat(f32::from_bits(number as u32)), place);
            value = other.max(value);
        }
        (value, place)
    }
}

/// [`largest`] of any.
#[inline(always)]
unsafe fn largest_with_nan<L: Lanes>(values: [L; 4]) -> (L, L) {
    // SAFETY: as in `largest`.
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
