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
///
/// # Safety
///
/// That of [`Lanes`].
#[inline(always)]
pub(super) unsafe fn of_inputs<L: Lanes>(x: [L; 6]) -> [L; 6] {
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
///
/// # Safety
///
/// That of [`Lanes`].
#[inline(always)]
pub(super) unsafe fn to_outputs<L: Lanes>(m: [L; 6]) -> [L; 4] {
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

/// Makes functions that apply a matrix to the columns and the lines of a square of vectors: read the vector of (line, column) at
/// `from + line * from_line + column * from_column`, write at `to + line * to_line + column * to_column`. Lines are made in parts, so
/// that registers hold a part between the two.
macro_rules! square {
    ($($(#[$doc:meta])* $name:ident: $matrix:ident, $from:literal to $parts:literal of $lines:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As for [`Lanes`]: all those vectors can be read, or written.
        #[inline(always)]
        pub(super) unsafe fn $name<L: Lanes>(from: *const f32, from_steps: [usize; 2], to: *mut f32, to_steps: [usize; 2]) {
            #[inline(always)]
            unsafe fn part<L: Lanes, const FIRST: usize>(
                from: *const f32,
                [from_line, from_column]: [usize; 2],
                to: *mut f32,
                [to_line, to_column]: [usize; 2],
            ) {
                // SAFETY: the caller's.
                unsafe {
                    let mut half = [[L::splat(0.0); $from]; $lines];
                    for column in 0..$from {
                        let mut values = [L::splat(0.0); $from];
                        for line in 0..$from {
                            values[line] = L::load(from.add(line * from_line + column * from_column));
                        }
                        let values = $matrix(values);
                        for line in 0..$lines {
                            half[line][column] = values[FIRST + line];
                        }
                    }
                    for line in 0..$lines {
                        let values = $matrix(half[line]);
                        for column in 0..$parts * $lines {
                            values[column].store(to.add((FIRST + line) * to_line + column * to_column));
                        }
                    }
                }
            }
            // SAFETY: the caller's.
            unsafe {
                part::<L, 0>(from, from_steps, to, to_steps);
                if $parts == 2 {
                    part::<L, { ($parts - 1) * $lines }>(from, from_steps, to, to_steps);
                }
            }
        }
    )*};
}

square! {
    /// `B' x B`: a window of inputs to its points.
    inputs_to_points: of_inputs, 6 to 2 of 3;
    /// `A y A'`: a tile of the outputs' gradient to its points.
    outputs_to_points: of_outputs, 4 to 2 of 3;
    /// `G w G'`: weights to their points.
    weights_to_points: of_weights, 3 to 2 of 3;
    /// `G' u G`: points to the gradient of weights.
    points_to_weights: to_weights, 6 to 1 of 3;
}

/// `A' m`: the columns of points, `point` floats apart, of a tile of outputs. [`to_outputs`] of each line are the outputs.
///
/// # Safety
///
/// As for [`Lanes`]: all 36 vectors can be read.
#[inline(always)]
pub(super) unsafe fn points_to_lines<L: Lanes>(points: *const f32, point: usize) -> [[L; 6]; 4] {
    // SAFETY: the caller's.
    unsafe {
        let mut lines = [[L::splat(0.0); 6]; 4];
        for column in 0..6 {
            let mut values = [L::splat(0.0); 6];
            for line in 0..6 {
                values[line] = L::load(points.add((line * WINDOW + column) * point));
            }
            let values = to_outputs(values);
            for line in 0..4 {
                lines[line][column] = values[line];
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Random, product_tolerance};

    /// The three matrices of a set of points: of inputs, of weights, and of outputs.
    struct Matrices {
        inputs: [[f64; 6]; 6],
        weights: [[f64; 3]; 6],
        outputs: [[f64; 6]; 4],
    }

    /// Those of this file.
    const OURS: Matrices = {
        let (a, b) = (FRAC_1_SQRT_2 as f64, SQRT_2 as f64);
        Matrices {
            inputs: [
                [1.0, 0.0, -2.5, 0.0, 1.0, 0.0],
                [0.0, -b, -2.0, a, 1.0, 0.0],
                [0.0, b, -2.0, -a, 1.0, 0.0],
                [0.0, -a, -0.5, b, 1.0, 0.0],
                [0.0, a, -0.5, -b, 1.0, 0.0],
                [0.0, 1.0, 0.0, -2.5, 0.0, 1.0],
            ],
            weights: [
                [1.0, 0.0, 0.0],
                [-2.0 / 3.0, -2.0 / 3.0 * a, -1.0 / 3.0],
                [-2.0 / 3.0, 2.0 / 3.0 * a, -1.0 / 3.0],
                [1.0 / 6.0, b / 6.0, 1.0 / 3.0],
                [1.0 / 6.0, -b / 6.0, 1.0 / 3.0],
                [0.0, 0.0, 1.0],
            ],
            outputs: [
                [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
                [0.0, a, -a, b, -b, 0.0],
                [0.0, 0.5, 0.5, 2.0, 2.0, 0.0],
                [0.0, a / 2.0, -a / 2.0, 2.0 * b, -2.0 * b, 1.0],
            ],
        }
    };

    /// Those of 0, ±1, ±2 and infinity, as Lavin and Gray have them.
    const TEXTBOOK: Matrices = Matrices {
        inputs: [
            [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
            [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
            [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
            [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
            [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
            [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
        ],
        weights: [
            [0.25, 0.0, 0.0],
            [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
            [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
            [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
            [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
            [0.0, 0.0, 1.0],
        ],
        outputs: [
            [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
            [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
            [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
        ],
    };

    /// `matrix x matrix'` in f32, `N` lines from `M`.
    fn both_sides<const M: usize, const N: usize>(matrix: &[[f64; M]; N], x: [[f32; M]; M]) -> [[f32; N]; N] {
        let dot = |factors: &[f64; M], of: &dyn Fn(usize) -> f32| {
            (0..M).fold(0.0_f32, |sum, at| (factors[at] as f32).mul_add(of(at), sum))
        };
        let half: [[f32; M]; N] =
            std::array::from_fn(|line| std::array::from_fn(|column| dot(&matrix[line], &|at| x[at][column])));
        std::array::from_fn(|line| std::array::from_fn(|column| dot(&matrix[column], &|at| half[line][at])))
    }

    /// The largest error of a tile of random outputs in units of the tolerance, over some tiles.
    fn worst(matrices: &Matrices, channels: usize) -> f64 {
        let mut random = Random::new(channels as u64);
        let mut worst = 0.0_f64;
        for _ in 0..200 {
            let mut points = [[0.0_f32; 6]; 6];
            let mut truth = [[0.0_f64; 4]; 4];
            let mut scale = 0.0;
            for _ in 0..channels {
                let mut square = |side: usize| random.numbers(side * side);
                let (x, w) = (square(6), square(3));
                let largest = x.iter().fold(0.0_f32, |most, x| x.abs().max(most));
                scale += f64::from(largest) * w.iter().map(|&w| f64::from(w.abs())).sum::<f64>();
                for at in 0..16 * 9 {
                    let (output, tap) = ([at / 36, at / 9 % 4], [at / 3 % 3, at % 3]);
                    let x = x[(output[0] + tap[0]) * 6 + output[1] + tap[1]];
                    truth[output[0]][output[1]] += f64::from(x) * f64::from(w[3 * tap[0] + tap[1]]);
                }
                let x = both_sides(
                    &matrices.inputs,
                    std::array::from_fn(|line| std::array::from_fn(|at| x[line * 6 + at])),
                );
                let w = both_sides(
                    &matrices.weights,
                    std::array::from_fn(|line| std::array::from_fn(|at| w[line * 3 + at])),
                );
                for at in 0..POINTS {
                    points[at / 6][at % 6] = x[at / 6][at % 6].mul_add(w[at / 6][at % 6], points[at / 6][at % 6]);
                }
            }
            let outputs = both_sides(&matrices.outputs, points);
            for (found, truth) in outputs.iter().flatten().zip(truth.iter().flatten()) {
                worst = worst.max((f64::from(*found) - truth).abs() / (product_tolerance(channels) * scale));
            }
        }
        worst
    }

    #[test]
    fn these_points_are_within_the_tolerance_and_the_textbooks_are_not() {
        for channels in [1, 4, 8] {
            let (ours, textbook) = (worst(&OURS, channels), worst(&TEXTBOOK, channels));
            assert!(ours < 1.0 && textbook > 1.0, "{channels} channels: {ours}, {textbook}");
        }
    }
}
