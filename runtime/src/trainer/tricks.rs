//! What a spec says of a training beyond loss and optimizer: all literals, as in `defaults.rs`.

use crate::data::Augment;
use crate::{Clip, Schedule, WarmUp};

/// What a plain training does without.
///
/// ```
/// // As netc writes them.
/// const TRICKS: ::netspec::trainer::Tricks = ::netspec::trainer::Tricks {
///     schedule: ::netspec::Schedule::Cosine { t_max: None, eta_min: 1e-5 },
///     warm_up: Some(::netspec::WarmUp { epochs: 5, start: 0.1 }),
///     penalties: &[::netspec::trainer::Penalty { l1: 0.0, l2: 0.001, on: &["conv1", "fc1.weight"], biases: true }],
///     clip: Some(::netspec::Clip::Norm(1.0)),
///     accumulate: 4,
///     freeze: &["conv1"],
///     augment: &[
///         ::netspec::data::Augment::Crop { padding: 4 },
///         ::netspec::data::Augment::Flip { probability: 0.5 },
///         ::netspec::data::Augment::Cutout { size: 8 },
///         ::netspec::data::Augment::Mixup { alpha: 1.0 },
///     ],
///     patience: Some(7),
///     keep: ::netspec::trainer::Keep::Best,
///     monitor: ::netspec::trainer::Monitor::Loss,
///     ..::netspec::trainer::Tricks::NONE
/// };
/// const CYCLE: ::netspec::Schedule =
///     ::netspec::Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 10000.0 };
/// const STEP: ::netspec::Schedule = ::netspec::Schedule::Step { every: 30, gamma: 0.1 };
/// const EXPONENTIAL: ::netspec::Schedule = ::netspec::Schedule::Exponential { gamma: 0.9 };
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
