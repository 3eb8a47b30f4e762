//! A pass over a batch: stages of tiles, and what is done once for the batch between them.
//!
//! The bits of a pass are a function of the plan, the weights and the data: a tile computes the same whoever runs it, gradients of
//! tiles are added in their order, and losses are an array, added in order.
#![allow(unsafe_code)]

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use crate::Error;
use crate::arena::{Job, Pack, Tile};
use crate::floats::Floats;
use crate::isa::{Isa, Numerics};
use crate::memory::Memory;
use crate::network::{BatchLoss, Feed};
use crate::pool;
use crate::random::{Draw, scatter};
use crate::weights::Weights;
#[cfg(feature = "cuda")]
use crate::{
    Device, Precision,
    cuda::{Card, Engine, Played, program::OnDevice},
    error::DeviceProblem,
    network,
};

/// Samples of a tile.
pub const TILE: usize = 8;

/// Bytes that the gradients of tiles that run at once may take, if that is enough for every worker to have a tile.
const GRADIENT_BUDGET: usize = 16 << 20;

/// Floats of a gradient that one task adds up: some 10 microseconds of work with a few tiles.
const FOLD_BLOCK: usize = if cfg!(miri) { 16 } else { 16 << 10 };

/// Packed floats from which on several threads pack: some 50 microseconds of work.
const PARALLEL_PACK: usize = 1 << 16;

/// Shares of packing for each thread: more than one, so that a thread that is late holds up the others for a part of its work.
const SHARES: usize = 4;

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
    /// Of packed weights.
    pub packed: usize,
    /// The largest gradient that a stage makes, for each tile.
    pub gradients: usize,
}

impl Plan {
    /// The plan of a pass that a model does not have.
    pub const NONE: Plan = Plan { tile: 0, batch: 0, state: 0, scratch: 0, packed: 0, gradients: 0 };
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
/// and a batch need when they first run in it; after that, running allocates nothing.
pub struct Workspace {
    threads: usize,
    isa: Isa,
    numerics: Numerics,
    tile: Memory,
    batch: Memory,
    state: Memory,
    scratch: Memory,
    tile_gradients: Memory,
    losses: Vec<f32>,
    gradients: Floats,
    /// Parameters as kernels read them, of each kind of pass.
    copies: [(Memory, Option<CopiesOf>); 4],
    draw: Draw,
    /// How often a batch ran forward as in training, without a step.
    forwards: u64,
    /// The card that it is on, if it is on one.
    #[cfg(feature = "cuda")]
    engine: Option<Box<Engine>>,
}

// Any thread may use it, and with a card too.
const _: () = {
    const fn goes_anywhere<T: Send + Sync>() {}
    goes_anywhere::<Workspace>();
};

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace::new()
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workspace { tile, batch, state, scratch, tile_gradients, copies, .. } = self;
        let memories =
            [tile, batch, state, scratch, tile_gradients].into_iter().chain(copies.iter().map(|copy| &copy.0));
        let memories: usize = memories.map(Memory::bytes).sum();
        let bytes = memories + 4 * (self.losses.len() + self.gradients.get().len());
        f.debug_struct("Workspace").field("threads", &self.threads).field("bytes", &bytes).finish_non_exhaustive()
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
            isa: Isa::best(),
            numerics: Numerics::Fast,
            tile: Memory::default(),
            batch: Memory::default(),
            state: Memory::default(),
            scratch: Memory::default(),
            tile_gradients: Memory::default(),
            losses: Vec::new(),
            gradients: Floats::default(),
            copies: Default::default(),
            draw: Draw::default(),
            forwards: 0,
            #[cfg(feature = "cuda")]
            engine: None,
        }
    }

    /// A workspace on a device, for one model. What runs in it runs there, and nothing else is different: the model's weights go over to
    /// a card with the first pass, and come back when they are read or saved, or run in another workspace.
    ///
    /// The kernels are compiled here, or found in the user's cache. Products on a card are of the given precision.
    ///
    /// ```
    /// netspec::netspec! { model Net { input x [4]; linear(2); } }
    ///
    /// use netspec::{CrossEntropy, Device, Precision, Sgd, Workspace};
    ///
    /// let mut net = Net::new(0);
    /// // A card if there is one: else the processor.
    /// let mut workspace = Workspace::on::<Net>(Device::Auto, Precision::F32)?;
    /// net.step(&mut workspace, &[[1.0; 4]], &[1], &CrossEntropy, &mut Sgd::new(1e-2))?;
    /// # Ok::<(), netspec::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Device`]. [`Device::Auto`] is the processor where [`DeviceProblem::is_absence`] says why there is no card.
    #[cfg(feature = "cuda")]
    pub fn on<N: OnDevice>(device: Device, precision: Precision) -> Result<Workspace, Error> {
        Ok(Workspace::new().moved_to::<N>(device, precision)?.0)
    }

    /// The same workspace on a device; when that is the processor for want of a card, also why.
    #[cfg(feature = "cuda")]
    pub(crate) fn moved_to<N: OnDevice>(
        self,
        device: Device,
        precision: Precision,
    ) -> Result<(Workspace, Option<DeviceProblem>), Error> {
        let number = match device {
            Device::Cpu => return Ok((Workspace { engine: None, ..self }, None)),
            Device::Auto => 0,
            Device::Cuda(number) => number,
        };
        match Card::open(number).and_then(|card| Engine::new::<N>(card, precision)) {
            Ok(engine) => Ok((Workspace { engine: Some(Box::new(engine)), ..self }, None)),
            Err(Error::Device(problem)) if device == Device::Auto && problem.is_absence() => {
                Ok((Workspace { engine: None, ..self }, Some(problem)))
            }
            Err(error) => Err(error),
        }
    }

    /// What the card that it is on calls itself; None on the processor.
    #[cfg(feature = "cuda")]
    pub fn card(&self) -> Option<&str> {
        self.engine.as_deref().map(Engine::name)
    }

    /// What the card was told so far.
    #[cfg(feature = "cuda")]
    pub fn played(&self) -> Played {
        self.engine.as_deref().map(Engine::played).unwrap_or_default()
    }

    /// The same workspace, which tells a card each kernel by itself, and captures no step. The results are the same bits, later.
    #[cfg(feature = "cuda")]
    pub fn call_by_call(mut self) -> Workspace {
        if let Some(engine) = &mut self.engine {
            engine.set_call_by_call(true);
        }
        self
    }

    /// Runs something on the card, if it is on one.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_card<T>(
        &mut self,
        run: impl FnOnce(&mut Engine, &mut Workspace) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let mut engine = self.engine.take()?;
        let given = run(&mut engine, self);
        self.engine = Some(engine);
        Some(given)
    }

    /// Refuses a loss that is a function of the host, unless it is on the processor.
    pub(crate) fn refuse_own_loss(&self, model: &'static str) -> Result<(), Error> {
        #[cfg(feature = "cuda")]
        if self.engine.is_some() {
            return Err(network::own_loss(model));
        }
        let _ = model;
        Ok(())
    }

    /// What the next step draws from.
    #[cfg(feature = "cuda")]
    pub(crate) fn draw(&self) -> Draw {
        self.draw
    }

    /// The gradient of the last `step` or `gradients`, wherever it is.
    #[cfg(feature = "cuda")]
    pub(crate) fn gradient_floats(&mut self) -> &mut Floats {
        &mut self.gradients
    }

    /// The same workspace with kernels that use these instructions.
    pub fn with_isa(self, isa: Isa) -> Workspace {
        Workspace { isa, ..self }
    }

    /// The same workspace with these kernels.
    pub fn with_numerics(self, numerics: Numerics) -> Workspace {
        Workspace { numerics, ..self }
    }

    /// Sets the seed of dropout, and begins its numbers anew: the first step after it draws what the first step ever would.
    pub fn seed(&mut self, seed: u64) {
        self.draw = Draw { seed, step: 0 };
        self.forwards = 0;
    }

    /// How many threads it uses at most.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// The gradient of the last `step` or `gradients`, in the order of the parameters; empty before. Behind a step it is as the
    /// optimizer left it.
    pub fn gradients(&self) -> &[f32] {
        self.gradients.get()
    }

    /// The same, to be changed.
    pub(crate) fn gradients_mut(&mut self) -> &mut [f32] {
        self.gradients.get_mut()
    }

    /// What random numbers of the next steps follow from: the seed, the steps since it was set, and how often a batch ran forward as in
    /// training without one. With [`Workspace::set_draws`] a training that was interrupted goes on as if it had not been.
    pub fn draws(&self) -> [u64; 3] {
        [self.draw.seed, self.draw.step, self.forwards]
    }

    /// Sets what [`Workspace::draws`] gave.
    pub fn set_draws(&mut self, [seed, step, forwards]: [u64; 3]) {
        (self.draw, self.forwards) = (Draw { seed, step }, forwards);
    }

    /// Ends a step: the next one draws other random numbers.
    pub(crate) fn next_step(&mut self) {
        self.draw.step += 1;
    }

    /// What dropout draws when a batch runs forward as in training without a step: numbers of their own, so that evaluating does not
    /// change the training.
    pub(crate) fn forward_draw(&mut self) -> Draw {
        self.forwards += 1;
        Draw { seed: scatter(self.draw.seed), step: self.forwards }
    }

    /// Makes the copies of a pass those of a version of a model's weights, unless they are.
    fn refresh(&mut self, copies: &Copies, len: usize, version: u64, params: &[f32], statistics: &[f32]) {
        let (isa, numerics) = (self.isa, self.numerics);
        let of = CopiesOf { model: copies.of, version, isa, numerics };
        let (memory, made_of) = &mut self.copies[copies.pass as usize];
        if *made_of != Some(of) {
            // Until it is done they are nobody's.
            *made_of = None;
            memory.reserve(copies.folded_room() + len);
            let (folded, packed) = memory.floats_mut(copies.folded_room() + len).split_at_mut(copies.folded_room());
            let mut params = params;
            if copies.folded > 0 {
                (copies.fold)(params, statistics, &mut folded[..copies.folded]);
                params = folded;
            }
            let shares = if len < PARALLEL_PACK { 1 } else { self.threads * SHARES };
            let packed = Chunks::new(packed);
            pool::run(self.threads, shares, &|_, share| {
                (copies.pack)(&mut Pack::new(isa, numerics, params, &packed, (share, shares)));
            });
            *made_of = Some(of);
        }
    }

    /// Runs kernels on a batch without a model: with these parameters, and so many packed ones, which `pack` writes. For programs that
    /// measure kernels.
    #[doc(hidden)]
    pub fn bare(
        &mut self,
        plan: &Plan,
        samples: usize,
        feed: &Feed<'_>,
        params: &[f32],
        (packed, pack): (usize, &dyn Fn(&mut Pack<'_>)),
        work: &mut dyn FnMut(&mut Run<'_>),
    ) {
        let mut copies = Memory::default();
        copies.reserve(packed);
        let chunks = Chunks::new(copies.floats_mut(packed));
        pack(&mut Pack::new(self.isa, self.numerics, params, &chunks, (0, 1)));
        let job = Job { feed, loss: BatchLoss::NONE, samples };
        let params = Params::Trained(params, 0);
        let copies_of = Copies::none();
        let pass = Pass { plan, written: &[], copies: copies_of, params, statistics: None, job: &job, draw: None };
        let mut run = self.run(pass);
        run.packed = copies.floats(packed);
        work(&mut run);
    }

    /// A pass over a batch in this memory.
    pub(crate) fn run<'a>(&'a mut self, pass: Pass<'a>) -> Run<'a> {
        let Pass { plan, written, copies, params, statistics, job, draw } = pass;
        if copies.folded + plan.packed > 0 {
            match params {
                Params::Trained(params, version) => self.refresh(&copies, plan.packed, version, params, &[]),
                Params::Read(weights) => {
                    self.refresh(&copies, plan.packed, weights.version(), weights.params(), weights.statistics());
                }
            }
        }
        let tiles = job.samples.div_ceil(TILE);
        let workers = self.threads.min(tiles).max(1);
        // A tile that is alone leaves its kernels all threads.
        let scratches = if tiles > 1 { workers } else { self.threads };
        let in_budget = GRADIENT_BUDGET / (4 * plan.gradients.max(1));
        // Each worker can always go on; how many tiles run at once changes no bit.
        let wave = in_budget.max(workers).min(tiles.max(1));
        // Checked here, so that no product of the same factors overflows later.
        let floats = |count: usize, each: usize| count.checked_mul(each).expect("a batch fits the address space");
        let take = |memory: &'a mut Memory, len: usize| {
            memory.reserve(len);
            memory.floats_mut(len)
        };
        let made = self.copies[copies.pass as usize].0.floats(copies.folded_room() + plan.packed);
        let (folded, packed) = made.split_at(copies.folded_room());
        let (params, gradients): (&[f32], Option<usize>) = match params {
            Params::Trained(params, _) => (params, Some(params.len())),
            Params::Read(weights) => {
                // An op may make a weight's gradient only together with its input's.
                let gradients = (plan.gradients > 0).then_some(weights.params().len());
                (if copies.folded > 0 { folded } else { weights.params() }, gradients)
            }
        };
        let gradients: &mut [f32] = match gradients {
            None => &mut [],
            Some(len) => {
                let gradients = self.gradients.resize(len);
                clear_but(written, gradients);
                gradients
            }
        };
        self.losses.clear();
        self.losses.resize(job.samples * job.loss.totals.len(), 0.0);
        Run {
            plan,
            threads: self.threads,
            isa: self.isa,
            numerics: self.numerics,
            workers,
            scratches,
            wave,
            params,
            packed,
            statistics,
            job,
            draw: draw.unwrap_or(self.draw),
            tile: take(&mut self.tile, floats(workers, floats(TILE, plan.tile))),
            batch: take(&mut self.batch, floats(job.samples, plan.batch)),
            state: take(&mut self.state, plan.state),
            scratch: take(&mut self.scratch, floats(scratches, plan.scratch)),
            tile_gradients: take(&mut self.tile_gradients, floats(wave, plan.gradients)),
            losses: &mut self.losses,
            gradients,
        }
    }
}

/// Writes zeros where a pass only adds.
fn clear_but(written: &[(usize, usize)], gradients: &mut [f32]) {
    let mut from = 0;
    for &(first, len) in written {
        gradients[from..first].fill(0.0);
        from = first + len;
    }
    gradients[from..].fill(0.0);
}

/// What [`Workspace::run`] is told.
pub(crate) struct Pass<'a> {
    pub(crate) plan: &'a Plan,
    /// Parts of the gradient that it writes before it adds to them, in order: the first float, and how many.
    pub(crate) written: &'static [(usize, usize)],
    pub(crate) copies: Copies,
    pub(crate) params: Params<'a>,
    /// Running statistics, if they are to change.
    pub(crate) statistics: Option<&'a mut [f32]>,
    pub(crate) job: &'a Job<'a>,
    /// Which random numbers dropout draws; None: the next step's.
    pub(crate) draw: Option<Draw>,
}

/// Which parameters a pass reads.
pub(crate) enum Params<'a> {
    /// These, of this version, and it makes their gradient.
    Trained(&'a [f32], u64),
    /// These, or what is folded of them.
    Read(&'a Weights),
}

/// The kinds of passes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PassKind {
    Train,
    Forward,
    Infer,
    InputGradients,
}

/// The copies of weights that a pass reads.
pub(crate) struct Copies {
    pub(crate) pass: PassKind,
    /// The model.
    pub(crate) of: TypeId,
    /// Floats that are read in place of the parameters; 0 when the parameters are.
    pub(crate) folded: usize,
    pub(crate) fold: fn(&[f32], &[f32], &mut [f32]),
    pub(crate) pack: fn(&mut Pack<'_>),
}

impl Copies {
    /// None, of a pass without a model.
    pub(crate) fn none() -> Copies {
        Copies { pass: PassKind::Train, of: TypeId::of::<()>(), folded: 0, fold: |_, _, _| (), pack: |_| () }
    }

    /// Floats to what is packed, in whole lines.
    fn folded_room(&self) -> usize {
        self.folded.next_multiple_of(16)
    }
}

/// What copies were made of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CopiesOf {
    model: TypeId,
    version: u64,
    isa: Isa,
    numerics: Numerics,
}

/// One pass over a batch.
pub struct Run<'a> {
    plan: &'a Plan,
    threads: usize,
    pub(crate) isa: Isa,
    pub(crate) numerics: Numerics,
    /// Threads that have memory for a tile.
    workers: usize,
    /// Threads that have scratch.
    scratches: usize,
    /// Tiles that run at once when they make gradients.
    wave: usize,
    pub(crate) params: &'a [f32],
    /// Copies of them in the order in which kernels read them.
    pub(crate) packed: &'a [f32],
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
pub(crate) struct Chunks<'a> {
    first: *mut f32,
    len: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: `chunk` hands out disjoint parts, by its contract, and so does who uses the pointer of `room`.
unsafe impl Sync for Chunks<'_> {}

impl<'a> Chunks<'a> {
    pub(crate) fn new(memory: &'a mut [f32]) -> Chunks<'a> {
        Chunks { first: memory.as_mut_ptr(), len: memory.len(), of: PhantomData }
    }

    /// The floats `from..from + len`.
    ///
    /// # Safety
    ///
    /// No two ranges that overlap may be held at the same time.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn chunk(&self, from: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: inside the memory (checked), and by the caller's word nobody else holds a part of it.
        unsafe { std::slice::from_raw_parts_mut(self.room(from, len), len) }
    }

    /// The first of the floats `from..from + len`, for tasks whose own floats are no range.
    pub(crate) fn room(&self, from: usize, len: usize) -> *mut f32 {
        assert!(from.checked_add(len).is_some_and(|end| end <= self.len), "a chunk lies inside its memory");
        // SAFETY: inside the memory, or one past its end when there are no floats.
        unsafe { self.first.add(from) }
    }
}

/// Runs `work(first, blocks)` for each block of `len` floats (the last may be shorter) of memories of one length, in parallel: the place
/// of its first float, and the floats of each memory. All but the first may be empty, and so are their blocks then.
pub(crate) fn blocks<const N: usize>(
    threads: usize,
    memories: [&mut [f32]; N],
    len: usize,
    work: &(dyn Fn(usize, [&mut [f32]; N]) + Sync),
) {
    let total = memories.first().map_or(0, |memory| memory.len());
    assert!(memories.iter().all(|memory| memory.is_empty() || memory.len() == total), "memories of one length");
    let chunks = memories.map(Chunks::new);
    pool::run(threads, total.div_ceil(len), &|_, task| {
        let first = task * len;
        let blocks = chunks.each_ref().map(|memory| match memory.len {
            0 => &mut [],
            // SAFETY: a task's blocks are its own.
            _ => unsafe { memory.chunk(first, len.min(total - first)) },
        });
        work(first, blocks);
    });
}

impl Run<'_> {
    /// How many samples the batch has.
    pub fn samples(&self) -> usize {
        self.job.samples
    }

    /// Rows of the batch's memory: the floats, and those of one sample.
    pub fn batch(&self) -> (&[f32], usize) {
        (self.batch, self.plan.batch)
    }

    /// Everything a kernel needs that works once for the whole batch.
    pub(crate) fn whole(&mut self) -> Whole<'_> {
        Whole {
            samples: self.job.samples,
            threads: self.threads,
            workers: self.scratches,
            batch: self.batch,
            batch_stride: self.plan.batch,
            scratch: self.scratch,
            scratch_stride: self.plan.scratch,
            params: self.params,
            isa: self.isa,
            numerics: self.numerics,
            state: self.state,
            statistics: self.statistics.as_deref_mut(),
            gradients: self.gradients,
        }
    }

    /// The sum of an output's losses in the order of the samples, divided by what the samples count together; of several outputs the sum
    /// of those.
    pub(crate) fn mean_loss(&self) -> f32 {
        let totals = self.job.loss.totals;
        let of = |(index, total): (usize, &f64)| {
            let sum: f64 = self.losses.iter().skip(index).step_by(totals.len()).map(|&loss| f64::from(loss)).sum();
            sum / total
        };
        totals.iter().enumerate().map(of).sum::<f64>() as f32
    }

    /// Runs `work` on each tile of the batch, and adds the tiles' gradients to the model's, in the order of the tiles.
    pub fn stage(&mut self, folds: &[Fold], work: impl Fn(&mut Tile<'_>) + Sync) {
        self.run_stage(folds, &work);
    }

    /// Runs `work` on the whole batch as one tile, whose values are all in the batch's memory, and whose kernels have all threads that
    /// have scratch. It makes no gradient.
    pub fn at_once(&mut self, work: impl FnOnce(&mut Tile<'_>)) {
        work(&mut Tile {
            samples: 0..self.job.samples,
            tile: &mut [],
            tile_stride: 0,
            batch: self.batch,
            batch_stride: self.plan.batch,
            params: self.params,
            packed: self.packed,
            isa: self.isa,
            numerics: self.numerics,
            state: self.state,
            gradients: &mut [],
            scratch: self.scratch,
            threads: self.scratches,
            losses: &mut [],
            job: self.job,
            draw: self.draw,
        });
    }

    // Not generic, so that it is compiled here, with this crate's optimisation, and not where the model is.
    fn run_stage(&mut self, folds: &[Fold], work: &(dyn Fn(&mut Tile<'_>) + Sync)) {
        let tiles = self.job.samples.div_ceil(TILE);
        let gradient_len = folds.iter().map(|fold| fold.from + fold.len).max().unwrap_or(0);
        assert!(gradient_len <= self.plan.gradients, "a stage's gradient fits the plan");
        let wave = if gradient_len == 0 { tiles.max(1) } else { self.wave };
        for first in (0..tiles).step_by(wave) {
            let count = wave.min(tiles - first);
            self.tiles(first, count, gradient_len, work);
            folds.iter().for_each(|fold| self.fold(*fold, count));
        }
    }

    /// Runs `count` tiles from `first` on, in parallel, each with a gradient of its own.
    fn tiles(&mut self, first: usize, count: usize, gradient_len: usize, work: &(dyn Fn(&mut Tile<'_>) + Sync)) {
        let (plan, job, samples) = (self.plan, self.job, self.job.samples);
        let (params, packed, isa, draw) = (self.params, self.packed, self.isa, self.draw);
        let (numerics, outputs) = (self.numerics, job.loss.totals.len());
        let threads = if samples > TILE { 1 } else { self.scratches };
        let state: &[f32] = self.state;
        let (tile, batch, scratch) = (Chunks::new(self.tile), Chunks::new(self.batch), Chunks::new(self.scratch));
        let (gradients, losses) = (Chunks::new(self.tile_gradients), Chunks::new(self.losses));
        pool::run(self.workers, count, &|worker, task| {
            let begin = (first + task) * TILE;
            let range = begin..(begin + TILE).min(samples);
            let rows = range.len();
            // A stage without gradients runs more tiles than there is memory of gradients for.
            let gradient = if gradient_len == 0 { 0 } else { task * plan.gradients };
            // SAFETY: each chunk is one worker's or one task's, of as many floats as the next worker's or task's begins behind it. A
            // worker runs one task at a time, and a task runs once.
            let mut tile = unsafe {
                Tile {
                    tile: tile.chunk(worker * TILE * plan.tile, rows * plan.tile),
                    tile_stride: plan.tile,
                    batch: batch.chunk(begin * plan.batch, rows * plan.batch),
                    batch_stride: plan.batch,
                    scratch: scratch.chunk(worker * plan.scratch, threads * plan.scratch),
                    threads,
                    gradients: gradients.chunk(gradient, gradient_len),
                    losses: losses.chunk(begin * outputs, rows * outputs),
                    samples: range,
                    params,
                    packed,
                    isa,
                    numerics,
                    state,
                    job,
                    draw,
                }
            };
            tile.gradients.fill(0.0);
            work(&mut tile);
        });
    }

    /// Adds a part of the gradients of the `count` tiles that have just run to the model's, in the order of the tiles.
    fn fold(&mut self, fold: Fold, count: usize) {
        let of_tiles: &[f32] = self.tile_gradients;
        let stride = self.plan.gradients;
        let of_model = &mut self.gradients[fold.to..][..fold.len];
        blocks(self.threads, [of_model], FOLD_BLOCK, &|first, [to]| {
            for tile in 0..count {
                let from = &of_tiles[tile * stride + fold.from + first..][..to.len()];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        });
    }
}

/// What a kernel has that works once for the whole batch, between stages.
pub(crate) struct Whole<'a> {
    pub(crate) samples: usize,
    pub(crate) threads: usize,
    /// Threads that have scratch.
    pub(crate) workers: usize,
    /// The batch's memory: `samples` rows of `batch_stride` floats.
    pub(crate) batch: &'a mut [f32],
    pub(crate) batch_stride: usize,
    /// Memory for a kernel's own use, `scratch_stride` floats for each worker.
    pub(crate) scratch: &'a mut [f32],
    pub(crate) scratch_stride: usize,
    pub(crate) params: &'a [f32],
    pub(crate) isa: Isa,
    pub(crate) numerics: Numerics,
    pub(crate) state: &'a mut [f32],
    pub(crate) statistics: Option<&'a mut [f32]>,
    pub(crate) gradients: &'a mut [f32],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Parts;

    /// Runs two stages of a batch whose tiles' gradients are rounded when they are added, and gives the sum.
    fn gradients(threads: usize, samples: usize, plan: &Plan, len: usize) -> Vec<f32> {
        let feed = |sample: usize, _: usize, to: &mut [f32]| to.fill(1.0 / (sample + 1) as f32);
        let job = Job { feed: &feed, loss: BatchLoss::NONE, samples };
        let mut workspace = Workspace::with_threads(threads);
        // The sums begin at zero, whatever the last pass left.
        for _ in 0..2 {
            let params = Params::Trained(&[0.0; FOLD_BLOCK + 9], 0);
            let copies = Copies::none();
            let pass = Pass { plan, written: &[], copies, params, statistics: None, job: &job, draw: None };
            let mut run = workspace.run(pass);
            let work = |tile: &mut Tile<'_>| {
                tile.load(0, crate::arena::tile(0, 1));
                let Parts { reads: [value], gradients, .. } = tile.parts([crate::arena::tile(0, 1)], []);
                for sample in 0..value.samples() {
                    gradients.iter_mut().zip(3..).for_each(|(to, place)| *to += value.row(sample)[0] / place as f32);
                }
            };
            run.stage(&[Fold { from: 0, to: 5, len }], work);
            run.stage(&[Fold { from: 0, to: 0, len: 4 }, Fold { from: 4, to: 0, len: 2 }], work);
        }
        workspace.gradients().to_vec()
    }

    #[test]
    fn gradients_are_added_in_the_order_of_the_tiles() {
        // 44 samples are 6 tiles, the last one of 4.
        let (samples, len) = (44, FOLD_BLOCK + 3);
        let of_tile = |tile: usize, place: usize| {
            let of_sample = |sample: usize| 1.0 / (sample + 1) as f32 / (place + 3) as f32;
            (tile * TILE..samples.min((tile + 1) * TILE)).map(of_sample).fold(0.0_f32, |sum, value| sum + value)
        };
        let sum =
            |begin: f32, place: usize| (0..6).map(|tile| of_tile(tile, place)).fold(begin, |sum, value| sum + value);
        let mut wanted = vec![0.0; FOLD_BLOCK + 9];
        for place in 0..len {
            wanted[place + 5] = sum(0.0, place);
        }
        // Each wave of tiles adds its folds one after the other; all six tiles are one wave.
        for (to, place) in [(0, 0), (1, 1), (2, 2), (3, 3), (0, 4), (1, 5)] {
            wanted[to] = sum(wanted[to], place);
        }
        let plan = Plan { tile: 1, gradients: len, ..Plan::default() };
        for threads in [1, 2, 3, 7] {
            assert!(gradients(threads, samples, &plan, len) == wanted, "{threads} threads");
        }
    }

    #[test]
    fn a_gradient_is_cleared_where_nothing_is_written_first() {
        for (written, cleared) in [
            (&[][..], vec![0.0; 6]),
            (&[(0, 2), (3, 1)], vec![1.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
            (&[(1, 1), (2, 4)], vec![0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ] {
            let mut gradients = [1.0; 6];
            clear_but(written, &mut gradients);
            assert_eq!(gradients[..], cleared);
        }
    }

    #[test]
    fn workspaces_are_told_by_their_size() {
        let mut workspace = Workspace::with_threads(0);
        let plan = Plan { tile: 16, batch: 16, ..Plan::default() };
        let job = Job { feed: &|_, _, _| (), loss: BatchLoss::NONE, samples: 9 };
        let (copies, params) = (Copies::none(), Params::Trained(&[], 0));
        workspace.run(Pass { plan: &plan, written: &[], copies, params, statistics: None, job: &job, draw: None });
        assert_eq!(
            format!("{workspace:?}"),
            format!("Workspace {{ threads: 1, bytes: {}, .. }}", 64 * (8 + 9) + 4 * 9)
        );
    }
}
