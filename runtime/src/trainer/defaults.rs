//! What a spec says of a training. The compiler writes it into the program, all literals.

/// What a spec says: what a program does unless its command line says otherwise.
///
/// ```
/// use netspec::trainer::{Data, Defaults, EvalMode, Loss, Numerics, Optimizer, OutputLoss, Train, Tricks};
///
/// const NET: Defaults = Defaults {
///     origin: "specs/net.yaml",
///     summary: "Net: 3 x 32 x 32 -> 2\n",
///     inputs: &[&[3, 32, 32]],
///     outputs: &[&[2]],
///     train: Some(Train {
///         data: Some(Data {
///             name: "cifar10",
///             file: None,
///             classes: &["airplane", "bird"],
///             mean: &[0.4915, 0.4823, 0.4468],
///             std: &[0.2470, 0.2435, 0.2616],
///         }),
///         losses: &[OutputLoss {
///             output: 0,
///             weight: 1.0,
///             loss: Loss::CrossEntropy { label_smoothing: 0.0, class_weights: &[] },
///         }],
///         optimizer: Optimizer::Sgd { lr: 1e-2, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 },
///         batch: 64,
///         epochs: 100,
///         shuffle: true,
///         seed: 0,
///         eval_mode: EvalMode::RunningStatistics,
///         numerics: Numerics::Fast,
///         tricks: Tricks::NONE,
///     }),
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Where the model comes from, as the user named it: `specs/res_deep.yaml with n_blocks = 100`.
    pub origin: &'static str,
    /// What `summary` prints.
    pub summary: &'static str,
    /// The shape of each input, per sample.
    pub inputs: &'static [&'static [usize]],
    /// The shape of each output, per sample.
    pub outputs: &'static [&'static [usize]],
    /// The train section; None: the spec has none, and `summary` alone can be asked for.
    pub train: Option<Train>,
}

/// A train section.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Train {
    /// The data set; None: it must be named when training.
    pub data: Option<Data>,
    /// What training makes small: the sum of these.
    pub losses: &'static [OutputLoss],
    /// How the parameters follow the gradient.
    pub optimizer: Optimizer,
    /// Samples of a step.
    pub batch: usize,
    /// Passes over the data.
    pub epochs: u64,
    /// Whether each epoch has an order of its own; else it is that of the files.
    pub shuffle: bool,
    /// Of every random choice.
    pub seed: u64,
    /// Which statistics evaluation normalises with.
    pub eval_mode: EvalMode,
    /// Which kernels may run.
    pub numerics: crate::Numerics,
    /// What a plain training does without.
    pub tricks: super::Tricks,
}

/// A data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Data {
    /// Its name.
    pub name: &'static str,
    /// Its file, when the spec names it.
    pub file: Option<&'static str>,
    /// The classes to keep, renumbered in this order; empty: all.
    pub classes: &'static [&'static str],
    /// The mean of each channel; empty: 0.
    pub mean: &'static [f32],
    /// The deviation of each channel; empty: 1.
    pub std: &'static [f32],
}

/// The loss of an output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputLoss {
    /// Which output, by its place.
    pub output: usize,
    /// How much it counts.
    pub weight: f32,
    /// What it is.
    pub loss: Loss,
}

/// A loss; each is the mean over the batch. Weights that are empty are all 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// [`crate::CrossEntropy`].
    CrossEntropy {
        /// The part of a target that is spread over all classes.
        label_smoothing: f32,
        /// How much each class counts.
        class_weights: &'static [f32],
    },
    /// [`crate::Nll`].
    Nll {
        /// How much each class counts.
        class_weights: &'static [f32],
    },
    /// [`crate::Mse`].
    Mse,
    /// [`crate::L1`].
    L1,
    /// [`crate::SmoothL1`].
    SmoothL1 {
        /// The distance below which it is a square.
        beta: f32,
    },
    /// [`crate::Huber`].
    Huber {
        /// The distance up to which it is a square.
        delta: f32,
    },
    /// [`crate::BceWithLogits`].
    BceWithLogits {
        /// How much a yes counts: a number for all values, or for each.
        pos_weight: &'static [f32],
    },
}

impl Loss {
    /// Whether its targets are classes; else they are values.
    pub(super) fn takes_label(&self) -> bool {
        matches!(self, Loss::CrossEntropy { .. } | Loss::Nll { .. })
    }

    /// What it is called in a spec.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Loss::CrossEntropy { .. } => "cross_entropy",
            Loss::Nll { .. } => "nll",
            Loss::Mse => "mse",
            Loss::L1 => "l1",
            Loss::SmoothL1 { .. } => "smooth_l1",
            Loss::Huber { .. } => "huber",
            Loss::BceWithLogits { .. } => "bce_with_logits",
        }
    }
}

/// An optimizer and its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// [`crate::Sgd`].
    Sgd {
        /// The learning rate.
        lr: f64,
        /// How much of the last step is kept.
        momentum: f64,
        /// How much of the gradient the momentum leaves out.
        dampening: f64,
        /// Whether a step looks ahead along the momentum.
        nesterov: bool,
        /// What is added to the gradient for each unit of a parameter.
        weight_decay: f64,
    },
    /// [`crate::Adam`].
    Adam {
        /// The learning rate.
        lr: f64,
        /// The decay of the mean of gradients.
        beta1: f64,
        /// The decay of the mean of their squares.
        beta2: f64,
        /// What is added to the denominator.
        eps: f64,
        /// What is added to the gradient for each unit of a parameter.
        weight_decay: f64,
    },
    /// [`crate::AdamW`].
    AdamW {
        /// The learning rate.
        lr: f64,
        /// The decay of the mean of gradients.
        beta1: f64,
        /// The decay of the mean of their squares.
        beta2: f64,
        /// What is added to the denominator.
        eps: f64,
        /// What part of a parameter each step takes away, times the learning rate.
        weight_decay: f64,
    },
    /// [`crate::RmsProp`].
    RmsProp {
        /// The learning rate.
        lr: f64,
        /// The decay of the mean of squares.
        alpha: f64,
        /// What is added to the denominator.
        eps: f64,
        /// How much of the last step is kept.
        momentum: f64,
        /// Whether gradients are divided by their deviation.
        centered: bool,
        /// What is added to the gradient for each unit of a parameter.
        weight_decay: f64,
    },
}

/// Which statistics batch normalisation evaluates with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalMode {
    /// Those that training gathered; no dropout.
    RunningStatistics,
    /// Those of each batch, as in training; with dropout.
    BatchStatistics,
}

impl Optimizer {
    /// The learning rate.
    pub(super) fn lr(&self) -> f64 {
        match *self {
            Optimizer::Sgd { lr, .. }
            | Optimizer::Adam { lr, .. }
            | Optimizer::AdamW { lr, .. }
            | Optimizer::RmsProp { lr, .. } => lr,
        }
    }

    /// The optimizer before its first step, with this learning rate.
    pub(super) fn begin(&self, lr: f64) -> Box<dyn crate::Stateful> {
        match *self {
            Optimizer::Sgd { lr: _, momentum, dampening, nesterov, weight_decay } => Box::new(
                crate::Sgd::new(lr)
                    .momentum(momentum)
                    .dampening(dampening)
                    .nesterov(nesterov)
                    .weight_decay(weight_decay),
            ),
            Optimizer::Adam { lr: _, beta1, beta2, eps, weight_decay } => {
                Box::new(crate::Adam::new(lr).betas(beta1, beta2).eps(eps).weight_decay(weight_decay))
            }
            Optimizer::AdamW { lr: _, beta1, beta2, eps, weight_decay } => {
                Box::new(crate::AdamW::new(lr).betas(beta1, beta2).eps(eps).weight_decay(weight_decay))
            }
            Optimizer::RmsProp { lr: _, alpha, eps, momentum, centered, weight_decay } => Box::new(
                crate::RmsProp::new(lr)
                    .alpha(alpha)
                    .eps(eps)
                    .momentum(momentum)
                    .centered(centered)
                    .weight_decay(weight_decay),
            ),
        }
    }
}
