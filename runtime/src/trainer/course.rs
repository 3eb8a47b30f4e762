//! A training under way: what it does with gradients, how far it is, and how good its epochs were.

use std::path::Path;

use super::args::TrainArgs;
use super::failure::Failure;
use super::task::Task;
use super::{Keep, Monitor, Tricks};
use crate::data::Augmented;
use crate::network::{self, Network};
use crate::{Error, Rates, Recipe, Stateful, checkpoint};

/// The text in a checkpoint that says how far the training is.
const COURSE: &str = "netspec.course";
/// The one that says how it was set.
const SETTINGS: &str = "netspec.settings";

/// A training under way.
pub(super) struct Course {
    pub(super) recipe: Recipe<Box<dyn Stateful>>,
    rates: Rates,
    /// Batches of a step.
    accumulate: usize,
    /// Epochs of the training.
    pub(super) epochs: u64,
    /// Epochs done.
    pub(super) done: u64,
    /// The best figure so far, and its epoch.
    best: Option<(f64, u64)>,
    keep: Keep,
    patience: Option<u64>,
    settings: String,
}

impl Course {
    /// The beginning, or where a checkpoint is.
    pub(super) fn begin<N: Network>(task: &mut Task<N>, args: &TrainArgs) -> Result<Course, Failure> {
        let train = task.train;
        let tricks = train.tricks;
        let lr = args.lr.unwrap_or(train.optimizer.lr());
        let epochs = args.epochs.map_or(train.epochs, u64::from);
        let recipe = recipe::<N>(Recipe::new(train.optimizer.begin(lr)), &tricks)?;
        let records = task.dataset.train.records();
        let accumulate = tricks.accumulate.max(1);
        let steps = records.div_ceil(train.batch).div_ceil(accumulate) as u64;
        let Tricks { schedule, warm_up, keep, patience, .. } = tricks;
        let rates = Rates { lr, schedule, warm_up, epochs, steps };
        // What an epoch would say, before there is one.
        Augmented::new(&task.dataset.train, &task.dataset.shape, tricks.augment, train.seed, 0)?;
        // What changes the steps; when a training ends and what is kept of it does not.
        let steps = Tricks { keep: Tricks::NONE.keep, patience: None, monitor: Tricks::NONE.monitor, ..tricks };
        let settings = format!(
            "{} records of {}, batch {}, seed {}, shuffle {}, lr {lr:?}, {:?}, {:?}, {steps:?}",
            records,
            task.source.name(),
            train.batch,
            train.seed,
            train.shuffle,
            train.losses,
            train.optimizer
        );
        let mut course = Course { recipe, rates, accumulate, epochs, done: 0, best: None, keep, patience, settings };
        if let Some(path) = &args.resume {
            course.resume(task, path)?;
        }
        Ok(course)
    }

    /// The learning rate of the batches of an epoch, both numbered from 0.
    pub(super) fn rate(&self, epoch: u64, batch: usize) -> f64 {
        self.rates.at(epoch * self.rates.steps + (batch / self.accumulate) as u64)
    }

    /// Notes how good an epoch was; says whether its weights are to be kept.
    pub(super) fn note(&mut self, epoch: u64, figure: f64, more_is_better: bool) -> bool {
        self.done = epoch;
        let is_better = self
            .best
            .is_none_or(|(best, _)| best.is_nan() || if more_is_better { figure > best } else { figure < best });
        if is_better {
            self.best = Some((figure, epoch));
        }
        is_better || self.keep == Keep::Last
    }

    /// The epoch whose weights are kept; None before the first one.
    pub(super) fn kept(&self) -> Option<u64> {
        match self.keep {
            Keep::Best => self.best.map(|(_, epoch)| epoch),
            Keep::Last => Some(self.done).filter(|done| *done > 0),
        }
    }

    /// Why the training ends before its last epoch, if it does.
    pub(super) fn is_over(&self) -> Option<String> {
        let (_, best) = self.best?;
        let patience = self.patience.filter(|patience| self.done - best >= *patience && self.done < self.epochs)?;
        Some(format!("epoch {best} was the best one, and {patience} more were not better"))
    }

    /// Writes where it is.
    pub(super) fn save<N: Network>(&self, task: &Task<N>, path: &Path) -> Result<(), Failure> {
        let (figure, epoch) = self.best.unwrap_or_default();
        let course = format!("{} {} {epoch}", self.done, figure.to_bits());
        let texts = [(COURSE, course.as_str()), (SETTINGS, self.settings.as_str())];
        Ok(checkpoint::save(path, &task.model, &task.workspace, &self.recipe, &texts)?)
    }

    fn resume<N: Network>(&mut self, task: &mut Task<N>, path: &Path) -> Result<(), Failure> {
        let file = path.display();
        if !path.exists() {
            return Err(Failure::Usage(format!(
                "cannot read {file}: there is no such file; `--checkpoint` says where they are written"
            )));
        }
        let (model, texts) = checkpoint::load::<N>(path, &mut task.workspace, &mut self.recipe)?;
        let numbers = texts.get(COURSE).map(|text| text.split(' ').map(str::parse));
        let numbers: Option<Result<Vec<u64>, _>> = numbers.map(Iterator::collect);
        let Some(Ok(&[done, figure, epoch])) = numbers.as_ref().map(|numbers| numbers.as_deref()) else {
            return Err(Failure::Failed(format!("{file} does not say how far its training was")));
        };
        let trained = self.recipe.trained(N::PARAMETERS);
        if self.recipe.state().values.iter().any(|list| !list.is_empty() && list.len() != trained) {
            let text = format!("{file} is damaged: its optimizer does not know {trained} parameters");
            return Err(Failure::Failed(text));
        }
        let theirs = texts.get(SETTINGS).map_or("", String::as_str);
        if theirs != self.settings {
            let text = format!("{file} is of another training:\n  it has  {theirs}\n  this is {}", self.settings);
            return Err(Failure::Usage(text));
        }
        if done >= self.epochs {
            let text = format!("{file} has {done} epochs, and {} are asked for; `--epochs` sets more", self.epochs);
            return Err(Failure::Usage(text));
        }
        task.model = model;
        self.done = done;
        self.best = (epoch > 0).then(|| (f64::from_bits(figure), epoch));
        Ok(())
    }
}

/// What tricks do with gradients.
fn recipe<N: Network>(
    mut recipe: Recipe<Box<dyn Stateful>>,
    tricks: &Tricks,
) -> Result<Recipe<Box<dyn Stateful>>, Error> {
    for penalty in tricks.penalties {
        let factors = crate::Penalty::elastic(penalty.l1, penalty.l2);
        recipe = match (penalty.on, penalty.biases) {
            ([], true) => recipe.penalty(factors),
            (on, true) => recipe.penalty_on(factors, network::select::<N>(on)?),
            (on, false) => recipe.penalty_on(factors, network::select_matrices::<N>(on)?),
        };
    }
    if !tricks.freeze.is_empty() {
        recipe = recipe.freeze(network::select::<N>(tricks.freeze)?);
    }
    if let Some(clip) = tricks.clip {
        recipe = recipe.clip(clip);
    }
    Ok(recipe.accumulate(tricks.accumulate.max(1)))
}

/// Begins with the part of a file's weights that fits, and says what was loaded and what was not.
pub(super) fn transfer<N: Network>(task: &mut Task<N>, path: &Path, fresh: &[String]) -> Result<(), Failure> {
    let fresh: Vec<&str> = fresh.iter().map(String::as_str).collect();
    let done = network::load_partial(&mut task.model, path, &fresh).map_err(|error| match error {
        Error::NoSuchWeight { .. } => Failure::Usage(error.to_string()),
        error => error.into(),
    })?;
    eprintln!("{}: loaded {}", path.display(), done.loaded.join(", "));
    done.left.iter().for_each(|problem| eprintln!("{}: not loaded: {problem}", path.display()));
    if !fresh.is_empty() {
        eprintln!("drawn from the seed: {}", fresh.join(", "));
    }
    Ok(())
}

impl Monitor {
    /// How good weights are, and whether more of it is better.
    pub(super) fn figure<N: Network>(
        self,
        task: &mut Task<N>,
        scores: &super::evaluate::Scores,
    ) -> Result<(f64, bool), Failure> {
        match self {
            Monitor::Loss if scores.are_classes() => Ok((task.test_loss()?, false)),
            _ => Ok((scores.test, scores.are_classes())),
        }
    }
}
