//! Training and inference against f64 twins, on both layouts and every instruction set.

use super::*;
use crate::kernels::naive;
use crate::kernels::testing::{
    Bench, Random, assert_close, bits, map_of, of_batch, pass, product_tolerance, random_planes, seeds, wide,
};
use crate::layout::Plane;
use crate::run::{Fold, Plan};

/// All that training computes of a layer, mid-batch: y, dx, the gradient, the statistics.
struct Trained {
    y: Vec<f32>,
    dx: Vec<f32>,
    gradients: Vec<f32>,
    statistics: Vec<f32>,
}

/// The stages of one layer: weight at 1, bias behind it, in the parameters; running statistics at 1.
fn train(
    norm: &Norm,
    threads: usize,
    params: &[f32],
    statistics: &[f32],
    [x, dy]: [&[f32]; 2],
    affine: bool,
    in_place: bool,
) -> Trained {
    let (channels, len) = (norm.channels, norm.channels * norm.positions);
    let samples = x.len() / len;
    let mut statistics = statistics.to_vec();
    let at = |index: usize| 1 + index * (len + 1);
    let [x_at, y, dy_at, dx] = [0, 1, 2, 3].map(|index| crate::arena::batch(at(index), len));
    let sums_at = crate::arena::batch(at(4), 2 * channels);
    let plan = Plan { batch: at(4) + 2 * channels + 1, state: 1 + 5 * channels, ..Plan::default() };
    let (weight, bias) = (affine.then_some(1), affine.then_some(1 + channels));
    let (state, coefficients) = (1, 1 + 2 * channels);
    let dx = if in_place { dy_at } else { dx };
    let mut trained = None;
    pass(threads, plan, params, Some(&mut statistics), samples, &[x, dy], |run| {
        run.stage(&[] as &[Fold], |t| {
            t.load(0, x_at);
            t.load(1, dy_at);
            super::statistics(t, norm, x_at, sums_at);
        });
        merge(run, norm, sums_at, state, Some(1));
        run.stage(&[], |t| {
            forward(t, norm, x_at, state, weight, bias, Epilogue::NONE, y);
            sums(t, norm, x_at, dy_at, state, sums_at);
        });
        merge_backward(run, norm, sums_at, state, weight, coefficients, weight, bias);
        run.stage(&[], |t| backward(t, norm, x_at, dy_at, coefficients, dx, Store::Write));
        trained = Some((of_batch(run, y), of_batch(run, dx), run.gradients.to_vec()));
    });
    let (y, dx, gradients) = trained.expect("the pass was run");
    Trained { y, dx, gradients, statistics }
}

#[test]
fn training_is_its_twin() {
    for seed in seeds(0..60) {
        let mut random = Random::new(seed);
        let positions = random.between(1, 50);
        let norm = Norm { channels: random.between(1, 40), positions, eps: 1e-5, momentum: 0.1 };
        let (channels, samples) = (norm.channels, random.between(2, 20));
        let len = channels * positions;
        let (affine, in_place) = (random.coin(), random.coin());
        let [x, dy] = [(); 2].map(|()| random.numbers(samples * len));
        let params = random.numbers(2 + 2 * channels);
        let statistics = random.numbers(2 + 2 * channels);
        let results = train(&norm, 1, &params, &statistics, [&x, &dy], affine, in_place);

        let weights = if affine { wide(&params[1..][..channels]) } else { vec![1.0; channels] };
        let biases = if affine { wide(&params[1 + channels..][..channels]) } else { vec![0.0; channels] };
        let (x, dy, eps) = (wide(&x), wide(&dy), f64::from(norm.eps));
        let twin = naive::batch_norm(&x, channels, positions, eps, &weights, &biases);
        let (dx, dweight, dbias) = naive::batch_norm_gradients(&twin, &dy, positions, eps, &weights);
        // Numbers are about 1, but where the variance is small; sums are of as many terms.
        let small = twin.var.iter().fold(1.0_f64, |least, var| least.min(*var)).sqrt();
        let tolerance = 16.0 / f64::from(1 << 24);
        let scale = 4.0 / small;
        assert_close("y", &results.y, &twin.y, &vec![scale; x.len()], tolerance);
        assert_close("dx", &results.dx, &dx, &vec![scale * scale; x.len()], tolerance);
        let count = (samples * positions) as f64;
        if affine {
            let scales = vec![count * scale; channels];
            assert_close("dweight", &results.gradients[1..][..channels], &dweight, &scales, tolerance);
            assert_close("dbias", &results.gradients[1 + channels..][..channels], &dbias, &scales, tolerance);
        } else {
            assert!(results.gradients.iter().all(|&gradient| gradient == 0.0));
        }
        let running = wide(&statistics[1..]);
        let mean: Vec<f64> = (0..channels).map(|c| 0.9 * running[c] + 0.1 * twin.mean[c]).collect();
        let unbiased = |c: usize| twin.var[c] * count / (count - 1.0);
        let var: Vec<f64> = (0..channels).map(|c| 0.9 * running[channels + c] + 0.1 * unbiased(c)).collect();
        let scales = vec![1.0; channels];
        assert_close("mean", &results.statistics[1..][..channels], &mean, &scales, tolerance);
        assert_close("var", &results.statistics[1 + channels..][..channels], &var, &scales, tolerance);
    }
}

#[test]
fn training_has_the_same_bits_on_any_threads() {
    let norm = Norm { channels: 20, positions: 35, eps: 1e-5, momentum: 0.1 };
    let mut random = Random::new(1);
    let [x, dy] = [(); 2].map(|()| random.numbers(19 * 20 * 35));
    let (params, statistics) = (random.numbers(42), random.numbers(42));
    let all = |threads: usize| {
        let Trained { y, dx, gradients, statistics } =
            train(&norm, threads, &params, &statistics, [&x, &dy], true, false);
        [y, dx, gradients, statistics].map(|floats| bits(&floats))
    };
    assert_eq!(all(1), all(3));
}

#[test]
fn a_mean_of_a_thousand_deviations_does_no_harm() {
    let norm = Norm { channels: 1, positions: 256, eps: 0.0, momentum: 0.1 };
    let mut random = Random::new(2);
    let x: Vec<f32> = random.numbers(8 * 256).iter().map(|x| 1000.0 + x).collect();
    let results = train(&norm, 1, &[0.0; 4], &[0.0; 4], [&x, &x], false, false);
    let twin = naive::batch_norm(&wide(&x), 1, 256, 0.0, &[1.0], &[0.0]);
    // The mean is rounded to 3e-5, which is 5e-5 of the deviation; the variance is exact.
    assert_close("y", &results.y, &twin.y, &vec![1.0; x.len()], 1e-4);
    let var = twin.var[0] * 2048.0 / 2047.0;
    assert_close("var", &results.statistics[2..3], &[0.1 * var], &[var], 1e-6);
}

/// Two sums a channel, to be written.
fn sums_of(bench: &mut Bench, channels: usize) -> View {
    loop {
        let sums = bench.target(2 * channels, Store::Write);
        if sums.region == Region::Batch {
            return sums;
        }
    }
}

/// A batch norm of values in planes, mid-batch, all values in PyTorch's order.
struct InPlanes {
    planes: &'static [Plane],
    size: [usize; 3],
    norm: Norm,
    act: Act,
    affine: bool,
    /// x, dy, a value to add, and what gradients are added to.
    values: [Vec<f32>; 4],
    /// Mean and inverse deviation, then A, B and C.
    state: Vec<f32>,
    /// Weight, bias; mean and variance.
    params: Vec<f32>,
}

impl InPlanes {
    fn random(random: &mut Random, samples: usize) -> InPlanes {
        let planes = random_planes(random);
        let size = [random.between(1, 2), random.between(1, 6), random.between(1, 9)];
        let (channels, positions) = (planes.iter().map(|plane| plane.channels).sum(), size.iter().product());
        let norm = Norm { channels, positions, eps: 1e-3, momentum: 0.1 };
        let act = [Act::None, Act::Relu, Act::Relu, Act::Tanh][random.between(0, 3)];
        let values = [(); 4].map(|()| random.numbers(samples * channels * positions));
        let (state, mut params) = (random.numbers(5 * channels), random.numbers(4 * channels));
        params[3 * channels..].iter_mut().for_each(|var| *var = var.abs() + 0.1);
        InPlanes { planes, size, norm, act, affine: random.coin(), values, state, params }
    }

    /// One sample of it.
    fn sample(&self, sample: usize) -> InPlanes {
        let len = self.norm.channels * self.norm.positions;
        let values = self.values.each_ref().map(|values| values[sample * len..][..len].to_vec());
        InPlanes { values, state: self.state.clone(), params: self.params.clone(), ..*self }
    }

    /// Statistics; y alone, with a value added before and behind; y by given statistics; sums; dx alone, added, in place.
    fn run(&self, isa: Isa, seed: u64) -> [Vec<f32>; 9] {
        let InPlanes { planes, size, norm, act, .. } = *self;
        let channels = norm.channels;
        let samples = self.values[0].len() / (channels * norm.positions);
        let mut bench = Bench::new(seed, samples);
        bench.isa = isa;
        bench.state.extend(&self.state);
        bench.params.extend(&self.params);
        let beside = if bench.random.coin() { f32::NAN } else { 1e30 };
        let [x, dy, other, _] = [0, 1, 2, 3].map(|value| {
            let map = map_of(planes, size, &mut bench.random);
            bench.planes(map, &self.values[value], beside)
        });
        let target = |bench: &mut Bench, store: Store| {
            let map = map_of(planes, size, &mut bench.random);
            bench.target_planes(map, &self.values[3], store)
        };
        let [weight, bias] = [2, 2 + channels].map(|offset| self.affine.then_some(offset));
        let [statistics_of, sums_of] = [(); 2].map(|()| sums_of(&mut bench, channels));
        bench.run(&[statistics_of], |t| statistics(t, &norm, x, statistics_of));
        bench.run(&[sums_of], |t| sums(t, &norm, x, dy, 2, sums_of));
        let epilogues = [
            Epilogue::NONE.act(act),
            Epilogue { before: Some(other), act, ..Epilogue::NONE },
            Epilogue { after: Some(other), act, ..Epilogue::NONE },
        ];
        let ys = epilogues.map(|epilogue| {
            let y = target(&mut bench, Store::Write);
            bench.run(&[y], |t| forward(t, &norm, x, 2, weight, bias, epilogue, y));
            bench.elements(y)
        });
        let y = target(&mut bench, Store::Write);
        let (mean, var) = (2 + 2 * channels, 2 + 3 * channels);
        bench.run(&[y], |t| infer(t, &norm, x, weight, bias, mean, var, act, y));
        let [dx, added] = [Store::Write, Store::Add].map(|store| {
            let dx = target(&mut bench, store);
            bench.run(&[dx], |t| backward(t, &norm, x, dy, 2 + 2 * channels, dx, store));
            bench.elements(dx)
        });
        bench.run(&[dy], |t| backward(t, &norm, x, dy, 2 + 2 * channels, dy, Store::Write));
        let [plain, before, after] = ys;
        let [statistics, sums] = [statistics_of, sums_of].map(|sums| bench.get(sums).to_vec());
        [statistics, plain, before, after, bench.elements(y), sums, dx, added, bench.elements(dy)]
    }

    fn assert_twins(&self, [statistics, plain, before, after, inferred, sums, dx, added, in_place]: &[Vec<f32>; 9]) {
        let Norm { channels, positions, eps, .. } = self.norm;
        let [x, dy, other, to] = self.values.each_ref().map(|values| wide(values));
        let (state, params) = (wide(&self.state), wide(&self.params));
        let tolerance = product_tolerance(positions);
        let (mut moments, mut moment_scales, mut sums_of, mut sum_scales) = (vec![], vec![], vec![], vec![]);
        for (x, dy) in x.chunks_exact(channels * positions).zip(dy.chunks_exact(channels * positions)) {
            let mean = |c: usize| x[c * positions..][..positions].iter().sum::<f64>() / positions as f64;
            let far = |c: usize, p: usize| x[c * positions + p] - mean(c);
            moments.extend((0..channels).map(mean));
            moments.extend((0..channels).map(|c| (0..positions).map(|p| far(c, p).powi(2)).sum::<f64>()));
            moment_scales.extend(vec![1.0; channels]);
            moment_scales.extend(vec![positions as f64; channels]);
            let xhat = |c: usize, p: usize| (x[c * positions + p] - state[c]) * state[channels + c];
            let dy = |c: usize, p: usize| dy[c * positions + p];
            sums_of.extend((0..channels).map(|c| (0..positions).map(|p| dy(c, p)).sum::<f64>()));
            let both = |c: usize| (0..positions).map(|p| dy(c, p) * xhat(c, p)).sum::<f64>();
            sums_of.extend((0..channels).map(both));
            sum_scales.extend(vec![2.0 * positions as f64; 2 * channels]);
        }
        assert_close("statistics", statistics, &moments, &moment_scales, tolerance);
        assert_close("sums", sums, &sums_of, &sum_scales, tolerance);

        let of = |index: usize| index / positions % channels;
        let affine = |index: usize| match self.affine {
            true => (params[of(index)], params[channels + of(index)]),
            false => (1.0, 0.0),
        };
        let normal = |index: usize, mean: f64, inverse: f64| {
            let (weight, bias) = affine(index);
            (x[index] - mean) * inverse * weight + bias
        };
        let forward = |index: usize| normal(index, state[of(index)], state[channels + of(index)]);
        let close = |what: &str, results: &[f32], twin: &dyn Fn(usize) -> f64| {
            let twins: Vec<f64> = (0..x.len()).map(twin).collect();
            assert_close(what, results, &twins, &vec![8.0; x.len()], 4.0 / f64::from(1 << 24));
        };
        let act = |x: f64| naive::act(self.act, x);
        close("forward", plain, &|index| act(forward(index)));
        close("before", before, &|index| act(forward(index) + other[index]));
        close("after", after, &|index| act(forward(index)) + other[index]);
        close("infer", inferred, &|index| {
            let (mean, var) = (params[2 * channels + of(index)], params[3 * channels + of(index)]);
            act(normal(index, mean, 1.0 / (var + f64::from(eps)).sqrt()))
        });
        let gradient = |index: usize| {
            let [a, b, c] = [2, 3, 4].map(|row| state[row * channels + of(index)]);
            a * dy[index] + b + c * x[index]
        };
        close("backward", dx, &gradient);
        close("backward, added", added, &|index| to[index] + gradient(index));
        assert_eq!(bits(dx), bits(in_place));
    }
}

#[test]
fn values_in_planes_are_their_twins() {
    for seed in seeds(0..60) {
        let mut random = Random::new(seed);
        let problem = InPlanes::random(&mut random, 1 + seed as usize % 3);
        let mut fused = Vec::new();
        for isa in Isa::available() {
            let results = problem.run(isa, seed);
            problem.assert_twins(&results);
            if isa != Isa::PORTABLE {
                fused.push(results.map(|floats| bits(&floats)));
            }
        }
        assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "no vector's width changes the bits");
    }
}

#[test]
fn a_relu_behind_is_as_one_of_its_own() {
    for seed in seeds(0..20) {
        for isa in Isa::available() {
            let samples = 2;
            let InPlanes { planes, size, norm, affine, values: [mut x, dy, before, _], state, params, .. } =
                InPlanes::random(&mut Random::new(seed), samples);
            let channels = norm.channels;
            x[0] = f32::NAN;
            let mut bench = Bench::new(seed, samples);
            bench.isa = isa;
            bench.state.extend(&state);
            bench.params.extend(&params);
            // A result that is zero.
            bench.params[2 + channels] = 0.0;
            x[norm.positions - 1] = state[0];
            let [weight, bias] = [2, 2 + channels].map(|offset| affine.then_some(offset));
            for is_plain in [true, false] {
                let map = map_of(planes, size, &mut bench.random);
                let value = |bench: &mut Bench, floats: &[f32]| match is_plain {
                    true => bench.value(floats.to_vec()),
                    false => bench.planes(map, floats, f32::NAN),
                };
                let elements = |bench: &Bench, view: View| match is_plain {
                    true => bench.get(view).to_vec(),
                    false => bench.elements(view),
                };
                let (x, of_dy, y) = (value(&mut bench, &x), value(&mut bench, &dy), value(&mut bench, &dy));
                bench.run(&[y], |t| forward(t, &norm, x, 2, weight, bias, Epilogue::NONE.act(Act::Relu), y));
                let y = elements(&bench, y);
                assert!(y[0].is_nan() && y[norm.positions - 1] == 0.0 || norm.positions == 1);
                let passed: Vec<f32> = dy.iter().zip(&y).map(|(&dy, &y)| if y <= 0.0 { 0.0 } else { dy }).collect();
                let of_passed = value(&mut bench, &passed);
                let [wanted, found] = [(); 2].map(|()| sums_of(&mut bench, channels));
                bench.run(&[wanted], |t| sums(t, &norm, x, of_passed, 2, wanted));
                bench.run(&[found], |t| sums_relu(t, &norm, x, of_dy, 2, weight, bias, found));
                // Of the channel with a NaN all is NaN, whose bits may differ.
                let of = |floats: &[f32]| floats.iter().map(|x| if x.is_nan() { 0 } else { x.to_bits() }).collect();
                let (wanted, found): (Vec<u32>, Vec<u32>) = (of(bench.get(wanted)), of(bench.get(found)));
                assert_eq!(wanted, found);
                for store in [Store::Write, Store::Add] {
                    let [wanted, found] = [(); 2].map(|()| value(&mut bench, &before));
                    let at = 2 + 2 * channels;
                    bench.run(&[wanted], |t| backward(t, &norm, x, of_passed, at, wanted, store));
                    bench.run(&[found], |t| backward_relu(t, &norm, x, of_dy, 2, weight, bias, at, found, store));
                    let (wanted, found): (Vec<u32>, Vec<u32>) =
                        (of(&elements(&bench, wanted)), of(&elements(&bench, found)));
                    assert_eq!(wanted, found);
                }
                bench.run(&[of_dy, of_passed], |t| {
                    backward(t, &norm, x, of_passed, 2, of_passed, Store::Write);
                    backward_relu(t, &norm, x, of_dy, 2, weight, bias, 2, of_dy, Store::Write);
                });
                let (wanted, found): (Vec<u32>, Vec<u32>) =
                    (of(&elements(&bench, of_passed)), of(&elements(&bench, of_dy)));
                assert_eq!(wanted, found);
            }
        }
    }
}

#[test]
fn a_sample_in_planes_is_the_same_alone_and_among_others() {
    for isa in Isa::available() {
        let problem = InPlanes::random(&mut Random::new(3), 8);
        let all = problem.run(isa, 1);
        for sample in 0..8 {
            let alone = problem.sample(sample).run(isa, 2);
            for (all, alone) in all.iter().zip(&alone) {
                assert_eq!(bits(&all[sample * alone.len()..][..alone.len()]), bits(alone));
            }
        }
    }
}

#[test]
fn a_mean_of_a_thousand_deviations_does_no_harm_in_planes() {
    let norm = Norm { channels: 5, positions: 1024, eps: 0.0, momentum: 0.1 };
    for isa in Isa::available() {
        let mut bench = Bench::new(3, 1);
        bench.isa = isa;
        let elements: Vec<f32> = bench.random.numbers(5 * 1024).iter().map(|x| 1000.0 + x).collect();
        let map = map_of(&[Plane { lanes: 8, channels: 5 }], [1, 32, 32], &mut bench.random);
        let (x, sums) = (bench.planes(map, &elements, f32::NAN), sums_of(&mut bench, 5));
        bench.run(&[sums], |t| statistics(t, &norm, x, sums));
        for (channel, x) in wide(&elements).chunks_exact(1024).enumerate() {
            let mean = x.iter().sum::<f64>() / 1024.0;
            let squares = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            let [mean_of, squares_of] = [0, 5].map(|row| f64::from(bench.get(sums)[row + channel]));
            // One rounding of a thousand; sums of 256 terms.
            assert!((mean_of - mean).abs() < 3.1e-5, "{mean_of} {mean}");
            assert!((squares_of / squares - 1.0).abs() < 1e-5, "{squares_of} {squares}");
        }
    }
}

#[test]
fn running_statistics_may_stay() {
    let norm = Norm { channels: 1, positions: 2, eps: 1e-5, momentum: 0.1 };
    let sums = crate::arena::batch(0, 2);
    let plan = Plan { batch: 2, state: 2, ..Plan::default() };
    pass(1, plan, &[], None, 2, &[&[1.0, 0.0, 3.0, 0.0]], |run| {
        run.stage(&[], |t| t.load(0, sums));
        merge(run, &norm, sums, 0, Some(0));
        assert_eq!(run.state[0], 2.0);
    });
}

#[test]
fn backward_may_add() {
    let norm = Norm { channels: 2, positions: 3, eps: 1e-5, momentum: 0.1 };
    let mut bench = Bench::new(1, 2);
    bench.state = vec![0.0, 2.0, 3.0, 10.0, 20.0, 100.0, 200.0];
    let (x, dy, dx) = (bench.value(vec![1.0; 12]), bench.value(vec![1.0; 12]), bench.value(vec![0.5; 12]));
    bench.run(&[dx], |t| backward(t, &norm, x, dy, 1, dx, Store::Add));
    assert_eq!(bench.get(dx), [[112.5; 3], [223.5; 3], [112.5; 3], [223.5; 3]].concat());
}

#[test]
fn inference_and_a_fold_are_one() {
    let norm = Norm { channels: 3, positions: 4, eps: 1e-3, momentum: 0.1 };
    let mut bench = Bench::new(2, 2);
    let x = bench.numbers(12);
    let [weight, bias, mean, var] = [(); 4].map(|()| bench.weights(3));
    bench.params[var..][..3].iter_mut().for_each(|var| *var = var.abs() + 0.1);
    let of = |offset: usize| bench.params[offset..][..3].to_vec();
    let [gamma, beta, means, vars] = [weight, bias, mean, var].map(of);
    let y = bench.target(12, Store::Write);
    bench.run(&[y], |t| infer(t, &norm, x, Some(weight), Some(bias), mean, var, Act::Relu, y));
    let twin: Vec<f64> = bench
        .wide(x)
        .iter()
        .enumerate()
        .map(|(index, x)| {
            let of = |values: &[f32]| f64::from(values[index / 4 % 3]);
            ((x - of(&means)) / (of(&vars) + 1e-3).sqrt() * of(&gamma) + of(&beta)).max(0.0)
        })
        .collect();
    assert_close("infer", bench.get(y), &twin, &[4.0; 24], 4.0 / f64::from(1 << 24));

    // A layer of 3 outputs of 2 inputs each, with and without a bias of its own.
    for own in [None, Some([0.5_f32, -0.25, 2.0])] {
        let weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0_f32];
        let mut packed = vec![7.0; 12];
        packed[1..7].copy_from_slice(&weights);
        if let Some(own) = own {
            packed[8..11].copy_from_slice(&own);
        }
        fold(&mut packed, 3, 2, 1, own.map(|_| 8), 8, Some(&gamma), Some(&beta), &means, &vars, 1e-3);
        assert_eq!([packed[0], packed[7], packed[11]], [7.0; 3]);
        let input = [0.75_f64, -0.5];
        for channel in 0..3 {
            let layer = |weights: &[f32], bias: f32| {
                f64::from(weights[0]) * input[0] + f64::from(weights[1]) * input[1] + f64::from(bias)
            };
            let z = layer(&weights[2 * channel..], own.map_or(0.0, |own| own[channel]));
            let of = |values: &[f32]| f64::from(values[channel]);
            let twin = (z - of(&means)) / (of(&vars) + 1e-3).sqrt() * of(&gamma) + of(&beta);
            let folded = layer(&packed[1 + 2 * channel..], packed[8 + channel]);
            assert!((twin - folded).abs() < 1e-5, "{twin} {folded}");
        }
    }
}
