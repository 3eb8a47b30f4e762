//! The gradients of a convolution whose result is pooled by 2x2 windows at once ([`direct::forward_pool`]):
//! only the maxima have one, so there is a quarter of the products. (By the weights of 3x3 windows of an image it is most often
//! [`winograd::grad_weight_pool`](super::winograd::grad_weight_pool).)
//!
//! Registers are lanes of the input here, since every channel of the output has its maxima elsewhere. For 2-D convolutions of stride and
//! dilation 1.
// Arrays of registers are indexed by plain loop variables, and nothing else.
#![allow(unsafe_code, clippy::needless_range_loop)]

use crate::arena::{Parts, Rows, RowsMut, Tile, View};
use crate::kernels::Store;
use crate::kernels::conv::Conv;
use crate::kernels::direct::{self, WIDEST, check_conv, check_map};
use crate::kernels::lanes::{Lanes, dispatch};
use crate::layout::{Blocked, Plane};

/// Whether a map is an image: a plane narrower than a vector.
const fn is_image(x: &[Plane]) -> bool {
    x.len() == 1 && x[0].lanes < 8
}

/// Floats that are kept of what a line of a window sees of an image, `kernel[2] * channels` of them: whole vectors.
const fn slot(conv: &Conv) -> usize {
    let run = conv.kernel[2] * conv.channels;
    if run <= 8 { 8 } else { run.next_multiple_of(WIDEST) }
}

/// Floats of staged lines that the first cache holds beside all else.
const STAGED: usize = 5 << 10;

/// Lines of pooled windows whose slots are staged at once.
const fn staged_lines(conv: &Conv) -> usize {
    let line = 2 * (conv.out_size[2] / 2) * slot(conv);
    let (most, all) = (((STAGED / (line + 1)).saturating_sub(conv.kernel[1] - 1)) / 2, conv.out_size[1] / 2);
    if most == 0 {
        1
    } else if most < all {
        most
    } else {
        all
    }
}

/// Floats of a line of the cache.
const ALIGNMENT: usize = 16;

/// Floats of scratch that [`grad_input`] needs: a plane of `dx` with the padding.
pub const fn grad_input_scratch(conv: &Conv) -> usize {
    (conv.size[1] + 2 * conv.padding[1]) * (conv.size[2] + 2 * conv.padding[2]) * WIDEST + ALIGNMENT
}

/// Floats of scratch that [`grad_weight`] needs: the sums of one plane of `x`; for an image, what windows see of some
/// lines, too.
pub const fn grad_weight_scratch(conv: &Conv, x: &[Plane]) -> usize {
    if is_image(x) {
        let lines = 2 * staged_lines(conv) + conv.kernel[1] - 1;
        (conv.out_channels * conv.kernel[1] + lines * 2 * (conv.out_size[2] / 2)) * slot(conv) + ALIGNMENT
    } else {
        conv.out_channels * conv.kernel[1] * conv.kernel[2] * WIDEST + ALIGNMENT
    }
}

/// The part of scratch that begins with a whole line of the cache: vectors that lie across two are half as fast.
fn aligned(scratch: &mut [f32]) -> &mut [f32] {
    let first = scratch.as_ptr().align_offset(size_of::<f32>() * ALIGNMENT).min(ALIGNMENT);
    let len = scratch.len() - ALIGNMENT;
    &mut scratch[first..][..len]
}

fn check(conv: &Conv, x: View, dy: View, places: View) {
    check_conv(conv, x.map().planes, dy.map().planes);
    check_map(x, conv.size, true);
    check_map(dy, [conv.out_size[0], conv.out_size[1] / 2, conv.out_size[2] / 2], false);
    assert!(conv.stride == [1; 3] && conv.dilation == [1; 3], "stride and dilation are 1");
    let is_even = |axis: usize| conv.out_size[axis] + conv.kernel[axis] == conv.size[axis] + 2 * conv.padding[axis] + 1;
    assert!(conv.groups == 1 && is_even(1) && is_even(2), "one group, and as much padding on either side");
    assert!(conv.size[0] == 1 && conv.kernel[0] == 1 && conv.padding[0] == 0, "there are two axes");
    assert!(places.len >= direct::pool_places_len(dy.map()), "a byte for each element");
}

/// `dx[c][i] = sum over o, tap, p with i = p + tap - padding of weight[o][c][tap] dy[o][p]`, written or added, where the only p of a
/// pooled window is the place of its maximum. `packed` is where [`direct::pack_transposed`] put the weight.
pub fn grad_input(t: &mut Tile<'_>, conv: &Conv, dy: View, places: View, packed: usize, dx: View, store: Store) {
    check(conv, dx, dy, places);
    let (from, to) = (dy.map(), dx.map());
    assert!(!is_image(to.planes), "an image has no gradient");
    let Parts { reads: [dy, places], writes: [dx], packed: weights, scratch, isa, .. } = t.parts([dy, places], [dx]);
    let weights = &weights[packed..][..direct::packed_len(conv, from.planes, to.planes)];
    let staged = aligned(&mut scratch[..grad_input_scratch(conv)]);
    scatter(isa, &mut Scatter { conv, from, to, dy, places, weights, staged, dx, store });
}

/// Adds to the tile's gradient, at `weight` and `bias`, in PyTorch's order: `dweight[o][c][tap] = sum over p of dy[o][p] x[c][p + tap -
/// padding]`, `dbias[o] = sum over p of dy[o][p]`, p the places of the maxima, samples in order. `x`'s halo is at least the padding.
pub fn grad_weight(t: &mut Tile<'_>, conv: &Conv, x: View, dy: View, places: View, weight: usize, bias: Option<usize>) {
    check(conv, x, dy, places);
    let (from, to) = (x.map(), dy.map());
    for axis in 1..3 {
        let wide = from.before[axis] >= conv.padding[axis] && from.after[axis] >= conv.padding[axis];
        assert!(wide, "the halo holds the padding");
    }
    let Parts { reads: [x, dy, places], gradients, scratch, isa, .. } = t.parts([x, dy, places], []);
    if let Some(bias) = bias {
        direct::add_bias_gradient(isa, &dy, to, &mut gradients[bias..][..conv.out_channels]);
    }
    let weights = &mut gradients[weight..][..conv.out_channels * conv.channels * conv.kernel[1] * conv.kernel[2]];
    let scratch = aligned(&mut scratch[..grad_weight_scratch(conv, from.planes)]);
    let mut gather = Gather { conv, from, to, x, dy, places, weights, scratch };
    if is_image(from.planes) {
        assert_eq!(from.planes[0].lanes, conv.channels, "an image has no padding between positions");
        gather_slots(isa, &mut gather);
    } else {
        gather_lanes(isa, &mut gather);
    }
}

struct Scatter<'a> {
    conv: &'a Conv,
    from: &'static Blocked,
    to: &'static Blocked,
    dy: Rows<'a>,
    places: Rows<'a>,
    weights: &'a [f32],
    staged: &'a mut [f32],
    dx: RowsMut<'a>,
    store: Store,
}

struct Gather<'a> {
    conv: &'a Conv,
    from: &'static Blocked,
    to: &'static Blocked,
    x: Rows<'a>,
    dy: Rows<'a>,
    places: Rows<'a>,
    weights: &'a mut [f32],
    scratch: &'a mut [f32],
}

dispatch! {
    /// The gradient by the input.
    fn scatter(call: &mut Scatter<'_>) = scatter_planes;
    /// The gradient by the weight, of an input in planes of vectors.
    fn gather_lanes(call: &mut Gather<'_>) = gather_planes;
    /// The gradient by the weight, of an image.
    fn gather_slots(call: &mut Gather<'_>) = gather_image;
}

/// One output's pooled gradient of a sample, and its places: those of a position's neighbour are `lanes` further on.
#[derive(Clone, Copy)]
struct Maxima {
    dy: *const f32,
    places: *const u8,
    lanes: usize,
    /// Floats of `dy` from line to line.
    line: usize,
    lines: usize,
    columns: usize,
}

/// Outputs one by one: the number of the output and of its plane, its place among the plane's channels, and the place of its gradient.
fn outputs(map: &Blocked) -> impl Iterator<Item = (usize, usize, usize)> {
    let channels = |plane: usize| (0..map.planes[plane].channels).map(move |lane| (plane, lane));
    (0..map.planes.len()).flat_map(channels).enumerate().map(|(output, (plane, lane))| (output, plane, lane))
}

impl Maxima {
    /// Of the output at this lane of a plane.
    fn of(map: &Blocked, dy: &[f32], places: &[f32], plane: usize, lane: usize) -> Maxima {
        let lanes = map.planes[plane].lanes;
        let [_, lines, columns] = map.size;
        let before: usize = map.planes[..plane].iter().map(|plane| plane.lanes).sum();
        let place = before * lines * columns + lane;
        assert!(place / 4 <= places.len(), "a byte for each element");
        Maxima {
            dy: dy[map.plane(plane) + map.position(0, 0, 0) * lanes + lane..].as_ptr(),
            // SAFETY: inside the places, by the assertion.
            places: unsafe { places.as_ptr().cast::<u8>().add(place) },
            lanes,
            line: map.whole()[2] * lanes,
            lines,
            columns,
        }
    }

    /// The gradient of a window, and the line and the column of its maximum in it, 0 or 1.
    ///
    /// # Safety
    ///
    /// The window lies inside the map, of which `self` was made with rows of its lengths.
    #[inline(always)]
    unsafe fn at(&self, line: usize, column: usize) -> (f32, usize, usize) {
        // SAFETY: this function's contract.
        let (dy, place) = unsafe {
            let place = *self.places.add((line * self.columns + column) * self.lanes) as usize;
            (*self.dy.add(line * self.line + column * self.lanes), place)
        };
        (dy, place >> 1 & 1, place & 1)
    }
}

/// Blocks of a kernel's taps, that registers hold: the first line and column of each, and how many.
fn tap_blocks(conv: &Conv) -> impl Iterator<Item = ([usize; 2], [usize; 2])> {
    let [_, lines, columns] = conv.kernel;
    let across = columns.div_ceil(5);
    (0..across).flat_map(move |block| {
        let first = columns * block / across;
        let count = columns * (block + 1) / across - first;
        let down = lines.div_ceil(if count <= 3 { 3 } else { 2 });
        (0..down).map(move |block| {
            let line = lines * block / down;
            ([line, first], [lines * (block + 1) / down - line, count])
        })
    })
}

/// Calls a function for each size of a block of taps.
macro_rules! of_block {
    ($size:expr, $function:ident::<$lanes:ident>($($arg:expr),*)) => {
        of_block!(@ $size, $function::<$lanes>($($arg),*), 1 1, 1 2, 1 3, 1 4, 1 5, 2 1, 2 2, 2 3, 2 4, 2 5, 3 1, 3 2, 3 3)
    };
    (@ $size:expr, $function:ident::<$lanes:ident>$args:tt, $($lines:literal $columns:literal),*) => {
        match $size {
            $([$lines, $columns] => of_block!(@call $function::<$lanes, $lines, $columns>$args),)*
            _ => unreachable!("a block has some taps"),
        }
    };
    (@call $function:ident::<$lanes:ident, $lines:literal, $columns:literal>($($arg:expr),*)) => {
        $function::<$lanes, $lines, $columns>($($arg),*)
    };
}

/// # Safety
///
/// Compiled for the vectors' instructions; rows, weights and the staged plane have their lengths.
#[inline(always)]
unsafe fn scatter_planes<W: Lanes, H: Lanes>(call: &mut Scatter<'_>) {
    let to = call.to;
    for sample in 0..call.dx.samples() {
        for (plane, of) in to.planes.iter().enumerate() {
            call.staged.fill(0.0);
            // SAFETY: this function's contract; a plane has the lanes of one or two of the vectors.
            unsafe {
                if of.lanes == W::COUNT {
                    scatter_vector::<W>(call, sample, plane, 0);
                } else {
                    for first in (0..of.lanes).step_by(H::COUNT) {
                        scatter_vector::<H>(call, sample, plane, first);
                    }
                }
            }
            let (conv, dx) = (call.conv, call.dx.row(sample));
            for line in 0..conv.size[1] {
                let from =
                    ((line + conv.padding[1]) * (conv.size[2] + 2 * conv.padding[2]) + conv.padding[2]) * of.lanes;
                let staged = call.staged[from..][..conv.size[2] * of.lanes].iter().copied();
                let at = to.plane(plane) + to.position(0, line, 0) * of.lanes;
                call.store.put(&mut dx[at..][..conv.size[2] * of.lanes], staged);
            }
        }
        if call.store == Store::Write {
            to.clear_halo(call.dx.row(sample));
        }
    }
}

/// Adds what all outputs give to a vector of a plane's lanes.
///
/// # Safety
///
/// As of [`scatter_planes`]; the plane has the vector's lanes from `first` on.
#[inline(always)]
unsafe fn scatter_vector<L: Lanes>(call: &mut Scatter<'_>, sample: usize, plane: usize, first: usize) {
    let Scatter { conv, from, to, dy, places, weights, staged, .. } = call;
    let lanes = to.planes[plane].lanes;
    let taps = conv.kernel[1] * conv.kernel[2];
    let of_plane: usize = to.planes[..plane].iter().map(|plane| plane.lanes).sum();
    let line = (conv.size[2] + 2 * conv.padding[2]) * lanes;
    for (output, of, lane) in outputs(from) {
        let maxima = Maxima::of(from, dy.row(sample), places.row(sample), of, lane);
        let channels = from.planes[of].channels;
        // The output's weights, tap by tap, last first.
        let row = of_plane * conv.out_channels * taps + (output - lane) * taps * lanes + lane * lanes + first;
        for (at, size) in tap_blocks(conv) {
            let last = row + (taps - 1 - at[0] * conv.kernel[2] - at[1]) * channels * lanes;
            let weights = Weights {
                last: weights.as_ptr().wrapping_add(last),
                line: conv.kernel[2] * channels * lanes,
                column: channels * lanes,
            };
            let to = staged[at[0] * line + at[1] * lanes + first..].as_mut_ptr();
            // SAFETY: this function's contract; a maximum's window lies inside the staged plane, which has the padding.
            unsafe { of_block!(size, scatter_block::<L>(&maxima, &weights, to, line, lanes)) };
        }
    }
}

/// A block's weights, from its first tap to lower addresses: the floats between lines and columns.
struct Weights {
    last: *const f32,
    line: usize,
    column: usize,
}

/// # Safety
///
/// Compiled for the vectors' instructions; the weights are those of the block, and `to` is the block's first tap of the first position,
/// in a plane of positions of `lanes` floats that holds all of the block's.
#[inline(always)]
unsafe fn scatter_block<L: Lanes, const LINES: usize, const COLUMNS: usize>(
    maxima: &Maxima,
    weights: &Weights,
    to: *mut f32,
    line_floats: usize,
    lanes: usize,
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut by = [[L::splat(0.0); COLUMNS]; LINES];
        for q in 0..LINES {
            for p in 0..COLUMNS {
                by[q][p] = L::load(weights.last.sub(q * weights.line + p * weights.column));
            }
        }
        for line in 0..maxima.lines {
            for column in 0..maxima.columns {
                let (dy, down, right) = maxima.at(line, column);
                let dy = L::splat(dy);
                let to = to.add((2 * line + down) * line_floats + (2 * column + right) * lanes);
                for q in 0..LINES {
                    for p in 0..COLUMNS {
                        let to = to.add(q * line_floats + p * lanes);
                        dy.mul_add(by[q][p], L::load(to)).store(to);
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// Compiled for the vectors' instructions; rows, weights and scratch have their lengths, and `x` the halo.
#[inline(always)]
unsafe fn gather_planes<W: Lanes, H: Lanes>(call: &mut Gather<'_>) {
    let taps = call.conv.kernel[1] * call.conv.kernel[2];
    let mut first_channel = 0;
    for (plane, of) in call.from.planes.iter().enumerate() {
        call.scratch.fill(0.0);
        for sample in 0..call.x.samples() {
            // SAFETY: this function's contract; a plane has the lanes of one or two of the vectors.
            unsafe {
                if of.lanes == W::COUNT {
                    gather_vector::<W>(call, sample, plane, 0);
                } else {
                    for first in (0..of.lanes).step_by(H::COUNT) {
                        gather_vector::<H>(call, sample, plane, first);
                    }
                }
            }
        }
        let of_outputs = call.weights.chunks_exact_mut(call.conv.channels * taps);
        for (weights, sums) in of_outputs.zip(call.scratch.chunks_exact(taps * WIDEST)) {
            let weights = &mut weights[first_channel * taps..][..of.channels * taps];
            for (lane, weights) in weights.chunks_exact_mut(taps).enumerate() {
                Store::Add.put(weights, sums[lane..].iter().step_by(WIDEST).copied());
            }
        }
        first_channel += of.channels;
    }
}

/// Adds one sample's sums of a vector of a plane's lanes: `[output][tap][16 lanes]`.
///
/// # Safety
///
/// As of [`gather_planes`]; the plane has the vector's lanes from `first` on.
#[inline(always)]
unsafe fn gather_vector<L: Lanes>(call: &mut Gather<'_>, sample: usize, plane: usize, first: usize) {
    let Gather { conv, from, to, x, dy, places, scratch, .. } = call;
    let lanes = from.planes[plane].lanes;
    let line = from.whole()[2] * lanes;
    let origin = (from.before[1] - conv.padding[1]) * line + (from.before[2] - conv.padding[2]) * lanes;
    let x = &x.row(sample)[from.plane(plane) + origin + first..];
    for (output, of, lane) in outputs(to) {
        let maxima = Maxima::of(to, dy.row(sample), places.row(sample), of, lane);
        for (at, size) in tap_blocks(conv) {
            let tap = (output * conv.kernel[1] + at[0]) * conv.kernel[2] + at[1];
            let sums = scratch[tap * WIDEST + first..].as_mut_ptr();
            let x = x[at[0] * line + at[1] * lanes..].as_ptr();
            // SAFETY: this function's contract; a maximum's window lies inside the plane, by its halo.
            unsafe { of_block!(size, gather_block::<L>(&maxima, x, line, lanes, sums, conv.kernel[2] * WIDEST)) };
        }
    }
}

/// # Safety
///
/// Compiled for the vectors' instructions; `x` is the block's first tap of the first position, in a plane of positions of `lanes` floats
/// that holds all of the block's; `sums` are those of the block.
#[inline(always)]
unsafe fn gather_block<L: Lanes, const LINES: usize, const COLUMNS: usize>(
    maxima: &Maxima,
    x: *const f32,
    line_floats: usize,
    lanes: usize,
    sums: *mut f32,
    sums_line: usize,
) {
    // SAFETY: this function's contract.
    unsafe {
        let mut acc = [[L::splat(0.0); COLUMNS]; LINES];
        for q in 0..LINES {
            for p in 0..COLUMNS {
                acc[q][p] = L::load(sums.add(q * sums_line + p * WIDEST));
            }
        }
        for line in 0..maxima.lines {
            for column in 0..maxima.columns {
                let (dy, down, right) = maxima.at(line, column);
                let dy = L::splat(dy);
                let x = x.add((2 * line + down) * line_floats + (2 * column + right) * lanes);
                for q in 0..LINES {
                    for p in 0..COLUMNS {
                        acc[q][p] = dy.mul_add(L::load(x.add(q * line_floats + p * lanes)), acc[q][p]);
                    }
                }
            }
        }
        for q in 0..LINES {
            for p in 0..COLUMNS {
                acc[q][p].store(sums.add(q * sums_line + p * WIDEST));
            }
        }
    }
}

/// Lanes are the taps of an image: what a line of a position's window sees is copied into a slot of whole vectors first, `[column][channel]`,
/// so that no vector lies across two lines of the cache.
///
/// # Safety
///
/// Compiled for the vectors' instructions; rows, weights and scratch have their lengths, and `x` the halo.
#[inline(always)]
unsafe fn gather_image<W: Lanes, H: Lanes>(call: &mut Gather<'_>) {
    // SAFETY: this function's contract.
    unsafe { if slot(call.conv) < W::COUNT { gather_lines::<W, H>(call) } else { gather_lines::<W, W>(call) } }
}

/// # Safety
///
/// As of [`gather_image`]; slots are whole vectors `L`.
#[inline(always)]
unsafe fn gather_lines<W: Lanes, L: Lanes>(call: &mut Gather<'_>) {
    let Gather { conv, from, to, x, dy, places, weights, scratch } = call;
    let (slot, down) = (slot(conv), conv.kernel[1]);
    let (sums, staged) = scratch.split_at_mut(conv.out_channels * down * slot);
    sums.fill(0.0);
    let [_, lines, columns] = to.size;
    let line_floats = from.whole()[2] * conv.channels;
    let origin = (from.before[1] - conv.padding[1]) * line_floats + (from.before[2] - conv.padding[2]) * conv.channels;
    let most = if W::COUNT == WIDEST { 4 } else { 2 };
    let together = staged_lines(conv);
    for sample in 0..x.samples() {
        let image = &x.row(sample)[origin..];
        for first in (0..lines).step_by(together) {
            let count = together.min(lines - first);
            // SAFETY: this function's contract. A window's line lies inside the image, by its halo, and a slot that begins there inside
            // its row, which has a vector more; there is room for the slots of as many lines.
            unsafe {
                for line in 0..2 * count + down - 1 {
                    let from = image.as_ptr().add((2 * first + line) * line_floats);
                    let to = staged.as_mut_ptr().add(line * 2 * columns * slot);
                    stage::<L>(from, conv.channels, slot, 2 * columns, to);
                }
            }
            let mut output = 0;
            for (plane, of) in to.planes.iter().enumerate() {
                let mut lane = 0;
                while lane < of.channels {
                    let all = Maxima::of(to, dy.row(sample), places.row(sample), plane, lane);
                    // SAFETY: these lines are the map's.
                    let maxima = unsafe {
                        let (dy, places) = (all.dy.add(first * all.line), all.places.add(first * columns * all.lanes));
                        Maxima { dy, places, lines: count, ..all }
                    };
                    let outputs = if of.channels - lane >= most { most } else { 1 };
                    let blocks = down.div_ceil(5);
                    for block in 0..blocks {
                        let tap = down * block / blocks;
                        let taps = down * (block + 1) / blocks - tap;
                        for float in (0..slot).step_by(L::COUNT) {
                            let sums = sums[((output + lane) * down + tap) * slot + float..].as_mut_ptr();
                            let slots = Slots {
                                first: staged[tap * 2 * columns * slot + float..].as_ptr(),
                                line: 2 * columns * slot,
                                column: slot,
                                output: down * slot,
                            };
                            // SAFETY: this function's contract; the slots are those of the windows, from the block's first tap on.
                            unsafe { slots_block::<L>(&maxima, outputs, taps, &slots, sums) };
                        }
                    }
                    lane += outputs;
                }
                output += of.channels;
            }
        }
    }
    let run = conv.kernel[2] * conv.channels;
    let taps = down * conv.kernel[2];
    for (weights, sums) in weights.chunks_exact_mut(conv.channels * taps).zip(sums.chunks_exact(down * slot)) {
        for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
            let of_lines = sums.chunks_exact(slot);
            Store::Add
                .put(weights, of_lines.flat_map(|sums| sums[channel..run].iter().step_by(conv.channels).copied()));
        }
    }
}

/// Copies `slot` floats from each of a line's positions, `step` floats apart, one behind the other.
///
/// # Safety
///
/// Compiled for the vectors' instructions. Slots are whole vectors; both sides have as many floats.
#[inline(always)]
unsafe fn stage<L: Lanes>(mut from: *const f32, step: usize, slot: usize, columns: usize, mut to: *mut f32) {
    // SAFETY: this function's contract.
    unsafe {
        for _ in 0..columns {
            L::load(from).store(to);
            for float in (L::COUNT..slot).step_by(L::COUNT) {
                L::load(from.add(float)).store(to.add(float));
            }
            from = from.add(step);
            to = to.add(slot);
        }
    }
}

/// What the lines of windows see: the first one's, and the floats from line to line, from column to column; and those of the sums from
/// output to output.
struct Slots {
    first: *const f32,
    line: usize,
    column: usize,
    output: usize,
}

/// Adds the products of some outputs with a vector of the slots, for some lines of taps.
///
/// # Safety
///
/// As of [`slots_products`].
#[inline(always)]
unsafe fn slots_block<L: Lanes>(maxima: &Maxima, outputs: usize, taps: usize, slots: &Slots, sums: *mut f32) {
    macro_rules! blocks {
        ($($outputs:literal $taps:literal,)*) => {
            match (outputs, taps) {
                // SAFETY: this function's contract.
                $(($outputs, $taps) => unsafe { slots_products::<L, $outputs, $taps>(maxima, slots, sums) },)*
                _ => unreachable!("a block has some outputs and taps"),
            }
        };
    }
    blocks!(1 1, 1 2, 1 3, 1 4, 1 5, 2 1, 2 2, 2 3, 2 4, 2 5, 4 1, 4 2, 4 3, 4 4, 4 5,);
}

/// # Safety
///
/// Compiled for the vectors' instructions. `maxima` are some lines', of the first output; the others follow it in their plane. The slots
/// are those of the first line of taps, and the sums those of it and the first output.
#[inline(always)]
unsafe fn slots_products<L: Lanes, const OUTPUTS: usize, const TAPS: usize>(
    maxima: &Maxima,
    slots: &Slots,
    sums: *mut f32,
) {
    // A table, since the compiler would make vectors of what computes the places of several outputs.
    let offsets = [0, slots.column, slots.line, slots.line + slots.column];
    // SAFETY: this function's contract.
    unsafe {
        let mut acc = [[L::splat(0.0); TAPS]; OUTPUTS];
        for o in 0..OUTPUTS {
            for q in 0..TAPS {
                acc[o][q] = L::load(sums.add(o * slots.output + q * slots.column));
            }
        }
        for line in 0..maxima.lines {
            let mut dy = maxima.dy.add(line * maxima.line);
            let mut places = maxima.places.add(line * maxima.columns * maxima.lanes);
            let mut window = slots.first.add(2 * line * slots.line);
            for _ in 0..maxima.columns {
                let at = places_of::<OUTPUTS>(places);
                for o in 0..OUTPUTS {
                    let value = L::splat(*dy.add(o));
                    let from = window.add(offsets[(at >> (8 * o) & 3) as usize]);
                    for q in 0..TAPS {
                        acc[o][q] = value.mul_add(L::load(from.add(q * slots.line)), acc[o][q]);
                    }
                }
                dy = dy.add(maxima.lanes);
                places = places.add(maxima.lanes);
                window = window.add(2 * slots.column);
            }
        }
        for o in 0..OUTPUTS {
            for q in 0..TAPS {
                acc[o][q].store(sums.add(o * slots.output + q * slots.column));
            }
        }
    }
}

/// Places of neighbouring outputs, a byte each, as one number: one by one they would be taken out of a vector, by the units that add
/// products.
///
/// # Safety
///
/// There are as many bytes.
#[inline(always)]
unsafe fn places_of<const OUTPUTS: usize>(places: *const u8) -> u32 {
    // SAFETY: this function's contract.
    unsafe {
        if OUTPUTS == 4 {
            return u32::from_le(places.cast::<u32>().read_unaligned());
        }
        (0..OUTPUTS).fold(0, |all, o| all | u32::from(*places.add(o)) << (8 * o))
    }
}

#[cfg(test)]
mod tests;
