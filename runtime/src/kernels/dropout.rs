//! Dropout (Srivastava and others 2014): some values become zero, the others grow so that the mean stays.

#![allow(unsafe_code)]

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::planes::{Lines, Numbers, Part, Source, Target, Work, check_maps, clear_halo, each_part};
use crate::layout::Layout;
use crate::random::{self, Draw};

/// A dropout's geometry. A sample's value is `[units][per_unit]`, in PyTorch's order whatever the layout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability of a zero.
    pub p: f32,
    /// Independent draws of a sample.
    pub units: usize,
    /// Elements that each covers.
    pub per_unit: usize,
}

/// `y[u] = x[u] / (1 - p)` with probability `1 - p`, else 0: forward of `x`, and backward of the gradient, with the same `key`. `x` and
/// `y` may be the same value when `store` writes.
///
/// The draw is a function of seed and step of the run, `key` (the use of the layer with its loop iteration), the sample of the batch,
/// and u.
pub fn apply(t: &mut Tile<'_>, dropout: &Dropout, key: u64, x: View, y: View, store: Store) {
    let Dropout { p, units, per_unit } = *dropout;
    for view in [x, y] {
        let (elements, len) = match view.layout {
            Layout::Plain => (view.len, units * per_unit),
            Layout::Blocked(map) => (map.channels() * map.size.iter().product::<usize>(), map.len()),
        };
        assert!(elements == units * per_unit && view.len == len, "a value is [units][per_unit]");
    }
    let draw = t.draw();
    let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
    // A draw is a multiple of 2^-24, so that whole numbers compare as floats would.
    let least = (f64::from(p) * f64::from(1 << 24)).ceil() as u64;
    let mask = Mask { draw, key, first: t.samples().start, least, scale };
    if x == y {
        assert_eq!(store, Store::Write, "a value is not added to itself");
        let Parts { writes: [mut rows], isa, .. } = t.parts([], [y]);
        let samples = rows.samples();
        match y.layout {
            Layout::Plain => {
                (0..samples).for_each(|sample| mask_in_place(isa, &mask, sample, per_unit, rows.row(sample)))
            }
            Layout::Blocked(_) => {
                let to = Target::new(y, &mut rows);
                mask_planes(isa, &mask, per_unit, to.source(), to, store, samples);
            }
        }
    } else {
        let Parts { reads: [from], writes: [mut to], isa, .. } = t.parts([x], [y]);
        let samples = to.samples();
        match y.layout {
            Layout::Plain => {
                assert_eq!(x.layout, Layout::Plain, "the layouts are the same");
                (0..samples)
                    .for_each(|sample| mask_row(isa, &mask, sample, per_unit, from.row(sample), to.row(sample), store));
            }
            Layout::Blocked(_) => {
                mask_planes(isa, &mask, per_unit, Source::new(x, &from), Target::new(y, &mut to), store, samples);
            }
        }
    }
}

/// What decides which units are kept.
struct Mask {
    draw: Draw,
    key: u64,
    /// The tile's first sample in the batch.
    first: usize,
    /// The least draw that is kept, in units of 2^-24.
    least: u64,
    /// What becomes of a kept 1.
    scale: f32,
}

/// Draws that are made at once.
const DRAWS: usize = 256;

impl Mask {
    /// The part of the keys that a sample's units share.
    fn of_sample(&self, sample: usize) -> u64 {
        random::bits(&[self.draw.seed, self.draw.step, self.key, (self.first + sample) as u64])
    }

    /// The factor of a unit.
    #[inline(always)]
    fn factor(&self, of_sample: u64, unit: u64) -> f32 {
        // `random::bits` with the unit as the last part of the key; `random::unit` as a whole number.
        if random::scatter(of_sample ^ unit) >> 40 >= self.least { self.scale } else { 0.0 }
    }

    /// The factors of as many units from `first` on.
    #[inline(always)]
    fn factors(&self, of_sample: u64, first: usize, factors: &mut [f32]) {
        for (unit, factor) in (first as u64..).zip(factors) {
            *factor = self.factor(of_sample, unit);
        }
    }

    /// The factors of units `first` and so many behind it each.
    #[inline(always)]
    fn factors_of(&self, of_sample: u64, first: usize, offsets: &[u64], factors: &mut [f32]) {
        for (offset, factor) in offsets.iter().zip(factors) {
            *factor = self.factor(of_sample, first as u64 + offset);
        }
    }
}

dispatch! {
    fn mask_in_place(mask: &Mask, sample: usize, per_unit: usize, y: &mut [f32]) = in_place_kernel;
    fn mask_row(mask: &Mask, sample: usize, per_unit: usize, x: &[f32], y: &mut [f32], store: Store) = row_kernel;
    fn mask_planes(
        mask: &Mask, per_unit: usize, x: Source, y: Target, store: Store, samples: usize,
    ) = planes_kernel;
}

#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn in_place_kernel<W: Lanes, H: Lanes>(mask: &Mask, sample: usize, per_unit: usize, y: &mut [f32]) {
    let of_sample = mask.of_sample(sample);
    if per_unit == 1 {
        let mut factors = [0.0; DRAWS];
        for (block, y) in y.chunks_mut(DRAWS).enumerate() {
            let factors = &mut factors[..y.len()];
            mask.factors(of_sample, block * DRAWS, factors);
            y.iter_mut().zip(factors).for_each(|(y, factor)| *y *= *factor);
        }
    } else {
        for (unit, y) in y.chunks_exact_mut(per_unit).enumerate() {
            let factor = mask.factor(of_sample, unit as u64);
            y.iter_mut().for_each(|y| *y *= factor);
        }
    }
}

#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn row_kernel<W: Lanes, H: Lanes>(
    mask: &Mask,
    sample: usize,
    per_unit: usize,
    x: &[f32],
    y: &mut [f32],
    store: Store,
) {
    let of_sample = mask.of_sample(sample);
    if per_unit == 1 {
        let mut factors = [0.0; DRAWS];
        for (block, (x, y)) in x.chunks(DRAWS).zip(y.chunks_mut(DRAWS)).enumerate() {
            let factors = &mut factors[..y.len()];
            mask.factors(of_sample, block * DRAWS, factors);
            store.put(y, x.iter().zip(factors).map(|(x, factor)| x * *factor));
        }
    } else {
        for (unit, (x, y)) in x.chunks_exact(per_unit).zip(y.chunks_exact_mut(per_unit)).enumerate() {
            let factor = mask.factor(of_sample, unit as u64);
            store.put(y, x.iter().map(|x| x * factor));
        }
    }
}

struct Planes<'a> {
    mask: &'a Mask,
    per_unit: usize,
    x: Source,
    y: Target,
    store: Store,
    samples: usize,
}

#[inline(always)]
unsafe fn planes_kernel<W: Numbers, H: Numbers>(
    mask: &Mask,
    per_unit: usize,
    x: Source,
    y: Target,
    store: Store,
    samples: usize,
) {
    check_maps(&[x.map, y.map]);
    // SAFETY: the maps have the same planes and size, `Source::new` and `Target::new` have checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut Planes { mask, per_unit, x, y, store, samples }) };
}

impl Work for Planes<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let [depths, of_depth, count] = self.x.map.size;
        let positions = depths * of_depth * count;
        let first = part.channel * positions;
        let (lanes, block) = (part.lanes, DRAWS / V::COUNT);
        let mut factors = [0.0; DRAWS];
        // The elements of a block of positions behind its first, `[position][lane]`, in PyTorch's order.
        let mut offsets = [0; DRAWS];
        for (index, offset) in offsets.iter_mut().enumerate() {
            *offset = (index % V::COUNT * positions + index / V::COUNT) as u64;
        }
        for sample in 0..self.samples {
            let of_sample = self.mask.of_sample(sample);
            // SAFETY: samples and a part of the maps, of which `Lines` gives the positions; no vector is longer than 16 floats. Where `x`
            // is `y`, each float is read before it is written, and no reference to either is held.
            unsafe {
                let (x, y) = (self.x.of(sample, part), self.y.of(sample, part));
                let is_of_channel = self.per_unit == positions;
                if is_of_channel {
                    self.mask.factors(of_sample, part.channel, &mut factors[..V::COUNT]);
                }
                for (line, [from, to]) in Lines::new([self.x.map, self.y.map], part).enumerate() {
                    for column in (0..count).step_by(block) {
                        let (x, y) = (x.add(from + column * lanes), y.add(to + column * lanes));
                        let (len, first) = (block.min(count - column), first + line * count + column);
                        if is_of_channel {
                            for at in 0..len {
                                let value = V::load(x.add(at * lanes)).mul(V::load(factors.as_ptr()));
                                put(self.store, value, y.add(at * lanes));
                            }
                            continue;
                        }
                        let factors = &mut factors[..len * V::COUNT];
                        if self.per_unit == 1 {
                            self.mask.factors_of(of_sample, first, &offsets, factors);
                        } else {
                            for (offset, factor) in offsets.iter().zip(&mut *factors) {
                                let unit = (first as u64 + offset) / self.per_unit as u64;
                                *factor = self.mask.factor(of_sample, unit);
                            }
                        }
                        for at in 0..len {
                            let value = V::load(x.add(at * lanes)).mul(V::load(factors.as_ptr().add(at * V::COUNT)));
                            put(self.store, value, y.add(at * lanes));
                        }
                    }
                }
                if self.store == Store::Write {
                    clear_halo::<V>(self.y.map, part, y);
                }
            }
        }
    }
}

/// Writes or adds a vector.
#[inline(always)]
unsafe fn put<V: Lanes>(store: Store, value: V, to: *mut f32) {
    // SAFETY: as of the caller.
    unsafe {
        match store {
            Store::Write => value.store(to),
            Store::Add => V::load(to).add(value).store(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::testing::{Bench, bits, map_of, random_planes, seeds};
    use crate::random::Draw;

    const DROPOUT: Dropout = Dropout { p: 0.25, units: 500, per_unit: 3 };

    /// What becomes of ones: of 4 samples, from sample `first` of the batch on.
    fn of_ones(dropout: &Dropout, key: u64, draw: Draw, first: usize) -> Vec<f32> {
        let mut bench = Bench::new(1, 4);
        (bench.draw, bench.first) = (draw, first);
        let x = bench.value(vec![1.0; 4 * dropout.units * dropout.per_unit]);
        bench.run(&[x], |t| apply(t, dropout, key, x, x, Store::Write));
        bench.get(x).to_vec()
    }

    #[test]
    fn a_unit_is_dropped_or_grows_as_one() {
        let draw = Draw { seed: 1, step: 2 };
        let y = of_ones(&DROPOUT, 3, draw, 0);
        assert!(y.chunks_exact(3).all(|unit| *unit == [0.0; 3] || *unit == [1.0 / 0.75; 3]));
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
        // Of 2000 draws one deviation is 0.01.
        assert!((dropped - 0.25).abs() < 0.04, "{dropped}");
    }

    #[test]
    fn the_draw_is_that_of_its_key() {
        let draw = Draw { seed: 1, step: 2 };
        let y = of_ones(&DROPOUT, 3, draw, 8);
        for (index, y) in y.chunks_exact(3).enumerate() {
            let key = [1, 2, 3, 8 + index as u64 / 500, index as u64 % 500];
            assert_eq!(y[0] == 0.0, random::unit(random::bits(&key)) < 0.25);
        }
        // Tiles that begin elsewhere agree about their samples.
        let before = of_ones(&DROPOUT, 3, draw, 6);
        assert_eq!(before[2 * 1500..], y[..2 * 1500]);
        assert_ne!(y, of_ones(&DROPOUT, 4, draw, 8));
        assert_ne!(y, of_ones(&DROPOUT, 3, Draw { seed: 1, step: 3 }, 8));
        assert_ne!(y, of_ones(&DROPOUT, 3, Draw { seed: 2, step: 2 }, 8));
    }

    #[test]
    fn planes_have_the_mask_of_a_plain_value() {
        for seed in seeds(0..40) {
            for isa in Isa::available() {
                let mut bench = Bench::new(seed, 2);
                (bench.isa, bench.first) = (isa, 5);
                let size = [1, bench.random.between(1, 5), bench.random.between(1, 9)];
                let planes = random_planes(&mut bench.random);
                let [of_x, of_y] = [(); 2].map(|()| map_of(planes, size, &mut bench.random));
                let (channels, positions) = (of_x.channels(), size[1] * size[2]);
                let (units, per_unit) = match seed % 4 {
                    0 => (channels, positions),
                    1 => (channels * size[1], size[2]),
                    _ => (channels * positions, 1),
                };
                let dropout = Dropout { p: bench.random.numbers(1)[0].abs(), units, per_unit };
                let store = bench.random.store();
                let [x_of, before] = [(); 2].map(|()| bench.random.numbers(2 * channels * positions));
                let (plain, beside) = (bench.value(x_of.clone()), f32::NAN);
                let wanted = match store {
                    Store::Write => bench.target(channels * positions, store),
                    Store::Add => bench.value(before.clone()),
                };
                let (x, y) = (bench.planes(of_x, &x_of, beside), bench.target_planes(of_y, &before, store));
                bench.run(&[wanted], |t| apply(t, &dropout, 7, plain, wanted, store));
                bench.run(&[y], |t| apply(t, &dropout, 7, x, y, store));
                assert_eq!(bits(&bench.elements(y)), bits(bench.get(wanted)));
                if store == Store::Write {
                    bench.run(&[x, plain], |t| {
                        apply(t, &dropout, 7, x, x, store);
                        apply(t, &dropout, 7, plain, plain, store);
                    });
                    assert_eq!(bits(&bench.elements(x)), bits(bench.get(wanted)));
                    assert_eq!(bits(bench.get(plain)), bits(bench.get(wanted)));
                }
            }
        }
    }

    #[test]
    fn everything_or_nothing_may_be_dropped() {
        let draw = Draw::default();
        assert!(of_ones(&Dropout { p: 1.0, ..DROPOUT }, 0, draw, 0).iter().all(|&y| y == 0.0));
        assert!(of_ones(&Dropout { p: 0.0, ..DROPOUT }, 0, draw, 0).iter().all(|&y| y == 1.0));
    }

    #[test]
    fn backward_has_the_mask_of_forward_and_may_add() {
        let mut bench = Bench::new(1, 2);
        let dropout = Dropout { units: 9, per_unit: 2, p: 0.5 };
        let (x, added) = (bench.numbers(18), bench.value(vec![1.0; 36]));
        let y = bench.target(18, Store::Write);
        bench.run(&[y], |t| apply(t, &dropout, 7, x, y, Store::Write));
        bench.run(&[added], |t| apply(t, &dropout, 7, x, added, Store::Add));
        let sums: Vec<f32> = bench.get(y).iter().map(|y| 1.0 + y).collect();
        assert_eq!(bits(bench.get(added)), bits(&sums));
    }
}
