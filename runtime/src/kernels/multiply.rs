//! Products of two values, of which one may be repeated along some dimensions.
#![allow(unsafe_code)]

use crate::arena::{Parts, Tile, View};
use crate::kernels::elementwise::{self, Formula};
use crate::kernels::lanes::dispatch;
use crate::kernels::planes::{
    Lines, Numbers, Part, Source, Target, Work, check_maps, check_planes, clear_halo, each_part,
};
use crate::kernels::{Store, math};
use crate::layout::{Blocked, Layout};

/// A product's geometry: a value `[outer][count][inner]`, and one of `[outer][inner]` that is repeated `count` times. In planes outer are
/// the channels, count their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// The dimensions before the repeated ones.
    pub outer: usize,
    /// The repeated ones.
    pub count: usize,
    /// Those behind them.
    pub inner: usize,
}

impl Product {
    /// Asserts that two values are whole ones, and the third is repeated.
    fn check(&self, whole: [View; 2], repeated: View) {
        let Product { outer, count, inner } = *self;
        let Layout::Blocked(map) = whole[0].layout else {
            let plain = |view: View, len: usize| view.layout == Layout::Plain && view.len == len;
            let is_right = whole.into_iter().all(|view| plain(view, outer * count * inner));
            assert!(is_right && plain(repeated, outer * inner), "values of [outer][count][inner] and [outer][inner]");
            return;
        };
        assert_eq!((map.channels(), positions(map), 1), (outer, count, inner), "a map has a factor for each channel");
        check_maps(&[map, whole[1].map()]);
        check_planes(&[map, repeated.map()]);
        assert_eq!(repeated.map().size, [1; 3], "a factor is of one position");
    }
}

fn positions(map: &Blocked) -> usize {
    map.size.iter().product()
}

/// `y[o][n][i] = a[o][n][i] b[o][i]`, or adds it. With a count of 1 `y` may be the same value as `a`, as `b`, or as both, when it writes.
pub fn product(t: &mut Tile<'_>, of: &Product, a: View, b: View, y: View, store: Store) {
    if of.count == 1 {
        return elementwise::apply(t, Formula::Product, [a, b], y, store);
    }
    of.check([a, y], b);
    let views = [a, b, y];
    let Parts { reads: [a, b], writes: [mut y], isa, .. } = t.parts([a, b], [y]);
    if let Layout::Blocked(_) = views[0].layout {
        let (a_of, b_of) = (Source::new(views[0], &a), Source::new(views[1], &b));
        return scale_planes(isa, a_of, b_of, Target::new(views[2], &mut y), store, a.samples());
    }
    for sample in 0..a.samples() {
        let rows = a.row(sample).chunks_exact(of.inner).zip(y.row(sample).chunks_exact_mut(of.inner));
        for (at, (a, y)) in rows.enumerate() {
            let b = &b.row(sample)[at / of.count * of.inner..][..of.inner];
            store.put(y, a.iter().zip(b).map(|(a, b)| a * b));
        }
    }
}

/// `s[o][i] = sum over n of a[o][n][i] b[o][n][i]`, or adds it.
pub fn sum(t: &mut Tile<'_>, of: &Product, a: View, b: View, s: View, store: Store) {
    of.check([a, b], s);
    let views = [a, b, s];
    let Parts { reads: [a, b], writes: [mut s], isa, .. } = t.parts([a, b], [s]);
    if let Layout::Blocked(_) = views[0].layout {
        let (a_of, b_of) = (Source::new(views[0], &a), Source::new(views[1], &b));
        return sum_planes(isa, a_of, b_of, Target::new(views[2], &mut s), store, a.samples());
    }
    for sample in 0..a.samples() {
        let (a, b) = (a.row(sample), b.row(sample));
        if of.inner == 1 {
            let pairs = a.chunks_exact(of.count).zip(b.chunks_exact(of.count));
            store.put(s.row(sample), pairs.map(|(a, b)| math::sums(a, b, |a, b| [a * b, 0.0])[0] as f32));
            continue;
        }
        store.begin(s.row(sample));
        for (at, (a, b)) in a.chunks_exact(of.inner).zip(b.chunks_exact(of.inner)).enumerate() {
            let s = &mut s.row(sample)[at / of.count * of.inner..][..of.inner];
            s.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (a, b))| *s += a * b);
        }
    }
}

dispatch! {
    fn scale_planes(a: Source, b: Source, y: Target, store: Store, samples: usize) = scale_kernel;
    fn sum_planes(a: Source, b: Source, s: Target, store: Store, samples: usize) = sum_kernel;
}

struct Scale {
    a: Source,
    b: Source,
    y: Target,
    store: Store,
    samples: usize,
}

/// The maps are as [`Product::check`] says.
#[inline(always)]
unsafe fn scale_kernel<W: Numbers, H: Numbers>(a: Source, b: Source, y: Target, store: Store, samples: usize) {
    // SAFETY: the parts are those of the maps, whose planes are the same; `Source::new` and `Target::new` have checked the rows.
    unsafe { each_part::<W, H>(a.map.planes, &mut Scale { a, b, y, store, samples }) };
}

impl Work for Scale {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let (lanes, columns) = (part.lanes, self.a.map.size[2]);
        for sample in 0..self.samples {
            // SAFETY: a sample and a part of the maps, positions inside them; compiled for the vector's instructions.
            unsafe {
                let (a, y) = (self.a.of(sample, part), self.y.of(sample, part));
                let b = V::load(self.b.of(sample, part).add(self.b.map.position(0, 0, 0) * lanes));
                for [from, to] in Lines::new([self.a.map, self.y.map], part) {
                    for at in (0..columns * lanes).step_by(lanes) {
                        let (from, to) = (a.add(from + at), y.add(to + at));
                        let scaled = V::load(from).mul(b);
                        let scaled = if self.store == Store::Add { V::load(to).add(scaled) } else { scaled };
                        scaled.store(to);
                    }
                }
                if self.store == Store::Write {
                    clear_halo::<V>(self.y.map, part, y);
                }
            }
        }
    }
}

struct SumOfPlanes {
    a: Source,
    b: Source,
    s: Target,
    store: Store,
    samples: usize,
}

/// As [`scale_kernel`].
#[inline(always)]
unsafe fn sum_kernel<W: Numbers, H: Numbers>(a: Source, b: Source, s: Target, store: Store, samples: usize) {
    // SAFETY: as there.
    unsafe { each_part::<W, H>(a.map.planes, &mut SumOfPlanes { a, b, s, store, samples }) };
}

impl Work for SumOfPlanes {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let (lanes, columns) = (part.lanes, self.a.map.size[2]);
        for sample in 0..self.samples {
            // SAFETY: as in `Scale::part`.
            unsafe {
                let (a, b, s) = (self.a.of(sample, part), self.b.of(sample, part), self.s.of(sample, part));
                // Four partial sums, of each fourth column.
                let zero = V::splat(0.0);
                let (mut s0, mut s1, mut s2, mut s3) = (zero, zero, zero, zero);
                for [from_a, from_b] in Lines::new([self.a.map, self.b.map], part) {
                    let (a, b) = (a.add(from_a), b.add(from_b));
                    let mut column = 0;
                    while column + 4 <= columns {
                        let [c0, c1, c2, c3] = [0, 1, 2, 3].map(|next| (column + next) * lanes);
                        s0 = V::load(a.add(c0)).mul_add(V::load(b.add(c0)), s0);
                        s1 = V::load(a.add(c1)).mul_add(V::load(b.add(c1)), s1);
                        s2 = V::load(a.add(c2)).mul_add(V::load(b.add(c2)), s2);
                        s3 = V::load(a.add(c3)).mul_add(V::load(b.add(c3)), s3);
                        column += 4;
                    }
                    while column < columns {
                        s0 = V::load(a.add(column * lanes)).mul_add(V::load(b.add(column * lanes)), s0);
                        column += 1;
                    }
                }
                let to = s.add(self.s.map.position(0, 0, 0) * lanes);
                let mut sum = s0.add(s1).add(s2.add(s3));
                if self.store == Store::Add {
                    sum = V::load(to).add(sum);
                }
                sum.store(to);
                if self.store == Store::Write {
                    clear_halo::<V>(self.s.map, part, s);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::naive::Sums;
    use crate::kernels::testing::{Bench, assert_close, axes, bits, map_of, product_tolerance, random_planes, seeds};

    /// `y`, and the sum of `a b`, of values `[outer][count][inner]` of some samples.
    fn twins(of: &Product, samples: usize, [a, b, c]: [&[f32]; 3], before: [&[f32]; 2], store: Store) -> [Sums; 2] {
        let from = |floats: &[f32]| match store {
            Store::Add => Sums::from(crate::kernels::testing::wide(floats)),
            Store::Write => Sums::zero(floats.len()),
        };
        let [mut y, mut s] = before.map(from);
        for at in 0..samples * of.outer * of.count * of.inner {
            let small = at / (of.count * of.inner) * of.inner + at % of.inner;
            y.add(at, f64::from(a[at]) * f64::from(b[small]));
            s.add(small, f64::from(a[at]) * f64::from(c[at]));
        }
        [y, s]
    }

    #[test]
    fn random_products_are_their_twins() {
        for seed in seeds(0..200) {
            let samples = 1 + seed as usize % 2;
            let mut bench = Bench::new(seed, samples);
            let mut size = |most: usize| bench.random.between(1, most);
            let of = Product { outer: size(5), count: 1 + size(40), inner: if seed % 2 == 0 { 1 } else { size(9) } };
            let (len, small) = (of.outer * of.count * of.inner, of.outer * of.inner);
            let [a_of, c_of, y_of] = [(); 3].map(|()| bench.random.numbers(samples * len));
            let [b_of, s_of] = [(); 2].map(|()| bench.random.numbers(samples * small));
            for store in [Store::Write, Store::Add] {
                let [wanted_y, wanted_s] = twins(&of, samples, [&a_of, &b_of, &c_of], [&y_of, &s_of], store);
                let [a, b, c] = [&a_of, &b_of, &c_of].map(|floats| bench.value(floats.clone()));
                let [y, s] = [&y_of, &s_of].map(|floats| bench.value(floats.clone()));
                bench.run(&[y], |t| product(t, &of, a, b, y, store));
                assert_close("product", bench.get(y), &wanted_y.values, &wanted_y.scales, product_tolerance(1));
                bench.run(&[s], |t| sum(t, &of, a, c, s, store));
                assert_close("sum", bench.get(s), &wanted_s.values, &wanted_s.scales, product_tolerance(of.count));
            }
        }
    }

    #[test]
    fn products_by_channel_in_planes_are_their_twins() {
        for seed in seeds(0..100) {
            let mut made = Vec::new();
            for isa in Isa::available() {
                let samples = 1 + seed as usize % 2;
                let mut bench = Bench::new(seed, samples);
                bench.isa = isa;
                let planes = random_planes(&mut bench.random);
                let size = axes(2, || bench.random.between(1, 9));
                let size = if size == [1; 3] { [1, 1, 2] } else { size };
                let mut map = |size: [usize; 3]| map_of(planes, size, &mut bench.random);
                let maps = [map(size), map([1; 3]), map(size), map(size), map([1; 3])];
                let of = Product { outer: maps[0].channels(), count: size.iter().product(), inner: 1 };
                let (len, small) = (samples * of.outer * of.count, samples * of.outer);
                let [a_of, c_of, y_of] = [(); 3].map(|()| bench.random.numbers(len));
                let [b_of, s_of] = [(); 2].map(|()| bench.random.numbers(small));
                let beside = if bench.random.coin() { f32::NAN } else { 1e30 };
                let [a, b, c] =
                    [(0, &a_of), (1, &b_of), (2, &c_of)].map(|(map, of)| bench.planes(maps[map], of, beside));
                for store in [Store::Write, Store::Add] {
                    let [wanted_y, wanted_s] = twins(&of, samples, [&a_of, &b_of, &c_of], [&y_of, &s_of], store);
                    let y = bench.target_planes(maps[3], &y_of, store);
                    bench.run(&[y], |t| product(t, &of, a, b, y, store));
                    let y = bench.elements(y);
                    assert_close("product", &y, &wanted_y.values, &wanted_y.scales, product_tolerance(1));
                    let s = bench.target_planes(maps[4], &s_of, store);
                    bench.run(&[s], |t| sum(t, &of, a, c, s, store));
                    let s = bench.elements(s);
                    assert_close("sum", &s, &wanted_s.values, &wanted_s.scales, product_tolerance(of.count));
                    // The portable loops round after each product.
                    if isa != Isa::PORTABLE {
                        made.push((store, bits(&y), bits(&s)));
                    }
                }
            }
            for pair in made.windows(3) {
                assert!(pair[0].0 != pair[2].0 || pair[0] == pair[2], "AVX2 and AVX-512 give the same bits");
            }
        }
    }
}
