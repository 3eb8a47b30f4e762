//! The resolved net: what [`crate::resolve`] gives and [`crate::check`] proves.
//!
//! Every name is looked up, every argument is a value, every block use is written out. `repeat` is still a loop, and a shared
//! instance is still one body used in several places.

use std::fmt;

use crate::ast::Ident;
use crate::ops::{Args, Choice, Int, Layer, Value};
use crate::source::Span;

/// A layer of [`Net::layers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub u32);

/// A shared instance of [`Net::shared`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SharedId(pub u32);

/// A value that can be read by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueId {
    /// An input of the model.
    Input(u32),
    /// What a layer gives.
    Layer(LayerId),
}

/// A resolved model.
#[derive(Clone, Debug)]
pub struct Net {
    /// Its name.
    pub name: String,
    /// Where the name is written.
    pub name_span: Span,
    /// Its parameters' values.
    pub params: Vec<(String, i64)>,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// All layers; bodies name them by id.
    pub layers: Vec<NetLayer>,
    /// All shared instances.
    pub shared: Vec<Shared>,
    /// The model's own body.
    pub body: Vec<LayerId>,
    /// The values that `output` names; empty: the last value.
    pub outputs: Vec<Output>,
    /// How it is trained; None when something of it was reported.
    pub train: Option<Train>,
    /// What could be read of a training, complete or not; the checks look at it.
    pub settings: Option<Settings>,
}

/// An input: the shape of one sample.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its shape; None when it was reported.
    pub shape: Option<Vec<u64>>,
    /// Where its shape is written.
    pub span: Span,
    /// Whether the model can give the loss's derivative by it.
    pub has_gradient: bool,
}

/// A named output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: ValueId,
    /// Where it is written.
    pub span: Span,
}

/// One layer or container.
#[derive(Clone, Debug)]
pub struct NetLayer {
    /// What it is.
    pub kind: LayerKind,
    /// Its label, else its name as written.
    pub name: String,
    /// Where its weights live in a state dict: `resblocks.*.conv`, with `*` for each index of a repeat that has separate sets.
    pub path: String,
    /// Sets of its weights: the product of the counts of the repeats that give it separate ones.
    pub sets: u64,
    /// The shape that the user asserts of its output, and where.
    pub asserted: Option<(Vec<Int>, Span)>,
    /// The word it is known by: what an error of its own is blamed on.
    pub head: Span,
    /// The call with its arguments when it stands on one line, else the head: what is pointed at for having made a value.
    pub call: Span,
    /// The whole statement.
    pub span: Span,
}

/// The forms of a [`NetLayer`]. Bodies read the value before them, or what a `From` in them names.
#[derive(Clone, Debug)]
pub enum LayerKind {
    /// A layer of the op table.
    Op(Op),
    /// Goes on from a named value.
    From(ValueId),
    /// The value plus the body's, the value taken through `project` when there is one.
    Skip {
        /// The residual branch.
        body: Vec<LayerId>,
        /// The other branch.
        project: Option<Vec<LayerId>>,
    },
    /// Arms on the same value, joined.
    Branch {
        /// `add` or `concat`.
        join: &'static dyn Layer,
        /// The arms.
        arms: Vec<Vec<LayerId>>,
    },
    /// The body, several times.
    Repeat {
        /// How often.
        count: u64,
        /// Whether all iterations use one set of weights.
        tied: bool,
        /// What is repeated.
        body: Vec<LayerId>,
    },
    /// A block use, or an iteration of an unrolled repeat.
    Group {
        /// How a trace names it: ``in `ResBlock(n = 32)` ``.
        trace: String,
        /// Whether it is a block use.
        is_use: bool,
        /// Its layers.
        body: Vec<LayerId>,
    },
    /// A use of a shared instance.
    Shared(SharedId),
    /// What could not be resolved; it was reported.
    Missing,
}

/// A call of the op table.
#[derive(Clone, Debug)]
pub struct Op {
    /// The layer.
    pub layer: &'static dyn Layer,
    /// The number of spatial dimensions that the name as written states.
    pub rank: Option<usize>,
    /// Its arguments.
    pub args: Args,
    /// The values it names, for `add` and `concat`; None in it was reported.
    pub values: Vec<Option<ValueId>>,
}

/// A shared instance.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Its name.
    pub name: String,
    /// Its layers.
    pub body: Vec<LayerId>,
}

/// The settings of a training that say something of shapes, as far as they could be read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data set; an argument of it that was reported is [`crate::ops::Value::Missing`].
    pub data: Option<Choice>,
    /// The losses.
    pub losses: Vec<Loss>,
    /// Samples of a step, when written.
    pub batch: Option<Int>,
    /// Passes over the data, when written.
    pub epochs: Option<Int>,
    /// The tricks.
    pub tricks: Tricks,
}

/// A loss of an output.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Which output, by its place; None when it does not say, and there are several.
    pub output: Option<usize>,
    /// What it is.
    pub choice: Choice,
}

/// How a model is trained.
#[derive(Clone, Debug)]
pub struct Train {
    /// The word `train`.
    pub head: Span,
    /// The data set.
    pub data: Option<Choice>,
    /// The losses, each of an output of its own.
    pub losses: Vec<Loss>,
    /// The optimizer.
    pub optimizer: Choice,
    /// Samples of a step.
    pub batch: u64,
    /// Passes over the data.
    pub epochs: u64,
    /// Whether each epoch has an order of its own.
    pub shuffle: bool,
    /// Of every random choice.
    pub seed: u64,
    /// Whether evaluation uses the statistics of its batches, as in training.
    pub batch_statistics: bool,
    /// Whether only the accurate kernels may run.
    pub exact: bool,
    /// What a plain training does without.
    pub tricks: Tricks,
}

/// What a plain training does without. None of it is the default.
#[derive(Clone, Debug, Default)]
pub struct Tricks {
    /// How the learning rate goes on.
    pub schedule: Option<Choice>,
    /// What is in front of that.
    pub warm_up: Option<Choice>,
    /// What is added to the loss for the size of parameters.
    pub penalties: Vec<Choice>,
    /// How gradients are kept from being too large.
    pub clip: Option<Choice>,
    /// Batches of a step; 0 and 1 are the same.
    pub accumulate: u64,
    /// Layers or weights that no step changes.
    pub freeze: Vec<Ident>,
    /// How images are changed.
    pub augment: Vec<Choice>,
    /// Epochs without a better figure after which the training ends.
    pub patience: Option<u64>,
    /// Whether the weights of the best epoch are kept, not the last one's.
    pub best: bool,
    /// Whether the loss of the test says what is better, not what is printed of it.
    pub loss_says: bool,
}

/// A line for each that is not the default.
impl fmt::Display for Tricks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |choice: &Option<Choice>| choice.iter().map(Choice::to_string).collect();
        let all = |choices: &[Choice]| choices.iter().map(Choice::to_string).collect::<Vec<_>>().join(", ");
        let frozen: Vec<&str> = self.freeze.iter().map(|name| name.text.as_str()).collect();
        let accumulate = if self.accumulate > 1 { self.accumulate.to_string() } else { String::new() };
        let lines: [(&str, String); 10] = [
            ("schedule", one(&self.schedule)),
            ("warm_up", one(&self.warm_up)),
            ("penalty", all(&self.penalties)),
            ("clip", one(&self.clip)),
            ("accumulate", accumulate),
            ("freeze", frozen.join(", ")),
            ("augment", all(&self.augment)),
            ("patience", self.patience.iter().map(u64::to_string).collect()),
            ("keep", (if self.best { "best" } else { "" }).to_owned()),
            ("monitor", (if self.loss_says { "loss" } else { "" }).to_owned()),
        ];
        lines.iter().filter(|(_, value)| !value.is_empty()).try_for_each(|(name, value)| writeln!(f, "{name} {value}"))
    }
}

impl Net {
    /// A layer.
    pub fn layer(&self, id: LayerId) -> &NetLayer {
        &self.layers[id.0 as usize]
    }

    /// A shared instance.
    pub fn shared(&self, id: SharedId) -> &Shared {
        &self.shared[id.0 as usize]
    }

    /// The layers that are types of Rust's, with the types' paths.
    pub fn customs(&self) -> impl Iterator<Item = (&NetLayer, &str)> {
        self.layers.iter().filter_map(|layer| match &layer.kind {
            LayerKind::Op(op) => match op.args.get("layer") {
                Some(Value::Type(path)) => Some((layer, path.as_str())),
                _ => None,
            },
            _ => None,
        })
    }

    fn write_body(&self, f: &mut fmt::Formatter<'_>, body: &[LayerId], depth: usize) -> fmt::Result {
        body.iter().try_for_each(|&id| self.write_layer(f, id, depth))
    }

    fn write_layer(&self, f: &mut fmt::Formatter<'_>, id: LayerId, depth: usize) -> fmt::Result {
        let layer = self.layer(id);
        let indent = "    ".repeat(depth);
        write!(f, "{indent}{} = ", layer.path)?;
        let mut bodies: Vec<&[LayerId]> = Vec::new();
        match &layer.kind {
            LayerKind::Op(op) => {
                write!(f, "{}", op.layer.decl().name)?;
                if let Some(rank) = op.rank {
                    write!(f, "{rank}d")?;
                }
                write!(f, "{}", op.args)?;
                for value in op.values.iter().flatten() {
                    write!(f, " {}", self.value_name(*value))?;
                }
            }
            LayerKind::From(value) => write!(f, "from {}", self.value_name(*value))?,
            LayerKind::Skip { body, project } => {
                write!(f, "skip")?;
                bodies.extend(std::iter::once(body).chain(project).map(Vec::as_slice));
            }
            LayerKind::Branch { join, arms } => {
                write!(f, "branch {}", join.decl().name)?;
                bodies.extend(arms.iter().map(Vec::as_slice));
            }
            LayerKind::Repeat { count, tied, body } => {
                write!(f, "repeat {count}{}", if *tied { " tied" } else { "" })?;
                bodies.push(body);
            }
            LayerKind::Group { trace, body, .. } => {
                write!(f, "{trace}")?;
                bodies.push(body);
            }
            LayerKind::Shared(shared) => {
                write!(f, "shared {}", self.shared(*shared).name)?;
                bodies.push(&self.shared(*shared).body);
            }
            LayerKind::Missing => write!(f, "?")?,
        }
        if let Some((shape, _)) = &layer.asserted {
            write!(f, " : {:?}", shape.iter().map(|size| size.value).collect::<Vec<_>>())?;
        }
        writeln!(f)?;
        for body in bodies {
            writeln!(f, "{indent}  {{")?;
            self.write_body(f, body, depth + 1)?;
            writeln!(f, "{indent}  }}")?;
        }
        Ok(())
    }

    fn value_name(&self, value: ValueId) -> String {
        match value {
            ValueId::Input(input) => format!("input {}", self.inputs[input as usize].name),
            ValueId::Layer(layer) => format!("%{}", layer.0),
        }
    }
}

/// The net as a canonical text without places: two spellings of one model give the same.
impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "model {}", self.name)?;
        for (name, value) in &self.params {
            writeln!(f, "param {name} = {value}")?;
        }
        for input in &self.inputs {
            write!(f, "input {} {:?}", input.name, input.shape.as_deref().unwrap_or_default())?;
            writeln!(f, "{}", if input.has_gradient { " with gradient" } else { "" })?;
        }
        self.write_body(f, &self.body, 0)?;
        for output in &self.outputs {
            writeln!(f, "output {} = {}", output.name, self.value_name(output.value))?;
        }
        if let Some(train) = &self.train {
            if let Some(data) = &train.data {
                writeln!(f, "data {data}")?;
            }
            train.losses.iter().try_for_each(|loss| writeln!(f, "loss {}", loss.choice))?;
            writeln!(f, "optimizer {}", train.optimizer)?;
            let Train { batch, epochs, shuffle, seed, batch_statistics, exact, .. } = train;
            writeln!(f, "batch {batch} epochs {epochs} shuffle {shuffle} seed {seed}")?;
            writeln!(f, "batch_statistics {batch_statistics} exact {exact}")?;
            write!(f, "{}", train.tricks)?;
        }
        Ok(())
    }
}
