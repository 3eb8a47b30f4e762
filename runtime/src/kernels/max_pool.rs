//! Max-pooling. Padding is minus infinity, the first of equal maxima counts, a NaN is larger than all before it. The maximum of a window
//! that lies beside the map is minus infinity and has no place: nothing flows back (PyTorch's index is then beside the map as well).
//!
//! Where the maxima are, in a plain value of [`places_len`] floats: of plain maps a whole number each, the place in the channel's plane
//! or, for none, its length; of maps in planes the element of the window, row by row, in the order of the output's planes without halo
//! (`[plane][depth][line][column][lanes]`), a byte each if a window has at most 256 elements, else the bits of a float.
#![allow(unsafe_code)]

use std::iter::StepBy;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::null_mut;

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::kernels::lanes::dispatch;
use crate::kernels::planes::{Numbers, Part, Source, Target, Work, clear_halo, each_part};
use crate::kernels::windows::{Each, Gradient, Window, Windows};
use crate::layout::Layout;

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

    fn windows(&self) -> Windows {
        let Pool { size, out_size, kernel, stride, padding, dilation, .. } = *self;
        Windows { size, out_size, kernel, stride, padding, dilation }
    }

    /// Whether an element of a window is a byte.
    const fn has_bytes(&self) -> bool {
        self.kernel[0] * self.kernel[1] * self.kernel[2] <= 256
    }

    fn check_places(&self, places: View, y: View) {
        assert_eq!(places.len, places_len(self, y.layout), "a place for each output");
    }

    fn check(&self, x: View, y: View) {
        if let (Layout::Blocked(_), _) | (_, Layout::Blocked(_)) = (x.layout, y.layout) {
            return self.windows().check(self.channels, x, y);
        }
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
                    let (max, place) = best.unwrap_or((f32::NEG_INFINITY, x.len()));
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

/// Floats of the places of an output.
pub const fn places_len(pool: &Pool, y: Layout) -> usize {
    let [depth, lines, width] = pool.out_size;
    match y {
        Layout::Plain => pool.channels * depth * lines * width,
        Layout::Blocked(map) => {
            let (mut lanes, mut plane) = (0, 0);
            while plane < map.planes.len() {
                lanes += map.planes[plane].lanes;
                plane += 1;
            }
            let count = lanes * depth * lines * width;
            if pool.has_bytes() { count.div_ceil(4) } else { count }
        }
    }
}

/// `y[c][o]` = the maximum of `x[c]` in window o; `places[c][o]` = where it is, as above.
pub fn forward(t: &mut Tile<'_>, pool: &Pool, x: View, y: View, places: View) {
    pool.check(x, y);
    pool.check_places(places, y);
    let views = [x, y];
    let Parts { reads: [x], writes: [mut y, mut places], isa, .. } = t.parts([x], [y, places]);
    if let Layout::Blocked(_) = views[0].layout {
        let (from, to) = (Source::new(views[0], &x), Target::new(views[1], &mut y));
        let places = Places { first: places.as_mut_ptr().cast(), stride: 4 * places.stride() };
        return maxima_of_planes(isa, pool, from, to, Some(places), x.samples());
    }
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
    let views = [x, y];
    let Parts { reads: [x], writes: [mut y], isa, .. } = t.parts([x], [y]);
    if let Layout::Blocked(_) = views[0].layout {
        let (from, to) = (Source::new(views[0], &x), Target::new(views[1], &mut y));
        return maxima_of_planes(isa, pool, from, to, None, x.samples());
    }
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
    pool.check_places(places, dy);
    let views = [dy, dx];
    let Parts { reads: [dy, places], writes: [mut dx], isa, .. } = t.parts([dy, places], [dx]);
    if let Layout::Blocked(_) = views[0].layout {
        let (from, to) = (Source::new(views[0], &dy), Target::new(views[1], &mut dx));
        let places = Places { first: places.as_ptr().cast_mut().cast(), stride: 4 * places.stride() };
        return gradient_of_planes(isa, pool, from, places, to, store, dy.samples());
    }
    for sample in 0..dy.samples() {
        let dx = dx.row(sample);
        store.begin(dx);
        let outputs =
            dy.row(sample).chunks_exact(pool.out_plane()).zip(places.row(sample).chunks_exact(pool.out_plane()));
        for (dx, (dy, places)) in dx.chunks_exact_mut(pool.plane()).zip(outputs) {
            for (dy, place) in dy.iter().zip(places) {
                if let Some(dx) = dx.get_mut(*place as usize) {
                    *dx += dy;
                }
            }
        }
    }
}

/// Rows of places of maps in planes, in bytes.
#[derive(Clone, Copy)]
struct Places {
    first: *mut u8,
    stride: usize,
}

impl Places {
    /// The first of the part's lanes at the first position, and the bytes of a number.
    ///
    /// # Safety
    ///
    /// The rows are of [`places_len`] floats for the map of outputs; the sample is one of them, the part one of the map's.
    #[inline(always)]
    unsafe fn of(self, sample: usize, pool: &Pool, part: Part) -> (*mut u8, usize) {
        let each = if pool.has_bytes() { 1 } else { 4 };
        // SAFETY: inside the sample's row.
        (unsafe { self.first.add(sample * self.stride + (part.before * pool.out_plane() + part.lane) * each) }, each)
    }
}

dispatch! {
    fn maxima_of_planes(pool: &Pool, x: Source, y: Target, places: Option<Places>, samples: usize) = maxima_kernel;
    fn gradient_of_planes(
        pool: &Pool, dy: Source, places: Places, dx: Target, store: Store, samples: usize,
    ) = gradient_kernel;
}

struct Maxima<'a> {
    pool: &'a Pool,
    windows: Windows,
    x: Source,
    y: Target,
    places: Option<Places>,
    samples: usize,
}

/// Places are as long as [`places_len`] says, and the maps as [`Windows::check`] does.
#[inline(always)]
unsafe fn maxima_kernel<W: Numbers, H: Numbers>(
    pool: &Pool,
    x: Source,
    y: Target,
    places: Option<Places>,
    samples: usize,
) {
    let windows = pool.windows();
    // SAFETY: the parts are those of the maps, whose planes are the same; `Source::new` and `Target::new` have checked the rows.
    unsafe { each_part::<W, H>(x.map.planes, &mut Maxima { pool, windows, x, y, places, samples }) };
}

impl Work for Maxima<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        for sample in 0..self.samples {
            // SAFETY: a sample and a part of the maps; compiled for the vector's instructions.
            unsafe {
                let (x, y) = (self.x.of(sample, part), self.y.of(sample, part));
                let (kernel, lanes, map) = (self.pool.kernel, part.lanes, self.y.map);
                match self.places.map(|places| places.of(sample, self.pool, part)) {
                    None => {
                        let mut each =
                            MaximaOfPart::<V, 0> { kernel, lanes, x, y, places: null_mut(), of: PhantomData };
                        self.windows.each(self.x.map, map, part, &mut each);
                    }
                    Some((places, 1)) => {
                        let mut each = MaximaOfPart::<V, 1> { kernel, lanes, x, y, places, of: PhantomData };
                        self.windows.each(self.x.map, map, part, &mut each);
                    }
                    Some((places, _)) => {
                        let mut each = MaximaOfPart::<V, 4> { kernel, lanes, x, y, places, of: PhantomData };
                        self.windows.each(self.x.map, map, part, &mut each);
                    }
                }
                clear_halo::<V>(map, part, y);
            }
        }
    }
}

/// The maxima of a part, with places of so many bytes.
struct MaximaOfPart<V, const BYTES: usize> {
    kernel: [usize; 3],
    lanes: usize,
    x: *const f32,
    y: *mut f32,
    places: *mut u8,
    of: PhantomData<V>,
}

impl<V: Numbers, const BYTES: usize> Each for MaximaOfPart<V, BYTES> {
    #[inline(always)]
    unsafe fn window(&mut self, window: Window) {
        let [_, lines, width] = self.kernel;
        let [depth_taps, line_taps, column_taps] = window.taps.clone();
        let number = |d: usize, h: usize, w: usize| (d * lines + h) * width + w;
        // The element when there is no input: one that no input has, so that backward finds none.
        let first = number(depth_taps.start, line_taps.start, column_taps.start);
        // SAFETY: taps and outputs are inside their maps, places are for each output; compiled for the vector's instructions.
        unsafe {
            let (mut max, mut place) = (V::splat(f32::NEG_INFINITY), V::number(first));
            for d in depth_taps {
                for h in line_taps.clone() {
                    for w in column_taps.clone() {
                        let value = V::load(self.x.add(window.at([d, h, w])));
                        (max, place) = max.larger(place, value, V::number(number(d, h, w)));
                    }
                }
            }
            max.store(self.y.add(window.to));
            let at = window.position * self.lanes;
            match BYTES {
                0 => {}
                1 => place.store_bytes(self.places.add(at)),
                _ => place.store(self.places.cast::<f32>().add(at)),
            }
        }
    }
}

struct GradientOfPlanes<'a> {
    pool: &'a Pool,
    windows: Windows,
    dy: Source,
    places: Places,
    dx: Target,
    store: Store,
    samples: usize,
}

/// As [`maxima_kernel`].
#[inline(always)]
unsafe fn gradient_kernel<W: Numbers, H: Numbers>(
    pool: &Pool,
    dy: Source,
    places: Places,
    dx: Target,
    store: Store,
    samples: usize,
) {
    let windows = pool.windows();
    let mut work = GradientOfPlanes { pool, windows, dy, places, dx, store, samples };
    // SAFETY: as in `maxima_kernel`.
    unsafe { each_part::<W, H>(dx.map.planes, &mut work) };
}

impl Work for GradientOfPlanes<'_> {
    #[inline(always)]
    unsafe fn part<V: Numbers>(&mut self, part: Part) {
        let (kernel, lanes, map) = (self.pool.kernel, part.lanes, self.dy.map);
        for sample in 0..self.samples {
            // SAFETY: a sample and a part of the maps; compiled for the vector's instructions.
            unsafe {
                let (dy, dx) = (self.dy.of(sample, part), self.dx.of(sample, part));
                let (places, bytes) = self.places.of(sample, self.pool, part);
                if self.store == Store::Write {
                    self.windows.clear::<V>(self.dx.map, part, dx);
                }
                let to = Gradient { dx, adds: self.store == Store::Add || !self.windows.are_side_by_side() };
                if bytes == 1 {
                    let mut each = GradientOfPart::<V, 1> { kernel, lanes, dy, places, to, of: PhantomData };
                    self.windows.each(self.dx.map, map, part, &mut each);
                } else {
                    let mut each = GradientOfPart::<V, 4> { kernel, lanes, dy, places, to, of: PhantomData };
                    self.windows.each(self.dx.map, map, part, &mut each);
                }
            }
        }
    }
}

/// The gradient of a part, of places of so many bytes.
struct GradientOfPart<V, const BYTES: usize> {
    kernel: [usize; 3],
    lanes: usize,
    dy: *const f32,
    places: *const u8,
    to: Gradient,
    of: PhantomData<V>,
}

impl<V: Numbers, const BYTES: usize> Each for GradientOfPart<V, BYTES> {
    #[inline(always)]
    unsafe fn window(&mut self, window: Window) {
        let [_, lines, width] = self.kernel;
        let [depth_taps, line_taps, column_taps] = window.taps.clone();
        let at = window.position * self.lanes;
        // SAFETY: taps and outputs are inside their maps, places are for each output; compiled for the vector's instructions.
        unsafe {
            let dy = V::load(self.dy.add(window.to));
            let place = match BYTES {
                1 => V::load_bytes(self.places.add(at)),
                _ => V::load(self.places.cast::<f32>().add(at)),
            };
            for d in depth_taps {
                for h in line_taps.clone() {
                    for w in column_taps.clone() {
                        let gradient = place.if_same(V::number((d * lines + h) * width + w), dy, V::splat(0.0));
                        self.to.put(&window, [d, h, w], gradient);
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
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, Random, assert_close, axes, bits, map, map_of, random_planes, seeds};
    use crate::layout::Blocked;

    fn random(random: &mut Random) -> Pool {
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
        for seed in seeds(0..200) {
            let samples = 1 + seed as usize % 3;
            let mut bench = Bench::new(seed, samples);
            let pool = random(&mut bench.random);
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
                if (*place as usize) < pool.plane() {
                    twin[index / pool.out_plane() * pool.plane() + *place as usize] += dy;
                }
            }
            let scales = vec![8.0; twin.len()];
            assert_close("backward", bench.get(dx), &twin, &scales, 1.0 / f64::from(1 << 24));
        }
        assert!(fast > 10 || cfg!(miri), "{fast}");
    }

    /// The places in the channels' planes, from the elements of the windows.
    fn in_planes(pool: &Pool, of: &Blocked, places: &[f32]) -> Vec<f32> {
        let bytes: Vec<u32> = match pool.has_bytes() {
            true => places.iter().flat_map(|places| places.to_bits().to_le_bytes()).map(u32::from).collect(),
            false => bits(places),
        };
        let [_, lines, width] = pool.kernel;
        let [_, out_lines, out_width] = pool.out_size;
        let (mut first, mut all) = (0, Vec::new());
        for plane in of.planes {
            for channel in 0..plane.channels {
                for out in 0..pool.out_plane() {
                    let number = bytes[first + out * plane.lanes + channel] as usize;
                    let tap = [number / (lines * width), number / width % lines, number % width];
                    let at = [out / (out_lines * out_width), out / out_width % out_lines, out % out_width];
                    let seen = [0, 1, 2].map(|axis| {
                        let at = at[axis] * pool.stride[axis] + tap[axis] * pool.dilation[axis];
                        at.checked_sub(pool.padding[axis]).filter(|&at| at < pool.size[axis])
                    });
                    all.push(match seen {
                        [Some(d), Some(h), Some(w)] => ((d * pool.size[1] + h) * pool.size[2] + w) as f32,
                        _ => pool.plane() as f32,
                    });
                }
            }
            first += plane.lanes * pool.out_plane();
        }
        all
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
                if seed % 30 == 7 {
                    // A window of more elements than a byte counts.
                    (pool.size, pool.out_size, pool.kernel) = ([1, 17, 18], [1, 1, 2], [1, 17, 17]);
                    (pool.stride, pool.padding, pool.dilation) = ([1; 3], [0; 3], [1; 3]);
                }
                let planes = random_planes(&mut bench.random);
                let [of_x, of_dx] = [(); 2].map(|()| map_of(planes, pool.size, &mut bench.random));
                let [of_y, of_dy] = [(); 2].map(|()| map_of(planes, pool.out_size, &mut bench.random));
                pool.channels = of_x.channels();
                let (inputs, outputs) = (pool.channels * pool.plane(), pool.channels * pool.out_plane());
                let values = [0.5, -0.0, 0.0, -1.0, f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 0.25, 0.125];
                let most = if seed % 2 == 0 { 8 } else { 3 };
                let elements: Vec<f32> = (0..samples * inputs).map(|_| values[bench.random.between(0, most)]).collect();
                let beside = if bench.random.coin() { f32::NAN } else { 1e30 };
                let x = bench.planes(of_x, &elements, beside);
                let twins: Vec<_> = elements.chunks_exact(inputs).map(|x| naive::max_pool(&pool, x)).collect();
                let (maxima, at): (Vec<Vec<f32>>, Vec<Vec<f32>>) = twins.into_iter().unzip();
                let (maxima, at) = (maxima.concat(), at.concat());

                let [y, inferred] = [(); 2].map(|()| bench.target_planes(of_y, &[], Store::Write));
                let places = bench.target(places_len(&pool, y.layout), Store::Write);
                bench.run(&[y, places], |t| forward(t, &pool, x, y, places));
                bench.run(&[inferred], |t| infer(t, &pool, x, inferred));
                assert_eq!(bits(&bench.elements(y)), bits(&maxima), "{pool:?} {of_x:?}");
                assert_eq!(bits(&bench.elements(inferred)), bits(&maxima), "{pool:?} {of_x:?}");
                let found = bench.get(places).chunks_exact(places.len).flat_map(|row| in_planes(&pool, of_y, row));
                assert_eq!(found.collect::<Vec<f32>>(), at, "{pool:?} {of_x:?}");

                let store = bench.random.store();
                let [dy_of, before] = [outputs, inputs].map(|len| bench.random.numbers(samples * len));
                let dy = bench.planes(of_dy, &dy_of, beside);
                let dx = bench.target_planes(of_dx, &before, store);
                bench.run(&[dx], |t| backward(t, &pool, dy, places, dx, store));
                let mut twin: Vec<f64> = match store {
                    Store::Add => before.iter().map(|&dx| f64::from(dx)).collect(),
                    Store::Write => vec![0.0; samples * inputs],
                };
                for (index, (dy, place)) in dy_of.iter().zip(&at).enumerate() {
                    if (*place as usize) < pool.plane() {
                        twin[index / pool.out_plane() * pool.plane() + *place as usize] += f64::from(*dy);
                    }
                }
                let (dx, scales) = (bench.elements(dx), vec![16.0; twin.len()]);
                assert_close("backward", &dx, &twin, &scales, 1.0 / f64::from(1 << 24));
                fused.push(bits(&dx));
            }
            assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "no instruction rounds otherwise");
        }
    }

    #[test]
    fn a_window_beside_the_map_has_no_place() {
        // PyTorch: max_pool1d([1, 2], kernel 2, padding 1, dilation 3) is -inf, with an index beside the map and no gradient.
        let pool = Pool {
            channels: 1,
            size: [1, 1, 2],
            out_size: [1, 1, 1],
            kernel: [1, 1, 2],
            stride: [1; 3],
            padding: [0, 0, 1],
            dilation: [1, 1, 3],
        };
        for isa in Isa::available() {
            let mut bench = Bench::new(1, 1);
            bench.isa = isa;
            let (of_x, of_y) = (map(1, pool.size, [0; 3], [0; 3]), map(1, pool.out_size, [0; 3], [0; 3]));
            for is_plain in [true, false] {
                let value = |bench: &mut Bench, of: &'static Blocked, floats: &[f32]| match is_plain {
                    true => bench.value(floats.to_vec()),
                    false => bench.planes(of, floats, 1e30),
                };
                let elements = |bench: &Bench, view: View| match is_plain {
                    true => bench.get(view).to_vec(),
                    false => bench.elements(view),
                };
                let (x, y) = (value(&mut bench, of_x, &[1.0, 2.0]), value(&mut bench, of_y, &[3.0]));
                let places = bench.target(places_len(&pool, y.layout), Store::Write);
                bench.run(&[y, places], |t| forward(t, &pool, x, y, places));
                assert_eq!(elements(&bench, y), [f32::NEG_INFINITY]);
                let (dy, dx) = (value(&mut bench, of_y, &[1.0]), value(&mut bench, of_x, &[5.0, 6.0]));
                bench.run(&[dx], |t| backward(t, &pool, dy, places, dx, Store::Add));
                assert_eq!(elements(&bench, dx), [5.0, 6.0]);
                bench.run(&[dx], |t| backward(t, &pool, dy, places, dx, Store::Write));
                assert_eq!(elements(&bench, dx), [0.0, 0.0]);
            }
        }
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
