//! The gradient by the weight, of a tile of samples: products of the windows' points with those of the outputs' gradient, summed over
//! tiles and transformed to the windows'.

use std::ops::Range;

use super::sizes::{LANES, MOST, WINDOWS, aligned, gradient_block, gradient_len, is_kept, points_len};
use super::tiles::{Grid, Group, Place, Points, Source, Staged, each_vector, groups, is_half, points_of_inputs};
use super::transform::{self, POINTS, Square, Strided, WINDOW};
use super::{check, check_gradient};
use crate::arena::{Parts, Tile, View};
use crate::isa::Numerics;
use crate::kernels::conv::Conv;
use crate::kernels::direct;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::layout::{Plane, channels};

/// Outputs on a side of a tile: windows are of 3x3 taps.
const TILE: usize = 4;

/// `dweight += x * dy` and `dbias += sum of dy`, over the tile's samples; `weight` and `bias` are offsets into the gradient.
pub fn grad_weight(t: &mut Tile<'_>, conv: &Conv, x: View, dy: View, weight: usize, bias: Option<usize>) {
    if t.numerics == Numerics::Exact {
        return direct::grad_weight(t, conv, x, dy, weight, bias);
    }
    let (x_map, dy_map) = (x.map(), dy.map());
    check(conv, x, dy, conv.out_size);
    check_gradient(conv, x_map.planes);
    let len = 9 * conv.channels * conv.out_channels;
    let Parts { reads: [x, dy], isa, gradients, scratch, .. } = t.parts([x, dy], []);
    let block = gradient_block(conv);
    let is_kept = is_kept(conv, x_map.planes, dy_map.planes);
    let scratch = aligned(scratch);
    let (x_points, scratch) = scratch.split_at_mut(points_len(x_map.planes.len(), block));
    let (dy_points, scratch) = scratch.split_at_mut(points_len(dy_map.planes.len(), block));
    let (sums, scratch) = scratch.split_at_mut(dy_map.planes.len() * LANES);
    sums.fill(0.0);
    let (windows, scratch) = scratch.split_at_mut(WINDOWS);
    let points = &mut scratch[..gradient_len(x_map.planes, dy_map.planes, is_kept)];
    let samples = x.samples();
    let job = WeightGradient {
        grid: Grid::new(conv, conv.out_size),
        padding: [conv.padding[1], conv.padding[2]],
        x: Source::of(x, x_map),
        dy: Source::of(dy, dy_map),
        samples,
        block,
        x_points: Points::new(x_points, x_map.planes.len(), block),
        dy_points: Points::new(dy_points, dy_map.planes.len(), block),
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
    /// The points' gradient: for each group of planes of dy and each plane of x, as [`lanes_are_inputs`] says.
    points: *mut f32,
    /// Whether all of it is there, or one group and plane.
    is_kept: bool,
    /// Room for [`WINDOWS`] floats.
    windows: *mut f32,
}

dispatch! {
    fn add_weight_gradient(job: &WeightGradient, gradient: &mut [f32]) = weight_gradient;
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
                        let x = job.x_points.at(index, point).cast_const();
                        let dy = job.dy_points.at(group.plane, point).cast_const();
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

/// Whether the points' gradient of a plane of x and a group of planes of dy is `[point][lanes of the group][LANES of x]`, where those fill
/// half of a vector and these all of it; else it is `[point][LANES of x][lanes of the group]`.
fn lanes_are_inputs<W: Lanes>(inputs: &Plane, group: Group) -> bool {
    W::COUNT == LANES && inputs.lanes == LANES && group.lanes < LANES
}

/// Adds to the weights' gradient that of the windows of a plane of inputs and a group of outputs, from the points' one. `windows` is room
/// for [`WINDOWS`] floats.
#[inline(always)]
pub(super) unsafe fn add_windows<W: Lanes, H: Lanes>(
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
    let weight = |output: usize| 9 * (output * inputs + before);
    if lanes_are_inputs::<W>(&x_planes[plane], group) {
        let first = channels(&dy_planes[..group.plane]);
        let outputs = dy_planes[group.plane].channels;
        assert!(weight(first + outputs - 1) + 9 * count <= len, "weights of the layer");
        for output in 0..outputs {
            // SAFETY: the caller's: the points, and the weights of the plane's inputs and the output, which nobody else has.
            unsafe {
                weights_of_points::<W>(0, LANES, points.add(output * LANES), step, windows, LANES);
                add_transposed(windows, LANES, gradient.add(weight(first + output)), 9, [count, 9]);
            }
        }
        return;
    }
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
            let first = weight(output);
            let size = [outputs.channels, 9 * count];
            assert!(first + (size[0] - 1) * 9 * inputs + size[1] <= len, "weights of the layer");
            add_transposed(windows.add(number * LANES), group.lanes, gradient.add(first), 9 * inputs, size);
            output += outputs.channels;
        }
    }
}

/// The points of the tiles of dy in some planes, and its sums, if they are asked for.
#[inline(always)]
pub(super) unsafe fn points_of_gradient<W: Lanes, H: Lanes>(
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
            let to = Points { first: to.at(index, 0), ..to };
            let sums = sums.map(|sums| sums.add(index * LANES));
            if is_half::<W, H>(plane) {
                pairs_of_gradient::<W, H>(dy, first, places, to, sums);
            } else {
                each_vector!(plane.lanes, tiles_of_gradient::<W, H>(dy, first, places, to, sums));
            }
        }
        first += plane.lanes * dy.map.positions();
    }
}

/// A vector of a plane of [`points_of_gradient`].
#[inline(always)]
unsafe fn tiles_of_gradient<L: Lanes>(
    lane: usize,
    lanes: usize,
    dy: &Source,
    plane: usize,
    places: &[Place],
    to: Points,
    sums: Option<*mut f32>,
) {
    let mut staged = Staged::uninit();
    for (tile, place) in places.iter().enumerate() {
        // SAFETY: a tile has its vectors, and the points have room for it.
        unsafe {
            let mut from = dy.window::<TILE>(place, plane, lanes, [0, 0], &mut staged);
            from.first = from.first.add(lane);
            if let Some(sums) = sums {
                let sums = sums.add(lane);
                L::load(sums).add(sum_of_tile::<L>(&from)).store(sums);
            }
            let to_point = to.first.add(tile * lanes + lane);
            transform::outputs_to_points::<L>(from, to_point, [WINDOW * to.point, to.point]);
        }
    }
}

/// [`tiles_of_gradient`] of a plane that [`is_half`] of a vector: two tiles at once.
#[inline(always)]
unsafe fn pairs_of_gradient<W: Lanes, H: Lanes>(
    dy: &Source,
    plane: usize,
    places: &[Place],
    to: Points,
    sums: Option<*mut f32>,
) {
    let (pairs, last) = places.as_chunks::<2>();
    let mut staged = [const { Staged::uninit() }; 2];
    for (pair, places) in pairs.iter().enumerate() {
        let [first, second] = &mut staged;
        // SAFETY: as in `tiles_of_gradient`, of both tiles; H has the plane's lanes, and W twice as many.
        unsafe {
            let from = [
                dy.window::<TILE>(&places[0], plane, H::COUNT, [0, 0], first),
                dy.window::<TILE>(&places[1], plane, H::COUNT, [0, 0], second),
            ];
            if let Some(sums) = sums {
                let mut of_pair = [0.0; LANES];
                sum_of_tile::<W>(&from).store(of_pair.as_mut_ptr());
                let [first, second] = [0, H::COUNT].map(|half| of_pair.as_ptr().add(half));
                H::load(sums).add(H::load(first)).add(H::load(second)).store(sums);
            }
            let to_point = to.first.add(pair * W::COUNT);
            transform::outputs_to_points::<W>(from, to_point, [WINDOW * to.point, to.point]);
        }
    }
    // SAFETY: the caller's.
    unsafe {
        let to = Points { first: to.first.add(pairs.len() * W::COUNT), ..to };
        tiles_of_gradient::<H>(0, H::COUNT, dy, plane, last, to, sums);
    }
}

/// The sum of a tile's gradient.
#[inline(always)]
unsafe fn sum_of_tile<L: Lanes>(from: &impl Square<L>) -> L {
    // SAFETY: the caller's.
    unsafe {
        let mut of_columns = [L::splat(0.0); TILE];
        for line in 0..TILE {
            for column in 0..TILE {
                of_columns[column] = of_columns[column].add(from.at(line, column));
            }
        }
        of_columns[0].add(of_columns[1]).add(of_columns[2].add(of_columns[3]))
    }
}

/// One point's gradient of a plane of inputs and a group of planes of outputs, as [`lanes_are_inputs`] says.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn gradient_of_group<W: Lanes, H: Lanes>(
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
            (32, 16) => gradients::<W, 8, 2, LANES>(inputs, tiles, x, dy, dy_plane, to, 32, is_fresh),
            (16, 16) => gradients::<W, 8, 1, LANES>(inputs, tiles, x, dy, 0, to, 16, is_fresh),
            _ if lanes_are_inputs::<W>(inputs, group) => {
                let outputs = Plane { lanes: 8, channels: 8 };
                gradients::<W, 8, 1, LANES>(&outputs, tiles, dy, x, 0, to, LANES, is_fresh);
            }
            (8, _) => gradients::<H, 8, 1, 8>(inputs, tiles, x, dy, 0, to, 8, is_fresh),
            (lanes, _) => {
                for plane in 0..group.planes {
                    let (dy, to) = (dy.add(plane * dy_plane), to.add(plane * LANES));
                    gradients::<H, 4, 2, LANES>(inputs, tiles, x, dy, H::COUNT, to, lanes, is_fresh);
                }
            }
        }
    }
}

/// One point's gradient for `VECTORS` vectors of output channels, in planes of `STEP` lanes, and `INPUTS` input channels at once:
/// `to[input][vector] (+)= sum over tiles of x[tile][input] * dy[tile][vector]`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn gradients<L: Lanes, const INPUTS: usize, const VECTORS: usize, const STEP: usize>(
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
                    factors[vector] = L::load(dy.add(tile * STEP + vector * dy_vector));
                }
                for input in 0..INPUTS {
                    let value = L::splat(*x.add(tile * inputs.lanes + input));
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
pub(super) unsafe fn weights_of_points<L: Lanes>(
    lane: usize,
    _lanes: usize,
    points: *const f32,
    step: usize,
    to: *mut f32,
    to_step: usize,
) {
    // SAFETY: the caller's: 36 vectors, and nine.
    unsafe {
        let points = Strided { first: points.add(lane), line: WINDOW * step, column: step };
        transform::points_to_weights::<L>(points, to.add(lane), [3 * to_step, to_step]);
    }
}

/// `to[line][column] += from[column][line]`, four by four, of lines `to_step` and `from_step` floats apart.
#[inline(always)]
pub(super) unsafe fn add_transposed(
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
