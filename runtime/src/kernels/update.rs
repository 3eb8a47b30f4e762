//! The loops of optimizers: plain ones, which compilers make vectors of. They round after each product, so that all instructions give
//! the same bits.
#![allow(unsafe_code)]

use crate::kernels::lanes::{Lanes, dispatch};

dispatch! {
    /// `p -= lr (g + weight_decay p)`.
    pub(crate) fn descend(params: &mut [f32], gradients: &[f32], lr: f32, weight_decay: f32) = descend_kernel;
    /// The same along a velocity.
    pub(crate) fn descend_with_momentum(
        params: &mut [f32],
        gradients: &[f32],
        velocity: &mut [f32],
        momentum: &Momentum,
    ) = momentum_kernel;
    /// `p = kept p - step mean / (sqrt(square) / scale + eps)`.
    pub(crate) fn adapt(
        params: &mut [f32],
        gradients: &[f32],
        means: &mut [f32],
        squares: &mut [f32],
        moments: &Moments,
    ) = moments_kernel;
    /// `p -= lr g / (sqrt(square) + eps)`, along a velocity if there is one, with the variance for the square if there are means.
    pub(crate) fn scale_by_root(
        params: &mut [f32],
        gradients: &[f32],
        squares: &mut [f32],
        means: &mut [f32],
        velocity: &mut [f32],
        root: &Root,
    ) = root_kernel;
    /// `g += twice p + one sign(p)`: what `one |p| + twice p^2 / 2` adds to the gradient.
    pub(crate) fn penalize(gradients: &mut [f32], params: &[f32], one: f32, twice: f32) = penalize_kernel;
    /// `sum |x|` and `sum x^2`.
    pub(crate) fn sums(values: &[f32]) -> [f64; 2] = sums_kernel;
    /// `g *= by`.
    pub(crate) fn scale(gradients: &mut [f32], by: f32) = scale_kernel;
    /// `g = min(max(g, -largest), largest)`; a NaN stays.
    pub(crate) fn limit(gradients: &mut [f32], largest: f32) = limit_kernel;
    /// `sum += weight g`.
    pub(crate) fn gather(sum: &mut [f32], gradients: &[f32], weight: f32) = gather_kernel;
}

/// Numbers of [`descend_with_momentum`].
pub(crate) struct Momentum {
    pub(crate) lr: f32,
    pub(crate) weight_decay: f32,
    /// How much of the velocity stays.
    pub(crate) kept: f32,
    /// How much of the gradient it takes.
    pub(crate) taken: f32,
    pub(crate) nesterov: bool,
}

/// Numbers of [`adapt`].
pub(crate) struct Moments {
    pub(crate) step: f32,
    pub(crate) scale: f32,
    pub(crate) eps: f32,
    pub(crate) weight_decay: f32,
    /// How much of the parameter stays: 1, but for AdamW.
    pub(crate) kept: f32,
    /// How much of the squares stays.
    pub(crate) beta2: f32,
    /// How much of the gradient the means take, and of its square the squares.
    pub(crate) new: [f32; 2],
}

/// Numbers of [`scale_by_root`].
pub(crate) struct Root {
    pub(crate) lr: f32,
    pub(crate) weight_decay: f32,
    pub(crate) eps: f32,
    /// How much of the squares and means stays.
    pub(crate) alpha: f32,
    /// How much of the gradient the means take, and of its square the squares.
    pub(crate) new: f32,
    /// How much of the velocity stays.
    pub(crate) momentum: f32,
}

/// Sums that run beside each other in [`sums`]: whatever the width of a vector, these are added up, in their order.
const PARTS: usize = 16;

#[inline(always)]
unsafe fn descend_kernel<W: Lanes, H: Lanes>(params: &mut [f32], gradients: &[f32], lr: f32, weight_decay: f32) {
    for (param, gradient) in params.iter_mut().zip(gradients) {
        *param -= lr * (gradient + weight_decay * *param);
    }
}

#[inline(always)]
unsafe fn momentum_kernel<W: Lanes, H: Lanes>(
    params: &mut [f32],
    gradients: &[f32],
    velocity: &mut [f32],
    momentum: &Momentum,
) {
    let Momentum { lr, weight_decay, kept, taken, nesterov } = *momentum;
    for ((param, gradient), velocity) in params.iter_mut().zip(gradients).zip(velocity) {
        let gradient = gradient + weight_decay * *param;
        *velocity = kept * *velocity + taken * gradient;
        *param -= lr * if nesterov { gradient + kept * *velocity } else { *velocity };
    }
}

#[inline(always)]
unsafe fn moments_kernel<W: Lanes, H: Lanes>(
    params: &mut [f32],
    gradients: &[f32],
    means: &mut [f32],
    squares: &mut [f32],
    moments: &Moments,
) {
    let Moments { step, scale, eps, weight_decay, kept, beta2, new } = *moments;
    let state = means.iter_mut().zip(squares);
    for ((param, gradient), (mean, square)) in params.iter_mut().zip(gradients).zip(state) {
        let gradient = gradient + weight_decay * *param;
        *mean += new[0] * (gradient - *mean);
        *square = beta2 * *square + new[1] * gradient * gradient;
        *param = kept * *param - step * (*mean / (square.sqrt() / scale + eps));
    }
}

#[inline(always)]
unsafe fn root_kernel<W: Lanes, H: Lanes>(
    params: &mut [f32],
    gradients: &[f32],
    squares: &mut [f32],
    means: &mut [f32],
    velocity: &mut [f32],
    root: &Root,
) {
    match (means.is_empty(), velocity.is_empty()) {
        (true, true) => roots::<false, false>(params, gradients, squares, means, velocity, root),
        (true, false) => roots::<false, true>(params, gradients, squares, means, velocity, root),
        (false, true) => roots::<true, false>(params, gradients, squares, means, velocity, root),
        (false, false) => roots::<true, true>(params, gradients, squares, means, velocity, root),
    }
}

/// With means, and with a velocity, or without: their slices are as long as `params` or not looked at.
#[inline(always)]
fn roots<const MEANS: bool, const VELOCITY: bool>(
    params: &mut [f32],
    gradients: &[f32],
    squares: &mut [f32],
    means: &mut [f32],
    velocity: &mut [f32],
    root: &Root,
) {
    let Root { lr, weight_decay, eps, alpha, new, momentum } = *root;
    let len = params.len();
    let (gradients, squares) = (&gradients[..len], &mut squares[..len]);
    let means = if MEANS { &mut means[..len] } else { means };
    let velocity = if VELOCITY { &mut velocity[..len] } else { velocity };
    for i in 0..len {
        let gradient = gradients[i] + weight_decay * params[i];
        squares[i] = alpha * squares[i] + new * gradient * gradient;
        let mut square = squares[i];
        if MEANS {
            means[i] += new * (gradient - means[i]);
            square -= means[i] * means[i];
            // Of a gradient that never changes, rounding may leave less than nothing.
            square = if square < 0.0 { 0.0 } else { square };
        }
        let mut step = gradient / (square.sqrt() + eps);
        if VELOCITY {
            velocity[i] = momentum * velocity[i] + step;
            step = velocity[i];
        }
        params[i] -= lr * step;
    }
}

#[inline(always)]
unsafe fn penalize_kernel<W: Lanes, H: Lanes>(gradients: &mut [f32], params: &[f32], one: f32, twice: f32) {
    for (gradient, &param) in gradients.iter_mut().zip(params) {
        // 0 of 0, as PyTorch's `abs` has it.
        let sign = f32::from(u8::from(param > 0.0)) - f32::from(u8::from(param < 0.0));
        *gradient += twice * param + one * sign;
    }
}

#[inline(always)]
unsafe fn sums_kernel<W: Lanes, H: Lanes>(values: &[f32]) -> [f64; 2] {
    let (mut sizes, mut squares) = ([0.0_f64; PARTS], [0.0_f64; PARTS]);
    let (whole, rest) = values.as_chunks::<PARTS>();
    for chunk in whole {
        for part in 0..PARTS {
            let value = f64::from(chunk[part]);
            sizes[part] += value.abs();
            squares[part] += value * value;
        }
    }
    for (part, &value) in rest.iter().enumerate() {
        let value = f64::from(value);
        sizes[part] += value.abs();
        squares[part] += value * value;
    }
    [sizes.iter().sum(), squares.iter().sum()]
}

#[inline(always)]
unsafe fn scale_kernel<W: Lanes, H: Lanes>(gradients: &mut [f32], by: f32) {
    gradients.iter_mut().for_each(|gradient| *gradient *= by);
}

#[inline(always)]
unsafe fn limit_kernel<W: Lanes, H: Lanes>(gradients: &mut [f32], largest: f32) {
    gradients.iter_mut().for_each(|gradient| *gradient = gradient.clamp(-largest, largest));
}

#[inline(always)]
unsafe fn gather_kernel<W: Lanes, H: Lanes>(sum: &mut [f32], gradients: &[f32], weight: f32) {
    for (sum, gradient) in sum.iter_mut().zip(gradients) {
        *sum += weight * gradient;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::testing::{Random, bits};

    #[test]
    fn all_instructions_give_the_same_bits() {
        let run = |isa: Isa| {
            let mut random = Random::new(1);
            let [mut params, gradients, mut first] = [(); 3].map(|()| random.numbers(103));
            let mut second: Vec<f32> = first.iter().map(|number| number.abs()).collect();
            descend(isa, &mut params, &gradients, 0.1, 0.01);
            let mut momentum = Momentum { lr: 0.1, weight_decay: 0.01, kept: 0.9, taken: 0.7, nesterov: false };
            descend_with_momentum(isa, &mut params, &gradients, &mut first, &momentum);
            momentum.nesterov = true;
            descend_with_momentum(isa, &mut params, &gradients, &mut first, &momentum);
            let new = [0.2, 0.1];
            let moments = Moments { step: 0.1, scale: 0.3, eps: 1e-8, weight_decay: 0.01, kept: 0.99, beta2: 0.9, new };
            adapt(isa, &mut params, &gradients, &mut first, &mut second, &moments);
            let root = Root { lr: 0.1, weight_decay: 0.01, eps: 1e-8, alpha: 0.9, new: 0.1, momentum: 0.8 };
            for (means, velocity) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut third = random.numbers(103);
                let means = if means { &mut first[..] } else { &mut [] };
                let velocity = if velocity { &mut third[..] } else { &mut [] };
                scale_by_root(isa, &mut params, &gradients, &mut second, means, velocity, &root);
            }
            let mut changed = gradients.clone();
            gather(isa, &mut changed, &params, 0.3);
            scale(isa, &mut changed, 1.7);
            penalize(isa, &mut changed, &params, 0.1, 0.2);
            limit(isa, &mut changed, 0.9);
            let [sizes, squares] = sums(isa, &changed).map(f64::to_bits);
            ([bits(&params), bits(&first), bits(&second), bits(&changed)], sizes, squares)
        };
        let portable = run(Isa::PORTABLE);
        assert!(Isa::available().all(|isa| run(isa) == portable));
    }

    /// Half a rounding step of f32 in each of a few operations on numbers near 1.
    fn is_near(found: &[f32], wanted: impl IntoIterator<Item = f64>) {
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((f64::from(*found) - wanted).abs() < 1e-6, "{found}, wanted {wanted}");
        }
    }

    #[test]
    fn what_is_done_to_gradients_is_its_formula() {
        let mut random = Random::new(2);
        let (mut params, gradients) = (random.numbers(103), random.numbers(103));
        (params[1], params[2]) = (0.0, -0.0);
        let isa = Isa::best();
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
        let (p, g) = (wide(&params), wide(&gradients));
        let changed = |change: &dyn Fn(&mut [f32])| {
            let mut changed = gradients.clone();
            change(&mut changed);
            changed
        };
        let sign = |p: f64| if p == 0.0 { 0.0 } else { p.signum() };
        let pairs = || g.iter().zip(&p);
        is_near(&changed(&|g| penalize(isa, g, &params, 0.1, 0.2)), pairs().map(|(g, p)| g + 0.2 * p + 0.1 * sign(*p)));
        is_near(&changed(&|g| scale(isa, g, 0.3)), g.iter().map(|g| 0.3 * g));
        is_near(&changed(&|g| limit(isa, g, 0.4)), g.iter().map(|g| g.clamp(-0.4, 0.4)));
        is_near(&changed(&|g| gather(isa, g, &params, 3.0)), pairs().map(|(g, p)| g + 3.0 * p));
        let [sizes, squares] = sums(isa, &params);
        let (size, square): (f64, f64) = (p.iter().map(|p| p.abs()).sum(), p.iter().map(|p| p * p).sum());
        // A hundred additions in f64.
        assert!((sizes - size).abs() < 1e-12 * size && (squares - square).abs() < 1e-12 * square);
        let mut nan = [f32::NAN, 2.0];
        limit(isa, &mut nan, 1.0);
        assert!(nan[0].is_nan() && nan[1] == 1.0);
    }
}
