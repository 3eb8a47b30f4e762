//! A model on a card that a program measures.

use std::fmt;

use super::engine::{CardBatch, CardLoss, tell_inference, tell_step};
use super::program::OnDevice;
use super::records::{Inputs, Records};
use crate::network::{on_card, same_length, totals};
use crate::sample::Parts;
use crate::{Device, Error, Losses, Optimizer, Precision, Workspace};

/// A model on a card with a data set there, whose batches it takes in turns, again and again: for programs that measure.
///
/// A call tells the card what to do and comes back, as with each step of the trainer. Nothing waits but [`Measured::wait`], and no output
/// comes back.
pub struct Measured<N> {
    model: N,
    workspace: Workspace,
    records: Records,
    batches: Vec<Batch>,
    next: usize,
}

/// Which records a batch has, and what is wanted of them.
struct Batch {
    numbers: Vec<u32>,
    losses: Vec<CardLoss>,
    totals: Vec<f64>,
}

impl<N> fmt::Debug for Measured<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { workspace, batches, .. } = self;
        let (card, batches) = (workspace.card(), batches.len());
        f.debug_struct("Measured").field("card", &card).field("batches", &batches).finish_non_exhaustive()
    }
}

impl<N: OnDevice> Measured<N> {
    /// Brings a model of one input to a card, by its number, and a data set, in batches of so many samples.
    ///
    /// # Errors
    ///
    /// [`Error::Device`], and those of [`step`](crate::network::step) of the targets.
    ///
    /// # Panics
    ///
    /// When there are no samples, or batches have none.
    pub fn new<L: Losses<N::Output>>(
        model: N,
        (card, precision): (usize, Precision),
        (inputs, targets): (&[N::Input], &[L::Target]),
        loss: &L,
        batch: usize,
    ) -> Result<Measured<N>, Error> {
        same_length("targets", targets.len(), inputs.len())?;
        let mut batches = Vec::new();
        for (number, (inputs, targets)) in inputs.chunks(batch).zip(targets.chunks(batch)).enumerate() {
            let (first, totals) = ((number * batch) as u32, totals(inputs, targets, loss)?);
            let losses = on_card::<N, L>(loss, targets)?;
            let numbers = (first..).take(inputs.len()).collect();
            batches.push(Batch { numbers, totals: totals[..losses.len()].to_vec(), losses });
        }
        let mut workspace = Workspace::on::<N>(Device::Cuda(card), precision)?;
        let floats: Vec<f32> = inputs.iter().flat_map(|input| input.part(0)).copied().collect();
        let shape = [1, 1, floats.len() / inputs.len()];
        let records = workspace.on_card(|engine, _| Records::of_floats(engine.card(), &floats, &[0.0], shape));
        let records = records.expect("the workspace is on a card")?;
        Ok(Measured { model, workspace, records, batches, next: 0 })
    }

    /// Takes a step on the next batch.
    ///
    /// # Errors
    ///
    /// [`Error::Device`], of this step or of one before.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<(), Error> {
        let Measured { model, workspace, records, batches, next } = self;
        let Batch { numbers, losses, totals } = take(batches, next);
        let told = workspace.on_card(|engine, workspace| {
            let inputs = Inputs::Records { of: records, numbers, changes: &[] };
            let batch = CardBatch { samples: numbers.len(), inputs, losses, shares: &[], totals };
            tell_step(engine, model, workspace, &batch, optimizer)
        });
        told.unwrap_or(Ok(0.0)).map(drop)
    }

    /// Runs the next batch as in inference.
    ///
    /// # Errors
    ///
    /// As of [`Measured::step`].
    pub fn infer(&mut self) -> Result<(), Error> {
        let Measured { model, workspace, records, batches, next } = self;
        let numbers = &take(batches, next).numbers;
        let told = workspace.on_card(|engine, workspace| {
            let inputs = &Inputs::Records { of: records, numbers, changes: &[] };
            tell_inference(engine, model, (numbers.len(), inputs, workspace.draw()))
        });
        told.unwrap_or(Ok(()))
    }

    /// Waits until the card has done all that it was told.
    ///
    /// # Errors
    ///
    /// As of [`Measured::step`].
    pub fn wait(&mut self) -> Result<(), Error> {
        self.workspace.on_card(|engine, _| engine.card().wait()).unwrap_or(Ok(()))
    }

    /// What each kernel takes of a step or a pass, which tells the card nothing as a graph: its name and seconds, launch by launch, as the
    /// card's clock says. It has to be kept waiting by what it was told before, or pauses between launches count too.
    ///
    /// # Errors
    ///
    /// As of [`Measured::step`].
    pub fn kernels(&mut self, run: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<Vec<(String, f64)>, Error> {
        let engine =
            |measured: &mut Self, is_timed| measured.workspace.on_card(|engine, _| Ok(engine.set_timed(is_timed)));
        engine(self, true);
        let ran = run(self);
        let times = engine(self, false).unwrap_or_else(|| Ok(Vec::new()));
        ran.and(times)
    }
}

/// The next batch, in turns.
fn take<'a>(batches: &'a [Batch], next: &mut usize) -> &'a Batch {
    let batch = &batches[*next];
    *next = (*next + 1) % batches.len();
    batch
}
