//! The weights in the order in which the kernels read them.

use super::groups::{Source, parts};
use super::{check_planes, taps};
use crate::arena::Pack;
use crate::kernels::conv::Conv;
use crate::layout::{Plane, channels};

/// Floats of the packed weights by which the planes `to` are summed over the planes `from`: `(x, y)` for [`pack`], `(y, x)` for
/// [`pack_transposed`].
pub fn packed_len(conv: &Conv, from: &[Plane], to: &[Plane]) -> usize {
    let lanes: usize = parts(to, conv.groups).map(|part| part.lanes * part.groups).sum();
    lanes * (channels(from) / conv.groups) * taps(conv)
}

/// Packs the weight `[out_channels][channels / groups][taps]` for [`forward`](super::forward), with a pool or without:
/// `[part of y][group][plane of x][tap][channel of x][lane of y]`, zero in lanes that are no channels of the group. A part is a plane, or
/// half of one that has several groups.
pub fn pack(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    check_planes(conv, x, y);
    let inputs = conv.channels / conv.groups;
    let weights = &p.params[weight..][..conv.out_channels * inputs * taps(conv)];
    arrange(p, to, conv, x, y, |tap, i, o| weights[(o * inputs + i % inputs) * taps(conv) + tap]);
}

/// Packs it for [`grad_input`](super::grad_input) and [`transposed`](super::transposed):
/// `[part of x][group][plane of y][tap, last first][channel of y][lane of x]`.
pub fn pack_transposed(p: &mut Pack<'_>, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize, to: usize) {
    check_planes(conv, x, y);
    let inputs = conv.channels / conv.groups;
    let weights = &p.params[weight..][..conv.out_channels * inputs * taps(conv)];
    let last = taps(conv) - 1;
    arrange(p, to, conv, y, x, |tap, o, i| weights[(o * inputs + i % inputs) * taps(conv) + last - tap]);
}

/// Writes `[part of to][group][plane of from][tap][channel of from][lane of to]` from packed float `first` on, by `weight(tap, from, to)`.
fn arrange(
    p: &mut Pack<'_>,
    mut first: usize,
    conv: &Conv,
    from: &[Plane],
    to: &[Plane],
    weight: impl Fn(usize, usize, usize) -> f32,
) {
    let [from_group, to_group] = [from, to].map(|planes| channels(planes) / conv.groups);
    for part in parts(to, conv.groups) {
        let len = part.groups * from_group * taps(conv) * part.lanes;
        // SAFETY: they lie one behind the other, and the copies of the model's weights too.
        if let Some(packed) = unsafe { p.part(first, len) } {
            let mut rows = packed.chunks_exact_mut(part.lanes);
            for group in part.group..part.group + part.groups {
                let (own, mut first) = (part.lanes_of(group, to_group), group * from_group);
                for (.., channels) in Source::of(from, conv.groups, group).pieces() {
                    for tap in 0..taps(conv) {
                        for (channel, row) in (first..first + channels).zip(&mut rows) {
                            let of = |lane: usize| {
                                if own.contains(&lane) { weight(tap, channel, part.first + lane) } else { 0.0 }
                            };
                            row.iter_mut().enumerate().for_each(|(lane, weight)| *weight = of(lane));
                        }
                    }
                    first += channels;
                }
            }
        }
        first += len;
    }
}
