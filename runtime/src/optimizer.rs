//! How parameters follow from gradients. Numbers that are set are f64, as in PyTorch; parameters and state are f32.

use crate::isa::Isa;
use crate::kernels::update::{self, Moments, Momentum};
use crate::run;

/// Floats of each memory that one task of an update has: some 20 microseconds of work, most of it waiting for memory.
const BLOCK: usize = if cfg!(miri) { 16 } else { 16 << 10 };

/// How parameters follow from gradients.
pub trait Optimizer {
    /// Changes the parameters, given the gradient of the loss by each. It is always called with the same parameters, so
    /// that it can keep what it knows of each by its index.
    fn update(&mut self, params: &mut [f32], gradients: &[f32]);

    /// [`update`](Optimizer::update) on at most `threads` threads, the caller's among them: what a step calls. It gives the same bits
    /// for any number of them. An optimizer that says nothing of threads runs on the caller's.
    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        let _ = threads;
        self.update(params, gradients);
    }
}

/// Stochastic gradient descent, with momentum (Sutskever et al., *On the importance of initialization and momentum in deep learning*,
/// 2013) and weight decay, in the form of PyTorch's
/// [`torch.optim.SGD`](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html).
///
/// Of a gradient g, for each parameter p:
/// ```text
/// g += weight_decay * p
/// v  = g                                  at the first step
/// v  = momentum * v + (1 - dampening) * g after it
/// p -= lr * (g + momentum * v)            if nesterov
/// p -= lr * v                             if not
/// ```
///
/// ```
/// let mut optimizer = netspec::Sgd::new(1e-2).momentum(0.9);
/// optimizer.lr = 1e-3; // later in the training
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// How much of the last step is kept. Set it before the first step.
    pub momentum: f64,
    /// How much of the gradient the momentum leaves out.
    pub dampening: f64,
    /// Whether a step looks ahead along the momentum.
    pub nesterov: bool,
    /// What is added to the gradient for each unit of a parameter, biases too.
    pub weight_decay: f64,
    /// v of each parameter; empty before the first step.
    velocity: Vec<f32>,
}

impl Sgd {
    /// Plain descent: no momentum, no weight decay.
    pub fn new(lr: f64) -> Sgd {
        Sgd { lr, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0, velocity: Vec::new() }
    }

    /// The same with this momentum.
    pub fn momentum(self, momentum: f64) -> Sgd {
        Sgd { momentum, ..self }
    }

    /// The same with this dampening.
    pub fn dampening(self, dampening: f64) -> Sgd {
        Sgd { dampening, ..self }
    }

    /// The same, looking ahead or not.
    pub fn nesterov(self, nesterov: bool) -> Sgd {
        Sgd { nesterov, ..self }
    }

    /// The same with this weight decay.
    pub fn weight_decay(self, weight_decay: f64) -> Sgd {
        Sgd { weight_decay, ..self }
    }
}

impl Optimizer for Sgd {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        self.update_on(1, params, gradients);
    }

    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        let [lr, momentum, weight_decay] = [self.lr, self.momentum, self.weight_decay].map(|number| number as f32);
        let taken = (1.0 - self.dampening) as f32;
        let isa = Isa::best();
        if self.momentum == 0.0 {
            run::blocks(threads, [params], BLOCK, &|first, [params]| {
                update::descend(isa, params, &gradients[first..][..params.len()], lr, weight_decay);
            });
            return;
        }
        // The first velocity is the gradient: all of it, and nothing of the zeros before.
        let taken = if self.velocity.is_empty() { 1.0 } else { taken };
        begin(&mut self.velocity, gradients.len());
        let momentum = Momentum { lr, weight_decay, kept: momentum, taken, nesterov: self.nesterov };
        run::blocks(threads, [params, &mut self.velocity], BLOCK, &|first, [params, velocity]| {
            update::descend_with_momentum(isa, params, &gradients[first..][..params.len()], velocity, &momentum);
        });
    }
}

/// Adam (Kingma and Ba, *Adam: a method for stochastic optimization*, 2015) in the form of PyTorch's
/// [`torch.optim.Adam`](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html).
///
/// Of a gradient g, for each parameter p, at step t from 1:
/// ```text
/// g += weight_decay * p
/// m  = beta1 * m + (1 - beta1) * g
/// v  = beta2 * v + (1 - beta2) * g^2
/// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// The decay of the mean of gradients.
    pub beta1: f64,
    /// The decay of the mean of their squares.
    pub beta2: f64,
    /// What is added to the denominator.
    pub eps: f64,
    /// What is added to the gradient for each unit of a parameter, biases too.
    pub weight_decay: f64,
    /// Steps done.
    steps: u64,
    /// m of each parameter; empty before the first step.
    means: Vec<f32>,
    /// v of each parameter.
    squares: Vec<f32>,
}

impl Adam {
    /// With PyTorch's defaults for the rest: betas 0.9 and 0.999, eps 1e-8, no weight decay. Its default of `lr` is 1e-3.
    pub fn new(lr: f64) -> Adam {
        let (means, squares) = (Vec::new(), Vec::new());
        Adam { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, steps: 0, means, squares }
    }

    /// The same with these decays.
    pub fn betas(self, beta1: f64, beta2: f64) -> Adam {
        Adam { beta1, beta2, ..self }
    }

    /// The same with this addition to the denominator.
    pub fn eps(self, eps: f64) -> Adam {
        Adam { eps, ..self }
    }

    /// The same with this weight decay.
    pub fn weight_decay(self, weight_decay: f64) -> Adam {
        Adam { weight_decay, ..self }
    }
}

impl Optimizer for Adam {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        self.update_on(1, params, gradients);
    }

    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        begin(&mut self.means, gradients.len());
        begin(&mut self.squares, gradients.len());
        self.steps += 1;
        // In f64 until here: 1 - 0.999 in f32 is off by 1e-5 of itself.
        let left = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let step = (self.lr / left(self.beta1)) as f32;
        let scale = left(self.beta2).sqrt() as f32;
        let [beta2, eps, weight_decay] = [self.beta2, self.eps, self.weight_decay].map(|number| number as f32);
        let [new1, new2] = [self.beta1, self.beta2].map(|beta| (1.0 - beta) as f32);
        let moments = Moments { step, scale, eps, weight_decay, beta2, new: [new1, new2] };
        let isa = Isa::best();
        run::blocks(
            threads,
            [params, &mut self.means, &mut self.squares],
            BLOCK,
            &|first, [params, means, squares]| {
                update::adapt(isa, params, &gradients[first..][..params.len()], means, squares, &moments);
            },
        );
    }
}

/// Makes the state zeros at the first step.
fn begin(state: &mut Vec<f32>, len: usize) {
    if state.is_empty() {
        state.resize(len, 0.0);
    }
    assert_eq!(state.len(), len, "an optimizer serves one model");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Random, bits};

    /// Takes five steps with gradients that depend on the parameter, and compares with a formula in f64.
    fn check(mut optimizer: impl Optimizer, mut formula: impl FnMut(&mut f64, f64)) {
        // The formula has one state, and so one parameter; that the other moves too shows that they are apart.
        let (mut params, mut exact) = ([0.5_f32, -2.0], 0.5_f64);
        for step in 0..5 {
            let gradients = params.map(|param| param * param - 0.3 * step as f32);
            optimizer.update(&mut params, &gradients);
            formula(&mut exact, f64::from(gradients[0]));
            // Five steps, each of a few roundings of numbers near 1.
            assert!((f64::from(params[0]) - exact).abs() < 2e-6, "step {step}: {params:?}, wanted {exact}");
        }
        assert!(params[1] != -2.0);
    }

    #[test]
    fn sgd_is_its_formula() {
        check(Sgd::new(0.1), |p, g| *p -= 0.1 * g);
        check(Sgd::new(0.1).weight_decay(0.5), |p, g| *p -= 0.1 * (g + 0.5 * *p));
        for (dampening, nesterov, decay) in [(0.0, false, 0.0), (0.25, false, 0.1), (0.0, true, 0.1)] {
            let sgd = Sgd::new(0.1).momentum(0.9).dampening(dampening).nesterov(nesterov).weight_decay(decay);
            let mut velocity = None;
            check(sgd, |p, g| {
                let g = g + decay * *p;
                let v = velocity.map_or(g, |v: f64| 0.9 * v + (1.0 - dampening) * g);
                velocity = Some(v);
                *p -= 0.1 * if nesterov { g + 0.9 * v } else { v };
            });
        }
    }

    #[test]
    fn adam_is_its_formula() {
        for decay in [0.0, 0.1] {
            let (mut t, mut m, mut v) = (0, 0.0, 0.0);
            check(Adam::new(0.1).betas(0.8, 0.99).eps(1e-3).weight_decay(decay), |p, g| {
                let g = g + decay * *p;
                t += 1;
                m = 0.8 * m + 0.2 * g;
                v = 0.99 * v + 0.01 * g * g;
                let (m_hat, v_hat) = (m / (1.0 - 0.8_f64.powi(t)), v / (1.0 - 0.99_f64.powi(t)));
                *p -= 0.1 * m_hat / (v_hat.sqrt() + 1e-3);
            });
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let numbers = |seed: u64| Random::new(seed).numbers(3 * BLOCK + 5);
        let run = |threads: usize, optimizer: &mut dyn Optimizer| {
            let mut params = numbers(1);
            (2..5).for_each(|step| optimizer.update_on(threads, &mut params, &numbers(step)));
            bits(&params)
        };
        for threads in [2, 3, 7] {
            assert!(run(threads, &mut Sgd::new(0.1)) == run(1, &mut Sgd::new(0.1)));
            let momentum = || Sgd::new(0.1).momentum(0.9).weight_decay(0.1);
            assert!(run(threads, &mut momentum()) == run(1, &mut momentum()));
            assert!(run(threads, &mut Adam::new(0.1)) == run(1, &mut Adam::new(0.1)));
        }
    }

    #[test]
    fn adams_first_step_is_its_learning_rate() {
        // m / sqrt(v), each freed of its bias, is the gradient's sign; eps is 1e-8 of it.
        let mut params = [1.0, 1.0, 1.0];
        Adam::new(1e-3).update(&mut params, &[5.0, -1e-3, 0.0]);
        let moved = params.map(|param| f64::from(param) - 1.0);
        // 1e-5 relative for eps at the second, and half a rounding step of numbers near 1.
        assert!((moved[0] + 1e-3).abs() < 1e-7 && (moved[1] - 1e-3).abs() < 1e-7 && moved[2] == 0.0, "{moved:?}");
    }
}
