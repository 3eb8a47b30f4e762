//! The op table: the one place from which layers, their arguments, kinds, defaults, shape rules and docs come.
//!
//! A layer is a file here and a line in [`LAYERS`]. Initialisers, losses, optimizers and data sets are declared the same way,
//! in `initialisers.rs`, `losses.rs`, `optimizers.rs`, `tricks.rs` and `datasets.rs`.

mod adaptive_avg_pool;
mod add;
mod args;
mod avg_pool;
mod batch_norm;
mod channel_dropout;
mod channel_shuffle;
mod concat;
mod conv;
mod conv_transpose;
pub mod custom;
pub mod datasets;
mod dropout;
mod elementwise;
mod elu;
mod flatten;
mod gelu;
mod global_pool;
mod group_norm;
mod hardsigmoid;
mod hardswish;
mod hardtanh;
mod identity;
pub mod initialisers;
mod instance_norm;
mod layer_norm;
mod leaky_relu;
mod linear;
mod log_softmax;
pub mod losses;
mod max_pool;
mod multiply;
mod narrow;
pub mod optimizers;
mod permute;
mod relu;
mod relu6;
mod sigmoid;
mod silu;
mod softmax;
mod softplus;
mod tanh;
pub mod tricks;
mod upsample;
mod view;
mod window;
mod words;
mod zero_pad;

pub use args::{Arg, Args, Bound, Choice, Default, Int, Kind, NumberRange, OwnWeight, Value};
pub use words::{Shape, elements, given, sizes, thousands};

use std::borrow::Cow;

use crate::diag::{Code, Diagnostic, Fix};
use crate::ir::ValueId;
use crate::lower::{Lowering, Use};

use crate::source::Span;

/// Every layer.
pub static LAYERS: &[&dyn Layer] = &[
    &conv::Conv,
    &conv_transpose::ConvTranspose,
    &linear::Linear,
    &max_pool::MaxPool,
    &avg_pool::AvgPool,
    &global_pool::GLOBAL_AVG_POOL,
    &global_pool::GLOBAL_MAX_POOL,
    &adaptive_avg_pool::AdaptiveAvgPool,
    &upsample::Upsample,
    &zero_pad::ZeroPad,
    &batch_norm::BatchNorm,
    &layer_norm::LayerNorm,
    &group_norm::GroupNorm,
    &instance_norm::InstanceNorm,
    &dropout::Dropout,
    &channel_dropout::ChannelDropout,
    &relu::RELU,
    &tanh::TANH,
    &sigmoid::SIGMOID,
    &leaky_relu::LEAKY_RELU,
    &elu::ELU,
    &gelu::GELU,
    &silu::SILU,
    &hardtanh::Hardtanh,
    &relu6::RELU6,
    &hardswish::HARDSWISH,
    &hardsigmoid::HARDSIGMOID,
    &softplus::SOFTPLUS,
    &softmax::Softmax,
    &log_softmax::LogSoftmax,
    &view::View,
    &flatten::Flatten,
    &narrow::Narrow,
    &permute::Permute,
    &channel_shuffle::ChannelShuffle,
    &identity::Identity,
    &add::Add,
    &concat::Concat,
    &multiply::Multiply,
    &custom::Custom,
];

/// A thing a spec can call: a layer, an initialiser, a loss, an optimizer or a data set.
#[derive(Debug)]
pub struct Decl {
    /// Its name in a spec.
    pub name: &'static str,
    /// Other names, which say the number of spatial dimensions.
    pub aliases: &'static [Alias],
    /// Its arguments; only the first is given by position, unless its kind takes all.
    pub args: &'static [Arg],
    /// What it does, for a user: formula, shapes, source.
    pub docs: &'static str,
}

/// `conv2d` for `conv` on maps of two spatial dimensions.
#[derive(Debug)]
pub struct Alias {
    /// The other name.
    pub name: &'static str,
    /// Spatial dimensions.
    pub rank: usize,
}

/// `conv1d`, `conv2d`, `conv3d`: the aliases that state a rank.
macro_rules! ranked {
    ($one:literal $two:literal $three:literal) => {
        &[
            $crate::ops::Alias { name: $one, rank: 1 },
            $crate::ops::Alias { name: $two, rank: 2 },
            $crate::ops::Alias { name: $three, rank: 3 },
        ]
    };
}
pub(crate) use ranked;

/// A layer: its declaration, its shape rule, and what follows from the shapes.
pub trait Layer: Sync {
    /// Name, arguments, docs.
    fn decl(&self) -> &Decl;

    /// A spec's body that is right, and one with an error that this layer finds, both on an input of
    /// [`Example::input`]; a test compiles them.
    fn example(&self) -> Example;

    /// Whether it has weights, and so a name in the state dict.
    fn has_weights(&self) -> bool {
        false
    }

    /// Whether it is code of the user's, which only rustc sees: nothing else knows its formula.
    fn is_foreign(&self) -> bool {
        false
    }

    /// Why it runs on the processor alone, if it does.
    fn cpu_only(&self) -> Option<&'static str> {
        None
    }

    /// Whether it is a nonlinearity, of which two in a row are likely a slip.
    fn is_activation(&self) -> bool {
        false
    }

    /// The output's shape when the input's is not known, since what makes it was blamed already.
    fn output_of_unknown(&self, _args: &Args) -> Option<Shape> {
        None
    }

    /// Writes one proved use as ops.
    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId;

    /// Proves the shapes of one use, or says what is wrong.
    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>>;
}

impl std::fmt::Debug for dyn Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.decl().name)
    }
}

/// A good and a bad use of a layer.
#[derive(Debug)]
pub struct Example {
    /// The input's shape, as written.
    pub input: &'static str,
    /// Statements without an error.
    pub good: &'static str,
    /// Statements with one.
    pub bad: &'static str,
    /// The error.
    pub error: Code,
}

/// What comes into a layer.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its shape, per sample.
    pub shape: Shape,
    /// The map that it was made flat from, if it was.
    pub flat_of: Option<Shape>,
    /// Where the layer stands that made it.
    pub made_at: Span,
}

/// One use of a layer, as its shape rule sees it.
pub struct Site<'a> {
    /// The label, else the layer's name as written.
    pub name: &'a str,
    /// The layer's name as written.
    pub head: Span,
    /// The number of spatial dimensions that the name as written states.
    pub rank: Option<usize>,
    /// The arguments.
    pub args: &'a Args,
    /// What comes in: one value, or as many as `add`, `multiply` or `concat` names.
    pub inputs: &'a [Incoming],
    /// Builds fixes in the user's spelling.
    pub fixes: &'a crate::fixes::Fixes<'a>,
    /// The whole statement, for fixes.
    pub statement: Span,
    /// The output's shape as the user asserts it. Only a layer that cannot know it asks; it is checked for all.
    pub asserted: Option<&'a [Int]>,
}

/// What is proved of one use.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The output's shape.
    pub output: Shape,
    /// Trainable parameters and running statistics.
    pub weights: Vec<Weight>,
    /// Multiply-accumulates of one sample's forward pass.
    pub macs: u64,
    /// What part of its input an output element sees.
    pub window: Window,
    /// N09xx findings.
    pub warnings: Vec<Diagnostic>,
}

impl Facts {
    /// The facts of a layer that keeps the shape and has no weights.
    pub fn same(shape: &[u64]) -> Facts {
        Facts { output: shape.to_vec(), ..Facts::default() }
    }
}

/// A tensor that belongs to a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Its last name: `weight`, `bias`, `running_mean`, `running_var`, or what the spec calls it.
    pub name: Cow<'static, str>,
    /// Its shape, PyTorch's.
    pub shape: Vec<u64>,
    /// Whether the optimizer changes it; running statistics it does not.
    pub trainable: bool,
}

impl Weight {
    /// A trainable tensor.
    pub fn trainable(name: impl Into<Cow<'static, str>>, shape: Vec<u64>) -> Weight {
        Weight { name: name.into(), shape, trainable: true }
    }

    /// A running statistic.
    pub fn statistic(name: impl Into<Cow<'static, str>>, shape: Vec<u64>) -> Weight {
        Weight { name: name.into(), shape, trainable: false }
    }
}

/// What part of its input an element of the output sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// Its own place.
    #[default]
    Point,
    /// A window that slides, per axis.
    Slides {
        /// Span of the window, `dilation * (kernel - 1) + 1`.
        reach: Vec<u64>,
        /// Its step.
        stride: Vec<u64>,
    },
    /// A window such that there are `out_size` outputs for `size` inputs, per axis: not always a whole number of inputs apart.
    Resamples {
        /// Span of the widest window.
        reach: Vec<u64>,
        /// Inputs.
        size: Vec<u64>,
        /// Outputs.
        out_size: Vec<u64>,
    },
    /// Its elements spread over windows of the output, `stride` apart: an output element sees those whose windows have it.
    Spreads {
        /// Span of the window in the output, `dilation * (kernel - 1) + 1`.
        reach: Vec<u64>,
        /// Output elements from one window to the next.
        stride: Vec<u64>,
    },
    /// All of it.
    Whole,
    /// The element is the same one, but the axes are not.
    Reshapes,
}

/// An error of a shape rule.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong.
    pub diagnostic: Diagnostic,
    /// What the output would be if it were mended, so that later layers can still be checked.
    pub likely: Option<Shape>,
}

impl Failure {
    /// A failure whose output would be `likely`.
    pub fn with(diagnostic: Diagnostic, likely: Shape) -> Box<Failure> {
        Box::new(Failure { diagnostic, likely: Some(likely) })
    }
}

impl From<Diagnostic> for Box<Failure> {
    fn from(diagnostic: Diagnostic) -> Box<Failure> {
        Box::new(Failure { diagnostic, likely: None })
    }
}

impl Site<'_> {
    /// The single value that comes in.
    pub fn input(&self) -> &Incoming {
        &self.inputs[0]
    }

    /// An error blamed on this layer, with a label on what made its input.
    pub fn error(&self, code: Code, title: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        let input = self.input();
        Diagnostic::new(code, title, self.head, label)
            .label(input.made_at, format!("this makes {}", given(&input.shape)))
    }

    /// The map that comes in: its channels and its spatial sizes. An error when it is flat, has more than three spatial dimensions, or
    /// another number of them than the layer's name states.
    pub fn map(&self) -> Result<(u64, &[u64]), Box<Failure>> {
        match self.input().shape.as_slice() {
            [channels, spatial @ ..] if (1..=3).contains(&spatial.len()) => {
                self.check_rank(spatial.len())?;
                Ok((*channels, spatial))
            }
            shape => Err(self
                .error(
                    Code::N0308,
                    format!("`{}` needs a map, but is given {}", self.name, given(shape)),
                    "needs channels and 1 to 3 spatial dimensions",
                )
                .into()),
        }
    }

    /// An error when the layer's name states a number of spatial dimensions other than `rank`.
    pub fn check_rank(&self, rank: usize) -> Result<(), Box<Failure>> {
        let Some(stated) = self.rank.filter(|&stated| stated != rank) else {
            return Ok(());
        };
        let shape = &self.input().shape;
        let title =
            format!("`{}` is of {stated} dimension{}, but is given {}", self.name, plural(stated), given(shape));
        let label = format!("needs channels and {stated} spatial dimension{}", plural(stated));
        Err(self.error(Code::N0308, title, label).note("the name without its number takes 1, 2 or 3").into())
    }

    /// An argument of one size, or one for each of `rank` axes.
    pub fn per_axis(&self, name: &str, rank: usize) -> Result<Vec<u64>, Box<Failure>> {
        let Some(values) = self.args.axes(name) else {
            return Ok(vec![0; rank]);
        };
        let sizes: Vec<u64> = values.iter().map(|size| size.value.unsigned_abs()).collect();
        match sizes.as_slice() {
            [one] => Ok(vec![*one; rank]),
            each if each.len() == rank => Ok(sizes),
            each => {
                let count = each.len();
                let title = format!(
                    "`{name}` of `{}` has {count} sizes, but the map has {rank} spatial dimension{}",
                    self.name,
                    plural(rank)
                );
                let input = self.input();
                Err(Diagnostic::new(
                    Code::N0308,
                    title,
                    self.args.span(name).unwrap_or(self.head),
                    "one size for each dimension",
                )
                .label(input.made_at, format!("this makes {}", given(&input.shape)))
                .into())
            }
        }
    }

    /// An error when `init` is given and `part`, the part of the layer that it would fill, is switched off.
    pub fn check_init(&self, init: &str, part: &str) -> Result<(), Box<Failure>> {
        match self.args.span(init) {
            Some(span) if !self.args.bool(part) => {
                let title = format!("`{init}` of `{}` has nothing to fill", self.name);
                Err(Diagnostic::new(Code::N0402, title, span, format!("`{part}` is false")).into())
            }
            _ => Ok(()),
        }
    }

    /// A fix that writes a layer before this one, given in both spellings.
    pub fn insert_before(&self, title: &str, netspec: &str, yaml: &str) -> Option<Fix> {
        self.fixes.insert_before(self.statement, title, netspec, yaml)
    }
}

/// `s` when there is not just one.
pub fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The layer of a name, and the spatial dimensions that the name states.
pub fn layer(name: &str) -> Option<(&'static dyn Layer, Option<usize>)> {
    LAYERS.iter().find_map(|layer| {
        let decl = layer.decl();
        if decl.name == name {
            return Some((*layer, None));
        }
        decl.aliases.iter().find(|alias| alias.name == name).map(|alias| (*layer, Some(alias.rank)))
    })
}

/// Every name that calls a layer.
pub fn layer_names() -> impl Iterator<Item = &'static str> {
    LAYERS.iter().flat_map(|layer| {
        let decl = layer.decl();
        std::iter::once(decl.name).chain(decl.aliases.iter().map(|alias| alias.name))
    })
}
