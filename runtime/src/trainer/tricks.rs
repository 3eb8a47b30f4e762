//! What a spec says of a training beyond loss and optimizer: all literals, as in `defaults.rs`.

use crate::data::Augment;
use crate::{Clip, Schedule, WarmUp};

/// What a plain training does without.
///
/// ```
/// use netspec::trainer::{Keep, Penalty, Tricks};
/// use netspec::{Clip, Schedule};
///
/// const TRICKS: Tricks = Tricks {
///     schedule: Schedule::Cosine { t_max: None, eta_min: 0.0 },
///     penalties: &[Penalty { l1: 0.0, l2: 1e-3, on: &["conv1"], biases: false }],
///     clip: Some(Clip::Norm(1.0)),
///     keep: Keep::Best,
///     ..Tricks::NONE
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tricks {
    /// How the learning rate goes on.
    pub schedule: Schedule,
    /// What is in front of that.
    pub warm_up: Option<WarmUp>,
    /// What is added to the loss for the size of parameters.
    pub penalties: &'static [Penalty],
    /// How gradients are kept from being too large.
    pub clip: Option<Clip>,
    /// Batches of a step.
    pub accumulate: usize,
    /// Layers or weights that no step changes.
    pub freeze: &'static [&'static str],
    /// How images are changed each time they are trained with.
    pub augment: &'static [Augment],
    /// Epochs without a better figure after which the training ends.
    pub patience: Option<u64>,
    /// Which epoch's weights are kept.
    pub keep: Keep,
    /// Which figure says what is better.
    pub monitor: Monitor,
}

/// A penalty, and what it is on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// The factor of the sum of sizes.
    pub l1: f64,
    /// The factor of the sum of squares.
    pub l2: f64,
    /// Layers or weights; empty: all.
    pub on: &'static [&'static str],
    /// Whether it is also on those of one dimension: biases, and the factors of norms.
    pub biases: bool,
}

/// Which epoch's weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last one's.
    Last,
    /// Those of the best one.
    Best,
}

/// Which figure of the records to test with says how good an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// The one that is printed: the accuracy where there are classes.
    Score,
    /// The mean loss, without penalties.
    Loss,
}

impl Tricks {
    /// None of them.
    pub const NONE: Tricks = Tricks {
        schedule: Schedule::Constant,
        warm_up: None,
        penalties: &[],
        clip: None,
        accumulate: 1,
        freeze: &[],
        augment: &[],
        patience: None,
        keep: Keep::Last,
        monitor: Monitor::Score,
    };
}
