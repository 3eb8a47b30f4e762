//! The kernels of batch norms on maps in planes: sums over positions, and what is done with each value.
#![allow(unsafe_code)]

use super::Scales;
use crate::arena::RowsMut;
use crate::kernels::Store;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::planes::{
    Lines, Numbers, Part, Source, Target, Work, check_maps, clear_halo, each_part, of_channels, to_channels,
};
use crate::layout::Blocked;

dispatch! {
    pub(in crate::kernels) fn statistics_of_planes(x: Source, sums: &mut RowsMut<'_>) = statistics_kernel;
    pub(in crate::kernels) fn normalise_planes(
        scales: &Scales<'_>, x: Source, other: Option<Source>, is_after: bool, floor: f32, y: Target, samples: usize,
    ) = normalise_kernel;
    pub(in crate::kernels) fn sums_of_planes(
        x: Source, dy: Source, mean: &[f32], deviation: &[f32], relu: Option<&Scales<'_>>, sums: &mut RowsMut<'_>,
    ) = sums_kernel;
    pub(in crate::kernels) fn backward_of_planes(
        coefficients: &[f32], relu: Option<&Scales<'_>>, x: Source, dy: Source, dx: Target, store: Store, samples: usize,
    ) = backward_kernel;
}

/// The terms of `K` sums of the values of `N` maps at a position.
trait Terms<V, const N: usize, const K: usize> {
    /// Adds them.
    ///
    /// # Safety
    ///
    /// The vector's instructions are there.
    unsafe fn add(&self, sums: [V; K], values: [V; N]) -> [V; K];

    /// The sums over a part of maps of one size. Four partial sums, of each fourth column, which are then added two and two: an order that
    /// no vector's width changes.
    ///
    /// # Safety
    ///
    /// Each of `from` is [`Source::of`] the part of its map; the vector's instructions are there.
    #[inline(always)]
    unsafe fn sum(&self, maps: [&Blocked; N], from: [*const f32; N], part: Part) -> [V; K]
    where
        V: Lanes,
    {
        let lanes = part.lanes;
        let (fours, rest) = (maps[0].size[2] / 4, maps[0].size[2] % 4);
        // SAFETY: positions of the maps.
        unsafe {
            let zero = [V::splat(0.0); K];
            let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
            for mut at in Lines::new(maps, part) {
                for _ in 0..fours {
                    a = self.add(a, load(from, at, 0));
                    b = self.add(b, load(from, at, lanes));
                    c = self.add(c, load(from, at, 2 * lanes));
                    d = self.add(d, load(from, at, 3 * lanes));
                    for at in &mut at {
                        *at += 4 * lanes;
                    }
                }
                if rest > 0 {
                    a = self.add(a, load(from, at, 0));
                }
                if rest > 1 {
                    b = self.add(b, load(from, at, lanes));
                }
                if rest > 2 {
                    c = self.add(c, load(from, at, 2 * lanes));
                }
            }
            for k in 0..K {
                a[k] = a[k].add(b[k]).add(c[k].add(d[k]));
            }
            a
        }
    }
}

/// The values of maps at a position.
#[inline(always)]
unsafe fn load<V: Lanes, const N: usize>(from: [*const f32; N], at: [usize; N], behind: usize) -> [V; N] {
    // SAFETY: as of the caller.
    unsafe {
        let mut values = [V::splat(0.0); N];
        for n in 0..N {
            values[n] = V::load(from[n].add(at[n] + behind));
        }
        values
    }
}

/// `x`.
struct Total;

impl<V: Lanes> Terms<V, 1, 1> for Total {
    #[inline(always)]
    unsafe fn add(&self, [sum]: [V; 1], [x]: [V; 1]) -> [V; 1] {
        // SAFETY: as of this function.
        unsafe { [sum.add(x)] }
    }
}

/// `x - mean` and its square.
struct Moments<V> {
    mean: V,
}

impl<V: Lanes> Terms<V, 1, 2> for Moments<V> {
    #[inline(always)]
    unsafe fn add(&self, [rest, squares]: [V; 2], [x]: [V; 1]) -> [V; 2] {
        // SAFETY: as of this function.
        unsafe {
            let far = x.sub(self.mean);
            [rest.add(far), far.mul_add(far, squares)]
        }
    }
}

/// `dy` and `dy (x - mean)`.
struct Shares<V> {
    mean: V,
}

/// The same of what a relu lets pass.
struct SharesOfRelu<V> {
    normal: Normal<V>,
}

impl<V: Lanes> Terms<V, 2, 2> for SharesOfRelu<V> {
    #[inline(always)]
    unsafe fn add(&self, [sum, both]: [V; 2], [x, dy]: [V; 2]) -> [V; 2] {
        // SAFETY: as of this function.
        unsafe {
            let dy = self.normal.passed(dy, x);
            [sum.add(dy), x.sub(self.normal.mean).mul_add(dy, both)]
        }
    }
}

impl<V: Lanes> Terms<V, 2, 2> for Shares<V> {
    #[inline(always)]
    unsafe fn add(&self, [sum, both]: [V; 2], [x, dy]: [V; 2]) -> [V; 2] {
        // SAFETY: as of this function.
        unsafe { [sum.add(dy), x.sub(self.mean).mul_add(dy, both)] }
    }
}

struct Statistics<'a, 't> {
    x: Source,
    sums: &'a mut RowsMut<'t>,
}

#[inline(always)]
unsafe fn statistics_kernel<W: Numbers, H: Numbers>(x: Source, sums: &mut RowsMut<'_>) {
    // SAFETY: the parts are those of the map; `Source::new` has checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut Statistics { x, sums }) };
}

impl Work for Statistics<'_, '_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let map = self.x.map;
        let count = map.size.iter().product::<usize>() as f32;
        for sample in 0..self.sums.samples() {
            // SAFETY: a sample and a part of the map; compiled for the vector's instructions.
            unsafe {
                let from = [self.x.of(sample, part)];
                let of_one = V::splat(1.0 / count);
                let [sum]: [V; 1] = Total.sum([map], from, part);
                let mean = sum.mul(of_one);
                let [rest, squares] = Moments { mean }.sum([map], from, part);
                // What the rounding of the mean left.
                let rest_of_one = rest.mul(of_one);
                let squares = V::splat(0.0).max(rest.mul_sub_from(rest_of_one, squares));
                let (means, squares_of) = self.sums.row(sample).split_at_mut(map.channels());
                to_channels(part, mean.add(rest_of_one), means);
                to_channels(part, squares, squares_of);
            }
        }
    }
}

struct Normalise<'a> {
    scales: &'a Scales<'a>,
    x: Source,
    other: Option<Source>,
    is_after: bool,
    floor: f32,
    y: Target,
    samples: usize,
}

/// `y = max((x - mean) scale + shift + other, floor)`, or with `other` added behind.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn normalise_kernel<W: Numbers, H: Numbers>(
    scales: &Scales<'_>,
    x: Source,
    other: Option<Source>,
    is_after: bool,
    floor: f32,
    y: Target,
    samples: usize,
) {
    check_maps(&[x.map, y.map, other.map_or(x.map, |other| other.map)]);
    let mut work = Normalise { scales, x, other, is_after, floor, y, samples };
    // SAFETY: the maps have the same planes and size, `Source::new` and `Target::new` have checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut work) };
}

impl Work for Normalise<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        // SAFETY: samples and a part of the maps, of which `Lines` gives the positions.
        unsafe {
            let normal = Normal::<V>::new(self.scales, part, self.floor);
            let (lanes, len) = (part.lanes, self.x.map.size[2] * part.lanes);
            for sample in 0..self.samples {
                let (x, y) = (self.x.of(sample, part), self.y.of(sample, part));
                if let Some(other) = self.other {
                    let added = other.of(sample, part);
                    for [from, of, to] in Lines::new([self.x.map, other.map, self.y.map], part) {
                        let (x, added, y) = (x.add(from), added.add(of), y.add(to));
                        if self.is_after {
                            for at in (0..len).step_by(lanes) {
                                let result = normal.act(normal.of(V::load(x.add(at))));
                                result.add(V::load(added.add(at))).store(y.add(at));
                            }
                        } else {
                            for at in (0..len).step_by(lanes) {
                                let sum = normal.of(V::load(x.add(at))).add(V::load(added.add(at)));
                                normal.act(sum).store(y.add(at));
                            }
                        }
                    }
                } else {
                    for [from, to] in Lines::new([self.x.map, self.y.map], part) {
                        let (x, y) = (x.add(from), y.add(to));
                        for at in (0..len).step_by(lanes) {
                            normal.act(normal.of(V::load(x.add(at)))).store(y.add(at));
                        }
                    }
                }
                clear_halo::<V>(self.y.map, part, y);
            }
        }
    }
}

/// A part's scales.
struct Normal<V> {
    mean: V,
    scale: V,
    shift: V,
    floor: V,
}

// SAFETY of all: compiled for the vector's instructions, as whoever calls.
impl<V: Lanes> Normal<V> {
    #[inline(always)]
    unsafe fn new(scales: &Scales<'_>, part: Part, floor: f32) -> Normal<V> {
        unsafe {
            Normal {
                mean: of_channels(part, |channel| scales.of(channel)[0]),
                scale: of_channels(part, |channel| scales.of(channel)[1]),
                shift: of_channels(part, |channel| scales.of(channel)[2]),
                floor: V::splat(floor),
            }
        }
    }

    #[inline(always)]
    unsafe fn of(&self, x: V) -> V {
        unsafe { x.sub(self.mean).mul_add(self.scale, self.shift) }
    }

    /// A relu, or nothing where the floor is minus infinity. NaN stays NaN.
    #[inline(always)]
    unsafe fn act(&self, x: V) -> V {
        unsafe { self.floor.max(x) }
    }

    /// What a relu lets pass, as [`passed`]: nothing where its result is below the least number above zero.
    #[inline(always)]
    unsafe fn passed(&self, dy: V, x: V) -> V {
        unsafe { V::splat(f32::from_bits(1)).if_greater(self.of(x), V::splat(0.0), dy) }
    }
}

struct Sums<'a, 't> {
    x: Source,
    dy: Source,
    mean: &'a [f32],
    deviation: &'a [f32],
    relu: Option<&'a Scales<'a>>,
    sums: &'a mut RowsMut<'t>,
}

#[inline(always)]
unsafe fn sums_kernel<W: Numbers, H: Numbers>(
    x: Source,
    dy: Source,
    mean: &[f32],
    deviation: &[f32],
    relu: Option<&Scales<'_>>,
    sums: &mut RowsMut<'_>,
) {
    check_maps(&[x.map, dy.map]);
    // SAFETY: the maps have the same planes and size, `Source::new` has checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut Sums { x, dy, mean, deviation, relu, sums }) };
}

impl Work for Sums<'_, '_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        // SAFETY: samples and a part of the maps; compiled for the vector's instructions.
        unsafe {
            let mean: V = of_channels(part, |channel| self.mean[channel]);
            let deviation: V = of_channels(part, |channel| self.deviation[channel]);
            for sample in 0..self.sums.samples() {
                let from = [self.x.of(sample, part), self.dy.of(sample, part)];
                let maps = [self.x.map, self.dy.map];
                let [sum, both] = match self.relu {
                    None => Shares { mean }.sum(maps, from, part),
                    Some(relu) => SharesOfRelu { normal: Normal::new(relu, part, 0.0) }.sum(maps, from, part),
                };
                let (of_dy, of_both) = self.sums.row(sample).split_at_mut(self.x.map.channels());
                to_channels(part, sum, of_dy);
                to_channels(part, both.mul(deviation), of_both);
            }
        }
    }
}

struct Backward<'a> {
    coefficients: &'a [f32],
    relu: Option<&'a Scales<'a>>,
    x: Source,
    dy: Source,
    dx: Target,
    store: Store,
    samples: usize,
}

#[inline(always)]
unsafe fn backward_kernel<W: Numbers, H: Numbers>(
    coefficients: &[f32],
    relu: Option<&Scales<'_>>,
    x: Source,
    dy: Source,
    dx: Target,
    store: Store,
    samples: usize,
) {
    check_maps(&[x.map, dy.map, dx.map]);
    // SAFETY: the maps have the same planes and size, `Source::new` and `Target::new` have checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut Backward { coefficients, relu, x, dy, dx, store, samples }) };
}

impl Work for Backward<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let (lanes, len, channels) = (part.lanes, self.x.map.size[2] * part.lanes, self.x.map.channels());
        let maps = [self.x.map, self.dy.map, self.dx.map];
        // SAFETY: samples and a part of the maps, of which `Lines` gives the positions. Where `dy` is `dx`, each float is
        // read before it is written, and no reference to either is held.
        unsafe {
            let a: V = of_channels(part, |channel| self.coefficients[channel]);
            let b: V = of_channels(part, |channel| self.coefficients[channels + channel]);
            let c: V = of_channels(part, |channel| self.coefficients[2 * channels + channel]);
            let normal = self.relu.map(|relu| Normal::<V>::new(relu, part, 0.0));
            for sample in 0..self.samples {
                let (x, dy, dx) = (self.x.of(sample, part), self.dy.of(sample, part), self.dx.of(sample, part));
                for [of_x, of_dy, to] in Lines::new(maps, part) {
                    let (x, dy, dx) = (x.add(of_x), dy.add(of_dy), dx.add(to));
                    for at in (0..len).step_by(lanes) {
                        let (x, dy) = (V::load(x.add(at)), V::load(dy.add(at)));
                        let dy = if let Some(normal) = &normal { normal.passed(dy, x) } else { dy };
                        let gradient = dy.mul_add(a, x.mul_add(c, b));
                        match self.store {
                            Store::Write => gradient.store(dx.add(at)),
                            Store::Add => V::load(dx.add(at)).add(gradient).store(dx.add(at)),
                        }
                    }
                }
                if self.store == Store::Write {
                    clear_halo::<V>(self.dx.map, part, dx);
                }
            }
        }
    }
}
