//! The three products against f64 twins, and equal bits of what must have them.

use super::*;
use crate::Workspace;
use crate::arena::Pack;
use crate::kernels::naive::{self, Sums};
use crate::kernels::testing::{Bench, assert_close, bits, of_batch, pass, product_tolerance, seeds, wide};
use crate::run::Plan;

#[test]
fn random_layers_are_their_twins() {
    let isas: Vec<Isa> = Isa::available().collect();
    for seed in seeds(0..60) {
        let mut bench = Bench::new(seed, 1 + seed as usize % 10);
        bench.isa = isas[seed as usize % isas.len()];
        let rows = if bench.random.coin() { 1 } else { bench.random.between(2, 20) };
        let (inputs, outputs) = (bench.random.between(1, 300), bench.random.between(1, 40));
        let linear = Linear { rows, inputs, outputs };
        let (samples, terms) = (bench.samples, naive::linear(&linear));
        let (x, dy) = (bench.numbers(rows * inputs), bench.numbers(rows * outputs));
        let weight = bench.weights(outputs * inputs);
        let bias = bench.random.coin().then(|| bench.weights(outputs));
        let weight_of = wide(&bench.params[weight..][..outputs * inputs]);
        let (x_of, dy_of) = (bench.wide(x), bench.wide(dy));

        let y = bench.target(rows * outputs, Store::Write);
        bench.run(&[y], |t| forward(t, &linear, x, weight, bias, Act::None, y));
        let mut twin = Sums::zero(samples * rows * outputs);
        for sample in 0..samples {
            let first = sample * rows * outputs;
            if let Some(bias) = bias {
                (0..rows * outputs).for_each(|o| twin.add(first + o, f64::from(bench.params[bias + o % outputs])));
            }
            terms.iter().for_each(|&(i, w, o)| twin.add(first + o, x_of[sample * rows * inputs + i] * weight_of[w]));
        }
        assert_close("forward", bench.get(y), &twin.values, &twin.scales, product_tolerance(inputs));

        let store = bench.random.store();
        let dx = bench.target(rows * inputs, store);
        let len = samples * rows * inputs;
        let mut twin = if store == Store::Add { Sums::from(bench.wide(dx)) } else { Sums::zero(len) };
        bench.run(&[dx], |t| grad_input(t, &linear, dy, weight, dx, store));
        for sample in 0..samples {
            let first = sample * rows * inputs;
            terms.iter().for_each(|&(i, w, o)| twin.add(first + i, dy_of[sample * rows * outputs + o] * weight_of[w]));
        }
        assert_close("grad_input", bench.get(dx), &twin.values, &twin.scales, product_tolerance(outputs));

        let to = bench.gradient(outputs * inputs);
        let bias_to = bias.map(|_| bench.gradient(outputs));
        let before = wide(&bench.gradients);
        bench.run(&[], |t| grad_weight(t, &linear, x, dy, to, bias_to));
        let mut twin = Sums::from(before[to..][..outputs * inputs].to_vec());
        for sample in 0..samples {
            let (x, dy) = (&x_of[sample * rows * inputs..], &dy_of[sample * rows * outputs..]);
            terms.iter().for_each(|&(i, w, o)| twin.add(w, dy[o] * x[i]));
        }
        let tolerance = product_tolerance(samples * rows);
        assert_close("grad_weight", &bench.gradients[to..][..outputs * inputs], &twin.values, &twin.scales, tolerance);
        if let Some(to) = bias_to {
            let mut twin = Sums::from(before[to..][..outputs].to_vec());
            dy_of.iter().enumerate().for_each(|(index, &dy)| twin.add(index % outputs, dy));
            assert_close("grad_bias", &bench.gradients[to..][..outputs], &twin.values, &twin.scales, tolerance);
        }
    }
}

/// Forward, grad-input and grad-weight of a layer, with these instructions.
fn all(isa: Isa, linear: &Linear, samples: usize) -> [Vec<u32>; 3] {
    let Linear { rows, inputs, outputs } = *linear;
    let mut bench = Bench::new(5, samples);
    bench.isa = isa;
    let (weight, bias) = (bench.weights(outputs * inputs), bench.weights(outputs));
    let (x, dy) = (bench.numbers(rows * inputs), bench.numbers(rows * outputs));
    let y = bench.target(rows * outputs, Store::Write);
    bench.run(&[y], |t| forward(t, linear, x, weight, Some(bias), Act::Tanh, y));
    let dx = bench.target(rows * inputs, Store::Write);
    bench.run(&[dx], |t| grad_input(t, linear, dy, weight, dx, Store::Write));
    let to = bench.gradient(outputs * inputs);
    bench.run(&[], |t| grad_weight(t, linear, x, dy, to, None));
    [bench.get(y), bench.get(dx), &bench.gradients[to..][..outputs * inputs]].map(bits)
}

#[test]
fn vectors_of_any_width_give_the_same_bits() {
    let fused: Vec<Isa> = Isa::available().filter(|&isa| isa != Isa::PORTABLE).collect();
    for (rows, inputs, outputs) in [(1, 600, 29), (13, 70, 18), (40, 5, 3), (1, 43, 530), (64, 43, 600)] {
        let linear = Linear { rows, inputs, outputs };
        let results: Vec<_> = fused.iter().map(|&isa| all(isa, &linear, 9)).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{linear:?}");
    }
}

#[test]
fn a_sample_has_the_same_bits_alone() {
    let (inputs, outputs) = (700, 33);
    let linear = Linear { rows: 1, inputs, outputs };
    for isa in Isa::available() {
        let mut together = Bench::new(1, 11);
        together.isa = isa;
        let (weight, bias) = (together.weights(inputs * outputs), together.weights(outputs));
        let (x, dy) = (together.numbers(inputs), together.numbers(outputs));
        let (y, dx) = (together.target(outputs, Store::Write), together.target(inputs, Store::Write));
        together.run(&[y], |t| forward(t, &linear, x, weight, Some(bias), Act::Sigmoid, y));
        together.run(&[dx], |t| grad_input(t, &linear, dy, weight, dx, Store::Write));
        for sample in 0..11 {
            let mut alone = Bench::new(1, 1);
            alone.isa = isa;
            alone.params = together.params.clone();
            let x = alone.value(together.get(x)[sample * inputs..][..inputs].to_vec());
            let dy = alone.value(together.get(dy)[sample * outputs..][..outputs].to_vec());
            let (y_of, dx_of) = (alone.target(outputs, Store::Write), alone.target(inputs, Store::Write));
            alone.run(&[y_of], |t| forward(t, &linear, x, weight, Some(bias), Act::Sigmoid, y_of));
            alone.run(&[dx_of], |t| grad_input(t, &linear, dy, weight, dx_of, Store::Write));
            assert_eq!(bits(alone.get(y_of)), bits(&together.get(y)[sample * outputs..][..outputs]));
            assert_eq!(bits(alone.get(dx_of)), bits(&together.get(dx)[sample * inputs..][..inputs]));
        }
    }
}

#[test]
fn not_a_number_stays_in_its_sample() {
    let linear = Linear { rows: 1, inputs: 21, outputs: 10 };
    let mut bench = Bench::new(1, 3);
    let (weight, mut x) = (bench.weights(210), bench.random.numbers(63));
    x[30] = f32::NAN;
    let (x, y) = (bench.value(x), bench.target(10, Store::Write));
    bench.run(&[y], |t| forward(t, &linear, x, weight, None, Act::Relu, y));
    assert!(bench.get(y).iter().enumerate().all(|(at, y)| y.is_nan() == (at / 10 == 1)));
}

#[test]
fn the_gradient_of_a_batch_is_its_twin_and_the_same_on_any_threads() {
    for (rows, samples) in [(1, 21), (3, 10)] {
        let linear = Linear { rows, inputs: 11, outputs: 150 };
        let mut random = crate::kernels::testing::Random::new(rows as u64);
        let (inputs, outputs) = (rows * 11, rows * 150);
        let [x_of, dy_of] = [samples * inputs, samples * outputs].map(|len| random.numbers(len));
        let (x, dy) = (crate::arena::batch(2, inputs), crate::arena::batch(3 + inputs, outputs));
        let plan = Plan { batch: 5 + inputs + outputs, ..Plan::default() };
        let (weight, bias) = (1, 1 + 11 * 150 + 1);
        let params = vec![0.0; bias + 150 + 1];
        let gradient = |threads: usize, bias: Option<usize>| {
            let mut gradient = Vec::new();
            pass(threads, plan, &params, None, samples, &[&x_of, &dy_of], |run| {
                run.stage(&[], |t| {
                    t.load(0, x);
                    t.load(1, dy);
                });
                // Written over whatever is there; a second time it adds.
                run.gradients[weight..][..11 * 150].fill(1e30);
                grad_weight_batch(run, &linear, x, dy, weight, bias, Store::Write);
                grad_weight_batch(run, &linear, x, dy, weight, bias, Store::Add);
                gradient = run.gradients.to_vec();
            });
            gradient
        };
        let results = gradient(1, Some(bias));
        let mut twin = Sums::zero(params.len());
        for _ in 0..2 {
            for sample in 0..samples {
                let (x, dy) = (&x_of[sample * inputs..], &dy_of[sample * outputs..]);
                for (i, w, o) in naive::linear(&linear) {
                    twin.add(weight + w, f64::from(dy[o]) * f64::from(x[i]));
                }
                (0..outputs).for_each(|o| twin.add(bias + o % 150, f64::from(dy[o])));
            }
        }
        assert_close("gradient", &results, &twin.values, &twin.scales, product_tolerance(2 * samples * rows));
        for threads in [2, 3, 5] {
            assert_eq!(bits(&gradient(threads, Some(bias))), bits(&results));
        }
        assert!(gradient(1, None)[bias..].iter().all(|&value| value == 0.0));
    }
}

#[test]
fn a_whole_batch_has_the_bits_of_its_tiles_on_any_threads() {
    // So many samples, and so many inputs, that all sizes of blocks are there.
    for (rows, samples, inputs) in [(1, 21, 11), (3, 10, 11), (1, 30, 150), (1, 70, 150)] {
        let linear = Linear { rows, inputs, outputs: 150 };
        let mut random = crate::kernels::testing::Random::new(rows as u64);
        let params = random.numbers(151 + inputs * 150);
        let (inputs, outputs) = (rows * inputs, rows * 150);
        let x_of = random.numbers(samples * inputs);
        let (x, y) = (crate::arena::batch(2, inputs), crate::arena::batch(3 + inputs, outputs));
        let plan = Plan { batch: 5 + inputs + outputs, ..Plan::default() };
        for bias in [None, Some(1)] {
            let result = |threads: Option<usize>| {
                let mut result = Vec::new();
                pass(threads.unwrap_or(1), plan, &params, None, samples, &[&x_of], |run| {
                    run.stage(&[], |t| {
                        t.load(0, x);
                        if threads.is_none() {
                            forward(t, &linear, x, 151, bias, Act::Tanh, y);
                        }
                    });
                    if threads.is_some() {
                        forward_batch(run, &linear, x, 151, bias, Act::Tanh, y);
                    }
                    result = bits(&of_batch(run, y));
                });
                result
            };
            let of_tiles = result(None);
            for threads in [1, 2, 5] {
                assert!(result(Some(threads)) == of_tiles, "{threads} threads");
            }
        }
    }
}

#[test]
fn packed_weights_give_the_bits_of_those_that_lie() {
    // Blocks and panels that are whole and not, and rows for vectors of every number. Miri sees the first alone.
    let all = [(33, 130, 7), (1, 11, 5), (8, 128, 6), (15, 130, 7), (21, 300, 20), (33, 129, 270), (70, 40, 530)];
    for &(samples, inputs, outputs) in &all[..if cfg!(miri) { 1 } else { all.len() }] {
        let linear = Linear { rows: 1, inputs, outputs };
        let mut random = crate::kernels::testing::Random::new(inputs as u64);
        let params = random.numbers(1 + outputs + inputs * outputs);
        let x_of = random.numbers(samples * inputs);
        let feed = |sample: usize, _: usize, to: &mut [f32]| to.copy_from_slice(&x_of[sample * inputs..][..inputs]);
        let (x, y) = (crate::arena::batch(2, inputs), crate::arena::batch(3 + inputs, outputs));
        let plan = Plan { batch: 5 + inputs + outputs, ..Plan::default() };
        let weight = 1 + outputs;
        for (isa, bias) in Isa::available().flat_map(|isa| [(isa, None), (isa, Some(1))]) {
            let result = |threads: usize, is_packed: bool| {
                let mut result = Vec::new();
                let mut workspace = Workspace::with_threads(threads).with_isa(isa);
                let copy = (
                    3 + packed_len(&linear),
                    &(|p: &mut Pack<'_>| pack(p, &linear, weight, 3)) as &dyn Fn(&mut Pack<'_>),
                );
                workspace.bare(&plan, samples, &feed, &params, copy, &mut |run| {
                    run.stage(&[], |t| t.load(0, x));
                    match is_packed {
                        true => forward_packed(run, &linear, x, 3, bias, Act::Tanh, y),
                        false => forward_batch(run, &linear, x, weight, bias, Act::Tanh, y),
                    }
                    result = bits(&of_batch(run, y));
                });
                result
            };
            let of_rows = result(1, false);
            for threads in [1, 5] {
                assert!(result(threads, true) == of_rows, "{linear:?}, {isa}, {samples} samples, {threads} threads");
            }
        }
    }
}

#[test]
fn shares_pack_a_weight_together() {
    let linear = Linear { rows: 1, inputs: 300, outputs: 20 };
    let params = crate::kernels::testing::Random::new(1).numbers(2 + 300 * 20);
    let mut packed = vec![f32::NAN; 1 + packed_len(&linear)];
    Pack::all(Isa::best(), &params, &mut packed, |p| pack(p, &linear, 2, 1));
    // The last output of the last whole block, and the block that has two, of the second panel.
    let (panel, of) = (1 + 128 * 24, |output: usize, input: usize| params[2 + output * 300 + input]);
    assert_eq!(packed[panel + 128 * 6 * 2 + 3 * 6 + 5], of(17, 131));
    assert_eq!(packed[panel + 128 * 6 * 3 + 3 * 6..][..6], [of(18, 131), of(19, 131), 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(packed[1 + 256 * 24 + 43 * 6], of(0, 299));
    assert!(packed[0].is_nan() && packed[1..].iter().all(|weight| !weight.is_nan()));
}

#[test]
fn the_gradient_by_a_batch_of_inputs_has_the_bits_of_its_tiles_on_any_threads() {
    // Blocks of inputs that are whole vectors, and that are not.
    for (samples, inputs, outputs) in [(21, 11, 150), (5, 150, 70), (19, 200, 3)] {
        let linear = Linear { rows: 1, inputs, outputs };
        let mut random = crate::kernels::testing::Random::new(inputs as u64);
        let params = random.numbers(7 + inputs * outputs);
        let (dy_of, before) = (random.numbers(samples * outputs), random.numbers(samples * inputs));
        let (dy, dx) = (crate::arena::batch(2, outputs), crate::arena::batch(3 + outputs, inputs));
        let plan = Plan { batch: 5 + inputs + outputs, ..Plan::default() };
        for store in [Store::Write, Store::Add] {
            let result = |threads: Option<usize>| {
                let mut result = Vec::new();
                pass(threads.unwrap_or(1), plan, &params, None, samples, &[&dy_of, &before], |run| {
                    run.stage(&[], |t| {
                        t.load(0, dy);
                        t.load(1, dx);
                        if threads.is_none() {
                            grad_input(t, &linear, dy, 7, dx, store);
                        }
                    });
                    if threads.is_some() {
                        grad_input_batch(run, &linear, dy, 7, dx, store);
                    }
                    result = bits(&of_batch(run, dx));
                });
                result
            };
            let of_tiles = result(None);
            for threads in [1, 2, 5] {
                assert!(result(Some(threads)) == of_tiles, "{samples} samples, {store:?}, {threads} threads");
            }
        }
    }
}
