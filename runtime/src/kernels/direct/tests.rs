use super::*;
use crate::arena::Pack;
use crate::isa::Isa;
use crate::kernels::Act;
use crate::kernels::naive::{self, Sums};
use crate::kernels::testing::{
    Bench, Random, assert_close, axes, bits, gradient_of_batch, image, map, product_tolerance, seeds, wide,
};

/// Random geometry of 1 to 3 axes, ragged in channels and sizes.
pub(crate) fn random(random: &mut Random, images: bool) -> Conv {
    let count = random.between(1, 3);
    let largest = [40, 13, 6][count - 1];
    let kernel = axes(count, || random.between(1, if count == 3 { 2 } else { 4 }));
    let stride = axes(count, || random.between(1, 3));
    let dilation = axes(count, || random.between(1, 2));
    let mut padding = axes(count, || random.between(0, 2));
    (0..3 - count).for_each(|axis| padding[axis] = 0);
    let size = [0, 1, 2].map(|axis| {
        let window = (kernel[axis] - 1) * dilation[axis] + 1;
        let least = window.saturating_sub(2 * padding[axis]).max(1);
        if axis + count < 3 { 1 } else { random.between(least, largest.max(window)) }
    });
    let out_size = [0, 1, 2]
        .map(|axis| (size[axis] + 2 * padding[axis] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1);
    let some = [1, 3, 5, 8, 12, 16, 19, 24, 32, 40];
    let of = |random: &mut Random| some[random.between(0, some.len() - 1)];
    let channels = if images { random.between(1, 4) } else { of(random) };
    Conv { channels, size, out_channels: of(random), out_size, kernel, stride, padding, dilation, groups: 1 }
}

/// The same in groups, ragged in what a group has, and now and then with one window more than as much padding on either side gives.
fn grouped(random: &mut Random, images: bool) -> Conv {
    let mut conv = self::random(random, images);
    let some = [1, 2, 3, 4, 6, 8, 12, 16, 20, 32];
    let mut of = || some[random.between(0, some.len() - 1)];
    (conv.channels, conv.out_channels) = (of(), of());
    conv.groups = random.between(2, 5);
    if images {
        (conv.groups, conv.channels) = [(2, 1), (2, 2), (3, 1), (4, 1)][random.between(0, 3)];
    }
    conv.channels *= conv.groups;
    conv.out_channels *= conv.groups;
    uneven(random, conv)
}

/// A group for each channel.
fn depthwise(random: &mut Random, _: bool) -> Conv {
    let conv = self::random(random, false);
    uneven(random, Conv { out_channels: conv.channels, groups: conv.channels, ..conv })
}

/// An output more on some axes of stride 1, which sees one more position behind the map.
fn uneven(random: &mut Random, mut conv: Conv) -> Conv {
    for axis in 0..3 {
        if conv.size[axis] > 1 && conv.stride[axis] == 1 && random.between(0, 3) == 0 {
            conv.out_size[axis] += 1;
        }
    }
    conv
}

/// The kernels of a test: those of the direct convolution, or of one of single channels.
struct Kernels {
    random: fn(&mut Random, bool) -> Conv,
    packed_len: fn(&Conv, &[Plane], &[Plane]) -> usize,
    pack: fn(&mut Pack<'_>, &Conv, &[Plane], &[Plane], usize, usize),
    pack_transposed: fn(&mut Pack<'_>, &Conv, &[Plane], &[Plane], usize, usize),
    forward: fn(&mut Tile<'_>, &Conv, View, usize, Epilogue, View),
    grad_input: fn(&mut Tile<'_>, &Conv, View, usize, View, Store),
    transposed: fn(&mut Tile<'_>, &Conv, View, usize, Epilogue, View),
    grad_weight: fn(&mut Tile<'_>, &Conv, View, View, usize, Option<usize>),
}

const DIRECT: Kernels =
    Kernels { random, packed_len, pack, pack_transposed, forward, grad_input, transposed, grad_weight };
const GROUPED: Kernels = Kernels { random: grouped, ..DIRECT };
const DEPTHWISE: Kernels = Kernels {
    random: depthwise,
    packed_len: |conv, planes, _| depthwise::packed_len(conv, planes),
    pack: depthwise::pack,
    pack_transposed: depthwise::pack_transposed,
    forward: depthwise::forward,
    grad_input: depthwise::grad_input,
    transposed: depthwise::transposed,
    grad_weight: depthwise::grad_weight,
};

/// Which kernels a seed tries, and whether on images.
fn kernels(seed: u64) -> (&'static Kernels, bool) {
    match seed {
        0..60 => (&DIRECT, seed.is_multiple_of(3)),
        60..140 => (&GROUPED, seed.is_multiple_of(4)),
        _ => (&DEPTHWISE, false),
    }
}

/// A map with some halo, at least `least` wide on each axis.
fn with_halo(
    random: &mut Random,
    channels: usize,
    size: [usize; 3],
    least: [usize; 3],
    images: bool,
) -> &'static Blocked {
    let mut halo = || least.map(|least| least + random.between(0, 1));
    let (before, after) = (halo(), halo());
    if images { image(channels, size, before, after) } else { map(channels, size, before, after) }
}

/// Other planes of as many channels: with padding between them, as of values that are joined.
pub(crate) fn joined(of: &'static Blocked) -> &'static Blocked {
    let mut planes = Vec::new();
    let mut rest = of.channels();
    for (lanes, channels) in [(16, 11), (16, 16), (8, 3), (16, 16), (8, 8)].into_iter().cycle() {
        let channels = rest.min(channels);
        planes.push(Plane { lanes, channels });
        rest -= channels;
        if rest == 0 {
            break;
        }
    }
    Box::leak(Box::new(Blocked { planes: planes.leak(), ..*of }))
}

fn positions(size: [usize; 3]) -> usize {
    size.iter().product()
}

/// What the twins need of a problem.
struct Problem {
    kernels: &'static Kernels,
    conv: Conv,
    x: &'static Blocked,
    y: &'static Blocked,
    terms: Vec<naive::Term>,
    inputs: usize,
    outputs: usize,
    weights: usize,
}

impl Problem {
    fn new(conv: Conv, random: &mut Random, images: bool) -> Problem {
        Problem::of(&DIRECT, conv, random, images)
    }

    fn of(kernels: &'static Kernels, conv: Conv, random: &mut Random, images: bool) -> Problem {
        let behind = |axis: usize| {
            let last = (conv.out_size[axis] - 1) * conv.stride[axis] + (conv.kernel[axis] - 1) * conv.dilation[axis];
            (last + 1).saturating_sub(conv.size[axis] + conv.padding[axis]).max(conv.padding[axis])
        };
        let mut x = with_halo(random, conv.channels, conv.size, [0, 1, 2].map(behind), images);
        let least =
            if random.coin() { [0; 3] } else { [0, 1, 2].map(|axis| (conv.kernel[axis] - 1) * conv.dilation[axis]) };
        let mut y = with_halo(random, conv.out_channels, conv.out_size, least, false);
        if random.between(0, 3) == 0 {
            y = joined(y);
            x = if images { x } else { joined(x) };
        }
        Problem {
            kernels,
            conv,
            x,
            y,
            terms: naive::conv(&conv),
            inputs: conv.channels * positions(conv.size),
            outputs: conv.out_channels * positions(conv.out_size),
            weights: conv.out_channels * conv.channels / conv.groups * taps(&conv),
        }
    }

    fn pack(&self, bench: &mut Bench, weight: usize) -> usize {
        bench.packed = vec![f32::NAN; 3 + (self.kernels.packed_len)(&self.conv, self.x.planes, self.y.planes)];
        Pack::all(bench.isa, &bench.params, &mut bench.packed, |p| {
            (self.kernels.pack)(p, &self.conv, self.x.planes, self.y.planes, weight, 3);
        });
        3
    }

    fn pack_transposed(&self, bench: &mut Bench, weight: usize) -> usize {
        bench.packed = vec![f32::NAN; 3 + (self.kernels.packed_len)(&self.conv, self.y.planes, self.x.planes)];
        Pack::all(bench.isa, &bench.params, &mut bench.packed, |p| {
            (self.kernels.pack_transposed)(p, &self.conv, self.x.planes, self.y.planes, weight, 3);
        });
        3
    }
}

const BESIDE: [f32; 2] = [f32::NAN, 1e30];

#[test]
fn forward_is_its_twin() {
    for seed in seeds(0..200) {
        let (kernels, images) = kernels(seed);
        let mut results = Vec::new();
        for isa in Isa::available() {
            let mut bench = Bench::new(seed, 1 + seed as usize % 3);
            bench.isa = isa;
            let conv = (kernels.random)(&mut bench.random, images);
            let problem = Problem::of(kernels, conv, &mut bench.random, images);
            let (samples, beside) = (bench.samples, BESIDE[seed as usize % 2]);
            let x_of = bench.random.numbers(samples * problem.inputs);
            let x = bench.planes(problem.x, &x_of, beside);
            let (weight, bias) = (bench.weights(problem.weights), bench.weights(conv.out_channels));
            let packed = problem.pack(&mut bench, weight);
            let y = bench.target_planes(problem.y, &[], Store::Write);
            let mut epilogue = if seed % 2 == 0 { Epilogue::bias(bias) } else { Epilogue::NONE };
            let mut twin = Sums::zero(samples * problem.outputs);
            for sample in 0..samples {
                for &(i, w, o) in &problem.terms {
                    let (x, w) = (x_of[sample * problem.inputs + i], bench.params[weight + w]);
                    twin.add(sample * problem.outputs + o, f64::from(x) * f64::from(w));
                }
                if seed % 2 == 0 {
                    for o in 0..problem.outputs {
                        let bias = bench.params[bias + o / positions(conv.out_size)];
                        twin.add(sample * problem.outputs + o, f64::from(bias));
                    }
                }
            }
            for after in [false, true] {
                if bench.random.coin() {
                    let elements = bench.random.numbers(samples * problem.outputs);
                    let other: &'static Blocked =
                        Box::leak(Box::new(Blocked { before: [1, 0, 2], after: [0, 1, 0], ..*problem.y }));
                    let view = bench.planes(other, &elements, beside);
                    epilogue = if after { epilogue.act(Act::Relu).add(view) } else { epilogue.add(view) };
                    if after {
                        twin.values.iter_mut().for_each(|y| *y = y.max(0.0));
                    }
                    elements.iter().enumerate().for_each(|(o, &element)| twin.add(o, f64::from(element)));
                }
            }
            bench.run(&[y], |t| (kernels.forward)(t, &conv, x, packed, epilogue, y));
            let terms = conv.channels * taps(&conv) + 3;
            let y = bench.elements(y);
            let what = format!("{seed}, {isa}: {conv:?}");
            assert_close(&what, &y, &twin.values, &twin.scales, product_tolerance(terms));
            results.push(bits(&y));
        }
        assert!(results.len() < 3 || results[1] == results[2], "{seed}: AVX2 and AVX-512 give the same bits");
    }
}

#[test]
fn grad_input_is_its_twin() {
    for seed in seeds(0..200) {
        let (kernels, _) = kernels(seed);
        let mut results = Vec::new();
        for isa in Isa::available() {
            let mut bench = Bench::new(1000 + seed, 1 + seed as usize % 3);
            bench.isa = isa;
            let conv = (kernels.random)(&mut bench.random, false);
            let problem = Problem::of(kernels, conv, &mut bench.random, false);
            let (samples, store) = (bench.samples, bench.random.store());
            let dy_of = bench.random.numbers(samples * problem.outputs);
            let dy = bench.planes(problem.y, &dy_of, BESIDE[seed as usize % 2]);
            let weight = bench.weights(problem.weights);
            let packed = problem.pack_transposed(&mut bench, weight);
            let before = bench.random.numbers(samples * problem.inputs);
            let dx = bench.target_planes(problem.x, &before, store);
            let mut twin = match store {
                Store::Add => Sums::from(wide(&before)),
                Store::Write => Sums::zero(samples * problem.inputs),
            };
            for sample in 0..samples {
                for &(i, w, o) in &problem.terms {
                    let (dy, w) = (dy_of[sample * problem.outputs + o], bench.params[weight + w]);
                    twin.add(sample * problem.inputs + i, f64::from(dy) * f64::from(w));
                }
            }
            bench.run(&[dx], |t| (kernels.grad_input)(t, &conv, dy, packed, dx, store));
            let terms = conv.out_channels * taps(&conv) + 1;
            let dx = bench.elements(dx);
            let what = format!("{seed}, {isa}: {conv:?}");
            assert_close(&what, &dx, &twin.values, &twin.scales, product_tolerance(terms));
            results.push(bits(&dx));
        }
        assert!(results.len() < 3 || results[1] == results[2], "{seed}: AVX2 and AVX-512 give the same bits");
    }
}

#[test]
fn grad_weight_is_its_twin() {
    for seed in seeds(0..200) {
        let (kernels, images) = kernels(seed);
        let mut results = Vec::new();
        for isa in Isa::available() {
            let mut bench = Bench::new(2000 + seed, [1, 3, 8][seed as usize % 3]);
            bench.isa = isa;
            let conv = (kernels.random)(&mut bench.random, images);
            let problem = Problem::of(kernels, conv, &mut bench.random, images);
            let (samples, beside) = (bench.samples, BESIDE[seed as usize % 2]);
            let x_of = bench.random.numbers(samples * problem.inputs);
            let dy_of = bench.random.numbers(samples * problem.outputs);
            let x = bench.planes(problem.x, &x_of, beside);
            let dy = bench.planes(problem.y, &dy_of, beside);
            let (weight, bias) = (bench.gradient(problem.weights), bench.gradient(conv.out_channels));
            let [mut twin, mut bias_twin] = [(weight, problem.weights), (bias, conv.out_channels)]
                .map(|(at, len)| Sums::from(wide(&bench.gradients[at..][..len])));
            for sample in 0..samples {
                for &(i, w, o) in &problem.terms {
                    let (x, dy) = (x_of[sample * problem.inputs + i], dy_of[sample * problem.outputs + o]);
                    twin.add(w, f64::from(x) * f64::from(dy));
                }
                for o in 0..problem.outputs {
                    bias_twin.add(o / positions(conv.out_size), f64::from(dy_of[sample * problem.outputs + o]));
                }
            }
            bench.scratch = grad_weight_scratch(&conv, problem.x.planes);
            bench.run(&[], |t| (kernels.grad_weight)(t, &conv, x, dy, weight, Some(bias)));
            let tolerance = product_tolerance(samples * positions(conv.out_size) + 1);
            let what = format!("{seed}, {isa}: {conv:?}");
            let [of_weight, of_bias] = [(weight, problem.weights), (bias, conv.out_channels)]
                .map(|(at, len)| bench.gradients[at..][..len].to_vec());
            assert_close(&what, &of_weight, &twin.values, &twin.scales, tolerance);
            assert_close(&what, &of_bias, &bias_twin.values, &bias_twin.scales, tolerance);
            results.push(bits(&[of_weight, of_bias].concat()));
        }
        assert!(results.len() < 3 || results[1] == results[2], "{seed}: AVX2 and AVX-512 give the same bits");
    }
}

#[test]
fn transposed_is_grad_input_and_its_epilogue() {
    for seed in seeds(0..200).step_by(3) {
        let (kernels, _) = kernels(seed);
        for isa in Isa::available() {
            let mut bench = Bench::new(4000 + seed, 1 + seed as usize % 3);
            bench.isa = isa;
            let conv = (kernels.random)(&mut bench.random, false);
            let problem = Problem::of(kernels, conv, &mut bench.random, false);
            let samples = bench.samples;
            let x_of = bench.random.numbers(samples * problem.outputs);
            let x = bench.planes(problem.y, &x_of, BESIDE[seed as usize % 2]);
            let (weight, bias) = (bench.weights(problem.weights), bench.weights(conv.channels));
            let packed = problem.pack_transposed(&mut bench, weight);
            let [sum, y] = [0; 2].map(|_| bench.target_planes(problem.x, &[], Store::Write));
            let act = [Act::None, Act::Relu, Act::Sigmoid][seed as usize % 3];
            bench.run(&[sum], |t| (kernels.grad_input)(t, &conv, x, packed, sum, Store::Write));
            bench.run(&[y], |t| (kernels.transposed)(t, &conv, x, packed, Epilogue::bias(bias).act(act), y));
            let mut wanted = bench.elements(sum);
            let count = positions(conv.size);
            wanted.iter_mut().enumerate().for_each(|(i, y)| *y += bench.params[bias + i / count % conv.channels]);
            act.apply(isa, &mut wanted);
            assert_eq!(bits(&bench.elements(y)), bits(&wanted), "{seed}, {isa}: {conv:?}");
        }
    }
}

#[test]
fn a_group_sees_nothing_of_another() {
    for seed in seeds(0..60) {
        let mut bench = Bench::new(5000 + seed, 2);
        let kernels = if seed % 3 == 0 { &DEPTHWISE } else { &GROUPED };
        let conv = (kernels.random)(&mut bench.random, false);
        let problem = Problem::of(kernels, conv, &mut bench.random, false);
        let spoilt = bench.random.between(0, conv.groups - 1);
        let spoil = |bench: &mut Bench, of: usize| {
            let mut elements = bench.random.numbers(2 * of);
            let group = of / conv.groups;
            for sample in 0..2 {
                elements[sample * of + spoilt * group..][..group].fill(f32::INFINITY);
            }
            elements
        };
        let (x_of, dy_of) = (spoil(&mut bench, problem.inputs), spoil(&mut bench, problem.outputs));
        let (x, dy) = (bench.planes(problem.x, &x_of, f32::NAN), bench.planes(problem.y, &dy_of, f32::NAN));
        let (weight, gradient) = (bench.weights(problem.weights), bench.gradient(problem.weights));
        let y = bench.target_planes(problem.y, &[], Store::Write);
        let dx = bench.target_planes(problem.x, &[], Store::Write);
        let packed = problem.pack(&mut bench, weight);
        bench.run(&[y], |t| (kernels.forward)(t, &conv, x, packed, Epilogue::NONE, y));
        let packed = problem.pack_transposed(&mut bench, weight);
        bench.run(&[dx], |t| (kernels.grad_input)(t, &conv, dy, packed, dx, Store::Write));
        bench.scratch = grad_weight_scratch(&conv, problem.x.planes);
        bench.run(&[], |t| (kernels.grad_weight)(t, &conv, x, dy, gradient, None));
        let made = [
            (bench.elements(y), problem.outputs),
            (bench.elements(dx), problem.inputs),
            (bench.gradients[gradient..][..problem.weights].to_vec(), problem.weights),
        ];
        for (elements, of) in made {
            for (at, element) in elements.iter().enumerate() {
                let group = at % of / (of / conv.groups);
                assert!(group == spoilt || element.is_finite(), "{seed}: element {at} of {of}, {conv:?}");
            }
        }
    }
}

#[test]
fn grad_weight_of_a_batch_is_its_twin() {
    for seed in seeds(0..30) {
        let mut random_numbers = Random::new(2500 + seed);
        let images = seed % 3 == 0;
        let conv = random(&mut random_numbers, images);
        let problem = Problem::new(conv, &mut random_numbers, images);
        let samples = [1, 9, 20][seed as usize % 3];
        let x = random_numbers.numbers(samples * problem.inputs);
        let dy = random_numbers.numbers(samples * problem.outputs);
        let (mut twin, mut bias_twin) = (Sums::zero(problem.weights), Sums::zero(conv.out_channels));
        for (x, dy) in x.chunks_exact(problem.inputs).zip(dy.chunks_exact(problem.outputs)) {
            problem.terms.iter().for_each(|&(i, w, o)| twin.add(w, f64::from(x[i]) * f64::from(dy[o])));
            dy.iter().enumerate().for_each(|(o, &dy)| bias_twin.add(o / positions(conv.out_size), f64::from(dy)));
        }
        let mut fused: Option<Vec<u32>> = None;
        for (isa, threads) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 3)]) {
            let scratch = grad_weight_scratch(&conv, problem.x.planes);
            let (maps, len) = ([problem.x, problem.y], problem.weights + conv.out_channels);
            let found = gradient_of_batch((isa, threads, scratch), maps, samples, [&x, &dy], len, |run, x, dy| {
                grad_weight_batch(run, &conv, x, dy, 0, Some(problem.weights));
            });
            let (of_weight, of_bias) = found.split_at(problem.weights);
            let tolerance = product_tolerance(samples * positions(conv.out_size));
            let what = format!("{seed}, {isa}, {threads} threads: {conv:?}");
            assert_close(&what, of_weight, &twin.values, &twin.scales, tolerance);
            assert_close(&what, of_bias, &bias_twin.values, &bias_twin.scales, tolerance);
            if isa != Isa::PORTABLE {
                assert!(fused.get_or_insert_with(|| bits(&found)) == &bits(&found), "{what}: other bits");
            }
        }
    }
}

/// The pool's twin of sums in f32, `[channels][lines][columns]`: the maxima and their places.
pub(crate) fn pooled(sums: &[f32], [depths, lines, columns]: [usize; 3]) -> (Vec<f32>, Vec<u8>) {
    let (mut maxima, mut places) = (Vec::new(), Vec::new());
    for plane in sums.chunks_exact(depths * lines * columns).flat_map(|plane| plane.chunks_exact(lines * columns)) {
        for line in 0..lines / 2 {
            for column in 0..columns / 2 {
                let of = |place: usize| plane[(2 * line + place / 2) * columns + 2 * column + place % 2];
                let takes = |best: usize, place: usize| of(place) > of(best) || of(place).is_nan();
                let best = (1..4).fold(0, |best, place| if takes(best, place) { place } else { best });
                maxima.push(of(best));
                places.push(best as u8);
            }
        }
    }
    (maxima, places)
}

/// The bytes of a row of places, as elements of the map in PyTorch's order.
pub(crate) fn places_of(row: &[f32], map: &Blocked) -> Vec<u8> {
    let bytes: Vec<u8> = row.iter().flat_map(|float| float.to_ne_bytes()).collect();
    let flat = Blocked { before: [0; 3], after: [0; 3], ..*map };
    let [depths, lines, columns] = map.size;
    let of_channel = |channel: usize| {
        (0..depths * lines * columns).map(move |at| (channel, at / columns / lines, at / columns % lines, at % columns))
    };
    (0..map.channels()).flat_map(of_channel).map(|(c, d, h, w)| bytes[flat.at(c, d, h, w)]).collect()
}

#[test]
fn pools_are_the_maxima_of_the_convolution() {
    for seed in seeds(0..60) {
        let mut results = Vec::new();
        for isa in Isa::available() {
            let mut bench = Bench::new(3000 + seed, 1 + seed as usize % 3);
            bench.isa = isa;
            let images = seed % 3 == 0;
            let mut conv = random(&mut bench.random, images);
            while conv.out_size[1] < 2 || conv.out_size[2] < 2 {
                conv = random(&mut bench.random, images);
            }
            let problem = Problem::new(conv, &mut bench.random, images);
            let samples = bench.samples;
            let mut x_of = bench.random.numbers(samples * problem.inputs);
            if seed % 4 == 3 {
                for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let at = bench.random.between(0, x_of.len() - 1);
                    x_of[at] = value;
                }
            }
            let x = bench.planes(problem.x, &x_of, 1e30);
            let (weight, bias) = (bench.weights(problem.weights), bench.weights(conv.out_channels));
            let packed = problem.pack(&mut bench, weight);
            let y_map: &'static Blocked = Box::leak(Box::new(Blocked {
                size: [conv.out_size[0], conv.out_size[1] / 2, conv.out_size[2] / 2],
                ..*problem.y
            }));
            let plain = bench.target_planes(problem.y, &[], Store::Write);
            let [y, inferred] = [0; 2].map(|_| bench.target_planes(y_map, &[], Store::Write));
            let places = bench.target(pool_places_len(y_map), Store::Write);
            let act = [Act::None, Act::Relu, Act::Tanh][seed as usize % 3];
            let epilogue = Epilogue::bias(bias).act(act);
            bench.run(&[plain], |t| forward(t, &conv, x, packed, Epilogue::NONE, plain));
            bench.run(&[y, places], |t| forward_pool(t, &conv, x, packed, epilogue, y, places));
            bench.run(&[inferred], |t| infer_pool(t, &conv, x, packed, epilogue, inferred));
            let (mut maxima, winners) = pooled(&bench.elements(plain), conv.out_size);
            let count = positions(y_map.size);
            for (o, max) in maxima.iter_mut().enumerate() {
                *max += bench.params[bias + o / count % conv.out_channels];
            }
            act.apply(isa, &mut maxima);
            let what = format!("{seed}, {isa}: {conv:?}");
            let same = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
            };
            assert!(same(&bench.elements(y), &maxima), "{what}");
            assert!(same(&bench.elements(inferred), &maxima), "{what}");
            let found = bench.get(places).chunks_exact(places.len).flat_map(|row| places_of(row, y_map));
            assert_eq!(found.collect::<Vec<_>>(), winners, "{what}");
            results.push(bits(&bench.elements(y)));
        }
    }
}

#[test]
fn a_sample_has_the_same_bits_alone() {
    let conv = Conv {
        channels: 19,
        size: [1, 9, 13],
        out_channels: 24,
        out_size: [1, 9, 13],
        kernel: [1, 3, 3],
        stride: [1; 3],
        padding: [0, 1, 1],
        dilation: [1; 3],
        groups: 1,
    };
    for isa in Isa::available() {
        let mut together = Bench::new(5, 8);
        together.isa = isa;
        let problem = Problem::new(conv, &mut together.random, false);
        let elements = together.random.numbers(8 * problem.inputs);
        let weight = together.weights(problem.weights);
        let packed = problem.pack(&mut together, weight);
        let run = |bench: &mut Bench, elements: &[f32]| {
            let x = bench.planes(problem.x, elements, f32::NAN);
            let y = bench.target_planes(problem.y, &[], Store::Write);
            bench.run(&[y], |t| forward(t, &conv, x, packed, Epilogue::NONE.act(Act::Tanh), y));
            bits(&bench.elements(y))
        };
        let all = run(&mut together, &elements);
        for sample in [0, 7] {
            let mut alone = Bench::new(6, 1);
            (alone.isa, alone.packed) = (isa, together.packed.clone());
            let of = |elements: &[f32]| elements[sample * problem.inputs..][..problem.inputs].to_vec();
            assert_eq!(run(&mut alone, &of(&elements)), all[sample * problem.outputs..][..problem.outputs]);
        }
    }
}
