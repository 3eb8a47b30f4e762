//! Adam and AdamW.

use super::{BLOCK, Optimizer, OptimizerState, Stateful, begin};
use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::{CardOptimizer, Update, program::flat};
use crate::floats::Floats;
use crate::isa::Isa;
use crate::kernels::update::{self, Moments};
use crate::run;

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
    means: Means,
}

/// Adam with weight decay that is no part of the gradient (Loshchilov and Hutter, *Decoupled weight decay regularization*, 2019) in the
/// form of PyTorch's [`torch.optim.AdamW`](https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
///
/// Of a gradient g, for each parameter p, at step t from 1:
/// ```text
/// p -= lr * weight_decay * p
/// m  = beta1 * m + (1 - beta1) * g
/// v  = beta2 * v + (1 - beta2) * g^2
/// p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// ```
///
/// ```
/// let optimizer = netspec::AdamW::new(1e-3).weight_decay(0.05);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate.
    pub lr: f64,
    /// The decay of the mean of gradients.
    pub beta1: f64,
    /// The decay of the mean of their squares.
    pub beta2: f64,
    /// What is added to the denominator.
    pub eps: f64,
    /// What part of a parameter, biases too, each step takes away, times the learning rate.
    pub weight_decay: f64,
    means: Means,
}

/// What both know.
#[derive(Clone, Debug, Default, PartialEq)]
struct Means {
    /// Steps done.
    steps: u64,
    /// m of each parameter; empty before the first step.
    means: Floats,
    /// v of each parameter.
    squares: Floats,
}

/// What of a step is not the same for both: the part of a parameter that stays, and what of it is added to the gradient.
struct Decay {
    kept: f64,
    added: f64,
}

impl Means {
    /// Counts a step; gives what it does.
    fn next(&mut self, [lr, beta1, beta2, eps]: [f64; 4], Decay { kept, added }: Decay) -> Moments {
        self.steps += 1;
        // In f64 until here: 1 - 0.999 in f32 is off by 1e-5 of itself.
        let left = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let step = (lr / left(beta1)) as f32;
        let scale = left(beta2).sqrt() as f32;
        let [kept, weight_decay, new1, new2] = [kept, added, 1.0 - beta1, 1.0 - beta2].map(|number| number as f32);
        let [beta2, eps] = [beta2, eps].map(|number| number as f32);
        Moments { step, scale, eps, weight_decay, kept, beta2, new: [new1, new2] }
    }

    #[cfg(feature = "cuda")]
    fn step_on_card(&mut self, update: &mut Update<'_>, numbers: [f64; 4], decay: Decay) -> Result<(), Error> {
        let Moments { step, scale, eps, weight_decay, kept, beta2, new: [new1, new2] } = self.next(numbers, decay);
        let (means, squares) = (update.state(&mut self.means)?, update.state(&mut self.squares)?);
        let numbers = [step, scale, eps, weight_decay, kept, beta2, new1, new2];
        update.update(flat::ADAPT, &[Some(&*means), Some(&*squares)], &numbers)
    }

    fn step(&mut self, threads: usize, params: &mut [f32], gradients: &[f32], numbers: [f64; 4], decay: Decay) {
        let moments = self.next(numbers, decay);
        let (means, squares) = (begin(&mut self.means, gradients.len()), begin(&mut self.squares, gradients.len()));
        let isa = Isa::best();
        let memories = [params, means, squares];
        run::blocks(threads, memories, BLOCK, &|first, [params, means, squares]| {
            update::adapt(isa, params, &gradients[first..][..params.len()], means, squares, &moments);
        });
    }

    fn state(&self) -> OptimizerState {
        OptimizerState {
            steps: self.steps,
            values: [&self.means, &self.squares].map(|list| list.get().to_vec()).into(),
        }
    }

    fn of(state: OptimizerState, optimizer: &'static str) -> Result<Means, Error> {
        let (steps, [means, squares]) = state.take(optimizer)?;
        Ok(Means { steps, means: Floats::copied(&means), squares: Floats::copied(&squares) })
    }
}

impl Adam {
    /// With PyTorch's defaults for the rest: betas 0.9 and 0.999, eps 1e-8, no weight decay. Its default of `lr` is 1e-3.
    pub fn new(lr: f64) -> Adam {
        Adam { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, means: Means::default() }
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

    fn numbers(&self) -> ([f64; 4], Decay) {
        ([self.lr, self.beta1, self.beta2, self.eps], Decay { kept: 1.0, added: self.weight_decay })
    }
}

impl AdamW {
    /// With PyTorch's defaults for the rest: betas 0.9 and 0.999, eps 1e-8, weight decay 0.01. Its default of `lr` is 1e-3.
    pub fn new(lr: f64) -> AdamW {
        AdamW { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, means: Means::default() }
    }

    /// The same with these decays.
    pub fn betas(self, beta1: f64, beta2: f64) -> AdamW {
        AdamW { beta1, beta2, ..self }
    }

    /// The same with this addition to the denominator.
    pub fn eps(self, eps: f64) -> AdamW {
        AdamW { eps, ..self }
    }

    /// The same with this weight decay.
    pub fn weight_decay(self, weight_decay: f64) -> AdamW {
        AdamW { weight_decay, ..self }
    }

    fn numbers(&self) -> ([f64; 4], Decay) {
        let decay = Decay { kept: 1.0 - self.lr * self.weight_decay, added: 0.0 };
        ([self.lr, self.beta1, self.beta2, self.eps], decay)
    }
}

impl Optimizer for Adam {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        self.update_on(1, params, gradients);
    }

    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        let (numbers, decay) = self.numbers();
        self.means.step(threads, params, gradients, numbers, decay);
    }

    #[cfg(feature = "cuda")]
    fn on_card(&mut self) -> Option<&mut dyn CardOptimizer> {
        Some(self)
    }
}

#[cfg(feature = "cuda")]
impl CardOptimizer for Adam {
    fn add_step(&mut self, update: &mut Update<'_>) -> Result<(), Error> {
        let (numbers, decay) = self.numbers();
        self.means.step_on_card(update, numbers, decay)
    }
}

impl Optimizer for AdamW {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        self.update_on(1, params, gradients);
    }

    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        let (numbers, decay) = self.numbers();
        self.means.step(threads, params, gradients, numbers, decay);
    }

    #[cfg(feature = "cuda")]
    fn on_card(&mut self) -> Option<&mut dyn CardOptimizer> {
        Some(self)
    }
}

#[cfg(feature = "cuda")]
impl CardOptimizer for AdamW {
    fn add_step(&mut self, update: &mut Update<'_>) -> Result<(), Error> {
        let (numbers, decay) = self.numbers();
        self.means.step_on_card(update, numbers, decay)
    }
}

impl Stateful for Adam {
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn state(&self) -> OptimizerState {
        self.means.state()
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), Error> {
        self.means = Means::of(state, "adam")?;
        Ok(())
    }
}

impl Stateful for AdamW {
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn state(&self) -> OptimizerState {
        self.means.state()
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), Error> {
        self.means = Means::of(state, "adamw")?;
        Ok(())
    }
}
