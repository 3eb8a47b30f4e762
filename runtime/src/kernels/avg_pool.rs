//! Average pooling.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::arena::{Parts, Tile, View};
use crate::kernels::lanes::dispatch;
use crate::kernels::planes::{Numbers, Part, Source, Target, Work, clear_halo, each_part};
use crate::kernels::windows::{self, Each, Gradient, Windows};
use crate::kernels::{Store, math};
use crate::layout::Layout;

/// An average pool's geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool {
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
    /// Zeros on each side.
    pub padding: [usize; 3],
    /// Whether a window's zeros count: the divisor is then the size of the part of the window that lies in the padded input, else that of
    /// the part in the input itself. What hangs over the padded input's end (`ceil_mode`) never counts.
    pub count_include_pad: bool,
}

impl AvgPool {
    fn plane(&self) -> usize {
        self.size.iter().product()
    }

    fn out_plane(&self) -> usize {
        self.out_size.iter().product()
    }

    fn geometry(&self) -> Windows {
        let AvgPool { size, out_size, kernel, stride, padding, .. } = *self;
        Windows { size, out_size, kernel, stride, padding, dilation: [1; 3] }
    }

    fn check(&self, x: View, y: View) {
        if let (Layout::Blocked(_), _) | (_, Layout::Blocked(_)) = (x.layout, y.layout) {
            return self.geometry().check(self.channels, x, y);
        }
        assert_eq!(x.len, self.channels * self.plane(), "the input is [channels][size]");
        assert_eq!(y.len, self.channels * self.out_plane(), "the output is [channels][out_size]");
    }

    /// The inputs that output `out` sees along an axis, and how many places count.
    fn window(&self, axis: usize, out: usize) -> (Range<usize>, usize) {
        let (size, padding) = (self.size[axis], self.padding[axis]);
        // In the padded input.
        let first = out * self.stride[axis];
        let end = (first + self.kernel[axis]).min(size + 2 * padding);
        let end_inside = end.saturating_sub(padding).min(size);
        let inside = first.saturating_sub(padding).min(end_inside)..end_inside;
        let count = if self.count_include_pad { end.saturating_sub(first) } else { inside.len() };
        (inside, count)
    }

    /// Gives `each` the windows of a plane: the output's index, the divisor, and the window.
    fn windows(&self, mut each: impl FnMut(usize, f32, Window)) {
        let mut out = 0;
        for od in 0..self.out_size[0] {
            let (depths, depth_count) = self.window(0, od);
            for oh in 0..self.out_size[1] {
                let (lines, line_count) = self.window(1, oh);
                for ow in 0..self.out_size[2] {
                    let (columns, column_count) = self.window(2, ow);
                    // A window without inputs has the sum zero, whatever it is divided by.
                    let count = (depth_count * line_count * column_count).max(1);
                    each(out, count as f32, Window { depths: depths.clone(), lines: lines.clone(), columns });
                    out += 1;
                }
            }
        }
    }
}

/// Inputs that one output sees.
struct Window {
    depths: Range<usize>,
    lines: Range<usize>,
    columns: Range<usize>,
}

impl Window {
    /// The places in the plane of each of its lines.
    fn places(&self, pool: &AvgPool) -> impl Iterator<Item = Range<usize>> {
        let [_, lines, width] = pool.size;
        self.depths.clone().flat_map(move |depth| {
            self.lines.clone().map(move |line| {
                let first = (depth * lines + line) * width;
                first + self.columns.start..first + self.columns.end
            })
        })
    }
}

/// `y[c][o]` = the sum of `x[c]` over window o, divided by how many count.
pub fn forward(t: &mut Tile<'_>, pool: &AvgPool, x: View, y: View) {
    pool.check(x, y);
    let views = [x, y];
    let Parts { reads: [x], writes: [mut y], isa, .. } = t.parts([x], [y]);
    if let Layout::Blocked(_) = views[0].layout {
        let (from, to) = (Source::new(views[0], &x), Target::new(views[1], &mut y));
        return means_of_planes(isa, pool, from, to, x.samples());
    }
    for sample in 0..x.samples() {
        let planes = y.row(sample).chunks_exact_mut(pool.out_plane());
        for (x, y) in x.row(sample).chunks_exact(pool.plane()).zip(planes) {
            pool.windows(|out, divisor, window| {
                let sum: f64 = window.places(pool).map(|places| math::sum(&x[places])).sum();
                y[out] = sum as f32 / divisor;
            });
        }
    }
}

/// `dx[c][i] = sum over the windows o that see i of dy[c][o]`, divided by how many count in o.
pub fn backward(t: &mut Tile<'_>, pool: &AvgPool, dy: View, dx: View, store: Store) {
    pool.check(dx, dy);
    let views = [dy, dx];
    let Parts { reads: [dy], writes: [mut dx], isa, .. } = t.parts([dy], [dx]);
    if let Layout::Blocked(_) = views[0].layout {
        let (from, to) = (Source::new(views[0], &dy), Target::new(views[1], &mut dx));
        return gradient_of_planes(isa, pool, from, to, store, dy.samples());
    }
    for sample in 0..dy.samples() {
        let dx = dx.row(sample);
        store.begin(dx);
        let planes = dy.row(sample).chunks_exact(pool.out_plane());
        for (dx, dy) in dx.chunks_exact_mut(pool.plane()).zip(planes) {
            pool.windows(|out, divisor, window| {
                let share = dy[out] / divisor;
                for places in window.places(pool) {
                    dx[places].iter_mut().for_each(|dx| *dx += share);
                }
            });
        }
    }
}

dispatch! {
    fn means_of_planes(pool: &AvgPool, x: Source, y: Target, samples: usize) = means_kernel;
    fn gradient_of_planes(pool: &AvgPool, dy: Source, dx: Target, store: Store, samples: usize) = gradient_kernel;
}

/// One over the number of places that count in a window: kept from window to window, since it seldom changes.
struct Share<'a> {
    pool: &'a AvgPool,
    count: usize,
    share: f32,
}

impl Share<'_> {
    fn new(pool: &AvgPool) -> Share<'_> {
        Share { pool, count: 1, share: 1.0 }
    }

    #[inline(always)]
    fn of(&mut self, window: &windows::Window) -> f32 {
        let [depths, lines, columns] = [0, 1, 2].map(|axis| {
            // As in `AvgPool::window`.
            let first = window.out[axis] * self.pool.stride[axis];
            match self.pool.count_include_pad {
                true => self.pool.kernel[axis]
                    .min((self.pool.size[axis] + 2 * self.pool.padding[axis]).saturating_sub(first)),
                false => window.taps[axis].len(),
            }
        });
        let count = depths * lines * columns;
        if count != self.count {
            (self.count, self.share) = (count, 1.0 / count.max(1) as f32);
        }
        self.share
    }
}

struct Means<'a> {
    pool: &'a AvgPool,
    x: Source,
    y: Target,
    samples: usize,
}

/// The maps are as [`Windows::check`] says.
#[inline(always)]
unsafe fn means_kernel<W: Numbers, H: Numbers>(pool: &AvgPool, x: Source, y: Target, samples: usize) {
    // SAFETY: the parts are those of the maps, whose planes are the same; `Source::new` and `Target::new` have checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut Means { pool, x, y, samples }) };
}

impl Work for Means<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let (windows, map) = (self.pool.geometry(), self.y.map);
        for sample in 0..self.samples {
            // SAFETY: a sample and a part of the maps; compiled for the vector's instructions.
            unsafe {
                let (x, y) = (self.x.of(sample, part), self.y.of(sample, part));
                let mut each = MeansOfPart::<V> { share: Share::new(self.pool), x, y, of: PhantomData };
                windows.each(self.x.map, map, part, &mut each);
                clear_halo::<V>(map, part, y);
            }
        }
    }
}

struct MeansOfPart<'a, V> {
    share: Share<'a>,
    x: *const f32,
    y: *mut f32,
    of: PhantomData<V>,
}

impl<V: Numbers> Each for MeansOfPart<'_, V> {
    #[inline(always)]
    unsafe fn window(&mut self, window: windows::Window) {
        let [depth_taps, line_taps, column_taps] = window.taps.clone();
        // SAFETY: taps and outputs are inside their maps; compiled for the vector's instructions.
        unsafe {
            // Four partial sums, of each fourth column.
            let zero = V::splat(0.0);
            let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
            for depth in depth_taps {
                for line in line_taps.clone() {
                    let mut column = column_taps.start;
                    while column + 4 <= column_taps.end {
                        a = a.add(V::load(self.x.add(window.at([depth, line, column]))));
                        b = b.add(V::load(self.x.add(window.at([depth, line, column + 1]))));
                        c = c.add(V::load(self.x.add(window.at([depth, line, column + 2]))));
                        d = d.add(V::load(self.x.add(window.at([depth, line, column + 3]))));
                        column += 4;
                    }
                    let rest = column_taps.end - column;
                    if rest > 0 {
                        a = a.add(V::load(self.x.add(window.at([depth, line, column]))));
                    }
                    if rest > 1 {
                        b = b.add(V::load(self.x.add(window.at([depth, line, column + 1]))));
                    }
                    if rest > 2 {
                        c = c.add(V::load(self.x.add(window.at([depth, line, column + 2]))));
                    }
                }
            }
            let mean = a.add(b).add(c.add(d)).mul(V::splat(self.share.of(&window)));
            mean.store(self.y.add(window.to));
        }
    }
}

struct GradientOfPlanes<'a> {
    pool: &'a AvgPool,
    dy: Source,
    dx: Target,
    store: Store,
    samples: usize,
}

/// As [`means_kernel`].
#[inline(always)]
unsafe fn gradient_kernel<W: Numbers, H: Numbers>(
    pool: &AvgPool,
    dy: Source,
    dx: Target,
    store: Store,
    samples: usize,
) {
    // SAFETY: as in `means_kernel`.
    unsafe { each_part::<W, H>(dx.map.planes, &mut GradientOfPlanes { pool, dy, dx, store, samples }) };
}

impl Work for GradientOfPlanes<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let (windows, map) = (self.pool.geometry(), self.dy.map);
        for sample in 0..self.samples {
            // SAFETY: a sample and a part of the maps; compiled for the vector's instructions.
            unsafe {
                let (dy, dx) = (self.dy.of(sample, part), self.dx.of(sample, part));
                if self.store == Store::Write {
                    windows.clear::<V>(self.dx.map, part, dx);
                }
                let to = Gradient { dx, adds: self.store == Store::Add || !windows.are_side_by_side() };
                let mut each = GradientOfPart::<V> { share: Share::new(self.pool), dy, to, of: PhantomData };
                windows.each(self.dx.map, map, part, &mut each);
            }
        }
    }
}

struct GradientOfPart<'a, V> {
    share: Share<'a>,
    dy: *const f32,
    to: Gradient,
    of: PhantomData<V>,
}

impl<V: Numbers> Each for GradientOfPart<'_, V> {
    #[inline(always)]
    unsafe fn window(&mut self, window: windows::Window) {
        let [depth_taps, line_taps, column_taps] = window.taps.clone();
        // SAFETY: taps and outputs are inside their maps; compiled for the vector's instructions.
        unsafe {
            let dy = V::load(self.dy.add(window.to));
            let share = dy.mul(V::splat(self.share.of(&window)));
            for depth in depth_taps {
                for line in line_taps.clone() {
                    for column in column_taps.clone() {
                        self.to.put(&window, [depth, line, column], share);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::naive::{self, Sums};
    use crate::kernels::testing::{Bench, Random, assert_close, axes, bits, map_of, random_planes, seeds, wide};

    fn random(random: &mut Random) -> AvgPool {
        let count = random.between(1, 3);
        let largest = [60, 20, 7][count - 1];
        let kernel = axes(count, || random.between(1, 5));
        let stride = axes(count, || random.between(1, 3));
        let padding = kernel.map(|kernel| random.between(0, kernel / 2));
        let (ceil, count_include_pad) = (random.coin(), random.coin());
        let size = [0, 1, 2].map(|axis| if axis + count < 3 { 1 } else { random.between(kernel[axis], largest) });
        let out_size = [0, 1, 2].map(|axis| {
            let room = size[axis] + 2 * padding[axis] - kernel[axis];
            let out = if ceil { room.div_ceil(stride[axis]) } else { room / stride[axis] } + 1;
            if (out - 1) * stride[axis] >= size[axis] + padding[axis] { out - 1 } else { out }
        });
        AvgPool { channels: random.between(1, 3), size, out_size, kernel, stride, padding, count_include_pad }
    }

    #[test]
    fn random_pools_are_their_twins() {
        for seed in seeds(0..200) {
            let samples = 1 + seed as usize % 3;
            let mut bench = Bench::new(seed, samples);
            let pool = random(&mut bench.random);
            let (plane, out_plane) = (pool.plane(), pool.out_plane());
            let (inputs, outputs) = (pool.channels * plane, pool.channels * out_plane);
            let shares = naive::avg_pool(&pool);
            let (x, dy) = (bench.numbers(inputs), bench.numbers(outputs));
            let (x_of, dy_of) = (bench.wide(x), bench.wide(dy));
            let planes = samples * pool.channels;
            let tolerance = 8.0 / f64::from(1 << 24);

            let y = bench.target(outputs, Store::Write);
            bench.run(&[y], |t| forward(t, &pool, x, y));
            let mut twin = Sums::zero(planes * out_plane);
            for of in 0..planes {
                shares.iter().for_each(|&(i, o, share)| twin.add(of * out_plane + o, x_of[of * plane + i] * share));
            }
            assert_close("forward", bench.get(y), &twin.values, &twin.scales, tolerance);

            let store = bench.random.store();
            let dx = bench.target(inputs, store);
            let mut twin = if store == Store::Add { Sums::from(bench.wide(dx)) } else { Sums::zero(planes * plane) };
            bench.run(&[dx], |t| backward(t, &pool, dy, dx, store));
            for of in 0..planes {
                shares.iter().for_each(|&(i, o, share)| twin.add(of * plane + i, dy_of[of * out_plane + o] * share));
            }
            assert_close("backward", bench.get(dx), &twin.values, &twin.scales, tolerance);
        }
    }

    #[test]
    fn random_pools_in_planes_are_their_twins() {
        for seed in seeds(0..120) {
            let mut fused = Vec::new();
            for isa in Isa::available() {
                let samples = 1 + seed as usize % 2;
                let mut bench = Bench::new(seed, samples);
                bench.isa = isa;
                let mut pool = random(&mut bench.random);
                if seed % 4 == 0 {
                    // Side by side: halves, quarters, the whole.
                    let side = [2, 4, 8][bench.random.between(0, 2)];
                    (pool.size, pool.out_size) = ([1, 9, 8], [1, 8 / side, 8 / side]);
                    (pool.kernel, pool.stride, pool.padding) = ([1, side, side], [1, side, side], [0; 3]);
                }
                let planes = random_planes(&mut bench.random);
                let [of_x, of_dx] = [(); 2].map(|()| map_of(planes, pool.size, &mut bench.random));
                let [of_y, of_dy] = [(); 2].map(|()| map_of(planes, pool.out_size, &mut bench.random));
                pool.channels = of_x.channels();
                let (plane, out_plane) = (pool.plane(), pool.out_plane());
                let (inputs, outputs) = (pool.channels * plane, pool.channels * out_plane);
                let [x_of, dy_of, before] = [inputs, outputs, inputs].map(|len| bench.random.numbers(samples * len));
                let beside = if bench.random.coin() { f32::NAN } else { 1e30 };
                let (x, dy) = (bench.planes(of_x, &x_of, beside), bench.planes(of_dy, &dy_of, beside));
                let shares = naive::avg_pool(&pool);
                let tolerance = 8.0 / f64::from(1 << 24);

                let y = bench.target_planes(of_y, &[], Store::Write);
                bench.run(&[y], |t| forward(t, &pool, x, y));
                let mut twin = Sums::zero(samples * outputs);
                for of in 0..samples * pool.channels {
                    let x = &x_of[of * plane..];
                    shares.iter().for_each(|&(i, o, share)| twin.add(of * out_plane + o, f64::from(x[i]) * share));
                }
                let y = bench.elements(y);
                assert_close("forward", &y, &twin.values, &twin.scales, tolerance);

                let store = bench.random.store();
                let dx = bench.target_planes(of_dx, &before, store);
                bench.run(&[dx], |t| backward(t, &pool, dy, dx, store));
                let mut twin =
                    if store == Store::Add { Sums::from(wide(&before)) } else { Sums::zero(samples * inputs) };
                for of in 0..samples * pool.channels {
                    let dy = &dy_of[of * out_plane..];
                    shares.iter().for_each(|&(i, o, share)| twin.add(of * plane + i, f64::from(dy[o]) * share));
                }
                let dx = bench.elements(dx);
                assert_close("backward", &dx, &twin.values, &twin.scales, tolerance);
                fused.push((bits(&y), bits(&dx)));
            }
            assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "no instruction rounds otherwise");
        }
    }

    #[test]
    fn divisors_are_those_of_pytorch() {
        // avg_pool1d([1, 2, 3, 4], kernel 3, stride 2, padding 1, ceil_mode): windows 0 1 2 | 2 3 4 | 4 0, the last of which hangs over
        // the padded end by one.
        let pool = AvgPool {
            channels: 1,
            size: [1, 1, 4],
            out_size: [1, 1, 3],
            kernel: [1, 1, 3],
            stride: [1, 1, 2],
            padding: [0, 0, 1],
            count_include_pad: true,
        };
        let mut bench = Bench::new(1, 1);
        let (x, y) = (bench.value(vec![1.0, 2.0, 3.0, 4.0]), bench.target(3, Store::Write));
        bench.run(&[y], |t| forward(t, &pool, x, y));
        assert_eq!(bench.get(y), [1.0, 3.0, 2.0]);
        bench.run(&[y], |t| forward(t, &AvgPool { count_include_pad: false, ..pool }, x, y));
        assert_eq!(bench.get(y), [1.5, 3.0, 4.0]);
    }
}
