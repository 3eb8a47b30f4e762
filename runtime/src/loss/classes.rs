//! Losses of scores for classes, and a label.

use super::Loss;
use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::{CardLoss, Targets, program::LossKind};
use crate::isa::Isa;
use crate::kernels::log_softmax::{exponential, exponentials, log_softmax_lines};

/// An output that has a score for each class: `[f32; N]`, with one label; or a map of `N` channels, `[[[f32; W]; H]; N]`, with a label for
/// each of its positions, `[[usize; W]; H]`. Maps have one to three spatial dimensions.
///
/// It is sealed.
pub trait Scores: sealed::Sealed {
    /// What is wanted of one sample.
    type Labels: Sync;
    /// How many classes there are.
    const CLASSES: usize;

    /// The labels of a sample, the last index running fastest.
    fn labels(labels: &Self::Labels) -> &[usize];
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! scores {
    ($($output:ty, $labels:ty, |$of:ident| $flat:expr, [$($size:ident)*];)*) => {$(
        impl<const N: usize, $(const $size: usize),*> sealed::Sealed for $output {}

        impl<const N: usize, $(const $size: usize),*> Scores for $output {
            type Labels = $labels;
            const CLASSES: usize = N;

            fn labels($of: &$labels) -> &[usize] {
                $flat
            }
        }
    )*};
}
scores! {
    [f32; N], usize, |label| std::slice::from_ref(label), [];
    [[f32; W]; N], [usize; W], |labels| labels, [W];
    [[[f32; W]; H]; N], [[usize; W]; H], |labels| labels.as_flattened(), [W H];
    [[[[f32; W]; H]; D]; N], [[[usize; W]; H]; D], |labels| labels.as_flattened().as_flattened(), [W H D];
}

/// `-log softmax(y)[label]` of logits y: the loss of a classifier whose last layer is linear. Of a map it is the mean over the positions,
/// each of which has a label: the loss of a segmentation.
///
/// Source: PyTorch, [`torch.nn.CrossEntropyLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html). The
/// derivative by `y[i]` is `softmax(y)[i]`, less 1 at the label.
///
/// ```
/// use netspec::CrossEntropy;
///
/// let smoothed = CrossEntropy.label_smoothing(0.1);
/// let weighted = CrossEntropy.class_weights([1.0, 20.0]).label_smoothing(0.1);
/// # let _ = (smoothed, weighted);
/// ```
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

    /// The same with targets that are mixed with all classes: this part of each, 0 to 1, is spread evenly.
    ///
    /// # Panics
    ///
    /// When it is not from 0 to 1.
    pub fn label_smoothing(self, part: f32) -> CrossEntropyWith<()> {
        CrossEntropyWith { smoothing: 0.0, weights: () }.label_smoothing(part)
    }

    /// The same with a weight for each class. Samples count in the mean over the batch as much as their class weighs.
    ///
    /// # Panics
    ///
    /// When a weight is below 0 or not finite.
    pub fn class_weights<const N: usize>(self, weights: [f32; N]) -> CrossEntropyWith<[f32; N]> {
        check_weights(&weights);
        CrossEntropyWith { smoothing: 0.0, weights }
    }
}

/// A [`CrossEntropy`] with smoothed labels, weighted classes or both. `W` is `()`, or the weights of `N` classes, `[f32; N]`.
///
/// With weights w, smoothing e and K classes the loss of a sample is `-(1 - e) w[label] log p[label] - e/K (sum over c of w[c] log p[c])`
/// with `p = softmax(y)`, and it counts `w[label]` in the mean over the batch. Source: PyTorch, as of [`CrossEntropy`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropyWith<W> {
    smoothing: f32,
    weights: W,
}

impl<W> CrossEntropyWith<W> {
    /// As [`CrossEntropy::label_smoothing`].
    ///
    /// # Panics
    ///
    /// When the part is not from 0 to 1.
    pub fn label_smoothing(self, part: f32) -> CrossEntropyWith<W> {
        assert!((0.0..=1.0).contains(&part), "a part of a target is from 0 to 1, not {part}");
        CrossEntropyWith { smoothing: part, ..self }
    }
}

impl CrossEntropyWith<()> {
    /// As [`CrossEntropy::class_weights`].
    ///
    /// # Panics
    ///
    /// When a weight is below 0 or not finite.
    pub fn class_weights<const N: usize>(self, weights: [f32; N]) -> CrossEntropyWith<[f32; N]> {
        check_weights(&weights);
        CrossEntropyWith { smoothing: self.smoothing, weights }
    }
}

/// `-y[label]` of logarithms of probabilities y, as `log_softmax` gives them. Of a map it is the mean over the positions, each of which
/// has a label.
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

    /// The same with a weight for each class. Samples count in the mean over the batch as much as their class weighs.
    ///
    /// # Panics
    ///
    /// When a weight is below 0 or not finite.
    pub fn class_weights<const N: usize>(self, weights: [f32; N]) -> NllWith<N> {
        check_weights(&weights);
        NllWith { weights }
    }
}

/// An [`Nll`] with weighted classes: `-w[label] y[label]`, which counts `w[label]` in the mean over the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NllWith<const N: usize> {
    weights: [f32; N],
}

fn check_weights(weights: &[f32]) {
    let wrong = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0));
    assert!(wrong.is_none(), "the weight of a class is a finite number of 0 or more, not {wrong:?}");
}

/// Checks that the label of a sample of a batch is one of the classes.
///
/// # Errors
///
/// [`Error::Label`] when it is not.
pub fn check_label(sample: usize, label: usize, classes: usize) -> Result<(), Error> {
    if label < classes { Ok(()) } else { Err(Error::Label { sample, label, classes }) }
}

fn check_labels<O: Scores>(sample: usize, labels: &O::Labels) -> Result<(), Error> {
    O::labels(labels).iter().try_for_each(|&label| check_label(sample, label, O::CLASSES))
}

/// The weight of a class; without weights 1.
fn weight(weights: &[f32], label: usize) -> f32 {
    if weights.is_empty() { 1.0 } else { weights[label] }
}

/// What a sample of these labels counts in the mean over the batch: the mean of their weights.
pub(crate) fn weight_of_labels(weights: &[f32], labels: &[usize]) -> f32 {
    if weights.is_empty() {
        return 1.0;
    }
    let sum: f64 = labels.iter().map(|&label| f64::from(weights[label])).sum();
    (sum / labels.len() as f64) as f32
}

/// [`CrossEntropyWith`] of one sample: `output` is `[classes][positions]`, with a label for each position; no weights are all 1.
pub(crate) fn cross_entropy(
    output: &[f32],
    labels: &[usize],
    smoothing: f32,
    weights: &[f32],
    derivative: &mut [f32],
) -> f32 {
    if let ([label], true) = (labels, smoothing == 0.0 && weights.is_empty()) {
        return CrossEntropy.of(output, *label, derivative);
    }
    let positions = labels.len();
    let classes = output.len() / positions;
    let derivative = &mut derivative[..output.len()];
    log_softmax_lines(Isa::PORTABLE, output, positions, derivative);
    let (own, spread) = (1.0 - smoothing, smoothing / classes as f32);
    let mut loss = 0.0;
    for (position, &label) in labels.iter().enumerate() {
        loss -= f64::from(own * weight(weights, label)) * f64::from(derivative[label * positions + position]);
    }
    let all = if weights.is_empty() { classes as f32 } else { weights.iter().sum() };
    let each = 1.0 / positions as f32;
    for (class, line) in derivative.chunks_exact_mut(positions).enumerate() {
        let of_class = spread * weight(weights, class);
        if smoothing > 0.0 {
            let sum: f64 = line.iter().map(|&log| f64::from(log)).sum();
            loss -= f64::from(of_class) * sum;
        }
        exponential(Isa::PORTABLE, line);
        for (value, &label) in line.iter_mut().zip(labels) {
            let of_label = own * weight(weights, label);
            let at_label = if label == class { of_label } else { 0.0 };
            *value = (*value * (of_label + spread * all) - at_label - of_class) * each;
        }
    }
    (loss / positions as f64) as f32
}

/// [`NllWith`] of one sample, likewise.
pub(crate) fn nll(output: &[f32], labels: &[usize], weights: &[f32], derivative: &mut [f32]) -> f32 {
    let positions = labels.len();
    let each = 1.0 / positions as f32;
    derivative.fill(0.0);
    let mut loss = 0.0;
    for (position, &label) in labels.iter().enumerate() {
        let (at, weight) = (label * positions + position, weight(weights, label));
        derivative[at] = -weight * each;
        loss -= f64::from(weight) * f64::from(output[at]);
    }
    (loss / positions as f64) as f32
}

/// What losses of labels have in common.
trait OfLabels {
    /// The weights of the classes; none are all 1.
    fn weights(&self) -> &[f32] {
        &[]
    }

    /// The loss of one sample.
    fn value(&self, output: &[f32], labels: &[usize], derivative: &mut [f32]) -> f32;

    /// What it is to a graphics card, and its number there.
    #[cfg(feature = "cuda")]
    fn kind(&self) -> (LossKind, f32);
}

impl OfLabels for CrossEntropy {
    fn value(&self, output: &[f32], labels: &[usize], derivative: &mut [f32]) -> f32 {
        cross_entropy(output, labels, 0.0, &[], derivative)
    }

    #[cfg(feature = "cuda")]
    fn kind(&self) -> (LossKind, f32) {
        (LossKind::CrossEntropy, 0.0)
    }
}

impl OfLabels for CrossEntropyWith<()> {
    fn value(&self, output: &[f32], labels: &[usize], derivative: &mut [f32]) -> f32 {
        cross_entropy(output, labels, self.smoothing, &[], derivative)
    }

    #[cfg(feature = "cuda")]
    fn kind(&self) -> (LossKind, f32) {
        (LossKind::CrossEntropy, self.smoothing)
    }
}

impl<const N: usize> OfLabels for CrossEntropyWith<[f32; N]> {
    fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn value(&self, output: &[f32], labels: &[usize], derivative: &mut [f32]) -> f32 {
        cross_entropy(output, labels, self.smoothing, &self.weights, derivative)
    }

    #[cfg(feature = "cuda")]
    fn kind(&self) -> (LossKind, f32) {
        (LossKind::CrossEntropy, self.smoothing)
    }
}

impl OfLabels for Nll {
    fn value(&self, output: &[f32], labels: &[usize], derivative: &mut [f32]) -> f32 {
        nll(output, labels, &[], derivative)
    }

    #[cfg(feature = "cuda")]
    fn kind(&self) -> (LossKind, f32) {
        (LossKind::Nll, 0.0)
    }
}

impl<const N: usize> OfLabels for NllWith<N> {
    fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn value(&self, output: &[f32], labels: &[usize], derivative: &mut [f32]) -> f32 {
        nll(output, labels, &self.weights, derivative)
    }

    #[cfg(feature = "cuda")]
    fn kind(&self) -> (LossKind, f32) {
        (LossKind::Nll, 0.0)
    }
}

/// Losses of outputs of `N` classes; their weights are as many.
macro_rules! losses_of_labels {
    ($($loss:ty),*) => {$(
        impl<const N: usize, T> Loss<[T; N]> for $loss
        where
            [T; N]: Scores,
        {
            type Target = <[T; N] as Scores>::Labels;

            fn loss(&self, output: &[f32], target: &Self::Target, derivative: &mut [f32]) -> f32 {
                self.value(output, <[T; N]>::labels(target), derivative)
            }

            fn weight(&self, target: &Self::Target) -> f32 {
                weight_of_labels(self.weights(), <[T; N]>::labels(target))
            }

            fn check(&self, sample: usize, target: &Self::Target) -> Result<(), Error> {
                check_labels::<[T; N]>(sample, target)
            }

            #[cfg(feature = "cuda")]
            fn on_card(&self, targets: &mut dyn Iterator<Item = &Self::Target>) -> Option<CardLoss> {
                let (kind, number) = self.kind();
                // Checked to be classes, of which there are fewer.
                let labels = targets.flat_map(<[T; N]>::labels).map(|label| *label as u32).collect();
                let weights = self.weights().to_vec();
                Some(CardLoss { number, weights, ..CardLoss::new(kind, Targets::Labels(labels)) })
            }
        }
    )*};
}
losses_of_labels!(CrossEntropy, CrossEntropyWith<()>, CrossEntropyWith<[f32; N]>, Nll, NllWith<N>);
