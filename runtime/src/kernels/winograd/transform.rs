//! The transforms of Winograd's F(4x4, 3x3) with the points 0, ±1/√2, ±√2 and infinity (Alam et al., "Winograd Convolution for Deep
//! Neural Networks: Efficient Point Selection", 2022): `y = A' [(G w G') * (B' x B)] A`, with `*` element by element.
//!
//! Each is a small matrix applied to the columns, then to the lines of a square of vectors. The gradient's transforms are the
//! transposes: A of the outputs' gradient, G' of the weights'.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::kernels::lanes::Lanes;

/// Outputs on a side of a tile.
pub(super) const TILE: usize = 4;
/// Inputs on a side of the window that a tile of outputs needs, and points on a side.
pub(super) const WINDOW: usize = 6;
/// Points: products of an input with a weight.
pub(super) const POINTS: usize = WINDOW * WINDOW;

/// `B' x`.
#[inline(always)]
unsafe fn of_inputs<L: Lanes>(x: [L; 6]) -> [L; 6] {
    // SAFETY: the caller is compiled for the vector's instructions.
    unsafe {
        let [half, two, ends] = [L::splat(0.5), L::splat(2.0), L::splat(2.5)];
        let [small, large] = [L::splat(FRAC_1_SQRT_2), L::splat(SQRT_2)];
        let (even, odd) = (two.mul_sub_from(x[2], x[4]), two.mul_sub_from(x[1], x[3]));
        let (far_even, far_odd) = (half.mul_sub_from(x[2], x[4]), half.mul_sub_from(x[1], x[3]));
        [
            ends.mul_sub_from(x[2], x[0].add(x[4])),
            small.mul_add(odd, even),
            small.mul_sub_from(odd, even),
            large.mul_add(far_odd, far_even),
            large.mul_sub_from(far_odd, far_even),
            ends.mul_sub_from(x[3], x[1].add(x[5])),
        ]
    }
}

/// `A' m`.
#[inline(always)]
unsafe fn to_outputs<L: Lanes>(m: [L; 6]) -> [L; 4] {
    // SAFETY: as in `of_inputs`.
    unsafe {
        let (even, odd) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (far_even, far_odd) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(even).add(far_even),
            L::splat(SQRT_2).mul_add(far_odd, L::splat(FRAC_1_SQRT_2).mul(odd)),
            L::splat(2.0).mul_add(far_even, L::splat(0.5).mul(even)),
            L::splat(2.0 * SQRT_2).mul_add(far_odd, L::splat(0.25 * SQRT_2).mul_add(odd, m[5])),
        ]
    }
}

/// `A y`.
#[inline(always)]
unsafe fn of_outputs<L: Lanes>(y: [L; 4]) -> [L; 6] {
    // SAFETY: as in `of_inputs`.
    unsafe {
        let even = L::splat(0.5).mul_add(y[2], y[0]);
        let odd = L::splat(0.25 * SQRT_2).mul_add(y[3], L::splat(FRAC_1_SQRT_2).mul(y[1]));
        let far_even = L::splat(2.0).mul_add(y[2], y[0]);
        let far_odd = L::splat(2.0 * SQRT_2).mul_add(y[3], L::splat(SQRT_2).mul(y[1]));
        [y[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), y[3]]
    }
}

/// `G w`.
#[inline(always)]
unsafe fn of_weights<L: Lanes>(w: [L; 3]) -> [L; 6] {
    // SAFETY: as in `of_inputs`.
    unsafe {
        let even = L::splat(-2.0 / 3.0).mul(L::splat(0.5).mul_add(w[2], w[0]));
        let odd = L::splat(-2.0 / 3.0 * FRAC_1_SQRT_2).mul(w[1]);
        let far_even = L::splat(1.0 / 6.0).mul(L::splat(2.0).mul_add(w[2], w[0]));
        let far_odd = L::splat(SQRT_2 / 6.0).mul(w[1]);
        [w[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), w[2]]
    }
}

/// `G' u`.
#[inline(always)]
unsafe fn to_weights<L: Lanes>(u: [L; 6]) -> [L; 3] {
    // SAFETY: as in `of_inputs`.
    unsafe {
        let (even, odd) = (u[1].add(u[2]), u[2].sub(u[1]));
        let (far_even, far_odd) = (u[3].add(u[4]), u[3].sub(u[4]));
        let third = L::splat(1.0 / 3.0);
        [
            L::splat(1.0 / 6.0).mul_add(far_even, L::splat(2.0 / 3.0).mul_sub_from(even, u[0])),
            L::splat(SQRT_2 / 6.0).mul_add(far_odd, L::splat(2.0 / 3.0 * FRAC_1_SQRT_2).mul(odd)),
            third.mul_add(far_even, third.mul_sub_from(even, u[5])),
        ]
    }
}

/// Makes a function that applies a matrix to the columns and the lines of a square of vectors: reads the vector of (line, column) at
/// `from + line * from_line + column * from_column`, writes at `to + line * to_line + column * to_column`.
macro_rules! square {
    ($($(#[$doc:meta])* $name:ident: $matrix:ident, $from:literal to $to:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As for [`Lanes`]: all those vectors can be read, or written.
        #[inline(always)]
        pub(super) unsafe fn $name<L: Lanes>(
            from: *const f32,
            [from_line, from_column]: [usize; 2],
            to: *mut f32,
            [to_line, to_column]: [usize; 2],
        ) {
            // SAFETY: the caller's.
            unsafe {
                let mut half = [[L::splat(0.0); $from]; $to];
                for column in 0..$from {
                    let mut values = [L::splat(0.0); $from];
                    for line in 0..$from {
                        values[line] = L::load(from.add(line * from_line + column * from_column));
                    }
                    let values = $matrix(values);
                    for line in 0..$to {
                        half[line][column] = values[line];
                    }
                }
                for line in 0..$to {
                    let values = $matrix(half[line]);
                    for column in 0..$to {
                        values[column].store(to.add(line * to_line + column * to_column));
                    }
                }
            }
        }
    )*};
}

square! {
    /// `B' x B`: a window of inputs to its points.
    inputs_to_points: of_inputs, 6 to 6;
    /// `A' m A`: points to a tile of outputs.
    points_to_outputs: to_outputs, 6 to 4;
    /// `A y A'`: a tile of the outputs' gradient to its points.
    outputs_to_points: of_outputs, 4 to 6;
    /// `G w G'`: weights to their points.
    weights_to_points: of_weights, 3 to 6;
    /// `G' u G`: points to the gradient of weights.
    points_to_weights: to_weights, 6 to 3;
}
