//! The forward convolution of an image: of one plane of few lanes, all of them channels. Its blocks, and the points of their windows, are
//! those of the gradient by the weight as well (`image_weight.rs`).
//!
//! Sums over so few channels are too short to write each point's to memory. Up to eight tiles next to each other are a block. The lines
//! that all of its windows share are transformed once, whole, across lines; then each window across columns. The products of a column of
//! points are made for all tiles by weights that stay in registers, and are transformed along the column before they leave them: 24
//! vectors a tile and not 36. An output's sum is over its channels in their order.

use std::ops::Range;

use super::forward::{Convolution, Sums, outputs_of_tiles};
use super::sizes::{LANES, weight_point};
use super::tiles::{Grid, Place, Source, each_vector, groups};
use super::transform::{self, POINTS, WINDOW};
use crate::isa::Isa;
use crate::kernels::Act;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::layout::Plane;

/// Outputs on a side of a tile: windows are of 3x3 taps.
const TILE: usize = 4;

/// Channels of an image at least and at most. Of random images of fewer, errors are above what the head of [`winograd`](super) says: of
/// one channel up to three times that, 5 in 10,000 outputs, of two half more, 2 in 100,000. Of three, one in two million was 3 % more.
const CHANNELS: [usize; 2] = [3, 4];

/// Tiles of a block.
pub(super) const TILES: usize = 8;

/// Floats of a tile's window at one point, of which the first are the channels.
pub(super) const QUARTER: usize = 4;

/// Floats of a line that the windows of a block see, and more, since a vector from its last position on is read as well.
pub(super) const LINE: usize = ((TILE * TILES + 2) * CHANNELS[1]).next_multiple_of(LANES) + LANES;

/// Floats of the points of a tile's window: `[column][line][QUARTER]`.
pub(super) const INPUTS: usize = POINTS * QUARTER;

/// Floats of a tile's sums, transformed along columns: `[line of outputs][column of points][LANES]`.
const SUMS: usize = TILE * WINDOW * LANES;

/// Floats of scratch.
pub(super) const SCRATCH: usize = WINDOW * LINE + TILES * (INPUTS + SUMS);

/// Whether planes are those of an image: one whose few lanes are all channels.
pub(super) const fn is_image(planes: &[Plane]) -> bool {
    let [least, most] = CHANNELS;
    planes.len() == 1 && planes[0].lanes == planes[0].channels && least <= planes[0].lanes && planes[0].lanes <= most
}

dispatch! {
    /// Makes the tiles of a job whose input is an image, with [`SCRATCH`] floats.
    pub(super) fn convolve(job: Convolution<'_>, scratch: &mut [f32]) = convolution;
}

#[inline(always)]
unsafe fn convolution<W: Lanes, H: Lanes>(mut job: Convolution<'_>, scratch: &mut [f32]) {
    let (from, to) = (job.x.map.planes, job.y.map.planes);
    let channels = from[0].lanes;
    let weight_point = weight_point(from, to);
    // What takes long is mapped a line at a time and not a tile: more vectors hide each other's latency.
    let of_lines = if job.after.is_some() || job.act == Act::Relu { Act::None } else { job.act };
    if of_lines != Act::None {
        job.act = Act::None;
    }
    let (lines, scratch) = scratch.split_at_mut(WINDOW * LINE);
    let (inputs, sums) = scratch.split_at_mut(TILES * INPUTS);
    assert!(sums.len() >= TILES * SUMS, "room for a block");
    for block in blocks(job.grid, job.tiles.clone()) {
        let count = block.count;
        // SAFETY: compiled for these vectors; all tiles are of the samples and next to each other, and a block fits into scratch.
        unsafe {
            lines_to_points::<W>(&job.x, job.padding, &block, lines.as_mut_ptr());
            windows_to_points::<H>(channels, count, lines.as_ptr(), inputs.as_mut_ptr());
            for group in groups(to).skip(job.groups.start).take(job.groups.len()) {
                for number in 0..group.planes {
                    let (index, before) = (group.plane + number, group.before + number * LANES);
                    let lanes = to[index].lanes;
                    let weights = job.weights.as_ptr().add(group.before * channels + number * LANES);
                    let steps = [weight_point, group.lanes];
                    let (inputs, sums, bias) = (inputs.as_ptr(), sums.as_mut_ptr(), job.bias_of(index));
                    each_vector!(lanes, vector::<W, H>(&job, &block, before, inputs, weights, steps, sums, &bias));
                    if of_lines != Act::None {
                        block.map_lines(&job, lanes, before, of_lines, Isa::of(W::KIND));
                    }
                }
            }
        }
    }
}

/// Tiles next to each other: the first, and how many.
pub(super) struct Block {
    pub(super) place: Place,
    pub(super) count: usize,
}

/// The blocks of so many tiles, each up to the end of a line of tiles.
pub(super) fn blocks(grid: Grid, tiles: Range<usize>) -> impl Iterator<Item = Block> {
    let mut first = tiles.start;
    std::iter::from_fn(move || {
        if first >= tiles.end {
            return None;
        }
        let count = TILES.min(grid.columns - first % grid.columns).min(tiles.end - first);
        let mut place = [Place::default()];
        grid.places(first, &mut place);
        first += count;
        Some(Block { place: place[0], count })
    })
}

impl Block {
    /// Maps the lines of y that the block's outputs are, in a plane of so many lanes and with so many lanes before it.
    unsafe fn map_lines(&self, job: &Convolution<'_>, lanes: usize, lanes_before: usize, act: Act, isa: Isa) {
        let (y, pool) = (&job.y, if job.is_pooled { 2 } else { 1 });
        let [line, column] = [self.place.line / pool, self.place.column / pool];
        let height = (TILE / pool).min(job.size[0] - line);
        let width = (self.count * TILE / pool).min(job.size[1] - column);
        for line in line..line + height {
            let at = lanes_before * y.positions + (line * y.columns + column + y.origin) * lanes;
            // SAFETY: the caller's: these floats are outputs of the block, which nobody else has.
            let line = unsafe {
                let first = y.first.add(self.place.sample * y.stride + at);
                std::slice::from_raw_parts_mut(first.cast_mut(), width * lanes)
            };
            act.apply(isa, line);
        }
    }
}

/// A vector of a plane of the result.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn vector<L: Lanes>(
    lane: usize,
    lanes: usize,
    job: &Convolution<'_>,
    block: &Block,
    lanes_before: usize,
    inputs: *const f32,
    weights: *const f32,
    steps: [usize; 2],
    sums: *mut f32,
    bias: &[f32; LANES],
) {
    // SAFETY: the caller's.
    unsafe {
        let weights = weights.add(lane);
        match job.x.map.planes[0].lanes {
            3 => columns::<L, 3>(block.count, inputs, weights, steps, sums),
            _ => columns::<L, 4>(block.count, inputs, weights, steps, sums),
        }
        let bias = L::load(bias.as_ptr().add(lane));
        for tile in 0..block.count {
            let place = Place { column: block.place.column + tile * TILE, ..block.place };
            outputs_of_tiles::<L, TILE, { TILE / 2 }, 1>(
                lane,
                job,
                lanes,
                [&place],
                Stored(sums.add(tile * SUMS)),
                bias,
                lanes_before,
            );
        }
    }
}

/// The sums of a tile where [`columns`] has written them.
struct Stored(*const f32);

impl<L: Lanes> Sums<L> for Stored {
    #[inline(always)]
    unsafe fn line(&self, line: usize) -> [L; WINDOW] {
        // SAFETY: the caller's: they are all there.
        unsafe {
            let mut values = [L::splat(0.0); WINDOW];
            for column in 0..WINDOW {
                values[column] = L::load(self.0.add((line * WINDOW + column) * LANES));
            }
            values
        }
    }
}

/// The lines of a block's windows, transformed across lines: `[line of points][LINE]` to `to`.
#[inline(always)]
pub(super) unsafe fn lines_to_points<L: Lanes>(
    x: &Source,
    padding: [usize; 2],
    Block { place, count }: &Block,
    to: *mut f32,
) {
    let Source { lines, columns, before, origin, .. } = *x;
    let channels = x.map.planes[0].lanes;
    // Where the first window begins, with halo and padding before it, and which part of it lies in the value.
    let (line, column) = (place.line + before[0], place.column + before[1]);
    let depth = origin - before[0] * columns - before[1];
    let [down, right] = padding;
    let (skip, least) = (right.saturating_sub(column), column.saturating_sub(right));
    let wanted = TILE * count + 2;
    let width = wanted.saturating_sub(skip).min(columns.saturating_sub(least));
    let beside = [0.0; LINE];
    // SAFETY: the caller's: a tile of a sample of the value. Behind the value of an image are floats for a vector from its last
    // position on, so whole vectors are read; `to` has room for them.
    unsafe {
        let first = x.first.add(place.sample * x.stride + (depth + least) * channels);
        let mut from = [beside.as_ptr(); WINDOW];
        for at in 0..WINDOW {
            if let Some(inside) = (line + at).checked_sub(down)
                && inside < lines
            {
                from[at] = first.add(inside * columns * channels);
            }
        }
        for at in (0..width * channels).step_by(L::COUNT) {
            let mut values = [L::splat(0.0); WINDOW];
            for line in 0..WINDOW {
                values[line] = L::load(from[line].add(at));
            }
            let values = transform::of_inputs(values);
            for line in 0..WINDOW {
                values[line].store(to.add(line * LINE + skip * channels + at));
            }
        }
        if width < wanted {
            for line in 0..WINDOW {
                let line = std::slice::from_raw_parts_mut(to.add(line * LINE), wanted * channels);
                line[..skip * channels].fill(0.0);
                line[(skip + width) * channels..].fill(0.0);
            }
        }
    }
}

/// The points of `count` windows from their transformed lines, of which a vector has two: for each, `[column][line][QUARTER]`.
#[inline(always)]
pub(super) unsafe fn windows_to_points<H: Lanes>(channels: usize, count: usize, from: *const f32, to: *mut f32) {
    for tile in 0..count {
        for line in (0..WINDOW).step_by(2) {
            // SAFETY: the caller's; lines have floats for a quarter from their last position on, and two quarters are a vector.
            unsafe {
                let from = from.add(line * LINE + tile * TILE * channels);
                let mut values = [H::splat(0.0); WINDOW];
                for column in 0..WINDOW {
                    let from = from.add(column * channels);
                    values[column] = H::load_halves(from, from.add(LINE));
                }
                let values = transform::of_inputs(values);
                for column in 0..WINDOW {
                    values[column].store(to.add(tile * INPUTS + (column * WINDOW + line) * QUARTER));
                }
            }
        }
    }
}

/// The products of `count` tiles' points, transformed along columns: `[line][column][LANES]` to each tile's sums. A point's weights are
/// `weight_point` floats from the next one's, a channel's `weight_row`.
#[inline(always)]
unsafe fn columns<L: Lanes, const CHANNELS: usize>(
    count: usize,
    inputs: *const f32,
    weights: *const f32,
    [weight_point, weight_row]: [usize; 2],
    sums: *mut f32,
) {
    for column in 0..WINDOW {
        // SAFETY: the caller's.
        unsafe {
            let mut factors = [[L::splat(0.0); CHANNELS]; WINDOW];
            for line in 0..WINDOW {
                for channel in 0..CHANNELS {
                    let point = (line * WINDOW + column) * weight_point;
                    factors[line][channel] = L::load(weights.add(point + channel * weight_row));
                }
            }
            for tile in 0..count {
                let from = inputs.add(tile * INPUTS + column * WINDOW * QUARTER);
                let mut products = [L::splat(0.0); WINDOW];
                for line in 0..WINDOW {
                    products[line] = L::splat(*from.add(line * QUARTER)).mul(factors[line][0]);
                    for channel in 1..CHANNELS {
                        let value = L::splat(*from.add(line * QUARTER + channel));
                        products[line] = value.mul_add(factors[line][channel], products[line]);
                    }
                }
                let lines: [L; TILE] = transform::to_outputs(products);
                for line in 0..TILE {
                    lines[line].store(sums.add(tile * SUMS + (line * WINDOW + column) * LANES));
                }
            }
        }
    }
}
