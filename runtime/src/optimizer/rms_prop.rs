//! RMSprop.

use super::{BLOCK, Optimizer, OptimizerState, Stateful, begin};
use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::{CardOptimizer, Update, program::flat};
use crate::floats::Floats;
use crate::isa::Isa;
use crate::kernels::update::{self, Root};
use crate::run;

/// RMSprop (Tieleman and Hinton, *Lecture 6.5: divide the gradient by a running average of its recent magnitude*, 2012; centred: Graves,
/// *Generating sequences with recurrent neural networks*, 2013) in the form of PyTorch's
/// [`torch.optim.RMSprop`](https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html).
///
/// Of a gradient g, for each parameter p:
/// ```text
/// g += weight_decay * p
/// v  = alpha * v + (1 - alpha) * g^2
/// m  = alpha * m + (1 - alpha) * g        if centered
/// b  = momentum * b + g / (sqrt(v) + eps), with v - m^2 for v if centered
/// p -= lr * b
/// ```
///
/// Where rounding makes `v - m^2` less than 0, it is 0 here; PyTorch takes the root of it, which is NaN.
///
/// ```
/// let optimizer = netspec::RmsProp::new(1e-3).momentum(0.9).centered(true);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RmsProp {
    /// The learning rate.
    pub lr: f64,
    /// The decay of the mean of squares.
    pub alpha: f64,
    /// What is added to the denominator.
    pub eps: f64,
    /// How much of the last step is kept. Set it before the first step.
    pub momentum: f64,
    /// Whether gradients are divided by their deviation, and not by their size. Set it before the first step.
    pub centered: bool,
    /// What is added to the gradient for each unit of a parameter, biases too.
    pub weight_decay: f64,
    /// v of each parameter; empty before the first step.
    squares: Floats,
    /// m, if centered.
    means: Floats,
    /// b, with a momentum.
    velocity: Floats,
}

impl RmsProp {
    /// With PyTorch's defaults for the rest: alpha 0.99, eps 1e-8, no momentum, not centred, no weight decay. Its default of `lr` is 1e-2.
    pub fn new(lr: f64) -> RmsProp {
        let [squares, means, velocity] = Default::default();
        RmsProp {
            lr,
            alpha: 0.99,
            eps: 1e-8,
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
            squares,
            means,
            velocity,
        }
    }

    /// The same with this decay.
    pub fn alpha(self, alpha: f64) -> RmsProp {
        RmsProp { alpha, ..self }
    }

    /// The same with this addition to the denominator.
    pub fn eps(self, eps: f64) -> RmsProp {
        RmsProp { eps, ..self }
    }

    /// The same with this momentum.
    pub fn momentum(self, momentum: f64) -> RmsProp {
        RmsProp { momentum, ..self }
    }

    /// The same, centred or not.
    pub fn centered(self, centered: bool) -> RmsProp {
        RmsProp { centered, ..self }
    }

    /// The same with this weight decay.
    pub fn weight_decay(self, weight_decay: f64) -> RmsProp {
        RmsProp { weight_decay, ..self }
    }

    /// What a kernel is given: lr, weight decay, eps, alpha, 1 - alpha, momentum.
    fn numbers(&self) -> [f32; 6] {
        let numbers = [self.lr, self.weight_decay, self.eps, self.alpha, 1.0 - self.alpha, self.momentum];
        numbers.map(|number| number as f32)
    }
}

impl Optimizer for RmsProp {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        self.update_on(1, params, gradients);
    }

    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        let [lr, weight_decay, eps, alpha, new, momentum] = self.numbers();
        let root = Root { lr, weight_decay, eps, alpha, new, momentum };
        let squares = begin(&mut self.squares, gradients.len());
        let means = if self.centered { begin(&mut self.means, gradients.len()) } else { self.means.get_mut() };
        let velocity =
            if self.momentum > 0.0 { begin(&mut self.velocity, gradients.len()) } else { self.velocity.get_mut() };
        let (isa, memories) = (Isa::best(), [params, squares, means, velocity]);
        run::blocks(threads, memories, BLOCK, &|first, [params, squares, means, velocity]| {
            update::scale_by_root(isa, params, &gradients[first..][..params.len()], squares, means, velocity, &root);
        });
    }

    #[cfg(feature = "cuda")]
    fn on_card(&mut self) -> Option<&mut dyn CardOptimizer> {
        Some(self)
    }
}

#[cfg(feature = "cuda")]
impl CardOptimizer for RmsProp {
    fn add_step(&mut self, update: &mut Update<'_>) -> Result<(), Error> {
        let squares = update.state(&mut self.squares)?;
        let means = self.centered.then(|| update.state(&mut self.means)).transpose()?;
        let velocity = (self.momentum > 0.0).then(|| update.state(&mut self.velocity)).transpose()?;
        update.update(flat::SCALE_BY_ROOT, &[Some(&*squares), means.as_deref(), velocity.as_deref()], &self.numbers())
    }
}

impl Stateful for RmsProp {
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn state(&self) -> OptimizerState {
        let lists = [&self.squares, &self.means, &self.velocity];
        OptimizerState { steps: 0, values: lists.map(|list| list.get().to_vec()).into() }
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), Error> {
        let (_, [squares, means, velocity]) = state.take("rmsprop")?;
        [self.squares, self.means, self.velocity] = [squares, means, velocity].map(|values| Floats::copied(&values));
        Ok(())
    }
}
