//! Epochs.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use serde_json::json;

use super::args::TrainArgs;
use super::course::Course;
use super::failure::Failure;
use super::progress::Progress;
use super::tally::Tally;
use super::task::{Part, Task, outputs};
use crate::Stateful;
#[cfg(feature = "cuda")]
use crate::cuda::{self, CardBatch};
use crate::data::{Augmented, Mix, order};
use crate::network::{self, BatchLoss, Network, SaveOptions};

/// Checks that the weights can be written, before the work is done that would be lost.
pub(super) fn check_out(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() || path.file_name().is_none() {
        return Err(Failure::Usage(format!("cannot write {}: it is a folder", path.display())));
    }
    if !folder.is_dir() {
        return Err(Failure::Usage(format!("cannot write {}: there is no such folder", path.display())));
    }
    // If a file beside it can be made, it can be written; what is there already stays as it is.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let beside = folder.join(format!(".netspec.{}.{}.tmp", std::process::id(), NUMBER.fetch_add(1, Relaxed)));
    File::create_new(&beside).map(drop).and_then(|()| fs::remove_file(&beside)).map_err(|error| {
        Failure::Usage(format!("cannot write {}: no file can be made in its folder: {error}", path.display()))
    })
}

/// Trains, and writes the weights after each epoch, or after each that is the best so far.
pub(super) fn fit<N: Network>(task: &mut Task<N>, args: &TrainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let train = task.train;
    task.check_batches(&task.dataset.train, "to train with")?;
    let mut course = Course::begin(task, args)?;
    let epochs = course.epochs;
    let checkpoint = args.checkpoint.as_ref().or(args.resume.as_ref());
    let metadata = metadata(task);
    let metadata: Vec<(&str, &str)> = metadata.iter().map(|(key, text)| (*key, text.as_str())).collect();
    let (records, tests) = (task.dataset.train.records(), task.dataset.test.records());
    eprintln!(
        "{}: {} parameters; {}: {records} records to train with, {tests} to test with",
        N::NAME,
        N::PARAMETERS,
        task.source
    );
    if course.done > 0 {
        eprintln!("going on behind epoch {}", course.done);
    }

    let begin = Instant::now();
    let width = epochs.to_string().len();
    for epoch in course.done + 1..=epochs {
        let order = if train.shuffle { order(train.seed, epoch, records) } else { (0..records).collect() };
        let mut progress = Progress::new(format!("epoch {epoch:>width$} of {epochs}"), records.div_ceil(train.batch));
        let loss = pass(task, &order, epoch, &mut course, &mut progress).map_err(|problem| {
            let kept = match course.kept() {
                None => "no weights were written".to_owned(),
                Some(kept) => format!("{} has the weights of epoch {kept}", args.out.display()),
            };
            Failure::Failed(format!("in epoch {epoch}, {problem}; {kept}; a smaller `--lr` may help"))
        })?;
        progress.evaluating();
        let scores = task.scores()?;
        let (figure, more_is_better) = train.tricks.monitor.figure(task, &scores)?;
        if course.note(epoch, figure, more_is_better) {
            network::save_with(&task.model, &args.out, SaveOptions { metadata: &metadata, ..SaveOptions::default() })?;
        }
        if let Some(path) = checkpoint {
            course.save(task, path)?;
        }
        progress.end();
        writeln!(out, "epoch {epoch:>width$}  loss {loss:.4}  {scores}")?;
        if let Some(reason) = course.is_over() {
            eprintln!("stopped: {reason}");
            break;
        }
    }
    let of = match course.kept() {
        Some(kept) if kept != course.done => format!(" of epoch {kept}"),
        _ => String::new(),
    };
    eprintln!("trained in {:.1} s; the weights{of} are in {}", begin.elapsed().as_secs_f64(), args.out.display());
    Ok(())
}

/// Takes a step on each batch of an order, or on each few; gives the mean of the batches' losses, or says where it went wrong.
///
/// A graphics card is told one step after the other, and goes on by itself: what it has added up of the losses is read at the end, and from
/// time to time for who looks on. A loss that is no finite number is found then, and is the same.
fn pass<N: Network>(
    task: &mut Task<N>,
    order: &[usize],
    epoch: u64,
    course: &mut Course,
    progress: &mut Progress,
) -> Result<f64, String> {
    let Task {
        model,
        workspace,
        dataset,
        train,
        #[cfg(feature = "cuda")]
        on_card,
        ..
    } = task;
    let part = Part::of(&dataset.train, train.losses);
    #[cfg(feature = "cuda")]
    let part = part.with(on_card[0].as_ref());
    let augmented = Augmented::new(&dataset.train, &dataset.shape, train.tricks.augment, train.seed, epoch);
    let augmented = augmented.map_err(|error| error.to_string())?;
    #[cfg(feature = "cuda")]
    workspace.on_card(|engine, _| engine.forget_losses()).transpose().map_err(|error| error.to_string())?;
    let steps = order.len().div_ceil(train.batch);
    let mut totals = vec![0.0; outputs::<N>()];
    let mut tally = Tally::default();
    for (step, batch) in (1..).zip(order.chunks(train.batch)) {
        course.recipe.set_lr(course.rate(epoch - 1, step - 1));
        let feed = |sample: usize, _: usize, to: &mut [f32]| augmented.feed(batch[sample], to);
        let of = |sample: usize, index: usize, output: &[f32], derivative: &mut [f32]| {
            augmented.loss(batch[sample], output, derivative, |record, output, derivative| {
                part.loss(record, index, output, derivative)
            })
        };
        totals_of(part, &augmented, batch, &mut totals);
        #[cfg(feature = "cuda")]
        let told = workspace.on_card(|engine, workspace| {
            let (records, shares) = mixed(&augmented, batch);
            let losses = &part.on_card(&records, outputs::<N>());
            let (numbers, changes) = (part.numbers(&records), cuda::changes(&augmented, &records));
            let inputs = part.inputs(&feed, &numbers, &changes);
            let batch = CardBatch { samples: batch.len(), inputs, losses, shares: &shares, totals: &totals };
            // The optimizers of specs have kernels: the host adds nothing to the loss.
            cuda::tell_step(engine, model, workspace, &batch, &mut course.recipe)?;
            let is_read = step == steps || progress.is_due();
            is_read.then(|| Tally::of_card(engine)).transpose()
        });
        #[cfg(not(feature = "cuda"))]
        let told = None;
        let now = told.unwrap_or_else(|| {
            let loss = BatchLoss { of: &of, totals: &totals };
            let loss = network::step_by(model, workspace, batch.len(), &feed, loss, &mut course.recipe);
            loss.map(|loss| Some(tally.and(loss)))
        });
        tally = match now {
            Ok(Some(now)) => now,
            Ok(None) => continue,
            Err(error) => return Err(format!("step {step} of {steps}, {error}")),
        };
        if let Some((step, loss)) = tally.problem() {
            return Err(format!("step {step} of {steps}, the loss is {loss}"));
        }
        if step == steps {
            if !course.recipe.is_flushed() {
                course.recipe.flush(model.weights_mut().params_mut());
            }
            // A loss is that before its step: of the last one, the weights tell.
            if !model.weights().params().iter().all(|param| param.is_finite()) {
                return Err(format!("step {step} of {steps}, a weight is not a finite number"));
            }
        }
        progress.step(step, tally.last);
    }
    Ok(tally.mean())
}

/// The records of a batch and, with mixup, those that they are mixed with behind them; and what part each of the batch's own has in the mean.
#[cfg(feature = "cuda")]
fn mixed(augmented: &Augmented<'_>, batch: &[usize]) -> (Vec<usize>, Vec<f32>) {
    let mixes: Vec<Mix> = batch.iter().filter_map(|&record| augmented.mix(record)).collect();
    let records = batch.iter().copied().chain(mixes.iter().map(|mix| mix.other)).collect();
    (records, mixes.iter().map(|mix| mix.own).collect())
}

/// For each output what the records of a batch count together: of a mean of two, each its part.
fn totals_of(part: Part<'_>, augmented: &Augmented<'_>, batch: &[usize], totals: &mut [f64]) {
    part.totals(batch, totals);
    if batch.iter().all(|record| augmented.mix(*record).is_none()) {
        return;
    }
    totals.fill(0.0);
    let mut one = vec![0.0; totals.len()];
    for &record in batch {
        let Some(Mix { other, own }) = augmented.mix(record) else { continue };
        for (record, share) in [(record, own), (other, 1.0 - own)] {
            part.totals(&[record], &mut one);
            totals.iter_mut().zip(&one).for_each(|(total, one)| *total += f64::from(share) * one);
        }
    }
}

/// What a file of weights says of the data: what must be done to an input before the model reads it.
fn metadata<N>(task: &Task<N>) -> Vec<(&'static str, String)> {
    let normalization = task.dataset.normalization();
    // As JSON, in the fewest digits that give the same f32.
    let list = |numbers: &[f32]| format!("{numbers:?}");
    vec![
        ("netspec.data", task.source.name().to_owned()),
        ("netspec.classes", json!(task.dataset.classes).to_string()),
        ("netspec.divisor", normalization.divisor.to_string()),
        ("netspec.mean", list(&normalization.mean)),
        ("netspec.std", list(&normalization.std)),
    ]
}
