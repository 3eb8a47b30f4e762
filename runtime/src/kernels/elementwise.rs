//! Copies, sums, zeros, and whatever else is computed element by element.
//!
//! Values of one call are all plain, or all in the same planes and of one size; their halos may differ. A copy also goes from any
//! layout to any other.
#![allow(unsafe_code)]

use crate::arena::{Parts, Tile, View};
use crate::isa::Isa;
use crate::kernels::convert;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::math::{self, map, maps};
use crate::kernels::{Act, Curve, Store, activation, curve};
use crate::layout::{Blocked, Layout};

/// What is computed of the elements a, and b, at one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Formula {
    /// `a`.
    Copy,
    /// `a + b`.
    Sum,
    /// `a b`.
    Product,
    /// `act(a)`.
    Act(Act),
    /// `b act'(x)`, where a is `act(x)`.
    Gradient(Act),
    /// `curve(a)`.
    Curve(Curve),
    /// `b curve'(a)`.
    CurveGradient(Curve),
}

impl Formula {
    /// Whether it is of one element.
    fn is_of_one(self) -> bool {
        matches!(self, Formula::Copy | Formula::Act(_) | Formula::Curve(_))
    }

    /// Whether of zeros it gives zero.
    fn keeps_zero(self) -> bool {
        match self {
            Formula::Act(act) => act.keeps_zero(),
            Formula::Curve(curve) => curve.keeps_zero(),
            Formula::Copy | Formula::Sum | Formula::Product | Formula::Gradient(_) | Formula::CurveGradient(_) => true,
        }
    }
}

/// `y = x`, or `y = y + x`. The layouts may be any two.
pub fn copy(t: &mut Tile<'_>, x: View, y: View, store: Store) {
    match (x.layout, y.layout) {
        (Layout::Plain, Layout::Plain) => apply(t, Formula::Copy, [x], y, store),
        (Layout::Blocked(from), Layout::Blocked(to)) if from.planes == to.planes => {
            apply(t, Formula::Copy, [x], y, store);
        }
        _ => {
            let Parts { reads: [from], writes: [mut to], isa, .. } = t.parts([x], [y]);
            for sample in 0..to.samples() {
                let (from, to) = (from.row(sample), to.row(sample));
                match (x.layout, y.layout) {
                    (Layout::Plain, Layout::Blocked(map)) => convert::to_blocked(isa, from, map, to, store),
                    (Layout::Blocked(map), Layout::Plain) => convert::from_blocked(isa, from, map, to, store),
                    _ => convert::between(from, x.map(), to, y.map(), store),
                }
            }
        }
    }
}

/// `y = a + b`; `y` may be the same value as `a`, as `b`, or as both.
pub fn add(t: &mut Tile<'_>, a: View, b: View, y: View) {
    apply(t, Formula::Sum, [a, b], y, Store::Write);
}

/// `y = 0`.
pub fn zero(t: &mut Tile<'_>, y: View) {
    let Parts { writes: [mut y], .. } = t.parts([], [y]);
    for sample in 0..y.samples() {
        y.row(sample).fill(0.0);
    }
}

/// `y = formula(reads)`, or adds it. When it writes, `y` may be one of the values that are read.
pub(crate) fn apply<const N: usize>(t: &mut Tile<'_>, formula: Formula, reads: [View; N], y: View, store: Store) {
    assert!(reads.iter().all(|read| agree(*read, y)), "values of one size and in the same planes");
    assert!(N == if formula.is_of_one() { 1 } else { 2 }, "what the formula is of");
    let in_place = reads.map(|read| read == y);
    assert!(store == Store::Write || !in_place.contains(&true), "a value is not added to itself");
    // What is also written is borrowed once.
    let others = reads.map(|read| if read == y { View { offset: 0, len: 0, ..y } } else { read });
    let Parts { reads: rows, writes: [mut to], isa, .. } = t.parts(others, [y]);
    let whole = reads.iter().all(|read| read.layout == y.layout);
    for sample in 0..to.samples() {
        let row = to.row(sample);
        let first = row.as_mut_ptr();
        let mut from = [first.cast_const(); 2];
        for (of, from) in from.iter_mut().enumerate() {
            // A formula of one value has it twice.
            let of = of.min(N - 1);
            if !in_place[of] {
                *from = rows[of].row(sample).as_ptr();
            }
        }
        match y.layout {
            // The halos are zero, and zero is what becomes of them, or they are cleared behind it.
            _ if whole => line(isa, formula, from, first, y.len, store),
            Layout::Blocked(map) => {
                let maps = [reads[0].map(), reads[N - 1].map()];
                lines(isa, formula, from, maps, first, map, store);
            }
            Layout::Plain => unreachable!("plain values have one layout"),
        }
        if let (Layout::Blocked(map), Store::Write) = (y.layout, store)
            && (!whole || !formula.keeps_zero())
        {
            map.clear_halo(to.row(sample));
        }
    }
}

/// `row = formula(row)`.
pub(crate) fn apply_row(isa: Isa, formula: Formula, row: &mut [f32]) {
    let first = row.as_mut_ptr();
    line(isa, formula, [first; 2].map(<*mut f32>::cast_const), first, row.len(), Store::Write);
}

/// Whether a call may have both values.
fn agree(x: View, y: View) -> bool {
    match (x.layout, y.layout) {
        (Layout::Plain, Layout::Plain) => x.len == y.len,
        (Layout::Blocked(a), Layout::Blocked(b)) => {
            a.planes == b.planes && a.size == b.size && x.len == a.len() && y.len == b.len()
        }
        _ => false,
    }
}

/// A function of lines that stands by itself, for formulas that are not in [`line_kernel`]: all of them in one function would be more
/// than a compiler takes in hand.
pub(super) type Apart = fn(Isa, Formula, [*const f32; 2], *mut f32, usize, Store);

/// Makes [`Apart`]s: `name = pattern of the formula => map, elements that it is of;`.
macro_rules! apart {
    ($($name:ident = $formula:pat => $map:expr, $count:literal;)*) => {$(
        fn $name(
            isa: crate::isa::Isa,
            formula: Formula,
            from: [*const f32; 2],
            to: *mut f32,
            len: usize,
            store: Store,
        ) {
            crate::kernels::lanes::dispatch! {
                fn all(formula: Formula, from: [*const f32; 2], to: *mut f32, len: usize, store: Store) = kernel;
            }

            #[inline(always)]
            unsafe fn kernel<W: Lanes, H: Lanes>(
                formula: Formula,
                from: [*const f32; 2],
                to: *mut f32,
                len: usize,
                store: Store,
            ) {
                let $formula = formula else {
                    unreachable!("the function of another formula");
                };
                let mut reads = [from[0]; $count];
                reads.copy_from_slice(&from[..$count]);
                // SAFETY: the caller gives so many floats, as of `math::map`.
                unsafe { math::map_once::<W, _, $count>($map, reads, to, len, store) }
            }

            all(isa, formula, from, to, len, store);
        }
    )*};
}
pub(super) use apart;

/// The function of a formula that stands by itself.
fn apart_of(formula: Formula) -> Option<Apart> {
    match formula {
        Formula::Copy | Formula::Sum | Formula::Product => None,
        Formula::Act(Act::None | Act::Relu | Act::Tanh | Act::Sigmoid) => None,
        Formula::Gradient(Act::None | Act::Relu | Act::Tanh | Act::Sigmoid) => None,
        Formula::Gradient(Act::AccurateTanh | Act::AccurateSigmoid) => None,
        Formula::Act(act) => Some(activation::line_of(act)),
        Formula::Gradient(act) => Some(activation::gradient_line_of(act)),
        Formula::Curve(curve) => Some(curve::line_of(curve)),
        Formula::CurveGradient(curve) => Some(curve::gradient_line_of(curve)),
    }
}

/// `to[i] = formula(from[0][i], from[1][i])` for `len` elements, or adds it.
fn line(isa: Isa, formula: Formula, from: [*const f32; 2], to: *mut f32, len: usize, store: Store) {
    apart_of(formula).unwrap_or(line_together)(isa, formula, from, to, len, store);
}

/// The same for values in the same planes, line by line: the halos stay as they are.
fn lines(
    isa: Isa,
    formula: Formula,
    from: [*const f32; 2],
    maps: [&Blocked; 2],
    to: *mut f32,
    to_map: &Blocked,
    store: Store,
) {
    match apart_of(formula) {
        None => lines_together(isa, formula, from, maps, to, to_map, store),
        Some(line) => {
            let lines = to_map.lines().zip(maps[0].lines().zip(maps[1].lines()));
            for ((_, line_to), ((_, a), (_, b))) in lines {
                // SAFETY: lines of each value's map, and the values have all of their maps (`agree`).
                let (from, to) = unsafe { ([from[0].add(a.start), from[1].add(b.start)], to.add(line_to.start)) };
                line(isa, formula, from, to, line_to.len(), store);
            }
        }
    }
}

dispatch! {
    /// [`line`] of the formulas that stand together.
    fn line_together(formula: Formula, from: [*const f32; 2], to: *mut f32, len: usize, store: Store) = line_kernel;
    /// [`lines`] of them.
    fn lines_together(
        formula: Formula,
        from: [*const f32; 2],
        maps: [&Blocked; 2],
        to: *mut f32,
        to_map: &Blocked,
        store: Store,
    ) = lines_kernel;
}

maps! {
    Same(1) = |a| a;
    Sum(2) = |a, b| a.add(b);
    Product(2) = |a, b| a.mul(b);
    Relu(1) = |a| math::relu(a);
    Tanh(1) = |a| math::tanh(a);
    Sigmoid(1) = |a| math::sigmoid(a);
    // 0 where y <= 0, which is where the least number above zero is larger: so what is no number lets the gradient through.
    ReluGradient(2) = |y, dy| L::splat(f32::from_bits(1)).if_greater(y, L::splat(0.0), dy);
    TanhGradient(2) = |y, dy| dy.mul(y.mul_sub_from(y, L::splat(1.0)));
    SigmoidGradient(2) = |y, dy| dy.mul(y.mul(L::splat(1.0).sub(y)));
}

#[inline(always)]
unsafe fn line_kernel<W: Lanes, H: Lanes>(
    formula: Formula,
    from: [*const f32; 2],
    to: *mut f32,
    len: usize,
    store: Store,
) {
    let [a, b] = from;
    // SAFETY: `apply` gives rows of so many floats, each the written one or apart from it.
    unsafe {
        match formula {
            Formula::Copy | Formula::Act(Act::None) => map::<W, H, _, 1>(Same, [a], to, len, store),
            Formula::Gradient(Act::None) => map::<W, H, _, 1>(Same, [b], to, len, store),
            Formula::Sum => map::<W, H, _, 2>(Sum, [a, b], to, len, store),
            Formula::Product => map::<W, H, _, 2>(Product, [a, b], to, len, store),
            Formula::Act(Act::Relu) => map::<W, H, _, 1>(Relu, [a], to, len, store),
            Formula::Act(Act::Tanh) => map::<W, H, _, 1>(Tanh, [a], to, len, store),
            Formula::Act(Act::Sigmoid) => map::<W, H, _, 1>(Sigmoid, [a], to, len, store),
            Formula::Gradient(Act::Relu) => map::<W, H, _, 2>(ReluGradient, [a, b], to, len, store),
            Formula::Gradient(Act::Tanh | Act::AccurateTanh) => map::<W, H, _, 2>(TanhGradient, [a, b], to, len, store),
            Formula::Gradient(Act::Sigmoid | Act::AccurateSigmoid) => {
                map::<W, H, _, 2>(SigmoidGradient, [a, b], to, len, store)
            }
            _ => unreachable!("`apart` has it"),
        }
    }
}

#[inline(always)]
unsafe fn lines_kernel<W: Lanes, H: Lanes>(
    formula: Formula,
    from: [*const f32; 2],
    maps: [&Blocked; 2],
    to: *mut f32,
    to_map: &Blocked,
    store: Store,
) {
    let [depths, lines, columns] = to_map.size;
    for (plane, lanes) in to_map.planes.iter().map(|plane| plane.lanes).enumerate() {
        let firsts = [maps[0], maps[1], to_map].map(|map| map.plane(plane));
        for depth in 0..depths {
            for line in 0..lines {
                let at = |of: usize, map: &Blocked| firsts[of] + map.position(depth, line, 0) * lanes;
                // SAFETY: lines of each value's map, and the values have all of their maps (`agree`).
                unsafe {
                    let from = [from[0].add(at(0, maps[0])), from[1].add(at(1, maps[1]))];
                    line_kernel::<W, H>(formula, from, to.add(at(2, to_map)), columns * lanes, store);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Bench, Random, bits, image, map, seeds};

    #[test]
    fn copies_sums_and_zeros() {
        let mut bench = Bench::new(1, 2);
        let (a, b) = (bench.value(vec![1.0, 2.0, 3.0, 4.0]), bench.value(vec![10.0, 20.0, 30.0, 40.0]));
        let y = bench.target(2, Store::Write);
        bench.run(&[y], |t| copy(t, a, y, Store::Write));
        assert_eq!(bench.get(y), [1.0, 2.0, 3.0, 4.0]);
        bench.run(&[y], |t| copy(t, b, y, Store::Add));
        assert_eq!(bench.get(y), [11.0, 22.0, 33.0, 44.0]);
        bench.run(&[y], |t| add(t, a, b, y));
        assert_eq!(bench.get(y), [11.0, 22.0, 33.0, 44.0]);
        bench.run(&[y], |t| add(t, y, b, y));
        assert_eq!(bench.get(y), [21.0, 42.0, 63.0, 84.0]);
        bench.run(&[y], |t| add(t, a, y, y));
        assert_eq!(bench.get(y), [22.0, 44.0, 66.0, 88.0]);
        bench.run(&[y], |t| add(t, y, y, y));
        assert_eq!(bench.get(y), [44.0, 88.0, 132.0, 176.0]);
        bench.run(&[y], |t| zero(t, y));
        assert_eq!(bench.get(y), [0.0; 4]);
    }

    const FORMULAS: [Formula; 18] = [
        Formula::Copy,
        Formula::Sum,
        Formula::Product,
        Formula::Act(Act::Relu),
        Formula::Act(Act::Tanh),
        Formula::Act(Act::Sigmoid),
        Formula::Gradient(Act::None),
        Formula::Gradient(Act::Relu),
        Formula::Gradient(Act::Tanh),
        Formula::Gradient(Act::Sigmoid),
        Formula::Act(Act::Hardtanh(0.25, 0.5)),
        Formula::Gradient(Act::Hardtanh(0.25, 0.5)),
        Formula::Act(Act::Softplus(1.0, 20.0)),
        Formula::Gradient(Act::Softplus(1.0, 20.0)),
        Formula::Curve(Curve::Gelu),
        Formula::CurveGradient(Curve::Gelu),
        Formula::Curve(Curve::Softplus(1.0, 0.5)),
        Formula::CurveGradient(Curve::Softplus(1.0, 0.5)),
    ];

    fn run<const N: usize>(bench: &mut Bench, formula: Formula, reads: [View; N], y: View, store: Store) {
        bench.run(&[y], |t| apply(t, formula, reads, y, store));
    }

    fn of(bench: &mut Bench, formula: Formula, a: View, b: View, y: View, store: Store) {
        match formula.is_of_one() {
            true => run(bench, formula, [a], y, store),
            false => run(bench, formula, [a, b], y, store),
        }
    }

    #[test]
    fn values_in_planes_are_as_plain_ones_whatever_their_halos() {
        for index in seeds(0..6) {
            let channels = [5, 1, 3, 12, 16, 24][index as usize];
            for isa in Isa::available() {
                let mut random = Random::new(index);
                // Smaller for Miri.
                let [lines, columns] = if cfg!(miri) { [2, 2] } else { [5, 9] };
                let size = [1, random.between(1, lines), random.between(1, columns)];
                let make = if channels == 3 { image } else { map };
                let maps = [1, 2, 2].map(|halo| make(channels, size, [0, halo, 1], [0, 1, halo]));
                let len = channels * size[1] * size[2];
                let [a_of, b_of, y_of] = [(); 3].map(|()| random.numbers(2 * len));
                for (formula, store) in FORMULAS.into_iter().flat_map(|f| [(f, Store::Write), (f, Store::Add)]) {
                    // An activation never adds.
                    if store == Store::Add && matches!(formula, Formula::Act(_) | Formula::Curve(_)) {
                        continue;
                    }
                    let mut bench = Bench::new(index, 2);
                    bench.isa = isa;
                    let [a, b] = [&a_of, &b_of].map(|floats| bench.value(floats.clone()));
                    let y = bench.value(y_of.clone());
                    of(&mut bench, formula, a, b, y, store);
                    let wanted = bits(bench.get(y));
                    // The first map differs, then none does.
                    for first in 0..2 {
                        let a = bench.planes(maps[first], &a_of, f32::NAN);
                        let b = bench.planes(maps[1], &b_of, 1e30);
                        let y = bench.target_planes(maps[2], &y_of, store);
                        of(&mut bench, formula, a, b, y, store);
                        assert_eq!(bits(&bench.elements(y)), wanted, "{isa}: {formula:?}, {store:?}");
                    }
                    if store == Store::Write {
                        let (a, b) = (bench.planes(maps[1], &a_of, 1e30), bench.planes(maps[1], &b_of, f32::NAN));
                        let in_place = if formula.is_of_one() { a } else { b };
                        of(&mut bench, formula, a, b, in_place, store);
                        assert_eq!(bits(&bench.elements(in_place)), wanted, "{isa}: {formula:?} in place");
                    }
                }
            }
        }
    }
}
