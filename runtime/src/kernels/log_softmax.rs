//! The logarithm of softmax.
#![allow(unsafe_code)]
// Arrays of vectors stay in registers when plain loop variables index them.
#![allow(clippy::needless_range_loop)]

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::math::{self, Map};

/// Elements that are looked at side by side.
pub(super) const LANES: usize = 16;

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
    pub(super) fn check(&self, x: View, y: View) {
        assert!(x.len == self.outer * self.size * self.inner && y.len == x.len, "a value is [outer][size][inner]");
    }
}

/// `y[i] = (x[i] - m) - log(sum over j of e^(x[j] - m))` with m the maximum.
pub fn forward(t: &mut Tile<'_>, softmax: &LogSoftmax, x: View, y: View) {
    softmax.check(x, y);
    let LogSoftmax { size, inner, .. } = *softmax;
    let Parts { reads: [x], writes: [mut y], isa, .. } = t.parts([x], [y]);
    for sample in 0..x.samples() {
        let outer = x.row(sample).chunks_exact(size * inner).zip(y.row(sample).chunks_exact_mut(size * inner));
        for (x, y) in outer {
            match inner {
                1 => forward_row(isa, x, y),
                _ => log_softmax_lines(isa, x, inner, y),
            }
        }
    }
}

/// `dx[i] = dy[i] - e^y[i] (sum over j of dy[j])`.
pub fn backward(t: &mut Tile<'_>, softmax: &LogSoftmax, y: View, dy: View, dx: View, store: Store) {
    softmax.check(dx, y);
    softmax.check(dx, dy);
    let LogSoftmax { size, inner, .. } = *softmax;
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
    /// Writes `e^(x - m)`, m the maximum; gives m and the sum of what it writes.
    pub(crate) fn exponentials(x: &[f32], to: &mut [f32]) -> (f32, f64) = exponentials_kernel;
    /// `e^x` of each, in its place.
    pub(crate) fn exponential(x: &mut [f32]) = exponential_kernel;
    /// [`forward`] of `inner` softmaxes side by side.
    pub(crate) fn log_softmax_lines(x: &[f32], inner: usize, y: &mut [f32]) = forward_lines_kernel;
    /// [`forward`] of one softmax whose elements are next to each other.
    fn forward_row(x: &[f32], y: &mut [f32]) = forward_row_kernel;
    /// [`backward`] of such a one.
    fn backward_row(y: &[f32], dy: &[f32], dx: &mut [f32], store: Store) = backward_row_kernel;
    /// [`backward`] of `inner` of them side by side.
    fn backward_lines(y: &[f32], dy: &[f32], inner: usize, dx: &mut [f32], store: Store) = backward_lines_kernel;
}

/// `e^(x - m)`.
#[derive(Clone, Copy)]
struct ExpLess(f32);

impl Map<1> for ExpLess {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, [x]: [L; 1]) -> L {
        // SAFETY: the caller's.
        unsafe { math::exp(x.sub(L::splat(self.0))) }
    }
}

/// `(x - m) - log`.
#[derive(Clone, Copy)]
struct Less(f32, f32);

impl Map<1> for Less {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, [x]: [L; 1]) -> L {
        // SAFETY: the caller's.
        unsafe { x.sub(L::splat(self.0)).sub(L::splat(self.1)) }
    }
}

/// `dy - e^y sum`.
#[derive(Clone, Copy)]
struct Gradient(f32);

impl Map<2> for Gradient {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, [y, dy]: [L; 2]) -> L {
        // SAFETY: the caller's.
        unsafe { math::exp(y).mul_sub_from(L::splat(self.0), dy) }
    }
}

/// Writes `e^(x - m)`, m the maximum; gives m and the sum of what it writes. Less the maximum no exponential overflows, and one is 1.
#[inline(always)]
pub(super) unsafe fn exponentials_kernel<W: Lanes, H: Lanes>(x: &[f32], to: &mut [f32]) -> (f32, f64) {
    assert_eq!(x.len(), to.len(), "a softmax keeps the size");
    let (lines, rest) = x.as_chunks::<LANES>();
    // A NaN is not in the maximum, but comes into the sum.
    let larger = |most: f32, x: f32| if x > most { x } else { most };
    let mut most = [f32::NEG_INFINITY; LANES];
    for line in lines {
        for lane in 0..LANES {
            most[lane] = larger(most[lane], line[lane]);
        }
    }
    let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &x| larger(most, x));
    // SAFETY: slices of one length, the written one apart.
    unsafe { math::map::<W, H, _, 1>(ExpLess(most), [x.as_ptr()], to.as_mut_ptr(), x.len(), Store::Write) };
    (most, math::sum(to))
}

#[inline(always)]
unsafe fn exponential_kernel<W: Lanes, H: Lanes>(x: &mut [f32]) {
    let place = x.as_mut_ptr();
    // SAFETY: both are the one slice.
    unsafe { math::map::<W, H, _, 1>(ExpLess(0.0), [place.cast_const()], place, x.len(), Store::Write) };
}

#[inline(always)]
unsafe fn forward_row_kernel<W: Lanes, H: Lanes>(x: &[f32], y: &mut [f32]) {
    // SAFETY: the caller's; then slices of one length, the written one apart.
    unsafe {
        let (most, sum) = exponentials_kernel::<W, H>(x, y);
        math::map::<W, H, _, 1>(Less(most, sum.ln() as f32), [x.as_ptr()], y.as_mut_ptr(), x.len(), Store::Write);
    }
}

#[inline(always)]
unsafe fn backward_row_kernel<W: Lanes, H: Lanes>(y: &[f32], dy: &[f32], dx: &mut [f32], store: Store) {
    assert!(y.len() == dx.len() && dy.len() == dx.len(), "a softmax keeps the size");
    let sum = math::sum(dy) as f32;
    // SAFETY: slices of one length, the written one apart.
    unsafe {
        math::map::<W, H, _, 2>(Gradient(sum), [y.as_ptr(), dy.as_ptr()], dx.as_mut_ptr(), dx.len(), store);
    }
}

/// Some inner indices of a line.
#[inline(always)]
pub(super) fn part(line: &[f32], first: usize) -> [f32; LANES] {
    let mut part = [0.0; LANES];
    part.iter_mut().zip(&line[first..]).for_each(|(part, x)| *part = *x);
    part
}

/// `e^x` of each lane.
#[inline(always)]
pub(super) unsafe fn exp_of<W: Lanes, H: Lanes>(x: [f32; LANES]) -> [f32; LANES] {
    let mut to = [0.0; LANES];
    // SAFETY: arrays of one length; the rest is the caller's.
    unsafe { math::map::<W, H, _, 1>(ExpLess(0.0), [x.as_ptr()], to.as_mut_ptr(), LANES, Store::Write) };
    to
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
        let less = |line: &[f32]| {
            let mut x = part(line, first);
            for lane in 0..LANES {
                x[lane] -= most[lane];
            }
            x
        };
        let mut sums = [0.0_f64; LANES];
        for line in x.chunks_exact(inner) {
            // SAFETY: the caller's.
            let exponentials = unsafe { exp_of::<W, H>(less(line)) };
            for lane in 0..LANES {
                sums[lane] += f64::from(exponentials[lane]);
            }
        }
        let logs = sums.map(|sum| sum.ln() as f32);
        for (line, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
            for ((y, x), log) in y[first..].iter_mut().zip(less(line)).zip(logs) {
                *y = x - log;
            }
        }
    }
}

#[inline(always)]
unsafe fn backward_lines_kernel<W: Lanes, H: Lanes>(y: &[f32], dy: &[f32], inner: usize, dx: &mut [f32], store: Store) {
    for first in (0..inner).step_by(LANES) {
        let mut sums = [0.0_f64; LANES];
        for line in dy.chunks_exact(inner) {
            for (sum, dy) in sums.iter_mut().zip(part(line, first)) {
                *sum += f64::from(dy);
            }
        }
        let sums = sums.map(|sum| sum as f32);
        for ((y, dy), dx) in y.chunks_exact(inner).zip(dy.chunks_exact(inner)).zip(dx.chunks_exact_mut(inner)) {
            // SAFETY: the caller's.
            let exponentials = unsafe { exp_of::<W, H>(part(y, first)) };
            let count = LANES.min(inner - first);
            let lanes = dy[first..].iter().zip(exponentials).zip(sums);
            store.put(&mut dx[first..][..count], lanes.map(|((dy, exponential), sum)| dy - exponential * sum));
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
    fn each(softmax: &LogSoftmax, samples: usize) -> Vec<Vec<usize>> {
        let LogSoftmax { outer, size, inner } = *softmax;
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
