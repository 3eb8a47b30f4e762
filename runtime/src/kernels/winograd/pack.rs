//! Weights transformed to their points: `[point][group of planes of outputs][input channel][lanes of the group]`; of a group of 8 lanes two
//! inputs of a plane lie in turns, as [`pair_inputs`] says, but those of an image, which are read one by one.

use super::image::is_image;
use super::sizes::{LANES, packed_len, taps, weight_point};
use super::tiles::{each_vector, groups};
use super::transform::{self, POINTS, Strided, WINDOW};
use super::{check_no_image, check_planes};
use crate::arena::Pack;
use crate::isa::Numerics;
use crate::kernels::conv::Conv;
use crate::kernels::direct;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::layout::{Plane, channels};

/// Floats of packed weights that no cache holds until they are read.
const LONG: usize = 1 << 22;

/// The most taps of a window.
const TAPS: usize = 25;

/// Packs the weight `[out][in][kernel]` from parameter `weight` on for [`forward`](super::forward), at `to` of the packed parameters.
pub fn pack(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    if p.numerics == Numerics::Exact {
        return direct::pack(p, conv, x, y, weight, to);
    }
    check_planes(conv, x, y);
    let taps = taps(conv);
    let weights = &p.params[weight..][..taps * conv.channels * conv.out_channels];
    pack_weights(p.isa, p, conv, weights, [taps * conv.channels, taps], false, x, y, to);
}

/// Packs the same weight for [`grad_input`](super::grad_input): windows reversed, inputs and outputs exchanged.
pub fn pack_transposed(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    if p.numerics == Numerics::Exact {
        return direct::pack_transposed(p, conv, x, y, weight, to);
    }
    check_planes(conv, x, y);
    check_no_image(x);
    let taps = taps(conv);
    let weights = &p.params[weight..][..taps * conv.channels * conv.out_channels];
    pack_weights(p.isa, p, conv, weights, [taps, taps * conv.channels], true, y, x, to);
}

dispatch! {
    /// Packs weights that are `strides` floats apart from output to output, and from input to input, from packed float `first` on; each
    /// group is a part. Lanes that are no channels are zero.
    fn pack_weights(
        p: &mut Pack<'_>,
        conv: &Conv,
        weights: &[f32],
        strides: [usize; 2],
        is_reversed: bool,
        from: &[Plane],
        to: &[Plane],
        first: usize,
    ) = weight_points;
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn weight_points<W: Lanes, H: Lanes>(
    p: &mut Pack<'_>,
    conv: &Conv,
    weights: &[f32],
    [to_stride, from_stride]: [usize; 2],
    is_reversed: bool,
    from: &[Plane],
    to: &[Plane],
    first: usize,
) {
    let (inputs, point, count) = (channels(from), weight_point(from, to), taps(conv));
    let packed = p.room(first, packed_len(from, to));
    let (are_far, mut staged) = (packed_len(from, to) >= LONG, [0.0; POINTS * 2 * LANES]);
    let mut taps = [[0.0; LANES]; TAPS];
    let mut channel = 0;
    for group in groups(to) {
        let of_group: usize = to[group.plane..][..group.planes].iter().map(|plane| plane.channels).sum();
        let first_channel = channel;
        channel += of_group;
        if !p.takes_next() {
            continue;
        }
        let are_paired = group.lanes == 8 && !is_image(from);
        // What is paired is read again.
        let is_long = are_far && !are_paired;
        for input in 0..inputs {
            // SAFETY: the group's floats for the input, of each point of the packed weights: nobody else's, for the group is a part that
            // is this share's.
            let room = unsafe { packed.add(group.before * inputs + input * group.lanes) };
            let (to_points, step) = if is_long { (staged.as_mut_ptr(), group.lanes) } else { (room, point) };
            let mut first_channel = first_channel;
            for (number, plane) in to[group.plane..][..group.planes].iter().enumerate() {
                taps[..count].fill([0.0; LANES]);
                for lane in 0..plane.channels {
                    let weights = &weights[(first_channel + lane) * to_stride + input * from_stride..][..count];
                    for (tap, &weight) in weights.iter().enumerate() {
                        taps[if is_reversed { count - 1 - tap } else { tap }][lane] = weight;
                    }
                }
                // SAFETY: compiled for these vectors; a vector of each tap, and room for those of each point.
                unsafe {
                    let to_points = to_points.add(number * LANES);
                    match conv.kernel[1] {
                        3 => each_vector!(plane.lanes, points_of_weights::<W, H, 3>(&taps, to_points, step)),
                        _ => each_vector!(plane.lanes, points_of_weights::<W, H, 5>(&taps, to_points, step)),
                    }
                }
                first_channel += plane.channels;
            }
            if is_long {
                for (number, from) in staged.chunks_exact(group.lanes).take(POINTS).enumerate() {
                    // SAFETY: as above.
                    let to = unsafe { std::slice::from_raw_parts_mut(room.add(number * point), group.lanes) };
                    stream(from, to);
                }
            }
        }
        if is_long {
            end_stream();
        }
        if are_paired {
            for number in 0..POINTS {
                // SAFETY: as above.
                unsafe { pair_inputs(from, packed.add(number * point + group.before * inputs)) };
            }
        }
    }
}

/// Of a group of 8 outputs, what has been packed for two inputs of a plane, `[input][output]`, becomes `[output][input]`; the last of an
/// odd number stays as it is.
pub(super) unsafe fn pair_inputs(from: &[Plane], mut weights: *mut f32) {
    for plane in from {
        for _ in 0..plane.channels / 2 {
            // SAFETY: the caller's: 8 weights of each input.
            unsafe {
                let pair = weights.cast::<[[f32; 8]; 2]>();
                let [even, odd] = pair.read_unaligned();
                let mut turns = [0.0; 16];
                for output in 0..8 {
                    turns[2 * output] = even[output];
                    turns[2 * output + 1] = odd[output];
                }
                weights.cast::<[f32; 16]>().write_unaligned(turns);
                weights = weights.add(16);
            }
        }
        // SAFETY: as above.
        weights = unsafe { weights.add(plane.channels % 2 * 8) };
    }
}

/// Copies past the caches where that is possible: what is not read again before they have lost it.
#[inline(always)]
fn stream(from: &[f32], to: &mut [f32]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if to.as_ptr().addr().is_multiple_of(16) && from.len().is_multiple_of(4) && from.len() == to.len() {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
        for at in (0..from.len()).step_by(4) {
            // SAFETY: four floats of both slices, aligned as they have to be; every such machine has the instructions, and
            // `end_stream` comes before anybody else reads.
            unsafe { _mm_stream_ps(to.as_mut_ptr().add(at), _mm_loadu_ps(from.as_ptr().add(at))) };
        }
        return;
    }
    to.copy_from_slice(from);
}

/// What [`stream`] wrote is there for all to read.
fn end_stream() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every such machine has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// The points of a vector of weights.
#[inline(always)]
unsafe fn points_of_weights<L: Lanes, const KERNEL: usize>(
    lane: usize,
    _lanes: usize,
    taps: &[[f32; LANES]; TAPS],
    to: *mut f32,
    point: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let from = taps.as_ptr().cast::<f32>().add(lane);
        let from = Strided { first: from, line: KERNEL * LANES, column: LANES };
        transform::weights_to_points::<L, KERNEL>(from, to.add(lane), [WINDOW * point, point]);
    }
}
