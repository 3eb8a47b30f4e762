//! A run: epochs of steps, and what they lead to.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use netspec::network::{self, Network};
use netspec::{Loss, Sample, Sgd, Workspace, argmax, data};
use netspec_tests::clock::cpu_seconds;

use crate::rows::Row;
use crate::runs::{self, Epoch};

/// Images of a batch, as in the book; the last batch of an epoch has what is left.
const BATCH: usize = 64;
/// Values of an image.
pub(crate) const VALUES: usize = 3 * 32 * 32;
/// The classes by the networks' labels.
pub(crate) const CLASSES: [&str; 2] = ["airplane", "bird"];
/// The mean of each colour, and its deviation, by which the book normalizes.
pub(crate) const MEAN: [f32; 3] = [0.4915, 0.4823, 0.4468];
pub(crate) const STD: [f32; 3] = [0.2470, 0.2435, 0.2616];
/// Epochs whose accuracies are told beside the last ones.
const TOLD: [usize; 3] = [1, 10, 50];
/// Epochs of the book's runs.
pub(crate) const EPOCHS: usize = 100;
/// The last epochs, over which the table takes medians.
pub(crate) const LAST: usize = 10;

/// How a network is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evaluation {
    /// For inference: what it makes in training is the same.
    Inference,
    /// As in training, with dropout and the statistics of the evaluated batch: the book never leaves training mode.
    Training,
}

/// What bounds a run.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) epochs: usize,
    pub(crate) minutes: f64,
    pub(crate) threads: usize,
}

/// One run of a row.
pub(crate) struct Run<'a> {
    pub(crate) row: &'a Row,
    pub(crate) seed: u64,
    /// Epochs that were run before.
    pub(crate) done: Vec<Epoch>,
    pub(crate) path: PathBuf,
    pub(crate) images: &'a Images,
    pub(crate) limits: Limits,
}

/// The airplanes and birds, normalized as the book does.
pub(crate) struct Images {
    train: Part,
    test: Part,
}

struct Part {
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

impl Images {
    pub(crate) fn read(folder: &Path) -> Result<Images, Box<dyn Error>> {
        let data = data::cifar10(folder, &CLASSES)?.normalized(&MEAN, &STD)?;
        let part = |split: &data::Split| {
            let mut pixels = vec![0.0; split.records() * VALUES];
            pixels.chunks_exact_mut(VALUES).enumerate().for_each(|(record, image)| split.feed(record, image));
            Part { pixels, labels: split.labels().unwrap_or_default().to_vec() }
        };
        Ok(Images { train: part(&data.train), test: part(&data.test) })
    }
}

/// Trains a network, and writes its run.
pub(crate) fn train<N, L>(run: &Run<'_>, loss: &L) -> Result<(), Box<dyn Error>>
where
    N: Network<Input: Sample, Output = [f32; 2]>,
    L: Loss<[f32; 2], Target = usize>,
{
    let Run { row, seed, images, limits, .. } = run;
    let weights = run.path.with_extension("safetensors");
    let mut epochs = run.done.clone();
    let mut model: N = if epochs.is_empty() { network::new(*seed) } else { network::load(&weights)? };
    let mut workspace = Workspace::with_threads(limits.threads);
    workspace.seed(*seed);
    // A penalty of l2 times the sum of squares has the gradient of twice that weight decay.
    let mut optimizer = Sgd::new(row.lr).weight_decay(2.0 * row.l2);
    let inputs = netspec::samples::<N>(&images.train.pixels)?;
    let labels = &images.train.labels;
    let (mut batch, mut batch_labels) = (Vec::with_capacity(BATCH * VALUES), Vec::with_capacity(BATCH));
    let begin = Instant::now();
    while epochs.len() < limits.epochs && !(row.resumes && begin.elapsed().as_secs_f64() > 60.0 * limits.minutes) {
        let epoch = epochs.len() + 1;
        let clock = cpu_seconds();
        let mut losses = Vec::new();
        let mut step = |inputs: &[N::Input], labels: &[usize]| -> Result<(), netspec::Error> {
            let penalty = match row.l2 {
                0.0 => 0.0,
                l2 => l2 * model.weights().params().iter().map(|&p| f64::from(p) * f64::from(p)).sum::<f64>(),
            };
            let mean = network::step(&mut model, &mut workspace, inputs, labels, loss, &mut optimizer)?;
            losses.push(f64::from(mean) + penalty);
            Ok(())
        };
        if row.shuffles {
            for records in data::order(*seed, epoch as u64, labels.len()).chunks(BATCH) {
                batch.clear();
                batch_labels.clear();
                for &record in records {
                    batch.extend_from_slice(&images.train.pixels[record * VALUES..][..VALUES]);
                    batch_labels.push(labels[record]);
                }
                step(netspec::samples::<N>(&batch)?, &batch_labels)?;
            }
        } else {
            for (inputs, labels) in inputs.chunks(BATCH).zip(labels.chunks(BATCH)) {
                step(inputs, labels)?;
            }
        }
        let seconds = cpu_seconds() - clock;
        let loss = losses.iter().sum::<f64>() / losses.len() as f64;
        let is_told = row.resumes || TOLD.contains(&epoch) || epoch + LAST > limits.epochs;
        let accuracies = match is_told {
            true => Some([
                accuracy(&model, &mut workspace, &images.train, row.evaluation)?,
                accuracy(&model, &mut workspace, &images.test, row.evaluation)?,
            ]),
            false => None,
        };
        epochs.push(Epoch { loss, accuracies, seconds });
        if row.resumes {
            network::save(&model, &weights)?;
            runs::write(&run.path, &epochs)?;
        }
    }
    runs::write(&run.path, &epochs)?;
    Ok(())
}

/// The part of the images that a network classifies right.
fn accuracy<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    part: &Part,
    evaluation: Evaluation,
) -> Result<f64, netspec::Error> {
    let mut right = 0;
    for (batch, labels) in part.labels.chunks(BATCH).enumerate() {
        let pixels = &part.pixels[batch * BATCH * VALUES..];
        let feed = |sample: usize, _: usize, to: &mut [f32]| to.copy_from_slice(&pixels[sample * VALUES..][..VALUES]);
        let mut each = |sample: usize, _: usize, scores: &[f32]| right += usize::from(argmax(scores) == labels[sample]);
        match evaluation {
            Evaluation::Inference => network::infer_from(model, workspace, labels.len(), &feed, &mut each)?,
            Evaluation::Training => network::forward_from(model, workspace, labels.len(), &feed, &mut each)?,
        }
    }
    Ok(right as f64 / part.labels.len() as f64)
}
