//! How the learning rate goes on during a training: a function of the step's number alone.

use std::f64::consts::PI;

/// The course of a learning rate. Those by epochs are constant within one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// The same rate always.
    #[default]
    Constant,
    /// Times `gamma` behind every so many epochs. Source: PyTorch,
    /// [`StepLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html).
    Step {
        /// Epochs to the next factor; at least 1.
        every: u64,
        /// The factor.
        gamma: f64,
    },
    /// Times `gamma` behind every epoch. Source: PyTorch,
    /// [`ExponentialLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html).
    Exponential {
        /// The factor.
        gamma: f64,
    },
    /// Down half a wave of the cosine, to `eta_min` behind `t_max` epochs, and up again. Source: Loshchilov and Hutter, *SGDR: stochastic
    /// gradient descent with warm restarts*, 2017; PyTorch,
    /// [`CosineAnnealingLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html).
    Cosine {
        /// Epochs to the least rate; None: all there are.
        t_max: Option<u64>,
        /// The least rate.
        eta_min: f64,
    },
    /// By steps: up from `1 / div_factor` of the rate in the first `pct_start` of the training, then down to
    /// `1 / (div_factor * final_div_factor)` of it, both along half a wave of the cosine. Source: Smith and Topin, *Super-convergence*,
    /// 2018; PyTorch,
    /// [`OneCycleLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html), with the optimizer's rate for
    /// `max_lr`, and `cycle_momentum=False`.
    OneCycle {
        /// The part of the steps in which the rate goes up.
        pct_start: f64,
        /// The rate over the first one.
        div_factor: f64,
        /// The first rate over the last one.
        final_div_factor: f64,
    },
}

/// A line up to the rate, by steps, in front of a schedule, which begins behind it. Source: Goyal et al., *Accurate, large minibatch SGD*,
/// 2017; PyTorch, [`LinearLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html) before another one in
/// a `SequentialLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    /// How long it is.
    pub epochs: u64,
    /// What part of the rate the first step has.
    pub start: f64,
}

/// The learning rates of a training.
///
/// ```
/// use netspec::{Rates, Schedule, Sgd, WarmUp};
///
/// let schedule = Schedule::Step { every: 2, gamma: 0.1 };
/// let warm_up = Some(WarmUp { epochs: 1, start: 0.5 });
/// let rates = Rates { lr: 0.1, schedule, warm_up, epochs: 4, steps: 2 };
/// let of_steps: Vec<f64> = (0..8).map(|step| rates.at(step)).collect();
/// for (rate, wanted) in of_steps.iter().zip([0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]) {
///     assert!((rate - wanted).abs() < 1e-12);
/// }
/// let mut optimizer = Sgd::new(0.1);
/// optimizer.lr = rates.at(3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The rate that the schedule changes: the optimizer's.
    pub lr: f64,
    /// How.
    pub schedule: Schedule,
    /// What is in front of it.
    pub warm_up: Option<WarmUp>,
    /// Epochs of the training, the warm-up's too.
    pub epochs: u64,
    /// Steps of an epoch; at least 1.
    pub steps: u64,
}

impl Rates {
    /// The rate of a step of the training, numbered from 0. Behind the last epoch it goes on as the schedule does, and one cycle stays at
    /// its end.
    pub fn at(&self, step: u64) -> f64 {
        let Rates { lr, schedule, warm_up, epochs, .. } = *self;
        let steps = self.steps.max(1);
        let warm_epochs = warm_up.map_or(0, |warm_up| warm_up.epochs);
        let warm_steps = warm_epochs * steps;
        if let Some(WarmUp { start, .. }) = warm_up
            && step < warm_steps
        {
            return lr * (start + (1.0 - start) * step as f64 / warm_steps as f64);
        }
        let step = step - warm_steps;
        let epoch = step / steps;
        let left = epochs.saturating_sub(warm_epochs).max(1);
        match schedule {
            Schedule::Constant => lr,
            Schedule::Step { every, gamma } => lr * gamma.powf((epoch / every.max(1)) as f64),
            Schedule::Exponential { gamma } => lr * gamma.powf(epoch as f64),
            Schedule::Cosine { t_max, eta_min } => wave(lr, eta_min, epoch as f64 / t_max.unwrap_or(left) as f64),
            Schedule::OneCycle { pct_start, div_factor, final_div_factor } => {
                let total = (left * steps) as f64;
                let first = lr / div_factor;
                let (top, end) = (pct_start * total - 1.0, total - 1.0);
                let step = (step as f64).min(end);
                if step <= top {
                    wave(first, lr, part(step, top))
                } else {
                    wave(lr, first / final_div_factor, part(step - top, end - top))
                }
            }
        }
    }
}

/// How far on the way a place is. Who has no way to go is at its end.
fn part(place: f64, way: f64) -> f64 {
    if way > 0.0 { place / way } else { 1.0 }
}

/// From `from` to `to` along half a wave of the cosine.
fn wave(from: f64, to: f64, part: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * part).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule) -> Rates {
        Rates { lr: 0.5, schedule, warm_up: None, epochs: 10, steps: 3 }
    }

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-15, "{found}, wanted {wanted}");
    }

    #[test]
    fn rates_by_epochs_are_constant_within_one() {
        for schedule in [
            Schedule::Constant,
            Schedule::Step { every: 2, gamma: 0.5 },
            Schedule::Exponential { gamma: 0.9 },
            Schedule::Cosine { t_max: None, eta_min: 0.01 },
        ] {
            let rates = rates(schedule);
            near(rates.at(0), 0.5);
            (0..30).for_each(|step| near(rates.at(step), rates.at(step - step % 3)));
        }
        near(rates(Schedule::Step { every: 2, gamma: 0.5 }).at(14), 0.125);
        near(rates(Schedule::Exponential { gamma: 0.9 }).at(8), 0.5 * 0.81);
    }

    #[test]
    fn a_cosine_ends_at_its_least_rate() {
        let cosine = |t_max| rates(Schedule::Cosine { t_max, eta_min: 0.1 });
        near(cosine(None).at(30), 0.1);
        near(cosine(None).at(15), 0.3);
        near(cosine(Some(4)).at(12), 0.1);
        near(cosine(Some(4)).at(24), 0.5);
    }

    #[test]
    fn one_cycle_goes_up_and_down() {
        let cycle = rates(Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 });
        near(cycle.at(0), 0.02);
        near(cycle.at(8), 0.5);
        near(cycle.at(29), 2e-6);
        near(cycle.at(1_000), 2e-6);
        // Of one step, or with no way up.
        let short = Rates { epochs: 1, steps: 1, ..cycle };
        assert!(short.at(0).is_finite());
        let down = rates(Schedule::OneCycle { pct_start: 0.0, div_factor: 25.0, final_div_factor: 1e4 });
        assert!(down.at(0) < 0.5 && down.at(0) > down.at(1));
    }

    #[test]
    fn a_schedule_begins_behind_its_warm_up() {
        let warm_up = Some(WarmUp { epochs: 2, start: 0.1 });
        let warmed = Rates { warm_up, ..rates(Schedule::Cosine { t_max: None, eta_min: 0.0 }) };
        near(warmed.at(0), 0.05);
        near(warmed.at(3), 0.5 * 0.55);
        near(warmed.at(6), 0.5);
        near(warmed.at(30), 0.0);
    }
}
