//! The losses of an epoch.

#[cfg(feature = "cuda")]
use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::Engine;

/// The losses of an epoch's steps so far, up to the first that is no finite number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// The last one.
    pub(super) last: f64,
    sum: f64,
    steps: u64,
}

impl Tally {
    /// With one more.
    pub(super) fn and(self, loss: f32) -> Tally {
        let last = f64::from(loss);
        if self.sum.is_finite() { Tally { last, sum: self.sum + last, steps: self.steps + 1 } } else { self }
    }

    /// What a card has added up, when it is done.
    #[cfg(feature = "cuda")]
    pub(super) fn of_card(engine: &Engine) -> Result<Tally, Error> {
        let [last, sum, steps] = engine.losses_so_far()?;
        Ok(Tally { last, sum, steps: steps as u64 })
    }

    /// The step whose loss is no finite number, and that.
    pub(super) fn problem(&self) -> Option<(u64, f64)> {
        (!self.sum.is_finite()).then_some((self.steps, self.sum))
    }

    /// The mean.
    pub(super) fn mean(&self) -> f64 {
        self.sum / self.steps as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_that_is_no_number_stays() {
        let tally = [1.0, 2.5].into_iter().fold(Tally::default(), Tally::and);
        assert_eq!((tally.last, tally.mean(), tally.problem()), (2.5, 1.75, None));
        let after = |loss| [loss, 1.0, f32::NAN].into_iter().fold(tally, Tally::and).problem();
        assert_eq!(after(f32::NEG_INFINITY), Some((3, f64::NEG_INFINITY)));
        assert!(after(f32::NAN).is_some_and(|(step, loss)| step == 3 && loss.is_nan()));
    }
}
