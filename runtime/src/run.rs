//! A pass over a batch: stages of tiles, and what is done once for the batch between them.
//!
//! The bits of a pass are a function of the plan, the weights and the data: a tile computes the same whoever runs it, gradients of
//! tiles are added in their order, and losses are an array, added in order.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::arena::{Job, Tile};
use crate::pool;
use crate::random::Draw;

/// Samples of a tile.
pub const TILE: usize = 8;

/// Bytes that the gradients of tiles that run at once may take.
const GRADIENT_BUDGET: usize = 16 << 20;

/// Floats that a pass needs, as the compiler planned them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Of one sample, in a worker's memory.
    pub tile: usize,
    /// Of one sample, in the batch's memory.
    pub batch: usize,
    /// Of the whole batch: means and the like.
    pub state: usize,
    /// A kernel's own, for each worker.
    pub scratch: usize,
    /// The largest gradient that a stage makes, for each tile.
    pub gradients: usize,
}

/// A part of a stage's gradient and where it belongs in the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Its first float in the tile's gradient.
    pub from: usize,
    /// Its first float in the model's gradient.
    pub to: usize,
    /// How many.
    pub len: usize,
}

/// The memory in which models run: make one for each thread that runs models, and use it again and again. It grows to what a model
/// and a batch need when they first run in it.
#[derive(Debug)]
pub struct Workspace {
    threads: usize,
    tile: Vec<f32>,
    batch: Vec<f32>,
    state: Vec<f32>,
    scratch: Vec<f32>,
    tile_gradients: Vec<f32>,
    losses: Vec<f32>,
    pub(crate) gradients: Vec<f32>,
    /// Parameters as inference reads them, and which model and version they were made of.
    pub(crate) packed: Vec<f32>,
    pub(crate) packed_of: Option<(u64, u64)>,
    pub(crate) draw: Draw,
}

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace::new()
    }
}

impl Workspace {
    /// A workspace that uses every core.
    pub fn new() -> Workspace {
        Workspace::with_threads(pool::available())
    }

    /// A workspace that uses at most `threads` threads, the caller's among them. Results do not depend on it, to the bit.
    pub fn with_threads(threads: usize) -> Workspace {
        Workspace {
            threads: threads.max(1),
            tile: Vec::new(),
            batch: Vec::new(),
            state: Vec::new(),
            scratch: Vec::new(),
            tile_gradients: Vec::new(),
            losses: Vec::new(),
            gradients: Vec::new(),
            packed: Vec::new(),
            packed_of: None,
            draw: Draw::default(),
        }
    }

    /// Sets the seed of dropout, and begins its numbers anew.
    pub fn seed(&mut self, seed: u64) {
        self.draw = Draw { seed, step: 0 };
    }

    /// The gradient of the last `step` or `gradients`, in the order of the parameters.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// A pass over a batch in this memory.
    pub(crate) fn run<'a>(
        &'a mut self,
        plan: &'a Plan,
        params: &'a [f32],
        statistics: Option<&'a mut [f32]>,
        job: &'a Job<'a>,
    ) -> Run<'a> {
        let tiles = job.samples.div_ceil(TILE);
        let workers = self.threads.min(tiles).max(1);
        let waves = (GRADIENT_BUDGET / (4 * plan.gradients.max(1))).clamp(1, tiles.max(1));
        grow(&mut self.tile, workers * TILE * plan.tile);
        grow(&mut self.scratch, workers * plan.scratch);
        grow(&mut self.batch, job.samples * plan.batch);
        grow(&mut self.state, plan.state);
        grow(&mut self.tile_gradients, waves * plan.gradients);
        grow(&mut self.losses, job.samples);
        grow(&mut self.gradients, params.len());
        Run {
            plan,
            threads: workers,
            waves,
            params,
            statistics,
            job,
            draw: self.draw,
            tile: &mut self.tile,
            batch: &mut self.batch,
            state: &mut self.state,
            scratch: &mut self.scratch,
            tile_gradients: &mut self.tile_gradients,
            losses: &mut self.losses[..job.samples],
            gradients: &mut self.gradients[..params.len()],
        }
    }
}

/// Makes a vector at least so long; it never shrinks, so that a later pass allocates nothing.
fn grow(memory: &mut Vec<f32>, len: usize) {
    if memory.len() < len {
        memory.resize(len, 0.0);
    }
}

/// One pass over a batch.
pub struct Run<'a> {
    plan: &'a Plan,
    threads: usize,
    /// Tiles whose gradients are held at once.
    waves: usize,
    pub(crate) params: &'a [f32],
    /// Running statistics; None when they are not to change.
    pub(crate) statistics: Option<&'a mut [f32]>,
    job: &'a Job<'a>,
    draw: Draw,
    tile: &'a mut [f32],
    batch: &'a mut [f32],
    pub(crate) state: &'a mut [f32],
    scratch: &'a mut [f32],
    tile_gradients: &'a mut [f32],
    losses: &'a mut [f32],
    /// The gradient of the mean loss by each parameter.
    pub(crate) gradients: &'a mut [f32],
}

/// Memory that tasks share by chunks: each chunk belongs to one task at a time.
struct Chunks<'a> {
    first: *mut f32,
    len: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: `chunk` hands out disjoint parts, by its contract.
unsafe impl Sync for Chunks<'_> {}

impl<'a> Chunks<'a> {
    fn new(memory: &'a mut [f32]) -> Chunks<'a> {
        Chunks { first: memory.as_mut_ptr(), len: memory.len(), of: PhantomData }
    }

    /// The floats `from..from + len`.
    ///
    /// # Safety
    ///
    /// No two ranges that overlap may be held at the same time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn chunk(&self, from: usize, len: usize) -> &'a mut [f32] {
        assert!(from + len <= self.len, "a chunk lies inside its memory");
        // SAFETY: inside the memory (checked), and by the caller's word nobody else holds a part of it.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(from), len) }
    }
}

/// Runs `work(number, block)` for each block of `len` floats of `memory` (the last may be shorter), in parallel.
pub(crate) fn blocks(threads: usize, memory: &mut [f32], len: usize, work: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    let total = memory.len();
    let chunks = Chunks::new(memory);
    pool::run(threads, total.div_ceil(len), &|_, task| {
        let from = task * len;
        // SAFETY: a task's block is its own.
        work(task, unsafe { chunks.chunk(from, len.min(total - from)) });
    });
}

impl Run<'_> {
    /// How many samples the batch has.
    pub fn samples(&self) -> usize {
        self.job.samples
    }

    /// Rows of the batch's memory: the floats, and those of one sample.
    pub fn batch(&self) -> (&[f32], usize) {
        (&self.batch[..self.job.samples * self.plan.batch], self.plan.batch)
    }

    /// Everything a kernel needs that works once for the whole batch.
    pub(crate) fn whole(&mut self) -> Whole<'_> {
        Whole {
            samples: self.job.samples,
            threads: self.threads,
            batch: &self.batch[..self.job.samples * self.plan.batch],
            batch_stride: self.plan.batch,
            params: self.params,
            state: self.state,
            statistics: self.statistics.as_deref_mut(),
            gradients: self.gradients,
        }
    }

    /// The sum of the losses in the order of the samples, divided by their number.
    pub(crate) fn mean_loss(&self) -> f32 {
        let sum: f64 = self.losses.iter().map(|&loss| f64::from(loss)).sum();
        (sum / self.losses.len().max(1) as f64) as f32
    }

    /// Runs `work` on each tile of the batch, and adds the tiles' gradients to the model's, in the order of the tiles.
    pub fn stage(&mut self, folds: &[Fold], work: impl Fn(&mut Tile<'_>) + Sync) {
        let samples = self.job.samples;
        let tiles = samples.div_ceil(TILE);
        let gradient_len = folds.iter().map(|fold| fold.from + fold.len).max().unwrap_or(0);
        assert!(gradient_len <= self.plan.gradients, "a stage's gradient fits the plan");
        let waves = if gradient_len == 0 { tiles.max(1) } else { self.waves };
        for first in (0..tiles).step_by(waves) {
            let count = waves.min(tiles - first);
            self.tiles(first, count, gradient_len, &work);
            for index in 0..count {
                let of_tile = &self.tile_gradients[index * self.plan.gradients..][..gradient_len];
                for fold in folds {
                    let from = &of_tile[fold.from..][..fold.len];
                    let to = &mut self.gradients[fold.to..][..fold.len];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        }
    }

    /// Runs `count` tiles from `first` on, in parallel, each with a gradient of its own.
    fn tiles(&mut self, first: usize, count: usize, gradient_len: usize, work: &(impl Fn(&mut Tile<'_>) + Sync)) {
        let (plan, job, samples) = (self.plan, self.job, self.job.samples);
        let (params, draw) = (self.params, self.draw);
        let state: &[f32] = self.state;
        let (tile, batch, scratch) = (Chunks::new(self.tile), Chunks::new(self.batch), Chunks::new(self.scratch));
        let (gradients, losses) = (Chunks::new(self.tile_gradients), Chunks::new(self.losses));
        pool::run(self.threads, count, &|worker, task| {
            let begin = (first + task) * TILE;
            let range = begin..(begin + TILE).min(samples);
            let rows = range.len();
            // SAFETY: a worker's memory is held by the one thread that has its number; a task's rows, gradient and losses are held by
            // the one worker that runs it.
            let mut tile = unsafe {
                Tile {
                    tile: tile.chunk(worker * TILE * plan.tile, rows * plan.tile),
                    tile_stride: plan.tile,
                    batch: batch.chunk(begin * plan.batch, rows * plan.batch),
                    batch_stride: plan.batch,
                    scratch: scratch.chunk(worker * plan.scratch, plan.scratch),
                    gradients: gradients.chunk(if gradient_len == 0 { 0 } else { task * plan.gradients }, gradient_len),
                    losses: losses.chunk(begin, rows),
                    samples: range,
                    params,
                    state,
                    job,
                    draw,
                }
            };
            tile.gradients.fill(0.0);
            work(&mut tile);
        });
    }
}

/// What a kernel has that works once for the whole batch, between stages.
pub(crate) struct Whole<'a> {
    pub(crate) samples: usize,
    pub(crate) threads: usize,
    /// The batch's memory: `samples` rows of `batch_stride` floats.
    pub(crate) batch: &'a [f32],
    pub(crate) batch_stride: usize,
    pub(crate) params: &'a [f32],
    pub(crate) state: &'a mut [f32],
    pub(crate) statistics: Option<&'a mut [f32]>,
    pub(crate) gradients: &'a mut [f32],
}
