//! Activations: maps of elements whose derivative is a function of the result.
#![allow(unsafe_code)]

use crate::arena::{Tile, View};
use crate::isa::{Isa, Numerics};
use crate::kernels::Store;
use crate::kernels::elementwise::{self, Apart, Formula, apart};
use crate::kernels::lanes::Lanes;
use crate::kernels::math::{self, maps};

/// The floats of the widest vector.
const WIDEST: usize = 16;

/// A map of elements, which never falls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// `y = x`, `y' = 1`.
    None,
    /// `y = max(x, 0)`, `y' = 1` where `y > 0`, else 0. NaN stays NaN.
    Relu,
    /// `y = tanh x`, `y' = 1 - y^2`.
    Tanh,
    /// `y = 1 / (1 + e^-x)`, `y' = y (1 - y)`.
    Sigmoid,
    /// `y = x` above 0, else `slope x`, of a slope that is not below 0; `y' = 1` where `y > 0`, else the slope.
    LeakyRelu(f32),
    /// `y = x` above 0, else `alpha (e^x - 1)`, of an alpha that is not below 0; `y' = 1` where `y > 0`, else `y + alpha`.
    Elu(f32),
    /// x between the two; `y' = 1` where y is between them and neither, else 0.
    Hardtanh(f32, f32),
    /// `y = min(max(x + 3, 0), 6) / 6`; `y' = 1/6` where y is between 0 and 1 and neither, else 0.
    Hardsigmoid,
    /// `y = log(1 + e^(beta x)) / beta`, or x where `beta x` is above the threshold, the second number, which is so large that the
    /// two are one; `y' = 1 - e^(-beta y)`.
    Softplus(f32, f32),
    /// [`Act::Tanh`] of exact numerics, within a unit in the last place.
    #[doc(hidden)]
    AccurateTanh,
    /// [`Act::Sigmoid`] of exact numerics, within two units in the last place.
    #[doc(hidden)]
    AccurateSigmoid,
}

impl Act {
    /// The same map, as these numerics compute it.
    pub(crate) fn of(self, numerics: Numerics) -> Act {
        match (self, numerics) {
            (Act::Tanh, Numerics::Exact) => Act::AccurateTanh,
            (Act::Sigmoid, Numerics::Exact) => Act::AccurateSigmoid,
            _ => self,
        }
    }

    /// Maps a vector.
    ///
    /// # Safety
    ///
    /// That of [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn apply_lanes<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { self.apply_all([x])[0] }
    }

    /// Maps vectors, with one question for all of them which map it is.
    ///
    /// # Safety
    ///
    /// That of [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn apply_all<L: Lanes, const N: usize>(self, mut x: [L; N]) -> [L; N] {
        // SAFETY: the caller's.
        unsafe {
            match self {
                Act::None => {}
                Act::Relu => {
                    for x in &mut x {
                        *x = math::relu(*x);
                    }
                }
                Act::Tanh => {
                    for x in &mut x {
                        *x = math::tanh(*x);
                    }
                }
                Act::Sigmoid => {
                    for x in &mut x {
                        *x = math::sigmoid(*x);
                    }
                }
                _ => x = self.apply_apart(x),
            }
            x
        }
    }

    /// Maps vectors in a function that stands once for each set of instructions: all maps in all kernels would be most of their code.
    #[inline(always)]
    unsafe fn apply_apart<L: Lanes, const N: usize>(self, mut x: [L; N]) -> [L; N] {
        let mut floats = [[0.0; WIDEST]; N];
        let row = floats.as_flattened_mut();
        // SAFETY: no vector is wider than the arrays, and whoever is compiled for the vectors runs on a machine that has their instructions.
        unsafe {
            for (at, x) in x.iter().enumerate() {
                x.store(row[at * L::COUNT..].as_mut_ptr());
            }
            self.apply(Isa::of(L::KIND), &mut row[..N * L::COUNT]);
            for (at, x) in x.iter_mut().enumerate() {
                *x = L::load(row[at * L::COUNT..].as_ptr());
            }
        }
        x
    }

    /// Whether 0 stays 0.
    pub(crate) fn keeps_zero(self) -> bool {
        match self {
            Act::None | Act::Relu | Act::Tanh | Act::LeakyRelu(_) | Act::Elu(_) => true,
            Act::AccurateTanh => true,
            Act::Sigmoid | Act::AccurateSigmoid | Act::Hardsigmoid | Act::Softplus(..) => false,
            Act::Hardtanh(least, most) => least <= 0.0 && most >= 0.0,
        }
    }

    /// Maps a row in place.
    #[inline(never)]
    pub(crate) fn apply(self, isa: Isa, row: &mut [f32]) {
        if self != Act::None {
            elementwise::apply_row(isa, Formula::Act(self), row);
        }
    }
}

/// `y = act(x)`; `x` and `y` may be the same value.
pub fn forward(t: &mut Tile<'_>, act: Act, x: View, y: View) {
    elementwise::apply(t, Formula::Act(act.of(t.numerics)), [x], y, Store::Write);
}

/// `dx = dy act'(y)`; `dy` and `dx` may be the same value when `store` writes.
pub fn backward(t: &mut Tile<'_>, act: Act, y: View, dy: View, dx: View, store: Store) {
    elementwise::apply(t, Formula::Gradient(act), [y, dy], dx, store);
}

/// `x` above 0, else `slope x`.
#[inline(always)]
unsafe fn leaky_relu<L: Lanes>(x: L, slope: f32) -> L {
    // SAFETY: the caller's.
    unsafe { x.if_greater(L::splat(0.0), x, x.mul(L::splat(slope))) }
}

/// `min(max(x + 3, 0), 6) / 6`.
#[inline(always)]
unsafe fn hardsigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe { math::clamp(x.add(L::splat(3.0)), 0.0, 6.0).div(L::splat(6.0)) }
}

/// `inside` where y is between two numbers and neither, else 0; also of NaN.
#[inline(always)]
unsafe fn between<L: Lanes>(y: L, least: f32, most: f32, inside: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let zero = L::splat(0.0);
        y.if_greater(L::splat(least), L::splat(most).if_greater(y, inside, zero), zero)
    }
}

maps! {
    AccurateTanh(1) = |x| math::accurate_tanh(x);
    AccurateSigmoid(1) = |x| math::accurate_sigmoid(x);
    LeakyRelu { slope }(1) = |x| leaky_relu(x, slope);
    Elu { alpha }(1) = |x| x.if_greater(L::splat(0.0), x, math::exp_less_one(x).mul(L::splat(alpha)));
    Hardtanh { least, most }(1) = |x| math::clamp(x, least, most);
    Hardsigmoid(1) = |x| hardsigmoid(x);
    Softplus { beta, threshold }(1) = |x| math::softplus(x, beta, threshold);
    LeakyReluGradient { slope }(2) = |y, dy| y.if_greater(L::splat(0.0), dy, dy.mul(L::splat(slope)));
    EluGradient { alpha }(2) = |y, dy| y.if_greater(L::splat(0.0), dy, dy.mul(y.add(L::splat(alpha))));
    HardtanhGradient { least, most }(2) = |y, dy| between(y, least, most, dy);
    HardsigmoidGradient(2) = |y, dy| between(y, 0.0, 1.0, dy.div(L::splat(6.0)));
    SoftplusGradient { beta }(2) = |y, dy| dy.mul(L::splat(0.0).sub(math::exp_less_one(y.mul(L::splat(-beta)))));
}

apart! {
    accurate_tanh_line = Formula::Act(Act::AccurateTanh) => AccurateTanh, 1;
    accurate_sigmoid_line = Formula::Act(Act::AccurateSigmoid) => AccurateSigmoid, 1;
    leaky_relu_line = Formula::Act(Act::LeakyRelu(slope)) => LeakyRelu { slope }, 1;
    elu_line = Formula::Act(Act::Elu(alpha)) => Elu { alpha }, 1;
    hardtanh_line = Formula::Act(Act::Hardtanh(least, most)) => Hardtanh { least, most }, 1;
    hardsigmoid_line = Formula::Act(Act::Hardsigmoid) => Hardsigmoid, 1;
    softplus_line = Formula::Act(Act::Softplus(beta, threshold)) => Softplus { beta, threshold }, 1;
    leaky_relu_gradient = Formula::Gradient(Act::LeakyRelu(slope)) => LeakyReluGradient { slope }, 2;
    elu_gradient = Formula::Gradient(Act::Elu(alpha)) => EluGradient { alpha }, 2;
    hardtanh_gradient = Formula::Gradient(Act::Hardtanh(least, most)) => HardtanhGradient { least, most }, 2;
    hardsigmoid_gradient = Formula::Gradient(Act::Hardsigmoid) => HardsigmoidGradient, 2;
    softplus_gradient = Formula::Gradient(Act::Softplus(beta, _)) => SoftplusGradient { beta }, 2;
}

/// The function of an activation that does not stand with others.
pub(super) fn line_of(act: Act) -> Apart {
    match act {
        Act::None | Act::Relu | Act::Tanh | Act::Sigmoid => unreachable!("it stands with others"),
        Act::AccurateTanh => accurate_tanh_line,
        Act::AccurateSigmoid => accurate_sigmoid_line,
        Act::LeakyRelu(_) => leaky_relu_line,
        Act::Elu(_) => elu_line,
        Act::Hardtanh(..) => hardtanh_line,
        Act::Hardsigmoid => hardsigmoid_line,
        Act::Softplus(..) => softplus_line,
    }
}

/// That of its gradient.
pub(super) fn gradient_line_of(act: Act) -> Apart {
    match act {
        Act::None | Act::Relu | Act::Tanh | Act::Sigmoid | Act::AccurateTanh | Act::AccurateSigmoid => {
            unreachable!("it stands with others")
        }
        Act::LeakyRelu(_) => leaky_relu_gradient,
        Act::Elu(_) => elu_gradient,
        Act::Hardtanh(..) => hardtanh_gradient,
        Act::Hardsigmoid => hardsigmoid_gradient,
        Act::Softplus(..) => softplus_gradient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::lanes::dispatch;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, assert_close, bits};

    const ALL: [Act; 14] = [
        Act::None,
        Act::Relu,
        Act::Tanh,
        Act::Sigmoid,
        Act::AccurateTanh,
        Act::AccurateSigmoid,
        Act::LeakyRelu(0.01),
        Act::LeakyRelu(2.0),
        Act::Elu(1.0),
        Act::Elu(0.3),
        Act::Hardtanh(-1.0, 1.5),
        Act::Hardsigmoid,
        Act::Softplus(1.0, 20.0),
        Act::Softplus(2.5, 18.0),
    ];

    #[test]
    fn activations_are_their_twins() {
        for (seed, act) in ALL.into_iter().enumerate() {
            for (in_place, isa) in [false, true].into_iter().flat_map(|p| Isa::available().map(move |isa| (p, isa))) {
                let mut bench = Bench::new(seed as u64, 3);
                bench.isa = isa;
                let numbers: Vec<f32> = bench.random.numbers(3 * 37).iter().map(|x| 4.0 * x).collect();
                let twins: Vec<f64> = numbers.iter().map(|&x| naive::act(act, f64::from(x))).collect();
                let x = bench.value(numbers);
                let y = if in_place { x } else { bench.target(37, Store::Write) };
                bench.run(&[y], |t| forward(t, act, x, y));
                // Seven units in the last place.
                let scales: Vec<f64> = twins.iter().map(|y| y.abs()).collect();
                assert_close("forward", bench.get(y), &twins, &scales, 7.0 / f64::from(1 << 23));
            }
        }
    }

    #[test]
    fn gradients_are_their_twins() {
        for (seed, act) in ALL.into_iter().enumerate() {
            for (in_place, store) in [(false, Store::Write), (false, Store::Add), (true, Store::Write)] {
                let mut bench = Bench::new(seed as u64, 2);
                let x: Vec<f64> = bench.random.numbers(2 * 37).iter().map(|&x| 3.0 * f64::from(x)).collect();
                let y = bench.value(x.iter().map(|&x| naive::act(act, x) as f32).collect());
                let dy = bench.numbers(37);
                let dx = if in_place { dy } else { bench.target(37, store) };
                let before = bench.wide(dx);
                let twins: Vec<f64> = x
                    .iter()
                    .zip(bench.wide(dy))
                    .zip(before)
                    .map(|((&x, dy), before)| {
                        let gradient = dy * naive::act_derivative(act, x);
                        if store == Store::Add { before + gradient } else { gradient }
                    })
                    .collect();
                bench.run(&[dx], |t| backward(t, act, y, dy, dx, store));
                // The rounding of y near 1, and a few more.
                assert_close("backward", bench.get(dx), &twins, &[1.0; 2 * 37], 4.0 / f64::from(1 << 24));
            }
        }
    }

    #[test]
    fn not_a_number_stays_and_infinity_ends() {
        for isa in Isa::available() {
            let ends = |act: Act| {
                let mut row = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
                act.apply(isa, &mut row);
                assert!(row[0].is_nan(), "{act:?}");
                (row[1], row[2])
            };
            assert_eq!(ends(Act::Relu), (f32::INFINITY, 0.0));
            assert_eq!(ends(Act::Tanh), (1.0, -1.0));
            assert_eq!(ends(Act::Sigmoid), (1.0, 0.0));
            assert_eq!(ends(Act::LeakyRelu(0.5)), (f32::INFINITY, f32::NEG_INFINITY));
            assert_eq!(ends(Act::Elu(2.0)), (f32::INFINITY, -2.0));
            assert_eq!(ends(Act::Hardtanh(-1.0, 2.0)), (2.0, -1.0));
            assert_eq!(ends(Act::Hardsigmoid), (1.0, 0.0));
            assert_eq!(ends(Act::Softplus(1.0, 20.0)), (f32::INFINITY, 0.0));
        }
    }

    dispatch! {
        /// Maps a row by fours of vectors, as kernels do with their sums.
        fn by_vectors(act: Act, row: &mut [f32]) = vectors_kernel;
    }

    #[inline(always)]
    unsafe fn vectors_kernel<W: Lanes, H: Lanes>(act: Act, row: &mut [f32]) {
        for four in row.chunks_exact_mut(4 * W::COUNT) {
            // SAFETY: four vectors of the row.
            unsafe {
                let x = [0, 1, 2, 3].map(|at| W::load(four.as_ptr().add(at * W::COUNT)));
                let y = act.apply_all(x);
                for (at, y) in y.into_iter().enumerate() {
                    y.store(four.as_mut_ptr().add(at * W::COUNT));
                }
            }
        }
    }

    #[test]
    fn a_kernel_s_vectors_are_mapped_as_rows_are() {
        let x: Vec<f32> = (0..640).map(|at| (at as f32 - 320.0) * 0.05).collect();
        for (act, isa) in ALL.into_iter().flat_map(|act| Isa::available().map(move |isa| (act, isa))) {
            let (mut row, mut vectors) = (x.clone(), x.clone());
            act.apply(isa, &mut row);
            by_vectors(isa, act, &mut vectors);
            assert_eq!(bits(&row), bits(&vectors), "{isa}: {act:?}");
        }
    }

    #[test]
    fn what_keeps_zero_is_said() {
        for (act, isa) in ALL.into_iter().flat_map(|act| Isa::available().map(move |isa| (act, isa))) {
            let mut row = [0.0];
            act.apply(isa, &mut row);
            assert_eq!(row[0].to_bits() == 0, act.keeps_zero(), "{isa}: {act:?}");
        }
    }

    #[test]
    fn relu_passes_a_gradient_only_above_zero() {
        let mut bench = Bench::new(0, 1);
        let (y, dy) = (bench.value(vec![0.0, 1.0, f32::NAN]), bench.value(vec![5.0, 5.0, 5.0]));
        let dx = bench.target(3, Store::Write);
        bench.run(&[dx], |t| backward(t, Act::Relu, y, dy, dx, Store::Write));
        assert_eq!(bench.get(dx), [0.0, 5.0, 5.0]);
    }
}
