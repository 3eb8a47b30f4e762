//! The gradient by the weight over the whole batch: for layers whose weights are so many, or whose maps are so small, that a gradient of
//! each tile would cost more than the sums do.
//!
//! Each task has a part of the weights, up to 64 inputs by 64 outputs. It goes through all tiles of all samples, in blocks, transforms
//! what its part reads of them (about a seventh of its work, done again for other parts), and keeps the part's points in the second
//! cache until the end: so the points' gradient is one chain of sums over the batch, and the windows' is made and added once.
#![allow(unsafe_code)]

use std::ops::Range;

use super::sizes::{LANES, MOST, PART, WINDOWS, aligned, part_points};
use super::tiles::{Grid, Place, Points, Source, groups, points_of_inputs};
use super::transform::POINTS;
use super::weight::{add_windows, gradient_of_group, points_of_gradient};
use super::{check, check_gradient};
use crate::arena::{Region, Rows, View};
use crate::isa::Numerics;
use crate::kernels::conv::Conv;
use crate::kernels::direct;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::layout::Plane;
use crate::pool;
use crate::run::{Chunks, Run};

/// Groups of outputs of a part.
const GROUPS: usize = PART / 2;

/// [`grad_weight`](super::grad_weight) of the whole batch, whose memory has `x` and `dy`: adds to the model's gradient, at `weight` and
/// `bias`, in parallel over parts of the weights.
pub fn grad_weight_batch(run: &mut Run<'_>, conv: &Conv, x: View, dy: View, weight: usize, bias: Option<usize>) {
    if run.numerics == Numerics::Exact {
        return direct::grad_weight_batch(run, conv, x, dy, weight, bias);
    }
    check(conv, x, dy, conv.out_size);
    assert!(x.region == Region::Batch && dy.region == Region::Batch, "values of the whole batch");
    let (x_map, dy_map) = (x.map(), dy.map());
    check_gradient(conv, x_map.planes);
    let whole = run.whole();
    let (isa, samples, scratch_stride) = (whole.isa, whole.samples, whole.scratch_stride);
    if samples == 0 {
        return;
    }
    let [x, dy] = [x, dy].map(|view| Rows::in_region(whole.batch, whole.batch_stride, samples, view));
    if let Some(bias) = bias {
        direct::add_bias_gradient(isa, &dy, dy_map, &mut whole.gradients[bias..][..conv.out_channels]);
    }
    let len = 9 * conv.channels * conv.out_channels;
    let gradient = Chunks::new(&mut whole.gradients[weight..][..len]);
    let scratch = Chunks::new(whole.scratch);
    let (inputs, outputs) = (x_map.planes.len(), groups(dy_map.planes).count());
    let of_outputs = inputs.div_ceil(PART);
    pool::run(whole.workers, of_outputs * outputs.div_ceil(GROUPS), &|worker, task| {
        let first = task % of_outputs * PART;
        // SAFETY: scratch of this worker, which runs one task at a time.
        let scratch = aligned(unsafe { scratch.chunk(worker * scratch_stride, scratch_stride) });
        let (x_points, scratch) = scratch.split_at_mut(part_points(x_map.planes));
        let (dy_points, scratch) = scratch.split_at_mut(part_points(dy_map.planes));
        let (windows, sums) = scratch.split_at_mut(WINDOWS);
        let points = |room: &mut [f32], planes: &[Plane]| Points::new(room, planes.len().min(PART), MOST);
        let part = Part {
            grid: Grid::new(conv, conv.out_size),
            padding: [conv.padding[1], conv.padding[2]],
            x: Source::of(x, x_map),
            dy: Source::of(dy, dy_map),
            samples,
            inputs: first..inputs.min(first + PART),
            first_group: task / of_outputs * GROUPS,
            x_points: points(x_points, x_map.planes),
            dy_points: points(dy_points, dy_map.planes),
            sums,
            windows: windows.as_mut_ptr(),
            gradient: (gradient.room(0, len), len),
        };
        add_part(isa, part);
    });
}

/// A part of the weights, and what its gradient is made of. Scratch has room for a block of [`MOST`] tiles.
struct Part<'a> {
    grid: Grid,
    padding: [usize; 2],
    x: Source,
    dy: Source,
    samples: usize,
    /// Planes of x.
    inputs: Range<usize>,
    /// The first of up to [`GROUPS`] groups of planes of dy.
    first_group: usize,
    x_points: Points,
    dy_points: Points,
    /// The points' gradient: for each group and each plane of x, as `weight::lanes_are_inputs` says.
    sums: &'a mut [f32],
    /// Room for [`WINDOWS`] floats.
    windows: *mut f32,
    /// The layer's gradient, of which the part's weights are this task's, and its floats.
    gradient: (*mut f32, usize),
}

dispatch! {
    fn add_part(part: Part<'_>) = part_gradient;
}

#[inline(always)]
unsafe fn part_gradient<W: Lanes, H: Lanes>(part: Part<'_>) {
    let (x_planes, dy_planes) = (part.x.map.planes, part.dy.map.planes);
    let of_part = || groups(dy_planes).skip(part.first_group).take(GROUPS);
    let outputs =
        of_part().fold(dy_planes.len()..0, |all, group| all.start.min(group.plane)..group.plane + group.planes);
    let room: usize = of_part().map(|group| POINTS * LANES * group.lanes * part.inputs.len()).sum();
    let sums = part.sums[..room].as_mut_ptr();
    let mut places = [Place::default(); MOST];
    let tiles = part.samples * part.grid.tiles();
    for first in (0..tiles).step_by(MOST) {
        let places = &mut places[..MOST.min(tiles - first)];
        part.grid.places(first, places);
        // SAFETY: compiled for these vectors; all tiles are of the samples, a block fits into its points, and there are sums for all
        // groups and planes of the part.
        unsafe {
            points_of_inputs::<W, H>(&part.x, part.inputs.clone(), part.padding, places, part.x_points);
            points_of_gradient::<W, H>(&part.dy, outputs.clone(), places, part.dy_points, None);
            for point in 0..POINTS {
                let x = part.x_points.at(0, point).cast_const();
                let dy = part.dy_points.at(0, point).cast_const();
                let mut sums = sums;
                for group in of_part() {
                    let (dy, step) =
                        (dy.add((group.plane - outputs.start) * part.dy_points.plane), LANES * group.lanes);
                    for (index, plane) in x_planes[part.inputs.clone()].iter().enumerate() {
                        let (x, to) = (x.add(index * part.x_points.plane), sums.add(point * step));
                        gradient_of_group::<W, H>(
                            plane,
                            group,
                            places.len(),
                            x,
                            dy,
                            part.dy_points.plane,
                            to,
                            first == 0,
                        );
                        sums = sums.add(POINTS * step);
                    }
                }
            }
        }
    }
    let mut sums = sums;
    for group in of_part() {
        for plane in part.inputs.clone() {
            // SAFETY: as above; these weights are the part's.
            unsafe {
                add_windows::<W, H>(sums, part.windows, x_planes, plane, dy_planes, group, part.gradient);
                sums = sums.add(POINTS * LANES * group.lanes);
            }
        }
    }
}
