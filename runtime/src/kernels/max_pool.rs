//! Max-pooling. Padding is minus infinity, the first of equal maxima counts, a NaN is larger than all before it.

use std::iter::StepBy;
use std::ops::Range;

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;

/// A max-pool's geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Channels.
    pub channels: usize,
    /// Size of the input.
    pub size: [usize; 3],
    /// Size of the output.
    pub out_size: [usize; 3],
    /// Size of a window.
    pub kernel: [usize; 3],
    /// Inputs from one window to the next.
    pub stride: [usize; 3],
    /// Minus infinities on each side.
    pub padding: [usize; 3],
    /// Inputs from one tap to the next.
    pub dilation: [usize; 3],
}

/// Whether `value` takes the place of the maximum `of` values before it.
#[inline(always)]
fn exceeds(value: f32, of: f32) -> bool {
    value > of || value.is_nan()
}

/// The larger, with its place.
#[inline(always)]
fn larger(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    let takes = exceeds(b.0, a.0);
    (if takes { b.0 } else { a.0 }, if takes { b.1 } else { a.1 })
}

impl Pool {
    fn plane(&self) -> usize {
        self.size.iter().product()
    }

    fn out_plane(&self) -> usize {
        self.out_size.iter().product()
    }

    fn check(&self, x: View, y: View) {
        assert_eq!(x.len, self.channels * self.plane(), "the input is [channels][size]");
        assert_eq!(y.len, self.channels * self.out_plane(), "the output is [channels][out_size]");
        debug_assert!(self.plane() <= 1 << 24, "a place in a plane is exact in f32");
    }

    /// Whether windows are 2 by 2, side by side and inside the input.
    fn halves(&self) -> bool {
        let inside =
            self.out_size.iter().zip(&self.kernel).zip(&self.size).all(|((out, kernel), size)| out * kernel <= *size);
        self.kernel == [1, 2, 2]
            && self.stride == [1, 2, 2]
            && self.padding == [0; 3]
            && self.dilation == [1; 3]
            && inside
    }

    /// The inputs that output `out` sees along an axis.
    fn window(&self, axis: usize, out: usize) -> StepBy<Range<usize>> {
        let (dilation, padding) = (self.dilation[axis], self.padding[axis]);
        let first = out * self.stride[axis];
        // Taps before the input are passed over.
        let start = first + padding.saturating_sub(first).div_ceil(dilation) * dilation - padding;
        let end = (first + (self.kernel[axis] - 1) * dilation + 1).saturating_sub(padding).min(self.size[axis]);
        (start..end).step_by(dilation)
    }

    /// Gives `keep` each output of a plane: its index, the maximum, and the maximum's place in the plane.
    fn maxima(&self, x: &[f32], mut keep: impl FnMut(usize, f32, usize)) {
        let [_, lines, width] = self.size;
        let [out_depth, out_lines, out_width] = self.out_size;
        let mut out = 0;
        for od in 0..out_depth {
            for oh in 0..out_lines {
                for ow in 0..out_width {
                    let mut best: Option<(f32, usize)> = None;
                    for d in self.window(0, od) {
                        for h in self.window(1, oh) {
                            for w in self.window(2, ow) {
                                let place = (d * lines + h) * width + w;
                                if best.is_none_or(|(max, _)| exceeds(x[place], max)) {
                                    best = Some((x[place], place));
                                }
                            }
                        }
                    }
                    let (max, place) = best.unwrap_or((f32::NEG_INFINITY, 0));
                    keep(out, max, place);
                    out += 1;
                }
            }
        }
    }

    /// Gives `line` each line of outputs of a plane of 2 by 2 windows: the index of its first, the first place of its upper inputs, and
    /// the inputs above and below, in pairs.
    fn pairs<'x>(&self, x: &'x [f32], mut line: impl FnMut(usize, usize, &'x [[f32; 2]], &'x [[f32; 2]])) {
        let [_, lines, width] = self.size;
        let [out_depth, out_lines, out_width] = self.out_size;
        for od in 0..out_depth {
            for oh in 0..out_lines {
                let place = (od * lines + 2 * oh) * width;
                let (above, below) = x[place..][..2 * width].split_at(width);
                let pairs = |inputs: &'x [f32]| &inputs.as_chunks().0[..out_width];
                line((od * out_lines + oh) * out_width, place, pairs(above), pairs(below));
            }
        }
    }
}

/// `y[c][o]` = the maximum of `x[c]` in window o; `places[c][o]` = where in the channel's plane it is, a whole number.
pub fn forward(t: &mut Tile<'_>, pool: &Pool, x: View, y: View, places: View) {
    pool.check(x, y);
    assert_eq!(places.len, y.len, "a place for each output");
    let Parts { reads: [x], writes: [mut y, mut places], .. } = t.parts([x], [y, places]);
    for sample in 0..x.samples() {
        let (ys, places) = (y.row(sample), places.row(sample));
        let planes = ys.chunks_exact_mut(pool.out_plane()).zip(places.chunks_exact_mut(pool.out_plane()));
        for (x, (y, places)) in x.row(sample).chunks_exact(pool.plane()).zip(planes) {
            if pool.halves() {
                let width = pool.size[2] as f32;
                pool.pairs(x, |out, place, above, below| {
                    let outputs = y[out..].iter_mut().zip(&mut places[out..]);
                    for (index, ((y, at), (a, b))) in outputs.zip(above.iter().zip(below)).enumerate() {
                        let place = (place + 2 * index) as u32 as f32;
                        let upper = larger((a[0], place), (a[1], place + 1.0));
                        let upper = larger(upper, (b[0], place + width));
                        (*y, *at) = larger(upper, (b[1], place + width + 1.0));
                    }
                });
            } else {
                pool.maxima(x, |out, max, place| (y[out], places[out]) = (max, place as f32));
            }
        }
    }
}

/// [`forward`] without the places.
pub fn infer(t: &mut Tile<'_>, pool: &Pool, x: View, y: View) {
    pool.check(x, y);
    let Parts { reads: [x], writes: [mut y], .. } = t.parts([x], [y]);
    let max = |a: f32, b: f32| if exceeds(b, a) { b } else { a };
    for sample in 0..x.samples() {
        let planes = y.row(sample).chunks_exact_mut(pool.out_plane());
        for (x, y) in x.row(sample).chunks_exact(pool.plane()).zip(planes) {
            if pool.halves() {
                pool.pairs(x, |out, _, above, below| {
                    for (y, (a, b)) in y[out..].iter_mut().zip(above.iter().zip(below)) {
                        *y = max(max(max(a[0], a[1]), b[0]), b[1]);
                    }
                });
            } else {
                pool.maxima(x, |out, max, _| y[out] = max);
            }
        }
    }
}

/// `dx[c][i]` = the sum of `dy[c][o]` over the windows o whose maximum is at i.
pub fn backward(t: &mut Tile<'_>, pool: &Pool, dy: View, places: View, dx: View, store: Store) {
    pool.check(dx, dy);
    assert_eq!(places.len, dy.len, "a place for each output");
    let Parts { reads: [dy, places], writes: [mut dx], .. } = t.parts([dy, places], [dx]);
    for sample in 0..dy.samples() {
        let dx = dx.row(sample);
        store.begin(dx);
        let outputs =
            dy.row(sample).chunks_exact(pool.out_plane()).zip(places.row(sample).chunks_exact(pool.out_plane()));
        for (dx, (dy, places)) in dx.chunks_exact_mut(pool.plane()).zip(outputs) {
            for (dy, place) in dy.iter().zip(places) {
                dx[*place as usize] += dy;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, assert_close, axes, bits};

    fn random(bench: &mut Bench) -> Pool {
        let random = &mut bench.random;
        let count = random.between(1, 3);
        let plain = random.between(0, 2) == 0;
        let largest = [40, 13, 6][count - 1];
        let kernel = axes(count, || if plain { 2 } else { random.between(1, 4) });
        let stride = axes(count, || if plain { 2 } else { random.between(1, 3) });
        let dilation = axes(count, || if plain { 1 } else { random.between(1, 2) });
        let padding = kernel.map(|kernel| if plain { 0 } else { random.between(0, kernel / 2) });
        let ceil = random.coin();
        let size = [0, 1, 2].map(|axis| {
            let window = (kernel[axis] - 1) * dilation[axis] + 1;
            if axis + count < 3 { 1 } else { random.between(window, largest.max(window)) }
        });
        let out_size = [0, 1, 2].map(|axis| {
            let window = (kernel[axis] - 1) * dilation[axis] + 1;
            let room = size[axis] + 2 * padding[axis] - window;
            let out = if ceil { room.div_ceil(stride[axis]) } else { room / stride[axis] } + 1;
            // As PyTorch: the last window begins in the input or the padding before it.
            if (out - 1) * stride[axis] >= size[axis] + padding[axis] { out - 1 } else { out }
        });
        Pool { channels: random.between(1, 3), size, out_size, kernel, stride, padding, dilation }
    }

    #[test]
    fn random_pools_are_their_twins() {
        let mut fast = 0;
        for seed in 0..200 {
            let samples = 1 + seed as usize % 3;
            let mut bench = Bench::new(seed, samples);
            let pool = random(&mut bench);
            fast += usize::from(pool.halves());
            let (inputs, outputs) = (pool.channels * pool.plane(), pool.channels * pool.out_plane());
            // Few values, so that ties are many; some of them at the ends of f32.
            let values = [0.5, -0.0, 0.0, -1.0, f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 0.25, 0.125];
            let most = if seed % 2 == 0 { 8 } else { 3 };
            let x = (0..samples * inputs).map(|_| values[bench.random.between(0, most)]).collect();
            let x = bench.value(x);
            let twins: Vec<_> = bench.get(x).chunks_exact(inputs).map(|x| naive::max_pool(&pool, x)).collect();
            let (maxima, at): (Vec<Vec<f32>>, Vec<Vec<f32>>) = twins.into_iter().unzip();
            let (maxima, at) = (maxima.concat(), at.concat());

            let [y, places, inferred] = [(); 3].map(|()| bench.target(outputs, Store::Write));
            bench.run(&[y, places], |t| forward(t, &pool, x, y, places));
            bench.run(&[inferred], |t| infer(t, &pool, x, inferred));
            assert_eq!(bits(bench.get(y)), bits(&maxima), "{pool:?}");
            assert_eq!(bench.get(places), at, "{pool:?}");
            assert_eq!(bits(bench.get(inferred)), bits(&maxima), "{pool:?}");

            let store = bench.random.store();
            let (dy, dx) = (bench.numbers(outputs), bench.target(inputs, store));
            let mut twin = if store == Store::Add { bench.wide(dx) } else { vec![0.0; samples * inputs] };
            bench.run(&[dx], |t| backward(t, &pool, dy, places, dx, store));
            for (index, (dy, place)) in bench.wide(dy).iter().zip(&at).enumerate() {
                twin[index / pool.out_plane() * pool.plane() + *place as usize] += dy;
            }
            let scales = vec![8.0; twin.len()];
            assert_close("backward", bench.get(dx), &twin, &scales, 1.0 / f64::from(1 << 24));
        }
        assert!(fast > 10, "{fast}");
    }

    #[test]
    fn a_tie_is_the_first_and_not_a_number_wins() {
        let pool = Pool {
            channels: 1,
            size: [1, 2, 4],
            out_size: [1, 1, 2],
            kernel: [1, 2, 2],
            stride: [1, 2, 2],
            padding: [0; 3],
            dilation: [1; 3],
        };
        let mut bench = Bench::new(1, 1);
        let x = bench.value(vec![1.0, 3.0, f32::NAN, 9.0, 3.0, 3.0, 9.0, 9.0]);
        let (y, places) = (bench.target(2, Store::Write), bench.target(2, Store::Write));
        bench.run(&[y, places], |t| forward(t, &pool, x, y, places));
        assert!(bench.get(y)[0] == 3.0 && bench.get(y)[1].is_nan());
        assert_eq!(bench.get(places), [1.0, 2.0]);
    }
}
