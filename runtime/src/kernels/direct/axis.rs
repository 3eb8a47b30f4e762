//! Which positions of its source each output of a convolution sums over, axis by axis.

use crate::kernels::conv::Conv;
use crate::layout::Blocked;

/// An axis: output `o` sums, over taps `t`, the source at `(o multiply + offset + t dilation) / divide`, where that is a whole number
/// and a position that the source holds, its halo included. Outputs `step` apart, a class, see the same taps but for the edges, and
/// the source `advance` further on.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    outputs: usize,
    taps: usize,
    dilation: usize,
    multiply: usize,
    divide: usize,
    offset: isize,
    /// Positions before the source's map, and all of them.
    before: usize,
    whole: usize,
    /// Taps from one of a class to the next, and the source's positions between them.
    tap_step: usize,
    source_step: usize,
}

/// Outputs of one class that sum over the same taps: `count` of them, `step` apart from `first` on. The first one sums over `taps` taps
/// from `tap` on, at the source's positions (its halo counted) from `source` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) source: usize,
    pub(super) tap: usize,
    pub(super) taps: usize,
}

impl Axis {
    /// Of `y` from `x`, which is the map `from`.
    pub(super) fn forward(conv: &Conv, axis: usize, from: &Blocked) -> Axis {
        Axis {
            outputs: conv.out_size[axis],
            taps: conv.kernel[axis],
            dilation: conv.dilation[axis],
            multiply: conv.stride[axis],
            divide: 1,
            offset: -(conv.padding[axis] as isize),
            before: from.before[axis],
            whole: from.whole()[axis],
            tap_step: 1,
            source_step: conv.dilation[axis],
        }
    }

    /// Of `dx` from `dy`, which is the map `from`; taps are counted from the last one.
    pub(super) fn backward(conv: &Conv, axis: usize, from: &Blocked) -> Axis {
        let (taps, dilation, stride) = (conv.kernel[axis], conv.dilation[axis], conv.stride[axis]);
        let common = greatest_common_divisor(stride, dilation);
        Axis {
            outputs: conv.size[axis],
            taps,
            dilation,
            multiply: 1,
            divide: stride,
            offset: conv.padding[axis] as isize - ((taps - 1) * dilation) as isize,
            before: from.before[axis],
            whole: from.whole()[axis],
            tap_step: stride / common,
            source_step: dilation / common,
        }
    }

    /// The first outputs alone.
    pub(super) fn up_to(self, outputs: usize) -> Axis {
        Axis { outputs, ..self }
    }

    /// Outputs from one of a class to the next.
    pub(super) fn step(&self) -> usize {
        self.divide
    }

    /// The source's positions between them.
    pub(super) fn advance(&self) -> usize {
        self.multiply
    }

    /// Taps that a sum counts, from one to the next.
    pub(super) fn tap_step(&self) -> usize {
        self.tap_step
    }

    /// The source's positions between them.
    pub(super) fn source_step(&self) -> usize {
        self.source_step
    }

    /// What one output sums over: the first position, the first tap, and how many taps.
    fn window(&self, output: usize) -> (usize, usize, usize) {
        let first = (output * self.multiply) as isize + self.offset;
        let at = |tap: usize| first + (tap * self.dilation) as isize;
        let lowest = -((self.before * self.divide) as isize);
        let end = ((self.whole - self.before) * self.divide) as isize;
        let of_class = |tap: &usize| at(*tap) % self.divide as isize == 0;
        let Some(mut tap) = (0..self.taps.min(self.tap_step)).find(of_class) else {
            return (0, 0, 0);
        };
        while tap < self.taps && at(tap) < lowest {
            tap += self.tap_step;
        }
        let taps = (tap..self.taps).step_by(self.tap_step).take_while(|tap| at(*tap) < end).count();
        if taps == 0 {
            return (0, 0, 0);
        }
        ((at(tap) / self.divide as isize + self.before as isize) as usize, tap, taps)
    }

    /// The longest segment from an output on.
    fn segment(&self, first: usize) -> Segment {
        let (source, tap, taps) = self.window(first);
        // Edges only take taps off, from one side as long as outputs are near it: what the last output sees as well, all between see.
        let after = (self.outputs - 1 - first) / self.divide;
        let last = self.window(first + after * self.divide);
        if taps > 0 && (last.1, last.2) == (tap, taps) {
            return Segment { first, count: 1 + after, source, tap, taps };
        }
        let rest = (first + self.divide..self.outputs).step_by(self.divide);
        let same = rest.take_while(|output| {
            let window = self.window(*output);
            (window.1, window.2) == (tap, taps)
        });
        Segment { first, count: 1 + same.count(), source, tap, taps }
    }

    /// All segments, class by class.
    pub(super) fn segments(&self) -> impl Iterator<Item = Segment> {
        (0..self.divide.min(self.outputs)).flat_map(move |class| {
            std::iter::successors(Some(self.segment(class)), move |segment| {
                let next = segment.first + segment.count * self.divide;
                (next < self.outputs).then(|| self.segment(next))
            })
        })
    }
}

const fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Plane;

    fn line(conv: (usize, usize, usize, usize, usize), before: usize, after: usize) -> (Conv, Blocked, Blocked) {
        let (size, kernel, stride, padding, dilation) = conv;
        let out = (size + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
        let of = |last: usize, other: usize| [other, other, last];
        let conv = Conv {
            channels: 16,
            size: of(size, 1),
            out_channels: 16,
            out_size: of(out, 1),
            kernel: of(kernel, 1),
            stride: of(stride, 1),
            padding: of(padding, 0),
            dilation: of(dilation, 1),
            groups: 1,
        };
        let map =
            |size: [usize; 3]| Blocked { planes: &[Plane::FULL], size, before: of(before, 0), after: of(after, 0) };
        (conv, map(conv.size), map(conv.out_size))
    }

    /// All pairs of output, tap and source position (in the map) of an axis, in order.
    fn pairs(axis: &Axis) -> Vec<(usize, usize, usize)> {
        let mut pairs = Vec::new();
        for segment in axis.segments() {
            for n in 0..segment.count {
                for t in 0..segment.taps {
                    let source = segment.source + n * axis.advance() + t * axis.source_step();
                    assert!(source < axis.whole);
                    if (axis.before..).contains(&source) {
                        let tap = segment.tap + t * axis.tap_step();
                        pairs.push((segment.first + n * axis.step(), tap, source - axis.before));
                    }
                }
            }
        }
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn windows_are_those_of_the_convolution() {
        for size in [1, 2, 5, 8, 9] {
            for kernel in 1..5 {
                for (stride, dilation) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 2), (2, 4)] {
                    for padding in 0..4 {
                        for halo in 0..6 {
                            if size + 2 * padding < (kernel - 1) * dilation + 1 {
                                continue;
                            }
                            let (conv, x, y) = line((size, kernel, stride, padding, dilation), halo, halo / 2);
                            let out = conv.out_size[2];
                            let mut wanted = Vec::new();
                            for o in 0..out {
                                for tap in 0..kernel {
                                    let at = (o * stride + tap * dilation) as isize - padding as isize;
                                    if (0..size as isize).contains(&at) {
                                        wanted.push((o, tap, at as usize));
                                    }
                                }
                            }
                            let inside = |of: Vec<(usize, usize, usize)>, size: usize| -> Vec<_> {
                                of.into_iter().filter(|pair| pair.2 < size).collect()
                            };
                            assert_eq!(inside(pairs(&Axis::forward(&conv, 2, &x)), size), wanted);
                            let flipped = inside(pairs(&Axis::backward(&conv, 2, &y)), out);
                            let mut flipped: Vec<_> =
                                flipped.into_iter().map(|(i, tap, o)| (o, kernel - 1 - tap, i)).collect();
                            flipped.sort_unstable();
                            assert_eq!(flipped, wanted);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_halo_that_is_wide_enough_leaves_one_segment() {
        let (conv, x, y) = line((9, 3, 1, 1, 1), 1, 1);
        assert_eq!(Axis::forward(&conv, 2, &x).segments().count(), 1);
        assert_eq!(Axis::backward(&conv, 2, &y).segments().count(), 1);
        let (conv, x, y) = line((8, 3, 2, 1, 1), 1, 1);
        assert_eq!(Axis::forward(&conv, 2, &x).segments().count(), 1);
        assert_eq!(Axis::backward(&conv, 2, &y).segments().count(), 2);
    }
}
