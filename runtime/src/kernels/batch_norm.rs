//! Batch normalisation: `xhat = (x - mean) / sqrt(var + eps)`, `y = weight xhat + bias`, by channel (Ioffe and Szegedy, *Batch
//! Normalization*, 2015).
//!
//! Training takes mean and variance of the batch, in two stages of tiles: [`statistics`] of each sample, [`merge`] once, [`forward`];
//! and backward likewise: [`sums`], [`merge_backward`], [`backward`]. Inference has them from training: [`infer`], or [`fold`] into the
//! weights of the layer before.

mod planes;

use crate::arena::{Parts, Region, Rows, RowsMut, Tile, View};
use crate::isa::Isa;
use crate::kernels::planes::{Source, Target};
use crate::kernels::{Act, Epilogue, Store, math};
use crate::layout::Layout;
use crate::run::{Run, Whole};
pub(super) use planes::{backward_of_planes, normalise_planes, statistics_of_planes, sums_of_planes};

/// Channels whose sums are merged side by side.
const LANES: usize = 16;

/// A batch norm's geometry. A sample's value is `[channels][positions]`, or in planes of as many channels and positions; all values of
/// a call have the same layout, but for halos.
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
        let (channels, positions, len) = match x.layout {
            Layout::Plain => (self.channels, self.positions, self.channels * self.positions),
            Layout::Blocked(map) => (map.channels(), map.size.iter().product(), map.len()),
        };
        assert!((channels, positions) == (self.channels, self.positions), "a map is of [channels][positions]");
        assert_eq!(x.len, len, "a value is [channels][positions]");
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
    let view = x;
    let Parts { reads: [x], writes: [mut sums], isa, .. } = t.parts([x], [sums]);
    if let Layout::Blocked(_) = view.layout {
        return statistics_of_planes(isa, Source::new(view, &x), &mut sums);
    }
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

/// What a channel is multiplied by; 1 where the layer has no weight.
fn weight_of(params: &[f32], weight: Option<usize>, channel: usize) -> f32 {
    weight.map_or(1.0, |weight| params[weight + channel])
}

/// What makes `(x - mean) scale + shift` of a channel: slices of a float for each.
pub(super) struct Scales<'a> {
    /// 0 where there is none.
    pub(super) mean: Option<&'a [f32]>,
    pub(super) spread: Spread<'a>,
    pub(super) weight: Option<&'a [f32]>,
    pub(super) bias: Option<&'a [f32]>,
}

/// How wide a channel's values are spread.
pub(super) enum Spread<'a> {
    /// `1 / sqrt(var + eps)`.
    Inverse(&'a [f32]),
    /// var, and eps.
    Variance(&'a [f32], f32),
}

impl<'a> Scales<'a> {
    /// Those of training, of what [`merge`] left.
    fn trained(
        norm: &Norm,
        params: &'a [f32],
        mean: &'a [f32],
        inverse: &'a [f32],
        weight: Option<usize>,
        bias: Option<usize>,
    ) -> Scales<'a> {
        let of = |offset: Option<usize>| offset.map(|offset| &params[offset..][..norm.channels]);
        Scales { mean: Some(mean), spread: Spread::Inverse(inverse), weight: of(weight), bias: of(bias) }
    }

    /// Mean, scale, shift.
    #[inline(always)]
    fn of(&self, channel: usize) -> [f32; 3] {
        let weight = self.weight.map_or(1.0, |weight| weight[channel]);
        let scale = match self.spread {
            Spread::Inverse(inverse) => weight * inverse[channel],
            Spread::Variance(var, eps) => weight / (var[channel] + eps).sqrt(),
        };
        let mean = self.mean.map_or(0.0, |mean| mean[channel]);
        [mean, scale, self.bias.map_or(0.0, |bias| bias[channel])]
    }
}

/// `y[c] = act(weight[c] (x[c] - mean[c]) / sqrt(var[c] + eps) + bias[c] + before[c]) + after[c]`, with what [`merge`] left at `state`. The
/// epilogue has no bias, and one of the two values at most.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    t: &mut Tile<'_>,
    norm: &Norm,
    x: View,
    state: usize,
    weight: Option<usize>,
    bias: Option<usize>,
    epilogue: Epilogue,
    y: View,
) {
    let channels = norm.channels;
    normalise(t, norm, x, &epilogue, y, |params, memory| {
        let (mean, inverse) = memory[state..][..2 * channels].split_at(channels);
        Scales::trained(norm, params, mean, inverse, weight, bias)
    });
}

/// `y = act((x - mean) scale + shift + before) + after`, of scales by parameters and state.
fn normalise(
    t: &mut Tile<'_>,
    norm: &Norm,
    x: View,
    epilogue: &Epilogue,
    y: View,
    scales: impl for<'a> FnOnce(&'a [f32], &'a [f32]) -> Scales<'a>,
) {
    norm.check(x);
    norm.check(y);
    assert!(epilogue.bias.is_none(), "the layer has its own bias");
    let epilogue = &epilogue.of(t.numerics);
    let other = match (epilogue.before, epilogue.after) {
        (Some(_), Some(_)) => panic!("one value is added"),
        (before, after) => before.or(after),
    };
    if let Some(other) = other {
        norm.check(other);
        let Parts { reads: [rows, added], writes: [to], params, state, isa, .. } = t.parts([x, other], [y]);
        let values = Values { x: (x, rows), other: Some((other, added)), y: (y, to) };
        values.normalise(isa, norm, epilogue, &scales(params, state));
    } else {
        let Parts { reads: [rows], writes: [to], params, state, isa, .. } = t.parts([x], [y]);
        let values = Values { x: (x, rows), other: None, y: (y, to) };
        values.normalise(isa, norm, epilogue, &scales(params, state));
    }
}

/// The values of [`normalise`].
struct Values<'t> {
    x: (View, Rows<'t>),
    other: Option<(View, Rows<'t>)>,
    y: (View, RowsMut<'t>),
}

impl Values<'_> {
    fn normalise(self, isa: Isa, norm: &Norm, epilogue: &Epilogue, scales: &Scales<'_>) {
        let Values { x: (of_x, x), other, y: (of_y, mut y) } = self;
        let is_after = epilogue.after.is_some();
        if let Layout::Blocked(map) = of_y.layout {
            let source = other.as_ref().map(|(view, rows)| Source::new(*view, rows));
            let (from, to) = (Source::new(of_x, &x), Target::new(of_y, &mut y));
            match epilogue.act {
                Act::None => normalise_planes(isa, scales, from, source, is_after, f32::NEG_INFINITY, to, x.samples()),
                Act::Relu => normalise_planes(isa, scales, from, source, is_after, 0.0, to, x.samples()),
                // Others have no vectors here: a pass of their own.
                act => {
                    let before = source.filter(|_| !is_after);
                    normalise_planes(isa, scales, from, before, false, f32::NEG_INFINITY, to, x.samples());
                    for sample in 0..x.samples() {
                        let y = y.row(sample);
                        map.lines().for_each(|(_, line)| act.apply(isa, &mut y[line]));
                        if let Some((view, other)) = other.as_ref().filter(|_| is_after) {
                            let pairs = map.lines().zip(view.map().lines());
                            pairs.for_each(|((_, line), (_, of))| {
                                Store::Add.put(&mut y[line], other.row(sample)[of].iter().copied());
                            });
                        }
                    }
                }
            }
            return;
        }
        let positions = norm.positions;
        for sample in 0..x.samples() {
            let channels = x.row(sample).chunks_exact(positions);
            for (channel, (x, y)) in channels.zip(y.row(sample).chunks_exact_mut(positions)).enumerate() {
                let [mean, scale, shift] = scales.of(channel);
                let other = other.as_ref().map(|(_, other)| &other.row(sample)[channel * positions..][..positions]);
                Store::Write.put(y, x.iter().map(|x| (x - mean) * scale + shift));
                if let Some(other) = other.filter(|_| !is_after) {
                    Store::Add.put(y, other.iter().copied());
                }
                epilogue.act.apply(isa, y);
                if let Some(other) = other.filter(|_| is_after) {
                    Store::Add.put(y, other.iter().copied());
                }
            }
        }
    }
}

/// For each sample, `sums[c]` = the sum of `dy[c]`, `sums[channels + c]` = the sum of `dy[c] xhat[c]`.
pub fn sums(t: &mut Tile<'_>, norm: &Norm, x: View, dy: View, state: usize, sums: View) {
    sums_through(t, norm, x, dy, state, None, sums);
}

/// [`sums`] of the gradient that a relu behind the norm lets pass: of `dy` where `y > 0`, which [`forward`] computed with the same weight
/// and bias, else of 0. It needs no y: `x` gives it again, to the bit.
#[allow(clippy::too_many_arguments)]
pub fn sums_relu(
    t: &mut Tile<'_>,
    norm: &Norm,
    x: View,
    dy: View,
    state: usize,
    weight: Option<usize>,
    bias: Option<usize>,
    sums: View,
) {
    sums_through(t, norm, x, dy, state, Some((weight, bias)), sums);
}

/// A relu's weight and bias.
type Relu = Option<(Option<usize>, Option<usize>)>;

/// What a relu lets pass of `dy`: nothing where its result is not above zero, all where it is not a number.
#[inline(always)]
fn passed(dy: f32, x: f32, [mean, scale, shift]: [f32; 3]) -> f32 {
    if (x - mean) * scale + shift <= 0.0 { 0.0 } else { dy }
}

fn sums_through(t: &mut Tile<'_>, norm: &Norm, x: View, dy: View, state: usize, relu: Relu, sums: View) {
    norm.check(x);
    norm.check(dy);
    norm.check_sums(sums);
    let views = [x, dy];
    let Parts { reads: [x, dy], writes: [mut sums], params, state: memory, isa, .. } = t.parts([x, dy], [sums]);
    let (mean, deviation) = memory[state..][..2 * norm.channels].split_at(norm.channels);
    let scales = relu.map(|(weight, bias)| Scales::trained(norm, params, mean, deviation, weight, bias));
    if let Layout::Blocked(_) = views[0].layout {
        let [x, dy] = [Source::new(views[0], &x), Source::new(views[1], &dy)];
        return sums_of_planes(isa, x, dy, mean, deviation, scales.as_ref(), &mut sums);
    }
    for sample in 0..x.samples() {
        let (of_dy, of_both) = sums.row(sample).split_at_mut(norm.channels);
        let channels = x.row(sample).chunks_exact(norm.positions).zip(dy.row(sample).chunks_exact(norm.positions));
        for (channel, (x, dy)) in channels.enumerate() {
            let (mean, deviation) = (mean[channel], deviation[channel]);
            let [sum, both] = match &scales {
                None => math::sums(x, dy, |x, dy| [dy, dy * (x - mean)]),
                Some(scales) => {
                    let scales = scales.of(channel);
                    math::sums(x, dy, |x, dy| [passed(dy, x, scales), passed(dy, x, scales) * (x - mean)])
                }
            };
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
            let a = f64::from(weight_of(params, weight, channel)) * deviation;
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
    backward_through(t, norm, x, dy, coefficients, None, dx, store);
}

/// [`backward`] of the gradient that a relu behind the norm lets pass, as in [`sums_relu`].
#[allow(clippy::too_many_arguments)]
pub fn backward_relu(
    t: &mut Tile<'_>,
    norm: &Norm,
    x: View,
    dy: View,
    state: usize,
    weight: Option<usize>,
    bias: Option<usize>,
    coefficients: usize,
    dx: View,
    store: Store,
) {
    backward_through(t, norm, x, dy, coefficients, Some((state, weight, bias)), dx, store);
}

#[allow(clippy::too_many_arguments)]
fn backward_through(
    t: &mut Tile<'_>,
    norm: &Norm,
    x: View,
    dy: View,
    coefficients: usize,
    relu: Option<(usize, Option<usize>, Option<usize>)>,
    dx: View,
    store: Store,
) {
    norm.check(x);
    norm.check(dy);
    norm.check(dx);
    let (views, is_in_place) = ([x, dy, dx], dy == dx);
    let (x, dy, mut dx, params, state, isa) = if is_in_place {
        assert_eq!(store, Store::Write, "a value is not added to itself");
        let Parts { reads: [x], writes: [dx], params, state, isa, .. } = t.parts([x], [dx]);
        (x, None, dx, params, state, isa)
    } else {
        let Parts { reads: [x, dy], writes: [dx], params, state, isa, .. } = t.parts([x, dy], [dx]);
        (x, Some(dy), dx, params, state, isa)
    };
    let (channels, positions) = (norm.channels, norm.positions);
    let coefficients = &state[coefficients..][..3 * channels];
    let scales = relu.map(|(at, weight, bias)| {
        let (mean, inverse) = state[at..][..2 * channels].split_at(channels);
        Scales::trained(norm, params, mean, inverse, weight, bias)
    });
    if let Layout::Blocked(_) = views[0].layout {
        let to = Target::new(views[2], &mut dx);
        let from = dy.map_or(to.source(), |dy| Source::new(views[1], &dy));
        let x_of = Source::new(views[0], &x);
        return backward_of_planes(isa, coefficients, scales.as_ref(), x_of, from, to, store, x.samples());
    }
    for sample in 0..x.samples() {
        for channel in 0..channels {
            let of_channel = channel * positions..(channel + 1) * positions;
            let [a, b, c] = [0, 1, 2].map(|row| coefficients[row * channels + channel]);
            let (x, to) = (&x.row(sample)[of_channel.clone()], &mut dx.row(sample)[of_channel.clone()]);
            let scales = scales.as_ref().map(|scales| scales.of(channel));
            let gradient = |x: f32, dy: f32| a * dy + (b + c * x);
            match (&dy, scales) {
                (None, None) => to.iter_mut().zip(x).for_each(|(dx, x)| *dx = gradient(*x, *dx)),
                (None, Some(scales)) => {
                    to.iter_mut().zip(x).for_each(|(dx, x)| *dx = gradient(*x, passed(*dx, *x, scales)));
                }
                (Some(dy), None) => {
                    let pairs = x.iter().zip(&dy.row(sample)[of_channel]);
                    store.put(to, pairs.map(|(x, dy)| gradient(*x, *dy)));
                }
                (Some(dy), Some(scales)) => {
                    let pairs = x.iter().zip(&dy.row(sample)[of_channel]);
                    store.put(to, pairs.map(|(x, dy)| gradient(*x, passed(*dy, *x, scales))));
                }
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
    let channels = norm.channels;
    normalise(t, norm, x, &Epilogue::NONE.act(act), y, |params, _| {
        let of = |offset: usize| &params[offset..][..channels];
        Scales {
            mean: Some(of(mean)),
            spread: Spread::Variance(of(var), norm.eps),
            weight: weight.map(of),
            bias: bias.map(of),
        }
    });
}

/// The backward pass of [`infer`] to its input, behind the nonlinearity's: `dx[c] = weight[c] dy[c] / sqrt(var[c] + eps)`.
pub fn infer_backward(t: &mut Tile<'_>, norm: &Norm, dy: View, weight: Option<usize>, var: usize, dx: View) {
    let channels = norm.channels;
    normalise(t, norm, dy, &Epilogue::NONE, dx, |params, _| {
        let of = |offset: usize| &params[offset..][..channels];
        Scales { mean: None, spread: Spread::Variance(of(var), norm.eps), weight: weight.map(of), bias: None }
    });
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
mod tests;
