//! The windows of pools on values in planes.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::arena::View;
use crate::kernels::lanes::Lanes;
use crate::kernels::planes::{Lines, Part, clear, clear_halo};
use crate::layout::Blocked;

/// Where windows are: output `out` sees inputs `out stride + tap dilation - padding`, along each axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) size: [usize; 3],
    pub(crate) out_size: [usize; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) padding: [usize; 3],
    pub(crate) dilation: [usize; 3],
}

/// One output and what it sees of a part of the planes.
pub(crate) struct Window {
    pub(crate) out: [usize; 3],
    /// Its position in the output, without halo.
    pub(crate) position: usize,
    /// Its float, counted from `Target::of` the output.
    pub(crate) to: usize,
    /// The taps that are inputs, of each axis.
    pub(crate) taps: [Range<usize>; 3],
    /// The float of the first tap of the window, be it an input or not, counted from `Source::of` the input.
    origin: isize,
    /// Floats from tap to tap.
    steps: [usize; 3],
}

/// What a pool does with each window.
pub(crate) trait Each {
    /// Does it.
    ///
    /// # Safety
    ///
    /// As of the kernel whose windows they are.
    unsafe fn window(&mut self, window: Window);
}

impl Window {
    /// The float of a tap that is an input, counted from `Source::of` the input.
    #[inline(always)]
    pub(crate) fn at(&self, tap: [usize; 3]) -> usize {
        let from_first = tap[0] * self.steps[0] + tap[1] * self.steps[1] + tap[2] * self.steps[2];
        (self.origin + from_first as isize) as usize
    }
}

impl Windows {
    /// Asserts that views are the maps that the windows lie on.
    pub(crate) fn check(&self, channels: usize, x: View, y: View) {
        let (x, y) = (x.map(), y.map());
        assert_eq!((x.channels(), x.size), (channels, self.size), "the input is [channels][size]");
        assert_eq!((y.channels(), y.size), (channels, self.out_size), "the output is [channels][out_size]");
        assert_eq!(x.planes, y.planes, "the planes are the same");
    }

    /// The taps of an output that are inputs, along an axis.
    #[inline(always)]
    fn taps(&self, axis: usize, out: usize) -> Range<usize> {
        let (first, dilation) = (out * self.stride[axis], self.dilation[axis]);
        let reach = |end: usize| end.saturating_sub(first).div_ceil(dilation).min(self.kernel[axis]);
        let end = reach(self.size[axis] + self.padding[axis]);
        reach(self.padding[axis]).min(end)..end
    }

    /// The outputs all of whose taps are inputs, along an axis.
    fn whole(&self, axis: usize) -> Range<usize> {
        let extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        let last = (self.size[axis] + self.padding[axis]).checked_sub(extent).map(|room| room / self.stride[axis]);
        let end = last.map_or(0, |last| last + 1).min(self.out_size[axis]);
        self.padding[axis].div_ceil(self.stride[axis]).min(end)..end
    }

    /// Gives `each` all windows of a part of inputs `x`, of outputs `y`.
    ///
    /// # Safety
    ///
    /// As of `each`.
    #[inline(always)]
    pub(crate) unsafe fn each(&self, x: &Blocked, y: &Blocked, part: Part, each: &mut impl Each) {
        let lanes = part.lanes;
        let [_, lines, width] = x.whole();
        let steps = [self.dilation[0] * lines * width, self.dilation[1] * width, self.dilation[2]];
        let steps = steps.map(|step| step * lanes);
        let first =
            |axis: usize, out: usize| (out * self.stride[axis] + x.before[axis]) as isize - self.padding[axis] as isize;
        let [whole_depths, whole_lines, whole] = [0, 1, 2].map(|axis| self.whole(axis));
        let is_two_by_two = self.kernel == [1, 2, 2] && self.dilation == [1; 3];
        let columns = self.out_size[2];
        let mut position = 0;
        for depth in 0..self.out_size[0] {
            let depth_taps = self.taps(0, depth);
            for line in 0..self.out_size[1] {
                let line_taps = self.taps(1, line);
                let origin = (first(0, depth) * lines as isize + first(1, line)) * width as isize + first(2, 0);
                let (origin, to) = (origin * lanes as isize, y.position(depth, line, 0) * lanes);
                let window = |column: usize, taps: [Range<usize>; 3], steps: [usize; 3]| Window {
                    out: [depth, line, column],
                    position: position + column,
                    to: to + column * lanes,
                    taps,
                    origin: origin + (column * self.stride[2] * lanes) as isize,
                    steps,
                };
                let mut edge = 0..whole.start;
                // SAFETY: the caller's argument.
                unsafe {
                    if is_two_by_two && whole_depths.contains(&depth) && whole_lines.contains(&line) {
                        // Numbers of taps that are literals make their loops plain code.
                        for column in whole.clone() {
                            each.window(window(column, [0..1, 0..2, 0..2], [0, width * lanes, lanes]));
                        }
                    } else {
                        edge.end = whole.end;
                    }
                    for column in edge.chain(whole.end..columns) {
                        let column_taps =
                            if whole.contains(&column) { 0..self.kernel[2] } else { self.taps(2, column) };
                        each.window(window(column, [depth_taps.clone(), line_taps.clone(), column_taps], steps));
                    }
                }
                position += columns;
            }
        }
    }

    /// Whether each input is in at most one window, and those in none lie behind all windows.
    pub(crate) fn are_side_by_side(&self) -> bool {
        let side_by_side = |axis: usize| self.kernel[axis] == self.stride[axis] || self.out_size[axis] == 1;
        (0..3).all(side_by_side) && self.dilation == [1; 3]
    }

    /// Writes zeros into a part's halo, and into the map: where no window is when they are side by side, else everywhere.
    ///
    /// # Safety
    ///
    /// `first` is `Target::of` the part of the map of inputs; the vector's instructions are there.
    #[inline(always)]
    pub(crate) unsafe fn clear<V: Lanes>(&self, map: &Blocked, part: Part, first: *mut f32) {
        let covered = [0, 1, 2].map(|axis| match self.are_side_by_side() {
            true => (self.out_size[axis] * self.kernel[axis]).saturating_sub(self.padding[axis]).min(self.size[axis]),
            false => 0,
        });
        let len = self.size[2] * part.lanes;
        // SAFETY: positions of the map.
        unsafe {
            for (index, [line]) in Lines::new([map], part).enumerate() {
                let (depth, at) = (index / self.size[1], index % self.size[1]);
                let from = if depth < covered[0] && at < covered[1] { covered[2] } else { 0 };
                clear::<V>(part, first, line + from * part.lanes, line + len);
            }
            clear_halo::<V>(map, part, first);
        }
    }
}

/// How a pool's backward puts the gradient of a window's inputs.
#[derive(Clone, Copy)]
pub(crate) struct Gradient {
    pub(crate) dx: *mut f32,
    /// Whether it adds to what is there, or is the only one and writes.
    pub(crate) adds: bool,
}

impl Gradient {
    /// Puts the gradient of a tap.
    ///
    /// # Safety
    ///
    /// `dx` is `Target::of` the part of the map that the window lies on; the tap is one of its `taps`.
    #[inline(always)]
    pub(crate) unsafe fn put<V: Lanes>(self, window: &Window, tap: [usize; 3], value: V) {
        // SAFETY: a tap is inside the map.
        unsafe {
            let to = self.dx.add(window.at(tap));
            let value = if self.adds { V::load(to).add(value) } else { value };
            value.store(to);
        }
    }
}
