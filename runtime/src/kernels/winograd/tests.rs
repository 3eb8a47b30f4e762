//! The three passes against their f64 twins, the epilogues and pools, and equal bits of what must have them.

use super::sizes::{self, taps, tile_side, tiles};
use super::transform::WINDOW;
use super::*;
use crate::arena::{Pack, batch};
use crate::isa::Isa;
use crate::kernels::Act;
use crate::kernels::naive::{self, Sums};
use crate::kernels::sparse;
use crate::kernels::testing::{
    Bench, Random, assert_close, before_pool, bits, gradient_of_batch, image, map, of_batch, product_tolerance, seeds,
    wide,
};
use crate::layout::{Blocked, lanes};
use crate::run::{Plan, Workspace};

const CHANNELS: [usize; 9] = [1, 3, 5, 8, 12, 16, 19, 24, 40];

fn of_size(channels: usize, out_channels: usize, size: [usize; 3], kernel: usize, padding: usize) -> Conv {
    let out = |axis: usize| size[axis] + 2 * padding + 1 - kernel;
    Conv {
        channels,
        size,
        out_channels,
        out_size: [1, out(1), out(2)],
        kernel: [1, kernel, kernel],
        stride: [1; 3],
        padding: [0, padding, padding],
        dilation: [1; 3],
        groups: 1,
    }
}

fn random_conv(random: &mut Random, kernel: usize) -> Conv {
    let [channels, out_channels] = [0; 2].map(|_| CHANNELS[random.between(0, 8)]);
    let size = [1, random.between(kernel, 10), random.between(kernel, 10)];
    of_size(channels, out_channels, size, kernel, random.between(0, kernel / 2))
}

/// A map with some halo, which may be wider than any window or too narrow.
fn random_map(random: &mut Random, channels: usize, size: [usize; 3]) -> &'static Blocked {
    let mut halo = |most| [random.between(0, 1), random.between(0, most), random.between(0, most)];
    map(channels, size, halo(2), halo(4))
}

/// A convolution of an image, whose lines have up to three blocks of tiles, and a map of it with some halo.
fn random_image(random: &mut Random) -> (Conv, &'static Blocked) {
    let size = [1, random.between(3, 10), random.between(3, 70)];
    random_image_of(random, size)
}

fn random_image_of(random: &mut Random, size: [usize; 3]) -> (Conv, &'static Blocked) {
    let conv = of_size(random.between(3, 4), CHANNELS[random.between(0, 8)], size, 3, random.between(0, 1));
    let mut halo = |most| [0, random.between(0, most), random.between(0, most)];
    (conv, image(conv.channels, size, halo(2), halo(4)))
}

/// A map as a concatenation leaves it, of 41 channels, with padding in the middle.
fn concatenated(size: [usize; 3], before: [usize; 3]) -> &'static Blocked {
    let planes: &'static [Plane] = &[
        Plane { lanes: 8, channels: 5 },
        Plane { lanes: 16, channels: 11 },
        Plane { lanes: 16, channels: 16 },
        Plane { lanes: 16, channels: 9 },
    ];
    Box::leak(Box::new(Blocked { planes, size, before, after: [0, 2, 1] }))
}

fn count(size: [usize; 3]) -> usize {
    size.iter().product()
}

/// The lines and columns of a square of `side` from (line, column) on that lie inside `size`.
fn square(size: [usize; 3], line: isize, column: isize, side: isize) -> Vec<usize> {
    let inside = |first: isize, end: usize| (first.max(0)..(first + side).min(end as isize)).map(|at| at as usize);
    inside(line, size[1]).flat_map(|line| inside(column, size[2]).map(move |column| line * size[2] + column)).collect()
}

/// For each tile of a convolution, the places of its outputs and of its window's inputs, in a plane of either; none in Miri.
fn tiles_of(conv: &Conv) -> Vec<(Vec<usize>, Vec<usize>)> {
    let side = tile_side(conv);
    let [_, lines, columns] = conv.out_size.map(|size| size.div_ceil(side));
    let of = |tile: usize| {
        let [line, column] = [tile / columns, tile % columns].map(|at| (side * at) as isize);
        let [_, down, right] = conv.padding.map(|padding| padding as isize);
        let inputs = square(conv.size, line - down, column - right, WINDOW as isize);
        (square(conv.out_size, line, column, side as isize), inputs)
    };
    (0..if cfg!(miri) { 0 } else { lines * columns }).map(of).collect()
}

fn largest(values: &[f64], places: &[usize]) -> f64 {
    places.iter().fold(0.0, |most, &place| values[place].abs().max(most))
}

/// What errors of a sample's outputs are measured by: for each, the sum over channels of the largest input of its tile's window
/// times the sum of the weights' magnitudes, `weights[output][channel]`.
fn scales(conv: &Conv, x: &[f64], weights: &[f64]) -> Vec<f64> {
    let (plane, out_plane) = (count(conv.size), count(conv.out_size));
    let mut scales = vec![0.0; conv.out_channels * out_plane];
    for (outputs, inputs) in tiles_of(conv) {
        let most: Vec<f64> = x.chunks_exact(plane).map(|x| largest(x, &inputs)).collect();
        for output in 0..conv.out_channels {
            let weights = &weights[output * conv.channels..][..conv.channels];
            let scale: f64 = most.iter().zip(weights).map(|(most, weight)| most * weight).sum();
            outputs.iter().for_each(|at| scales[output * out_plane + at] = scale);
        }
    }
    scales
}

/// What errors of the gradient of each window are measured by, of one sample.
fn weight_scales(conv: &Conv, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let (plane, out_plane) = (count(conv.size), count(conv.out_size));
    let mut scales = vec![0.0; conv.out_channels * conv.channels];
    for (outputs, inputs) in tiles_of(conv) {
        for (output, dy) in dy.chunks_exact(out_plane).enumerate() {
            let sum: f64 = outputs.iter().map(|&at| dy[at].abs()).sum();
            for (channel, x) in x.chunks_exact(plane).enumerate() {
                scales[output * conv.channels + channel] += sum * largest(x, &inputs);
            }
        }
    }
    scales
}

fn packs(bench: &mut Bench, conv: &Conv, x: &[Plane], y: &[Plane], weight: usize) -> [usize; 2] {
    let at = [3, 4 + packed_len(x, y)];
    bench.packed = vec![f32::NAN; at[1] + packed_len(y, x)];
    Pack::all(bench.isa, &bench.params, &mut bench.packed, |p| {
        pack(p, conv, x, y, weight, at[0]);
        if !super::image::is_image(x) {
            pack_transposed(p, conv, x, y, weight, at[1]);
        }
    });
    at
}

/// Runs the passes that there are on random values, against the terms of the twin: of an image the one forward, since its gradient has a
/// test of its own; of windows of 5x5 no gradient by the weight. Gives all results' bits.
fn check(conv: &Conv, x_map: &'static Blocked, y_map: &'static Blocked, bench: &mut Bench) -> Vec<u32> {
    let terms = naive::conv(conv);
    let (inputs, outputs) = (conv.channels * count(conv.size), conv.out_channels * count(conv.out_size));
    let weights = taps(conv) * conv.channels * conv.out_channels;
    let samples = bench.samples;
    let beside = if bench.random.coin() { f32::NAN } else { 1e30 };
    let x_of = bench.random.numbers(samples * inputs);
    let dy_of = bench.random.numbers(samples * outputs);
    let (x, dy) = (bench.planes(x_map, &x_of, beside), bench.planes(y_map, &dy_of, beside));
    let (x_of, dy_of) = (wide(&x_of), wide(&dy_of));
    let (weight, bias) = (bench.weights(weights), bench.weights(conv.out_channels));
    let weight_of = wide(&bench.params[weight..][..weights]);
    let bias_of = wide(&bench.params[bias..][..conv.out_channels]);
    let magnitudes: Vec<f64> = weight_of.chunks_exact(taps(conv)).map(|w| w.iter().map(|w| w.abs()).sum()).collect();
    bench.scratch = scratch(conv, x_map.planes, y_map.planes);
    let [packed, transposed] = packs(bench, conv, x_map.planes, y_map.planes, weight);
    let mut results = Vec::new();

    let y = bench.target_planes(y_map, &[], Store::Write);
    bench.run(&[y], |t| forward(t, conv, x, packed, Epilogue::bias(bias), y));
    let mut twin = Sums::zero(samples * outputs);
    for sample in 0..samples {
        let x = &x_of[sample * inputs..][..inputs];
        for (o, scale) in scales(conv, x, &magnitudes).into_iter().enumerate() {
            let bias = bias_of[o / count(conv.out_size)];
            twin.values[sample * outputs + o] = bias;
            twin.scales[sample * outputs + o] = scale + bias.abs();
        }
        terms.iter().for_each(|&(i, w, o)| twin.values[sample * outputs + o] += x[i] * weight_of[w]);
    }
    let found = bench.elements(y);
    assert_close("forward", &found, &twin.values, &twin.scales, product_tolerance(conv.channels));
    results.extend(bits(&found));
    if super::image::is_image(x_map.planes) {
        return results;
    }

    let store = bench.random.store();
    let before = bench.random.numbers(samples * inputs);
    let dx = bench.target_planes(x_map, &before, store);
    let mut twin = if store == Store::Add { Sums::from(wide(&before)) } else { Sums::zero(samples * inputs) };
    bench.run(&[dx], |t| grad_input(t, conv, dy, transposed, dx, store));
    let back = Conv { out_size: conv.size, size: conv.out_size, channels: conv.out_channels, ..*conv };
    let back = Conv {
        out_channels: conv.channels,
        padding: [0, 1, 2].map(|axis| conv.kernel[axis] - 1 - conv.padding[axis]),
        ..back
    };
    let turned: Vec<f64> = (0..conv.channels)
        .flat_map(|c| magnitudes[c..].iter().step_by(conv.channels).copied().collect::<Vec<_>>())
        .collect();
    for sample in 0..samples {
        let dy = &dy_of[sample * outputs..][..outputs];
        let scales = scales(&back, dy, &turned);
        scales.into_iter().enumerate().for_each(|(i, scale)| twin.scales[sample * inputs + i] += scale);
        terms.iter().for_each(|&(i, w, o)| twin.values[sample * inputs + i] += dy[o] * weight_of[w]);
    }
    let found = bench.elements(dx);
    assert_close("grad_input", &found, &twin.values, &twin.scales, product_tolerance(conv.out_channels));
    results.extend(bits(&found));
    if conv.kernel[1] != 3 {
        return results;
    }

    let (to, bias_to) = (bench.gradient(weights), bench.gradient(conv.out_channels));
    let before = wide(&bench.gradients);
    bench.run(&[], |t| grad_weight(t, conv, x, dy, to, Some(bias_to)));
    let mut twin = Sums::from(before[to..][..weights].to_vec());
    let mut bias_twin = Sums::from(before[bias_to..][..conv.out_channels].to_vec());
    for sample in 0..samples {
        let (x, dy) = (&x_of[sample * inputs..][..inputs], &dy_of[sample * outputs..][..outputs]);
        let scales = weight_scales(conv, x, dy);
        twin.scales.iter_mut().enumerate().for_each(|(w, scale)| *scale += scales[w / taps(conv)]);
        terms.iter().for_each(|&(i, w, o)| twin.values[w] += dy[o] * x[i]);
        dy.iter().enumerate().for_each(|(o, &dy)| bias_twin.add(o / count(conv.out_size), dy));
    }
    let terms = samples * tiles(conv);
    let (found, found_bias) = (&bench.gradients[to..][..weights], &bench.gradients[bias_to..][..conv.out_channels]);
    assert_close("grad_weight", found, &twin.values, &twin.scales, product_tolerance(terms));
    let tolerance = product_tolerance(samples * count(conv.out_size));
    assert_close("bias", found_bias, &bias_twin.values, &bias_twin.scales, tolerance);
    results.extend(bits(found));
    results.extend(bits(found_bias));
    results
}

/// Checks on all instructions; those with fused products give the same bits.
fn check_all(seed: u64, samples: usize, conv: &Conv, x_map: &'static Blocked, y_map: &'static Blocked) {
    let mut fused: Option<Vec<u32>> = None;
    for isa in Isa::available() {
        let mut bench = Bench::new(seed, samples);
        bench.isa = isa;
        let found = check(conv, x_map, y_map, &mut bench);
        if isa != Isa::PORTABLE {
            assert!(fused.get_or_insert_with(|| found.clone()) == &found, "{isa}: other bits");
        }
    }
}

#[test]
fn the_three_passes_on_random_geometry() {
    for (seed, kernel) in seeds(0..16).map(|seed| (seed, if seed < 8 { 3 } else { 5 })) {
        let mut random = Random::new(seed);
        let conv = random_conv(&mut random, kernel);
        let x_map = random_map(&mut random, conv.channels, conv.size);
        let y_map = random_map(&mut random, conv.out_channels, conv.out_size);
        check_all(seed, random.between(1, 3), &conv, x_map, y_map);
    }
}

#[test]
fn images_on_random_geometry() {
    for seed in seeds(20..30) {
        let mut random = Random::new(seed);
        let (conv, x_map) = random_image(&mut random);
        let y_map = random_map(&mut random, conv.out_channels, conv.out_size);
        check_all(seed, random.between(1, 3), &conv, x_map, y_map);
    }
}

#[test]
fn tiles_of_several_blocks() {
    for kernel in [3, 5] {
        let conv = of_size(3, 5, [1, 10, 9], kernel, 1);
        let halo = [0, 1, 1];
        check_all(20, 8, &conv, map(3, conv.size, halo, halo), map(5, conv.out_size, halo, halo));
    }
}

#[test]
fn planes_with_padding_in_the_middle() {
    for (kernel, padding) in [(3, 0), (3, 1), (5, 0), (5, 2)] {
        let conv = of_size(41, 41, [1, 6, 5], kernel, padding);
        check_all(30, 2, &conv, concatenated(conv.size, [0, 1, 1]), concatenated(conv.out_size, [0, 2, 2]));
    }
}

#[test]
fn what_the_epilogue_adds_and_maps() {
    for seed in seeds(40..52) {
        let mut random = Random::new(seed);
        let (conv, x_map) = if !(44..48).contains(&seed) {
            let conv = random_conv(&mut random, if seed < 44 { 3 } else { 5 });
            (conv, random_map(&mut random, conv.channels, conv.size))
        } else {
            random_image(&mut random)
        };
        let (y_map, added_map) = (
            random_map(&mut random, conv.out_channels, conv.out_size),
            random_map(&mut random, conv.out_channels, conv.out_size),
        );
        for isa in Isa::available() {
            let mut bench = Bench::new(seed, 2);
            bench.isa = isa;
            bench.scratch = scratch(&conv, x_map.planes, y_map.planes);
            let elements = bench.random.numbers(2 * conv.channels * count(conv.size));
            let x = bench.planes(x_map, &elements, f32::NAN);
            let (weight, bias) =
                (bench.weights(taps(&conv) * conv.channels * conv.out_channels), bench.weights(conv.out_channels));
            let [packed, _] = packs(&mut bench, &conv, x_map.planes, y_map.planes, weight);
            let of = 2 * conv.out_channels * count(conv.out_size);
            let added = bench.random.numbers(of);
            let residual = bench.planes(added_map, &added, f32::NAN);
            let mut run = |epilogue: Epilogue| {
                let y = bench.target_planes(y_map, &[], Store::Write);
                bench.run(&[y], |t| forward(t, &conv, x, packed, epilogue, y));
                bench.elements(y)
            };
            let sums = run(Epilogue::bias(bias));
            for act in [Act::Relu, Act::Tanh, Act::Sigmoid] {
                let before: Vec<f64> =
                    sums.iter().zip(&added).map(|(&sum, &added)| naive::act(act, f64::from(sum + added))).collect();
                let after: Vec<f64> = sums
                    .iter()
                    .zip(&added)
                    .map(|(&sum, &added)| naive::act(act, f64::from(sum)) + f64::from(added))
                    .collect();
                // The functions' own errors, and one of the last sum.
                let ones = vec![2.0; of];
                let name = format!("{isa}, {act:?}");
                assert_close(&name, &run(Epilogue::bias(bias).add(residual).act(act)), &before, &ones, 1e-6);
                assert_close(&name, &run(Epilogue::bias(bias).act(act).add(residual)), &after, &ones, 1e-6);
            }
        }
    }
}

/// The maxima of 2x2 of planes of this size, of which the first of several counts, and their places.
fn pooled(size: [usize; 3], values: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let [_, lines, columns] = size;
    let (mut maxima, mut places) = (Vec::new(), Vec::new());
    for plane in values.chunks_exact(lines * columns) {
        for at in 0..(lines / 2) * (columns / 2) {
            let (line, column) = (2 * (at / (columns / 2)), 2 * (at % (columns / 2)));
            let window = [0, 1, 2, 3].map(|at| plane[(line + at / 2) * columns + column + at % 2]);
            let is_larger = |a: f32, b: f32| a > b || (a.is_nan() && !b.is_nan());
            let best = (1..4).fold(0, |best, at| if is_larger(window[at], window[best]) { at } else { best });
            maxima.push(window[best]);
            places.push(best as u8);
        }
    }
    (maxima, places)
}

#[test]
fn pools_are_of_what_the_convolution_makes() {
    for seed in seeds(50..74) {
        let mut random = Random::new(seed);
        let (conv, x_map) = if !(58..66).contains(&seed) {
            let conv = random_conv(&mut random, if seed < 58 { 3 } else { 5 });
            (conv, random_map(&mut random, conv.channels, conv.size))
        } else {
            random_image(&mut random)
        };
        let conv = of_size(conv.channels, conv.out_channels, conv.size, conv.kernel[1], conv.kernel[1] / 2);
        let small = [1, conv.size[1] / 2, conv.size[2] / 2];
        let y_map = random_map(&mut random, conv.out_channels, conv.out_size);
        let small_map = random_map(&mut random, conv.out_channels, small);
        for isa in Isa::available() {
            let mut bench = Bench::new(seed, 2);
            bench.isa = isa;
            bench.scratch = scratch(&conv, x_map.planes, y_map.planes);
            let mut elements = bench.random.numbers(2 * conv.channels * count(conv.size));
            // Outputs of equal inputs are equal: the first is taken. One NaN makes a tile of them.
            elements[..count(conv.size)].fill(0.0);
            let last = elements.len() - 1;
            elements[last] = f32::NAN;
            // And where tiles may be beside it that see none.
            elements[bench.random.between(count(conv.size), last)] = f32::NAN;
            let x = bench.planes(x_map, &elements, 1e30);
            let (weight, bias) =
                (bench.weights(taps(&conv) * conv.channels * conv.out_channels), bench.weights(conv.out_channels));
            let [packed, _] = packs(&mut bench, &conv, x_map.planes, y_map.planes, weight);
            let y = bench.target_planes(y_map, &[], Store::Write);
            bench.run(&[y], |t| forward(t, &conv, x, packed, Epilogue::NONE, y));
            let (maxima, twin_places) = pooled(conv.out_size, &bench.elements(y));
            let biases = &bench.params[bias..][..conv.out_channels];
            let twin: Vec<f32> = maxima
                .iter()
                .enumerate()
                .map(|(at, max)| max + biases[at / count(small) % conv.out_channels])
                .map(|sum| if 0.0 > sum { 0.0 } else { sum })
                .collect();
            let floats = (lanes(small_map.planes) * count(small)).div_ceil(4);
            let places = bench.target(floats, Store::Write);
            let [y, inferred] = [0; 2].map(|_| bench.target_planes(small_map, &[], Store::Write));
            let epilogue = Epilogue::bias(bias).act(Act::Relu);
            bench.run(&[y, places], |t| forward_pool(t, &conv, x, packed, epilogue, y, places));
            bench.run(&[inferred], |t| infer_pool(t, &conv, x, packed, epilogue, inferred));
            assert_eq!(bits(&bench.elements(y)), bits(&twin), "{isa}");
            assert_eq!(bits(&bench.elements(inferred)), bits(&twin), "{isa}");
            let dense = Blocked { before: [0; 3], after: [0; 3], ..*small_map };
            for (at, twin) in twin_places.iter().enumerate() {
                let (sample, element) = (at / (twin_places.len() / 2), at % (twin_places.len() / 2));
                let (channel, position) = (element / count(small), element % count(small));
                let byte = dense.at(channel, 0, position / small[2], position % small[2]);
                let float = bench.get(places)[sample * floats + byte / 4];
                assert_eq!(float.to_ne_bytes()[byte % 4], *twin, "{isa}, {at}");
            }
        }
    }
}

#[test]
fn the_gradient_of_an_images_weights_through_the_pool() {
    let mut exact_ones = 0;
    for seed in seeds(90..106) {
        let mut random = Random::new(seed);
        // With 16 tiles at least, whatever is left out by the pool; fewer for Miri, which compares no twins.
        let [lines, columns] = if cfg!(miri) { [4, 8] } else { [15, 24] };
        let size = [1, random.between(lines, lines + 4), random.between(columns, 70)];
        let (mut conv, x_map) = random_image_of(&mut random, size);
        let small = [1, conv.out_size[1] / 2, conv.out_size[2] / 2];
        let dy_map = if seed % 4 == 0 {
            conv.out_channels = concatenated(small, [0; 3]).channels();
            concatenated(small, [0, 1, 2])
        } else {
            random_map(&mut random, conv.out_channels, small)
        };
        let of_pool = tiles(&Conv { out_size: small.map(|size| 2 * size), ..conv });
        let samples = random.between(1, 3);
        let (inputs, outputs) = (conv.channels * count(conv.size), conv.out_channels * count(conv.out_size));
        let weights = taps(&conv) * conv.channels * conv.out_channels;
        let x_of = random.numbers(samples * inputs);
        let dy_of = random.numbers(samples * conv.out_channels * count(small));
        let winners: Vec<u8> = dy_of.iter().map(|_| random.between(0, 3) as u8).collect();
        let full = before_pool(conv.out_size, &dy_of, &winners);
        let terms = naive::conv(&conv);
        let mut fused: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let mut bench = Bench::new(seed, samples);
            bench.isa = isa;
            bench.scratch = grad_weight_pool_scratch(&conv, x_map.planes, dy_map.planes);
            let beside = if bench.random.coin() { f32::NAN } else { 1e30 };
            let (x, dy) = (bench.planes(x_map, &x_of, beside), bench.planes(dy_map, &dy_of, beside));
            let places = bench.places(dy_map, &winners);
            let (to, bias) = (bench.gradient(weights), bench.gradient(conv.out_channels));
            let before = bench.gradients.clone();
            let of = |bench: &Bench| {
                [(to, weights), (bias, conv.out_channels)].map(|(at, len)| bench.gradients[at..][..len].to_vec())
            };
            let [mut twin, mut bias_twin] = of(&bench).map(|before| Sums::from(wide(&before)));
            for (x, dy) in wide(&x_of).chunks_exact(inputs).zip(full.chunks_exact(outputs)) {
                let scales = weight_scales(&conv, x, dy);
                twin.scales.iter_mut().enumerate().for_each(|(w, scale)| *scale += scales[w / taps(&conv)]);
                terms.iter().for_each(|&(i, w, o)| twin.values[w] += dy[o] * x[i]);
                dy.iter().enumerate().for_each(|(o, &dy)| bias_twin.add(o / count(conv.out_size), dy));
            }
            bench.run(&[], |t| grad_weight_pool(t, &conv, x, dy, places, to, Some(bias)));
            let [of_weight, of_bias] = of(&bench);
            let what = format!("{isa}, {conv:?}");
            assert_close(&what, &of_weight, &twin.values, &twin.scales, product_tolerance(samples * of_pool));
            let tolerance = product_tolerance(samples * count(small) + 1);
            assert_close(&what, &of_bias, &bias_twin.values, &bias_twin.scales, tolerance);
            if isa != Isa::PORTABLE {
                let found = bits(&[of_weight, of_bias].concat());
                assert!(fused.get_or_insert_with(|| found.clone()) == &found, "{what}: other bits");
            }

            // Exact numerics are the sparse one, which sees the padding in a halo.
            if (1..3).any(|axis| x_map.before[axis].min(x_map.after[axis]) < conv.padding[axis]) {
                continue;
            }
            exact_ones += 1;
            // Without a bias the weights' are the same.
            let with_bias = bits(&bench.gradients[to..][..weights]);
            bench.gradients.clone_from(&before);
            bench.run(&[], |t| grad_weight_pool(t, &conv, x, dy, places, to, None));
            assert!(
                bits(&bench.gradients[to..][..weights]) == with_bias
                    && bits(&of(&bench)[1]) == bits(&before[bias..][..conv.out_channels]),
                "{what}"
            );

            let mut exact = |kernel: &dyn Fn(&mut Tile<'_>)| {
                bench.gradients.clone_from(&before);
                bench.numerics = Numerics::Exact;
                bench.run(&[], kernel);
                of(&bench).map(|found| bits(&found))
            };
            let sparse = exact(&|t| sparse::grad_weight(t, &conv, x, dy, places, to, Some(bias)));
            assert!(exact(&|t| grad_weight_pool(t, &conv, x, dy, places, to, Some(bias))) == sparse, "{what}");
        }
    }
    assert!(exact_ones > 0);
}

#[test]
fn a_sample_has_the_same_bits_alone() {
    for kernel in [3, 5] {
        same_alone(kernel);
    }
}

fn same_alone(kernel: usize) {
    let conv = of_size(19, 24, [1, 7, 9], kernel, kernel / 2);
    let weights = taps(&conv) * 19 * 24;
    let [x_map, y_map] = [19, 24].map(|channels| map(channels, conv.size, [0, 1, 1], [0, 1, 4]));
    for isa in Isa::available() {
        let run = |samples: usize, all: &[f32]| {
            let mut bench = Bench::new(60, samples);
            bench.isa = isa;
            bench.scratch = scratch(&conv, x_map.planes, y_map.planes);
            bench.params = Random::new(61).numbers(weights + 24);
            let x = bench.planes(x_map, &all[..samples * 19 * 63], f32::NAN);
            let [packed, _] = packs(&mut bench, &conv, x_map.planes, y_map.planes, 0);
            let y = bench.target_planes(y_map, &[], Store::Write);
            bench.run(&[y], |t| forward(t, &conv, x, packed, Epilogue::bias(weights).act(Act::Tanh), y));
            bits(&bench.elements(y))
        };
        let all = Random::new(62).numbers(8 * 19 * 63);
        let together = run(8, &all);
        for sample in [0, 3, 7] {
            let alone = run(1, &all[sample * 19 * 63..]);
            assert!(alone == together[sample * 24 * 63..][..24 * 63], "{isa}, {sample}");
        }
    }
}

/// What a batch of convolutions with far weights makes: with an epilogue that adds, pooled with and without places, the gradient by the
/// input, written and added, and the transposed convolution; of tiles, or of the batch at once.
fn far((isa, threads, numerics): (Isa, usize, Numerics), samples: usize, is_at_once: bool) -> Vec<u32> {
    let (channels, out_channels) = (88, 96);
    let conv = of_size(channels, out_channels, [1, 6, 4], 3, 1);
    let [x_map, y_map] = [channels, out_channels].map(|channels| map(channels, conv.size, [0, 1, 1], [0, 1, 1]));
    let pooled_map = map(out_channels, [1, 3, 2], [0; 3], [0, 1, 1]);
    let mut offset = 0;
    let mut place = |view: View| {
        let view = View { offset, ..view };
        offset += view.len.next_multiple_of(16);
        view
    };
    let [x, dx, of_y] = [x_map; 3].map(|map| place(map.batch(0)));
    let [other, y] = [y_map; 2].map(|map| place(map.batch(0)));
    let [pooled, inferred] = [pooled_map; 2].map(|map| place(map.batch(0)));
    let places = place(batch(0, direct::pool_places_len(pooled_map)));
    let scratch = scratch(&conv, x_map.planes, y_map.planes).max(x_map.len()).max(y_map.len());
    let plan = Plan { batch: offset, scratch, ..Plan::default() };
    let weights = 9 * channels * out_channels;
    let mut random = Random::new(80);
    let params = random.numbers(weights + out_channels);
    let inputs = [channels, out_channels].map(|channels| random.numbers(samples * channels * 24));
    let feed = |sample: usize, input: usize, to: &mut [f32]| {
        to.copy_from_slice(&inputs[input][sample * to.len()..][..to.len()])
    };
    let lens = [packed_len(x_map.planes, y_map.planes), packed_len(y_map.planes, x_map.planes)];
    assert!(lens.iter().all(|&len| len >= sizes::FAR), "far weights");
    let pack_both = |p: &mut Pack<'_>| {
        pack(p, &conv, x_map.planes, y_map.planes, 0, 0);
        pack_transposed(p, &conv, x_map.planes, y_map.planes, 0, lens[0]);
    };
    let ends = Epilogue::bias(weights).act(Act::Tanh);
    let mut results = Vec::new();
    let mut workspace = Workspace::with_threads(threads).with_isa(isa).with_numerics(numerics);
    workspace.bare(&plan, samples, &feed, &params, (lens[0] + lens[1], &pack_both), &mut |run| {
        run.stage(&[], |t| {
            t.load(0, x);
            t.load(1, other);
        });
        let calls: [&(dyn Fn(&mut Tile<'_>) + Sync); 6] = [
            &|t| forward(t, &conv, x, 0, ends.add(other), y),
            &|t| forward_pool(t, &conv, x, 0, ends, pooled, places),
            &|t| infer_pool(t, &conv, x, 0, ends, inferred),
            &|t| grad_input(t, &conv, other, lens[0], dx, Store::Write),
            &|t| grad_input(t, &conv, y, lens[0], dx, Store::Add),
            &|t| transposed(t, &conv, y, lens[0], Epilogue::NONE.act(Act::Relu), of_y),
        ];
        for call in calls {
            if is_at_once { run.at_once(call) } else { run.stage(&[], call) }
        }
        let made = [y, dx, of_y, pooled, inferred, places];
        results = made.iter().flat_map(|&view| bits(&of_batch(run, view))).collect();
    });
    results
}

#[test]
fn a_batch_at_once_has_the_bits_of_its_tiles() {
    // A part of a tile; then a block that is whole, and one that is not.
    let small = Isa::available().map(|isa| (isa, Numerics::Fast, 3));
    for (isa, numerics, samples) in small.chain([(Isa::best(), Numerics::Exact, 9), (Isa::best(), Numerics::Fast, 33)])
    {
        let of_tiles = far((isa, 1, numerics), samples, false);
        for threads in [2, 5] {
            let at_once = far((isa, threads, numerics), samples, true);
            assert!(at_once == of_tiles, "{isa}, {numerics:?}, {samples} samples, {threads} threads");
        }
    }
    // No sample is nothing to do.
    assert!(far((Isa::best(), 2, Numerics::Fast), 0, true).is_empty());
}

#[test]
fn far_weights() {
    let halo = [0, 1, 1];
    for kernel in [3, 5] {
        let conv = of_size(96, 80, [1, 7, 5], kernel, kernel / 2);
        check_all(81, 3, &conv, map(96, conv.size, halo, halo), map(80, conv.out_size, [0; 3], halo));
    }
}

/// The gradient over a batch: its twin, and the same bits for any number of threads and on all instructions with fused products.
fn check_batch(seed: u64, samples: usize, conv: &Conv, maps: [&'static Blocked; 2]) {
    let (inputs, outputs) = (conv.channels * count(conv.size), conv.out_channels * count(conv.out_size));
    let mut random = Random::new(seed);
    let (x, dy) = (random.numbers(samples * inputs), random.numbers(samples * outputs));
    let weights = taps(conv) * conv.channels * conv.out_channels;
    let (mut twin, mut bias_twin) = (Sums::zero(weights), Sums::zero(conv.out_channels));
    let (x_of, dy_of, terms) = (wide(&x), wide(&dy), naive::conv(conv));
    for (x, dy) in x_of.chunks_exact(inputs).zip(dy_of.chunks_exact(outputs)) {
        let scales = weight_scales(conv, x, dy);
        twin.scales.iter_mut().enumerate().for_each(|(w, scale)| *scale += scales[w / taps(conv)]);
        terms.iter().for_each(|&(i, w, o)| twin.values[w] += dy[o] * x[i]);
        dy.iter().enumerate().for_each(|(o, &dy)| bias_twin.add(o / count(conv.out_size), dy));
    }
    let mut fused: Option<Vec<u32>> = None;
    for (isa, threads) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 3)]) {
        let scratch = batch_scratch(maps[0].planes, maps[1].planes);
        let len = weights + conv.out_channels;
        let found = gradient_of_batch((isa, threads, scratch), maps, samples, [&x, &dy], len, |run, x, dy| {
            grad_weight_batch(run, conv, x, dy, 0, Some(weights));
        });
        let (of_weight, of_bias) = found.split_at(weights);
        let what = format!("{isa}, {threads} threads");
        assert_close(&what, of_weight, &twin.values, &twin.scales, product_tolerance(samples * tiles(conv)));
        let tolerance = product_tolerance(samples * count(conv.out_size));
        assert_close(&what, of_bias, &bias_twin.values, &bias_twin.scales, tolerance);
        if isa != Isa::PORTABLE {
            assert!(fused.get_or_insert_with(|| bits(&found)) == &bits(&found), "{what}: other bits");
        }
    }
}

#[test]
fn the_gradient_over_a_batch() {
    // One part, with a last tile of the batch that is not whole.
    let halo = [0, 1, 1];
    let conv = of_size(19, 24, [1, 4, 4], 3, 1);
    check_batch(70, 3, &conv, [19, 24].map(|channels| map(channels, conv.size, halo, halo)));
}

#[test]
fn a_gradient_in_parts_over_a_batch() {
    // The last parts are of few planes, and there are several blocks.
    let halo = [0, 1, 1];
    let conv = of_size(70, 88, [1, 5, 3], 3, 0);
    check_batch(71, 37, &conv, [map(70, conv.size, halo, [0; 3]), map(88, conv.out_size, [0; 3], halo)]);
    let concat = |size: [usize; 3]| {
        let planes: &'static [Plane] = &[
            Plane { lanes: 16, channels: 11 },
            Plane { lanes: 8, channels: 5 },
            Plane { lanes: 16, channels: 16 },
            Plane { lanes: 16, channels: 9 },
            Plane { lanes: 16, channels: 2 },
        ];
        Box::leak(Box::new(Blocked { planes, size, before: halo, after: [0, 2, 1] }))
    };
    let conv = of_size(43, 43, [1, 3, 6], 3, 1);
    check_batch(72, 9, &conv, [concat(conv.size), concat(conv.out_size)]);
}

#[test]
fn scratch_is_what_the_compiler_counts() {
    let conv = of_size(32, 32, [1, 16, 16], 3, 1);
    let planes = [Plane::FULL; 2];
    let points = 36 * (2 * 32 * 16 + 16);
    assert_eq!(scratch(&conv, &planes, &planes), 2 * points + 36 * 32 * 32 + 9 * 16 * 32 + 32 + 15);
    let wide = of_size(32, 32, [1, 16, 16], 5, 2);
    assert_eq!(scratch(&wide, &planes, &planes), 36 * 2 * (2 * 16 * 16 + 16) + 15);
    assert_eq!(packed_len(&planes, &[Plane { lanes: 8, channels: 5 }]), 36 * (32 * 8 + 16));
    let conv = of_size(3, 32, [1, 16, 16], 3, 1);
    let image = [Plane { lanes: 3, channels: 3 }];
    assert_eq!(scratch(&conv, &image, &planes), 6 * 160 + 8 * (36 * 4 + 24 * 16) + 15);
    let windows = 6 * 160 + 8 * 36 * 4;
    let of_pool = windows + 36 * (8 * 16 + 16) + 4 * 9 * 16 + 2 * 36 * 4 * 16;
    assert_eq!(grad_weight_pool_scratch(&conv, &image, &planes), of_pool + 15);
}
