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
        let Task { model, workspace, dataset, train, .. } = self;
        let of = |part: Part<'_>, record, index, output: &[f32], scratch: &mut [f32]| {
            part.score(record, index, output, scratch)
        };
        let mut score = |split| mean(model, workspace, Part::of(split, train.losses), train.batch, train.eval_mode, of);
        Ok(Scores {
            name: if train.losses[0].loss.takes_label() { "accuracy" } else { "loss" },
            train: score(&dataset.train)?,
            test: score(&dataset.test)?,
        })
    }

    /// The mean loss of the records to test with.
    pub(super) fn test_loss(&mut self) -> Result<f64, Failure> {
        let Task { model, workspace, dataset, train, .. } = self;
        let of = |part: Part<'_>, record, index, output: &[f32], scratch: &mut [f32]| {
            part.loss(record, index, output, scratch).into()
        };
        mean(model, workspace, Part::of(&dataset.test, train.losses), train.batch, train.eval_mode, of)
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
        match mode {
            EvalMode::RunningStatistics => network::infer_from(model, workspace, samples, &feed, &mut each)?,
            EvalMode::BatchStatistics => network::forward_from(model, workspace, samples, &feed, &mut each)?,
        }
    }
    Ok(sum / records as f64)
}
