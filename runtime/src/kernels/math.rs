//! Functions and sums in plain loops that compilers turn into vector code.

/// Lanes of a sum.
const LANES: usize = 16;

/// The hyperbolic tangent, at most 7 units in the last place from it (5 where products and sums are rounded once); NaN stays NaN.
///
/// A quotient of polynomials of degree 13 and 6, as in Eigen's `generic_fast_tanh_float`. Behind 7.9 the result is 1 in f32.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let x = x.clamp(-7.905_311, 7.905_311);
    let square = x * x;
    let mut above = -2.760_768_4e-16;
    for coefficient in
        [2.000_188e-13, -8.604_672e-11, 5.122_297_3e-8, 1.485_722_36e-5, 6.372_619_3e-4, 4.893_524_6e-3_f32]
    {
        above = above * square + coefficient;
    }
    let mut below = 1.198_258_4e-6;
    for coefficient in [1.185_347_1e-4, 2.268_434_7e-3, 4.893_525e-3_f32] {
        below = below * square + coefficient;
    }
    x * above / below
}

/// The exponential function, at most 2 units in the last place from it; 0 and infinity where f32 ends, NaN stays NaN.
///
/// `2^n e^r` with a polynomial for the second factor, as in Cephes' `expf`; `2^n` is two factors, so that no step leaves f32's range
/// early.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-104.0, 89.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with so few bits that its product is exact.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5_f32] {
        p = p * r + coefficient;
    }
    let p = p * (r * r) + r + 1.0;
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    p * power(half) * power(n.wrapping_sub(half))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
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

    /// The largest distance of `y(x)` from the truth, in units of the last place of the truth.
    fn worst(range: std::ops::Range<f32>, y: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64) -> f64 {
        let steps = 2_000_000;
        (0..=steps)
            .map(|step| {
                let x = range.start + (range.end - range.start) * (step as f32 / steps as f32);
                let truth = truth(f64::from(x));
                let magnitude = (truth as f32).abs().max(f32::MIN_POSITIVE);
                let unit = f64::from(f32::from_bits(magnitude.to_bits() + 1) - magnitude);
                (f64::from(y(x)) - truth).abs() / unit
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn tanh_is_within_seven_units_and_one() {
        for range in [-10.0..10.0, -1.0..1.0, -1e-3..1e-3] {
            let worst = worst(range, tanh, f64::tanh);
            assert!(worst <= 7.0, "{worst}");
        }
        for x in [7.905_311, 8.0, 100.0, f32::MAX, f32::INFINITY] {
            assert_eq!((tanh(x), tanh(-x)), (1.0, -1.0), "{x}");
        }
        assert!((0..100_000).all(|step| tanh(7.0 + step as f32 * 1e-5) <= 1.0));
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!(tanh(0.0), 0.0);
    }

    #[test]
    fn exp_is_within_two_units() {
        for range in [-87.0..88.7, -1.0..1.0] {
            let worst = worst(range, exp, f64::exp);
            assert!(worst <= 2.0, "{worst}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
        // Below the normal numbers as well.
        assert!((f64::from(exp(-100.0)) - (-100.0_f64).exp()).abs() <= 1.5e-45);
    }

    #[test]
    fn sigmoid_is_accurate_and_ends_at_zero_and_one() {
        let worst = worst(-80.0..20.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        assert!(worst <= 4.0, "{worst}");
        assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)), (1.0, 0.0));
        assert!(sigmoid(f32::NAN).is_nan());
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
