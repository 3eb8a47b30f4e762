//! How far outputs are from what was wanted.

use crate::isa::Isa;
use crate::kernels::log_softmax::exponentials;
use crate::{Error, Sample};

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
    note = "`CrossEntropy` and `Nll` take one score for each class, `[f32; N]`; `Mse` takes any one array"
)]
pub trait Loss<Output>: Sync {
    /// What is wanted of one sample: a class, say, or an output.
    type Target: Sync;

    /// The loss of one sample. Writes its derivative by each value of the output to `derivative`, which has any content before.
    /// Both have the values of one `Output`, the last index running fastest.
    fn loss(&self, output: &[f32], target: &Self::Target, derivative: &mut [f32]) -> f32;

    /// Says what is wrong with the target of a sample of the batch, by its number. It is asked for the whole batch before anything runs.
    ///
    /// # Errors
    ///
    /// Any: the step does not run and gives the error. [`Error::Target`] is there for it.
    fn check(&self, sample: usize, target: &Self::Target) -> Result<(), Error> {
        let _ = (sample, target);
        Ok(())
    }
}

/// `-log softmax(y)[label]` of logits y: the loss of a classifier whose last layer is linear.
///
/// Source: PyTorch, [`torch.nn.CrossEntropyLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html). The
/// derivative by `y[i]` is `softmax(y)[i]`, less 1 at the label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrossEntropy;

impl CrossEntropy {
    /// The loss of one sample, as [`Loss::loss`]; `label` is below the length of `output`.
    pub fn of(self, output: &[f32], label: usize, derivative: &mut [f32]) -> f32 {
        let derivative = &mut derivative[..output.len()];
        // In loops of any machine: a loss knows no workspace, and is the same bits whatever instructions that has.
        let (largest, sum) = exponentials(Isa::PORTABLE, output, derivative);
        let scale = (1.0 / sum) as f32;
        derivative.iter_mut().for_each(|value| *value *= scale);
        derivative[label] -= 1.0;
        sum.ln() as f32 - (output[label] - largest)
    }
}

/// `-y[label]` of logarithms of probabilities y, as `log_softmax` gives them.
///
/// Source: PyTorch, [`torch.nn.NLLLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nll;

impl Nll {
    /// The loss of one sample, as [`Loss::loss`]; `label` is below the length of `output`.
    pub fn of(self, output: &[f32], label: usize, derivative: &mut [f32]) -> f32 {
        derivative.fill(0.0);
        derivative[label] = -1.0;
        -output[label]
    }
}

/// The mean of `(y - target)^2` over the values of an output, and over the batch.
///
/// Source: PyTorch, [`torch.nn.MSELoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mse;

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

/// Checks that the label of a sample of a batch is one of the classes.
///
/// # Errors
///
/// [`Error::Label`] when it is not.
pub fn check_label(sample: usize, label: usize, classes: usize) -> Result<(), Error> {
    if label < classes { Ok(()) } else { Err(Error::Label { sample, label, classes }) }
}

impl<const N: usize> Loss<[f32; N]> for CrossEntropy {
    type Target = usize;

    fn loss(&self, output: &[f32], target: &usize, derivative: &mut [f32]) -> f32 {
        self.of(output, *target, derivative)
    }

    fn check(&self, sample: usize, target: &usize) -> Result<(), Error> {
        check_label(sample, *target, N)
    }
}

impl<const N: usize> Loss<[f32; N]> for Nll {
    type Target = usize;

    fn loss(&self, output: &[f32], target: &usize, derivative: &mut [f32]) -> f32 {
        self.of(output, *target, derivative)
    }

    fn check(&self, sample: usize, target: &usize) -> Result<(), Error> {
        check_label(sample, *target, N)
    }
}

impl<Output: Sample + Sync> Loss<Output> for Mse {
    type Target = Output;

    fn loss(&self, output: &[f32], target: &Output, derivative: &mut [f32]) -> f32 {
        self.of(output, Output::flat(std::slice::from_ref(target)), derivative)
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
