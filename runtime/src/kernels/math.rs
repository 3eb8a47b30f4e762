//! Functions of vectors, loops that map slices by them, and sums in plain loops that compilers turn into vector code.
#![allow(unsafe_code)]
// Arrays of vectors stay in registers when plain loop variables index them.
#![allow(clippy::needless_range_loop)]

use crate::kernels::Store;
use crate::kernels::lanes::Lanes;

/// Lanes of a sum.
const LANES: usize = 16;

/// `max(x, 0)`. A NaN is not below zero.
///
/// # Safety
///
/// That of [`Lanes`], as for all functions of vectors here.
#[inline(always)]
pub(crate) unsafe fn relu<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe { L::splat(0.0).max(x) }
}

/// `x` between two numbers; NaN stays NaN.
#[inline(always)]
pub(crate) unsafe fn clamp<L: Lanes>(x: L, least: f32, most: f32) -> L {
    // SAFETY: the caller's.
    unsafe { L::splat(most).min(L::splat(least).max(x)) }
}

/// The polynomial of these coefficients, the highest first.
#[inline(always)]
unsafe fn polynomial<L: Lanes, const N: usize>(x: L, coefficients: [f32; N]) -> L {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = L::splat(coefficients[0]);
        let mut next = 1;
        while next < N {
            sum = sum.mul_add(x, L::splat(coefficients[next]));
            next += 1;
        }
        sum
    }
}

/// The hyperbolic tangent, at most 7 units in the last place from it (5 where products and sums are rounded once); NaN stays NaN.
///
/// A quotient of polynomials of degree 13 and 6, as in Eigen's `generic_fast_tanh_float`. From 8.08 on it is 1, rounded once or twice.
#[inline(always)]
pub(crate) unsafe fn tanh<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let x = clamp(x, -8.078_094_5, 8.078_094_5);
        let square = x.mul(x);
        let above = polynomial(
            square,
            [
                -2.760_768_4e-16,
                2.000_188e-13,
                -8.604_672e-11,
                5.122_297_3e-8,
                1.485_722_36e-5,
                6.372_619_3e-4,
                4.893_524_6e-3,
            ],
        );
        let below = polynomial(square, [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_7e-3, 4.893_525e-3]);
        // Near the ends the quotient may be a step above 1.
        clamp(x.mul(above).quotient(below), -1.0, 1.0)
    }
}

/// [`tanh`] for exact numerics, at most 1 unit in the last place from it (1.2 where products and sums are rounded apart); NaN stays NaN.
///
/// Up to 1 an odd polynomial of degree 17 that is best there (4e-10), above `1 - 2 / (e^2x + 1)`, of which the one hides the rounding.
#[inline(always)]
pub(crate) unsafe fn accurate_tanh<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let (zero, one, two) = (L::splat(0.0), L::splat(1.0), L::splat(2.0));
        let (square, size) = (x.mul(x), x.max(zero.sub(x)));
        let p = polynomial(
            square,
            [
                1.214_707_4e-4,
                -8.411_373e-4,
                3.078_594_3e-3,
                -8.595_115e-3,
                2.178_473e-2,
                -5.395_31e-2,
                1.333_32e-1,
                -3.333_332_8e-1,
            ],
        );
        // The sum of zeros of both signs would be a zero without one.
        let near = size.if_greater(zero, x.mul(square).mul_add(p, x), x);
        let far = one.sub(two.div(exp(size.add(size)).add(one)));
        let far = x.if_greater(zero, far, zero.sub(far));
        size.if_greater(one, far, near)
    }
}

/// The exponential function, at most 2 units in the last place from it; 0 and infinity where f32 ends, NaN stays NaN.
///
/// `2^n e^r` with a polynomial for the second factor, as in Cephes' `expf`.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let x = clamp(x, -104.0, 89.0);
        let shifted = x.mul_add(L::splat(std::f32::consts::LOG2_E), L::splat(ROUND));
        let n = shifted.sub(L::splat(ROUND));
        // ln 2 in two parts, the first with so few bits that its product is exact.
        let r = n.mul_add(L::splat(2.121_944_4e-4), n.mul_sub_from(L::splat(0.693_359_4), x));
        let p = polynomial(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
        scale(p.mul_add(r.mul(r), r).add(L::splat(1.0)), shifted)
    }
}

/// Adding it rounds to a whole number, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;

/// `2^n y`, where `shifted` is n + [`ROUND`]. The power is two factors, so that no step leaves f32's range early.
#[inline(always)]
unsafe fn scale<L: Lanes>(y: L, shifted: L) -> L {
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
    // SAFETY: no vector has more than `LANES` floats; the rest is the caller's.
    unsafe {
        shifted.store(first.as_mut_ptr());
        for lane in 0..L::COUNT {
            let n = (first[lane].to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
            let half = n >> 1;
            (first[lane], second[lane]) = (power(half), power(n.wrapping_sub(half)));
        }
        y.mul(L::load(first.as_ptr())).mul(L::load(second.as_ptr()))
    }
}

/// `e^x - 1` of x from 0 down, at most 3 units in the last place from it; -1 where f32 ends, NaN stays NaN.
///
/// As [`exp`], but the one that is taken away goes into the power of two, so that nothing is lost near zero.
#[inline(always)]
pub(crate) unsafe fn exp_less_one<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        // Below, it is -1, rounded.
        let x = clamp(x, -25.0, 0.0);
        let shifted = x.mul_add(L::splat(std::f32::consts::LOG2_E), L::splat(ROUND));
        let n = shifted.sub(L::splat(ROUND));
        let r = n.mul_add(L::splat(2.121_944_4e-4), n.mul_sub_from(L::splat(0.693_359_4), x));
        let p = polynomial(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
        let power = scale(L::splat(1.0), shifted);
        p.mul_add(r.mul(r), r).mul_add(power, power.sub(L::splat(1.0)))
    }
}

/// `log(1 + u)` of u from 0 to 1, at most 4 units in the last place from it.
///
/// `2 artanh(s)` with `s = u / (2 + u)`, the series to its tenth power with coefficients that are best on this range (4e-9).
#[inline(always)]
unsafe fn log_one_more<L: Lanes>(u: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let s = u.div(L::splat(2.0).add(u));
        let square = s.mul(s);
        let series = polynomial(square, [0.140_891_67, 0.139_803, 0.200_124_55, 0.333_331_57]);
        let twice = s.add(s);
        twice.mul(square).mul_add(series, twice)
    }
}

/// `log(1 + e^(beta x)) / beta`, and x where `beta x` is above the threshold.
#[inline(always)]
pub(crate) unsafe fn softplus<L: Lanes>(x: L, beta: f32, threshold: f32) -> L {
    // SAFETY: the caller's.
    unsafe {
        let scaled = x.mul(L::splat(beta));
        let other = L::splat(0.0).sub(scaled);
        // e^-|beta x| is at most 1. NaN is in both parts.
        let far = exp(scaled.min(other));
        let y = relu(scaled).add(log_one_more(far)).div(L::splat(beta));
        scaled.if_greater(L::splat(threshold), x, y)
    }
}

/// The normal distribution, of mean 0 and variance 1: how much of it lies below x (within 2e-7), and its density at x (within 1e-7).
///
/// `Q(t) = k p(k) e^(-t^2 / 2)` with `k = 1 / (1 + 0.3 t)` is what lies above t = |x|, the form of Abramowitz and Stegun 26.2.17 with a
/// polynomial of degree 9 that is best for t up to 14.5 (3.5e-9 of Q).
#[inline(always)]
pub(crate) unsafe fn normal<L: Lanes>(x: L) -> (L, L) {
    // SAFETY: the caller's.
    unsafe {
        let (zero, one) = (L::splat(0.0), L::splat(1.0));
        let far = x.max(zero.sub(x));
        let bell = exp(x.mul(x).mul(L::splat(-0.5)));
        let k = one.div(far.mul_add(L::splat(0.3), one));
        let p = polynomial(
            k,
            [
                -0.020_623_47,
                0.112_435_62,
                -0.228_213_6,
                0.191_784_54,
                -0.079_423_496,
                0.096_156_835,
                0.078_389_65,
                0.110_235_42,
                0.119_571_81,
                0.119_686_69,
            ],
        );
        let above = bell.mul(k.mul(p));
        (x.if_greater(zero, one.sub(above), above), bell.mul(L::splat(0.398_942_3)))
    }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) unsafe fn sigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let one = L::splat(1.0);
        one.div(one.add(exp(L::splat(0.0).sub(x))))
    }
}

/// [`sigmoid`] for exact numerics, at most 2 units in the last place from it: what the sum in the denominator rounds away is put right.
#[inline(always)]
pub(crate) unsafe fn accurate_sigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let (zero, one) = (L::splat(0.0), L::splat(1.0));
        // At most 1, so that the sum loses nothing of the one.
        let e = exp(x.min(zero.sub(x)));
        let sum = one.add(e);
        let lost = e.sub(sum.sub(one));
        let y = x.if_greater(zero, one, e).div(sum);
        y.div(sum).mul_sub_from(lost, y)
    }
}

/// A function of N elements, lane by lane.
pub(crate) trait Map<const N: usize>: Copy {
    /// # Safety
    ///
    /// That of [`Lanes`].
    unsafe fn of<L: Lanes>(self, x: [L; N]) -> L;
}

/// Names [`Map`]s of one or more elements: `Name(N) = |a, b, …| value;`, where the value may use whatever takes vectors. One with numbers
/// of its own, `Name { number, … }(N) = …`, is a struct of them.
macro_rules! maps {
    () => {};
    ($name:ident($count:literal) = |$($x:ident),*| $value:expr; $($rest:tt)*) => {
        #[derive(Clone, Copy)]
        struct $name;

        crate::kernels::math::maps!(@of $name {} ($count) = |$($x),*| $value);
        crate::kernels::math::maps! { $($rest)* }
    };
    ($name:ident { $($number:ident),* }($count:literal) = |$($x:ident),*| $value:expr; $($rest:tt)*) => {
        #[derive(Clone, Copy)]
        struct $name {
            $($number: f32),*
        }

        crate::kernels::math::maps!(@of $name { $($number),* } ($count) = |$($x),*| $value);
        crate::kernels::math::maps! { $($rest)* }
    };
    (@of $name:ident { $($number:ident),* } ($count:literal) = |$($x:ident),*| $value:expr) => {
        impl crate::kernels::math::Map<$count> for $name {
            #[inline(always)]
            unsafe fn of<L: crate::kernels::lanes::Lanes>(self, [$($x),*]: [L; $count]) -> L {
                let $name { $($number),* } = self;
                // SAFETY: the caller's, that of `Lanes`.
                #[allow(unused_unsafe)]
                unsafe {
                    $value
                }
            }
        }
    };
}
pub(crate) use maps;

/// `to[i] = map(from[0][i], from[1][i], …)`, or adds it.
///
/// # Safety
///
/// That of [`Lanes`]. `from` and `to` point to `len` floats each; `to` is one of `from`, the same pointer, or overlaps none.
#[inline(always)]
pub(crate) unsafe fn map<W: Lanes, H: Lanes, M: Map<N>, const N: usize>(
    map: M,
    from: [*const f32; N],
    to: *mut f32,
    len: usize,
    store: Store,
) {
    // SAFETY: as the caller says.
    unsafe {
        match store {
            Store::Write => map_all::<W, H, M, N, false>(map, from, to, len),
            Store::Add => map_all::<W, H, M, N, true>(map, from, to, len),
        }
    }
}

/// [`map`] of floats in place. One pointer reads and writes: another one of the slice would end it.
///
/// # Safety
///
/// That of [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn map_in_place<W: Lanes, H: Lanes, M: Map<1>>(of: M, x: &mut [f32]) {
    let (to, len) = (x.as_mut_ptr(), x.len());
    // SAFETY: the caller's; the slice has so many floats.
    unsafe { map::<W, H, M, 1>(of, [to], to, len, Store::Write) }
}

#[inline(always)]
unsafe fn map_all<W: Lanes, H: Lanes, M: Map<N>, const N: usize, const ADDS: bool>(
    map: M,
    from: [*const f32; N],
    to: *mut f32,
    len: usize,
) {
    // SAFETY: `at` and the vector behind it are inside all of them, by the caller's word; what is left at the end is copied to and from
    // arrays that have room for a vector.
    unsafe {
        let mut at = 0;
        while at + W::COUNT <= len {
            map_one::<W, M, N, ADDS>(map, from, to, at);
            at += W::COUNT;
        }
        while at + H::COUNT <= len {
            map_one::<H, M, N, ADDS>(map, from, to, at);
            at += H::COUNT;
        }
        let left = len - at;
        if left > 0 {
            let mut last = [[0.0; 8]; N];
            let mut last_to = [0.0; 8];
            for lane in 0..left {
                for of in 0..N {
                    last[of][lane] = *from[of].add(at + lane);
                }
                last_to[lane] = if ADDS { *to.add(at + lane) } else { 0.0 };
            }
            let mut first = from;
            for of in 0..N {
                first[of] = last[of].as_ptr();
            }
            map_one::<H, M, N, ADDS>(map, first, last_to.as_mut_ptr(), 0);
            for lane in 0..left {
                *to.add(at + lane) = last_to[lane];
            }
        }
    }
}

/// [`map`] of a function so long that it had better stand in the code once: what is left behind the last whole vector goes the same way,
/// through arrays.
///
/// # Safety
///
/// As of [`map`].
#[inline(always)]
pub(crate) unsafe fn map_once<L: Lanes, M: Map<N>, const N: usize>(
    map: M,
    from: [*const f32; N],
    to: *mut f32,
    len: usize,
    store: Store,
) {
    let mut last = [[0.0; LANES]; N];
    let mut last_to = [0.0; LANES];
    let mut at = 0;
    while at < len {
        let count = L::COUNT.min(len - at);
        let is_whole = count == L::COUNT;
        // SAFETY: `count` floats from `at` on are inside all of them, by the caller's word; the arrays have room for a vector.
        unsafe {
            let (mut first, mut first_to) = (from, to.add(at));
            for of in 0..N {
                first[of] = from[of].add(at);
                if !is_whole {
                    first[of].copy_to_nonoverlapping(last[of].as_mut_ptr(), count);
                    first[of] = last[of].as_ptr();
                }
            }
            if !is_whole {
                to.add(at).copy_to_nonoverlapping(last_to.as_mut_ptr(), count);
                first_to = last_to.as_mut_ptr();
            }
            let mut x = [L::splat(0.0); N];
            for of in 0..N {
                x[of] = L::load(first[of]);
            }
            let y = map.of(x);
            let y = if store == Store::Add { L::load(first_to).add(y) } else { y };
            y.store(first_to);
            if !is_whole {
                to.add(at).copy_from_nonoverlapping(last_to.as_ptr(), count);
            }
        }
        at += count;
    }
}

/// One vector of it, from `at` on.
#[inline(always)]
unsafe fn map_one<L: Lanes, M: Map<N>, const N: usize, const ADDS: bool>(
    map: M,
    from: [*const f32; N],
    to: *mut f32,
    at: usize,
) {
    // SAFETY: as the caller says.
    unsafe {
        let mut x = [L::splat(0.0); N];
        for of in 0..N {
            x[of] = L::load(from[of].add(at));
        }
        let y = map.of(x);
        let y = if ADDS { L::load(to.add(at)).add(y) } else { y };
        y.store(to.add(at));
    }
}

/// The sums of two functions of pairs of elements, each lane by lane, then the lanes: an order that only the length fixes.
#[inline(always)]
pub(crate) fn sums(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> [f32; 2]) -> [f64; 2] {
    let mut first = [0.0; LANES];
    let mut second = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let values = of(a[lane], b[lane]);
            first[lane] += values[0];
            second[lane] += values[1];
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        let values = of(a, b);
        first[lane] += values[0];
        second[lane] += values[1];
    }
    [first, second].map(|lanes| lanes.iter().map(|&lane| f64::from(lane)).sum())
}

/// The sum of a slice.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f64 {
    if values.len() < LANES {
        return values.iter().map(|&value| f64::from(value)).sum();
    }
    sums(values, values, |value, _| [value, 0.0])[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::lanes::dispatch;
    use crate::kernels::testing::bits;

    maps! {
        Tanh(1) = |x| tanh(x);
        Exp(1) = |x| exp(x);
        Sigmoid(1) = |x| sigmoid(x);
        ExpLessOne(1) = |x| exp_less_one(x);
        Softplus(1) = |x| softplus(x, 1.0, 20.0);
        Below(1) = |x| normal(x).0;
        Density(1) = |x| normal(x).1;
        AccurateTanh(1) = |x| accurate_tanh(x);
        AccurateSigmoid(1) = |x| accurate_sigmoid(x);
    }

    dispatch! {
        fn tanh_of(x: &mut [f32]) = of_tanh;
        fn exp_of(x: &mut [f32]) = of_exp;
        fn sigmoid_of(x: &mut [f32]) = of_sigmoid;
        fn exp_less_one_of(x: &mut [f32]) = of_exp_less_one;
        fn softplus_of(x: &mut [f32]) = of_softplus;
        fn below_of(x: &mut [f32]) = of_below;
        fn density_of(x: &mut [f32]) = of_density;
        fn accurate_tanh_of(x: &mut [f32]) = of_accurate_tanh;
        fn accurate_sigmoid_of(x: &mut [f32]) = of_accurate_sigmoid;
    }

    #[inline(always)]
    unsafe fn once_in_place<L: Lanes, M: Map<1>>(of: M, x: &mut [f32]) {
        let (to, len) = (x.as_mut_ptr(), x.len());
        // SAFETY: the caller's; the slice has so many floats.
        unsafe { map_once::<L, M, 1>(of, [to], to, len, Store::Write) }
    }

    #[inline(always)]
    unsafe fn of_tanh<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: the caller's.
        unsafe { map_in_place::<W, H, _>(Tanh, x) }
    }

    #[inline(always)]
    unsafe fn of_exp<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { map_in_place::<W, H, _>(Exp, x) }
    }

    #[inline(always)]
    unsafe fn of_sigmoid<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { map_in_place::<W, H, _>(Sigmoid, x) }
    }

    #[inline(always)]
    unsafe fn of_exp_less_one<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { once_in_place::<W, _>(ExpLessOne, x) }
    }

    #[inline(always)]
    unsafe fn of_softplus<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { once_in_place::<W, _>(Softplus, x) }
    }

    #[inline(always)]
    unsafe fn of_below<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { once_in_place::<W, _>(Below, x) }
    }

    #[inline(always)]
    unsafe fn of_density<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { once_in_place::<W, _>(Density, x) }
    }

    #[inline(always)]
    unsafe fn of_accurate_tanh<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { map_in_place::<W, H, _>(AccurateTanh, x) }
    }

    #[inline(always)]
    unsafe fn of_accurate_sigmoid<W: Lanes, H: Lanes>(x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { map_in_place::<W, H, _>(AccurateSigmoid, x) }
    }

    type Function = fn(Isa, &mut [f32]);

    /// The largest distance of `y(x)` from the truth, in units of the last place of the truth.
    fn worst(isa: Isa, range: std::ops::Range<f32>, y: Function, truth: impl Fn(f64) -> f64) -> f64 {
        // Fewer under Miri, which is some thousand times slower.
        let steps = if cfg!(miri) { 500 } else { 500_001 };
        let x: Vec<f32> =
            (0..=steps).map(|step| range.start + (range.end - range.start) * (step as f32 / steps as f32)).collect();
        let mut results = x.clone();
        y(isa, &mut results);
        x.iter()
            .zip(results)
            .map(|(&x, y)| {
                let truth = truth(f64::from(x));
                let magnitude = (truth as f32).abs().max(f32::MIN_POSITIVE);
                let unit = f64::from(f32::from_bits(magnitude.to_bits() + 1) - magnitude);
                (f64::from(y) - truth).abs() / unit
            })
            .fold(0.0, f64::max)
    }

    fn of(isa: Isa, y: Function, x: f32) -> f32 {
        let mut row = [x; 3];
        y(isa, &mut row);
        assert!(row.iter().all(|y| y.to_bits() == row[0].to_bits()));
        row[0]
    }

    #[test]
    fn tanh_is_within_seven_units_and_one() {
        for isa in Isa::available() {
            for range in [-10.0..10.0, -1.0..1.0, -1e-3..1e-3] {
                let worst = worst(isa, range, tanh_of, f64::tanh);
                assert!(worst <= if isa == Isa::PORTABLE { 7.0 } else { 5.0 }, "{isa}: {worst}");
            }
            for x in [8.1, 100.0, f32::MAX, f32::INFINITY] {
                assert_eq!((of(isa, tanh_of, x), of(isa, tanh_of, -x)), (1.0, -1.0), "{isa}: {x}");
            }
            let mut end: Vec<f32> = (0..100_000).map(|step| 7.0 + step as f32 * 1e-5).collect();
            tanh_of(isa, &mut end);
            assert!(end.iter().all(|&y| y <= 1.0), "{isa}");
            assert!(of(isa, tanh_of, f32::NAN).is_nan());
            assert_eq!(of(isa, tanh_of, 0.0), 0.0);
        }
    }

    #[test]
    fn accurate_tanh_is_within_a_unit() {
        for isa in Isa::available() {
            let most = if isa == Isa::PORTABLE { 1.2 } else { 1.0 };
            for range in [-10.0..10.0, -1.1..-0.9, 0.9..1.1, -0.5..0.5, -1e-3..1e-3, -1e-30..1e-30] {
                let worst = worst(isa, range.clone(), accurate_tanh_of, f64::tanh);
                assert!(worst <= most, "{isa}, {range:?}: {worst}");
            }
            for x in [9.1, 50.0, f32::MAX, f32::INFINITY] {
                assert_eq!((of(isa, accurate_tanh_of, x), of(isa, accurate_tanh_of, -x)), (1.0, -1.0), "{isa}: {x}");
            }
            assert!(of(isa, accurate_tanh_of, f32::NAN).is_nan());
            assert_eq!(of(isa, accurate_tanh_of, -0.0).to_bits(), (-0.0_f32).to_bits());
        }
    }

    #[test]
    fn accurate_sigmoid_is_within_two_units() {
        for isa in Isa::available() {
            for range in [-80.0..20.0, -1.0..1.0, -1e-3..1e-3] {
                let worst = worst(isa, range.clone(), accurate_sigmoid_of, |x| 1.0 / (1.0 + (-x).exp()));
                assert!(worst <= 2.0, "{isa}, {range:?}: {worst}");
            }
            let sigmoid = |x| of(isa, accurate_sigmoid_of, x);
            assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY), sigmoid(0.0)), (1.0, 0.0, 0.5));
            assert!(sigmoid(f32::NAN).is_nan());
        }
    }

    #[test]
    fn exp_is_within_two_units() {
        for isa in Isa::available() {
            for range in [-87.0..88.7, -1.0..1.0] {
                let worst = worst(isa, range, exp_of, f64::exp);
                assert!(worst <= 2.0, "{isa}: {worst}");
            }
            let exp = |x| of(isa, exp_of, x);
            assert_eq!((exp(0.0), exp(f32::INFINITY), exp(89.0)), (1.0, f32::INFINITY, f32::INFINITY));
            assert_eq!(exp(f32::NEG_INFINITY), 0.0);
            assert!(exp(f32::NAN).is_nan());
            // Below the normal numbers as well.
            assert!((f64::from(exp(-100.0)) - (-100.0_f64).exp()).abs() <= 1.5e-45);
        }
    }

    #[test]
    fn sigmoid_is_accurate_and_ends_at_zero_and_one() {
        for isa in Isa::available() {
            let worst = worst(isa, -80.0..20.0, sigmoid_of, |x| 1.0 / (1.0 + (-x).exp()));
            assert!(worst <= 4.0, "{isa}: {worst}");
            let sigmoid = |x| of(isa, sigmoid_of, x);
            assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)), (1.0, 0.0));
            assert!(sigmoid(f32::NAN).is_nan());
        }
    }

    #[test]
    fn the_exponential_less_one_is_accurate_near_zero_too() {
        for isa in Isa::available() {
            for range in [-30.0..0.0, -1.0..0.0, -1e-3..0.0] {
                let worst = worst(isa, range, exp_less_one_of, f64::exp_m1);
                assert!(worst <= 3.0, "{isa}: {worst}");
            }
            let value = |x| of(isa, exp_less_one_of, x);
            assert_eq!((value(0.0), value(-100.0), value(f32::NEG_INFINITY)), (0.0, -1.0, -1.0));
            assert!(value(f32::NAN).is_nan());
        }
    }

    #[test]
    fn softplus_is_within_six_units_and_ends_as_a_line() {
        for isa in Isa::available() {
            for range in [-80.0..0.0, 0.0..30.0, -1.0..1.0] {
                let worst = worst(isa, range, softplus_of, |x| x.max(0.0) + (-x.abs()).exp().ln_1p());
                assert!(worst <= 6.0, "{isa}: {worst}");
            }
            let value = |x| of(isa, softplus_of, x);
            assert_eq!((value(f32::INFINITY), value(f32::NEG_INFINITY), value(21.0)), (f32::INFINITY, 0.0, 21.0));
            assert!(value(f32::NAN).is_nan());
        }
    }

    /// What lies below x, by Simpson's rule from 0 on.
    fn below(x: f64) -> f64 {
        let steps = 2_000;
        let step = x / f64::from(steps);
        let weight = |at: i32| if at == 0 || at == steps { 1.0 } else { f64::from(2 + 2 * (at % 2)) };
        let sum: f64 = (0..=steps).map(|at| weight(at) * (-(step * f64::from(at)).powi(2) / 2.0).exp()).sum();
        0.5 + sum * step / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn the_normal_distribution_is_within_2e_7() {
        // Fewer under Miri.
        let step = if cfg!(miri) { 90 } else { 1 };
        let x: Vec<f32> = (-1_000..=1_000).step_by(step).map(|at| at as f32 * 0.01).collect();
        let truth: Vec<f64> = x.iter().map(|&x| below(f64::from(x))).collect();
        for isa in Isa::available() {
            let (mut found, mut density) = (x.clone(), x.clone());
            below_of(isa, &mut found);
            density_of(isa, &mut density);
            for ((&x, found), (density, truth)) in x.iter().zip(&found).zip(density.iter().zip(&truth)) {
                assert!((f64::from(*found) - truth).abs() <= 2e-7, "{isa}: {x}: {found}, not {truth}");
                let truth = (-f64::from(x).powi(2) / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
                assert!((f64::from(*density) - truth).abs() <= 1e-7, "{isa}: {x}: {density}, not {truth}");
            }
            let value = |x| of(isa, below_of, x);
            assert_eq!((value(f32::INFINITY), value(f32::NEG_INFINITY), value(1e30)), (1.0, 0.0, 1.0));
            assert!(value(f32::NAN).is_nan());
            // Far out it is still a part of what is there, not of 1.
            let ratio = f64::from(value(-9.0)) / 1.128_588_405_953_841e-19;
            assert!((ratio - 1.0).abs() < 1e-5, "{isa}: {ratio}");
        }
    }

    #[test]
    fn vectors_of_any_width_give_the_same_bits() {
        let fused: Vec<Isa> = Isa::available().filter(|&isa| isa != Isa::PORTABLE).collect();
        let step = if cfg!(miri) { 100 } else { 1 };
        let x: Vec<f32> = (0..10_001).step_by(step).map(|i| (i as f32 - 5000.0) * 0.01).collect();
        let functions = [
            tanh_of,
            exp_of,
            sigmoid_of,
            exp_less_one_of,
            softplus_of,
            below_of,
            density_of,
            accurate_tanh_of,
            accurate_sigmoid_of,
        ];
        for function in functions {
            let results: Vec<Vec<u32>> = fused
                .iter()
                .map(|&isa| {
                    let mut y = x.clone();
                    function(isa, &mut y);
                    bits(&y)
                })
                .collect();
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }

    #[test]
    fn sums_have_every_element_once() {
        for len in [0, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let expected: f64 = a.iter().map(|&a| f64::from(a)).sum();
            assert_eq!(sum(&a), expected);
            assert_eq!(sums(&a, &a, |a, b| [a + b, 1.0]), [2.0 * expected, len as f64]);
        }
    }
}
