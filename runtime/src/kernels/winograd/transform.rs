//! The transforms of Winograd's F(m x m, r x r), m + r = 7, with the points 0, ±1/√2, ±√2 and infinity (Lavin and Gray, "Fast Algorithms
//! for Convolutional Neural Networks", 2015; the points: Alam et al., "Winograd Convolution for Deep Neural Networks: Efficient Point
//! Selection", 2022): `y = A' [(G w G') * (B' x B)] A`, with `*` element by element.
//!
//! As a product of polynomials by Toom and Cook: a line of A or G has the powers of a point p, `1, p, p², …`, one for each output or tap
//! of a line, and that of infinity has the last alone; a line of G is divided by the product of p's distances from the other points.
//! B takes the values at the points to the coefficients of the polynomial between them, so it is the same for all m and r.
//!
//! Each is a small matrix applied to the columns, then to the lines of a square of vectors. The gradient's transforms are the
//! transposes: A of the outputs' gradient, G' of the weights'.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::kernels::lanes::Lanes;

/// Inputs on a side of the window that a tile of outputs needs, and points on a side.
pub(super) const WINDOW: usize = 6;
/// Points: products of an input with a weight.
pub(super) const POINTS: usize = WINDOW * WINDOW;

/// The powers of 1/√2, from 0 on, and those of √2.
const NEAR: [f32; 5] = [1.0, FRAC_1_SQRT_2, 0.5, FRAC_1_SQRT_2 / 2.0, 0.25];
const FAR: [f32; 5] = [1.0, SQRT_2, 2.0, 2.0 * SQRT_2, 4.0];

/// The lines of G: the powers divided by the distances.
const WEIGHTS_NEAR: [f32; 5] = {
    let by = -2.0 / 3.0;
    [by, by * NEAR[1], by * NEAR[2], by * NEAR[3], by * NEAR[4]]
};
const WEIGHTS_FAR: [f32; 5] = [FAR[0] / 6.0, FAR[1] / 6.0, FAR[2] / 6.0, FAR[3] / 6.0, FAR[4] / 6.0];

/// The sum of the even terms of a polynomial at a point with these powers: of `of[0] + of[2] p² + …`.
#[inline(always)]
unsafe fn even_terms<L: Lanes, const N: usize>(of: [L; N], powers: &[f32; 5]) -> L {
    let (mut sum, mut at) = (of[0], 2);
    while at < N {
        // SAFETY: the caller is compiled for the vector's instructions.
        sum = unsafe { L::splat(powers[at]).mul_add(of[at], sum) };
        at += 2;
    }
    sum
}

/// The sum of the odd ones: of `of[1] p + of[3] p³ + …`.
#[inline(always)]
unsafe fn odd_terms<L: Lanes, const N: usize>(of: [L; N], powers: &[f32; 5]) -> L {
    // SAFETY: as in `even_terms`.
    let (mut sum, mut at) = (unsafe { L::splat(powers[1]).mul(of[1]) }, 3);
    while at < N {
        // SAFETY: as above.
        sum = unsafe { L::splat(powers[at]).mul_add(of[at], sum) };
        at += 2;
    }
    sum
}

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
pub(super) unsafe fn to_outputs<L: Lanes, const TILE: usize>(m: [L; 6]) -> [L; TILE] {
    // SAFETY: as in `of_inputs`.
    unsafe {
        let near = [m[1].add(m[2]), m[1].sub(m[2])];
        let far = [m[3].add(m[4]), m[3].sub(m[4])];
        let mut outputs = [m[0].add(near[0]).add(far[0]); TILE];
        for at in 1..TILE {
            let (factor, near) = (L::splat(NEAR[at]), near[at % 2]);
            let sum = if at == TILE - 1 { factor.mul_add(near, m[5]) } else { factor.mul(near) };
            outputs[at] = L::splat(FAR[at]).mul_add(far[at % 2], sum);
        }
        outputs
    }
}

/// `A y`, of windows of 3x3.
///
/// # Safety
///
/// That of [`Lanes`].
#[inline(always)]
pub(super) unsafe fn of_outputs<L: Lanes>(y: [L; 4]) -> [L; 6] {
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
unsafe fn of_weights<L: Lanes, const KERNEL: usize>(w: [L; KERNEL]) -> [L; 6] {
    // SAFETY: as in `of_inputs`.
    unsafe {
        let even = L::splat(WEIGHTS_NEAR[0]).mul(even_terms(w, &NEAR));
        let odd = odd_terms(w, &WEIGHTS_NEAR);
        let far_even = L::splat(WEIGHTS_FAR[0]).mul(even_terms(w, &FAR));
        let far_odd = odd_terms(w, &WEIGHTS_FAR);
        [w[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), w[KERNEL - 1]]
    }
}

/// `G' u`, of windows of 3x3.
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

/// A square of vectors that is read.
pub(super) trait Square<L> {
    /// The vector of a line and a column.
    ///
    /// # Safety
    ///
    /// As for [`Lanes`]: there is such a one.
    unsafe fn at(&self, line: usize, column: usize) -> L;
}

/// One whose lines and columns are so many floats apart.
pub(super) struct Strided {
    pub(super) first: *const f32,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl<L: Lanes> Square<L> for Strided {
    #[inline(always)]
    unsafe fn at(&self, line: usize, column: usize) -> L {
        // SAFETY: the caller's.
        unsafe { L::load(self.first.add(line * self.line + column * self.column)) }
    }
}

/// Two of them, each of which has half of a vector.
impl<L: Lanes> Square<L> for [Strided; 2] {
    #[inline(always)]
    unsafe fn at(&self, line: usize, column: usize) -> L {
        let [first, second] = self;
        // SAFETY: the caller's.
        unsafe {
            L::load_halves(
                first.first.add(line * first.line + column * first.column),
                second.first.add(line * second.line + column * second.column),
            )
        }
    }
}

/// Makes functions that apply a matrix to the columns and the lines of a square of vectors, and write that of (line, column) at
/// `to + line * to_line + column * to_column`. Lines are made in parts, so that registers hold a part between the two.
macro_rules! square {
    ($($(#[$doc:meta])* $name:ident $(<$side:ident>)?: $matrix:ident, $from:tt to $parts:literal of $lines:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As for [`Lanes`]: all those vectors can be read, or written.
        #[inline(always)]
        pub(super) unsafe fn $name<L: Lanes $(, const $side: usize)?>(
            from: impl Square<L>,
            to: *mut f32,
            to_steps: [usize; 2],
        ) {
            #[inline(always)]
            unsafe fn part<L: Lanes $(, const $side: usize)?, const FIRST: usize>(
                from: &impl Square<L>,
                to: *mut f32,
                [to_line, to_column]: [usize; 2],
            ) {
                // SAFETY: the caller's.
                unsafe {
                    let mut half = [[L::splat(0.0); $from]; $lines];
                    for column in 0..$from {
                        let mut values = [L::splat(0.0); $from];
                        for line in 0..$from {
                            values[line] = from.at(line, column);
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
                part::<L, $($side,)? 0>(&from, to, to_steps);
                if $parts == 2 {
                    part::<L, $($side,)? { ($parts - 1) * $lines }>(&from, to, to_steps);
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
    weights_to_points<KERNEL>: of_weights, KERNEL to 2 of 3;
    /// `G' u G`: points to the gradient of weights.
    points_to_weights: to_weights, 6 to 1 of 3;
}

/// `A' m`: the columns of points, `point` floats apart, of a tile of outputs. [`to_outputs`] of each line are the outputs.
///
/// # Safety
///
/// As for [`Lanes`]: all 36 vectors can be read.
#[inline(always)]
pub(super) unsafe fn points_to_lines<L: Lanes, const TILE: usize>(points: *const f32, point: usize) -> [[L; 6]; TILE] {
    // SAFETY: the caller's.
    unsafe {
        let mut lines = [[L::splat(0.0); 6]; TILE];
        for column in 0..6 {
            let mut values = [L::splat(0.0); 6];
            for line in 0..6 {
                values[line] = L::load(points.add((line * WINDOW + column) * point));
            }
            let values: [L; TILE] = to_outputs(values);
            for line in 0..TILE {
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

    /// The three matrices of F(m x m, r x r).
    struct Matrices {
        inputs: [[f64; 6]; 6],
        weights: Vec<Vec<f64>>,
        outputs: Vec<Vec<f64>>,
        tile: usize,
        kernel: usize,
    }

    impl Matrices {
        /// Those of the points 0, ±near, ±far and infinity.
        fn of(near: f64, far: f64, tile: usize, kernel: usize) -> Matrices {
            let (p, q) = (near * near, far * far);
            let inputs = [
                [p * q, 0.0, -(p + q), 0.0, 1.0, 0.0],
                [0.0, -near * q, -q, near, 1.0, 0.0],
                [0.0, near * q, -q, -near, 1.0, 0.0],
                [0.0, -far * p, -p, far, 1.0, 0.0],
                [0.0, far * p, -p, -far, 1.0, 0.0],
                [0.0, p * q, 0.0, -(p + q), 0.0, 1.0],
            ];
            let points = [0.0, near, -near, far, -far];
            // Of each point the powers, and of infinity the last one.
            let powers = |point: usize, count: usize| -> Vec<f64> {
                let power = |at: usize| points.get(point).map_or(f64::from(at + 1 == count), |p| p.powi(at as i32));
                (0..count).map(power).collect()
            };
            let distances = [p * q, 2.0 * p * (p - q), 2.0 * p * (p - q), 2.0 * q * (q - p), 2.0 * q * (q - p), 1.0];
            let weights = (0..6).map(|point| powers(point, kernel).iter().map(|w| w / distances[point]).collect());
            let outputs = (0..tile).map(|output| (0..6).map(|point| powers(point, tile)[output]).collect());
            Matrices { inputs, weights: weights.collect(), outputs: outputs.collect(), tile, kernel }
        }
    }

    /// `matrix x matrix'` in f32, of a square given line by line.
    fn both_sides(matrix: &[impl AsRef<[f64]>], x: &[f32]) -> Vec<f32> {
        let side = matrix[0].as_ref().len();
        let dot = |factors: &[f64], of: &dyn Fn(usize) -> f32| {
            (0..side).fold(0.0_f32, |sum, at| (factors[at] as f32).mul_add(of(at), sum))
        };
        let half: Vec<Vec<f32>> = (matrix.iter())
            .map(|line| (0..side).map(|column| dot(line.as_ref(), &|at| x[at * side + column])).collect())
            .collect();
        half.iter().flat_map(|half| matrix.iter().map(|line| dot(line.as_ref(), &|at| half[at]))).collect()
    }

    /// The largest error of a tile of random outputs in units of the tolerance, over some tiles.
    fn worst(matrices: &Matrices, channels: usize) -> f64 {
        let Matrices { tile, kernel, .. } = *matrices;
        let mut random = Random::new(channels as u64);
        let mut worst = 0.0_f64;
        for _ in 0..200 {
            let mut points = vec![0.0_f32; POINTS];
            let mut truth = vec![0.0_f64; tile * tile];
            let mut scale = 0.0;
            for _ in 0..channels {
                let (x, w) = (random.numbers(POINTS), random.numbers(kernel * kernel));
                let largest = x.iter().fold(0.0_f32, |most, x| x.abs().max(most));
                scale += f64::from(largest) * w.iter().map(|&w| f64::from(w.abs())).sum::<f64>();
                for (output, truth) in truth.iter_mut().enumerate() {
                    for (tap, &w) in w.iter().enumerate() {
                        let (line, column) = (output / tile + tap / kernel, output % tile + tap % kernel);
                        *truth += f64::from(x[line * WINDOW + column]) * f64::from(w);
                    }
                }
                let (x, w) = (both_sides(&matrices.inputs, &x), both_sides(&matrices.weights, &w));
                points.iter_mut().zip(x.iter().zip(&w)).for_each(|(point, (x, w))| *point = x.mul_add(*w, *point));
            }
            let outputs = both_sides(&matrices.outputs, &points);
            for (found, truth) in outputs.iter().zip(&truth) {
                worst = worst.max((f64::from(*found) - truth).abs() / (product_tolerance(channels) * scale));
            }
        }
        worst
    }

    #[test]
    fn these_points_are_within_the_tolerance_and_the_textbooks_are_not() {
        for channels in [1, 4, 8] {
            for (tile, kernel) in [(4, 3), (2, 5)] {
                let ours = worst(&Matrices::of(0.5_f64.sqrt(), 2.0_f64.sqrt(), tile, kernel), channels);
                let textbook = worst(&Matrices::of(1.0, 2.0, tile, kernel), channels);
                println!("{channels} channels, {kernel}x{kernel}: {ours:.2}, {textbook:.2}");
                assert!(ours < 1.0, "{channels} channels, {kernel}x{kernel}: {ours}");
                // The powers that outputs are sums of go to 8 there, and to 2 with windows of five.
                assert!(textbook > 1.0 || kernel == 5, "{channels} channels: {textbook}");
            }
        }
    }
}
