//! What is trained or evaluated, on what.

use super::args::Shared;
use super::failure::Failure;
use super::{Data, Defaults, EvalMode, Loss, OutputLoss, Place, Train};
#[cfg(feature = "cuda")]
use crate::cuda::{self, CardLoss, Change, Inputs, Records, Targets, program::LossKind};
use crate::data::{Dataset, Source, Split};
use crate::loss::{bce_with_logits, cross_entropy, nll, weight_of_labels};
use crate::network::{self, Network};
#[cfg(feature = "cuda")]
use crate::network::{Each, Feed};
use crate::{Device, Huber, L1, Mse, Parts, Precision, SmoothL1, Workspace, argmax};
#[cfg(feature = "cuda")]
use crate::{Error, run::PassKind};

/// A model, its data, and how it is trained.
pub(super) struct Task<N> {
    pub(super) model: N,
    pub(super) workspace: Workspace,
    pub(super) dataset: Dataset,
    pub(super) source: Source,
    pub(super) train: Train,
    /// The records to train with and to test with on the card, if it has them.
    #[cfg(feature = "cuda")]
    pub(super) on_card: [Option<Records>; 2],
}

/// Records, and how far outputs are from their targets.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) split: &'a Split,
    losses: &'a [OutputLoss],
    /// The labels of all records, and how many each has.
    labels: (&'a [usize], usize),
    /// Likewise the values.
    values: (&'a [f32], usize),
    /// The records on the card, if it has them.
    #[cfg(feature = "cuda")]
    on_card: Option<&'a Records>,
}

impl<N: Network> Task<N> {
    /// Reads the data, makes the model or reads its weights, and checks that they fit each other.
    pub(super) fn new(defaults: &Defaults, place: Place, args: &Shared) -> Result<Task<N>, Failure> {
        let Some(mut train) = defaults.train else {
            let text = format!("{} has no `train` section, so neither loss nor optimizer are known", defaults.origin);
            return Err(Failure::Usage(text));
        };
        let [input] = defaults.inputs else {
            let text = format!("{} has several inputs; data sets have one value a record", N::NAME);
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
        let first = &train.losses[0];
        let classes_of_output = first.loss.takes_label().then_some(defaults.outputs[first.output][0]);
        let dataset = source.load(classes, classes_of_output)?;
        if dataset.shape != *input {
            let (found, wanted) = (sizes(&dataset.shape), sizes(input));
            let text = format!("`{source}` gives {found}, but {} takes {wanted}", N::NAME);
            return Err(Failure::Usage(text));
        }
        let dataset = dataset.normalized(mean, std)?;
        for split in [&dataset.train, &dataset.test] {
            for OutputLoss { output, loss, .. } in train.losses {
                check_targets(split, &source, loss, defaults.outputs[*output])?;
            }
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
        #[cfg_attr(not(feature = "cuda"), allow(unused_mut))]
        let mut workspace = on_device(workspace, place, args)?;
        #[cfg(feature = "cuda")]
        let mut bring =
            |split: &Split| workspace.on_card(|engine, _| engine.records(split, &dataset.shape)).unwrap_or(Ok(None));
        #[cfg(feature = "cuda")]
        let on_card = [bring(&dataset.train)?, bring(&dataset.test)?];
        let task = Task {
            model,
            workspace,
            dataset,
            source,
            train,
            #[cfg(feature = "cuda")]
            on_card,
        };
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

/// Puts a workspace where it is to be, and says where that is if it is not where every program runs.
fn on_device(workspace: Workspace, place: Place, args: &Shared) -> Result<Workspace, Failure> {
    let Shared { device, precision, .. } = *args;
    if device == Device::Cpu && precision != Precision::F32 {
        let text = format!("`--precision {precision}` is for graphics cards, and the device is cpu, which has f32");
        return Err(Failure::Usage(text));
    }
    let (workspace, problem) = place(workspace, device, precision)?;
    if let Some(problem) = problem {
        eprintln!("on the processor: {problem}");
    }
    #[cfg(feature = "cuda")]
    if let Some(name) = workspace.card() {
        eprintln!("on the graphics card {name}, products in {precision}");
    }
    Ok(workspace)
}

/// Outputs of a model.
pub(super) fn outputs<N: Network>() -> usize {
    <N::Output as Parts>::COUNT
}

/// Checks that targets are of a loss's kind and size.
fn check_targets(split: &Split, source: &Source, loss: &Loss, output: &[usize]) -> Result<(), Failure> {
    let (name, values) = (loss.name(), output.iter().product::<usize>());
    let positions: usize = output[1..].iter().product();
    let problem = match (split.label_maps(), split.values(), loss.takes_label()) {
        (Some((_, each)), _, true) if each == positions => return Ok(()),
        (_, Some((all, each)), false) if each == values => match all.iter().find(|value| !(0.0..=1.0).contains(*value))
        {
            Some(value) if name == "bce_with_logits" => {
                format!("has a target {value}, and `{name}` takes those from 0 to 1")
            }
            _ => return Ok(()),
        },
        (Some((_, each)), _, true) => {
            let found = if each == 1 { "one label a record".to_owned() } else { format!("{each} labels a record") };
            format!("has {found}, but the output is {}: `{name}` takes {positions} of it", sizes(output))
        }
        (Some(_), _, false) => format!("has labels, but the loss `{name}` takes values"),
        (_, _, true) => "has values for targets, but the loss takes labels".to_owned(),
        (_, Some((_, each)), false) => format!("wants {each} values of a record, but the output has {values}"),
        (None, None, false) => return Ok(()),
    };
    Err(Failure::Usage(format!("`{source}` {problem}")))
}

impl<'a> Part<'a> {
    /// Records of a task, whose targets were checked.
    pub(super) fn of(split: &'a Split, losses: &'a [OutputLoss]) -> Part<'a> {
        let (labels, values) = (split.label_maps(), split.values());
        Part {
            split,
            losses,
            labels: labels.unwrap_or_default(),
            values: values.unwrap_or_default(),
            #[cfg(feature = "cuda")]
            on_card: None,
        }
    }

    /// What an output's loss is; None: it has none.
    fn loss_of(&self, index: usize) -> Option<&'a OutputLoss> {
        self.losses.iter().find(|loss| loss.output == index)
    }

    /// The labels of a record.
    fn labels(&self, record: usize) -> &'a [usize] {
        let (labels, each) = self.labels;
        &labels[record * each..][..each]
    }

    /// The values of a record.
    fn values(&self, record: usize) -> &'a [f32] {
        let (values, each) = self.values;
        &values[record * each..][..each]
    }

    /// For each output what some records count together.
    pub(super) fn totals(&self, records: &[usize], totals: &mut [f64]) {
        for (index, total) in totals.iter_mut().enumerate() {
            let weights = match self.loss_of(index).map(|loss| loss.loss) {
                Some(Loss::CrossEntropy { class_weights, .. } | Loss::Nll { class_weights }) => class_weights,
                _ => &[],
            };
            *total = match weights {
                [] => records.len() as f64,
                weights => {
                    records.iter().map(|&record| f64::from(weight_of_labels(weights, self.labels(record)))).sum()
                }
            };
        }
    }

    /// The same, of which the card has the records.
    #[cfg(feature = "cuda")]
    pub(super) fn with(self, on_card: Option<&'a Records>) -> Part<'a> {
        Part { on_card, ..self }
    }

    /// The numbers of some records as a card has them.
    #[cfg(feature = "cuda")]
    pub(super) fn numbers(&self, records: &[usize]) -> Vec<u32> {
        records.iter().map(|&record| record as u32).collect()
    }

    /// The inputs of some records: those that the card has, with changes; else what the host writes.
    #[cfg(feature = "cuda")]
    pub(super) fn inputs<'b>(&'b self, feed: &'b Feed<'b>, numbers: &'b [u32], changes: &'b [Change]) -> Inputs<'b> {
        self.on_card.map_or(Inputs::Feed(feed), |of| Inputs::Records { of, numbers, changes })
    }

    /// The outputs of some records, in their order, of those that the card has; None if it has none.
    #[cfg(feature = "cuda")]
    pub(super) fn forward_on_card<N: Network>(
        &self,
        model: &N,
        workspace: &mut Workspace,
        mode: EvalMode,
        records: std::ops::Range<usize>,
        each: &mut Each<'_>,
    ) -> Option<Result<(), Error>> {
        let of = self.on_card?;
        let (kind, draw) = match mode {
            EvalMode::RunningStatistics => (PassKind::Infer, workspace.draw()),
            EvalMode::BatchStatistics => (PassKind::Forward, workspace.forward_draw()),
        };
        let numbers = self.numbers(&records.collect::<Vec<_>>());
        let inputs = &Inputs::Records { of, numbers: &numbers, changes: &[] };
        workspace.on_card(|engine, _| cuda::forward(engine, model, kind, (numbers.len(), inputs, draw), each))
    }

    /// The losses of some records as a graphics card knows them, for each of so many outputs.
    #[cfg(feature = "cuda")]
    pub(super) fn on_card(&self, records: &[usize], outputs: usize) -> Vec<CardLoss> {
        let labels = || records.iter().flat_map(|&record| self.labels(record)).map(|&label| label as u32).collect();
        let values = || records.iter().flat_map(|&record| self.values(record)).copied().collect();
        let of_output = |index: usize| {
            let Some(OutputLoss { weight, loss, .. }) = self.loss_of(index) else {
                return CardLoss::new(LossKind::None, Targets::None);
            };
            let (kind, number, weights): (_, f32, &[f32]) = match *loss {
                Loss::CrossEntropy { label_smoothing, class_weights } => {
                    (LossKind::CrossEntropy, label_smoothing, class_weights)
                }
                Loss::Nll { class_weights } => (LossKind::Nll, 0.0, class_weights),
                Loss::Mse => (LossKind::Mse, 0.0, &[]),
                Loss::L1 => (LossKind::L1, 0.0, &[]),
                Loss::SmoothL1 { beta } => (LossKind::SmoothL1, beta, &[]),
                Loss::Huber { delta } => (LossKind::Huber, delta, &[]),
                Loss::BceWithLogits { pos_weight: [] } => (LossKind::BceWithLogits, 1.0, &[]),
                Loss::BceWithLogits { pos_weight: [all] } => (LossKind::BceWithLogits, *all, &[]),
                Loss::BceWithLogits { pos_weight } => (LossKind::BceWithLogits, 1.0, pos_weight),
            };
            let targets = if loss.takes_label() { Targets::Labels(labels()) } else { Targets::Values(values()) };
            CardLoss { kind, number, scale: *weight, weights: weights.to_vec(), targets }
        };
        (0..outputs).map(of_output).collect()
    }

    /// The loss of a record's output, by its number; writes its derivative.
    pub(super) fn loss(&self, record: usize, index: usize, output: &[f32], derivative: &mut [f32]) -> f32 {
        let Some(OutputLoss { weight, loss, .. }) = self.loss_of(index) else {
            derivative.fill(0.0);
            return 0.0;
        };
        let value = match *loss {
            Loss::CrossEntropy { label_smoothing, class_weights } => {
                cross_entropy(output, self.labels(record), label_smoothing, class_weights, derivative)
            }
            Loss::Nll { class_weights } => nll(output, self.labels(record), class_weights, derivative),
            Loss::Mse => Mse.of(output, self.values(record), derivative),
            Loss::L1 => L1.of(output, self.values(record), derivative),
            Loss::SmoothL1 { beta } => SmoothL1::new(beta).of(output, self.values(record), derivative),
            Loss::Huber { delta } => Huber::new(delta).of(output, self.values(record), derivative),
            Loss::BceWithLogits { pos_weight } => {
                let pos_weight = if pos_weight.is_empty() { &[1.0] } else { pos_weight };
                bce_with_logits(output, self.values(record), pos_weight, derivative)
            }
        };
        if *weight != 1.0 {
            derivative.iter_mut().for_each(|value| *value *= weight);
        }
        weight * value
    }

    /// What an output of a record, by its number, adds to the part's score: with classes the part of the positions of the first output
    /// with a loss that are right; else its loss. `scratch` has the length of the output.
    pub(super) fn score(&self, record: usize, index: usize, output: &[f32], scratch: &mut [f32]) -> f64 {
        let first = &self.losses[0];
        if !first.loss.takes_label() {
            return self.loss(record, index, output, scratch).into();
        }
        if index != first.output {
            return 0.0;
        }
        let labels = self.labels(record);
        if let [label] = labels {
            return f64::from(u8::from(argmax(output) == *label));
        }
        let (positions, mut right) = (labels.len(), 0_usize);
        for (position, &label) in labels.iter().enumerate() {
            let scores = &mut scratch[..output.len() / positions];
            let of_position = output.iter().skip(position).step_by(positions);
            scores.iter_mut().zip(of_position).for_each(|(to, score)| *to = *score);
            right += usize::from(argmax(scores) == label);
        }
        right as f64 / positions as f64
    }
}

/// `3 x 32 x 32`.
fn sizes(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}
