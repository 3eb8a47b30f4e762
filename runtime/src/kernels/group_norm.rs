//! Norms of groups of one sample: `xhat = (x - mean) / sqrt(var + eps)`, `y = weight xhat + bias`, with mean and biased variance of
//! each group. A layer norm is one whose groups share their weights (Ba, Kiros and Hinton, *Layer Normalization*, 2016), an instance norm
//! one of a channel a group (Ulyanov, Vedaldi and Lempitsky, *Instance Normalization*, 2016; Wu and He, *Group Normalization*, 2018).

#![allow(unsafe_code)]

use crate::arena::{Parts, RowsMut, Tile, View};
use crate::isa::Isa;
use crate::kernels::batch_norm::{
    Scales, Spread, backward_of_planes, normalise_planes, statistics_of_planes, sums_of_planes,
};
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::planes::{Source, Target};
use crate::kernels::{Store, math};
use crate::layout::Layout;

/// A norm's geometry. A sample's value is `[groups][channels][positions]`; without shared weights it may be in planes of
/// `groups * channels` channels, and then all values of a call are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Groups.
    pub groups: usize,
    /// Channels of a group.
    pub channels: usize,
    /// Positions of a channel.
    pub positions: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Whether all groups have the weights of one, `[channels]`; else they are `[groups][channels]`.
    pub shared: bool,
}

impl GroupNorm {
    /// Elements of a group.
    fn size(&self) -> usize {
        self.channels * self.positions
    }

    /// Elements of the weight.
    fn weights(&self) -> usize {
        if self.shared { self.channels } else { self.groups * self.channels }
    }

    fn check(&self, x: View) {
        match x.layout {
            Layout::Plain => assert_eq!(x.len, self.groups * self.size(), "a value is [groups][channels][positions]"),
            Layout::Blocked(map) => {
                let sizes = (map.channels(), map.size.iter().product::<usize>(), map.len());
                let wanted = (self.groups * self.channels, self.positions, x.len);
                assert!(sizes == wanted && !self.shared, "a map is of [groups * channels][positions]");
            }
        }
    }

    fn check_moments(&self, moments: View) {
        assert!(moments.layout == Layout::Plain && moments.len == 2 * self.groups, "two numbers a group");
    }

    /// A weight or bias, of those of one sample, that a group has.
    fn of_group<'a>(&self, weights: Option<&'a [f32]>, group: usize) -> Option<&'a [f32]> {
        let first = if self.shared { 0 } else { group * self.channels };
        weights.map(|weights| &weights[first..][..self.channels])
    }
}

/// Mean and `1 / sqrt(var + eps)` of a number of elements, from their mean and the sum of their squared distances from it.
fn moments_of(mean: f64, squares: f64, count: usize, eps: f32) -> (f32, f32) {
    (mean as f32, (1.0 / (squares / count as f64 + f64::from(eps)).sqrt()) as f32)
}

/// `y = weight (x - mean) / sqrt(var + eps) + bias`, group by group. In training `moments` takes what [`backward`] reads: the mean of
/// each group, then `1 / sqrt(var + eps)` of each.
pub fn forward(
    t: &mut Tile<'_>,
    norm: &GroupNorm,
    x: View,
    weight: Option<usize>,
    bias: Option<usize>,
    y: View,
    moments: View,
) {
    norm.check_moments(moments);
    let Parts { reads: [from], writes: [to, mut moments], params, isa, scratch, .. } = t.parts([x], [y, moments]);
    let mut keep = |sample: usize, group: usize, (mean, inverse): (f32, f32)| {
        let (means, inverses) = moments.row(sample).split_at_mut(norm.groups);
        (means[group], inverses[group]) = (mean, inverse);
    };
    run_forward(norm, isa, params, scratch, (x, from), [weight, bias], (y, to), &mut keep);
}

/// [`forward`] of inference, which keeps nothing.
pub fn infer(t: &mut Tile<'_>, norm: &GroupNorm, x: View, weight: Option<usize>, bias: Option<usize>, y: View) {
    let Parts { reads: [from], writes: [to], params, isa, scratch, .. } = t.parts([x], [y]);
    run_forward(norm, isa, params, scratch, (x, from), [weight, bias], (y, to), &mut |_, _, _| {});
}

#[allow(clippy::too_many_arguments)]
fn run_forward(
    norm: &GroupNorm,
    isa: Isa,
    params: &[f32],
    scratch: &mut [f32],
    (x, from): (View, crate::arena::Rows<'_>),
    weights: [Option<usize>; 2],
    (y, mut to): (View, RowsMut<'_>),
    keep: &mut impl FnMut(usize, usize, (f32, f32)),
) {
    norm.check(x);
    norm.check(y);
    assert_eq!(x.layout == Layout::Plain, y.layout == Layout::Plain, "values of one layout");
    let [weight, bias] = weights.map(|first| first.map(|first| &params[first..][..norm.weights()]));
    if let Layout::Blocked(_) = x.layout {
        let (x, y) = (Source::new(x, &from), Target::new(y, &mut to));
        let channels = norm.groups * norm.channels;
        let (sums, scales) = scratch[..4 * channels].split_at_mut(2 * channels);
        let (means, inverses) = scales.split_at_mut(channels);
        for sample in 0..from.samples() {
            statistics_of_planes(isa, x.from(sample), &mut RowsMut::of(sums, 2 * channels));
            let (means_of, squares_of) = sums.split_at(channels);
            for group in 0..norm.groups {
                let own = group * norm.channels..(group + 1) * norm.channels;
                let moments = norm.merged(&means_of[own.clone()], &squares_of[own.clone()]);
                means[own.clone()].fill(moments.0);
                inverses[own].fill(moments.1);
                keep(sample, group, moments);
            }
            let scales = Scales { mean: Some(means), spread: Spread::Inverse(inverses), weight, bias };
            normalise_planes(isa, &scales, x.from(sample), None, false, f32::NEG_INFINITY, y.from(sample), 1);
        }
        return;
    }
    for sample in 0..from.samples() {
        let groups = from.row(sample).chunks_exact(norm.size()).zip(to.row(sample).chunks_exact_mut(norm.size()));
        for (group, (x, y)) in groups.enumerate() {
            let (weight, bias) = (norm.of_group(weight, group), norm.of_group(bias, group));
            keep(sample, group, forward_group(isa, norm, x, weight, bias, y));
        }
    }
}

impl GroupNorm {
    /// The moments of a group from means and squares of its channels, each of `positions` elements (Chan's formula).
    fn merged(&self, means: &[f32], squares: &[f32]) -> (f32, f32) {
        let mean = means.iter().map(|&mean| f64::from(mean)).sum::<f64>() / self.channels as f64;
        let within: f64 = squares.iter().map(|&squares| f64::from(squares)).sum();
        let between: f64 = means.iter().map(|&of| (f64::from(of) - mean) * (f64::from(of) - mean)).sum();
        moments_of(mean, within + between * self.positions as f64, self.size(), self.eps)
    }
}

/// `dx = (weight dy - mean of weight dy - xhat mean of weight dy xhat) / sqrt(var + eps)`, means of the group, of the moments that
/// [`forward`] kept; adds to the gradients of weight (`dy xhat`) and bias (`dy`).
#[allow(clippy::too_many_arguments)]
pub fn backward(
    t: &mut Tile<'_>,
    norm: &GroupNorm,
    x: View,
    dy: View,
    moments: View,
    weight: Option<usize>,
    grad_weight: Option<usize>,
    grad_bias: Option<usize>,
    dx: View,
    store: Store,
) {
    [x, dy, dx].into_iter().for_each(|view| norm.check(view));
    norm.check_moments(moments);
    let views = [x, dy, dx];
    assert!(views.iter().all(|view| (view.layout == Layout::Plain) == (x.layout == Layout::Plain)), "of one layout");
    let Parts { reads: [x, dy, moments], writes: [mut dx], params, gradients, isa, scratch, .. } =
        t.parts([x, dy, moments], [dx]);
    let weight = weight.map(|first| &params[first..][..norm.weights()]);
    let mut add = |first: Option<usize>, at: usize, of: &[f32]| {
        if let Some(first) = first {
            gradients[first + at..][..of.len()].iter_mut().zip(of).for_each(|(sum, of)| *sum += of);
        }
    };
    if let Layout::Blocked(_) = views[0].layout {
        let to = Target::new(views[2], &mut dx);
        let [x_of, dy_of] = [Source::new(views[0], &x), Source::new(views[1], &dy)];
        let channels = norm.groups * norm.channels;
        let (scales, rest) = scratch[..7 * channels].split_at_mut(2 * channels);
        let (sums, coefficients) = rest.split_at_mut(2 * channels);
        for sample in 0..x.samples() {
            let kept = moments.row(sample);
            let (means, inverses) = scales.split_at_mut(channels);
            for group in 0..norm.groups {
                let own = group * norm.channels..(group + 1) * norm.channels;
                means[own.clone()].fill(kept[group]);
                inverses[own].fill(kept[norm.groups + group]);
            }
            let (x, dy) = (x_of.from(sample), dy_of.from(sample));
            sums_of_planes(isa, x, dy, means, inverses, None, &mut RowsMut::of(sums, 2 * channels));
            let (of_dy, of_both) = sums.split_at(channels);
            add(grad_weight, 0, of_both);
            add(grad_bias, 0, of_dy);
            for group in 0..norm.groups {
                let own = group * norm.channels..(group + 1) * norm.channels;
                let weight = norm.of_group(weight, group);
                let shares = norm.shares(weight, &of_dy[own.clone()], &of_both[own.clone()]);
                let of = norm.coefficients(kept[group], kept[norm.groups + group], shares);
                for (channel, at) in own.enumerate() {
                    let [a, b, c] = of(weight.map_or(1.0, |weight| weight[channel]));
                    (coefficients[at], coefficients[channels + at], coefficients[2 * channels + at]) = (a, b, c);
                }
            }
            backward_of_planes(isa, coefficients, None, x, dy, to.from(sample), store, 1);
        }
        return;
    }
    for sample in 0..x.samples() {
        let kept = moments.row(sample);
        let groups = x.row(sample).chunks_exact(norm.size()).zip(dy.row(sample).chunks_exact(norm.size()));
        for (group, ((x, dy), dx)) in groups.zip(dx.row(sample).chunks_exact_mut(norm.size())).enumerate() {
            let moments = [kept[group], kept[norm.groups + group]];
            let first = if norm.shared { 0 } else { group * norm.channels };
            let weight = norm.of_group(weight, group);
            let (of_weight, of_bias) = scratch[..2 * norm.channels].split_at_mut(norm.channels);
            backward_group(isa, norm, x, dy, moments, weight, [&mut *of_weight, &mut *of_bias], dx, store);
            add(grad_weight, first, of_weight);
            add(grad_bias, first, of_bias);
        }
    }
}

impl GroupNorm {
    /// The means over a group of `weight dy` and `weight dy xhat`, of the sums of both over each channel.
    fn shares(&self, weight: Option<&[f32]>, of_dy: &[f32], of_both: &[f32]) -> [f64; 2] {
        let mean = |sums: &[f32]| {
            let weighted = |(channel, &sum): (usize, &f32)| {
                f64::from(weight.map_or(1.0, |weight| weight[channel])) * f64::from(sum)
            };
            sums.iter().enumerate().map(weighted).sum::<f64>() / self.size() as f64
        };
        [mean(of_dy), mean(of_both)]
    }

    /// A, B and C of `dx = A dy + B + C x`, of a channel's weight.
    fn coefficients(&self, mean: f32, inverse: f32, [of_dy, of_both]: [f64; 2]) -> impl Fn(f32) -> [f32; 3] {
        let (mean, inverse) = (f64::from(mean), f64::from(inverse));
        let c = -inverse * inverse * of_both;
        let b = -inverse * of_dy - c * mean;
        move |weight| [(f64::from(weight) * inverse) as f32, b as f32, c as f32]
    }
}

dispatch! {
    /// [`forward`] of a group; gives its mean and `1 / sqrt(var + eps)`.
    fn forward_group(
        norm: &GroupNorm, x: &[f32], weight: Option<&[f32]>, bias: Option<&[f32]>, y: &mut [f32],
    ) -> (f32, f32) = forward_kernel;
    /// [`backward`] of a group; writes the gradients of its weight and bias.
    fn backward_group(
        norm: &GroupNorm, x: &[f32], dy: &[f32], moments: [f32; 2], weight: Option<&[f32]>,
        gradients: [&mut [f32]; 2], dx: &mut [f32], store: Store,
    ) = backward_kernel;
}

#[inline(always)]
unsafe fn forward_kernel<W: Lanes, H: Lanes>(
    norm: &GroupNorm,
    x: &[f32],
    weight: Option<&[f32]>,
    bias: Option<&[f32]>,
    y: &mut [f32],
) -> (f32, f32) {
    let count = x.len() as f64;
    let mean = (math::sum(x) / count) as f32;
    let [rest, squares] = math::sums(x, x, |x, _| [x - mean, (x - mean) * (x - mean)]);
    // What the rounding of the mean left.
    let squares = (squares - rest * rest / count).max(0.0);
    let (mean, inverse) = moments_of(f64::from(mean) + rest / count, squares, x.len(), norm.eps);
    if norm.positions > 1 {
        for (channel, (x, y)) in x.chunks_exact(norm.positions).zip(y.chunks_exact_mut(norm.positions)).enumerate() {
            let (scale, shift) = (weight.map_or(1.0, |w| w[channel]) * inverse, bias.map_or(0.0, |b| b[channel]));
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale + shift);
        }
    } else {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * inverse);
        if let Some(weight) = weight {
            y.iter_mut().zip(weight).for_each(|(y, weight)| *y *= weight);
        }
        if let Some(bias) = bias {
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
        }
    }
    (mean, inverse)
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn backward_kernel<W: Lanes, H: Lanes>(
    norm: &GroupNorm,
    x: &[f32],
    dy: &[f32],
    [mean, inverse]: [f32; 2],
    weight: Option<&[f32]>,
    [of_weight, of_bias]: [&mut [f32]; 2],
    dx: &mut [f32],
    store: Store,
) {
    if norm.positions > 1 {
        let channels = x.chunks_exact(norm.positions).zip(dy.chunks_exact(norm.positions));
        for (channel, (x, dy)) in channels.clone().enumerate() {
            let [sum, both] = math::sums(x, dy, |x, dy| [dy, dy * (x - mean)]);
            (of_bias[channel], of_weight[channel]) = (sum as f32, (both * f64::from(inverse)) as f32);
        }
        let shares = norm.shares(weight, of_bias, of_weight);
        let of = norm.coefficients(mean, inverse, shares);
        for (channel, ((x, dy), dx)) in channels.zip(dx.chunks_exact_mut(norm.positions)).enumerate() {
            let [a, b, c] = of(weight.map_or(1.0, |weight| weight[channel]));
            store.put(dx, x.iter().zip(dy).map(|(x, dy)| a * dy + (b + c * x)));
        }
        return;
    }
    // A channel is an element: first `weight dy` and x's normal form stand where the gradients will.
    match weight {
        Some(weight) => of_bias.iter_mut().zip(dy.iter().zip(weight)).for_each(|(to, (dy, w))| *to = dy * w),
        None => of_bias.copy_from_slice(dy),
    }
    of_weight.iter_mut().zip(x).for_each(|(to, x)| *to = (x - mean) * inverse);
    let [sum, both] = math::sums(of_bias, of_weight, |weighted, xhat| [weighted, weighted * xhat]);
    let count = x.len() as f64;
    let (mean_dy, mean_both) = ((sum / count) as f32, (both / count) as f32);
    let pairs = of_bias.iter().zip(&*of_weight);
    store.put(dx, pairs.map(|(weighted, xhat)| (weighted - mean_dy - xhat * mean_both) * inverse));
    of_weight.iter_mut().zip(dy).for_each(|(xhat, dy)| *xhat *= dy);
    of_bias.copy_from_slice(dy);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::naive;
    use crate::kernels::testing::{Bench, Random, assert_close, bits, map, seeds, wide};

    /// A norm with its values, sample by sample.
    struct Problem {
        norm: GroupNorm,
        affine: bool,
        x: Vec<f32>,
        dy: Vec<f32>,
        before: Vec<f32>,
        store: Store,
    }

    const SAMPLES: usize = 2;

    impl Problem {
        fn new(random: &mut Random, norm: GroupNorm) -> Problem {
            let len = SAMPLES * norm.groups * norm.size();
            // A mean that is large beside the deviation, now and then.
            let far = if random.coin() { 100.0 } else { 0.0 };
            let x = random.numbers(len).iter().map(|x| far + 3.0 * x).collect();
            let (dy, before) = (random.numbers(len), random.numbers(len));
            Problem { norm, affine: random.coin(), x, dy, before, store: random.store() }
        }

        /// Runs all three functions, with the values where `place` puts them, and compares with the twin.
        fn check(
            &self,
            bench: &mut Bench,
            what: &str,
            place: impl Fn(&mut Bench, &[f32], bool) -> View,
            get: impl Fn(&Bench, View) -> Vec<f32>,
        ) {
            let Problem { norm, affine, x, dy, before, store } = self;
            let count = norm.weights();
            let weights = [bench.weights(count), bench.weights(count)];
            let [weight, bias] = weights.map(|at| affine.then_some(at));
            let gradients = [bench.gradient(count), bench.gradient(count)];
            let [grad_weight, grad_bias] = gradients.map(|at| affine.then_some(at));
            let gradients_before = gradients.map(|at| wide(&bench.gradients[at..][..count]));
            let [x_of, dy_of] = [place(bench, x, true), place(bench, dy, true)];
            let [y, inferred] = [place(bench, x, false), place(bench, x, false)];
            let dx = place(bench, before, *store == Store::Add);
            let moments = bench.target(2 * norm.groups, Store::Write);
            bench.scratch = 7 * norm.groups * norm.channels;
            bench.run(&[y, moments], |t| forward(t, norm, x_of, weight, bias, y, moments));
            bench.run(&[inferred], |t| infer(t, norm, x_of, weight, bias, inferred));
            bench.run(&[dx], |t| {
                backward(t, norm, x_of, dy_of, moments, weight, grad_weight, grad_bias, dx, *store);
            });
            assert_eq!(bits(&get(bench, y)), bits(&get(bench, inferred)), "{what}");

            let ones = (vec![1.0; count], vec![0.0; count]);
            let of = |at: usize| wide(&bench.params[at..][..count]);
            let (weight, bias) = if *affine { (of(weights[0]), of(weights[1])) } else { ones };
            let len = norm.groups * norm.size();
            let (mut dweight, mut dbias) = (vec![0.0; count], vec![0.0; count]);
            let (mut twin_y, mut twin_dx) = (Vec::new(), Vec::new());
            for (x, dy) in wide(x).chunks_exact(len).zip(wide(dy).chunks_exact(len)) {
                let of = naive::group_norm(norm, x, &weight, &bias);
                let (dx, of_weight, of_bias) = naive::group_norm_gradients(norm, &of, dy, &weight);
                dweight.iter_mut().zip(of_weight).for_each(|(sum, of)| *sum += of);
                dbias.iter_mut().zip(of_bias).for_each(|(sum, of)| *sum += of);
                twin_y.extend(of.y);
                twin_dx.extend(dx);
            }
            if *store == Store::Add {
                twin_dx.iter_mut().zip(before).for_each(|(dx, before)| *dx += f64::from(*before));
            }
            // The mean is rounded to a part of x, which is up to 100 deviations; dx has that error, times dy's weight, and its own.
            let scale = 300.0;
            let tolerance = scale / f64::from(1 << 24);
            assert_close(what, &get(bench, y), &twin_y, &vec![4.0; twin_y.len()], tolerance);
            assert_close(what, &get(bench, dx), &twin_dx, &vec![4.0; twin_dx.len()], tolerance);
            if *affine {
                for ((at, before), found) in gradients.into_iter().zip(gradients_before).zip([dweight, dbias]) {
                    let twin: Vec<f64> = before.iter().zip(&found).map(|(before, found)| before + found).collect();
                    let terms = vec![(SAMPLES * len) as f64; count];
                    assert_close(what, &bench.gradients[at..][..count], &twin, &terms, tolerance);
                }
            }
        }
    }

    #[test]
    fn random_norms_are_their_twins() {
        let isas: Vec<Isa> = Isa::available().collect();
        for seed in seeds(0..80) {
            let mut bench = Bench::new(seed, SAMPLES);
            bench.isa = isas[seed as usize % isas.len()];
            let positions = if bench.random.coin() { 1 } else { bench.random.between(2, 40) };
            let (groups, shared) = (bench.random.between(1, 4), bench.random.coin());
            // Of one or two elements the deviation may be near nothing.
            let channels = bench.random.between(if positions > 4 { 1 } else { 6 }, 37);
            let norm = GroupNorm { groups, channels, positions, eps: 1e-3, shared };
            let problem = Problem::new(&mut bench.random, norm);
            let place = |bench: &mut Bench, floats: &[f32], is_read: bool| match is_read {
                true => bench.value(floats.to_vec()),
                false => bench.target(floats.len() / SAMPLES, Store::Write),
            };
            problem.check(&mut bench, &format!("{seed}: {norm:?}"), place, |bench, view| bench.get(view).to_vec());
        }
    }

    #[test]
    fn norms_in_planes_are_their_twins() {
        let isas: Vec<Isa> = Isa::available().collect();
        for seed in seeds(0..60) {
            let mut bench = Bench::new(seed, SAMPLES);
            bench.isa = isas[seed as usize % isas.len()];
            let size = [1 + seed as usize % 2, bench.random.between(2, 6), bench.random.between(2, 9)];
            let (groups, channels) = (bench.random.between(1, 8), bench.random.between(1, 7));
            let positions = size.iter().product();
            let norm = GroupNorm { groups, channels, positions, eps: 1e-3, shared: false };
            let map = map(groups * channels, size, [0, 1, 1], [0, 0, 2]);
            let problem = Problem::new(&mut bench.random, norm);
            let place = |bench: &mut Bench, floats: &[f32], is_read: bool| match is_read {
                true => bench.planes(map, floats, f32::NAN),
                false => bench.target_planes(map, floats, Store::Write),
            };
            problem.check(&mut bench, &format!("{seed}: {norm:?}"), place, |bench, view| bench.elements(view));
        }
    }

    #[test]
    fn what_is_not_finite_stays_in_its_group() {
        let norm = GroupNorm { groups: 2, channels: 1, positions: 3, eps: 1e-5, shared: false };
        for spoilt in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut bench = Bench::new(1, 1);
            let x = bench.value(vec![1.0, spoilt, 2.0, 1.0, 2.0, 3.0]);
            let y = bench.target(6, Store::Write);
            bench.run(&[y], |t| infer(t, &norm, x, None, None, y));
            assert!(bench.get(y)[..3].iter().all(|y| y.is_nan()), "{spoilt}: {:?}", bench.get(y));
            assert!(bench.get(y)[3..].iter().all(|y| y.is_finite()), "{spoilt}: {:?}", bench.get(y));
        }
    }

    #[test]
    fn a_mean_far_from_zero_costs_little() {
        let norm = GroupNorm { groups: 1, channels: 1, positions: 4_096, eps: 1e-5, shared: false };
        let mut bench = Bench::new(1, 1);
        let x: Vec<f32> = bench.random.numbers(4_096).iter().map(|x| 1_000.0 + x).collect();
        let twin = naive::group_norm(&norm, &wide(&x), &[1.0], &[0.0]).y;
        let x = bench.value(x);
        let y = bench.target(4_096, Store::Write);
        bench.run(&[y], |t| infer(t, &norm, x, None, None, y));
        // A mean of 1,000 is rounded by up to 2^-15, which is 6e-5 of the deviation.
        assert_close("y", bench.get(y), &twin, &vec![1.0; 4_096], 6e-5);
    }
}
