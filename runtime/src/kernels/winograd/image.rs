//! The forward convolution of an image: of one plane of few lanes, all of them channels.
//!
//! Sums over so few channels are too short to write each point's to memory. Up to eight tiles next to each other are a block. The lines
//! that all of its windows share are transformed once, whole, across lines; then each window across columns. The products of a column of
//! points are made for all tiles by weights that stay in registers, and are transformed along the column before they leave them: 24
//! vectors a tile and not 36. An output's sum is over its channels in their order, as of [`product`](super::product).

use super::*;

/// Channels of an image at most.
const CHANNELS: usize = 4;

/// Tiles of a block.
const TILES: usize = 8;

/// Floats of the points of a tile's window at one point: half a vector's lanes, of which the first are the channels.
const HALF: usize = 8;

/// Floats of a line that the windows of a block see, and more, since a vector from its last position on is read as well.
const LINE: usize = ((TILE * TILES + 2) * CHANNELS).next_multiple_of(LANES) + LANES;

/// Floats of the points of a tile's window: `[column][line][HALF]`.
const INPUTS: usize = POINTS * HALF;

/// Floats of a tile's sums, transformed along columns: `[line of outputs][column of points][LANES]`.
const SUMS: usize = TILE * WINDOW * LANES;

/// Floats of scratch.
pub(super) const SCRATCH: usize = WINDOW * LINE + TILES * (INPUTS + SUMS);

/// Whether planes are an image.
pub(super) const fn is_image(planes: &[Plane]) -> bool {
    planes.len() == 1 && planes[0].lanes <= CHANNELS && planes[0].lanes == planes[0].channels
}

dispatch! {
    /// Makes the tiles of a job whose input is an image, with [`SCRATCH`] floats.
    pub(super) fn convolve(job: &Convolution<'_>, scratch: &mut [f32]) = convolution;
}

#[inline(always)]
unsafe fn convolution<W: Lanes, H: Lanes>(job: &Convolution<'_>, scratch: &mut [f32]) {
    let (from, to) = (job.x.map.planes, job.y.map.planes);
    let channels = from[0].lanes;
    let weight_point = weight_point(from, to);
    let groups = || groups(to).skip(job.groups.start).take(job.groups.len());
    let (lines, scratch) = scratch.split_at_mut(WINDOW * LINE);
    let (inputs, sums) = scratch.split_at_mut(TILES * INPUTS);
    assert!(sums.len() >= TILES * SUMS, "room for a block");
    let mut places = [Place::default(); TILES];
    let mut first = job.tiles.start;
    while first < job.tiles.end {
        // Up to the end of a line of tiles.
        let count = TILES.min(job.grid.columns - first % job.grid.columns).min(job.tiles.end - first);
        let places = &mut places[..count];
        job.grid.places(first, places);
        first += count;
        // SAFETY: compiled for these vectors; all tiles are of the samples and next to each other, and a block fits into scratch.
        unsafe {
            lines_to_points::<W>(job, &places[0], count, lines.as_mut_ptr());
            windows_to_points::<H>(channels, count, lines.as_ptr(), inputs.as_mut_ptr());
            for group in groups() {
                let planes = to.iter().enumerate().skip(group.plane).take(group.planes);
                for (number, (index, plane)) in planes.enumerate() {
                    let weights = job.weights.as_ptr().add(group.before * channels + number * LANES);
                    let steps = [weight_point, group.lanes];
                    let bias = job.bias_of(index);
                    let plane_at = lanes(&to[..index]);
                    each_vector!(
                        plane.lanes,
                        plane_of_block::<W, H>(
                            job,
                            plane.lanes,
                            places,
                            inputs.as_ptr(),
                            weights,
                            steps,
                            sums.as_mut_ptr(),
                            &bias,
                            plane_at
                        )
                    );
                }
            }
        }
    }
}

/// A vector of a plane of the result.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn plane_of_block<L: Lanes>(
    lane: usize,
    job: &Convolution<'_>,
    lanes: usize,
    places: &[Place],
    inputs: *const f32,
    weights: *const f32,
    steps: [usize; 2],
    sums: *mut f32,
    bias: &[f32; LANES],
    lanes_before: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let weights = weights.add(lane);
        match job.x.map.planes[0].lanes {
            1 => columns::<L, 1>(places.len(), inputs, weights, steps, sums),
            2 => columns::<L, 2>(places.len(), inputs, weights, steps, sums),
            3 => columns::<L, 3>(places.len(), inputs, weights, steps, sums),
            _ => columns::<L, 4>(places.len(), inputs, weights, steps, sums),
        }
        let bias = L::load(bias.as_ptr().add(lane));
        for (tile, place) in places.iter().enumerate() {
            let mut of_tile = [[L::splat(0.0); WINDOW]; TILE];
            for line in 0..TILE {
                for column in 0..WINDOW {
                    of_tile[line][column] = L::load(sums.add(tile * SUMS + (line * WINDOW + column) * LANES));
                }
            }
            outputs_of_tile::<L>(lane, job, lanes, place, of_tile, bias, lanes_before);
        }
    }
}

/// The lines of the windows of `count` tiles from `place` on, transformed across lines: `[line of points][LINE]` to `to`.
#[inline(always)]
unsafe fn lines_to_points<L: Lanes>(job: &Convolution<'_>, place: &Place, count: usize, to: *mut f32) {
    let Source { lines, columns, before, origin, .. } = job.x;
    let channels = job.x.map.planes[0].lanes;
    // Where the first window begins, with halo and padding before it, and which part of it lies in the value.
    let (line, column) = (place.line + before[0], place.column + before[1]);
    let depth = origin - before[0] * columns - before[1];
    let [down, right] = job.padding;
    let (skip, least) = (right.saturating_sub(column), column.saturating_sub(right));
    let wanted = TILE * count + 2;
    let width = wanted.saturating_sub(skip).min(columns.saturating_sub(least));
    let beside = [0.0; LINE];
    // SAFETY: the caller's: a tile of a sample of the value. Behind the value of an image are floats for a vector from its last
    // position on, so whole vectors are read; `to` has room for them.
    unsafe {
        let first = job.x.first.add(place.sample * job.x.stride + (depth + least) * channels);
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

/// The points of `count` windows from their transformed lines: for each, `[column][line][HALF]`.
#[inline(always)]
unsafe fn windows_to_points<H: Lanes>(channels: usize, count: usize, from: *const f32, to: *mut f32) {
    for tile in 0..count {
        for line in 0..WINDOW {
            // SAFETY: the caller's; lines have floats for a vector from their last position on.
            unsafe {
                let from = from.add(line * LINE + tile * TILE * channels);
                let mut values = [H::splat(0.0); WINDOW];
                for column in 0..WINDOW {
                    values[column] = H::load(from.add(column * channels));
                }
                let values = transform::of_inputs(values);
                for column in 0..WINDOW {
                    values[column].store(to.add(tile * INPUTS + (column * WINDOW + line) * HALF));
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
                let from = inputs.add(tile * INPUTS + column * WINDOW * HALF);
                let mut products = [L::splat(0.0); WINDOW];
                for line in 0..WINDOW {
                    products[line] = L::splat(*from.add(line * HALF)).mul(factors[line][0]);
                    for channel in 1..CHANNELS {
                        let value = L::splat(*from.add(line * HALF + channel));
                        products[line] = value.mul_add(factors[line][channel], products[line]);
                    }
                }
                let lines = transform::to_outputs(products);
                for line in 0..TILE {
                    lines[line].store(sums.add(tile * SUMS + (line * WINDOW + column) * LANES));
                }
            }
        }
    }
}
