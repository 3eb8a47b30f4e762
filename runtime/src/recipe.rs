//! What is done to gradients between a batch and an optimizer: accumulated, penalized, clipped, and kept from frozen parameters.

use std::ops::Range;

#[cfg(feature = "cuda")]
use crate::cuda::{CardOptimizer, Update};
use crate::floats::Floats;
use crate::isa::Isa;
use crate::kernels::update;
use crate::memory;
use crate::{Error, Optimizer, OptimizerState, Stateful};

/// What a penalty adds to the loss for the parameters w it is on: `l1 * sum |w| + l2 * sum w^2`.
///
/// `l2` is a factor of the sum of squares, so that its gradient is `2 * l2 * w`: the same as a weight decay of `2 * l2` in
/// [`Sgd`](crate::Sgd). A weight that a repeat ties is one parameter, and counts once.
///
/// Source: l2, Hoerl and Kennard, *Ridge regression*, 1970; l1, Tibshirani, *Regression shrinkage and selection via the lasso*, 1996;
/// both, Zou and Hastie, *Regularization and variable selection via the elastic net*, 2005.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// The factor of the sum of sizes. The derivative of a size at 0 is 0, as in PyTorch.
    pub l1: f64,
    /// The factor of the sum of squares.
    pub l2: f64,
}

impl Penalty {
    /// `l1 * sum |w|`.
    pub fn l1(l1: f64) -> Penalty {
        Penalty { l1, l2: 0.0 }
    }

    /// `l2 * sum w^2`.
    pub fn l2(l2: f64) -> Penalty {
        Penalty { l1: 0.0, l2 }
    }

    /// `l1 * sum |w| + l2 * sum w^2`.
    pub fn elastic(l1: f64, l2: f64) -> Penalty {
        Penalty { l1, l2 }
    }

    /// What it adds to the loss.
    ///
    /// ```
    /// assert_eq!(netspec::Penalty::elastic(0.5, 0.25).of(&[2.0, -2.0]), 4.0);
    /// ```
    pub fn of(self, params: &[f32]) -> f64 {
        let [sizes, squares] = update::sums(Isa::best(), params);
        self.l1 * sizes + self.l2 * squares
    }

    /// Adds its gradient.
    pub fn add_gradient(self, params: &[f32], gradients: &mut [f32]) {
        update::penalize(Isa::best(), gradients, params, self.l1 as f32, (2.0 * self.l2) as f32);
    }
}

/// How gradients are kept from being too large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// All are made smaller by one factor, so that the root of the sum of their squares is at most this. Source: Pascanu et al., *On the
    /// difficulty of training recurrent neural networks*, 2013; PyTorch,
    /// [`clip_grad_norm_`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html): the factor is
    /// `largest / (norm + 1e-6)`.
    Norm(f64),
    /// Each is between minus and plus this. Source: PyTorch,
    /// [`clip_grad_value_`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html).
    Value(f64),
}

impl Clip {
    /// Clips the gradients of all parameters that are trained.
    ///
    /// ```
    /// let mut gradients = [3.0, -4.0];
    /// netspec::Clip::Norm(2.5).apply(&mut gradients);
    /// assert!((gradients[0] - 1.5_f32).abs() < 1e-6 && (gradients[1] + 2.0_f32).abs() < 1e-6);
    /// netspec::Clip::Value(1.75).apply(&mut gradients);
    /// assert!(gradients[1] == -1.75);
    /// ```
    pub fn apply(self, gradients: &mut [f32]) {
        match self {
            Clip::Norm(largest) => {
                let [_, squares] = update::sums(Isa::best(), gradients);
                let factor = largest / (squares.sqrt() + 1e-6);
                // A factor that is no number makes all of them none, as in PyTorch.
                if factor.is_nan() || factor < 1.0 {
                    update::scale(Isa::best(), gradients, factor as f32);
                }
            }
            Clip::Value(largest) => update::limit(Isa::best(), gradients, largest as f32),
        }
    }
}

/// An optimizer, and what is done to gradients before it, in this order: those of several batches are accumulated; the penalties' are
/// added; those of frozen parameters are left out; the others are clipped.
///
/// It is an optimizer itself, so a step takes it as any other. What a step gives is then the mean loss of the batch and the penalties
/// of the parameters before the step.
///
/// ```
/// netspec::netspec! {
///     model Net {
///         input x [4];
///         linear(8) as body;
///         tanh;
///         linear(2) as head;
///     }
/// }
///
/// use netspec::{AdamW, Clip, CrossEntropy, Penalty, Recipe, Workspace, network};
///
/// let mut net = Net::new(0);
/// let mut recipe = Recipe::new(AdamW::new(1e-2))
///     .penalty_on(Penalty::l2(1e-3), network::select_matrices::<Net>(&["head"])?)
///     .freeze(network::select::<Net>(&["body"])?)
///     .clip(Clip::Norm(1.0))
///     .accumulate(2);
///
/// let body = net.params()[..40].to_vec();
/// let (inputs, labels) = ([[1.0; 4], [-1.0; 4], [2.0; 4]], [0, 1, 0]);
/// let mut workspace = Workspace::new();
/// for (inputs, labels) in inputs.chunks(1).zip(labels.chunks(1)) {
///     net.step(&mut workspace, inputs, labels, &CrossEntropy, &mut recipe)?;
/// }
/// recipe.flush(net.params_mut()); // the third batch is alone
/// assert_eq!(net.params()[..40], body);
/// # Ok::<(), netspec::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recipe<O> {
    /// The optimizer.
    pub optimizer: O,
    /// Penalties, and what they are on: everything, or these parameters.
    penalties: Vec<(Penalty, Option<Vec<Range<usize>>>)>,
    clip: Option<Clip>,
    /// Batches of a step.
    batches: usize,
    /// What no step changes, in order.
    frozen: Vec<Range<usize>>,
    /// The sum of the gradients of samples since the last step; used if a step takes several batches.
    sum: Floats,
    /// How many batches, and how many samples, are in it.
    gathered: (usize, usize),
    /// Parameters and gradients that are trained, next to each other, if they are not so already.
    packed: [Vec<f32>; 2],
}

impl<O: Optimizer> Recipe<O> {
    /// The optimizer alone.
    pub fn new(optimizer: O) -> Recipe<O> {
        Recipe {
            optimizer,
            penalties: Vec::new(),
            clip: None,
            batches: 1,
            frozen: Vec::new(),
            sum: Floats::default(),
            gathered: (0, 0),
            packed: Default::default(),
        }
    }

    /// The same with a penalty on all parameters, biases too.
    pub fn penalty(mut self, penalty: Penalty) -> Recipe<O> {
        self.penalties.push((penalty, None));
        self
    }

    /// The same with a penalty on some parameters, by their places: those of
    /// [`network::select`](crate::network::select), say.
    pub fn penalty_on(mut self, penalty: Penalty, params: Vec<Range<usize>>) -> Recipe<O> {
        self.penalties.push((penalty, Some(params)));
        self
    }

    /// The same with clipping.
    pub fn clip(self, clip: Clip) -> Recipe<O> {
        Recipe { clip: Some(clip), ..self }
    }

    /// The same with a step for every so many batches: that of one batch of all their samples, up to rounding. Each batch's call gives
    /// its own loss. [`Recipe::flush`] takes the step of those that are left.
    ///
    /// # Panics
    ///
    /// When it is 0.
    pub fn accumulate(self, batches: usize) -> Recipe<O> {
        assert!(batches > 0, "a step takes a batch at least");
        Recipe { batches, ..self }
    }

    /// The same with parameters that no step changes, by their places, beside those that are frozen already. Optimizers know nothing of
    /// them: neither decays they nor do they count in a norm. It is PyTorch's `requires_grad = False`, so a batch norm of frozen
    /// parameters normalises as before, and its running statistics follow the batches.
    pub fn freeze(mut self, params: Vec<Range<usize>>) -> Recipe<O> {
        self.frozen.extend(params.into_iter().filter(|range| !range.is_empty()));
        self.frozen.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in self.frozen.drain(..) {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        self.frozen = joined;
        self
    }

    /// Takes the step of the batches since the last one, if there are any: the end of an epoch whose batches are no multiple.
    pub fn flush(&mut self, params: &mut [f32]) {
        self.flush_on(1, params);
    }

    fn flush_on(&mut self, threads: usize, params: &mut [f32]) {
        if self.gathered.0 > 0 {
            let mut sum = std::mem::take(&mut self.sum);
            let samples = self.gathered.1;
            let of_batches = sum.get_mut();
            update::scale(Isa::best(), of_batches, 1.0 / samples as f32);
            self.take(params, of_batches, samples, threads);
            of_batches.fill(0.0);
            (self.sum, self.gathered) = (sum, (0, 0));
        }
    }

    /// Whether the next step is that of the next batch alone, nothing being accumulated.
    pub fn is_flushed(&self) -> bool {
        self.gathered.0 == 0
    }

    /// How many of so many parameters are trained.
    pub fn trained(&self, params: usize) -> usize {
        params - self.frozen.iter().map(Range::len).sum::<usize>()
    }

    /// What the penalties add to the loss.
    fn penalties_of(&self, params: &[f32]) -> f64 {
        let on = |(penalty, ranges): &(Penalty, Option<Vec<Range<usize>>>)| match ranges {
            None => penalty.of(params),
            Some(ranges) => ranges.iter().map(|range| penalty.of(&params[range.clone()])).sum(),
        };
        self.penalties.iter().map(on).sum()
    }

    /// The step of a gradient.
    fn take(&mut self, params: &mut [f32], gradients: &mut [f32], samples: usize, threads: usize) -> f32 {
        for (penalty, ranges) in &self.penalties {
            let all = 0..params.len();
            for range in ranges.as_deref().unwrap_or(std::slice::from_ref(&all)) {
                penalty.add_gradient(&params[range.clone()], &mut gradients[range.clone()]);
            }
        }
        let len = params.len();
        match self.frozen.as_slice() {
            [] => self.of_trained(params, gradients, samples, threads),
            // What is trained is next to each other.
            [Range { start: 0, end }] => self.of_trained(&mut params[*end..], &mut gradients[*end..], samples, threads),
            [Range { start, end }] if *end == len => {
                self.of_trained(&mut params[..*start], &mut gradients[..*start], samples, threads)
            }
            _ => {
                let [mut packed, mut packed_gradients] = std::mem::take(&mut self.packed);
                packed.clear();
                packed_gradients.clear();
                for range in trained(&self.frozen, len) {
                    packed.extend_from_slice(&params[range.clone()]);
                    packed_gradients.extend_from_slice(&gradients[range]);
                }
                let added = self.of_trained(&mut packed, &mut packed_gradients, samples, threads);
                let mut rest = packed.as_slice();
                for range in trained(&self.frozen, len) {
                    let (values, behind) = rest.split_at(range.len());
                    params[range].copy_from_slice(values);
                    rest = behind;
                }
                self.packed = [packed, packed_gradients];
                added
            }
        }
    }

    fn of_trained(&mut self, params: &mut [f32], gradients: &mut [f32], samples: usize, threads: usize) -> f32 {
        if let Some(clip) = self.clip {
            clip.apply(gradients);
        }
        self.optimizer.follow(params, gradients, samples, threads)
    }
}

/// What is between frozen parameters, which are in order and apart.
fn trained(frozen: &[Range<usize>], len: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = std::iter::once(0).chain(frozen.iter().map(|range| range.end));
    let ends = frozen.iter().map(|range| range.start).chain(std::iter::once(len));
    starts.zip(ends).map(|(start, end)| start..end).filter(|range| !range.is_empty())
}

impl<O: Optimizer> Optimizer for Recipe<O> {
    /// A step of a batch of one sample. What [`step`](crate::network::step) calls is `follow`, which needs no copy of the gradients.
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        self.follow(params, &mut gradients.to_vec(), 1, 1);
    }

    fn follow(&mut self, params: &mut [f32], gradients: &mut [f32], samples: usize, threads: usize) -> f32 {
        let penalty = self.penalties_of(params) as f32;
        if self.batches == 1 {
            return penalty + self.take(params, gradients, samples, threads);
        }
        let sum = self.sum.get_mut();
        memory::resize(sum, params.len(), 0.0);
        update::gather(Isa::best(), sum, gradients, samples as f32);
        self.gathered = (self.gathered.0 + 1, self.gathered.1 + samples);
        if self.gathered.0 == self.batches {
            self.flush_on(threads, params);
        }
        penalty
    }

    #[cfg(feature = "cuda")]
    fn on_card(&mut self) -> Option<&mut dyn CardOptimizer> {
        self.optimizer.on_card()?;
        Some(self)
    }
}

#[cfg(feature = "cuda")]
impl<O: Optimizer> Recipe<O> {
    /// Each penalty with each of the ranges that it is on.
    fn each_penalty(&self, all: Range<usize>) -> Vec<(Penalty, Range<usize>)> {
        let on = |(penalty, ranges): &(Penalty, Option<Vec<Range<usize>>>)| {
            let ranges = ranges.clone().unwrap_or_else(|| vec![all.clone()]);
            ranges.into_iter().map(|range| (*penalty, range)).collect::<Vec<_>>()
        };
        self.penalties.iter().flat_map(on).collect()
    }

    /// The step of a gradient.
    fn take_on_card(&mut self, update: &mut Update<'_>) -> Result<(), Error> {
        for (penalty, range) in self.each_penalty(update.all()) {
            update.penalize(penalty, range)?;
        }
        let all = update.all();
        update.train_only(trained(&self.frozen, all.len()));
        if let Some(clip) = self.clip {
            update.clip(clip)?;
        }
        self.optimizer.on_card().map_or(Ok(()), |optimizer| optimizer.add_step(update))
    }
}

#[cfg(feature = "cuda")]
impl<O: Optimizer> CardOptimizer for Recipe<O> {
    fn add_step(&mut self, update: &mut Update<'_>) -> Result<(), Error> {
        for (penalty, range) in self.each_penalty(update.all()) {
            update.note(penalty, range)?;
        }
        if self.batches == 1 {
            return self.take_on_card(update);
        }
        update.gather(&mut self.sum)?;
        self.gathered = (self.gathered.0 + 1, self.gathered.1 + update.samples());
        if self.gathered.0 == self.batches {
            update.go_on_with(&mut self.sum, self.gathered.1)?;
            self.take_on_card(update)?;
            update.clear(&mut self.sum)?;
            self.gathered = (0, 0);
        }
        Ok(())
    }
}

impl<O: Stateful> Stateful for Recipe<O> {
    fn set_lr(&mut self, lr: f64) {
        self.optimizer.set_lr(lr);
    }

    /// That of the optimizer: where nothing is accumulated there is nothing else.
    fn state(&self) -> OptimizerState {
        self.optimizer.state()
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), Error> {
        self.optimizer.restore(state)
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // One place is meant.
mod tests {
    use super::*;
    use crate::{Adam, Sgd};

    const GRADIENTS: [f32; 5] = [1.0, -2.0, 0.5, 4.0, -1.0];

    fn moved(mut recipe: Recipe<Sgd>) -> ([f32; 5], f32) {
        let mut params = [1.0, -1.0, 0.0, 2.0, 3.0];
        let added = recipe.follow(&mut params, &mut GRADIENTS.clone(), 3, 1);
        ([0, 1, 2, 3, 4].map(|at| params[at] - [1.0, -1.0, 0.0, 2.0, 3.0][at]), added)
    }

    fn recipe() -> Recipe<Sgd> {
        Recipe::new(Sgd::new(1.0))
    }

    #[test]
    fn an_optimizer_alone_is_left_alone() {
        assert_eq!(moved(recipe()), (GRADIENTS.map(|gradient| -gradient), 0.0));
    }

    #[test]
    fn penalties_are_of_what_they_are_on() {
        let (by, added) = moved(recipe().penalty(Penalty::l2(0.25)).penalty_on(Penalty::l1(0.5), vec![1..3, 4..5]));
        assert_eq!(by, [-1.5, 3.0, -0.5, -5.0, -1.0]);
        assert_eq!(added, 0.25 * 15.0 + 0.5 * 4.0);
    }

    #[test]
    fn frozen_parameters_stay_and_count_in_no_norm() {
        let frozen = |ranges: &[Range<usize>]| {
            let clipped = recipe().freeze(ranges.to_vec()).clip(Clip::Norm(1.0)).penalty(Penalty::l2(1.0));
            moved(clipped).0.map(|by| by != 0.0)
        };
        assert_eq!(frozen(&[0..2]), [false, false, true, true, true]);
        assert_eq!(frozen(&[3..5]), [true, true, true, false, false]);
        assert_eq!(frozen(&[3..4, 1..2]), [true, false, true, false, true]);
        assert_eq!(frozen(&[3..5, 0..3]), [false; 5]);
        // The norm of what is left is 1: it need not be clipped.
        let (by, _) = moved(recipe().freeze(vec![0..4]).clip(Clip::Norm(1.0)));
        assert!((by[4] - 1.0).abs() < 1e-5, "{by:?}");
        let (by, _) = moved(recipe().freeze(vec![1..2, 3..5]).clip(Clip::Value(0.75)));
        assert_eq!(by, [-0.75, 0.0, -0.5, 0.0, 0.0]);
    }

    #[test]
    fn an_optimizer_keeps_what_it_knows_of_what_is_trained() {
        let step = |recipe: &mut Recipe<Adam>| {
            let mut params = [1.0; 5];
            for _ in 0..4 {
                recipe.follow(&mut params, &mut GRADIENTS.clone(), 1, 1);
            }
            params
        };
        let all = step(&mut Recipe::new(Adam::new(0.1)));
        let mut recipe = Recipe::new(Adam::new(0.1)).freeze(vec![1..2, 3..4]);
        assert_eq!(step(&mut recipe), [all[0], 1.0, all[2], 1.0, all[4]]);
        assert_eq!(recipe.state().values[0].len(), 3);
    }

    #[test]
    fn batches_are_accumulated_by_their_samples() {
        let mut recipe = recipe().accumulate(2).penalty(Penalty::l2(0.5));
        let mut params = [1.0, 2.0];
        assert_eq!(recipe.follow(&mut params, &mut [1.0, 0.0], 3, 1), 2.5);
        assert_eq!(params, [1.0, 2.0]);
        recipe.follow(&mut params, &mut [5.0, 4.0], 1, 1);
        assert!(recipe.is_flushed());
        // (3 * 1 + 5) / 4 + 1 and (0 + 4) / 4 + 2.
        assert_eq!(params, [-2.0, -1.0]);
        recipe.follow(&mut params, &mut [1.0, 1.0], 7, 1);
        assert!(!recipe.is_flushed());
        recipe.flush(&mut params);
        assert_eq!(params, [-1.0, -1.0]);
        recipe.flush(&mut params);
        assert_eq!(params, [-1.0, -1.0]);
    }

    #[test]
    fn what_is_no_number_is_not_hidden_by_clipping() {
        let mut gradients = [1.0, f32::NAN];
        Clip::Norm(1.0).apply(&mut gradients);
        assert!(gradients.iter().all(|gradient| gradient.is_nan()));
    }
}
