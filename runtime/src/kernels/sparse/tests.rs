//! Both gradients against those of a convolution and a pool in f64.

use super::*;
use crate::arena::Pack;
use crate::isa::Isa;
use crate::kernels::naive::{self, Sums};
use crate::kernels::testing::{Bench, assert_close, before_pool, bits, image, map, product_tolerance, seeds, wide};

/// Values of a convolution whose pooled gradient is random, as are the places of its maxima.
fn check(seed: u64, images: bool) {
    let mut results = Vec::new();
    for isa in Isa::available() {
        let mut bench = Bench::new(seed, [1, 2, 8][seed as usize % 3]);
        bench.isa = isa;
        let random = &mut bench.random;
        let kernel = [1, random.between(1, 6), random.between(1, 6)];
        let padding = [0, random.between(0, 2), random.between(0, 2)];
        let size = [0, 1, 2].map(|axis| if axis == 0 { 1 } else { kernel[axis] + random.between(1, 9) });
        let some = [1, 3, 5, 8, 12, 16, 19, 24];
        let channels = if images { random.between(1, 4) } else { some[random.between(0, 7)] };
        let conv = Conv {
            channels,
            size,
            out_channels: some[random.between(0, 7)],
            out_size: [0, 1, 2].map(|axis| size[axis] + 2 * padding[axis] - kernel[axis] + 1),
            kernel,
            stride: [1; 3],
            padding,
            dilation: [1; 3],
            groups: 1,
        };
        let [_, lines, columns] = conv.out_size;
        let x_map = if images {
            image(channels, size, [0, padding[1] + 1, padding[2]], [0, padding[1], padding[2] + 1])
        } else {
            map(channels, size, [0, padding[1], padding[2] + 1], padding)
        };
        let y_map = map(conv.out_channels, [1, lines / 2, columns / 2], [0, 0, 2], [0, 1, 0]);
        let (count, windows) = (bench.samples * conv.out_channels, (lines / 2) * (columns / 2));
        let dy_of = bench.random.numbers(count * windows);
        let winners: Vec<u8> = (0..count * windows).map(|_| bench.random.between(0, 3) as u8).collect();
        let plane = lines * columns;
        let full = before_pool(conv.out_size, &dy_of, &winners);
        let terms = naive::conv(&conv);
        let (inputs, outputs) = (channels * size[1] * size[2], conv.out_channels * plane);
        let weights = conv.out_channels * channels * kernel[1] * kernel[2];
        let beside = if seed.is_multiple_of(2) { f32::NAN } else { 1e30 };
        let samples = bench.samples;
        let x_of = bench.random.numbers(samples * inputs);
        let (x, dy) = (bench.planes(x_map, &x_of, beside), bench.planes(y_map, &dy_of, beside));
        let places = bench.places(y_map, &winners);
        let what = format!("{seed}, {isa}: {conv:?}");
        let weight = bench.weights(weights);

        let (to, bias) = (bench.gradient(weights), bench.gradient(conv.out_channels));
        let [mut twin, mut bias_twin] =
            [(to, weights), (bias, conv.out_channels)].map(|(at, len)| Sums::from(wide(&bench.gradients[at..][..len])));
        for sample in 0..samples {
            for &(i, w, o) in &terms {
                twin.add(w, f64::from(x_of[sample * inputs + i]) * full[sample * outputs + o]);
            }
            (0..outputs).for_each(|o| bias_twin.add(o / plane, full[sample * outputs + o]));
        }
        bench.scratch = grad_weight_scratch(&conv, x_map.planes);
        bench.run(&[], |t| grad_weight(t, &conv, x, dy, places, to, Some(bias)));
        let tolerance = product_tolerance(samples * windows + 1);
        let [of_weight, of_bias] =
            [(to, weights), (bias, conv.out_channels)].map(|(at, len)| bench.gradients[at..][..len].to_vec());
        assert_close(&what, &of_weight, &twin.values, &twin.scales, tolerance);
        assert_close(&what, &of_bias, &bias_twin.values, &bias_twin.scales, tolerance);
        let mut result = [of_weight, of_bias].concat();

        if !images {
            bench.packed = vec![f32::NAN; direct::packed_len(&conv, y_map.planes, x_map.planes)];
            Pack::all(isa, &bench.params, &mut bench.packed, |p| {
                direct::pack_transposed(p, &conv, x_map.planes, y_map.planes, weight, 0);
            });
            let (store, before) = (bench.random.store(), bench.random.numbers(samples * inputs));
            let dx = bench.target_planes(x_map, &before, store);
            let mut twin = match store {
                Store::Add => Sums::from(wide(&before)),
                Store::Write => Sums::zero(samples * inputs),
            };
            for sample in 0..samples {
                for &(i, w, o) in &terms {
                    let weight = f64::from(bench.params[weight + w]);
                    twin.add(sample * inputs + i, weight * full[sample * outputs + o]);
                }
            }
            bench.scratch = grad_input_scratch(&conv);
            bench.run(&[dx], |t| grad_input(t, &conv, dy, places, 0, dx, store));
            let tolerance = product_tolerance(conv.out_channels * kernel[1] * kernel[2] + 1);
            assert_close(&what, &bench.elements(dx), &twin.values, &twin.scales, tolerance);
            result.extend(bench.elements(dx));
        }
        results.push(bits(&result));
    }
    assert!(results.len() < 3 || results[1] == results[2], "{seed}: AVX2 and AVX-512 give the same bits");
}

#[test]
fn gradients_through_the_pool_are_their_twins() {
    for seed in seeds(0..60) {
        check(seed, seed % 3 == 0);
    }
}
