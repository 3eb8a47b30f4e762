//! What follows a pass of training on a card: optimizers, and what is done to gradients before them, as launches of flat kernels.

use std::ops::Range;
use std::sync::Arc;

use super::calls::Word;
use super::card::{Buffer, Card};
use super::engine::Script;
use super::program::flat;
use crate::floats::Floats;
use crate::{Clip, Error, Penalty};

/// An optimizer that has kernels: each of this crate.
pub trait CardOptimizer {
    /// Adds a step to what the card will do, as [`Optimizer::follow`](crate::Optimizer::follow).
    ///
    /// # Errors
    ///
    /// [`Error::Device`].
    fn add_step(&mut self, update: &mut Update<'_>) -> Result<(), Error>;
}

/// A step in the making.
pub struct Update<'a> {
    script: &'a mut Script,
    /// All parameters and their gradients, and how many there are.
    params: u64,
    gradients: u64,
    len: usize,
    /// Those that are trained, in order.
    trained: Vec<Range<usize>>,
    samples: usize,
}

impl<'a> Update<'a> {
    pub(super) fn new(script: &'a mut Script, [params, gradients]: [u64; 2], len: usize, samples: usize) -> Update<'a> {
        let trained = std::iter::once(0..len).filter(|all| !all.is_empty()).collect();
        Update { script, params, gradients, len, trained, samples }
    }

    /// Samples of the batch.
    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    /// All parameters.
    pub(crate) fn all(&self) -> Range<usize> {
        0..self.len
    }

    /// Leaves out what is frozen: what is trained, in order, stays.
    pub(crate) fn train_only(&mut self, trained: impl Iterator<Item = Range<usize>>) {
        self.trained = trained.collect();
    }

    /// What an optimizer knows of each parameter that is trained, zeros at first; the step will change it.
    pub(crate) fn state(&mut self, of: &mut Floats) -> Result<Arc<Buffer<f32>>, Error> {
        let trained = self.trained.iter().map(Range::len).sum();
        self.changed(of, trained)
    }

    /// Floats on the card, zeros at first, which the step will change.
    fn changed(&mut self, of: &mut Floats, len: usize) -> Result<Arc<Buffer<f32>>, Error> {
        let buffer = of.begun_on_card(self.card(), len)?;
        of.written();
        Ok(buffer)
    }

    fn card(&self) -> &Arc<Card> {
        &self.script.card
    }

    /// Adds a kernel with a thread for each of `count` floats.
    fn flat(&mut self, kernel: &str, count: usize, args: &[Word]) -> Result<(), Error> {
        let blocks = (count as u32).div_ceil(flat::THREADS);
        self.script.launch(kernel, [blocks, 1, 1], flat::THREADS, args)
    }

    /// Adds an optimizer's kernel, on all that is trained. States are those of [`Update::state`]; of some kernels one may be absent.
    pub(crate) fn update(
        &mut self,
        kernel: &str,
        states: &[Option<&Buffer<f32>>],
        numbers: &[f32],
    ) -> Result<(), Error> {
        let words: Vec<u32> = numbers.iter().map(|number| number.to_bits()).collect();
        let numbers = self.script.put(&words);
        let mut first = 0;
        for range in self.trained.clone() {
            let of_state = |state: &Option<&Buffer<f32>>| state.map_or(0, |state| state.address() + 4 * first);
            let args: Vec<Word> = [at(self.params, &range), at(self.gradients, &range)]
                .into_iter()
                .chain(states.iter().map(|state| Word::Address(of_state(state))))
                .chain([Word::U32(range.len() as u32), Word::Address(numbers)])
                .collect();
            self.flat(kernel, range.len(), &args)?;
            first += range.len() as u64;
        }
        Ok(())
    }

    /// Adds to the loss what a penalty on some parameters does, as they are before the step.
    pub(crate) fn note(&mut self, penalty: Penalty, on: Range<usize>) -> Result<(), Error> {
        let sums = self.script.sums(2 * flat::SUM_BLOCKS as usize)?;
        self.sum(at(self.params, &on), on.len(), sums)?;
        let (l1, l2) = (Word::F32(penalty.l1 as f32), Word::F32(penalty.l2 as f32));
        let args = [Word::Address(sums), l1, l2, self.script.loss()];
        self.script.launch(flat::ADD_PENALTY, [1, 1, 1], flat::THREADS, &args)
    }

    fn sum(&mut self, of: Word, count: usize, sums: u64) -> Result<(), Error> {
        let args = [of, Word::U32(count as u32), Word::Address(sums)];
        self.script.launch(flat::SUMS, [flat::SUM_BLOCKS, 1, 1], flat::THREADS, &args)
    }

    /// Adds a penalty's gradient on some parameters.
    pub(crate) fn penalize(&mut self, penalty: Penalty, on: Range<usize>) -> Result<(), Error> {
        let (l1, l2) = (Word::F32(penalty.l1 as f32), Word::F32((2.0 * penalty.l2) as f32));
        let args = [at(self.params, &on), at(self.gradients, &on), Word::U32(on.len() as u32), l1, l2];
        self.flat(flat::PENALIZE, on.len(), &args)
    }

    /// Clips the gradients of all that is trained.
    pub(crate) fn clip(&mut self, clip: Clip) -> Result<(), Error> {
        let trained = self.trained.clone();
        match clip {
            Clip::Value(most) => {
                for range in &trained {
                    let args = [at(self.gradients, range), Word::U32(range.len() as u32), Word::F32(most as f32)];
                    self.flat(flat::LIMIT, range.len(), &args)?;
                }
            }
            Clip::Norm(most) => {
                let pairs = flat::SUM_BLOCKS as usize * trained.len();
                let sums = self.script.sums(2 * pairs)?;
                for (number, range) in trained.iter().enumerate() {
                    let sums = sums + (8 * 2 * flat::SUM_BLOCKS as usize * number) as u64;
                    self.sum(at(self.gradients, range), range.len(), sums)?;
                }
                for range in &trained {
                    let count = Word::U32(range.len() as u32);
                    let (sums, pairs) = (Word::Address(sums), Word::U32(pairs as u32));
                    let args = [at(self.gradients, range), count, sums, pairs, Word::F32(most as f32)];
                    self.flat(flat::CLIP, range.len(), &args)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the batch's gradient to a sum, as many times as it has samples.
    pub(crate) fn gather(&mut self, sum: &mut Floats) -> Result<(), Error> {
        let to = self.changed(sum, self.len)?;
        let (gradients, count) = (Word::Address(self.gradients), Word::U32(self.len as u32));
        let args = [Word::Address(to.address()), gradients, count, Word::F32(self.samples as f32)];
        self.flat(flat::GATHER, self.len, &args)
    }

    /// Goes on with the mean of a sum of so many samples' gradients in place of the batch's.
    pub(crate) fn go_on_with(&mut self, sum: &mut Floats, samples: usize) -> Result<(), Error> {
        let of = self.changed(sum, self.len)?;
        let args = [Word::Address(of.address()), Word::U32(self.len as u32), Word::F32(1.0 / samples as f32)];
        self.flat(flat::SCALE, self.len, &args)?;
        self.gradients = of.address();
        Ok(())
    }

    /// Makes a sum zeros.
    pub(crate) fn clear(&mut self, sum: &mut Floats) -> Result<(), Error> {
        let of = self.changed(sum, self.len)?;
        self.script.zeros(of.address(), self.len);
        Ok(())
    }
}

/// Where the first of some floats is.
fn at(from: u64, range: &Range<usize>) -> Word {
    Word::Address(from + 4 * range.start as u64)
}
