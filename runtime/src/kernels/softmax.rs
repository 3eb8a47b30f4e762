//! Softmax: exponentials that sum to one.
#![allow(unsafe_code)]
// Arrays of vectors stay in registers when plain loop variables index them.
#![allow(clippy::needless_range_loop)]

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::log_softmax::{LANES, LogSoftmax, exp_of, exponentials_kernel, part};
use crate::kernels::math::{self, maps};

/// A softmax's geometry: that of its logarithm.
pub type Softmax = LogSoftmax;

/// `y[i] = e^(x[i] - m) / (sum over j of e^(x[j] - m))` with m the maximum.
pub fn forward(t: &mut Tile<'_>, softmax: &Softmax, x: View, y: View) {
    softmax.check(x, y);
    let Softmax { size, inner, .. } = *softmax;
    let Parts { reads: [x], writes: [mut y], isa, .. } = t.parts([x], [y]);
    for sample in 0..x.samples() {
        let outer = x.row(sample).chunks_exact(size * inner).zip(y.row(sample).chunks_exact_mut(size * inner));
        for (x, y) in outer {
            match inner {
                1 => forward_row(isa, x, y),
                _ => forward_lines(isa, x, inner, y),
            }
        }
    }
}

/// `dx[i] = y[i] (dy[i] - sum over j of dy[j] y[j])`.
pub fn backward(t: &mut Tile<'_>, softmax: &Softmax, y: View, dy: View, dx: View, store: Store) {
    softmax.check(dx, y);
    softmax.check(dx, dy);
    let Softmax { size, inner, .. } = *softmax;
    let Parts { reads: [y, dy], writes: [mut dx], isa, .. } = t.parts([y, dy], [dx]);
    for sample in 0..y.samples() {
        let outer = y.row(sample).chunks_exact(size * inner).zip(dy.row(sample).chunks_exact(size * inner));
        for ((y, dy), dx) in outer.zip(dx.row(sample).chunks_exact_mut(size * inner)) {
            match inner {
                1 => backward_row(isa, y, dy, dx, store),
                _ => backward_lines(isa, y, dy, inner, dx, store),
            }
        }
    }
}

dispatch! {
    /// [`forward`] of one softmax whose elements are next to each other.
    fn forward_row(x: &[f32], y: &mut [f32]) = forward_row_kernel;
    /// [`backward`] of such a one.
    fn backward_row(y: &[f32], dy: &[f32], dx: &mut [f32], store: Store) = backward_row_kernel;
    /// [`forward`] of `inner` of them side by side.
    fn forward_lines(x: &[f32], inner: usize, y: &mut [f32]) = forward_lines_kernel;
    /// [`backward`] of `inner` of them side by side.
    fn backward_lines(y: &[f32], dy: &[f32], inner: usize, dx: &mut [f32], store: Store) = backward_lines_kernel;
}

maps! {
    Times { factor }(1) = |x| x.mul(L::splat(factor));
    Gradient { sum }(2) = |y, dy| y.mul(dy.sub(L::splat(sum)));
}

#[inline(always)]
unsafe fn forward_row_kernel<W: Lanes, H: Lanes>(x: &[f32], y: &mut [f32]) {
    // SAFETY: the caller's.
    unsafe {
        let (_, sum) = exponentials_kernel::<W, H>(x, y);
        let factor = (1.0 / sum) as f32;
        math::map_in_place::<W, H, _>(Times { factor }, y);
    }
}

#[inline(always)]
unsafe fn backward_row_kernel<W: Lanes, H: Lanes>(y: &[f32], dy: &[f32], dx: &mut [f32], store: Store) {
    assert!(y.len() == dx.len() && dy.len() == dx.len(), "a softmax keeps the size");
    let sum = math::sums(y, dy, |y, dy| [y * dy, 0.0])[0] as f32;
    // SAFETY: slices of one length, the written one apart.
    unsafe {
        math::map::<W, H, _, 2>(Gradient { sum }, [y.as_ptr(), dy.as_ptr()], dx.as_mut_ptr(), dx.len(), store);
    }
}

#[inline(always)]
unsafe fn forward_lines_kernel<W: Lanes, H: Lanes>(x: &[f32], inner: usize, y: &mut [f32]) {
    for first in (0..inner).step_by(LANES) {
        let mut most = [f32::NEG_INFINITY; LANES];
        for line in x.chunks_exact(inner) {
            let x = part(line, first);
            for lane in 0..LANES {
                most[lane] = if x[lane] > most[lane] { x[lane] } else { most[lane] };
            }
        }
        let mut sums = [0.0_f64; LANES];
        for (line, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
            let mut less = part(line, first);
            for lane in 0..LANES {
                less[lane] -= most[lane];
            }
            // SAFETY: the caller's.
            let exponentials = unsafe { exp_of::<W, H>(less) };
            for lane in 0..LANES {
                sums[lane] += f64::from(exponentials[lane]);
            }
            y[first..].iter_mut().zip(exponentials).for_each(|(y, exponential)| *y = exponential);
        }
        let factors = sums.map(|sum| (1.0 / sum) as f32);
        for y in y.chunks_exact_mut(inner) {
            y[first..].iter_mut().zip(factors).for_each(|(y, factor)| *y *= factor);
        }
    }
}

#[inline(always)]
unsafe fn backward_lines_kernel<W: Lanes, H: Lanes>(y: &[f32], dy: &[f32], inner: usize, dx: &mut [f32], store: Store) {
    for first in (0..inner).step_by(LANES) {
        let mut sums = [0.0_f64; LANES];
        for (y, dy) in y.chunks_exact(inner).zip(dy.chunks_exact(inner)) {
            for (sum, (y, dy)) in sums.iter_mut().zip(part(y, first).into_iter().zip(part(dy, first))) {
                *sum += f64::from(y * dy);
            }
        }
        let sums = sums.map(|sum| sum as f32);
        for ((y, dy), dx) in y.chunks_exact(inner).zip(dy.chunks_exact(inner)).zip(dx.chunks_exact_mut(inner)) {
            let count = LANES.min(inner - first);
            let lanes = y[first..].iter().zip(&dy[first..]).zip(sums);
            store.put(&mut dx[first..][..count], lanes.map(|((y, dy), sum)| y * (dy - sum)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, assert_close, seeds};

    /// One of the softmaxes inside a value, for each of them: the indices of its elements.
    fn each(softmax: &Softmax, samples: usize) -> Vec<Vec<usize>> {
        let Softmax { outer, size, inner } = *softmax;
        let first = |of: usize, within: usize| of * size * inner + within;
        (0..samples * outer)
            .flat_map(|of| (0..inner).map(move |within| (0..size).map(|i| first(of, within) + i * inner).collect()))
            .collect()
    }

    #[test]
    fn random_softmaxes_are_their_twins() {
        let isas: Vec<Isa> = Isa::available().collect();
        for seed in seeds(0..60) {
            let samples = 1 + seed as usize % 3;
            let mut bench = Bench::new(seed, samples);
            bench.isa = isas[seed as usize % isas.len()];
            let inner = if bench.random.coin() { 1 } else { bench.random.between(2, 40) };
            let softmax = Softmax { outer: bench.random.between(1, 4), size: bench.random.between(1, 50), inner };
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
                let y = naive::softmax(&part(&x_of));
                let dx = naive::softmax_gradient(&y, &part(&dy_of));
                for ((&index, y), dx) in indices.iter().zip(y).zip(dx) {
                    twin[index] = y;
                    gradient[index] = if store == Store::Add { before[index] + dx } else { dx };
                }
            }
            // The rounding of x - m, up to 40, is a part of y of its own size; so is that of the exponential.
            let scales: Vec<f64> = twin.iter().map(|y| 1e-30 + y).collect();
            assert_close("forward", bench.get(y), &twin, &scales, 48.0 / f64::from(1 << 24));
            assert_close("backward", bench.get(dx), &gradient, &vec![2.0; gradient.len()], 48.0 / f64::from(1 << 24));
        }
    }

    #[test]
    fn not_a_number_comes_through_and_large_numbers_do_no_harm() {
        let softmax = Softmax { outer: 1, size: 3, inner: 1 };
        let mut bench = Bench::new(1, 4);
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let x = bench.value(vec![1.0, nan, 2.0, 1e30, -1e30, 0.0, -inf, 5.0, 5.0, 1.0, inf, 2.0]);
        let y = bench.target(3, Store::Write);
        bench.run(&[y], |t| forward(t, &softmax, x, y));
        assert!(bench.get(y)[..3].iter().chain(&bench.get(y)[9..]).all(|y| y.is_nan()));
        assert_eq!(bench.get(y)[3..9], [1.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
    }
}
