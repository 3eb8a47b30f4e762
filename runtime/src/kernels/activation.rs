//! Activations: maps of elements whose derivative is a function of the result.
#![allow(unsafe_code)]

use crate::arena::{Tile, View};
use crate::isa::{Isa, Numerics};
use crate::kernels::elementwise::{self, Formula};
use crate::kernels::lanes::Lanes;
use crate::kernels::{Store, math};

/// A map of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `y = x`, `y' = 1`.
    None,
    /// `y = max(x, 0)`, `y' = 1` where `y > 0`, else 0. NaN stays NaN.
    Relu,
    /// `y = tanh x`, `y' = 1 - y^2`.
    Tanh,
    /// `y = 1 / (1 + e^-x)`, `y' = y (1 - y)`.
    Sigmoid,
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
                Act::AccurateTanh => {
                    for x in &mut x {
                        *x = math::accurate_tanh(*x);
                    }
                }
                Act::AccurateSigmoid => {
                    for x in &mut x {
                        *x = math::accurate_sigmoid(*x);
                    }
                }
            }
            x
        }
    }

    /// Maps a row in place.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, assert_close};

    const ALL: [Act; 6] = [Act::None, Act::Relu, Act::Tanh, Act::Sigmoid, Act::AccurateTanh, Act::AccurateSigmoid];

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
