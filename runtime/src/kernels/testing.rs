//! What the kernels' tests share: random numbers, memory for a tile with guards around each value, and comparison with a twin.

use std::ops::Range;

use crate::arena::{Job, Region, Tile, View};
use crate::isa::{Isa, Numerics};
use crate::kernels::Store;
use crate::kernels::direct::pool_places_len;
use crate::layout::{Blocked, Layout, Plane};
use crate::network::BatchLoss;
use crate::random::{self, Draw};
use crate::run::{Copies, Params, Pass, Plan, Run, Workspace};

/// What lies around values: no kernel reads or changes it. Not a number, so that what is read by mistake shows.
const GUARD: f32 = f32::from_bits(0x7fc0_dead);

/// Random numbers of a test, from its seed.
pub(crate) struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { seed, drawn: 0 }
    }

    fn bits(&mut self) -> u64 {
        self.drawn += 1;
        random::bits(&[self.seed, self.drawn])
    }

    /// A whole number between two, both included.
    pub(crate) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.bits() as usize % (most + 1 - least)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.between(0, 1) == 1
    }

    pub(crate) fn store(&mut self) -> Store {
        if self.coin() { Store::Add } else { Store::Write }
    }

    /// Numbers between -1 and 1.
    pub(crate) fn numbers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| 2.0 * random::unit(self.bits()) - 1.0).collect()
    }
}

/// The seeds of a test of random geometry: all of them, but for Miri, which is some thousand times slower, one from each quarter.
pub(crate) fn seeds(all: Range<u64>) -> impl Iterator<Item = u64> {
    // Odd and no multiple of three: what a seed's remainders choose is different from one to the next.
    let step = all.end.saturating_sub(all.start).div_ceil(4) as usize | 1;
    let step = if step.is_multiple_of(3) { step + 2 } else { step };
    all.step_by(if cfg!(miri) { step } else { 1 })
}

/// A size for each of three axes, of which the first ones may be missing: 1.
pub(crate) fn axes(axes: usize, mut of: impl FnMut() -> usize) -> [usize; 3] {
    [0, 1, 2].map(|axis| if axis + axes < 3 { 1 } else { of() })
}

/// The memory of a tile, with values in either region, guards around them and room between the samples.
pub(crate) struct Bench {
    pub(crate) random: Random,
    pub(crate) samples: usize,
    /// The tile's first sample in the batch.
    pub(crate) first: usize,
    /// The instructions that kernels use.
    pub(crate) isa: Isa,
    pub(crate) numerics: Numerics,
    pub(crate) params: Vec<f32>,
    /// Packed parameters, of which every float is the kernel's to read.
    pub(crate) packed: Vec<f32>,
    pub(crate) state: Vec<f32>,
    pub(crate) gradients: Vec<f32>,
    pub(crate) scratch: usize,
    pub(crate) draw: Draw,
    values: Vec<(View, Vec<f32>)>,
    /// Floats of a row of either region that are given out.
    used: [usize; 2],
}

impl Bench {
    pub(crate) fn new(seed: u64, samples: usize) -> Bench {
        Bench {
            random: Random::new(seed),
            samples,
            first: 0,
            isa: Isa::best(),
            numerics: Numerics::Fast,
            params: vec![GUARD; 2],
            packed: Vec::new(),
            state: vec![GUARD; 2],
            gradients: vec![GUARD; 2],
            scratch: 0,
            draw: Draw { seed, step: 1 },
            values: Vec::new(),
            used: [1, 1],
        }
    }

    /// A value of these floats, sample by sample.
    pub(crate) fn value(&mut self, floats: Vec<f32>) -> View {
        let len = floats.len() / self.samples;
        let region = if self.random.coin() { Region::Tile } else { Region::Batch };
        let offset = self.used[region as usize];
        self.used[region as usize] = offset + len + self.random.between(1, 3);
        let view = View { region, offset, len, layout: Layout::Plain };
        self.values.push((view, floats));
        view
    }

    /// A value of random numbers, `len` a sample.
    pub(crate) fn numbers(&mut self, len: usize) -> View {
        let numbers = self.random.numbers(self.samples * len);
        self.value(numbers)
    }

    /// A value to be written: random numbers when a kernel adds to it, else what must not be read.
    pub(crate) fn target(&mut self, len: usize, store: Store) -> View {
        match store {
            Store::Add => self.numbers(len),
            Store::Write => self.value(vec![GUARD; self.samples * len]),
        }
    }

    /// A value in planes, of these elements in PyTorch's order, sample by sample. Its halo is zero; `beside` is in the lanes that are no
    /// channels.
    pub(crate) fn planes(&mut self, map: &'static Blocked, elements: &[f32], beside: f32) -> View {
        let count = map.channels() * map.size.iter().product::<usize>();
        let of_sample = |elements: &[f32]| {
            let mut floats = vec![beside; map.len()];
            map.clear_halo(&mut floats);
            elements_of(map).zip(elements).for_each(|(at, &element)| floats[at] = element);
            floats
        };
        let floats = elements.chunks_exact(count).flat_map(of_sample).collect();
        self.value(floats).blocked(map)
    }

    /// The places of maxima in their windows of 2x2, of elements of this map in PyTorch's order, sample by sample: a byte each, as
    /// convolutions with a pool write them.
    pub(crate) fn places(&mut self, map: &Blocked, places: &[u8]) -> View {
        let flat = Blocked { before: [0; 3], after: [0; 3], ..*map };
        let of_sample = |places: &[u8]| {
            let mut bytes = vec![0xff; pool_places_len(map) * 4];
            elements_of(&flat).zip(places).for_each(|(at, &place)| bytes[at] = place);
            bytes.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect::<Vec<_>>()
        };
        let count = map.channels() * map.size.iter().product::<usize>();
        let floats = places.chunks_exact(count).flat_map(of_sample).collect();
        self.value(floats)
    }

    /// A value in planes to be written: these elements when a kernel adds to it, else what must not be read.
    pub(crate) fn target_planes(&mut self, map: &'static Blocked, elements: &[f32], store: Store) -> View {
        match store {
            Store::Add => self.planes(map, elements, GUARD),
            Store::Write => self.value(vec![GUARD; self.samples * map.len()]).blocked(map),
        }
    }

    /// The elements of a value in planes, in PyTorch's order, sample by sample; asserts that its halo is zero.
    pub(crate) fn elements(&self, view: View) -> Vec<f32> {
        let map = view.map();
        let of_sample = |floats: &[f32]| {
            let mut cleared = floats.to_vec();
            map.clear_halo(&mut cleared);
            assert!(bits(floats) == bits(&cleared), "the halo is zero");
            elements_of(map).map(|at| floats[at]).collect::<Vec<_>>()
        };
        self.get(view).chunks_exact(map.len()).flat_map(of_sample).collect()
    }

    /// Random parameters; gives their offset.
    pub(crate) fn weights(&mut self, len: usize) -> usize {
        let (offset, numbers) = (self.params.len(), self.random.numbers(len));
        self.params.extend(numbers);
        self.params.push(GUARD);
        offset
    }

    /// Room for a gradient, with something in it already; gives its offset.
    pub(crate) fn gradient(&mut self, len: usize) -> usize {
        let (offset, numbers) = (self.gradients.len(), self.random.numbers(len));
        self.gradients.extend(numbers);
        self.gradients.push(GUARD);
        offset
    }

    /// The floats of a value, sample by sample.
    pub(crate) fn get(&self, view: View) -> &[f32] {
        &self
            .values
            .iter()
            .find(|(value, _)| (value.region, value.offset) == (view.region, view.offset))
            .expect("a value of this bench")
            .1
    }

    /// The floats of a value as f64.
    pub(crate) fn wide(&self, view: View) -> Vec<f64> {
        wide(self.get(view))
    }

    /// Runs a kernel that may change only the values `writes` and the gradient.
    pub(crate) fn run(&mut self, writes: &[View], kernel: impl FnOnce(&mut Tile<'_>)) {
        let samples = self.samples;
        let strides = self.used.map(|used| used + 2);
        let mut memory = strides.map(|stride| vec![GUARD; samples * stride]);
        for (view, floats) in &self.values {
            for (sample, floats) in floats.chunks_exact(view.len).enumerate() {
                let first = sample * strides[view.region as usize] + view.offset;
                memory[view.region as usize][first..][..view.len].copy_from_slice(floats);
            }
        }
        let before = memory.clone();
        let gradients_before = self.gradients.clone();
        // More than is asked for, so that what lies behind is seen.
        let mut scratch = vec![GUARD; self.scratch + 3];
        let mut losses = vec![0.0; samples];
        let [tile, batch] = &mut memory;
        kernel(&mut Tile {
            samples: self.first..self.first + samples,
            tile,
            tile_stride: strides[0],
            batch,
            batch_stride: strides[1],
            params: &self.params,
            packed: &self.packed,
            isa: self.isa,
            numerics: self.numerics,
            state: &self.state,
            gradients: &mut self.gradients,
            scratch: &mut scratch,
            threads: 1,
            losses: &mut losses,
            job: &Job { feed: &|_, _, _| {}, loss: BatchLoss::NONE, samples: self.first + samples },
            draw: self.draw,
        });
        assert!(scratch[self.scratch..].iter().all(is_guard), "scratch that was not asked for is written");
        let guards = self.gradients.iter().zip(&gradients_before).filter(|(_, before)| is_guard(before));
        assert!(guards.into_iter().all(|(after, _)| is_guard(after)), "the gradient is written beside its place");
        // Float by float: minutes in Miri.
        for (region, (after, before)) in memory.iter().zip(&before).enumerate().filter(|_| cfg!(not(miri))) {
            for (at, (after, before)) in after.iter().zip(before).enumerate() {
                let place = at % strides[region];
                let inside = |view: &View| {
                    view.region as usize == region && (view.offset..view.offset + view.len).contains(&place)
                };
                let same = after.to_bits() == before.to_bits();
                assert!(same || writes.iter().any(inside), "float {at} of region {region} was {before}, is {after}");
            }
        }
        for (view, floats) in &mut self.values {
            for (sample, floats) in floats.chunks_exact_mut(view.len).enumerate() {
                let first = sample * strides[view.region as usize] + view.offset;
                floats.copy_from_slice(&memory[view.region as usize][first..][..view.len]);
            }
        }
    }
}

/// The gradient of maps of this size of which the maxima of 2x2 were taken: zero but at the maxima's places in their windows.
pub(crate) fn before_pool([_, lines, columns]: [usize; 3], dy: &[f32], places: &[u8]) -> Vec<f64> {
    let (plane, width, windows) = (lines * columns, columns / 2, (lines / 2) * (columns / 2));
    let mut full = vec![0.0; dy.len() / windows * plane];
    for (at, (&dy, &place)) in dy.iter().zip(places).enumerate() {
        let (line, column) = (at % windows / width, at % width);
        let (down, right) = (place as usize / 2, place as usize % 2);
        full[at / windows * plane + (2 * line + down) * columns + 2 * column + right] = f64::from(dy);
    }
    full
}

/// Where the elements of a map are, in PyTorch's order.
fn elements_of(map: &Blocked) -> impl Iterator<Item = usize> {
    let [depths, lines, columns] = map.size;
    (0..map.channels()).flat_map(move |channel| {
        (0..depths * lines * columns)
            .map(move |at| map.at(channel, at / columns / lines, at / columns % lines, at % columns))
    })
}

/// A map of so many channels, in planes of 16 lanes and a last one of 8 or 16.
pub(crate) fn map(channels: usize, size: [usize; 3], before: [usize; 3], after: [usize; 3]) -> &'static Blocked {
    let mut planes = vec![Plane::FULL; channels / 16];
    match channels % 16 {
        0 => {}
        rest => planes.push(Plane { lanes: if rest <= 8 { 8 } else { 16 }, channels: rest }),
    }
    Box::leak(Box::new(Blocked { planes: planes.leak(), size, before, after }))
}

/// Planes of some channels: as [`map`] makes them, of an image, or as a concatenation leaves them, with padding between.
pub(crate) fn random_planes(random: &mut Random) -> &'static [Plane] {
    let count = |random: &mut Random| [1, 3, 5, 8, 12, 16, 19, 24, 40][random.between(0, 8)];
    match random.between(0, 3) {
        0 => {
            let channels = random.between(1, 4);
            image(channels, [1; 3], [0; 3], [0; 3]).planes
        }
        1 => {
            let parts = [count(random).min(24), count(random).min(12)];
            parts.map(|channels| map(channels, [1; 3], [0; 3], [0; 3]).planes).concat().leak()
        }
        _ => map(count(random), [1; 3], [0; 3], [0; 3]).planes,
    }
}

/// A map of these planes with some halo.
pub(crate) fn map_of(planes: &'static [Plane], size: [usize; 3], random: &mut Random) -> &'static Blocked {
    let mut halo = || axes(3, || random.between(0, 2));
    let (before, after) = (halo(), halo());
    Box::leak(Box::new(Blocked { planes, size, before, after }))
}

/// A map with its channels innermost: an image.
pub(crate) fn image(channels: usize, size: [usize; 3], before: [usize; 3], after: [usize; 3]) -> &'static Blocked {
    Box::leak(Box::new(Blocked { planes: vec![Plane { lanes: channels, channels }].leak(), size, before, after }))
}

fn is_guard(value: &f32) -> bool {
    value.to_bits() == GUARD.to_bits()
}

/// A pass over a batch whose inputs are these, sample by sample.
pub(crate) fn pass(
    threads: usize,
    plan: Plan,
    params: &[f32],
    statistics: Option<&mut [f32]>,
    samples: usize,
    inputs: &[&[f32]],
    work: impl FnOnce(&mut Run<'_>),
) {
    let feed = |sample: usize, input: usize, to: &mut [f32]| {
        to.copy_from_slice(&inputs[input][sample * to.len()..][..to.len()])
    };
    let job = Job { feed: &feed, loss: BatchLoss::NONE, samples };
    let mut workspace = Workspace::with_threads(threads);
    let (copies, params) = (Copies::none(), Params::Trained(params, 0));
    let mut run = workspace.run(Pass { plan: &plan, written: &[], copies, params, statistics, job: &job, draw: None });
    work(&mut run);
}

/// What a kernel of the whole batch adds to `len` floats of gradient that are zero, of two values in planes with these elements, sample
/// by sample.
pub(crate) fn gradient_of_batch(
    (isa, threads, scratch): (Isa, usize, usize),
    [x_map, dy_map]: [&'static Blocked; 2],
    samples: usize,
    inputs: [&[f32]; 2],
    len: usize,
    work: impl Fn(&mut Run<'_>, View, View),
) -> Vec<f32> {
    let feed = |sample: usize, input: usize, to: &mut [f32]| {
        to.copy_from_slice(&inputs[input][sample * to.len()..][..to.len()])
    };
    let job = Job { feed: &feed, loss: BatchLoss::NONE, samples };
    let (x, dy) = (x_map.batch(0), dy_map.batch(x_map.len().next_multiple_of(16)));
    // Inputs come in PyTorch's order.
    let scratch = scratch.max(x_map.len()).max(dy_map.len());
    let plan = Plan { batch: dy.offset + dy.len, scratch, ..Plan::default() };
    let params = vec![0.0; len];
    let mut workspace = Workspace::with_threads(threads).with_isa(isa);
    let (copies, params) = (Copies::none(), Params::Trained(&params, 0));
    let mut run =
        workspace.run(Pass { plan: &plan, copies, params, statistics: None, job: &job, draw: None, written: &[] });
    run.stage(&[], |t| {
        t.load(0, x);
        t.load(1, dy);
    });
    work(&mut run, x, dy);
    run.gradients.to_vec()
}

/// The floats of a value of the batch, sample by sample.
pub(crate) fn of_batch(run: &Run<'_>, view: View) -> Vec<f32> {
    let (batch, stride) = run.batch();
    batch.chunks_exact(stride).flat_map(|row| row[view.offset..][..view.len].iter().copied()).collect()
}

pub(crate) fn wide(floats: &[f32]) -> Vec<f64> {
    floats.iter().map(|&float| f64::from(float)).collect()
}

/// The bits of floats, for exact comparison.
pub(crate) fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

/// Rounding errors that a sum of products may have, of `terms` terms: the tolerance of all products, `(8 + terms / 8) 2^-24` of the
/// sum of the terms' magnitudes.
pub(crate) fn product_tolerance(terms: usize) -> f64 {
    (8.0 + terms as f64 / 8.0) / f64::from(1 << 24)
}

/// Asserts that each result is within `tolerance` of its scale from its twin. Not in Miri, for which a kernel's memory counts: of products
/// there are no twins there ([`naive::conv`](super::naive::conv)), whose terms would take it minutes.
pub(crate) fn assert_close(what: &str, results: &[f32], twins: &[f64], scales: &[f64], tolerance: f64) {
    assert_eq!(results.len(), twins.len(), "{what}");
    if cfg!(miri) {
        return;
    }
    for (index, ((&result, &twin), &scale)) in results.iter().zip(twins).zip(scales).enumerate() {
        let error = (f64::from(result) - twin).abs();
        assert!(
            error <= tolerance * scale,
            "{what}, {index}: {result}, not {twin}: {error:e} of {:e}",
            tolerance * scale
        );
    }
}
