//! Each op's formula, on one sample; a batch norm's on the batch.

use netspec_compiler::ir::{Act, Conv, Curve, Frame, GroupNorm, How, Linear, Norm, Order, Resample, Window};

use crate::Samples;
use crate::kinds::Pairs;

/// Where windows meet a map: output position, tap, input position, in the order of outputs and, for each, of taps. Taps that lie
/// beside the map are left out.
fn meetings(window: &Window) -> Vec<[usize; 3]> {
    let along = |axis: usize| {
        let Window { size, out_size, kernel, stride, padding, dilation } = window;
        let mut meetings = Vec::new();
        for out in 0..out_size[axis] {
            for tap in 0..kernel[axis] {
                let padded = out * stride[axis] + tap * dilation[axis];
                if let Some(place) = padded.checked_sub(padding[axis]).filter(|&place| place < size[axis]) {
                    meetings.push([out, tap, place]);
                }
            }
        }
        meetings
    };
    let sizes = [window.out_size, window.kernel, window.size];
    let mut all = Vec::new();
    for z in along(0) {
        for y in along(1) {
            for x in along(2) {
                all.push([0, 1, 2].map(|of| ((z[of] * sizes[of][1] + y[of]) * sizes[of][2] + x[of]) as usize));
            }
        }
    }
    all
}

/// Every product of a convolution, by its place in the weight, the input and the output: `y += w x`.
fn conv_products(conv: &Conv, mut product: impl FnMut(usize, usize, usize)) {
    let [channels, out_channels, groups] = [conv.channels, conv.out_channels, conv.groups].map(|size| size as usize);
    let (taps, size) = (conv.window.taps() as usize, conv.window.size.iter().product::<u64>() as usize);
    let positions = conv.window.positions() as usize;
    let per_group = channels / groups;
    let meetings = meetings(&conv.window);
    for o in 0..out_channels {
        let group = o / (out_channels / groups);
        for i in 0..per_group {
            for [position, tap, place] in &meetings {
                product(
                    (o * per_group + i) * taps + tap,
                    (group * per_group + i) * size + place,
                    o * positions + position,
                );
            }
        }
    }
}

/// `y[o] = bias[o] + sum over i of weight[o, i] * x[i]`
pub(crate) fn conv(conv: &Conv, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let positions = conv.window.positions() as usize;
    let mut y = with_bias(conv.out_channels as usize, positions, bias);
    conv_products(conv, |w_at, x_at, y_at| y[y_at] += weight[w_at] * x[x_at]);
    y
}

/// `y[i] = bias[i] + sum over o of weight[o, i] * x[o]`, of the convolution that this is the gradient of.
pub(crate) fn conv_transpose(conv: &Conv, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let mut y = with_bias(conv.channels as usize, conv.window.size.iter().product::<u64>() as usize, bias);
    conv_products(conv, |w_at, y_at, x_at| y[y_at] += weight[w_at] * x[x_at]);
    y
}

/// `dx += w dy`
pub(crate) fn conv_grad_input(conv: &Conv, dy: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; (conv.channels * conv.window.size.iter().product::<u64>()) as usize];
    conv_products(conv, |w_at, x_at, y_at| dx[x_at] += weight[w_at] * dy[y_at]);
    dx
}

/// `dw += x dy`, `db += dy`
pub(crate) fn conv_grad_weight(conv: &Conv, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let weights = conv.out_channels * conv.channels / conv.groups * conv.window.taps();
    let mut d_weight = vec![0.0; weights as usize];
    conv_products(conv, |w_at, x_at, y_at| d_weight[w_at] += x[x_at] * dy[y_at]);
    (d_weight, grad_bias(conv.out_channels, dy))
}

/// `db += dy`
pub(crate) fn grad_bias(channels: u64, dy: &[f64]) -> Vec<f64> {
    dy.chunks_exact(dy.len() / channels as usize).map(|dy| dy.iter().sum()).collect()
}

/// `[channels][positions]`, filled with each channel's bias.
fn with_bias(channels: usize, positions: usize, bias: Option<&[f64]>) -> Vec<f64> {
    (0..channels).flat_map(|c| vec![bias.map_or(0.0, |bias| bias[c]); positions]).collect()
}

/// Every product of a linear layer, by its place in the weight, the input and the output.
fn linear_products(linear: &Linear, mut product: impl FnMut(usize, usize, usize)) {
    let [rows, inputs, outputs] = [linear.rows, linear.inputs, linear.outputs].map(|size| size as usize);
    for row in 0..rows {
        for o in 0..outputs {
            for i in 0..inputs {
                product(o * inputs + i, row * inputs + i, row * outputs + o);
            }
        }
    }
}

/// `y = W x + bias`, row by row
pub(crate) fn linear(linear: &Linear, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let row = with_bias(linear.outputs as usize, 1, bias);
    let mut y = row.repeat(linear.rows as usize);
    linear_products(linear, |w_at, x_at, y_at| y[y_at] += weight[w_at] * x[x_at]);
    y
}

/// `dx += w dy`
pub(crate) fn linear_grad_input(linear: &Linear, dy: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; (linear.rows * linear.inputs) as usize];
    linear_products(linear, |w_at, x_at, y_at| dx[x_at] += weight[w_at] * dy[y_at]);
    dx
}

/// `dw += x dy`, `db += dy`
pub(crate) fn linear_grad_weight(linear: &Linear, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut d_weight = vec![0.0; (linear.outputs * linear.inputs) as usize];
    linear_products(linear, |w_at, x_at, y_at| d_weight[w_at] += x[x_at] * dy[y_at]);
    let mut d_bias = vec![0.0; linear.outputs as usize];
    for row in dy.chunks_exact(linear.outputs as usize) {
        d_bias.iter_mut().zip(row).for_each(|(sum, dy)| *sum += dy);
    }
    (d_weight, d_bias)
}

/// `y = act(x)`; NaN stays NaN.
pub(crate) fn act(act: Act, mut x: Vec<f64>) -> Vec<f64> {
    for x in &mut x {
        *x = match act {
            Act::None => *x,
            Act::Relu if *x <= 0.0 => 0.0,
            Act::Relu => *x,
            Act::Tanh => x.tanh(),
            Act::Sigmoid => 1.0 / (1.0 + (-*x).exp()),
            Act::LeakyRelu(_) | Act::Elu(_) if *x > 0.0 => *x,
            Act::LeakyRelu(slope) => slope * *x,
            Act::Elu(alpha) => alpha * x.exp_m1(),
            Act::Hardtanh(least, most) => x.clamp(least, most),
            Act::Hardsigmoid => (*x + 3.0).clamp(0.0, 6.0) / 6.0,
            Act::Softplus(beta, threshold) => softplus(beta, threshold, *x),
        };
    }
    x
}

/// `log(1 + exp(beta x)) / beta`, and x where `beta x` is above the threshold.
fn softplus(beta: f64, threshold: f64, x: f64) -> f64 {
    if beta * x > threshold { x } else { (beta * x).exp().ln_1p() / beta }
}

/// `act(y)`, and the sum with another value before or behind that.
pub(crate) fn act_and_sum(act_of: Act, y: Samples, other: Option<(Order, &[Vec<f64>])>) -> Samples {
    let sum = |y: Samples, other: &[Vec<f64>]| -> Samples {
        y.iter().zip(other).map(|(y, other)| y.iter().zip(other).map(|(a, b)| a + b).collect()).collect()
    };
    let acted = |y: Samples| y.into_iter().map(|y| act(act_of, y)).collect();
    match other {
        None => acted(y),
        Some((Order::Before, other)) => acted(sum(y, other)),
        Some((Order::Behind, other)) => sum(acted(y), other),
    }
}

/// `dx = dy act'(x)`, the derivative as a function of y. Where ReLU passes no gradient, NaN and infinity do not pass.
pub(crate) fn act_grad(act: Act, y: &[f64], dy: &[f64]) -> Vec<f64> {
    let dx = |(&y, &dy): (&f64, &f64)| match act {
        Act::None => dy,
        Act::Relu if y <= 0.0 => 0.0,
        Act::Relu => dy,
        Act::Tanh => dy * (1.0 - y * y),
        Act::Sigmoid => dy * (y * (1.0 - y)),
        Act::LeakyRelu(_) | Act::Elu(_) if y > 0.0 => dy,
        Act::LeakyRelu(slope) => dy * slope,
        Act::Elu(alpha) => dy * (y + alpha),
        Act::Hardtanh(least, most) => {
            if y > least && y < most {
                dy
            } else {
                0.0
            }
        }
        Act::Hardsigmoid => {
            if y > 0.0 && y < 1.0 {
                dy / 6.0
            } else {
                0.0
            }
        }
        Act::Softplus(beta, threshold) if beta * y > threshold => dy,
        Act::Softplus(beta, _) => dy * -(-beta * y).exp_m1(),
    };
    y.iter().zip(dy).map(dx).collect()
}

/// How much of the normal distribution lies below x, and its density there. Near 0 by the series of the error function, far out by
/// the continued fraction of its complement (Abramowitz and Stegun 26.2.11 and 26.2.14).
fn normal(x: f64) -> (f64, f64) {
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let far = x.abs();
    let above = if far < 3.0 {
        let (mut term, mut sum, mut n) = (far, 0.0, 1.0);
        while term > 1e-20 * sum {
            sum += term;
            n += 2.0;
            term *= far * far / n;
        }
        0.5 - density * sum
    } else {
        density / (1..200).rev().fold(far, |below, n| far + f64::from(n) / below)
    };
    (if x > 0.0 { 1.0 - above } else { above }, density)
}

/// What gelu's approximation takes the tangent of, and its derivative.
fn bend(x: f64) -> (f64, f64) {
    let slope = (2.0 / std::f64::consts::PI).sqrt();
    (slope * (x + 0.044715 * x * x * x), slope * (1.0 + 3.0 * 0.044715 * x * x))
}

/// `y = curve(x)`; NaN stays NaN.
pub(crate) fn curve(curve: Curve, x: &[f64]) -> Vec<f64> {
    let y = |&x: &f64| match curve {
        Curve::Gelu => x * normal(x).0,
        Curve::GeluTanh => x / 2.0 * (1.0 + bend(x).0.tanh()),
        Curve::Silu => x / (1.0 + (-x).exp()),
        Curve::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Curve::Softplus(beta, threshold) => softplus(beta, threshold, x),
    };
    x.iter().map(y).collect()
}

/// `dx = dy curve'(x)`
pub(crate) fn curve_grad(curve: Curve, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let slope = |x: f64| match curve {
        Curve::Gelu => {
            let (below, density) = normal(x);
            below + x * density
        }
        Curve::GeluTanh => {
            let (u, of_u) = bend(x);
            let t = u.tanh();
            (1.0 + t) / 2.0 + x / 2.0 * (1.0 - t * t) * of_u
        }
        Curve::Silu => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
        Curve::Hardswish => x / 3.0 + 0.5,
        Curve::Softplus(beta, threshold) if beta * x > threshold => 1.0,
        Curve::Softplus(beta, _) => sigmoid(beta * x),
    };
    let dx = |(&x, &dy): (&f64, &f64)| match curve {
        // Where hardswish is a line, NaN and infinity pass or do not.
        Curve::Hardswish if x <= -3.0 => 0.0,
        Curve::Hardswish if x >= 3.0 => dy,
        _ => dy * slope(x),
    };
    x.iter().zip(dy).map(dx).collect()
}

/// The maximum of each window, and which of its elements that is: the first of equal ones, NaN above all. A window that lies beside
/// the map gives minus infinity and has no place, which is NaN.
pub(crate) fn max_pool(channels: u64, window: &Window, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let positions = window.positions() as usize;
    let mut y = vec![f64::NEG_INFINITY; channels as usize * positions];
    let mut places = vec![f64::NAN; y.len()];
    let meetings = meetings(window);
    let maps = x.chunks_exact(x.len() / channels as usize);
    for ((x, y), places) in maps.zip(y.chunks_exact_mut(positions)).zip(places.chunks_exact_mut(positions)) {
        for &[position, tap, place] in &meetings {
            let x = x[place];
            if places[position].is_nan() || x > y[position] || x.is_nan() {
                (y[position], places[position]) = (x, tap as f64);
            }
        }
    }
    (y, places)
}

/// `dx += dy` at the maximum of each window.
pub(crate) fn max_pool_grad(channels: u64, window: &Window, dy: &[f64], places: &[f64]) -> Vec<f64> {
    let (positions, size) = (window.positions() as usize, window.size.iter().product::<u64>() as usize);
    let mut dx = vec![0.0; channels as usize * size];
    let meetings = meetings(window);
    let maps = dy.chunks_exact(positions).zip(places.chunks_exact(positions));
    for ((dy, places), dx) in maps.zip(dx.chunks_exact_mut(size)) {
        for &[position, tap, place] in &meetings {
            if places[position] == tap as f64 {
                dx[place] += dy[position];
            }
        }
    }
    dx
}

/// Every element of every window's mean, by its place in the input and the output, and the number that the window's sum is divided
/// by: the elements between its first and its last, of the map or, when padding counts, of the padded map.
fn means(channels: u64, window: &Window, counts_padding: bool, mut element: impl FnMut(usize, usize, f64)) {
    let divisor = |position: usize| {
        let mut rest = position as u64;
        let mut divisor = 1.0;
        for axis in (0..3).rev() {
            let (size, padding) = (window.size[axis], window.padding[axis]);
            let first = rest % window.out_size[axis] * window.stride[axis];
            rest /= window.out_size[axis];
            // In the padded map, where the map is padding..padding + size.
            let behind = (first + window.kernel[axis]).min(size + 2 * padding);
            let counted = if counts_padding { first..behind } else { first.max(padding)..behind.min(size + padding) };
            divisor *= (counted.end - counted.start) as f64;
        }
        divisor
    };
    let size = window.size.iter().product::<u64>() as usize;
    let positions = window.positions() as usize;
    let meetings = meetings(window);
    for c in 0..channels as usize {
        for &[position, _, place] in &meetings {
            element(c * size + place, c * positions + position, divisor(position));
        }
    }
}

/// `y += x / divisor`
pub(crate) fn avg_pool(channels: u64, window: &Window, counts_padding: bool, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; (channels * window.positions()) as usize];
    means(channels, window, counts_padding, |x_at, y_at, divisor| y[y_at] += x[x_at] / divisor);
    y
}

/// `dx += dy / divisor`
pub(crate) fn avg_pool_grad(channels: u64, window: &Window, counts_padding: bool, dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; (channels * window.size.iter().product::<u64>()) as usize];
    means(channels, window, counts_padding, |x_at, y_at, divisor| dx[x_at] += dy[y_at] / divisor);
    dx
}

/// For each channel the mean of a number of its elements.
fn channel_means(norm: &Norm, number: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let positions = norm.positions as usize;
    let sum = |c: usize| (c * positions..(c + 1) * positions).map(|at| number(c, at)).sum::<f64>();
    (0..norm.channels as usize).map(|c| sum(c) / positions as f64).collect()
}

/// The mean and the biased variance of each channel of one sample.
pub(crate) fn moments_of_sample(norm: &Norm, x: &[f64]) -> Pairs {
    let means = channel_means(norm, |_, at| x[at]);
    let variances = channel_means(norm, |c, at| (x[at] - means[c]).powi(2));
    means.into_iter().zip(variances).collect()
}

/// Those of a batch by those of its samples: the variance is the mean of the variances and the variance of the means.
pub(crate) fn moments(of_samples: &[Pairs]) -> Pairs {
    let means = mean_pairs(of_samples);
    let of_channel = |(c, &(mean, var)): (usize, &(f64, f64))| {
        let between = of_samples.iter().map(|sample| (sample[c].0 - mean).powi(2)).sum::<f64>();
        (mean, var + between / of_samples.len() as f64)
    };
    means.iter().enumerate().map(of_channel).collect()
}

/// The means of both numbers over the samples.
pub(crate) fn mean_pairs(of_samples: &[Pairs]) -> Pairs {
    let mean = |number: &dyn Fn(&Pairs) -> f64| of_samples.iter().map(number).sum::<f64>() / of_samples.len() as f64;
    (0..of_samples[0].len()).map(|c| (mean(&|sample| sample[c].0), mean(&|sample| sample[c].1))).collect()
}

/// `y = g (x - mean) / sqrt(var + eps) + b`
pub(crate) fn batch_norm(
    norm: &Norm,
    x: &[Vec<f64>],
    moments: &[(f64, f64)],
    weight: Option<&[f64]>,
    bias: Option<&[f64]>,
) -> Samples {
    let y = |(at, x): (usize, &f64)| {
        let c = at / norm.positions as usize;
        let (mean, var) = moments[c];
        weight.map_or(1.0, |g| g[c]) * (x - mean) / (var + norm.eps).sqrt() + bias.map_or(0.0, |b| b[c])
    };
    x.iter().map(|x| x.iter().enumerate().map(y).collect()).collect()
}

/// With `n = (x - mean) / sqrt(var + eps)`: the means of `dy` and of `dy n` over each channel of one sample.
pub(crate) fn batch_norm_means(norm: &Norm, moments: &[(f64, f64)], x: &[f64], dy: &[f64]) -> Pairs {
    let n = |c: usize, at: usize| (x[at] - moments[c].0) / (moments[c].1 + norm.eps).sqrt();
    let means = channel_means(norm, |_, at| dy[at]);
    means.into_iter().zip(channel_means(norm, |c, at| dy[at] * n(c, at))).collect()
}

/// `dx = g / sqrt(var + eps) (dy - mean(dy) - n mean(dy n))` (Ioffe and Szegedy 2015, section 3).
pub(crate) fn batch_norm_grad(
    norm: &Norm,
    moments: &[(f64, f64)],
    means: &[(f64, f64)],
    weight: Option<&[f64]>,
    x: &[Vec<f64>],
    dy: &[Vec<f64>],
) -> Samples {
    let dx = |(at, (x, dy)): (usize, (&f64, &f64))| {
        let c = at / norm.positions as usize;
        let ((mean, var), (mean_dy, mean_dy_n)) = (moments[c], means[c]);
        let deviation = (var + norm.eps).sqrt();
        weight.map_or(1.0, |g| g[c]) / deviation * (dy - mean_dy - (x - mean) / deviation * mean_dy_n)
    };
    x.iter().zip(dy).map(|(x, dy)| x.iter().zip(dy).enumerate().map(dx).collect()).collect()
}

/// A norm of groups of one sample: `y = g (x - mean) / sqrt(var + eps) + b`; and the mean and `1 / sqrt(var + eps)` of each group,
/// all means first.
pub(crate) fn group_norm(
    norm: &GroupNorm,
    x: &[f64],
    weight: Option<&[f64]>,
    bias: Option<&[f64]>,
) -> (Vec<f64>, Vec<f64>) {
    let count = norm.size() as f64;
    let moments = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / count;
        (mean, 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count + norm.eps).sqrt())
    };
    let (means, inverses): (Vec<f64>, Vec<f64>) = x.chunks_exact(norm.size() as usize).map(moments).unzip();
    let y = |(at, x): (usize, &f64)| {
        let (group, w) = group_and_weight(norm, at);
        weight.map_or(1.0, |g| g[w]) * (x - means[group]) * inverses[group] + bias.map_or(0.0, |b| b[w])
    };
    (x.iter().enumerate().map(y).collect(), [means, inverses].concat())
}

/// The group of an element, and its place in weight and bias.
fn group_and_weight(norm: &GroupNorm, at: usize) -> (usize, usize) {
    let channel = at / norm.positions as usize;
    let group = channel / norm.channels as usize;
    (group, if norm.shared { channel % norm.channels as usize } else { channel })
}

/// With `n = (x - mean) / sqrt(var + eps)`: `dx = (g dy - mean(g dy) - n mean(g dy n)) / sqrt(var + eps)`, means of each group,
/// `dg = sum dy n`, `db = sum dy`.
pub(crate) fn group_norm_grad(
    norm: &GroupNorm,
    weight: Option<&[f64]>,
    x: &[f64],
    dy: &[f64],
    moments: &[f64],
) -> [Vec<f64>; 3] {
    let (groups, count) = (norm.groups as usize, norm.size() as f64);
    let weights = if norm.shared { norm.channels } else { norm.groups * norm.channels };
    let (mut d_weight, mut d_bias) = (vec![0.0; weights as usize], vec![0.0; weights as usize]);
    let mut means = vec![(0.0, 0.0); groups];
    let n = |group: usize, x: f64| (x - moments[group]) * moments[groups + group];
    for (at, (&x, dy)) in x.iter().zip(dy).enumerate() {
        let (group, w) = group_and_weight(norm, at);
        let (n, weighted) = (n(group, x), weight.map_or(1.0, |g| g[w]) * dy);
        d_weight[w] += dy * n;
        d_bias[w] += dy;
        means[group].0 += weighted / count;
        means[group].1 += weighted * n / count;
    }
    let dx = |(at, (&x, dy)): (usize, (&f64, &f64))| {
        let (group, w) = group_and_weight(norm, at);
        let (mean, mean_n) = means[group];
        (weight.map_or(1.0, |g| g[w]) * dy - mean - n(group, x) * mean_n) * moments[groups + group]
    };
    [x.iter().zip(dy).enumerate().map(dx).collect(), d_weight, d_bias]
}

/// The places of each distribution in `[outer, size, inner]`.
fn distributions([outer, size, inner]: [u64; 3]) -> impl Iterator<Item = Vec<usize>> {
    (0..outer).flat_map(move |o| {
        (0..inner).map(move |i| (0..size).map(|at| ((o * size + at) * inner + i) as usize).collect())
    })
}

/// `y = x - log(sum exp(x))`, the largest taken out first.
pub(crate) fn log_softmax(sizes: [u64; 3], x: &[f64]) -> Vec<f64> {
    let mut y = x.to_vec();
    for places in distributions(sizes) {
        let largest = places.iter().map(|&at| x[at]).fold(f64::NEG_INFINITY, f64::max);
        let log_sum = largest + places.iter().map(|&at| (x[at] - largest).exp()).sum::<f64>().ln();
        places.iter().for_each(|&at| y[at] -= log_sum);
    }
    y
}

/// `y = exp(x) / sum exp(x)`, the largest taken out first.
pub(crate) fn softmax(sizes: [u64; 3], x: &[f64]) -> Vec<f64> {
    let mut y = x.to_vec();
    for places in distributions(sizes) {
        let largest = places.iter().map(|&at| x[at]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = places.iter().map(|&at| (x[at] - largest).exp()).sum();
        places.iter().for_each(|&at| y[at] = (x[at] - largest).exp() / sum);
    }
    y
}

/// `dx = y (dy - sum(dy y))`
pub(crate) fn softmax_grad(sizes: [u64; 3], y: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dx = dy.to_vec();
    for places in distributions(sizes) {
        let sum: f64 = places.iter().map(|&at| dy[at] * y[at]).sum();
        places.iter().for_each(|&at| dx[at] = y[at] * (dy[at] - sum));
    }
    dx
}

/// `dx = dy - exp(y) sum(dy)`
pub(crate) fn log_softmax_grad(sizes: [u64; 3], y: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dx = dy.to_vec();
    for places in distributions(sizes) {
        let sum: f64 = places.iter().map(|&at| dy[at]).sum();
        places.iter().for_each(|&at| dx[at] -= y[at].exp() * sum);
    }
    dx
}

/// `y = a b`, with b repeated `count` times.
pub(crate) fn mul([_, count, inner]: [u64; 3], a: &[f64], b: &[f64]) -> Vec<f64> {
    let [count, inner] = [count, inner].map(|size| size as usize);
    a.iter().enumerate().map(|(at, a)| a * b[at / (count * inner) * inner + at % inner]).collect()
}

/// `s += a b`
pub(crate) fn mul_sum([outer, count, inner]: [u64; 3], a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut s = vec![0.0; (outer * inner) as usize];
    let [count, inner] = [count, inner].map(|size| size as usize);
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        s[at / (count * inner) * inner + at % inner] += a * b;
    }
    s
}

/// `y[o] = x[o - before]` where that is an element of the map, else 0.
pub(crate) fn frame(channels: u64, frame: &Frame, x: &[f64]) -> Vec<f64> {
    let Frame { size, out_size, before } = frame;
    let mut y = Vec::new();
    for c in 0..channels {
        for d in 0..out_size[0] {
            for h in 0..out_size[1] {
                for w in 0..out_size[2] {
                    let at = [(d, 0), (h, 1), (w, 2)].map(|(out, axis)| out.checked_add_signed(-before[axis]));
                    let inside = (0..3).all(|axis| at[axis].is_some_and(|at| at < size[axis]));
                    let [d, h, w] = at.map(Option::unwrap_or_default);
                    let place = ((c * size[0] + d) * size[1] + h) * size[2] + w;
                    y.push(if inside { x[place as usize] } else { 0.0 });
                }
            }
        }
    }
    y
}

/// The inputs that an output is made of along an axis, with their weights.
fn shares(resample: &Resample, axis: usize, out: u64) -> Vec<(u64, f64)> {
    let (size, out_size) = (resample.size[axis], resample.out_size[axis]);
    if size == out_size {
        return vec![(out, 1.0)];
    }
    let line = |at: f64| {
        let first = (at.floor() as u64).min(size - 1);
        let rest = at - first as f64;
        vec![(first, 1.0 - rest), ((first + 1).min(size - 1), rest)]
    };
    match resample.how {
        How::Adaptive => {
            let inputs = out * size / out_size..((out + 1) * size).div_ceil(out_size);
            let share = 1.0 / (inputs.end - inputs.start) as f64;
            inputs.map(|input| (input, share)).collect()
        }
        How::Nearest => vec![(out * size / out_size, 1.0)],
        // As quotients of whole numbers: a place that is a whole number is one.
        How::Linear => line(((2 * out + 1) * size).saturating_sub(out_size) as f64 / (2 * out_size) as f64),
        How::LinearCorners => line((out * (size - 1)) as f64 / (out_size - 1).max(1) as f64),
    }
}

/// Every term of a map of another size, by its place in the input and the output, and its weight.
fn resampled(channels: u64, resample: &Resample, mut term: impl FnMut(usize, usize, f64)) {
    let Resample { size, out_size, .. } = resample;
    let mut at = 0;
    for c in 0..channels {
        for d in 0..out_size[0] {
            for h in 0..out_size[1] {
                for w in 0..out_size[2] {
                    for (d, of_depth) in shares(resample, 0, d) {
                        for (h, of_line) in shares(resample, 1, h) {
                            for (w, of_column) in shares(resample, 2, w) {
                                let place = ((c * size[0] + d) * size[1] + h) * size[2] + w;
                                term(place as usize, at, of_depth * of_line * of_column);
                            }
                        }
                    }
                    at += 1;
                }
            }
        }
    }
}

/// `y += weight x`
pub(crate) fn resample(channels: u64, resample: &Resample, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; (channels * resample.out_size.iter().product::<u64>()) as usize];
    resampled(channels, resample, |x_at, y_at, weight| y[y_at] += weight * x[x_at]);
    y
}

/// `dx += weight dy`
pub(crate) fn resample_grad(channels: u64, resample: &Resample, dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; (channels * resample.size.iter().product::<u64>()) as usize];
    resampled(channels, resample, |x_at, y_at, weight| dx[x_at] += weight * dy[y_at]);
    dx
}

/// `y[i] = x[j]`, where index d of i is index `order[d]` of j.
pub(crate) fn permute(sizes: &[u64], order: &[usize], x: &[f64]) -> Vec<f64> {
    let stride = |dim: usize| sizes[dim + 1..].iter().product::<u64>();
    let moved: Vec<(u64, u64)> = order.iter().map(|&dim| (sizes[dim], stride(dim))).collect();
    let place = |at: usize| {
        let mut rest = at as u64;
        let parts = moved.iter().rev().map(|&(size, stride)| {
            let index = rest % size;
            rest /= size;
            index * stride
        });
        parts.sum::<u64>() as usize
    };
    (0..x.len()).map(|at| x[place(at)]).collect()
}
