//! The gradient by the weight of the convolution of an image, behind which the maxima of 2x2 outputs were taken.
//!
//! By blocks of tiles next to each other, as forward: the windows' points are made in the same way. A tile of the gradient is four floats
//! of the maxima's, each at its place and zero elsewhere, which are put there in registers and transformed to points at once. The products
//! of the two are summed over all blocks of a tile's samples, and are transformed to windows at the end.
//!
//! Of a map of few tiles, whose sums are short, errors are above what the head of [`winograd`](super) says: of one tile up to 3.5 times
//! that. From 16 tiles on they are below half of it, and the compiler asks for no others. A NaN or an infinity in the image may make NaN of
//! the gradient of any weight of its channel, wherever the maxima are.

use super::check;
use super::image::{Block, INPUTS, LINE, QUARTER, TILES, blocks, is_image, lines_to_points, windows_to_points};
use super::sizes::{ALIGNMENT, LANES, aligned, most, point, points_len};
use super::tiles::{Grid, Source, each_vector};
use super::transform::{self, POINTS, WINDOW};
use super::weight::{add_transposed, weights_of_points};
use crate::arena::{Parts, Tile, View};
use crate::isa::Numerics;
use crate::kernels::conv::Conv;
use crate::kernels::lanes::dispatch;
use crate::kernels::planes::Numbers;
use crate::kernels::{direct, sparse};
use crate::layout::Plane;

/// Floats of a plane's products: `[point][QUARTER][LANES]`, of which the first of a quarter are the channels.
const SUMS: usize = POINTS * QUARTER * LANES;

/// Floats of a plane's windows: `[channel][tap][LANES]`.
const WINDOWS: usize = QUARTER * 9 * LANES;

/// Outputs on a side of a tile, of which each 2x2 have a maximum.
const TILE: usize = 4;
const POOLED: usize = TILE / 2;

/// Floats of scratch that [`grad_weight_pool`] needs.
pub const fn grad_weight_pool_scratch(conv: &Conv, x: &[Plane], dy: &[Plane]) -> usize {
    let own = WINDOW * LINE + TILES * INPUTS + points_len(1, TILES) + WINDOWS + dy.len() * SUMS;
    most(own + ALIGNMENT, sparse::grad_weight_scratch(conv, x))
}

/// [`sparse::grad_weight`] of an image with windows of 3x3: `dweight += x * dy` and `dbias += sum of dy`, over the tile's samples, dy being
/// zero but at the `places` of the maxima.
pub fn grad_weight_pool(
    t: &mut Tile<'_>,
    conv: &Conv,
    x: View,
    dy: View,
    places: View,
    weight: usize,
    bias: Option<usize>,
) {
    if t.numerics == Numerics::Exact {
        return sparse::grad_weight(t, conv, x, dy, places, weight, bias);
    }
    let (x_map, dy_map) = (x.map(), dy.map());
    let [_, lines, columns] = conv.out_size;
    check(conv, x, dy, [1, lines / 2, columns / 2]);
    assert!(is_image(x_map.planes), "the input is an image");
    assert!(places.len >= direct::pool_places_len(dy_map), "a byte for each element");
    let Parts { reads: [x, dy, places], isa, gradients, scratch, .. } = t.parts([x, dy, places], []);
    if let Some(bias) = bias {
        direct::add_bias_gradient(isa, &dy, dy_map, &mut gradients[bias..][..conv.out_channels]);
    }
    let job = Gradient {
        grid: Grid::new(conv, [1, lines / 2 * 2, columns / 2 * 2]),
        padding: [conv.padding[1], conv.padding[2]],
        x: Source::of(x, x_map),
        dy: Source::of(dy, dy_map),
        places: (places.as_ptr().cast::<u8>(), 4 * places.stride()),
        samples: x.samples(),
    };
    let len = 9 * conv.channels * conv.out_channels;
    add_gradient(isa, &job, aligned(scratch), &mut gradients[weight..][..len]);
}

/// What [`add_gradient`] computes.
struct Gradient {
    grid: Grid,
    padding: [usize; 2],
    x: Source,
    /// The gradient of the maxima.
    dy: Source,
    /// The first sample's places, and bytes from one sample to the next.
    places: (*const u8, usize),
    samples: usize,
}

dispatch! {
    fn add_gradient(job: &Gradient, scratch: &mut [f32], gradient: &mut [f32]) = gradient_of_weights;
}

#[inline(always)]
unsafe fn gradient_of_weights<W: Numbers, H: Numbers>(job: &Gradient, scratch: &mut [f32], gradient: &mut [f32]) {
    let (planes, channels) = (job.dy.map.planes, job.x.map.planes[0].lanes);
    let (lines, scratch) = scratch.split_at_mut(WINDOW * LINE);
    let (inputs, scratch) = scratch.split_at_mut(TILES * INPUTS);
    let (points, scratch) = scratch.split_at_mut(points_len(1, TILES));
    let (windows, scratch) = scratch.split_at_mut(WINDOWS);
    let sums = &mut scratch[..planes.len() * SUMS];
    sums.fill(0.0);
    for block in blocks(job.grid, 0..job.samples * job.grid.tiles()) {
        // SAFETY: compiled for these vectors; all tiles are of the samples and next to each other, and a block fits into scratch.
        unsafe {
            lines_to_points::<W>(&job.x, job.padding, &block, lines.as_mut_ptr());
            windows_to_points::<H>(channels, block.count, lines.as_ptr(), inputs.as_mut_ptr());
            let mut before = 0;
            for (plane, sums) in planes.iter().zip(sums.chunks_exact_mut(SUMS)) {
                let (inputs, points, sums) = (inputs.as_ptr(), points.as_mut_ptr(), sums.as_mut_ptr());
                each_vector!(plane.lanes, maxima_to_points::<W, H>(job, &block, before, points));
                match channels {
                    3 => each_vector!(plane.lanes, add_products::<W, H, 3>(block.count, inputs, points, sums)),
                    _ => each_vector!(plane.lanes, add_products::<W, H, 4>(block.count, inputs, points, sums)),
                }
                before += plane.lanes;
            }
        }
    }
    let mut output = 0;
    for (plane, sums) in planes.iter().zip(sums.chunks_exact(SUMS)) {
        let windows = windows.as_mut_ptr();
        let of_output = 9 * channels;
        let gradient = &mut gradient[output * of_output..][..plane.channels * of_output];
        // SAFETY: as above; there is room for the windows of all channels, and these weights are the plane's outputs'.
        unsafe {
            for channel in 0..channels {
                let (from, to) = (sums.as_ptr().add(channel * LANES), windows.add(9 * channel * LANES));
                each_vector!(plane.lanes, weights_of_points::<W, H>(from, QUARTER * LANES, to, LANES));
            }
            add_transposed(windows, LANES, gradient.as_mut_ptr(), of_output, [plane.channels, of_output]);
        }
        output += plane.channels;
    }
}

/// The points of a block's tiles of the gradient, in a vector of a plane of so many lanes and with so many lanes before it.
#[inline(always)]
unsafe fn maxima_to_points<L: Numbers>(
    lane: usize,
    lanes: usize,
    job: &Gradient,
    Block { place, count }: &Block,
    lanes_before: usize,
    to: *mut f32,
) {
    let [_, lines, columns] = job.dy.map.size;
    let [first_line, first_column] = [place.line / 2, place.column / 2];
    // SAFETY: the caller's; only positions of the map are read, and the points have room for the block.
    unsafe {
        let dy = job.dy.first.add(place.sample * job.dy.stride + lanes_before * job.dy.positions + lane);
        let places = job.places.0.add(place.sample * job.places.1 + lanes_before * lines * columns + lane);
        let zero = L::splat(0.0);
        for tile in 0..*count {
            let mut half = [[zero; TILE]; WINDOW];
            for window in 0..POOLED {
                let column = first_column + POOLED * tile + window;
                // The columns of two windows, one above the other: left and right.
                let mut values = [[zero; TILE]; 2];
                for down in 0..POOLED {
                    let line = first_line + down;
                    if line < lines && column < columns {
                        let dy = L::load(dy.add((line * job.dy.columns + column + job.dy.origin) * lanes));
                        let place = L::load_bytes(places.add((line * columns + column) * lanes));
                        for side in 0..2 {
                            values[side][2 * down] = place.if_same(L::number(side), dy, zero);
                            values[side][2 * down + 1] = place.if_same(L::number(2 + side), dy, zero);
                        }
                    }
                }
                for side in 0..2 {
                    let values = transform::of_outputs(values[side]);
                    for line in 0..WINDOW {
                        half[line][2 * window + side] = values[line];
                    }
                }
            }
            for line in 0..WINDOW {
                let values = transform::of_outputs(half[line]);
                for column in 0..WINDOW {
                    let point = (line * WINDOW + column) * point(1, TILES);
                    values[column].store(to.add(point + tile * LANES + lane));
                }
            }
        }
    }
}

/// Adds a block's products to the sums of a vector of a plane: of `count` tiles' points of the image with those of the gradient.
#[inline(always)]
unsafe fn add_products<L: Numbers, const CHANNELS: usize>(
    lane: usize,
    _lanes: usize,
    count: usize,
    inputs: *const f32,
    points: *const f32,
    sums: *mut f32,
) {
    /// Points that are summed together, so that sums hide each other's latency.
    const TOGETHER: usize = WINDOW / 2;
    for column in 0..WINDOW {
        for first in (0..WINDOW).step_by(TOGETHER) {
            // SAFETY: the caller's.
            unsafe {
                let at = first * WINDOW + column;
                let points = points.add(at * point(1, TILES) + lane);
                let sums = sums.add(at * QUARTER * LANES + lane);
                let inputs = inputs.add((column * WINDOW + first) * QUARTER);
                let mut products = [[L::splat(0.0); CHANNELS]; TOGETHER];
                for line in 0..TOGETHER {
                    for channel in 0..CHANNELS {
                        products[line][channel] = L::load(sums.add((line * WINDOW * QUARTER + channel) * LANES));
                    }
                }
                for tile in 0..count {
                    for line in 0..TOGETHER {
                        let dy = L::load(points.add(line * WINDOW * point(1, TILES) + tile * LANES));
                        for channel in 0..CHANNELS {
                            let x = L::splat(*inputs.add(tile * INPUTS + line * QUARTER + channel));
                            products[line][channel] = x.mul_add(dy, products[line][channel]);
                        }
                    }
                }
                for line in 0..TOGETHER {
                    for channel in 0..CHANNELS {
                        products[line][channel].store(sums.add((line * WINDOW * QUARTER + channel) * LANES));
                    }
                }
            }
        }
    }
}
