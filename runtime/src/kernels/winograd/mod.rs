//! Convolutions with square windows by Winograd's minimal filtering: F(4x4, 3x3), a tile of 4x4 outputs by 36 products instead of 144,
//! and F(2x2, 5x5), a tile of 2x2 outputs, the window of a pool, by 36 instead of 100. Both see 6x6 inputs, at the same 36 points, and so
//! share all but the transforms of weights and of outputs. On values in planes.
//!
//! Three passes over 16 or 32 tiles at a time, or 64 where no cache holds the weights: the windows are transformed to their 36 points, the
//! points are multiplied with those of the weights (36 small products of matrices, tiles by input channels by output channels), the
//! results are transformed to outputs. Where a plane has half of a vector's lanes, two tiles share a vector. The tiles of a call are
//! numbered through all its samples, so that small maps fill such a block as well. The convolution of an image, forward, is one pass over
//! lines of tiles: `image.rs`.
//!
//! The gradient by the weight, of windows of 3x3 alone, sums the products of the points of the inputs with those of the outputs' gradient. Of
//! an image there is one behind a pool: `image_weight.rs`.
//!
//! Where exact numerics are asked for, all of it is the direct convolution instead, or behind a pool the sparse gradient: the same weights, packed for that, in the same place.
//!
//! Errors are those of the transformed values: a result of C channels is within `(8 + C / 8) 2^-24` of the sum over channels of the
//! largest input *of the tile's window* times the weights' magnitudes; windows of 5x5 have about half the errors of 3x3. A NaN or an
//! infinity in the input makes NaN of all outputs whose tile's window has it.
#![allow(unsafe_code)]
// Arrays of registers are indexed by plain loop variables, or they are none.
#![allow(clippy::needless_range_loop)]

mod batch;
mod forward;
mod image;
mod image_weight;
mod pack;
mod products;
mod sizes;
mod tiles;
mod transform;
mod weight;

pub use batch::grad_weight_batch;
use forward::{Pooled, convolve};
pub use image_weight::{grad_weight_pool, grad_weight_pool_scratch};
pub use pack::{pack, pack_transposed};
use sizes::{LANES, reversed};
pub use sizes::{batch_scratch, packed_len, scratch};
pub use weight::grad_weight;

use crate::arena::{Tile, View};
use crate::isa::Numerics;
use crate::kernels::conv::Conv;
use crate::kernels::{Epilogue, Store, direct};
use crate::layout::{Plane, channels};

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
    convolve(t, &reversed(conv), dy, packed, epilogue, dx, store, Pooled::No);
}

fn check_planes(conv: &Conv, x: &[Plane], y: &[Plane]) {
    let is_square = conv.kernel == [1, 3, 3] || conv.kernel == [1, 5, 5];
    let is_ours = is_square && conv.stride == [1; 3] && conv.dilation == [1; 3] && conv.groups == 1;
    assert!(is_ours, "a convolution with windows of 3x3 or 5x5, stride 1, dilation 1 and one group");
    assert!(conv.channels == channels(x) && conv.out_channels == channels(y), "planes have the convolution's channels");
    let is_vector = |plane: &Plane| (plane.lanes == 8 || plane.lanes == LANES) && plane.channels <= plane.lanes;
    let is_input = x.iter().all(is_vector) || image::is_image(x) && conv.kernel[1] == 3;
    assert!(is_input && y.iter().all(is_vector), "planes are of 8 or 16 lanes, or an image's of 3x3 windows");
}

/// Asserts that planes are none of an image: nobody asks for the gradient by one, and that by its weights is [`grad_weight_pool`], direct
/// or sparse.
fn check_no_image(x: &[Plane]) {
    assert!(!image::is_image(x), "an image has no such gradient");
}

/// Asserts that a gradient of weights is one of 3x3 windows. That of 5x5 would be F(5x5, 2x2), whose outputs are sums of powers up to the
/// fourth: its errors are above what the head says, by a third and more.
fn check_gradient(conv: &Conv, x: &[Plane]) {
    check_no_image(x);
    assert!(conv.kernel[1] == 3, "the gradient of larger windows is direct");
}

/// Asserts that two values are what a convolution reads, and what it makes, or what is pooled of it.
fn check(conv: &Conv, x: View, y: View, y_size: [usize; 3]) {
    let (x_map, y_map) = (x.map(), y.map());
    check_planes(conv, x_map.planes, y_map.planes);
    assert!(x.len == x_map.len() && y.len == y_map.len(), "maps have their floats");
    assert!(x_map.size == conv.size && y_map.size == y_size, "maps have the convolution's sizes");
    let (padding, reach) = (conv.padding, conv.kernel[1] - 1);
    assert!(padding[0] == 0 && padding[1] <= reach && padding[2] <= reach, "a window reaches into the map");
    let fits = |axis: usize| conv.out_size[axis] + reach == conv.size[axis] + 2 * padding[axis];
    assert!(conv.size[0] == 1 && conv.out_size[0] == 1 && fits(1) && fits(2), "the output is [out_channels][out_size]");
}

#[cfg(test)]
mod tests;
