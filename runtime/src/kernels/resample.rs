//! Maps of another size: upsampling, and the means of windows that differ by an input. Along each axis an output is a weighted sum of inputs
//! next to each other.
#![allow(unsafe_code)]

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::kernels::grid::{Grid, Positions};
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::planes::{Numbers, One, Part, Source, Target, Work, clear, clear_halo, each_part};
use crate::layout::Layout;

/// A map and its other size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resample {
    /// Channels.
    pub channels: usize,
    /// Size of the input.
    pub size: [usize; 3],
    /// Size of the output.
    pub out_size: [usize; 3],
    /// What an output is of the inputs around it.
    pub how: How,
}

/// What output o of an axis is, of `size` inputs and `out_size` outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The mean of the inputs from `floor(o size / out_size)` to before `ceil((o + 1) size / out_size)`.
    Adaptive,
    /// The input `floor(o size / out_size)`.
    Nearest,
    /// The line through the two inputs around `(o + 1/2) size / out_size - 1/2`, or 0 when that is less.
    Linear,
    /// The line through the two inputs around `o (size - 1) / (out_size - 1)`.
    LinearCorners,
}

/// What an output sees along an axis: `count` inputs, `step` apart, with these weights; of more than two all have the second.
#[derive(Clone, Copy)]
struct Taps {
    first: usize,
    count: usize,
    /// 1; 0 where both inputs are the last one.
    step: usize,
    weights: [f32; 2],
}

impl Taps {
    /// One input, as it is.
    const fn one(first: usize) -> Taps {
        Taps { first, count: 1, step: 1, weights: [1.0; 2] }
    }

    #[inline(always)]
    fn input(&self, tap: usize) -> usize {
        self.first + tap * self.step
    }

    #[inline(always)]
    fn weight(&self, tap: usize) -> f32 {
        self.weights[tap.min(1)]
    }
}

/// Columns whose taps are found at once.
const COLUMNS: usize = 64;

impl Resample {
    fn taps(&self, axis: usize, out: usize) -> Taps {
        let (size, out_size) = (self.size[axis], self.out_size[axis]);
        if size == out_size {
            return Taps::one(out);
        }
        // A place as a quotient of whole numbers.
        let line = |above: usize, below: usize| {
            let first = (above / below).min(size - 1);
            let rest = (above - first * below) as f32 / below as f32;
            Taps { first, count: 2, step: usize::from(first + 1 < size), weights: [1.0 - rest, rest] }
        };
        match self.how {
            How::Adaptive => {
                let (first, end) = (out * size / out_size, ((out + 1) * size).div_ceil(out_size));
                Taps { first, count: end - first, step: 1, weights: [1.0 / (end - first) as f32; 2] }
            }
            How::Nearest => Taps::one(out * size / out_size),
            How::Linear => line(((2 * out + 1) * size).saturating_sub(out_size), 2 * out_size),
            How::LinearCorners => line(out * (size - 1), (out_size - 1).max(1)),
        }
    }

    /// The taps of some columns from one on.
    #[inline(always)]
    fn columns<'t>(&self, first: usize, taps: &'t mut [Taps; COLUMNS]) -> &'t [Taps] {
        let count = COLUMNS.min(self.out_size[2] - first);
        for (column, taps) in (first..).zip(&mut taps[..count]) {
            *taps = self.taps(2, column);
        }
        &taps[..count]
    }

    /// Computes the outputs of lanes of a plane.
    ///
    /// # Safety
    ///
    /// `x` and `y` are the lanes' first floats of planes of these positions and of the geometry's sizes; the vector's instructions are there.
    #[inline(always)]
    unsafe fn gather<V: Lanes>(&self, (x, from): (*const f32, Positions), (y, to): (*mut f32, Positions)) {
        let mut taps = [Taps::one(0); COLUMNS];
        for first in (0..self.out_size[2]).step_by(COLUMNS) {
            let columns = self.columns(first, &mut taps);
            for depth in 0..self.out_size[0] {
                let depths = self.taps(0, depth);
                for line in 0..self.out_size[1] {
                    let lines = self.taps(1, line);
                    let mut out = to.at([depth, line, first]);
                    for columns in columns {
                        // SAFETY: taps are inputs, and outputs are those of the map.
                        unsafe {
                            let mut sum = V::splat(0.0);
                            for d in 0..depths.count {
                                for l in 0..lines.count {
                                    let of_line = depths.weight(d) * lines.weight(l);
                                    let mut at = from.at([depths.input(d), lines.input(l), columns.first]);
                                    for c in 0..columns.count {
                                        let weight = V::splat(of_line * columns.weight(c));
                                        sum = V::load(x.add(at)).mul_add(weight, sum);
                                        at += columns.step * from.lanes;
                                    }
                                }
                            }
                            sum.store(y.add(out));
                        }
                        out += to.lanes;
                    }
                }
            }
        }
    }

    /// Adds the gradients of outputs to those of inputs.
    ///
    /// # Safety
    ///
    /// As of [`Resample::gather`], of `dx` and `dy`.
    #[inline(always)]
    unsafe fn scatter<V: Lanes>(&self, (dy, from): (*const f32, Positions), (dx, to): (*mut f32, Positions)) {
        let mut taps = [Taps::one(0); COLUMNS];
        for first in (0..self.out_size[2]).step_by(COLUMNS) {
            let columns = self.columns(first, &mut taps);
            for depth in 0..self.out_size[0] {
                let depths = self.taps(0, depth);
                for line in 0..self.out_size[1] {
                    let lines = self.taps(1, line);
                    let mut out = from.at([depth, line, first]);
                    for columns in columns {
                        // SAFETY: as in `gather`.
                        unsafe {
                            let dy = V::load(dy.add(out));
                            for d in 0..depths.count {
                                for l in 0..lines.count {
                                    let of_line = depths.weight(d) * lines.weight(l);
                                    let mut at = to.at([depths.input(d), lines.input(l), columns.first]);
                                    for c in 0..columns.count {
                                        let weight = V::splat(of_line * columns.weight(c));
                                        let sum = dy.mul_add(weight, V::load(dx.add(at)));
                                        sum.store(dx.add(at));
                                        at += columns.step * to.lanes;
                                    }
                                }
                            }
                        }
                        out += from.lanes;
                    }
                }
            }
        }
    }
}

/// `y[c][o] = sum over the inputs i that o sees of weight x[c][i]`.
pub fn forward(t: &mut Tile<'_>, resample: &Resample, x: View, y: View) {
    let Resample { channels, size, out_size, .. } = *resample;
    let (from, to) = (Grid::new(x, channels, size), Grid::new(y, channels, out_size));
    Grid::check_planes(&from, &to);
    let views = [x, y];
    let Parts { reads: [x], writes: [mut y], isa, .. } = t.parts([x], [y]);
    if let Layout::Blocked(_) = views[0].layout {
        return gather_planes(isa, resample, Source::new(views[0], &x), Target::new(views[1], &mut y), x.samples());
    }
    let (of_x, of_y) = (size.iter().product(), out_size.iter().product());
    for sample in 0..x.samples() {
        for (x, y) in x.row(sample).chunks_exact(of_x).zip(y.row(sample).chunks_exact_mut(of_y)) {
            // SAFETY: a channel of either value.
            unsafe { resample.gather::<One>((x.as_ptr(), from.positions(0)), (y.as_mut_ptr(), to.positions(0))) };
        }
    }
}

/// `dx[c][i] = sum over the outputs o that see i of weight dy[c][o]`, or adds it.
pub fn backward(t: &mut Tile<'_>, resample: &Resample, dy: View, dx: View, store: Store) {
    let Resample { channels, size, out_size, .. } = *resample;
    let (from, to) = (Grid::new(dy, channels, out_size), Grid::new(dx, channels, size));
    Grid::check_planes(&from, &to);
    let views = [dy, dx];
    let Parts { reads: [dy], writes: [mut dx], isa, .. } = t.parts([dy], [dx]);
    if let Layout::Blocked(_) = views[0].layout {
        let (of_dy, of_dx) = (Source::new(views[0], &dy), Target::new(views[1], &mut dx));
        return scatter_planes(isa, resample, of_dy, of_dx, store, dy.samples());
    }
    let (of_dy, of_dx) = (out_size.iter().product(), size.iter().product());
    for sample in 0..dy.samples() {
        let dx = dx.row(sample);
        store.begin(dx);
        for (dy, dx) in dy.row(sample).chunks_exact(of_dy).zip(dx.chunks_exact_mut(of_dx)) {
            // SAFETY: a channel of either value.
            unsafe { resample.scatter::<One>((dy.as_ptr(), from.positions(0)), (dx.as_mut_ptr(), to.positions(0))) };
        }
    }
}

dispatch! {
    fn gather_planes(resample: &Resample, x: Source, y: Target, samples: usize) = gather_kernel;
    fn scatter_planes(resample: &Resample, dy: Source, dx: Target, store: Store, samples: usize) = scatter_kernel;
}

struct Gather<'a> {
    resample: &'a Resample,
    x: Source,
    y: Target,
    samples: usize,
}

/// The maps are those of the geometry, as [`Grid::new`] says.
#[inline(always)]
unsafe fn gather_kernel<W: Numbers, H: Numbers>(resample: &Resample, x: Source, y: Target, samples: usize) {
    // SAFETY: the parts are those of the maps, whose planes are the same; `Source::new` and `Target::new` have checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut Gather { resample, x, y, samples }) };
}

impl Work for Gather<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let [from, to] = [self.x.map, self.y.map].map(|map| Positions::of(map, part.lanes));
        for sample in 0..self.samples {
            // SAFETY: a sample and a part of the maps; compiled for the vector's instructions.
            unsafe {
                let (x, y) = (self.x.of(sample, part), self.y.of(sample, part));
                self.resample.gather::<V>((x, from), (y, to));
                clear_halo::<V>(self.y.map, part, y);
            }
        }
    }
}

struct Scatter<'a> {
    resample: &'a Resample,
    dy: Source,
    dx: Target,
    store: Store,
    samples: usize,
}

/// As [`gather_kernel`].
#[inline(always)]
unsafe fn scatter_kernel<W: Numbers, H: Numbers>(
    resample: &Resample,
    dy: Source,
    dx: Target,
    store: Store,
    samples: usize,
) {
    // SAFETY: as there.
    unsafe { each_part::<W, H>(dx.map.planes, &mut Scatter { resample, dy, dx, store, samples }) };
}

impl Work for Scatter<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let [from, to] = [self.dy.map, self.dx.map].map(|map| Positions::of(map, part.lanes));
        for sample in 0..self.samples {
            // SAFETY: a sample and a part of the maps; compiled for the vector's instructions.
            unsafe {
                let (dy, dx) = (self.dy.of(sample, part), self.dx.of(sample, part));
                if self.store == Store::Write {
                    // The map and its halo.
                    clear::<V>(part, dx, 0, self.dx.map.positions() * part.lanes);
                }
                self.resample.scatter::<V>((dy, from), (dx, to));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::naive::{self, Sums};
    use crate::kernels::testing::{
        Bench, Random, assert_close, axes, bits, map_of, product_tolerance, random_planes, seeds, wide,
    };

    const HOWS: [How; 4] = [How::Adaptive, How::Nearest, How::Linear, How::LinearCorners];

    fn random(random: &mut Random) -> Resample {
        let count = random.between(1, 3);
        let largest = [150, 12, 6][count - 1];
        let size = axes(count, || random.between(1, largest));
        let out_size = axes(count, || random.between(1, largest));
        Resample { channels: random.between(1, 3), size, out_size, how: HOWS[random.between(0, 3)] }
    }

    #[test]
    fn random_maps_of_other_sizes_are_their_twins() {
        for seed in seeds(0..240) {
            let is_plain = seed % 2 == 0;
            let mut made = Vec::new();
            for isa in Isa::available() {
                let samples = 1 + seed as usize % 3;
                let mut bench = Bench::new(seed, samples);
                bench.isa = isa;
                let mut resample = random(&mut bench.random);
                let planes = random_planes(&mut bench.random);
                let Resample { size, out_size, .. } = resample;
                let maps = [size, out_size, out_size, size].map(|size| map_of(planes, size, &mut bench.random));
                if !is_plain {
                    resample.channels = maps[0].channels();
                }
                let terms = naive::resample(&resample);
                let [plane, out_plane] = [size, out_size].map(|size| size.iter().product::<usize>());
                let of_all = samples * resample.channels;
                let [x_of, before] = [(); 2].map(|()| bench.random.numbers(of_all * plane));
                let dy_of = bench.random.numbers(of_all * out_plane);
                let tolerance = product_tolerance(terms.len());

                let beside = if bench.random.coin() { f32::NAN } else { 1e30 };
                let value = |bench: &mut Bench, map: usize, floats: &[f32]| match is_plain {
                    true => bench.value(floats.to_vec()),
                    false => bench.planes(maps[map], floats, beside),
                };
                let target =
                    |bench: &mut Bench, map: usize, floats: &[f32], len: usize, store: Store| match (is_plain, store) {
                        (true, Store::Add) => bench.value(floats.to_vec()),
                        (true, Store::Write) => bench.target(len, store),
                        (false, _) => bench.target_planes(maps[map], floats, store),
                    };
                let get = |bench: &Bench, view: View| match is_plain {
                    true => bench.get(view).to_vec(),
                    false => bench.elements(view),
                };

                let x = value(&mut bench, 0, &x_of);
                let y = target(&mut bench, 1, &[], resample.channels * out_plane, Store::Write);
                bench.run(&[y], |t| forward(t, &resample, x, y));
                let mut twin = Sums::zero(of_all * out_plane);
                for of in 0..of_all {
                    let x = &x_of[of * plane..];
                    terms.iter().for_each(|&(i, o, weight)| twin.add(of * out_plane + o, f64::from(x[i]) * weight));
                }
                let y = get(&bench, y);
                assert_close(&format!("{resample:?}"), &y, &twin.values, &twin.scales, tolerance);

                let store = bench.random.store();
                let dy = value(&mut bench, 2, &dy_of);
                let dx = target(&mut bench, 3, &before, resample.channels * plane, store);
                bench.run(&[dx], |t| backward(t, &resample, dy, dx, store));
                let mut twin = if store == Store::Add { Sums::from(wide(&before)) } else { Sums::zero(of_all * plane) };
                for of in 0..of_all {
                    let dy = &dy_of[of * out_plane..];
                    terms.iter().for_each(|&(i, o, weight)| twin.add(of * plane + i, f64::from(dy[o]) * weight));
                }
                let dx = get(&bench, dx);
                assert_close(&format!("{resample:?} backward"), &dx, &twin.values, &twin.scales, tolerance);
                // The portable loops round after each product.
                if isa != Isa::PORTABLE {
                    made.push((bits(&y), bits(&dx)));
                }
            }
            assert!(made.windows(2).all(|pair| pair[0] == pair[1]), "AVX2 and AVX-512 give the same bits");
        }
    }

    #[test]
    fn lines_are_those_of_pytorch() {
        // F.interpolate(torch.tensor([[[0., 4., 8.]]]), ...): size = 6 with mode nearest; with linear; with linear and align_corners.
        let wanted = [
            (How::Nearest, [0.0, 0.0, 4.0, 4.0, 8.0, 8.0]),
            (How::Linear, [0.0, 1.0, 3.0, 5.0, 7.0, 8.0]),
            (How::LinearCorners, [0.0, 1.6, 3.2, 4.8, 6.4, 8.0]),
        ];
        for (how, wanted) in wanted {
            let mut bench = Bench::new(1, 1);
            let (x, y) = (bench.value(vec![0.0, 4.0, 8.0]), bench.target(6, Store::Write));
            let resample = Resample { channels: 1, size: [1, 1, 3], out_size: [1, 1, 6], how };
            bench.run(&[y], |t| forward(t, &resample, x, y));
            for (found, wanted) in bench.get(y).iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-6, "{how:?}: {found}, not {wanted}");
            }
        }
    }
}
