//! How good the weights are.

use std::fmt;

use super::EvalMode;
use super::failure::Failure;
use super::task::{Part, Task};
use crate::Workspace;
use crate::network::{self, Network};

/// The figures of an evaluation: the part of the records that are classified right, or where there are no classes the mean loss.
pub(super) struct Scores {
    name: &'static str,
    train: f64,
    pub(super) test: f64,
}

impl Scores {
    /// Whether they are accuracies.
    pub(super) fn are_classes(&self) -> bool {
        self.name == "accuracy"
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scores { name, train, test } = self;
        write!(f, "train {name} {train:.4}  test {name} {test:.4}")
    }
}

impl<N: Network> Task<N> {
    /// Evaluates every record, those to train with too.
    pub(super) fn scores(&mut self) -> Result<Scores, Failure> {
        let [train, test] = [0, 1].map(|number| {
            self.mean(number, |part, record, index, output, scratch| part.score(record, index, output, scratch))
        });
        let name = if self.train.losses[0].loss.takes_label() { "accuracy" } else { "loss" };
        Ok(Scores { name, train: train?, test: test? })
    }

    /// The mean loss of the records to test with.
    pub(super) fn test_loss(&mut self) -> Result<f64, Failure> {
        self.mean(1, |part, record, index, output, scratch| part.loss(record, index, output, scratch).into())
    }

    /// The mean of a figure of the records to train with (0) or to test with (1).
    fn mean(
        &mut self,
        number: usize,
        figure: impl Fn(Part<'_>, usize, usize, &[f32], &mut [f32]) -> f64,
    ) -> Result<f64, Failure> {
        let part = Part::of([&self.dataset.train, &self.dataset.test][number], self.train.losses);
        #[cfg(feature = "cuda")]
        let part = part.with(self.on_card[number].as_ref());
        mean(&self.model, &mut self.workspace, part, self.train.batch, self.train.eval_mode, figure)
    }
}

/// The mean of a figure of some records, in the order of their files: of a record, the number of an output, that output, and memory as long.
fn mean<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    part: Part<'_>,
    batch: usize,
    mode: EvalMode,
    figure: impl Fn(Part<'_>, usize, usize, &[f32], &mut [f32]) -> f64,
) -> Result<f64, Failure> {
    let records = part.split.records();
    let mut sum = 0.0;
    let mut scratch = Vec::new();
    for first in (0..records).step_by(batch) {
        let samples = batch.min(records - first);
        let feed = |sample: usize, _: usize, to: &mut [f32]| part.split.feed(first + sample, to);
        let mut each = |sample: usize, index: usize, output: &[f32]| {
            scratch.resize(output.len(), 0.0);
            sum += figure(part, first + sample, index, output, &mut scratch);
        };
        #[cfg(feature = "cuda")]
        if let Some(done) = part.forward_on_card(model, workspace, mode, first..first + samples, &mut each) {
            done?;
            continue;
        }
        match mode {
            EvalMode::RunningStatistics => network::infer_from(model, workspace, samples, &feed, &mut each)?,
            EvalMode::BatchStatistics => network::forward_from(model, workspace, samples, &feed, &mut each)?,
        }
    }
    Ok(sum / records as f64)
}
