//! What generated code gives the runtime, and the runtime does with it: a model's steps, its weights, its files.
//!
//! The methods of a generated struct are the functions here: [`new`], [`load`], [`save`], [`infer`], [`step`], [`gradients`]. Those
//! whose names end in `_from` take flat data, of whatever source, in place of arrays.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::arena::{Job, Pack, View};
#[cfg(feature = "cuda")]
use crate::cuda::{self, CardBatch, Inputs};
use crate::run::{Copies, Params, Pass, PassKind, Plan, Run, TILE};
use crate::sample::Parts;
use crate::weights::{self, Form, Weights};
use crate::{Error, Losses, Model, Optimizer, Workspace};

pub use crate::weights::NamedTensor;
pub use crate::weights::file::{Loaded, SaveOptions};

/// A weight or statistic of a model, or all copies of it in a repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in a state dict, `*` for the index of each repeat around it: `resblocks.*.conv.weight`.
    pub name: &'static str,
    /// PyTorch's shape.
    pub shape: &'static [usize],
    /// Its first float in the parameters, or in the statistics.
    pub offset: usize,
    /// The repeats that `*` stands for, outermost first.
    pub repeats: &'static [Repeat],
    /// What it is filled with at first.
    pub fill: Fill,
    /// Whether it is a parameter; else a running statistic.
    pub trainable: bool,
}

/// A repeat around a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Its iterations.
    pub count: usize,
    /// Floats from one iteration's weight to the next one's; 0 when they are tied.
    pub stride: usize,
}

/// What a weight is filled with at first; the compiler worked the numbers out from the shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Every element the same.
    Constant(f32),
    /// Even between minus and plus this.
    Uniform(f32),
    /// Even from the first to the second.
    Between(f32, f32),
    /// Normal.
    Normal {
        /// The mean.
        mean: f32,
        /// The deviation.
        std: f32,
    },
    /// Normal, drawn again where it is not from `low` to `high`.
    Truncated {
        /// The mean, before anything is cut off.
        mean: f32,
        /// The deviation, before anything is cut off.
        std: f32,
        /// The least.
        low: f32,
        /// The greatest.
        high: f32,
    },
    /// A matrix, the first dimension by all others, whose rows are at right angles and of this length; whose columns, if it has fewer
    /// of them.
    Orthogonal(f32),
    /// These.
    Values(&'static [f32]),
}

/// What the compiler generates for a model, beside its types.
pub trait Network: Model<Input: Parts, Output: Parts> {
    /// Its weights and statistics, in PyTorch's order.
    const TENSORS: &'static [Tensor];
    /// Floats of running statistics.
    const STATISTICS: usize;
    /// A number that changes with the spec's meaning.
    const SPEC_HASH: u64;
    /// Whether it normalises by its batch, so that a batch needs more than one value a channel: the least positions of such a layer.
    const BATCH_NORM_POSITIONS: Option<usize>;
    /// The memory of training.
    const TRAIN: Plan;
    /// The memory of a forward pass as in training; [`Plan::NONE`] for a model that is not evaluated so.
    const FORWARD: Plan;
    /// The memory of inference.
    const INFER: Plan;
    /// Parts of the gradient that training writes before it adds to them, in order: the first float of each, and how many.
    const WRITTEN: &'static [(usize, usize)] = &[];
    /// Floats that inference reads in place of the parameters; 0 when it reads the parameters themselves.
    const FOLDED: usize = 0;
    /// The memory of the pass that gives the inputs' gradients; [`Plan::NONE`] for a model whose spec asks for none.
    const INPUT_GRADIENTS: Plan = Plan::NONE;
    /// Where that leaves the gradient of each input, in the batch's memory.
    const INPUT_GRADIENTS_AT: &'static [View] = &[];
    /// Where a forward pass as in training leaves the outputs, in the batch's memory.
    const FORWARD_OUTPUTS: &'static [View];
    /// Where inference leaves the outputs, in the batch's memory.
    const INFER_OUTPUTS: &'static [View];

    /// The weights.
    fn weights(&self) -> &Weights;
    /// The weights, to be changed.
    fn weights_mut(&mut self) -> &mut Weights;
    /// A model of these weights.
    fn with_weights(weights: Weights) -> Self;
    /// Forward as in training; leaves the outputs.
    fn forward(run: &mut Run<'_>);
    /// Forward, loss, backward.
    fn train(run: &mut Run<'_>);
    /// Forward as in inference; leaves the outputs.
    fn infer(run: &mut Run<'_>);
    /// Forward as in inference, loss, backward to the inputs; leaves their gradients.
    fn input_gradients(_: &mut Run<'_>) {}
    /// Writes what inference reads in place of the parameters: parameters and statistics, batch norms in the weights before them.
    fn fold(_params: &[f32], _statistics: &[f32], _folded: &mut [f32]) {}
    /// Packs the weights for training's kernels.
    fn pack_train(_: &mut Pack<'_>) {}
    /// Packs the weights for those of a forward pass as in training.
    fn pack_forward(_: &mut Pack<'_>) {}
    /// Packs the weights for those of inference.
    fn pack_infer(_: &mut Pack<'_>) {}
    /// Packs the weights for those of the inputs' gradients.
    fn pack_input_gradients(_: &mut Pack<'_>) {}
}

/// A model with the initial weights that a seed draws. Each weight follows from the seed, its name and its place in it alone.
pub fn new<N: Network>(seed: u64) -> N {
    N::with_weights(Weights::drawn(&const { Form::of::<N>() }, seed))
}

/// A model with the weights of a safetensors file, named as in a PyTorch state dict: one that [`save`] wrote, or PyTorch's
/// `safetensors.torch.save_file(net.state_dict(), path)`.
///
/// Tied weights may be there once, under index 0, or in more copies if those are equal. `num_batches_tracked` is ignored. F16 and
/// BF16 become f32, and F64 is rounded.
///
/// # Errors
///
/// [`Error::File`] when the file cannot be read, is not in the format, or holds other tensors than the model: all that do not agree.
pub fn load<N: Network>(path: &Path) -> Result<N, Error> {
    weights::file::read(path, &const { Form::of::<N>() }).map(N::with_weights)
}

/// Gives a model those weights and statistics of a safetensors file that have the name and the shape of its own, but for the layers or
/// weights that `fresh` names: those, and what the file does not have, stay as they are. Says what was loaded and what was not.
///
/// It begins a training on data of one's own with a body that was trained before and a new head, in PyTorch's words
/// `load_state_dict(strict=False)`, which however takes no other shapes.
///
/// ```
/// # let folder = tempfile::tempdir().expect("a folder for the example");
/// # let file = folder.path().join("net.safetensors");
/// netspec::netspec! { model Old { input x [4]; linear(8) as body; tanh; linear(10) as head; } }
/// netspec::netspec! { model New { input x [4]; linear(8) as body; tanh; linear(2) as head; } }
///
/// let old = Old::new(1);
/// old.save(&file)?;
/// let mut new = New::new(0);
/// let done = netspec::network::load_partial(&mut new, &file, &[])?;
/// assert_eq!(done.loaded, ["body.weight", "body.bias"]);
/// assert_eq!(done.left[0].to_string(), "`head.weight` has shape [10, 8]: the model's is [2, 8]");
/// assert_eq!(new.params()[..40], old.params()[..40]);
/// # Ok::<(), netspec::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::File`] when the file cannot be read, is not in the format, or nothing of it can be loaded; [`Error::NoSuchWeight`] when
/// `fresh` names what the model does not have.
pub fn load_partial<N: Network>(model: &mut N, path: &Path, fresh: &[&str]) -> Result<Loaded, Error> {
    let form = &const { Form::of::<N>() };
    weights::select(form, fresh, false)?;
    weights::file::read_partial(path, form, model.weights_mut(), fresh)
}

/// The places of parameters in [`Weights::params`], by the names of layers or weights: `conv1`, `conv1.bias`, `resblocks.0`,
/// `resblocks.*.conv`; of all parameters when there are no names. For [`Recipe`](crate::Recipe).
///
/// # Errors
///
/// [`Error::NoSuchWeight`].
pub fn select<N: Network>(names: &[&str]) -> Result<Vec<Range<usize>>, Error> {
    weights::select(&const { Form::of::<N>() }, names, false)
}

/// As [`select`], of parameters of two or more dimensions alone: without biases, and without the factors of norms.
///
/// # Errors
///
/// As of [`select`].
pub fn select_matrices<N: Network>(names: &[&str]) -> Result<Vec<Range<usize>>, Error> {
    weights::select(&const { Form::of::<N>() }, names, true)
}

/// Writes the weights to a safetensors file, named as in a PyTorch state dict. The same weights give the same bytes.
///
/// # Errors
///
/// [`Error::File`] when the file cannot be written; what was there stays as it was.
pub fn save<N: Network>(model: &N, path: &Path) -> Result<(), Error> {
    save_with(model, path, SaveOptions::default())
}

/// As [`save`], with options.
///
/// # Errors
///
/// As of [`save`].
pub fn save_with<N: Network>(model: &N, path: &Path, options: SaveOptions<'_>) -> Result<(), Error> {
    weights::file::write(path, &const { Form::of::<N>() }, model.weights(), options)
}

/// The texts of a safetensors file by their keys: those of [`SaveOptions::metadata`], and `netspec.model`, the model's name;
/// `netspec.spec`, the hash of its spec; `netspec.version`.
///
/// # Errors
///
/// [`Error::File`] when the file cannot be read or is not in the format.
pub fn metadata(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    weights::file::metadata(path)
}

/// The weights and running statistics by their names; those of tied repeats once, under index 0.
pub fn tensors<N: Network>(model: &N) -> impl Iterator<Item = NamedTensor<'_>> {
    weights::named(const { Form::of::<N>() }, model.weights())
}

/// The outputs of a batch of any size, with running statistics and without dropout.
///
/// # Errors
///
/// [`Error::Lengths`] when there is not one output for each input.
pub fn infer<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    inputs: &[N::Input],
    outputs: &mut [N::Output],
) -> Result<(), Error> {
    same_length("outputs", outputs.len(), inputs.len())?;
    infer_from(model, workspace, inputs.len(), &feed(inputs), &mut |sample, output, values| {
        outputs[sample].part_mut(output).copy_from_slice(values);
    })
}

/// One step of training on a batch: gives its mean loss before the step, with what the optimizer adds to it ([`Optimizer::follow`]).
///
/// # Errors
///
/// With nothing changed: [`Error::Lengths`] when there is not one target for each input; [`Error::EmptyBatch`]; [`Error::OneValue`];
/// [`Error::Weightless`]; what [`Loss::check`](crate::Loss::check) says of a target.
pub fn step<N: Network, L: Losses<N::Output>, O: Optimizer>(
    model: &mut N,
    workspace: &mut Workspace,
    inputs: &[N::Input],
    targets: &[L::Target],
    loss: &L,
    optimizer: &mut O,
) -> Result<f32, Error> {
    check_batch::<N>(inputs.len())?;
    let totals = totals(inputs, targets, loss)?;
    let totals = &totals[..N::Output::COUNT];
    #[cfg(feature = "cuda")]
    if let Some(done) = workspace.on_card(|engine, workspace| {
        let losses = on_card::<N, L>(loss, targets)?;
        let feed = feed(inputs);
        let batch = CardBatch::fed(inputs.len(), &feed, &losses, totals);
        cuda::step(engine, model, workspace, &batch, optimizer)
    }) {
        return done;
    }
    let of = of_targets(targets, loss);
    let loss = BatchLoss { of: &of, totals };
    step_by(model, workspace, inputs.len(), &feed(inputs), loss, optimizer)
}

/// The mean loss of a batch; writes its gradient by each parameter. Running statistics stay as they are, and dropout draws what it
/// will in the next step.
///
/// # Errors
///
/// As of [`step`], and [`Error::Lengths`] when there is not one float of `gradients` for each parameter.
pub fn gradients<N: Network, L: Losses<N::Output>>(
    model: &N,
    workspace: &mut Workspace,
    inputs: &[N::Input],
    targets: &[L::Target],
    loss: &L,
    gradients: &mut [f32],
) -> Result<f32, Error> {
    if gradients.len() != N::PARAMETERS {
        let (found, wanted) = (gradients.len(), N::PARAMETERS);
        return Err(Error::Lengths { what: "gradients", found, of: "params", wanted });
    }
    check_batch::<N>(inputs.len())?;
    let totals = totals(inputs, targets, loss)?;
    let totals = &totals[..N::Output::COUNT];
    #[cfg(feature = "cuda")]
    if let Some(done) = workspace.on_card(|engine, workspace| {
        let losses = on_card::<N, L>(loss, targets)?;
        let feed = feed(inputs);
        let batch = CardBatch::fed(inputs.len(), &feed, &losses, totals);
        cuda::gradients(engine, model, workspace, &batch)
    }) {
        let mean = done?;
        gradients.copy_from_slice(workspace.gradients());
        return Ok(mean);
    }
    let of = of_targets(targets, loss);
    let loss = BatchLoss { of: &of, totals };
    let mean = gradients_by(model, workspace, inputs.len(), &feed(inputs), loss)?;
    gradients.copy_from_slice(workspace.gradients());
    Ok(mean)
}

/// The derivative of each sample's loss by its input: what would make an image more of a bird, say, or which pixels a model looks at. The
/// pass is that of inference, with running statistics and without dropout, as PyTorch's behind `model.eval()`; losses are not divided by
/// anything. Gives their mean. An input that is not `with gradient` has the gradient 0.
///
/// A spec asks for it with `input image [3, 32, 32] with gradient;`, in YAML `image: { shape: [3, 32, 32], gradient: true }`.
///
/// ```
/// netspec::netspec! {
///     model Digits {
///         input image [1, 8, 8] with gradient;
///         conv(8, kernel = 3, padding = 1);
///         batch_norm;
///         relu;
///         max_pool(2);
///         view(-1, 8 * 4 * 4);
///         linear(10);
///     }
/// }
///
/// use netspec::{CrossEntropy, Workspace};
///
/// let (net, mut workspace) = (Digits::new(0), Workspace::new());
/// let mut images = [[[[0.5; 8]; 8]; 1]];
/// let mut gradients = images;
/// let before = net.input_gradients(&mut workspace, &images, &[7], &CrossEntropy, &mut gradients)?;
/// // Nudged along its gradient, the image is more of a 7 to this net.
/// let pixels = images.as_flattened_mut().as_flattened_mut().as_flattened_mut();
/// for (pixel, gradient) in pixels.iter_mut().zip(gradients.as_flattened().as_flattened().as_flattened()) {
///     *pixel -= 0.01 * gradient.signum();
/// }
/// let after = net.input_gradients(&mut workspace, &images, &[7], &CrossEntropy, &mut gradients)?;
/// assert!(after < before);
/// # Ok::<(), netspec::Error>(())
/// ```
///
/// # Panics
///
/// When the spec does not ask for it.
///
/// # Errors
///
/// [`Error::Lengths`] when there is not one target or one gradient for each input; what [`Loss::check`](crate::Loss::check) says of a
/// target.
pub fn input_gradients<N: Network, L: Losses<N::Output>>(
    model: &N,
    workspace: &mut Workspace,
    inputs: &[N::Input],
    targets: &[L::Target],
    loss: &L,
    gradients: &mut [N::Input],
) -> Result<f32, Error> {
    same_length("gradients", gradients.len(), inputs.len())?;
    same_length("targets", targets.len(), inputs.len())?;
    targets.iter().enumerate().try_for_each(|(sample, target)| loss.check_all(sample, target))?;
    let mut each = |sample: usize, input: usize, values: &[f32]| {
        gradients[sample].part_mut(input).copy_from_slice(values);
    };
    #[cfg(feature = "cuda")]
    if let Some(done) = workspace.on_card(|engine, workspace| {
        assert_asked::<N>();
        let losses = on_card::<N, L>(loss, targets)?;
        let totals = &[1.0; OUTPUTS][..N::Output::COUNT];
        let feed = feed(inputs);
        let batch = CardBatch::fed(inputs.len(), &feed, &losses, totals);
        cuda::input_gradients(engine, model, workspace.draw(), &batch, &mut each)
    }) {
        return done;
    }
    let of = of_targets(targets, loss);
    input_gradients_from(model, workspace, inputs.len(), &feed(inputs), &of, &mut each)
}

/// Writes the values of an input, by its number, of a sample of the batch, by its number. It is called from several threads, and for
/// each input once.
pub type Feed<'a> = dyn Fn(usize, usize, &mut [f32]) + Sync + 'a;

/// The loss of a sample of the batch, by its number, of its output; writes the derivative, as [`Loss::loss`](crate::Loss::loss). It is
/// called from several threads, and for each sample once.
pub type SampleLoss<'a> = dyn Fn(usize, &[f32], &mut [f32]) -> f32 + Sync + 'a;

/// The loss of a sample of the batch, by its number, by one of its outputs, by its number; else as [`SampleLoss`].
pub type OutputLoss<'a> = dyn Fn(usize, usize, &[f32], &mut [f32]) -> f32 + Sync + 'a;

/// The loss of a batch: the sum over the outputs of `sum of losses / total`.
#[derive(Clone, Copy)]
pub struct BatchLoss<'a> {
    /// The loss of a sample by an output.
    pub of: &'a OutputLoss<'a>,
    /// For each output what its samples count together: their number, or the sum of their weights.
    pub totals: &'a [f64],
}

impl BatchLoss<'_> {
    /// That of a pass without one.
    pub(crate) const NONE: BatchLoss<'static> = BatchLoss { of: &|_, _, _, _| 0.0, totals: &[1.0] };
}

/// Samples that inference runs at once: what more there are comes in further parts. On the processor [`TILES_OF_THREAD`] tiles for each
/// thread, if those are more.
pub(crate) const INFER_PART: usize = 256;

/// Tiles for each thread of a part: with fewer, some threads would wait for the last ones of others.
const TILES_OF_THREAD: usize = 8;

/// Is given the values of an output, by its number, of a sample of the batch, by its number: `(sample, output, values)`. It is called
/// in the order of the samples.
pub type Each<'a> = dyn FnMut(usize, usize, &[f32]) + 'a;

/// As [`infer`], of `samples` samples whose inputs `feed` writes.
///
/// # Errors
///
/// [`Error::Device`] on a card.
pub fn infer_from<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    samples: usize,
    feed: &Feed<'_>,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    #[cfg(feature = "cuda")]
    if let Some(done) = workspace.on_card(|engine, workspace| {
        cuda::forward(engine, model, PassKind::Infer, (samples, &Inputs::Feed(feed), workspace.draw()), each)
    }) {
        return done;
    }
    // A sample's result does not depend on those beside it, so memory is for a part of them.
    let most = INFER_PART.max(TILES_OF_THREAD * TILE * workspace.threads());
    for first in (0..samples).step_by(most) {
        let feed = |sample: usize, input: usize, to: &mut [f32]| feed(first + sample, input, to);
        let job = Job { feed: &feed, loss: BatchLoss::NONE, samples: most.min(samples - first) };
        let (fold, pack) = (N::fold, N::pack_infer);
        let copies = Copies { pass: PassKind::Infer, of: TypeId::of::<N>(), folded: N::FOLDED, fold, pack };
        let (plan, params) = (&const { N::INFER }, Params::Read(model.weights()));
        let pass = Pass { plan, written: &[], copies, params, statistics: None, job: &job, draw: None };
        let mut run = workspace.run(pass);
        N::infer(&mut run);
        give(&run, N::INFER_OUTPUTS, &mut |sample, output, values| each(first + sample, output, values));
    }
    Ok(())
}

/// The outputs as in training: normalised by the batch, with dropout. Running statistics stay as they are, and so does what dropout
/// draws in later steps. For models whose spec says `eval_mode batch_statistics`.
///
/// # Panics
///
/// When the spec does not say so.
///
/// # Errors
///
/// [`Error::OneValue`].
pub fn forward_from<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    samples: usize,
    feed: &Feed<'_>,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    assert!(!N::FORWARD_OUTPUTS.is_empty(), "the spec of `{}` does not say `eval_mode batch_statistics`", N::NAME);
    if samples == 0 {
        return Ok(());
    }
    check_batch::<N>(samples)?;
    let draw = workspace.forward_draw();
    #[cfg(feature = "cuda")]
    if let Some(done) = workspace.on_card(|engine, _| {
        cuda::forward(engine, model, PassKind::Forward, (samples, &Inputs::Feed(feed), draw), each)
    }) {
        return done;
    }
    let (job, draw) = (Job { feed, loss: BatchLoss::NONE, samples }, Some(draw));
    let copies =
        Copies { pass: PassKind::Forward, of: TypeId::of::<N>(), folded: 0, fold: N::fold, pack: N::pack_forward };
    let params = Params::Read(model.weights());
    let plan = &const { N::FORWARD };
    let mut run = workspace.run(Pass { plan, written: &[], copies, params, statistics: None, job: &job, draw });
    N::forward(&mut run);
    give(&run, N::FORWARD_OUTPUTS, each);
    Ok(())
}

/// As [`step`], of `samples` samples whose inputs `feed` writes. Targets are `loss`'s own to check.
///
/// # Errors
///
/// With nothing changed: [`Error::EmptyBatch`], [`Error::OneValue`].
pub fn step_from<N: Network>(
    model: &mut N,
    workspace: &mut Workspace,
    samples: usize,
    feed: &Feed<'_>,
    loss: &SampleLoss<'_>,
    optimizer: &mut dyn Optimizer,
) -> Result<f32, Error> {
    let of = |sample: usize, _: usize, output: &[f32], derivative: &mut [f32]| loss(sample, output, derivative);
    step_by(model, workspace, samples, feed, BatchLoss { of: &of, totals: &[samples as f64] }, optimizer)
}

/// As [`step_from`], of a model with any number of outputs, each of which has a total. Targets and totals are the caller's to check.
///
/// # Panics
///
/// When there is not one total for each output.
///
/// # Errors
///
/// With nothing changed: [`Error::EmptyBatch`], [`Error::OneValue`].
pub fn step_by<N: Network>(
    model: &mut N,
    workspace: &mut Workspace,
    samples: usize,
    feed: &Feed<'_>,
    loss: BatchLoss<'_>,
    optimizer: &mut dyn Optimizer,
) -> Result<f32, Error> {
    check_batch::<N>(samples)?;
    assert_eq!(loss.totals.len(), N::Output::COUNT, "a total for each output of `{}`", N::NAME);
    workspace.refuse_own_loss(N::NAME)?;
    let version = model.weights().version();
    let (params, statistics) = model.weights_mut().both_mut();
    let job = Job { feed, loss, samples };
    let pass = Pass {
        plan: &const { N::TRAIN },
        written: N::WRITTEN,
        copies: training_copies::<N>(),
        params: Params::Trained(params, version),
        statistics: Some(statistics),
        job: &job,
        draw: None,
    };
    let mut run = workspace.run(pass);
    N::train(&mut run);
    let mean = run.mean_loss();
    let threads = workspace.threads();
    let added = optimizer.follow(params, workspace.gradients_mut(), samples, threads);
    workspace.next_step();
    Ok(mean + added)
}

/// As [`gradients`], of `samples` samples whose inputs `feed` writes: [`Workspace::gradients`] has the gradient then.
///
/// # Errors
///
/// [`Error::EmptyBatch`], [`Error::OneValue`].
pub fn gradients_from<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    samples: usize,
    feed: &Feed<'_>,
    loss: &SampleLoss<'_>,
) -> Result<f32, Error> {
    let of = |sample: usize, _: usize, output: &[f32], derivative: &mut [f32]| loss(sample, output, derivative);
    gradients_by(model, workspace, samples, feed, BatchLoss { of: &of, totals: &[samples as f64] })
}

/// As [`gradients_from`], of a model with any number of outputs, as [`step_by`].
///
/// # Panics
///
/// When there is not one total for each output.
///
/// # Errors
///
/// [`Error::EmptyBatch`], [`Error::OneValue`].
pub fn gradients_by<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    samples: usize,
    feed: &Feed<'_>,
    loss: BatchLoss<'_>,
) -> Result<f32, Error> {
    check_batch::<N>(samples)?;
    assert_eq!(loss.totals.len(), N::Output::COUNT, "a total for each output of `{}`", N::NAME);
    workspace.refuse_own_loss(N::NAME)?;
    let job = Job { feed, loss, samples };
    let params = Params::Trained(model.weights().params(), model.weights().version());
    let copies = training_copies::<N>();
    let (plan, written) = (&const { N::TRAIN }, N::WRITTEN);
    let pass = Pass { plan, written, copies, params, statistics: None, job: &job, draw: None };
    let mut run = workspace.run(pass);
    N::train(&mut run);
    Ok(run.mean_loss())
}

/// As [`input_gradients`], of `samples` samples whose inputs `feed` writes, with the loss of each sample by each output, as
/// [`BatchLoss::of`]; `each` is given the gradients.
///
/// # Panics
///
/// When the spec does not ask for it.
///
/// # Errors
///
/// [`Error::Device`] on a card, which knows no functions of the host.
pub fn input_gradients_from<N: Network>(
    model: &N,
    workspace: &mut Workspace,
    samples: usize,
    feed: &Feed<'_>,
    loss: &OutputLoss<'_>,
    each: &mut Each<'_>,
) -> Result<f32, Error> {
    assert_asked::<N>();
    workspace.refuse_own_loss(N::NAME)?;
    let totals = [1.0; OUTPUTS];
    let loss = BatchLoss { of: loss, totals: &totals[..N::Output::COUNT] };
    let job = Job { feed, loss, samples };
    let copies = Copies {
        pass: PassKind::InputGradients,
        of: TypeId::of::<N>(),
        folded: N::FOLDED,
        fold: N::fold,
        pack: N::pack_input_gradients,
    };
    let params = Params::Read(model.weights());
    let plan = &const { N::INPUT_GRADIENTS };
    let pass = Pass { plan, written: &[], copies, params, statistics: None, job: &job, draw: None };
    let mut run = workspace.run(pass);
    N::input_gradients(&mut run);
    give(&run, N::INPUT_GRADIENTS_AT, each);
    Ok(run.mean_loss() / samples.max(1) as f32)
}

/// That the spec asks for inputs' gradients.
fn assert_asked<N: Network>() {
    assert!(!N::INPUT_GRADIENTS_AT.is_empty(), "the spec of `{}` says `with gradient` of no input", N::NAME);
}

/// What a loss is to a card.
#[cfg(feature = "cuda")]
pub(crate) fn on_card<N: Network, L: Losses<N::Output>>(
    loss: &L,
    targets: &[L::Target],
) -> Result<Vec<cuda::CardLoss>, Error> {
    loss.all_on_card(targets).ok_or_else(|| own_loss(N::NAME))
}

/// Of a model whose loss is a function of the host, which runs nowhere else.
#[cfg(feature = "cuda")]
pub(crate) fn own_loss(model: &'static str) -> Error {
    let problem = "its loss is a function of the program's own, and kernels are there for those of netspec".to_owned();
    Error::Device(crate::error::DeviceProblem::NoKernel { model, problem })
}

fn training_copies<N: Network>() -> Copies {
    Copies { pass: PassKind::Train, of: TypeId::of::<N>(), folded: 0, fold: N::fold, pack: N::pack_train }
}

/// Checks that a model can be trained on a batch of so many samples.
///
/// # Errors
///
/// [`Error::EmptyBatch`] of none; [`Error::OneValue`] when it normalises by the batch and that has one value a channel.
pub fn check_batch<N: Network>(samples: usize) -> Result<(), Error> {
    match (samples, N::BATCH_NORM_POSITIONS) {
        (0, _) => Err(Error::EmptyBatch),
        (1, Some(0 | 1)) => Err(Error::OneValue),
        _ => Ok(()),
    }
}

/// Checks the targets of a batch; gives what they count together, for each output.
pub(crate) fn totals<Input, Output: Parts, L: Losses<Output>>(
    inputs: &[Input],
    targets: &[L::Target],
    loss: &L,
) -> Result<[f64; OUTPUTS], Error> {
    same_length("targets", targets.len(), inputs.len())?;
    targets.iter().enumerate().try_for_each(|(sample, target)| loss.check_all(sample, target))?;
    let mut totals = [0.0; OUTPUTS];
    for (index, total) in totals[..Output::COUNT].iter_mut().enumerate() {
        *total = targets.iter().map(|target| f64::from(loss.weight_of(index, target))).sum();
        if *total <= 0.0 || total.is_nan() {
            return Err(Error::Weightless);
        }
    }
    Ok(totals)
}

/// Outputs that a model may have.
const OUTPUTS: usize = 12;

/// The loss of each sample by its target.
fn of_targets<Output, L: Losses<Output>>(
    targets: &[L::Target],
    loss: &L,
) -> impl Fn(usize, usize, &[f32], &mut [f32]) -> f32 + Sync {
    |sample, index, output, derivative| loss.loss_of(index, output, &targets[sample], derivative)
}

pub(crate) fn same_length(what: &'static str, found: usize, wanted: usize) -> Result<(), Error> {
    if found == wanted { Ok(()) } else { Err(Error::Lengths { what, found, of: "inputs", wanted }) }
}

fn feed<Input: Parts + Sync>(inputs: &[Input]) -> impl Fn(usize, usize, &mut [f32]) + Sync {
    |sample, input, to| to.copy_from_slice(inputs[sample].part(input))
}

fn give(run: &Run<'_>, outputs: &[View], each: &mut Each<'_>) {
    let (batch, stride) = run.batch();
    for sample in 0..run.samples() {
        for (output, view) in outputs.iter().enumerate() {
            each(sample, output, &batch[sample * stride + view.offset..][..view.len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Parts as Values;
    use crate::{Mse, Sgd};

    /// Gives what dropout would draw, the batch's samples and the packed statistic; counts its batches in its statistic.
    #[derive(Clone)]
    struct Probe(Weights);

    const OUT: View = crate::arena::batch(0, 3);

    fn look(run: &mut Run<'_>) {
        if let Some(statistics) = &mut run.statistics {
            statistics[0] += 1.0;
        }
        let samples = run.samples();
        run.stage(&[], |tile| {
            let (draw, first) = (tile.draw(), tile.samples().start);
            let Values { writes: [mut out], params, .. } = tile.parts([], [OUT]);
            for sample in 0..out.samples() {
                assert!(first + sample < samples);
                out.row(sample).copy_from_slice(&[draw.step as f32, (draw.seed % 1024) as f32, params[0]]);
            }
        });
    }

    impl Model for Probe {
        type Input = ([f32; 1], [f32; 2]);
        type Output = [f32; 3];
        const NAME: &'static str = "Probe";
        const PARAMETERS: usize = 1;
    }

    impl Network for Probe {
        const TENSORS: &'static [Tensor] = &[
            Tensor { name: "w", shape: &[1], offset: 0, repeats: &[], fill: Fill::Constant(5.0), trainable: true },
            { Tensor { name: "n", shape: &[1], offset: 0, repeats: &[], fill: Fill::Constant(7.0), trainable: false } },
        ];
        const STATISTICS: usize = 1;
        const SPEC_HASH: u64 = 0;
        const BATCH_NORM_POSITIONS: Option<usize> = Some(1);
        const TRAIN: Plan = Plan { tile: 0, batch: 3, state: 0, scratch: 0, packed: 0, gradients: 0 };
        const INFER: Plan = Self::TRAIN;
        const FOLDED: usize = 1;
        const FORWARD: Plan = Self::TRAIN;
        const FORWARD_OUTPUTS: &'static [View] = &[OUT];
        const INFER_OUTPUTS: &'static [View] = &[OUT];
        fn weights(&self) -> &Weights {
            &self.0
        }
        fn weights_mut(&mut self) -> &mut Weights {
            &mut self.0
        }
        fn with_weights(weights: Weights) -> Probe {
            Probe(weights)
        }
        fn forward(run: &mut Run<'_>) {
            look(run);
        }
        fn train(run: &mut Run<'_>) {
            look(run);
        }
        fn infer(run: &mut Run<'_>) {
            look(run);
        }
        fn fold(_: &[f32], statistics: &[f32], folded: &mut [f32]) {
            folded.copy_from_slice(statistics);
        }
    }

    const INPUTS: [([f32; 1], [f32; 2]); 2] = [([0.0], [0.0; 2]); 2];

    fn inferred(probe: &Probe, workspace: &mut Workspace) -> [f32; 3] {
        let mut outputs = [[0.0; 3]; 2];
        infer(probe, workspace, &INPUTS, &mut outputs).expect("as many outputs");
        outputs[1]
    }

    fn forwarded(probe: &Probe, workspace: &mut Workspace) -> [f32; 3] {
        let mut last = [0.0; 3];
        let each = &mut |_: usize, _: usize, values: &[f32]| last.copy_from_slice(values);
        forward_from(probe, workspace, 2, &|_, _, _| (), each).expect("a batch");
        last
    }

    #[test]
    fn steps_alone_change_statistics_and_what_is_drawn() {
        let mut probe: Probe = new(0);
        let workspace = &mut Workspace::new();
        workspace.seed(9);
        let step = |probe: &mut Probe, workspace: &mut Workspace| {
            step(probe, workspace, &INPUTS, &[[0.0; 3]; 2], &Mse, &mut Sgd::new(0.0)).expect("a batch");
        };
        assert_eq!(inferred(&probe, workspace), [0.0, 9.0, 7.0]);
        step(&mut probe, workspace);
        step(&mut probe, workspace);
        assert_eq!(inferred(&probe, workspace), [2.0, 9.0, 9.0]);
        gradients(&probe, workspace, &INPUTS, &[[0.0; 3]; 2], &Mse, &mut [0.0]).expect("a batch");
        let [first, second] = [(); 2].map(|()| forwarded(&probe, workspace));
        assert!(first != second && first[1] != 9.0 && first[2] == 5.0, "{first:?} {second:?}");
        assert_eq!(inferred(&probe, workspace), [2.0, 9.0, 9.0]);
        workspace.seed(9);
        assert_eq!(inferred(&probe, workspace), [0.0, 9.0, 9.0]);
        assert_eq!(forwarded(&probe, workspace), first);
    }

    #[test]
    fn one_value_a_channel_is_refused_in_training_alone() {
        let mut probe: Probe = new(0);
        let workspace = &mut Workspace::new();
        let nothing: &Feed<'_> = &|_, _, _| ();
        let no_loss = |_: usize, _: &[f32], _: &mut [f32]| 0.0;
        assert_eq!(step_from(&mut probe, workspace, 1, nothing, &no_loss, &mut Sgd::new(0.0)), Err(Error::OneValue));
        assert_eq!(gradients_from(&probe, workspace, 1, nothing, &no_loss), Err(Error::OneValue));
        assert_eq!(forward_from(&probe, workspace, 1, nothing, &mut |_, _, _| ()), Err(Error::OneValue));
        assert_eq!(forward_from(&probe, workspace, 0, nothing, &mut |_, _, _| ()), Ok(()));
        assert_eq!(infer_from(&probe, workspace, 1, nothing, &mut |_, _, _| ()), Ok(()));
        assert_eq!(probe.weights().statistics(), [7.0]);
    }

    #[test]
    fn tensors_are_listed() {
        let probe: Probe = new(0);
        let listed: Vec<_> = tensors(&probe).map(|tensor| (tensor.name, tensor.values, tensor.trainable)).collect();
        assert_eq!(listed, [("w".to_owned(), &[5.0][..], true), ("n".to_owned(), &[7.0][..], false)]);
    }
}
