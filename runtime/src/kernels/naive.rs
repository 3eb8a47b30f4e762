//! The kernels' twins: the formulas, one term at a time, in f64. Gradients of twins are checked by differences.

use crate::kernels::avg_pool::AvgPool;
use crate::kernels::conv::Conv;
use crate::kernels::group_norm;
use crate::kernels::linear::Linear;
use crate::kernels::max_pool::Pool;
use crate::kernels::resample::{How, Resample};
use crate::kernels::{Act, Curve};

/// A product of two values that is a term of a third: the places of the first, of the weight, and of the result.
pub(crate) type Term = (usize, usize, usize);

/// A sum of products with the magnitudes of its terms, which its rounding errors are measured by.
pub(crate) struct Sums {
    pub(crate) values: Vec<f64>,
    pub(crate) scales: Vec<f64>,
}

impl Sums {
    pub(crate) fn zero(len: usize) -> Sums {
        Sums { values: vec![0.0; len], scales: vec![0.0; len] }
    }

    /// Begins with what is there already.
    pub(crate) fn from(values: Vec<f64>) -> Sums {
        Sums { scales: values.iter().map(|value| value.abs()).collect(), values }
    }

    pub(crate) fn add(&mut self, at: usize, term: f64) {
        self.values[at] += term;
        self.scales[at] += term.abs();
    }
}

/// The three indices of a place, last fastest.
fn places(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..size[0]).flat_map(move |d| (0..size[1]).flat_map(move |h| (0..size[2]).map(move |w| [d, h, w])))
}

/// The place of three indices.
fn place(size: [usize; 3], at: [usize; 3]) -> usize {
    (at[0] * size[1] + at[1]) * size[2] + at[2]
}

/// The place in a plane that an output's window has at a tap; None in the padding.
fn seen(
    size: [usize; 3],
    out: [usize; 3],
    tap: [usize; 3],
    [stride, padding, dilation]: [[usize; 3]; 3],
) -> Option<usize> {
    let at =
        [0, 1, 2].map(|axis| (out[axis] * stride[axis] + tap[axis] * dilation[axis]) as isize - padding[axis] as isize);
    let inside = (0..3).all(|axis| 0 <= at[axis] && at[axis] < size[axis] as isize);
    inside.then(|| place(size, at.map(|index| index as usize)))
}

/// All terms of a convolution, `y += x weight`; none in Miri, see [`assert_close`](super::testing::assert_close).
pub(crate) fn conv(conv: &Conv) -> Vec<Term> {
    if cfg!(miri) {
        return Vec::new();
    }
    let plane: usize = conv.size.iter().product();
    let out_plane: usize = conv.out_size.iter().product();
    let taps: usize = conv.kernel.iter().product();
    let (inputs, outputs) = (conv.channels / conv.groups, conv.out_channels / conv.groups);
    let mut terms = Vec::new();
    for o in 0..conv.out_channels {
        for c in 0..inputs {
            for out in places(conv.out_size) {
                for tap in places(conv.kernel) {
                    let geometry = [conv.stride, conv.padding, conv.dilation];
                    if let Some(at) = seen(conv.size, out, tap, geometry) {
                        let x = (o / outputs * inputs + c) * plane + at;
                        let weight = (o * inputs + c) * taps + place(conv.kernel, tap);
                        terms.push((x, weight, o * out_plane + place(conv.out_size, out)));
                    }
                }
            }
        }
    }
    terms
}

/// All terms of a linear layer, `y += x weight`; none in Miri.
pub(crate) fn linear(linear: &Linear) -> Vec<Term> {
    if cfg!(miri) {
        return Vec::new();
    }
    let Linear { rows, inputs, outputs } = *linear;
    let mut terms = Vec::new();
    for r in 0..rows {
        for o in 0..outputs {
            terms.extend((0..inputs).map(|i| (r * inputs + i, o * inputs + i, r * outputs + o)));
        }
    }
    terms
}

/// An activation.
pub(crate) fn act(act: Act, x: f64) -> f64 {
    match act {
        Act::None => x,
        Act::Relu => x.max(0.0),
        Act::Tanh | Act::AccurateTanh => x.tanh(),
        Act::Sigmoid | Act::AccurateSigmoid => 1.0 / (1.0 + (-x).exp()),
        Act::LeakyRelu(slope) => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Act::Elu(alpha) => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x.exp_m1()
            }
        }
        Act::Hardtanh(least, most) => x.clamp(f64::from(least), f64::from(most)),
        Act::Hardsigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Act::Softplus(beta, threshold) => softplus(x, f64::from(beta), f64::from(threshold)),
    }
}

fn softplus(x: f64, beta: f64, threshold: f64) -> f64 {
    if beta * x > threshold { x } else { (beta * x).exp().ln_1p() / beta }
}

/// An activation's derivative.
pub(crate) fn act_derivative(act: Act, x: f64) -> f64 {
    match act {
        Act::None => 1.0,
        Act::Relu => f64::from(u8::from(x > 0.0)),
        Act::Tanh | Act::AccurateTanh => 1.0 / (x.cosh() * x.cosh()),
        Act::Sigmoid | Act::AccurateSigmoid => (-x).exp() / ((1.0 + (-x).exp()) * (1.0 + (-x).exp())),
        Act::LeakyRelu(slope) => {
            if x > 0.0 {
                1.0
            } else {
                f64::from(slope)
            }
        }
        Act::Elu(alpha) => {
            if x > 0.0 {
                1.0
            } else {
                f64::from(alpha) * x.exp()
            }
        }
        Act::Hardtanh(least, most) => f64::from(u8::from(x > f64::from(least) && x < f64::from(most))),
        Act::Hardsigmoid => {
            if x.abs() < 3.0 {
                1.0 / 6.0
            } else {
                0.0
            }
        }
        Act::Softplus(beta, threshold) => softplus_derivative(x, f64::from(beta), f64::from(threshold)),
    }
}

fn softplus_derivative(x: f64, beta: f64, threshold: f64) -> f64 {
    if beta * x > threshold { 1.0 } else { 1.0 / (1.0 + (-beta * x).exp()) }
}

/// How much of the normal distribution lies below x: its series (Abramowitz and Stegun 26.2.10), summed until nothing is added.
fn normal(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while sum + term != sum || n < 2.0 {
        n += 1.0;
        term *= -x * x / (2.0 * n);
        sum += term / (2.0 * n + 1.0);
    }
    0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
}

/// A curve.
pub(crate) fn curve(curve: Curve, x: f64) -> f64 {
    match curve {
        Curve::Gelu => x * normal(x),
        Curve::GeluTanh => x * (1.0 + gelu_bend(x).0.tanh()) / 2.0,
        Curve::Silu => x / (1.0 + (-x).exp()),
        Curve::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Curve::Softplus(beta, threshold) => softplus(x, f64::from(beta), f64::from(threshold)),
    }
}

/// What gelu's approximation takes the tangent of, and its derivative.
fn gelu_bend(x: f64) -> (f64, f64) {
    let slope = (2.0 / std::f64::consts::PI).sqrt();
    (slope * (x + 0.044715 * x.powi(3)), slope * (1.0 + 3.0 * 0.044715 * x * x))
}

/// A curve's derivative.
pub(crate) fn curve_derivative(curve: Curve, x: f64) -> f64 {
    match curve {
        Curve::Gelu => normal(x) + x * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt(),
        Curve::GeluTanh => {
            let (u, of_u) = gelu_bend(x);
            (1.0 + u.tanh()) / 2.0 + x / 2.0 * of_u / (u.cosh() * u.cosh())
        }
        Curve::Silu => {
            let s = 1.0 / (1.0 + (-x).exp());
            s * (1.0 + x * (1.0 - s))
        }
        Curve::Hardswish if x <= -3.0 => 0.0,
        Curve::Hardswish if x >= 3.0 => 1.0,
        Curve::Hardswish => x / 3.0 + 0.5,
        Curve::Softplus(beta, threshold) => softplus_derivative(x, f64::from(beta), f64::from(threshold)),
    }
}

/// Maxima of one sample's channels, and where in the plane they are, its length if nowhere. Of several NaN the last is the maximum, as in PyTorch's loop.
pub(crate) fn max_pool(pool: &Pool, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let plane: usize = pool.size.iter().product();
    let (mut maxima, mut at) = (Vec::new(), Vec::new());
    for x in x.chunks_exact(plane) {
        for out in places(pool.out_size) {
            let geometry = [pool.stride, pool.padding, pool.dilation];
            let taps = places(pool.kernel).filter_map(|tap| seen(pool.size, out, tap, geometry));
            let (mut max, mut best) = (f32::NEG_INFINITY, None);
            for tap in taps {
                if x[tap] > max || x[tap].is_nan() || best.is_none() {
                    (max, best) = (x[tap], Some(tap));
                }
            }
            maxima.push(max);
            at.push(best.unwrap_or(plane) as f32);
        }
    }
    (maxima, at)
}

/// What each input has in each average of one plane: the input's place, the output's, the factor.
pub(crate) fn avg_pool(pool: &AvgPool) -> Vec<(usize, usize, f64)> {
    let mut shares = Vec::new();
    for out in places(pool.out_size) {
        let geometry = [pool.stride, pool.padding, [1; 3]];
        let taps: Vec<usize> = places(pool.kernel).filter_map(|tap| seen(pool.size, out, tap, geometry)).collect();
        // Taps in the input or its padding, of which `ceil_mode` may let the window stand out.
        let padded = places(pool.kernel).filter(|tap| {
            (0..3).all(|axis| out[axis] * pool.stride[axis] + tap[axis] < pool.size[axis] + 2 * pool.padding[axis])
        });
        let count = if pool.count_include_pad { padded.count() } else { taps.len() };
        shares.extend(taps.iter().map(|&at| (at, place(pool.out_size, out), 1.0 / count as f64)));
    }
    shares
}

/// All terms of a map of another size, for each channel: the place of the input, of the output, and the weight.
pub(crate) fn resample(resample: &Resample) -> Vec<(usize, usize, f64)> {
    let seen = |axis: usize, out: usize| -> Vec<(usize, f64)> {
        let [size, outs, at] = [resample.size[axis], resample.out_size[axis], out].map(|size| size as f64);
        let last = resample.size[axis] - 1;
        let line = |place: f64| {
            let below = place.floor();
            let first = below as usize;
            vec![(first.min(last), 1.0 - (place - below)), ((first + 1).min(last), place - below)]
        };
        match resample.how {
            How::Adaptive => {
                let (first, end) = ((at * size / outs).floor(), ((at + 1.0) * size / outs).ceil());
                (first as usize..end as usize).map(|input| (input, 1.0 / (end - first))).collect()
            }
            How::Nearest => vec![((at * size / outs).floor() as usize, 1.0)],
            How::Linear => line(((2.0 * at + 1.0) * size - outs).max(0.0) / (2.0 * outs)),
            How::LinearCorners => line(if outs > 1.0 { at * (size - 1.0) / (outs - 1.0) } else { 0.0 }),
        }
    };
    let mut terms = Vec::new();
    for out in places(resample.out_size) {
        let [depths, lines, columns] = [0, 1, 2].map(|axis| seen(axis, out[axis]));
        for &(d, of_depth) in &depths {
            for &(h, of_line) in &lines {
                for &(w, of_column) in &columns {
                    let weight = of_depth * of_line * of_column;
                    terms.push((place(resample.size, [d, h, w]), place(resample.out_size, out), weight));
                }
            }
        }
    }
    terms
}

/// A batch norm of a batch `[samples][channels][positions]`, in training.
pub(crate) struct BatchNorm {
    pub(crate) mean: Vec<f64>,
    /// The biased variance.
    pub(crate) var: Vec<f64>,
    pub(crate) xhat: Vec<f64>,
    pub(crate) y: Vec<f64>,
}

/// The channel of each element of a batch.
fn channel(index: usize, channels: usize, positions: usize) -> usize {
    index / positions % channels
}

pub(crate) fn batch_norm(
    x: &[f64],
    channels: usize,
    positions: usize,
    eps: f64,
    weight: &[f64],
    bias: &[f64],
) -> BatchNorm {
    let count = (x.len() / channels) as f64;
    let of = |index: usize| channel(index, channels, positions);
    let mut mean = vec![0.0; channels];
    x.iter().enumerate().for_each(|(index, x)| mean[of(index)] += x / count);
    let mut var = vec![0.0; channels];
    x.iter().enumerate().for_each(|(index, x)| var[of(index)] += (x - mean[of(index)]).powi(2) / count);
    let normal = |(index, x): (usize, &f64)| (x - mean[of(index)]) / (var[of(index)] + eps).sqrt();
    let xhat: Vec<f64> = x.iter().enumerate().map(normal).collect();
    let y = xhat.iter().enumerate().map(|(index, xhat)| xhat * weight[of(index)] + bias[of(index)]).collect();
    BatchNorm { mean, var, xhat, y }
}

/// Its gradients: of x, of the weight, of the bias.
pub(crate) fn batch_norm_gradients(
    norm: &BatchNorm,
    dy: &[f64],
    positions: usize,
    eps: f64,
    weight: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let channels = weight.len();
    let count = (dy.len() / channels) as f64;
    let of = |index: usize| channel(index, channels, positions);
    let (mut dweight, mut dbias) = (vec![0.0; channels], vec![0.0; channels]);
    for (index, dy) in dy.iter().enumerate() {
        dweight[of(index)] += dy * norm.xhat[index];
        dbias[of(index)] += dy;
    }
    let dx = dy.iter().enumerate().map(|(index, dy)| {
        let c = of(index);
        let centred = dy - dbias[c] / count - norm.xhat[index] * dweight[c] / count;
        weight[c] * centred / (norm.var[c] + eps).sqrt()
    });
    (dx.collect(), dweight, dbias)
}

/// A group norm of one sample.
pub(crate) struct GroupNorm {
    /// Mean and biased variance of each group.
    pub(crate) moments: Vec<(f64, f64)>,
    pub(crate) xhat: Vec<f64>,
    pub(crate) y: Vec<f64>,
}

/// The group, and the place among the weights, of each element of a sample.
fn group_and_weight(norm: &group_norm::GroupNorm, index: usize) -> (usize, usize) {
    let of = index / norm.positions;
    (of / norm.channels, if norm.shared { of % norm.channels } else { of })
}

pub(crate) fn group_norm(norm: &group_norm::GroupNorm, x: &[f64], weight: &[f64], bias: &[f64]) -> GroupNorm {
    let moments = x.chunks_exact(x.len() / norm.groups).map(|x| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (mean, x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64)
    });
    let moments: Vec<(f64, f64)> = moments.collect();
    let normal = |(index, x): (usize, &f64)| {
        let (mean, var) = moments[group_and_weight(norm, index).0];
        (x - mean) / (var + f64::from(norm.eps)).sqrt()
    };
    let xhat: Vec<f64> = x.iter().enumerate().map(normal).collect();
    let place = |index: usize| group_and_weight(norm, index).1;
    let y = xhat.iter().enumerate().map(|(index, xhat)| xhat * weight[place(index)] + bias[place(index)]).collect();
    GroupNorm { moments, xhat, y }
}

/// Its gradients: of x, of the weight, of the bias.
pub(crate) fn group_norm_gradients(
    norm: &group_norm::GroupNorm,
    of: &GroupNorm,
    dy: &[f64],
    weight: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
    let mut sums = vec![(0.0, 0.0); norm.groups];
    for (index, dy) in dy.iter().enumerate() {
        let (group, at) = group_and_weight(norm, index);
        dweight[at] += dy * of.xhat[index];
        dbias[at] += dy;
        sums[group].0 += dy * weight[at];
        sums[group].1 += dy * weight[at] * of.xhat[index];
    }
    let count = (dy.len() / norm.groups) as f64;
    let dx = dy.iter().enumerate().map(|(index, dy)| {
        let (group, at) = group_and_weight(norm, index);
        let centred = dy * weight[at] - sums[group].0 / count - of.xhat[index] * sums[group].1 / count;
        centred / (of.moments[group].1 + f64::from(norm.eps)).sqrt()
    });
    (dx.collect(), dweight, dbias)
}

/// The log-softmax of `[size]`.
pub(crate) fn log_softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
    x.iter().map(|x| x - max - sum.ln()).collect()
}

/// The softmax of `[size]`.
pub(crate) fn softmax(x: &[f64]) -> Vec<f64> {
    log_softmax(x).into_iter().map(f64::exp).collect()
}

/// Its gradient, from its result.
pub(crate) fn softmax_gradient(y: &[f64], dy: &[f64]) -> Vec<f64> {
    let sum: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
    y.iter().zip(dy).map(|(y, dy)| y * (dy - sum)).collect()
}

/// The gradient of a log-softmax, from its result.
pub(crate) fn log_softmax_gradient(y: &[f64], dy: &[f64]) -> Vec<f64> {
    let sum: f64 = dy.iter().sum();
    y.iter().zip(dy).map(|(y, dy)| dy - y.exp() * sum).collect()
}

mod tests {
    use super::*;
    use crate::kernels::testing::{Random, wide};

    /// Asserts that `gradient` is that of `f` at `x`, by central differences.
    fn assert_gradient(what: &str, f: impl Fn(&[f64]) -> f64, x: &[f64], gradient: &[f64]) {
        let step = 1e-5;
        for (index, gradient) in gradient.iter().enumerate() {
            let at = |by: f64| {
                let mut x = x.to_vec();
                x[index] += by;
                f(&x)
            };
            let difference = (at(step) - at(-step)) / (2.0 * step);
            // The step's own error is of its square, the difference's of 2^-52 over it.
            assert!((difference - gradient).abs() < 1e-7, "{what}, {index}: {gradient}, not {difference}");
        }
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn apply(terms: &[Term], outputs: usize, x: &[f64], weight: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; outputs];
        terms.iter().for_each(|&(i, w, o)| y[o] += x[i] * weight[w]);
        y
    }

    #[test]
    fn gradients_of_products_are_those_of_their_terms() {
        let mut random = Random::new(1);
        let conv_problem = Conv {
            channels: 4,
            size: [1, 4, 5],
            out_channels: 2,
            out_size: [1, 2, 3],
            kernel: [1, 3, 2],
            stride: [1, 2, 2],
            padding: [0, 1, 1],
            dilation: [1, 1, 2],
            groups: 2,
        };
        let linear_problem = Linear { rows: 2, inputs: 3, outputs: 4 };
        for (terms, inputs, weights, outputs) in
            [(conv(&conv_problem), 80, 24, 12), (linear(&linear_problem), 6, 12, 8)]
        {
            let [x, weight, dy] = [inputs, weights, outputs].map(|len| wide(&random.numbers(len)));
            let (mut dx, mut dweight) = (vec![0.0; inputs], vec![0.0; weights]);
            for &(i, w, o) in &terms {
                dx[i] += dy[o] * weight[w];
                dweight[w] += dy[o] * x[i];
            }
            assert_gradient("x", |x| dot(&apply(&terms, outputs, x, &weight), &dy), &x, &dx);
            assert_gradient("weight", |weight| dot(&apply(&terms, outputs, &x, weight), &dy), &weight, &dweight);
        }
    }

    #[test]
    fn a_convolution_by_hand() {
        // PyTorch: conv1d of [1, 2, 3, 4] with [1, 10, 100], padding 1.
        let conv_problem = Conv {
            channels: 1,
            size: [1, 1, 4],
            out_channels: 1,
            out_size: [1, 1, 4],
            kernel: [1, 1, 3],
            stride: [1; 3],
            padding: [0, 0, 1],
            dilation: [1; 3],
            groups: 1,
        };
        let y = apply(&conv(&conv_problem), 4, &[1.0, 2.0, 3.0, 4.0], &[1.0, 10.0, 100.0]);
        assert_eq!(y, [210.0, 321.0, 432.0, 43.0]);
    }

    #[test]
    fn derivatives_of_activations() {
        let acts = [Act::None, Act::Relu, Act::Tanh, Act::Sigmoid, Act::LeakyRelu(0.1), Act::Elu(0.7)];
        let more = [Act::Hardtanh(-1.0, 0.5), Act::Hardsigmoid, Act::Softplus(2.0, 3.0)];
        for kind in acts.into_iter().chain(more) {
            for x in [-2.0, -0.3, 0.4, 1.7] {
                assert_gradient("act", |x| act(kind, x[0]), &[x], &[act_derivative(kind, x)]);
            }
        }
        for kind in [Curve::Gelu, Curve::GeluTanh, Curve::Silu, Curve::Hardswish, Curve::Softplus(1.5, 0.5)] {
            for x in [-3.5, -2.0, -0.3, 0.0, 0.4, 1.7, 3.2] {
                assert_gradient("curve", |x| curve(kind, x[0]), &[x], &[curve_derivative(kind, x)]);
            }
        }
        // Tables of the normal distribution.
        assert!((normal(1.0) - 0.841_344_746_068_543).abs() < 1e-15);
        assert!((normal(-2.0) - 0.022_750_131_948_179).abs() < 1e-15);
    }

    #[test]
    fn the_gradient_of_batch_norm() {
        let mut random = Random::new(2);
        let (channels, positions, eps) = (2, 3, 1e-3);
        let [x, dy] = [24, 24].map(|len| wide(&random.numbers(len)));
        let [weight, bias] = [channels, channels].map(|len| wide(&random.numbers(len)));
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
            dot(&batch_norm(x, channels, positions, eps, weight, bias).y, &dy)
        };
        let norm = batch_norm(&x, channels, positions, eps, &weight, &bias);
        let (dx, dweight, dbias) = batch_norm_gradients(&norm, &dy, positions, eps, &weight);
        assert_gradient("x", |x| loss(x, &weight, &bias), &x, &dx);
        assert_gradient("weight", |weight| loss(&x, weight, &bias), &weight, &dweight);
        assert_gradient("bias", |bias| loss(&x, &weight, bias), &bias, &dbias);
    }

    #[test]
    fn the_gradient_of_group_norm() {
        let mut random = Random::new(4);
        for shared in [false, true] {
            let norm = group_norm::GroupNorm { groups: 2, channels: 3, positions: 2, eps: 1e-3, shared };
            let weights = if shared { 3 } else { 6 };
            let [x, dy] = [12, 12].map(|len| wide(&random.numbers(len)));
            let [weight, bias] = [weights; 2].map(|len| wide(&random.numbers(len)));
            let loss = |x: &[f64], weight: &[f64], bias: &[f64]| dot(&group_norm(&norm, x, weight, bias).y, &dy);
            let of = group_norm(&norm, &x, &weight, &bias);
            let (dx, dweight, dbias) = group_norm_gradients(&norm, &of, &dy, &weight);
            assert_gradient("x", |x| loss(x, &weight, &bias), &x, &dx);
            assert_gradient("weight", |weight| loss(&x, weight, &bias), &weight, &dweight);
            assert_gradient("bias", |bias| loss(&x, &weight, bias), &bias, &dbias);
        }
    }

    #[test]
    fn the_gradient_of_softmax() {
        let mut random = Random::new(5);
        let [x, dy] = [7, 7].map(|len| wide(&random.numbers(len)));
        let gradient = softmax_gradient(&softmax(&x), &dy);
        assert_gradient("x", |x| dot(&softmax(x), &dy), &x, &gradient);
    }

    #[test]
    fn the_gradient_of_log_softmax() {
        let mut random = Random::new(3);
        let [x, dy] = [7, 7].map(|len| wide(&random.numbers(len)));
        let gradient = log_softmax_gradient(&log_softmax(&x), &dy);
        assert_gradient("x", |x| dot(&log_softmax(x), &dy), &x, &gradient);
    }
}
