//! A model on a card: its memory there, and its passes as lists of calls.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use super::calls::{Calls, Played, Player, Word};
use super::card::{Buffer, Card, grow};
use super::kernels::Kernels;
use super::program::{Arg, Launch, LossKind, OnDevice, Pass, Program, Step, flat};
use super::records::{self, Inputs, PickMemory, Records};
use super::update::Update;
use crate::data::Split;
use crate::error::DeviceProblem;
use crate::network::{Each, Feed, INFER_PART, Network};
use crate::random::Draw;
use crate::run::PassKind;
use crate::{Error, Optimizer, Precision, Workspace};

/// Numbers of a list that kernels read from the card's memory: the draw, a factor for each output, what an optimizer has.
const NUMBERS: usize = 256;

/// A loss that kernels know, and what is wanted of each sample of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct CardLoss {
    /// Which.
    pub kind: LossKind,
    /// Its number, as [`LossKind`] has it; 0 of one that has none.
    pub number: f32,
    /// How much it counts.
    pub scale: f32,
    /// Its weights, as [`Arg::LossWeights`]; none are all 1.
    pub weights: Vec<f32>,
    /// What is wanted.
    pub targets: Targets,
}

impl CardLoss {
    /// A loss without a number or weights, which counts once.
    pub fn new(kind: LossKind, targets: Targets) -> CardLoss {
        CardLoss { kind, number: 0.0, scale: 1.0, weights: Vec::new(), targets }
    }
}

/// What is wanted of each sample of a batch, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Nothing.
    None,
    /// Classes.
    Labels(Vec<u32>),
    /// Values.
    Values(Vec<f32>),
}

/// A model on a card.
pub(crate) struct Engine {
    of: TypeId,
    model: &'static str,
    /// How many parameters it has.
    params: usize,
    program: Program,
    script: Script,
    player: Player,
    batch: BatchMemory,
    passes: PassMemory,
}

/// A list in the making, and what that takes.
pub(crate) struct Script {
    pub(crate) card: Arc<Card>,
    kernels: Kernels,
    calls: Calls,
    /// The numbers of the list, and where they will be.
    numbers: Vec<u32>,
    numbers_at: Buffer<u32>,
    /// The loss, as `flat::LOSS` has it.
    loss: Buffer<f64>,
    /// Parts of sums, of each use in a list.
    sums: Vec<Option<Buffer<f64>>>,
    sums_used: usize,
    args: Vec<Word>,
}

/// Memory of a batch.
#[derive(Default)]
struct BatchMemory {
    inputs: Vec<Option<Buffer<f32>>>,
    picked: PickMemory,
    labels: Vec<Option<Buffer<u32>>>,
    targets: Vec<Option<Buffer<f32>>>,
    shares: Option<Buffer<f32>>,
    loss_weights: Vec<(Vec<f32>, Option<Buffer<f32>>)>,
    losses: Option<Buffer<f32>>,
    /// What goes to the card, until it is there.
    host: Vec<f32>,
}

/// Memory of passes.
#[derive(Default)]
struct PassMemory {
    arena: Option<Buffer<f32>>,
    scratch: Option<Buffer<f32>>,
    state: Option<Buffer<f32>>,
    /// Of each kind of pass, and the version of the weights it was made of.
    folded: [(Option<Buffer<f32>>, Option<u64>); 4],
    /// Gradients of parameters that nobody asked for.
    unwanted: Option<Buffer<f32>>,
}

/// Where everything is that kernels are given.
struct Places {
    model: &'static str,
    params_len: usize,
    batch: usize,
    params: u64,
    gradients: u64,
    statistics: u64,
    arena: u64,
    scratch: u64,
    state: u64,
    folded: u64,
    draw: u64,
    updates: bool,
    inputs: Vec<u64>,
    losses: Vec<LossPlaces>,
    shares: u64,
    /// The losses of all outputs.
    all_losses: u64,
}

/// Of the loss of an output.
#[derive(Clone, Copy)]
struct LossPlaces {
    kind: LossKind,
    number: f32,
    labels: u64,
    targets: u64,
    weights: u64,
    factor: u64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("model", &self.model)
            .field("card", &self.script.card.name())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A model on a card that is open.
    pub(crate) fn new<N: OnDevice>(card: Arc<Card>, precision: Precision) -> Result<Engine, Error> {
        let none =
            |problem: &str| Error::Device(DeviceProblem::NoKernel { model: N::NAME, problem: problem.to_owned() });
        let program = N::PROGRAM.map_err(none)?;
        let source = [program.source, records::TEXT].concat();
        let kernels = Kernels::load(&card, &N::NAME.to_lowercase(), &source, precision)?;
        let numbers_at = Buffer::new(&card, NUMBERS, || "a list of numbers".to_owned())?;
        let mut loss = Buffer::new(&card, flat::LOSS, || "a loss".to_owned())?;
        loss.clear()?;
        Ok(Engine {
            of: TypeId::of::<N>(),
            model: N::NAME,
            params: N::PARAMETERS,
            program,
            script: Script {
                card,
                kernels,
                calls: Calls::default(),
                numbers: Vec::new(),
                numbers_at,
                loss,
                sums: Vec::new(),
                sums_used: 0,
                args: Vec::new(),
            },
            player: Player::default(),
            batch: BatchMemory::default(),
            passes: PassMemory::default(),
        })
    }

    /// What the card calls itself.
    pub(crate) fn name(&self) -> &str {
        self.script.card.name()
    }

    /// Brings the records of a split to the card, whose inputs have this shape; None if they take too much of its memory.
    #[cfg_attr(not(feature = "trainer"), allow(dead_code))] // The trainer is who has data sets.
    pub(crate) fn records(&self, split: &Split, shape: &[usize]) -> Result<Option<Records>, Error> {
        Records::bring(&self.script.card, split, shape)
    }

    /// What it was told so far.
    pub(crate) fn played(&self) -> Played {
        self.player.played
    }

    /// Whether lists are told call by call, and not as graphs.
    pub(crate) fn set_call_by_call(&mut self, call_by_call: bool) {
        self.player.call_by_call = call_by_call;
    }

    /// The card.
    pub(super) fn card(&self) -> &Arc<Card> {
        &self.script.card
    }

    /// Sets whether lists are told call by call, and each kernel is timed; gives the kernels that were, and their seconds.
    pub(super) fn set_timed(&mut self, is_timed: bool) -> Vec<(String, f64)> {
        let times = std::mem::replace(&mut self.player.times, is_timed.then(Vec::new)).unwrap_or_default();
        let name = |number: usize| self.script.kernels.kernel(number).name.clone();
        times.into_iter().map(|(kernel, seconds)| (name(kernel), seconds)).collect()
    }

    /// Checks that it is a model's.
    fn check<N: Network>(&self) -> Result<(), Error> {
        if self.of == TypeId::of::<N>() {
            return Ok(());
        }
        Err(Error::Device(DeviceProblem::OtherModel { wanted: self.model, found: N::NAME }))
    }

    fn program_of(&self, kind: PassKind) -> Pass {
        match kind {
            PassKind::Train => self.program.train,
            PassKind::Forward => self.program.forward,
            PassKind::Infer => self.program.infer,
            PassKind::InputGradients => self.program.input_gradients,
        }
    }

    /// Begins a list: brings the inputs of so many samples to the card, from one on. With shares each is mixed with another, which are
    /// behind all of the batch.
    fn begin(
        &mut self,
        (first, batch): (usize, usize),
        from: &Inputs<'_>,
        shares: &[f32],
        draw: Draw,
    ) -> Result<Places, Error> {
        let Engine { script, batch: memory, program, .. } = self;
        script.calls.clear();
        script.numbers.clear();
        script.sums_used = 0;
        let draw = script.put(&[draw.seed, draw.step].map(|number| [number as u32, (number >> 32) as u32]).concat());
        let what = || format!("the inputs of a batch of {batch}");
        let (mut shares_at, mut of_sample) = (0, 1);
        if !shares.is_empty() {
            (shares_at, of_sample) = (grow(&mut memory.shares, &script.card, batch, what)?, 2);
            memory.shares.as_mut().map_or(Ok(()), |buffer| buffer.write(shares))?;
        }
        memory.inputs.resize_with(program.inputs.len(), || None);
        let mut inputs = Vec::new();
        for (number, (len, buffer)) in program.inputs.iter().zip(&mut memory.inputs).enumerate() {
            let to = grow(buffer, &script.card, batch * len, what)?;
            inputs.push(to);
            match from {
                Inputs::Feed(feed) => {
                    memory.host.resize(batch * len, 0.0);
                    let samples = memory.host.chunks_exact_mut(*len).zip(first..);
                    samples.for_each(|(to, sample)| feed(sample, number, to));
                    buffer.as_mut().map_or(Ok(()), |buffer| buffer.write(&memory.host))?;
                }
                Inputs::Records { of, numbers, changes } => {
                    let (each, count) = (changes.len() / numbers.len(), of_sample * batch);
                    let picked = (&numbers[first..][..count], &changes[each * first..][..each * count]);
                    of.pick(script, &mut memory.picked, picked, shares_at, (batch, to))?;
                }
            }
        }
        Ok(Places {
            model: self.model,
            params_len: self.params,
            batch,
            params: 0,
            gradients: 0,
            statistics: 0,
            arena: 0,
            scratch: 0,
            state: 0,
            folded: 0,
            draw,
            updates: false,
            inputs,
            losses: Vec::new(),
            shares: shares_at,
            all_losses: 0,
        })
    }

    /// Brings what is wanted of a batch to the card. Of each output `totals` has what its samples count together.
    fn losses(&mut self, places: &mut Places, losses: &[CardLoss], totals: &[f64]) -> Result<(), Error> {
        let Engine { script, batch: memory, program, .. } = self;
        let outputs = program.outputs.len();
        assert!(losses.len() == outputs && totals.len() == outputs, "a loss and a total for each output");
        memory.labels.resize_with(outputs, || None);
        memory.targets.resize_with(outputs, || None);
        memory.loss_weights.resize_with(outputs, || (Vec::new(), None));
        let what = || format!("the targets of a batch of {}", places.batch);
        for (number, (loss, total)) in losses.iter().zip(totals).enumerate() {
            let (mut labels, mut targets, mut weights) = (0, 0, 0);
            match &loss.targets {
                Targets::None => {}
                Targets::Labels(of_batch) => {
                    labels = grow(&mut memory.labels[number], &script.card, of_batch.len(), what)?;
                    memory.labels[number].as_mut().map_or(Ok(()), |buffer| buffer.write(of_batch))?;
                }
                Targets::Values(of_batch) => {
                    targets = grow(&mut memory.targets[number], &script.card, of_batch.len(), what)?;
                    memory.targets[number].as_mut().map_or(Ok(()), |buffer| buffer.write(of_batch))?;
                }
            }
            if !loss.weights.is_empty() {
                let (known, buffer) = &mut memory.loss_weights[number];
                weights = grow(buffer, &script.card, loss.weights.len(), what)?;
                if *known != loss.weights {
                    buffer.as_mut().map_or(Ok(()), |buffer| buffer.write(&loss.weights))?;
                    known.clone_from(&loss.weights);
                }
            }
            let factor = script.put(&[((f64::from(loss.scale) / total) as f32).to_bits()]);
            places.losses.push(LossPlaces { kind: loss.kind, number: loss.number, labels, targets, weights, factor });
        }
        places.all_losses = grow(&mut memory.losses, &script.card, outputs * places.batch, what)?;
        Ok(())
    }

    /// Adds a pass to the list.
    fn pass(&mut self, kind: PassKind, places: &mut Places, version: u64) -> Result<(), Error> {
        let pass = self.program_of(kind);
        let Engine { script, passes, .. } = self;
        let what = || format!("the values of a batch of {}", places.batch);
        let floats = places.batch.checked_mul(pass.arena).expect("a batch fits the address space");
        places.arena = grow(&mut passes.arena, &script.card, floats, what)?;
        let of_samples = places.batch.checked_mul(pass.scratch.1).expect("a batch fits the address space");
        places.scratch = grow(&mut passes.scratch, &script.card, pass.scratch.0 + of_samples, what)?;
        places.state = grow(&mut passes.state, &script.card, pass.state, what)?;
        if pass.folded > 0 {
            let (folded, of) = &mut passes.folded[kind as usize];
            places.folded = grow(folded, &script.card, pass.folded, what)?;
            if *of != Some(version) {
                script.steps(pass.fold, places, &mut Vec::new())?;
                *of = Some(version);
            }
        }
        script.steps(pass.steps, places, &mut Vec::new())
    }

    /// Adds up the losses of the batch, and what penalties have added, and tells the list to the card.
    fn play_with_loss(&mut self, places: &Places) -> Result<(), Error> {
        let count = Word::U32((places.losses.len() * places.batch) as u32);
        let args = [Word::Address(places.all_losses), count, self.script.loss()];
        self.script.launch(flat::ADD_UP, [1, 1, 1], flat::THREADS, &args)?;
        self.play()
    }

    /// Tells the list to the card.
    fn play(&mut self) -> Result<(), Error> {
        let Engine { script, player, passes, .. } = self;
        let written = script.numbers_at.write(&script.numbers);
        let played = written.and_then(|()| player.play(&script.card, &script.kernels, &script.calls));
        if played.is_err() {
            // Folded weights may not have been made.
            passes.folded.iter_mut().for_each(|(_, of)| *of = None);
        }
        played
    }

    /// The mean loss of the list, when the card is done.
    fn loss(&self) -> Result<f32, Error> {
        Ok(self.losses_so_far()?[0] as f32)
    }

    /// The loss of the last step, the sum of those of all steps since [`Engine::forget_losses`], up to the first that is no finite number,
    /// and how many these are; when the card is done.
    pub(crate) fn losses_so_far(&self) -> Result<[f64; 3], Error> {
        let mut losses = [0.0; 3];
        self.script.loss.read(0, &mut losses)?;
        Ok(losses)
    }

    /// Begins the sum of losses anew.
    #[cfg_attr(not(feature = "trainer"), allow(dead_code))] // Its epochs are.
    pub(crate) fn forget_losses(&mut self) -> Result<(), Error> {
        self.script.loss.clear()
    }

    /// Gives the results of a pass, when the card is done.
    fn give(&mut self, kind: PassKind, places: &Places, first: usize, each: &mut Each<'_>) -> Result<(), Error> {
        let results = self.program_of(kind).results;
        let mut values = Vec::new();
        for (offset, len) in results {
            let mut of_batch = vec![0.0; places.batch * len];
            let arena = self.passes.arena.as_ref();
            arena.map_or(Ok(()), |arena| arena.read(offset * places.batch, &mut of_batch))?;
            values.push(of_batch);
        }
        for sample in 0..places.batch {
            for (number, ((_, len), values)) in results.iter().zip(&values).enumerate() {
                each(first + sample, number, &values[sample * len..][..*len]);
            }
        }
        Ok(())
    }
}

impl Script {
    /// Adds numbers; gives where kernels will find them.
    pub(super) fn put(&mut self, words: &[u32]) -> u64 {
        let at = self.numbers_at.address() + 4 * self.numbers.len() as u64;
        self.numbers.extend_from_slice(words);
        assert!(self.numbers.len() <= NUMBERS, "a list has few numbers");
        at
    }

    /// Room for so many parts of sums, of this list alone.
    pub(super) fn sums(&mut self, parts: usize) -> Result<u64, Error> {
        let number = self.sums_used;
        self.sums_used += 1;
        self.sums.resize_with(self.sums.len().max(self.sums_used), || None);
        grow(&mut self.sums[number], &self.card, parts, || "sums".to_owned())
    }

    /// Where the loss is.
    pub(super) fn loss(&self) -> Word {
        Word::Address(self.loss.address())
    }

    /// Adds zeros for so many floats.
    pub(super) fn zeros(&mut self, address: u64, floats: usize) {
        self.calls.zeros(address, 4 * floats);
    }

    /// Adds a kernel.
    pub(super) fn launch(&mut self, kernel: &str, grid: [u32; 3], threads: u32, args: &[Word]) -> Result<(), Error> {
        let number = self.kernels.find(kernel, args.iter().map(|arg| arg.bytes()))?;
        self.calls.launch(number, grid, threads, args);
        Ok(())
    }

    /// Adds steps, in these iterations of the loops around them.
    fn steps(&mut self, steps: &'static [Step], places: &Places, iterations: &mut Vec<u64>) -> Result<(), Error> {
        for step in steps {
            match step {
                Step::Launch(launch) => self.step(launch, places, iterations)?,
                Step::ClearGradients => {
                    let address = places.gradients;
                    self.zeros(address, places.params_len);
                }
                Step::Loss(kinds) => {
                    let of = |launch: &Launch| {
                        let output = launch.args.iter().find_map(|arg| match arg {
                            Arg::Losses(output) => Some(*output),
                            _ => None,
                        });
                        output.and_then(|output| places.losses.get(output)).map(|loss| loss.kind)
                    };
                    let wanted = kinds.iter().find(|(kind, launch)| of(launch) == Some(*kind));
                    let Some((_, launch)) = wanted else {
                        let problem = "its output has no kernel for this loss".to_owned();
                        return Err(Error::Device(DeviceProblem::NoKernel { model: places.model, problem }));
                    };
                    self.step(launch, places, iterations)?;
                }
                Step::Loop { count, reversed, body } => {
                    for turn in 0..*count as u64 {
                        iterations.push(if *reversed { *count as u64 - 1 - turn } else { turn });
                        self.steps(body, places, iterations)?;
                        iterations.pop();
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a kernel of the program.
    fn step(&mut self, launch: &Launch, places: &Places, iterations: &[u64]) -> Result<(), Error> {
        let Launch { kernel, grid, threads, args } = *launch;
        let mut words = std::mem::take(&mut self.args);
        words.clear();
        words.extend(args.iter().map(|arg| places.word(arg, iterations)));
        let blocks = grid.blocks(places.batch as u64);
        // The first dimension of a grid may have as many blocks as fit an i32.
        let added = match i32::try_from(blocks[0]) {
            Ok(first) => self.launch(kernel, [first as u32, grid.y, grid.z], threads, &words),
            Err(_) => {
                let what = format!("{} blocks of the kernel `{kernel}`", blocks[0]);
                Err(Error::Device(DeviceProblem::Kernel {
                    kernel: kernel.to_owned(),
                    problem: format!("would need {what}"),
                }))
            }
        };
        self.args = words;
        added
    }
}

impl Places {
    /// What a kernel is given.
    fn word(&self, arg: &Arg, iterations: &[u64]) -> Word {
        let batch = self.batch as u64;
        let floats = |from: u64, count: u64| Word::Address(from + 4 * count);
        match arg {
            Arg::Value(at) => floats(self.arena, batch * at.at(iterations)),
            Arg::Params(at) => floats(self.params, at.at(iterations)),
            Arg::Gradients(at) => floats(self.gradients, at.at(iterations)),
            Arg::Statistics(at) => floats(self.statistics, at.at(iterations)),
            Arg::Folded(at) => floats(self.folded, at.at(iterations)),
            Arg::State(at) => floats(self.state, at.at(iterations)),
            Arg::Scratch(at) => floats(self.scratch, *at),
            Arg::Input(number) => Word::Address(self.inputs[*number]),
            Arg::Batch => Word::U32(self.batch as u32),
            Arg::Key(at) => Word::U64(at.at(iterations)),
            Arg::Draw => Word::Address(self.draw),
            Arg::Updates => Word::U32(self.updates.into()),
            Arg::Labels(output) => Word::Address(self.losses[*output].labels),
            Arg::Targets(output) => Word::Address(self.losses[*output].targets),
            Arg::Shares => Word::Address(self.shares),
            Arg::LossWeights(output) => Word::Address(self.losses[*output].weights),
            Arg::LossNumber(output) => Word::F32(self.losses[*output].number),
            Arg::LossFactor(output) => Word::Address(self.losses[*output].factor),
            Arg::Losses(output) => floats(self.all_losses, batch * *output as u64),
        }
    }
}

/// A batch, and what is wanted of it.
pub(crate) struct CardBatch<'a> {
    pub(crate) samples: usize,
    pub(crate) inputs: Inputs<'a>,
    /// Of each output.
    pub(crate) losses: &'a [CardLoss],
    /// What part of each sample's loss is that to its own target; empty where no sample is mixed with another (mixup). Records and targets of
    /// the others are behind those of the batch.
    pub(crate) shares: &'a [f32],
    /// What the samples count together, of each output.
    pub(crate) totals: &'a [f64],
}

impl<'a> CardBatch<'a> {
    /// Samples that the host writes, none mixed with another.
    pub(crate) fn fed(samples: usize, feed: &'a Feed<'a>, losses: &'a [CardLoss], totals: &'a [f64]) -> CardBatch<'a> {
        CardBatch { samples, inputs: Inputs::Feed(feed), losses, shares: &[], totals }
    }
}

/// [`network::step`](crate::network::step) on the card of a workspace.
pub(crate) fn step<N: Network>(
    engine: &mut Engine,
    model: &mut N,
    workspace: &mut Workspace,
    batch: &CardBatch<'_>,
    optimizer: &mut dyn Optimizer,
) -> Result<f32, Error> {
    let added = tell_step(engine, model, workspace, batch, optimizer)?;
    Ok(engine.loss()? + added)
}

/// The same without waiting for the card, which adds the loss to those before. Gives what an optimizer of the host adds to it.
pub(crate) fn tell_step<N: Network>(
    engine: &mut Engine,
    model: &mut N,
    workspace: &mut Workspace,
    batch: &CardBatch<'_>,
    optimizer: &mut dyn Optimizer,
) -> Result<f32, Error> {
    engine.check::<N>()?;
    let (draw, threads) = (workspace.draw(), workspace.threads());
    let (weights, gradients) = (model.weights_mut(), workspace.gradient_floats());
    let card = engine.script.card.clone();
    // Memory is given back in the card's order: what is told uses it before.
    let params = weights.floats()[0].on_card(&card)?;
    let statistics = weights.floats()[1].on_card(&card)?;
    let room = gradients.room_on_card(&card, N::PARAMETERS)?;
    let mut places = engine.begin((0, batch.samples), &batch.inputs, batch.shares, draw)?;
    (places.params, places.statistics, places.gradients) = (params.address(), statistics.address(), room.address());
    places.updates = true;
    engine.losses(&mut places, batch.losses, batch.totals)?;
    engine.pass(PassKind::Train, &mut places, weights.version())?;
    let added = match optimizer.on_card() {
        Some(optimizer) => {
            let all = [places.params, places.gradients];
            optimizer.add_step(&mut Update::new(&mut engine.script, all, N::PARAMETERS, batch.samples))?;
            engine.play_with_loss(&places)?;
            weights.written();
            gradients.written();
            0.0
        }
        None => {
            engine.play_with_loss(&places)?;
            weights.written();
            gradients.written();
            let (params, _) = weights.both_mut();
            optimizer.follow(params, gradients.get_mut(), batch.samples, threads)
        }
    };
    workspace.next_step();
    Ok(added)
}

/// [`network::gradients`](crate::network::gradients) on the card of a workspace, whose gradients they are.
pub(crate) fn gradients<N: Network>(
    engine: &mut Engine,
    model: &N,
    workspace: &mut Workspace,
    batch: &CardBatch<'_>,
) -> Result<f32, Error> {
    engine.check::<N>()?;
    let (draw, weights, card) = (workspace.draw(), model.weights(), engine.script.card.clone());
    let gradients = workspace.gradient_floats();
    let params = weights.floats()[0].on_card(&card)?;
    let statistics = weights.floats()[1].on_card(&card)?;
    let room = gradients.room_on_card(&card, N::PARAMETERS)?;
    let mut places = engine.begin((0, batch.samples), &batch.inputs, batch.shares, draw)?;
    (places.params, places.statistics, places.gradients) = (params.address(), statistics.address(), room.address());
    engine.losses(&mut places, batch.losses, batch.totals)?;
    engine.pass(PassKind::Train, &mut places, weights.version())?;
    engine.play_with_loss(&places)?;
    gradients.written();
    engine.loss()
}

/// The outputs of a forward pass, as in inference or in training, on the card of a workspace.
pub(crate) fn forward<N: Network>(
    engine: &mut Engine,
    model: &N,
    kind: PassKind,
    (samples, inputs, draw): (usize, &Inputs<'_>, Draw),
    each: &mut Each<'_>,
) -> Result<(), Error> {
    // As in training a batch is normalised as a whole.
    let part = if matches!(kind, PassKind::Infer) { INFER_PART } else { samples.max(1) };
    for first in (0..samples).step_by(part) {
        let places = tell_forward(engine, model, kind, (first, part.min(samples - first)), (inputs, draw))?;
        engine.give(kind, &places, first, each)?;
    }
    Ok(())
}

/// Inference, whose outputs stay where they are.
pub(super) fn tell_inference<N: Network>(
    engine: &mut Engine,
    model: &N,
    (samples, inputs, draw): (usize, &Inputs<'_>, Draw),
) -> Result<(), Error> {
    for first in (0..samples).step_by(INFER_PART) {
        tell_forward(engine, model, PassKind::Infer, (first, INFER_PART.min(samples - first)), (inputs, draw))?;
    }
    Ok(())
}

/// Tells the card to run so many samples forward, from one on.
fn tell_forward<N: Network>(
    engine: &mut Engine,
    model: &N,
    kind: PassKind,
    samples: (usize, usize),
    (inputs, draw): (&Inputs<'_>, Draw),
) -> Result<Places, Error> {
    engine.check::<N>()?;
    let (weights, card) = (model.weights(), engine.script.card.clone());
    let params = weights.floats()[0].on_card(&card)?;
    let statistics = weights.floats()[1].on_card(&card)?;
    let mut places = engine.begin(samples, inputs, &[], draw)?;
    (places.params, places.statistics) = (params.address(), statistics.address());
    engine.pass(kind, &mut places, weights.version())?;
    engine.play()?;
    Ok(places)
}

/// [`network::input_gradients`](crate::network::input_gradients) on the card of a workspace. The totals are 1.
pub(crate) fn input_gradients<N: Network>(
    engine: &mut Engine,
    model: &N,
    draw: Draw,
    batch: &CardBatch<'_>,
    each: &mut Each<'_>,
) -> Result<f32, Error> {
    engine.check::<N>()?;
    let (weights, card) = (model.weights(), engine.script.card.clone());
    let params = weights.floats()[0].on_card(&card)?;
    let statistics = weights.floats()[1].on_card(&card)?;
    let mut places = engine.begin((0, batch.samples), &batch.inputs, batch.shares, draw)?;
    (places.params, places.statistics) = (params.address(), statistics.address());
    places.gradients = grow(&mut engine.passes.unwanted, &card, N::PARAMETERS, || "gradients".to_owned())?;
    engine.losses(&mut places, batch.losses, batch.totals)?;
    engine.pass(PassKind::InputGradients, &mut places, weights.version())?;
    engine.play_with_loss(&places)?;
    engine.give(PassKind::InputGradients, &places, 0, each)?;
    Ok(engine.loss()? / batch.samples.max(1) as f32)
}
