//! The sums of a block: some positions by one or two vectors, in registers.
// Arrays of registers are indexed by plain loop variables, and nothing else.
#![allow(unsafe_code, clippy::needless_range_loop)]

use std::ops::Range;
use std::sync::atomic::{Ordering, compiler_fence};

use super::axis::Segment;
use super::finish::Block;
use super::groups::{HALF, Part, Source};
use super::{BLOCK, Job, WIDEST, taps};
use crate::kernels::conv::Conv;
#[cfg(target_arch = "x86_64")]
use crate::kernels::lanes::{F32x8, F32x16};
use crate::kernels::lanes::{Lanes, Portable, dispatch};
use crate::layout::{Blocked, Plane};

// A function for each width of a part: all of them in one would be more than a compiler takes in hand.
dispatch! {
    /// The sums of two whole planes, each a vector.
    pub(super) fn of_pair(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = pair;
    /// Those of one.
    pub(super) fn of_whole(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = whole;
    /// Those of one that is two vectors.
    pub(super) fn of_halves(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = halves;
    /// Those of eight lanes.
    pub(super) fn of_half(job: &Job<'_>, segments: &[Segment; 3], samples: Range<usize>, part: Part, weights: usize) = half;
}

/// Makes the kernels of the functions above, which all have one contract.
///
/// # Safety
///
/// Compiled for the vectors' instructions. The rows have the maps' lengths, the weights that of `packed_len`, and the axes are those of
/// the maps; a part has the lanes of as many vectors, or the next one has them too.
macro_rules! widths {
    ($($name:ident: $vector:ident $count:literal if $is_one:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name<W: Apart, H: Lanes>(
            job: &Job<'_>,
            segments: &[Segment; 3],
            samples: Range<usize>,
            part: Part,
            weights: usize,
        ) {
            // Known when it is compiled: a set of instructions has no text of the others' widths.
            if $is_one {
                // SAFETY: this function's contract.
                unsafe { of_part::<W, $vector, $count>(job, segments, samples, part, weights) }
            } else {
                unreachable!("a part of another width");
            }
        }
    )*};
}
widths! {
    pair: W 2 if W::COUNT == WIDEST;
    whole: W 1 if W::COUNT == WIDEST;
    halves: H 2 if W::COUNT < WIDEST;
    half: H 1 if true;
}

/// Positions of a line that a block has at most: when it has one line, and when it has two. `W::COUNT` says how many registers there
/// are: 16 of 8 floats, else 32.
pub(super) const fn most<W: Lanes>(vectors: usize) -> (usize, usize) {
    match (W::COUNT == WIDEST, vectors) {
        (true, 1) => (8, 8),
        (true, _) => (8, 4),
        (false, 1) => (8, 5),
        (false, _) => (6, 3),
    }
}

/// How a block's sums run through the source and the weights.
struct Walk {
    /// Positions of a plane of the source.
    positions: usize,
    /// How many taps are summed.
    taps: [usize; 3],
    /// Positions from one to the next.
    apart: [usize; 3],
    /// The first of them, and from one to the next, counted in all taps of the kernel.
    tap: usize,
    tap_apart: [usize; 3],
    /// All taps.
    kernel: usize,
    /// Positions from one of the block's lines to the next, and likewise columns.
    line: usize,
    column: usize,
    /// Whether neighbouring taps of a line are neighbouring positions, as neighbouring columns are.
    is_line: bool,
    /// Weights from one channel's to the next one's, and from one vector's to the next one's.
    row: usize,
    vector: usize,
}

/// What the sums of one group run over.
#[derive(Clone, Copy)]
struct Group {
    planes: &'static [Plane],
    /// Lanes of the first plane that are other groups', and all channels of this one.
    skip: usize,
    channels: usize,
    /// Floats of the source before the first plane.
    source: usize,
    /// Weights before the group's.
    weights: usize,
    /// The lanes of the result that are its own.
    lanes: [usize; 2],
}

impl Group {
    const NONE: Group = Group { planes: &[], skip: 0, channels: 0, source: 0, weights: 0, lanes: [0; 2] };

    /// The groups of a part of the planes `to`, whose weights begin at `weights`.
    fn of(conv: &Conv, from: &'static Blocked, to: &Blocked, part: &Part, weights: usize) -> [Group; HALF] {
        let mut groups = [Group::NONE; HALF];
        for number in 0..part.groups {
            let Source { planes, plane, skip, channels } = Source::of(from.planes, conv.groups, part.group + number);
            let own = part.lanes_of(part.group + number, to.channels() / conv.groups);
            groups[number] = Group {
                planes,
                skip,
                channels,
                source: from.plane(plane),
                weights: weights + number * part.lanes * channels * taps(conv),
                lanes: [own.start, own.end],
            };
        }
        groups
    }
}

/// The sums of some outputs, in a part of a plane, or in two planes of one group when there are two vectors of whole planes.
///
/// # Safety
///
/// As of [`widths`]; `V` vectors `L` are the lanes of `part`, or of it and the next one, of the same lanes. The part's weights begin at
/// `first_weight`.
#[inline(always)]
unsafe fn of_part<W: Apart, L: Lanes, const V: usize>(
    job: &Job<'_>,
    segments: &[Segment; 3],
    samples: Range<usize>,
    part: Part,
    first_weight: usize,
) {
    let [depths, lines, columns] = segments;
    let (from, to) = (job.from, job.to);
    let whole = from.whole();
    let kernel = job.conv.kernel;
    let groups = Group::of(job.conv, from, to, &part, first_weight);
    let groups = &groups[..part.groups];
    // A vector of a whole plane is followed by the next plane's.
    let is_plane = L::COUNT == part.lanes;
    let walk = Walk {
        positions: from.positions(),
        taps: [depths.taps, lines.taps, columns.taps],
        apart: [0, 1, 2].map(|axis| job.axes[axis].source_step() * whole[axis + 1..].iter().product::<usize>()),
        tap: (depths.tap * kernel[1] + lines.tap) * kernel[2] + columns.tap,
        tap_apart: [0, 1, 2].map(|axis| job.axes[axis].tap_step() * kernel[axis + 1..].iter().product::<usize>()),
        kernel: taps(job.conv),
        line: job.axes[1].advance() * whole[2],
        column: job.axes[2].advance(),
        is_line: [job.axes[2].advance(), job.axes[2].source_step(), job.axes[2].tap_step()] == [1; 3],
        row: part.lanes,
        vector: if is_plane { part.lanes * groups[0].channels * taps(job.conv) } else { L::COUNT },
    };
    let is_empty = walk.taps.contains(&0);
    let weights = job.weights.as_ptr();
    let bias = job.finish.bias_of(to.planes, part.plane);
    let window = if job.pools { 2 } else { 1 };
    let (one_line, two_lines) = most::<W>(V);
    let mut block = Block::new(part.plane, part.lane, [0, 1, 2].map(|axis| job.axes[axis].step()), window);
    // Sums of a further group, of which few lanes are kept.
    let mut others = [0.0; BLOCK * WIDEST];
    for sample in samples {
        let x = job.x.row(sample).as_ptr();
        // SAFETY: rows of as many samples.
        let at = |(first, stride): (*mut f32, usize)| unsafe { first.add(sample * stride) };
        let (y, places) = (at(job.y), job.places.map(|places| at(places).cast::<u8>()));
        for depth in 0..depths.count {
            let mut line = 0;
            while line < lines.count {
                let both = lines.count - line > 1 && (V == 1 || window == 2 || columns.count <= two_lines);
                let most = if both { two_lines / window * window } else { one_line };
                // Blocks of nearly the same size, in whole windows.
                let blocks = columns.count.div_ceil(most);
                let mut column = 0;
                for number in 0..blocks {
                    let end = columns.count / window * (number + 1) / blocks * window;
                    let count = end - column;
                    let [a, b, c] = [0, 1, 2]
                        .map(|axis| segments[axis].source + [depth, line, column][axis] * job.axes[axis].advance());
                    let at = if is_empty { 0 } else { (a * whole[1] + b) * whole[2] + c };
                    block.place(
                        [0, 1, 2]
                            .map(|axis| segments[axis].first + [depth, line, column][axis] * job.axes[axis].step()),
                        both,
                        count,
                    );
                    // SAFETY: the segments' windows lie inside the source's planes, which the row has; the weights are packed for
                    // these planes; the block's positions are outputs.
                    unsafe {
                        // One call for all groups: what it inlines is most of this kernel's text.
                        for (number, group) in groups.iter().enumerate() {
                            let is_first = number == 0;
                            let to = if is_first { block.sums.as_mut_ptr() } else { others.as_mut_ptr() };
                            block_sums::<W, L, V>(&walk, group, both, count, x, at, weights, to);
                            if is_first {
                                continue;
                            }
                            let floats = block.lines * count * L::COUNT;
                            let all = block.sums[..floats].chunks_exact_mut(L::COUNT);
                            for (sums, others) in all.zip(others[..floats].chunks_exact(L::COUNT)) {
                                sums[group.lanes[0]..group.lanes[1]]
                                    .copy_from_slice(&others[group.lanes[0]..group.lanes[1]]);
                            }
                        }
                        if window == 2 {
                            job.finish.store_maxima::<L, V>(&mut block, &bias, to, y, places);
                        } else {
                            job.finish.store::<L, V>(&block, &bias, sample, to, y);
                        }
                    }
                    column = end;
                }
                line += if both { 2 } else { 1 };
            }
        }
    }
}

/// The sums of a block of one or two lines of `columns` positions: `[line][column][vector]` to `to`.
///
/// # Safety
///
/// As of [`sums`]; at most as many columns as [`most`] says.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block_sums<W: Apart, L: Lanes, const V: usize>(
    walk: &Walk,
    group: &Group,
    both: bool,
    columns: usize,
    x: *const f32,
    at: usize,
    weights: *const f32,
    to: *mut f32,
) {
    macro_rules! blocks {
        ($($lines:literal $columns:literal $(if $condition:expr)?;)*) => {
            match (if both { 2 } else { 1 }, columns) {
                // SAFETY: this function's contract.
                $(($lines, $columns) $(if $condition)? => unsafe {
                    W::sums::<L, V, $lines, $columns>(walk, group, x, at, weights, to)
                },)*
                _ => unreachable!("a block has some columns"),
            }
        };
    }
    blocks! {
        1 1; 1 2; 1 3; 1 4; 1 5; 1 6; 1 7; 1 8;
        2 1; 2 2; 2 3; 2 4;
        2 5 if V == 1; 2 6 if V == 1; 2 7 if V == 1; 2 8 if V == 1;
    }
}

/// [`sums`] as functions of their own, with the instructions of a part's widest vector: blocks of all sizes in one function are more
/// than a compiler takes in hand.
trait Apart: Lanes {
    /// # Safety
    ///
    /// That of [`sums`], on a machine that has this vector's instructions.
    unsafe fn sums<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
        walk: &Walk,
        group: &Group,
        x: *const f32,
        at: usize,
        weights: *const f32,
        to: *mut f32,
    );
}

macro_rules! apart {
    ($($(#[cfg($machine:meta)])? $vector:ty $(: $instructions:literal)?;)*) => {$(
        $(#[cfg($machine)])?
        impl Apart for $vector {
            #[inline(always)]
            unsafe fn sums<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
                walk: &Walk,
                group: &Group,
                x: *const f32,
                at: usize,
                weights: *const f32,
                to: *mut f32,
            ) {
                #[inline(never)]
                $(#[target_feature(enable = $instructions)])?
                unsafe fn of<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
                    walk: &Walk,
                    group: &Group,
                    x: *const f32,
                    at: usize,
                    weights: *const f32,
                    to: *mut f32,
                ) {
                    // SAFETY: the caller's.
                    unsafe { sums::<L, V, LINES, COLUMNS>(walk, group, x, at, weights, to) }
                }
                // SAFETY: the caller's.
                unsafe { of::<L, V, LINES, COLUMNS>(walk, group, x, at, weights, to) }
            }
        }
    )*};
}
apart! {
    Portable;
    #[cfg(target_arch = "x86_64")]
    F32x8: "avx2,fma";
    #[cfg(target_arch = "x86_64")]
    F32x16: "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl";
}

/// # Safety
///
/// Compiled for the vectors' instructions. From position `at` on, `x` has all positions that the walk sees from the block's lines and
/// columns, in each plane; `weights` has those of the group's channels and the walk's vectors; `to` takes the block.
#[inline(always)]
unsafe fn sums<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
    walk: &Walk,
    group: &Group,
    x: *const f32,
    at: usize,
    weights: *const f32,
    to: *mut f32,
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut acc = [[[L::splat(0.0); V]; COLUMNS]; LINES];
        let (mut x, mut weights) = (x.add(group.source), weights.add(group.weights));
        let (mut skip, mut rest) = (group.skip, group.channels);
        for plane in group.planes {
            if rest == 0 {
                break;
            }
            let plane = &Plane { lanes: plane.lanes, channels: rest.min(plane.channels - skip) };
            let from = x.add(at * plane.lanes + skip);
            (skip, rest) = (0, rest - plane.channels);
            // Two lines have more addresses than there are registers for, unless most of their distances are constants.
            let many = LINES == 2 && COLUMNS >= 3;
            let is_image = V == 1 && COLUMNS >= 4 && walk.is_line && plane.channels == plane.lanes;
            match walk.column * plane.lanes {
                1 if is_image && walk.taps[2] == 3 => {
                    add_image::<L, V, LINES, COLUMNS, 1, 3>(walk, from, weights, &mut acc)
                }
                1 if is_image && walk.taps[2] == 5 => {
                    add_image::<L, V, LINES, COLUMNS, 1, 5>(walk, from, weights, &mut acc)
                }
                3 if is_image && walk.taps[2] == 3 => {
                    add_image::<L, V, LINES, COLUMNS, 3, 3>(walk, from, weights, &mut acc)
                }
                1 if many && V == 1 => add_plane::<L, V, LINES, COLUMNS, 1>(walk, plane, from, weights, &mut acc),
                3 if many && V == 1 => add_plane::<L, V, LINES, COLUMNS, 3>(walk, plane, from, weights, &mut acc),
                16 if many => add_plane::<L, V, LINES, COLUMNS, 16>(walk, plane, from, weights, &mut acc),
                _ => add_plane::<L, V, LINES, COLUMNS, 0>(walk, plane, from, weights, &mut acc),
            }
            x = x.add(walk.positions * plane.lanes);
            weights = weights.add(walk.kernel * plane.channels * walk.row);
        }
        for q in 0..LINES {
            for p in 0..COLUMNS {
                for v in 0..V {
                    acc[q][p][v].store(to.add(((q * COLUMNS + p) * V + v) * L::COUNT));
                }
            }
        }
    }
}

/// Adds what a plane gives; `STEP` is the floats from one of the block's columns to the next, or 0 when they are no constant.
///
/// # Safety
///
/// As of [`sums`]; `x` is the plane's position of the block, and `weights` are the plane's.
#[inline(always)]
unsafe fn add_plane<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize, const STEP: usize>(
    walk: &Walk,
    plane: &Plane,
    x: *const f32,
    weights: *const f32,
    acc: &mut [[[L; V]; COLUMNS]; LINES],
) {
    let line = walk.line * plane.lanes;
    let column = if STEP == 0 { walk.column * plane.lanes } else { STEP };
    let channel_row = plane.channels * walk.row;
    // Neighbouring taps of whole positions are one run of floats, of weights too.
    let is_run = plane.channels == plane.lanes && walk.apart[2] == 1 && walk.tap_apart[2] == 1;
    let (taps, run) = if is_run { (1, walk.taps[2] * plane.lanes) } else { (walk.taps[2], plane.channels) };
    // The runs of an image are short: most have a length that is a multiple of three.
    let unroll = if STEP == 1 || STEP == 3 { 3 } else { 1 };
    for a in 0..walk.taps[0] {
        for b in 0..walk.taps[1] {
            for c in 0..taps {
                let position = a * walk.apart[0] + b * walk.apart[1] + c * walk.apart[2];
                let tap = walk.tap + a * walk.tap_apart[0] + b * walk.tap_apart[1] + c * walk.tap_apart[2];
                // SAFETY: this function's contract.
                unsafe {
                    let mut from = x.add(position * plane.lanes);
                    let mut weight = weights.add(tap * channel_row);
                    for _ in 0..run / unroll {
                        for _ in 0..unroll {
                            add_term::<L, V, LINES, COLUMNS>(from, line, column, weight, walk.vector, acc);
                            from = from.add(1);
                            weight = weight.add(walk.row);
                        }
                    }
                    for _ in 0..run % unroll {
                        add_term::<L, V, LINES, COLUMNS>(from, line, column, weight, walk.vector, acc);
                        from = from.add(1);
                        weight = weight.add(walk.row);
                    }
                }
            }
        }
    }
}

/// Adds what an image gives, of `STEP` channels, by `TAPS` taps a line: in the order of [`add_plane`], but a line's weights stay in
/// registers, and each float of the image is read once for all columns that see it.
///
/// # Safety
///
/// As of [`add_plane`]; the walk's taps and columns are neighbouring positions.
#[inline(always)]
unsafe fn add_image<
    L: Lanes,
    const V: usize,
    const LINES: usize,
    const COLUMNS: usize,
    const STEP: usize,
    const TAPS: usize,
>(
    walk: &Walk,
    x: *const f32,
    weights: *const f32,
    acc: &mut [[[L; V]; COLUMNS]; LINES],
) {
    let line = walk.line * STEP;
    for a in 0..walk.taps[0] {
        for b in 0..walk.taps[1] {
            let tap = walk.tap + a * walk.tap_apart[0] + b * walk.tap_apart[1];
            // SAFETY: this function's contract.
            unsafe {
                let from = x.add((a * walk.apart[0] + b * walk.apart[1]) * STEP);
                let weights = weights.add(tap * STEP * walk.row);
                let mut by = [[L::splat(0.0); STEP]; TAPS];
                for k in 0..TAPS {
                    for c in 0..STEP {
                        by[k][c] = L::load(weights.add((k * STEP + c) * walk.row));
                    }
                }
                // A loop over positions would be too long to be unrolled.
                macro_rules! positions {
                    ($($position:literal)*) => {$(
                        if $position < COLUMNS + TAPS - 1 {
                            // Floats that are read long before they are used take the sums' registers.
                            compiler_fence(Ordering::SeqCst);
                            for q in 0..LINES {
                                for c in 0..STEP {
                                    let value = L::splat(*from.add(q * line + $position * STEP + c));
                                    for k in 0..TAPS {
                                        if k <= $position && $position - k < COLUMNS {
                                            let to = &mut acc[q][$position - k][0];
                                            *to = value.mul_add(by[k][c], *to);
                                        }
                                    }
                                }
                            }
                        }
                    )*};
                }
                positions!(0 1 2 3 4 5 6 7 8 9 10 11);
            }
        }
    }
}

/// Adds the products of a float for each position and a weight for each lane.
///
/// # Safety
///
/// As of [`add_plane`]; `from` and `weight` are those of the first position and vector.
#[inline(always)]
unsafe fn add_term<L: Lanes, const V: usize, const LINES: usize, const COLUMNS: usize>(
    from: *const f32,
    line: usize,
    column: usize,
    weight: *const f32,
    vector: usize,
    acc: &mut [[[L; V]; COLUMNS]; LINES],
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut by = [L::splat(0.0); V];
        for v in 0..V {
            by[v] = L::load(weight.add(v * vector));
        }
        for q in 0..LINES {
            for p in 0..COLUMNS {
                let value = L::splat(*from.add(q * line + p * column));
                for v in 0..V {
                    acc[q][p][v] = value.mul_add(by[v], acc[q][p][v]);
                }
            }
        }
    }
}
