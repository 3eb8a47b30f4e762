//! Curves: maps of elements whose derivative is a function of what comes in. They fall somewhere, or their derivative is not told by
//! their result.
#![allow(unsafe_code)]

use crate::arena::{Tile, View};
use crate::kernels::Store;
use crate::kernels::elementwise::{self, Apart, Formula, apart};
use crate::kernels::lanes::Lanes;
use crate::kernels::math::{self, maps};

/// A map of elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Curve {
    /// `y = x P(x)`, P(x) being how much of the normal distribution lies below x; `y' = P(x) + x p(x)`, p its density (Hendrycks and
    /// Gimpel, *Gaussian Error Linear Units*, 2016).
    Gelu,
    /// `y = x (1 + tanh u) / 2`, `u = sqrt(2 / pi) (x + 0.044715 x^3)`: nearly the same.
    GeluTanh,
    /// `y = x s`, `s = 1 / (1 + e^-x)`; `y' = s (1 + x (1 - s))`.
    Silu,
    /// `y = x min(max(x + 3, 0), 6) / 6`; `y' = x / 3 + 1/2` between -3 and 3, 0 below, 1 above.
    Hardswish,
    /// [`Act::Softplus`](crate::kernels::Act::Softplus) of any threshold; `y' = 1 / (1 + e^(-beta x))` up to it, 1 above.
    Softplus(f32, f32),
}

impl Curve {
    /// Whether 0 stays 0.
    pub(crate) fn keeps_zero(self) -> bool {
        !matches!(self, Curve::Softplus(..))
    }
}

/// `y = curve(x)`; `x` and `y` may be the same value.
pub fn forward(t: &mut Tile<'_>, curve: Curve, x: View, y: View) {
    elementwise::apply(t, Formula::Curve(curve), [x], y, Store::Write);
}

/// `dx = dy curve'(x)`; `dy` and `dx` may be the same value when `store` writes.
pub fn backward(t: &mut Tile<'_>, curve: Curve, x: View, dy: View, dx: View, store: Store) {
    elementwise::apply(t, Formula::CurveGradient(curve), [x, dy], dx, store);
}

/// `sqrt(2 / pi)`
const SLOPE: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;

/// `tanh(sqrt(2 / pi) (x + 0.044715 x^3))`.
#[inline(always)]
unsafe fn bend<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's, as for all functions of vectors here.
    unsafe {
        let square = x.mul(x);
        math::tanh(x.mul(L::splat(SLOPE)).mul(square.mul_add(L::splat(CUBE), L::splat(1.0))))
    }
}

#[inline(always)]
unsafe fn gelu_derivative<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let (below, density) = math::normal(x);
        x.mul_add(density, below)
    }
}

/// `(1 + t) / 2 + x (1 - t^2) u' / 2`, with `t = tanh u` and `u' = sqrt(2 / pi) (1 + 3 0.044715 x^2)`.
#[inline(always)]
unsafe fn gelu_tanh_derivative<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let (one, half) = (L::splat(1.0), L::splat(0.5));
        let t = bend(x);
        let of_u = x.mul(x).mul_add(L::splat(3.0 * CUBE), one).mul(L::splat(SLOPE));
        let steep = x.mul(half).mul(t.mul_sub_from(t, one)).mul(of_u);
        half.mul_add(one.add(t), steep)
    }
}

#[inline(always)]
unsafe fn silu_derivative<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let one = L::splat(1.0);
        let s = math::sigmoid(x);
        s.mul(x.mul_add(one.sub(s), one))
    }
}

/// 0 up to -3, `dy` from 3 on, `dy (x / 3 + 1/2)` between them and of NaN.
#[inline(always)]
unsafe fn hardswish_gradient<L: Lanes>(x: L, dy: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        // What is no number is neither above nor below.
        let inside = dy.mul(x.div(L::splat(3.0)).add(L::splat(0.5)));
        let up_to_end = x.if_greater(L::splat(3_f32.next_down()), dy, inside);
        L::splat((-3_f32).next_up()).if_greater(x, L::splat(0.0), up_to_end)
    }
}

#[inline(always)]
unsafe fn softplus_derivative<L: Lanes>(x: L, beta: f32, threshold: f32) -> L {
    // SAFETY: the caller's.
    unsafe {
        let scaled = x.mul(L::splat(beta));
        scaled.if_greater(L::splat(threshold), L::splat(1.0), math::sigmoid(scaled))
    }
}

maps! {
    Gelu(1) = |x| x.mul(math::normal(x).0);
    GeluTanh(1) = |x| x.mul(L::splat(0.5)).mul(L::splat(1.0).add(bend(x)));
    Silu(1) = |x| x.div(L::splat(1.0).add(math::exp(L::splat(0.0).sub(x))));
    Hardswish(1) = |x| x.mul(math::clamp(x.add(L::splat(3.0)), 0.0, 6.0)).div(L::splat(6.0));
    Softplus { beta, threshold }(1) = |x| math::softplus(x, beta, threshold);
    GeluGradient(2) = |x, dy| dy.mul(gelu_derivative(x));
    GeluTanhGradient(2) = |x, dy| dy.mul(gelu_tanh_derivative(x));
    SiluGradient(2) = |x, dy| dy.mul(silu_derivative(x));
    HardswishGradient(2) = |x, dy| hardswish_gradient(x, dy);
    SoftplusGradient { beta, threshold }(2) = |x, dy| dy.mul(softplus_derivative(x, beta, threshold));
}

apart! {
    gelu_line = Formula::Curve(Curve::Gelu) => Gelu, 1;
    gelu_tanh_line = Formula::Curve(Curve::GeluTanh) => GeluTanh, 1;
    silu_line = Formula::Curve(Curve::Silu) => Silu, 1;
    hardswish_line = Formula::Curve(Curve::Hardswish) => Hardswish, 1;
    softplus_line = Formula::Curve(Curve::Softplus(beta, threshold)) => Softplus { beta, threshold }, 1;
    gelu_gradient = Formula::CurveGradient(Curve::Gelu) => GeluGradient, 2;
    gelu_tanh_gradient = Formula::CurveGradient(Curve::GeluTanh) => GeluTanhGradient, 2;
    silu_gradient = Formula::CurveGradient(Curve::Silu) => SiluGradient, 2;
    hardswish_gradient_line = Formula::CurveGradient(Curve::Hardswish) => HardswishGradient, 2;
    softplus_gradient = Formula::CurveGradient(Curve::Softplus(beta, threshold)) => SoftplusGradient { beta, threshold }, 2;
}

/// The function of a curve.
pub(super) fn line_of(curve: Curve) -> Apart {
    match curve {
        Curve::Gelu => gelu_line,
        Curve::GeluTanh => gelu_tanh_line,
        Curve::Silu => silu_line,
        Curve::Hardswish => hardswish_line,
        Curve::Softplus(..) => softplus_line,
    }
}

/// That of its gradient.
pub(super) fn gradient_line_of(curve: Curve) -> Apart {
    match curve {
        Curve::Gelu => gelu_gradient,
        Curve::GeluTanh => gelu_tanh_gradient,
        Curve::Silu => silu_gradient,
        Curve::Hardswish => hardswish_gradient_line,
        Curve::Softplus(..) => softplus_gradient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, assert_close};

    const ALL: [Curve; 6] = [
        Curve::Gelu,
        Curve::GeluTanh,
        Curve::Silu,
        Curve::Hardswish,
        Curve::Softplus(1.0, 0.5),
        Curve::Softplus(2.0, 20.0),
    ];

    #[test]
    fn curves_and_their_gradients_are_their_twins() {
        for (seed, curve) in ALL.into_iter().enumerate() {
            for (in_place, isa) in [false, true].into_iter().flat_map(|p| Isa::available().map(move |isa| (p, isa))) {
                for store in [Store::Write, Store::Add] {
                    if in_place && store == Store::Add {
                        continue;
                    }
                    let mut bench = Bench::new(seed as u64, 3);
                    bench.isa = isa;
                    let numbers: Vec<f32> = bench.random.numbers(3 * 77).iter().map(|x| 6.0 * x).collect();
                    let x_of: Vec<f64> = numbers.iter().map(|&x| f64::from(x)).collect();
                    let x = bench.value(numbers);
                    let dy = bench.numbers(77);
                    let dx = if in_place { dy } else { bench.target(77, store) };
                    let y = bench.target(77, Store::Write);
                    let (before, dy_of) = (bench.wide(dx), bench.wide(dy));
                    bench.run(&[y], |t| forward(t, curve, x, y));
                    bench.run(&[dx], |t| backward(t, curve, x, dy, dx, store));
                    let twins: Vec<f64> = x_of.iter().map(|&x| naive::curve(curve, x)).collect();
                    // 2e-7 of a factor x for the normal distribution, seven units for the others.
                    let scales: Vec<f64> = x_of.iter().map(|x| x.abs().max(0.5)).collect();
                    assert_close("forward", bench.get(y), &twins, &scales, 8.0 / f64::from(1 << 24));
                    let twins: Vec<f64> = (x_of.iter().zip(dy_of).zip(before))
                        .map(|((&x, dy), before)| {
                            let gradient = dy * naive::curve_derivative(curve, x);
                            if store == Store::Add { before + gradient } else { gradient }
                        })
                        .collect();
                    assert_close("backward", bench.get(dx), &twins, &scales, 16.0 / f64::from(1 << 24));
                }
            }
        }
    }

    #[test]
    fn the_ends_of_curves_are_those_of_pytorch() {
        let ends = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for (curve, y, slopes) in [
            (Curve::Gelu, [nan, inf, nan], [nan, nan, nan]),
            (Curve::GeluTanh, [nan, inf, nan], [nan, nan, nan]),
            (Curve::Silu, [nan, inf, nan], [nan, nan, nan]),
            (Curve::Hardswish, [nan, inf, nan], [nan, 1.0, 0.0]),
            (Curve::Softplus(1.0, 20.0), [nan, inf, 0.0], [nan, 1.0, 0.0]),
        ] {
            for isa in Isa::available() {
                let mut bench = Bench::new(1, 1);
                bench.isa = isa;
                let (x, dy) = (bench.value(ends.to_vec()), bench.value(vec![1.0; 3]));
                let (to, dx) = (bench.target(3, Store::Write), bench.target(3, Store::Write));
                bench.run(&[to], |t| forward(t, curve, x, to));
                bench.run(&[dx], |t| backward(t, curve, x, dy, dx, Store::Write));
                let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
                assert!(same(bench.get(to), &y), "{isa}: {curve:?}: {:?}", bench.get(to));
                assert!(same(bench.get(dx), &slopes), "{isa}: {curve:?}: {:?}", bench.get(dx));
            }
        }
    }
}
