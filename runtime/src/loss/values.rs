//! Losses of values, and values that are wanted.

use super::Loss;
#[cfg(feature = "cuda")]
use crate::cuda::{CardLoss, Targets, program::LossKind};
use crate::{Error, Sample};

/// The mean of `(y - target)^2` over the values of an output, and over the batch.
///
/// Source: PyTorch, [`torch.nn.MSELoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mse;

/// The mean of `|y - target|` over the values of an output, and over the batch. At 0 the derivative is 0.
///
/// Source: PyTorch, [`torch.nn.L1Loss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L1;

/// The mean over values and batch of `d^2 / (2 beta)` where `d = |y - target|` is below beta, and of `d - beta / 2` elsewhere.
///
/// Source: PyTorch, [`torch.nn.SmoothL1Loss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothL1 {
    beta: f32,
}

/// The mean over values and batch of `d^2 / 2` where `d = |y - target|` is at most delta, and of `delta (d - delta / 2)` elsewhere.
///
/// Source: PyTorch, [`torch.nn.HuberLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Huber {
    delta: f32,
}

/// The mean over values and batch of `-w t log p - (1 - t) log (1 - p)` with `p = sigmoid(y)` and a target t from 0 to 1 for each value:
/// several questions of yes or no at once. w, 1 unless [`pos_weight`](Self::pos_weight) sets it, is what a yes weighs.
///
/// Source: PyTorch,
/// [`torch.nn.BCEWithLogitsLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html). The derivative by
/// `y` is `(1 - t) - (1 + (w - 1) t) sigmoid(-y)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BceWithLogits<W = f32> {
    weights: W,
}

impl Mse {
    /// The loss of one sample, as [`Loss::loss`]; all have one length.
    pub fn of(self, output: &[f32], target: &[f32], derivative: &mut [f32]) -> f32 {
        let per_value = 1.0 / output.len() as f32;
        let mut sum = 0.0;
        for ((derivative, value), target) in derivative.iter_mut().zip(output).zip(target) {
            let difference = value - target;
            *derivative = 2.0 * difference * per_value;
            sum += difference * difference;
        }
        sum * per_value
    }
}

/// The mean of a function of `y - target` and of its derivative, which it gives.
fn mean(output: &[f32], target: &[f32], derivative: &mut [f32], of: impl Fn(f32) -> (f32, f32)) -> f32 {
    let per_value = 1.0 / output.len() as f32;
    let mut sum = 0.0;
    for ((derivative, value), target) in derivative.iter_mut().zip(output).zip(target) {
        let (loss, slope) = of(value - target);
        *derivative = slope * per_value;
        sum += f64::from(loss);
    }
    (sum / output.len() as f64) as f32
}

/// -1, 0 or 1; of a NaN 0, as PyTorch's.
fn sign(x: f32) -> f32 {
    f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

impl L1 {
    /// The loss of one sample, as [`Loss::loss`]; all have one length.
    pub fn of(self, output: &[f32], target: &[f32], derivative: &mut [f32]) -> f32 {
        mean(output, target, derivative, |d| (d.abs(), sign(d)))
    }
}

impl SmoothL1 {
    /// With the distance below which it is a square; PyTorch's is 1.
    ///
    /// # Panics
    ///
    /// When it is below 0 or not finite.
    pub const fn new(beta: f32) -> SmoothL1 {
        assert!(beta >= 0.0 && beta.is_finite(), "a beta is a finite number of 0 or more");
        SmoothL1 { beta }
    }

    /// The loss of one sample, as [`Loss::loss`]; all have one length.
    pub fn of(self, output: &[f32], target: &[f32], derivative: &mut [f32]) -> f32 {
        let SmoothL1 { beta } = self;
        mean(output, target, derivative, |d| match d.abs() {
            distance if distance < beta => (0.5 * d * d / beta, d / beta),
            distance => (distance - 0.5 * beta, sign(d)),
        })
    }
}

impl Huber {
    /// With the distance up to which it is a square; PyTorch's is 1.
    ///
    /// # Panics
    ///
    /// When it is not above 0, or not finite.
    pub const fn new(delta: f32) -> Huber {
        assert!(delta > 0.0 && delta.is_finite(), "a delta is a finite number above 0");
        Huber { delta }
    }

    /// The loss of one sample, as [`Loss::loss`]; all have one length.
    pub fn of(self, output: &[f32], target: &[f32], derivative: &mut [f32]) -> f32 {
        let Huber { delta } = self;
        mean(output, target, derivative, |d| match d.abs() {
            distance if distance <= delta => (0.5 * d * d, d),
            distance => (delta * (distance - 0.5 * delta), delta * sign(d)),
        })
    }
}

impl BceWithLogits {
    /// With a yes that weighs as much as a no.
    pub const fn new() -> BceWithLogits {
        BceWithLogits { weights: 1.0 }
    }

    /// With what a yes weighs: a number for all values, or for each of `N` of a flat output, `[f32; N]`.
    ///
    /// ```
    /// use netspec::BceWithLogits;
    ///
    /// let rare = BceWithLogits::new().pos_weight(20.0);
    /// let rare_each = BceWithLogits::new().pos_weight([20.0, 1.0, 3.5]);
    /// # let _ = (rare, rare_each);
    /// ```
    pub fn pos_weight<W>(self, weights: W) -> BceWithLogits<W> {
        BceWithLogits { weights }
    }
}

impl Default for BceWithLogits {
    fn default() -> BceWithLogits {
        BceWithLogits::new()
    }
}

/// [`BceWithLogits`] of one sample; the weights are one for all values, or one for each.
pub(crate) fn bce_with_logits(output: &[f32], target: &[f32], weights: &[f32], derivative: &mut [f32]) -> f32 {
    let per_value = 1.0 / output.len() as f32;
    let mut sum = 0.0;
    for (at, ((derivative, &y), &target)) in derivative.iter_mut().zip(output).zip(target).enumerate() {
        let weight = f64::from(if weights.len() == 1 { weights[0] } else { weights[at] });
        let (y, target) = (f64::from(y), f64::from(target));
        // log(1 + e^-y), which does not overflow, and sigmoid(-y).
        let small = (-y.abs()).exp();
        let softplus = small.ln_1p() + (-y).max(0.0);
        let no = if y > 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
        let both = 1.0 + (weight - 1.0) * target;
        sum += (1.0 - target) * y + both * softplus;
        *derivative = ((1.0 - target) - both * no) as f32 * per_value;
    }
    (sum / output.len() as f64) as f32
}

/// Checks that targets are from 0 to 1.
fn check_parts(sample: usize, target: &[f32]) -> Result<(), Error> {
    match target.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        None => Ok(()),
        Some(value) => {
            Err(Error::Target { sample, problem: format!("a target of `bce_with_logits` is from 0 to 1, not {value}") })
        }
    }
}

/// A loss as a graphics card knows it, and the values that are wanted of a batch.
#[cfg(feature = "cuda")]
fn card_loss<'a, Output: Sample + 'a>(
    (kind, number): (LossKind, f32),
    targets: &mut dyn Iterator<Item = &'a Output>,
) -> CardLoss {
    let values = targets.flat_map(|target| Output::flat(std::slice::from_ref(target))).copied().collect();
    CardLoss { number, ..CardLoss::new(kind, Targets::Values(values)) }
}

macro_rules! losses_of_values {
    ($($loss:ty, |$of:ident| $number:expr, $kind:ident;)*) => {$(
        impl<Output: Sample + Sync> Loss<Output> for $loss {
            type Target = Output;

            fn loss(&self, output: &[f32], target: &Output, derivative: &mut [f32]) -> f32 {
                self.of(output, Output::flat(std::slice::from_ref(target)), derivative)
            }

            #[cfg(feature = "cuda")]
            fn on_card(&self, targets: &mut dyn Iterator<Item = &Output>) -> Option<CardLoss> {
                let $of = self;
                Some(card_loss((LossKind::$kind, $number), targets))
            }
        }
    )*};
}
losses_of_values! {
    Mse, |_loss| 0.0, Mse;
    L1, |_loss| 0.0, L1;
    SmoothL1, |loss| loss.beta, SmoothL1;
    Huber, |loss| loss.delta, Huber;
}

impl<Output: Sample + Sync> Loss<Output> for BceWithLogits {
    type Target = Output;

    fn loss(&self, output: &[f32], target: &Output, derivative: &mut [f32]) -> f32 {
        bce_with_logits(output, Output::flat(std::slice::from_ref(target)), &[self.weights], derivative)
    }

    fn check(&self, sample: usize, target: &Output) -> Result<(), Error> {
        check_parts(sample, Output::flat(std::slice::from_ref(target)))
    }

    #[cfg(feature = "cuda")]
    fn on_card(&self, targets: &mut dyn Iterator<Item = &Output>) -> Option<CardLoss> {
        Some(card_loss((LossKind::BceWithLogits, self.weights), targets))
    }
}

impl<const N: usize> Loss<[f32; N]> for BceWithLogits<[f32; N]> {
    type Target = [f32; N];

    fn loss(&self, output: &[f32], target: &[f32; N], derivative: &mut [f32]) -> f32 {
        bce_with_logits(output, target, &self.weights, derivative)
    }

    fn check(&self, sample: usize, target: &[f32; N]) -> Result<(), Error> {
        check_parts(sample, target)
    }

    #[cfg(feature = "cuda")]
    fn on_card(&self, targets: &mut dyn Iterator<Item = &[f32; N]>) -> Option<CardLoss> {
        let weights = self.weights.to_vec();
        Some(CardLoss { weights, ..card_loss((LossKind::BceWithLogits, 1.0), targets) })
    }
}
