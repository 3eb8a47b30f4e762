//! The intermediate program: ops on values, and one control structure, `loop(n)`.
//!
//! Every value is assigned where it is made; only gradients are added to, which each write says. Shapes are of one sample. Weights
//! are addressed by tensor; where a loop has separate sets, a tensor's [`Repeat`]s say how far apart they lie.

use std::collections::HashSet;

use crate::net::LayerId;
use crate::ops::{Shape, elements};

/// A value of [`Program::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A tensor of [`Program::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub u32);

/// A model as ops.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// All values.
    pub values: Vec<Value>,
    /// Parameters and running statistics, in PyTorch's order.
    pub tensors: Vec<Tensor>,
    /// Floats of parameters.
    pub params: u64,
    /// Floats of running statistics.
    pub statistics: u64,
    /// What runs, in order.
    pub body: Vec<Item>,
    /// What comes out.
    pub outputs: Vec<ValueId>,
    /// Parameters that no step changes: their gradients are not asked for.
    pub frozen: HashSet<TensorId>,
}

/// A value: one array for each sample.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its shape.
    pub shape: Shape,
    /// What it is called where it is shown: the path of the layer that makes it, with a `d ` before it for a gradient.
    pub name: String,
}

/// A parameter or running statistic, or all sets of it that loops have.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in a state dict, `*` for the index of each repeat around it.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Shape,
    /// Its first float, of the first iteration's set, among the parameters or the statistics.
    pub offset: u64,
    /// The repeats that `*` stands for, outermost first.
    pub repeats: Vec<Repeat>,
    /// What it is filled with at first.
    pub fill: Fill,
    /// Whether it is a parameter; else a running statistic.
    pub trainable: bool,
}

/// A repeat around a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The repeat's layer.
    pub layer: LayerId,
    /// Its iterations.
    pub count: u64,
    /// Floats from one iteration's tensor to the next one's; 0 when they are tied.
    pub stride: u64,
}

/// What a tensor is filled with at first.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// Every element the same.
    Constant(f64),
    /// Even between minus and plus this.
    Uniform(f64),
    /// Even between these.
    Between(f64, f64),
    /// Normal, of this mean and deviation.
    Normal(f64, f64),
    /// Normal where it is between the ends, of a mean and a deviation before the rest is cut off.
    Truncated {
        /// The mean.
        mean: f64,
        /// The deviation.
        std: f64,
        /// The least and the greatest.
        ends: [f64; 2],
    },
    /// A matrix whose rows, or columns if they are fewer, are at right angles and of this length.
    Orthogonal(f64),
    /// These numbers, the last index running fastest.
    Values(Vec<f64>),
}

/// A step of a body.
#[derive(Clone, Debug)]
pub enum Item {
    /// An op.
    Op(Op),
    /// A loop.
    Loop(Loop),
}

/// `count` runs of a body. What one run ends with the next one starts from.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The repeat's layer; a forward loop and its reversed one have the same.
    pub layer: LayerId,
    /// Its name, for a function.
    pub name: String,
    /// Iterations.
    pub count: u64,
    /// Whether the iterations run from the last to the first.
    pub reversed: bool,
    /// The value before the loop.
    pub outer: ValueId,
    /// What an iteration starts from.
    pub start: ValueId,
    /// What it ends with.
    pub end: ValueId,
    /// The value behind the loop.
    pub result: ValueId,
    /// What runs.
    pub body: Vec<Item>,
}

/// An op.
#[derive(Clone, Debug)]
pub struct Op {
    /// What it does.
    pub kind: Kind,
    /// The values it reads.
    pub reads: Vec<ValueId>,
    /// The values it writes, or adds to.
    pub writes: Vec<(ValueId, Store)>,
    /// The layer it comes from.
    pub layer: LayerId,
}

/// Whether a result replaces what is there or adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Replaces.
    Write,
    /// Adds.
    Add,
}

/// A nonlinearity that never falls and whose derivative is a function of its result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// `y = x`
    None,
    /// `y = max(x, 0)`
    Relu,
    /// `y = tanh(x)`
    Tanh,
    /// `y = 1 / (1 + exp(-x))`
    Sigmoid,
    /// `y = x` above 0, else `slope x`, of a slope that is not below 0.
    LeakyRelu(f64),
    /// `y = x` above 0, else `alpha (exp(x) - 1)`, of an alpha that is not below 0.
    Elu(f64),
    /// x between the two.
    Hardtanh(f64, f64),
    /// `y = min(max(x + 3, 0), 6) / 6`
    Hardsigmoid,
    /// `y = log(1 + exp(beta x)) / beta`, and x where `beta x` is above a threshold, the second number, that is at least
    /// [`Act::SOFTPLUS_IS_LINE`].
    Softplus(f64, f64),
}

impl Act {
    /// From here on `x` and `log(1 + exp(x))` are one number in f32, and [`Act::Softplus`] does not fall where it becomes a line.
    pub const SOFTPLUS_IS_LINE: f64 = 17.0;

    /// Where its derivative jumps.
    pub fn kinks(self) -> Vec<f64> {
        match self {
            Act::Relu | Act::LeakyRelu(_) | Act::Elu(_) => vec![0.0],
            Act::Hardtanh(least, most) => vec![least, most],
            Act::Hardsigmoid => vec![-3.0, 3.0],
            Act::None | Act::Tanh | Act::Sigmoid | Act::Softplus(..) => Vec::new(),
        }
    }
}

/// A nonlinearity whose derivative is a function of its input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Curve {
    /// `y = x P(x)`, P(x) being how much of the normal distribution lies below x.
    Gelu,
    /// `y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`
    GeluTanh,
    /// `y = x / (1 + exp(-x))`
    Silu,
    /// `y = x min(max(x + 3, 0), 6) / 6`
    Hardswish,
    /// [`Act::Softplus`] of a smaller threshold, where it falls.
    Softplus(f64, f64),
}

impl Curve {
    /// Where its derivative jumps.
    pub fn kinks(self) -> Vec<f64> {
        match self {
            Curve::Hardswish => vec![-3.0, 3.0],
            Curve::Softplus(beta, threshold) => vec![threshold / beta],
            Curve::Gelu | Curve::GeluTanh | Curve::Silu => Vec::new(),
        }
    }
}

/// Whether a value is added before a nonlinearity or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Before.
    Before,
    /// Behind.
    Behind,
}

/// A convolution's sizes; axes that the map does not have are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Input channels.
    pub channels: u64,
    /// Output channels.
    pub out_channels: u64,
    /// Independent convolutions.
    pub groups: u64,
    /// The window and the maps.
    pub window: Window,
}

/// A window that slides over a map; axes that the map does not have are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The input's spatial sizes.
    pub size: [u64; 3],
    /// The output's spatial sizes.
    pub out_size: [u64; 3],
    /// The window's sizes.
    pub kernel: [u64; 3],
    /// Its steps.
    pub stride: [u64; 3],
    /// Elements before the map. Behind it are as many as the windows reach: the same, or one more where an even kernel keeps the size.
    pub padding: [u64; 3],
    /// Distances between the window's elements.
    pub dilation: [u64; 3],
}

/// A map in another frame: with zeros beside it, or cropped; axes that the map does not have are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The input's spatial sizes.
    pub size: [u64; 3],
    /// The output's spatial sizes.
    pub out_size: [u64; 3],
    /// Zeros before the input on each axis; below 0, how many of its elements are left out there.
    pub before: [i64; 3],
}

/// A map of another size; axes that the map does not have are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resample {
    /// The input's spatial sizes.
    pub size: [u64; 3],
    /// The output's spatial sizes.
    pub out_size: [u64; 3],
    /// What an output is of the inputs around it.
    pub how: How,
}

/// What an output of a map of another size is, on each axis: of `size` inputs and `out_size` outputs, output o.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The mean of the inputs from `floor(o size / out_size)` to before `ceil((o + 1) size / out_size)`.
    Adaptive,
    /// The input `floor(o size / out_size)`.
    Nearest,
    /// The line through the two inputs around `(o + 1/2) size / out_size - 1/2`, or 0 when that is less.
    Linear,
    /// The line through the two inputs around `o (size - 1) / (out_size - 1)`: the first and the last stay where they are.
    LinearCorners,
}

/// A linear layer's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Rows of a sample: 1 for a flat input.
    pub rows: u64,
    /// Input features.
    pub inputs: u64,
    /// Output features.
    pub outputs: u64,
}

/// A batch norm's sizes and numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Channels.
    pub channels: u64,
    /// Elements of a channel.
    pub positions: u64,
    /// Added to the variance.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f64,
    /// Which use of a batch norm this is: forward and backward of one use share numbers of the batch.
    pub of: u32,
}

/// A norm's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormTensors {
    /// Scale.
    pub weight: Option<TensorId>,
    /// Shift.
    pub bias: Option<TensorId>,
    /// Running mean.
    pub mean: TensorId,
    /// Running variance.
    pub var: TensorId,
}

/// A layer of a user's own, at one use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// The path of its type.
    pub path: String,
    /// The input's shape.
    pub input: Shape,
    /// The output's shape.
    pub output: Shape,
    /// Names and shapes of its weights.
    pub weights: Vec<(String, Shape)>,
}

/// The sizes and numbers of a norm of groups of one sample, whose value is `[groups][channels][positions]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Groups.
    pub groups: u64,
    /// Channels of a group.
    pub channels: u64,
    /// Elements of a channel.
    pub positions: u64,
    /// Added to the variance.
    pub eps: f64,
    /// Whether all groups have the weights of one, as in a layer norm; else each channel of each has its own.
    pub shared: bool,
}

/// What an op does. Reads and writes are given in their order, with `y` the result of `x`, and `dy`, `dx` the loss's
/// derivatives by them.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `-> y`: an input of the model.
    Load(usize),
    /// `x -> y`, then the nonlinearity.
    Conv(Conv, TensorId, Option<TensorId>, Act),
    /// `dy -> dx`
    ConvGradInput(Conv, TensorId),
    /// `x, dy ->`: adds to the gradients of weight and bias.
    ConvGradWeight(Conv, TensorId, Option<TensorId>),
    /// `x -> y`: what [`Kind::ConvGradInput`] makes of `x`, the bias, then the nonlinearity. The convolution is the one that this is the
    /// gradient of: its input has the sizes of `y`, its output those of `x`.
    ConvTranspose(Conv, TensorId, Option<TensorId>, Act),
    /// `dy ->`: adds each channel's sum to the gradient of a bias.
    GradBias(u64, TensorId),
    /// `x -> y, places`: a convolution, the maxima of its windows of 2 by 2, the nonlinearity of those. `places` as of
    /// [`Kind::MaxPool`]. Without them in inference.
    ConvPool(Conv, TensorId, Option<TensorId>, Act),
    /// `dy, places -> dx`, `dy` before the nonlinearity.
    ConvPoolGradInput(Conv, TensorId),
    /// `x, dy, places ->`: adds to the gradients of weight and bias.
    ConvPoolGradWeight(Conv, TensorId, Option<TensorId>),
    /// `x, r -> y`: `act(conv(x)) + r`, or `act(conv(x) + r)`.
    ConvAdd(Conv, TensorId, Option<TensorId>, Act, Order),
    /// `x -> y`, then the nonlinearity.
    Linear(Linear, TensorId, Option<TensorId>, Act),
    /// `dy -> dx`
    LinearGradInput(Linear, TensorId),
    /// `x, dy ->`
    LinearGradWeight(Linear, TensorId, Option<TensorId>),
    /// `x -> y`
    Act(Act),
    /// `y, dy -> dx`
    ActGrad(Act),
    /// `x -> y`
    Curve(Curve),
    /// `x, dy -> dx`
    CurveGrad(Curve),
    /// `x -> y, places`: which element of each window its first maximum is, in their order. Without `places` in inference.
    MaxPool(u64, Window),
    /// `dy, places -> dx`
    MaxPoolGrad(u64, Window),
    /// `x -> y`; whether padding counts in the mean.
    AvgPool(u64, Window, bool),
    /// `dy -> dx`
    AvgPoolGrad(u64, Window, bool),
    /// `x -> y` by the statistics of the batch, which change the running ones; then the nonlinearity.
    /// With an order there is a second read, which is added before the nonlinearity or behind it.
    BatchNorm(Norm, NormTensors, Act, Option<Order>),
    /// `x, dy -> dx`: adds to the gradients of weight and bias. `dy` is behind the nonlinearity, none or ReLU, which is where the
    /// norm's result is above 0.
    BatchNormGrad(Norm, NormTensors, Act),
    /// `x -> y` by the running statistics, then the nonlinearity.
    NormByRunning(Norm, NormTensors, Act),
    /// `dy -> dx` of the same, without its nonlinearity.
    NormByRunningGrad(Norm, NormTensors),
    /// `x -> y`, and `dy -> dx` alike: the probability, independent units, elements of a unit, which use of a dropout.
    Dropout(f64, u64, u64, u32),
    /// `x -> y` over `[outer, size, inner]`.
    LogSoftmax([u64; 3]),
    /// `y, dy -> dx`
    LogSoftmaxGrad([u64; 3]),
    /// `a, b -> a + b`
    Add,
    /// `a, b -> a b` over `[outer, count, inner]`, where b is `[outer, inner]` and repeated.
    Mul([u64; 3]),
    /// `a, b -> sum over count of a b`, of two values over `[outer, count, inner]`.
    MulSum([u64; 3]),
    /// `x -> y`, channel by channel; and `dy -> dx` with the frames exchanged.
    Frame(u64, Frame),
    /// `x -> y`, channel by channel.
    Resample(u64, Resample),
    /// `dy -> dx`
    ResampleGrad(u64, Resample),
    /// `x -> y`: channels in groups, and of so many elements each: channel `c` of y is channel `c % groups (channels / groups) +
    /// c / groups` of x. `dy -> dx` with as many groups as a group has channels.
    Shuffle(u64, u64, u64),
    /// `x -> y`: x has these sizes, and dimension d of y is dimension `order[d]` of x.
    Permute(Vec<u64>, Vec<usize>),
    /// `parts -> all`
    Concat,
    /// `all -> part`, which begins at this element.
    Slice(u64),
    /// `part -> all`: the part begins at this element, the others are 0.
    Place(u64),
    /// `x -> y`, by Rust that the compiler does not see; its tensors lie one after the other.
    Custom(Box<Custom>, Vec<TensorId>),
    /// `x, dy -> dx`: adds to the gradients of its tensors, if they are wanted.
    CustomGrad(Box<Custom>, Vec<TensorId>, bool),
    /// `x -> y` over `[outer, size, inner]`.
    Softmax([u64; 3]),
    /// `y, dy -> dx`
    SoftmaxGrad([u64; 3]),
    /// `x -> y, moments`, with weight and bias: mean and `1 / sqrt(var + eps)` of each group, all means first. Without `moments` in
    /// inference.
    GroupNorm(GroupNorm, Option<TensorId>, Option<TensorId>),
    /// `x, dy, moments -> dx`: adds to the gradients of weight and bias.
    GroupNormGrad(GroupNorm, Option<TensorId>, Option<TensorId>),
    /// `x -> y`: the same elements, of another shape or in another place.
    Copy,
    /// `-> y`: all elements 0.
    Zero,
    /// `y -> dy`: the loss of an output, by its number, and its derivative.
    Loss(u32),
}

impl Program {
    /// A value's floats.
    pub fn len(&self, value: ValueId) -> u64 {
        elements(&self.values[value.0 as usize].shape)
    }

    /// Whether the program has no ops.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// A tensor.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }

    /// A new value.
    pub fn value(&mut self, shape: Shape, name: impl Into<String>) -> ValueId {
        self.values.push(Value { shape, name: name.into() });
        ValueId(self.values.len() as u32 - 1)
    }
}

impl Conv {
    /// Whether each channel is a group of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.channels && self.groups == self.out_channels
    }

    /// The max-pool of windows of 2 by 2 behind it.
    pub fn pool(&self) -> Window {
        let size = self.window.out_size;
        Window {
            size,
            out_size: [size[0], size[1] / 2, size[2] / 2],
            kernel: [1, 2, 2],
            stride: [1, 2, 2],
            padding: [0; 3],
            dilation: [1; 3],
        }
    }
}

impl Frame {
    /// From the output's frame back to the input's.
    pub fn reversed(&self) -> Frame {
        Frame { size: self.out_size, out_size: self.size, before: self.before.map(|before| -before) }
    }
}

impl GroupNorm {
    /// Elements of the value.
    pub fn len(&self) -> u64 {
        self.groups * self.size()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of a group.
    pub fn size(&self) -> u64 {
        self.channels * self.positions
    }
}

impl Window {
    /// Elements of the output's map.
    pub fn positions(&self) -> u64 {
        self.out_size.iter().product()
    }

    /// Whether there are as many windows as the padding has room for behind the map as before it.
    pub fn is_even(&self) -> bool {
        (0..3).all(|axis| {
            let reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            (self.size[axis] + 2 * self.padding[axis]).checked_sub(reach).map(|rest| rest / self.stride[axis] + 1)
                == Some(self.out_size[axis])
        })
    }

    /// Elements of the window.
    pub fn taps(&self) -> u64 {
        self.kernel.iter().product()
    }

    /// Whether the windows are of 2 by 2, side by side, all of them within the map.
    pub fn is_two_by_two(&self) -> bool {
        let Window {
            size: [_, down, across],
            kernel,
            stride,
            padding,
            dilation,
            out_size: [_, windows_down, windows_across],
        } = *self;
        let is_whole = (windows_down, windows_across) == (down / 2, across / 2);
        is_whole && (kernel, stride, padding, dilation) == ([1, 2, 2], [1, 2, 2], [0; 3], [1; 3])
    }
}

/// Says what is wrong with a program: a value that is read before it is made or outside the loops it is made in, made twice, or of
/// another length than an op takes. Runs between passes in tests and debug builds.
pub fn verify(program: &Program) -> Result<(), String> {
    let mut verifier = Verifier { program, homes: vec![None; program.values.len()], around: Vec::new() };
    verifier.body(&program.body)?;
    program.outputs.iter().try_for_each(|&output| verifier.reads("the model", output))
}

struct Verifier<'a> {
    program: &'a Program,
    /// The loops that each value is made in, when it is made.
    homes: Vec<Option<Vec<LayerId>>>,
    /// The loops around, outermost first.
    around: Vec<LayerId>,
}

impl Verifier<'_> {
    fn reads(&self, reader: &str, value: ValueId) -> Result<(), String> {
        let name = || format!("{value:?} `{}`", self.program.values[value.0 as usize].name);
        match &self.homes[value.0 as usize] {
            None => Err(format!("{reader} reads {}, which is not made yet", name())),
            // A reversed loop has the layer of the forward one, whose values it reads iteration by iteration.
            Some(home) if !self.around.starts_with(home) => {
                Err(format!("{reader} reads {}, which is made in the loops {home:?}", name()))
            }
            Some(_) => Ok(()),
        }
    }

    fn makes(&mut self, value: ValueId) -> Result<(), String> {
        let home = &mut self.homes[value.0 as usize];
        if home.is_some() {
            return Err(format!("{value:?} `{}` is made twice", self.program.values[value.0 as usize].name));
        }
        *home = Some(self.around.clone());
        Ok(())
    }

    fn body(&mut self, body: &[Item]) -> Result<(), String> {
        body.iter().try_for_each(|item| match item {
            Item::Op(op) => self.op(op),
            Item::Loop(looped) => self.looped(looped),
        })
    }

    fn op(&mut self, op: &Op) -> Result<(), String> {
        let name = format!("{:?}", op.kind);
        op.reads.iter().try_for_each(|&read| self.reads(&name, read))?;
        op.writes.iter().try_for_each(|&(write, store)| match store {
            Store::Write => self.makes(write),
            Store::Add => self.reads(&name, write),
        })?;
        verify_lengths(self.program, op)
    }

    fn looped(&mut self, looped: &Loop) -> Result<(), String> {
        let name = format!("the loop {}", looped.name);
        self.reads(&name, looped.outer)?;
        self.around.push(looped.layer);
        self.makes(looped.start)?;
        self.body(&looped.body)?;
        self.reads(&name, looped.end)?;
        if self.homes[looped.end.0 as usize].as_ref() != Some(&self.around) || looped.end == looped.start {
            return Err(format!("{name} ends with a value that is not its body's own"));
        }
        self.around.pop();
        self.makes(looped.result)?;
        let values = [looped.outer, looped.start, looped.end, looped.result];
        let lengths = values.map(|value| self.program.len(value));
        if lengths.iter().any(|&length| length != lengths[0]) {
            return Err(format!("{name} carries values of {lengths:?}"));
        }
        Ok(())
    }
}

fn verify_lengths(program: &Program, op: &Op) -> Result<(), String> {
    let reads: Vec<u64> = op.reads.iter().map(|&value| program.len(value)).collect();
    let writes: Vec<u64> = op.writes.iter().map(|&(value, _)| program.len(value)).collect();
    let map = |channels: u64, size: [u64; 3]| channels * size.iter().product::<u64>();
    let is_right = match &op.kind {
        Kind::Load(_) | Kind::Zero => reads.is_empty() && writes.len() == 1,
        Kind::Conv(conv, ..) => {
            reads == [map(conv.channels, conv.window.size)] && writes == [map(conv.out_channels, conv.window.out_size)]
        }
        Kind::ConvGradInput(conv, _) | Kind::ConvTranspose(conv, ..) => {
            reads == [map(conv.out_channels, conv.window.out_size)] && writes == [map(conv.channels, conv.window.size)]
        }
        Kind::ConvGradWeight(conv, ..) => {
            reads == [map(conv.channels, conv.window.size), map(conv.out_channels, conv.window.out_size)]
                && writes.is_empty()
        }
        Kind::GradBias(channels, _) => reads.len() == 1 && writes.is_empty() && reads[0].is_multiple_of(*channels),
        Kind::ConvPool(conv, ..) => {
            let out = map(conv.out_channels, conv.pool().out_size);
            reads == [map(conv.channels, conv.window.size)] && (writes == [out] || writes == [out, out])
        }
        Kind::ConvPoolGradInput(conv, _) => {
            let out = map(conv.out_channels, conv.pool().out_size);
            reads == [out, out] && writes == [map(conv.channels, conv.window.size)]
        }
        Kind::ConvPoolGradWeight(conv, ..) => {
            let out = map(conv.out_channels, conv.pool().out_size);
            reads == [map(conv.channels, conv.window.size), out, out] && writes.is_empty()
        }
        Kind::ConvAdd(conv, ..) => {
            let out = map(conv.out_channels, conv.window.out_size);
            reads == [map(conv.channels, conv.window.size), out] && writes == [out]
        }
        Kind::Linear(linear, ..) => reads == [linear.rows * linear.inputs] && writes == [linear.rows * linear.outputs],
        Kind::LinearGradInput(linear, _) => {
            reads == [linear.rows * linear.outputs] && writes == [linear.rows * linear.inputs]
        }
        Kind::LinearGradWeight(linear, ..) => {
            reads == [linear.rows * linear.inputs, linear.rows * linear.outputs] && writes.is_empty()
        }
        Kind::MaxPool(channels, window) => {
            let out = map(*channels, window.out_size);
            reads == [map(*channels, window.size)] && (writes == [out] || writes == [out, out])
        }
        Kind::MaxPoolGrad(channels, window) => {
            let out = map(*channels, window.out_size);
            reads == [out, out] && writes == [map(*channels, window.size)]
        }
        Kind::AvgPool(channels, window, _) => {
            reads == [map(*channels, window.size)] && writes == [map(*channels, window.out_size)]
        }
        Kind::AvgPoolGrad(channels, window, _) => {
            reads == [map(*channels, window.out_size)] && writes == [map(*channels, window.size)]
        }
        Kind::Act(_)
        | Kind::Curve(_)
        | Kind::Dropout(..)
        | Kind::Copy
        | Kind::Loss(_)
        | Kind::LogSoftmax(_)
        | Kind::Softmax(_)
        | Kind::NormByRunning(..)
        | Kind::NormByRunningGrad(..) => reads.len() == 1 && writes == reads,
        Kind::GroupNorm(norm, ..) => {
            reads == [norm.len()] && (writes == reads || writes == [norm.len(), 2 * norm.groups])
        }
        Kind::GroupNormGrad(norm, ..) => reads == [norm.len(), norm.len(), 2 * norm.groups] && writes == [norm.len()],
        Kind::BatchNorm(.., order) => {
            reads.len() == 1 + usize::from(order.is_some()) && reads.iter().all(|&len| writes == [len])
        }
        Kind::ActGrad(_) | Kind::CurveGrad(_) | Kind::BatchNormGrad(..) | Kind::Add => {
            reads.len() == 2 && reads[0] == reads[1] && writes == reads[..1]
        }
        Kind::LogSoftmaxGrad(_) | Kind::SoftmaxGrad(_) => {
            reads.len() == 2 && reads[0] == reads[1] && writes == reads[..1]
        }
        Kind::Mul([outer, count, inner]) => {
            let all = outer * count * inner;
            reads == [all, outer * inner] && writes == [all]
        }
        Kind::MulSum([outer, count, inner]) => {
            let all = outer * count * inner;
            reads == [all, all] && writes == [outer * inner]
        }
        Kind::Frame(channels, frame) => {
            reads == [map(*channels, frame.size)] && writes == [map(*channels, frame.out_size)]
        }
        Kind::Resample(channels, resample) => {
            reads == [map(*channels, resample.size)] && writes == [map(*channels, resample.out_size)]
        }
        Kind::ResampleGrad(channels, resample) => {
            reads == [map(*channels, resample.out_size)] && writes == [map(*channels, resample.size)]
        }
        Kind::Shuffle(channels, groups, positions) => {
            reads == [channels * positions] && writes == reads && channels.is_multiple_of(*groups)
        }
        Kind::Permute(sizes, order) => {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            reads == [elements(sizes)] && writes == reads && sorted == (0..sizes.len()).collect::<Vec<_>>()
        }
        Kind::Custom(custom, _) => reads == [elements(&custom.input)] && writes == [elements(&custom.output)],
        Kind::CustomGrad(custom, ..) => {
            let (input, output) = (elements(&custom.input), elements(&custom.output));
            reads == [input, output] && writes == [input]
        }
        Kind::Concat => writes == [reads.iter().sum::<u64>()],
        Kind::Place(from) => reads.len() == 1 && writes.len() == 1 && from + reads[0] <= writes[0],
        Kind::Slice(from) => reads.len() == 1 && writes.len() == 1 && from + writes[0] <= reads[0],
    };
    if is_right { Ok(()) } else { Err(format!("{:?} on values of {reads:?} floats gives {writes:?}", op.kind)) }
}
