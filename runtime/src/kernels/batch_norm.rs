//! Batch normalisation: `xhat = (x - mean) / sqrt(var + eps)`, `y = weight xhat + bias`, by channel (Ioffe and Szegedy, *Batch
//! Normalization*, 2015).
//!
//! Training takes mean and variance of the batch, in two stages of tiles: [`statistics`] of each sample, [`merge`] once, [`forward`];
//! and backward likewise: [`sums`], [`merge_backward`], [`backward`]. Inference has them from training: [`infer`], or [`fold`] into the
//! weights of the layer before.

use crate::arena::{Parts, Region, Tile, View};
use crate::isa::Isa;
use crate::kernels::{Act, Store, math};
use crate::run::{Run, Whole};

/// Channels whose sums are merged side by side.
const LANES: usize = 16;

/// A batch norm's geometry. A sample's value is `[channels][positions]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Channels.
    pub channels: usize,
    /// Positions of a channel in a sample.
    pub positions: usize,
    /// Added to the variance.
    pub eps: f32,
    /// How much of the running statistics a step replaces.
    pub momentum: f32,
}

impl Norm {
    fn check(&self, x: View) {
        assert_eq!(x.len, self.channels * self.positions, "a value is [channels][positions]");
    }

    fn check_sums(&self, sums: View) {
        assert!(
            sums.region == Region::Batch && sums.len == 2 * self.channels,
            "two sums a channel, kept for the batch"
        );
    }

    /// Gives `each` the sums of all samples in order, for blocks of channels: the first channel, the sample, and the two sums of each of
    /// the block's channels; after the last sample `done` with the first channel and how many.
    fn merge<S: Default>(
        &self,
        whole: &Whole<'_>,
        sums: View,
        mut each: impl FnMut(&mut S, usize, f64, f64),
        mut done: impl FnMut(usize, S),
    ) {
        for first in (0..self.channels).step_by(LANES) {
            let count = LANES.min(self.channels - first);
            let mut merged: [S; LANES] = Default::default();
            for sample in 0..whole.samples {
                let row = &whole.batch[sample * whole.batch_stride + sums.offset..][..sums.len];
                let pairs = row[first..].iter().zip(&row[self.channels + first..]);
                for (merged, (&a, &b)) in merged[..count].iter_mut().zip(pairs) {
                    each(merged, sample, f64::from(a), f64::from(b));
                }
            }
            merged.into_iter().take(count).enumerate().for_each(|(lane, merged)| done(first + lane, merged));
        }
    }
}

/// For each sample, `sums[c]` = the mean of `x[c]`, `sums[channels + c]` = the sum of `(x[c][p] - mean)^2`.
///
/// Two passes; the second also sums `x - mean` and corrects both by what the rounding of the first left (Chan, Golub and LeVeque,
/// *Algorithms for Computing the Sample Variance*, 1983).
pub fn statistics(t: &mut Tile<'_>, norm: &Norm, x: View, sums: View) {
    norm.check(x);
    norm.check_sums(sums);
    let count = norm.positions as f64;
    let Parts { reads: [x], writes: [mut sums], .. } = t.parts([x], [sums]);
    for sample in 0..x.samples() {
        let (means, squares) = sums.row(sample).split_at_mut(norm.channels);
        let channels = x.row(sample).chunks_exact(norm.positions);
        for (x, (mean_of, square_of)) in channels.zip(means.iter_mut().zip(squares)) {
            let mean = (math::sum(x) / count) as f32;
            let [rest, squares] = math::sums(x, x, |x, _| [x - mean, (x - mean) * (x - mean)]);
            *mean_of = (f64::from(mean) + rest / count) as f32;
            *square_of = (squares - rest * rest / count).max(0.0) as f32;
        }
    }
}

/// Mean and variance of the batch from those of the samples, merged in their order (Chan's formula). At `state`: `mean[channels]`, then
/// `1 / sqrt(var + eps)[channels]`, of the biased variance. At `running` of the statistics, when they are to change:
/// `running_mean[channels]` and `running_var[channels]` move by `momentum` to the mean and the unbiased variance.
pub fn merge(run: &mut Run<'_>, norm: &Norm, sums: View, state: usize, running: Option<usize>) {
    norm.check_sums(sums);
    let mut whole = run.whole();
    let count = norm.positions as f64;
    let total = whole.samples as f64 * count;
    let channels = norm.channels;
    let mut into = (whole.statistics.take(), running);
    let memory = std::mem::take(&mut whole.state);
    let state = &mut memory[state..][..2 * channels];
    norm.merge(
        &whole,
        sums,
        |(mean, squares): &mut (f64, f64), sample, mean_of, squares_of| {
            let before = sample as f64 * count;
            let delta = mean_of - *mean;
            *mean += delta * count / (before + count);
            *squares += squares_of + delta * delta * before * count / (before + count);
        },
        |channel, (mean, squares)| {
            state[channel] = mean as f32;
            state[channels + channel] = (1.0 / (squares / total + f64::from(norm.eps)).sqrt()) as f32;
            if let (Some(statistics), Some(running)) = &mut into {
                let mut change = |at: usize, to: f64| {
                    let momentum = f64::from(norm.momentum);
                    statistics[at] = ((1.0 - momentum) * f64::from(statistics[at]) + momentum * to) as f32;
                };
                change(*running + channel, mean);
                change(*running + channels + channel, squares / (total - 1.0));
            }
        },
    );
}

/// What a channel is multiplied by and what is added; 1 and 0 where the layer has no weights.
fn affine(params: &[f32], weight: Option<usize>, bias: Option<usize>, channel: usize) -> (f32, f32) {
    let at = |offset: Option<usize>, or: f32| offset.map_or(or, |offset| params[offset + channel]);
    (at(weight, 1.0), at(bias, 0.0))
}

/// `y[c] = act((x[c] - mean) scale + shift)`.
fn normalise(isa: Isa, x: &[f32], mean: f32, scale: f32, shift: f32, act: Act, y: &mut [f32]) {
    Store::Write.put(y, x.iter().map(|x| (x - mean) * scale + shift));
    act.apply(isa, y);
}

/// `y[c] = act(weight[c] (x[c] - mean[c]) / sqrt(var[c] + eps) + bias[c])`, with what [`merge`] left at `state`.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    t: &mut Tile<'_>,
    norm: &Norm,
    x: View,
    state: usize,
    weight: Option<usize>,
    bias: Option<usize>,
    act: Act,
    y: View,
) {
    norm.check(x);
    norm.check(y);
    let Parts { reads: [x], writes: [mut y], params, isa, state: memory, .. } = t.parts([x], [y]);
    let (mean, deviation) = memory[state..][..2 * norm.channels].split_at(norm.channels);
    for sample in 0..x.samples() {
        let channels = x.row(sample).chunks_exact(norm.positions);
        for (channel, (x, y)) in channels.zip(y.row(sample).chunks_exact_mut(norm.positions)).enumerate() {
            let (weight, bias) = affine(params, weight, bias, channel);
            normalise(isa, x, mean[channel], weight * deviation[channel], bias, act, y);
        }
    }
}

/// For each sample, `sums[c]` = the sum of `dy[c]`, `sums[channels + c]` = the sum of `dy[c] xhat[c]`.
pub fn sums(t: &mut Tile<'_>, norm: &Norm, x: View, dy: View, state: usize, sums: View) {
    norm.check(x);
    norm.check(dy);
    norm.check_sums(sums);
    let Parts { reads: [x, dy], writes: [mut sums], state: memory, .. } = t.parts([x, dy], [sums]);
    let (mean, deviation) = memory[state..][..2 * norm.channels].split_at(norm.channels);
    for sample in 0..x.samples() {
        let (of_dy, of_both) = sums.row(sample).split_at_mut(norm.channels);
        let channels = x.row(sample).chunks_exact(norm.positions).zip(dy.row(sample).chunks_exact(norm.positions));
        for (channel, (x, dy)) in channels.enumerate() {
            let (mean, deviation) = (mean[channel], deviation[channel]);
            let [sum, both] = math::sums(x, dy, |x, dy| [dy, dy * (x - mean)]);
            of_dy[channel] = sum as f32;
            of_both[channel] = (both * f64::from(deviation)) as f32;
        }
    }
}

/// The sums of the batch from those of the samples, added in their order: adds them to the model's gradient at `grad_weight` (`sum of dy
/// xhat`) and `grad_bias` (`sum of dy`), and leaves at `coefficients` A, B and C, each `[channels]`, of `dx = A dy + B + C x`: from
/// `dx = A (dy - mean of dy - xhat mean of dy xhat)` with `A = weight / sqrt(var + eps)`.
#[allow(clippy::too_many_arguments)]
pub fn merge_backward(
    run: &mut Run<'_>,
    norm: &Norm,
    sums: View,
    state: usize,
    weight: Option<usize>,
    coefficients: usize,
    grad_weight: Option<usize>,
    grad_bias: Option<usize>,
) {
    norm.check_sums(sums);
    let mut whole = run.whole();
    let total = (whole.samples * norm.positions) as f64;
    let channels = norm.channels;
    let (params, memory) = (whole.params, std::mem::take(&mut whole.state));
    let gradients = std::mem::take(&mut whole.gradients);
    norm.merge(
        &whole,
        sums,
        |(of_dy, of_both): &mut (f64, f64), _, dy, both| {
            *of_dy += dy;
            *of_both += both;
        },
        |channel, (of_dy, of_both)| {
            let (mean, deviation) = (memory[state + channel], memory[state + channels + channel]);
            let (mean, deviation) = (f64::from(mean), f64::from(deviation));
            let a = f64::from(affine(params, weight, None, channel).0) * deviation;
            let c = -a * deviation * of_both / total;
            let b = -a * of_dy / total - c * mean;
            for (row, coefficient) in [a, b, c].into_iter().enumerate() {
                memory[coefficients + row * channels + channel] = coefficient as f32;
            }
            if let Some(offset) = grad_weight {
                gradients[offset + channel] += of_both as f32;
            }
            if let Some(offset) = grad_bias {
                gradients[offset + channel] += of_dy as f32;
            }
        },
    );
}

/// `dx[c] = A[c] dy[c] + B[c] + C[c] x[c]`; `dy` and `dx` may be the same value when `store` writes.
pub fn backward(t: &mut Tile<'_>, norm: &Norm, x: View, dy: View, coefficients: usize, dx: View, store: Store) {
    norm.check(x);
    norm.check(dy);
    norm.check(dx);
    let (channels, positions) = (norm.channels, norm.positions);
    let of = |state: &[f32], channel: usize| [0, 1, 2].map(|row| state[coefficients + row * channels + channel]);
    if dy == dx {
        assert_eq!(store, Store::Write, "a value is not added to itself");
        let Parts { reads: [x], writes: [mut dx], state, .. } = t.parts([x], [dx]);
        for sample in 0..x.samples() {
            let planes = x.row(sample).chunks_exact(positions).zip(dx.row(sample).chunks_exact_mut(positions));
            for (channel, (x, dx)) in planes.enumerate() {
                let [a, b, c] = of(state, channel);
                dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = a * *dx + (b + c * x));
            }
        }
    } else {
        let Parts { reads: [x, dy], writes: [mut dx], state, .. } = t.parts([x, dy], [dx]);
        for sample in 0..x.samples() {
            let planes = x.row(sample).chunks_exact(positions).zip(dy.row(sample).chunks_exact(positions));
            let planes = planes.zip(dx.row(sample).chunks_exact_mut(positions));
            for (channel, ((x, dy), dx)) in planes.enumerate() {
                let [a, b, c] = of(state, channel);
                store.put(dx, x.iter().zip(dy).map(|(x, dy)| a * dy + (b + c * x)));
            }
        }
    }
}

/// [`forward`] with a given mean and variance, at `mean` and `var` behind the parameters.
#[allow(clippy::too_many_arguments)]
pub fn infer(
    t: &mut Tile<'_>,
    norm: &Norm,
    x: View,
    weight: Option<usize>,
    bias: Option<usize>,
    mean: usize,
    var: usize,
    act: Act,
    y: View,
) {
    norm.check(x);
    norm.check(y);
    let Parts { reads: [x], writes: [mut y], params, isa, .. } = t.parts([x], [y]);
    for sample in 0..x.samples() {
        let channels = x.row(sample).chunks_exact(norm.positions);
        for (channel, (x, y)) in channels.zip(y.row(sample).chunks_exact_mut(norm.positions)).enumerate() {
            let (weight, bias) = affine(params, weight, bias, channel);
            let scale = weight / (params[var + channel] + norm.eps).sqrt();
            normalise(isa, x, params[mean + channel], scale, bias, act, y);
        }
    }
}

/// Folds a batch norm into the convolution or linear layer before it, in what inference reads: multiplies each of the `out` rows of
/// `per_out` floats at `weight` by `gamma / sqrt(var + eps)`, and writes at `bias_to` the bias that gives the same, from the layer's own
/// at `bias_from`, or from none. The two may be the same place.
#[allow(clippy::too_many_arguments)]
pub fn fold(
    packed: &mut [f32],
    out: usize,
    per_out: usize,
    weight: usize,
    bias_from: Option<usize>,
    bias_to: usize,
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    mean: &[f32],
    var: &[f32],
    eps: f32,
) {
    for channel in 0..out {
        let at = |values: Option<&[f32]>, or: f64| values.map_or(or, |values| f64::from(values[channel]));
        let scale = at(gamma, 1.0) / (f64::from(var[channel]) + f64::from(eps)).sqrt();
        let own = bias_from.map_or(0.0, |bias| f64::from(packed[bias + channel]));
        packed[bias_to + channel] = ((own - f64::from(mean[channel])) * scale + at(beta, 0.0)) as f32;
        let row = &mut packed[weight + channel * per_out..][..per_out];
        row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, Random, assert_close, bits, of_batch, pass, wide};
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
                forward(t, norm, x_at, state, weight, bias, Act::None, y);
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
        for seed in 0..60 {
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
}
