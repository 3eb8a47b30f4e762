//! What the kernels of Winograd's convolutions need: floats of packed weights, and of scratch. The compiler counts the same.

use super::image;
use super::transform::{POINTS, WINDOW};
use crate::kernels::conv::Conv;
use crate::layout::{Plane, channels, lanes};

/// Floats that there is room for in scratch at a plane's position, and the most lanes of a plane.
pub(super) const LANES: usize = 16;

/// The most tiles of a block where a gradient of weights is made.
pub(super) const MOST: usize = 32;

/// The most tiles of a block whose points are multiplied with weights.
pub(super) const BLOCK: usize = MOST / 2;

/// Tiles of a block whose points are multiplied with far weights: read for so many, they are not what is waited for.
pub(super) const FAR_BLOCK: usize = 64;

/// Floats of packed weights from which on they are far: no second cache holds them until they are read again.
pub(super) const FAR: usize = 1 << 18;

/// Floats between the points of packed weights and of blocks in scratch, beside their own: without them, all 36 would meet in the same
/// few lines of the caches.
const APART: usize = 16;

/// Samples of a tile of the plan.
const SAMPLES: usize = 8;

/// The most floats of the points' weight gradient that are kept until the last block of tiles; larger ones are transformed and added
/// to the gradient block by block.
const KEPT: usize = 1 << 20;

/// Floats from a pointer in scratch to the next line of the cache.
pub(super) const ALIGNMENT: usize = 15;

/// Floats of the gradient of the 3x3 windows of a plane of inputs and two of outputs.
pub(super) const WINDOWS: usize = 9 * LANES * 2 * LANES;

/// Planes of inputs of a part of the weights of a whole batch, and the most of outputs.
pub(super) const PART: usize = 4;

const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

pub(super) const fn most(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Outputs on a side of a tile: with the taps of a window they are one more than the inputs that a tile sees, which are 6 for all.
pub(super) const fn tile_side(conv: &Conv) -> usize {
    WINDOW + 1 - conv.kernel[1]
}

/// Taps of a window.
pub(super) const fn taps(conv: &Conv) -> usize {
    conv.kernel[1] * conv.kernel[2]
}

/// Floats from one point of packed weights to the next.
pub(super) const fn weight_point(from: &[Plane], to: &[Plane]) -> usize {
    channels(from) * lanes(to) + APART
}

/// Floats of the packed weights that make `to` of `from`: of [`pack`](super::pack) with the planes of x and y, of
/// [`pack_transposed`](super::pack_transposed) with those of y and x.
pub const fn packed_len(from: &[Plane], to: &[Plane]) -> usize {
    POINTS * weight_point(from, to)
}

/// Tiles that cover the output of a convolution, in one sample.
pub(super) const fn tiles(conv: &Conv) -> usize {
    let [_, lines, columns] = conv.out_size;
    lines.div_ceil(tile_side(conv)) * columns.div_ceil(tile_side(conv))
}

/// Tiles of a block.
pub(super) const fn block(conv: &Conv, from: &[Plane], to: &[Plane]) -> usize {
    if packed_len(from, to) >= FAR { FAR_BLOCK } else { least(BLOCK, SAMPLES * tiles(conv)) }
}

/// Tiles of a block where a gradient of weights is made.
pub(super) const fn gradient_block(conv: &Conv) -> usize {
    least(MOST, SAMPLES * tiles(conv))
}

/// Floats from one point of `planes` of a block of tiles to the next.
pub(super) const fn point(planes: usize, block: usize) -> usize {
    planes * block * LANES + APART
}

/// Floats of the points of so many planes of a block of tiles.
pub(super) const fn points_len(planes: usize, block: usize) -> usize {
    POINTS * point(planes, block)
}

/// Whether the points' gradient is kept from block to block.
pub(super) const fn is_kept(conv: &Conv, x: &[Plane], y: &[Plane]) -> bool {
    gradient_block(conv) < SAMPLES * tiles(conv) && POINTS * x.len() * LANES * lanes(y) <= KEPT
}

/// Floats of the points' gradient, or of the largest part of it.
pub(super) const fn gradient_len(x: &[Plane], y: &[Plane], is_kept: bool) -> usize {
    POINTS * LANES * if is_kept { x.len() * lanes(y) } else { 2 * LANES }
}

/// The convolution whose input is the gradient of `conv`'s output, and whose output is that of its input.
pub(super) const fn reversed(conv: &Conv) -> Conv {
    let [_, lines, columns] = conv.padding;
    Conv {
        channels: conv.out_channels,
        size: conv.out_size,
        out_channels: conv.channels,
        out_size: conv.size,
        padding: [0, conv.kernel[1] - 1 - lines, conv.kernel[2] - 1 - columns],
        ..*conv
    }
}

const fn forward_scratch(conv: &Conv, from: &[Plane], to: &[Plane]) -> usize {
    let block = block(conv, from, to);
    points_len(from.len(), block) + points_len(to.len(), block)
}

/// Floats of scratch that any of the functions needs, for values with these planes, but for those with a number of their own:
/// [`grad_weight_pool_scratch`](super::grad_weight_pool_scratch) and [`batch_scratch`].
pub const fn scratch(conv: &Conv, x: &[Plane], y: &[Plane]) -> usize {
    if image::is_image(x) {
        return image::SCRATCH + ALIGNMENT;
    }
    let both = most(forward_scratch(conv, x, y), forward_scratch(&reversed(conv), y, x)) + ALIGNMENT;
    if conv.kernel[1] != 3 {
        return both;
    }
    let block = gradient_block(conv);
    let kept = gradient_len(x, y, is_kept(conv, x, y));
    let points = points_len(x.len(), block) + points_len(y.len(), block);
    most(both, points + y.len() * LANES + WINDOWS + kept + ALIGNMENT)
}

/// Floats of the points of as many planes as a part of the weights may have.
pub(super) const fn part_points(planes: &[Plane]) -> usize {
    points_len(least(planes.len(), PART), MOST)
}

/// Floats of scratch that [`grad_weight_batch`](super::grad_weight_batch) needs for each worker, for values with these planes.
pub const fn batch_scratch(x: &[Plane], y: &[Plane]) -> usize {
    let sums = POINTS * least(x.len(), PART) * LANES * least(y.len(), PART) * LANES;
    part_points(x) + part_points(y) + WINDOWS + sums + ALIGNMENT
}

/// Scratch from the first line of the cache on.
pub(super) fn aligned(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(64).min(ALIGNMENT);
    &mut scratch[skip..]
}
