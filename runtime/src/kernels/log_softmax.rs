//! The logarithm of softmax.

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;

/// A log-softmax's geometry. A sample's value is `[outer][size][inner]`, and softmax is along the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSoftmax {
    /// The product of the dimensions before.
    pub outer: usize,
    /// The dimension whose exponentials sum to one.
    pub size: usize,
    /// The product of the dimensions behind.
    pub inner: usize,
}

impl LogSoftmax {
    fn check(&self, x: View, y: View) {
        assert!(x.len == self.outer * self.size * self.inner && y.len == x.len, "a value is [outer][size][inner]");
    }
}

/// Folds `[size][inner]` along `size`, for `count` inner indices from `first` on.
#[inline(always)]
fn fold<const LANES: usize, T: Copy>(
    x: &[f32],
    inner: usize,
    first: usize,
    count: usize,
    from: T,
    with: impl Fn(T, f32, usize) -> T,
) -> [T; LANES] {
    let mut folded = [from; LANES];
    for line in x.chunks_exact(inner) {
        for (lane, (folded, &x)) in folded[..count].iter_mut().zip(&line[first..]).enumerate() {
            *folded = with(*folded, x, lane);
        }
    }
    folded
}

/// `y[i] = (x[i] - m) - log(sum over j of e^(x[j] - m))` with m the maximum.
pub fn forward(t: &mut Tile<'_>, softmax: &LogSoftmax, x: View, y: View) {
    match softmax.inner {
        1 => forward_lanes::<1>(t, softmax, x, y),
        _ => forward_lanes::<16>(t, softmax, x, y),
    }
}

/// [`forward`] with this many inner indices side by side.
fn forward_lanes<const LANES: usize>(t: &mut Tile<'_>, softmax: &LogSoftmax, x: View, y: View) {
    softmax.check(x, y);
    let LogSoftmax { size, inner, .. } = *softmax;
    let Parts { reads: [x], writes: [mut y], .. } = t.parts([x], [y]);
    for sample in 0..x.samples() {
        let outer = x.row(sample).chunks_exact(size * inner).zip(y.row(sample).chunks_exact_mut(size * inner));
        for (x, y) in outer {
            for first in (0..inner).step_by(LANES) {
                let count = LANES.min(inner - first);
                let max: [f32; LANES] =
                    fold(x, inner, first, count, f32::NEG_INFINITY, |max, x, _| if x > max { x } else { max });
                // A NaN is not in the maximum, but comes into the sum.
                let sum: [f64; LANES] =
                    fold(x, inner, first, count, 0.0, |sum, x, lane| sum + f64::from((x - max[lane]).exp()));
                let mut log = [0.0; LANES];
                log[..count].iter_mut().zip(sum).for_each(|(log, sum)| *log = sum.ln() as f32);
                for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
                    for (lane, (x, y)) in x[first..][..count].iter().zip(&mut y[first..]).enumerate() {
                        *y = (x - max[lane]) - log[lane];
                    }
                }
            }
        }
    }
}

/// `dx[i] = dy[i] - e^y[i] (sum over j of dy[j])`.
pub fn backward(t: &mut Tile<'_>, softmax: &LogSoftmax, y: View, dy: View, dx: View, store: Store) {
    match softmax.inner {
        1 => backward_lanes::<1>(t, softmax, y, dy, dx, store),
        _ => backward_lanes::<16>(t, softmax, y, dy, dx, store),
    }
}

/// [`backward`] with this many inner indices side by side.
fn backward_lanes<const LANES: usize>(
    t: &mut Tile<'_>,
    softmax: &LogSoftmax,
    y: View,
    dy: View,
    dx: View,
    store: Store,
) {
    softmax.check(dx, y);
    softmax.check(dx, dy);
    let LogSoftmax { size, inner, .. } = *softmax;
    let Parts { reads: [y, dy], writes: [mut dx], .. } = t.parts([y, dy], [dx]);
    for sample in 0..y.samples() {
        let outer = y.row(sample).chunks_exact(size * inner).zip(dy.row(sample).chunks_exact(size * inner));
        for ((y, dy), dx) in outer.zip(dx.row(sample).chunks_exact_mut(size * inner)) {
            for first in (0..inner).step_by(LANES) {
                let count = LANES.min(inner - first);
                let sum: [f64; LANES] = fold(dy, inner, first, count, 0.0, |sum, dy, _| sum + f64::from(dy));
                let sum = sum.map(|sum| sum as f32);
                for ((y, dy), dx) in y.chunks_exact(inner).zip(dy.chunks_exact(inner)).zip(dx.chunks_exact_mut(inner)) {
                    let pairs = y[first..][..count].iter().zip(&dy[first..]).zip(&sum);
                    store.put(&mut dx[first..][..count], pairs.map(|((&y, dy), sum)| dy - y.exp() * sum));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, assert_close};

    /// One of the softmaxes inside a value, for each of them: the indices of its elements.
    fn each(softmax: &LogSoftmax, samples: usize) -> Vec<Vec<usize>> {
        let LogSoftmax { outer, size, inner } = *softmax;
        let first = |of: usize, within: usize| of * size * inner + within;
        (0..samples * outer)
            .flat_map(|of| (0..inner).map(move |within| (0..size).map(|i| first(of, within) + i * inner).collect()))
            .collect()
    }

    #[test]
    fn random_softmaxes_are_their_twins() {
        for seed in 0..60 {
            let samples = 1 + seed as usize % 3;
            let mut bench = Bench::new(seed, samples);
            let inner = if bench.random.coin() { 1 } else { bench.random.between(2, 40) };
            let softmax = LogSoftmax { outer: bench.random.between(1, 4), size: bench.random.between(1, 50), inner };
            let len = softmax.outer * softmax.size * inner;
            let x = bench.random.numbers(samples * len).iter().map(|x| 20.0 * x).collect();
            let (x, dy) = (bench.value(x), bench.numbers(len));
            let store = bench.random.store();
            let (y, dx) = (bench.target(len, Store::Write), bench.target(len, store));
            let before = bench.wide(dx);
            bench.run(&[y], |t| forward(t, &softmax, x, y));
            bench.run(&[dx], |t| backward(t, &softmax, y, dy, dx, store));

            let (x_of, dy_of) = (bench.wide(x), bench.wide(dy));
            let (mut twin, mut gradient) = (vec![0.0; x_of.len()], vec![0.0; x_of.len()]);
            for indices in each(&softmax, samples) {
                let part = |values: &[f64]| indices.iter().map(|&index| values[index]).collect::<Vec<f64>>();
                let y = naive::log_softmax(&part(&x_of));
                let dx = naive::log_softmax_gradient(&y, &part(&dy_of));
                for ((&index, y), dx) in indices.iter().zip(y).zip(dx) {
                    twin[index] = y;
                    gradient[index] = if store == Store::Add { before[index] + dx } else { dx };
                }
            }
            // y is up to 44; dx is a sum of up to 50 numbers times e^y, whose error is that of y.
            let scales = vec![44.0; twin.len()];
            assert_close("forward", bench.get(y), &twin, &scales, 2.0 / f64::from(1 << 24));
            let sizes = vec![softmax.size as f64; twin.len()];
            assert_close("backward", bench.get(dx), &gradient, &sizes, 16.0 / f64::from(1 << 24));
        }
    }

    #[test]
    fn not_a_number_comes_through_and_large_numbers_do_no_harm() {
        let softmax = LogSoftmax { outer: 1, size: 3, inner: 1 };
        let mut bench = Bench::new(1, 3);
        let x = bench.value(vec![1.0, f32::NAN, 2.0, 1e30, -1e30, 0.0, f32::NEG_INFINITY, 5.0, 5.0]);
        let y = bench.target(3, Store::Write);
        bench.run(&[y], |t| forward(t, &softmax, x, y));
        let half = 0.5_f32.ln();
        assert!(bench.get(y)[..3].iter().all(|y| y.is_nan()));
        assert_eq!(bench.get(y)[3..], [0.0, -2e30, -1e30, f32::NEG_INFINITY, half, half]);
    }
}
