//! One point's products of the inputs of a block of tiles with the weights, summed over the inputs' channels.

use super::sizes::LANES;
use super::tiles::Group;
use crate::kernels::lanes::Lanes;
use crate::layout::{Plane, channels};

/// One point's products of a group of planes.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn products_of_group<W: Lanes, H: Lanes>(
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
            (8, 16) => narrow_products::<W, H, 16, 1>(from, tiles, x, x_plane, weights, y),
            (8, _) => narrow_products::<H, H, 4, 2>(from, tiles, x, x_plane, weights, y),
            (lanes, _) => {
                for plane in 0..group.planes {
                    let (weights, y) = (weights.add(plane * LANES), y.add(plane * y_plane));
                    products::<H, 4, 2>(from, tiles, x, x_plane, weights, lanes, y, H::COUNT);
                }
            }
        }
    }
}

/// One point's products for `VECTORS` vectors of output channels in planes of 16 lanes, `TILES` tiles at once:
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
            product::<L, TILES, VECTORS>(from, x, tile, x_plane, weights, weight_step, y, y_vector);
            tile += TILES;
        }
        while tile + 4 <= tiles {
            product::<L, 4, VECTORS>(from, x, tile, x_plane, weights, weight_step, y, y_vector);
            tile += 4;
        }
        while tile < tiles {
            product::<L, 1, VECTORS>(from, x, tile, x_plane, weights, weight_step, y, y_vector);
            tile += 1;
        }
    }
}

/// `TILES` tiles of [`products`], from number `first` on.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn product<L: Lanes, const TILES: usize, const VECTORS: usize>(
    from: &[Plane],
    mut x: *const f32,
    first: usize,
    x_plane: usize,
    mut weights: *const f32,
    weight_step: usize,
    y: *mut f32,
    y_vector: usize,
) {
    // SAFETY: the caller's: the tiles of all planes, a vector of weights for each channel, and room for the tiles.
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; TILES];
        for planes in from.chunk_by(|a, b| a.lanes == b.lanes) {
            let x_tiles = x.add(first * planes[0].lanes);
            match planes[0].lanes {
                8 => add_products::<L, TILES, VECTORS, 8>(planes, x_tiles, x_plane, weights, weight_step, &mut sums),
                _ => {
                    add_products::<L, TILES, VECTORS, LANES>(planes, x_tiles, x_plane, weights, weight_step, &mut sums)
                }
            }
            weights = weights.add(channels(planes) * weight_step);
            x = x.add(planes.len() * x_plane);
        }
        for tile in 0..TILES {
            for vector in 0..VECTORS {
                sums[tile][vector].store(y.add((first + tile) * LANES + vector * y_vector));
            }
        }
    }
}

/// Adds the products of planes of `STEP` lanes to the sums.
#[inline(always)]
unsafe fn add_products<L: Lanes, const TILES: usize, const VECTORS: usize, const STEP: usize>(
    planes: &[Plane],
    mut x: *const f32,
    x_plane: usize,
    mut weights: *const f32,
    weight_step: usize,
    sums: &mut [[L; VECTORS]; TILES],
) {
    // SAFETY: the caller's.
    unsafe {
        for plane in planes {
            for channel in 0..plane.channels {
                let mut factors = [L::splat(0.0); VECTORS];
                for vector in 0..VECTORS {
                    factors[vector] = L::load(weights.add(vector * L::COUNT));
                }
                for tile in 0..TILES {
                    let value = L::splat(*x.add(tile * STEP + channel));
                    for vector in 0..VECTORS {
                        sums[tile][vector] = value.mul_add(factors[vector], sums[tile][vector]);
                    }
                }
                weights = weights.add(weight_step);
            }
            x = x.wrapping_add(x_plane);
        }
    }
}

/// [`products`] of 8 output channels, whose weights are as [`pair_inputs`](super::pack::pair_inputs) says: vectors are sums of even and of
/// odd input channels in turns, which are added in the end. `VECTORS` of them are 16 lanes: of one tile.
#[inline(always)]
unsafe fn narrow_products<L: Lanes, H: Lanes, const TILES: usize, const VECTORS: usize>(
    from: &[Plane],
    tiles: usize,
    x: *const f32,
    x_plane: usize,
    weights: *const f32,
    y: *mut f32,
) {
    let mut tile = 0;
    // SAFETY: the caller's.
    unsafe {
        while tile + TILES <= tiles {
            narrow_product::<L, H, TILES, VECTORS>(from, x, tile, x_plane, weights, y);
            tile += TILES;
        }
        while TILES > 8 && tile + 8 <= tiles {
            narrow_product::<L, H, 8, VECTORS>(from, x, tile, x_plane, weights, y);
            tile += 8;
        }
        while TILES > 4 && tile + 4 <= tiles {
            narrow_product::<L, H, 4, VECTORS>(from, x, tile, x_plane, weights, y);
            tile += 4;
        }
        while tile < tiles {
            narrow_product::<L, H, 1, VECTORS>(from, x, tile, x_plane, weights, y);
            tile += 1;
        }
    }
}

/// `TILES` tiles of [`narrow_products`], from number `first` on.
#[inline(always)]
unsafe fn narrow_product<L: Lanes, H: Lanes, const TILES: usize, const VECTORS: usize>(
    from: &[Plane],
    mut x: *const f32,
    first: usize,
    x_plane: usize,
    mut weights: *const f32,
    y: *mut f32,
) {
    // SAFETY: the caller's: the tiles of all planes, 8 weights for each channel, and room for the tiles.
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; TILES];
        for plane in from {
            let x_tiles = x.add(first * plane.lanes);
            match plane.lanes {
                8 => add_narrow_products::<L, TILES, VECTORS, 8>(plane, x_tiles, weights, &mut sums),
                _ => add_narrow_products::<L, TILES, VECTORS, LANES>(plane, x_tiles, weights, &mut sums),
            }
            weights = weights.add(plane.channels * 8);
            x = x.add(x_plane);
        }
        const { assert!(TILES == 1 || TILES.is_multiple_of(2)) };
        let y = y.add(first * 8);
        if VECTORS == 2 {
            for tile in 0..TILES {
                sums[tile][0].sum_neighbours(sums[tile][VECTORS - 1]).store(y.add(tile * 8));
            }
        } else if TILES > 1 {
            // A vector has the sums of two tiles: of one tile, which is below, there is no next one.
            for tile in (0..TILES).step_by(2) {
                sums[tile][0].sum_neighbours(sums[(tile + 1) % TILES][0]).store(y.add(tile * 8));
            }
        } else {
            let mut both = [0.0; LANES];
            sums[0][0].sum_neighbours(sums[0][0]).store(both.as_mut_ptr());
            H::load(both.as_ptr()).store(y);
        }
    }
}

/// Adds the products of a plane of `STEP` lanes to the sums of even and of odd channels.
#[inline(always)]
unsafe fn add_narrow_products<L: Lanes, const TILES: usize, const VECTORS: usize, const STEP: usize>(
    plane: &Plane,
    x: *const f32,
    mut weights: *const f32,
    sums: &mut [[L; VECTORS]; TILES],
) {
    // SAFETY: the caller's.
    unsafe {
        for channel in (0..plane.channels / 2 * 2).step_by(2) {
            let mut factors = [L::splat(0.0); VECTORS];
            for vector in 0..VECTORS {
                factors[vector] = L::load(weights.add(vector * L::COUNT));
            }
            for tile in 0..TILES {
                let values = L::splat_two(x.add(tile * STEP + channel));
                for vector in 0..VECTORS {
                    sums[tile][vector] = values.mul_add(factors[vector], sums[tile][vector]);
                }
            }
            weights = weights.add(16);
        }
        if plane.channels % 2 == 1 {
            let mut factors = [L::splat(0.0); VECTORS];
            for vector in 0..VECTORS {
                factors[vector] = L::load_apart(weights.add(vector * L::COUNT / 2));
            }
            for tile in 0..TILES {
                let value = L::splat(*x.add(tile * STEP + plane.channels - 1));
                for vector in 0..VECTORS {
                    sums[tile][vector] = value.mul_add(factors[vector], sums[tile][vector]);
                }
            }
        }
    }
}
