//! What is trained or evaluated, on what.

use super::args::Shared;
use super::failure::Failure;
use super::{Data, Defaults, EvalMode, Loss, Train};
use crate::data::{Dataset, Source, Split};
use crate::network::{self, Network};
use crate::{CrossEntropy, Mse, Nll, Workspace, argmax};

/// A model, its data, and how it is trained.
pub(super) struct Task<N> {
    pub(super) model: N,
    pub(super) workspace: Workspace,
    pub(super) dataset: Dataset,
    pub(super) source: Source,
    pub(super) train: Train,
}

/// Records, and how far outputs are from their targets.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) split: &'a Split,
    aim: Aim<'a>,
}

/// What is wanted of each record, and how it is compared.
#[derive(Clone, Copy)]
enum Aim<'a> {
    CrossEntropy(&'a [usize]),
    Nll(&'a [usize]),
    Mse { values: &'a [f32], each: usize },
}

impl<N: Network> Task<N> {
    /// Reads the data, makes the model or reads its weights, and checks that they fit each other.
    pub(super) fn new(defaults: &Defaults, args: &Shared) -> Result<Task<N>, Failure> {
        let Some(mut train) = defaults.train else {
            let text = format!("{} has no `train` section, so neither loss nor optimizer are known", defaults.origin);
            return Err(Failure::Usage(text));
        };
        let ([input], [output]) = (defaults.inputs, defaults.outputs) else {
            let text = format!("{} has several inputs or outputs; data sets have one value a record", N::NAME);
            return Err(Failure::Usage(text));
        };
        let Some(source) = args.data.clone() else {
            let text = format!("{} names no data set, so `--data NAME[:PATH]` is needed", defaults.origin);
            return Err(Failure::Usage(text));
        };
        train.batch = args.batch.map_or(train.batch, usize::from);
        train.seed = args.seed.unwrap_or(train.seed);

        let spec = train.data.filter(|data| data.name == source.name());
        let Data { classes, mean, std, .. } =
            spec.unwrap_or(Data { name: "", file: None, classes: &[], mean: &[], std: &[] });
        let outputs: usize = output.iter().product();
        let takes_label = train.loss != Loss::Mse;
        let dataset = source.load(classes, takes_label.then_some(outputs))?;
        if dataset.shape != *input {
            let (found, wanted) = (sizes(&dataset.shape), sizes(input));
            let text = format!("`{source}` gives {found}, but {} takes {wanted}", N::NAME);
            return Err(Failure::Usage(text));
        }
        let dataset = dataset.normalized(mean, std)?;
        for split in [&dataset.train, &dataset.test] {
            check_targets(split, &source, takes_label, outputs)?;
        }
        let model = match &args.weights {
            Some(path) if !path.exists() => {
                let text = format!(
                    "cannot read {}: there is no such file; `train` writes weights, and `--weights` says which are read",
                    path.display()
                );
                return Err(Failure::Usage(text));
            }
            Some(path) => network::load(path)?,
            None => network::new(train.seed),
        };
        let mut workspace = args.threads.map_or_else(Workspace::new, |threads| Workspace::with_threads(threads.into()));
        if let Some(isa) = args.isa {
            workspace = workspace.with_isa(isa);
        }
        workspace = workspace.with_numerics(args.numerics.unwrap_or(train.numerics));
        workspace.seed(train.seed);
        let task = Task { model, workspace, dataset, source, train };
        if train.eval_mode == EvalMode::BatchStatistics {
            task.check_batches(&task.dataset.test, "to test with")?;
            task.check_batches(&task.dataset.train, "to train with")?;
        }
        Ok(task)
    }

    /// Checks that the model can be run as in training on the whole batches of a split and on the last one, which may be smaller.
    pub(super) fn check_batches(&self, split: &Split, what: &str) -> Result<(), Failure> {
        let (records, batch) = (split.records(), self.train.batch);
        for samples in [batch.min(records), (records - 1) % batch + 1] {
            network::check_batch::<N>(samples).map_err(|error| {
                Failure::Usage(format!(
                    "{records} records {what}, in batches of {batch}: {error}; `--batch` sets another size"
                ))
            })?;
        }
        Ok(())
    }
}

/// Checks that targets are of the loss's kind and size.
fn check_targets(split: &Split, source: &Source, takes_label: bool, outputs: usize) -> Result<(), Failure> {
    let problem = match (split.values(), takes_label) {
        (None, true) => return Ok(()),
        (Some((_, each)), false) if each == outputs => return Ok(()),
        (None, false) => "has labels, but the loss `mse` takes values".to_owned(),
        (Some(_), true) => "has values for targets, but the loss takes labels".to_owned(),
        (Some((_, each)), false) => format!("wants {each} values of a record, but the output has {outputs}"),
    };
    Err(Failure::Usage(format!("`{source}` {problem}")))
}

impl<'a> Part<'a> {
    /// Records of a task, whose targets were checked.
    pub(super) fn of(split: &'a Split, loss: Loss) -> Part<'a> {
        let labels = split.labels().unwrap_or_default();
        let aim = match loss {
            Loss::CrossEntropy => Aim::CrossEntropy(labels),
            Loss::Nll => Aim::Nll(labels),
            Loss::Mse => {
                let (values, each) = split.values().unwrap_or_default();
                Aim::Mse { values, each }
            }
        };
        Part { split, aim }
    }

    /// The loss of a record's output; writes its derivative.
    pub(super) fn loss(&self, record: usize, output: &[f32], derivative: &mut [f32]) -> f32 {
        match self.aim {
            Aim::CrossEntropy(labels) => CrossEntropy.of(output, labels[record], derivative),
            Aim::Nll(labels) => Nll.of(output, labels[record], derivative),
            Aim::Mse { values, each } => Mse.of(output, &values[record * each..][..each], derivative),
        }
    }

    /// What a record adds to the part's score: 1 for a right class, its loss where there are no classes. `scratch` has the length of
    /// the output.
    pub(super) fn score(&self, record: usize, output: &[f32], scratch: &mut [f32]) -> f64 {
        match self.aim {
            Aim::CrossEntropy(labels) | Aim::Nll(labels) => f64::from(u8::from(argmax(output) == labels[record])),
            Aim::Mse { .. } => self.loss(record, output, scratch).into(),
        }
    }
}

/// `3 x 32 x 32`.
fn sizes(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}
