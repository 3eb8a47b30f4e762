//! How parameters follow from gradients. Numbers that are set are f64, as in PyTorch; parameters and state are f32.

mod adam;
mod rms_prop;

pub use adam::{Adam, AdamW};
pub use rms_prop::RmsProp;

use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::{CardOptimizer, Update, program::flat};
use crate::floats::Floats;
use crate::isa::Isa;
use crate::kernels::update::{self, Momentum};
use crate::{memory, run};

/// Floats of each memory that one task of an update has: some 20 microseconds of work, most of it waiting for memory.
const BLOCK: usize = if cfg!(miri) { 16 } else { 16 << 10 };

/// How parameters follow from gradients.
pub trait Optimizer {
    /// Changes the parameters, given the gradient of the loss by each. It is always called with the same parameters, so
    /// that it can keep what it knows of each by its index.
    fn update(&mut self, params: &mut [f32], gradients: &[f32]);

    /// [`update`](Optimizer::update) on at most `threads` threads, the caller's among them. It gives the same bits for any number of
    /// them. An optimizer that says nothing of threads runs on the caller's.
    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        let _ = threads;
        self.update(params, gradients);
    }

    /// All that a step does behind the gradient of a batch of so many samples, on at most so many threads; gives what that adds to the
    /// loss. By itself that is [`Optimizer::update_on`] and nothing. [`Recipe`](crate::Recipe) does more, for which it may change the
    /// gradients.
    fn follow(&mut self, params: &mut [f32], gradients: &mut [f32], samples: usize, threads: usize) -> f32 {
        let _ = samples;
        self.update_on(threads, params, gradients);
        0.0
    }

    /// The same with kernels of a graphics card, if it has them. Without, each step brings gradients and parameters to the processor, and
    /// the parameters back.
    #[cfg(feature = "cuda")]
    fn on_card(&mut self) -> Option<&mut dyn CardOptimizer> {
        None
    }
}

/// An optimizer whose learning rate can be set while it trains, and whose state can be kept in a file: each of this crate.
pub trait Stateful: Optimizer {
    /// Sets the learning rate of the next step.
    fn set_lr(&mut self, lr: f64);

    /// What it knows of the steps before, without the numbers that were set.
    fn state(&self) -> OptimizerState;

    /// Makes it know what another one of its kind did.
    ///
    /// # Errors
    ///
    /// [`Error::OptimizerState`] when the state is that of another kind of optimizer, or of another number of parameters.
    fn restore(&mut self, state: OptimizerState) -> Result<(), Error>;
}

/// What an optimizer knows of the steps before. Each of its lists is as long as there are parameters that are trained, or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// Steps done, of an optimizer that counts them.
    pub steps: u64,
    /// A velocity, say, or means.
    pub values: Vec<Vec<f32>>,
}

impl OptimizerState {
    /// The lists, if they are as many as the optimizer of this name has, of one length each or empty.
    fn take<const N: usize>(self, optimizer: &'static str) -> Result<(u64, [Vec<f32>; N]), Error> {
        let found = self.values.len();
        let longest = self.values.iter().map(Vec::len).max().unwrap_or(0);
        let is_even = self.values.iter().all(|list| list.is_empty() || list.len() == longest);
        match self.values.try_into() {
            Ok(lists) if is_even => Ok((self.steps, lists)),
            _ => Err(Error::OptimizerState { optimizer, wanted: N, found }),
        }
    }
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        (**self).update(params, gradients);
    }

    fn update_on(&mut self, threads: usize, params: &mut [f32], gradients: &[f32]) {
        (**self).update_on(threads, params, gradients);
    }

    fn follow(&mut self, params: &mut [f32], gradients: &mut [f32], samples: usize, threads: usize) -> f32 {
        (**self).follow(params, gradients, samples, threads)
    }

    #[cfg(feature = "cuda")]
    fn on_card(&mut self) -> Option<&mut dyn CardOptimizer> {
        (**self).on_card()
    }
}

impl<O: Stateful + ?Sized> Stateful for Box<O> {
    fn set_lr(&mut self, lr: f64) {
        (**self).set_lr(lr);
    }

    fn state(&self) -> OptimizerState {
        (**self).state()
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), Error> {
        (**self).restore(state)
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
    velocity: Floats,
}

impl Sgd {
    /// Plain descent: no momentum, no weight decay.
    pub fn new(lr: f64) -> Sgd {
        Sgd { lr, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0, velocity: Floats::default() }
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
        let velocity = begin(&mut self.velocity, gradients.len());
        let momentum = Momentum { lr, weight_decay, kept: momentum, taken, nesterov: self.nesterov };
        run::blocks(threads, [params, velocity], BLOCK, &|first, [params, velocity]| {
            update::descend_with_momentum(isa, params, &gradients[first..][..params.len()], velocity, &momentum);
        });
    }

    #[cfg(feature = "cuda")]
    fn on_card(&mut self) -> Option<&mut dyn CardOptimizer> {
        Some(self)
    }
}

#[cfg(feature = "cuda")]
impl CardOptimizer for Sgd {
    fn add_step(&mut self, update: &mut Update<'_>) -> Result<(), Error> {
        let [lr, momentum, weight_decay] = [self.lr, self.momentum, self.weight_decay].map(|number| number as f32);
        if self.momentum == 0.0 {
            return update.update(flat::DESCEND, &[], &[lr, weight_decay]);
        }
        let taken = if self.velocity.is_empty() { 1.0 } else { (1.0 - self.dampening) as f32 };
        let velocity = update.state(&mut self.velocity)?;
        let numbers = [lr, weight_decay, momentum, taken, f32::from(u8::from(self.nesterov))];
        update.update(flat::DESCEND_WITH_MOMENTUM, &[Some(&*velocity)], &numbers)
    }
}

impl Stateful for Sgd {
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn state(&self) -> OptimizerState {
        OptimizerState { steps: 0, values: vec![self.velocity.get().to_vec()] }
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), Error> {
        let (_, [velocity]) = state.take("sgd")?;
        self.velocity = Floats::new(velocity);
        Ok(())
    }
}

/// Makes the state zeros at the first step, and gives it.
fn begin(state: &mut Floats, len: usize) -> &mut [f32] {
    let state = state.get_mut();
    if state.is_empty() {
        memory::resize(state, len, 0.0);
    }
    assert_eq!(state.len(), len, "an optimizer serves one model");
    state
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
    fn adam_w_is_its_formula() {
        let (mut t, mut m, mut v) = (0, 0.0, 0.0);
        check(AdamW::new(0.1).betas(0.8, 0.99).eps(1e-3).weight_decay(0.2), |p, g| {
            *p -= 0.1 * 0.2 * *p;
            t += 1;
            m = 0.8 * m + 0.2 * g;
            v = 0.99 * v + 0.01 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.8_f64.powi(t)), v / (1.0 - 0.99_f64.powi(t)));
            *p -= 0.1 * m_hat / (v_hat.sqrt() + 1e-3);
        });
    }

    #[test]
    fn rms_prop_is_its_formula() {
        for (centered, momentum) in [(false, 0.0), (false, 0.9), (true, 0.0), (true, 0.9)] {
            let (mut v, mut m, mut b) = (0.0, 0.0, 0.0);
            let optimizer =
                RmsProp::new(0.01).alpha(0.9).eps(1e-2).centered(centered).momentum(momentum).weight_decay(0.2);
            check(optimizer, |p, g| {
                let g = g + 0.2 * *p;
                v = 0.9 * v + 0.1 * g * g;
                m = 0.9 * m + 0.1 * g;
                let root = if centered { (v - m * m).sqrt() } else { v.sqrt() };
                b = momentum * b + g / (root + 1e-2);
                *p -= 0.01 * b;
            });
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_as_if_nothing_had_been() {
        fn goes_on<O: Stateful + Clone + PartialEq + std::fmt::Debug>(new: O) {
            let mut first = new.clone();
            let mut params = [0.5, -2.0];
            first.update(&mut params, &[0.1, 0.2]);
            let mut second = new.clone();
            second.restore(first.state()).expect("a state of its own");
            assert_eq!(second, first);
            let mut other = new;
            let state = OptimizerState { steps: 0, values: vec![vec![1.0; 2]; 7] };
            assert!(matches!(other.restore(state), Err(Error::OptimizerState { found: 7, .. })));
            let lists = first.state().values.len();
            let uneven = (0..lists).map(|list| vec![0.0; list + 1]).collect();
            assert_eq!(other.restore(OptimizerState { steps: 0, values: uneven }).is_ok(), lists == 1);
        }
        goes_on(Sgd::new(0.1).momentum(0.9));
        goes_on(Adam::new(0.1));
        goes_on(AdamW::new(0.1));
        goes_on(RmsProp::new(0.1).momentum(0.9).centered(true));
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
            assert!(run(threads, &mut RmsProp::new(0.1)) == run(1, &mut RmsProp::new(0.1)));
            let centred = || RmsProp::new(0.1).momentum(0.9).centered(true);
            assert!(run(threads, &mut centred()) == run(1, &mut centred()));
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
