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
    /// `p -= step mean / (sqrt(square) / scale + eps)`.
    pub(crate) fn adapt(
        params: &mut [f32],
        gradients: &[f32],
        means: &mut [f32],
        squares: &mut [f32],
        moments: &Moments,
    ) = moments_kernel;
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
    /// How much of the squares stays.
    pub(crate) beta2: f32,
    /// How much of the gradient the means take, and of its square the squares.
    pub(crate) new: [f32; 2],
}

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
    let Moments { step, scale, eps, weight_decay, beta2, new } = *moments;
    let state = means.iter_mut().zip(squares);
    for ((param, gradient), (mean, square)) in params.iter_mut().zip(gradients).zip(state) {
        let gradient = gradient + weight_decay * *param;
        *mean += new[0] * (gradient - *mean);
        *square = beta2 * *square + new[1] * gradient * gradient;
        *param -= step * (*mean / (square.sqrt() / scale + eps));
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
            let moments = Moments { step: 0.1, scale: 0.3, eps: 1e-8, weight_decay: 0.01, beta2: 0.9, new: [0.2, 0.1] };
            adapt(isa, &mut params, &gradients, &mut first, &mut second, &moments);
            [bits(&params), bits(&first), bits(&second)]
        };
        let portable = run(Isa::PORTABLE);
        assert!(Isa::available().all(|isa| run(isa) == portable));
    }
}
