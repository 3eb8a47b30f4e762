//! How far outputs are from what was wanted.

mod classes;
mod several;
mod values;

use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::CardLoss;

pub use classes::{CrossEntropy, CrossEntropyWith, Nll, NllWith, Scores, check_label};
#[cfg(feature = "trainer")]
pub(crate) use classes::{cross_entropy, nll, weight_of_labels};
pub use several::{Losses, NoLoss, Same, Scaled};
#[cfg(feature = "trainer")]
pub(crate) use values::bce_with_logits;
pub use values::{BceWithLogits, Huber, L1, Mse, SmoothL1};

/// How far the output of one sample is from what was wanted. The loss of a batch is the mean over its samples.
///
/// One's own loss is a type with a method:
///
/// ```
/// use netspec::Loss;
///
/// /// The sum of `|y - target|`.
/// struct Distance;
///
/// impl Loss<[f32; 3]> for Distance {
///     type Target = [f32; 3];
///
///     fn loss(&self, output: &[f32], target: &[f32; 3], derivative: &mut [f32]) -> f32 {
///         for i in 0..3 {
///             derivative[i] = (output[i] - target[i]).signum();
///         }
///         (0..3).map(|i| (output[i] - target[i]).abs()).sum()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a loss of an output `{Output}`",
    note = "`CrossEntropy` and `Nll` take a score for each class, `[f32; N]`, or a map of them; `Mse` and its like take any one array",
    note = "of several outputs a tuple has a loss for each: `(CrossEntropy, Mse)`"
)]
pub trait Loss<Output>: Sync {
    /// What is wanted of one sample: a class, say, or an output.
    type Target: Sync;

    /// The loss of one sample. Writes its derivative by each value of the output to `derivative`, which has any content before.
    /// Both have the values of one `Output`, the last index running fastest.
    fn loss(&self, output: &[f32], target: &Self::Target, derivative: &mut [f32]) -> f32;

    /// What a sample of this target counts in the mean over the batch, which is the sum of the losses over the sum of these: 1 unless a
    /// loss says otherwise. With a weight for each class, which [`Loss::loss`] multiplies with, it is that weight.
    fn weight(&self, target: &Self::Target) -> f32 {
        let _ = target;
        1.0
    }

    /// Says what is wrong with the target of a sample of the batch, by its number. It is asked for the whole batch before anything runs.
    ///
    /// # Errors
    ///
    /// Any: the step does not run and gives the error. [`Error::Target`] is there for it.
    fn check(&self, sample: usize, target: &Self::Target) -> Result<(), Error> {
        let _ = (sample, target);
        Ok(())
    }

    /// What it is to the kernels of a graphics card, with the targets of a batch; None of a loss that has none.
    #[cfg(feature = "cuda")]
    fn on_card(&self, targets: &mut dyn Iterator<Item = &Self::Target>) -> Option<CardLoss> {
        let _ = targets;
        None
    }
}

/// The class of the largest score, the first of equals; a NaN is larger than any number. Source: PyTorch, `torch.argmax`.
///
/// ```
/// assert_eq!(netspec::argmax(&[0.1, 0.7, 0.7]), 1);
/// ```
pub fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (class, &score) in scores.iter().enumerate() {
        if score > scores[best] || (score.is_nan() && !scores[best].is_nan()) {
            best = class;
        }
    }
    best
}

/// The part of the samples, 0 to 1, whose largest score is that of their label. NaN of no samples.
///
/// # Errors
///
/// [`Error::Lengths`] when there is not one label for each sample.
pub fn accuracy<const N: usize>(outputs: &[[f32; N]], labels: &[usize]) -> Result<f64, Error> {
    if labels.len() != outputs.len() {
        return Err(Error::Lengths { what: "labels", found: labels.len(), of: "outputs", wanted: outputs.len() });
    }
    let right = outputs.iter().zip(labels).filter(|(scores, label)| argmax(*scores) == **label).count();
    Ok(right as f64 / outputs.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a loss and its derivative, by differences in f64, against a formula.
    fn check(output: &[f32], loss: f32, derivative: &[f32], formula: impl Fn(&[f64]) -> f64) {
        let exact: Vec<f64> = output.iter().copied().map(f64::from).collect();
        let wanted = formula(&exact);
        // A few roundings of f32 in numbers near 1.
        assert!((f64::from(loss) - wanted).abs() <= 5e-7 * wanted.abs().max(1.0), "{loss}, wanted {wanted}");
        for index in 0..exact.len() {
            let at = |step: f64| {
                let mut moved = exact.clone();
                moved[index] += step;
                formula(&moved)
            };
            let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((f64::from(derivative[index]) - wanted).abs() < 1e-6, "{index}: {derivative:?}, wanted {wanted}");
        }
    }

    fn cross_entropy(label: usize) -> impl Fn(&[f64]) -> f64 {
        move |y| {
            let largest = y.iter().copied().fold(f64::MIN, f64::max);
            y.iter().map(|value| (value - largest).exp()).sum::<f64>().ln() + largest - y[label]
        }
    }

    #[test]
    fn losses_and_derivatives_are_their_formulas() {
        let y = [0.3, -1.2, 2.0, 0.0];
        let d = &mut [f32::NAN; 4];
        for label in 0..4 {
            check(&y, CrossEntropy.of(&y, label, d), d, cross_entropy(label));
            check(&y, Nll.of(&y, label, d), d, |y| -y[label]);
        }
        let target = [1.0, 2.0, -0.5, 0.0];
        let mean = |y: &[f64]| y.iter().zip(target).map(|(y, t)| (y - f64::from(t)).powi(2)).sum::<f64>() / 4.0;
        check(&y, Mse.of(&y, &target, d), d, mean);
    }

    #[test]
    fn weights_and_smoothing_are_their_formulas() {
        let (y, weights) = ([0.3, -1.2, 2.0, 0.0, 1.5, -0.5], [0.5, 2.0, 1.25]);
        let log = |y: &[f64], class: usize, position: usize| {
            let sum: f64 = (0..3).map(|class| y[2 * class + position].exp()).sum();
            y[2 * class + position] - sum.ln()
        };
        let d = &mut [f32::NAN; 6];
        for labels in [[[0, 1]], [[2, 0]]] {
            let formula = |y: &[f64]| {
                let of = |position: usize| {
                    let label = labels[0][position];
                    let spread: f64 = (0..3).map(|class| f64::from(weights[class]) * log(y, class, position)).sum();
                    -0.75 * f64::from(weights[label]) * log(y, label, position) - 0.25 / 3.0 * spread
                };
                (of(0) + of(1)) / 2.0
            };
            let loss = CrossEntropy.label_smoothing(0.25).class_weights(weights);
            check(&y, Loss::<[[[f32; 2]; 1]; 3]>::loss(&loss, &y, &labels, d), d, formula);
            let weighed = Loss::<[[[f32; 2]; 1]; 3]>::weight(&loss, &labels);
            assert_eq!(weighed, (weights[labels[0][0]] + weights[labels[0][1]]) / 2.0);
            let nll = |y: &[f64]| {
                let of = |position: usize| {
                    let label = labels[0][position];
                    -f64::from(weights[label]) * y[2 * label + position]
                };
                (of(0) + of(1)) / 2.0
            };
            check(&y, Loss::<[[[f32; 2]; 1]; 3]>::loss(&Nll.class_weights(weights), &y, &labels, d), d, nll);
        }
    }

    #[test]
    fn losses_of_values_are_their_formulas() {
        let (y, target) = ([0.3_f32, -1.2, 2.0, 0.0], [1.0_f32, -1.0, -0.5, 0.25]);
        let d = &mut [f32::NAN; 4];
        let mean = |y: &[f64], of: &dyn Fn(f64) -> f64| {
            y.iter().zip(target).map(|(y, t)| of(y - f64::from(t))).sum::<f64>() / 4.0
        };
        check(&y, L1.of(&y, &target, d), d, |y| mean(y, &f64::abs));
        let smooth = |d: f64| if d.abs() < 0.5 { d * d } else { d.abs() - 0.25 };
        check(&y, SmoothL1::new(0.5).of(&y, &target, d), d, |y| mean(y, &smooth));
        let huber = |d: f64| if d.abs() <= 0.5 { d * d / 2.0 } else { 0.5 * (d.abs() - 0.25) };
        check(&y, Huber::new(0.5).of(&y, &target, d), d, |y| mean(y, &huber));
        let parts = [0.0_f32, 1.0, 0.25, 0.75];
        let (single, each) =
            (BceWithLogits::new().pos_weight(3.0), BceWithLogits::new().pos_weight([3.0, 0.5, 1.0, 2.0]));
        for (weights, loss) in [
            ([3.0_f64; 4], Loss::<[f32; 4]>::loss(&single, &y, &parts, d)),
            ([3.0, 0.5, 1.0, 2.0], Loss::<[f32; 4]>::loss(&each, &y, &parts, &mut [0.0; 4])),
        ] {
            let formula = |y: &[f64]| {
                let of = |at: usize| {
                    let (p, t) = (1.0 / (1.0 + (-y[at]).exp()), f64::from(parts[at]));
                    -weights[at] * t * p.ln() - (1.0 - t) * (1.0 - p).ln()
                };
                (0..4).map(of).sum::<f64>() / 4.0
            };
            let derivative = &mut [0.0; 4];
            let again = values::bce_with_logits(&y, &parts, &weights.map(|weight| weight as f32), derivative);
            assert_eq!(again, loss);
            check(&y, loss, derivative, formula);
        }
    }

    #[test]
    fn cross_entropy_is_stable() {
        let d = &mut [0.0; 3];
        let large = [1e4, -1e4, 9_999.0];
        check(&large, CrossEntropy.of(&large, 0, d), d, cross_entropy(0));
        check(&large, CrossEntropy.of(&large, 1, d), d, cross_entropy(1));
        assert!(CrossEntropy.of(&[0.0, f32::NAN, 1.0], 0, d).is_nan());
    }

    #[test]
    fn labels_are_checked() {
        let check = |label| Loss::<[f32; 2]>::check(&CrossEntropy, 5, &label);
        assert_eq!(check(1), Ok(()));
        assert_eq!(check(2), Err(Error::Label { sample: 5, label: 2, classes: 2 }));
    }

    #[test]
    fn accuracy_counts_the_first_of_the_largest() {
        assert_eq!(argmax(&[1.0, f32::NAN, 2.0, f32::NAN]), 1);
        assert_eq!(accuracy(&[[0.0, 0.0], [1.0, 2.0], [2.0, 1.0], [0.0, 1.0]], &[0, 1, 1, 1]), Ok(0.75));
        assert!(accuracy(&[[0.0; 2]], &[]).is_err());
    }
}
